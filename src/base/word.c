/* base/word.c - see word.h */
#include "base/word.h"

#include <string.h>

enum { LONGEST = 32, FAR = 99 };

unsigned vs_word_distance(const char *a, const char *b)
{
    unsigned row[LONGEST];
    size_t n = strlen(b);
    if (n >= LONGEST || strlen(a) >= LONGEST)
        return FAR;
    for (size_t j = 0; j <= n; j++)
        row[j] = (unsigned)j;
    for (size_t i = 1; a[i - 1]; i++) {
        unsigned diagonal = row[0];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= n; j++) {
            unsigned best = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[n];
}
