/* import/streams.c - Gemma 3n: a row is four streams side by side. A layer predicts all four, works on the first, and corrects the
 * others by what came of it. docs/NUMERICS.md, section 14. */
#include "import/internal.h"
#include "base/num.h"

enum { N_STREAMS = 4 };
#define LEAST 1e-5f                      /* of a mean square that something is divided by */

static uint32_t first_of(struct vs_builder *b, uint32_t streams)
{
    return vs_gb_pick(b, streams, 1, 0, b->n_embd);
}

/* x, as large as `like`. */
static uint32_t match(struct vs_builder *b, uint32_t x, uint32_t like)
{
    struct vs_node n = vs_gb_base(VS_OP_MATCH, x);
    n.in[1] = like;
    n.p.eps = LEAST;
    return vs_gb_node(b, n, b->n_embd);
}

/* Streams, and from the first one on what others add to them: by `by` (+ plus), or by plus alone. */
static uint32_t add_streams(struct vs_builder *b, uint32_t streams, uint32_t by, uint32_t others, float plus, uint32_t first)
{
    struct vs_node n = vs_gb_base(VS_OP_STREAMS, streams);
    n.in[1] = by;
    n.in[2] = others;
    n.p.n_heads = N_STREAMS;
    n.p.scale = plus;
    n.p.first = first;
    return vs_gb_node(b, n, N_STREAMS * b->n_embd);
}

/* Matrices of all streams but the first. */
static uint32_t of_others(struct vs_builder *b, const char *name)
{
    return vs_gb_head_matrices(b, -1, name, N_STREAMS - 1, b->n_embd, b->n_embd);
}

static uint32_t through(struct vs_builder *b, uint32_t x, uint32_t matrix)
{
    struct vs_node n = vs_gb_base(VS_OP_LINEAR, x);
    n.tensor[0] = matrix;
    return vs_gb_node(b, n, b->n_embd);
}

/* Four numbers of a row that say how streams mix. */
static uint32_t modalities(struct vs_builder *b, uint32_t x, int i)
{
    x = vs_gb_norm(b, x, i, "altup_router_norm", b->n_embd);
    x = vs_gb_linear(b, vs_gb_scaled(b, x, 1.0f / (float)b->n_embd, b->n_embd), i, "altup_router", b->n_embd, N_STREAMS);
    return vs_gb_tanh(b, x, N_STREAMS);
}

uint32_t vs_gb_streams(struct vs_builder *b, uint32_t h)
{
    uint32_t all = h, matrix = of_others(b, "altup_proj.weight");
    for (uint32_t k = 0; k + 1 < N_STREAMS; k++)
        all = vs_gb_join(b, all, match(b, through(b, h, matrix + k), h), 1, (k + 2) * b->n_embd);
    return all;
}

uint32_t vs_gb_streams_end(struct vs_builder *b, uint32_t streams)
{
    uint32_t first = first_of(b, streams), all = first, n = b->n_embd;
    uint32_t matrix = of_others(b, "altup_unembd_proj.weight");
    for (uint32_t k = 0; k + 1 < N_STREAMS; k++) {
        uint32_t other = vs_gb_pick(b, streams, 1, (k + 1) * n, n);
        all = vs_gb_sum(b, all, match(b, through(b, other, matrix + k), first));
    }
    return vs_gb_scaled(b, all, 1.0f / N_STREAMS, n);
}

/* What of the gate is less than so many standard deviations above its mean counts nothing; 0: all of it counts. */
static float sparsity(struct vs_builder *b, uint32_t il)
{
    enum { SPARSE_LAYERS = 10 };         /* where the file does not say; 95 of 100 elements are left out */
    double preset = il < SPARSE_LAYERS ? 1.6448533535003662 : 0, least = -__builtin_inf();
    return (float)vs_gb_layer_float(b, "activation_sparsity_scale", il, preset, least, 1e3);
}

static uint32_t feed(struct vs_builder *b, uint32_t x, uint32_t il)
{
    int i = (int)il;
    uint32_t n_ff = vs_gb_layer_u32(b, "feed_forward_length", il, -1, 1, MAX_WIDTH);
    uint32_t gate = vs_gb_linear(b, x, i, "ffn_gate", b->n_embd, n_ff), up = vs_gb_linear(b, x, i, "ffn_up", b->n_embd, n_ff);
    struct vs_node sparse = vs_gb_base(VS_OP_SPARSE, gate);
    sparse.p.scale = sparsity(b, il);
    if (sparse.p.scale > 0)
        gate = vs_gb_node(b, sparse, n_ff);
    return vs_gb_linear(b, vs_gb_times_act(b, gate, up, n_ff, VS_ACT_GELU_TANH), i, "ffn_down", n_ff, b->n_embd);
}

/* a, and what a narrow pair of matrices makes of it. */
static uint32_t laurel(struct vs_builder *b, uint32_t a, int i)
{
    uint64_t rows = vs_gb_rows_of_matrix(b, i, "laurel_l.weight");
    uint32_t rank = rows > 0 && rows <= MAX_WIDTH ? (uint32_t)rows : 1;
    uint32_t x = vs_gb_linear(b, vs_gb_linear(b, a, i, "laurel_l", b->n_embd, rank), i, "laurel_r", rank, b->n_embd);
    return vs_gb_sum(b, a, vs_gb_norm(b, x, i, "laurel_post_norm", b->n_embd));
}

uint32_t vs_gb_streams_layer(struct vs_builder *b, uint32_t streams, uint32_t il)
{
    int i = (int)il;
    uint32_t n = b->n_embd, width;
    uint32_t by = modalities(b, first_of(b, streams), i);
    by = vs_gb_linear(b, by, i, "altup_predict_coef", N_STREAMS, N_STREAMS * N_STREAMS);
    uint32_t predicted = add_streams(b, streams, by, streams, 0, 0), p = first_of(b, predicted);
    uint32_t a = vs_gb_norm(b, p, i, "attn_norm", n), attended = vs_gb_attend(b, a, il, &width);
    attended = vs_gb_read_rows(b, attended, il, width);
    predicted = vs_gb_read_rows(b, predicted, il, N_STREAMS * n);
    a = vs_gb_read_rows(b, a, il, n);
    p = vs_gb_read_rows(b, p, il, n);
    uint32_t o = vs_gb_norm(b, vs_gb_linear(b, attended, i, "attn_output", width, n), i, "post_attention_norm", n);
    uint32_t t = vs_gb_scaled(b, vs_gb_sum(b, vs_gb_sum(b, p, o), laurel(b, a, i)), 0.70710678f, n);
    uint32_t f = feed(b, vs_gb_norm(b, t, i, "ffn_norm", n), il);
    o = vs_gb_sum(b, t, vs_gb_norm(b, f, i, "post_ffw_norm", n));

    by = vs_gb_linear(b, modalities(b, o, i), i, "altup_correct_coef", N_STREAMS, N_STREAMS);
    uint32_t corrected = add_streams(b, predicted, by, vs_gb_sum(b, o, vs_gb_scaled(b, p, -1, n)), 1, 0);
    struct vs_node scale = vs_gb_base(VS_OP_SCALE, first_of(b, corrected));
    scale.tensor[0] = vs_gb_vector(b, i, "altup_correct_scale.weight", vs_gb_whole(n), false);
    uint32_t q = vs_gb_from_layer_input(b, vs_gb_node(b, scale, n), il);
    return add_streams(b, corrected, VS_NONE, q, 1, 1);
}
