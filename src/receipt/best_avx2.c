/* receipt/best_avx2.c - see best.h. */
#include "receipt/best_body.h"

#include <immintrin.h>

static float greatest_of(const float *v, size_t n_runs)
{
    __m256 low = _mm256_loadu_ps(v), high = _mm256_loadu_ps(v + 8);
    for (size_t i = 1; i < n_runs; i++) {
        low = _mm256_max_ps(low, _mm256_loadu_ps(v + i * VS_BEST_RUN));
        high = _mm256_max_ps(high, _mm256_loadu_ps(v + i * VS_BEST_RUN + 8));
    }
    low = _mm256_max_ps(low, high);
    __m128 most = _mm_max_ps(_mm256_castps256_ps128(low), _mm256_extractf128_ps(low, 1));
    most = _mm_max_ps(most, _mm_movehl_ps(most, most));
    return _mm_cvtss_f32(_mm_max_ss(most, _mm_movehdup_ps(most)));
}

static uint32_t not_below(const float v[VS_BEST_RUN], float least)
{
    __m256 bound = _mm256_set1_ps(least);
    return (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(_mm256_loadu_ps(v), bound, _CMP_GE_OQ))
         | (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(_mm256_loadu_ps(v + 8), bound, _CMP_GE_OQ)) << 8;
}

uint32_t vs_best_avx2(const float *logits, size_t n, uint32_t ret[VS_BEST_MOST])
{
    return find_best(greatest_of, not_below, logits, n, ret);
}
