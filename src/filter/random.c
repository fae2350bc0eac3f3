/* filter/random.c - the mean cost of a string's pairs of characters. */
#include "filter/random.h"

enum { OTHER = 63 };

static unsigned symbol(unsigned char c)
{
    if (c >= 'a' && c <= 'z')
        return c - 'a';
    if (c >= 'A' && c <= 'Z')
        return c - 'A' + 26u;
    if (c >= '0' && c <= '9')
        return c - '0' + 52u;
    return c == '_' || c == '-' ? 62 : OTHER;
}

/* The sum, and of how many characters. */
static unsigned sum(const char *s, size_t n, unsigned *ret_n)
{
    unsigned before = OTHER, total = 0, counted = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned now = symbol((unsigned char)s[i]);
        if (now != OTHER) {
            total += vs_random_cost[before][now];
            counted++;
        }
        before = now;
    }
    *ret_n = counted;
    return total;
}

bool vs_random_is(const char *s, size_t n)
{
    unsigned counted, total = sum(s, n, &counted);
    unsigned least = counted < 10 ? 53 : counted < 14 ? 50 : counted < 20 ? 49 : 47;
    return counted >= 6 && total >= least * counted;
}
