/* grammar/regex.c - regular expressions as JSON schemas have them (ECMA-262), as far as they are regular.
 *
 *     alternatives a|b, groups (a) (?:a) (?<name>a), classes [a-z] [^a-z], . \d \w \s \D \W \S, * + ? {m} {m,} {m,n} (lazy ones
 *     mean the same), ^ $ \b \B (?=a) (?!a) (?<=a) (?<!a), escapes \t \n \r \f \v \0 \xHH \uHHHH \u{H...} \cX, \p{NAME} \P{NAME}
 *
 * References to groups, and a look-ahead in a look-behind, are refused by name. A repetition is written out, its atom read again
 * for each copy; the number of places that a grammar may have ends what would go on for ever.
 */
#include "grammar/internal.h"

#include "base/bytes.h"
#include "base/utf8.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 200, MAX_REPEAT = 100000, MAX_TEXT = 64 << 10 };

struct parser {
    struct vs_grammar *g;
    const char *text;
    size_t n, at;
    unsigned depth;
    bool asserts;                       /* into edges of all kinds; else ^ and $ are only where they mean nothing */
    unsigned n_behind;                  /* look-behinds that are open */
    struct { size_t at, end; uint32_t rule; } look[VS_MAX_LOOKS];       /* each is read once, though it may be repeated */
    unsigned n_looks;
};

static void alternatives(struct parser *p, uint32_t from, uint32_t to);

static bool failed(const struct parser *p)
{
    return p->g->err.code != VS_OK;
}

static void refuse(struct parser *p, int code, const char *what)
{
    vs_grammar_fail(p->g, code, "the regular expression has %s at byte %zu", what, p->at);
}

static bool more(const struct parser *p)
{
    return p->at < p->n && !failed(p);
}

static bool skip(struct parser *p, const char *s)
{
    size_t n = strlen(s);
    if (p->n - p->at < n || memcmp(p->text + p->at, s, n) != 0)
        return false;
    p->at += n;
    return true;
}

static uint32_t next_char(struct parser *p)
{
    uint32_t c = 0;
    p->at += vs_utf8_next(p->text + p->at, &c);
    return c;
}

/* ---- characters ---- */

static bool hex(struct parser *p, int n, uint32_t *ret)
{
    uint32_t v = 0;
    for (int i = 0; i < n; i++, p->at++) {
        int digit = vs_hex_digit(p->at < p->n ? p->text[p->at] : 0);
        if (digit < 0)
            return refuse(p, VS_E_INVALID, "an escape without its hexadecimal digits"), false;
        v = v << 4 | (uint32_t)digit;
    }
    *ret = v;
    return true;
}

static bool code_point(struct parser *p, uint32_t *ret)
{
    uint32_t low;
    if (skip(p, "{")) {
        uint32_t v = 0;
        for (uint32_t digit; p->at < p->n && p->text[p->at] != '}' && v <= 0x10ffff; v = v << 4 | digit)
            if (!hex(p, 1, &digit))
                return false;
        if (!skip(p, "}") || v > 0x10ffff)
            return refuse(p, VS_E_INVALID, "a \\u{...} that is no character"), false;
        *ret = v;
        return true;
    }
    if (!hex(p, 4, ret))
        return false;
    size_t here = p->at;
    if (*ret >= 0xd800 && *ret < 0xdc00 && skip(p, "\\u") && hex(p, 4, &low) && low >= 0xdc00 && low < 0xe000)
        *ret = 0x10000 + ((*ret - 0xd800) << 10) + (low - 0xdc00);
    else
        p->at = here;
    return !failed(p);
}

/* Adds the characters of `one`, or all others; frees them. */
static void add_class(struct parser *p, struct vs_ranges *one, bool inverted, struct vs_ranges *r)
{
    if (inverted && !failed(p))
        vs_ranges_invert(p->g, one);
    for (size_t k = 0; k < one->n && !failed(p); k++)
        vs_ranges_add(p->g, r, one->v[k].lo, one->v[k].hi);
    free(one->v);
}

/* Behind \p or \P. */
static void property(struct parser *p, bool inverted, struct vs_ranges *r)
{
    struct vs_ranges one = { 0 };
    const char *end = p->at < p->n && p->text[p->at] == '{' ? memchr(p->text + p->at, '}', p->n - p->at) : NULL;
    if (!end || !vs_property_ranges(p->g, p->text + p->at + 1, (size_t)(end - p->text) - p->at - 1, &one))
        refuse(p, VS_E_UNSUPPORTED, "\\p with a name that is not supported,");
    else
        p->at = (size_t)(end - p->text) + 1;
    add_class(p, &one, inverted, r);
}

/* \d and the like. */
static bool named_class(struct parser *p, char c, struct vs_ranges *r)
{
    static const struct vs_range digit[] = { { '0', '9' } }, word[] = { { '0', '9' }, { 'A', 'Z' }, { '_', '_' }, { 'a', 'z' } },
        space[] = { { 9, 13 }, { 32, 32 }, { 0xa0, 0xa0 }, { 0x1680, 0x1680 }, { 0x2000, 0x200a }, { 0x2028, 0x2029 },
                    { 0x202f, 0x202f }, { 0x205f, 0x205f }, { 0x3000, 0x3000 }, { 0xfeff, 0xfeff } };
    static const struct { char name; const struct vs_range *v; size_t n; } classes[] = {
        { 'd', digit, 1 }, { 'w', word, 4 }, { 's', space, 10 },
    };
    for (size_t i = 0; i < 3; i++) {
        struct vs_ranges one = { 0 };
        if ((c | 32) != classes[i].name)
            continue;
        for (size_t k = 0; k < classes[i].n; k++)
            vs_ranges_add(p->g, &one, classes[i].v[k].lo, classes[i].v[k].hi);
        add_class(p, &one, !(c & 32), r);
        return true;
    }
    return false;
}

/* Behind a backslash: a class, added to r, or a character, which is the answer too (else VS_NOWHERE). */
static uint32_t escape(struct parser *p, bool in_class, struct vs_ranges *r)
{
    static const char controls[] = "t\tn\nr\rf\fv\v";
    uint32_t c = 0;
    if (p->at == p->n)
        return refuse(p, VS_E_INVALID, "a backslash at the end,"), VS_NOWHERE;
    char e = p->text[p->at];
    if (named_class(p, e, r)) {
        p->at++;
        return VS_NOWHERE;
    }
    const char *control = strchr(controls, e);
    if (e && control && (control - controls) % 2 == 0) {
        p->at++;
        c = (uint8_t)control[1];
    } else if (e == 'b' && in_class) {
        p->at++;
        c = 8;
    } else if (e == '0' && !(p->at + 1 < p->n && p->text[p->at + 1] >= '0' && p->text[p->at + 1] <= '9')) {
        p->at++;
    } else if (e >= '0' && e <= '9') {
        return refuse(p, VS_E_UNSUPPORTED, "a reference to a group, which is not supported,"), VS_NOWHERE;
    } else if (skip(p, "x")) {
        if (!hex(p, 2, &c))
            return VS_NOWHERE;
    } else if (skip(p, "u")) {
        if (!code_point(p, &c))
            return VS_NOWHERE;
    } else if (e == 'c' && p->at + 1 < p->n && (p->text[p->at + 1] | 32) >= 'a' && (p->text[p->at + 1] | 32) <= 'z') {
        c = (uint32_t)p->text[p->at + 1] & 31;
        p->at += 2;
    } else if ((e | 32) == 'p') {
        p->at++;
        return property(p, e == 'P', r), VS_NOWHERE;
    } else if (e == 'k') {
        return refuse(p, VS_E_UNSUPPORTED, "\\k, which is not supported,"), VS_NOWHERE;
    } else if ((e >= 'a' && e <= 'z') || (e >= 'A' && e <= 'Z')) {
        return refuse(p, VS_E_INVALID, "an escape that nobody knows"), VS_NOWHERE;
    } else {
        c = next_char(p);
    }
    vs_ranges_add(p->g, r, c, c);
    return c;
}

/* One character of a class, or a class within it. */
static uint32_t class_member(struct parser *p, struct vs_ranges *r)
{
    if (skip(p, "\\"))
        return escape(p, true, r);
    uint32_t c = next_char(p);
    vs_ranges_add(p->g, r, c, c);
    return c;
}

/* Behind the bracket. */
static void read_class(struct parser *p, struct vs_ranges *r)
{
    bool inverted = skip(p, "^");
    while (more(p) && p->text[p->at] != ']') {
        uint32_t lo = class_member(p, r);
        if (p->at + 1 >= p->n || p->text[p->at] != '-' || p->text[p->at + 1] == ']' || failed(p))
            continue;
        p->at++;
        uint32_t hi = class_member(p, r);
        if (lo == VS_NOWHERE || hi == VS_NOWHERE)
            vs_ranges_add(p->g, r, '-', '-');
        else if (lo > hi)
            refuse(p, VS_E_INVALID, "a range that runs backwards");
        else
            vs_ranges_add(p->g, r, lo, hi);
    }
    if (!failed(p) && !skip(p, "]"))
        refuse(p, VS_E_INVALID, "a [ without its ],");
    if (inverted && !failed(p))
        vs_ranges_invert(p->g, r);
}

/* ---- structure ---- */

/* {m}, {m,} or {m,n} here? *ret_high UINT32_MAX: no limit. Braces that are none of these stand for themselves. */
static bool counts(struct parser *p, uint32_t *ret_low, uint32_t *ret_high)
{
    size_t at = p->at + 1;
    uint32_t v[2] = { 0, UINT32_MAX };
    bool comma = false;
    if (p->at >= p->n || p->text[p->at] != '{')
        return false;
    for (int i = 0; i < 2; i++) {
        size_t begin = at;
        uint32_t number = 0;
        for (; at < p->n && p->text[at] >= '0' && p->text[at] <= '9'; at++)
            number = number > MAX_REPEAT ? number : number * 10 + (uint32_t)(p->text[at] - '0');
        if (at > begin)
            v[i] = number;
        else if (i == 0)
            return false;
        if (i == 0 && !(comma = at < p->n && p->text[at] == ','))
            break;
        at += i == 0;
    }
    if (at >= p->n || p->text[at] != '}')
        return false;
    p->at = at + 1;
    *ret_low = v[0];
    *ret_high = comma ? v[1] : v[0];
    return true;
}

static bool quantifier(struct parser *p, uint32_t *ret_low, uint32_t *ret_high)
{
    *ret_low = skip(p, "+");
    *ret_high = UINT32_MAX;
    if (*ret_low || skip(p, "*"))
        return true;
    *ret_high = 1;
    return skip(p, "?") || counts(p, ret_low, ret_high);
}

/* Up to the ) of a group. */
static void inside(struct parser *p, uint32_t from, uint32_t to)
{
    if (++p->depth > MAX_DEPTH)
        refuse(p, VS_E_LIMIT, "groups that are nested too deep");
    if (!failed(p))
        alternatives(p, from, to);
    p->depth--;
    if (!failed(p) && !skip(p, ")"))
        refuse(p, VS_E_INVALID, "a ( without its ),");
}

/* Behind the sign of a look-ahead or look-behind. */
static void look(struct parser *p, enum vs_edge_kind kind, uint32_t from, uint32_t to)
{
    bool is_behind = kind == VS_EDGE_BEHIND || kind == VS_EDGE_NOT_BEHIND;
    unsigned k = 0;
    while (k < p->n_looks && p->look[k].at != p->at)
        k++;
    if (k == VS_MAX_LOOKS)
        refuse(p, VS_E_LIMIT, "more than 32 look-aheads and look-behinds");
    if (p->n_behind && !is_behind)
        refuse(p, VS_E_UNSUPPORTED, "a look-ahead in a look-behind, which is not supported,");
    if (failed(p))
        return;
    if (k == p->n_looks) {
        uint32_t rule = vs_rule_add(p->g, NULL, 0);
        if (failed(p))
            return;
        p->look[k].at = p->at;
        p->look[k].rule = rule;
        p->n_looks++;
        p->n_behind += is_behind;
        inside(p, p->g->rule[rule].start, p->g->rule[rule].end);
        p->n_behind -= is_behind;
        p->look[k].end = p->at;
    }
    p->at = p->look[k].end;
    vs_edge_assert(p->g, from, kind, p->look[k].rule, to);
}

static const struct { const char *sign; enum vs_edge_kind kind; } looks[] = {
    { "?=", VS_EDGE_AHEAD }, { "?!", VS_EDGE_NOT_AHEAD }, { "?<=", VS_EDGE_BEHIND }, { "?<!", VS_EDGE_NOT_BEHIND },
};

/* Behind (?<. It says nothing; no sign of regular expressions may be in it. */
static void group_name(struct parser *p)
{
    size_t begin = p->at;
    while (more(p) && (isalnum((uint8_t)p->text[p->at]) || strchr("_$", p->text[p->at]) || (uint8_t)p->text[p->at] >= 0x80))
        p->at++;
    if (p->at == begin || !skip(p, ">"))
        refuse(p, VS_E_INVALID, "a group without a name of letters, digits and _");
}

/* Behind the (. */
static void group(struct parser *p, uint32_t from, uint32_t to)
{
    for (size_t i = 0; i < sizeof looks / sizeof *looks; i++)
        if (skip(p, looks[i].sign)) {
            look(p, looks[i].kind, from, to);
            return;
        }
    if (skip(p, "?<"))
        group_name(p);
    else if (skip(p, "?") && !skip(p, ":"))
        refuse(p, VS_E_UNSUPPORTED, "a group of a kind that is not supported");
    inside(p, from, to);
}

/* \b or \B at the byte? */
static bool is_boundary(const char *text, size_t n, size_t at)
{
    return n - at > 1 && text[at] == '\\' && (text[at + 1] | 32) == 'b';
}

/* True: it was ^, $, \b or \B, which no quantifier may follow. */
static bool anchor(struct parser *p, uint32_t from, uint32_t to)
{
    char c = p->text[p->at];
    bool is_word = is_boundary(p->text, p->n, p->at);
    if (c != '^' && c != '$' && !is_word)
        return false;
    p->at += 1 + is_word;
    if (is_word)
        vs_edge_assert(p->g, from, p->text[p->at - 1] == 'b' ? VS_EDGE_WORD : VS_EDGE_NOT_WORD, VS_NOWHERE, to);
    else if (p->asserts)
        vs_edge_assert(p->g, from, c == '^' ? VS_EDGE_BEGIN : VS_EDGE_END, VS_NOWHERE, to);
    else
        vs_edge_empty(p->g, from, to);
    return true;
}

static void atom(struct parser *p, uint32_t from, uint32_t to)
{
    struct vs_ranges r = { 0 };
    if (skip(p, "(")) {
        group(p, from, to);
        return;
    }
    if (skip(p, "[")) {
        read_class(p, &r);
    } else if (skip(p, ".")) {
        if (vs_ranges_add(p->g, &r, '\n', '\n') && vs_ranges_add(p->g, &r, '\r', '\r') && vs_ranges_add(p->g, &r, 0x2028, 0x2029))
            vs_ranges_invert(p->g, &r);
    } else if (skip(p, "\\")) {
        escape(p, false, &r);
    } else if (strchr("*+?", p->text[p->at])) {
        refuse(p, VS_E_INVALID, "nothing to repeat");
    } else {
        uint32_t c = next_char(p);
        vs_ranges_add(p->g, &r, c, c);
    }
    if (!failed(p))
        vs_ranges_edges(p->g, &r, from, to);
    free(r.v);
}

/* The atom at `begin` once more. */
static void again(struct parser *p, size_t begin, uint32_t from, uint32_t to)
{
    size_t behind = p->at;
    p->at = begin;
    atom(p, from, to);
    p->at = behind;
}

/* A copy of the atom at `begin` leads from start to end already. Returns where it goes on. */
static uint32_t repeat(struct parser *p, size_t begin, uint32_t from, uint32_t start, uint32_t end, uint32_t low, uint32_t high)
{
    struct vs_grammar *g = p->g;
    uint32_t behind = vs_place_add(g);
    if (high == 0) {
        vs_edge_empty(g, from, behind);
        return behind;
    }
    vs_edge_empty(g, from, start);
    if (low == 0)
        vs_edge_empty(g, from, behind);
    for (uint32_t i = 1; i < (high == UINT32_MAX ? low : high) && !failed(p); i++) {
        if (i >= low)
            vs_edge_empty(g, end, behind);
        start = vs_place_add(g);
        vs_edge_empty(g, end, start);
        end = vs_place_add(g);
        again(p, begin, start, end);
    }
    if (high == UINT32_MAX)
        vs_edge_empty(g, end, start);
    vs_edge_empty(g, end, behind);
    return behind;
}

static void sequence(struct parser *p, uint32_t from, uint32_t to)
{
    while (more(p) && p->text[p->at] != '|' && !(p->text[p->at] == ')' && p->depth)) {
        size_t begin = p->at;
        uint32_t start = vs_place_add(p->g), end = vs_place_add(p->g), low, high;
        if (failed(p))
            return;
        bool is_anchor = anchor(p, start, end);
        if (p->text[begin] == ')')
            refuse(p, VS_E_INVALID, "a ) without its (,");
        else if (!is_anchor)
            atom(p, start, end);
        if (failed(p))
            return;
        if (!quantifier(p, &low, &high)) {
            vs_edge_empty(p->g, from, start);
            from = end;
            continue;
        }
        skip(p, "?");                    /* lazy: the same texts */
        if (is_anchor || low > high || (p->at < p->n && strchr("*+?", p->text[p->at])))
            refuse(p, VS_E_INVALID, "a quantifier that nothing can have");
        else if (low > MAX_REPEAT || (high > MAX_REPEAT && high != UINT32_MAX))
            refuse(p, VS_E_LIMIT, "a repetition that is too large");
        if (!failed(p))
            from = repeat(p, begin, from, start, end, low, high);
    }
    vs_edge_empty(p->g, from, to);
}

static void alternatives(struct parser *p, uint32_t from, uint32_t to)
{
    do {
        uint32_t start = vs_place_add(p->g);
        vs_edge_empty(p->g, from, start);
        sequence(p, start, to);
    } while (!failed(p) && skip(p, "|"));
}

static void add(struct vs_grammar *g, const char *text, size_t n, bool asserts, uint32_t from, uint32_t to)
{
    struct parser p = { .g = g, .text = text, .n = n, .asserts = asserts };
    if (n > MAX_TEXT)
        vs_grammar_fail(g, VS_E_LIMIT, "the regular expression is longer than %d bytes", MAX_TEXT);
    if (vs_utf8_valid(text, n) != n)
        vs_grammar_fail(g, VS_E_INVALID, "the regular expression is not UTF-8");
    if (!failed(&p))
        alternatives(&p, from, to);
}

/* Does the whole text say more than that ^ is where it begins and $ where it ends? Otherwise they mean nothing there. */
static bool asserts(const char *text, size_t n)
{
    bool in_class = false, is_first = true;
    size_t depth = 0;
    for (size_t at = 0; at < n; at++) {
        char c = text[at];
        bool begins = is_first;
        is_first = false;
        if (c == '\\') {
            if (!in_class && is_boundary(text, n, at))
                return true;
            at++;
        } else if (in_class || c == '[') {
            in_class = c != ']';
        } else if (c == '(') {
            depth++;
            for (size_t i = 0; i < sizeof looks / sizeof *looks; i++)
                if (n - at > strlen(looks[i].sign) && memcmp(text + at + 1, looks[i].sign, strlen(looks[i].sign)) == 0)
                    return true;
        } else if (c == ')') {
            depth -= depth > 0;
        } else if (c == '|') {
            is_first = depth == 0;
        } else if (c == '^' ? !begins : c == '$' && at + 1 < n && (depth || text[at + 1] != '|')) {
            return true;
        }
    }
    return false;
}

void vs_regex_add(struct vs_grammar *g, const char *text, size_t n, uint32_t from, uint32_t to)
{
    if (!asserts(text, n)) {
        add(g, text, n, false, from, to);
        return;
    }
    struct vs_dfa *d = vs_dfa_of_pattern(g, text, n, false);
    if (d)
        vs_dfa_emit(g, d, from, to);
    vs_dfa_free(d);
}

void vs_regex_places(struct vs_grammar *g, const char *text, size_t n, bool searches, uint32_t from, uint32_t to)
{
    if (!searches) {
        add(g, text, n, true, from, to);
        return;
    }
    uint32_t before = vs_place_add(g), begin = vs_place_add(g), end = vs_place_add(g), behind = vs_place_add(g);
    vs_edge_empty(g, from, before);
    vs_edge_chars(g, before, 0, 0x10ffff, before);
    vs_edge_empty(g, before, begin);
    add(g, text, n, true, begin, end);
    vs_edge_empty(g, end, behind);
    vs_edge_chars(g, behind, 0, 0x10ffff, behind);
    vs_edge_empty(g, behind, to);
}
