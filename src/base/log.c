/* base/log.c - see log.h */
#include "base/log.h"

#include "base/date.h"
#include "base/status.h"
#include "base/text.h"

#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* A string in quotes. What JSON and people read differs only in how hidden characters are written. */
static void quoted(struct vs_buf *out, const char *s, enum vs_text_kind kind)
{
    vs_buf_char(out, '"');
    while (*s) {
        size_t n = strcspn(s, "\"\\\n");
        vs_text_show(out, s, n, kind);
        s += n;
        if (*s == '\n')
            vs_buf_str(out, kind == VS_TEXT_JSON ? "\\n" : "\\x0A");
        else if (*s)
            vs_buf_printf(out, "\\%c", *s);
        s += *s != 0;
    }
    vs_buf_char(out, '"');
}

static void word(struct vs_buf *out, const char *s)
{
    if (*s && !strpbrk(s, " \"\\="))
        vs_text_show(out, s, strlen(s), VS_TEXT_LINE);
    else
        quoted(out, s, VS_TEXT_LINE);
}

static void format_text(const struct vs_log *l, struct vs_buf *out)
{
    vs_buf_printf(out, "%s: ", l->from);
    if (l->words) {
        vs_text_show(out, l->words, strlen(l->words), VS_TEXT_LINE);
        return;
    }
    vs_buf_str(out, l->event);
    for (size_t i = 0; i < l->n_fields; i++) {
        vs_buf_printf(out, " %s=", l->fields[i].key);
        if (l->fields[i].text)
            word(out, l->fields[i].text);
        else
            vs_buf_printf(out, "%" PRIu64, l->fields[i].number);
    }
}

static void format_json(const struct vs_log *l, struct vs_buf *out)
{
    static const char *const levels[] = { [VS_LOG_INFO] = "info", [VS_LOG_WARNING] = "warning", [VS_LOG_ERROR] = "error" };
    struct tm t = { 0 };
    vs_date_of(l->time_ms / 1000, &t);
    vs_buf_printf(out, "{\"time\":\"%04d-%02d-%02dT%02d:%02d:%02d.%03dZ\"", t.tm_year + 1900, t.tm_mon + 1, t.tm_mday, t.tm_hour,
                  t.tm_min, t.tm_sec, (int)(l->time_ms % 1000));
    vs_buf_printf(out, ",\"level\":\"%s\",\"from\":\"%s\",\"event\":\"%s\"", levels[l->level], l->from, l->event);
    if (l->words) {
        vs_buf_str(out, ",\"message\":");
        quoted(out, l->words, VS_TEXT_JSON);
    }
    for (size_t i = 0; i < l->n_fields; i++) {
        vs_buf_printf(out, ",\"%s\":", l->fields[i].key);
        if (l->fields[i].text)
            quoted(out, l->fields[i].text, VS_TEXT_JSON);
        else
            vs_buf_printf(out, "%" PRIu64, l->fields[i].number);
    }
    vs_buf_char(out, '}');
}

void vs_log_format(const struct vs_log *log, struct vs_buf *out)
{
    if (log->form == VS_LOG_JSON)
        format_json(log, out);
    else
        format_text(log, out);
    vs_buf_char(out, '\n');
}

bool vs_log_write(struct vs_buf *line)
{
    struct pollfd log = { STDERR_FILENO, POLLOUT, 0 };
    bool can = line->status == VS_OK && line->n <= PIPE_BUF && poll(&log, 1, 0) == 1 && log.revents & POLLOUT;
    if (can)
        fwrite(line->data, 1, line->n, stderr);
    vs_buf_clear(line);
    return can;
}
