/* kv/pool.h - the fixed set of KV-cache pages that all sequences share, and the table that maps a sequence to its pages.
 *
 * A page holds K and V of VS_KV_PAGE_TOKENS consecutive positions for every layer. This room owns numbers and counts;
 * the backend owns the bytes. The pool is sized once and never grows: a full pool is an answer to the caller
 * (VS_E_BUSY), not a crash. Pages are reference-counted, so that sequences can share a prefix.
 *
 * Threads: one owner. No locks inside.
 * Failure: VS_OK or a negative VS_E_*; on failure nothing has changed.
 */
#ifndef VS_KV_POOL_H
#define VS_KV_POOL_H
#include <stddef.h>
#include <stdint.h>

enum { VS_KV_PAGE_TOKENS = 64 };

struct vs_kv_pool;
int vs_kv_pool_create(uint32_t n_pages, struct vs_kv_pool **ret);
void vs_kv_pool_free(struct vs_kv_pool *p);
uint32_t vs_kv_pool_n_free(const struct vs_kv_pool *p);
uint32_t vs_kv_pool_n_pages(const struct vs_kv_pool *p);

struct vs_kv_table {                    /* zeroed = an empty sequence */
    uint32_t *page;                     /* page[i] holds positions [64 i, 64 i + 64) */
    uint32_t n_pages, cap;
};

/* Makes room for positions [0, n_tokens): all the pages needed or none. */
int vs_kv_table_reserve(struct vs_kv_table *t, struct vs_kv_pool *p, uint32_t n_tokens);
/* Gives back the pages that hold no position below n_tokens. */
void vs_kv_table_truncate(struct vs_kv_table *t, struct vs_kv_pool *p, uint32_t n_tokens);
/* Shares the pages that lie whole below n_tokens of `from`; t must be empty. */
int vs_kv_table_share(struct vs_kv_table *t, struct vs_kv_pool *p, const struct vs_kv_table *from, uint32_t n_tokens);
/* Gives everything back and frees the table. */
void vs_kv_table_clear(struct vs_kv_table *t, struct vs_kv_pool *p);
#endif
