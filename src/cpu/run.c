/* cpu/run.c - executes the program: every instruction is a number of tasks, shared out among the threads.
 *
 * One word, the cursor, says which instruction is being run and how many tasks it has. Each thread has a share of them, one run of
 * consecutive tasks, and takes it task by task; then it takes what others have left of theirs. Who finishes the last task of an
 * instruction moves the cursor to the next. So an instruction begins when the tasks of the one before are done, not when all
 * threads have arrived: a thread that lost its core holds up the others only while it holds a task, and one that comes late joins
 * at whatever is being run. Shares matter where weights stream from memory: the processor's prefetcher runs ahead of a stream, in
 * vain where it ends, and a word that one thread alone changes stays in its cache.
 *
 *   cursor   = tag | number of tasks              tag = generation | instruction, which only grows
 *   taken[t] = tag | tasks of thread t's share that are taken; of an older tag: none yet
 *
 * The generation counts steps. A thread that slept since it read the cursor finds the share of a finished instruction taken, or the
 * word with a newer tag, and takes nothing.
 */
#include "cpu/internal.h"

#include "base/clock.h"
#include "base/num.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
    ROWS_A_TASK = 8, ROWS_A_HEAD = 64, GLU_COLUMNS = 1024, LOGIT_COLUMNS = 16384, GROUP_BYTES = 320 << 10, TASKS_A_SHARE = 4,
    SPINS_TASK = 4000,                  /* pauses before a thread without a task sleeps: about 70 us */
};

static uint32_t n_rows(const struct vs_cpu *c, const struct vs_instr *in)
{
    return in->rows == VS_ROWS_STEP ? c->run.step->n_rows : c->run.step->n_out;
}

uint32_t vs_cpu_n_rows(const struct vs_cpu *c, const struct vs_instr *in)
{
    return n_rows(c, in);
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

/* Where part i of n begins. */
static uint32_t part_of(uint32_t whole, uint32_t i, uint32_t n)
{
    return (uint32_t)((uint64_t)whole * i / n);
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

/* What a group of matrices is shared out in: heads, pairs of gate and up panels (32 columns of the result), or panels. */
static uint32_t n_units(const struct vs_cpu *c, const struct vs_instr *in)
{
    const struct vs_linear *m = &c->program.linears[in->first];
    uint32_t panels = 0;
    if (in->epilogue == VS_EPILOGUE_HEADS)
        return in->n_heads + 2 * in->n_kv_heads;
    if (in->epilogue == VS_EPILOGUE_GLU)
        return n_panels(m) / 2;
    for (uint32_t i = 0; i < in->n; i++)
        panels += n_panels(m + i);
    return panels;
}

/* Of weights: a pair of gate and up panels, or the widest panel. */
static size_t unit_bytes(const struct vs_cpu *c, const struct vs_instr *in)
{
    const struct vs_linear *m = &c->program.linears[in->first];
    size_t widest = panel_bytes(m);
    if (in->epilogue == VS_EPILOGUE_GLU)
        return 2 * (panel_bytes(m) + panel_bytes(m + 1));
    for (uint32_t i = 1; i < in->n && in->epilogue == VS_EPILOGUE_NONE; i++)
        widest = panel_bytes(m + i) > widest ? panel_bytes(m + i) : widest;
    return widest;
}

/* With few rows a thread's share is read from memory once, in TASKS_A_SHARE parts that others can take over. With many, weights
 * stay in the L2 cache while all rows use them. */
uint32_t vs_cpu_share_out(const struct vs_cpu *c, uint32_t n, uint32_t units, size_t unit_bytes)
{
    uint32_t tasks = c->config.n_threads * TASKS_A_SHARE;
    size_t groups = unit_bytes * units / GROUP_BYTES;
    if (vs_cpu_act_rows(c, n) > VS_ACT_ROWS && groups > tasks)
        tasks = (uint32_t)groups;
    return min_u32(tasks, units);
}

/* Outputs of the step. */
static unsigned wanted(const struct vs_cpu *c)
{
    return c->run.step->outputs ? c->run.step->outputs : 1u << VS_OUTPUT_LOGITS;
}

static enum vs_side side_of(const struct vs_step *step)
{
    return step->source ? VS_SIDE_SOURCE : VS_SIDE_ANSWER;
}

static uint32_t count_tasks(const struct vs_cpu *c, const struct vs_instr *in)
{
    uint32_t n = n_rows(c, in);
    if (!n || !(in->sides & side_of(c->run.step)) || !(in->outputs & wanted(c))
        || (in->is_prologue && c->run.few && !(in->yields & wanted(c)))
        || (in->adapters && !(in->adapters & c->run.adapters)))
        return 0;
    switch (in->kind) {
    case VS_I_BY_HEADS:
        return in->n * div_up(n, ROWS_A_HEAD);
    case VS_I_LINEAR:
        return vs_cpu_share_out(c, n, n_units(c, in), unit_bytes(c, in));
    case VS_I_ATTENTION:
    case VS_I_MERGE:
        return vs_attention_n_tasks(c, in);
    case VS_I_CONV:
    case VS_I_SCAN_HEADS:
    case VS_I_SCAN:
    case VS_I_DELTA:
    case VS_I_SHIFT:
    case VS_I_WKV6:
    case VS_I_WKV7:
        return vs_state_n_tasks(c, in);
    case VS_I_GLU:
        return rows_a_task(n) == 1 ? n * div_up(in->width, GLU_COLUMNS) : div_up(n, ROWS_A_TASK);
    case VS_I_OBSERVE:
        return div_up(in->width, VS_OBSERVE_COLUMNS);
    case VS_I_SOFTCAP:
    case VS_I_CHECK:
        return n * div_up(in->width, LOGIT_COLUMNS);
    case VS_I_ROUTE:
    case VS_I_GROUP:
    case VS_I_GATHER:
    case VS_I_EXPERTS:
    case VS_I_COMBINE:
        return vs_experts_n_tasks(c, in);
    default:
        return div_up(n, rows_a_task(n));
    }
}

/* ---- instructions by rows ---- */

/* Elements [begin, begin + len) of one of n rows to the activations at `act`. */
void vs_cpu_quantize_to(const struct vs_cpu *c, struct vs_act *act, uint32_t n, uint32_t width, uint32_t row, const float *x,
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
    vs_cpu_quantize_to(c, (struct vs_act *)(void *)vs_cpu_at(c, act), n, width, row, x, begin, len);
}

/* Each of the parts that are normed apart. */
static void norm_parts(const struct vs_cpu *c, const struct vs_instr *in, float *y, const float *x)
{
    size_t n = in->n_groups ? in->width / in->n_groups : in->width;
    for (size_t at = 0; at < in->width; at += n) {
        size_t own = in->one_weight ? 0 : at;
        const float *weight = in->weight ? in->weight + own : NULL;
        if (in->is_layer_norm)
            c->ops.layer_norm(y + at, x + at, weight, in->bias ? in->bias + own : NULL, n, in->eps);
        else
            c->ops.rms_norm(y + at, x + at, weight, n, in->eps);
    }
}

/* y or act may be where the plan put them or a thread's own. */
static void norm_row(const struct vs_cpu *c, const struct vs_instr *in, uint32_t row, float *y, struct vs_act *act)
{
    const float *x = vs_cpu_at(c, in->x) + (size_t)row * in->width;
    y += (size_t)row * in->width;
    if (in->kind == VS_I_ACT)
        y = vs_cpu_at(c, in->x) + (size_t)row * in->width;
    else
        norm_parts(c, in, y, x);
    if (in->x2 != VS_NONE)
        c->ops.add(y, vs_cpu_at(c, in->x2) + (size_t)row * in->width, y, in->width);
    if (act)
        vs_cpu_quantize_to(c, act, n_rows(c, in), in->width, row, y, 0, in->width);
}

static void embed_row(const struct vs_cpu *c, const struct vs_instr *in, uint32_t row)
{
    float *y = vs_cpu_at(c, in->y) + (size_t)row * in->width;
    vs_matrix_row(&c->memory.weights[in->tensor].matrix, c->run.step->rows[row].token, y);
    if (in->scale != 1.0f)
        c->ops.scale(y, y, in->scale, in->width);
}

static void position_row(const struct vs_cpu *c, const struct vs_instr *in, uint32_t row)
{
    size_t at = (size_t)row * in->width;
    float *y = vs_cpu_at(c, in->y) + at;
    vs_matrix_row(&c->memory.weights[in->tensor].matrix, c->run.step->rows[row].position, y);
    c->ops.add(y, vs_cpu_at(c, in->x) + at, y, in->width);
}

static void rope_row(const struct vs_cpu *c, uint32_t row)
{
    for (size_t r = 0; r < c->program.n_ropes; r++)
        for (uint32_t i = 0, pairs = c->program.ropes[r].n_pairs; i < pairs; i++) {
            double angle = (double)c->run.step->rows[row].position * c->program.ropes[r].frequency[i];
            c->program.ropes[r].cosine[(size_t)row * pairs + i] = (float)(vs_cos64(angle) * c->program.ropes[r].magnitude);
            c->program.ropes[r].sine[(size_t)row * pairs + i] = (float)(vs_sin64(angle) * c->program.ropes[r].magnitude);
        }
}

static void heads_row(const struct vs_cpu *c, const struct vs_instr *in, uint32_t row)
{
    size_t hd = in->head_dim;
    for (uint32_t h = 0; h < in->n_heads; h++)
        vs_attention_head(c, in, row, VS_ROLE_Q, h, vs_cpu_at(c, in->x) + ((size_t)row * in->n_heads + h) * hd);
    if (in->x2 == VS_NONE)
        return;
    float *k = vs_cpu_at(c, in->x2) + (size_t)row * in->n_kv_heads * hd;
    float *v = vs_cpu_at(c, in->x3) + (size_t)row * in->n_kv_heads * in->value_dim;
    for (uint32_t h = 0; h < in->n_kv_heads; h++) {
        vs_attention_head(c, in, row, VS_ROLE_K, h, k + h * hd);
        vs_attention_head(c, in, row, VS_ROLE_V, h, v + h * in->value_dim);
    }
}

/* NaN stays NaN. */
static void relu(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] < 0 ? 0 : x[i];
}

/* act(x) * up, or act(x) where up is NULL: times 1, which changes no bit. */
void vs_cpu_activate(const struct vs_cpu *c, float *y, const float *x, const float *up, size_t n, enum vs_activation act)
{
    static const float ones[] = { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                                  1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 };
    enum { N_ONES = sizeof ones / sizeof *ones };
    if (act == VS_ACT_SIGMOID) {
        c->ops.sigmoid(y, x, n);
        if (up)
            c->ops.mul(y, y, up, n);
        return;
    }
    if (act == VS_ACT_NONE) {            /* with a second value */
        c->ops.mul(y, x, up, n);
        return;
    }
    if (act == VS_ACT_SOFTPLUS) {        /* the same */
        c->ops.softplus(y, x, n);
        c->ops.mul(y, y, up, n);
        return;
    }
    if (act == VS_ACT_RELU) {
        relu(y, x, n);
        if (up)
            c->ops.mul(y, y, up, n);
        return;
    }
    if (act == VS_ACT_RELU2) {
        c->ops.relu2(y, x, n);
        if (up)
            c->ops.mul(y, y, up, n);
        return;
    }
    for (size_t i = 0, some; i < n; i += some) {
        some = up || n - i < N_ONES ? n - i : N_ONES;
        c->ops.glu(y + i, x + i, up ? up + i : ones, some, act);
    }
}

/* NaN stays NaN. */
static void clamp_row(float *y, const float *x, float limit, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] > limit ? limit : x[i] < -limit ? -limit : x[i];
}

/* act(x), at most the limit, times up, which is within it to both sides; y may be x. */
void vs_cpu_activate_within(const struct vs_cpu *c, float *y, const float *x, const float *up, size_t n, enum vs_activation act,
                            float limit)
{
    enum { SOME = 256 };
    float within[SOME];
    for (size_t i = 0, some; i < n; i += some) {
        some = n - i < SOME ? n - i : SOME;
        clamp_row(within, up + i, limit, some);
        vs_cpu_activate(c, y + i, x + i, NULL, some, act);
        for (size_t k = i; k < i + some; k++)
            y[k] = y[k] > limit ? limit : y[k];
        c->ops.mul(y + i, y + i, within, some);
    }
}

static void glu_part(const struct vs_cpu *c, const struct vs_instr *in, uint32_t row, size_t begin, size_t n)
{
    size_t at = (size_t)row * in->width;
    float *y = vs_cpu_at(c, in->y) + at;
    const float *x = vs_cpu_at(c, in->x) + at + begin, *up = in->x2 == VS_NONE ? NULL : vs_cpu_at(c, in->x2) + at + begin;
    if (in->activation == VS_ACT_XIELU)
        c->ops.xielu(y + begin, x, n, in->xielu);
    else if (in->scale > 0)
        vs_cpu_activate_within(c, y + begin, x, up, n, in->activation, in->scale);
    else
        vs_cpu_activate(c, y + begin, x, up, n, in->activation);
    if (in->act != VS_NONE)
        vs_cpu_quantize(c, in->act, n_rows(c, in), in->width, row, y, begin, n);
}

static void gate_row(const struct vs_cpu *c, const struct vs_instr *in, uint32_t row)
{
    size_t at = (size_t)row * in->width, part = in->width / in->n_groups;
    float *y = vs_cpu_at(c, in->y) + at;
    const float *x = vs_cpu_at(c, in->x) + at, *gate = vs_cpu_at(c, in->x2) + (size_t)row * in->n_groups;
    for (size_t k = 0; k < in->n_groups; k++) {
        float s = in->activation == VS_ACT_SOFTPLUS ? vs_softplusf(gate[k]) : vs_sigmoidf(gate[k]);
        c->ops.scale(y + k * part, x + k * part, s, part);
    }
    if (in->x3 != VS_NONE)
        c->ops.add(y, vs_cpu_at(c, in->x3) + at, y, in->width);
}

static void join_row(const struct vs_cpu *c, const struct vs_instr *in, uint32_t row)
{
    size_t part = in->width / in->n_groups, first = in->head_dim, rest = part - first;
    float *y = vs_cpu_at(c, in->y) + (size_t)row * in->width;
    const float *x = vs_cpu_at(c, in->x) + (size_t)row * in->n_groups * first;
    const float *x2 = vs_cpu_at(c, in->x2) + (size_t)row * in->n * rest;
    for (size_t k = 0; k < in->n_groups; k++) {
        memcpy(y + k * part, x + k * first, first * sizeof *y);
        memcpy(y + k * part + first, x2 + (in->n > 1 ? k : 0) * rest, rest * sizeof *y);
    }
}

/* Streams: docs/NUMERICS.md, section 14 */
static void streams_row(const struct vs_cpu *c, const struct vs_instr *in, uint32_t row)
{
    size_t part = in->width / in->n_groups, at = (size_t)row * in->width;
    float *y = vs_cpu_at(c, in->y) + at;
    const float *by = in->x2 == VS_NONE ? NULL : vs_cpu_at(c, in->x2) + (size_t)row * in->n_groups * in->n;
    memcpy(y, vs_cpu_at(c, in->x) + at, in->width * sizeof *y);
    for (size_t k = in->first; k < in->n_groups; k++)
        for (size_t j = 0; j < in->n; j++)
            c->ops.add_scaled(y + k * part, vs_cpu_at(c, in->x3) + ((size_t)row * in->n + j) * part,
                              (by ? by[k * in->n + j] : 0.0f) + in->scale, part);
}

/* The mean of squares, as the norms compute it. */
static double mean_square(const float *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return sum / (double)n;
}

static void match_row(const struct vs_cpu *c, const struct vs_instr *in, uint32_t row)
{
    size_t at = (size_t)row * in->width;
    const float *x = vs_cpu_at(c, in->x) + at;
    double own = mean_square(x, in->width), other = mean_square(vs_cpu_at(c, in->x2) + at, in->width);
    own = own > (double)in->eps ? own : own >= 0 ? (double)in->eps : own;       /* NaN stays NaN */
    c->ops.scale(vs_cpu_at(c, in->y) + at, x, vs_sqrtf((float)(other / own)), in->width);
}

/* A text's rows follow each other, from position 0 on. */
static void mean_row(const struct vs_cpu *c, const struct vs_instr *in, uint32_t row)
{
    const struct vs_step *s = c->run.step;
    size_t n = in->width, at = (size_t)row * n;
    const float *x = vs_cpu_at(c, in->x) + at;
    float *y = vs_cpu_at(c, in->y) + at;
    uint32_t rows = 1;
    bool is_first = s->rows[s->out[row]].position == 0;
    while (is_first && row + rows < s->n_out && s->rows[s->out[row + rows]].position == rows)
        rows++;
    for (size_t i = 0; i < n; i++) {
        double sum = 0;
        for (uint32_t k = 0; k < rows; k++)
            sum += (double)x[k * n + i];
        y[i] = (float)(sum / rows);
    }
}

static void sparse_row(const struct vs_cpu *c, const struct vs_instr *in, uint32_t row)
{
    size_t n = in->width, at = (size_t)row * n;
    const float *x = vs_cpu_at(c, in->x) + at;
    float *y = vs_cpu_at(c, in->y) + at;
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i];
    double mean = sum / (double)n;
    for (size_t i = 0; i < n; i++)
        squares += ((double)x[i] - mean) * ((double)x[i] - mean);
    float above = vs_fmaf(in->scale, vs_sqrtf((float)(squares / (double)(n > 1 ? n - 1 : 1))), (float)mean);
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] - above;
    relu(y, y, n);
}

static void run_row(const struct vs_cpu *c, const struct vs_instr *in, uint32_t row)
{
    size_t w = in->width, at = (size_t)row * w;
    switch (in->kind) {
    case VS_I_ROPE_TABLE: rope_row(c, row); return;
    case VS_I_EMBED:      embed_row(c, in, row); return;
    case VS_I_POSITION:   position_row(c, in, row); return;
    case VS_I_QKV:        heads_row(c, in, row); return;
    case VS_I_GATE:       gate_row(c, in, row); return;
    case VS_I_GLU:        glu_part(c, in, row, 0, w); return;
    case VS_I_NORM:
    case VS_I_ACT:
        norm_row(c, in, row, vs_cpu_at(c, in->kind == VS_I_NORM ? in->y : in->x),
                 in->act == VS_NONE ? NULL : (struct vs_act *)(void *)vs_cpu_at(c, in->act));
        return;
    case VS_I_PICK:
        for (size_t k = 0, n = w / in->n_groups, from = in->head_dim; k < in->n_groups; k++)
            memcpy(vs_cpu_at(c, in->y) + at + k * n, vs_cpu_at(c, in->x) + ((size_t)row * in->n_groups + k) * from + in->first,
                   n * sizeof(float));
        return;
    case VS_I_JOIN:       join_row(c, in, row); return;
    case VS_I_STREAMS:    streams_row(c, in, row); return;
    case VS_I_MATCH:      match_row(c, in, row); return;
    case VS_I_SPARSE:     sparse_row(c, in, row); return;
    case VS_I_MEAN:       mean_row(c, in, row); return;
    case VS_I_TAKE:
        memcpy(vs_cpu_at(c, in->y) + at, vs_cpu_at(c, in->x) + (size_t)c->run.step->out[row] * w, w * 4);
        return;
    case VS_I_CLAMP:
        clamp_row(vs_cpu_at(c, in->y) + at, vs_cpu_at(c, in->x) + at, in->scale, w);
        return;
    case VS_I_ADD:
        c->ops.add(vs_cpu_at(c, in->y) + at, vs_cpu_at(c, in->x) + at, vs_cpu_at(c, in->x2) + at, w);
        return;
    case VS_I_SCALE:
        if (in->weight2 && !in->one_weight)
            c->ops.mul(vs_cpu_at(c, in->y) + at, vs_cpu_at(c, in->x) + at, in->weight2, w);
        else
            c->ops.scale(vs_cpu_at(c, in->y) + at, vs_cpu_at(c, in->x) + at, in->weight2 ? in->weight2[0] : in->scale, w);
        if (in->weight)
            c->ops.add(vs_cpu_at(c, in->y) + at, vs_cpu_at(c, in->y) + at, in->weight, w);
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
    float *down;                         /* what experts gave */
    struct vs_act *head;                 /* what the matrix of a head reads */
    uint32_t made;                       /* the prologue whose results these are, in this step; VS_NONE = none */
};

void vs_cpu_private_plan(struct vs_cpu *c)
{
    size_t width = 0, columns = 0, down = 0, head = 0;
    for (size_t i = 0; i < c->program.n_instrs; i++) {
        const struct vs_instr *in = &c->program.instrs[i];
        if (in->is_prologue && in->width > width)
            width = in->width;
        if (in->epilogue == VS_EPILOGUE_GLU || in->kind == VS_I_EXPERTS)
            columns = VS_GLU_UNITS * 2 * VS_PANEL_ROWS;
        if (in->kind == VS_I_COMBINE && vs_experts_down_bytes(c, in) > down)
            down = vs_experts_down_bytes(c, in);
        if (in->kind == VS_I_BY_HEADS && in->width / in->n > head)
            head = in->width / in->n;
    }
    c->memory.private_act = (VS_FEW_ROWS * width * sizeof(float) + 63) / 64 * 64;
    c->memory.private_glu = c->memory.private_act + vs_cpu_act_rows(c, VS_FEW_ROWS) * ((width + 31) / 32) * sizeof(struct vs_act);
    c->memory.private_down = c->memory.private_glu + 2 * VS_ACT_ROWS * columns * sizeof(float);
    c->memory.private_heads = (c->memory.private_down + down + 63) / 64 * 64;
    head = vs_cpu_act_rows(c, VS_ACT_ROWS) * ((head + 31) / 32) * sizeof(struct vs_act);
    c->memory.private_bytes = (c->memory.private_heads + head + 4095) / 4096 * 4096;
}

/* What the matrices of `in` read; the thread makes it first when that is how this step goes. */
static struct vs_matmul input_of(const struct vs_cpu *c, const struct vs_instr *in, struct own *own)
{
    uint32_t n = n_rows(c, in);
    struct vs_matmul job = {
        .n = n, .ldx = in->width, .high = c->config.high, .prefetch = c->ops.prefetch,
        .x = in->act == VS_NONE ? NULL : (const struct vs_act *)(const void *)vs_cpu_at(c, in->act),
        .xf = in->x == VS_NONE ? NULL : vs_cpu_at(c, in->x),
    };
    if (!c->run.few || in->prologue == VS_NONE)
        return job;
    const struct vs_instr *before = &c->program.instrs[in->prologue];
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

/* The job for rows first .. first + VS_MANY_ROWS alone (or as many as there are); first is a multiple of that. */
static struct vs_matmul slice_of(const struct vs_matmul *job, size_t first, size_t width)
{
    struct vs_matmul s = *job;
    s.n = job->n - first < VS_MANY_ROWS ? job->n - first : VS_MANY_ROWS;
    s.x = job->x ? job->x + vs_act_index((width + 31) / 32, job->high ? 2 * first : first) : NULL;
    s.xf = job->xf ? job->xf + first * job->ldx : NULL;
    s.cached = first > 0;
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

/* The scale that a row of the instruction has for an adapter. */
static float scale_of(const struct vs_cpu *c, const struct vs_instr *in, uint32_t row, uint32_t adapter)
{
    const struct vs_row *r = &c->run.step->rows[in->rows == VS_ROWS_STEP ? row : c->run.step->out[row]];
    return r->adapters ? r->adapters[adapter] : 0;
}

/* What adapters add to panels [begin, end) of a matrix for n rows from `first` on; column j of row `first` is y[j]. */
static void adapt_panels(const struct vs_cpu *c, const struct vs_instr *in, const struct vs_linear *m, size_t first, size_t n,
                         float *y, size_t ldy, uint32_t begin, uint32_t end)
{
    enum { PANELS = 8, COLUMNS = PANELS * VS_PANEL_ROWS };
    float t[VS_ACT_ROWS * COLUMNS], s[VS_ACT_ROWS];
    for (uint32_t k = 0; k < m->n_adapts; k++) {
        const struct vs_adapted *a = &c->program.adapted[m->first_adapt + k];
        for (size_t at = 0; at < n; at += VS_ACT_ROWS) {
            size_t some = n - at < VS_ACT_ROWS ? n - at : VS_ACT_ROWS;
            bool any = false;
            for (size_t i = 0; i < some; i++) {
                s[i] = scale_of(c, in, (uint32_t)(first + at + i), a->adapter);
                any |= s[i] != 0;
            }
            for (uint32_t p = begin; p < end && any; p += PANELS) {
                uint32_t stop = min_u32(p + PANELS, end), column = p * VS_PANEL_ROWS;
                size_t columns = min_u32(stop * VS_PANEL_ROWS, a->up.n_rows) - column;
                struct vs_matmul job = { .w = &a->up, .n = some, .ldx = a->up.n_cols, .ldy = COLUMNS, .prefetch = c->ops.prefetch,
                                         .xf = vs_cpu_at(c, a->down) + (first + at) * a->up.n_cols, .y = t - column };
                c->ops.matmul(&job, p, stop);
                for (size_t i = 0; i < some; i++) {
                    if (s[i] == 0)       /* a row without the adapter keeps its bits */
                        continue;
                    c->ops.scale(t + i * COLUMNS, t + i * COLUMNS, s[i] * a->factor, columns);
                    float *to = y + (at + i) * ldy + column;
                    c->ops.add(to, to, t + i * COLUMNS, columns);
                }
            }
        }
    }
}

/* Panels [begin, end) of all matrices, one after the other. */
static void plain_units(const struct vs_cpu *c, const struct vs_instr *in, struct vs_matmul *job, uint32_t begin, uint32_t end)
{
    for (uint32_t i = 0, first = 0; i < in->n; i++) {
        const struct vs_linear *m = &c->program.linears[in->first + i];
        uint32_t after = first + n_panels(m);
        if (begin < after && end > first) {
            point_at(c, job, m, 0);
            uint32_t from = begin > first ? begin - first : 0, to = min_u32(end, after) - first;
            c->ops.matmul(job, from, to);
            if (m->n_adapts)
                adapt_panels(c, in, m, 0, job->n, job->y, job->ldy, from, to);
        }
        first = after;
    }
}

static void glu_units(const struct vs_cpu *c, const struct vs_instr *in, const struct vs_matmul *job, uint32_t begin, uint32_t end,
                      float *gate)
{
    uint32_t width = c->program.linears[in->first].w.n_rows;
    size_t column = 2 * VS_PANEL_ROWS * begin, columns = 2 * VS_PANEL_ROWS * (end - begin);
    float *up = gate + (job->n < VS_MANY_ROWS ? job->n : VS_MANY_ROWS) * columns;
    for (size_t first = 0; first < job->n; first += VS_MANY_ROWS) {
        struct vs_matmul s = slice_of(job, first, in->width);
        for (int i = 0; i < 2; i++) {
            point_at(c, &s, &c->program.linears[in->first + (uint32_t)i], first);
            s.ldy = columns;
            s.y = (i ? up : gate) - column;      /* the kernel stores panel p at y + 16 p */
            c->ops.matmul(&s, 2 * begin, 2 * end);
            const struct vs_linear *m = &c->program.linears[in->first + (uint32_t)i];
            if (m->n_adapts)
                adapt_panels(c, in, m, first, s.n, s.y, columns, 2 * begin, 2 * end);
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

static void head_unit(const struct vs_cpu *c, const struct vs_instr *in, const struct vs_matmul *job, uint32_t head)
{
    const struct vs_linear *m = &c->program.linears[in->first];
    uint32_t hd = in->head_dim, panels = hd / VS_PANEL_ROWS;
    for (; head >= m->w.n_rows / hd; m++)
        head -= m->w.n_rows / hd;
    for (size_t first = 0; first < job->n; first += VS_MANY_ROWS) {
        struct vs_matmul s = slice_of(job, first, in->width);
        point_at(c, &s, m, first);
        c->ops.matmul(&s, head * panels, (head + 1) * panels);
        if (m->n_adapts)
            adapt_panels(c, in, m, first, s.n, s.y, s.ldy, head * panels, (head + 1) * panels);
        for (size_t row = 0; row < s.n; row++)
            vs_attention_head(c, in, (uint32_t)(first + row), m->role, head, s.y + row * s.ldy + head * hd);
    }
}

/* Some rows of a head through its matrix. What the matrix reads is quantised here, as a row of its own. */
static void by_heads_task(const struct vs_cpu *c, const struct vs_instr *in, uint32_t task, struct own *own)
{
    uint32_t n = n_rows(c, in), head = task % in->n, k = in->width / in->n;
    uint32_t first = task / in->n * ROWS_A_HEAD, end = min_u32(first + ROWS_A_HEAD, n);
    const struct vs_linear *m = &c->program.linears[in->first + head];
    bool is_float = vs_class_infos[m->w.cls].is_float;
    size_t ldy = (size_t)in->n * m->w.n_rows;
    for (; first < end; first += VS_ACT_ROWS) {
        const float *x = vs_cpu_at(c, in->x) + (size_t)first * in->width + (size_t)head * k;
        struct vs_matmul job = { .w = &m->w, .n = min_u32(end - first, VS_ACT_ROWS), .ldx = in->width, .ldy = ldy, .xf = x,
                                 .x = own->head, .high = c->config.high, .prefetch = c->ops.prefetch,
                                 .y = vs_cpu_at(c, in->y) + first * ldy + (size_t)head * m->w.n_rows };
        for (uint32_t row = 0; row < job.n && !is_float; row++)
            vs_cpu_quantize_to(c, own->head, (uint32_t)job.n, k, row, x + (size_t)row * in->width, 0, k);
        c->ops.matmul(&job, 0, vs_matrix_n_panels(&m->w));
    }
}

/* Few rows: halves of what is left of the share: the first part is long, the last ones even out the end. */
uint64_t vs_cpu_edge(const struct vs_cpu *c, uint32_t n, uint64_t units, uint32_t task, uint32_t n_tasks)
{
    static const uint8_t eighths[TASKS_A_SHARE] = { 0, 4, 6, 7 };
    if (vs_cpu_act_rows(c, n) > VS_ACT_ROWS || n_tasks != c->config.n_threads * TASKS_A_SHARE)
        return units * task / n_tasks;
    return units * (8 * (task / TASKS_A_SHARE) + eighths[task % TASKS_A_SHARE]) / (2 * n_tasks);
}

static void linear_task(const struct vs_cpu *c, const struct vs_instr *in, uint32_t task, uint32_t n_tasks, struct own *own)
{
    uint32_t n = n_rows(c, in), units = n_units(c, in);
    uint32_t begin = (uint32_t)vs_cpu_edge(c, n, units, task, n_tasks), end = (uint32_t)vs_cpu_edge(c, n, units, task + 1, n_tasks);
    struct vs_matmul job = input_of(c, in, own);
    switch (in->epilogue) {
    case VS_EPILOGUE_GLU:
        for (uint32_t step = vs_glu_units(n); begin < end; begin += step)
            glu_units(c, in, &job, begin, min_u32(begin + step, end), own->glu);
        return;
    case VS_EPILOGUE_HEADS:
        for (; begin < end; begin++)
            head_unit(c, in, &job, begin);
        return;
    default:
        plain_units(c, in, &job, begin, end);
    }
}

/* A piece of a row of logits. */
static void logits_task(struct vs_cpu *c, const struct vs_instr *in, uint32_t task)
{
    uint32_t parts = div_up(in->width, LOGIT_COLUMNS);
    size_t begin = (size_t)(task % parts) * LOGIT_COLUMNS, at = (size_t)(task / parts) * in->width + begin;
    size_t len = in->width - begin < LOGIT_COLUMNS ? in->width - begin : LOGIT_COLUMNS;
    if (in->kind == VS_I_SOFTCAP)
        c->ops.softcap(vs_cpu_at(c, in->y) + at, vs_cpu_at(c, in->x) + at, in->cap, len);
    else if (c->ops.has_fault(vs_cpu_at(c, in->x) + at, len))
        atomic_store_explicit(&c->run.fault, 1, memory_order_relaxed);
}

/* Some columns of all rows, in their order. */
static void observe_task(const struct vs_cpu *c, const struct vs_instr *in, uint32_t task)
{
    struct vs_sums *s = &c->program.sums[in->first];
    uint32_t begin = task * VS_OBSERVE_COLUMNS, end = min_u32(begin + VS_OBSERVE_COLUMNS, in->width), n = n_rows(c, in);
    if (in->by_expert) {
        vs_experts_observe(c, in, begin, end);
        return;
    }
    for (uint32_t row = 0; row < n; row++)
        vs_cpu_square(s->sum, vs_cpu_at(c, in->x) + (size_t)row * in->width, begin, end);
    if (!begin)
        *s->n_rows += n;
}

static void run_task(struct vs_cpu *c, const struct vs_instr *in, uint32_t task, uint32_t n_tasks, unsigned thread, struct own *own)
{
    uint32_t n = n_rows(c, in);
    if (in->kind == VS_I_LINEAR) {
        linear_task(c, in, task, n_tasks, own);
    } else if (in->kind == VS_I_BY_HEADS) {
        by_heads_task(c, in, task, own);
    } else if (in->kind == VS_I_ATTENTION) {
        vs_attention_task(c, in, task, thread);
    } else if (in->kind == VS_I_MERGE) {
        vs_attention_merge(c, in, task);
    } else if (in->kind >= VS_I_CONV && in->kind <= VS_I_WKV7) {
        vs_state_task(c, in, task);
    } else if (in->kind >= VS_I_ROUTE && in->kind <= VS_I_COMBINE) {
        vs_experts_task(c, in, task, n_tasks, own->glu, own->down);
    } else if (in->kind == VS_I_OBSERVE) {
        observe_task(c, in, task);
    } else if (in->kind == VS_I_CHECK || in->kind == VS_I_SOFTCAP) {
        logits_task(c, in, task);
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

/* ---- the cursor and the shares ---- */

enum { INSTR_BITS = 12, GENERATION_BITS = 20, FRESH_STEPS = 1 << 18 };   /* FRESH_STEPS: far fewer than tags can tell apart */

static uint32_t tag_of(uint64_t word) { return (uint32_t)(word >> 32); }
static uint32_t count_of(uint64_t word) { return (uint32_t)word; }
static uint32_t instr_of(uint64_t word) { return tag_of(word) & ((1u << INSTR_BITS) - 1); }
static uint32_t generation_of(uint64_t word) { return tag_of(word) >> INSTR_BITS; }

static uint64_t word_of(uint32_t generation, uint32_t instr, uint32_t count)
{
    return (uint64_t)(generation << INSTR_BITS | instr) << 32 | count;
}

/* The next task of `owner`'s share of the instruction that `cursor` names. */
static bool take(struct vs_cpu *c, uint64_t cursor, unsigned owner, uint32_t *ret)
{
    unsigned threads = c->config.n_threads;
    uint32_t first = part_of(count_of(cursor), owner, threads), end = part_of(count_of(cursor), owner + 1, threads);
    _Atomic uint64_t *word = &c->run.shares[owner].taken;
    uint64_t old = atomic_load_explicit(word, memory_order_relaxed);
    for (;;) {
        int32_t newer = (int32_t)(tag_of(old) - tag_of(cursor));
        uint32_t taken = newer == 0 ? count_of(old) : 0;
        if (newer > 0 || first + taken >= end)
            return false;
        if (atomic_compare_exchange_weak_explicit(word, &old, (uint64_t)tag_of(cursor) << 32 | (taken + 1), memory_order_relaxed,
                                                  memory_order_relaxed)) {
            *ret = first + taken;
            return true;
        }
    }
}

/* To the first instruction from `instr` on that has tasks, or to the end; at once to the end when the step was stopped. */
static void move_to(struct vs_cpu *c, uint32_t generation, uint32_t instr)
{
    if (atomic_load_explicit(&c->run.stopped, memory_order_relaxed) != VS_OK)
        instr = (uint32_t)c->program.n_instrs;
    while (instr < c->program.n_instrs && !c->run.n_tasks[instr])
        instr++;
    atomic_store_explicit(&c->run.n_done, 0, memory_order_relaxed);
    uint32_t n = instr < c->program.n_instrs ? c->run.n_tasks[instr] : 0;
    atomic_store_explicit(&c->run.cursor, word_of(generation, instr, n), memory_order_release);
}

enum { CHECK_NS = 2000000 };            /* a question takes some microseconds */

/* Thread 0, between tasks: is anybody still waiting for this step? */
static bool is_time_to_ask(const struct vs_cpu *c)
{
    return c->run.step->check && vs_clock_ns() >= c->run.check_ns;
}

static void ask(struct vs_cpu *c)
{
    int r = c->run.step->check(c->run.step->context);
    if (r != VS_OK)
        atomic_store_explicit(&c->run.stopped, r, memory_order_relaxed);
    c->run.check_ns = vs_clock_ns() + CHECK_NS;
}

/* Tasks of the instruction at `at` are done; with the last of them the next instruction begins. */
static bool count_done(struct vs_cpu *c, uint64_t at, uint32_t done)
{
    if (!done || atomic_fetch_add_explicit(&c->run.n_done, done, memory_order_acq_rel) + done != count_of(at))
        return false;
    move_to(c, generation_of(at), instr_of(at) + 1);
    vs_gate_open(&c->run.moved);
    return true;
}

/* ---- work between steps ---- */

/* It is done by the same function of the pool as steps, and like them it does not need the other threads: nobody who has lost its
 * core, and who has no task, is waited for. */
enum { TASK_BITS = 20, BETWEEN_GENERATIONS = 1 << 24 };
static_assert(2 * TASK_BITS + 24 == 64, "a word");

static uint32_t taken_of(uint64_t word) { return (uint32_t)word & ((1u << TASK_BITS) - 1); }
static uint32_t all_of(uint64_t word) { return (uint32_t)(word >> TASK_BITS) & ((1u << TASK_BITS) - 1); }

/* Task and context are read by who has taken a task, for whom _each waits. */
static void run_between(struct vs_cpu *c, unsigned thread)
{
    struct vs_between *s = &c->run.between;
    uint64_t at = atomic_load_explicit(&s->word, memory_order_acquire);
    while (taken_of(at) < all_of(at)) {
        if (!atomic_compare_exchange_weak_explicit(&s->word, &at, at + 1, memory_order_acquire, memory_order_acquire))
            continue;
        s->task(s->context, taken_of(at), thread);
        if (atomic_fetch_add_explicit(&s->n_done, 1, memory_order_acq_rel) + 1 == all_of(at))
            vs_gate_open(&c->run.moved);
        at = atomic_load_explicit(&s->word, memory_order_acquire);
    }
}

static void run_step(struct vs_cpu *c, unsigned thread)
{
    uint8_t *piece = c->memory.private + thread * c->memory.private_bytes;
    struct own own = { (float *)(void *)piece, (struct vs_act *)(void *)(piece + c->memory.private_act),
                       (float *)(void *)(piece + c->memory.private_glu),
                       (float *)(void *)(piece + c->memory.private_down),
                       (struct vs_act *)(void *)(piece + c->memory.private_heads), VS_NONE };
    unsigned threads = c->config.n_threads;
    uint32_t generation = generation_of(atomic_load_explicit(&c->run.cursor, memory_order_acquire));
    for (;;) {
        uint32_t seen = atomic_load_explicit(&c->run.moved.changed, memory_order_acquire), done = 0, task;
        uint64_t at = atomic_load_explicit(&c->run.cursor, memory_order_acquire);
        if (!count_of(at) || generation_of(at) != generation)       /* no step is under way, or another one */
            return;
        for (unsigned i = 0; i < threads; i++)           /* its own share first */
            while (take(c, at, (thread + i) % threads, &task)) {
                if (atomic_load_explicit(&c->run.stopped, memory_order_relaxed) == VS_OK)   /* what is left may take seconds */
                    run_task(c, &c->program.instrs[instr_of(at)], task, count_of(at), thread, &own);
                done++;
                if (thread == 0 && is_time_to_ask(c)) {  /* the others go on meanwhile */
                    count_done(c, at, done);
                    done = 0;
                    ask(c);
                }
            }
        if (!count_done(c, at, done))
            vs_gate_wait(&c->run.moved, seen, SPINS_TASK);
    }
}

static void run_thread(void *context, unsigned thread)
{
    run_between(context, thread);
    run_step(context, thread);
}

void vs_cpu_each(struct vs_backend *b, uint32_t n, vs_task_fn *task, void *context)
{
    struct vs_cpu *c = (struct vs_cpu *)b;
    struct vs_between *s = &c->run.between;
    if (n < 2 || n >= 1u << TASK_BITS) {
        for (uint32_t i = 0; i < n; i++)
            task(context, i, 0);
        return;
    }
    uint64_t generation = (atomic_load(&s->word) >> 2 * TASK_BITS) + 1;
    if (generation == BETWEEN_GENERATIONS) {             /* nobody may still hold a word so old that it looks new */
        vs_pool_join(c->pool);
        generation = 0;
    }
    s->task = task;
    s->context = context;
    atomic_store(&s->n_done, 0);
    atomic_store_explicit(&s->word, generation << 2 * TASK_BITS | (uint64_t)n << TASK_BITS, memory_order_release);
    vs_pool_run(c->pool, run_thread, c);
    for (;;) {
        uint32_t seen = atomic_load_explicit(&c->run.moved.changed, memory_order_acquire);
        if (atomic_load_explicit(&s->n_done, memory_order_acquire) == n)
            return;
        vs_gate_wait(&c->run.moved, seen, SPINS_TASK);
    }
}

/* The adapters that some row of the step has. */
static uint32_t adapters_of(const struct vs_cpu *c, const struct vs_step *step)
{
    uint32_t bits = 0;
    for (uint32_t row = 0; row < step->n_rows; row++)
        for (uint32_t k = 0; k < c->program.n_adapters && step->rows[row].adapters; k++)
            bits |= step->rows[row].adapters[k] != 0 ? 1u << k : 0;
    return bits;
}

void vs_cpu_count_tasks(struct vs_cpu *c, const struct vs_step *step)
{
    const struct vs_run *run = &c->run;
    c->run.step = step;
    c->run.few = step->n_rows <= VS_FEW_ROWS;
    c->run.adapters = adapters_of(c, step);
    vs_attention_plan(c);
    struct vs_tasks_key key = { run->step->n_rows, run->step->n_out, run->n_blocks, run->n_splits, run->n_parts,
                                step->n_stretches, run->adapters, wanted(c), run->split_attention, step->source };
    struct vs_tasks_key *old = &c->run.tasks_key;
    if (old->n_rows == key.n_rows && old->n_out == key.n_out && old->n_blocks == key.n_blocks && old->n_splits == key.n_splits
        && old->n_parts == key.n_parts && old->n_stretches == key.n_stretches && old->adapters == key.adapters
        && old->outputs == key.outputs && old->split == key.split && old->source == key.source)
        return;
    *old = key;
    for (size_t i = 0; i < c->program.n_instrs; i++)
        c->run.n_tasks[i] = count_tasks(c, &c->program.instrs[i]);
}

const struct vs_observed *vs_cpu_observed(const struct vs_backend *b, size_t *ret_n)
{
    const struct vs_cpu *c = (const struct vs_cpu *)b;
    *ret_n = c->program.n_observed;
    return c->program.observed;
}

const float *vs_cpu_output(const struct vs_backend *b, int which)
{
    const struct vs_cpu *c = (const struct vs_cpu *)b;
    return vs_cpu_at(c, c->program.output[which]);
}

int vs_cpu_step(struct vs_backend *b, const struct vs_step *step, const float **ret_logits, struct vs_error *err)
{
    struct vs_cpu *c = (struct vs_cpu *)b;
    assert(step->n_rows > 0 && step->n_rows <= c->config.max_rows && step->n_out <= c->config.max_out);
    assert(c->program.n_instrs < 1u << INSTR_BITS);
    vs_fp_control_set();
    atomic_store(&c->run.fault, 0);
    atomic_store(&c->run.stopped, VS_OK);
    c->run.check_ns = step->check ? vs_clock_ns() + CHECK_NS : 0;
    vs_cpu_count_tasks(c, step);
    uint32_t generation = (generation_of(atomic_load(&c->run.cursor)) + 1) % (1u << GENERATION_BITS);
    if (generation % FRESH_STEPS == 0) {                 /* nobody may still hold a cursor so old that it looks new, nor a share */
        vs_pool_join(c->pool);
        for (unsigned i = 0; i < c->config.n_threads; i++)
            atomic_store(&c->run.shares[i].taken, word_of(generation, 0, 0));
    }
    move_to(c, generation, 0);
    vs_pool_run(c->pool, run_thread, c);
    int stopped = atomic_load(&c->run.stopped);
    if (stopped != VS_OK)
        return vs_error_set(err, stopped, "%s", vs_status_text(stopped));
    if (atomic_load(&c->run.fault))
        return vs_error_set(err, VS_E_FAULT, "numeric fault: a %s is NaN or infinite (damaged weights?)",
                            wanted(c) & 1u << VS_OUTPUT_LOGITS ? "logit" : "number of a vector");
    *ret_logits = step->n_out && wanted(c) & 1u << VS_OUTPUT_LOGITS ? vs_cpu_output(b, VS_OUTPUT_LOGITS) : NULL;
    return VS_OK;
}
