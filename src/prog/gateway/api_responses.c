/* prog/gateway/api_responses.c - POST /v1/responses and /v1/responses/input_tokens. Nothing is kept between two requests: the whole
 * conversation is sent each time, as items.
 *
 *     message {role, content}                      -> a message
 *     reasoning, function_call, function_call, ... -> one message of the assistant: reasoning_content, tool_calls
 *     function_call_output {call_id, output}       -> a message of the role tool
 *
 * The answer is a list of items again, one for each piece, and its stream tells the life of each: added, parts of it, done.
 */
#include "prog/gateway/api_answer.h"
#include "prog/gateway/api_read.h"
#include "prog/gateway/api_routes.h"

#include "ipc/json.h"
#include "ipc/message.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct responses {
    struct gw_answer answer;
    struct gw_usage usage;
    json_t *echo;                       /* fields of the request that the response repeats */
    json_t *output;                     /* items that are done */
    int64_t sequence;                   /* of the next event */
    bool has_begun, is_open, has_usage; /* the stream has; an item of it has not ended; all is counted */
    const json_t *result;               /* NULL until it is there; borrowed within _done */
    const char *status, *incomplete;
};

/* ---- input items ---- */

/* input_text, output_text, refusal, the text of reasoning, and input_json, which is written out: one after the other. */
static int read_text(struct gw_reading *r, const char *at, const json_t *v, json_t **ret)
{
    size_t i;
    const json_t *part;
    if (json_is_string(v)) {
        *ret = json_incref((json_t *)(uintptr_t)v);
        return VS_OK;
    }
    if (!json_is_array(v))
        return gw_refuse_at(r, at, "invalid_value", "a string or a list of parts is needed");
    json_t *parts = json_array();
    json_array_foreach(v, i, part) {
        const json_t *type = json_object_get(part, "type");
        const json_t *s = json_object_get(part, gw_is(type, "refusal") ? "refusal" : "text");
        const json_t *data = gw_is(type, "input_json") ? json_object_get(part, "data") : NULL;
        bool is_text = gw_is(type, "input_text") || gw_is(type, "output_text") || gw_is(type, "refusal") || gw_is(type, "text")
                       || gw_is(type, "reasoning_text") || gw_is(type, "summary_text");
        if (!data && (!is_text || !json_is_string(s))) {
            json_decref(parts);
            return gw_refuse_at(r, at, "unsupported_value", "part %zu: only text is read, images and files are not", i);
        }
        struct vs_buf text = { 0 };
        if (data)
            vs_json_dump(data, &text);
        else
            vs_buf_add(&text, json_string_value(s), json_string_length(s));
        json_t *copy = json_pack("{s:s, s:o}", "type", "text", "text", vs_json_text(text.data, text.n));
        vs_buf_clear(&text);
        gw_copy_zone(copy, part);
        json_array_append_new(parts, copy);
    }
    *ret = gw_content(parts);
    return VS_OK;
}

/* The assistant's message at the end of the list, made when there is none. */
static json_t *last_assistant(json_t *list)
{
    json_t *last = json_array_get(list, json_array_size(list) - 1);
    if (last && gw_is(json_object_get(last, "role"), "assistant"))
        return last;
    last = json_pack("{s:s}", "role", "assistant");
    json_array_append_new(list, last);
    return last;
}

static int add_message(struct gw_reading *r, json_t *list, const char *at, const json_t *item)
{
    const json_t *role = json_object_get(item, "role");
    json_t *text;
    if (!gw_is(role, "user") && !gw_is(role, "assistant") && !gw_is(role, "system") && !gw_is(role, "developer"))
        return gw_refuse_at(r, at, "invalid_value", "role: user, assistant, system or developer is needed");
    int rc = read_text(r, at, json_object_get(item, "content"), &text);
    if (rc != VS_OK)
        return rc;
    json_t *last = json_array_get(list, json_array_size(list) - 1);
    bool goes_on = gw_is(role, "assistant") && last && gw_is(json_object_get(last, "role"), "assistant")
                   && !json_object_get(last, "content") && !json_object_get(last, "tool_calls");
    if (!goes_on) {                     /* else behind its reasoning */
        last = json_pack("{s:s}", "role", gw_is(role, "developer") ? "system" : json_string_value(role));
        json_array_append_new(list, last);
    }
    json_object_set_new(last, "content", text);
    gw_copy_zone(last, item);
    return VS_OK;
}

static int add_reasoning(struct gw_reading *r, json_t *list, const char *at, const json_t *item)
{
    const json_t *content = json_object_get(item, "content");
    json_t *text = NULL;
    if (!json_array_size(content))
        content = json_object_get(item, "summary");
    if (!json_array_size(content))
        return VS_OK;
    int rc = read_text(r, at, content, &text);
    if (rc != VS_OK)
        return rc;
    if (!json_is_string(text)) {
        json_decref(text);
        return gw_refuse_at(r, at, "unsupported_value", "reasoning has no zone");
    }
    json_t *message = json_pack("{s:s, s:o}", "role", "assistant", "reasoning_content", text);
    json_array_append_new(list, message);
    return VS_OK;
}

static int add_call(struct gw_reading *r, json_t *list, const char *at, const json_t *item)
{
    json_t *id = json_object_get(item, "call_id"), *name = json_object_get(item, "name"), *args = json_object_get(item,
                                                                                                                  "arguments");
    if (!json_is_string(id) || !json_is_string(name) || !json_is_string(args))
        return gw_refuse_at(r, at, "invalid_value", "call_id, name and arguments (strings) are needed");
    json_t *message = last_assistant(list), *calls = json_object_get(message, "tool_calls");
    if (!calls) {
        calls = json_array();
        json_object_set_new(message, "tool_calls", calls);
    }
    json_array_append_new(calls, json_pack("{s:O, s:s, s:{s:O, s:O}}", "id", id, "type", "function", "function", "name", name,
                                           "arguments", args));
    return VS_OK;
}

static int add_output(struct gw_reading *r, json_t *list, const char *at, const json_t *item)
{
    json_t *id = json_object_get(item, "call_id"), *text;
    if (!json_is_string(id))
        return gw_refuse_at(r, at, "invalid_value", "call_id: a string is needed");
    int rc = read_text(r, at, json_object_get(item, "output"), &text);
    if (rc != VS_OK)
        return rc;
    json_t *message = json_pack("{s:s, s:o, s:O}", "role", "tool", "content", text, "tool_call_id", id);
    gw_copy_zone(message, item);
    json_array_append_new(list, message);
    return VS_OK;
}

static int add_item(struct gw_reading *r, json_t *list, size_t i, const json_t *item)
{
    static const struct { const char *type; int (*add)(struct gw_reading *, json_t *, const char *, const json_t *); } kinds[] = {
        { "message", add_message }, { "reasoning", add_reasoning }, { "function_call", add_call },
        { "function_call_output", add_output },
    };
    const json_t *type = json_object_get(item, "type");
    char at[64];
    snprintf(at, sizeof at, "input[%zu]", i);
    if (json_is_object(item) && (!type || json_is_null(type)))
        return add_message(r, list, at, item);
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
        if (gw_is(type, kinds[k].type))
            return kinds[k].add(r, list, at, item);
    return gw_refuse_at(r, at, "unsupported_value", "items are message, reasoning, function_call and function_call_output");
}

int gw_read_input(struct gw_reading *r, const json_t *v)
{
    json_t *list = json_array(), *item;
    size_t i;
    int rc = VS_OK;
    if (json_is_string(v))
        json_array_append_new(list, json_pack("{s:s, s:O}", "role", "user", "content", v));
    else if (!json_array_size(v))
        rc = gw_refuse(r, "invalid_value", "a string or a list of at least one item is needed");
    json_array_foreach(v, i, item)
        if (rc == VS_OK)
            rc = add_item(r, list, i, item);
    json_array_foreach(list, i, item)
        if (!json_object_get(item, "content") && !json_object_get(item, "tool_calls"))
            json_object_set_new(item, "content", json_string(""));
    if (rc == VS_OK)
        return gw_put(r, "messages", list);
    json_decref(list);
    return rc;
}

/* ---- other fields ---- */

static int read_instructions(struct gw_reading *r, const json_t *v)
{
    const char *text;
    int rc = gw_need_text(r, v, &text);
    return rc == VS_OK ? gw_put(r, "system", json_incref((json_t *)(uintptr_t)v)) : rc;
}

static int read_text_config(struct gw_reading *r, const json_t *v)
{
    static const struct gw_field fields[] = {
        { "format", GW_READ, NULL, gw_read_format },
        { "verbosity", GW_HINT, "\"medium\"", NULL },
        { NULL, 0, NULL, NULL },
    };
    static const struct gw_field *const tables[] = { fields, NULL };
    return gw_read_object(r, v, tables);
}

static int read_reasoning(struct gw_reading *r, const json_t *v)
{
    static const struct gw_field fields[] = {       /* its text is given as it is: nothing sums it up */
        { "effort", GW_READ, NULL, gw_read_effort },
        { NULL, 0, NULL, NULL },
    };
    static const struct gw_field *const tables[] = { fields, NULL };
    return gw_read_object(r, v, tables);
}

static int include(struct gw_reading *r, size_t i, const json_t *what)
{
    (void)i;
    if (gw_is(what, "message.output_text.logprobs"))
        r->wants_logprobs = true;
    else if (!gw_is(what, "reasoning.encrypted_content"))           /* reasoning comes in the clear: there is nothing to add */
        return gw_refuse(r, "unsupported_value", "message.output_text.logprobs is what there is to include");
    return VS_OK;
}

static int read_include(struct gw_reading *r, const json_t *v)
{
    return gw_read_list(r, v, include);
}

static int read_top_logprobs(struct gw_reading *r, const json_t *v)
{
    int rc = gw_need_int(r, v, 0, 100, &r->top_logprobs);
    r->wants_logprobs = r->wants_logprobs || r->top_logprobs > 0;
    if (r->top_logprobs == 0 && !r->wants_logprobs)
        r->top_logprobs = -1;
    return rc;
}

static int read_tool(struct gw_reading *r, size_t i, const json_t *tool)
{
    char at[64];
    snprintf(at, sizeof at, "tools[%zu]", i);
    if (!gw_is(json_object_get(tool, "type"), "function"))
        return gw_skip_tool(r, at, json_object_get(tool, "type"));
    return gw_read_tool(r, at, tool, "parameters", "tools.");
}

static int read_tools(struct gw_reading *r, const json_t *v)
{
    return gw_read_list(r, v, read_tool);
}

static int read_tool_choice(struct gw_reading *r, const json_t *v)
{
    return gw_read_choice(r, v, NULL, NULL);
}

#define STATELESS "nothing is kept between requests: send the whole conversation as input"

static const struct gw_field fields[] = {
    { "model", GW_READ, NULL, gw_read_model },
    { "input", GW_READ, NULL, gw_read_input },
    { "instructions", GW_READ, NULL, read_instructions },
    { "max_output_tokens", GW_MAP, "max_tokens", NULL },
    { "stream", GW_READ, NULL, gw_read_stream },
    { "text", GW_READ, NULL, read_text_config },
    { "reasoning", GW_READ, NULL, read_reasoning },
    { "include", GW_READ, NULL, read_include },
    { "top_logprobs", GW_READ, NULL, read_top_logprobs },
    { "tools", GW_READ, NULL, read_tools },
    { "tool_choice", GW_READ, NULL, read_tool_choice },
    { "stop", GW_READ, NULL, gw_read_stop },
    { "user", GW_MUTE, NULL, NULL },
    { "stream_options", GW_MUTE, NULL, NULL },
    { "max_tool_calls", GW_MUTE, NULL, NULL },          /* of tools that a server runs */
    { "background", GW_ONLY, "false", NULL },
    { "truncation", GW_HINT, "\"disabled\"", NULL },
    { "previous_response_id", GW_NEVER, STATELESS, NULL },
    { "conversation", GW_NEVER, STATELESS, NULL },
    { "prompt", GW_NEVER, STATELESS, NULL },
    { NULL, 0, NULL, NULL },
};
static const struct gw_field *const tables[] = {
    fields, gw_fields_openai_chat, gw_fields_chat, gw_fields_sampling, gw_fields_constraint, NULL,
};

static int read_request(struct gw_reading *r)
{
    return gw_read_conversation(r, tables, "input");
}

/* What the response repeats of the request; fields that were not given have the API's default. */
static json_t *echo_of(const json_t *body)
{
    static const struct { const char *name, *when_absent; } rows[] = {
        { "instructions", "null" }, { "max_output_tokens", "null" }, { "max_tool_calls", "null" }, { "metadata", "{}" },
        { "parallel_tool_calls", "true" }, { "reasoning", "{\"effort\":null,\"summary\":null}" }, { "safety_identifier", "null" },
        { "temperature", "null" }, { "text", "{\"format\":{\"type\":\"text\"}}" }, { "tool_choice", "\"auto\"" }, { "tools", "[]" },
        { "top_logprobs", "0" }, { "top_p", "null" }, { "user", "null" }, { "prompt_cache_key", "null" },
    };
    json_t *echo = json_object();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        json_t *v = json_object_get(body, rows[i].name);
        if (v && !json_is_null(v))
            json_object_set(echo, rows[i].name, v);
        else
            json_object_set_new(echo, rows[i].name, json_loads(rows[i].when_absent, JSON_DECODE_ANY, NULL));
    }
    return echo;
}

static int responses_begin(struct gw_call *call, const struct gw_http *http, struct gw_error *err)
{
    struct gw_reading r;
    struct responses *p = call->state = calloc(1, sizeof *p);
    int rc = gw_begin_answer(&r, call, http, err, read_request, p ? &p->answer : NULL);
    if (rc == VS_OK) {
        p->answer.keeps = p->answer.keeps_logprobs = true;      /* the last event of a stream has all once more */
        p->echo = echo_of(http->body);
        p->output = json_array();
        p->status = "in_progress";
    }
    gw_reading_clear(&r);
    return rc;
}

/* ---- items ---- */

static json_t *item_id(const struct gw_call *call, const struct gw_piece *p, size_t at)
{
    static const char *const prefixes[] = { "msg_", "rs_", "fc_" };
    return gw_id(call, prefixes[p->part < VS_PART_CALL ? p->part : VS_PART_CALL], at + 1);
}

static json_t *text_part(const struct gw_piece *p, bool is_whole)
{
    json_t *text = vs_json_text(is_whole ? p->text.data : "", is_whole ? p->text.n : 0);
    if (p->part == VS_PART_REASONING)
        return json_pack("{s:s, s:o}", "type", "reasoning_text", "text", text);
    json_t *logprobs = is_whole && p->logprobs ? json_incref(p->logprobs) : json_array();
    return json_pack("{s:s, s:o, s:[], s:o}", "type", "output_text", "text", text, "annotations", "logprobs", logprobs);
}

/* status: in_progress (nothing of its text yet), completed or incomplete. */
static json_t *item_of(const struct gw_call *call, const struct gw_piece *p, size_t at, const char *status)
{
    bool is_whole = strcmp(status, "in_progress") != 0;
    json_t *content = is_whole ? json_pack("[o]", text_part(p, true)) : json_array(), *id = item_id(call, p, at);
    if (p->part == VS_PART_CONTENT)
        return json_pack("{s:o, s:s, s:s, s:s, s:o}", "id", id, "type", "message", "status", status, "role", "assistant", "content",
                         content);
    if (p->part == VS_PART_REASONING)
        return json_pack("{s:o, s:s, s:s, s:[], s:o}", "id", id, "type", "reasoning", "status", status, "summary", "content",
                         content);
    json_decref(content);
    return json_pack("{s:o, s:s, s:s, s:o, s:o, s:o}", "id", id, "type", "function_call", "status", status, "call_id",
                     gw_id(call, "call_", at + 1), "name", vs_json_text(p->name.data, p->name.n), "arguments",
                     vs_json_text(is_whole ? p->text.data : "", is_whole ? p->text.n : 0));
}

static json_t *usage_of(const struct gw_usage *u)
{
    return json_pack("{s:I, s:{s:I, s:i}, s:I, s:{s:I}, s:I}", "input_tokens", (json_int_t)u->prompt, "input_tokens_details",
                     "cached_tokens", (json_int_t)u->cached, "cache_write_tokens", 0, "output_tokens", (json_int_t)u->completion,
                     "output_tokens_details", "reasoning_tokens", (json_int_t)u->reasoning, "total_tokens",
                     (json_int_t)(u->prompt + u->completion));
}

static json_t *response_of(const struct gw_call *call, json_t *error)
{
    const struct responses *p = call->state;
    json_t *v = json_pack("{s:o, s:s, s:I, s:s, s:b, s:o, s:o, s:s, s:O, s:n, s:b, s:s, s:s}", "id", gw_id(call, "resp_", 0),
                          "object",
                          "response", "created_at", (json_int_t)call->created, "status", p->status, "background", 0, "error",
                          error ? error : json_null(), "incomplete_details",
                          p->incomplete ? json_pack("{s:s}", "reason", p->incomplete) : json_null(), "model", call->model, "output",
                          p->output, "previous_response_id", "store", 0, "service_tier", "default", "truncation", "disabled");
    json_object_update(v, p->echo);
    json_object_set_new(v, "usage", p->has_usage ? usage_of(&p->usage) : json_null());
    gw_add_receipts(v, p->result);
    return v;
}

/* ---- the stream ---- */

static void say(struct responses *p, const char *type, json_t *event, struct vs_buf *out)
{
    json_t *whole = json_pack("{s:s, s:I}", "type", type, "sequence_number", (json_int_t)p->sequence++);
    json_object_update(whole, event);
    json_decref(event);
    gw_event(out, type, whole);
}

static void say_response(const struct gw_call *call, const char *type, json_t *error, struct vs_buf *out)
{
    json_t *now = response_of(call, error), *event = json_object();
    json_object_set_new(event, "response", json_deep_copy(now));
    json_decref(now);
    say(call->state, type, event, out);
}

static void start(struct gw_call *call, struct vs_buf *out)
{
    struct responses *p = call->state;
    if (p->has_begun)
        return;
    p->has_begun = true;
    say_response(call, "response.created", NULL, out);
    say_response(call, "response.in_progress", NULL, out);
}

/* {"item_id", "output_index"}, and for text content_index */
static json_t *place(const struct gw_call *call, const struct gw_piece *piece, size_t at)
{
    json_t *v = json_pack("{s:o, s:I}", "item_id", item_id(call, piece, at), "output_index", (json_int_t)at);
    if (piece->part < VS_PART_CALL)
        json_object_set_new(v, "content_index", json_integer(0));
    return v;
}

static void start_item(struct gw_call *call, const struct gw_piece *piece, size_t at, struct vs_buf *out)
{
    struct responses *p = call->state;
    p->is_open = true;
    say(p, "response.output_item.added", json_pack("{s:I, s:o}", "output_index", (json_int_t)at, "item",
                                                   item_of(call, piece, at, "in_progress")), out);
    if (piece->part < VS_PART_CALL) {
        json_t *event = place(call, piece, at);
        json_object_set_new(event, "part", text_part(piece, false));
        say(p, "response.content_part.added", event, out);
    }
}

static void end_item(struct gw_call *call, const struct gw_piece *piece, size_t at, const char *status, struct vs_buf *out)
{
    static const struct { const char *type, *key; } kinds[] = { { "response.output_text.done", "text" },
        { "response.reasoning_text.done", "text" }, { "response.function_call_arguments.done", "arguments" } };
    struct responses *p = call->state;
    uint32_t kind = piece->part < VS_PART_CALL ? piece->part : VS_PART_CALL;
    json_t *item = item_of(call, piece, at, status);
    if (call->stream && p->is_open) {
        json_t *event = place(call, piece, at);
        json_object_set_new(event, kinds[kind].key, vs_json_text(piece->text.data, piece->text.n));
        if (kind == VS_PART_CONTENT)
            json_object_set_new(event, "logprobs", piece->logprobs ? json_incref(piece->logprobs) : json_array());
        if (kind == VS_PART_CALL)
            json_object_set_new(event, "name", vs_json_text(piece->name.data, piece->name.n));
        say(p, kinds[kind].type, event, out);
        if (kind != VS_PART_CALL) {
            event = place(call, piece, at);
            json_object_set_new(event, "part", text_part(piece, true));
            say(p, "response.content_part.done", event, out);
        }
        say(p, "response.output_item.done", json_pack("{s:I, s:O}", "output_index", (json_int_t)at, "item", item), out);
    }
    p->is_open = false;
    json_array_append_new(p->output, item);
}

static void send_delta(struct gw_call *call, const struct gw_change *e, struct vs_buf *out)
{
    static const char *const types[] = { "response.output_text.delta", "response.reasoning_text.delta",
                                         "response.function_call_arguments.delta" };
    uint32_t kind = e->piece->part < VS_PART_CALL ? e->piece->part : VS_PART_CALL;
    json_t *event = place(call, e->piece, e->at);
    json_object_set_new(event, "delta", vs_json_text(e->text, e->n));
    if (kind == VS_PART_CONTENT)
        json_object_set_new(event, "logprobs", e->logprob ? json_pack("[O]", e->logprob) : json_array());
    say(call->state, types[kind], event, out);
}

static void responses_token(struct gw_call *call, const struct gw_token *t, struct vs_buf *out)
{
    struct responses *p = call->state;
    struct gw_change e;
    gw_answer_take(&p->answer, t->index, t, &e);
    if (call->stream && e.piece)
        start(call, out);
    if (e.piece && e.is_new && e.at > 0)
        end_item(call, &e.piece[-1], e.at - 1, "completed", out);
    if (call->stream && e.piece) {
        if (e.piece->part >= VS_PART_CALL ? e.is_named : e.is_new)
            start_item(call, e.piece, e.at, out);
        if (p->is_open && (e.n || e.logprob))
            send_delta(call, &e, out);
    }
    json_decref(e.logprob);
}

static void responses_done(struct gw_call *call, size_t ask, const json_t *result, struct vs_buf *out)
{
    struct responses *p = call->state;
    const struct gw_choice *c = &p->answer.choices[0];
    bool is_filtered = strcmp(gw_finish_of(result, 0), GW_FILTERED) == 0;
    bool is_cut = is_filtered || strcmp(gw_finish_of(result, 0), "length") == 0;
    (void)ask;
    gw_usage_add(&p->usage, result, &p->answer);
    p->has_usage = true;
    p->result = result;
    if (p->answer.status != VS_OK) {
        out->status = p->answer.status;
        return;
    }
    if (call->stream)
        start(call, out);
    if (c->n_pieces) {
        const struct gw_piece *last = &c->pieces[c->n_pieces - 1];
        if (call->stream && !p->is_open)                /* a call that was cut off amid its name */
            start_item(call, last, c->n_pieces - 1, out);
        end_item(call, last, c->n_pieces - 1, is_cut ? "incomplete" : "completed", out);
    }
    p->status = is_cut ? "incomplete" : "completed";
    p->incomplete = is_filtered ? GW_FILTERED : is_cut ? "max_output_tokens" : NULL;
    if (call->stream)
        say_response(call, is_cut ? "response.incomplete" : "response.completed", NULL, out);
    else
        gw_value(out, response_of(call, NULL));
}

static void responses_ping(struct gw_call *call, struct vs_buf *out)
{
    start(call, out);
    gw_comment(call, out);
}

static void responses_fail(struct gw_call *call, const struct gw_error *err, bool begun, struct vs_buf *out)
{
    struct responses *p = call->state;
    if (!begun) {
        gw_fail_openai(call, err, false, out);
        return;
    }
    json_t *message = vs_json_text(err->message, strlen(err->message));
    start(call, out);
    say(p, "error", json_pack("{s:s, s:O, s:n}", "code", err->code[0] ? err->code : "server_error", "message", message, "param"),
        out);
    p->status = "failed";
    say_response(call, "response.failed", json_pack("{s:s, s:o}", "code",
                                                    err->status == 429 ? "rate_limit_exceeded" : "server_error",
                                                    "message", message), out);
}

static void responses_clear(struct gw_call *call)
{
    struct responses *p = call->state;
    if (!p)
        return;
    gw_answer_clear(&p->answer);
    json_decref(p->echo);
    json_decref(p->output);
    free(p);
}

const struct gw_api gw_api_responses = {
    .begin = responses_begin, .token = responses_token, .ping = responses_ping, .done = responses_done, .fail = responses_fail,
    .clear = responses_clear, .stream_type = "text/event-stream",
};

/* ---- counting ---- */

static int count_begin(struct gw_call *call, const struct gw_http *http, struct gw_error *err)
{
    return gw_begin_count(call, http, err, read_request);
}

const struct gw_api gw_api_responses_tokens = {
    .begin = count_begin, .done = gw_done_input_tokens, .fail = gw_fail_openai, .stream_type = "text/event-stream",
};
