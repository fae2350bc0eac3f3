/* engine/batch.c - one step over rows of several sequences; see model.h. */
#include "engine/internal.h"

#include <stdlib.h>
#include <string.h>

/* Sequences may share pages, so their tables together may be longer than the pool. */
static int grow(struct vs_batch *b, size_t n)
{
    if (n <= b->cap_pages)
        return VS_OK;
    size_t cap = n > 2 * b->cap_pages ? n : 2 * b->cap_pages;
    uint32_t *pages = realloc(b->pages, cap * sizeof *pages);
    if (!pages)
        return VS_E_NOMEM;
    b->pages = pages;
    b->cap_pages = cap;
    return VS_OK;
}

int vs_batch_create(struct vs_batch *b, const struct vs_model_config *c)
{
    b->rows = malloc(c->chunk * sizeof *b->rows);
    b->out = malloc(c->max_out * sizeof *b->out);
    b->stretches = malloc(c->chunk * sizeof *b->stretches);
    b->side = malloc(c->chunk * sizeof *b->side);
    b->side_out = malloc(c->max_out * sizeof *b->side_out);
    return b->rows && b->out && b->stretches && b->side && b->side_out && grow(b, c->n_pages) == VS_OK ? VS_OK : VS_E_NOMEM;
}

void vs_batch_clear(struct vs_batch *b)
{
    free(b->rows);
    free(b->out);
    free(b->pages);
    free(b->stretches);
    free(b->side);
    free(b->side_out);
}

void vs_batch_begin(struct vs_model *m)
{
    m->batch.n_rows = m->batch.n_pages = m->batch.n_out = m->batch.n_stretches = 0;
    vs_batch_adapt(m, NULL);
}

void vs_batch_adapt(struct vs_model *m, const float *scales)
{
    m->batch.adapters = !m->graph.n_adapters ? NULL : scales ? scales : m->config.adapters;
}

int vs_batch_add(struct vs_model *m, struct vs_kv_sequence *s, const uint32_t *tokens, uint32_t n, uint32_t n_out,
                 struct vs_error *err)
{
    return vs_batch_add_marked(m, s, tokens, n, n_out, 0, false, err);
}

/* Where the answer begins in a text of which the next n tokens are these; 0: the model answers no source. */
static int find_answer(const struct vs_model *m, const struct vs_kv_sequence *s, const uint32_t *tokens, uint32_t n, uint32_t n_out,
                       uint32_t *ret, struct vs_error *err)
{
    uint32_t have = vs_kv_length(s);
    *ret = 0;
    if (!m->graph.n_source)
        return VS_OK;
    *ret = have ? 0 : vs_model_source(m, tokens, n);
    while (*ret < have && vs_kv_token(s, *ret) != m->graph.start)
        ++*ret;
    if (!*ret)
        return vs_error_set(err, VS_E_INVALID, "there is no source: the text begins with token %u, which begins answers",
                            tokens[0]);
    if (*ret == have && tokens[0] != m->graph.start)
        return vs_error_set(err, VS_E_INVALID, "token %u does not begin an answer, and a source is read at once", tokens[0]);
    if (have + n < *ret + n_out)
        return vs_error_set(err, VS_E_INVALID, "tokens of a source are not read");
    return VS_OK;
}

int vs_batch_add_marked(struct vs_model *m, struct vs_kv_sequence *s, const uint32_t *tokens, uint32_t n, uint32_t n_out,
                        uint32_t n_mark, bool keep, struct vs_error *err)
{
    struct vs_batch *b = &m->batch;
    struct vs_kv_plan plan;
    uint32_t have = vs_kv_length(s), table = b->n_pages, n_pages;
    if (!n || n > m->config.chunk - b->n_rows || n_out > n || n_out > m->config.max_out - b->n_out)
        return vs_error_set(err, VS_E_LIMIT, "a step of %u rows, %u of them read, is larger than it may be (%u, %u)", b->n_rows + n,
                            b->n_out + n_out, m->config.chunk, m->config.max_out);
    uint32_t answer;
    int r = find_answer(m, s, tokens, n, n_out, &answer, err);
    if (r != VS_OK)
        return r;
    r = vs_kv_reserve(s, have + n);
    if (r != VS_OK)
        return vs_error_set(err, r, r == VS_E_BUSY ? "the KV cache is full" : "%u tokens do not fit into the KV cache of %u",
                            have + n, m->config.n_pages * VS_PAGE_TOKENS);
    r = vs_kv_plan(s, n, n_mark, keep, &plan);
    if (r != VS_OK) {
        vs_kv_truncate(s, have);
        return vs_error_set(err, r, "no slot is free for the state of a sequence");
    }
    const uint32_t *pages = vs_kv_pages(s, &n_pages);
    if (grow(b, (size_t)table + n_pages) != VS_OK) {
        vs_kv_truncate(s, have);
        return vs_error_set(err, VS_E_NOMEM, "out of memory");
    }
    memcpy(b->pages + table, pages, n_pages * sizeof *b->pages);
    b->n_pages += n_pages;
    b->stretches[b->n_stretches++] = (struct vs_stretch){ b->n_rows, n, plan.from, plan.end, plan.n_mark, plan.mark };
    for (uint32_t i = 0; i < n; i++) {
        if (i >= n - n_out)
            b->out[b->n_out++] = b->n_rows;
        b->rows[b->n_rows++] = (struct vs_row){ tokens[i], have + i, table, b->adapters, have + i < answer ? 0 : answer };
    }
    return VS_OK;
}

/* The rows of sources, or those of answers, in a step of their own. */
static int compute_side(struct vs_model *m, bool source, struct vs_step step, const float **ret_logits, struct vs_error *err)
{
    struct vs_batch *b = &m->batch;
    uint32_t n = 0, n_out = 0;
    for (uint32_t i = 0; i < b->n_rows; i++) {
        if ((b->rows[i].first == 0) != source)
            continue;
        if (n_out < b->n_out && b->out[n_out] == i)
            b->side_out[n_out++] = n;
        b->side[n++] = b->rows[i];
    }
    step.rows = b->side;
    step.n_rows = n;
    step.out = b->side_out;
    step.n_out = n_out;
    step.source = source;
    return n ? vs_backend_step(m->backend, &step, ret_logits, err) : VS_OK;
}

int vs_batch_compute(struct vs_model *m, unsigned outputs, int (*check)(void *context), void *context, const float **ret_logits,
                     struct vs_error *err)
{
    const struct vs_batch *b = &m->batch;
    const struct vs_step step = { .rows = b->rows, .n_rows = b->n_rows, .pages = b->pages, .out = b->out, .n_out = b->n_out,
                                  .stretches = b->stretches, .n_stretches = b->n_stretches,
                                  .outputs = outputs, .check = check, .context = context };
    if (!m->graph.n_source)
        return vs_backend_step(m->backend, &step, ret_logits, err);
    int r = compute_side(m, true, step, ret_logits, err);
    return r == VS_OK ? compute_side(m, false, step, ret_logits, err) : r;
}

const float *vs_batch_output(const struct vs_model *m, int which)
{
    return m->backend->kind->output(m->backend, which);
}
