/* base/log.h - a line of a program's log: for people, or one JSON object for what collects logs.
 *
 *     text    broker: worker tiny: killed by signal 9                      words of its own say it all
 *             broker: request_end request=7 model=tiny finish=stop         without words: the event and its fields
 *     json    {"time":"2026-11-29T00:19:37.123Z","level":"info","from":"broker","event":"request_end","request":7,...}
 *
 * Values come from clients, models and files: they go through base/text.h, so a line stays one line. A line of text has no time:
 * the journal, or what else keeps it, puts one before it. Never in a log: text of prompts and answers.
 *
 * Memory: what a struct vs_log points to is borrowed for the call. Threads: pure, but for vs_log_write: one at a time.
 */
#ifndef VS_BASE_LOG_H
#define VS_BASE_LOG_H
#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum vs_log_form { VS_LOG_TEXT, VS_LOG_JSON };
enum vs_log_level { VS_LOG_INFO, VS_LOG_WARNING, VS_LOG_ERROR };

struct vs_log_field {
    const char *key;                    /* [a-z_]+ */
    const char *text;                   /* NULL: number */
    uint64_t number;                    /* up to 2^64 - 1, as clients name their requests */
};

struct vs_log {
    enum vs_log_form form;
    enum vs_log_level level;
    const char *from;                   /* the program: "broker" */
    const char *event;                  /* what happened, for machines: "request_end" */
    const char *words;                  /* the same for people, who then see nothing else; NULL: they see event and fields */
    const struct vs_log_field *fields;
    size_t n_fields;
    int64_t time_ms;                    /* since 1970, for JSON: vs_clock_real_ms() */
};

/* Appends the line and a newline. */
void vs_log_format(const struct vs_log *log, struct vs_buf *out);

/* Writes a line to standard error and clears it. Who reads a log may have stopped, and a pipe that is full would hold us up: the
 * line goes in whole, or it is left out (false). So is one that failed, or is longer than PIPE_BUF bytes. */
bool vs_log_write(struct vs_buf *line);
#endif
