/* kv/pool.c - see pool.h */
#include "kv/pool.h"

#include "base/status.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct vs_kv_pool {
    uint32_t n_pages, n_free;
    uint32_t *free;                     /* a stack of page numbers; the lowest is on top at first */
    uint32_t *n_refs;
};

int vs_kv_pool_create(uint32_t n_pages, struct vs_kv_pool **ret)
{
    struct vs_kv_pool *p = calloc(1, sizeof *p);
    if (!p)
        return VS_E_NOMEM;
    p->free = malloc((n_pages ? n_pages : 1) * sizeof *p->free);
    p->n_refs = calloc(n_pages ? n_pages : 1, sizeof *p->n_refs);
    if (!p->free || !p->n_refs) {
        vs_kv_pool_free(p);
        return VS_E_NOMEM;
    }
    p->n_pages = p->n_free = n_pages;
    for (uint32_t i = 0; i < n_pages; i++)
        p->free[i] = n_pages - 1 - i;
    *ret = p;
    return VS_OK;
}

void vs_kv_pool_free(struct vs_kv_pool *p)
{
    if (!p)
        return;
    free(p->free);
    free(p->n_refs);
    free(p);
}

uint32_t vs_kv_pool_n_free(const struct vs_kv_pool *p)
{
    return p->n_free;
}

uint32_t vs_kv_pool_n_pages(const struct vs_kv_pool *p)
{
    return p->n_pages;
}

static void give(struct vs_kv_pool *p, uint32_t page)
{
    assert(page < p->n_pages && p->n_refs[page] > 0);
    if (--p->n_refs[page] == 0)
        p->free[p->n_free++] = page;
}

static int grow(struct vs_kv_table *t, uint32_t n_pages)
{
    if (n_pages <= t->cap)
        return VS_OK;
    uint32_t cap = t->cap ? t->cap : 16;
    while (cap < n_pages)
        cap *= 2;
    uint32_t *page = realloc(t->page, cap * sizeof *page);
    if (!page)
        return VS_E_NOMEM;
    t->page = page;
    t->cap = cap;
    return VS_OK;
}

int vs_kv_table_reserve(struct vs_kv_table *t, struct vs_kv_pool *p, uint32_t n_tokens)
{
    uint32_t need = n_tokens / VS_KV_PAGE_TOKENS + (n_tokens % VS_KV_PAGE_TOKENS != 0);
    if (need <= t->n_pages)
        return VS_OK;
    if (need - t->n_pages > p->n_free)
        return VS_E_BUSY;
    int r = grow(t, need);
    if (r != VS_OK)
        return r;
    while (t->n_pages < need) {
        uint32_t page = p->free[--p->n_free];
        p->n_refs[page] = 1;
        t->page[t->n_pages++] = page;
    }
    return VS_OK;
}

void vs_kv_table_truncate(struct vs_kv_table *t, struct vs_kv_pool *p, uint32_t n_tokens)
{
    uint32_t keep = n_tokens / VS_KV_PAGE_TOKENS + (n_tokens % VS_KV_PAGE_TOKENS != 0);
    while (t->n_pages > keep)
        give(p, t->page[--t->n_pages]);
}

int vs_kv_table_share(struct vs_kv_table *t, struct vs_kv_pool *p, const struct vs_kv_table *from, uint32_t n_tokens)
{
    assert(t->n_pages == 0);
    uint32_t n = n_tokens / VS_KV_PAGE_TOKENS;
    assert(n <= from->n_pages);
    int r = grow(t, n);
    if (r != VS_OK)
        return r;
    for (uint32_t i = 0; i < n; i++) {
        t->page[i] = from->page[i];
        p->n_refs[from->page[i]]++;
    }
    t->n_pages = n;
    return VS_OK;
}

void vs_kv_table_clear(struct vs_kv_table *t, struct vs_kv_pool *p)
{
    vs_kv_table_truncate(t, p, 0);
    free(t->page);
    memset(t, 0, sizeof *t);
}
