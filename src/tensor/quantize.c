/* tensor/quantize.c - see quantize.h */
#include "tensor/quantize.h"
#include "tensor/indexed.h"
#include "tensor/quantize_grid.h"

#include "base/bytes.h"
#include "base/num.h"

#include <assert.h>
#include <string.h>

enum { SUPER = 256 };

static int nearest(float v, int lo, int hi)                      /* NaN gives lo */
{
    if (!(v > (float)lo))
        return lo;
    if (v > (float)hi)
        return hi;
    return (int)((v + 0x1.8p23f) - 0x1.8p23f);
}

static float inverse(float d)
{
    return d != 0 ? 1 / d : 0;
}

static float furthest(const float *x, size_t n)                  /* the element of largest magnitude, with its sign */
{
    float m = 0;
    for (size_t i = 0; i < n; i++)
        if (vs_absf(x[i]) > vs_absf(m))
            m = x[i];
    return m;
}

static float mean_square(const float *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return (float)(sum / (double)n);
}

static float put_f16(uint8_t *p, float v)
{
    uint16_t h = vs_f32_to_f16(v);
    vs_store_u16le(p, h);
    return vs_f16_to_f32(h);
}

/* What an element's error weighs. */
static void weigh(const float *x, const float *importance, size_t n, float *w)
{
    float square = mean_square(x, n);
    for (size_t i = 0; i < n; i++)
        w[i] = importance ? importance[i] * vs_sqrtf(2 * square + x[i] * x[i]) : 1;
}

/* ---- one run ---- */

/* A scale d for codes lo..hi (lo = -hi - 1): x is near d * code. */
static float fit_symmetric(const float *x, const float *w, size_t n, int lo, int hi)
{
    float top = furthest(x, n), best = 0;
    double gain = -1;
    if (top == 0)
        return 0;
    for (int k = -9; k <= 9; k++) {
        float id = ((float)lo + 0.1f * (float)k) / top;
        double xq = 0, qq = 0;
        for (size_t i = 0; i < n; i++) {
            int q = nearest(x[i] * id, lo, hi);
            xq += (double)w[i] * (double)x[i] * q;
            qq += (double)w[i] * q * q;
        }
        if (qq > 0 && xq * xq / qq > gain) {
            gain = xq * xq / qq;
            best = (float)(xq / qq);
        }
    }
    return gain < 0 ? top / (float)lo : best;
}

/* The place of the nearest of 16 ascending values; without branches, which nothing could foretell. */
static int nearest_of(const int8_t values[16], float v)
{
    int lo = 0;
    for (int i = 1; i < 15; i++)
        lo += !(v < (float)values[i]);
    return lo + !(v - (float)values[lo] <= (float)values[lo + 1] - v);
}

static float fit_list(const float *x, const float *w, size_t n, const int8_t values[16])
{
    float top = furthest(x, n), best = 0;
    double gain = -1;
    if (top == 0)
        return 0;
    for (int k = -7; k <= 7; k++)
        for (int end = 0; end < 16; end += 15) {                 /* the largest may go to either end */
            float id = ((float)values[end] + (float)k) / top;
            double xq = 0, qq = 0;
            for (size_t i = 0; i < n; i++) {
                int q = values[nearest_of(values, x[i] * id)];
                xq += (double)w[i] * (double)x[i] * q;
                qq += (double)w[i] * q * q;
            }
            if (qq > 0 && xq * xq / qq > gain) {
                gain = xq * xq / qq;
                best = (float)(xq / qq);
            }
        }
    return gain < 0 ? top / (float)values[0] : best;
}

/* scale and *ret_min for codes 0..top: x is near scale * code + min; with `below` min is not above zero. */
static float fit_range(const float *x, const float *w, size_t n, int top, bool below, float *ret_min)
{
    float lo = x[0], hi = x[0], scale = 0;
    double sum_w = 0, sum_x = 0, least = -1;
    for (size_t i = 0; i < n; i++) {
        lo = x[i] < lo ? x[i] : lo;
        hi = x[i] > hi ? x[i] : hi;
        sum_w += (double)w[i];
        sum_x += (double)w[i] * (double)x[i];
    }
    if (below && lo > 0)
        lo = 0;
    *ret_min = lo;
    if (hi <= lo)
        return 0;
    for (int k = -1; k <= 20; k++) {                             /* -1: the whole range, as it is */
        float id = (k < 0 ? (float)top : (float)top - 1 + 0.1f * (float)k) / (hi - lo);
        double sum_q = 0, sum_qq = 0, sum_xq = 0;
        for (size_t i = 0; i < n; i++) {
            int q = nearest(id * (x[i] - lo), 0, top);
            sum_q += (double)w[i] * q;
            sum_qq += (double)w[i] * q * q;
            sum_xq += (double)w[i] * (double)x[i] * q;
        }
        double d = sum_w * sum_qq - sum_q * sum_q, s = 1 / (double)id, m = (double)lo;
        if (k >= 0 && !(d > 0))
            continue;
        if (k >= 0) {
            s = (sum_w * sum_xq - sum_x * sum_q) / d;
            m = (sum_qq * sum_x - sum_q * sum_xq) / d;
        }
        if (below && m > 0) {
            m = 0;
            s = sum_qq > 0 ? sum_xq / sum_qq : 0;
        }
        if (!(s > 0))
            continue;
        double error = 0;
        for (size_t i = 0; i < n; i++) {
            double e = s * nearest(id * (x[i] - lo), 0, top) + m - (double)x[i];
            error += (double)w[i] * e * e;
        }
        if (least < 0 || error < least) {
            least = error;
            scale = (float)s;
            *ret_min = (float)m;
        }
    }
    return scale;
}

/* ---- blocks of 32 ---- */

static void nibbles(const int q[32], uint8_t *qs)
{
    for (int j = 0; j < 16; j++)
        qs[j] = (uint8_t)((q[j] & 15) | (q[j + 16] & 15) << 4);
}

static void fifth_bits(const int q[32], uint8_t *qh)
{
    uint32_t high = 0;
    for (int i = 0; i < 32; i++)
        high |= (uint32_t)(q[i] >> 4 & 1) << i;
    vs_store_u32le(qh, high);
}

static void symmetric_32(const float *x, const float *w, int lo, uint8_t *b, int q[32])
{
    float d = put_f16(b, fit_symmetric(x, w, 32, lo, -lo - 1)), id = inverse(d);
    for (int i = 0; i < 32; i++)
        q[i] = nearest(x[i] * id, lo, -lo - 1) - lo;
}

static void range_32(const float *x, const float *w, int top, uint8_t *b, int q[32])
{
    float min, scale = fit_range(x, w, 32, top, false, &min);
    float d = put_f16(b, scale), m = put_f16(b + 2, min), id = inverse(d);
    for (int i = 0; i < 32; i++)
        q[i] = nearest((x[i] - m) * id, 0, top);
}

static void encode_q4_0(const float *x, const float *w, uint8_t *b)
{
    int q[32];
    symmetric_32(x, w, -8, b, q);
    nibbles(q, b + 2);
}

static void encode_q5_0(const float *x, const float *w, uint8_t *b)
{
    int q[32];
    symmetric_32(x, w, -16, b, q);
    fifth_bits(q, b + 2);
    nibbles(q, b + 6);
}

static void encode_q4_1(const float *x, const float *w, uint8_t *b)
{
    int q[32];
    range_32(x, w, 15, b, q);
    nibbles(q, b + 4);
}

static void encode_q5_1(const float *x, const float *w, uint8_t *b)
{
    int q[32];
    range_32(x, w, 31, b, q);
    fifth_bits(q, b + 4);
    nibbles(q, b + 8);
}

static void encode_iq4_nl(const float *x, const float *w, uint8_t *b)
{
    const int8_t *values = vs_indexed_of(VS_IQ4_NL)->values;
    float id = inverse(put_f16(b, fit_list(x, w, 32, values)));
    int q[32];
    for (int i = 0; i < 32; i++)
        q[i] = nearest_of(values, x[i] * id);
    nibbles(q, b + 2);
}

/* The code of E2M1 nearest to v, and what it leaves. */
static int nearest_e2m1(float v, double *ret_error)
{
    static const uint8_t size[8] = { 0, 1, 2, 3, 4, 6, 8, 12 };
    float a = vs_absf(v);
    int best = 0;
    for (int i = 1; i < 8; i++)
        if (vs_absf(a - (float)size[i]) < vs_absf(a - (float)size[best]))
            best = i;
    *ret_error = (double)(a - (float)size[best]);
    return v < 0 && best ? best + 8 : best;
}

static double e2m1_error(const float *x, const float *w, size_t n, float scale)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        double e;
        nearest_e2m1(x[i] * inverse(scale), &e);
        sum += (double)w[i] * (scale != 0 ? e * (double)scale * e * (double)scale : (double)x[i] * (double)x[i]);
    }
    return sum;
}

static void encode_mxfp4(const float *x, const float *w, uint8_t *b)
{
    int top = (int)(vs_f32_bits(vs_absf(furthest(x, 32))) >> 23), from = top < 4 ? 0 : top - 4, q[32];
    double least = -1, rest;
    for (int e = from; e <= from + 3 && e < 255; e++) {          /* 12 * 2^(e - 128) lies about the largest */
        double error = e2m1_error(x, w, 32, vs_indexed_scale(VS_SCALE_E8M0, (uint16_t)e, 0));
        if (least < 0 || error < least) {
            least = error;
            b[0] = (uint8_t)e;
        }
    }
    for (int i = 0; i < 32; i++)
        q[i] = nearest_e2m1(x[i] * inverse(vs_indexed_scale(VS_SCALE_E8M0, b[0], 0)), &rest);
    nibbles(q, b + 1);
}

static void encode_nvfp4(const float *x, const float *w, uint8_t *b)
{
    for (int run = 0; run < 4; run++, x += 16, w += 16) {
        float want = vs_absf(furthest(x, 16)) / 12;
        int near = 0;
        while (near < 126 && vs_indexed_scale(VS_SCALE_E4M3, 0, (uint8_t)(near + 1)) <= want)
            near++;
        double least = -1, rest;
        for (int s = near < 6 ? 0 : near - 6; s <= near + 6 && s < 127; s++) {
            double error = e2m1_error(x, w, 16, vs_indexed_scale(VS_SCALE_E4M3, 0, (uint8_t)s));
            if (least < 0 || error < least) {
                least = error;
                b[run] = (uint8_t)s;
            }
        }
        float id = inverse(vs_indexed_scale(VS_SCALE_E4M3, 0, b[run]));
        for (int j = 0; j < 8; j++)
            b[4 + 8 * run + j] = (uint8_t)(nearest_e2m1(x[j] * id, &rest) | nearest_e2m1(x[j + 8] * id, &rest) << 4);
    }
}

static void encode_q6_0(const float *x, const float *w, uint8_t *b)
{
    float id = inverse(put_f16(b, fit_symmetric(x, w, 32, -32, 31)));
    for (unsigned i = 0; i < 32; i++)
        vs_indexed_put(VS_Q6_0, b, i, (unsigned)(nearest(x[i] * id, -32, 31) + 32));
}

/* Signs of 128 elements: the scale is their weighted mean. */
static void encode_q1_0(const float *x, const float *w, uint8_t *b)
{
    double sum = 0, all = 0;
    unsigned n = vs_dtype_info(VS_Q1_0)->block_len;
    for (unsigned i = 0; i < n; i++) {
        sum += (double)w[i] * (double)vs_absf(x[i]);
        all += (double)w[i];
        vs_indexed_put(VS_Q1_0, b, i, x[i] > 0);
    }
    put_f16(b, all > 0 ? (float)(sum / all) : 0);
}

/* -1, 0, 1 and 2. */
static void encode_q2_0(const float *x, const float *w, uint8_t *b)
{
    unsigned n = vs_dtype_info(VS_Q2_0)->block_len;
    float top = furthest(x, n), best = 0;
    double gain = -1;
    for (int k = 0; k < 24 && top != 0; k++) {           /* the largest about 2, or -1 and its like about 1 */
        float id = (0.7f + 0.08f * (float)k) / top;
        double xq = 0, qq = 0;
        for (unsigned i = 0; i < n; i++) {
            int q = nearest(x[i] * id, -1, 2);
            xq += (double)w[i] * (double)x[i] * q;
            qq += (double)w[i] * q * q;
        }
        if (qq > 0 && xq * xq / qq > gain) {
            gain = xq * xq / qq;
            best = (float)(xq / qq);
        }
    }
    float id = inverse(put_f16(b, best));
    for (unsigned i = 0; i < n; i++)
        vs_indexed_put(VS_Q2_0, b, i, (unsigned)(nearest(x[i] * id, -1, 2) + 1));
}

/* ---- blocks of 256 ---- */

static double error_of(const float *x, const float *w, int n, float scale, float min, int lo, int hi)
{
    float id = inverse(scale);
    double sum = 0;
    for (int i = 0; i < n; i++) {
        float e = scale * (float)nearest((x[i] + min) * id, lo, hi) - min - x[i];
        sum += (double)w[i] * (double)e * (double)e;
    }
    return sum;
}

/* Scales and minima of runs of n with codes 0..top, under one d and one dmin with codes 0..code_top. */
static void range_runs(const float *x, const float *w, int n, int top, int code_top, uint8_t *at_d, uint8_t *at_dmin,
                       int *ret_scale, int *ret_min, int *ret_q)
{
    float scale[16], min[16], most_scale = 0, most_min = 0;
    int n_runs = SUPER / n;
    for (int r = 0; r < n_runs; r++) {
        float m;
        scale[r] = fit_range(x + r * n, w + r * n, (size_t)n, top, true, &m);
        min[r] = -m;
        most_scale = scale[r] > most_scale ? scale[r] : most_scale;
        most_min = min[r] > most_min ? min[r] : most_min;
    }
    float d = put_f16(at_d, most_scale / (float)code_top), dmin = put_f16(at_dmin, most_min / (float)code_top);
    for (int r = 0; r < n_runs; r++) {
        int s = nearest(scale[r] * inverse(d), 0, code_top), near = nearest(min[r] * inverse(dmin), 0, code_top);
        double least = -1;
        for (int k = 0; k < 9; k++) {                            /* what was rounded may do better beside it */
            int a = s + k / 3 - 1, b = near + k % 3 - 1;
            if (a < 0 || b < 0 || a > code_top || b > code_top)
                continue;
            double error = error_of(x + r * n, w + r * n, n, d * (float)a, dmin * (float)b, 0, top);
            if (least < 0 || error < least) {
                least = error;
                ret_scale[r] = a;
                ret_min[r] = b;
            }
        }
        float id = inverse(d * (float)ret_scale[r]), m = dmin * (float)ret_min[r];
        for (int i = r * n; i < r * n + n; i++)
            ret_q[i] = nearest((x[i] + m) * id, 0, top);
    }
}

/* Signed scales of runs of 16 with codes lo..-lo - 1, under one d with codes code_lo..-code_lo - 1. */
static void symmetric_runs(const float *x, const float *w, int lo, int code_lo, uint8_t *at_d, int *ret_scale, int *ret_q)
{
    float scale[16];
    for (int r = 0; r < 16; r++)
        scale[r] = fit_symmetric(x + 16 * r, w + 16 * r, 16, lo, -lo - 1);
    float d = put_f16(at_d, furthest(scale, 16) / (float)code_lo);
    for (int r = 0; r < 16; r++) {
        int s = nearest(scale[r] * inverse(d), code_lo, -code_lo - 1);
        double least = -1;
        for (int a = s - 1; a <= s + 1; a++) {
            double error = error_of(x + 16 * r, w + 16 * r, 16, d * (float)a, 0, lo, -lo - 1);
            if (a >= code_lo && a < -code_lo && (least < 0 || error < least)) {
                least = error;
                ret_scale[r] = a;
            }
        }
        float id = inverse(d * (float)ret_scale[r]);
        for (int i = 16 * r; i < 16 * r + 16; i++)
            ret_q[i] = nearest(x[i] * id, lo, -lo - 1);
    }
}

static void put_pair(uint8_t *qs, int i, int q)
{
    qs[i / 128 * 32 + i % 32] |= (uint8_t)(q << i % 128 / 32 * 2);
}

static void put_six_bits(uint8_t *s, int j, int scale, int min)
{
    if (j < 4) {
        s[j] |= (uint8_t)scale;
        s[j + 4] |= (uint8_t)min;
    } else {
        s[j + 4] = (uint8_t)((scale & 15) | (min & 15) << 4);
        s[j - 4] |= (uint8_t)(scale >> 4 << 6);
        s[j] |= (uint8_t)(min >> 4 << 6);
    }
}

static void encode_q2_k(const float *x, const float *w, uint8_t *b)
{
    int scale[16], min[16], q[SUPER];
    range_runs(x, w, 16, 3, 15, b + 80, b + 82, scale, min, q);
    for (int r = 0; r < 16; r++)
        b[r] = (uint8_t)(scale[r] | min[r] << 4);
    for (int i = 0; i < SUPER; i++)
        put_pair(b + 16, i, q[i]);
}

static void encode_q3_k(const float *x, const float *w, uint8_t *b)
{
    int scale[16], q[SUPER];
    symmetric_runs(x, w, -4, -32, b + 108, scale, q);
    for (int r = 0; r < 16; r++) {
        int code = scale[r] + 32;
        b[96 + r % 8] |= (uint8_t)((code & 15) << (r < 8 ? 0 : 4));
        b[104 + r % 4] |= (uint8_t)(code >> 4 << 2 * (r / 4));
    }
    for (int i = 0; i < SUPER; i++) {
        int code = q[i] + 4;
        put_pair(b + 32, i, code & 3);
        b[i % 32] |= (uint8_t)(code >> 2 << i / 32);
    }
}

static void encode_q4_k(const float *x, const float *w, uint8_t *b)
{
    int scale[8], min[8], q[SUPER];
    range_runs(x, w, 32, 15, 63, b, b + 2, scale, min, q);
    for (int j = 0; j < 8; j++) {
        put_six_bits(b + 4, j, scale[j], min[j]);
        for (int l = 0; l < 32; l++)
            b[16 + j / 2 * 32 + l] |= (uint8_t)(q[32 * j + l] << j % 2 * 4);
    }
}

static void encode_q5_k(const float *x, const float *w, uint8_t *b)
{
    int scale[8], min[8], q[SUPER];
    range_runs(x, w, 32, 31, 63, b, b + 2, scale, min, q);
    for (int j = 0; j < 8; j++) {
        put_six_bits(b + 4, j, scale[j], min[j]);
        for (int l = 0; l < 32; l++) {
            b[48 + j / 2 * 32 + l] |= (uint8_t)((q[32 * j + l] & 15) << j % 2 * 4);
            b[16 + l] |= (uint8_t)(q[32 * j + l] >> 4 << j);
        }
    }
}

static void encode_q6_k(const float *x, const float *w, uint8_t *b)
{
    int scale[16], q[SUPER];
    symmetric_runs(x, w, -32, -128, b + 208, scale, q);
    for (int r = 0; r < 16; r++)
        b[192 + r] = (uint8_t)scale[r];
    for (int i = 0; i < SUPER; i++) {
        int h = i / 128, k = i % 128 / 32, l = i % 32, code = q[i] + 32;
        b[64 * h + 32 * (k % 2) + l] |= (uint8_t)((code & 15) << k / 2 * 4);
        b[128 + 32 * h + l] |= (uint8_t)(code >> 4 << 2 * k);
    }
}

static double list_error(const float *x, const float *w, size_t n, float scale, const int8_t values[16])
{
    float id = inverse(scale);
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        float e = scale * (float)values[nearest_of(values, x[i] * id)] - x[i];
        sum += (double)w[i] * (double)e * (double)e;
    }
    return sum;
}

static void encode_iq4_xs(const float *x, const float *w, uint8_t *b)
{
    const int8_t *values = vs_indexed_of(VS_IQ4_XS)->values;
    float scale[8];
    unsigned high = 0;
    for (int r = 0; r < 8; r++)
        scale[r] = fit_list(x + 32 * r, w + 32 * r, 32, values);
    float d = put_f16(b, furthest(scale, 8) / -32);
    for (int r = 0; r < 8; r++) {
        int near = nearest(scale[r] * inverse(d), -32, 31), s = near, q[32];
        double least = -1;
        for (int a = near < -31 ? -32 : near - 1; a <= near + 1 && a < 32; a++) {
            double error = list_error(x + 32 * r, w + 32 * r, 32, d * (float)a, values);
            if (least < 0 || error < least) {
                least = error;
                s = a;
            }
        }
        float id = inverse(d * (float)s);
        for (int i = 0; i < 32; i++)
            q[i] = nearest_of(values, x[32 * r + i] * id);
        nibbles(q, b + 8 + 16 * r);
        b[4 + r / 2] |= (uint8_t)(((s + 32) & 15) << r % 2 * 4);
        high |= (unsigned)(s + 32) >> 4 << 2 * r;
    }
    vs_store_u16le(b + 2, (uint16_t)high);
}

/* ---- the table ---- */

static const struct maker {
    enum vs_dtype dtype;
    void (*encode)(const float *x, const float *w, uint8_t *block);      /* NULL: nothing to choose, as vs_quantize */
} makers[] = {
    { VS_F32, NULL },             { VS_F16, NULL },             { VS_BF16, NULL },
    { VS_Q8_0, NULL },            { VS_TQ1_0, NULL },           { VS_TQ2_0, NULL },
    { VS_Q4_0, encode_q4_0 },     { VS_Q4_1, encode_q4_1 },      { VS_Q5_0, encode_q5_0 },
    { VS_Q5_1, encode_q5_1 },      { VS_Q2_K, encode_q2_k },      { VS_Q3_K, encode_q3_k },
    { VS_Q4_K, encode_q4_k },      { VS_Q5_K, encode_q5_k },      { VS_Q6_K, encode_q6_k },
    { VS_IQ4_NL, encode_iq4_nl }, { VS_IQ4_XS, encode_iq4_xs }, { VS_MXFP4, encode_mxfp4 },
    { VS_NVFP4, encode_nvfp4 },   { VS_Q6_0, encode_q6_0 },      { VS_Q1_0, encode_q1_0 },
    { VS_Q2_0, encode_q2_0 },
};

static const struct maker *maker_of(enum vs_dtype dtype)
{
    for (size_t i = 0; i < sizeof makers / sizeof *makers; i++)
        if (makers[i].dtype == dtype)
            return &makers[i];
    return NULL;
}

bool vs_quantize_makes(enum vs_dtype dtype)
{
    return maker_of(dtype) != NULL || vs_quantize_grid_makes(dtype);
}

void vs_quantize_row(enum vs_dtype dtype, const float *x, const float *importance, void *dst, size_t n)
{
    const struct maker *m = maker_of(dtype);
    const struct vs_dtype_info *info = vs_dtype_info((uint32_t)dtype);
    assert(vs_quantize_makes(dtype) && n % info->block_len == 0);
    if (m && !m->encode) {
        vs_quantize(dtype, x, dst, n);
        return;
    }
    uint8_t *block = dst;
    for (size_t i = 0; i < n; i += info->block_len, block += info->block_bytes) {
        float w[SUPER];
        weigh(x + i, importance ? importance + i : NULL, info->block_len, w);
        memset(block, 0, info->block_bytes);
        if (m)
            m->encode(x + i, w, block);
        else
            vs_quantize_grid(dtype, x + i, w, block);
    }
}
