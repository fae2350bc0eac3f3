/* client/client.h - the protocol's other side: talk to a daemon, or to a private one that lives as long as you.
 *
 *     struct vs_client *c; uint64_t id; struct vs_event e;
 *     vs_client_connect(NULL, "my-tool", &c, &err);
 *     vs_client_request(c, VS_MSG_GENERATE, json, -1, &id, &err);
 *     while (vs_client_next(c, -1, &e, &err) == VS_OK && !e.is_last)
 *         if (e.kind == VS_MSG_TOKEN) fwrite(e.text, 1, e.n, stdout);
 *     vs_client_close(c);
 *
 * A request is one JSON object here: what belongs into the envelope of its frame (model, deadline_ms, trace; settings of LOAD,
 * force of UNLOAD) is put there, the rest is the body. A result is one object again: the body's keys, and finish_reason, usage and
 * model_digest of the envelope; and, where a receipt was asked for, `receipt`: what is signed and the content that it commits to
 * (docs/RECEIPT.md). The event of a request that failed has that as its json, {"receipt"}.
 *
 * Several requests may run on one client; their events come mixed and each says whose it is. Credit is given back by
 * itself: an event counts as consumed at the next call of vs_client_next, so a program that stops asking stops the stream. Who
 * keeps an event for later says so (vs_client_keep) and counts it himself when its time comes (vs_client_consume).
 *
 * Sending never waits: what the socket does not take at once goes out while events are asked for. A daemon that has hung up shows
 * in vs_client_next too, after everything that it still said. So a program with a poll loop of its own asks with timeout 0 whenever
 * vs_client_fd is readable (or writable, while vs_client_wants_write).
 *
 * Memory:  what an event points to belongs to the client and lives until the next call of vs_client_next, _call or _close.
 * Threads: one at a time for each client. A private daemon may be started while other threads run.
 * Signals: SIGPIPE is never raised; no handler is set and no mask changed. Of the children of this process only the private
 *          daemon is waited for.
 */
#ifndef VS_CLIENT_CLIENT_H
#define VS_CLIENT_CLIENT_H
#include "base/files.h"
#include "base/status.h"
#include "ipc/envelope.h"
#include "ipc/message.h"

#include <jansson.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vs_client;

struct vs_event {
    uint16_t kind;                      /* VS_MSG_TOKEN, _DATA, _PROGRESS, _FILES, _COMPLETE, _REJECTED, _ERROR */
    bool is_last;                       /* COMPLETE, REJECTED, ERROR: nothing more comes for this request */
    uint64_t request;                   /* the id that vs_client_request gave */
    uint32_t token;                     /* TOKEN: its id; VS_NO_TOKEN: more text of the token before, in another part */
    uint32_t index;                     /* TOKEN: of which choice */
    uint32_t part;                      /* TOKEN: VS_PART_*, of a request that asked for parts */
    const char *text;                   /* TOKEN: text (may be empty); DATA: bytes */
    size_t n;                           /* bytes of text */
    uint32_t credit_bytes;              /* TOKEN, DATA: bytes of credit that it took */
    struct vs_files files;              /* FILES: descriptors in the order of json.files; the next call closes them */
    /* COMPLETE: result; PROGRESS: {what, done, total}; TOKEN: extra, or NULL; REJECTED, ERROR: {receipt}, or NULL. Borrowed */
    json_t *json;
    struct vs_error error;              /* REJECTED, ERROR */
    struct vs_outcome_hints hints;      /* of the error: when to try again, what was missing */
};

/* Where the daemon of this user listens: $VERITAS_SOCKET, else ${XDG_RUNTIME_DIR:-/tmp/veritas-UID}/veritas/veritas.sock (a runtime
 * directory that is another user's does not count). VS_E_LIMIT when it does not fit. */
int vs_client_socket_path(char *ret, size_t n);

/* Where nobody named the path, its two folders must be ours or missing: else a stranger listens there, or could at any time.
 * VS_OK or VS_E_DENIED. */
int vs_client_place_check(const char *path, struct vs_error *err);

/* path NULL: vs_client_socket_path. name says who you are (shown by `veritas ps`). key: an API key, under which all is asked; NULL:
 * that of the file that VERITAS_KEY_FILE names, if it does.
 * VS_E_NOT_FOUND: no daemon listens there, or it ended before it said a word; or a path that nobody named lies in a stranger's
 * folder. VS_E_PROTOCOL: it speaks another version. VS_E_DENIED: it isn't yours (one at a path that was named may be another
 * user's, if socket and folder are his). VS_E_KEY: it wants a key, or not this one. VS_E_BUSY: its
 * line of those who want in is full, for ten seconds; or it has no place for one more (err->retry_after_ms says when it may). */
int vs_client_connect(const char *path, const char *name, const char *key, struct vs_client **ret, struct vs_error *err);

/* Starts `program serve --private-fd 3` (program NULL: /proc/self/exe) in a session of its own and talks to it over a
 * socketpair; it writes its log to log_fd (which stays the caller's; -1, or one that is not open: nowhere). It ends when the client
 * is closed or this process dies. checks: it only looks (--check), and keeps no audit log, whatever the policy says. */
int vs_client_private(const char *program, bool checks, int log_fd, const char *name, struct vs_client **ret, struct vs_error *err);

/* Talks to the daemon at the other end of a stream socket; key as above. fd is the client's from here on, also on failure. */
int vs_client_adopt(int fd, const char *name, const char *key, struct vs_client **ret, struct vs_error *err);

/* Hands a connection on to another process of ours: _detach gives its socket, on which nothing may be under way, and *ret_credit;
 * then only _close is left to do, which still waits for a private daemon (VS_E_BUSY: something is under way). _resume goes on with
 * it elsewhere, without a HELLO; fd is the client's from there on, also on failure. */
int vs_client_detach(struct vs_client *c, int *ret_fd, uint32_t *ret_credit);
int vs_client_resume(int fd, uint32_t credit, struct vs_client **ret, struct vs_error *err);

/* Closing cancels what still runs. A private daemon is waited for (at most two seconds). */
void vs_client_close(struct vs_client *c);

/* Sends a request (type: VS_MSG_GENERATE ... VS_MSG_SHUTDOWN). Files (NULL: none) are passed along (LOAD of what was opened) and
 * stay the caller's. The JSON stays the caller's. VS_E_LIMIT: too large; VS_E_BUSY: the descriptor of an earlier one has not
 * gone out yet; what vs_client_next said, once it has said that the connection is over. */
int vs_client_request(struct vs_client *c, uint16_t type, const json_t *request, const struct vs_files *files, uint64_t *ret_id,
                      struct vs_error *err);

/* The next event of any request. timeout_ms -1 = for ever, 0 = only what is there.
 * VS_E_TIMEOUT: none came in time, or a signal arrived (so that a handler's flag can be looked at).
 * VS_E_DIED, VS_E_PROTOCOL, ...: the connection is over, err says why; only _close is left to do. */
int vs_client_next(struct vs_client *c, int timeout_ms, struct vs_event *ret, struct vs_error *err);

/* The last event is not consumed by the next call of vs_client_next: its bytes (TOKEN and DATA: credit_bytes) count when they are
 * named to _consume. Ids of requests that have ended are ignored there. */
void vs_client_keep(struct vs_client *c);
void vs_client_consume(struct vs_client *c, uint64_t id, uint32_t bytes);
bool vs_client_needs_key(const struct vs_client *c);        /* the daemon listens to nobody without one */
uint32_t vs_client_credit(const struct vs_client *c);       /* so many bytes of a request may come and not be consumed */

/* For a poll loop: what to poll (-1 when the connection is over), whether for writing too, and whether the next call may have an
 * event without any waiting (bytes that came are still unread). */
int vs_client_fd(const struct vs_client *c);
bool vs_client_wants_write(const struct vs_client *c);
bool vs_client_has_more(const struct vs_client *c);

/* The signal mask while vs_client_next waits (not copied; NULL: the thread's own). A caller that blocks a signal, looks at what its
 * handler left and then waits with the signal let in cannot miss it. */
void vs_client_wait_with(struct vs_client *c, const sigset_t *mask);

/* Asks to stop a request; its last event still comes (ERROR or REJECTED with VS_E_CANCELLED, or COMPLETE when it was quicker).
 * Unknown or ended ids are ignored. */
int vs_client_cancel(struct vs_client *c, uint64_t id, struct vs_error *err);

/* Request and wait for its end; events of this request before it, and those of others, are dropped. Returns the error that
 * REJECTED or ERROR carried, or VS_OK and the result (a new reference; ret_result may be NULL).
 * Not ended by signals. */
int vs_client_call(struct vs_client *c, uint16_t type, const json_t *request, const struct vs_files *files, json_t **ret_result,
                   struct vs_error *err);

bool vs_client_is_private(const struct vs_client *c);
#endif
