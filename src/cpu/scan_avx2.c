/* cpu/scan_avx2.c - recurrent layers on 8 lanes. */
#include "cpu/ops.h"

#include "cpu/math_avx2.h"

#define VEC __m256
#define N_VEC 8
#define LOAD(p) _mm256_loadu_ps(p)
#define STORE(p, v) _mm256_storeu_ps(p, v)
#define STREAM(p, v) _mm256_stream_ps(p, v)
#define STREAMED() _mm_sfence()
#define SET(x) _mm256_set1_ps(x)
#define ADD(a, b) _mm256_add_ps(a, b)
#define SUB(a, b) _mm256_sub_ps(a, b)
#define MUL(a, b) _mm256_mul_ps(a, b)
#define FMA(a, b, c) _mm256_fmadd_ps(a, b, c)
#define DIV(a, b) _mm256_div_ps(a, b)
#define EXP(v) vs_exp8(v)
#define SIGMOID(v) vs_sigmoid8(v)
#define NEG_ABS(v) _mm256_or_ps(v, _mm256_set1_ps(-0.0f))
#define ABOVE_0(v) _mm256_max_ps(v, _mm256_setzero_ps())
#include "cpu/scan_body.h"

void vs_cpu_scan_init_avx2(struct vs_cpu_ops *ops)
{
    scan_init(ops);
}
