/* selftest/tiny.c - see tiny.h */
#include "selftest/tiny.h"

#include "base/bytes.h"
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

int vs_tiny_complete(struct vs_tiny *t, struct vs_error *err)
{
    static const char *const archs[] = { "llama", "qwen2", "qwen3", "gemma3" };
    bool known = false;
    for (size_t i = 0; i < sizeof archs / sizeof *archs; i++)
        known |= strcmp(t->arch, archs[i]) == 0;
    if (!known)
        return vs_error_set(err, VS_E_INVALID, "unknown architecture '%s'", t->arch);
    if (!t->kv_heads)
        t->kv_heads = t->heads;
    if (!t->heads || t->heads % t->kv_heads || (!t->head_dim && t->embd % t->heads))
        return vs_error_set(err, VS_E_INVALID, "the numbers of heads don't fit");
    if (!t->head_dim)
        t->head_dim = t->embd / t->heads;
    if (!t->ff)
        t->ff = 3 * t->embd;
    if (!t->embd_type)
        t->embd_type = t->type;
    if (!t->output_type)
        t->output_type = t->type;
    if (!t->embd || t->head_dim % 2)
        return vs_error_set(err, VS_E_INVALID, "a width and an even head size are needed");
    return VS_OK;
}

/* ---- key-values ---- */

void vs_tiny_put_u32(struct vs_buf *b, uint32_t v)
{
    uint8_t x[4];
    vs_store_u32le(x, v);
    vs_buf_add(b, x, 4);
}

static void put_u64(struct vs_buf *b, uint64_t v)
{
    uint8_t x[8];
    vs_store_u64le(x, v);
    vs_buf_add(b, x, 8);
}

void vs_tiny_put_f32(struct vs_buf *b, float v)
{
    uint32_t u;
    memcpy(&u, &v, 4);
    vs_tiny_put_u32(b, u);
}

void vs_tiny_put_str(struct vs_buf *b, const char *s, uint64_t n)
{
    put_u64(b, n);
    vs_buf_add(b, s, n);
}

enum { T_ARRAY = 9 };

void vs_tiny_key(struct vs_tiny_head *h, const char *key, uint32_t type)
{
    char full[128];
    const char *mark = strstr(key, "%s");
    snprintf(full, sizeof full, "%.*s%s%s", mark ? (int)(mark - key) : 0, key, mark ? h->arch : "", mark ? mark + 2 : key);
    vs_tiny_put_str(&h->buf, full, strlen(full));
    vs_tiny_put_u32(&h->buf, type);
    h->n_kv++;
}

void vs_tiny_kv_u32(struct vs_tiny_head *h, const char *key, uint64_t v)
{
    vs_tiny_key(h, key, VS_TINY_U32);
    vs_tiny_put_u32(&h->buf, (uint32_t)v);
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
    vs_tiny_put_u32(&h->buf, type);
    put_u64(&h->buf, n);
}

static void kv_text(struct vs_tiny_head *h, const char *key, const char *v)
{
    vs_tiny_kv_str(h, key, v, strlen(v));
}

void vs_tiny_metadata(const struct vs_tiny *t, struct vs_tiny_head *h)
{
    bool gemma = !strcmp(t->arch, "gemma3");
    h->arch = t->arch;
    kv_text(h, "general.architecture", t->arch);
    kv_text(h, "general.type", "model");
    kv_text(h, "general.name", "tiny random");
    vs_tiny_kv_u32(h, "%s.block_count", t->layers);
    vs_tiny_kv_u32(h, "%s.context_length", t->ctx);
    vs_tiny_kv_u32(h, "%s.embedding_length", t->embd);
    if (t->ff_step) {
        vs_tiny_kv_array(h, "%s.feed_forward_length", VS_TINY_U32, t->layers);
        for (uint64_t i = 0; i < t->layers; i++)
            vs_tiny_put_u32(&h->buf, (uint32_t)(t->ff + i * t->ff_step));
    } else {
        vs_tiny_kv_u32(h, "%s.feed_forward_length", t->ff);
    }
    vs_tiny_kv_u32(h, "%s.attention.head_count", t->heads);
    vs_tiny_kv_u32(h, "%s.attention.head_count_kv", t->kv_heads);
    if (gemma || t->head_dim * t->heads != t->embd) {
        vs_tiny_kv_u32(h, "%s.attention.key_length", t->head_dim);
        vs_tiny_kv_u32(h, "%s.attention.value_length", t->head_dim);
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
    kv_f32(h, "%s.attention.layer_norm_rms_epsilon", strcmp(t->arch, "llama") ? 1e-6 : 1e-5);
    if (gemma && t->window)
        vs_tiny_kv_u32(h, "%s.attention.sliding_window", t->window);
    vs_tiny_kv_u32(h, "general.quantization_version", 2);
}

/* ---- tensors ---- */

struct tensor {
    char name[64];
    uint64_t ne[2];
    uint32_t n_dims;
    const struct vs_dtype_info *dtype;
    float mean, spread;                 /* value = mean + spread * normal */
};

struct model {
    const struct vs_tiny *t;
    struct tensor *tensor;
    size_t n, cap;
    unsigned n_mixed;
    int status;
    struct vs_error *err;
};

static const struct vs_dtype_info *dtype_named(struct model *m, const char *name)
{
    for (uint32_t id = 0; id < 64; id++) {
        const struct vs_dtype_info *info = vs_dtype_info(id);
        if (info && info->computable && !strcmp(info->name, name))
            return info;
    }
    if (m->status == VS_OK)
        m->status = vs_error_set(m->err, VS_E_INVALID, "unknown type '%s'", name);
    return vs_dtype_info(VS_F32);
}

/* What real quantisers take when the row is no multiple of the block. */
static const struct vs_dtype_info *fitting(const struct vs_dtype_info *info, uint64_t ne0)
{
    static const struct { enum vs_dtype from, to; } fallback[] = {
        { VS_Q2_K, VS_Q4_0 }, { VS_Q3_K, VS_Q4_0 }, { VS_Q4_K, VS_Q5_0 }, { VS_Q5_K, VS_Q5_1 }, { VS_Q6_K, VS_Q8_0 },
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
    t->ne[0] = n_in;
    t->ne[1] = n_out ? n_out : 1;
    t->n_dims = n_out ? 2 : 1;
    if (!strcmp(type, "mixed"))
        type = all[m->n_mixed++ % (sizeof all / sizeof *all)];
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
    if (layer < 0)
        add_tensor(m, "F32", n, 0, 1, 0.1f, "%s.weight", name);
    else
        add_tensor(m, "F32", n, 0, 1, 0.1f, "blk.%d.%s.weight", layer, name);
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

static void list_layer(struct model *m, int i)
{
    const struct vs_tiny *t = m->t;
    bool gemma = !strcmp(t->arch, "gemma3"), qwen2 = !strcmp(t->arch, "qwen2"), llama = !strcmp(t->arch, "llama");
    bool bias = qwen2 || t->bias || t->biases;
    uint64_t q = t->heads * t->head_dim, kv = t->kv_heads * t->head_dim, ff = t->ff + (uint64_t)i * t->ff_step;
    float b = t->biases ? 0.1f : 0;
    add_norm(m, t->embd, "attn_norm", i);
    if (t->qkv) {
        add_linear(m, t->embd, q + 2 * kv, bias && t->qkv == 2 ? 0.5f : 0, "attn_qkv", i);
    } else {
        add_linear(m, t->embd, q, 0, "attn_q", i);
        add_linear(m, t->embd, kv, 0, "attn_k", i);
        add_linear(m, t->embd, kv, 0, "attn_v", i);
    }
    add_linear(m, q, t->embd, 0, "attn_output", i);
    if (bias && t->qkv != 2) {
        add_tensor(m, "F32", q, 0, 0, 0.5f, "blk.%d.attn_q.bias", i);
        add_tensor(m, "F32", kv, 0, 0, 0.5f, "blk.%d.attn_k.bias", i);
        add_tensor(m, "F32", kv, 0, 0, 0.1f, "blk.%d.attn_v.bias", i);
    }
    if ((llama && t->bias) || t->biases)
        add_tensor(m, "F32", t->embd, 0, 0, 0.1f, "blk.%d.attn_output.bias", i);
    if (gemma || !strcmp(t->arch, "qwen3")) {
        add_norm(m, t->head_dim, "attn_q_norm", i);
        add_norm(m, t->head_dim, "attn_k_norm", i);
    }
    if (gemma) {
        add_norm(m, t->embd, "post_attention_norm", i);
        add_norm(m, t->embd, "post_ffw_norm", i);
    }
    add_norm(m, t->embd, "ffn_norm", i);
    add_linear(m, t->embd, ff, b, "ffn_gate", i);
    add_linear(m, t->embd, ff, b, "ffn_up", i);
    add_linear(m, ff, t->embd, b, "ffn_down", i);
}

static void list_tensors(struct model *m)
{
    const struct vs_tiny *t = m->t;
    add_matrix(m, t->embd_type, t->embd, t->vocab, "token_embd", -1);
    if (t->rope_freqs)
        add_tensor(m, "F32", (t->rot ? t->rot : t->head_dim) / 2, 0, 0, 0, "rope_freqs.weight");
    for (int i = 0; i < (int)t->layers; i++)
        list_layer(m, i);
    add_norm(m, t->embd, "output_norm", -1);
    if (!t->tied && strcmp(t->arch, "gemma3") != 0) {
        add_matrix(m, t->output_type, t->embd, t->vocab, "output", -1);
        if (t->output_scale != 0 && m->status == VS_OK)
            m->tensor[m->n - 1].spread *= (float)t->output_scale;
    }
    if (t->biases)
        add_tensor(m, "F32", t->vocab, 0, 0, 1, "output.bias");
}

static uint64_t tensor_bytes(const struct tensor *t)
{
    return t->ne[0] / t->dtype->block_len * t->dtype->block_bytes * t->ne[1];
}

static void pad(struct vs_buf *b)
{
    while (b->n % 32 && b->status == VS_OK)
        vs_buf_char(b, 0);
}

static void write_tensor(struct vs_buf *out, uint64_t seed, const struct tensor *t)
{
    float *x = malloc((t->ne[0] ? t->ne[0] : 1) * sizeof *x);
    size_t row_bytes = (size_t)(tensor_bytes(t) / t->ne[1]);
    uint8_t *row = malloc(row_bytes ? row_bytes : 1);
    if (!x || !row)
        out->status = VS_E_NOMEM;
    uint64_t s = vs_tiny_hash(t->name, strlen(t->name)) ^ seed * 0xd1342543de82ef95;
    for (uint64_t r = 0; r < t->ne[1] && out->status == VS_OK; r++) {
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
        vs_tiny_put_u32(ret, (uint32_t)t->version);
        put_u64(ret, m.n);
        put_u64(ret, h->n_kv);
        vs_buf_add(ret, h->buf.data, h->buf.n);
        uint64_t offset = 0;
        for (size_t i = 0; i < m.n; i++) {
            vs_tiny_put_str(ret, m.tensor[i].name, strlen(m.tensor[i].name));
            vs_tiny_put_u32(ret, m.tensor[i].n_dims);
            for (uint32_t d = 0; d < m.tensor[i].n_dims; d++)
                put_u64(ret, m.tensor[i].ne[d]);
            vs_tiny_put_u32(ret, m.tensor[i].dtype->id);
            put_u64(ret, offset);
            offset += (tensor_bytes(&m.tensor[i]) + 31) / 32 * 32;
        }
        pad(ret);
        for (size_t i = 0; i < m.n; i++)
            write_tensor(ret, t->seed, &m.tensor[i]);
        if (h->buf.status != VS_OK || ret->status != VS_OK)
            m.status = vs_error_set(err, VS_E_NOMEM, "out of memory");
    }
    free(m.tensor);
    return m.status;
}
