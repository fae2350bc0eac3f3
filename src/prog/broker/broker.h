/* prog/broker/broker.h - the process between clients and workers.
 *
 *     clients --peer.c--> jobs --model.c--> workers
 *                          control.c: the supervisor, who starts and stops workers for us
 *
 * It owns the client socket, decides who may connect, gives every request a number of its own, queues it for its model's
 * worker (one runs at a time, the others wait in order), and passes the worker's frames back. It reads frames and small
 * JSON; it parses no model and looks at no prompt. It is locked in and single-threaded: one poll loop, nothing blocks.
 *
 * What it must never do: wait for one party at the cost of another. So each party has a bound: a client's frames by
 * size and time, its requests by number, its unread output by credit and by a limit; a worker's output by credit; a
 * worker's silence by a limit after cancel.
 *
 * Objects marked `gone` or `done` live until the end of the loop's turn (sweep), so that handlers may drop what
 * their callers still hold.
 */
#ifndef VS_BROKER_BROKER_H
#define VS_BROKER_BROKER_H
#include "base/status.h"
#include "ipc/frame.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#define MS 1000000ull                   /* all times in here are vs_clock_ns() */
#define NEVER UINT64_MAX

enum {
    MAX_PEERS = 64,                     /* connections */
    MAX_MODELS = 16,                    /* loaded at once */
    MAX_PEER_JOBS = 128,                /* requests in flight on one connection */
    MAX_QUEUE = 64,                     /* requests waiting for one worker */
};
#define MAX_HELD (256ull << 20)         /* bytes of all waiting requests */
#define MAX_UNREAD (48u << 20)          /* bytes that wait for one client to read them */
#define MAX_LOSSY (256u << 10)          /* progress is dropped when so much waits already */
#define MAX_JSON (192u << 20)           /* memory of all JSON values */
#define FRAME_SILENCE (10000 * MS)      /* half a frame and no byte for so long */
#define FRAME_TIME (120000 * MS)        /* one frame may take so long at most */
#define CLOSE_TIME (1000 * MS)          /* a refused client has so long to read why */
#define DEATH_TIME (500 * MS)           /* the supervisor has so long to say how a worker died */
#define STALL_TIME (10000 * MS)         /* a request whose client takes nothing is stopped after so long, */
#define STALL_TIME_QUEUED (1000 * MS)   /* or so when others wait for the same worker */
#define CANCEL_TIME (5000 * MS)         /* a worker has so long to stop a request; then the client hears of it anyway */
#define HANG_TIME (60000 * MS)          /* and so long until it counts as hung and is stopped */
#define DIGEST_TIME (120000 * MS)       /* a result waits so long for the file's digest */

struct peer {
    struct peer *next;
    struct vs_conn conn;
    uid_t uid;
    pid_t pid;
    char name[64];                      /* what it calls itself: only to show */
    bool is_private;                    /* the daemon lives as long as this connection */
    bool gone;
    uint64_t close_at;                  /* 0, or: refused; closed when its output is sent or at this time */
    uint64_t byte_at, frame_at;         /* last byte of, and begin of, an unfinished frame (or of the time before HELLO) */
    struct job *jobs;
    unsigned n_jobs;
};

enum job_place { JOB_NEW, JOB_QUEUED, JOB_RUNNING, JOB_HELD, JOB_ASKED };

struct job {                            /* one request */
    struct job *next;                   /* in its place's list */
    struct job *peer_next;
    struct peer *peer;                  /* NULL: the client is gone, or our own question */
    struct model *model;
    enum job_place place;
    bool started;                       /* the worker has it or had it: its failure is an ERROR */
    uint16_t type;
    uint64_t id, client_id;             /* towards worker or supervisor; towards client */
    char *body;                         /* the request's JSON until it is sent, then a result that waits for the digest */
    size_t body_bytes;
    char trace[64];                     /* W3C traceparent, "" when none */
    uint64_t deadline;                  /* NEVER when none */
    uint32_t credit;                    /* bytes of output that may still come */
    uint64_t blocked_at;                /* 0, or since when the worker waits for credit */
    int cancel;                         /* VS_OK, or why the worker was told to stop */
    uint64_t cancel_at, held_at;
};

struct queue {
    struct job *first, *last;
    unsigned n;
};

enum model_state { MODEL_STARTING, MODEL_LOADING, MODEL_READY, MODEL_DEAD };

struct model {
    struct model *next;
    uint64_t id;                        /* between us and the supervisor */
    char *name;
    json_t *settings;                   /* as loaded; an object */
    bool by_descriptor, gone;
    struct stat file;                   /* by_descriptor: which file it was */
    enum model_state state;
    struct vs_conn conn;
    pid_t pid;
    json_t *path, *bytes, *origin;      /* as the supervisor says */
    char digest[65];                    /* hex SHA-256 of the file, "" until known */
    json_t *facts, *sandbox;            /* as the worker says */
    struct queue queue, held;
    struct job *running;
    uint64_t ready_at, dead_at, log_second;
    unsigned n_logs, n_served, n_restarts;
};

struct broker {
    int listen_fd, control_fd;          /* listen_fd -1: private, or draining */
    uid_t uid;                          /* who may connect, beside root */
    struct peer *peers;
    struct model *models;
    struct queue asked;                 /* LIST requests that wait for the supervisor */
    unsigned n_peers, n_models;
    size_t held_bytes;
    uint64_t last_id, now, started_at;
    bool draining, ending;
    uint64_t drained_at;                /* draining: when what is still being answered is cut off */
    json_t *sandbox;
};

/* peer.c */
uint16_t peer_unhandled(void);          /* 0, or a message without handler or row */
void peer_add(struct broker *b, int fd, bool is_private);
void peer_accept(struct broker *b);
void peer_ready(struct broker *b, struct peer *p, short events);
uint64_t peer_timers(struct broker *b, struct peer *p);        /* acts on what is due; when it is to be asked again */
void peer_drop(struct broker *b, struct peer *p);              /* its requests are cancelled; freed by sweep */
void peer_refuse(struct broker *b, struct peer *p, int code, const char *text);   /* ERROR 0, then dropped */
void peer_send(struct broker *b, struct peer *p, uint16_t type, uint16_t flags, uint64_t id, const void *data, size_t n);

/* job.c */
struct job *job_create(struct broker *b, struct peer *p, uint16_t type, uint64_t client_id);
void job_finish(struct broker *b, struct job *j, uint16_t type, const void *data, size_t n);   /* terminal frame; j is freed */
void job_fail(struct broker *b, struct job *j, int code, const char *text);    /* REJECTED or ERROR, as its place says */
void job_complete(struct broker *b, struct job *j, json_t *result);            /* steals result */
void queue_add(struct queue *q, struct job *j);
void queue_remove(struct queue *q, struct job *j);

/* model.c */
uint16_t model_unhandled(void);
struct model *model_find(struct broker *b, const char *name);
struct model *model_find_id(struct broker *b, uint64_t id);
/* Starts one (fd: borrowed, or -1); NULL and err when it can't. settings is borrowed. */
struct model *model_create(struct broker *b, const char *name, const json_t *settings, int fd, struct vs_error *err);
void model_enqueue(struct broker *b, struct model *m, struct job *j);
void model_started(struct broker *b, struct model *m, int fd, const json_t *message);
void model_exited(struct broker *b, struct model *m, int code, const char *text);
void model_digest(struct broker *b, struct model *m, const char *hex);
void model_ready(struct broker *b, struct model *m, short events);
uint64_t model_timers(struct broker *b, struct model *m);
void model_cancel(struct broker *b, struct job *j, int code);  /* any job, wherever it is */
void model_credit(struct broker *b, struct job *j, uint32_t n);
/* All its requests end with this error; the worker is stopped. */
void model_drop(struct broker *b, struct model *m, int code, const char *text);
json_t *model_describe(const struct model *m);

/* control.c */
int control_send(struct broker *b, json_t *message, int fd);   /* steals message; VS_OK, VS_E_BUSY, VS_E_SYSTEM */
void control_ready(struct broker *b);

/* main.c: one line on stderr */
void broker_log(const char *format, ...) __attribute__((format(printf, 1, 2)));
#endif
