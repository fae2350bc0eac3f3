/* tokenizer/tokenizer.c - see tokenizer.h: reads the keys, settles the special pieces, cuts text at them. */
#include "tokenizer/internal.h"

#include "base/utf8.h"
#include "base/word.h"
#include "unicode/unicode.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const struct vs_family *const families[] = { &vs_family_bpe, &vs_family_spm, &vs_family_lines, &vs_family_wordpiece,
                                                    &vs_family_unigram, &vs_family_rwkv, &vs_family_plamo2, &vs_family_plamo3 };
enum { N_FAMILIES = sizeof families / sizeof *families };

int vs_ids_reserve(struct vs_ids *ids, size_t n)
{
    if (n <= ids->cap - ids->n)
        return VS_OK;
    if (n > SIZE_MAX / sizeof *ids->id / 2 - ids->n)
        return VS_E_NOMEM;
    size_t cap = ids->cap ? 2 * ids->cap : 64;
    cap = cap > ids->n + n ? cap : ids->n + n;
    uint32_t *grown = realloc(ids->id, cap * sizeof *grown);
    if (!grown)
        return VS_E_NOMEM;
    ids->id = grown;
    ids->cap = cap;
    return VS_OK;
}

int vs_ids_append(struct vs_ids *ids, const uint32_t *id, size_t n)
{
    int r = vs_ids_reserve(ids, n);
    if (r != VS_OK || !n)
        return r;
    memcpy(ids->id + ids->n, id, n * sizeof *id);
    ids->n += n;
    return VS_OK;
}

int vs_ids_add(struct vs_ids *ids, uint32_t id)
{
    return vs_ids_append(ids, &id, 1);
}

void vs_ids_clear(struct vs_ids *ids)
{
    free(ids->id);
    *ids = (struct vs_ids){ 0 };
}

/* ---- what some spellings of control pieces mean ----
 *
 * The file's own type says what a piece is: control, user-defined or ordinary text. A spelling only tells control pieces
 * apart; one that the file declares to be text is text, whatever it looks like ("</s>" closes a tag in Gemma 3).
 */

enum {
    MEANS_END = 1,
    MEANS_END_S = 2,                    /* "</s>" */
    MEANS_RETURN = 4, MEANS_CALL = 8, MEANS_FLUSH = 16, MEANS_CALLS = 32,      /* harmony: <|end|> closes a message only */
    MEANS_END_MESSAGE = 64,
    MEANS_OTHER_END = 128,              /* of families where </s> is no end */
    MEANS_CHANNEL = 256,                /* harmony's frame, which prints */
};

static const struct {
    const char *text;
    unsigned means;
} known[] = {
    { "<|eot_id|>", MEANS_END }, { "<|im_end|>", MEANS_END }, { "<|end|>", MEANS_END | MEANS_END_MESSAGE },
    { "<|return|>", MEANS_END | MEANS_RETURN }, { "<|call|>", MEANS_END | MEANS_CALL },
    { "<|flush|>", MEANS_END | MEANS_FLUSH }, { "<|calls|>", MEANS_END | MEANS_CALLS },
    { "<end_of_turn>", MEANS_END }, { "<|endoftext|>", MEANS_END }, { "</s>", MEANS_END | MEANS_END_S },
    { "<|eom_id|>", MEANS_END }, { "<EOT>", MEANS_END }, { "_<EOT>", MEANS_END }, { "[EOT]", MEANS_END },
    { "[EOS]", MEANS_END }, { "<|end_of_text|>", MEANS_END }, { "<end_of_utterance>", MEANS_END }, { "<eos>", MEANS_END },
    { "<turn|>", MEANS_END }, { "<|tool_response>", MEANS_END | MEANS_OTHER_END }, { "<|plamo:eos|>", MEANS_OTHER_END },
    { "[e~[", MEANS_END },
    { "<\xef\xbd\x9c" "end\xe2\x96\x81of\xe2\x96\x81sentence\xef\xbd\x9c>", MEANS_END },
    /* fill-in-the-middle: padding, next repository, next file */
    { "<|fim_pad|>", MEANS_END }, { "<fim-pad>", MEANS_END }, { "<fim_pad>", MEANS_END }, { "<PAD>", MEANS_END },
    { "[PAD]", MEANS_END },
    { "<|fim_repo|>", MEANS_END }, { "<|repo_name|>", MEANS_END }, { "<fim-repo>", MEANS_END }, { "<REPO>", MEANS_END },
    { "<reponame>", MEANS_END }, { "<|file_sep|>", MEANS_END },
    { "<|channel|>", MEANS_CHANNEL }, { "<|message|>", MEANS_CHANNEL }, { "<|start|>", MEANS_CHANNEL },
    { "<|constrain|>", MEANS_CHANNEL },
};

static unsigned meaning(const struct vs_vocab *v, uint32_t id)
{
    size_t n;
    const char *s = vs_span(&v->spelled, id, &n);
    if (v->type[id] != VS_PIECE_CONTROL || !n || (*s != '<' && *s != '[' && *s != '_'))
        return 0;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strlen(known[i].text) == n && memcmp(known[i].text, s, n) == 0)
            return known[i].means;
    return 0;
}

/* A key of the file names id as an end. It is control too, unless the file declares it to be ordinary text. */
static void name_end(struct vs_vocab *v, uint32_t id)
{
    if (id == VS_NO_ID)
        return;
    v->flags[id] |= VS_PIECE_IS_END;
    if (v->type[id] != VS_PIECE_NORMAL && v->type[id] != VS_PIECE_BYTE)
        v->flags[id] = (uint8_t)((v->flags[id] & ~VS_PIECE_IS_MERGEABLE) | VS_PIECE_IS_CONTROL | VS_PIECE_IS_SPECIAL
                                 | VS_PIECE_IS_HIDDEN);
}

static void settle_ends(struct vs_tokenizer *t)
{
    struct vs_vocab *v = &t->vocab;
    unsigned all = 0;
    for (uint32_t id = 0; id < v->n; id++)
        all |= meaning(v, id);
    bool harmony = (all & MEANS_RETURN && all & MEANS_CALL) || (all & MEANS_FLUSH && all & MEANS_CALLS);
    for (uint32_t id = 0; id < v->n; id++) {
        unsigned means = meaning(v, id);
        if (means & MEANS_END && !(means & MEANS_END_S && all & MEANS_OTHER_END))
            v->flags[id] |= VS_PIECE_IS_END;
    }
    for (size_t i = 0; i < VS_N_ENDS; i++)
        name_end(v, t->end[i]);
    for (uint32_t id = 0; harmony && id < v->n; id++) {
        unsigned means = meaning(v, id);
        if (means & MEANS_END_MESSAGE)
            v->flags[id] &= (uint8_t)~(VS_PIECE_IS_END | VS_PIECE_IS_HIDDEN);
        if (means & MEANS_CHANNEL)      /* it prints, but only a template may write it */
            v->flags[id] &= (uint8_t)~VS_PIECE_IS_HIDDEN;
    }
}

static bool is_white(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Phi-3 strips white space behind its special pieces. The format has no key for that; the model's name tells. */
static void settle_phi3(struct vs_tokenizer *t, const struct vs_entries *entries)
{
    struct vs_str name;
    bool is_phi3 = false;
    if (vs_entries_str(entries, "general.name", &name, NULL) != VS_OK)
        return;
    for (size_t i = 0; i + 4 <= name.n; i++)
        is_phi3 = is_phi3 || (strncasecmp(name.data + i, "phi", 3) == 0
                              && (name.data[i + 3] == '3' || (i + 5 <= name.n && memcmp(name.data + i + 3, "-3", 2) == 0)));
    static const char *const kept[] = { "<unk>", "<s>", "<|endoftext|>" };
    for (uint32_t id = 0; is_phi3 && id < t->vocab.n; id++) {
        size_t n;
        const char *s = vs_span(&t->vocab.spelled, id, &n);
        bool strips = t->vocab.flags[id] & VS_PIECE_IS_SPECIAL;
        for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
            strips = strips && !(strlen(kept[i]) == n && memcmp(kept[i], s, n) == 0);
        if (strips)
            t->vocab.flags[id] |= VS_PIECE_STRIPS_AFTER;
    }
}

/* So do the encoders of some families in front of the piece that stands for a masked word. */
static void settle_mask(struct vs_tokenizer *t)
{
    for (uint32_t id = 0; t->bpe.pretok.flags & VS_PRE_MASK_STRIPS && id < t->vocab.n; id++) {
        size_t n;
        const char *s = vs_span(&t->vocab.spelled, id, &n);
        if (t->vocab.flags[id] & VS_PIECE_IS_SPECIAL && n == 6 && (memcmp(s, "<mask>", 6) == 0 || memcmp(s, "[MASK]", 6) == 0))
            t->vocab.flags[id] |= VS_PIECE_STRIPS_BEFORE;
    }
}

/* ---- loading ---- */

/* The family's id of a role holds where the file does not say otherwise: its type must not be that of a text. */
static uint32_t family_id(const struct vs_tokenizer *t, uint32_t id)
{
    if (id >= t->vocab.n)
        return VS_NO_ID;
    uint8_t type = t->vocab.type[id];
    return type == VS_PIECE_CONTROL || type == VS_PIECE_UNKNOWN || type == VS_PIECE_UNDEFINED ? id : VS_NO_ID;
}

/* -1 means none. */
static int token_id(const struct vs_tokenizer *t, const struct vs_entries *entries, const char *key, uint32_t fallback,
                    uint32_t *ret, struct vs_error *err)
{
    const struct vs_entry *kv = vs_entries_find(entries, key);
    int64_t id;
    if (kv && (kv->type == VS_ENTRY_ARRAY || !vs_entry_int(kv, 0, &id)))
        return vs_error_set(err, VS_E_MALFORMED, "%s is not a token id", key);
    if (kv && id != -1 && id != UINT32_MAX && (id < 0 || id >= t->vocab.n))
        return vs_error_set(err, VS_E_MALFORMED, "%s is %lld, and the vocabulary has %u tokens", key, (long long)id, t->vocab.n);
    *ret = !kv ? family_id(t, fallback) : id == -1 || id == UINT32_MAX ? VS_NO_ID : (uint32_t)id;
    return VS_OK;
}

/* Ids that are never sampled; who samples reads them again. */
static int check_suppressed(const struct vs_tokenizer *t, const struct vs_entries *entries, struct vs_error *err)
{
    static const char key[] = "tokenizer.ggml.suppress_tokens";
    const struct vs_entry *kv = vs_entries_find(entries, key);
    for (uint64_t i = 0; kv && i < kv->count; i++) {
        int64_t id;
        if (kv->type != VS_ENTRY_ARRAY || !vs_entry_int(kv, i, &id))
            return vs_error_set(err, VS_E_MALFORMED, "%s is not a list of token ids", key);
        if (id < 0 || id >= t->vocab.n)
            return vs_error_set(err, VS_E_MALFORMED, "%s has %lld, and the vocabulary has %u tokens", key, (long long)id,
                                t->vocab.n);
    }
    return VS_OK;
}

static int load_keys(struct vs_tokenizer *t, const struct vs_entries *entries, struct vs_error *err)
{
    const struct vs_family *f = t->family;
    const struct { const char *key; uint32_t fallback, *id; } ids[] = {
        { "tokenizer.ggml.bos_token_id", f->bos, &t->bos },
        { "tokenizer.ggml.eos_token_id", f->eos, &t->end[VS_END_EOS] },
        { "tokenizer.ggml.unknown_token_id", f->unk, &t->unk },
        { "tokenizer.ggml.seperator_token_id", f->sep, &t->sep },
        { "tokenizer.ggml.eot_token_id", VS_NO_ID, &t->end[VS_END_EOT] },
        { "tokenizer.ggml.eom_token_id", VS_NO_ID, &t->end[VS_END_EOM] },
        { "tokenizer.ggml.fim_pad_token_id", VS_NO_ID, &t->end[VS_END_FIM_PAD] },
        { "tokenizer.ggml.fim_rep_token_id", VS_NO_ID, &t->end[VS_END_FIM_REPOSITORY] },
        { "tokenizer.ggml.fim_sep_token_id", VS_NO_ID, &t->end[VS_END_FIM_FILE] },
    };
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        int r = token_id(t, entries, ids[i].key, ids[i].fallback, ids[i].id, err);
        if (r != VS_OK)
            return r;
    }
    int suppressed = check_suppressed(t, entries, err);
    if (suppressed != VS_OK)
        return suppressed;
    t->add_bos = t->family->add_bos || t->bpe.pretok.flags & VS_PRE_ADD_BOS;
    t->add_eos = t->family->add_eos;
    t->add_sep = t->bpe.pretok.flags & VS_PRE_ADD_SEP;
    t->add_space_prefix = t->family->add_space_prefix;
    const struct { const char *key; bool *flag; } flags[] = {
        { "tokenizer.ggml.add_bos_token", &t->add_bos },    { "tokenizer.ggml.add_eos_token", &t->add_eos },
        { "tokenizer.ggml.add_sep_token", &t->add_sep },    { "tokenizer.ggml.add_space_prefix", &t->add_space_prefix },
    };
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        int r = vs_entries_bool(entries, flags[i].key, flags[i].flag, err);
        if (r != VS_OK && r != VS_E_NOT_FOUND)
            return r;
    }
    t->add_bos |= (t->bpe.pretok.flags & VS_PRE_FORCES_BOS) != 0;
    return VS_OK;
}

/* A name from the file as it may stand in a message. */
struct shown { char text[64]; };
static struct shown show(struct vs_str s)
{
    struct shown r;
    size_t n = s.n < sizeof r.text - 1 ? s.n : sizeof r.text - 1;
    for (size_t i = 0; i < n; i++)
        r.text[i] = s.data[i] >= 32 && s.data[i] < 127 ? s.data[i] : '?';
    r.text[n] = 0;
    return r;
}

static int choose_family(struct vs_tokenizer *t, const struct vs_entries *entries, struct vs_error *err)
{
    struct vs_str model;
    int r = vs_entries_str(entries, "tokenizer.ggml.model", &model, err);
    if (r == VS_E_NOT_FOUND || (r == VS_OK && ((model.n == 4 && memcmp(model.data, "none", 4) == 0)
                                               || (model.n == 8 && memcmp(model.data, "no_vocab", 8) == 0))))
        return vs_error_set(err, VS_E_NOT_FOUND, "the file carries no tokenizer");
    if (r != VS_OK)
        return r;
    for (size_t i = 0; i < N_FAMILIES; i++)
        if (strlen(families[i]->name) == model.n && memcmp(families[i]->name, model.data, model.n) == 0)
            t->family = families[i];
    if (!t->family) {
        struct vs_buf list = { 0 };
        for (size_t i = 0; i < N_FAMILIES; i++)
            vs_buf_printf(&list, "%s%s", i ? ", " : "", families[i]->name);
        vs_error_set(err, VS_E_UNSUPPORTED, "tokenizer '%s' is not supported; supported are: %s", show(model).text,
                     list.data ? list.data : "");
        vs_buf_clear(&list);
        return VS_E_UNSUPPORTED;
    }
    if (t->family->pre)
        return vs_pretok_init(&t->bpe.pretok, t->family->pre, strlen(t->family->pre));
    if (t->family != &vs_family_bpe)
        return VS_OK;
    struct vs_str pre = { "default", 7 };
    r = vs_entries_str(entries, "tokenizer.ggml.pre", &pre, err);
    if (r != VS_OK && r != VS_E_NOT_FOUND)
        return r;
    t->is_guess = r == VS_E_NOT_FOUND;
    if (vs_pretok_init(&t->bpe.pretok, pre.data, pre.n) != VS_OK)
        return vs_error_set(err, VS_E_UNSUPPORTED, "pre-tokenizer '%s' is not supported", show(pre).text);
    if (t->bpe.pretok.flags & VS_PRE_CHARACTERS)
        t->family = &vs_family_lines;
    return VS_OK;
}

int vs_tokenizer_create(const struct vs_entries *entries, struct vs_tokenizer **ret, struct vs_error *err)
{
    struct vs_tokenizer *t = calloc(1, sizeof *t);
    if (!t)
        return vs_error_set(err, VS_E_NOMEM, "no memory for a tokenizer");
    int r = choose_family(t, entries, err);
    if (r == VS_OK)
        r = vs_vocab_load(t, entries, err);
    if (r == VS_OK)
        r = load_keys(t, entries, err);
    if (r == VS_OK) {
        settle_ends(t);
        settle_phi3(t, entries);
        settle_mask(t);
        r = vs_vocab_index(&t->vocab, err);
    }
    if (r == VS_OK)
        r = t->family->load(t, entries, err);
    if (r == VS_OK)
        r = vs_trie_build(&t->special, &t->vocab, VS_PIECE_IS_SPECIAL, err);
    if (r == VS_OK)
        *ret = t;
    else
        vs_tokenizer_free(t);
    return r;
}

void vs_tokenizer_free(struct vs_tokenizer *t)
{
    if (!t)
        return;
    vs_vocab_clear(&t->vocab);
    vs_trie_clear(&t->special);
    free(t->bpe.rule);
    free(t->bpe.of_bytes);
    free(t->spm.priority);
    free(t->plamo.cost);
    vs_trie_clear(&t->unigram.pieces);
    free(t->unigram.score);
    free(t->unigram.map);
    free(t->unigram.texts);
    free(t);
}

/* ---- encoding ---- */

enum { PART = 1 << 16 };                /* bytes between two questions whether the work may go on */

struct trust {                          /* walks the runs; positions only grow */
    const struct vs_text_run *run, *end;
    size_t at;                          /* where the stretch of equal trust ends */
    bool trusted;
};

/* How many bytes from position on are trusted without a gap. */
static size_t n_trusted(struct trust *t, size_t position)
{
    while (t->run < t->end && (position >= t->at || t->run->n == 0 || t->run->trusted == t->trusted)) {
        t->trusted = position >= t->at && t->run->n ? t->run->trusted : t->trusted;
        t->at += t->run->n;
        t->run++;
    }
    return t->trusted && t->at > position ? t->at - position : 0;
}

static int encode_text(struct vs_encoder *e, const char *text, size_t n, struct trust *trust)
{
    const struct vs_tokenizer *t = e->t;
    size_t from = 0, work = 0;
    bool at_start = true;
    for (size_t i = 0; i <= n;) {
        size_t end = n - i < PART ? n : i + PART;
        work -= i;
        i = vs_trie_skip(&t->special, text, i, end);
        work += i;
        uint32_t id = VS_NO_ID;
        if (work >= PART) {
            int r = vs_check_work(e->check, work);
            if (r != VS_OK)
                return r;
            work = 0;
        }
        if (i < n) {
            id = vs_trie_match(&t->special, &t->vocab, text + i, n - i, n_trusted(trust, i), &work);
            if (id == VS_NO_ID) {
                i++;
                continue;
            }
        }
        size_t before = i;
        while (id != VS_NO_ID && t->vocab.flags[id] & VS_PIECE_STRIPS_BEFORE && before > from && is_white(text[before - 1]))
            before--;
        if (from < before) {
            e->first = e->ids->n;
            int r = t->family->encode(e, text + from, before - from, at_start);
            if (r != VS_OK)
                return r;
        }
        if (id == VS_NO_ID)
            break;
        if (vs_ids_add(e->ids, id) != VS_OK)
            return VS_E_NOMEM;
        at_start = true;
        size_t n_piece;
        vs_span(&t->vocab.spelled, id, &n_piece);
        i += n_piece;
        while (t->vocab.flags[id] & VS_PIECE_STRIPS_AFTER && i < n && is_white(text[i]))
            i++;
        from = i;
    }
    return VS_OK;
}

static int check_text(const char *text, size_t n, const struct vs_text_run *runs, size_t n_runs, struct vs_check *check,
                      struct vs_error *err)
{
    if (n >= (size_t)1 << 31)
        return vs_error_set(err, VS_E_LIMIT, "%zu bytes are more text than can be tokenized at once", n);
    size_t covered = 0;
    for (size_t i = 0; i < n_runs; i++) {
        if (runs[i].n > n - covered)
            return vs_error_set(err, VS_E_INVALID, "the runs cover more than the %zu byte%s of text", n, vs_plural(n));
        covered += runs[i].n;
    }
    if (covered != n)
        return vs_error_set(err, VS_E_INVALID, "the runs cover %zu of %zu byte%s of text", covered, n, vs_plural(n));
    int r = VS_OK;
    for (size_t i = 0, part; i < n && r == VS_OK; i += part) {
        part = n - i < PART ? n - i : PART;
        part -= i + part < n ? vs_utf8_unfinished(text + i, part) : 0;
        size_t valid = vs_utf8_valid(text + i, part);
        if (valid < part)
            return vs_error_set(err, VS_E_MALFORMED, "the text is not valid UTF-8 at byte %zu", i + valid);
        r = vs_check_work(check, part);
    }
    return r;
}

/* The error text of what has none yet. */
static int fail(int r, const struct vs_check *check, size_t n, struct vs_error *err)
{
    if (r == VS_E_NOMEM)
        vs_error_set(err, r, "no memory to tokenize %zu byte%s", n, vs_plural(n));
    else if (check && r == check->status)
        vs_error_set(err, r, "%s, while a text of %zu byte%s was tokenized", vs_status_text(r), n, vs_plural(n));
    return r;
}

int vs_tokenizer_encode(const struct vs_tokenizer *t, const char *text, size_t n,
                        const struct vs_text_run *runs, size_t n_runs, unsigned flags, struct vs_check *check,
                        struct vs_ids *ids, struct vs_error *err)
{
    int r = check_text(text, n, runs, n_runs, check, err);
    if (r != VS_OK)
        return fail(r, check, n, err);
    struct vs_encoder e;
    struct trust trust = { .run = runs, .end = runs + n_runs };
    size_t start = ids->n;
    bool last = flags & VS_ENCODE_ADD_LAST;
    uint32_t bos = flags & VS_ENCODE_ADD_FIRST && t->add_bos ? t->bos : VS_NO_ID;
    const uint32_t at_end[] = { last && t->add_eos ? t->end[VS_END_EOS] : VS_NO_ID, last && t->add_sep ? t->sep : VS_NO_ID };

    r = vs_encoder_init(&e, t, n, check, ids, err);
    e.base = text;
    if (r == VS_OK && t->bpe.pretok.flags & VS_PRE_NFC)
        e.normalise = vs_nfc_prefix(text, n, check, &r) < n;
    if (r == VS_OK && bos != VS_NO_ID)
        r = vs_ids_add(ids, bos);
    if (r == VS_OK)
        r = encode_text(&e, text, n, &trust);
    if (r == VS_OK && bos != VS_NO_ID && ids->n - start > 1 && ids->id[start + 1] == bos) {
        memmove(ids->id + start, ids->id + start + 1, (ids->n - start - 1) * sizeof *ids->id);
        ids->n--;
    }
    for (size_t i = 0; r == VS_OK && i < 2; i++)
        if (at_end[i] != VS_NO_ID)
            r = vs_ids_add(ids, at_end[i]);
    vs_encoder_clear(&e);
    if (r == VS_OK)
        return r;
    ids->n = start;
    return fail(r, check, n, err);
}

/* ---- questions ---- */

const char *vs_tokenizer_model_name(size_t i)
{
    return i < N_FAMILIES ? families[i]->name : NULL;
}

const char *vs_tokenizer_pre_name(size_t i)
{
    return vs_pretok_name(i);
}

uint32_t vs_tokenizer_n_vocab(const struct vs_tokenizer *t)
{
    return t->vocab.n;
}

uint32_t vs_tokenizer_bos(const struct vs_tokenizer *t)
{
    return t->bos;
}

uint32_t vs_tokenizer_eos(const struct vs_tokenizer *t)
{
    return t->end[VS_END_EOS];
}

uint32_t vs_tokenizer_unk(const struct vs_tokenizer *t)
{
    return t->unk;
}

bool vs_tokenizer_is_guess(const struct vs_tokenizer *t)
{
    return t->is_guess;
}

bool vs_tokenizer_pairs_twice(const struct vs_tokenizer *t)
{
    return !t->add_sep;
}

bool vs_tokenizer_adds_bos(const struct vs_tokenizer *t)
{
    return t->add_bos && t->bos != VS_NO_ID;
}

bool vs_tokenizer_is_end(const struct vs_tokenizer *t, uint32_t id)
{
    return id < t->vocab.n && t->vocab.flags[id] & VS_PIECE_IS_END;
}

bool vs_tokenizer_is_control(const struct vs_tokenizer *t, uint32_t id)
{
    return id < t->vocab.n && t->vocab.flags[id] & VS_PIECE_IS_CONTROL;
}

const char *vs_tokenizer_text(const struct vs_tokenizer *t, uint32_t id, size_t *ret_n)
{
    *ret_n = 0;
    return id < t->vocab.n && !vs_tokenizer_is_control(t, id) ? vs_span(&t->vocab.bytes, id, ret_n) : "";
}

const char *vs_tokenizer_piece(const struct vs_tokenizer *t, uint32_t id, size_t *ret_n)
{
    *ret_n = 0;
    return id < t->vocab.n ? vs_span(&t->vocab.spelled, id, ret_n) : "";
}
