/* cpu/ops_c.c - every kernel in plain C: the specification, the fallback, the oracle.
 *
 * Computes matrices from the file's own blocks, so it also checks the packer. No SIMD, no libm, no fma instruction needed.
 */
#include "cpu/glu.h"
#include "cpu/ops.h"

#include "base/num.h"

#include <string.h>

/* Sum of 16 virtual lanes by the tree 8-4-2-1. */
static float tree16(float lane[16])
{
    for (int half = 8; half; half /= 2)
        for (int i = 0; i < half; i++)
            lane[i] += lane[i + half];
    return lane[0];
}

static void rms_norm(float *y, const float *x, const float *w, size_t n, float eps)
{
    float lane[16] = { 0 };
    for (size_t i = 0; i < n; i++)
        lane[i % 16] = vs_fmaf(x[i], x[i], lane[i % 16]);
    float r = 1.0f / vs_sqrtf(tree16(lane) / (float)n + eps);
    for (size_t i = 0; i < n; i++)
        y[i] = w ? x[i] * r * w[i] : x[i] * r;
}

static void layer_norm(float *y, const float *x, const float *w, const float *bias, size_t n, float eps)
{
    float lane[16] = { 0 }, square[16] = { 0 };
    for (size_t i = 0; i < n; i++)
        lane[i % 16] += x[i];
    float mean = tree16(lane) / (float)n;
    for (size_t i = 0; i < n; i++) {
        float d = x[i] - mean;
        square[i % 16] = vs_fmaf(d, d, square[i % 16]);
    }
    float r = 1.0f / vs_sqrtf(tree16(square) / (float)n + eps);
    for (size_t i = 0; i < n; i++) {
        float v = (x[i] - mean) * r;
        v = w ? v * w[i] : v;
        y[i] = bias ? v + bias[i] : v;
    }
}

static void relu2(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float v = x[i] < 0.0f ? 0.0f : x[i];
        y[i] = v * v;
    }
}

static void xielu(float *y, const float *x, size_t n, const float p[4])
{
    for (size_t i = 0; i < n; i++) {
        float v = x[i], line = p[2] * v, low = v < p[3] ? v : p[3];
        float below = vs_fmaf(vs_expf(low) - 1.0f - v, p[1], line), above = vs_fmaf(v * v, p[0], line);
        y[i] = v > 0.0f ? above : v == v ? below : v;
    }
}

/* Integers of one block, 127 or VS_HIGH_MAX at most. Returns d; NaN when a value is NaN or infinite: a fault must reach the
 * logits. */
static float quantize_block(const float *v, size_t len, int greatest_q, int q[32])
{
    uint32_t greatest = 0;               /* of the bits of |x|: they order as the numbers do, NaN above all */
    for (size_t i = 0; i < len; i++) {
        uint32_t bits = vs_f32_bits(v[i]) & 0x7fffffff;
        greatest = bits > greatest ? bits : greatest;
    }
    memset(q, 0, 32 * sizeof *q);
    float amax = vs_f32_of_bits(greatest);
    if (greatest >= 0x7f800000)
        return vs_f32_of_bits(0x7fc00000);
    if (amax < 0x1p-100f)
        return 0;
    float id = (float)greatest_q / amax;
    for (size_t i = 0; i < len; i++)
        q[i] = (int)vs_rnef(v[i] * id);
    return amax / (float)greatest_q;
}

/* Bytes and their sums; the scales are the caller's. */
static void act_fill(struct vs_act *a, const int q[32])
{
    memset(a, 0, sizeof *a);
    for (int i = 0; i < 32; i++) {
        a->q[i] = (int8_t)q[i];
        a->npair16[i / 16][i % 4 / 2] = (int16_t)(a->npair16[i / 16][i % 4 / 2] - q[i]);
        a->nsum -= q[i];
    }
    for (int p = 0; p < 2; p++)
        a->npair32[p] = (int16_t)(a->npair16[0][p] + a->npair16[1][p]);
}

static void act_scale(struct vs_act *a, float d, const int q[32])
{
    int sum[2] = { 0, 0 };
    for (int i = 0; i < 32; i++)
        sum[i / 16] += q[i];
    a->d = d;
    a->ds = d * (float)(sum[0] + sum[1]);
    a->dsh[0] = d * (float)sum[0];
    a->dsh[1] = d * (float)sum[1];
}

static void quantize(const float *x, size_t n, struct vs_act *dst, size_t stride)
{
    for (size_t at = 0; at < n; at += 32, dst += stride) {
        int q[32];
        float d = quantize_block(x + at, n - at < 32 ? n - at : 32, 127, q);
        act_fill(dst, q);
        act_scale(dst, d, q);
    }
}

static void quantize_high(const float *x, size_t n, struct vs_act *dst, size_t stride)
{
    for (size_t at = 0; at < n; at += 32, dst += stride) {
        int q[32], hi[32], lo[32];
        float d = quantize_block(x + at, n - at < 32 ? n - at : 32, VS_HIGH_MAX, q);
        for (int i = 0; i < 32; i++) {
            hi[i] = vs_rne_i32((float)q[i] * (1.0f / VS_HIGH_STEP));
            lo[i] = q[i] - VS_HIGH_STEP * hi[i];
        }
        act_fill(dst, hi);
        act_fill(dst + 1, lo);
        act_scale(dst, d, q);
    }
}

static void finish(const struct vs_matmul *m, size_t i, size_t row, float v)
{
    if (m->bias)
        v += m->bias[row];
    if (m->residual)
        v = m->residual[i * m->ldy + row] + v;
    m->y[i * m->ldy + row] = v;
}

static void matmul_float(const struct vs_matmul *m, size_t row)
{
    const struct vs_matrix *w = m->w;
    size_t size = w->cls == VS_CLASS_F32 ? 4 : 2;
    const uint8_t *at = w->data + row * vs_matrix_row_bytes(w);
    for (size_t i = 0; i < m->n; i++) {
        float acc = 0;
        for (size_t k0 = 0; k0 < w->n_cols; k0 += 32) {
            size_t end = w->n_cols - k0 < 32 ? w->n_cols : k0 + 32;
            float block = 0;
            for (size_t k = k0; k < end; k++) {
                float v;
                if (size == 4) {
                    memcpy(&v, at + 4 * k, 4);
                } else {
                    uint16_t h;
                    memcpy(&h, at + 2 * k, 2);
                    v = w->cls == VS_CLASS_F16 ? vs_f16_to_f32(h) : vs_bf16_to_f32(h);
                }
                block = vs_fmaf(v, m->xf[i * m->ldx + k], block);
            }
            acc += block;
        }
        finish(m, i, row, acc);
    }
}

/* Exact sum of n products; x and, in high precision, the row beside it. */
static int dot(const uint8_t *code, int offset, const struct vs_act *x, bool high, int from, int n)
{
    int sum = 0;
    for (int i = from; i < from + n; i++)
        sum += ((int)code[i] - offset) * (high ? VS_HIGH_STEP * x[0].q[i] + x[1].q[i] : x[0].q[i]);
    return sum;
}

enum { COLUMNS = 32 };                  /* rows of x that share one decoded block */

static void matmul_codes(const struct vs_matmul *m, size_t row, size_t first, size_t n)
{
    const struct vs_matrix *w = m->w;
    const struct vs_class_info *info = &vs_class_infos[w->cls];
    const uint8_t *at = w->data + row * vs_matrix_row_bytes(w);
    size_t n_blocks = w->n_cols / 32, pair = m->high ? 2 : 1;
    float acc[COLUMNS] = { 0 };
    for (size_t b = 0; b < n_blocks; b++) {
        struct vs_codes c;
        vs_codes_read(w, at, b, &c);
        for (size_t i = 0; i < n; i++) {
            size_t x_row = (first + i) * pair;
            const struct vs_act *a = m->x + vs_act_index(n_blocks, x_row) + b * vs_act_width(m->n * pair, x_row);
            if (info->per16) {
                float i0 = (float)dot(c.code, info->offset, a, m->high, 0, 16);
                float i1 = (float)dot(c.code, info->offset, a, m->high, 16, 16);
                float t = vs_fmaf(i1, c.scale[1], i0 * c.scale[0]);
                acc[i] = vs_fmaf(t, a->d, acc[i]);
                if (info->has_min) {
                    acc[i] = vs_fmaf(c.min[0], a->dsh[0], acc[i]);
                    acc[i] = vs_fmaf(c.min[1], a->dsh[1], acc[i]);
                }
            } else {
                float sum = (float)dot(c.code, info->offset, a, m->high, 0, 32);
                acc[i] = vs_fmaf(sum, c.scale[0] * a->d, acc[i]);
                if (info->has_min)
                    acc[i] = vs_fmaf(c.min[0], a->ds, acc[i]);
            }
        }
    }
    for (size_t i = 0; i < n; i++)
        finish(m, first + i, row, acc[i]);
}

static void matmul(const struct vs_matmul *m, size_t begin, size_t end)
{
    size_t last = end * VS_PANEL_ROWS < m->w->n_rows ? end * VS_PANEL_ROWS : m->w->n_rows;
    for (size_t row = begin * VS_PANEL_ROWS; row < last; row++) {
        if (vs_class_infos[m->w->cls].is_float) {
            matmul_float(m, row);
            continue;
        }
        for (size_t i = 0; i < m->n; i += COLUMNS)
            matmul_codes(m, row, i, m->n - i < COLUMNS ? m->n - i : COLUMNS);
    }
}

static void glu(float *y, const float *gate, const float *up, size_t n, enum vs_activation act)
{
    for (size_t i = 0; i < n; i++)
        y[i] = vs_glu1(gate[i], up[i], act);
}

static void add(float *y, const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = a[i] + b[i];
}

static void scale(float *y, const float *x, float s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] * s;
}

static void add_scaled(float *y, const float *x, float s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = vs_fmaf(x[i], s, y[i]);
}

static void softcap(float *y, const float *x, float cap, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = cap * vs_tanhf(x[i] / cap);
}

static void rope(float *x, const float *cosine, const float *sine, size_t n_pairs, enum vs_rope_kind kind)
{
    size_t step = kind == VS_ROPE_NORM ? 2 : 1, other = kind == VS_ROPE_NORM ? 1 : n_pairs;
    for (size_t i = 0; i < n_pairs; i++) {
        float x0 = x[i * step], x1 = x[i * step + other];
        x[i * step] = vs_fmaf(-x1, sine[i], x0 * cosine[i]);
        x[i * step + other] = vs_fmaf(x1, cosine[i], x0 * sine[i]);
    }
}

static void to_f16(uint16_t *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = vs_f32_to_f16(x[i]);
}

static void from_f16(float *y, const uint16_t *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = vs_f16_to_f32(x[i]);
}

static void scores(float *s, const float *q, size_t ldq, size_t n_q, const float *k, size_t head_dim)
{
    for (size_t i = 0; i < n_q; i++)
        for (size_t t = 0; t < VS_PAGE_TOKENS; t++) {
            float acc = 0;
            for (size_t d = 0; d < head_dim; d++)
                acc = vs_fmaf(q[i * ldq + d], k[vs_key_at(head_dim, d, t)], acc);
            s[i * VS_SCORES + t] = acc;
        }
}

static void scores_f16(float *s, const float *q, size_t ldq, size_t n_q, const uint16_t *k, size_t head_dim)
{
    for (size_t i = 0; i < n_q; i++)
        for (size_t t = 0; t < VS_PAGE_TOKENS; t++) {
            float acc = 0;
            for (size_t d = 0; d < head_dim; d++)
                acc = vs_fmaf(q[i * ldq + d], vs_f16_to_f32(k[vs_key_at(head_dim, d, t)]), acc);
            s[i * VS_SCORES + t] = acc;
        }
}

static void scores_q8(float *s, const struct vs_act *q, size_t n_q, const uint8_t *k, const float *dk, size_t head_dim)
{
    size_t n_blocks = (head_dim + 31) / 32;
    for (size_t i = 0; i < n_q; i++)
        for (size_t t = 0; t < VS_PAGE_TOKENS; t++) {
            float acc = 0;
            for (size_t b = 0; b < n_blocks; b++) {
                const struct vs_act *a = &q[i * n_blocks + b];
                int sum = 0;
                for (size_t d = 32 * b; d < head_dim && d < 32 * b + 32; d++)
                    sum += a->q[d % 32] * ((int)k[vs_key8_at(head_dim, d, t)] - 128);
                acc = vs_fmaf((float)sum, dk[b * VS_PAGE_TOKENS + t] * a->d, acc);
            }
            s[i * VS_SCORES + t] = acc;
        }
}

static void soft_max(float *s, struct vs_span span, float s_scale, float cap, float *ret_max, float *ret_sum)
{
    float max = -__builtin_inff();
    for (uint32_t j = span.lo; j < span.hi; j++) {
        s[j] = s[j] * s_scale;
        if (cap != 0)
            s[j] = cap * vs_tanhf(s[j] / cap);
        max = s[j] > max ? s[j] : max;
    }
    float lane[16] = { 0 };
    for (uint32_t j = 0; j < VS_SPLIT; j++) {
        s[j] = j >= span.lo && j < span.hi ? vs_expf(s[j] - max) : 0.0f;
        lane[j % 16] += s[j];
    }
    *ret_max = max;
    *ret_sum = tree16(lane);
}

static void mix(float *o, size_t ldo, const float *p, size_t n_q, const struct vs_span *span,
                size_t base, const float *v, size_t head_dim)
{
    for (size_t i = 0; i < n_q; i++) {
        size_t end = vs_in_page(span[i].hi, base);
        for (size_t t = vs_in_page(span[i].lo, base); t < end; t++)
            for (size_t d = 0; d < head_dim; d++)
                o[i * ldo + d] = vs_fmaf(p[i * VS_SCORES + base + t], v[vs_value_at(head_dim, t, d)], o[i * ldo + d]);
    }
}

static void mix_f16(float *o, size_t ldo, const float *p, size_t n_q, const struct vs_span *span,
                    size_t base, const uint16_t *v, size_t head_dim)
{
    for (size_t i = 0; i < n_q; i++) {
        size_t end = vs_in_page(span[i].hi, base);
        for (size_t t = vs_in_page(span[i].lo, base); t < end; t++)
            for (size_t d = 0; d < head_dim; d++)
                o[i * ldo + d] = vs_fmaf(p[i * VS_SCORES + base + t], vs_f16_to_f32(v[vs_value_at(head_dim, t, d)]),
                                         o[i * ldo + d]);
    }
}

static void weigh(const float *p, const float *dv, size_t lo, size_t hi, struct vs_act *dst)
{
    float x[VS_PAGE_TOKENS] = { 0 };
    for (size_t t = lo; t < hi; t++)
        x[t] = p[t] * dv[t];
    quantize(x, VS_PAGE_TOKENS, dst, 1);
}

static void mix_q8(float *o, size_t ldo, const struct vs_act *p, size_t n_q, const int8_t *v, size_t head_dim)
{
    for (size_t i = 0; i < n_q; i++)
        for (size_t b = 0; b < VS_PAGE_BLOCKS; b++)
            for (size_t d = 0; d < head_dim; d++) {
                const struct vs_act *a = &p[i * VS_PAGE_BLOCKS + b];
                int sum = 0;
                for (size_t t = 0; t < 32; t++)
                    sum += a->q[t] * v[vs_value8_at(32 * b + t, d)];
                o[i * ldo + d] = vs_fmaf((float)sum, a->d, o[i * ldo + d]);
            }
}

static void merge(float *o, float *l, float *m, const float *o_split, float l_split, float m_split, size_t head_dim)
{
    float m_new = *m > m_split ? *m : m_split;
    float a = vs_expf(*m - m_new), b = vs_expf(m_split - m_new);
    *l = vs_fmaf(l_split, b, *l * a);
    for (size_t d = 0; d < head_dim; d++)
        o[d] = vs_fmaf(o_split[d], b, o[d] * a);
    *m = m_new;
}

static bool has_fault(const float *x, size_t n)
{
    uint32_t greatest = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, x + i, 4);
        bits &= 0x7fffffff;
        greatest = bits > greatest ? bits : greatest;
    }
    return greatest >= 0x7f800000;
}

void vs_cpu_ops_init_c(struct vs_cpu_ops *ops)
{
    *ops = (struct vs_cpu_ops){
        .name = "c", .packed = false, .rms_norm = rms_norm, .layer_norm = layer_norm, .relu2 = relu2, .xielu = xielu,
        .quantize = quantize, .quantize_high = quantize_high, .matmul = matmul, .glu = glu,
        .add = add, .scale = scale, .add_scaled = add_scaled, .softcap = softcap, .rope = rope,
        .to_f16 = to_f16, .from_f16 = from_f16,
        .scores = scores, .scores_f16 = scores_f16, .scores_q8 = scores_q8,
        .soft_max = soft_max, .mix = mix, .mix_f16 = mix_f16,
        .weigh = weigh, .mix_q8 = mix_q8, .merge = merge, .has_fault = has_fault,
    };
}
