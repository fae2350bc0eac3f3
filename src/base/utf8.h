/* base/utf8.h - UTF-8, strictly (RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF). */
#ifndef VS_BASE_UTF8_H
#define VS_BASE_UTF8_H
#include <stddef.h>
#include <stdint.h>

/* Length (1..4) of the valid sequence at s, and its code point; 0 when the bytes there are not valid or cut short. */
size_t vs_utf8_decode(const char *s, size_t n, uint32_t *ret_code_point);

/* Offset of the first byte that is not valid UTF-8, or n when all of it is. */
size_t vs_utf8_valid(const char *s, size_t n);

/* How many bytes at the end (0..3) begin a sequence that more bytes could still complete. */
size_t vs_utf8_unfinished(const char *s, size_t n);
/* Writes 1..4 bytes and returns how many; what is no character becomes U+FFFD. */
size_t vs_utf8_encode(uint32_t code_point, char out[4]);
#endif
