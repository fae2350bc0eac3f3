/* prog/veritas/session.h - one command's talk with a daemon: which one, which model, and what happens on Ctrl-C.
 *
 * A model is a word: a path (it has a slash, or ends in .gguf and exists) is opened here, read-only, with all its parts, and the
 * descriptors are passed along; anything else is a name, opened by the daemon in its model directory, or an alias that it knows.
 * A command with a daemon of its own asks the running one what an alias stands for.
 * A running daemon is used unless load-time settings or --private ask for one of our own; when none runs, one is started
 * that lives as long as this session.
 *
 * Ctrl-C cancels the request that runs; a second one, or SIGTERM, ends the program at once (exit status 6).
 */
#ifndef VS_VERITAS_SESSION_H
#define VS_VERITAS_SESSION_H
#include "client/client.h"
#include "prog/veritas/options.h"
#include "prog/veritas/term.h"

#include <limits.h>

struct vs_session {
    struct vs_client *client;
    char model[PATH_MAX];                /* as the daemon knows it: a name or an absolute path; "" when none was asked for */
    int64_t deadline_ms;                 /* of every request; 0: none */
    const char *when_full;               /* what else can be done about a full context: "/clear ..."; NULL */
    bool silent;                         /* progress on a terminal only */
    bool hidden;                         /* no progress: the command shows its own, over many calls */
    struct vs_progress progress;
    char what[64];
};

enum {
    VS_SESSION_PRIVATE = 1,              /* never a running daemon */
    VS_SESSION_RUNNING = 2,              /* never a private one */
    VS_SESSION_INSPECT = 4,              /* load metadata and vocabulary only; implies PRIVATE */
    VS_SESSION_NO_LOAD = 8,              /* the command sends LOAD (or nothing) itself */
    VS_SESSION_LOUD = 16                 /* progress lines also where stderr is no terminal */
};

/* Are the variables right that processes of ours read? VS_E_INVALID: else the first of them would die of it. */
int vs_session_check_variables(struct vs_error *err);

/* Which model the session is about, as the daemon will know it; nothing is loaded. */
int vs_session_choose(struct vs_session *s, const char *model, struct vs_error *err);

/* model NULL: the session is about no model. On failure nothing is left open. */
int vs_session_open(struct vs_session *s, const struct vs_args *args, const char *model, unsigned flags, struct vs_error *err);
/* To look into files that are open already (borrowed): a private daemon, which knows them by the name that the kernel knows. */
int vs_session_open_files(struct vs_session *s, const struct vs_args *args, const struct vs_files *files, struct vs_error *err);
void vs_session_close(struct vs_session *s);
/* The files that a model word means, for who reads them without a daemon, and the path of the first; an alias of the running daemon
 * is one, too. VS_E_NOT_FOUND says what to do. */
int vs_session_open_model(const struct vs_args *args, const char *word, char ret_path[PATH_MAX], struct vs_files *ret,
                          uint64_t *ret_bytes, struct vs_error *err);

/* Called for the TOKEN, DATA and FILES events of a request. A code other than VS_OK cancels it and becomes its result. */
typedef int vs_session_take(void *context, const struct vs_event *event);

/* Sends a request (model and deadline are put in), shows its progress, hands its events to `take` (may be NULL), and waits for its
 * end. request stays the caller's. VS_OK: *ret_result (may be NULL) is a new reference. After a failure too, where a receipt
 * came of it: {"receipt"}; else it stays as it was. */
int vs_session_call(struct vs_session *s, uint16_t type, json_t *request, int fd, vs_session_take *take, void *context,
                    json_t **ret_result, struct vs_error *err);

/* Sends LOAD of a model word with `settings` (borrowed; may be NULL). Sets s->model. */
int vs_session_load(struct vs_session *s, const char *model, json_t *settings, json_t **ret_result, struct vs_error *err);

/* On stderr, one line each: the result's notice, an answer that the context cut, and one that is empty. request and result are
 * those of the call; is_blank: the answer was. */
bool vs_is_blank(const char *text, size_t n);   /* nothing but spaces and newlines */
void vs_session_remarks(struct vs_session *s, const json_t *request, const json_t *result, bool is_blank);

/* What --reasoning asks for, and the part of an answer that is reasoning: shown as it comes, dimmed on a terminal; _end comes
 * before what follows it (run.c; chat uses it too). */
enum vs_reasoning { VS_REASONING_RAW, VS_REASONING_SHOW, VS_REASONING_HIDE };      /* RAW: as the model writes it, marks and all */
enum vs_reasoning vs_reasoning_wanted(const struct vs_args *args);
int vs_reasoning_show(enum vs_reasoning how, const char *text, size_t n);
void vs_reasoning_end(enum vs_reasoning how);

/* Tells on stderr which seed --seed random became. */
void vs_seed_print(const struct vs_args *args);

/* Does the word mean a file by its path, rather than a model by its name? */
bool vs_session_is_path(const char *word);

/* One line about speed on stderr, from a result's "timings" (run.c; chat uses it too). */
void vs_timings_print(const json_t *result);

/* From the first call on Ctrl-C is counted instead of ending the program. vs_session_call resets the count at its start. */
void vs_session_signals(void);
#define VS_SESSION_TERMINATED 1000       /* SIGTERM counts as so many */
int vs_session_interrupts(void);          /* how often since the last call; forgets them */
bool vs_session_is_interrupted(void);     /* forgets nothing */
#endif
