/* base/utf8.c - see utf8.h. The ranges are Table 3-7 of the Unicode Standard. */
#include "base/utf8.h"

#include "base/bytes.h"

#include <stdbool.h>
#include <string.h>

/* Length announced by a lead byte and the range allowed for the second byte; 0 when it can't lead. */
static size_t lead(uint8_t c, uint8_t *lo, uint8_t *hi)
{
    *lo = 0x80;
    *hi = 0xbf;
    if (c < 0x80) return 1;
    if (c < 0xc2) return 0;
    if (c < 0xe0) return 2;
    if (c < 0xf0) {
        if (c == 0xe0) *lo = 0xa0;
        if (c == 0xed) *hi = 0x9f;
        return 3;
    }
    if (c < 0xf5) {
        if (c == 0xf0) *lo = 0x90;
        if (c == 0xf4) *hi = 0x8f;
        return 4;
    }
    return 0;
}

size_t vs_utf8_decode(const char *s, size_t n, uint32_t *ret)
{
    if (!n)
        return 0;
    const uint8_t *b = (const uint8_t *)s;
    uint8_t lo, hi;
    size_t len = lead(b[0], &lo, &hi);
    if (!len || len > n)
        return 0;
    if (len == 1) {
        *ret = b[0];
        return 1;
    }
    if (b[1] < lo || b[1] > hi)
        return 0;
    uint32_t c = b[0] & (0x7fu >> len);
    c = c << 6 | (b[1] & 63);
    for (size_t i = 2; i < len; i++) {
        if (b[i] < 0x80 || b[i] > 0xbf)
            return 0;
        c = c << 6 | (b[i] & 63);
    }
    *ret = c;
    return len;
}

size_t vs_utf8_valid(const char *s, size_t n)
{
    size_t i = 0;
    while (i < n) {
        uint64_t eight;
        if (n - i >= 8 && (memcpy(&eight, s + i, 8), !(eight & 0x8080808080808080u))) {
            i += 8;
            continue;
        }
        uint32_t c;
        size_t len = vs_utf8_decode(s + i, n - i, &c);
        if (!len)
            return i;
        i += len;
    }
    return n;
}

size_t vs_utf8_unfinished(const char *s, size_t n)
{
    for (size_t back = 1; back <= 3 && back <= n; back++) {
        const uint8_t *b = (const uint8_t *)s + n - back;
        if ((*b & 0xc0) == 0x80)
            continue;
        uint8_t lo, hi;
        size_t len = lead(*b, &lo, &hi);
        if (len <= back || (back > 1 && (b[1] < lo || b[1] > hi)))
            return 0;
        return back;
    }
    return 0;
}

size_t vs_utf8_encode(uint32_t c, char out[4])
{
    static const uint8_t leads[] = { 0, 0, 0xc0, 0xe0, 0xf0 };
    if (c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        c = 0xfffd;
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n; --i; c >>= 6)
        out[i] = (char)(0x80 | (c & 63));
    out[0] = (char)(leads[n] | c);
    return n;
}

/* \uXXXX. */
static bool json_unit(const char *s, size_t n, uint32_t *ret)
{
    *ret = 0;
    if (n < 6 || s[0] != '\\' || s[1] != 'u')
        return false;
    for (int i = 2; i < 6; i++) {
        int digit = vs_hex_digit(s[i]);
        if (digit < 0)
            return false;
        *ret = *ret << 4 | (uint32_t)digit;
    }
    return true;
}

size_t vs_json_escape(const char *s, size_t n, uint32_t *ret_code_point)
{
    static const char shorts[256] = {
        ['"'] = '"', ['\\'] = '\\', ['/'] = '/', ['b'] = '\b', ['f'] = '\f', ['n'] = '\n', ['r'] = '\r', ['t'] = '\t',
    };
    uint32_t c, low;
    if (n > 1 && shorts[(uint8_t)s[1]]) {
        *ret_code_point = (uint8_t)shorts[(uint8_t)s[1]];
        return 2;
    }
    if (!json_unit(s, n, &c))
        return 0;
    *ret_code_point = c;
    if (c < 0xd800 || c >= 0xe000)
        return 6;
    if (c >= 0xdc00 || !json_unit(s + 6, n - 6, &low) || low < 0xdc00 || low >= 0xe000)
        return 0;
    *ret_code_point = 0x10000 + ((c - 0xd800) << 10 | (low - 0xdc00));
    return 12;
}
