/* grammar/gbnf.c - grammars in GBNF, the notation of llama.cpp.
 *
 *     root  ::= item ("," ws item)* "\n"?        a rule for each name; its alternatives; the answer is what `root` gives
 *     item  ::= [a-z_]+ | "\"" [^"\\]* "\""      classes and strings with escapes \n \r \t \\ \" \[ \] \xHH \uHHHH \UHHHHHHHH
 *     ws    ::= [ \t]{0,4}                       * + ? {m} {m,} {m,n}; . is any character; comments begin with #
 *
 * A rule goes on over lines within parentheses, or where the next line does not begin another rule.
 */
#include "grammar/internal.h"

#include "base/bytes.h"
#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 200, MAX_REPEAT = 100000, MAX_TEXT = 1 << 20, MAX_RULES = 20000 };

struct parser {
    struct vs_grammar *g;
    const char *text;
    size_t n, at;
    unsigned depth;
    struct name { const char *name; size_t n; uint32_t rule; bool is_defined; } *names;     /* [n_names], sorted by nothing */
    size_t n_names, cap_names;
    uint32_t *slot;                      /* a table of names; UINT32_MAX: empty */
    uint32_t mask;
};

static void alternatives(struct parser *p, uint32_t from, uint32_t to);

static bool failed(const struct parser *p)
{
    return p->g->err.code != VS_OK;
}

static size_t line_of(const struct parser *p)
{
    size_t line = 1;
    for (size_t i = 0; i < p->at; i++)
        line += p->text[i] == '\n';
    return line;
}

static void refuse(struct parser *p, int code, const char *what)
{
    vs_grammar_fail(p->g, code, "grammar, line %zu: %s", line_of(p), what);
}

static char peek(const struct parser *p)
{
    return p->at < p->n ? p->text[p->at] : 0;
}

static bool is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

static void skip_space(struct parser *p, bool lines)
{
    while (p->at < p->n) {
        char c = p->text[p->at];
        if (c == '#')
            while (p->at < p->n && p->text[p->at] != '\n')
                p->at++;
        else if (c == ' ' || c == '\t' || (lines && (c == '\n' || c == '\r')))
            p->at++;
        else
            return;
    }
}

static bool skip(struct parser *p, const char *s)
{
    size_t n = strlen(s);
    if (p->n - p->at < n || memcmp(p->text + p->at, s, n) != 0)
        return false;
    p->at += n;
    return true;
}

/* ---- names ---- */

static uint32_t hash(const char *s, size_t n)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ (uint8_t)s[i]) * 16777619u;
    return h;
}

static bool add_name(struct parser *p, const char *s, size_t n, uint32_t *ret)
{
    if (p->n_names == p->cap_names) {
        size_t cap = p->cap_names ? 2 * p->cap_names : 16;
        struct name *names = realloc(p->names, cap * sizeof *names);
        if (names)
            p->names = names;
        uint32_t *slot = names ? malloc(2 * cap * sizeof *slot) : NULL;
        if (!slot) {
            vs_grammar_fail(p->g, VS_E_NOMEM, "out of memory");
            return false;
        }
        memset(slot, 0xff, 2 * cap * sizeof *slot);
        free(p->slot);
        p->slot = slot;
        p->cap_names = cap;
        p->mask = (uint32_t)(2 * cap - 1);
        for (uint32_t i = 0; i < p->n_names; i++) {
            uint32_t at = hash(names[i].name, names[i].n) & p->mask;
            while (slot[at] != UINT32_MAX)
                at = (at + 1) & p->mask;
            slot[at] = i;
        }
    }
    if (p->n_names >= MAX_RULES) {
        refuse(p, VS_E_LIMIT, "there are too many rules");
        return false;
    }
    uint32_t at = hash(s, n) & p->mask;
    while (p->slot[at] != UINT32_MAX)
        at = (at + 1) & p->mask;
    p->slot[at] = (uint32_t)p->n_names;
    p->names[p->n_names] = (struct name){ s, n, vs_rule_add(p->g, s, n), false };
    *ret = (uint32_t)p->n_names++;
    return !failed(p);
}

static bool find_name(struct parser *p, const char *s, size_t n, uint32_t *ret)
{
    for (uint32_t at = hash(s, n) & p->mask; p->slot && p->slot[at] != UINT32_MAX; at = (at + 1) & p->mask) {
        const struct name *known = &p->names[p->slot[at]];
        if (known->n == n && memcmp(known->name, s, n) == 0) {
            *ret = p->slot[at];
            return true;
        }
    }
    return add_name(p, s, n, ret);
}

/* The name here, if "::=" follows it: how long it is. */
static size_t definition(const struct parser *p)
{
    struct parser q = *p;
    while (is_name(peek(&q)))
        q.at++;
    size_t n = q.at - p->at;
    skip_space(&q, false);
    return n && skip(&q, "::=") ? n : 0;
}

/* ---- characters ---- */

static uint32_t read_char(struct parser *p)
{
    static const struct { char name; int digits; } hex[] = { { 'x', 2 }, { 'u', 4 }, { 'U', 8 } };
    static const char escapes[] = "n\nr\rt\t\\\\\"\"[[]]^^--//''";
    uint32_t c = 0;
    if (p->at >= p->n) {
        refuse(p, VS_E_INVALID, "it ends within a string or a class");
        return 0;
    }
    if (!skip(p, "\\")) {
        p->at += vs_utf8_next(p->text + p->at, &c);
        return c;
    }
    char e = peek(p);
    for (size_t i = 0; i < 3; i++) {
        if (e != hex[i].name)
            continue;
        p->at++;
        for (int k = 0; k < hex[i].digits; k++, p->at++) {
            int digit = vs_hex_digit(peek(p));
            if (digit < 0 || c > 0x10ffff) {
                refuse(p, VS_E_INVALID, "an escape that is no character");
                return 0;
            }
            c = c << 4 | (uint32_t)digit;
        }
        if (c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
            refuse(p, VS_E_INVALID, "an escape that is no character");
        return c;
    }
    const char *known = e ? strchr(escapes, e) : NULL;
    while (known && (known - escapes) % 2)
        known = strchr(known + 1, e);
    if (!known) {
        refuse(p, VS_E_INVALID, "an escape that is not known");
        return 0;
    }
    p->at++;
    return (uint8_t)known[1];
}

static void read_string(struct parser *p, uint32_t from, uint32_t to)
{
    while (!failed(p) && !skip(p, "\"")) {
        uint32_t c = read_char(p), next = vs_place_add(p->g);
        if (!failed(p))
            vs_edge_chars(p->g, from, c, c, next);
        from = next;
    }
    vs_edge_empty(p->g, from, to);
}

static void read_class(struct parser *p, uint32_t from, uint32_t to)
{
    struct vs_ranges r = { 0 };
    bool inverted = skip(p, "^");
    while (!failed(p) && !skip(p, "]")) {
        uint32_t lo = read_char(p), hi = lo;
        if (peek(p) == '-' && p->at + 1 < p->n && p->text[p->at + 1] != ']') {
            p->at++;
            hi = read_char(p);
        }
        if (lo > hi)
            refuse(p, VS_E_INVALID, "a range runs backwards");
        vs_ranges_add(p->g, &r, lo, hi);
    }
    if (inverted && !failed(p))
        vs_ranges_invert(p->g, &r);
    if (!failed(p))
        vs_ranges_edges(p->g, &r, from, to);
    free(r.v);
}

/* ---- structure ---- */

static void atom(struct parser *p, uint32_t from, uint32_t to)
{
    if (skip(p, "\"")) {
        read_string(p, from, to);
    } else if (skip(p, "[")) {
        read_class(p, from, to);
    } else if (skip(p, ".")) {
        vs_edge_chars(p->g, from, 0, 0x10ffff, to);
    } else if (skip(p, "(")) {
        if (++p->depth > MAX_DEPTH)
            refuse(p, VS_E_LIMIT, "parentheses are nested too deep");
        if (!failed(p))
            alternatives(p, from, to);
        p->depth--;
        skip_space(p, true);
        if (!failed(p) && !skip(p, ")"))
            refuse(p, VS_E_INVALID, "a ( has no )");
    } else {
        size_t begin = p->at;
        uint32_t i;
        while (is_name(peek(p)))
            p->at++;
        if (find_name(p, p->text + begin, p->at - begin, &i))
            vs_edge_call(p->g, from, p->names[i].rule, to);
    }
}

static uint32_t number(struct parser *p, uint32_t preset)
{
    uint32_t v = 0;
    size_t begin = p->at;
    for (; peek(p) >= '0' && peek(p) <= '9'; p->at++)
        v = v > MAX_REPEAT ? v : v * 10 + (uint32_t)(peek(p) - '0');
    return p->at > begin ? v : preset;
}

static bool quantifier(struct parser *p, uint32_t *ret_low, uint32_t *ret_high)
{
    *ret_low = skip(p, "+");
    *ret_high = UINT32_MAX;
    if (*ret_low || skip(p, "*"))
        return true;
    *ret_high = 1;
    if (skip(p, "?"))
        return true;
    if (!skip(p, "{"))
        return false;
    skip_space(p, false);
    *ret_low = *ret_high = number(p, 0);
    skip_space(p, false);
    if (skip(p, ",")) {
        skip_space(p, false);
        *ret_high = number(p, UINT32_MAX);
        skip_space(p, false);
    }
    if (!skip(p, "}") || *ret_low > *ret_high)
        refuse(p, VS_E_INVALID, "a {m,n} that makes no sense");
    else if (*ret_low > MAX_REPEAT || (*ret_high > MAX_REPEAT && *ret_high != UINT32_MAX))
        refuse(p, VS_E_LIMIT, "a repetition is too large");
    return !failed(p);
}

static uint32_t repeat(struct parser *p, size_t begin, uint32_t from, uint32_t start, uint32_t end, uint32_t low, uint32_t high)
{
    struct vs_grammar *g = p->g;
    uint32_t behind = vs_place_add(g);
    size_t here = p->at;
    if (low == 0)
        vs_edge_empty(g, from, behind);
    if (high == 0)
        return behind;
    vs_edge_empty(g, from, start);
    for (uint32_t i = 1; i < (high == UINT32_MAX ? low : high) && !failed(p); i++) {
        if (i >= low)
            vs_edge_empty(g, end, behind);
        start = vs_place_add(g);
        vs_edge_empty(g, end, start);
        end = vs_place_add(g);
        p->at = begin;
        atom(p, start, end);
    }
    if (high == UINT32_MAX)
        vs_edge_empty(g, end, start);
    vs_edge_empty(g, end, behind);
    p->at = here;
    return behind;
}

/* Another atom here? A line that begins a rule ends this one. */
static bool goes_on(struct parser *p)
{
    size_t here = p->at;
    skip_space(p, true);
    bool begins_line = memchr(p->text + here, '\n', p->at - here) != NULL || here == 0;
    char c = peek(p);
    if (!(c == '"' || c == '[' || c == '(' || c == '.' || is_name(c)) || failed(p))
        return false;
    return !(begins_line && definition(p));
}

static void sequence(struct parser *p, uint32_t from, uint32_t to)
{
    while (goes_on(p)) {
        size_t begin = p->at;
        uint32_t start = vs_place_add(p->g), end = vs_place_add(p->g), low, high;
        if (failed(p))
            return;
        atom(p, start, end);
        skip_space(p, false);
        if (!failed(p) && quantifier(p, &low, &high)) {
            from = repeat(p, begin, from, start, end, low, high);
        } else {
            vs_edge_empty(p->g, from, start);
            from = end;
        }
    }
    vs_edge_empty(p->g, from, to);
}

static void alternatives(struct parser *p, uint32_t from, uint32_t to)
{
    do {
        uint32_t start = vs_place_add(p->g);
        vs_edge_empty(p->g, from, start);
        sequence(p, start, to);
        skip_space(p, true);
    } while (!failed(p) && skip(p, "|"));
}

static void read_rule(struct parser *p)
{
    size_t n = definition(p);
    uint32_t i;
    if (!n) {
        refuse(p, VS_E_INVALID, "a rule is needed: name ::= ...");
        return;
    }
    if (!find_name(p, p->text + p->at, n, &i))
        return;
    if (p->names[i].is_defined)
        refuse(p, VS_E_INVALID, "this rule was there before");
    p->names[i].is_defined = true;
    p->at += n;
    skip_space(p, false);
    skip(p, "::=");
    uint32_t rule = p->names[i].rule;
    if (!failed(p))
        alternatives(p, p->g->rule[rule].start, p->g->rule[rule].end);
}

void vs_gbnf_add(struct vs_grammar *g, const char *text, size_t n)
{
    struct parser p = { .g = g, .text = text, .n = n };
    uint32_t root;
    if (n > MAX_TEXT)
        vs_grammar_fail(g, VS_E_LIMIT, "the grammar is longer than %d bytes", MAX_TEXT);
    if (vs_utf8_valid(text, n) != n)
        vs_grammar_fail(g, VS_E_INVALID, "the grammar is not UTF-8");
    for (skip_space(&p, true); p.at < n && !failed(&p); skip_space(&p, true))
        read_rule(&p);
    for (size_t i = 0; i < p.n_names && !failed(&p); i++)
        if (!p.names[i].is_defined)
            vs_grammar_fail(g, VS_E_INVALID, "grammar: the rule '%.*s' is used and not there",
                            (int)(p.names[i].n < 100 ? p.names[i].n : 100), p.names[i].name);
    if (!failed(&p) && find_name(&p, "root", 4, &root)) {
        if (p.names[root].is_defined)
            g->root = p.names[root].rule;
        else
            vs_grammar_fail(g, VS_E_INVALID, "grammar: there is no rule 'root'");
    }
    free(p.names);
    free(p.slot);
}
