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
    c->program.instrs[c->program.n_instrs++] = in;
}

static struct vs_instr instr(enum vs_instr_kind kind, enum vs_rows rows)
{
    return (struct vs_instr){ .kind = kind, .rows = rows, .x = VS_NONE, .x2 = VS_NONE, .x3 = VS_NONE, .y = VS_NONE,
                              .act = VS_NONE, .act2 = VS_NONE, .tensor = VS_NONE, .prologue = VS_NONE };
}

/* ---- reading the graph ---- */

static bool is_float(const struct lowering *l, const struct vs_node *linear)
{
    return vs_class_infos[vs_class_of(l->g->tensors[linear->tensor[0]].dtype)].is_float;
}

static const float *vector(const struct lowering *l, uint32_t tensor)
{
    return tensor == VS_NONE ? NULL : l->c->memory.weights[tensor].vector;
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
    l->done = calloc(nn, 1);
    if (!l->maker || !l->user || !l->n_users || !l->want_act || !l->want_f32 || !l->only_linear || !l->buffer
        || !l->act || !l->done)
        return false;
    for (size_t v = 0; v < nv; v++) {
        l->buffer[v] = l->act[v] = VS_NONE;
        l->only_linear[v] = v != l->g->logits;
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
            if (n->op == VS_OP_LINEAR && !is_float(l, n))
                l->want_act[v] = true;
            else
                l->want_f32[v] = true;
        }
    }
    l->want_f32[l->g->logits] = true;
    return true;
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
    emit(l, in);
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

static void lower_norm(struct lowering *l, const struct vs_node *n)
{
    struct vs_instr in = instr(VS_I_NORM, l->g->values[n->out].rows);
    in.x = touch(l, l->buffer[n->in[0]]);
    in.width = l->g->values[n->out].width;
    in.weight = vector(l, n->tensor[0]);
    in.eps = n->p.eps;
    uint32_t other, out = n->out;
    const struct vs_node *add = lone_add(l, out, &other);
    if (add) {
        in.x2 = touch(l, l->buffer[other]);
        out = add->out;
        l->done[l->maker[out]] = true;
    }
    in.y = f32_buffer(l, out);           /* always stored: the quantiser reads it while it is in the cache */
    if (l->want_act[out])
        in.act = act_buffer(l, out);
    emit(l, in);
}

/* Follows q or k back over rope and head norm to the value that a matrix made. */
static uint32_t trace(struct lowering *l, uint32_t value, const struct vs_node **ret_rope, const struct vs_node **ret_norm)
{
    *ret_rope = *ret_norm = NULL;
    for (;;) {
        const struct vs_node *n = &l->g->nodes[l->maker[value]];
        if (n->op == VS_OP_ROPE && !*ret_rope && !*ret_norm)
            *ret_rope = n;
        else if (n->op == VS_OP_RMS_NORM && n->p.head_dim && !*ret_norm)
            *ret_norm = n;
        else
            return value;
        value = n->in[0];
    }
}

/* What an attention says of its heads; ret_value[3]: q, k, v as the matrices made them. */
static void set_heads(struct lowering *l, const struct vs_node *n, struct vs_instr *in, uint32_t ret_value[3])
{
    const struct vs_node *q_rope, *q_norm, *k_rope, *k_norm;
    ret_value[VS_ROLE_Q] = trace(l, n->in[0], &q_rope, &q_norm);
    ret_value[VS_ROLE_K] = trace(l, n->in[1], &k_rope, &k_norm);
    ret_value[VS_ROLE_V] = n->in[2];
    in->weight = q_norm ? vector(l, q_norm->tensor[0]) : NULL;
    in->weight2 = k_norm ? vector(l, k_norm->tensor[0]) : NULL;
    in->eps = q_norm ? q_norm->p.eps : 0;
    in->rope = q_rope ? q_rope->p.rope : VS_NONE;
    in->n_heads = n->p.n_heads;
    in->n_kv_heads = n->p.n_kv_heads;
    in->head_dim = n->p.head_dim;
    in->layer = n->p.layer;
    in->window = n->p.window;
    in->scale = n->p.scale;
    in->cap = n->p.softcap;
}

/* The linears of `in`, just gathered, are the gate and up of a GLU that alone reads them: it becomes their epilogue. */
static void fuse_glu(struct lowering *l, struct vs_instr *in)
{
    struct vs_linear *m = &l->c->program.linears[in->first];
    if (in->n != 2 || l->n_users[m[0].y] != 1 || l->n_users[m[1].y] != 1)
        return;
    const struct vs_node *glu = &l->g->nodes[l->user[m[0].y]];
    if (glu->op != VS_OP_GLU || l->user[m[1].y] != l->user[m[0].y] || m[0].w.n_rows % 32)
        return;
    if (glu->in[0] != m[0].y) {          /* gate first */
        struct vs_linear gate = m[1];
        m[1] = m[0];
        m[0] = gate;
    }
    in->epilogue = VS_EPILOGUE_GLU;
    in->activation = glu->p.gelu ? VS_ACT_GELU_TANH : VS_ACT_SILU;
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
        if (n->op != VS_OP_ATTENTION || n->p.head_dim % VS_PANEL_ROWS)
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

/* The instruction before makes what only these matrices read: with few rows every thread makes it for itself. */
static void adopt_prologue(struct lowering *l, struct vs_instr *in, uint32_t value)
{
    struct vs_instr *before = l->c->program.n_instrs ? &l->c->program.instrs[l->c->program.n_instrs - 1] : NULL;
    if (!before || before->rows != in->rows || before->act != in->act)
        return;
    if ((before->kind == VS_I_ACT && before->x == in->x)
        || (before->kind == VS_I_NORM && before->y == in->x && before->x2 == VS_NONE && l->only_linear[value])) {
        before->is_prologue = true;
        in->prologue = now(l) - 1;
        touch(l, before->x);             /* read as late as now */
    }
}

static void lower_linears(struct lowering *l, uint32_t first)
{
    struct vs_cpu *c = l->c;
    uint32_t x = l->g->nodes[first].in[0];
    quantise(l, x);
    struct vs_instr in = instr(VS_I_LINEAR, l->g->values[x].rows);
    in.x = touch(l, l->buffer[x]);
    in.act = touch(l, l->act[x]);
    in.width = l->g->values[x].width;
    in.first = (uint32_t)c->program.n_linears;
    adopt_prologue(l, &in, x);
    for (uint32_t i = first; i < l->g->n_nodes && in.n < l->n_users[x]; i++) {
        const struct vs_node *n = &l->g->nodes[i];
        if (n->op != VS_OP_LINEAR || n->in[0] != x || l->done[i])
            continue;
        void *items = c->program.linears;
        if (!room(l, &items, c->program.n_linears, &c->program.cap_linears, sizeof *c->program.linears))
            return;
        c->program.linears = items;
        struct vs_linear *m = &c->program.linears[c->program.n_linears++];
        *m = (struct vs_linear){ .w = c->memory.weights[n->tensor[0]].matrix, .residual = VS_NONE,
                                 .bias = vector(l, n->tensor[1]) };
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
    for (size_t i = l->c->program.n_instrs; i-- > 0;)
        if (l->c->program.instrs[i].epilogue == VS_EPILOGUE_HEADS && l->c->program.instrs[i].layer == layer)
            return true;
    return false;
}

static void lower_attention(struct lowering *l, const struct vs_node *n)
{
    struct vs_cpu *c = l->c;
    uint32_t value[3];
    struct vs_instr in = instr(VS_I_QKV, VS_ROWS_STEP);
    set_heads(l, n, &in, value);
    in.x = touch(l, l->buffer[value[VS_ROLE_Q]]);
    in.x2 = touch(l, l->buffer[value[VS_ROLE_K]]);
    in.x3 = touch(l, l->buffer[value[VS_ROLE_V]]);
    if (!heads_are_fused(l, in.layer))
        emit(l, in);

    in.kind = VS_I_ATTENTION;
    in.x = touch(l, in.x);
    if (l->want_f32[n->out] || in.head_dim % 32)         /* a head is whole blocks, or quantised when all are there */
        in.y = f32_buffer(l, n->out);
    if (l->want_act[n->out] && in.head_dim % 32 == 0)
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

static void lower_glu(struct lowering *l, const struct vs_node *n)
{
    struct vs_instr in = instr(VS_I_GLU, l->g->values[n->out].rows);
    in.x = touch(l, l->buffer[n->in[0]]);
    in.x2 = touch(l, l->buffer[n->in[1]]);
    in.width = l->g->values[n->out].width;
    in.activation = n->p.gelu ? VS_ACT_GELU_TANH : VS_ACT_SILU;
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
    in.weight2 = vector(l, n->tensor[0]);
    in.weight = vector(l, n->tensor[1]);
    bool in_place = (kind == VS_I_SCALE || kind == VS_I_SOFTCAP) && l->n_users[n->in[0]] == 1;
    in.y = in_place ? l->buffer[n->out] = in.x : f32_buffer(l, n->out);
    emit(l, in);
}

static void absorb_heads(struct lowering *l)              /* head norms and ropes belong to their attention */
{
    for (uint32_t i = 0; i < l->g->n_nodes; i++) {
        const struct vs_node *n = &l->g->nodes[i];
        if (n->op == VS_OP_ROPE || (n->op == VS_OP_RMS_NORM && n->p.head_dim))
            l->done[i] = true;
    }
}

static void lower_node(struct lowering *l, uint32_t i)
{
    const struct vs_node *n = &l->g->nodes[i];
    switch (n->op) {
    case VS_OP_EMBED:     lower_embed(l, n); break;
    case VS_OP_RMS_NORM:  lower_norm(l, n); break;
    case VS_OP_LINEAR:    lower_linears(l, i); break;
    case VS_OP_ATTENTION: lower_attention(l, n); break;
    case VS_OP_GLU:       lower_glu(l, n); break;
    case VS_OP_TAKE_OUT:  lower_rowwise(l, n, VS_I_TAKE); break;
    case VS_OP_ADD:       lower_rowwise(l, n, VS_I_ADD); break;
    case VS_OP_SCALE:     lower_rowwise(l, n, VS_I_SCALE); break;
    case VS_OP_SOFTCAP:   lower_rowwise(l, n, VS_I_SOFTCAP); break;
    default:              assert(!"an op that is absorbed");
    }
}

int vs_cpu_lower(struct vs_cpu *c, const struct vs_graph *g, struct vs_error *err)
{
    struct lowering l = { .c = c, .g = g };
    if (!analyse(&l))
        l.status = VS_E_NOMEM;
    if (l.status == VS_OK) {
        absorb_heads(&l);
        emit(&l, instr(VS_I_ROPE_TABLE, VS_ROWS_STEP));
        for (uint32_t i = 0; i < g->n_nodes && l.status == VS_OK; i++)
            if (!l.done[i])
                lower_node(&l, i);
    }
    if (l.status == VS_OK) {
        struct vs_instr check = instr(VS_I_CHECK, VS_ROWS_OUT);
        check.x = touch(&l, l.buffer[g->logits]);
        check.width = g->values[g->logits].width;
        c->program.logits = check.x;
        c->program.n_vocab = check.width;
        emit(&l, check);
    }
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
    free(l.done);
    return l.status == VS_OK ? VS_OK : vs_error_set(err, l.status, l.status == VS_E_LIMIT
        ? "model: too many layers for one program" : "model: out of memory while the program was made");
}
