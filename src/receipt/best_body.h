/* receipt/best_body.h - the search of best.h, for files that say how VS_BEST_RUN logits are looked at. */
#ifndef VS_RECEIPT_BEST_BODY_H
#define VS_RECEIPT_BEST_BODY_H
#include "base/num.h"
#include "receipt/best.h"

#include <math.h>

enum { VS_BEST_RUN = 16, MOST_BLOCKS = 512, LEAST_RUNS = 4, ROOM = 4 * VS_BEST_MOST };

/* The greatest of v[VS_BEST_RUN * n_runs], n_runs > 0. */
typedef float greatest_fn(const float *v, size_t n_runs);
/* Bit i: v[i] >= least. */
typedef uint32_t not_below_fn(const float v[VS_BEST_RUN], float least);

/* A candidate as one number: the better one is the greater. Of equal logits, and zeros are equal, the lower id is better. */
static inline uint64_t key_of(uint32_t id, float logit)
{
    return (uint64_t)vs_f32_order(logit) << 32 | (uint32_t)~id;
}

static inline uint32_t id_of(uint64_t key)
{
    return ~(uint32_t)key;
}

/* The VS_BEST_MOST greatest come first; n is larger. */
static inline void select_best(uint64_t *key, size_t n)
{
    size_t from = 0, to = n;
    while (to - from > 1) {
        uint64_t pivot = key[from + (to - from - 1) / 2];      /* so the first part is never all */
        size_t i = from, j = to - 1;
        for (;; i++, j--) {
            while (key[i] > pivot)
                i++;
            while (key[j] < pivot)
                j--;
            if (i >= j)
                break;
            uint64_t other = key[i];
            key[i] = key[j];
            key[j] = other;
        }
        if (j + 1 >= VS_BEST_MOST)
            to = j + 1;
        else
            from = j + 1;
    }
}

/* The greatest first. */
static inline void sort(uint64_t *key, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        uint64_t one = key[i];
        size_t at = i;
        for (; at > 0 && key[at - 1] < one; at--)
            key[at] = key[at - 1];
        key[at] = one;
    }
}

/* key[n] becomes the best of it, in any order; returns how many. */
static inline size_t best_of(uint64_t *key, size_t n)
{
    if (n > VS_BEST_MOST)
        select_best(key, n);
    return n < VS_BEST_MOST ? n : VS_BEST_MOST;
}

static inline uint64_t least_of(const uint64_t key[VS_BEST_MOST])
{
    uint64_t least = key[0];
    for (size_t i = 1; i < VS_BEST_MOST; i++)
        least = key[i] < least ? key[i] : least;
    return least;
}

struct found {
    size_t n;
    float least;                         /* what is below this is none of the best */
    uint64_t least_key;                  /* and what has no greater key */
    uint64_t key[ROOM];                  /* those that may be among the best */
};

static inline void consider(struct found *f, uint32_t id, float logit)
{
    uint64_t key = key_of(id, logit);
    if (key <= f->least_key)
        return;
    f->key[f->n++] = key;
    if (f->n < ROOM)
        return;
    f->n = best_of(f->key, f->n);
    f->least_key = least_of(f->key);
    f->least = vs_f32_of_order((uint32_t)(f->least_key >> 32));
}

/* Both functions become a part of it. */
static inline __attribute__((always_inline)) uint32_t find_best(greatest_fn *greatest_of, not_below_fn *not_below,
                                                                const float *logits, size_t n, uint32_t ret[VS_BEST_MOST])
{
    struct found f = { .least = -INFINITY };
    uint64_t block[MOST_BLOCKS];
    size_t n_runs = n / VS_BEST_RUN, runs = (n_runs + MOST_BLOCKS - 1) / MOST_BLOCKS, n_blocks = 0;
    runs = runs < LEAST_RUNS ? LEAST_RUNS : runs;
    for (size_t at = 0; at < n_runs; at += runs, n_blocks++) {
        size_t some = runs < n_runs - at ? runs : n_runs - at;
        block[n_blocks] = key_of((uint32_t)at, greatest_of(logits + at * VS_BEST_RUN, some));
    }
    n_blocks = best_of(block, n_blocks);
    if (n_blocks == VS_BEST_MOST)
        f.least = vs_f32_of_order((uint32_t)(least_of(block) >> 32));
    for (size_t i = 0; i < n_blocks; i++) {
        size_t at = id_of(block[i]), end = at + runs < n_runs ? at + runs : n_runs;
        for (; at < end; at++)
            for (uint32_t set = not_below(logits + at * VS_BEST_RUN, f.least); set; set &= set - 1) {
                size_t id = at * VS_BEST_RUN + (size_t)__builtin_ctz(set);
                consider(&f, (uint32_t)id, logits[id]);
            }
    }
    for (size_t id = n_runs * VS_BEST_RUN; id < n; id++)
        consider(&f, (uint32_t)id, logits[id]);
    f.n = best_of(f.key, f.n);
    sort(f.key, f.n);
    for (size_t i = 0; i < f.n; i++)
        ret[i] = id_of(f.key[i]);
    return (uint32_t)f.n;
}
#endif
