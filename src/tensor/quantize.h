/* tensor/quantize.h - blocks that lose as little as possible: what `veritas quantize` writes.
 *
 * For each run of elements several scales are tried, and the one is kept whose squared error is least; then each rounded scale and
 * its neighbours again. Where `importance` is given (the mean square of what the column is multiplied with), errors weigh by it,
 * and those of large elements more.
 * Plain C, nothing but the row decides, so the bytes are the same everywhere.
 */
#ifndef VS_TENSOR_QUANTIZE_H
#define VS_TENSOR_QUANTIZE_H
#include "tensor/dtype.h"

/* Whether vs_quantize_row makes this type. */
bool vs_quantize_makes(enum vs_dtype dtype);

/* One row of n elements, n a multiple of the block; importance [n] or NULL. Values and importance are finite. */
void vs_quantize_row(enum vs_dtype dtype, const float *x, const float *importance, void *dst, size_t n);
#endif
