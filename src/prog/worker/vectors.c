/* prog/worker/vectors.c - the methods embed and rerank: texts, each of which becomes one vector, or a score, as a work of the batch
 * (work.h).
 *
 * A lane reads one text after the other: lane i of n has texts i, i + n, ... What is ready goes out in the order of the texts.
 * Without pooling there is one lane, and rows go out as they come.
 */
#include "prog/worker/work.h"

#include "base/num.h"
#include "base/word.h"
#include "engine/pool.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_LANES = VS_MAX_CHOICES };

struct text {
    size_t first;                        /* of its ids in ids.id */
    uint32_t n;
    uint32_t n_read;                     /* the last so many rows of it are read */
    bool done;
};

struct reading {                         /* of a lane */
    size_t at;                           /* the text that it reads */
    struct vs_pool pool;
};

struct vectors {
    struct vs_work work;
    struct vs_ids ids;                   /* of all texts, one behind the other */
    struct text *text;                   /* [n_texts] */
    size_t n_texts, n_sent;
    enum vs_pooling pooling;
    bool normalize;
    uint32_t dim;                        /* numbers that a row, or a text, gives */
    float *vector;                       /* [n_texts, dim]; NULL without pooling: */
    struct vs_buf rows;                  /* those of this step */
    struct reading reading[MAX_LANES];
    struct pair { uint32_t yes, no; } pair;      /* tokens whose logits are the score; VS_TOKENIZER_NONE: the model has an output */
    uint32_t n_width;                    /* numbers of a row that come from the engine */
};

static int no_memory(struct vs_error *err)
{
    return vs_error_set(err, VS_E_NOMEM, "out of memory");
}

/* ---- the work ---- */

static void want(struct vs_work *w, uint32_t lane, struct vs_want *ret)
{
    const struct vectors *v = (const struct vectors *)w;
    size_t at = v->reading[lane].at;
    *ret = (struct vs_want){ .text = (uint32_t)at };
    if (at >= v->n_texts)
        return;
    const struct text *t = &v->text[at];
    bool whole = vs_model_graph(w->s->model)->whole;
    uint32_t n_out = t->n_read - v->reading[lane].pool.n;
    *ret = (struct vs_want){ .tokens = v->ids.id + t->first, .n = t->n, .n_known = t->n, .n_out = n_out, .text = (uint32_t)at,
                             .n_shared = whole ? 0 : t->n - n_out, .whole = whole };
}

/* A step's rows as they are, each to length 1 where that is wanted. */
static int keep_rows(struct vectors *v, const float *rows, uint32_t n, struct vs_error *err)
{
    for (uint32_t i = 0; i < n; i++) {
        size_t at = v->rows.n;
        vs_buf_add(&v->rows, rows + (size_t)i * v->n_width, v->dim * sizeof *rows);
        if (v->rows.status == VS_OK && v->normalize)
            vs_vector_normalize((float *)(void *)(v->rows.data + at), v->dim);
    }
    return v->rows.status == VS_OK ? VS_OK : no_memory(err);
}

/* Logits of two tokens in place of the output that the model lacks. */
static void pick(const struct pair *p, const float *logits, uint32_t n_vocab, uint32_t n, float ret[2])
{
    logits += (size_t)(n - 1) * n_vocab;
    ret[0] = logits[p->yes];
    ret[1] = logits[p->no];
}

static int take(struct vs_work *w, uint32_t lane, struct vs_sampler *sampler, const float *rows, uint32_t n, struct vs_error *err)
{
    struct vectors *v = (struct vectors *)w;
    struct reading *r = &v->reading[lane];
    struct text *t = &v->text[r->at];
    float two[2];
    (void)sampler;
    if (!v->vector && keep_rows(v, rows, n, err) != VS_OK)
        return VS_E_NOMEM;
    if (v->pair.yes != VS_TOKENIZER_NONE) {
        pick(&v->pair, rows, v->n_width, n, two);
        rows = two;
    }
    if (v->vector)
        vs_pool_add(&r->pool, rows, n);
    else
        r->pool.n += n;
    if (r->pool.n < t->n_read)
        return VS_OK;
    if (v->vector)
        vs_pool_end(&r->pool, v->vector + r->at * v->dim, v->dim);
    if (v->vector && v->normalize)
        vs_vector_normalize(v->vector + r->at * v->dim, v->dim);
    t->done = true;
    r->at += w->n_lanes;
    vs_pool_begin(&r->pool);
    return VS_OK;
}

static int send_rows(struct vs_work *w, uint32_t lane, struct vs_error *err)
{
    struct vectors *v = (struct vectors *)w;
    size_t first = v->n_sent;
    (void)lane;
    while (v->n_sent < v->n_texts && v->text[v->n_sent].done)
        v->n_sent++;
    const void *data = v->vector ? (const void *)(v->vector + first * v->dim) : v->rows.data;
    size_t n = v->vector ? (v->n_sent - first) * v->dim * sizeof *v->vector : v->rows.n;
    int r = n ? w->sink->data(w->sink->context, data, n) : VS_OK;
    vs_buf_reset(&v->rows);
    if (r == VS_OK && v->n_sent > first)
        r = w->sink->progress(w->sink->context, "texts", v->n_sent, v->n_texts);
    return r == VS_OK ? r : vs_error_set(err, r, "%s", vs_status_text(r));
}

static void tell_usage(const struct vectors *v)
{
    struct vs_outcome *outcome = v->work.sink->outcome;
    outcome->has_usage = true;
    outcome->usage = (struct vs_usage){ .prompt_tokens = (int64_t)v->ids.n, .cached_tokens = (int64_t)v->work.n_cached,
                                        .recomputed_tokens = (int64_t)v->work.n_recomputed };
}

static json_t *counts(const struct vectors *v)
{
    json_t *list = json_array();
    for (size_t i = 0; i < v->n_texts; i++)
        if (json_array_append_new(list, json_integer((json_int_t)v->text[i].n)) != 0)
            return json_decref(list), NULL;
    return list;
}

static json_t *result_embed(struct vs_work *w)
{
    const struct vectors *v = (const struct vectors *)w;
    tell_usage(v);
    json_t *result = json_pack("{s:I, s:I, s:s, s:s, s:o}", "n", (json_int_t)v->n_texts, "dim", (json_int_t)v->dim, "pooling",
                               vs_pooling_name(v->pooling), "normalize", v->normalize ? "l2" : "none", "tokens", counts(v));
    return vs_service_tell_guess(w->s, result);
}

/* How likely it is that the document answers: the first label's part of all, or of a single number its sigmoid. */
static double score_of(const float *x, uint32_t n)
{
    double most = (double)x[0], sum = 0;
    if (n == 1)
        return 1 / (1 + vs_exp64(-(double)x[0]));
    for (uint32_t i = 1; i < n; i++)
        most = (double)x[i] > most ? (double)x[i] : most;
    for (uint32_t i = 0; i < n; i++)
        sum += vs_exp64((double)x[i] - most);
    return vs_exp64((double)x[0] - most) / sum;
}

static json_t *result_rerank(struct vs_work *w)
{
    const struct vectors *v = (const struct vectors *)w;
    json_t *scores = json_array(), *logits = json_array();
    tell_usage(v);
    for (size_t i = 0; i < v->n_texts; i++) {
        const float *x = v->vector + i * v->dim;
        json_t *list = json_array();
        for (uint32_t d = 0; d < v->dim; d++)
            json_array_append_new(list, json_real((double)x[d]));
        json_array_append_new(logits, list);
        json_array_append_new(scores, json_real(score_of(x, v->dim)));
    }
    return json_pack("{s:o, s:o, s:o}", "scores", scores, "logits", logits, "tokens", counts(v));
}

static int send_nothing(struct vs_work *w, uint32_t lane, struct vs_error *err)
{
    (void)w, (void)lane, (void)err;
    return VS_OK;
}

static void free_vectors(struct vs_work *w)
{
    struct vectors *v = (struct vectors *)w;
    vs_ids_clear(&v->ids);
    vs_buf_clear(&v->rows);
    free(v->text);
    free(v->vector);
    for (int i = 0; i < MAX_LANES; i++)
        vs_pool_clear(&v->reading[i].pool);
    free(v);
}

#define WORK(what, of, to, end) { .output = (of), .apart = true, .keep = true, .want = want, .take = take, .send = (to), \
                                  .result = (end), .free = free_vectors }
static const struct vs_work_kind embed_kind = WORK("embed", VS_OUTPUT_VECTOR, send_rows, result_embed);
static const struct vs_work_kind score_kind = WORK("embed", VS_OUTPUT_SCORE, send_rows, result_embed);
static const struct vs_work_kind rerank_kind = WORK("rerank", VS_OUTPUT_SCORE, send_nothing, result_rerank);
static const struct vs_work_kind judge_kind = WORK("rerank", VS_OUTPUT_LOGITS, send_nothing, result_rerank);

/* ---- begin ---- */

/* The ids from `first` on are a text; `name` and i say which. */
static int end_text(struct vectors *v, size_t first, const char *name, size_t i, struct vs_error *err)
{
    size_t n = v->ids.n - first, most = vs_model_context(v->work.s->model);
    if (!n)
        return vs_error_set(err, VS_E_INVALID, "%s[%zu] is empty: there is nothing to read", name, i);
    if (n > most)
        return vs_error_set(err, VS_E_CONTEXT, "%s[%zu] has %zu tokens and the context holds %zu: nothing is cut off quietly, give "
                            "it in shorter pieces", name, i, n, most);
    v->text[v->n_texts++] = (struct text){ .first = first, .n = (uint32_t)n };
    return VS_OK;
}

static int read_inputs(struct vectors *v, const json_t *request, struct vs_check *check, struct vs_error *err)
{
    const json_t *input = json_object_get(request, "input"), *tokens = json_object_get(request, "tokens");
    bool has_texts = json_is_array(input), has_ids = json_is_array(tokens);
    const json_t *list = has_texts ? input : tokens;
    const char *name = has_texts ? "input" : "tokens";
    if (has_texts == has_ids)
        return vs_error_set(err, VS_E_INVALID, "%s", has_texts ? "input or tokens, not both: leave out either"
                                                               : "input (texts) or tokens (lists of ids) must be given");
    if (!json_array_size(list))
        return vs_error_set(err, VS_E_INVALID, "%s is empty: there is nothing to read", name);
    v->text = calloc(json_array_size(list), sizeof *v->text);
    int r = v->text ? VS_OK : no_memory(err);
    for (size_t i = 0; i < json_array_size(list) && r == VS_OK; i++) {
        const json_t *one = json_array_get(list, i);
        size_t first = v->ids.n;
        if (has_ids)
            r = vs_request_ids(v->work.s, one, name, check, &v->ids, err);
        else if (json_is_string(one))
            r = vs_service_encode(v->work.s, json_string_value(one), json_string_length(one), false, VS_ENCODE_ADD_SPECIAL, check,
                                  &v->ids, err);
        else
            r = vs_error_set(err, VS_E_INVALID, "input[%zu] is no string", i);
        if (r == VS_OK)
            r = end_text(v, first, name, i, err);
    }
    return r;
}

/* What a row reads, and how rows become one. */
static void choose_rows(struct vectors *v)
{
    for (size_t i = 0; i < v->n_texts; i++)
        v->text[i].n_read = v->pooling == VS_POOL_LAST ? 1 : v->text[i].n;
}

static int begin(struct vectors *v, struct vs_error *err)
{
    choose_rows(v);
    if (v->pooling == VS_POOL_NONE)
        return VS_OK;
    v->vector = malloc(v->n_texts * v->dim * sizeof *v->vector);
    int r = v->vector ? VS_OK : VS_E_NOMEM;
    for (uint32_t i = 0; i < v->work.n_lanes && r == VS_OK; i++)
        r = vs_pool_init(&v->reading[i].pool, v->pooling, v->pair.yes != VS_TOKENIZER_NONE ? v->dim : v->n_width);
    return r == VS_OK ? r : no_memory(err);
}

static int create(const struct vs_work_kind *kind, struct vs_service *s, json_t *request, struct vs_sink *sink, size_t n_lanes,
                  struct vectors **ret, struct vs_error *err)
{
    struct vectors *v = calloc(1, sizeof *v);
    if (!v)
        return no_memory(err);
    v->pair = (struct pair){ VS_TOKENIZER_NONE, VS_TOKENIZER_NONE };
    v->n_width = v->dim = vs_graph_width(vs_model_graph(s->model), kind->output);
    n_lanes = n_lanes < 1 ? 1 : n_lanes > MAX_LANES ? MAX_LANES : n_lanes;
    int r = vs_work_init(&v->work, kind, s, sink, request, (uint32_t)n_lanes, err);
    for (uint32_t i = 0; i < n_lanes; i++)
        v->reading[i].at = i;
    if (r == VS_OK)
        *ret = v;
    else
        vs_work_free(&v->work);
    return r;
}

/* The text's pooling where the request and the file say "rank": the row that the score is read from. */
static enum vs_pooling rank_row(const struct vs_graph *g)
{
    return g->whole ? VS_POOL_CLS : VS_POOL_LAST;
}

static int choose_pooling(const struct vs_service *s, const json_t *request, enum vs_pooling *ret, struct vs_error *err)
{
    const struct vs_graph *g = vs_model_graph(s->model);
    const char *asked = json_string_value(json_object_get(request, "pooling"));
    *ret = asked ? (enum vs_pooling)vs_pooling_parse(asked) : g->pooling;
    if (*ret == VS_POOL_UNKNOWN)
        return vs_error_set(err, VS_E_UNSUPPORTED, "the model file does not say how one vector is made of a text: it is likely not "
                            "made for that; pooling (--pooling) says how: mean, cls, last or none");
    if (*ret == VS_POOL_RANK && g->output[VS_OUTPUT_SCORE] == VS_NONE)
        return vs_error_set(err, VS_E_UNSUPPORTED, "pooling rank: this model has no output that ranks");
    return VS_OK;
}

int vs_service_embed(struct vs_service *s, json_t *request, struct vs_sink *sink, struct vs_answer *ret, struct vs_error *err)
{
    const char *normalize = json_string_value(json_object_get(request, "normalize"));
    enum vs_pooling pooling;
    struct vectors *v = NULL;
    int r = choose_pooling(s, request, &pooling, err);
    if (r != VS_OK)
        return r;
    bool ranks = pooling == VS_POOL_RANK;
    size_t n = json_array_size(json_object_get(request, "input")) + json_array_size(json_object_get(request, "tokens"));
    r = create(ranks ? &score_kind : &embed_kind, s, request, sink, pooling == VS_POOL_NONE ? 1 : n, &v, err);
    if (r != VS_OK)
        return r;
    v->pooling = ranks ? rank_row(vs_model_graph(s->model)) : pooling;
    v->normalize = !ranks && !(normalize && strcmp(normalize, "none") == 0);
    int64_t dimensions = vs_request_int(request, "dimensions", v->dim);
    if (dimensions > v->dim)
        r = vs_error_set(err, VS_E_INVALID, "dimensions: the model's vectors have %u number%s, %lld can't be had", v->dim,
                         vs_plural(v->dim), (long long)dimensions);
    v->dim = r == VS_OK ? (uint32_t)dimensions : v->dim;
    if (r == VS_OK)
        r = read_inputs(v, request, &sink->check, err);
    if (r == VS_OK)
        r = begin(v, err);
    if (r == VS_OK)
        ret->work = &v->work;
    else
        vs_work_free(&v->work);
    return r;
}

/* ---- rerank: a query and a document become one text ---- */

struct asking {
    const char *query, *document;
    size_t n_query, n_document;
};

/* The file's own form, with {query} and {document} in it: what it wrote is trusted, what came from outside is not. */
static int encode_form(struct vectors *v, struct vs_str form, const struct asking *a, struct vs_check *check, struct vs_error *err)
{
    static const char query[] = "{query}", document[] = "{document}";
    struct vs_buf text = { 0 };
    struct vs_text_run *run = malloc((form.n + 2) * sizeof *run);
    size_t n_runs = 0, from = 0;
    for (size_t i = 0; run && i <= form.n; i++) {
        bool is_query = form.n - i >= sizeof query - 1 && memcmp(form.data + i, query, sizeof query - 1) == 0;
        bool is_document = form.n - i >= sizeof document - 1 && memcmp(form.data + i, document, sizeof document - 1) == 0;
        if (!is_query && !is_document && i < form.n)
            continue;
        if (i > from) {
            vs_buf_add(&text, form.data + from, i - from);
            run[n_runs++] = (struct vs_text_run){ i - from, true };
        }
        size_t n = is_query ? a->n_query : a->n_document;
        if (n && (is_query || is_document)) {
            vs_buf_add(&text, is_query ? a->query : a->document, n);
            run[n_runs++] = (struct vs_text_run){ n, false };
        }
        i += is_query ? sizeof query - 2 : is_document ? sizeof document - 2 : 0;
        from = i + 1;
    }
    int r = run && text.status == VS_OK ? VS_OK : no_memory(err);
    if (r == VS_OK)
        r = vs_service_need_tokenizer(v->work.s, err);
    if (r == VS_OK)
        r = vs_tokenizer_encode(v->work.s->tokenizer, text.data, text.n, run, n_runs, VS_ENCODE_ADD_SPECIAL, check, &v->ids, err);
    vs_buf_clear(&text);
    free(run);
    return r;
}

/* As encoders were trained: first and last token around the query, then the document with its last one. */
static int encode_pair(struct vectors *v, const struct asking *a, struct vs_check *check, struct vs_error *err)
{
    const struct vs_service *s = v->work.s;
    int r = vs_service_encode(s, a->query, a->n_query, false, VS_ENCODE_ADD_SPECIAL, check, &v->ids, err);
    if (r == VS_OK && vs_tokenizer_pairs_twice(s->tokenizer) && vs_ids_add(&v->ids, v->ids.id[v->ids.n - 1]) != VS_OK)
        r = no_memory(err);
    if (r == VS_OK)
        r = vs_service_encode(s, a->document, a->n_document, false, VS_ENCODE_ADD_LAST, check, &v->ids, err);
    return r;
}

static bool find_form(const struct vs_service *s, struct vs_str *ret)
{
    return vs_entries_str(vs_header_entries(s->header), "tokenizer.chat_template.rerank", ret, NULL) == VS_OK;
}

/* Models that answer yes or no, in files that have no output for it. */
static bool find_judges(const struct vs_service *s, struct pair *ret)
{
    struct { const char *word; uint32_t *id; } words[] = { { "yes", &ret->yes }, { "no", &ret->no } };
    struct vs_str form;
    if (!s->tokenizer || !find_form(s, &form) || vs_model_graph(s->model)->output[VS_OUTPUT_LOGITS] == VS_NONE)
        return false;
    for (int i = 0; i < 2; i++) {
        struct vs_ids ids = { 0 };
        int r = vs_service_encode(s, words[i].word, strlen(words[i].word), false, 0, NULL, &ids, NULL);
        *words[i].id = r == VS_OK && ids.n == 1 ? ids.id[0] : VS_TOKENIZER_NONE;
        vs_ids_clear(&ids);
        if (*words[i].id == VS_TOKENIZER_NONE)
            return false;
    }
    return true;
}

static int read_pairs(struct vectors *v, const json_t *request, struct vs_check *check, struct vs_error *err)
{
    const json_t *query = json_object_get(request, "query"), *documents = json_object_get(request, "documents");
    struct vs_str form = { 0 };
    bool has_form = find_form(v->work.s, &form);
    if (!json_string_length(query))
        return vs_error_set(err, VS_E_INVALID, "query: there must be one, and it may not be empty");
    if (!json_array_size(documents))
        return vs_error_set(err, VS_E_INVALID, "documents: at least one is needed");
    v->text = calloc(json_array_size(documents), sizeof *v->text);
    int r = v->text ? VS_OK : no_memory(err);
    for (size_t i = 0; i < json_array_size(documents) && r == VS_OK; i++) {
        const json_t *one = json_array_get(documents, i);
        if (json_is_object(one))
            one = json_object_get(one, "text");
        if (!json_is_string(one))
            return vs_error_set(err, VS_E_INVALID, "documents[%zu] is no string, nor an object with one as its text", i);
        const struct asking a = { json_string_value(query), json_string_value(one), json_string_length(query),
                                  json_string_length(one) };
        size_t first = v->ids.n;
        r = has_form ? encode_form(v, form, &a, check, err) : encode_pair(v, &a, check, err);
        if (r == VS_OK)
            r = end_text(v, first, "documents", i, err);
    }
    return r;
}

int vs_service_rerank(struct vs_service *s, json_t *request, struct vs_sink *sink, struct vs_answer *ret, struct vs_error *err)
{
    const struct vs_graph *g = vs_model_graph(s->model);
    struct pair pair = { VS_TOKENIZER_NONE, VS_TOKENIZER_NONE };
    bool has_score = g->output[VS_OUTPUT_SCORE] != VS_NONE;
    if (!has_score && !find_judges(s, &pair))
        return vs_error_set(err, VS_E_UNSUPPORTED, "the model was not made to rank: its file has no output (cls) for that, and no "
                            "form of its own for a query and a document");
    struct vectors *v = NULL;
    int r = create(has_score ? &rerank_kind : &judge_kind, s, request, sink,
                   json_array_size(json_object_get(request, "documents")), &v, err);
    if (r != VS_OK)
        return r;
    v->pooling = rank_row(g);
    if (!has_score) {
        v->pair = pair;
        v->dim = 2;
    }
    r = read_pairs(v, request, &sink->check, err);
    if (r == VS_OK)
        r = begin(v, err);
    if (r == VS_OK)
        ret->work = &v->work;
    else
        vs_work_free(&v->work);
    return r;
}
