/* cpu/matmul_avx512.c - matrices on AVX-512 VNNI: one vector is the 16 rows of a panel, vpdpbusd takes four k of each.
 *
 * A tile is 16 rows and NC columns (rows of x), NC up to 8. vpdpbusd adds in 32 bits without saturation; the offset of
 * a format sits in the accumulator's start. Layout: cpu/matrix.h. Same chains, same bits as ops_c.c.
 * Classes whose codes take work are unpacked for many columns: 512 k of two panels at a time, for 64 columns; a tile is then 32
 * rows and 4 columns, so that a word of x serves two panels (figures: bench/results/types-2026-11-30-xeon.md).
 */
#include "cpu/classes.h"
#include "cpu/matmul_dispatch.h"

#include "base/num.h"

#include <immintrin.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

enum { MAX_COLUMNS = VS_ACT_ROWS };

INLINE __m512i load(const uint8_t *p)
{
    return _mm512_loadu_si512((const void *)p);
}

INLINE __m512 half16(const uint8_t *p)                   /* 16 x f16 */
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}

INLINE __m512 u8x16(const uint8_t *p)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p)));
}

INLINE __m512 i8x16(const uint8_t *p)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p)));
}

INLINE __m512i word(const void *p)                       /* 4 bytes to every lane */
{
    int32_t v;
    memcpy(&v, p, 4);
    return _mm512_set1_epi32(v);
}

INLINE __m512i shifted(__m512i v, const int left)        /* bits, to the right when negative; bytes are masked by the caller */
{
    return left >= 0 ? _mm512_slli_epi16(v, (unsigned)left) : _mm512_srli_epi16(v, (unsigned)-left);
}

/* Codes of k-step g of a run of 32 that begins at `at`; of classes with a list: what the list has in their place. */
INLINE __m512i codes(const struct vs_class_layout l, const uint8_t *at, const int g, const __m512i list)
{
    if (l.low_bits == 8)
        return load(at + 64 * g);
    if (l.low_bits == 1)                                 /* twice the bit */
        return _mm512_and_si512(shifted(load(at), 1 - g), _mm512_set1_epi8(2));
    __m512i v;
    if (l.low_bits == 3 && g >= 6) {                     /* both steps from the same three vectors, which the compiler joins once */
        v = _mm512_ternarylogic_epi32(_mm512_set1_epi8(0x11), shifted(load(at), -3), shifted(load(at + 64), -2), 0xca);
        v = _mm512_ternarylogic_epi32(_mm512_set1_epi8(0x33), v, shifted(load(at + 128), -1), 0xca);
        v = _mm512_and_si512(shifted(v, -4 * (g % 2)), _mm512_set1_epi8(7));
    } else if (l.low_bits == 3)
        v = _mm512_and_si512(shifted(load(at + 64 * (g / 2)), -4 * (g % 2)), _mm512_set1_epi8(7));
    else if (l.low_bits == 2)
        v = _mm512_and_si512(shifted(load(at + 64 * (g / 4)), -2 * (g % 4)), _mm512_set1_epi8(3));
    else
        v = _mm512_and_si512(shifted(load(at + 64 * (g / 2)), -4 * (g % 2)), _mm512_set1_epi8(15));
    if (l.top_bits == 1)
        v = _mm512_or_si512(v, _mm512_and_si512(shifted(load(at + l.panel_top), l.low_bits - g),
                                                _mm512_set1_epi8((char)(1 << l.low_bits))));
    else if (l.top_bits == 2)
        v = _mm512_or_si512(v, _mm512_and_si512(shifted(load(at + l.panel_top + 64 * (g / 4)), l.low_bits - 2 * (g % 4)),
                                                _mm512_set1_epi8((char)(3 << l.low_bits))));
    return l.has_list ? _mm512_shuffle_epi8(list, v) : v;
}

struct traits {
    int super_len, super_bytes, header, step, offset_shift;      /* offset = 1 << shift; -1 = none */
    bool per16, has_min;
};

INLINE struct traits traits_of(const enum vs_matrix_class cls)
{
    const struct vs_class_layout l = vs_class_layout(cls);
    return (struct traits){ l.block_len, l.super_bytes, l.header, l.step, l.offset ? __builtin_ctz(l.offset) : -1, l.per16,
                            l.has_min };
}

/* (s + 1/2) * step for the low or high nibble s of each of 16 bytes: a place in a table, and vpermps looks at four bits of it */
INLINE __m512 halves16(const uint8_t *p, const int high, const float step)
{
    __m512i s = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p));
    __m512 table = _mm512_setr_ps(0.5f, 1.5f, 2.5f, 3.5f, 4.5f, 5.5f, 6.5f, 7.5f,
                                  8.5f, 9.5f, 10.5f, 11.5f, 12.5f, 13.5f, 14.5f, 15.5f);
    return _mm512_permutexvar_ps(_mm512_srl_epi32(s, _mm_cvtsi32_si128(4 * high)), _mm512_mul_ps(table, _mm512_set1_ps(step)));
}

INLINE __m512 e8m0x16(const uint8_t *p)                  /* 2^(e - 128); half of 2^(e - 127), which is a denormal for e = 0 alone */
{
    __m512i e = _mm512_slli_epi32(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p)), 23);
    e = _mm512_max_epu32(e, _mm512_set1_epi32(0x00400000));
    return _mm512_mul_ps(_mm512_castsi512_ps(e), _mm512_set1_ps(0.5f));
}

INLINE __m512 e4m3x16(const uint8_t *p)
{
    __m256i s = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(const void *)p));
    return _mm512_mul_ps(_mm512_cvtph_ps(_mm256_slli_epi16(s, 7)), _mm512_set1_ps(128.0f));
}

/* Scale (and minimum) of part i (0, or 0 and 1 with per16) of run `run`; super points at the superblock. */
INLINE __m512 scale16(const enum vs_matrix_class cls, const uint8_t *super, const int run, const int i)
{
    if (cls == VS_CLASS_M4)
        return e8m0x16(super);
    if (cls == VS_CLASS_N4)
        return e4m3x16(super + 16 * (2 * run + i));
    __m512 d = half16(super);
    switch (cls) {
    case VS_CLASS_X4:
        return _mm512_mul_ps(d, i8x16(super + 32 + 16 * run));
    case VS_CLASS_G4:
        return _mm512_mul_ps(d, halves16(super + 32 + 16 * (run / 2), run % 2, 1.0f));
    case VS_CLASS_G3:
        return _mm512_mul_ps(d, halves16(super + 32 + 16 * (run / 2), run % 2, 0.25f));
    case VS_CLASS_G3H:
        return _mm512_mul_ps(d, halves16(super + 32 + 16 * run, i, 0.25f));
    case VS_CLASS_K4:
    case VS_CLASS_K5:
        return _mm512_mul_ps(d, u8x16(super + 64 + 16 * run));
    case VS_CLASS_K2: {
        __m128i s = _mm_loadu_si128((const __m128i *)(const void *)(super + 64 + 16 * (2 * run + i)));
        return _mm512_mul_ps(d, _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_and_si128(s, _mm_set1_epi8(15)))));
    }
    case VS_CLASS_K3:
    case VS_CLASS_K6:
        return _mm512_mul_ps(d, i8x16(super + 32 + 16 * (2 * run + i)));
    default:
        return d;
    }
}

INLINE __m512 min16(const enum vs_matrix_class cls, const uint8_t *super, const int run, const int i)
{
    __m512 m = half16(super + 32);
    if (cls == VS_CLASS_Q4M || cls == VS_CLASS_Q5M)
        return m;
    m = _mm512_sub_ps(_mm512_set1_ps(-0.0f), m);         /* exact: only the sign changes */
    if (cls == VS_CLASS_K2) {
        __m128i s = _mm_loadu_si128((const __m128i *)(const void *)(super + 64 + 16 * (2 * run + i)));
        s = _mm_and_si128(_mm_srli_epi16(s, 4), _mm_set1_epi8(15));
        return _mm512_mul_ps(m, _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(s)));
    }
    return _mm512_mul_ps(m, u8x16(super + 192 + 16 * run));
}

/* Exact integer sums over k-steps [from, from + steps) of a run, as floats. High precision: two columns make one. */
INLINE void dots(const enum vs_matrix_class cls, const uint8_t *at, const int from, const int steps, const int nc, const bool high,
                 const __m512i list, const struct vs_act *x, __m512 ret[MAX_COLUMNS])
{
    const struct traits t = traits_of(cls);
    __m512i acc[MAX_COLUMNS];
    for (int c = 0; c < nc; c++) {
        const int16_t *pair = x[c].npair16[from / 4];
        acc[c] = _mm512_setzero_si512();
        if (t.offset_shift >= 0 && steps == 8)
            acc[c] = _mm512_slli_epi32(word(&x[c].nsum), (unsigned)t.offset_shift);
        else if (t.offset_shift >= 0 && nc <= 2)
            acc[c] = _mm512_madd_epi16(word(pair), _mm512_set1_epi16((short)(1 << t.offset_shift)));
        else if (t.offset_shift >= 0)                    /* many columns keep the multipliers busy */
            acc[c] = _mm512_set1_epi32((pair[0] + pair[1]) * (1 << t.offset_shift));
    }
    for (int g = from; g < from + steps; g++) {
        __m512i w = codes(vs_class_layout(cls), at, g, list);
        for (int c = 0; c < nc; c++)
            acc[c] = _mm512_dpbusd_epi32(acc[c], w, word(x[c].q + 4 * g));
    }
    if (high)
        for (int c = 0; c < nc; c += 2) {                /* 254 hi = 256 hi - 2 hi */
            __m512i hi = _mm512_sub_epi32(_mm512_slli_epi32(acc[c], 8), _mm512_slli_epi32(acc[c], 1));
            ret[c / 2] = _mm512_cvtepi32_ps(_mm512_add_epi32(hi, acc[c + 1]));
        }
    else
        for (int c = 0; c < nc; c++)
            ret[c] = _mm512_cvtepi32_ps(acc[c]);
}

/* One run of 32 k, added to the chains; nc rows of activations, half as many chains in high precision. */
INLINE void run32(const enum vs_matrix_class cls, const uint8_t *super, const int run, const int nc, const bool high,
                  const __m512i list, const struct vs_act *x, __m512 acc[MAX_COLUMNS])
{
    const struct traits t = traits_of(cls);
    const int pair = high ? 2 : 1, chains = nc / pair;
    const uint8_t *at = super + t.header + run * t.step;
    __m512 sum[MAX_COLUMNS];
    if (t.per16) {
        __m512 first[MAX_COLUMNS], s0 = scale16(cls, super, run, 0), s1 = scale16(cls, super, run, 1);
        dots(cls, at, 0, 4, nc, high, list, x, first);
        dots(cls, at, 4, 4, nc, high, list, x, sum);
        for (int c = 0; c < chains; c++) {
            __m512 v = _mm512_fmadd_ps(sum[c], s1, _mm512_mul_ps(first[c], s0));
            acc[c] = _mm512_fmadd_ps(v, _mm512_set1_ps(x[c * pair].d), acc[c]);
        }
        for (int i = 0; i < 2 && t.has_min; i++) {
            __m512 m = min16(cls, super, run, i);
            for (int c = 0; c < chains; c++)
                acc[c] = _mm512_fmadd_ps(m, _mm512_set1_ps(x[c * pair].dsh[i]), acc[c]);
        }
        return;
    }
    __m512 s = scale16(cls, super, run, 0);
    dots(cls, at, 0, 8, nc, high, list, x, sum);
    for (int c = 0; c < chains; c++)
        acc[c] = _mm512_fmadd_ps(sum[c], _mm512_mul_ps(s, _mm512_set1_ps(x[c * pair].d)), acc[c]);
    if (t.has_min) {
        __m512 m = min16(cls, super, run, 0);
        for (int c = 0; c < chains; c++)
            acc[c] = _mm512_fmadd_ps(m, _mm512_set1_ps(x[c * pair].ds), acc[c]);
    }
}

/* 16 rows from `row` of a column: bias, residual, store. */
INLINE void finish(const struct vs_matmul *m, size_t row, size_t column, __m512 v)
{
    size_t left = m->w->n_rows - row, at = column * m->ldy + row;
    __mmask16 mask = (__mmask16)(left >= 16 ? 0xffff : (1u << left) - 1);
    if (m->bias)
        v = _mm512_add_ps(v, _mm512_maskz_loadu_ps(mask, m->bias + row));
    if (m->residual)
        v = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, m->residual + at), v);
    _mm512_mask_storeu_ps(m->y + at, mask, v);
}

INLINE void tile(const enum vs_matrix_class cls, const struct vs_matmul *m, const uint8_t *panel, size_t row, size_t first,
                 const struct vs_act *x, size_t width, const int nc, const bool high)
{
    const struct traits t = traits_of(cls);
    const int runs = t.super_len / 32;
    const size_t ahead = vs_bytes_ahead(cls, m, first, nc);
    const __m512i list = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)m->w->list));
    __m512 acc[MAX_COLUMNS];
    for (int c = 0; c < nc; c++)
        acc[c] = _mm512_setzero_ps();
    for (size_t s = m->w->n_cols / (unsigned)t.super_len; s; s--, panel += t.super_bytes)
        for (int run = 0; run < runs; run++, x += width) {
            vs_prefetch_weights(panel + run * t.step, ahead, run + 1 < runs ? t.step : t.super_bytes - run * t.step);
            run32(cls, panel, run, nc, high, list, x, acc);
        }
    for (int c = 0; c < (high ? nc / 2 : nc); c++)
        finish(m, row, (high ? first / 2 : first) + (size_t)c, acc[c]);
}

/* ---- many columns ---- */

enum { CHUNK_RUNS = 16, CHUNK_COLUMNS = 4, CHUNK_PANELS = 2 };

struct chunk {
    _Alignas(64) uint8_t code[CHUNK_RUNS][8][64];        /* signed value + 128; of classes with a minimum the code itself */
    float scale[CHUNK_RUNS][2][16], min[CHUNK_RUNS][2][16];      /* the second of each with per16 */
};

INLINE void unpack(const enum vs_matrix_class cls, const uint8_t *super, const int runs, size_t ahead, __m512i list,
                   struct chunk *ret)
{
    const struct vs_class_layout l = vs_class_layout(cls);
    const int each = l.block_len / 32, parts = l.per16 ? 2 : 1;
    const __m512i up = _mm512_set1_epi8((char)(l.has_min ? 0 : 128 - l.offset));
    list = _mm512_add_epi8(list, up);
    for (int at = 0; at < runs; at += each, super += l.super_bytes)
        for (int run = 0; run < each; run++) {
            vs_prefetch_weights(super + run * l.step, ahead, run + 1 < each ? l.step : l.super_bytes - run * l.step);
            for (int g = 0; g < 8; g++) {
                __m512i v = codes(l, super + l.header + run * l.step, g, list);
                _mm512_store_si512(ret->code[at + run][g], l.has_list ? v : _mm512_add_epi8(v, up));
            }
            for (int i = 0; i < parts; i++)
                _mm512_store_ps(ret->scale[at + run][i], scale16(cls, super, run, i));
            for (int i = 0; i < parts && l.has_min; i++)
                _mm512_store_ps(ret->min[at + run][i], min16(cls, super, run, i));
        }
}

INLINE __m512i held(__m512i v)           /* in a register: gcc would load it anew for each use */
{
    __asm__("" : "+v"(v));
    return v;
}

/* What has a scale of its own: a run, or half of one. */
struct part {
    int run, from;                       /* steps from `from` on */
    const struct vs_act *x;              /* the run's block of the first column */
};

/* Exact integer sums of one or two parts as floats, side by side: nobody waits for its own sums. High precision: two columns make
 * one. */
INLINE void chunk_dots(const bool per16, const bool has_min, const struct chunk *chunk, const int n_panels, const int n_parts,
                       const struct part part[2], const int nc, const bool high, __m512 ret[2][CHUNK_PANELS][CHUNK_COLUMNS])
{
    const int steps = per16 ? 4 : 8;
    __m512i acc[2][CHUNK_PANELS][CHUNK_COLUMNS];
    for (int p = 0; p < n_parts; p++)
        for (int c = 0; c < nc; c++) {
            const struct vs_act *x = part[p].x + c;
            __m512i start = has_min ? _mm512_setzero_si512()
                            : per16 ? _mm512_madd_epi16(word(x->npair16[part[p].from / 4]), _mm512_set1_epi16(128))
                                    : _mm512_slli_epi32(word(&x->nsum), 7);
            for (int r = 0; r < n_panels; r++)
                acc[p][r][c] = start;
        }
    for (int g = 0; g < steps; g++)
        for (int p = 0; p < n_parts; p++) {
            __m512i w[CHUNK_PANELS];
            for (int r = 0; r < n_panels; r++)
                w[r] = held(load(chunk[r].code[part[p].run][part[p].from + g]));
            for (int c = 0; c < nc; c++)
                for (int r = 0; r < n_panels; r++)
                    acc[p][r][c] = _mm512_dpbusd_epi32(acc[p][r][c], w[r], word(part[p].x[c].q + 4 * (part[p].from + g)));
        }
    for (int p = 0; p < n_parts; p++)
        for (int r = 0; r < n_panels; r++)
            for (int c = 0; c < nc; c += high ? 2 : 1) {
                __m512i sum = acc[p][r][c];
                if (high)                                /* 254 hi = 256 hi - 2 hi */
                    sum = _mm512_add_epi32(_mm512_sub_epi32(_mm512_slli_epi32(sum, 8), _mm512_slli_epi32(sum, 1)),
                                           acc[p][r][c + 1]);
                ret[p][r][high ? c / 2 : c] = _mm512_cvtepi32_ps(sum);
            }
}

/* One or two runs of 32 k (one with scales for 16), added to the chains; a run of x is `width` blocks. */
INLINE void chunk_add(const bool per16, const bool has_min, const struct chunk *chunk, const int n_panels, int run,
                      const int n_runs, const int nc, const bool high, const struct vs_act *x, size_t width,
                      __m512 acc[CHUNK_PANELS][CHUNK_COLUMNS])
{
    const int pair = high ? 2 : 1, chains = nc / pair, parts = per16 ? 2 : n_runs;
    const struct part part[2] = { { run, 0, x }, { per16 ? run : run + 1, per16 ? 4 : 0, per16 ? x : x + width } };
    __m512 sum[2][CHUNK_PANELS][CHUNK_COLUMNS];
    chunk_dots(per16, has_min, chunk, n_panels, parts, part, nc, high, sum);
    for (int p = 0; p < n_runs; p++, run++, x += width)
        for (int r = 0; r < n_panels; r++) {
            __m512 s = _mm512_load_ps(chunk[r].scale[run][0]);
            for (int c = 0; c < chains && !per16; c++)
                acc[r][c] = _mm512_fmadd_ps(sum[p][r][c], _mm512_mul_ps(s, _mm512_set1_ps(x[c * pair].d)), acc[r][c]);
            for (int c = 0; c < chains && per16; c++) {
                __m512 v = _mm512_fmadd_ps(sum[1][r][c], _mm512_load_ps(chunk[r].scale[run][1]), _mm512_mul_ps(sum[0][r][c], s));
                acc[r][c] = _mm512_fmadd_ps(v, _mm512_set1_ps(x[c * pair].d), acc[r][c]);
            }
            for (int i = 0; has_min && i < (per16 ? 2 : 1); i++)
                for (int c = 0; c < chains; c++)
                    acc[r][c] = _mm512_fmadd_ps(_mm512_load_ps(chunk[r].min[run][i]),
                                                _mm512_set1_ps(per16 ? x[c * pair].dsh[i] : x[c * pair].ds), acc[r][c]);
        }
}

/* Continues the chains of nc columns and one or two panels over all runs of their chunks. */
INLINE void chunk_tile(const bool per16, const bool has_min, const bool high, const int nc, const struct chunk *chunk,
                       const int n_panels, const int runs, const struct vs_act *x, size_t width,
                       float (*chain)[CHUNK_PANELS][16])
{
    const int chains = high ? nc / 2 : nc, step = per16 ? 1 : 2;
    __m512 acc[CHUNK_PANELS][CHUNK_COLUMNS];
    for (int c = 0; c < chains; c++)
        for (int r = 0; r < n_panels; r++)
            acc[r][c] = _mm512_load_ps(chain[c][r]);
    int run = 0;
    for (; run + step <= runs; run += step, x += (size_t)step * width)
        chunk_add(per16, has_min, chunk, n_panels, run, step, nc, high, x, width, acc);
    if (run < runs)
        chunk_add(per16, has_min, chunk, n_panels, run, 1, nc, high, x, width, acc);
    for (int c = 0; c < chains; c++)
        for (int r = 0; r < n_panels; r++)
            _mm512_store_ps(chain[c][r], acc[r][c]);
}

/* All columns of a panel of x. */
INLINE void chunk_tiles(const bool per16, const bool has_min, const bool high, const struct chunk *chunk, const int n_panels,
                        const int runs, const struct vs_act *x, size_t width, float (*chain)[CHUNK_PANELS][16])
{
    for (size_t c = 0; c < width; c += CHUNK_COLUMNS)
        switch (width - c < CHUNK_COLUMNS ? width - c : CHUNK_COLUMNS) {
#define WIDTH(nc)                                                                                                                \
        case nc:                                                                                                                 \
            if (!high || nc % 2 == 0)                                                                                            \
                chunk_tile(per16, has_min, high, nc, chunk, n_panels, runs, x + c, width, chain + (high ? c / 2 : c));           \
            break;
        WIDTH(1) WIDTH(2) WIDTH(3) WIDTH(4)
#undef WIDTH
        }
}

/* One for each kind of chunk, which classes share. */
typedef void chunk_function(const struct chunk *chunk, int n_panels, int runs, const struct vs_act *x, size_t width,
                            float (*chain)[CHUNK_PANELS][16]);
#define CHUNK_FUNCTION(name, per16, has_min, high)                                                                               \
    static void name(const struct chunk *chunk, int n_panels, int runs, const struct vs_act *x, size_t width,                    \
                     float (*chain)[CHUNK_PANELS][16])                                                                           \
    {                                                                                                                            \
        if (n_panels == 1)                                                                                                       \
            chunk_tiles(per16, has_min, high, chunk, 1, runs, x, width, chain);                                                  \
        else                                                                                                                     \
            chunk_tiles(per16, has_min, high, chunk, 2, runs, x, width, chain);                                                  \
    }
CHUNK_FUNCTION(chunk_32, false, false, false)
CHUNK_FUNCTION(chunk_16, true, false, false)
CHUNK_FUNCTION(chunk_16_min, true, true, false)
CHUNK_FUNCTION(chunk_32_high, false, false, true)
CHUNK_FUNCTION(chunk_16_high, true, false, true)
CHUNK_FUNCTION(chunk_16_min_high, true, true, true)
#undef CHUNK_FUNCTION

INLINE chunk_function *chunk_function_of(const struct traits t, const bool high)
{
    if (!t.per16)
        return high ? chunk_32_high : chunk_32;
    if (!t.has_min)
        return high ? chunk_16_high : chunk_16;
    return high ? chunk_16_min_high : chunk_16_min;
}

/* One or two panels from p on for n columns from `first` on, up to VS_MANY_ROWS; both count rows of activations. */
INLINE void many_columns(const enum vs_matrix_class cls, const struct vs_matmul *m, size_t p, int n_panels, size_t first, size_t n,
                         const bool high)
{
    const struct traits t = traits_of(cls);
    const size_t n_blocks = m->w->n_cols / 32, panel_bytes = vs_matrix_panel_bytes(m->w), super_len = (size_t)t.super_len;
    const size_t ahead = vs_bytes_ahead(cls, m, first, MAX_COLUMNS);
    const __m512i list = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)m->w->list));
    _Alignas(64) float chain[VS_MANY_ROWS][CHUNK_PANELS][16];
    struct chunk chunk[CHUNK_PANELS];
    memset(chain, 0, n * sizeof *chain);
    for (size_t b = 0, runs; b < n_blocks; b += runs) {
        runs = n_blocks - b < CHUNK_RUNS ? n_blocks - b : CHUNK_RUNS;
        for (int r = 0; r < n_panels; r++)
            unpack(cls, m->w->data + (p + (size_t)r) * panel_bytes + b * 32 / super_len * (size_t)t.super_bytes, (int)runs, ahead,
                   list, &chunk[r]);
        for (size_t i = 0; i < n; i += VS_ACT_ROWS) {
            size_t width = vs_act_width(first + n, first + i);
            chunk_function_of(t, high)(chunk, n_panels, (int)runs, m->x + vs_act_index(n_blocks, first + i) + b * width, width,
                                       chain + (high ? i / 2 : i));
        }
    }
    for (size_t i = 0; i < (high ? n / 2 : n); i++)
        for (int r = 0; r < n_panels; r++)
            finish(m, (p + (size_t)r) * VS_PANEL_ROWS, (high ? first / 2 : first) + i, _mm512_load_ps(chain[i][r]));
}

INLINE void panels(const enum vs_matrix_class cls, const struct vs_matmul *m, size_t begin, size_t end, const bool high)
{
    size_t n_blocks = m->w->n_cols / 32, panel_bytes = vs_matrix_panel_bytes(m->w), n = high ? 2 * m->n : m->n;
    if (vs_class_is_unpacked(cls) && n > VS_ACT_ROWS) {
        for (size_t first = 0; first < n; first += VS_MANY_ROWS)
            for (size_t p = begin; p < end; p += CHUNK_PANELS)
                many_columns(cls, m, p, end - p < CHUNK_PANELS ? 1 : 2, first, n - first < VS_MANY_ROWS ? n - first : VS_MANY_ROWS,
                             high);
        return;
    }
    for (size_t first = 0; first < n; first += VS_ACT_ROWS) {
        size_t width = vs_act_width(n, first);
        const struct vs_act *x = m->x + vs_act_index(n_blocks, first);
        for (size_t p = begin; p < end; p++) {
            const uint8_t *panel = m->w->data + p * panel_bytes;
            size_t row = p * VS_PANEL_ROWS;
            switch (width) {
#define WIDTH(nc) case nc: if (!high || nc % 2 == 0) tile(cls, m, panel, row, first, x, width, nc, high); break;
            WIDTH(1) WIDTH(2) WIDTH(3) WIDTH(4) WIDTH(5) WIDTH(6) WIDTH(7) WIDTH(8)
#undef WIDTH
            }
        }
    }
}

/* ---- float weights: 32 fma from zero, then one add to the chain ---- */

INLINE __m512 float_values(const enum vs_matrix_class cls, const uint8_t *at)
{
    if (cls == VS_CLASS_F32)
        return _mm512_loadu_ps((const void *)at);
    if (cls == VS_CLASS_F16)
        return half16(at);
    return _mm512_castsi512_ps(_mm512_slli_epi32(
        _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)at)), 16));
}

INLINE void float_tile(const enum vs_matrix_class cls, const struct vs_matmul *m, const uint8_t *panel, size_t row, size_t first,
                       const int nc)
{
    const size_t step = cls == VS_CLASS_F32 ? 64 : 32, n = m->w->n_cols, ahead = vs_bytes_ahead(cls, m, first, nc);
    __m512 acc[MAX_COLUMNS];
    for (int c = 0; c < nc; c++)
        acc[c] = _mm512_setzero_ps();
    for (size_t k0 = 0; k0 < n; k0 += 32) {
        size_t end = n - k0 < 32 ? n : k0 + 32;
        __m512 block[MAX_COLUMNS];
        for (int c = 0; c < nc; c++)
            block[c] = _mm512_setzero_ps();
        vs_prefetch_weights(panel + k0 * step, ahead, (int)(32 * step));
        for (size_t k = k0; k < end; k++) {
            __m512 w = float_values(cls, panel + k * step);
            for (int c = 0; c < nc; c++)
                block[c] = _mm512_fmadd_ps(w, _mm512_set1_ps(m->xf[(first + (size_t)c) * m->ldx + k]), block[c]);
        }
        for (int c = 0; c < nc; c++)
            acc[c] = _mm512_add_ps(acc[c], block[c]);
    }
    for (int c = 0; c < nc; c++)
        finish(m, row, first + (size_t)c, acc[c]);
}

INLINE void float_panels(const enum vs_matrix_class cls, const struct vs_matmul *m, size_t begin, size_t end)
{
    size_t panel_bytes = vs_matrix_panel_bytes(m->w);
    for (size_t p = begin; p < end; p++) {
        const uint8_t *panel = m->w->data + p * panel_bytes;
        size_t row = p * VS_PANEL_ROWS;
        for (size_t i = 0; i < m->n; i += MAX_COLUMNS)
            switch (m->n - i < MAX_COLUMNS ? m->n - i : MAX_COLUMNS) {
#define WIDTH(nc) case nc: float_tile(cls, m, panel, row, i, nc); break;
            WIDTH(1) WIDTH(2) WIDTH(3) WIDTH(4) WIDTH(5) WIDTH(6) WIDTH(7) WIDTH(8)
#undef WIDTH
            }
    }
}

VS_MATMUL_DISPATCH

void vs_cpu_matmul_init_avx512(struct vs_cpu_ops *ops)
{
    ops->packed = true;
    ops->matmul = matmul;
}
