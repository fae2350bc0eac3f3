/* cpu/run.c - executes the program: every instruction is a number of tasks that threads take one by one.
 *
 * One word, the cursor, says which instruction is being run, how many tasks it has and which is next; a thread takes a
 * task by adding one to it. Who finishes the last task of an instruction moves the cursor to the next. So an instruction
 * begins when the tasks of the one before are done, not when all threads have arrived: a thread that lost its core
 * holds up the others only while it holds a task, and one that comes late joins at whatever is being run.
 *
 *   cursor = generation | instruction | number of tasks | next task
 *
 * The generation counts steps, so that a thread which slept since it read the cursor can't take a task of another step.
 */
#include "cpu/internal.h"

#include "base/clock.h"
#include "base/num.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
    ROWS_A_TASK = 8, GLU_COLUMNS = 1024, CHECK_COLUMNS = 16384, GROUP_BYTES = 320 << 10, GROUPS_A_THREAD = 6,
    MAX_UNITS = 32,                     /* pairs of gate and up panels in a task; bounds the private results */
    SPINS_TASK = 4000,                  /* pauses before a thread without a task sleeps: about 70 us */
};

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

static uint32_t min_u32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* ---- how many tasks ---- */

static uint32_t n_panels(const struct vs_linear *m)
{
    return (uint32_t)vs_matrix_n_panels(&m->w);
}

static size_t panel_bytes(const struct vs_linear *m)
{
    return m->w.packed ? vs_matrix_panel_bytes(&m->w) : vs_matrix_row_bytes(&m->w) * VS_PANEL_ROWS;
}

/* Units of a matrix in one task, of `units` in all: enough tasks to share out, weights that stay in the L2 cache when
 * many rows use them. */
static uint32_t units_a_task(const struct vs_cpu *c, const struct vs_instr *in, uint32_t units, size_t unit_bytes)
{
    uint32_t share = div_up(units, vs_pool_n_threads(c->pool) * GROUPS_A_THREAD);
    uint32_t fit = (uint32_t)(GROUP_BYTES / unit_bytes);
    fit = fit ? fit : 1;
    return n_rows(c, in) > VS_ACT_ROWS && share > fit ? fit : share;
}

static uint32_t panels_a_task(const struct vs_cpu *c, const struct vs_instr *in)
{
    uint32_t panels = 0;
    size_t widest = 1;
    for (uint32_t i = 0; i < in->n; i++) {
        const struct vs_linear *m = &c->linears[in->first + i];
        panels += n_panels(m);
        widest = panel_bytes(m) > widest ? panel_bytes(m) : widest;
    }
    return units_a_task(c, in, panels, widest);
}

/* GLU: a unit is two panels of each matrix, 32 columns of the result. */
static uint32_t pairs_a_task(const struct vs_cpu *c, const struct vs_instr *in)
{
    const struct vs_linear *gate = &c->linears[in->first];
    return min_u32(units_a_task(c, in, n_panels(gate) / 2, 2 * (panel_bytes(gate) + panel_bytes(gate + 1))), MAX_UNITS);
}

static uint32_t n_linear_tasks(const struct vs_cpu *c, const struct vs_instr *in)
{
    uint32_t n = 0, step;
    switch (in->epilogue) {
    case VS_EPILOGUE_HEADS:
        return in->n_heads + 2 * in->n_kv_heads;
    case VS_EPILOGUE_GLU:
        return div_up(n_panels(&c->linears[in->first]) / 2, pairs_a_task(c, in));
    default:
        step = panels_a_task(c, in);
        for (uint32_t i = 0; i < in->n; i++)
            n += div_up(n_panels(&c->linears[in->first + i]), step);
        return n;
    }
}

static uint32_t count_tasks(const struct vs_cpu *c, const struct vs_instr *in)
{
    uint32_t n = n_rows(c, in);
    if (!n || (in->is_prologue && c->few))
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

/* ---- instructions by rows ---- */

/* Elements [begin, begin + len) of one of n rows to the activations at `act`. */
static void quantize_row(const struct vs_cpu *c, struct vs_act *act, uint32_t n, uint32_t width, uint32_t row, const float *x,
                         size_t begin, size_t len)
{
    uint32_t at = vs_cpu_act_rows(c, row);
    size_t stride = vs_act_width(vs_cpu_act_rows(c, n), at);
    act += vs_act_index(div_up(width, 32), at) + begin / 32 * stride;
    if (c->config.high)
        c->ops.quantize_high(x + begin, len, act, stride);
    else
        c->ops.quantize(x + begin, len, act, stride);
}

void vs_cpu_quantize(const struct vs_cpu *c, uint32_t act, uint32_t n, uint32_t width, uint32_t row, const float *x,
                     size_t begin, size_t len)
{
    quantize_row(c, (struct vs_act *)(void *)vs_cpu_at(c, act), n, width, row, x, begin, len);
}

/* y or act may be where the plan put them or a thread's own. */
static void norm_row(const struct vs_cpu *c, const struct vs_instr *in, uint32_t row, float *y, struct vs_act *act)
{
    const float *x = vs_cpu_at(c, in->x) + (size_t)row * in->width;
    y += (size_t)row * in->width;
    if (in->kind == VS_I_ACT)
        y = vs_cpu_at(c, in->x) + (size_t)row * in->width;
    else
        c->ops.rms_norm(y, x, in->weight, in->width, in->eps);
    if (in->x2 != VS_NONE)
        c->ops.add(y, vs_cpu_at(c, in->x2) + (size_t)row * in->width, y, in->width);
    if (act)
        quantize_row(c, act, n_rows(c, in), in->width, row, y, 0, in->width);
}

static void embed_row(const struct vs_cpu *c, const struct vs_instr *in, uint32_t row)
{
    float *y = vs_cpu_at(c, in->y) + (size_t)row * in->width;
    vs_matrix_row(&c->weights[in->tensor].matrix, c->step->rows[row].token, y);
    if (in->scale != 1.0f)
        c->ops.scale(y, y, in->scale, in->width);
}

static void rope_row(const struct vs_cpu *c, uint32_t row)
{
    for (size_t r = 0; r < c->n_ropes; r++)
        for (uint32_t i = 0, pairs = c->ropes[r].n_pairs; i < pairs; i++) {
            double angle = (double)c->step->rows[row].position * c->ropes[r].frequency[i];
            c->ropes[r].cosine[(size_t)row * pairs + i] = (float)vs_cos64(angle);
            c->ropes[r].sine[(size_t)row * pairs + i] = (float)vs_sin64(angle);
        }
}

static void heads_row(const struct vs_cpu *c, const struct vs_instr *in, uint32_t row)
{
    size_t hd = in->head_dim;
    float *q = vs_cpu_at(c, in->x) + (size_t)row * in->n_heads * hd;
    float *k = vs_cpu_at(c, in->x2) + (size_t)row * in->n_kv_heads * hd;
    float *v = vs_cpu_at(c, in->x3) + (size_t)row * in->n_kv_heads * hd;
    for (uint32_t h = 0; h < in->n_heads; h++)
        vs_attention_head(c, in, row, VS_ROLE_Q, h, q + h * hd);
    for (uint32_t h = 0; h < in->n_kv_heads; h++) {
        vs_attention_head(c, in, row, VS_ROLE_K, h, k + h * hd);
        vs_attention_head(c, in, row, VS_ROLE_V, h, v + h * hd);
    }
}

static void glu_part(const struct vs_cpu *c, const struct vs_instr *in, uint32_t row, size_t begin, size_t n)
{
    size_t at = (size_t)row * in->width;
    float *y = vs_cpu_at(c, in->y) + at;
    c->ops.glu(y + begin, vs_cpu_at(c, in->x) + at + begin, vs_cpu_at(c, in->x2) + at + begin, n, in->activation);
    if (in->act != VS_NONE)
        vs_cpu_quantize(c, in->act, n_rows(c, in), in->width, row, y, begin, n);
}

static void run_row(const struct vs_cpu *c, const struct vs_instr *in, uint32_t row)
{
    size_t w = in->width, at = (size_t)row * w;
    switch (in->kind) {
    case VS_I_ROPE_TABLE: rope_row(c, row); return;
    case VS_I_EMBED:      embed_row(c, in, row); return;
    case VS_I_QKV:        heads_row(c, in, row); return;
    case VS_I_GLU:        glu_part(c, in, row, 0, w); return;
    case VS_I_NORM:
    case VS_I_ACT:
        norm_row(c, in, row, vs_cpu_at(c, in->kind == VS_I_NORM ? in->y : in->x),
                 in->act == VS_NONE ? NULL : (struct vs_act *)(void *)vs_cpu_at(c, in->act));
        return;
    case VS_I_TAKE:
        memcpy(vs_cpu_at(c, in->y) + at, vs_cpu_at(c, in->x) + (size_t)c->step->out[row] * w, w * 4);
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
        assert(!"an instruction by rows");
    }
}

/* ---- matrices ---- */

/* A thread's own memory. */
struct own {
    float *rows;                         /* results of a prologue [few rows, width] */
    struct vs_act *act;                  /* the same, quantised */
    float *glu;                          /* results of gate and up */
    uint32_t made;                       /* the prologue whose results these are, in this step; VS_NONE = none */
};

void vs_cpu_private_plan(struct vs_cpu *c)
{
    size_t width = 0, columns = 0;
    for (size_t i = 0; i < c->n_instrs; i++) {
        const struct vs_instr *in = &c->instrs[i];
        if (in->is_prologue && in->width > width)
            width = in->width;
        if (in->epilogue == VS_EPILOGUE_GLU)
            columns = MAX_UNITS * 2 * VS_PANEL_ROWS;
    }
    c->private_act = (VS_FEW_ROWS * width * sizeof(float) + 63) / 64 * 64;
    c->private_glu = c->private_act + vs_cpu_act_rows(c, VS_FEW_ROWS) * ((width + 31) / 32) * sizeof(struct vs_act);
    c->private_bytes = (c->private_glu + 2 * VS_ACT_ROWS * columns * sizeof(float) + 4095) / 4096 * 4096;
}

/* What the matrices of `in` read; the thread makes it first when that is how this step goes. */
static struct vs_matmul input_of(const struct vs_cpu *c, const struct vs_instr *in, struct own *own)
{
    uint32_t n = n_rows(c, in);
    struct vs_matmul job = {
        .n = n, .ldx = in->width, .high = c->config.high,
        .x = in->act == VS_NONE ? NULL : (const struct vs_act *)(const void *)vs_cpu_at(c, in->act),
        .xf = in->x == VS_NONE ? NULL : vs_cpu_at(c, in->x),
    };
    if (!c->few || in->prologue == VS_NONE)
        return job;
    const struct vs_instr *before = &c->instrs[in->prologue];
    if (own->made != in->prologue)
        for (uint32_t row = 0; row < n; row++)
            norm_row(c, before, row, own->rows, before->act == VS_NONE ? NULL : own->act);
    own->made = in->prologue;
    if (before->kind == VS_I_NORM)
        job.xf = own->rows;
    if (before->act != VS_NONE)
        job.x = own->act;
    return job;
}

/* The job for rows first .. first + 8 alone (or as many as there are); first is a multiple of 8. */
static struct vs_matmul slice_of(const struct vs_matmul *job, size_t first, size_t width)
{
    struct vs_matmul s = *job;
    s.n = job->n - first < VS_ACT_ROWS ? job->n - first : VS_ACT_ROWS;
    s.x = job->x ? job->x + vs_act_index((width + 31) / 32, job->high ? 2 * first : first) : NULL;
    s.xf = job->xf ? job->xf + first * job->ldx : NULL;
    return s;
}

static void point_at(const struct vs_cpu *c, struct vs_matmul *job, const struct vs_linear *m, size_t first)
{
    job->w = &m->w;
    job->bias = m->bias;
    job->ldy = m->w.n_rows;
    job->y = m->y == VS_NONE ? NULL : vs_cpu_at(c, m->y) + first * job->ldy;
    job->residual = m->residual == VS_NONE ? NULL : vs_cpu_at(c, m->residual) + first * job->ldy;
}

static void plain_task(const struct vs_cpu *c, const struct vs_instr *in, struct vs_matmul *job, uint32_t task)
{
    uint32_t step = panels_a_task(c, in);
    for (uint32_t i = 0; i < in->n; i++) {
        const struct vs_linear *m = &c->linears[in->first + i];
        uint32_t tasks = div_up(n_panels(m), step);
        if (task < tasks) {
            point_at(c, job, m, 0);
            c->ops.matmul(job, task * step, min_u32((task + 1) * step, n_panels(m)));
            return;
        }
        task -= tasks;
    }
}

static void glu_task(const struct vs_cpu *c, const struct vs_instr *in, const struct vs_matmul *job, uint32_t task, float *gate)
{
    uint32_t step = pairs_a_task(c, in), width = c->linears[in->first].w.n_rows;
    uint32_t begin = 2 * step * task, end = min_u32(begin + 2 * step, width / VS_PANEL_ROWS);
    size_t column = begin * VS_PANEL_ROWS, columns = (end - begin) * VS_PANEL_ROWS;
    float *up = gate + VS_ACT_ROWS * columns;
    for (size_t first = 0; first < job->n; first += VS_ACT_ROWS) {
        struct vs_matmul s = slice_of(job, first, in->width);
        for (int i = 0; i < 2; i++) {
            point_at(c, &s, &c->linears[in->first + (uint32_t)i], first);
            s.ldy = columns;
            s.y = (i ? up : gate) - column;      /* the kernel stores panel p at y + 16 p */
            c->ops.matmul(&s, begin, end);
        }
        c->ops.glu(gate, gate, up, s.n * columns, in->activation);
        for (size_t row = 0; row < s.n; row++) {
            const float *v = gate + row * columns;
            if (in->act2 != VS_NONE)
                vs_cpu_quantize(c, in->act2, (uint32_t)job->n, width, (uint32_t)(first + row), v - column, column, columns);
            if (in->y != VS_NONE)
                memcpy(vs_cpu_at(c, in->y) + (first + row) * width + column, v, columns * sizeof *v);
        }
    }
}

static void heads_task(const struct vs_cpu *c, const struct vs_instr *in, const struct vs_matmul *job, uint32_t task)
{
    const struct vs_linear *m = &c->linears[in->first];
    uint32_t head = task, hd = in->head_dim, panels = hd / VS_PANEL_ROWS;
    for (; head >= m->w.n_rows / hd; m++)
        head -= m->w.n_rows / hd;
    for (size_t first = 0; first < job->n; first += VS_ACT_ROWS) {
        struct vs_matmul s = slice_of(job, first, in->width);
        point_at(c, &s, m, first);
        c->ops.matmul(&s, head * panels, (head + 1) * panels);
        for (size_t row = 0; row < s.n; row++)
            vs_attention_head(c, in, (uint32_t)(first + row), m->role, head, s.y + row * s.ldy + head * hd);
    }
}

static void linear_task(const struct vs_cpu *c, const struct vs_instr *in, uint32_t task, struct own *own)
{
    struct vs_matmul job = input_of(c, in, own);
    switch (in->epilogue) {
    case VS_EPILOGUE_GLU:   glu_task(c, in, &job, task, own->glu); return;
    case VS_EPILOGUE_HEADS: heads_task(c, in, &job, task); return;
    default:                plain_task(c, in, &job, task); return;
    }
}

static void check_task(struct vs_cpu *c, const struct vs_instr *in, uint32_t task)
{
    uint32_t parts = div_up(in->width, CHECK_COLUMNS);
    size_t begin = (size_t)(task % parts) * CHECK_COLUMNS;
    size_t len = in->width - begin < CHECK_COLUMNS ? in->width - begin : CHECK_COLUMNS;
    if (c->ops.has_fault(vs_cpu_at(c, in->x) + (size_t)(task / parts) * in->width + begin, len))
        atomic_store_explicit(&c->fault, 1, memory_order_relaxed);
}

static void run_task(struct vs_cpu *c, const struct vs_instr *in, uint32_t task, unsigned thread, struct own *own)
{
    uint32_t n = n_rows(c, in);
    if (in->kind == VS_I_LINEAR) {
        linear_task(c, in, task, own);
    } else if (in->kind == VS_I_ATTENTION) {
        vs_attention_task(c, in, task, thread);
    } else if (in->kind == VS_I_MERGE) {
        vs_attention_merge(c, in, task);
    } else if (in->kind == VS_I_CHECK) {
        check_task(c, in, task);
    } else if (in->kind == VS_I_GLU && rows_a_task(n) == 1) {
        uint32_t parts = div_up(in->width, GLU_COLUMNS);
        size_t begin = (size_t)(task % parts) * GLU_COLUMNS;
        glu_part(c, in, task / parts, begin, in->width - begin < GLU_COLUMNS ? in->width - begin : GLU_COLUMNS);
    } else {
        uint32_t per = rows_a_task(n), end = min_u32((task + 1) * per, n);
        for (uint32_t row = task * per; row < end; row++)
            run_row(c, in, row);
    }
}

/* ---- the cursor ---- */

enum { TASK_BITS = 20, INSTR_BITS = 12, GENERATION_BITS = 12 };
_Static_assert(2 * TASK_BITS + INSTR_BITS + GENERATION_BITS == 64, "one word");

static uint32_t field(uint64_t cursor, int shift, int bits)
{
    return (uint32_t)(cursor >> shift) & ((1u << bits) - 1);
}

static uint32_t next_of(uint64_t c) { return field(c, 0, TASK_BITS); }
static uint32_t tasks_of(uint64_t c) { return field(c, TASK_BITS, TASK_BITS); }
static uint32_t instr_of(uint64_t c) { return field(c, 2 * TASK_BITS, INSTR_BITS); }
static uint32_t generation_of(uint64_t c) { return field(c, 2 * TASK_BITS + INSTR_BITS, GENERATION_BITS); }

/* To the first instruction from `instr` on that has tasks, or to the end; at once to the end when the step was stopped. */
static void move_to(struct vs_cpu *c, uint32_t generation, uint32_t instr)
{
    if (atomic_load_explicit(&c->stopped, memory_order_relaxed) != VS_OK)
        instr = (uint32_t)c->n_instrs;
    while (instr < c->n_instrs && !c->n_tasks[instr])
        instr++;
    uint64_t tasks = instr < c->n_instrs ? c->n_tasks[instr] : 0;
    atomic_store_explicit(&c->n_done, 0, memory_order_relaxed);
    atomic_store_explicit(&c->cursor, (uint64_t)generation << (2 * TASK_BITS + INSTR_BITS) | (uint64_t)instr << 2 * TASK_BITS
                          | tasks << TASK_BITS, memory_order_release);
}

enum { CHECK_NS = 100000000 };

/* Thread 0, between tasks: is anybody still waiting for this step? */
static void ask(struct vs_cpu *c)
{
    uint64_t now = vs_clock_ns();
    if (now < c->check_ns)
        return;
    int r = c->step->check(c->step->context);
    if (r != VS_OK)
        atomic_store_explicit(&c->stopped, r, memory_order_relaxed);
    c->check_ns = now + CHECK_NS;
}

static void run_thread(void *context, unsigned thread)
{
    struct vs_cpu *c = context;
    uint8_t *piece = c->private + thread * c->private_bytes;
    struct own own = { (float *)(void *)piece, (struct vs_act *)(void *)(piece + c->private_act),
                       (float *)(void *)(piece + c->private_glu), VS_NONE };
    uint32_t generation = generation_of(atomic_load_explicit(&c->cursor, memory_order_acquire));
    for (;;) {
        uint32_t seen = atomic_load_explicit(&c->moved.changed, memory_order_acquire);
        uint64_t at = atomic_load_explicit(&c->cursor, memory_order_acquire);
        uint32_t task = next_of(at), instr = instr_of(at);
        if (instr >= c->n_instrs || generation_of(at) != generation)
            return;
        if (task >= tasks_of(at)) {
            vs_gate_wait(&c->moved, seen, SPINS_TASK);
            continue;
        }
        if (!atomic_compare_exchange_weak_explicit(&c->cursor, &at, at + 1, memory_order_acquire, memory_order_relaxed))
            continue;
        run_task(c, &c->instrs[instr], task, thread, &own);
        if (thread == 0 && c->step->check)
            ask(c);
        if (atomic_fetch_add_explicit(&c->n_done, 1, memory_order_acq_rel) + 1 == tasks_of(at)) {
            move_to(c, generation, instr + 1);
            vs_gate_open(&c->moved);
        }
    }
}

static void count_all(struct vs_cpu *c)
{
    struct vs_tasks_key key = { c->step->n_rows, c->step->n_out, c->n_blocks, c->n_splits, c->n_parts, c->split_attention };
    struct vs_tasks_key *old = &c->tasks_key;
    if (old->n_rows == key.n_rows && old->n_out == key.n_out && old->n_blocks == key.n_blocks && old->n_splits == key.n_splits
        && old->n_parts == key.n_parts && old->split == key.split)
        return;
    *old = key;
    for (size_t i = 0; i < c->n_instrs; i++) {
        c->n_tasks[i] = count_tasks(c, &c->instrs[i]);
        assert(c->n_tasks[i] < 1u << TASK_BITS);
    }
}

int vs_cpu_step(struct vs_cpu *c, const struct vs_step *step, const float **ret_logits, struct vs_error *err)
{
    assert(step->n_rows > 0 && step->n_rows <= c->config.max_rows && step->n_out <= c->config.max_out);
    assert(c->n_instrs < 1u << INSTR_BITS);
    vs_fp_control_set();
    c->step = step;
    c->few = step->n_rows <= VS_FEW_ROWS;
    atomic_store(&c->fault, 0);
    atomic_store(&c->stopped, VS_OK);
    c->check_ns = step->check ? vs_clock_ns() + CHECK_NS : 0;
    vs_attention_plan(c);
    count_all(c);
    uint32_t generation = generation_of(atomic_load(&c->cursor)) + 1;
    if (generation == 1u << GENERATION_BITS) {           /* nobody may still hold a cursor of the first round */
        vs_pool_join(c->pool);
        generation = 0;
    }
    move_to(c, generation, 0);
    vs_pool_run(c->pool, run_thread, c);
    int stopped = atomic_load(&c->stopped);
    if (stopped != VS_OK)
        return vs_error_set(err, stopped, "%s", vs_status_text(stopped));
    if (atomic_load(&c->fault))
        return vs_error_set(err, VS_E_FAULT, "numeric fault: a logit is NaN or infinite (damaged weights?)");
    *ret_logits = step->n_out ? vs_cpu_at(c, c->logits) : NULL;
    return VS_OK;
}
