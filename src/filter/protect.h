/* filter/protect.h - values that must not leave (secrets.protect), in the forms that hide them: spans of kind PROTECTED.
 *
 * Found without case: plain, with other characters between its letters and digits (spaces, dots, dashes, line ends, also inside
 * an encoded form), %XX for any of its bytes, full-width letters, reversed, in ROT13, in base64 (the three places in which a value
 * may begin, both alphabets), in base32, in hex (also separated, with 0x or \x before each byte); and twice encoded: base64 of
 * base64, of hex, of the reversed value and of its ROT13, hex of base64 and of hex, base64 reversed, and %XX for any byte of these.
 * All forms are brought to one shape: letters and digits, small. A value with fewer than 8 of them is looked for byte by byte,
 * plain, reversed and in ROT13.
 *
 * Between two letters at most as many other bytes may stand as anywhere in a value, and 4 more. A form is undecided until its
 * last letter is there, and for at most 240 bytes; when 24 letters agree by then it is told open, and goes on as long as the text
 * has the form's letters in their order. The signs with which a value begins or ends are no part of the span.
 *
 * Memory: about 100 bytes for each byte of a value, taken once; it holds the values, and _free clears it. Threads: read-only after
 * _create.
 */
#ifndef VS_FILTER_PROTECT_H
#define VS_FILTER_PROTECT_H
#include "filter/detector.h"

enum { VS_PROTECT_VALUES = 64, VS_PROTECT_LEAST = 8, VS_PROTECT_MOST = 512 };

struct vs_protected { const char *bytes; size_t n; };      /* VS_PROTECT_LEAST..VS_PROTECT_MOST bytes */

struct vs_protect;

/* NULL: no memory, or a value or their number out of range. The values are copied. */
struct vs_protect *vs_protect_create(const struct vs_protected *values, size_t n);
void vs_protect_free(struct vs_protect *p);
struct vs_detector vs_protect_detector(const struct vs_protect *p);
#endif
