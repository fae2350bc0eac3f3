/* cpu/matrix.c - see matrix.h */
#include "cpu/matrix.h"

#include "base/bytes.h"

#include <assert.h>
#include <string.h>

const struct vs_class_info vs_class_infos[VS_N_CLASSES] = {
    /*                dtype  k   bytes offset per16  min    float */
    [VS_CLASS_Q4]   = { VS_Q4_0,  32,  288,   8, false, false, false },
    [VS_CLASS_Q4M]  = { VS_Q4_1,  32,  320,   0, false, true,  false },
    [VS_CLASS_Q5]   = { VS_Q5_0,  32,  352,  16, false, false, false },
    [VS_CLASS_Q5M]  = { VS_Q5_1,  32,  384,   0, false, true,  false },
    [VS_CLASS_Q8]   = { VS_Q8_0,  32,  544, 128, false, false, false },
    [VS_CLASS_K2]   = { VS_Q2_K, 256, 1344,   0, true,  true,  false },
    [VS_CLASS_K3]   = { VS_Q3_K, 256, 1824,   4, true,  false, false },
    [VS_CLASS_K4]   = { VS_Q4_K, 256, 2368,   0, false, true,  false },
    [VS_CLASS_K5]   = { VS_Q5_K, 256, 2880,   0, false, true,  false },
    [VS_CLASS_K6]   = { VS_Q6_K, 256, 3360,  32, true,  false, false },
    [VS_CLASS_F32]  = { VS_F32,    1,   64,   0, false, false, true  },
    [VS_CLASS_F16]  = { VS_F16,    1,   32,   0, false, false, true  },
    [VS_CLASS_BF16] = { VS_BF16,   1,   32,   0, false, false, true  },
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

/* Codes of run k32 of a row; cls is a constant wherever speed matters. */
static inline __attribute__((always_inline)) void codes_read(const enum vs_matrix_class cls, const uint8_t *row, size_t k32,
                                                             uint32_t c[8])
{
    const uint8_t *b;
    size_t sub = k32 % 8, half = sub / 4, group = sub % 4;       /* of a block of 256 */
    switch (cls) {
    case VS_CLASS_Q4:                    /* f16 d; u8 qs[16] */
        nibbles_read(row + k32 * 18 + 2, c);
        return;
    case VS_CLASS_Q4M:                   /* f16 d; f16 m; u8 qs[16] */
        nibbles_read(row + k32 * 20 + 4, c);
        return;
    case VS_CLASS_Q5:                    /* f16 d; u8 qh[4]; u8 qs[16] */
        nibbles_read(row + k32 * 22 + 6, c);
        fifth_bits_read(row + k32 * 22 + 2, c);
        return;
    case VS_CLASS_Q5M:                   /* f16 d; f16 m; u8 qh[4]; u8 qs[16] */
        nibbles_read(row + k32 * 24 + 8, c);
        fifth_bits_read(row + k32 * 24 + 4, c);
        return;
    case VS_CLASS_Q8:                    /* f16 d; i8 qs[32] */
        for (int g = 0; g < 8; g++)
            c[g] = word_at(row + k32 * 34 + 2 + 4 * g) ^ 0x80808080u;
        return;
    case VS_CLASS_K2:                    /* u8 scales[16]; u8 qs[64]; f16 d; f16 dmin */
        b = row + k32 / 8 * 84 + 16 + 32 * half;
        for (int g = 0; g < 8; g++)
            c[g] = word_at(b + 4 * g) >> 2 * group & CRUMBS;
        return;
    case VS_CLASS_K3:                    /* u8 hmask[32]; u8 qs[64]; u8 scales[12]; f16 d */
        b = row + k32 / 8 * 110;
        for (int g = 0; g < 8; g++)
            c[g] = (word_at(b + 32 + 32 * half + 4 * g) >> 2 * group & CRUMBS) | (word_at(b + 4 * g) >> sub & BITS) << 2;
        return;
    case VS_CLASS_K4:                    /* f16 d; f16 dmin; u8 scales[12]; u8 qs[128] */
        b = row + k32 / 8 * 144 + 16 + 32 * (sub / 2);
        for (int g = 0; g < 8; g++)
            c[g] = word_at(b + 4 * g) >> 4 * (sub % 2) & LOW_NIBBLES;
        return;
    case VS_CLASS_K5:                    /* f16 d; f16 dmin; u8 scales[12]; u8 qh[32]; u8 qs[128] */
        b = row + k32 / 8 * 176;
        for (int g = 0; g < 8; g++)
            c[g] = (word_at(b + 48 + 32 * (sub / 2) + 4 * g) >> 4 * (sub % 2) & LOW_NIBBLES)
                 | (word_at(b + 16 + 4 * g) >> sub & BITS) << 4;
        return;
    case VS_CLASS_K6:                    /* u8 ql[128]; u8 qh[64]; i8 scales[16]; f16 d */
        b = row + k32 / 8 * 210;
        for (int g = 0; g < 8; g++)
            c[g] = (word_at(b + 64 * half + 32 * (group % 2) + 4 * g) >> 4 * (group / 2) & LOW_NIBBLES)
                 | (word_at(b + 128 + 32 * half + 4 * g) >> 2 * group & CRUMBS) << 4;
        return;
    default:
        assert(!"a class with codes");
    }
}

static void set_scales(struct vs_codes *c, float scale, float min)
{
    c->scale[0] = c->scale[1] = scale;
    c->min[0] = c->min[1] = min;
}

static void scales_read(enum vs_matrix_class cls, const uint8_t *row, size_t k32, struct vs_codes *c)
{
    size_t sub = k32 % 8;
    const uint8_t *b;
    switch (cls) {
    case VS_CLASS_Q4:
        set_scales(c, f16_at(row + k32 * 18), 0);
        return;
    case VS_CLASS_Q4M:
        set_scales(c, f16_at(row + k32 * 20), f16_at(row + k32 * 20 + 2));
        return;
    case VS_CLASS_Q5:
        set_scales(c, f16_at(row + k32 * 22), 0);
        return;
    case VS_CLASS_Q5M:
        set_scales(c, f16_at(row + k32 * 24), f16_at(row + k32 * 24 + 2));
        return;
    case VS_CLASS_Q8:
        set_scales(c, f16_at(row + k32 * 34), 0);
        return;
    case VS_CLASS_K2:
        b = row + k32 / 8 * 84;
        for (size_t i = 0; i < 2; i++) {
            uint8_t s = b[2 * sub + i];
            c->scale[i] = f16_at(b + 80) * (float)(s & 15);
            c->min[i] = -(f16_at(b + 82) * (float)(s >> 4));
        }
        return;
    case VS_CLASS_K3:
        b = row + k32 / 8 * 110;
        for (size_t i = 0; i < 2; i++) {
            c->scale[i] = f16_at(b + 108) * (float)(k3_scale(b + 96, 2 * sub + i) - 32);
            c->min[i] = 0;
        }
        return;
    case VS_CLASS_K4:
    case VS_CLASS_K5: {
        b = row + k32 / 8 * (cls == VS_CLASS_K5 ? 176 : 144);
        uint8_t scale, min;
        k4_scale(b + 4, sub, &scale, &min);
        set_scales(c, f16_at(b) * (float)scale, -(f16_at(b + 2) * (float)min));
        return;
    }
    case VS_CLASS_K6:
        b = row + k32 / 8 * 210;
        for (size_t i = 0; i < 2; i++) {
            c->scale[i] = f16_at(b + 208) * (float)(int8_t)b[192 + 2 * sub + i];
            c->min[i] = 0;
        }
        return;
    default:
        assert(!"a class with codes");
    }
}

void vs_codes_read(enum vs_matrix_class cls, const uint8_t *row, size_t k32, struct vs_codes *c)
{
    uint32_t words[8];
    codes_read(cls, row, k32, words);
    memcpy(c->code, words, sizeof words);
    scales_read(cls, row, k32, c);
}

/* ---- packing ---- */

/* Where the pieces of a superblock lie; 0 bytes = not there. */
struct shape {
    uint16_t header;                    /* bytes before the first run of 32 */
    uint16_t step;                      /* bytes of one run of 32 */
    uint16_t crumbs, plane, bytes;      /* offsets in a run of 32, or NONE */
    uint16_t nibbles;
};
enum { NONE = 0xffff };

static const struct shape shapes[VS_N_CLASSES] = {
    /*               header step  crumbs plane bytes nibbles */
    [VS_CLASS_Q4]  = {  32, 256, NONE, NONE, NONE, 0 },
    [VS_CLASS_Q4M] = {  64, 256, NONE, NONE, NONE, 0 },
    [VS_CLASS_Q5]  = {  32, 320, NONE, 256,  NONE, 0 },
    [VS_CLASS_Q5M] = {  64, 320, NONE, 256,  NONE, 0 },
    [VS_CLASS_Q8]  = {  32, 512, NONE, NONE, 0, NONE },
    [VS_CLASS_K2]  = { 320, 128, 0,    NONE, NONE, NONE },
    [VS_CLASS_K3]  = { 288, 192, 0,    128,  NONE, NONE },
    [VS_CLASS_K4]  = { 320, 256, NONE, NONE, NONE, 0 },
    [VS_CLASS_K5]  = { 320, 320, NONE, 256,  NONE, 0 },
    [VS_CLASS_K6]  = { 288, 384, 256,  NONE, NONE, 0 },
};

static inline void word_to(uint8_t *p, uint32_t w)
{
    memcpy(p, &w, 4);
}

/* Puts the 32 codes of row r into the run of 32 at `to`. */
static inline __attribute__((always_inline)) void scatter(const struct shape s, uint8_t *to, size_t r, const uint32_t c[8])
{
    to += 4 * r;
    int done = 0;                        /* bits of the codes that are stored */
    for (int g = 0; g < 8 && s.bytes != NONE; g++)
        word_to(to + s.bytes + 64 * g, c[g]);
    for (int j = 0; j < 4 && s.nibbles != NONE; j++)
        word_to(to + s.nibbles + 64 * j, (c[2 * j] & LOW_NIBBLES) | (c[2 * j + 1] & LOW_NIBBLES) << 4);
    done += s.nibbles != NONE ? 4 : 0;
    for (int p = 0; p < 2 && s.crumbs != NONE; p++) {
        uint32_t w = 0;
        for (int q = 0; q < 4; q++)
            w |= (c[4 * p + q] >> done & CRUMBS) << 2 * q;
        word_to(to + s.crumbs + 64 * p, w);
    }
    done += s.crumbs != NONE ? 2 : 0;
    if (s.plane != NONE) {
        uint32_t w = 0;
        for (int g = 0; g < 8; g++)
            w |= (c[g] >> done & BITS) << g;
        word_to(to + s.plane, w);
    }
}

/* The scales of row r of one superblock, copied as the file has them. */
static void pack_header(enum vs_matrix_class cls, uint8_t *to, int r, const uint8_t *row, size_t super)
{
    const uint8_t *b;
    switch (cls) {
    case VS_CLASS_Q4:
    case VS_CLASS_Q5:
    case VS_CLASS_Q8:
        b = row + super * (cls == VS_CLASS_Q4 ? 18 : cls == VS_CLASS_Q5 ? 22 : 34);
        memcpy(to + 2 * r, b, 2);
        return;
    case VS_CLASS_Q4M:
    case VS_CLASS_Q5M:
        b = row + super * (cls == VS_CLASS_Q4M ? 20 : 24);
        memcpy(to + 2 * r, b, 2);
        memcpy(to + 32 + 2 * r, b + 2, 2);
        return;
    case VS_CLASS_K2:
        b = row + super * 84;
        memcpy(to + 2 * r, b + 80, 2);
        memcpy(to + 32 + 2 * r, b + 82, 2);
        for (int j = 0; j < 16; j++)
            to[64 + 16 * j + r] = b[j];
        return;
    case VS_CLASS_K3:
        b = row + super * 110;
        memcpy(to + 2 * r, b + 108, 2);
        for (size_t j = 0; j < 16; j++)
            to[32 + 16 * j + (size_t)r] = (uint8_t)(k3_scale(b + 96, j) - 32);
        return;
    case VS_CLASS_K4:
    case VS_CLASS_K5:
        b = row + super * (cls == VS_CLASS_K4 ? 144 : 176);
        memcpy(to + 2 * r, b, 2);
        memcpy(to + 32 + 2 * r, b + 2, 2);
        for (size_t j = 0; j < 8; j++)
            k4_scale(b + 4, j, to + 64 + 16 * j + r, to + 192 + 16 * j + r);
        return;
    case VS_CLASS_K6:
        b = row + super * 210;
        memcpy(to + 2 * r, b + 208, 2);
        for (int j = 0; j < 16; j++)
            to[32 + 16 * j + r] = b[192 + j];
        return;
    default:
        assert(!"a class with codes");
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
    const struct vs_class_info info = vs_class_infos[cls];
    const struct shape s = shapes[cls];
    size_t runs = info.super_len / 32, n_super = m->n_cols / info.super_len, row_bytes = vs_matrix_row_bytes(m);
    for (size_t r = 0; r < n_rows; r++, from += row_bytes) {
        uint8_t *at = to;
        for (size_t super = 0; super < n_super; super++, at += info.super_bytes) {
            pack_header(cls, at, (int)r, from, super);
            for (size_t run = 0; run < runs; run++) {
                uint32_t c[8];
                codes_read(cls, from, super * runs + run, c);
                scatter(s, at + s.header + run * s.step, r, c);
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
#define PACK(cls) case cls: pack_codes(cls, m, src, to, n_rows); break;
        PACK(VS_CLASS_Q4) PACK(VS_CLASS_Q4M) PACK(VS_CLASS_Q5) PACK(VS_CLASS_Q5M) PACK(VS_CLASS_Q8)
        PACK(VS_CLASS_K2) PACK(VS_CLASS_K3) PACK(VS_CLASS_K4) PACK(VS_CLASS_K5) PACK(VS_CLASS_K6)
#undef PACK
        default: pack_float(m, src, to, n_rows); break;
        }
    }
}

/* ---- one row back ---- */

static void gather(const struct shape *s, const uint8_t *from, size_t r, uint8_t code[32])
{
    from += 4 * r;
    for (int g = 0; g < 8; g++) {
        int done = 0;
        uint32_t c = s->bytes != NONE ? word_at(from + s->bytes + 64 * g) : 0;
        if (s->nibbles != NONE) {
            c = word_at(from + s->nibbles + 64 * (g / 2)) >> 4 * (g % 2) & LOW_NIBBLES;
            done = 4;
        }
        if (s->crumbs != NONE) {
            c |= (word_at(from + s->crumbs + 64 * (g / 4)) >> 2 * (g % 4) & CRUMBS) << done;
            done += 2;
        }
        if (s->plane != NONE)
            c |= (word_at(from + s->plane) >> g & BITS) << done;
        word_to(code + 4 * g, c);
    }
}

static void panel_scales(enum vs_matrix_class cls, const uint8_t *at, int r, size_t run, struct vs_codes *c)
{
    float d = f16_at(at + 2 * r);
    switch (cls) {
    case VS_CLASS_Q4M:
    case VS_CLASS_Q5M:
        set_scales(c, d, f16_at(at + 32 + 2 * r));
        return;
    case VS_CLASS_K2:
        for (size_t i = 0; i < 2; i++) {
            uint8_t sm = at[64 + 16 * (2 * run + i) + (size_t)r];
            c->scale[i] = d * (float)(sm & 15);
            c->min[i] = -(f16_at(at + 32 + 2 * r) * (float)(sm >> 4));
        }
        return;
    case VS_CLASS_K3:
    case VS_CLASS_K6:
        for (size_t i = 0; i < 2; i++) {
            c->scale[i] = d * (float)(int8_t)at[32 + 16 * (2 * run + i) + (size_t)r];
            c->min[i] = 0;
        }
        return;
    case VS_CLASS_K4:
    case VS_CLASS_K5:
        set_scales(c, d * (float)at[64 + 16 * run + (size_t)r],
                   -(f16_at(at + 32 + 2 * r) * (float)at[192 + 16 * run + (size_t)r]));
        return;
    default:
        set_scales(c, d, 0);
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
    const struct shape *s = &shapes[m->cls];
    size_t runs = info->super_len / 32;
    int r = (int)(row % VS_PANEL_ROWS);
    for (size_t k32 = 0; k32 < m->n_cols / 32; k32++) {
        struct vs_codes c;
        if (m->packed) {
            const uint8_t *at = m->data + row / VS_PANEL_ROWS * vs_matrix_panel_bytes(m)
                              + k32 / runs * info->super_bytes;
            panel_scales(m->cls, at, r, k32 % runs, &c);
            gather(s, at + s->header + k32 % runs * s->step, (size_t)r, c.code);
        } else {
            vs_codes_read(m->cls, m->data + row * vs_matrix_row_bytes(m), k32, &c);
        }
        for (int j = 0; j < 32; j++) {
            float v = c.scale[j / 16] * (float)((int)c.code[j] - info->offset);
            dst[32 * k32 + (size_t)j] = info->has_min ? v + c.min[j / 16] : v;
        }
    }
}
