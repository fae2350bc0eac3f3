/* tensor/indexed.h - types whose codes choose from a short list of integers, as the blocks of a file hold them.
 *
 *   value = scale * values[code], or scale * (code - offset) where there is no list
 *
 * One row for each type says where a block keeps codes and scales; vs_dequantize and the packer of the CPU read them here alone.
 * Codes come in runs of 32 elements, four to a word, the first in the lowest byte; a sub-scale belongs to 16 or 32 elements.
 * All functions are pure and take whole blocks.
 */
#ifndef VS_TENSOR_INDEXED_H
#define VS_TENSOR_INDEXED_H
#include "tensor/dtype.h"

enum vs_scale {                         /* of a run, from the block's d and the sub-scale s */
    VS_SCALE_D,                         /* d */
    VS_SCALE_E8M0,                      /* 2^(e - 128), e = the low byte of d; no s */
    VS_SCALE_E4M3,                      /* s as 4 bits exponent, 3 bits mantissa, halved; no d */
    VS_SCALE_HALVES,                    /* d * (s + 1/2), s = 0..15 */
    VS_SCALE_EIGHTHS,                   /* d * (s + 1/2) / 4 */
    VS_SCALE_SIGNED,                    /* d * s, s a signed byte */
};

struct vs_indexed {
    enum vs_dtype dtype;
    uint8_t bits;                       /* of a code */
    uint8_t offset;                     /* where there is no list */
    enum vs_scale scale;
    uint8_t sub_len;                    /* elements under one sub-scale: 16, 32, or 0: there is none */
    void (*codes)(const uint8_t *block, unsigned run, uint32_t code[8]);
    uint16_t (*d)(const uint8_t *block);
    uint8_t (*sub)(const uint8_t *block, unsigned i);
    int8_t values[16];                  /* of codes of up to 4 bits, else unused */
};

/* NULL when the type is none of these. */
const struct vs_indexed *vs_indexed_of(enum vs_dtype dtype);

/* Exact for every d and s of a file. */
float vs_indexed_scale(enum vs_scale scale, uint16_t d, uint8_t sub);

/* Whether the scales of n blocks are numbers. The others would not show: MXFP4 and NVFP4 have codes for "no number", which other
 * programs read as large ones. */
bool vs_indexed_sound(const struct vs_indexed *t, const uint8_t *blocks, size_t n);

/* The code of element i into a block that is zeroed, of a type without a grid and other than TQ1_0. */
void vs_indexed_put(enum vs_dtype dtype, uint8_t *block, unsigned i, unsigned code);

/* Makes blocks of n elements, n a multiple of the block: near the values, not tuned for quality. */
void vs_indexed_encode(enum vs_dtype dtype, const float *x, uint8_t *block);
#endif
