/* engine/model.c - see model.h */
#include "engine/internal.h"

#include "import/gguf.h"
#include "import/llm.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { DEFAULT_CHUNK = 512, FIRST_READ = 8 << 20, MAX_POSITIONS = 10000000, MAX_UNUSED = 16 << 20 };

struct vs_header {
    uint8_t *head;
    size_t n_head;
    struct vs_gguf *gguf;
};

/* Reads [h->n_head, n) more bytes of the header. */
static int read_head(struct vs_header *h, const struct vs_source *file, size_t n, struct vs_error *err)
{
    uint8_t *head = realloc(h->head, n);
    if (!head)
        return vs_error_set(err, VS_E_NOMEM, "model: no memory for a header of %zu bytes", n);
    h->head = head;
    int r = vs_source_read(file, h->n_head, n - h->n_head, h->head + h->n_head, err);
    if (r == VS_OK)
        h->n_head = n;
    return r;
}

int vs_header_open(struct vs_model_file *f, struct vs_header **ret, struct vs_error *err)
{
    const struct vs_source *file = vs_model_file_glance(f);
    struct vs_header *h = calloc(1, sizeof *h);
    if (!h)
        return vs_error_set(err, VS_E_NOMEM, "model: out of memory");
    int r = VS_E_SHORT;
    for (uint64_t want = FIRST_READ; r == VS_E_SHORT; want *= 4) {
        bool all = want >= file->n_bytes;
        r = read_head(h, file, (size_t)(all ? file->n_bytes : want), err);
        if (r == VS_OK)
            r = vs_gguf_open(h->head, h->n_head, file->n_bytes, &h->gguf, err);
        if (r == VS_E_SHORT && all)
            r = vs_error_set(err, VS_E_MALFORMED, "model: the file ends inside its header");
    }
    size_t n = h->gguf && vs_gguf_data_start(h->gguf) < h->n_head ? (size_t)vs_gguf_data_start(h->gguf) : h->n_head;
    if (r == VS_OK)
        r = vs_model_file_loaded(f, 0, h->head, n, err);
    if (r != VS_OK) {
        vs_header_close(h);
        return r;
    }
    /* What was read beyond the header is not looked at again: its pages go back. */
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), end = ((uintptr_t)h->head + h->n_head) / page * page;
    uintptr_t from = ((uintptr_t)h->head + n + page - 1) / page * page;
    if (from < end)
        madvise((void *)from, end - from, MADV_DONTNEED);
    *ret = h;
    return VS_OK;
}

void vs_header_close(struct vs_header *h)
{
    if (!h)
        return;
    vs_gguf_close(h->gguf);
    free(h->head);
    free(h);
}

const struct vs_gguf *vs_header_gguf(const struct vs_header *h)
{
    return h->gguf;
}

/* The model's own context, or what was asked for; capped by a quarter of the free memory. */
static int choose_context(struct vs_model *m, struct vs_error *err)
{
    uint32_t own = m->graph.context, want = m->config.context;
    if (want > own)
        return vs_error_set(err, VS_E_INVALID, "--ctx %u: the model was made for at most %u positions", want, own);
    uint32_t n = want ? want : own;
    n = n < MAX_POSITIONS ? n : MAX_POSITIONS;
    if (!want && m->config.free_bytes) {
        uint64_t pages = m->config.free_bytes / 4 / m->config.backend->page_bytes(&m->graph, m->config.kv_type);
        uint64_t fit = pages * VS_PAGE_TOKENS;
        if (fit < n)
            n = fit < 256 ? (n < 256 ? n : 256) : (uint32_t)fit;
    }
    m->config.context = n;
    return VS_OK;
}

/* The SHA-256 of the file reads all of it, loading what the model uses: the one may not be much more work than the other. */
static int check_size(const struct vs_header *h, const struct vs_graph *g, uint64_t file_bytes, struct vs_error *err)
{
    uint64_t used = vs_gguf_data_start(h->gguf);
    for (uint32_t i = 0; i < g->n_tensors; i++)
        used += g->tensors[i].n_bytes;
    if (file_bytes > used && file_bytes - used > used + MAX_UNUSED)
        return vs_error_set(err, VS_E_MALFORMED, "model: of the file's %llu bytes only %llu belong to its header and the model's "
                            "tensors", (unsigned long long)file_bytes, (unsigned long long)used);
    return VS_OK;
}

/* Rows of a step: as asked, as many as there are positions, no more than the backend can stop in time. */
static void choose_chunk(struct vs_model_config *c)
{
    uint32_t most = c->backend->max_rows(c->level);
    c->chunk = c->chunk ? c->chunk : DEFAULT_CHUNK;
    c->chunk = c->chunk < c->context ? c->chunk : c->context;
    c->chunk = c->chunk < most ? c->chunk : most;
}

int vs_model_open(const struct vs_header *h, struct vs_model_file *f, const struct vs_model_config *config,
                  vs_progress_fn *progress, void *context, struct vs_model **ret, struct vs_error *err)
{
    struct vs_model *m = calloc(1, sizeof *m);
    if (!m)
        return vs_error_set(err, VS_E_NOMEM, "model: out of memory");
    struct vs_model_config *c = &m->config;
    *c = *config;
    int r = vs_import_llm(h->gguf, &m->graph, err);
    if (r == VS_OK)
        r = check_size(h, &m->graph, vs_model_file_source(f)->n_bytes, err);
    if (r == VS_OK)
        r = choose_context(m, err);
    if (r == VS_OK) {
        choose_chunk(c);
        uint32_t n_pages = vs_pages_for(c->context);
        m->batch.rows = malloc(c->chunk * sizeof *m->batch.rows);
        m->batch.pages = malloc(n_pages * sizeof *m->batch.pages);
        if (!m->batch.rows || !m->batch.pages || vs_kv_pool_create(n_pages, VS_PAGE_TOKENS, &m->pool) != VS_OK)
            r = vs_error_set(err, VS_E_NOMEM, "model: out of memory");
        const struct vs_backend_config b = {
            .level = c->level, .n_threads = c->n_threads, .max_rows = c->chunk, .max_out = VS_MODEL_MAX_OUT,
            .max_positions = c->context, .n_pages = n_pages, .kv_type = c->kv_type, .high = c->high,
        };
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
    vs_kv_pool_free(m->pool);
    free(m->batch.rows);
    free(m->batch.pages);
    vs_graph_clear(&m->graph);
    free(m);
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
