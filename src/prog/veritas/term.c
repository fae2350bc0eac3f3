/* prog/veritas/term.c - messages, progress and answers; see term.h. */
#include "prog/veritas/term.h"

#include "base/clock.h"
#include "base/utf8.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static bool is_capable(void)
{
    const char *term = getenv("TERM");
    return term && term[0] && strcmp(term, "dumb") != 0;
}

/* May fd get escape sequences? */
static bool has_color(int fd)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
    return isatty(fd) && !(no && no[0]) && !(term && strcmp(term, "dumb") == 0);
}

int vs_columns(int fd, int otherwise)
{
    struct winsize size;
    return isatty(fd) && ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : otherwise;
}

int vs_rows(int fd, int otherwise)
{
    struct winsize size;
    return isatty(fd) && ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 ? size.ws_row : otherwise;
}

bool vs_is_screen(int fd)
{
    return isatty(fd) && is_capable();
}

enum { MAX_LOG_TEXT = 600 };

static bool quiet;
static enum vs_log_form form;                /* of messages */
static bool is_log;                          /* they are a daemon's: nobody waits for who reads them */
static unsigned n_left_out;                  /* lines of the log that could not be written */
static int lost;                             /* errno of the first write to standard output that failed */

/* A line that is left out is counted. */
static bool log_line(enum vs_log_level level, const char *event, const char *text)
{
    struct vs_buf line = { 0 };
    if (form == VS_LOG_JSON)
        vs_log_format(&(struct vs_log){ .form = form, .level = level, .from = "serve", .event = event, .words = text,
                                        .time_ms = vs_clock_real_ms() }, &line);
    else
        vs_buf_printf(&line, has_color(2) ? "\033[1mveritas:\033[0m %s\n" : "veritas: %s\n", text);
    return vs_log_write(&line);
}

static void log_text(enum vs_log_level level, const char *event, const char *text)
{
    char lost_lines[64];
    snprintf(lost_lines, sizeof lost_lines, "serve: %u line%s left out", n_left_out, n_left_out == 1 ? " was" : "s were");
    if (n_left_out && log_line(VS_LOG_WARNING, "left_out", lost_lines))
        n_left_out = 0;
    n_left_out += !log_line(level, event, text);
}

static void __attribute__((format(printf, 3, 0))) say(enum vs_log_level level, const char *event, const char *format, va_list list)
{
    char text[1024], line[2048];
    vsnprintf(text, sizeof text, format, list);
    vs_answer_flush();
    vs_text_line(line, sizeof line, text, sizeof text);     /* it quotes words from files and peers */
    if (is_log) {
        text[MAX_LOG_TEXT] = 0;              /* with every byte escaped it fits into PIPE_BUF */
        log_text(level, event, form == VS_LOG_JSON ? text : line);
        return;
    }
    fprintf(stderr, has_color(2) ? "\033[1mveritas:\033[0m %s\n" : "veritas: %s\n", line);
}

void vs_say_as(enum vs_log_form log_form)
{
    form = log_form;
    is_log = true;
}

void vs_say(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    say(VS_LOG_ERROR, "message", format, list);
    va_end(list);
}

void vs_say_event(enum vs_log_level level, const char *event, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    say(level, event, format, list);
    va_end(list);
}

void vs_note(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    if (!quiet && (vs_answer_flush() == VS_OK || lost != EPIPE))
        say(VS_LOG_INFO, "message", format, list);
    va_end(list);
}

void vs_quiet(void)
{
    quiet = true;
}

bool vs_is_quiet(void)
{
    return quiet;
}

int vs_fail(const struct vs_error *err)
{
    if (lost != EPIPE)
        vs_say("%s", err->text[0] ? err->text : vs_status_text(err->code));
    int status = vs_status_exit(err->code);
    return status == 0 ? 1 : status;
}

int vs_usage(const char *command, const char *format, ...)
{
    char text[600];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    if (command)
        vs_say("%s (see: veritas %s --help)", text, command);
    else
        vs_say("%s (see: veritas help)", text);
    return 2;
}

static void format_bytes(double n, char *ret, size_t size)
{
    static const char *const unit[] = { "B", "kB", "MB", "GB", "TB" };
    size_t i = 0;
    for (; n >= 999.5 && i + 1 < sizeof unit / sizeof *unit; i++)
        n /= 1000;
    snprintf(ret, size, n < 10 && i > 0 ? "%.1f %s" : "%.0f %s", n, unit[i]);
}

void vs_progress_show(struct vs_progress *p, uint64_t done, uint64_t total)
{
    bool bar = isatty(2);
    uint64_t now = vs_clock_ns();
    if (quiet)
        return;
    if (total && done > total)               /* a peer counts as it likes */
        done = total;
    unsigned percent = total ? (unsigned)((double)done / (double)total * 100) : 0;
    bool last = total && done >= total;
    if (p->started) {
        uint64_t wait = bar ? 100000000u : 1000000000u;
        if (!last && (now - p->shown_ns < wait || (!bar && percent < p->shown_percent + 10)))
            return;
        if (last && p->shown_percent == 100)
            return;
    }
    p->started = true;
    p->shown_ns = now;
    p->shown_percent = percent;
    char count[80], a[24], b[24];
    struct vs_shown what = vs_shown(p->what);
    if (p->bytes) {
        format_bytes((double)done, a, sizeof a);
        format_bytes((double)total, b, sizeof b);
    } else {
        snprintf(a, sizeof a, "%llu", (unsigned long long)done);
        snprintf(b, sizeof b, "%llu", (unsigned long long)total);
    }
    snprintf(count, sizeof count, total ? "%s of %s" : "%s", a, b);
    if (!bar) {
        fprintf(stderr, total ? "%s: %s, %u %%\n" : "%s: %s\n", what.text, count, percent);
        return;
    }
    int columns = vs_columns(2, 80);
    if (!total) {
        fprintf(stderr, "\r\033[K%s %s", what.text, count);
        fflush(stderr);
        return;
    }
    int room = columns - (int)strlen(what.text) - (int)strlen(count) - 12;
    char cells[64] = "";
    int n = room > 40 ? 40 : room;
    for (int i = 0; i < n; i++)
        cells[i] = i < n * (int)percent / 100 ? '#' : '.';
    fprintf(stderr, "\r\033[K%s %s %3u %% %s", what.text, cells, percent, count);
    fflush(stderr);
}

void vs_progress_end(struct vs_progress *p)
{
    if (p->started && isatty(2))
        fprintf(stderr, "\r\033[K");
    p->started = false;
}

/* ---- answers on a terminal: lines break between words ---- */

/* The row that the answer has come to. A word comes in pieces, so what stood of it already is taken back when it does not fit. */
static struct {
    int column;
    int word_columns;                        /* of the word at its end */
    size_t word_n;
    char word[128];
    int ticks;                               /* backticks at the beginning of the row, while there is nothing else */
    bool is_code;                            /* between ``` and ```: rows stay as they are */
} row;

/* How many columns a character takes. */
static int char_columns(uint32_t c)
{
    static const struct { uint32_t from, to; int columns; } wide[] = {
        { 0x300, 0x36f, 0 }, { 0x1100, 0x115f, 2 }, { 0x200b, 0x200f, 0 }, { 0x20d0, 0x20ff, 0 }, { 0x2e80, 0x303e, 2 },
        { 0x3041, 0xa4cf, 2 }, { 0xac00, 0xd7a3, 2 }, { 0xf900, 0xfaff, 2 }, { 0xfe00, 0xfe0f, 0 }, { 0xfe30, 0xfe6f, 2 },
        { 0xff00, 0xff60, 2 }, { 0xffe0, 0xffe6, 2 },
        { 0x1f300, 0x1f64f, 2 }, { 0x1f680, 0x1f6ff, 2 }, { 0x1f900, 0x1f9ff, 2 }, { 0x20000, 0x3fffd, 2 },
    };
    for (size_t i = 0; i < sizeof wide / sizeof *wide; i++)
        if (c >= wide[i].from && c <= wide[i].to)
            return wide[i].columns;
    return 1;
}

static void end_word(void)
{
    row.word_n = 0;
    row.word_columns = 0;
}

static void new_row(void)
{
    if (row.ticks >= 3)
        row.is_code = !row.is_code;
    row.ticks = row.column = 0;
    end_word();
}

/* Puts the word that is being written on a row of its own, when something stands before it. The last column stays free: there
 * terminals differ in where the cursor is. */
static void break_before_word(int columns, int more)
{
    if (row.column + more < columns || row.is_code || row.word_columns >= row.column || row.word_n >= sizeof row.word)
        return;
    if (row.word_columns > 0)
        printf("\033[%dD\033[K", row.word_columns);
    printf("\n%.*s", (int)row.word_n, row.word);
    row.column = row.word_columns;
}

static void show_character(const char *s, size_t n, uint32_t code_point, int columns)
{
    int wide = char_columns(code_point);
    if (code_point == '\n') {
        putchar('\n');
        new_row();
        return;
    }
    if (code_point == '`' && row.column == row.ticks)
        row.ticks++;
    bool is_blank = code_point == ' ' || code_point == '\t';
    if (is_blank && !row.is_code && row.column + 1 >= columns) {
        putchar('\n');                       /* instead of the blank */
        row.column = 0;
        end_word();
        return;
    }
    if (!is_blank)
        break_before_word(columns, wide);
    fwrite(s, 1, n, stdout);
    row.column += code_point == '\t' ? 8 - row.column % 8 : wide;
    if (row.column > columns)
        row.column -= columns;               /* the terminal broke it: a word longer than a row, or code */
    if (is_blank) {
        end_word();
        return;
    }
    row.word_columns += wide;
    if (row.word_n + n <= sizeof row.word)
        memcpy(row.word + row.word_n, s, n);
    row.word_n += n;
}

static void show_on_terminal(const char *text, size_t n)
{
    struct vs_buf shown = { 0 };
    int columns = vs_columns(1, 80);
    vs_text_show(&shown, text, n, VS_TEXT_LINES);
    for (size_t at = 0, size; at < shown.n; at += size) {
        uint32_t code_point = 0;
        size = vs_utf8_decode(shown.data + at, shown.n - at, &code_point);
        size = size ? size : 1;
        show_character(shown.data + at, size, code_point, columns);
    }
    vs_buf_clear(&shown);
}

int vs_answer(const char *text, size_t n)
{
    if (isatty(1) && is_capable())
        show_on_terminal(text, n);
    else if (isatty(1))
        vs_text_print(stdout, text, n, VS_TEXT_LINES);
    else
        fwrite(text, 1, n, stdout);
    return ferror(stdout) ? vs_answer_flush() : VS_OK;
}

int vs_answer_json(const json_t *value, size_t flags)
{
    char *text = isatty(1) ? json_dumps(value, flags | JSON_REAL_PRECISION(12)) : NULL;
    int rc = 0;
    if (text)
        vs_text_print(stdout, text, strlen(text), VS_TEXT_JSON);
    else
        rc = json_dumpf(value, stdout, flags | JSON_REAL_PRECISION(12));
    free(text);
    putchar('\n');
    return rc;
}

void vs_answer_lost(int number)
{
    if (!lost)
        lost = number;
}

int vs_answer_flush(void)
{
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout))
        return VS_OK;
    struct pollfd out = { 1, POLLOUT, 0 };
    int number = errno;                      /* 0: an earlier write failed, and its reason is gone */
    if (number == 0)
        number = poll(&out, 1, 0) == 1 && (out.revents & POLLERR) ? EPIPE : EIO;
    vs_answer_lost(number);
    return VS_E_SYSTEM;
}

int vs_answer_error(struct vs_error *err)
{
    return vs_error_set(err, VS_E_SYSTEM, "cannot write to standard output: %s", strerror(lost ? lost : EIO));
}

int vs_answer_end(int status)
{
    struct vs_error err;
    if (vs_answer_flush() == VS_OK && !lost)
        return status;
    if (lost == EPIPE) {
        signal(SIGPIPE, SIG_DFL);
        raise(SIGPIPE);
    }
    vs_answer_error(&err);
    return status ? status : vs_fail(&err);
}

int vs_text_read(const char *path, size_t limit, char **ret_text, size_t *ret_n, struct vs_error *err)
{
    bool in = !path || strcmp(path, "-") == 0;
    int fd = in ? 0 : open(path, O_RDONLY | O_CLOEXEC);
    char *text = NULL;
    size_t n = 0, capacity = 0;
    int rc = VS_OK;
    if (fd < 0) {
        rc = errno == ENOENT ? VS_E_NOT_FOUND : errno == EACCES ? VS_E_DENIED : VS_E_SYSTEM;
        return vs_error_set(err, rc, "cannot open %s: %s", path, strerror(errno));
    }
    for (;;) {
        if (n + 1 >= capacity) {
            capacity = capacity ? capacity * 2 : 65536;
            char *grown = realloc(text, capacity);
            if (!grown) {
                rc = vs_error_set(err, VS_E_NOMEM, "out of memory reading %s", in ? "standard input" : path);
                goto out;
            }
            text = grown;
        }
        ssize_t got = read(fd, text + n, capacity - n - 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            rc = vs_error_set(err, VS_E_SYSTEM, "cannot read %s: %s", in ? "standard input" : path, strerror(errno));
            goto out;
        }
        if (got == 0)
            break;
        n += (size_t)got;
        if (n > limit) {
            rc = vs_error_set(err, VS_E_LIMIT, "%s is longer than %zu bytes", in ? "standard input" : path, limit);
            goto out;
        }
    }
    text[n] = '\0';
    *ret_text = text;
    *ret_n = n;
    text = NULL;
out:
    free(text);
    if (!in)
        close(fd);
    return rc;
}

int vs_text_check(const char *what, const char *text, size_t n, struct vs_error *err)
{
    size_t at = vs_utf8_valid(text, n);
    if (at == n)
        return VS_OK;
    return vs_error_set(err, VS_E_MALFORMED, "%s is not valid UTF-8 at byte %zu (0x%02X); convert it first, for example with iconv",
                        what, at, (unsigned char)text[at]);
}

void vs_wrap(const char *text, int indent, int width, int column)
{
    while (*text) {
        if (*text == '\n') {
            putchar('\n');
            column = 0;
            text++;
            continue;
        }
        if (column == 0 && *text == ' ') {
            size_t line = strcspn(text, "\n");
            printf("%*s%.*s", indent, "", (int)line, text);
            text += line;
            continue;
        }
        size_t word = strcspn(text, " \n");
        if (column > indent && column + 1 + (int)word > width) {
            putchar('\n');
            column = 0;
        }
        if (column == 0)
            column = printf("%*s", indent, "");
        else if (column > indent)
            column += printf(" ");
        column += printf("%.*s", (int)word, text);
        text += word;
        while (*text == ' ')
            text++;
    }
    putchar('\n');
}
