/* prog/veritas/term.h - how the program speaks: answers to stdout, everything else to stderr.
 *
 * Colour only on a terminal and without NO_COLOR. A progress bar on a terminal, plain lines (at most one each second
 * and ten percent) elsewhere.
 */
#ifndef VS_VERITAS_TERM_H
#define VS_VERITAS_TERM_H
#include "base/log.h"
#include "base/status.h"
#include "base/text.h"                /* what every message and table goes through */

#include <jansson.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* "veritas: " and the message and a newline, on stderr; one line, whatever words of others it quotes (base/text.h). */
void vs_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The same with a name of what happened, for a daemon whose messages are a log: after vs_say_as(VS_LOG_JSON) every message is a
 * JSON line (base/log.h), those of vs_say as the event "message". */
void vs_say_event(enum vs_log_level level, const char *event, const char *format, ...) __attribute__((format(printf, 3, 4)));
void vs_say_as(enum vs_log_form form);

/* vs_say for what only informs: silent after vs_quiet (--quiet), as is progress. */
void vs_note(const char *format, ...) __attribute__((format(printf, 1, 2)));
void vs_quiet(void);
bool vs_is_quiet(void);

/* vs_say of err->text; returns the exit status that belongs to err->code (1 when that is VS_OK). */
int vs_fail(const struct vs_error *err);

/* A usage error: the message and where to read on; returns 2. command is "run", "models pull" or NULL. */
int vs_usage(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3)));

int vs_columns(int fd, int otherwise);       /* of the terminal at fd; `otherwise` when it is none */

int vs_rows(int fd, int otherwise);
bool vs_is_screen(int fd);                   /* a terminal that knows more than lines */

/* Prints text and a newline on stdout, broken at blanks to `width` columns; each line begins at `indent`, the first one goes on at
 * `column`. Lines that begin with a blank stay as they are. */
void vs_wrap(const char *text, int indent, int width, int column);

struct vs_progress {
    const char *what;                        /* borrowed */
    bool bytes;                              /* done and total are bytes */
    bool started;
    uint64_t shown_ns;
    unsigned shown_percent;
};
/* total 0: not known. */
void vs_progress_show(struct vs_progress *p, uint64_t done, uint64_t total);
void vs_progress_end(struct vs_progress *p); /* removes the bar; harmless when nothing was shown */

/* Text of a model: shown by base/text.h where stdout is a terminal, so that a model cannot send escape sequences, and with lines
 * that break between words; exactly its bytes elsewhere. A newline at its end goes this way, too. */
int vs_answer(const char *text, size_t n);
/* JSON and a newline on stdout; 0, or -1 as json_dumpf, whose flags these are. 0.1 and not 0.10000000000000001: floats keep all
 * digits. */
int vs_answer_json(const json_t *value, size_t flags);
int vs_answer_flush(void);                   /* VS_OK or VS_E_SYSTEM (closed pipe, full disk) */

/* A reader who has seen enough (`veritas help | head -1`) is no fault: nothing is said of it, not even by vs_fail, and the program
 * ends as SIGPIPE ends others. What else standard output refuses is told with its reason. */
int vs_answer_error(struct vs_error *err);   /* after a failure: what it was; returns VS_E_SYSTEM */
void vs_answer_lost(int number);             /* the errno of a write to standard output that went another way */
int vs_answer_end(int status);               /* the last thing a program does: flushes, returns its exit status */

/* Reads a file (or standard input for NULL or "-") whole: ret_text is malloced, NUL-terminated.
 * VS_E_NOT_FOUND, VS_E_LIMIT (above limit bytes), VS_E_SYSTEM. */
int vs_text_read(const char *path, size_t limit, char **ret_text, size_t *ret_n, struct vs_error *err);

/* VS_E_MALFORMED naming the offset when text is not UTF-8. what: "the prompt". */
int vs_text_check(const char *what, const char *text, size_t n, struct vs_error *err);
#endif
