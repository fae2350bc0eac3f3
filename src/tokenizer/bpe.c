/* tokenizer/bpe.c - BPE by a list of merges: of bytes (tokenizer.ggml.model "gpt2"), and of characters ("gemma4", and "gpt2"
 * where the pre-tokenizer says so).
 *
 * The file spells each byte of a piece as one printable character; here pieces are kept as the bytes they mean. Merges
 * are looked up by the ids of both sides. A merge that names a piece that is absent can never apply and is skipped.
 */
#include "tokenizer/internal.h"

#include "base/utf8.h"
#include "unicode/unicode.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Byte that a printable character stands for, or -1: 33-126, 161-172 and 174-255 stand for themselves, the 68 others
 * follow each other from U+0100. */
static int byte_of(uint32_t c)
{
    if ((c >= 33 && c <= 126) || (c >= 161 && c <= 172) || (c >= 174 && c <= 255))
        return (int)c;
    if (c < 0x100 || c >= 0x100 + 68)
        return -1;
    c -= 0x100;
    return c < 33 ? (int)c : c < 67 ? (int)(c - 33 + 127) : 173;
}

/* Returns the bytes meant by s, or n as they are when a character means none. */
static size_t unspell_bytes(const char *s, size_t n, char *out, bool *ret_whole)
{
    static const char space[2] = "\xc4\xa0";
    size_t n_out = 0, i = 0;
    if (n >= sizeof space && memcmp(s, space, sizeof space) == 0) {        /* so begins every second one */
        out[n_out++] = ' ';
        i = sizeof space;
    }
    while (i < n) {
        if (s[i] >= 33 && s[i] <= 126) {            /* most of them */
            out[n_out++] = s[i++];
            continue;
        }
        uint32_t c;
        size_t len = vs_utf8_decode(s + i, n - i, &c);
        int byte = len ? byte_of(c) : -1;
        if (byte < 0) {
            memcpy(out, s, n);
            *ret_whole = false;
            return n;
        }
        out[n_out++] = (char)byte;
        i += len;
    }
    *ret_whole = true;
    return n_out;
}

static size_t unspell(enum vs_piece_type type, const char *s, size_t n, char *out, bool *ret_reachable)
{
    if (type == VS_PIECE_CONTROL || type == VS_PIECE_UNKNOWN || type == VS_PIECE_USER) {
        memcpy(out, s, n);
        /* a user-defined piece may also be made by merges, when it is spelled as it prints */
        *ret_reachable = true;
        for (size_t i = 0; i < n; i++)
            *ret_reachable = *ret_reachable && s[i] >= 33 && s[i] <= 126;
        return n;
    }
    return unspell_bytes(s, n, out, ret_reachable);
}

/* The piece that two others make: most often the one of the last merge or the next one, else by its bytes. */
static uint32_t find_joined(const struct vs_vocab *v, const char *s, size_t n, uint32_t guess)
{
    for (uint32_t id = guess; id < v->n && id <= guess + 1; id++) {
        size_t n_piece;
        const char *piece = vs_span(&v->bytes, id, &n_piece);
        if (n_piece == n && memcmp(piece, s, n) == 0 && (v->flags[id] & VS_PIECE_IS_MERGEABLE))
            return id;
    }
    return vs_vocab_find(v, s, n);
}

static uint32_t rule_slot(const struct vs_tokenizer *t, uint64_t pair)
{
    uint32_t i = vs_rule_slot(t, pair);
    while (t->bpe.rule[i].pair != pair && t->bpe.rule[i].pair != UINT64_MAX)
        i = (i + 1) & t->bpe.rule_mask;
    return i;
}

enum { N_PAIRS = 1 << 16 };             /* of bytes */

static unsigned pair_of(char left, char right)
{
    return (unsigned)(uint8_t)left << 8 | (uint8_t)right;
}

static size_t unspell_side(const struct vs_tokenizer *t, const char *s, size_t n, char *out, bool *ret_whole)
{
    if (t->family == &vs_family_bpe)
        return unspell_bytes(s, n, out, ret_whole);
    *ret_whole = true;
    return vs_spm_unescape(s, n, out);
}

/* Rules are read some at a time, so that what each asks of memory comes meanwhile. */
enum { RULES_AT_ONCE = 64 };
struct side_by_side {                   /* a rule while it is read */
    size_t at;                          /* in the text */
    const char *s;                      /* its bytes: left, right; n_left is 0 where it names what can't be */
    size_t n_left, n_right;
    uint32_t left, right;
};

static int read_rules(const struct vs_tokenizer *t, const struct vs_entry *kv, struct vs_entry_cursor *cursor, struct vs_buf *text,
                      struct side_by_side *ret, uint32_t *ret_n)
{
    struct vs_str s;
    uint32_t n = 0;
    vs_buf_reset(text);
    for (; n < RULES_AT_ONCE && vs_entry_next_str(kv, cursor, &s); n++) {
        /* "left right"; the first byte may be a space that belongs to the left side */
        const char *space = s.n > 1 ? memchr(s.data + 1, ' ', s.n - 1) : NULL;
        char *out = vs_buf_grow(text, s.n);
        bool whole_left = false, whole_right = false;
        if (!out)
            return VS_E_NOMEM;
        ret[n] = (struct side_by_side){ .at = (size_t)(out - text->data) };
        if (!space)
            continue;
        ret[n].n_left = unspell_side(t, s.data, (size_t)(space - s.data), out, &whole_left);
        ret[n].n_right = unspell_side(t, space + 1, s.n - (size_t)(space - s.data) - 1, out + ret[n].n_left, &whole_right);
        ret[n].n_left = whole_left && whole_right ? ret[n].n_left : 0;
    }
    for (uint32_t i = 0; i < n; i++)
        ret[i].s = text->data + ret[i].at;
    *ret_n = n;
    return VS_OK;
}

static void find_sides(const struct vs_tokenizer *t, struct side_by_side *rule, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        vs_vocab_ask(&t->vocab, rule[i].s, rule[i].n_left);
        vs_vocab_ask(&t->vocab, rule[i].s + rule[i].n_left, rule[i].n_right);
    }
    for (uint32_t i = 0; i < n; i++) {
        rule[i].left = vs_vocab_find(&t->vocab, rule[i].s, rule[i].n_left);
        rule[i].right = vs_vocab_find(&t->vocab, rule[i].s + rule[i].n_left, rule[i].n_right);
        __builtin_prefetch(&t->bpe.rule[vs_rule_slot(t, (uint64_t)rule[i].left << 32 | rule[i].right)]);
    }
}

static void add_rule(struct vs_tokenizer *t, const struct side_by_side *s, uint32_t rank, uint32_t *io_guess,
                     struct vs_proven *proofs)
{
    t->bpe.n_skipped++;
    if (s->left == VS_NO_ID || s->right == VS_NO_ID)
        return;
    uint32_t id = find_joined(&t->vocab, s->s, s->n_left + s->n_right, *io_guess);
    if (id == VS_NO_ID)
        return;
    uint64_t pair = (uint64_t)s->left << 32 | s->right, merge = (uint64_t)rank << 32 | id;
    uint32_t i = rule_slot(t, pair);
    if (t->bpe.rule[i].pair == pair)
        return;                         /* said twice: the first rank counts */
    *io_guess = id;
    if (proofs)
        vs_proven_add(proofs, s->left, s->right, merge);
    t->bpe.rule[i] = (struct vs_merge_rule){ pair, merge };
    if (s->n_left == 1 && s->n_right == 1)
        t->bpe.of_bytes[pair_of(s->s[0], s->s[1])] = merge;
    t->bpe.n_rules++;
    t->bpe.n_skipped--;
}

static int load_merges(struct vs_tokenizer *t, const struct vs_entries *entries, struct vs_proven *proofs,
                       struct vs_error *err)
{
    const char *key = "tokenizer.ggml.merges";
    const struct vs_entry *kv = NULL;
    int r = vs_vocab_array(entries, key, 0, true, &kv, err);
    if (r != VS_OK)
        return r;
    if (kv->elem_type != VS_ENTRY_STRING)
        return vs_error_set(err, VS_E_MALFORMED, "%s holds %s, not strings", key, vs_entry_type_name(kv->elem_type));
    if (kv->count >= 1u << 26)
        return vs_error_set(err, VS_E_LIMIT, "%s holds %" PRIu64 " merges, more than is reasonable", key, kv->count);
    t->bpe.rule_mask = vs_table_mask(kv->count);
    t->bpe.merge_lanes = vs_level[vs_levels() - 1].merge_lanes;
    size_t n_slots = t->bpe.rule_mask + (size_t)1;
    t->bpe.rule = aligned_alloc(VS_RULES_TOGETHER * sizeof *t->bpe.rule, n_slots * sizeof *t->bpe.rule);
    if (!t->bpe.rule)
        return vs_error_set(err, VS_E_NOMEM, "no memory for %" PRIu64 " merges", kv->count);
    memset(t->bpe.rule, 0xff, n_slots * sizeof *t->bpe.rule);
    t->bpe.of_bytes = malloc(N_PAIRS * sizeof *t->bpe.of_bytes);
    if (!t->bpe.of_bytes)
        return vs_error_set(err, VS_E_NOMEM, "no memory for %" PRIu64 " merges", kv->count);
    for (size_t i = 0; i < N_PAIRS; i++)
        t->bpe.of_bytes[i] = VS_NO_MERGE;

    struct vs_entry_cursor cursor = { 0 };
    struct vs_buf text = { 0 };
    struct side_by_side rules[RULES_AT_ONCE];
    uint32_t guess = 0, rank = 0, n;
    while ((r = read_rules(t, kv, &cursor, &text, rules, &n)) == VS_OK && n) {
        find_sides(t, rules, n);
        for (uint32_t i = 0; i < n; i++)
            add_rule(t, &rules[i], rank++, &guess, proofs);
    }
    vs_buf_clear(&text);
    return r == VS_OK ? VS_OK : vs_error_set(err, r, "no memory for %" PRIu64 " merges", kv->count);
}

static int load(struct vs_tokenizer *t, const struct vs_entries *entries, struct vs_error *err)
{
    for (unsigned b = 0; b < 256; b++) {
        char c = (char)b;
        t->byte_id[b] = vs_vocab_find(&t->vocab, &c, 1);
    }
    struct vs_proven *proofs = vs_proven_new(t);
    int r = proofs ? load_merges(t, entries, proofs, err)
                   : vs_error_set(err, VS_E_NOMEM, "no memory for a vocabulary of %" PRIu32 " tokens", t->vocab.n);
    vs_proven_free(proofs);
    return r;
}

static int on_words(void *context, const char *s, const uint32_t *n_bytes, size_t n)
{
    return vs_encoder_words(context, s, n_bytes, n);
}

static int encode(struct vs_encoder *e, const char *text, size_t n, bool at_start)
{
    (void)at_start;
    if (e->normalise) {                 /* words lie in e->text from now on */
        size_t from = e->text.n;
        int r = vs_nfc(text, n, e->check, &e->text);
        if (r != VS_OK)
            return r;
        e->base = e->text.data;
        text = e->text.data + from;
        n = e->text.n - from;
    }
    e->end = text + n;
    return vs_pretok_split(&e->t->bpe.pretok, text, n, e->check, on_words, e);
}

static uint64_t merge(const struct vs_tokenizer *t, const char *word, const struct vs_symbol *a, const struct vs_symbol *b)
{
    (void)word;
    uint64_t pair = (uint64_t)a->id << 32 | b->id;
    return vs_rule_find(t, pair, vs_rule_slot(t, pair));
}

/* Those of two bytes, which are most of what is asked for, are found without a search. */
static uint64_t merge_bytes(const struct vs_tokenizer *t, const char *word, const struct vs_symbol *a, const struct vs_symbol *b)
{
    return t->bpe.of_bytes[pair_of(word[a->at], word[b->at])];
}

/* Some real vocabularies lack bytes (SmolLM2: six control characters and the lead bytes f1 and f2). The libraries that they come
 * from drop such a byte before merging, so that its neighbours may merge; the ids that the model was trained on are theirs. */
static int symbols(struct vs_encoder *e, const char *word, size_t n, struct vs_symbol *ret, size_t *ret_n)
{
    size_t n_symbols = 0;
    int r = VS_OK;
    for (size_t i = 0; i < n && (r = vs_encoder_ask(e, i)) == VS_OK; i++) {
        uint32_t id = e->t->byte_id[(uint8_t)word[i]];
        if (id != VS_NO_ID)
            ret[n_symbols++] = (struct vs_symbol){ (uint32_t)i, 1, id };
    }
    *ret_n = n_symbols;
    return r;
}

const struct vs_family vs_family_bpe = {
    .name = "gpt2", .bos = VS_NO_ID, .eos = VS_NO_ID, .unk = VS_NO_ID, .sep = VS_NO_ID,
    .unspell = unspell, .load = load, .encode = encode, .word = vs_find_or_merge, .merge = merge,
    .merge_first = merge_bytes, .symbols = symbols,
};

/* ---- lines: pieces as in spm.c, of characters and with byte fallback; merges over whole lines, or over words of them ---- */

static int lines_load(struct vs_tokenizer *t, const struct vs_entries *entries, struct vs_error *err)
{
    vs_spm_find_bytes(t);
    vs_find_joined(t);
    return load_merges(t, entries, NULL, err);
}

/* Lines, and runs of line feeds, which are one piece where there is such a piece. */
static int on_lines(void *context, const char *s, const uint32_t *n_bytes, size_t n)
{
    struct vs_encoder *e = context;
    int r = VS_OK;
    for (size_t i = 0; r == VS_OK && i < n; s += n_bytes[i++]) {
        uint32_t id = *s == '\n' ? vs_vocab_find(&e->t->vocab, s, n_bytes[i]) : VS_NO_ID;
        r = id != VS_NO_ID ? vs_ids_add(e->ids, id) : vs_encoder_text(e, s, s + n_bytes[i]);
    }
    return r;
}

static bool lacks_space(const char *s, size_t i)
{
    return (i == 0 || s[i - 1] == '\n') && s[i] != '\n' && s[i] != ' ';
}

/* Puts a space in front of each line of e->text[from..) that begins otherwise. */
static int space_lines(struct vs_encoder *e, size_t from)
{
    size_t n = e->text.n - from, n_added = 0;
    int r = VS_OK;
    for (size_t i = 0; i < n && (r = vs_encoder_ask(e, i)) == VS_OK; i++)
        n_added += lacks_space(e->text.data + from, i);
    if (r != VS_OK || !n_added)
        return r;
    if (!vs_buf_grow(&e->text, n_added))
        return VS_E_NOMEM;
    e->base = e->text.data;
    char *s = e->text.data + from;
    for (size_t i = n; n_added && (r = vs_encoder_ask(e, i)) == VS_OK; i--) {
        s[i - 1 + n_added] = s[i - 1];
        if (lacks_space(s, i - 1))
            s[i - 1 + --n_added] = ' ';
    }
    return r;
}

static int lines_encode(struct vs_encoder *e, const char *text, size_t n, bool at_start)
{
    (void)at_start;
    size_t from;
    int r = vs_spm_rewrite(e, text, n, &from);
    if (r == VS_OK && e->t->bpe.pretok.flags & VS_PRE_SPACE_FIRST)
        r = space_lines(e, from);
    if (r != VS_OK)
        return r;
    e->end = e->base + e->text.n;
    return vs_pretok_split(&e->t->bpe.pretok, e->base + from, e->text.n - from, e->check, on_lines, e);
}

const struct vs_family vs_family_lines = {
    .name = "gemma4", .bos = VS_NO_ID, .eos = VS_NO_ID, .unk = VS_NO_ID, .sep = VS_NO_ID, .pre = "gemma4",
    .unspell = vs_spm_unspell, .load = lines_load, .encode = lines_encode, .word = vs_merge_word, .merge = merge,
    .symbols = vs_spm_symbols, .emit = vs_spm_emit,
};
