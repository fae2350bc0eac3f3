/* prog/worker/order.c - what generate and chat are asked for, besides the prompt: sampling, limits, stops. */
#include "prog/worker/generate.h"

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

int vs_order_read(struct vs_service *s, const json_t *request, struct vs_check *check, struct vs_order *ret, struct vs_error *err)
{
    int r = read_sampling(s, ret, request, err);
    return r == VS_OK ? read_limits(s, ret, request, check, err) : r;
}

void vs_order_clear(struct vs_order *o)
{
    free(o->bias);
    o->bias = NULL;
    vs_ids_clear(&o->stop_tokens);
}
