/* prog/veritas/editor.c - see editor.h */
#include "prog/veritas/editor.h"

#include "base/utf8.h"
#include "prog/veritas/session.h"

#include <errno.h>
#include <histedit.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

static const int signals[] = { SIGINT, SIGTERM, SIGWINCH, SIGCONT };

struct vs_editor {
    EditLine *edit;
    History *entries;
    const struct vs_history *file;
    bool told;                           /* that the file can't be written */
    const char *prompt;
    vs_editor_complete *complete;
    void *context;
    bool is_capable;                     /* the terminal knows escape sequences */
    bool is_leaving;                     /* the line is given up */
};

static struct vs_editor *of(EditLine *edit)
{
    struct vs_editor *e = NULL;
    el_get(edit, EL_CLIENTDATA, &e);
    return e;
}

static const char *show_prompt(EditLine *edit)
{
    return of(edit)->prompt;
}

#define TO_THE_END 0x1c                  /* Ctrl-\, which never comes from the keyboard: the terminal makes a signal of it */

/* Terminals then mark the beginning and the end of what is pasted. */
static void mark_pastes(const struct vs_editor *e, bool on)
{
    if (e->is_capable)
        printf(on ? "\033[?2004h" : "\033[?2004l");
    vs_answer_flush();
}

/* Set by handlers, looked at while waiting for a key. */
static volatile sig_atomic_t resized, resumed;

static void on_signal(int number)
{
    *(number == SIGWINCH ? &resized : &resumed) = 1;
}

/* How many rows below that of the prompt the cursor stands in a window of so many columns. */
static int cursor_row(const struct vs_editor *e, const LineInfo *line, int columns)
{
    int column = (int)strlen(e->prompt), row = 0;
    mbstate_t state = { 0 };
    wchar_t c;
    for (const char *s = line->buffer; s < line->cursor;) {
        size_t n = mbrtowc(&c, s, (size_t)(line->cursor - s), &state);
        if (n == 0 || n > 4)
            break;
        int width = c == L'\t' ? 8 - column % 8 : wcwidth(c);
        s += n;
        column += width > 0 ? width : c < 0x20 && c != L'\n' ? 2 : 0;
        if (c == L'\n' || column >= columns) {
            row++;
            column = c == L'\n' || column == columns ? 0 : width;
        }
    }
    return row;
}

/* The terminal has another width, and has broken the lines anew; or a shell has used it meanwhile. */
static void catch_up(struct vs_editor *e)
{
    struct winsize size;
    if (resized && e->is_capable && ioctl(1, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
        int row = cursor_row(e, el_line(e->edit), size.ws_col);
        if (row > 0)
            printf("\033[%dA", row);
        printf("\r\033[J");
    }
    if (resized)
        el_resize(e->edit);
    if (resumed) {
        el_set(e->edit, EL_PREP_TERM, 0);
        el_set(e->edit, EL_PREP_TERM, 1);
        mark_pastes(e, true);
    }
    if (resized || resumed)
        el_set(e->edit, EL_REFRESH);
    resized = resumed = 0;
}

/* Reads one character for libedit. Its own reader tries again after the first signal, so a Ctrl-C would wait for the next
 * key; here the flags and the wait are one step (ppoll lets signals in only while it waits). */
static int get_char(EditLine *edit, wchar_t *ret)
{
    sigset_t block, before;
    char bytes[4];
    size_t n = 0;
    int result = -1;
    struct vs_editor *e = of(edit);
    sigemptyset(&block);
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        sigaddset(&block, signals[i]);
    sigprocmask(SIG_BLOCK, &block, &before);
    while (!vs_session_is_interrupted()) {
        struct pollfd in = { 0, POLLIN, 0 };
        uint32_t code_point;
        catch_up(e);
        if (ppoll(&in, 1, NULL, &before) < 0) {
            if (errno == EINTR)
                continue;
            break;
        }
        ssize_t got = read(0, bytes + n, 1);
        if (got <= 0) {
            result = got == 0 ? 0 : -1;
            break;
        }
        n++;
        if (vs_utf8_decode(bytes, n, &code_point) == n) {
            *ret = (wchar_t)code_point;
            result = 1;
            break;
        }
        if (n == 4 || vs_utf8_unfinished(bytes, n) != n)
            n = 0;                       /* not UTF-8: dropped */
    }
    /* what is said next shall stand below the line, not in it */
    if (result < 0 && vs_session_is_interrupted() && !e->is_leaving) {
        e->is_leaving = true;
        *ret = TO_THE_END;
        result = 1;
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
    return result;
}

/* ---- keys ---- */

#define PASTE_BEGINS "\033[200~"
#define PASTE_ENDS "\033[201~"

/* Takes everything up to the end of what is pasted. Terminals send Enter's code for its newlines. */
static unsigned char on_paste(EditLine *edit, int key)
{
    struct vs_buf text = { .limit = VS_EDITOR_LIMIT };
    size_t end = strlen(PASTE_ENDS);
    unsigned char result = CC_REFRESH;
    wchar_t c;
    (void)key;
    while (text.n < end || memcmp(text.data + text.n - end, PASTE_ENDS, end) != 0) {
        if (get_char(edit, &c) != 1) {
            result = CC_EOF;             /* interrupted, or the terminal is gone */
            break;
        }
        if (c != 0)
            vs_buf_utf8(&text, (uint32_t)c);
        if (text.status != VS_OK) {
            vs_buf_reset(&text);
            result = CC_REDISPLAY;       /* too long: read to its end, and dropped */
        }
    }
    if (result == CC_REFRESH) {
        text.n -= end;
        for (size_t i = 0; i < text.n; i++)
            if (text.data[i] == '\r')
                text.data[i] = '\n';
        while (text.n > 0 && text.data[text.n - 1] == '\n')
            text.n--;
        text.data[text.n] = '\0';
        if (text.n > 0 && el_insertstr(edit, text.data) < 0)
            result = CC_ERROR;
    }
    if (result == CC_REDISPLAY) {
        putchar('\n');
        vs_say("what was pasted is longer than %u MiB; it was dropped", VS_EDITOR_LIMIT >> 20);
    }
    vs_buf_clear(&text);
    return result;
}

/* How many bytes all words have in common at their beginning; *ret_n: how many words there are. */
static size_t common_prefix(const struct vs_buf *words, size_t *ret_n)
{
    size_t common = 0;
    *ret_n = 0;
    for (size_t at = 0; at < words->n; at += strlen(words->data + at) + 1, ++*ret_n) {
        const char *word = words->data + at;
        size_t same = 0;
        while (word[same] && word[same] == words->data[same])
            same++;
        common = at == 0 || same < common ? same : common;
    }
    while (common > 0 && (words->data[common] & 0xC0) == 0x80)
        common--;                        /* never a part of a character */
    return common;
}

static void list_words(const struct vs_buf *words)
{
    putchar('\n');
    for (size_t at = 0; at < words->n; at += strlen(words->data + at) + 1)
        printf("%s%s", at ? "  " : "", vs_shown(words->data + at).text);
    putchar('\n');
}

static unsigned char on_tab(EditLine *edit, int key)
{
    struct vs_editor *e = of(edit);
    struct vs_completion c = { 0 };
    const LineInfo *line = el_line(edit);
    size_t n = (size_t)(line->cursor - line->buffer), count;
    unsigned char result = CC_ERROR;
    (void)key;
    e->complete(e->context, line->buffer, n, &c);
    size_t common = common_prefix(&c.words, &count), typed = n - c.from;
    if (count > 0 && (common > typed || count == 1)) {
        c.words.data[common] = '\0';
        if (common > typed)
            el_insertstr(edit, c.words.data + typed);
        if (count == 1 && common > 0 && c.words.data[common - 1] != '/')
            el_insertstr(edit, " ");
        result = CC_REFRESH;
    } else if (count > 1) {
        list_words(&c.words);
        result = CC_REDISPLAY;
    }
    vs_buf_clear(&c.words);
    return result;
}

/* ---- open, read, close ---- */

static void enter(void *context, const char *entry)
{
    struct vs_editor *e = context;
    HistEvent event;
    history(e->entries, &event, H_ENTER, entry);
}

/* Tells once why nothing is kept. */
static void tell(struct vs_editor *e, const struct vs_error *err)
{
    if (!e->told)
        vs_fail(err);
    e->told = true;
}

struct vs_editor *vs_editor_open(const struct vs_history *file, vs_editor_complete *complete, void *context)
{
    struct vs_error err = { 0 };
    HistEvent event;
    struct vs_editor *e = calloc(1, sizeof *e);
    if (!e)
        return NULL;
    if (!setlocale(LC_CTYPE, "") || MB_CUR_MAX == 1)
        setlocale(LC_CTYPE, "C.UTF-8");
    e->file = file;
    e->complete = complete;
    e->context = context;
    e->edit = el_init("veritas", stdin, stdout, stderr);
    e->entries = history_init();
    if (!e->edit || !e->entries) {
        vs_editor_close(e);
        return NULL;
    }
    el_set(e->edit, EL_CLIENTDATA, e);
    el_set(e->edit, EL_PROMPT, show_prompt);
    el_set(e->edit, EL_EDITOR, "emacs");
    el_set(e->edit, EL_SIGNAL, 0);
    el_set(e->edit, EL_GETCFN, get_char);
    /* libedit loses the end of a long line when it lets the terminal insert or delete. */
    static const char *const not_used[] = { "im", "ic", "IC", "ei", "dc", "DC", "dm", "ed" };
    for (size_t i = 0; i < sizeof not_used / sizeof *not_used; i++)
        el_set(e->edit, EL_SETTC, not_used[i], "", NULL);
    /* Wide names: of narrow ones libedit makes copies that it never frees. */
    el_wset(e->edit, EL_ADDFN, L"veritas-complete", L"Complete a command", on_tab);
    el_set(e->edit, EL_BIND, "\t", "veritas-complete", NULL);
    el_wset(e->edit, EL_ADDFN, L"veritas-paste", L"Insert what is pasted", on_paste);
    el_set(e->edit, EL_BIND, PASTE_BEGINS, "veritas-paste", NULL);
    el_set(e->edit, EL_BIND, "^\\", "ed-move-to-end", NULL);
    history(e->entries, &event, H_SETSIZE, VS_HISTORY_ENTRIES);
    history(e->entries, &event, H_SETUNIQUE, 1);
    el_set(e->edit, EL_HIST, history, e->entries);
    if (vs_history_load(file, enter, e, &err) != VS_OK)
        tell(e, &err);
    el_source(e->edit, NULL);
    const char *term = getenv("TERM");
    e->is_capable = term && term[0] && strcmp(term, "dumb") != 0;
    struct sigaction act = { .sa_handler = on_signal };
    sigaction(SIGWINCH, &act, NULL);
    sigaction(SIGCONT, &act, NULL);
    return e;
}

void vs_editor_close(struct vs_editor *e)
{
    if (!e)
        return;
    if (e->entries)
        history_end(e->entries);
    if (e->edit)
        el_end(e->edit);
    free(e);
}

enum vs_line vs_editor_line(struct vs_editor *e, const char *prompt, struct vs_buf *ret)
{
    int n = 0;
    vs_buf_reset(ret);
    vs_session_interrupts();
    e->prompt = prompt;
    e->is_leaving = false;
    el_set(e->edit, EL_PREP_TERM, 1);    /* before the prompt is seen: keys that come between would be the terminal's own */
    mark_pastes(e, true);
    const char *s = el_gets(e->edit, &n);
    mark_pastes(e, false);
    int interrupts = vs_session_interrupts();
    if (interrupts > 0 || !s || n <= 0) {
        el_reset(e->edit);
        putchar('\n');                   /* what is said next has a line of its own */
        vs_answer_flush();
        return interrupts > 0 && interrupts < VS_SESSION_TERMINATED ? VS_LINE_NONE : VS_LINE_END;
    }
    vs_buf_add(ret, s, (size_t)n);
    return VS_LINE;
}

void vs_editor_remember(struct vs_editor *e, const char *text, size_t n)
{
    struct vs_error err = { 0 };
    if (n == 0 || memchr(text, '\0', n))
        return;
    enter(e, text);
    if (vs_history_add(e->file, text, n, &err) != VS_OK)
        tell(e, &err);
}
