/* cpu/matmul_avx512vl.c - products by vpdpbusd, EVEX encoding; the level "avxvnni" on a CPU that has it so; see
 * matmul_body_avx2.h */
#define VS_DPBUSD(sum, u, s) _mm256_dpbusd_epi32(sum, u, s)
#include "cpu/matmul_body_avx2.h"

void vs_cpu_matmul_init_avx512vl(struct vs_cpu_ops *ops)
{
    ops->packed = true;
    ops->matmul = matmul;
}
