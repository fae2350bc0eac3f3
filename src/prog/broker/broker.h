/* prog/broker/broker.h - the process between clients and workers.
 *
 *     clients --peer.c--> ask.c --> requests --line.c--> run.c: runs of a worker --> frames back to the clients
 *                                   model.c: the life of models and of their workers
 *                                   control.c: the supervisor, who starts and stops workers for us
 *
 * It owns the client socket, decides who may connect, keeps the line of each model's requests, gives the worker as many as it takes
 * at once, and passes the worker's frames back. It keeps each request's body and the ids of its tokens until it ends, so that the
 * next worker can go on where one died. It reads frames and envelopes; it parses no model, no prompt and no result. It is
 * locked in and single-threaded: one poll loop, nothing blocks.
 *
 * What it must never do: wait for one party at the cost of another. So each party has its part: of places for connections and
 * requests, of memory (every buffer is counted before it is taken), of a turn of the loop; and each is given up on when it is
 * silent for too long, by a clock that runs only while we listen to it.
 *
 * Nothing is freed under a caller: what ends is marked (gone, ended), and sweep() frees it at the end of the loop's turn.
 */
#ifndef VS_BROKER_BROKER_H
#define VS_BROKER_BROKER_H
#include "base/file.h"
#include "base/log.h"
#include "base/status.h"
#include "ipc/envelope.h"
#include "ipc/frame.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define MS 1000000ull                   /* all times in here are vs_clock_ns() */
#define NEVER UINT64_MAX

enum {
    MAX_PEERS = 1024,                   /* connections with a place of their own, where nobody says otherwise; */
                                        /* three quarters of them for one process */
    MAX_GUESTS = 8,                     /* more, for what must always be possible: status, list, unload, shutdown */
    MAX_LEAVING = 16,                   /* refused ones that are still being told why */
    MAX_MODELS = 16,                    /* loaded at once */
    MAX_PEER_REQUESTS = 128,            /* under way on one connection */
    MAX_QUEUE = 256,                    /* requests that wait for one model, where nobody says otherwise */
    MAX_DESCRIPTORS = 16,               /* that came and wait for their LOAD; one on a connection */
    MAX_TURN = 8,                       /* frames of one client in a turn of the loop */
    MAX_WORKER_TURN = 64,               /* frames of one worker in a turn */
    MAX_LOG_LINES = 20,                 /* in a second */
    MAX_LOG_TEXT = 480, MAX_LOG_NAME = 160,     /* bytes of a line: with every one escaped, they fit into PIPE_BUF */
    MAX_PARALLEL = 256,                 /* requests in a worker's step */
    MAX_CHOICES = 16,                   /* answers to one request */
    MAX_DEATHS = 2,                     /* of workers that one request may see */
    MAX_REFUSED = 256,                  /* requests that ended two workers, remembered */
    MAX_ASKED = 4,                      /* times that the supervisor is asked to start a model for which there was no room */
};
#define MAX_MEMORY (1u << 30)           /* bytes of all buffers: clients, and what 16 workers may need; */
#define MAX_CLIENTS_MEMORY (256u << 20) /* those of all clients, */
#define MAX_CLIENT_MEMORY (128u << 20)  /* those of one process, */
#define MAX_PEER_MEMORY (80u << 20)     /* those of one connection, */
#define OWN_MEMORY (256u << 10)         /* of which so many are its own, whatever others have taken */
#define MAX_LISTEN (1u << 20)           /* a client with so much unread is not listened to */
#define MAX_LOSSY (256u << 10)          /* progress is dropped when so much waits already */
#define NOBODY 65534                    /* what a user namespace shows of those who are not in it */
#define MAX_JSON (64u << 20)            /* memory of all JSON values */
#define FRAME_SILENCE (10000 * MS)      /* half a frame and no byte for so long */
#define FRAME_TIME (120000 * MS)        /* one frame may take so long at most */
#define DESCRIPTOR_TIME (1000 * MS)     /* a descriptor waits so long for its frame */
#define CLOSE_TIME (1000 * MS)          /* a refused client has so long to read why */
#define DEATH_TIME (500 * MS)           /* the supervisor has so long to say how a worker died */
#define STALL_TIME (10000 * MS)         /* a request whose client takes nothing is stopped after so long, */
#define STALL_TIME_QUEUED (1000 * MS)   /* or so when others wait for the same worker, and it takes one request at a time */
#define RISE_TIME (30000 * MS)          /* who has waited so long rises one class of priority */
#define NAMED_IDLE_TIME (1000 * MS)     /* a name alone, of which nobody knows whether it is a model, drives out none used since */
#define CANCEL_TIME (5000 * MS)         /* a worker has so long to stop a request; then the client hears of it anyway */
#define OBEY_TIME (60000 * MS)          /* and so long until it is stopped, though it lives */
#define KILL_TIME (20000 * MS)          /* one that was stopped is gone after so long, or its requests wait no longer */

struct broker_settings {                /* what `veritas serve` says at the start: settings.c */
    unsigned queue;                     /* requests that may wait for one model */
    unsigned clients;                   /* connections with a place of their own */
    uint64_t memory;                    /* bytes that all workers may use together; UINT64_MAX: nobody said */
    uint64_t hang;                      /* a worker that works shows progress at least so often; in the unit of MS */
    enum vs_log_form log;
    json_t *aliases;                    /* an object: other names of models; NULL: none */
};

enum latency { LATENCY_QUEUE, LATENCY_FIRST_TOKEN, LATENCY_INTER_TOKEN, N_LATENCIES };
enum rate { RATE_PROMPT, RATE_GENERATED, N_RATES };
enum { N_BUCKETS = 112, N_SLICES = 6, N_SECONDS = 10, RATE_SECONDS = 8, RETRY_MS = 1000 };

struct measure {                        /* of a model, lately: measure.c */
    struct slice {
        uint64_t number;                /* of the ten seconds that it is about */
        uint32_t count[N_LATENCIES][N_BUCKETS];
        uint32_t n_ended;               /* requests */
    } slice[N_SLICES];
    struct second {
        uint64_t number, n[N_RATES];    /* tokens */
    } second[N_SECONDS];
    uint64_t since;                     /* so long requests have been ending, with no minute between */
};

struct turn {                           /* whose it is: that of who was served fewest tokens, then of who was begun longest ago */
    uint64_t n_tokens, run_number;
};

struct client {                         /* a process that has connections */
    struct client *next;
    pid_t pid;
    uint64_t number;                    /* tells the worker who shares places */
    unsigned n_peers, n_requests;       /* n_requests: of all its connections, that have not ended */
    unsigned n_counted;                 /* connections, when places are given */
    unsigned n_runs;                    /* of the model whose line moves */
    struct turn turn, last_turn;        /* last_turn: of the connection that was begun last */
    struct vs_budget memory;
};

struct peer {                           /* a connection */
    struct peer *next;
    struct client *client;
    struct vs_conn conn;
    struct vs_budget memory;
    uid_t uid;
    pid_t pid;
    int64_t owner;                      /* whose its requests are, for the worker: uid, or a number of its own */
    char name[64];                      /* what it calls itself: only to show */
    bool is_private;                    /* the daemon lives as long as this connection */
    bool is_guest;                      /* has no place of its own */
    bool has_more;                      /* whole frames of it wait for the next turn */
    bool gone;                          /* freed by sweep, its requests are cancelled there */
    uint64_t close_at;                  /* 0, or: refused; closed when its output is sent or at this time */
    uint64_t byte_at, frame_at;         /* last byte of, and begin of, an unfinished frame (or of the time before HELLO) */
    uint64_t descriptor_at;             /* 0, or since when a descriptor waits */
    uint64_t served_at;                 /* its last frame */
    struct turn turn;
    struct request *requests;
    unsigned n_requests;                /* that have not ended */
    unsigned n_waiting;                 /* for the model whose line is full */
};

enum request_place { PLACE_NONE, PLACE_QUEUED, PLACE_RUNNING, PLACE_ASKED, PLACE_ENDED };

struct request {                        /* of a client, from its frame to the one frame that ends it */
    struct request *next;               /* in its queue */
    struct request *peer_next;
    struct peer *peer;
    struct model *model;
    struct run *run;                    /* PLACE_RUNNING */
    enum request_place place;
    uint16_t type;
    uint64_t id, asked_id;              /* the client's; LIST: the question to the supervisor that answers it */
    bool began;                         /* a worker has or had it: its failure is an ERROR */
    struct vs_buf body;                 /* as it came; kept until the request ends: another worker may have to read it */
    size_t body_bytes;                  /* of it, also when it is not kept any more */
    char trace[VS_TRACE_BYTES];         /* "": none */
    size_t counted;                     /* bytes taken of the peer's memory */
    unsigned priority;                  /* VS_PRIORITY_* as asked for */
    uint64_t arrived_at, deadline;      /* NEVER when none */
    uint32_t credit;                    /* while it waits: bytes of output that may come */
    struct sent {                       /* of each choice, the tokens that the client has */
        uint32_t *id;
        uint32_t n, cap;
    } *sent;
    unsigned n_choices, n_tokens;       /* n_tokens: of all choices */
    bool has_index;                     /* its tokens say of which choice they are */
    bool is_lost;                       /* bytes of it went out that another worker could not go on behind */
    bool is_suspect;                    /* it may have ended a worker: it runs alone */
    unsigned n_deaths, n_resumed, n_since;      /* n_since: tokens since it was given to another worker */
    uint64_t token_at;                  /* 0, or when its last token came */
};

struct queue {
    struct request *first, *last;
    unsigned n;
};

struct run {                            /* of a worker, from the frame to it to the one that ends it */
    struct run *next;                   /* the one that was begun after it */
    struct request *request;            /* NULL: nobody waits for it any more */
    uint64_t id;
    uint16_t type;
    bool is_alone;                      /* no other is begun beside it */
    uint32_t credit, wants;             /* bytes of output that may still come; that the worker waits for */
    uint64_t blocked_at;                /* 0, or since when it waits for credit */
    bool is_taken_back;                 /* it goes back into the line as soon as the worker has let go of it */
    int cancel;                         /* VS_OK, or why the worker was told to stop */
    uint64_t cancel_at;
};

#define STATS_MAP(X) X(pages) X(used) X(cached) X(page_bytes) X(parked) X(preemptions)
enum {                                  /* numbers that a worker says of itself */
#define STATS_ENUM(name) STATS_##name,
    STATS_MAP(STATS_ENUM)
    N_STATS
};

enum model_state { MODEL_STARTING, MODEL_LOADING, MODEL_READY, MODEL_DEAD };

struct model {
    struct model *next;
    uint64_t id;                        /* between us and the supervisor */
    char *name;
    json_t *settings;                   /* as asked for; an object; once it was started, as the supervisor says */
    bool by_descriptor, gone, has_more;
    bool by_request;                    /* a request's name brought it; nobody loaded it */
    int file_fd;                        /* by_descriptor, until it is started; else -1 */
    bool is_asked;                      /* the supervisor was asked to start it */
    unsigned n_asked;
    uint64_t needed, room;              /* bytes that it will take, as far as its file tells; that it may take */
    uint64_t used_at;                   /* when somebody used it last */
    char file[VS_FILE_IDENTITY];        /* by_descriptor: which file it was */
    enum model_state state;
    struct vs_conn conn;
    struct vs_budget memory;
    pid_t pid;
    json_t *path, *bytes, *origin;      /* as the supervisor says */
    /* hex SHA-256 of the file, "" until its worker says it; only to show: results have their own */
    char digest[65];
    json_t *facts, *sandbox;            /* as the worker says; they do not change */
    struct queue queue;
    struct run *runs;                   /* that the worker has, in the order in which they were begun */
    unsigned n_runs, parallel;          /* parallel: so many in a step, as the worker says */
    bool can_go_on;                     /* the worker takes tokens that were sent already */
    uint64_t heard_at;                  /* the worker's last sign of life, or when it was last to begin something */
    char killed_for[128];               /* "", or why it was stopped; soon the supervisor says that it ended */
    bool is_dead;                       /* it has ended: nothing is given to it any more */
    int64_t stats[N_STATS];
    struct measure measure;
    bool is_suspicious;                 /* what it was stopped for may be a request's doing */
    uint64_t killed_at, dead_at, log_second;
    unsigned n_logs, n_served, n_restarts;
};

struct broker {
    struct broker_settings settings;
    int listen_fd;                      /* -1: private */
    struct vs_conn control;             /* the supervisor */
    struct vs_budget control_memory;
    uid_t uid;                          /* who may connect, beside root */
    struct client *clients;
    struct peer *peers;
    struct model *models;
    struct queue asked;                 /* LIST requests that wait for the supervisor */
    uint64_t asked_id;                  /* the question that is under way, or 0 */
    unsigned n_peers, n_models;
    struct vs_budget memory, clients_memory;
    uint64_t last_id, last_run, last_peer, last_client, now, started_at;
    struct turn last_turn;              /* of the process that was begun last: who comes back has at least so many tokens */
    uint64_t accept_at;                 /* accept failed: not before */
    bool is_open;                       /* the supervisor lets clients in */
    bool draining, ending;
    uint64_t drained_at;                /* draining: when what is still being answered is cut off */
    bool quiet;                         /* a private daemon's client says itself what went wrong */
    uint64_t log_second;
    unsigned n_logs, n_left_out;
    json_t *sandbox;
    struct refused *refused;            /* refused.c; NULL: none */
    unsigned n_refused;
    struct pollfd *polls;               /* of the turn; room for n_polls */
    void **polled;
    size_t n_polls;
};

/* loop.c */
void broker_init(struct broker *b);
void broker_loop(struct broker *b);
void broker_turn(struct broker *b, bool wait);
void broker_sweep(struct broker *b);    /* frees what has ended or is gone */
void broker_clear(struct broker *b);    /* what is left, when all connections and models are gone */
unsigned broker_connections(const struct broker *b);   /* that may be there at once */
/* One line on stderr, in words; with _event fields for machines too, and words NULL where the fields say it all (base/log.h). */
void broker_log(struct broker *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void broker_log_event(struct broker *b, enum vs_log_level level, const char *event, const struct vs_log_field *fields, size_t n,
                      const char *words);

/* settings.c */
void settings_init(struct broker_settings *s);                 /* the defaults */
int settings_read(struct broker_settings *s, int fd, struct vs_error *err);     /* JSON, keys serve.*; VS_E_INVALID */

/* peer.c: who may come, what it costs us */
uint16_t peer_unhandled(void);          /* 0, or a message without handler or row */
void peer_add(struct broker *b, int fd, bool is_private);
void peer_accept(struct broker *b);
bool peer_is_heard(const struct peer *p);                      /* do we listen to it now? */
void peer_ready(struct broker *b, struct peer *p, short events);
uint64_t peer_timers(struct broker *b, struct peer *p);        /* acts on what is due; when it is to be asked again */
void peer_refuse(struct broker *b, struct peer *p, int code, const char *text);   /* ERROR 0, then it is closed */
/* Sending only marks a peer that can't be reached. _parts: a payload in two pieces; VS_E_LIMIT: no room, nothing was sent. */
void peer_send(struct broker *b, struct peer *p, uint16_t type, uint16_t flags, uint64_t id, const void *data, size_t n);
int peer_send_parts(struct broker *b, struct peer *p, uint16_t type, uint64_t id, const void *head, size_t n, const void *body,
                    size_t m);
bool peer_has_place(struct broker *b, struct peer *p);         /* for more than a guest may ask; finds one where there is one */

/* ask.c: what clients ask for */
uint16_t ask_unhandled(void);
void ask_request(struct broker *b, struct peer *p, struct vs_frame *f);
void ask_models_known(struct broker *b);                       /* the supervisor answered; asks again for those who came since */

/* alias.c */
const char *alias_resolve(struct broker *b, const char *name);     /* the model that a client means; name when it is no alias */
/* May the model `name` be loaded with the alias that its settings have? VS_E_INVALID. */
int alias_check(struct broker *b, const char *name, const json_t *settings, struct vs_error *err);

/* request.c */
struct request *request_create(struct broker *b, struct peer *p, uint16_t type, uint64_t id);
struct request *request_find(const struct peer *p, uint64_t id);
bool request_keep(struct request *r, size_t n);                /* counts n bytes of the peer's memory for it */
void request_note(struct request *r, const struct vs_token_view *t, bool has_index);   /* a token goes to the client */
void request_lose(struct request *r);                          /* what goes out now no other worker could go on behind */
bool request_can_go_on(const struct request *r);               /* in another worker */
/* The terminal frame: outcome, and the bytes of a body (may be NULL). r is freed by sweep. */
void request_end(struct broker *b, struct request *r, uint16_t type, const struct vs_outcome *outcome, const void *body, size_t n);
/* REJECTED or ERROR, as its place says; VS_E_BUSY says when to come again. */
void request_fail(struct broker *b, struct request *r, int code, const char *text);
void request_fail_hints(struct broker *b, struct request *r, int code, const char *text, const struct vs_outcome_hints *hints);
void request_complete(struct broker *b, struct request *r, json_t *result);            /* steals result */
void queue_add(struct queue *q, struct request *r);
void queue_remove(struct queue *q, struct request *r);

/* measure.c: times are in the unit of MS; JSON is a new reference */
void measure_latency(struct measure *m, uint64_t now, enum latency kind, uint64_t time);
void measure_tokens(struct measure *m, uint64_t now, enum rate kind, uint64_t n);
void measure_end(struct measure *m, uint64_t now);             /* a request ended */
uint64_t measure_retry_ms(const struct measure *m, uint64_t now, unsigned n_waiting);  /* until so many have had their turn */
json_t *measure_latency_json(const struct measure *m, uint64_t now);
json_t *measure_rate_json(const struct measure *m, uint64_t now);

/* refused.c */
void refused_add(struct broker *b, const struct request *r);
bool refused_has(const struct broker *b, const struct request *r);
void refused_free(struct broker *b);

/* ledger.c */
uint64_t ledger_bytes(const struct model *m);                  /* that it takes, or will take */
uint64_t ledger_used(const struct broker *b);
void ledger_start_next(struct broker *b);                      /* asks the supervisor for the next model that is to come */
/* The supervisor says that m needs more than there is room: room is made, or its requests fail. */
void ledger_refused(struct broker *b, struct model *m, uint64_t needed, const struct vs_error *why);
/* Unloads a model that nobody loaded and nobody has used for so long; false: there is none. */
bool ledger_give_up_one(struct broker *b, uint64_t idle);

/* line.c: who waits for a model, and who is next */
void line_enter(struct broker *b, struct model *m, struct request *r);
/* Who is to be begun next, when there is a place; NULL: nobody. Of one client no more than fit into a step. Counts the places of
 * each client that has one or waits (n_runs). */
struct request *line_next(struct broker *b, const struct model *m);
unsigned line_priority(const struct broker *b, const struct request *r);       /* as it is after its wait */
void line_begun(struct broker *b, struct request *r, uint64_t run);
void line_served(struct request *r, uint64_t n);               /* n tokens of work were done for it */

/* run.c: requests that a worker has, and what it says of them */
void run_pump(struct broker *b, struct model *m);              /* begins what may be begun */
struct run *run_find(const struct model *m, uint64_t id);
void run_end_all(struct broker *b, struct model *m, int code, const char *text);
/* Their worker is gone: they go on in the next one, those that can. is_suspicious: one of them may have ended it. */
void run_lose_all(struct broker *b, struct model *m, int code, const char *text, bool is_suspicious);
bool run_is_working(const struct model *m);                    /* not when all of them wait for credit: that is for us to give */
void run_cancel(struct broker *b, struct model *m, struct run *run, int code);
void run_timers(struct broker *b, struct model *m, uint64_t *next);
void run_on_stream(struct broker *b, struct model *m, struct vs_frame *f);
void run_on_blocked(struct broker *b, struct model *m, struct vs_frame *f);
void run_on_terminal(struct broker *b, struct model *m, struct vs_frame *f);

/* model.c */
uint16_t model_unhandled(void);
struct model *model_find(struct broker *b, const char *name);
struct model *model_find_id(struct broker *b, uint64_t id);
/* Starts one (fd: borrowed, or -1; file: its identity); NULL and err when it can't. settings is borrowed. */
struct model *model_create(struct broker *b, const char *name, const json_t *settings, int fd, const char *file,
                           struct vs_error *err);
void model_enqueue(struct broker *b, struct model *m, struct request *r);
/* Its worker is there; takes over fd. _restore: a model of the time before a broker died. */
void model_started(struct broker *b, struct model *m, int fd, const json_t *message);
struct model *model_restore(struct broker *b, uint64_t id, const json_t *message);
struct death {
    int code;
    const char *text;
    bool by_sigkill;                    /* from outside: no request's doing */
    bool is_last;                       /* there will be no other worker */
};
void model_exited(struct broker *b, struct model *m, const struct death *d);
void model_ready(struct broker *b, struct model *m, short events);
uint64_t model_timers(struct broker *b, struct model *m);
void model_cancel(struct broker *b, struct request *r, int code);      /* wherever it is */
void model_credit(struct broker *b, struct request *r, uint32_t n);
bool model_is_answering(const struct model *m);                /* somebody waits for it */
/* All its requests end with this error; the worker is stopped. */
void model_drop(struct broker *b, struct model *m, int code, const char *text);
/* The worker is ended and started again; who waits for it waits on. */
void model_stop_worker(struct broker *b, struct model *m, const char *text, bool is_suspicious);
void model_violation(struct broker *b, struct model *m, const char *what);     /* its worker broke the protocol */
json_t *model_describe(const struct broker *b, const struct model *m);         /* describe.c */
bool due(const struct broker *b, uint64_t at, uint64_t *next); /* is it time? else next is no later than at */

/* control.c */
uint16_t control_unhandled(void);
void control_open(struct broker *b, int fd);
/* VS_OK, or VS_E_BUSY: not now. value may be NULL, and is stolen; fd is borrowed, or -1. */
int control_send(struct broker *b, uint16_t type, uint64_t id, json_t *value, int fd);
void control_ready(struct broker *b, short events);
#endif
