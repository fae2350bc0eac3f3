/* prog/worker/speculate.h - guesses of one choice's next tokens, so that a step may compute several rows of it.
 *
 * In each turn: _guess says which tokens are worth a row, the batch computes as many of them as there is room for (_computed), the
 * choice samples row by row, and tells each token that it got (_took). Guesses are looked up in the text itself, or a draft model
 * makes them, whichever promises more. Tokens come from their own draws alone; a guess that fails costs time and nothing else.
 *
 * Memory:  its own; 20 to 40 bytes a token. When there is none, no more is guessed.
 * Threads: one at a time; _guess, and _free of one that has guessed, on the thread that computes steps.
 */
#ifndef VS_WORKER_SPECULATE_H
#define VS_WORKER_SPECULATE_H
#include "draft/draft.h"

#include <stddef.h>
#include <stdint.h>

struct vs_drafter;
struct vs_sampling;

struct vs_speculation_config {
    size_t n_more;                       /* so many tokens are likely to come */
    struct vs_drafter *drafter;          /* NULL: none. What follows is for it, and borrowed */
    const struct vs_sampling *sampling;
    const char *cache_key;
    int64_t owner;
};

struct vs_speculation;
/* token[n] are known. NULL: out of memory. */
struct vs_speculation *vs_speculation_create(const struct vs_speculation_config *config, const uint32_t *token, size_t n);
void vs_speculation_free(struct vs_speculation *s);

/* token[n] are known; behind them is room for VS_DRAFT_MOST more. The guesses are put there: returns how many are worth a row of
 * this step. The same until a token comes. */
uint32_t vs_speculation_guess(struct vs_speculation *s, const struct vs_draft_step *step, uint32_t *token, uint32_t n);
/* So many of the guesses got rows in this step. */
void vs_speculation_computed(struct vs_speculation *s, uint32_t n);
void vs_speculation_took(struct vs_speculation *s, uint32_t token);

/* Guesses that got rows, and those of them that came true. */
void vs_speculation_count(const struct vs_speculation *s, uint64_t *ret_drafted, uint64_t *ret_accepted);
#endif
