/* cpu/describe.c - the lowered program as text, a line an instruction: the way from file to step, to be read.
 *
 *   number  what  rows  width | what it reads and writes, with its place in the arena | weights | what was fused | tasks
 *
 * x, x2 and x3 are read, y is written; q8 is a quantised copy (read by matrices, written by others), glu8 that of a product of gate
 * and up. Tasks are those of a step of one row and of the largest step; of what is for the rows of a source, of steps of sources.
 */
#include "cpu/internal.h"

#include "base/buf.h"
#include "base/word.h"

#include <string.h>

static const char *const kind_names[VS_N_INSTRS] = {
    [VS_I_ROPE_TABLE] = "rope_table", [VS_I_EMBED] = "embed", [VS_I_POSITION] = "position",
    [VS_I_TAKE] = "take", [VS_I_NORM] = "norm", [VS_I_ACT] = "quantise",
    [VS_I_LINEAR] = "linear", [VS_I_QKV] = "heads", [VS_I_ATTENTION] = "attention", [VS_I_MERGE] = "merge", [VS_I_GLU] = "glu",
    [VS_I_ADD] = "add", [VS_I_SCALE] = "scale", [VS_I_GATE] = "gate", [VS_I_ROUTE] = "route", [VS_I_GROUP] = "group",
    [VS_I_GATHER] = "gather", [VS_I_EXPERTS] = "experts", [VS_I_COMBINE] = "combine", [VS_I_SOFTCAP] = "softcap",
    [VS_I_CLAMP] = "clamp",
    [VS_I_CONV] = "convolve", [VS_I_SCAN_HEADS] = "scan2", [VS_I_SCAN] = "scan",
    [VS_I_SHIFT] = "shift", [VS_I_WKV6] = "wkv6", [VS_I_WKV7] = "wkv7", [VS_I_STREAMS] = "streams",
    [VS_I_MATCH] = "match", [VS_I_MEAN] = "mean", [VS_I_SPARSE] = "sparse",
    [VS_I_DELTA] = "delta", [VS_I_PICK] = "pick", [VS_I_JOIN] = "join",
    [VS_I_BY_HEADS] = "by_heads",
    [VS_I_CHECK] = "check",
    [VS_I_OBSERVE] = "observe",
};

struct writer {
    const struct vs_cpu *c;
    const struct vs_graph *g;
    const float *marks;                  /* weight i "lies" at marks + i */
    struct vs_buf *out;
};

static void place(struct writer *w, const char *label, uint32_t buffer)
{
    if (buffer != VS_NONE)
        vs_buf_printf(w->out, " %s@%zu", label, w->c->program.buffers[buffer].offset);
}

static void vector(struct writer *w, const char *label, const float *v)
{
    if (v)
        vs_buf_printf(w->out, "%s%s", label, w->g->tensors[v - w->marks].name);
}

static void matrices(struct writer *w, const struct vs_instr *in)
{
    for (uint32_t i = 0; i < in->n; i++) {
        const struct vs_linear *m = &w->c->program.linears[in->first + i];
        const struct vs_tensor *t = &w->g->tensors[(const float *)(const void *)m->w.data - w->marks];
        vs_buf_printf(w->out, "%s %s %s as %s [%u x %u]", i ? ";" : " |", t->name, vs_dtype_info((uint32_t)t->dtype)->name,
                      vs_class_infos[m->w.cls].name, m->w.n_cols, m->w.n_rows);
        vector(w, " + ", m->bias);
        place(w, "y", m->y);
        place(w, "+ residual", m->residual);
    }
}

/* The matrices of all experts: the first's name stands for them. */
static void experts(struct writer *w, const struct vs_instr *in)
{
    const struct vs_mixture *m = &w->c->program.mixtures[in->experts];
    const struct { uint32_t first; const float *scale, *bias; } of[] = {
        { in->kind == VS_I_EXPERTS ? m->gate : m->down, in->kind == VS_I_EXPERTS ? m->gate_scale : m->down_scale,
          in->kind == VS_I_EXPERTS ? m->gate_bias : m->down_bias },
        { in->kind == VS_I_EXPERTS ? m->up : VS_NONE, m->up_scale, m->up_bias },
    };
    for (int k = 0; k < 2; k++) {
        if (of[k].first == VS_NONE)
            continue;
        const struct vs_linear *l = &w->c->program.linears[of[k].first];
        const struct vs_tensor *t = &w->g->tensors[(const float *)(const void *)l->w.data - w->marks];
        vs_buf_printf(w->out, "%s %u x %s %s as %s [%u x %u]", k ? ";" : " |", m->of.n, t->name,
                      vs_dtype_info((uint32_t)t->dtype)->name, vs_class_infos[l->w.cls].name, l->w.n_cols, l->w.n_rows);
        vector(w, " times ", of[k].scale);
        vector(w, " + ", of[k].bias);
    }
}

static void by_heads(struct writer *w, const struct vs_instr *in)
{
    const struct vs_linear *l = &w->c->program.linears[in->first];
    const struct vs_tensor *t = &w->g->tensors[(const float *)(const void *)l->w.data - w->marks];
    vs_buf_printf(w->out, " | %u x %s %s as %s [%u x %u]", in->n, t->name, vs_dtype_info((uint32_t)t->dtype)->name,
                  vs_class_infos[l->w.cls].name, l->w.n_cols, l->w.n_rows);
}

static void weights(struct writer *w, const struct vs_instr *in)
{
    if (in->kind == VS_I_BY_HEADS)
        by_heads(w, in);
    if (in->kind == VS_I_EXPERTS || in->kind == VS_I_COMBINE)
        experts(w, in);
    if (in->kind == VS_I_ROUTE) {
        vs_buf_printf(w->out, " | %u of %u", w->c->program.mixtures[in->experts].of.n_used, in->width);
        vector(w, ", chosen with ", w->c->program.mixtures[in->experts].choice_bias);
    }
    if (in->kind == VS_I_LINEAR)
        matrices(w, in);
    if (in->kind == VS_I_EMBED || in->kind == VS_I_POSITION)
        vs_buf_printf(w->out, " | %s %s [%u x %u]", w->g->tensors[in->tensor].name,
                      vs_dtype_info((uint32_t)w->g->tensors[in->tensor].dtype)->name, w->g->tensors[in->tensor].n_cols,
                      w->g->tensors[in->tensor].n_rows);
    if (in->kind == VS_I_NORM) {
        vector(w, " | ", in->weight);
        vector(w, " plus ", in->bias);
    }
    if (in->kind == VS_I_CONV) {
        vector(w, " | over so many positions: ", in->weight);
        vector(w, " plus ", in->bias);
    }
    if (in->kind == VS_I_SCAN_HEADS || in->kind == VS_I_SCAN || in->kind == VS_I_DELTA) {
        vector(w, " | A ", in->weight);
        vector(w, ", D ", in->weight2);
        vector(w, ", steps plus ", in->bias);
    }
    if (in->kind >= VS_I_SHIFT && in->kind <= VS_I_WKV7) {
        vector(w, " | by ", in->weight);
        vector(w, ", ", in->weight2);
        vector(w, ", ", in->bias);
    }
    if (in->kind == VS_I_SCALE) {
        if (in->weight2)
            vector(w, " | times ", in->weight2);
        else
            vs_buf_printf(w->out, " | times %g", (double)in->scale);
        vector(w, " plus ", in->weight);
    }
}

static void fused(struct writer *w, const struct vs_instr *in)
{
    if (in->kind == VS_I_NORM && in->x2 != VS_NONE)
        vs_buf_str(w->out, " | adds x2");
    if (in->epilogue == VS_EPILOGUE_GLU)
        vs_buf_printf(w->out, " | then gate and up become one (%s)", in->activation == VS_ACT_SILU ? "silu" : "gelu");
    if (in->epilogue == VS_EPILOGUE_HEADS || in->kind == VS_I_QKV) {
        vs_buf_printf(w->out, " | %s", in->epilogue == VS_EPILOGUE_HEADS ? "then by heads:" : "by heads:");
        vector(w, " norm of q ", in->weight);
        vector(w, ", of k ", in->weight2);
        vs_buf_printf(w->out, "%s rope %u", in->weight ? "," : "", in->rope);
        if (in->rope_first)
            vs_buf_printf(w->out, " from element %u on", in->rope_first);
        vs_buf_str(w->out, ", K and V to their pages");
    }
    if (in->kind == VS_I_ATTENTION) {
        vs_buf_printf(w->out, " | layer %u, %u head%s of %u on %u of K and V", in->layer, in->n_heads,
                      vs_plural(in->n_heads), in->head_dim, in->n_kv_heads);
        if (in->value_dim != in->head_dim)
            vs_buf_printf(w->out, ", values of %u", in->value_dim);
        if (in->window)
            vs_buf_printf(w->out, ", window %u", in->window);
        vector(w, ", sinks ", in->sinks);
        if (in->tensor != VS_NONE)
            vs_buf_printf(w->out, ", by distance plus %s", w->g->tensors[in->tensor].name);
        if (in->both_ways)
            vs_buf_str(w->out, ", both ways");
        if (in->of_source)
            vs_buf_str(w->out, ", of the source");
    }
    if (in->sides == VS_SIDE_SOURCE)
        vs_buf_str(w->out, " | for a source");
    if (in->is_prologue)
        vs_buf_printf(w->out, " | with up to %d rows each thread does it for itself", VS_FEW_ROWS);
}

static void line(struct writer *w, uint32_t i, uint32_t n_few, uint32_t n_many)
{
    const struct vs_instr *in = &w->c->program.instrs[i];
    vs_buf_printf(w->out, "%4u  %-10s %-4s %6u ", i, kind_names[in->kind], in->rows == VS_ROWS_STEP ? "step" : "out", in->width);
    place(w, "x", in->x);
    place(w, "x2", in->x2);
    place(w, "x3", in->x3);
    place(w, "y", in->y);
    place(w, "q8", in->act);
    place(w, "glu8", in->act2);
    weights(w, in);
    fused(w, in);
    vs_buf_printf(w->out, " | tasks %u, %u\n", n_few, n_many);
}

static void count(struct vs_cpu *c, struct vs_step step, uint32_t *ret_n_tasks)
{
    size_t n = c->program.n_instrs;
    vs_cpu_count_tasks(c, &step);
    memcpy(ret_n_tasks, c->run.n_tasks, n * sizeof *ret_n_tasks);
    step.source = true;
    vs_cpu_count_tasks(c, &step);
    for (size_t i = 0; i < n; i++)
        if (c->program.instrs[i].sides == VS_SIDE_SOURCE)
            ret_n_tasks[i] = c->run.n_tasks[i];
}

void vs_cpu_describe(struct vs_cpu *c, const struct vs_graph *g, const float *marks, struct vs_row *rows, uint32_t *n_tasks,
                     struct vs_buf *out)
{
    struct writer w = { c, g, marks, out };
    uint32_t last = 0, *n_few = n_tasks, *n_many = n_tasks + c->program.n_instrs;
    for (uint32_t i = 0; i < c->config.max_rows; i++)
        rows[i] = (struct vs_row){ .position = i };
    const struct vs_stretch few = { .n = 1, .from = VS_NO_STATE }, many = { .n = c->config.max_rows, .from = VS_NO_STATE };
    struct vs_step step = { .rows = rows, .n_rows = 1, .out = &last, .n_out = 1, .stretches = &few, .n_stretches = 1 };
    count(c, step, n_few);
    step.n_rows = c->config.max_rows;
    step.stretches = &many;
    count(c, step, n_many);
    vs_buf_printf(out, "%s on %s, %s, %u thread%s, at most %u row%s in a step: %zu instruction%s, %zu bytes for what they make\n",
                  g->architecture, c->base.kind->name, c->ops.name, c->config.n_threads, vs_plural(c->config.n_threads),
                  c->config.max_rows, vs_plural(c->config.max_rows), c->program.n_instrs, vs_plural(c->program.n_instrs),
                  c->memory.arena_bytes);
    for (uint32_t i = 0; i < c->program.n_instrs; i++)
        line(&w, i, n_few[i], n_many[i]);
}
