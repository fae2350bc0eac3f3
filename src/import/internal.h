/* import/internal.h - what the files of this room share: a row of the table of architectures, the builder, and the story of a graph
 * in pieces.
 *
 *   families.c              the table: how an architecture differs from the plain Llama layer
 *   values.c  sizes.c  ropes.c      keys of the file, checked
 *   weights.c  nodes.c      its tensors, and nodes that read them
 *   attention.c  recurrent.c  feed_forward.c  layer.c  decoder.c  llm.c      parts of a layer, layers, the whole
 *
 * The first failure is kept in the builder and named; what follows it does nothing, so a caller looks once.
 */
#ifndef VS_IMPORT_INTERNAL_H
#define VS_IMPORT_INTERNAL_H
#include "import/llm.h"
#include "base/word.h"

#include <stdbool.h>
#include <stdint.h>

/* What differs from the plain Llama layer:
 *   h += Wo attn(rope(Wq n1(h)), rope(Wk n1(h)), Wv n1(h));  h += Wdown(act(Wgate n2(h)) * (Wup n2(h))) */
enum vs_qk_norm {
    QK_NONE,
    QK_HEAD,                            /* an RMS norm on each head of q and k before rope */
    QK_HEAD_LAST,                       /* the same after rope */
    QK_BARE_LAST,                       /* without a weight, after rope, in layers that have one; not with 128 experts */
    QK_EACH,                            /* as QK_HEAD, each head with a weight of its own */
    QK_EACH_MEAN,                       /* the same without the mean, in files that have it */
    QK_ROW,                             /* one norm over all heads of q, and one of k, before rope */
};

/* What mixes positions in the layers that have no heads of keys. */
enum vs_mixer { ATTENTION_ALONE, SHORT_CONVOLUTION, MAMBA, MAMBA2, PLAMO2, DELTA_NET, KDA, RWKV6, RWKV7 };

/* Experts: a model has them where expert_count says so. */
struct vs_choice {
    enum vs_gating gating;              /* where the file does not say; 0: these models have no experts */
    bool any_gating;                    /* expert_gating_func may name another */
    enum { NORM_NO, NORM_YES, NORM_BY_KEY } normalise;       /* key: expert_weights_norm */
    bool scaled, grouped;               /* expert_weights_scale; expert_group_count and expert_group_used_count count */
    bool choice_bias;                   /* exp_probs_b, where it is there */
    enum { NO_SHARED, SHARED, SHARED_IF_THERE } shared;      /* one that all rows pass; SHARED: where expert_shared_count says so */
    bool shared_gate;                   /* what it makes counts sigmoid(its gate) times */
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
    bool adjugate;                      /* experts_per_group of them share a smaller one, which counts expert_group_scale times */
    bool narrow;                        /* moe_latent_size counts: experts work on a narrower row, ffn_latent_down's */
};

struct vs_family {
    const char *name;
    enum vs_mixer mixer;
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
    enum vs_qk_norm qk_norm;
    bool no_pre_norm;                   /* sub-layers read h itself: there are only the norms of post_norm */
    bool post_norm;                     /* a norm on each sub-layer's output before it is added */
    const char *attention_post_norm, *ffn_post_norm;     /* names of these; NULL: post_attention_norm, post_ffw_norm */
    double post_eps;                    /* of these; 0: as of the others */
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
    bool gate_optional;                 /* where attn_gate is there */
    bool limited;                       /* swiglu_clamp_exp and swiglu_clamp_shexp limit what is inside a feed-forward part */
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
    bool half_full_rot;                 /* layers that see all turn half of rope.dimension_count, by the divisors of rope_freqs */
    bool local_rope_plain;              /* window layers turn by the plain angle, whatever the scaling of the others */
    bool chunks;                        /* a window is a block of positions that begins at a multiple of its size */
    bool lead_rope;                     /* layers without experts at the beginning have a rope in any case */
    bool rope_list;                     /* attention.rope_pattern says which layers have a rope */
    bool local_rope_only;               /* layers that see all have no rope where others have windows */
    uint32_t rope_period;               /* every so manieth layer has no rope; 0: all have */
    struct vs_choice experts;
    uint32_t alibi_layers;              /* a model of so many layers has a bias by distance in place of a rope */
    /* Encoders: tokens see those after them too, and what comes out is vectors. A window of W reaches W / 2 to each side. */
    bool encoder;
    const char *blocks;                 /* what the names of layers begin with, where it is not blk */
    const char *decoder;                /* the same of a decoder's that follow: the model answers a source (decoder.c) */
    bool bucket_bias;                   /* scores have a bias by the distance's bucket, for each head: attn_rel_b, of layer 0 where
                                         * another has none */
    bool gate_by_tensor;                /* layers without ffn_gate have relu alone */
    const char *attention_output;       /* attn_output's name, where it is another */
    bool sum_norm;                      /* no norm before a sub-layer: h = norm(h + what it makes of h), attn_output_norm and
                                         * layer_output_norm; there is none at the end */
    enum { NO_POSITIONS, POSITIONS, POSITIONS_IF_THERE } positions;      /* a learned vector of each is added to the embedding */
    bool embedding_norm;                /* a norm behind the embedding, of one that is no encoder */
    bool bare_embedding_norm;           /* the same without a weight */
    bool dense_first;                   /* with a period: the first of n layers sees all, not the last */
    float alibi;                        /* the bias by distance; 0: none */
    bool alibi_by_key;                  /* attention.max_alibi_bias may say another */
    bool heads_by_layer;                /* each layer has its own numbers of heads */
    bool local_heads;                   /* heads of window layers have another size: attention.key_length_swa */
    bool unit_scale;                    /* scores count once, when the file does not say */
    bool value_norm;                    /* values are normed by heads, without a weight; they are keys where attn_v is missing */
    bool shared_kv;                     /* attention.shared_kv_layers: the last so many read what the last ones before them keep */
    uint32_t own_kv;                    /* when the file does not say, so many layers have keys and values; 0: all */
    bool streams;                       /* four parallel streams, of which layers work on the first: streams.c */
    bool layer_inputs;                  /* embedding_length_per_layer_input: tokens have an embedding for each layer */
    bool output_scale_tensor;           /* layer_output_scale counts, where it is there */
    bool loose;                         /* the same, and layers may have no attention or no feed-forward part */
    bool scale_by_size;                 /* scores count by 1 / the head size, not by its root */
    bool sub_norms;                     /* norms before the output matrix of attention and before ffn_down */
    bool clamped;                       /* attention.clamp_kqv limits queries, keys and values */
    bool rope_alpha;                    /* rope.scaling.alpha makes the base larger */
    /* rope.dimension_sections counts: pairs turn by one of several positions, in blocks or interleaved */
    enum { ONE_POSITION, SECTIONS, SECTIONS_INTERLEAVED } sections;
    bool mean_head;                     /* before scores stand a GELU and a norm, and they read the mean of rows */
    bool dense_ends;                    /* dense_2 and dense_3 may follow the last norm */
    uint32_t wide_layers;               /* a model of so many layers scales scores by its width / heads, not by its head size */
};

enum { MAX_LAYERS = 1024, MAX_WIDTH = 1 << 20, MAX_HEADS = 4096, MAX_GROUPS = 1 << 12, MAX_SHARED = 64 };

/* What the builder carries around. */
struct vs_builder {
    const struct vs_gguf *file;
    const struct vs_family *arch;
    struct vs_graph *g;
    struct vs_error *err;
    int status;                         /* sticky; err has the text */
    const char *blocks;                 /* what the names of layers begin with */
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
    uint32_t first_values;              /* RWKV 7: the values of layer 0 */
    uint32_t n_loops, loop;             /* how often the layers run, and for how many times they did */
    float value_scale;
    enum vs_activation activation;      /* of feed-forward parts */
    bool layer_norm;                    /* norms take the mean away */
    const struct vs_entry *rope_list;   /* which layers have a rope; NULL: the architecture says it */
    bool parallel, both_ways;
    bool in_source;                     /* arch->decoder: these are the layers of the encoder, all of whose rows are read */
    float eps, alibi, attention_scale, clamp;            /* clamp 0: no limit */
    float embedding_scale, residual_scale, logit_scale;              /* 1: none */
    float attention_cap, logit_cap, temperature;                     /* 0: none */
    uint32_t temperature_length;
    bool any_local;
    struct vs_adapter *const *adapters;
    unsigned n_adapters, n_adapted;      /* pairs that found their matrix */
    uint32_t *made;                     /* of each of the file's tensors the graph's that was made last; VS_NONE: nothing read it */
};

/* Rows (of a vector: elements) [first, first + n) of a tensor that has `all` of them: a part of a fused matrix. */
struct vs_part { uint32_t first, n, all; };

/* ---- values.c ---- */

/* Keeps the first failure: "model: NAME: WHAT". */
int vs_gb_fail(struct vs_builder *b, int code, const char *what, const char *name);
/* "ARCHITECTURE.SUFFIX" */
const char *vs_gb_key_of(const struct vs_builder *b, const char *suffix, char buf[128]);
uint32_t vs_gb_in_range(struct vs_builder *b, const char *key, uint64_t v, uint32_t min, uint32_t max);
/* A number that must be there (or has a default) and must lie in min..max. */
uint32_t vs_gb_get_u32(struct vs_builder *b, const char *suffix, int64_t preset, uint32_t min, uint32_t max);
/* Element i of a list that has one element for each layer. */
uint64_t vs_gb_list_u64(struct vs_builder *b, const char *key, const struct vs_entry *kv, uint32_t i);
/* A number for all layers, or a list with one for each, which then is this layer's. */
uint32_t vs_gb_layer_u32(struct vs_builder *b, const char *suffix, uint32_t layer, int64_t preset, uint32_t min, uint32_t max);
/* A float that, when there, must be finite and in [min, max]. */
double vs_gb_get_float(struct vs_builder *b, const char *suffix, double preset, double min, double max);
/* The same for all layers, or a list with one for each. */
double vs_gb_layer_float(struct vs_builder *b, const char *suffix, uint32_t layer, double preset, double min, double max);
bool vs_gb_get_bool(struct vs_builder *b, const char *suffix, bool preset);
bool vs_gb_has_key(const struct vs_builder *b, const char *suffix);
/* A number of the file that has no architecture in front of its name: one for all layers, or one for each. */
float vs_gb_bare_float(struct vs_builder *b, const char *key, uint32_t layer);
bool vs_gb_is_named(struct vs_str s, const char *name);

/* ---- weights.c ---- */

/* "blk.LAYER.SUFFIX", or what the architecture has for blk; layer < 0: SUFFIX. */
const char *vs_gb_tensor_name(const struct vs_builder *b, char buf[64], int layer, const char *suffix);
bool vs_gb_is_there(const struct vs_builder *b, int layer, const char *suffix);
/* How many rows a matrix of a layer has; 0: there is none. */
uint64_t vs_gb_rows_of_matrix(const struct vs_builder *b, int layer, const char *suffix);
struct vs_part vs_gb_whole(uint32_t n);
/* The tensor of that name with exactly this shape, or a part of it, as an index into the graph; VS_NONE when it is absent and
 * optional. */
uint32_t vs_gb_tensor(struct vs_builder *b, int layer, const char *suffix, uint32_t n_cols, struct vs_part rows, bool optional);
/* Norm weights, biases and scales: vectors that kernels read as f32. */
uint32_t vs_gb_vector(struct vs_builder *b, int layer, const char *suffix, struct vs_part part, bool optional);
/* Rows of n_cols that kernels read as f32. */
uint32_t vs_gb_vector_of_rows(struct vs_builder *b, int layer, const char *suffix, uint32_t n_cols, uint32_t n_rows);
/* Is the second size of a tensor 1, and a third there? */
bool vs_gb_is_deep(const struct vs_builder *b, int layer, const char *suffix);
/* The same from a tensor [n_cols, 1, n_rows]. */
uint32_t vs_gb_deep_vector(struct vs_builder *b, int layer, const char *suffix, uint32_t n_cols, uint32_t n_rows);
/* The matrices of n experts, one after the other in the graph, as the index of the first: STEM_END.weight, or STEM.E.weight for
 * each, as the first files had them. */
uint32_t vs_gb_expert_matrices(struct vs_builder *b, int layer, const char *stem, const char *end, uint32_t n, uint32_t n_in,
                               struct vs_part out);
/* The n matrices of NAME, one after the other in the graph, as the index of the first: [n_in, n_out, n], or (the first files)
 * [n_in, n_out * n]. */
uint32_t vs_gb_head_matrices(struct vs_builder *b, int layer, const char *suffix, uint32_t n, uint32_t n_in, uint32_t n_out);
/* Elements of a tensor of part.all numbers, whatever its shape, that kernels read as f32. */
uint32_t vs_gb_flat_vector(struct vs_builder *b, int layer, const char *suffix, struct vs_part part);
/* n_out numbers for each expert: biases, or (n_out = 0) one scale for each. VS_NONE where there is none. */
uint32_t vs_gb_expert_vector(struct vs_builder *b, int layer, const char *suffix, uint32_t n_out);
/* How many rows a matrix has whose width the file alone knows. */
uint32_t vs_gb_rows_of(struct vs_builder *b, const char *name, uint32_t most);

/* ---- nodes.c ---- */

/* The value that a node of this width makes; VS_NONE after a failure. */
uint32_t vs_gb_node(struct vs_builder *b, struct vs_node n, uint32_t width);
struct vs_node vs_gb_base(enum vs_op op, uint32_t in);
/* STEM.weight, and STEM.bias where the architecture's norms may have one. */
uint32_t vs_gb_norm(struct vs_builder *b, uint32_t x, int layer, const char *stem, uint32_t width);
/* That of what a part of a layer gives, which may have an epsilon of its own. */
uint32_t vs_gb_post_norm(struct vs_builder *b, uint32_t x, int layer, const char *stem);
uint32_t vs_gb_head_norm(struct vs_builder *b, uint32_t x, int layer, const char *stem, uint32_t n_heads);
/* The product with STEM.weight (or with the tensor `tied`), times STEM.scale and plus STEM.bias where the file has them. */
uint32_t vs_gb_product(struct vs_builder *b, uint32_t x, int layer, const char *stem, const char *bias_stem, uint32_t tied,
                       uint32_t n_in, struct vs_part out);
uint32_t vs_gb_linear(struct vs_builder *b, uint32_t x, int layer, const char *stem, uint32_t n_in, uint32_t n_out);
uint32_t vs_gb_scaled(struct vs_builder *b, uint32_t x, float scale, uint32_t width);
/* h and what a sub-layer made of it. */
uint32_t vs_gb_add(struct vs_builder *b, uint32_t h, uint32_t x);
uint32_t vs_gb_bare_head_norm(struct vs_builder *b, uint32_t x, uint32_t n_heads);
/* Each part of y times act(its element of gate). */
uint32_t vs_gb_gated_by(struct vs_builder *b, uint32_t y, uint32_t gate, uint32_t n_parts, enum vs_activation act, uint32_t width);
uint32_t vs_gb_sum(struct vs_builder *b, uint32_t x, uint32_t y);
/* Elements [first, first + n) of each of the equal parts of x. */
uint32_t vs_gb_pick(struct vs_builder *b, uint32_t x, uint32_t n_parts, uint32_t first, uint32_t n);
/* act(z) * y */
uint32_t vs_gb_times_act(struct vs_builder *b, uint32_t z, uint32_t y, uint32_t width, enum vs_activation act);
/* Parts of x and y in turn; y may have one part for all. */
uint32_t vs_gb_join(struct vs_builder *b, uint32_t x, uint32_t y, uint32_t n_parts, uint32_t width);
/* Each of the n parts of x by a matrix of its own. */
uint32_t vs_gb_by_heads(struct vs_builder *b, uint32_t x, int layer, const char *suffix, uint32_t n, uint32_t n_in, uint32_t n_out);
/* x between -1 and 1 */
uint32_t vs_gb_tanh(struct vs_builder *b, uint32_t x, uint32_t width);
/* act(x) */
uint32_t vs_gb_act(struct vs_builder *b, uint32_t x, uint32_t width, enum vs_activation act);
/* RMS norm of each of so many equal parts of x; the weight of all is STEM.weight (or STEM), or there is none (stem NULL). */
uint32_t vs_gb_group_norm(struct vs_builder *b, uint32_t x, int layer, const char *stem, uint32_t n_groups, uint32_t width);
/* Of the last layer only rows that are read go on; the others leave their keys and values, or their state. */
uint32_t vs_gb_read_rows(struct vs_builder *b, uint32_t x, uint32_t il, uint32_t width);
/* An adapter that only half of it counts of would answer wrong. */
void vs_gb_check_adapted(struct vs_builder *b);

/* ---- attention.c ---- */

/* q, k or v: a matrix of its own, or a part of attn_qkv, whose bias may still be one for each. */
uint32_t vs_gb_projection(struct vs_builder *b, uint32_t x, int layer, const char *stem, struct vs_part part);
uint32_t vs_gb_heads_of(const struct vs_builder *b, uint32_t il);
uint32_t vs_gb_kv_heads_of(const struct vs_builder *b, uint32_t il);
/* The layer whose keys and values one reads that has none of its own. */
uint32_t vs_gb_shared_from(const struct vs_builder *b, uint32_t il);
/* The attention of a layer, up to its output matrix. */
uint32_t vs_gb_attend(struct vs_builder *b, uint32_t x, uint32_t il, uint32_t *ret_width);
/* Keys and values that are made of the source, to the cache of a layer; what the queries that a decoder's layer makes of x attend
 * there, up to the output matrix. */
void vs_gb_keep_source(struct vs_builder *b, uint32_t source, uint32_t il);
uint32_t vs_gb_attend_source(struct vs_builder *b, uint32_t x, uint32_t il);

/* ---- feed_forward.c ---- */

/* What the feed-forward part makes of x. */
uint32_t vs_gb_feed_forward(struct vs_builder *b, uint32_t x, int i);
/* h and what the feed-forward part makes of x, which is a norm of h; input: what the layer began with. */
uint32_t vs_gb_add_feed_forward(struct vs_builder *b, uint32_t h, uint32_t x, uint32_t input, uint32_t il);

/* ---- recurrent.c ---- */

uint32_t vs_gb_mamba2(struct vs_builder *b, uint32_t x, int layer, uint32_t *ret_width);
/* What the architecture's mixer makes of x, up to its output matrix, whose name is *ret_output. */
uint32_t vs_gb_recur(struct vs_builder *b, uint32_t x, int layer, const char **ret_output, uint32_t *ret_width);

/* ---- rwkv.c ---- */

/* A layer of RWKV: both of its parts. */
uint32_t vs_gb_rwkv_layer(struct vs_builder *b, uint32_t h, uint32_t il);

/* ---- streams.c ---- */

/* The four streams that begin with h, side by side. */
uint32_t vs_gb_streams(struct vs_builder *b, uint32_t h);
uint32_t vs_gb_streams_layer(struct vs_builder *b, uint32_t streams, uint32_t il);
/* The row that they end in. */
uint32_t vs_gb_streams_end(struct vs_builder *b, uint32_t streams);

/* ---- layer.c ---- */

/* What layers get of a token beside h: its embedding for all of them, and what is made of h. */
uint32_t vs_gb_layer_inputs(struct vs_builder *b, uint32_t h);
/* act(inp_gate x) * what this layer gets, through `proj` and a norm. */
uint32_t vs_gb_from_layer_input(struct vs_builder *b, uint32_t x, uint32_t il);
uint32_t vs_gb_layer(struct vs_builder *b, uint32_t h, uint32_t il);

/* ---- decoder.c ---- */

/* What a decoder makes of the source, which an encoder has read, and of the tokens from the first `start` on: the rows that are
 * read, behind the last norm. */
uint32_t vs_gb_decoder(struct vs_builder *b, uint32_t source, const struct vs_node *embed);

/* ---- ropes.c ---- */

/* ropes[0] is that of layers that see everything, ropes[1] that of the others. */
void vs_gb_read_ropes(struct vs_builder *b);

/* ---- sizes.c ---- */

void vs_gb_read_hyper_parameters(struct vs_builder *b);
/* Vocabulary size: the embedding's rows are the truth (some files pad them). */
void vs_gb_read_vocabulary(struct vs_builder *b);

/* ---- families.c ---- */

/* The row of general.architecture; NULL: *err says which there are. */
const struct vs_family *vs_gb_find_architecture(const struct vs_gguf *g, struct vs_error *err);
#endif
