/* prog/gateway/api_read.c - the reader of api_read.h, and the fields that several APIs have. */
#include "prog/gateway/api_read.h"
#include "prog/gateway/api_answer.h"

#include "base/bytes.h"
#include "base/sha256.h"
#include "ipc/json.h"
#include "ipc/keys.h"
#include "ipc/message.h"
#include "ipc/name.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { IGNORED_BYTES = 1024, NAME_SHOWN = 64, STOP_BYTES = 4096, TOOL_NAME_BYTES = 64, MOST_TOOLS = 512 };

int gw_reading_init(struct gw_reading *r, struct gw_call *call, const struct gw_http *http, uint16_t type, struct gw_error *err)
{
    *r = (struct gw_reading){ .call = call, .http = http, .type = type, .err = err, .name = "", .top_logprobs = -1, .n = 1 };
    r->request = json_object();
    if (!r->request)
        return gw_no_memory(err);
    return VS_OK;
}

void gw_reading_clear(struct gw_reading *r)
{
    json_decref(r->request);
    r->request = NULL;
    vs_buf_clear(&r->ignored);
}

/* ---- refusing ---- */

__attribute__((format(printf, 4, 0)))
static int refuse(struct gw_reading *r, const char *param, const char *code, const char *format, va_list args)
{
    char text[512];
    vsnprintf(text, sizeof text, format, args);
    return gw_error_set(r->err, 400, code, param, "%s: %s", param, text);
}

int gw_refuse(struct gw_reading *r, const char *code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int rc = refuse(r, r->name, code, format, args);
    va_end(args);
    return rc;
}

int gw_refuse_at(struct gw_reading *r, const char *param, const char *code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int rc = refuse(r, param, code, format, args);
    va_end(args);
    return rc;
}

/* ---- our request ---- */

int gw_put(struct gw_reading *r, const char *key, json_t *value)
{
    const char *dot = strchr(key, '.');
    json_t *to = r->request;
    if (!r->call->names)
        r->call->names = json_object();
    json_object_set_new(r->call->names, key, json_string(r->name));
    char group[40];
    if (dot) {
        snprintf(group, sizeof group, "%.*s", (int)(dot - key), key);
        to = json_object_get(r->request, group);
        if (!to) {
            to = json_object();
            json_object_set_new(r->request, group, to);
        }
    }
    if (json_object_set_new(to, dot ? dot + 1 : key, value) != 0)
        return gw_no_memory(r->err);
    return VS_OK;
}

int gw_map(struct gw_reading *r, const char *key, const json_t *value)
{
    const struct vs_key *found = vs_key_find(key);
    const char *dot = strchr(key, '.');
    struct vs_error why;
    if (!found)
        return gw_refuse(r, "unsupported_parameter", "not supported");
    const json_t *before = dot ? json_object_get(json_object_getn(r->request, key, (size_t)(dot - key)), dot + 1)
                               : json_object_get(r->request, key);
    if (before && !json_equal(before, value))       /* two names of one thing */
        return gw_refuse(r, "invalid_value", "%s says something else: only one of the two is needed",
                         json_string_value(json_object_get(r->call->names, key)));
    struct vs_key row = *found;
    row.path = r->name;
    if (vs_key_judge(&row, value, &why) != VS_OK)
        return gw_error_set(r->err, 400, "invalid_value", r->name, "%s", why.text);
    return gw_put(r, key, json_incref((json_t *)(uintptr_t)value));
}

static bool is_ignored(const struct gw_reading *r, const char *word)
{
    size_t n = strlen(word);
    for (const char *at = r->ignored.data; at && *at; at = strchr(at, ' '), at = at ? at + 1 : NULL)
        if (strncmp(at, word, n) == 0 && (!at[n] || at[n] == ','))
            return true;
    return false;
}

/* Names come from outside and go into a header: what is not plain there becomes a question mark. */
void gw_ignore(struct gw_reading *r, const char *name)
{
    char word[NAME_SHOWN + 1];
    size_t n = 0;
    if (r->ignored.n > IGNORED_BYTES)
        return;
    for (; name[n] && n < NAME_SHOWN; n++)
        word[n] = (name[n] > ' ' && name[n] < 0x7f && name[n] != ',') ? name[n] : '?';
    word[n] = 0;
    if (r->ignored.n + n > IGNORED_BYTES)
        snprintf(word, sizeof word, "...");
    if (!is_ignored(r, n ? word : "?"))
        vs_buf_printf(&r->ignored, "%s%s", r->ignored.n ? ", " : "", n ? word : "?");
}

void gw_ignore_others(struct gw_reading *r, const json_t *object, const char *prefix, const char *const *known)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)object, key, v) {
        size_t i = 0;
        char full[80];
        while (known[i] && strcmp(known[i], key) != 0)
            i++;
        snprintf(full, sizeof full, "%s%s", prefix, key);
        if (!known[i])
            gw_ignore(r, full);
    }
}

/* ---- values ---- */

bool gw_is(const json_t *v, const char *word)
{
    return json_is_string(v) && json_string_length(v) == strlen(word) && memcmp(json_string_value(v), word, strlen(word)) == 0;
}

static int judge(struct gw_reading *r, struct vs_key row, const json_t *v)
{
    struct vs_error why;
    row.path = r->name;
    if (vs_key_judge(&row, v, &why) == VS_OK)
        return VS_OK;
    return gw_error_set(r->err, 400, "invalid_value", r->name, "%s", why.text);
}

int gw_need_text(struct gw_reading *r, const json_t *v, const char **ret)
{
    int rc = judge(r, (struct vs_key){ .value = VS_VALUE_TEXT }, v);
    if (rc == VS_OK)
        *ret = json_string_value(v);
    return rc;
}

int gw_need_flag(struct gw_reading *r, const json_t *v, bool *ret)
{
    int rc = judge(r, (struct vs_key){ .value = VS_VALUE_FLAG }, v);
    if (rc == VS_OK)
        *ret = json_is_true(v);
    return rc;
}

int gw_need_int(struct gw_reading *r, const json_t *v, int64_t low, int64_t high, int64_t *ret)
{
    int rc = judge(r, (struct vs_key){ .value = VS_VALUE_INT, .low = (double)low, .high = (double)high }, v);
    if (rc == VS_OK)
        *ret = json_integer_value(v);
    return rc;
}

int gw_read_list(struct gw_reading *r, const json_t *v, int (*one)(struct gw_reading *, size_t i, const json_t *))
{
    int rc = json_is_array(v) ? VS_OK : gw_refuse(r, "invalid_value", "a list is needed");
    size_t i;
    const json_t *value;
    json_array_foreach(v, i, value)
        if (rc == VS_OK)
            rc = one(r, i, value);
    return rc;
}

/* ---- fields by tables ---- */

static const struct gw_field *find(const struct gw_field *const *tables, const char *name)
{
    for (; *tables; tables++)
        for (const struct gw_field *f = *tables; f->name; f++)
            if (strcmp(f->name, name) == 0)
                return f;
    return NULL;
}

/* Is v one of the JSON texts in list? */
static bool is_one_of(const char *list, const json_t *v)
{
    struct vs_buf text = { .limit = 256 };
    bool found = false;
    char *dumped = json_is_array(v) || json_is_object(v) ? NULL : json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);
    vs_buf_str(&text, dumped ? dumped : "");
    free(dumped);
    for (const char *at = list; text.n && text.status == VS_OK && at && !found; at = strchr(at, '|'), at = at ? at + 1 : NULL)
        found = strncmp(at, text.data, text.n) == 0 && (at[text.n] == '|' || !at[text.n]);
    vs_buf_clear(&text);
    return found;
}

static int read_field(struct gw_reading *r, const struct gw_field *f, const json_t *v)
{
    switch (f->how) {
    case GW_MAP: return gw_map(r, f->to, v);
    case GW_READ: return f->read(r, v);
    case GW_MUTE: return VS_OK;
    case GW_ONLY:
        return is_one_of(f->to, v) ? VS_OK : gw_refuse(r, "unsupported_value", "only %s is supported", f->to);
    case GW_HINT:
        if (!is_one_of(f->to, v))
            gw_ignore(r, r->name);
        return VS_OK;
    case GW_NEVER: break;
    }
    return gw_refuse(r, "unsupported_parameter", "not supported: %s", f->to);
}

int gw_read_fields(struct gw_reading *r, const json_t *object, const char *prefix, const struct gw_field *const *tables)
{
    const char *name, *outer = r->name;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)object, name, v) {
        const struct gw_field *f = find(tables, name);
        char full[64];
        snprintf(full, sizeof full, "%s%s", prefix, name);
        r->name = full;
        int rc = VS_OK;
        if (!f)
            gw_ignore(r, full);
        else if (!json_is_null(v))
            rc = read_field(r, f, v);
        r->name = outer;
        if (rc != VS_OK)
            return rc;
    }
    return VS_OK;
}

int gw_read_object(struct gw_reading *r, const json_t *v, const struct gw_field *const *tables)
{
    char prefix[64];
    snprintf(prefix, sizeof prefix, "%s.", r->name);
    return json_is_object(v) ? gw_read_fields(r, v, prefix, tables) : gw_refuse(r, "invalid_value", "an object is needed");
}

/* What -1 stands for: drawn from the request's own id, which is random; JSON clients hold 53 bits. */
static int draw_seed(struct gw_reading *r)
{
    struct vs_sha256 hash;
    uint8_t digest[32];
    vs_sha256_init(&hash);
    vs_sha256_add(&hash, "seed", 4);
    vs_sha256_add(&hash, r->call->id, strlen(r->call->id));
    vs_sha256_end(&hash, digest);
    int64_t seed = (int64_t)(vs_load_u64le(digest) >> 11);
    vs_buf_printf(&r->call->headers, "x-veritas-seed: %" PRId64 "\r\n", seed);
    return gw_put(r, "sampling.seed", json_integer(seed));
}

static int set_model(struct gw_reading *r, const char *name, size_t n)
{
    r->name = "model";
    if (n == 0)
        return gw_refuse(r, "missing_required_parameter", "which model? GET /v1/models lists them");
    if (strlen(name) != n || (!vs_model_name_is_valid(name) && name[0] != '/'))
        return gw_error_set(r->err, 404, "model_not_found", "model", "there is no model of this name: GET /v1/models lists them");
    snprintf(r->call->model, sizeof r->call->model, "%s", name);
    return gw_put(r, "model", json_string(name));
}

int gw_read_end(struct gw_reading *r)
{
    int rc = VS_OK;
    if (!json_object_get(r->request, "model")) {
        const char *name = r->call->default_model;
        rc = set_model(r, name ? name : "", name ? strlen(name) : 0);
    }
    r->name = "top_logprobs";
    if (rc == VS_OK && r->top_logprobs > 0 && !r->wants_logprobs)
        rc = gw_refuse(r, "invalid_value", "logprobs must be true with it");
    if (rc == VS_OK && r->wants_logprobs)
        rc = gw_put(r, "logprobs", json_integer(r->top_logprobs < 0 ? 0 : r->top_logprobs));
    if (rc == VS_OK && r->n > 1)
        rc = gw_put(r, "n", json_integer(r->n));
    if (rc == VS_OK && r->draws_seed)
        rc = draw_seed(r);
    if (rc == VS_OK && r->ignored.n)
        vs_buf_printf(&r->call->headers, "x-veritas-ignored: %s\r\n", r->ignored.data);
    r->call->stream = r->stream;
    return rc;
}

int gw_require(struct gw_reading *r, const char *key, const char *name)
{
    if (json_object_get(r->request, key))
        return VS_OK;
    return gw_refuse_at(r, name, "missing_required_parameter", "is needed");
}

void gw_narrow(struct gw_reading *r, uint16_t type)
{
    const char *name;
    json_t *v;
    void *next;
    json_object_foreach_safe(r->request, next, name, v) {
        const struct vs_key *row = vs_key_find(name);
        bool stays = row && (row->readers & VS_READS(type) || strcmp(name, "model") == 0 || strcmp(name, "deadline_ms") == 0);
        if (!stays)
            json_object_del(r->request, name);
    }
}

int gw_ask_now(struct gw_reading *r, uint16_t type)
{
    json_t *request = r->request;
    r->request = NULL;
    if (gw_call_ask(r->call, type, request) != VS_OK)
        return gw_no_memory(r->err);
    return VS_OK;
}

int gw_begin_answer(struct gw_reading *r, struct gw_call *call, const struct gw_http *http, struct gw_error *err,
                    int (*read)(struct gw_reading *), struct gw_answer *answer)
{
    int rc = gw_reading_init(r, call, http, VS_MSG_CHAT, err);
    if (rc == VS_OK)
        rc = read(r);
    if (rc == VS_OK && (!answer || gw_answer_init(answer, (size_t)r->n, !r->stream) != VS_OK))
        rc = gw_no_memory(err);
    if (rc == VS_OK)
        rc = gw_want_parts(r);
    return rc == VS_OK ? gw_ask_now(r, VS_MSG_CHAT) : rc;
}

int gw_begin_count(struct gw_call *call, const struct gw_http *http, struct gw_error *err, int (*read)(struct gw_reading *))
{
    struct gw_reading r;
    int rc = gw_reading_init(&r, call, http, VS_MSG_CHAT, err);
    if (rc == VS_OK)
        rc = read(&r);
    call->stream = false;
    if (rc == VS_OK)
        rc = gw_want_parts(&r);          /* of them the prompt depends: chat.h */
    if (rc == VS_OK) {
        gw_narrow(&r, VS_MSG_TOKENIZE);
        rc = gw_ask_now(&r, VS_MSG_TOKENIZE);
    }
    gw_reading_clear(&r);
    return rc;
}

int gw_read_begun(struct gw_reading *r, json_t *messages)
{
    size_t n = json_array_size(messages);
    json_t *last = json_array_get(messages, n - 1), *text = json_object_get(last, "content");
    bool is_text = gw_is(json_object_get(last, "role"), "assistant") && json_string_length(text);
    if (n < 2 || !is_text || json_object_get(last, "tool_calls") || json_object_get(last, "reasoning_content"))
        return gw_refuse(r, "invalid_value", "the last message is an assistant's: text to go on from is needed in it, and one "
                         "before it");
    int rc = gw_put(r, "begun", json_incref(text));
    json_array_remove(messages, n - 1);
    return rc;
}

static const json_t *name_of(const json_t *tool, const char *at)
{
    return json_object_get(at ? json_object_get(tool, at) : tool, "name");
}

/* The model is told of the tools that are allowed, and of no others. */
static int keep_allowed(struct gw_reading *r)
{
    json_t *kept = json_array(), *all = json_object_get(r->request, "tools"), *tool;
    const json_t *one;
    size_t i, k;
    if (json_array_size(r->allowed) <= json_array_size(all))
        json_array_foreach(all, i, tool)
            json_array_foreach(r->allowed, k, one)
                if (json_equal(name_of(tool, "function"), name_of(one, r->allowed_at))) {
                    json_array_append(kept, tool);
                    break;
                }
    bool is_whole = json_array_size(kept) == json_array_size(r->allowed);
    json_object_set_new(r->request, "tools", kept);
    return is_whole ? VS_OK : gw_refuse_at(r, "tool_choice", "invalid_value", "what is allowed is not among the tools, or twice");
}

int gw_settle_tools(struct gw_reading *r)
{
    const json_t *choice = json_object_get(r->request, "tool_choice");
    int rc = r->allowed ? keep_allowed(r) : VS_OK;
    if (rc != VS_OK)
        return rc;
    if (json_object_get(r->request, "tools")) {
        if (r->has_format && choice && !gw_is(choice, "auto") && !gw_is(choice, "none"))
            json_object_del(r->request, "constraint");
        else if (r->has_format && !gw_is(choice, "none"))
            return gw_put(r, "constraint.or_calls", json_true());
        return VS_OK;
    }
    if (choice && !gw_is(choice, "auto") && !gw_is(choice, "none"))
        return gw_refuse_at(r, "tool_choice", "invalid_value", "there are no tools");
    json_object_del(r->request, "tool_choice");
    json_object_del(r->request, "parallel_tool_calls");
    return VS_OK;
}

static void join_system(struct gw_reading *r)
{
    json_t *system = json_object_get(r->request, "system");
    if (!system)
        return;
    json_array_insert_new(json_object_get(r->request, "messages"), 0, json_pack("{s:s, s:O}", "role", "system", "content", system));
    json_object_del(r->request, "system");
}

int gw_read_conversation(struct gw_reading *r, const struct gw_field *const *tables, const char *name)
{
    int rc = gw_read_fields(r, r->http->body, "", tables);
    if (rc == VS_OK)
        rc = gw_require(r, "messages", name);
    if (rc == VS_OK)
        rc = gw_settle_tools(r);
    if (rc != VS_OK)
        return rc;
    join_system(r);
    return gw_read_end(r);
}

/* ---- fields of several APIs ---- */

int gw_read_model(struct gw_reading *r, const json_t *v)
{
    const char *name;
    int rc = gw_need_text(r, v, &name);
    return rc == VS_OK ? set_model(r, name, json_string_length(v)) : rc;
}

int gw_read_stream(struct gw_reading *r, const json_t *v)
{
    return gw_need_flag(r, v, &r->stream);
}

static int read_include_usage(struct gw_reading *r, const json_t *v)
{
    return gw_need_flag(r, v, &r->include_usage);
}

static int read_stream_options(struct gw_reading *r, const json_t *v)
{
    static const struct gw_field fields[] = {
        { "include_usage", GW_READ, NULL, read_include_usage },
        { "include_obfuscation", GW_MUTE, NULL, NULL },
        { NULL, 0, NULL, NULL },
    };
    static const struct gw_field *const tables[] = { fields, NULL };
    return gw_read_object(r, v, tables);
}

int gw_read_stop(struct gw_reading *r, const json_t *v)
{
    json_t *list = json_is_string(v) ? json_pack("[O]", v) : json_incref((json_t *)(uintptr_t)v);
    size_t i;
    const json_t *s;
    if (!json_is_array(list)) {
        json_decref(list);
        return gw_refuse(r, "invalid_value", "a string or a list of strings is needed");
    }
    int rc = VS_OK;
    json_array_foreach(list, i, s)
        if (rc == VS_OK && (!json_is_string(s) || !json_string_length(s) || json_string_length(s) > STOP_BYTES))
            rc = gw_refuse(r, "invalid_value", "entry %zu is not a string of 1 to %d bytes", i, STOP_BYTES);
    if (rc == VS_OK && json_array_size(list) > 0)
        rc = gw_map(r, "stop", list);
    json_decref(list);
    return rc;
}

int gw_read_n(struct gw_reading *r, const json_t *v)
{
    const struct vs_key *row = vs_key_find("n");
    return gw_need_int(r, v, 1, (int64_t)row->high, &r->n);
}

int gw_read_logprobs(struct gw_reading *r, const json_t *v)
{
    return gw_need_flag(r, v, &r->wants_logprobs);
}

static int read_seed(struct gw_reading *r, const json_t *v)
{
    r->draws_seed = json_is_integer(v) && json_integer_value(v) == -1;
    return r->draws_seed ? VS_OK : gw_map(r, "sampling.seed", v);
}

static int read_top_k(struct gw_reading *r, const json_t *v)
{
    if (json_is_integer(v) && json_integer_value(v) == -1)      /* how others write "all of them" */
        return gw_put(r, "sampling.top_k", json_integer(0));
    return gw_map(r, "sampling.top_k", v);
}

/* {"50256": -100}: -100 is never, as everywhere. */
static int read_logit_bias(struct gw_reading *r, const json_t *v)
{
    const char *id;
    json_t *bias;
    if (!json_is_object(v))
        return gw_refuse(r, "invalid_value", "an object is needed, token ids with their bias from -100 to 100");
    json_t *list = json_array();
    int rc = VS_OK;
    json_object_foreach((json_t *)(uintptr_t)v, id, bias) {
        size_t n = strspn(id, "0123456789");
        double d = json_number_value(bias);
        if (n == 0 || n > 9 || id[n] || (n > 1 && id[0] == '0') || !json_is_number(bias) || !(d >= -100 && d <= 100)) {
            rc = gw_refuse(r, "invalid_value", "token ids (digits) with a bias from -100 to 100 each are needed");
            break;
        }
        json_array_append_new(list, d <= -100 ? json_pack("[I, s]", (json_int_t)strtol(id, NULL, 10), "-inf")
                                              : json_pack("[I, O]", (json_int_t)strtol(id, NULL, 10), bias));
    }
    if (rc == VS_OK && json_array_size(list) > 0)
        rc = gw_map(r, "sampling.logit_bias", list);
    json_decref(list);
    return rc;
}

static int read_tier(struct gw_reading *r, const json_t *v)
{
    if (gw_is(v, "auto") || gw_is(v, "default"))
        return VS_OK;
    if (gw_is(v, "flex") || gw_is(v, "priority"))
        return gw_put(r, "priority", json_string(gw_is(v, "flex") ? "low" : "high"));
    return gw_refuse(r, "unsupported_value", "auto, default, flex or priority is needed");
}

static int read_args(struct gw_reading *r, const json_t *v)
{
    json_t *before = json_object_get(r->request, "template_args");
    if (!json_is_object(v))
        return gw_refuse(r, "invalid_value", "an object is needed, variables of the chat template");
    json_t *all = json_copy((json_t *)(uintptr_t)v);
    if (before)                         /* what reasoning_effort set yields to what is named here */
        json_object_update_missing(all, before);
    return gw_put(r, "template_args", all);
}

static int put_arg(struct gw_reading *r, const char *name, json_t *value)
{
    json_t *args = json_object_get(r->request, "template_args");
    if (args && json_object_get(args, name)) {
        json_decref(value);
        return VS_OK;
    }
    char key[64];
    snprintf(key, sizeof key, "template_args.%s", name);
    return gw_put(r, key, value);
}

int gw_read_thinks(struct gw_reading *r, bool thinks)
{
    return put_arg(r, "enable_thinking", json_boolean(thinks));
}

void gw_copy_zone(json_t *to, const json_t *from)
{
    json_t *zone = json_object_get(from, "zone");
    if (zone && !json_is_null(zone))
        json_object_set(to, "zone", zone);
}

json_t *gw_content(json_t *parts)
{
    struct vs_buf text = { 0 };
    size_t i;
    const json_t *part;
    json_array_foreach(parts, i, part) {
        const json_t *s = json_object_get(part, "text");
        if (json_object_get(part, "zone")) {
            vs_buf_clear(&text);
            return parts;
        }
        if (i)
            vs_buf_char(&text, '\n');
        vs_buf_add(&text, json_string_value(s), json_string_length(s));
    }
    json_t *whole = vs_json_text(text.data, text.n);
    vs_buf_clear(&text);
    json_decref(parts);
    return whole;
}

int gw_want_parts(struct gw_reading *r)
{
    return vs_key_find("parts") ? gw_put(r, "parts", json_true()) : VS_OK;
}

int gw_read_effort(struct gw_reading *r, const json_t *v)
{
    static const char *const words[] = { "none", "minimal", "low", "medium", "high", "xhigh", "max" };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (gw_is(v, words[i])) {
            int rc = gw_read_thinks(r, i > 0);
            return rc == VS_OK && i > 0 ? put_arg(r, "reasoning_effort", json_string(words[i])) : rc;
        }
    return gw_refuse(r, "unsupported_value", "none, minimal, low, medium, high, xhigh or max is needed");
}

/* ---- constraints ---- */

int gw_read_constraint(struct gw_reading *r, const char *kind, const json_t *v)
{
    json_t *parsed = NULL;
    if (json_object_get(r->request, "constraint"))
        return gw_refuse(r, "invalid_value", "the answer can keep one constraint; this is the second");
    if (strcmp(kind, "json_schema") == 0 && json_is_string(v)) {       /* a schema as text */
        struct vs_error why;
        parsed = vs_json_parse(json_string_value(v), json_string_length(v), &why);
        if (!parsed)
            return gw_refuse(r, "invalid_value", "the text of the schema: %s", why.text);
    }
    json_t *value = parsed ? parsed : json_incref((json_t *)(uintptr_t)v);
    return gw_put(r, "constraint", json_pack("{s:o}", kind, value));
}

/* {"type": "json_schema", "json_schema": {"schema"}}, and the flat form of Responses: {"type", "schema"}. */
int gw_read_format(struct gw_reading *r, const json_t *v)
{
    const json_t *type = json_object_get(v, "type"), *inner = json_object_get(v, "json_schema");
    const json_t *schema = json_object_get(inner ? inner : v, "schema");
    char at[80];
    schema = json_is_null(schema) ? NULL : schema;
    if (!json_is_object(v))
        return gw_refuse(r, "invalid_value", "an object with a type is needed");
    static const char *const known[] = { "type", "json_schema", "name", "description", "schema", "strict", NULL };
    snprintf(at, sizeof at, "%s.", r->name);
    gw_ignore_others(r, v, at, known);
    snprintf(at, sizeof at, "%s.json_schema.", r->name);
    gw_ignore_others(r, inner, at, known + 2);
    if (gw_is(type, "text"))
        return VS_OK;
    snprintf(at, sizeof at, "%s.type", r->name);
    bool is_schema = gw_is(type, "json_schema");
    if (!is_schema && !gw_is(type, "json_object"))
        return gw_refuse_at(r, at, "unsupported_value", "text, json_object or json_schema is needed");
    snprintf(at, sizeof at, "%s.%sschema", r->name, inner ? "json_schema." : "");
    if (is_schema && !schema)
        return gw_refuse_at(r, at, "missing_required_parameter", "what is the schema?");
    r->has_format = true;
    if (schema && !json_is_object(schema) && !json_is_boolean(schema))
        return gw_refuse_at(r, at, "invalid_value", "a schema is an object, true or false");
    if (schema)
        return gw_read_constraint(r, "json_schema", schema);
    json_t *yes = json_true();
    return gw_read_constraint(r, "json_object", yes);
}

static int read_schema(struct gw_reading *r, const json_t *v)
{
    return gw_read_constraint(r, "json_schema", v);
}

static int read_regex(struct gw_reading *r, const json_t *v)
{
    return gw_read_constraint(r, "regex", v);
}

static int read_choice(struct gw_reading *r, const json_t *v)
{
    return gw_read_constraint(r, "choice", v);
}

static int read_grammar(struct gw_reading *r, const json_t *v)
{
    return gw_read_constraint(r, "grammar", v);
}

static int read_json_object(struct gw_reading *r, const json_t *v)
{
    bool wanted = false;
    int rc = gw_need_flag(r, v, &wanted);
    return rc == VS_OK && wanted ? gw_read_constraint(r, "json_object", v) : rc;
}

static int read_structured(struct gw_reading *r, const json_t *v)
{
    static const struct gw_field fields[] = {
        { "json", GW_READ, NULL, read_schema },
        { "regex", GW_READ, NULL, read_regex },
        { "choice", GW_READ, NULL, read_choice },
        { "grammar", GW_READ, NULL, read_grammar },
        { "json_object", GW_READ, NULL, read_json_object },
        { "structural_tag", GW_NEVER, "use json, regex, choice, grammar or json_object", NULL },
        { NULL, 0, NULL, NULL },
    };
    static const struct gw_field *const tables[] = { fields, NULL };
    int rc = gw_read_object(r, v, tables);
    if (rc == VS_OK && !json_object_get(r->request, "constraint"))      /* who asks for a form is not answered without one */
        return gw_refuse(r, "invalid_value", "json, regex, choice, grammar or json_object is needed");
    return rc;
}

/* ---- tools ---- */

int gw_skip_tool(struct gw_reading *r, const char *at, const json_t *type)
{
    char name[64];
    if (!json_string_length(type))
        return gw_refuse_at(r, at, "invalid_value", "type: a string is needed");
    snprintf(name, sizeof name, "tools.%s", json_string_value(type));
    gw_ignore(r, name);
    return VS_OK;
}

int gw_read_tool(struct gw_reading *r, const char *at, const json_t *tool, const char *schema, const char *prefix)
{
    const char *const known[] = { "type", "name", "description", schema, "strict", "cache_control", NULL };
    const json_t *name = json_object_get(tool, "name"), *description = json_object_get(tool, "description");
    const json_t *parameters = json_object_get(tool, schema), *strict = json_object_get(tool, "strict");
    json_t *tools = json_object_get(r->request, "tools");
    const char *s = json_string_value(name);
    size_t n = json_string_length(name);
    char param[64];
    if (json_array_size(tools) == MOST_TOOLS)           /* each name is compared with all before it */
        return gw_refuse(r, "invalid_value", "at most %d tools are read", MOST_TOOLS);
    gw_ignore_others(r, tool, prefix, known);
    snprintf(param, sizeof param, "%s.name", at);
    if (!s || !n || n > TOOL_NAME_BYTES
        || strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-") != n)
        return gw_refuse_at(r, param, "invalid_value", "1 to %d of A-Z a-z 0-9 _ . - are needed", TOOL_NAME_BYTES);
    json_t *other;
    size_t i;
    json_array_foreach(tools, i, other)
        if (json_equal(json_object_get(json_object_get(other, "function"), "name"), name))
            return gw_refuse_at(r, param, "invalid_value", "another tool has this name");
    snprintf(param, sizeof param, "%s.description", at);
    if (description && !json_is_string(description) && !json_is_null(description))
        return gw_refuse_at(r, param, "invalid_value", "a string is needed");
    snprintf(param, sizeof param, "%s.strict", at);
    if (strict && !json_is_boolean(strict) && !json_is_null(strict))
        return gw_refuse_at(r, param, "invalid_value", "true or false is needed");
    snprintf(param, sizeof param, "%s.%s", at, schema);
    if (parameters && !json_is_object(parameters) && !json_is_null(parameters))
        return gw_refuse_at(r, param, "invalid_value", "a JSON schema, an object, is needed");
    json_t *function = json_pack("{s:O}", "name", name);
    if (json_is_string(description))
        json_object_set(function, "description", (json_t *)(uintptr_t)description);
    if (json_is_object(parameters))
        json_object_set(function, "parameters", (json_t *)(uintptr_t)parameters);
    json_t *ours = json_pack("{s:s, s:o}", "type", "function", "function", function);
    if (json_is_true(strict))
        gw_put(r, "strict_calls", json_true());
    if (tools)
        return json_array_append_new(tools, ours) == 0 ? VS_OK : gw_no_memory(r->err);
    return gw_put(r, "tools", json_pack("[o]", ours));
}

int gw_put_choice(struct gw_reading *r, const json_t *name)
{
    return gw_put(r, "tool_choice", json_pack("{s:s, s:{s:O}}", "type", "function", "function", "name", name));
}

int gw_read_choice(struct gw_reading *r, const json_t *v, const char *at, const char *allowed_at)
{
    const json_t *type = json_object_get(v, "type"), *name = name_of(v, at);
    const json_t *set = allowed_at ? json_object_get(v, allowed_at) : v, *mode = json_object_get(set, "mode");
    if (gw_is(v, "auto") || gw_is(v, "none") || gw_is(v, "required"))
        return gw_put(r, "tool_choice", json_incref((json_t *)(uintptr_t)v));
    if (gw_is(type, "function") && json_is_string(name))
        return gw_put_choice(r, name);
    if (gw_is(type, "allowed_tools") && (gw_is(mode, "auto") || gw_is(mode, "required"))
        && json_array_size(json_object_get(set, "tools"))) {
        r->allowed = json_object_get(set, "tools");
        r->allowed_at = at;
        return gw_put(r, "tool_choice", json_incref((json_t *)(uintptr_t)mode));
    }
    return gw_refuse(r, "unsupported_value", "auto, none, required, {\"type\": \"function\"} with a name, or {\"type\": "
                     "\"allowed_tools\"} with a mode (auto, required) and tools is needed");
}

static int read_parallel(struct gw_reading *r, const json_t *v)
{
    bool wanted = true;
    int rc = gw_need_flag(r, v, &wanted);
    return rc == VS_OK ? gw_put(r, "parallel_tool_calls", json_boolean(wanted)) : rc;
}

/* ---- tables ---- */

#define GUIDED "use structured_outputs"

const struct gw_field gw_fields_sampling[] = {
    { "temperature", GW_MAP, "sampling.temperature", NULL },
    { "top_p", GW_MAP, "sampling.top_p", NULL },
    { "top_k", GW_READ, NULL, read_top_k },
    { "min_p", GW_MAP, "sampling.min_p", NULL },
    { "typical_p", GW_MAP, "sampling.typical_p", NULL },
    { "repeat_penalty", GW_MAP, "sampling.repeat_penalty", NULL },
    { "repetition_penalty", GW_MAP, "sampling.repeat_penalty", NULL },
    { "repeat_last_n", GW_MAP, "sampling.repeat_last_n", NULL },
    { "presence_penalty", GW_MAP, "sampling.presence_penalty", NULL },
    { "frequency_penalty", GW_MAP, "sampling.frequency_penalty", NULL },
    { "seed", GW_READ, NULL, read_seed },
    { "logit_bias", GW_READ, NULL, read_logit_bias },
    { "zone", GW_NEVER, "a message or a part of its content says it", NULL },
    { "ignore_file", GW_MAP, "sampling.ignore_file", NULL },
    { "ignore_eos", GW_MAP, "ignore_eos", NULL },
    { "stop_token_ids", GW_MAP, "stop_tokens", NULL },
    { "cache_key", GW_MAP, "cache_key", NULL },
    { "cache_salt", GW_MAP, "cache_key", NULL },
    { "speculation", GW_MAP, "speculation", NULL },
    { "priority", GW_MAP, "priority", NULL },
    { "deadline_ms", GW_MAP, "deadline_ms", NULL },
    { "receipt", GW_MAP, "receipt", NULL },
    { NULL, 0, NULL, NULL },
};

const struct gw_field gw_fields_constraint[] = {
    { "structured_outputs", GW_READ, NULL, read_structured },
    { "grammar", GW_READ, NULL, read_grammar },
    { "json_schema", GW_READ, NULL, read_schema },
    { "guided_json", GW_NEVER, GUIDED, NULL },
    { "guided_regex", GW_NEVER, GUIDED, NULL },
    { "guided_choice", GW_NEVER, GUIDED, NULL },
    { "guided_grammar", GW_NEVER, GUIDED, NULL },
    { NULL, 0, NULL, NULL },
};

const struct gw_field gw_fields_chat[] = {
    { "documents", GW_MAP, "documents", NULL },
    { "chat_template_kwargs", GW_READ, NULL, read_args },
    { "template", GW_MAP, "template", NULL },
    { "now", GW_MAP, "now", NULL },
    { NULL, 0, NULL, NULL },
};

const struct gw_field gw_fields_openai_chat[] = {
    { "parallel_tool_calls", GW_READ, NULL, read_parallel },
    { "service_tier", GW_READ, NULL, read_tier },
    { "metadata", GW_MUTE, NULL, NULL },
    { "safety_identifier", GW_MUTE, NULL, NULL },
    { "prompt_cache_key", GW_MUTE, NULL, NULL },
    { "prompt_cache_options", GW_MUTE, NULL, NULL },
    { "prompt_cache_retention", GW_MUTE, NULL, NULL },
    { "store", GW_HINT, "false", NULL },
    { "moderation", GW_NEVER, "nothing here moderates", NULL },
    { NULL, 0, NULL, NULL },
};

const struct gw_field gw_fields_openai[] = {
    { "model", GW_READ, NULL, gw_read_model },
    { "stream", GW_READ, NULL, gw_read_stream },
    { "stream_options", GW_READ, NULL, read_stream_options },
    { "n", GW_READ, NULL, gw_read_n },
    { "stop", GW_READ, NULL, gw_read_stop },
    { "user", GW_MUTE, NULL, NULL },
    { NULL, 0, NULL, NULL },
};
