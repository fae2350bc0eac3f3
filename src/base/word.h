/* base/word.h - words in messages: short ones compared, for "did you mean", and the plural of what is counted. */
#ifndef VS_BASE_WORD_H
#define VS_BASE_WORD_H
#include <stdint.h>

/* How many letters must be put in, left out, changed or swapped with the next to make a into b (Levenshtein, Damerau); 99 for words
 * over 31 bytes. */
unsigned vs_word_distance(const char *a, const char *b);

/* For what people type: under 3 when `name` may be what was meant by `word`, also when one begins with the other. */
unsigned vs_word_unlike(const char *word, const char *name);

/* How a noun that is counted ends: "%zu token%s", n, vs_plural(n). */
static inline const char *vs_plural(uint64_t n)
{
    return n == 1 ? "" : "s";
}
#endif
