/* tokenizer/lanes_avx512.c - see lanes.c. */
#include "tokenizer/lanes_body.h"

#include <immintrin.h>

static inline uint64_t find_in(const struct vs_merge_rule rule[VS_RULES_TOGETHER], uint64_t pair)
{
    unsigned same = _mm512_mask_cmpeq_epi64_mask(0x55, _mm512_load_si512(rule), _mm512_set1_epi64((long long)pair));
    return rule[__builtin_ctz(same | 0x40) / 2].merge | ((uint64_t)(same != 0) - 1);
}

static inline int32_t least_of(const int32_t key[VS_LANE_BYTES])
{
    return _mm512_reduce_min_epi32(_mm512_loadu_si512(key));
}

void vs_lanes_avx512(const struct vs_tokenizer *t, struct vs_lane *lane, size_t n)
{
    merge_lanes(&(struct lane_ops){ find_in, least_of }, t, lane, n);
}
