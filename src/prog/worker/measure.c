/* prog/worker/measure.c - the methods logits, perplexity and bench. */
#include "prog/worker/service_internal.h"

#include "base/clock.h"
#include "base/num.h"

#include <stdlib.h>
#include <string.h>

struct run {
    struct vs_service *s;
    struct vs_sink *sink;
    const uint32_t *tokens;              /* of the window being scored */
    double nll;
    uint64_t n_scored, done, total;
};

static int ask(void *context, size_t done, size_t total)
{
    struct run *run = context;
    (void)done, (void)total;
    return vs_check_ask(&run->sink->check);
}

static int report(struct run *run, const char *what)
{
    return run->sink->progress ? run->sink->progress(run->sink->context, what, run->done, run->total) : VS_OK;
}

/* strip: without the newline that ends a file */
static int text_or_tokens(struct vs_service *s, const json_t *request, bool strip, struct vs_check *check, struct vs_ids *ids,
                          struct vs_error *err)
{
    const json_t *tokens = json_object_get(request, "tokens"), *text = json_object_get(request, "text");
    size_t n = json_string_length(text);
    if (strip && n && json_string_value(text)[n - 1] == '\n')
        n--;
    int r;
    if (json_is_array(tokens) && json_is_string(text))
        return vs_error_set(err, VS_E_INVALID, "text or tokens, not both: leave out either");
    if (json_is_array(tokens))
        r = vs_request_ids(s, tokens, "tokens", check, ids, err);
    else if (json_is_string(text))
        r = vs_service_encode(s, json_string_value(text), n, vs_request_flag(request, "special"),
                              vs_request_flag(request, "no_bos") ? 0 : VS_ENCODE_ADD_SPECIAL, check, ids, err);
    else
        r = vs_error_set(err, VS_E_INVALID, "text or tokens must be given");
    if (r == VS_OK && !ids->n)
        r = vs_error_set(err, VS_E_INVALID, "the text is empty");
    return r;
}

/* ---- logits ---- */

static int send_rows(void *context, size_t first, size_t n, const float *logits)
{
    struct run *run = context;
    run->done = first + n;
    int r = run->sink->data(run->sink->context, logits, n * vs_model_n_vocab(run->s->model) * sizeof *logits);
    return r == VS_OK ? report(run, "logits") : r;
}

int vs_service_logits(struct vs_service *s, const json_t *request, struct vs_sink *sink, json_t **ret, struct vs_error *err)
{
    struct vs_ids ids = { 0 };
    int r = text_or_tokens(s, request, false, &sink->check, &ids, err);
    if (r == VS_OK) {
        struct run run = { .s = s, .sink = sink, .total = ids.n };
        vs_sequence_truncate(s->sequence, 0);
        r = vs_sequence_append(s->sequence, ids.id, ids.n, ids.n, send_rows, ask, &run, err);
    }
    if (r == VS_OK)
        *ret = json_pack("{s:I, s:I, s:o}", "n_tokens", (json_int_t)ids.n, "n_vocab", (json_int_t)vs_model_n_vocab(s->model),
                         "tokens", vs_ids_json(ids.id, ids.n, &sink->check));
    else if (err && !err->text[0])
        vs_error_set(err, r, "%s", vs_status_text(r));
    vs_ids_clear(&ids);
    return r;
}

/* ---- perplexity: docs/PERPLEXITY.md has the convention ---- */

static int score_rows(void *context, size_t first, size_t n, const float *logits)
{
    struct run *run = context;
    uint32_t n_vocab = vs_model_n_vocab(run->s->model);
    for (size_t i = 0; i < n; i++) {
        float logprob;
        int r = vs_sampler_logprobs(run->s->sampler, logits + i * n_vocab, run->tokens[first + i + 1], 0, &logprob, NULL);
        if (r == VS_OK)
            r = vs_check_work(&run->sink->check, n_vocab);
        if (r != VS_OK)
            return r;
        run->nll -= (double)logprob;
        run->n_scored++;
    }
    return VS_OK;
}

int vs_service_perplexity(struct vs_service *s, const json_t *request, struct vs_sink *sink, json_t **ret, struct vs_error *err)
{
    struct vs_ids ids = { 0 };
    int64_t context = vs_model_context(s->model), window = vs_request_int(request, "ctx", context < 512 ? context : 512);
    if (context < 4)
        return vs_error_set(err, VS_E_INVALID, "a context of %lld is too short to measure in; 4 is the least", (long long)context);
    if (window < 4 || window > context)
        return vs_error_set(err, VS_E_INVALID, "ctx: a whole number from 4 to %lld, this model's context, is needed, this is %lld",
                            (long long)context, (long long)window);
    int r = text_or_tokens(s, request, true, &sink->check, &ids, err);
    size_t c = r == VS_OK ? (size_t)window : 1, n_windows = ids.n / c;
    if (r == VS_OK && n_windows < 2)
        r = vs_error_set(err, VS_E_INVALID, "the text has %zu tokens and two windows of %zu are needed; "
                         "give a longer text or a smaller --ctx",
                         ids.n, c);
    struct run run = { .s = s, .sink = sink, .total = n_windows };
    for (size_t w = 0; w < n_windows && r == VS_OK; w++) {
        uint32_t *tokens = ids.id + w * c, first = tokens[0];
        if (s->tokenizer && vs_tokenizer_adds_bos(s->tokenizer))
            tokens[0] = vs_tokenizer_bos(s->tokenizer);
        run.tokens = tokens;
        vs_sequence_truncate(s->sequence, 0);
        r = vs_sequence_append(s->sequence, tokens, c - 1, c - 1 - c / 2, score_rows, ask, &run, err);
        tokens[0] = first;
        run.done = w + 1;
        if (r == VS_OK)
            r = report(&run, "perplexity");
    }
    if (r == VS_OK)
        *ret = json_pack("{s:f, s:I, s:f}", "perplexity", vs_exp64(run.nll / (double)run.n_scored), "n_tokens",
                         (json_int_t)run.n_scored, "nll", run.nll);
    vs_ids_clear(&ids);
    return r;
}

/* ---- bench ---- */

static int ask_and_tell(void *context, size_t done, size_t total)
{
    struct run *run = context;
    int r = ask(context, done, total);
    return r == VS_OK && run->sink->progress ? run->sink->progress(run->sink->context, "depth", done, total) : r;
}

static int fill(struct vs_service *s, struct run *run, uint32_t *tokens, size_t n, vs_check_fn *check, struct vs_error *err)
{
    for (size_t i = 0; i < n; i++)
        tokens[i] = (uint32_t)((i * 7919 + 13) % vs_model_n_vocab(s->model));
    return n ? vs_sequence_append(s->sequence, tokens, n, 1, NULL, check, run, err) : VS_OK;
}

/* Tokens per second of one repetition: n tokens as one prompt, or as n steps. */
static int repetition(struct vs_service *s, struct run *run, bool single, size_t n, size_t depth, uint32_t *tokens,
                      double *ret, struct vs_error *err)
{
    vs_sequence_truncate(s->sequence, depth);
    size_t have;
    vs_sequence_tokens(s->sequence, &have);
    int r = have < depth ? (vs_sequence_truncate(s->sequence, 0), fill(s, run, tokens, depth, ask_and_tell, err)) : VS_OK;
    uint64_t start = vs_clock_ns();
    if (r == VS_OK && !single)
        r = fill(s, run, tokens, n, ask, err);
    for (size_t i = 0; r == VS_OK && single && i < n; i++) {
        tokens[0] = (uint32_t)((i * 7919 + 13) % vs_model_n_vocab(s->model));
        r = vs_sequence_append(s->sequence, tokens, 1, 1, NULL, ask, run, err);
    }
    *ret = (double)n * 1e9 / (double)(vs_clock_ns() - start + 1);
    return r;
}

static int one_test(struct vs_service *s, struct run *run, bool single, size_t n, size_t depth, int64_t reps, json_t *results,
                    struct vs_error *err)
{
    uint32_t *tokens = malloc((n + depth + 1) * sizeof *tokens);
    json_t *rates = json_array();
    char name[32];
    snprintf(name, sizeof name, "%s%zu", single ? "tg" : "pp", n);
    int r = tokens && rates ? VS_OK : vs_error_set(err, VS_E_NOMEM, "out of memory");
    double rate;
    if (r == VS_OK)                      /* warm up, not counted */
        r = repetition(s, run, single, single && n > 4 ? 4 : n, depth, tokens, &rate, err);
    for (int64_t i = 0; i < reps && r == VS_OK; i++) {
        r = repetition(s, run, single, n, depth, tokens, &rate, err);
        json_array_append_new(rates, json_real(rate));
        run->done++;
        if (r == VS_OK)
            r = report(run, "bench");
    }
    free(tokens);
    if (r == VS_OK)
        json_array_append_new(results, json_pack("{s:s, s:I, s:O}", "test", name, "depth", (json_int_t)depth,
                                                 "tokens_per_second", rates));
    json_decref(rates);
    return r;
}

/* Value i of a list that stands in it for the first time; 0 (leave this kind out) counts only where it means a depth. */
static bool counts(const json_t *list, size_t i, bool zero)
{
    json_int_t v = json_integer_value(json_array_get(list, i));
    for (size_t k = 0; k < i; k++)
        if (json_integer_value(json_array_get(list, k)) == v)
            return false;
    return v || zero;
}

static int check_list(const json_t *list, const char *key, struct vs_error *err)
{
    size_t i;
    const json_t *v;
    json_array_foreach(list, i, v)
        if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > UINT32_MAX)
            return vs_error_set(err, VS_E_INVALID, "%s must be numbers of tokens, 0 to %u", key, UINT32_MAX);
    return VS_OK;
}

static int test_or_count(struct vs_service *s, struct run *run, const char *kind, json_int_t n, json_int_t depth, int64_t reps,
                         json_t *results, struct vs_error *err)
{
    int64_t context = vs_model_context(s->model);
    if (n + depth > context)
        return vs_error_set(err, VS_E_CONTEXT, "%s%lld at depth %lld does not fit into the context of %lld tokens",
                            kind, (long long)n, (long long)depth, (long long)context);
    if (results)
        return one_test(s, run, *kind == 't', (size_t)n, (size_t)depth, reps, results, err);
    run->total += (uint64_t)reps;
    return VS_OK;
}

/* Every test once, depth by depth; without results only looked at and counted. */
static int all_tests(struct vs_service *s, struct run *run, const json_t *request, int64_t reps, json_t *results,
                     struct vs_error *err)
{
    static const char *const kinds[] = { "pp", "tg" };
    const json_t *depths = json_object_get(request, "depth"), *v;
    size_t n_depths = json_array_size(depths), i;
    for (size_t d = 0; d < (n_depths ? n_depths : 1); d++)
        for (int k = 0; k < 2; k++)
            json_array_foreach(json_object_get(request, kinds[k]), i, v) {
                if ((n_depths && !counts(depths, d, true)) || !counts(json_object_get(request, kinds[k]), i, false))
                    continue;
                json_int_t depth = json_integer_value(json_array_get(depths, d));
                int r = test_or_count(s, run, kinds[k], json_integer_value(v), depth, reps, results, err);
                if (r != VS_OK)
                    return r;
            }
    return VS_OK;
}

int vs_service_bench(struct vs_service *s, const json_t *request, struct vs_sink *sink, json_t **ret, struct vs_error *err)
{
    static const char *const lists[] = { "depth", "pp", "tg" };
    struct run run = { .s = s, .sink = sink };
    int64_t reps = vs_request_int(request, "reps", 3);
    int r = VS_OK;
    for (int i = 0; i < 3 && r == VS_OK; i++)
        r = check_list(json_object_get(request, lists[i]), lists[i], err);
    if (r == VS_OK)
        r = all_tests(s, &run, request, reps, NULL, err);
    if (r == VS_OK && !run.total)
        r = vs_error_set(err, VS_E_INVALID, "there is nothing to measure: pp and tg are empty or 0");
    if (r != VS_OK)
        return r;
    json_t *results = json_array();
    r = all_tests(s, &run, request, reps, results, err);
    if (r == VS_OK)
        *ret = json_pack("{s:O}", "results", results);
    json_decref(results);
    return r;
}
