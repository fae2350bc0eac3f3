/* cpu/backend.c - load and run; see backend.h. lower.c made the program, attention.c has its own part of it. */
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
static void *reserve(size_t n)
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

/* ---- load ---- */

struct load {
    struct vs_cpu *c;
    const struct vs_graph *g;
    const uint8_t *file;
    struct piece { uint32_t tensor; size_t begin, end; } *pieces;
    size_t n_pieces;
    _Atomic size_t next;
    _Atomic uint64_t done;
    uint64_t total;
    vs_progress_fn *progress;
    void *context;
    _Atomic int status;
};

static void load_thread(void *context, unsigned thread)
{
    struct load *l = context;
    for (;;) {
        size_t i = atomic_fetch_add(&l->next, 1);
        if (i >= l->n_pieces || atomic_load(&l->status) != VS_OK)
            return;
        const struct piece *p = &l->pieces[i];
        struct vs_weight *w = &l->c->weights[p->tensor];
        const uint8_t *from = l->file + l->g->tensors[p->tensor].offset;
        uint8_t *to = l->c->weight_memory + (w->matrix.data - l->c->weight_memory);
        uint64_t n;
        if (w->matrix.packed) {
            vs_matrix_pack(&w->matrix, from, to, p->begin, p->end);
            n = (p->end - p->begin) * vs_matrix_panel_bytes(&w->matrix);
        } else {
            memcpy(to + p->begin, from + p->begin, p->end - p->begin);
            n = p->end - p->begin;
        }
        uint64_t done = atomic_fetch_add(&l->done, n) + n;
        if (thread == 0 && l->progress) {
            int r = l->progress(l->context, done, l->total);
            if (r != VS_OK)
                atomic_store(&l->status, r);
        }
    }
}

enum { PIECE_BYTES = 1 << 19 };

static size_t piece_step(const struct vs_weight *w)      /* panels, or bytes when not packed */
{
    if (!w->matrix.packed)
        return PIECE_BYTES;
    size_t panels = PIECE_BYTES / vs_matrix_panel_bytes(&w->matrix);
    return panels ? panels : 1;
}

static size_t piece_end(const struct vs_weight *w)
{
    return w->matrix.packed ? vs_matrix_n_panels(&w->matrix) : vs_matrix_bytes(&w->matrix);
}

/* Copies or packs every tensor in the graph's order, all threads at once. */
int vs_cpu_load(struct vs_cpu *c, const struct vs_graph *g, const uint8_t *file, uint64_t n_file,
                vs_progress_fn *progress, void *context, struct vs_error *err)
{
    (void)n_file;
    struct load l = { .c = c, .g = g, .file = file, .progress = progress, .context = context };
    size_t at = 0, n = 0;
    for (uint32_t i = 0; i < g->n_tensors; i++) {        /* data holds the offset until the memory is there */
        struct vs_weight *w = &c->weights[i];
        size_t bytes = vs_matrix_bytes(&w->matrix);
        w->matrix.data = (const uint8_t *)at;
        at += (bytes + 63 + 64) / 64 * 64;               /* kernels may read a vector past the end */
        l.total += bytes;
        n += (piece_end(w) + piece_step(w) - 1) / piece_step(w);
    }
    c->weight_bytes = at;
    c->weight_memory = reserve(at);
    l.pieces = malloc((n ? n : 1) * sizeof *l.pieces);
    if (!c->weight_memory || !l.pieces) {
        free(l.pieces);
        return vs_error_set(err, VS_E_NOMEM, "model: %zu MB for the weights can't be had", at >> 20);
    }
    for (uint32_t i = 0; i < g->n_tensors; i++) {
        struct vs_weight *w = &c->weights[i];
        w->matrix.data = c->weight_memory + (size_t)w->matrix.data;
        for (size_t begin = 0, end = piece_end(w), step = piece_step(w); begin < end; begin += step)
            l.pieces[l.n_pieces++] = (struct piece){ i, begin, begin + step < end ? begin + step : end };
    }
    vs_pool_run(c->pool, load_thread, &l);
    free(l.pieces);
    if (atomic_load(&l.status) != VS_OK)
        return vs_error_set(err, atomic_load(&l.status), "model: loading was stopped");
    return VS_OK;
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
        c->ropes[r].kind = rope->neox ? VS_ROPE_NEOX : VS_ROPE_NORM;
        c->ropes[r].frequency = malloc(pairs * sizeof(double));
        c->ropes[r].cosine = malloc((size_t)c->config.max_rows * pairs * sizeof(float));
        c->ropes[r].sine = malloc((size_t)c->config.max_rows * pairs * sizeof(float));
        if (!c->ropes[r].frequency || !c->ropes[r].cosine || !c->ropes[r].sine)
            return vs_error_set(err, VS_E_NOMEM, "model: out of memory");
        const float *factors = rope->factors == VS_NONE ? NULL : (const float *)(const void *)c->weights[rope->factors].matrix.data;
        for (uint32_t i = 0; i < pairs; i++) {
            double f = vs_pow64(rope->base, -2.0 * i / rope->n_dims) * rope->freq_scale;
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

int vs_cpu_create(const struct vs_graph *g, const struct vs_cpu_config *config, const uint8_t *file, uint64_t n_file,
                  vs_progress_fn *progress, void *context, struct vs_cpu **ret, struct vs_error *err)
{
    struct vs_cpu *c = calloc(1, sizeof *c);
    if (!c)
        return vs_error_set(err, VS_E_NOMEM, "model: out of memory");
    c->config = *config;
    vs_cpu_ops_init(&c->ops, config->isa);
    vs_kv_layout_init(&c->kv_layout, g, config->kv_type);
    c->n_weights = g->n_tensors;
    c->weights = calloc(g->n_tensors ? g->n_tensors : 1, sizeof *c->weights);
    int r = c->weights ? vs_pool_create(config->n_threads, &c->pool) : VS_E_NOMEM;
    if (r != VS_OK) {
        vs_error_set(err, r, "model: %u threads can't be started", config->n_threads);
        goto out;
    }
    r = describe_weights(c, g, err);
    if (r == VS_OK)
        r = vs_cpu_load(c, g, file, n_file, progress, context, err);
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
    c->max_queries = c->max_group > 48 ? c->max_group : 48 / c->max_group * c->max_group;
    c->scratch_bytes = vs_attention_scratch_bytes(c);
    c->partial_floats = (size_t)8 * c->max_group * g->n_kv_heads * (config->max_positions / VS_SPLIT + 1) * (2 + g->head_dim);
    c->arena = reserve(c->arena_bytes);
    c->scratch = reserve(c->scratch_bytes * config->n_threads);
    c->partial = reserve(c->partial_floats * 4);
    c->kv = reserve(c->kv_layout.page_bytes * config->n_pages);
    c->blocks = malloc(config->max_rows * sizeof *c->blocks);
    c->counters = malloc(c->n_instrs * sizeof *c->counters);
    if (!c->arena || !c->scratch || !c->partial || !c->kv || !c->blocks || !c->counters) {
        r = vs_error_set(err, VS_E_NOMEM, "model: no room for the KV cache (%zu MB) and the step's memory (%zu MB)",
                         c->kv_layout.page_bytes * config->n_pages >> 20, c->arena_bytes >> 20);
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
    release(c->scratch, c->scratch_bytes * c->config.n_threads);
    release(c->partial, c->partial_floats * 4);
    release(c->kv, c->kv_layout.page_bytes * c->config.n_pages);
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
    free(c->counters);
    free(c);
}

/* ---- run: every instruction is a number of tasks that threads take one by one ---- */

enum { ROWS_A_TASK = 8, GLU_COLUMNS = 1024, CHECK_COLUMNS = 16384, GROUP_BYTES = 160 << 10, GROUPS_A_THREAD = 6 };

static uint32_t n_rows(const struct vs_cpu *c, const struct vs_instr *in)
{
    return in->rows == VS_ROWS_STEP ? c->step->n_rows : c->step->n_out;
}

/* Rows in one task: whole activation panels when there are many, so that two threads don't share a cache line. */
static uint32_t rows_a_task(uint32_t n)
{
    return n >= 4 * ROWS_A_TASK ? ROWS_A_TASK : 1;
}

static uint32_t div_up(uint32_t a, uint32_t b)
{
    return (a + b - 1) / b;
}

/* Panels in one task of a matrix: enough tasks to share out, weights that stay in the L2 cache when many rows use them. */
static uint32_t panels_a_task(const struct vs_cpu *c, const struct vs_instr *in)
{
    uint32_t panels = 0;
    size_t widest = 1;
    for (uint32_t i = 0; i < in->n; i++) {
        const struct vs_matrix *w = &c->linears[in->first + i].w;
        panels += (uint32_t)vs_matrix_n_panels(w);
        size_t bytes = w->packed ? vs_matrix_panel_bytes(w) : vs_matrix_row_bytes(w) * VS_PANEL_ROWS;
        widest = bytes > widest ? bytes : widest;
    }
    uint32_t share = div_up(panels, vs_pool_n_threads(c->pool) * GROUPS_A_THREAD);
    uint32_t fit = (uint32_t)(GROUP_BYTES / widest);
    fit = fit ? fit : 1;
    return n_rows(c, in) > VS_ACT_ROWS && share > fit ? fit : share ? share : 1;
}

static uint32_t n_linear_tasks(const struct vs_cpu *c, const struct vs_instr *in)
{
    uint32_t n = 0, step = panels_a_task(c, in);
    for (uint32_t i = 0; i < in->n; i++)
        n += div_up((uint32_t)vs_matrix_n_panels(&c->linears[in->first + i].w), step);
    return n;
}

static uint32_t n_tasks(const struct vs_cpu *c, const struct vs_instr *in)
{
    uint32_t n = n_rows(c, in);
    if (!n)
        return 0;
    switch (in->kind) {
    case VS_I_LINEAR:
        return n_linear_tasks(c, in);
    case VS_I_ATTENTION:
    case VS_I_MERGE:
        return vs_attention_n_tasks(c, in);
    case VS_I_GLU:
        return rows_a_task(n) == 1 ? n * div_up(in->width, GLU_COLUMNS) : div_up(n, ROWS_A_TASK);
    case VS_I_CHECK:
        return n * div_up(in->width, CHECK_COLUMNS);
    default:
        return div_up(n, rows_a_task(n));
    }
}

static struct vs_act *act_at(const struct vs_cpu *c, const struct vs_instr *in, uint32_t row, size_t *ret_stride)
{
    uint32_t n = n_rows(c, in);
    *ret_stride = vs_act_width(n, row);
    return (struct vs_act *)(void *)vs_cpu_at(c, in->act) + vs_act_index(div_up(in->width, 32), row);
}

static void quantize_row(struct vs_cpu *c, const struct vs_instr *in, uint32_t row, const float *x, size_t begin, size_t n)
{
    size_t stride;
    struct vs_act *a = act_at(c, in, row, &stride);
    c->ops.quantize(x + begin, n, a + begin / 32 * stride, stride);
}

static void norm_row(struct vs_cpu *c, const struct vs_instr *in, uint32_t row)
{
    const float *x = vs_cpu_at(c, in->x) + (size_t)row * in->width;
    float *y = vs_cpu_at(c, in->y) + (size_t)row * in->width;
    c->ops.rms_norm(y, x, in->weight, in->width, in->eps);
    if (in->x2 != VS_NONE)
        c->ops.add(y, vs_cpu_at(c, in->x2) + (size_t)row * in->width, y, in->width);
    if (in->act != VS_NONE)
        quantize_row(c, in, row, y, 0, in->width);
}

static void embed_row(struct vs_cpu *c, const struct vs_instr *in, uint32_t row)
{
    float *y = vs_cpu_at(c, in->y) + (size_t)row * in->width;
    vs_matrix_row(&c->weights[in->tensor].matrix, c->step->rows[row].token, y);
    if (in->scale != 1.0f)
        c->ops.scale(y, y, in->scale, in->width);
}

static void rope_row(struct vs_cpu *c, uint32_t row)
{
    for (size_t r = 0; r < c->n_ropes; r++)
        for (uint32_t i = 0, pairs = c->ropes[r].n_pairs; i < pairs; i++) {
            double angle = (double)c->step->rows[row].position * c->ropes[r].frequency[i];
            c->ropes[r].cosine[(size_t)row * pairs + i] = (float)vs_cos64(angle);
            c->ropes[r].sine[(size_t)row * pairs + i] = (float)vs_sin64(angle);
        }
}

static void glu_part(struct vs_cpu *c, const struct vs_instr *in, uint32_t row, size_t begin, size_t n)
{
    size_t at = (size_t)row * in->width;
    float *y = vs_cpu_at(c, in->y) + at;
    c->ops.glu(y + begin, vs_cpu_at(c, in->x) + at + begin, vs_cpu_at(c, in->x2) + at + begin, n, in->activation);
    if (in->act != VS_NONE)
        quantize_row(c, in, row, y, begin, n);
}

static void run_row(struct vs_cpu *c, const struct vs_instr *in, uint32_t row)
{
    size_t w = in->width, at = (size_t)row * w;
    switch (in->kind) {
    case VS_I_ROPE_TABLE: rope_row(c, row); return;
    case VS_I_EMBED:      embed_row(c, in, row); return;
    case VS_I_NORM:       norm_row(c, in, row); return;
    case VS_I_QKV:        vs_attention_write(c, in, row); return;
    case VS_I_GLU:        glu_part(c, in, row, 0, w); return;
    case VS_I_TAKE:
        memcpy(vs_cpu_at(c, in->y) + at, vs_cpu_at(c, in->x) + (size_t)c->step->out[row] * w, w * 4);
        return;
    case VS_I_ACT:
        quantize_row(c, in, row, vs_cpu_at(c, in->x) + at, 0, w);
        return;
    case VS_I_ADD:
        c->ops.add(vs_cpu_at(c, in->y) + at, vs_cpu_at(c, in->x) + at, vs_cpu_at(c, in->x2) + at, w);
        return;
    case VS_I_SCALE:
        c->ops.scale(vs_cpu_at(c, in->y) + at, vs_cpu_at(c, in->x) + at, in->scale, w);
        return;
    case VS_I_SOFTCAP:
        c->ops.softcap(vs_cpu_at(c, in->y) + at, vs_cpu_at(c, in->x) + at, in->cap, w);
        return;
    default:
        assert(!"a row-wise instruction");
    }
}

static void linear_task(struct vs_cpu *c, const struct vs_instr *in, uint32_t task)
{
    uint32_t step = panels_a_task(c, in);
    for (uint32_t i = 0; i < in->n; i++) {
        const struct vs_linear *m = &c->linears[in->first + i];
        uint32_t panels = (uint32_t)vs_matrix_n_panels(&m->w), tasks = div_up(panels, step);
        if (task >= tasks) {
            task -= tasks;
            continue;
        }
        struct vs_matmul job = {
            .w = &m->w, .n = n_rows(c, in), .ldx = in->width, .y = vs_cpu_at(c, m->y), .ldy = m->w.n_rows, .bias = m->bias,
            .x = in->act == VS_NONE ? NULL : (const struct vs_act *)(const void *)vs_cpu_at(c, in->act),
            .xf = in->x == VS_NONE ? NULL : vs_cpu_at(c, in->x),
            .residual = m->residual == VS_NONE ? NULL : vs_cpu_at(c, m->residual),
        };
        uint32_t end = (task + 1) * step;
        c->ops.matmul(&job, task * step, end < panels ? end : panels);
        return;
    }
}

static void run_task(struct vs_cpu *c, const struct vs_instr *in, uint32_t task, unsigned thread)
{
    uint32_t n = n_rows(c, in);
    if (in->kind == VS_I_LINEAR) {
        linear_task(c, in, task);
    } else if (in->kind == VS_I_ATTENTION) {
        vs_attention_task(c, in, task, thread);
    } else if (in->kind == VS_I_MERGE) {
        vs_attention_merge(c, in, task);
    } else if (in->kind == VS_I_CHECK) {
        uint32_t parts = div_up(in->width, CHECK_COLUMNS);
        size_t begin = (size_t)(task % parts) * CHECK_COLUMNS;
        size_t len = in->width - begin < CHECK_COLUMNS ? in->width - begin : CHECK_COLUMNS;
        if (c->ops.has_fault(vs_cpu_at(c, in->x) + (size_t)(task / parts) * in->width + begin, len))
            atomic_store_explicit(&c->fault, 1, memory_order_relaxed);
    } else if (in->kind == VS_I_GLU && rows_a_task(n) == 1) {
        uint32_t parts = div_up(in->width, GLU_COLUMNS);
        size_t begin = (size_t)(task % parts) * GLU_COLUMNS;
        glu_part(c, in, task / parts, begin, in->width - begin < GLU_COLUMNS ? in->width - begin : GLU_COLUMNS);
    } else {
        uint32_t per = rows_a_task(n), end = (task + 1) * per;
        for (uint32_t row = task * per; row < end && row < n; row++)
            run_row(c, in, row);
    }
}

static void run_thread(void *context, unsigned thread)
{
    struct vs_cpu *c = context;
    for (size_t i = 0; i < c->n_instrs; i++) {
        const struct vs_instr *in = &c->instrs[i];
        uint32_t tasks = n_tasks(c, in), task;
        if (!tasks)
            continue;                    /* the same for all threads: nobody waits here */
        while ((task = atomic_fetch_add_explicit(&c->counters[i].next, 1, memory_order_relaxed)) < tasks)
            run_task(c, in, task, thread);
        vs_pool_barrier(c->pool);
    }
}

int vs_cpu_step(struct vs_cpu *c, const struct vs_step *step, const float **ret_logits, struct vs_error *err)
{
    assert(step->n_rows > 0 && step->n_rows <= c->config.max_rows && step->n_out <= c->config.max_out);
    vs_fp_control_set();
    c->step = step;
    for (size_t i = 0; i < c->n_instrs; i++)
        atomic_store_explicit(&c->counters[i].next, 0, memory_order_relaxed);
    atomic_store(&c->fault, 0);
    vs_attention_plan(c);
    vs_pool_run(c->pool, run_thread, c);
    if (atomic_load(&c->fault))
        return vs_error_set(err, VS_E_FAULT, "numeric fault: a logit is NaN or infinite (damaged weights?)");
    *ret_logits = step->n_out ? vs_cpu_at(c, c->logits) : NULL;
    return VS_OK;
}
