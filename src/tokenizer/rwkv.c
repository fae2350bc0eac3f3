/* tokenizer/rwkv.c - RWKV's vocabulary (tokenizer.ggml.model "rwkv"): at each byte the longest piece that fits.
 *
 * The file spells bytes that are no printable ASCII as \t \n \r \xHH, and \\ and \' with a backslash before them. Nothing is merged
 * and nothing is added; pieces may end within a character.
 */
#include "tokenizer/internal.h"

#include <string.h>

static int digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

/* The byte that an escape of n characters begins with; how many it takes, 0: it is none. */
static size_t escaped(const char *s, size_t n, char *ret)
{
    static const char names[] = "tnr\\'\"", bytes[] = "\t\n\r\\'\"";
    const char *at = n > 1 && s[1] ? strchr(names, s[1]) : NULL;
    if (at) {
        *ret = bytes[at - names];
        return 2;
    }
    if (n < 4 || s[1] != 'x' || digit(s[2]) < 0 || digit(s[3]) < 0)
        return 0;
    *ret = (char)(16 * digit(s[2]) + digit(s[3]));
    return 4;
}

static size_t unspell(enum vs_piece_type type, const char *s, size_t n, char *out, bool *ret_reachable)
{
    size_t to = 0;
    bool is_text = type != VS_PIECE_CONTROL && type != VS_PIECE_UNKNOWN;
    for (size_t i = 0, len; i < n; i += len) {
        len = 1;
        out[to] = s[i];
        if (is_text && s[i] == '\\' && (len = escaped(s + i, n - i, &out[to])) == 0) {
            *ret_reachable = false;      /* a spelling that nobody writes */
            len = 1;
        }
        to++;
    }
    return to;
}

/* The longest piece at s; VS_NO_ID: none. */
static uint32_t longest(const struct vs_trie *trie, const char *s, size_t n, size_t *ret_n, size_t *ret_looked)
{
    uint32_t id = VS_NO_ID, node = 0;
    size_t i = 0;
    *ret_n = 1;
    for (; i < n && (node = vs_trie_next(trie, node, (uint8_t)s[i])) != VS_NO_ID; i++)
        if (node & VS_NODE_ENDS) {
            id = vs_trie_id(trie, node);
            *ret_n = i + 1;
        }
    *ret_looked = i + 1;
    return id;
}

static int word(struct vs_encoder *e, const char *text, size_t n)
{
    int r = VS_OK;
    for (size_t i = 0, len, looked; i < n && r == VS_OK; i += len) {
        uint32_t id = longest(&e->t->unigram.pieces, text + i, n - i, &len, &looked);
        id = id == VS_NO_ID ? e->t->unk : id;
        r = id == VS_NO_ID ? vs_error_set(e->err, VS_E_MALFORMED, "the vocabulary has no token for the byte 0x%02x",
                                          (unsigned)(uint8_t)text[i])
                           : vs_ids_add(e->ids, id);
        if (r == VS_OK)
            r = vs_check_work(e->check, 4 * looked);
    }
    return r;
}

static int encode(struct vs_encoder *e, const char *text, size_t n, bool at_start)
{
    (void)at_start;
    e->end = text + n;
    return vs_encoder_text(e, text, e->end);
}

static int load(struct vs_tokenizer *t, const struct vs_entries *entries, struct vs_error *err)
{
    (void)entries;
    vs_find_joined(t);
    return vs_trie_build(&t->unigram.pieces, &t->vocab, VS_PIECE_IS_MERGEABLE | VS_TRIE_BYTES, err);
}

const struct vs_family vs_family_rwkv = {
    .name = "rwkv", .bos = VS_NO_ID, .eos = 0, .unk = VS_NO_ID, .sep = VS_NO_ID,
    .unspell = unspell, .load = load, .encode = encode, .word = word,
};
