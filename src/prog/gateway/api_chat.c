/* prog/gateway/api_chat.c - POST /v1/chat/completions and /v1/chat/completions/input_tokens, as OpenAI's clients speak them. */
#include "prog/gateway/api_answer.h"
#include "prog/gateway/api_read.h"
#include "prog/gateway/api_routes.h"

#include "ipc/json.h"
#include "ipc/message.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct chat {
    struct gw_answer answer;
    struct gw_usage usage;
    struct vs_buf head;                 /* of a stream: how each chunk begins, without its end */
    bool include_usage;
};

/* ---- messages ---- */

/* A list of parts, of which only text has a meaning here: the daemon takes it in the same form. */
static int read_parts(struct gw_reading *r, size_t message, const json_t *parts, json_t **ret)
{
    char at[64];
    size_t k;
    const json_t *part;
    json_t *list = json_array();
    json_array_foreach(parts, k, part) {
        const json_t *type = json_object_get(part, "type");
        bool is_refusal = gw_is(type, "refusal");
        json_t *text = json_object_get(part, is_refusal ? "refusal" : "text");
        if ((gw_is(type, "text") || is_refusal) && json_is_string(text)) {
            json_t *copy = json_pack("{s:s, s:O}", "type", "text", "text", text);
            gw_copy_zone(copy, part);
            json_array_append_new(list, copy);
            continue;
        }
        json_decref(list);
        snprintf(at, sizeof at, "messages[%zu].content[%zu]", message, k);
        if (json_is_string(type) && !gw_is(type, "text") && !is_refusal)
            return gw_refuse_at(r, at, "unsupported_value", "parts of type text are read; images, sound and files are not");
        return gw_refuse_at(r, at, "invalid_value", "{\"type\": \"text\", \"text\": string} is needed");
    }
    *ret = list;
    return VS_OK;
}

/* What a client got from us and sends back, and what says nothing: not for the template. */
static void drop_marks(json_t *message)
{
    static const char *const names[] = { "refusal", "annotations", "audio", "function_call" };
    const char *name;
    json_t *v;
    void *next;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        json_object_del(message, names[i]);
    json_object_foreach_safe(message, next, name, v)
        if (json_is_null(v))
            json_object_del(message, name);
    json_t *reasoning = json_object_get(message, "reasoning");
    if (json_is_string(reasoning) && !json_object_get(message, "reasoning_content"))
        json_object_set(message, "reasoning_content", reasoning);
    json_object_del(message, "reasoning");
    if (gw_is(json_object_get(message, "role"), "developer"))
        json_object_set_new(message, "role", json_string("system"));
}

static int read_message(struct gw_reading *r, size_t i, const json_t *message, json_t **ret)
{
    char at[64];
    const json_t *role = json_object_get(message, "role"), *content = json_object_get(message, "content");
    const json_t *old = json_object_get(message, "function_call"), *audio = json_object_get(message, "audio");
    snprintf(at, sizeof at, "messages[%zu]", i);
    if (!json_is_object(message) || !json_is_string(role))
        return gw_refuse_at(r, at, "invalid_value", "an object with a role is needed");
    if ((old && !json_is_null(old)) || gw_is(role, "function"))
        return gw_refuse_at(r, at, "unsupported_value", "function_call is the old form: use tool_calls and the role tool");
    if (audio && !json_is_null(audio))
        return gw_refuse_at(r, at, "unsupported_value", "sound is not read");
    if (content && !json_is_null(content) && !json_is_string(content) && !json_is_array(content))
        return gw_refuse_at(r, at, "invalid_value", "content must be a string or a list of parts");
    if ((!content || json_is_null(content)) && (gw_is(role, "user") || gw_is(role, "system") || gw_is(role, "developer")))
        return gw_refuse_at(r, at, "missing_required_parameter", "content is needed");
    json_t *copy = json_copy((json_t *)(uintptr_t)message), *parts = NULL;
    if (json_is_array(content)) {
        int rc = read_parts(r, i, content, &parts);
        if (rc != VS_OK) {
            json_decref(copy);
            return rc;
        }
        json_object_set_new(copy, "content", parts);
    }
    drop_marks(copy);
    if (!json_object_get(copy, "content") && !json_object_get(copy, "tool_calls"))
        json_object_set_new(copy, "content", json_string(""));
    *ret = copy;
    return VS_OK;
}

static int read_messages(struct gw_reading *r, const json_t *v)
{
    size_t i;
    const json_t *message;
    json_t *list = json_array(), *one = NULL;
    int rc = VS_OK;
    if (!json_is_array(v) || json_array_size(v) == 0)
        rc = gw_refuse(r, "invalid_value", "a list of at least one message is needed");
    json_array_foreach(v, i, message) {
        if (rc == VS_OK && (rc = read_message(r, i, message, &one)) == VS_OK)
            json_array_append_new(list, one);
    }
    if (rc == VS_OK)
        return gw_put(r, "messages", list);
    json_decref(list);
    return rc;
}

/* ---- other fields ---- */

static int read_top_logprobs(struct gw_reading *r, const json_t *v)
{
    return gw_need_int(r, v, 0, 100, &r->top_logprobs);
}

static int read_continue(struct gw_reading *r, const json_t *v)
{
    return gw_need_flag(r, v, &r->goes_on);
}

static int read_modalities(struct gw_reading *r, const json_t *v)
{
    if (json_is_array(v) && json_array_size(v) == 1 && gw_is(json_array_get(v, 0), "text"))
        return VS_OK;
    return gw_refuse(r, "unsupported_value", "only [\"text\"] is supported");
}

/* A template sees of them what it knows: not `strict`, which is meant for the server (strict_calls). So a prompt is the same
 * through every API. */
static int read_tool(struct gw_reading *r, size_t i, const json_t *tool)
{
    static const char *const known[] = { "type", "function", "cache_control", NULL };
    char at[64];
    snprintf(at, sizeof at, "tools[%zu].type", i);
    if (!gw_is(json_object_get(tool, "type"), "function"))
        return gw_skip_tool(r, at, json_object_get(tool, "type"));
    snprintf(at, sizeof at, "tools[%zu].function", i);
    gw_ignore_others(r, tool, "tools.", known);
    return gw_read_tool(r, at, json_object_get(tool, "function"), "parameters", "tools.function.");
}

int gw_read_tools(struct gw_reading *r, const json_t *v)
{
    return gw_read_list(r, v, read_tool);
}

static int read_tool_choice(struct gw_reading *r, const json_t *v)
{
    return gw_read_choice(r, v, "function", "allowed_tools");
}

static const struct gw_field fields[] = {
    { "messages", GW_READ, NULL, read_messages },
    { "max_completion_tokens", GW_MAP, "max_tokens", NULL },
    { "max_tokens", GW_MAP, "max_tokens", NULL },
    { "logprobs", GW_READ, NULL, gw_read_logprobs },
    { "top_logprobs", GW_READ, NULL, read_top_logprobs },
    { "response_format", GW_READ, NULL, gw_read_format },
    { "tools", GW_READ, NULL, gw_read_tools },
    { "tool_choice", GW_READ, NULL, read_tool_choice },
    { "reasoning_effort", GW_READ, NULL, gw_read_effort },
    { "prediction", GW_MUTE, NULL, NULL },
    { "verbosity", GW_HINT, "\"medium\"", NULL },
    { "add_generation_prompt", GW_MUTE, NULL, NULL },        /* checked against continue_final_message below */
    { "continue_final_message", GW_READ, NULL, read_continue },
    { "modalities", GW_READ, NULL, read_modalities },
    { "audio", GW_NEVER, "answers are text", NULL },
    { "functions", GW_NEVER, "use tools", NULL },
    { "function_call", GW_NEVER, "use tool_choice", NULL },
    { "web_search_options", GW_NEVER, "nothing here searches the web", NULL },
    { NULL, 0, NULL, NULL },
};
static const struct gw_field *const tables[] = {
    fields, gw_fields_openai, gw_fields_openai_chat, gw_fields_chat, gw_fields_sampling, gw_fields_constraint, NULL,
};

static const json_t *last_of(const struct gw_reading *r)
{
    const json_t *list = json_object_get(r->request, "messages");
    return json_array_get(list, json_array_size(list) - 1);
}

int gw_read_chat(struct gw_reading *r)
{
    const json_t *adds = json_object_get(r->http->body, "add_generation_prompt");
    int rc = gw_read_fields(r, r->http->body, "", tables);
    if (rc == VS_OK)
        rc = gw_require(r, "messages", "messages");
    if (rc == VS_OK && adds && !json_is_null(adds) && json_is_true(adds) == r->goes_on)
        rc = gw_refuse_at(r, "add_generation_prompt", "unsupported_value", "only %s is supported %s continue_final_message",
                          r->goes_on ? "false" : "true", r->goes_on ? "with" : "without");
    if (rc == VS_OK && r->goes_on) {
        r->name = "continue_final_message";
        rc = gw_is(json_object_get(last_of(r), "role"), "assistant") ? gw_read_begun(r, json_object_get(r->request, "messages"))
            : gw_refuse(r, "invalid_value", "the last message must be an assistant's");
    }
    if (rc == VS_OK)
        rc = gw_settle_tools(r);
    return rc == VS_OK ? gw_read_end(r) : rc;
}

static json_t *head(const struct gw_call *call, const char *object)
{
    return json_pack("{s:o, s:s, s:I, s:s}", "id", gw_id(call, "chatcmpl-", 0), "object", object, "created",
                     (json_int_t)call->created, "model", call->model);
}

static int chat_begin(struct gw_call *call, const struct gw_http *http, struct gw_error *err)
{
    struct gw_reading r;
    struct chat *chat = call->state = calloc(1, sizeof *chat);
    int rc = gw_begin_answer(&r, call, http, err, gw_read_chat, chat ? &chat->answer : NULL);
    if (rc == VS_OK) {
        chat->answer.keeps_logprobs = !r.stream;
        chat->include_usage = r.include_usage;
        gw_value(&chat->head, head(call, "chat.completion.chunk"));
        chat->head.n -= chat->head.n > 0;           /* its closing brace */
    }
    gw_reading_clear(&r);
    return rc;
}

/* ---- answers ---- */

static json_t *call_id(const struct gw_call *call, size_t choice, uint32_t part)
{
    return gw_id(call, "call_", choice * 1000 + part - VS_PART_CALL + 1);
}

/* A chunk is written, not packed, but for what changes: this is done for every token. Between _begin and _end: its delta. */
static void begin_chunk(const struct gw_call *call, size_t index, const json_t *fingerprint, struct vs_buf *out)
{
    const struct chat *chat = call->state;
    vs_buf_str(out, "data: ");
    vs_buf_add(out, chat->head.data, chat->head.n);
    if (fingerprint) {
        vs_buf_str(out, ",\"system_fingerprint\":");
        gw_value(out, json_incref((json_t *)(uintptr_t)fingerprint));
    }
    vs_buf_printf(out, ",\"choices\":[{\"index\":%zu,\"delta\":", index);
}

static void end_chunk(const struct gw_call *call, json_t *logprobs, const char *finish, struct vs_buf *out)
{
    const struct chat *chat = call->state;
    vs_buf_str(out, ",\"logprobs\":");
    gw_value(out, logprobs ? logprobs : json_null());
    vs_buf_str(out, ",\"finish_reason\":");
    gw_value(out, finish ? json_string(finish) : json_null());
    vs_buf_str(out, chat->include_usage ? "}],\"usage\":null}\n\n" : "}]}\n\n");
}

static void send_chunk(const struct gw_call *call, size_t index, json_t *delta, json_t *logprobs, const char *finish,
                       const json_t *fingerprint, struct vs_buf *out)
{
    begin_chunk(call, index, fingerprint, out);
    gw_value(out, delta);
    end_chunk(call, logprobs, finish, out);
}

static void send_text(const struct gw_call *call, const struct gw_change *e, json_t *logprobs, struct vs_buf *out)
{
    begin_chunk(call, e->index, NULL, out);
    vs_buf_str(out, e->piece->part == VS_PART_REASONING ? "{\"reasoning_content\":" : "{\"content\":");
    gw_value(out, vs_json_text(e->text, e->n));
    vs_buf_char(out, '}');
    end_chunk(call, logprobs, NULL, out);
}

static void begin_choice(const struct gw_call *call, struct gw_choice *c, size_t index, struct vs_buf *out)
{
    if (!c->has_begun)
        send_chunk(call, index, json_pack("{s:s, s:s}", "role", "assistant", "content", ""), NULL, NULL, NULL, out);
    c->has_begun = true;
}

static json_t *call_delta(const struct gw_call *call, size_t index, const struct gw_piece *p, bool is_named, const char *text,
                          size_t n)
{
    json_t *function = json_object(), *one = json_pack("{s:I}", "index", (json_int_t)(p->part - VS_PART_CALL));
    if (is_named) {
        json_object_set_new(one, "id", call_id(call, index, p->part));
        json_object_set_new(one, "type", json_string("function"));
        json_object_set_new(function, "name", vs_json_text(p->name.data, p->name.n));
    }
    json_object_set_new(function, "arguments", vs_json_text(text, n));
    json_object_set_new(one, "function", function);
    return json_pack("{s:[o]}", "tool_calls", one);
}

static void chat_token(struct gw_call *call, const struct gw_token *t, struct vs_buf *out)
{
    struct chat *chat = call->state;
    struct gw_change e;
    gw_answer_take(&chat->answer, t->index, t, &e);
    json_t *logprobs = e.logprob ? json_pack("{s:[o], s:n}", "content", e.logprob, "refusal") : NULL;
    if (!call->stream || !e.piece) {
        json_decref(logprobs);
        return;
    }
    begin_choice(call, e.choice, e.index, out);
    uint32_t part = e.piece->part;
    if (part >= VS_PART_CALL && e.piece->has_name)
        send_chunk(call, e.index, call_delta(call, e.index, e.piece, e.is_named, e.text, e.n), logprobs, NULL, NULL, out);
    else if (part < VS_PART_CALL)
        send_text(call, &e, logprobs, out);
    else
        json_decref(logprobs);
}

/* A call whose name the end cut off: the last piece of a choice, if any. */
static const struct gw_piece *cut_call(const struct gw_choice *c)
{
    const struct gw_piece *p = c->n_pieces ? &c->pieces[c->n_pieces - 1] : NULL;
    return p && p->part >= VS_PART_CALL && !p->has_name && p->name.n ? p : NULL;
}

static void end_stream(struct gw_call *call, const json_t *result, struct vs_buf *out)
{
    struct chat *chat = call->state;
    json_t *fingerprint = gw_fingerprint(result);
    for (size_t i = 0; i < chat->answer.n; i++) {
        struct gw_choice *c = &chat->answer.choices[i];
        const struct gw_piece *cut = cut_call(c);
        begin_choice(call, c, i, out);
        if (cut)
            send_chunk(call, i, call_delta(call, i, cut, true, "", 0), NULL, NULL, NULL, out);
        send_chunk(call, i, json_object(), NULL, gw_finish_of(result, i), fingerprint, out);
    }
    if (chat->include_usage) {
        json_t *chunk = head(call, "chat.completion.chunk");
        json_object_set(chunk, "system_fingerprint", fingerprint);
        json_object_set_new(chunk, "choices", json_array());
        json_object_set_new(chunk, "usage", gw_usage_openai(&chat->usage));
        gw_event(out, NULL, chunk);
    }
    json_t *receipts = json_object();
    gw_add_receipts(receipts, result);
    if (json_object_size(receipts)) {
        json_t *chunk = head(call, "chat.completion.chunk");
        json_object_set_new(chunk, "choices", json_array());
        json_object_update(chunk, receipts);
        gw_event(out, NULL, chunk);
    }
    json_decref(receipts);
    json_decref(fingerprint);
    vs_buf_str(out, "data: [DONE]\n\n");
}

static json_t *whole_message(const struct gw_call *call, size_t index, const struct gw_choice *c, json_t **ret_logprobs)
{
    struct vs_buf content = { 0 }, reasoning = { 0 };
    json_t *calls = json_array(), *logprobs = NULL;
    gw_choice_join(c, VS_PART_CONTENT, &content);
    gw_choice_join(c, VS_PART_REASONING, &reasoning);
    for (size_t i = 0; i < c->n_pieces; i++) {
        const struct gw_piece *p = &c->pieces[i];
        if (p->logprobs) {
            logprobs = logprobs ? logprobs : json_array();
            json_array_extend(logprobs, p->logprobs);
        }
        if (p->part >= VS_PART_CALL && p->name.n)
            json_array_append_new(calls, json_pack("{s:o, s:s, s:{s:o, s:o}}", "id", call_id(call, index, p->part), "type",
                                                   "function",
                                                   "function", "name", vs_json_text(p->name.data, p->name.n), "arguments",
                                                   vs_json_text(p->text.data, p->text.n)));
    }
    bool has_calls = json_array_size(calls) > 0;
    json_t *message = json_pack("{s:s, s:o, s:n}", "role", "assistant", "content",
                                has_calls && !content.n ? json_null() : vs_json_text(content.data, content.n), "refusal");
    if (reasoning.n)
        json_object_set_new(message, "reasoning_content", vs_json_text(reasoning.data, reasoning.n));
    if (has_calls)
        json_object_set(message, "tool_calls", calls);
    json_decref(calls);
    vs_buf_clear(&content);
    vs_buf_clear(&reasoning);
    *ret_logprobs = logprobs;
    return message;
}

static void end_whole(struct gw_call *call, const json_t *result, struct vs_buf *out)
{
    struct chat *chat = call->state;
    json_t *choices = json_array();
    for (size_t i = 0; i < chat->answer.n; i++) {
        json_t *logprobs, *message = whole_message(call, i, &chat->answer.choices[i], &logprobs);
        json_array_append_new(choices, json_pack("{s:I, s:o, s:o, s:s}", "index", (json_int_t)i, "message", message, "logprobs",
                                                 logprobs ? json_pack("{s:o, s:n}", "content", logprobs, "refusal") : json_null(),
                                                 "finish_reason", gw_finish_of(result, i)));
    }
    json_t *body = head(call, "chat.completion");
    json_object_set_new(body, "system_fingerprint", gw_fingerprint(result));
    json_object_set_new(body, "choices", choices);
    json_object_set_new(body, "usage", gw_usage_openai(&chat->usage));
    gw_add_receipts(body, result);
    gw_value(out, body);
}

static void chat_done(struct gw_call *call, size_t ask, const json_t *result, struct vs_buf *out)
{
    struct chat *chat = call->state;
    (void)ask;
    gw_usage_add(&chat->usage, result, &chat->answer);
    if (chat->answer.status != VS_OK)
        out->status = chat->answer.status;
    else if (call->stream)
        end_stream(call, result, out);
    else
        end_whole(call, result, out);
}

void gw_fail_openai(struct gw_call *call, const struct gw_error *err, bool begun, struct vs_buf *out)
{
    (void)call;
    if (begun)
        vs_buf_str(out, "data: ");
    gw_error_write(err, out);
    if (begun)
        vs_buf_str(out, "\n\n");
}

static void chat_clear(struct gw_call *call)
{
    struct chat *chat = call->state;
    if (!chat)
        return;
    gw_answer_clear(&chat->answer);
    vs_buf_clear(&chat->head);
    free(chat);
}

const struct gw_api gw_api_chat = {
    .begin = chat_begin, .token = chat_token, .ping = gw_comment, .done = chat_done, .fail = gw_fail_openai, .clear = chat_clear,
    .stream_type = "text/event-stream",
};

/* ---- counting ---- */

static int count_begin(struct gw_call *call, const struct gw_http *http, struct gw_error *err)
{
    return gw_begin_count(call, http, err, gw_read_chat);
}

void gw_done_input_tokens(struct gw_call *call, size_t ask, const json_t *result, struct vs_buf *out)
{
    (void)call;
    (void)ask;
    gw_value(out, json_pack("{s:s, s:I}", "object", "response.input_tokens", "input_tokens",
                            json_integer_value(json_object_get(result, "n"))));
}

const struct gw_api gw_api_chat_tokens = {
    .begin = count_begin, .done = gw_done_input_tokens, .fail = gw_fail_openai, .stream_type = "text/event-stream",
};
