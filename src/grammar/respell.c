/* grammar/respell.c - JSON in the one spelling that grammars for reading have. Strings say each character in the one way in which
 * answers do (RFC 8259, section 7): itself, where that is allowed; else a short escape; else \u00XX. Half a pair of surrogates
 * stays as it is: it is no character. Numbers have no zeros that say nothing and no exponent, but where they were too long without:
 *
 *     1e-05  0.00001       1.50  1.5       -0.0  0       12E+1  120       10e99  1e100
 *
 * That is exactly the same number; one of too many digits stays as it is. */
#include "grammar/internal.h"

#include "base/utf8.h"

#include <string.h>

static const char SHORTS[] = "\"\"\\\\b\bf\fn\nr\rt\t";       /* the letter, what it means */

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

/* ---- numbers ---- */

enum { MAX_READ = 400, MAX_DIGITS = 100, MAX_EXPONENT = 6 };        /* digits of a number that is spelled anew; of its exponent */

static bool is_in_number(char c)
{
    return (c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.' || (c | 32) == 'e';
}

static size_t n_digits(const char *at, const char *end)
{
    const char *c = at;
    while (c < end && *c >= '0' && *c <= '9')
        c++;
    return (size_t)(c - at);
}

/* 0.DIGITS times ten to the power of point; the first digit is none that says nothing, nor the last. */
static void spell_number(bool negative, const char *digits, long n, long point, struct vs_buf *out)
{
    static const char zeros[VS_WHOLE_DIGITS + 1] = "000000000000000000000000000000000000000000000000000000000000";
    long whole = point < 0 ? 0 : point < n ? point : n, more = point > n ? point - n : 0, lead = point < 0 ? -point : 0;
    vs_buf_str(out, negative ? "-" : "");
    if (point > VS_WHOLE_DIGITS || n - point > VS_FRACTION_DIGITS)
        vs_buf_printf(out, "%c%s%.*se%ld", digits[0], n > 1 ? "." : "", (int)n - 1, digits + 1, point - 1);
    else
        vs_buf_printf(out, "%s%.*s%.*s%s%.*s%.*s", whole ? "" : "0", (int)whole, digits, (int)more, zeros, n > point ? "." : "",
                      (int)lead, zeros, (int)(n - whole), digits + whole);
}

/* The number at the beginning of the text; returns its bytes, 0: there is none, or it stays as it is. */
static size_t respell_number(const char *text, size_t n, struct vs_buf *out)
{
    char digits[MAX_READ];
    const char *end = text + n, *whole = text + (text[0] == '-');
    size_t n_whole = n_digits(whole, end), n_fraction = 0, n_exponent = 0, n_zeros = 0;
    const char *c = whole + n_whole, *fraction = c + 1;
    if (!n_whole || (n_whole > 1 && whole[0] == '0'))
        return 0;
    if (c < end && *c == '.') {
        n_fraction = n_digits(fraction, end);
        c = fraction + n_fraction;
        if (!n_fraction)
            return 0;
    }
    long exponent = 0, sign = 1;
    if (c < end && (*c | 32) == 'e') {
        c++;
        sign = c < end && *c == '-' ? -1 : 1;
        c += c < end && (*c == '-' || *c == '+');
        n_exponent = n_digits(c, end);
        for (size_t i = 0; i < n_exponent && i < MAX_EXPONENT; i++)
            exponent = exponent * 10 + (*c++ - '0');
        if (!n_exponent || n_exponent > MAX_EXPONENT)
            return 0;
    }
    if ((c < end && is_in_number(*c)) || n_whole + n_fraction > MAX_READ)
        return 0;
    memcpy(digits, whole, n_whole);
    memcpy(digits + n_whole, fraction, n_fraction);
    n = n_whole + n_fraction;
    while (n_zeros < n && digits[n_zeros] == '0')
        n_zeros++;
    while (n > n_zeros && digits[n - 1] == '0')
        n--;
    if (n == n_zeros)
        vs_buf_char(out, '0');
    else if (n - n_zeros > MAX_DIGITS)
        return 0;
    else
        spell_number(text[0] == '-', digits + n_zeros, (long)(n - n_zeros), (long)n_whole + sign * exponent - (long)n_zeros, out);
    return (size_t)(c - text);
}

/* ---- the text ---- */

/* A number at `at` in another spelling than its own: out has that; returns the bytes of the text. 0: there is none. */
static size_t number_at(const char *text, size_t n, size_t at, struct vs_buf *out)
{
    vs_buf_drop(out, out->n);
    if ((text[at] != '-' && (text[at] < '0' || text[at] > '9')) || (at && is_in_number(text[at - 1])))
        return 0;
    size_t step = respell_number(text + at, n - at, out);
    return step && step == out->n && memcmp(text + at, out->data, step) == 0 ? 0 : step;
}

size_t vs_json_respell(const char *text, size_t n, size_t most, struct vs_buf *out)
{
    bool in_string = false;
    size_t at = 0, step;
    struct vs_buf number = { 0 };
    for (size_t made = 0; at < n && made < most; at += step) {
        char spelled[6];
        const char *say = spelled;
        uint32_t c;
        size_t n_spelled;
        if (in_string && text[at] == '\\' && (step = vs_json_escape(text + at, n - at, &c))) {
            n_spelled = spell(c, spelled);
        } else if (!in_string && (step = number_at(text, n, at, &number))) {
            say = number.data;
            n_spelled = number.n;
        } else {
            step = in_string && text[at] == '\\' && n - at > 1 ? 2 : 1;
            n_spelled = step;
            memcpy(spelled, text + at, step);
            in_string ^= text[at] == '"';
        }
        made += n_spelled;
        if (made > most)
            break;
        if (out)
            vs_buf_add(out, say, n_spelled);
    }
    if (out && number.status != VS_OK)
        out->status = number.status;
    vs_buf_clear(&number);
    return at;
}
