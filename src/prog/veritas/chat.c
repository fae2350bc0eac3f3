/* prog/veritas/chat.c - `veritas chat`: a conversation, line by line.
 *
 * The conversation is a JSON list of messages kept here; each turn sends it whole, and the worker finds the part it has
 * in its cache already. On a terminal lines are edited (editor.h) and remembered (history.h).
 */
#include "prog/veritas/command.h"
#include "prog/veritas/editor.h"
#include "prog/veritas/history.h"
#include "prog/veritas/output.h"
#include "prog/veritas/session.h"

#include "base/buf.h"
#include "base/utf8.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TURN_LIMIT (8u << 20)

struct chat {
    const struct vs_args *args;
    struct vs_session session;
    json_t *messages;
    struct vs_editor *editor;            /* NULL: standard input is no terminal */
    struct vs_history history;
    struct vs_buf shown;                 /* of the answer that runs */
    int unsaved;                         /* exit status of the last /save when it failed */
    bool leave;
};

/* ---- reading ---- */

static enum vs_line read_line(struct chat *c, const char *prompt, struct vs_buf *line)
{
    int byte;
    if (c->editor)
        return vs_editor_line(c->editor, prompt, line);
    vs_buf_reset(line);
    vs_session_interrupts();
    while ((byte = getc(stdin)) != EOF) {
        vs_buf_char(line, (char)byte);
        if (byte == '\n')
            break;
    }
    if (byte == EOF && line->n == 0)
        return vs_session_interrupts() > 0 ? VS_LINE_NONE : VS_LINE_END;
    return VS_LINE;
}

/* One turn: a line, with \ at its end a line more, or a text between """ and """. *ret_open: the input ended within such a text. */
static enum vs_line read_turn(struct chat *c, struct vs_buf *turn, bool *ret_open)
{
    struct vs_buf line = { .limit = TURN_LIMIT };
    bool quoted = false, more = true, first = true;
    enum vs_line got = VS_LINE;
    vs_buf_reset(turn);
    while (more && (got = read_line(c, first ? "> " : "... ", &line)) == VS_LINE) {
        const char *s = line.data ? line.data : "";
        size_t n = line.n;
        if (line.status != VS_OK)
            turn->status = line.status;
        if (n > 0 && s[n - 1] == '\n')
            n--;
        if (n > 0 && s[n - 1] == '\r')
            n--;
        if (!quoted && first && n >= 3 && memcmp(s, "\"\"\"", 3) == 0) {
            quoted = true;
            s += 3;
            n -= 3;
        }
        const char *end = quoted ? memmem(s, n, "\"\"\"", 3) : NULL;
        if (end)
            n = (size_t)(end - s);
        bool goes_on = !quoted && n > 0 && s[n - 1] == '\\';
        if (goes_on)
            n--;
        vs_buf_add(turn, s, n);
        more = goes_on || (quoted && !end);
        if (more && !(quoted && first && n == 0))
            vs_buf_char(turn, '\n');
        first = false;
    }
    vs_buf_clear(&line);
    *ret_open = got == VS_LINE_END && quoted;
    if (got == VS_LINE_END && turn->n > 0 && !quoted)
        got = VS_LINE;
    if (got == VS_LINE && c->editor && turn->n > 0 && turn->status == VS_OK)
        vs_editor_remember(c->editor, turn->data, turn->n);
    return got;
}

/* ---- the conversation ---- */

static void begin(struct chat *c, const char *system)
{
    json_array_clear(c->messages);
    if (system && system[0])
        json_array_append_new(c->messages, json_pack("{s:s, s:s}", "role", "system", "content", system));
}

static const char *system_of(const struct chat *c)
{
    json_t *first = json_array_get(c->messages, 0);
    const char *role = json_string_value(json_object_get(first, "role"));
    return role && strcmp(role, "system") == 0 ? json_string_value(json_object_get(first, "content")) : NULL;
}

static void on_help(struct chat *c, const char *rest)
{
    (void)c;
    (void)rest;
    fprintf(stderr, "/clear        forget the conversation\n"
                    "/system TEXT  set the system message (and forget the conversation); without TEXT: show it\n"
                    "/save FILE    write the conversation as JSON\n"
                    "/quit         leave (so does Ctrl-D)\n"
                    "\"\"\" starts and ends a text of several lines; a \\ at the end of a line continues it; Ctrl-C stops an answer\n");
}

static void on_clear(struct chat *c, const char *rest)
{
    (void)rest;
    char *system = system_of(c) ? strdup(system_of(c)) : NULL;
    begin(c, system);
    free(system);
}

static void show_system(const char *text)
{
    vs_text_print(stderr, text, strlen(text), VS_TEXT_LINES);
    fputc('\n', stderr);
}

static void on_system(struct chat *c, const char *rest)
{
    if (rest[0])
        begin(c, rest);
    else
        show_system(system_of(c) ? system_of(c) : "(no system message)");
}

static void on_save(struct chat *c, const char *rest)
{
    struct vs_output file;
    struct vs_error err = { 0 };
    char *text = NULL;
    int rc;
    if (!rest[0]) {
        rc = vs_error_set(&err, VS_E_INVALID, "where to? /save FILE");
    } else if (!(text = json_dumps(c->messages, JSON_INDENT(2)))) {
        rc = vs_error_set(&err, VS_E_NOMEM, "out of memory: the conversation was not saved");
    } else if ((rc = vs_output_open(&file, rest, 0600, &err)) == VS_OK) {
        vs_output_write(&file, text, strlen(text));
        vs_output_write(&file, "\n", 1);
        rc = vs_output_commit(&file, &err);
    }
    free(text);
    c->unsaved = rc == VS_OK ? 0 : vs_fail(&err);
    if (rc == VS_OK)
        vs_say("%zu messages are in %s", json_array_size(c->messages), rest);
}

static void on_quit(struct chat *c, const char *rest)
{
    (void)rest;
    c->leave = true;
}

static const struct { const char *name; void (*run)(struct chat *c, const char *rest); } slash[] = {
    { "/help", on_help }, { "/clear", on_clear }, { "/system", on_system }, { "/save", on_save }, { "/quit", on_quit },
};

static void slash_command(struct chat *c, char *line)
{
    size_t word = strcspn(line, " \t");
    const char *rest = line + word + strspn(line + word, " \t");
    for (size_t i = 0; i < sizeof slash / sizeof *slash; i++)
        if (strlen(slash[i].name) == word && memcmp(line, slash[i].name, word) == 0) {
            slash[i].run(c, rest);
            return;
        }
    vs_say("unknown command %.*s; /help lists them (a line that should begin with / can begin with a blank)", (int)(word < 40 ? word : 40), line);
}

static int take_token(void *context, const struct vs_event *e)
{
    struct chat *c = context;
    if (e->kind != VS_MSG_TOKEN || e->n == 0)
        return VS_OK;
    vs_buf_add(&c->shown, e->text, e->n);
    int rc = vs_answer(e->text, e->n);
    return rc == VS_OK ? vs_answer_flush() : rc;
}

/* Asks and answers one turn. What was said of a stopped answer stays in the conversation; a turn that failed does not. */
static int answer(struct chat *c, const struct vs_buf *turn, struct vs_error *err)
{
    json_t *request = json_object(), *result = NULL;
    json_array_append_new(c->messages, json_pack("{s:s, s:o}", "role", "user", "content", json_stringn(turn->data, turn->n)));
    vs_buf_reset(&c->shown);
    int rc = vs_args_json(c->args, "", request);
    json_object_del(request, "system");
    if (rc == VS_OK && json_object_set(request, "messages", c->messages) == 0)
        rc = vs_session_call(&c->session, VS_MSG_CHAT, request, -1, take_token, c, &result, err);
    if (c->shown.n > 0 && c->shown.data[c->shown.n - 1] != '\n')
        putchar('\n');
    fflush(stdout);
    json_t *text = json_object_get(result, "text");
    if (rc == VS_OK && json_is_string(text))
        json_array_append_new(c->messages, json_pack("{s:s, s:O}", "role", "assistant", "content", text));
    else if (rc == VS_E_CANCELLED && c->shown.n > 0 && vs_utf8_valid(c->shown.data, c->shown.n) == c->shown.n)
        json_array_append_new(c->messages, json_pack("{s:s, s:o}", "role", "assistant", "content", json_stringn(c->shown.data, c->shown.n)));
    else
        json_array_remove(c->messages, json_array_size(c->messages) - 1);
    if (rc == VS_OK)
        vs_session_remarks(&c->session, request, result);
    if (rc == VS_OK && vs_args_given(c->args, VS_OPT_TIMINGS))
        vs_timings_print(result);
    json_decref(result);
    json_decref(request);
    return rc;
}

/* Errors after which the next turn may go well. */
static bool can_go_on(const struct chat *c, int rc)
{
    return c->editor && (rc == VS_E_CANCELLED || rc == VS_E_CONTEXT || rc == VS_E_TIMEOUT || rc == VS_E_BUSY || rc == VS_E_LIMIT || rc == VS_E_DIED);
}

/* A model without a template cannot talk: better said before the first line is written. */
static int check_template(struct chat *c, struct vs_error *err)
{
    char model[sizeof c->session.model];
    json_t *loaded = NULL;
    snprintf(model, sizeof model, "%s", c->session.model);
    int rc = vs_session_load(&c->session, model, NULL, &loaded, err);
    if (rc == VS_OK && json_is_false(json_object_get(json_object_get(loaded, "facts"), "chat_template")))
        rc = vs_error_set(err, VS_E_UNSUPPORTED, "%s has no chat template, so it cannot talk; `veritas run -m %s` completes a text", model, model);
    json_decref(loaded);
    return rc;
}

int vs_command_chat(const struct vs_args *args)
{
    struct vs_error err = { 0 };
    struct chat c = { .args = args, .messages = json_array(), .shown.limit = TURN_LIMIT };
    struct vs_buf turn = { .limit = TURN_LIMIT };
    int rc = vs_session_open(&c.session, args, vs_args_text(args, VS_OPT_MODEL), 0, &err), status = 0;
    if (rc != VS_OK) {
        json_decref(c.messages);
        return vs_fail(&err);
    }
    vs_seed_print(args);
    c.session.when_full = "/clear forgets what was said";
    if (check_template(&c, &err) != VS_OK) {
        json_decref(c.messages);
        vs_session_close(&c.session);
        return vs_fail(&err);
    }
    if (vs_args_given(args, VS_OPT_SYSTEM))
        begin(&c, vs_args_text(args, VS_OPT_SYSTEM));
    if (isatty(0)) {
        if (!vs_args_given(args, VS_OPT_NO_HISTORY) && vs_history_open(&c.history, &err) != VS_OK)
            vs_fail(&err);
        c.editor = vs_editor_open(&c.history);
        fprintf(stderr, "%s - /help for the commands, Ctrl-D to leave\n", vs_shown(c.session.model).text);
    }
    while (!c.leave && status == 0) {
        bool open = false;
        enum vs_line got = read_turn(&c, &turn, &open);
        if (open) {                      /* half a text is not what was meant */
            vs_error_set(&err, VS_E_INVALID, "the input ends within a text that \"\"\" began; it was not sent (another \"\"\" ends it)");
            status = vs_fail(&err);
            break;
        }
        if (got == VS_LINE_END || (got == VS_LINE_NONE && !c.editor)) {
            status = got == VS_LINE_NONE ? 6 : 0;
            break;
        }
        if (turn.status != VS_OK) {      /* never a part of what was said */
            vs_error_set(&err, turn.status, "a text longer than %u MiB cannot be one turn", TURN_LIMIT >> 20);
            status = vs_fail(&err);
            if (!c.editor)
                break;
            status = 0;
            continue;
        }
        if (got == VS_LINE_NONE || turn.n == 0)
            continue;
        if (turn.data[0] == '/' && !memchr(turn.data, '\n', turn.n)) {
            slash_command(&c, turn.data);
            if (c.unsaved && !c.editor)
                break;
            continue;
        }
        if ((rc = vs_text_check("the text", turn.data, turn.n, &err)) == VS_OK)
            rc = answer(&c, &turn, &err);
        if (vs_session_interrupts() >= VS_SESSION_TERMINATED) {
            status = 6;
            break;
        }
        if (rc == VS_OK)
            continue;
        if (rc == VS_E_CANCELLED && c.editor)
            vs_say("stopped");
        else if ((status = vs_fail(&err)) != 0 && can_go_on(&c, rc))
            status = 0;
    }
    vs_editor_close(c.editor);
    vs_session_close(&c.session);
    vs_buf_clear(&turn);
    vs_buf_clear(&c.shown);
    json_decref(c.messages);
    return status ? status : c.unsaved;
}
