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
 * States. A model with recurrent layers has more than K and V: a state, which is that of all tokens so far and can't be
 * shortened. With n_states > 0 a sequence holds a few of them, each in a slot, at lengths where somebody may go on (_plan): it can
 * only have a length that it holds a state of, or 0. So _truncate, _adopt and _fork may leave it shorter than was asked for, at the
 * last such length, and who needs the rest computes it again. States are shared by reference, never written twice, and given up,
 * those of kept sequences first, when the slots run out. At length 0 there is none: the backend takes zeros.
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
    bool keyed;                          /* _ALL: only those with the same cache_key share all the same */
    enum vs_kv_sharing sharing;          /* _NONE: _adopt finds nothing and nothing is kept; _fork shares all the same */
    uint32_t n_states;                   /* slots for states; 0: the model has none. Two for each sequence of a step are enough */
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
/* Where the state of the next n tokens, which are reserved, comes from and where it goes: that behind all of them, and that behind
 * the first n_mark of them, if 0 < n_mark < n and there is a slot for it that no other running sequence may need. keep: the state
 * at the mark, which may be n, stays when the sequence is longer, for who shares it up to there. VS_E_BUSY: no slot is free;
 * nothing has changed. */
#define VS_KV_NO_STATE UINT32_MAX        /* no slot */
struct vs_kv_plan { uint32_t from, mark, end, n_mark; };
int vs_kv_plan(struct vs_kv_sequence *s, uint32_t n, uint32_t n_mark, bool keep, struct vs_kv_plan *ret);
/* Back to its first n tokens when it has more; what is reserved beyond is taken back in any case. */
void vs_kv_truncate(struct vs_kv_sequence *s, uint32_t n);

uint32_t vs_kv_length(const struct vs_kv_sequence *s);                       /* tokens committed */
uint32_t vs_kv_token(const struct vs_kv_sequence *s, uint32_t i);            /* i < length */
/* page[i] holds positions from i * page_tokens on, reserved ones too; valid until s is changed. */
const uint32_t *vs_kv_pages(const struct vs_kv_sequence *s, uint32_t *ret_n);

void vs_kv_forget(struct vs_kv *kv);     /* drops all that is kept */

/* Each page counted once: used by a running sequence, cached by kept ones only, free. */
struct vs_kv_counts { uint32_t pages, used, cached, free, free_states; };
void vs_kv_count(const struct vs_kv *kv, struct vs_kv_counts *ret);
#endif
