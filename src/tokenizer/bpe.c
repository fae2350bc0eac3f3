/* tokenizer/bpe.c - byte-level BPE ("gpt2"): cut into pre-tokens, then merge neighbours, lowest rank first, leftmost on ties. */
#include "tokenizer/internal.h"

#include "import/gguf.h"

#include <stdlib.h>
#include <string.h>

static uint32_t slot_of(uint32_t left, uint32_t right)
{
    uint64_t h = ((uint64_t)left << 32 | right) * UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(h >> 32);
}

static const struct vs_merge *find(const struct vs_tokenizer *t, uint32_t left, uint32_t right)
{
    for (uint32_t i = slot_of(left, right);; i++) {
        const struct vs_merge *m = &t->merges[i & t->merges_mask];
        if (m->rank == UINT32_MAX)
            return NULL;
        if (m->left == left && m->right == right)
            return m;
    }
}

/* Undoes the printable mapping of one side of a merge rule and looks it up. */
static uint32_t side(const struct vs_tokenizer *t, const char *s, size_t n, char *to, size_t *ret_n)
{
    *ret_n = vs_piece_unmap(s, n, to);
    return *ret_n ? vs_piece_find(t, to, *ret_n) : VS_TOKENIZER_NONE;
}

static int load(struct vs_tokenizer *t, const struct vs_gguf *g, struct vs_error *err)
{
    struct vs_str pre = { "default", 7 };
    int r = vs_gguf_get_str(g, "tokenizer.ggml.pre", &pre, err);
    if (r != VS_OK && r != VS_E_NOT_FOUND)
        return r;
    if (vs_pretok_init(&t->pretok, pre.data, pre.n) != VS_OK)
        return vs_error_set(err, VS_E_UNSUPPORTED, "tokenizer: pre-tokenizer '%.*s' is not supported",
                            (int)(pre.n < 60 ? pre.n : 60), pre.data);
    t->add_bos = t->pretok.flags & VS_PRE_ADD_BOS;
    for (unsigned b = 0; b < 256; b++) {
        char c = (char)b;
        t->byte_id[b] = vs_piece_find(t, &c, 1);
    }
    const struct vs_gguf_kv *list = vs_gguf_find(g, "tokenizer.ggml.merges");
    if (!list || list->type != VS_GGUF_ARRAY || list->elem_type != VS_GGUF_STRING || list->count > 1u << 26)
        return vs_error_set(err, VS_E_MALFORMED, "tokenizer: tokenizer.ggml.merges is %s", list ? "not a list of strings" : "missing");
    uint32_t size = 64;
    while (size < 2 * list->count)
        size *= 2;
    t->merges = malloc(size * sizeof *t->merges);
    struct vs_buf room = { 0 };
    if (!t->merges)
        return vs_error_set(err, VS_E_NOMEM, "out of memory");
    memset(t->merges, 0xff, size * sizeof *t->merges);
    t->merges_mask = size - 1;
    struct vs_gguf_cursor cursor = { 0 };
    struct vs_str s;
    for (uint32_t rank = 0; vs_gguf_next_str(list, &cursor, &s); rank++) {
        const char *space = s.n > 2 ? memchr(s.data + 1, ' ', s.n - 1) : NULL;
        if (!space)
            continue;                    /* a rule without two sides, or naming an absent piece, never applies */
        vs_buf_reset(&room);
        char *to = vs_buf_grow(&room, 2 * s.n);
        if (!to)
            break;
        size_t n_left, n_right, left_len = (size_t)(space - s.data);
        uint32_t left = side(t, s.data, left_len, to, &n_left);
        uint32_t right = side(t, space + 1, s.n - left_len - 1, to + n_left, &n_right);
        uint32_t whole = vs_piece_find(t, to, n_left + n_right);
        if (left == VS_TOKENIZER_NONE || right == VS_TOKENIZER_NONE || whole == VS_TOKENIZER_NONE)
            continue;
        uint32_t i = slot_of(left, right);
        while (t->merges[i & t->merges_mask].rank != UINT32_MAX
               && (t->merges[i & t->merges_mask].left != left || t->merges[i & t->merges_mask].right != right))
            i++;
        if (t->merges[i & t->merges_mask].rank == UINT32_MAX)
            t->merges[i & t->merges_mask] = (struct vs_merge){ left, right, rank, whole };
    }
    r = room.status;
    vs_buf_clear(&room);
    return r == VS_OK ? VS_OK : vs_error_set(err, r, "out of memory");
}

struct encoding {
    const struct vs_tokenizer *t;
    struct vs_ids *ids;
    struct vs_error *err;
    struct vs_heap heap;
    uint32_t *id, *prev, *next;          /* long pieces: a linked list of symbols */
    size_t cap;
};

enum { SHORT_PIECE = 40 };

/* A byte that the vocabulary has no piece for is dropped, as the libraries these vocabularies come from do. */
static int add(struct encoding *e, uint32_t id)
{
    if (id == VS_TOKENIZER_NONE)
        return VS_OK;
    return vs_ids_add(e->ids, id) == VS_OK ? VS_OK : vs_error_set(e->err, VS_E_NOMEM, "out of memory");
}

/* Few symbols: look for the best pair again after each merge. */
static int merge_short(struct encoding *e, const char *s, size_t n)
{
    uint32_t id[SHORT_PIECE], rank[SHORT_PIECE], whole[SHORT_PIECE];
    for (size_t i = 0; i < n; i++)
        id[i] = e->t->byte_id[(uint8_t)s[i]];
    for (size_t i = 0; i + 1 < n; i++) {
        const struct vs_merge *m = find(e->t, id[i], id[i + 1]);
        rank[i] = m ? m->rank : UINT32_MAX;
        whole[i] = m ? m->id : 0;
    }
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++)
            if (rank[i] < rank[best])
                best = i;
        if (rank[best] == UINT32_MAX)
            break;
        id[best] = whole[best];
        n--;
        for (size_t i = best + 1; i < n; i++) {
            id[i] = id[i + 1];
            rank[i] = rank[i + 1];
            whole[i] = whole[i + 1];
        }
        for (size_t i = best ? best - 1 : 0; i <= best && i + 1 < n; i++) {
            const struct vs_merge *m = find(e->t, id[i], id[i + 1]);
            rank[i] = m ? m->rank : UINT32_MAX;
            whole[i] = m ? m->id : 0;
        }
    }
    int r = VS_OK;
    for (size_t i = 0; i < n && r == VS_OK; i++)
        r = add(e, id[i]);
    return r;
}

static int consider(struct encoding *e, uint32_t left, uint32_t right)
{
    if (left == UINT32_MAX || right == UINT32_MAX)
        return VS_OK;
    const struct vs_merge *m = find(e->t, e->id[left], e->id[right]);
    if (!m)
        return VS_OK;
    struct vs_pair p = { m->rank, left, right, m->id };
    return vs_heap_push(&e->heap, p) == VS_OK ? VS_OK : vs_error_set(e->err, VS_E_NOMEM, "out of memory");
}

/* Many symbols: a linked list and a heap; n log n. A pair from the heap is stale when its rule no longer fits its symbols. */
static int merge_long(struct encoding *e, const char *s, size_t n)
{
    if (n > e->cap) {
        free(e->id);
        e->id = malloc(3 * n * sizeof *e->id);
        e->cap = e->id ? n : 0;
        if (!e->id)
            return vs_error_set(e->err, VS_E_NOMEM, "out of memory");
    }
    e->prev = e->id + n;
    e->next = e->prev + n;
    int r = VS_OK;
    for (size_t i = 0; i < n; i++) {
        e->id[i] = e->t->byte_id[(uint8_t)s[i]];
        e->prev[i] = i ? (uint32_t)i - 1 : UINT32_MAX;
        e->next[i] = i + 1 < n ? (uint32_t)i + 1 : UINT32_MAX;
    }
    e->heap.n = 0;
    for (size_t i = 0; i + 1 < n && r == VS_OK; i++)
        r = consider(e, (uint32_t)i, (uint32_t)i + 1);
    struct vs_pair p;
    while (r == VS_OK && vs_heap_pop(&e->heap, &p)) {
        if (e->id[p.left] == VS_TOKENIZER_NONE || e->next[p.left] != p.right)
            continue;
        const struct vs_merge *m = find(e->t, e->id[p.left], e->id[p.right]);
        if (!m || m->rank != p.key)
            continue;
        e->id[p.left] = m->id;
        e->id[p.right] = VS_TOKENIZER_NONE;
        e->next[p.left] = e->next[p.right];
        if (e->next[p.right] != UINT32_MAX)
            e->prev[e->next[p.right]] = p.left;
        r = consider(e, e->prev[p.left], p.left);
        if (r == VS_OK)
            r = consider(e, p.left, e->next[p.left]);
    }
    for (uint32_t i = 0; i != UINT32_MAX && r == VS_OK; i = e->next[i])
        r = add(e, e->id[i]);
    return r;
}

static int piece(void *context, const char *s, size_t n)
{
    struct encoding *e = context;
    if (n == 1 || e->t->pretok.flags & VS_PRE_WHOLE_WORD) {
        uint32_t id = vs_piece_find(e->t, s, n);
        if (id != VS_TOKENIZER_NONE)
            return add(e, id);
    }
    if (n > UINT32_MAX / 4)
        return vs_error_set(e->err, VS_E_LIMIT, "the text has a word that is too long");
    return n <= SHORT_PIECE ? merge_short(e, s, n) : merge_long(e, s, n);
}

static int encode(const struct vs_tokenizer *t, const char *text, size_t n, bool prefix_space, struct vs_ids *ids,
                  struct vs_error *err)
{
    (void)prefix_space;
    struct encoding e = { .t = t, .ids = ids, .err = err };
    int r = vs_pretok_split(&t->pretok, text, n, piece, &e);
    free(e.id);
    free(e.heap.pair);
    return r;
}

const struct vs_family vs_family_bpe = {
    .name = "gpt2", .byte_level = true, .add_bos = false, .add_space_prefix = false, .load = load, .encode = encode,
};
