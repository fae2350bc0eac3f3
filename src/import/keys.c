/* import/keys.c - see keys.h. A new architecture begins by adding its keys here. */
#include "import/keys.h"

#include <stdio.h>
#include <string.h>

enum use {
    READ,                               /* the builder honours it, and refuses values that it can't */
    HARMLESS,                           /* changes no arithmetic; `what` says why */
    NEUTRAL,                            /* only with a value that is as good as none; `what` is what another one would ask for */
};

struct known {
    const char *name;                   /* after "ARCHITECTURE."; a dot at the end: all that begin so */
    const char *architectures;          /* names, a space between; NULL: all others; the first row that fits counts */
    enum use use;
    double neutral[2];
    const char *what;
};

#define EXPERTS "llama mistral3 ernie4_5-moe granitemoe qwen2moe qwen3moe olmoe dots1 minimax-m2 hunyuan-moe bailingmoe " \
                "bailingmoe2 glm4moe hy_v3 exaone-moe afmoe gpt-oss lfm2moe qwen3next qwen35moe granitehybrid " \
                "nemotron_h_moe deepseek llama4 arctic jamba step35 cohere2moe grok phimoe smallthinker mellum granite_swa " \
                "grovemoe dbrx mimo2 laguna qwen3vlmoe nomic-bert-moe gemma4 " LATENT_EXPERTS
#define LATENT_EXPERTS "deepseek2 mistral4 deepseek32 glm-dsa kimi-linear"
#define LATENT LATENT_EXPERTS " minicpm3 plm"
#define WINDOWS "gemma2 gemma3 olmo2 exaone4 phi3 cohere2 lfm2 lfm2moe exaone-moe afmoe gpt-oss modern-bert gemma-embedding " \
                "llama4 cohere2moe smallthinker mellum granite_swa mimo2 laguna spark2_5 gemma4 gemma3n step35 plamo3 " \
                "muse-glimmer llama starcoder2"
#define LAYER_NORM "olmo command-r cohere2 cohere2moe orion stablelm phi2 falcon gptneox starcoder2 nemotron jais2 codeshell " \
                   "gpt2 starcoder gptj dbrx bloom mpt jais " RWKV " " BERTS
#define BERTS "bert nomic-bert nomic-bert-moe jina-bert-v2 jina-bert-v3 modern-bert"

#define RWKV "rwkv6 rwkv7"
#define NO_ATTENTION "mamba mamba2 " RWKV
#define SCANS "mamba mamba2 jamba plamo2 falcon-h1 granitehybrid nemotron_h nemotron_h_moe " DELTAS
#define DELTAS "qwen35 qwen35moe qwen3next"

static const struct known known[] = {
    /* heads and rope, of models that have none: the keys are not read */
    { "attention.key_length", NO_ATTENTION, HARMLESS, { 0 }, "of attention, which these models don't have" },
    { "attention.value_length", NO_ATTENTION, HARMLESS, { 0 }, "the same" },
    { "attention.key_length_swa", NO_ATTENTION, HARMLESS, { 0 }, "the same" },
    { "attention.value_length_swa", NO_ATTENTION, HARMLESS, { 0 }, "the same" },
    { "attention.scale", NO_ATTENTION, HARMLESS, { 0 }, "the same" },
    { "rope.", NO_ATTENTION, HARMLESS, { 0 }, "the same" },

    /* sizes */
    { "block_count", NULL, READ, { 0 }, NULL },
    { "context_length", NULL, READ, { 0 }, NULL },
    { "embedding_length", NULL, READ, { 0 }, NULL },
    { "feed_forward_length", NULL, READ, { 0 }, NULL },
    { "vocab_size", NULL, HARMLESS, { 0 }, "the rows of token_embd.weight count" },
    { "attention.head_count", NULL, READ, { 0 }, NULL },
    { "attention.head_count_kv", NULL, READ, { 0 }, NULL },
    { "attention.key_length", NULL, READ, { 0 }, NULL },
    { "attention.value_length", NULL, READ, { 0 }, NULL },
    { "attention.key_length_swa", NULL, READ, { 0 }, NULL },
    { "attention.value_length_swa", NULL, READ, { 0 }, NULL },

    { "attention.key_length_mla", LATENT, READ, { 0 }, NULL },
    { "attention.value_length_mla", LATENT, READ, { 0 }, NULL },
    { "attention.kv_lora_rank", LATENT, READ, { 0 }, NULL },
    { "attention.q_lora_rank", LATENT, READ, { 0 }, NULL },
    { "attention.indexer.top_k", "deepseek32 glm-dsa", READ, { 0 }, NULL },
    { "attention.indexer.", "deepseek32 glm-dsa", HARMLESS, { 0 }, "of what chooses keys of contexts that are longer than ours" },

    { "shortconv.l_cache", "lfm2 lfm2moe", READ, { 0 }, NULL },
    { "kda.head_dim", "kimi-linear", READ, { 0 }, NULL },
    { "kda.gate_lower_bound", NULL, NEUTRAL, { 0, 0 }, "another decay" },
    { "ssm.conv_kernel", "kimi-linear " SCANS, READ, { 0 }, NULL },
    { "ssm.inner_size", SCANS, READ, { 0 }, NULL },
    { "ssm.state_size", SCANS, READ, { 0 }, NULL },
    { "ssm.time_step_rank", SCANS, READ, { 0 }, NULL },
    { "ssm.group_count", SCANS, READ, { 0 }, NULL },
    { "wkv.head_size", RWKV, READ, { 0 }, NULL },
    { "token_shift_count", RWKV, READ, { 0 }, NULL },
    { "time_mix_extra_dim", "rwkv6", READ, { 0 }, NULL },
    { "time_decay_extra_dim", "rwkv6", READ, { 0 }, NULL },
    { "rescale_every_n_layers", "rwkv6", READ, { 0 }, NULL },
    { "rescale_every_n_layers", NULL, NEUTRAL, { 0, 0 }, "layers whose result is halved" },
    { "attention.decay_lora_rank", "rwkv7", READ, { 0 }, NULL },
    { "attention.iclr_lora_rank", "rwkv7", READ, { 0 }, NULL },
    { "attention.gate_lora_rank", "rwkv7", READ, { 0 }, NULL },
    { "attention.value_residual_mix_lora_rank", "rwkv7", READ, { 0 }, NULL },
    { "full_attention_interval", DELTAS, READ, { 0 }, NULL },
    { "attention.recurrent_layers", DELTAS, READ, { 0 }, NULL },
    { "ssm.dt_b_c_rms", "mamba", READ, { 0 }, NULL },
    { "ssm.dt_b_c_rms", NULL, NEUTRAL, { 0, 0 }, "norms of the steps" },
    { "ssm.conv_kernel", NULL, HARMLESS, { 0 }, "a size of layers whose tensors are refused where there are any" },
    { "ssm.inner_size", NULL, HARMLESS, { 0 }, "the same" },
    { "ssm.state_size", NULL, HARMLESS, { 0 }, "the same" },
    { "ssm.time_step_rank", NULL, HARMLESS, { 0 }, "the same" },
    { "ssm.group_count", NULL, HARMLESS, { 0 }, "the same" },

    /* norms and scales */
    { "attention.layer_norm_epsilon", LAYER_NORM, READ, { 0 }, NULL },
    { "attention.layer_norm_rms_epsilon", "cohere2moe", READ, { 0 }, NULL },
    { "attention.layer_norm_rms_epsilon", LAYER_NORM, HARMLESS, { 0 }, "of a kind of norm that these models don't have" },
    { "attention.layer_norm_rms_epsilon", NULL, READ, { 0 }, NULL },
    { "attention.layer_norm_epsilon", "nemotron_h nemotron_h_moe", READ, { 0 }, NULL },
    { "attention.layer_norm_epsilon", NULL, HARMLESS, { 0 }, "of a kind of norm that these models don't have" },
    { "attention.scale", "grok", NEUTRAL, { 0, 0 }, "another scale of scores than attention.output_scale" },
    { "attention.scale", NULL, READ, { 0 }, NULL },
    { "final_logit_softcapping", "gemma2 gemma3 gemma3n gemma4 grok muse-glimmer", READ, { 0 }, NULL },
    { "final_logit_softcapping", NULL, NEUTRAL, { 0, 0 }, "a soft cap of the logits" },
    { "attn_logit_softcapping", "gemma2 grok", READ, { 0 }, NULL },
    { "attn_logit_softcapping", NULL, NEUTRAL, { 0, 0 }, "a soft cap of attention scores" },
    { "router_logit_softcapping", "grok", READ, { 0 }, NULL },
    { "router_logit_softcapping", NULL, NEUTRAL, { 0, 0 }, "a soft cap of the router" },
    { "embedding_scale", "granite granitemoe granitehybrid granite_swa minicpm minicpm3 grok", READ, { 0 }, NULL },
    { "residual_scale", "granite granitemoe granitehybrid granite_swa minicpm minicpm3", READ, { 0 }, NULL },
    { "logit_scale", "granite granitemoe granitehybrid granite_swa minicpm minicpm3 command-r cohere2 cohere2moe grok "
      "muse-glimmer", READ, { 0 }, NULL },
    { "embedding_scale", NULL, NEUTRAL, { 0, 1 }, "a scale of the embedding" },
    { "residual_scale", NULL, NEUTRAL, { 0, 1 }, "a scale of what layers add" },
    { "logit_scale", NULL, NEUTRAL, { 0, 1 }, "a scale of the logits" },
    { "attention.output_scale", "grok", READ, { 0 }, NULL },
    { "attention.output_scale", NULL, NEUTRAL, { 0, 1 }, "a scale of what attention gives" },
    { "attention.value_scale", "mimo2", READ, { 0 }, NULL },
    { "attention.value_scale", NULL, NEUTRAL, { 0, 1 }, "a scale of the values" },
    { "attention.temperature_scale", "mistral3 deepseek2 mistral4", READ, { 0 }, NULL },
    { "attention.temperature_scale", NULL, NEUTRAL, { 0, 0 }, "a scale of queries that grows with the position" },
    { "attention.temperature_length", "deepseek2 mistral4 grok", READ, { 0 }, NULL },
    { "attention.temperature_length", NULL, NEUTRAL, { 0, 0 }, "a scale of queries that grows with the position" },
    { "attention.clamp_kqv", "olmo mpt dbrx", READ, { 0 }, NULL },
    { "attention.clamp_kqv", NULL, NEUTRAL, { 0, 0 }, "a limit for queries, keys and values" },
    { "swiglu_clamp_exp", "step35", READ, { 0 }, NULL },
    { "swiglu_clamp_shexp", "step35", READ, { 0 }, NULL },
    { "swiglu_clamp_exp", NULL, NEUTRAL, { 0, 0 }, "a limit inside the feed-forward layers" },
    { "swiglu_clamp_shexp", NULL, NEUTRAL, { 0, 0 }, "a limit inside the feed-forward layers" },

    /* what attention sees */
    { "attention.causal", NULL, READ, { 0 }, NULL },
    { "attention.max_alibi_bias", "jina-bert-v2 mpt jais", READ, { 0 }, NULL },
    { "attention.max_alibi_bias", "bloom refact", NEUTRAL, { 8, 8 }, "another bias by distance than 8, which these models have" },
    { "attention.max_alibi_bias", NULL, NEUTRAL, { 0, 0 }, "a bias by distance" },
    { "attention.relative_buckets_count", "t5 t5encoder", NEUTRAL, { 32, 32 }, "another number of buckets of distances than 32" },
    { "attention.relative_buckets_count", NULL, NEUTRAL, { 0, 0 }, "a bias by distance" },
    { "decoder_start_token_id", "t5encoder", HARMLESS, { 0 }, "no decoder is there" },
    { "decoder_start_token_id", "t5", READ, { 0 }, NULL },
    { "decoder_block_count", "t5", READ, { 0 }, NULL },
    { "decoder_block_count", "t5encoder", HARMLESS, { 0 }, "no decoder is there" },
    { "attention.sliding_window", NULL, READ, { 0 }, NULL },
    { "attention.sliding_window_pattern", WINDOWS, READ, { 0 }, NULL },
    { "attention.sliding_window_pattern", NULL, HARMLESS, { 0 }, "without a window it has no meaning" },
    { "attention.rope_pattern", "granite_swa", READ, { 0 }, NULL },
    { "attention.shared_kv_layers", "gemma3n gemma4", READ, { 0 }, NULL },
    { "attention.shared_kv_layers", NULL, NEUTRAL, { 0, 0 }, "layers that share keys and values" },
    { "use_parallel_residual", "gptneox", READ, { 0 }, NULL },
    { "use_parallel_residual", "falcon phi2 command-r cohere2 cohere2moe stablelm plamo gptj", HARMLESS, { 0 },
      "they are so, or their tensors say it" },
    { "use_parallel_residual", "qwen2", HARMLESS, { 0 }, "the first converters wrote it for models that have none" },
    { "use_parallel_residual", NULL, NEUTRAL, { 0, 0 }, "attention and feed-forward side by side" },

    /* rope */
    { "rope.dimension_count", NULL, READ, { 0 }, NULL },
    { "rope.dimension_count_swa", NULL, READ, { 0 }, NULL },
    { "rope.dimension_sections", "qwen35 qwen35moe qwen2vl qwen3vl qwen3vlmoe paddleocr hunyuan_vl glm4 glm4moe",
      READ, { 0 }, NULL },
    { "rope.dimension_sections", NULL, NEUTRAL, { 0, 0 }, "positions of several components" },
    { "rope.freq_base", NULL, READ, { 0 }, NULL },
    { "rope.freq_base_swa", WINDOWS, READ, { 0 }, NULL },
    { "rope.freq_base_swa", NULL, HARMLESS, { 0 }, "of window layers, which these models don't have" },
    { "rope.scale_linear", NULL, READ, { 0 }, NULL },
    { "rope.scaling.type", NULL, READ, { 0 }, NULL },
    { "rope.scaling.factor", NULL, READ, { 0 }, NULL },
    { "rope.scaling.attn_factor", NULL, READ, { 0 }, NULL },
    { "rope.scaling.original_context_length", NULL, READ, { 0 }, NULL },
    { "rope.scaling.yarn_ext_factor", NULL, READ, { 0 }, NULL },
    { "rope.scaling.yarn_beta_fast", NULL, READ, { 0 }, NULL },
    { "rope.scaling.yarn_beta_slow", NULL, READ, { 0 }, NULL },
    { "rope.scaling.yarn_attn_factor", NULL, READ, { 0 }, NULL },
    { "rope.scaling.yarn_log_multiplier", "mistral3 deepseek2 mistral4 deepseek32", READ, { 0 }, NULL },
    { "rope.scaling.yarn_log_multiplier", NULL, NEUTRAL, { 0, 0 }, "a scale of rotated vectors other than yarn's" },
    { "rope.scaling.alpha", "hunyuan-dense hunyuan_vl", READ, { 0 }, NULL },
    { "rope.scaling.alpha", NULL, NEUTRAL, { 0, 1 }, "another base" },
    { "rope.scaling.finetuned", "granite granitemoe granitehybrid", READ, { 0 }, NULL },
    { "rope.scaling.finetuned", NULL, HARMLESS, { 0 }, "tells how the model was trained" },

    /* experts and other kinds of layers */
    { "moe_latent_size", "nemotron_h_moe", READ, { 0 }, NULL },
    { "experts_per_group", "grovemoe", READ, { 0 }, NULL },
    { "experts_per_group", NULL, NEUTRAL, { 0, 0 }, "experts that others share" },
    { "expert_group_scale", "grovemoe", READ, { 0 }, NULL },
    { "expert_group_scale", NULL, NEUTRAL, { 0, 0 }, "experts that others share" },
    { "expert_chunk_feed_forward_length", "grovemoe", READ, { 0 }, NULL },
    { "expert_chunk_feed_forward_length", NULL, HARMLESS, { 0 }, "the width of those" },
    { "expert_count", EXPERTS, READ, { 0 }, NULL },
    { "expert_used_count", EXPERTS, READ, { 0 }, NULL },
    { "expert_shared_count", EXPERTS, READ, { 0 }, NULL },
    { "expert_feed_forward_length", EXPERTS, READ, { 0 }, NULL },
    { "expert_shared_feed_forward_length", EXPERTS, READ, { 0 }, NULL },
    { "expert_group_count", EXPERTS, READ, { 0 }, NULL },
    { "expert_group_used_count", EXPERTS, READ, { 0 }, NULL },
    { "expert_gating_func", EXPERTS, READ, { 0 }, NULL },
    { "expert_weights_norm", EXPERTS, READ, { 0 }, NULL },
    { "expert_weights_scale", EXPERTS, READ, { 0 }, NULL },
    { "leading_dense_block_count", EXPERTS, READ, { 0 }, NULL },
    { "interleave_moe_layer_step", EXPERTS, READ, { 0 }, NULL },
    { "expert_count", NULL, NEUTRAL, { 0, 1 }, "experts, which models of this architecture do not have" },
    { "expert_used_count", NULL, NEUTRAL, { 0, 1 }, "experts" },
    { "expert_shared_count", NULL, NEUTRAL, { 0, 0 }, "experts" },
    { "expert_feed_forward_length", NULL, HARMLESS, { 0 }, "a width, of experts whose tensors are refused where there are any" },
    { "expert_shared_feed_forward_length", NULL, HARMLESS, { 0 }, "the same" },
    { "expert_group_count", NULL, NEUTRAL, { 0, 0 }, "experts" },
    { "expert_group_used_count", NULL, NEUTRAL, { 0, 0 }, "experts" },
    { "expert_gating_func", NULL, NEUTRAL, { 0, 0 }, "experts" },
    { "expert_weights_norm", NULL, NEUTRAL, { 0, 0 }, "experts" },
    { "expert_weights_scale", NULL, NEUTRAL, { 0, 1 }, "experts" },
    { "leading_dense_block_count", NULL, NEUTRAL, { 0, 0 }, "experts" },
    { "interleave_moe_layer_step", NULL, NEUTRAL, { 0, 0 }, "experts" },
    { "moe_every_n_layers", "nomic-bert-moe", READ, { 0 }, NULL },
    { "moe_every_n_layers", "step35", NEUTRAL, { 0, 1 }, "experts in every so manieth layer, where the tensors have more" },
    { "moe_every_n_layers", NULL, NEUTRAL, { 0, 0 }, "experts" },
    { "nextn_predict_layers", "llama", NEUTRAL, { 0, 0 }, "layers that guess further tokens" },
    { "nextn_predict_layers", EXPERTS " qwen35 exaone4 glm4", READ, { 0 }, NULL },
    { "nextn_predict_layers", NULL, NEUTRAL, { 0, 0 }, "layers that guess further tokens" },
    { "embedding_length_per_layer_input", "gemma3n gemma4", READ, { 0 }, NULL },
    { "embedding_length_per_layer_input", NULL, NEUTRAL, { 0, 0 }, "an embedding for each layer" },
    { "altup.num_inputs", "gemma3n", NEUTRAL, { 4, 4 }, "another number of streams than 4" },
    { "altup.active_idx", "gemma3n", NEUTRAL, { 0, 0 }, "another stream than the first" },
    { "activation_sparsity_scale", "gemma3n", READ, { 0 }, NULL },
    { "n_deepstack_layers", "qwen3vl qwen3vlmoe", HARMLESS, { 0 }, "about images; their tensors are refused where there are any" },
    { "n_deepstack_layers", NULL, NEUTRAL, { 0, 0 }, "images that enter several layers" },
    { "num_loops", "nanbeige", READ, { 0 }, NULL },
    { "skip_loop_final_norm", "nanbeige", READ, { 0 }, NULL },
    { "num_loops", NULL, NEUTRAL, { 0, 1 }, "layers that run several times" },

    /* about other uses of the file */
    { "pooling_type", NULL, READ, { 0 }, NULL },
    { "hidden_activation", "modern-bert", READ, { 0 }, NULL },
    { "classifier.pooling_type", "modern-bert", READ, { 0 }, NULL },
    { "decision_block_count", NULL, NEUTRAL, { 0, 0 }, "layers that decide" },
    { "classifier.output_labels", NULL, HARMLESS, { 0 }, "names of what the classifier gives; the first counts" },
    { "classifier.", NULL, HARMLESS, { 0 }, "about a classifier, whose tensors are refused where there are any" },
    { "tensor_data_layout", NULL, HARMLESS, { 0 }, "tells where the file comes from" },
    { "dense_2_feat_in", NULL, HARMLESS, { 0 }, "the tensor says it" },
    { "dense_2_feat_out", NULL, HARMLESS, { 0 }, "the tensor says it" },
    { "dense_3_feat_in", NULL, HARMLESS, { 0 }, "the tensor says it" },
    { "dense_3_feat_out", NULL, HARMLESS, { 0 }, "the tensor says it" },
    { "mm.tokens_per_image", "gemma3", HARMLESS, { 0 }, "about images; their tensors are refused where there are any" },
    { "vision.", "gemma3", HARMLESS, { 0 }, "about images; their tensors are refused where there are any" },
};

static bool is_named(const char *names, const char *name)
{
    size_t n = strlen(name);
    for (const char *at = names; (at = strstr(at, name)) != NULL; at += n)
        if ((at == names || at[-1] == ' ') && (at[n] == ' ' || !at[n]))
            return true;
    return false;
}

static const struct known *find(struct vs_str name, const char *architecture)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const struct known *k = &known[i];
        size_t n = strlen(k->name);
        bool same = n <= name.n && memcmp(k->name, name.data, n) == 0 && (n == name.n || k->name[n - 1] == '.');
        if (same && (!k->architectures || is_named(k->architectures, architecture)))
            return k;
    }
    return NULL;
}

/* Every number in it is one of the two that change nothing. */
static int check_neutral(const struct vs_entry *kv, const struct known *k, struct vs_error *err)
{
    for (uint64_t i = 0; i < kv->count; i++) {
        double v;
        if (!vs_entry_float(kv, i, &v))
            return vs_error_set(err, VS_E_MALFORMED, "model: %s is not a number", vs_str_shown(kv->key).text);
        if (v != k->neutral[0] && v != k->neutral[1])
            return vs_error_set(err, VS_E_UNSUPPORTED, "model: %s is %g, which asks for %s; this is not supported",
                                vs_str_shown(kv->key).text, v, k->what);
    }
    return VS_OK;
}

/* What the builder reads only beside other keys (yarn's without yarn) is looked at here alone. Minus infinity can be meant
 * (gemma3n). */
static int check_number(const struct vs_entry *kv, struct vs_error *err)
{
    struct vs_shown shown = vs_str_shown(kv->key);
    double v;
    for (uint64_t i = 0; i < kv->count && vs_entry_float(kv, i, &v); i++)
        if (v != v)
            return vs_error_set(err, VS_E_MALFORMED, kv->type == VS_ENTRY_ARRAY ? "model: %s: has an element that is nan"
                                : "model: key '%s' is nan, not a finite number in the range of f32", shown.text);
    return VS_OK;
}

int vs_keys_check_type(const struct vs_gguf *g, struct vs_error *err)
{
    struct vs_str type;
    int r = vs_entries_str(vs_gguf_entries(g), "general.type", &type, err);
    if (r != VS_OK || (type.n == 5 && memcmp(type.data, "model", 5) == 0))
        return r == VS_E_NOT_FOUND ? VS_OK : r;
    return vs_error_set(err, VS_E_UNSUPPORTED, "model: general.type is '%s': this file is a part or an addition, not a model",
                        vs_str_shown(type).text);
}

int vs_keys_check(const struct vs_gguf *g, const char *architecture, struct vs_error *err)
{
    size_t n = strlen(architecture);
    uint32_t n_parts;
    int r = VS_OK;
    if (vs_entries_u32(vs_gguf_entries(g), "split.count", &n_parts, NULL) == VS_OK && n_parts > 1
        && n_parts != vs_gguf_n_parts(g))
        r = vs_error_set(err, VS_E_MALFORMED, "model: split.count: this file is one of %u parts; the others are found when their "
                         "names end in -00001-of-%05u.gguf and so on, and the first is named", n_parts, n_parts);
    for (size_t i = 0; i < vs_gguf_entries(g)->n && r == VS_OK; i++) {
        const struct vs_entry *kv = &vs_gguf_entries(g)->entry[i];
        if (kv->key.n <= n || memcmp(kv->key.data, architecture, n) != 0 || kv->key.data[n] != '.')
            continue;
        const struct known *k = find((struct vs_str){ kv->key.data + n + 1, kv->key.n - n - 1 }, architecture);
        if (!k)
            r = vs_error_set(err, VS_E_UNSUPPORTED, "model: %s: this key is not known, so what it changes can't be honoured",
                             vs_str_shown(kv->key).text);
        else if (k->use == NEUTRAL)
            r = check_neutral(kv, k, err);
        else if (k->use == READ)
            r = check_number(kv, err);
    }
    return r;
}
