/* kv/pool.h - the fixed set of KV-cache pages that all sequences share, and the table that says which hold a sequence.
 *
 * A page holds K and V of some consecutive positions for every layer; how many is the creator's word. This room owns numbers and
 * counts; the backend owns the bytes. The pool is sized once and never grows: a full pool is an answer to the caller (VS_E_BUSY),
 * not a crash.
 *
 * Threads: one owner. No locks inside.
 * Failure: VS_OK or a negative VS_E_*; on failure nothing has changed.
 */
#ifndef VS_KV_POOL_H
#define VS_KV_POOL_H
#include <stdint.h>

struct vs_kv_pool;
int vs_kv_pool_create(uint32_t n_pages, uint32_t page_tokens, struct vs_kv_pool **ret);
void vs_kv_pool_free(struct vs_kv_pool *p);

/* n pages, all or none: VS_E_BUSY. */
int vs_kv_pool_take(struct vs_kv_pool *p, uint32_t n, uint32_t *ret_page);
/* Gives n pages back, all or none: VS_E_INVALID when one of them is not taken, or is named twice. */
int vs_kv_pool_give(struct vs_kv_pool *p, const uint32_t *page, uint32_t n);

struct vs_kv_table {                    /* zeroed = an empty sequence */
    uint32_t *page;                     /* page[i] holds positions from i * page_tokens on */
    uint32_t n_pages, cap;
};

/* Makes room for positions [0, n_tokens): all the pages needed or none. */
int vs_kv_table_reserve(struct vs_kv_table *t, struct vs_kv_pool *p, uint32_t n_tokens);
/* Gives back the pages that hold no position below n_tokens. */
void vs_kv_table_truncate(struct vs_kv_table *t, struct vs_kv_pool *p, uint32_t n_tokens);
/* Gives everything back and frees the table. */
void vs_kv_table_clear(struct vs_kv_table *t, struct vs_kv_pool *p);
#endif
