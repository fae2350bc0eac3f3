/* grammar/json.c - the parts of JSON as rules: white space, strings, numbers within bounds, values written out.
 *
 * What answers are written with is a part of what JSON allows: white space is one blank, or a line feed and an indentation;
 * a number has at most 60 digits before the point, 40 behind it and two in its exponent, so that every reader can read it.
 * A text that is only read may have more white space, and 1.0 where the integer 1 is meant.
 */
#include "grammar/internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { INDENT = 40, TABS = 10, SURE_DIGITS = 15, MULTIPLE_DIGITS = 18,
       MAX_MULTIPLE = 3000 };

/* ---- white space ---- */

uint32_t vs_spell_space(struct vs_grammar *g)
{
    uint32_t rule = vs_rule_add(g, NULL, 0);
    if (g->err.code != VS_OK)
        return 0;
    uint32_t start = g->rule[rule].start, end = g->rule[rule].end, line = vs_place_add(g);
    vs_edge_empty(g, start, end);
    if (g->use == VS_GRAMMAR_READS) {
        vs_edge_text(g, start, " ", 1, start);
        vs_edge_text(g, start, "\t", 1, start);
        vs_edge_text(g, start, "\r", 1, start);
        vs_edge_text(g, start, "\n", 1, start);
        return rule;
    }
    vs_edge_text(g, start, " ", 1, end);
    vs_edge_text(g, start, "\n", 1, line);
    for (int kind = 0; kind < 2; kind++) {
        uint32_t at = line;
        for (int i = 0; i < (kind ? TABS : INDENT); i++) {
            uint32_t next = vs_place_add(g);
            vs_edge_text(g, at, kind ? "\t" : " ", 1, next);
            vs_edge_empty(g, next, end);
            at = next;
        }
    }
    vs_edge_empty(g, line, end);
    return rule;
}

/* ---- strings ---- */

static void add_hex(struct vs_grammar *g, uint32_t from, const char *ranges, uint32_t to)
{
    for (; *ranges; ranges += 2)
        vs_edge_bytes(g, from, (uint8_t)ranges[0], (uint8_t)ranges[1], to);
}

/* A character that is not ASCII, or an escape. Surrogates come in pairs. */
uint32_t vs_spell_companion(struct vs_grammar *g)
{
    static const char any[] = "09afAF", high[] = "89abAB", low[] = "cfCF";
    uint32_t rule = vs_rule_add(g, NULL, 0), p[10];
    for (int i = 0; i < 10; i++)
        p[i] = vs_place_add(g);
    if (g->err.code != VS_OK)
        return 0;
    uint32_t start = g->rule[rule].start, end = g->rule[rule].end;
    g->place[start].is_companion = true;
    vs_edge_chars(g, start, 0x80, 0x10ffff, end);
    vs_edge_text(g, start, "\\", 1, p[0]);
    for (const char *c = "\"\\/bfnrt"; *c; c++)
        vs_edge_text(g, p[0], c, 1, end);
    vs_edge_text(g, p[0], "u", 1, p[1]);
    add_hex(g, p[1], "09acefACEF", p[2]);
    add_hex(g, p[1], "ddDD", p[5]);
    add_hex(g, p[2], any, p[3]);
    add_hex(g, p[3], any, p[4]);
    add_hex(g, p[4], any, end);
    add_hex(g, p[5], "07", p[3]);
    add_hex(g, p[5], high, p[6]);
    add_hex(g, p[6], any, p[7]);
    add_hex(g, p[7], any, p[8]);
    vs_edge_text(g, p[8], "\\u", 2, p[9]);
    uint32_t d = vs_place_add(g), e = vs_place_add(g);
    add_hex(g, p[9], "ddDD", d);
    add_hex(g, d, low, e);
    add_hex(g, e, any, p[4]);
    return rule;
}

void vs_spell_text(struct vs_grammar *g, uint32_t companion, uint64_t low, uint64_t high, uint32_t from, uint32_t to)
{
    uint64_t last = high == UINT64_MAX ? low : high;
    uint32_t at = vs_place_add(g);
    vs_edge_empty(g, from, at);
    for (uint64_t i = 0; i <= last && g->err.code == VS_OK; i++) {
        bool loops = high == UINT64_MAX && i == last;
        uint32_t next = loops ? at : i == last ? VS_NOWHERE : vs_place_add(g);
        g->place[at].run = loops || high == UINT64_MAX ? UINT32_MAX : (uint32_t)(last - i);
        if (i >= low)
            vs_edge_empty(g, at, to);
        if (next == VS_NOWHERE)
            return;
        vs_edge_bytes(g, at, ' ', '!', next);
        vs_edge_bytes(g, at, '#', '[', next);
        vs_edge_bytes(g, at, ']', 0x7f, next);
        vs_edge_call(g, at, companion, next);
        at = next;
    }
}

/* The text as it stands between the quotes. */
void vs_spell_literal(struct vs_grammar *g, const char *s, size_t n, uint32_t from, uint32_t to)
{
    static const char *const shorts[32] = { [8] = "\\b", [9] = "\\t", [10] = "\\n", [12] = "\\f", [13] = "\\r" };
    uint32_t at = vs_place_add(g);
    vs_edge_text(g, from, "\"", 1, at);
    for (size_t i = 0; i < n && g->err.code == VS_OK; i++) {
        uint32_t next = vs_place_add(g);
        uint8_t c = (uint8_t)s[i];
        char escape[8];
        if (c >= 0x20 && c != '"' && c != '\\')
            vs_edge_bytes(g, at, c, c, next);
        else if (c < 0x20 && shorts[c])
            vs_edge_text(g, at, shorts[c], 2, next);
        else if (c < 0x20)
            vs_edge_text(g, at, escape, (size_t)snprintf(escape, sizeof escape, "\\u%04x", c), next);
        else
            vs_edge_text(g, at, escape, (size_t)snprintf(escape, sizeof escape, "\\%c", c), next);
        at = next;
    }
    vs_edge_text(g, at, "\"", 1, to);
}

/* ---- numbers ---- */

static void normalise(struct vs_decimal *d)
{
    size_t zeros = 0, n = strlen(d->whole);
    while (zeros + 1 < n && d->whole[zeros] == '0')
        zeros++;
    memmove(d->whole, d->whole + zeros, n - zeros + 1);
    for (n = strlen(d->fraction); n && d->fraction[n - 1] == '0'; n--)
        d->fraction[n - 1] = '\0';
    if (strcmp(d->whole, "0") == 0 && !d->fraction[0])
        d->negative = false;
}

/* The shortest decimal number that means v. */
bool vs_decimal_of(const json_t *v, struct vs_decimal *ret)
{
    char text[40];
    double real = json_real_value(v);
    *ret = (struct vs_decimal){ 0 };
    if (json_is_integer(v)) {
        snprintf(text, sizeof text, "%lld", (long long)json_integer_value(v));
        ret->negative = text[0] == '-';
        snprintf(ret->whole, sizeof ret->whole, "%s", text + ret->negative);
        return true;
    }
    if (!json_is_real(v) || !isfinite(real))
        return false;
    for (int digits = 14; digits < 17; digits++) {
        snprintf(text, sizeof text, "%.*e", digits, fabs(real));
        if (strtod(text, NULL) == fabs(real))
            break;
    }
    char *e = strchr(text, 'e'), digits[24];
    long exponent = strtol(e + 1, NULL, 10), n = 0;
    for (const char *c = text; c < e; c++)
        if (*c != '.')
            digits[n++] = *c;
    ret->negative = real < 0;
    if (exponent >= (long)sizeof ret->whole - 1 || n - exponent > (long)sizeof ret->fraction - 1)
        return false;
    size_t n_whole = 0, n_fraction = 0;
    for (long i = 0; i <= exponent; i++)
        ret->whole[n_whole++] = i < n ? digits[i] : '0';
    if (!n_whole)
        ret->whole[n_whole++] = '0';
    for (long i = exponent + 1; i < 0; i++)
        ret->fraction[n_fraction++] = '0';
    for (long i = exponent + 1 > 0 ? exponent + 1 : 0; i < n; i++)
        ret->fraction[n_fraction++] = digits[i];
    normalise(ret);
    return true;
}

static int compare_magnitude(const struct vs_decimal *a, const struct vs_decimal *b)
{
    size_t n_a = strlen(a->whole), n_b = strlen(b->whole);
    int order = n_a != n_b ? (n_a < n_b ? -1 : 1) : strcmp(a->whole, b->whole);
    return order ? order : strcmp(a->fraction, b->fraction);
}

int vs_decimal_compare(const struct vs_decimal *a, const struct vs_decimal *b)
{
    if (a->negative != b->negative)
        return a->negative ? -1 : 1;
    int order = compare_magnitude(a, b);
    return a->negative ? -order : order;
}

/* A number as it is read: where one is in it, and how what was read compares with the bounds of its sign. */
enum phase { AT_START, AT_SIGN, AT_ZERO, AT_DIGITS, AT_POINT, AT_FRACTION, AT_ZEROS_POINT, AT_ZEROS, AT_E, AT_E_SIGN, AT_E_DIGIT,
             AT_E_END };

struct side { const struct vs_decimal *low, *high; bool low_open, high_open, impossible; };     /* bounds of the magnitude */

struct number {
    const struct vs_number *what;
    struct side side[2];                 /* of numbers without and with a minus */
    struct vs_decimal low, high;         /* magnitudes */
    uint64_t multiple;
    unsigned decimals;
    bool bounded, integer, fractional, reads;        /* reads: .0 behind integers, longer exponents */
};

union key {
    uint64_t v;
    struct {                             /* has_part: of the fraction some digit is not 0 */
        uint64_t phase : 4, negative : 1, n_whole : 7, n_fraction : 7, low : 2, high : 2, remainder : 20, has_part : 1, rest : 20;
    } f;
};
enum { LESS, EQUAL, GREATER };

static unsigned compare_digit(unsigned so_far, const char *digits, size_t at, unsigned digit)
{
    unsigned other = at < strlen(digits) ? (unsigned)(digits[at] - '0') : 0;
    return so_far != EQUAL ? so_far : digit < other ? LESS : digit > other ? GREATER : EQUAL;
}

/* The whole part is read: its length decides first. */
static unsigned after_whole(unsigned prefix, const struct vs_decimal *bound, unsigned n)
{
    size_t m = bound ? strlen(bound->whole) : 0;
    return !bound ? EQUAL : n < m ? LESS : n > m ? GREATER : prefix;
}

/* The order of all that was read to the bound, if it ends here. */
static unsigned ended(const union key *k, unsigned order, const struct vs_decimal *bound)
{
    bool in_fraction = k->f.phase == AT_FRACTION;
    if (!in_fraction)
        order = k->f.phase == AT_ZEROS || k->f.phase == AT_ZERO || k->f.phase == AT_DIGITS ? order : EQUAL;
    if (order == EQUAL && bound && strlen(bound->fraction) > (in_fraction ? k->f.n_fraction : 0))
        return LESS;
    return order;
}

/* What remains of the number when its fraction has all decimals. */
static uint64_t scaled(const struct number *n, uint64_t remainder, unsigned n_fraction)
{
    for (unsigned i = n_fraction; i < n->decimals; i++)
        remainder = remainder * 10 % n->multiple;
    return remainder;
}

static bool accepts_number(void *context, uint64_t key)
{
    const struct number *n = context;
    union key k = { key };
    const struct side *s = &n->side[k.f.negative];
    bool whole = k.f.phase == AT_ZERO || k.f.phase == AT_DIGITS || k.f.phase == AT_ZEROS;
    if (k.f.phase == AT_E_DIGIT || k.f.phase == AT_E_END)
        return true;
    if (!whole && k.f.phase != AT_FRACTION)
        return false;
    if (n->multiple > 1 && scaled(n, k.f.remainder, k.f.n_fraction) != 0)
        return false;
    if (n->fractional && !k.f.has_part)
        return false;
    if (!n->bounded)
        return true;
    unsigned low = k.f.low, high = k.f.high;
    if (k.f.phase == AT_ZERO || k.f.phase == AT_DIGITS) {
        low = after_whole(low, s->low, k.f.n_whole);
        high = after_whole(high, s->high, k.f.n_whole);
    }
    low = ended(&k, low, s->low);
    high = ended(&k, high, s->high);
    return !s->impossible && (!s->low || low == GREATER || (low == EQUAL && !s->low_open))
           && (!s->high || high == LESS || (high == EQUAL && !s->high_open));
}

static uint64_t whole_digit(const struct number *n, union key k, unsigned digit)
{
    const struct side *s = &n->side[k.f.negative];
    unsigned most = n->multiple > 1 ? MULTIPLE_DIGITS : VS_WHOLE_DIGITS;
    if (k.f.n_whole >= most)
        return VS_DFA_DEAD;
    if (n->bounded && s->impossible)
        return VS_DFA_DEAD;
    if (s->low)
        k.f.low = k.f.n_whole < strlen(s->low->whole) ? compare_digit(k.f.low, s->low->whole, k.f.n_whole, digit) : GREATER;
    if (s->high) {
        if (k.f.n_whole >= strlen(s->high->whole))
            return VS_DFA_DEAD;
        k.f.high = compare_digit(k.f.high, s->high->whole, k.f.n_whole, digit);
    }
    if (n->multiple > 1)
        k.f.remainder = (k.f.remainder * 10 + digit) % n->multiple;
    k.f.n_whole++;
    k.f.phase = k.f.n_whole == 1 && digit == 0 ? AT_ZERO : AT_DIGITS;
    return k.v;
}

static uint64_t fraction_digit(const struct number *n, union key k, unsigned digit)
{
    const struct side *s = &n->side[k.f.negative];
    if (n->decimals && k.f.n_fraction >= n->decimals)        /* zeros that say nothing */
        return n->reads && digit == 0 ? k.v : VS_DFA_DEAD;
    if (n->multiple > 1)
        k.f.remainder = (k.f.remainder * 10 + digit) % n->multiple;
    k.f.has_part |= digit != 0;
    if (k.f.n_fraction >= VS_FRACTION_DIGITS || (n->bounded && k.f.n_whole + k.f.n_fraction >= SURE_DIGITS))
        return VS_DFA_DEAD;
    if (s->low)
        k.f.low = compare_digit(k.f.low, s->low->fraction, k.f.n_fraction, digit);
    if (s->high)
        k.f.high = compare_digit(k.f.high, s->high->fraction, k.f.n_fraction, digit);
    k.f.n_fraction++;
    k.f.phase = AT_FRACTION;
    return k.v;
}

static uint64_t point(const struct number *n, union key k)
{
    const struct side *s = &n->side[k.f.negative];
    k.f.low = after_whole(k.f.low, s->low, k.f.n_whole);
    k.f.high = after_whole(k.f.high, s->high, k.f.n_whole);
    if (n->integer) {
        k.f.phase = AT_ZEROS_POINT;
        return n->reads ? k.v : VS_DFA_DEAD;
    }
    k.f.phase = AT_POINT;
    k.f.n_whole = n->bounded ? k.f.n_whole : 0;
    return k.v;
}

static uint64_t step_number(void *context, uint64_t key, uint8_t byte)
{
    const struct number *n = context;
    union key k = { key };
    bool is_digit = byte >= '0' && byte <= '9', has_exponent = !n->bounded && !n->integer;
    unsigned digit = byte - '0';
    switch ((enum phase)k.f.phase) {
    case AT_START:
        if (byte == '-') {
            k.f.phase = AT_SIGN;
            k.f.negative = 1;
            return k.v;
        }
        return is_digit ? whole_digit(n, k, digit) : VS_DFA_DEAD;
    case AT_SIGN: return is_digit ? whole_digit(n, k, digit) : VS_DFA_DEAD;
    case AT_ZERO:
    case AT_DIGITS:
        if (is_digit)
            return k.f.phase == AT_DIGITS ? whole_digit(n, k, digit) : VS_DFA_DEAD;
        if (byte == '.')
            return point(n, k);
        break;
    case AT_POINT: return is_digit ? fraction_digit(n, k, digit) : VS_DFA_DEAD;
    case AT_FRACTION:
        if (is_digit)
            return fraction_digit(n, k, digit);
        break;
    case AT_ZEROS_POINT:
    case AT_ZEROS:
        k.f.phase = AT_ZEROS;
        return byte == '0' ? k.v : VS_DFA_DEAD;
    case AT_E:
        if (byte == '+' || byte == '-')
            return (union key){ .f = { .phase = AT_E_SIGN } }.v;
        return is_digit ? (union key){ .f = { .phase = AT_E_DIGIT } }.v : VS_DFA_DEAD;
    case AT_E_SIGN: return is_digit ? (union key){ .f = { .phase = AT_E_DIGIT } }.v : VS_DFA_DEAD;
    case AT_E_DIGIT: return is_digit ? (union key){ .f = { .phase = n->reads ? AT_E_DIGIT : AT_E_END } }.v : VS_DFA_DEAD;
    case AT_E_END: return VS_DFA_DEAD;
    }
    return has_exponent && (byte | 32) == 'e' ? (union key){ .f = { .phase = AT_E } }.v : VS_DFA_DEAD;
}

/* What the bounds say of magnitudes without a minus, and with one. */
static void set_sides(struct number *n)
{
    const struct vs_number *w = n->what;
    static const struct vs_decimal zero = { .whole = "0" };
    if (w->has_low) {
        n->low = w->low;
        n->low.negative = false;
        if (vs_decimal_compare(&w->low, &zero) >= 0 && (w->low_open || vs_decimal_compare(&w->low, &zero) > 0)) {
            n->side[0].low = &n->low;
            n->side[0].low_open = w->low_open;
            n->side[1].impossible = true;
        } else {
            n->side[1].high = &n->low;
            n->side[1].high_open = w->low_open;
        }
    }
    if (w->has_high) {
        n->high = w->high;
        n->high.negative = false;
        if (vs_decimal_compare(&w->high, &zero) < 0 || (w->high_open && vs_decimal_compare(&w->high, &zero) == 0)) {
            n->side[1].low = &n->high;
            n->side[1].low_open = w->high_open;
            n->side[0].impossible = true;
        } else {
            n->side[0].high = &n->high;
            n->side[0].high_open = w->high_open;
        }
    }
}

void vs_spell_number(struct vs_grammar *g, const struct vs_number *what, uint32_t from, uint32_t to)
{
    struct number n = { .what = what, .bounded = what->has_low || what->has_high || what->decimals || what->fractional,
                        .integer = what->integer || (what->multiple > 0 && !what->decimals), .multiple = what->multiple,
                        .decimals = what->decimals, .fractional = what->fractional, .reads = g->use == VS_GRAMMAR_READS };
    bool cut[257] = { 0 };
    if (what->multiple > MAX_MULTIPLE) {
        vs_grammar_fail(g, VS_E_UNSUPPORTED, "%s: only up to %d", what->multiple_path, MAX_MULTIPLE);
        return;
    }
    for (unsigned b = '0'; b <= '9' + 1; b++)
        cut[b] = true;
    for (const char *c = "+-.eE"; *c; c++)
        cut[(uint8_t)*c] = cut[(uint8_t)*c + 1] = true;
    set_sides(&n);
    const union key start = { .f = { .phase = AT_START, .low = EQUAL, .high = EQUAL } };
    const struct vs_dfa_maker maker = { start.v, &n, step_number, accepts_number, NULL };
    struct vs_dfa *d = vs_dfa_make(g, cut, &maker);
    if (d)
        vs_dfa_emit(g, d, from, to);
    vs_dfa_free(d);
}

/* ---- values that are written out ---- */

void vs_spell_number_of(const json_t *v, char text[VS_NUMBER_TEXT])
{
    struct vs_decimal d;
    bool plain = vs_decimal_of(v, &d);
    if (plain && (json_is_integer(v) || strlen(d.whole) + strlen(d.fraction) <= 21))
        snprintf(text, VS_NUMBER_TEXT, "%s%s%s%s", d.negative ? "-" : "", d.whole, d.fraction[0] ? "." : "", d.fraction);
    else
        for (int digits = 14; digits < 17; digits++) {
            snprintf(text, VS_NUMBER_TEXT, "%.*g", digits + 1, json_real_value(v));
            if (strtod(text, NULL) == json_real_value(v))
                break;
        }
}

static void add_number(struct vs_grammar *g, const json_t *v, uint32_t from, uint32_t to)
{
    char text[VS_NUMBER_TEXT];
    vs_spell_number_of(v, text);
    if (g->use != VS_GRAMMAR_READS) {
        vs_edge_text(g, from, text, strlen(text), to);
        return;
    }
    struct vs_buf plain = { 0 };
    vs_json_respell(text, strlen(text), SIZE_MAX, &plain);
    if (plain.status == VS_OK)
        vs_edge_text(g, from, plain.data, plain.n, to);
    else
        vs_grammar_fail(g, VS_E_NOMEM, "out of memory");
    if (plain.status == VS_OK && !strpbrk(plain.data, ".e")) {
        uint32_t zeros = vs_place_add(g), more = vs_place_add(g);
        vs_edge_text(g, from, plain.data, plain.n, zeros);
        vs_edge_text(g, zeros, ".0", 2, more);
        vs_edge_text(g, more, "0", 1, more);
        vs_edge_empty(g, more, to);
    }
    vs_buf_clear(&plain);
}

static void add_members(struct vs_grammar *g, uint32_t space, const json_t *v, bool is_object, uint32_t from, uint32_t to)
{
    const char *brackets = is_object ? "{}" : "[]";
    uint32_t at = vs_place_add(g);
    size_t i = 0, n = is_object ? json_object_size(v) : json_array_size(v);
    void *iterator = is_object ? json_object_iter((json_t *)(uintptr_t)v) : NULL;
    vs_edge_text(g, from, brackets, 1, at);
    for (; i < n && g->err.code == VS_OK; i++) {
        uint32_t begin = vs_place_add(g), value = vs_place_add(g), behind = vs_place_add(g);
        const json_t *member = is_object ? json_object_iter_value(iterator) : json_array_get(v, i);
        vs_edge_call(g, at, space, begin);
        if (is_object) {
            uint32_t key = vs_place_add(g), colon = vs_place_add(g);
            const char *name = json_object_iter_key(iterator);
            vs_spell_literal(g, name, strlen(name), begin, key);
            vs_edge_text(g, key, ":", 1, colon);
            vs_edge_call(g, colon, space, value);
            iterator = json_object_iter_next((json_t *)(uintptr_t)v, iterator);
        } else {
            vs_edge_empty(g, begin, value);
        }
        vs_spell_value(g, space, member, value, behind);
        at = vs_place_add(g);
        if (i + 1 < n)
            vs_edge_text(g, behind, ",", 1, at);
        else
            vs_edge_empty(g, behind, at);
    }
    uint32_t end = vs_place_add(g);
    vs_edge_call(g, at, space, end);
    vs_edge_text(g, end, brackets + 1, 1, to);
}

void vs_spell_value(struct vs_grammar *g, uint32_t space, const json_t *v, uint32_t from, uint32_t to)
{
    static const char *const words[] = { [JSON_TRUE] = "true", [JSON_FALSE] = "false", [JSON_NULL] = "null" };
    if (g->err.code != VS_OK)
        return;
    switch (json_typeof(v)) {
    case JSON_STRING: vs_spell_literal(g, json_string_value(v), json_string_length(v), from, to); break;
    case JSON_INTEGER:
    case JSON_REAL: add_number(g, v, from, to); break;
    case JSON_ARRAY: add_members(g, space, v, false, from, to); break;
    case JSON_OBJECT: add_members(g, space, v, true, from, to); break;
    default: vs_edge_text(g, from, words[json_typeof(v)], strlen(words[json_typeof(v)]), to); break;
    }
}
