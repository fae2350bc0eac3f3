/* kv/pool.c - see pool.h */
#include "kv/pool.h"

#include "base/status.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct page {
    uint32_t refs, running;              /* references; those of running sequences among them */
    int64_t owner;                       /* who wrote it */
    bool written, mixed;                 /* false: it holds zeros; true: others wrote there too */
};

struct vs_kv_pool {
    uint32_t n_pages, page_tokens, n_free, n_used;
    struct page *pages;                  /* [n_pages] */
    uint32_t *free;                      /* a stack of page numbers; the lowest is on top at first */
    uint32_t *unclean;                   /* [n_pages]: what _take clears */
    uint32_t *tokens;                    /* [n_pages, page_tokens] */
    struct vs_kv_memory memory;
};

int vs_kv_pool_create(uint32_t n_pages, uint32_t page_tokens, const struct vs_kv_memory *memory, struct vs_kv_pool **ret)
{
    struct vs_kv_pool *p = calloc(1, sizeof *p);
    if (!p)
        return VS_E_NOMEM;
    size_t n = n_pages ? n_pages : 1;
    p->pages = calloc(n, sizeof *p->pages);
    p->free = calloc(n, sizeof *p->free);
    p->unclean = calloc(n, sizeof *p->unclean);
    p->tokens = calloc(n, page_tokens * sizeof *p->tokens);
    if (!p->pages || !p->free || !p->unclean || !p->tokens) {
        vs_kv_pool_free(p);
        return VS_E_NOMEM;
    }
    p->n_pages = p->n_free = n_pages;
    p->page_tokens = page_tokens;
    p->memory = *memory;
    for (uint32_t i = 0; i < n_pages; i++)
        p->free[i] = n_pages - 1 - i;
    *ret = p;
    return VS_OK;
}

void vs_kv_pool_free(struct vs_kv_pool *p)
{
    if (!p)
        return;
    free(p->pages);
    free(p->free);
    free(p->unclean);
    free(p->tokens);
    free(p);
}

void vs_kv_pool_take(struct vs_kv_pool *p, int64_t owner, uint32_t n, uint32_t *ret_page)
{
    assert(n <= p->n_free);
    uint32_t n_unclean = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t number = ret_page[i] = p->free[--p->n_free];
        struct page *page = &p->pages[number];
        if (page->written && (page->mixed || page->owner != owner))
            p->unclean[n_unclean++] = number;
        *page = (struct page){ .refs = 1, .running = 1, .owner = owner, .written = true };
    }
    p->n_used += n;
    if (n_unclean)
        p->memory.clear(p->memory.context, p->unclean, n_unclean);
}

void vs_kv_pool_ref(struct vs_kv_pool *p, uint32_t number, enum vs_kv_holder holder)
{
    struct page *page = &p->pages[number];
    assert(number < p->n_pages && page->refs);
    page->refs++;
    if (holder == VS_KV_RUNNING && page->running++ == 0)
        p->n_used++;
}

void vs_kv_pool_unref(struct vs_kv_pool *p, uint32_t number, enum vs_kv_holder holder)
{
    struct page *page = &p->pages[number];
    assert(number < p->n_pages && page->refs > (holder == VS_KV_KEPT ? page->running : 0));
    if (holder == VS_KV_RUNNING && --page->running == 0)
        p->n_used--;
    if (--page->refs == 0)
        p->free[p->n_free++] = number;
}

uint32_t vs_kv_pool_refs(const struct vs_kv_pool *p, uint32_t page)
{
    return p->pages[page].refs;
}

uint32_t vs_kv_pool_running(const struct vs_kv_pool *p, uint32_t page)
{
    return p->pages[page].running;
}

void vs_kv_pool_own(struct vs_kv_pool *p, uint32_t page, int64_t owner)
{
    assert(p->pages[page].refs == 1);
    p->pages[page].mixed |= p->pages[page].owner != owner;
}

void vs_kv_pool_copy(struct vs_kv_pool *p, uint32_t from, uint32_t to, uint32_t n)
{
    assert(from != to && p->pages[to].refs == 1 && n <= p->page_tokens);
    p->pages[to].mixed |= p->pages[from].mixed || p->pages[from].owner != p->pages[to].owner;
    p->memory.copy(p->memory.context, from, to, n);
    memcpy(vs_kv_pool_tokens(p, to), vs_kv_pool_tokens(p, from), n * sizeof *p->tokens);
}

uint32_t *vs_kv_pool_tokens(const struct vs_kv_pool *p, uint32_t page)
{
    return p->tokens + (size_t)page * p->page_tokens;
}

void vs_kv_pool_count(const struct vs_kv_pool *p, struct vs_kv_counts *ret)
{
    *ret = (struct vs_kv_counts){ .pages = p->n_pages, .used = p->n_used, .cached = p->n_pages - p->n_used - p->n_free,
                                  .free = p->n_free };
}
