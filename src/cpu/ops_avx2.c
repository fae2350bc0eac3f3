/* cpu/ops_avx2.c - everything but matrices on 8 lanes. Same bits as ops_c.c; tails are done in plain C with the same operations. */
#include "cpu/glu.h"
#include "cpu/ops.h"

#include "cpu/math_avx2.h"
#include "cpu/mix_q8.h"

#include <string.h>

static void rms_norm(float *y, const float *x, const float *w, size_t n, float eps)
{
    __m256 lo = _mm256_setzero_ps(), hi = _mm256_setzero_ps();
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        __m256 a = _mm256_loadu_ps(x + i), b = _mm256_loadu_ps(x + i + 8);
        lo = _mm256_fmadd_ps(a, a, lo);
        hi = _mm256_fmadd_ps(b, b, hi);
    }
    if (i < n) {                         /* lanes past the end add the square of zero to what they have: nothing */
        float tail[16] = { 0 };
        memcpy(tail, x + i, (n - i) * sizeof *x);
        __m256 a = _mm256_loadu_ps(tail), b = _mm256_loadu_ps(tail + 8);
        lo = _mm256_fmadd_ps(a, a, lo);
        hi = _mm256_fmadd_ps(b, b, hi);
    }
    float r = 1.0f / vs_sqrtf(vs_tree16(lo, hi) / (float)n + eps);
    __m256 r8 = _mm256_set1_ps(r);
    for (i = 0; i + 8 <= n; i += 8) {
        __m256 v = _mm256_mul_ps(_mm256_loadu_ps(x + i), r8);
        _mm256_storeu_ps(y + i, w ? _mm256_mul_ps(v, _mm256_loadu_ps(w + i)) : v);
    }
    for (; i < n; i++)
        y[i] = w ? x[i] * r * w[i] : x[i] * r;
}

/* Bytes of 32 integers and minus the sums of neighbours; *ret_sum[2] gets the sums of the halves. */
static inline void act_fill(struct vs_act *a, const __m256i q[4], int ret_sum[2])
{
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    __m256i p01 = _mm256_packs_epi32(q[0], q[1]), p23 = _mm256_packs_epi32(q[2], q[3]);
    __m256i bytes = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(p01, p23), order);
    _mm256_storeu_si256((__m256i *)(void *)a->q, bytes);
    /* 16-bit pairs (k mod 4 in {0,1}) and (k mod 4 in {2,3}) lie side by side */
    __m256i pair = _mm256_maddubs_epi16(_mm256_set1_epi8(1), bytes);
    __m128i h0 = _mm256_castsi256_si128(pair), h1 = _mm256_extracti128_si256(pair, 1);
    h0 = _mm_add_epi16(h0, _mm_shuffle_epi32(h0, 0x4e));
    h1 = _mm_add_epi16(h1, _mm_shuffle_epi32(h1, 0x4e));
    h0 = _mm_sub_epi16(_mm_setzero_si128(), _mm_add_epi16(h0, _mm_shuffle_epi32(h0, 0xb1)));
    h1 = _mm_sub_epi16(_mm_setzero_si128(), _mm_add_epi16(h1, _mm_shuffle_epi32(h1, 0xb1)));
    int n0 = _mm_cvtsi128_si32(h0), n1 = _mm_cvtsi128_si32(h1), n = _mm_cvtsi128_si32(_mm_add_epi16(h0, h1));
    memcpy(a->npair16[0], &n0, 4);
    memcpy(a->npair16[1], &n1, 4);
    memcpy(a->npair32, &n, 4);
    ret_sum[0] = -((int16_t)n0 + (int16_t)((uint32_t)n0 >> 16));
    ret_sum[1] = -((int16_t)n1 + (int16_t)((uint32_t)n1 >> 16));
    a->nsum = -(ret_sum[0] + ret_sum[1]);
}

static inline void act_scale(struct vs_act *a, float d, int sum0, int sum1)
{
    a->d = d;
    a->ds = d * (float)(sum0 + sum1);
    a->dsh[0] = d * (float)sum0;
    a->dsh[1] = d * (float)sum1;
}

/* The integers of a block, `most` at most; *ret_d as in plain C. */
static inline void quantize_block(const float *v, float most, __m256i q[4], float *ret_d)
{
    const __m256i mask = _mm256_set1_epi32(0x7fffffff);
    __m256 x[4];
    __m256i greatest = _mm256_setzero_si256();
    for (int i = 0; i < 4; i++) {
        x[i] = _mm256_loadu_ps(v + 8 * i);
        greatest = _mm256_max_epi32(greatest, _mm256_and_si256(_mm256_castps_si256(x[i]), mask));
    }
    __m128i g = _mm_max_epi32(_mm256_castsi256_si128(greatest), _mm256_extracti128_si256(greatest, 1));
    g = _mm_max_epi32(g, _mm_shuffle_epi32(g, 0x4e));
    g = _mm_max_epi32(g, _mm_shuffle_epi32(g, 0xb1));
    uint32_t bits = (uint32_t)_mm_cvtsi128_si32(g);
    float amax = vs_f32_of_bits(bits);
    if (bits >= 0x7f800000 || amax < 0x1p-100f) {
        for (int i = 0; i < 4; i++)
            q[i] = _mm256_setzero_si256();
        *ret_d = bits >= 0x7f800000 ? vs_f32_of_bits(0x7fc00000) : 0;
        return;
    }
    __m256 id = _mm256_set1_ps(most / amax);
    for (int i = 0; i < 4; i++)
        q[i] = _mm256_cvtps_epi32(_mm256_mul_ps(x[i], id));
    *ret_d = amax / most;
}

static inline void quantize_to(const float *v, struct vs_act *a)
{
    __m256i q[4];
    float d;
    int sum[2];
    quantize_block(v, 127.0f, q, &d);
    act_fill(a, q, sum);
    act_scale(a, d, sum[0], sum[1]);
}

static inline void quantize_high_to(const float *v, struct vs_act *a)
{
    __m256i q[4], hi[4];
    float d;
    int sum_hi[2], sum_lo[2];
    quantize_block(v, (float)VS_HIGH_MAX, q, &d);
    for (int i = 0; i < 4; i++) {
        hi[i] = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_cvtepi32_ps(q[i]), _mm256_set1_ps(1.0f / VS_HIGH_STEP)));
        q[i] = _mm256_sub_epi32(q[i], _mm256_mullo_epi32(hi[i], _mm256_set1_epi32(VS_HIGH_STEP)));
    }
    act_fill(a, hi, sum_hi);
    act_fill(a + 1, q, sum_lo);
    act_scale(a, d, VS_HIGH_STEP * sum_hi[0] + sum_lo[0], VS_HIGH_STEP * sum_hi[1] + sum_lo[1]);
    act_scale(a + 1, 0, 0, 0);
}

static inline __attribute__((always_inline)) void quantize_row(const float *x, size_t n, struct vs_act *dst, size_t stride,
                                                               void (*block)(const float *v, struct vs_act *a))
{
    for (; n >= 32; n -= 32, x += 32, dst += stride)
        block(x, dst);
    if (n) {
        float tail[32] = { 0 };
        memcpy(tail, x, n * sizeof *x);
        block(tail, dst);
    }
}

static void quantize(const float *x, size_t n, struct vs_act *dst, size_t stride)
{
    quantize_row(x, n, dst, stride, quantize_to);
}

static void quantize_high(const float *x, size_t n, struct vs_act *dst, size_t stride)
{
    quantize_row(x, n, dst, stride, quantize_high_to);
}

static void glu(float *y, const float *gate, const float *up, size_t n, enum vs_activation act)
{
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 g = _mm256_loadu_ps(gate + i), u = _mm256_loadu_ps(up + i);
        if (act == VS_ACT_SWIGLU_OAI) {                  /* of min and max a NaN as the second operand is what comes out */
            g = _mm256_min_ps(_mm256_set1_ps(VS_OAI_LIMIT), g);
            u = _mm256_max_ps(_mm256_set1_ps(-VS_OAI_LIMIT), _mm256_min_ps(_mm256_set1_ps(VS_OAI_LIMIT), u));
            u = _mm256_add_ps(u, _mm256_set1_ps(1.0f));
            g = _mm256_mul_ps(g, vs_sigmoid8(_mm256_mul_ps(_mm256_set1_ps(VS_OAI_SLOPE), g)));
        } else {
            g = vs_activation8(g, act);
        }
        _mm256_storeu_ps(y + i, _mm256_mul_ps(g, u));
    }
    for (; i < n; i++)
        y[i] = vs_glu1(gate[i], up[i], act);
}

static void add(float *y, const float *a, const float *b, size_t n)
{
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(y + i, _mm256_add_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i)));
    for (; i < n; i++)
        y[i] = a[i] + b[i];
}

static void scale(float *y, const float *x, float s, size_t n)
{
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(y + i, _mm256_mul_ps(_mm256_loadu_ps(x + i), _mm256_set1_ps(s)));
    for (; i < n; i++)
        y[i] = x[i] * s;
}

static void add_scaled(float *y, const float *x, float s, size_t n)
{
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(y + i, _mm256_fmadd_ps(_mm256_loadu_ps(x + i), _mm256_set1_ps(s), _mm256_loadu_ps(y + i)));
    for (; i < n; i++)
        y[i] = vs_fmaf(x[i], s, y[i]);
}

static void rope(float *x, const float *cosine, const float *sine, size_t n_pairs, enum vs_rope_kind kind)
{
    size_t i = 0;
    if (kind == VS_ROPE_NEOX)
        for (; i + 8 <= n_pairs; i += 8) {
            __m256 c = _mm256_loadu_ps(cosine + i), s = _mm256_loadu_ps(sine + i);
            __m256 x0 = _mm256_loadu_ps(x + i), x1 = _mm256_loadu_ps(x + n_pairs + i);
            _mm256_storeu_ps(x + i, _mm256_fnmadd_ps(x1, s, _mm256_mul_ps(x0, c)));
            _mm256_storeu_ps(x + n_pairs + i, _mm256_fmadd_ps(x1, c, _mm256_mul_ps(x0, s)));
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
    for (; i + 8 <= n; i += 8)
        _mm_storeu_si128((__m128i *)(void *)(y + i), _mm256_cvtps_ph(_mm256_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT));
    for (; i < n; i++)
        y[i] = vs_f32_to_f16(x[i]);
}

static void from_f16(float *y, const uint16_t *x, size_t n)
{
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(y + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(x + i))));
    for (; i < n; i++)
        y[i] = vs_f16_to_f32(x[i]);
}

static inline __attribute__((always_inline)) __m256 eight(const void *page, size_t at, const bool half)
{
    return half ? _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)((const uint16_t *)page + at)))
                : _mm256_loadu_ps((const float *)page + at);
}

enum { QUERIES = 6 };                    /* at once, at most */

/* How many of those that are left go together next: four keep two fma a cycle busy, and six are better than four and two. */
static inline size_t together(size_t left)
{
    return left <= QUERIES ? left : 4;
}

/* n queries against 16 keys at a time. */
static inline __attribute__((always_inline)) void scores_tile(float *s, const float *q, size_t ldq, const int n,
                                                              const void *k, size_t head_dim, const bool half)
{
    for (size_t t = 0; t < VS_PAGE_TOKENS; t += 16) {
        size_t at = vs_key_at(head_dim, 0, t);
        __m256 acc[QUERIES][2];
        for (int i = 0; i < n; i++)
            acc[i][0] = acc[i][1] = _mm256_setzero_ps();
        for (size_t d = 0; d < head_dim; d++, at += VS_KEY_GROUP) {
            __m256 k0 = eight(k, at, half), k1 = eight(k, at + 8, half);
            for (int i = 0; i < n; i++) {
                __m256 x = _mm256_broadcast_ss(q + (size_t)i * ldq + d);
                acc[i][0] = _mm256_fmadd_ps(x, k0, acc[i][0]);
                acc[i][1] = _mm256_fmadd_ps(x, k1, acc[i][1]);
            }
        }
        for (int i = 0; i < n; i++) {
            _mm256_storeu_ps(s + (size_t)i * VS_SCORES + t, acc[i][0]);
            _mm256_storeu_ps(s + (size_t)i * VS_SCORES + t + 8, acc[i][1]);
        }
    }
}

static inline __attribute__((always_inline)) void scores_any(float *s, const float *q, size_t ldq, size_t n_q,
                                                             const void *k, size_t head_dim, const bool half)
{
    for (size_t i = 0, n; i < n_q; i += n) {
        n = together(n_q - i);
#define TILE(n) case n: scores_tile(s + i * VS_SCORES, q + i * ldq, ldq, n, k, head_dim, half); break;
        switch (n) { TILE(1) TILE(2) TILE(3) TILE(4) TILE(5) default: TILE(QUERIES) }
#undef TILE
    }
}

static void scores(float *s, const float *q, size_t ldq, size_t n_q, const float *k, size_t head_dim)
{
    scores_any(s, q, ldq, n_q, k, head_dim, false);
}

static void scores_f16(float *s, const float *q, size_t ldq, size_t n_q, const uint16_t *k, size_t head_dim)
{
    scores_any(s, q, ldq, n_q, k, head_dim, true);
}

/* |q| is the unsigned factor and the key takes its sign: sums of two products stay below 2^15. */
static void scores_q8(float *s, const struct vs_act *q, size_t n_q, const uint8_t *k, const float *dk, size_t head_dim)
{
    const size_t n_blocks = (head_dim + 31) / 32;
    const __m256i ones = _mm256_set1_epi16(1), offset = _mm256_set1_epi8((char)0x80);
    for (size_t i = 0; i < n_q; i++)
        for (size_t t = 0; t < VS_PAGE_TOKENS; t += 8) {
            __m256 acc = _mm256_setzero_ps();
            for (size_t b = 0; b < n_blocks; b++) {
                const struct vs_act *a = &q[i * n_blocks + b];
                __m256i sum = _mm256_setzero_si256();
                for (size_t g = 8 * b; g < 8 * b + 8 && 4 * g < head_dim; g++) {
                    int32_t four;
                    memcpy(&four, a->q + 4 * (g % 8), 4);
                    __m256i x = _mm256_set1_epi32(four);
                    const void *at = k + vs_key8_at(head_dim, 4 * g, t);
                    __m256i key = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)at), offset);
                    __m256i two = _mm256_maddubs_epi16(_mm256_abs_epi8(x), _mm256_sign_epi8(key, x));
                    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(two, ones));
                }
                __m256 d = _mm256_mul_ps(_mm256_loadu_ps(dk + b * VS_PAGE_TOKENS + t), _mm256_set1_ps(a->d));
                acc = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), d, acc);
            }
            _mm256_storeu_ps(s + i * VS_SCORES + t, acc);
        }
}

static void soft_max(float *s, struct vs_span span, float s_scale, float cap, float *ret_max, float *ret_sum)
{
    if (cap != 0)                        /* scale and cap here, so that the vector part has one form */
        for (uint32_t j = span.lo; j < span.hi; j++)
            s[j] = cap * vs_tanhf(s[j] * s_scale / cap);
    const __m256 low = _mm256_set1_ps(-__builtin_inff()), factor = _mm256_set1_ps(s_scale);
    const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const __m256i lo = _mm256_set1_epi32((int)span.lo - 1), hi = _mm256_set1_epi32((int)span.hi);
    __m256 max = low;
    for (int j = (int)span.lo / 8 * 8; j < (int)span.hi; j += 8) {
        __m256i at = _mm256_add_epi32(lanes, _mm256_set1_epi32(j));
        __m256 in = _mm256_castsi256_ps(_mm256_and_si256(_mm256_cmpgt_epi32(at, lo), _mm256_cmpgt_epi32(hi, at)));
        __m256 v = _mm256_loadu_ps(s + j);
        if (cap == 0)
            v = _mm256_mul_ps(v, factor);
        _mm256_storeu_ps(s + j, v);
        max = _mm256_max_ps(_mm256_blendv_ps(low, v, in), max);      /* a NaN in v leaves max as it is, as in plain C */
    }
    float lane[8], m = -__builtin_inff();
    _mm256_storeu_ps(lane, max);
    for (int i = 0; i < 8; i++)
        m = lane[i] > m ? lane[i] : m;
    __m256 sum[2] = { _mm256_setzero_ps(), _mm256_setzero_ps() }, top = _mm256_set1_ps(m);
    for (int j = 0; j < VS_SPLIT; j += 8) {
        __m256i at = _mm256_add_epi32(lanes, _mm256_set1_epi32(j));
        __m256 in = _mm256_castsi256_ps(_mm256_and_si256(_mm256_cmpgt_epi32(at, lo), _mm256_cmpgt_epi32(hi, at)));
        __m256 p = _mm256_setzero_ps();
        if (j + 8 > (int)span.lo && j < (int)span.hi)
            p = _mm256_and_ps(vs_exp8(_mm256_sub_ps(_mm256_loadu_ps(s + j), top)), in);
        _mm256_storeu_ps(s + j, p);
        sum[j / 8 % 2] = _mm256_add_ps(sum[j / 8 % 2], p);
    }
    *ret_max = m;
    *ret_sum = vs_tree16(sum[0], sum[1]);
}

/* Keys [lo, hi) of the page for one query; v is a group of `width` dimensions. */
static inline __attribute__((always_inline)) void mix_one(float *o, const float *p, size_t lo, size_t hi, const void *v,
                                                          size_t from, size_t width, const bool half)
{
    if (lo >= hi)
        return;
    size_t d = 0;
    for (; d + 8 <= width; d += 8) {
        __m256 a = _mm256_loadu_ps(o + d);
        for (size_t t = lo; t < hi; t++)
            a = _mm256_fmadd_ps(_mm256_broadcast_ss(p + t), eight(v, from + t * width + d, half), a);
        _mm256_storeu_ps(o + d, a);
    }
    for (; d < width; d++)
        for (size_t t = lo; t < hi; t++) {
            size_t at = from + t * width + d;
            o[d] = vs_fmaf(p[t], half ? vs_f16_to_f32(((const uint16_t *)v)[at]) : ((const float *)v)[at], o[d]);
        }
}

/* Keys [lo, hi) that n queries all see; a whole group of dimensions. */
static inline __attribute__((always_inline)) void mix_tile(float *o, size_t ldo, const float *p, const int n, size_t lo, size_t hi,
                                                           const void *v, size_t from, const bool half)
{
    for (size_t d = 0; d < VS_VALUE_GROUP; d += 16) {
        __m256 acc[QUERIES][2];
        for (int i = 0; i < n; i++) {
            acc[i][0] = _mm256_loadu_ps(o + (size_t)i * ldo + d);
            acc[i][1] = _mm256_loadu_ps(o + (size_t)i * ldo + d + 8);
        }
        for (size_t t = lo; t < hi; t++) {
            __m256 v0 = eight(v, from + t * VS_VALUE_GROUP + d, half), v1 = eight(v, from + t * VS_VALUE_GROUP + d + 8, half);
            for (int i = 0; i < n; i++) {
                __m256 x = _mm256_broadcast_ss(p + (size_t)i * VS_SCORES + t);
                acc[i][0] = _mm256_fmadd_ps(x, v0, acc[i][0]);
                acc[i][1] = _mm256_fmadd_ps(x, v1, acc[i][1]);
            }
        }
        for (int i = 0; i < n; i++) {
            _mm256_storeu_ps(o + (size_t)i * ldo + d, acc[i][0]);
            _mm256_storeu_ps(o + (size_t)i * ldo + d + 8, acc[i][1]);
        }
    }
}

/* A function of its own: in mix_any four queries run at 0.8 to 0.95 of it. */
static __attribute__((noinline)) void mix_tiles(float *o, size_t ldo, const float *p, size_t n, size_t lo, size_t hi,
                                                const void *v, size_t from, bool half)
{
#define TILE(n)                                                                                 \
    case n:                                                                                     \
        if (half)                                                                               \
            mix_tile(o, ldo, p, n, lo, hi, v, from, true);                                      \
        else                                                                                    \
            mix_tile(o, ldo, p, n, lo, hi, v, from, false);                                     \
        break;
    switch (n) { TILE(2) TILE(3) TILE(4) TILE(5) default: TILE(QUERIES) }
#undef TILE
}

static inline __attribute__((always_inline)) void mix_any(float *o, size_t ldo, const float *p, size_t n_q,
                                                          const struct vs_span *span, size_t base, const void *v, size_t head_dim,
                                                          const bool half)
{
    p += base;
    for (size_t i = 0, n; i < n_q; i += n) {
        size_t from = 0, to = VS_PAGE_TOKENS;            /* what all of them see */
        n = together(n_q - i);
        for (size_t j = i; j < i + n; j++) {
            size_t lo = vs_in_page(span[j].lo, base), hi = vs_in_page(span[j].hi, base);
            from = lo > from ? lo : from;
            to = hi < to ? hi : to;
        }
        for (size_t d = 0; d < head_dim; d += VS_VALUE_GROUP) {
            size_t at = vs_value_at(head_dim, 0, d), width = vs_value_width(head_dim, d);
            bool tiled = n > 1 && from < to && width == VS_VALUE_GROUP;
            for (size_t j = i; j < i + n; j++)
                mix_one(o + j * ldo + d, p + j * VS_SCORES, vs_in_page(span[j].lo, base),
                        tiled ? from : vs_in_page(span[j].hi, base), v, at, width, half);
            if (!tiled)
                continue;
            mix_tiles(o + i * ldo + d, ldo, p + i * VS_SCORES, n, from, to, v, at, half);
            for (size_t j = i; j < i + n; j++)
                mix_one(o + j * ldo + d, p + j * VS_SCORES, to, vs_in_page(span[j].hi, base), v, at, width, half);
        }
    }
}

static void mix(float *o, size_t ldo, const float *p, size_t n_q, const struct vs_span *span,
                size_t base, const float *v, size_t head_dim)
{
    mix_any(o, ldo, p, n_q, span, base, v, head_dim, false);
}

static void mix_f16(float *o, size_t ldo, const float *p, size_t n_q, const struct vs_span *span,
                    size_t base, const uint16_t *v, size_t head_dim)
{
    mix_any(o, ldo, p, n_q, span, base, v, head_dim, true);
}

static void weigh(const float *p, const float *dv, size_t lo, size_t hi, struct vs_act *dst)
{
    float x[VS_PAGE_TOKENS] = { 0 };
    size_t t = lo;
    for (; t + 8 <= hi; t += 8)
        _mm256_storeu_ps(x + t, _mm256_mul_ps(_mm256_loadu_ps(p + t), _mm256_loadu_ps(dv + t)));
    for (; t < hi; t++)
        x[t] = p[t] * dv[t];
    quantize(x, VS_PAGE_TOKENS, dst, 1);
}

/* n queries, 8 dimensions; p is the unsigned factor, at most 127: sums of two products stay below 2^15. */
static inline __attribute__((always_inline)) void mix_q8_tile(float *o, size_t ldo, const struct vs_act *p, const int n,
                                                              const int8_t *v)
{
    const __m256i ones = _mm256_set1_epi16(1);
    __m256 acc[4];
    for (int i = 0; i < n; i++)
        acc[i] = _mm256_loadu_ps(o + (size_t)i * ldo);
    for (size_t b = 0; b < VS_PAGE_BLOCKS; b++) {
        __m256i sum[4];
        for (int i = 0; i < n; i++)
            sum[i] = _mm256_setzero_si256();
        for (size_t g = 0; g < 8; g++) {
            __m256i value = _mm256_loadu_si256((const __m256i *)(const void *)(v + (8 * b + g) * 4 * VS_LANES8));
            for (int i = 0; i < n; i++) {
                int32_t four;
                memcpy(&four, p[VS_PAGE_BLOCKS * (size_t)i + b].q + 4 * g, 4);
                sum[i] = _mm256_add_epi32(sum[i], _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_set1_epi32(four), value), ones));
            }
        }
        for (int i = 0; i < n; i++)
            acc[i] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum[i]), _mm256_set1_ps(p[VS_PAGE_BLOCKS * (size_t)i + b].d), acc[i]);
    }
    for (int i = 0; i < n; i++)
        _mm256_storeu_ps(o + (size_t)i * ldo, acc[i]);
}

VS_MIX_Q8(4, 8)

static void merge(float *o, float *l, float *m, const float *o_split, float l_split, float m_split, size_t head_dim)
{
    float m_new = *m > m_split ? *m : m_split;
    float a = vs_expf(*m - m_new), b = vs_expf(m_split - m_new);
    *l = vs_fmaf(l_split, b, *l * a);
    __m256 a8 = _mm256_set1_ps(a), b8 = _mm256_set1_ps(b);
    size_t d = 0;
    for (; d + 8 <= head_dim; d += 8)
        _mm256_storeu_ps(o + d, _mm256_fmadd_ps(_mm256_loadu_ps(o_split + d), b8, _mm256_mul_ps(_mm256_loadu_ps(o + d), a8)));
    for (; d < head_dim; d++)
        o[d] = vs_fmaf(o_split[d], b, o[d] * a);
    *m = m_new;
}

static bool has_fault(const float *x, size_t n)
{
    const __m256i mask = _mm256_set1_epi32(0x7fffffff);
    __m256i greatest = _mm256_setzero_si256();
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        greatest = _mm256_max_epi32(greatest, _mm256_and_si256(_mm256_castps_si256(_mm256_loadu_ps(x + i)), mask));
    bool fault = _mm256_movemask_epi8(_mm256_cmpgt_epi32(greatest, _mm256_set1_epi32(0x7f7fffff))) != 0;
    for (; i < n; i++)
        fault |= (vs_f32_bits(x[i]) & 0x7fffffff) >= 0x7f800000;
    return fault;
}

void vs_cpu_ops_init_avx2(struct vs_cpu_ops *ops)
{
    ops->rms_norm = rms_norm;
    ops->quantize = quantize;
    ops->quantize_high = quantize_high;
    ops->glu = glu;
    ops->add_scaled = add_scaled;
    ops->add = add;
    ops->scale = scale;
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
    ops->has_fault = has_fault;
}
