/* template/unicode.c - see unicode.h */
#include "template/unicode.h"

unsigned vs_tp_flags(uint32_t c)
{
    size_t lo = 0, hi = vs_tp_ranges_n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (c > vs_tp_ranges[mid].last)
            lo = mid + 1;
        else if (c < vs_tp_ranges[mid].first)
            hi = mid;
        else
            return vs_tp_ranges[mid].flags;
    }
    return 0;
}

static const struct vs_tp_mapping *find(const struct vs_tp_mapping *table, size_t n, uint32_t c)
{
    size_t lo = 0, hi = n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (c > table[mid].from)
            lo = mid + 1;
        else if (c < table[mid].from)
            hi = mid;
        else
            return &table[mid];
    }
    return NULL;
}

int vs_tp_map(uint32_t c, enum vs_tp_case which, uint32_t to[3])
{
    to[0] = c;
    if (c < 0x80) {
        if (which == VS_TP_TO_LOWER ? c >= 'A' && c <= 'Z' : c >= 'a' && c <= 'z')
            to[0] = c ^ 0x20;
        return 1;
    }
    const struct vs_tp_mapping *m = NULL;
    if (which == VS_TP_TO_TITLE)
        m = find(vs_tp_title, vs_tp_title_n, c);
    if (!m && which == VS_TP_TO_LOWER)
        m = find(vs_tp_lower, vs_tp_lower_n, c);
    else if (!m)
        m = find(vs_tp_upper, vs_tp_upper_n, c);
    if (!m)
        return 1;
    int n = 0;
    while (n < 3 && m->to[n]) {
        to[n] = m->to[n];
        n++;
    }
    return n;
}
