/* prog/worker/generate.c - the methods generate and chat: a request as a state machine, and the loop that drives one.
 *
 * A generation wants rows computed (tokens[n_computed .. n)) and takes the logits of the last of them: it samples one token,
 * sends its text and then wants that token's row, or has finished. It computes nothing itself, so whoever drives it may
 * compute its rows beside those of others.
 *
 * The result's logits_hash is the contract's H: SHA-256 over, for each generated token, u32le position, the raw f32le
 * logits, u32le token id.
 */
#include "prog/worker/generate.h"

#include "base/bytes.h"
#include "base/clock.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

struct generation {
    struct vs_service *s;
    struct vs_sink *sink;
    struct vs_error *err;
    struct vs_order order;
    struct vs_stopper stopper;
    struct vs_ids tokens;                /* the prompt, then what was made */
    size_t n_prompt, n_cached, n_computed;
    struct vs_logprob *best;             /* [order.n_logprobs] */
    EVP_MD_CTX *hash;                    /* NULL: not asked for */
    const char *notice, *finish;         /* finish: NULL while it goes on */
    uint64_t prompt_ns, decode_ns;
};

/* ---- begin ---- */

static int begin(struct generation *g, const json_t *request)
{
    struct vs_service *s = g->s;
    struct vs_check *check = &g->sink->check;
    int r = vs_order_read(s, request, check, &g->order, g->err);
    if (r == VS_OK)
        r = vs_prompt_read(s, request, check, &g->tokens, &g->notice, g->err);
    if (r == VS_OK)
        r = vs_stopper_init(&g->stopper, &g->order, s->tokenizer, g->err);
    if (r != VS_OK)
        return r;
    g->n_prompt = g->tokens.n;
    if (g->order.n_logprobs > (int64_t)vs_model_n_vocab(s->model))
        g->order.n_logprobs = vs_model_n_vocab(s->model);
    if (g->order.n_logprobs > 0 && !(g->best = calloc((size_t)g->order.n_logprobs, sizeof *g->best)))
        return vs_error_set(g->err, VS_E_NOMEM, "out of memory");
    if (g->order.logits_hash && (!(g->hash = EVP_MD_CTX_new()) || !EVP_DigestInit_ex(g->hash, EVP_sha256(), NULL)))
        return vs_error_set(g->err, VS_E_NOMEM, "out of memory");
    return VS_OK;
}

static void end(struct generation *g)
{
    EVP_MD_CTX_free(g->hash);
    free(g->best);
    vs_ids_clear(&g->tokens);
    vs_stopper_clear(&g->stopper);
    vs_order_clear(&g->order);
}

/* ---- one token ---- */

static size_t n_made(const struct generation *g)
{
    return g->tokens.n - g->n_prompt;
}

/* No token may follow: as many as were asked for, or there is no room to read the last one. */
static bool is_full(const struct generation *g)
{
    return (g->order.max_tokens >= 0 && (int64_t)n_made(g) >= g->order.max_tokens) || g->tokens.n > vs_model_context(g->s->model);
}

static void hash_token(struct generation *g, size_t position, const float *logits, uint32_t id)
{
    uint8_t word[4];
    if (!g->hash)
        return;
    vs_store_u32le(word, (uint32_t)position);
    EVP_DigestUpdate(g->hash, word, 4);
    EVP_DigestUpdate(g->hash, logits, (size_t)vs_model_n_vocab(g->s->model) * 4);
    vs_store_u32le(word, id);
    EVP_DigestUpdate(g->hash, word, 4);
}

/* As it would stand in the answer: a space in front is kept. */
static json_t *text_of(const struct vs_tokenizer *t, uint32_t id)
{
    struct vs_buf text = { 0 };
    struct vs_detok d;
    if (!t)
        return json_string("");
    vs_detok_init(&d, t, true);
    vs_detok_continue(&d);
    vs_detok_push(&d, id, &text);
    vs_detok_finish(&d, &text);
    json_t *v = vs_json_text(text.data, text.n);
    vs_buf_clear(&text);
    return v;
}

static int logprobs(struct generation *g, const float *logits, uint32_t id, json_t **ret)
{
    float chosen;
    if (g->order.n_logprobs < 0)
        return VS_OK;
    int r = vs_sampler_logprobs(g->s->sampler, logits, id, (size_t)g->order.n_logprobs, &chosen, g->best);
    if (r != VS_OK)
        return vs_error_set(g->err, r, "%s", vs_status_text(r));
    json_t *top = json_array();
    for (int64_t i = 0; i < g->order.n_logprobs; i++)
        json_array_append_new(top, json_pack("{s:I, s:f, s:o}", "id", (json_int_t)g->best[i].id,
                                             "logprob", (double)g->best[i].logprob,
                                             "text", text_of(g->s->tokenizer, g->best[i].id)));
    *ret = json_pack("{s:f, s:o}", "logprob", (double)chosen, "top", top);
    return *ret ? VS_OK : vs_error_set(g->err, VS_E_NOMEM, "out of memory");
}

/* Sends token id with the first n bytes of what was held back. */
static int send_token(struct generation *g, uint32_t id, size_t n, const json_t *extra)
{
    struct vs_buf *held = &g->stopper.held;
    int r = g->sink->token(g->sink->context, id, n ? held->data : "", n, extra);
    if (r != VS_OK)
        return vs_error_set(g->err, r, "%s", r == VS_E_LIMIT ? "a token's text and its logprobs are larger than a frame may be"
                                                             : vs_status_text(r));
    if (n)
        vs_buf_drop(held, n);
    return VS_OK;
}

/* Takes the logits behind all tokens so far: the next one is sampled, hashed and sent. Sets finish when it was the last. */
static int take(struct generation *g, const float *logits)
{
    size_t position = g->tokens.n, n;
    uint32_t id;
    bool ends;
    json_t *extra = NULL;
    g->n_computed = position;
    int r = vs_sampler_sample(g->s->sampler, &g->order.sampling, logits, g->tokens.id, position, position, &id, g->err);
    if (r == VS_OK)
        r = vs_ids_add(&g->tokens, id) == VS_OK ? VS_OK : vs_error_set(g->err, VS_E_NOMEM, "out of memory");
    if (r != VS_OK)
        return r;
    hash_token(g, position, logits, id);
    r = vs_stopper_push(&g->stopper, id, &ends, &n, g->err);
    if (r == VS_OK)
        r = logprobs(g, logits, id, &extra);
    if (r != VS_OK)
        return r;
    g->finish = ends ? "stop" : is_full(g) ? "length" : NULL;
    if (g->finish)
        n = vs_stopper_finish(&g->stopper);
    r = send_token(g, id, n, extra);
    json_decref(extra);
    return r;
}

/* ---- the loop ---- */

struct drive {
    struct generation *g;
    const float *logits;                 /* of the last row computed */
};

static int keep_logits(void *context, size_t first, size_t n, const float *logits)
{
    struct drive *d = context;
    (void)first;
    d->logits = logits + (n - 1) * vs_model_n_vocab(d->g->s->model);
    return VS_OK;
}

static int ask(void *context, size_t done, size_t total)
{
    struct vs_sink *sink = ((struct drive *)context)->g->sink;
    int r = vs_check_ask(&sink->check);
    if (r == VS_OK && done && sink->progress)
        r = sink->progress(sink->context, "prompt", done, total);
    return r;
}

/* The longest beginning of the prompt that the last sequence has computed. The last token's logits are always needed. */
static size_t reuse(struct generation *g)
{
    size_t n_old, same = 0;
    const uint32_t *old = vs_sequence_tokens(g->s->sequence, &n_old);
    while (same < n_old && same + 1 < g->tokens.n && old[same] == g->tokens.id[same])
        same++;
    vs_sequence_truncate(g->s->sequence, same);
    return same;
}

static int compute(struct generation *g, struct drive *d)
{
    const uint32_t *first = g->tokens.id + g->n_computed;
    return vs_sequence_append(g->s->sequence, first, g->tokens.n - g->n_computed, 1, keep_logits, ask, d, g->err);
}

static int drive(struct generation *g)
{
    struct drive d = { .g = g };
    g->n_cached = g->n_computed = reuse(g);
    uint64_t start = vs_clock_ns(), begun;
    int r = compute(g, &d);
    begun = vs_clock_ns();
    g->prompt_ns = begun - start;
    if (is_full(g))                      /* max_tokens 0: the prompt is read, and that is all */
        g->finish = "length";
    while (r == VS_OK && !g->finish) {
        r = take(g, d.logits);
        if (r == VS_OK && !g->finish)
            r = compute(g, &d);
    }
    g->decode_ns = vs_clock_ns() - begun;
    return r;
}

static json_t *result(struct generation *g)
{
    size_t n_read = g->n_prompt - g->n_cached, n_steps = n_made(g) ? n_made(g) - 1 : 0;
    json_t *timings = json_pack(
        "{s:f, s:f, s:f, s:f, s:f, s:I}", "load_ms", g->s->load_ms, "prompt_ms", (double)g->prompt_ns / 1e6,
        "prompt_per_second", g->prompt_ns ? (double)n_read * 1e9 / (double)g->prompt_ns : 0.0,
        "decode_ms", (double)g->decode_ns / 1e6,
        "decode_per_second", g->decode_ns ? (double)n_steps * 1e9 / (double)g->decode_ns : 0.0,
        "cached_tokens", (json_int_t)g->n_cached);
    struct vs_outcome *outcome = g->sink->outcome;
    snprintf(outcome->finish_reason, sizeof outcome->finish_reason, "%s", g->finish);
    outcome->has_usage = true;
    outcome->usage = (struct vs_usage){ .prompt_tokens = (int64_t)g->n_prompt, .completion_tokens = (int64_t)n_made(g),
                                        .cached_tokens = (int64_t)g->n_cached };
    json_t *prompt = vs_ids_json(g->tokens.id, g->n_prompt, &g->sink->check);
    json_t *o = json_pack("{s:o, s:o}", "prompt_tokens", prompt, "timings", timings);
    if (o && g->notice)
        json_object_set_new(o, "notice", json_string(g->notice));
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    if (o && g->hash && EVP_DigestFinal_ex(g->hash, digest, &n)) {
        char hex[2 * EVP_MAX_MD_SIZE + 1];
        vs_hex(digest, n, hex);
        json_object_set_new(o, "logits_hash", json_string(hex));
    }
    return o;
}

int vs_service_generate(struct vs_service *s, const json_t *request, struct vs_sink *sink, json_t **ret, struct vs_error *err)
{
    struct generation g = { .s = s, .sink = sink, .err = err };
    int r = begin(&g, request);
    if (r == VS_OK)
        r = drive(&g);
    if (r == VS_OK)
        *ret = result(&g);
    end(&g);
    return r;
}
