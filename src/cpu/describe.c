/* cpu/describe.c - the lowered program as text, a line an instruction: the way from file to step, to be read.
 *
 *   number  what  rows  width | what it reads and writes, with its place in the arena | weights | what was fused | tasks
 *
 * x, x2 and x3 are read, y is written; q8 is a quantised copy (read by matrices, written by others), glu8 that of a product of gate
 * and up. Tasks are those of a step of one row and of the largest step.
 */
#include "cpu/internal.h"

#include "base/buf.h"
#include "base/word.h"

#include <string.h>

static const char *const kind_names[VS_N_INSTRS] = {
    [VS_I_ROPE_TABLE] = "rope_table", [VS_I_EMBED] = "embed", [VS_I_TAKE] = "take", [VS_I_NORM] = "norm", [VS_I_ACT] = "quantise",
    [VS_I_LINEAR] = "linear", [VS_I_QKV] = "heads", [VS_I_ATTENTION] = "attention", [VS_I_MERGE] = "merge", [VS_I_GLU] = "glu",
    [VS_I_ADD] = "add", [VS_I_SCALE] = "scale", [VS_I_SOFTCAP] = "softcap", [VS_I_CHECK] = "check",
};

static const char *const class_names[VS_N_CLASSES] = {
    "Q4", "Q4M", "Q5", "Q5M", "Q8", "K2", "K3", "K4", "K5", "K6", "F32", "F16", "BF16",
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
                      class_names[m->w.cls], m->w.n_cols, m->w.n_rows);
        vector(w, " + ", m->bias);
        place(w, "y", m->y);
        place(w, "+ residual", m->residual);
    }
}

static void weights(struct writer *w, const struct vs_instr *in)
{
    if (in->kind == VS_I_LINEAR)
        matrices(w, in);
    if (in->kind == VS_I_EMBED)
        vs_buf_printf(w->out, " | %s %s [%u x %u]", w->g->tensors[in->tensor].name,
                      vs_dtype_info((uint32_t)w->g->tensors[in->tensor].dtype)->name, w->g->tensors[in->tensor].n_cols,
                      w->g->tensors[in->tensor].n_rows);
    if (in->kind == VS_I_NORM)
        vector(w, " | ", in->weight);
    if (in->kind == VS_I_SCALE) {
        vector(w, " | times ", in->weight2);
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
        vs_buf_printf(w->out, "%s rope %u, K and V to their pages", in->weight ? "," : "", in->rope);
    }
    if (in->kind == VS_I_ATTENTION) {
        vs_buf_printf(w->out, " | layer %u, %u head%s of %u on %u of K and V", in->layer, in->n_heads,
                      vs_plural(in->n_heads), in->head_dim, in->n_kv_heads);
        if (in->window)
            vs_buf_printf(w->out, ", window %u", in->window);
    }
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

void vs_cpu_describe(struct vs_cpu *c, const struct vs_graph *g, const float *marks, struct vs_row *rows, uint32_t *n_few,
                     struct vs_buf *out)
{
    struct writer w = { c, g, marks, out };
    uint32_t last = 0;
    for (uint32_t i = 0; i < c->config.max_rows; i++)
        rows[i] = (struct vs_row){ .position = i };
    struct vs_step step = { .rows = rows, .n_rows = 1, .out = &last, .n_out = 1 };
    vs_cpu_count_tasks(c, &step);
    memcpy(n_few, c->run.n_tasks, c->program.n_instrs * sizeof *n_few);
    step.n_rows = c->config.max_rows;
    vs_cpu_count_tasks(c, &step);
    vs_buf_printf(out, "%s on %s, %s, %u thread%s, at most %u row%s in a step: %zu instruction%s, %zu bytes for what they make\n",
                  g->architecture, c->base.kind->name, c->ops.name, c->config.n_threads, vs_plural(c->config.n_threads),
                  c->config.max_rows, vs_plural(c->config.max_rows), c->program.n_instrs, vs_plural(c->program.n_instrs),
                  c->memory.arena_bytes);
    for (uint32_t i = 0; i < c->program.n_instrs; i++)
        line(&w, i, n_few[i], c->run.n_tasks[i]);
}
