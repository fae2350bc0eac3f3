/* import/rwkv.c - RWKV 6 and 7: a part that mixes positions by a state, and one that mixes channels; both read, beside a token's
 * row, the row of the token before it. docs/NUMERICS.md, section 14. */
#include "import/internal.h"

#include <stdio.h>

/* x, moved towards the row before it by LERP (elements of it: part), and by `more` where that is a value. */
static uint32_t shifted(struct vs_builder *b, uint32_t x, int layer, const char *lerp, struct vs_part part, uint32_t more,
                        size_t state)
{
    struct vs_node n = vs_gb_base(VS_OP_SHIFT, x);
    n.in[1] = more;
    n.tensor[0] = vs_gb_flat_vector(b, layer, lerp, part);
    n.p.state = state;
    return vs_gb_node(b, n, b->n_embd);
}

/* The part of a slot that keeps the last row; all shifts of the same x share it. */
static size_t row_state(struct vs_builder *b)
{
    size_t at = b->g->n_state;
    b->g->n_state += b->n_embd;
    return at;
}

/* x through NAME1.weight, `act`, and NAME2.weight (of `width` rows) plus the vector BIAS, where that is not NULL. */
static uint32_t low_rank(struct vs_builder *b, uint32_t x, int layer, const char *name, const char *bias, enum vs_activation act,
                         bool is_tanh)
{
    char first[48], second[48];
    snprintf(first, sizeof first, "%s1", name);
    snprintf(second, sizeof second, "%s2.weight", name);
    char weight[56];
    snprintf(weight, sizeof weight, "%s.weight", first);
    uint64_t rows = vs_gb_rows_of_matrix(b, layer, weight);
    uint32_t rank = rows > 0 && rows <= MAX_WIDTH ? (uint32_t)rows : 1;
    x = vs_gb_linear(b, x, layer, first, b->n_embd, rank);
    if (is_tanh)
        x = vs_gb_tanh(b, x, rank);
    else if (act != VS_ACT_NONE)
        x = vs_gb_act(b, x, rank, act);
    struct vs_node n = vs_gb_base(VS_OP_LINEAR, x);
    n.tensor[0] = vs_gb_tensor(b, layer, second, rank, vs_gb_whole(b->n_embd), false);
    if (bias)
        n.tensor[1] = vs_gb_flat_vector(b, layer, bias, vs_gb_whole(b->n_embd));
    return vs_gb_node(b, n, b->n_embd);
}

/* r, k and v side by side. */
static uint32_t beside(struct vs_builder *b, uint32_t r, uint32_t k, uint32_t v)
{
    uint32_t n = b->n_embd;
    return vs_gb_join(b, vs_gb_join(b, r, k, 1, 2 * n), v, 1, 3 * n);
}

/* Heads without their mean, by time_mix_ln. */
static uint32_t head_norms(struct vs_builder *b, uint32_t x, int layer)
{
    struct vs_node n = vs_gb_base(VS_OP_LAYER_NORM, x);
    n.tensor[0] = vs_gb_vector(b, layer, "time_mix_ln.weight", vs_gb_whole(b->n_embd), false);
    n.tensor[1] = vs_gb_vector(b, layer, "time_mix_ln.bias", vs_gb_whole(b->n_embd), false);
    n.p.n_heads = b->ssm_heads;
    n.p.eps = 64e-5f;
    return vs_gb_node(b, n, b->n_embd);
}

/* What heads make of in[0] and in[1]. */
static uint32_t heads(struct vs_builder *b, struct vs_node n, uint32_t width)
{
    n.p.n_heads = b->ssm_heads;
    n.p.head_dim = n.p.n_state = b->n_state;
    n.p.state = b->g->n_state;
    b->g->n_state += (size_t)b->n_embd * b->n_state;
    return vs_gb_node(b, n, width);
}

static uint32_t time_mix6(struct vs_builder *b, uint32_t x, int i)
{
    static const char *const letters[] = { "w", "k", "v", "r", "g" };
    uint32_t n = b->n_embd, to[5];
    size_t state = row_state(b);
    bool fused = vs_gb_is_there(b, i, "time_mix_lerp_fused.weight");
    uint64_t rows = vs_gb_rows_of_matrix(b, i, "time_mix_w1.weight");
    uint32_t rank = rows >= 5 && rows <= MAX_WIDTH ? (uint32_t)rows / 5 : 1;
    uint32_t by = shifted(b, x, i, "time_mix_lerp_x.weight", vs_gb_whole(n), VS_NONE, state);
    by = vs_gb_tanh(b, vs_gb_linear(b, by, i, "time_mix_w1", n, 5 * rank), 5 * rank);
    by = vs_gb_by_heads(b, by, i, "time_mix_w2.weight", 5, rank, n);
    for (uint32_t k = 0; k < 5; k++) {
        char name[40];
        snprintf(name, sizeof name, "time_mix_lerp_%s.weight", fused ? "fused" : letters[k]);
        to[k] = shifted(b, x, i, name, fused ? (struct vs_part){ k * n, n, 5 * n } : vs_gb_whole(n),
                        vs_gb_pick(b, by, 1, k * n, n), state);
    }
    uint32_t r = vs_gb_linear(b, to[3], i, "time_mix_receptance", n, n), k = vs_gb_linear(b, to[1], i, "time_mix_key", n, n);
    uint32_t v = vs_gb_linear(b, to[2], i, "time_mix_value", n, n), gate = vs_gb_linear(b, to[4], i, "time_mix_gate", n, n);
    struct vs_node wkv = vs_gb_base(VS_OP_WKV6, beside(b, r, k, v));
    wkv.in[1] = low_rank(b, to[0], i, "time_mix_decay_w", "time_mix_decay.weight", VS_ACT_NONE, true);
    wkv.tensor[0] = vs_gb_flat_vector(b, i, "time_mix_first.weight", vs_gb_whole(n));
    return vs_gb_times_act(b, gate, head_norms(b, heads(b, wkv, n), i), n, VS_ACT_SILU);
}

/* v, and in the layers behind the first so much of that layer's as they say. */
static uint32_t values7(struct vs_builder *b, uint32_t x, int i)
{
    uint32_t n = b->n_embd, v = vs_gb_linear(b, x, i, "time_mix_value", n, n);
    if (i == 0)
        return b->first_values = v;
    uint32_t by = low_rank(b, x, i, "time_mix_v", "time_mix_v0.weight", VS_ACT_NONE, false);
    uint32_t change = vs_gb_sum(b, b->first_values, vs_gb_scaled(b, v, -1, n));
    return vs_gb_sum(b, v, vs_gb_times_act(b, by, change, n, VS_ACT_SIGMOID));
}

static uint32_t time_mix7(struct vs_builder *b, uint32_t x, int i)
{
    uint32_t n = b->n_embd, to[6];
    size_t state = row_state(b);
    bool gated = vs_gb_is_there(b, i, "time_mix_g1.weight");
    uint32_t parts = gated ? 6 : 5;
    for (uint32_t k = 0; k < parts; k++)          /* r, w, k, v, a, g */
        to[k] = shifted(b, x, i, "time_mix_lerp_fused.weight", (struct vs_part){ k * n, n, parts * n }, VS_NONE, state);
    uint32_t r = vs_gb_linear(b, to[0], i, "time_mix_receptance", n, n), k = vs_gb_linear(b, to[2], i, "time_mix_key", n, n);
    uint32_t v = values7(b, to[3], i);
    uint32_t decay = low_rank(b, to[1], i, "time_mix_w", "time_mix_w0.weight", VS_ACT_NONE, true);
    uint32_t rate = low_rank(b, to[4], i, "time_mix_a", "time_mix_a0.weight", VS_ACT_NONE, false);
    struct vs_node wkv = vs_gb_base(VS_OP_WKV7, beside(b, r, k, v));
    wkv.in[1] = vs_gb_join(b, decay, rate, 1, 2 * n);
    wkv.tensor[0] = vs_gb_flat_vector(b, i, "time_mix_k_k.weight", vs_gb_whole(n));
    wkv.tensor[1] = vs_gb_flat_vector(b, i, "time_mix_k_a.weight", vs_gb_whole(n));
    wkv.tensor[2] = vs_gb_flat_vector(b, i, "time_mix_r_k.weight", vs_gb_whole(n));
    uint32_t both = heads(b, wkv, 2 * n);
    uint32_t o = head_norms(b, vs_gb_pick(b, both, 1, 0, n), i);
    o = vs_gb_sum(b, o, vs_gb_pick(b, both, 1, n, n));
    if (!gated)
        return o;
    uint32_t gate = low_rank(b, to[5], i, "time_mix_g", NULL, VS_ACT_SIGMOID, false);
    return vs_gb_times_act(b, gate, o, n, VS_ACT_NONE);
}

/* relu^2 between two matrices; of RWKV 6 a gate reads another mixture. */
static uint32_t channel_mix(struct vs_builder *b, uint32_t x, uint32_t il)
{
    int i = (int)il;
    uint32_t n = b->n_embd, n_ff = vs_gb_layer_u32(b, "feed_forward_length", il, -1, 1, MAX_WIDTH);
    size_t state = row_state(b);
    uint32_t to = shifted(b, x, i, "channel_mix_lerp_k.weight", vs_gb_whole(n), VS_NONE, state), gate = VS_NONE;
    if (b->arch->mixer == RWKV6)
        gate = shifted(b, x, i, "channel_mix_lerp_r.weight", vs_gb_whole(n), VS_NONE, state);
    to = vs_gb_read_rows(b, to, il, n);
    uint32_t y = vs_gb_act(b, vs_gb_linear(b, to, i, "channel_mix_key", n, n_ff), n_ff, VS_ACT_RELU2);
    y = vs_gb_linear(b, y, i, "channel_mix_value", n_ff, n);
    if (gate == VS_NONE)
        return y;
    gate = vs_gb_linear(b, vs_gb_read_rows(b, gate, il, n), i, "channel_mix_receptance", n, n);
    return vs_gb_times_act(b, gate, y, n, VS_ACT_SIGMOID);
}

uint32_t vs_gb_rwkv_layer(struct vs_builder *b, uint32_t h, uint32_t il)
{
    int i = (int)il;
    uint32_t n = b->n_embd, x = vs_gb_norm(b, h, i, "attn_norm", n);
    x = b->arch->mixer == RWKV6 ? time_mix6(b, x, i) : time_mix7(b, x, i);
    h = vs_gb_add(b, h, vs_gb_linear(b, x, i, "time_mix_output", n, n));
    x = vs_gb_norm(b, h, i, "attn_norm_2", n);
    x = channel_mix(b, x, il);
    h = vs_gb_add(b, vs_gb_read_rows(b, h, il, n), x);
    uint32_t period = b->arch->mixer == RWKV6 ? vs_gb_get_u32(b, "rescale_every_n_layers", 0, 0, MAX_LAYERS) : 0;
    return period && (il + 1) % period == 0 ? vs_gb_scaled(b, h, 0.5f, n) : h;
}
