/* cpu/matmul_i8mm.c - matrices with the matrix instruction of Armv8.6 for two and more columns; the tile is in matmul_neon.h */
#define VS_NEON_I8MM
#include "cpu/matmul_neon.h"

void vs_cpu_matmul_init_i8mm(struct vs_cpu_ops *ops)
{
    ops->packed = true;
    ops->matmul = matmul;
}
