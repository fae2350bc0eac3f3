/* tensor/dtype.c - see dtype.h
 *
 * One block function each way per type. Decoders take products in the order that defines the format's value (scale
 * product, then times the code, then the offset), every step rounded to f32; the project is compiled without contraction.
 * A "run" below is the group of elements that shares a sub-scale inside a 256-element block.
 */
#include "tensor/dtype.h"
#include "tensor/indexed.h"

#include "base/bytes.h"

#include <assert.h>
#include <string.h>

static uint32_t bits_of(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

static float float_of(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

float vs_f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 31, mantissa = h & 0x3ff;
    if (exponent == 0)                                           /* zero or subnormal: mantissa * 2^-24 is exact */
        return float_of(sign | bits_of((float)mantissa * 0x1p-24f));
    if (exponent == 31)
        return float_of(sign | 0x7f800000 | mantissa << 13);
    return float_of(sign | (exponent + 112) << 23 | mantissa << 13);
}

uint16_t vs_f32_to_f16(float f)
{
    uint32_t u = bits_of(f);
    uint16_t sign = (uint16_t)(u >> 16 & 0x8000);
    u &= 0x7fffffff;
    if (u > 0x7f800000)                                          /* NaN: quiet, upper payload kept */
        return (uint16_t)(sign | 0x7e00 | (u >> 13 & 0x3ff));
    if (u >= 0x477ff000)                                         /* 65520 and more round to infinity */
        return sign | 0x7c00;
    if (u < 0x38800000) {                                        /* below 2^-14: a multiple of 2^-24 */
        if (u < 0x33000000)
            return sign;
        uint32_t mantissa = (u & 0x7fffff) | 0x800000, shift = 126 - (u >> 23);      /* 14 .. 24 */
        uint32_t q = mantissa >> shift, rest = mantissa & ((1u << shift) - 1), half = 1u << (shift - 1);
        return (uint16_t)(sign | (q + (rest > half || (rest == half && (q & 1)))));
    }
    u += 0xfff + (u >> 13 & 1);
    return (uint16_t)(sign | ((u >> 13) - (112u << 10)));
}

float vs_bf16_to_f32(uint16_t h)
{
    return float_of((uint32_t)h << 16);
}

uint16_t vs_f32_to_bf16(float f)
{
    uint32_t u = bits_of(f);
    if ((u & 0x7fffffff) > 0x7f800000)
        return (uint16_t)(u >> 16 | 0x40);
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

static float f16_at(const uint8_t *p)
{
    return vs_f16_to_f32(vs_load_u16le(p));
}

/* Writes v as f16 and returns what a reader will see. */
static float put_f16(uint8_t *p, float v)
{
    uint16_t h = vs_f32_to_f16(v);
    vs_store_u16le(p, h);
    return vs_f16_to_f32(h);
}

/* x / d to the nearest integer, ties to even, clamped; 0 where d is. NaN gives lo. No libm. */
static int nearest(float x, float d, int lo, int hi)
{
    if (d == 0)
        return lo > 0 ? lo : 0;
    float v = x / d;
    if (!(v > (float)lo))
        return lo;
    if (v > (float)hi)
        return hi;
    return (int)((v + 0x1.8p23f) - 0x1.8p23f);
}

static float furthest(const float *x, int n)                     /* the element of largest magnitude, with its sign */
{
    float m = 0;
    for (int i = 0; i < n; i++)
        if ((x[i] < 0 ? -x[i] : x[i]) > (m < 0 ? -m : m))
            m = x[i];
    return m;
}

static void range(const float *x, int n, float *ret_min, float *ret_max)
{
    *ret_min = *ret_max = x[0];
    for (int i = 1; i < n; i++) {
        if (x[i] < *ret_min)
            *ret_min = x[i];
        if (x[i] > *ret_max)
            *ret_max = x[i];
    }
}

/* Plain elements. */

static void decode_f32(const uint8_t *b, float *x)
{
    *x = float_of(vs_load_u32le(b));
}

static void encode_f32(const float *x, uint8_t *b)
{
    vs_store_u32le(b, bits_of(*x));
}

static void decode_f16(const uint8_t *b, float *x)
{
    *x = f16_at(b);
}

static void encode_f16(const float *x, uint8_t *b)
{
    put_f16(b, *x);
}

static void decode_bf16(const uint8_t *b, float *x)
{
    *x = vs_bf16_to_f32(vs_load_u16le(b));
}

static void encode_bf16(const float *x, uint8_t *b)
{
    vs_store_u16le(b, vs_f32_to_bf16(*x));
}

/* Blocks of 32: byte j carries element j in its low and element j + 16 in its high nibble. */

static void decode_q4_0(const uint8_t *b, float *x)              /* f16 d; qs[16] */
{
    float d = f16_at(b);
    for (int j = 0; j < 16; j++) {
        x[j] = d * (float)((b[2 + j] & 15) - 8);
        x[j + 16] = d * (float)((b[2 + j] >> 4) - 8);
    }
}

static void encode_q4_0(const float *x, uint8_t *b)
{
    float d = put_f16(b, furthest(x, 32) / -8);
    for (int j = 0; j < 16; j++)
        b[2 + j] = (uint8_t)((nearest(x[j], d, -8, 7) + 8) | (nearest(x[j + 16], d, -8, 7) + 8) << 4);
}

static void decode_q4_1(const uint8_t *b, float *x)              /* f16 d, m; qs[16] */
{
    float d = f16_at(b), m = f16_at(b + 2);
    for (int j = 0; j < 16; j++) {
        x[j] = d * (float)(b[4 + j] & 15) + m;
        x[j + 16] = d * (float)(b[4 + j] >> 4) + m;
    }
}

static void encode_q4_1(const float *x, uint8_t *b)
{
    float lo, hi;
    range(x, 32, &lo, &hi);
    float d = put_f16(b, (hi - lo) / 15), m = put_f16(b + 2, lo);
    for (int j = 0; j < 16; j++)
        b[4 + j] = (uint8_t)(nearest(x[j] - m, d, 0, 15) | nearest(x[j + 16] - m, d, 0, 15) << 4);
}

static int five_bits(const uint8_t *qs, uint32_t qh, int i)
{
    int low = i < 16 ? qs[i] & 15 : qs[i - 16] >> 4;
    return low | (int)(qh >> i & 1) << 4;
}

static void put_five_bits(const int *q, uint8_t *qh, uint8_t *qs)
{
    uint32_t high = 0;
    for (int i = 0; i < 32; i++)
        high |= (uint32_t)(q[i] >> 4) << i;
    vs_store_u32le(qh, high);
    for (int j = 0; j < 16; j++)
        qs[j] = (uint8_t)((q[j] & 15) | (q[j + 16] & 15) << 4);
}

static void decode_q5_0(const uint8_t *b, float *x)              /* f16 d; u32 qh; qs[16] */
{
    float d = f16_at(b);
    uint32_t qh = vs_load_u32le(b + 2);
    for (int i = 0; i < 32; i++)
        x[i] = d * (float)(five_bits(b + 6, qh, i) - 16);
}

static void encode_q5_0(const float *x, uint8_t *b)
{
    float d = put_f16(b, furthest(x, 32) / -16);
    int q[32];
    for (int i = 0; i < 32; i++)
        q[i] = nearest(x[i], d, -16, 15) + 16;
    put_five_bits(q, b + 2, b + 6);
}

static void decode_q5_1(const uint8_t *b, float *x)              /* f16 d, m; u32 qh; qs[16] */
{
    float d = f16_at(b), m = f16_at(b + 2);
    uint32_t qh = vs_load_u32le(b + 4);
    for (int i = 0; i < 32; i++)
        x[i] = d * (float)five_bits(b + 8, qh, i) + m;
}

static void encode_q5_1(const float *x, uint8_t *b)
{
    float lo, hi;
    range(x, 32, &lo, &hi);
    float d = put_f16(b, (hi - lo) / 31), m = put_f16(b + 2, lo);
    int q[32];
    for (int i = 0; i < 32; i++)
        q[i] = nearest(x[i] - m, d, 0, 31);
    put_five_bits(q, b + 4, b + 8);
}

static void decode_q8_0(const uint8_t *b, float *x)              /* f16 d; i8 qs[32] */
{
    float d = f16_at(b);
    for (int i = 0; i < 32; i++)
        x[i] = d * (float)(int8_t)b[2 + i];
}

static void encode_q8_0(const float *x, uint8_t *b)
{
    float m = furthest(x, 32), d = put_f16(b, (m < 0 ? -m : m) / 127);
    for (int i = 0; i < 32; i++)
        b[2 + i] = (uint8_t)nearest(x[i], d, -127, 127);
}

/* Blocks of 256. */

/* The bit pair of element i in the 64 bytes that Q2_K and Q3_K share: 32 bytes per half, four groups of 32 in each,
 * group g at shift 2g. */
static int pair_of(const uint8_t *qs, int i)
{
    return qs[i / 128 * 32 + i % 32] >> i % 128 / 32 * 2 & 3;
}

static void put_pair(uint8_t *qs, int i, int q)
{
    qs[i / 128 * 32 + i % 32] |= (uint8_t)(q << i % 128 / 32 * 2);
}

static void decode_q2_k(const uint8_t *b, float *x)              /* scales[16]; qs[64]; f16 d, dmin */
{
    float d = f16_at(b + 80), dmin = f16_at(b + 82);
    for (int r = 0; r < 16; r++) {
        float scale = d * (float)(b[r] & 15), min = dmin * (float)(b[r] >> 4);
        for (int i = 16 * r; i < 16 * r + 16; i++)
            x[i] = scale * (float)pair_of(b + 16, i) - min;
    }
}

/* Scales and minima of runs of n elements with codes 0..top; both get codes 0..code_top under a shared f16. */
static void encode_runs(const float *x, int n, int top, int code_top, uint8_t *at_d, uint8_t *at_dmin,
                        int *ret_scale, int *ret_min, int *ret_q)
{
    float scale[16], min[16], largest_scale = 0, largest_min = 0;
    int n_runs = 256 / n;
    for (int r = 0; r < n_runs; r++) {
        float lo, hi;
        range(x + r * n, n, &lo, &hi);
        min[r] = lo < 0 ? -lo : 0;
        scale[r] = (hi + min[r]) / (float)top;
        if (scale[r] > largest_scale)
            largest_scale = scale[r];
        if (min[r] > largest_min)
            largest_min = min[r];
    }
    float d = put_f16(at_d, largest_scale / (float)code_top), dmin = put_f16(at_dmin, largest_min / (float)code_top);
    for (int r = 0; r < n_runs; r++) {
        ret_scale[r] = nearest(scale[r], d, 0, code_top);
        ret_min[r] = nearest(min[r], dmin, 0, code_top);
        float s = d * (float)ret_scale[r], m = dmin * (float)ret_min[r];
        for (int i = r * n; i < r * n + n; i++)
            ret_q[i] = nearest(x[i] + m, s, 0, top);
    }
}

static void encode_q2_k(const float *x, uint8_t *b)
{
    int scale[16], min[16], q[256];
    encode_runs(x, 16, 3, 15, b + 80, b + 82, scale, min, q);
    for (int r = 0; r < 16; r++)
        b[r] = (uint8_t)(scale[r] | min[r] << 4);
    for (int i = 0; i < 256; i++)
        put_pair(b + 16, i, q[i]);
}

/* Symmetric runs of 16: codes lo..-lo-1 under signed sub-scales code_lo..-code_lo-1 under a shared f16. */
static void encode_signed_runs(const float *x, int lo, int code_lo, uint8_t *at_d, int *ret_scale, int *ret_q)
{
    float scale[16];
    for (int r = 0; r < 16; r++)
        scale[r] = furthest(x + 16 * r, 16) / (float)lo;
    float d = put_f16(at_d, furthest(scale, 16) / (float)code_lo);
    for (int r = 0; r < 16; r++) {
        ret_scale[r] = nearest(scale[r], d, code_lo, -code_lo - 1);
        float s = d * (float)ret_scale[r];
        for (int i = 16 * r; i < 16 * r + 16; i++)
            ret_q[i] = nearest(x[i], s, lo, -lo - 1);
    }
}

static void decode_q3_k(const uint8_t *b, float *x)              /* hmask[32]; qs[64]; scales[12]; f16 d */
{
    const uint8_t *scales = b + 96;
    float d = f16_at(b + 108);
    for (int r = 0; r < 16; r++) {
        int low = r < 8 ? scales[r] & 15 : scales[r - 8] >> 4;
        int code = low | (scales[8 + r % 4] >> 2 * (r / 4) & 3) << 4;
        float scale = d * (float)(code - 32);
        for (int i = 16 * r; i < 16 * r + 16; i++)
            x[i] = scale * (float)(pair_of(b + 32, i) - (b[i % 32] >> i / 32 & 1 ? 0 : 4));
    }
}

static void encode_q3_k(const float *x, uint8_t *b)
{
    uint8_t *scales = b + 96;
    int scale[16], q[256];
    encode_signed_runs(x, -4, -32, b + 108, scale, q);
    for (int r = 0; r < 16; r++) {
        int code = scale[r] + 32;
        scales[r % 8] |= (uint8_t)((code & 15) << (r < 8 ? 0 : 4));
        scales[8 + r % 4] |= (uint8_t)(code >> 4 << 2 * (r / 4));
    }
    for (int i = 0; i < 256; i++) {
        int code = q[i] + 4;                                     /* 0..7, third bit in hmask */
        put_pair(b + 32, i, code & 3);
        b[i % 32] |= (uint8_t)(code >> 2 << i / 32);
    }
}

/* The eight six-bit scales and minima of Q4_K and Q5_K in twelve bytes. */
static void six_bits(const uint8_t *s, int j, int *ret_scale, int *ret_min)
{
    if (j < 4) {
        *ret_scale = s[j] & 63;
        *ret_min = s[j + 4] & 63;
    } else {
        *ret_scale = (s[j + 4] & 15) | s[j - 4] >> 6 << 4;
        *ret_min = s[j + 4] >> 4 | s[j] >> 6 << 4;
    }
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

static void decode_q4_k(const uint8_t *b, float *x)              /* f16 d, dmin; scales[12]; qs[128] */
{
    float d = f16_at(b), dmin = f16_at(b + 2);
    for (int j = 0; j < 8; j++) {
        int scale_code, min_code;
        six_bits(b + 4, j, &scale_code, &min_code);
        float scale = d * (float)scale_code, min = dmin * (float)min_code;
        const uint8_t *qs = b + 16 + j / 2 * 32;
        for (int l = 0; l < 32; l++)
            x[32 * j + l] = scale * (float)(qs[l] >> j % 2 * 4 & 15) - min;
    }
}

static void encode_q4_k(const float *x, uint8_t *b)
{
    int scale[8], min[8], q[256];
    encode_runs(x, 32, 15, 63, b, b + 2, scale, min, q);
    for (int j = 0; j < 8; j++) {
        put_six_bits(b + 4, j, scale[j], min[j]);
        for (int l = 0; l < 32; l++)
            b[16 + j / 2 * 32 + l] |= (uint8_t)(q[32 * j + l] << j % 2 * 4);
    }
}

static void decode_q5_k(const uint8_t *b, float *x)              /* f16 d, dmin; scales[12]; qh[32]; qs[128] */
{
    float d = f16_at(b), dmin = f16_at(b + 2);
    for (int j = 0; j < 8; j++) {
        int scale_code, min_code;
        six_bits(b + 4, j, &scale_code, &min_code);
        float scale = d * (float)scale_code, min = dmin * (float)min_code;
        const uint8_t *qh = b + 16, *qs = b + 48 + j / 2 * 32;
        for (int l = 0; l < 32; l++)
            x[32 * j + l] = scale * (float)((qs[l] >> j % 2 * 4 & 15) | (qh[l] >> j & 1) << 4) - min;
    }
}

static void encode_q5_k(const float *x, uint8_t *b)
{
    int scale[8], min[8], q[256];
    encode_runs(x, 32, 31, 63, b, b + 2, scale, min, q);
    for (int j = 0; j < 8; j++) {
        put_six_bits(b + 4, j, scale[j], min[j]);
        for (int l = 0; l < 32; l++) {
            b[48 + j / 2 * 32 + l] |= (uint8_t)((q[32 * j + l] & 15) << j % 2 * 4);
            b[16 + l] |= (uint8_t)(q[32 * j + l] >> 4 << j);
        }
    }
}

/* Element i of Q6_K: halves of 128; in a half quarter k takes its low nibble from ql[32 * (k % 2) + l] (low nibble for
 * k < 2, else high) and its top two bits from pair k of qh[l]. */
static void decode_q6_k(const uint8_t *b, float *x)              /* ql[128]; qh[64]; i8 scales[16]; f16 d */
{
    float d = f16_at(b + 208);
    for (int i = 0; i < 256; i++) {
        int h = i / 128, k = i % 128 / 32, l = i % 32;
        int low = b[64 * h + 32 * (k % 2) + l] >> k / 2 * 4 & 15, high = b[128 + 32 * h + l] >> 2 * k & 3;
        x[i] = d * (float)(int8_t)b[192 + i / 16] * (float)((low | high << 4) - 32);
    }
}

static void encode_q6_k(const float *x, uint8_t *b)
{
    int scale[16], q[256];
    encode_signed_runs(x, -32, -128, b + 208, scale, q);
    for (int r = 0; r < 16; r++)
        b[192 + r] = (uint8_t)scale[r];
    for (int i = 0; i < 256; i++) {
        int h = i / 128, k = i % 128 / 32, l = i % 32, code = q[i] + 32;
        b[64 * h + 32 * (k % 2) + l] |= (uint8_t)((code & 15) << k / 2 * 4);
        b[128 + 32 * h + l] |= (uint8_t)(code >> 4 << 2 * k);
    }
}

/* The table. Ascending by id: it is searched by halves. */

struct row {
    struct vs_dtype_info info;
    void (*decode)(const uint8_t *block, float *x);
    void (*encode)(const float *x, uint8_t *block);              /* block comes zeroed */
};

#define RUN(id, name, len, bytes, code) { { id, name, len, bytes, 0, true, false }, decode_##code, encode_##code }
#define INDEXED(id, name, len, bytes) { { id, name, len, bytes, 0, true, false }, NULL, NULL }
#define SEE(id, name, len, bytes, row_extra) { { id, name, len, bytes, row_extra, false, false }, NULL, NULL }
#define NO(id, name) { { id, name, 1, 1, 0, false, true }, NULL, NULL }

static const struct row rows[] = {
    RUN(VS_F32, "F32", 1, 4, f32),          RUN(VS_F16, "F16", 1, 2, f16),
    RUN(VS_Q4_0, "Q4_0", 32, 18, q4_0),     RUN(VS_Q4_1, "Q4_1", 32, 20, q4_1),
    NO(4, "Q4_2"),                          NO(5, "Q4_3"),
    RUN(VS_Q5_0, "Q5_0", 32, 22, q5_0),     RUN(VS_Q5_1, "Q5_1", 32, 24, q5_1),
    RUN(VS_Q8_0, "Q8_0", 32, 34, q8_0),     INDEXED(VS_Q8_1, "Q8_1", 32, 36),
    RUN(VS_Q2_K, "Q2_K", 256, 84, q2_k),    RUN(VS_Q3_K, "Q3_K", 256, 110, q3_k),
    RUN(VS_Q4_K, "Q4_K", 256, 144, q4_k),   RUN(VS_Q5_K, "Q5_K", 256, 176, q5_k),
    RUN(VS_Q6_K, "Q6_K", 256, 210, q6_k),   NO(15, "Q8_K"),
    INDEXED(VS_IQ2_XXS, "IQ2_XXS", 256, 66), INDEXED(VS_IQ2_XS, "IQ2_XS", 256, 74),
    INDEXED(VS_IQ3_XXS, "IQ3_XXS", 256, 98), INDEXED(VS_IQ1_S, "IQ1_S", 256, 50),
    INDEXED(VS_IQ4_NL, "IQ4_NL", 32, 18),   INDEXED(VS_IQ3_S, "IQ3_S", 256, 110),
    INDEXED(VS_IQ2_S, "IQ2_S", 256, 82),    INDEXED(VS_IQ4_XS, "IQ4_XS", 256, 136),
    SEE(24, "I8", 1, 1, 0),                 SEE(25, "I16", 1, 2, 0),
    SEE(26, "I32", 1, 4, 0),                SEE(27, "I64", 1, 8, 0),
    SEE(28, "F64", 1, 8, 0),                INDEXED(VS_IQ1_M, "IQ1_M", 256, 56),
    RUN(VS_BF16, "BF16", 1, 2, bf16),
    NO(31, "Q4_0_4_4"),                     NO(32, "Q4_0_4_8"),                     NO(33, "Q4_0_8_8"),
    INDEXED(VS_TQ1_0, "TQ1_0", 256, 54),    INDEXED(VS_TQ2_0, "TQ2_0", 256, 66),
    NO(36, "IQ4_NL_4_4 or I2_S"),           NO(37, "IQ4_NL_4_8"),                   NO(38, "IQ4_NL_8_8"),
    INDEXED(VS_MXFP4, "MXFP4", 32, 17),     INDEXED(VS_NVFP4, "NVFP4", 64, 36),
    INDEXED(VS_Q1_0, "Q1_0", 128, 18),      INDEXED(VS_Q2_0, "Q2_0", 64, 18),
    NO(97, "Q8_0_X4"),                      NO(98, "Q8_1_X4"),                      NO(99, "Q8_2_X4"),
    INDEXED(VS_Q6_0, "Q6_0", 32, 26),       SEE(134, "IQ1_BN", 64, 13, 2),          SEE(135, "IQ2_BN", 64, 16, 4),
    NO(136, "Q8_K64"),
    SEE(137, "IQ2_K", 256, 76, 0),          SEE(138, "IQ3_K", 256, 110, 0),         SEE(139, "IQ4_K", 256, 144, 0),
    SEE(140, "IQ5_K", 256, 176, 0),         SEE(141, "IQ6_K", 256, 212, 0),
    SEE(144, "IQ4_KS", 256, 136, 4),        SEE(145, "IQ2_KS", 256, 70, 2),         SEE(146, "IQ4_KSS", 256, 128, 4),
    NO(147, "Q8_K16"),                      NO(148, "Q8_K32"),                      NO(149, "Q8_KR8"),
    NO(150, "Q8_K128"),                     SEE(151, "Q8_KV", 1, 1, 8),
    SEE(152, "IQ5_KS", 256, 168, 4),        SEE(153, "IQ2_KT", 256, 68, 4),         SEE(154, "IQ3_KT", 256, 100, 4),
    SEE(155, "IQ4_KT", 256, 128, 4),        SEE(156, "IQ3_KS", 256, 102, 2),        SEE(157, "IQ2_KL", 256, 86, 2),
    SEE(158, "IQ1_KT", 256, 56, 4),
};

static const struct row *find(uint32_t id)
{
    size_t lo = 0, hi = sizeof rows / sizeof *rows;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (rows[mid].info.id == id)
            return &rows[mid];
        if (rows[mid].info.id < id)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

const struct vs_dtype_info *vs_dtype_info(uint32_t id)
{
    const struct row *row = find(id);
    return row ? &row->info : NULL;
}

const struct vs_dtype_info *vs_dtype_at(size_t i)
{
    return i < sizeof rows / sizeof *rows ? &rows[i].info : NULL;
}

static void decode_indexed(const struct vs_indexed *t, const uint8_t *block, uint32_t len, float *x)
{
    for (unsigned run = 0; run < len / 32; run++) {
        uint32_t words[8];
        t->codes(block, run, words);
        for (unsigned i = 0; i < 32; i++) {
            unsigned code = words[i / 4] >> i % 4 * 8 & 255, at = 32 * run + i;
            uint8_t sub = t->sub_len ? t->sub(block, at / t->sub_len) : 0;
            int v = t->offset ? (int)code - t->offset : t->values[code];
            x[at] = vs_indexed_scale(t->scale, t->d(block), sub) * (float)v;
        }
    }
}

void vs_dequantize(enum vs_dtype dtype, const void *src, float *dst, size_t n)
{
    const struct row *row = find(dtype);
    const struct vs_indexed *indexed = row->decode ? NULL : vs_indexed_of(dtype);
    assert((row->decode || indexed) && n % row->info.block_len == 0);
    const uint8_t *block = src;
    for (size_t i = 0; i < n; i += row->info.block_len, block += row->info.block_bytes) {
        if (indexed)
            decode_indexed(indexed, block, row->info.block_len, dst + i);
        else
            row->decode(block, dst + i);
    }
}

void vs_quantize(enum vs_dtype dtype, const float *src, void *dst, size_t n)
{
    const struct row *row = find(dtype);
    assert((row->encode || row->info.computable) && n % row->info.block_len == 0);
    uint8_t *block = dst;
    for (size_t i = 0; i < n; i += row->info.block_len, block += row->info.block_bytes) {
        memset(block, 0, row->info.block_bytes);
        if (row->encode)
            row->encode(src + i, block);
        else
            vs_indexed_encode(dtype, src + i, block);
    }
}
