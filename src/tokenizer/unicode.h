/* tokenizer/unicode.h - what pre-tokenizers want to know about a character: its general category, whether it is white
 * space (the property, regular expressions' \s) and whether its script is Han. One bit each in a mask.
 *
 * The tables are generated (tools/unicode.py) from a pinned version of the Unicode Character Database.
 */
#ifndef VS_TOKENIZER_UNICODE_H
#define VS_TOKENIZER_UNICODE_H
#include <stdint.h>

enum vs_unicode_bit {                   /* the order of CATEGORIES in tools/unicode.py */
    VS_U_LU, VS_U_LL, VS_U_LT, VS_U_LM, VS_U_LO, VS_U_MN, VS_U_MC, VS_U_ME, VS_U_ND, VS_U_NL, VS_U_NO,
    VS_U_PC, VS_U_PD, VS_U_PS, VS_U_PE, VS_U_PI, VS_U_PF, VS_U_PO, VS_U_SM, VS_U_SC, VS_U_SK, VS_U_SO,
    VS_U_ZS, VS_U_ZL, VS_U_ZP, VS_U_CC, VS_U_CF, VS_U_CS, VS_U_CO, VS_U_CN,
    VS_U_WHITE_SPACE, VS_U_HAN,
};

enum { VS_UNICODE_SHIFT = 7 };

extern const char vs_unicode_version[];
extern const uint32_t vs_unicode_masks[];
extern const uint8_t vs_unicode_index[];
extern const uint8_t vs_unicode_blocks[][1 << VS_UNICODE_SHIFT];

/* Exactly one category bit, and the two properties. code_point <= 0x10ffff. */
static inline uint32_t vs_unicode_mask(uint32_t code_point)
{
    const uint8_t *block = vs_unicode_blocks[vs_unicode_index[code_point >> VS_UNICODE_SHIFT]];
    return vs_unicode_masks[block[code_point & ((1u << VS_UNICODE_SHIFT) - 1)]];
}
#endif
