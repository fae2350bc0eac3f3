/* cpu/matmul_body_avx2.h - matrices on 8 lanes: one vector is half of a panel's 16 rows, four k of each. The body of three files:
 *
 *   matmul_avx2.c      products by vpmaddubsw
 *   matmul_avxvnni.c   products by vpdpbusd, VEX encoding (VS_DPBUSD is its intrinsic)
 *   matmul_avx512vl.c  the same, EVEX encoding: for CPUs that have the instruction only with AVX-512
 *
 * A tile is HALVES x 8 rows and NC columns (rows of x). vpdpbusd adds exact products in 32 bits; the offset of a format sits in the
 * sum's start. Without it: codes are unsigned, so vpmaddubsw multiplies them with the signed
 * activations; its 16-bit pair sums can't saturate (63 * 127 * 2 = 16002). They are added modulo 2^16 starting from
 * -offset * (sum of q), and what comes out at the end of a scale's run fits: |code - offset| * 127 * 16 <= 32512 for 5
 * bits over 32 k, and for 6 bits over 16 k. So a block needs one vpmaddwd for each scale. Five-bit codes without an offset
 * (31 * 127 * 16 does not fit) are centred with 16 all the same, and 16 * (sum of q) is given back in 32 bits. Eight-bit codes are
 * made signed and go through |w| * sign(q, w) <= 128 * 127 * 2 = 32512, widened at every step. So are values of lists that are
 * larger than 16, as codes up to 107 * 127 * 2 = 27178.
 *
 * Classes whose codes take work are unpacked for many columns: 512 k of a panel at a time, for 64 columns, as they are, a byte
 * each, with their scales as floats (figures: bench/results/types-2026-11-30-xeon.md). The arithmetic is the same.
 */
#ifndef VS_CPU_MATMUL_BODY_AVX2_H
#define VS_CPU_MATMUL_BODY_AVX2_H
#include "cpu/classes.h"
#include "cpu/matmul_dispatch.h"

#include "cpu/math_avx2.h"

#include <string.h>

#ifdef VS_DPBUSD
enum { VNNI = 1 };
#else
enum { VNNI = 0 };
#define VS_DPBUSD(sum, u, s) (sum)       /* never reached */
#endif

#define INLINE static inline __attribute__((always_inline))

enum { MAX_COLUMNS = 4 };

INLINE __m256i load(const uint8_t *p)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

INLINE __m256 half8(const uint8_t *p)                    /* 8 x f16 */
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p));
}

INLINE __m256 u8x8(const uint8_t *p)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p)));
}

INLINE __m256 i8x8(const uint8_t *p)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p)));
}

INLINE __m256i word(const void *p)                       /* 4 bytes to every lane */
{
    int32_t v;
    memcpy(&v, p, 4);
    return _mm256_set1_epi32(v);
}

INLINE __m256i shifted(__m256i v, const int left)        /* bits, to the right when negative; bytes are masked by the caller */
{
    return left >= 0 ? _mm256_slli_epi16(v, left > 0 ? left : 0) : _mm256_srli_epi16(v, left < 0 ? -left : 0);
}

/* Codes of k-step g of a run of 32 for the 8 rows whose bytes begin at `at` (start of the run + 32 * half); of classes with a
 * list: what the list has in their place. */
INLINE __m256i codes(const struct vs_class_layout l, const uint8_t *at, const int g, const __m256i list)
{
    if (l.low_bits == 8)
        return load(at + 64 * g);
    if (l.low_bits == 1)                                 /* twice the bit */
        return _mm256_and_si256(shifted(load(at), 1 - g), _mm256_set1_epi8(2));
    __m256i v;
    if (l.low_bits == 3 && g >= 6) {
        const int down = -4 * (g % 2);
        v = _mm256_and_si256(shifted(load(at), down - 3), _mm256_set1_epi8(1));
        v = _mm256_or_si256(v, _mm256_and_si256(shifted(load(at + 64), down - 2), _mm256_set1_epi8(2)));
        v = _mm256_or_si256(v, _mm256_and_si256(shifted(load(at + 128), down - 1), _mm256_set1_epi8(4)));
    } else if (l.low_bits == 3)
        v = _mm256_and_si256(shifted(load(at + 64 * (g / 2)), -4 * (g % 2)), _mm256_set1_epi8(7));
    else if (l.low_bits == 2)
        v = _mm256_and_si256(shifted(load(at + 64 * (g / 4)), -2 * (g % 4)), _mm256_set1_epi8(3));
    else
        v = _mm256_and_si256(shifted(load(at + 64 * (g / 2)), -4 * (g % 2)), _mm256_set1_epi8(15));
    if (l.top_bits == 1)
        v = _mm256_or_si256(v, _mm256_and_si256(shifted(load(at + l.panel_top), l.low_bits - g),
                                                _mm256_set1_epi8((char)(1 << l.low_bits))));
    else if (l.top_bits == 2)
        v = _mm256_or_si256(v, _mm256_and_si256(shifted(load(at + l.panel_top + 64 * (g / 4)), l.low_bits - 2 * (g % 4)),
                                                _mm256_set1_epi8((char)(3 << l.low_bits))));
    return l.has_list ? _mm256_shuffle_epi8(list, v) : v;
}

/* What differs between the classes, all known at compile time. */
struct traits {
    int super_len, super_bytes, header, step, offset_shift;      /* offset = 1 << shift; -1 = none */
    bool per16, has_min, given_back;     /* the offset is only there to make sums fit 16 bits */
    bool sized, wide;                    /* without vpdpbusd: eight bits, as size and sign; sums that don't fit 16 bits */
};

INLINE struct traits traits_of(const enum vs_matrix_class cls)
{
    const struct vs_class_layout l = vs_class_layout(cls);
    bool lent = !VNNI && (cls == VS_CLASS_Q5M || cls == VS_CLASS_K5);    /* codes of five bits, none below zero */
    bool sized = !VNNI && l.offset == 128;
    bool wide = !VNNI && (cls == VS_CLASS_G4 || cls == VS_CLASS_G3 || cls == VS_CLASS_G3H || cls == VS_CLASS_Q6);
    int shift = lent ? 4 : !l.offset || sized ? -1 : __builtin_ctz(l.offset);
    return (struct traits){ l.block_len, l.super_bytes, l.header, l.step, shift, l.per16, l.has_min, lent, sized, wide };
}

INLINE __m256 nibbles8(const uint8_t *p, const int high)         /* the low or high nibbles of 8 bytes */
{
    __m128i s = _mm_loadl_epi64((const __m128i *)(const void *)p);
    s = _mm_and_si128(high ? _mm_srli_epi16(s, 4) : s, _mm_set1_epi8(15));
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(s));
}

INLINE __m256 e8m0x8(const uint8_t *p)                   /* 2^(e - 128); half of 2^(e - 127), which is a denormal for e = 0 alone */
{
    __m256i e = _mm256_slli_epi32(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p)), 23);
    e = _mm256_max_epu32(e, _mm256_set1_epi32(0x00400000));
    return _mm256_mul_ps(_mm256_castsi256_ps(e), _mm256_set1_ps(0.5f));
}

INLINE __m256 e4m3x8(const uint8_t *p)
{
    __m128i s = _mm_cvtepu8_epi16(_mm_loadl_epi64((const __m128i *)(const void *)p));
    return _mm256_mul_ps(_mm256_cvtph_ps(_mm_slli_epi16(s, 7)), _mm256_set1_ps(128.0f));
}

/* Scale (and minimum) of part i (0, or 0 and 1 with per16) of run `run` for 8 rows; super points at the superblock. */
INLINE __m256 scale8(const enum vs_matrix_class cls, const uint8_t *super, const int half, const int run, const int i)
{
    if (cls == VS_CLASS_M4)
        return e8m0x8(super + 8 * half);
    if (cls == VS_CLASS_N4)
        return e4m3x8(super + 16 * (2 * run + i) + 8 * half);
    __m256 d = half8(super + 16 * half);
    const __m256 quarter = _mm256_set1_ps(0.25f), eighth = _mm256_set1_ps(0.125f);
    switch (cls) {
    case VS_CLASS_X4:
        return _mm256_mul_ps(d, i8x8(super + 32 + 16 * run + 8 * half));
    case VS_CLASS_G4:
        return _mm256_mul_ps(d, _mm256_add_ps(nibbles8(super + 32 + 16 * (run / 2) + 8 * half, run % 2), _mm256_set1_ps(0.5f)));
    case VS_CLASS_G3:
        return _mm256_mul_ps(d, _mm256_fmadd_ps(nibbles8(super + 32 + 16 * (run / 2) + 8 * half, run % 2), quarter, eighth));
    case VS_CLASS_G3H:
        return _mm256_mul_ps(d, _mm256_fmadd_ps(nibbles8(super + 32 + 16 * run + 8 * half, i), quarter, eighth));
    case VS_CLASS_K4:
    case VS_CLASS_K5:
        return _mm256_mul_ps(d, u8x8(super + 64 + 16 * run + 8 * half));
    case VS_CLASS_K2: {
        __m128i s = _mm_loadl_epi64((const __m128i *)(const void *)(super + 64 + 16 * (2 * run + i) + 8 * half));
        s = _mm_and_si128(s, _mm_set1_epi8(15));
        return _mm256_mul_ps(d, _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(s)));
    }
    case VS_CLASS_K3:
    case VS_CLASS_K6:
        return _mm256_mul_ps(d, i8x8(super + 32 + 16 * (2 * run + i) + 8 * half));
    default:
        return d;
    }
}

INLINE __m256 min8(const enum vs_matrix_class cls, const uint8_t *super, const int half, const int run, const int i)
{
    __m256 m = half8(super + 32 + 16 * half);
    if (cls == VS_CLASS_Q4M || cls == VS_CLASS_Q5M)
        return m;
    m = _mm256_xor_ps(m, _mm256_set1_ps(-0.0f));
    if (cls == VS_CLASS_K2) {
        __m128i s = _mm_loadl_epi64((const __m128i *)(const void *)(super + 64 + 16 * (2 * run + i) + 8 * half));
        s = _mm_and_si128(_mm_srli_epi16(s, 4), _mm_set1_epi8(15));
        return _mm256_mul_ps(m, _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(s)));
    }
    return _mm256_mul_ps(m, u8x8(super + 192 + 16 * run + 8 * half));
}

/* ---- many columns: what of a panel is unpacked ---- */

enum { CHUNK_RUNS = 16 };

struct chunk {
    _Alignas(64) uint8_t code[CHUNK_RUNS][8][64];
    float scale[CHUNK_RUNS][2][16], min[CHUNK_RUNS][2][16];      /* the second of each with per16 */
};

/* The next `runs` runs of a panel, which begin with a superblock. */
INLINE void unpack(const enum vs_matrix_class cls, const uint8_t *super, const int runs, size_t ahead, const __m256i list,
                   struct chunk *ret)
{
    const struct vs_class_layout l = vs_class_layout(cls);
    const int each = l.block_len / 32, parts = l.per16 ? 2 : 1;
    for (int at = 0; at < runs; at += each, super += l.super_bytes)
        for (int run = 0; run < each; run++) {
            vs_prefetch_weights(super + run * l.step, ahead, run + 1 < each ? l.step : l.super_bytes - run * l.step);
            for (int half = 0; half < 2; half++) {
                for (int g = 0; g < 8; g++)
                    _mm256_store_si256((__m256i *)(void *)(ret->code[at + run][g] + 32 * half),
                                       codes(l, super + l.header + run * l.step + 32 * half, g, list));
                for (int i = 0; i < parts; i++)
                    _mm256_storeu_ps(ret->scale[at + run][i] + 8 * half, scale8(cls, super, half, run, i));
                for (int i = 0; i < parts && l.has_min; i++)
                    _mm256_storeu_ps(ret->min[at + run][i] + 8 * half, min8(cls, super, half, run, i));
            }
        }
}

/* ---- one run ---- */

/* A run of a panel, for rows from 8 * half on: where it lies in its superblock, or (chunk not NULL, a constant) in the chunk. */
struct place { const uint8_t *super; const struct chunk *chunk; int run, half; };

INLINE __m256i codes_at(const enum vs_matrix_class cls, const struct place p, const bool unpacked, const int h, const int g,
                        const __m256i list)
{
    const struct traits t = traits_of(cls);
    if (unpacked)
        return load(p.chunk->code[p.run][g] + 32 * (p.half + h));
    return codes(vs_class_layout(cls), p.super + t.header + p.run * t.step + 32 * (p.half + h), g, list);
}

INLINE __m256 scale_at(const enum vs_matrix_class cls, const struct place p, const bool unpacked, const int h, const int i)
{
    return unpacked ? _mm256_loadu_ps(p.chunk->scale[p.run][i] + 8 * (p.half + h)) : scale8(cls, p.super, p.half + h, p.run, i);
}

INLINE __m256 min_at(const enum vs_matrix_class cls, const struct place p, const bool unpacked, const int h, const int i)
{
    return unpacked ? _mm256_loadu_ps(p.chunk->min[p.run][i] + 8 * (p.half + h)) : min8(cls, p.super, p.half + h, p.run, i);
}

/* Exact integer sums over k-steps [from, from + steps) of a run, as floats. x[c] is column c's block. */
INLINE void dots(const enum vs_matrix_class cls, const struct place at, const bool unpacked, const int from, const int steps,
                 const int halves, const int nc, const bool high, const __m256i list, const struct vs_act *x,
                 __m256 ret[2][MAX_COLUMNS])
{
    const struct traits t = traits_of(cls);
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i acc[2][MAX_COLUMNS];
    for (int c = 0; c < nc; c++) {
        __m256i start = _mm256_setzero_si256();
        if (t.offset_shift >= 0 && (VNNI || t.wide))
            start = _mm256_set1_epi32((steps == 8 ? x[c].nsum : x[c].npair16[from / 4][0] + x[c].npair16[from / 4][1])
                                      * (1 << (t.offset_shift >= 0 ? t.offset_shift : 0)));
        else if (t.offset_shift >= 0)
            start = _mm256_slli_epi16(word(steps == 8 ? x[c].npair32 : x[c].npair16[from / 4]), t.offset_shift);
        for (int h = 0; h < halves; h++)
            acc[h][c] = start;
    }
    for (int g = from; g < from + steps; g++)
        for (int h = 0; h < halves; h++) {
            __m256i w = codes_at(cls, at, unpacked, h, g, list);
            if (VNNI) {
                for (int c = 0; c < nc; c++)
                    acc[h][c] = VS_DPBUSD(acc[h][c], w, word(x[c].q + 4 * g));
            } else if (t.wide) {
                for (int c = 0; c < nc; c++) {
                    __m256i pairs = _mm256_maddubs_epi16(w, word(x[c].q + 4 * g));
                    acc[h][c] = _mm256_add_epi32(acc[h][c], _mm256_madd_epi16(pairs, ones));
                }
            } else if (t.sized) {
                w = _mm256_xor_si256(w, _mm256_set1_epi8((char)0x80));
                __m256i size = _mm256_abs_epi8(w);
                for (int c = 0; c < nc; c++) {
                    __m256i q = _mm256_sign_epi8(word(x[c].q + 4 * g), w);
                    acc[h][c] = _mm256_add_epi32(acc[h][c], _mm256_madd_epi16(_mm256_maddubs_epi16(size, q), ones));
                }
            } else {
                for (int c = 0; c < nc; c++)
                    acc[h][c] = _mm256_add_epi16(acc[h][c], _mm256_maddubs_epi16(w, word(x[c].q + 4 * g)));
            }
        }
    for (int c = 0; c < nc && !VNNI; c++) {
        __m256i back = _mm256_set1_epi32(t.given_back ? x[c].nsum * (1 << t.offset_shift) : 0);
        for (int h = 0; h < halves; h++) {
            if (!t.sized && !t.wide)
                acc[h][c] = _mm256_madd_epi16(acc[h][c], ones);
            if (t.given_back)
                acc[h][c] = _mm256_sub_epi32(acc[h][c], back);
        }
    }
    for (int c = 0; c < (high ? nc / 2 : nc); c++)
        for (int h = 0; h < halves; h++) {
            __m256i sum = acc[h][high ? 2 * c : c];
            if (high)                                    /* two columns make one: 254 hi = 256 hi - 2 hi */
                sum = _mm256_add_epi32(_mm256_sub_epi32(_mm256_slli_epi32(sum, 8), _mm256_slli_epi32(sum, 1)), acc[h][2 * c + 1]);
            ret[h][c] = _mm256_cvtepi32_ps(sum);
        }
}

/* One run of 32 k, added to the chains; nc rows of activations, half as many chains in high precision. */
INLINE void run32(const enum vs_matrix_class cls, const struct place at, const bool unpacked, const int halves,
                  const int nc, const bool high, const __m256i list, const struct vs_act *x, __m256 acc[2][MAX_COLUMNS])
{
    const struct traits t = traits_of(cls);
    const int pair = high ? 2 : 1, chains = nc / pair;
    __m256 sum[2][MAX_COLUMNS];
    if (t.per16) {
        __m256 first[2][MAX_COLUMNS];
        dots(cls, at, unpacked, 0, 4, halves, nc, high, list, x, first);
        for (int h = 0; h < halves; h++) {
            __m256 s = scale_at(cls, at, unpacked, h, 0);
            for (int c = 0; c < chains; c++)
                first[h][c] = _mm256_mul_ps(first[h][c], s);
        }
        dots(cls, at, unpacked, 4, 4, halves, nc, high, list, x, sum);
        for (int h = 0; h < halves; h++) {
            __m256 s = scale_at(cls, at, unpacked, h, 1);
            for (int c = 0; c < chains; c++) {
                __m256 v = _mm256_fmadd_ps(sum[h][c], s, first[h][c]);
                acc[h][c] = _mm256_fmadd_ps(v, _mm256_broadcast_ss(&x[c * pair].d), acc[h][c]);
            }
            for (int i = 0; i < 2 && t.has_min; i++) {
                __m256 m = min_at(cls, at, unpacked, h, i);
                for (int c = 0; c < chains; c++)
                    acc[h][c] = _mm256_fmadd_ps(m, _mm256_broadcast_ss(&x[c * pair].dsh[i]), acc[h][c]);
            }
        }
        return;
    }
    dots(cls, at, unpacked, 0, 8, halves, nc, high, list, x, sum);
    for (int h = 0; h < halves; h++) {
        __m256 s = scale_at(cls, at, unpacked, h, 0);
        for (int c = 0; c < chains; c++)
            acc[h][c] = _mm256_fmadd_ps(sum[h][c], _mm256_mul_ps(s, _mm256_broadcast_ss(&x[c * pair].d)), acc[h][c]);
        if (t.has_min) {
            __m256 m = min_at(cls, at, unpacked, h, 0);
            for (int c = 0; c < chains; c++)
                acc[h][c] = _mm256_fmadd_ps(m, _mm256_broadcast_ss(&x[c * pair].ds), acc[h][c]);
        }
    }
}

/* Rows row .. row + 8 * halves of columns first .. first + nc: bias, residual, store. */
INLINE void finish(const struct vs_matmul *m, size_t row, size_t first, const int halves, const int nc, __m256 acc[2][MAX_COLUMNS])
{
    for (int c = 0; c < nc; c++)
        for (int h = 0; h < halves; h++) {
            size_t r = row + 8 * (size_t)h, at = (first + (size_t)c) * m->ldy + r;
            if (r + 8 <= m->w->n_rows) {
                __m256 v = acc[h][c];
                if (m->bias)
                    v = _mm256_add_ps(v, _mm256_loadu_ps(m->bias + r));
                if (m->residual)
                    v = _mm256_add_ps(_mm256_loadu_ps(m->residual + at), v);
                _mm256_storeu_ps(m->y + at, v);
                continue;
            }
            float lane[8];
            _mm256_storeu_ps(lane, acc[h][c]);
            for (size_t i = 0; r + i < m->w->n_rows && i < 8; i++) {
                float v = lane[i];
                if (m->bias)
                    v += m->bias[r + i];
                if (m->residual)
                    v = m->residual[at + i] + v;
                m->y[at + i] = v;
            }
        }
}

/* nc columns that lie in one activation panel of `width` rows, against one panel of weights. */
INLINE void tile(const enum vs_matrix_class cls, const struct vs_matmul *m, const uint8_t *panel, size_t row, size_t first,
                 const struct vs_act *x, size_t width, const int halves, const int nc, const bool high)
{
    const struct traits t = traits_of(cls);
    const int runs = t.super_len / 32;
    const __m256i list = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)m->w->list));
    size_t n_super = m->w->n_cols / (unsigned)t.super_len, ahead = vs_bytes_ahead(cls, m, first, nc);
    for (int half = 0; half < 2; half += halves) {
        __m256 acc[2][MAX_COLUMNS];
        for (int h = 0; h < halves; h++)
            for (int c = 0; c < nc; c++)
                acc[h][c] = _mm256_setzero_ps();
        const struct vs_act *at = x;
        const uint8_t *super = panel;
        for (size_t s = 0; s < n_super; s++, super += t.super_bytes)
            for (int run = 0; run < runs; run++, at += width) {
                if (half == 0)           /* the other half lies in the same lines */
                    vs_prefetch_weights(super + run * t.step, ahead, run + 1 < runs ? t.step : (int)t.super_bytes - run * t.step);
                run32(cls, (struct place){ super, NULL, run, half }, false, halves, nc, high, list, at, acc);
            }
        finish(m, row + 8 * (size_t)half, high ? first / 2 : first, halves, high ? nc / 2 : nc, acc);
    }
}

/* ---- many columns: their chains ---- */

/* Continues the chains of nc columns over all runs of a chunk; a run of x is `width` blocks. */
INLINE void chunk_tile(const enum vs_matrix_class cls, const struct chunk *chunk, const int runs, const struct vs_act *x,
                       size_t width, const int halves, const int nc, const bool high, float (*chain)[16])
{
    const int chains = high ? nc / 2 : nc;
    for (int half = 0; half < 2; half += halves) {
        __m256 acc[2][MAX_COLUMNS];
        for (int h = 0; h < halves; h++)
            for (int c = 0; c < chains; c++)
                acc[h][c] = _mm256_loadu_ps(chain[c] + 8 * (half + h));
        const struct vs_act *at = x;
        for (int run = 0; run < runs; run++, at += width)
            run32(cls, (struct place){ NULL, chunk, run, half }, true, halves, nc, high, _mm256_setzero_si256(), at, acc);
        for (int h = 0; h < halves; h++)
            for (int c = 0; c < chains; c++)
                _mm256_storeu_ps(chain[c] + 8 * (half + h), acc[h][c]);
    }
}

/* Panel p for n columns from `first` on, up to VS_MANY_ROWS; both count rows of activations. */
INLINE void many_columns(const enum vs_matrix_class cls, const struct vs_matmul *m, size_t p, size_t first, size_t n,
                         const bool high)
{
    const struct traits t = traits_of(cls);
    const size_t n_blocks = m->w->n_cols / 32, super_len = (size_t)t.super_len, ahead = vs_bytes_ahead(cls, m, first, MAX_COLUMNS);
    const __m256i list = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)m->w->list));
    const uint8_t *panel = m->w->data + p * vs_matrix_panel_bytes(m->w);
    _Alignas(64) float chain[VS_MANY_ROWS][16];
    struct chunk chunk;
    memset(chain, 0, n * sizeof *chain);
    for (size_t b = 0, runs; b < n_blocks; b += runs) {
        runs = n_blocks - b < CHUNK_RUNS ? n_blocks - b : CHUNK_RUNS;
        unpack(cls, panel + b * 32 / super_len * (size_t)t.super_bytes, (int)runs, ahead, list, &chunk);
        for (size_t i = 0; i < n; i += VS_ACT_ROWS) {
            size_t width = vs_act_width(first + n, first + i), c = 0;
            const struct vs_act *x = m->x + vs_act_index(n_blocks, first + i) + b * width;
            float (*of)[16] = chain + (high ? i / 2 : i);
            for (; c + 4 <= width; c += 4)
                chunk_tile(cls, &chunk, (int)runs, x + c, width, 1, 4, high, of + (high ? c / 2 : c));
            if (!high && width - c == 3)
                chunk_tile(cls, &chunk, (int)runs, x + c, width, 1, 3, false, of + c);
            else if (width - c == 2)
                chunk_tile(cls, &chunk, (int)runs, x + c, width, 2, 2, high, of + (high ? c / 2 : c));
            else if (!high && width - c == 1)
                chunk_tile(cls, &chunk, (int)runs, x + c, width, 2, 1, false, of + c);
        }
    }
    for (size_t i = 0; i < (high ? n / 2 : n); i++) {
        __m256 v[2][MAX_COLUMNS];
        v[0][0] = _mm256_load_ps(chain[i]);
        v[1][0] = _mm256_load_ps(chain[i] + 8);
        finish(m, p * VS_PANEL_ROWS, (high ? first / 2 : first) + i, 2, 1, v);
    }
}

INLINE void panels(const enum vs_matrix_class cls, const struct vs_matmul *m, size_t begin, size_t end, const bool high)
{
    size_t n_blocks = m->w->n_cols / 32, panel_bytes = vs_matrix_panel_bytes(m->w), n = high ? 2 * m->n : m->n;
    if (vs_class_is_unpacked(cls) && n > VS_ACT_ROWS) {
        for (size_t first = 0; first < n; first += VS_MANY_ROWS)
            for (size_t p = begin; p < end; p++)
                many_columns(cls, m, p, first, n - first < VS_MANY_ROWS ? n - first : VS_MANY_ROWS, high);
        return;
    }
    for (size_t first = 0; first < n; first += VS_ACT_ROWS) {
        size_t width = vs_act_width(n, first);
        const struct vs_act *x = m->x + vs_act_index(n_blocks, first);
        for (size_t p = begin; p < end; p++) {
            const uint8_t *panel = m->w->data + p * panel_bytes;
            size_t row = p * VS_PANEL_ROWS;
            size_t c = 0;
            for (; c + 4 <= width; c += 4)
                tile(cls, m, panel, row, first + c, x + c, width, 1, 4, high);
            if (!high && width - c == 3)
                tile(cls, m, panel, row, first + c, x + c, width, 1, 3, false);
            else if (width - c == 2)
                tile(cls, m, panel, row, first + c, x + c, width, 2, 2, high);
            else if (!high && width - c == 1)
                tile(cls, m, panel, row, first + c, x + c, width, 2, 1, false);
        }
    }
}

/* ---- float weights: 32 fma from zero, then one add to the chain ---- */

INLINE void float_values(const enum vs_matrix_class cls, const uint8_t *at, __m256 ret[2])
{
    for (int h = 0; h < 2; h++) {
        if (cls == VS_CLASS_F32)
            ret[h] = _mm256_loadu_ps((const float *)(const void *)(at + 32 * h));
        else if (cls == VS_CLASS_F16)
            ret[h] = half8(at + 16 * h);
        else
            ret[h] = _mm256_castsi256_ps(_mm256_slli_epi32(
                _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)(at + 16 * h))), 16));
    }
}

INLINE void float_tile(const enum vs_matrix_class cls, const struct vs_matmul *m, const uint8_t *panel, size_t row, size_t first,
                       const int nc)
{
    const size_t step = cls == VS_CLASS_F32 ? 64 : 32, n = m->w->n_cols, ahead = vs_bytes_ahead(cls, m, first, nc);
    __m256 acc[2][MAX_COLUMNS];
    for (int c = 0; c < nc; c++)
        acc[0][c] = acc[1][c] = _mm256_setzero_ps();
    for (size_t k0 = 0; k0 < n; k0 += 32) {
        size_t end = n - k0 < 32 ? n : k0 + 32;
        __m256 block[2][MAX_COLUMNS];
        for (int c = 0; c < nc; c++)
            block[0][c] = block[1][c] = _mm256_setzero_ps();
        vs_prefetch_weights(panel + k0 * step, ahead, (int)(32 * step));
        for (size_t k = k0; k < end; k++) {
            __m256 w[2];
            float_values(cls, panel + k * step, w);
            for (int c = 0; c < nc; c++) {
                __m256 x = _mm256_broadcast_ss(m->xf + (first + (size_t)c) * m->ldx + k);
                block[0][c] = _mm256_fmadd_ps(w[0], x, block[0][c]);
                block[1][c] = _mm256_fmadd_ps(w[1], x, block[1][c]);
            }
        }
        for (int c = 0; c < nc; c++)
            for (int h = 0; h < 2; h++)
                acc[h][c] = _mm256_add_ps(acc[h][c], block[h][c]);
    }
    finish(m, row, first, 2, nc, acc);
}

INLINE void float_panels(const enum vs_matrix_class cls, const struct vs_matmul *m, size_t begin, size_t end)
{
    size_t panel_bytes = vs_matrix_panel_bytes(m->w);
    for (size_t p = begin; p < end; p++) {
        const uint8_t *panel = m->w->data + p * panel_bytes;
        size_t i = 0, row = p * VS_PANEL_ROWS;
        for (; i + 3 <= m->n; i += 3)
            float_tile(cls, m, panel, row, i, 3);
        for (; i < m->n; i++)
            float_tile(cls, m, panel, row, i, 1);
    }
}

VS_MATMUL_DISPATCH
#endif
