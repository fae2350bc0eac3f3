/* import/llm.c - see llm.h. Facts per architecture: docs of the models; key names are GGUF's. */
#include "import/llm.h"

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
    uint32_t window_period;             /* every so manieth layer sees all, the others only the window; 0 = all see all */
    double local_rope_base;             /* of window layers, when the file does not say; 0 = as the others */
};

static const struct architecture architectures[] = {
    /*  name      neox   gelu   qk_norm post   scale  period base */
    { "llama",    false, false, false,  false, false, 0,     0     },
    { "qwen2",    true,  false, false,  false, false, 0,     0     },
    { "qwen3",    true,  false, true,   false, false, 0,     0     },
    { "gemma3",   true,  true,  true,   true,  true,  6,     10000 },
};
enum { N_ARCHITECTURES = sizeof architectures / sizeof *architectures };

enum { MAX_LAYERS = 1024, MAX_WIDTH = 1 << 20, MAX_HEADS = 4096, MAX_HEAD_DIM = 512 };

/* What the builder carries around. */
struct builder {
    const struct vs_gguf *file;
    const struct architecture *arch;
    struct vs_graph *g;
    struct vs_error *err;
    int status;                         /* sticky; err has the text */
    uint32_t n_layers, n_embd, n_ff, n_heads, n_kv_heads, head_dim, n_vocab, window, n_rot;
    float eps, attention_scale;
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

/* A number that must be there (or has a default) and must lie in 1..max (0..max when zero is a value). */
static uint32_t get_u32(struct builder *b, const char *suffix, int64_t preset, uint32_t min, uint32_t max)
{
    char key[128];
    uint32_t v = 0;
    if (b->status != VS_OK)
        return 0;
    key_of(b, suffix, key);
    const struct vs_gguf_kv *kv = vs_gguf_find(b->file, key);
    if (kv && kv->type == VS_GGUF_ARRAY) {      /* the same value for every layer is as good as a scalar */
        uint64_t first = 0, other = 0;
        for (uint64_t i = 0; i < kv->count; i++) {
            if (!vs_gguf_uint(kv, i, i ? &other : &first)) {
                fail(b, VS_E_MALFORMED, "is not a list of whole numbers", key);
                return 0;
            }
            if (i && other != first) {
                fail(b, VS_E_UNSUPPORTED, "differs from layer to layer, which is not supported", key);
                return 0;
            }
        }
        if (!kv->count || first > max) {
            fail(b, VS_E_MALFORMED, "is out of range", key);
            return 0;
        }
        v = (uint32_t)first;
    } else {
        int r = vs_gguf_get_u32(b->file, key, &v, b->err);
        if (r == VS_E_NOT_FOUND) {
            if (preset >= 0)
                return (uint32_t)preset;
            fail(b, VS_E_MALFORMED, "is missing", key);
            return 0;
        }
        if (r != VS_OK) {
            b->status = r;
            return 0;
        }
    }
    if (v < min || v > max) {
        char what[96];
        snprintf(what, sizeof what, "is %u, must be %u to %u", v, min, max);
        fail(b, VS_E_MALFORMED, what, key);
        return 0;
    }
    return v;
}

/* A float that, when there, must be finite and in [min, max]. */
static double get_float(struct builder *b, const char *suffix, double preset, double min, double max)
{
    char key[128];
    float v;
    if (b->status != VS_OK)
        return preset;
    int r = vs_gguf_get_f32(b->file, key_of(b, suffix, key), &v, b->err);
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

/* The tensor of that name with exactly this shape as an index into the graph; VS_NONE when it is absent and optional. */
static uint32_t tensor(struct builder *b, int layer, const char *suffix, uint32_t n_cols, uint32_t n_rows, bool optional)
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
    if (t->ne[0] != n_cols || t->ne[1] != n_rows || t->ne[2] != 1 || t->ne[3] != 1) {
        snprintf(what, sizeof what, "tensor is %llu x %llu, must be %u x %u", (unsigned long long)t->ne[0],
                 (unsigned long long)t->ne[1], n_cols, n_rows);
        fail(b, VS_E_MALFORMED, what, name);
        return VS_NONE;
    }
    if (!t->dtype->computable) {
        snprintf(what, sizeof what, "tensor type %s is not supported; supported are F32 F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 "
                 "Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K", t->dtype->name);
        fail(b, VS_E_UNSUPPORTED, what, name);
        return VS_NONE;
    }
    struct vs_tensor g = { .dtype = (enum vs_dtype)t->dtype->id, .n_cols = n_cols, .n_rows = n_rows,
                           .offset = t->offset, .n_bytes = t->n_bytes };
    snprintf(g.name, sizeof g.name, "%s", name);
    return vs_graph_tensor(b->g, &g);
}

/* Norm weights and biases: vectors that kernels read as f32. */
static uint32_t vector(struct builder *b, int layer, const char *suffix, uint32_t n, bool optional)
{
    uint32_t i = tensor(b, layer, suffix, n, 1, optional);
    if (i != VS_NONE && b->g->tensors[i].dtype != VS_F32) {
        fail(b, VS_E_UNSUPPORTED, "a norm, bias or rope tensor must be F32", b->g->tensors[i].name);
        return VS_NONE;
    }
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
    n.tensor[0] = vector(b, layer, suffix, width, false);
    n.p.eps = b->eps;
    return node(b, n, width);
}

static uint32_t head_norm(struct builder *b, uint32_t x, int layer, const char *suffix, uint32_t n_heads)
{
    struct vs_node n = base(VS_OP_RMS_NORM, x);
    n.tensor[0] = vector(b, layer, suffix, b->head_dim, false);
    n.p.eps = b->eps;
    n.p.head_dim = b->head_dim;
    return node(b, n, n_heads * b->head_dim);
}

static uint32_t linear(struct builder *b, uint32_t x, int layer, const char *stem, uint32_t n_in, uint32_t n_out)
{
    char suffix[48];
    struct vs_node n = base(VS_OP_LINEAR, x);
    snprintf(suffix, sizeof suffix, "%s.weight", stem);
    n.tensor[0] = tensor(b, layer, suffix, n_in, n_out, false);
    snprintf(suffix, sizeof suffix, "%s.bias", stem);
    n.tensor[1] = vector(b, layer, suffix, n_out, true);
    return node(b, n, n_out);
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
    bool local = a->window_period && (il + 1) % a->window_period != 0;
    uint32_t q_width = b->n_heads * b->head_dim, kv_width = b->n_kv_heads * b->head_dim;

    uint32_t x = norm(b, h, i, "attn_norm.weight", b->n_embd);
    uint32_t q = linear(b, x, i, "attn_q", b->n_embd, q_width);
    uint32_t k = linear(b, x, i, "attn_k", b->n_embd, kv_width);
    uint32_t v = linear(b, x, i, "attn_v", b->n_embd, kv_width);
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
    struct vs_node glu = base(VS_OP_GLU, linear(b, x, i, "ffn_gate", b->n_embd, b->n_ff));
    glu.in[1] = linear(b, x, i, "ffn_up", b->n_embd, b->n_ff);
    glu.p.gelu = a->gelu;
    o = linear(b, node(b, glu, b->n_ff), i, "ffn_down", b->n_ff, b->n_embd);
    if (a->post_norm)
        o = norm(b, o, i, "post_ffw_norm.weight", b->n_embd);
    return add(b, h, o);
}

static void read_ropes(struct builder *b)
{
    char key[128];
    struct vs_str type;
    int r_type = vs_gguf_get_str(b->file, key_of(b, "rope.scaling.type", key), &type, b->err);
    if (r_type != VS_OK && r_type != VS_E_NOT_FOUND && b->status == VS_OK)
        b->status = r_type;
    if (r_type == VS_OK) {
        bool linear_or_none = (type.n == 4 && memcmp(type.data, "none", 4) == 0)
                           || (type.n == 6 && memcmp(type.data, "linear", 6) == 0);
        if (!linear_or_none) {
            fail(b, VS_E_UNSUPPORTED, "this kind of rope scaling is not supported; supported are none and linear", key);
            return;
        }
    }
    double factor = get_float(b, "rope.scaling.factor", 1, 0, 1e6);
    struct vs_rope r = { .n_dims = b->n_rot, .neox = b->arch->neox, .factors = VS_NONE };
    r.base = get_float(b, "rope.freq_base", 10000, 1, 1e12);
    r.freq_scale = factor > 0 ? 1 / factor : 1;
    uint32_t factors = vector(b, -1, "rope_freqs.weight", b->n_rot / 2, true);
    r.factors = factors;
    b->g->ropes[0] = r;
    if (b->arch->local_rope_base != 0) {
        r.base = get_float(b, "rope.freq_base_swa", b->arch->local_rope_base, 1, 1e12);
        r.freq_scale = 1;
        r.factors = VS_NONE;
    }
    b->g->ropes[1] = r;
    b->g->n_ropes = 2;
}

static void read_hyper_parameters(struct builder *b)
{
    b->n_layers = get_u32(b, "block_count", -1, 1, MAX_LAYERS);
    b->n_embd = get_u32(b, "embedding_length", -1, 1, MAX_WIDTH);
    b->n_ff = get_u32(b, "feed_forward_length", -1, 1, MAX_WIDTH);
    b->n_heads = get_u32(b, "attention.head_count", -1, 1, MAX_HEADS);
    b->n_kv_heads = get_u32(b, "attention.head_count_kv", b->n_heads, 1, MAX_HEADS);
    b->g->context = get_u32(b, "context_length", -1, 1, UINT32_C(1) << 30);
    if (b->status != VS_OK)
        return;
    if (b->n_heads % b->n_kv_heads != 0) {
        fail(b, VS_E_MALFORMED, "attention.head_count is not a multiple of attention.head_count_kv", b->arch->name);
        return;
    }
    char key[128];
    bool has_key_length = vs_gguf_find(b->file, key_of(b, "attention.key_length", key)) != NULL;
    if (!has_key_length && b->n_embd % b->n_heads != 0) {
        fail(b, VS_E_MALFORMED, "embedding_length is not a multiple of attention.head_count", b->arch->name);
        return;
    }
    uint32_t head = b->n_embd / b->n_heads;
    b->head_dim = get_u32(b, "attention.key_length", head, 1, MAX_HEAD_DIM);
    uint32_t value_dim = get_u32(b, "attention.value_length", b->head_dim, 1, MAX_HEAD_DIM);
    b->n_rot = get_u32(b, "rope.dimension_count", b->head_dim, 2, MAX_HEAD_DIM);
    if (b->status != VS_OK)
        return;
    if (b->head_dim > MAX_HEAD_DIM || b->head_dim < 1) {
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
    if (vs_gguf_find(b->file, key_of(b, "expert_count", key)) && get_u32(b, "expert_count", 0, 0, 65536) > 0)
        fail(b, VS_E_UNSUPPORTED, "mixture-of-experts models are not supported", key);
    b->eps = (float)get_float(b, "attention.layer_norm_rms_epsilon", -1, 0, 1);
    if (b->status == VS_OK && b->eps < 0)
        fail(b, VS_E_MALFORMED, "is missing", key_of(b, "attention.layer_norm_rms_epsilon", key));
    double scale = get_float(b, "attention.scale", 0, 0, 1e3);
    b->attention_scale = scale > 0 ? (float)scale : 1.0f / vs_sqrtf((float)b->head_dim);
    if (b->arch->window_period)
        b->window = get_u32(b, "attention.sliding_window", -1, 1, UINT32_C(1) << 30);
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
    const struct vs_gguf_kv *tokens = vs_gguf_find(b->file, "tokenizer.ggml.tokens");
    if (tokens && tokens->type == VS_GGUF_ARRAY && tokens->count > b->n_vocab)
        fail(b, VS_E_MALFORMED, "has more tokens than token_embd.weight has rows", "tokenizer.ggml.tokens");
}

static const struct architecture *find_architecture(const struct vs_gguf *g, struct vs_error *err)
{
    struct vs_str name;
    int r = vs_gguf_get_str(g, "general.architecture", &name, err);
    if (r == VS_E_NOT_FOUND) {
        vs_error_set(err, VS_E_MALFORMED, "model: general.architecture is missing");
        return NULL;
    }
    if (r != VS_OK)
        return NULL;
    for (size_t i = 0; i < N_ARCHITECTURES; i++)
        if (strlen(architectures[i].name) == name.n && memcmp(architectures[i].name, name.data, name.n) == 0)
            return &architectures[i];
    char shown[41];
    size_t n = 0;
    for (; n < name.n && n < 40; n++)
        shown[n] = name.data[n] >= 33 && name.data[n] < 127 ? name.data[n] : '?';
    shown[n] = 0;
    struct vs_buf list = { 0 };
    for (size_t i = 0; i < N_ARCHITECTURES; i++)
        vs_buf_printf(&list, "%s%s", i ? ", " : "", architectures[i].name);
    vs_error_set(err, VS_E_UNSUPPORTED, "model: architecture '%s' is not supported; supported are: %s", shown,
                 list.data ? list.data : "");
    vs_buf_clear(&list);
    return NULL;
}

int vs_import_llm(const struct vs_gguf *file, struct vs_graph *ret, struct vs_error *err)
{
    struct vs_error local = { 0 };
    if (!err)
        err = &local;
    memset(ret, 0, sizeof *ret);
    const struct architecture *arch = find_architecture(file, err);
    if (!arch)
        return err->code;
    struct builder b = { .file = file, .arch = arch, .g = ret, .err = err };
    snprintf(ret->architecture, sizeof ret->architecture, "%s", arch->name);
    read_hyper_parameters(&b);
    uint32_t n_parts;
    if (b.status == VS_OK && vs_gguf_get_u32(file, "split.count", &n_parts, NULL) == VS_OK && n_parts > 1)
        fail(&b, VS_E_UNSUPPORTED, "the model is split over several files, which is not supported; join them first", "split.count");
    if (b.status == VS_OK)
        read_vocabulary(&b);
    if (b.status == VS_OK)
        read_ropes(&b);

    struct vs_node embed = base(VS_OP_EMBED, VS_NONE);
    embed.tensor[0] = tensor(&b, -1, "token_embd.weight", b.n_embd, b.n_vocab, false);
    embed.p.scale = arch->scale_embedding ? vs_sqrtf((float)b.n_embd) : 1.0f;
    uint32_t h = node(&b, embed, b.n_embd);
    for (uint32_t i = 0; i < b.n_layers && b.status == VS_OK; i++)
        h = layer(&b, h, i);
    h = norm(&b, h, -1, "output_norm.weight", b.n_embd);
    if (vs_gguf_tensor(file, "output.weight")) {
        ret->logits = linear(&b, h, -1, "output", b.n_embd, b.n_vocab);
    } else {                            /* tied to the embedding */
        struct vs_node n = base(VS_OP_LINEAR, h);
        n.tensor[0] = embed.tensor[0];
        ret->logits = node(&b, n, b.n_vocab);
    }
    if (b.status == VS_OK && ret->status != VS_OK)
        fail(&b, ret->status, "out of memory", "");
    ret->n_layers = b.n_layers;
    ret->n_vocab = b.n_vocab;
    ret->n_embd = b.n_embd;
    ret->n_kv_heads = b.n_kv_heads;
    ret->head_dim = b.head_dim;
    if (b.status != VS_OK)
        vs_graph_clear(ret);
    return b.status;
}
