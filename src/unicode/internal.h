/* unicode/internal.h - what tools/unicode.py wrote into data.c. Not for other rooms. A table has `_n` rows:
 *
 *     classes         mask, flags, combining class                 each combination that occurs, once
 *     runs            how many code points, which class            from U+0000 to U+10FFFF without a gap
 *     case_...        first, how many, step, distance              code points that go to one other; sorted
 *     case_several    code point, enum vs_unicode_case, 3 others   the rest; sorted; unused places are 0
 *     folds           as case_...: what one character is when a text is searched
 *     folds_several   code point, 4 others; sorted; unused places are 0
 *     folds_gone      first and last of the code points that then go
 *     alike           code point, the ASCII letter or digit that it looks like; sorted
 *     decompositions  distance from the last one, 2 parts          canonical, one step; the second is 0 for none
 */
#ifndef VS_UNICODE_INTERNAL_H
#define VS_UNICODE_INTERNAL_H
#include "unicode/unicode.h"

#include <stdbool.h>

extern const uint32_t vs_unicode_classes[], vs_decompositions[];
extern const uint16_t vs_unicode_runs[];
extern const int32_t vs_case_upper[], vs_case_lower[], vs_case_title[], vs_case_several[];
extern const int32_t vs_folds[], vs_folds_several[], vs_folds_gone[], vs_alike[];
extern const unsigned vs_unicode_classes_n, vs_unicode_runs_n, vs_case_upper_n, vs_case_lower_n, vs_case_title_n,
    vs_case_several_n, vs_decompositions_n, vs_folds_n, vs_folds_several_n, vs_folds_gone_n, vs_alike_n;

/* The last row of a sorted table whose first number is at most c; -1 when there is none. And of one like case_...: c's other. */
int vs_unicode_last_row(const int32_t *table, unsigned n, unsigned width, uint32_t c);
bool vs_unicode_to_one(const int32_t *table, unsigned n, uint32_t c, uint32_t *ret);

void vs_nfc_start(void);                /* nfc.c; before anything is composed */
#endif
