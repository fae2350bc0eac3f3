/* cpu/classes.h - one row for each class of block weights: where a block of the file keeps what, and so how a panel is laid out
 * (matrix.h draws it). The packer, the decoder and every kernel take their numbers from here, as constants.
 */
#ifndef VS_CPU_CLASSES_H
#define VS_CPU_CLASSES_H
#include "cpu/matrix.h"

/* The lower bits of the codes of a block. k32 = 8 * (its number) + sub; half = sub / 4, group = sub % 4. */
enum vs_low {
    VS_LOW_BYTES,       /* 32 signed bytes */
    VS_LOW_SPLIT,       /* nibbles: 0..15 are low, 16..31 high */
    VS_LOW_PAIRS,       /* nibbles: 32 bytes for two runs, the first is low */
    VS_LOW_HALVES,      /* nibbles: 64 bytes for four runs, the first two are low */
    VS_LOW_CRUMBS,      /* two bits: 32 bytes for four runs */
};

/* The bits above them. */
enum vs_top {
    VS_TOP_NONE,
    VS_TOP_WORD,        /* one bit: 32 in a word, element j in bit j */
    VS_TOP_PLANE,       /* one bit: 32 bytes for eight runs, run `sub` in bit `sub` */
    VS_TOP_CRUMBS,      /* two bits: 32 bytes for four runs */
};

/* Scales within a block. */
enum vs_sub {
    VS_SUB_NONE,
    VS_SUB_NIBBLES,     /* for 16: low nibble scale, high nibble minimum */
    VS_SUB_SIX,         /* for 16: six bits, 32 above their value */
    VS_SUB_SIX_MIN,     /* for 32: six bits of scale and of minimum */
    VS_SUB_BYTES,       /* for 16: signed bytes */
};

enum { VS_NOT_THERE = 0xffff };

/*  class type    k    bytes  offset  d     m             sub, at             low, at            top, at             panel */
#define VS_BLOCK_CLASSES(X)                                                                                                      \
    X(Q4,  Q4_0,  32,  18,    8,      0,    VS_NOT_THERE, VS_SUB_NONE, 0,     VS_LOW_SPLIT, 2,   VS_TOP_NONE, 0,      288)       \
    X(Q4M, Q4_1,  32,  20,    0,      0,    2,            VS_SUB_NONE, 0,     VS_LOW_SPLIT, 4,   VS_TOP_NONE, 0,      320)       \
    X(Q5,  Q5_0,  32,  22,    16,     0,    VS_NOT_THERE, VS_SUB_NONE, 0,     VS_LOW_SPLIT, 6,   VS_TOP_WORD, 2,      352)       \
    X(Q5M, Q5_1,  32,  24,    0,      0,    2,            VS_SUB_NONE, 0,     VS_LOW_SPLIT, 8,   VS_TOP_WORD, 4,      384)       \
    X(Q8,  Q8_0,  32,  34,    128,    0,    VS_NOT_THERE, VS_SUB_NONE, 0,     VS_LOW_BYTES, 2,   VS_TOP_NONE, 0,      544)       \
    X(K2,  Q2_K,  256, 84,    0,      80,   82,           VS_SUB_NIBBLES, 0,  VS_LOW_CRUMBS, 16, VS_TOP_NONE, 0,      1344)      \
    X(K3,  Q3_K,  256, 110,   4,      108,  VS_NOT_THERE, VS_SUB_SIX, 96,     VS_LOW_CRUMBS, 32, VS_TOP_PLANE, 0,     1824)      \
    X(K4,  Q4_K,  256, 144,   0,      0,    2,            VS_SUB_SIX_MIN, 4,  VS_LOW_PAIRS, 16,  VS_TOP_NONE, 0,      2368)      \
    X(K5,  Q5_K,  256, 176,   0,      0,    2,            VS_SUB_SIX_MIN, 4,  VS_LOW_PAIRS, 48,  VS_TOP_PLANE, 16,    2880)      \
    X(K6,  Q6_K,  256, 210,   32,     208,  VS_NOT_THERE, VS_SUB_BYTES, 192,  VS_LOW_HALVES, 0,  VS_TOP_CRUMBS, 128,  3360)

/* Classes of the types that tensor/indexed.h reads; several types may share one, each with its own list of 16 values. In a panel:
 * the d of 16 rows (d bytes); sub-scales (sub bytes: one for each row and run of 16 or 32, or two of four bits in one, the even
 * one low); then runs of 32. A kernel's code is list[code] where there is a list. */
/*  class k    offset d   sub  per16  low top list panel */
#define VS_INDEXED_CLASSES(X)                                                                                                    \
    X(L4,  32,  128,  32, 0,   false, 4,  0,  true,  288)                                                                        \
    X(M4,  32,  16,   16, 0,   false, 4,  0,  true,  272)                                                                        \
    X(N4,  64,  16,   0,  64,  true,  4,  0,  true,  576)                                                                        \
    X(X4,  256, 128,  32, 128, false, 4,  0,  true,  2208)                                                                       \
    X(G4,  256, 32,   32, 64,  false, 4,  0,  true,  2144)                                                                       \
    X(G3,  256, 64,   32, 64,  false, 3,  0,  true,  1632)                                                                       \
    X(G3H, 256, 64,   32, 128, true,  3,  0,  true,  1696)                                                                       \
    X(T2,  256, 1,    32, 0,   false, 2,  0,  false, 1056)                                                                       \
    X(T2S, 64,  1,    32, 0,   false, 2,  0,  false, 288)                                                                        \
    X(T1,  128, 1,    32, 0,   false, 1,  0,  false, 288)                                                                        \
    X(Q6,  32,  32,   32, 0,   false, 4,  2,  false, 416)

/* What follows from a row. In a panel: d of 16 rows; m of 16 rows, when there; the sub-scales; then runs of 32, low bits first. */
#define VS_LOW_BITS(low) ((low) == VS_LOW_BYTES ? 8 : (low) == VS_LOW_CRUMBS ? 2 : 4)
#define VS_TOP_BITS(top) ((top) == VS_TOP_NONE ? 0 : (top) == VS_TOP_CRUMBS ? 2 : 1)
#define VS_THREE_BITS(low, top) ((low) == VS_LOW_CRUMBS && (top) == VS_TOP_PLANE)       /* lie together in a panel */
#define VS_PANEL_LOW(low, top) (VS_THREE_BITS(low, top) ? 3 : VS_LOW_BITS(low))
#define VS_PANEL_TOP(low, top) (VS_THREE_BITS(low, top) ? 0 : VS_TOP_BITS(top))
#define VS_SUB_FILE_BYTES(sub) ((sub) == VS_SUB_NONE ? 0 : (sub) == VS_SUB_SIX || (sub) == VS_SUB_SIX_MIN ? 12 : 16)
#define VS_PANEL_SUB(m) ((m) == VS_NOT_THERE ? 2 * VS_PANEL_ROWS : 4 * VS_PANEL_ROWS)
#define VS_PANEL_HEADER(m, sub) (VS_PANEL_SUB(m) + ((sub) == VS_SUB_NONE ? 0 : 16 * VS_PANEL_ROWS))
#define VS_PANEL_BITS(bits) ((bits) * 32 * VS_PANEL_ROWS / 8)        /* bytes of a run of 32 */
#define VS_PANEL_STEP(low, top) VS_PANEL_BITS(VS_LOW_BITS(low) + VS_TOP_BITS(top))

struct vs_class_layout {
    /* a block of the file: bytes, and where in it; m may be VS_NOT_THERE */
    uint16_t block_len, block_bytes, d, m, sub_at, low_at, top_at;
    enum vs_sub sub;
    enum vs_low low;
    enum vs_top top;
    /* a superblock of a panel: bytes; where sub-scales and runs begin; of a run: its bytes, where the top bits begin */
    uint16_t super_bytes, panel_sub, header, step, panel_top;
    uint8_t offset;                     /* signed value = code - offset */
    uint8_t low_bits, top_bits;         /* of a code in a panel */
    bool per16, has_min;                /* a scale for 16 k instead of 32; a minimum */
    bool has_list;                      /* the code is a place in the matrix's list */
    bool packed_subs;                   /* two sub-scales in a byte */
};

#define VS_LAYOUT(cls, type, k, bytes, off, d_, m_, sub_, sub_at_, low_, low_at_, top_, top_at_, panel)                          \
    { .block_len = k, .block_bytes = bytes, .d = d_, .m = m_, .sub_at = sub_at_, .low_at = low_at_, .top_at = top_at_,           \
      .sub = sub_, .low = low_, .top = top_, .super_bytes = panel, .panel_sub = VS_PANEL_SUB(m_),                                \
      .header = VS_PANEL_HEADER(m_, sub_), .step = VS_PANEL_STEP(low_, top_), .panel_top = VS_PANEL_BITS(VS_LOW_BITS(low_)),     \
      .offset = off, .low_bits = VS_PANEL_LOW(low_, top_), .top_bits = VS_PANEL_TOP(low_, top_),                                \
      .per16 = (sub_) != VS_SUB_NONE && (sub_) != VS_SUB_SIX_MIN, .has_min = (m_) != VS_NOT_THERE }

/* The file's part is tensor/indexed.h's. */
#define VS_INDEXED_LAYOUT(cls, k, off, d_, sub_, per16_, low_, top_, list_, panel)                                               \
    { .block_len = k, .super_bytes = panel, .panel_sub = d_, .header = (d_) + (sub_),                                            \
      .step = VS_PANEL_BITS((low_) + (top_)), .panel_top = VS_PANEL_BITS(low_), .offset = off, .low_bits = low_,                 \
      .top_bits = top_, .per16 = per16_, .has_list = list_,                                                                      \
      .packed_subs = (sub_) && (sub_) < (k) / ((per16_) ? 16 : 32) * VS_PANEL_ROWS }

/* With a constant cls every field is a constant. */
static inline __attribute__((always_inline)) struct vs_class_layout vs_class_layout(const enum vs_matrix_class cls)
{
    switch (cls) {
#define X(c, ...) case VS_CLASS_##c: return (struct vs_class_layout)VS_LAYOUT(c, __VA_ARGS__);
    VS_BLOCK_CLASSES(X)
#undef X
#define X(c, ...) case VS_CLASS_##c: return (struct vs_class_layout)VS_INDEXED_LAYOUT(c, __VA_ARGS__);
    VS_INDEXED_CLASSES(X)
#undef X
    default: return (struct vs_class_layout){ 0 };
    }
}

/* Whether kernels unpack it once for many columns: where a code takes more than a shift and an and, and where a run has two scales.
 * None of these with one scale has a minimum. */
static inline __attribute__((always_inline)) bool vs_class_is_unpacked(const enum vs_matrix_class cls)
{
    const struct vs_class_layout l = vs_class_layout(cls);
    return l.per16 || ((l.has_list || l.top_bits == 2) && !l.has_min);
}

#define X(cls, type, k, bytes, off, d, m, sub, sub_at, low, low_at, top, top_at, panel)                                          \
    _Static_assert((bytes) == 2 + ((m) == VS_NOT_THERE ? 0 : 2) + VS_SUB_FILE_BYTES(sub) +                                       \
                              (k) * (VS_LOW_BITS(low) + VS_TOP_BITS(top)) / 8,                                                   \
                   "a block of " #type " holds its parts and nothing else");                                                     \
    _Static_assert((panel) == VS_PANEL_HEADER(m, sub) + (k) / 32 * VS_PANEL_STEP(low, top) && (panel) % 32 == 0,                 \
                   "a superblock of " #cls " holds its parts and nothing else");
VS_BLOCK_CLASSES(X)
#undef X

#define X(cls, k, off, d, sub, per16, low, top, list, panel)                                                                     \
    _Static_assert((panel) == (d) + (sub) + (k) / 32 * VS_PANEL_BITS((low) + (top)) && (panel) % 16 == 0,                        \
                   "a superblock of " #cls " holds its parts and nothing else");
VS_INDEXED_CLASSES(X)
#undef X
#endif
