/* prog/veritas/render.c - `veritas render`: what a model would read of a conversation.
 *
 * Of one conversation a private daemon is asked, as for `veritas tokenize`: the model's template and its vocabulary count. With
 * --lines no model is there: a locked-in child (worker/render.h) gets our standard input and output.
 */
#include "prog/veritas/command.h"
#include "prog/veritas/locked.h"
#include "prog/veritas/session.h"

#include "base/buf.h"
#include "ipc/json.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TEXT_LIMIT (15u << 20)

/* ---- lines ---- */

/* What the child answers, on to standard output as it comes: a locked-in process may write no file. */
static int pass_on(int pipe, struct vs_error *err)
{
    char block[1 << 16];
    ssize_t got;
    while ((got = read(pipe, block, sizeof block)) != 0) {
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 || vs_answer(block, (size_t)got) != 0 || vs_answer_flush() != VS_OK)
            return vs_answer_error(err);
    }
    return VS_OK;
}

static int render_lines(const struct vs_args *args, struct vs_error *err)
{
    char now[24];
    const char *path = vs_args_text(args, VS_OPT_FILE);
    bool is_file = path && strcmp(path, "-") != 0;
    const char *const words[] = { "veritas-worker", "--render", now, vs_args_given(args, VS_OPT_RUNS) ? "1" : "0", NULL };
    struct vs_locked child = { .words = words, .fd = { -1, 0, -1 }, .n_fds = 3, .words_at = 2 };
    int pipes[2];
    snprintf(now, sizeof now, "%lld", (long long)(vs_args_given(args, VS_OPT_NOW) ? vs_args_int(args, VS_OPT_NOW) : 0));
    if (is_file && (child.fd[1] = open(path, O_RDONLY | O_CLOEXEC)) < 0)
        return vs_error_set(err, errno == ENOENT ? VS_E_NOT_FOUND : VS_E_SYSTEM, "%s: %s", path, strerror(errno));
    int rc = pipe2(pipes, O_CLOEXEC) == 0 ? VS_OK : vs_error_set(err, VS_E_SYSTEM, "pipe: %s", strerror(errno));
    if (rc == VS_OK) {
        child.fd[0] = pipes[1];
        rc = vs_locked_start(&child, err);
        close(pipes[1]);
        if (rc == VS_OK) {
            struct vs_error why = { 0 };
            rc = pass_on(pipes[0], err);
            int ended = vs_locked_end(&child, rc != VS_OK, &why);
            if (rc == VS_OK && ended != VS_OK)
                rc = vs_error_set(err, ended, "%s", why.text);
        }
        close(pipes[0]);
    }
    if (is_file)
        close(child.fd[1]);
    return rc;
}

/* ---- one conversation ---- */

/* A list of messages, or an object with messages and what TOKENIZE takes beside them. */
static int read_conversation(const char *path, json_t *request, struct vs_error *err)
{
    static const char *const taken[] = { "messages", "tools", "documents", "template", "template_args", "now", NULL };
    char *text = NULL;
    size_t n = 0;
    json_t *read = NULL;
    struct vs_buf whole = { 0 };
    int rc = vs_text_read(path, TEXT_LIMIT, &text, &n, err);
    if (rc != VS_OK)
        return rc;
    bool is_list = n && text[strspn(text, " \t\r\n")] == '[';
    if (is_list)
        vs_buf_str(&whole, "{\"messages\":");
    vs_buf_add(&whole, text, n);
    if (is_list)
        vs_buf_char(&whole, '}');
    free(text);
    if (whole.status != VS_OK || !(read = vs_json_parse(whole.data, whole.n, err)))
        rc = whole.status != VS_OK ? vs_error_set(err, VS_E_NOMEM, "out of memory") : err->code;
    vs_buf_clear(&whole);
    const char *other = rc == VS_OK ? vs_json_other_key(read, taken) : NULL;
    if (other)
        rc = vs_error_set(err, VS_E_INVALID, "a conversation has messages, tools, documents, template, template_args and now; "
                          "not %.100s", other);
    if (rc == VS_OK && json_object_update(request, read) != 0)
        rc = vs_error_set(err, VS_E_NOMEM, "out of memory");
    if (rc == VS_OK && !json_is_array(json_object_get(request, "messages")))
        rc = vs_error_set(err, VS_E_INVALID, "a conversation is a list of messages, or an object with messages");
    json_decref(read);
    return rc;
}

static int read_template(const struct vs_args *args, json_t *request, struct vs_error *err)
{
    char *text = NULL;
    size_t n = 0;
    if (!vs_args_given(args, VS_OPT_TEMPLATE))
        return VS_OK;
    int rc = vs_text_read(vs_args_text(args, VS_OPT_TEMPLATE), TEXT_LIMIT, &text, &n, err);
    if (rc == VS_OK && (rc = vs_text_check("the template", text, n, err)) == VS_OK &&
        json_object_set_new(request, "template_text", json_stringn(text, n)) != 0)
        rc = vs_error_set(err, VS_E_NOMEM, "out of memory");
    free(text);
    return rc;
}

/* A line for each piece: who made it, and its bytes as JSON. */
static int print_runs(const char *text, size_t n, const json_t *runs, struct vs_error *err)
{
    struct vs_buf out = { 0 };
    size_t i, at = 0;
    const json_t *run;
    json_array_foreach(runs, i, run) {
        json_int_t bytes = json_integer_value(json_array_get(run, 0));
        if (bytes < 0 || (uint64_t)bytes > n - at)
            break;
        json_t *piece = vs_json_text(text + at, (size_t)bytes);
        char *line = json_dumps(piece, JSON_ENCODE_ANY);
        vs_buf_printf(&out, "%s %s\n", json_is_true(json_array_get(run, 1)) ? "template" : "input   ", line ? line : "");
        free(line);
        json_decref(piece);
        at += (size_t)bytes;
    }
    int rc = at != n ? vs_error_set(err, VS_E_UNSUPPORTED, "the guard changed the text, so that nobody knows whose byte is whose; "
                                    "see `veritas policy show`") : out.status;
    if (rc == VS_OK)
        vs_answer(out.data ? out.data : "", out.n);
    vs_buf_clear(&out);
    return rc;
}

static int print(const struct vs_args *args, const json_t *result, struct vs_error *err)
{
    const json_t *text = json_object_get(result, "text"), *runs = json_object_get(result, "runs");
    const char *notice = json_string_value(json_object_get(result, "notice"));
    if (notice)
        vs_note("%s", notice);
    if (vs_args_given(args, VS_OPT_JSON))
        return vs_answer_json(result, JSON_COMPACT) == 0 ? VS_OK : vs_answer_error(err);
    if (vs_args_given(args, VS_OPT_RUNS))
        return print_runs(json_string_value(text), json_string_length(text), runs, err);
    vs_answer(json_string_value(text), json_string_length(text));
    if (isatty(1))
        vs_answer("\n", 1);
    return VS_OK;
}

static int render_one(const struct vs_args *args, struct vs_error *err)
{
    struct vs_session s = { 0 };
    json_t *request = json_object(), *result = NULL;
    int rc = read_conversation(vs_args_text(args, VS_OPT_FILE), request, err);
    if (rc == VS_OK)
        rc = read_template(args, request, err);
    if (rc == VS_OK && (vs_args_json(args, "", request) != VS_OK || json_object_set_new(request, "render", json_true()) != 0))
        rc = vs_error_set(err, VS_E_NOMEM, "out of memory");
    if (rc == VS_OK && (rc = vs_session_open(&s, args, vs_args_text(args, VS_OPT_MODEL), VS_SESSION_INSPECT, err)) == VS_OK)
        rc = vs_session_call(&s, VS_MSG_TOKENIZE, request, -1, NULL, NULL, &result, err);
    if (rc == VS_OK)
        rc = print(args, result, err);
    json_decref(result);
    json_decref(request);
    vs_session_close(&s);
    return rc;
}

int vs_command_render(const struct vs_args *args)
{
    static const enum vs_option_id of_one[] = { VS_OPT_MODEL, VS_OPT_TEMPLATE, VS_OPT_JSON, VS_OPT_CHAT_TEMPLATE,
                                                VS_OPT_TEMPLATE_ARG };
    struct vs_error err = { 0 };
    bool lines = vs_args_given(args, VS_OPT_LINES);
    if (args->option[VS_OPT_FILE].n > 1)
        return vs_usage("render", "one --file");
    for (size_t i = 0; lines && i < sizeof of_one / sizeof *of_one; i++)
        if (vs_args_given(args, of_one[i]))
            return vs_usage("render", "--%s is for one conversation: each line has its own template and context",
                            vs_options[of_one[i]].name);
    int rc = lines ? render_lines(args, &err) : render_one(args, &err);
    return rc == VS_OK ? 0 : vs_fail(&err);
}
