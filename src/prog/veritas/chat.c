/* prog/veritas/chat.c - `veritas chat`: a conversation, line by line.
 *
 * The conversation is a JSON list of messages kept here; each turn sends it whole, and the worker finds the part it has
 * in its cache already. On a terminal lines are edited (editor.h) and remembered (history.h).
 */
#include "prog/veritas/chat.h"
#include "prog/veritas/command.h"
#include "prog/veritas/output.h"
#include "prog/veritas/receipts.h"

#include "base/buf.h"
#include "base/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TURN_LIMIT (8u << 20)

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

/* One turn: a line, with \ at its end a line more, or a text between """ and """. A line that was pasted, or comes from the
 * history, may have several lines: it is the turn as it is. *ret_open: the input ended within a text between """. */
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
        bool is_whole = memchr(s, '\n', n) != NULL;
        if (!quoted && !is_whole && first && n >= 3 && memcmp(s, "\"\"\"", 3) == 0) {
            quoted = true;
            s += 3;
            n -= 3;
        }
        const char *end = quoted ? memmem(s, n, "\"\"\"", 3) : NULL;
        bool goes_on = !quoted && !is_whole && n > 0 && s[n - 1] == '\\';
        if (goes_on)
            n--;
        vs_buf_add(turn, s, end ? (size_t)(end - s) : n);
        if (end)
            vs_buf_add(turn, end + 3, n - (size_t)(end + 3 - s));
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

void vs_chat_begin(struct chat *c, const char *system)
{
    json_array_clear(c->messages);
    c->again = 0;
    if (system && system[0])
        json_array_append_new(c->messages, json_pack("{s:s, s:s}", "role", "system", "content", system));
}

static int take_token(void *context, const struct vs_event *e)
{
    struct chat *c = context;
    if (e->kind != VS_MSG_TOKEN || e->n == 0)
        return VS_OK;
    enum vs_reasoning how = vs_reasoning_wanted(&c->args);
    if (e->part == VS_PART_REASONING)
        return vs_reasoning_show(how, e->text, e->n);
    vs_reasoning_end(how);
    vs_buf_add(&c->shown, e->text, e->n);
    int rc = vs_answer(e->text, e->n);
    return rc == VS_OK ? vs_answer_flush() : rc;
}

/* The options of a request, with the seed moved on for an answer that is made anew. */
static int make_request(struct chat *c, json_t *request)
{
    json_t *sampling;
    int rc = vs_args_json(&c->args, "", request);
    json_object_del(request, "system");
    if (rc != VS_OK || json_object_set(request, "messages", c->messages) < 0 ||
        (c->documents && json_object_set(request, "documents", c->documents) < 0))
        return VS_E_NOMEM;
    if (vs_reasoning_wanted(&c->args) != VS_REASONING_RAW)
        json_object_set_new(request, "parts", json_true());
    if (vs_args_given(&c->args, VS_OPT_RECEIPT))
        json_object_set_new(request, "receipt", json_integer(vs_args_int(&c->args, VS_OPT_RECEIPT_LEVEL)));
    if (c->again == 0)
        return VS_OK;
    int64_t seed = vs_args_int(&c->args, VS_OPT_SEED);
    seed = seed <= INT64_MAX - c->again ? seed + c->again : c->again;
    if (!(sampling = json_object_get(request, "sampling")) &&
        json_object_set_new(request, "sampling", sampling = json_object()) < 0)
        return VS_E_NOMEM;
    if (vs_args_given(&c->args, VS_OPT_TEMP) && vs_args_float(&c->args, VS_OPT_TEMP) == 0)
        vs_note("at temperature 0 the answer is always the same (/set temp 0.8)");
    else
        vs_note("--seed %lld", (long long)seed);
    return json_object_set_new(sampling, "seed", json_integer(seed)) == 0 ? VS_OK : VS_E_NOMEM;
}

/* --receipt: the file has those of all answers at any time, of stopped ones too. */
static int save_receipts(struct chat *c, const json_t *result, struct vs_error *err)
{
    struct vs_output out = { .fd = -1, .stream = -1 };
    if (!vs_args_given(&c->args, VS_OPT_RECEIPT) || !vs_receipts_add(result, &c->receipts))
        return VS_OK;
    int rc = vs_output_open(&out, vs_args_text(&c->args, VS_OPT_RECEIPT), VS_RECEIPTS_MODE, err);
    if (rc == VS_OK)
        rc = vs_receipts_save(&out, &c->receipts, err);
    if (rc == VS_OK && strcmp(vs_args_text(&c->args, VS_OPT_RECEIPT), "-") == 0)
        vs_buf_reset(&c->receipts);      /* what was printed is not printed again */
    vs_output_drop(&out);
    return rc;
}

int vs_chat_answer(struct chat *c, struct vs_error *err)
{
    struct vs_error why = { 0 };
    json_t *request = json_object(), *result = NULL;
    vs_buf_reset(&c->shown);
    int rc = make_request(c, request);
    if (rc == VS_OK)
        rc = vs_session_call(&c->session, VS_MSG_CHAT, request, -1, take_token, c, &result, err);
    else
        vs_error_set(err, rc, "out of memory");
    vs_reasoning_end(vs_reasoning_wanted(&c->args));
    if (c->shown.n > 0 && c->shown.data[c->shown.n - 1] != '\n')
        vs_answer("\n", 1);
    vs_answer_flush();
    bool whole = c->shown.status == VS_OK && vs_utf8_valid(c->shown.data, c->shown.n) == c->shown.n;
    if (whole && (rc == VS_OK || (rc == VS_E_CANCELLED && c->shown.n > 0)))
        json_array_append_new(c->messages, json_pack("{s:s, s:o}", "role", "assistant", "content",
                                                     json_stringn(c->shown.n ? c->shown.data : "", c->shown.n)));
    if (save_receipts(c, result, &why) != VS_OK && rc == VS_OK)
        rc = vs_error_set(err, why.code, "%s", why.text);
    if (rc == VS_OK)
        vs_session_remarks(&c->session, request, result, vs_is_blank(c->shown.data, c->shown.n));
    if (rc == VS_OK && vs_args_given(&c->args, VS_OPT_TIMINGS))
        vs_timings_print(result);
    json_decref(result);
    json_decref(request);
    return rc;
}

/* Says something and gets its answer. What failed was never said. */
static int say(struct chat *c, const struct vs_buf *turn, struct vs_error *err)
{
    size_t n = json_array_size(c->messages);
    int rc = vs_text_check("the text", turn->data, turn->n, err);
    if (rc != VS_OK)
        return rc;
    json_array_append_new(c->messages, json_pack("{s:s, s:o}", "role", "user", "content", json_stringn(turn->data, turn->n)));
    c->again = 0;
    rc = vs_chat_answer(c, err);
    if (json_array_size(c->messages) == n + 1)
        json_array_remove(c->messages, n);
    return rc;
}

/* Errors after which the next turn may go well: a terminal's user can mend the others' cause, too. */
static bool can_go_on(const struct chat *c, int rc)
{
    return c->editor && rc != VS_E_PROTOCOL && rc != VS_E_SYSTEM && rc != VS_E_NOMEM;
}

/* A model without a template cannot talk: better said before the first line is written. */
static int check_template(struct chat *c, struct vs_error *err)
{
    char model[sizeof c->session.model];
    json_t *loaded = NULL;
    snprintf(model, sizeof model, "%s", c->session.model);
    int rc = vs_session_load(&c->session, model, NULL, &loaded, err);
    if (rc == VS_OK && json_is_false(json_object_get(json_object_get(loaded, "facts"), "chat_template")))
        rc = vs_error_set(err, VS_E_UNSUPPORTED, "%s has no chat template, so it cannot talk; `veritas run -m %s` completes a text",
                          model, model);
    json_decref(loaded);
    return rc;
}

/* One turn, spoken or a command. False when there is none after it; *ret_status then says how it ended. */
static bool turn(struct chat *c, struct vs_buf *text, int *ret_status)
{
    struct vs_error err = { 0 };
    bool open = false, is_command = false;
    int rc = VS_OK;
    enum vs_line got = read_turn(c, text, &open);
    if (open) {                          /* half a text is not what was meant */
        vs_error_set(&err, VS_E_INVALID,
                     "the input ends within a text that \"\"\" began; it was not sent (another \"\"\" ends it)");
        *ret_status = vs_fail(&err);
        return false;
    }
    if (got == VS_LINE_END || (got == VS_LINE_NONE && !c->editor)) {
        *ret_status = got == VS_LINE_NONE ? 6 : 0;
        return false;
    }
    if (got == VS_LINE_NONE || (text->n == 0 && text->status == VS_OK))
        return true;
    if (text->status != VS_OK) {         /* never a part of what was said */
        rc = vs_error_set(&err, text->status, "a text longer than %u MiB cannot be one turn", TURN_LIMIT >> 20);
    } else if (text->data[0] == '/' && !memchr(text->data, '\n', text->n)) {
        is_command = true;
        rc = vs_chat_command(c, text->data, &err);
    } else {
        rc = say(c, text, &err);
    }
    if (vs_session_interrupts() >= VS_SESSION_TERMINATED) {
        *ret_status = 6;
        return false;
    }
    if (rc == VS_E_CANCELLED && c->editor)
        vs_say("stopped");
    else if (rc != VS_OK)
        *ret_status = vs_fail(&err);
    if (rc != VS_OK && !(is_command ? c->editor != NULL : can_go_on(c, rc)))
        return false;
    *ret_status = 0;
    return !c->leave;
}

static void talk(struct chat *c, int *ret_status)
{
    struct vs_error err = { 0 };
    struct vs_buf text = { .limit = TURN_LIMIT };
    if (vs_args_given(&c->args, VS_OPT_SYSTEM))
        vs_chat_begin(c, vs_args_text(&c->args, VS_OPT_SYSTEM));
    if (isatty(0)) {
        if (!vs_args_given(&c->args, VS_OPT_NO_HISTORY) && vs_history_open(&c->history, &err) != VS_OK)
            vs_fail(&err);
        c->editor = vs_editor_open(&c->history, vs_chat_complete, c);
        if (!vs_is_quiet())
            fprintf(stderr, "%s - /help for the commands, Ctrl-D to leave\n", vs_shown(c->session.model).text);
    }
    while (turn(c, &text, ret_status))
        ;
    vs_editor_close(c->editor);
    vs_buf_clear(&text);
}

/* Better known before the first line is written. */
static int check_receipt(const struct vs_args *args, struct vs_error *err)
{
    struct vs_output out = { .fd = -1, .stream = -1 };
    if (!vs_args_given(args, VS_OPT_RECEIPT))
        return VS_OK;
    int rc = vs_output_open(&out, vs_args_text(args, VS_OPT_RECEIPT), VS_RECEIPTS_MODE, err);
    vs_output_drop(&out);
    return rc;
}

int vs_command_chat(const struct vs_args *args)
{
    struct vs_error err = { 0 };
    if (!vs_args_given(args, VS_OPT_RECEIPT) && vs_args_given(args, VS_OPT_RECEIPT_LEVEL))
        return vs_usage("chat", "--receipt-level needs --receipt");
    struct chat c = { .messages = json_array(), .shown.limit = TURN_LIMIT };
    int status = 0, rc = vs_args_copy(&c.args, args);
    if (rc != VS_OK)
        vs_error_set(&err, rc, "out of memory");
    else if ((rc = check_receipt(args, &err)) == VS_OK && (rc = vs_documents_read(args, &c.documents, &err)) == VS_OK &&
             (rc = vs_session_open(&c.session, args, vs_args_text(args, VS_OPT_MODEL), 0, &err)) == VS_OK &&
             (c.session.when_full = "/clear forgets what was said") && (rc = check_template(&c, &err)) == VS_OK) {
        vs_seed_print(args);
        talk(&c, &status);
    }
    vs_session_close(&c.session);
    vs_buf_clear(&c.shown);
    vs_buf_clear(&c.receipts);
    vs_args_clear(&c.args);
    json_decref(c.messages);
    json_decref(c.documents);
    return rc != VS_OK ? vs_fail(&err) : status ? status : vs_status_exit(c.unsaved);
}
