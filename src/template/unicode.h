/* template/unicode.h - what Python's str methods know of a code point: classes and full case mappings.
 *
 * The tables are generated from Python (tools/unicode_template.py). Read-only; no locale. */
#ifndef VS_TEMPLATE_UNICODE_H
#define VS_TEMPLATE_UNICODE_H
#include <stddef.h>
#include <stdint.h>

enum {                                  /* the order of FLAGS in the generator */
    VS_TP_ALPHA = 1 << 0,
    VS_TP_DECIMAL = 1 << 1,
    VS_TP_DIGIT = 1 << 2,
    VS_TP_NUMERIC = 1 << 3,
    VS_TP_SPACE = 1 << 4,
    VS_TP_PRINT = 1 << 5,
    VS_TP_UPPER = 1 << 6,
    VS_TP_LOWER = 1 << 7,
    VS_TP_TITLE = 1 << 8,
    VS_TP_IGNORABLE = 1 << 9,           /* Case_Ignorable, for the final sigma */
    VS_TP_CASED = VS_TP_UPPER | VS_TP_LOWER | VS_TP_TITLE,
    VS_TP_ALNUM = VS_TP_ALPHA | VS_TP_DECIMAL | VS_TP_DIGIT | VS_TP_NUMERIC,
};

struct vs_tp_range { uint32_t first, last; uint16_t flags; };   /* sorted; what is in none has no flags */
struct vs_tp_mapping { uint32_t from; uint32_t to[3]; };        /* sorted by from; unused places are 0 */
extern const struct vs_tp_range vs_tp_ranges[];
extern const size_t vs_tp_ranges_n;
extern const struct vs_tp_mapping vs_tp_upper[], vs_tp_lower[], vs_tp_title[];
extern const size_t vs_tp_upper_n, vs_tp_lower_n, vs_tp_title_n;

unsigned vs_tp_flags(uint32_t c);

/* Writes 1..3 code points and returns how many. TITLE falls back to UPPER. */
enum vs_tp_case { VS_TP_TO_UPPER, VS_TP_TO_LOWER, VS_TP_TO_TITLE };
int vs_tp_map(uint32_t c, enum vs_tp_case which, uint32_t to[3]);
#endif
