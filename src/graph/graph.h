/* graph/graph.h - a model as a list of operations: what importers make and backends lower.
 *
 * Operations are coarse and named as the field names them. A value is an f32 array [rows, width]; rows is one of two
 * symbols: the tokens of this step, or those of them whose output is read. Nodes are in execution order; each makes
 * one value. Tensors are weights still in the file's encoding.
 *
 * Memory:  everything lies in the graph's arrays, freed by _clear.
 * Failure: adders return VS_NONE only when out of memory; `status` is sticky.
 */
#ifndef VS_GRAPH_GRAPH_H
#define VS_GRAPH_GRAPH_H
#include "tensor/dtype.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VS_NONE UINT32_MAX               /* no value, no tensor */

enum vs_rows { VS_ROWS_STEP, VS_ROWS_OUT };
enum vs_activation {
    VS_ACT_SILU, VS_ACT_GELU_TANH,       /* GELU as many models compute it */
    VS_ACT_RELU2, VS_ACT_XIELU,          /* max(x, 0)^2, and that of docs/NUMERICS.md; without a second value only */
    VS_ACT_SIGMOID,
    VS_ACT_SWIGLU_OAI,                   /* the same; g = min(gate, 7), u = up within -7..7: (u + 1) * (g * sigmoid(1.702 g)) */
    VS_ACT_GELU_ERF,                     /* as it is defined */
    VS_ACT_NONE,                         /* x itself; in a VS_OP_GLU with a second value only */
    VS_ACT_RELU,                         /* max(x, 0) */
    VS_ACT_SOFTPLUS,                     /* of a gate only */
};

enum vs_op {
    VS_OP_EMBED,        /* tokens -> rows of tensor 0, times p.scale */
    VS_OP_POSITION,     /* in 0 + the row of tensor 0 that belongs to the position */
    VS_OP_TAKE_OUT,     /* in 0, only the rows whose output is read */
    VS_OP_RMS_NORM,     /* in 0, tensor 0 = weight [width]; p.eps; per head of p.head_dim when that is not 0, then perhaps without a
                         * weight */
    VS_OP_LAYER_NORM,   /* in 0 without its mean, tensor 0 = weight [width] or none, tensor 1 = bias or none; p.eps; p.n_heads: so
                         * many equal parts are normed apart (0: one), the weight may be that of a part */
    VS_OP_LINEAR,       /* in 0 @ tensor 0^T (+ tensor 1 = bias), and p.n_adapts of the graph's from p.first_adapt on */
    VS_OP_ROPE,         /* in 0 by heads of p.head_dim, from its element p.first on; p.rope = index into the graph's rope table */
    VS_OP_ATTENTION,    /* q = in 0, k = in 1, v = in 2; writes k, v to the cache of p.layer, then attends; without k and v it reads
                         * what another has written there; tensor 0 [heads], where
                         * it is there: one more logit of each head, which has no value; p.both_ways: keys after the query count
                         * too, and a window of n reaches n - 1 positions to each side; p.of_source: it reads the source's */
    VS_OP_KEEP,         /* k = in 0, v = in 1 to the cache of p.layer, for attentions of the answer; makes nothing that is read */
    VS_OP_GLU,          /* act(in 0) * in 1, or act(in 0) alone; p.activation; p.scale > 0 with two values and SiLU: act(in 0) is
                         * at most that, in 1 within -that .. that */
    VS_OP_ADD,          /* in 0 + in 1 */
    VS_OP_SOFTCAP,      /* p.softcap * tanh(in 0 / p.softcap) */
    VS_OP_CLAMP,        /* in 0 limited to -p.scale .. p.scale */
    VS_OP_SCALE,        /* in 0 * tensor 0 [1] or [width], without a tensor 0 * p.scale (+ tensor 1 = bias) */
    /* Recurrent: each row reads what the rows of its sequence before it left in the state (at p.state of a slot). */
    VS_OP_CONV,         /* in 0 (* in 1, where it is there) by channels over the last p.n_taps positions with tensor 0
                         * [n_taps, width] (+ tensor 1 = bias), then p.activation, then * in 2, where it is there */
    VS_OP_GATE,         /* each of the p.n_heads equal parts of in 0 * act(its element of in 1); p.activation: sigmoid or
                         * softplus */
    VS_OP_ROUTE,        /* in 0 = the router's logits -> who is chosen and with which weights, for VS_OP_EXPERTS alone; p.experts */
    VS_OP_EXPERTS,      /* in 0 through the experts that in 1 (VS_OP_ROUTE) chose, by their weights; p.experts */
    VS_OP_PICK,         /* elements [p.first, p.first + p.head_dim) of each of the p.n_heads equal parts of in 0 */
    VS_OP_JOIN,         /* p.n_heads equal parts, each one of in 0 and behind it one of in 1, which may have one part for all */
    VS_OP_BY_HEADS,     /* each of the p.n_heads equal parts of in 0 @ a matrix of its own, (tensor 0 + part)^T */
    VS_OP_GROUP_NORM,   /* RMS norm of each of the p.n_heads equal parts of in 0; p.eps; tensor 0 = weight [width], or that of a
                         * part, or none */
    /* in 0 = [x | B | C], in 1 = time steps [p.n_heads]; tensors 0 to 2 = A, D, bias of the steps, each [p.n_heads]; p.head_dim
     * values of x a head, p.n_state of B and C for each of p.n_kv_heads groups of heads: Mamba 2 */
    VS_OP_SCAN_HEADS,
    /* in 0 = x, in 1 = time steps [width], in 2 = [B | C], p.n_state of each; tensor 0 = A [p.n_state, width], 1 = D [width]:
     * Mamba */
    VS_OP_SCAN,
    /* in 0 = [Q | K | V], in 1 = beta, in 2 = time steps, both before their functions [p.n_heads]; tensor 0 = A, 1 = bias of the
     * steps [p.n_heads]; p.n_kv_heads heads of q and k of p.n_state, p.n_heads of v of p.head_dim; head h reads q and k of head
     * h mod p.n_kv_heads, or (p.grouped) of head h / (p.n_heads / p.n_kv_heads); p.eps: gated DeltaNet.
     * p.each_key: in 2 and tensor 1 have a step for each of the p.n_state elements of a head's keys (KDA) */
    VS_OP_DELTA,
    VS_OP_SHIFT,        /* in 0 + (that of the position before - in 0) * (tensor 0 [width] (+ in 1)) */
    /* Of p.n_heads heads of p.head_dim: in 0 = [R | K | V], in 1 = what decays are made of; tensor 0 = bonus [width]: RWKV 6 */
    VS_OP_WKV6,
    /* in 0 = [R | K | V], in 1 = what decays and rates are made of [2 width]; tensors 0 to 2 = k_k, k_a, r_k [width]
     * -> [O | bonus], which is twice as wide: RWKV 7 */
    VS_OP_WKV7,
    /* Rows of p.n_heads equal parts (streams). Parts from p.first on: that of in 0 + the sum over the parts of in 2, as wide as
     * they, of each * (in 1, n parts of in 2 for each of in 0, + p.scale); in 1 may be none; other parts stay as in 0 */
    VS_OP_STREAMS,
    VS_OP_MATCH,        /* in 0 * the root mean square of in 1 / its own, whose mean square counts as p.eps at least */
    VS_OP_MEAN,         /* of texts that are whole in the step, all rows read: the first becomes the mean of all of the text's rows
                         * of in 0; the others stay as in 0 */
    VS_OP_SPARSE,       /* max(in 0 - (mean + p.scale * standard deviation of the row), 0) */
    VS_N_OPS
};

struct vs_tensor {
    char name[64];
    enum vs_dtype dtype;
    uint32_t n_cols, n_rows;             /* n_cols runs fastest; a vector has n_rows = 1 */
    uint64_t offset, n_bytes;            /* in the file */
};

struct vs_value { enum vs_rows rows; uint32_t width; };

struct vs_rope {
    uint32_t n_dims;                     /* rotated elements of a head, even */
    bool neox;                           /* pairs (i, i + n/2), else (2i, 2i + 1) */
    double base, freq_scale;             /* angle = pos * vs_rope_frequency(i) / factor[i] */
    /* YaRN, when ext > 0: pairs below low keep their angle, those above high take freq_scale whole */
    double ext, low, high;
    double magnitude;                    /* of the cosines and sines */
    uint32_t sections[4];                /* of pairs that turn by several positions; all 0: they turn by one. In a text the
                                          * positions are one and the same, and that of the last section is 0 */
    bool interleaved;                    /* pairs 0, 1, 2, 3... turn by the first, second, third, first... position */
    uint32_t factors;                    /* tensor [n_dims / 2] of f32 divisors, or VS_NONE */
    /* longrope: other divisors where a sequence may be longer than so many positions (max_positions of the backend) */
    uint32_t long_factors, long_after;
};
/* Radians a position of pair i, before the division by its factor. */
double vs_rope_frequency(const struct vs_rope *r, uint32_t pair);

/* How the router's logits become weights; the numbers are GGUF's. */
enum vs_gating {
    VS_GATING_SOFTMAX = 1,               /* soft-max over all experts */
    VS_GATING_SIGMOID = 2,
    VS_GATING_CHOSEN = 3,                /* soft-max over those that were chosen */
};

/* The feed-forward part of a layer as a choice of n: docs/NUMERICS.md, section 9, says what is computed. Expert e has the matrices
 * gate + e, up + e and down + e. */
struct vs_experts {
    uint32_t n, n_used;                  /* 1 <= n_used <= n * each <= VS_MAX_EXPERTS */
    uint32_t each;                       /* the router chooses of n * each; who is i there is expert i / each here */
    uint32_t n_in, width;                /* of the model and inside an expert */
    enum vs_gating gating;
    uint32_t n_groups, n_groups_used;    /* only experts of the best groups are chosen; 0: no groups; n_groups divides n */
    bool normalise;                      /* the weights of those chosen are divided by their sum */
    bool weigh_input;                    /* a weight multiplies what its expert reads, not what it gives */
    float scale;                         /* of the weights, 1: none */
    float limit;                         /* as p.scale of VS_OP_GLU; 0: none */
    uint32_t choice_bias;                /* tensor [n], added for the choice alone, or VS_NONE */
    uint32_t gate, up, down;             /* tensors; gate VS_NONE: act(up x) in place of act(gate x) * up x */
    uint32_t gate_bias, up_bias, down_bias;      /* tensors [n, outputs] or VS_NONE */
    uint32_t gate_scale, up_scale, down_scale;   /* tensors [n], each times the product before the bias, or VS_NONE */
    enum vs_activation activation;
};
enum { VS_MAX_EXPERTS = 512 };

/* What kernels and readers agree on. */
enum { VS_MAX_HEAD_DIM = 576 };          /* a multiple of the 32 of an activation block */
enum { VS_MAX_TAPS = 16, VS_MAX_STATE = 256 };           /* of a convolution; p.n_state */

/* What an adapter adds to the product with a matrix: another one with two small matrices, times factor and times the scale that a
 * row has for the adapter (docs/NUMERICS.md). */
struct vs_adapt {
    uint32_t down;                       /* value: the same input @ the first of them, [rows, rank] */
    uint32_t up;                         /* tensor [rank, rows of the matrix], of floats */
    uint32_t adapter;                    /* 0 .. n_adapters - 1 */
    float factor;
};
enum { VS_MAX_ADAPTERS = 7, VS_MOST_SCALE = 1000 };

struct vs_node {
    enum vs_op op;
    uint32_t in[3];                      /* values, or VS_NONE */
    uint32_t tensor[3];                  /* tensors, or VS_NONE */
    uint32_t out;
    struct {
        float eps, scale, softcap;
        uint32_t head_dim, n_heads, n_kv_heads, layer, window, rope;    /* window 0 = all */
        uint32_t value_dim;              /* VS_OP_ATTENTION: of a head's value, where head_dim is that of its key */
        bool both_ways, of_source, grouped, each_key;
        float alibi;                     /* VS_OP_ATTENTION: the largest bias by distance (docs/NUMERICS.md); 0: none */
        enum vs_activation activation;
        uint32_t first_adapt, n_adapts;
        float xielu[4];                  /* of that: alpha of x > 0, of the others, beta, eps */
        /* VS_OP_ATTENTION: the query of position p counts (1 + temperature * ln(1 + floor((p + temperature_first) /
         * temperature_length))) times; temperature 0 = once */
        float temperature;
        uint32_t temperature_length, temperature_first;
        bool chunks;                     /* the window is a block of positions that begins at one of its multiples */
        uint32_t n_taps, n_state, first;
        size_t state;                    /* where its state begins in a slot, in floats */
        uint32_t experts;                /* index into the graph's */
    } p;
};

/* What a row that is read may give. A step computes those that somebody wants (backend/backend.h). */
enum vs_output {
    VS_OUTPUT_LOGITS,                    /* [n_vocab] of the next token */
    VS_OUTPUT_VECTOR,                    /* the row behind the last norm */
    VS_OUTPUT_SCORE,                     /* of a model that ranks: a number for each of its labels */
    VS_N_OUTPUTS
};
enum vs_pooling { VS_POOL_UNKNOWN, VS_POOL_NONE, VS_POOL_MEAN, VS_POOL_CLS, VS_POOL_LAST, VS_POOL_RANK };

struct vs_kv_layer { uint32_t n_heads, head_dim, value_dim; };   /* of the cache */

struct vs_graph {
    struct vs_tensor *tensors;  size_t n_tensors, cap_tensors;
    struct vs_value *values;    size_t n_values, cap_values;
    struct vs_node *nodes;      size_t n_nodes, cap_nodes;
    struct vs_adapt *adapts;    size_t n_adapts, cap_adapts;
    uint32_t n_adapters;
    struct vs_rope ropes[2];    size_t n_ropes;
    struct vs_experts *experts; size_t n_experts, cap_experts;
    /* what an engine must know of the whole */
    char architecture[32];
    uint32_t n_layers, n_vocab, n_embd, context;         /* context = positions the model was trained for */
    struct vs_kv_layer *kv_layers; size_t n_kv_layers, cap_kv_layers;    /* those with K and V of their own */
    uint32_t n_kv_heads, head_dim, value_dim;            /* the most of them */
    size_t n_state;                      /* floats of a sequence's state, over all recurrent layers */
    bool whole;                          /* tokens see those after them: a text is computed in one step, from its beginning */
    /* A model that answers a source (an encoder, then a decoder): the first n_source nodes are for the rows of the source, which
     * ends before the first token `start`, the others for those from there on. n_source 0: all nodes are for all rows. */
    size_t n_source;
    uint32_t start;
    uint32_t output[VS_N_OUTPUTS];       /* values [out rows, ...]; VS_NONE: the model has no such thing */
    enum vs_pooling pooling;             /* what the file says: how the vectors of a text's tokens become one */
    int status;
};

void vs_graph_clear(struct vs_graph *g);
uint32_t vs_graph_tensor(struct vs_graph *g, const struct vs_tensor *t);
uint32_t vs_graph_experts(struct vs_graph *g, const struct vs_experts *e);
/* One more layer of the cache; its index. */
uint32_t vs_graph_kv_layer(struct vs_graph *g, const struct vs_kv_layer *l);
uint32_t vs_graph_adapt(struct vs_graph *g, const struct vs_adapt *a);
/* Numbers of an output's row; 0: there is no such output. */
uint32_t vs_graph_width(const struct vs_graph *g, enum vs_output which);
/* Adds a node; its output gets `rows` and `width`. Returns the output value. */
uint32_t vs_graph_node(struct vs_graph *g, const struct vs_node *n, enum vs_rows rows, uint32_t width);
#endif
