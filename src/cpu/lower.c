/* cpu/lower.c - from graph to flat program.
 *
 * What is fused, because it saves memory traffic or a barrier:
 *   matrices that read the same value become one group (QKV, gate + up);
 *   a value that only matrices of block formats read is quantised where it is made (norm, GLU) and never stored as f32;
 *   an addition whose one operand comes from a matrix or a norm happens where that is stored;
 *   head norms and rope work in place on q and k, together with the write to the cache, as soon as a head's q, k or v is there;
 *   gate and up become their product as soon as 32 columns of both are there;
 *   with few rows, a norm or quantiser before a matrix is repeated by every thread (run.c), which saves a barrier.
 */
#include "cpu/internal.h"

#include "base/num.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct lowering {
    struct vs_cpu *c;
    const struct vs_graph *g;
    uint32_t *maker;                     /* node that makes value v */
    uint32_t *user, *n_users;            /* one node that reads value v; how many do */
    bool *want_act, *want_f32;
    bool *only_linear;                   /* nothing but matrices reads value v */
    bool *done;                          /* node is absorbed in an instruction */
    uint32_t *buffer, *act;              /* of value v */
    uint32_t *adapters;                  /* of value v: those that alone read it, as bits */
    unsigned *outputs;                   /* of value v: which outputs need it, as bits; */
    unsigned now_for;                    /* what the instructions that are emitted now are for */
    unsigned sides;                      /* and for which rows */
    int status;
};

/* ---- growing the program ---- */

static bool room(struct lowering *l, void **items, size_t n, size_t *cap, size_t size)
{
    if (l->status != VS_OK)
        return false;
    if (n < *cap)
        return true;
    size_t more = *cap ? *cap * 2 : 64;
    void *grown = realloc(*items, more * size);
    if (!grown) {
        l->status = VS_E_NOMEM;
        return false;
    }
    *items = grown;
    *cap = more;
    return true;
}

static uint32_t now(const struct lowering *l)            /* index of the instruction to be emitted next */
{
    return (uint32_t)l->c->program.n_instrs;
}

static uint32_t new_buffer(struct lowering *l, enum vs_rows rows, size_t row_bytes)
{
    struct vs_cpu *c = l->c;
    void *items = c->program.buffers;
    if (!room(l, &items, c->program.n_buffers, &c->program.cap_buffers, sizeof *c->program.buffers))
        return 0;
    c->program.buffers = items;
    size_t n = rows == VS_ROWS_STEP ? c->config.max_rows : c->config.max_out;
    c->program.buffers[c->program.n_buffers] = (struct vs_plan_item){ .bytes = n * row_bytes, .first = now(l), .last = now(l) };
    return (uint32_t)c->program.n_buffers++;
}

static uint32_t f32_buffer(struct lowering *l, uint32_t value)
{
    const struct vs_value *v = &l->g->values[value];
    return l->buffer[value] = new_buffer(l, v->rows, (size_t)v->width * 4);
}

static uint32_t act_buffer(struct lowering *l, uint32_t value)
{
    const struct vs_value *v = &l->g->values[value];
    return l->act[value] = new_buffer(l, v->rows, (v->width + 31) / 32 * vs_cpu_act_rows(l->c, 1) * sizeof(struct vs_act));
}

static uint32_t touch(struct lowering *l, uint32_t buffer)    /* alive at the next instruction */
{
    if (l->status == VS_OK && buffer != VS_NONE)
        l->c->program.buffers[buffer].last = now(l);
    return buffer;
}

static void emit(struct lowering *l, struct vs_instr in)
{
    struct vs_cpu *c = l->c;
    void *items = c->program.instrs;
    if (!room(l, &items, c->program.n_instrs, &c->program.cap_instrs, sizeof *c->program.instrs))
        return;
    c->program.instrs = items;
    in.outputs = l->now_for;
    in.sides = l->sides;
    c->program.instrs[c->program.n_instrs++] = in;
}

static struct vs_instr instr(enum vs_instr_kind kind, enum vs_rows rows)
{
    return (struct vs_instr){ .kind = kind, .rows = rows, .x = VS_NONE, .x2 = VS_NONE, .x3 = VS_NONE, .y = VS_NONE,
                              .act = VS_NONE, .act2 = VS_NONE, .tensor = VS_NONE, .prologue = VS_NONE };
}

/* ---- reading the graph ---- */

static bool tensor_is_float(const struct lowering *l, uint32_t tensor)
{
    return vs_class_infos[vs_class_of(l->g->tensors[tensor].dtype)].is_float;
}

static bool is_float(const struct lowering *l, const struct vs_node *linear)
{
    return tensor_is_float(l, linear->tensor[0]);
}

static const float *vector(const struct lowering *l, uint32_t tensor)
{
    return tensor == VS_NONE ? NULL : l->c->memory.weights[tensor].vector;
}

/* Experts read f32, quantised rows or both, as the types of their matrices are. */
static void experts_want(struct lowering *l, const struct vs_experts *e, uint32_t x)
{
    uint32_t first[2] = { e->up, e->gate };
    for (int k = 0; k < 2 && first[k] != VS_NONE; k++)
        for (uint32_t i = 0; i < e->n; i++)
            *(tensor_is_float(l, first[k] + i) || e->weigh_input ? &l->want_f32[x] : &l->want_act[x]) = true;
    l->want_f32[x] |= l->c->config.observe;
}

static bool analyse(struct lowering *l)
{
    size_t nv = l->g->n_values, nn = l->g->n_nodes;
    l->maker = calloc(nv, sizeof *l->maker);
    l->user = calloc(nv, sizeof *l->user);
    l->n_users = calloc(nv, sizeof *l->n_users);
    l->want_act = calloc(nv, 1);
    l->want_f32 = calloc(nv, 1);
    l->only_linear = malloc(nv);
    l->buffer = malloc(nv * sizeof *l->buffer);
    l->act = malloc(nv * sizeof *l->act);
    l->outputs = calloc(nv, sizeof *l->outputs);
    l->adapters = calloc(nv, sizeof *l->adapters);
    l->done = calloc(nn, 1);
    if (!l->maker || !l->user || !l->n_users || !l->want_act || !l->want_f32 || !l->only_linear || !l->buffer
        || !l->act || !l->outputs || !l->adapters || !l->done)
        return false;
    for (size_t v = 0; v < nv; v++) {
        l->buffer[v] = l->act[v] = VS_NONE;
        l->only_linear[v] = true;
    }
    for (uint32_t i = 0; i < nn; i++) {
        const struct vs_node *n = &l->g->nodes[i];
        l->maker[n->out] = i;
        for (int k = 0; k < 3; k++) {
            uint32_t v = n->in[k];
            if (v == VS_NONE)
                continue;
            l->user[v] = i;
            l->n_users[v]++;
            l->only_linear[v] &= n->op == VS_OP_LINEAR;
            if (n->op == VS_OP_LINEAR && l->c->config.observe)
                l->want_f32[v] = true;
            if (n->op == VS_OP_LINEAR && !is_float(l, n))
                l->want_act[v] = true;
            else if (n->op == VS_OP_EXPERTS && k == 0)
                experts_want(l, &l->g->experts[n->p.experts], v);
            else
                l->want_f32[v] = true;
        }
    }
    for (size_t i = 0; i < l->g->n_adapts; i++)
        l->adapters[l->g->adapts[i].down] |= 1u << l->g->adapts[i].adapter;
    for (int k = 0; k < VS_N_OUTPUTS; k++)
        if (l->g->output[k] != VS_NONE) {
            l->want_f32[l->g->output[k]] = true;
            l->outputs[l->g->output[k]] |= 1u << k;
        }
    for (size_t i = nn; i-- > 0;) {
        const struct vs_node *n = &l->g->nodes[i];
        if (n->op == VS_OP_KEEP)         /* what the cache holds, later steps read */
            l->outputs[n->out] = ~0u;
        for (int k = 0; k < 3; k++)
            if (n->in[k] != VS_NONE)
                l->outputs[n->in[k]] |= l->outputs[n->out];
        for (uint32_t k = 0; k < n->p.n_adapts; k++)
            l->outputs[l->g->adapts[n->p.first_adapt + k].down] |= l->outputs[n->out];
    }
    return true;
}

/* The outputs that a value is itself. */
static unsigned yields(const struct lowering *l, uint32_t value)
{
    unsigned bits = 0;
    for (int k = 0; k < VS_N_OUTPUTS; k++)
        bits |= l->g->output[k] == value ? 1u << k : 0;
    return bits;
}

/* The ADD that alone reads `value` and whose other operand is already there; NULL when there is none. */
static const struct vs_node *lone_add(struct lowering *l, uint32_t value, uint32_t *ret_other)
{
    if (l->n_users[value] != 1)
        return NULL;
    const struct vs_node *add = &l->g->nodes[l->user[value]];
    if (add->op != VS_OP_ADD || add->in[1] != value || l->buffer[add->in[0]] == VS_NONE)
        return NULL;
    *ret_other = add->in[0];
    return add;
}

/* ---- one kind of node each ---- */

static void quantise(struct lowering *l, uint32_t value)     /* for values whose maker could not */
{
    if (!l->want_act[value] || l->act[value] != VS_NONE)
        return;
    struct vs_instr in = instr(VS_I_ACT, l->g->values[value].rows);
    in.x = touch(l, l->buffer[value]);
    in.width = l->g->values[value].width;
    in.act = act_buffer(l, value);
    unsigned now_for = l->now_for;
    l->now_for = l->outputs[value];      /* also for those who read it later */
    emit(l, in);
    l->now_for = now_for;
}

static void lower_embed(struct lowering *l, const struct vs_node *n)
{
    struct vs_instr in = instr(VS_I_EMBED, VS_ROWS_STEP);
    in.tensor = n->tensor[0];
    in.scale = n->p.scale;
    in.width = l->g->values[n->out].width;
    in.y = f32_buffer(l, n->out);
    emit(l, in);
}

static void lower_position(struct lowering *l, const struct vs_node *n)
{
    struct vs_instr in = instr(VS_I_POSITION, VS_ROWS_STEP);
    in.tensor = n->tensor[0];
    in.x = touch(l, l->buffer[n->in[0]]);
    in.width = l->g->values[n->out].width;
    in.y = f32_buffer(l, n->out);
    emit(l, in);
}

static void lower_norm(struct lowering *l, const struct vs_node *n)
{
    struct vs_instr in = instr(VS_I_NORM, l->g->values[n->out].rows);
    in.x = touch(l, l->buffer[n->in[0]]);
    in.width = l->g->values[n->out].width;
    in.weight = vector(l, n->tensor[0]);
    in.is_layer_norm = n->op == VS_OP_LAYER_NORM;
    in.bias = vector(l, n->tensor[1]);
    in.eps = n->p.eps;
    in.n_groups = n->op == VS_OP_RMS_NORM ? 0 : n->p.n_heads;
    if (in.n_groups && in.weight) {
        const struct vs_tensor *t = &l->g->tensors[n->tensor[0]];
        in.one_weight = t->n_cols * t->n_rows < in.width;
    }
    uint32_t other, out = n->out;
    const struct vs_node *add = lone_add(l, out, &other);
    if (add) {
        in.x2 = touch(l, l->buffer[other]);
        out = add->out;
        l->done[l->maker[out]] = true;
    }
    in.y = f32_buffer(l, out);           /* always stored: the quantiser reads it while it is in the cache */
    in.yields = yields(l, out);
    if (l->want_act[out])
        in.act = act_buffer(l, out);
    emit(l, in);
}

/* Follows q or k back over rope and head norm, in either order, to the value that was there before them. */
static uint32_t trace(struct lowering *l, uint32_t value, const struct vs_node **ret_rope, const struct vs_node **ret_norm)
{
    *ret_rope = *ret_norm = NULL;
    for (;;) {
        const struct vs_node *n = &l->g->nodes[l->maker[value]];
        if (n->op == VS_OP_ROPE && !*ret_rope)
            *ret_rope = n;
        else if (n->op == VS_OP_RMS_NORM && n->p.head_dim && !*ret_norm)
            *ret_norm = n;
        else
            return value;
        value = n->in[0];
    }
}

/* Is the norm, where both are there, the last of the two? */
static bool norm_is_last(const struct lowering *l, const struct vs_node *rope, const struct vs_node *norm)
{
    return rope && norm && l->maker[norm->out] > l->maker[rope->out];
}

/* The norm of the values of an attention, or NULL. */
static const struct vs_node *values_norm(const struct lowering *l, const struct vs_node *n)
{
    const struct vs_node *v = n->in[2] == VS_NONE ? NULL : &l->g->nodes[l->maker[n->in[2]]];
    return v && v->op == VS_OP_RMS_NORM && v->p.head_dim && v->tensor[0] == VS_NONE ? v : NULL;
}

/* What an attention says of its heads; ret_value[3]: q, k, v as the matrices made them. */
static void set_heads(struct lowering *l, const struct vs_node *n, struct vs_instr *in, uint32_t ret_value[3])
{
    const struct vs_node *q_rope, *q_norm, *k_rope = NULL, *k_norm = NULL, *v_norm = values_norm(l, n);
    ret_value[VS_ROLE_Q] = trace(l, n->in[0], &q_rope, &q_norm);
    ret_value[VS_ROLE_K] = n->in[1] == VS_NONE ? VS_NONE : trace(l, n->in[1], &k_rope, &k_norm);
    ret_value[VS_ROLE_V] = v_norm ? v_norm->in[0] : n->in[2];
    in->v_normed = v_norm != NULL;
    in->weight = q_norm ? vector(l, q_norm->tensor[0]) : NULL;
    in->weight2 = k_norm ? vector(l, k_norm->tensor[0]) : NULL;
    in->eps = q_norm ? q_norm->p.eps : v_norm ? v_norm->p.eps : 0;
    in->rope = q_rope ? q_rope->p.rope : VS_NONE;
    in->rope_first = q_rope ? q_rope->p.first : 0;
    in->norm_last = norm_is_last(l, q_rope, q_norm);
    in->temperature = n->p.temperature;
    in->temperature_length = n->p.temperature_length;
    in->temperature_first = n->p.temperature_first;
    in->chunks = n->p.chunks;
    in->q_normed = q_norm != NULL;
    in->k_normed = k_norm != NULL;
    in->n_heads = n->p.n_heads;
    in->n_kv_heads = n->p.n_kv_heads;
    in->head_dim = n->p.head_dim;
    in->value_dim = n->p.value_dim;
    in->layer = n->p.layer;
    in->window = n->p.window;
    in->sinks = vector(l, n->tensor[0]);
    in->both_ways = n->p.both_ways;
    in->of_source = n->p.of_source;
    in->alibi = n->p.alibi;
    in->tensor = n->tensor[1];
    in->scale = n->p.scale;
    in->cap = n->p.softcap;
}

/* The linears of `in`, just gathered, are the gate and up of a GLU that alone reads them: it becomes their epilogue. */
static void fuse_glu(struct lowering *l, struct vs_instr *in)
{
    struct vs_linear *m = &l->c->program.linears[in->first];
    if (l->c->config.observe || in->n != 2 || l->n_users[m[0].y] != 1 || l->n_users[m[1].y] != 1)
        return;
    const struct vs_node *glu = &l->g->nodes[l->user[m[0].y]];
    if (glu->op != VS_OP_GLU || glu->p.activation > VS_ACT_GELU_TANH || glu->p.scale > 0 || l->user[m[1].y] != l->user[m[0].y]
        || m[0].w.n_rows % 32)
        return;
    if (glu->in[0] != m[0].y) {          /* gate first */
        struct vs_linear gate = m[1];
        m[1] = m[0];
        m[0] = gate;
    }
    in->epilogue = VS_EPILOGUE_GLU;
    in->activation = glu->p.activation;
    if (l->want_f32[glu->out])
        in->y = f32_buffer(l, glu->out);
    if (l->want_act[glu->out])
        in->act2 = act_buffer(l, glu->out);
    l->done[l->maker[glu->out]] = true;
}

/* They are the q, k and v of one attention, each head of whole panels: head norms, rope and cache become their epilogue. */
static void fuse_heads(struct lowering *l, struct vs_instr *in)
{
    struct vs_linear *m = &l->c->program.linears[in->first];
    if (in->n != 3)
        return;
    for (uint32_t i = 0; i < l->g->n_nodes; i++) {
        const struct vs_node *n = &l->g->nodes[i];
        if (n->op != VS_OP_ATTENTION || n->in[1] == VS_NONE || n->p.head_dim % VS_PANEL_ROWS || n->p.value_dim != n->p.head_dim)
            continue;
        struct vs_instr heads = *in;
        uint32_t value[3], n_found = 0;
        set_heads(l, n, &heads, value);
        for (uint32_t k = 0; k < 3; k++)
            for (uint32_t role = 0; role < 3; role++)
                if (m[k].y == value[role] && l->n_users[m[k].y] == 1) {
                    m[k].role = (enum vs_role)role;
                    n_found++;
                }
        if (n_found == 3) {
            *in = heads;
            in->epilogue = VS_EPILOGUE_HEADS;
            return;
        }
    }
}

/* The instruction before makes what only these matrices read, and those of adapters in front of them: with few rows every thread
 * makes it for itself. */
static void adopt_prologue(struct lowering *l, struct vs_instr *in, uint32_t value)
{
    struct vs_instr *instrs = l->c->program.instrs;
    uint32_t n = in->n, at = now(l);
    for (; at && instrs[at - 1].adapters && instrs[at - 1].x == in->x && instrs[at - 1].act == in->act; at--)
        n += instrs[at - 1].n;
    if (n < l->n_users[value] || !at)
        return;
    struct vs_instr *before = &instrs[at - 1];
    if (before->rows != in->rows || before->act != in->act)
        return;
    if ((before->kind == VS_I_ACT && before->x == in->x)
        || (before->kind == VS_I_NORM && before->y == in->x && before->x2 == VS_NONE && l->only_linear[value])) {
        before->is_prologue = true;
        in->prologue = at - 1;
        for (uint32_t i = at; i < now(l); i++)
            instrs[i].prologue = at - 1;
        touch(l, before->x);             /* read as late as now */
    }
}

/* Is what the adapters make of its input there? */
static bool is_ready(const struct lowering *l, const struct vs_node *n)
{
    for (uint32_t i = 0; i < n->p.n_adapts; i++)
        if (l->buffer[l->g->adapts[n->p.first_adapt + i].down] == VS_NONE)
            return false;
    return true;
}

static void lower_adapts(struct lowering *l, const struct vs_node *n, struct vs_linear *m)
{
    struct vs_program *p = &l->c->program;
    m->first_adapt = (uint32_t)p->n_adapted;
    for (uint32_t i = 0; i < n->p.n_adapts; i++) {
        const struct vs_adapt *a = &l->g->adapts[n->p.first_adapt + i];
        void *items = p->adapted;
        if (!room(l, &items, p->n_adapted, &p->cap_adapted, sizeof *p->adapted))
            return;
        p->adapted = items;
        p->adapted[p->n_adapted++] = (struct vs_adapted){ .up = l->c->memory.weights[a->up].matrix, .adapter = a->adapter,
                                                          .down = touch(l, l->buffer[a->down]), .factor = a->factor };
        m->n_adapts++;
    }
}

/* Does a matrix that is still to come read the value too? */
static bool is_read_later(const struct lowering *l, uint32_t value, uint32_t from)
{
    for (uint32_t i = from; i < l->g->n_nodes; i++)
        if (l->g->nodes[i].op == VS_OP_LINEAR && l->g->nodes[i].in[0] == value && !l->done[i])
            return true;
    return false;
}

/* The node of a GLU that makes one of this matrix's result and of another's that reads the same; VS_NONE: none. */
static uint32_t glu_of(const struct lowering *l, const struct vs_node *linear)
{
    if (l->n_users[linear->out] != 1)
        return VS_NONE;
    const struct vs_node *glu = &l->g->nodes[l->user[linear->out]];
    if (glu->op != VS_OP_GLU || glu->in[1] == VS_NONE)
        return VS_NONE;
    for (int k = 0; k < 2; k++) {
        const struct vs_node *n = &l->g->nodes[l->maker[glu->in[k]]];
        if (n->op != VS_OP_LINEAR || n->in[0] != linear->in[0])
            return VS_NONE;
    }
    return l->user[linear->out];
}

/* The layer of the cache to which this matrix's result goes as it is; VS_NONE: none. */
static uint32_t kept_for(const struct lowering *l, const struct vs_node *linear)
{
    const struct vs_node *user = l->n_users[linear->out] ? &l->g->nodes[l->user[linear->out]] : NULL;
    return user && user->op == VS_OP_KEEP ? user->p.layer : VS_NONE;
}

/* One more matrix of the program. NULL: out of memory. */
static struct vs_linear *new_linear(struct lowering *l, uint32_t tensor)
{
    struct vs_cpu *c = l->c;
    void *items = c->program.linears;
    if (!room(l, &items, c->program.n_linears, &c->program.cap_linears, sizeof *c->program.linears))
        return NULL;
    c->program.linears = items;
    struct vs_linear *m = &c->program.linears[c->program.n_linears++];
    *m = (struct vs_linear){ .w = c->memory.weights[tensor].matrix, .y = VS_NONE, .residual = VS_NONE };
    return m;
}

/* ---- what matrices read ---- */

/* New sums, for which the instruction is emitted. VS_NONE: out of memory. */
static uint32_t observe(struct lowering *l, struct vs_instr in, uint32_t n_columns, uint32_t n_matrices)
{
    struct vs_program *p = &l->c->program;
    void *items = p->sums;
    if (!room(l, &items, p->n_sums, &p->cap_sums, sizeof *p->sums))
        return VS_NONE;
    p->sums = items;
    struct vs_sums s = { n_columns, n_matrices, calloc((size_t)n_columns * n_matrices, sizeof *s.sum),
                         calloc(n_matrices, sizeof *s.n_rows) };
    p->sums[p->n_sums++] = s;
    if (!s.sum || !s.n_rows)
        l->status = VS_E_NOMEM;
    in.kind = VS_I_OBSERVE;
    in.width = n_columns;
    in.first = (uint32_t)p->n_sums - 1;
    emit(l, in);
    return in.first;
}

/* A tensor of a layer reads what these sums are of. Parts of one tensor are one. */
static void observe_tensor(struct lowering *l, uint32_t tensor, uint32_t sums)
{
    struct vs_program *p = &l->c->program;
    const char *name = l->g->tensors[tensor].name;
    void *items = p->observed;
    for (size_t i = 0; i < p->n_observed; i++)
        if (strcmp(p->observed[i].name, name) == 0)
            return;
    if (sums == VS_NONE || strncmp(name, "blk.", 4) != 0
        || !room(l, &items, p->n_observed, &p->cap_observed, sizeof *p->observed))
        return;
    p->observed = items;
    const struct vs_sums *s = &p->sums[sums];
    struct vs_observed *o = &p->observed[p->n_observed++];
    *o = (struct vs_observed){ .n_columns = s->n_columns, .n_matrices = s->n_matrices, .sum = s->sum, .n_rows = s->n_rows };
    memcpy(o->name, name, sizeof o->name);
}

/* Those of the matrices that read the same value which go together: a gate and its up, keys and values that a layer keeps of a
 * source (those of all layers at once would take much memory), or all others. */
static void lower_linears(struct lowering *l, uint32_t first)
{
    struct vs_cpu *c = l->c;
    uint32_t x = l->g->nodes[first].in[0], glu = glu_of(l, &l->g->nodes[first]), kept = kept_for(l, &l->g->nodes[first]);
    quantise(l, x);
    uint32_t sums = VS_NONE;
    if (c->config.observe && strncmp(l->g->tensors[l->g->nodes[first].tensor[0]].name, "blk.", 4) == 0) {
        struct vs_instr read = instr(VS_I_OBSERVE, l->g->values[x].rows);
        read.x = touch(l, l->buffer[x]);
        sums = observe(l, read, l->g->values[x].width, 1);
    }
    struct vs_instr in = instr(VS_I_LINEAR, l->g->values[x].rows);
    in.x = touch(l, l->buffer[x]);
    in.act = touch(l, l->act[x]);
    in.width = l->g->values[x].width;
    in.first = (uint32_t)c->program.n_linears;
    in.adapters = l->adapters[l->g->nodes[first].out];
    for (uint32_t i = first; i < l->g->n_nodes && in.n < l->n_users[x]; i++) {
        const struct vs_node *n = &l->g->nodes[i];
        if (n->op != VS_OP_LINEAR || n->in[0] != x || l->done[i] || glu_of(l, n) != glu || kept_for(l, n) != kept || !is_ready(l, n)
            || l->outputs[n->out] != l->now_for || l->adapters[n->out] != in.adapters)
            continue;
        struct vs_linear *m = new_linear(l, n->tensor[0]);
        if (!m)
            return;
        observe_tensor(l, n->tensor[0], sums);
        m->bias = vector(l, n->tensor[1]);
        lower_adapts(l, n, m);
        uint32_t other;
        const struct vs_node *add = lone_add(l, n->out, &other);
        if (add) {
            m->residual = touch(l, l->buffer[other]);
            l->done[l->maker[add->out]] = true;
        }
        m->y = add ? add->out : n->out;  /* the value; its buffer follows */
        l->done[i] = true;
        in.n++;
    }
    if (!is_read_later(l, x, first))
        adopt_prologue(l, &in, x);
    fuse_glu(l, &in);
    fuse_heads(l, &in);
    for (uint32_t k = 0; k < in.n; k++) {
        struct vs_linear *m = &c->program.linears[in.first + k];
        m->y = in.epilogue == VS_EPILOGUE_GLU ? VS_NONE : f32_buffer(l, m->y);
    }
    emit(l, in);
}

static bool heads_are_fused(const struct lowering *l, uint32_t layer)
{
    const struct vs_instr *instrs = l->c->program.instrs;
    size_t i = now(l);
    while (i && !((instrs[i - 1].kind == VS_I_ATTENTION || instrs[i - 1].epilogue == VS_EPILOGUE_HEADS)
                  && instrs[i - 1].layer == layer))
        i--;
    return i && instrs[i - 1].epilogue == VS_EPILOGUE_HEADS;
}

/* The slopes of ALiBi (docs/NUMERICS.md), which all layers share. */
static void make_slopes(struct lowering *l, const struct vs_node *n)
{
    uint32_t heads = n->p.n_heads, power = 1;
    if (!(n->p.alibi > 0) || l->c->program.slopes)
        return;
    float *slopes = l->c->program.slopes = malloc(heads * sizeof *slopes);
    if (!slopes) {
        l->status = VS_E_NOMEM;
        return;
    }
    while (2 * power <= heads)
        power *= 2;
    for (uint32_t h = 0; h < heads; h++) {
        double of = h < power ? (double)(h + 1) / power : (double)(2 * (h - power) + 1) / (2 * power);
        slopes[h] = (float)vs_pow64(2, -(double)n->p.alibi * of);
    }
}

static void lower_attention(struct lowering *l, const struct vs_node *n)
{
    struct vs_cpu *c = l->c;
    uint32_t value[3];
    make_slopes(l, n);
    struct vs_instr in = instr(VS_I_QKV, VS_ROWS_STEP);
    set_heads(l, n, &in, value);
    in.x = touch(l, l->buffer[value[VS_ROLE_Q]]);
    bool own = n->in[1] != VS_NONE;
    if (own) {
        in.x2 = touch(l, l->buffer[value[VS_ROLE_K]]);
        in.x3 = touch(l, l->buffer[value[VS_ROLE_V]]);
    }
    if (!own || !heads_are_fused(l, in.layer))
        emit(l, in);

    in.kind = VS_I_ATTENTION;
    in.x = touch(l, in.x);
    if (l->want_f32[n->out] || in.value_dim % 32)        /* a head is whole blocks, or quantised when all are there */
        in.y = f32_buffer(l, n->out);
    if (l->want_act[n->out] && in.value_dim % 32 == 0)
        in.act = act_buffer(l, n->out);
    in.width = l->g->values[n->out].width;
    emit(l, in);
    in.kind = VS_I_MERGE;
    touch(l, in.y);
    touch(l, in.act);
    emit(l, in);
    if (in.n_heads / in.n_kv_heads > c->program.max_group)
        c->program.max_group = in.n_heads / in.n_kv_heads;
}

static void lower_keep(struct lowering *l, const struct vs_node *n)
{
    struct vs_instr in = instr(VS_I_QKV, VS_ROWS_STEP);
    in.x2 = touch(l, l->buffer[n->in[0]]);
    in.x3 = touch(l, l->buffer[n->in[1]]);
    in.layer = n->p.layer;
    in.n_kv_heads = n->p.n_kv_heads;
    in.head_dim = n->p.head_dim;
    in.value_dim = n->p.value_dim;
    in.rope = VS_NONE;
    emit(l, in);
}

static void lower_glu(struct lowering *l, const struct vs_node *n)
{
    struct vs_instr in = instr(VS_I_GLU, l->g->values[n->out].rows);
    in.x = touch(l, l->buffer[n->in[0]]);
    if (n->in[1] != VS_NONE)
        in.x2 = touch(l, l->buffer[n->in[1]]);
    in.width = l->g->values[n->out].width;
    in.activation = n->p.activation;
    in.scale = n->p.scale;
    memcpy(in.xielu, n->p.xielu, sizeof in.xielu);
    if (n->in[1] != VS_NONE && in.activation == VS_ACT_XIELU)
        l->status = VS_E_UNSUPPORTED;
    in.y = f32_buffer(l, n->out);        /* always stored: the quantiser reads it while it is in the cache */
    if (l->want_act[n->out])
        in.act = act_buffer(l, n->out);
    emit(l, in);
}

static void lower_rowwise(struct lowering *l, const struct vs_node *n, enum vs_instr_kind kind)
{
    struct vs_instr in = instr(kind, l->g->values[n->out].rows);
    in.x = touch(l, l->buffer[n->in[0]]);
    if (n->in[1] != VS_NONE)
        in.x2 = touch(l, l->buffer[n->in[1]]);
    in.width = l->g->values[n->out].width;
    in.cap = n->p.softcap;
    in.eps = n->p.eps;
    in.scale = n->p.scale;
    in.weight2 = vector(l, n->tensor[0]);
    in.one_weight = n->tensor[0] != VS_NONE && l->g->tensors[n->tensor[0]].n_cols == 1;
    in.weight = vector(l, n->tensor[1]);
    bool in_place = (kind == VS_I_SCALE || kind == VS_I_SOFTCAP || kind == VS_I_CLAMP) && l->n_users[n->in[0]] == 1
                    && !yields(l, n->in[0]);
    in.y = in_place ? l->buffer[n->out] = in.x : f32_buffer(l, n->out);
    emit(l, in);
}

static void lower_pick(struct lowering *l, const struct vs_node *n)
{
    struct vs_instr in = instr(VS_I_PICK, l->g->values[n->out].rows);
    in.x = touch(l, l->buffer[n->in[0]]);
    in.width = l->g->values[n->out].width;
    in.n_groups = n->p.n_heads;
    in.head_dim = l->g->values[n->in[0]].width / n->p.n_heads;
    in.first = n->p.first;
    in.y = f32_buffer(l, n->out);
    emit(l, in);
}

static void lower_join(struct lowering *l, const struct vs_node *n)
{
    struct vs_instr in = instr(VS_I_JOIN, l->g->values[n->out].rows);
    uint32_t width = l->g->values[n->in[1]].width;
    in.x = touch(l, l->buffer[n->in[0]]);
    in.x2 = touch(l, l->buffer[n->in[1]]);
    in.width = l->g->values[n->out].width;
    in.n_groups = n->p.n_heads;
    in.head_dim = l->g->values[n->in[0]].width / n->p.n_heads;
    in.n = width / (in.width / in.n_groups - in.head_dim);
    in.y = f32_buffer(l, n->out);
    emit(l, in);
}

/* More matrices of the program, which lie together; their index. */
static uint32_t new_linears(struct lowering *l, uint32_t first, uint32_t n)
{
    uint32_t at = (uint32_t)l->c->program.n_linears;
    for (uint32_t i = 0; i < n && first != VS_NONE; i++)
        new_linear(l, first + i);
    return first == VS_NONE ? VS_NONE : at;
}

static void lower_by_heads(struct lowering *l, const struct vs_node *n)
{
    struct vs_instr in = instr(VS_I_BY_HEADS, l->g->values[n->out].rows);
    in.x = touch(l, l->buffer[n->in[0]]);
    in.width = l->g->values[n->in[0]].width;
    in.first = new_linears(l, n->tensor[0], n->p.n_heads);
    in.n = n->p.n_heads;
    in.y = f32_buffer(l, n->out);
    emit(l, in);
}

/* Convolutions and scans. */
static void lower_state(struct lowering *l, const struct vs_node *n, enum vs_instr_kind kind)
{
    struct vs_instr in = instr(kind, l->g->values[n->out].rows);
    in.x = touch(l, l->buffer[n->in[0]]);
    if (n->in[1] != VS_NONE)
        in.x2 = touch(l, l->buffer[n->in[1]]);
    if (n->in[2] != VS_NONE)
        in.x3 = touch(l, l->buffer[n->in[2]]);
    in.width = l->g->values[n->out].width;
    in.weight = vector(l, n->tensor[0]);
    in.weight2 = kind == VS_I_CONV || kind == VS_I_DELTA ? NULL : vector(l, n->tensor[1]);
    in.bias = vector(l, n->tensor[kind == VS_I_CONV || kind == VS_I_DELTA ? 1 : 2]);
    in.activation = n->p.activation;
    in.n_taps = n->p.n_taps;
    in.n_state = n->p.n_state;
    in.grouped = n->p.grouped;
    in.each_key = n->p.each_key;
    in.eps = n->p.eps;
    in.n_heads = n->p.n_heads;
    in.n_kv_heads = n->p.n_kv_heads;
    in.head_dim = n->p.head_dim;
    in.state = n->p.state;
    in.y = f32_buffer(l, n->out);
    emit(l, in);
}

/* What streams of a row become. */
static void lower_streams(struct lowering *l, const struct vs_node *n)
{
    struct vs_instr in = instr(VS_I_STREAMS, l->g->values[n->out].rows);
    in.x = touch(l, l->buffer[n->in[0]]);
    if (n->in[1] != VS_NONE)
        in.x2 = touch(l, l->buffer[n->in[1]]);
    in.x3 = touch(l, l->buffer[n->in[2]]);
    in.width = l->g->values[n->out].width;
    in.n_groups = n->p.n_heads;
    in.n = l->g->values[n->in[2]].width / (in.width / in.n_groups);
    in.first = n->p.first;
    in.scale = n->p.scale;
    in.y = f32_buffer(l, n->out);
    emit(l, in);
}

static void lower_gate(struct lowering *l, const struct vs_node *n)
{
    struct vs_instr in = instr(VS_I_GATE, l->g->values[n->out].rows);
    uint32_t other, out = n->out;
    const struct vs_node *add = lone_add(l, out, &other);
    in.x = touch(l, l->buffer[n->in[0]]);
    in.x2 = touch(l, l->buffer[n->in[1]]);
    in.width = l->g->values[out].width;
    in.n_groups = n->p.n_heads;
    in.activation = n->p.activation;
    if (add) {
        in.x3 = touch(l, l->buffer[other]);
        out = add->out;
        l->done[l->maker[out]] = true;
    }
    in.y = f32_buffer(l, out);
    emit(l, in);
}

/* ---- experts ---- */

/* Are some of these matrices, one for each expert, of a block format (or, of_float, of floats)? */
static bool some_are(const struct lowering *l, uint32_t first, uint32_t n, bool of_float)
{
    for (uint32_t i = 0; i < n && first != VS_NONE; i++)
        if (tensor_is_float(l, first + i) == of_float)
            return true;
    return false;
}

/* A buffer with n rows of `width` for each row of the step, as floats or quantised. */
static uint32_t slots_buffer(struct lowering *l, enum vs_rows rows, uint32_t n, uint32_t width, bool quantised)
{
    size_t blocks = (width + 31) / 32 * vs_cpu_act_rows(l->c, 1);
    return new_buffer(l, rows, n * (quantised ? blocks * sizeof(struct vs_act) : width * sizeof(float)));
}

static void set_tensors(struct lowering *l, struct vs_mixture *m)
{
    const struct vs_experts *e = &m->of;
    m->choice_bias = vector(l, e->choice_bias);
    m->gate_bias = vector(l, e->gate_bias);
    m->up_bias = vector(l, e->up_bias);
    m->down_bias = vector(l, e->down_bias);
    m->gate_scale = vector(l, e->gate_scale);
    m->up_scale = vector(l, e->up_scale);
    m->down_scale = vector(l, e->down_scale);
    m->gate = new_linears(l, e->gate, e->n);
    m->up = new_linears(l, e->up, e->n);
    m->down = new_linears(l, e->down, e->n);
}

/* What gate and up, and what down of each expert read. */
static void observe_experts(struct lowering *l, const struct vs_node *n, const struct vs_mixture *m)
{
    const struct vs_experts *e = &m->of;
    uint32_t alive[] = { m->x, m->own_x, m->route, m->table, m->inner };
    for (int inner = 0; inner < 2; inner++) {
        struct vs_instr in = instr(VS_I_OBSERVE, l->g->values[n->out].rows);
        in.experts = n->p.experts;
        in.by_expert = true;
        in.of_inner = inner;
        for (size_t k = 0; k < sizeof alive / sizeof *alive; k++)
            touch(l, alive[k]);
        uint32_t sums = observe(l, in, inner ? e->width : e->n_in, e->n);
        uint32_t tensors[] = { inner ? e->down : e->up, inner ? e->down : e->gate };
        for (int k = 0; k < 2; k++)
            if (tensors[k] != VS_NONE)
                observe_tensor(l, tensors[k], sums);
    }
}

/* Router and experts at once: the one node that reads what a router gives are its experts. */
static void lower_experts(struct lowering *l, const struct vs_node *n)
{
    struct vs_cpu *c = l->c;
    const struct vs_node *router = &l->g->nodes[l->maker[n->in[1]]];
    struct vs_mixture *m = &c->program.mixtures[n->p.experts];
    const struct vs_experts *e = &l->g->experts[n->p.experts];
    enum vs_rows rows = l->g->values[n->out].rows;
    size_t most = rows == VS_ROWS_STEP ? c->config.max_rows : c->config.max_out;
    uint32_t x = n->in[0], logits = l->buffer[router->in[0]], other, out = n->out;
    bool act = some_are(l, e->up, e->n, false) || some_are(l, e->gate, e->n, false);
    bool f32 = some_are(l, e->up, e->n, true) || some_are(l, e->gate, e->n, true);
    *m = (struct vs_mixture){ .of = *e };
    set_tensors(l, m);
    if (!e->weigh_input)
        quantise(l, x);
    m->x = l->buffer[x];
    m->act = l->act[x];

    struct vs_instr in = instr(VS_I_ROUTE, rows);
    in.experts = n->p.experts;
    in.width = e->n * e->each;
    in.x = touch(l, logits);
    in.y = m->route = f32_buffer(l, router->out);
    emit(l, in);

    in.kind = VS_I_GROUP;                /* with few rows it does what the ones before and after it do */
    touch(l, in.x);
    touch(l, in.y);
    m->table = new_buffer(l, rows, 1);
    if (l->status == VS_OK)
        c->program.buffers[m->table].bytes = vs_experts_table_bytes(e, most);
    m->own_x = f32 || e->weigh_input || c->config.observe ? slots_buffer(l, rows, e->n_used, e->n_in, false) : VS_NONE;
    m->own_act = act ? slots_buffer(l, rows, e->n_used, e->n_in, true) : VS_NONE;
    emit(l, in);

    in.kind = VS_I_GATHER;
    in.width = e->n_in;
    in.x = m->x;
    in.act = m->act;
    in.y = m->own_x;
    in.act2 = m->own_act;
    uint32_t all[] = { m->x, m->act, m->own_x, m->own_act, m->route, m->table };
    for (int k = 0; k < 6; k++)
        touch(l, all[k]);
    emit(l, in);

    in.kind = VS_I_EXPERTS;
    for (int k = 0; k < 6; k++)
        touch(l, all[k]);
    m->inner = some_are(l, e->down, e->n, true) || c->config.observe ? slots_buffer(l, rows, e->n_used, e->width, false) : VS_NONE;
    m->inner_act = some_are(l, e->down, e->n, false) ? slots_buffer(l, rows, e->n_used, e->width, true) : VS_NONE;
    in.y = m->inner;
    in.act2 = m->inner_act;
    emit(l, in);

    if (c->config.observe)
        observe_experts(l, n, m);
    in = instr(VS_I_COMBINE, rows);
    const struct vs_node *add = lone_add(l, out, &other);
    in.experts = n->p.experts;
    in.width = e->n_in;
    in.x = touch(l, m->inner);
    in.act = touch(l, m->inner_act);
    touch(l, m->route);
    touch(l, m->table);
    if (add) {
        in.x2 = touch(l, l->buffer[other]);
        out = add->out;
        l->done[l->maker[out]] = true;
    }
    in.y = f32_buffer(l, out);
    emit(l, in);
}

/* Head norms and ropes belong to the attention that takes them. What none takes is an error (lower_node). */
static void absorb_heads(struct lowering *l)
{
    for (uint32_t i = 0; i < l->g->n_nodes; i++) {
        const struct vs_node *n = &l->g->nodes[i], *rope[2], *norm[2];
        if (n->op != VS_OP_ATTENTION)
            continue;
        bool own = n->in[1] != VS_NONE;
        if (values_norm(l, n))
            l->done[l->maker[n->in[2]]] = true;
        for (int k = 0; k < 1 + own; k++) {
            trace(l, n->in[k], &rope[k], &norm[k]);
            if (rope[k])
                l->done[l->maker[rope[k]->out]] = true;
            if (norm[k])
                l->done[l->maker[norm[k]->out]] = true;
        }
        bool alike = !own || ((rope[0] ? rope[0]->p.rope : VS_NONE) == (rope[1] ? rope[1]->p.rope : VS_NONE)
                     && (rope[0] ? rope[0]->p.first : 0) == (rope[1] ? rope[1]->p.first : 0)
                     && norm_is_last(l, rope[0], norm[0]) == norm_is_last(l, rope[1], norm[1]));
        if (!alike)                      /* an instruction has one rope and one order */
            l->status = VS_E_UNSUPPORTED;
    }
}

static void lower_node(struct lowering *l, uint32_t i)
{
    const struct vs_node *n = &l->g->nodes[i];
    if (n->op == VS_OP_RMS_NORM && n->p.head_dim) {
        l->status = VS_E_UNSUPPORTED;
        return;
    }
    l->now_for = l->outputs[n->out];
    l->sides = i < l->g->n_source ? VS_SIDE_SOURCE : VS_SIDE_ANSWER;
    switch (n->op) {
    case VS_OP_EMBED:     lower_embed(l, n); break;
    case VS_OP_POSITION:  lower_position(l, n); break;
    case VS_OP_RMS_NORM:
    case VS_OP_GROUP_NORM:
    case VS_OP_LAYER_NORM: lower_norm(l, n); break;
    case VS_OP_LINEAR:    lower_linears(l, i); break;
    case VS_OP_ATTENTION: lower_attention(l, n); break;
    case VS_OP_KEEP:      lower_keep(l, n); break;
    case VS_OP_GLU:       lower_glu(l, n); break;
    case VS_OP_CONV:      lower_state(l, n, VS_I_CONV); break;
    case VS_OP_SCAN_HEADS: lower_state(l, n, VS_I_SCAN_HEADS); break;
    case VS_OP_SCAN:      lower_state(l, n, VS_I_SCAN); break;
    case VS_OP_DELTA:     lower_state(l, n, VS_I_DELTA); break;
    case VS_OP_SHIFT:     lower_state(l, n, VS_I_SHIFT); break;
    case VS_OP_WKV6:      lower_state(l, n, VS_I_WKV6); break;
    case VS_OP_WKV7:      lower_state(l, n, VS_I_WKV7); break;
    case VS_OP_STREAMS:   lower_streams(l, n); break;
    case VS_OP_MATCH:     lower_rowwise(l, n, VS_I_MATCH); break;
    case VS_OP_SPARSE:    lower_rowwise(l, n, VS_I_SPARSE); break;
    case VS_OP_MEAN:      lower_rowwise(l, n, VS_I_MEAN); break;
    case VS_OP_PICK:      lower_pick(l, n); break;
    case VS_OP_JOIN:      lower_join(l, n); break;
    case VS_OP_BY_HEADS:  lower_by_heads(l, n); break;
    case VS_OP_TAKE_OUT:  lower_rowwise(l, n, VS_I_TAKE); break;
    case VS_OP_ADD:       lower_rowwise(l, n, VS_I_ADD); break;
    case VS_OP_SCALE:     lower_rowwise(l, n, VS_I_SCALE); break;
    case VS_OP_SOFTCAP:   lower_rowwise(l, n, VS_I_SOFTCAP); break;
    case VS_OP_CLAMP:     lower_rowwise(l, n, VS_I_CLAMP); break;
    case VS_OP_GATE:      lower_gate(l, n); break;
    case VS_OP_ROUTE:                    /* comes with its experts */
        l->status = l->g->nodes[l->user[n->out]].op == VS_OP_EXPERTS ? l->status : VS_E_UNSUPPORTED;
        break;
    case VS_OP_EXPERTS:   lower_experts(l, n); break;
    default:              l->status = VS_E_UNSUPPORTED;      /* a rope that no attention took */
    }
}

/* An output lives to the end of the step. */
static void check_outputs(struct lowering *l)
{
    for (int k = 0; k < VS_N_OUTPUTS && l->status == VS_OK; k++) {
        uint32_t value = l->g->output[k];
        struct vs_instr check = instr(VS_I_CHECK, VS_ROWS_OUT);
        l->c->program.output[k] = value == VS_NONE ? VS_NONE : l->buffer[value];
        if (value == VS_NONE)
            continue;
        check.x = l->buffer[value];
        check.width = l->g->values[value].width;
        l->now_for = 1u << k;
        emit(l, check);
    }
    for (int k = 0; k < VS_N_OUTPUTS && l->status == VS_OK; k++)
        if (l->c->program.output[k] != VS_NONE)
            l->c->program.buffers[l->c->program.output[k]].last = now(l);
}

int vs_cpu_lower(struct vs_cpu *c, const struct vs_graph *g, struct vs_error *err)
{
    struct lowering l = { .c = c, .g = g };
    c->program.n_adapters = g->n_adapters;
    c->program.mixtures = calloc(g->n_experts + 1, sizeof *c->program.mixtures);
    if (!c->program.mixtures || !analyse(&l))
        l.status = VS_E_NOMEM;
    if (l.status == VS_OK) {
        absorb_heads(&l);
        l.now_for = ~0u;
        l.sides = VS_SIDE_ANSWER | VS_SIDE_SOURCE;
        emit(&l, instr(VS_I_ROPE_TABLE, VS_ROWS_STEP));
        for (uint32_t i = 0; i < g->n_nodes && l.status == VS_OK; i++)
            if (!l.done[i])
                lower_node(&l, i);
    }
    check_outputs(&l);
    if (l.status == VS_OK && c->program.n_instrs > VS_MAX_INSTRS)
        l.status = VS_E_LIMIT;
    if (l.status == VS_OK) {
        c->memory.arena_bytes = vs_plan(c->program.buffers, c->program.n_buffers);
        if (c->memory.arena_bytes == SIZE_MAX)
            l.status = VS_E_NOMEM;
    }
    free(l.maker);
    free(l.user);
    free(l.n_users);
    free(l.want_act);
    free(l.want_f32);
    free(l.only_linear);
    free(l.buffer);
    free(l.act);
    free(l.outputs);
    free(l.adapters);
    free(l.done);
    return l.status == VS_OK ? VS_OK : vs_error_set(err, l.status, "model: %s",
        l.status == VS_E_LIMIT ? "too many layers for one program"
        : l.status == VS_E_UNSUPPORTED ? "norms or ropes of heads that no attention takes, or an operation that we do not have"
        : "out of memory while the program was made");
}
