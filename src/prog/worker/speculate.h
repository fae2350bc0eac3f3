/* prog/worker/speculate.h - guesses of one choice's next tokens, so that a step may compute several rows of it.
 *
 * In each turn: _guess says which tokens are worth a row, the batch computes as many of them as there is room for (_computed), the
 * choice samples row by row, and tells each token that it got (_took). Tokens come from their own draws alone; a guess that fails
 * costs time and nothing else.
 *
 * Memory:  its own; about 40 bytes a token. When there is none, no more is guessed.
 * Threads: one at a time.
 */
#ifndef VS_WORKER_SPECULATE_H
#define VS_WORKER_SPECULATE_H
#include "draft/draft.h"

#include <stddef.h>
#include <stdint.h>

struct vs_speculation;
/* n tokens are known, and about n_more will come. NULL: out of memory. */
struct vs_speculation *vs_speculation_create(const uint32_t *token, size_t n, size_t n_more);
void vs_speculation_free(struct vs_speculation *s);

/* Guesses for the tokens behind those that are known; how many are worth a row of this step. The same until a token comes. */
uint32_t vs_speculation_guess(struct vs_speculation *s, const struct vs_draft_step *step, uint32_t ret[VS_DRAFT_MOST]);
/* So many of the guesses got rows in this step. */
void vs_speculation_computed(struct vs_speculation *s, uint32_t n);
void vs_speculation_took(struct vs_speculation *s, uint32_t token);

/* Guesses that got rows, and those of them that came true. */
void vs_speculation_count(const struct vs_speculation *s, uint64_t *ret_drafted, uint64_t *ret_accepted);
#endif
