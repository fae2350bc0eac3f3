/* kv/kv.h - the pages of the KV cache that all sequences of a model share: who holds which, and what of it can be used again.
 *
 * A page holds K and V of page_tokens consecutive positions for every layer. This room owns numbers, owners and the tokens that
 * each page stands for; the backend owns the bytes, which are copied and cleared through struct vs_kv_memory.
 *
 *     _open --> running --_close(keep)--> kept --_adopt by others, until it is evicted--> gone
 *                  \------_close(!keep)-------------------------------------------------> gone
 *
 * A page may belong to several sequences (its references); one with more than one reference is never written: who has to write
 * it gets a copy first (_reserve). So a sequence that shrinks, diverges or ends never disturbs another. Kept sequences hold pages
 * only as long as nobody needs them. The number of pages never grows: a full cache is an answer (VS_E_BUSY), not a crash.
 *
 * Sequences share with others of their scope alone: same owner and cache_key, or all. A page that another owner wrote to is
 * cleared before it is taken, and of a page that is copied only the shared positions are.
 *
 * Memory:  all taken by _create: max_sequences + max_kept page tables, one token for each position of a page. Nothing later.
 * Threads: one owner. No locks inside.
 * Failure: VS_OK or a negative VS_E_*; on failure nothing has changed.
 */
#ifndef VS_KV_KV_H
#define VS_KV_KV_H
#include <stdbool.h>
#include <stdint.h>

struct vs_kv;
struct vs_kv_sequence;                   /* tokens whose K and V lie in pages; running until _close */

enum vs_kv_sharing { VS_KV_SHARE_OWNER, VS_KV_SHARE_ALL, VS_KV_SHARE_NONE };

struct vs_kv_memory {                    /* what the backend does with pages */
    void (*copy)(void *context, uint32_t from, uint32_t to, uint32_t n_tokens);      /* the first n_tokens positions of a page */
    void (*clear)(void *context, const uint32_t *page, uint32_t n);
    void *context;
};

struct vs_kv_config {
    uint32_t n_pages, page_tokens;
    uint32_t max_tokens;                 /* longest sequence */
    uint32_t max_sequences, max_kept;    /* most that run; most that are kept */
    enum vs_kv_sharing sharing;          /* _NONE: _adopt finds nothing and nothing is kept; _fork shares all the same */
    struct vs_kv_memory memory;
};
int vs_kv_create(const struct vs_kv_config *config, struct vs_kv **ret);
void vs_kv_free(struct vs_kv *kv);       /* and all its sequences */

enum { VS_KV_MAX_KEY = 64 };             /* bytes of a cache_key */
/* An empty sequence. VS_E_BUSY: max_sequences run already; VS_E_INVALID: the key (NULL: none) is too long. */
int vs_kv_open(struct vs_kv *kv, int64_t owner, const char *cache_key, struct vs_kv_sequence **ret);
/* One with the same tokens and pages; what s has reserved beyond its tokens is taken back. VS_E_BUSY as _open. */
int vs_kv_fork(struct vs_kv_sequence *s, struct vs_kv_sequence **ret);
/* Ends it: keep = its pages can be found by _adopt until others need them. One that is the beginning of another kept one of its
 * scope is dropped: it is held already. */
void vs_kv_close(struct vs_kv_sequence *s, bool keep);

/* When some sequence of the scope holds more of tokens[0, n) than s has, and all that s has is their beginning: s takes the longest
 * such prefix over. Whole pages are shared; a page shared in part is copied, if one can be had. Returns the length s then has.
 * What s has reserved beyond its tokens is taken back. Quick when nothing is found: ask before every step. */
uint32_t vs_kv_adopt(struct vs_kv_sequence *s, const uint32_t *tokens, uint32_t n);

/* Makes positions [length, n_tokens) ready to be written: pages from the free ones, then from the ends of the kept sequences, least
 * recently used first; a last page that others hold too is copied. VS_E_BUSY: not now; VS_E_CONTEXT: it can never be. */
int vs_kv_reserve(struct vs_kv_sequence *s, uint32_t n_tokens);
/* The next n positions, which are reserved, hold these tokens now. */
void vs_kv_commit(struct vs_kv_sequence *s, const uint32_t *tokens, uint32_t n);
/* Back to its first n tokens when it has more; what is reserved beyond is taken back in any case. */
void vs_kv_truncate(struct vs_kv_sequence *s, uint32_t n);

uint32_t vs_kv_length(const struct vs_kv_sequence *s);                       /* tokens committed */
uint32_t vs_kv_token(const struct vs_kv_sequence *s, uint32_t i);            /* i < length */
/* page[i] holds positions from i * page_tokens on, reserved ones too; valid until s is changed. */
const uint32_t *vs_kv_pages(const struct vs_kv_sequence *s, uint32_t *ret_n);

void vs_kv_forget(struct vs_kv *kv);     /* drops all that is kept */

/* Each page counted once: used by a running sequence, cached by kept ones only, free. */
struct vs_kv_counts { uint32_t pages, used, cached, free; };
void vs_kv_count(const struct vs_kv *kv, struct vs_kv_counts *ret);
#endif
