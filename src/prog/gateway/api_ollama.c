/* prog/gateway/api_ollama.c - with --ollama: /api/chat, generate, tags, show, ps, embed, version, as Ollama's clients speak them.
 *
 * A stream is a line of JSON for each event and is the default; what options has beyond sampling (num_ctx, num_gpu, ...) is fixed
 * when a model is loaded, so it is named in x-veritas-ignored. A name may end in ":latest".
 */
#include "prog/gateway/api_answer.h"
#include "prog/gateway/api_read.h"
#include "prog/gateway/api_routes.h"

#include "base/date.h"
#include "ipc/json.h"
#include "ipc/message.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct ollama {
    struct gw_answer answer;
    bool is_chat;
    const char *only;                   /* no answer, the model alone: "load", "unload"; NULL: an answer */
};

static void line(struct vs_buf *out, json_t *value)
{
    gw_value(out, value);
    vs_buf_char(out, '\n');
}

static json_t *date_of(int64_t seconds)
{
    struct tm t;
    if (!vs_date_of(seconds, &t))
        vs_date_of(0, &t);
    return json_sprintf("%04d-%02d-%02dT%02d:%02d:%02dZ", t.tm_year + 1900, t.tm_mon + 1, t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec);
}

/* ---- fields ---- */

int gw_read_ollama_model(struct gw_reading *r, const json_t *v)
{
    const char *name, tag[] = ":latest";
    int rc = gw_need_text(r, v, &name);
    size_t n = json_string_length(v), k = sizeof tag - 1;
    if (rc != VS_OK || n <= k || memcmp(name + n - k, tag, k) != 0)
        return rc == VS_OK ? gw_read_model(r, v) : rc;
    json_t *bare = json_stringn(name, n - k);
    rc = gw_read_model(r, bare);
    json_decref(bare);
    return rc;
}

static int read_predict(struct gw_reading *r, const json_t *v)
{
    int64_t n;
    int rc = gw_need_int(r, v, INT32_MIN, INT32_MAX, &n);
    return rc == VS_OK && n >= 0 ? gw_put(r, "max_tokens", json_integer(n)) : rc;       /* below 0: no limit */
}

static int read_options(struct gw_reading *r, const json_t *v)
{
    static const struct gw_field fields[] = {
        { "num_predict", GW_READ, NULL, read_predict },
        { "stop", GW_READ, NULL, gw_read_stop },
        { NULL, 0, NULL, NULL },
    };
    static const struct gw_field *const tables[] = { fields, gw_fields_sampling, NULL };
    return gw_read_object(r, v, tables);
}

static int read_format(struct gw_reading *r, const json_t *v)
{
    json_t *yes = json_true();
    if (gw_is(v, ""))
        return VS_OK;
    if (gw_is(v, "json"))
        return gw_read_constraint(r, "json_object", yes);
    return json_is_object(v) ? gw_read_constraint(r, "json_schema", v)
                             : gw_refuse(r, "unsupported_value", "\"json\" or a JSON schema is needed");
}

static int read_think(struct gw_reading *r, const json_t *v)
{
    return json_is_boolean(v) ? gw_read_thinks(r, json_is_true(v)) : gw_read_effort(r, v);
}

static int read_top_logprobs(struct gw_reading *r, const json_t *v)
{
    int rc = gw_need_int(r, v, 0, 100, &r->top_logprobs);
    r->top_logprobs = r->top_logprobs || r->wants_logprobs ? r->top_logprobs : -1;
    return rc;
}

/* Fields that clients send empty when they mean nothing by them. */
static int read_empty(struct gw_reading *r, const json_t *v)
{
    bool is_empty = gw_is(v, "") || (json_is_array(v) && !json_array_size(v));
    return is_empty ? VS_OK : gw_refuse(r, "unsupported_parameter", "not supported");
}

/* How long a model stays is the daemon's affair, but for 0: a request that asks nothing then ends it. */
static int read_keep(struct gw_reading *r, const json_t *v)
{
    const char *s = json_string_value(v);
    bool is_zero = s ? *s == '0' && !s[strspn(s, "0.hmsnu")] : json_is_number(v) && json_number_value(v) == 0;
    if (is_zero)
        r->is_last = true;
    else
        gw_ignore(r, r->name);
    return VS_OK;
}

static int read_call(struct gw_reading *r, const char *at, const json_t *call, json_t *list)
{
    const json_t *f = json_object_get(call, "function");
    json_t *name = json_object_get(f, "name"), *args = json_object_get(f, "arguments");
    if (!json_is_string(name) || !json_is_object(args))
        return gw_refuse_at(r, at, "invalid_value", "tool_calls: {\"function\": {\"name\", \"arguments\": object}} is needed");
    json_array_append_new(list, json_pack("{s:s, s:{s:O, s:O}}", "type", "function", "function", "name", name, "arguments", args));
    return VS_OK;
}

static int read_message(struct gw_reading *r, size_t i, const json_t *message, json_t *list)
{
    static const struct { const char *theirs, *ours; } names[] = { { "thinking", "reasoning_content" }, { "tool_name", "name" },
                                                                   { "tool_call_id", "tool_call_id" } };
    json_t *role = json_object_get(message, "role"), *content = json_object_get(message, "content"), *call;
    const json_t *images = json_object_get(message, "images"), *calls = json_object_get(message, "tool_calls");
    char at[64];
    size_t k;
    int rc = VS_OK;
    snprintf(at, sizeof at, "messages[%zu]", i);
    if (!json_is_string(role) || (content && !json_is_null(content) && !json_is_string(content)))
        return gw_refuse_at(r, at, "invalid_value", "role and content, strings, are needed");
    if (json_array_size(images))
        return gw_refuse_at(r, at, "unsupported_value", "images are not read");
    json_t *copy = json_pack("{s:O, s:o}", "role", role, "content",
                             json_is_string(content) ? json_incref(content) : json_string(""));
    gw_copy_zone(copy, message);
    json_array_append_new(list, copy);
    for (k = 0; k < sizeof names / sizeof *names; k++)
        if (json_is_string(json_object_get(message, names[k].theirs)))
            json_object_set(copy, names[k].ours, json_object_get(message, names[k].theirs));
    if (!json_array_size(calls))
        return VS_OK;
    json_t *copies = json_array();
    json_object_set_new(copy, "tool_calls", copies);
    json_array_foreach(calls, k, call)
        if (rc == VS_OK)
            rc = read_call(r, at, call, copies);
    return rc;
}

static int read_messages(struct gw_reading *r, const json_t *v)
{
    json_t *list = json_array();
    const json_t *message;
    size_t i;
    int rc = json_is_array(v) ? VS_OK : gw_refuse(r, "invalid_value", "a list is needed");
    json_array_foreach(v, i, message)
        if (rc == VS_OK)
            rc = read_message(r, i, message, list);
    if (rc == VS_OK)
        return gw_put(r, "messages", list);
    json_decref(list);
    return rc;
}

static const struct gw_field both_fields[] = {
    { "model", GW_READ, NULL, gw_read_ollama_model },
    { "documents", GW_MAP, "documents", NULL },
    { "zone", GW_NEVER, "a message says it", NULL },
    { "stream", GW_READ, NULL, gw_read_stream },
    { "options", GW_READ, NULL, read_options },
    { "receipt", GW_MAP, "receipt", NULL },
    { "format", GW_READ, NULL, read_format },
    { "think", GW_READ, NULL, read_think },
    { "keep_alive", GW_READ, NULL, read_keep },
    { "logprobs", GW_READ, NULL, gw_read_logprobs },
    { "top_logprobs", GW_READ, NULL, read_top_logprobs },
    { NULL, 0, NULL, NULL },
};
static const struct gw_field chat_fields[] = {
    { "messages", GW_READ, NULL, read_messages },
    { "tools", GW_READ, NULL, gw_read_tools },
    { NULL, 0, NULL, NULL },
};
static const struct gw_field generate_fields[] = {
    { "prompt", GW_MAP, "prompt", NULL },
    { "system", GW_MAP, "system", NULL },
    { "raw", GW_MAP, "raw", NULL },
    { "template", GW_READ, NULL, read_empty },
    { "suffix", GW_READ, NULL, read_empty },
    { "context", GW_READ, NULL, read_empty },
    { "images", GW_READ, NULL, read_empty },
    { NULL, 0, NULL, NULL },
};

/* Without messages, or without a prompt, a request means: load the model; with keep_alive 0: unload it. */
static int begin(struct gw_call *call, const struct gw_http *http, bool is_chat, struct gw_error *err)
{
    const struct gw_field *const tables[] = { is_chat ? chat_fields : generate_fields, both_fields, NULL };
    uint16_t type = is_chat ? VS_MSG_CHAT : VS_MSG_GENERATE;
    struct gw_reading r;
    struct ollama *o = call->state = calloc(1, sizeof *o);
    int rc = gw_reading_init(&r, call, http, type, err);
    r.stream = true;
    if (rc == VS_OK)
        rc = gw_read_fields(&r, http->body, "", tables);
    if (rc == VS_OK && r.top_logprobs < 0 && r.wants_logprobs)
        r.top_logprobs = 0;
    if (rc == VS_OK)
        rc = gw_read_end(&r);
    if (rc == VS_OK && (!o || gw_answer_init(&o->answer, 1, true) != VS_OK))
        rc = gw_no_memory(err);
    if (rc == VS_OK) {
        const json_t *what = json_object_get(r.request, is_chat ? "messages" : "prompt");
        o->is_chat = is_chat;
        o->only = json_array_size(what) || json_string_length(what) ? NULL : r.is_last ? "unload" : "load";
        if (!o->only && r.is_last)
            gw_ignore(&r, "keep_alive");
        o->answer.keeps_logprobs = !r.stream;
    }
    if (rc == VS_OK && o->only) {
        json_t *request = json_pack("{s:O}", "model", json_object_get(r.request, "model"));
        rc = gw_call_ask(call, r.is_last ? VS_MSG_UNLOAD : VS_MSG_LOAD, request) == VS_OK ? VS_OK : gw_no_memory(err);
    } else if (rc == VS_OK) {
        if (!json_is_true(json_object_get(r.request, "raw")))
            rc = gw_want_parts(&r);
        rc = rc == VS_OK ? gw_ask_now(&r, type) : rc;
    }
    gw_reading_clear(&r);
    return rc;
}

static int chat_begin(struct gw_call *call, const struct gw_http *http, struct gw_error *err)
{
    return begin(call, http, true, err);
}

static int generate_begin(struct gw_call *call, const struct gw_http *http, struct gw_error *err)
{
    return begin(call, http, false, err);
}

/* ---- answers ---- */

static json_t *head(const struct gw_call *call)
{
    return json_pack("{s:s, s:o}", "model", call->model, "created_at", date_of(call->created));
}

static json_t *call_of(const struct gw_piece *p)
{
    json_t *args = p->text.n ? gw_arguments(p->text.data, p->text.n) : NULL;
    return json_pack("{s:{s:o, s:o}}", "function", "name", vs_json_text(p->name.data, p->name.n), "arguments",
                     args ? args : json_object());
}

/* Puts text where the API has it: in message, or in response and thinking. Takes over all values; those that are NULL are left out.
 * */
static json_t *said(const struct gw_call *call, json_t *content, json_t *thinking, json_t *calls, json_t *logprobs)
{
    const struct ollama *o = call->state;
    json_t *v = head(call), *to = v;
    if (o->is_chat) {
        to = json_pack("{s:s}", "role", "assistant");
        json_object_set_new(v, "message", to);
    }
    json_object_set_new(to, o->is_chat ? "content" : "response", content ? content : json_string(""));
    if (thinking)
        json_object_set_new(to, "thinking", thinking);
    if (calls)
        json_object_set_new(to, "tool_calls", calls);
    if (logprobs)
        json_object_set_new(v, "logprobs", logprobs);
    json_object_set_new(v, "done", json_false());
    return v;
}

/* A call is said when it is whole. */
static void end_piece(const struct gw_call *call, const struct gw_piece *p, struct vs_buf *out)
{
    if (call->stream && p->part >= VS_PART_CALL)
        line(out, said(call, NULL, NULL, json_pack("[o]", call_of(p)), NULL));
}

static void token(struct gw_call *call, const struct gw_token *t, struct vs_buf *out)
{
    struct ollama *o = call->state;
    struct gw_change e;
    gw_answer_take(&o->answer, t->index, t, &e);
    if (e.piece && e.is_new && e.at > 0)
        end_piece(call, &e.piece[-1], out);
    if (call->stream && e.piece && e.piece->part < VS_PART_CALL) {
        json_t *text = vs_json_text(e.text, e.n), *logprobs = e.logprob ? json_pack("[O]", e.logprob) : NULL;
        bool thinks = e.piece->part == VS_PART_REASONING;
        line(out, said(call, thinks ? NULL : text, thinks ? text : NULL, NULL, logprobs));
    }
    json_decref(e.logprob);
}

static json_t *whole(const struct gw_call *call)
{
    const struct ollama *o = call->state;
    const struct gw_choice *c = &o->answer.choices[0];
    struct vs_buf content = { 0 }, thinking = { 0 };
    json_t *calls = json_array(), *logprobs = json_array();
    gw_choice_join(c, VS_PART_CONTENT, &content);
    gw_choice_join(c, VS_PART_REASONING, &thinking);
    for (size_t i = 0; i < c->n_pieces; i++) {
        if (c->pieces[i].part >= VS_PART_CALL)
            json_array_append_new(calls, call_of(&c->pieces[i]));
        if (c->pieces[i].logprobs)
            json_array_extend(logprobs, c->pieces[i].logprobs);
    }
    json_t *v = said(call, vs_json_text(content.data, content.n), thinking.n ? vs_json_text(thinking.data, thinking.n) : NULL,
                     json_array_size(calls) ? json_incref(calls) : NULL, json_array_size(logprobs) ? json_incref(logprobs) : NULL);
    json_decref(calls);
    json_decref(logprobs);
    vs_buf_clear(&content);
    vs_buf_clear(&thinking);
    return v;
}

static void put_time(json_t *v, const char *key, double ms)
{
    json_object_set_new(v, key, json_integer((json_int_t)(ms * 1e6)));
}

static void done(struct gw_call *call, size_t ask, const json_t *result, struct vs_buf *out)
{
    struct ollama *o = call->state;
    const struct gw_choice *c = &o->answer.choices[0];
    const json_t *timings = json_object_get(result, "timings"), *usage = json_object_get(result, "usage");
    (void)ask;
    if (o->answer.status != VS_OK) {
        out->status = o->answer.status;
        return;
    }
    if (c->n_pieces)
        end_piece(call, &c->pieces[c->n_pieces - 1], out);
    json_t *v = call->stream || o->only ? said(call, NULL, NULL, NULL, NULL) : whole(call);
    json_object_set_new(v, "done", json_true());
    const char *finish = gw_finish_of(result, 0);
    bool is_cut = strcmp(finish, "length") == 0 || strcmp(finish, GW_FILTERED) == 0;
    json_object_set_new(v, "done_reason", json_string(o->only ? o->only : is_cut ? finish : "stop"));
    if (!o->only) {
        double queue = json_number_value(json_object_get(timings, "queue_ms"));
        double prompt = json_number_value(json_object_get(timings, "prompt_ms"));
        double decode = json_number_value(json_object_get(timings, "decode_ms"));
        double total = (double)call->took_ns / 1e6, load = total - queue - prompt - decode;      /* until a worker had it */
        put_time(v, "total_duration", total);
        put_time(v, "load_duration", load > 0 ? load : 0);
        json_object_set_new(v, "prompt_eval_count", json_integer(json_integer_value(json_object_get(usage, "prompt_tokens"))));
        put_time(v, "prompt_eval_duration", prompt);
        json_object_set_new(v, "eval_count", json_integer(json_integer_value(json_object_get(usage, "completion_tokens"))));
        put_time(v, "eval_duration", decode);
    }
    gw_add_receipts(v, result);
    line(out, v);
}

void gw_fail_ollama(struct gw_call *call, const struct gw_error *err, bool begun, struct vs_buf *out)
{
    json_t *v = json_pack("{s:o}", "error", vs_json_text(err->message, strlen(err->message)));
    (void)call;
    if (begun)
        line(out, v);
    else
        gw_value(out, v);
}

static void clear(struct gw_call *call)
{
    struct ollama *o = call->state;
    if (o)
        gw_answer_clear(&o->answer);
    free(o);
}

#define STREAM "application/x-ndjson"
const struct gw_api gw_api_ollama_chat = { .begin = chat_begin, .token = token, .done = done, .fail = gw_fail_ollama,
                                           .clear = clear, .stream_type = STREAM };
const struct gw_api gw_api_ollama_generate = { .begin = generate_begin, .token = token, .done = done, .fail = gw_fail_ollama,
                                               .clear = clear, .stream_type = STREAM };

/* ---- models ---- */

static int list_begin(struct gw_call *call, const struct gw_http *http, struct gw_error *err)
{
    (void)http;
    return gw_call_ask(call, VS_MSG_LIST, json_object()) == VS_OK ? VS_OK : gw_no_memory(err);
}

static int status_begin(struct gw_call *call, const struct gw_http *http, struct gw_error *err)
{
    (void)http;
    return gw_call_ask(call, VS_MSG_STATUS, json_object()) == VS_OK ? VS_OK : gw_no_memory(err);
}

static json_t *details_of(const json_t *facts)
{
    const char *family = json_string_value(json_object_get(facts, "architecture"));
    return json_pack("{s:s, s:s, s:s, s:o, s:s, s:s}", "parent_model", "", "format", "gguf", "family", family ? family : "",
                     "families", family ? json_pack("[s]", family) : json_null(), "parameter_size", "", "quantization_level", "");
}

static json_t *model_entry(const json_t *v, const char *size_key)
{
    json_t *name = json_object_get(v, "name"), *digest = json_object_get(v, "model_digest"), *bytes = json_object_get(v, size_key);
    return json_pack("{s:O, s:O, s:o, s:o, s:o}", "name", name, "model", name, "size", bytes ? json_incref(bytes) : json_integer(0),
                     "digest", digest ? json_incref(digest) : json_string(""), "details", details_of(json_object_get(v, "facts")));
}

static void tags_done(struct gw_call *call, size_t ask, const json_t *result, struct vs_buf *out)
{
    json_t *list = json_array();
    const json_t *v;
    size_t i;
    (void)ask;
    (void)call;
    json_array_foreach(json_object_get(result, "models"), i, v) {
        json_t *one = model_entry(v, "bytes");
        json_object_set_new(one, "modified_at", date_of(0));
        json_array_append_new(list, one);
    }
    gw_value(out, json_pack("{s:o}", "models", list));
}

static void ps_done(struct gw_call *call, size_t ask, const json_t *result, struct vs_buf *out)
{
    json_t *list = json_array();
    const json_t *v;
    size_t i;
    (void)ask;
    (void)call;
    json_array_foreach(json_object_get(result, "models"), i, v) {
        json_t *one = model_entry(v, "memory_bytes"), *context = json_object_get(json_object_get(v, "facts"), "context");
        json_object_set_new(one, "size_vram", json_integer(0));
        if (context)
            json_object_set(one, "context_length", context);
        json_array_append_new(list, one);
    }
    gw_value(out, json_pack("{s:o}", "models", list));
}

static int show_begin(struct gw_call *call, const struct gw_http *http, struct gw_error *err)
{
    static const struct gw_field fields[] = {
        { "model", GW_READ, NULL, gw_read_ollama_model },
        { "name", GW_READ, NULL, gw_read_ollama_model },
        { "verbose", GW_MUTE, NULL, NULL },
        { NULL, 0, NULL, NULL },
    };
    static const struct gw_field *const tables[] = { fields, NULL };
    struct gw_reading r;
    int rc = gw_reading_init(&r, call, http, VS_MSG_INSPECT, err);
    if (rc == VS_OK)
        rc = gw_read_fields(&r, http->body, "", tables);
    if (rc == VS_OK)
        rc = gw_read_end(&r);
    if (rc == VS_OK)
        rc = gw_ask_now(&r, VS_MSG_INSPECT);
    gw_reading_clear(&r);
    return rc;
}

/* How many numbers the file has, as "494.03M", and the type of most of them. */
static void add_sizes(json_t *details, const json_t *result)
{
    static const struct { double size; int digits; char unit; } units[] = {
        { 1e12, 1, 'T' }, { 1e9, 1, 'B' }, { 1e6, 2, 'M' }, { 1e3, 2, 'K' },
    };
    double n = json_number_value(json_object_get(result, "parameters")), most = 0;
    const char *name;
    json_t *type;
    size_t i = 0;
    while (i < 3 && n < units[i].size)
        i++;
    if (n > 0)
        json_object_set_new(details, "parameter_size", json_sprintf("%.*f%c", units[i].digits, n / units[i].size,
                                                                             units[i].unit));
    json_object_foreach(json_object_get(result, "types"), name, type) {
        double of_type = json_number_value(json_object_get(type, "parameters"));
        if (of_type > most)
            json_object_set_new(details, "quantization_level", json_string(name));
        most = of_type > most ? of_type : most;
    }
}

/* Clients offer what stands here and nothing else. Tools are for every model that has a chat template (docs/TOOLS.md). */
static json_t *capabilities_of(const json_t *info, const char *family, const char *template)
{
    char pooling[128];
    snprintf(pooling, sizeof pooling, "%s.pooling_type", family);
    if (json_object_get(info, pooling))
        return json_pack("[s]", "embedding");
    json_t *list = json_pack("[s]", "completion");
    if (*template)
        json_array_append_new(list, json_string("tools"));
    if (strcasestr(template, "think"))
        json_array_append_new(list, json_string("thinking"));
    return list;
}

static void show_done(struct gw_call *call, size_t ask, const json_t *result, struct vs_buf *out)
{
    const json_t *metadata = json_object_get(result, "metadata");
    const char *template = json_string_value(json_object_get(result, "chat_template"));
    json_t *info = metadata ? json_copy((json_t *)(uintptr_t)metadata) : json_object(), *details = details_of(result);
    const char *family = json_string_value(json_object_get(details, "family"));
    (void)ask;
    (void)call;
    json_object_del(info, "tokenizer.chat_template");
    add_sizes(details, result);
    template = template ? template : "";
    json_t *can = capabilities_of(info, family, template);
    gw_value(out, json_pack("{s:s, s:s, s:s, s:o, s:o, s:o}", "modelfile", "", "parameters", "", "template", template, "details",
                            details, "model_info", info, "capabilities", can));
}

static int version_begin(struct gw_call *call, const struct gw_http *http, struct gw_error *err)
{
    (void)call;
    (void)http;
    (void)err;
    return VS_OK;
}

static void version_done(struct gw_call *call, size_t ask, const json_t *result, struct vs_buf *out)
{
    (void)call;
    (void)ask;
    (void)result;
    gw_value(out, json_pack("{s:s}", "version", VERITAS_VERSION));
}

const struct gw_api gw_api_ollama_tags = { .begin = list_begin, .done = tags_done, .fail = gw_fail_ollama };
const struct gw_api gw_api_ollama_ps = { .begin = status_begin, .done = ps_done, .fail = gw_fail_ollama };
const struct gw_api gw_api_ollama_show = { .begin = show_begin, .done = show_done, .fail = gw_fail_ollama };
const struct gw_api gw_api_ollama_version = { .begin = version_begin, .done = version_done, .fail = gw_fail_ollama };
