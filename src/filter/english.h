/* filter/english.h - what English words look like, for views.c: to tell words that were written without blanks apart, and shifted
 * or reversed text from what it stands for. Constant; no memory, no threads. */
#ifndef VS_FILTER_ENGLISH_H
#define VS_FILTER_ENGLISH_H
#include <stdint.h>

enum { VS_ENGLISH_LETTERS = 27 };        /* a to z; the last one: before and behind a word */

extern const char vs_english_words[];    /* lower case, with blanks between; common ones first */

/* How much more often [a][b] stand side by side than any two letters do: 8 times the logarithm to base 2. */
extern const int8_t vs_english_pairs[VS_ENGLISH_LETTERS][VS_ENGLISH_LETTERS];
#endif
