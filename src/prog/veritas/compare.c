/* prog/veritas/compare.c - `veritas compare`: how far a model's predictions of a text lie from those of another.
 *
 * Both models read the same windows of the same tokens, counted as for `perplexity` (docs/PERPLEXITY.md). The first one's logits of
 * a window wait in a file without a name; each of the second's is compared as it comes. All sums are in double, rows ascending.
 */
#include "prog/veritas/command.h"
#include "prog/veritas/session.h"

#include "base/buf.h"
#include "base/bytes.h"
#include "base/num.h"
#include "prog/veritas/term.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_LIMIT (15u << 20)
enum { DEFAULT_CTX = 512, MAX_VOCAB = 1 << 22 };

struct side {
    struct vs_session session;
    bool is_open;
    double nll;
};

struct comparison {
    struct side a, b;
    uint32_t *ids;                       /* of the whole text */
    size_t n_ids, ctx, n_vocab;          /* n_vocab 0: not known yet */
    FILE *spool;                         /* logits of a's window, from row `first` on */
    float *row, *row_a;                  /* [n_vocab] */
    size_t have;                         /* bytes of `row` */
    size_t window, at;                   /* window, row of it that is being received */
    uint64_t n, same;                    /* rows compared; rows of one argmax */
    double kl, greatest;
    size_t greatest_at;                  /* token before which it was */
    struct vs_error err;
};

static size_t first_scored(const struct comparison *c)
{
    return c->ctx / 2;
}

/* ---- one row ---- */

struct summary { size_t best; double norm; };    /* argmax; log of the sum of exp */

static struct summary summarise(const float *x, size_t n)
{
    struct summary s = { 0 };
    double sum = 0;
    for (size_t i = 1; i < n; i++)
        if (x[i] > x[s.best])
            s.best = i;
    for (size_t i = 0; i < n; i++)
        sum += vs_exp64((double)x[i] - (double)x[s.best]);
    s.norm = (double)x[s.best] + vs_log64(sum);
    return s;
}

static void compare_row(struct comparison *c, const float *a, const float *b)
{
    struct summary sa = summarise(a, c->n_vocab), sb = summarise(b, c->n_vocab);
    size_t token = c->window * c->ctx + c->at + 1;
    double kl = 0;
    for (size_t i = 0; i < c->n_vocab; i++) {
        double la = (double)a[i] - sa.norm;
        kl += vs_exp64(la) * (la - ((double)b[i] - sb.norm));
    }
    kl = kl < 0 ? 0 : kl;                /* rounding */
    c->kl += kl;
    if (kl > c->greatest) {
        c->greatest = kl;
        c->greatest_at = token;
    }
    c->same += sa.best == sb.best;
    c->a.nll += sa.norm - (double)a[c->ids[token]];
    c->b.nll += sb.norm - (double)b[c->ids[token]];
    c->n++;
}

static int keep_row(struct comparison *c)
{
    if (fwrite(c->row, sizeof(float), c->n_vocab, c->spool) == c->n_vocab)
        return VS_OK;
    return vs_error_set(&c->err, VS_E_LIMIT, "no room for the logits of a window: %s", strerror(errno));
}

static int match_row(struct comparison *c)
{
    if (fread(c->row_a, sizeof(float), c->n_vocab, c->spool) != c->n_vocab)
        return vs_error_set(&c->err, VS_E_SYSTEM, "the logits of a window can't be read again: %s", strerror(errno));
    compare_row(c, c->row_a, c->row);
    return VS_OK;
}

/* ---- what comes ---- */

static int take(struct comparison *c, const struct vs_event *e, int (*row)(struct comparison *c))
{
    size_t row_bytes = c->n_vocab * sizeof(float);
    if (e->kind != VS_MSG_DATA)
        return VS_OK;
    for (size_t at = 0; at < e->n;) {
        size_t n = row_bytes - c->have < e->n - at ? row_bytes - c->have : e->n - at;
        memcpy((char *)c->row + c->have, e->text + at, n);
        at += n;
        c->have += n;
        if (c->have < row_bytes)
            continue;
        c->have = 0;
        int rc = c->at >= first_scored(c) && c->at + 1 < c->ctx ? row(c) : VS_OK;
        c->at++;
        if (rc != VS_OK)
            return rc;
    }
    return VS_OK;
}

static int take_a(void *context, const struct vs_event *e)
{
    return take(context, e, keep_row);
}

static int take_b(void *context, const struct vs_event *e)
{
    return take(context, e, match_row);
}

static int take_ids(void *context, const struct vs_event *e)
{
    struct vs_buf *ids = context;
    if (e->kind == VS_MSG_DATA)
        vs_buf_add(ids, e->text, e->n);
    return ids->status;
}

static int tokenise(struct vs_session *s, const char *text, size_t n, uint32_t **ret, size_t *ret_n, struct vs_error *err)
{
    struct vs_buf data = { .limit = 512u << 20 };
    json_t *request = json_pack("{s:s%}", "text", text, n), *result = NULL;
    int rc = request ? vs_session_call(s, VS_MSG_TOKENIZE, request, -1, take_ids, &data, &result, err)
                     : vs_error_set(err, VS_E_NOMEM, "out of memory");
    json_t *list = json_object_get(result, "tokens");
    size_t count = json_is_array(list) ? json_array_size(list) : data.n / 4;
    if (rc == VS_OK && !(*ret = malloc((count + 1) * sizeof **ret)))
        rc = vs_error_set(err, VS_E_NOMEM, "out of memory");
    for (size_t i = 0; rc == VS_OK && i < count; i++)
        (*ret)[i] = json_is_array(list) ? (uint32_t)json_integer_value(json_array_get(list, i)) : vs_load_u32le(data.data + 4 * i);
    *ret_n = count;
    if (rc == VS_OK && n)
        vs_session_remarks(s, request, result, false);
    json_decref(result);
    json_decref(request);
    vs_buf_clear(&data);
    return rc;
}

/* The logits of one window. bos: what its first token is replaced with, or -1. */
static int read_window(struct comparison *c, struct side *side, vs_session_take *taker, int64_t bos, struct vs_error *err)
{
    json_t *list = json_array(), *request = json_pack("{s:o}", "tokens", list), *result = NULL;
    for (size_t i = 0; i < c->ctx; i++)
        json_array_append_new(list, json_integer(i == 0 && bos >= 0 ? bos : (json_int_t)c->ids[c->window * c->ctx + i]));
    c->have = c->at = 0;
    int rc = request ? vs_session_call(&side->session, VS_MSG_LOGITS, request, -1, taker, c, &result, err)
                     : vs_error_set(err, VS_E_NOMEM, "out of memory");
    if (c->err.code != VS_OK) {
        *err = c->err;
        rc = err->code;
    }
    if (rc == VS_OK && (size_t)json_integer_value(json_object_get(result, "n_rows")) != c->ctx)
        rc = vs_error_set(err, VS_E_UNSUPPORTED, "a model that answers a text has no predictions of the text itself to compare");
    if (rc == VS_OK && (c->at != c->ctx || c->have != 0
                        || (size_t)json_integer_value(json_object_get(result, "n_vocab")) != c->n_vocab))
        rc = vs_error_set(err, VS_E_INVALID, "the models have not the same vocabulary, so their predictions can't be compared");
    json_decref(result);
    json_decref(request);
    return rc;
}

/* What the ids of the first window are the text of. VS_E_UNSUPPORTED: the file has no tokenizer. */
static int text_of(const struct comparison *c, struct side *side, struct vs_buf *ret, struct vs_error *err)
{
    json_t *list = json_array(), *request = json_pack("{s:o}", "tokens", list), *result = NULL;
    for (size_t i = 0; i < c->ctx; i++)
        json_array_append_new(list, json_integer((json_int_t)c->ids[i]));
    int rc = request ? vs_session_call(&side->session, VS_MSG_DETOKENIZE, request, -1, take_ids, ret, &result, err)
                     : vs_error_set(err, VS_E_NOMEM, "out of memory");
    const json_t *text = json_object_get(result, "text");
    if (rc == VS_OK && text)
        vs_buf_add(ret, json_string_value(text), json_string_length(text));
    json_decref(result);
    json_decref(request);
    return rc == VS_OK ? ret->status : rc;
}

/* The same ids have to be the same text; a model without a tokenizer is believed. */
static int match_vocabularies(struct comparison *c, const struct vs_args *args, struct vs_error *err)
{
    struct vs_buf a = { .limit = 512u << 20 }, b = { .limit = 512u << 20 };
    int rc = text_of(c, &c->a, &a, err);
    if (rc == VS_OK)
        rc = text_of(c, &c->b, &b, err);
    if (rc == VS_OK && (a.n != b.n || (a.n && memcmp(a.data, b.data, a.n) != 0)))
        rc = vs_error_set(err, VS_E_INVALID, "the tokens of %s are others than those of %s: their predictions can't be compared",
                          args->v[1], args->v[0]);
    vs_buf_clear(&a);
    vs_buf_clear(&b);
    return rc == VS_E_UNSUPPORTED ? VS_OK : rc;
}

/* How many tokens a model chooses from: asked with one token. */
static int size_take(void *context, const struct vs_event *e)
{
    size_t *bytes = context;
    *bytes += e->kind == VS_MSG_DATA ? e->n : 0;
    return VS_OK;
}

static int vocabulary(struct side *side, size_t *ret, struct vs_error *err)
{
    size_t bytes = 0;
    json_t *request = json_pack("{s:[i]}", "tokens", 0), *result = NULL;
    int rc = vs_session_call(&side->session, VS_MSG_LOGITS, request, -1, size_take, &bytes, &result, err);
    *ret = (size_t)json_integer_value(json_object_get(result, "n_vocab"));
    if (rc == VS_OK && (*ret < 2 || *ret > MAX_VOCAB || bytes != *ret * sizeof(float)))
        rc = vs_error_set(err, VS_E_PROTOCOL, "%zu bytes of logits came for a vocabulary of %zu", bytes, *ret);
    json_decref(result);
    json_decref(request);
    return rc;
}

/* ---- the command ---- */

static int prepare(struct comparison *c, const struct vs_args *args, const char *text, size_t n, int64_t *ret_bos,
                   struct vs_error *err)
{
    uint32_t *bos = NULL;
    size_t n_bos = 0, n_vocab_b = 0;
    int rc = vs_session_open(&c->a.session, args, args->v[0], VS_SESSION_LOUD | VS_SESSION_PRIVATE, err);
    c->a.is_open = rc == VS_OK;
    if (rc == VS_OK) {
        rc = vs_session_open(&c->b.session, args, args->v[1], VS_SESSION_LOUD | VS_SESSION_PRIVATE, err);
        c->b.is_open = rc == VS_OK;
    }
    if (rc == VS_OK && (rc = tokenise(&c->a.session, text, n, &c->ids, &c->n_ids, err)) == VS_OK)
        rc = tokenise(&c->a.session, "", 0, &bos, &n_bos, err);
    *ret_bos = rc == VS_OK && n_bos ? (int64_t)bos[0] : -1;
    free(bos);
    if (rc == VS_OK && c->n_ids < 2 * c->ctx)
        rc = vs_error_set(err, VS_E_INVALID, "the text has %zu tokens; at least %zu are needed (two windows of --ctx)", c->n_ids,
                          2 * c->ctx);
    c->a.session.hidden = c->b.session.hidden = true;
    if (rc == VS_OK && (rc = vocabulary(&c->a, &c->n_vocab, err)) == VS_OK && (rc = vocabulary(&c->b, &n_vocab_b, err)) == VS_OK
        && n_vocab_b != c->n_vocab)
        rc = vs_error_set(err, VS_E_INVALID, "%s chooses from %zu tokens and %s from %zu: their predictions can't be compared",
                          args->v[0], c->n_vocab, args->v[1], n_vocab_b);
    for (size_t i = 0; rc == VS_OK && i < c->n_ids; i++)
        if (c->ids[i] >= c->n_vocab)
            rc = vs_error_set(err, VS_E_MALFORMED, "token %u of the text is not in the vocabulary", c->ids[i]);
    if (rc == VS_OK)
        rc = match_vocabularies(c, args, err);
    if (rc != VS_OK)
        return rc;
    c->spool = tmpfile();
    c->row = malloc(c->n_vocab * sizeof *c->row);
    c->row_a = malloc(c->n_vocab * sizeof *c->row_a);
    return c->spool && c->row && c->row_a ? VS_OK : vs_error_set(err, VS_E_NOMEM, "no room for the logits of a window");
}

static int compare(struct comparison *c, int64_t bos, struct vs_error *err)
{
    struct vs_progress progress = { .what = "comparing windows" };
    size_t n = c->n_ids / c->ctx;
    int rc = VS_OK;
    for (; rc == VS_OK && c->window < n; c->window++) {
        vs_progress_show(&progress, c->window, n);
        rewind(c->spool);
        if ((rc = read_window(c, &c->a, take_a, bos, err)) != VS_OK)
            break;
        rewind(c->spool);
        rc = read_window(c, &c->b, take_b, bos, err);
    }
    vs_progress_end(&progress);
    return rc;
}

static void show(const struct comparison *c, const struct vs_args *args)
{
    double n = (double)c->n, ppl_a = vs_exp64(c->a.nll / n), ppl_b = vs_exp64(c->b.nll / n);
    if (vs_args_given(args, VS_OPT_JSON)) {
        json_t *result = json_pack("{s:I, s:f, s:f, s:I, s:f, s:f, s:f}", "n_tokens", (json_int_t)c->n, "mean_kl", c->kl / n,
                                   "max_kl", c->greatest, "max_kl_at", (json_int_t)c->greatest_at, "same_argmax",
                                   (double)c->same / n, "perplexity_a", ppl_a, "perplexity_b", ppl_b);
        vs_answer_json(result, JSON_COMPACT);
        json_decref(result);
        return;
    }
    printf("tokens       %llu\n", (unsigned long long)c->n);
    printf("mean KL      %.6f\n", c->kl / n);
    printf("largest KL   %.6f, at token %zu\n", c->greatest, c->greatest_at);
    printf("same choice  %.2f %%\n", 100 * (double)c->same / n);
    printf("perplexity   %.4f and %.4f (%+.3f %%)\n", ppl_a, ppl_b, 100 * (ppl_b / ppl_a - 1));
}

int vs_command_compare(const struct vs_args *args)
{
    struct vs_error err = { 0 };
    struct comparison c = { .ctx = vs_args_given(args, VS_OPT_CTX) ? (size_t)vs_args_int(args, VS_OPT_CTX) : DEFAULT_CTX };
    char *text = NULL;
    size_t n = 0;
    int64_t bos = -1;
    int rc = vs_text_read(vs_args_text(args, VS_OPT_FILE), TEXT_LIMIT, &text, &n, &err);
    if (rc == VS_OK)
        rc = vs_text_check("the text", text, n, &err);
    if (rc == VS_OK && c.ctx < 4)
        rc = vs_error_set(&err, VS_E_INVALID, "--ctx: a window has at least 4 tokens");
    if (rc == VS_OK && n > 0 && text[n - 1] == '\n')             /* docs/PERPLEXITY.md, 1 */
        n--;
    if (rc == VS_OK && (rc = prepare(&c, args, text, n, &bos, &err)) == VS_OK && (rc = compare(&c, bos, &err)) == VS_OK)
        show(&c, args);
    if (c.spool)
        fclose(c.spool);
    free(c.row);
    free(c.row_a);
    free(c.ids);
    if (c.a.is_open)
        vs_session_close(&c.a.session);
    if (c.b.is_open)
        vs_session_close(&c.b.session);
    free(text);
    return rc == VS_OK ? 0 : vs_fail(&err);
}
