/* cpu/matmul_avxvnni.c - products by vpdpbusd, VEX encoding; see matmul_body_avx2.h */
#define VS_DPBUSD(sum, u, s) _mm256_dpbusd_avx_epi32(sum, u, s)
#include "cpu/matmul_body_avx2.h"

void vs_cpu_matmul_init_avxvnni(struct vs_cpu_ops *ops)
{
    ops->packed = true;
    ops->matmul = matmul;
}
