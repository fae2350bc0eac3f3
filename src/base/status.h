/* base/status.h - what can go wrong, named once.
 *
 * One list makes the enum, the text, the HTTP status and the exit code of the command line.
 * Values are wire format: append, never renumber. A function that can fail returns int:
 * VS_OK (0) or a negative VS_E_*. Where a number is too thin the last parameter is
 * `struct vs_error *err`, which may be NULL; it gets code and text (what, where, what to do).
 */
#ifndef VS_BASE_STATUS_H
#define VS_BASE_STATUS_H
#include <stdint.h>

/*    name         value HTTP exit text */
#define VS_STATUS_MAP(X)                                              \
    X(NOMEM,         -1, 503,  5, "out of memory")                    \
    X(MALFORMED,     -2, 422,  3, "malformed input")                  \
    X(LIMIT,         -3, 413,  5, "limit exceeded")                   \
    X(BUSY,          -4, 429,  5, "no free capacity")                 \
    X(SYSTEM,        -5, 500,  1, "system call failed")               \
    X(UNSUPPORTED,   -6, 422,  3, "not supported")                    \
    X(NOT_FOUND,     -7, 404,  4, "not found")                        \
    X(CANCELLED,     -8, 499,  6, "cancelled")                        \
    X(TIMEOUT,       -9, 504,  6, "deadline passed")                  \
    X(DIED,         -10, 502, 70, "a process of ours died")           \
    X(INVALID,      -11, 400,  2, "invalid argument")                 \
    X(DENIED,       -12, 403,  1, "permission denied")                \
    X(FAULT,        -13, 422,  3, "numeric fault")                    \
    X(PROTOCOL,     -14, 400,  1, "protocol violation")               \
    X(CONTEXT,      -15, 400,  5, "prompt longer than the context")   \
    X(SHORT,        -16, 422,  3, "input ends too early")             \
    X(FILTERED,     -17, 400,  7, "refused by a filter")              \
    X(KEY,          -18, 401,  1, "no valid key")

enum vs_status {
    VS_OK = 0,
#define VS_STATUS_ENUM(name, value, http, exit_code, text) VS_E_##name = value,
    VS_STATUS_MAP(VS_STATUS_ENUM)
#undef VS_STATUS_ENUM
};

struct vs_error {
    int code;            /* VS_OK or VS_E_* */
    char text[512];      /* one line, no newline, UTF-8 */
    int64_t retry_after_ms;     /* VS_E_BUSY: when it makes sense to try again; 0: not known */
};

/* "NOMEM" and "out of memory"; unknown codes give "UNKNOWN". Never NULL. */
const char *vs_status_name(int code);
const char *vs_status_text(int code);
int vs_status_exit(int code);                    /* 0 for VS_OK, else the exit code */
int vs_status_http(int code);                    /* 0 for VS_OK and when unknown */
int vs_status_parse(const char *name);           /* "NOMEM" -> VS_E_NOMEM; 0 when unknown */

/* Fills err (when not NULL) and returns code, so that `return vs_error_set(...)` is the whole story. retry_after_ms becomes 0.
 * Of what the text quotes control characters become blanks, and it is cut between characters. */
int vs_error_set(struct vs_error *err, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
#endif
