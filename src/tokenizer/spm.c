/* tokenizer/spm.c - SentencePiece BPE ("llama"): neighbours whose joined text is a piece are merged, highest score first,
 * leftmost on ties; a character that is no piece becomes bytes. */
#include "tokenizer/internal.h"

#include "base/num.h"
#include "base/utf8.h"
#include "import/gguf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int load(struct vs_tokenizer *t, const struct vs_gguf *g, struct vs_error *err)
{
    const struct vs_gguf_kv *scores = vs_gguf_find(g, "tokenizer.ggml.scores");
    if (!scores || scores->type != VS_GGUF_ARRAY || scores->count < t->n_vocab)
        return vs_error_set(err, VS_E_MALFORMED, "tokenizer: tokenizer.ggml.scores is %s",
                            scores ? "not a list as long as the tokens" : "missing");
    t->score = malloc(t->n_vocab * sizeof *t->score);
    if (!t->score)
        return vs_error_set(err, VS_E_NOMEM, "out of memory");
    for (uint32_t id = 0; id < t->n_vocab; id++) {
        double v;
        if (!vs_gguf_float(scores, id, &v))
            return vs_error_set(err, VS_E_MALFORMED, "tokenizer: tokenizer.ggml.scores is not a list of numbers");
        t->score[id] = (float)v;
        size_t n;
        unsigned byte;
        const char *s = vs_tokenizer_piece(t, id, &n);
        char text[7] = { 0 };
        if (n != 6 || t->type[id] != VS_PIECE_BYTE)
            continue;
        memcpy(text, s, 6);
        if (sscanf(text, "<0x%2X>", &byte) == 1 && t->byte_id[byte] == VS_TOKENIZER_NONE)
            t->byte_id[byte] = id;
    }
    for (unsigned b = 0; b < 256; b++) {                 /* without a byte piece, the one-byte string */
        char c = (char)b;
        if (t->byte_id[b] == VS_TOKENIZER_NONE)
            t->byte_id[b] = vs_piece_find(t, &c, 1);
    }
    return VS_OK;
}

struct symbol { uint32_t at, n, prev, next; };           /* bytes [at, at + n) of the text; n = 0: merged away */

struct encoding {
    const struct vs_tokenizer *t;
    const char *text;
    struct symbol *symbol;
    struct vs_heap heap;
};

/* Order of floats, highest first, as unsigned numbers. NaN (a damaged file) has some place, the same always. */
static uint32_t key_of(float score)
{
    uint32_t bits = vs_f32_bits(score == 0 ? 0.0f : score);
    return ~(bits & 0x80000000 ? ~bits : bits | 0x80000000);
}

static int consider(struct encoding *e, uint32_t left, uint32_t right)
{
    if (left == UINT32_MAX || right == UINT32_MAX)
        return VS_OK;
    uint32_t n = e->symbol[left].n + e->symbol[right].n;
    uint32_t id = vs_piece_find(e->t, e->text + e->symbol[left].at, n);
    if (id == VS_TOKENIZER_NONE)
        return VS_OK;
    return vs_heap_push(&e->heap, (struct vs_pair){ key_of(e->t->score[id]), left, right, n });
}

static int merge(struct encoding *e, size_t n_symbols)
{
    int r = VS_OK;
    for (size_t i = 0; i + 1 < n_symbols && r == VS_OK; i++)
        r = consider(e, (uint32_t)i, (uint32_t)i + 1);
    struct vs_pair p;
    while (r == VS_OK && vs_heap_pop(&e->heap, &p)) {
        struct symbol *left = &e->symbol[p.left], *right = &e->symbol[p.right];
        if (!left->n || !right->n || left->n + right->n != p.size)
            continue;                    /* one of them has changed since */
        left->n += right->n;
        right->n = 0;
        left->next = right->next;
        if (right->next != UINT32_MAX)
            e->symbol[right->next].prev = p.left;
        r = consider(e, left->prev, p.left);
        if (r == VS_OK)
            r = consider(e, p.left, left->next);
    }
    return r;
}

static int encode(const struct vs_tokenizer *t, const char *text, size_t n, bool prefix_space, struct vs_ids *ids,
                  struct vs_error *err)
{
    struct vs_buf escaped = { 0 };
    if (prefix_space && t->add_space_prefix)
        vs_buf_str(&escaped, "\xe2\x96\x81");
    for (size_t i = 0; i < n; i++) {
        if (text[i] == ' ')
            vs_buf_str(&escaped, "\xe2\x96\x81");
        else
            vs_buf_char(&escaped, text[i]);
    }
    int r = escaped.status;
    struct encoding e = { .t = t, .text = escaped.data };
    size_t n_symbols = 0;
    if (r == VS_OK && escaped.n > UINT32_MAX / 2)
        r = VS_E_LIMIT;
    if (r == VS_OK && !(e.symbol = malloc(escaped.n * sizeof *e.symbol + 1)))
        r = VS_E_NOMEM;
    for (size_t at = 0; r == VS_OK && at < escaped.n; n_symbols++) {
        uint32_t c;
        size_t len = vs_utf8_decode(escaped.data + at, escaped.n - at, &c);
        len = len ? len : 1;
        e.symbol[n_symbols] = (struct symbol){ (uint32_t)at, (uint32_t)len, (uint32_t)n_symbols - 1, (uint32_t)n_symbols + 1 };
        at += len;
    }
    if (r == VS_OK && n_symbols) {
        e.symbol[n_symbols - 1].next = UINT32_MAX;
        r = merge(&e, n_symbols);
    }
    if (r != VS_OK)
        vs_error_set(err, r, "%s", r == VS_E_LIMIT ? "the text is too long" : "out of memory");
    for (uint32_t i = n_symbols ? 0 : UINT32_MAX; r == VS_OK && i != UINT32_MAX; i = e.symbol[i].next) {
        const char *s = escaped.data + e.symbol[i].at;
        uint32_t id = vs_piece_find(t, s, e.symbol[i].n);
        r = id == VS_TOKENIZER_NONE ? vs_piece_as_bytes(t, s, e.symbol[i].n, ids, err) : vs_ids_add(ids, id);
    }
    free(e.symbol);
    free(e.heap.pair);
    vs_buf_clear(&escaped);
    return r;
}

const struct vs_family vs_family_spm = {
    .name = "llama", .byte_level = false, .add_bos = true, .add_space_prefix = true, .load = load, .encode = encode,
};
