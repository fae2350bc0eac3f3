/* unicode/unicode.h - facts about characters, for pre-tokenizers and templates: general category, white space, script,
 * what Python's string methods know, letter case, Normalization Form C, and folding for a search.
 *
 * One version of Unicode for all (tools/unicode.py says which and why). data.c holds runs; they are expanded when a program
 * starts, in 0.1 ms and 170 KiB: a byte for each character of planes 0 and 1, a few runs for the others.
 *
 * Threads: read-only after the start of the program.
 */
#ifndef VS_UNICODE_UNICODE_H
#define VS_UNICODE_UNICODE_H
#include "base/buf.h"
#include "base/check.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

extern const char vs_unicode_version[];

enum vs_unicode_bit {                   /* of a mask: the order of CATEGORIES in tools/unicode.py */
    VS_U_LU, VS_U_LL, VS_U_LT, VS_U_LM, VS_U_LO, VS_U_MN, VS_U_MC, VS_U_ME, VS_U_ND, VS_U_NL, VS_U_NO,
    VS_U_PC, VS_U_PD, VS_U_PS, VS_U_PE, VS_U_PI, VS_U_PF, VS_U_PO, VS_U_SM, VS_U_SC, VS_U_SK, VS_U_SO,
    VS_U_ZS, VS_U_ZL, VS_U_ZP, VS_U_CC, VS_U_CF, VS_U_CS, VS_U_CO, VS_U_CN,
    VS_U_WHITE_SPACE,                   /* the property: \s of regular expressions */
    VS_U_HAN,                           /* the script */
};

enum vs_unicode_flag {                  /* isalpha() and its kin as Python has them; the order of tools/unicode.py */
    VS_UNICODE_ALPHA = 1 << 0, VS_UNICODE_DECIMAL = 1 << 1, VS_UNICODE_DIGIT = 1 << 2, VS_UNICODE_NUMERIC = 1 << 3,
    VS_UNICODE_SPACE = 1 << 4, VS_UNICODE_PRINT = 1 << 5, VS_UNICODE_UPPER = 1 << 6, VS_UNICODE_LOWER = 1 << 7,
    VS_UNICODE_TITLE = 1 << 8,
    VS_UNICODE_IGNORABLE = 1 << 9,      /* Case_Ignorable, for the final sigma */
    VS_UNICODE_NFC_MOVES = 1 << 10,     /* NFC may change it, or its place, or what stands before it */
    VS_UNICODE_CASED = VS_UNICODE_UPPER | VS_UNICODE_LOWER | VS_UNICODE_TITLE,
    VS_UNICODE_ALNUM = VS_UNICODE_ALPHA | VS_UNICODE_DECIMAL | VS_UNICODE_DIGIT | VS_UNICODE_NUMERIC,
};

struct vs_unicode { uint32_t mask; uint16_t flags; uint8_t combining; };    /* mask has exactly one bit of a category */

enum { VS_UNICODE_LOW = 0x20000 };
extern uint8_t vs_unicode_low[VS_UNICODE_LOW];
extern struct vs_unicode vs_unicode_of_class[256];
unsigned vs_unicode_high(uint32_t c);

/* c <= 0x10ffff */
static inline const struct vs_unicode *vs_unicode(uint32_t c)
{
    return &vs_unicode_of_class[c < VS_UNICODE_LOW ? vs_unicode_low[c] : vs_unicode_high(c)];
}

/* The runs of code points whose mask has a bit of `mask`, one after the other; a walk begins as zeros. False: there is no more. */
struct vs_unicode_walk { uint32_t at; unsigned run; };
bool vs_unicode_walk(struct vs_unicode_walk *w, uint32_t mask, uint32_t *ret_first, uint32_t *ret_last);

/* Writes 1..3 code points and returns how many. */
enum vs_unicode_case { VS_TO_UPPER, VS_TO_LOWER, VS_TO_TITLE };
int vs_unicode_to(uint32_t c, enum vs_unicode_case which, uint32_t to[3]);

/* ---- folding, for searching (fold.c) ----
 *
 * One character as a text has it in which words are looked for: in lower case, in its compatible form (NFKC), Latin, Greek and
 * Cyrillic letters without marks, letters of other shapes (small capitals, negative squares, regional indicators) as plain ones. */
enum { VS_FOLD_MOST = 4 };
int vs_unicode_fold(uint32_t c, uint32_t to[VS_FOLD_MOST]);      /* how many; 0: it goes (format characters, marks) */

/* The ASCII letter or digit, in lower case, that a letter of another script looks like (UTS 39); 0: none. */
uint32_t vs_unicode_alike(uint32_t c);

/* ---- Normalization Form C (nfc.c); text must be valid UTF-8 ---- */

/* A character's canonical decomposition: 1..4 code points, itself where it has none. */
enum { VS_UNICODE_PARTS = 4 };
int vs_unicode_parts(uint32_t c, uint32_t to[VS_UNICODE_PARTS]);

/* How many bytes at the beginning of s[0..n) NFC leaves as they are for certain; n: the text is in NFC. *ret_r is VS_OK, or the
 * check's answer when it stopped the search. */
size_t vs_nfc_prefix(const char *s, size_t n, struct vs_check *check, int *ret_r);

/* Appends NFC of s[0..n) to out: at most three times the bytes. Time grows linearly, whatever the text. VS_OK, VS_E_NOMEM or the
 * check's answer. */
int vs_nfc(const char *s, size_t n, struct vs_check *check, struct vs_buf *out);
#endif
