/* receipt/best.h - which logits are the best: what a receipt of level 1 covers of a token (receipt/chain.h).
 *
 *     the greatest of each block of logits -> the 64 blocks with the best of these -> the 64 best of what stands in them
 *
 * No other block can have one of the 64 best: each of these 64 has one that is better than all of its. So most logits are read
 * once, as fast as they come. Plain C is the definition; all ways give the same ids. Threads: pure. Failure: none.
 */
#ifndef VS_RECEIPT_BEST_H
#define VS_RECEIPT_BEST_H
#include <stddef.h>
#include <stdint.h>

enum { VS_BEST_MOST = 64 };

/* Ids of the best of logits[n], no NaN among them: logit descending (-0 equals 0), then id ascending. Returns how many: the
 * smaller of n and VS_BEST_MOST. */
uint32_t vs_best(const float *logits, size_t n, uint32_t ret[VS_BEST_MOST]);

/* The ways, for best.c and its test. */
uint32_t vs_best_c(const float *logits, size_t n, uint32_t ret[VS_BEST_MOST]);
#if defined(__x86_64__)
uint32_t vs_best_avx2(const float *logits, size_t n, uint32_t ret[VS_BEST_MOST]);       /* where the processor has AVX2 */
#endif
#endif
