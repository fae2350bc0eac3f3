/* prog/veritas/serve.h - the supervisor: `veritas serve`.
 *
 *     client ---- socket ----> broker ---- socketpair ----> guard ---- socketpair ----> worker      each locked in by itself
 *                                 \____ control link ____ supervisor ____ control link, exit status, last words
 *
 *     serve.c    set-up, the loop, the end               process.c  the table of what can be started, and how it is
 *     control.c  what the broker asks for; models        socket.c   where clients connect
 *     guards.c   a guard for each worker                 who.c      the keys, for the broker
 *     writer.c   the writer of the audit log             signing.c  a key from outside, for it
 *
 * It opens files, starts and restarts the others, and does nothing else: it reads no model, no prompt and no client's frame.
 * What the broker says are frames of ipc/message.h with small JSON; they are checked as if they came from a stranger. One thread,
 * one poll loop.
 *
 * Nothing outlives it: every child carries a parent-death signal, and each also ends when its socket does.
 */
#ifndef VS_VERITAS_SERVE_H
#define VS_VERITAS_SERVE_H
#include "base/files.h"
#include "base/log.h"
#include "base/status.h"
#include "ipc/frame.h"
#include "prog/veritas/notify.h"
#include "prog/veritas/options.h"
#include "prog/veritas/identity.h"
#include "prog/veritas/policy_file.h"
#include "sandbox/sandbox.h"

#include <jansson.h>
#include <limits.h>
#include <poll.h>
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
    HIGH_FD = 64,                       /* descriptors below it are those of children */
};
#define LAST_WORDS_TIME (1000 * MS)     /* for the broker to tell those whose answer was cut, */
#define RECEIPT_TIME (5000 * MS)        /* and for workers, before that, to say what receipts need; not where all ends at once */

struct supervisor;

/* ---- process.c ---- */

/* What a child may be given. It gets those of its row as 3, 4, ... */
enum child_fd { FD_END, FD_LISTEN, FD_CONTROL, FD_PRIVATE, FD_GUARD, FD_MODEL, FD_WORDS, FD_SETTINGS, FD_DRAFT, FD_RULES,
                FD_LOG, FD_LOCK, FD_KEY, FD_KEYS, FD_NOTES, FD_COPY, FD_ROOT, FD_KEPT, N_CHILD_FDS };

enum process_kind { PROCESS_BROKER, PROCESS_WORKER, PROCESS_GUARD, PROCESS_GATEWAY, PROCESS_AUDIT, N_PROCESS_KINDS };

struct process {
    enum process_kind kind;
    pid_t pid;                          /* 0 = not running */
    struct vs_last_words *words;
    uint64_t started_at, backoff, restart_at;   /* restart_at 0: nothing is due */
    int times;                          /* what process_waited reads; 0: none, for 0 to 2 are taken */
};

/* Where the programs of these kinds are. VS_E_NOT_FOUND names the one that is missing. */
int processes_find(enum process_kind first, enum process_kind last, struct vs_error *err);
/* Starts p; fds[enum child_fd], -1 = none, and those of `more` (may be NULL), which come behind them, stay the caller's.
 * VS_E_SYSTEM: it cannot be started, and why. */
int process_start(struct supervisor *s, struct process *p, const int fds[N_CHILD_FDS], const struct vs_files *more,
                  struct vs_error *err);
int settings_open(const char *text);    /* a sealed file with it, for a child; -1 and errno */
void process_kill(struct process *p);   /* at once; nobody is told */
/* Nanoseconds for which its first thread could have run, and had no processor, since it was started; 0: the kernel does not say. */
uint64_t process_waited(const struct process *p);
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
/* path NULL: the default one. group: whose members may connect too; "": nobody else. On success path and fd are set. */
int listener_open(struct listener *l, const char *path, const char *group, struct vs_error *err);
void listener_close(struct listener *l);        /* removes the socket, unless a successor has taken its place */

/* ---- settings.c ---- */
struct settings {
    char *broker;                       /* what it is told: a JSON object */
    struct vs_policy_file policy;       /* of guards: settings_open(policy.text) is what each is given */
    json_t *defaults, *models;          /* settings of every model; of those with a section in the file, by name */
    json_t *loads;                      /* names of the models that are loaded at the start */
    char *socket;                       /* where to listen; NULL: the default place */
    uint64_t drain;                     /* answers have so long when the daemon ends */
    enum vs_log_form log;
};

/* Reads args and the file that they name. VS_E_INVALID and others: err names the line. *s must be cleared in every case. */
int settings_read(struct settings *s, const struct vs_args *args, struct vs_error *err);
/* The same, and then what a load would find wrong with each model that has a section: its file, its draft, its settings. No weights
 * are read; a daemon of our own does it. */
int settings_check(struct settings *s, const struct vs_args *args, struct vs_error *err);
/* What a model is loaded with when `asked` is asked for: a new reference; NULL: out of memory. null asks for nothing. */
json_t *settings_of(const struct settings *s, const char *model, json_t *asked);
void settings_clear(struct settings *s);

/* ---- control.c ---- */
struct model {
    uint64_t id;                        /* the broker's; 0 = free */
    struct process worker, guard;       /* the guard outlives workers; when it dies its worker does too */
    struct vs_conn guard_link;          /* its control link */
    unsigned guard_restarts;
    uint64_t guard_asked_at;            /* 0, or: who hangs, it or its worker? It has until then to say that it does not; */
    uint64_t guard_waited;              /* so long it had waited for a processor before (process_waited) */
    char name[PATH_MAX], path[PATH_MAX];
    bool is_scanner;                    /* no model: a guard that answers SCAN */
    bool is_known;                      /* to the broker, which may be another than at first */
    struct vs_files files;              /* the model: its parts, when it has several; and its adapters */
    char identity[VS_FILE_IDENTITY];
    uint64_t bytes;
    int draft;                          /* the small one that guesses for it; -1: none */
    struct stat draft_st;
    json_t *settings;                   /* the defaults, and what was asked for over them */
    json_t *aliases;                    /* further names that it got, for a broker that comes later; NULL: none */
    char *text;                         /* with what this machine has; what the worker gets */
    uint64_t needed;                    /* bytes that it takes at least */
    bool is_too_large;                  /* for the room that there was */
};

struct writer {                         /* of the audit log; docs/AUDIT.md */
    char died_of[400];                  /* "", or how the last one ended */
    struct process process;
    struct vs_conn link;                /* its control link */
    bool is_on, was_ready;              /* there is one; it could write once */
    bool is_signer;                     /* it writes no log: it signs receipts, with a key of its own */
    char dir[PATH_MAX];
    int dir_fd, lock_fd;                /* -1: none */
    int root_fd;                        /* the key from outside, until a writer has used it; -1: none */
    bool root_is_own;                   /* it is a file that was made here: a writer erases it, so it stays open */
    char root_path[PATH_MAX];           /* "", or: of such a file, which is still to be made */
    char root_uri[VS_POLICY_PATH];      /* or where a token has it; "": none */
    char keep[PATH_MAX];                /* "", or the file of what is withheld from clients: receipts.keep, as at the start */
    char boot[33], key[65];             /* which boot this is; the key of the HMAC of texts, in hex */
};

struct supervisor {
    struct settings settings;
    const struct vs_args *args;         /* where they came from: to be read again */
    struct vs_notify notify;            /* the service manager */
    uint64_t ask_at;                    /* for its watchdog: the broker is asked next whether it is there; UINT64_MAX: never */
    char directory[PATH_MAX];           /* of models */
    struct listener listener;
    int private_fd, signal_fd, null_fd;
    int rules_fd;                       /* a sealed copy of the compiled rules, for guards; -1: not made yet */
    int lifeline[2];                    /* a pipe nobody writes to: its write end closes when the supervisor ends */
    struct process broker;
    struct vs_conn control;
    struct writer writer;
    bool control_has_more;
    json_t *listed;                     /* the directory as it was a moment ago */
    uint64_t listed_at;
    json_t *refused;                    /* requests that ended two workers: for the next broker; NULL: none */
    struct vs_keys_watch keys;          /* the folder of keys */
    uint64_t keys_at, keys_rest;        /* 0, or when it is to be read again; not before, while changes follow each other */
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
void control_tell_audit(struct supervisor *s, json_t *settings, int fd);       /* its socket to the writer; steals settings */
/* A child was reaped: is it a worker, or a guard? */
bool models_reaped(struct supervisor *s, pid_t pid, int status);
void models_stop(struct supervisor *s); /* the broker is gone: workers end, what they served is remembered */
void models_free(struct supervisor *s);
uint64_t models_timers(struct supervisor *s, uint64_t now);     /* starts what is due; when to come again */

bool control_tell_keys(struct supervisor *s, int fd);   /* the broker gets this file; false: not now */

/* ---- who.c ---- */
bool who_tell(struct supervisor *s);    /* who may ask, as policy and folder are now; false: not now, it is tried again */
void who_changed(struct supervisor *s); /* something was written there */
uint64_t who_timers(struct supervisor *s, uint64_t now);

/* ---- guards.c ---- */
uint16_t guards_unhandled(void);        /* 0, or a message without handler or row */
/* Starts m's guard, unless it runs; hands it the sockets to a new worker and to the broker, which stay the caller's. */
int guard_start(struct supervisor *s, struct model *m, struct vs_error *err);
int guard_hand(struct model *m, int worker_fd, int broker_fd, struct vs_error *err);        /* worker_fd -1: it has none */
/* Something hangs: the worker is ended when the guard answers, else the guard. */
void guard_ask(struct model *m);
void guard_kill(struct model *m);       /* at once; nobody is told */
void guards_tell_policy(struct supervisor *s);  /* the one that holds now */
uint64_t guards_timers(struct supervisor *s, uint64_t now);     /* ends those that do not answer; when to come again */
size_t guards_poll(struct supervisor *s, struct pollfd polls[MAX_MODELS]);     /* an entry for each model; how many */
void guards_ready(struct supervisor *s, const struct pollfd *polls);

/* ---- writer.c ---- */
uint16_t writer_unhandled(void);        /* 0, or a message without handler or row */
/* Starts the writer, where the policy wants a log. Another daemon's folder, a broken log and others: err says so. */
int writer_open(struct supervisor *s, bool is_private, struct vs_error *err);
bool writer_is_wanted(const struct supervisor *s, bool is_private);     /* does the policy want a log of this daemon? */
/* The broker asks for one. Where no log is kept it is for receipts that are to be signed, and a writer is started that does only
 * that; the broker is told also when it can't be. */
void writer_sign(struct supervisor *s);
void writer_hand(struct supervisor *s); /* a new broker, or a new writer: a socket between them */
void writer_tell_policy(struct supervisor *s);
void writer_note(struct supervisor *s, const char *event, const char *text);  /* a record of what the broker can't say */
int writer_files(struct supervisor *s, struct vs_files *ret, json_t **ret_names, struct vs_error *err);
bool writer_reaped(struct supervisor *s, pid_t pid, int status);       /* a child ended: was it the writer? */
uint64_t writer_timer(struct supervisor *s, uint64_t now);     /* starts it again; when to come again */
void writer_ready(struct supervisor *s, short events);
void writer_close(struct supervisor *s);        /* it writes the last record and ends */

/* ---- signing.c ---- */
/* Opens the key that signing.key names, if any. First of all: a number of a descriptor means one that was there before us. */
int signing_open(struct supervisor *s, struct vs_error *err);
int signing_make(struct supervisor *s, struct vs_error *err);    /* the file that is missing, where a log begins in the folder */
void signing_close(struct supervisor *s);       /* it was used */

/* ---- serve.c ---- */
void supervisor_end(struct supervisor *s);      /* answers are finished first; a second call cuts them off */
#endif
