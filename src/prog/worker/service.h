/* prog/worker/service.h - what a worker can do with its model, free of sockets and processes.
 *
 * The worker's main loop (main.c) reads frames and calls this; requests and results are JSON, bulk output goes
 * through the sink. Runs after lock-in: it opens nothing.
 *
 * Threads: one request at a time; the engine uses its own pool inside.
 */
#ifndef VS_WORKER_SERVICE_H
#define VS_WORKER_SERVICE_H
#include "base/check.h"
#include "base/status.h"
#include "ipc/envelope.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vs_service;

/* Where a running request sends what it makes, and what it is told beside its body. Every function returns VS_OK, or
 * VS_E_CANCELLED / VS_E_TIMEOUT / VS_E_* when the request must stop; the service then returns that code at once. */
struct vs_sink {
    void *context;
    int64_t owner;                      /* uid for whom it runs: what one left behind no other may meet; -1: nobody's */
    struct vs_outcome *outcome;         /* the result's envelope: finish_reason, usage, model_digest. Filled by who knows them */
    /* one generated token; text may be empty (held-back bytes), extra may be NULL (logprobs as JSON, borrowed) */
    int (*token)(void *context, uint32_t id, const char *text, size_t n, const json_t *extra);
    /* bulk bytes, in order, as many calls as wanted: blocks for credit */
    int (*data)(void *context, const void *bytes, size_t n);
    /* done of total steps of long work (0 of 0: unknown) */
    int (*progress)(void *context, const char *what, uint64_t done, uint64_t total);
    /* may it go on? all work over a request's input and results asks */
    struct vs_check check;
};

/* Call before lock-in: libraries that would open files on first use do it now. */
void vs_service_prepare(void);

/* The SHA-256 of the file that the model was made of: VS_OK and hex; VS_E_BUSY while it is computed; VS_E_NOT_FOUND when the
 * file was only looked at; VS_E_MALFORMED when the file was changed while it was loaded: then no answer counts. */
int vs_service_digest(struct vs_service *s, char ret_hex[65], struct vs_error *err);

/* settings: {"threads":0|n, "isa":"auto|c|avx2|avxvnni|avx512", "ctx":0|n, "kv_type":"f16|f32|q8_0", "prefill_chunk":0|n,
 * "precision":"fast", "n_cpus":n, "free_bytes":n, "inspect_only":bool}. fd is the read-only model file;
 * the service reads all it needs and closes it. A file that can be parsed but not run (unsupported architecture) loads with
 * inspect_only and answers inspect and, when it has one, tokenize. */
int vs_service_open(int fd, const json_t *settings, struct vs_sink *sink, struct vs_service **ret, struct vs_error *err);
void vs_service_close(struct vs_service *s);

bool vs_service_has(uint16_t type);

/* A request of this type. *ret_result (a new reference) is the body of the COMPLETE frame. */
int vs_service_call(struct vs_service *s, uint16_t type, const json_t *request, struct vs_sink *sink, json_t **ret_result,
                    struct vs_error *err);

/* What READY says of the model: a new reference. */
json_t *vs_service_facts(const struct vs_service *s);
#endif
