/* import/layer.c - a layer of each kind, from its parts. */
#include "import/internal.h"
#include "base/num.h"

/* What the first part of a layer makes of x, up to its output matrix, whose name is *ret_output. */
static uint32_t mix(struct vs_builder *b, uint32_t x, uint32_t il, const char **ret_output, uint32_t *ret_width)
{
    if (b->recurrent[il])
        return vs_gb_recur(b, x, (int)il, ret_output, ret_width);
    *ret_output = b->arch->attention_output ? b->arch->attention_output : "attn_output";
    return vs_gb_attend(b, x, il, ret_width);
}

/* A layer of one part. */
static uint32_t short_layer(struct vs_builder *b, uint32_t h, uint32_t il)
{
    int i = (int)il;
    uint32_t x = vs_gb_norm(b, h, i, "attn_norm", b->n_embd), width = b->n_embd;
    const char *output = NULL;
    bool feeds = !b->recurrent[il] && b->feeds[il];
    if (!feeds)
        x = mix(b, x, il, &output, &width);
    x = vs_gb_read_rows(b, x, il, width);
    h = vs_gb_read_rows(b, h, il, b->n_embd);          /* before the matrix, which then adds it */
    return feeds ? vs_gb_add_feed_forward(b, h, x, h, il) : vs_gb_add(b, h, vs_gb_linear(b, x, i, output, width, b->n_embd));
}

/* A layer of deci: attention, or its output matrix alone, or neither; a feed-forward part or none. */
static uint32_t loose_layer(struct vs_builder *b, uint32_t h, uint32_t il)
{
    int i = (int)il;
    uint32_t x = h, width = b->n_embd;
    if (b->heads[il])
        x = vs_gb_norm(b, h, i, "attn_norm", b->n_embd);
    if (b->kv_heads[il])
        x = vs_gb_attend(b, x, il, &width);
    x = vs_gb_read_rows(b, x, il, width);
    h = vs_gb_read_rows(b, h, il, b->n_embd);
    if (b->heads[il])
        h = vs_gb_add(b, h, vs_gb_linear(b, x, i, "attn_output", width, b->n_embd));
    return b->feeds[il] ? vs_gb_add(b, h, vs_gb_feed_forward(b, vs_gb_norm(b, h, i, "ffn_norm", b->n_embd), i)) : h;
}

uint32_t vs_gb_from_layer_input(struct vs_builder *b, uint32_t x, uint32_t il)
{
    int i = (int)il;
    uint32_t n = b->layer_width, mine = vs_gb_pick(b, b->layer_inputs, 1, il * n, n);
    mine = vs_gb_read_rows(b, mine, il, n);
    x = vs_gb_times_act(b, vs_gb_linear(b, x, i, "inp_gate", b->n_embd, n), mine, n, VS_ACT_GELU_TANH);
    x = vs_gb_linear(b, x, i, "proj", n, b->n_embd);
    return vs_gb_norm(b, x, i, "post_norm", b->n_embd);
}

uint32_t vs_gb_layer_inputs(struct vs_builder *b, uint32_t h)
{
    uint32_t all = b->layer_width * b->n_layers;
    struct vs_node embed = vs_gb_base(VS_OP_EMBED, VS_NONE), each = vs_gb_base(VS_OP_GROUP_NORM, VS_NONE);
    struct vs_node both = vs_gb_base(VS_OP_ADD, VS_NONE);
    embed.tensor[0] = vs_gb_tensor(b, -1, "per_layer_token_embd.weight", all, vs_gb_whole(b->n_vocab), false);
    embed.p.scale = vs_sqrtf((float)b->layer_width);
    both.in[1] = vs_gb_node(b, embed, all);
    uint32_t made = vs_gb_linear(b, h, -1, "per_layer_model_proj", b->n_embd, all);
    each.in[0] = vs_gb_scaled(b, made, 1.0f / vs_sqrtf((float)b->n_embd), all);
    each.tensor[0] = vs_gb_vector(b, -1, "per_layer_proj_norm.weight", vs_gb_whole(b->layer_width), false);
    each.p.n_heads = b->n_layers;
    each.p.eps = b->eps;
    both.in[0] = vs_gb_node(b, each, all);
    return vs_gb_scaled(b, vs_gb_node(b, both, all), 0.70710678f, all);
}

uint32_t vs_gb_layer(struct vs_builder *b, uint32_t h, uint32_t il)
{
    const struct vs_family *a = b->arch;
    int i = (int)il;
    const char *ffn_norm = a->ffn_norm ? a->ffn_norm : "ffn_norm";
    if (a->one_part)
        return short_layer(b, h, il);
    if (a->loose)
        return loose_layer(b, h, il);
    if (a->mixer >= RWKV6)
        return vs_gb_rwkv_layer(b, h, il);
    if (a->streams)
        return vs_gb_streams_layer(b, h, il);

    /* reads h itself */
    bool bare = a->no_pre_norm || a->sum_norm || (a->encoder && !i && !vs_gb_is_there(b, i, "attn_norm.weight"));
    uint32_t x = bare ? h : vs_gb_norm(b, h, i, "attn_norm", b->n_embd), beside = x;
    if (b->parallel && vs_gb_is_there(b, i, "attn_norm_2.weight"))         /* Falcon's: for attention alone */
        x = vs_gb_norm(b, h, i, "attn_norm_2", b->n_embd);
    if (b->parallel && vs_gb_is_there(b, i, "ffn_norm.weight"))
        beside = vs_gb_norm(b, h, i, "ffn_norm", b->n_embd);
    const char *output;
    uint32_t width, width_beside = 0, attended = mix(b, x, il, &output, &width);
    uint32_t scanned = a->beside ? vs_gb_mamba2(b, x, i, &width_beside) : VS_NONE;
    if (il + 1 == b->n_layers && b->loop + 1 == b->n_loops && !b->in_source) {
        /* of the last layer other rows leave their keys, or the state */
        attended = vs_gb_node(b, vs_gb_base(VS_OP_TAKE_OUT, attended), width);
        h = vs_gb_node(b, vs_gb_base(VS_OP_TAKE_OUT, h), b->n_embd);
        if (b->parallel)
            beside = vs_gb_node(b, vs_gb_base(VS_OP_TAKE_OUT, beside), b->n_embd);
        if (a->beside)
            scanned = vs_gb_node(b, vs_gb_base(VS_OP_TAKE_OUT, scanned), width_beside);
    }
    if (a->sub_norms)
        attended = vs_gb_norm(b, attended, i, "attn_sub_norm", width);
    uint32_t o = vs_gb_linear(b, attended, i, output, width, b->n_embd);
    o = vs_gb_scaled(b, o, b->value_scale, b->n_embd);
    if (a->post_norm)
        o = vs_gb_post_norm(b, o, i, a->attention_post_norm ? a->attention_post_norm : "post_attention_norm");
    uint32_t before = h;
    h = vs_gb_add(b, h, o);
    if (a->beside)
        h = vs_gb_add(b, h, vs_gb_linear(b, scanned, i, "ssm_out", width_beside, b->n_embd));
    if (a->sum_norm)
        h = vs_gb_norm(b, h, i, "attn_output_norm", b->n_embd);
    if (a->sum_norm && vs_gb_is_there(b, i, "attn_norm_2.weight"))     /* of one that reads programs: the layer's input once more */
        h = vs_gb_norm(b, vs_gb_add(b, before, h), i, "attn_norm_2", b->n_embd);
    x = b->parallel ? beside : a->no_pre_norm || a->sum_norm ? h : vs_gb_norm(b, h, i, ffn_norm, b->n_embd);
    h = vs_gb_add_feed_forward(b, h, x, before, il);
    if (b->layer_width)
        h = vs_gb_add(b, h, vs_gb_from_layer_input(b, h, il));
    if (a->output_scale_tensor && vs_gb_is_there(b, i, "layer_output_scale.weight")) {
        struct vs_node n = vs_gb_base(VS_OP_SCALE, h);
        n.tensor[0] = vs_gb_vector(b, i, "layer_output_scale.weight", vs_gb_whole(1), false);
        h = vs_gb_node(b, n, b->n_embd);
    }
    return a->sum_norm ? vs_gb_norm(b, h, i, "layer_output_norm", b->n_embd) : h;
}
