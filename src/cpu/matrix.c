/* cpu/matrix.c - see matrix.h */
#include "cpu/matrix.h"
#include "cpu/classes.h"

#include "base/bytes.h"
#include "tensor/indexed.h"

#include <assert.h>
#include <string.h>

const struct vs_class_info vs_class_infos[VS_N_CLASSES] = {
#define X(cls, type, k, bytes, off, d, m, sub, sub_at, low, low_at, top, top_at, panel) \
    [VS_CLASS_##cls] = { #cls, k, panel, off, (sub) != VS_SUB_NONE && (sub) != VS_SUB_SIX_MIN, (m) != VS_NOT_THERE, false },
    VS_BLOCK_CLASSES(X)
#undef X
#define X(cls, k, off, d, sub, per16, low, top, list, panel) [VS_CLASS_##cls] = { #cls, k, panel, off, per16, false, false },
    VS_INDEXED_CLASSES(X)
#undef X
    [VS_CLASS_F32]  = { "F32",  1, 64, 0, false, false, true },
    [VS_CLASS_F16]  = { "F16",  1, 32, 0, false, false, true },
    [VS_CLASS_BF16] = { "BF16", 1, 32, 0, false, false, true },
};

static const struct { enum vs_dtype dtype; enum vs_matrix_class cls; } class_of[] = {
#define X(cls, type, ...) { VS_##type, VS_CLASS_##cls },
    VS_BLOCK_CLASSES(X)
#undef X
    { VS_IQ4_NL, VS_CLASS_L4 },   { VS_MXFP4, VS_CLASS_M4 },   { VS_NVFP4, VS_CLASS_N4 },   { VS_IQ4_XS, VS_CLASS_X4 },
    { VS_IQ3_S, VS_CLASS_G4 },    { VS_IQ3_XXS, VS_CLASS_G4 }, { VS_IQ2_XXS, VS_CLASS_G3 }, { VS_IQ1_S, VS_CLASS_G3 },
    { VS_IQ2_XS, VS_CLASS_G3H },  { VS_IQ2_S, VS_CLASS_G3H },  { VS_IQ1_M, VS_CLASS_G3H },  { VS_TQ1_0, VS_CLASS_T2 },
    { VS_TQ2_0, VS_CLASS_T2 },    { VS_Q2_0, VS_CLASS_T2S },   { VS_Q1_0, VS_CLASS_T1 },    { VS_Q6_0, VS_CLASS_Q6 },
    { VS_Q8_1, VS_CLASS_Q8 },     { VS_F32, VS_CLASS_F32 },    { VS_F16, VS_CLASS_F16 },    { VS_BF16, VS_CLASS_BF16 },
};

int vs_class_of(enum vs_dtype dtype)
{
    for (size_t i = 0; i < sizeof class_of / sizeof *class_of; i++)
        if (class_of[i].dtype == dtype)
            return (int)class_of[i].cls;
    return -1;
}

struct vs_matrix vs_matrix_of(enum vs_dtype dtype, uint32_t n_rows, uint32_t n_cols, bool packed)
{
    struct vs_matrix m = { .dtype = dtype, .cls = (enum vs_matrix_class)vs_class_of(dtype), .packed = packed, .n_rows = n_rows,
                           .n_cols = n_cols, .indexed = vs_indexed_of(dtype) };
    for (int i = 0; i < 16 && m.indexed; i++)
        m.list[i] = (uint8_t)(m.indexed->values[i] + vs_class_infos[m.cls].offset);
    return m;
}

size_t vs_matrix_panel_bytes(const struct vs_matrix *m)
{
    const struct vs_class_info *c = &vs_class_infos[m->cls];
    return (size_t)(m->n_cols / c->super_len) * c->super_bytes;
}

size_t vs_matrix_row_bytes(const struct vs_matrix *m)
{
    const struct vs_dtype_info *t = vs_dtype_info((uint32_t)m->dtype);
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

enum { LOW_NIBBLES = 0x0f0f0f0f, THREE_BITS = 0x07070707, CRUMBS = 0x03030303, BITS = 0x01010101 };

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

/* Types of the indexed classes. A code of a class without a list stands for itself, or for twice itself (one bit). */
static void indexed_read(const struct vs_matrix *m, const uint8_t *row, size_t k32, struct vs_codes *c)
{
    const struct vs_indexed *t = m->indexed;
    const struct vs_dtype_info *info = vs_dtype_info((uint32_t)m->dtype);
    size_t runs = info->block_len / 32, run = k32 % runs;
    const uint8_t *b = row + k32 / runs * info->block_bytes;
    uint32_t words[8];
    t->codes(b, (unsigned)run, words);
    memcpy(c->code, words, sizeof words);
    for (int i = 0; i < 32 && !t->offset; i++)
        c->code[i] = m->list[c->code[i]];
    for (unsigned i = 0; i < 2; i++) {
        uint8_t sub = t->sub_len ? t->sub(b, ((unsigned)run * 32 + i * 16) / t->sub_len) : 0;
        c->scale[i] = vs_indexed_scale(t->scale, t->d(b), sub);
        c->min[i] = 0;
    }
}

void vs_codes_read(const struct vs_matrix *m, const uint8_t *row, size_t k32, struct vs_codes *c)
{
    if (m->indexed) {
        indexed_read(m, row, k32, c);
        return;
    }
    switch (m->cls) {                    /* one copy for each class, with its constants */
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
    const int low_bits = l.low_bits, top_bits = l.top_bits;
    for (int j = 0; j < 3 && low_bits == 3; j++)
        word_to(to + 64 * j, c[2 * j] | c[2 * j + 1] << 4 | (c[6] >> j & BITS) << 3 | (c[7] >> j & BITS) << 7);
    for (int g = 0; g < 8 && low_bits == 8; g++)
        word_to(to + 64 * g, c[g]);
    for (int j = 0; j < 4 && low_bits == 4; j++)
        word_to(to + 64 * j, (c[2 * j] & LOW_NIBBLES) | (c[2 * j + 1] & LOW_NIBBLES) << 4);
    done += low_bits == 4 ? 4 : 0;
    if (low_bits == 2 || top_bits == 2)
        for (int p = 0; p < 2; p++) {
            uint32_t w = 0;
            for (int q = 0; q < 4; q++)
                w |= (c[4 * p + q] >> done & CRUMBS) << 2 * q;
            word_to(to + (low_bits == 2 ? 0 : l.panel_top) + 64 * p, w);
        }
    done += low_bits == 2 ? 2 : 0;
    if (low_bits == 1 || top_bits == 1) {
        uint32_t w = 0;
        for (int g = 0; g < 8; g++)
            w |= (c[g] >> done & BITS) << g;
        word_to(to + (low_bits == 1 ? 0 : l.panel_top), w);
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

/* d and sub-scales of row r of one superblock. */
static inline __attribute__((always_inline)) void pack_indexed_header(const struct vs_class_layout l, const struct vs_indexed *t,
                                                                      uint8_t *to, size_t r, const uint8_t *block)
{
    size_t d_bytes = l.panel_sub / VS_PANEL_ROWS, n = t->sub_len ? l.block_len / t->sub_len : 0;
    uint16_t d = t->d(block);
    for (size_t i = 0; i < d_bytes; i++)
        to[d_bytes * r + i] = (uint8_t)(d >> 8 * i);
    uint8_t *sub = to + l.panel_sub + r;
    for (unsigned j = 0; j < n; j++) {
        uint8_t s = t->sub(block, j);
        if (!l.packed_subs)
            sub[VS_PANEL_ROWS * j] = s;
        else if (j % 2 == 0)
            sub[VS_PANEL_ROWS * (j / 2)] = s;
        else
            sub[VS_PANEL_ROWS * (j / 2)] |= (uint8_t)(s << 4);
    }
}

static inline __attribute__((always_inline)) void pack_indexed(const enum vs_matrix_class cls, const struct vs_matrix *m,
                                                               const uint8_t *from, uint8_t *to, size_t n_rows)
{
    const struct vs_class_layout l = vs_class_layout(cls);
    const struct vs_indexed *t = m->indexed;
    size_t runs = l.block_len / 32, n_super = m->n_cols / l.block_len, row_bytes = vs_matrix_row_bytes(m),
           block_bytes = n_super ? row_bytes / n_super : 0;
    for (size_t r = 0; r < n_rows; r++, from += row_bytes) {
        uint8_t *at = to;
        for (size_t super = 0; super < n_super; super++, at += l.super_bytes) {
            const uint8_t *block = from + super * block_bytes;
            pack_indexed_header(l, t, at, r, block);
            for (size_t run = 0; run < runs; run++) {
                uint32_t c[8];
                t->codes(block, (unsigned)run, c);
                scatter(l, at + l.header + run * l.step, r, c);
            }
        }
    }
}

static void pack_rows(const struct vs_matrix *m, const uint8_t *src, uint8_t *to, size_t n_rows)
{
    if (m->indexed && m->cls == VS_CLASS_Q8) {           /* the panel of another format */
        pack_indexed(VS_CLASS_Q8, m, src, to, n_rows);
        return;
    }
    switch (m->cls) {                    /* one copy for each class, with its constants */
#define X(cls, ...) case VS_CLASS_##cls: pack_codes(VS_CLASS_##cls, m, src, to, n_rows); return;
    VS_BLOCK_CLASSES(X)
#undef X
#define X(cls, ...) case VS_CLASS_##cls: pack_indexed(VS_CLASS_##cls, m, src, to, n_rows); return;
    VS_INDEXED_CLASSES(X)
#undef X
    default: pack_float(m, src, to, n_rows);
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
        pack_rows(m, src, to, n_rows);
    }
}

/* ---- one row back ---- */

/* Codes of three bits of step g; matrix.h draws where they lie. */
static inline uint32_t three_bits(const uint8_t *from, int g)
{
    if (g < 6)
        return word_at(from + 64 * (g / 2)) >> 4 * (g % 2) & THREE_BITS;
    uint32_t c = 0;
    for (int j = 0; j < 3; j++)
        c |= (word_at(from + 64 * j) >> (3 + 4 * (g % 2)) & BITS) << j;
    return c;
}

static inline void gather(const struct vs_class_layout l, const uint8_t *from, size_t r, uint8_t code[32])
{
    from += 4 * r;
    const uint8_t *top = from + l.panel_top;
    int low_bits = l.low_bits;
    for (int g = 0; g < 8; g++) {
        uint32_t c = low_bits == 8 ? word_at(from + 64 * g)
                   : low_bits == 4 ? word_at(from + 64 * (g / 2)) >> 4 * (g % 2) & LOW_NIBBLES
                   : low_bits == 3 ? three_bits(from, g)
                   : low_bits == 2 ? word_at(from + 64 * (g / 4)) >> 2 * (g % 4) & CRUMBS
                                   : word_at(from) >> g & BITS;
        if (l.top_bits == 2)
            c |= (word_at(top + 64 * (g / 4)) >> 2 * (g % 4) & CRUMBS) << low_bits;
        else if (l.top_bits == 1)
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

static void panel_indexed_scales(const struct vs_matrix *m, const struct vs_class_layout l, const uint8_t *at, size_t r, size_t run,
                                 struct vs_codes *c)
{
    const struct vs_indexed *t = m->indexed;
    size_t d_bytes = l.panel_sub / VS_PANEL_ROWS;
    uint16_t d = d_bytes == 2 ? vs_load_u16le(at + 2 * r) : d_bytes == 1 ? at[r] : 0;
    for (size_t i = 0; i < 2; i++) {
        size_t j = t->sub_len ? (32 * run + 16 * i) / t->sub_len : 0;
        uint8_t sub = t->sub_len ? at[l.panel_sub + VS_PANEL_ROWS * (l.packed_subs ? j / 2 : j) + r] : 0;
        if (l.packed_subs)
            sub = sub >> j % 2 * 4 & 15;
        c->scale[i] = vs_indexed_scale(t->scale, d, sub);
        c->min[i] = 0;
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
            gather(l, at + l.header + k32 % runs * l.step, r, c.code);
            if (m->indexed)
                panel_indexed_scales(m, l, at, r, k32 % runs, &c);
            else
                panel_scales(l, at, r, k32 % runs, &c);
            for (int j = 0; j < 32 && m->indexed && !m->indexed->offset; j++)
                c.code[j] = m->list[c.code[j]];
        } else {
            vs_codes_read(m, m->data + row * vs_matrix_row_bytes(m), k32, &c);
        }
        for (int j = 0; j < 32; j++) {
            float v = c.scale[j / 16] * (float)((int)c.code[j] - l.offset);
            dst[32 * k32 + (size_t)j] = l.has_min ? v + c.min[j / 16] : v;
        }
    }
}
