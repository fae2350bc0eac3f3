/* unicode/unicode.c - see unicode.h: expands the runs of data.c, and looks up letter case. */
#include "unicode/internal.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

uint8_t vs_unicode_low[VS_UNICODE_LOW];
struct vs_unicode vs_unicode_of_class[256];

enum { MAX_HIGH = 64 };
static struct { uint32_t first; uint8_t class; } high[MAX_HIGH];        /* runs that end above the low planes */
static unsigned n_high;

/* Before main, so that no lookup has to ask whether the tables are there; and before other tables that are made there, since those
 * may ask what a character is. */
__attribute__((constructor(101))) static void start(void)
{
    assert(vs_unicode_classes_n <= 256);
    for (unsigned i = 0; i < vs_unicode_classes_n; i++) {
        const uint32_t *row = &vs_unicode_classes[3 * i];
        vs_unicode_of_class[i] = (struct vs_unicode){ row[0], (uint16_t)row[1], (uint8_t)row[2] };
    }
    uint32_t at = 0;
    for (unsigned i = 0; i < vs_unicode_runs_n; i++) {
        uint32_t n = vs_unicode_runs[2 * i];
        uint8_t class = (uint8_t)vs_unicode_runs[2 * i + 1];
        if (at < VS_UNICODE_LOW)
            memset(vs_unicode_low + at, class, n < VS_UNICODE_LOW - at ? n : VS_UNICODE_LOW - at);
        if (at + n > VS_UNICODE_LOW && (!n_high || high[n_high - 1].class != class)) {
            assert(n_high < MAX_HIGH);
            high[n_high].first = at;
            high[n_high++].class = class;
        }
        at += n;
    }
    assert(at == 0x110000);
    vs_nfc_start();
}

unsigned vs_unicode_high(uint32_t c)
{
    unsigned i = n_high - 1;
    while (i && c < high[i].first)
        i--;
    return high[i].class;
}

bool vs_unicode_walk(struct vs_unicode_walk *w, uint32_t mask, uint32_t *ret_first, uint32_t *ret_last)
{
    bool found = false;
    for (; w->run < vs_unicode_runs_n; w->run++) {
        uint32_t n = vs_unicode_runs[2 * w->run];
        bool is_in = vs_unicode_classes[3 * vs_unicode_runs[2 * w->run + 1]] & mask;
        if (is_in && !found)
            *ret_first = w->at;
        if (!is_in && found)
            break;
        found |= is_in;
        w->at += n;
        *ret_last = w->at - 1;
    }
    return found;
}

int vs_unicode_last_row(const int32_t *table, unsigned n, unsigned width, uint32_t c)
{
    unsigned lo = 0;
    while (lo < n) {
        unsigned mid = lo + (n - lo) / 2;
        if ((uint32_t)table[width * mid] <= c)
            lo = mid + 1;
        else
            n = mid;
    }
    return (int)lo - 1;
}

bool vs_unicode_to_one(const int32_t *table, unsigned n, uint32_t c, uint32_t *ret)
{
    int i = vs_unicode_last_row(table, n, 4, c);
    if (i < 0)
        return false;
    const int32_t *row = &table[4 * i];
    int32_t past = (int32_t)c - row[0];
    if (past % row[2] || past / row[2] >= row[1])
        return false;
    *ret = (uint32_t)((int32_t)c + row[3]);
    return true;
}

static int to_several(uint32_t c, enum vs_unicode_case which, uint32_t to[3])
{
    for (int i = vs_unicode_last_row(vs_case_several, vs_case_several_n, 5, c); i >= 0; i--) {
        const int32_t *row = &vs_case_several[5 * i];
        if ((uint32_t)row[0] != c)
            break;
        if (row[1] != (int32_t)which)
            continue;
        int n = 0;
        for (; n < 3 && row[2 + n]; n++)
            to[n] = (uint32_t)row[2 + n];
        return n;
    }
    return 0;
}

int vs_unicode_to(uint32_t c, enum vs_unicode_case which, uint32_t to[3])
{
    to[0] = c;
    if (c < 0x80) {
        if (which == VS_TO_LOWER ? c >= 'A' && c <= 'Z' : c >= 'a' && c <= 'z')
            to[0] = c ^ 0x20;
        return 1;
    }
    int n = to_several(c, which, to);
    if (n)
        return n;
    if (which == VS_TO_LOWER) {
        vs_unicode_to_one(vs_case_lower, vs_case_lower_n, c, to);
        return 1;
    }
    if (which == VS_TO_TITLE && vs_unicode_to_one(vs_case_title, vs_case_title_n, c, to))
        return 1;
    if (which == VS_TO_TITLE && (n = to_several(c, VS_TO_UPPER, to)))
        return n;
    vs_unicode_to_one(vs_case_upper, vs_case_upper_n, c, to);
    return 1;
}
