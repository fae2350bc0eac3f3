/* api/internal.h - what the files of libveritas share.
 *
 *     connection.c  open, close, the descriptor to poll        parameters.c  what a request asks: JSON by paths
 *     events.c      start, step, run, cancel                   simple.c      short cuts, errors, version
 *
 * The client (client/client.h) does all that is protocol. Here events find their request, wait for whom they are, and become
 * structs that an application can hold.
 *
 * Memory:  a connection owns its requests' events that wait, not the requests. A request owns its parameters and result.
 * Threads: one for a connection and its requests, but for veritas_cancel, which touches two atomic flags and an eventfd.
 */
#ifndef VS_API_INTERNAL_H
#define VS_API_INTERNAL_H
#include "base/buf.h"
#include "client/client.h"
#include "veritas/veritas.h"

#include <jansson.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vs_kept;

struct veritas {
    struct vs_client *client;
    int poll_fd;                        /* epoll: the socket, and wake_fd */
    int socket;
    int wake_fd;                        /* eventfd: a cancel, or something that needs no socket to be ready */
    bool is_awake;                      /* we have made wake_fd readable */
    bool polls_socket, polls_write;     /* what poll_fd looks at */
    bool is_in_run, is_doomed;          /* veritas_run is on the stack; close it then */
    struct vs_error lost;               /* why the connection ended, by our judgement */
    struct veritas_request *requests;   /* all of them, a list */
    struct vs_kept *kept, **kept_end;   /* events that came while others were waited for */
    struct vs_buf text, json;           /* of the last event */
    struct veritas_error error;
};

struct veritas_request {
    struct veritas *v;                  /* NULL once that is closed */
    struct veritas_request *next, **link;
    uint16_t kind;
    json_t *body;
    struct vs_error failed;             /* the first setter that failed */
    void *user;
    uint64_t id;
    bool is_running;                    /* started, and its last event was not given out */
    bool is_in_run, is_doomed;          /* veritas_run is about it; free it then */
    atomic_bool is_cancelled;           /* asked for by veritas_cancel */
    bool is_cancel_sent;
    uint32_t kept_bytes;                /* of its events that wait */
    json_t *result;
    struct vs_buf result_text;
};

/* Fills err and returns code. */
int vs_api_error(struct veritas_error *err, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
int vs_api_fail(struct veritas_error *err, const struct vs_error *why);

/* The value at a path ("usage.prompt_tokens"); NULL: it is not there. */
json_t *vs_api_find(json_t *object, const char *path);

bool vs_api_is_any_running(const struct veritas *v);

/* After everything that may have changed what is to be polled, or what is ready. */
void vs_api_settle(struct veritas *v);
void vs_api_wake(const struct veritas *v);

/* Forgets the events of a request that wait (NULL: all). */
void vs_api_forget(struct veritas *v, const struct veritas_request *r);
#endif
