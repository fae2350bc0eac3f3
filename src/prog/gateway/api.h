/* prog/gateway/api.h - what an HTTP API is to the gateway: a table of functions that turn JSON into requests of ours and events
 * into bytes. They know no socket, no connection and no daemon.
 *
 *     bytes --http.c--> gw_http --begin--> gw_ask[] --link.c--> daemon
 *     bytes <--call.c-- vs_buf <--token, done, fail-- events <--------'
 *
 * An answer is whole (one body) or a stream. What `token`, `ping` and `done` append to `out` is sent at once: in a stream as it is,
 * otherwise as the body, which is sent when the last ask is done. The status is 200 unless `fail` is called before anything was
 * sent; then it is the error's.
 *
 * Memory:  a gw_call is the gateway's; asks (with their JSON), headers and state are freed after `clear`, which frees what state
 *          points to. What a gw_http points to lives until the call ends.
 * Threads: one. Nothing here waits, and what is done for one event is small.
 */
#ifndef VS_GATEWAY_API_H
#define VS_GATEWAY_API_H
#include "base/buf.h"
#include "base/status.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One HTTP request, parsed: what an API needs of it. Borrowed. */
struct gw_http {
    const char *method;
    const char *path;                   /* without query and without /v1: "/chat/completions" */
    const char *query;                  /* what follows the question mark; "" when nothing does */
    const char *rest;                   /* where the route ends in a star: what stood there, percent signs decoded; else "" */
    const char *(*header)(const struct gw_http *, const char *name);    /* NULL when absent; name in lower case */
    json_t *body;                       /* NULL where there is none (GET); else an object */
};

#define GW_FILTERED "content_filter"     /* how OpenAI calls what a filter refused, and an answer that one cut off */

struct gw_error {
    int status;                         /* of HTTP */
    char type[40], code[40], param[64]; /* "" when there is none */
    char message[600];
    int64_t retry_after_ms;             /* 0: nothing is known */
    bool again;                         /* the same request may work later: x-should-retry is false otherwise */
};

struct gw_ask {
    uint16_t type;                      /* VS_MSG_CHAT, ... */
    json_t *request;                    /* one object as vs_client_request takes it: envelope keys and body keys together */
};

struct gw_token {
    size_t ask;                         /* index in gw_call.asks */
    uint32_t index;                     /* of which choice */
    uint32_t part;                      /* VS_PART_* */
    uint32_t id;                        /* VS_NO_TOKEN: its token was in the event before */
    const char *text;
    size_t n;
    json_t *extra;                      /* logprobs; NULL. Borrowed */
};

/* One HTTP request under way in its API's terms. */
struct gw_call {
    /* set by the gateway */
    const struct gw_api *api;
    char id[40];                        /* of this request, [a-z0-9]: also the header x-request-id */
    int64_t created;                    /* seconds since 1970 */
    const char *default_model;          /* for a request that names none; NULL */
    uint64_t took_ns;                   /* before each done: since the request was read */
    /* set by begin */
    struct gw_ask *asks;                /* made by gw_call_ask */
    size_t n_asks;
    bool stream;
    struct vs_buf headers;              /* of the answer, lines "name: value\r\n" */
    const char *type;                   /* of a whole answer and of an error; NULL: application/json */
    int status;                         /* of a whole answer; 0: 200 */
    char model[128];                    /* for the metrics; "" when none is meant */
    json_t *names;                      /* {key of our request: what the request called it}, for errors; NULL */
    void *state;                        /* the API's own */
};

/* Appends an ask; takes over `request` (also on failure). VS_OK or VS_E_NOMEM. */
int gw_call_ask(struct gw_call *call, uint16_t type, json_t *request);

struct gw_api {
    /* Reads the request: asks, stream, headers (x-veritas-ignored, x-veritas-seed) and model are set. VS_OK; any other code: *err
     * says what to answer. Without asks `done` is called once, with ask 0 and result NULL. */
    int (*begin)(struct gw_call *, const struct gw_http *, struct gw_error *err);
    void (*token)(struct gw_call *, const struct gw_token *, struct vs_buf *out);
    int (*data)(struct gw_call *, size_t ask, const void *data, size_t n);      /* VS_OK, or why it fails; NULL: not needed */
    void (*ping)(struct gw_call *, struct vs_buf *out);     /* of a stream, when nothing was said for a while; may be NULL */
    /* An ask is complete. After the last one: the end of the stream, or the whole body. */
    void (*done)(struct gw_call *, size_t ask, const json_t *result, struct vs_buf *out);
    /* The error's body (begun false), or the last event of a stream that began. Also called when begin was not, or failed. */
    void (*fail)(struct gw_call *, const struct gw_error *, bool begun, struct vs_buf *out);
    void (*clear)(struct gw_call *);    /* frees state; may be NULL */
    const char *stream_type;            /* "text/event-stream" or "application/x-ndjson" */
    const char *id_header;              /* another name of x-request-id, which its clients look for; NULL: none */
};

struct gw_route {
    const char *method, *path;          /* as in gw_http; "/models/ *" without the blank: anything may follow */
    const struct gw_api *api;
    const char *label;                  /* of the metrics; NULL: path */
    bool is_ollama;                     /* only with --ollama */
};

/* routes.c: every API route, a NULL path at the end. */
extern const struct gw_route gw_routes[];
const char *gw_route_label(const struct gw_route *route);

/* api.c: fills an error; returns VS_E_INVALID. The type of ours, as OpenAI calls it, goes by the status. */
int gw_error_set(struct gw_error *err, int status, const char *code, const char *param, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
int gw_no_memory(struct gw_error *err);
/* What an error of the daemon is in HTTP: the column of base/status.h, and codes such as context_length_exceeded. */
void gw_error_of(struct gw_error *err, int code, const char *message, int64_t retry_after_ms);
/* Which field of the request an error of the daemon means, when its message begins with one of our keys: param. */
void gw_error_place(const struct gw_call *call, struct gw_error *err);
void gw_error_write(const struct gw_error *err, struct vs_buf *out);    /* {"error":{"message","type","param","code"}} */
#endif
