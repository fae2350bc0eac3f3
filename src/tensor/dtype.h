/* tensor/dtype.h - the encodings a weight tensor can have in a file, and their exact values.
 *
 * Source of layouts: docs of GGUF/ggml block formats. Type numbers are GGUF's.
 * All functions are pure; n is a number of elements and must be a multiple of block_len.
 */
#ifndef VS_TENSOR_DTYPE_H
#define VS_TENSOR_DTYPE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum vs_dtype {                         /* the numbers of GGUF; only those we compute with have names */
    VS_F32 = 0, VS_F16 = 1, VS_Q4_0 = 2, VS_Q4_1 = 3, VS_Q5_0 = 6, VS_Q5_1 = 7, VS_Q8_0 = 8,
    VS_Q8_1 = 9, VS_Q2_K = 10, VS_Q3_K = 11, VS_Q4_K = 12, VS_Q5_K = 13, VS_Q6_K = 14,
    VS_IQ2_XXS = 16, VS_IQ2_XS = 17, VS_IQ3_XXS = 18, VS_IQ1_S = 19, VS_IQ4_NL = 20, VS_IQ3_S = 21, VS_IQ2_S = 22,
    VS_IQ4_XS = 23, VS_IQ1_M = 29, VS_BF16 = 30, VS_TQ1_0 = 34, VS_TQ2_0 = 35, VS_MXFP4 = 39, VS_NVFP4 = 40, VS_Q1_0 = 41,
    VS_Q2_0 = 42, VS_Q6_0 = 133,
};

struct vs_dtype_info {
    uint32_t id;
    const char *name;                   /* "Q4_K" */
    uint32_t block_len;                 /* elements in a block */
    uint32_t block_bytes;
    uint32_t row_extra_bytes;           /* in front of each row's blocks; 0 for every computable type */
    bool computable;                    /* this build can run a model that has it */
    bool removed;                       /* a number that never is, or no longer is, in a file: refuse */
};

/* NULL when the number is unknown. Knows every type number of the format, also those we can't compute with. */
const struct vs_dtype_info *vs_dtype_info(uint32_t id);

/* Row i of the table, ascending by number; NULL behind the last. */
const struct vs_dtype_info *vs_dtype_at(size_t i);

/* Exact f32 values of n elements: the definition of what a block means. Only for computable types. */
void vs_dequantize(enum vs_dtype dtype, const void *src, float *dst, size_t n);

/* Round-to-nearest encoders, used to make test models (not tuned for quality). */
void vs_quantize(enum vs_dtype dtype, const float *src, void *dst, size_t n);

float vs_f16_to_f32(uint16_t h);        /* exact, denormals and infinities included */
uint16_t vs_f32_to_f16(float f);        /* round to nearest even; NaN stays NaN */
float vs_bf16_to_f32(uint16_t h);
uint16_t vs_f32_to_bf16(float f);
#endif
