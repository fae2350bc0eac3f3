/* cpu/math_avx2.h - the functions of base/num.h on 8 lanes: the same operations in the same order, so the same bits. */
#ifndef VS_CPU_MATH_AVX2_H
#define VS_CPU_MATH_AVX2_H
#include "base/num.h"
#include "graph/graph.h"

#include <immintrin.h>

static inline __m256 vs_exp8(__m256 x)
{
    const __m256 magic = _mm256_set1_ps(VS_RNE_MAGIC);
    __m256 t = _mm256_fmadd_ps(x, _mm256_set1_ps(VS_LOG2E), magic);
    __m256 n = _mm256_sub_ps(t, magic);
    __m256 r = _mm256_fmadd_ps(n, _mm256_set1_ps(-VS_LN2_HI), x);
    r = _mm256_fmadd_ps(n, _mm256_set1_ps(-VS_LN2_LO), r);
    __m256 p = _mm256_fmadd_ps(_mm256_set1_ps(VS_EXP_C6), r, _mm256_set1_ps(VS_EXP_C5));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(VS_EXP_C4));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(VS_EXP_C3));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(VS_EXP_C2));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f));
    __m256 y = _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p),
                                                    _mm256_slli_epi32(_mm256_castps_si256(t), 23)));
    y = _mm256_blendv_ps(y, _mm256_setzero_ps(), _mm256_cmp_ps(x, _mm256_set1_ps(VS_EXP_MIN), _CMP_LT_OQ));
    y = _mm256_blendv_ps(y, _mm256_set1_ps(__builtin_inff()), _mm256_cmp_ps(x, _mm256_set1_ps(VS_EXP_MAX), _CMP_GT_OQ));
    return _mm256_blendv_ps(y, x, _mm256_cmp_ps(x, x, _CMP_UNORD_Q));
}

static inline __m256 vs_sigmoid8(__m256 x)
{
    const __m256 one = _mm256_set1_ps(1.0f);
    __m256 e = vs_exp8(_mm256_or_ps(x, _mm256_set1_ps(-0.0f)));
    __m256 top = _mm256_blendv_ps(e, one, _mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_GE_OQ));
    return _mm256_div_ps(top, _mm256_add_ps(one, e));
}

static inline __m256 vs_silu8(__m256 x)
{
    return _mm256_mul_ps(x, vs_sigmoid8(x));
}

static inline __m256 vs_gelu_tanh8(__m256 x)
{
    __m256 u = _mm256_mul_ps(x, x);
    __m256 z = _mm256_mul_ps(x, _mm256_fmadd_ps(u, _mm256_set1_ps(VS_GELU_A), _mm256_set1_ps(VS_GELU_B)));
    return _mm256_mul_ps(x, vs_sigmoid8(z));
}

static inline __m256 vs_gelu_erf8(__m256 x)
{
    const __m256 one = _mm256_set1_ps(1.0f);
    __m256 a = _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x);
    __m256 t = _mm256_div_ps(one, _mm256_fmadd_ps(_mm256_set1_ps(VS_GELU_P), a, one));
    __m256 p = _mm256_set1_ps(VS_GELU_H7);
    p = _mm256_fmadd_ps(p, t, _mm256_set1_ps(VS_GELU_H6));
    p = _mm256_fmadd_ps(p, t, _mm256_set1_ps(VS_GELU_H5));
    p = _mm256_fmadd_ps(p, t, _mm256_set1_ps(VS_GELU_H4));
    p = _mm256_fmadd_ps(p, t, _mm256_set1_ps(VS_GELU_H3));
    p = _mm256_fmadd_ps(p, t, _mm256_set1_ps(VS_GELU_H2));
    p = _mm256_fmadd_ps(p, t, _mm256_set1_ps(VS_GELU_H1));
    p = _mm256_fmadd_ps(p, t, _mm256_set1_ps(VS_GELU_H0));
    __m256 e = vs_exp8(_mm256_mul_ps(_mm256_set1_ps(-0.5f), _mm256_mul_ps(a, a)));
    __m256 tail = _mm256_mul_ps(_mm256_mul_ps(p, t), e);
    return _mm256_blendv_ps(_mm256_mul_ps(x, tail), _mm256_fnmadd_ps(x, tail, x),
                            _mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_GE_OQ));
}

static inline __m256 vs_activation8(__m256 x, enum vs_activation act)
{
    return act == VS_ACT_SILU ? vs_silu8(x) : act == VS_ACT_SIGMOID ? vs_sigmoid8(x)
           : act == VS_ACT_GELU_ERF ? vs_gelu_erf8(x) : vs_gelu_tanh8(x);
}

/* Sum of 16 virtual lanes (0-7 in lo, 8-15 in hi) by the tree 8-4-2-1. */
static inline float vs_tree16(__m256 lo, __m256 hi)
{
    __m256 s8 = _mm256_add_ps(lo, hi);
    __m128 s4 = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
    __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
    return _mm_cvtss_f32(_mm_add_ss(s2, _mm_movehdup_ps(s2)));
}
#endif
