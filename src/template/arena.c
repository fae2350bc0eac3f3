/* template/arena.c - memory that ends all at once, with a cap; and the text with marks that a render returns. */
#include "template/internal.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

struct vs_tp_chunk {
    struct vs_tp_chunk *older;
    size_t n, cap;
    alignas(16) unsigned char data[];
};

enum { FIRST_CHUNK = 16 << 10, LARGEST_CHUNK = 1 << 20 };

static size_t round_up(size_t n)
{
    return (n + 15) & ~(size_t)15;
}

static bool add_chunk(struct vs_tp_arena *a, size_t need)
{
    size_t cap = a->chunk ? a->chunk->cap * 2 : FIRST_CHUNK;
    if (cap > LARGEST_CHUNK)
        cap = LARGEST_CHUNK;
    if (cap < need)
        cap = need;
    if (cap > a->cap || a->used > a->cap - cap) {
        a->status = VS_E_LIMIT;
        return false;
    }
    struct vs_tp_chunk *chunk = malloc(sizeof *chunk + cap);
    if (!chunk) {
        a->status = VS_E_NOMEM;
        return false;
    }
    chunk->n = 0;
    chunk->cap = cap;
    chunk->older = a->chunk;
    a->chunk = chunk;
    a->used += cap;
    return true;
}

void *vs_tp_alloc(struct vs_tp_arena *a, size_t n)
{
    if (a->status != VS_OK)
        return NULL;
    if (n > SIZE_MAX / 4) {
        a->status = VS_E_LIMIT;
        return NULL;
    }
    n = round_up(n ? n : 1);
    if ((!a->chunk || n > a->chunk->cap - a->chunk->n) && !add_chunk(a, n))
        return NULL;
    void *p = a->chunk->data + a->chunk->n;
    a->chunk->n += n;
    return p;
}

void *vs_tp_alloc_zero(struct vs_tp_arena *a, size_t n)
{
    void *p = vs_tp_alloc(a, n);
    if (p)
        memset(p, 0, n);
    return p;
}

bool vs_tp_extend(struct vs_tp_arena *a, void *p, size_t old, size_t n)
{
    struct vs_tp_chunk *chunk = a->chunk;
    if (!p || !chunk || a->status != VS_OK || n > SIZE_MAX / 4)
        return false;
    size_t was = round_up(old ? old : 1), want = round_up(n ? n : 1);
    if ((unsigned char *)p + was != chunk->data + chunk->n || want < was || want - was > chunk->cap - chunk->n)
        return false;
    chunk->n += want - was;
    return true;
}

void *vs_tp_realloc(struct vs_tp_arena *a, void *p, size_t old, size_t n)
{
    if (vs_tp_extend(a, p, old, n))
        return p;
    void *q = vs_tp_alloc(a, n);
    if (q && old)
        memcpy(q, p, old < n ? old : n);
    return q;
}

void vs_tp_arena_clear(struct vs_tp_arena *a)
{
    for (struct vs_tp_chunk *c = a->chunk, *older; c; c = older) {
        older = c->older;
        free(c);
    }
    a->chunk = NULL;
    a->used = 0;
    a->status = VS_OK;
}

void vs_marked_text_clear(struct vs_marked_text *m)
{
    vs_buf_clear(&m->text);
    free(m->runs);
    m->runs = NULL;
    m->n_runs = m->cap_runs = 0;
}

int vs_marked_text_add(struct vs_marked_text *m, const char *s, size_t n, bool trusted)
{
    if (n == 0)
        return VS_OK;
    bool same = m->n_runs && m->runs[m->n_runs - 1].trusted == trusted;
    if (!same && m->n_runs == m->cap_runs) {
        size_t cap = m->cap_runs ? m->cap_runs * 2 : 16;
        struct vs_text_run *runs = realloc(m->runs, cap * sizeof *runs);
        if (!runs)
            return VS_E_NOMEM;
        m->runs = runs;
        m->cap_runs = cap;
    }
    vs_buf_add(&m->text, s, n);
    if (m->text.status != VS_OK)
        return m->text.status;
    if (same)
        m->runs[m->n_runs - 1].n += n;
    else
        m->runs[m->n_runs++] = (struct vs_text_run){ .n = n, .trusted = trusted };
    return VS_OK;
}
