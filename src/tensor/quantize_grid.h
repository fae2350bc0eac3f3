/* tensor/quantize_grid.h - blocks of the IQ1, IQ2 and IQ3 types, whose groups of elements are entries of a grid.
 *
 * For each run under one sub-scale several scales are tried; where a group lies between entries, those nearest to it are compared
 * by weighted error. Which lie near is found once for each type, in some 100 ms. Plain C; nothing but the block decides.
 */
#ifndef VS_TENSOR_QUANTIZE_GRID_H
#define VS_TENSOR_QUANTIZE_GRID_H
#include "tensor/dtype.h"

/* Whether the type is one of these. */
bool vs_quantize_grid_makes(enum vs_dtype dtype);

/* 256 elements with their weights (> 0 or 0) to a block that is zeroed. Any thread. */
void vs_quantize_grid(enum vs_dtype dtype, const float *x, const float *w, uint8_t *block);
#endif
