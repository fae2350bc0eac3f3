/* prog/worker/order.c - what generate and chat are asked for, besides the prompt: sampling, limits, stops. */
#include "prog/worker/generate.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct { const char *key; size_t offset; } numbers[] = {
    { "temperature",       offsetof(struct vs_sampling, temperature) },
    { "top_p",             offsetof(struct vs_sampling, top_p) },
    { "min_p",             offsetof(struct vs_sampling, min_p) },
    { "typical_p",         offsetof(struct vs_sampling, typical_p) },
    { "repeat_penalty",    offsetof(struct vs_sampling, repeat_penalty) },
    { "presence_penalty",  offsetof(struct vs_sampling, presence_penalty) },
    { "frequency_penalty", offsetof(struct vs_sampling, frequency_penalty) },
};

#define SUPPRESSED "tokenizer.ggml.suppress_tokens"

/* Ids that the model file wants never sampled: n biases, for ids of its vocabulary. */
static int forbid(const struct vs_entry *suppressed, uint32_t n_vocab, struct vs_logit_bias *bias, size_t *ret_n,
                  struct vs_error *err)
{
    size_t n = 0;
    for (uint64_t i = 0; suppressed && i < suppressed->count; i++) {
        uint64_t id;
        if (suppressed->type != VS_ENTRY_ARRAY || !vs_entry_uint(suppressed, i, &id))
            return vs_error_set(err, VS_E_MALFORMED, "the model file's " SUPPRESSED " is not a list of token ids");
        if (id < n_vocab)
            bias[n++] = (struct vs_logit_bias){ (uint32_t)id, -INFINITY };
    }
    *ret_n = n;
    return VS_OK;
}

static int read_bias(struct vs_order *o, const json_t *list, const struct vs_entry *suppressed, uint32_t n_vocab,
                     struct vs_error *err)
{
    size_t n = json_array_size(list), n_forbidden = 0;
    if (!n && !suppressed)
        return VS_OK;
    if (suppressed && suppressed->count > n_vocab)
        return vs_error_set(err, VS_E_MALFORMED, "the model file's " SUPPRESSED " is longer than its vocabulary");
    o->bias = calloc(n + (suppressed ? (size_t)suppressed->count : 0) + 1, sizeof *o->bias);
    if (!o->bias)
        return vs_error_set(err, VS_E_NOMEM, "out of memory");
    for (size_t i = 0; i < n; i++) {
        const json_t *pair = json_array_get(list, i), *id = json_array_get(pair, 0), *b = json_array_get(pair, 1);
        bool forbids = json_is_string(b) && strcmp(json_string_value(b), "-inf") == 0;    /* JSON has no infinity */
        bool is_id = json_is_integer(id) && json_integer_value(id) >= 0 && json_integer_value(id) <= UINT32_MAX;
        if (!is_id || !(json_is_number(b) || forbids))
            return vs_error_set(err, VS_E_INVALID, "sampling.logit_bias: entry %zu is not [id, bias] (a number or \"-inf\")", i);
        o->bias[i] = (struct vs_logit_bias){ (uint32_t)json_integer_value(id), forbids ? -INFINITY : (float)json_number_value(b) };
    }
    int r = forbid(suppressed, n_vocab, o->bias + n, &n_forbidden, err);
    o->sampling.bias = o->bias;
    o->sampling.n_bias = n + n_forbidden;
    return r;
}

static int read_sampling(const struct vs_service *s, struct vs_order *order, const json_t *request, struct vs_error *err)
{
    struct vs_sampling *p = &order->sampling;
    const json_t *o = json_object_get(request, "sampling");
    vs_sampling_defaults(p);
    const struct vs_entries *entries = vs_header_entries(s->header);
    uint32_t n_vocab = vs_model_n_vocab(s->model);
    int r = vs_advice_apply(entries, o, n_vocab, p, err);
    if (r == VS_OK)
        r = read_bias(order, json_object_get(o, "logit_bias"), vs_entries_find(entries, SUPPRESSED), n_vocab, err);
    if (r != VS_OK)
        return r;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        const json_t *v = json_object_get(o, numbers[i].key);
        if (json_is_number(v))
            *(float *)(void *)((char *)p + numbers[i].offset) = (float)json_number_value(v);
    }
    p->seed = (uint64_t)vs_request_int(o, "seed", (int64_t)p->seed);
    p->top_k = (uint32_t)vs_request_int(o, "top_k", p->top_k);
    p->repeat_last_n = (int32_t)vs_request_int(o, "repeat_last_n", p->repeat_last_n);
    r = vs_advice_sequence(entries, o, p, err);
    return r == VS_OK ? vs_sampling_check(p, n_vocab, err) : r;
}

static int read_stops(struct vs_order *o, const json_t *list, struct vs_error *err)
{
    size_t i;
    const json_t *v;
    json_array_foreach(list, i, v) {
        size_t n = json_string_length(v);
        if (!n || n > VS_MAX_STOP_BYTES)
            return vs_error_set(err, VS_E_INVALID, "stop: entry %zu is not a string of 1 to %d bytes", i, VS_MAX_STOP_BYTES);
        o->stop[o->n_stops] = json_string_value(v);
        o->stop_n[o->n_stops++] = n;
    }
    return VS_OK;
}

static bool is_tool(const json_t *tools, const char *name)
{
    size_t i;
    const json_t *tool;
    json_array_foreach(tools, i, tool) {
        const char *is = json_string_value(json_object_get(vs_tool_function(tool), "name"));
        if (is && name && strcmp(is, name) == 0)
            return true;
    }
    return false;
}

static bool is_strict(const json_t *request, const json_t *tools)
{
    size_t i;
    const json_t *tool;
    if (vs_request_flag(request, "strict_calls"))
        return true;
    json_array_foreach(tools, i, tool)
        if (json_is_true(json_object_get(vs_tool_function(tool), "strict")))
            return true;
    return false;
}

static bool has_constraint(const json_t *request)
{
    const json_t *constraint = json_object_get(request, "constraint");
    return constraint && !json_is_null(constraint);
}

/* Calls that the constraint's place may be taken by: the grammar becomes that of both. */
static int join_calls(struct vs_service *s, const json_t *request, const struct vs_style *style, struct vs_check *check,
                      struct vs_order *o, struct vs_error *err)
{
    struct vs_grammar *both = NULL;
    struct vs_buf head = { 0 };
    vs_style_begin_content(style, false, &head);
    bool is_apart = head.n > 0;          /* the prompt says already that content follows */
    vs_buf_clear(&head);
    if (is_apart) {
        snprintf(o->notice, sizeof o->notice, "no tool can be called beside the constraint: this model's calls begin elsewhere");
        return VS_OK;
    }
    enum vs_calls_use use = o->one_call || !vs_style_form(style)->between ? VS_CALLS_FORCED : VS_CALLS_FORCED_SEVERAL;
    int r = vs_calls_read(s, style, vs_chat_tools(request), NULL, use, json_object_get(request, "constraint"), check, &both, err);
    if (r != VS_OK)
        return r;
    vs_grammar_free(o->grammar);
    o->grammar = both;
    o->or_calls = true;
    return VS_OK;
}

/* One that can't be held is refused, unless the model is free to call or not, and no tool is strict: then the answer says so. */
int vs_order_calls(struct vs_service *s, const json_t *request, const struct vs_style *style, struct vs_check *check,
                   struct vs_order *o, struct vs_error *err)
{
    const json_t *tools = vs_chat_tools(request);
    struct vs_error why = { 0 };
    bool or_calls = json_is_true(json_object_get(json_object_get(request, "constraint"), VS_OR_CALLS));
    if (!o->parts || !tools || (has_constraint(request) && !o->forces && !or_calls))
        return VS_OK;
    if (or_calls && !o->forces)
        return join_calls(s, request, style, check, o, err);
    enum vs_calls_use use = !o->forces ? VS_CALLS_HELD : o->one_call || !vs_style_form(style)->between ? VS_CALLS_FORCED
                                                                                                     : VS_CALLS_FORCED_SEVERAL;
    o->one_call |= use == VS_CALLS_FORCED;
    int r = vs_calls_read(s, style, tools, o->function, use, NULL, check, o->forces ? &o->grammar : &o->calls, &why);
    if (r == VS_OK || r == VS_E_NOMEM || o->forces || is_strict(request, tools) || (check && check->status != VS_OK))
        return r == VS_OK ? r : vs_error_set(err, r, "%s", why.text[0] ? why.text : vs_status_text(r));
    snprintf(o->notice, sizeof o->notice, "arguments of calls are not held to their schema: %.220s", why.text);
    return VS_OK;
}

int vs_order_tools(struct vs_order *o, const json_t *request, struct vs_error *err)
{
    const json_t *tools = json_object_get(request, "tools"), *choice = json_object_get(request, "tool_choice");
    const char *word = json_string_value(choice);
    const char *name = json_string_value(json_object_get(json_object_get(choice, "function"), "name"));
    const char *type = json_string_value(json_object_get(choice, "type"));
    const json_t *parallel = json_object_get(request, "parallel_tool_calls");
    o->parts = vs_request_flag(request, "parts");
    o->one_call = json_is_false(parallel);
    if (json_is_object(choice) && (!name || !type || strcmp(type, "function") != 0 || json_object_size(choice) != 2))
        return vs_error_set(err, VS_E_INVALID, "tool_choice: auto, none, required or {\"type\": \"function\", \"function\": "
                            "{\"name\"}} is needed");
    if (!choice || json_is_null(choice) || (word && strcmp(word, "required") != 0))
        return VS_OK;
    if (!json_array_size(tools))
        return vs_error_set(err, VS_E_INVALID, "tool_choice: a call is asked for, and there are no tools");
    if (name && !is_tool(tools, name))
        return vs_error_set(err, VS_E_INVALID, "tool_choice: '%.60s' is none of the tools", name);
    if (!o->parts)
        return vs_error_set(err, VS_E_INVALID, "tool_choice: a call can be asked for only with \"parts\": true");
    if (has_constraint(request))
        return vs_error_set(err, VS_E_INVALID, "tool_choice: a call can't be forced beside a constraint, which is another form");
    if (json_string_length(json_object_get(request, "begun")))
        return vs_error_set(err, VS_E_INVALID, "tool_choice: a call can't be forced behind an answer that has begun");
    o->forces = true;
    o->function = name;
    o->one_call |= !json_is_true(parallel);
    return VS_OK;
}

static int read_limits(struct vs_service *s, struct vs_order *o, const json_t *request, struct vs_check *check,
                       struct vs_error *err)
{
    int r = read_stops(o, json_object_get(request, "stop"), err);
    o->max_tokens = vs_request_int(request, "max_tokens", -1);
    o->n_logprobs = vs_request_int(request, "logprobs", -1);
    o->ignore_eos = vs_request_flag(request, "ignore_eos");
    o->special = vs_request_flag(request, "special");
    o->logits_hash = vs_request_flag(request, "logits_hash");
    const char *speculation = json_string_value(json_object_get(request, "speculation"));
    o->speculates = s->speculates && !(speculation && strcmp(speculation, "off") == 0);
    const json_t *ids = json_object_get(request, "stop_tokens");
    return r == VS_OK && ids && !json_is_null(ids) ? vs_request_ids(s, ids, "stop_tokens", check, &o->stop_tokens, err) : r;
}

/* What would end or bend an answer elsewhere than its form says can't stand beside a constraint. */
static int read_constraint(struct vs_service *s, struct vs_order *o, const json_t *request, struct vs_check *check,
                           struct vs_error *err)
{
    int r = o->forces ? VS_OK : vs_constraint_read(s, request, VS_GRAMMAR_WRITES, check, &o->grammar, err);
    if (r != VS_OK || !(o->grammar || o->forces))
        return r;
    bool forbids = false;
    for (size_t i = 0; i < json_array_size(json_object_get(json_object_get(request, "sampling"), "logit_bias")); i++)
        forbids |= !(o->bias[i].bias >= -FLT_MAX);
    const char *beside = o->n_stops ? "stop" : o->stop_tokens.n ? "stop_tokens" : o->ignore_eos ? "ignore_eos"
                         : forbids ? "a logit_bias of -inf" : NULL;
    return beside ? vs_error_set(err, VS_E_INVALID, "%s can't stand beside a constraint: the answer ends where its form is "
                                                    "complete",
                                 beside) : VS_OK;
}

int vs_order_read(struct vs_service *s, const json_t *request, struct vs_check *check, struct vs_order *ret, struct vs_error *err)
{
    int r = read_sampling(s, ret, request, err);
    if (r == VS_OK)
        r = vs_order_tools(ret, request, err);
    if (r == VS_OK)
        r = read_limits(s, ret, request, check, err);
    return r == VS_OK ? read_constraint(s, ret, request, check, err) : r;
}

void vs_order_clear(struct vs_order *o)
{
    free(o->bias);
    o->bias = NULL;
    vs_ids_clear(&o->stop_tokens);
    vs_grammar_free(o->grammar);
    vs_grammar_free(o->calls);
    o->grammar = o->calls = NULL;
}
