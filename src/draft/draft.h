/* draft/draft.h - how many tokens ahead it is worth to guess: the controller of one sequence's drafts.
 *
 * A step may compute rows for guessed tokens behind the sequence's own row: as many of them as come true are tokens won, the rest
 * is work lost. The target samples every position itself, so a wrong guess costs time and never changes an answer.
 *
 *     before a step    vs_draft_length: how many guesses to compute, from what they cost and how often such guesses came true
 *                      vs_draft_guessed: what they are
 *     behind it        vs_draft_took: each token that the sequence got
 *
 * Guesses are told apart by their evidence (suffix.h; for a draft model the number of guesses before it), and for each class of
 * evidence a running share of those that came true is kept. The length is the one that promises most tokens for the time of the
 * step; as other rows fill the step, a row costs more and is computed for surer guesses only.
 *
 * Guesses that were looked up are compared with what came even when none is computed. A draft model's are known only when they are
 * made, so it is tried again after VS_DRAFT_WAIT tokens, then after twice as many, and so on. And whoever has lost more than
 * some tokens' worth rests as long, whatever the shares promise.
 *
 * Memory:  the caller's; nothing to free.
 * Threads: one at a time. The same calls give the same lengths.
 */
#ifndef VS_DRAFT_DRAFT_H
#define VS_DRAFT_DRAFT_H
#include <stdbool.h>
#include <stdint.h>

enum {
    VS_DRAFT_MOST = 31,                  /* longest draft */
    VS_DRAFT_CLASSES = 12,               /* of evidence */
    VS_DRAFT_WAIT = 64, VS_DRAFT_LONGEST_WAIT = 4096,    /* tokens */
};

enum vs_draft_kind { VS_DRAFT_LOOKED_UP, VS_DRAFT_MODEL, VS_N_DRAFT_KINDS };

/* The step that a draft would be part of. */
struct vs_draft_step {
    uint32_t n_rows;                     /* without the draft, the sequence's own row among them: at least 1 */
    uint32_t n_most;                     /* longest draft that there is room for */
    double (*cost)(void *context, uint32_t n_rows);      /* of a step of n rows, > 0, in any unit */
    void *context;
    double guess_cost;                   /* of making one guess, in the same unit; 0 when it is looked up */
    double limit;                        /* with a draft in it the step may take so long, its guesses included, in the same unit */
};

struct vs_draft {
    enum vs_draft_kind kind;
    struct vs_draft_class {
        double share;                    /* of the guesses that came true, the latest count most */
        uint32_t n_seen;                 /* up to where it no longer matters */
    } classes[VS_DRAFT_CLASSES];
    uint32_t evidence;                   /* of the first guess */
    uint32_t guess[VS_DRAFT_MOST];
    uint32_t length;                     /* what was thought right for this step, */
    double promise;                      /* and how many times faster that should be; 0: not at all */
    uint32_t n_guesses, n_computed, n_came;      /* of it */
    bool is_trial;
    double stake;                        /* what its guesses cost, in tokens of the step without them */
    double balance;                      /* tokens won less stakes; between limits, see draft.c */
    uint32_t n_vain;                     /* drafts in a row that were made and got no row */
    uint32_t rest;                       /* tokens until guesses are computed again */
    uint32_t idle, wait;                 /* tokens since the last were; until the next try */
    uint64_t n_drafted, n_accepted;      /* guesses computed so far, and those of them that came true */
};

void vs_draft_init(struct vs_draft *d, enum vs_draft_kind kind);

/* How many guesses are worth a row in this step: 0 to n_most and VS_DRAFT_MOST. evidence: of the first one. */
uint32_t vs_draft_length(struct vs_draft *d, uint32_t evidence, const struct vs_draft_step *step);

/* The guesses, of which the first n_computed (not more than the length) get rows. Those behind them are only compared. */
void vs_draft_guessed(struct vs_draft *d, const uint32_t *token, uint32_t n, uint32_t n_computed);

/* A model guessed the token id from logits[n]: is the one that it guesses for likely to say the same? Where a draft is in doubt
 * they often part, and all behind it is in vain: no more is guessed there. */
bool vs_draft_is_sure(const float *logits, uint32_t n, uint32_t id);

/* The sequence's next token. */
void vs_draft_took(struct vs_draft *d, uint32_t token);
#endif
