/* filter/pii_words.h - the words that say what stands near them: labels, months, links, each by its first letters.
 *
 * One table, filled before main and as large as the words need. Memory: about 100 KiB, for the program's life. Threads: read only.
 */
#ifndef VS_FILTER_PII_WORDS_H
#define VS_FILTER_PII_WORDS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vs_pii_word {
    uint64_t key;                        /* 0: no word */
    uint64_t classes;                    /* VS_NEAR() of pii_text.h */
    uint8_t month, n;                    /* 1 to 12, and the bytes of the whole word; 0: it names no month */
};

/* The first eight letters of word[0, n), the first in the lowest bits; small and capital letters are the same. */
uint64_t vs_pii_key(const char *word, size_t n);

/* The word of that key; one without classes: there is none. */
const struct vs_pii_word *vs_pii_lookup(uint64_t key);

/* Whether something may begin with the word of these first eight bytes, small letters: true for all that do, and for few others. */
enum { VS_PII_STARTS = 1 << 13 };
extern uint64_t vs_pii_starts[VS_PII_STARTS / 64];

static inline unsigned vs_pii_start_bit(uint64_t key)
{
    return (unsigned)(key * 0x9e3779b97f4a7c15u >> 51);      /* 13 bits */
}

static inline bool vs_pii_may_start(uint64_t key)
{
    unsigned bit = vs_pii_start_bit(key);
    return vs_pii_starts[bit / 64] >> bit % 64 & 1;
}
#endif
