/* prog/veritas/top.c - `veritas top`: what the daemon does, once a second.
 *
 * On a terminal a screen of its own, each frame in one write over the one before, so nothing flickers; lines are cut by the
 * terminal and never wrapped. Elsewhere a line for each model and second. q, Ctrl-C and the end of the daemon end it; the terminal
 * is as before.
 */
#include "prog/veritas/command.h"
#include "prog/veritas/session.h"
#include "prog/veritas/status.h"

#include "base/clock.h"
#include "base/word.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

enum { PERIOD_MS = 1000, WAIT_MS = 200, MIN_ROWS = 4 };

/* The most important first: what does not fit is left out from the right. */
static const struct vs_column columns[] = {
    { "MODEL", 28, "%s", VS_CELL_TEXT, "name", NULL },
    { "STATE", 10, "%s", VS_CELL_TEXT, "state", NULL },
    { "RUN", 4, "running %s", VS_CELL_COUNT, "requests.running", "running" },
    { "WAIT", 5, "waiting %s", VS_CELL_COUNT, "requests.waiting", "queued" },
    { "WRITE/S", 8, "%s written/s", VS_CELL_RATE, "tokens_per_second.generated", NULL },
    { "READ/S", 8, "%s read/s", VS_CELL_RATE, "tokens_per_second.prompt", NULL },
    { "KV", 5, "KV %s", VS_CELL_SHARE, "kv.used", "kv.pages" },
    { "CACHE", 5, "cache %s", VS_CELL_SHARE, "kv.cached", "kv.pages" },
    { "FIRST ms", 9, "first %s", VS_CELL_RATE, "latency_ms.first_token.p50", NULL },
    { "GAP ms", 8, "gap %s", VS_CELL_RATE, "latency_ms.inter_token.p50", NULL },
    { "GAP p95", 8, "gap p95 %s", VS_CELL_RATE, "latency_ms.inter_token.p95", NULL },
    { "PARK", 4, "parked %s", VS_CELL_COUNT, "requests.parked", NULL },
    { "MEM MB", 8, "%s MB", VS_CELL_MEMORY, "pid", NULL },
    { "SERVED", 7, "served %s", VS_CELL_COUNT, "served", NULL },
    { "RESTARTS", 8, "restarts %s", VS_CELL_COUNT, "restarts", NULL },
};
enum { N_COLUMNS = sizeof columns / sizeof *columns };

static const struct vs_column client_columns[] = {
    { "CLIENT", 28, "%s", VS_CELL_TEXT, "name", NULL },
    { "PID", 10, "pid %s", VS_CELL_COUNT, "pid", NULL },
    { "REQUESTS", 8, "requests %s", VS_CELL_COUNT, "requests", NULL },
};
enum { N_CLIENT_COLUMNS = sizeof client_columns / sizeof *client_columns };

/* Asks; a signal ends the waiting (VS_E_CANCELLED). */
static int ask(struct vs_session *s, json_t **ret, struct vs_error *err)
{
    json_t *request = json_object();
    struct vs_event e;
    uint64_t id;
    int rc = vs_client_request(s->client, VS_MSG_STATUS, request, NULL, &id, err);
    json_decref(request);
    while (rc == VS_OK || rc == VS_E_TIMEOUT) {
        rc = vs_client_next(s->client, WAIT_MS, &e, err);
        if (vs_session_is_interrupted())
            return VS_E_CANCELLED;
        if (rc != VS_OK || e.request != id || !e.is_last)
            continue;
        if (e.kind != VS_MSG_COMPLETE)
            return vs_error_set(err, e.error.code, "%s", e.error.text);
        *ret = json_incref(e.json);
        return VS_OK;
    }
    return rc;
}

/* Waits until the next second; true: somebody wants the end. in -1: no keyboard. */
static bool pause_until(uint64_t at, int in)
{
    for (uint64_t now; !vs_session_is_interrupted() && (now = vs_clock_ns()) < at;) {
        struct pollfd keys = { in, POLLIN, 0 };
        char key;
        if (poll(&keys, 1, (int)((at - now) / 1000000) + 1) < 0)
            return vs_session_is_interrupted();         /* else the window has another size */
        if (!keys.revents)
            continue;
        if (read(in, &key, 1) != 1)
            return true;
        if (key == 'q' || key == 'Q' || key == 4)
            return true;
    }
    return vs_session_is_interrupted();
}

/* ---- lines ---- */

static int print_lines(const json_t *status, bool head)
{
    const json_t *models = json_object_get(status, "models"), *model;
    struct vs_buf line = { 0 };
    size_t i;
    if (head) {
        vs_columns_head(columns, N_COLUMNS, &line);
        vs_buf_char(&line, '\n');
    }
    json_array_foreach(models, i, model) {
        vs_columns_row(columns, N_COLUMNS, model, &line);
        vs_buf_char(&line, '\n');
    }
    if (json_array_size(models) == 0)
        vs_buf_str(&line, "no model is loaded\n");
    int rc = line.status == VS_OK ? vs_answer(line.data, line.n) : line.status;
    vs_buf_clear(&line);
    return rc == VS_OK ? vs_answer_flush() : rc;
}

/* ---- a screen ---- */

struct frame {
    struct vs_buf out;
    int rows, left;                     /* of the window; those that are free */
};

static void put_line(struct frame *f, const char *begin, const struct vs_buf *line, const char *end)
{
    if (f->left <= 0)
        return;
    vs_buf_printf(&f->out, "%s%s%s%s\033[K", f->left < f->rows ? "\n" : "", begin, line->data && line->n ? line->data : "", end);
    f->left--;
}

static double sum_of(const json_t *models, const char *path, const char *second)
{
    const json_t *model;
    double sum = 0;
    size_t i;
    json_array_foreach((json_t *)(uintptr_t)models, i, model) {
        const json_t *value = vs_status_at(model, path);
        sum += json_number_value(value || !second ? value : vs_status_at(model, second));
    }
    return sum;
}

static void put_head(struct frame *f, const json_t *status)
{
    const json_t *models = json_object_get(status, "models"), *limit = vs_status_at(status, "memory.limit");
    unsigned long long up = (unsigned long long)json_integer_value(json_object_get(status, "uptime_ms")) / 1000;
    struct vs_buf line = { 0 };
    size_t n_clients = json_array_size(json_object_get(status, "clients"));
    vs_buf_printf(&line, "%s, up %llu:%02llu:%02llu, %zu client%s",
                  vs_shown(json_string_value(json_object_get(status, "server"))).text, up / 3600, up / 60 % 60, up % 60,
                  n_clients, vs_plural(n_clients));
    if (limit)
        vs_buf_printf(&line, ", memory %.1f of %.1f GB", json_number_value(vs_status_at(status, "memory.used")) / 1e9,
                      json_number_value(limit) / 1e9);
    vs_buf_str(&line, "     q ends");
    put_line(f, "", &line, "");
    vs_buf_reset(&line);
    vs_buf_printf(&line, "requests: %.0f running, %.0f waiting, %.0f parked; tokens/s: %.1f read, %.1f written",
                  sum_of(models, "requests.running", "running"), sum_of(models, "requests.waiting", "queued"),
                  sum_of(models, "requests.parked", NULL), sum_of(models, "tokens_per_second.prompt", NULL),
                  sum_of(models, "tokens_per_second.generated", NULL));
    put_line(f, "", &line, "");
    vs_buf_reset(&line);
    put_line(f, "", &line, "");
    vs_buf_clear(&line);
}

/* A table; `least` rows are left to others. */
static void put_table(struct frame *f, const struct vs_column *table, size_t n, const json_t *rows, int least)
{
    struct vs_buf line = { 0 };
    const json_t *row;
    size_t i;
    vs_columns_head(table, n, &line);
    put_line(f, "\033[7m", &line, "\033[0m");
    json_array_foreach((json_t *)(uintptr_t)rows, i, row) {
        if (f->left <= least)
            break;
        vs_buf_reset(&line);
        vs_columns_row(table, n, row, &line);
        put_line(f, "", &line, "");
    }
    vs_buf_clear(&line);
}

static int draw(const json_t *status)
{
    int width = vs_columns(1, 80), rows = vs_rows(1, 24);
    struct frame f = { .rows = rows, .left = rows };
    struct vs_buf none = { 0 };
    const json_t *clients = json_object_get(status, "clients");
    vs_buf_str(&f.out, "\033[H");
    put_head(&f, status);
    put_table(&f, columns, vs_columns_fit(columns, N_COLUMNS, width), json_object_get(status, "models"),
              json_array_size(clients) && rows > 2 * MIN_ROWS ? MIN_ROWS : 0);
    if (f.left >= MIN_ROWS - 1) {
        put_line(&f, "", &none, "");
        put_table(&f, client_columns, vs_columns_fit(client_columns, N_CLIENT_COLUMNS, width), clients, 0);
    }
    vs_buf_str(&f.out, "\033[J");
    if (f.out.status == VS_OK)
        fwrite(f.out.data, 1, f.out.n, stdout);
    vs_buf_clear(&f.out);
    return vs_answer_flush();
}

static void on_window(int number)
{
    (void)number;                       /* poll ends, and the next frame fits */
}

/* The other screen, no cursor, no wrapping; keys come at once and are not shown. Ctrl-Z would leave all that behind. */
static void screen_begin(struct termios *before, bool has_keys)
{
    struct sigaction act = { .sa_handler = on_window };
    sigaction(SIGWINCH, &act, NULL);
    if (has_keys) {
        struct termios now = *before;
        now.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
        now.c_cc[VSUSP] = _POSIX_VDISABLE;
        tcsetattr(0, TCSANOW, &now);
    }
    printf("\033[?1049h\033[?25l\033[?7l");
}

static void screen_end(const struct termios *before, bool has_keys)
{
    printf("\033[?7h\033[?25h\033[?1049l");
    vs_answer_flush();
    if (has_keys)
        tcsetattr(0, TCSANOW, before);
}

int vs_command_top(const struct vs_args *args)
{
    struct vs_error err = { 0 };
    struct vs_session s = { 0 };
    struct termios before;
    int rc = vs_session_open(&s, args, NULL, VS_SESSION_RUNNING | VS_SESSION_NO_LOAD, &err);
    bool is_screen = vs_is_screen(1), has_keys = isatty(0) && tcgetattr(0, &before) == 0;
    bool begun = false;
    for (uint64_t at = vs_clock_ns(); rc == VS_OK; at += PERIOD_MS * UINT64_C(1000000)) {
        json_t *status = NULL;
        rc = ask(&s, &status, &err);
        bool first = !begun;
        begun |= rc == VS_OK;
        if (first && begun && is_screen)
            screen_begin(&before, has_keys);
        if (rc == VS_OK)
            rc = is_screen ? draw(status) : print_lines(status, first);
        json_decref(status);
        if (rc == VS_OK && pause_until(at + PERIOD_MS * UINT64_C(1000000), is_screen && has_keys ? 0 : -1))
            break;
        if (vs_clock_ns() > at + 2 * PERIOD_MS * UINT64_C(1000000))
            at = vs_clock_ns();         /* it was stopped for a while: no seconds are made up for */
    }
    if (begun && is_screen)
        screen_end(&before, has_keys);
    vs_session_close(&s);
    return rc == VS_OK || rc == VS_E_CANCELLED ? 0 : rc == VS_E_SYSTEM ? 1 : vs_fail(&err);
}
