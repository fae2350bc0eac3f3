/* prog/worker/render.c - see render.h */
#include "prog/worker/render.h"

#include "base/buf.h"
#include "base/date.h"
#include "base/file.h"
#include "ipc/json.h"
#include "ipc/message.h"
#include "sandbox/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { OUT_FD = 3, IN_FD = 4, WORDS_FD = 5, BLOCK = 1 << 16, LINE_LIMIT = 64 << 20 };
#define MAX_JSON ((size_t)2 << 30)

struct lines {
    struct vs_buf in;                    /* what was read of the line at hand, and behind it */
    size_t seen;                         /* so many bytes of it hold no end of a line */
    int64_t now;
    bool with_runs, is_too_long;
};

json_t *vs_render_runs(const struct vs_marked_text *text)
{
    json_t *runs = json_array();
    for (size_t i = 0; i < text->n_runs; i++)
        json_array_append_new(runs, json_pack("[I, b]", (json_int_t)text->runs[i].n, text->runs[i].trusted));
    return runs;
}

static int render(const struct lines *l, const json_t *line, struct vs_marked_text *ret, struct vs_error *err)
{
    static const char *const trusted[] = { "bos_token", "eos_token", NULL };
    static const char *const keys[] = { "template", "context", "now", NULL };
    const json_t *source = json_object_get(line, "template"), *context = json_object_get(line, "context");
    const json_t *now = json_object_get(line, "now");
    const char *other = vs_json_other_key(line, keys);
    if (other)
        return vs_error_set(err, VS_E_INVALID, "a line has template, context and now; not %.100s", other);
    if (!json_is_string(source) || !json_is_object(context))
        return vs_error_set(err, VS_E_INVALID, "a line is {\"template\": TEXT, \"context\": OBJECT}");
    if (now && (!json_is_integer(now) || json_integer_value(now) < 0 || json_integer_value(now) > VS_DATE_MOST))
        return vs_error_set(err, VS_E_INVALID, "now is a whole number of seconds since 1970");
    struct vs_template *t = NULL;
    int rc = vs_template_parse(json_string_value(source), json_string_length(source), &t, err);
    if (rc == VS_OK)
        rc = vs_template_render(t, context, trusted, now ? json_integer_value(now) : l->now, NULL, ret, err);
    vs_template_free(t);
    return rc;
}

static int answer(const struct lines *l, const char *text, size_t n, struct vs_error *err)
{
    struct vs_marked_text m = { 0 };
    struct vs_error why = { 0 };
    struct vs_buf out = { 0 };
    json_t *line = NULL, *result = NULL;
    int rc = l->is_too_long ? vs_error_set(&why, VS_E_LIMIT, "the line is longer than %d MiB", LINE_LIMIT >> 20) : VS_OK;
    if (rc == VS_OK && !(line = vs_json_parse(text, n, &why)))
        rc = why.code;
    if (rc == VS_OK)
        rc = render(l, line, &m, &why);
    if (rc == VS_OK)
        result = json_pack("{s:o, s:o*}", "text", vs_json_text(m.text.data, m.text.n), "runs",
                           l->with_runs ? vs_render_runs(&m) : NULL);
    else
        result = vs_json_error(rc, why.text[0] ? why.text : vs_status_text(rc));
    vs_json_dump(result, &out);
    vs_buf_char(&out, '\n');
    rc = !result || out.status != VS_OK             ? vs_error_set(err, VS_E_NOMEM, "out of memory")
         : !vs_write_all(OUT_FD, out.data, out.n) ? vs_error_set(err, VS_E_CANCELLED, "nobody reads the answers")
                                                  : VS_OK;
    vs_buf_clear(&out);
    vs_marked_text_clear(&m);
    json_decref(result);
    json_decref(line);
    return rc;
}

/* Answers the whole lines that are there. A line that is too long is forgotten up to its end, and answered there. */
static int answer_lines(struct lines *l, bool is_end, struct vs_error *err)
{
    size_t at = 0;
    int rc = VS_OK;
    for (const char *end; rc == VS_OK && at < l->in.n; at = (size_t)(end - l->in.data) + 1) {
        end = memchr(l->in.data + at + l->seen, '\n', l->in.n - at - l->seen);
        if (!end && !is_end)
            break;
        end = end ? end : l->in.data + l->in.n;
        if (l->is_too_long || end > l->in.data + at)
            rc = answer(l, l->in.data + at, (size_t)(end - l->in.data) - at, err);
        l->is_too_long = false;
        l->seen = 0;
    }
    vs_buf_drop(&l->in, at < l->in.n ? at : l->in.n);
    if (l->in.n > LINE_LIMIT) {
        l->is_too_long = true;
        vs_buf_clear(&l->in);
    }
    l->seen = l->in.n;
    return rc;
}

static int serve(struct lines *l, struct vs_error *err)
{
    int rc = VS_OK;
    ssize_t got = 1;
    while (rc == VS_OK && got != 0) {
        char block[BLOCK];
        got = read(IN_FD, block, sizeof block);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return vs_error_set(err, VS_E_SYSTEM, "cannot read the lines: %s", strerror(errno));
        vs_buf_add(&l->in, block, (size_t)got);
        rc = l->in.status == VS_OK ? answer_lines(l, got == 0, err) : vs_error_set(err, VS_E_NOMEM, "out of memory");
    }
    return rc;
}

int vs_render_main(int argc, char **argv)
{
    struct vs_error err = { 0 };
    if (argc != 4 || fcntl(OUT_FD, F_GETFD) < 0 || fcntl(IN_FD, F_GETFD) < 0 || fcntl(WORDS_FD, F_GETFD) < 0) {
        fprintf(stderr, "veritas-worker --render is started by `veritas render`\n");
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN);
    if (vs_last_words_attach(WORDS_FD) != VS_OK)
        return 1;
    vs_json_setup(MAX_JSON);
    struct lines l = { .now = strtoll(argv[2], NULL, 10), .with_runs = argv[3][0] == '1' };
    struct vs_sandbox_options options = { .profile = VS_SANDBOX_WORKER, .words_fd = WORDS_FD,
                                          .keep_fds = 1u << OUT_FD | 1u << IN_FD };
    struct vs_sandbox_report report;
    int rc = vs_sandbox_options_parse(getenv("VERITAS_SANDBOX"), &options, &err);
    if (rc == VS_OK)
        rc = vs_sandbox_enter(&options, &report, &err);
    vs_last_words_phase("rendering");
    if (rc == VS_OK)
        rc = serve(&l, &err);
    vs_buf_clear(&l.in);
    if (rc != VS_OK)
        vs_last_words_say(err.code, err.text);
    return vs_status_exit(rc);
}
