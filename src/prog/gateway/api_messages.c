/* prog/gateway/api_messages.c - POST /v1/messages and /v1/messages/count_tokens, as Anthropic's clients speak them.
 *
 * A message of theirs is a list of blocks; ours, as templates know them, are text, tool_calls and messages of the role tool:
 *
 *     assistant [thinking, text, tool_use]       -> assistant {reasoning_content, content, tool_calls}
 *     user      [tool_result, tool_result, text] -> tool, tool, user
 *
 * The answer goes the other way: a block for each piece, in the order in which they come.
 */
#include "prog/gateway/api_answer.h"
#include "prog/gateway/api_read.h"
#include "prog/gateway/api_routes.h"

#include "ipc/json.h"
#include "ipc/message.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ZONE_PLACE "zone is said of a message, its text blocks and tool results"

struct messages {
    struct gw_answer answer;
    struct gw_usage usage;
    bool has_begun, is_open;            /* of the stream: message_start was sent; a block has not ended */
};

/* ---- messages ---- */

static json_t *text_part(const json_t *block)
{
    json_t *part = json_pack("{s:s, s:O}", "type", "text", "text", json_object_get(block, "text"));
    gw_copy_zone(part, block);
    return part;
}

/* Content of a string or of a list of text blocks. */
static int read_text(struct gw_reading *r, const char *at, const json_t *v, json_t **ret)
{
    size_t i;
    const json_t *block;
    if (json_is_string(v)) {
        *ret = json_incref((json_t *)(uintptr_t)v);
        return VS_OK;
    }
    if (!json_is_array(v))
        return gw_refuse_at(r, at, "invalid_value", "a string or a list of blocks is needed");
    json_t *parts = json_array();
    json_array_foreach(v, i, block) {
        if (!gw_is(json_object_get(block, "type"), "text") || !json_is_string(json_object_get(block, "text"))) {
            json_decref(parts);
            return gw_refuse_at(r, at, "unsupported_value", "block %zu: only {\"type\": \"text\", \"text\": string} is read", i);
        }
        json_array_append_new(parts, text_part(block));
    }
    *ret = gw_content(parts);
    return VS_OK;
}

static int read_system(struct gw_reading *r, const json_t *v)
{
    json_t *text;
    int rc = read_text(r, "system", v, &text);
    if (rc == VS_OK && !json_is_string(text)) {
        json_decref(text);
        return gw_refuse(r, "unsupported_value", ZONE_PLACE);
    }
    return rc == VS_OK ? gw_put(r, "system", text) : rc;
}

/* A message that is being put together from blocks. */
struct making {
    json_t *list;                       /* all messages so far */
    struct vs_buf reasoning;
    json_t *parts, *calls;              /* texts; NULL: none */
    json_t *names;                      /* of the tools that were called, by the ids of the calls */
    const json_t *message;              /* theirs, for its zone */
};

static void flush(struct making *m, const json_t *role)
{
    if (!m->parts && !m->calls && !m->reasoning.n)
        return;
    json_t *message = json_pack("{s:O}", "role", role);
    if (m->parts || !m->calls)
        json_object_set_new(message, "content", m->parts ? gw_content(m->parts) : json_string(""));
    if (m->reasoning.n)
        json_object_set_new(message, "reasoning_content", vs_json_text(m->reasoning.data, m->reasoning.n));
    if (m->calls)
        json_object_set_new(message, "tool_calls", m->calls);
    gw_copy_zone(message, m->message);
    json_array_append_new(m->list, message);
    m->parts = m->calls = NULL;
    vs_buf_reset(&m->reasoning);
}

static void add_text(struct making *m, json_t *part)
{
    m->parts = m->parts ? m->parts : json_array();
    json_array_append_new(m->parts, part);
}

static int add_result(struct gw_reading *r, struct making *m, const char *at, const json_t *block)
{
    json_t *id = json_object_get(block, "tool_use_id"), *content = json_object_get(block, "content"), *text = NULL;
    int rc = VS_OK;
    if (!json_is_string(id))
        return gw_refuse_at(r, at, "invalid_value", "tool_use_id: a string is needed");
    if (content && !json_is_null(content))
        rc = read_text(r, at, content, &text);
    if (rc != VS_OK)
        return rc;
    json_t *message = json_pack("{s:s, s:o, s:O}", "role", "tool", "content", text ? text : json_string(""), "tool_call_id", id);
    json_t *name = json_object_getn(m->names, json_string_value(id), json_string_length(id));
    if (name)                           /* some templates show it beside the result */
        json_object_set(message, "name", name);
    gw_copy_zone(message, block);
    json_array_append_new(m->list, message);
    return VS_OK;
}

static int add_call(struct gw_reading *r, struct making *m, const char *at, const json_t *block)
{
    json_t *id = json_object_get(block, "id"), *name = json_object_get(block, "name"), *input = json_object_get(block, "input");
    if (!json_is_string(id) || !json_is_string(name) || !json_is_object(input))
        return gw_refuse_at(r, at, "invalid_value", "id, name (strings) and input (an object) are needed");
    struct vs_buf text = { 0 };
    vs_json_dump(input, &text);
    json_object_setn(m->names, json_string_value(id), json_string_length(id), name);
    m->calls = m->calls ? m->calls : json_array();
    json_array_append_new(m->calls, json_pack("{s:O, s:s, s:{s:O, s:o}}", "id", id, "type", "function", "function", "name", name,
                                              "arguments", vs_json_text(text.data, text.n)));
    vs_buf_clear(&text);
    return VS_OK;
}

/* A text that was retrieved, behind its title and what is said of it. */
static int add_document(struct gw_reading *r, struct making *m, const char *at, const json_t *block)
{
    static const char *const known[] = { "type", "source", "title", "context", "cache_control", NULL };
    const json_t *source = json_object_get(block, "source");
    const json_t *lines[] = { json_object_get(block, "title"), json_object_get(block, "context"), json_object_get(source, "data") };
    struct vs_buf text = { 0 };
    if (!gw_is(json_object_get(source, "type"), "text") || !json_is_string(lines[2]))
        return gw_refuse_at(r, at, "unsupported_value", "of documents only those with {\"source\": {\"type\": \"text\", \"data\": "
                            "string}} are read");
    for (size_t i = 0; i < 3; i++) {
        vs_buf_add(&text, json_string_value(lines[i]), json_string_length(lines[i]));
        if (i < 2 && json_string_length(lines[i]))
            vs_buf_char(&text, '\n');
    }
    gw_ignore_others(r, block, "document.", known);
    add_text(m, json_pack("{s:s, s:o, s:s}", "type", "text", "text", vs_json_text(text.data, text.n), "zone", "retrieved"));
    vs_buf_clear(&text);
    return VS_OK;
}

static int add_block(struct gw_reading *r, struct making *m, const char *at, const json_t *role, const json_t *block)
{
    const json_t *type = json_object_get(block, "type");
    const json_t *thinking = json_object_get(block, "thinking");
    bool is_assistant = gw_is(role, "assistant");
    if (json_object_get(block, "zone") && !gw_is(type, "tool_result") && !gw_is(type, "text"))
        return gw_refuse_at(r, at, "unsupported_value", ZONE_PLACE);
    if (gw_is(type, "text") && json_is_string(json_object_get(block, "text"))) {
        add_text(m, text_part(block));
        return VS_OK;
    }
    if (gw_is(type, "tool_result") && gw_is(role, "user")) {
        flush(m, role);
        return add_result(r, m, at, block);
    }
    if (gw_is(type, "tool_use") && is_assistant)
        return add_call(r, m, at, block);
    if (gw_is(type, "thinking") && is_assistant && json_is_string(thinking)) {
        vs_buf_add(&m->reasoning, json_string_value(thinking), json_string_length(thinking));
        return VS_OK;
    }
    if (gw_is(type, "redacted_thinking") && is_assistant)
        return VS_OK;
    if (gw_is(type, "document") && gw_is(role, "user"))
        return add_document(r, m, at, block);
    if (gw_is(type, "image"))
        return gw_refuse_at(r, at, "unsupported_value", "images are not read");
    return gw_refuse_at(r, at, "invalid_value", "blocks are text; of a user also document and tool_result; of an assistant "
                        "thinking and tool_use");
}

static int add_message(struct gw_reading *r, struct making *m, size_t i, const json_t *message)
{
    const json_t *role = json_object_get(message, "role"), *content = json_object_get(message, "content"), *block;
    char at[64];
    size_t k;
    int rc = VS_OK;
    snprintf(at, sizeof at, "messages.%zu", i);
    m->message = message;
    if (!gw_is(role, "user") && !gw_is(role, "assistant") && !gw_is(role, "system"))
        return gw_refuse_at(r, at, "invalid_value", "role: user, assistant or system is needed");
    if (json_is_string(content)) {
        add_text(m, json_pack("{s:s, s:O}", "type", "text", "text", content));
        flush(m, role);
        return VS_OK;
    }
    snprintf(at, sizeof at, "messages.%zu.content", i);
    if (!json_is_array(content))
        return gw_refuse_at(r, at, "invalid_value", "a string or a list of blocks is needed");
    json_array_foreach(content, k, block) {
        snprintf(at, sizeof at, "messages.%zu.content.%zu", i, k);
        if ((rc = add_block(r, m, at, role, block)) != VS_OK)
            return rc;
    }
    flush(m, role);
    return VS_OK;
}

static int read_messages(struct gw_reading *r, const json_t *v)
{
    struct making m = { .list = json_array(), .names = json_object() };
    size_t i, n = json_array_size(v);
    const json_t *message;
    int rc = n ? VS_OK : gw_refuse(r, "invalid_value", "a list of at least one message is needed");
    json_array_foreach(v, i, message)
        if (rc == VS_OK)
            rc = add_message(r, &m, i, message);
    if (rc == VS_OK && gw_is(json_object_get(json_array_get(v, n - 1), "role"), "assistant"))
        rc = gw_read_begun(r, m.list);
    json_decref(m.parts);
    vs_buf_clear(&m.reasoning);
    json_decref(m.calls);
    json_decref(m.names);
    if (rc == VS_OK)
        return gw_put(r, "messages", m.list);
    json_decref(m.list);
    return rc;
}

/* ---- other fields ---- */

static int read_tool(struct gw_reading *r, size_t i, const json_t *tool)
{
    const json_t *type = json_object_get(tool, "type"), *schema = json_object_get(tool, "input_schema");
    char at[64];
    snprintf(at, sizeof at, "tools.%zu", i);
    if (type && !json_is_null(type) && !gw_is(type, "custom"))
        return gw_skip_tool(r, at, type);
    if (!json_is_object(schema))
        return gw_refuse_at(r, at, "invalid_value", "input_schema: a JSON schema, an object, is needed");
    return gw_read_tool(r, at, tool, "input_schema", "tools.");
}

static int read_tools(struct gw_reading *r, const json_t *v)
{
    return gw_read_list(r, v, read_tool);
}

static int read_tool_choice(struct gw_reading *r, const json_t *v)
{
    const json_t *type = json_object_get(v, "type"), *name = json_object_get(v, "name");
    const json_t *alone = json_object_get(v, "disable_parallel_tool_use");
    int rc;
    if (gw_is(type, "tool") && json_is_string(name))
        rc = gw_put_choice(r, name);
    else if (gw_is(type, "auto") || gw_is(type, "none") || gw_is(type, "any"))
        rc = gw_put(r, "tool_choice", json_string(gw_is(type, "any") ? "required" : json_string_value(type)));
    else
        return gw_refuse(r, "unsupported_value", "{\"type\"} must be auto, any, none, or tool with a name");
    return rc == VS_OK && json_is_true(alone) ? gw_put(r, "parallel_tool_calls", json_false()) : rc;
}

static int read_thinking(struct gw_reading *r, const json_t *v)
{
    const json_t *type = json_object_get(v, "type");
    if (!gw_is(type, "enabled") && !gw_is(type, "disabled") && !gw_is(type, "adaptive"))
        return gw_refuse(r, "unsupported_value", "{\"type\"} must be enabled, adaptive or disabled");
    if (json_object_get(v, "budget_tokens"))        /* only max_tokens bounds an answer */
        gw_ignore(r, "thinking.budget_tokens");
    return gw_read_thinks(r, !gw_is(type, "disabled"));
}

static int read_output_config(struct gw_reading *r, const json_t *v)
{
    static const struct gw_field fields[] = {
        { "format", GW_READ, NULL, gw_read_format },
        { "effort", GW_READ, NULL, gw_read_effort },
        { NULL, 0, NULL, NULL },
    };
    static const struct gw_field *const tables[] = { fields, NULL };
    return gw_read_object(r, v, tables);
}

/* A conversation that the server holds: the code by which clients know that they are to send all of it instead. */
#define NO_THREADS "thread_unsupported_request"

static int read_thread(struct gw_reading *r, const json_t *v)
{
    (void)v;
    return gw_refuse(r, NO_THREADS, "nothing is kept between requests: send the whole conversation as messages");
}

static int read_stops(struct gw_reading *r, const json_t *v)
{
    return json_is_array(v) ? gw_read_stop(r, v) : gw_refuse(r, "invalid_value", "a list of strings is needed");
}

static const struct gw_field fields[] = {
    { "model", GW_READ, NULL, gw_read_model },
    { "messages", GW_READ, NULL, read_messages },
    { "system", GW_READ, NULL, read_system },
    { "max_tokens", GW_MAP, "max_tokens", NULL },
    { "stream", GW_READ, NULL, gw_read_stream },
    { "stop_sequences", GW_READ, NULL, read_stops },
    { "tools", GW_READ, NULL, read_tools },
    { "tool_choice", GW_READ, NULL, read_tool_choice },
    { "thinking", GW_READ, NULL, read_thinking },
    { "output_config", GW_READ, NULL, read_output_config },
    { "output_format", GW_READ, NULL, gw_read_format },
    { "metadata", GW_MUTE, NULL, NULL },
    { "cache_control", GW_MUTE, NULL, NULL },
    { "service_tier", GW_ONLY, "\"auto\"|\"standard_only\"", NULL },
    { "speed", GW_ONLY, "\"standard\"", NULL },
    { "thread", GW_READ, NULL, read_thread },
    { "container", GW_NEVER, "nothing here runs code", NULL },
    { "mcp_servers", GW_NEVER, "nothing here calls a server", NULL },
    { NULL, 0, NULL, NULL },
};
static const struct gw_field *const tables[] = { fields, gw_fields_chat, gw_fields_sampling, gw_fields_constraint, NULL };

static int read_request(struct gw_reading *r)
{
    return gw_read_conversation(r, tables, "messages");
}

static int read_whole_request(struct gw_reading *r)
{
    int rc = read_request(r);
    return rc == VS_OK ? gw_require(r, "max_tokens", "max_tokens") : rc;
}

static int messages_begin(struct gw_call *call, const struct gw_http *http, struct gw_error *err)
{
    struct gw_reading r;
    struct messages *m = call->state = calloc(1, sizeof *m);
    int rc = gw_begin_answer(&r, call, http, err, read_whole_request, m ? &m->answer : NULL);
    gw_reading_clear(&r);
    return rc;
}

/* ---- answers ---- */

static json_t *usage_of(const struct gw_usage *u)       /* what was cached is counted apart from the rest */
{
    return json_pack("{s:I, s:i, s:I, s:I}", "input_tokens", (json_int_t)(u->prompt - u->cached), "cache_creation_input_tokens", 0,
                     "cache_read_input_tokens", (json_int_t)u->cached, "output_tokens", (json_int_t)u->completion);
}

static json_t *message_of(const struct gw_call *call, json_t *content, const struct gw_usage *usage)
{
    return json_pack("{s:o, s:s, s:s, s:s, s:o, s:n, s:n, s:o}", "id", gw_id(call, "msg_", 0), "type", "message", "role",
                     "assistant",
                     "model", call->model, "content", content, "stop_reason", "stop_sequence", "usage", usage_of(usage));
}

static const char *stop_reason(const json_t *result)
{
    const char *finish = gw_finish_of(result, 0);
    if (gw_stop_of(result, 0))
        return "stop_sequence";
    return strcmp(finish, "length") == 0 ? "max_tokens" : strcmp(finish, "tool_calls") == 0 ? "tool_use"
        : strcmp(finish, GW_FILTERED) == 0 ? "refusal" : "end_turn";
}

static json_t *stop_sequence(const json_t *result)
{
    const json_t *stop = gw_stop_of(result, 0);
    return stop ? json_incref((json_t *)(uintptr_t)stop) : json_null();
}

/* A block with what is there of its text; a call's input is a JSON value, `{}` where it was cut off. */
static json_t *block_of(const struct gw_call *call, size_t at, const struct gw_piece *p, bool is_whole)
{
    json_t *text = vs_json_text(is_whole ? p->text.data : "", is_whole ? p->text.n : 0), *input = NULL;
    if (p->part == VS_PART_CONTENT)
        return json_pack("{s:s, s:o}", "type", "text", "text", text);
    if (p->part == VS_PART_REASONING)
        return json_pack("{s:s, s:o, s:s}", "type", "thinking", "thinking", text, "signature", "");
    json_decref(text);
    if (is_whole && p->text.n)
        input = gw_arguments(p->text.data, p->text.n);
    return json_pack("{s:s, s:o, s:o, s:o}", "type", "tool_use", "id", gw_id(call, "toolu_", at + 1), "name",
                     vs_json_text(p->name.data, p->name.n), "input", input ? input : json_object());
}

static void start_message(const struct gw_call *call, struct messages *m, struct vs_buf *out)
{
    if (!m->has_begun)
        gw_event(out, "message_start", json_pack("{s:s, s:o}", "type", "message_start", "message",
                                                 message_of(call, json_array(), &m->usage)));
    m->has_begun = true;
}

static void start_block(const struct gw_call *call, struct messages *m, size_t at, const struct gw_piece *p, struct vs_buf *out)
{
    gw_event(out, "content_block_start", json_pack("{s:s, s:I, s:o}", "type", "content_block_start", "index", (json_int_t)at,
                                                   "content_block", block_of(call, at, p, false)));
    m->is_open = true;
}

static void stop_block(struct messages *m, size_t at, struct vs_buf *out)
{
    if (m->is_open)
        gw_event(out, "content_block_stop", json_pack("{s:s, s:I}", "type", "content_block_stop", "index", (json_int_t)at));
    m->is_open = false;
}

static void send_delta(const struct gw_change *e, struct vs_buf *out)
{
    static const struct { const char *type, *key; } kinds[] = { { "text_delta", "text" }, { "thinking_delta", "thinking" },
                                                                { "input_json_delta", "partial_json" } };
    uint32_t kind = e->piece->part < VS_PART_CALL ? e->piece->part : VS_PART_CALL;
    gw_event(out, "content_block_delta", json_pack("{s:s, s:I, s:{s:s, s:o}}", "type", "content_block_delta", "index",
                                                   (json_int_t)e->at, "delta", "type", kinds[kind].type, kinds[kind].key,
                                                   vs_json_text(e->text, e->n)));
}

static void messages_token(struct gw_call *call, const struct gw_token *t, struct vs_buf *out)
{
    struct messages *m = call->state;
    struct gw_change e;
    gw_answer_take(&m->answer, t->index, t, &e);
    json_decref(e.logprob);
    if (!call->stream || !e.piece)
        return;
    start_message(call, m, out);
    if (e.is_new)
        stop_block(m, e.at - 1, out);
    bool is_call = e.piece->part >= VS_PART_CALL;
    if (is_call ? e.is_named : e.is_new)
        start_block(call, m, e.at, e.piece, out);
    if (e.n && m->is_open)
        send_delta(&e, out);
}

static void end_stream(struct gw_call *call, const json_t *result, struct vs_buf *out)
{
    struct messages *m = call->state;
    const struct gw_choice *c = &m->answer.choices[0];
    start_message(call, m, out);
    if (c->n_pieces) {
        size_t at = c->n_pieces - 1;
        if (c->pieces[at].part >= VS_PART_CALL && !c->pieces[at].has_name)
            start_block(call, m, at, &c->pieces[at], out);     /* cut off amid its name */
        stop_block(m, at, out);
    }
    json_t *end = json_pack("{s:s, s:{s:s, s:o}, s:o}", "type", "message_delta", "delta", "stop_reason", stop_reason(result),
                            "stop_sequence", stop_sequence(result), "usage", usage_of(&m->usage));
    gw_add_receipts(end, result);
    gw_event(out, "message_delta", end);
    gw_event(out, "message_stop", json_pack("{s:s}", "type", "message_stop"));
}

static void end_whole(struct gw_call *call, const json_t *result, struct vs_buf *out)
{
    struct messages *m = call->state;
    const struct gw_choice *c = &m->answer.choices[0];
    json_t *content = json_array();
    for (size_t i = 0; i < c->n_pieces; i++)
        json_array_append_new(content, block_of(call, i, &c->pieces[i], true));
    json_t *body = message_of(call, content, &m->usage);
    json_object_set_new(body, "stop_reason", json_string(stop_reason(result)));
    json_object_set_new(body, "stop_sequence", stop_sequence(result));
    gw_add_receipts(body, result);
    gw_value(out, body);
}

static void messages_done(struct gw_call *call, size_t ask, const json_t *result, struct vs_buf *out)
{
    struct messages *m = call->state;
    (void)ask;
    gw_usage_add(&m->usage, result, &m->answer);
    if (m->answer.status != VS_OK)
        out->status = m->answer.status;
    else if (call->stream)
        end_stream(call, result, out);
    else
        end_whole(call, result, out);
}

static void messages_ping(struct gw_call *call, struct vs_buf *out)
{
    struct messages *m = call->state;
    start_message(call, m, out);
    gw_event(out, "ping", json_pack("{s:s}", "type", "ping"));
}

static const char *type_of(int status)
{
    static const struct { int status; const char *type; } types[] = {
        { 401, "authentication_error" }, { 403, "permission_error" }, { 404, "not_found_error" }, { 413, "request_too_large" },
        { 429, "rate_limit_error" }, { 503, "overloaded_error" }, { 504, "timeout_error" },
    };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i].status == status)
            return types[i].type;
    return status >= 500 ? "api_error" : "invalid_request_error";
}

static void messages_fail(struct gw_call *call, const struct gw_error *err, bool begun, struct vs_buf *out)
{
    json_t *body = json_pack("{s:s, s:{s:s, s:o}, s:s}", "type", "error", "error", "type", type_of(err->status), "message",
                             vs_json_text(err->message, strlen(err->message)), "request_id", call->id);
    if (strcmp(err->code, NO_THREADS) == 0)
        json_object_set_new(json_object_get(body, "error"), "details", json_pack("{s:s, s:[s]}", "error_code", err->code,
                                                                                 "unsupported", "thread"));
    if (begun)
        gw_event(out, "error", body);
    else
        gw_value(out, body);
}

static void messages_clear(struct gw_call *call)
{
    struct messages *m = call->state;
    if (m)
        gw_answer_clear(&m->answer);
    free(m);
}

const struct gw_api gw_api_messages = {
    .begin = messages_begin, .token = messages_token, .ping = messages_ping, .done = messages_done, .fail = messages_fail,
    .clear = messages_clear, .stream_type = "text/event-stream", .id_header = "request-id",
};

/* ---- counting ---- */

static int count_begin(struct gw_call *call, const struct gw_http *http, struct gw_error *err)
{
    return gw_begin_count(call, http, err, read_request);
}

static void count_done(struct gw_call *call, size_t ask, const json_t *result, struct vs_buf *out)
{
    (void)call;
    (void)ask;
    gw_value(out, json_pack("{s:I}", "input_tokens", json_integer_value(json_object_get(result, "n"))));
}

const struct gw_api gw_api_messages_tokens = {
    .begin = count_begin, .done = count_done, .fail = messages_fail, .stream_type = "text/event-stream",
};
