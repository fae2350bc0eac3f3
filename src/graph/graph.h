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

enum vs_op {
    VS_OP_EMBED,        /* tokens -> rows of tensor 0, times p.scale */
    VS_OP_TAKE_OUT,     /* in 0, only the rows whose output is read */
    VS_OP_RMS_NORM,     /* in 0, tensor 0 = weight [width]; p.eps; per head of p.head_dim when that is not 0 */
    VS_OP_LINEAR,       /* in 0 @ tensor 0^T (+ tensor 1 = bias) */
    VS_OP_ROPE,         /* in 0 by heads of p.head_dim; p.rope = index into the graph's rope table */
    VS_OP_ATTENTION,    /* q = in 0, k = in 1, v = in 2; writes k, v to the cache of p.layer, then attends */
    VS_OP_GLU,          /* act(in 0) * in 1; p.gelu */
    VS_OP_ADD,          /* in 0 + in 1 */
    VS_OP_SOFTCAP,      /* p.softcap * tanh(in 0 / p.softcap) */
    VS_OP_SCALE,        /* in 0 * tensor 0 [1] (+ tensor 1 = bias) */
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
    uint32_t factors;                    /* tensor [n_dims / 2] of f32 divisors, or VS_NONE */
};
/* Radians a position of pair i, before the division by its factor. */
double vs_rope_frequency(const struct vs_rope *r, uint32_t pair);

/* What kernels and readers agree on. */
enum { VS_MAX_HEAD_DIM = 512 };          /* a multiple of the 32 of an activation block */

struct vs_node {
    enum vs_op op;
    uint32_t in[3];                      /* values, or VS_NONE */
    uint32_t tensor[2];                  /* tensors, or VS_NONE */
    uint32_t out;
    struct {
        float eps, scale, softcap;
        uint32_t head_dim, n_heads, n_kv_heads, layer, window, rope;    /* window 0 = all */
        bool gelu;
    } p;
};

struct vs_graph {
    struct vs_tensor *tensors;  size_t n_tensors, cap_tensors;
    struct vs_value *values;    size_t n_values, cap_values;
    struct vs_node *nodes;      size_t n_nodes, cap_nodes;
    struct vs_rope ropes[2];    size_t n_ropes;
    /* what an engine must know of the whole */
    char architecture[32];
    uint32_t n_layers, n_vocab, n_embd, context;         /* context = positions the model was trained for */
    uint32_t n_kv_heads, head_dim;       /* of the cache, the same in every layer */
    uint32_t logits;                     /* value [out rows, n_vocab] */
    int status;
};

void vs_graph_clear(struct vs_graph *g);
uint32_t vs_graph_tensor(struct vs_graph *g, const struct vs_tensor *t);
/* Adds a node; its output gets `rows` and `width`. Returns the output value. */
uint32_t vs_graph_node(struct vs_graph *g, const struct vs_node *n, enum vs_rows rows, uint32_t width);
#endif
