/* veritas/veritas.h - libveritas: ask language models from C and C++. The models run in the daemon of Veritas SDR, never in your
 * process. docs/C-API.md has examples.
 *
 *     veritas *v;
 *     char *text;
 *     struct veritas_error error = VERITAS_ERROR_INIT;
 *     if (veritas_open(NULL, &v, &error) != VERITAS_OK)
 *         ...
 *     if (veritas_generate(v, "smollm2-135m-instruct", "Why is the sky blue?", NULL, &text, &error) == VERITAS_OK)
 *         puts(text);
 *     veritas_free(text);
 *     veritas_close(v);
 *
 * Two kinds of handles: a connection (veritas), and requests on it (veritas_request). Up to 128 requests may run on a
 * connection at once. There are no globals: two parts of a program, each with a connection of its own, do not know of each
 * other.
 *
 * Failure  A function that can fail returns VERITAS_OK (0) or a negative VERITAS_E_...; `err`, always last, may be NULL,
 *          and is written on failure only. Handles and strings that a function gives are written on success only. A NULL
 *          where none may be is VERITAS_E_INVALID, never a crash. Every function that ends or frees something takes NULL.
 * Memory   What you pass in is copied, and stays yours. What you get as `const` belongs to the library: the comment says
 *          until when. What you get as `char **` or `uint32_t **` is yours: veritas_free.
 * Threads  "one": one thread at a time for a connection and all its requests. "any": any thread, at any time while the
 *          handle lives. Different connections are independent.
 * Process  No signal handler is set, no mask changed, SIGPIPE never raised, no locale set, nothing printed. All descriptors
 *          are close-on-exec. A private daemon is one child process; only that one is waited for, in veritas_close. Handles
 *          are of no use in a child made by fork: it must not call anything with them.
 * Growth   Structs that you allocate begin with their size: initialise them with their _INIT macro. Later versions add
 *          fields at the end, and functions; what is here stays.
 */
#ifndef VERITAS_VERITAS_H
#define VERITAS_VERITAS_H
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VERITAS_API __attribute__((visibility("default")))

typedef struct veritas veritas;                     /* a connection to a daemon */
typedef struct veritas_request veritas_request;     /* a request: its parameters, its run, its result */

#define VERITAS_TEXT SIZE_MAX                       /* as the length of a text: it ends at its NUL */

/* ---- errors ---- */

enum {
    VERITAS_OK = 0,
    VERITAS_E_NOMEM = -1,           /* out of memory */
    VERITAS_E_MALFORMED = -2,       /* a model file, or bytes, that are not what they should be */
    VERITAS_E_LIMIT = -3,           /* larger than may be */
    VERITAS_E_BUSY = -4,            /* no free capacity now: try again after retry_after_ms */
    VERITAS_E_SYSTEM = -5,          /* a system call failed */
    VERITAS_E_UNSUPPORTED = -6,
    VERITAS_E_NOT_FOUND = -7,       /* no such model; no daemon; no program to start one */
    VERITAS_E_CANCELLED = -8,
    VERITAS_E_TIMEOUT = -9,         /* of a request: its deadline_ms passed. Of veritas_step: nothing came in time */
    VERITAS_E_DIED = -10,           /* the daemon, or the process of the model, ended */
    VERITAS_E_INVALID = -11,        /* an argument or parameter is wrong; the message says which, and what is needed */
    VERITAS_E_DENIED = -12,         /* it is somebody else's */
    VERITAS_E_FAULT = -13,          /* a number that is none (NaN) came up in the model */
    VERITAS_E_PROTOCOL = -14,       /* the other side does not speak this protocol */
    VERITAS_E_CONTEXT = -15,        /* the prompt is longer than the model's context */
    VERITAS_E_SHORT = -16,          /* input ends too early */
    VERITAS_E_FILTERED = -17,       /* refused by a filter */
    VERITAS_E_KEY = -18             /* no valid key */
};

struct veritas_error {
    size_t size;                    /* not set (0): nothing is written */
    int code;                       /* VERITAS_E_... */
    int64_t retry_after_ms;         /* VERITAS_E_BUSY: when it makes sense to try again; 0: not known */
    char name[32];                  /* "BUSY" */
    char message[512];              /* one line for people: what, where, what to do */
};
#define VERITAS_ERROR_INIT { sizeof(struct veritas_error), 0, 0, "", "" }

/* "BUSY" for VERITAS_E_BUSY, "UNKNOWN" for what is no code. The string is static. Threads: any. */
VERITAS_API const char *veritas_error_name(int code);

/* The version of the library, "0.1.0". The string is static. Threads: any. */
VERITAS_API const char *veritas_version(void);

/* Frees what a function of this library gave as yours. Threads: any. */
VERITAS_API void veritas_free(void *memory);

/* ---- a connection ---- */

enum veritas_mode {
    VERITAS_EITHER = 0,     /* the user's daemon when one runs (and then only that, if `socket` is set), else a private one */
    VERITAS_RUNNING = 1,    /* a daemon that runs already */
    VERITAS_PRIVATE = 2             /* one that is started for this connection and ends with it */
};

struct veritas_options {
    size_t size;
    int mode;                       /* enum veritas_mode */
    const char *socket;             /* the daemon's socket; NULL: $VERITAS_SOCKET, else the usual place */
    /* to start a private daemon: path of `veritas`; NULL: beside this library, /usr/local/bin, /usr/bin */
    const char *program;
    const char *name;               /* who you are, for `veritas ps`; NULL: this program's name */
    int log_fd;                     /* where a private daemon writes its log; it stays yours. 2: stderr. -1: nowhere */
    int fd;                         /* >= 0: a stream socket that is connected to a daemon, for who may not connect himself; all
                                       of the above but `name` is ignored. It stays yours (and may be closed), a copy is used.
                                       -1: none */
    /* an API key, under which a running daemon is asked; NULL: that of the file that $VERITAS_KEY_FILE names, if it does. A
       private daemon needs none */
    const char *key;
};
#define VERITAS_OPTIONS_INIT { sizeof(struct veritas_options), 0, NULL, NULL, NULL, -1, -1, NULL }

/* Connects; waits for the daemon to answer, at most ten seconds. options NULL: VERITAS_OPTIONS_INIT. *ret_v is
 * yours: veritas_close. Reads the environment (VERITAS_*, XDG_*, HOME). VERITAS_E_NOT_FOUND: no daemon runs, or
 * there is no program to start one. Threads: any, but none may change the environment meanwhile. */
VERITAS_API int veritas_open(const struct veritas_options *options, veritas **ret_v, struct veritas_error *err);

/* Ends the connection. What still runs on it is cancelled and gives no more events; its requests stay yours to
 * free. A private daemon is waited for, at most two seconds. Within a callback of veritas_run it takes effect when
 * that returns. Threads: one. */
VERITAS_API void veritas_close(veritas *v);

/* Is the daemon a private one of this connection? 1 or 0. Threads: one. */
VERITAS_API int veritas_is_private(const veritas *v);

/* ---- requests ---- */

enum veritas_kind {                 /* what is asked; docs/PROTOCOL.md has the parameters and the result of each */
    VERITAS_GENERATE = 0x10,        /* a prompt goes on */
    VERITAS_CHAT = 0x11,            /* a conversation goes on */
    VERITAS_TOKENIZE = 0x12,
    VERITAS_DETOKENIZE = 0x13,
    VERITAS_INSPECT = 0x14,
    VERITAS_LOGITS = 0x15,
    VERITAS_PERPLEXITY = 0x16,
    VERITAS_BENCH = 0x17,
    VERITAS_LOAD = 0x18,
    VERITAS_UNLOAD = 0x19,
    VERITAS_LIST = 0x1a,
    VERITAS_STATUS = 0x1b,
    VERITAS_SHUTDOWN = 0x1c,
    VERITAS_CONSTRAIN = 0x20,       /* could a text be an answer? */
    VERITAS_EMBED = 0x21,           /* texts into vectors */
    VERITAS_RERANK = 0x22           /* how well documents answer a query */
};

/* Makes a request; nothing is sent yet. model: a name that the daemon knows, or the path of a file (any with a
 * slash in it), which must be loaded first (veritas_load); NULL for those that are about no model. *ret_r is yours:
 * veritas_request_free. Threads: one. */
VERITAS_API int veritas_request_new(veritas *v, int kind, const char *model, veritas_request **ret_r, struct veritas_error *err);

/* Frees a request. One that runs is cancelled and gives no more events. Within its own callback it takes effect
 * when veritas_run returns. It may be freed after its connection was closed. Threads: one. */
VERITAS_API void veritas_request_free(veritas_request *r);

/* Any pointer of yours; each event of the request brings it along. Threads: one. */
VERITAS_API void veritas_request_set_user(veritas_request *r, void *user);

/* The parameters. A key is one of docs/PROTOCOL.md; a dot leads into an object ("sampling.temperature", "settings.ctx",
 * "template_args.enable_thinking"). Nothing else is checked here: the daemon refuses keys and values that it does not know
 * (VERITAS_E_INVALID), and names them. n: bytes of text, or VERITAS_TEXT. Text must be UTF-8.
 * What fails here is remembered, and start or run say it again, so that you may look there only. What is set while the request runs
 * counts when it is started again. Threads: one. */
VERITAS_API int veritas_set_text(veritas_request *r, const char *key, const char *text, size_t n);
VERITAS_API int veritas_set_int(veritas_request *r, const char *key, int64_t value);
VERITAS_API int veritas_set_number(veritas_request *r, const char *key, double value);
VERITAS_API int veritas_set_flag(veritas_request *r, const char *key, int value);               /* false is 0 */
VERITAS_API int veritas_set_tokens(veritas_request *r, const char *key, const uint32_t *tokens, size_t n);
VERITAS_API int veritas_add_text(veritas_request *r, const char *key, const char *text, size_t n);   /* to a list: "stop" */
VERITAS_API int veritas_add_message(veritas_request *r, const char *role, const char *content, size_t n);   /* to "messages" */
/* Any JSON value as text. key NULL: an object, whose keys are set. */
VERITAS_API int veritas_set_json(veritas_request *r, const char *key, const char *json);

/* ---- running, one at a time ---- */

enum veritas_event_kind {
    VERITAS_TOKEN = 1,              /* a token of the answer: token, choice, text; json with "logprobs" */
    VERITAS_DATA = 2,               /* bytes of a result: text */
    VERITAS_PROGRESS = 3,           /* text says of what ("load"); done, total */
    VERITAS_DONE = 4,               /* the last one: json is the result */
    VERITAS_FAILED = 5              /* the last one: error */
};

struct veritas_event {              /* what it points to is the library's, until the next call about the same connection */
    size_t size;
    int kind;                       /* enum veritas_event_kind */
    uint32_t token;                 /* its id; 4294967295: more text of the token before, which spans two parts */
    uint32_t choice;                /* which of the `n` answers it belongs to; 0 when there is one */
    veritas_request *request;
    void *user;                     /* of veritas_request_set_user */
    const char *text;               /* never NULL; a NUL follows. Whole characters (TOKEN): "" while one is unfinished */
    size_t text_bytes;              /* without that NUL */
    const char *json;               /* an object; NULL: there is none */
    size_t json_bytes;
    int64_t done, total;            /* PROGRESS; total 0: not known */
    const struct veritas_error *error;   /* FAILED; else NULL */
    /* TOKEN of a request with the flag "parts": what its text belongs to. 0: the content; 1: reasoning; 2 + k: call k of a tool,
     * the function's name, a line feed, then its arguments as JSON. */
    uint32_t part;
};
#define VERITAS_EVENT_INIT { sizeof(struct veritas_event), 0, 0, 0, NULL, NULL, NULL, 0, NULL, 0, 0, 0, NULL, 0 }

/* Gets each event of a request, the last one too. Other than 0: stop; the request is cancelled, and no more events
 * come here. It may call everything but veritas_step and veritas_run (VERITAS_E_BUSY) and the short cuts, which run
 * requests. */
typedef int veritas_callback(void *user, const struct veritas_event *event);

/* Sends the request and waits for its end; signals do not end the wait, veritas_cancel does. callback may be NULL;
 * user is for it alone. If other requests run on the connection, their events are kept until veritas_step asks for
 * them (PROGRESS is not). VERITAS_OK: there is a result. Else what the request failed with; VERITAS_E_CANCELLED
 * also when the callback stopped it. Threads: one. */
VERITAS_API int veritas_run(veritas_request *r, veritas_callback *callback, void *user, struct veritas_error *err);

/* Stops a request that runs. It still ends by its own last event: FAILED with VERITAS_E_CANCELLED, or DONE when
 * that was quicker. Of one that does not run nothing happens, and twice is as once. Threads: any, also in a signal
 * handler; but not while the request is freed or its connection closed. */
VERITAS_API void veritas_cancel(veritas_request *r);

/* The result of the last run that was DONE: a JSON object; NULL: there is none. It is the library's, until the
 * request is started again or freed. Threads: one. */
VERITAS_API const char *veritas_result(veritas_request *r);

/* Single values of it: "finish_reason", "usage.completion_tokens", "choices.0.logits_hash". _text is the library's
 * as above, and NULL when it is not there or no string. The others: VERITAS_E_NOT_FOUND when it is not there or no
 * such number. Threads: one. */
VERITAS_API const char *veritas_result_text(veritas_request *r, const char *path);
VERITAS_API int veritas_result_int(veritas_request *r, const char *path, int64_t *ret);
VERITAS_API int veritas_result_number(veritas_request *r, const char *path, double *ret);

/* ---- running, several at once, in a loop of your own ---- */

/* Sends the request and returns; it never waits for the daemon. Its events come from veritas_step. VERITAS_E_BUSY:
 * it runs already; or it is a LOAD by path, and the descriptor of another has not gone out yet. Threads: one. */
VERITAS_API int veritas_start(veritas_request *r, struct veritas_error *err);

/* The next event of any request that was started. timeout_ms: 0: only what is there; -1: for ever. VERITAS_OK: *ret
 * is one. VERITAS_E_TIMEOUT: none came in time, or a signal handler ran. VERITAS_E_INVALID with -1: nothing runs.
 * Anything else: the connection is over; each request that ran has had its FAILED before. Only closing is left. As
 * long as you do not ask, the daemon stops sending soon; after 10 seconds it may stop the request. Threads: one. */
VERITAS_API int veritas_step(veritas *v, int timeout_ms, struct veritas_event *ret, struct veritas_error *err);

/* A descriptor to poll for reading (POLLIN, EPOLLIN), level-triggered, and for nothing else: when it is readable,
 * call veritas_step with timeout 0, once or until VERITAS_E_TIMEOUT. It is the library's, and the same until
 * veritas_close. -1: v is NULL. Threads: one. */
VERITAS_API int veritas_fd(const veritas *v);

/* ---- short cuts: each makes a request, runs it and frees it. Threads: one ---- */

/* The answer to a prompt; params: further parameters, a JSON object, or NULL. *ret_text is yours: veritas_free. */
VERITAS_API int veritas_generate(veritas *v, const char *model, const char *prompt, const char *params, char **ret_text,
                                 struct veritas_error *err);

/* The answer to a conversation: messages is a JSON list of {"role", "content"}. *ret_text is yours: veritas_free. */
VERITAS_API int veritas_chat(veritas *v, const char *model, const char *messages, const char *params, char **ret_text,
                             struct veritas_error *err);

enum { VERITAS_NO_BOS = 1, VERITAS_SPECIAL = 2 };   /* no token for the beginning; control tokens by name */

/* Text into the model's tokens. *ret_tokens is yours: veritas_free. flags: VERITAS_NO_BOS | VERITAS_SPECIAL, one of
 * them, or 0. */
VERITAS_API int veritas_tokenize(veritas *v, const char *model, const char *text, size_t n, int flags, uint32_t **ret_tokens,
                                 size_t *ret_n, struct veritas_error *err);

/* And back. *ret_text is yours: veritas_free; a NUL follows its *ret_bytes (which may be NULL) bytes. flags: 0 or
 * VERITAS_SPECIAL. */
VERITAS_API int veritas_detokenize(veritas *v, const char *model, const uint32_t *tokens, size_t n, int flags, char **ret_text,
                                   size_t *ret_bytes, struct veritas_error *err);

/* n texts into vectors. params: further parameters ("pooling", "normalize", "dimensions"), a JSON object, or NULL. *ret_vectors
 * holds *ret_n vectors of *ret_dim numbers each, one after the other in the order of the texts: one a text, or with the pooling
 * "none" one a token. It is yours: veritas_free. n up to 2,048. VERITAS_E_UNSUPPORTED: the model does not say how one vector is
 * made of a text's, and params does not either. */
VERITAS_API int veritas_embed(veritas *v, const char *model, const char *const *texts, size_t n, const char *params,
                              float **ret_vectors, size_t *ret_n, size_t *ret_dim, struct veritas_error *err);

/* How well each of n documents answers the query, from 0 to 1, in their order. params as above. *ret_scores [n] is yours:
 * veritas_free. n from 1 to 1,024. VERITAS_E_UNSUPPORTED: the model was not made to rank. */
VERITAS_API int veritas_rerank(veritas *v, const char *model, const char *query, const char *const *documents, size_t n,
                               const char *params, double **ret_scores, struct veritas_error *err);

/* Loads a model: by name, or by path: then the file is opened here, read-only, and the daemon gets the descriptor.
 * settings: a JSON object ({"ctx": 4096}) or NULL. A request that names a model that is not loaded loads it too; a
 * path it does not. */
VERITAS_API int veritas_load(veritas *v, const char *model, const char *settings, struct veritas_error *err);

/* force other than 0: its requests fail; else VERITAS_E_BUSY while there are any. */
VERITAS_API int veritas_unload(veritas *v, const char *model, int force, struct veritas_error *err);

/* What the daemon says of itself, its clients and its models: a JSON object. *ret_json is yours: veritas_free. */
VERITAS_API int veritas_status(veritas *v, char **ret_json, struct veritas_error *err);

#ifdef __cplusplus
}
#endif
#endif
