/* cpu/matmul_neon.c - matrices with the dot instruction of Armv8.2; the tile is in matmul_neon.h */
#include "cpu/matmul_neon.h"

void vs_cpu_matmul_init_neon(struct vs_cpu_ops *ops)
{
    ops->packed = true;
    ops->matmul = matmul;
}
