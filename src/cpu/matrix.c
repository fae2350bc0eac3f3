/* cpu/matrix.c - see matrix.h */
#include "cpu/matrix.h"
#include "cpu/classes.h"

#include "base/bytes.h"

#include <assert.h>
#include <string.h>

const struct vs_class_info vs_class_infos[VS_N_CLASSES] = {
#define X(cls, type, k, bytes, off, d, m, sub, sub_at, low, low_at, top, top_at, panel) \
    [VS_CLASS_##cls] = { VS_##type, k, panel, off, (sub) != VS_SUB_NONE && (sub) != VS_SUB_SIX_MIN, (m) != VS_NOT_THERE, false },
    VS_BLOCK_CLASSES(X)
#undef X
    [VS_CLASS_F32]  = { VS_F32,  1, 64, 0, false, false, true },
    [VS_CLASS_F16]  = { VS_F16,  1, 32, 0, false, false, true },
    [VS_CLASS_BF16] = { VS_BF16, 1, 32, 0, false, false, true },
};

int vs_class_of(enum vs_dtype dtype)
{
    for (int i = 0; i < VS_N_CLASSES; i++)
        if (vs_class_infos[i].dtype == dtype)
            return i;
    return -1;
}

size_t vs_matrix_panel_bytes(const struct vs_matrix *m)
{
    const struct vs_class_info *c = &vs_class_infos[m->cls];
    return (size_t)(m->n_cols / c->super_len) * c->super_bytes;
}

size_t vs_matrix_row_bytes(const struct vs_matrix *m)
{
    const struct vs_dtype_info *t = vs_dtype_info(vs_class_infos[m->cls].dtype);
    return (size_t)(m->n_cols / t->block_len) * t->block_bytes;
}

size_t vs_matrix_bytes(const struct vs_matrix *m)
{
    return m->packed ? vs_matrix_n_panels(m) * vs_matrix_panel_bytes(m) : m->n_rows * vs_matrix_row_bytes(m);
}

/* ---- the file's blocks as integers ----
 *
 * Four codes at a time, one in each byte of a word; word g of a run of 32 holds k = 4g .. 4g + 3, so that it is one
 * row's share of k-step g. (Words are read and written as they lie: little-endian machines only, as the file is.)
 */

static float f16_at(const uint8_t *p)
{
    return vs_f16_to_f32(vs_load_u16le(p));
}

static inline uint32_t word_at(const uint8_t *p)
{
    uint32_t w;
    memcpy(&w, p, 4);
    return w;
}

enum { LOW_NIBBLES = 0x0f0f0f0f, CRUMBS = 0x03030303, BITS = 0x01010101 };

/* Low nibbles are elements 0..15, high ones 16..31. */
static inline void nibbles_read(const uint8_t *qs, uint32_t c[8])
{
    for (int g = 0; g < 4; g++) {
        uint32_t w = word_at(qs + 4 * g);
        c[g] = w & LOW_NIBBLES;
        c[4 + g] = w >> 4 & LOW_NIBBLES;
    }
}

/* Bit j of qh is the fifth bit of element j. The product puts bit i of a nibble to bit 8 i (and others between). */
static inline void fifth_bits_read(const uint8_t *qh, uint32_t c[8])
{
    uint32_t bits = word_at(qh);
    for (int g = 0; g < 8; g++)
        c[g] |= ((bits >> 4 * g & 15) * 0x00204081u & BITS) << 4;
}

/* Six-bit scale and minimum j (0..7) of Q4_K and Q5_K. */
static void k4_scale(const uint8_t *s, size_t j, uint8_t *scale, uint8_t *min)
{
    if (j < 4) {
        *scale = s[j] & 63;
        *min = s[j + 4] & 63;
    } else {
        *scale = (uint8_t)((s[j + 4] & 15) | (s[j - 4] >> 6) << 4);
        *min = (uint8_t)(s[j + 4] >> 4 | (s[j] >> 6) << 4);
    }
}

/* Six-bit scale r (0..15) of Q3_K, still with its offset of 32. */
static int k3_scale(const uint8_t *s, size_t r)
{
    int low = r < 8 ? s[r] & 15 : s[r - 8] >> 4;
    return low | (s[8 + r % 4] >> (2 * (r / 4)) & 3) << 4;
}

/* Codes of run k32 of a row. */
static inline __attribute__((always_inline)) void codes_read(const struct vs_class_layout l, const uint8_t *row, size_t k32,
                                                             uint32_t c[8])
{
    size_t runs = l.block_len / 32, sub = k32 % runs, half = sub / 4, group = sub % 4;
    const uint8_t *b = row + k32 / runs * l.block_bytes, *low = b + l.low_at, *top = b + l.top_at;
    int shift = VS_LOW_BITS(l.low);
    if (l.low == VS_LOW_SPLIT)
        nibbles_read(low, c);
    for (int g = 0; g < 8 && l.low != VS_LOW_SPLIT; g++)
        c[g] = l.low == VS_LOW_BYTES    ? word_at(low + 4 * g) ^ 0x80808080u
             : l.low == VS_LOW_CRUMBS   ? word_at(low + 32 * half + 4 * g) >> 2 * group & CRUMBS
             : l.low == VS_LOW_PAIRS    ? word_at(low + 32 * (sub / 2) + 4 * g) >> 4 * (sub % 2) & LOW_NIBBLES
                                        : word_at(low + 64 * half + 32 * (group % 2) + 4 * g) >> 4 * (group / 2) & LOW_NIBBLES;
    if (l.top == VS_TOP_WORD)
        fifth_bits_read(top, c);
    for (int g = 0; g < 8 && l.top == VS_TOP_PLANE; g++)
        c[g] |= (word_at(top + 4 * g) >> sub & BITS) << shift;
    for (int g = 0; g < 8 && l.top == VS_TOP_CRUMBS; g++)
        c[g] |= (word_at(top + 32 * half + 4 * g) >> 2 * group & CRUMBS) << shift;
}

/* Sub-scale j of a block as the panels keep it: one byte, or one of scale and one of minimum. */
static inline void sub_read(enum vs_sub sub, const uint8_t *s, size_t j, uint8_t *ret_scale, uint8_t *ret_min)
{
    *ret_min = 0;
    if (sub == VS_SUB_SIX_MIN)
        k4_scale(s, j, ret_scale, ret_min);
    else if (sub == VS_SUB_SIX)
        *ret_scale = (uint8_t)(k3_scale(s, j) - 32);
    else
        *ret_scale = s[j];
}

/* Scale and minimum i (0, or 0 and 1 with per16) from a block's d and m and its sub-scale. */
static inline __attribute__((always_inline)) void set_scale(const struct vs_class_layout l, float d, float m, uint8_t scale,
                                                            uint8_t min, size_t i, struct vs_codes *c)
{
    c->min[i] = 0;
    switch (l.sub) {
    case VS_SUB_NONE:
        c->scale[i] = d;
        c->min[i] = l.has_min ? m : 0;
        return;
    case VS_SUB_NIBBLES:
        c->scale[i] = d * (float)(scale & 15);
        c->min[i] = -(m * (float)(scale >> 4));
        return;
    case VS_SUB_SIX_MIN:
        c->scale[i] = d * (float)scale;
        c->min[i] = -(m * (float)min);
        return;
    default:
        c->scale[i] = d * (float)(int8_t)scale;
    }
}

static inline __attribute__((always_inline)) void scales_read(const struct vs_class_layout l, const uint8_t *row, size_t k32,
                                                              struct vs_codes *c)
{
    size_t runs = l.block_len / 32, n = l.per16 ? 2 : 1;
    const uint8_t *b = row + k32 / runs * l.block_bytes;
    float d = f16_at(b + l.d), m = l.has_min ? f16_at(b + l.m) : 0;
    for (size_t i = 0; i < 2; i++) {
        uint8_t scale = 0, min = 0;
        if (l.sub != VS_SUB_NONE)
            sub_read(l.sub, b + l.sub_at, n * (k32 % runs) + i % n, &scale, &min);
        set_scale(l, d, m, scale, min, i, c);
    }
}

static inline __attribute__((always_inline)) void run_read(const struct vs_class_layout l, const uint8_t *row, size_t k32,
                                                           struct vs_codes *c)
{
    uint32_t words[8];
    codes_read(l, row, k32, words);
    memcpy(c->code, words, sizeof words);
    scales_read(l, row, k32, c);
}

void vs_codes_read(enum vs_matrix_class cls, const uint8_t *row, size_t k32, struct vs_codes *c)
{
    switch (cls) {                       /* one copy for each class, with its constants */
#define X(cls, ...) case VS_CLASS_##cls: run_read(vs_class_layout(VS_CLASS_##cls), row, k32, c); return;
    VS_BLOCK_CLASSES(X)
#undef X
    default: assert(!"a class with codes");
    }
}

/* ---- packing ---- */

static inline void word_to(uint8_t *p, uint32_t w)
{
    memcpy(p, &w, 4);
}

/* Puts the 32 codes of row r into the run of 32 at `to`. */
static inline __attribute__((always_inline)) void scatter(const struct vs_class_layout l, uint8_t *to, size_t r,
                                                          const uint32_t c[8])
{
    to += 4 * r;
    int done = 0;                        /* bits of the codes that are stored */
    const int low_bits = VS_LOW_BITS(l.low);
    for (int g = 0; g < 8 && low_bits == 8; g++)
        word_to(to + 64 * g, c[g]);
    for (int j = 0; j < 4 && low_bits == 4; j++)
        word_to(to + 64 * j, (c[2 * j] & LOW_NIBBLES) | (c[2 * j + 1] & LOW_NIBBLES) << 4);
    done += low_bits == 4 ? 4 : 0;
    if (low_bits == 2 || l.top == VS_TOP_CRUMBS)
        for (int p = 0; p < 2; p++) {
            uint32_t w = 0;
            for (int q = 0; q < 4; q++)
                w |= (c[4 * p + q] >> done & CRUMBS) << 2 * q;
            word_to(to + (low_bits == 2 ? 0 : l.panel_top) + 64 * p, w);
        }
    done += low_bits == 2 ? 2 : 0;
    if (l.top == VS_TOP_WORD || l.top == VS_TOP_PLANE) {
        uint32_t w = 0;
        for (int g = 0; g < 8; g++)
            w |= (c[g] >> done & BITS) << g;
        word_to(to + l.panel_top, w);
    }
}

/* The scales of row r of one superblock, copied as the file has them. */
static inline __attribute__((always_inline)) void pack_header(const struct vs_class_layout l, uint8_t *to, size_t r,
                                                              const uint8_t *block)
{
    memcpy(to + 2 * r, block + l.d, 2);
    if (l.has_min)
        memcpy(to + 2 * VS_PANEL_ROWS + 2 * r, block + l.m, 2);
    uint8_t *sub = to + l.panel_sub + r, min;
    for (size_t j = 0, n = l.block_len / (l.per16 ? 16 : 32); j < n && l.sub != VS_SUB_NONE; j++) {
        sub_read(l.sub, block + l.sub_at, j, sub + VS_PANEL_ROWS * j, &min);
        if (l.sub == VS_SUB_SIX_MIN)
            sub[VS_PANEL_ROWS * (n + j)] = min;
    }
}

static void pack_float(const struct vs_matrix *m, const uint8_t *from, uint8_t *to, size_t n_rows)
{
    size_t size = m->cls == VS_CLASS_F32 ? 4 : 2, row_bytes = vs_matrix_row_bytes(m);
    for (size_t r = 0; r < n_rows; r++, from += row_bytes)
        for (size_t k = 0; k < m->n_cols; k++)
            memcpy(to + (k * VS_PANEL_ROWS + r) * size, from + k * size, size);
}

static inline __attribute__((always_inline)) void pack_codes(const enum vs_matrix_class cls, const struct vs_matrix *m,
                                                             const uint8_t *from, uint8_t *to, size_t n_rows)
{
    const struct vs_class_layout l = vs_class_layout(cls);
    size_t runs = l.block_len / 32, n_super = m->n_cols / l.block_len, row_bytes = vs_matrix_row_bytes(m);
    for (size_t r = 0; r < n_rows; r++, from += row_bytes) {
        uint8_t *at = to;
        for (size_t super = 0; super < n_super; super++, at += l.super_bytes) {
            pack_header(l, at, r, from + super * l.block_bytes);
            for (size_t run = 0; run < runs; run++) {
                uint32_t c[8];
                codes_read(l, from, super * runs + run, c);
                scatter(l, at + l.header + run * l.step, r, c);
            }
        }
    }
}

void vs_matrix_pack(const struct vs_matrix *m, const uint8_t *src, uint8_t *dst, size_t begin, size_t end)
{
    size_t panel_bytes = vs_matrix_panel_bytes(m), row_bytes = vs_matrix_row_bytes(m);
    for (size_t panel = begin; panel < end; panel++, src += VS_PANEL_ROWS * row_bytes) {
        uint8_t *to = dst + panel * panel_bytes;
        size_t left = m->n_rows - panel * VS_PANEL_ROWS, n_rows = left < VS_PANEL_ROWS ? left : VS_PANEL_ROWS;
        if (n_rows < VS_PANEL_ROWS)
            memset(to, 0, panel_bytes);
        switch (m->cls) {                /* one copy for each class, with its constants */
#define X(cls, ...) case VS_CLASS_##cls: pack_codes(VS_CLASS_##cls, m, src, to, n_rows); break;
        VS_BLOCK_CLASSES(X)
#undef X
        default: pack_float(m, src, to, n_rows); break;
        }
    }
}

/* ---- one row back ---- */

static inline void gather(const struct vs_class_layout l, const uint8_t *from, size_t r, uint8_t code[32])
{
    from += 4 * r;
    const uint8_t *top = from + l.panel_top;
    int low_bits = VS_LOW_BITS(l.low);
    for (int g = 0; g < 8; g++) {
        uint32_t c = low_bits == 8 ? word_at(from + 64 * g)
                   : low_bits == 4 ? word_at(from + 64 * (g / 2)) >> 4 * (g % 2) & LOW_NIBBLES
                                   : word_at(from + 64 * (g / 4)) >> 2 * (g % 4) & CRUMBS;
        if (l.top == VS_TOP_CRUMBS)
            c |= (word_at(top + 64 * (g / 4)) >> 2 * (g % 4) & CRUMBS) << low_bits;
        else if (l.top != VS_TOP_NONE)
            c |= (word_at(top) >> g & BITS) << low_bits;
        word_to(code + 4 * g, c);
    }
}

static inline void panel_scales(const struct vs_class_layout l, const uint8_t *at, size_t r, size_t run, struct vs_codes *c)
{
    float d = f16_at(at + 2 * r), m = l.has_min ? f16_at(at + 2 * VS_PANEL_ROWS + 2 * r) : 0;
    const uint8_t *sub = at + l.panel_sub + r;
    size_t n = l.per16 ? 2 : 1, n_sub = n * l.block_len / 32;
    for (size_t i = 0; i < 2; i++) {
        size_t j = n * run + i % n;
        uint8_t scale = l.sub != VS_SUB_NONE ? sub[VS_PANEL_ROWS * j] : 0;
        uint8_t min = l.sub == VS_SUB_SIX_MIN ? sub[VS_PANEL_ROWS * (n_sub + j)] : 0;
        set_scale(l, d, m, scale, min, i, c);
    }
}

static void float_row(const struct vs_matrix *m, size_t row, float *dst)
{
    size_t size = m->cls == VS_CLASS_F32 ? 4 : 2;
    const uint8_t *from = m->packed
        ? m->data + row / VS_PANEL_ROWS * vs_matrix_panel_bytes(m) + row % VS_PANEL_ROWS * size
        : m->data + row * vs_matrix_row_bytes(m);
    size_t stride = m->packed ? VS_PANEL_ROWS * size : size;
    for (size_t k = 0; k < m->n_cols; k++, from += stride) {
        if (m->cls == VS_CLASS_F32)
            memcpy(dst + k, from, 4);
        else
            dst[k] = m->cls == VS_CLASS_F16 ? f16_at(from) : vs_bf16_to_f32(vs_load_u16le(from));
    }
}

void vs_matrix_row(const struct vs_matrix *m, size_t row, float *dst)
{
    const struct vs_class_info *info = &vs_class_infos[m->cls];
    if (info->is_float) {
        float_row(m, row, dst);
        return;
    }
    const struct vs_class_layout l = vs_class_layout(m->cls);
    size_t runs = l.block_len / 32, r = row % VS_PANEL_ROWS;
    for (size_t k32 = 0; k32 < m->n_cols / 32; k32++) {
        struct vs_codes c;
        if (m->packed) {
            const uint8_t *at = m->data + row / VS_PANEL_ROWS * vs_matrix_panel_bytes(m)
                              + k32 / runs * l.super_bytes;
            panel_scales(l, at, r, k32 % runs, &c);
            gather(l, at + l.header + k32 % runs * l.step, r, c.code);
        } else {
            vs_codes_read(m->cls, m->data + row * vs_matrix_row_bytes(m), k32, &c);
        }
        for (int j = 0; j < 32; j++) {
            float v = c.scale[j / 16] * (float)((int)c.code[j] - l.offset);
            dst[32 * k32 + (size_t)j] = l.has_min ? v + c.min[j / 16] : v;
        }
    }
}
