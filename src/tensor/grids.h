/* tensor/grids.h - the tables of the IQ types: each entry is 8 values of two bits or 4 of three, the first in the lowest bits.
 * grids.c is made by tools/grids.py. A value is the place of a magnitude (IQ2: 8 25 43, IQ3_XXS: 4 12 .. 52 62, IQ3_S: 1 3 .. 15)
 * or of -1, 0, 1 (IQ1). */
#ifndef VS_TENSOR_GRIDS_H
#define VS_TENSOR_GRIDS_H
#include <stdint.h>

extern const uint16_t vs_grid_iq2_xxs[256], vs_grid_iq2_xs[512], vs_grid_iq2_s[1024], vs_grid_iq3_xxs[256], vs_grid_iq3_s[512],
    vs_grid_iq1[2048];
#endif
