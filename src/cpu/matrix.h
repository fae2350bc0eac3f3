/* cpu/matrix.h - weight matrices as the CPU kernels want them.
 *
 * A matrix W[n_rows, n_cols] (n_rows outputs, n_cols = k inputs) is kept in one of two forms:
 *   blocks   the file's own rows, one after the other: what plain C computes from, the oracle;
 *   panels   16 rows interleaved, so that SIMD lanes are outputs and every output owns one chain of fma over
 *            ascending k (docs/NUMERICS.md). The same panels serve one row, a few and many.
 *
 * A panel is a run of superblocks along k. Row r (0..15) of a 64-byte "k-step" vector holds bytes 4r..4r+3 for
 * four consecutive k. Per 32 k there are 8 k-steps, g = 0..7. Codes are unsigned; code - offset is the signed value.
 *
 *   nibbles  4 x 64 B: vector j holds step 2j in the low and step 2j+1 in the high nibble
 *   crumbs   2 x 64 B: vector p holds steps 4p..4p+3, two bits each, lowest first
 *   plane    1 x 64 B: bit g of a byte belongs to step g
 *   threes   3 x 64 B: vector j holds step 2j in bits 0..2, step 2j + 1 in bits 4..6, and in bits 3 and 7 bit j of steps 6 and 7
 *   bytes    8 x 64 B
 *
 *   class  types         superblock of 16 rows                                              bytes   k
 *   Q4     Q4_0          f16 d[16]; nibbles                                                   288   32
 *   Q4M    Q4_1          f16 d[16]; f16 m[16]; nibbles                                        320   32
 *   Q5     Q5_0          f16 d[16]; nibbles; plane                                            352   32
 *   Q5M    Q5_1          f16 d[16]; f16 m[16]; nibbles; plane                                 384   32
 *   Q8     Q8_0          f16 d[16]; bytes                                                     544   32
 *   K2     Q2_K          f16 d[16]; f16 dmin[16]; u8 sm[16][16] (lo scale, hi min); 8 x crumbs          1344  256
 *   K3     Q3_K          f16 d[16]; i8 s[16][16]; 8 x threes                                           1824  256
 *   K4     Q4_K          f16 d[16]; f16 dmin[16]; u8 s[8][16]; u8 m[8][16]; 8 x nibbles                2368  256
 *   K5     Q5_K          the same; 8 x (nibbles; plane)                                                2880  256
 *   K6     Q6_K          f16 d[16]; i8 s[16][16]; 8 x (nibbles; crumbs)                                3360  256
 *   L4     IQ4_NL        f16 d[16]; nibbles                                                   288   32
 *   M4     MXFP4         u8 e[16]; nibbles                                                    272   32
 *   N4     NVFP4         u8 s[4][16]; 2 x nibbles                                             576   64
 *   X4     IQ4_XS        f16 d[16]; i8 s[8][16]; 8 x nibbles                                           2208  256
 *   G4     IQ3_S IQ3_XXS f16 d[16]; u4 s[8][16]; 8 x nibbles                                           2144  256
 *   G3     IQ2_XXS IQ1_S f16 d[16]; u4 s[8][16]; 8 x threes                                            1632  256
 *   G3H    IQ2_XS IQ2_S IQ1_M   f16 d[16]; u4 s[16][16]; 8 x threes                                    1696  256
 *   T2     TQ1_0 TQ2_0   f16 d[16]; 8 x crumbs                                                         1056  256
 *   T2S    Q2_0          f16 d[16]; 2 x crumbs                                                288   64
 *   T1     Q1_0          f16 d[16]; 4 x plane                                                 288  128
 *   Q6     Q6_0          f16 d[16]; nibbles; crumbs                                           416   32
 *   F32 F16 BF16         16 values of one k side by side                                            64/32/32    1
 *
 * The codes of L4 to G3H are places in a list of up to 16 values that the matrix carries; u4: two in a byte, the even one low.
 * Q8_1 is kept as Q8.
 *
 * Rows past n_rows in the last panel have zero scales (or zero values).
 */
#ifndef VS_CPU_MATRIX_H
#define VS_CPU_MATRIX_H
#include "tensor/dtype.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { VS_PANEL_ROWS = 16 };

enum vs_matrix_class {
    VS_CLASS_Q4, VS_CLASS_Q4M, VS_CLASS_Q5, VS_CLASS_Q5M, VS_CLASS_Q8,
    VS_CLASS_K2, VS_CLASS_K3, VS_CLASS_K4, VS_CLASS_K5, VS_CLASS_K6,
    VS_CLASS_L4, VS_CLASS_M4, VS_CLASS_N4, VS_CLASS_X4, VS_CLASS_G4, VS_CLASS_G3, VS_CLASS_G3H,
    VS_CLASS_T2, VS_CLASS_T2S, VS_CLASS_T1, VS_CLASS_Q6,
    VS_CLASS_F32, VS_CLASS_F16, VS_CLASS_BF16,
    VS_N_CLASSES
};

struct vs_class_info {
    const char *name;                   /* "Q4M" */
    uint32_t super_len;                 /* k in a superblock */
    uint32_t super_bytes;               /* bytes of a superblock of 16 rows */
    uint8_t offset;                     /* signed value = code - offset */
    bool per16;                         /* one scale for 16 k instead of 32 */
    bool has_min;
    bool is_float;                      /* plain values: no codes, no activation quantisation */
};
extern const struct vs_class_info vs_class_infos[VS_N_CLASSES];

/* The class of a file type; -1 when we don't compute with it. */
int vs_class_of(enum vs_dtype dtype);

struct vs_matrix {
    enum vs_dtype dtype;
    enum vs_matrix_class cls;
    bool packed;                        /* panels, else the file's blocks */
    uint32_t n_rows, n_cols;
    const uint8_t *data;                /* not owned */
    const struct vs_indexed *indexed;   /* how to read blocks of such a type; else NULL */
    uint8_t list[16];                   /* of classes that have one: value + offset for each code */
};

/* Without data. dtype has a class. */
struct vs_matrix vs_matrix_of(enum vs_dtype dtype, uint32_t n_rows, uint32_t n_cols, bool packed);

static inline size_t vs_matrix_n_panels(const struct vs_matrix *m)
{
    return (m->n_rows + VS_PANEL_ROWS - 1u) / VS_PANEL_ROWS;
}

size_t vs_matrix_panel_bytes(const struct vs_matrix *m);     /* of one panel */
size_t vs_matrix_row_bytes(const struct vs_matrix *m);       /* of one row of the file */
size_t vs_matrix_bytes(const struct vs_matrix *m);           /* of the whole, by m->packed */

/* Packs panels [begin, end) into dst (start of the whole packed matrix); src: their rows as the file has them. */
void vs_matrix_pack(const struct vs_matrix *m, const uint8_t *src, uint8_t *dst, size_t begin, size_t end);

/* 32 consecutive weights of one row of a block format, decoded: with tensor/indexed.h the one place that knows the block
 * layouts as integers. k32 = index of the run of 32 in the row. */
struct vs_codes {
    uint8_t code[32];
    float scale[2];                     /* for k 0..15 and 16..31; equal unless per16 */
    float min[2];                       /* added: value = scale * (code - offset) + min; 0 without has_min */
};
void vs_codes_read(const struct vs_matrix *m, const uint8_t *row, size_t k32, struct vs_codes *ret);

/* Row `row` as f32, from either form: scale * (code - offset) (+ min). For the embedding. */
void vs_matrix_row(const struct vs_matrix *m, size_t row, float *dst);

/* 32 activations of one row, quantised: one cache line. value = d * q. */
struct vs_act {
    int8_t q[32];
    float d;
    float ds;                           /* RN(d * sum of q) */
    float dsh[2];                       /* RN(d * sum of q) of each half of 16 */
    int16_t npair16[2][2];              /* [half][p]: minus the sum of q whose k mod 4 is in {2p, 2p+1} */
    int16_t npair32[2];                 /* the two halves added */
    int32_t nsum;                       /* minus the sum of q */
};
_Static_assert(sizeof(struct vs_act) == 64, "one cache line");

/* High precision: q = 254 * hi + lo, two rows of int8. */
enum { VS_HIGH_MAX = 32258, VS_HIGH_STEP = 254 };

/* Activations of n rows lie in panels of 8 rows; in a panel of c rows (the last may have fewer) block b of row i
 * is at [b * c + i]. */
enum { VS_ACT_ROWS = 8 };
static inline size_t vs_act_width(size_t n, size_t row)      /* rows in the panel that holds `row` */
{
    size_t first = row - row % VS_ACT_ROWS;
    return n - first < VS_ACT_ROWS ? n - first : VS_ACT_ROWS;
}
static inline size_t vs_act_index(size_t n_blocks, size_t row)      /* of block 0; the next is vs_act_width(n, row) further */
{
    return (row - row % VS_ACT_ROWS) * n_blocks + row % VS_ACT_ROWS;
}
#endif
