/* cpu/matmul_avx2.c - products by vpmaddubsw; see matmul_body_avx2.h */
#include "cpu/matmul_body_avx2.h"

void vs_cpu_matmul_init_avx2(struct vs_cpu_ops *ops)
{
    ops->packed = true;
    ops->matmul = matmul;
}
