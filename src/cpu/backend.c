/* cpu/backend.c - makes and frees a backend; see backend.h. lower.c makes the program, load.c fills the weights, run.c executes. */
#include "cpu/internal.h"

#include "base/num.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static const char *const kv_names[VS_N_KV_TYPES] = { "f16", "f32", "q8_0" };

int vs_kv_type_parse(const char *name)
{
    for (int i = 0; i < VS_N_KV_TYPES; i++)
        if (strcmp(name, kv_names[i]) == 0)
            return i;
    return -1;
}

const char *vs_kv_type_name(enum vs_kv_type type)
{
    return kv_names[type];
}

size_t vs_cpu_page_bytes(const struct vs_graph *g, enum vs_kv_type type)
{
    struct vs_kv_layout l;
    vs_kv_layout_init(&l, g, type);
    return l.page_bytes;
}

size_t vs_cpu_arena_bytes(const struct vs_cpu *c)
{
    return c->arena_bytes;
}

size_t vs_cpu_weight_bytes(const struct vs_cpu *c)
{
    return c->weight_bytes;
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

/* Which tensors are matrices, rows to look up, or plain vectors; checks that we compute with their type. */
static int describe_weights(struct vs_cpu *c, const struct vs_graph *g, struct vs_error *err)
{
    for (size_t i = 0; i < g->n_nodes; i++) {
        const struct vs_node *n = &g->nodes[i];
        if (n->op == VS_OP_LINEAR)
            c->weights[n->tensor[0]].used_as_matrix = true;
    }
    for (uint32_t i = 0; i < g->n_tensors; i++) {
        const struct vs_tensor *t = &g->tensors[i];
        int cls = vs_class_of(t->dtype);
        if (cls < 0)
            return vs_error_set(err, VS_E_UNSUPPORTED, "model: %s: this tensor type can't be computed with", t->name);
        struct vs_matrix *m = &c->weights[i].matrix;
        m->cls = (enum vs_matrix_class)cls;
        m->n_rows = t->n_rows;
        m->n_cols = t->n_cols;
        m->packed = c->ops.packed && c->weights[i].used_as_matrix;
    }
    return VS_OK;
}

/* The program was lowered before the weights had an address: vectors are entered here by tensor number. */
static void bind_weights(struct vs_cpu *c)
{
    for (size_t i = 0; i < c->n_linears; i++)
        c->linears[i].w = c->weights[c->linears[i].tensor].matrix;
}

static int make_ropes(struct vs_cpu *c, const struct vs_graph *g, struct vs_error *err)
{
    c->n_ropes = g->n_ropes;
    for (size_t r = 0; r < g->n_ropes; r++) {
        const struct vs_rope *rope = &g->ropes[r];
        uint32_t pairs = rope->n_dims / 2;
        c->ropes[r].n_pairs = pairs;
        c->ropes[r].magnitude = rope->magnitude;
        c->ropes[r].kind = rope->neox ? VS_ROPE_NEOX : VS_ROPE_NORM;
        c->ropes[r].frequency = malloc(pairs * sizeof(double));
        c->ropes[r].cosine = malloc((size_t)c->config.max_rows * pairs * sizeof(float));
        c->ropes[r].sine = malloc((size_t)c->config.max_rows * pairs * sizeof(float));
        if (!c->ropes[r].frequency || !c->ropes[r].cosine || !c->ropes[r].sine)
            return vs_error_set(err, VS_E_NOMEM, "model: out of memory");
        const float *factors = rope->factors == VS_NONE ? NULL : (const float *)(const void *)c->weights[rope->factors].matrix.data;
        for (uint32_t i = 0; i < pairs; i++) {
            double f = vs_rope_frequency(rope, i);
            if (factors) {
                if (!(factors[i] > 0.0f) || factors[i] > 3e38f)
                    return vs_error_set(err, VS_E_MALFORMED, "model: rope_freqs.weight: factor %u is not a positive number", i);
                f /= (double)factors[i];
            }
            c->ropes[r].frequency[i] = f;
        }
    }
    return VS_OK;
}

int vs_cpu_create(const struct vs_graph *g, const struct vs_cpu_config *config, const struct vs_source *file,
                  vs_progress_fn *progress, void *context, struct vs_cpu **ret, struct vs_error *err)
{
    struct vs_cpu *c = aligned_alloc(64, sizeof *c);     /* its counters have cache lines of their own */
    if (!c)
        return vs_error_set(err, VS_E_NOMEM, "model: out of memory");
    memset(c, 0, sizeof *c);
    c->config = *config;
    vs_cpu_ops_init(&c->ops, config->isa);
    vs_kv_layout_init(&c->kv_layout, g, config->kv_type);
    c->n_weights = g->n_tensors;
    c->weights = calloc(g->n_tensors ? g->n_tensors : 1, sizeof *c->weights);
    int r = c->weights ? vs_pool_create(config->n_threads, &c->pool, err) : vs_error_set(err, VS_E_NOMEM, "model: out of memory");
    if (r != VS_OK)
        goto out;
    r = describe_weights(c, g, err);
    if (r == VS_OK)
        r = vs_cpu_load(c, g, file, progress, context, err);
    if (r != VS_OK)
        goto out;
    for (uint32_t i = 0; i < g->n_tensors; i++)
        if (c->weights[i].matrix.cls == VS_CLASS_F32)
            c->weights[i].vector = (const float *)(const void *)c->weights[i].matrix.data;
    r = vs_cpu_lower(c, g, err);
    if (r == VS_OK)
        r = make_ropes(c, g, err);
    if (r != VS_OK)
        goto out;
    bind_weights(c);
    c->scratch_bytes = vs_attention_scratch_bytes(c);
    c->partial_floats = (size_t)8 * c->max_group * g->n_kv_heads * (config->max_positions / VS_SPLIT + 1) * (2 + g->head_dim);
    c->arena = vs_cpu_reserve(c->arena_bytes);
    vs_cpu_private_plan(c);
    c->private = vs_cpu_reserve(c->private_bytes * config->n_threads);
    c->scratch = vs_cpu_reserve(c->scratch_bytes * config->n_threads);
    c->partial = vs_cpu_reserve(c->partial_floats * 4);
    c->kv_bytes = c->kv_layout.page_bytes * ((config->n_pages + VS_KV_RUN - 1) / VS_KV_RUN * VS_KV_RUN);
    c->kv = vs_cpu_reserve(c->kv_bytes);
    c->blocks = malloc(config->max_rows * sizeof *c->blocks);
    c->n_tasks = calloc(c->n_instrs, sizeof *c->n_tasks);
    c->shares = aligned_alloc(64, config->n_threads * sizeof *c->shares);
    if (c->shares)
        memset(c->shares, 0, config->n_threads * sizeof *c->shares);
    if (!c->arena || !c->private || !c->scratch || !c->partial || !c->kv || !c->blocks || !c->n_tasks || !c->shares) {
        size_t step = c->arena_bytes + (c->private_bytes + c->scratch_bytes) * config->n_threads + c->partial_floats * 4;
        r = vs_error_set(err, VS_E_NOMEM, "model: no room for the KV cache (%zu MB) and the step's memory (%zu MB): a smaller --ctx, "
                         "--prefill-chunk or --threads needs less, so does --kv-type q8_0", c->kv_bytes >> 20, step >> 20);
        goto out;
    }
    *ret = c;
    return VS_OK;
out:
    vs_cpu_free(c);
    return r;
}

void vs_cpu_free(struct vs_cpu *c)
{
    if (!c)
        return;
    vs_pool_free(c->pool);
    release(c->weight_memory, c->weight_bytes);
    release(c->arena, c->arena_bytes);
    release(c->private, c->private_bytes * c->config.n_threads);
    release(c->scratch, c->scratch_bytes * c->config.n_threads);
    release(c->partial, c->partial_floats * 4);
    release(c->kv, c->kv_bytes);
    for (size_t r = 0; r < 2; r++) {
        free(c->ropes[r].frequency);
        free(c->ropes[r].cosine);
        free(c->ropes[r].sine);
    }
    free(c->weights);
    free(c->instrs);
    free(c->linears);
    free(c->buffers);
    free(c->blocks);
    free(c->n_tasks);
    free(c->shares);
    free(c);
}

