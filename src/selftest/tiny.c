/* selftest/tiny.c - see tiny.h */
#include "selftest/tiny.h"

#include "tensor/dtype.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint64_t vs_tiny_random(uint64_t *s)
{
    uint64_t z = *s += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

uint64_t vs_tiny_hash(const void *data, size_t n)
{
    uint64_t h = 0xcbf29ce484222325;
    for (size_t i = 0; i < n; i++)
        h = (h ^ ((const uint8_t *)data)[i]) * 0x100000001b3;
    return h;
}

/* What is in layers without attention. */
enum mixer { ATTENTION_ALONE, SHORT_CONVOLUTION, MAMBA, MAMBA2, PLAMO2, DELTA_NET, KDA, RWKV6, RWKV7 };

/* What a file of an architecture holds beside the tensors of the plain Llama layer. */
static const struct family {
    const char *name;
    bool qkv_bias;                      /* beside q, k and v */
    bool head_norms, row_norms;         /* on each head of q and k; on all of them */
    bool no_pre_norm, post_norm;
    bool fused_up;                      /* ffn_up has the gate's rows too */
    bool half_ff, xielu;                /* feed_forward_length is twice the width; the keys of that activation */
    bool key_length;                    /* the file says how large a head is, even where it follows from the width */
    bool tied;                          /* no output matrix */
    bool windows;
    bool layer_norm, norm_bias, bare_norm;      /* norms of the other kind, with a bias, without a weight */
    bool no_gate, no_ffn_norm;
    bool shared_gate;                   /* beside a shared expert */
    bool attention_gate, sinks;
    bool indexer;                       /* tensors that choose keys stand beside those of attention */
    bool latent;                        /* keys and values come from a latent row; head_dim is that of the part without rope */
    bool choice_keys;                   /* keys say how the weights of experts are made */
    bool says_step;                     /* a key says how many layers there are for one with experts, even if it is 1 */
    bool both_eps;                      /* keys of both kinds of norms */
    const char *ffn_norm;               /* NULL: ffn_norm */
    const char *final_norm;             /* NULL: output_norm */
    const char *post_norms[2];          /* names of norms on what both parts give; post_norm has others */
    bool shared_fused_up;               /* the shared expert's ffn_up has the gate's rows too */
    bool gemma4;                        /* all that this one alone has */
    uint64_t expert_period;             /* layers i with i mod n = 1 have experts; 0: all behind those at the beginning */
    bool short_names;                   /* norms on what both parts give have no .weight behind their names */
    bool ssm_norms;                     /* of Mamba's steps, B and C */
    bool each_norms;                    /* on each head of q and k, each with a weight of its own */
    bool streams;                       /* all that gemma3n alone has */
    bool t5;                            /* names of its own, a bias of scores by the buckets of distances in the first layer */
    bool decoder;                       /* behind the encoder's layers stand as many of a decoder, which attend to it too */
    bool adjugate;                      /* two experts share a third one, half as wide */
    bool input_experts;                 /* experts read the layer's input behind a norm; beside them is a dense part */
    bool grouped;                       /* DeltaNet: beta and time steps are one matrix, by heads of keys */
    enum mixer mixer;
    bool beside, one_part, no_attention;        /* the mixer stands beside attention; layers of one part; all are the mixer */
    /* encoders: no output matrix; a norm behind the embedding; norms behind the sums; learned positions; none before layer 0 */
    bool encoder, embd_norm, sum_norm, positions, no_first_norm;
    bool sub_norms;                     /* before the output matrix of attention and before ffn_down */
    /* each layer has one head of keys and its queries more than the one before it; of four layers the second has attn_output alone,
     * the third no attention and the fourth nothing but attention */
    bool more_heads, puzzle;
} families[] = {
    { .name = "llama" },
    { .name = "mistral3", .key_length = true },
    { .name = "arcee", .no_gate = true },
    { .name = "olmo", .layer_norm = true, .bare_norm = true },
    { .name = "command-r", .layer_norm = true, .no_ffn_norm = true, .tied = true },
    { .name = "cohere2", .layer_norm = true, .no_ffn_norm = true, .tied = true, .windows = true },
    { .name = "orion", .layer_norm = true, .norm_bias = true },
    { .name = "stablelm", .layer_norm = true, .norm_bias = true },
    { .name = "phi2", .layer_norm = true, .norm_bias = true, .no_gate = true, .no_ffn_norm = true },
    { .name = "falcon", .layer_norm = true, .norm_bias = true, .no_gate = true, .no_ffn_norm = true },
    { .name = "gptneox", .layer_norm = true, .norm_bias = true, .no_gate = true },
    { .name = "starcoder2", .layer_norm = true, .norm_bias = true, .no_gate = true },
    { .name = "nemotron", .layer_norm = true, .norm_bias = true, .no_gate = true },
    { .name = "jais2", .layer_norm = true, .norm_bias = true, .no_gate = true },
    { .name = "gpt2", .layer_norm = true, .norm_bias = true, .no_gate = true, .positions = true },
    { .name = "starcoder", .layer_norm = true, .norm_bias = true, .no_gate = true, .positions = true },
    { .name = "gptj", .layer_norm = true, .norm_bias = true, .no_gate = true, .no_ffn_norm = true },
    { .name = "bloom", .layer_norm = true, .norm_bias = true, .no_gate = true, .embd_norm = true },
    { .name = "mpt", .layer_norm = true, .no_gate = true },
    { .name = "refact" },
    { .name = "jais", .layer_norm = true, .norm_bias = true },
    { .name = "deci", .puzzle = true },
    { .name = "openelm", .head_norms = true, .key_length = true, .tied = true, .more_heads = true },
    { .name = "plm", .latent = true, .no_gate = true, .tied = true },
    { .name = "muse-glimmer", .key_length = true, .head_norms = true, .post_norm = true, .windows = true, .attention_gate = true },
    { .name = "step35", .key_length = true, .more_heads = true, .head_norms = true, .windows = true, .attention_gate = true,
      .choice_keys = true },
    { .name = "plamo3", .key_length = true, .head_norms = true, .post_norm = true, .fused_up = true, .windows = true,
      .short_names = true },
    { .name = "jamba", .mixer = MAMBA, .ssm_norms = true },
    { .name = "plamo2", .key_length = true, .mixer = PLAMO2, .ssm_norms = true, .each_norms = true, .post_norm = true,
      .fused_up = true, .short_names = true },
    { .name = "rwkv6", .mixer = RWKV6, .no_attention = true, .layer_norm = true, .norm_bias = true, .embd_norm = true },
    { .name = "rwkv7", .mixer = RWKV7, .no_attention = true, .layer_norm = true, .norm_bias = true, .embd_norm = true },
    { .name = "gemma3n", .head_norms = true, .post_norm = true, .key_length = true, .tied = true, .windows = true,
      .streams = true },
    { .name = "bitnet", .sub_norms = true, .tied = true },
    { .name = "bitnet-25", .sub_norms = true, .tied = true },
    { .name = "bitnet-b1.58", .sub_norms = true, .tied = true },
    { .name = "qwen2vl", .qkv_bias = true },
    { .name = "qwen3vl", .head_norms = true },
    { .name = "paddleocr" },
    { .name = "hunyuan_vl", .head_norms = true },
    { .name = "internlm2" },
    { .name = "xverse" },
    { .name = "baichuan" },
    { .name = "chatglm", .qkv_bias = true, .fused_up = true },
    { .name = "qwen", .qkv_bias = true, .half_ff = true },
    { .name = "exaone" },
    { .name = "plamo", .no_ffn_norm = true },
    { .name = "codeshell", .layer_norm = true, .norm_bias = true, .no_gate = true },
    { .name = "apertus", .head_norms = true, .no_gate = true, .xielu = true },
    { .name = "ernie4_5" },
    { .name = "ernie4_5-moe", .says_step = true },
    { .name = "granite" },
    { .name = "granitemoe" },
    { .name = "granite_swa", .windows = true, .sinks = true, .shared_fused_up = true },
    { .name = "llama4", .windows = true, .says_step = true },
    { .name = "arctic", .input_experts = true },
    { .name = "cohere2moe", .layer_norm = true, .no_ffn_norm = true, .tied = true, .windows = true, .choice_keys = true },
    { .name = "grok", .post_norms = { "attn_output_norm", "layer_output_norm" } },
    { .name = "phimoe", .norm_bias = true },
    { .name = "smallthinker", .windows = true },
    { .name = "mellum", .head_norms = true, .windows = true },
    { .name = "minicpm" },
    { .name = "nanbeige" },
    { .name = "minicpm3", .latent = true },
    { .name = "dbrx", .layer_norm = true, .ffn_norm = "attn_output_norm" },
    { .name = "mimo2", .key_length = true, .more_heads = true, .windows = true, .sinks = true },
    { .name = "laguna", .key_length = true, .more_heads = true, .head_norms = true, .windows = true, .attention_gate = true,
      .choice_keys = true },
    { .name = "spark2_5", .key_length = true, .more_heads = true, .windows = true, .attention_gate = true },
    { .name = "qwen3vlmoe", .head_norms = true },
    { .name = "smollm3" },
    { .name = "maincoder", .head_norms = true },
    { .name = "deepseek" },
    { .name = "deepseek2", .latent = true, .choice_keys = true },
    { .name = "mistral4", .latent = true, .choice_keys = true },
    { .name = "deepseek32", .latent = true, .indexer = true, .choice_keys = true },
    { .name = "glm-dsa", .latent = true, .indexer = true, .choice_keys = true },
    { .name = "glm4", .qkv_bias = true, .post_norm = true, .fused_up = true },
    { .name = "qwen2", .qkv_bias = true },
    { .name = "pangu-embedded", .qkv_bias = true },
    { .name = "qwen2moe", .qkv_bias = true, .shared_gate = true },
    { .name = "qwen3", .head_norms = true },
    { .name = "qwen3moe", .head_norms = true },
    { .name = "grovemoe", .head_norms = true, .adjugate = true },
    { .name = "olmoe", .row_norms = true },
    { .name = "dots1", .head_norms = true },
    { .name = "bailingmoe", .choice_keys = true },
    { .name = "bailingmoe2", .head_norms = true, .choice_keys = true },
    { .name = "glm4moe", .head_norms = true, .qkv_bias = true, .choice_keys = true, .ffn_norm = "post_attention_norm" },
    { .name = "hy_v3", .head_norms = true, .choice_keys = true },
    { .name = "exaone-moe", .head_norms = true, .windows = true, .choice_keys = true },
    { .name = "afmoe", .head_norms = true, .post_norm = true, .windows = true, .attention_gate = true, .choice_keys = true },
    { .name = "gpt-oss", .windows = true, .sinks = true, .ffn_norm = "post_attention_norm" },
    { .name = "lfm2moe", .head_norms = true, .tied = true, .windows = true, .mixer = SHORT_CONVOLUTION,
      .final_norm = "token_embd_norm" },
    { .name = "minimax-m2", .row_norms = true },
    { .name = "hunyuan-moe", .head_norms = true },
    { .name = "seed_oss", .qkv_bias = true, .ffn_norm = "post_attention_norm" },
    { .name = "hunyuan-dense", .head_norms = true },
    { .name = "lfm2", .head_norms = true, .tied = true, .windows = true, .mixer = SHORT_CONVOLUTION,
      .final_norm = "token_embd_norm" },
    { .name = "qwen35", .head_norms = true, .mixer = DELTA_NET, .key_length = true, .ffn_norm = "post_attention_norm" },
    { .name = "qwen35moe", .head_norms = true, .mixer = DELTA_NET, .key_length = true, .ffn_norm = "post_attention_norm",
      .shared_gate = true },
    { .name = "qwen3next", .head_norms = true, .mixer = DELTA_NET, .key_length = true, .ffn_norm = "post_attention_norm",
      .shared_gate = true, .grouped = true },
    { .name = "kimi-linear", .mixer = KDA, .latent = true },
    { .name = "mamba", .mixer = MAMBA, .one_part = true, .no_attention = true },
    { .name = "mamba2", .mixer = MAMBA2, .one_part = true, .no_attention = true },
    { .name = "falcon-h1", .mixer = MAMBA2, .beside = true },
    { .name = "granitehybrid", .mixer = MAMBA2 },
    { .name = "nemotron_h", .mixer = MAMBA2, .one_part = true, .no_gate = true, .both_eps = true },
    { .name = "nemotron_h_moe", .mixer = MAMBA2, .one_part = true, .no_gate = true, .choice_keys = true, .both_eps = true },
    { .name = "phi3", .fused_up = true, .windows = true },
    { .name = "olmo2", .row_norms = true, .no_pre_norm = true, .post_norm = true, .windows = true },
    { .name = "exaone4", .head_norms = true, .no_pre_norm = true, .post_norm = true, .windows = true },
    { .name = "gemma", .key_length = true, .tied = true },
    { .name = "gemma2", .post_norm = true, .key_length = true, .tied = true, .windows = true },
    { .name = "gemma3", .head_norms = true, .post_norm = true, .key_length = true, .tied = true, .windows = true },
    { .name = "gemma4", .head_norms = true, .post_norm = true, .tied = true, .gemma4 = true },
    { .name = "bert", .encoder = true, .layer_norm = true, .norm_bias = true, .embd_norm = true, .sum_norm = true,
      .positions = true, .no_gate = true },
    { .name = "nomic-bert", .encoder = true, .layer_norm = true, .norm_bias = true, .embd_norm = true, .sum_norm = true },
    { .name = "nomic-bert-moe", .encoder = true, .layer_norm = true, .norm_bias = true, .embd_norm = true, .sum_norm = true,
      .no_gate = true, .expert_period = 2 },
    { .name = "jina-bert-v2", .encoder = true, .layer_norm = true, .norm_bias = true, .embd_norm = true, .sum_norm = true,
      .fused_up = true, .row_norms = true },
    { .name = "jina-bert-v3", .encoder = true, .layer_norm = true, .norm_bias = true, .embd_norm = true, .sum_norm = true,
      .no_gate = true },
    { .name = "modern-bert", .encoder = true, .layer_norm = true, .embd_norm = true, .fused_up = true, .no_first_norm = true,
      .windows = true },
    { .name = "eurobert", .encoder = true },
    { .name = "neo-bert", .encoder = true, .fused_up = true, .final_norm = "enc.output_norm" },
    { .name = "llama-embed", .encoder = true },
    { .name = "t5encoder", .encoder = true, .key_length = true, .t5 = true, .final_norm = "enc.output_norm" },
    { .name = "t5", .key_length = true, .t5 = true, .decoder = true, .final_norm = "enc.output_norm" },
    { .name = "gemma-embedding", .encoder = true, .head_norms = true, .post_norm = true, .key_length = true, .windows = true },
};

static const struct family *family_of(const struct vs_tiny *t)
{
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (strcmp(t->arch, families[i].name) == 0)
            return &families[i];
    return NULL;
}

int vs_tiny_complete(struct vs_tiny *t, struct vs_error *err)
{
    if (!family_of(t))
        return vs_error_set(err, VS_E_INVALID, "unknown architecture '%s'", t->arch);
    if (!t->kv_heads)
        t->kv_heads = t->heads;
    if (!t->heads || t->heads % t->kv_heads || (!t->head_dim && t->embd % t->heads))
        return vs_error_set(err, VS_E_INVALID, "the numbers of heads don't fit");
    if (!t->head_dim)
        t->head_dim = t->embd / t->heads;
    if (!t->ff)
        t->ff = 3 * t->embd;
    t->local_dim = t->local_dim ? t->local_dim : t->head_dim / 2;
    t->value_dim = t->value_dim ? t->value_dim : t->head_dim;
    t->latent_rank = t->latent_rank ? t->latent_rank : 32;
    if (family_of(t)->latent && !t->rot)
        t->rot = 8;
    t->decoder_layers = t->decoder_layers ? t->decoder_layers : t->layers;
    t->attend = t->attend ? t->attend : 2;
    t->taps = t->taps ? t->taps : 3;
    if (t->experts && !t->experts_used)
        t->experts_used = t->experts < 2 ? t->experts : 2;
    if (t->experts && !t->expert_ff)
        t->expert_ff = (t->ff / 2 + 31) / 32 * 32;
    t->expert_row = t->expert_row ? t->expert_row : t->embd;
    if (!t->expert_step)
        t->expert_step = 1;
    t->ssm_heads = t->ssm_heads ? t->ssm_heads : 4;
    t->ssm_groups = t->ssm_groups ? t->ssm_groups : 2;
    t->ssm_state = t->ssm_state ? t->ssm_state : 16;
    t->ssm_rank = t->ssm_rank ? t->ssm_rank : 8;
    if (t->ssm_heads % t->ssm_groups || 2 * t->embd % t->ssm_heads)
        return vs_error_set(err, VS_E_INVALID, "the numbers of Mamba's heads don't fit");
    if (!t->embd_type)
        t->embd_type = t->type;
    if (!t->output_type)
        t->output_type = t->type;
    if (!t->embd || t->head_dim % 2)
        return vs_error_set(err, VS_E_INVALID, "a width and an even head size are needed");
    return VS_OK;
}

/* ---- key-values ---- */

void vs_tiny_put_f32(struct vs_buf *b, float v)
{
    uint32_t u;
    memcpy(&u, &v, 4);
    vs_buf_u32le(b, u);
}

void vs_tiny_put_str(struct vs_buf *b, const char *s, uint64_t n)
{
    vs_buf_u64le(b, n);
    vs_buf_add(b, s, n);
}

enum { T_ARRAY = 9 };

void vs_tiny_key(struct vs_tiny_head *h, const char *key, uint32_t type)
{
    char full[128];
    const char *mark = strstr(key, "%s");
    snprintf(full, sizeof full, "%.*s%s%s", mark ? (int)(mark - key) : 0, key, mark ? h->arch : "", mark ? mark + 2 : key);
    vs_tiny_put_str(&h->buf, full, strlen(full));
    vs_buf_u32le(&h->buf, type);
    h->n_kv++;
}

void vs_tiny_kv_u32(struct vs_tiny_head *h, const char *key, uint64_t v)
{
    vs_tiny_key(h, key, VS_TINY_U32);
    vs_buf_u32le(&h->buf, (uint32_t)v);
}

static void kv_f32(struct vs_tiny_head *h, const char *key, double v)
{
    vs_tiny_key(h, key, VS_TINY_F32);
    vs_tiny_put_f32(&h->buf, (float)v);
}

void vs_tiny_kv_bool(struct vs_tiny_head *h, const char *key, bool v)
{
    vs_tiny_key(h, key, VS_TINY_BOOL);
    vs_buf_char(&h->buf, v);
}

void vs_tiny_kv_str(struct vs_tiny_head *h, const char *key, const char *v, uint64_t n)
{
    vs_tiny_key(h, key, VS_TINY_STR);
    vs_tiny_put_str(&h->buf, v, n);
}

void vs_tiny_kv_array(struct vs_tiny_head *h, const char *key, uint32_t type, uint64_t n)
{
    vs_tiny_key(h, key, T_ARRAY);
    vs_buf_u32le(&h->buf, type);
    vs_buf_u64le(&h->buf, n);
}

static bool is_recurrent(const struct vs_tiny *t, uint64_t layer)
{
    const struct family *f = family_of(t);
    if (f->mixer == ATTENTION_ALONE || f->beside)
        return false;
    return f->no_attention || layer % (f->one_part ? 3 : t->attend) != (f->one_part ? 2 : t->attend - 1);
}

/* gemma4: layers that see only the window; head sizes are theirs or those of the others. */
static bool is_local(const struct vs_tiny *t, uint64_t layer)
{
    return family_of(t)->gemma4 && layer % 3 != 2;
}

static uint64_t head_dim_of(const struct vs_tiny *t, uint64_t layer)
{
    return is_local(t, layer) ? t->local_dim : t->head_dim;
}

static uint64_t kv_heads_of(const struct vs_tiny *t, uint64_t layer)
{
    const struct family *f = family_of(t);
    return f->more_heads ? t->kv_heads + layer : f->puzzle && (layer % 4 == 1 || layer % 4 == 2) ? 0 : t->kv_heads;
}

static uint64_t heads_of(const struct vs_tiny *t, uint64_t layer)
{
    const struct family *f = family_of(t);
    return f->more_heads ? t->heads / t->kv_heads * kv_heads_of(t, layer) : f->puzzle && layer % 4 == 2 ? 0 : t->heads;
}

static void kv_by_layer(const struct vs_tiny *t, struct vs_tiny_head *h, const char *key,
                        uint64_t (*of)(const struct vs_tiny *t, uint64_t layer))
{
    vs_tiny_kv_array(h, key, VS_TINY_U32, t->layers);
    for (uint64_t i = 0; i < t->layers; i++)
        vs_buf_u32le(&h->buf, (uint32_t)of(t, i));
}

/* nemotron_h: the second of three layers */
static bool feeds(const struct vs_tiny *t, uint64_t layer)
{
    const struct family *f = family_of(t);
    if (f->puzzle)
        return layer % 4 != 3;
    return !f->one_part || (!f->no_attention && layer % 3 == 1);
}

static bool is_mixer(const struct vs_tiny *t, uint64_t layer)
{
    return is_recurrent(t, layer) && !(family_of(t)->one_part && feeds(t, layer));
}

enum { SMALL_RANK = 8 };                 /* of RWKV's small matrices */

static void wkv_metadata(const struct vs_tiny *t, struct vs_tiny_head *h)
{
    vs_tiny_kv_u32(h, "%s.wkv.head_size", t->head_dim);
    vs_tiny_kv_u32(h, "%s.token_shift_count", 2);
    if (family_of(t)->mixer == RWKV6) {
        vs_tiny_kv_u32(h, "%s.time_mix_extra_dim", SMALL_RANK);
        vs_tiny_kv_u32(h, "%s.time_decay_extra_dim", SMALL_RANK);
        vs_tiny_kv_u32(h, "%s.rescale_every_n_layers", 2);
        return;
    }
    vs_tiny_kv_u32(h, "%s.attention.decay_lora_rank", SMALL_RANK);
    vs_tiny_kv_u32(h, "%s.attention.iclr_lora_rank", SMALL_RANK);
    vs_tiny_kv_u32(h, "%s.attention.value_residual_mix_lora_rank", SMALL_RANK);
    vs_tiny_kv_u32(h, "%s.attention.gate_lora_rank", SMALL_RANK);
}

/* Sizes of Mamba. */
static void ssm_metadata(const struct vs_tiny *t, struct vs_tiny_head *h)
{
    bool heads = family_of(t)->mixer != MAMBA;
    if (family_of(t)->mixer >= RWKV6) {
        wkv_metadata(t, h);
        return;
    }
    vs_tiny_kv_u32(h, "%s.ssm.conv_kernel", t->taps);
    if (family_of(t)->mixer == KDA) {
        vs_tiny_kv_u32(h, "%s.kda.head_dim", t->ssm_state);
        return;
    }
    vs_tiny_kv_u32(h, "%s.ssm.inner_size", 2 * t->embd);
    vs_tiny_kv_u32(h, "%s.ssm.state_size", t->ssm_state);
    vs_tiny_kv_u32(h, "%s.ssm.time_step_rank", heads ? t->ssm_heads : t->ssm_rank);
    if (heads)
        vs_tiny_kv_u32(h, "%s.ssm.group_count", family_of(t)->mixer == PLAMO2 ? 0 : t->ssm_groups);
    if (t->steps_normed)
        vs_tiny_kv_bool(h, "%s.ssm.dt_b_c_rms", true);
}

static void gemma4_metadata(const struct vs_tiny *t, struct vs_tiny_head *h)
{
    vs_tiny_kv_u32(h, "%s.attention.key_length", t->head_dim);
    vs_tiny_kv_u32(h, "%s.attention.value_length", t->head_dim);
    vs_tiny_kv_u32(h, "%s.attention.key_length_swa", t->local_dim);
    vs_tiny_kv_u32(h, "%s.attention.value_length_swa", t->local_dim);
    vs_tiny_kv_u32(h, "%s.rope.dimension_count_swa", t->local_dim);
    vs_tiny_kv_u32(h, "%s.attention.sliding_window", t->window);
    vs_tiny_kv_u32(h, "%s.attention.shared_kv_layers", t->shared_kv);
    vs_tiny_kv_u32(h, "%s.embedding_length_per_layer_input", t->layer_width);
    kv_f32(h, "%s.rope.freq_base_swa", 1000);
    vs_tiny_kv_array(h, "%s.attention.sliding_window_pattern", VS_TINY_BOOL, t->layers);
    for (uint64_t i = 0; i < t->layers; i++)
        vs_buf_char(&h->buf, is_local(t, i));
}

static void latent_metadata(const struct vs_tiny *t, struct vs_tiny_head *h)
{
    vs_tiny_kv_u32(h, "%s.attention.kv_lora_rank", t->latent_rank);
    if (t->q_rank)
        vs_tiny_kv_u32(h, "%s.attention.q_lora_rank", t->q_rank);
    vs_tiny_kv_u32(h, "%s.attention.key_length", (t->whole_kv ? t->head_dim : t->latent_rank) + t->rot);
    vs_tiny_kv_u32(h, "%s.attention.value_length", t->whole_kv ? t->value_dim : t->latent_rank);
    if (!t->whole_kv) {
        vs_tiny_kv_u32(h, "%s.attention.key_length_mla", t->head_dim + t->rot);
        vs_tiny_kv_u32(h, "%s.attention.value_length_mla", t->value_dim);
    }
    if (family_of(t)->indexer) {
        vs_tiny_kv_u32(h, "%s.attention.indexer.head_count", 2);
        vs_tiny_kv_u32(h, "%s.attention.indexer.key_length", 16);
        vs_tiny_kv_u32(h, "%s.attention.indexer.top_k", 128);
    }
}

static void kv_text(struct vs_tiny_head *h, const char *key, const char *v)
{
    vs_tiny_kv_str(h, key, v, strlen(v));
}

void vs_tiny_metadata(const struct vs_tiny *t, struct vs_tiny_head *h)
{
    h->arch = t->arch;
    kv_text(h, "general.architecture", t->arch);
    kv_text(h, "general.type", "model");
    kv_text(h, "general.name", "tiny random");
    vs_tiny_kv_u32(h, "%s.block_count", t->layers + t->nextn);
    vs_tiny_kv_u32(h, "%s.context_length", t->ctx);
    vs_tiny_kv_u32(h, "%s.embedding_length", t->embd);
    bool by_layer = family_of(t)->puzzle || family_of(t)->more_heads;
    if (t->ff_step || family_of(t)->one_part || family_of(t)->puzzle) {
        vs_tiny_kv_array(h, "%s.feed_forward_length", VS_TINY_U32, t->layers);
        for (uint64_t i = 0; i < t->layers; i++)
            vs_buf_u32le(&h->buf, feeds(t, i) ? (uint32_t)(t->ff + i * t->ff_step) : 0);
    } else {
        vs_tiny_kv_u32(h, "%s.feed_forward_length", family_of(t)->half_ff ? 2 * t->ff : t->ff);
    }
    if (by_layer)
        kv_by_layer(t, h, "%s.attention.head_count", heads_of);
    else
        vs_tiny_kv_u32(h, "%s.attention.head_count", family_of(t)->no_attention ? 0 : t->heads);
    if (family_of(t)->mixer == DELTA_NET)
        vs_tiny_kv_u32(h, "%s.full_attention_interval", t->attend);
    if (by_layer) {
        kv_by_layer(t, h, "%s.attention.head_count_kv", kv_heads_of);
    } else if (family_of(t)->mixer == ATTENTION_ALONE || family_of(t)->beside || family_of(t)->mixer == DELTA_NET) {
        vs_tiny_kv_u32(h, "%s.attention.head_count_kv", family_of(t)->latent && !t->whole_kv ? 1 : t->kv_heads);
    } else {
        vs_tiny_kv_array(h, "%s.attention.head_count_kv", VS_TINY_U32, t->layers);
        for (uint64_t i = 0; i < t->layers; i++)
            vs_buf_u32le(&h->buf, is_recurrent(t, i) ? 0 : family_of(t)->latent && !t->whole_kv ? 1 : (uint32_t)t->kv_heads);
    }
    if (family_of(t)->mixer == SHORT_CONVOLUTION)
        vs_tiny_kv_u32(h, "%s.shortconv.l_cache", t->taps);
    if (family_of(t)->mixer >= MAMBA)
        ssm_metadata(t, h);
    if (family_of(t)->latent) {
        latent_metadata(t, h);
    } else if (family_of(t)->gemma4) {
        gemma4_metadata(t, h);
    } else if (family_of(t)->mixer < RWKV6
               && (family_of(t)->key_length || t->head_dim * t->heads != t->embd || t->value_dim != t->head_dim)) {
        vs_tiny_kv_u32(h, "%s.attention.key_length", t->head_dim);
        vs_tiny_kv_u32(h, "%s.attention.value_length", t->value_dim);
    }
    if (!strcmp(t->arch, "llama") || t->rot)
        vs_tiny_kv_u32(h, "%s.rope.dimension_count", t->rot ? t->rot : t->head_dim);
    if (!strcmp(t->arch, "llama"))
        vs_tiny_kv_u32(h, "%s.vocab_size", t->vocab);
    kv_f32(h, "%s.rope.freq_base", t->freq_base);
    if (t->rope_scale != 0) {
        kv_text(h, "%s.rope.scaling.type", "linear");
        kv_f32(h, "%s.rope.scaling.factor", t->rope_scale);
    }
    kv_f32(h, family_of(t)->layer_norm ? "%s.attention.layer_norm_epsilon" : "%s.attention.layer_norm_rms_epsilon",
           strcmp(t->arch, "llama") ? 1e-6 : 1e-5);
    if (family_of(t)->both_eps)
        kv_f32(h, "%s.attention.layer_norm_epsilon", 1e-6);
    if (family_of(t)->xielu) {
        kv_f32(h, "xielu.alpha_p", 0.8);
        kv_f32(h, "xielu.alpha_n", 0.3);
        kv_f32(h, "xielu.beta", 0.5);
        kv_f32(h, "xielu.eps", -1e-6);
    }
    if (family_of(t)->decoder) {
        vs_tiny_kv_u32(h, "%s.decoder_block_count", t->decoder_layers);
        vs_tiny_kv_u32(h, "%s.decoder_start_token_id", t->start);
    }
    if (t->alibi != 0)
        kv_f32(h, "%s.attention.max_alibi_bias", t->alibi);
    if (t->clamp != 0)
        kv_f32(h, "%s.attention.clamp_kqv", t->clamp);
    if (t->window && family_of(t)->windows)
        vs_tiny_kv_u32(h, "%s.attention.sliding_window", t->window);
    if (t->experts) {
        vs_tiny_kv_u32(h, "%s.expert_count", t->experts);
        vs_tiny_kv_u32(h, "%s.expert_used_count", t->experts_used);
        vs_tiny_kv_u32(h, "%s.expert_feed_forward_length", t->expert_ff);
        if (t->shared_ff)
            vs_tiny_kv_u32(h, "%s.expert_shared_feed_forward_length", t->shared_ff);
        if (t->shared_ff || family_of(t)->choice_keys)
            vs_tiny_kv_u32(h, "%s.expert_shared_count", t->shared_ff < t->expert_ff ? !!t->shared_ff : t->shared_ff / t->expert_ff);
        if (t->expert_row != t->embd)
            vs_tiny_kv_u32(h, "%s.moe_latent_size", t->expert_row);
        if (t->dense_lead)
            vs_tiny_kv_u32(h, "%s.leading_dense_block_count", t->dense_lead);
        if (family_of(t)->choice_keys) {
            vs_tiny_kv_bool(h, "%s.expert_weights_norm", true);
            kv_f32(h, "%s.expert_weights_scale", 2.5);
        }
        if (family_of(t)->adjugate) {
            vs_tiny_kv_u32(h, "%s.experts_per_group", 2);
            kv_f32(h, "%s.expert_group_scale", 0.5);
            vs_tiny_kv_u32(h, "%s.expert_chunk_feed_forward_length", t->expert_ff / 2);
        }
        if (family_of(t)->expert_period)
            vs_tiny_kv_u32(h, "%s.moe_every_n_layers", family_of(t)->expert_period);
        if (t->expert_step > 1 || family_of(t)->says_step)
            vs_tiny_kv_u32(h, "%s.interleave_moe_layer_step", t->expert_step);
    }
    if (t->nextn)
        vs_tiny_kv_u32(h, "%s.nextn_predict_layers", t->nextn);
    if (family_of(t)->streams) {
        vs_tiny_kv_u32(h, "%s.altup.num_inputs", 4);
        vs_tiny_kv_u32(h, "%s.altup.active_idx", 0);
        vs_tiny_kv_u32(h, "%s.embedding_length_per_layer_input", t->layer_width);
        if (t->shared_kv)
            vs_tiny_kv_u32(h, "%s.attention.shared_kv_layers", t->shared_kv);
    }
    vs_tiny_kv_u32(h, "general.quantization_version", 2);
}

/* ---- tensors ---- */

struct tensor {
    char name[64];
    uint64_t ne[4];
    uint32_t n_dims;
    const struct vs_dtype_info *dtype;
    float mean, spread;                 /* value = mean + spread * normal */
};

struct model {
    const struct vs_tiny *t;
    struct tensor *tensor;
    size_t n, cap;
    unsigned n_mixed;
    bool in_decoder;
    int status;
    struct vs_error *err;
};

static const struct vs_dtype_info *dtype_named(struct model *m, const char *name)
{
    const struct vs_dtype_info *info;
    for (size_t i = 0; (info = vs_dtype_at(i)) != NULL; i++)
        if (info->computable && !strcmp(info->name, name))
            return info;
    if (m->status == VS_OK)
        m->status = vs_error_set(m->err, VS_E_INVALID, "unknown type '%s'", name);
    return vs_dtype_info(VS_F32);
}

/* What real quantisers take when the row is no multiple of the block. */
static const struct vs_dtype_info *fitting(const struct vs_dtype_info *info, uint64_t ne0)
{
    static const struct { enum vs_dtype from, to; } fallback[] = {
        { VS_Q2_K, VS_Q4_0 }, { VS_Q3_K, VS_Q4_0 }, { VS_Q4_K, VS_Q5_0 }, { VS_Q5_K, VS_Q5_1 }, { VS_Q6_K, VS_Q8_0 },
        { VS_IQ4_XS, VS_IQ4_NL }, { VS_IQ3_S, VS_IQ4_NL }, { VS_IQ3_XXS, VS_IQ4_NL }, { VS_IQ2_S, VS_IQ4_NL },
        { VS_IQ2_XS, VS_IQ4_NL }, { VS_IQ2_XXS, VS_IQ4_NL }, { VS_IQ1_M, VS_IQ4_NL }, { VS_IQ1_S, VS_IQ4_NL },
        { VS_TQ1_0, VS_Q4_0 }, { VS_TQ2_0, VS_Q4_0 }, { VS_Q1_0, VS_Q2_0 }, { VS_Q2_0, VS_Q4_0 }, { VS_NVFP4, VS_MXFP4 },
    };
    for (size_t i = 0; ne0 % info->block_len != 0 && i < sizeof fallback / sizeof *fallback; i++)
        if (info->id == (uint32_t)fallback[i].from)
            info = vs_dtype_info(fallback[i].to);
    return ne0 % info->block_len == 0 ? info : vs_dtype_info(VS_F16);
}

__attribute__((format(printf, 7, 8))) static void add_tensor(struct model *m, const char *type, uint64_t n_in, uint64_t n_out,
                                                             float mean, float spread, const char *format, ...)
{
    static const char *const all[] = { "Q4_0", "Q6_K", "Q4_1", "Q5_K", "Q8_0", "Q4_K", "Q5_0", "Q3_K", "Q5_1", "Q2_K", "F16",
                                       "BF16", "F32" };
    static const char *const lists[] = { "MXFP4", "IQ3_S", "IQ2_XS", "IQ4_NL", "IQ1_M", "IQ4_XS", "TQ1_0", "IQ3_XXS", "IQ2_XXS",
                                         "NVFP4", "IQ2_S", "Q6_0", "IQ1_S", "TQ2_0", "Q2_0", "Q1_0", "Q8_1" };
    if (m->n == m->cap) {
        size_t cap = m->cap ? 2 * m->cap : 64;
        struct tensor *more = realloc(m->tensor, cap * sizeof *more);
        if (!more) {
            m->status = vs_error_set(m->err, VS_E_NOMEM, "out of memory");
            return;
        }
        m->tensor = more;
        m->cap = cap;
    }
    struct tensor *t = &m->tensor[m->n++];
    va_list args;
    va_start(args, format);
    vsnprintf(t->name, sizeof t->name, format, args);
    va_end(args);
    if (family_of(m->t)->t5 && !strncmp(t->name, "blk.", 4)) {
        memmove(t->name + 4, t->name, sizeof t->name - 4);
        memcpy(t->name, m->in_decoder ? "dec." : "enc.", 4);
        t->name[sizeof t->name - 1] = 0;
    }
    t->ne[0] = n_in;
    t->ne[1] = n_out ? n_out : 1;
    t->ne[2] = t->ne[3] = 1;
    t->n_dims = n_out ? 2 : 1;
    if (!strcmp(type, "mixed"))
        type = all[m->n_mixed++ % (sizeof all / sizeof *all)];
    else if (!strcmp(type, "mixed-lists"))
        type = lists[m->n_mixed++ % (sizeof lists / sizeof *lists)];
    t->dtype = fitting(dtype_named(m, type), n_in);
    t->mean = mean;
    t->spread = spread;
}

static void add_matrix(struct model *m, const char *type, uint64_t n_in, uint64_t n_out, const char *name, int layer)
{
    float spread = 1 / __builtin_sqrtf((float)n_in);
    if (layer < 0)
        add_tensor(m, type, n_in, n_out, 0, 2 * spread, "%s.weight", name);
    else
        add_tensor(m, type, n_in, n_out, 0, spread, "blk.%d.%s.weight", layer, name);
}

static void add_norm(struct model *m, uint64_t n, const char *name, int layer)
{
    char stem[48];
    if (layer < 0)
        snprintf(stem, sizeof stem, "%s", name);
    else
        snprintf(stem, sizeof stem, "blk.%d.%s", layer, name);
    if (!family_of(m->t)->bare_norm)
        add_tensor(m, "F32", n, 0, 1, 0.1f, "%s.weight", stem);
    if (family_of(m->t)->norm_bias)
        add_tensor(m, "F32", n, 0, 0, 0.1f, "%s.bias", stem);
}

/* A matrix of a layer, with the bias (spread > 0) and the scale that it has beside it. */
static void add_linear(struct model *m, uint64_t n_in, uint64_t n_out, float bias, const char *name, int layer)
{
    add_matrix(m, m->t->type, n_in, n_out, name, layer);
    if (bias > 0)
        add_tensor(m, "F32", n_out, 0, 0, bias, "blk.%d.%s.bias", layer, name);
    if (m->t->scales)
        add_tensor(m, "F32", 1, 0, 0.8f, 0.1f, "blk.%d.%s.scale", layer, name);
}

static void list_short_convolution(struct model *m, int i)
{
    uint64_t n = m->t->embd;
    add_linear(m, n, 3 * n, 0, "shortconv.in_proj", i);
    add_tensor(m, "F32", m->t->taps, n, 0, 0.6f, "blk.%d.shortconv.conv.weight", i);
    add_linear(m, n, n, 0, "shortconv.out_proj", i);
}

/* Matrices of n experts: STEM_END. */
static void add_matrices(struct model *m, uint64_t n, uint64_t n_in, uint64_t n_out, const char *stem, const char *end, int layer)
{
    char name[48];
    snprintf(name, sizeof name, "%s_%s", stem, end);
    add_matrix(m, m->t->type, n_in, n_out, name, layer);
    if (m->status == VS_OK) {
        m->tensor[m->n - 1].ne[2] = n;
        m->tensor[m->n - 1].n_dims = 3;
    }
}

/* The matrices of all experts: STEM_exps, or STEM.E for each. */
static void add_experts(struct model *m, uint64_t n_in, uint64_t n_out, float bias, const char *stem, int layer)
{
    char name[48];
    const struct vs_tiny *t = m->t;
    for (uint64_t e = 0; e < t->experts && t->expert_files == 2; e++) {
        snprintf(name, sizeof name, "%s.%d", stem, (int)e);
        add_matrix(m, t->type, n_in, n_out, name, layer);
    }
    if (t->expert_files == 2)
        return;
    snprintf(name, sizeof name, "%s_exps", stem);
    add_matrices(m, t->experts, n_in, n_out, stem, "exps", layer);
    if (bias > 0)
        add_tensor(m, "F32", n_out, t->experts, 0, bias, "blk.%d.%s.bias", layer, name);
    if (t->scales)
        add_tensor(m, "F32", t->experts, 0, 0.8f, 0.1f, "blk.%d.%s.scale", layer, name);
}

static void list_experts(struct model *m, int i)
{
    const struct vs_tiny *t = m->t;
    float b = t->biases ? 0.1f : 0;
    add_tensor(m, "F32", t->embd, t->experts, 0, 2 / __builtin_sqrtf((float)t->embd), "blk.%d.ffn_gate_inp.weight", i);
    if (t->biases)
        add_tensor(m, "F32", t->experts, 0, 0, 0.5f, "blk.%d.ffn_gate_inp.bias", i);
    if (t->choice_bias)
        add_tensor(m, "F32", t->experts, 0, 0, 0.1f, "blk.%d.exp_probs_b.bias", i);
    bool gate = !family_of(t)->no_gate;
    if (t->expert_row != t->embd) {
        add_linear(m, t->embd, t->expert_row, 0, "ffn_latent_down", i);
        add_linear(m, t->expert_row, t->embd, 0, "ffn_latent_up", i);
    }
    if (t->expert_files == 1) {
        add_experts(m, t->expert_row, 2 * t->expert_ff, 0, "ffn_gate_up", i);
    } else {
        if (gate)
            add_experts(m, t->expert_row, t->expert_ff, b, "ffn_gate", i);
        add_experts(m, t->expert_row, t->expert_ff, b, "ffn_up", i);
    }
    add_experts(m, t->expert_ff, t->expert_row, b, "ffn_down", i);
    if (family_of(t)->adjugate) {
        add_matrices(m, t->experts / 2, t->embd, t->expert_ff / 2, "ffn_gate", "chexps", i);
        add_matrices(m, t->experts / 2, t->embd, t->expert_ff / 2, "ffn_up", "chexps", i);
        add_matrices(m, t->experts / 2, t->expert_ff / 2, t->embd, "ffn_down", "chexps", i);
    }
    if (!t->shared_ff)
        return;
    if (gate && !family_of(t)->shared_fused_up)
        add_linear(m, t->embd, t->shared_ff, 0, "ffn_gate_shexp", i);
    add_linear(m, t->embd, (family_of(t)->shared_fused_up ? 2 : 1) * t->shared_ff, 0, "ffn_up_shexp", i);
    add_linear(m, t->shared_ff, t->embd, 0, "ffn_down_shexp", i);
    if (family_of(t)->shared_gate)
        add_tensor(m, "F32", t->embd, 0, 0, 1 / __builtin_sqrtf((float)t->embd), "blk.%d.ffn_gate_inp_shexp.weight", i);
}

static void list_delta_net(struct model *m, int i)
{
    const struct vs_tiny *t = m->t;
    uint64_t inner = 2 * t->embd, all = inner + 2 * t->ssm_groups * t->ssm_state;
    if (t->ssm_files == 1) {
        add_linear(m, t->embd, all + inner, 0, "ssm_in", i);
    } else {
        add_linear(m, t->embd, all, 0, "attn_qkv", i);
        add_linear(m, t->embd, inner, 0, "attn_gate", i);
    }
    if (family_of(t)->grouped) {
        add_linear(m, t->embd, 2 * t->ssm_heads, 0, "ssm_ba", i);
    } else {
        add_linear(m, t->embd, t->ssm_heads, 0, "ssm_beta", i);
        add_linear(m, t->embd, t->ssm_heads, 0, "ssm_alpha", i);
    }
    add_tensor(m, "F32", t->taps, all, 0, 0.5f, "blk.%d.ssm_conv1d.weight", i);
    add_tensor(m, "F32", t->ssm_heads, 0, -1.5f, 0.7f, "blk.%d.ssm_dt.bias", i);
    add_tensor(m, "F32", t->ssm_heads, 0, -1.2f, 0.25f, "blk.%d.ssm_a", i);
    add_tensor(m, "F32", inner / t->ssm_heads, 0, 1, 0.1f, "blk.%d.ssm_norm.weight", i);
    add_linear(m, inner, t->embd, 0, "ssm_out", i);
}

static void list_kda(struct model *m, int i)
{
    const struct vs_tiny *t = m->t;
    uint64_t head = t->ssm_state, inner = t->heads * head;
    for (int k = 0; k < 3; k++) {
        char name[16];
        snprintf(name, sizeof name, "attn_%c", "qkv"[k]);
        add_linear(m, t->embd, inner, 0, name, i);
        add_tensor(m, "F32", t->taps, inner, 0, 0.5f, "blk.%d.ssm_conv1d_%c.weight", i, "qkv"[k]);
        if (m->status == VS_OK) {                /* [taps, 1, inner] */
            m->tensor[m->n - 1].ne[1] = 1;
            m->tensor[m->n - 1].ne[2] = inner;
            m->tensor[m->n - 1].n_dims = 3;
        }
    }
    add_linear(m, t->embd, t->heads, 0, "ssm_beta", i);
    add_linear(m, t->embd, head, 0, "ssm_f_a", i);
    add_linear(m, head, inner, 0, "ssm_f_b", i);
    add_linear(m, t->embd, head, 0, "ssm_g_a", i);
    add_linear(m, head, inner, 0, "ssm_g_b", i);
    add_tensor(m, "F32", 1, t->heads, -1.2f, 0.25f, "blk.%d.ssm_a", i);
    add_tensor(m, "F32", inner, 0, -1.5f, 0.7f, "blk.%d.ssm_dt.bias", i);
    add_tensor(m, "F32", head, 0, 1, 0.1f, "blk.%d.ssm_norm.weight", i);
    add_linear(m, inner, t->embd, 0, "attn_output", i);
}

/* BLK.NAME.weight of n numbers. */
static void add_vector(struct model *m, uint64_t n, float mean, float spread, const char *name, int layer)
{
    add_tensor(m, "F32", n, 0, mean, spread, "blk.%d.%s.weight", layer, name);
}

/* Several rows of n numbers, with ones between: [n, 1, 1, parts] */
static void add_lerps(struct model *m, uint64_t n, uint64_t parts, const char *name, int layer)
{
    add_tensor(m, "F32", n, 1, 0.5f, 0.2f, "blk.%d.%s.weight", layer, name);
    if (m->status == VS_OK) {
        m->tensor[m->n - 1].ne[3] = parts;
        m->tensor[m->n - 1].n_dims = parts > 1 ? 4 : 3;
    }
}

static void list_channel_mix(struct model *m, int i)
{
    const struct vs_tiny *t = m->t;
    add_lerps(m, t->embd, 1, "channel_mix_lerp_k", i);
    add_linear(m, t->embd, t->ff, 0, "channel_mix_key", i);
    add_linear(m, t->ff, t->embd, 0, "channel_mix_value", i);
    if (family_of(t)->mixer == RWKV7)
        return;
    add_lerps(m, t->embd, 1, "channel_mix_lerp_r", i);
    add_linear(m, t->embd, t->embd, 0, "channel_mix_receptance", i);
}

static void list_wkv6(struct model *m, int i)
{
    static const char *const lerps[] = { "time_mix_lerp_x", "time_mix_lerp_w", "time_mix_lerp_k", "time_mix_lerp_v",
                                         "time_mix_lerp_r", "time_mix_lerp_g" };
    const struct vs_tiny *t = m->t;
    uint64_t n = t->embd;
    for (int k = 0; k < (t->ssm_files == 1 ? 1 : 6); k++)
        add_lerps(m, n, 1, lerps[k], i);
    if (t->ssm_files == 1)
        add_lerps(m, n, 5, "time_mix_lerp_fused", i);
    add_linear(m, n, 5 * SMALL_RANK, 0, "time_mix_w1", i);
    add_matrix(m, t->type, SMALL_RANK, n, "time_mix_w2", i);
    if (m->status == VS_OK) {
        m->tensor[m->n - 1].ne[2] = 5;
        m->tensor[m->n - 1].n_dims = 3;
    }
    add_tensor(m, "F32", t->head_dim, n / t->head_dim, 0.3f, 0.3f, "blk.%d.time_mix_first.weight", i);
    add_vector(m, n, -1, 0.7f, "time_mix_decay", i);
    add_linear(m, n, SMALL_RANK, 0, "time_mix_decay_w1", i);
    add_linear(m, SMALL_RANK, n, 0, "time_mix_decay_w2", i);
    add_linear(m, n, n, 0, "time_mix_gate", i);
}

static void list_wkv7(struct model *m, int i)
{
    const struct vs_tiny *t = m->t;
    uint64_t n = t->embd;
    add_lerps(m, n, 6, "time_mix_lerp_fused", i);
    for (int k = 0; k < 4; k++) {
        char name[16];
        snprintf(name, sizeof name, "time_mix_%c0", "wavg"[k]);
        if (k < 3)
            add_vector(m, n, 0, 0.7f, name, i);
        name[10] = '1';
        add_linear(m, n, SMALL_RANK, 0, name, i);
        name[10] = '2';
        add_linear(m, SMALL_RANK, n, 0, name, i);
    }
    add_vector(m, n, 0.8f, 0.2f, "time_mix_k_k", i);
    add_vector(m, n, 0.8f, 0.2f, "time_mix_k_a", i);
    add_vector(m, n, 0, 0.3f, "time_mix_r_k", i);
}

static void list_rwkv(struct model *m, int i)
{
    const struct vs_tiny *t = m->t;
    uint64_t n = t->embd;
    add_norm(m, n, "attn_norm", i);
    add_norm(m, n, "attn_norm_2", i);
    (family_of(t)->mixer == RWKV6 ? list_wkv6 : list_wkv7)(m, i);
    add_linear(m, n, n, 0, "time_mix_receptance", i);
    add_linear(m, n, n, 0, "time_mix_key", i);
    add_linear(m, n, n, 0, "time_mix_value", i);
    add_linear(m, n, n, 0, "time_mix_output", i);
    add_norm(m, n, "time_mix_ln", i);
    list_channel_mix(m, i);
}

/* gemma3n: what stands beside the parts of a layer. */
static void list_streams(struct model *m, int i)
{
    const struct vs_tiny *t = m->t;
    uint64_t n = t->embd, rank = t->layer_width == 256 ? 64 : SMALL_RANK;        /* those of the real ones */
    add_norm(m, n, "altup_router_norm", i);
    add_tensor(m, "F32", n, 4, 0, __builtin_sqrtf((float)n), "blk.%d.altup_router.weight", i);
    add_tensor(m, "F32", 4, 16, 0, 0.1f, "blk.%d.altup_predict_coef.weight", i);
    add_tensor(m, "F32", 4, 4, 0, 0.1f, "blk.%d.altup_correct_coef.weight", i);
    add_norm(m, n, "altup_correct_scale", i);
    add_linear(m, n, rank, 0, "laurel_l", i);
    add_linear(m, rank, n, 0, "laurel_r", i);
    add_norm(m, n, "laurel_post_norm", i);
    add_linear(m, n, t->layer_width, 0, "inp_gate", i);
    add_linear(m, t->layer_width, n, 0, "proj", i);
    add_norm(m, n, "post_norm", i);
}

/* PLaMo 2's: heads as in Mamba 2. */
static void list_plamo2(struct model *m, int i)
{
    const struct vs_tiny *t = m->t;
    uint64_t inner = 2 * t->embd, rank = t->embd / 16 > 64 ? t->embd / 16 : 64;
    add_linear(m, t->embd, 2 * inner, 0, "ssm_in", i);
    add_tensor(m, "F32", t->taps, inner, 0, 0.5f, "blk.%d.ssm_conv1d.weight", i);
    add_linear(m, inner, rank + 2 * t->ssm_state, 0, "ssm_x", i);
    add_linear(m, rank, t->ssm_heads, 0, "ssm_dt", i);
    add_tensor(m, "F32", t->ssm_heads, 0, -1.5f, 0.7f, "blk.%d.ssm_dt.bias", i);
    add_tensor(m, "F32", t->ssm_heads, 0, -1.2f, 0.25f, "blk.%d.ssm_a", i);
    add_tensor(m, "F32", t->ssm_heads, 0, 1, 0.3f, "blk.%d.ssm_d", i);
    add_tensor(m, "F32", rank, 0, 1, 0.1f, "blk.%d.ssm_dt_norm", i);
    add_tensor(m, "F32", t->ssm_state, 0, 1, 0.1f, "blk.%d.ssm_b_norm", i);
    add_tensor(m, "F32", t->ssm_state, 0, 1, 0.1f, "blk.%d.ssm_c_norm", i);
    add_linear(m, inner, t->embd, 0, "ssm_out", i);
}

static void list_mamba(struct model *m, int i)
{
    const struct vs_tiny *t = m->t;
    bool heads = family_of(t)->mixer == MAMBA2;
    uint64_t inner = 2 * t->embd, conv = heads ? inner + 2 * t->ssm_groups * t->ssm_state : inner;
    add_linear(m, t->embd, heads ? inner + conv + t->ssm_heads : 2 * inner, 0, "ssm_in", i);
    add_tensor(m, "F32", t->taps, conv, 0, 0.5f, "blk.%d.ssm_conv1d.weight", i);
    add_tensor(m, "F32", conv, 0, 0, 0.1f, "blk.%d.ssm_conv1d.bias", i);
    add_tensor(m, "F32", heads ? t->ssm_heads : inner, 0, -1.5f, 0.7f, "blk.%d.ssm_dt.bias", i);
    if (heads) {
        add_tensor(m, "F32", 1, t->ssm_heads, -1.2f, 0.25f, "blk.%d.ssm_a", i);
        add_tensor(m, "F32", 1, t->ssm_heads, 1, 0.3f, "blk.%d.ssm_d", i);
        if (!family_of(t)->beside)
            add_tensor(m, "F32", inner / t->ssm_groups, t->ssm_groups, 1, 0.1f, "blk.%d.ssm_norm.weight", i);
    } else {
        add_linear(m, inner, t->ssm_rank + 2 * t->ssm_state, 0, "ssm_x", i);
        add_linear(m, t->ssm_rank, inner, 0, "ssm_dt", i);
        add_tensor(m, "F32", t->ssm_state, inner, -1.2f, 0.25f, "blk.%d.ssm_a", i);
        add_tensor(m, "F32", inner, 0, 1, 0.3f, "blk.%d.ssm_d", i);
    }
    if (family_of(t)->ssm_norms) {
        add_norm(m, t->ssm_rank, "ssm_dt_norm", i);
        add_norm(m, t->ssm_state, "ssm_b_norm", i);
        add_norm(m, t->ssm_state, "ssm_c_norm", i);
    }
    add_linear(m, inner, t->embd, 0, "ssm_out", i);
}

/* A matrix for each head. */
static void add_heads(struct model *m, uint64_t n_in, uint64_t n_out, const char *name, int layer)
{
    add_matrix(m, m->t->type, n_in, n_out, name, layer);
    if (m->status == VS_OK) {
        m->tensor[m->n - 1].ne[2] = m->t->heads;
        m->tensor[m->n - 1].n_dims = 3;
    }
}

static void list_latent(struct model *m, int i)
{
    const struct vs_tiny *t = m->t;
    uint64_t q = t->heads * (t->head_dim + t->rot);
    if (t->q_rank) {
        add_linear(m, t->embd, t->q_rank, 0, "attn_q_a", i);
        add_norm(m, t->q_rank, "attn_q_a_norm", i);
        add_linear(m, t->q_rank, q, 0, "attn_q_b", i);
    } else {
        add_linear(m, t->embd, q, 0, "attn_q", i);
    }
    add_linear(m, t->embd, t->latent_rank + t->rot, 0, "attn_kv_a_mqa", i);
    add_norm(m, t->latent_rank, "attn_kv_a_norm", i);
    if (t->whole_kv) {
        add_linear(m, t->latent_rank, t->heads * (t->head_dim + t->value_dim), 0, "attn_kv_b", i);
    } else {
        add_heads(m, t->head_dim, t->latent_rank, "attn_k_b", i);
        add_heads(m, t->latent_rank, t->value_dim, "attn_v_b", i);
    }
    add_linear(m, t->heads * t->value_dim, t->embd, 0, "attn_output", i);
    if (family_of(t)->indexer) {         /* two heads of 16 */
        add_linear(m, t->embd, 16, 0, "indexer.attn_k", i);
        add_linear(m, t->embd, 2, 0, "indexer.proj", i);
        add_linear(m, t->q_rank ? t->q_rank : t->embd, 32, 0, "indexer.attn_q_b", i);
        add_tensor(m, "F32", 16, 0, 1, 0.1f, "blk.%d.indexer.k_norm.weight", i);
        add_tensor(m, "F32", 16, 0, 0, 0.1f, "blk.%d.indexer.k_norm.bias", i);
    }
}

static void list_attention(struct model *m, int i)
{
    if (family_of(m->t)->latent) {
        list_latent(m, i);
        return;
    }
    const struct vs_tiny *t = m->t;
    const struct family *f = family_of(t);
    bool llama = !strcmp(t->arch, "llama"), bias = f->qkv_bias || t->bias || t->biases;
    uint64_t head = head_dim_of(t, (uint64_t)i), value = f->gemma4 ? head : t->value_dim;
    uint64_t q = heads_of(t, (uint64_t)i) * head, kv = kv_heads_of(t, (uint64_t)i) * head;
    uint64_t o = heads_of(t, (uint64_t)i) * value, v = kv_heads_of(t, (uint64_t)i) * value;
    if (!kv) {
        if (q)
            add_linear(m, t->embd, t->embd, 0, f->t5 ? "attn_o" : "attn_output", i);
        return;
    }
    if (t->qkv) {
        add_linear(m, t->embd, (f->mixer == DELTA_NET ? 2 : 1) * q + kv + v, bias && t->qkv == 2 ? 0.5f : 0, "attn_qkv", i);
    } else {
        add_linear(m, t->embd, f->mixer == DELTA_NET ? 2 * q : q, 0, "attn_q", i);
        add_linear(m, t->embd, kv, 0, "attn_k", i);
        if (!t->no_values || is_local(t, (uint64_t)i))
            add_linear(m, t->embd, v, 0, "attn_v", i);
    }
    add_linear(m, o, t->embd, 0, f->t5 ? "attn_o" : "attn_output", i);
    if (f->attention_gate)
        add_linear(m, t->embd, t->gate_by_head ? heads_of(t, (uint64_t)i) : o, 0, "attn_gate", i);
    if (f->sinks)
        add_tensor(m, "F32", heads_of(t, (uint64_t)i), 0, 0, 1, "blk.%d.attn_sinks.weight", i);
    if (bias && t->qkv != 2) {
        add_tensor(m, "F32", q, 0, 0, 0.5f, "blk.%d.attn_q.bias", i);
        add_tensor(m, "F32", kv, 0, 0, 0.5f, "blk.%d.attn_k.bias", i);
        add_tensor(m, "F32", v, 0, 0, 0.1f, "blk.%d.attn_v.bias", i);
    }
    if ((llama && t->bias) || t->biases)
        add_tensor(m, "F32", t->embd, 0, 0, 0.1f, "blk.%d.attn_output.bias", i);
    if (f->sub_norms)
        add_norm(m, q, "attn_sub_norm", i);
    bool rows = f->row_norms || t->row_norms;
    if (f->each_norms || t->each_norms) {
        add_tensor(m, "F32", head, heads_of(t, (uint64_t)i), 1, 0.1f, "blk.%d.attn_q_norm.weight", i);
        add_tensor(m, "F32", head, kv_heads_of(t, (uint64_t)i), 1, 0.1f, "blk.%d.attn_k_norm.weight", i);
    } else if (f->streams) {             /* scores count once: larger ones would make roundings grow */
        add_tensor(m, "F32", head, 0, 0.25f, 0.03f, "blk.%d.attn_q_norm.weight", i);
        add_tensor(m, "F32", head, 0, 0.25f, 0.03f, "blk.%d.attn_k_norm.weight", i);
    } else if (f->head_norms || rows) {
        add_norm(m, rows ? q : head, "attn_q_norm", i);
        add_norm(m, rows ? kv : head, "attn_k_norm", i);
    }
}

/* gemma4: what stands beside the parts of a layer. */
static void list_gemma4(struct model *m, int i)
{
    const struct vs_tiny *t = m->t;
    add_tensor(m, "F32", 1, 0, 0.8f, 0.1f, "blk.%d.layer_output_scale.weight", i);
    if (t->layer_width) {
        add_linear(m, t->embd, t->layer_width, 0, "inp_gate", i);
        add_linear(m, t->layer_width, t->embd, 0, "proj", i);
        add_norm(m, t->embd, "post_norm", i);
    }
    if (t->experts) {
        add_tensor(m, "F32", t->embd, 0, 4, 1, "blk.%d.ffn_gate_inp.scale", i);
        add_tensor(m, "F32", t->experts, 0, 0.8f, 0.1f, "blk.%d.ffn_down_exps.scale", i);
        add_norm(m, t->embd, "pre_ffw_norm_2", i);
        add_norm(m, t->embd, "post_ffw_norm_1", i);
        add_norm(m, t->embd, "post_ffw_norm_2", i);
    }
}

static void list_layer(struct model *m, int i)
{
    const struct vs_tiny *t = m->t;
    const struct family *f = family_of(t);
    uint64_t ff = t->ff + (uint64_t)i * t->ff_step;
    float b = t->biases ? 0.1f : 0;
    if (f->mixer >= RWKV6) {
        list_rwkv(m, i);
        return;
    }
    if (f->sum_norm) {
        add_norm(m, t->embd, "attn_output_norm", i);
        add_norm(m, t->embd, "layer_output_norm", i);
    }
    if (!f->no_pre_norm && !f->sum_norm && !(f->no_first_norm && i == 0) && heads_of(t, (uint64_t)i))
        add_norm(m, t->embd, "attn_norm", i);
    if (is_mixer(t, (uint64_t)i) || f->beside)
        (f->mixer == SHORT_CONVOLUTION ? list_short_convolution : f->mixer == DELTA_NET ? list_delta_net
         : f->mixer == PLAMO2 ? list_plamo2 : f->mixer == KDA ? list_kda : list_mamba)(m, i);
    if (!is_mixer(t, (uint64_t)i) && (!f->one_part || !feeds(t, (uint64_t)i)))
        list_attention(m, i);
    if (f->t5 && i == 0)
        add_tensor(m, t->type, t->heads, 32, 0, 1, "blk.%d.attn_rel_b.weight", i);
    if (!feeds(t, (uint64_t)i))
        return;
    for (int k = 0; k < 2 && f->post_norm; k++) {
        const char *name = k ? "post_ffw_norm" : "post_attention_norm";
        if (f->short_names)
            add_tensor(m, "F32", t->embd, 0, 1, 0.1f, "blk.%d.%s", i, name);
        else
            add_norm(m, t->embd, name, i);
    }
    if (f->gemma4)
        list_gemma4(m, i);
    if (f->streams)
        list_streams(m, i);
    if (t->attn_norm_2)
        add_norm(m, t->embd, "attn_norm_2", i);
    if (f->beside)                       /* Falcon-H1's has a name of its own */
        add_tensor(m, "F32", t->embd, 0, 1, 0.1f, "blk.%d.ffn_norm", i);
    else if (!f->no_pre_norm && !f->sum_norm && !f->no_ffn_norm && !t->no_ffn_norm && !f->one_part)
        add_norm(m, t->embd, f->ffn_norm ? f->ffn_norm : "ffn_norm", i);
    for (int k = 0; k < 2 && f->post_norms[0]; k++)
        add_norm(m, t->embd, f->post_norms[k], i);
    if (f->input_experts) {
        add_norm(m, t->embd, "ffn_norm_exps", i);
        ff = t->embd;
    }
    bool chosen = f->expert_period ? (uint64_t)i % f->expert_period == 1
                                   : (uint64_t)i >= t->dense_lead && ((uint64_t)i + 1) % t->expert_step == 0;
    if (t->experts && chosen) {
        list_experts(m, i);
        if (!f->input_experts && !t->dense_beside && !f->gemma4)
            return;
    }
    if (f->sub_norms)
        add_norm(m, ff, "ffn_sub_norm", i);
    if (!f->fused_up && !f->no_gate && !t->no_gate)
        add_linear(m, t->embd, ff, b, "ffn_gate", i);
    add_linear(m, t->embd, f->fused_up ? 2 * ff : ff, b, "ffn_up", i);
    add_linear(m, ff, t->embd, b, "ffn_down", i);
}

static void list_decoder(struct model *m)
{
    const struct vs_tiny *t = m->t;
    uint64_t width = t->heads * t->head_dim, kv = t->kv_heads * t->head_dim;
    m->in_decoder = true;
    for (int i = 0; i < (int)t->decoder_layers; i++) {
        list_layer(m, i);
        add_norm(m, t->embd, "cross_attn_norm", i);
        add_linear(m, t->embd, width, 0, "cross_attn_q", i);
        add_linear(m, t->embd, kv, 0, "cross_attn_k", i);
        add_linear(m, t->embd, kv, 0, "cross_attn_v", i);
        add_linear(m, width, t->embd, 0, "cross_attn_o", i);
    }
    add_norm(m, t->embd, "dec.output_norm", -1);
}

static void list_tensors(struct model *m)
{
    const struct vs_tiny *t = m->t;
    const struct family *f = family_of(t);
    add_matrix(m, t->embd_type, t->embd, t->vocab, "token_embd", -1);
    if (f->positions || t->positions)
        add_tensor(m, "F32", t->embd, t->ctx, 0, 0.2f, "position_embd.weight");
    if (f->sum_norm)
        add_tensor(m, "F32", t->embd, 2, 0, 0.2f, "token_types.weight");
    if (f->embd_norm)
        add_norm(m, t->embd, "token_embd_norm", -1);
    if (t->layer_width) {
        add_matrix(m, t->embd_type, t->layer_width * t->layers, t->vocab, "per_layer_token_embd", -1);
        add_matrix(m, t->type, t->embd, t->layer_width * t->layers, "per_layer_model_proj", -1);
        add_norm(m, t->layer_width, "per_layer_proj_norm", -1);
    }
    for (int k = 0; k < 2 && f->streams; k++) {
        add_matrix(m, t->type, t->embd, t->embd, k ? "altup_unembd_proj" : "altup_proj", -1);
        if (m->status == VS_OK) {
            m->tensor[m->n - 1].ne[2] = 3;
            m->tensor[m->n - 1].n_dims = 3;
        }
    }
    uint64_t pairs = (t->rot ? t->rot : t->head_dim) / 2;
    if (t->rope_freqs == 1)
        add_tensor(m, "F32", pairs, 0, 0, 0, "rope_freqs.weight");
    if (t->rope_freqs == 2) {
        add_tensor(m, "F32", pairs, 0, 1.2f, 0.1f, "rope_factors_short.weight");
        add_tensor(m, "F32", pairs, 0, 4, 1, "rope_factors_long.weight");
    }
    for (int i = 0; i < (int)(t->layers + t->nextn); i++)
        list_layer(m, i);
    for (int i = (int)t->layers; i < (int)(t->layers + t->nextn); i++) {
        add_norm(m, t->embd, "nextn.enorm", i);
        add_norm(m, t->embd, "nextn.hnorm", i);
        add_norm(m, t->embd, "nextn.shared_head_norm", i);
        add_matrix(m, t->type, 2 * t->embd, t->embd, "nextn.eh_proj", i);
    }
    if (!f->sum_norm)
        add_norm(m, t->embd, f->final_norm ? f->final_norm : "output_norm", -1);
    if (f->decoder)
        list_decoder(m);
    if (!t->tied && !f->tied && !f->encoder) {
        add_matrix(m, t->output_type, t->embd, t->vocab, "output", -1);
        if (t->output_scale != 0 && m->status == VS_OK)
            m->tensor[m->n - 1].spread *= (float)t->output_scale;
    }
    if (t->biases && !f->encoder)
        add_tensor(m, "F32", t->vocab, 0, 0, 1, "output.bias");
    for (uint64_t i = 2; i < 4 && t->dense; i++) {
        char name[16];
        snprintf(name, sizeof name, "dense_%d", (int)i);
        add_matrix(m, t->type, i == 2 ? t->embd : t->dense, i == 2 ? t->dense : t->embd, name, -1);
    }
    if (t->labels) {
        if (f->encoder) {
            add_matrix(m, t->type, t->embd, t->embd, "cls", -1);
            add_tensor(m, "F32", t->embd, 0, 0, 0.3f, "cls.bias");
            if (f->no_first_norm)        /* modern-bert's */
                add_norm(m, t->embd, "cls.norm", -1);
        }
        add_matrix(m, t->type, t->embd, t->labels, "cls.output", -1);
        add_tensor(m, "F32", t->labels, 0, 0, 1, "cls.output.bias");
    }
}

static uint64_t tensor_bytes(const struct tensor *t)
{
    return t->ne[0] / t->dtype->block_len * t->dtype->block_bytes * t->ne[1] * t->ne[2] * t->ne[3];
}

static void pad(struct vs_buf *b)
{
    while (b->n % 32 && b->status == VS_OK)
        vs_buf_char(b, 0);
}

static void write_tensor(struct vs_buf *out, uint64_t seed, uint64_t distinct, const struct tensor *t)
{
    float *x = malloc((t->ne[0] ? t->ne[0] : 1) * sizeof *x);
    size_t n_rows = (size_t)(t->ne[1] * t->ne[2] * t->ne[3]), row_bytes = (size_t)tensor_bytes(t) / n_rows;
    uint8_t *row = malloc(row_bytes ? row_bytes : 1);
    if (!x || !row)
        out->status = VS_E_NOMEM;
    uint64_t s = vs_tiny_hash(t->name, strlen(t->name)) ^ seed * 0xd1342543de82ef95;
    for (uint64_t r = 0; r < n_rows && out->status == VS_OK; r++) {
        if (distinct && r >= distinct) {
            memcpy(row, out->data + out->n - distinct * row_bytes, row_bytes);
            vs_buf_add(out, row, row_bytes);
            continue;
        }
        for (uint64_t i = 0; i < t->ne[0]; i++) {
            uint64_t u = vs_tiny_random(&s);                     /* four uniform numbers: near enough to a normal one */
            int32_t sum = (int32_t)(u & 0xffff) + (int32_t)(u >> 16 & 0xffff) + (int32_t)(u >> 32 & 0xffff)
                          + (int32_t)(u >> 48);
            x[i] = t->mean + t->spread * ((float)(sum - 131070) / 37837.0f);
            if (!strcmp(t->name, "rope_freqs.weight")) {         /* 1 for fast pairs, 8 for slow ones, a ramp between */
                float p = (float)i / (float)t->ne[0];
                x[i] = p < 0.375f ? 1 : p > 0.625f ? 8 : 1 + (p - 0.375f) * 28;
            }
        }
        vs_quantize((enum vs_dtype)t->dtype->id, x, row, t->ne[0]);
        vs_buf_add(out, row, row_bytes);
    }
    pad(out);
    free(x);
    free(row);
}

int vs_tiny_file(const struct vs_tiny *t, const struct vs_tiny_head *h, bool weights, struct vs_buf *ret, struct vs_error *err)
{
    struct model m = { .t = t, .err = err };
    if (weights)
        list_tensors(&m);
    if (m.status == VS_OK) {
        vs_buf_str(ret, "GGUF");
        vs_buf_u32le(ret, (uint32_t)t->version);
        vs_buf_u64le(ret, m.n);
        vs_buf_u64le(ret, h->n_kv);
        vs_buf_add(ret, h->buf.data, h->buf.n);
        uint64_t offset = 0;
        for (size_t i = 0; i < m.n; i++) {
            vs_tiny_put_str(ret, m.tensor[i].name, strlen(m.tensor[i].name));
            vs_buf_u32le(ret, m.tensor[i].n_dims);
            for (uint32_t d = 0; d < m.tensor[i].n_dims; d++)
                vs_buf_u64le(ret, m.tensor[i].ne[d]);
            vs_buf_u32le(ret, m.tensor[i].dtype->id);
            vs_buf_u64le(ret, offset);
            offset += (tensor_bytes(&m.tensor[i]) + 31) / 32 * 32;
        }
        pad(ret);
        for (size_t i = 0; i < m.n; i++)
            write_tensor(ret, t->seed, t->distinct, &m.tensor[i]);
        if (h->buf.status != VS_OK || ret->status != VS_OK)
            m.status = vs_error_set(err, VS_E_NOMEM, "out of memory");
    }
    free(m.tensor);
    return m.status;
}
