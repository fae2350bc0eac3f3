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
#include <unistd.h>

struct vs_editor {
    EditLine *edit;
    History *entries;
    const struct vs_history *file;
    bool told;                           /* that the file can't be written */
    const char *prompt;
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

/* Reads one character for libedit. Its own reader tries again after the first signal, so a Ctrl-C would wait for the next
 * key; here the flag and the wait are one step (ppoll lets signals in only while it waits). */
static int get_char(EditLine *edit, wchar_t *ret)
{
    sigset_t block, before;
    char bytes[4];
    size_t n = 0;
    int result = -1;
    (void)edit;
    sigemptyset(&block);
    sigaddset(&block, SIGINT);
    sigaddset(&block, SIGTERM);
    sigprocmask(SIG_BLOCK, &block, &before);
    while (!vs_session_is_interrupted()) {
        struct pollfd in = { 0, POLLIN, 0 };
        uint32_t code_point;
        if (ppoll(&in, 1, NULL, &before) < 0) {
            if (errno == EINTR)
                continue;                /* a resized window also comes here */
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
    sigprocmask(SIG_SETMASK, &before, NULL);
    return result;
}

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

struct vs_editor *vs_editor_open(const struct vs_history *file)
{
    struct vs_error err = { 0 };
    HistEvent event;
    struct vs_editor *e = calloc(1, sizeof *e);
    if (!e)
        return NULL;
    if (!setlocale(LC_CTYPE, "") || MB_CUR_MAX == 1)
        setlocale(LC_CTYPE, "C.UTF-8");
    e->file = file;
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
    history(e->entries, &event, H_SETSIZE, VS_HISTORY_ENTRIES);
    history(e->entries, &event, H_SETUNIQUE, 1);
    el_set(e->edit, EL_HIST, history, e->entries);
    if (vs_history_load(file, enter, e, &err) != VS_OK)
        tell(e, &err);
    el_source(e->edit, NULL);
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
    const char *s = el_gets(e->edit, &n);
    int interrupts = vs_session_interrupts();
    if (interrupts >= VS_SESSION_TERMINATED)
        return VS_LINE_END;
    if (interrupts > 0) {
        el_reset(e->edit);
        putchar('\n');
        return VS_LINE_NONE;
    }
    if (!s || n <= 0)
        return VS_LINE_END;
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
