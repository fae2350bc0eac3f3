/* prog/veritas/serve.h - the supervisor: `veritas serve`.
 *
 *     client ---- socket ----> broker ---- socketpair ----> worker      each locked in by itself
 *                                 \____ control link ____ supervisor ____ exit status, last words
 *
 *     serve.c    set-up, the loop, the end               process.c  the table of what can be started, and how it is
 *     control.c  what the broker asks for; models        socket.c   where clients connect
 *
 * It opens files, starts and restarts the others, and does nothing else: it reads no model, no prompt and no client's frame.
 * What the broker says are frames of ipc/message.h with small JSON; they are checked as if they came from a stranger. One thread,
 * one poll loop.
 *
 * Nothing outlives it: every child carries a parent-death signal, and each also ends when its socket does.
 */
#ifndef VS_VERITAS_SERVE_H
#define VS_VERITAS_SERVE_H
#include "base/log.h"
#include "base/status.h"
#include "ipc/frame.h"
#include "prog/veritas/notify.h"
#include "prog/veritas/options.h"
#include "sandbox/sandbox.h"

#include <jansson.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/un.h>
#include <time.h>

#define MS UINT64_C(1000000)            /* times are vs_clock_ns() */

enum {
    MAX_MODELS = 32,                    /* models with a worker each */
    MAX_PATH = sizeof ((struct sockaddr_un *)0)->sun_path,
    HIGH_FD = 32,                       /* descriptors below it are those of children */
};
#define LAST_WORDS_TIME (1000 * MS)     /* for the broker to tell those whose answer was cut */

struct supervisor;

/* ---- process.c ---- */

/* What a child may be given. It gets those of its row as 3, 4, ... */
enum child_fd { FD_END, FD_LISTEN, FD_CONTROL, FD_PRIVATE, FD_BROKER, FD_MODEL, FD_WORDS, FD_SETTINGS, FD_DRAFT,
                N_CHILD_FDS };

enum process_kind { PROCESS_BROKER, PROCESS_WORKER, N_PROCESS_KINDS };

struct process {
    enum process_kind kind;
    pid_t pid;                          /* 0 = not running */
    struct vs_last_words *words;
    uint64_t started_at, backoff, restart_at;   /* restart_at 0: nothing is due */
};

/* Where the programs are. VS_E_NOT_FOUND names the one that is missing. */
int processes_find(struct vs_error *err);
/* Starts p; fds[enum child_fd], -1 = none, stay the caller's. VS_E_SYSTEM: it cannot be started, and why. */
int process_start(struct supervisor *s, struct process *p, const int fds[N_CHILD_FDS], struct vs_error *err);
int settings_open(const char *text);    /* a sealed file with it, for a child; -1 and errno */
void process_kill(struct process *p);   /* at once; nobody is told */
/* It has ended: why, for people, and the status for clients. *ret_again: it may be started again, which restart_at says when. */
int process_ended(struct process *p, int status, char *why, size_t n, bool *ret_again);
void process_back_off(struct process *p);       /* a start failed or may be tried: sets restart_at */

/* ---- socket.c ---- */
struct listener {
    int fd;                             /* -1 = none */
    char path[MAX_PATH];
    ino_t inode;                        /* ours; a successor may be given the same number, at a later time */
    struct timespec made;
};
/* path NULL: the default one. On success path and fd are set. */
int listener_open(struct listener *l, const char *path, struct vs_error *err);
void listener_close(struct listener *l);        /* removes the socket, unless a successor has taken its place */

/* ---- settings.c ---- */
struct settings {
    char *broker;                       /* what it is told: a JSON object */
    json_t *defaults, *models;          /* settings of every model; of those with a section in the file, by name */
    json_t *loads;                      /* names of the models that are loaded at the start */
    char *socket;                       /* where to listen; NULL: the default place */
    uint64_t drain;                     /* answers have so long when the daemon ends */
    enum vs_log_form log;
};

/* Reads args and the file that they name. VS_E_INVALID and others: err names the line. *s must be cleared in every case. */
int settings_read(struct settings *s, const struct vs_args *args, struct vs_error *err);
/* What a model is loaded with when `asked` is asked for: a new reference; NULL: out of memory. null asks for nothing. */
json_t *settings_of(const struct settings *s, const char *model, json_t *asked);
void settings_clear(struct settings *s);

/* ---- control.c ---- */
struct model {
    uint64_t id;                        /* the broker's; 0 = free */
    struct process worker;
    char name[PATH_MAX], path[PATH_MAX];
    bool is_known;                      /* to the broker, which may be another than at first */
    int file, draft;                    /* the model, and the small one that guesses for it; -1: none */
    struct stat st, draft_st;
    json_t *settings;                   /* the defaults, and what was asked for over them */
    char *text;                         /* with what this machine has; what the worker gets */
    uint64_t needed;                    /* bytes that it takes at least */
    bool is_too_large;                  /* for the room that there was */
};

struct supervisor {
    struct settings settings;
    struct vs_notify notify;            /* the service manager */
    uint64_t ask_at;                    /* for its watchdog: the broker is asked next whether it is there; UINT64_MAX: never */
    char directory[PATH_MAX];           /* of models */
    struct listener listener;
    int private_fd, signal_fd, null_fd;
    int lifeline[2];                    /* a pipe nobody writes to: its write end closes when the supervisor ends */
    struct process broker;
    struct vs_conn control;
    bool control_has_more;
    json_t *listed;                     /* the directory as it was a moment ago */
    uint64_t listed_at;
    bool ending, failed;
    uint64_t end_at;
    sigset_t old_mask;
    struct model models[MAX_MODELS];
};

uint16_t control_unhandled(void);       /* 0, or a message without handler or row */
/* Models that are loaded at the start: the next control_open starts them. */
int models_load(struct supervisor *s, struct vs_error *err);
void control_open(struct supervisor *s, int fd);        /* of a new broker: models are started for it again */
void control_close(struct supervisor *s);
void control_ready(struct supervisor *s, short events);
void control_ask(struct supervisor *s);         /* is the broker there? Its answer feeds the watchdog */
void control_drain(struct supervisor *s, uint64_t within);
/* A child was reaped: is it one of the workers? */
bool models_reaped(struct supervisor *s, pid_t pid, int status);
void models_stop(struct supervisor *s); /* the broker is gone: workers end, what they served is remembered */
void models_free(struct supervisor *s);
uint64_t models_timers(struct supervisor *s, uint64_t now);     /* starts what is due; when to come again */

/* ---- serve.c ---- */
void supervisor_end(struct supervisor *s);      /* answers are finished first; a second call cuts them off */
#endif
