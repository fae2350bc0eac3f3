/* tokenizer/cuts_avx2.c - see cuts.h. */
#include "tokenizer/cuts_body.h"

#include <immintrin.h>

static inline uint64_t both(__m256i low, __m256i high)
{
    return (uint32_t)_mm256_movemask_epi8(low) | (uint64_t)(uint32_t)_mm256_movemask_epi8(high) << 32;
}

static inline __m256i kinds_of(__m256i bytes)
{
    static const uint8_t low[16] = { OF_LOW_HALF }, high[16] = { OF_HIGH_HALF };
    __m256i of_low = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)low));
    __m256i of_high = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)high));
    __m256i half = _mm256_and_si256(_mm256_srli_epi16(bytes, 4), _mm256_set1_epi8(15));
    return _mm256_and_si256(_mm256_shuffle_epi8(of_low, bytes), _mm256_shuffle_epi8(of_high, half));
}

static inline uint64_t have(__m256i low, __m256i high, int bits)
{
    __m256i zero = _mm256_setzero_si256(), mask = _mm256_set1_epi8((char)bits);
    return ~both(_mm256_cmpeq_epi8(_mm256_and_si256(low, mask), zero), _mm256_cmpeq_epi8(_mm256_and_si256(high, mask), zero));
}

static inline uint64_t equal(__m256i low, __m256i high, char c)
{
    return both(_mm256_cmpeq_epi8(low, _mm256_set1_epi8(c)), _mm256_cmpeq_epi8(high, _mm256_set1_epi8(c)));
}

static inline void look(const char *s, struct kinds *ret)
{
    __m256i a = _mm256_loadu_si256((const __m256i *)s), b = _mm256_loadu_si256((const __m256i *)(s + 32));
    __m256i ka = kinds_of(a), kb = kinds_of(b);
    ret->upper = have(ka, kb, UPPER);
    ret->lower = have(ka, kb, LOWER);
    ret->digit = have(ka, kb, DIGIT);
    ret->space = have(ka, kb, SPACE);
    ret->newline = have(ka, kb, NEWLINE);
    ret->blank = have(ka, kb, BLANK);
    ret->other = both(a, b);
    ret->quote = equal(a, b, '\'');
    ret->control = (~have(a, b, 0xe0) & ~(ret->newline | ret->blank)) | equal(a, b, 0x7f);
}

size_t vs_cut_avx2(unsigned flags, const char *s, const char *end, uint32_t *n_bytes, size_t cap, size_t *io_n)
{
    return cut(look, flags, s, end, n_bytes, cap, io_n);
}
