/* import/attention.c - attention: heads of queries and keys, or a latent row that keys and values are made of. */
#include "import/internal.h"

#include <stdio.h>

uint32_t vs_gb_projection(struct vs_builder *b, uint32_t x, int layer, const char *stem, struct vs_part part)
{
    struct vs_node n = vs_gb_base(VS_OP_CLAMP, VS_NONE);
    n.p.scale = b->clamp;
    if (!vs_gb_is_there(b, layer, "attn_qkv.weight"))
        n.in[0] = vs_gb_linear(b, x, layer, stem, b->n_embd, part.n);
    else
        n.in[0] = vs_gb_product(b, x, layer, "attn_qkv", vs_gb_is_there(b, layer, "attn_qkv.bias") ? "attn_qkv" : stem, VS_NONE,
                                b->n_embd, part);
    return b->clamp > 0 ? vs_gb_node(b, n, part.n) : n.in[0];
}

static uint32_t rope(struct vs_builder *b, uint32_t x, uint32_t n_heads, uint32_t which)
{
    struct vs_node n = vs_gb_base(VS_OP_ROPE, x);
    n.p.first = b->rope_first;
    n.p.head_dim = b->head_dim;
    n.p.n_heads = n_heads;
    n.p.rope = which;
    return vs_gb_node(b, n, n_heads * b->head_dim);
}

static bool has_rope(struct vs_builder *b, uint32_t il)
{
    const struct vs_family *a = b->arch;
    uint64_t v = 0;
    if (b->no_rope || (a->rope_period && (il + 1) % a->rope_period == 0))
        return false;
    if (b->rope_list)
        return vs_entry_uint(b->rope_list, il, &v) && v;
    return !a->local_rope_only || !b->any_local || b->windowed[il] || (a->lead_rope && il < b->n_dense);
}

/* Each head without its mean, by a weight (and a bias) of its own, where the file has one. */
static uint32_t each_mean(struct vs_builder *b, uint32_t x, int layer, const char *stem, uint32_t n_heads)
{
    char suffix[48];
    struct vs_node n = vs_gb_base(VS_OP_LAYER_NORM, x);
    snprintf(suffix, sizeof suffix, "%s.weight", stem);
    if (!vs_gb_is_there(b, layer, suffix))
        return x;
    n.tensor[0] = vs_gb_vector_of_rows(b, layer, suffix, b->head_dim, n_heads);
    snprintf(suffix, sizeof suffix, "%s.bias", stem);
    if (vs_gb_is_there(b, layer, suffix))
        n.tensor[1] = vs_gb_vector_of_rows(b, layer, suffix, b->head_dim, n_heads);
    n.p.n_heads = n_heads;
    n.p.eps = b->eps;
    return vs_gb_node(b, n, n_heads * b->head_dim);
}

/* q and k as attention takes them: normed and turned, as the architecture wants it in this layer. */
static uint32_t turned(struct vs_builder *b, uint32_t x, uint32_t il, const char *norm_name, uint32_t n_heads)
{
    const struct vs_family *a = b->arch;
    bool turns = has_rope(b, il);
    if (a->qk_norm == QK_HEAD)
        x = vs_gb_head_norm(b, x, (int)il, norm_name, n_heads);
    if (a->qk_norm == QK_ROW && (!a->qk_norm_optional || vs_gb_is_there(b, (int)il, "attn_q_norm.weight")))
        x = vs_gb_norm(b, x, (int)il, norm_name, n_heads * b->head_dim);
    if (a->qk_norm == QK_EACH)
        x = vs_gb_group_norm(b, x, (int)il, norm_name, n_heads, n_heads * b->head_dim);
    if (a->qk_norm == QK_EACH_MEAN)
        x = each_mean(b, x, (int)il, norm_name, n_heads);
    if (turns)
        x = rope(b, x, n_heads, b->windowed[il] ? 1 : 0);
    if (a->qk_norm == QK_BARE_LAST && turns && b->n_experts != 128)
        x = vs_gb_bare_head_norm(b, x, n_heads);
    if (a->qk_norm == QK_HEAD_LAST)
        x = vs_gb_head_norm(b, x, (int)il, norm_name, n_heads);
    return x;
}

uint32_t vs_gb_heads_of(const struct vs_builder *b, uint32_t il)
{
    return b->arch->heads_by_layer ? b->heads[il] : b->n_heads;
}

uint32_t vs_gb_kv_heads_of(const struct vs_builder *b, uint32_t il)
{
    return b->arch->heads_by_layer ? b->kv_heads[il] : b->n_kv_heads;
}

uint32_t vs_gb_shared_from(const struct vs_builder *b, uint32_t il)
{
    return b->n_own - (b->windowed[il] ? 2 : 1);
}

/* Where the keys and values of a layer lie: behind those before it. A decoder's, at positions that are not the encoder's, lie where
 * those of the encoder's layer of that number do, which nobody reads any more. */
static void take_cache(struct vs_builder *b, uint32_t il, uint32_t n_heads)
{
    const struct vs_kv_layer kept = { n_heads, b->head_dim, b->value_dim };
    if (!b->arch->decoder || il >= b->g->n_kv_layers)
        b->kv_index[il] = vs_graph_kv_layer(b->g, &kept);
}

enum { BUCKETS = 32 };                   /* of distances, as all T5 have them */

/* What attention gives for q, k and v as they are to be compared; k and v VS_NONE: with those of shared_from. */
static uint32_t attended(struct vs_builder *b, uint32_t q, uint32_t k, uint32_t v, uint32_t il)
{
    struct vs_node n = vs_gb_base(VS_OP_ATTENTION, q);
    n.in[1] = k;
    n.in[2] = v;
    n.p.n_heads = vs_gb_heads_of(b, il);
    n.p.n_kv_heads = vs_gb_kv_heads_of(b, il);
    n.p.head_dim = b->head_dim;
    n.p.value_dim = b->value_dim;
    if (k != VS_NONE)
        take_cache(b, il, n.p.n_kv_heads);
    n.p.layer = b->kv_index[k != VS_NONE ? il : vs_gb_shared_from(b, il)];
    n.p.scale = b->attention_scale;
    n.p.softcap = b->attention_cap;
    n.p.temperature = b->arch->full_temperature > 0 && has_rope(b, il) ? 0 : b->temperature;
    n.p.temperature_length = b->temperature_length;
    n.p.temperature_first = b->arch->full_temperature > 0;
    n.p.chunks = b->arch->chunks;
    n.p.both_ways = b->both_ways;
    n.p.alibi = b->alibi;
    n.p.window = !b->windowed[il] ? 0 : b->arch->encoder ? b->window / 2 + 1 : b->window;
    if (b->arch->sinks)
        n.tensor[0] = vs_gb_vector(b, (int)il, "attn_sinks.weight", vs_gb_whole(n.p.n_heads), b->arch->sinks == SINKS_IF_THERE);
    if (b->arch->bucket_bias) {
        int from = vs_gb_is_there(b, (int)il, "attn_rel_b.weight") ? (int)il : 0;
        n.tensor[1] = vs_gb_tensor(b, from, "attn_rel_b.weight", n.p.n_heads, vs_gb_whole(BUCKETS), false);
    }
    return vs_gb_node(b, n, n.p.n_heads * b->value_dim);
}

/* Queries of models with a latent row: from a row of their own, or from x. */
static uint32_t latent_queries(struct vs_builder *b, uint32_t x, int i)
{
    uint32_t width = b->n_heads * (b->latent.plain + b->n_rot), rank = b->latent.q_rank;
    if (!vs_gb_is_there(b, i, "attn_q_a.weight"))
        return vs_gb_linear(b, x, i, "attn_q", b->n_embd, width);
    uint32_t q = vs_gb_linear(b, x, i, "attn_q_a", b->n_embd, rank);
    q = vs_gb_norm(b, q, i, "attn_q_a_norm", rank);
    return vs_gb_linear(b, q, i, "attn_q_b", rank, width);
}

/* The attention of a layer whose keys and values come from one latent row. What heads would make of that row is either made of it
 * here, or their queries are moved to where it is (latent.whole says which). */
static uint32_t attend_latent(struct vs_builder *b, uint32_t x, uint32_t il, uint32_t *ret_width)
{
    int i = (int)il;
    uint32_t rank = b->latent.rank, plain = b->latent.plain, rot = b->n_rot, n = b->n_heads, all = rank + rot, k, v;
    uint32_t q = latent_queries(b, x, i);
    uint32_t row = vs_gb_product(b, x, i, "attn_kv_a_mqa", "attn_kv_a_mqa", VS_NONE, b->n_embd, (struct vs_part){ 0, rank, all });
    uint32_t turns = vs_gb_product(b, x, i, "attn_kv_a_mqa", "attn_kv_a_mqa", VS_NONE, b->n_embd,
                                   (struct vs_part){ rank, rot, all });
    row = vs_gb_norm(b, row, i, "attn_kv_a_norm", rank);
    if (b->latent.whole) {
        uint32_t both = vs_gb_linear(b, row, i, "attn_kv_b", rank, n * (plain + b->value_dim));
        k = vs_gb_pick(b, both, n, 0, plain);
        v = vs_gb_pick(b, both, n, plain, b->value_dim);
        k = vs_gb_join(b, k, turns, n, n * b->head_dim);
    } else {
        uint32_t q_turns = vs_gb_pick(b, q, n, plain, rot);
        q = vs_gb_pick(b, q, n, 0, plain);
        q = vs_gb_by_heads(b, q, i, "attn_k_b.weight", n, plain, rank);
        q = vs_gb_join(b, q, q_turns, n, n * b->head_dim);
        k = vs_gb_join(b, row, turns, 1, b->head_dim);
        v = row;
    }
    if (!b->no_rope) {
        q = rope(b, q, n, 0);
        k = rope(b, k, b->n_kv_heads, 0);
    }
    *ret_width = n * b->latent.value;
    uint32_t o = attended(b, q, k, v, il);
    return b->latent.whole ? o : vs_gb_by_heads(b, o, i, "attn_v_b.weight", n, rank, b->latent.value);
}

/* The same of one with keys and values of its own. */
static uint32_t attend_heads(struct vs_builder *b, uint32_t x, uint32_t il, uint32_t *ret_width)
{
    int i = (int)il;
    if (b->arch->local_heads)
        b->head_dim = b->value_dim = b->windowed[il] ? b->local_dim : b->full_dim;
    uint32_t n_heads = vs_gb_heads_of(b, il), n_kv_heads = vs_gb_kv_heads_of(b, il), q_width = n_heads * b->head_dim;
    uint32_t k_width = n_kv_heads * b->head_dim, v_width = n_kv_heads * b->value_dim;
    uint32_t q_rows = b->arch->output_gate ? 2 * q_width : q_width, all = q_rows + k_width + v_width;
    uint32_t q = vs_gb_projection(b, x, i, "attn_q", (struct vs_part){ 0, q_rows, all });
    uint32_t gate = b->arch->output_gate ? vs_gb_pick(b, q, n_heads, b->head_dim, b->head_dim) : VS_NONE;
    q = b->arch->output_gate ? vs_gb_pick(b, q, n_heads, 0, b->head_dim) : q;
    bool by_head = b->arch->attention_gate && vs_gb_rows_of_matrix(b, i, "attn_gate.weight") == n_heads;
    bool gated = b->arch->attention_gate && (!b->arch->gate_optional || vs_gb_is_there(b, i, "attn_gate.weight"));
    if (gated)
        gate = vs_gb_linear(b, x, i, "attn_gate", b->n_embd, by_head ? n_heads : n_heads * b->value_dim);
    q = turned(b, q, il, "attn_q_norm", n_heads);
    *ret_width = n_heads * b->value_dim;
    if (il >= b->n_own)
        return attended(b, q, VS_NONE, VS_NONE, il);
    uint32_t k = vs_gb_projection(b, x, i, "attn_k", (struct vs_part){ q_rows, k_width, all });
    bool same = b->arch->value_norm && !b->arch->streams && !vs_gb_is_there(b, i, "attn_v.weight")
                && !vs_gb_is_there(b, i, "attn_qkv.weight");
    uint32_t v = same ? vs_gb_pick(b, k, 1, 0, v_width)
                      : vs_gb_projection(b, x, i, "attn_v", (struct vs_part){ q_rows + k_width, v_width, all });
    k = turned(b, k, il, "attn_k_norm", n_kv_heads);
    v = b->arch->value_norm ? vs_gb_bare_head_norm(b, v, n_kv_heads) : v;

    uint32_t o = attended(b, q, k, v, il);
    enum vs_activation act = b->arch->attention_gate == GATE_SOFTPLUS ? VS_ACT_SOFTPLUS : VS_ACT_SIGMOID;
    if (by_head)
        return vs_gb_gated_by(b, o, gate, n_heads, act, *ret_width);
    return gate == VS_NONE ? o : vs_gb_times_act(b, gate, o, *ret_width, act);
}

uint32_t vs_gb_attend(struct vs_builder *b, uint32_t x, uint32_t il, uint32_t *ret_width)
{
    return (b->arch->latent ? attend_latent : attend_heads)(b, x, il, ret_width);
}

void vs_gb_keep_source(struct vs_builder *b, uint32_t source, uint32_t il)
{
    struct vs_node n = vs_gb_base(VS_OP_KEEP, VS_NONE);
    uint32_t heads = b->n_kv_heads;
    n.in[0] = vs_gb_linear(b, source, (int)il, "cross_attn_k", b->n_embd, heads * b->head_dim);
    n.in[1] = vs_gb_linear(b, source, (int)il, "cross_attn_v", b->n_embd, heads * b->value_dim);
    take_cache(b, il, heads);
    n.p.layer = b->kv_index[il];
    n.p.n_kv_heads = heads;
    n.p.head_dim = b->head_dim;
    n.p.value_dim = b->value_dim;
    vs_gb_node(b, n, heads * b->value_dim);
}

uint32_t vs_gb_attend_source(struct vs_builder *b, uint32_t x, uint32_t il)
{
    struct vs_node n = vs_gb_base(VS_OP_ATTENTION, VS_NONE);
    n.in[0] = vs_gb_linear(b, x, (int)il, "cross_attn_q", b->n_embd, b->n_heads * b->head_dim);
    n.p.layer = b->kv_index[il];
    n.p.n_heads = b->n_heads;
    n.p.n_kv_heads = b->n_kv_heads;
    n.p.head_dim = b->head_dim;
    n.p.value_dim = b->value_dim;
    n.p.scale = b->attention_scale;
    n.p.of_source = true;
    return vs_gb_node(b, n, b->n_heads * b->value_dim);
}
