/* import/llm.c - see llm.h. Facts per architecture: docs of the models; key names are GGUF's. */
#include "import/llm.h"
#include "base/word.h"
#include "import/keys.h"

#include "base/buf.h"
#include "base/num.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What differs from the plain Llama layer:
 *   h += Wo attn(rope(Wq n1(h)), rope(Wk n1(h)), Wv n1(h));  h += Wdown(act(Wgate n2(h)) * (Wup n2(h))) */
struct architecture {
    const char *name;
    bool neox;                          /* rope pairs (i, i + n/2) */
    bool gelu;                          /* GELU (tanh form) in place of SiLU */
    bool qk_norm;                       /* RMS norm on each head of q and k before rope */
    bool post_norm;                     /* a norm on each sub-layer's output before it is added */
    bool scale_embedding;               /* h *= sqrt(n_embd) */
    bool softcap;                       /* logits may be capped: final_logit_softcapping */
    /* when the file has a window and no pattern: every so manieth layer sees all; 0 = no windows */
    uint32_t window_period;
    double local_rope_base;             /* of window layers, when the file does not say; 0 = there are none */
    uint32_t wide_layers;               /* a model of so many layers scales scores by its width / heads, not by its head size */
};

static const struct architecture architectures[] = {
    /*  name      neox   gelu   qk_norm post   scale  softcap period base wide */
    { "llama",    false, false, false,  false, false, false,  0, 0,       0 },
    { "qwen2",    true,  false, false,  false, false, false,  0, 0,       0 },
    { "qwen3",    true,  false, true,   false, false, false,  0, 0,       0 },
    { "gemma3",   true,  true,  true,   true,  true,  true,   6, 10000,   62 },
};
enum { N_ARCHITECTURES = sizeof architectures / sizeof *architectures };

enum { MAX_LAYERS = 1024, MAX_WIDTH = 1 << 20, MAX_HEADS = 4096 };

/* What the builder carries around. */
struct builder {
    const struct vs_gguf *file;
    const struct architecture *arch;
    struct vs_graph *g;
    struct vs_error *err;
    int status;                         /* sticky; err has the text */
    uint32_t n_layers, n_embd, n_heads, n_kv_heads, head_dim, n_vocab, window, n_rot;
    bool windowed[MAX_LAYERS];          /* the layer sees only the window */
    float eps, attention_scale;
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
    if (kv->count != b->n_layers) {
        snprintf(what, sizeof what, "has %llu element%s, must have one for each layer, %u in all", (unsigned long long)kv->count,
                 vs_plural(kv->count), b->n_layers);
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

/* The same for what this builder wants equal in all layers. */
static uint32_t equal_u32(struct builder *b, const char *suffix, int64_t preset, uint32_t min, uint32_t max)
{
    char key[128];
    uint32_t v = layer_u32(b, suffix, 0, preset, min, max);
    for (uint32_t i = 1; i < b->n_layers && b->status == VS_OK; i++)
        if (layer_u32(b, suffix, i, preset, min, max) != v)
            fail(b, VS_E_UNSUPPORTED, "differs from layer to layer, which is not supported", key_of(b, suffix, key));
    return v;
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

/* Rows (of a vector: elements) [first, first + n) of a tensor that has `all` of them: a part of a fused matrix. */
struct part { uint32_t first, n, all; };

static struct part whole(uint32_t n)
{
    return (struct part){ 0, n, n };
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
    if (!t->dtype->computable) {
        snprintf(what, sizeof what, "tensor type %s is not supported; supported are F32 F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 "
                 "Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K", t->dtype->name);
        fail(b, VS_E_UNSUPPORTED, what, name);
        return VS_NONE;
    }
    uint64_t row_bytes = t->n_bytes / rows.all;
    struct vs_tensor g = { .dtype = (enum vs_dtype)t->dtype->id, .n_cols = n_cols, .n_rows = rows.n,
                           .offset = t->offset + rows.first * row_bytes, .n_bytes = rows.n * row_bytes };
    snprintf(g.name, sizeof g.name, "%s", name);
    uint32_t *made = made_of(b, t);
    const struct vs_tensor *last = *made == VS_NONE ? NULL : &b->g->tensors[*made];
    if (!last || last->offset != g.offset || last->n_bytes != g.n_bytes)         /* what is read again is the same tensor */
        *made = vs_graph_tensor(b->g, &g);
    return *made;
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
    return (struct vs_node){ .op = op, .in = { in, VS_NONE, VS_NONE }, .tensor = { VS_NONE, VS_NONE } };
}

static uint32_t norm(struct builder *b, uint32_t x, int layer, const char *suffix, uint32_t width)
{
    struct vs_node n = base(VS_OP_RMS_NORM, x);
    n.tensor[0] = vector(b, layer, suffix, whole(width), false);
    n.p.eps = b->eps;
    return node(b, n, width);
}

static uint32_t head_norm(struct builder *b, uint32_t x, int layer, const char *suffix, uint32_t n_heads)
{
    struct vs_node n = base(VS_OP_RMS_NORM, x);
    n.tensor[0] = vector(b, layer, suffix, whole(b->head_dim), false);
    n.p.eps = b->eps;
    n.p.head_dim = b->head_dim;
    return node(b, n, n_heads * b->head_dim);
}

/* The product with STEM.weight (or with the tensor `tied`), times STEM.scale and plus STEM.bias where the file has them. */
static uint32_t product(struct builder *b, uint32_t x, int layer, const char *stem, const char *bias_stem, uint32_t tied,
                        uint32_t n_in, struct part out)
{
    char suffix[48];
    struct vs_node n = base(VS_OP_LINEAR, x), s = base(VS_OP_SCALE, VS_NONE);
    snprintf(suffix, sizeof suffix, "%s.weight", stem);
    n.tensor[0] = tied != VS_NONE ? tied : tensor(b, layer, suffix, n_in, out, false);
    snprintf(suffix, sizeof suffix, "%s.bias", bias_stem);
    n.tensor[1] = vector(b, layer, suffix, bias_stem == stem ? out : whole(out.n), true);
    snprintf(suffix, sizeof suffix, "%s.scale", stem);
    if (layer >= 0)                      /* the output's has no meaning with the types that we compute with */
        s.tensor[0] = vector(b, layer, suffix, whole(1), true);
    if (s.tensor[0] == VS_NONE)
        return node(b, n, out.n);
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
    if (!is_there(b, layer, "attn_qkv.weight"))
        return linear(b, x, layer, stem, b->n_embd, part.n);
    return product(b, x, layer, "attn_qkv", is_there(b, layer, "attn_qkv.bias") ? "attn_qkv" : stem, VS_NONE, b->n_embd, part);
}

static uint32_t rope(struct builder *b, uint32_t x, uint32_t n_heads, uint32_t which)
{
    struct vs_node n = base(VS_OP_ROPE, x);
    n.p.head_dim = b->head_dim;
    n.p.n_heads = n_heads;
    n.p.rope = which;
    return node(b, n, n_heads * b->head_dim);
}

static uint32_t add(struct builder *b, uint32_t h, uint32_t x)
{
    struct vs_node n = base(VS_OP_ADD, h);
    n.in[1] = x;
    return node(b, n, b->n_embd);
}

static uint32_t layer(struct builder *b, uint32_t h, uint32_t il)
{
    const struct architecture *a = b->arch;
    int i = (int)il;
    bool local = b->windowed[il];
    uint32_t q_width = b->n_heads * b->head_dim, kv_width = b->n_kv_heads * b->head_dim, all = q_width + 2 * kv_width;
    uint32_t n_ff = layer_u32(b, "feed_forward_length", il, -1, 1, MAX_WIDTH);

    uint32_t x = norm(b, h, i, "attn_norm.weight", b->n_embd);
    uint32_t q = projection(b, x, i, "attn_q", (struct part){ 0, q_width, all });
    uint32_t k = projection(b, x, i, "attn_k", (struct part){ q_width, kv_width, all });
    uint32_t v = projection(b, x, i, "attn_v", (struct part){ q_width + kv_width, kv_width, all });
    if (a->qk_norm) {
        q = head_norm(b, q, i, "attn_q_norm.weight", b->n_heads);
        k = head_norm(b, k, i, "attn_k_norm.weight", b->n_kv_heads);
    }
    q = rope(b, q, b->n_heads, local ? 1 : 0);
    k = rope(b, k, b->n_kv_heads, local ? 1 : 0);

    struct vs_node n = base(VS_OP_ATTENTION, q);
    n.in[1] = k;
    n.in[2] = v;
    n.p.n_heads = b->n_heads;
    n.p.n_kv_heads = b->n_kv_heads;
    n.p.head_dim = b->head_dim;
    n.p.layer = il;
    n.p.scale = b->attention_scale;
    n.p.window = local ? b->window : 0;
    uint32_t attended = node(b, n, q_width);
    if (il + 1 == b->n_layers) {         /* of the last layer the other rows leave only their keys and values */
        attended = node(b, base(VS_OP_TAKE_OUT, attended), q_width);
        h = node(b, base(VS_OP_TAKE_OUT, h), b->n_embd);
    }
    uint32_t o = linear(b, attended, i, "attn_output", q_width, b->n_embd);
    if (a->post_norm)
        o = norm(b, o, i, "post_attention_norm.weight", b->n_embd);
    h = add(b, h, o);

    x = norm(b, h, i, "ffn_norm.weight", b->n_embd);
    struct vs_node glu = base(VS_OP_GLU, linear(b, x, i, "ffn_gate", b->n_embd, n_ff));
    glu.in[1] = linear(b, x, i, "ffn_up", b->n_embd, n_ff);
    glu.p.gelu = a->gelu;
    o = linear(b, node(b, glu, n_ff), i, "ffn_down", n_ff, b->n_embd);
    if (a->post_norm)
        o = norm(b, o, i, "post_ffw_norm.weight", b->n_embd);
    return add(b, h, o);
}

/* ---- rope ---- */

/* rope.scaling.type; true and *ret for a name that is known. What a file without the key means is "linear". */
enum scaling { SCALING_NONE, SCALING_LINEAR, SCALING_YARN };

static enum scaling read_scaling_type(struct builder *b)
{
    static const char *const names[] = { "none", "linear", "yarn" };
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
    for (int i = 0; i <= SCALING_YARN; i++)
        if (strlen(names[i]) == type.n && memcmp(names[i], type.data, type.n) == 0)
            return (enum scaling)i;
    fail(b, VS_E_UNSUPPORTED, "this kind of rope scaling is not supported; supported are none, linear and yarn", key);
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
    double fast = get_float(b, "rope.scaling.yarn_beta_fast", 32, 1e-3, 1e6);
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
    r->magnitude *= 1 + 0.1 * vs_log64(factor);
}

/* ropes[0] is that of layers that see everything, ropes[1] that of the others. */
static void read_ropes(struct builder *b)
{
    enum scaling type = read_scaling_type(b);
    double factor = get_float(b, "rope.scaling.factor", 0, 0, 1e6);
    char key[128];
    if (b->status == VS_OK && !vs_entries_find(vs_gguf_entries(b->file), key_of(b, "rope.scaling.factor", key)))
        factor = get_float(b, "rope.scale_linear", 0, 0, 1e6);
    if (type == SCALING_NONE || factor == 0)
        factor = 1;
    struct vs_rope r = { .n_dims = b->n_rot, .neox = b->arch->neox, .factors = VS_NONE };
    r.base = get_float(b, "rope.freq_base", 10000, 1, 1e12);
    r.magnitude = get_float(b, "rope.scaling.attn_factor", 1, 1e-3, 1e3);
    struct vs_rope local = r;
    double ext = get_float(b, "rope.scaling.yarn_ext_factor", type == SCALING_YARN, 0, 1);
    r.freq_scale = 1 / factor;
    if (ext > 0)
        read_yarn(b, &r, factor, ext);
    bool any_local = false;
    for (uint32_t i = 0; i < b->n_layers; i++)
        any_local |= b->windowed[i];
    if (!b->arch->window_period)
        r.factors = vector(b, -1, "rope_freqs.weight", whole(b->n_rot / 2), true);
    b->g->ropes[0] = r;
    b->g->n_ropes = 1;
    if (b->arch->window_period)
        local.base = get_float(b, "rope.freq_base_swa", b->arch->local_rope_base, 1, 1e12);
    local.freq_scale = 1;
    if (any_local)
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
    if (!b->arch->window_period) {
        refuse_window(b);
        return;
    }
    bool list = kv && kv->type == VS_ENTRY_ARRAY;
    b->window = get_u32(b, "attention.sliding_window", 0, 0, UINT32_C(1) << 30);
    uint32_t period = list ? 0 : get_u32(b, "attention.sliding_window_pattern", b->arch->window_period, 0, UINT32_C(1) << 30);
    for (uint32_t i = 0; i < b->n_layers && b->status == VS_OK; i++) {
        bool local = list ? in_range(b, key, list_u64(b, key, kv, i), 0, 1) : !period || i % period != period - 1;
        b->windowed[i] = b->window && local;
    }
}

/* What window layers could have of their own must be as in the others. */
static void refuse_other_sizes(struct builder *b)
{
    const struct { const char *suffix; uint32_t n; } sizes[] = {
        { "attention.key_length_swa", b->head_dim }, { "attention.value_length_swa", b->head_dim },
        { "rope.dimension_count_swa", b->n_rot },
    };
    char key[128];
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (get_u32(b, sizes[i].suffix, sizes[i].n, 0, UINT32_MAX) != sizes[i].n && b->status == VS_OK)
            fail(b, VS_E_UNSUPPORTED, "window layers of another size are not supported", key_of(b, sizes[i].suffix, key));
}

static void read_hyper_parameters(struct builder *b)
{
    b->n_layers = get_u32(b, "block_count", -1, 1, MAX_LAYERS);
    b->n_embd = get_u32(b, "embedding_length", -1, 1, MAX_WIDTH);
    layer_u32(b, "feed_forward_length", 0, -1, 1, MAX_WIDTH);
    b->n_heads = equal_u32(b, "attention.head_count", -1, 1, MAX_HEADS);
    b->n_kv_heads = equal_u32(b, "attention.head_count_kv", b->n_heads, 1, MAX_HEADS);
    b->g->context = get_u32(b, "context_length", -1, 1, UINT32_C(1) << 30);
    if (b->status != VS_OK)
        return;
    if (b->n_heads % b->n_kv_heads != 0) {
        fail(b, VS_E_MALFORMED, "attention.head_count is not a multiple of attention.head_count_kv", b->arch->name);
        return;
    }
    char key[128];
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
    if (b->head_dim > VS_MAX_HEAD_DIM || b->head_dim < 1) {
        fail(b, VS_E_MALFORMED, "the head size is out of range (1 to 512)", b->arch->name);
        return;
    }
    if (value_dim != b->head_dim) {
        fail(b, VS_E_UNSUPPORTED, "attention.key_length and value_length differ, which is not supported", b->arch->name);
        return;
    }
    if (b->n_rot > b->head_dim || b->n_rot % 2) {
        fail(b, VS_E_MALFORMED, "rope.dimension_count must be even and at most the head size", b->arch->name);
        return;
    }
    b->eps = (float)get_float(b, "attention.layer_norm_rms_epsilon", -1, 0, 1);
    if (b->status == VS_OK && b->eps < 0)
        fail(b, VS_E_MALFORMED, "is missing", key_of(b, "attention.layer_norm_rms_epsilon", key));
    double scale = get_float(b, "attention.scale", 0, 0, 1e3);
    uint32_t by = b->arch->wide_layers && b->n_layers == b->arch->wide_layers ? head : b->head_dim;
    b->attention_scale = scale > 0 ? (float)scale : 1.0f / vs_sqrtf((float)by);
    refuse_other_sizes(b);
    read_windows(b);
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

/* Tensors that no node reads would be a wrong answer. What serves other machines only may stay. */
static void refuse_unused(struct builder *b)
{
    static const char ending[] = ".input_scale";
    for (size_t i = 0; i < vs_gguf_n_tensors(b->file) && b->status == VS_OK; i++) {
        const struct vs_gguf_tensor *t = vs_gguf_tensor_at(b->file, i);
        size_t n = sizeof ending - 1;
        if (b->made[i] != VS_NONE || (t->name.n > n && memcmp(t->name.data + t->name.n - n, ending, n) == 0))
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

static void build(struct builder *b)
{
    struct vs_graph *g = b->g;
    struct vs_node embed = base(VS_OP_EMBED, VS_NONE);
    embed.tensor[0] = tensor(b, -1, "token_embd.weight", b->n_embd, whole(b->n_vocab), false);
    embed.p.scale = b->arch->scale_embedding ? vs_sqrtf((float)b->n_embd) : 1.0f;
    uint32_t h = node(b, embed, b->n_embd);
    for (uint32_t i = 0; i < b->n_layers && b->status == VS_OK; i++)
        h = layer(b, h, i);
    h = norm(b, h, -1, "output_norm.weight", b->n_embd);
    uint32_t tied = is_there(b, -1, "output.weight") ? VS_NONE : embed.tensor[0];
    g->logits = product(b, h, -1, "output", "output", tied, b->n_embd, whole(b->n_vocab));
    double cap = b->arch->softcap ? get_float(b, "final_logit_softcapping", 0, 0, 1e6) : 0;
    if (cap > 0) {
        struct vs_node n = base(VS_OP_SOFTCAP, g->logits);
        n.p.softcap = (float)cap;
        g->logits = node(b, n, b->n_vocab);
    }
    g->n_layers = b->n_layers;
    g->n_vocab = b->n_vocab;
    g->n_embd = b->n_embd;
    g->n_kv_heads = b->n_kv_heads;
    g->head_dim = b->head_dim;
}

int vs_import_llm(const struct vs_gguf *file, struct vs_graph *ret, struct vs_error *err)
{
    struct vs_error unseen = { 0 };
    if (!err)
        err = &unseen;
    memset(ret, 0, sizeof *ret);
    const struct architecture *arch = find_architecture(file, err);
    if (!arch)
        return err->code;
    size_t n_tensors = vs_gguf_n_tensors(file);
    struct builder b = { .file = file, .arch = arch, .g = ret, .err = err, .made = malloc((n_tensors + 1) * sizeof *b.made) };
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
    free(b.made);
    if (b.status != VS_OK)
        vs_graph_clear(ret);
    return b.status;
}
