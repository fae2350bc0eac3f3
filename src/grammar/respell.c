/* grammar/respell.c - JSON whose strings say each character in the one way in which answers do (RFC 8259, section 7): itself, where
 * that is allowed; else a short escape; else \u00XX. Half a pair of surrogates stays as it is: it is no character. */
#include "grammar/grammar.h"

#include "base/bytes.h"
#include "base/utf8.h"

#include <string.h>

static const char SHORTS[] = "\"\"\\\\b\bf\fn\nr\rt\t//";       /* the letter, what it means */

/* The four digits behind \u; false: there are not four. */
static bool read_unit(const char *text, size_t n, uint32_t *ret)
{
    uint32_t unit = 0;
    if (n < 6 || text[0] != '\\' || text[1] != 'u')
        return false;
    for (int i = 2; i < 6; i++) {
        int digit = vs_hex_digit(text[i]);
        if (digit < 0)
            return false;
        unit = unit << 4 | (uint32_t)digit;
    }
    *ret = unit;
    return true;
}

/* The escape at the beginning of the text; returns its bytes, 0: it is none that means a character. */
static size_t read_escape(const char *text, size_t n, uint32_t *ret)
{
    uint32_t low;
    for (size_t i = 0; n > 1 && i + 1 < sizeof SHORTS; i += 2)
        if (text[1] == SHORTS[i]) {
            *ret = (uint8_t)SHORTS[i + 1];
            return 2;
        }
    if (!read_unit(text, n, ret))
        return 0;
    if (*ret - 0xd800 >= 0x800)
        return 6;
    if (*ret >= 0xdc00 || !read_unit(text + 6, n - 6, &low) || low - 0xdc00 >= 0x400)
        return 0;
    *ret = 0x10000 + ((*ret - 0xd800) << 10) + (low - 0xdc00);
    return 12;
}

/* Returns the bytes written. */
static size_t spell(uint32_t c, char out[6])
{
    if (c >= 0x20 && c != '"' && c != '\\')
        return vs_utf8_encode(c, out);
    out[0] = '\\';
    for (size_t i = 0; i + 1 < sizeof SHORTS; i += 2)
        if (c == (uint8_t)SHORTS[i + 1]) {
            out[1] = SHORTS[i];
            return 2;
        }
    memcpy(out + 1, c < 0x10 ? "u000" : "u001", 4);
    out[5] = "0123456789abcdef"[c % 16];
    return 6;
}

size_t vs_json_respell(const char *text, size_t n, size_t most, struct vs_buf *out)
{
    bool in_string = false;
    size_t at = 0, step;
    for (size_t made = 0; at < n && made < most; at += step) {
        char spelled[6];
        uint32_t c;
        size_t n_spelled;
        if (in_string && text[at] == '\\' && (step = read_escape(text + at, n - at, &c)))
            n_spelled = spell(c, spelled);
        else {
            step = in_string && text[at] == '\\' && n - at > 1 ? 2 : 1;
            n_spelled = step;
            memcpy(spelled, text + at, step);
            in_string ^= text[at] == '"';
        }
        made += n_spelled;
        if (made > most)
            break;
        if (out)
            vs_buf_add(out, spelled, n_spelled);
    }
    return at;
}
