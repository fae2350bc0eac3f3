/* tensor/indexed.c - see indexed.h */
#include "tensor/indexed.h"
#include "tensor/grids.h"

#include "base/bytes.h"

#include <string.h>

enum { NIBBLES = 0x0f0f0f0f, CRUMBS = 0x03030303, BITS = 0x01010101 };

static uint32_t word_at(const uint8_t *p)
{
    return vs_load_u32le(p);
}

/* Four values of two or three bits, or four bits, to the low ends of four bytes. */
static uint32_t spread_crumbs(uint32_t v)
{
    return (v | v << 6 | v << 12 | v << 18) & CRUMBS;
}

static uint32_t spread_octals(uint32_t v)
{
    return (v & 7) | (v & 0x38) << 5 | (v & 0x1c0) << 10 | (v & 0xe00) << 15;
}

static uint32_t spread_bits(uint32_t v)
{
    return ((v & 15) * 0x00204081u) & BITS;
}

/* Eight signs of seven bits: the last makes the number of minuses even. */
static uint32_t signs_of(uint32_t i)
{
    i &= 127;
    return i | (uint32_t)__builtin_parity(i) << 7;
}

/* Eight elements of a grid with two bits each, and above them eight more bits (signs). */
static void put_crumbs(uint32_t code[2], uint16_t entry, uint32_t signs)
{
    for (int i = 0; i < 2; i++)
        code[i] = spread_crumbs(entry >> 8 * i & 255) | spread_bits(signs >> 4 * i) << 2;
}

/* The same of two entries of four times three bits. */
static void put_octals(uint32_t code[2], uint16_t first, uint16_t second, uint32_t signs)
{
    code[0] = spread_octals(first) | spread_bits(signs) << 3;
    code[1] = spread_octals(second) | spread_bits(signs >> 4) << 3;
}

/* Nibbles of 16 bytes: low ones are elements 0..15, high ones 16..31. */
static void split_nibbles(const uint8_t *qs, uint32_t code[8])
{
    for (int g = 0; g < 4; g++) {
        uint32_t w = word_at(qs + 4 * g);
        code[g] = w & NIBBLES;
        code[4 + g] = w >> 4 & NIBBLES;
    }
}

static uint16_t d_first(const uint8_t *b)
{
    return vs_load_u16le(b);
}

static uint8_t nibble(const uint8_t *p, unsigned i)
{
    return p[i / 2] >> i % 2 * 4 & 15;
}

/* ---- blocks of 32 to 128 ---- */

static void codes_iq4_nl(const uint8_t *b, unsigned run, uint32_t code[8])       /* f16 d; qs[16] */
{
    (void)run;
    split_nibbles(b + 2, code);
}

static void codes_mxfp4(const uint8_t *b, unsigned run, uint32_t code[8])        /* u8 e; qs[16] */
{
    (void)run;
    split_nibbles(b + 1, code);
}

static uint16_t d_mxfp4(const uint8_t *b)
{
    return b[0];
}

static void codes_nvfp4(const uint8_t *b, unsigned run, uint32_t code[8])        /* u8 d[4]; qs[32]: 8 bytes for 16 elements */
{
    for (int g = 0; g < 8; g++)
        code[g] = word_at(b + 4 + 16 * run + 8 * (g / 4) + 4 * (g % 2)) >> g % 4 / 2 * 4 & NIBBLES;
}

static uint16_t d_none(const uint8_t *b)
{
    (void)b;
    return 0;
}

static uint8_t sub_nvfp4(const uint8_t *b, unsigned i)           /* as a panel keeps it: no sign, and what means 0 is 0 */
{
    return b[i] == 127 ? 0 : b[i] & 127;
}

static void codes_q8_1(const uint8_t *b, unsigned run, uint32_t code[8])         /* f16 d, s; i8 qs[32] */
{
    (void)run;
    for (int g = 0; g < 8; g++)
        code[g] = word_at(b + 4 + 4 * g) ^ 0x80808080u;
}

static void codes_q6_0(const uint8_t *b, unsigned run, uint32_t code[8])         /* f16 d; qh[8]; qs[16] */
{
    (void)run;
    split_nibbles(b + 10, code);
    for (int g = 0; g < 8; g++) {                                /* qh[j % 8]: low nibble for j < 8, low pair for i < 16 */
        uint32_t h = word_at(b + 2 + 4 * (g % 2)) >> g % 4 / 2 * 4;
        code[g] |= (h >> g / 4 * 2 & CRUMBS) << 4;
    }
}

static void codes_q2_0(const uint8_t *b, unsigned run, uint32_t code[8])         /* f16 d; qs[16]: element 4b + i is pair i */
{
    for (int g = 0; g < 8; g++)
        code[g] = spread_crumbs(b[2 + 8 * run + (unsigned)g]);
}

static void codes_q1_0(const uint8_t *b, unsigned run, uint32_t code[8])         /* f16 d; qs[16]: element 8b + i is bit i */
{
    for (int g = 0; g < 8; g++)
        code[g] = spread_bits((uint32_t)b[2 + 4 * run + (unsigned)g / 2] >> g % 2 * 4);
}

/* ---- blocks of 256 ---- */

static uint16_t d_at_64(const uint8_t *b)
{
    return vs_load_u16le(b + 64);
}

static void codes_tq2_0(const uint8_t *b, unsigned run, uint32_t code[8])        /* qs[64]; f16 d */
{
    for (int g = 0; g < 8; g++)
        code[g] = word_at(b + 32 * (run / 4) + 4 * g) >> run % 4 * 2 & CRUMBS;
}

static uint16_t d_tq1_0(const uint8_t *b)
{
    return vs_load_u16le(b + 52);
}

static uint8_t digit(uint8_t b, unsigned n)                      /* of base 3, the highest first */
{
    static const uint8_t power[5] = { 1, 3, 9, 27, 81 };
    return (uint8_t)((uint8_t)(b * power[n]) * 3 >> 8);
}

static void codes_tq1_0(const uint8_t *b, unsigned run, uint32_t code[8])        /* qs[48]; qh[4]; f16 d */
{
    uint8_t q[32];
    for (unsigned i = 0; i < 32; i++) {
        if (run < 5)                                             /* five digits of 32 bytes */
            q[i] = digit(b[i], run);
        else if (run < 7 || i < 16)                              /* five of 16 */
            q[i] = digit(b[32 + i % 16], 2 * (run - 5) + i / 16);
        else                                                     /* four of 4 */
            q[i] = digit(b[48 + i % 4], (i - 16) / 4);
    }
    for (int g = 0; g < 8; g++)
        code[g] = word_at(q + 4 * g);
}

static void codes_iq4_xs(const uint8_t *b, unsigned run, uint32_t code[8])       /* f16 d; u16 scales_h; scales_l[4]; qs[128] */
{
    split_nibbles(b + 8 + 16 * run, code);
}

static uint8_t sub_iq4_xs(const uint8_t *b, unsigned i)
{
    int code = nibble(b + 4, i) | (vs_load_u16le(b + 2) >> 2 * i & 3) << 4;
    return (uint8_t)(code - 32);
}

static void codes_iq2_xxs(const uint8_t *b, unsigned run, uint32_t code[8])      /* f16 d; 8 x (index[4]; u32 signs and scale) */
{
    const uint8_t *at = b + 2 + 8 * run;
    uint32_t w = word_at(at + 4);
    for (int l = 0; l < 4; l++)
        put_crumbs(code + 2 * l, vs_grid_iq2_xxs[at[l]], signs_of(w >> 7 * l));
}

static uint8_t sub_iq2_xxs(const uint8_t *b, unsigned i)
{
    return b[2 + 8 * i + 7] >> 4;
}

static void codes_iq2_xs(const uint8_t *b, unsigned run, uint32_t code[8])       /* f16 d; u16 qs[32]; scales[8] */
{
    for (unsigned l = 0; l < 4; l++) {
        uint16_t q = vs_load_u16le(b + 2 + 8 * run + 2 * l);
        put_crumbs(code + 2 * l, vs_grid_iq2_xs[q & 511], signs_of(q >> 9));
    }
}

static uint8_t sub_iq2_xs(const uint8_t *b, unsigned i)
{
    return nibble(b + 66, i);
}

static void codes_iq2_s(const uint8_t *b, unsigned run, uint32_t code[8])        /* f16 d; qs[32]; signs[32]; qh[8]; scales[8] */
{
    for (unsigned l = 0; l < 4; l++) {
        unsigned index = b[2 + 4 * run + l] | (b[66 + run] >> 2 * l & 3u) << 8;
        put_crumbs(code + 2 * l, vs_grid_iq2_s[index], b[34 + 4 * run + l]);
    }
}

static uint8_t sub_iq2_s(const uint8_t *b, unsigned i)
{
    return nibble(b + 74, i);
}

static void codes_iq3_xxs(const uint8_t *b, unsigned run, uint32_t code[8])      /* f16 d; qs[64]; 8 x u32 signs and scale */
{
    const uint8_t *q = b + 2 + 8 * run;
    uint32_t w = word_at(b + 66 + 4 * run);
    for (int l = 0; l < 4; l++)
        put_octals(code + 2 * l, vs_grid_iq3_xxs[q[2 * l]], vs_grid_iq3_xxs[q[2 * l + 1]], signs_of(w >> 7 * l));
}

static uint8_t sub_iq3_xxs(const uint8_t *b, unsigned i)
{
    return b[66 + 4 * i + 3] >> 4;
}

static void codes_iq3_s(const uint8_t *b, unsigned run, uint32_t code[8])        /* f16 d; qs[64]; qh[8]; signs[32]; scales[4] */
{
    const uint8_t *q = b + 2 + 8 * run;
    unsigned high = b[66 + run];
    for (unsigned l = 0; l < 4; l++)
        put_octals(code + 2 * l, vs_grid_iq3_s[q[2 * l] | (high >> 2 * l & 1) << 8],
                   vs_grid_iq3_s[q[2 * l + 1] | (high >> (2 * l + 1) & 1) << 8], b[74 + 4 * run + l]);
}

static uint8_t sub_iq3_s(const uint8_t *b, unsigned i)
{
    return nibble(b + 106, i);
}

static void codes_iq1_s(const uint8_t *b, unsigned run, uint32_t code[8])        /* f16 d; qs[32]; u16 qh[8] */
{
    unsigned h = vs_load_u16le(b + 34 + 2 * run);
    for (unsigned l = 0; l < 4; l++)
        put_crumbs(code + 2 * l, vs_grid_iq1[b[2 + 4 * run + l] | (h >> 3 * l & 7) << 8], h >> 15 ? 255 : 0);
}

static uint8_t sub_iq1_s(const uint8_t *b, unsigned i)
{
    return vs_load_u16le(b + 34 + 2 * i) >> 12 & 7;
}

static void codes_iq1_m(const uint8_t *b, unsigned run, uint32_t code[8])        /* qs[32]; qh[16]; scales[8] */
{
    for (unsigned l = 0; l < 4; l++) {
        unsigned h = nibble(b + 32, 4 * run + l);
        put_crumbs(code + 2 * l, vs_grid_iq1[b[4 * run + l] | (h & 7) << 8], h >> 3 ? 255 : 0);
    }
}

static uint16_t d_iq1_m(const uint8_t *b)                        /* the top nibbles of four words */
{
    unsigned d = 0;
    for (int i = 0; i < 4; i++)
        d |= (unsigned)(b[48 + 2 * i + 1] >> 4) << 4 * i;
    return (uint16_t)d;
}

static uint8_t sub_iq1_m(const uint8_t *b, unsigned i)
{
    return vs_load_u16le(b + 48 + 2 * (i / 4)) >> 3 * (i % 4) & 7;
}

/* ---- the table ---- */

#define FOURS { -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113 }
#define E2M1 { 0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12 }        /* doubled */
#define TWOS { 8, 25, 43, 0, -8, -25, -43, 0 }
#define ONES { -7, 1, 9, 0, -9, -1, 7, 0 }                       /* eighths: -1, 0, 1 and an eighth more or less */
#define TERNARY { -1, 0, 1, 2 }
/* IQ3: what the format multiplies with odd halves and quarters of d, doubled and halved, so that both are d * (s + 1/2) */
#define THREES_S { 2, 6, 10, 14, 18, 22, 26, 30, -2, -6, -10, -14, -18, -22, -26, -30 }
#define THREES_XXS { 2, 6, 10, 14, 18, 22, 26, 31, -2, -6, -10, -14, -18, -22, -26, -31 }

static const struct vs_indexed types[] = {
    { VS_IQ4_NL,  4, 0,   VS_SCALE_D,       0,  codes_iq4_nl,  d_first, NULL,        FOURS },
    { VS_MXFP4,   4, 0,   VS_SCALE_E8M0,    0,  codes_mxfp4,   d_mxfp4, NULL,        E2M1 },
    { VS_NVFP4,   4, 0,   VS_SCALE_E4M3,    16, codes_nvfp4,   d_none,  sub_nvfp4,   E2M1 },
    { VS_IQ4_XS,  4, 0,   VS_SCALE_SIGNED,  32, codes_iq4_xs,  d_first, sub_iq4_xs,  FOURS },
    { VS_IQ3_S,   4, 0,   VS_SCALE_HALVES,  32, codes_iq3_s,   d_first, sub_iq3_s,   THREES_S },
    { VS_IQ3_XXS, 4, 0,   VS_SCALE_HALVES,  32, codes_iq3_xxs, d_first, sub_iq3_xxs, THREES_XXS },
    { VS_IQ2_XXS, 3, 0,   VS_SCALE_EIGHTHS, 32, codes_iq2_xxs, d_first, sub_iq2_xxs, TWOS },
    { VS_IQ2_XS,  3, 0,   VS_SCALE_EIGHTHS, 16, codes_iq2_xs,  d_first, sub_iq2_xs,  TWOS },
    { VS_IQ2_S,   3, 0,   VS_SCALE_EIGHTHS, 16, codes_iq2_s,   d_first, sub_iq2_s,   TWOS },
    { VS_IQ1_S,   3, 0,   VS_SCALE_EIGHTHS, 32, codes_iq1_s,   d_first, sub_iq1_s,   ONES },
    { VS_IQ1_M,   3, 0,   VS_SCALE_EIGHTHS, 16, codes_iq1_m,   d_iq1_m, sub_iq1_m,   ONES },
    { VS_TQ1_0,   2, 0,   VS_SCALE_D,       0,  codes_tq1_0,   d_tq1_0, NULL,        TERNARY },
    { VS_TQ2_0,   2, 0,   VS_SCALE_D,       0,  codes_tq2_0,   d_at_64, NULL,        TERNARY },
    { VS_Q2_0,    2, 0,   VS_SCALE_D,       0,  codes_q2_0,    d_first, NULL,        TERNARY },
    { VS_Q1_0,    1, 0,   VS_SCALE_D,       0,  codes_q1_0,    d_first, NULL,        { -1, 1 } },
    { VS_Q6_0,    6, 32,  VS_SCALE_D,       0,  codes_q6_0,    d_first, NULL,        { 0 } },
    { VS_Q8_1,    8, 128, VS_SCALE_D,       0,  codes_q8_1,    d_first, NULL,        { 0 } },
};

const struct vs_indexed *vs_indexed_of(enum vs_dtype dtype)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i].dtype == dtype)
            return &types[i];
    return NULL;
}

static float float_of(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

float vs_indexed_scale(enum vs_scale scale, uint16_t d, uint8_t sub)
{
    switch (scale) {
    case VS_SCALE_E8M0:                                          /* the two least are denormal */
        return float_of(d < 2 ? 0x00200000u << d : (uint32_t)(d - 1) << 23);
    case VS_SCALE_E4M3:                                          /* the same bits in an f16 mean 2^-8 of it */
        return vs_f16_to_f32((uint16_t)(sub << 7)) * 128.0f;
    case VS_SCALE_HALVES:
        return vs_f16_to_f32(d) * ((float)sub + 0.5f);
    case VS_SCALE_EIGHTHS:
        return vs_f16_to_f32(d) * ((float)sub * 0.25f + 0.125f);
    case VS_SCALE_SIGNED:
        return vs_f16_to_f32(d) * (float)(int8_t)sub;
    default:
        return vs_f16_to_f32(d);
    }
}

static bool is_sound(const struct vs_indexed *t, const uint8_t *block)
{
    if (t->scale == VS_SCALE_E8M0)
        return block[0] != 255;
    if (t->scale == VS_SCALE_E4M3)
        return block[0] != 255 && block[1] != 255 && block[2] != 255 && block[3] != 255;
    return (t->d(block) & 0x7c00) != 0x7c00;
}

bool vs_indexed_sound(const struct vs_indexed *t, const uint8_t *blocks, size_t n)
{
    size_t step = vs_dtype_info((uint32_t)t->dtype)->block_bytes;
    for (size_t i = 0; i < n; i++)
        if (!is_sound(t, blocks + i * step))
            return false;
    return true;
}
