/* prog/worker/work.h - requests that have rows to compute, and the batch that computes them together.
 *
 *     waiting --admitted--> lanes: prompt --> decode --> ended
 *                             ^ placed       | parked: its pages are kept until others need them, then computed again
 *
 * A work has lanes: a sequence each; one for a generation, n for n choices. Before each step every lane says what it wants (tokens
 * behind those that are computed, and how many of their logits it reads); src/sched says how many rows of each are computed; then a
 * lane takes its logits, on any thread of the backend, and sends what came of them, on the main thread.
 *
 * Stays inside the worker.
 */
#ifndef VS_WORKER_WORK_H
#define VS_WORKER_WORK_H
#include "graph/graph.h"
#include "prog/worker/service_internal.h"
#include "sched/sched.h"

struct vs_draft_step;                    /* draft/draft.h */

struct vs_want {
    const uint32_t *tokens;              /* the sequence: those that are computed, and what is wanted */
    uint32_t n;                          /* of them; 0: the lane has ended */
    /* of the last n_out of them something is still to be read; who was parked reads nothing twice */
    uint32_t n_out;
    /* so many of the first may be taken over from other sequences: nobody reads their logits */
    uint32_t n_shared;
    uint32_t n_known;                    /* so many of the first are certain; what follows is a draft */
    uint32_t n_source;                   /* so many of the first are a source, in one step (vs_model_source); the batch sets it */
    uint32_t text;                       /* which text it is: another one begins a sequence anew */
    bool decode;                         /* no prompt: tokens that were made here */
    bool whole;                          /* all in one step */
};

struct vs_work_kind {
    const char *what;                    /* of its progress; NULL: none is told */
    enum vs_output output;               /* what its rows give that are read; 0: logits */
    bool apart;                          /* its lanes are texts of their own, not choices that begin alike */
    bool keep;                           /* its sequences are of use to others when it has ended */
    void (*want)(struct vs_work *w, uint32_t lane, struct vs_want *ret);
    /* While its rows are computed, on the main thread: what _take needs besides. May be left out, and NULL. */
    void (*prepare)(struct vs_work *w, uint32_t lane);
    /* What the next n rows that are read gave (logits), in order. On a thread of the backend, at the same time as other lanes. */
    int (*take)(struct vs_work *w, uint32_t lane, struct vs_sampler *sampler, const float *logits, uint32_t n,
                struct vs_error *err);
    int (*send)(struct vs_work *w, uint32_t lane, struct vs_error *err);
    json_t *(*result)(struct vs_work *w);           /* when all lanes have ended; NULL: out of memory */
    /* In place of all these: it has the model to itself, while no other work runs. */
    int (*alone)(struct vs_work *w, json_t **ret, struct vs_error *err);
    void (*free)(struct vs_work *w);
};

struct vs_lane {
    struct vs_sched_request sched;       /* first, so that the scheduler's pointer is ours */
    struct vs_work *work;
    uint32_t index;                      /* in its work */
    struct vs_want want;
    uint32_t text;                       /* that its sequence holds */
    struct vs_kv_sequence *kv;           /* NULL: it has no pages */
    struct vs_lane *leader;              /* computes what this one needs, too: it waits until n_common tokens are there */
    uint32_t n_common;
    uint32_t n_reached;                  /* most tokens that were ever computed */
    uint32_t n_out;                      /* rows that it reads in this step, */
    const float *rows;                   /* and what they gave: the kind's output */
    uint64_t placed_ns;                  /* when it first had a place; 0: never yet */
    int status;                          /* of this step */
    struct vs_error err;
};

struct vs_work {                         /* the first member of each kind's own struct */
    const struct vs_work_kind *kind;
    struct vs_service *s;
    struct vs_sink *sink;
    json_t *request;                     /* a reference */
    const char *cache_key;               /* borrowed from the request, or key; NULL: none */
    float adapters[VS_MAX_ADAPTERS];     /* how much each of the model's counts, */
    char key[VS_KV_MAX_KEY + 1];         /* and what tells who may share with whom, where there are any */
    struct vs_work *next;
    struct vs_lane *lanes;               /* [n_lanes] */
    uint32_t n_lanes;
    uint64_t n_cached, n_recomputed;     /* tokens that were found; that had to be computed once more */
};

int vs_work_init(struct vs_work *w, const struct vs_work_kind *kind, struct vs_service *s, struct vs_sink *sink, json_t *request,
                 uint32_t n_lanes, struct vs_error *err);

struct vs_works;
struct vs_works_config {
    uint32_t places;                     /* most requests of a step */
    uint64_t target_ns;                  /* of a step while others decode */
    enum vs_kv_sharing sharing;
};
enum { VS_LANES_PER_PLACE = 4 };
uint32_t vs_works_max_lanes(uint32_t places);    /* so many sequences may run */
int vs_works_create(struct vs_model *m, const struct vs_works_config *config, struct vs_works **ret);
void vs_works_free(struct vs_works *b);          /* no work may be in it */
void vs_works_join(struct vs_works *b, struct vs_work *w);
bool vs_works_turn(struct vs_works *b, void (*attend)(void *context), void *context);      /* as vs_service_turn */
/* What the next step is likely to be, for a lane that may add guesses to it: rows from `position` on. Valid during _want. */
void vs_works_step(struct vs_works *b, uint32_t position, struct vs_draft_step *ret);
void vs_works_guessed(struct vs_works *b, uint64_t ns);      /* so long it took to make them: that is not what rows cost */
struct vs_works_counts {
    uint32_t parked;
    uint64_t preemptions, prompt_tokens;     /* since the start; rows of prompts that were computed */
};
void vs_works_count(const struct vs_works *b, struct vs_works_counts *ret);
#endif
