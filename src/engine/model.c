/* engine/model.c - see model.h */
#include "engine/internal.h"

#include "base/buf.h"
#include "base/word.h"
#include "import/header.h"

#include <stdlib.h>
#include <string.h>

enum { DEFAULT_CHUNK = 512, DEFAULT_OUT = 32, DEFAULT_SEQUENCES = 64, DEFAULT_KEPT = 256 };
enum { MAX_POSITIONS = 10000000, MAX_AT_ONCE = 1 << 19, MAX_PAGES = UINT32_MAX / VS_PAGE_TOKENS, MAX_UNUSED = 16 << 20 };

/* Slots for states: two for a sequence of the step, one more to go back to, two for what is kept; as many as half of the cache
 * holds, and no more sequences at once than that is enough for. */
static int choose_states(struct vs_model *m, struct vs_error *err)
{
    struct vs_model_config *c = &m->config;
    uint64_t bytes = c->backend->state_bytes(&m->graph), n;
    c->n_at_once = c->n_at_once ? c->n_at_once : 1;
    c->n_states = 0;
    if (!bytes)
        return VS_OK;
    n = (c->kv_bytes ? c->kv_bytes : c->free_bytes ? c->free_bytes / 4 : UINT64_MAX) / 2 / bytes;
    if (n < 2 && c->kv_bytes)
        return vs_error_set(err, VS_E_INVALID, "--kv-memory: a cache of %llu byte%s is too small: half of it must hold two states, "
                            "and the state of a sequence takes %llu bytes", (unsigned long long)c->kv_bytes, vs_plural(c->kv_bytes),
                            (unsigned long long)bytes);
    n = n < 2 ? 2 : n;
    c->n_states = n < 5 * (uint64_t)c->n_at_once ? (uint32_t)n : 5 * c->n_at_once;
    c->n_at_once = c->n_at_once < c->n_states / 2 ? c->n_at_once : c->n_states / 2;
    return VS_OK;
}

/* The model's own context, or what was asked for; when it was not, capped by the KV cache, or by a quarter of the free memory.
 * The cache is as large as was asked for, or holds one context; states are a part of it. */
static int choose_context(struct vs_model *m, struct vs_error *err)
{
    if (m->graph.whole)                  /* its K and V live for one step: nothing is saved by rounding them */
        m->config.kv_type = VS_KV_F32;
    uint32_t own = m->graph.context, want = m->config.context;
    uint64_t page_bytes = m->config.backend->page_bytes(&m->graph, m->config.kv_type), pages = 0;
    int r = choose_states(m, err);
    if (r != VS_OK)
        return r;
    bool no_keys = !page_bytes;          /* of recurrent layers alone: a page is a list of tokens */
    page_bytes = no_keys ? VS_PAGE_TOKENS * sizeof(uint32_t) : page_bytes;
    if (want > own)
        return vs_error_set(err, VS_E_INVALID, "--ctx %u: the model was made for at most %u position%s", want, own, vs_plural(own));
    uint32_t n = want ? want : own, most = m->graph.whole || m->graph.n_source ? MAX_AT_ONCE : MAX_POSITIONS;   /* of a step */
    n = n < most ? n : most;
    if (m->config.kv_bytes) {
        pages = (m->config.kv_bytes - m->config.n_states * m->config.backend->state_bytes(&m->graph)) / page_bytes;
        if (!pages)
            return vs_error_set(err, VS_E_INVALID, "--kv-memory: a cache of %llu byte%s has no page: one takes %llu bytes",
                                (unsigned long long)m->config.kv_bytes, vs_plural(m->config.kv_bytes),
                                (unsigned long long)page_bytes);
        if (!want && pages < n / VS_PAGE_TOKENS)
            n = (uint32_t)pages * VS_PAGE_TOKENS;
    } else if (!want && m->config.free_bytes) {
        uint64_t fit = m->config.free_bytes / 4 / page_bytes * VS_PAGE_TOKENS;
        if (fit < n)
            n = fit < 256 ? (n < 256 ? n : 256) : (uint32_t)fit;
    }
    m->config.context = n;
    pages = m->config.kv_bytes ? pages : vs_pages_for(n);
    if (no_keys && pages > (uint64_t)vs_pages_for(n) * m->config.n_at_once)
        pages = (uint64_t)vs_pages_for(n) * m->config.n_at_once;
    m->config.n_pages = pages < MAX_PAGES ? (uint32_t)pages : MAX_PAGES;
    return VS_OK;
}

/* The SHA-256 of the file reads all of it, loading what the model uses: the one may not be much more work than the other. */
static int check_size(const struct vs_header *h, const struct vs_graph *g, uint64_t file_bytes, struct vs_error *err)
{
    uint64_t used = 0, at;
    for (unsigned i = 0; i < vs_header_n_parts(h); i++) {
        size_t n;
        vs_header_bytes(h, i, &at, &n);
        used += n;
    }
    for (uint32_t i = 0; i < g->n_tensors; i++)
        used += g->tensors[i].n_bytes;
    if (file_bytes > used && file_bytes - used > used + MAX_UNUSED)
        return vs_error_set(err, VS_E_MALFORMED, "model: of the file's %llu bytes only %llu belong to its header and the model's "
                            "tensors", (unsigned long long)file_bytes, (unsigned long long)used);
    return VS_OK;
}

/* Rows of a step, and those that are read: as asked, as many as there are positions, no more than the backend can stop in time. */
static void choose_chunk(struct vs_model_config *c, const struct vs_graph *g)
{
    if (g->whole) {                      /* a text is one step, and all its rows may be read */
        c->chunk = c->max_out = c->context;
        return;
    }
    c->max_out = c->max_out ? c->max_out : DEFAULT_OUT;
    if (g->n_source) {                   /* a source is in one step, with all who get a row there meanwhile */
        c->max_out = c->max_out < c->context ? c->max_out : c->context;
        c->chunk = c->context + c->max_out;
        return;
    }
    uint32_t most = c->backend->max_rows(c->level);
    c->chunk = c->chunk ? c->chunk : DEFAULT_CHUNK;
    c->chunk = c->chunk < c->context ? c->chunk : c->context;
    c->chunk = c->chunk < most ? c->chunk : most;
    c->max_out = c->max_out < c->chunk ? c->max_out : c->chunk;
}

static struct vs_backend_config backend_config(const struct vs_model_config *c)
{
    return (struct vs_backend_config){
        .level = c->level, .n_threads = c->n_threads, .max_rows = c->chunk, .max_out = c->max_out,
        .max_positions = c->context, .n_pages = c->n_pages, .n_states = c->n_states, .kv_type = c->kv_type, .high = c->high,
        .observe = c->observe,
        .beside = c->beside ? c->beside->backend : NULL,
    };
}

static void copy_page(void *context, uint32_t from, uint32_t to, uint32_t n_tokens)
{
    struct vs_model *m = context;
    m->backend->kind->copy_page(m->backend, from, to, n_tokens);
}

static void clear_pages(void *context, const uint32_t *pages, uint32_t n)
{
    struct vs_model *m = context;
    m->backend->kind->clear_pages(m->backend, pages, n);
}

static int create_kv(struct vs_model *m)
{
    const struct vs_model_config *c = &m->config;
    const struct vs_kv_config config = {
        .n_pages = c->n_pages, .page_tokens = VS_PAGE_TOKENS, .max_tokens = c->context,
        .sharing = c->sharing, .n_states = c->n_states,
        .keyed = m->graph.n_adapters,
        .max_sequences = c->max_sequences ? c->max_sequences : DEFAULT_SEQUENCES,
        .max_kept = c->max_kept ? c->max_kept : DEFAULT_KEPT, .memory = { copy_page, clear_pages, m },
    };
    return vs_kv_create(&config, &m->kv);
}

/* Makes the graph, which stays m's also on failure. f NULL: whatever else is in the file. */
static int describe(struct vs_model *m, const struct vs_header *h, const struct vs_model_file *f, struct vs_buf *ret,
                    struct vs_error *err)
{
    int r = vs_header_graph(h, &m->graph, err);
    if (r == VS_OK && f)
        r = check_size(h, &m->graph, vs_model_file_source(f)->n_bytes, err);
    if (r == VS_OK)
        r = choose_context(m, err);
    if (r == VS_OK) {
        choose_chunk(&m->config, &m->graph);
        const struct vs_backend_config b = backend_config(&m->config);
        r = m->config.backend->describe(&m->graph, &b, ret, err);
    }
    return r;
}

int vs_model_describe(const struct vs_header *h, const struct vs_model_config *config, struct vs_buf *ret, struct vs_error *err)
{
    struct vs_model m = { .config = *config };
    int r = describe(&m, h, NULL, ret, err);
    vs_graph_clear(&m.graph);
    return r;
}

int vs_model_check(const struct vs_header *h, const struct vs_model_file *f, const struct vs_model_config *config,
                   uint32_t *ret_n_vocab, struct vs_error *err)
{
    struct vs_model m = { .config = *config };
    struct vs_buf program = { 0 };
    int r = describe(&m, h, f, &program, err);
    if (r == VS_OK)
        *ret_n_vocab = m.graph.n_vocab;
    vs_graph_clear(&m.graph);
    vs_buf_clear(&program);
    return r;
}

int vs_model_open(const struct vs_header *h, struct vs_model_file *f, const struct vs_model_config *config,
                  vs_progress_fn *progress, void *context, struct vs_model **ret, struct vs_error *err)
{
    struct vs_model *m = calloc(1, sizeof *m);
    if (!m)
        return vs_error_set(err, VS_E_NOMEM, "model: out of memory");
    struct vs_model_config *c = &m->config;
    *c = *config;
    int r = VS_OK;
    for (unsigned i = 0; i < vs_header_n_parts(h) && r == VS_OK; i++) {
        size_t n;
        uint64_t at;
        const void *header = vs_header_bytes(h, i, &at, &n);
        r = vs_model_file_loaded(f, at, header, n, err);
    }
    if (r == VS_OK)
        r = vs_header_graph(h, &m->graph, err);
    if (r == VS_OK)
        r = check_size(h, &m->graph, vs_model_file_source(f)->n_bytes, err);
    if (r == VS_OK)
        r = choose_context(m, err);
    if (m->graph.n_source)               /* a beginning of a source is nothing */
        c->sharing = VS_KV_SHARE_NONE;
    if (r == VS_OK) {
        choose_chunk(c, &m->graph);
        if (vs_batch_create(&m->batch, c) != VS_OK || create_kv(m) != VS_OK)
            r = vs_error_set(err, VS_E_NOMEM, "model: out of memory");
        const struct vs_backend_config b = backend_config(c);
        if (r == VS_OK)
            r = c->backend->create(&m->graph, &b, vs_model_file_source(f), progress, context, &m->backend, err);
    }
    if (r != VS_OK) {
        vs_model_close(m);
        return r;
    }
    *ret = m;
    return VS_OK;
}

void vs_model_close(struct vs_model *m)
{
    if (!m)
        return;
    vs_backend_free(m->backend);
    vs_kv_free(m->kv);
    vs_batch_clear(&m->batch);
    vs_graph_clear(&m->graph);
    free(m);
}

unsigned vs_model_n_adapters(const struct vs_model *m)
{
    return m->graph.n_adapters;
}

const float *vs_model_adapters(const struct vs_model *m)
{
    return m->config.adapters;
}

struct vs_kv *vs_model_kv(const struct vs_model *m)
{
    return m->kv;
}

struct vs_backend *vs_model_backend(const struct vs_model *m)
{
    return m->backend;
}

uint32_t vs_model_source(const struct vs_model *m, const uint32_t *tokens, uint32_t n)
{
    uint32_t i = 0;
    while (m->graph.n_source && i < n && tokens[i] != m->graph.start)
        i++;
    return i;
}

uint32_t vs_model_context(const struct vs_model *m)
{
    return m->config.context;
}

uint32_t vs_model_n_vocab(const struct vs_model *m)
{
    return m->graph.n_vocab;
}

const struct vs_graph *vs_model_graph(const struct vs_model *m)
{
    return &m->graph;
}

const struct vs_model_config *vs_model_config(const struct vs_model *m)
{
    return &m->config;
}

void vs_model_memory(const struct vs_model *m, struct vs_backend_memory *ret, size_t *ret_kv_token)
{
    m->config.backend->memory(m->backend, ret);
    *ret_kv_token = m->config.backend->page_bytes(&m->graph, m->config.kv_type) / VS_PAGE_TOKENS;
}

size_t vs_model_state_bytes(const struct vs_model *m)
{
    return m->config.backend->state_bytes(&m->graph);
}

size_t vs_model_cache_bytes(const struct vs_model *m)
{
    const struct vs_model_config *c = &m->config;
    return c->backend->page_bytes(&m->graph, c->kv_type) * c->n_pages + vs_model_state_bytes(m) * c->n_states;
}
