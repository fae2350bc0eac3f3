/* import/llm.c - see llm.h. Facts per architecture: docs of the models; key names are GGUF's. */
#include "import/llm.h"
#include "base/word.h"
#include "import/adapter.h"
#include "import/keys.h"

#include "base/buf.h"
#include "base/num.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What differs from the plain Llama layer:
 *   h += Wo attn(rope(Wq n1(h)), rope(Wk n1(h)), Wv n1(h));  h += Wdown(act(Wgate n2(h)) * (Wup n2(h))) */
enum qk_norm {
    QK_NONE,
    QK_HEAD,                            /* an RMS norm on each head of q and k before rope */
    QK_HEAD_LAST,                       /* the same after rope */
    QK_BARE_LAST,                       /* without a weight, after rope, in layers that have one; not with 128 experts */
    QK_ROW,                             /* one norm over all heads of q, and one of k, before rope */
};

/* What mixes positions in the layers that have no heads of keys. */
enum mixer { ATTENTION_ALONE, SHORT_CONVOLUTION, MAMBA, MAMBA2, DELTA_NET, KDA };

/* Experts: a model has them where expert_count says so. */
struct choice {
    enum vs_gating gating;              /* where the file does not say; 0: these models have no experts */
    bool any_gating;                    /* expert_gating_func may name another */
    enum { NORM_NO, NORM_YES, NORM_BY_KEY } normalise;       /* key: expert_weights_norm */
    bool scaled, grouped;               /* expert_weights_scale; expert_group_count and expert_group_used_count count */
    bool choice_bias;                   /* exp_probs_b, where it is there */
    bool shared, shared_gate;           /* one expert that all rows pass, where it is there; times sigmoid(its gate) */
    uint32_t period;                    /* moe_every_n_layers, when the file does not say: layers with i mod n = 1; 0: no key */
    bool by_tensor;                     /* layers without a router are dense, whatever the keys say */
    bool split_width;                   /* without a key of its own an expert's width is feed_forward_length / those used */
    bool weigh_input;                   /* what an expert reads is multiplied by its weight, not what it gives */
    bool halved;                        /* with a shared expert half of the sum counts */
    bool read_input;                    /* the router reads the layer's input itself */
    double capped;                      /* router_logit_softcapping, when the file does not say; 0: none */
    bool beside;                        /* ffn_up and so on, where they are there, stand beside: their sum counts sqrt(1/2) times */
    bool own_norms;                     /* Gemma's: dense part and experts stand side by side behind norms of their own */
    const char *norm;                   /* experts read the layer's input behind this norm; before them comes a dense part as wide
                                         * as the model */
    bool narrow;                        /* moe_latent_size counts: experts work on a narrower row, ffn_latent_down's */
};

struct architecture {
    const char *name;
    enum mixer mixer;
    bool beside;                        /* attention and the mixer stand side by side in each layer */
    bool one_part;                      /* a layer has one part behind attn_norm: a mixer, attention or a feed-forward part */
    uint32_t attention_period;          /* so manieth layers have attention, when the file does not say; 0: head_count_kv tells */
    bool output_gate;                   /* attn_q has for each head q, then a gate of what it attends to */
    bool latent;                        /* keys and values come from a latent row: docs/NUMERICS.md, section 12 */
    bool indexer;                       /* beside attention stands what chooses the keys of longer contexts than ours */
    bool other_eps;                     /* layer_norm_epsilon counts where the file has no other */
    bool no_rope;
    bool rope_if_finetuned;             /* none where rope.scaling.finetuned says no */
    bool neox;                          /* rope pairs (i, i + n/2) */
    enum vs_activation activation;
    bool no_gate;                       /* down(act(up x)) in place of down(act(gate x) * up x) */
    bool layer_norm;                    /* norms take the mean away, and may have a bias */
    bool bare_norm;                     /* norms have no weight */
    bool norm_by_key;                   /* those of a file with layer_norm_rms_epsilon leave the mean */
    bool norm_bias;                     /* norms that leave the mean may have a bias */
    /* both parts of a layer read h and are added together: one norm for both, where the file has no norm of the second part's;
     * PARALLEL_BY_KEY: where use_parallel_residual says so; PARALLEL_WITHOUT_NORM: where there is no such norm */
    enum { SERIAL, PARALLEL, PARALLEL_BY_KEY, PARALLEL_WITHOUT_NORM } parallel;
    enum qk_norm qk_norm;
    bool no_pre_norm;                   /* sub-layers read h itself: there are only the norms of post_norm */
    bool post_norm;                     /* a norm on each sub-layer's output before it is added */
    const char *attention_post_norm, *ffn_post_norm;     /* names of these; NULL: post_attention_norm, post_ffw_norm */
    const char *ffn_norm;               /* the norm before the feed-forward part; NULL: ffn_norm */
    const char *final_norm;             /* its name where there is no output_norm; NULL: it has none other */
    bool shared_fused_up;               /* the same of the shared expert alone */
    bool fused_up;                      /* ffn_up holds the rows of the gate, then those of up */
    bool half_ff;                       /* feed_forward_length is the width of gate and up together */
    bool scale_embedding;               /* h *= sqrt(n_embd) */
    bool scales;                        /* embedding_scale, residual_scale, logit_scale count */
    double embedding_scale, depth_scale;    /* with `scales`, when the file has no key: of h; of residuals, / sqrt(n_layers) */
    double logit_width;                 /* the same: logits count by this / n_embd */
    double logit_scale;                 /* the same: this */
    double output_scale;                /* of scores: attention.output_scale, when the file does not say; 0: there is no such key */
    double yarn_fast;                   /* rope.scaling.yarn_beta_fast, when the file does not say; 0: 32 */
    bool ends_cold;                     /* beyond attention.temperature_length scores would count more: the context ends there */
    bool multiply_logits;               /* by logit_scale; the others divide by it */
    double softcap, attention_softcap;  /* with `capped`, when the file does not say; 0: none */
    bool capped;                        /* scores and logits may be capped */
    bool temperature;                   /* attention.temperature_scale counts */
    double full_temperature;            /* where there are windows: of layers that see all; the length is the window, from 1 on */
    bool qk_norm_optional;              /* q and k are normed where the file has norms for them */
    /* what attention gives, times act(attn_gate x), before its output matrix: by elements, or (by the rows of that) by heads */
    enum { GATE_NO, GATE_SIGMOID, GATE_SOFTPLUS } attention_gate;
    bool value_scale;                   /* attention.value_scale counts */
    bool loops;                         /* num_loops counts: the layers run so many times, with keys and values of their own */
    enum { SINKS_NO, SINKS, SINKS_IF_THERE } sinks;      /* a logit of each head without a value, attn_sinks */
    /* layers may see only a window: when the file has no pattern, every so manieth sees all (0: none does); windows_at: without a
     * pattern only in a model of so many layers, 0: in all; default_window: when the file has none */
    bool windows;
    uint32_t window_period, windows_at, default_window;
    double local_rope_base;             /* of window layers, when the file does not say; 0: as the others */
    bool local_rope_bare;               /* and rope.scaling.attn_factor does not count in them */
    bool local_rot;                     /* they may turn another part of a head: rope.dimension_count_swa */
    bool local_rope_plain;              /* window layers turn by the plain angle, whatever the scaling of the others */
    bool chunks;                        /* a window is a block of positions that begins at a multiple of its size */
    bool lead_rope;                     /* layers without experts at the beginning have a rope in any case */
    bool rope_list;                     /* attention.rope_pattern says which layers have a rope */
    bool local_rope_only;               /* layers that see all have no rope where others have windows */
    uint32_t rope_period;               /* every so manieth layer has no rope; 0: all have */
    struct choice experts;
    uint32_t alibi_layers;              /* a model of so many layers has a bias by distance in place of a rope */
    /* Encoders: tokens see those after them too, and what comes out is vectors. A window of W reaches W / 2 to each side. */
    bool encoder;
    bool sum_norm;                      /* no norm before a sub-layer: h = norm(h + what it makes of h), attn_output_norm and
                                         * layer_output_norm; there is none at the end */
    enum { NO_POSITIONS, POSITIONS, POSITIONS_IF_THERE } positions;      /* a learned vector of each is added to the embedding */
    bool embedding_norm;                /* a norm behind the embedding, of one that is no encoder */
    bool dense_first;                   /* with a period: the first of n layers sees all, not the last */
    float alibi;                        /* the bias by distance; 0: none */
    bool alibi_by_key;                  /* attention.max_alibi_bias may say another */
    bool heads_by_layer;                /* each layer has its own numbers of heads */
    bool local_heads;                   /* heads of window layers have another size: attention.key_length_swa */
    bool unit_scale;                    /* scores count once, when the file does not say */
    bool value_norm;                    /* values are normed by heads, without a weight; they are keys where attn_v is missing */
    bool shared_kv;                     /* attention.shared_kv_layers: the last so many read what the last ones before them keep */
    bool layer_inputs;                  /* embedding_length_per_layer_input: tokens have an embedding for each layer */
    bool output_scale_tensor;           /* layer_output_scale counts, where it is there */
    bool loose;                         /* the same, and layers may have no attention or no feed-forward part */
    bool scale_by_size;                 /* scores count by 1 / the head size, not by its root */
    bool sub_norms;                     /* norms before the output matrix of attention and before ffn_down */
    bool clamped;                       /* attention.clamp_kqv limits queries, keys and values */
    bool rope_alpha;                    /* rope.scaling.alpha makes the base larger */
    /* rope.dimension_sections counts: pairs turn by one of several positions, in blocks or interleaved */
    enum { ONE_POSITION, SECTIONS, SECTIONS_INTERLEAVED } sections;
    bool dense_ends;                    /* dense_2 and dense_3 may follow the last norm */
    uint32_t wide_layers;               /* a model of so many layers scales scores by its width / heads, not by its head size */
};

/* The choice that many newer models make. */
#define SIGMOID_BY_KEYS { .gating = VS_GATING_SIGMOID, .any_gating = true, .normalise = NORM_BY_KEY, .scaled = true,             \
                          .grouped = true, .choice_bias = true, .shared = true, .by_tensor = true }

#define SOFTMAX_WITH_SHARED { .gating = VS_GATING_SOFTMAX, .normalise = NORM_YES, .shared = true, .shared_gate = true,             \
                              .split_width = true }
#define SOFTMAX_BY_KEYS { .gating = VS_GATING_SOFTMAX, .any_gating = true, .normalise = NORM_BY_KEY, .scaled = true,             \
                          .grouped = true, .choice_bias = true, .shared = true, .by_tensor = true }

/* Source: the published configurations of the models, and which keys their converters write. */
static const struct architecture architectures[] = {
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

enum { MAX_LAYERS = 1024, MAX_WIDTH = 1 << 20, MAX_HEADS = 4096, MAX_GROUPS = 1 << 12 };

/* What the builder carries around. */
struct builder {
    const struct vs_gguf *file;
    const struct architecture *arch;
    struct vs_graph *g;
    struct vs_error *err;
    int status;                         /* sticky; err has the text */
    uint32_t n_blocks;                  /* of the file: the layers, and those that guess further tokens */
    uint32_t n_layers, n_embd, n_heads, n_kv_heads, head_dim, n_vocab, window, n_rot;
    uint32_t n_experts;                 /* 0: none */
    enum vs_gating gating;              /* where the file does not say */
    uint32_t expert_row;                /* what experts read and give: n_embd, or the narrower row */
    uint32_t expert_period;             /* of layers, where i mod n = 1 has them; 0: the other keys say it */
    uint32_t n_dense, expert_step;      /* layers without experts at the beginning; of the others every so manieth has them */
    bool feeds[MAX_LAYERS];             /* arch->one_part: it is a feed-forward part */
    uint32_t heads[MAX_LAYERS], kv_heads[MAX_LAYERS];    /* of each layer; n_heads and n_kv_heads are the most */
    bool windowed[MAX_LAYERS];          /* the layer sees only the window */
    bool recurrent[MAX_LAYERS];         /* it has no keys, but a state: arch->mixer */
    uint32_t value_dim, rope_first;     /* of a head: how large a value is, where the rotated part begins */
    /* arch->latent: sizes of the rows that q (0: none) and k and v come from, of the parts of a key, of a value; whole: heads have
     * keys and values of their own, which are made of the row, in place of that row itself */
    struct { uint32_t q_rank, rank, plain, value; bool whole; } latent;
    uint32_t n_taps;                    /* of its convolution */
    uint32_t inner, n_state, ssm_heads, ssm_groups, ssm_rank;        /* of Mamba: its width, state of a channel; steps */
    bool norm_steps, no_rope;
    uint32_t local_rot;                 /* of window layers */
    uint32_t full_dim, local_dim;       /* arch->local_heads: size of a head in layers that see all, in the others */
    uint32_t n_own;                     /* layers with keys and values of their own, from the first on */
    uint32_t kv_index[MAX_LAYERS];      /* of these in the graph */
    uint32_t layer_width, layer_inputs; /* of the embedding of a layer; value: those of all layers. 0, VS_NONE: none */
    uint32_t n_loops, loop;             /* how often the layers run, and for how many times they did */
    float value_scale;
    bool layer_norm;                    /* norms take the mean away */
    const struct vs_entry *rope_list;   /* which layers have a rope; NULL: the architecture says it */
    bool parallel, both_ways;
    float eps, alibi, attention_scale, clamp;            /* clamp 0: no limit */
    float embedding_scale, residual_scale, logit_scale;              /* 1: none */
    float attention_cap, logit_cap, temperature;                     /* 0: none */
    uint32_t temperature_length;
    bool any_local;
    struct vs_adapter *const *adapters;
    unsigned n_adapters, n_adapted;      /* pairs that found their matrix */
    uint32_t *made;                     /* of each of the file's tensors the graph's that was made last; VS_NONE: nothing read it */
};

static int fail(struct builder *b, int code, const char *what, const char *name)
{
    if (b->status == VS_OK)
        b->status = vs_error_set(b->err, code, "model: %s%s%s", name, *name ? ": " : "", what);
    return b->status;
}

/* ---- hyper-parameters ---- */

static const char *key_of(const struct builder *b, const char *suffix, char buf[128])
{
    snprintf(buf, 128, "%s.%s", b->arch->name, suffix);
    return buf;
}

static uint32_t in_range(struct builder *b, const char *key, uint64_t v, uint32_t min, uint32_t max)
{
    char what[96];
    if (v >= min && v <= max)
        return (uint32_t)v;
    snprintf(what, sizeof what, "is %llu, must be %u to %u", (unsigned long long)v, min, max);
    fail(b, VS_E_MALFORMED, what, key);
    return 0;
}

/* A number that must be there (or has a default) and must lie in min..max. */
static uint32_t get_u32(struct builder *b, const char *suffix, int64_t preset, uint32_t min, uint32_t max)
{
    char key[128];
    uint32_t v = 0;
    if (b->status != VS_OK)
        return 0;
    int r = vs_entries_u32(vs_gguf_entries(b->file), key_of(b, suffix, key), &v, b->err);
    if (r == VS_E_NOT_FOUND && preset >= 0)
        return (uint32_t)preset;
    if (r == VS_E_NOT_FOUND)
        fail(b, VS_E_MALFORMED, "is missing", key);
    else if (r != VS_OK)
        b->status = r;
    return b->status == VS_OK ? in_range(b, key, v, min, max) : 0;
}

/* Element i of a list that has one element for each layer. */
static uint64_t list_u64(struct builder *b, const char *key, const struct vs_entry *kv, uint32_t i)
{
    char what[96];
    uint64_t v = 0;
    if (kv->count != b->n_blocks) {
        snprintf(what, sizeof what, "has %llu element%s, must have one for each layer, %u in all", (unsigned long long)kv->count,
                 vs_plural(kv->count), b->n_blocks);
        fail(b, VS_E_MALFORMED, what, key);
    } else if (!vs_entry_uint(kv, i, &v)) {
        fail(b, VS_E_MALFORMED, "is not a list of whole numbers", key);
    }
    return v;
}

/* The same, one number for all layers or a list with one for each. */
static uint32_t layer_u32(struct builder *b, const char *suffix, uint32_t layer, int64_t preset, uint32_t min, uint32_t max)
{
    char key[128];
    const struct vs_entry *kv = vs_entries_find(vs_gguf_entries(b->file), key_of(b, suffix, key));
    if (b->status != VS_OK || !kv || kv->type != VS_ENTRY_ARRAY)
        return get_u32(b, suffix, preset, min, max);
    uint64_t v = list_u64(b, key, kv, layer);
    return b->status == VS_OK ? in_range(b, key, v, min, max) : 0;
}

/* The number that the layers have in common, or the largest where each may have its own. Those without attention may have a 0.
 * preset: of each layer, when the file does not say; NULL: it must. */
static uint32_t attention_u32(struct builder *b, const char *suffix, const uint32_t *preset, uint32_t max, uint32_t *ret)
{
    char key[128];
    uint32_t all = 0;
    bool own = b->arch->heads_by_layer, may_lack = b->arch->loose || (b->arch->mixer != ATTENTION_ALONE && !b->arch->beside);
    for (uint32_t i = 0; i < b->n_layers && b->status == VS_OK; i++) {
        uint32_t v = ret[i] = layer_u32(b, suffix, i, preset ? (int64_t)preset[i] : -1, !may_lack, max);
        if (v && all && v != all && !own)
            fail(b, VS_E_UNSUPPORTED, "differs from layer to layer, which is not supported", key_of(b, suffix, key));
        all = v > all ? v : all;
    }
    return all;
}

/* A float that, when there, must be finite and in [min, max]. */
static double get_float(struct builder *b, const char *suffix, double preset, double min, double max)
{
    char key[128];
    float v;
    if (b->status != VS_OK)
        return preset;
    int r = vs_entries_f32(vs_gguf_entries(b->file), key_of(b, suffix, key), &v, b->err);
    if (r == VS_E_NOT_FOUND)
        return preset;
    if (r != VS_OK) {
        b->status = r;
        return preset;
    }
    if (!(v >= min && v <= max)) {
        char what[96];
        snprintf(what, sizeof what, "is %g, must be %g to %g", (double)v, min, max);
        fail(b, VS_E_MALFORMED, what, key);
        return preset;
    }
    return (double)v;
}

static bool get_bool(struct builder *b, const char *suffix, bool preset)
{
    char key[128];
    uint64_t v = preset;
    const struct vs_entry *kv = vs_entries_find(vs_gguf_entries(b->file), key_of(b, suffix, key));
    if (b->status == VS_OK && kv && (!vs_entry_uint(kv, 0, &v) || v > 1))
        fail(b, VS_E_MALFORMED, "is not true or false", key);
    return v != 0;
}

static bool has_key(const struct builder *b, const char *suffix)
{
    char key[128];
    return vs_entries_find(vs_gguf_entries(b->file), key_of(b, suffix, key)) != NULL;
}

/* How the router of a layer chooses: what the keys say, as far as the architecture lets them. */
static void read_choice(struct builder *b, struct vs_experts *e, uint32_t il)
{
    const struct choice *a = &b->arch->experts;
    char key[128];
    e->n_used = layer_u32(b, "expert_used_count", il, -1, 1, b->n_experts);
    e->gating = (enum vs_gating)get_u32(b, "expert_gating_func", 0, 0, 4);
    if (e->gating > VS_GATING_CHOSEN || (e->gating && e->gating != a->gating && !a->any_gating))
        fail(b, VS_E_UNSUPPORTED, "this gating function is not supported", key_of(b, "expert_gating_func", key));
    e->gating = e->gating ? e->gating : b->gating;
    e->normalise = a->normalise == NORM_YES;
    if (a->normalise == NORM_BY_KEY)
        e->normalise = get_bool(b, "expert_weights_norm", false);
    else if (get_bool(b, "expert_weights_norm", e->normalise) != e->normalise)
        fail(b, VS_E_UNSUPPORTED, "is not what these models do", key_of(b, "expert_weights_norm", key));
    e->scale = (float)get_float(b, "expert_weights_scale", 0, 0, 1e6);
    e->scale = e->scale > 0 ? e->scale : 1;
    if (e->scale != 1 && !a->scaled)
        fail(b, VS_E_UNSUPPORTED, "these models do not scale the weights", key_of(b, "expert_weights_scale", key));
    uint32_t groups = get_u32(b, "expert_group_count", 0, 0, b->n_experts);
    uint32_t used = get_u32(b, "expert_group_used_count", 0, 0, groups);
    if (b->status != VS_OK || groups <= 1 || used == groups)
        return;
    if (!a->grouped)
        fail(b, VS_E_UNSUPPORTED, "these models do not group their experts", key_of(b, "expert_group_count", key));
    else if (!used)
        fail(b, VS_E_MALFORMED, "is 0 or missing", key_of(b, "expert_group_used_count", key));
    else if (b->n_experts % groups)
        fail(b, VS_E_MALFORMED, "does not divide expert_count", key_of(b, "expert_group_count", key));
    else if (b->n_experts / groups * used < e->n_used)
        fail(b, VS_E_MALFORMED, "leaves fewer experts than are used", key_of(b, "expert_group_used_count", key));
    e->n_groups = groups;
    e->n_groups_used = used;
}

/* ---- tensors ---- */

static const char *tensor_name(char buf[64], int layer, const char *suffix)
{
    if (layer < 0)
        snprintf(buf, 64, "%s", suffix);
    else
        snprintf(buf, 64, "blk.%d.%s", layer, suffix);
    return buf;
}

static uint32_t *made_of(const struct builder *b, const struct vs_gguf_tensor *t)
{
    return &b->made[t - vs_gguf_tensor_at(b->file, 0)];
}

static bool is_there(const struct builder *b, int layer, const char *suffix)
{
    char name[64];
    return vs_gguf_tensor(b->file, tensor_name(name, layer, suffix)) != NULL;
}

/* How many rows a matrix of a layer has; 0: there is none. */
static uint64_t rows_of_matrix(const struct builder *b, int layer, const char *suffix)
{
    char name[64];
    const struct vs_gguf_tensor *t = vs_gguf_tensor(b->file, tensor_name(name, layer, suffix));
    return t ? t->ne[1] : 0;
}

/* Rows (of a vector: elements) [first, first + n) of a tensor that has `all` of them: a part of a fused matrix. */
struct part { uint32_t first, n, all; };

static struct part whole(uint32_t n)
{
    return (struct part){ 0, n, n };
}

static bool is_computable(struct builder *b, const struct vs_gguf_tensor *t, const char *name)
{
    char what[160];
    snprintf(what, sizeof what, "tensor type %s is not supported; `veritas inspect --formats` lists those that are",
             t->dtype->name);
    if (!t->dtype->computable)
        fail(b, VS_E_UNSUPPORTED, what, name);
    return t->dtype->computable;
}

/* Those rows of matrix i of a tensor, as the graph knows them. */
static struct vs_tensor slice_of(const struct vs_gguf_tensor *t, uint32_t i, struct part rows)
{
    uint64_t row_bytes = t->n_bytes / (t->ne[1] * t->ne[2]);
    struct vs_tensor g = { .dtype = (enum vs_dtype)t->dtype->id, .n_cols = (uint32_t)t->ne[0], .n_rows = rows.n,
                           .offset = t->offset + ((uint64_t)i * t->ne[1] + rows.first) * row_bytes,
                           .n_bytes = rows.n * row_bytes };
    snprintf(g.name, sizeof g.name, "%.*s", (int)t->name.n, t->name.data);
    return g;
}

/* The tensor of that name with exactly this shape, or a part of it, as an index into the graph; VS_NONE when it is absent and
 * optional. */
static uint32_t tensor(struct builder *b, int layer, const char *suffix, uint32_t n_cols, struct part rows, bool optional)
{
    char name[64];
    if (b->status != VS_OK)
        return VS_NONE;
    const struct vs_gguf_tensor *t = vs_gguf_tensor(b->file, tensor_name(name, layer, suffix));
    if (!t) {
        if (!optional)
            fail(b, VS_E_MALFORMED, "tensor is missing", name);
        return VS_NONE;
    }
    char what[160];
    if (t->ne[0] != n_cols || t->ne[1] != rows.all || t->ne[2] != 1 || t->ne[3] != 1) {
        snprintf(what, sizeof what, "tensor is %llu x %llu, must be %u x %u", (unsigned long long)t->ne[0],
                 (unsigned long long)t->ne[1], n_cols, rows.all);
        fail(b, VS_E_MALFORMED, what, name);
        return VS_NONE;
    }
    if (!is_computable(b, t, name))
        return VS_NONE;
    struct vs_tensor g = slice_of(t, 0, rows);
    const struct vs_tensor *last = *made_of(b, t) == VS_NONE ? NULL : &b->g->tensors[*made_of(b, t)];
    if (!last || last->offset != g.offset || last->n_bytes != g.n_bytes)         /* what is read again is the same tensor */
        *made_of(b, t) = vs_graph_tensor(b->g, &g);
    return *made_of(b, t);
}

/* Norm weights, biases and scales: vectors that kernels read as f32. */
static uint32_t vector(struct builder *b, int layer, const char *suffix, struct part part, bool optional)
{
    uint32_t i = tensor(b, layer, suffix, part.all, whole(1), optional);
    if (i == VS_NONE)
        return VS_NONE;
    struct vs_tensor *t = &b->g->tensors[i];
    if (t->dtype != VS_F32) {
        fail(b, VS_E_UNSUPPORTED, "a norm, bias, scale or rope tensor must be F32", t->name);
        return VS_NONE;
    }
    t->n_cols = part.n;
    t->offset += (uint64_t)part.first * sizeof(float);
    t->n_bytes = (uint64_t)part.n * sizeof(float);
    return i;
}

/* Rows of n_cols that kernels read as f32. */
static uint32_t vector_of_rows(struct builder *b, int layer, const char *suffix, uint32_t n_cols, uint32_t n_rows)
{
    uint32_t i = tensor(b, layer, suffix, n_cols, whole(n_rows), false);
    if (i != VS_NONE && b->g->tensors[i].dtype != VS_F32)
        fail(b, VS_E_UNSUPPORTED, "a tensor of a recurrent layer must be F32", b->g->tensors[i].name);
    return i;
}

/* Is the second size of a tensor 1, and a third there? */
static bool is_deep(const struct builder *b, int layer, const char *suffix)
{
    char name[64];
    const struct vs_gguf_tensor *t = vs_gguf_tensor(b->file, tensor_name(name, layer, suffix));
    return t && t->ne[1] == 1 && t->ne[2] > 1;
}

/* The same from a tensor [n_cols, 1, n_rows]. */
static uint32_t deep_vector(struct builder *b, int layer, const char *suffix, uint32_t n_cols, uint32_t n_rows)
{
    char name[64], what[160];
    const struct vs_gguf_tensor *t = vs_gguf_tensor(b->file, tensor_name(name, layer, suffix));
    if (b->status != VS_OK)
        return VS_NONE;
    if (t->ne[0] != n_cols || t->ne[2] != n_rows || t->ne[3] != 1) {
        snprintf(what, sizeof what, "tensor is %llu x 1 x %llu, must be %u x 1 x %u", (unsigned long long)t->ne[0],
                 (unsigned long long)t->ne[2], n_cols, n_rows);
        fail(b, VS_E_MALFORMED, what, name);
        return VS_NONE;
    }
    if (t->dtype->id != VS_F32) {
        fail(b, VS_E_UNSUPPORTED, "a tensor of a recurrent layer must be F32", name);
        return VS_NONE;
    }
    struct vs_tensor g = slice_of(t, 0, whole(1));
    g.n_rows = n_rows;
    g.n_bytes = t->n_bytes;
    return *made_of(b, t) = vs_graph_tensor(b->g, &g);
}

/* The matrices of all experts, one after the other in the graph, as the index of the first: STEM_exps.weight, or STEM.E.weight for
 * each, as the first files had them. */
static uint32_t expert_matrices(struct builder *b, int layer, const char *stem, uint32_t n_in, struct part out)
{
    char name[64], suffix[48], what[160];
    uint32_t first = VS_NONE;
    snprintf(suffix, sizeof suffix, "%s_exps.weight", stem);
    const struct vs_gguf_tensor *t = vs_gguf_tensor(b->file, tensor_name(name, layer, suffix));
    for (uint32_t e = 0; !t && e < b->n_experts && b->status == VS_OK; e++) {
        char old[48];
        snprintf(old, sizeof old, "%s.%u.weight", stem, e);
        if (e == 0 && !is_there(b, layer, old))
            fail(b, VS_E_MALFORMED, "tensor is missing", name);
        uint32_t at = tensor(b, layer, old, n_in, out, false);
        first = e ? first : at;
    }
    if (!t || b->status != VS_OK)
        return first;
    if (t->ne[0] != n_in || t->ne[1] != out.all || t->ne[2] != b->n_experts || t->ne[3] != 1) {
        snprintf(what, sizeof what, "tensor is %llu x %llu x %llu, must be %u x %u x %u", (unsigned long long)t->ne[0],
                 (unsigned long long)t->ne[1], (unsigned long long)t->ne[2], n_in, out.all, b->n_experts);
        fail(b, VS_E_MALFORMED, what, name);
    }
    for (uint32_t e = 0; e < b->n_experts && b->status == VS_OK && is_computable(b, t, name); e++) {
        struct vs_tensor g = slice_of(t, e, out);
        uint32_t at = vs_graph_tensor(b->g, &g);
        *made_of(b, t) = first = e ? first : at;
    }
    return first;
}

/* The matrix of each head of NAME, one after the other in the graph, as the index of the first: [n_in, n_out, heads], or (the first
 * files) [n_in, n_out * heads]. */
static uint32_t head_matrices(struct builder *b, int layer, const char *suffix, uint32_t n_in, uint32_t n_out)
{
    char name[64], what[160];
    uint32_t first = VS_NONE, n = b->n_heads;
    if (b->status != VS_OK)
        return VS_NONE;
    const struct vs_gguf_tensor *t = vs_gguf_tensor(b->file, tensor_name(name, layer, suffix));
    if (!t) {
        fail(b, VS_E_MALFORMED, "tensor is missing", name);
        return VS_NONE;
    }
    bool flat = t->ne[1] == (uint64_t)n_out * n && t->ne[2] == 1, deep = t->ne[1] == n_out && t->ne[2] == n;
    if (t->ne[0] != n_in || (!flat && !deep) || t->ne[3] != 1) {
        snprintf(what, sizeof what, "tensor is %llu x %llu x %llu, must be %u x %u x %u", (unsigned long long)t->ne[0],
                 (unsigned long long)t->ne[1], (unsigned long long)t->ne[2], n_in, n_out, n);
        fail(b, VS_E_MALFORMED, what, name);
    }
    for (uint32_t k = 0; k < n && b->status == VS_OK && is_computable(b, t, name); k++) {
        struct vs_tensor g = slice_of(t, deep ? k : 0, (struct part){ deep ? 0 : k * n_out, n_out, n_out });
        uint32_t at = vs_graph_tensor(b->g, &g);
        *made_of(b, t) = first = k ? first : at;
    }
    return first;
}

/* n_out numbers for each expert: biases, or (n_out = 0) one scale for each. VS_NONE where there is none. */
static uint32_t expert_vector(struct builder *b, int layer, const char *suffix, uint32_t n_out)
{
    uint32_t i = n_out ? tensor(b, layer, suffix, n_out, whole(b->n_experts), true)
                       : tensor(b, layer, suffix, b->n_experts, whole(1), true);
    if (i != VS_NONE && b->g->tensors[i].dtype != VS_F32)
        fail(b, VS_E_UNSUPPORTED, "a norm, bias, scale or rope tensor must be F32", b->g->tensors[i].name);
    return i;
}

/* ---- nodes ---- */

static uint32_t node(struct builder *b, struct vs_node n, uint32_t width)
{
    if (b->status != VS_OK || b->g->status != VS_OK)     /* out of memory earlier: n.in may be VS_NONE */
        return VS_NONE;
    enum vs_rows rows = VS_ROWS_STEP;
    if (n.op == VS_OP_TAKE_OUT || (n.op != VS_OP_EMBED && b->g->values[n.in[0]].rows == VS_ROWS_OUT))
        rows = VS_ROWS_OUT;
    return vs_graph_node(b->g, &n, rows, width);
}

static struct vs_node base(enum vs_op op, uint32_t in)
{
    return (struct vs_node){ .op = op, .in = { in, VS_NONE, VS_NONE }, .tensor = { VS_NONE, VS_NONE, VS_NONE } };
}

/* STEM.weight, and STEM.bias where the architecture's norms may have one. */
static uint32_t norm(struct builder *b, uint32_t x, int layer, const char *stem, uint32_t width)
{
    char suffix[48];
    struct vs_node n = base(b->layer_norm ? VS_OP_LAYER_NORM : VS_OP_RMS_NORM, x), plus = base(VS_OP_SCALE, VS_NONE);
    snprintf(suffix, sizeof suffix, "%s.weight", stem);
    if (!is_there(b, layer, suffix) && is_there(b, layer, stem))     /* Falcon-H1's */
        snprintf(suffix, sizeof suffix, "%s", stem);
    n.tensor[0] = vector(b, layer, suffix, whole(width), b->arch->bare_norm);
    snprintf(suffix, sizeof suffix, "%s.bias", stem);
    if (b->layer_norm)
        n.tensor[1] = vector(b, layer, suffix, whole(width), true);
    n.p.eps = b->eps;
    uint32_t y = node(b, n, width);
    if (!b->arch->norm_bias || !is_there(b, layer, suffix))
        return y;
    plus.in[0] = y;
    plus.p.scale = 1;
    plus.tensor[1] = vector(b, layer, suffix, whole(width), false);
    return node(b, plus, width);
}

static uint32_t head_norm(struct builder *b, uint32_t x, int layer, const char *stem, uint32_t n_heads)
{
    char suffix[48];
    struct vs_node n = base(VS_OP_RMS_NORM, x);
    snprintf(suffix, sizeof suffix, "%s.weight", stem);
    if (b->arch->qk_norm_optional && !is_there(b, layer, suffix))
        return x;
    n.tensor[0] = vector(b, layer, suffix, whole(b->head_dim), false);
    n.p.eps = b->eps;
    n.p.head_dim = b->head_dim;
    return node(b, n, n_heads * b->head_dim);
}

static uint32_t adapter_tensor(struct builder *b, const struct vs_gguf_tensor *t, uint32_t n_cols, struct part rows)
{
    uint64_t row_bytes = t->n_bytes / t->ne[1];
    struct vs_tensor g = { .dtype = (enum vs_dtype)t->dtype->id, .n_cols = n_cols, .n_rows = rows.n,
                           .offset = t->offset + rows.first * row_bytes, .n_bytes = rows.n * row_bytes };
    snprintf(g.name, sizeof g.name, "%.*s", (int)(t->name.n < 63 ? t->name.n : 63), t->name.data);
    return vs_graph_tensor(b->g, &g);
}

/* x through the first matrix of a pair: what was made for another part of the same fused matrix is taken again. */
static uint32_t adapter_down(struct builder *b, const struct vs_adapter_pair *p, uint32_t x)
{
    for (size_t i = b->g->n_nodes; i-- > 0;) {
        const struct vs_node *n = &b->g->nodes[i];
        if (n->op == VS_OP_LINEAR && n->in[0] == x && n->tensor[0] != VS_NONE && b->g->tensors[n->tensor[0]].offset == p->a->offset)
            return n->out;
        if (n->out == x)
            break;
    }
    struct vs_node down = base(VS_OP_LINEAR, x);
    down.tensor[0] = adapter_tensor(b, p->a, (uint32_t)p->a->ne[0], whole(p->rank));
    return node(b, down, p->rank);
}

/* What the adapters have for rows `out` of STEM.weight is added to n, the product with it. */
static void adapt(struct builder *b, struct vs_node *n, int layer, const char *suffix, struct part out)
{
    struct vs_adapt found[VS_MAX_ADAPTERS];
    char name[64];
    tensor_name(name, layer, suffix);
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

/* The product with STEM.weight (or with the tensor `tied`), times STEM.scale and plus STEM.bias where the file has them. */
static uint32_t product(struct builder *b, uint32_t x, int layer, const char *stem, const char *bias_stem, uint32_t tied,
                        uint32_t n_in, struct part out)
{
    char suffix[48];
    struct vs_node n = base(VS_OP_LINEAR, x), s = base(VS_OP_SCALE, VS_NONE);
    snprintf(suffix, sizeof suffix, "%s.weight", stem);
    n.tensor[0] = tied != VS_NONE ? tied : tensor(b, layer, suffix, n_in, out, false);
    if (tied == VS_NONE && b->n_adapters)
        adapt(b, &n, layer, suffix, out);
    snprintf(suffix, sizeof suffix, "%s.bias", bias_stem);
    n.tensor[1] = vector(b, layer, suffix, bias_stem == stem ? out : whole(out.n), true);
    snprintf(suffix, sizeof suffix, "%s.scale", stem);
    if (layer >= 0)                      /* the output's has no meaning with the types that we compute with */
        s.tensor[0] = vector(b, layer, suffix, whole(1), true);
    if (s.tensor[0] == VS_NONE)
        return node(b, n, out.n);
    if (n.p.n_adapts)                    /* and before what an adapter adds */
        fail(b, VS_E_UNSUPPORTED, "an adapter of a matrix that has a scale is not supported", suffix);
    s.tensor[1] = n.tensor[1];           /* the scale comes before the bias */
    n.tensor[1] = VS_NONE;
    s.in[0] = node(b, n, out.n);
    return node(b, s, out.n);
}

static uint32_t linear(struct builder *b, uint32_t x, int layer, const char *stem, uint32_t n_in, uint32_t n_out)
{
    return product(b, x, layer, stem, stem, VS_NONE, n_in, whole(n_out));
}

/* q, k or v: a matrix of its own, or a part of attn_qkv, whose bias may still be one for each. */
static uint32_t projection(struct builder *b, uint32_t x, int layer, const char *stem, struct part part)
{
    struct vs_node n = base(VS_OP_CLAMP, VS_NONE);
    n.p.scale = b->clamp;
    if (!is_there(b, layer, "attn_qkv.weight"))
        n.in[0] = linear(b, x, layer, stem, b->n_embd, part.n);
    else
        n.in[0] = product(b, x, layer, "attn_qkv", is_there(b, layer, "attn_qkv.bias") ? "attn_qkv" : stem, VS_NONE, b->n_embd,
                          part);
    return b->clamp > 0 ? node(b, n, part.n) : n.in[0];
}

static uint32_t rope(struct builder *b, uint32_t x, uint32_t n_heads, uint32_t which)
{
    struct vs_node n = base(VS_OP_ROPE, x);
    n.p.first = b->rope_first;
    n.p.head_dim = b->head_dim;
    n.p.n_heads = n_heads;
    n.p.rope = which;
    return node(b, n, n_heads * b->head_dim);
}

static uint32_t scaled(struct builder *b, uint32_t x, float scale, uint32_t width)
{
    struct vs_node n = base(VS_OP_SCALE, x);
    n.p.scale = scale;
    return scale == 1 ? x : node(b, n, width);
}

/* h and what a sub-layer made of it. */
static uint32_t add(struct builder *b, uint32_t h, uint32_t x)
{
    struct vs_node n = base(VS_OP_ADD, h);
    n.in[1] = scaled(b, x, b->residual_scale, b->n_embd);
    return node(b, n, b->n_embd);
}

static uint32_t bare_head_norm(struct builder *b, uint32_t x, uint32_t n_heads)
{
    struct vs_node n = base(VS_OP_RMS_NORM, x);
    n.p.eps = b->eps;
    n.p.head_dim = b->head_dim;
    return node(b, n, n_heads * b->head_dim);
}

static bool has_rope(struct builder *b, uint32_t il)
{
    const struct architecture *a = b->arch;
    uint64_t v = 0;
    if (b->no_rope || (a->rope_period && (il + 1) % a->rope_period == 0))
        return false;
    if (b->rope_list)
        return vs_entry_uint(b->rope_list, il, &v) && v;
    return !a->local_rope_only || !b->any_local || b->windowed[il] || (a->lead_rope && il < b->n_dense);
}

/* q and k as attention takes them: normed and turned, as the architecture wants it in this layer. */
static uint32_t turned(struct builder *b, uint32_t x, uint32_t il, const char *norm_name, uint32_t n_heads)
{
    const struct architecture *a = b->arch;
    bool turns = has_rope(b, il);
    if (a->qk_norm == QK_HEAD)
        x = head_norm(b, x, (int)il, norm_name, n_heads);
    if (a->qk_norm == QK_ROW && (!a->qk_norm_optional || is_there(b, (int)il, "attn_q_norm.weight")))
        x = norm(b, x, (int)il, norm_name, n_heads * b->head_dim);
    if (turns)
        x = rope(b, x, n_heads, b->windowed[il] ? 1 : 0);
    if (a->qk_norm == QK_BARE_LAST && turns && b->n_experts != 128)
        x = bare_head_norm(b, x, n_heads);
    if (a->qk_norm == QK_HEAD_LAST)
        x = head_norm(b, x, (int)il, norm_name, n_heads);
    return x;
}

/* A number of the file that has no architecture in front of its name: one for all layers, or one for each. */
static float bare_float(struct builder *b, const char *key, uint32_t layer)
{
    double v = 0;
    const struct vs_entry *kv = vs_entries_find(vs_gguf_entries(b->file), key);
    if (!kv)
        fail(b, VS_E_MALFORMED, "is missing", key);
    else if (kv->type == VS_ENTRY_ARRAY && kv->count != b->n_layers)
        fail(b, VS_E_MALFORMED, "must have one element for each layer", key);
    else if (!vs_entry_float(kv, kv->type == VS_ENTRY_ARRAY ? layer : 0, &v) || !(v >= -1e3 && v <= 1e3))
        fail(b, VS_E_MALFORMED, "is not a number from -1000 to 1000", key);
    return (float)v;
}

static float softplus(double x)
{
    return (float)(x > 30 ? x : vs_log64(1 + vs_exp64(x)));
}

static void read_xielu(struct builder *b, uint32_t layer, struct vs_node *glu)
{
    float beta = bare_float(b, "xielu.beta", layer);
    glu->p.xielu[0] = softplus((double)bare_float(b, "xielu.alpha_p", layer));
    glu->p.xielu[1] = beta + softplus((double)bare_float(b, "xielu.alpha_n", layer));
    glu->p.xielu[2] = beta;
    glu->p.xielu[3] = bare_float(b, "xielu.eps", layer);
}

/* STEM_gate, STEM_up and STEM_down of a feed-forward part, where _gate stands in front of `end`: ffn_gate, or ffn_gate_shexp. */
static uint32_t gated(struct builder *b, uint32_t x, int i, const char *end, uint32_t n_ff)
{
    char gate[32], up[32], down[32], fused[40];
    struct vs_node glu = base(VS_OP_GLU, VS_NONE);
    glu.p.activation = b->arch->activation;
    if (b->arch->activation == VS_ACT_XIELU)
        read_xielu(b, (uint32_t)i, &glu);
    snprintf(gate, sizeof gate, "ffn_gate%s", end);
    snprintf(up, sizeof up, "ffn_up%s", end);
    snprintf(down, sizeof down, "ffn_down%s", end);
    snprintf(fused, sizeof fused, "%s.weight", gate);
    if (b->arch->no_gate) {
        glu.in[0] = linear(b, x, i, up, b->n_embd, n_ff);
    } else if ((b->arch->fused_up || (b->arch->shared_fused_up && *end)) && !is_there(b, i, fused)) {
        glu.in[0] = product(b, x, i, up, up, VS_NONE, b->n_embd, (struct part){ 0, n_ff, 2 * n_ff });
        glu.in[1] = product(b, x, i, up, up, VS_NONE, b->n_embd, (struct part){ n_ff, n_ff, 2 * n_ff });
    } else {
        glu.in[0] = linear(b, x, i, gate, b->n_embd, n_ff);
        glu.in[1] = linear(b, x, i, up, b->n_embd, n_ff);
    }
    uint32_t inner = node(b, glu, n_ff);
    return linear(b, b->arch->sub_norms ? norm(b, inner, i, "ffn_sub_norm", n_ff) : inner, i, down, n_ff, b->n_embd);
}

/* What the feed-forward part makes of x. */
static uint32_t feed_forward(struct builder *b, uint32_t x, int i)
{
    uint32_t n_ff = layer_u32(b, "feed_forward_length", (uint32_t)i, -1, 1, MAX_WIDTH);
    return gated(b, x, i, "", b->arch->half_ff ? n_ff / 2 : n_ff);
}

/* ---- experts ---- */

static bool has_experts(const struct builder *b, uint32_t il)
{
    if (b->expert_period)
        return b->n_experts && il % b->expert_period == 1 % b->expert_period;
    return b->n_experts && il >= b->n_dense && (il + 1) % b->expert_step == 0
           && !(b->arch->experts.by_tensor && !is_there(b, (int)il, "ffn_gate_inp.weight"));
}

/* Width of an expert: its own key, or, in the older files, that of the feed-forward part. */
static uint32_t expert_width(struct builder *b, uint32_t il)
{
    uint32_t n = layer_u32(b, "expert_feed_forward_length", il, 0, 0, MAX_WIDTH);
    if (n)
        return n;
    n = layer_u32(b, "feed_forward_length", il, -1, 1, MAX_WIDTH);
    uint32_t used = layer_u32(b, "expert_used_count", il, -1, 1, b->n_experts);
    return b->arch->experts.split_width && used ? n / used : n;
}

/* Gemma's router reads the norm of h with ffn_gate_inp.scale as its weight, divided by the root of the width. */
static uint32_t normed_router(struct builder *b, uint32_t h, int i, uint32_t n)
{
    struct vs_node normed = base(VS_OP_RMS_NORM, h);
    normed.tensor[0] = vector(b, i, "ffn_gate_inp.scale", whole(b->n_embd), false);
    normed.p.eps = b->eps;
    uint32_t x = scaled(b, node(b, normed, b->n_embd), 1.0f / vs_sqrtf((float)b->n_embd), b->n_embd);
    struct vs_node logits = base(VS_OP_LINEAR, x);
    logits.tensor[0] = tensor(b, i, "ffn_gate_inp.weight", b->n_embd, whole(n), false);
    return node(b, logits, n);
}

/* What all experts of a layer make of x; the router reads `from`. */
static uint32_t experts(struct builder *b, uint32_t x, uint32_t from, uint32_t il)
{
    const struct choice *a = &b->arch->experts;
    int i = (int)il;
    uint32_t n_in = b->expert_row;
    struct vs_experts e = { .n = b->n_experts, .n_in = n_in, .activation = b->arch->activation, .choice_bias = VS_NONE,
                            .gate = VS_NONE, .gate_bias = VS_NONE, .gate_scale = VS_NONE };
    read_choice(b, &e, il);
    e.width = expert_width(b, il);
    e.weigh_input = a->weigh_input;
    struct vs_node route = base(VS_OP_ROUTE, a->own_norms ? normed_router(b, from, i, e.n)
                                                         : linear(b, from, i, "ffn_gate_inp", b->n_embd, e.n));
    struct vs_node cap = base(VS_OP_SOFTCAP, route.in[0]);
    cap.p.softcap = (float)get_float(b, "router_logit_softcapping", a->capped, 0, 1e6);
    if (cap.p.softcap > 0)
        route.in[0] = node(b, cap, e.n);
    if (a->choice_bias)
        e.choice_bias = vector(b, i, is_there(b, i, "exp_probs_b") ? "exp_probs_b" : "exp_probs_b.bias", whole(e.n), true);
    bool fused = is_there(b, i, "ffn_gate_up_exps.weight");
    const char *gate = fused ? "ffn_gate_up" : "ffn_gate", *up = fused ? "ffn_gate_up" : "ffn_up";
    if (!b->arch->no_gate)
        e.gate = expert_matrices(b, i, gate, n_in, fused ? (struct part){ 0, e.width, 2 * e.width } : whole(e.width));
    e.up = expert_matrices(b, i, up, n_in, fused ? (struct part){ e.width, e.width, 2 * e.width } : whole(e.width));
    e.down = expert_matrices(b, i, "ffn_down", e.width, whole(n_in));
    if (!b->arch->no_gate) {
        e.gate_bias = expert_vector(b, i, "ffn_gate_exps.bias", e.width);
        e.gate_scale = expert_vector(b, i, fused ? "ffn_gate_up_exps.scale" : "ffn_gate_exps.scale", 0);
    }
    e.up_bias = expert_vector(b, i, "ffn_up_exps.bias", e.width);
    e.up_scale = expert_vector(b, i, fused ? "ffn_gate_up_exps.scale" : "ffn_up_exps.scale", 0);
    e.down_bias = expert_vector(b, i, "ffn_down_exps.bias", n_in);
    e.down_scale = expert_vector(b, i, "ffn_down_exps.scale", 0);
    struct vs_node n = base(VS_OP_EXPERTS, n_in == b->n_embd ? x : linear(b, x, i, "ffn_latent_down", b->n_embd, n_in));
    n.p.experts = route.p.experts = vs_graph_experts(b->g, &e);
    n.in[1] = node(b, route, 2 * e.n_used);
    uint32_t o = node(b, n, n_in);
    return n_in == b->n_embd ? o : linear(b, o, i, "ffn_latent_up", n_in, b->n_embd);
}

/* Each part of y times act(its element of gate). */
static uint32_t gated_by(struct builder *b, uint32_t y, uint32_t gate, uint32_t n_parts, enum vs_activation act, uint32_t width)
{
    struct vs_node n = base(VS_OP_GATE, y);
    n.in[1] = gate;
    n.p.n_heads = n_parts;
    n.p.activation = act;
    return node(b, n, width);
}

/* What the expert that all rows pass makes of x; VS_NONE where there is none. */
static uint32_t shared_expert(struct builder *b, uint32_t x, uint32_t il)
{
    const struct choice *a = &b->arch->experts;
    int i = (int)il;
    if (!a->shared || !is_there(b, i, "ffn_up_shexp.weight"))
        return VS_NONE;
    uint32_t n_ff = layer_u32(b, "expert_shared_feed_forward_length", il, 0, 0, MAX_WIDTH);
    uint32_t n = layer_u32(b, "expert_shared_count", il, 1, 0, 64);
    n_ff = n_ff ? n_ff : expert_width(b, il) * (n ? n : 1);
    uint32_t y = gated(b, x, i, "_shexp", n_ff);
    if (!a->shared_gate)
        return y;
    return gated_by(b, y, linear(b, x, i, "ffn_gate_inp_shexp", b->n_embd, 1), 1, VS_ACT_SIGMOID, b->n_embd);
}

static uint32_t sum(struct builder *b, uint32_t x, uint32_t y)
{
    struct vs_node both = base(VS_OP_ADD, x);
    both.in[1] = y;
    return node(b, both, b->n_embd);
}

static uint32_t ffn_post_norm(struct builder *b, uint32_t x, int i)
{
    char suffix[48];
    const char *other = b->arch->ffn_post_norm;
    snprintf(suffix, sizeof suffix, "%s.weight", other ? other : "");
    return norm(b, x, i, other && is_there(b, i, suffix) ? other : "post_ffw_norm", b->n_embd);
}

/* h and what the feed-forward part makes of x, which is a norm of h; input: what the layer began with. */
static uint32_t add_feed_forward(struct builder *b, uint32_t h, uint32_t x, uint32_t input, uint32_t il)
{
    const struct choice *a = &b->arch->experts;
    int i = (int)il;
    bool post_norm = b->arch->post_norm && !b->parallel;
    if (!has_experts(b, il)) {
        uint32_t o = feed_forward(b, x, i);
        return add(b, h, post_norm ? ffn_post_norm(b, o, i) : o);
    }
    if (a->own_norms) {
        uint32_t dense = norm(b, feed_forward(b, x, i), i, "post_ffw_norm_1", b->n_embd);
        uint32_t chosen = experts(b, norm(b, h, i, "pre_ffw_norm_2", b->n_embd), h, il);
        chosen = norm(b, chosen, i, "post_ffw_norm_2", b->n_embd);
        return add(b, h, ffn_post_norm(b, sum(b, dense, chosen), i));
    }
    if (a->norm) {
        h = add(b, h, gated(b, x, i, "", b->n_embd));
        x = norm(b, input, i, a->norm, b->n_embd);
    }
    uint32_t chosen = experts(b, x, a->read_input ? input : x, il), shared = shared_expert(b, x, il);
    if (a->beside && is_there(b, i, "ffn_up.weight")) {
        chosen = sum(b, chosen, feed_forward(b, x, i));
        chosen = scaled(b, chosen, 0.70710678f, b->n_embd);
    }
    if (!post_norm && !(a->halved && shared != VS_NONE)) {
        h = add(b, h, chosen);
        return shared == VS_NONE ? h : add(b, h, shared);
    }
    chosen = shared == VS_NONE ? chosen : sum(b, chosen, shared);
    chosen = a->halved ? scaled(b, chosen, 0.5f, b->n_embd) : chosen;
    return add(b, h, post_norm ? ffn_post_norm(b, chosen, i) : chosen);
}

/* Elements [first, first + n) of each of the equal parts of x. */
static uint32_t pick(struct builder *b, uint32_t x, uint32_t n_parts, uint32_t first, uint32_t n)
{
    struct vs_node p = base(VS_OP_PICK, x);
    p.p.n_heads = n_parts;
    p.p.first = first;
    p.p.head_dim = n;
    return node(b, p, n_parts * n);
}

/* act(z) * y */
static uint32_t times_act(struct builder *b, uint32_t z, uint32_t y, uint32_t width, enum vs_activation act)
{
    struct vs_node n = base(VS_OP_GLU, z);
    n.in[1] = y;
    n.p.activation = act;
    return node(b, n, width);
}

/* Parts of x and y in turn; y may have one part for all. */
static uint32_t join(struct builder *b, uint32_t x, uint32_t y, uint32_t n_parts, uint32_t width)
{
    struct vs_node n = base(VS_OP_JOIN, x);
    n.in[1] = y;
    n.p.n_heads = n_parts;
    return node(b, n, width);
}

/* Each head of x by a matrix of its own. */
static uint32_t by_heads(struct builder *b, uint32_t x, int layer, const char *suffix, uint32_t n_in, uint32_t n_out)
{
    struct vs_node n = base(VS_OP_BY_HEADS, x);
    n.tensor[0] = head_matrices(b, layer, suffix, n_in, n_out);
    n.p.n_heads = b->n_heads;
    return node(b, n, b->n_heads * n_out);
}

static uint32_t heads_of(const struct builder *b, uint32_t il)
{
    return b->arch->heads_by_layer ? b->heads[il] : b->n_heads;
}

static uint32_t kv_heads_of(const struct builder *b, uint32_t il)
{
    return b->arch->heads_by_layer ? b->kv_heads[il] : b->n_kv_heads;
}

/* The layer whose keys and values one reads that has none of its own. */
static uint32_t shared_from(const struct builder *b, uint32_t il)
{
    return b->n_own - (b->windowed[il] ? 2 : 1);
}

/* What attention gives for q, k and v as they are to be compared; k and v VS_NONE: with those of shared_from. */
static uint32_t attended(struct builder *b, uint32_t q, uint32_t k, uint32_t v, uint32_t il)
{
    struct vs_node n = base(VS_OP_ATTENTION, q);
    n.in[1] = k;
    n.in[2] = v;
    n.p.n_heads = heads_of(b, il);
    n.p.n_kv_heads = kv_heads_of(b, il);
    n.p.head_dim = b->head_dim;
    n.p.value_dim = b->value_dim;
    struct vs_kv_layer kept = { n.p.n_kv_heads, n.p.head_dim, n.p.value_dim };
    if (k != VS_NONE)
        b->kv_index[il] = vs_graph_kv_layer(b->g, &kept);
    n.p.layer = b->kv_index[k != VS_NONE ? il : shared_from(b, il)];
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
        n.tensor[0] = vector(b, (int)il, "attn_sinks.weight", whole(n.p.n_heads), b->arch->sinks == SINKS_IF_THERE);
    return node(b, n, n.p.n_heads * b->value_dim);
}

/* Queries of models with a latent row: from a row of their own, or from x. */
static uint32_t latent_queries(struct builder *b, uint32_t x, int i)
{
    uint32_t width = b->n_heads * (b->latent.plain + b->n_rot), rank = b->latent.q_rank;
    if (!is_there(b, i, "attn_q_a.weight"))
        return linear(b, x, i, "attn_q", b->n_embd, width);
    uint32_t q = linear(b, x, i, "attn_q_a", b->n_embd, rank);
    q = norm(b, q, i, "attn_q_a_norm", rank);
    return linear(b, q, i, "attn_q_b", rank, width);
}

/* The attention of a layer whose keys and values come from one latent row. What heads would make of that row is either made of it
 * here, or their queries are moved to where it is (latent.whole says which). */
static uint32_t attend_latent(struct builder *b, uint32_t x, uint32_t il, uint32_t *ret_width)
{
    int i = (int)il;
    uint32_t rank = b->latent.rank, plain = b->latent.plain, rot = b->n_rot, n = b->n_heads, all = rank + rot, k, v;
    uint32_t q = latent_queries(b, x, i);
    uint32_t row = product(b, x, i, "attn_kv_a_mqa", "attn_kv_a_mqa", VS_NONE, b->n_embd, (struct part){ 0, rank, all });
    uint32_t turns = product(b, x, i, "attn_kv_a_mqa", "attn_kv_a_mqa", VS_NONE, b->n_embd, (struct part){ rank, rot, all });
    row = norm(b, row, i, "attn_kv_a_norm", rank);
    if (b->latent.whole) {
        uint32_t both = linear(b, row, i, "attn_kv_b", rank, n * (plain + b->value_dim));
        k = pick(b, both, n, 0, plain);
        v = pick(b, both, n, plain, b->value_dim);
        k = join(b, k, turns, n, n * b->head_dim);
    } else {
        uint32_t q_turns = pick(b, q, n, plain, rot);
        q = pick(b, q, n, 0, plain);
        q = by_heads(b, q, i, "attn_k_b.weight", plain, rank);
        q = join(b, q, q_turns, n, n * b->head_dim);
        k = join(b, row, turns, 1, b->head_dim);
        v = row;
    }
    if (!b->no_rope) {
        q = rope(b, q, n, 0);
        k = rope(b, k, b->n_kv_heads, 0);
    }
    *ret_width = n * b->latent.value;
    uint32_t o = attended(b, q, k, v, il);
    return b->latent.whole ? o : by_heads(b, o, i, "attn_v_b.weight", rank, b->latent.value);
}

/* The attention of a layer, up to its output matrix. */
static uint32_t attend(struct builder *b, uint32_t x, uint32_t il, uint32_t *ret_width)
{
    int i = (int)il;
    if (b->arch->local_heads)
        b->head_dim = b->value_dim = b->windowed[il] ? b->local_dim : b->full_dim;
    uint32_t n_heads = heads_of(b, il), n_kv_heads = kv_heads_of(b, il), q_width = n_heads * b->head_dim;
    uint32_t k_width = n_kv_heads * b->head_dim, v_width = n_kv_heads * b->value_dim, all = q_width + k_width + v_width;
    uint32_t q = b->arch->output_gate ? linear(b, x, i, "attn_q", b->n_embd, 2 * q_width)
                                      : projection(b, x, i, "attn_q", (struct part){ 0, q_width, all });
    uint32_t gate = b->arch->output_gate ? pick(b, q, n_heads, b->head_dim, b->head_dim) : VS_NONE;
    q = b->arch->output_gate ? pick(b, q, n_heads, 0, b->head_dim) : q;
    bool by_head = b->arch->attention_gate && rows_of_matrix(b, i, "attn_gate.weight") == n_heads;
    if (b->arch->attention_gate)
        gate = linear(b, x, i, "attn_gate", b->n_embd, by_head ? n_heads : n_heads * b->value_dim);
    q = turned(b, q, il, "attn_q_norm", n_heads);
    *ret_width = n_heads * b->value_dim;
    if (il >= b->n_own)
        return attended(b, q, VS_NONE, VS_NONE, il);
    uint32_t k = projection(b, x, i, "attn_k", (struct part){ q_width, k_width, all });
    bool same = b->arch->value_norm && !is_there(b, i, "attn_v.weight") && !is_there(b, i, "attn_qkv.weight");
    uint32_t v = same ? pick(b, k, 1, 0, v_width) : projection(b, x, i, "attn_v", (struct part){ q_width + k_width, v_width, all });
    k = turned(b, k, il, "attn_k_norm", n_kv_heads);
    v = b->arch->value_norm ? bare_head_norm(b, v, n_kv_heads) : v;

    uint32_t o = attended(b, q, k, v, il);
    enum vs_activation act = b->arch->attention_gate == GATE_SOFTPLUS ? VS_ACT_SOFTPLUS : VS_ACT_SIGMOID;
    if (by_head)
        return gated_by(b, o, gate, n_heads, act, *ret_width);
    return gate == VS_NONE ? o : times_act(b, gate, o, *ret_width, act);
}

/* ---- recurrent layers ---- */

/* The convolution STEM.weight (+ STEM.bias) over each channel's last positions; before and after: what its input and its result
 * are multiplied by, or VS_NONE. */
static uint32_t convolution(struct builder *b, uint32_t x, uint32_t before, uint32_t after, int layer, const char *stem,
                            uint32_t width, enum vs_activation act)
{
    char suffix[48];
    struct vs_node n = base(VS_OP_CONV, x);
    n.in[1] = before;
    n.in[2] = after;
    snprintf(suffix, sizeof suffix, "%s.weight", stem);
    n.tensor[0] = is_deep(b, layer, suffix) ? deep_vector(b, layer, suffix, b->n_taps, width)
                                            : vector_of_rows(b, layer, suffix, b->n_taps, width);
    snprintf(suffix, sizeof suffix, "%s.bias", stem);
    n.tensor[1] = vector(b, layer, suffix, whole(width), true);
    n.p.activation = act;
    n.p.n_taps = b->n_taps;
    n.p.state = b->g->n_state;
    b->g->n_state += (size_t)(b->n_taps - 1) * width;
    return node(b, n, width);
}

/* LFM2's: c * conv(b * x), all three from one matrix. */
static uint32_t short_convolution(struct builder *b, uint32_t x, int layer, uint32_t *ret_width)
{
    uint32_t part[3], n = b->n_embd;
    for (uint32_t k = 0; k < 3; k++)
        part[k] = product(b, x, layer, "shortconv.in_proj", "shortconv.in_proj", VS_NONE, n, (struct part){ k * n, n, 3 * n });
    *ret_width = n;
    return convolution(b, part[2], part[0], part[1], layer, "shortconv.conv", n, VS_ACT_NONE);
}

/* RMS norm of each of so many equal parts of x; the weight of all is STEM.weight, or there is none (stem NULL). */
static uint32_t group_norm(struct builder *b, uint32_t x, int layer, const char *stem, uint32_t n_groups, uint32_t width)
{
    char suffix[48];
    struct vs_node n = base(VS_OP_GROUP_NORM, x);
    snprintf(suffix, sizeof suffix, "%s.weight", stem ? stem : "");
    if (stem)
        n.tensor[0] = vector_of_rows(b, layer, suffix, width / n_groups, n_groups);
    n.p.n_heads = n_groups;
    n.p.eps = b->eps;
    return node(b, n, width);
}

static uint32_t state_of(struct builder *b, struct vs_node n, size_t n_state, uint32_t width)
{
    n.p.state = b->g->n_state;
    n.p.n_state = b->n_state;
    b->g->n_state += n_state;
    return node(b, n, width);
}

static uint32_t mamba2(struct builder *b, uint32_t x, int layer, uint32_t *ret_width)
{
    uint32_t inner = b->inner, conv = inner + 2 * b->ssm_groups * b->n_state, all = inner + conv + b->ssm_heads;
    uint32_t z = product(b, x, layer, "ssm_in", "ssm_in", VS_NONE, b->n_embd, (struct part){ 0, inner, all });
    uint32_t xbc = product(b, x, layer, "ssm_in", "ssm_in", VS_NONE, b->n_embd, (struct part){ inner, conv, all });
    uint32_t dt = product(b, x, layer, "ssm_in", "ssm_in", VS_NONE, b->n_embd, (struct part){ inner + conv, b->ssm_heads, all });
    struct vs_node n = base(VS_OP_SCAN_HEADS, convolution(b, xbc, VS_NONE, VS_NONE, layer, "ssm_conv1d", conv, VS_ACT_SILU));
    n.in[1] = dt;
    n.tensor[0] = vector_of_rows(b, layer, "ssm_a", 1, b->ssm_heads);
    n.tensor[1] = vector_of_rows(b, layer, "ssm_d", 1, b->ssm_heads);
    n.tensor[2] = vector(b, layer, "ssm_dt.bias", whole(b->ssm_heads), false);
    n.p.n_heads = b->ssm_heads;
    n.p.n_kv_heads = b->ssm_groups;
    n.p.head_dim = inner / b->ssm_heads;
    uint32_t y = times_act(b, z, state_of(b, n, (size_t)inner * b->n_state, inner), inner, VS_ACT_SILU);
    *ret_width = inner;
    bool normed = is_there(b, layer, "ssm_norm.weight") || !b->arch->beside;
    return normed ? group_norm(b, y, layer, "ssm_norm", b->ssm_groups, inner) : y;
}

static uint32_t mamba(struct builder *b, uint32_t x, int layer, uint32_t *ret_width)
{
    uint32_t inner = b->inner, rank = b->ssm_rank, bc_width = 2 * b->n_state, all = rank + bc_width;
    uint32_t u = product(b, x, layer, "ssm_in", "ssm_in", VS_NONE, b->n_embd, (struct part){ 0, inner, 2 * inner });
    uint32_t z = product(b, x, layer, "ssm_in", "ssm_in", VS_NONE, b->n_embd, (struct part){ inner, inner, 2 * inner });
    u = convolution(b, u, VS_NONE, VS_NONE, layer, "ssm_conv1d", inner, VS_ACT_SILU);
    uint32_t dt = product(b, u, layer, "ssm_x", "ssm_x", VS_NONE, inner, (struct part){ 0, rank, all });
    uint32_t bc = product(b, u, layer, "ssm_x", "ssm_x", VS_NONE, inner, (struct part){ rank, bc_width, all });
    if (b->norm_steps) {                 /* Falcon's */
        dt = group_norm(b, dt, layer, NULL, 1, rank);
        bc = group_norm(b, bc, layer, NULL, 2, bc_width);
    }
    struct vs_node n = base(VS_OP_SCAN, u);
    n.in[1] = linear(b, dt, layer, "ssm_dt", rank, inner);
    n.in[2] = bc;
    n.tensor[0] = vector_of_rows(b, layer, "ssm_a", b->n_state, inner);
    n.tensor[1] = vector(b, layer, "ssm_d", whole(inner), false);
    *ret_width = inner;
    return times_act(b, z, state_of(b, n, (size_t)inner * b->n_state, inner), inner, VS_ACT_SILU);
}

/* q, k and v of all heads, and the gate of what comes out: two matrices, or (the first files) one by heads of keys. */
static uint32_t delta_inputs(struct builder *b, uint32_t x, int layer, uint32_t *ret_gate)
{
    uint32_t groups = b->ssm_groups, keys = groups * b->n_state, inner = b->inner, values = inner / groups, n = b->n_state;
    if (!is_there(b, layer, "ssm_in.weight")) {
        uint32_t qkv = linear(b, x, layer, "attn_qkv", b->n_embd, inner + 2 * keys);
        *ret_gate = linear(b, x, layer, "attn_gate", b->n_embd, inner);
        return qkv;
    }
    uint32_t all = linear(b, x, layer, "ssm_in", b->n_embd, 2 * (keys + inner));
    uint32_t q = pick(b, all, groups, 0, n), k = pick(b, all, groups, n, n), v = pick(b, all, groups, 2 * n, values);
    *ret_gate = pick(b, all, groups, 2 * n + values, values);
    q = join(b, q, k, 1, 2 * keys);
    return join(b, q, v, 1, 2 * keys + inner);
}

static uint32_t delta_net(struct builder *b, uint32_t x, int layer, uint32_t *ret_width)
{
    uint32_t inner = b->inner, all = inner + 2 * b->ssm_groups * b->n_state, head = inner / b->ssm_heads, z;
    uint32_t qkv = delta_inputs(b, x, layer, &z);
    struct vs_node n = base(VS_OP_DELTA, convolution(b, qkv, VS_NONE, VS_NONE, layer, "ssm_conv1d", all, VS_ACT_SILU));
    n.p.grouped = is_there(b, layer, "ssm_ba.weight");
    if (n.p.grouped) {
        uint32_t each = b->ssm_heads / b->ssm_groups, both = linear(b, x, layer, "ssm_ba", b->n_embd, 2 * b->ssm_heads);
        n.in[1] = pick(b, both, b->ssm_groups, 0, each);
        n.in[2] = pick(b, both, b->ssm_groups, each, each);
    } else {
        n.in[1] = linear(b, x, layer, "ssm_beta", b->n_embd, b->ssm_heads);
        n.in[2] = linear(b, x, layer, "ssm_alpha", b->n_embd, b->ssm_heads);
    }
    n.tensor[0] = vector(b, layer, "ssm_a", whole(b->ssm_heads), false);
    n.tensor[1] = vector(b, layer, "ssm_dt.bias", whole(b->ssm_heads), false);
    n.p.n_heads = b->ssm_heads;
    n.p.n_kv_heads = b->ssm_groups;
    n.p.head_dim = head;
    n.p.eps = b->eps;
    struct vs_node each = base(VS_OP_GROUP_NORM, state_of(b, n, (size_t)inner * b->n_state, inner));
    each.tensor[0] = vector(b, layer, "ssm_norm.weight", whole(head), false);
    each.p.n_heads = b->ssm_heads;
    each.p.eps = b->eps;
    *ret_width = inner;
    return times_act(b, z, node(b, each, inner), inner, VS_ACT_SILU);
}

/* Kimi's: q, k and v have convolutions of their own, each element of a key its own time step. */
static uint32_t kimi_delta(struct builder *b, uint32_t x, int layer, uint32_t *ret_width)
{
    static const char *const stems[] = { "attn_q", "attn_k", "attn_v" };
    static const char *const convolutions[] = { "ssm_conv1d_q", "ssm_conv1d_k", "ssm_conv1d_v" };
    uint32_t inner = b->inner, head = b->n_state, part[3];
    for (uint32_t k = 0; k < 3; k++) {
        part[k] = projection(b, x, layer, stems[k], (struct part){ k * inner, inner, 3 * inner });
        part[k] = convolution(b, part[k], VS_NONE, VS_NONE, layer, convolutions[k], inner, VS_ACT_SILU);
    }
    uint32_t qk = join(b, part[0], part[1], 1, 2 * inner);
    struct vs_node n = base(VS_OP_DELTA, join(b, qk, part[2], 1, 3 * inner)), each = base(VS_OP_GROUP_NORM, VS_NONE);
    n.in[1] = linear(b, x, layer, "ssm_beta", b->n_embd, b->ssm_heads);
    n.in[2] = linear(b, x, layer, "ssm_f_a", b->n_embd, head);
    n.in[2] = linear(b, n.in[2], layer, "ssm_f_b", head, inner);
    uint32_t gate = linear(b, x, layer, "ssm_g_a", b->n_embd, head);
    gate = linear(b, gate, layer, "ssm_g_b", head, inner);
    n.tensor[0] = vector_of_rows(b, layer, "ssm_a", 1, b->ssm_heads);
    n.tensor[1] = vector(b, layer, "ssm_dt.bias", whole(inner), false);
    n.p.n_heads = n.p.n_kv_heads = b->ssm_heads;
    n.p.head_dim = head;
    n.p.eps = b->eps;
    n.p.each_key = true;
    each.in[0] = state_of(b, n, (size_t)inner * head, inner);
    each.tensor[0] = vector(b, layer, "ssm_norm.weight", whole(head), false);
    each.p.n_heads = b->ssm_heads;
    each.p.eps = b->eps;
    *ret_width = inner;
    return times_act(b, gate, node(b, each, inner), inner, VS_ACT_SIGMOID);
}

/* ---- a layer ---- */

/* What the first part of a layer makes of x, up to its output matrix, whose name is *ret_output. */
static uint32_t mix(struct builder *b, uint32_t x, uint32_t il, const char **ret_output, uint32_t *ret_width)
{
    if (!b->recurrent[il]) {
        *ret_output = "attn_output";
        return (b->arch->latent ? attend_latent : attend)(b, x, il, ret_width);
    }
    *ret_output = b->arch->mixer == SHORT_CONVOLUTION ? "shortconv.out_proj" : b->arch->mixer == KDA ? "attn_output" : "ssm_out";
    return b->arch->mixer == SHORT_CONVOLUTION ? short_convolution(b, x, (int)il, ret_width)
         : b->arch->mixer == DELTA_NET ? delta_net(b, x, (int)il, ret_width)
         : b->arch->mixer == KDA ? kimi_delta(b, x, (int)il, ret_width)
         : b->arch->mixer == MAMBA ? mamba(b, x, (int)il, ret_width) : mamba2(b, x, (int)il, ret_width);
}

/* Of the last layer only rows that are read go on; the others leave their keys and values, or their state. */
static uint32_t read_rows(struct builder *b, uint32_t x, uint32_t il, uint32_t width)
{
    return il + 1 == b->n_layers && b->loop + 1 == b->n_loops ? node(b, base(VS_OP_TAKE_OUT, x), width) : x;
}

/* A layer of one part. */
static uint32_t short_layer(struct builder *b, uint32_t h, uint32_t il)
{
    int i = (int)il;
    uint32_t x = norm(b, h, i, "attn_norm", b->n_embd), width = b->n_embd;
    const char *output = NULL;
    bool feeds = !b->recurrent[il] && b->feeds[il];
    if (!feeds)
        x = mix(b, x, il, &output, &width);
    x = read_rows(b, x, il, width);
    h = read_rows(b, h, il, b->n_embd);          /* before the matrix, which then adds it */
    return feeds ? add_feed_forward(b, h, x, h, il) : add(b, h, linear(b, x, i, output, width, b->n_embd));
}

/* A layer of deci: attention, or its output matrix alone, or neither; a feed-forward part or none. */
static uint32_t loose_layer(struct builder *b, uint32_t h, uint32_t il)
{
    int i = (int)il;
    uint32_t x = h, width = b->n_embd;
    if (b->heads[il])
        x = norm(b, h, i, "attn_norm", b->n_embd);
    if (b->kv_heads[il])
        x = attend(b, x, il, &width);
    x = read_rows(b, x, il, width);
    h = read_rows(b, h, il, b->n_embd);
    if (b->heads[il])
        h = add(b, h, linear(b, x, i, "attn_output", width, b->n_embd));
    return b->feeds[il] ? add(b, h, feed_forward(b, norm(b, h, i, "ffn_norm", b->n_embd), i)) : h;
}

/* h and what a layer makes of the token's embedding for it. */
static uint32_t add_layer_input(struct builder *b, uint32_t h, uint32_t il)
{
    int i = (int)il;
    uint32_t n = b->layer_width, mine = pick(b, b->layer_inputs, 1, il * n, n);
    mine = read_rows(b, mine, il, n);
    uint32_t x = times_act(b, linear(b, h, i, "inp_gate", b->n_embd, n), mine, n, VS_ACT_GELU_TANH);
    x = linear(b, x, i, "proj", n, b->n_embd);
    return add(b, h, norm(b, x, i, "post_norm", b->n_embd));
}

/* What layers get of a token beside h: its embedding for all of them, and what is made of h. */
static uint32_t layer_inputs(struct builder *b, uint32_t h)
{
    uint32_t all = b->layer_width * b->n_layers;
    struct vs_node embed = base(VS_OP_EMBED, VS_NONE), each = base(VS_OP_GROUP_NORM, VS_NONE), both = base(VS_OP_ADD, VS_NONE);
    embed.tensor[0] = tensor(b, -1, "per_layer_token_embd.weight", all, whole(b->n_vocab), false);
    embed.p.scale = vs_sqrtf((float)b->layer_width);
    both.in[1] = node(b, embed, all);
    each.in[0] = scaled(b, linear(b, h, -1, "per_layer_model_proj", b->n_embd, all), 1.0f / vs_sqrtf((float)b->n_embd), all);
    each.tensor[0] = vector(b, -1, "per_layer_proj_norm.weight", whole(b->layer_width), false);
    each.p.n_heads = b->n_layers;
    each.p.eps = b->eps;
    both.in[0] = node(b, each, all);
    return scaled(b, node(b, both, all), 0.70710678f, all);
}

static uint32_t layer(struct builder *b, uint32_t h, uint32_t il)
{
    const struct architecture *a = b->arch;
    int i = (int)il;
    const char *ffn_norm = a->ffn_norm ? a->ffn_norm : "ffn_norm";
    if (a->one_part)
        return short_layer(b, h, il);
    if (a->loose)
        return loose_layer(b, h, il);

    bool bare = a->no_pre_norm || a->sum_norm || (a->encoder && !i && !is_there(b, i, "attn_norm.weight"));  /* reads h itself */
    uint32_t x = bare ? h : norm(b, h, i, "attn_norm", b->n_embd), beside = x;
    if (b->parallel && is_there(b, i, "attn_norm_2.weight"))         /* Falcon's: for attention alone */
        x = norm(b, h, i, "attn_norm_2", b->n_embd);
    if (b->parallel && is_there(b, i, "ffn_norm.weight"))
        beside = norm(b, h, i, "ffn_norm", b->n_embd);
    const char *output;
    uint32_t width, width_beside = 0, attended = mix(b, x, il, &output, &width);
    uint32_t scanned = a->beside ? mamba2(b, x, i, &width_beside) : VS_NONE;
    if (il + 1 == b->n_layers && b->loop + 1 == b->n_loops) {    /* of the last layer other rows leave their keys, or the state */
        attended = node(b, base(VS_OP_TAKE_OUT, attended), width);
        h = node(b, base(VS_OP_TAKE_OUT, h), b->n_embd);
        if (b->parallel)
            beside = node(b, base(VS_OP_TAKE_OUT, beside), b->n_embd);
        if (a->beside)
            scanned = node(b, base(VS_OP_TAKE_OUT, scanned), width_beside);
    }
    if (a->sub_norms)
        attended = norm(b, attended, i, "attn_sub_norm", width);
    uint32_t o = linear(b, attended, i, output, width, b->n_embd);
    o = scaled(b, o, b->value_scale, b->n_embd);
    if (a->post_norm)
        o = norm(b, o, i, a->attention_post_norm ? a->attention_post_norm : "post_attention_norm", b->n_embd);
    uint32_t before = h;
    h = add(b, h, o);
    if (a->beside)
        h = add(b, h, linear(b, scanned, i, "ssm_out", width_beside, b->n_embd));
    if (a->sum_norm)
        h = norm(b, h, i, "attn_output_norm", b->n_embd);
    if (a->sum_norm && is_there(b, i, "attn_norm_2.weight"))         /* of one that reads programs: the layer's input once more */
        h = norm(b, add(b, before, h), i, "attn_norm_2", b->n_embd);
    x = b->parallel ? beside : a->no_pre_norm || a->sum_norm ? h : norm(b, h, i, ffn_norm, b->n_embd);
    h = add_feed_forward(b, h, x, before, il);
    if (b->layer_width)
        h = add_layer_input(b, h, il);
    if (a->output_scale_tensor && is_there(b, i, "layer_output_scale.weight")) {
        struct vs_node n = base(VS_OP_SCALE, h);
        n.tensor[0] = vector(b, i, "layer_output_scale.weight", whole(1), false);
        h = node(b, n, b->n_embd);
    }
    return a->sum_norm ? norm(b, h, i, "layer_output_norm", b->n_embd) : h;
}

/* ---- rope ---- */

/* rope.scaling.type; true and *ret for a name that is known. What a file without the key means is "linear". */
enum scaling { SCALING_NONE, SCALING_LINEAR, SCALING_YARN, SCALING_LONGROPE };

static enum scaling read_scaling_type(struct builder *b)
{
    static const char *const names[] = { "none", "linear", "yarn", "longrope" };
    char key[128];
    struct vs_str type;
    if (b->status != VS_OK)
        return SCALING_NONE;
    int r = vs_entries_str(vs_gguf_entries(b->file), key_of(b, "rope.scaling.type", key), &type, b->err);
    if (r == VS_E_NOT_FOUND)
        return SCALING_LINEAR;
    if (r != VS_OK) {
        b->status = r;
        return SCALING_NONE;
    }
    for (int i = 0; i <= SCALING_LONGROPE; i++)
        if (strlen(names[i]) == type.n && memcmp(names[i], type.data, type.n) == 0)
            return (enum scaling)i;
    fail(b, VS_E_UNSUPPORTED, "this kind of rope scaling is not supported; supported are none, linear, yarn and longrope", key);
    return SCALING_NONE;
}

static double floor_of(double x)        /* |x| < 2^62 */
{
    double down = (double)(int64_t)x;
    return down > x ? down - 1 : down;
}

/* The pair whose angle turns `beta` times over the original context; not yet whole, nor within the pairs. */
static double pair_of(const struct vs_rope *r, double beta, double context)
{
    return r->n_dims * vs_log64(context / (beta * 2 * 3.14159265358979323846)) / (2 * vs_log64(r->base));
}

/* YaRN: fast pairs keep their angle, slow ones are slowed by the factor, between low and high it is a mixture. */
static void read_yarn(struct builder *b, struct vs_rope *r, double factor, double ext)
{
    uint32_t context = get_u32(b, "rope.scaling.original_context_length", b->g->context, 1, UINT32_C(1) << 30);
    double fast = get_float(b, "rope.scaling.yarn_beta_fast", b->arch->yarn_fast > 0 ? b->arch->yarn_fast : 32, 1e-3, 1e6);
    double slow = get_float(b, "rope.scaling.yarn_beta_slow", 1, 1e-3, 1e6);
    char key[128];
    if (b->status == VS_OK && factor < 1)
        fail(b, VS_E_MALFORMED, "is below 1, which yarn doesn't allow", key_of(b, "rope.scaling.factor", key));
    if (b->status == VS_OK && r->base < 1.001)
        fail(b, VS_E_MALFORMED, "is too small for yarn", key_of(b, "rope.freq_base", key));
    if (b->status != VS_OK)
        return;
    double low = floor_of(pair_of(r, fast, context)), high = -floor_of(-pair_of(r, slow, context));
    r->low = low > 0 ? low : 0;
    r->high = high < r->n_dims - 1 ? high : r->n_dims - 1;
    r->ext = ext;
    double all = get_float(b, "rope.scaling.yarn_log_multiplier", 0, 0, 1e3);
    if (b->arch->latent) {               /* scores are multiplied in place of what is turned; the key holds a tenth already */
        double by = r->magnitude * (1 + all * vs_log64(factor));
        b->attention_scale = (float)((double)b->attention_scale * by * by);
        return;
    }
    r->magnitude *= (1 + 0.1 * vs_log64(factor)) / (1 + 0.1 * all * vs_log64(factor));
}

/* yarn_attn_factor is what the published configuration calls its own magnitude; where it is yarn's, as in OLMo 3, all is well. */
static void check_yarn_factor(struct builder *b, enum scaling type, double factor)
{
    double said = get_float(b, "rope.scaling.yarn_attn_factor", 1, 0, 1e6);
    double yarns = type == SCALING_YARN && factor >= 1 ? 1 + 0.1 * vs_log64(factor) : 1, difference = said - yarns;
    char key[128];
    if (b->status == VS_OK && said != 1 && !(difference > -1e-4 && difference < 1e-4))
        fail(b, VS_E_UNSUPPORTED, "a scale of rotated vectors other than yarn's is not supported",
             key_of(b, "rope.scaling.yarn_attn_factor", key));
}

/* Divisors of the angles: one list (rope_freqs), or two of which the length of the context picks one (longrope). */
static void read_factors(struct builder *b, struct vs_rope *r, enum scaling type)
{
    bool two = type == SCALING_LONGROPE || is_there(b, -1, "rope_factors_long.weight");
    char key[128];
    if (b->arch->local_rope_base > 0)
        return;
    if (two && !(is_there(b, -1, "rope_factors_short.weight") && is_there(b, -1, "rope_factors_long.weight"))) {
        fail(b, VS_E_MALFORMED, "longrope needs the tensors rope_factors_short.weight and rope_factors_long.weight",
             key_of(b, "rope.scaling.type", key));
        return;
    }
    r->factors = vector(b, -1, two ? "rope_factors_short.weight" : "rope_freqs.weight", whole(b->n_rot / 2), !two);
    if (!two)
        return;
    r->long_factors = vector(b, -1, "rope_factors_long.weight", whole(b->n_rot / 2), false);
    r->long_after = get_u32(b, "rope.scaling.original_context_length", b->g->context, 1, UINT32_C(1) << 30);
}

/* How many pairs turn by each of four positions. */
static void read_sections(struct builder *b, struct vs_rope *r)
{
    char key[128];
    const struct vs_entry *kv = vs_entries_find(vs_gguf_entries(b->file), key_of(b, "rope.dimension_sections", key));
    if (!kv || b->status != VS_OK || !b->arch->sections)
        return;
    uint64_t all = 0;
    for (uint32_t i = 0; i < 4; i++) {
        uint64_t v;
        if (kv->type != VS_ENTRY_ARRAY || kv->count != 4 || !vs_entry_uint(kv, i, &v) || v > VS_MAX_HEAD_DIM) {
            fail(b, VS_E_MALFORMED, "is not a list of four numbers of pairs", key);
            return;
        }
        r->sections[i] = (uint32_t)v;
        all += v;
    }
    if (!all)
        fail(b, VS_E_MALFORMED, "has no pair", key);
    r->interleaved = b->arch->sections == SECTIONS_INTERLEAVED;
    r->neox = true;                      /* also where those without sections turn neighbours */
}

/* ropes[0] is that of layers that see everything, ropes[1] that of the others. */
static void read_ropes(struct builder *b)
{
    if (!b->n_heads)
        return;
    enum scaling type = read_scaling_type(b);
    double factor = get_float(b, "rope.scaling.factor", 0, 0, 1e6);
    char key[128];
    if (b->status == VS_OK && !vs_entries_find(vs_gguf_entries(b->file), key_of(b, "rope.scaling.factor", key)))
        factor = get_float(b, "rope.scale_linear", 0, 0, 1e6);
    if (type == SCALING_NONE || factor == 0)
        factor = 1;
    struct vs_rope r = { .n_dims = b->n_rot, .neox = b->arch->neox, .factors = VS_NONE, .long_factors = VS_NONE };
    r.base = get_float(b, "rope.freq_base", 10000, 1, 1e12);
    r.magnitude = get_float(b, "rope.scaling.attn_factor", 1, 1e-3, 1e3);
    double alpha = b->arch->rope_alpha ? get_float(b, "rope.scaling.alpha", 0, 0, 1e6) : 0;
    if (alpha > 0 && b->head_dim > 2)
        r.base *= vs_pow64(alpha, b->head_dim / (b->head_dim - 2.0));
    read_sections(b, &r);
    struct vs_rope local = r;
    double ext = get_float(b, "rope.scaling.yarn_ext_factor", type == SCALING_YARN, 0, 1);
    r.freq_scale = 1 / factor;
    check_yarn_factor(b, type, factor);
    if (ext > 0)
        read_yarn(b, &r, factor, ext);
    read_factors(b, &r, type);
    b->g->ropes[0] = r;
    b->g->n_ropes = 1;
    local.freq_scale = 1;
    if (!b->arch->local_rope_plain)
        local = r;
    if (b->arch->windows)
        local.base = get_float(b, "rope.freq_base_swa", b->arch->local_rope_base > 0 ? b->arch->local_rope_base : r.base, 1, 1e12);
    local.n_dims = b->local_rot;
    if (b->arch->local_rope_bare)
        local.magnitude = 1;
    if (b->any_local)
        b->g->ropes[b->g->n_ropes++] = local;
}

/* ---- hyper-parameters of the whole ---- */

/* A model without windows may still name one, which says nothing as long as the context fits into it. */
static void refuse_window(struct builder *b)
{
    char key[128], what[160];
    uint32_t window = get_u32(b, "attention.sliding_window", 0, 0, UINT32_MAX);
    if (b->status != VS_OK || !window || window >= b->g->context)
        return;
    snprintf(what, sizeof what, "is %u, less than context_length (%u): windows are not supported for this architecture", window,
             b->g->context);
    fail(b, VS_E_UNSUPPORTED, what, key_of(b, "attention.sliding_window", key));
}

/* Which layers see only the window: a list with a yes or no for each layer, or a period n (the last of n sees all; 0: none
 * does). */
static void read_windows(struct builder *b)
{
    char key[128];
    const struct vs_entry *kv = vs_entries_find(vs_gguf_entries(b->file), key_of(b, "attention.sliding_window_pattern", key));
    if (!b->arch->windows) {
        refuse_window(b);
        return;
    }
    bool list = kv && kv->type == VS_ENTRY_ARRAY;
    b->window = get_u32(b, "attention.sliding_window", b->arch->default_window, 0, UINT32_C(1) << 30);
    if (!kv && b->arch->windows_at && b->arch->windows_at != b->n_layers)
        b->window = 0;
    uint32_t period = list ? 0 : get_u32(b, "attention.sliding_window_pattern", b->arch->window_period, 0, UINT32_C(1) << 30);
    for (uint32_t i = 0; i < b->n_layers && b->status == VS_OK; i++) {
        uint32_t dense = b->arch->dense_first ? 0 : period - 1;
        bool local = list ? in_range(b, key, list_u64(b, key, kv, i), 0, 1) : !period || i % period != dense;
        b->windowed[i] = b->window && local;
        b->any_local |= b->windowed[i];
    }
}

/* Which layers have keys and values of their own, and what else one layer has from elsewhere. */
static void read_shared(struct builder *b)
{
    char key[128];
    uint32_t shared = b->arch->shared_kv ? get_u32(b, "attention.shared_kv_layers", 0, 0, b->n_layers - 1) : 0;
    b->n_own = b->n_layers - shared;
    for (uint32_t i = b->n_own; i < b->n_layers && b->status == VS_OK; i++) {
        uint32_t from = shared_from(b, i);
        if (b->n_own < 2 || b->windowed[from] != b->windowed[i] || kv_heads_of(b, from) != kv_heads_of(b, i))
            fail(b, VS_E_MALFORMED, "names layers that have none of their kind before them",
                 key_of(b, "attention.shared_kv_layers", key));
    }
    b->layer_width = b->arch->layer_inputs ? get_u32(b, "embedding_length_per_layer_input", 0, 0, MAX_WIDTH) : 0;
    if (b->status == VS_OK && (uint64_t)b->layer_width * b->n_layers > MAX_WIDTH)
        fail(b, VS_E_MALFORMED, "is too large for so many layers", key_of(b, "embedding_length_per_layer_input", key));
}

/* Which layers have a rope. */
static void read_rope_list(struct builder *b)
{
    char key[128];
    const struct vs_entry *kv = vs_entries_find(vs_gguf_entries(b->file), key_of(b, "attention.rope_pattern", key));
    if (!b->arch->rope_list || !kv || b->status != VS_OK)
        return;
    if (kv->type != VS_ENTRY_ARRAY)
        fail(b, VS_E_MALFORMED, "is not a list", key);
    for (uint32_t i = 0; i < b->n_layers && b->status == VS_OK; i++)
        in_range(b, key, list_u64(b, key, kv, i), 0, 1);
    b->rope_list = kv;
}

/* What window layers could have of their own must be as in the others. */
static void refuse_other_sizes(struct builder *b)
{
    const struct { const char *suffix; uint32_t n; } sizes[] = {
        { "attention.key_length_swa", b->head_dim }, { "attention.value_length_swa", b->head_dim },
        { b->arch->local_rot ? "rope.dimension_count" : "rope.dimension_count_swa", b->n_rot },
    };
    char key[128];
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes && !b->arch->local_heads; i++)
        if (get_u32(b, sizes[i].suffix, sizes[i].n, 0, UINT32_MAX) != sizes[i].n && b->status == VS_OK)
            fail(b, VS_E_UNSUPPORTED, "window layers of another size are not supported", key_of(b, sizes[i].suffix, key));
}

/* How the file wants vectors made. */
static void read_pooling(struct builder *b)
{
    char key[128];
    if (vs_entries_find(vs_gguf_entries(b->file), key_of(b, "pooling_type", key)))
        b->g->pooling = (enum vs_pooling)(VS_POOL_NONE + get_u32(b, "pooling_type", -1, 0, VS_POOL_RANK - VS_POOL_NONE));
}

static bool is_named(struct vs_str s, const char *name)
{
    return s.n == strlen(name) && memcmp(s.data, name, s.n) == 0;
}

/* modern-bert may have something in place of its GELU. */
static void read_activation(struct builder *b)
{
    char key[128];
    struct vs_str name;
    if (b->status != VS_OK || strcmp(b->arch->name, "modern-bert") != 0)
        return;
    int r = vs_entries_str(vs_gguf_entries(b->file), key_of(b, "hidden_activation", key), &name, b->err);
    if (r == VS_OK && !is_named(name, "gelu"))
        fail(b, VS_E_UNSUPPORTED, "is not gelu; another activation is not supported", key);
    else if (r != VS_OK && r != VS_E_NOT_FOUND)
        b->status = r;
}

/* What a token sees: what came before it, or all. */
static void read_sight(struct builder *b)
{
    char key[128];
    bool causal = !b->arch->encoder;
    if (b->status != VS_OK)
        return;
    int r = vs_entries_bool(vs_gguf_entries(b->file), key_of(b, "attention.causal", key), &causal, b->err);
    if (r != VS_OK && r != VS_E_NOT_FOUND) {
        b->status = r;
        return;
    }
    if (causal && b->arch->encoder)
        fail(b, VS_E_UNSUPPORTED, "is true: an encoder whose tokens do not see those after them is not supported", key);
    else if (!causal && !b->arch->encoder && (b->arch->windows || b->arch->mixer != ATTENTION_ALONE))
        fail(b, VS_E_UNSUPPORTED, "is false: windows and convolutions to both sides are not supported for this architecture", key);
    b->both_ways = b->g->whole = !causal;
    if (!b->arch->alibi_layers || b->n_layers == b->arch->alibi_layers)
        b->alibi = b->arch->alibi;
    if (b->arch->alibi_by_key)
        b->alibi = (float)get_float(b, "attention.max_alibi_bias", (double)b->alibi, 0, 1e3);
}

static void read_parallel(struct builder *b)
{
    char key[128];
    uint64_t v = 1;
    const struct vs_entry *kv = vs_entries_find(vs_gguf_entries(b->file), key_of(b, "use_parallel_residual", key));
    b->parallel = b->arch->parallel == PARALLEL;
    if (b->arch->parallel == PARALLEL_WITHOUT_NORM)
        b->parallel = !is_there(b, 0, "ffn_norm.weight");
    if (b->arch->parallel == PARALLEL_BY_KEY && kv && !vs_entry_uint(kv, 0, &v))
        fail(b, VS_E_MALFORMED, "is not true or false", key);
    else if (b->arch->parallel == PARALLEL_BY_KEY)
        b->parallel = v != 0;
}

/* Which layers have experts. Without experts nothing may be said about them. */
static void read_experts(struct builder *b)
{
    static const char *const others[] = { "expert_used_count", "expert_shared_count", "expert_feed_forward_length",
                                          "expert_shared_feed_forward_length", "expert_group_count", "expert_group_used_count",
                                          "expert_gating_func", "expert_weights_norm", "leading_dense_block_count" };
    char key[128];
    b->expert_step = 1;
    b->gating = b->arch->experts.gating;
    if (!b->arch->experts.gating)
        return;                          /* keys.c refused them */
    b->n_experts = get_u32(b, "expert_count", 0, 0, VS_MAX_EXPERTS);
    for (size_t i = 0; i < sizeof others / sizeof *others && !b->n_experts && b->status == VS_OK; i++) {
        uint64_t v;
        const struct vs_entry *kv = vs_entries_find(vs_gguf_entries(b->file), key_of(b, others[i], key));
        for (uint64_t k = 0; kv && k < kv->count; k++)
            if (!vs_entry_uint(kv, k, &v) || v)
                fail(b, VS_E_MALFORMED, "has no meaning without expert_count", key);
    }
    double scale = b->n_experts ? 1 : get_float(b, "expert_weights_scale", 0, 0, 1e6);
    if (scale != 0 && scale != 1)
        fail(b, VS_E_MALFORMED, "has no meaning without expert_count", key_of(b, "expert_weights_scale", key));
    if (!b->n_experts)
        return;
    b->expert_row = b->arch->experts.narrow ? get_u32(b, "moe_latent_size", 0, 0, MAX_WIDTH) : 0;
    b->expert_row = b->expert_row ? b->expert_row : b->n_embd;
    b->expert_period = b->arch->experts.period ? get_u32(b, "moe_every_n_layers", b->arch->experts.period, 1, MAX_LAYERS) : 0;
    b->n_dense = get_u32(b, "leading_dense_block_count", 0, 0, b->n_layers);
    b->expert_step = get_u32(b, "interleave_moe_layer_step", 1, 0, b->n_layers);
    b->expert_step = b->expert_step ? b->expert_step : 1;
}

/* Constants that scale or bound what flows through the model. */
static void read_scales(struct builder *b)
{
    const struct architecture *a = b->arch;
    double depth = a->depth_scale > 0 ? a->depth_scale / (double)vs_sqrtf((float)b->n_layers) : 1;
    b->embedding_scale = a->scale_embedding ? vs_sqrtf((float)b->n_embd) : 1;
    b->residual_scale = b->logit_scale = b->value_scale = 1;
    if (a->value_scale)
        b->value_scale = (float)get_float(b, "attention.value_scale", 1, 1e-6, 1e6);
    b->n_loops = a->loops ? get_u32(b, "num_loops", 1, 1, MAX_LAYERS / b->n_layers) : 1;
    if (a->scales) {
        double embedding = get_float(b, "embedding_scale", 0, 0, 1e6), residual = get_float(b, "residual_scale", 0, 0, 1e6);
        double logits = get_float(b, "logit_scale", 0, 0, 1e6);
        if (logits == 0)
            logits = a->logit_width > 0 ? b->n_embd / a->logit_width : a->logit_scale > 0 ? a->logit_scale : 1;
        b->embedding_scale = (float)(embedding > 0 ? embedding : a->embedding_scale > 0 ? a->embedding_scale : 1);
        b->residual_scale = (float)(residual > 0 ? residual : depth);
        b->logit_scale = (float)(a->multiply_logits ? logits : 1 / logits);
    }
    if (a->capped) {
        b->attention_cap = (float)get_float(b, "attn_logit_softcapping", a->attention_softcap, 0, 1e6);
        b->logit_cap = (float)get_float(b, "final_logit_softcapping", a->softcap, 0, 1e6);
    }
    if (a->full_temperature > 0 && b->any_local) {
        b->temperature = (float)a->full_temperature;
        b->temperature_length = b->window;
    }
    if (a->temperature) {
        b->temperature = (float)get_float(b, "attention.temperature_scale", 0, 0, 1e3);
        b->temperature_length = get_u32(b, "rope.scaling.original_context_length", b->g->context, 1, UINT32_C(1) << 30);
        if (a->latent)
            b->temperature_length = get_u32(b, "attention.temperature_length", b->temperature_length, 1, UINT32_C(1) << 30);
    }
}

/* Sizes of recurrent layers. */
static void read_state(struct builder *b)
{
    if (b->arch->mixer == SHORT_CONVOLUTION)
        b->n_taps = get_u32(b, "shortconv.l_cache", -1, 1, VS_MAX_TAPS);
    if (b->arch->mixer < MAMBA)
        return;
    bool heads = b->arch->mixer != MAMBA;
    b->n_taps = get_u32(b, "ssm.conv_kernel", -1, 1, VS_MAX_TAPS);
    if (b->arch->mixer == KDA) {
        b->n_state = get_u32(b, "kda.head_dim", -1, 1, VS_MAX_STATE);
        b->ssm_heads = b->n_heads;
        b->inner = b->n_heads * b->n_state;
        return;
    }
    b->inner = get_u32(b, "ssm.inner_size", -1, 1, MAX_WIDTH);
    b->n_state = get_u32(b, "ssm.state_size", -1, 1, VS_MAX_STATE);
    b->ssm_rank = b->ssm_heads = get_u32(b, "ssm.time_step_rank", -1, 1, heads ? MAX_HEADS : MAX_WIDTH);
    b->ssm_groups = heads ? get_u32(b, "ssm.group_count", -1, 1, MAX_GROUPS) : 1;
    b->norm_steps = get_bool(b, "ssm.dt_b_c_rms", false);
    if (b->status != VS_OK || !heads)
        return;
    if (b->inner % b->ssm_heads || b->inner / b->ssm_heads > VS_MAX_HEAD_DIM)
        fail(b, VS_E_MALFORMED, "ssm.inner_size is not ssm.time_step_rank heads of 1 to 512", b->arch->name);
    else if (b->ssm_heads % b->ssm_groups || b->inner % b->ssm_groups)
        fail(b, VS_E_MALFORMED, "ssm.time_step_rank is not a multiple of ssm.group_count", b->arch->name);
}

/* Which layers have no keys, and which are a feed-forward part alone. */
static void read_kinds(struct builder *b)
{
    char key[128];
    uint32_t period = b->arch->attention_period;
    const struct vs_entry *listed = vs_entries_find(vs_gguf_entries(b->file), key_of(b, "attention.recurrent_layers", key));
    if (listed && listed->type != VS_ENTRY_ARRAY)
        fail(b, VS_E_MALFORMED, "is not a list", key);
    period = period ? get_u32(b, "full_attention_interval", period, 1, MAX_LAYERS) : 0;
    bool none = b->arch->mixer != ATTENTION_ALONE && !b->arch->beside, own = b->arch->loose;
    bool may_lack = b->arch->one_part || b->n_experts || own;
    b->n_heads = attention_u32(b, "attention.head_count", NULL, MAX_HEADS, b->heads);
    b->n_kv_heads = attention_u32(b, "attention.head_count_kv", b->heads, MAX_HEADS, b->kv_heads);
    for (uint32_t i = 0; i < b->n_layers && b->status == VS_OK; i++) {
        b->feeds[i] = layer_u32(b, "feed_forward_length", i, may_lack && !own ? 0 : -1, !may_lack, MAX_WIDTH) > 0;
        b->recurrent[i] = !b->kv_heads[i] || (listed ? list_u64(b, key, listed, i) != 0 : period && (i + 1) % period != 0);
        b->recurrent[i] = none && b->recurrent[i] && !(b->arch->one_part && b->feeds[i]);
    }
    if (b->status == VS_OK && b->n_kv_heads && !b->n_heads)
        fail(b, VS_E_MALFORMED, "attention.head_count is 0 in every layer", b->arch->name);
    b->n_heads = b->n_kv_heads ? b->n_heads : 0;         /* no layer has attention */
    for (uint32_t i = 0; i < b->n_layers && b->status == VS_OK; i++) {
        uint32_t heads = heads_of(b, i), kv_heads = kv_heads_of(b, i);
        if (kv_heads && (!heads || heads % kv_heads != 0))
            fail(b, VS_E_MALFORMED, "attention.head_count is not a multiple of attention.head_count_kv", b->arch->name);
    }
}

/* The sizes of heads whose keys and values come from a latent row. Files that hold what moves queries to it say how large a head is
 * in keys of its own; the others have attn_kv_b. */
static void read_latent(struct builder *b)
{
    char key[128];
    uint32_t max = VS_MAX_HEAD_DIM;
    bool own = vs_entries_find(vs_gguf_entries(b->file), key_of(b, "attention.key_length_mla", key)) != NULL;
    uint32_t first = 0;
    while (first + 1 < b->n_layers && b->recurrent[first])
        first++;
    b->latent.whole = !is_there(b, (int)first, "attn_k_b.weight");
    b->latent.rank = get_u32(b, "attention.kv_lora_rank", -1, 1, max);
    b->latent.q_rank = get_u32(b, "attention.q_lora_rank", 0, 0, MAX_WIDTH);
    b->n_rot = get_u32(b, "rope.dimension_count", -1, 2, max);
    uint32_t both = b->latent.rank + b->n_rot;
    uint32_t length = get_u32(b, own ? "attention.key_length_mla" : "attention.key_length", -1, 1, max);
    b->latent.value = get_u32(b, own ? "attention.value_length_mla" : "attention.value_length", -1, 1, max);
    if (b->status != VS_OK)
        return;
    if (b->n_rot % 2 || b->n_rot >= length)
        fail(b, VS_E_MALFORMED, "rope.dimension_count must be even and less than the size of a key", b->arch->name);
    else if (both > max)
        fail(b, VS_E_UNSUPPORTED, "kv_lora_rank + rope.dimension_count is above 576, which is not supported", b->arch->name);
    else if (b->n_kv_heads != b->n_heads && (b->latent.whole || b->n_kv_heads != 1))
        fail(b, VS_E_MALFORMED, "must be 1, or as attention.head_count where the layers have no attn_k_b.weight",
             key_of(b, "attention.head_count_kv", key));
    else if (own && !b->latent.whole && get_u32(b, "attention.key_length", both, 1, max) != both)
        fail(b, VS_E_MALFORMED, "is not kv_lora_rank + rope.dimension_count", key_of(b, "attention.key_length", key));
    else if (own && !b->latent.whole && get_u32(b, "attention.value_length", b->latent.rank, 1, max) != b->latent.rank)
        fail(b, VS_E_MALFORMED, "is not kv_lora_rank", key_of(b, "attention.value_length", key));
    b->latent.plain = length - b->n_rot;
    b->n_kv_heads = b->latent.whole ? b->n_heads : 1;
    b->head_dim = b->latent.whole ? length : b->latent.rank + b->n_rot;
    b->value_dim = b->latent.whole ? b->latent.value : b->latent.rank;
    b->rope_first = b->head_dim - b->n_rot;
    b->local_rot = b->n_rot;
    b->no_rope = b->arch->no_rope;
    double scale = get_float(b, "attention.scale", 0, 0, 1e3);
    b->attention_scale = scale > 0 ? (float)scale : 1.0f / vs_sqrtf((float)length);
    if ((b->n_blocks == 47 || b->n_blocks == 48) && is_there(b, (int)b->n_layers - 1, "exp_probs_b.bias"))
        b->gating = VS_GATING_SIGMOID;           /* the first files of GLM-4.7-Flash don't say it */
}

/* Beyond so many positions the model would do what we do not: an indexer's choice of keys, for one. */
static void end_context(struct builder *b, const char *suffix, int64_t preset)
{
    uint32_t most = get_u32(b, suffix, preset, preset != 0, UINT32_C(1) << 30);
    if (most && b->g->context > most)
        b->g->context = most;
}

static void read_heads(struct builder *b)
{
    char key[128];
    if (b->arch->latent) {
        read_latent(b);
        return;
    }
    bool has_key_length = vs_entries_find(vs_gguf_entries(b->file), key_of(b, "attention.key_length", key)) != NULL;
    if (!has_key_length && b->n_embd % b->n_heads != 0) {
        fail(b, VS_E_MALFORMED, "embedding_length is not a multiple of attention.head_count", b->arch->name);
        return;
    }
    uint32_t head = b->n_embd / b->n_heads;
    b->head_dim = get_u32(b, "attention.key_length", head, 1, VS_MAX_HEAD_DIM);
    uint32_t value_dim = get_u32(b, "attention.value_length", b->head_dim, 1, VS_MAX_HEAD_DIM);
    b->n_rot = get_u32(b, "rope.dimension_count", b->head_dim, 2, VS_MAX_HEAD_DIM);
    if (b->status != VS_OK)
        return;
    if (b->head_dim > VS_MAX_HEAD_DIM || b->head_dim < 1)
        fail(b, VS_E_MALFORMED, "the head size is out of range (1 to 512)", b->arch->name);
    else if (value_dim != b->head_dim && b->arch->output_gate)
        fail(b, VS_E_UNSUPPORTED, "attention.key_length and value_length differ, which is not supported", b->arch->name);
    else if (b->n_rot > b->head_dim || b->n_rot % 2)
        fail(b, VS_E_MALFORMED, "rope.dimension_count must be even and at most the head size", b->arch->name);
    b->value_dim = value_dim;
    b->local_rot = b->arch->local_rot ? get_u32(b, "rope.dimension_count_swa", b->n_rot, 2, VS_MAX_HEAD_DIM)
                                         : b->n_rot;
    if (b->status == VS_OK && !b->arch->local_heads && b->local_rot > b->head_dim)
        fail(b, VS_E_MALFORMED, "is above the head size", key_of(b, "rope.dimension_count_swa", key));
    if (b->status == VS_OK && b->local_rot % 2)
        fail(b, VS_E_MALFORMED, "is odd", key_of(b, "rope.dimension_count_swa", key));
    b->full_dim = b->local_dim = b->head_dim;
    if (b->arch->local_heads) {
        b->local_dim = get_u32(b, "attention.key_length_swa", b->head_dim, 2, VS_MAX_HEAD_DIM);
        b->local_rot = get_u32(b, "rope.dimension_count_swa", b->local_dim, 2, b->local_dim);
        if (b->status == VS_OK && (value_dim != b->head_dim
                                   || get_u32(b, "attention.value_length_swa", b->local_dim, 1, VS_MAX_HEAD_DIM) != b->local_dim))
            fail(b, VS_E_UNSUPPORTED, "keys and values of different sizes are not supported", b->arch->name);
    }
    double scale = b->arch->output_scale > 0 ? get_float(b, "attention.output_scale", b->arch->output_scale, 1e-6, 1e3)
                                             : get_float(b, "attention.scale", 0, 0, 1e3);
    uint32_t by = b->arch->wide_layers && b->n_layers == b->arch->wide_layers ? head : b->head_dim;
    b->attention_scale = scale > 0 ? (float)scale : b->arch->unit_scale ? 1
                       : 1.0f / (b->arch->scale_by_size ? (float)by : vs_sqrtf((float)by));
    b->no_rope = b->arch->no_rope || (b->arch->alibi_layers && b->n_layers == b->arch->alibi_layers)
                 || (b->arch->rope_if_finetuned && !get_bool(b, "rope.scaling.finetuned", true));
    b->clamp = b->arch->clamped ? (float)get_float(b, "attention.clamp_kqv", 0, 0, 1e6) : 0;
    refuse_other_sizes(b);
}

static void read_hyper_parameters(struct builder *b)
{
    char key[128];
    b->n_blocks = get_u32(b, "block_count", -1, 1, MAX_LAYERS);
    b->n_layers = b->n_blocks;
    if (b->n_blocks)
        b->n_layers -= get_u32(b, "nextn_predict_layers", 0, 0, b->n_blocks - 1);
    b->n_embd = get_u32(b, "embedding_length", -1, 1, MAX_WIDTH);
    read_experts(b);
    read_kinds(b);
    b->g->context = get_u32(b, "context_length", -1, 1, UINT32_C(1) << 30);
    if (b->arch->indexer)
        end_context(b, "attention.indexer.top_k", -1);
    if (b->arch->ends_cold)
        end_context(b, "attention.temperature_length", 0);
    if (b->status == VS_OK && b->n_heads)
        read_heads(b);
    const char *rms = "attention.layer_norm_rms_epsilon";
    b->layer_norm = b->arch->layer_norm && !(b->arch->norm_by_key && has_key(b, rms));
    const char *eps = b->layer_norm ? "attention.layer_norm_epsilon" : rms;
    b->eps = (float)get_float(b, eps, -1, 0, 1);
    if (b->arch->other_eps && b->eps < 0)
        b->eps = (float)get_float(b, "attention.layer_norm_epsilon", -1, 0, 1);
    if (b->status == VS_OK && b->eps < 0)
        fail(b, VS_E_MALFORMED, "is missing", key_of(b, eps, key));
    if (b->status != VS_OK)
        return;
    read_state(b);
    read_pooling(b);
    read_sight(b);
    read_activation(b);
    read_parallel(b);
    read_windows(b);
    read_rope_list(b);
    read_shared(b);
    read_scales(b);
}

/* Vocabulary size: the embedding's rows are the truth (some files pad them). */
static void read_vocabulary(struct builder *b)
{
    const struct vs_gguf_tensor *t = vs_gguf_tensor(b->file, "token_embd.weight");
    if (!t) {
        fail(b, VS_E_MALFORMED, "tensor is missing", "token_embd.weight");
        return;
    }
    if (t->ne[1] < 1 || t->ne[1] > (1u << 24)) {
        fail(b, VS_E_MALFORMED, "has no rows, or too many", "token_embd.weight");
        return;
    }
    b->n_vocab = (uint32_t)t->ne[1];
    const struct vs_entry *tokens = vs_entries_find(vs_gguf_entries(b->file), "tokenizer.ggml.tokens");
    if (tokens && tokens->type == VS_ENTRY_ARRAY && tokens->count > b->n_vocab)
        fail(b, VS_E_MALFORMED, "has more tokens than token_embd.weight has rows", "tokenizer.ggml.tokens");
}

static const struct architecture *find_architecture(const struct vs_gguf *g, struct vs_error *err)
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

/* The layer that a tensor's name puts it into; 0 for those of none. Blocks after the last layer guess further tokens, which we
 * don't ask them for. */
static uint32_t block_of(const struct builder *b, const struct vs_gguf_tensor *t)
{
    uint32_t n = 0;
    size_t at = 4;
    if (t->name.n < 6 || memcmp(t->name.data, "blk.", 4) != 0)
        return 0;
    for (; at < t->name.n && t->name.data[at] >= '0' && t->name.data[at] <= '9' && n < MAX_LAYERS; at++)
        n = 10 * n + (uint32_t)(t->name.data[at] - '0');
    return at < t->name.n && t->name.data[at] == '.' && n < b->n_blocks ? n : 0;
}

static bool holds(struct vs_str s, const char *part)
{
    size_t n = strlen(part);
    for (size_t i = 0; i + n <= s.n; i++)
        if (memcmp(s.data + i, part, n) == 0)
            return true;
    return false;
}

/* Tensors that no node reads would be a wrong answer. What serves other machines only may stay. */
static void refuse_unused(struct builder *b)
{
    static const char ending[] = ".input_scale";
    for (size_t i = 0; i < vs_gguf_n_tensors(b->file) && b->status == VS_OK; i++) {
        const struct vs_gguf_tensor *t = vs_gguf_tensor_at(b->file, i);
        size_t n = sizeof ending - 1;
        bool is_indexer = b->arch->indexer && holds(t->name, ".indexer.");
        bool is_shared = b->n_own < b->n_layers && block_of(b, t) >= b->n_own
                         && (holds(t->name, ".attn_k") || holds(t->name, ".attn_v"));
        bool is_output = b->g->whole && (is_named(t->name, "output.weight") || is_named(t->name, "output.bias"));
        if (b->made[i] != VS_NONE || is_output || is_indexer || is_shared || block_of(b, t) >= b->n_layers
            || (t->name.n > n && memcmp(t->name.data + t->name.n - n, ending, n) == 0))
            continue;
        b->status = vs_error_set(b->err, VS_E_UNSUPPORTED,
                                 "model: %s: nothing in a %s model reads this tensor; without it the answers would "
                                 "be wrong", vs_str_shown(t->name).text, b->arch->name);
    }
}

static void read_all(struct builder *b)
{
    b->status = vs_keys_check(b->file, b->arch->name, b->err);
    if (b->status == VS_OK)
        read_hyper_parameters(b);
    if (b->status == VS_OK)
        read_vocabulary(b);
    if (b->status == VS_OK)
        read_ropes(b);
}

/* How many rows a matrix has whose width the file alone knows. */
static uint32_t rows_of(struct builder *b, const char *name, uint32_t most)
{
    const struct vs_gguf_tensor *t = vs_gguf_tensor(b->file, name);
    return t ? in_range(b, name, t->ne[1], 1, most) : 0;
}

/* What is added to the rows of tokens, before the first layer. */
static uint32_t embedded(struct builder *b, uint32_t h)
{
    char what[96];
    if (b->arch->positions == POSITIONS || (b->arch->positions && is_there(b, -1, "position_embd.weight"))) {
        struct vs_node n = base(VS_OP_POSITION, h);
        uint32_t rows = rows_of(b, "position_embd.weight", UINT32_C(1) << 24);
        n.tensor[0] = tensor(b, -1, "position_embd.weight", b->n_embd, whole(rows), false);
        snprintf(what, sizeof what, "has %u rows, and the context is %u", rows, b->g->context);
        if (b->status == VS_OK && rows < b->g->context)
            fail(b, VS_E_MALFORMED, what, "position_embd.weight");
        h = node(b, n, b->n_embd);
    }
    if (b->arch->encoder && is_there(b, -1, "token_types.weight")) {     /* the first is that of a text alone */
        struct vs_node n = base(VS_OP_SCALE, h);
        uint32_t rows = rows_of(b, "token_types.weight", 1024);
        n.p.scale = 1;
        n.tensor[1] = tensor(b, -1, "token_types.weight", b->n_embd, (struct part){ 0, 1, rows }, false);
        if (b->status == VS_OK && b->g->tensors[n.tensor[1]].dtype != VS_F32)
            fail(b, VS_E_UNSUPPORTED, "a norm, bias, scale or rope tensor must be F32", "token_types.weight");
        h = node(b, n, b->n_embd);
    }
    bool normed = b->arch->embedding_norm || (b->arch->encoder && is_there(b, -1, "token_embd_norm.weight"));
    return normed ? norm(b, h, -1, "token_embd_norm", b->n_embd) : h;
}

/* The scores of a model that ranks: of encoders behind one more layer, where they have it. VS_NONE: it does not rank. */
static uint32_t ranks(struct builder *b, uint32_t h)
{
    if (!is_there(b, -1, "cls.output.weight"))
        return VS_NONE;
    if (b->arch->encoder && is_there(b, -1, "cls.weight")) {
        struct vs_node n = base(VS_OP_SOFTCAP, linear(b, h, -1, "cls", b->n_embd, b->n_embd));
        n.p.softcap = 1;                 /* tanh */
        h = node(b, n, b->n_embd);
    }
    return linear(b, h, -1, "cls.output", b->n_embd, rows_of(b, "cls.output.weight", 1024));
}

/* EmbeddingGemma's last two matrices. They follow the mean of the rows; row by row it is the same, as nothing bends between. */
static uint32_t dense_ends(struct builder *b, uint32_t h)
{
    uint32_t width = b->n_embd;
    static const char *const stems[] = { "dense_2", "dense_3" };
    for (int i = 0; i < 2 && b->arch->dense_ends; i++) {
        char name[32];
        snprintf(name, sizeof name, "%s.weight", stems[i]);
        if (!is_there(b, -1, name))
            continue;
        uint32_t n = rows_of(b, name, MAX_WIDTH);
        h = linear(b, h, -1, stems[i], width, n);
        width = n;
    }
    return h;
}

static void build(struct builder *b)
{
    struct vs_graph *g = b->g;
    struct vs_node embed = base(VS_OP_EMBED, VS_NONE);
    embed.tensor[0] = tensor(b, -1, "token_embd.weight", b->n_embd, whole(b->n_vocab), false);
    embed.p.scale = b->embedding_scale;
    uint32_t h = node(b, embed, b->n_embd);
    h = embedded(b, h);
    b->layer_inputs = b->layer_width ? layer_inputs(b, h) : VS_NONE;
    bool between = !get_bool(b, "skip_loop_final_norm", false);
    for (b->loop = 0; b->loop < b->n_loops && b->status == VS_OK; b->loop++) {
        for (uint32_t i = 0; i < b->n_layers && b->status == VS_OK; i++)
            h = layer(b, h, i);
        if (between && b->loop + 1 < b->n_loops)
            h = norm(b, h, -1, "output_norm", b->n_embd);
    }
    bool other = b->arch->final_norm && !is_there(b, -1, "output_norm.weight");
    if (!b->arch->sum_norm)
        h = norm(b, h, -1, other ? b->arch->final_norm : "output_norm", b->n_embd);
    uint32_t tied = is_there(b, -1, "output.weight") ? VS_NONE : embed.tensor[0];
    g->output[VS_OUTPUT_SCORE] = ranks(b, h);
    g->output[VS_OUTPUT_VECTOR] = dense_ends(b, h);
    g->n_layers = b->n_layers;
    g->n_vocab = b->n_vocab;
    g->n_embd = b->n_embd;
    if (g->whole)
        return;                          /* no token follows from what has seen them all */
    uint32_t logits = product(b, h, -1, "output", "output", tied, b->n_embd, whole(b->n_vocab));
    logits = scaled(b, logits, b->logit_scale, b->n_vocab);
    if (b->logit_cap > 0) {
        struct vs_node n = base(VS_OP_SOFTCAP, logits);
        n.p.softcap = b->logit_cap;
        logits = node(b, n, b->n_vocab);
    }
    g->output[VS_OUTPUT_LOGITS] = logits;
}

const char *vs_llm_architecture(size_t i)
{
    return i < N_ARCHITECTURES ? architectures[i].name : NULL;
}

/* An adapter that only half of it counts of would answer wrong. */
static void check_adapted(struct builder *b)
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

int vs_import_llm(const struct vs_gguf *file, struct vs_graph *ret, struct vs_error *err)
{
    return vs_import_adapted(file, NULL, 0, ret, err);
}

int vs_import_adapted(const struct vs_gguf *file, struct vs_adapter *const *adapters, unsigned n, struct vs_graph *ret,
                      struct vs_error *err)
{
    struct vs_error unseen = { 0 };
    if (!err)
        err = &unseen;
    memset(ret, 0, sizeof *ret);
    for (int i = 0; i < VS_N_OUTPUTS; i++)
        ret->output[i] = VS_NONE;
    const struct architecture *arch = find_architecture(file, err);
    if (!arch)
        return err->code;
    size_t n_tensors = vs_gguf_n_tensors(file);
    struct builder b = { .file = file, .arch = arch, .g = ret, .err = err, .made = malloc((n_tensors + 1) * sizeof *b.made),
                         .adapters = adapters, .n_adapters = n };
    if (!b.made)
        return vs_error_set(err, VS_E_NOMEM, "model: out of memory");
    memset(b.made, 0xff, n_tensors * sizeof *b.made);    /* VS_NONE */
    snprintf(ret->architecture, sizeof ret->architecture, "%s", arch->name);
    read_all(&b);
    if (b.status == VS_OK)
        build(&b);
    if (b.status == VS_OK && ret->status != VS_OK)
        fail(&b, ret->status, "out of memory", "");
    if (b.status == VS_OK)
        refuse_unused(&b);
    if (b.status == VS_OK)
        check_adapted(&b);
    ret->n_adapters = n;
    free(b.made);
    if (b.status != VS_OK)
        vs_graph_clear(ret);
    return b.status;
}
