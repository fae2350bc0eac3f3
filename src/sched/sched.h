/* sched/sched.h - which rows the next step computes: requests, costs and a clock in, the next step out. No socket, no engine.
 *
 * One turn of the caller, with the requests that have not ended, in any order:
 *
 *     vs_sched_plan     places are given and taken, each request learns how many rows of it are in the step
 *     (pages)           the pool is full: vs_sched_victim parks one; the caller may lower `rows` of a request, to 0 also
 *     vs_sched_begin    what is computed now: clients are charged for it
 *     (compute)
 *     vs_sched_end      how long it took, guesses included: that is the gap between two tokens
 *
 * The rules:
 * - Every decoding request that has a place is in every step. Then drafts, then prompt rows, as far as the predicted time of the
 *   step stays within the target. What is left after the first prompt goes to the next.
 * - Who decodes alone has drafts up to four times the time of a step without them: its tokens come sooner.
 * - While prompts wait they get a tenth of the time, also where decoding alone takes longer than the target.
 * - Who wants all its rows at once (a text whose tokens see those after them) has them as soon as a step has the room; the first
 *   in the order whatever it costs.
 * - Where nothing decodes and all that can run is of one client, a step is as large as a step may be.
 * - Order, for places and for prompts: class, then the client that will have been served the fewest tokens when its first prompt
 *   is read (fair queueing by finish time), then arrival. A client that wanted nothing has saved nothing: it begins where the
 *   others are.
 * - A class is the priority at first. Who waits rises one class every 30 s in which no request of the same client and priority had
 *   a row, and keeps the class for its first 30 s of service.
 * - A client's share is places / clients that want some, rounded up. When all places are taken, who waits takes one of a lower
 *   class; or, when its client is below its share, one of its own class from a client above its share. Who can't run gives way
 *   first, then the lowest class, then who has the least computed. The longest-running one of all (the most computed) yields to a
 *   higher class only.
 *
 * What it learns: the time of a step by rows (a curve: few rows cost about the same, many cost each their own), by rows that are
 * read, and by positions attended, of decoding and of prompt rows. Nothing here changes an answer, only when it comes.
 *
 * Units: times are ns of one monotonic clock. A row is one token at one position. position is also the number of tokens computed.
 * Memory: all taken by _create; a turn allocates nothing. Requests are the caller's.
 * Threads: one owner. No locks inside.
 * Failure: only _create can fail.
 */
#ifndef VS_SCHED_SCHED_H
#define VS_SCHED_SCHED_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vs_sched_config {
    uint32_t chunk;                     /* most rows of a step */
    uint32_t outs;                      /* most rows of a step whose logits are read; at most chunk */
    uint32_t places;                    /* most requests of a step; 1 to outs */
    uint32_t max_requests;              /* the most that a plan is asked about */
    uint64_t target_ns;                 /* the longest that a step should take, while anybody decodes */
};

enum { VS_SCHED_PRIORITIES = 3 };       /* high, normal, low */

struct vs_sched_request {
    /* The caller's: true before each plan. */
    uint64_t client;                    /* who shares places and turns with whom */
    uint64_t arrived_ns;
    uint32_t priority;                  /* 0 the first, below VS_SCHED_PRIORITIES */
    bool runnable;                      /* false: no credit, or another one reads the same prompt: no rows now, and no new place */
    bool whole;                         /* all its rows in one step, or none; at most chunk, and as many outs */
    bool decode;                        /* false: rows of a prompt, or of what was computed before it was parked */
    uint32_t n_rows;                    /* that it wants, at least 1: what is left of the prompt; or 1 and its drafts */
    uint32_t n_outs;                    /* the last n_outs of them are read: 1, with drafts all, for LOGITS and PERPLEXITY all */
    uint32_t position;                  /* of the first of these rows */
    uint32_t need_pages;                /* without a place: pages to take from the pool before it can decode; 0: they are there */
    uint32_t held_pages;                /* with a place: pages that parking it would free */
    /* The plan's word; zero at first. place also says who has one now: a caller that parks somebody itself clears it. */
    bool place;
    bool left;                          /* it lost its place in this plan: its pages may be used for others */
    uint32_t rows;                      /* of this step, from position on */
    /* The room's own; zero at first, then untouched. */
    bool known, parked;                 /* parked: it has had a place */
    uint32_t class, account;
    uint64_t since_ns, until_ns;        /* waiting since then; keeps a class that it rose to until then */
};

struct vs_sched_work {                  /* of one step */
    uint32_t rows, outs;
    double decode_attended, prompt_attended;    /* positions, summed over rows */
};

struct vs_sched;
/* VS_E_INVALID: a number is out of range. */
int vs_sched_create(const struct vs_sched_config *config, struct vs_sched **ret);
void vs_sched_free(struct vs_sched *s);

/* Sets place and rows of request[n]; n <= max_requests. free_pages: how many the pool could give, cached ones that nobody needs
 * included; UINT32_MAX: no limit. Who has no place and needs more than that waits, unless nobody has a place; who was parked needs
 * one more for each that has a place. As long as anybody can run, somebody has rows.
 * guess_ns: since the last step a draft model made guesses for so long. It is part of this step's time, and of no row's cost. */
void vs_sched_plan(struct vs_sched *s, struct vs_sched_request *const *request, size_t n, uint32_t free_pages, uint64_t now_ns,
                   uint64_t guess_ns);

/* The pool is full: takes place and rows of the one that is to be parked and returns its index, maybe that of the one that needs
 * pages. n: nobody has a place but the longest-running one. */
size_t vs_sched_victim(struct vs_sched_request *const *request, size_t n);

void vs_sched_begin(struct vs_sched *s, struct vs_sched_request *const *request, size_t n);
void vs_sched_end(struct vs_sched *s, uint64_t ns);

/* What a step is predicted to take, in ns; 0 before anything was measured. */
double vs_sched_cost(const struct vs_sched *s, const struct vs_sched_work *work);
/* The same for who weighs drafts: where few steps had so many rows, more seem to cost little, so that they are tried; and how many
 * rows a step of so many may have with drafts: twice what was tried. */
double vs_sched_draft_cost(const struct vs_sched *s, const struct vs_sched_work *work);
uint32_t vs_sched_draft_rows(const struct vs_sched *s, uint32_t rows);
/* How long the last step might have taken with drafts, in ns, the time for guesses included: a longer one would not have been
 * given their rows. */
double vs_sched_draft_limit(const struct vs_sched *s);
#endif
