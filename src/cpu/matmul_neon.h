/* cpu/matmul_neon.h - matrices on 64-bit Arm: one tile for all classes, with one inlined unpack for each; compiled twice, with the
 * dot instruction (matmul_neon.c) and with the matrix instruction (matmul_i8mm.c, which defines VS_NEON_I8MM).
 *
 * A tile is QUADS x 4 rows and NC columns (rows of x). The panels are those of matrix.h: sixteen bytes of a k-step are 4 rows by
 * 4 k, as sdot takes them. Codes are at most 63 or, made signed, eight bits wide; sums are 32 bits from the start, so nothing can
 * overflow. smmla takes 2 rows by 8 k: two k-steps zipped by words, against two columns.
 */
#ifndef VS_CPU_MATMUL_NEON_H
#define VS_CPU_MATMUL_NEON_H
#include "cpu/classes.h"
#include "cpu/matmul_dispatch.h"

#include "cpu/math_neon.h"

#include <string.h>

#define INLINE static inline __attribute__((always_inline))

enum { MAX_COLUMNS = 4, MAX_QUADS = 4 };

INLINE float32x4_t half4(const uint8_t *p)               /* 4 x f16 */
{
    return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(p)));
}

INLINE float32x4_t u8x4(const uint8_t *p, const uint8_t shift, const uint8_t mask)
{
    uint32_t v;
    memcpy(&v, p, 4);
    uint8x8_t b = vreinterpret_u8_u32(vdup_n_u32(v));
    b = vand_u8(vshl_u8(b, vdup_n_s8((int8_t)-shift)), vdup_n_u8(mask));
    return vcvtq_f32_u32(vmovl_u16(vget_low_u16(vmovl_u8(b))));
}

INLINE float32x4_t i8x4(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
    return vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(vreinterpret_s8_u32(vdup_n_u32(v))))));
}

/* Bits of v moved to where mask wants them; left is negative to the right. */
INLINE uint8x16_t bits(uint8x16_t v, const int left, const uint8_t mask)
{
    return vandq_u8(vshlq_u8(v, vdupq_n_s8((int8_t)left)), vdupq_n_u8(mask));
}

/* Codes of k-step g of a run of 32 for the 4 rows whose bytes begin at `at` (start of the run + 16 * quad); of classes with a
 * list: what the list has in their place. Those of eight bits are made signed. */
INLINE int8x16_t codes(const struct vs_class_layout l, const uint8_t *at, const int g, const uint8x16_t list)
{
    uint8x16_t v;
    if (l.low_bits == 8)
        v = vld1q_u8(at + 64 * g);
    else if (l.low_bits == 1)                            /* twice the bit */
        v = bits(vld1q_u8(at), 1 - g, 2);
    else if (l.low_bits == 3 && g >= 6)
        v = vorrq_u8(vorrq_u8(bits(vld1q_u8(at), -3 - 4 * (g % 2), 1), bits(vld1q_u8(at + 64), -2 - 4 * (g % 2), 2)),
                     bits(vld1q_u8(at + 128), -1 - 4 * (g % 2), 4));
    else if (l.low_bits == 3)
        v = bits(vld1q_u8(at + 64 * (g / 2)), g % 2 ? -4 : 0, 7);
    else if (l.low_bits == 2)
        v = bits(vld1q_u8(at + 64 * (g / 4)), -2 * (g % 4), 3);
    else
        v = bits(vld1q_u8(at + 64 * (g / 2)), g % 2 ? -4 : 0, 15);
    if (l.top_bits == 1)
        v = vorrq_u8(v, bits(vld1q_u8(at + l.panel_top), l.low_bits - g, (uint8_t)(1 << l.low_bits)));
    else if (l.top_bits == 2)
        v = vorrq_u8(v, bits(vld1q_u8(at + l.panel_top + 64 * (g / 4)), l.low_bits - 2 * (g % 4), (uint8_t)(3 << l.low_bits)));
    if (l.has_list)
        v = vqtbl1q_u8(list, v);
    return vreinterpretq_s8_u8(l.offset == 128 ? veorq_u8(v, vdupq_n_u8(0x80)) : v);
}

/* What differs between the classes, all known at compile time. */
struct traits {
    int super_len, super_bytes, header, step, offset;
    bool per16, has_min;
};

INLINE struct traits traits_of(const enum vs_matrix_class cls)
{
    const struct vs_class_layout l = vs_class_layout(cls);
    return (struct traits){ l.block_len, l.super_bytes, l.header, l.step, l.offset == 128 ? 0 : l.offset, l.per16, l.has_min };
}

INLINE uint32x4_t bytes4(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
    return vmovl_u16(vget_low_u16(vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(v)))));
}

INLINE float32x4_t e8m0x4(const uint8_t *p)              /* 2^(e - 128); half of 2^(e - 127), which is a denormal for e = 0 alone */
{
    uint32x4_t e = vmaxq_u32(vshlq_n_u32(bytes4(p), 23), vdupq_n_u32(0x00400000));
    return vmulq_n_f32(vreinterpretq_f32_u32(e), 0.5f);
}

INLINE float32x4_t e4m3x4(const uint8_t *p)
{
    uint16x4_t h = vmovn_u32(vshlq_n_u32(bytes4(p), 7));
    return vmulq_n_f32(vcvt_f32_f16(vreinterpret_f16_u16(h)), 128.0f);
}

/* Scale (and minimum) of part i (0, or 0 and 1 with per16) of run `run` for 4 rows; super points at the superblock. */
INLINE float32x4_t scale4(const enum vs_matrix_class cls, const uint8_t *super, const int quad, const int run, const int i)
{
    if (cls == VS_CLASS_M4)
        return e8m0x4(super + 4 * quad);
    if (cls == VS_CLASS_N4)
        return e4m3x4(super + 16 * (2 * run + i) + 4 * quad);
    float32x4_t d = half4(super + 8 * quad);
    const float32x4_t half = vdupq_n_f32(0.5f), eighth = vdupq_n_f32(0.125f);
    switch (cls) {
    case VS_CLASS_X4:
        return vmulq_f32(d, i8x4(super + 32 + 16 * run + 4 * quad));
    case VS_CLASS_G4:
        return vmulq_f32(d, vaddq_f32(u8x4(super + 32 + 16 * (run / 2) + 4 * quad, run % 2 ? 4 : 0, 15), half));
    case VS_CLASS_G3:
        return vmulq_f32(d, vfmaq_n_f32(eighth, u8x4(super + 32 + 16 * (run / 2) + 4 * quad, run % 2 ? 4 : 0, 15), 0.25f));
    case VS_CLASS_G3H:
        return vmulq_f32(d, vfmaq_n_f32(eighth, u8x4(super + 32 + 16 * run + 4 * quad, i ? 4 : 0, 15), 0.25f));
    case VS_CLASS_K4:
    case VS_CLASS_K5:
        return vmulq_f32(d, u8x4(super + 64 + 16 * run + 4 * quad, 0, 255));
    case VS_CLASS_K2:
        return vmulq_f32(d, u8x4(super + 64 + 16 * (2 * run + i) + 4 * quad, 0, 15));
    case VS_CLASS_K3:
    case VS_CLASS_K6:
        return vmulq_f32(d, i8x4(super + 32 + 16 * (2 * run + i) + 4 * quad));
    default:
        return d;
    }
}

INLINE float32x4_t min4(const enum vs_matrix_class cls, const uint8_t *super, const int quad, const int run, const int i)
{
    float32x4_t m = half4(super + 32 + 8 * quad);
    if (cls == VS_CLASS_Q4M || cls == VS_CLASS_Q5M)
        return m;
    if (cls == VS_CLASS_K2)
        return vnegq_f32(vmulq_f32(m, u8x4(super + 64 + 16 * (2 * run + i) + 4 * quad, 4, 15)));
    return vnegq_f32(vmulq_f32(m, u8x4(super + 192 + 16 * run + 4 * quad, 0, 255)));
}

/* Exact integer sums over k-steps [from, from + steps) of a run. x[c] is column c's block. */
INLINE void sums(const enum vs_matrix_class cls, const uint8_t *at, const int from, const int steps, const int quads, const int nc,
                 const uint8x16_t list, const struct vs_act *x, int32x4_t acc[MAX_QUADS][MAX_COLUMNS])
{
    const struct traits t = traits_of(cls);
    const struct vs_class_layout l = vs_class_layout(cls);
    for (int c = 0; c < nc; c++) {
        int32_t n = steps == 8 ? x[c].nsum : x[c].npair16[from / 4][0] + x[c].npair16[from / 4][1];
        for (int r = 0; r < quads; r++)
            acc[r][c] = vdupq_n_s32(n * t.offset);
    }
#if defined(VS_NEON_I8MM)
    if (nc % 2 == 0) {
        int32x4_t two[MAX_QUADS][MAX_COLUMNS / 2][2];    /* two rows by two columns: rows 0 and 1 of the quad, then 2 and 3 */
        for (int r = 0; r < quads; r++)
            for (int c = 0; c < nc / 2; c++)
                two[r][c][0] = two[r][c][1] = vdupq_n_s32(0);
        for (int g = from; g < from + steps; g += 2)
            for (int r = 0; r < quads; r++) {
                int32x4_t w0 = vreinterpretq_s32_s8(codes(l, at + 16 * r, g, list)),
                          w1 = vreinterpretq_s32_s8(codes(l, at + 16 * r, g + 1, list));
                int8x16_t low = vreinterpretq_s8_s32(vzip1q_s32(w0, w1)), high = vreinterpretq_s8_s32(vzip2q_s32(w0, w1));
                for (int c = 0; c < nc / 2; c++) {
                    int8x16_t q = vcombine_s8(vld1_s8(x[2 * c].q + 4 * g), vld1_s8(x[2 * c + 1].q + 4 * g));
                    two[r][c][0] = vmmlaq_s32(two[r][c][0], low, q);
                    two[r][c][1] = vmmlaq_s32(two[r][c][1], high, q);
                }
            }
        for (int r = 0; r < quads; r++)
            for (int c = 0; c < nc / 2; c++) {
                acc[r][2 * c] = vaddq_s32(acc[r][2 * c], vuzp1q_s32(two[r][c][0], two[r][c][1]));
                acc[r][2 * c + 1] = vaddq_s32(acc[r][2 * c + 1], vuzp2q_s32(two[r][c][0], two[r][c][1]));
            }
        return;
    }
#endif
    for (int g = from; g < from + steps; g++)
        for (int r = 0; r < quads; r++) {
            int8x16_t w = codes(l, at + 16 * r, g, list);
            for (int c = 0; c < nc; c++) {
                int32_t word;
                memcpy(&word, x[c].q + 4 * g, 4);
                acc[r][c] = vdotq_s32(acc[r][c], w, vreinterpretq_s8_s32(vdupq_n_s32(word)));
            }
        }
}

INLINE void dots(const enum vs_matrix_class cls, const uint8_t *at, const int from, const int steps, const int quads, const int nc,
                 const bool high, const uint8x16_t list, const struct vs_act *x, float32x4_t ret[MAX_QUADS][MAX_COLUMNS])
{
    int32x4_t acc[MAX_QUADS][MAX_COLUMNS];
    sums(cls, at, from, steps, quads, nc, list, x, acc);
    for (int r = 0; r < quads; r++)
        for (int c = 0; c < (high ? nc / 2 : nc); c++)
            ret[r][c] = vcvtq_f32_s32(high ? vmlaq_n_s32(acc[r][2 * c + 1], acc[r][2 * c], VS_HIGH_STEP) : acc[r][c]);
}

/* One run of 32 k, added to the chains; nc rows of activations, half as many chains in high precision. */
INLINE void run32(const enum vs_matrix_class cls, const uint8_t *super, const int run, const int quad, const int quads,
                  const int nc, const bool high, const uint8x16_t list, const struct vs_act *x,
                  float32x4_t acc[MAX_QUADS][MAX_COLUMNS])
{
    const struct traits t = traits_of(cls);
    const int pair = high ? 2 : 1, chains = nc / pair;
    const uint8_t *at = super + t.header + run * t.step + 16 * quad;
    float32x4_t sum[MAX_QUADS][MAX_COLUMNS], first[MAX_QUADS][MAX_COLUMNS];
    dots(cls, at, 0, t.per16 ? 4 : 8, quads, nc, high, list, x, first);
    if (t.per16)
        dots(cls, at, 4, 4, quads, nc, high, list, x, sum);
    for (int r = 0; r < quads; r++) {
        float32x4_t s0 = scale4(cls, super, quad + r, run, 0), s1 = t.per16 ? scale4(cls, super, quad + r, run, 1) : s0;
        for (int c = 0; c < chains; c++) {
            if (t.per16)
                acc[r][c] = vfmaq_n_f32(acc[r][c], vfmaq_f32(vmulq_f32(first[r][c], s0), sum[r][c], s1), x[pair * c].d);
            else
                acc[r][c] = vfmaq_f32(acc[r][c], first[r][c], vmulq_n_f32(s0, x[pair * c].d));
        }
        for (int i = 0; i < (t.per16 ? 2 : 1) && t.has_min; i++) {
            float32x4_t m = min4(cls, super, quad + r, run, i);
            for (int c = 0; c < chains; c++)
                acc[r][c] = vfmaq_n_f32(acc[r][c], m, t.per16 ? x[pair * c].dsh[i] : x[pair * c].ds);
        }
    }
}

/* Rows row .. row + 4 * quads of columns first .. first + nc: bias, residual, store. */
INLINE void finish(const struct vs_matmul *m, size_t row, size_t first, const int quads, const int nc,
                   float32x4_t acc[MAX_QUADS][MAX_COLUMNS])
{
    for (int c = 0; c < nc; c++)
        for (int q = 0; q < quads; q++) {
            size_t r = row + 4 * (size_t)q, at = (first + (size_t)c) * m->ldy + r;
            if (r + 4 <= m->w->n_rows) {
                float32x4_t v = acc[q][c];
                if (m->bias)
                    v = vaddq_f32(v, vld1q_f32(m->bias + r));
                if (m->residual)
                    v = vaddq_f32(vld1q_f32(m->residual + at), v);
                vst1q_f32(m->y + at, v);
                continue;
            }
            float lane[4];
            vst1q_f32(lane, acc[q][c]);
            for (size_t i = 0; r + i < m->w->n_rows && i < 4; i++) {
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
                 const struct vs_act *x, size_t width, const int quads, const int nc, const bool high)
{
    const struct traits t = traits_of(cls);
    const int runs = t.super_len / 32;
    const uint8x16_t list = vld1q_u8(m->w->list);
    size_t n_super = m->w->n_cols / (unsigned)t.super_len;
    for (int quad = 0; quad < 4; quad += quads) {
        float32x4_t acc[MAX_QUADS][MAX_COLUMNS];
        for (int q = 0; q < quads; q++)
            for (int c = 0; c < nc; c++)
                acc[q][c] = vdupq_n_f32(0);
        const struct vs_act *at = x;
        const uint8_t *super = panel;
        for (size_t s = 0; s < n_super; s++, super += t.super_bytes)
            for (int run = 0; run < runs; run++, at += width)
                run32(cls, super, run, quad, quads, nc, high, list, at, acc);
        finish(m, row + 4 * (size_t)quad, high ? first / 2 : first, quads, high ? nc / 2 : nc, acc);
    }
}

INLINE void panels(const enum vs_matrix_class cls, const struct vs_matmul *m, size_t begin, size_t end, const bool high)
{
    size_t n_blocks = m->w->n_cols / 32, panel_bytes = vs_matrix_panel_bytes(m->w), n = high ? 2 * m->n : m->n;
    for (size_t first = 0; first < n; first += VS_ACT_ROWS) {
        size_t width = vs_act_width(n, first);
        const struct vs_act *x = m->x + vs_act_index(n_blocks, first);
        for (size_t p = begin; p < end; p++) {
            const uint8_t *panel = m->w->data + p * panel_bytes;
            size_t row = p * VS_PANEL_ROWS, c = 0;
            for (; c + 4 <= width; c += 4)
                tile(cls, m, panel, row, first + c, x + c, width, 2, 4, high);
            if (width - c >= 2) {
                tile(cls, m, panel, row, first + c, x + c, width, 4, 2, high);
                c += 2;
            }
            if (!high && width > c)
                tile(cls, m, panel, row, first + c, x + c, width, 4, 1, high);
        }
    }
}

/* ---- float weights: 32 fma from zero, then one add to the chain ---- */

INLINE float32x4_t float_values(const enum vs_matrix_class cls, const uint8_t *at, const int quad)
{
    if (cls == VS_CLASS_F32)
        return vreinterpretq_f32_u8(vld1q_u8(at + 16 * quad));
    if (cls == VS_CLASS_F16)
        return half4(at + 8 * quad);
    return vreinterpretq_f32_u32(vshll_n_u16(vreinterpret_u16_u8(vld1_u8(at + 8 * quad)), 16));
}

INLINE void float_tile(const enum vs_matrix_class cls, const struct vs_matmul *m, const uint8_t *panel, size_t row, size_t first,
                       const int nc)
{
    const size_t step = cls == VS_CLASS_F32 ? 64 : 32, n = m->w->n_cols;
    float32x4_t acc[MAX_QUADS][MAX_COLUMNS], block[MAX_QUADS][MAX_COLUMNS];
    for (int q = 0; q < 4; q++)
        for (int c = 0; c < nc; c++)
            acc[q][c] = vdupq_n_f32(0);
    for (size_t k0 = 0; k0 < n; k0 += 32) {
        size_t end = n - k0 < 32 ? n : k0 + 32;
        for (int q = 0; q < 4; q++)
            for (int c = 0; c < nc; c++)
                block[q][c] = vdupq_n_f32(0);
        for (size_t k = k0; k < end; k++)
            for (int q = 0; q < 4; q++) {
                float32x4_t w = float_values(cls, panel + k * step, q);
                for (int c = 0; c < nc; c++)
                    block[q][c] = vfmaq_n_f32(block[q][c], w, m->xf[(first + (size_t)c) * m->ldx + k]);
            }
        for (int q = 0; q < 4; q++)
            for (int c = 0; c < nc; c++)
                acc[q][c] = vaddq_f32(acc[q][c], block[q][c]);
    }
    finish(m, row, first, 4, nc, acc);
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
