/* selftest/tiny.h - tiny seeded random models, made in memory as whole GGUF files: what the tests and the self-test compute with.
 *
 * Same description, same bytes, on every machine: weights come from splitmix64 keyed by seed and tensor name (so a change of
 * type or of another tensor leaves them alone), arithmetic is + - * / sqrt. Scales are such that activations stay O(1)
 * and logits spread by about 2. A row that is no multiple of its type's block gets the type that real quantisers fall back to.
 */
#ifndef VS_SELFTEST_TINY_H
#define VS_SELFTEST_TINY_H
#include "base/buf.h"
#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

struct vs_tiny {
    const char *arch;                   /* llama, qwen2, gemma3, ...: the table of tiny.c */
    const char *type;                   /* of the matrices: Q4_0, Q6_K, F16, ...; mixed: each another of the plain ones;
                                           mixed-lists: of those of tensor/indexed.h */
    const char *embd_type, *output_type;    /* NULL: as type */
    uint64_t layers, embd, heads, vocab, ctx, seed;
    uint64_t kv_heads, head_dim, ff;    /* 0: heads, embd / heads, 3 * embd */
    uint64_t window;                    /* of architectures that have windows; 0: none */
    uint64_t rot, ff_step;              /* rotated part of a head, 0: all of it; what each layer's ff has over the one before it */
    uint64_t latent_rank, q_rank;       /* of latent attention: of k and v, 0: 32; of q, 0: none */
    uint64_t value_dim;                 /* of a head's values, 0: head_dim */
    uint64_t whole_kv;                  /* flag: attn_kv_b in place of attn_k_b and attn_v_b */
    uint64_t local_dim, shared_kv;      /* gemma4: heads of window layers, 0: half of head_dim; layers without keys of their own */
    uint64_t layer_width, no_values;    /* width of the embeddings of layers, 0: none; flag: full layers have no attn_v */
    uint64_t gate_by_head;              /* flag: the gate of attention has an element for each head, not for each of theirs */
    uint64_t ssm_heads, ssm_groups, ssm_state, ssm_rank;     /* of Mamba, 0: 4, 2, 16, 8; its width is 2 embd */
    uint64_t steps_normed;              /* flag: Falcon Mamba's norms */
    uint64_t attend, taps;              /* recurrent families: every so manieth layer has attention, 0: 2; of convolutions, 0: 3 */
    uint64_t version;                   /* of GGUF, 2 or 3 */
    /* flags: no output matrix; a rope_freqs tensor (2: long and short factors); biases also where the architecture has none */
    uint64_t tied, rope_freqs, bias;
    uint64_t biases, scales;            /* flags: a bias beside every matrix; a scale beside every matrix of a layer */
    uint64_t attn_norm_2;               /* flag: a second norm in each layer, for attention alone (falcon) */
    uint64_t row_norms, positions;      /* flags: norms of all heads of q and of k, learned positions (mpt) */
    uint64_t each_norms;                /* flag: norms of heads of q and k with weights of their own (command-r, stablelm) */
    uint64_t no_gate;                   /* flag: none in the feed-forward part (t5encoder, t5) */
    uint64_t decoder_layers, start;     /* t5: 0 = as many as there are others; the token that begins answers */
    uint64_t no_ffn_norm;               /* flag: none before the feed-forward part (stablelm) */
    uint64_t dense;                     /* width between dense_2 and dense_3 (gemma-embedding); 0: it has none */
    uint64_t labels;                    /* numbers that a model which ranks gives; 0: it does not rank */
    uint64_t qkv;                       /* 1: q, k and v are one matrix; 2: their biases too */
    /* experts: how many, of which a token uses so many, each so wide (0: half of ff); in layers from dense_lead on, of which every
     * expert_step-th has them; a shared one beside them, so wide (0: none). expert_files: 1: gate and up are one tensor, 2: every
     * expert has tensors of its own */
    uint64_t experts, experts_used, expert_ff, dense_lead, expert_step, shared_ff, expert_files;
    uint64_t dense_beside;              /* flag: a dense part beside the experts (grok) */
    uint64_t expert_row;                /* what experts read and give, 0: embd (nemotron_h_moe) */
    uint64_t ssm_files;                 /* 1: DeltaNet's q, k, v and gate are one tensor (qwen3next) */
    uint64_t nextn;                     /* layers behind the others that guess further tokens */
    uint64_t choice_bias;               /* flag: a bias that counts for the choice alone */
    uint64_t distinct;                  /* rows of a matrix behind so many repeat those before; 0: none do. For large files */
    double freq_base, rope_scale;
    double alibi, clamp;                /* attention.max_alibi_bias and attention.clamp_kqv; 0: the file does not say */
    double output_scale;                /* of the output matrix; 0: 1. A tiny one makes every logit a denormal */
};

/* Fills in what was left 0; VS_E_INVALID with a text when it cannot be a model. */
int vs_tiny_complete(struct vs_tiny *t, struct vs_error *err);

/* The key-value part of a file. Failure is sticky in buf. A key may hold one %s, which becomes the architecture. */
struct vs_tiny_head {
    struct vs_buf buf;
    uint64_t n_kv;
    const char *arch;
};
void vs_tiny_key(struct vs_tiny_head *h, const char *key, uint32_t type);      /* its value follows */
void vs_tiny_kv_u32(struct vs_tiny_head *h, const char *key, uint64_t v);
void vs_tiny_kv_bool(struct vs_tiny_head *h, const char *key, bool v);
void vs_tiny_kv_str(struct vs_tiny_head *h, const char *key, const char *v, uint64_t n);
enum { VS_TINY_U32 = 4, VS_TINY_I32 = 5, VS_TINY_F32 = 6, VS_TINY_BOOL = 7, VS_TINY_STR = 8 };
/* The elements follow by vs_buf_u32le, vs_tiny_put_* or vs_buf_add. */
void vs_tiny_kv_array(struct vs_tiny_head *h, const char *key, uint32_t type, uint64_t n);
void vs_tiny_put_f32(struct vs_buf *b, float v);
void vs_tiny_put_str(struct vs_buf *b, const char *s, uint64_t n);

/* What an importer of the weights needs to know of the model. t is complete. */
void vs_tiny_metadata(const struct vs_tiny *t, struct vs_tiny_head *h);

/* The whole file: head, tensor list and (weights) tensors. ret is empty before; cleared by the caller in every case. */
int vs_tiny_file(const struct vs_tiny *t, const struct vs_tiny_head *h, bool weights, struct vs_buf *ret, struct vs_error *err);

/* The generator of it all, and the hash that makes a key of a name. */
uint64_t vs_tiny_random(uint64_t *state);
uint64_t vs_tiny_hash(const void *data, size_t n);
#endif
