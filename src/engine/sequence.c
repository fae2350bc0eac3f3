/* engine/sequence.c - one sequence alone, step by step; see model.h. */
#include "engine/internal.h"

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

/* ---- many steps ---- */

/* How many of the tokens from `done` on go into one step: a chunk, of which at most max_out are read. */
static size_t step_of(const struct vs_model *m, size_t done, size_t n, size_t first_out)
{
    size_t step = n - done < m->config.chunk ? n - done : m->config.chunk, quiet = first_out > done ? first_out - done : 0;
    return step > quiet + m->config.max_out ? quiet + m->config.max_out : step;
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
        vs_batch_begin(m);
        r = vs_batch_add(m, s->kv, tokens + done, (uint32_t)step, (uint32_t)outs, err);
        if (r != VS_OK)
            return r;
        struct asking asking = { check, context, done, n };
        const float *logits;
        r = vs_batch_compute(m, 0, check ? ask_caller : NULL, &asking, &logits, err);
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
