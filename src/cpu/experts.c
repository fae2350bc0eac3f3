/* cpu/experts.c - layers whose feed-forward part is a choice of experts.
 *
 *   route     a row's logits -> who is chosen, by rank, and the weights
 *   group     the table: what is chosen in all rows, one slot each, sorted by expert
 *   gather    what the experts read, in the table's order, so that those of an expert are a matrix of their own
 *   experts   gate, up and their product, quantised: 32 columns of one expert after the other, expert after expert
 *   combine   down: a task is some columns of the result, of all experts, and so has all that a row's sum is made of
 *
 * Panels of an expert that some row chose are read once, for all its rows; those of the others are not read. A row's numbers come
 * from its own matrix products alone and are summed in the order of rank, so they depend neither on the rows beside it nor on who
 * else chose what (docs/NUMERICS.md, "Experts"). With few rows the first three are one task: there is little to share out.
 */
#include "cpu/internal.h"

#include "base/num.h"

#include <assert.h>
#include <string.h>

enum { GATHER_SLOTS = 64, DOWN_FLOATS = 1 << 18, DOWN_PANELS = 16, UNIT_COLUMNS = 2 * VS_PANEL_ROWS };

/* An expert that somebody chose: its slots are [first, first + n). end: what the work for it and for those before it costs. */
struct group { uint32_t expert, first, n; uint64_t end; };

/* Slots: n_rows * n_used. slot_of[row * n_used + rank], and back. */
struct table {
    uint32_t n_groups, n_slots;
    struct group *group;
    uint32_t *slot_of, *chosen_at;
};

static size_t round_up(size_t n)
{
    return (n + 63) / 64 * 64;
}

size_t vs_experts_table_bytes(const struct vs_experts *e, size_t n_rows)
{
    return 64 + round_up(e->n * sizeof(struct group)) + 2 * round_up(n_rows * e->n_used * sizeof(uint32_t));
}

static const struct vs_mixture *mixture_of(const struct vs_cpu *c, const struct vs_instr *in)
{
    return &c->program.mixtures[in->experts];
}

/* Where the parts of the table are, and what the group task counted. */
static struct table table_of(const struct vs_cpu *c, const struct vs_instr *in)
{
    const struct vs_mixture *m = mixture_of(c, in);
    uint8_t *at = (uint8_t *)vs_cpu_at(c, m->table);
    size_t slots = (size_t)vs_cpu_n_rows(c, in) * m->of.n_used, groups = 64 + round_up(m->of.n * sizeof(struct group));
    struct table t = { .n_slots = (uint32_t)slots, .group = (struct group *)(void *)(at + 64),
                       .slot_of = (uint32_t *)(void *)(at + groups),
                       .chosen_at = (uint32_t *)(void *)(at + groups + round_up(slots * sizeof(uint32_t))) };
    memcpy(&t.n_groups, at, sizeof t.n_groups);
    return t;
}

/* ---- who is chosen ---- */

/* Sum in 16 lanes and the tree 8-4-2-1, as in ops_c.c. */
static float sum_of(const float *x, size_t n)
{
    float lane[16] = { 0 };
    for (size_t i = 0; i < n; i++)
        lane[i % 16] += x[i];
    for (int half = 8; half; half /= 2)
        for (int i = 0; i < half; i++)
            lane[i] += lane[i + half];
    return lane[0];
}

static bool is_finite(float x)
{
    return (vs_f32_bits(x) & 0x7fffffff) < 0x7f800000;
}

static float greatest_of(const float *x, size_t n)
{
    float most = x[0];
    for (size_t i = 1; i < n; i++)
        most = x[i] > most ? x[i] : most;
    return most;
}

/* Those that the router knows of. */
static uint32_t n_choices(const struct vs_experts *e)
{
    return e->n * e->each;
}

/* What the gating function makes of all logits; with VS_GATING_CHOSEN they stay what they are until some are chosen. */
static void gate_all(const struct vs_experts *e, const float *logits, float *p)
{
    float most = greatest_of(logits, n_choices(e));
    for (uint32_t i = 0; i < n_choices(e); i++)
        p[i] = e->gating == VS_GATING_SOFTMAX ? vs_expf(logits[i] - most)
             : e->gating == VS_GATING_SIGMOID ? vs_sigmoidf(logits[i]) : logits[i];
    if (e->gating == VS_GATING_SOFTMAX) {
        float sum = sum_of(p, n_choices(e));
        for (uint32_t i = 0; i < n_choices(e); i++)
            p[i] /= sum;
    }
}

/* The greatest of x[0..n) and the first that is so great; it becomes -infinity. */
static uint32_t take_best(float *x, uint32_t n)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < n; i++)
        if (x[i] > x[best])
            best = i;
    x[best] = -__builtin_inff();
    return best;
}

/* Scores of experts that are in none of the best groups become -infinity. A group's score: its best two. */
static void keep_best_groups(const struct vs_experts *e, float *score)
{
    float of[VS_MAX_EXPERTS];
    bool kept[VS_MAX_EXPERTS] = { false };
    uint32_t size = e->n / e->n_groups;
    for (uint32_t g = 0; g < e->n_groups; g++) {
        float first = -__builtin_inff(), second = first;
        for (uint32_t i = g * size; i < (g + 1) * size; i++) {
            second = score[i] > first ? first : score[i] > second ? score[i] : second;
            first = score[i] > first ? score[i] : first;
        }
        of[g] = size > 1 ? first + second : first;
    }
    for (uint32_t k = 0; k < e->n_groups_used; k++)
        kept[take_best(of, e->n_groups)] = true;
    for (uint32_t i = 0; i < e->n; i++)
        if (!kept[i / size])
            score[i] = -__builtin_inff();
}

/* From what the gating function gave to the weights of those chosen. */
static void weigh(const struct vs_experts *e, const float *p, const uint32_t *id, float *w)
{
    float sum = 0;
    for (uint32_t k = 0; k < e->n_used; k++)
        w[k] = p[id[k]];
    if (e->gating == VS_GATING_CHOSEN) {
        float most = greatest_of(w, e->n_used);
        for (uint32_t k = 0; k < e->n_used; k++)
            w[k] = vs_expf(w[k] - most);
    }
    for (uint32_t k = 0; k < e->n_used; k++)
        sum += w[k];
    if (e->gating == VS_GATING_CHOSEN || e->normalise) {
        sum = sum > 0x1p-14f ? sum : 0x1p-14f;
        for (uint32_t k = 0; k < e->n_used; k++)
            w[k] /= sum;
    }
    for (uint32_t k = 0; k < e->n_used && e->scale != 1.0f; k++)
        w[k] *= e->scale;
}

/* A NaN or infinity among the logits or scores makes all weights NaN, so that it reaches the logits of the model. */
static void route_row(const struct vs_cpu *c, const struct vs_instr *in, uint32_t row)
{
    const struct vs_mixture *m = mixture_of(c, in);
    const struct vs_experts *e = &m->of;
    const float *logits = vs_cpu_at(c, in->x) + (size_t)row * n_choices(e);
    float *w = vs_cpu_at(c, m->route) + (size_t)row * 2 * e->n_used, p[VS_MAX_EXPERTS], score[VS_MAX_EXPERTS];
    uint32_t id[VS_MAX_EXPERTS];
    bool sound = true;
    gate_all(e, logits, p);
    for (uint32_t i = 0; i < n_choices(e); i++) {
        score[i] = e->weigh_input ? logits[i] : p[i];
        score[i] = m->choice_bias ? score[i] + m->choice_bias[i] : score[i];
        sound &= is_finite(logits[i]) && is_finite(score[i]);
    }
    if (sound && e->n_groups)
        keep_best_groups(e, score);
    for (uint32_t k = 0; k < e->n_used; k++)
        id[k] = sound ? take_best(score, n_choices(e)) : k;
    if (sound)
        weigh(e, p, id, w);
    for (uint32_t k = 0; k < e->n_used && !sound; k++)
        w[k] = __builtin_nanf("");
    for (uint32_t k = 0; k < e->n_used; k++)
        id[k] /= e->each;
    memcpy(w + e->n_used, id, e->n_used * sizeof *id);
}

static const float *weights_of(const struct vs_cpu *c, const struct vs_mixture *m, uint32_t row)
{
    return vs_cpu_at(c, m->route) + (size_t)row * 2 * m->of.n_used;
}

static uint32_t chosen(const struct vs_cpu *c, const struct vs_mixture *m, uint32_t row, uint32_t rank)
{
    uint32_t id;
    memcpy(&id, weights_of(c, m, row) + m->of.n_used + rank, sizeof id);
    return id;
}

/* ---- the table ---- */

static uint32_t n_units(const struct vs_experts *e)
{
    return (e->width + UNIT_COLUMNS - 1) / UNIT_COLUMNS;
}

/* Relative time of 32 columns for so many rows: the weights have to be read and decoded whatever they are used for. */
static uint64_t unit_cost(uint32_t n)
{
    return 3 + (uint64_t)n;
}

static void make_table(const struct vs_cpu *c, const struct vs_instr *in)
{
    const struct vs_mixture *m = mixture_of(c, in);
    struct table t = table_of(c, in);
    uint32_t n_of[VS_MAX_EXPERTS] = { 0 }, next[VS_MAX_EXPERTS], used = m->of.n_used, first = 0;
    uint64_t end = 0;
    for (uint32_t i = 0; i < t.n_slots; i++)
        n_of[chosen(c, m, i / used, i % used)]++;
    t.n_groups = 0;
    for (uint32_t e = 0; e < m->of.n; e++) {
        next[e] = first;
        if (!n_of[e])
            continue;
        end += n_units(&m->of) * unit_cost(n_of[e]);
        t.group[t.n_groups++] = (struct group){ e, first, n_of[e], end };
        first += n_of[e];
    }
    for (uint32_t i = 0; i < t.n_slots; i++) {
        uint32_t slot = next[chosen(c, m, i / used, i % used)]++;
        t.slot_of[i] = slot;
        t.chosen_at[slot] = i;
    }
    memcpy(vs_cpu_at(c, m->table), &t.n_groups, sizeof t.n_groups);
}

/* One row alone is what all its experts read, unless their weights change it, or one of them may read it twice. */
static bool is_gathered(const struct vs_cpu *c, const struct vs_instr *in)
{
    const struct vs_experts *e = &mixture_of(c, in)->of;
    return vs_cpu_n_rows(c, in) > 1 || e->weigh_input || e->each > 1;
}

static struct vs_act *acts(const struct vs_cpu *c, uint32_t buffer, uint32_t first, uint32_t width)
{
    size_t row = (size_t)vs_cpu_act_rows(c, 1) * ((width + 31) / 32);
    return (struct vs_act *)(void *)vs_cpu_at(c, buffer) + first * row;
}

static void copy_acts(const struct vs_cpu *c, const struct vs_act *from, uint32_t n_from, uint32_t row, struct vs_act *to,
                      uint32_t n_to, uint32_t i, uint32_t width)
{
    size_t blocks = (width + 31) / 32, pair = vs_cpu_act_rows(c, 1);
    uint32_t at = vs_cpu_act_rows(c, row), at_to = vs_cpu_act_rows(c, i);
    size_t step = vs_act_width(vs_cpu_act_rows(c, n_from), at), step_to = vs_act_width(vs_cpu_act_rows(c, n_to), at_to);
    from += vs_act_index(blocks, at);
    to += vs_act_index(blocks, at_to);
    for (size_t b = 0; b < blocks; b++)
        memcpy(to + b * step_to, from + b * step, pair * sizeof *to);
}

/* What row i of a group reads. */
static void gather_row(const struct vs_cpu *c, const struct vs_instr *in, const struct table *t, const struct group *g, uint32_t i)
{
    const struct vs_mixture *m = mixture_of(c, in);
    uint32_t at = t->chosen_at[g->first + i], row = at / m->of.n_used, width = m->of.n_in;
    struct vs_act *act = m->own_act == VS_NONE ? NULL : acts(c, m->own_act, g->first, width);
    float *x = m->own_x == VS_NONE ? NULL : vs_cpu_at(c, m->own_x) + (size_t)(g->first + i) * width;
    if (m->of.weigh_input) {
        c->ops.scale(x, vs_cpu_at(c, m->x) + (size_t)row * width, weights_of(c, m, row)[at % m->of.n_used], width);
        if (act)
            vs_cpu_quantize_to(c, act, g->n, width, i, x, 0, width);
        return;
    }
    if (x)
        memcpy(x, vs_cpu_at(c, m->x) + (size_t)row * width, width * sizeof *x);
    if (act)
        copy_acts(c, acts(c, m->act, 0, width), vs_cpu_n_rows(c, in), row, act, g->n, i, width);
}

static void gather(const struct vs_cpu *c, const struct vs_instr *in, uint32_t begin, uint32_t end)
{
    struct table t = table_of(c, in);
    for (const struct group *g = t.group; g < t.group + t.n_groups && g->first < end; g++)
        for (uint32_t i = g->first < begin ? begin - g->first : 0; i < g->n && g->first + i < end; i++)
            gather_row(c, in, &t, g, i);
}

/* ---- gate and up ---- */

/* The job of a group that begins with slot `first` of what lies at x and act, by the matrices of linear l. */
static struct vs_matmul job_of(const struct vs_cpu *c, const struct group *g, uint32_t width, const float *x,
                               const struct vs_act *act)
{
    return (struct vs_matmul){ .n = g->n, .ldx = width, .high = c->config.high, .prefetch = c->ops.prefetch, .x = act, .xf = x };
}

/* How many of `all` columns are in units [begin, end) of so many each; the last unit may be short. */
static size_t columns_of(size_t all, size_t begin, size_t end, size_t each)
{
    return (end * each < all ? end * each : all) - begin * each;
}

/* Panels [begin, end) of matrix l for the rows of the job, to y[row * ldy + column], where column counts from the first panel. */
static void product(const struct vs_cpu *c, struct vs_matmul *job, uint32_t l, const float *scale, const float *bias, size_t begin,
                    size_t end, float *y, size_t ldy)
{
    const struct vs_linear *m = &c->program.linears[l];
    size_t column = begin * VS_PANEL_ROWS, n = columns_of(m->w.n_rows, begin, end, VS_PANEL_ROWS);
    job->w = &m->w;
    job->y = y - column;                 /* the kernel stores panel p at y + 16 p */
    job->ldy = ldy;
    job->bias = scale ? NULL : bias;
    c->ops.matmul(job, begin, end);
    for (size_t row = 0; row < job->n && scale; row++) {
        c->ops.scale(y + row * ldy, y + row * ldy, *scale, n);
        if (bias)
            c->ops.add(y + row * ldy, y + row * ldy, bias + column, n);
    }
}

static const float *for_expert(const float *all, uint32_t expert, uint32_t n)
{
    return all ? all + (size_t)expert * n : NULL;
}

/* Rows first .. first + VS_MANY_ROWS of a group, units [begin, end) of gate, up and their product. */
static void slice_units(const struct vs_cpu *c, const struct vs_instr *in, const struct group *g, struct vs_matmul job,
                        uint32_t first, uint32_t begin, uint32_t end, float *up)
{
    const struct vs_mixture *m = mixture_of(c, in);
    const struct vs_experts *e = &m->of;
    size_t panels = (e->width + VS_PANEL_ROWS - 1) / VS_PANEL_ROWS, last = 2 * end < panels ? 2 * end : panels;
    size_t column = (size_t)begin * UNIT_COLUMNS, columns = columns_of(e->width, begin, end, UNIT_COLUMNS);
    float *gate = up + VS_ACT_ROWS * VS_GLU_UNITS * UNIT_COLUMNS;
    job.n = g->n - first < VS_MANY_ROWS ? g->n - first : VS_MANY_ROWS;
    job.cached = first > 0;
    if (job.x)
        job.x += vs_act_index((e->n_in + 31) / 32, vs_cpu_act_rows(c, first));
    if (job.xf)
        job.xf += (size_t)first * e->n_in;
    if (m->gate != VS_NONE)
        product(c, &job, m->gate + g->expert, for_expert(m->gate_scale, g->expert, 1),
                for_expert(m->gate_bias, g->expert, e->width), 2 * begin, last, gate, columns);
    product(c, &job, m->up + g->expert, for_expert(m->up_scale, g->expert, 1),
            for_expert(m->up_bias, g->expert, e->width), 2 * begin, last, up, columns);
    if (m->gate != VS_NONE && e->limit > 0)
        vs_cpu_activate_within(c, gate, gate, up, job.n * columns, e->activation, e->limit);
    else if (m->gate != VS_NONE)
        vs_cpu_activate(c, gate, gate, up, job.n * columns, e->activation);
    else
        vs_cpu_activate(c, gate, up, NULL, job.n * columns, e->activation);
    for (uint32_t row = 0; row < job.n; row++) {
        const float *v = gate + row * columns;
        if (m->inner_act != VS_NONE)
            vs_cpu_quantize_to(c, acts(c, m->inner_act, g->first, e->width), g->n, e->width, first + row, v - column, column,
                               columns);
        if (m->inner != VS_NONE)
            memcpy(vs_cpu_at(c, m->inner) + (size_t)(g->first + first + row) * e->width + column, v, columns * sizeof *v);
    }
}

static void group_units(const struct vs_cpu *c, const struct vs_instr *in, const struct group *g, uint32_t begin, uint32_t end,
                        float *own)
{
    const struct vs_mixture *m = mixture_of(c, in);
    bool apart = is_gathered(c, in);
    uint32_t width = m->of.n_in, x = apart ? m->own_x : m->x, act = apart ? m->own_act : m->act, first = apart ? g->first : 0;
    struct vs_matmul job = job_of(c, g, width, x == VS_NONE ? NULL : vs_cpu_at(c, x) + (size_t)first * width,
                                  act == VS_NONE ? NULL : acts(c, act, first, width));
    for (uint32_t at = begin, next, step = vs_glu_units(g->n); at < end; at = next) {
        next = at + step < end ? at + step : end;
        for (uint32_t row = 0; row < g->n; row += VS_MANY_ROWS)
            slice_units(c, in, g, job, row, at, next, own);
    }
}

/* The unit of a group at which so much of its work is done. */
static uint32_t unit_at(const struct group *g, uint64_t begin, uint64_t cost, uint32_t units)
{
    uint64_t done = cost > begin ? (cost - begin) / unit_cost(g->n) : 0;
    return done < units ? (uint32_t)done : units;
}

static void experts_task(const struct vs_cpu *c, const struct vs_instr *in, uint32_t task, uint32_t n_tasks, float *own)
{
    struct table t = table_of(c, in);
    uint32_t n = vs_cpu_n_rows(c, in), units = n_units(&mixture_of(c, in)->of);
    uint64_t all = t.group[t.n_groups - 1].end, before = 0;
    uint64_t begin = vs_cpu_edge(c, n, all, task, n_tasks), end = vs_cpu_edge(c, n, all, task + 1, n_tasks);
    for (const struct group *g = t.group; g < t.group + t.n_groups && before < end; before = g->end, g++)
        if (g->end > begin)
            group_units(c, in, g, unit_at(g, before, begin, units), unit_at(g, before, end, units), own);
}

/* ---- down ---- */

static uint32_t n_down_panels(const struct vs_experts *e)
{
    return (e->n_in + VS_PANEL_ROWS - 1) / VS_PANEL_ROWS;
}

/* Panels whose results for all slots fit into the private memory. */
static uint32_t panels_at_once(const struct vs_experts *e, size_t n_slots)
{
    size_t n = DOWN_FLOATS / (n_slots * VS_PANEL_ROWS), panels = n_down_panels(e);
    n = n < 1 ? 1 : n > DOWN_PANELS ? DOWN_PANELS : n;
    return (uint32_t)(n < panels ? n : panels);
}

size_t vs_experts_down_bytes(const struct vs_cpu *c, const struct vs_instr *in)
{
    const struct vs_experts *e = &mixture_of(c, in)->of;
    size_t slots = (size_t)(in->rows == VS_ROWS_STEP ? c->config.max_rows : c->config.max_out) * e->n_used;
    size_t floats = slots * VS_PANEL_ROWS, wide = floats * (n_down_panels(e) < DOWN_PANELS ? n_down_panels(e) : DOWN_PANELS);
    floats = wide < DOWN_FLOATS ? wide : floats > DOWN_FLOATS ? floats : DOWN_FLOATS;
    return floats * sizeof(float);
}

/* Panels [begin, end) of the result. given: [slots, columns], a thread's own. */
static void down_panels(const struct vs_cpu *c, const struct vs_instr *in, const struct table *t, uint32_t begin, uint32_t end,
                        float *given)
{
    const struct vs_mixture *m = mixture_of(c, in);
    const struct vs_experts *e = &m->of;
    size_t column = (size_t)begin * VS_PANEL_ROWS, width = e->n_in, columns = columns_of(width, begin, end, VS_PANEL_ROWS);
    for (const struct group *g = t->group; g < t->group + t->n_groups; g++) {
        const float *x = m->inner == VS_NONE ? NULL : vs_cpu_at(c, m->inner) + (size_t)g->first * e->width;
        const struct vs_act *act = m->inner_act == VS_NONE ? NULL : acts(c, m->inner_act, g->first, e->width);
        struct vs_matmul job = job_of(c, g, e->width, x, act);
        product(c, &job, m->down + g->expert, for_expert(m->down_scale, g->expert, 1),
                for_expert(m->down_bias, g->expert, e->n_in), begin, end, given + g->first * columns, columns);
    }
    for (uint32_t row = 0, n = vs_cpu_n_rows(c, in); row < n; row++) {
        const float *w = weights_of(c, m, row);
        size_t at = (size_t)row * width + column;
        float *y = vs_cpu_at(c, in->y) + at;
        memset(y, 0, columns * sizeof *y);
        for (uint32_t k = 0; k < e->n_used; k++)
            c->ops.add_scaled(y, given + t->slot_of[row * e->n_used + k] * columns, e->weigh_input ? 1.0f : w[k], columns);
        if (in->x2 != VS_NONE)
            c->ops.add(y, vs_cpu_at(c, in->x2) + at, y, columns);
    }
}

static void combine_task(const struct vs_cpu *c, const struct vs_instr *in, uint32_t task, uint32_t n_tasks, float *given)
{
    struct table t = table_of(c, in);
    const struct vs_experts *e = &mixture_of(c, in)->of;
    uint32_t n = vs_cpu_n_rows(c, in), units = n_down_panels(e), step = panels_at_once(e, t.n_slots);
    uint32_t begin = (uint32_t)vs_cpu_edge(c, n, units, task, n_tasks), end = (uint32_t)vs_cpu_edge(c, n, units, task + 1, n_tasks);
    for (uint32_t next; begin < end; begin = next) {
        next = begin + step < end ? begin + step : end;
        down_panels(c, in, &t, begin, next, given);
    }
}

/* ---- what experts read ---- */

void vs_cpu_square(double *sum, const float *x, uint32_t begin, uint32_t end)
{
    for (uint32_t i = begin; i < end; i++)
        sum[i] += (double)x[i] * (double)x[i];
}

void vs_experts_observe(const struct vs_cpu *c, const struct vs_instr *in, uint32_t begin, uint32_t end)
{
    const struct vs_mixture *m = mixture_of(c, in);
    struct vs_sums *s = &c->program.sums[in->first];
    struct table t = table_of(c, in);
    bool apart = in->of_inner || is_gathered(c, in);
    uint32_t buffer = in->of_inner ? m->inner : apart ? m->own_x : m->x;
    for (const struct group *g = t.group; g < t.group + t.n_groups; g++) {
        const float *x = vs_cpu_at(c, buffer) + (apart ? (size_t)g->first * in->width : 0);
        for (uint32_t i = 0; i < g->n; i++)
            vs_cpu_square(s->sum + (size_t)g->expert * in->width, x + (size_t)i * in->width, begin, end);
        if (!begin)
            s->n_rows[g->expert] += g->n;
    }
}

/* ---- tasks ---- */

static size_t panel_bytes(const struct vs_cpu *c, uint32_t linear)
{
    const struct vs_matrix *w = &c->program.linears[linear].w;
    return w->packed ? vs_matrix_panel_bytes(w) : vs_matrix_row_bytes(w) * VS_PANEL_ROWS;
}

uint32_t vs_experts_n_tasks(const struct vs_cpu *c, const struct vs_instr *in)
{
    const struct vs_mixture *m = mixture_of(c, in);
    uint32_t n = vs_cpu_n_rows(c, in), slots = n * m->of.n_used, n_active = slots < m->of.n ? slots : m->of.n;
    switch (in->kind) {
    case VS_I_ROUTE:
        return c->run.few ? 0 : n;
    case VS_I_GROUP:
        return 1;
    case VS_I_GATHER:
        return c->run.few ? 0 : (slots + GATHER_SLOTS - 1) / GATHER_SLOTS;
    case VS_I_EXPERTS:
        return vs_cpu_share_out(c, n, n_active * n_units(&m->of),
                                2 * (panel_bytes(c, m->up) + (m->gate == VS_NONE ? 0 : panel_bytes(c, m->gate))));
    default: {
        /* what is between up and down is read again for each task, its weights only once */
        uint32_t panels = n_down_panels(&m->of), step = panels_at_once(&m->of, slots);
        uint32_t tasks = vs_cpu_share_out(c, n, panels, 0), wide = (panels + step - 1) / step;
        return vs_cpu_act_rows(c, n) > VS_ACT_ROWS && wide > tasks ? wide : tasks;
    }
    }
}

void vs_experts_task(const struct vs_cpu *c, const struct vs_instr *in, uint32_t task, uint32_t n_tasks, float *glu, float *down)
{
    uint32_t n = vs_cpu_n_rows(c, in), slots = n * mixture_of(c, in)->of.n_used;
    switch (in->kind) {
    case VS_I_ROUTE:
        route_row(c, in, task);
        return;
    case VS_I_GROUP:
        for (uint32_t row = 0; row < n && c->run.few; row++)
            route_row(c, in, row);
        make_table(c, in);
        if (c->run.few && is_gathered(c, in))
            gather(c, in, 0, slots);
        return;
    case VS_I_GATHER:
        gather(c, in, task * GATHER_SLOTS, (task + 1) * GATHER_SLOTS < slots ? (task + 1) * GATHER_SLOTS : slots);
        return;
    case VS_I_EXPERTS:
        experts_task(c, in, task, n_tasks, glu);
        return;
    default:
        combine_task(c, in, task, n_tasks, down);
    }
}
