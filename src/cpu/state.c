/* cpu/state.c - recurrent layers: what reads a sequence's state and leaves the next one (docs/NUMERICS.md, section 4a).
 *
 * A stretch is the rows of one sequence in the step, in order. A task takes some channels of one through all its rows, so that
 * threads share a sequence by channels and never by time. It reads the slot before the first row (or zeros) and writes others
 * behind the last, and where the stretch has its mark: a slot that is read is never written.
 */
#include "cpu/internal.h"

#include "base/num.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { CHANNELS = 256, LANES = 64, ROWS = 32 };          /* of a task: of a convolution, of a scan; rows at a time */

static uint32_t div_up(uint32_t a, uint32_t b)
{
    return (a + b - 1) / b;
}

static uint32_t n_parts(const struct vs_instr *in)
{
    bool by_heads = in->kind == VS_I_SCAN_HEADS || in->kind == VS_I_DELTA || in->kind == VS_I_WKV6 || in->kind == VS_I_WKV7;
    return by_heads ? in->n_heads * div_up(in->head_dim, LANES)
         : div_up(in->width, in->kind == VS_I_SCAN ? LANES : CHANNELS);
}

uint32_t vs_state_n_tasks(const struct vs_cpu *c, const struct vs_instr *in)
{
    return c->run.step->n_stretches * n_parts(in);
}

/* The instruction's part of a slot. */
static float *slot_at(const struct vs_cpu *c, const struct vs_instr *in, uint32_t slot)
{
    assert(slot < c->config.n_states);
    return (float *)(void *)(c->memory.states + slot * c->memory.state_bytes) + in->state;
}

/* ---- convolution: the state is the last n_taps - 1 inputs [n_taps - 1, width], the oldest first ---- */

struct window {                          /* some channels of the last inputs */
    const float *w;                      /* [n_taps, channels] */
    float u[VS_MAX_TAPS][CHANNELS];      /* a ring */
    size_t first, n;                     /* of the channels */
    uint32_t oldest;                     /* of the ring's rows */
};

static void window_open(const struct vs_cpu *c, const struct vs_instr *in, uint32_t from, struct window *s)
{
    uint32_t taps = in->n_taps;
    s->w = in->weight + s->first * taps;         /* vs_state_arrange */
    for (uint32_t j = 0; j + 1 < taps; j++)
        if (from == VS_NO_STATE)
            memset(s->u[j], 0, s->n * sizeof(float));
        else
            memcpy(s->u[j], slot_at(c, in, from) + (size_t)j * in->width + s->first, s->n * sizeof(float));
    s->oldest = 0;
}

static void window_save(const struct vs_cpu *c, const struct vs_instr *in, uint32_t to, const struct window *s)
{
    for (uint32_t j = 0; j + 1 < in->n_taps; j++)
        memcpy(slot_at(c, in, to) + (size_t)j * in->width + s->first, s->u[(s->oldest + j) % in->n_taps], s->n * sizeof(float));
}

static void convolve_row(const struct vs_cpu *c, const struct vs_instr *in, uint32_t row, struct window *s)
{
    const float *u[VS_MAX_TAPS];
    uint32_t taps = in->n_taps;
    size_t at = (size_t)row * in->width + s->first;
    float *newest = s->u[(s->oldest + taps - 1) % taps], *y = vs_cpu_at(c, in->y) + at;
    if (in->x2 == VS_NONE)
        memcpy(newest, vs_cpu_at(c, in->x) + at, s->n * sizeof(float));
    else
        c->ops.mul(newest, vs_cpu_at(c, in->x) + at, vs_cpu_at(c, in->x2) + at, s->n);
    for (uint32_t j = 0; j < taps; j++)
        u[j] = s->u[(s->oldest + j) % taps];
    c->ops.conv(y, u, s->w, in->bias ? in->bias + s->first : NULL, taps, s->n);
    if (in->activation != VS_ACT_NONE)
        vs_cpu_activate(c, y, y, NULL, s->n, in->activation);
    if (in->x3 != VS_NONE)
        c->ops.mul(y, y, vs_cpu_at(c, in->x3) + at, s->n);
    s->oldest = (s->oldest + 1) % taps;
}

static void convolve(const struct vs_cpu *c, const struct vs_instr *in, const struct vs_stretch *t, size_t first, size_t n)
{
    struct window s;
    s.first = first;
    s.n = n;
    window_open(c, in, t->from, &s);
    for (uint32_t i = 0; i < t->n; i++) {
        convolve_row(c, in, t->first + i, &s);
        if (i + 1 == t->n_mark)
            window_save(c, in, t->mark, &s);
    }
    window_save(c, in, t->end, &s);
}

/* ---- scans: the state of a task's lanes is n_state rows of them, one piece of memory ---- */

struct lanes {
    size_t at, n;                        /* in the instruction's part of a slot; lanes of a row */
    float *s;                            /* where the stretch ends: what a row leaves, and the next one reads */
    const float *old;                    /* what the next row reads: of the first one the slot that the stretch comes from */
};

/* Lanes from `first` on of `width`, which have a state together; those of one before it are in front. */
static struct lanes lanes_open(const struct vs_cpu *c, const struct vs_instr *in, const struct vs_stretch *t, uint32_t before,
                               uint32_t first, uint32_t width)
{
    struct lanes l = { ((size_t)before * width + first) * in->n_state, width - first < LANES ? width - first : LANES, NULL, NULL };
    l.s = slot_at(c, in, t->end) + l.at;
    l.old = t->from == VS_NO_STATE ? l.s : slot_at(c, in, t->from) + l.at;
    if (t->from == VS_NO_STATE)
        memset(l.s, 0, in->n_state * l.n * sizeof *l.s);
    return l;
}

/* Rows were computed, the last of them is before row i of the stretch. */
static void lanes_move(const struct vs_cpu *c, const struct vs_instr *in, const struct vs_stretch *t, struct lanes *l, uint32_t i)
{
    l->old = l->s;
    if (i == t->n_mark)
        memcpy(slot_at(c, in, t->mark) + l->at, l->s, in->n_state * l->n * sizeof *l->s);
}

/* How many rows from the ith on can be computed at once: no more than ROWS, and none beyond the mark. */
static uint32_t rows_from(const struct vs_stretch *t, uint32_t i)
{
    uint32_t end = i < t->n_mark ? t->n_mark : t->n;
    return end - i < ROWS ? end - i : ROWS;
}

static void scan_heads(const struct vs_cpu *c, const struct vs_instr *in, const struct vs_stretch *t, uint32_t part)
{
    uint32_t blocks = div_up(in->head_dim, LANES), head = part / blocks, first = part % blocks * LANES;
    size_t inner = in->width, n_state = in->n_state, ldx = inner + 2 * in->n_kv_heads * n_state;
    size_t channel = (size_t)head * in->head_dim + first, group = head / (in->n_heads / in->n_kv_heads);
    struct lanes l = lanes_open(c, in, t, head, first, in->head_dim);
    float raw[ROWS], dt[ROWS], decay[ROWS];
    for (uint32_t i = 0, n; i < t->n; i += n) {
        size_t row = t->first + i;
        const float *x = vs_cpu_at(c, in->x) + row * ldx, *b = x + inner + group * n_state;
        n = rows_from(t, i);
        for (uint32_t k = 0; k < n; k++)
            raw[k] = vs_cpu_at(c, in->x2)[(row + k) * in->n_heads + head];
        c->ops.steps(dt, decay, raw, in->bias[head], in->weight[head], n);
        c->ops.scan_heads(vs_cpu_at(c, in->y) + row * inner + channel, inner, l.s, l.old, l.n, x + channel, ldx, b,
                          b + in->n_kv_heads * n_state, dt, decay, in->weight2[head], n, n_state, l.n, t->n == 1);
        lanes_move(c, in, t, &l, i + n);
    }
}

static void scan(const struct vs_cpu *c, const struct vs_instr *in, const struct vs_stretch *t, uint32_t part)
{
    uint32_t first = part * LANES;
    size_t width = in->width, n_state = in->n_state;
    struct lanes l = lanes_open(c, in, t, 0, first, in->width);
    const float *a = in->weight + first * n_state;       /* vs_state_arrange */
    float dt[LANES];
    for (uint32_t i = 0; i < t->n; i++) {
        size_t row = t->first + i, at = row * width + first;
        const float *b = vs_cpu_at(c, in->x3) + row * 2 * n_state;
        c->ops.softplus(dt, vs_cpu_at(c, in->x2) + at, l.n);
        c->ops.scan(vs_cpu_at(c, in->y) + at, l.s, l.old, l.n, vs_cpu_at(c, in->x) + at, dt, a, b, b + n_state, in->weight2 + first,
                    n_state, l.n, t->n == 1);
        lanes_move(c, in, t, &l, i + 1);
    }
}

/* x / sqrt(sum x^2 + eps), times `scale` */
static void unit(const struct vs_cpu *c, float *y, const float *x, size_t n, float eps, float scale)
{
    c->ops.rms_norm(y, x, NULL, n, eps / (float)n);
    c->ops.scale(y, y, scale, n);
}

/* What is left of each row of a head's state, where each has a step of its own. */
static void fade_rows(const struct vs_cpu *c, const struct vs_instr *in, size_t row, uint32_t head, float *decay)
{
    float raw[VS_MAX_STATE], dt[VS_MAX_STATE];
    size_t n = in->n_state, at = (size_t)head * n;
    c->ops.add(raw, vs_cpu_at(c, in->x3) + row * in->n_heads * n + at, in->bias + at, n);
    c->ops.steps(dt, decay, raw, 0, in->weight[head], n);
}

static void delta(const struct vs_cpu *c, const struct vs_instr *in, const struct vs_stretch *t, uint32_t part)
{
    uint32_t blocks = div_up(in->head_dim, LANES), head = part / blocks, first = part % blocks * LANES;
    size_t n_keys = in->n_state, keys = in->n_kv_heads * n_keys, ldx = 2 * keys + in->width;
    uint32_t of = in->grouped ? head / (in->n_heads / in->n_kv_heads) : head % in->n_kv_heads;
    size_t at = of * n_keys, channel = (size_t)head * in->head_dim + first;
    struct lanes l = lanes_open(c, in, t, head, first, in->head_dim);
    float q[VS_MAX_STATE], k[VS_MAX_STATE], each[VS_MAX_STATE], raw[ROWS], dt[ROWS], decay[ROWS];
    float shrink = 1.0f / vs_sqrtf((float)n_keys);
    for (uint32_t i = 0, n; i < t->n; i += n) {
        n = rows_from(t, i);
        for (uint32_t r = 0; r < n && !in->each_key; r++)
            raw[r] = vs_cpu_at(c, in->x3)[(size_t)(t->first + i + r) * in->n_heads + head];
        if (!in->each_key)
            c->ops.steps(dt, decay, raw, in->bias[head], in->weight[head], n);
        for (uint32_t r = 0; r < n; r++) {
            size_t row = t->first + i + r;
            if (in->each_key)
                fade_rows(c, in, row, head, each);
            const float *x = vs_cpu_at(c, in->x) + row * ldx;
            unit(c, q, x + at, n_keys, in->eps, shrink * shrink);
            unit(c, k, x + keys + at, n_keys, in->eps, shrink);
            c->ops.delta(vs_cpu_at(c, in->y) + row * in->width + channel, l.s, l.old, l.n, k, q, x + 2 * keys + channel,
                         vs_sigmoidf(vs_cpu_at(c, in->x2)[row * in->n_heads + head]), in->each_key ? each : &decay[r],
                         in->each_key, n_keys, l.n, t->n == 1);
            lanes_move(c, in, t, &l, i + r + 1);
        }
    }
}

/* ---- RWKV: a shift's state is the last input, a head's one row of lanes for each element of its keys ---- */

static void shift(const struct vs_cpu *c, const struct vs_instr *in, const struct vs_stretch *t, size_t first, size_t n)
{
    static const float none[CHANNELS];
    const float *x = vs_cpu_at(c, in->x) + first, *before = t->from == VS_NO_STATE ? none : slot_at(c, in, t->from) + first;
    float own[CHANNELS];
    for (uint32_t i = 0; i < t->n; i++) {
        size_t at = (size_t)(t->first + i) * in->width;
        const float *by = in->weight + first;
        if (in->x2 != VS_NONE) {
            c->ops.add(own, by, vs_cpu_at(c, in->x2) + at + first, n);
            by = own;
        }
        c->ops.shift(vs_cpu_at(c, in->y) + at + first, x + at, before, by, n);
        before = x + at;
        if (i + 1 == t->n_mark)
            memcpy(slot_at(c, in, t->mark) + first, before, n * sizeof *x);
    }
    memcpy(slot_at(c, in, t->end) + first, before, n * sizeof *x);
}

struct head_row {                        /* what a head reads of a row, [head_dim] each */
    const float *r, *v;
    float w[VS_MAX_STATE], k[VS_MAX_STATE], a[VS_MAX_STATE], b[VS_MAX_STATE];
    float bonus;
};

static void read_wkv6(const struct vs_cpu *c, const struct vs_instr *in, size_t row, size_t at, struct head_row *h)
{
    const float *x = vs_cpu_at(c, in->x) + row * 3 * in->n_heads * in->head_dim + at;
    const float *raw = vs_cpu_at(c, in->x2) + row * in->n_heads * in->head_dim + at;
    size_t inner = (size_t)in->n_heads * in->head_dim;
    h->r = x;
    h->v = x + 2 * inner;
    for (size_t j = 0; j < in->head_dim; j++) {
        h->w[j] = vs_expf(-vs_expf(raw[j]));
        h->k[j] = x[inner + j];
    }
}

/* k, by how much of it is taken away, and what is taken; the bonus is that of the row's own value. */
static void read_wkv7(const struct vs_cpu *c, const struct vs_instr *in, size_t row, size_t at, struct head_row *h)
{
    size_t inner = (size_t)in->n_heads * in->head_dim, n = in->head_dim;
    const float *x = vs_cpu_at(c, in->x) + row * 3 * inner + at, *raw = vs_cpu_at(c, in->x2) + row * 2 * inner + at;
    float rate[VS_MAX_STATE], norm = 0;
    h->r = x;
    h->v = x + 2 * inner;
    h->bonus = 0;
    c->ops.sigmoid(h->w, raw, n);
    c->ops.sigmoid(rate, raw + inner, n);
    for (size_t j = 0; j < n; j++) {
        float k = x[inner + j], part = k * in->weight2[at + j];
        h->w[j] = vs_expf(-0.606531f * h->w[j]);
        h->a[j] = k * in->weight[at + j];
        norm = vs_fmaf(h->a[j], h->a[j], norm);
        h->k[j] = vs_fmaf(rate[j] - 1.0f, part, k);
        h->bonus = vs_fmaf(h->k[j] * h->r[j], in->bias[at + j], h->bonus);
    }
    norm = vs_sqrtf(norm);
    norm = norm > 1e-12f ? norm : 1e-12f;
    for (size_t j = 0; j < n; j++) {
        h->a[j] = h->a[j] / norm;
        h->b[j] = h->a[j] * rate[j];
    }
}

static void wkv(const struct vs_cpu *c, const struct vs_instr *in, const struct vs_stretch *t, uint32_t part)
{
    uint32_t blocks = div_up(in->head_dim, LANES), head = part / blocks, first = part % blocks * LANES;
    size_t at = (size_t)head * in->head_dim, inner = (size_t)in->n_heads * in->head_dim;
    struct lanes l = lanes_open(c, in, t, head, first, in->head_dim);
    struct head_row h;
    for (uint32_t i = 0; i < t->n; i++) {
        size_t row = t->first + i;
        float *y = vs_cpu_at(c, in->y) + row * in->width + at + first;
        if (in->kind == VS_I_WKV6) {
            read_wkv6(c, in, row, at, &h);
            c->ops.wkv6(y, l.s, l.old, l.n, h.r, h.w, h.k, in->weight + at, h.v + first, in->head_dim, l.n, t->n == 1);
        } else {
            read_wkv7(c, in, row, at, &h);
            c->ops.wkv7(y, l.s, l.old, l.n, h.r, h.w, h.k, h.a, h.b, h.v + first, in->head_dim, l.n, t->n == 1);
            c->ops.scale(y + inner, h.v + first, h.bonus, l.n);
        }
        lanes_move(c, in, t, &l, i + 1);
    }
}

/* ---- weights ---- */

/* [n, m] in pieces of so many of the n, each [m, piece]; tmp: room for all. */
static void turn(float *w, float *tmp, size_t n, size_t m, size_t piece)
{
    for (size_t first = 0; first < n; first += piece) {
        size_t some = n - first < piece ? n - first : piece;
        for (size_t i = 0; i < some; i++)
            for (size_t j = 0; j < m; j++)
                tmp[first * m + j * some + i] = w[(first + i) * m + j];
    }
    memcpy(w, tmp, n * m * sizeof *w);
}

int vs_state_arrange(struct vs_cpu *c, const struct vs_graph *g)
{
    for (size_t i = 0; i < g->n_nodes; i++) {
        const struct vs_node *n = &g->nodes[i];
        if (n->op != VS_OP_CONV && n->op != VS_OP_SCAN)
            continue;
        struct vs_weight *w = &c->memory.weights[n->tensor[0]];
        size_t width = g->values[n->out].width, m = n->op == VS_OP_CONV ? n->p.n_taps : n->p.n_state;
        float *tmp = w->turned ? NULL : malloc(width * m * sizeof *tmp);
        if (!w->turned && !tmp)
            return VS_E_NOMEM;
        if (!w->turned)
            turn((float *)(void *)(c->memory.weight_memory + (w->matrix.data - c->memory.weight_memory)), tmp, width, m,
                 n->op == VS_OP_CONV ? CHANNELS : LANES);
        w->turned = true;
        free(tmp);
    }
    return VS_OK;
}

void vs_state_task(const struct vs_cpu *c, const struct vs_instr *in, uint32_t task)
{
    uint32_t parts = n_parts(in), part = task % parts;
    const struct vs_stretch *t = &c->run.step->stretches[task / parts];
    size_t first = (size_t)part * CHANNELS;
    if (in->kind == VS_I_SCAN_HEADS)
        scan_heads(c, in, t, part);
    else if (in->kind == VS_I_SCAN)
        scan(c, in, t, part);
    else if (in->kind == VS_I_DELTA)
        delta(c, in, t, part);
    else if (in->kind == VS_I_WKV6 || in->kind == VS_I_WKV7)
        wkv(c, in, t, part);
    else if (in->kind == VS_I_SHIFT)
        shift(c, in, t, first, in->width - first < CHANNELS ? in->width - first : CHANNELS);
    else
        convolve(c, in, t, first, in->width - first < CHANNELS ? in->width - first : CHANNELS);
}
