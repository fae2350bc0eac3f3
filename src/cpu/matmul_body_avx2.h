/* cpu/matmul_body_avx2.h - matrices on 8 lanes: one vector is half of a panel's 16 rows, four k of each. The body of three files:
 *
 *   matmul_avx2.c      products by vpmaddubsw
 *   matmul_avxvnni.c   products by vpdpbusd, VEX encoding (VS_DPBUSD is its intrinsic)
 *   matmul_avx512vl.c  the same, EVEX encoding: for CPUs that have the instruction only with AVX-512
 *
 * A tile is HALVES x 8 rows and NC columns (rows of x). vpdpbusd adds exact products in 32 bits; the offset of a format sits in the
 * sum's start. Without it: codes are unsigned, so vpmaddubsw multiplies them with the signed activations; its 16-bit pair sums
 * can't saturate (127 * 127 * 2 = 32258). They are added modulo 2^16 starting from -offset * (sum of q), and what comes out fits
 * where |code - offset| * 127 * 16 <= 32767: 4 bits, 5 bits with an offset, and lists up to 16, over 32 k with one vpmaddwd in the
 * end; twice that over 16 k, which is each half of a run. Lists up to 43 are widened at every step. Eight-bit codes are made signed
 * and go through |w| * sign(q, w) <= 128 * 127 * 2 = 32512, widened at every step too.
 *
 * On Zen 3 some 3.2 vector operations a cycle come out, whatever their kind, so a step costs by their number: 2, 3 (widened), 4
 * (with its sign). Tried and lost: bytes as two sums of nibbles, also 4 (figures: bench/results/types-2026-12-01-epyc-zen3.md).
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

/* Halves of a panel in a tile of three or four columns: measured without vpdpbusd alone. */
enum { MAX_COLUMNS = 4, HALVES_OF_MANY = VNNI ? 1 : 2 };

/* Keeps gcc from adding in another order: it then holds all products, most of them in memory. */
#define HELD(sum) __asm__("" : "+x"(sum))

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
        return VNNI ? load(at + 64 * g) : _mm256_xor_si256(load(at + 64 * g), _mm256_set1_epi8((char)0x80));
    if (l.low_bits == 1)                                 /* twice the bit */
        return _mm256_and_si256(shifted(load(at), 1 - g), _mm256_set1_epi8(2));
    __m256i v;
    if (l.low_bits == 3 && g >= 6) {                     /* what the nibbles of all three have left */
        v = _mm256_and_si256(shifted(load(at), -3), _mm256_set1_epi8(0x11));
        v = _mm256_or_si256(v, _mm256_and_si256(shifted(load(at + 64), -2), _mm256_set1_epi8(0x22)));
        v = _mm256_or_si256(v, _mm256_and_si256(shifted(load(at + 128), -1), _mm256_set1_epi8(0x44)));
        v = _mm256_and_si256(shifted(v, -4 * (g % 2)), _mm256_set1_epi8(7));
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
enum sums { SUMS_16, SUMS_OF_HALVES, SUMS_WIDE, SUMS_SIZED };       /* without vpdpbusd */

struct traits {
    int super_len, super_bytes, header, step, offset_shift;      /* offset = 1 << shift; -1 = none */
    bool per16, has_min;
    enum sums sums;
};

INLINE struct traits traits_of(const enum vs_matrix_class cls)
{
    const struct vs_class_layout l = vs_class_layout(cls);
    const bool five = cls == VS_CLASS_Q5M || cls == VS_CLASS_K5, six = cls == VS_CLASS_G4 || cls == VS_CLASS_Q6;
    const enum sums sums = l.offset == 128 ? SUMS_SIZED : five || six ? SUMS_OF_HALVES
                           : l.offset == 64 ? SUMS_WIDE : SUMS_16;
    return (struct traits){ l.block_len, l.super_bytes, l.header, l.step, l.offset ? __builtin_ctz(l.offset) : -1, l.per16,
                            l.has_min, sums };
}

INLINE __m256 nibbles8(const uint8_t *p, const int high)         /* the low or high nibbles of 8 bytes */
{
    __m256i s = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p));
    return _mm256_cvtepi32_ps(high ? _mm256_srli_epi32(s, 4) : _mm256_and_si256(s, _mm256_set1_epi32(15)));
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
    const __m256 quarter = _mm256_mul_ps(d, _mm256_set1_ps(0.25f));     /* exact, so each scale is rounded once */
    const __m256 part = _mm256_mul_ps(d, _mm256_set1_ps(cls == VS_CLASS_G4 ? 0.5f : 0.125f));
    switch (cls) {
    case VS_CLASS_X4:
        return _mm256_mul_ps(d, i8x8(super + 32 + 16 * run + 8 * half));
    case VS_CLASS_G4:
        return _mm256_fmadd_ps(nibbles8(super + 32 + 16 * (run / 2) + 8 * half, run % 2), d, part);
    case VS_CLASS_G3:
        return _mm256_fmadd_ps(nibbles8(super + 32 + 16 * (run / 2) + 8 * half, run % 2), quarter, part);
    case VS_CLASS_G3H:
        return _mm256_fmadd_ps(nibbles8(super + 32 + 16 * run + 8 * half, i), quarter, part);
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

/* What codes() chooses from. */
INLINE __m256i list_of(const enum vs_matrix_class cls, const struct vs_matrix *w)
{
    __m256i list = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)w->list));
    return !VNNI && traits_of(cls).sums == SUMS_SIZED ? _mm256_xor_si256(list, _mm256_set1_epi8((char)0x80)) : list;
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

/* Minus the sum of q over k-steps, in the two places of vpmaddubsw. */
INLINE __m256i start16(const struct vs_act *x, const int from, const int steps)
{
    return word(steps == 8 ? x->npair32 : x->npair16[from / 4]);
}

/* acc += sums over k-steps [from, from + steps) of a run, of 16 bits until the end. */
INLINE void sums16(const enum vs_matrix_class cls, const struct place at, const bool unpacked, const int from, const int steps,
                   const int halves, const int nc, const __m256i list, const struct vs_act *x, __m256i acc[2][MAX_COLUMNS])
{
    const int shift = traits_of(cls).offset_shift;
    __m256i sum[2][MAX_COLUMNS];
    for (int c = 0; c < nc; c++)
        sum[0][c] = sum[1][c] = shift < 0 ? _mm256_setzero_si256() : _mm256_slli_epi16(start16(x + c, from, steps), shift);
#pragma GCC unroll 8
    for (int g = from; g < from + steps; g++)
        for (int h = 0; h < halves; h++) {
            __m256i w = codes_at(cls, at, unpacked, h, g, list);
            for (int c = 0; c < nc; c++) {
                sum[h][c] = _mm256_add_epi16(sum[h][c], _mm256_maddubs_epi16(w, word(x[c].q + 4 * g)));
                HELD(sum[h][c]);
            }
        }
    for (int c = 0; c < nc; c++)
        for (int h = 0; h < halves; h++)
            acc[h][c] = _mm256_add_epi32(acc[h][c], _mm256_madd_epi16(sum[h][c], _mm256_set1_epi16(1)));
}

/* The same, of 32 bits: by vpdpbusd, or each step widened. */
INLINE void sums32(const enum vs_matrix_class cls, const struct place at, const bool unpacked, const int from, const int steps,
                   const int halves, const int nc, const __m256i list, const struct vs_act *x, __m256i acc[2][MAX_COLUMNS])
{
    const struct traits t = traits_of(cls);
    const bool sized = t.sums == SUMS_SIZED;
    const __m256i ones = _mm256_set1_epi16(1), offset = _mm256_set1_epi16((short)(t.offset_shift < 0 ? 0 : 1 << t.offset_shift));
    for (int c = 0; c < nc && t.offset_shift >= 0 && (VNNI || !sized); c++)
        acc[0][c] = acc[1][c] = _mm256_madd_epi16(start16(x + c, from, steps), offset);
#pragma GCC unroll 8
    for (int g = from; g < from + steps; g++)
        for (int h = 0; h < halves; h++) {
            const __m256i w = codes_at(cls, at, unpacked, h, g, list), size = sized ? _mm256_abs_epi8(w) : w;
            for (int c = 0; c < nc; c++) {
                __m256i q = word(x[c].q + 4 * g);
                if (VNNI) {
                    acc[h][c] = VS_DPBUSD(acc[h][c], w, q);
                    continue;
                }
                q = sized ? _mm256_sign_epi8(q, w) : q;
                acc[h][c] = _mm256_add_epi32(acc[h][c], _mm256_madd_epi16(_mm256_maddubs_epi16(size, q), ones));
                HELD(acc[h][c]);
            }
        }
}

/* Exact integer sums over k-steps [from, from + steps) of a run, as floats. x[c] is column c's block. */
INLINE void dots(const enum vs_matrix_class cls, const bool small, const struct place at, const bool unpacked, const int from,
                 const int steps, const int halves, const int nc, const bool high, const __m256i list, const struct vs_act *x,
                 __m256 ret[2][MAX_COLUMNS])
{
    const enum sums sums = traits_of(cls).sums;
    __m256i acc[2][MAX_COLUMNS];
    for (int c = 0; c < nc; c++)
        acc[0][c] = acc[1][c] = _mm256_setzero_si256();
    if (VNNI || sums == SUMS_SIZED || (sums == SUMS_WIDE && !small))
        sums32(cls, at, unpacked, from, steps, halves, nc, list, x, acc);
    else if (sums == SUMS_OF_HALVES) {
        sums16(cls, at, unpacked, 0, 4, halves, nc, list, x, acc);
        sums16(cls, at, unpacked, 4, 4, halves, nc, list, x, acc);
    } else
        sums16(cls, at, unpacked, from, steps, halves, nc, list, x, acc);
    for (int c = 0; c < (high ? nc / 2 : nc); c++)
        for (int h = 0; h < halves; h++) {
            __m256i sum = acc[h][high ? 2 * c : c];
            if (high)                                    /* two columns make one: 254 hi = 256 hi - 2 hi */
                sum = _mm256_add_epi32(_mm256_sub_epi32(_mm256_slli_epi32(sum, 8), _mm256_slli_epi32(sum, 1)), acc[h][2 * c + 1]);
            ret[h][c] = _mm256_cvtepi32_ps(sum);
        }
}

/* One run of 32 k, added to the chains; nc rows of activations, half as many chains in high precision. */
INLINE void run32(const enum vs_matrix_class cls, const bool small, const struct place at, const bool unpacked, const int halves,
                  const int nc, const bool high, const __m256i list, const struct vs_act *x, __m256 acc[2][MAX_COLUMNS])
{
    const struct traits t = traits_of(cls);
    const int pair = high ? 2 : 1, chains = nc / pair;
    __m256 sum[2][MAX_COLUMNS];
    if (t.per16) {
        __m256 first[2][MAX_COLUMNS];
        dots(cls, small, at, unpacked, 0, 4, halves, nc, high, list, x, first);
        for (int h = 0; h < halves; h++) {
            __m256 s = scale_at(cls, at, unpacked, h, 0);
            for (int c = 0; c < chains; c++)
                first[h][c] = _mm256_mul_ps(first[h][c], s);
        }
        dots(cls, small, at, unpacked, 4, 4, halves, nc, high, list, x, sum);
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
    dots(cls, small, at, unpacked, 0, 8, halves, nc, high, list, x, sum);
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
INLINE void tile(const enum vs_matrix_class cls, const bool small, const struct vs_matmul *m, const uint8_t *panel, size_t row,
                 size_t first, const struct vs_act *x, size_t width, const int halves, const int nc, const bool high)
{
    const struct traits t = traits_of(cls);
    const int runs = t.super_len / 32;
    const __m256i list = list_of(cls, m->w);
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
                run32(cls, small, (struct place){ super, NULL, run, half }, false, halves, nc, high, list, at, acc);
            }
        finish(m, row + 8 * (size_t)half, high ? first / 2 : first, halves, high ? nc / 2 : nc, acc);
    }
}

/* ---- many columns: their chains ---- */

/* Continues the chains of nc columns over all runs of a chunk; a run of x is `width` blocks. */
INLINE void chunk_tile(const enum vs_matrix_class cls, const bool small, const struct chunk *chunk, const int runs,
                       const struct vs_act *x, size_t width, const int halves, const int nc, const bool high, float (*chain)[16])
{
    const int chains = high ? nc / 2 : nc;
    for (int half = 0; half < 2; half += halves) {
        __m256 acc[2][MAX_COLUMNS];
        for (int h = 0; h < halves; h++)
            for (int c = 0; c < chains; c++)
                acc[h][c] = _mm256_loadu_ps(chain[c] + 8 * (half + h));
        const struct vs_act *at = x;
        for (int run = 0; run < runs; run++, at += width)
            run32(cls, small, (struct place){ NULL, chunk, run, half }, true, halves, nc, high, _mm256_setzero_si256(), at, acc);
        for (int h = 0; h < halves; h++)
            for (int c = 0; c < chains; c++)
                _mm256_storeu_ps(chain[c] + 8 * (half + h), acc[h][c]);
    }
}

/* Panel p for n columns from `first` on, up to VS_MANY_ROWS; both count rows of activations. */
INLINE void many_columns(const enum vs_matrix_class cls, const bool small, const struct vs_matmul *m, size_t p, size_t first,
                         size_t n, const bool high)
{
    const struct traits t = traits_of(cls);
    const size_t n_blocks = m->w->n_cols / 32, super_len = (size_t)t.super_len, ahead = vs_bytes_ahead(cls, m, first, MAX_COLUMNS);
    const __m256i list = list_of(cls, m->w);
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
                chunk_tile(cls, small, &chunk, (int)runs, x + c, width, HALVES_OF_MANY, 4, high, of + (high ? c / 2 : c));
            if (!high && width - c == 3)
                chunk_tile(cls, small, &chunk, (int)runs, x + c, width, HALVES_OF_MANY, 3, false, of + c);
            else if (width - c == 2)
                chunk_tile(cls, small, &chunk, (int)runs, x + c, width, 2, 2, high, of + (high ? c / 2 : c));
            else if (!high && width - c == 1)
                chunk_tile(cls, small, &chunk, (int)runs, x + c, width, 2, 1, false, of + c);
        }
    }
    for (size_t i = 0; i < (high ? n / 2 : n); i++) {
        __m256 v[2][MAX_COLUMNS];
        v[0][0] = _mm256_load_ps(chain[i]);
        v[1][0] = _mm256_load_ps(chain[i] + 8);
        finish(m, p * VS_PANEL_ROWS, (high ? first / 2 : first) + i, 2, 1, v);
    }
}

INLINE void all_panels(const enum vs_matrix_class cls, const bool small, const struct vs_matmul *m, size_t begin, size_t end,
                       const bool high)
{
    size_t n_blocks = m->w->n_cols / 32, panel_bytes = vs_matrix_panel_bytes(m->w), n = high ? 2 * m->n : m->n;
    if (vs_class_is_unpacked(cls) && n > VS_ACT_ROWS) {
        for (size_t first = 0; first < n; first += VS_MANY_ROWS)
            for (size_t p = begin; p < end; p++)
                many_columns(cls, small, m, p, first, n - first < VS_MANY_ROWS ? n - first : VS_MANY_ROWS, high);
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
                tile(cls, small, m, panel, row, first + c, x + c, width, HALVES_OF_MANY, 4, high);
            if (!high && width - c == 3)
                tile(cls, small, m, panel, row, first + c, x + c, width, HALVES_OF_MANY, 3, false);
            else if (width - c == 2)
                tile(cls, small, m, panel, row, first + c, x + c, width, 2, 2, high);
            else if (!high && width - c == 1)
                tile(cls, small, m, panel, row, first + c, x + c, width, 2, 1, false);
        }
    }
}

/* Whether all values of a list of 8 with an offset of 64 are so small that sums fit 16 bits: 16 * 127 * 16. */
INLINE bool is_small(const struct vs_matrix *w)
{
    bool ret = true;
    for (int i = 0; i < 8; i++)
        ret = ret && w->list[i] >= 64 - 16 && w->list[i] <= 64 + 16;
    return ret;
}

INLINE void panels(const enum vs_matrix_class cls, const struct vs_matmul *m, size_t begin, size_t end, const bool high)
{
    if (!VNNI && traits_of(cls).sums == SUMS_WIDE && is_small(m->w))
        all_panels(cls, true, m, begin, end, high);
    else
        all_panels(cls, false, m, begin, end, high);
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

/* Chains of a tile: six columns, so that two fma a cycle need not wait for their sums. They lie in memory between blocks. */
enum { FLOAT_COLUMNS = 6, FLOAT_CHUNK = 256, FLOAT_PANELS = 4 };

/* One k of a block of nc columns. */
INLINE void float_step(const enum vs_matrix_class cls, const uint8_t *w, const float *x, size_t ldx, const int nc, const bool first,
                       __m256 block[2][FLOAT_COLUMNS])
{
    __m256 v[2];
    float_values(cls, w, v);
    for (int c = 0; c < nc; c++) {
        __m256 q = _mm256_broadcast_ss(x + (size_t)c * ldx);
        for (int h = 0; h < 2; h++)      /* the first fma is from zero: its product, and a zero's sign is lost in the chain */
            block[h][c] = first ? _mm256_mul_ps(v[h], q) : _mm256_fmadd_ps(v[h], q, block[h][c]);
    }
}

/* Continues the chains of nc columns over n k, a multiple of 32 but for the end of a row. The empty `asm` keeps gcc from holding
 * chains in registers that the blocks need: 0.85 of the peak in place of 0.99. */
INLINE void float_tile(const enum vs_matrix_class cls, const uint8_t *w, size_t ahead, const float *x, size_t ldx, size_t n,
                       const int nc, float (*chain)[16])
{
    const size_t step = cls == VS_CLASS_F32 ? 64 : 32;
    for (; n; w += 32 * step, x += 32) {
        __m256 block[2][FLOAT_COLUMNS];
        size_t end = n < 32 ? n : 32;
        vs_prefetch_weights(w, ahead, (int)(32 * step));
        float_step(cls, w, x, ldx, nc, true, block);
        if (end == 32) {
#pragma GCC unroll 31
            for (size_t k = 1; k < 32; k++)
                float_step(cls, w + k * step, x + k, ldx, nc, false, block);
        } else
            for (size_t k = 1; k < end; k++)
                float_step(cls, w + k * step, x + k, ldx, nc, false, block);
        __asm__ volatile("" ::: "memory");
        for (int c = 0; c < nc; c++)
            for (int h = 0; h < 2; h++)
                _mm256_storeu_ps(chain[c] + 8 * h, _mm256_add_ps(_mm256_loadu_ps(chain[c] + 8 * h), block[h][c]));
        __asm__ volatile("" ::: "memory");
        n -= end;
    }
}

/* The same for any number of columns. */
INLINE void float_tiles(const enum vs_matrix_class cls, const uint8_t *w, size_t ahead, const float *x, size_t ldx, size_t n,
                        size_t columns, float (*chain)[16])
{
    size_t i = 0;
    for (; i + 6 <= columns; i += 6)
        float_tile(cls, w, ahead, x + i * ldx, ldx, n, 6, chain + i);
    for (; i + 4 <= columns && i + 5 != columns; i += 4)
        float_tile(cls, w, ahead, x + i * ldx, ldx, n, 4, chain + i);
    for (; i + 3 <= columns; i += 3)
        float_tile(cls, w, ahead, x + i * ldx, ldx, n, 3, chain + i);
    if (i + 2 == columns)
        float_tile(cls, w, ahead, x + i * ldx, ldx, n, 2, chain + i);
    if (i + 1 == columns)
        float_tile(cls, w, ahead, x + i * ldx, ldx, n, 1, chain + i);
}

static __attribute__((noinline)) void unpacked_tiles(const float (*w)[16], const float *x, size_t ldx, size_t n, size_t columns,
                                                     float (*chain)[16])
{
    float_tiles(VS_CLASS_F32, (const uint8_t *)(const void *)w, 0, x, ldx, n, columns, chain);
}

INLINE void float_finish(const struct vs_matmul *m, size_t p, size_t first, size_t columns, float (*chain)[16])
{
    for (size_t i = 0; i < columns; i++) {
        __m256 v[2][MAX_COLUMNS];
        v[0][0] = _mm256_load_ps(chain[i]);
        v[1][0] = _mm256_load_ps(chain[i] + 8);
        finish(m, p * VS_PANEL_ROWS, first + i, 2, 1, v);
    }
}

/* A few panels from p on for many columns: FLOAT_CHUNK k of a panel at a time, as f32 in the first cache, which x, from the second,
 * passes. */
INLINE void many_floats(const enum vs_matrix_class cls, const struct vs_matmul *m, size_t p, size_t panels, size_t first,
                        size_t columns)
{
    const size_t step = cls == VS_CLASS_F32 ? 64 : 32, n = m->w->n_cols;
    _Alignas(64) float chain[FLOAT_PANELS][VS_MANY_ROWS][16], w[FLOAT_CHUNK][16];
    memset(chain, 0, panels * sizeof *chain);
    for (size_t k0 = 0; k0 < n; k0 += FLOAT_CHUNK) {
        size_t len = n - k0 < FLOAT_CHUNK ? n - k0 : FLOAT_CHUNK;
        const float *x = m->xf + first * m->ldx + k0;
        for (size_t i = 0; i < panels; i++) {
            const uint8_t *at = m->w->data + (p + i) * vs_matrix_panel_bytes(m->w) + k0 * step;
            for (size_t k = 0; k < len; k++) {
                __m256 v[2];
                float_values(cls, at + k * step, v);
                _mm256_store_ps(w[k], v[0]);
                _mm256_store_ps(w[k] + 8, v[1]);
            }
            unpacked_tiles((const float (*)[16])w, x, m->ldx, len, columns, chain[i]);
        }
    }
    for (size_t i = 0; i < panels; i++)
        float_finish(m, p + i, first, columns, chain[i]);
}

INLINE void float_panels(const enum vs_matrix_class cls, const struct vs_matmul *m, size_t begin, size_t end)
{
    if (m->n <= VS_ACT_ROWS) {
        for (size_t p = begin; p < end; p++) {
            _Alignas(64) float chain[VS_ACT_ROWS][16] = {0};
            float_tiles(cls, m->w->data + p * vs_matrix_panel_bytes(m->w), vs_bytes_ahead(cls, m, 0, (int)m->n), m->xf, m->ldx,
                        m->w->n_cols, m->n, chain);
            float_finish(m, p, 0, m->n, chain);
        }
        return;
    }
    for (size_t first = 0; first < m->n; first += VS_MANY_ROWS)
        for (size_t p = begin; p < end; p += FLOAT_PANELS)
            many_floats(cls, m, p, end - p < FLOAT_PANELS ? end - p : FLOAT_PANELS, first,
                        m->n - first < VS_MANY_ROWS ? m->n - first : VS_MANY_ROWS);
}

VS_MATMUL_DISPATCH
#endif
