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

/* ---- the file's blocks as integers ---- */

static float f16_at(const uint8_t *p)
{
    return vs_f16_to_f32(vs_load_u16le(p));
}

static void nibbles_read(const uint8_t *qs, uint8_t code[32])   /* element j low, j + 16 high */
{
    for (int j = 0; j < 16; j++) {
        code[j] = qs[j] & 15;
        code[j + 16] = qs[j] >> 4;
    }
}

static void fifth_bits_read(const uint8_t *qh, uint8_t code[32])
{
    uint32_t bits = vs_load_u32le(qh);
    for (int j = 0; j < 32; j++)
        code[j] |= (uint8_t)((bits >> j & 1) << 4);
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

static void set_scales(struct vs_codes *c, float scale, float min)
{
    c->scale[0] = c->scale[1] = scale;
    c->min[0] = c->min[1] = min;
}

void vs_codes_read(enum vs_matrix_class cls, const uint8_t *row, size_t k32, struct vs_codes *c)
{
    size_t sub = k32 % 8;               /* run of 32 in a block of 256 */
    size_t half = sub / 4, group = sub % 4;
    const uint8_t *b;
    switch (cls) {
    case VS_CLASS_Q4:
        b = row + k32 * 18;
        set_scales(c, f16_at(b), 0);
        nibbles_read(b + 2, c->code);
        return;
    case VS_CLASS_Q4M:
        b = row + k32 * 20;
        set_scales(c, f16_at(b), f16_at(b + 2));
        nibbles_read(b + 4, c->code);
        return;
    case VS_CLASS_Q5:
        b = row + k32 * 22;
        set_scales(c, f16_at(b), 0);
        nibbles_read(b + 6, c->code);
        fifth_bits_read(b + 2, c->code);
        return;
    case VS_CLASS_Q5M:
        b = row + k32 * 24;
        set_scales(c, f16_at(b), f16_at(b + 2));
        nibbles_read(b + 8, c->code);
        fifth_bits_read(b + 4, c->code);
        return;
    case VS_CLASS_Q8:
        b = row + k32 * 34;
        set_scales(c, f16_at(b), 0);
        for (int j = 0; j < 32; j++)
            c->code[j] = b[2 + j] ^ 0x80;
        return;
    case VS_CLASS_K2:                   /* u8 scales[16]; u8 qs[64]; f16 d; f16 dmin */
        b = row + k32 / 8 * 84;
        for (int i = 0; i < 2; i++) {
            uint8_t s = b[2 * sub + (size_t)i];
            c->scale[i] = f16_at(b + 80) * (float)(s & 15);
            c->min[i] = -(f16_at(b + 82) * (float)(s >> 4));
        }
        for (size_t l = 0; l < 32; l++)
            c->code[l] = b[16 + 32 * half + l] >> (2 * group) & 3;
        return;
    case VS_CLASS_K3:                   /* u8 hmask[32]; u8 qs[64]; u8 scales[12]; f16 d */
        b = row + k32 / 8 * 110;
        for (size_t i = 0; i < 2; i++) {
            c->scale[i] = f16_at(b + 108) * (float)(k3_scale(b + 96, 2 * sub + i) - 32);
            c->min[i] = 0;
        }
        for (size_t l = 0; l < 32; l++)
            c->code[l] = (uint8_t)((b[32 + 32 * half + l] >> (2 * group) & 3) | (b[l] >> sub & 1) << 2);
        return;
    case VS_CLASS_K4:                   /* f16 d; f16 dmin; u8 scales[12]; u8 qs[128] */
    case VS_CLASS_K5: {                 /* the same with u8 qh[32] before qs */
        bool five = cls == VS_CLASS_K5;
        b = row + k32 / 8 * (five ? 176 : 144);
        uint8_t scale, min;
        k4_scale(b + 4, sub, &scale, &min);
        set_scales(c, f16_at(b) * (float)scale, -(f16_at(b + 2) * (float)min));
        const uint8_t *qs = b + (five ? 48 : 16) + 32 * (sub / 2);
        for (size_t l = 0; l < 32; l++) {
            c->code[l] = sub % 2 ? qs[l] >> 4 : qs[l] & 15;
            if (five)
                c->code[l] |= (uint8_t)((b[16 + l] >> sub & 1) << 4);
        }
        return;
    }
    case VS_CLASS_K6:                   /* u8 ql[128]; u8 qh[64]; i8 scales[16]; f16 d */
        b = row + k32 / 8 * 210;
        for (size_t i = 0; i < 2; i++) {
            c->scale[i] = f16_at(b + 208) * (float)(int8_t)b[192 + 2 * sub + i];
            c->min[i] = 0;
        }
        for (size_t l = 0; l < 32; l++) {
            uint8_t low = b[64 * half + 32 * (group % 2) + l];
            low = group < 2 ? low & 15 : low >> 4;
            c->code[l] = (uint8_t)(low | (b[128 + 32 * half + l] >> (2 * group) & 3) << 4);
        }
        return;
    default:
        assert(!"a class with codes");
    }
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

/* Puts the 32 codes of row r into the run of 32 at `to`; the run was zeroed before the first row. */
static void scatter(const struct shape *s, uint8_t *to, int r, const uint8_t code[32])
{
    for (int g = 0; g < 8; g++)
        for (int i = 0; i < 4; i++) {
            unsigned c = code[4 * g + i];
            int at = 4 * r + i;
            if (s->bytes != NONE) {
                to[s->bytes + 64 * g + at] = (uint8_t)c;
                continue;
            }
            if (s->nibbles != NONE) {
                to[s->nibbles + 64 * (g / 2) + at] |= (uint8_t)((c & 15) << 4 * (g % 2));
                c >>= 4;
            }
            if (s->crumbs != NONE) {
                to[s->crumbs + 64 * (g / 4) + at] |= (uint8_t)((c & 3) << 2 * (g % 4));
                c >>= 2;
            }
            if (s->plane != NONE)
                to[s->plane + at] |= (uint8_t)((c & 1) << g);
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

static void pack_float(const struct vs_matrix *m, const uint8_t *src, uint8_t *to, size_t panel)
{
    size_t size = m->cls == VS_CLASS_F32 ? 4 : 2, row_bytes = vs_matrix_row_bytes(m);
    for (int r = 0; r < VS_PANEL_ROWS; r++) {
        size_t row = panel * VS_PANEL_ROWS + (size_t)r;
        if (row >= m->n_rows)
            break;
        const uint8_t *from = src + row * row_bytes;
        for (size_t k = 0; k < m->n_cols; k++)
            memcpy(to + (k * VS_PANEL_ROWS + (size_t)r) * size, from + k * size, size);
    }
}

void vs_matrix_pack(const struct vs_matrix *m, const uint8_t *src, uint8_t *dst, size_t begin, size_t end)
{
    const struct vs_class_info *info = &vs_class_infos[m->cls];
    const struct shape *s = &shapes[m->cls];
    size_t panel_bytes = vs_matrix_panel_bytes(m), row_bytes = vs_matrix_row_bytes(m);
    for (size_t panel = begin; panel < end; panel++) {
        uint8_t *to = dst + panel * panel_bytes;
        memset(to, 0, panel_bytes);
        if (info->is_float) {
            pack_float(m, src, to, panel);
            continue;
        }
        size_t runs = info->super_len / 32;
        for (int r = 0; r < VS_PANEL_ROWS; r++) {
            size_t row = panel * VS_PANEL_ROWS + (size_t)r;
            if (row >= m->n_rows)
                break;
            const uint8_t *from = src + row * row_bytes;
            for (size_t super = 0; super < m->n_cols / info->super_len; super++) {
                uint8_t *at = to + super * info->super_bytes;
                pack_header(m->cls, at, r, from, super);
                for (size_t run = 0; run < runs; run++) {
                    struct vs_codes c;
                    vs_codes_read(m->cls, from, super * runs + run, &c);
                    scatter(s, at + s->header + run * s->step, r, c.code);
                }
            }
        }
    }
}

/* ---- one row back ---- */

static void gather(const struct shape *s, const uint8_t *from, int r, uint8_t code[32])
{
    for (int g = 0; g < 8; g++)
        for (int i = 0; i < 4; i++) {
            int at = 4 * r + i;
            unsigned c = 0, shift = 0;
            if (s->bytes != NONE)
                c = from[s->bytes + 64 * g + at];
            if (s->nibbles != NONE) {
                c |= (unsigned)(from[s->nibbles + 64 * (g / 2) + at] >> 4 * (g % 2) & 15);
                shift = 4;
            }
            if (s->crumbs != NONE) {
                c |= (unsigned)(from[s->crumbs + 64 * (g / 4) + at] >> 2 * (g % 4) & 3) << shift;
                shift += 2;
            }
            if (s->plane != NONE)
                c |= (unsigned)(from[s->plane + at] >> g & 1) << shift;
            code[4 * g + i] = (uint8_t)c;
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
            gather(s, at + s->header + k32 % runs * s->step, r, c.code);
        } else {
            vs_codes_read(m->cls, m->data + row * vs_matrix_row_bytes(m), k32, &c);
        }
        for (int j = 0; j < 32; j++) {
            float v = c.scale[j / 16] * (float)((int)c.code[j] - info->offset);
            dst[32 * k32 + (size_t)j] = info->has_min ? v + c.min[j / 16] : v;
        }
    }
}
