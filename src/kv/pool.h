/* kv/pool.h - the pages behind kv.h, for this room only: references, writers, and the tokens that each page stands for.
 *
 * A page is free, or has references: of running sequences and of kept ones. The pool is sized once and never grows.
 *
 * Threads: one owner. No locks inside.
 */
#ifndef VS_KV_POOL_H
#define VS_KV_POOL_H
#include "kv/kv.h"

enum vs_kv_holder { VS_KV_KEPT, VS_KV_RUNNING };

struct vs_kv_pool;
int vs_kv_pool_create(uint32_t n_pages, uint32_t page_tokens, const struct vs_kv_memory *memory, struct vs_kv_pool **ret);
void vs_kv_pool_free(struct vs_kv_pool *p);

/* n of the free pages, for a running sequence; those that another owner wrote to are cleared. n is at most what is free. */
void vs_kv_pool_take(struct vs_kv_pool *p, int64_t owner, uint32_t n, uint32_t *ret_page);
void vs_kv_pool_ref(struct vs_kv_pool *p, uint32_t page, enum vs_kv_holder holder);
void vs_kv_pool_unref(struct vs_kv_pool *p, uint32_t page, enum vs_kv_holder holder);
/* References of all holders, or of running ones. */
uint32_t vs_kv_pool_refs(const struct vs_kv_pool *p, uint32_t page);
uint32_t vs_kv_pool_running(const struct vs_kv_pool *p, uint32_t page);

/* A page with one reference is about to be written by this owner. */
void vs_kv_pool_own(struct vs_kv_pool *p, uint32_t page, int64_t owner);
/* K, V and tokens of the first n positions. */
void vs_kv_pool_copy(struct vs_kv_pool *p, uint32_t from, uint32_t to, uint32_t n);
uint32_t *vs_kv_pool_tokens(const struct vs_kv_pool *p, uint32_t page);      /* [page_tokens] */

void vs_kv_pool_count(const struct vs_kv_pool *p, struct vs_kv_counts *ret);
#endif
