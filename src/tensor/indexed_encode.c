/* tensor/indexed_encode.c - blocks of the types of indexed.h from values: what the tests' models are made of.
 *
 * The largest value of a run sets its scale, and each group of elements takes the entry that lies nearest. Grids are searched
 * whole. Blocks come zeroed.
 */
#include "tensor/indexed.h"
#include "tensor/grids.h"

#include "base/bytes.h"

#include <assert.h>

static float size_of(float x)
{
    return x < 0 ? -x : x;
}

static float largest(const float *x, unsigned n)
{
    float m = 0;
    for (unsigned i = 0; i < n; i++)
        if (size_of(x[i]) > m)
            m = size_of(x[i]);
    return m;
}

static int nearest_int(float v, int lo, int hi)                  /* NaN gives lo */
{
    if (!(v > (float)lo))
        return lo;
    if (v > (float)hi)
        return hi;
    return (int)((v + 0x1.8p23f) - 0x1.8p23f);
}

static float over(float a, float b)
{
    return b != 0 ? a / b : 0;
}

static void put_d(uint8_t *p, float d)
{
    vs_store_u16le(p, vs_f32_to_f16(d));
}

/* The place of the value of the list that is nearest to x / scale. */
static unsigned nearest(const struct vs_indexed *t, float x, float scale)
{
    float v = over(x, scale);
    if (t->bits > 4)
        return (unsigned)(nearest_int(v, -(int)t->offset, (int)t->offset - 1) + t->offset);
    unsigned best = 0;
    for (unsigned i = 1; i < 1u << t->bits; i++)
        if (size_of(v - (float)t->values[i]) < size_of(v - (float)t->values[best]))
            best = i;
    return best;
}

/* ---- types without a grid: one code for each element ---- */

void vs_indexed_put(enum vs_dtype dtype, uint8_t *b, unsigned i, unsigned q)
{
    unsigned j = i % 16, high = i / 16 % 2 * 4;
    switch (dtype) {
    case VS_IQ4_NL: b[2 + j] |= (uint8_t)(q << high); return;
    case VS_MXFP4: b[1 + j] |= (uint8_t)(q << high); return;
    case VS_IQ4_XS: b[8 + 16 * (i / 32) + j] |= (uint8_t)(q << high); return;
    case VS_NVFP4: b[4 + i / 16 * 8 + i % 8] |= (uint8_t)(q << i / 8 % 2 * 4); return;
    case VS_TQ2_0: b[32 * (i / 128) + i % 32] |= (uint8_t)(q << i / 32 % 4 * 2); return;
    case VS_Q2_0: b[2 + i / 4] |= (uint8_t)(q << i % 4 * 2); return;
    case VS_Q1_0: b[2 + i / 8] |= (uint8_t)(q << i % 8); return;
    case VS_Q8_1: b[4 + i] = (uint8_t)(q ^ 128); return;
    case VS_Q6_0:
        b[10 + j] |= (uint8_t)((q & 15) << high);
        b[2 + j % 8] |= (uint8_t)(q >> 4 << (j / 8 * 4 + i / 16 * 2));
        return;
    default: assert(!"a type without a grid");
    }
}

/* Three to the fifth fit a byte: the digits d[0] .. d[n - 1] as a fraction of 256, rounded up. */
static uint8_t ternary_byte(const uint8_t *d, unsigned n, unsigned step)
{
    unsigned v = 0;
    for (unsigned i = 0; i < 5; i++)
        v = 3 * v + (i < n ? d[i * step] : 0);
    return (uint8_t)((v * 256 + 242) / 243);
}

static void encode_tq1_0(const float *x, float d, uint8_t *b)
{
    uint8_t q[256];
    for (int i = 0; i < 256; i++)
        q[i] = (uint8_t)(nearest_int(over(x[i], d), -1, 1) + 1);
    for (int i = 0; i < 32; i++)
        b[i] = ternary_byte(q + i, 5, 32);
    for (int i = 0; i < 16; i++)
        b[32 + i] = ternary_byte(q + 160 + i, 5, 16);
    for (int i = 0; i < 4; i++)
        b[48 + i] = ternary_byte(q + 240 + i, 4, 4);
    put_d(b + 52, d);
}

static float mean_size(const float *x, unsigned n)
{
    float sum = 0;
    for (unsigned i = 0; i < n; i++)
        sum += size_of(x[i]);
    return sum / (float)n;
}

/* The exponent that puts 4 to 8 times its power on the largest; 0 .. 252. */
static uint8_t exponent_for(float m)
{
    union { float f; uint32_t u; } v = { m };
    uint32_t e = v.u >> 23;
    return (uint8_t)(e < 2 ? 0 : e > 254 ? 252 : e - 2);
}

static uint8_t e4m3_near(float scale)
{
    uint8_t best = 0;
    for (uint8_t s = 1; s < 127; s++)
        if (size_of(vs_indexed_scale(VS_SCALE_E4M3, 0, s) - scale)
            < size_of(vs_indexed_scale(VS_SCALE_E4M3, 0, best) - scale))
            best = s;
    return best;
}

static void encode_iq4_xs_scales(const float *x, uint8_t *b)
{
    float scale[8], most = 0;
    for (int r = 0; r < 8; r++) {
        scale[r] = largest(x + 32 * r, 32) / 113;
        most = scale[r] > most ? scale[r] : most;
    }
    put_d(b, most / 31);
    unsigned high = 0;
    for (unsigned r = 0; r < 8; r++) {
        unsigned s = (unsigned)nearest_int(over(scale[r], vs_f16_to_f32(vs_load_u16le(b))), -32, 31) + 32;
        b[4 + r / 2] |= (uint8_t)((s & 15) << r % 2 * 4);
        high |= s >> 4 << 2 * r;
    }
    vs_store_u16le(b + 2, (uint16_t)high);
}

static void encode_scales(const struct vs_indexed *t, const float *x, unsigned n, uint8_t *b)
{
    float m = largest(x, n);
    switch (t->dtype) {
    case VS_IQ4_NL: put_d(b, m / 113); return;
    case VS_MXFP4: b[0] = exponent_for(m); return;
    case VS_IQ4_XS: encode_iq4_xs_scales(x, b); return;
    case VS_NVFP4:
        for (int i = 0; i < 4; i++)
            b[i] = e4m3_near(largest(x + 16 * i, 16) / 12);
        return;
    case VS_TQ2_0: put_d(b + 64, m); return;
    case VS_Q1_0: put_d(b, mean_size(x, n)); return;
    case VS_Q6_0: put_d(b, m / 31); return;
    case VS_Q8_1: put_d(b, m / 127); return;
    default: put_d(b, m); return;
    }
}

static void encode_codes(const struct vs_indexed *t, const float *x, unsigned n, uint8_t *b)
{
    for (unsigned i = 0; i < n; i++) {
        uint8_t sub = t->sub ? t->sub(b, i / t->sub_len) : 0;
        vs_indexed_put(t->dtype, b, i, nearest(t, x[i], vs_indexed_scale(t->scale, t->d(b), sub)));
    }
    if (t->dtype == VS_Q8_1) {
        float sum = 0;
        for (unsigned i = 0; i < n; i++)
            sum += (float)(int8_t)b[4 + i];
        put_d(b + 2, vs_f16_to_f32(t->d(b)) * sum);
    }
}

/* ---- types with a grid ---- */

struct grid {
    const uint16_t *entry;
    unsigned n, len, bits;              /* entries; elements of one; bits of an element */
};

/* The entry nearest to v[len], whose elements are places in values. */
static unsigned nearest_entry(const struct grid *g, const int8_t *values, const float *v)
{
    unsigned best = 0;
    float least = 0;
    for (unsigned e = 0; e < g->n; e++) {
        float sum = 0;
        for (unsigned i = 0; i < g->len; i++) {
            float off = v[i] - (float)values[g->entry[e] >> g->bits * i & ((1u << g->bits) - 1)];
            sum += off * off;
        }
        if (e == 0 || sum < least) {
            least = sum;
            best = e;
        }
    }
    return best;
}

/* Signs of eight elements; with `even` the smallest gives way where their number is odd. v gets what is left to match. */
static unsigned take_signs(float v[8], bool even)
{
    unsigned signs = 0, smallest = 0;
    for (unsigned i = 0; i < 8; i++) {
        signs |= (unsigned)(v[i] < 0) << i;
        v[i] = size_of(v[i]);
        if (v[i] < v[smallest])
            smallest = i;
    }
    if (even && __builtin_parity(signs)) {
        signs ^= 1u << smallest;
        v[smallest] = -v[smallest];
    }
    return signs;
}

/* Sub-scales s = 0..15 under one d: scale = d * (s + 1/2) * unit. */
static float grid_scales(const float *x, unsigned len, float most, float unit, unsigned top, uint8_t *ret_s)
{
    float scale[16], greatest = 0;
    for (unsigned r = 0; r < 256 / len; r++) {
        scale[r] = largest(x + len * r, len) / most / unit;
        greatest = scale[r] > greatest ? scale[r] : greatest;
    }
    float d = vs_f16_to_f32(vs_f32_to_f16(greatest / ((float)top + 0.5f)));
    for (unsigned r = 0; r < 256 / len; r++)
        ret_s[r] = (uint8_t)nearest_int(over(scale[r], d) - 0.5f, 0, (int)top);
    return d;
}

static void put_nibble(uint8_t *p, unsigned i, unsigned v)
{
    p[i / 2] |= (uint8_t)(v << i % 2 * 4);
}

static void encode_iq2(const struct vs_indexed *t, const float *x, uint8_t *b)
{
    static const struct grid xxs = { vs_grid_iq2_xxs, 256, 8, 2 }, xs = { vs_grid_iq2_xs, 512, 8, 2 },
                             s = { vs_grid_iq2_s, 1024, 8, 2 };
    const struct grid *g = t->dtype == VS_IQ2_XXS ? &xxs : t->dtype == VS_IQ2_XS ? &xs : &s;
    uint8_t sub[16];
    float d = grid_scales(x, t->sub_len, 43, 0.25f, 15, sub);
    put_d(b, d);
    for (unsigned i = 0; i < 256u / t->sub_len; i++)
        if (t->dtype == VS_IQ2_XXS)
            b[2 + 8 * i + 7] |= (uint8_t)(sub[i] << 4);
        else
            put_nibble(b + (t->dtype == VS_IQ2_XS ? 66 : 74), i, sub[i]);
    for (unsigned group = 0; group < 32; group++) {
        float v[8], scale = vs_indexed_scale(t->scale, t->d(b), sub[8 * group / t->sub_len]);
        for (unsigned i = 0; i < 8; i++)
            v[i] = over(x[8 * group + i], scale);
        unsigned signs = take_signs(v, t->dtype != VS_IQ2_S), e = nearest_entry(g, t->values, v);
        if (t->dtype == VS_IQ2_XXS) {
            uint8_t *at = b + 2 + 8 * (group / 4);
            at[group % 4] = (uint8_t)e;
            vs_store_u32le(at + 4, vs_load_u32le(at + 4) | (signs & 127) << 7 * (group % 4));
        } else if (t->dtype == VS_IQ2_XS) {
            vs_store_u16le(b + 2 + 2 * group, (uint16_t)(e | (signs & 127) << 9));
        } else {
            b[2 + group] = (uint8_t)e;
            b[34 + group] = (uint8_t)signs;
            b[66 + group / 4] |= (uint8_t)(e >> 8 << group % 4 * 2);
        }
    }
}

static void encode_iq3(const struct vs_indexed *t, const float *x, uint8_t *b)
{
    static const struct grid xxs = { vs_grid_iq3_xxs, 256, 4, 3 }, s = { vs_grid_iq3_s, 512, 4, 3 };
    const bool small = t->dtype == VS_IQ3_XXS;
    uint8_t sub[16];
    put_d(b, grid_scales(x, 32, small ? 31 : 30, 1, 15, sub));
    for (unsigned i = 0; i < 8; i++)
        if (small)
            b[66 + 4 * i + 3] |= (uint8_t)(sub[i] << 4);
        else
            put_nibble(b + 106, i, sub[i]);
    for (unsigned group = 0; group < 32; group++) {
        float v[8], scale = vs_indexed_scale(t->scale, t->d(b), sub[group / 4]);
        for (unsigned i = 0; i < 8; i++)
            v[i] = over(x[8 * group + i], scale);
        unsigned signs = take_signs(v, small);
        for (unsigned half = 0; half < 2; half++) {
            unsigned e = nearest_entry(small ? &xxs : &s, t->values, v + 4 * half), at = 2 * group + half;
            b[2 + at] = (uint8_t)e;
            if (!small)
                b[66 + at / 8] |= (uint8_t)(e >> 8 << at % 8);
        }
        if (small)
            vs_store_u32le(b + 66 + 4 * (group / 4), vs_load_u32le(b + 66 + 4 * (group / 4)) | (signs & 127) << 7 * (group % 4));
        else
            b[74 + group] = (uint8_t)signs;
    }
}

static void encode_iq1(const struct vs_indexed *t, const float *x, uint8_t *b)
{
    static const struct grid g = { vs_grid_iq1, 2048, 8, 2 };
    uint8_t sub[16];
    float d = grid_scales(x, t->sub_len, 9, 0.25f, 7, sub);
    uint16_t h = vs_f32_to_f16(d), words[8] = { 0 };
    for (unsigned group = 0; group < 32; group++) {
        float v[8], scale = vs_indexed_scale(t->scale, h, sub[8 * group / t->sub_len]);
        for (unsigned i = 0; i < 8; i++)
            v[i] = over(x[8 * group + i], scale);
        unsigned e = nearest_entry(&g, t->values, v);            /* an eighth is always added, never taken */
        if (t->dtype == VS_IQ1_S) {
            b[2 + group] = (uint8_t)e;
            words[group / 4] |= (uint16_t)(e >> 8 << 3 * (group % 4) | (unsigned)sub[group / 4] << 12);
        } else {
            b[group] = (uint8_t)e;
            put_nibble(b + 32, group, e >> 8);
            words[group / 8] |= (uint16_t)((unsigned)sub[group / 2] << 3 * (group / 2 % 4));
        }
    }
    for (unsigned i = 0; i < 8 && t->dtype == VS_IQ1_S; i++)
        vs_store_u16le(b + 34 + 2 * i, words[i]);
    for (unsigned i = 0; i < 4 && t->dtype == VS_IQ1_M; i++)
        vs_store_u16le(b + 48 + 2 * i, (uint16_t)(words[i] | (h >> 4 * i & 15) << 12));
    if (t->dtype == VS_IQ1_S)
        vs_store_u16le(b, h);
}

void vs_indexed_encode(enum vs_dtype dtype, const float *x, uint8_t *b)
{
    const struct vs_indexed *t = vs_indexed_of(dtype);
    unsigned n = vs_dtype_info((uint32_t)dtype)->block_len;
    switch (dtype) {
    case VS_TQ1_0: encode_tq1_0(x, vs_f16_to_f32(vs_f32_to_f16(largest(x, n))), b); return;
    case VS_IQ2_XXS: case VS_IQ2_XS: case VS_IQ2_S: encode_iq2(t, x, b); return;
    case VS_IQ3_XXS: case VS_IQ3_S: encode_iq3(t, x, b); return;
    case VS_IQ1_S: case VS_IQ1_M: encode_iq1(t, x, b); return;
    default:
        encode_scales(t, x, n, b);
        encode_codes(t, x, n, b);
    }
}
