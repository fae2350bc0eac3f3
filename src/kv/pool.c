/* kv/pool.c - see pool.h */
#include "kv/pool.h"

#include "base/status.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct vs_kv_pool {
    uint32_t n_pages, n_free, page_tokens;
    uint32_t *free;                     /* a stack of page numbers; the lowest is on top at first */
    bool *taken;                        /* [n_pages] */
};

int vs_kv_pool_create(uint32_t n_pages, uint32_t page_tokens, struct vs_kv_pool **ret)
{
    assert(page_tokens > 0);
    struct vs_kv_pool *p = calloc(1, sizeof *p);
    if (!p)
        return VS_E_NOMEM;
    p->free = malloc((n_pages ? n_pages : 1) * sizeof *p->free);
    p->taken = calloc(n_pages ? n_pages : 1, sizeof *p->taken);
    if (!p->free || !p->taken) {
        vs_kv_pool_free(p);
        return VS_E_NOMEM;
    }
    p->n_pages = p->n_free = n_pages;
    p->page_tokens = page_tokens;
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
    free(p->taken);
    free(p);
}

int vs_kv_pool_take(struct vs_kv_pool *p, uint32_t n, uint32_t *ret_page)
{
    if (n > p->n_free)
        return VS_E_BUSY;
    for (uint32_t i = 0; i < n; i++) {
        ret_page[i] = p->free[--p->n_free];
        p->taken[ret_page[i]] = true;
    }
    return VS_OK;
}

int vs_kv_pool_give(struct vs_kv_pool *p, const uint32_t *page, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (page[i] >= p->n_pages || !p->taken[page[i]]) {
            while (i)
                p->taken[page[--i]] = true;
            return VS_E_INVALID;
        }
        p->taken[page[i]] = false;
    }
    for (uint32_t i = 0; i < n; i++)
        p->free[p->n_free++] = page[i];
    return VS_OK;
}

static uint32_t pages_for(const struct vs_kv_pool *p, uint32_t n_tokens)
{
    return n_tokens / p->page_tokens + (n_tokens % p->page_tokens != 0);
}

static int grow(struct vs_kv_table *t, uint32_t n_pages)
{
    if (n_pages <= t->cap)
        return VS_OK;
    uint32_t cap = t->cap ? t->cap : 16;
    while (cap < n_pages)
        cap = cap > UINT32_MAX / 2 ? n_pages : cap * 2;
    uint32_t *page = realloc(t->page, cap * sizeof *page);
    if (!page)
        return VS_E_NOMEM;
    t->page = page;
    t->cap = cap;
    return VS_OK;
}

int vs_kv_table_reserve(struct vs_kv_table *t, struct vs_kv_pool *p, uint32_t n_tokens)
{
    uint32_t need = pages_for(p, n_tokens);
    if (need <= t->n_pages)
        return VS_OK;
    if (need - t->n_pages > p->n_free)
        return VS_E_BUSY;
    int r = grow(t, need);
    if (r == VS_OK)
        r = vs_kv_pool_take(p, need - t->n_pages, t->page + t->n_pages);
    if (r == VS_OK)
        t->n_pages = need;
    return r;
}

void vs_kv_table_truncate(struct vs_kv_table *t, struct vs_kv_pool *p, uint32_t n_tokens)
{
    uint32_t keep = pages_for(p, n_tokens), n = t->n_pages;
    if (keep >= n)
        return;
    t->n_pages = keep;
    for (uint32_t i = keep, j = n - 1; i < j; i++, j--) {    /* so that the next to come takes them in ascending order */
        uint32_t swap = t->page[i];
        t->page[i] = t->page[j];
        t->page[j] = swap;
    }
    int r = vs_kv_pool_give(p, t->page + keep, n - keep);
    assert(r == VS_OK);
    (void)r;
}

void vs_kv_table_clear(struct vs_kv_table *t, struct vs_kv_pool *p)
{
    vs_kv_table_truncate(t, p, 0);
    free(t->page);
    memset(t, 0, sizeof *t);
}
