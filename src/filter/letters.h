/* filter/letters.h - how far a run of ASCII letters goes, and what it begins with: most of a text is such runs. Sixteen bytes at a
 * time where the processor can.
 *
 * Memory: none. Threads: pure. Nothing behind text[n) is read.
 */
#ifndef VS_FILTER_LETTERS_H
#define VS_FILTER_LETTERS_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

static inline int vs_is_letter(char c)
{
    return ((uint8_t)c | 0x20u) - 'a' < 26u;
}

#ifdef __SSE2__
/* A bit for each of the sixteen bytes that is no letter. */
static inline unsigned vs_no_letters(__m128i bytes)
{
    /* with 0x20 set and shifted up, 'a' to 'z' are the greatest signed bytes */
    __m128i shifted = _mm_add_epi8(_mm_or_si128(bytes, _mm_set1_epi8(0x20)), _mm_set1_epi8(0x7f - 'z'));
    return (unsigned)_mm_movemask_epi8(_mm_cmpgt_epi8(_mm_set1_epi8(0x7f - 25), shifted));
}
#endif

/* Where the run of letters ends that goes on at i <= n. */
static inline size_t vs_letters_end(const char *text, size_t n, size_t i)
{
#ifdef __SSE2__
    for (; n - i >= 16; i += 16) {
        unsigned other = vs_no_letters(_mm_loadu_si128((const __m128i *)(const void *)(text + i)));
        if (other)
            return i + (unsigned)__builtin_ctz(other);
    }
#endif
    while (i < n && vs_is_letter(text[i]))
        i++;
    return i;
}

/* The first eight of s[0, n), each with 0x20 set (small letters), the first in the lowest bits. `room` bytes may be read. */
static inline uint64_t vs_letters_key(const char *s, size_t n, size_t room)
{
    uint64_t key = 0;
    if (room >= 8 && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__) {
        memcpy(&key, s, 8);
        key |= UINT64_C(0x2020202020202020);
        return n < 8 ? key & ((UINT64_C(1) << 8 * n) - 1) : key;
    }
    for (size_t i = 0; i < n && i < 8; i++)
        key |= (uint64_t)((uint8_t)s[i] | 0x20) << 8 * i;
    return key;
}
#endif
