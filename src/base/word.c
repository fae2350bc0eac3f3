/* base/word.c - see word.h */
#include "base/word.h"

#include <stddef.h>
#include <string.h>

enum { LONGEST = 32, FAR = 99 };

static unsigned smaller(size_t a, size_t b)
{
    return (unsigned)(a < b ? a : b);
}

unsigned vs_word_distance(const char *a, const char *b)
{
    unsigned rows[3][LONGEST];
    size_t n = strlen(b), i = 0;
    if (n >= LONGEST || strlen(a) >= LONGEST)
        return FAR;
    for (size_t j = 0; j <= n; j++)
        rows[0][j] = (unsigned)j;
    for (; a[i]; i++) {
        unsigned *row = rows[(i + 1) % 3];
        const unsigned *above = rows[i % 3], *over = rows[(i + 2) % 3];
        row[0] = (unsigned)i + 1;
        for (size_t j = 0; j < n; j++) {
            row[j + 1] = smaller(above[j] + (a[i] != b[j]), smaller(above[j + 1], row[j]) + 1);
            if (i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j])
                row[j + 1] = smaller(row[j + 1], over[j - 1] + 1);
        }
    }
    return rows[i % 3][n];
}

unsigned vs_word_unlike(const char *word, const char *name)
{
    size_t n = strlen(word), shorter = smaller(n, strlen(name));
    unsigned far = vs_word_distance(word, name);
    if (shorter >= 3 && strncmp(word, name, shorter) == 0)     /* --temperature for --temp, --rep for --reps */
        return smaller(far, 2);
    return far * 2 > n ? FAR : far;          /* two letters of three make another word */
}
