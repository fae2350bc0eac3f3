/* tokenizer/plamo.c - PLaMo's vocabularies (tokenizer.ggml.model "plamo2" and "plamo3"): the cheapest of all ways to cut a text.
 *
 * A piece costs what its score says, negated, in ten-thousandths; a character that no piece spells costs 1,000 and becomes its
 * bytes. The text is read from its end, so that of two ways that cost the same the one whose first piece is longer is taken. Pieces
 * go over spaces. PLaMo 2 leaves out a byte order mark at the beginning. PLaMo 3 keeps it, and cuts the text first: around what is
 * written like its control tokens, around runs of four and more of a character (but line feeds) and of two and more spaces, and at
 * U+EE00, which goes.
 */
#include "tokenizer/internal.h"

#include "base/utf8.h"
#include "unicode/unicode.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    UNKNOWN_COST = 10000000, MOST_COST = 2 * UNKNOWN_COST,   /* a piece that costs as much or more is never taken */
    MOST_TAG = 64,                       /* characters of the name in <|plamo:NAME|> */
    LONG_RUN = 4, LONG_SPACES = 2,
    FEW = 64,                            /* bytes of words whose ways need no memory of their own */
};

struct step { int64_t cost; uint32_t id; };      /* from a place to the end: what it costs, and its first piece; VS_NO_ID: bytes */

static size_t character(const char *s, size_t n)
{
    size_t len = 1;
    while (len < n && ((uint8_t)s[len] & 0xc0) == 0x80)
        len++;
    return len;
}

/* The cheapest way from each place of s to its end, last places first. */
static int find_ways(const struct vs_encoder *e, const char *s, size_t n, struct step *step)
{
    const struct vs_tokenizer *t = e->t;
    const struct vs_trie *pieces = &t->unigram.pieces;
    int r = VS_OK;
    step[n] = (struct step){ 0, VS_NO_ID };
    for (size_t at = n; at-- > 0 && r == VS_OK;) {
        if (((uint8_t)s[at] & 0xc0) == 0x80)
            continue;
        struct step best = { step[at + character(s + at, n - at)].cost + UNKNOWN_COST, VS_NO_ID };
        size_t i = at;
        for (uint32_t node = 0; i < n && (node = vs_trie_next(pieces, node, (uint8_t)s[i])) != VS_NO_ID; i++) {
            uint32_t id = vs_trie_id(pieces, node);
            if (id == VS_NO_ID || t->plamo.cost[id] >= MOST_COST)
                continue;
            int64_t cost = step[i + 1].cost + t->plamo.cost[id];
            if (cost <= best.cost)
                best = (struct step){ cost, id };
        }
        step[at] = best;
        r = vs_check_work(e->check, 4 * (1 + i - at));
    }
    return r;
}

static int take(struct vs_encoder *e, const char *s, size_t n, const struct step *step)
{
    const struct vs_tokenizer *t = e->t;
    int r = VS_OK;
    for (size_t at = 0, k = 0, len; at < n && r == VS_OK && (r = vs_encoder_ask(e, k)) == VS_OK; at += len, k++) {
        uint32_t id = step[at].id;
        if (id != VS_NO_ID) {
            vs_span(&t->vocab.bytes, id, &len);
            r = vs_ids_add(e->ids, id);
            continue;
        }
        len = character(s + at, n - at);
        for (size_t i = 0; i < len && r == VS_OK; i++)
            r = vs_ids_add(e->ids, t->byte_id[(uint8_t)s[at + i]]);
    }
    return r;
}

static int word(struct vs_encoder *e, const char *s, size_t n)
{
    struct step few[FEW + 1], *step = n <= FEW ? few : vs_encoder_room(e, (n + 1) * sizeof *step);
    if (!step)
        return VS_E_NOMEM;
    int r = find_ways(e, s, n, step);
    return r == VS_OK ? take(e, s, n, step) : r;
}

static int take_part(struct vs_encoder *e, const char *s, size_t n)
{
    e->end = s + n;
    return vs_encoder_text(e, s, e->end);
}

/* ---- where PLaMo 3 cuts ---- */

/* Bytes of <|plamo:NAME|> at s; 0: there is none. */
static size_t tag(const char *s, size_t n)
{
    static const char begin[] = "<|plamo:";
    size_t at = sizeof begin - 1;
    if (n < at || memcmp(s, begin, at) != 0)
        return 0;
    for (unsigned k = 0; k < MOST_TAG && at < n && s[at] != '|'; k++) {
        uint32_t c;
        size_t len = vs_utf8_next(s + at, &c);
        if ((c >= 0x1c && c <= 0x1f) || vs_unicode(c)->mask & 1u << VS_U_WHITE_SPACE)
            return 0;
        at += len;
    }
    return n - at >= 2 && s[at] == '|' && s[at + 1] == '>' ? at + 2 : 0;
}

/* Bytes from s on of one character again and again; no tag begins behind the first. */
static size_t repeated(const char *s, size_t n, size_t *ret_times)
{
    size_t len = character(s, n), at = len;
    for (*ret_times = 1; n - at >= len && memcmp(s, s + at, len) == 0 && !(*s == '<' && tag(s + at, n - at)); at += len)
        ++*ret_times;
    return at;
}

static int encode_parts(struct vs_encoder *e, const char *s, size_t n)
{
    static const char boundary[] = "\xee\xb8\x80";
    size_t from = 0, fence = SIZE_MAX;           /* where the part, and where the tag ends */
    int r = VS_OK;
    for (size_t at = 0, len, times; at < n && r == VS_OK; at += len) {
        size_t n_tag = s[at] == '<' ? tag(s + at, n - at) : 0, limit = fence > at && fence < n ? fence : n;
        len = repeated(s + at, limit - at, &times);
        bool is_gap = n - at >= 3 && memcmp(s + at, boundary, 3) == 0;
        bool is_long = (times >= LONG_RUN && s[at] != '\n') || (times >= LONG_SPACES && s[at] == ' ');
        if (at == fence || n_tag || is_gap || is_long) {
            r = take_part(e, s + from, at - from);
            from = at + (is_gap ? len : 0);
        }
        if (is_long && !is_gap && r == VS_OK) {
            r = take_part(e, s + at, len);
            from = at + len;
        }
        fence = n_tag ? at + n_tag : fence;
        if (r == VS_OK)
            r = vs_check_work(e->check, len);
    }
    return r == VS_OK ? take_part(e, s + from, n - from) : r;
}

/* ---- a vocabulary ---- */

static int encode2(struct vs_encoder *e, const char *text, size_t n, bool at_start)
{
    static const char mark[] = "\xef\xbb\xbf";
    size_t skipped = at_start && n >= 3 && memcmp(text, mark, 3) == 0 ? 3 : 0;
    return take_part(e, text + skipped, n - skipped);
}

static int encode3(struct vs_encoder *e, const char *text, size_t n, bool at_start)
{
    (void)at_start;
    return encode_parts(e, text, n);
}

static size_t unspell(enum vs_piece_type type, const char *s, size_t n, char *out, bool *ret_reachable)
{
    if (type == VS_PIECE_BYTE)
        return vs_spm_unspell(type, s, n, out, ret_reachable);
    memcpy(out, s, n);
    return n;
}

static int load(struct vs_tokenizer *t, const struct vs_entries *entries, struct vs_error *err)
{
    const char *key = "tokenizer.ggml.scores";
    const struct vs_entry *kv = NULL;
    int r = vs_vocab_array(entries, key, t->vocab.n, true, &kv, err);
    if (r != VS_OK)
        return r;
    t->plamo.cost = malloc(t->vocab.n * sizeof *t->plamo.cost);
    if (!t->plamo.cost)
        return vs_error_set(err, VS_E_NOMEM, "no memory for a vocabulary of %" PRIu32 " tokens", t->vocab.n);
    for (uint32_t id = 0; id < t->vocab.n; id++) {
        double score;
        if (!vs_entry_float(kv, id, &score) || score != score || score > 1e5)
            return vs_error_set(err, VS_E_MALFORMED, "%s: the score of token %" PRIu32 " is no score", key, id);
        double cost = -score * 1e4;
        t->plamo.cost[id] = cost < MOST_COST ? (int32_t)(cost + (cost < 0 ? -0.5 : 0.5)) : MOST_COST;
    }
    vs_spm_find_bytes(t);
    vs_find_joined(t);
    for (unsigned b = 0; b < 256; b++)
        if (t->byte_id[b] == VS_NO_ID)
            return vs_error_set(err, VS_E_MALFORMED, "the vocabulary has no token for byte 0x%02x", b);
    return vs_trie_build(&t->unigram.pieces, &t->vocab, VS_PIECE_IS_MERGEABLE, err);
}

const struct vs_family vs_family_plamo2 = {
    .name = "plamo2", .bos = 1, .eos = 2, .unk = 0, .sep = VS_NO_ID, .unspell = unspell, .load = load, .encode = encode2,
    .word = word,
};

const struct vs_family vs_family_plamo3 = {
    .name = "plamo3", .bos = 1, .eos = 2, .unk = 0, .sep = VS_NO_ID, .unspell = unspell, .load = load, .encode = encode3,
    .word = word,
};
