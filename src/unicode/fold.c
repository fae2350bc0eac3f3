/* unicode/fold.c - see unicode.h: what a character is when words are looked for in a text. */
#include "unicode/internal.h"

int vs_unicode_fold(uint32_t c, uint32_t to[VS_FOLD_MOST])
{
    to[0] = c;
    if (c < 0x80) {
        if (c >= 'A' && c <= 'Z')
            to[0] = c | 0x20;
        return 1;
    }
    if (vs_unicode_to_one(vs_folds, vs_folds_n, c, to))
        return 1;
    int i = vs_unicode_last_row(vs_folds_several, vs_folds_several_n, 1 + VS_FOLD_MOST, c);
    const int32_t *row = i < 0 ? NULL : &vs_folds_several[(1 + VS_FOLD_MOST) * i];
    if (row && (uint32_t)row[0] == c) {
        int n = 0;
        for (; n < VS_FOLD_MOST && row[1 + n]; n++)
            to[n] = (uint32_t)row[1 + n];
        return n;
    }
    i = vs_unicode_last_row(vs_folds_gone, vs_folds_gone_n, 2, c);
    return i >= 0 && c <= (uint32_t)vs_folds_gone[2 * i + 1] ? 0 : 1;
}

uint32_t vs_unicode_alike(uint32_t c)
{
    int i = c < 0x80 ? -1 : vs_unicode_last_row(vs_alike, vs_alike_n, 2, c);
    if (i < 0 || (uint32_t)vs_alike[2 * i] != c)
        return 0;
    uint32_t to = (uint32_t)vs_alike[2 * i + 1];
    if (to == 'l' && vs_unicode(c)->flags & VS_UNICODE_UPPER)
        return 'i';                     /* the table has l for all that is one stroke; a capital one is an I */
    return to >= 'A' && to <= 'Z' ? to | 0x20 : to;
}
