/* cpu/scan_avx512.c - recurrent layers on 16 lanes. */
#include "cpu/ops.h"

#include "cpu/math_avx512.h"

#define VEC __m512
#define N_VEC 16
#define LOAD(p) _mm512_loadu_ps(p)
#define STORE(p, v) _mm512_storeu_ps(p, v)
#define STREAM(p, v) _mm512_stream_ps(p, v)
#define STREAMED() _mm_sfence()
#define SET(x) _mm512_set1_ps(x)
#define ADD(a, b) _mm512_add_ps(a, b)
#define SUB(a, b) _mm512_sub_ps(a, b)
#define MUL(a, b) _mm512_mul_ps(a, b)
#define FMA(a, b, c) _mm512_fmadd_ps(a, b, c)
#define DIV(a, b) _mm512_div_ps(a, b)
#define EXP(v) vs_exp16(v)
#define SIGMOID(v) vs_sigmoid16(v)
#define NEG_ABS(v) _mm512_or_ps(v, _mm512_set1_ps(-0.0f))
#define ABOVE_0(v) _mm512_max_ps(v, _mm512_setzero_ps())
#include "cpu/scan_body.h"

void vs_cpu_scan_init_avx512(struct vs_cpu_ops *ops)
{
    scan_init(ops);
}
