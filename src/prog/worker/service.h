/* prog/worker/service.h - what a worker can do with its model, free of sockets and processes.
 *
 * The link (main.c, job.c) reads frames and calls this; requests and results are JSON, what is streamed goes through a sink. A
 * request goes in two parts:
 *
 *     _call    text and JSON: on any thread, many at once, beside the steps. Its answer is a result, or a work: rows to compute
 *     _join    hands the work over; _turn computes a step of all works together, and tells each one's sink what it made and its end
 *
 * Runs after lock-in: it opens nothing.
 *
 * Threads: _call on any; _digest on any; everything else on the one that loaded.
 */
#ifndef VS_WORKER_SERVICE_H
#define VS_WORKER_SERVICE_H
#include "base/check.h"
#include "base/files.h"
#include "base/status.h"
#include "ipc/envelope.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vs_service;
struct vs_work;
struct vs_claim;                         /* claim.h */

struct vs_sent { uint32_t *id; size_t n; };      /* what the client has from an earlier worker: tokens, and VS_NO_TOKEN */

struct vs_said {                        /* one generated token; borrowed */
    int index, part;                    /* of which choice; what it belongs to (VS_PART_*). -1: there is one choice; nobody asked */
    uint32_t id;                        /* VS_NO_TOKEN: more text of the one before */
    const char *text;                   /* may be empty: bytes that are held back */
    size_t n;
    const json_t *extra;                /* logprobs; NULL */
};

/* Where a request sends what it makes, and what it is told beside its body. Functions that return int give VS_OK, or why the
 * request must stop (VS_E_CANCELLED, VS_E_TIMEOUT, ...); the service then ends it with that code. */
struct vs_sink {
    void *context;
    int64_t owner;                      /* uid for whom it runs: what one left behind no other may meet; -1: nobody's */
    uint64_t client;                    /* with whom it shares places */
    unsigned priority;                  /* VS_PRIORITY_* */
    uint64_t arrived_ns;                /* when it came to the daemon; vs_clock_ns() */
    const struct vs_sent *sent;         /* [VS_MAX_CHOICES] */
    struct vs_claim *claim;             /* for its receipt; NULL: none is wanted */
    struct vs_outcome *outcome;         /* the result's envelope: finish_reason, usage. Filled by who knows them */
    int (*token)(void *context, const struct vs_said *said);      /* from _turn it never blocks */
    int (*data)(void *context, const void *bytes, size_t n);      /* bulk bytes, in order */
    bool (*is_full)(void *context);     /* output waits for credit: no more rows for now */
    int (*progress)(void *context, const char *what, uint64_t done, uint64_t total);     /* of long work (0 of 0: unknown) */
    int (*stopped)(void *context);      /* VS_OK, or why it must stop; quick */
    /* A work has ended: status VS_OK and the result (taken over), or err. The sink may be gone afterwards. */
    void (*ended)(void *context, int status, json_t *result, const struct vs_error *err);
    struct vs_check check;              /* for _call, and for work that has the machine to itself: may it go on? */
};

/* Call before lock-in: libraries that would open files on first use do it now. */
void vs_service_prepare(void);

/* settings: the group "settings" of ipc/keys.h, and {"n_cpus":n, "free_bytes":n} of the supervisor. parts are the read-only files
 * of the model, draft that of the model that guesses for it (-1: none); the service reads all it needs and closes them. A
 * file that can be parsed but not run (unsupported architecture) loads with inspect_only and answers inspect and, when it has one,
 * tokenize. With check_only it says what a load would find wrong, and reads no weights. */
int vs_service_open(const struct vs_files *parts, int draft, const json_t *settings, struct vs_sink *sink,
                    struct vs_service **ret, struct vs_error *err);
void vs_service_close(struct vs_service *s);

/* What READY says of the model: a new reference. "parallel": how many requests it takes at once. */
json_t *vs_service_facts(const struct vs_service *s);
/* What STATS says: a new reference, or NULL when nothing changed since. */
json_t *vs_service_stats(struct vs_service *s);

/* The SHA-256 of the file that the model was made of: VS_OK and hex; VS_E_BUSY while it is computed (helping for wait_ms at most)
 * and *ret_done of *ret_total bytes; VS_E_NOT_FOUND when the file was only looked at; VS_E_MALFORMED when the file was changed
 * while it was loaded: then no answer counts. */
int vs_service_digest(struct vs_service *s, unsigned wait_ms, char ret_hex[65], uint64_t *ret_done, uint64_t *ret_total,
                      struct vs_error *err);

/* The SHA-256 of an adapter's file, in hex; there once _digest has said VS_OK. */
const char *vs_service_adapter_digest(const struct vs_service *s, unsigned i);

bool vs_service_has(uint16_t type);
/* A result of this type proves something of the file, and is nothing without its digest. */
bool vs_service_needs_digest(uint16_t type);
/* It is done quickly when its body is small: not worth another thread. */
bool vs_service_is_quick(uint16_t type);

/* Exactly one of the two is set when _call returns VS_OK. */
struct vs_answer {
    json_t *result;                     /* a new reference: the body of the COMPLETE frame */
    struct vs_work *work;
};
/* The request's JSON stays the caller's; a work holds a reference. The sink must outlive the work. */
int vs_service_call(struct vs_service *s, uint16_t type, json_t *request, struct vs_sink *sink, struct vs_answer *ret,
                    struct vs_error *err);

void vs_service_join(struct vs_service *s, struct vs_work *work);
void vs_work_free(struct vs_work *work);         /* one that has not joined */
/* Takes out works that must stop, and computes one step. `attend` is called between the tasks of a long step. False: there was
 * nothing to compute (all wait for credit, or there are none). */
bool vs_service_turn(struct vs_service *s, void (*attend)(void *context), void *context);
#endif
