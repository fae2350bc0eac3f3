/* tokenizer/cuts_avx512.c - see cuts.h. */
#include "tokenizer/cuts_body.h"

#include <immintrin.h>

static inline uint64_t have(__m512i bytes, int bits)
{
    return _mm512_test_epi8_mask(bytes, _mm512_set1_epi8((char)bits));
}

static inline void look(const char *s, struct kinds *ret)
{
    static const uint8_t low[16] = { OF_LOW_HALF }, high[16] = { OF_HIGH_HALF };
    __m512i of_low = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)low));
    __m512i of_high = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)high));
    __m512i bytes = _mm512_loadu_si512(s), half = _mm512_and_si512(_mm512_srli_epi16(bytes, 4), _mm512_set1_epi8(15));
    __m512i kinds = _mm512_and_si512(_mm512_shuffle_epi8(of_low, bytes), _mm512_shuffle_epi8(of_high, half));
    ret->upper = have(kinds, UPPER);
    ret->lower = have(kinds, LOWER);
    ret->digit = have(kinds, DIGIT);
    ret->space = have(kinds, SPACE);
    ret->newline = have(kinds, NEWLINE);
    ret->blank = have(kinds, BLANK);
    ret->other = _mm512_movepi8_mask(bytes);
    ret->quote = _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8('\''));
    ret->control = (~have(bytes, 0xe0) & ~(ret->newline | ret->blank)) | _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8(0x7f));
}

size_t vs_cut_avx512(unsigned flags, const char *s, const char *end, uint32_t *n_bytes, size_t cap, size_t *io_n)
{
    return cut(look, flags, s, end, n_bytes, cap, io_n);
}
