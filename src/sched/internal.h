/* sched/internal.h - one plan, in three parts: order.c (who is where in the line), places.c, rows.c. */
#ifndef VS_SCHED_INTERNAL_H
#define VS_SCHED_INTERNAL_H
#include "sched/cost.h"
#include "sched/sched.h"

/* What a client was given. `served` counts rows, on one scale for all: where a client that begins to want something begins is the
 * mean of those that wait (`turned` below). It outlives the client's requests, until another one needs its slot. */
struct vs_sched_account {
    uint64_t client;
    uint64_t plan;                      /* the last one in which it had a request; what follows is of that plan */
    double served;
    double tag;                         /* served when the first prompt of it is read */
    const struct vs_sched_request *head;    /* the first of its requests that waits or reads a prompt */
    uint32_t n_places, n_runnable;
    bool waits, waited;                 /* has a head; had one in the plan before */
    uint64_t rows_ns[VS_SCHED_PRIORITIES];    /* when a request of this priority last had a row */
};

struct vs_sched {
    struct vs_sched_config config;
    struct vs_cost cost;
    struct vs_sched_account *account;
    struct vs_sched_request **prompt;   /* [places]: scratch of rows.c */
    uint32_t n_accounts;
    uint64_t plan, now_ns;              /* number and time of this plan */
    double guess_ns;                    /* of its time, already gone */
    double turned;                      /* rows that each waiting client was given, on average, since the beginning */
    double owed;                        /* ns of prompts that steps of more than the target did not have; below 0: had too many */
    double margin;                      /* what predictions are multiplied with, so that few steps take longer than the target */
    /* Of this plan. */
    uint32_t n_placed, n_clients, n_waiting_clients;
    uint32_t n_decoding, n_prompts;     /* with a place and runnable */
    double decode_ns;                   /* predicted for the decoding rows alone */
    double draft_limit;                 /* how long it may take with drafts, guesses included */
    bool tight;                         /* the target kept rows out of the step */
    struct vs_sched_work work;
};

/* order.c */
void vs_sched_look(struct vs_sched *s, struct vs_sched_request *const *request, size_t n);
bool vs_sched_before(const struct vs_sched *s, const struct vs_sched_request *a, const struct vs_sched_request *b);
void vs_sched_charge(struct vs_sched *s, struct vs_sched_request *const *request, size_t n);

/* places.c */
void vs_sched_places(struct vs_sched *s, struct vs_sched_request *const *request, size_t n, uint32_t free_pages);

/* rows.c */
void vs_sched_rows(struct vs_sched *s, struct vs_sched_request *const *request, size_t n);
void vs_sched_add(struct vs_sched_work *work, const struct vs_sched_request *r, uint32_t n_rows);
#endif
