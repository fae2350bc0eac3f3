/* tokenizer/lanes_avx2.c - see lanes.c. */
#include "tokenizer/lanes_body.h"

#include <immintrin.h>

static inline uint64_t find_in(const struct vs_merge_rule rule[VS_RULES_TOGETHER], uint64_t pair)
{
    const __m256i *two = (const __m256i *)rule;
    __m256i asked = _mm256_set1_epi64x((long long)pair);
    unsigned low = (unsigned)_mm256_movemask_pd(_mm256_castsi256_pd(_mm256_cmpeq_epi64(_mm256_load_si256(two), asked)));
    unsigned high = (unsigned)_mm256_movemask_pd(_mm256_castsi256_pd(_mm256_cmpeq_epi64(_mm256_load_si256(two + 1), asked)));
    unsigned same = (low | high << 4) & 0x55;
    return rule[__builtin_ctz(same | 0x40) / 2].merge | ((uint64_t)(same != 0) - 1);
}

static inline int32_t least_of(const int32_t key[VS_LANE_BYTES])
{
    const __m256i *eight = (const __m256i *)key;
    __m256i all = _mm256_min_epi32(_mm256_loadu_si256(eight), _mm256_loadu_si256(eight + 1));
    __m128i least = _mm_min_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
    least = _mm_min_epi32(least, _mm_shuffle_epi32(least, 0x4e));
    least = _mm_min_epi32(least, _mm_shuffle_epi32(least, 0xb1));
    return _mm_cvtsi128_si32(least);
}

void vs_lanes_avx2(const struct vs_tokenizer *t, struct vs_lane *lane, size_t n)
{
    merge_lanes(&(struct lane_ops){ find_in, least_of }, t, lane, n);
}
