/* prog/gateway/api_completions.c - POST /v1/completions: text to complete, without a template. Each prompt of a list is a request
 * of its own; choice i of prompt p has the index p * n + i.
 */
#include "prog/gateway/api_answer.h"
#include "prog/gateway/api_read.h"
#include "prog/gateway/api_routes.h"

#include "base/utf8.h"
#include "ipc/json.h"
#include "ipc/message.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_PROMPTS = 64, MAX_TOKENS = 16 };     /* the API's own default of max_tokens */

struct completions {
    struct gw_answer answer;
    struct gw_usage usage;
    bool include_usage, wants_logprobs;
    size_t n, n_done, n_prompts;
    size_t *offset;                     /* of each choice: characters so far, for text_offset */
    char (*finish)[32];
    json_t *fingerprint;
    json_t *receipts;                   /* list of those of each prompt, as gw_add_receipts says them */
};

/* The prompts wait in the request as "prompt" or "tokens" of their list until it is multiplied. */
static int read_prompt(struct gw_reading *r, const json_t *v)
{
    const json_t *first = json_array_get(v, 0);
    bool is_list = json_is_array(v) && (json_is_string(first) || json_is_array(first));
    json_t *list = is_list ? json_incref((json_t *)(uintptr_t)v) : json_pack("[O]", v);
    size_t i;
    const json_t *p;
    int rc = VS_OK;
    if (json_array_size(list) > MAX_PROMPTS)
        rc = gw_refuse(r, "invalid_value", "at most %d prompts in one request", MAX_PROMPTS);
    json_array_foreach(list, i, p) {
        bool is_ids = json_is_array(p) && json_is_integer(json_array_get(p, 0));
        if (rc == VS_OK && !json_is_string(p) && !is_ids)
            rc = gw_refuse(r, "invalid_value", "a string, a list of token ids, or a list of these is needed");
    }
    if (rc == VS_OK)
        return gw_put(r, "prompt", list);
    json_decref(list);
    return rc;
}

static int read_logprobs(struct gw_reading *r, const json_t *v)
{
    r->wants_logprobs = true;
    return gw_need_int(r, v, 0, 100, &r->top_logprobs);
}

static int read_suffix(struct gw_reading *r, const json_t *v)
{
    return json_is_string(v) && json_string_length(v) == 0 ? VS_OK : gw_refuse(r, "unsupported_parameter", "not supported");
}

static const struct gw_field fields[] = {
    { "prompt", GW_READ, NULL, read_prompt },
    { "max_tokens", GW_MAP, "max_tokens", NULL },
    { "logprobs", GW_READ, NULL, read_logprobs },
    { "response_format", GW_READ, NULL, gw_read_format },
    { "special", GW_MAP, "special", NULL },
    { "suffix", GW_READ, NULL, read_suffix },
    { "documents", GW_NEVER, "chat, responses and messages take them", NULL },
    { "echo", GW_ONLY, "false", NULL },
    { "best_of", GW_MUTE, NULL, NULL },                 /* checked against n below */
    { NULL, 0, NULL, NULL },
};
static const struct gw_field *const tables[] = { fields, gw_fields_openai, gw_fields_sampling, gw_fields_constraint, NULL };

static int ask_all(struct gw_reading *r, struct completions *c)
{
    json_t *prompts = json_incref(json_object_get(r->request, "prompt")), *p, *base = json_incref(r->request);
    size_t i;
    int rc = VS_OK;
    json_object_del(base, "prompt");
    json_object_set_new(base, "raw", json_true());
    c->n_prompts = json_array_size(prompts);
    json_array_foreach(prompts, i, p) {
        json_t *one = json_copy(base);
        json_object_set(one, json_is_string(p) ? "prompt" : "tokens", p);
        if (!json_is_string(p))
            json_object_del(one, "raw");
        if (rc == VS_OK && gw_call_ask(r->call, VS_MSG_GENERATE, json_incref(one)) != VS_OK)
            rc = gw_no_memory(r->err);
        json_decref(one);
    }
    json_decref(prompts);
    json_decref(base);
    return rc;
}

static int read_request(struct gw_reading *r)
{
    const json_t *best = json_object_get(r->http->body, "best_of");
    int rc = gw_read_fields(r, r->http->body, "", tables);
    if (rc == VS_OK)
        rc = gw_require(r, "prompt", "prompt");
    if (rc == VS_OK && best && !json_is_null(best) && (!json_is_integer(best) || json_integer_value(best) != r->n))
        rc = gw_refuse_at(r, "best_of", "unsupported_value", "only the value of n is supported");
    if (rc == VS_OK && !json_object_get(r->request, "max_tokens"))
        rc = gw_put(r, "max_tokens", json_integer(MAX_TOKENS));
    return rc == VS_OK ? gw_read_end(r) : rc;
}

static int begin(struct gw_call *call, const struct gw_http *http, struct gw_error *err)
{
    struct gw_reading r;
    struct completions *c = call->state = calloc(1, sizeof *c);
    int rc = gw_reading_init(&r, call, http, VS_MSG_GENERATE, err);
    if (rc == VS_OK && !c)
        rc = gw_no_memory(err);
    if (rc == VS_OK)
        rc = read_request(&r);
    if (rc == VS_OK) {
        c->n = (size_t)r.n;
        c->include_usage = r.include_usage;
        c->wants_logprobs = r.wants_logprobs;
        rc = ask_all(&r, c);
    }
    if (rc == VS_OK) {
        size_t n = c->n * c->n_prompts;
        c->offset = calloc(n, sizeof *c->offset);
        c->finish = calloc(n, sizeof *c->finish);
        c->receipts = json_array();
        for (size_t i = 0; i < c->n_prompts; i++)
            json_array_append_new(c->receipts, json_object());
        if (!c->offset || !c->finish || gw_answer_init(&c->answer, n, !r.stream) != VS_OK)
            rc = gw_no_memory(err);
        c->answer.keeps_logprobs = !r.stream;
    }
    gw_reading_clear(&r);
    return rc;
}

/* ---- answers ---- */

/* A token as a string: its text, or its bytes written out where they are none. */
static json_t *token_name(const json_t *entry)
{
    const json_t *bytes = json_object_get(entry, "bytes"), *v;
    struct vs_buf raw = { 0 }, name = { 0 };
    size_t i;
    json_array_foreach(bytes, i, v)
        vs_buf_char(&raw, (char)json_integer_value(v));
    bool is_text = vs_utf8_valid(raw.data ? raw.data : "", raw.n) == raw.n;
    for (i = 0; i < raw.n && !is_text; i++)
        vs_buf_printf(&name, "%s\\x%02x", i ? "" : "bytes:", (uint8_t)raw.data[i]);
    json_t *ret = is_text ? vs_json_text(raw.data, raw.n) : vs_json_text(name.data, name.n);
    vs_buf_clear(&raw);
    vs_buf_clear(&name);
    return ret;
}

static size_t characters(const char *s, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += ((uint8_t)s[i] & 0xc0) != 0x80;
    return count;
}

/* The four lists, side by side, of entries as chat writes them. */
static json_t *four_lists(const json_t *entries, size_t *offset)
{
    json_t *tokens = json_array(), *values = json_array(), *tops = json_array(), *offsets = json_array(), *name;
    const json_t *e, *t;
    size_t i, k;
    json_array_foreach(entries, i, e) {
        json_t *top = json_object();
        json_array_foreach(json_object_get(e, "top_logprobs"), k, t) {
            name = token_name(t);
            const char *key = json_string_value(name);
            if (key && strlen(key) == json_string_length(name) && !json_object_get(top, key))
                json_object_set(top, key, json_object_get(t, "logprob"));
            json_decref(name);
        }
        name = token_name(e);
        json_array_append_new(offsets, json_integer((json_int_t)*offset));
        *offset += characters(json_string_value(name), json_string_length(name));
        json_array_append_new(tokens, name);
        json_array_append(values, json_object_get(e, "logprob"));
        json_array_append_new(tops, top);
    }
    return json_pack("{s:o, s:o, s:o, s:o}", "tokens", tokens, "token_logprobs", values, "top_logprobs", tops, "text_offset",
                     offsets);
}

static json_t *body_of(const struct gw_call *call, json_t *choices)
{
    return json_pack("{s:o, s:s, s:I, s:s, s:o}", "id", gw_id(call, "cmpl-", 0), "object", "text_completion", "created",
                     (json_int_t)call->created, "model", call->model, "choices", choices);
}

static json_t *choice_of(size_t index, json_t *text, json_t *logprobs, const char *finish)
{
    return json_pack("{s:I, s:o, s:o, s:s?}", "index", (json_int_t)index, "text", text, "logprobs",
                     logprobs ? logprobs : json_null(),
                     "finish_reason", finish);
}

static void send(const struct gw_call *call, json_t *choice, json_t *fingerprint, struct vs_buf *out)
{
    const struct completions *c = call->state;
    json_t *body = body_of(call, json_pack("[o]", choice));
    if (fingerprint)
        json_object_set(body, "system_fingerprint", fingerprint);
    if (c->include_usage)
        json_object_set_new(body, "usage", json_null());
    gw_event(out, NULL, body);
}

static void token(struct gw_call *call, const struct gw_token *t, struct vs_buf *out)
{
    struct completions *c = call->state;
    struct gw_change e;
    size_t index = t->ask * c->n + t->index;
    if (t->index >= c->n)
        return;
    gw_answer_take(&c->answer, index, t, &e);
    if (call->stream && e.piece) {
        json_t *entries = e.logprob ? json_pack("[O]", e.logprob) : NULL;
        json_t *logprobs = entries ? four_lists(entries, &c->offset[index]) : NULL;
        json_decref(entries);
        send(call, choice_of(index, vs_json_text(e.text, e.n), logprobs, NULL), NULL, out);
    }
    json_decref(e.logprob);
}

static json_t *whole_choice(struct completions *c, size_t i)
{
    struct vs_buf text = { 0 };
    const struct gw_choice *choice = &c->answer.choices[i];
    gw_choice_join(choice, VS_PART_CONTENT, &text);
    json_t *entries = choice->n_pieces ? choice->pieces[0].logprobs : NULL, *none = NULL;
    if (c->wants_logprobs && !entries)
        entries = none = json_array();
    json_t *ret = choice_of(i, vs_json_text(text.data, text.n), entries ? four_lists(entries, &c->offset[i]) : NULL, c->finish[i]);
    vs_buf_clear(&text);
    json_decref(none);
    return ret;
}

/* Those of all prompts, in the order of choices. */
static void add_receipts(const struct completions *c, json_t *body)
{
    json_t *all = json_array();
    const json_t *of;
    size_t i;
    json_array_foreach(c->receipts, i, of) {
        if (json_object_get(of, "receipt"))
            json_array_append(all, json_object_get(of, "receipt"));
        json_array_extend(all, json_object_get(of, "receipts"));
    }
    if (c->answer.n == 1 && json_array_size(all))
        json_object_set(body, "receipt", json_array_get(all, 0));
    else if (json_array_size(all))
        json_object_set(body, "receipts", all);
    json_decref(all);
}

static void done(struct gw_call *call, size_t ask, const json_t *result, struct vs_buf *out)
{
    struct completions *c = call->state;
    gw_add_receipts(json_array_get(c->receipts, ask), result);
    gw_usage_add(&c->usage, result, &c->answer);
    if (!c->fingerprint)
        c->fingerprint = gw_fingerprint(result);
    for (size_t i = 0; i < c->n; i++) {
        size_t index = ask * c->n + i;
        snprintf(c->finish[index], sizeof c->finish[index], "%s", gw_finish_of(result, i));
        if (call->stream)
            send(call, choice_of(index, json_string(""), NULL, c->finish[index]), c->fingerprint, out);
    }
    if (c->answer.status != VS_OK)
        out->status = c->answer.status;
    if (++c->n_done < c->n_prompts || c->answer.status != VS_OK)
        return;
    json_t *choices = json_array();
    for (size_t i = 0; !call->stream && i < c->answer.n; i++)
        json_array_append_new(choices, whole_choice(c, i));
    json_t *body = body_of(call, choices);
    json_object_set(body, "system_fingerprint", c->fingerprint);
    json_object_set_new(body, "usage", gw_usage_openai(&c->usage));
    add_receipts(c, body);
    if (!call->stream)
        gw_value(out, body);
    else if (c->include_usage || json_object_get(body, "receipt") || json_object_get(body, "receipts"))
        gw_event(out, NULL, body);
    else
        json_decref(body);
    if (call->stream)
        vs_buf_str(out, "data: [DONE]\n\n");
}

static void clear(struct gw_call *call)
{
    struct completions *c = call->state;
    if (!c)
        return;
    gw_answer_clear(&c->answer);
    json_decref(c->fingerprint);
    json_decref(c->receipts);
    free(c->offset);
    free(c->finish);
    free(c);
}

const struct gw_api gw_api_completions = {
    .begin = begin, .token = token, .ping = gw_comment, .done = done, .fail = gw_fail_openai, .clear = clear,
    .stream_type = "text/event-stream",
};
