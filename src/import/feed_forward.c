/* import/feed_forward.c - the feed-forward part of a layer: dense, or experts and the one that all rows pass. */
#include "import/internal.h"
#include "base/num.h"

#include <stdio.h>

/* How the router of a layer chooses: what the keys say, as far as the architecture lets them. */
static void read_choice(struct vs_builder *b, struct vs_experts *e, uint32_t il)
{
    const struct vs_choice *a = &b->arch->experts;
    char key[128];
    e->n_used = vs_gb_layer_u32(b, "expert_used_count", il, -1, 1, b->n_experts);
    e->gating = (enum vs_gating)vs_gb_get_u32(b, "expert_gating_func", 0, 0, 4);
    if (e->gating > VS_GATING_CHOSEN || (e->gating && e->gating != a->gating && !a->any_gating))
        vs_gb_fail(b, VS_E_UNSUPPORTED, "this gating function is not supported", vs_gb_key_of(b, "expert_gating_func", key));
    e->gating = e->gating ? e->gating : b->gating;
    e->normalise = a->normalise == NORM_YES;
    if (a->normalise == NORM_BY_KEY)
        e->normalise = vs_gb_get_bool(b, "expert_weights_norm", false);
    else if (vs_gb_get_bool(b, "expert_weights_norm", e->normalise) != e->normalise)
        vs_gb_fail(b, VS_E_UNSUPPORTED, "is not what these models do", vs_gb_key_of(b, "expert_weights_norm", key));
    e->scale = (float)vs_gb_get_float(b, "expert_weights_scale", 0, 0, 1e6);
    e->scale = e->scale > 0 ? e->scale : 1;
    if (e->scale != 1 && !a->scaled)
        vs_gb_fail(b, VS_E_UNSUPPORTED, "these models do not scale the weights", vs_gb_key_of(b, "expert_weights_scale", key));
    uint32_t groups = vs_gb_get_u32(b, "expert_group_count", 0, 0, b->n_experts);
    uint32_t used = vs_gb_get_u32(b, "expert_group_used_count", 0, 0, groups);
    if (b->status != VS_OK || groups <= 1 || used == groups)
        return;
    if (!a->grouped)
        vs_gb_fail(b, VS_E_UNSUPPORTED, "these models do not group their experts", vs_gb_key_of(b, "expert_group_count", key));
    else if (!used)
        vs_gb_fail(b, VS_E_MALFORMED, "is 0 or missing", vs_gb_key_of(b, "expert_group_used_count", key));
    else if (b->n_experts % groups)
        vs_gb_fail(b, VS_E_MALFORMED, "does not divide expert_count", vs_gb_key_of(b, "expert_group_count", key));
    else if (b->n_experts / groups * used < e->n_used)
        vs_gb_fail(b, VS_E_MALFORMED, "leaves fewer experts than are used", vs_gb_key_of(b, "expert_group_used_count", key));
    e->n_groups = groups;
    e->n_groups_used = used;
}

static float softplus(double x)
{
    return (float)(x > 30 ? x : vs_log64(1 + vs_exp64(x)));
}

static void read_xielu(struct vs_builder *b, uint32_t layer, struct vs_node *glu)
{
    float beta = vs_gb_bare_float(b, "xielu.beta", layer);
    glu->p.xielu[0] = softplus((double)vs_gb_bare_float(b, "xielu.alpha_p", layer));
    glu->p.xielu[1] = beta + softplus((double)vs_gb_bare_float(b, "xielu.alpha_n", layer));
    glu->p.xielu[2] = beta;
    glu->p.xielu[3] = vs_gb_bare_float(b, "xielu.eps", layer);
}

/* Of what is inside a feed-forward part of a layer; 0: none. */
static float limit_of(struct vs_builder *b, const char *key, uint32_t il)
{
    float limit = (float)vs_gb_layer_float(b, key, il, 0, 0, 1e6);
    return limit > 1e-6f ? limit : 0;
}

/* STEM_gate, STEM_up and STEM_down of a feed-forward part, where _gate stands in front of `end`: ffn_gate, or ffn_gate_shexp. */
static uint32_t gated(struct vs_builder *b, uint32_t x, int i, const char *end, uint32_t n_ff)
{
    char gate[32], up[32], down[32], fused[40];
    struct vs_node glu = vs_gb_base(VS_OP_GLU, VS_NONE);
    glu.p.activation = b->activation;
    if (b->activation == VS_ACT_XIELU)
        read_xielu(b, (uint32_t)i, &glu);
    if (b->arch->limited)
        glu.p.scale = limit_of(b, "swiglu_clamp_shexp", (uint32_t)i);
    snprintf(gate, sizeof gate, "ffn_gate%s", end);
    snprintf(up, sizeof up, "ffn_up%s", end);
    snprintf(down, sizeof down, "ffn_down%s", end);
    snprintf(fused, sizeof fused, "%s.weight", gate);
    bool no_gate = b->arch->no_gate || (b->arch->gate_by_tensor && !vs_gb_is_there(b, i, fused));
    if (no_gate && b->arch->gate_by_tensor)
        glu.p.activation = VS_ACT_RELU;
    if (no_gate) {
        glu.in[0] = vs_gb_linear(b, x, i, up, b->n_embd, n_ff);
    } else if ((b->arch->fused_up || (b->arch->shared_fused_up && *end)) && !vs_gb_is_there(b, i, fused)) {
        glu.in[0] = vs_gb_product(b, x, i, up, up, VS_NONE, b->n_embd, (struct vs_part){ 0, n_ff, 2 * n_ff });
        glu.in[1] = vs_gb_product(b, x, i, up, up, VS_NONE, b->n_embd, (struct vs_part){ n_ff, n_ff, 2 * n_ff });
    } else {
        glu.in[0] = vs_gb_linear(b, x, i, gate, b->n_embd, n_ff);
        glu.in[1] = vs_gb_linear(b, x, i, up, b->n_embd, n_ff);
    }
    uint32_t inner = vs_gb_node(b, glu, n_ff);
    return vs_gb_linear(b, b->arch->sub_norms ? vs_gb_norm(b, inner, i, "ffn_sub_norm", n_ff) : inner, i, down, n_ff, b->n_embd);
}

uint32_t vs_gb_feed_forward(struct vs_builder *b, uint32_t x, int i)
{
    uint32_t n_ff = vs_gb_layer_u32(b, "feed_forward_length", (uint32_t)i, -1, 1, MAX_WIDTH);
    return gated(b, x, i, "", b->arch->half_ff ? n_ff / 2 : n_ff);
}

static bool has_experts(const struct vs_builder *b, uint32_t il)
{
    if (b->expert_period)
        return b->n_experts && il % b->expert_period == 1 % b->expert_period;
    return b->n_experts && il >= b->n_dense && (il + 1) % b->expert_step == 0
           && !(b->arch->experts.by_tensor && !vs_gb_is_there(b, (int)il, "ffn_gate_inp.weight"));
}

/* Width of an expert: its own key, or, in the older files, that of the feed-forward part. */
static uint32_t expert_width(struct vs_builder *b, uint32_t il)
{
    uint32_t n = vs_gb_layer_u32(b, "expert_feed_forward_length", il, 0, 0, MAX_WIDTH);
    if (n)
        return n;
    n = vs_gb_layer_u32(b, "feed_forward_length", il, -1, 1, MAX_WIDTH);
    uint32_t used = vs_gb_layer_u32(b, "expert_used_count", il, -1, 1, b->n_experts);
    return b->arch->experts.split_width && used ? n / used : n;
}

/* Gemma's router reads the norm of h with ffn_gate_inp.scale as its weight, divided by the root of the width. */
static uint32_t normed_router(struct vs_builder *b, uint32_t h, int i, uint32_t n)
{
    struct vs_node normed = vs_gb_base(VS_OP_RMS_NORM, h);
    normed.tensor[0] = vs_gb_vector(b, i, "ffn_gate_inp.scale", vs_gb_whole(b->n_embd), false);
    normed.p.eps = b->eps;
    uint32_t x = vs_gb_scaled(b, vs_gb_node(b, normed, b->n_embd), 1.0f / vs_sqrtf((float)b->n_embd), b->n_embd);
    struct vs_node logits = vs_gb_base(VS_OP_LINEAR, x);
    logits.tensor[0] = vs_gb_tensor(b, i, "ffn_gate_inp.weight", b->n_embd, vs_gb_whole(n), false);
    return vs_gb_node(b, logits, n);
}

/* What those experts make of x that `route` chooses. */
static uint32_t routed(struct vs_builder *b, const struct vs_experts *e, struct vs_node route, uint32_t x)
{
    struct vs_node n = vs_gb_base(VS_OP_EXPERTS, x);
    n.p.experts = route.p.experts = vs_graph_experts(b->g, e);
    n.in[1] = vs_gb_node(b, route, 2 * e->n_used);
    return vs_gb_node(b, n, e->n_in);
}

/* GroveMoE's: so many experts that follow each other have one more in common, which all that were chosen of them pass by their
 * weights. Routed as they are, from `logits`. */
static uint32_t adjugates(struct vs_builder *b, uint32_t x, uint32_t logits, struct vs_experts e, uint32_t il)
{
    char key[128];
    int i = (int)il;
    uint32_t all = e.n;
    e.each = vs_gb_get_u32(b, "experts_per_group", -1, 1, b->n_experts);
    e.scale *= (float)vs_gb_get_float(b, "expert_group_scale", 0, 0, 1e6);
    e.width = vs_gb_get_u32(b, "expert_chunk_feed_forward_length", b->head_dim, 1, MAX_WIDTH);
    if (b->status == VS_OK && !vs_gb_has_key(b, "expert_group_scale"))
        vs_gb_fail(b, VS_E_MALFORMED, "is missing", vs_gb_key_of(b, "expert_group_scale", key));
    if (b->status == VS_OK && all % e.each)
        vs_gb_fail(b, VS_E_MALFORMED, "does not divide expert_count", vs_gb_key_of(b, "experts_per_group", key));
    if (b->status != VS_OK)
        return VS_NONE;
    e.n = all / e.each;
    e.gate = vs_gb_expert_matrices(b, i, "ffn_gate", "chexps", e.n, e.n_in, vs_gb_whole(e.width));
    e.up = vs_gb_expert_matrices(b, i, "ffn_up", "chexps", e.n, e.n_in, vs_gb_whole(e.width));
    e.down = vs_gb_expert_matrices(b, i, "ffn_down", "chexps", e.n, e.width, vs_gb_whole(e.n_in));
    e.gate_bias = e.up_bias = e.down_bias = e.gate_scale = e.up_scale = e.down_scale = VS_NONE;
    return routed(b, &e, vs_gb_base(VS_OP_ROUTE, logits), x);
}

/* What all experts of a layer make of x; the router reads `from`. */
static uint32_t experts(struct vs_builder *b, uint32_t x, uint32_t from, uint32_t il)
{
    const struct vs_choice *a = &b->arch->experts;
    int i = (int)il;
    uint32_t n_in = b->expert_row;
    struct vs_experts e = { .n = b->n_experts, .each = 1, .n_in = n_in, .activation = b->activation, .choice_bias = VS_NONE,
                            .gate = VS_NONE, .gate_bias = VS_NONE, .gate_scale = VS_NONE };
    read_choice(b, &e, il);
    e.width = expert_width(b, il);
    e.weigh_input = a->weigh_input;
    e.limit = b->arch->limited ? limit_of(b, "swiglu_clamp_exp", il) : 0;
    struct vs_node route = vs_gb_base(VS_OP_ROUTE, a->own_norms ? normed_router(b, from, i, e.n)
                                                         : vs_gb_linear(b, from, i, "ffn_gate_inp", b->n_embd, e.n));
    struct vs_node cap = vs_gb_base(VS_OP_SOFTCAP, route.in[0]);
    cap.p.softcap = (float)vs_gb_get_float(b, "router_logit_softcapping", a->capped, 0, 1e6);
    if (cap.p.softcap > 0)
        route.in[0] = vs_gb_node(b, cap, e.n);
    if (a->choice_bias)
        e.choice_bias = vs_gb_vector(b, i, vs_gb_is_there(b, i, "exp_probs_b") ? "exp_probs_b" : "exp_probs_b.bias",
                                     vs_gb_whole(e.n), true);
    bool fused = vs_gb_is_there(b, i, "ffn_gate_up_exps.weight");
    const char *gate = fused ? "ffn_gate_up" : "ffn_gate", *up = fused ? "ffn_gate_up" : "ffn_up";
    if (!b->arch->no_gate)
        e.gate = vs_gb_expert_matrices(b, i, gate, "exps", e.n, n_in,
                                       fused ? (struct vs_part){ 0, e.width, 2 * e.width } : vs_gb_whole(e.width));
    e.up = vs_gb_expert_matrices(b, i, up, "exps", e.n, n_in,
                                 fused ? (struct vs_part){ e.width, e.width, 2 * e.width } : vs_gb_whole(e.width));
    e.down = vs_gb_expert_matrices(b, i, "ffn_down", "exps", e.n, e.width, vs_gb_whole(n_in));
    if (!b->arch->no_gate) {
        e.gate_bias = vs_gb_expert_vector(b, i, "ffn_gate_exps.bias", e.width);
        e.gate_scale = vs_gb_expert_vector(b, i, fused ? "ffn_gate_up_exps.scale" : "ffn_gate_exps.scale", 0);
    }
    e.up_bias = vs_gb_expert_vector(b, i, "ffn_up_exps.bias", e.width);
    e.up_scale = vs_gb_expert_vector(b, i, fused ? "ffn_gate_up_exps.scale" : "ffn_up_exps.scale", 0);
    e.down_bias = vs_gb_expert_vector(b, i, "ffn_down_exps.bias", n_in);
    e.down_scale = vs_gb_expert_vector(b, i, "ffn_down_exps.scale", 0);
    uint32_t o = routed(b, &e, route, n_in == b->n_embd ? x : vs_gb_linear(b, x, i, "ffn_latent_down", b->n_embd, n_in));
    o = a->adjugate ? vs_gb_sum(b, o, adjugates(b, x, route.in[0], e, il)) : o;
    return n_in == b->n_embd ? o : vs_gb_linear(b, o, i, "ffn_latent_up", n_in, b->n_embd);
}

/* What the expert that all rows pass makes of x; VS_NONE where there is none. */
static uint32_t shared_expert(struct vs_builder *b, uint32_t x, uint32_t il)
{
    const struct vs_choice *a = &b->arch->experts;
    int i = (int)il;
    uint32_t n_ff = vs_gb_layer_u32(b, "expert_shared_feed_forward_length", il, 0, 0, MAX_WIDTH);
    uint32_t n = vs_gb_layer_u32(b, "expert_shared_count", il, 0, 0, MAX_SHARED);
    bool is_there = vs_gb_is_there(b, i, "ffn_up_shexp.weight"), is_needed = a->shared == SHARED && n;
    if (!a->shared || (!is_there && !is_needed))
        return VS_NONE;
    n_ff = n_ff ? n_ff : expert_width(b, il) * (n ? n : 1);
    uint32_t y = gated(b, x, i, "_shexp", n_ff);
    if (!a->shared_gate)
        return y;
    return vs_gb_gated_by(b, y, vs_gb_linear(b, x, i, "ffn_gate_inp_shexp", b->n_embd, 1), 1, VS_ACT_SIGMOID, b->n_embd);
}

static uint32_t ffn_post_norm(struct vs_builder *b, uint32_t x, int i)
{
    char suffix[48];
    const char *other = b->arch->ffn_post_norm;
    snprintf(suffix, sizeof suffix, "%s.weight", other ? other : "");
    return vs_gb_post_norm(b, x, i, other && vs_gb_is_there(b, i, suffix) ? other : "post_ffw_norm");
}

uint32_t vs_gb_add_feed_forward(struct vs_builder *b, uint32_t h, uint32_t x, uint32_t input, uint32_t il)
{
    const struct vs_choice *a = &b->arch->experts;
    int i = (int)il;
    bool post_norm = b->arch->post_norm && !b->parallel;
    if (!has_experts(b, il)) {
        uint32_t o = vs_gb_feed_forward(b, x, i);
        return vs_gb_add(b, h, post_norm ? ffn_post_norm(b, o, i) : o);
    }
    if (a->own_norms) {
        uint32_t dense = vs_gb_norm(b, vs_gb_feed_forward(b, x, i), i, "post_ffw_norm_1", b->n_embd);
        uint32_t chosen = experts(b, vs_gb_norm(b, h, i, "pre_ffw_norm_2", b->n_embd), h, il);
        chosen = vs_gb_norm(b, chosen, i, "post_ffw_norm_2", b->n_embd);
        return vs_gb_add(b, h, ffn_post_norm(b, vs_gb_sum(b, dense, chosen), i));
    }
    if (a->norm) {
        h = vs_gb_add(b, h, gated(b, x, i, "", b->n_embd));
        x = vs_gb_norm(b, input, i, a->norm, b->n_embd);
    }
    uint32_t chosen = experts(b, x, a->read_input ? input : x, il), shared = shared_expert(b, x, il);
    if (a->beside && vs_gb_is_there(b, i, "ffn_up.weight")) {
        chosen = vs_gb_sum(b, chosen, vs_gb_feed_forward(b, x, i));
        chosen = vs_gb_scaled(b, chosen, 0.70710678f, b->n_embd);
    }
    if (!post_norm && !(a->halved && shared != VS_NONE)) {
        h = vs_gb_add(b, h, chosen);
        return shared == VS_NONE ? h : vs_gb_add(b, h, shared);
    }
    chosen = shared == VS_NONE ? chosen : vs_gb_sum(b, chosen, shared);
    chosen = a->halved ? vs_gb_scaled(b, chosen, 0.5f, b->n_embd) : chosen;
    return vs_gb_add(b, h, post_norm ? ffn_post_norm(b, chosen, i) : chosen);
}
