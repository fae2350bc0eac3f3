/* import/nodes.c - nodes that every story uses: norms, matrices with what adapters add, sums, parts. */
#include "import/internal.h"
#include "import/adapter.h"

#include <stdio.h>

uint32_t vs_gb_node(struct vs_builder *b, struct vs_node n, uint32_t width)
{
    if (b->status != VS_OK || b->g->status != VS_OK)     /* out of memory earlier: n.in may be VS_NONE */
        return VS_NONE;
    enum vs_rows rows = VS_ROWS_STEP;
    if (n.op == VS_OP_TAKE_OUT || (n.op != VS_OP_EMBED && b->g->values[n.in[0]].rows == VS_ROWS_OUT))
        rows = VS_ROWS_OUT;
    return vs_graph_node(b->g, &n, rows, width);
}

struct vs_node vs_gb_base(enum vs_op op, uint32_t in)
{
    return (struct vs_node){ .op = op, .in = { in, VS_NONE, VS_NONE }, .tensor = { VS_NONE, VS_NONE, VS_NONE } };
}

uint32_t vs_gb_norm(struct vs_builder *b, uint32_t x, int layer, const char *stem, uint32_t width)
{
    char suffix[48];
    struct vs_node n = vs_gb_base(b->layer_norm ? VS_OP_LAYER_NORM : VS_OP_RMS_NORM, x), plus = vs_gb_base(VS_OP_SCALE, VS_NONE);
    snprintf(suffix, sizeof suffix, "%s.weight", stem);
    if (!vs_gb_is_there(b, layer, suffix) && vs_gb_is_there(b, layer, stem))     /* Falcon-H1's */
        snprintf(suffix, sizeof suffix, "%s", stem);
    n.tensor[0] = vs_gb_vector(b, layer, suffix, vs_gb_whole(width), b->arch->bare_norm);
    snprintf(suffix, sizeof suffix, "%s.bias", stem);
    if (b->layer_norm)
        n.tensor[1] = vs_gb_vector(b, layer, suffix, vs_gb_whole(width), true);
    n.p.eps = b->eps;
    uint32_t y = vs_gb_node(b, n, width);
    if (!b->arch->norm_bias || !vs_gb_is_there(b, layer, suffix))
        return y;
    plus.in[0] = y;
    plus.p.scale = 1;
    plus.tensor[1] = vs_gb_vector(b, layer, suffix, vs_gb_whole(width), false);
    return vs_gb_node(b, plus, width);
}

uint32_t vs_gb_post_norm(struct vs_builder *b, uint32_t x, int layer, const char *stem)
{
    float eps = b->eps;
    b->eps = b->arch->post_eps > 0 ? (float)b->arch->post_eps : eps;
    uint32_t y = vs_gb_norm(b, x, layer, stem, b->n_embd);
    b->eps = eps;
    return y;
}

uint32_t vs_gb_head_norm(struct vs_builder *b, uint32_t x, int layer, const char *stem, uint32_t n_heads)
{
    char suffix[48];
    struct vs_node n = vs_gb_base(VS_OP_RMS_NORM, x);
    snprintf(suffix, sizeof suffix, "%s.weight", stem);
    if (b->arch->qk_norm_optional && !vs_gb_is_there(b, layer, suffix))
        return x;
    n.tensor[0] = vs_gb_vector(b, layer, suffix, vs_gb_whole(b->head_dim), false);
    n.p.eps = b->eps;
    n.p.head_dim = b->head_dim;
    return vs_gb_node(b, n, n_heads * b->head_dim);
}

static uint32_t adapter_tensor(struct vs_builder *b, const struct vs_gguf_tensor *t, uint32_t n_cols, struct vs_part rows)
{
    uint64_t row_bytes = t->n_bytes / t->ne[1];
    struct vs_tensor g = { .dtype = (enum vs_dtype)t->dtype->id, .n_cols = n_cols, .n_rows = rows.n,
                           .offset = t->offset + rows.first * row_bytes, .n_bytes = rows.n * row_bytes };
    snprintf(g.name, sizeof g.name, "%.*s", (int)(t->name.n < 63 ? t->name.n : 63), t->name.data);
    return vs_graph_tensor(b->g, &g);
}

/* x through the first matrix of a pair: what was made for another part of the same fused matrix is taken again. */
static uint32_t adapter_down(struct vs_builder *b, const struct vs_adapter_pair *p, uint32_t x)
{
    for (size_t i = b->g->n_nodes; i-- > 0;) {
        const struct vs_node *n = &b->g->nodes[i];
        if (n->op == VS_OP_LINEAR && n->in[0] == x && n->tensor[0] != VS_NONE && b->g->tensors[n->tensor[0]].offset == p->a->offset)
            return n->out;
        if (n->out == x)
            break;
    }
    struct vs_node down = vs_gb_base(VS_OP_LINEAR, x);
    down.tensor[0] = adapter_tensor(b, p->a, (uint32_t)p->a->ne[0], vs_gb_whole(p->rank));
    return vs_gb_node(b, down, p->rank);
}

/* What the adapters have for rows `out` of STEM.weight is added to n, the product with it. */
static void adapt(struct vs_builder *b, struct vs_node *n, int layer, const char *suffix, struct vs_part out)
{
    struct vs_adapt found[VS_MAX_ADAPTERS];
    char name[64];
    vs_gb_tensor_name(b, name, layer, suffix);
    for (unsigned k = 0; k < b->n_adapters && b->status == VS_OK; k++) {
        const struct vs_adapter_pair *p = vs_adapter_find(b->adapters[k], name);
        if (!p)
            continue;
        struct vs_adapt *a = &found[n->p.n_adapts++];
        *a = (struct vs_adapt){ .adapter = k, .factor = p->factor };
        a->down = adapter_down(b, p, n->in[0]);
        a->up = adapter_tensor(b, p->b, p->rank, out);
        b->n_adapted += out.first == 0;
    }
    n->p.first_adapt = (uint32_t)b->g->n_adapts;
    for (uint32_t i = 0; i < n->p.n_adapts; i++)
        vs_graph_adapt(b->g, &found[i]);
}

uint32_t vs_gb_product(struct vs_builder *b, uint32_t x, int layer, const char *stem, const char *bias_stem, uint32_t tied,
                       uint32_t n_in, struct vs_part out)
{
    char suffix[48];
    struct vs_node n = vs_gb_base(VS_OP_LINEAR, x), s = vs_gb_base(VS_OP_SCALE, VS_NONE);
    snprintf(suffix, sizeof suffix, "%s.weight", stem);
    n.tensor[0] = tied != VS_NONE ? tied : vs_gb_tensor(b, layer, suffix, n_in, out, false);
    if (tied == VS_NONE && b->n_adapters)
        adapt(b, &n, layer, suffix, out);
    snprintf(suffix, sizeof suffix, "%s.bias", bias_stem);
    n.tensor[1] = vs_gb_vector(b, layer, suffix, bias_stem == stem ? out : vs_gb_whole(out.n), true);
    snprintf(suffix, sizeof suffix, "%s.scale", stem);
    if (layer >= 0)                      /* the output's has no meaning with the types that we compute with */
        s.tensor[0] = vs_gb_vector(b, layer, suffix, vs_gb_whole(1), true);
    if (s.tensor[0] == VS_NONE)
        return vs_gb_node(b, n, out.n);
    if (n.p.n_adapts)                    /* and before what an adapter adds */
        vs_gb_fail(b, VS_E_UNSUPPORTED, "an adapter of a matrix that has a scale is not supported", suffix);
    s.tensor[1] = n.tensor[1];           /* the scale comes before the bias */
    n.tensor[1] = VS_NONE;
    s.in[0] = vs_gb_node(b, n, out.n);
    return vs_gb_node(b, s, out.n);
}

uint32_t vs_gb_linear(struct vs_builder *b, uint32_t x, int layer, const char *stem, uint32_t n_in, uint32_t n_out)
{
    return vs_gb_product(b, x, layer, stem, stem, VS_NONE, n_in, vs_gb_whole(n_out));
}

uint32_t vs_gb_scaled(struct vs_builder *b, uint32_t x, float scale, uint32_t width)
{
    struct vs_node n = vs_gb_base(VS_OP_SCALE, x);
    n.p.scale = scale;
    return scale == 1 ? x : vs_gb_node(b, n, width);
}

uint32_t vs_gb_add(struct vs_builder *b, uint32_t h, uint32_t x)
{
    struct vs_node n = vs_gb_base(VS_OP_ADD, h);
    n.in[1] = vs_gb_scaled(b, x, b->residual_scale, b->n_embd);
    return vs_gb_node(b, n, b->n_embd);
}

uint32_t vs_gb_bare_head_norm(struct vs_builder *b, uint32_t x, uint32_t n_heads)
{
    struct vs_node n = vs_gb_base(VS_OP_RMS_NORM, x);
    n.p.eps = b->eps;
    n.p.head_dim = b->head_dim;
    return vs_gb_node(b, n, n_heads * b->head_dim);
}

uint32_t vs_gb_gated_by(struct vs_builder *b, uint32_t y, uint32_t gate, uint32_t n_parts, enum vs_activation act, uint32_t width)
{
    struct vs_node n = vs_gb_base(VS_OP_GATE, y);
    n.in[1] = gate;
    n.p.n_heads = n_parts;
    n.p.activation = act;
    return vs_gb_node(b, n, width);
}

uint32_t vs_gb_sum(struct vs_builder *b, uint32_t x, uint32_t y)
{
    struct vs_node both = vs_gb_base(VS_OP_ADD, x);
    both.in[1] = y;
    return vs_gb_node(b, both, b->n_embd);
}

uint32_t vs_gb_pick(struct vs_builder *b, uint32_t x, uint32_t n_parts, uint32_t first, uint32_t n)
{
    struct vs_node p = vs_gb_base(VS_OP_PICK, x);
    p.p.n_heads = n_parts;
    p.p.first = first;
    p.p.head_dim = n;
    return vs_gb_node(b, p, n_parts * n);
}

uint32_t vs_gb_times_act(struct vs_builder *b, uint32_t z, uint32_t y, uint32_t width, enum vs_activation act)
{
    struct vs_node n = vs_gb_base(VS_OP_GLU, z);
    n.in[1] = y;
    n.p.activation = act;
    return vs_gb_node(b, n, width);
}

uint32_t vs_gb_join(struct vs_builder *b, uint32_t x, uint32_t y, uint32_t n_parts, uint32_t width)
{
    struct vs_node n = vs_gb_base(VS_OP_JOIN, x);
    n.in[1] = y;
    n.p.n_heads = n_parts;
    return vs_gb_node(b, n, width);
}

uint32_t vs_gb_by_heads(struct vs_builder *b, uint32_t x, int layer, const char *suffix, uint32_t n, uint32_t n_in, uint32_t n_out)
{
    struct vs_node each = vs_gb_base(VS_OP_BY_HEADS, x);
    each.tensor[0] = vs_gb_head_matrices(b, layer, suffix, n, n_in, n_out);
    each.p.n_heads = n;
    return vs_gb_node(b, each, n * n_out);
}

uint32_t vs_gb_tanh(struct vs_builder *b, uint32_t x, uint32_t width)
{
    struct vs_node n = vs_gb_base(VS_OP_SOFTCAP, x);
    n.p.softcap = 1;
    return vs_gb_node(b, n, width);
}

uint32_t vs_gb_act(struct vs_builder *b, uint32_t x, uint32_t width, enum vs_activation act)
{
    struct vs_node n = vs_gb_base(VS_OP_GLU, x);
    n.p.activation = act;
    return vs_gb_node(b, n, width);
}

uint32_t vs_gb_group_norm(struct vs_builder *b, uint32_t x, int layer, const char *stem, uint32_t n_groups, uint32_t width)
{
    char suffix[48];
    struct vs_node n = vs_gb_base(VS_OP_GROUP_NORM, x);
    snprintf(suffix, sizeof suffix, "%s.weight", stem ? stem : "");
    if (stem && !vs_gb_is_there(b, layer, suffix) && vs_gb_is_there(b, layer, stem))     /* PLaMo 2's */
        snprintf(suffix, sizeof suffix, "%s", stem);
    if (stem)
        n.tensor[0] = vs_gb_vector_of_rows(b, layer, suffix, width / n_groups, n_groups);
    n.p.n_heads = n_groups;
    n.p.eps = b->eps;
    return vs_gb_node(b, n, width);
}

uint32_t vs_gb_read_rows(struct vs_builder *b, uint32_t x, uint32_t il, uint32_t width)
{
    return il + 1 == b->n_layers && b->loop + 1 == b->n_loops ? vs_gb_node(b, vs_gb_base(VS_OP_TAKE_OUT, x), width) : x;
}

void vs_gb_check_adapted(struct vs_builder *b)
{
    size_t all = 0;
    for (unsigned k = 0; k < b->n_adapters; k++)
        all += vs_adapter_n_pairs(b->adapters[k]);
    for (unsigned k = 0; k < b->n_adapters && all != b->n_adapted && b->status == VS_OK; k++)
        for (size_t i = 0; i < vs_adapter_n_pairs(b->adapters[k]) && b->status == VS_OK; i++) {
            const struct vs_adapter_pair *p = vs_adapter_pair_at(b->adapters[k], i);
            bool is_read = false;
            for (size_t j = 0; j < b->g->n_adapts; j++)
                is_read |= b->g->adapts[j].adapter == k && b->g->tensors[b->g->adapts[j].up].offset == p->b->offset;
            if (!is_read)
                b->status = vs_error_set(b->err, VS_E_UNSUPPORTED, "adapter: %s: adapters of this kind of tensor are not supported",
                                         vs_str_shown(p->name).text);
        }
}
