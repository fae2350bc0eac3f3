/* cpu/ops_neon.c - everything but matrices on 4 lanes of 64-bit Arm. Same bits as ops_c.c; tails are done in plain C with the same
 * operations. What a compiler makes of plain C by itself (sums and products of two arrays, maxima of integers) is not here. */
#include "cpu/glu.h"
#include "cpu/ops.h"

#include "cpu/math_neon.h"
#include "cpu/mix_q8.h"

#include <string.h>

#define INLINE static inline __attribute__((always_inline))

static void rms_norm(float *y, const float *x, const float *w, size_t n, float eps)
{
    float32x4_t lane[4] = { vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0) };
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (size_t k = 0; k < 4; k++) {
            float32x4_t a = vld1q_f32(x + i + 4 * k);
            lane[k] = vfmaq_f32(lane[k], a, a);
        }
    if (i < n) {                         /* lanes past the end add the square of zero to what they have: nothing */
        float tail[16] = { 0 };
        memcpy(tail, x + i, (n - i) * sizeof *x);
        for (size_t k = 0; k < 4; k++) {
            float32x4_t a = vld1q_f32(tail + 4 * k);
            lane[k] = vfmaq_f32(lane[k], a, a);
        }
    }
    float r = 1.0f / vs_sqrtf(vs_tree16(lane) / (float)n + eps);
    for (i = 0; i + 4 <= n; i += 4) {
        float32x4_t v = vmulq_n_f32(vld1q_f32(x + i), r);
        vst1q_f32(y + i, w ? vmulq_f32(v, vld1q_f32(w + i)) : v);
    }
    for (; i < n; i++)
        y[i] = w ? x[i] * r * w[i] : x[i] * r;
}

static void quantize_block(const float *v, struct vs_act *a)
{
    float32x4_t x[8];
    uint32x4_t greatest = vdupq_n_u32(0);
    for (int i = 0; i < 8; i++) {
        x[i] = vld1q_f32(v + 4 * i);
        greatest = vmaxq_u32(greatest, vandq_u32(vreinterpretq_u32_f32(x[i]), vdupq_n_u32(0x7fffffff)));
    }
    uint32_t bits = vmaxvq_u32(greatest);
    float amax = vs_f32_of_bits(bits);
    memset(a, 0, sizeof *a);
    if (bits >= 0x7f800000)
        a->d = a->ds = a->dsh[0] = a->dsh[1] = vs_f32_of_bits(0x7fc00000);
    if (bits >= 0x7f800000 || amax < 0x1p-100f)
        return;
    float id = 127.0f / amax;
    int32_t half[2];
    for (int h = 0; h < 2; h++) {
        int32x4_t q[4];
        for (int i = 0; i < 4; i++)
            q[i] = vcvtnq_s32_f32(vmulq_n_f32(x[4 * h + i], id));
        int16x8_t p0 = vcombine_s16(vmovn_s32(q[0]), vmovn_s32(q[1])), p1 = vcombine_s16(vmovn_s32(q[2]), vmovn_s32(q[3]));
        vst1q_s8(a->q + 16 * h, vcombine_s8(vmovn_s16(p0), vmovn_s16(p1)));
        int32x4_t sum = vaddq_s32(vaddq_s32(q[0], q[1]), vaddq_s32(q[2], q[3]));     /* by k mod 4 */
        int32x2_t pair = vpadd_s32(vget_low_s32(sum), vget_high_s32(sum));           /* k mod 4 in {0, 1}, in {2, 3} */
        a->npair16[h][0] = (int16_t)-vget_lane_s32(pair, 0);
        a->npair16[h][1] = (int16_t)-vget_lane_s32(pair, 1);
        half[h] = vaddv_s32(pair);
    }
    for (int p = 0; p < 2; p++)
        a->npair32[p] = (int16_t)(a->npair16[0][p] + a->npair16[1][p]);
    a->d = amax / 127.0f;
    a->nsum = -(half[0] + half[1]);
    a->ds = a->d * (float)(half[0] + half[1]);
    a->dsh[0] = a->d * (float)half[0];
    a->dsh[1] = a->d * (float)half[1];
}

static void quantize(const float *x, size_t n, struct vs_act *dst, size_t stride)
{
    size_t b = 0;
    for (; b * 32 + 32 <= n; b++)
        quantize_block(x + b * 32, dst + b * stride);
    if (b * 32 < n) {
        float tail[32] = { 0 };
        memcpy(tail, x + b * 32, (n - b * 32) * sizeof *x);
        quantize_block(tail, dst + b * stride);
    }
}

static void glu(float *y, const float *gate, const float *up, size_t n, enum vs_activation act)
{
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        float32x4_t g = vld1q_f32(gate + i), u = vld1q_f32(up + i);
        if (act == VS_ACT_SWIGLU_OAI) {
            g = vminq_f32(g, vdupq_n_f32(VS_OAI_LIMIT));
            u = vmaxq_f32(vminq_f32(u, vdupq_n_f32(VS_OAI_LIMIT)), vdupq_n_f32(-VS_OAI_LIMIT));
            u = vaddq_f32(u, vdupq_n_f32(1.0f));
            g = vmulq_f32(g, vs_sigmoid4(vmulq_n_f32(g, VS_OAI_SLOPE)));
        } else {
            g = vs_activation4(g, act);
        }
        vst1q_f32(y + i, vmulq_f32(g, u));
    }
    for (; i < n; i++)
        y[i] = vs_glu1(gate[i], up[i], act);
}

static void add_scaled(float *y, const float *x, float s, size_t n)
{
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        vst1q_f32(y + i, vfmaq_n_f32(vld1q_f32(y + i), vld1q_f32(x + i), s));
    for (; i < n; i++)
        y[i] = vs_fmaf(x[i], s, y[i]);
}

static void rope(float *x, const float *cosine, const float *sine, size_t n_pairs, enum vs_rope_kind kind)
{
    size_t i = 0;
    for (; i + 4 <= n_pairs; i += 4) {
        float32x4_t c = vld1q_f32(cosine + i), s = vld1q_f32(sine + i);
        if (kind == VS_ROPE_NEOX) {
            float32x4_t x0 = vld1q_f32(x + i), x1 = vld1q_f32(x + n_pairs + i);
            vst1q_f32(x + i, vfmsq_f32(vmulq_f32(x0, c), x1, s));
            vst1q_f32(x + n_pairs + i, vfmaq_f32(vmulq_f32(x0, s), x1, c));
        } else {
            float32x4x2_t v = vld2q_f32(x + 2 * i);
            float32x4x2_t y = { { vfmsq_f32(vmulq_f32(v.val[0], c), v.val[1], s),
                                  vfmaq_f32(vmulq_f32(v.val[0], s), v.val[1], c) } };
            vst2q_f32(x + 2 * i, y);
        }
    }
    size_t step = kind == VS_ROPE_NORM ? 2 : 1, other = kind == VS_ROPE_NORM ? 1 : n_pairs;
    for (; i < n_pairs; i++) {
        float x0 = x[i * step], x1 = x[i * step + other];
        x[i * step] = vs_fmaf(-x1, sine[i], x0 * cosine[i]);
        x[i * step + other] = vs_fmaf(x1, cosine[i], x0 * sine[i]);
    }
}

static void to_f16(uint16_t *y, const float *x, size_t n)
{
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        vst1_u16(y + i, vreinterpret_u16_f16(vcvt_f16_f32(vld1q_f32(x + i))));
    for (; i < n; i++)
        y[i] = vs_f32_to_f16(x[i]);
}

static void from_f16(float *y, const uint16_t *x, size_t n)
{
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        vst1q_f32(y + i, vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(x + i))));
    for (; i < n; i++)
        y[i] = vs_f16_to_f32(x[i]);
}

/* Element i of an array of f32 or f16, and the three after it. */
INLINE float32x4_t load4(const void *p, size_t i, const bool half)
{
    if (half)
        return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16((const uint16_t *)p + i)));
    return vld1q_f32((const float *)p + i);
}

INLINE float load1(const void *p, size_t i, const bool half)
{
    return half ? vs_f16_to_f32(((const uint16_t *)p)[i]) : ((const float *)p)[i];
}

/* n queries against 16 keys at a time. */
INLINE void scores_tile(float *s, const float *q, size_t ldq, const int n, const void *k, size_t head_dim, const bool half)
{
    for (size_t t = 0; t < VS_PAGE_TOKENS; t += 16) {
        float32x4_t acc[4][4];
        for (int i = 0; i < n; i++)
            for (int j = 0; j < 4; j++)
                acc[i][j] = vdupq_n_f32(0);
        size_t at = vs_key_at(head_dim, 0, t);
        for (size_t d = 0; d < head_dim; d++, at += VS_KEY_GROUP)
            for (int j = 0; j < 4; j++) {
                float32x4_t key = load4(k, at + 4 * (size_t)j, half);
                for (int i = 0; i < n; i++)
                    acc[i][j] = vfmaq_n_f32(acc[i][j], key, q[(size_t)i * ldq + d]);
            }
        for (int i = 0; i < n; i++)
            for (int j = 0; j < 4; j++)
                vst1q_f32(s + (size_t)i * VS_SCORES + t + 4 * (size_t)j, acc[i][j]);
    }
}

INLINE void scores_page(float *s, const float *q, size_t ldq, size_t n_q, const void *k, size_t head_dim, const bool half)
{
    size_t i = 0;
    for (; i + 4 <= n_q; i += 4)
        scores_tile(s + i * VS_SCORES, q + i * ldq, ldq, 4, k, head_dim, half);
    for (; i < n_q; i++)
        scores_tile(s + i * VS_SCORES, q + i * ldq, ldq, 1, k, head_dim, half);
}

static void scores(float *s, const float *q, size_t ldq, size_t n_q, const float *k, size_t head_dim)
{
    scores_page(s, q, ldq, n_q, k, head_dim, false);
}

static void scores_f16(float *s, const float *q, size_t ldq, size_t n_q, const uint16_t *k, size_t head_dim)
{
    scores_page(s, q, ldq, n_q, k, head_dim, true);
}

/* n queries: lanes are keys, four bytes of one key lie side by side, so that a dot instruction takes them. */
INLINE void scores_q8_tile(float *s, const struct vs_act *q, size_t n_blocks, const int n, const uint8_t *k, const float *dk,
                           size_t head_dim)
{
    for (size_t t = 0; t < VS_PAGE_TOKENS; t += 16) {
        float32x4_t acc[2][4];
        for (int i = 0; i < n; i++)
            for (int j = 0; j < 4; j++)
                acc[i][j] = vdupq_n_f32(0);
        for (size_t b = 0; b < n_blocks; b++) {
            size_t steps = head_dim - 32 * b < 32 ? (head_dim - 32 * b + 3) / 4 : 8;
            int32x4_t sum[2][4];
            for (int i = 0; i < n; i++)
                for (int j = 0; j < 4; j++)
                    sum[i][j] = vdupq_n_s32(0);
            for (size_t g = 0; g < steps; g++)
                for (int j = 0; j < 4; j++) {
                    const uint8_t *at = k + vs_key8_at(head_dim, 32 * b + 4 * g, t) + 16 * (size_t)j;
                    int8x16_t key = vreinterpretq_s8_u8(veorq_u8(vld1q_u8(at), vdupq_n_u8(0x80)));
                    for (int i = 0; i < n; i++) {
                        int32_t word;
                        memcpy(&word, q[(size_t)i * n_blocks + b].q + 4 * g, 4);
                        sum[i][j] = vdotq_s32(sum[i][j], key, vreinterpretq_s8_s32(vdupq_n_s32(word)));
                    }
                }
            for (int j = 0; j < 4; j++) {
                float32x4_t scale = vld1q_f32(dk + b * VS_PAGE_TOKENS + t + 4 * (size_t)j);
                for (int i = 0; i < n; i++)
                    acc[i][j] = vfmaq_f32(acc[i][j], vcvtq_f32_s32(sum[i][j]), vmulq_n_f32(scale, q[(size_t)i * n_blocks + b].d));
            }
        }
        for (int i = 0; i < n; i++)
            for (int j = 0; j < 4; j++)
                vst1q_f32(s + (size_t)i * VS_SCORES + t + 4 * (size_t)j, acc[i][j]);
    }
}

static void scores_q8(float *s, const struct vs_act *q, size_t n_q, const uint8_t *k, const float *dk, size_t head_dim)
{
    size_t i = 0, n_blocks = (head_dim + 31) / 32;
    for (; i + 2 <= n_q; i += 2)
        scores_q8_tile(s + i * VS_SCORES, q + i * n_blocks, n_blocks, 2, k, dk, head_dim);
    if (i < n_q)
        scores_q8_tile(s + i * VS_SCORES, q + i * n_blocks, n_blocks, 1, k, dk, head_dim);
}

static void soft_max(float *s, struct vs_span span, float s_scale, float cap, float *ret_max, float *ret_sum)
{
    if (cap != 0)                        /* scale and cap here, so that the vector part has one form */
        for (uint32_t j = span.lo; j < span.hi; j++)
            s[j] = cap * vs_tanhf(s[j] * s_scale / cap);
    const uint32_t first[4] = { 0, 1, 2, 3 };
    const uint32x4_t lanes = vld1q_u32(first), lo = vdupq_n_u32(span.lo), hi = vdupq_n_u32(span.hi);
    float32x4_t max = vdupq_n_f32(-__builtin_inff());
    for (uint32_t j = span.lo / 4 * 4; j < span.hi; j += 4) {
        uint32x4_t at = vaddq_u32(lanes, vdupq_n_u32(j)), in = vandq_u32(vcgeq_u32(at, lo), vcltq_u32(at, hi));
        float32x4_t v = vld1q_f32(s + j);
        if (cap == 0)
            v = vmulq_n_f32(v, s_scale);
        vst1q_f32(s + j, v);
        max = vbslq_f32(vandq_u32(in, vcgtq_f32(v, max)), v, max);       /* a NaN in v leaves max as it is, as in plain C */
    }
    float lane[4], m = -__builtin_inff();
    vst1q_f32(lane, max);
    for (int i = 0; i < 4; i++)
        m = lane[i] > m ? lane[i] : m;
    float32x4_t sum[4] = { vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0) };
    for (uint32_t j = 0; j < VS_SPLIT; j += 4) {
        float32x4_t p = vdupq_n_f32(0);
        if (j + 4 > span.lo && j < span.hi) {
            uint32x4_t at = vaddq_u32(lanes, vdupq_n_u32(j)), in = vandq_u32(vcgeq_u32(at, lo), vcltq_u32(at, hi));
            p = vs_exp4(vsubq_f32(vld1q_f32(s + j), vdupq_n_f32(m)));
            p = vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(p), in));
        }
        vst1q_f32(s + j, p);
        sum[j / 4 % 4] = vaddq_f32(sum[j / 4 % 4], p);
    }
    *ret_max = m;
    *ret_sum = vs_tree16(sum);
}

/* Keys [lo, hi) of the page for one query. */
INLINE void mix_one(float *o, const float *p, size_t lo, size_t hi, const void *v, size_t head_dim, const bool half)
{
    if (lo >= hi)
        return;
    size_t d = 0;
    for (; d + 16 <= head_dim; d += 16) {
        float32x4_t acc[4];
        size_t first = vs_value_at(head_dim, 0, d), step = vs_value_width(head_dim, d);
        for (size_t j = 0; j < 4; j++)
            acc[j] = vld1q_f32(o + d + 4 * j);
        for (size_t t = lo; t < hi; t++)
            for (size_t j = 0; j < 4; j++)
                acc[j] = vfmaq_n_f32(acc[j], load4(v, first + t * step + 4 * j, half), p[t]);
        for (size_t j = 0; j < 4; j++)
            vst1q_f32(o + d + 4 * j, acc[j]);
    }
    for (; d < head_dim; d++)
        for (size_t t = lo; t < hi; t++)
            o[d] = vs_fmaf(p[t], load1(v, vs_value_at(head_dim, t, d), half), o[d]);
}

/* Keys [lo, hi) that four queries all see; dimensions in multiples of 16. */
INLINE void mix_four(float *o, size_t ldo, const float *p, size_t lo, size_t hi, const void *v, size_t head_dim, const bool half)
{
    for (size_t d = 0; d < head_dim; d += 16) {
        float32x4_t acc[4][4];
        size_t first = vs_value_at(head_dim, 0, d), step = vs_value_width(head_dim, d);
        for (size_t i = 0; i < 4; i++)
            for (size_t j = 0; j < 4; j++)
                acc[i][j] = vld1q_f32(o + i * ldo + d + 4 * j);
        for (size_t t = lo; t < hi; t++)
            for (size_t j = 0; j < 4; j++) {
                float32x4_t x = load4(v, first + t * step + 4 * j, half);
                for (size_t i = 0; i < 4; i++)
                    acc[i][j] = vfmaq_n_f32(acc[i][j], x, p[i * VS_SCORES + t]);
            }
        for (size_t i = 0; i < 4; i++)
            for (size_t j = 0; j < 4; j++)
                vst1q_f32(o + i * ldo + d + 4 * j, acc[i][j]);
    }
}

INLINE void mix_page(float *o, size_t ldo, const float *p, size_t n_q, const struct vs_span *span, size_t base, const void *v,
                     size_t head_dim, const bool half)
{
    size_t i = 0;
    p += base;
    for (; i + 4 <= n_q && head_dim % 16 == 0; i += 4) {
        size_t from = 0, to = VS_PAGE_TOKENS;            /* what all four see */
        for (size_t j = i; j < i + 4; j++) {
            size_t lo = vs_in_page(span[j].lo, base), hi = vs_in_page(span[j].hi, base);
            from = lo > from ? lo : from;
            to = hi < to ? hi : to;
        }
        bool common = from < to;
        for (size_t j = i; j < i + 4; j++)
            mix_one(o + j * ldo, p + j * VS_SCORES, vs_in_page(span[j].lo, base), common ? from : vs_in_page(span[j].hi, base), v,
                    head_dim, half);
        if (!common)
            continue;
        mix_four(o + i * ldo, ldo, p + i * VS_SCORES, from, to, v, head_dim, half);
        for (size_t j = i; j < i + 4; j++)
            mix_one(o + j * ldo, p + j * VS_SCORES, to, vs_in_page(span[j].hi, base), v, head_dim, half);
    }
    for (; i < n_q; i++)
        mix_one(o + i * ldo, p + i * VS_SCORES, vs_in_page(span[i].lo, base), vs_in_page(span[i].hi, base), v, head_dim, half);
}

static void mix(float *o, size_t ldo, const float *p, size_t n_q, const struct vs_span *span,
                size_t base, const float *v, size_t head_dim)
{
    mix_page(o, ldo, p, n_q, span, base, v, head_dim, false);
}

static void mix_f16(float *o, size_t ldo, const float *p, size_t n_q, const struct vs_span *span,
                    size_t base, const uint16_t *v, size_t head_dim)
{
    mix_page(o, ldo, p, n_q, span, base, v, head_dim, true);
}

static void weigh(const float *p, const float *dv, size_t lo, size_t hi, struct vs_act *dst)
{
    float x[VS_PAGE_TOKENS] = { 0 };
    size_t t = lo;
    for (; t + 4 <= hi; t += 4)
        vst1q_f32(x + t, vmulq_f32(vld1q_f32(p + t), vld1q_f32(dv + t)));
    for (; t < hi; t++)
        x[t] = p[t] * dv[t];
    quantize(x, VS_PAGE_TOKENS, dst, 1);
}

/* n queries, 16 dimensions. */
INLINE void mix_q8_tile(float *o, size_t ldo, const struct vs_act *p, const int n, const int8_t *v)
{
    float32x4_t acc[2][4];
    for (int i = 0; i < n; i++)
        for (int j = 0; j < 4; j++)
            acc[i][j] = vld1q_f32(o + (size_t)i * ldo + 4 * (size_t)j);
    for (size_t b = 0; b < VS_PAGE_BLOCKS; b++) {
        int32x4_t sum[2][4];
        for (int i = 0; i < n; i++)
            for (int j = 0; j < 4; j++)
                sum[i][j] = vdupq_n_s32(0);
        for (size_t g = 0; g < 8; g++)
            for (int j = 0; j < 4; j++) {
                int8x16_t value = vld1q_s8(v + (8 * b + g) * 4 * VS_LANES8 + 16 * (size_t)j);
                for (int i = 0; i < n; i++) {
                    int32_t word;
                    memcpy(&word, p[VS_PAGE_BLOCKS * (size_t)i + b].q + 4 * g, 4);
                    sum[i][j] = vdotq_s32(sum[i][j], value, vreinterpretq_s8_s32(vdupq_n_s32(word)));
                }
            }
        for (int i = 0; i < n; i++)
            for (int j = 0; j < 4; j++)
                acc[i][j] = vfmaq_n_f32(acc[i][j], vcvtq_f32_s32(sum[i][j]), p[VS_PAGE_BLOCKS * (size_t)i + b].d);
    }
    for (int i = 0; i < n; i++)
        for (int j = 0; j < 4; j++)
            vst1q_f32(o + (size_t)i * ldo + 4 * (size_t)j, acc[i][j]);
}

VS_MIX_Q8(2, VS_LANES8)

static void merge(float *o, float *l, float *m, const float *o_split, float l_split, float m_split, size_t head_dim)
{
    float m_new = *m > m_split ? *m : m_split;
    float a = vs_expf(*m - m_new), b = vs_expf(m_split - m_new);
    *l = vs_fmaf(l_split, b, *l * a);
    size_t d = 0;
    for (; d + 4 <= head_dim; d += 4)
        vst1q_f32(o + d, vfmaq_n_f32(vmulq_n_f32(vld1q_f32(o + d), a), vld1q_f32(o_split + d), b));
    for (; d < head_dim; d++)
        o[d] = vs_fmaf(o_split[d], b, o[d] * a);
    *m = m_new;
}

void vs_cpu_ops_init_neon(struct vs_cpu_ops *ops)
{
    ops->rms_norm = rms_norm;
    ops->quantize = quantize;
    ops->glu = glu;
    ops->add_scaled = add_scaled;
    ops->rope = rope;
    ops->to_f16 = to_f16;
    ops->from_f16 = from_f16;
    ops->scores = scores;
    ops->scores_f16 = scores_f16;
    ops->scores_q8 = scores_q8;
    ops->soft_max = soft_max;
    ops->mix = mix;
    ops->mix_f16 = mix_f16;
    ops->weigh = weigh;
    ops->mix_q8 = mix_q8;
    ops->merge = merge;
}
