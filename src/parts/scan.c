/* parts/scan.c - see scan.h */
#include "parts/scan.h"

#include "base/bytes.h"

#include <stddef.h>

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static enum vs_scan_event broken(struct vs_scan *s)
{
    s->state = VS_SCAN_AT_END;
    s->depth = 0;
    return VS_SCAN_BROKEN;
}

static enum vs_scan_event open(struct vs_scan *s, bool is_object)
{
    if (s->depth == VS_SCAN_DEPTH)
        return broken(s);
    s->is_object[s->depth++] = is_object;
    s->state = is_object ? VS_SCAN_AT_KEY : VS_SCAN_AT_ITEM;
    return VS_SCAN_OPEN;
}

static enum vs_scan_event close(struct vs_scan *s, bool is_object)
{
    if (!s->depth || s->is_object[s->depth - 1] != is_object)
        return broken(s);
    s->depth--;
    s->state = s->depth ? VS_SCAN_AT_COMMA : VS_SCAN_AT_END;
    return VS_SCAN_CLOSE;
}

static enum vs_scan_event string(struct vs_scan *s, bool is_key)
{
    s->state = VS_SCAN_IN_STRING;
    s->in_key = is_key;
    return is_key ? VS_SCAN_KEY_OPEN : VS_SCAN_SCALAR;
}

static enum vs_scan_event value(struct vs_scan *s, char c)
{
    static const struct { char first; const char *rest; } literals[] = { { 't', "rue" }, { 'f', "alse" }, { 'n', "ull" } };
    if (c == '{' || c == '[')
        return open(s, c == '{');
    if (c == '"')
        return string(s, false);
    for (size_t i = 0; i < sizeof literals / sizeof *literals; i++)
        if (c == literals[i].first) {
            s->literal = literals[i].rest;
            s->state = VS_SCAN_IN_LITERAL;
            return VS_SCAN_SCALAR;
        }
    if (c != '-' && !is_digit(c))
        return broken(s);
    s->state = c == '-' ? VS_SCAN_IN_MINUS : c == '0' ? VS_SCAN_IN_ZERO : VS_SCAN_IN_INT;
    return VS_SCAN_SCALAR;
}

static enum vs_scan_event after_value(struct vs_scan *s, char c)
{
    if (is_space(c))
        return VS_SCAN_NOTHING;
    if (c == '}' || c == ']')
        return close(s, c == '}');
    if (c != ',')
        return broken(s);
    s->state = s->is_object[s->depth - 1] ? VS_SCAN_AT_NEXT_KEY : VS_SCAN_AT_VALUE;
    return VS_SCAN_COMMA;
}

/* A number ends with the first byte that can't be its own. */
static enum vs_scan_event number(struct vs_scan *s, char c)
{
    static const struct { uint8_t on_digit, is_whole; } next[] = {
        [VS_SCAN_IN_MINUS] = { VS_SCAN_IN_INT, false },      [VS_SCAN_IN_ZERO] = { 0, true },
        [VS_SCAN_IN_INT] = { VS_SCAN_IN_INT, true },         [VS_SCAN_IN_POINT] = { VS_SCAN_IN_FRACTION, false },
        [VS_SCAN_IN_FRACTION] = { VS_SCAN_IN_FRACTION, true },
        [VS_SCAN_IN_E] = { VS_SCAN_IN_EXPONENT, false },     [VS_SCAN_IN_SIGN] = { VS_SCAN_IN_EXPONENT, false },
        [VS_SCAN_IN_EXPONENT] = { VS_SCAN_IN_EXPONENT, true },
    };
    uint8_t was = s->state;
    if (is_digit(c) && next[was].on_digit) {
        s->state = was == VS_SCAN_IN_MINUS && c == '0' ? VS_SCAN_IN_ZERO : next[was].on_digit;
        return VS_SCAN_NOTHING;
    }
    if (was == VS_SCAN_IN_E && (c == '+' || c == '-')) {
        s->state = VS_SCAN_IN_SIGN;
        return VS_SCAN_NOTHING;
    }
    if ((was == VS_SCAN_IN_ZERO || was == VS_SCAN_IN_INT) && c == '.') {
        s->state = VS_SCAN_IN_POINT;
        return VS_SCAN_NOTHING;
    }
    if (next[was].is_whole && was != VS_SCAN_IN_EXPONENT && (c == 'e' || c == 'E')) {
        s->state = VS_SCAN_IN_E;
        return VS_SCAN_NOTHING;
    }
    if (!next[was].is_whole || !s->depth)
        return broken(s);
    s->state = VS_SCAN_AT_COMMA;
    return after_value(s, c);
}

static enum vs_scan_event in_string(struct vs_scan *s, char c)
{
    if ((unsigned char)c < 0x20)
        return broken(s);
    if (c == '\\')
        s->state = VS_SCAN_IN_ESCAPE;
    if (c != '"')
        return VS_SCAN_NOTHING;
    s->state = s->in_key ? VS_SCAN_AT_COLON : s->depth ? VS_SCAN_AT_COMMA : VS_SCAN_AT_END;
    return s->in_key ? VS_SCAN_KEY_CLOSE : VS_SCAN_NOTHING;
}

static enum vs_scan_event escaped(struct vs_scan *s, char c)
{
    static const char known[] = "\"\\/bfnrtu";
    size_t i = 0;
    if (s->state == VS_SCAN_IN_HEX) {
        if (vs_hex_digit(c) < 0)
            return broken(s);
        if (--s->n_hex == 0)
            s->state = VS_SCAN_IN_STRING;
        return VS_SCAN_NOTHING;
    }
    while (known[i] && known[i] != c)
        i++;
    if (!known[i])
        return broken(s);
    s->state = c == 'u' ? VS_SCAN_IN_HEX : VS_SCAN_IN_STRING;
    s->n_hex = 4;
    return VS_SCAN_NOTHING;
}

static enum vs_scan_event literal(struct vs_scan *s, char c)
{
    if (*s->literal != c)
        return broken(s);
    if (!*++s->literal)
        s->state = s->depth ? VS_SCAN_AT_COMMA : VS_SCAN_AT_END;
    return VS_SCAN_NOTHING;
}

static enum vs_scan_event key(struct vs_scan *s, char c)
{
    if (c == '}' && s->state == VS_SCAN_AT_KEY)
        return close(s, true);
    return c == '"' ? string(s, true) : broken(s);
}

enum vs_scan_event vs_scan_push(struct vs_scan *s, char c)
{
    switch ((enum vs_scan_state)s->state) {
    case VS_SCAN_IN_STRING: return in_string(s, c);
    case VS_SCAN_IN_ESCAPE:
    case VS_SCAN_IN_HEX: return escaped(s, c);
    case VS_SCAN_IN_LITERAL: return literal(s, c);
    case VS_SCAN_AT_COMMA: return after_value(s, c);
    case VS_SCAN_AT_END: return is_space(c) ? VS_SCAN_NOTHING : broken(s);
    case VS_SCAN_AT_VALUE:
    case VS_SCAN_AT_ITEM:
    case VS_SCAN_AT_KEY:
    case VS_SCAN_AT_NEXT_KEY:
    case VS_SCAN_AT_COLON: break;
    default: return number(s, c);
    }
    if (is_space(c))
        return VS_SCAN_NOTHING;
    if (s->state == VS_SCAN_AT_KEY || s->state == VS_SCAN_AT_NEXT_KEY)
        return key(s, c);
    if (s->state == VS_SCAN_AT_ITEM && c == ']')
        return close(s, false);
    if (s->state != VS_SCAN_AT_COLON)
        return value(s, c);
    s->state = VS_SCAN_AT_VALUE;
    return c == ':' ? VS_SCAN_NOTHING : broken(s);
}
