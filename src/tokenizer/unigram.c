/* tokenizer/unigram.c - SentencePiece's unigram model (tokenizer.ggml.model "t5").
 *
 * Characters are replaced by the file's map (the longest entry that fits), runs of spaces become one where the file wants it, and
 * the likeliest of all ways to cut the text into pieces is taken. U+2581 in the file stands for a space, which pieces have here.
 *
 *     map:  u32 bytes of the array, the array's u32 words, texts with a NUL behind each
 *     word: bits 0-7, 31 the byte that leads here; 8 a value follows; 9-30 where its children lie (exclusive or)
 *
 * No piece goes over a place between two bytes that no piece has side by side; so the text is cut there into words, and only a word
 * is looked at at a time. Its likelihood is a sum, which does not say where it began as long as sums are exact; where they are not,
 * text is cut in front of spaces only.
 */
#include "tokenizer/internal.h"

#include "base/bytes.h"
#include "base/utf8.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    MOST_KEY = 256, MOST_TEXT = 1024,    /* bytes of an entry of the map, and of what replaces it */
    MOST_PLAIN = 1 << 12,
    MOST_DIGITS = 40,
    MOST_WORD = 1 << 20,                 /* a longer word is cut */
    FEW = 64,                            /* bytes of words whose ways need no memory of their own */
};

/* ---- the character map ---- */

static uint32_t children(uint32_t word)
{
    return (word >> 10) << ((word & 1u << 9) >> 6);
}

static uint32_t root(const struct vs_unigram *u)
{
    return u->n_map ? children(u->map[0]) : 0;
}

/* One byte further from where children lie; false: no entry goes on so. Whether one ends there: then the word says its text. */
static bool go_on(const struct vs_unigram *u, uint32_t *io_at, char c, bool *ret_ends)
{
    uint32_t node = *io_at ^ (uint8_t)c, word = node < u->n_map ? u->map[node] : 0;
    if (!c || (word & 0x800000ff) != (uint8_t)c)
        return false;
    *io_at = node ^ children(word);
    *ret_ends = word & 1u << 8;
    return *io_at < u->n_map;
}

/* The longest entry at s: its bytes, 0 when there is none, and where its text begins. */
static size_t find(const struct vs_unigram *u, const char *s, size_t n, uint32_t *ret_text)
{
    size_t found = 0;
    bool ends;
    uint32_t at = root(u);
    for (size_t i = 0; i < n && i < MOST_KEY && go_on(u, &at, s[i], &ends); i++)
        if (ends) {
            found = i + 1;
            *ret_text = u->map[at] & 0x7fffffff;
        }
    return found;
}

/* ASCII that no entry is, nor begins with before more ASCII. */
static void find_plain(struct vs_unigram *u)
{
    for (unsigned a = 0; a < 128; a++) {
        uint32_t at = root(u);
        bool ends, known = go_on(u, &at, (char)a, &ends);
        u->plain[a] = !known || !ends;
        for (unsigned b = 1; b < 128 && known; b++) {
            uint32_t then = at;
            u->plain[a] &= !go_on(u, &then, (char)b, &ends);
        }
    }
}

static int load_map(struct vs_unigram *u, const struct vs_entries *entries, struct vs_error *err)
{
    const char *key = "tokenizer.ggml.precompiled_charsmap";
    const struct vs_entry *kv = vs_entries_find(entries, key);
    if (!kv || (kv->type == VS_ENTRY_ARRAY && !kv->count))
        return VS_OK;
    if (kv->type != VS_ENTRY_ARRAY || kv->n_bytes != kv->count)
        return vs_error_set(err, VS_E_MALFORMED, "%s is not a list of bytes", key);
    uint32_t n = kv->n_bytes >= 4 ? vs_load_u32le(kv->data) : 1;
    if (n % 4 || n > kv->n_bytes - 4)
        return vs_error_set(err, VS_E_MALFORMED, "%s: its array does not fit into it", key);
    u->n_texts = kv->n_bytes - 4 - n;
    u->n_map = n / 4;
    u->map = malloc((size_t)n + 4);
    u->texts = malloc(u->n_texts + 1);
    if (!u->map || !u->texts)
        return vs_error_set(err, VS_E_NOMEM, "no memory for a map of characters");
    for (size_t i = 0; i < u->n_map; i++)
        u->map[i] = vs_load_u32le(kv->data + 4 + 4 * i);
    memcpy(u->texts, kv->data + 4 + n, u->n_texts);
    return VS_OK;
}

/* ---- from text to text ---- */

/* n bytes of what the map made, runs of spaces joined where that is wanted. */
static void put(struct vs_encoder *e, size_t from, const char *s, size_t n)
{
    struct vs_buf *out = &e->text;
    for (size_t i = 0; i < n; i++) {
        bool again = s[i] == ' ' && (out->n == from || out->data[out->n - 1] == ' ');
        if (!again || !e->t->unigram.collapses)
            vs_buf_char(out, s[i]);
    }
}

/* Bytes at s that stay as they are. */
static size_t n_plain(const struct vs_encoder *e, size_t from, const char *s, size_t n)
{
    const struct vs_unigram *u = &e->t->unigram;
    const struct vs_buf *out = &e->text;
    char last = out->n > from ? out->data[out->n - 1] : ' ';
    size_t i = 0;
    for (; i < n && i < MOST_PLAIN && (uint8_t)s[i] < 0x80 && u->plain[(uint8_t)s[i]]; last = s[i++])
        if ((i + 1 < n && (uint8_t)s[i + 1] >= 0x80) || (u->collapses && s[i] == ' ' && last == ' '))
            break;
    return i;
}

/* The text as it is cut, behind what e->text has; where it begins there. */
static int rewrite(struct vs_encoder *e, const char *text, size_t n, bool prefix, size_t *ret_from)
{
    static const char sign[] = "\xe2\x96\x81";
    const struct vs_unigram *u = &e->t->unigram;
    size_t from = *ret_from = e->text.n;
    if (prefix)
        vs_buf_char(&e->text, ' ');
    for (size_t i = 0, len; i < n && e->text.status == VS_OK; i += len) {
        uint32_t at = 0, c;
        if ((len = n_plain(e, from, text + i, n - i)) != 0) {
            vs_buf_add(&e->text, text + i, len);
        } else if ((len = find(u, text + i, n - i, &at)) != 0) {
            size_t most = at < u->n_texts ? u->n_texts - at : 0, k = most ? strnlen(u->texts + at, most) : 0;
            if (k == most || k > MOST_TEXT || vs_utf8_valid(u->texts + at, k) != k)
                return vs_error_set(e->err, VS_E_MALFORMED, "the map of characters leads out of itself");
            put(e, from, u->texts + at, k);
        } else if ((len = vs_utf8_decode(text + i, n - i, &c)) == 0) {
            return vs_error_set(e->err, VS_E_MALFORMED, "the text is not valid UTF-8");
        } else if (len == 3 && memcmp(text + i, sign, 3) == 0) {
            put(e, from, " ", 1);
        } else {
            put(e, from, text + i, len);
        }
        int r = vs_check_work(e->check, 4 * len);
        if (r != VS_OK)
            return r;
    }
    while (u->collapses && e->text.n > from && e->text.status == VS_OK && e->text.data[e->text.n - 1] == ' ')
        e->text.n--;
    e->base = e->text.data;
    return e->text.status == VS_OK ? VS_OK : VS_E_NOMEM;
}

/* ---- the likeliest way ---- */

struct step { double score; uint32_t from, id; };        /* the best way to a place: the piece that ends there */

/* From place `at` of a word to where each piece that begins there ends. How many bytes were looked at. */
static uint64_t spread(const struct vs_tokenizer *t, const char *word, size_t n, size_t at, struct step *step)
{
    const struct vs_unigram *u = &t->unigram;
    size_t one = 1, i = at;
    bool spells_one = false;
    while (at + one < n && ((uint8_t)word[at + one] & 0xc0) == 0x80)
        one++;
    for (uint32_t node = 0; i < n && (node = vs_trie_next(&u->pieces, node, (uint8_t)word[i])) != VS_NO_ID; i++) {
        uint32_t id = vs_trie_id(&u->pieces, node);
        if (id == VS_NO_ID)
            continue;
        double score = step[at].score + (t->vocab.type[id] == VS_PIECE_USER ? 0 : (double)u->score[id]);
        spells_one |= i + 1 - at == one;
        if (step[i + 1].id == VS_NO_ID || score > step[i + 1].score)
            step[i + 1] = (struct step){ score, (uint32_t)at, id };
    }
    double score = step[at].score + u->unknown;
    if (!spells_one && (step[at + one].id == VS_NO_ID || score > step[at + one].score))
        step[at + one] = (struct step){ score, (uint32_t)at, t->unk };
    return i - at;
}

/* The ids of a part of a word; unknown ones that follow each other are one, also those that stand before it. */
static int take_part(struct vs_encoder *e, const char *word, size_t n, struct step *step)
{
    const struct vs_tokenizer *t = e->t;
    int r = VS_OK;
    for (size_t i = 0; i <= n; i++)
        step[i] = (struct step){ 0, 0, VS_NO_ID };
    for (size_t at = 0; at < n && r == VS_OK; at++)
        if (at == 0 || step[at].id != VS_NO_ID)
            r = vs_check_work(e->check, 4 * (1 + spread(t, word, n, at, step)));
    size_t first = e->ids->n, n_ids = 0;
    for (size_t at = n; at && r == VS_OK; at = step[at].from)
        n_ids++;
    if (r == VS_OK)
        r = vs_ids_reserve(e->ids, n_ids);
    if (r != VS_OK)
        return r;
    size_t k = first + n_ids, to = first;
    for (size_t at = n; at; at = step[at].from)
        e->ids->id[--k] = step[at].id;
    for (size_t i = first; i < first + n_ids; i++) {
        uint32_t id = e->ids->id[i];
        e->forget |= id == t->unk;
        if (id != t->unk || to == e->first || e->ids->id[to - 1] != t->unk)
            e->ids->id[to++] = id;
    }
    e->ids->n = to;
    return VS_OK;
}

static int take_word(struct vs_encoder *e, const char *word, size_t n)
{
    struct step few[FEW + 1];
    int r = VS_OK;
    for (size_t at = 0, part; at < n && r == VS_OK; at += part) {
        part = n - at < MOST_WORD ? n - at : MOST_WORD;
        while (part < n - at && ((uint8_t)word[at + part] & 0xc0) == 0x80)
            part++;
        struct step *step = part <= FEW ? few : vs_encoder_room(e, (part + 1) * sizeof *step);
        r = step ? take_part(e, word + at, part, step) : VS_E_NOMEM;
    }
    return r;
}

static int encode(struct vs_encoder *e, const char *text, size_t n, bool at_start)
{
    const struct vs_tokenizer *t = e->t;
    size_t from;
    int r = rewrite(e, text, n, at_start && t->add_space_prefix, &from);
    if (r == VS_OK && t->unk == VS_NO_ID)
        r = vs_error_set(e->err, VS_E_MALFORMED, "the vocabulary has no token for unknown characters");
    e->end = e->base + e->text.n;
    return r == VS_OK ? vs_encoder_text(e, e->base + from, e->end) : r;
}

/* ---- loading ---- */

/* What sums of scores may be: so many binary digits behind the point, and so much for a byte of text. */
struct sums { int digits; double most; };

static bool is_whole(double x)
{
    return fabs(x) >= 0x1p52 || (double)(int64_t)x == x;
}

static void sum_may_have(struct sums *s, double score, size_t n_bytes)
{
    double each = fabs(score) / (double)n_bytes;
    while (s->digits < MOST_DIGITS && !is_whole(ldexp(score, s->digits)))
        s->digits++;
    s->most = each > s->most ? each : s->most;
}

/* Does each sum over a word fit into a double as it is? */
static bool is_exact(const struct sums *s)
{
    return s->digits < MOST_DIGITS && ldexp(s->most * MOST_WORD, s->digits) < ldexp(1, 52);
}

static int load_scores(struct vs_tokenizer *t, const struct vs_entries *entries, struct vs_error *err)
{
    struct vs_unigram *u = &t->unigram;
    const char *key = "tokenizer.ggml.scores";
    const struct vs_entry *kv = NULL;
    double least = 0;
    struct sums sums = { 0 };
    int r = vs_vocab_array(entries, key, t->vocab.n, true, &kv, err);
    if (r != VS_OK)
        return r;
    u->score = malloc(t->vocab.n * sizeof *u->score);
    if (!u->score)
        return vs_error_set(err, VS_E_NOMEM, "no memory for a vocabulary of %" PRIu32 " tokens", t->vocab.n);
    for (uint32_t id = 0; id < t->vocab.n; id++) {
        double score;
        size_t n;
        if (!vs_entry_float(kv, id, &score) || !(score >= -1e30 && score <= 1e30))
            return vs_error_set(err, VS_E_MALFORMED, "%s: the score of token %" PRIu32 " is not a number", key, id);
        u->score[id] = (float)score;
        if (t->vocab.type[id] == VS_PIECE_NORMAL && score < least)
            least = score;
        vs_span(&t->vocab.bytes, id, &n);
        if (n && t->vocab.flags[id] & VS_PIECE_IS_MERGEABLE)
            sum_may_have(&sums, u->score[id], n);
    }
    u->unknown = least - 10;
    sum_may_have(&sums, u->unknown, 1);
    vs_find_joined(t);
    for (unsigned pair = 0; pair < 1 << 16 && !is_exact(&sums); pair++)
        if (pair % 256 != ' ')
            t->joined[pair >> 6] |= (uint64_t)1 << pair % 64;
    return VS_OK;
}

static int load(struct vs_tokenizer *t, const struct vs_entries *entries, struct vs_error *err)
{
    int r = load_scores(t, entries, err);
    if (r == VS_OK)
        r = vs_trie_build(&t->unigram.pieces, &t->vocab, VS_PIECE_IS_MERGEABLE, err);
    if (r == VS_OK)
        r = load_map(&t->unigram, entries, err);
    find_plain(&t->unigram);
    if (r == VS_OK)
        r = vs_entries_bool(entries, "tokenizer.ggml.remove_extra_whitespaces", &t->unigram.collapses, err);
    return r == VS_E_NOT_FOUND ? VS_OK : r;
}

const struct vs_family vs_family_unigram = {
    .name = "t5", .bos = VS_NO_ID, .eos = 1, .unk = 2, .sep = VS_NO_ID, .add_eos = true,
    .unspell = vs_spm_unspell, .load = load, .encode = encode, .word = take_word,
};
