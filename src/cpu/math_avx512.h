/* cpu/math_avx512.h - the functions of base/num.h on 16 lanes: the same operations in the same order, so the same bits. */
#ifndef VS_CPU_MATH_AVX512_H
#define VS_CPU_MATH_AVX512_H
#include "base/num.h"
#include "graph/graph.h"

#include <immintrin.h>

/* e^x before the special cases: right for VS_EXP_MIN <= x <= VS_EXP_MAX. */
static inline __m512 vs_exp16_core(__m512 x)
{
    const __m512 magic = _mm512_set1_ps(VS_RNE_MAGIC);
    __m512 t = _mm512_fmadd_ps(x, _mm512_set1_ps(VS_LOG2E), magic);
    __m512 n = _mm512_sub_ps(t, magic);
    __m512 r = _mm512_fmadd_ps(n, _mm512_set1_ps(-VS_LN2_HI), x);
    r = _mm512_fmadd_ps(n, _mm512_set1_ps(-VS_LN2_LO), r);
    __m512 p = _mm512_fmadd_ps(_mm512_set1_ps(VS_EXP_C6), r, _mm512_set1_ps(VS_EXP_C5));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(VS_EXP_C4));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(VS_EXP_C3));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(VS_EXP_C2));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
    return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(p), _mm512_slli_epi32(_mm512_castps_si512(t), 23)));
}

static inline __m512 vs_exp16(__m512 x)
{
    __m512 y = vs_exp16_core(x);
    y = _mm512_mask_mov_ps(y, _mm512_cmp_ps_mask(x, _mm512_set1_ps(VS_EXP_MIN), _CMP_LT_OQ), _mm512_setzero_ps());
    y = _mm512_mask_mov_ps(y, _mm512_cmp_ps_mask(x, _mm512_set1_ps(VS_EXP_MAX), _CMP_GT_OQ),
                           _mm512_set1_ps(__builtin_inff()));
    return _mm512_mask_mov_ps(y, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), x);
}

/* The same for x <= 0 or NaN: one comparison finds both special cases, and the greater of 0 and x is their result. */
static inline __m512 vs_exp16_below(__m512 x)
{
    __mmask16 special = _mm512_cmp_ps_mask(x, _mm512_set1_ps(VS_EXP_MIN), _CMP_NGE_UQ);
    return _mm512_mask_max_ps(vs_exp16_core(x), special, _mm512_setzero_ps(), x);
}

static inline __m512 vs_sigmoid16(__m512 x)
{
    const __m512 one = _mm512_set1_ps(1.0f);
    __m512 e = vs_exp16(_mm512_or_ps(x, _mm512_set1_ps(-0.0f)));
    __m512 top = _mm512_mask_mov_ps(e, _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_GE_OQ), one);
    return _mm512_div_ps(top, _mm512_add_ps(one, e));
}

static inline __m512 vs_silu16(__m512 x)
{
    return _mm512_mul_ps(x, vs_sigmoid16(x));
}

static inline __m512 vs_gelu_tanh16(__m512 x)
{
    __m512 u = _mm512_mul_ps(x, x);
    __m512 z = _mm512_mul_ps(x, _mm512_fmadd_ps(u, _mm512_set1_ps(VS_GELU_A), _mm512_set1_ps(VS_GELU_B)));
    return _mm512_mul_ps(x, vs_sigmoid16(z));
}

static inline __m512 vs_gelu_erf16(__m512 x)
{
    const __m512 one = _mm512_set1_ps(1.0f);
    __m512 a = _mm512_andnot_ps(_mm512_set1_ps(-0.0f), x);
    __m512 t = _mm512_div_ps(one, _mm512_fmadd_ps(_mm512_set1_ps(VS_GELU_P), a, one));
    __m512 p = _mm512_set1_ps(VS_GELU_H7);
    p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(VS_GELU_H6));
    p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(VS_GELU_H5));
    p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(VS_GELU_H4));
    p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(VS_GELU_H3));
    p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(VS_GELU_H2));
    p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(VS_GELU_H1));
    p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(VS_GELU_H0));
    __m512 e = vs_exp16(_mm512_mul_ps(_mm512_set1_ps(-0.5f), _mm512_mul_ps(a, a)));
    __m512 tail = _mm512_mul_ps(_mm512_mul_ps(p, t), e);
    return _mm512_mask_mov_ps(_mm512_mul_ps(x, tail), _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_GE_OQ),
                              _mm512_fnmadd_ps(x, tail, x));
}

static inline __m512 vs_activation16(__m512 x, enum vs_activation act)
{
    return act == VS_ACT_SILU ? vs_silu16(x) : act == VS_ACT_SIGMOID ? vs_sigmoid16(x)
           : act == VS_ACT_GELU_ERF ? vs_gelu_erf16(x) : vs_gelu_tanh16(x);
}

/* Sum of 16 virtual lanes by the tree 8-4-2-1. */
static inline float vs_tree16_avx512(__m512 v)
{
    __m256 s8 = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    __m128 s4 = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
    __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
    return _mm_cvtss_f32(_mm_add_ss(s2, _mm_movehdup_ps(s2)));
}
#endif
