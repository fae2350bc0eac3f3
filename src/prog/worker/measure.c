/* prog/worker/measure.c - the method bench: it has the model to itself. */
#include "prog/worker/work.h"

#include "base/clock.h"
#include "base/word.h"

#include <stdlib.h>
#include <string.h>

struct run {
    struct vs_work work;
    struct vs_kv_sequence **kv;          /* [most sequences of a test] */
    uint32_t *tokens;                    /* [context] */
    json_t *results;
    uint64_t done, total;                /* repetitions */
};

struct test {
    bool decode;                         /* token by token; else n tokens as one prompt */
    uint32_t n, depth, batch;            /* tokens of each sequence; behind so many; sequences of a step */
};

static int ask(void *context)
{
    return vs_check_ask(&((struct run *)context)->work.sink->check);
}

static int progress(const struct run *run, const char *what, uint64_t done, uint64_t total)
{
    return run->work.sink->progress(run->work.sink->context, what, done, total);
}

/* ---- steps ---- */

/* One step: the next n tokens of each of the sequences [first, end). */
static int step(struct run *run, uint32_t first, uint32_t end, uint32_t n, struct vs_error *err)
{
    struct vs_model *m = run->work.s->model;
    const float *logits;
    int r = VS_OK;
    vs_batch_begin(m);
    for (uint32_t i = first; i < end && r == VS_OK; i++)
        r = vs_batch_add(m, run->kv[i], run->tokens + vs_kv_length(run->kv[i]), n, 1, err);
    if (r == VS_OK)
        r = vs_batch_compute(m, 0, ask, run, &logits, err);
    for (uint32_t i = first; i < end && r == VS_OK; i++)
        vs_kv_commit(run->kv[i], run->tokens + vs_kv_length(run->kv[i]), n);
    return r;
}

/* The next n tokens of one sequence, in steps as large as they may be. */
static int read_tokens(struct run *run, uint32_t i, uint32_t n, const char *what, struct vs_error *err)
{
    uint32_t chunk = vs_model_config(run->work.s->model)->chunk;
    int r = VS_OK;
    for (uint32_t done = 0; done < n && r == VS_OK; done += n - done < chunk ? n - done : chunk) {
        if (what && (r = progress(run, what, done, n)) != VS_OK)
            return vs_error_set(err, r, "%s", vs_status_text(r));
        r = step(run, i, i + 1, n - done < chunk ? n - done : chunk, err);
    }
    return r;
}

static int fill(struct run *run, const struct test *t, struct vs_error *err)
{
    int r = VS_OK;
    for (uint32_t i = 0; i < t->batch && r == VS_OK; i++) {
        vs_kv_truncate(run->kv[i], t->depth);
        r = read_tokens(run, i, t->depth - vs_kv_length(run->kv[i]), "depth", err);
    }
    return r;
}

/* Tokens per second of one repetition, of all sequences together. */
static int repetition(struct run *run, const struct test *t, double *ret, struct vs_error *err)
{
    int r = fill(run, t, err);
    uint64_t start = vs_clock_ns();
    if (r == VS_OK && !t->decode)
        r = read_tokens(run, 0, t->n, NULL, err);
    for (uint32_t i = 0; r == VS_OK && t->decode && i < t->n; i++)
        r = step(run, 0, t->batch, 1, err);
    *ret = (double)t->n * t->batch * 1e9 / (double)(vs_clock_ns() - start + 1);
    return r;
}

/* ---- tests ---- */

static int open_sequences(struct run *run, uint32_t n, struct vs_error *err)
{
    struct vs_kv *kv = vs_model_kv(run->work.s->model);
    int r = VS_OK;
    for (uint32_t i = 0; i < n && r == VS_OK; i++)
        if (!run->kv[i] && (r = vs_kv_open(kv, -1, NULL, &run->kv[i])) != VS_OK)
            return vs_error_set(err, r, "no sequence is free");
    return r;
}

static void close_sequences(struct run *run)
{
    for (uint32_t i = 0; run->kv && i < run->work.s->parallel; i++) {
        if (run->kv[i])
            vs_kv_close(run->kv[i], false);
        run->kv[i] = NULL;
    }
}

static int run_test(struct run *run, const struct test *t, int64_t reps, struct vs_error *err)
{
    json_t *rates = json_array();
    char name[48];
    double rate;
    int n = snprintf(name, sizeof name, "%s%u", t->decode ? "tg" : "pp", t->n);
    if (t->batch > 1)
        snprintf(name + n, sizeof name - (size_t)n, "x%u", t->batch);
    const struct test warm = { t->decode, t->decode && t->n > 4 ? 4 : t->n, t->depth, t->batch };
    int r = open_sequences(run, t->batch, err);
    if (r == VS_OK)                      /* not counted */
        r = repetition(run, &warm, &rate, err);
    for (int64_t i = 0; i < reps && r == VS_OK; i++) {
        r = repetition(run, t, &rate, err);
        json_array_append_new(rates, json_real(rate));
        if (r == VS_OK && (r = progress(run, "bench", ++run->done, run->total)) != VS_OK)
            vs_error_set(err, r, "%s", vs_status_text(r));
    }
    if (t->batch > 1)                    /* their pages are another test's */
        close_sequences(run);
    if (r == VS_OK)
        json_array_append_new(run->results, json_pack("{s:s, s:I, s:O}", "test", name, "depth", (json_int_t)t->depth,
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
            return vs_error_set(err, VS_E_INVALID, "%s must be whole numbers, 0 to %u", key, UINT32_MAX);
    return VS_OK;
}

static int check_test(const struct run *run, const struct test *t, struct vs_error *err)
{
    const struct vs_service *s = run->work.s;
    uint64_t all = (uint64_t)t->n + t->depth, context = vs_model_context(s->model);
    uint64_t room = (uint64_t)vs_model_config(s->model)->n_pages * VS_PAGE_TOKENS;
    const char *name = t->decode ? "tg" : "pp";
    if (all > context)
        return vs_error_set(err, VS_E_CONTEXT, "%s%u at depth %u does not fit into the context of %llu token%s",
                            name, t->n, t->depth, (unsigned long long)context, vs_plural(context));
    if (t->batch < 1 || t->batch > s->parallel)
        return vs_error_set(err, VS_E_INVALID, "batch: a whole number from 1 to %u, the sequences that a step may have "
                            "(--parallel), is needed, this is %u", s->parallel, t->batch);
    if (t->batch * vs_pages_for((uint32_t)all) * (uint64_t)VS_PAGE_TOKENS > room)
        return vs_error_set(err, VS_E_CONTEXT, "%u sequences of %llu tokens do not fit into the KV cache of %llu", t->batch,
                            (unsigned long long)all, (unsigned long long)room);
    return VS_OK;
}

static const json_t *list_of(const struct run *run, const char *key)
{
    return json_object_get(run->work.request, key);
}

/* All tests of one kind at one depth; without results only looked at and counted. */
static int tests_of(struct run *run, bool decode, uint32_t depth, int64_t reps, struct vs_error *err)
{
    const json_t *sizes = list_of(run, decode ? "tg" : "pp"), *batches = decode ? list_of(run, "batch") : NULL;
    size_t n_batches = json_array_size(batches);
    for (size_t i = 0; i < json_array_size(sizes); i++)
        for (size_t k = 0; counts(sizes, i, false) && k < (n_batches ? n_batches : 1); k++) {
            const json_int_t n = json_integer_value(json_array_get(sizes, i));
            const struct test t = { decode, (uint32_t)n, depth,
                                    n_batches ? (uint32_t)json_integer_value(json_array_get(batches, k)) : 1 };
            if (n_batches && !counts(batches, k, true))
                continue;
            int r = run->results ? run_test(run, &t, reps, err) : check_test(run, &t, err);
            if (r != VS_OK)
                return r;
            run->total += run->results ? 0 : (uint64_t)reps;
        }
    return VS_OK;
}

static int all_tests(struct run *run, struct vs_error *err)
{
    const json_t *depths = list_of(run, "depth");
    int64_t reps = vs_request_int(run->work.request, "reps", 3);
    size_t n = json_array_size(depths);
    int r = VS_OK;
    for (size_t d = 0; d < (n ? n : 1) && r == VS_OK; d++) {
        if (n && !counts(depths, d, true))
            continue;
        uint32_t depth = (uint32_t)json_integer_value(json_array_get(depths, d));
        r = tests_of(run, false, depth, reps, err);
        if (r == VS_OK)
            r = tests_of(run, true, depth, reps, err);
    }
    return r;
}

static int run_all(struct vs_work *w, json_t **ret, struct vs_error *err)
{
    struct run *run = (struct run *)w;
    struct vs_model *m = w->s->model;
    char hex[65];
    uint64_t done, total;
    int r;
    /* The thread that computes the digest must not share the machine with what is measured. */
    while ((r = vs_service_digest(w->s, 10, hex, &done, &total, err)) == VS_E_BUSY) {
        progress(run, "digest", done, total);
        if ((r = ask(run)) != VS_OK)
            return r;
    }
    if (r != VS_OK)
        return r;
    run->kv = calloc(w->s->parallel, sizeof(struct vs_kv_sequence *));
    run->tokens = malloc(vs_model_context(m) * sizeof *run->tokens);
    run->results = json_array();
    if (!run->kv || !run->tokens || !run->results)
        return vs_error_set(err, VS_E_NOMEM, "out of memory");
    for (uint32_t i = 0; i < vs_model_context(m); i++)
        run->tokens[i] = (uint32_t)(((uint64_t)i * 7919 + 13) % vs_model_n_vocab(m));
    r = all_tests(run, err);
    if (r == VS_OK)
        *ret = json_pack("{s:O}", "results", run->results);
    return r;
}

static void free_run(struct vs_work *w)
{
    struct run *run = (struct run *)w;
    close_sequences(run);
    free(run->kv);
    free(run->tokens);
    json_decref(run->results);
    free(run);
}

static const struct vs_work_kind kind = { .alone = run_all, .free = free_run };

int vs_service_bench(struct vs_service *s, json_t *request, struct vs_sink *sink, struct vs_answer *ret, struct vs_error *err)
{
    static const char *const lists[] = { "depth", "pp", "tg", "batch" };
    struct run *run = calloc(1, sizeof *run);
    if (!run)
        return vs_error_set(err, VS_E_NOMEM, "out of memory");
    int r = vs_work_init(&run->work, &kind, s, sink, request, 1, err);
    for (int i = 0; i < 4 && r == VS_OK; i++)
        r = check_list(json_object_get(request, lists[i]), lists[i], err);
    if (r == VS_OK)
        r = all_tests(run, err);
    if (r == VS_OK && !run->total)
        r = vs_error_set(err, VS_E_INVALID, "there is nothing to measure: pp and tg are empty or 0");
    if (r == VS_OK)
        ret->work = &run->work;
    else
        vs_work_free(&run->work);
    return r;
}
