/* prog/gateway/gateway.h - veritas-gateway: HTTP on one side, the daemon's protocol on the other; locked in, one thread.
 *
 *     client --TCP, TLS--> conn.c --http.c--> call.c --api_*.c--> link.c --socket--> daemon
 *                                                ^
 *     parent (`veritas gateway`) --control.c-----'   hands in listeners, sockets of the daemon, certificates
 *
 * main.c sets up and locks in; loop.c is a turn of the loop; guard.c decides who may ask, and who.c asks the daemon about keys;
 * routes.c lists the APIs; own.c has the routes about the gateway itself. It opens no file, connects to nothing and starts nothing:
 * everything comes over the control link.
 *
 * Memory: conns, calls and links are freed in the sweep at the end of a turn, so that a pointer lives as long as the turn.
 * Times are vs_clock_ns(), sizes bytes.
 */
#ifndef VS_GATEWAY_H
#define VS_GATEWAY_H
#include "base/clock.h"
#include "client/client.h"
#include "identity/key.h"
#include "identity/lockout.h"
#include "ipc/frame.h"
#include "ipc/json.h"
#include "prog/gateway/api.h"
#include "prog/gateway/http.h"
#include "prog/gateway/trace.h"

#include <jansson.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MS UINT64_C(1000000)
#define NEVER UINT64_MAX

enum {
    MAX_LISTENERS = 16,
    MAX_LINKS = 8,                      /* connections to the daemon, */
    MAX_ASKED = 120,                    /* requests on each: below the 128 that it allows */
    MAX_NAMES = 32,                     /* --allow-host, --allow-origin */
    MAX_KNOWN = 512,                    /* keys that the daemon has found good lately */
    INPUT_ROOM = 64 << 10,               /* bytes of a connection that wait for their turn */
    MAX_OUTPUT = 4 << 20,               /* bytes of a stream that its reader has not taken */
    LOW_OUTPUT = 64 << 10,              /* below that the daemon may send more */
    BASE_MEMORY = 512 << 20,            /* of the process, beside connections */
    MAX_JSON = 384 << 20,               /* of all JSON values together */
    MAX_VALUES = 500000,                /* of JSON in a body */
    MAX_BODIES = 256 << 20,             /* of all bodies that are being read */
};
#define HEAD_TIME (10000 * MS)          /* from the first byte of a request to the end of its head, TLS included */
#define IDLE_TIME (75000 * MS)          /* a connection without a request */
#define BODY_TIME (15000 * MS)          /* of silence, while a body comes */
#define BODY_RATE 4096                  /* bytes a second that a body must have on average, after BODY_TIME */
#define WRITE_TIME (30000 * MS)         /* a reader takes nothing */
#define LINGER_TIME (1000 * MS)         /* after an early answer: what the client still sends is read over */
#define KNOWN_TIME (10000 * MS)         /* so long such a key is not asked about again; each request says it all the same */
#define PING_TIME (10000 * MS)          /* of a stream in which nothing was said */

struct conn;
struct call;
struct gateway;

struct settings {
    size_t max_body;
    unsigned max_connections;
    bool is_ollama, is_vllm, is_web;
    char *hosts[MAX_NAMES], *origins[MAX_NAMES];        /* NULL at the end */
    char *model;                        /* of requests that name none; NULL */
    char *otlp_host, *otlp_path;        /* of the collector of spans, as its URL has them; NULL: there is none */
};

struct listener {
    int fd;
    char host[80];                      /* as it was asked for, without the port; "" for a Unix socket */
    bool is_tls, is_metrics;
};

/* ---- link.c: connections to the daemon ---- */

struct asked {
    uint64_t id;
    struct call *call;                  /* NULL: nobody waits for its events any more, or */
    struct conn *conn;                  /* this one does: is its key good? */
    size_t index;                       /* of the call's asks */
};

struct link {
    struct vs_client *client;           /* NULL: there is none */
    bool is_asked_for, has_more;
    uint64_t retry_at, wait;            /* when to ask for one again; how long to wait next time */
    struct asked asked[MAX_ASKED];
    size_t n_asked;
};

/* Sends a request of a call. VS_OK and *ret_link; VS_E_BUSY: no room; VS_E_DIED: there is no daemon; else what the client said. */
int link_send(struct gateway *g, struct call *call, size_t index, const struct gw_ask *ask, struct link **ret_link,
              uint64_t *ret_id, struct vs_error *err);
/* Is c->key good? The answer goes to who_told. As _send. */
int link_ask_key(struct gateway *g, struct conn *c, struct vs_error *err);
/* Tells the daemon, for its audit log, of who was refused here: "wrong_key", "locked_out". May be lost. */
void link_tell_refused(struct gateway *g, const struct conn *c, const char *how);
void link_forget_conn(struct gateway *g, const struct conn *c);         /* nobody waits for that any more */
void link_forget(struct link *l, uint64_t id);          /* cancels it; its events go nowhere */
void link_adopt(struct gateway *g, size_t i, int fd, uint32_t credit);
void link_refused(struct gateway *g, size_t i);         /* the parent could not connect */
void link_ready(struct gateway *g, struct link *l);
uint64_t link_timers(struct gateway *g);
bool link_is_up(const struct gateway *g);

/* ---- call.c: a request under way ---- */

struct call {
    struct gw_call api;                 /* first: what the API sees */
    struct conn *conn;
    const struct gw_route *route;
    struct call_ask { struct link *link; uint64_t id; uint32_t owed; bool has_ended; } *asks;
    size_t n_open;                      /* asks that have not ended */
    struct vs_buf body;                 /* of a whole answer */
    struct gw_span span;
    bool has_head;                      /* of the answer: it was sent */
    bool has_ended;
    uint64_t began_at, said_at;
};

/* The daemon could not be asked: link_send said code and text. */
void gw_error_of_ask(struct gw_error *err, int code, const char *text);
/* Starts a conn's request. Afterwards conn->call is set, or the answer is queued. */
void call_begin(struct gateway *g, struct conn *c, const struct gw_route *route, struct gw_http *http);
void call_event(struct gateway *g, struct call *call, size_t index, const struct vs_event *e);
void call_lost(struct gateway *g, struct call *call, const char *why);  /* the daemon died */
void call_cut(struct gateway *g, struct call *call, int status, const char *code, const char *why);
void call_free(struct call *call);      /* cancels what still runs */
void call_flushed(struct call *call);   /* the conn's output is low: the daemon may send more */
uint64_t call_timers(struct gateway *g, struct call *call);

/* ---- conn.c: a connection ---- */

struct conn {
    struct conn *next;
    int fd;
    const struct listener *listener;
    SSL *ssl;
    bool is_shaking, wants_write;       /* TLS: not yet through; waits for the socket to take something */
    enum { CONN_READS, CONN_WAITS, CONN_ANSWERS, CONN_CLOSES, CONN_LINGERS, CONN_GONE } state;
    bool keeps_alive, is_head_request, is_old, is_chunked, is_dirty, is_checked;
    struct gw_request request;
    char remote[64];                    /* where it comes from, without the port; "": a socket of this machine */
    uint64_t place;                     /* the same as a number, to count wrong keys */
    struct vs_buf in, out;
    size_t in_done, out_done;
    size_t counted;                     /* of the budget of bodies */
    uint64_t since, moved_at;           /* of the request's first byte; of the last byte that came */
    uint64_t wrote_at;                  /* since when nothing could be written; 0: nothing waits */
    struct call *call;
    const struct gw_route *route;
    const struct gw_api *api;           /* whose errors its path wants, without a route; NULL: OpenAI's */
    char request_id[40];
    const char *allowed_origin;         /* for the answer's headers; NULL */
    char key[VS_API_KEY_LENGTH + 1];    /* under which the request is asked; "": none */
};

void conn_accept(struct gateway *g, const struct listener *l);
void conn_ready(struct gateway *g, struct conn *c, short events);
void conn_flush(struct gateway *g, struct conn *c);
void conn_touch(struct conn *c);                        /* it has output */
uint64_t conn_timers(struct gateway *g, struct conn *c);
void conn_free(struct gateway *g, struct conn *c);
void conn_told(struct gateway *g, struct conn *c, int status, const struct gw_error *err);     /* CONN_WAITS: about its key */
void conn_continue(struct gateway *g, struct conn *c);  /* its answer is over: what comes next */
short conn_wants(const struct conn *c);
bool conn_has_more(const struct conn *c);               /* TLS has bytes that no poll will tell of */

/* Queues an answer's head. length < 0: a stream. headers: more lines, may be NULL. */
void reply_head(struct gateway *g, struct conn *c, int status, const char *type, int64_t length, const struct vs_buf *headers);
void reply_part(struct conn *c, const void *data, size_t n);    /* of a stream */
void reply_end(struct gateway *g, struct conn *c);              /* of any answer; the connection goes on */
void reply_whole(struct gateway *g, struct conn *c, int status, const char *type, const void *data, size_t n,
                 const struct vs_buf *headers);
/* The error in the form of the conn's route, or of OpenAI where there is none. */
void reply_error(struct gateway *g, struct conn *c, const struct gw_error *err, const struct vs_buf *headers);

/* ---- guard.c: who may ask ---- */

/* VS_OK, or *err says what to answer; VS_E_BUSY: the daemon is asked about the key, conn_told comes. Sets c->allowed_origin and
 * c->key. */
int guard_check(struct gateway *g, struct conn *c, bool is_public, struct gw_error *err);

/* ---- who.c: keys ---- */

void who_place(struct conn *c, const void *address, size_t n);         /* of accept: sets c->remote and c->place */
/* As guard_check, for a key that was said (text, NULL: none) where one is needed, or may be. */
int who_check(struct gateway *g, struct conn *c, const char *text, struct gw_error *err);
void who_told(struct gateway *g, struct conn *c, const struct vs_error *err);  /* the daemon's word; code VS_OK: it is good */

/* ---- routes.c, own.c ---- */

/* NULL: *ret_status is 404, or 405 and ret_allow has the methods ("GET, HEAD"). rest: see gw_http. */
const struct gw_route *route_find(const struct gateway *g, const struct conn *c, const char *method, const char *path,
                                  const char **ret_rest, int *ret_status, char ret_allow[64]);
/* Whose errors a request wants that no API has got yet; NULL: OpenAI's. */
const struct gw_api *route_api_of(const struct gateway *g, const struct conn *c, const char *path);
extern const struct gw_route own_routes[];
bool route_is_public(const struct gw_route *route);     /* no key is asked for */
bool route_is_page(const struct gw_route *route);       /* no key is asked for: its visitor types it there */
bool route_is_metrics(const struct gw_route *route);    /* served by --metrics-listen, and while we load or drain */

/* ---- metrics.c ---- */

void metrics_count(const char *model, const char *route, int status);
void metrics_answered(const char *model);               /* so it is one: from now on its name is a label */
extern const struct gw_api gw_api_metrics;

/* ---- collector.c: who gets the spans ---- */

void collector_adopt(struct gateway *g, int fd);
void collector_refused(struct gateway *g);
void collector_ready(struct gateway *g);
uint64_t collector_timers(struct gateway *g);
int collector_fd(void);
short collector_wants(void);
bool collector_is_busy(void);           /* something should still go out */

/* ---- control.c: the parent ---- */

void control_open(struct gateway *g, int fd);
void control_ready(struct gateway *g, short events);
int control_send(struct gateway *g, uint16_t type, uint64_t id, json_t *value);         /* takes over value */
uint16_t control_unhandled(void);

/* ---- tls.c ---- */

/* PEM texts; NULL both: no TLS. VS_OK or VS_E_INVALID; what was there before stays then. */
int tls_setup(struct gateway *g, const char *cert, const char *key, struct vs_error *err);
void tls_warm_up(void);                 /* before lock-in */

struct gateway {
    struct settings settings;
    struct vs_conn control;
    bool control_has_more;
    struct listener listeners[MAX_LISTENERS];
    size_t n_listeners;
    struct link links[MAX_LINKS];
    struct conn *conns;
    size_t n_conns;
    SSL_CTX *tls;
    struct known { uint8_t digest[32]; uint64_t until; } known[MAX_KNOWN];      /* SHA-256 of keys that are good; a ring */
    size_t n_known;
    struct vs_lockout lockout;          /* places from which wrong keys come */
    bool needs_key;
    size_t bodies;                      /* bytes of bodies that are being read */
    bool draining, ending, was_ready;
    bool loading;                       /* the model of -m is not there yet */
    uint64_t lost_at;                   /* when a connection to the daemon ended; 0 */
    uint64_t drained_at;
    uint64_t accept_at;                 /* nobody is accepted before; 0 */
    uint64_t now, n_requests;
    struct pollfd *polls;
    size_t n_polls;
};

extern struct gateway *the_gateway;     /* for own.c, whose functions see a call only */

void gateway_log(const char *format, ...) __attribute__((format(printf, 1, 2)));
void gateway_loop(struct gateway *g);
#endif
