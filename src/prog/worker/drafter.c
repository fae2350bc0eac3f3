/* prog/worker/drafter.c - see drafter.h */
#include "prog/worker/drafter.h"

#include "base/clock.h"
#include "base/entry.h"
#include "base/source.h"
#include "draft/draft.h"
#include "graph/graph.h"
#include "import/header.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHUNK = 64, CATCH_UP = 16 };      /* rows of a step; tokens read for one that was made */

struct vs_drafter {
    struct vs_model *model;
    struct vs_sampler *sampler;
    uint32_t n_target;                   /* tokens of the target's vocabulary */
    double one_row;                      /* ns of a step of the target, as thought last */
    double share;                        /* of it that a guess takes, the latest count most; at first: of the weights */
    bool is_measured;
};

/* ---- open ---- */

#define TOKENS "tokenizer.ggml.tokens"

/* Ids mean the same to both. */
static int check_vocabulary(const struct vs_entries *target, const struct vs_entries *draft, struct vs_error *err)
{
    const struct vs_entry *a = vs_entries_find(target, TOKENS), *b = vs_entries_find(draft, TOKENS);
    struct vs_entry_cursor at_a = { 0 }, at_b = { 0 };
    struct vs_str one, other;
    if (!a || !b)
        return vs_error_set(err, VS_E_INVALID, "the %s has no vocabulary: a draft must have the model's", a ? "draft" : "model");
    for (uint64_t i = 0;; i++) {
        bool more = vs_entry_next_str(a, &at_a, &one), there = vs_entry_next_str(b, &at_b, &other);
        if (!more && !there)
            return VS_OK;
        if (more != there)
            return vs_error_set(err, VS_E_INVALID, "the draft's vocabulary is not the model's: token %llu is only in the %s's",
                                (unsigned long long)i, more ? "model" : "draft");
        if (one.n != other.n || memcmp(one.data, other.data, one.n) != 0)
            return vs_error_set(err, VS_E_INVALID,
                                "the draft's vocabulary is not the model's: token %llu is '%s' there and '%s' here",
                                (unsigned long long)i, vs_str_shown(other).text, vs_str_shown(one).text);
    }
}

enum { PIECE = 256 << 10 };

bool vs_drafter_is_model(int fd, const struct vs_source *model, vs_progress_fn *progress, void *context)
{
    uint64_t n = model->n_parts ? model->part_end[model->n_parts - 1] : model->n_bytes;     /* adapters stand behind it */
    struct stat st;
    if (fstat(fd, &st) != 0 || (uint64_t)st.st_size != n)
        return false;
    uint8_t *ours = malloc(2 * PIECE);
    bool same = ours != NULL;
    for (uint64_t at = 0; same && at < n; at += PIECE) {
        size_t step = n - at < PIECE ? (size_t)(n - at) : PIECE;
        same = pread(fd, ours + PIECE, step, (off_t)at) == (ssize_t)step && vs_source_read(model, at, step, ours, NULL) == VS_OK
            && memcmp(ours, ours + PIECE, step) == 0 && progress(context, at, n) == VS_OK;
    }
    free(ours);
    return same;
}

/* It goes on with a text: encoders write none, and what answers a source does not go on with it. */
static int check_graph(const struct vs_graph *g, struct vs_error *err)
{
    return g->output[VS_OUTPUT_LOGITS] != VS_NONE && !g->n_source
        ? VS_OK : vs_error_set(err, VS_E_UNSUPPORTED, "a %s model can't guess how a text goes on", g->architecture);
}

/* As the target, with as many pages and no more rows than a guess and catching up need. */
static int configure(const struct vs_header *h, struct vs_model *target, struct vs_model_config *ret, struct vs_error *err)
{
    struct vs_graph graph = { 0 };
    *ret = *vs_model_config(target);
    int r = vs_header_graph(h, &graph, err);
    if (r == VS_OK)
        r = check_graph(&graph, err);
    if (r == VS_OK) {
        ret->context = ret->context < graph.context ? ret->context : graph.context;
        ret->kv_bytes = (uint64_t)ret->n_pages * ret->backend->page_bytes(&graph, ret->kv_type)
                        + 10 * (uint64_t)ret->n_at_once * ret->backend->state_bytes(&graph);     /* half of it: five states each */
        ret->chunk = CHUNK;
        ret->max_out = 1;
        ret->beside = target;
    }
    vs_graph_clear(&graph);
    return r;
}

static int load(struct vs_drafter *d, int fd, struct vs_model *target, const struct vs_entries *entries, vs_progress_fn *progress,
                void *context, struct vs_error *err)
{
    struct vs_model_file *file = NULL;
    struct vs_header *header = NULL;
    struct vs_model_config config;
    int r = vs_model_file_open(&(struct vs_files){ 1, { fd } }, &file, err);
    if (r != VS_OK)
        return r;
    r = vs_header_open(vs_model_file_glance(file), &header, err);
    if (r == VS_OK)
        r = check_vocabulary(entries, vs_header_entries(header), err);
    if (r == VS_OK)
        r = configure(header, target, &config, err);
    if (r == VS_OK)
        r = vs_model_open(header, file, &config, progress, context, &d->model, err);
    if (r == VS_OK && (r = vs_sampler_create(vs_model_n_vocab(d->model), &d->sampler)) != VS_OK)
        vs_error_set(err, r, "out of memory");
    vs_header_close(header);
    vs_model_file_close(file);           /* no answer depends on it: nobody needs its digest */
    return r;
}

int vs_drafter_check(int fd, const struct vs_entries *entries, struct vs_error *err)
{
    struct vs_model_file *file = NULL;
    struct vs_header *header = NULL;
    struct vs_graph graph = { 0 };
    struct vs_error why = { 0 };
    int r = vs_model_file_open(&(struct vs_files){ 1, { fd } }, &file, &why);
    if (r == VS_OK)
        r = vs_header_open(vs_model_file_glance(file), &header, &why);
    if (r == VS_OK)
        r = check_vocabulary(entries, vs_header_entries(header), &why);
    if (r == VS_OK)
        r = vs_header_graph(header, &graph, &why);
    if (r == VS_OK)
        r = check_graph(&graph, &why);
    vs_graph_clear(&graph);
    vs_header_close(header);
    vs_model_file_close(file);
    return r == VS_OK ? r : vs_error_set(err, r, "draft: %s", why.text);
}

int vs_drafter_open(int fd, struct vs_model *target, const struct vs_entries *entries, vs_progress_fn *progress, void *context,
                    struct vs_drafter **ret, struct vs_error *err)
{
    struct vs_drafter *d = calloc(1, sizeof *d);
    struct vs_backend_memory ours, theirs;
    size_t kv_token;
    struct vs_error why = { 0 };
    int r = d ? load(d, fd, target, entries, progress, context, &why) : VS_E_NOMEM;
    if (r != VS_OK) {
        vs_drafter_close(d);
        return vs_error_set(err, r, "draft: %s", why.text[0] ? why.text : vs_status_text(r));
    }
    vs_model_memory(d->model, &ours, &kv_token);
    vs_model_memory(target, &theirs, &kv_token);
    d->n_target = vs_model_n_vocab(target);
    d->share = (double)ours.weights / (double)(theirs.weights + 1);
    *ret = d;
    return VS_OK;
}

void vs_drafter_close(struct vs_drafter *d)
{
    if (!d)
        return;
    vs_sampler_free(d->sampler);
    vs_model_close(d->model);
    free(d);
}

void vs_drafter_memory(const struct vs_drafter *d, struct vs_backend_memory *ret, size_t *ret_kv_bytes)
{
    size_t kv_token;
    vs_model_memory(d->model, ret, &kv_token);
    *ret_kv_bytes = vs_model_cache_bytes(d->model);
}

double vs_drafter_cost(struct vs_drafter *d, double one_row)
{
    d->one_row = one_row;
    return d->share * one_row;
}

/* ---- a guess ---- */

/* Can it read all these, and the bias that the sampling has? Its vocabulary may end with fewer unused places than the target's. */
static bool can_read(const struct vs_drafter *d, const struct vs_sampling *sampling, const uint32_t *token, uint32_t n)
{
    uint32_t n_vocab = vs_model_n_vocab(d->model);
    for (size_t i = 0; i < sampling->n_bias; i++)
        if (sampling->bias[i].id >= n_vocab)
            return false;
    for (uint32_t i = 0; i < n; i++)
        if (token[i] >= n_vocab)
            return false;
    return true;
}

static bool open_sequence(struct vs_drafter *d, struct vs_drafter_sequence *s, const uint32_t *token, uint32_t n)
{
    if (!can_read(d, s->sampling, token, n) || vs_kv_open(vs_model_kv(d->model), s->owner, s->cache_key, &s->kv) != VS_OK)
        return false;
    s->n_same = vs_kv_adopt(s->kv, token, n - 1);
    return true;
}

/* Back to where what it has is the text; the last token is read again in any case, for its logits. */
static void go_back(struct vs_drafter_sequence *s, const uint32_t *token, uint32_t n)
{
    uint32_t have = vs_kv_length(s->kv);
    while (s->n_same < have && s->n_same < n - 1 && vs_kv_token(s->kv, s->n_same) == token[s->n_same])
        s->n_same++;
    s->n_same = s->n_same < n - 1 ? s->n_same : n - 1;
    vs_kv_truncate(s->kv, s->n_same);
}

/* Reads token[have, end), at most CHUNK; *ret_logits NULL: nobody looks. known: the sequence can go back to here. */
static bool read_rows(struct vs_drafter *d, struct vs_drafter_sequence *s, const uint32_t *token, uint32_t end, bool known,
                      const float **ret_logits)
{
    uint32_t have = vs_kv_length(s->kv), n = end - have;
    const float *logits;
    struct vs_error err;
    vs_batch_begin(d->model);
    if (vs_batch_add_marked(d->model, s->kv, token + have, n, ret_logits != NULL, known ? n : 0, known, &err) != VS_OK)
        return false;
    if (vs_batch_compute(d->model, 0, NULL, NULL, &logits, &err) != VS_OK) {
        vs_kv_truncate(s->kv, have);
        return false;
    }
    vs_kv_commit(s->kv, token + have, n);
    if (ret_logits)
        *ret_logits = logits;
    return true;
}

/* The token behind token[n]; known: those before it are the text. */
static bool guess_one(struct vs_drafter *d, struct vs_drafter_sequence *s, uint32_t *token, uint32_t n, bool known, bool *ret_sure)
{
    const float *logits;
    struct vs_error err;
    uint64_t start = vs_clock_ns();
    bool single = n - vs_kv_length(s->kv) == 1;
    if (!read_rows(d, s, token, n, known, &logits)
        || vs_sampler_sample(d->sampler, s->sampling, logits, token, n, n, &token[n], &err) != VS_OK)
        return false;
    *ret_sure = vs_draft_is_sure(logits, vs_model_n_vocab(d->model), token[n]);
    double share = (double)(vs_clock_ns() - start) / d->one_row;
    if (single && d->one_row > 0) {
        d->share += (share - d->share) / (d->is_measured ? 16 : 1);
        d->is_measured = true;
    }
    return token[n] < d->n_target;
}

uint32_t vs_drafter_guess(struct vs_drafter *d, struct vs_drafter_sequence *s, uint32_t *token, uint32_t n, uint64_t n_made,
                          uint32_t n_guesses)
{
    if (s->failed || n + n_guesses > vs_model_context(d->model))
        return 0;
    if (!s->kv && !open_sequence(d, s, token, n)) {
        s->failed = true;
        return 0;
    }
    go_back(s, token, n);
    uint32_t behind = n - vs_kv_length(s->kv), made = 0;
    if (!can_read(d, s->sampling, token + n - behind, behind)) {
        s->failed = true;
        return 0;
    }
    if (behind > CHUNK) {
        if (behind <= CATCH_UP * n_made)
            read_rows(d, s, token, n - behind + CHUNK, true, NULL);
        return 0;
    }
    for (bool sure = true; sure && made < n_guesses && guess_one(d, s, token, n + made, !made, &sure); made++)
        ;
    return made;
}

void vs_drafter_end(struct vs_drafter_sequence *s)
{
    if (s->kv)
        vs_kv_close(s->kv, true);
    s->kv = NULL;
}
