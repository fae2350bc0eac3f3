/* import/families.c - the table of architectures. Source: the published configurations of the models, and which keys their
 * converters write. A new Llama-like model is a row here, and keys in keys.c. */
#include "import/internal.h"
#include "base/buf.h"

#include <string.h>

/* The choice that many newer models make. */
#define SIGMOID_BY_KEYS { .gating = VS_GATING_SIGMOID, .any_gating = true, .normalise = NORM_BY_KEY, .scaled = true,             \
                          .grouped = true, .choice_bias = true, .shared = true, .by_tensor = true }

#define SOFTMAX_WITH_SHARED { .gating = VS_GATING_SOFTMAX, .normalise = NORM_YES, .shared = true, .shared_gate = true,             \
                              .split_width = true }
#define SOFTMAX_BY_KEYS { .gating = VS_GATING_SOFTMAX, .any_gating = true, .normalise = NORM_BY_KEY, .scaled = true,             \
                          .grouped = true, .choice_bias = true, .shared = true, .by_tensor = true }

static const struct vs_family architectures[] = {
    { .name = "llama", .experts = { .gating = VS_GATING_SOFTMAX, .normalise = NORM_YES } },
    { .name = "mistral3", .temperature = true, .experts = { .gating = VS_GATING_SOFTMAX, .normalise = NORM_YES } },
    { .name = "arcee", .activation = VS_ACT_RELU2, .no_gate = true },
    { .name = "internlm2" },
    { .name = "xverse" },
    { .name = "baichuan", .alibi_layers = 40, .alibi = 8 },
    { .name = "chatglm", .fused_up = true },
    { .name = "ernie4_5" },
    { .name = "ernie4_5-moe",
      .experts = { .gating = VS_GATING_SOFTMAX, .normalise = NORM_YES, .choice_bias = true, .shared = true } },
    { .name = "granite", .scales = true },
    { .name = "granitemoe", .scales = true, .experts = { .gating = VS_GATING_SOFTMAX, .normalise = NORM_YES, .shared = true } },
    { .name = "granite_swa", .scales = true, .windows = true, .rope_list = true, .sinks = SINKS_IF_THERE, .shared_fused_up = true,
      .experts = { .gating = VS_GATING_SOFTMAX, .normalise = NORM_YES, .shared = true } },
    { .name = "llama4", .qk_norm = QK_BARE_LAST, .windows = true, .chunks = true, .window_period = 4, .default_window = 8192,
      .local_rope_only = true, .full_temperature = 0.1,
      .experts = { .gating = VS_GATING_SIGMOID, .weigh_input = true, .shared = true, .by_tensor = true } },
    { .name = "arctic", .experts = { .gating = VS_GATING_SOFTMAX, .normalise = NORM_YES, .norm = "ffn_norm_exps" } },
    { .name = "minicpm", .scales = true, .embedding_scale = 12, .depth_scale = 1.4, .logit_width = 256 },
    { .name = "smollm3", .rope_period = 4 },
    { .name = "bailingmoe",
      .experts = { .gating = VS_GATING_SOFTMAX, .any_gating = true, .normalise = NORM_BY_KEY, .scaled = true, .shared = true } },
    { .name = "deepseek", .experts = { .gating = VS_GATING_SOFTMAX, .scaled = true, .shared = true } },
    { .name = "deepseek2", .latent = true, .temperature = true, .experts = SOFTMAX_BY_KEYS },
    { .name = "mistral4", .latent = true, .temperature = true, .experts = SOFTMAX_BY_KEYS },
    { .name = "deepseek32", .latent = true, .indexer = true, .experts = SIGMOID_BY_KEYS },
    { .name = "glm-dsa", .latent = true, .indexer = true, .experts = SIGMOID_BY_KEYS },
    { .name = "maincoder", .qk_norm = QK_HEAD_LAST },
    { .name = "glm4", .post_norm = true, .fused_up = true, .sections = SECTIONS },
    { .name = "olmo", .layer_norm = true, .bare_norm = true, .clamped = true },
    { .name = "gpt2", .layer_norm = true, .positions = POSITIONS, .no_rope = true, .activation = VS_ACT_GELU_TANH,
      .no_gate = true },
    { .name = "starcoder", .layer_norm = true, .positions = POSITIONS, .no_rope = true, .activation = VS_ACT_GELU_TANH,
      .no_gate = true },
    { .name = "gptj", .layer_norm = true, .activation = VS_ACT_GELU_TANH, .no_gate = true, .parallel = PARALLEL },
    { .name = "bloom", .layer_norm = true, .embedding_norm = true, .no_rope = true, .alibi = 8, .activation = VS_ACT_GELU_TANH,
      .no_gate = true },
    { .name = "mpt", .layer_norm = true, .positions = POSITIONS_IF_THERE, .no_rope = true, .alibi_by_key = true, .clamped = true,
      .qk_norm = QK_ROW, .qk_norm_optional = true, .activation = VS_ACT_GELU_TANH, .no_gate = true },
    { .name = "refact", .no_rope = true, .alibi = 8 },
    { .name = "jais", .layer_norm = true, .no_rope = true, .alibi = 8, .alibi_by_key = true, .scale_by_size = true },
    { .name = "deci", .heads_by_layer = true, .loose = true },
    { .name = "openelm", .neox = true, .qk_norm = QK_HEAD, .heads_by_layer = true, .loose = true },
    { .name = "nanbeige", .loops = true },
    { .name = "minicpm3", .neox = true, .latent = true, .scales = true, .embedding_scale = 12, .depth_scale = 1.4,
      .logit_width = 256 },
    { .name = "dbrx", .neox = true, .layer_norm = true, .clamped = true, .ffn_norm = "attn_output_norm",
      .experts = { .gating = VS_GATING_SOFTMAX, .normalise = NORM_YES } },
    { .name = "mimo2", .neox = true, .heads_by_layer = true, .windows = true, .sinks = SINKS_IF_THERE, .value_scale = true,
      .experts = { .gating = VS_GATING_SIGMOID, .normalise = NORM_YES, .choice_bias = true, .by_tensor = true } },
    { .name = "laguna", .neox = true, .heads_by_layer = true, .qk_norm = QK_HEAD, .attention_gate = GATE_SOFTPLUS, .windows = true,
      .window_period = 4, .dense_first = true, .local_rope_plain = true, .local_rope_bare = true, .local_rot = true,
      .experts = SIGMOID_BY_KEYS },
    { .name = "spark2_5", .neox = true, .heads_by_layer = true, .activation = VS_ACT_GELU_TANH, .attention_gate = GATE_SIGMOID,
      .windows = true },
    { .name = "qwen3vlmoe", .neox = true, .qk_norm = QK_HEAD, .sections = SECTIONS_INTERLEAVED,
      .experts = { .gating = VS_GATING_SOFTMAX, .normalise = NORM_YES } },
    { .name = "bitnet", .neox = true, .sub_norms = true },
    { .name = "bitnet-25", .neox = true, .sub_norms = true, .activation = VS_ACT_RELU2 },
    { .name = "bitnet-b1.58", .neox = true, .sub_norms = true, .activation = VS_ACT_RELU2 },
    { .name = "command-r", .layer_norm = true, .parallel = PARALLEL, .scales = true, .multiply_logits = true },
    { .name = "cohere2", .layer_norm = true, .parallel = PARALLEL, .scales = true, .multiply_logits = true, .windows = true,
      .window_period = 4, .default_window = 4096, .local_rope_only = true },
    { .name = "cohere2moe", .layer_norm = true, .norm_by_key = true, .parallel = PARALLEL, .scales = true, .multiply_logits = true,
      .windows = true, .window_period = 4, .dense_first = true, .local_rope_only = true, .lead_rope = true,
      .experts = { .gating = VS_GATING_SIGMOID, .any_gating = true, .normalise = NORM_BY_KEY, .scaled = true, .shared = true,
                   .halved = true, .by_tensor = true } },
    { .name = "grok", .neox = true, .activation = VS_ACT_GELU_TANH, .post_norm = true, .attention_post_norm = "attn_output_norm",
      .ffn_post_norm = "layer_output_norm", .scales = true, .embedding_scale = 78.38367176906169, .multiply_logits = true,
      .logit_scale = 0.5773502691896257, .output_scale = 0.08838834764831845, .capped = true, .attention_softcap = 30,
      .yarn_fast = 8, .ends_cold = true,
      .experts = { .gating = VS_GATING_SOFTMAX, .normalise = NORM_YES, .scaled = true, .capped = 30, .beside = true } },
    { .name = "phimoe", .neox = true, .norm_bias = true, .experts = { .gating = VS_GATING_SOFTMAX, .normalise = NORM_YES } },
    { .name = "smallthinker", .neox = true, .activation = VS_ACT_RELU, .windows = true, .window_period = 4, .dense_first = true,
      .local_rope_only = true,
      .experts = { .gating = VS_GATING_SOFTMAX, .any_gating = true, .normalise = NORM_YES, .read_input = true } },
    { .name = "mellum", .neox = true, .qk_norm = QK_HEAD, .windows = true, .window_period = 4, .local_rope_plain = true,
      .local_rope_bare = true, .experts = { .gating = VS_GATING_SOFTMAX, .normalise = NORM_YES } },
    { .name = "qwen2", .neox = true },
    { .name = "qwen2vl", .neox = true, .sections = SECTIONS },
    { .name = "qwen3vl", .neox = true, .qk_norm = QK_HEAD, .sections = SECTIONS_INTERLEAVED },
    { .name = "paddleocr", .neox = true, .sections = SECTIONS },
    { .name = "orion", .neox = true, .layer_norm = true },
    { .name = "stablelm", .neox = true, .layer_norm = true, .parallel = PARALLEL_WITHOUT_NORM },
    { .name = "phi2", .neox = true, .layer_norm = true, .activation = VS_ACT_GELU_TANH, .no_gate = true, .parallel = PARALLEL },
    { .name = "falcon", .neox = true, .layer_norm = true, .activation = VS_ACT_GELU_TANH, .no_gate = true, .parallel = PARALLEL },
    { .name = "gptneox", .neox = true, .layer_norm = true, .activation = VS_ACT_GELU_TANH, .no_gate = true,
      .parallel = PARALLEL_BY_KEY },
    { .name = "starcoder2", .neox = true, .layer_norm = true, .activation = VS_ACT_GELU_TANH, .no_gate = true },
    { .name = "nemotron", .neox = true, .layer_norm = true, .activation = VS_ACT_RELU2, .no_gate = true },
    { .name = "jais2", .neox = true, .layer_norm = true, .activation = VS_ACT_RELU2, .no_gate = true },
    { .name = "qwen", .neox = true, .half_ff = true },
    { .name = "exaone", .neox = true },
    { .name = "plamo", .neox = true, .parallel = PARALLEL },
    { .name = "codeshell", .neox = true, .layer_norm = true, .activation = VS_ACT_GELU_TANH, .no_gate = true },
    { .name = "apertus", .neox = true, .qk_norm = QK_HEAD, .activation = VS_ACT_XIELU, .no_gate = true },
    { .name = "pangu-embedded", .neox = true },
    { .name = "qwen2moe", .neox = true, .experts = { .gating = VS_GATING_SOFTMAX, .shared = true, .shared_gate = true } },
    { .name = "qwen3", .neox = true, .qk_norm = QK_HEAD },
    { .name = "qwen3moe", .neox = true, .qk_norm = QK_HEAD, .experts = { .gating = VS_GATING_SOFTMAX, .normalise = NORM_YES } },
    { .name = "olmoe", .neox = true, .qk_norm = QK_ROW, .experts = { .gating = VS_GATING_SOFTMAX } },
    { .name = "dots1", .neox = true, .qk_norm = QK_HEAD,
      .experts = { .gating = VS_GATING_SOFTMAX, .any_gating = true, .normalise = NORM_BY_KEY, .scaled = true, .choice_bias = true,
                   .shared = true } },
    { .name = "minimax-m2", .neox = true, .qk_norm = QK_ROW,
      .experts = { .gating = VS_GATING_SIGMOID, .any_gating = true, .normalise = NORM_YES, .choice_bias = true } },
    { .name = "glm4moe", .neox = true, .qk_norm = QK_HEAD, .qk_norm_optional = true, .ffn_norm = "post_attention_norm",
      .experts = SIGMOID_BY_KEYS },
    { .name = "bailingmoe2", .neox = true, .qk_norm = QK_HEAD, .experts = SIGMOID_BY_KEYS },
    { .name = "hy_v3", .neox = true, .qk_norm = QK_HEAD, .experts = SIGMOID_BY_KEYS },
    { .name = "exaone-moe", .neox = true, .qk_norm = QK_HEAD, .windows = true, .window_period = 4, .default_window = 128,
      .local_rope_only = true, .experts = SIGMOID_BY_KEYS },
    { .name = "afmoe", .neox = true, .qk_norm = QK_HEAD, .post_norm = true, .scale_embedding = true, .attention_gate = GATE_SIGMOID,
      .windows = true, .window_period = 4, .local_rope_only = true, .experts = SIGMOID_BY_KEYS },
    { .name = "gpt-oss", .neox = true, .activation = VS_ACT_SWIGLU_OAI, .ffn_norm = "post_attention_norm", .sinks = SINKS,
      .windows = true, .window_period = 2, .default_window = 128, .experts = { .gating = VS_GATING_CHOSEN } },
    { .name = "seed_oss", .neox = true, .ffn_norm = "post_attention_norm" },
    { .name = "hunyuan-dense", .neox = true, .qk_norm = QK_HEAD_LAST, .rope_alpha = true },
    { .name = "hunyuan_vl", .neox = true, .qk_norm = QK_HEAD_LAST, .rope_alpha = true, .sections = SECTIONS },
    { .name = "lfm2", .neox = true, .mixer = SHORT_CONVOLUTION, .qk_norm = QK_HEAD, .windows = true,
      .final_norm = "token_embd_norm" },
    { .name = "lfm2moe", .neox = true, .mixer = SHORT_CONVOLUTION, .qk_norm = QK_HEAD, .windows = true,
      .final_norm = "token_embd_norm",
      .experts = { .gating = VS_GATING_SIGMOID, .any_gating = true, .normalise = NORM_YES, .choice_bias = true } },
    { .name = "hunyuan-moe", .neox = true, .qk_norm = QK_HEAD_LAST,
      .experts = { .gating = VS_GATING_SOFTMAX, .normalise = NORM_YES, .shared = true } },
    { .name = "qwen35", .neox = true, .qk_norm = QK_HEAD, .ffn_norm = "post_attention_norm", .mixer = DELTA_NET,
      .attention_period = 4, .output_gate = true, .sections = SECTIONS_INTERLEAVED },
    { .name = "qwen35moe", .neox = true, .qk_norm = QK_HEAD, .ffn_norm = "post_attention_norm", .mixer = DELTA_NET,
      .attention_period = 4, .output_gate = true, .sections = SECTIONS_INTERLEAVED, .experts = SOFTMAX_WITH_SHARED },
    { .name = "qwen3next", .neox = true, .qk_norm = QK_HEAD, .ffn_norm = "post_attention_norm", .mixer = DELTA_NET,
      .attention_period = 4, .output_gate = true, .experts = SOFTMAX_WITH_SHARED },
    { .name = "kimi-linear", .mixer = KDA, .latent = true, .no_rope = true,
      .experts = { .gating = VS_GATING_SIGMOID, .any_gating = true, .normalise = NORM_YES, .scaled = true, .choice_bias = true,
                   .shared = true } },
    { .name = "mamba", .mixer = MAMBA, .one_part = true, .no_rope = true },
    { .name = "mamba2", .mixer = MAMBA2, .one_part = true, .no_rope = true },
    { .name = "falcon-h1", .neox = true, .mixer = MAMBA2, .beside = true },
    { .name = "granitehybrid", .mixer = MAMBA2, .scales = true, .rope_if_finetuned = true,
      .experts = { .gating = VS_GATING_SOFTMAX, .normalise = NORM_YES, .shared = true } },
    { .name = "nemotron_h", .mixer = MAMBA2, .one_part = true, .no_rope = true, .other_eps = true,
      .activation = VS_ACT_RELU2, .no_gate = true },
    { .name = "nemotron_h_moe", .mixer = MAMBA2, .one_part = true, .no_rope = true, .other_eps = true,
      .activation = VS_ACT_RELU2, .no_gate = true,
      .experts = { .gating = VS_GATING_SIGMOID, .normalise = NORM_BY_KEY, .scaled = true, .choice_bias = true, .shared = true,
                   .by_tensor = true, .split_width = true, .narrow = true } },
    { .name = "phi3", .neox = true, .fused_up = true, .windows = true },
    { .name = "olmo2", .neox = true, .qk_norm = QK_ROW, .no_pre_norm = true, .post_norm = true, .windows = true,
      .window_period = 4, .local_rope_plain = true },
    { .name = "exaone4", .neox = true, .qk_norm = QK_HEAD, .no_pre_norm = true, .post_norm = true, .windows = true,
      .window_period = 4, .windows_at = 64, .default_window = 4096, .local_rope_only = true },
    { .name = "gemma", .neox = true, .activation = VS_ACT_GELU_TANH, .scale_embedding = true },
    { .name = "gemma2", .neox = true, .activation = VS_ACT_GELU_TANH, .post_norm = true, .scale_embedding = true, .capped = true,
      .softcap = 30, .attention_softcap = 50, .windows = true, .window_period = 2, .default_window = 4096, .wide_layers = 46 },
    { .name = "gemma3", .neox = true, .activation = VS_ACT_GELU_TANH, .qk_norm = QK_HEAD, .post_norm = true,
      .scale_embedding = true, .capped = true, .windows = true, .window_period = 6, .local_rope_base = 10000,
      .local_rope_plain = true, .wide_layers = 62 },
    { .name = "gemma4", .neox = true, .activation = VS_ACT_GELU_TANH, .qk_norm = QK_HEAD, .post_norm = true,
      .scale_embedding = true, .capped = true, .softcap = 30, .windows = true, .local_rope_plain = true, .local_rot = true,
      .heads_by_layer = true, .local_heads = true,
      .unit_scale = true, .value_norm = true, .shared_kv = true, .layer_inputs = true, .output_scale_tensor = true,
      .experts = { .gating = VS_GATING_SOFTMAX, .normalise = NORM_YES, .by_tensor = true, .own_norms = true } },

    { .name = "bert", .encoder = true, .layer_norm = true, .sum_norm = true, .positions = POSITIONS, .no_rope = true,
      .activation = VS_ACT_GELU_ERF, .no_gate = true },
    { .name = "nomic-bert", .encoder = true, .neox = true, .layer_norm = true, .sum_norm = true },
    { .name = "nomic-bert-moe", .encoder = true, .neox = true, .layer_norm = true, .sum_norm = true,
      .activation = VS_ACT_GELU_ERF, .no_gate = true, .experts = { .gating = VS_GATING_SOFTMAX, .period = 2 } },
    { .name = "jina-bert-v2", .encoder = true, .layer_norm = true, .sum_norm = true, .no_rope = true, .alibi = 8,
      .alibi_by_key = true, .qk_norm = QK_ROW, .qk_norm_optional = true, .activation = VS_ACT_GELU_ERF, .fused_up = true },
    { .name = "jina-bert-v3", .encoder = true, .neox = true, .layer_norm = true, .sum_norm = true,
      .activation = VS_ACT_GELU_ERF, .no_gate = true },
    { .name = "modern-bert", .encoder = true, .neox = true, .layer_norm = true, .activation = VS_ACT_GELU_ERF, .fused_up = true,
      .windows = true, .window_period = 3, .dense_first = true, .local_rope_base = 10000 },
    { .name = "eurobert", .encoder = true, .neox = true },
    { .name = "neo-bert", .encoder = true, .fused_up = true, .final_norm = "enc.output_norm" },
    { .name = "llama-embed", .encoder = true },
    { .name = "gemma-embedding", .encoder = true, .neox = true, .activation = VS_ACT_GELU_TANH, .qk_norm = QK_HEAD,
      .post_norm = true, .scale_embedding = true, .windows = true, .window_period = 6, .local_rope_base = 10000,
      .local_rope_plain = true, .dense_ends = true },
};
enum { N_ARCHITECTURES = sizeof architectures / sizeof *architectures };

const struct vs_family *vs_gb_find_architecture(const struct vs_gguf *g, struct vs_error *err)
{
    struct vs_str name;
    int r = vs_entries_str(vs_gguf_entries(g), "general.architecture", &name, err);
    if (r == VS_E_NOT_FOUND) {
        vs_error_set(err, VS_E_MALFORMED, "model: general.architecture is missing");
        return NULL;
    }
    if (r != VS_OK)
        return NULL;
    for (size_t i = 0; i < N_ARCHITECTURES; i++)
        if (strlen(architectures[i].name) == name.n && memcmp(architectures[i].name, name.data, name.n) == 0)
            return &architectures[i];
    struct vs_buf list = { 0 };
    for (size_t i = 0; i < N_ARCHITECTURES; i++)
        vs_buf_printf(&list, "%s%s", i ? ", " : "", architectures[i].name);
    vs_error_set(err, VS_E_UNSUPPORTED, "model: architecture '%s' is not supported; supported are: %s",
                 vs_str_shown(name).text, list.data ? list.data : "");
    vs_buf_clear(&list);
    return NULL;
}

const char *vs_llm_architecture(size_t i)
{
    return i < N_ARCHITECTURES ? architectures[i].name : NULL;
}
