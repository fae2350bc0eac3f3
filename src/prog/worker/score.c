/* prog/worker/score.c - the methods logits and perplexity: a text whose rows are read, as a work of the batch (work.h). */
#include "prog/worker/work.h"

#include "base/num.h"
#include "base/word.h"

#include <stdlib.h>
#include <string.h>

struct score {
    struct vs_work work;
    struct vs_ids ids;
    bool is_logits;                      /* else perplexity */
    size_t done;                         /* logits: rows that are sent or kept */
    struct vs_buf rows;                  /* of this step */
    size_t window, n_windows;            /* perplexity: tokens in each; windows */
    size_t at, in_window;                /* the window, and how many of its rows are scored */
    uint32_t first;                      /* the token whose place the one that begins every text has */
    double nll;
    uint64_t n_scored;
};

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

static void want_logits(struct vs_work *w, uint32_t lane, struct vs_want *ret)
{
    const struct score *c = (const struct score *)w;
    (void)lane;
    bool ended = c->done == c->ids.n;
    *ret = (struct vs_want){ .tokens = c->ids.id, .n = ended ? 0 : (uint32_t)c->ids.n, .n_known = (uint32_t)c->ids.n,
                             .n_out = (uint32_t)(c->ids.n - c->done), .n_shared = (uint32_t)c->done };
}

static int take_logits(struct vs_work *w, uint32_t lane, struct vs_sampler *sampler, const float *logits, uint32_t n,
                       struct vs_error *err)
{
    struct score *c = (struct score *)w;
    (void)lane, (void)sampler;
    vs_buf_reset(&c->rows);
    vs_buf_add(&c->rows, logits, (size_t)n * vs_model_n_vocab(w->s->model) * sizeof *logits);
    c->done += n;
    return c->rows.status == VS_OK ? VS_OK : vs_error_set(err, VS_E_NOMEM, "out of memory");
}

static int send_logits(struct vs_work *w, uint32_t lane, struct vs_error *err)
{
    struct score *c = (struct score *)w;
    (void)lane;
    int r = w->sink->data(w->sink->context, c->rows.data, c->rows.n);
    return r == VS_OK ? r : vs_error_set(err, r, "%s", vs_status_text(r));
}

static json_t *result_logits(struct vs_work *w)
{
    struct score *c = (struct score *)w;
    json_t *ids = vs_ids_json(c->ids.id, c->ids.n, NULL);
    uint32_t n_source = vs_model_source(w->s->model, c->ids.id, (uint32_t)c->ids.n);
    return vs_service_tell_guess(w->s, json_pack("{s:I, s:I, s:I, s:o}", "n_tokens", (json_int_t)c->ids.n, "n_rows",
                                                 (json_int_t)(c->ids.n - n_source), "n_vocab",
                                                 (json_int_t)vs_model_n_vocab(w->s->model), "tokens", ids));
}

/* ---- perplexity: docs/PERPLEXITY.md has the convention ---- */

/* Window after window, each a text of its own. */
static void want_scores(struct vs_work *w, uint32_t lane, struct vs_want *ret)
{
    const struct score *c = (const struct score *)w;
    (void)lane;
    uint32_t n = (uint32_t)c->window - 1;
    *ret = (struct vs_want){ .tokens = c->ids.id + c->at * c->window, .n = c->at == c->n_windows ? 0 : n, .n_known = n,
                             .n_out = n - (uint32_t)(c->window / 2 + c->in_window), .text = (uint32_t)c->at };
}

/* The window's first token gives way to the one that begins every text, while the window is read. */
static void begin_window(struct score *c)
{
    const struct vs_tokenizer *t = c->work.s->tokenizer;
    uint32_t *tokens = c->ids.id + c->at * c->window;
    c->in_window = 0;
    c->first = tokens[0];
    if (t && vs_tokenizer_adds_bos(t))
        tokens[0] = vs_tokenizer_bos(t);
}

static int take_scores(struct vs_work *w, uint32_t lane, struct vs_sampler *sampler, const float *logits, uint32_t n,
                       struct vs_error *err)
{
    struct score *c = (struct score *)w;
    (void)lane;
    uint32_t *tokens = c->ids.id + c->at * c->window, n_vocab = vs_model_n_vocab(w->s->model);
    size_t n_out = c->window - 1 - c->window / 2, from = c->window / 2 + c->in_window;
    for (uint32_t i = 0; i < n; i++) {
        float logprob;
        int r = vs_sampler_logprobs(sampler, logits + i * (size_t)n_vocab, tokens[from + i + 1], 0, &logprob, NULL);
        if (r != VS_OK)
            return vs_error_set(err, r, "%s", vs_status_text(r));
        c->nll -= (double)logprob;
        c->n_scored++;
    }
    c->in_window += n;
    if (c->in_window == n_out) {
        tokens[0] = c->first;
        if (++c->at < c->n_windows)
            begin_window(c);
    }
    return VS_OK;
}

static int send_scores(struct vs_work *w, uint32_t lane, struct vs_error *err)
{
    struct score *c = (struct score *)w;
    (void)lane;
    int r = w->sink->progress(w->sink->context, "perplexity", c->at, c->n_windows);
    return r == VS_OK ? r : vs_error_set(err, r, "%s", vs_status_text(r));
}

static json_t *result_scores(struct vs_work *w)
{
    const struct score *c = (const struct score *)w;
    return vs_service_tell_guess(w->s, json_pack("{s:f, s:I, s:f}", "perplexity", vs_exp64(c->nll / (double)c->n_scored),
                                                 "n_tokens", (json_int_t)c->n_scored, "nll", c->nll));
}

/* ---- begin, end ---- */

static void free_score(struct vs_work *w)
{
    struct score *c = (struct score *)w;
    vs_ids_clear(&c->ids);
    vs_buf_clear(&c->rows);
    free(c);
}

static const struct vs_work_kind logits_kind = {
    .what = "logits", .want = want_logits, .take = take_logits, .send = send_logits, .result = result_logits, .free = free_score,
};
static const struct vs_work_kind scores_kind = {
    .want = want_scores, .take = take_scores, .send = send_scores, .result = result_scores, .free = free_score,
};

static int create(const struct vs_work_kind *kind, struct vs_service *s, json_t *request, struct vs_sink *sink, bool strip,
                  struct score **ret, struct vs_error *err)
{
    struct score *c = calloc(1, sizeof *c);
    if (!c)
        return vs_error_set(err, VS_E_NOMEM, "out of memory");
    int r = vs_work_init(&c->work, kind, s, sink, request, 1, err);
    if (r == VS_OK)
        r = text_or_tokens(s, request, strip, &sink->check, &c->ids, err);
    if (r == VS_OK)
        *ret = c;
    else
        vs_work_free(&c->work);
    return r;
}

int vs_service_logits(struct vs_service *s, json_t *request, struct vs_sink *sink, struct vs_answer *ret, struct vs_error *err)
{
    struct score *c = NULL;
    int r = create(&logits_kind, s, request, sink, false, &c, err);
    if (r != VS_OK)
        return r;
    r = vs_service_begin_answer(s, &c->ids, err);
    if (r == VS_OK && c->ids.n > vs_model_context(s->model))
        r = vs_error_set(err, VS_E_CONTEXT, "%zu tokens do not fit into the context of %u", c->ids.n, vs_model_context(s->model));
    if (r != VS_OK) {
        vs_work_free(&c->work);
        return r;
    }
    c->done = vs_model_source(s->model, c->ids.id, (uint32_t)c->ids.n);      /* its rows give no logits */
    ret->work = &c->work;
    return VS_OK;
}

int vs_service_perplexity(struct vs_service *s, json_t *request, struct vs_sink *sink, struct vs_answer *ret, struct vs_error *err)
{
    int64_t context = vs_model_context(s->model), window = vs_request_int(request, "ctx", context < 512 ? context : 512);
    if (context < 4)
        return vs_error_set(err, VS_E_INVALID, "a context of %lld is too short to measure in; 4 is the least", (long long)context);
    if (window < 4 || window > context)
        return vs_error_set(err, VS_E_INVALID, "ctx: a whole number from 4 to %lld, this model's context, is needed, this is %lld",
                            (long long)context, (long long)window);
    struct score *c = NULL;
    int r = create(&scores_kind, s, request, sink, true, &c, err);
    if (r != VS_OK)
        return r;
    c->window = (size_t)window;
    c->n_windows = c->ids.n / c->window;
    if (c->n_windows < 2) {
        r = vs_error_set(err, VS_E_INVALID, "the text has %zu token%s and two windows of %zu are needed; "
                         "give a longer text or a smaller --ctx", c->ids.n, vs_plural(c->ids.n), c->window);
        vs_work_free(&c->work);
        return r;
    }
    begin_window(c);
    ret->work = &c->work;
    return VS_OK;
}
