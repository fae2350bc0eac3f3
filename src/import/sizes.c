/* import/sizes.c - hyper-parameters of the whole model: layers and their kinds, heads, windows, experts, scales. */
#include "import/internal.h"
#include "base/num.h"

#include <stdio.h>
#include <string.h>

/* The number that the layers have in common, or the largest where each may have its own. Those without attention may have a 0.
 * preset: of each layer, when the file does not say; NULL: it must. */
static uint32_t attention_u32(struct vs_builder *b, const char *suffix, const uint32_t *preset, uint32_t max, uint32_t *ret)
{
    char key[128];
    uint32_t all = 0;
    bool own = b->arch->heads_by_layer, may_lack = b->arch->loose || (b->arch->mixer != ATTENTION_ALONE && !b->arch->beside);
    for (uint32_t i = 0; i < b->n_layers && b->status == VS_OK; i++) {
        uint32_t v = ret[i] = vs_gb_layer_u32(b, suffix, i, preset ? (int64_t)preset[i] : -1, !may_lack, max);
        if (v && all && v != all && !own)
            vs_gb_fail(b, VS_E_UNSUPPORTED, "differs from layer to layer, which is not supported", vs_gb_key_of(b, suffix, key));
        all = v > all ? v : all;
    }
    return all;
}

/* A model without windows may still name one, which says nothing as long as the context fits into it. */
static void refuse_window(struct vs_builder *b)
{
    char key[128], what[160];
    uint32_t window = vs_gb_get_u32(b, "attention.sliding_window", 0, 0, UINT32_MAX);
    if (b->status != VS_OK || !window || window >= b->g->context)
        return;
    snprintf(what, sizeof what, "is %u, less than context_length (%u): windows are not supported for this architecture", window,
             b->g->context);
    vs_gb_fail(b, VS_E_UNSUPPORTED, what, vs_gb_key_of(b, "attention.sliding_window", key));
}

/* Which layers see only the window: a list with a yes or no for each layer, or a period n (the last of n sees all; 0: none
 * does). */
static void read_windows(struct vs_builder *b)
{
    char key[128];
    const struct vs_entry *kv = vs_entries_find(vs_gguf_entries(b->file), vs_gb_key_of(b, "attention.sliding_window_pattern", key));
    if (!b->arch->windows) {
        refuse_window(b);
        return;
    }
    bool list = kv && kv->type == VS_ENTRY_ARRAY;
    b->window = vs_gb_get_u32(b, "attention.sliding_window", b->arch->default_window, 0, UINT32_C(1) << 30);
    if (!kv && b->arch->windows_at && b->arch->windows_at != b->n_layers)
        b->window = 0;
    uint32_t period = list ? 0 : vs_gb_get_u32(b, "attention.sliding_window_pattern", b->arch->window_period, 0, UINT32_C(1) << 30);
    for (uint32_t i = 0; i < b->n_layers && b->status == VS_OK; i++) {
        uint32_t dense = b->arch->dense_first ? 0 : period - 1;
        bool local = list ? vs_gb_in_range(b, key, vs_gb_list_u64(b, key, kv, i), 0, 1) : !period || i % period != dense;
        b->windowed[i] = b->window && local;
        b->any_local |= b->windowed[i];
    }
}

/* Which layers have keys and values of their own, and what else one layer has from elsewhere. */
static void read_shared(struct vs_builder *b)
{
    char key[128];
    uint32_t preset = b->arch->own_kv && b->n_layers > b->arch->own_kv ? b->n_layers - b->arch->own_kv : 0;
    uint32_t shared = b->arch->shared_kv ? vs_gb_get_u32(b, "attention.shared_kv_layers", preset, 0, b->n_layers - 1) : 0;
    b->n_own = b->n_layers - shared;
    for (uint32_t i = b->n_own; i < b->n_layers && b->status == VS_OK; i++) {
        uint32_t from = vs_gb_shared_from(b, i);
        if (b->n_own < 2 || b->windowed[from] != b->windowed[i] || vs_gb_kv_heads_of(b, from) != vs_gb_kv_heads_of(b, i))
            vs_gb_fail(b, VS_E_MALFORMED, "names layers that have none of their kind before them",
                       vs_gb_key_of(b, "attention.shared_kv_layers", key));
    }
    b->layer_width = b->arch->layer_inputs ? vs_gb_get_u32(b, "embedding_length_per_layer_input",
                                                              b->arch->streams ? 256 : 0, b->arch->streams, MAX_WIDTH) : 0;
    if (b->status == VS_OK && (uint64_t)b->layer_width * b->n_layers > MAX_WIDTH)
        vs_gb_fail(b, VS_E_MALFORMED, "is too large for so many layers", vs_gb_key_of(b, "embedding_length_per_layer_input", key));
}

/* Which layers have a rope. */
static void read_rope_list(struct vs_builder *b)
{
    char key[128];
    const struct vs_entry *kv = vs_entries_find(vs_gguf_entries(b->file), vs_gb_key_of(b, "attention.rope_pattern", key));
    if (!b->arch->rope_list || !kv || b->status != VS_OK)
        return;
    if (kv->type != VS_ENTRY_ARRAY)
        vs_gb_fail(b, VS_E_MALFORMED, "is not a list", key);
    for (uint32_t i = 0; i < b->n_layers && b->status == VS_OK; i++)
        vs_gb_in_range(b, key, vs_gb_list_u64(b, key, kv, i), 0, 1);
    b->rope_list = kv;
}

/* What window layers could have of their own must be as in the others. */
static void refuse_other_sizes(struct vs_builder *b)
{
    const struct { const char *suffix; uint32_t n; bool may_differ; } sizes[] = {
        { "attention.key_length_swa", b->head_dim, false }, { "attention.value_length_swa", b->head_dim, false },
        { "rope.dimension_count_swa", b->n_rot, b->arch->local_rot },
    };
    char key[128];
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes && !b->arch->local_heads; i++)
        if (!sizes[i].may_differ && vs_gb_get_u32(b, sizes[i].suffix, sizes[i].n, 0, UINT32_MAX) != sizes[i].n
            && b->status == VS_OK)
            vs_gb_fail(b, VS_E_UNSUPPORTED, "window layers of another size are not supported",
                       vs_gb_key_of(b, sizes[i].suffix, key));
}

/* How the file wants vectors made. */
static void read_pooling(struct vs_builder *b)
{
    char key[128];
    if (vs_entries_find(vs_gguf_entries(b->file), vs_gb_key_of(b, "pooling_type", key)))
        b->g->pooling = (enum vs_pooling)(VS_POOL_NONE + vs_gb_get_u32(b, "pooling_type", -1, 0, VS_POOL_RANK - VS_POOL_NONE));
}

/* modern-bert may have something in place of its GELU. */
static void read_activation(struct vs_builder *b)
{
    static const struct { const char *name; enum vs_activation act; } others[] = {
        { "gelu", VS_ACT_GELU_ERF }, { "geglu", VS_ACT_GELU_ERF }, { "silu", VS_ACT_SILU }, { "swish", VS_ACT_SILU },
        { "swiglu", VS_ACT_SILU },
    };
    char key[128];
    struct vs_str name;
    b->activation = b->arch->activation;
    if (b->status != VS_OK || strcmp(b->arch->name, "modern-bert") != 0)
        return;
    int r = vs_entries_str(vs_gguf_entries(b->file), vs_gb_key_of(b, "hidden_activation", key), &name, b->err);
    if (r == VS_E_NOT_FOUND)
        return;
    b->status = r;
    for (size_t i = 0; i < sizeof others / sizeof *others && r == VS_OK; i++)
        if (vs_gb_is_named(name, others[i].name)) {
            b->activation = others[i].act;
            return;
        }
    vs_gb_fail(b, VS_E_UNSUPPORTED, "is neither gelu nor silu; another activation is not supported", key);
}

/* What a token sees: what came before it, or all. */
static void read_sight(struct vs_builder *b)
{
    char key[128];
    bool causal = !b->arch->encoder && !b->arch->decoder;
    if (b->status != VS_OK)
        return;
    int r = vs_entries_bool(vs_gguf_entries(b->file), vs_gb_key_of(b, "attention.causal", key), &causal, b->err);
    if (r != VS_OK && r != VS_E_NOT_FOUND) {
        b->status = r;
        return;
    }
    if (causal && (b->arch->encoder || b->arch->decoder))
        vs_gb_fail(b, VS_E_UNSUPPORTED, "is true: an encoder whose tokens do not see those after them is not supported", key);
    else if (!causal && !b->arch->encoder && (b->any_local || b->arch->mixer != ATTENTION_ALONE))
        vs_gb_fail(b, VS_E_UNSUPPORTED, "is false: windows and convolutions to both sides are not supported for this architecture",
                   key);
    b->both_ways = !causal;
    b->g->whole = !causal && !b->arch->decoder;
    b->in_source = b->arch->decoder;
    if (!b->arch->alibi_layers || b->n_layers == b->arch->alibi_layers)
        b->alibi = b->arch->alibi;
    if (b->arch->alibi_by_key)
        b->alibi = (float)vs_gb_get_float(b, "attention.max_alibi_bias", (double)b->alibi, 0, 1e3);
}

static void read_parallel(struct vs_builder *b)
{
    char key[128];
    uint64_t v = 1;
    const struct vs_entry *kv = vs_entries_find(vs_gguf_entries(b->file), vs_gb_key_of(b, "use_parallel_residual", key));
    b->parallel = b->arch->parallel == PARALLEL;
    if (b->arch->parallel == PARALLEL_WITHOUT_NORM)
        b->parallel = !vs_gb_is_there(b, 0, "ffn_norm.weight");
    if (b->arch->parallel == PARALLEL_BY_KEY && kv && !vs_entry_uint(kv, 0, &v))
        vs_gb_fail(b, VS_E_MALFORMED, "is not true or false", key);
    else if (b->arch->parallel == PARALLEL_BY_KEY)
        b->parallel = v != 0;
}

/* Which layers have experts. Without experts nothing may be said about them but how wide they would be, which the converter of
 * Granite 4 writes for all. */
static void read_experts(struct vs_builder *b)
{
    static const char *const others[] = { "expert_used_count", "expert_shared_count", "expert_group_count",
                                          "expert_group_used_count", "expert_gating_func", "expert_weights_norm",
                                          "leading_dense_block_count" };
    char key[128];
    b->expert_step = 1;
    b->gating = b->arch->experts.gating;
    if (!b->arch->experts.gating)
        return;                          /* keys.c refused them */
    b->n_experts = vs_gb_get_u32(b, "expert_count", 0, 0, VS_MAX_EXPERTS);
    for (size_t i = 0; i < sizeof others / sizeof *others && !b->n_experts && b->status == VS_OK; i++) {
        uint64_t v;
        const struct vs_entry *kv = vs_entries_find(vs_gguf_entries(b->file), vs_gb_key_of(b, others[i], key));
        for (uint64_t k = 0; kv && k < kv->count; k++)
            if (!vs_entry_uint(kv, k, &v) || v)
                vs_gb_fail(b, VS_E_MALFORMED, "has no meaning without expert_count", key);
    }
    double scale = b->n_experts ? 1 : vs_gb_get_float(b, "expert_weights_scale", 0, 0, 1e6);
    if (scale != 0 && scale != 1)
        vs_gb_fail(b, VS_E_MALFORMED, "has no meaning without expert_count", vs_gb_key_of(b, "expert_weights_scale", key));
    if (!b->n_experts)
        return;
    b->expert_row = b->arch->experts.narrow ? vs_gb_get_u32(b, "moe_latent_size", 0, 0, MAX_WIDTH) : 0;
    b->expert_row = b->expert_row ? b->expert_row : b->n_embd;
    b->expert_period = b->arch->experts.period ? vs_gb_get_u32(b, "moe_every_n_layers", b->arch->experts.period, 1, MAX_LAYERS) : 0;
    b->n_dense = vs_gb_get_u32(b, "leading_dense_block_count", 0, 0, b->n_layers);
    b->expert_step = vs_gb_get_u32(b, "interleave_moe_layer_step", 1, 0, b->n_layers);
    b->expert_step = b->expert_step ? b->expert_step : 1;
    for (uint32_t i = 0; i < b->n_layers; i++) {                         /* also of layers that have no use for them */
        vs_gb_layer_u32(b, "expert_shared_count", i, 0, 0, MAX_SHARED);
        vs_gb_layer_u32(b, "expert_shared_feed_forward_length", i, 0, 0, MAX_WIDTH);
    }
}

/* Constants that scale or bound what flows through the model. */
static void read_scales(struct vs_builder *b)
{
    const struct vs_family *a = b->arch;
    double depth = a->depth_scale > 0 ? a->depth_scale / (double)vs_sqrtf((float)b->n_layers) : 1;
    b->embedding_scale = a->scale_embedding ? vs_sqrtf((float)b->n_embd) : 1;
    b->residual_scale = b->logit_scale = b->value_scale = 1;
    if (a->value_scale)
        b->value_scale = (float)vs_gb_get_float(b, "attention.value_scale", 1, 1e-6, 1e6);
    b->n_loops = a->loops ? vs_gb_get_u32(b, "num_loops", 1, 1, MAX_LAYERS / b->n_layers) : 1;
    if (a->scales) {
        double embedding = vs_gb_get_float(b, "embedding_scale", 0, 0, 1e6);
        double residual = vs_gb_get_float(b, "residual_scale", 0, 0, 1e6);
        double logits = vs_gb_get_float(b, "logit_scale", 0, 0, 1e6);
        if (logits == 0)
            logits = a->logit_width > 0 ? b->n_embd / a->logit_width : a->logit_scale > 0 ? a->logit_scale : 1;
        b->embedding_scale = (float)(embedding > 0 ? embedding : a->embedding_scale > 0 ? a->embedding_scale : 1);
        b->residual_scale = (float)(residual > 0 ? residual : depth);
        b->logit_scale = (float)(a->multiply_logits ? logits : 1 / logits);
    }
    for (uint32_t i = 0; i < b->n_layers && a->limited; i++) {           /* also of layers that have no use for them */
        vs_gb_layer_float(b, "swiglu_clamp_exp", i, 0, 0, 1e6);
        vs_gb_layer_float(b, "swiglu_clamp_shexp", i, 0, 0, 1e6);
    }
    if (a->capped) {
        b->attention_cap = (float)vs_gb_get_float(b, "attn_logit_softcapping", a->attention_softcap, 0, 1e6);
        b->logit_cap = (float)vs_gb_get_float(b, "final_logit_softcapping", a->softcap, 0, 1e6);
    }
    if (a->full_temperature > 0 && b->any_local) {
        b->temperature = (float)a->full_temperature;
        b->temperature_length = b->window;
    }
    if (a->temperature) {
        b->temperature = (float)vs_gb_get_float(b, "attention.temperature_scale", 0, 0, 1e3);
        b->temperature_length = vs_gb_get_u32(b, "rope.scaling.original_context_length", b->g->context, 1, UINT32_C(1) << 30);
        if (a->latent)
            b->temperature_length = vs_gb_get_u32(b, "attention.temperature_length", b->temperature_length, 1, UINT32_C(1) << 30);
    }
}

/* Sizes of RWKV. Where the file says how wide its small matrices are, they must be so. */
static void read_wkv(struct vs_builder *b)
{
    static const struct { const char *key, *tensor; enum vs_mixer of; uint32_t times; } ranks[] = {
        { "time_mix_extra_dim", "time_mix_w1.weight", RWKV6, 5 }, { "time_decay_extra_dim", "time_mix_decay_w1.weight", RWKV6, 1 },
        { "attention.decay_lora_rank", "time_mix_w1.weight", RWKV7, 1 },
        { "attention.iclr_lora_rank", "time_mix_a1.weight", RWKV7, 1 },
        { "attention.gate_lora_rank", "time_mix_g1.weight", RWKV7, 1 },
        { "attention.value_residual_mix_lora_rank", "time_mix_v1.weight", RWKV7, 1 },
    };
    char key[128], what[96];
    b->n_state = vs_gb_get_u32(b, "wkv.head_size", -1, 1, VS_MAX_STATE);
    b->inner = b->n_embd;
    if (b->status == VS_OK && b->n_embd % b->n_state)
        vs_gb_fail(b, VS_E_MALFORMED, "does not divide embedding_length", vs_gb_key_of(b, "wkv.head_size", key));
    b->ssm_heads = b->status == VS_OK ? b->n_embd / b->n_state : 0;
    uint64_t rows_of_first = b->arch->mixer == RWKV6 ? vs_gb_rows_of_matrix(b, 0, "time_mix_first.weight") : 0;
    if (b->status == VS_OK && rows_of_first > 1 && rows_of_first != b->ssm_heads && b->n_embd % rows_of_first == 0)
        vs_gb_fail(b, VS_E_MALFORMED, "is not the length of the rows of time_mix_first.weight of layer 0",
                   vs_gb_key_of(b, "wkv.head_size", key));
    if (vs_gb_get_u32(b, "token_shift_count", 2, 0, UINT32_MAX) != 2 && b->status == VS_OK)
        vs_gb_fail(b, VS_E_UNSUPPORTED, "is not 2", vs_gb_key_of(b, "token_shift_count", key));
    for (size_t i = 0; i < sizeof ranks / sizeof *ranks && b->status == VS_OK; i++) {
        uint64_t rows = vs_gb_rows_of_matrix(b, b->n_layers > 1, ranks[i].tensor);
        uint32_t rank = ranks[i].of == b->arch->mixer ? vs_gb_get_u32(b, ranks[i].key, 0, 0, MAX_WIDTH) : 0;
        snprintf(what, sizeof what, "is %u, and %s of layer %d has %llu rows", rank, ranks[i].tensor, b->n_layers > 1,
                 (unsigned long long)rows);
        if (rank && rows && (uint64_t)rank * ranks[i].times != rows)
            vs_gb_fail(b, VS_E_MALFORMED, what, vs_gb_key_of(b, ranks[i].key, key));
    }
}

/* Sizes of recurrent layers. */
static void read_state(struct vs_builder *b)
{
    if (b->arch->mixer == SHORT_CONVOLUTION)
        b->n_taps = vs_gb_get_u32(b, "shortconv.l_cache", -1, 1, VS_MAX_TAPS);
    if (b->arch->mixer < MAMBA)
        return;
    bool heads = b->arch->mixer != MAMBA;
    if (b->arch->mixer >= RWKV6) {
        read_wkv(b);
        return;
    }
    b->n_taps = vs_gb_get_u32(b, "ssm.conv_kernel", -1, 1, VS_MAX_TAPS);
    if (b->arch->mixer == KDA) {
        b->n_state = vs_gb_get_u32(b, "kda.head_dim", -1, 1, VS_MAX_STATE);
        b->ssm_heads = b->n_heads;
        b->inner = b->n_heads * b->n_state;
        return;
    }
    b->inner = vs_gb_get_u32(b, "ssm.inner_size", -1, 1, MAX_WIDTH);
    b->n_state = vs_gb_get_u32(b, "ssm.state_size", -1, 1, VS_MAX_STATE);
    b->ssm_rank = b->ssm_heads = vs_gb_get_u32(b, "ssm.time_step_rank", -1, 1, heads ? MAX_HEADS : MAX_WIDTH);
    if (b->arch->mixer == PLAMO2)        /* the width of the steps, which the file does not say */
        b->ssm_rank = b->n_embd / 16 > 64 ? b->n_embd / 16 : 64;
    bool grouped = heads && b->arch->mixer != PLAMO2;
    b->ssm_groups = grouped ? vs_gb_get_u32(b, "ssm.group_count", -1, 1, MAX_GROUPS) : 1;
    if (!grouped && heads)
        vs_gb_get_u32(b, "ssm.group_count", 0, 0, 0);
    b->norm_steps = vs_gb_get_bool(b, "ssm.dt_b_c_rms", false);
    if (b->status != VS_OK || !heads)
        return;
    if (b->inner % b->ssm_heads || b->inner / b->ssm_heads > VS_MAX_HEAD_DIM)
        vs_gb_fail(b, VS_E_MALFORMED, "ssm.inner_size is not ssm.time_step_rank heads of 1 to 512", b->arch->name);
    else if (b->ssm_heads % b->ssm_groups || b->inner % b->ssm_groups)
        vs_gb_fail(b, VS_E_MALFORMED, "ssm.time_step_rank is not a multiple of ssm.group_count", b->arch->name);
}

/* Which layers have no keys, and which are a feed-forward part alone. */
static void read_kinds(struct vs_builder *b)
{
    char key[128];
    uint32_t period = b->arch->attention_period;
    const struct vs_entry *listed = vs_entries_find(vs_gguf_entries(b->file), vs_gb_key_of(b, "attention.recurrent_layers", key));
    if (listed && listed->type != VS_ENTRY_ARRAY)
        vs_gb_fail(b, VS_E_MALFORMED, "is not a list", key);
    period = period ? vs_gb_get_u32(b, "full_attention_interval", period, 1, MAX_LAYERS) : 0;
    bool none = b->arch->mixer != ATTENTION_ALONE && !b->arch->beside, own = b->arch->loose;
    bool may_lack = b->arch->one_part || b->n_experts || own;
    b->n_heads = attention_u32(b, "attention.head_count", NULL, MAX_HEADS, b->heads);
    b->n_kv_heads = attention_u32(b, "attention.head_count_kv", b->heads, MAX_HEADS, b->kv_heads);
    for (uint32_t i = 0; i < b->n_layers && b->status == VS_OK; i++) {
        b->feeds[i] = vs_gb_layer_u32(b, "feed_forward_length", i, may_lack && !own ? 0 : -1, !may_lack, MAX_WIDTH) > 0;
        b->recurrent[i] = !b->kv_heads[i] || (listed ? vs_gb_list_u64(b, key, listed, i) != 0 : period && (i + 1) % period != 0);
        b->recurrent[i] = none && b->recurrent[i] && !(b->arch->one_part && b->feeds[i]);
    }
    if (b->status == VS_OK && b->n_kv_heads && !b->n_heads)
        vs_gb_fail(b, VS_E_MALFORMED, "attention.head_count is 0 in every layer", b->arch->name);
    b->n_heads = b->n_kv_heads ? b->n_heads : 0;         /* no layer has attention */
    for (uint32_t i = 0; i < b->n_layers && b->status == VS_OK; i++) {
        uint32_t heads = vs_gb_heads_of(b, i), kv_heads = vs_gb_kv_heads_of(b, i);
        if (kv_heads && (!heads || heads % kv_heads != 0))
            vs_gb_fail(b, VS_E_MALFORMED, "attention.head_count is not a multiple of attention.head_count_kv", b->arch->name);
    }
}

/* The sizes of heads whose keys and values come from a latent row. Files that hold what moves queries to it say how large a head is
 * in keys of its own; the others have attn_kv_b. */
static void read_latent(struct vs_builder *b)
{
    char key[128];
    uint32_t max = VS_MAX_HEAD_DIM;
    bool own = vs_entries_find(vs_gguf_entries(b->file), vs_gb_key_of(b, "attention.key_length_mla", key)) != NULL;
    uint32_t first = 0;
    while (first + 1 < b->n_layers && b->recurrent[first])
        first++;
    b->latent.whole = !vs_gb_is_there(b, (int)first, "attn_k_b.weight");
    b->latent.rank = vs_gb_get_u32(b, "attention.kv_lora_rank", -1, 1, max);
    b->latent.q_rank = vs_gb_get_u32(b, "attention.q_lora_rank", 0, 0, MAX_WIDTH);
    b->n_rot = vs_gb_get_u32(b, "rope.dimension_count", -1, 2, max);
    uint32_t both = b->latent.rank + b->n_rot;
    uint32_t length = vs_gb_get_u32(b, own ? "attention.key_length_mla" : "attention.key_length", -1, 1, max);
    b->latent.value = vs_gb_get_u32(b, own ? "attention.value_length_mla" : "attention.value_length", -1, 1, max);
    if (b->status != VS_OK)
        return;
    if (b->n_rot % 2 || b->n_rot >= length)
        vs_gb_fail(b, VS_E_MALFORMED, "rope.dimension_count must be even and less than the size of a key", b->arch->name);
    else if (both > max)
        vs_gb_fail(b, VS_E_UNSUPPORTED, "kv_lora_rank + rope.dimension_count is above 576, which is not supported", b->arch->name);
    else if (b->n_kv_heads != b->n_heads && (b->latent.whole || b->n_kv_heads != 1))
        vs_gb_fail(b, VS_E_MALFORMED, "must be 1, or as attention.head_count where the layers have no attn_k_b.weight",
                   vs_gb_key_of(b, "attention.head_count_kv", key));
    else if (own && !b->latent.whole && vs_gb_get_u32(b, "attention.key_length", both, 1, max) != both)
        vs_gb_fail(b, VS_E_MALFORMED, "is not kv_lora_rank + rope.dimension_count", vs_gb_key_of(b, "attention.key_length", key));
    else if (own && !b->latent.whole && vs_gb_get_u32(b, "attention.value_length", b->latent.rank, 1, max) != b->latent.rank)
        vs_gb_fail(b, VS_E_MALFORMED, "is not kv_lora_rank", vs_gb_key_of(b, "attention.value_length", key));
    b->latent.plain = length - b->n_rot;
    b->n_kv_heads = b->latent.whole ? b->n_heads : 1;
    b->head_dim = b->latent.whole ? length : b->latent.rank + b->n_rot;
    b->value_dim = b->latent.whole ? b->latent.value : b->latent.rank;
    b->rope_first = b->head_dim - b->n_rot;
    b->local_rot = b->n_rot;
    b->no_rope = b->arch->no_rope;
    double scale = vs_gb_get_float(b, "attention.scale", 0, 0, 1e3);
    b->attention_scale = scale > 0 ? (float)scale : 1.0f / vs_sqrtf((float)length);
    if ((b->n_blocks == 47 || b->n_blocks == 48) && vs_gb_is_there(b, (int)b->n_layers - 1, "exp_probs_b.bias"))
        b->gating = VS_GATING_SIGMOID;           /* the first files of GLM-4.7-Flash don't say it */
}

/* Beyond so many positions the model would do what we do not: an indexer's choice of keys, for one. */
static void end_context(struct vs_builder *b, const char *suffix, int64_t preset)
{
    uint32_t most = vs_gb_get_u32(b, suffix, preset, preset != 0, UINT32_C(1) << 30);
    if (most && b->g->context > most)
        b->g->context = most;
}

static void read_heads(struct vs_builder *b)
{
    char key[128];
    if (b->arch->latent) {
        read_latent(b);
        return;
    }
    bool has_key_length = vs_entries_find(vs_gguf_entries(b->file), vs_gb_key_of(b, "attention.key_length", key)) != NULL;
    if (!has_key_length && b->n_embd % b->n_heads != 0) {
        vs_gb_fail(b, VS_E_MALFORMED, "embedding_length is not a multiple of attention.head_count", b->arch->name);
        return;
    }
    uint32_t head = b->n_embd / b->n_heads;
    b->head_dim = vs_gb_get_u32(b, "attention.key_length", head, 1, VS_MAX_HEAD_DIM);
    uint32_t value_dim = vs_gb_get_u32(b, "attention.value_length", b->head_dim, 1, VS_MAX_HEAD_DIM);
    b->n_rot = vs_gb_get_u32(b, "rope.dimension_count", b->head_dim, 2, VS_MAX_HEAD_DIM);
    if (b->status != VS_OK)
        return;
    if (b->head_dim > VS_MAX_HEAD_DIM || b->head_dim < 1)
        vs_gb_fail(b, VS_E_MALFORMED, "the head size is out of range (1 to 512)", b->arch->name);
    else if (value_dim != b->head_dim && b->arch->output_gate)
        vs_gb_fail(b, VS_E_UNSUPPORTED, "attention.key_length and value_length differ, which is not supported", b->arch->name);
    else if (b->n_rot > b->head_dim || b->n_rot % 2)
        vs_gb_fail(b, VS_E_MALFORMED, "rope.dimension_count must be even and at most the head size", b->arch->name);
    b->value_dim = value_dim;
    if (b->arch->half_full_rot && b->n_rot % 4)
        vs_gb_fail(b, VS_E_MALFORMED, "is not a multiple of 4", vs_gb_key_of(b, "rope.dimension_count", key));
    b->local_rot = b->arch->local_rot ? vs_gb_get_u32(b, "rope.dimension_count_swa", b->n_rot, 2, VS_MAX_HEAD_DIM)
                                         : b->n_rot;
    if (b->status == VS_OK && !b->arch->local_heads && b->local_rot > b->head_dim)
        vs_gb_fail(b, VS_E_MALFORMED, "is above the head size", vs_gb_key_of(b, "rope.dimension_count_swa", key));
    if (b->status == VS_OK && b->local_rot % 2)
        vs_gb_fail(b, VS_E_MALFORMED, "is odd", vs_gb_key_of(b, "rope.dimension_count_swa", key));
    if (b->arch->half_full_rot)
        b->n_rot /= 2;
    b->full_dim = b->local_dim = b->head_dim;
    if (b->arch->local_heads) {
        b->local_dim = vs_gb_get_u32(b, "attention.key_length_swa", b->head_dim, 2, VS_MAX_HEAD_DIM);
        b->local_rot = vs_gb_get_u32(b, "rope.dimension_count_swa", b->local_dim, 2, b->local_dim);
        uint32_t local_value = vs_gb_get_u32(b, "attention.value_length_swa", b->local_dim, 1, VS_MAX_HEAD_DIM);
        if (b->status == VS_OK && (value_dim != b->head_dim || local_value != b->local_dim))
            vs_gb_fail(b, VS_E_UNSUPPORTED, "keys and values of different sizes are not supported", b->arch->name);
    }
    double scale = b->arch->output_scale > 0 ? vs_gb_get_float(b, "attention.output_scale", b->arch->output_scale, 1e-6, 1e3)
                                             : vs_gb_get_float(b, "attention.scale", 0, 0, 1e3);
    uint32_t by = b->arch->wide_layers && b->n_layers == b->arch->wide_layers ? head : b->head_dim;
    b->attention_scale = scale > 0 ? (float)scale : b->arch->unit_scale ? 1
                       : 1.0f / (b->arch->scale_by_size ? (float)by : vs_sqrtf((float)by));
    b->no_rope = b->arch->no_rope || (b->arch->alibi_layers && b->n_layers == b->arch->alibi_layers)
                 || (b->arch->rope_if_finetuned && !vs_gb_get_bool(b, "rope.scaling.finetuned", true));
    b->clamp = b->arch->clamped ? (float)vs_gb_get_float(b, "attention.clamp_kqv", 0, 0, 1e6) : 0;
    refuse_other_sizes(b);
}

void vs_gb_read_hyper_parameters(struct vs_builder *b)
{
    char key[128];
    b->n_blocks = vs_gb_get_u32(b, "block_count", -1, 1, MAX_LAYERS);
    b->n_layers = b->n_blocks;
    if (b->n_blocks)
        b->n_layers -= vs_gb_get_u32(b, "nextn_predict_layers", 0, 0, b->n_blocks - 1);
    b->n_embd = vs_gb_get_u32(b, "embedding_length", -1, 1, MAX_WIDTH);
    read_experts(b);
    read_kinds(b);
    b->g->context = vs_gb_get_u32(b, "context_length", -1, 1, UINT32_C(1) << 30);
    if (b->arch->indexer)
        end_context(b, "attention.indexer.top_k", -1);
    if (b->arch->ends_cold)
        end_context(b, "attention.temperature_length", 0);
    if (b->status == VS_OK && b->n_heads)
        read_heads(b);
    const char *rms = "attention.layer_norm_rms_epsilon";
    b->layer_norm = b->arch->layer_norm && !(b->arch->norm_by_key && vs_gb_has_key(b, rms));
    const char *eps = b->layer_norm ? "attention.layer_norm_epsilon" : rms;
    b->eps = (float)vs_gb_get_float(b, eps, -1, 0, 1);
    if (b->arch->other_eps && b->eps < 0)
        b->eps = (float)vs_gb_get_float(b, "attention.layer_norm_epsilon", -1, 0, 1);
    if (b->status == VS_OK && b->eps < 0)
        vs_gb_fail(b, VS_E_MALFORMED, "is missing", vs_gb_key_of(b, eps, key));
    if (b->status != VS_OK)
        return;
    read_state(b);
    read_pooling(b);
    read_windows(b);
    read_sight(b);
    read_activation(b);
    read_parallel(b);
    read_rope_list(b);
    read_shared(b);
    read_scales(b);
}

void vs_gb_read_vocabulary(struct vs_builder *b)
{
    const struct vs_gguf_tensor *t = vs_gguf_tensor(b->file, "token_embd.weight");
    if (!t) {
        vs_gb_fail(b, VS_E_MALFORMED, "tensor is missing", "token_embd.weight");
        return;
    }
    if (t->ne[1] < 1 || t->ne[1] > (1u << 24)) {
        vs_gb_fail(b, VS_E_MALFORMED, "has no rows, or too many", "token_embd.weight");
        return;
    }
    b->n_vocab = (uint32_t)t->ne[1];
    const struct vs_entry *tokens = vs_entries_find(vs_gguf_entries(b->file), "tokenizer.ggml.tokens");
    if (tokens && tokens->type == VS_ENTRY_ARRAY && tokens->count > b->n_vocab)
        vs_gb_fail(b, VS_E_MALFORMED, "has more tokens than token_embd.weight has rows", "tokenizer.ggml.tokens");
}
