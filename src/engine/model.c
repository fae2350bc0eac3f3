/* engine/model.c - see model.h */
#include "engine/model.h"

#include "import/llm.h"
#include "kv/pool.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

_Static_assert((int)VS_KV_PAGE_TOKENS == (int)VS_PAGE_TOKENS, "one page size");

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

struct vs_model {
    struct vs_graph graph;
    struct vs_model_config config;
    struct vs_cpu *cpu;
    struct vs_kv_pool *pool;
};

/* The model's own context, or what was asked for; capped by a quarter of the free memory. */
static int choose_context(struct vs_model *m, struct vs_error *err)
{
    uint32_t own = m->graph.context, want = m->config.context;
    if (want > own)
        return vs_error_set(err, VS_E_INVALID, "--ctx %u: the model was made for at most %u positions", want, own);
    uint32_t n = want ? want : own;
    n = n < MAX_POSITIONS ? n : MAX_POSITIONS;
    if (!want && m->config.free_bytes) {
        uint64_t pages = m->config.free_bytes / 4 / vs_cpu_page_bytes(&m->graph, m->config.kv_type);
        uint64_t fit = pages * VS_PAGE_TOKENS;
        if (fit < n)
            n = fit < 256 ? (n < 256 ? n : 256) : (uint32_t)fit;
    }
    m->config.context = n;
    return VS_OK;
}

/* The SHA-256 of the file reads all of it; loading reads what the model uses. So that the one is never much more work than the other: */
static int check_size(const struct vs_header *h, const struct vs_graph *g, uint64_t file_bytes, struct vs_error *err)
{
    uint64_t used = vs_gguf_data_start(h->gguf);
    for (uint32_t i = 0; i < g->n_tensors; i++)
        used += g->tensors[i].n_bytes;
    if (file_bytes > used && file_bytes - used > used + MAX_UNUSED)
        return vs_error_set(err, VS_E_MALFORMED, "model: of the file's %llu bytes only %llu belong to its header and the model's tensors",
                            (unsigned long long)file_bytes, (unsigned long long)used);
    return VS_OK;
}

int vs_model_open(const struct vs_header *h, struct vs_model_file *f, const struct vs_model_config *config, vs_progress_fn *progress, void *context,
                  struct vs_model **ret, struct vs_error *err)
{
    struct vs_model *m = calloc(1, sizeof *m);
    if (!m)
        return vs_error_set(err, VS_E_NOMEM, "model: out of memory");
    m->config = *config;
    int r = vs_import_llm(h->gguf, &m->graph, err);
    if (r == VS_OK)
        r = check_size(h, &m->graph, vs_model_file_source(f)->n_bytes, err);
    if (r == VS_OK)
        r = choose_context(m, err);
    if (r != VS_OK)
        goto out;
    m->config.chunk = config->chunk ? config->chunk : DEFAULT_CHUNK;
    if (m->config.chunk > m->config.context)
        m->config.chunk = m->config.context;
    if (m->config.isa == VS_ISA_C && m->config.chunk > DEFAULT_CHUNK)
        m->config.chunk = DEFAULT_CHUNK;     /* or one task would take so long that nobody could stop it; the bits are the same */
    uint32_t n_pages = (m->config.context + VS_PAGE_TOKENS - 1) / VS_PAGE_TOKENS;
    struct vs_cpu_config cpu = {
        .isa = config->isa, .n_threads = config->n_threads, .max_rows = m->config.chunk, .max_out = VS_MODEL_MAX_OUT,
        .max_positions = m->config.context, .n_pages = n_pages, .kv_type = config->kv_type, .high = config->high,
    };
    r = vs_cpu_create(&m->graph, &cpu, vs_model_file_source(f), progress, context, &m->cpu, err);
    if (r == VS_OK && vs_kv_pool_create(n_pages, &m->pool) != VS_OK)
        r = vs_error_set(err, VS_E_NOMEM, "model: out of memory");
out:
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
    vs_cpu_free(m->cpu);
    vs_kv_pool_free(m->pool);
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

uint32_t vs_model_chunk(const struct vs_model *m)
{
    return m->config.chunk;
}

const struct vs_graph *vs_model_graph(const struct vs_model *m)
{
    return &m->graph;
}

const struct vs_model_config *vs_model_config(const struct vs_model *m)
{
    return &m->config;
}

void vs_model_memory(const struct vs_model *m, size_t *ret_weights, size_t *ret_arena, size_t *ret_kv_token)
{
    *ret_weights = vs_cpu_weight_bytes(m->cpu);
    *ret_arena = vs_cpu_arena_bytes(m->cpu);
    *ret_kv_token = vs_cpu_page_bytes(&m->graph, m->config.kv_type) / VS_PAGE_TOKENS;
}

struct vs_sequence {
    struct vs_model *model;
    struct vs_kv_table table;
    uint32_t *tokens;                    /* [context] */
    size_t n_tokens;
    struct vs_row *rows;                 /* [chunk] */
};

int vs_sequence_create(struct vs_model *m, struct vs_sequence **ret)
{
    struct vs_sequence *s = calloc(1, sizeof *s);
    if (!s)
        return VS_E_NOMEM;
    s->model = m;
    s->tokens = malloc(m->config.context * sizeof *s->tokens);
    s->rows = malloc(m->config.chunk * sizeof *s->rows);
    if (!s->tokens || !s->rows) {
        vs_sequence_free(s);
        return VS_E_NOMEM;
    }
    *ret = s;
    return VS_OK;
}

void vs_sequence_free(struct vs_sequence *s)
{
    if (!s)
        return;
    vs_kv_table_clear(&s->table, s->model->pool);
    free(s->tokens);
    free(s->rows);
    free(s);
}

const uint32_t *vs_sequence_tokens(const struct vs_sequence *s, size_t *ret_n)
{
    *ret_n = s->n_tokens;
    return s->tokens;
}

void vs_sequence_truncate(struct vs_sequence *s, size_t n)
{
    if (n >= s->n_tokens)
        return;
    s->n_tokens = n;
    vs_kv_table_truncate(&s->table, s->model->pool, (uint32_t)n);
}

/* The caller's check as a step asks it. */
struct asking { vs_check_fn *check; void *context; size_t done, total; };

static int ask_caller(void *context)
{
    const struct asking *a = context;
    return a->check(a->context, a->done, a->total);
}

int vs_sequence_append(struct vs_sequence *s, const uint32_t *tokens, size_t n, size_t n_out,
                       vs_rows_fn *rows, vs_check_fn *check, void *context, struct vs_error *err)
{
    struct vs_model *m = s->model;
    if (n > m->config.context - s->n_tokens)
        return vs_error_set(err, VS_E_CONTEXT, "%zu tokens do not fit into the context of %u",
                            s->n_tokens + n, m->config.context);
    for (size_t i = 0; i < n; i++)
        if (tokens[i] >= m->graph.n_vocab)
            return vs_error_set(err, VS_E_INVALID, "token %u is beyond the vocabulary of %u", tokens[i], m->graph.n_vocab);
    size_t first_out = n - n_out;
    for (size_t done = 0; done < n;) {
        int r = check ? check(context, done, n) : VS_OK;
        if (r != VS_OK)
            return vs_error_set(err, r, "%s", vs_status_text(r));
        size_t step = n - done < m->config.chunk ? n - done : m->config.chunk;
        if (done + step > first_out) {   /* at most so many rows of logits at a time */
            size_t quiet = first_out > done ? first_out - done : 0;
            if (step - quiet > VS_MODEL_MAX_OUT)
                step = quiet + VS_MODEL_MAX_OUT;
        }
        r = vs_kv_table_reserve(&s->table, m->pool, (uint32_t)(s->n_tokens + step));
        if (r != VS_OK)
            return vs_error_set(err, r, "the KV cache is full");
        uint32_t out[VS_MODEL_MAX_OUT], outs = 0;
        for (size_t i = 0; i < step; i++) {
            s->rows[i] = (struct vs_row){ tokens[done + i], (uint32_t)(s->n_tokens + i), s->table.page };
            if (done + i >= first_out)
                out[outs++] = (uint32_t)i;
        }
        struct asking asking = { check, context, done, n };
        const struct vs_step job = { .rows = s->rows, .n_rows = (uint32_t)step, .out = out, .n_out = outs,
                                     .check = check ? ask_caller : NULL, .context = &asking };
        const float *logits;
        r = vs_cpu_step(m->cpu, &job, &logits, err);
        if (r != VS_OK) {
            vs_sequence_truncate(s, s->n_tokens);
            return r;
        }
        memcpy(s->tokens + s->n_tokens, tokens + done, step * sizeof *tokens);
        s->n_tokens += step;
        if (outs && rows) {
            r = rows(context, done + step - outs, outs, logits);
            if (r != VS_OK)
                return r;
        }
        done += step;
    }
    return VS_OK;
}
