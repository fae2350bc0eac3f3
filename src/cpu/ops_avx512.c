/* cpu/ops_avx512.c - attention and activations on 16 lanes; what is bound by memory stays with ops_avx2.c.
 *
 * Lanes are keys in scores, dimensions in mix, the contract's 16 virtual lanes in sums. Same bits as ops_c.c.
 */
#include "cpu/glu.h"
#include "cpu/ops.h"

#include "cpu/math_avx512.h"

#include <string.h>

#define INLINE static inline __attribute__((always_inline))

enum {
    MAX_QUERIES = 12,                   /* two accumulators for each, and room for two vectors of keys or values */
    /* bytes; keys, and values, of a head lie page after page, so this far ahead are those of the next pages */
    KV_AHEAD = 8192,
};

static void glu(float *y, const float *gate, const float *up, size_t n, enum vs_activation act)
{
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        __m512 g = _mm512_loadu_ps(gate + i), u = _mm512_loadu_ps(up + i);
        if (act == VS_ACT_SWIGLU_OAI) {                  /* of min and max a NaN as the second operand is what comes out */
            g = _mm512_min_ps(_mm512_set1_ps(VS_OAI_LIMIT), g);
            u = _mm512_max_ps(_mm512_set1_ps(-VS_OAI_LIMIT), _mm512_min_ps(_mm512_set1_ps(VS_OAI_LIMIT), u));
            u = _mm512_add_ps(u, _mm512_set1_ps(1.0f));
            g = _mm512_mul_ps(g, vs_sigmoid16(_mm512_mul_ps(_mm512_set1_ps(VS_OAI_SLOPE), g)));
        } else {
            g = vs_activation16(g, act);
        }
        _mm512_storeu_ps(y + i, _mm512_mul_ps(g, u));
    }
    for (; i < n; i++)
        y[i] = vs_glu1(gate[i], up[i], act);
}

static void add_scaled(float *y, const float *x, float s, size_t n)
{
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        _mm512_storeu_ps(y + i, _mm512_fmadd_ps(_mm512_loadu_ps(x + i), _mm512_set1_ps(s), _mm512_loadu_ps(y + i)));
    for (; i < n; i++)
        y[i] = vs_fmaf(x[i], s, y[i]);
}

/* Bytes of 32 integers and minus the sums of neighbours; the sum of each half to *ret_sum0 and 1. */
INLINE void act_fill(struct vs_act *a, __m512i q0, __m512i q1, int *ret_sum0, int *ret_sum1)
{
    __m256i bytes = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm512_cvtepi32_epi8(q0)), _mm512_cvtepi32_epi8(q1), 1);
    /* 16-bit pairs (k mod 4 in {0,1}) and (k mod 4 in {2,3}) lie side by side; each half of the vector sums its own */
    __m256i pair = _mm256_maddubs_epi16(_mm256_set1_epi8(1), bytes);
    pair = _mm256_add_epi16(pair, _mm256_shuffle_epi32(pair, 0x4e));
    pair = _mm256_sub_epi16(_mm256_setzero_si256(), _mm256_add_epi16(pair, _mm256_shuffle_epi32(pair, 0xb1)));
    __m128i n0 = _mm256_castsi256_si128(pair), n1 = _mm256_extracti128_si256(pair, 1);
    uint32_t half0 = (uint32_t)_mm_cvtsi128_si32(n0), half1 = (uint32_t)_mm_cvtsi128_si32(n1);
    uint32_t both = (uint32_t)_mm_cvtsi128_si32(_mm_add_epi16(n0, n1));
    int sum0 = -((int16_t)half0 + (int16_t)(half0 >> 16)), sum1 = -((int16_t)half1 + (int16_t)(half1 >> 16));
    _mm256_storeu_si256((__m256i *)(void *)a->q, bytes);
    memcpy(a->npair16[0], &half0, 4);
    memcpy(a->npair16[1], &half1, 4);
    memcpy(a->npair32, &both, 4);
    a->nsum = -(sum0 + sum1);
    *ret_sum0 = sum0;
    *ret_sum1 = sum1;
}

INLINE void act_scale(struct vs_act *a, float d, int sum0, int sum1)
{
    __m128 sums = _mm_cvtepi32_ps(_mm_setr_epi32(0, sum0 + sum1, sum0, sum1));
    sums = _mm_mul_ps(_mm_set1_ps(d), sums);
    _mm_storeu_ps(&a->d, _mm_move_ss(sums, _mm_set_ss(d)));      /* d, ds, dsh lie side by side */
}

/* The integers of a block, `most` at most; returns d as in plain C. */
INLINE float quantize_block(__m512 x0, __m512 x1, const float most, __m512i *ret_q0, __m512i *ret_q1)
{
    const __m512i mask = _mm512_set1_epi32(0x7fffffff);
    __m512i g = _mm512_max_epu32(_mm512_and_si512(_mm512_castps_si512(x0), mask), _mm512_and_si512(_mm512_castps_si512(x1), mask));
    uint32_t bits = _mm512_reduce_max_epu32(g);
    float amax = vs_f32_of_bits(bits);
    if (__builtin_expect(bits >= 0x7f800000 || amax < 0x1p-100f, 0)) {
        *ret_q0 = *ret_q1 = _mm512_setzero_si512();
        return bits >= 0x7f800000 ? vs_f32_of_bits(0x7fc00000) : 0;
    }
    __m512 id = _mm512_set1_ps(most / amax);
    *ret_q0 = _mm512_cvtps_epi32(_mm512_mul_ps(x0, id));
    *ret_q1 = _mm512_cvtps_epi32(_mm512_mul_ps(x1, id));
    return amax / most;
}

static void quantize(const float *x, size_t n, struct vs_act *dst, size_t stride)
{
    for (size_t at = 0; at < n; at += 32, dst += stride) {
        uint32_t mask = n - at < 32 ? (1u << (n - at)) - 1 : 0xffffffff;
        __m512i q0, q1;
        int sum0, sum1;
        float d = quantize_block(_mm512_maskz_loadu_ps((__mmask16)mask, x + at),
                                 _mm512_maskz_loadu_ps((__mmask16)(mask >> 16), x + at + 16), 127.0f, &q0, &q1);
        act_fill(dst, q0, q1, &sum0, &sum1);
        act_scale(dst, d, sum0, sum1);
    }
}

static void quantize_high(const float *x, size_t n, struct vs_act *dst, size_t stride)
{
    const __m512 step = _mm512_set1_ps(1.0f / VS_HIGH_STEP);
    const __m512i back = _mm512_set1_epi32(VS_HIGH_STEP);
    for (size_t at = 0; at < n; at += 32, dst += stride) {
        uint32_t mask = n - at < 32 ? (1u << (n - at)) - 1 : 0xffffffff;
        __m512i q0, q1;
        int hi0, hi1, lo0, lo1;
        float d = quantize_block(_mm512_maskz_loadu_ps((__mmask16)mask, x + at),
                                 _mm512_maskz_loadu_ps((__mmask16)(mask >> 16), x + at + 16), (float)VS_HIGH_MAX, &q0, &q1);
        __m512i h0 = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_cvtepi32_ps(q0), step));
        __m512i h1 = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_cvtepi32_ps(q1), step));
        act_fill(dst, h0, h1, &hi0, &hi1);
        act_fill(dst + 1, _mm512_sub_epi32(q0, _mm512_mullo_epi32(h0, back)), _mm512_sub_epi32(q1, _mm512_mullo_epi32(h1, back)),
                 &lo0, &lo1);
        act_scale(dst, d, VS_HIGH_STEP * hi0 + lo0, VS_HIGH_STEP * hi1 + lo1);
        act_scale(dst + 1, 0, 0, 0);
    }
}

static void rope(float *x, const float *cosine, const float *sine, size_t n_pairs, enum vs_rope_kind kind)
{
    if (kind == VS_ROPE_NEOX) {
        for (size_t i = 0; i < n_pairs; i += 16) {
            __mmask16 mask = (__mmask16)(n_pairs - i >= 16 ? 0xffff : (1u << (n_pairs - i)) - 1);
            __m512 c = _mm512_maskz_loadu_ps(mask, cosine + i), s = _mm512_maskz_loadu_ps(mask, sine + i);
            __m512 x0 = _mm512_maskz_loadu_ps(mask, x + i), x1 = _mm512_maskz_loadu_ps(mask, x + n_pairs + i);
            _mm512_mask_storeu_ps(x + i, mask, _mm512_fnmadd_ps(x1, s, _mm512_mul_ps(x0, c)));
            _mm512_mask_storeu_ps(x + n_pairs + i, mask, _mm512_fmadd_ps(x1, c, _mm512_mul_ps(x0, s)));
        }
        return;
    }
    const __m512i twice = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    for (size_t i = 0; i < n_pairs; i += 8) {            /* even lanes: x0 c - x1 s; odd lanes: x0 s + x1 c */
        __mmask16 mask = (__mmask16)(n_pairs - i >= 8 ? 0xffff : (1u << 2 * (n_pairs - i)) - 1);
        __mmask8 half = (__mmask8)(n_pairs - i >= 8 ? 0xff : (1u << (n_pairs - i)) - 1);
        __m512 c = _mm512_permutexvar_ps(twice, _mm512_castps256_ps512(_mm256_maskz_loadu_ps(half, cosine + i)));
        __m512 s = _mm512_permutexvar_ps(twice, _mm512_castps256_ps512(_mm256_maskz_loadu_ps(half, sine + i)));
        __m512 v = _mm512_maskz_loadu_ps(mask, x + 2 * i);
        __m512 x0 = _mm512_moveldup_ps(v), x1 = _mm512_movehdup_ps(v);
        __m512 first = _mm512_mul_ps(x0, _mm512_mask_mov_ps(c, 0xaaaa, s));
        __m512 y = _mm512_fmadd_ps(x1, c, first);
        _mm512_mask_storeu_ps(x + 2 * i, mask, _mm512_mask_mov_ps(y, 0x5555, _mm512_fnmadd_ps(x1, s, first)));
    }
}

static void from_f16(float *y, const uint16_t *x, size_t n)
{
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        _mm512_storeu_ps(y + i, _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)(x + i))));
    for (; i < n; i++)
        y[i] = vs_f16_to_f32(x[i]);
}

/* How a kernel reads a page: f32, which lies in the cache where it was widened; f16; or f16 and, line by line, what comes next. */
enum reading { F32, F16, F16_AHEAD };

/* Sixteen floats of a page, which keeps them as f32 or f16. */
INLINE __m512 sixteen(const void *page, size_t at, const enum reading how)
{
    return how != F32 ? _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)((const uint16_t *)page + at)))
                      : _mm512_loadu_ps((const float *)page + at);
}

/* n queries against a page of keys, a group at a time. */
INLINE void scores_tile(float *s, const float *q, size_t ldq, const int n, const void *k, size_t head_dim, const enum reading how)
{
    for (size_t t = 0; t < VS_PAGE_TOKENS; t += VS_KEY_GROUP) {
        size_t at = vs_key_at(head_dim, 0, t);
        __m512 acc[MAX_QUERIES][2];
        for (int i = 0; i < n; i++)
            acc[i][0] = acc[i][1] = _mm512_setzero_ps();
        for (size_t d = 0; d < head_dim; d++, at += VS_KEY_GROUP) {
            if (how == F16_AHEAD)
                __builtin_prefetch((const uint16_t *)k + at + KV_AHEAD / 2);
            __m512 k0 = sixteen(k, at, how), k1 = sixteen(k, at + 16, how);
            for (int i = 0; i < n; i++) {
                __m512 x = _mm512_set1_ps(q[(size_t)i * ldq + d]);
                acc[i][0] = _mm512_fmadd_ps(x, k0, acc[i][0]);
                acc[i][1] = _mm512_fmadd_ps(x, k1, acc[i][1]);
            }
        }
        for (int i = 0; i < n; i++) {
            _mm512_storeu_ps(s + (size_t)i * VS_SCORES + t, acc[i][0]);
            _mm512_storeu_ps(s + (size_t)i * VS_SCORES + t + 16, acc[i][1]);
        }
    }
}

/* Keys [lo, hi) of a page that n queries all see; v + from is a whole group of dimensions. */
INLINE void mix_tile(float *o, size_t ldo, const float *p, const int n, size_t lo, size_t hi, const void *v, size_t from,
                     const enum reading how)
{
    __m512 acc[MAX_QUERIES][2];
    for (int i = 0; i < n; i++) {
        acc[i][0] = _mm512_loadu_ps(o + (size_t)i * ldo);
        acc[i][1] = _mm512_loadu_ps(o + (size_t)i * ldo + 16);
    }
    for (size_t t = lo; t < hi; t++) {
        if (how == F16_AHEAD)
            __builtin_prefetch((const uint16_t *)v + from + t * VS_VALUE_GROUP + KV_AHEAD / 2);
        __m512 v0 = sixteen(v, from + t * VS_VALUE_GROUP, how), v1 = sixteen(v, from + t * VS_VALUE_GROUP + 16, how);
        for (int i = 0; i < n; i++) {
            __m512 x = _mm512_set1_ps(p[(size_t)i * VS_SCORES + t]);
            acc[i][0] = _mm512_fmadd_ps(x, v0, acc[i][0]);
            acc[i][1] = _mm512_fmadd_ps(x, v1, acc[i][1]);
        }
    }
    for (int i = 0; i < n; i++) {
        _mm512_storeu_ps(o + (size_t)i * ldo, acc[i][0]);
        _mm512_storeu_ps(o + (size_t)i * ldo + 16, acc[i][1]);
    }
}

/* One call for each number of queries, so that the accumulators are registers. */
#define EACH_COUNT(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12)

INLINE void scores_any(float *s, const float *q, size_t ldq, size_t n_q, const void *k, size_t head_dim, const enum reading how)
{
    for (size_t i = 0; i < n_q; i += MAX_QUERIES) {
        float *to = s + i * VS_SCORES;
        const float *from = q + i * ldq;
        switch (n_q - i < MAX_QUERIES ? n_q - i : MAX_QUERIES) {
#define CASE(n) case n: scores_tile(to, from, ldq, n, k, head_dim, how); break;
        EACH_COUNT(CASE)
#undef CASE
        default: break;
        }
    }
}

static void scores(float *s, const float *q, size_t ldq, size_t n_q, const float *k, size_t head_dim)
{
    scores_any(s, q, ldq, n_q, k, head_dim, F32);
}

static void scores_f16(float *s, const float *q, size_t ldq, size_t n_q, const uint16_t *k, size_t head_dim)
{
    scores_any(s, q, ldq, n_q, k, head_dim, F16);
}

static void scores_f16_ahead(float *s, const float *q, size_t ldq, size_t n_q, const uint16_t *k, size_t head_dim)
{
    scores_any(s, q, ldq, n_q, k, head_dim, F16_AHEAD);
}

/* Integer dots of n rows of activations, x[i * step], with 16 lanes of k-steps at `at`; the rows' integers are broadcast by
 * fours. */
INLINE void dots_i8(__m512i sum[MAX_QUERIES], const int n, const struct vs_act *x, size_t step, const void *at, const int steps,
                    const bool rows_unsigned, const bool ahead)
{
#pragma GCC unroll 8
    for (int g = 0; g < steps; g++) {
        __m512i lanes = _mm512_loadu_si512((const uint8_t *)at + 64 * g);
        if (ahead)
            __builtin_prefetch((const uint8_t *)at + 64 * g + KV_AHEAD);
        for (int i = 0; i < n; i++) {
            int32_t four;
            memcpy(&four, x[(size_t)i * step].q + 4 * g, 4);
            __m512i row = _mm512_set1_epi32(four);
            sum[i] = rows_unsigned ? _mm512_dpbusd_epi32(sum[i], row, lanes) : _mm512_dpbusd_epi32(sum[i], lanes, row);
        }
    }
}

/* n queries against 8-bit keys, 16 at a time; the keys' offset of 128 is in the start of the sum. */
INLINE void scores_q8_tile(float *s, const struct vs_act *q, const int n, const uint8_t *k, const float *dk, size_t head_dim,
                           const bool ahead)
{
    const size_t n_blocks = (head_dim + 31) / 32;
    for (size_t t = 0; t < VS_PAGE_TOKENS; t += 16) {
        __m512 acc[MAX_QUERIES];
        for (int i = 0; i < n; i++)
            acc[i] = _mm512_setzero_ps();
        for (size_t b = 0; b < n_blocks; b++) {
            __m512i sum[MAX_QUERIES];
            for (int i = 0; i < n; i++)
                sum[i] = _mm512_slli_epi32(_mm512_set1_epi32(q[(size_t)i * n_blocks + b].nsum), 7);
            const uint8_t *at = k + vs_key8_at(head_dim, 32 * b, t);
            if (head_dim - 32 * b >= 32)
                dots_i8(sum, n, q + b, n_blocks, at, 8, false, ahead);
            else
                dots_i8(sum, n, q + b, n_blocks, at, (int)(head_dim - 32 * b + 3) / 4, false, ahead);
            __m512 d = _mm512_loadu_ps(dk + b * VS_PAGE_TOKENS + t);
            for (int i = 0; i < n; i++)
                acc[i] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum[i]),
                                         _mm512_mul_ps(d, _mm512_set1_ps(q[(size_t)i * n_blocks + b].d)),
                                         acc[i]);
        }
        for (int i = 0; i < n; i++)
            _mm512_storeu_ps(s + (size_t)i * VS_SCORES + t, acc[i]);
    }
}

INLINE void scores_q8_any(float *s, const struct vs_act *q, size_t n_q, const uint8_t *k, const float *dk, size_t head_dim,
                          const bool ahead)
{
    for (size_t i = 0; i < n_q; i += MAX_QUERIES) {
        float *to = s + i * VS_SCORES;
        const struct vs_act *from = q + i * ((head_dim + 31) / 32);
        switch (n_q - i < MAX_QUERIES ? n_q - i : MAX_QUERIES) {
#define CASE(n) case n: scores_q8_tile(to, from, n, k, dk, head_dim, ahead); break;
        EACH_COUNT(CASE)
#undef CASE
        default: break;
        }
    }
}

static void scores_q8(float *s, const struct vs_act *q, size_t n_q, const uint8_t *k, const float *dk, size_t head_dim)
{
    scores_q8_any(s, q, n_q, k, dk, head_dim, false);
}

static void scores_q8_ahead(float *s, const struct vs_act *q, size_t n_q, const uint8_t *k, const float *dk, size_t head_dim)
{
    scores_q8_any(s, q, n_q, k, dk, head_dim, true);
}

/* Keys [lo, hi) of the page for one query; v + from is a group of `width` dimensions. */
INLINE void mix_one(float *o, const float *p, size_t lo, size_t hi, const void *v, size_t from, size_t width,
                    const enum reading how)
{
    if (lo >= hi)
        return;
    for (size_t d = 0; d < width; d += 16) {
        __mmask16 mask = (__mmask16)(width - d >= 16 ? 0xffff : (1u << (width - d)) - 1);
        __m512 acc = _mm512_maskz_loadu_ps(mask, o + d);
        for (size_t t = lo; t < hi; t++) {
            size_t at = from + t * width + d;
            __m512 x = how != F32 ? _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, (const uint16_t *)v + at))
                                  : _mm512_maskz_loadu_ps(mask, (const float *)v + at);
            acc = _mm512_fmadd_ps(_mm512_set1_ps(p[t]), x, acc);
        }
        _mm512_mask_storeu_ps(o + d, mask, acc);
    }
}

INLINE void mix_any(float *o, size_t ldo, const float *p, size_t n_q, const struct vs_span *span, size_t base,
                    const void *v, size_t head_dim, const enum reading how)
{
    p += base;
    for (size_t i = 0; i < n_q; i += MAX_QUERIES) {
        size_t n = n_q - i < MAX_QUERIES ? n_q - i : MAX_QUERIES, from = 0, to = VS_PAGE_TOKENS;
        for (size_t j = i; j < i + n; j++) {             /* what all of them see */
            size_t lo = vs_in_page(span[j].lo, base), hi = vs_in_page(span[j].hi, base);
            from = lo > from ? lo : from;
            to = hi < to ? hi : to;
        }
        for (size_t d = 0; d < head_dim; d += VS_VALUE_GROUP) {
            size_t at = vs_value_at(head_dim, 0, d), width = vs_value_width(head_dim, d);
            bool together = from < to && width == VS_VALUE_GROUP;
            for (size_t j = i; j < i + n; j++)
                mix_one(o + j * ldo + d, p + j * VS_SCORES, vs_in_page(span[j].lo, base),
                        together ? from : vs_in_page(span[j].hi, base), v, at, width, how);
            if (!together)
                continue;
            switch (n) {
#define CASE(n) case n: mix_tile(o + i * ldo + d, ldo, p + i * VS_SCORES, n, from, to, v, at, how); break;
            EACH_COUNT(CASE)
#undef CASE
            default: break;
            }
            for (size_t j = i; j < i + n; j++)
                mix_one(o + j * ldo + d, p + j * VS_SCORES, to, vs_in_page(span[j].hi, base), v, at, width, how);
        }
    }
}

static void mix(float *o, size_t ldo, const float *p, size_t n_q, const struct vs_span *span,
                size_t base, const float *v, size_t head_dim)
{
    mix_any(o, ldo, p, n_q, span, base, v, head_dim, F32);
}

static void mix_f16(float *o, size_t ldo, const float *p, size_t n_q, const struct vs_span *span,
                    size_t base, const uint16_t *v, size_t head_dim)
{
    mix_any(o, ldo, p, n_q, span, base, v, head_dim, F16);
}

static void mix_f16_ahead(float *o, size_t ldo, const float *p, size_t n_q, const struct vs_span *span,
                          size_t base, const uint16_t *v, size_t head_dim)
{
    mix_any(o, ldo, p, n_q, span, base, v, head_dim, F16_AHEAD);
}

static void weigh(const float *p, const float *dv, size_t lo, size_t hi, struct vs_act *dst)
{
    uint64_t in = lo < hi ? ~(uint64_t)0 >> (VS_PAGE_TOKENS - (hi - lo)) << lo : 0;
    for (size_t t = 0; t < VS_PAGE_TOKENS; t += 32, in >>= 32, dst++) {
        __mmask16 in0 = (__mmask16)in, in1 = (__mmask16)(in >> 16);
        __m512i q0, q1;
        dst->d = quantize_block(_mm512_maskz_mul_ps(in0, _mm512_loadu_ps(p + t), _mm512_maskz_loadu_ps(in0, dv + t)),
                                _mm512_maskz_mul_ps(in1, _mm512_loadu_ps(p + t + 16), _mm512_maskz_loadu_ps(in1, dv + t + 16)),
                                127.0f, &q0, &q1);
        _mm_store_si128((__m128i *)(void *)dst->q, _mm512_cvtepi32_epi8(q0));
        _mm_store_si128((__m128i *)(void *)(dst->q + 16), _mm512_cvtepi32_epi8(q1));
    }
}

/* n queries, 16 dimensions at a time; what lies beyond head_dim is not stored. */
INLINE void mix_q8_tile(float *o, size_t ldo, const struct vs_act *p, const int n, const int8_t *v, size_t head_dim,
                        const bool ahead)
{
    for (size_t d = 0; d < head_dim; d += VS_LANES8) {
        __mmask16 mask = (__mmask16)(head_dim - d >= 16 ? 0xffff : (1u << (head_dim - d)) - 1);
        __m512 acc[MAX_QUERIES];
        for (int i = 0; i < n; i++)
            acc[i] = _mm512_maskz_loadu_ps(mask, o + (size_t)i * ldo + d);
        for (size_t b = 0; b < VS_PAGE_BLOCKS; b++) {
            __m512i sum[MAX_QUERIES];
            for (int i = 0; i < n; i++)
                sum[i] = _mm512_setzero_si512();
            dots_i8(sum, n, p + b, VS_PAGE_BLOCKS, v + vs_value8_at(32 * b, d), 8, true, ahead);
            for (int i = 0; i < n; i++)
                acc[i] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum[i]), _mm512_set1_ps(p[VS_PAGE_BLOCKS * (size_t)i + b].d), acc[i]);
        }
        for (int i = 0; i < n; i++)
            _mm512_mask_storeu_ps(o + (size_t)i * ldo + d, mask, acc[i]);
    }
}

INLINE void mix_q8_any(float *o, size_t ldo, const struct vs_act *p, size_t n_q, const int8_t *v, size_t head_dim, const bool ahead)
{
    for (size_t i = 0; i < n_q; i += MAX_QUERIES)
        switch (n_q - i < MAX_QUERIES ? n_q - i : MAX_QUERIES) {
#define CASE(n) case n: mix_q8_tile(o + i * ldo, ldo, p + VS_PAGE_BLOCKS * i, n, v, head_dim, ahead); break;
        EACH_COUNT(CASE)
#undef CASE
        default: break;
        }
}

static void mix_q8(float *o, size_t ldo, const struct vs_act *p, size_t n_q, const int8_t *v, size_t head_dim)
{
    mix_q8_any(o, ldo, p, n_q, v, head_dim, false);
}

static void mix_q8_ahead(float *o, size_t ldo, const struct vs_act *p, size_t n_q, const int8_t *v, size_t head_dim)
{
    mix_q8_any(o, ldo, p, n_q, v, head_dim, true);
}

/* Lanes j .. j + 15 of the split that lie in the span. */
static __mmask16 within(struct vs_span span, uint32_t j)
{
    uint32_t lo = span.lo > j ? span.lo - j : 0, hi = span.hi > j ? span.hi - j : 0;
    uint32_t below_lo = lo < 16 ? (1u << lo) - 1 : 0xffff, below_hi = hi < 16 ? (1u << hi) - 1 : 0xffff;
    return (__mmask16)(below_hi & ~below_lo);
}

/* whole: the span is the split, so that nothing is masked. */
INLINE void soft_max_any(float *s, struct vs_span span, float s_scale, float cap, float *ret_max, float *ret_sum, const bool whole)
{
    if (cap != 0)                        /* scale and cap here, so that the vector part has one form */
        for (uint32_t j = span.lo; j < span.hi; j++)
            s[j] = cap * vs_tanhf(s[j] * s_scale / cap);
    const __m512 low = _mm512_set1_ps(-__builtin_inff()), factor = _mm512_set1_ps(s_scale);
    __m512 max = low;
    for (uint32_t j = span.lo / 16 * 16; j < span.hi; j += 16) {
        __m512 v = _mm512_loadu_ps(s + j);
        if (cap == 0)
            v = _mm512_mul_ps(v, factor);
        _mm512_storeu_ps(s + j, v);
        /* a NaN in v leaves max as it is */
        max = _mm512_max_ps(whole ? v : _mm512_mask_mov_ps(low, within(span, j), v), max);
    }
    float m = _mm512_reduce_max_ps(max);                 /* no lane is NaN */
    __m512 sum = _mm512_setzero_ps(), top = _mm512_set1_ps(m);
    for (uint32_t j = 0; j < VS_SPLIT; j += 16) {
        __mmask16 in = whole ? 0xffff : within(span, j);
        __m512 e = _mm512_setzero_ps();
        if (in)
            e = _mm512_maskz_mov_ps(in, vs_exp16_below(_mm512_sub_ps(_mm512_loadu_ps(s + j), top)));
        _mm512_storeu_ps(s + j, e);
        sum = _mm512_add_ps(sum, e);
    }
    *ret_max = m;
    *ret_sum = vs_tree16_avx512(sum);
}

static void soft_max(float *s, struct vs_span span, float s_scale, float cap, float *ret_max, float *ret_sum)
{
    if (span.lo == 0 && span.hi == VS_SPLIT)
        soft_max_any(s, span, s_scale, cap, ret_max, ret_sum, true);
    else
        soft_max_any(s, span, s_scale, cap, ret_max, ret_sum, false);
}

void vs_cpu_ops_init_avx512(struct vs_cpu_ops *ops)
{
    ops->quantize = quantize;
    ops->quantize_high = quantize_high;
    ops->glu = glu;
    ops->add_scaled = add_scaled;
    ops->rope = rope;
    ops->from_f16 = from_f16;
    ops->scores = scores;
    ops->scores_f16 = ops->prefetch.lines ? scores_f16_ahead : scores_f16;
    ops->scores_q8 = ops->prefetch.lines ? scores_q8_ahead : scores_q8;
    ops->soft_max = soft_max;
    ops->mix = mix;
    ops->mix_f16 = ops->prefetch.lines ? mix_f16_ahead : mix_f16;
    ops->weigh = weigh;
    ops->mix_q8 = ops->prefetch.lines ? mix_q8_ahead : mix_q8;
}
