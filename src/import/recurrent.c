/* import/recurrent.c - mixers that keep a state in place of keys: convolutions, Mamba, gated deltas. */
#include "import/internal.h"

#include <stdio.h>

/* The convolution STEM.weight (+ STEM.bias) over each channel's last positions; before and after: what its input and its result
 * are multiplied by, or VS_NONE. */
static uint32_t convolution(struct vs_builder *b, uint32_t x, uint32_t before, uint32_t after, int layer, const char *stem,
                            uint32_t width, enum vs_activation act)
{
    char suffix[48];
    struct vs_node n = vs_gb_base(VS_OP_CONV, x);
    n.in[1] = before;
    n.in[2] = after;
    snprintf(suffix, sizeof suffix, "%s.weight", stem);
    n.tensor[0] = vs_gb_is_deep(b, layer, suffix) ? vs_gb_deep_vector(b, layer, suffix, b->n_taps, width)
                                            : vs_gb_vector_of_rows(b, layer, suffix, b->n_taps, width);
    snprintf(suffix, sizeof suffix, "%s.bias", stem);
    n.tensor[1] = vs_gb_vector(b, layer, suffix, vs_gb_whole(width), true);
    n.p.activation = act;
    n.p.n_taps = b->n_taps;
    n.p.state = b->g->n_state;
    b->g->n_state += (size_t)(b->n_taps - 1) * width;
    return vs_gb_node(b, n, width);
}

static uint32_t short_convolution(struct vs_builder *b, uint32_t x, int layer, uint32_t *ret_width)
{
    uint32_t part[3], n = b->n_embd;
    for (uint32_t k = 0; k < 3; k++)
        part[k] = vs_gb_product(b, x, layer, "shortconv.in_proj", "shortconv.in_proj", VS_NONE, n,
                                (struct vs_part){ k * n, n, 3 * n });
    *ret_width = n;
    return convolution(b, part[2], part[0], part[1], layer, "shortconv.conv", n, VS_ACT_NONE);
}

static uint32_t state_of(struct vs_builder *b, struct vs_node n, size_t n_state, uint32_t width)
{
    n.p.state = b->g->n_state;
    n.p.n_state = b->n_state;
    b->g->n_state += n_state;
    return vs_gb_node(b, n, width);
}

uint32_t vs_gb_mamba2(struct vs_builder *b, uint32_t x, int layer, uint32_t *ret_width)
{
    uint32_t inner = b->inner, conv = inner + 2 * b->ssm_groups * b->n_state, all = inner + conv + b->ssm_heads;
    uint32_t z = vs_gb_product(b, x, layer, "ssm_in", "ssm_in", VS_NONE, b->n_embd, (struct vs_part){ 0, inner, all });
    uint32_t xbc = vs_gb_product(b, x, layer, "ssm_in", "ssm_in", VS_NONE, b->n_embd, (struct vs_part){ inner, conv, all });
    uint32_t dt = vs_gb_product(b, x, layer, "ssm_in", "ssm_in", VS_NONE, b->n_embd,
                                (struct vs_part){ inner + conv, b->ssm_heads, all });
    struct vs_node n = vs_gb_base(VS_OP_SCAN_HEADS, convolution(b, xbc, VS_NONE, VS_NONE, layer, "ssm_conv1d", conv, VS_ACT_SILU));
    n.in[1] = dt;
    n.tensor[0] = vs_gb_vector_of_rows(b, layer, "ssm_a", 1, b->ssm_heads);
    n.tensor[1] = vs_gb_vector_of_rows(b, layer, "ssm_d", 1, b->ssm_heads);
    n.tensor[2] = vs_gb_vector(b, layer, "ssm_dt.bias", vs_gb_whole(b->ssm_heads), false);
    n.p.n_heads = b->ssm_heads;
    n.p.n_kv_heads = b->ssm_groups;
    n.p.head_dim = inner / b->ssm_heads;
    uint32_t y = vs_gb_times_act(b, z, state_of(b, n, (size_t)inner * b->n_state, inner), inner, VS_ACT_SILU);
    *ret_width = inner;
    bool normed = vs_gb_is_there(b, layer, "ssm_norm.weight") || !b->arch->beside;
    return normed ? vs_gb_group_norm(b, y, layer, "ssm_norm", b->ssm_groups, inner) : y;
}

static uint32_t mamba(struct vs_builder *b, uint32_t x, int layer, uint32_t *ret_width)
{
    uint32_t inner = b->inner, rank = b->ssm_rank, bc_width = 2 * b->n_state, all = rank + bc_width;
    uint32_t u = vs_gb_product(b, x, layer, "ssm_in", "ssm_in", VS_NONE, b->n_embd, (struct vs_part){ 0, inner, 2 * inner });
    uint32_t z = vs_gb_product(b, x, layer, "ssm_in", "ssm_in", VS_NONE, b->n_embd, (struct vs_part){ inner, inner, 2 * inner });
    u = convolution(b, u, VS_NONE, VS_NONE, layer, "ssm_conv1d", inner, VS_ACT_SILU);
    uint32_t dt = vs_gb_product(b, u, layer, "ssm_x", "ssm_x", VS_NONE, inner, (struct vs_part){ 0, rank, all });
    uint32_t bc = vs_gb_product(b, u, layer, "ssm_x", "ssm_x", VS_NONE, inner, (struct vs_part){ rank, bc_width, all });
    if (b->norm_steps) {                 /* Falcon's */
        dt = vs_gb_group_norm(b, dt, layer, NULL, 1, rank);
        bc = vs_gb_group_norm(b, bc, layer, NULL, 2, bc_width);
    } else if (vs_gb_is_there(b, layer, "ssm_dt_norm.weight")) {         /* Jamba's */
        uint32_t of_b = vs_gb_pick(b, bc, 1, 0, b->n_state), of_c = vs_gb_pick(b, bc, 1, b->n_state, b->n_state);
        dt = vs_gb_group_norm(b, dt, layer, "ssm_dt_norm", 1, rank);
        of_b = vs_gb_group_norm(b, of_b, layer, "ssm_b_norm", 1, b->n_state);
        bc = vs_gb_join(b, of_b, vs_gb_group_norm(b, of_c, layer, "ssm_c_norm", 1, b->n_state), 1, bc_width);
    }
    struct vs_node n = vs_gb_base(VS_OP_SCAN, u);
    n.in[1] = vs_gb_linear(b, dt, layer, "ssm_dt", rank, inner);
    n.in[2] = bc;
    n.tensor[0] = vs_gb_vector_of_rows(b, layer, "ssm_a", b->n_state, inner);
    n.tensor[1] = vs_gb_vector(b, layer, "ssm_d", vs_gb_whole(inner), false);
    *ret_width = inner;
    return vs_gb_times_act(b, z, state_of(b, n, (size_t)inner * b->n_state, inner), inner, VS_ACT_SILU);
}

/* PLaMo 2's: heads as in Mamba 2, whose steps, B and C are made of what the convolution gives, and normed. */
static uint32_t plamo2(struct vs_builder *b, uint32_t x, int layer, uint32_t *ret_width)
{
    uint32_t inner = b->inner, heads = b->ssm_heads, head = inner / heads, n_state = b->n_state, rank = b->ssm_rank;
    uint32_t zx = vs_gb_linear(b, x, layer, "ssm_in", b->n_embd, 2 * inner), all = rank + 2 * n_state;
    uint32_t z = vs_gb_pick(b, zx, heads, 0, head), u = vs_gb_pick(b, zx, heads, head, head);
    u = convolution(b, u, VS_NONE, VS_NONE, layer, "ssm_conv1d", inner, VS_ACT_SILU);
    uint32_t of_b = vs_gb_product(b, u, layer, "ssm_x", "ssm_x", VS_NONE, inner, (struct vs_part){ 0, n_state, all });
    uint32_t of_c = vs_gb_product(b, u, layer, "ssm_x", "ssm_x", VS_NONE, inner, (struct vs_part){ n_state, n_state, all });
    uint32_t dt = vs_gb_product(b, u, layer, "ssm_x", "ssm_x", VS_NONE, inner, (struct vs_part){ 2 * n_state, rank, all });
    of_b = vs_gb_group_norm(b, of_b, layer, "ssm_b_norm", 1, n_state);
    of_c = vs_gb_group_norm(b, of_c, layer, "ssm_c_norm", 1, n_state);
    dt = vs_gb_group_norm(b, dt, layer, "ssm_dt_norm", 1, rank);
    u = vs_gb_join(b, vs_gb_join(b, u, of_b, 1, inner + n_state), of_c, 1, inner + 2 * n_state);
    struct vs_node n = vs_gb_base(VS_OP_SCAN_HEADS, u);
    n.in[1] = vs_gb_product(b, dt, layer, "ssm_dt", "", VS_NONE, rank, vs_gb_whole(heads));     /* the bias is the scan's */
    n.tensor[0] = vs_gb_flat_vector(b, layer, "ssm_a", vs_gb_whole(heads));
    n.tensor[1] = vs_gb_flat_vector(b, layer, "ssm_d", vs_gb_whole(heads));
    n.tensor[2] = vs_gb_vector(b, layer, "ssm_dt.bias", vs_gb_whole(heads), false);
    n.p.n_heads = heads;
    n.p.n_kv_heads = 1;
    n.p.head_dim = head;
    *ret_width = inner;
    return vs_gb_times_act(b, z, state_of(b, n, (size_t)inner * n_state, inner), inner, VS_ACT_SILU);
}

/* q, k and v of all heads, and the gate of what comes out: two matrices, or (the first files) one by heads of keys. */
static uint32_t delta_inputs(struct vs_builder *b, uint32_t x, int layer, uint32_t *ret_gate)
{
    uint32_t groups = b->ssm_groups, keys = groups * b->n_state, inner = b->inner, values = inner / groups, n = b->n_state;
    if (!vs_gb_is_there(b, layer, "ssm_in.weight")) {
        uint32_t qkv = vs_gb_linear(b, x, layer, "attn_qkv", b->n_embd, inner + 2 * keys);
        *ret_gate = vs_gb_linear(b, x, layer, "attn_gate", b->n_embd, inner);
        return qkv;
    }
    uint32_t all = vs_gb_linear(b, x, layer, "ssm_in", b->n_embd, 2 * (keys + inner));
    uint32_t q = vs_gb_pick(b, all, groups, 0, n), k = vs_gb_pick(b, all, groups, n, n);
    uint32_t v = vs_gb_pick(b, all, groups, 2 * n, values);
    *ret_gate = vs_gb_pick(b, all, groups, 2 * n + values, values);
    q = vs_gb_join(b, q, k, 1, 2 * keys);
    return vs_gb_join(b, q, v, 1, 2 * keys + inner);
}

static uint32_t delta_net(struct vs_builder *b, uint32_t x, int layer, uint32_t *ret_width)
{
    uint32_t inner = b->inner, all = inner + 2 * b->ssm_groups * b->n_state, head = inner / b->ssm_heads, z;
    uint32_t qkv = delta_inputs(b, x, layer, &z);
    struct vs_node n = vs_gb_base(VS_OP_DELTA, convolution(b, qkv, VS_NONE, VS_NONE, layer, "ssm_conv1d", all, VS_ACT_SILU));
    n.p.grouped = vs_gb_is_there(b, layer, "ssm_ba.weight");
    if (n.p.grouped) {
        uint32_t each = b->ssm_heads / b->ssm_groups, both = vs_gb_linear(b, x, layer, "ssm_ba", b->n_embd, 2 * b->ssm_heads);
        n.in[1] = vs_gb_pick(b, both, b->ssm_groups, 0, each);
        n.in[2] = vs_gb_pick(b, both, b->ssm_groups, each, each);
    } else {
        n.in[1] = vs_gb_linear(b, x, layer, "ssm_beta", b->n_embd, b->ssm_heads);
        n.in[2] = vs_gb_linear(b, x, layer, "ssm_alpha", b->n_embd, b->ssm_heads);
    }
    n.tensor[0] = vs_gb_vector(b, layer, "ssm_a", vs_gb_whole(b->ssm_heads), false);
    n.tensor[1] = vs_gb_vector(b, layer, "ssm_dt.bias", vs_gb_whole(b->ssm_heads), false);
    n.p.n_heads = b->ssm_heads;
    n.p.n_kv_heads = b->ssm_groups;
    n.p.head_dim = head;
    n.p.eps = b->eps;
    struct vs_node each = vs_gb_base(VS_OP_GROUP_NORM, state_of(b, n, (size_t)inner * b->n_state, inner));
    each.tensor[0] = vs_gb_vector(b, layer, "ssm_norm.weight", vs_gb_whole(head), false);
    each.p.n_heads = b->ssm_heads;
    each.p.eps = b->eps;
    *ret_width = inner;
    return vs_gb_times_act(b, z, vs_gb_node(b, each, inner), inner, VS_ACT_SILU);
}

static uint32_t kimi_delta(struct vs_builder *b, uint32_t x, int layer, uint32_t *ret_width)
{
    static const char *const stems[] = { "attn_q", "attn_k", "attn_v" };
    static const char *const convolutions[] = { "ssm_conv1d_q", "ssm_conv1d_k", "ssm_conv1d_v" };
    uint32_t inner = b->inner, head = b->n_state, part[3];
    for (uint32_t k = 0; k < 3; k++) {
        part[k] = vs_gb_projection(b, x, layer, stems[k], (struct vs_part){ k * inner, inner, 3 * inner });
        part[k] = convolution(b, part[k], VS_NONE, VS_NONE, layer, convolutions[k], inner, VS_ACT_SILU);
    }
    uint32_t qk = vs_gb_join(b, part[0], part[1], 1, 2 * inner);
    struct vs_node n = vs_gb_base(VS_OP_DELTA, vs_gb_join(b, qk, part[2], 1, 3 * inner));
    struct vs_node each = vs_gb_base(VS_OP_GROUP_NORM, VS_NONE);
    n.in[1] = vs_gb_linear(b, x, layer, "ssm_beta", b->n_embd, b->ssm_heads);
    n.in[2] = vs_gb_linear(b, x, layer, "ssm_f_a", b->n_embd, head);
    n.in[2] = vs_gb_linear(b, n.in[2], layer, "ssm_f_b", head, inner);
    uint32_t gate = vs_gb_linear(b, x, layer, "ssm_g_a", b->n_embd, head);
    gate = vs_gb_linear(b, gate, layer, "ssm_g_b", head, inner);
    n.tensor[0] = vs_gb_vector_of_rows(b, layer, "ssm_a", 1, b->ssm_heads);
    n.tensor[1] = vs_gb_vector(b, layer, "ssm_dt.bias", vs_gb_whole(inner), false);
    n.p.n_heads = n.p.n_kv_heads = b->ssm_heads;
    n.p.head_dim = head;
    n.p.eps = b->eps;
    n.p.each_key = true;
    each.in[0] = state_of(b, n, (size_t)inner * head, inner);
    each.tensor[0] = vs_gb_vector(b, layer, "ssm_norm.weight", vs_gb_whole(head), false);
    each.p.n_heads = b->ssm_heads;
    each.p.eps = b->eps;
    *ret_width = inner;
    return vs_gb_times_act(b, gate, vs_gb_node(b, each, inner), inner, VS_ACT_SIGMOID);
}

uint32_t vs_gb_recur(struct vs_builder *b, uint32_t x, int layer, const char **ret_output, uint32_t *ret_width)
{
    enum vs_mixer mixer = b->arch->mixer;
    *ret_output = mixer == SHORT_CONVOLUTION ? "shortconv.out_proj" : mixer == KDA ? "attn_output" : "ssm_out";
    return mixer == SHORT_CONVOLUTION ? short_convolution(b, x, layer, ret_width)
         : mixer == DELTA_NET ? delta_net(b, x, layer, ret_width)
         : mixer == KDA ? kimi_delta(b, x, layer, ret_width)
         : mixer == PLAMO2 ? plamo2(b, x, layer, ret_width)
         : mixer == MAMBA ? mamba(b, x, layer, ret_width) : vs_gb_mamba2(b, x, layer, ret_width);
}
