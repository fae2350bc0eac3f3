/* base/sha256_shani.c - blocks of SHA-256 with the processor's own instructions for it (SHA-NI): some six times as fast as plain C.
 * State is kept as these instructions want it, ABEF and CDGH; each round instruction makes two rounds. */
#include "base/sha256_blocks.h"

#include <immintrin.h>

/* Four rounds with w + k, four words. */
#define ROUNDS(w, i) do { \
        __m128i wk = _mm_add_epi32(w, _mm_load_si128((const __m128i *)(vs_sha256_k + (i)))); \
        cdgh = _mm_sha256rnds2_epu32(cdgh, abef, wk); \
        abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(wk, 0x0e)); \
    } while (0)

/* The four words behind d, which follow from the sixteen a, b, c, d: they take a's place. */
#define SCHEDULE(a, b, c, d) do { \
        a = _mm_add_epi32(_mm_sha256msg1_epu32(a, b), _mm_alignr_epi8(d, c, 4)); \
        a = _mm_sha256msg2_epu32(a, d); \
    } while (0)

static __m128i load(const uint8_t *p, int i)
{
    const __m128i turned = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    return _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(const void *)p + i), turned);
}

void vs_sha256_blocks_shani(uint32_t state[8], const uint8_t *p, size_t n)
{
    __m128i low = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(void *)state), 0xb1);             /* B A D C */
    __m128i high = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(void *)state + 1), 0x1b);        /* H G F E */
    __m128i abef = _mm_alignr_epi8(low, high, 8), cdgh = _mm_blend_epi16(high, low, 0xf0);
    for (; n > 0; n--, p += 64) {
        const __m128i abef_before = abef, cdgh_before = cdgh;
        __m128i a = load(p, 0), b = load(p, 1), c = load(p, 2), d = load(p, 3);
        for (int i = 0; i < 48; i += 16) {
            ROUNDS(a, i);
            SCHEDULE(a, b, c, d);
            ROUNDS(b, i + 4);
            SCHEDULE(b, c, d, a);
            ROUNDS(c, i + 8);
            SCHEDULE(c, d, a, b);
            ROUNDS(d, i + 12);
            SCHEDULE(d, a, b, c);
        }
        ROUNDS(a, 48);
        ROUNDS(b, 52);
        ROUNDS(c, 56);
        ROUNDS(d, 60);
        abef = _mm_add_epi32(abef, abef_before);
        cdgh = _mm_add_epi32(cdgh, cdgh_before);
    }
    low = _mm_shuffle_epi32(abef, 0x1b);         /* F E B A, from the top */
    high = _mm_shuffle_epi32(cdgh, 0xb1);
    _mm_storeu_si128((__m128i *)(void *)state, _mm_blend_epi16(low, high, 0xf0));
    _mm_storeu_si128((__m128i *)(void *)state + 1, _mm_alignr_epi8(high, low, 8));
}
