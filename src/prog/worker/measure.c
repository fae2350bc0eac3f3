/* prog/worker/measure.c - the method bench: it has the model to itself. */
#include "prog/worker/work.h"

#include "base/clock.h"
#include "base/word.h"

#include <stdlib.h>
#include <string.h>

struct run {
    struct vs_work work;
    struct vs_sequence *sequence;
    uint64_t done, total;
};

static int ask(void *context, size_t done, size_t total)
{
    struct run *run = context;
    (void)done, (void)total;
    return vs_check_ask(&run->work.sink->check);
}

static int report(struct run *run, const char *what)
{
    return run->work.sink->progress(run->work.sink->context, what, run->done, run->total);
}

/* ---- bench ---- */

static int ask_and_tell(void *context, size_t done, size_t total)
{
    struct run *run = context;
    int r = ask(context, done, total);
    return r == VS_OK ? run->work.sink->progress(run->work.sink->context, "depth", done, total) : r;
}

static int fill(struct run *run, uint32_t *tokens, size_t n, vs_check_fn *check, struct vs_error *err)
{
    for (size_t i = 0; i < n; i++)
        tokens[i] = (uint32_t)((i * 7919 + 13) % vs_model_n_vocab(run->work.s->model));
    return n ? vs_sequence_append(run->sequence, tokens, n, 1, NULL, check, run, err) : VS_OK;
}

/* Tokens per second of one repetition: n tokens as one prompt, or as n steps. */
static int repetition(struct run *run, bool single, size_t n, size_t depth, uint32_t *tokens,
                      double *ret, struct vs_error *err)
{
    vs_sequence_truncate(run->sequence, depth);
    size_t have;
    vs_sequence_tokens(run->sequence, &have);
    int r = have < depth ? (vs_sequence_truncate(run->sequence, 0), fill(run, tokens, depth, ask_and_tell, err)) : VS_OK;
    uint64_t start = vs_clock_ns();
    if (r == VS_OK && !single)
        r = fill(run, tokens, n, ask, err);
    for (size_t i = 0; r == VS_OK && single && i < n; i++) {
        tokens[0] = (uint32_t)((i * 7919 + 13) % vs_model_n_vocab(run->work.s->model));
        r = vs_sequence_append(run->sequence, tokens, 1, 1, NULL, ask, run, err);
    }
    *ret = (double)n * 1e9 / (double)(vs_clock_ns() - start + 1);
    return r;
}

static int one_test(struct run *run, bool single, size_t n, size_t depth, int64_t reps, json_t *results,
                    struct vs_error *err)
{
    uint32_t *tokens = malloc((n + depth + 1) * sizeof *tokens);
    json_t *rates = json_array();
    char name[32];
    snprintf(name, sizeof name, "%s%zu", single ? "tg" : "pp", n);
    int r = tokens && rates ? VS_OK : vs_error_set(err, VS_E_NOMEM, "out of memory");
    double rate;
    if (r == VS_OK)                      /* warm up, not counted */
        r = repetition(run, single, single && n > 4 ? 4 : n, depth, tokens, &rate, err);
    for (int64_t i = 0; i < reps && r == VS_OK; i++) {
        r = repetition(run, single, n, depth, tokens, &rate, err);
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

static int test_or_count(struct run *run, const char *kind, json_int_t n, json_int_t depth, int64_t reps,
                         json_t *results, struct vs_error *err)
{
    int64_t context = vs_model_context(run->work.s->model);
    if (n + depth > context)
        return vs_error_set(err, VS_E_CONTEXT, "%s%lld at depth %lld does not fit into the context of %lld token%s",
                            kind, (long long)n, (long long)depth, (long long)context, vs_plural((uint64_t)context));
    if (results)
        return one_test(run, *kind == 't', (size_t)n, (size_t)depth, reps, results, err);
    run->total += (uint64_t)reps;
    return VS_OK;
}

/* Every test once, depth by depth; without results only looked at and counted. */
static int all_tests(struct run *run, const json_t *request, int64_t reps, json_t *results,
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
                int r = test_or_count(run, kinds[k], json_integer_value(v), depth, reps, results, err);
                if (r != VS_OK)
                    return r;
            }
    return VS_OK;
}

static int run_all(struct vs_work *w, json_t **ret, struct vs_error *err)
{
    struct run *run = (struct run *)w;
    char hex[65];
    uint64_t done, total;
    int r;
    /* The thread that computes the digest must not share the machine with what is measured. */
    while ((r = vs_service_digest(w->s, 10, hex, &done, &total, err)) == VS_E_BUSY) {
        w->sink->progress(w->sink->context, "digest", done, total);
        if ((r = vs_check_ask(&w->sink->check)) != VS_OK)
            return r;
    }
    if (r == VS_OK && (r = vs_sequence_create(w->s->model, &run->sequence)) != VS_OK)
        return vs_error_set(err, r, "out of memory");
    json_t *results = json_array();
    if (r == VS_OK)
        r = all_tests(run, w->request, vs_request_int(w->request, "reps", 3), results, err);
    if (r == VS_OK)
        *ret = json_pack("{s:O}", "results", results);
    json_decref(results);
    return r;
}

static void free_run(struct vs_work *w)
{
    struct run *run = (struct run *)w;
    vs_sequence_free(run->sequence);
    free(run);
}

static const struct vs_work_kind kind = { .alone = run_all, .free = free_run };

int vs_service_bench(struct vs_service *s, json_t *request, struct vs_sink *sink, struct vs_answer *ret, struct vs_error *err)
{
    static const char *const lists[] = { "depth", "pp", "tg" };
    struct run *run = calloc(1, sizeof *run);
    if (!run)
        return vs_error_set(err, VS_E_NOMEM, "out of memory");
    int r = vs_work_init(&run->work, &kind, s, sink, request, 1, err);
    for (int i = 0; i < 3 && r == VS_OK; i++)
        r = check_list(json_object_get(request, lists[i]), lists[i], err);
    if (r == VS_OK)
        r = all_tests(run, request, vs_request_int(request, "reps", 3), NULL, err);
    if (r == VS_OK && !run->total)
        r = vs_error_set(err, VS_E_INVALID, "there is nothing to measure: pp and tg are empty or 0");
    if (r == VS_OK)
        ret->work = &run->work;
    else
        vs_work_free(&run->work);
    return r;
}
