/* prog/worker/generate.c - the methods generate and chat: template, tokens, prefill, one token after the other.
 *
 * The result's logits_hash is the contract's H: SHA-256 over, for each generated token, u32le position, the raw f32le
 * logits, u32le token id.
 */
#include "prog/worker/service_internal.h"

#include "base/bytes.h"
#include "base/clock.h"

#include <math.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_STOPS = 64, MAX_BIAS = 65536, MAX_LOGPROBS = 100 };

struct job {
    struct vs_service *s;
    struct vs_sink *sink;
    struct vs_error *err;
    struct vs_sampling sampling;
    struct vs_logit_bias *bias;
    int64_t max_tokens, n_logprobs;      /* -1: as many as fit; not asked for */
    bool ignore_eos;
    const char *stop[MAX_STOPS];
    size_t stop_n[MAX_STOPS], n_stops;
    struct vs_ids stop_tokens, prompt, made;
    struct vs_detok detok;
    struct vs_buf held, text;            /* not yet sent; all that was sent */
    struct vs_logprob *best;
    EVP_MD_CTX *hash;
    const float *logits;                 /* of the last row computed */
    const char *finish;
    const char *notice;
    uint64_t prompt_ns, decode_ns;
    size_t n_cached;
};

/* ---- request to job ---- */

/* What the file recommends stands between the contract's defaults and the request; a request that has the key is not
 * troubled by what the file says. */
static const struct advice {
    const char *key, *file_key;
    size_t offset;
} advised[] = {
    { "temperature",       "general.sampling.temp",           offsetof(struct vs_sampling, temperature) },
    { "top_p",             "general.sampling.top_p",          offsetof(struct vs_sampling, top_p) },
    { "min_p",             "general.sampling.min_p",          offsetof(struct vs_sampling, min_p) },
    { "typical_p",         NULL,                              offsetof(struct vs_sampling, typical_p) },
    { "repeat_penalty",    "general.sampling.penalty_repeat", offsetof(struct vs_sampling, repeat_penalty) },
    { "presence_penalty",  NULL,                              offsetof(struct vs_sampling, presence_penalty) },
    { "frequency_penalty", NULL,                              offsetof(struct vs_sampling, frequency_penalty) },
};
enum { N_ADVISED = sizeof advised / sizeof *advised };

static bool is_given(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    return v && !json_is_null(v);
}

static int file_sampling(const struct job *j, const json_t *o, struct vs_sampling *p)
{
    const struct vs_gguf *g = vs_header_gguf(j->s->header);
    struct vs_error why;
    const struct vs_gguf_kv *kv = is_given(o, "top_k") ? NULL : vs_gguf_find(g, "general.sampling.top_k");
    int64_t top_k;
    int r = VS_OK;
    if (kv && (kv->type == VS_GGUF_ARRAY || !vs_gguf_int(kv, 0, &top_k) || top_k > UINT32_MAX))
        return vs_error_set(j->err, VS_E_MALFORMED, "the model file's general.sampling.top_k is no whole number; give a --top-k of your own");
    if (kv)
        p->top_k = top_k < 0 ? 0 : (uint32_t)top_k;         /* writers mean by -1: off */
    for (int i = 0; i < N_ADVISED && (r == VS_OK || r == VS_E_NOT_FOUND); i++)
        if (advised[i].file_key && !is_given(o, advised[i].key))
            r = vs_gguf_get_f32(g, advised[i].file_key, (float *)(void *)((char *)p + advised[i].offset), j->err);
    if (r != VS_OK && r != VS_E_NOT_FOUND)
        return r;
    if (vs_sampling_check(p, vs_model_n_vocab(j->s->model), &why) != VS_OK)
        return vs_error_set(j->err, VS_E_MALFORMED, "the model file's general.sampling: %s; give a value of your own", why.text);
    return VS_OK;
}

static int number(const json_t *o, const char *key, float *ret, struct vs_error *err)
{
    const json_t *v = json_object_get(o, key);
    if (!is_given(o, key))
        return VS_OK;
    if (!json_is_number(v))
        return vs_error_set(err, VS_E_INVALID, "sampling.%s must be a number", key);
    *ret = (float)json_number_value(v);
    return VS_OK;
}

static int read_bias(struct job *j, const json_t *list)
{
    size_t n = json_array_size(list);
    if (!list || json_is_null(list))
        return VS_OK;
    if (!json_is_array(list) || n > MAX_BIAS)
        return vs_error_set(j->err, VS_E_INVALID, "sampling.logit_bias must be a list of at most %d [id, bias]", MAX_BIAS);
    if (!n)
        return VS_OK;
    j->bias = calloc(n, sizeof *j->bias);
    if (!j->bias)
        return vs_error_set(j->err, VS_E_NOMEM, "out of memory");
    for (size_t i = 0; i < n; i++) {
        const json_t *pair = json_array_get(list, i), *id = json_array_get(pair, 0), *b = json_array_get(pair, 1);
        bool forbids = json_is_string(b) && strcmp(json_string_value(b), "-inf") == 0;      /* JSON has no infinity */
        if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) > UINT32_MAX || !(json_is_number(b) || forbids))
            return vs_error_set(j->err, VS_E_INVALID, "sampling.logit_bias: entry %zu is not [id, bias] (a number or \"-inf\")", i);
        j->bias[i] = (struct vs_logit_bias){ (uint32_t)json_integer_value(id), forbids ? -INFINITY : (float)json_number_value(b) };
    }
    j->sampling.bias = j->bias;
    j->sampling.n_bias = n;
    return VS_OK;
}

static int read_sampling(struct job *j, const json_t *request)
{
    struct vs_sampling *p = &j->sampling;
    const json_t *o = json_object_get(request, "sampling");
    vs_sampling_defaults(p);
    int64_t seed, top_k, last_n;
    int r = file_sampling(j, o, p);
    if (r == VS_OK) r = vs_request_int(o, "seed", (int64_t)p->seed, INT64_MIN, INT64_MAX, &seed, j->err);
    if (r == VS_OK) r = vs_request_int(o, "top_k", p->top_k, 0, INT32_MAX, &top_k, j->err);
    if (r == VS_OK) r = vs_request_int(o, "repeat_last_n", p->repeat_last_n, -1, INT32_MAX, &last_n, j->err);
    for (int i = 0; i < N_ADVISED && r == VS_OK; i++)
        r = number(o, advised[i].key, (float *)(void *)((char *)p + advised[i].offset), j->err);
    if (r == VS_OK) r = read_bias(j, json_object_get(o, "logit_bias"));
    if (r != VS_OK)
        return r;
    p->seed = (uint64_t)seed;
    p->top_k = (uint32_t)top_k;
    p->repeat_last_n = (int32_t)last_n;
    return vs_sampling_check(p, vs_model_n_vocab(j->s->model), j->err);
}

static int read_limits(struct job *j, const json_t *request)
{
    int r = vs_request_int(request, "max_tokens", -1, -1, UINT32_MAX, &j->max_tokens, j->err);
    if (r == VS_OK)
        r = vs_request_int(request, "logprobs", -1, 0, MAX_LOGPROBS, &j->n_logprobs, j->err);
    if (r != VS_OK)
        return r;
    if (j->n_logprobs > 0 && !(j->best = calloc((size_t)j->n_logprobs, sizeof *j->best)))
        return vs_error_set(j->err, VS_E_NOMEM, "out of memory");
    j->ignore_eos = vs_request_flag(request, "ignore_eos");
    const json_t *stops = json_object_get(request, "stop"), *v;
    size_t i;
    if (json_array_size(stops) > MAX_STOPS)
        return vs_error_set(j->err, VS_E_INVALID, "stop: at most %d strings", MAX_STOPS);
    json_array_foreach(stops, i, v) {
        if (!json_is_string(v) || !json_string_length(v))
            return vs_error_set(j->err, VS_E_INVALID, "stop: entry %zu is not a string of at least one character", i);
        j->stop[j->n_stops] = json_string_value(v);
        j->stop_n[j->n_stops++] = json_string_length(v);
    }
    const json_t *ids = json_object_get(request, "stop_tokens");
    return ids && !json_is_null(ids) ? vs_request_ids(j->s, ids, "stop_tokens", &j->stop_tokens, j->err) : VS_OK;
}

/* ---- prompt ---- */

static json_t *piece(const struct vs_tokenizer *t, uint32_t id)
{
    size_t n = 0;
    const char *p = id == VS_TOKENIZER_NONE ? "" : vs_tokenizer_piece(t, id, &n);
    return vs_json_text(p, n);
}

static int check_messages(const json_t *messages, struct vs_error *err)
{
    size_t i;
    const json_t *m;
    if (!json_is_array(messages) || !json_array_size(messages))
        return vs_error_set(err, VS_E_INVALID, "messages must be a list of at least one {\"role\", \"content\"}");
    json_array_foreach(messages, i, m)
        if (!json_is_string(json_object_get(m, "role")) || !json_object_get(m, "content"))
            return vs_error_set(err, VS_E_INVALID, "messages: entry %zu needs a role and a content", i);
    return VS_OK;
}

/* all_trusted: the caller vouches for every byte, so that names of control tokens in the messages become those tokens. */
static int prompt_from_messages(struct job *j, json_t *messages, const json_t *request, bool all_trusted)
{
    static const char *const trusted[] = { "bos_token", "eos_token", NULL };
    struct vs_service *s = j->s;
    if (!s->template)
        return vs_error_set(j->err, s->has_template ? s->template_error.code : VS_E_UNSUPPORTED, "%s", s->has_template
                            ? s->template_error.text : "the model has no chat template; `veritas run --raw` completes plain text");
    int r = check_messages(messages, j->err);
    if (r != VS_OK)
        return r;
    json_t *context = json_pack("{s:O, s:b, s:o, s:o}", "messages", messages, "add_generation_prompt", 1,
                                "bos_token", piece(s->tokenizer, vs_tokenizer_bos(s->tokenizer)),
                                "eos_token", piece(s->tokenizer, vs_tokenizer_eos(s->tokenizer)));
    const json_t *tools = json_object_get(request, "tools");
    if (context && tools)
        json_object_set(context, "tools", (json_t *)(uintptr_t)tools);
    int64_t now;
    r = vs_request_int(request, "now", 0, 0, INT64_MAX, &now, j->err);
    struct vs_marked_text m = { 0 };
    struct vs_error why = { 0 };
    if (r == VS_OK)
        r = context ? vs_template_render(s->template, context, trusted, now, NULL, &m, &why) : VS_E_NOMEM;
    if (why.code == VS_E_INVALID && strncmp(why.text, "template:", 9) != 0)    /* raise_exception: the words are the template's own */
        vs_error_set(j->err, r, "the model's chat template refuses this conversation: %s", why.text);
    else if (why.code)
        vs_error_set(j->err, r, "%s", why.text);
    else if (r == VS_E_NOMEM)
        vs_error_set(j->err, r, "out of memory");
    else if (r == VS_OK && !m.text.n)
        r = vs_error_set(j->err, VS_E_INVALID, "the model's chat template makes no text of this conversation");
    const struct vs_text_run whole = { m.text.n, true };
    if (r == VS_OK)
        r = vs_tokenizer_encode(s->tokenizer, m.text.data ? m.text.data : "", m.text.n, all_trusted ? &whole : m.runs,
                                all_trusted ? m.text.n > 0 : m.n_runs, VS_ENCODE_ADD_SPECIAL, &j->prompt, j->err);
    vs_marked_text_clear(&m);
    json_decref(context);
    return r;
}

static int make_prompt(struct job *j, const json_t *request)
{
    struct vs_service *s = j->s;
    const json_t *messages = json_object_get(request, "messages"), *prompt = json_object_get(request, "prompt");
    const json_t *tokens = json_object_get(request, "tokens"), *system = json_object_get(request, "system");
    if (tokens && !json_is_null(tokens))
        return vs_request_ids(s, tokens, "tokens", &j->prompt, j->err);
    int r = vs_service_need_tokenizer(s, j->err);
    if (r != VS_OK)
        return r;
    if (messages)
        return prompt_from_messages(j, (json_t *)(uintptr_t)messages, request, false);
    if (!json_is_string(prompt))
        return vs_error_set(j->err, VS_E_INVALID, "prompt is missing");
    bool raw = vs_request_flag(request, "raw"), special = vs_request_flag(request, "special");
    bool has_system = json_is_string(system) && json_string_length(system);
    if (has_system && raw)
        return vs_error_set(j->err, VS_E_INVALID, "a system message needs the chat template: leave out either raw or system");
    if (has_system && !s->has_template)
        return vs_error_set(j->err, VS_E_UNSUPPORTED, "the model has no chat template, so there is no place for a system message; "
                            "put it into the prompt");
    if (!raw && !s->has_template) {
        j->notice = "the model has no chat template: the text is completed as it is";
        raw = true;
    }
    if (raw)
        return vs_service_encode(s, json_string_value(prompt), json_string_length(prompt), special, true, &j->prompt, j->err);
    json_t *list = json_array();
    if (has_system)
        json_array_append_new(list, json_pack("{s:s, s:O}", "role", "system", "content", system));
    json_array_append_new(list, json_pack("{s:s, s:O}", "role", "user", "content", prompt));
    r = prompt_from_messages(j, list, request, special);
    json_decref(list);
    return r;
}

/* ---- text out ---- */

/* Where the earliest stop string begins in held text; held.n when none is there whole. */
static size_t find_stop(const struct job *j, bool *ret_found)
{
    size_t first = j->held.n;
    *ret_found = false;
    for (size_t i = 0; i < j->n_stops; i++) {
        const char *at = j->held.n ? memmem(j->held.data, j->held.n, j->stop[i], j->stop_n[i]) : NULL;
        if (at && (!*ret_found || (size_t)(at - j->held.data) < first)) {
            first = (size_t)(at - j->held.data);
            *ret_found = true;
        }
    }
    return first;
}

/* Bytes at the end of held text that may be the beginning of a stop string. */
static size_t maybe_stop(const struct job *j)
{
    size_t keep = 0;
    for (size_t i = 0; i < j->n_stops; i++)
        for (size_t n = j->stop_n[i] - 1; n > keep; n--)
            if (n <= j->held.n && memcmp(j->held.data + j->held.n - n, j->stop[i], n) == 0) {
                keep = n;
                break;
            }
    return keep;
}

static int send_text(struct job *j, uint32_t id, size_t n, const json_t *extra)
{
    int r = j->sink->token(j->sink->context, id, n ? j->held.data : "", n, extra);
    if (n) {
        vs_buf_add(&j->text, j->held.data, n);
        vs_buf_drop(&j->held, n);
    }
    return r;
}

static json_t *logprobs(struct job *j, uint32_t id)
{
    float chosen;
    if (j->n_logprobs < 0 || vs_sampler_logprobs(j->s->sampler, j->logits, id, (size_t)j->n_logprobs, &chosen, j->best) != VS_OK)
        return NULL;
    json_t *top = json_array();
    for (int64_t i = 0; i < j->n_logprobs; i++) {
        struct vs_buf text = { 0 };
        if (j->s->tokenizer)
            vs_tokenizer_decode(j->s->tokenizer, &j->best[i].id, 1, true, &text, NULL);
        json_array_append_new(top, json_pack("{s:I, s:f, s:o}", "id", (json_int_t)j->best[i].id, "logprob",
                                             (double)j->best[i].logprob, "text", vs_json_text(text.data, text.n)));
        vs_buf_clear(&text);
    }
    return json_pack("{s:f, s:o}", "logprob", (double)chosen, "top", top);
}

/* ---- the loop ---- */

static int keep_logits(void *context, size_t first, size_t n, const float *logits)
{
    struct job *j = context;
    (void)first;
    j->logits = logits + (n - 1) * vs_model_n_vocab(j->s->model);
    return VS_OK;
}

static int check(void *context, size_t done, size_t total)
{
    struct job *j = context;
    int r = j->sink->check ? j->sink->check(j->sink->context) : VS_OK;
    if (r == VS_OK && done && j->sink->progress)
        r = j->sink->progress(j->sink->context, "prompt", done, total);
    return r;
}

static int append(struct job *j, const uint32_t *tokens, size_t n)
{
    return vs_sequence_append(j->s->sequence, tokens, n, 1, keep_logits, check, j, j->err);
}

static int prefill(struct job *j)
{
    size_t n_old, same = 0;
    const uint32_t *old = vs_sequence_tokens(j->s->sequence, &n_old);
    while (same < n_old && same + 1 < j->prompt.n && old[same] == j->prompt.id[same])
        same++;                          /* the last prompt token is always computed: its logits are needed */
    vs_sequence_truncate(j->s->sequence, same);
    j->n_cached = same;
    return append(j, j->prompt.id + same, j->prompt.n - same);
}

static void hash_token(struct job *j, size_t position, uint32_t id)
{
    uint8_t word[4];
    if (!j->hash)
        return;
    vs_store_u32le(word, (uint32_t)position);
    EVP_DigestUpdate(j->hash, word, 4);
    EVP_DigestUpdate(j->hash, j->logits, (size_t)vs_model_n_vocab(j->s->model) * 4);
    vs_store_u32le(word, id);
    EVP_DigestUpdate(j->hash, word, 4);
}

static bool ends(const struct job *j, uint32_t id)
{
    for (size_t i = 0; i < j->stop_tokens.n; i++)
        if (j->stop_tokens.id[i] == id)
            return true;
    return !j->ignore_eos && j->s->tokenizer && vs_tokenizer_is_end(j->s->tokenizer, id);
}

/* One token: sampled, hashed, its text sent. Sets j->finish when it was the last. */
static int one_token(struct job *j, uint32_t *ret_id)
{
    size_t position;
    const uint32_t *history = vs_sequence_tokens(j->s->sequence, &position);
    uint32_t id;
    int r = vs_sampler_sample(j->s->sampler, &j->sampling, j->logits, history, position, position, &id, j->err);
    if (r != VS_OK)
        return r;
    *ret_id = id;
    hash_token(j, position, id);
    if (vs_ids_add(&j->made, id) != VS_OK)
        return vs_error_set(j->err, VS_E_NOMEM, "out of memory");
    bool found = false;
    size_t n = 0;
    if (ends(j, id)) {
        j->finish = "stop";
    } else if (j->s->tokenizer) {
        r = vs_detok_push(&j->detok, id, &j->held);
        if (r != VS_OK || j->held.status != VS_OK)
            return vs_error_set(j->err, VS_E_NOMEM, "out of memory");
        n = find_stop(j, &found);
        if (!found)
            n = j->held.n - maybe_stop(j);
        if (found)
            j->finish = "stop";
    }
    json_t *extra = logprobs(j, id);
    r = send_text(j, id, n, extra);
    json_decref(extra);
    if (found)
        vs_buf_reset(&j->held);
    if (r != VS_OK)
        return vs_error_set(j->err, r, "%s", vs_status_text(r));
    return VS_OK;
}

static int generate(struct job *j)
{
    uint32_t context = vs_model_context(j->s->model), id = 0;
    uint64_t start = vs_clock_ns();
    int r = prefill(j);
    j->prompt_ns = vs_clock_ns() - start;
    start = vs_clock_ns();
    while (r == VS_OK) {
        size_t n;
        vs_sequence_tokens(j->s->sequence, &n);
        if (j->max_tokens >= 0 && (int64_t)j->made.n >= j->max_tokens)
            j->finish = "length";
        if (!j->finish)
            r = one_token(j, &id);
        if (r != VS_OK || j->finish)
            break;
        if (n >= context || (j->max_tokens >= 0 && (int64_t)j->made.n >= j->max_tokens))
            j->finish = "length";        /* the token was made; there is no need, or no room, to read it */
        else
            r = append(j, &id, 1);
    }
    j->decode_ns = vs_clock_ns() - start;
    if (r == VS_OK && j->s->tokenizer) {
        vs_detok_finish(&j->detok, &j->held);
        if (j->held.n) {                 /* what was held back is text after all: it goes out with the last token's id */
            r = send_text(j, id, j->held.n, NULL);
            if (r != VS_OK)
                vs_error_set(j->err, r, "%s", vs_status_text(r));
        }
    }
    return r;
}

static json_t *result(struct job *j)
{
    size_t n_read = j->prompt.n - j->n_cached, n_steps = j->made.n ? j->made.n - 1 : 0;
    json_t *timings = json_pack(
        "{s:f, s:f, s:f, s:f, s:f, s:I}", "load_ms", j->s->load_ms, "prompt_ms", (double)j->prompt_ns / 1e6,
        "prompt_per_second", j->prompt_ns ? (double)n_read * 1e9 / (double)j->prompt_ns : 0.0,
        "decode_ms", (double)j->decode_ns / 1e6,
        "decode_per_second", j->decode_ns ? (double)n_steps * 1e9 / (double)j->decode_ns : 0.0,
        "cached_tokens", (json_int_t)j->n_cached);
    json_t *o = json_pack("{s:o, s:o, s:o, s:s, s:o}", "prompt_tokens", vs_ids_json(j->prompt.id, j->prompt.n),
                          "tokens", vs_ids_json(j->made.id, j->made.n), "text", vs_json_text(j->text.data, j->text.n),
                          "finish_reason", j->finish, "timings", timings);
    if (o && j->notice)
        json_object_set_new(o, "notice", json_string(j->notice));
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    if (o && j->hash && EVP_DigestFinal_ex(j->hash, digest, &n)) {
        char hex[2 * EVP_MAX_MD_SIZE + 1];
        for (unsigned i = 0; i < n; i++)
            snprintf(hex + 2 * i, 3, "%02x", digest[i]);
        json_object_set_new(o, "logits_hash", json_string(hex));
    }
    return o;
}

int vs_service_generate(struct vs_service *s, const json_t *request, struct vs_sink *sink, json_t **ret, struct vs_error *err)
{
    struct job j = { .s = s, .sink = sink, .err = err };
    int r = read_sampling(&j, request);
    if (r == VS_OK)
        r = read_limits(&j, request);
    if (r == VS_OK)
        r = make_prompt(&j, request);
    if (r == VS_OK && !j.prompt.n)
        r = vs_error_set(err, VS_E_INVALID, "the prompt is empty");
    if (r == VS_OK && j.prompt.n >= vs_model_context(s->model))
        r = vs_error_set(err, VS_E_CONTEXT, "the prompt has %zu token%s and the context holds %u, one of them for the answer; "
                         "shorten the prompt or give a larger --ctx", j.prompt.n, j.prompt.n == 1 ? "" : "s", vs_model_context(s->model));
    if (r == VS_OK && vs_request_flag(request, "logits_hash")) {
        j.hash = EVP_MD_CTX_new();
        if (!j.hash || !EVP_DigestInit_ex(j.hash, EVP_sha256(), NULL))
            r = vs_error_set(err, VS_E_NOMEM, "out of memory");
    }
    if (r == VS_OK) {
        if (s->tokenizer) {
            vs_detok_init(&j.detok, s->tokenizer, vs_request_flag(request, "special"));
            vs_detok_continue(&j.detok);
        }
        r = generate(&j);
    }
    if (r == VS_OK)
        *ret = result(&j);
    EVP_MD_CTX_free(j.hash);
    free(j.bias);
    free(j.best);
    vs_ids_clear(&j.stop_tokens);
    vs_ids_clear(&j.prompt);
    vs_ids_clear(&j.made);
    vs_buf_clear(&j.held);
    vs_buf_clear(&j.text);
    return r;
}
