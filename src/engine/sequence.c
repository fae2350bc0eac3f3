/* engine/sequence.c - tokens whose K and V are in the cache; see model.h.
 *
 * A step goes in three: a sequence plans rows (it takes pages and enters them into the batch), the model computes the batch, the
 * sequence commits them, or drops them when the step failed. */
#include "engine/internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct vs_sequence {
    struct vs_model *model;
    struct vs_kv_sequence *kv;
    uint32_t *tokens;                    /* [context]: those of kv in a row */
};

int vs_sequence_create(struct vs_model *m, struct vs_sequence **ret)
{
    struct vs_sequence *s = calloc(1, sizeof *s);
    if (!s)
        return VS_E_NOMEM;
    s->model = m;
    s->tokens = malloc(m->config.context * sizeof *s->tokens);
    int r = s->tokens ? vs_kv_open(m->kv, 0, NULL, &s->kv) : VS_E_NOMEM;
    if (r != VS_OK) {
        vs_sequence_free(s);
        return r;
    }
    *ret = s;
    return VS_OK;
}

void vs_sequence_free(struct vs_sequence *s)
{
    if (!s)
        return;
    vs_kv_close(s->kv, false);
    free(s->tokens);
    free(s);
}

const uint32_t *vs_sequence_tokens(const struct vs_sequence *s, size_t *ret_n)
{
    *ret_n = vs_kv_length(s->kv);
    return s->tokens;
}

void vs_sequence_truncate(struct vs_sequence *s, size_t n)
{
    vs_kv_truncate(s->kv, n < UINT32_MAX ? (uint32_t)n : UINT32_MAX);
}

/* ---- a step ---- */

static void batch_reset(struct vs_batch *b)
{
    b->n_rows = b->n_pages = b->n_out = 0;
}

/* The rows of n more tokens; the last n_out of them are read. On failure nothing has changed. */
static int plan(struct vs_sequence *s, struct vs_batch *b, const uint32_t *tokens, size_t n, size_t n_out, struct vs_error *err)
{
    assert(n <= s->model->config.chunk - b->n_rows && n_out <= VS_MODEL_MAX_OUT - b->n_out);
    uint32_t have = vs_kv_length(s->kv), table = b->n_pages, n_pages;
    int r = vs_kv_reserve(s->kv, have + (uint32_t)n);
    if (r != VS_OK)
        return vs_error_set(err, r, r == VS_E_BUSY ? "the KV cache is full" : "%u tokens do not fit into the KV cache of %u",
                            have + (uint32_t)n, s->model->config.n_pages * VS_PAGE_TOKENS);
    const uint32_t *pages = vs_kv_pages(s->kv, &n_pages);
    memcpy(b->pages + table, pages, n_pages * sizeof *b->pages);
    b->n_pages += n_pages;
    for (size_t i = 0; i < n; i++) {
        if (i >= n - n_out)
            b->out[b->n_out++] = b->n_rows;
        b->rows[b->n_rows++] = (struct vs_row){ tokens[i], have + (uint32_t)i, table };
    }
    return VS_OK;
}

static void commit(struct vs_sequence *s, const uint32_t *tokens, size_t n)
{
    memcpy(s->tokens + vs_kv_length(s->kv), tokens, n * sizeof *tokens);
    vs_kv_commit(s->kv, tokens, (uint32_t)n);
}

static void drop(struct vs_sequence *s)
{
    vs_kv_truncate(s->kv, vs_kv_length(s->kv));
}

/* The caller's check as a step asks it. */
struct asking { vs_check_fn *check; void *context; size_t done, total; };

static int ask_caller(void *context)
{
    const struct asking *a = context;
    return a->check(a->context, a->done, a->total);
}

static int compute(struct vs_model *m, const struct asking *asking, const float **ret_logits, struct vs_error *err)
{
    const struct vs_batch *b = &m->batch;
    struct asking copy = *asking;
    const struct vs_step step = { .rows = b->rows, .n_rows = b->n_rows, .pages = b->pages, .out = b->out, .n_out = b->n_out,
                                  .check = copy.check ? ask_caller : NULL, .context = &copy };
    return vs_backend_step(m->backend, &step, ret_logits, err);
}

/* ---- many steps ---- */

/* How many of the tokens from `done` on go into one step: a chunk, of which at most VS_MODEL_MAX_OUT are read. */
static size_t step_of(const struct vs_model *m, size_t done, size_t n, size_t first_out)
{
    size_t step = n - done < m->config.chunk ? n - done : m->config.chunk, quiet = first_out > done ? first_out - done : 0;
    return step > quiet + VS_MODEL_MAX_OUT ? quiet + VS_MODEL_MAX_OUT : step;
}

int vs_sequence_append(struct vs_sequence *s, const uint32_t *tokens, size_t n, size_t n_out,
                       vs_rows_fn *rows, vs_check_fn *check, void *context, struct vs_error *err)
{
    struct vs_model *m = s->model;
    uint32_t have = vs_kv_length(s->kv);
    if (n > m->config.context - have)
        return vs_error_set(err, VS_E_CONTEXT, "%zu tokens do not fit into the context of %u", have + n, m->config.context);
    for (size_t i = 0; i < n; i++)
        if (tokens[i] >= m->graph.n_vocab)
            return vs_error_set(err, VS_E_INVALID, "token %u is beyond the vocabulary of %u", tokens[i], m->graph.n_vocab);
    size_t first_out = n - n_out;
    for (size_t done = 0; done < n;) {
        int r = check ? check(context, done, n) : VS_OK;
        if (r != VS_OK)
            return vs_error_set(err, r, "%s", vs_status_text(r));
        size_t step = step_of(m, done, n, first_out), outs = done + step > first_out ? done + step - first_out : 0;
        outs = outs < step ? outs : step;
        batch_reset(&m->batch);
        r = plan(s, &m->batch, tokens + done, step, outs, err);
        if (r != VS_OK)
            return r;
        const struct asking asking = { check, context, done, n };
        const float *logits;
        r = compute(m, &asking, &logits, err);
        if (r != VS_OK) {
            drop(s);
            return r;
        }
        commit(s, tokens + done, step);
        done += step;
        if (outs && rows && (r = rows(context, done - outs, outs, logits)) != VS_OK)
            return r;
    }
    return VS_OK;
}
