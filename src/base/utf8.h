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
/* The escape of a JSON string at s[0], a backslash (RFC 8259, section 7), a pair of surrogates as one: its bytes, and the
 * character; 0: there is none that means a character. What it means is shorter in UTF-8. */
size_t vs_json_escape(const char *s, size_t n, uint32_t *ret_code_point);
/* Reads the character at s, of text that is known to be valid: its length. */
static inline size_t vs_utf8_next(const char *s, uint32_t *ret_code_point)
{
    const uint8_t *b = (const uint8_t *)s;
    if (b[0] < 0x80) {
        *ret_code_point = b[0];
        return 1;
    }
    if (b[0] < 0xe0) {
        *ret_code_point = (b[0] & 0x1fu) << 6 | (b[1] & 0x3fu);
        return 2;
    }
    if (b[0] < 0xf0) {
        *ret_code_point = (b[0] & 0xfu) << 12 | (b[1] & 0x3fu) << 6 | (b[2] & 0x3fu);
        return 3;
    }
    *ret_code_point = (b[0] & 7u) << 18 | (b[1] & 0x3fu) << 12 | (b[2] & 0x3fu) << 6 | (b[3] & 0x3fu);
    return 4;
}
#endif
