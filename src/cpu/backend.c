/* cpu/backend.c - makes and frees a backend; see backend.h. lower.c makes the program, load.c fills the weights, run.c executes. */
#include "cpu/internal.h"

#include "base/buf.h"
#include "base/num.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static size_t page_bytes(const struct vs_graph *g, enum vs_kv_type type)
{
    struct vs_kv_layout l;
    if (vs_kv_layout_init(&l, g, type) != VS_OK)
        return SIZE_MAX;                 /* the cache that it is asked for will not be there either */
    vs_kv_layout_clear(&l);
    return l.page_bytes;
}

static size_t kv_bytes(const struct vs_graph *g, enum vs_kv_type type, uint32_t n_pages)
{
    size_t runs = n_pages / VS_KV_RUN + (n_pages % VS_KV_RUN != 0), n;
    return __builtin_mul_overflow(page_bytes(g, type), runs * VS_KV_RUN, &n) ? SIZE_MAX : n;
}

static size_t state_bytes(const struct vs_graph *g)
{
    return (g->n_state * sizeof(float) + 63) / 64 * 64;
}

static uint32_t max_rows(int level)
{
    return level == VS_ISA_C ? 512 : 65536;
}

static void memory(const struct vs_backend *b, struct vs_backend_memory *ret)
{
    const struct vs_cpu *c = (const struct vs_cpu *)b;
    *ret = (struct vs_backend_memory){ c->memory.weight_bytes, c->memory.arena_bytes };
}

static int level_parse(const char *name, int *ret, struct vs_error *err)
{
    int isa = vs_isa_parse(name);
    if (isa < 0) {
        char known[80] = "";
        for (int i = 0; i < VS_N_ISAS; i++)
            snprintf(known + strlen(known), sizeof known - strlen(known), ", %s", vs_isa_name((enum vs_isa)i));
        return vs_error_set(err, VS_E_INVALID, "isa '%s' is not known; known are auto%s", name, known);
    }
    if (isa > (int)vs_isa_best())
        return vs_error_set(err, VS_E_UNSUPPORTED, "this CPU can't run isa '%s'; the best it has is %s", name,
                            vs_isa_name(vs_isa_best()));
    *ret = isa;
    return VS_OK;
}

static const char *level_name(int level)
{
    return vs_isa_name((enum vs_isa)level);
}

/* Zeroed pages that cost nothing until touched; huge where the kernel allows. NULL when there is no room. */
void *vs_cpu_reserve(size_t n)
{
    if (!n)
        n = 1;
    void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    if (n >= 1u << 21)
        madvise(p, n, MADV_HUGEPAGE);
    return p;
}

static void release(void *p, size_t n)
{
    if (p)
        munmap(p, n ? n : 1);
}

/* Which tensors are matrices and which only rows to look up, or vectors; checks that we compute with their type. */
static int describe_weights(struct vs_cpu *c, const struct vs_graph *g, struct vs_error *err)
{
    struct vs_weight *weights = c->memory.weights = calloc(g->n_tensors ? g->n_tensors : 1, sizeof *weights);
    if (!weights)
        return vs_error_set(err, VS_E_NOMEM, "model: out of memory");
    for (size_t i = 0; i < g->n_nodes; i++) {
        const struct vs_node *n = &g->nodes[i];
        uint32_t matrices = n->op == VS_OP_LINEAR ? 1 : n->op == VS_OP_BY_HEADS ? n->p.n_heads : 0;
        for (uint32_t k = 0; k < matrices; k++)
            weights[n->tensor[0] + k].used_as_matrix = true;
        if (n->op == VS_OP_ATTENTION && n->tensor[1] != VS_NONE)
            weights[n->tensor[1]].widened = g->tensors[n->tensor[1]].dtype != VS_F32;
    }
    for (size_t i = 0; i < g->n_experts; i++) {
        const struct vs_experts *e = &g->experts[i];
        uint32_t first[] = { e->gate, e->up, e->down };
        for (uint32_t k = 0; k < 3 * e->n; k++)
            if (first[k % 3] != VS_NONE)
                weights[first[k % 3] + k / 3].used_as_matrix = true;
    }
    for (size_t i = 0; i < g->n_adapts; i++)
        weights[g->adapts[i].up].used_as_matrix = true;
    for (uint32_t i = 0; i < g->n_tensors; i++) {
        const struct vs_tensor *t = &g->tensors[i];
        if (vs_class_of(t->dtype) < 0)
            return vs_error_set(err, VS_E_UNSUPPORTED, "model: %s: this tensor type can't be computed with", t->name);
        weights[i].matrix = vs_matrix_of(t->dtype, t->n_rows, t->n_cols, c->ops.packed && weights[i].used_as_matrix);
    }
    return VS_OK;
}

static int make_ropes(struct vs_cpu *c, const struct vs_graph *g, struct vs_error *err)
{
    c->program.n_ropes = g->n_ropes;
    for (size_t r = 0; r < g->n_ropes; r++) {
        const struct vs_rope *rope = &g->ropes[r];
        struct vs_rope_table *t = &c->program.ropes[r];
        uint32_t pairs = rope->n_dims / 2;
        t->n_pairs = pairs;
        t->magnitude = rope->magnitude;
        t->kind = rope->neox ? VS_ROPE_NEOX : VS_ROPE_NORM;
        t->frequency = malloc(pairs * sizeof(double));
        t->cosine = malloc((size_t)c->config.max_rows * pairs * sizeof(float));
        t->sine = malloc((size_t)c->config.max_rows * pairs * sizeof(float));
        if (!t->frequency || !t->cosine || !t->sine)
            return vs_error_set(err, VS_E_NOMEM, "model: out of memory");
        bool is_long = rope->long_after && c->config.max_positions > rope->long_after;
        uint32_t tensor = is_long ? rope->long_factors : rope->factors;
        const float *factors = tensor == VS_NONE ? NULL : c->memory.weights[tensor].vector;
        for (uint32_t i = 0; i < pairs; i++) {
            double f = vs_rope_frequency(rope, i);
            if (factors) {
                if (!(factors[i] > 0.0f) || factors[i] > 3e38f)
                    return vs_error_set(err, VS_E_MALFORMED, "model: %s: factor %u is not a positive number",
                                        g->tensors[tensor].name, i);
                f /= (double)factors[i];
            }
            t->frequency[i] = f;
        }
    }
    return VS_OK;
}

/* How much memory a step needs beside the weights. */
static void size_memory(struct vs_cpu *c, const struct vs_graph *g)
{
    struct vs_memory *m = &c->memory;
    vs_cpu_private_plan(c);
    m->scratch_bytes = vs_attention_scratch_bytes(c);
    size_t n_splits = c->config.max_positions / VS_SPLIT + 1;
    m->partial_floats = 8 * c->program.max_group * g->n_kv_heads * n_splits * (2 + g->value_dim);
    m->kv_bytes = kv_bytes(g, c->config.kv_type, c->config.n_pages);
    m->state_bytes = state_bytes(g);
    if (__builtin_mul_overflow(m->state_bytes, (size_t)c->config.n_states, &m->states_bytes))
        m->states_bytes = SIZE_MAX;
}

static int take_memory(struct vs_cpu *c, const struct vs_graph *g, struct vs_error *err)
{
    struct vs_memory *m = &c->memory;
    struct vs_run *run = &c->run;
    size_t threads = c->config.n_threads;
    size_memory(c, g);
    m->arena = vs_cpu_reserve(m->arena_bytes);
    m->private = vs_cpu_reserve(m->private_bytes * threads);
    m->scratch = vs_cpu_reserve(m->scratch_bytes * threads);
    m->partial = vs_cpu_reserve(m->partial_floats * sizeof *m->partial);
    m->kv = vs_cpu_reserve(m->kv_bytes);
    m->states = vs_cpu_reserve(m->states_bytes);
    run->blocks = malloc(c->config.max_rows * sizeof *run->blocks);
    run->n_tasks = calloc(c->program.n_instrs, sizeof *run->n_tasks);
    run->shares = aligned_alloc(64, threads * sizeof *run->shares);
    if (run->shares)
        memset(run->shares, 0, threads * sizeof *run->shares);
    if (m->arena && m->private && m->scratch && m->partial && m->kv && m->states && run->blocks && run->n_tasks && run->shares)
        return VS_OK;
    size_t step = m->arena_bytes + (m->private_bytes + m->scratch_bytes) * threads + m->partial_floats * sizeof *m->partial;
    return vs_error_set(err, VS_E_NOMEM, "model: no room for the KV cache (%zu MB) and the step's memory (%zu MB): a smaller "
                        "--ctx, --prefill-chunk or --threads needs less, so does --kv-type q8_0",
                        (m->kv_bytes >> 20) + (m->states_bytes >> 20), step >> 20);
}

static void destroy(struct vs_backend *b)
{
    struct vs_cpu *c = (struct vs_cpu *)b;
    struct vs_memory *m = &c->memory;
    if (!c->config.beside)
        vs_pool_free(c->pool);
    else
        vs_pool_join(c->pool);           /* nobody is inside our program any more */
    release(m->weight_memory, m->weight_bytes);
    release(m->arena, m->arena_bytes);
    release(m->private, m->private_bytes * c->config.n_threads);
    release(m->scratch, m->scratch_bytes * c->config.n_threads);
    release(m->partial, m->partial_floats * sizeof *m->partial);
    release(m->kv, m->kv_bytes);
    release(m->states, m->states_bytes);
    free(m->weights);
    for (size_t r = 0; r < c->program.n_ropes; r++) {
        free(c->program.ropes[r].frequency);
        free(c->program.ropes[r].cosine);
        free(c->program.ropes[r].sine);
    }
    free(c->program.instrs);
    free(c->program.linears);
    free(c->program.adapted);
    free(c->program.buffers);
    free(c->program.mixtures);
    free(c->program.slopes);
    for (size_t i = 0; i < c->program.n_sums; i++) {
        free(c->program.sums[i].sum);
        free(c->program.sums[i].n_rows);
    }
    free(c->program.sums);
    free(c->program.observed);
    free(c->run.blocks);
    free(c->run.n_tasks);
    free(c->run.shares);
    vs_kv_layout_clear(&m->kv_layout);
    free(c);
}

/* One that has settings and kernels, no threads and no memory. NULL: out of memory. */
static struct vs_cpu *begin(const struct vs_graph *g, const struct vs_backend_config *config, struct vs_error *err)
{
    struct vs_cpu *c = aligned_alloc(64, sizeof *c);     /* its counters have cache lines of their own */
    if (!c) {
        vs_error_set(err, VS_E_NOMEM, "model: out of memory");
        return NULL;
    }
    memset(c, 0, sizeof *c);
    c->base.kind = &vs_backend_cpu;
    c->config = *config;
    vs_cpu_ops_init(&c->ops, (enum vs_isa)config->level);
    if (vs_kv_layout_init(&c->memory.kv_layout, g, config->kv_type) != VS_OK) {
        vs_error_set(err, VS_E_NOMEM, "model: out of memory");
        free(c);
        return NULL;
    }
    return c;
}

static int describe(const struct vs_graph *g, const struct vs_backend_config *config, struct vs_buf *ret, struct vs_error *err)
{
    struct vs_cpu *c = begin(g, config, err);
    if (!c)
        return VS_E_NOMEM;
    float *marks = calloc(g->n_tensors ? g->n_tensors : 1, sizeof *marks);       /* stand for the weights; nobody reads them */
    struct vs_row *rows = malloc(config->max_rows * sizeof *rows);
    uint32_t *n_tasks = NULL;
    int r = marks && rows ? describe_weights(c, g, err) : vs_error_set(err, VS_E_NOMEM, "model: out of memory");
    for (uint32_t i = 0; i < g->n_tensors && r == VS_OK; i++) {
        c->memory.weights[i].vector = &marks[i];
        c->memory.weights[i].matrix.data = (const uint8_t *)&marks[i];
    }
    if (r == VS_OK)
        r = vs_cpu_lower(c, g, err);
    if (r == VS_OK) {
        size_memory(c, g);
        n_tasks = malloc(2 * c->program.n_instrs * sizeof *n_tasks);
        c->run.n_tasks = calloc(c->program.n_instrs, sizeof *c->run.n_tasks);
        c->run.blocks = malloc(config->max_rows * sizeof *c->run.blocks);
        if (n_tasks && c->run.n_tasks && c->run.blocks)
            vs_cpu_describe(c, g, marks, rows, n_tasks, ret);
        if (!n_tasks || !c->run.n_tasks || !c->run.blocks || ret->status != VS_OK)
            r = vs_error_set(err, VS_E_NOMEM, "model: out of memory");
    }
    free(marks);
    free(rows);
    free(n_tasks);
    /* the rest are sizes only: there is nothing to give back */
    c->memory = (struct vs_memory){ .weights = c->memory.weights, .kv_layout = c->memory.kv_layout };
    destroy(&c->base);
    return r;
}

static int create(const struct vs_graph *g, const struct vs_backend_config *config, const struct vs_source *file,
                  vs_progress_fn *progress, void *context, struct vs_backend **ret, struct vs_error *err)
{
    struct vs_cpu *c = begin(g, config, err);
    if (!c)
        return VS_E_NOMEM;
    int r = VS_OK;
    if (config->beside)
        c->pool = ((struct vs_cpu *)config->beside)->pool;
    else
        r = vs_pool_create(config->n_threads, &c->pool, err);
    if (r == VS_OK)
        r = describe_weights(c, g, err);
    if (r == VS_OK)
        r = vs_cpu_load(c, g, file, progress, context, err);
    if (r == VS_OK && vs_state_arrange(c, g) != VS_OK)
        r = vs_error_set(err, VS_E_NOMEM, "model: out of memory");
    if (r == VS_OK)
        r = vs_cpu_lower(c, g, err);
    if (r == VS_OK)
        r = make_ropes(c, g, err);
    if (r == VS_OK)
        r = take_memory(c, g, err);
    if (r != VS_OK) {
        destroy(&c->base);
        return r;
    }
    *ret = &c->base;
    return VS_OK;
}

const struct vs_backend_kind vs_backend_cpu = {
    .name = "cpu",
    .max_threads = VS_POOL_MAX_THREADS,
    .max_rows = max_rows,
    .page_bytes = page_bytes,
    .kv_bytes = kv_bytes,
    .state_bytes = state_bytes,
    .create = create,
    .describe = describe,
    .free = destroy,
    .memory = memory,
    .step = vs_cpu_step,
    .output = vs_cpu_output,
    .observed = vs_cpu_observed,
    .copy_page = vs_cpu_copy_page,
    .clear_pages = vs_cpu_clear_pages,
    .each = vs_cpu_each,
    .level_parse = level_parse,
    .level_name = level_name,
};
