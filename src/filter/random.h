/* filter/random.h - whether a string looks drawn at random, or like a word that people write.
 *
 * The measure is the mean cost of its pairs of characters in eighths of a bit, by a table that tools/bigrams.py made from English,
 * identifiers and code: words lie near 35, random letters and digits near 70. Characters that are no letter, digit, `_` or `-` part
 * words and cost nothing. Integers only: the same answer on every machine. Threads: read-only.
 */
#ifndef VS_FILTER_RANDOM_H
#define VS_FILTER_RANDOM_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { VS_RANDOM_SYMBOLS = 64 };        /* a-z A-Z 0-9, `_` and `-` as one, everything else */
extern const uint8_t vs_random_cost[VS_RANDOM_SYMBOLS][VS_RANDOM_SYMBOLS];

/* By a threshold that 1 word in 100 exceeds, and 1 random string of letters and digits in 100 does not reach; short ones are
 * judged more strictly. Below 6 letters and digits: no. */
bool vs_random_is(const char *s, size_t n);
#endif
