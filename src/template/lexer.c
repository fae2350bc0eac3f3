/* template/lexer.c - template source to tokens, with jinja2's whitespace rules (trim_blocks and lstrip_blocks on).
 *
 * Outside tags everything is data. A tag's own signs decide what happens to the white space around it:
 *   {%-  strips all before it      {%+  keeps it      {%  strips blanks back to the start of the line (so does {#)
 *   -%}  strips all after it       +%}  keeps it      %}  strips one newline (so does #}); }} strips nothing
 * Raw blocks come out as data. Comments vanish here.
 */
#include "base/utf8.h"
#include "template/internal.h"
#include "unicode/unicode.h"

#include <string.h>

enum { ROOT, BLOCK, VARIABLE };

int vs_tp_lexer_init(struct vs_tp_lexer *x, struct vs_tp_arena *a, const char *source, size_t n, struct vs_error *err)
{
    char *s = vs_tp_alloc(a, n + 1);
    if (!s)
        return vs_error_set(err, a->status, "template: %s", vs_status_text(a->status));
    size_t out = 0;
    for (size_t i = 0; i < n; i++) {
        if (source[i] == '\r') {
            s[out++] = '\n';
            if (i + 1 < n && source[i + 1] == '\n')
                i++;
        } else {
            s[out++] = source[i];
        }
    }
    if (out && s[out - 1] == '\n')
        out--;
    s[out] = 0;
    *x = (struct vs_tp_lexer){ .s = s, .n = out, .line = 1, .line_starting = true, .err = err };
    return VS_OK;
}

static uint32_t line_at(struct vs_tp_lexer *x, size_t at)
{
    for (; x->line_at < at; x->line_at++)
        x->line += x->s[x->line_at] == '\n';
    return x->line;
}

static int fail(struct vs_tp_lexer *x, size_t at, const char *what)
{
    return vs_error_set(x->err, VS_E_MALFORMED, "template: line %u: %s", line_at(x, at), what);
}

/* Bytes of the white space (Python's \s) that begins at `at`. */
static size_t space_at(const struct vs_tp_lexer *x, size_t at)
{
    size_t i = at;
    while (i < x->n) {
        uint32_t c;
        size_t len = vs_utf8_decode(x->s + i, x->n - i, &c);
        if (!len || !(vs_unicode(c)->flags & VS_UNICODE_SPACE))
            break;
        i += len;
    }
    return i - at;
}

/* Where the text [from, to) ends once trailing white space is cut. */
static size_t strip_right(const struct vs_tp_lexer *x, size_t from, size_t to)
{
    while (to > from) {
        size_t at = to - 1;
        while (at > from && ((unsigned char)x->s[at] & 0xc0) == 0x80)
            at--;
        uint32_t c;
        if (!vs_utf8_decode(x->s + at, to - at, &c) || !(vs_unicode(c)->flags & VS_UNICODE_SPACE))
            break;
        to = at;
    }
    return to;
}

static bool starts(const struct vs_tp_lexer *x, size_t at, const char *what)
{
    size_t n = strlen(what);
    return at <= x->n && n <= x->n - at && memcmp(x->s + at, what, n) == 0;
}

/* Offset behind `{%[sign] word [-+]%}` at `at`, or 0 when that isn't there. With `data_after`, the end sign and the
 * newline are treated as those of any block; `raw` knows only -%} and %}. */
static size_t keyword_tag(const struct vs_tp_lexer *x, size_t at, const char *word, bool is_end)
{
    if (!starts(x, at, "{%"))
        return 0;
    at += 2;
    if (at < x->n && (x->s[at] == '-' || x->s[at] == '+'))
        at++;
    at += space_at(x, at);
    if (!starts(x, at, word))
        return 0;
    at += strlen(word);
    at += space_at(x, at);
    if (starts(x, at, "-%}"))
        return at + 3 + space_at(x, at + 3);
    if (is_end && starts(x, at, "+%}"))
        return at + 3;
    if (!starts(x, at, "%}"))
        return 0;
    at += 2;
    return is_end && at < x->n && x->s[at] == '\n' ? at + 1 : at;
}

/* The end of the data [from, tag) as the sign of the tag behind it asks. */
static size_t data_end(const struct vs_tp_lexer *x, size_t from, size_t tag, bool is_variable)
{
    char sign = tag + 2 < x->n ? x->s[tag + 2] : 0;
    if (sign == '-')
        return strip_right(x, from, tag);
    if (sign == '+' || is_variable)
        return tag;
    size_t line = tag;
    while (line > from && x->s[line - 1] != '\n')
        line--;
    if (line == from && !x->line_starting)
        return tag;
    return strip_right(x, line, tag) == line ? line : tag;
}

static int data(struct vs_tp_lexer *x, size_t from, size_t to, struct vs_tp_token *ret)
{
    *ret = (struct vs_tp_token){ .kind = VS_TP_DATA, .line = line_at(x, from), .s = x->s + from, .n = to - from };
    return VS_OK;
}

/* Behind the sign that may follow an opening tag. */
static size_t skip_sign(const struct vs_tp_lexer *x, size_t at)
{
    return at < x->n && (x->s[at] == '-' || x->s[at] == '+') ? at + 1 : at;
}

/* x->at is at "{#". */
static int skip_comment(struct vs_tp_lexer *x)
{
    size_t at = skip_sign(x, x->at + 2);
    for (; at < x->n; at++) {
        size_t end = 0;
        if (starts(x, at, "+#}"))
            end = at + 3;
        else if (starts(x, at, "-#}"))
            end = at + 3 + space_at(x, at + 3);
        else if (starts(x, at, "#}"))
            end = at + 2 < x->n && x->s[at + 2] == '\n' ? at + 3 : at + 2;
        if (end) {
            x->line_starting = x->s[end - 1] == '\n';
            x->at = end;
            return VS_OK;
        }
    }
    return fail(x, x->at, "a comment {# has no end #}");
}

/* x->at is behind {% raw %}. */
static int raw(struct vs_tp_lexer *x, struct vs_tp_token *ret)
{
    for (size_t at = x->at; at < x->n; at++) {
        size_t end = x->s[at] == '{' ? keyword_tag(x, at, "endraw", true) : 0;
        if (!end)
            continue;
        size_t from = x->at, to = data_end(x, from, at, false);
        x->line_starting = x->s[end - 1] == '\n';
        x->at = end;
        return data(x, from, to, ret);
    }
    if (x->at == x->n)
        return data(x, x->n, x->n, ret);    /* as jinja2 does: nothing is missing where nothing follows */
    return fail(x, x->at, "{% raw %} has no {% endraw %}");
}

static int next_in_root(struct vs_tp_lexer *x, struct vs_tp_token *ret)
{
    for (;;) {
        size_t from = x->at, tag = from;
        while (tag < x->n && !(x->s[tag] == '{' && tag + 1 < x->n && strchr("%{#", x->s[tag + 1]) && x->s[tag + 1]))
            tag++;
        if (tag == x->n) {
            x->at = tag;
            if (tag > from)
                return data(x, from, tag, ret);
            *ret = (struct vs_tp_token){ .kind = VS_TP_EOF, .line = line_at(x, tag) };
            return VS_OK;
        }
        char kind = x->s[tag + 1];
        size_t to = data_end(x, from, tag, kind == '{');
        if (to > from) {
            x->at = tag;
            return data(x, from, to, ret);
        }
        x->at = tag;
        if (kind == '#') {
            int status = skip_comment(x);
            if (status != VS_OK)
                return status;
            continue;
        }
        size_t end = kind == '%' ? keyword_tag(x, tag, "raw", false) : 0;
        if (end) {
            x->at = end;
            x->line_starting = x->s[end - 1] == '\n';
            int status = raw(x, ret);
            if (status != VS_OK || ret->n)
                return status;
            continue;
        }
        uint32_t line = line_at(x, tag);
        x->at = skip_sign(x, tag + 2);
        x->line_starting = false;
        x->state = kind == '%' ? BLOCK : VARIABLE;
        *ret = (struct vs_tp_token){ .kind = kind == '%' ? VS_TP_BLOCK_BEGIN : VS_TP_VAR_BEGIN, .line = line,
                                     .s = x->s + tag, .n = 2 };
        return VS_OK;
    }
}

/* Offset behind the end of the tag at x->at, or 0. */
static size_t tag_end(const struct vs_tp_lexer *x)
{
    size_t at = x->at;
    const char *end = x->state == BLOCK ? "%}" : "}}";
    if (x->s[at] == '-' && starts(x, at + 1, end))
        return at + 3 + space_at(x, at + 3);
    if (x->state == BLOCK && x->s[at] == '+' && starts(x, at + 1, end))
        return at + 3;
    if (!starts(x, at, end))
        return 0;
    at += 2;
    return x->state == BLOCK && at < x->n && x->s[at] == '\n' ? at + 1 : at;
}

static bool digit(const struct vs_tp_lexer *x, size_t at)
{
    return at < x->n && x->s[at] >= '0' && x->s[at] <= '9';
}

static bool digit_of(const struct vs_tp_lexer *x, size_t at, const char *digits)
{
    return at < x->n && x->s[at] && strchr(digits, x->s[at]);
}

/* Digits with single underscores between: behind the last one. */
static size_t digits(const struct vs_tp_lexer *x, size_t at, const char *set)
{
    while (digit_of(x, at, set) || (at < x->n && x->s[at] == '_' && digit_of(x, at + 1, set)))
        at++;
    return at;
}

static const char decimal[] = "0123456789";

static size_t float_end(const struct vs_tp_lexer *x, size_t at)
{
    if (at && x->s[at - 1] == '.')
        return 0;
    size_t end = digits(x, at, decimal);
    bool is_float = false;
    if (end < x->n && x->s[end] == '.' && digit(x, end + 1)) {
        end = digits(x, end + 1, decimal);
        is_float = true;
    }
    if (end < x->n && (x->s[end] == 'e' || x->s[end] == 'E')) {
        size_t exponent = end + 1;
        if (exponent < x->n && (x->s[exponent] == '+' || x->s[exponent] == '-'))
            exponent++;
        if (digit(x, exponent)) {
            end = digits(x, exponent, decimal);
            is_float = true;
        }
    }
    return is_float ? end : 0;
}

static size_t integer_end(const struct vs_tp_lexer *x, size_t at)
{
    static const struct { char lower, upper; const char *set; } bases[] = {
        { 'b', 'B', "01" }, { 'o', 'O', "01234567" }, { 'x', 'X', "0123456789abcdefABCDEF" },
    };
    if (x->s[at] == '0' && at + 1 < x->n) {
        for (size_t i = 0; i < sizeof bases / sizeof *bases; i++) {
            if (x->s[at + 1] != bases[i].lower && x->s[at + 1] != bases[i].upper)
                continue;
            size_t end = digits(x, at + 2, bases[i].set);
            if (end > at + 2)
                return end;
        }
    }
    return digits(x, at, x->s[at] == '0' ? "0" : decimal);
}

static size_t name_end(const struct vs_tp_lexer *x, size_t at)
{
    while (at < x->n) {
        uint32_t c;
        size_t len = vs_utf8_decode(x->s + at, x->n - at, &c);
        if (!len || !(c == '_' || (vs_unicode(c)->flags & VS_UNICODE_ALNUM)))
            break;
        at += len;
    }
    return at;
}

/* Behind the closing quote, or 0. */
static size_t string_end(const struct vs_tp_lexer *x, size_t at)
{
    char quote = x->s[at++];
    while (at < x->n && x->s[at] != quote)
        at += x->s[at] == '\\' ? 2 : 1;
    return at < x->n ? at + 1 : 0;
}

static int bracket(struct vs_tp_lexer *x, char c)
{
    static const char open[] = "([{", close[] = ")]}";
    const char *which = strchr(open, c);
    if (which) {
        if (x->n_nest == sizeof x->nest)
            return vs_error_set(x->err, VS_E_LIMIT, "template: line %u: brackets are nested deeper than %zu",
                                line_at(x, x->at), sizeof x->nest);
        x->nest[x->n_nest++] = close[which - open];
    } else if (strchr(close, c)) {
        if (!x->n_nest || x->nest[--x->n_nest] != c)
            return vs_error_set(x->err, VS_E_MALFORMED, "template: line %u: unexpected '%c'", line_at(x, x->at), c);
    }
    return VS_OK;
}

static int operator_at(struct vs_tp_lexer *x, struct vs_tp_token *ret)
{
    static const char *const doubles[] = { "//", "**", "==", "!=", ">=", "<=" };
    size_t len = 0;
    for (size_t i = 0; i < sizeof doubles / sizeof *doubles && !len; i++)
        len = starts(x, x->at, doubles[i]) ? 2 : 0;
    if (!len && x->s[x->at] && strchr("+-/*%~[](){}><=.:|,;", x->s[x->at]))
        len = 1;
    if (!len) {
        unsigned char c = (unsigned char)x->s[x->at];
        return vs_error_set(x->err, VS_E_MALFORMED, c > 0x20 && c < 0x7f ? "template: line %u: unexpected character '%c'"
                            : "template: line %u: unexpected byte %d", line_at(x, x->at), c);
    }
    int status = len == 1 ? bracket(x, x->s[x->at]) : VS_OK;
    if (status != VS_OK)
        return status;
    ret->kind = VS_TP_OPERATOR;
    ret->n = len;
    memcpy(ret->op, ret->s, len);
    return VS_OK;
}

static int next_in_tag(struct vs_tp_lexer *x, struct vs_tp_token *ret)
{
    size_t end = x->at < x->n && !x->n_nest ? tag_end(x) : 0;
    if (!end)
        x->at += space_at(x, x->at);
    if (x->at >= x->n) {
        *ret = (struct vs_tp_token){ .kind = VS_TP_EOF, .line = line_at(x, x->n) };
        return VS_OK;
    }
    if (!end && !x->n_nest)
        end = tag_end(x);
    *ret = (struct vs_tp_token){ .line = line_at(x, x->at), .s = x->s + x->at };
    if (end) {
        ret->kind = x->state == BLOCK ? VS_TP_BLOCK_END : VS_TP_VAR_END;
        x->state = ROOT;
        x->line_starting = x->s[end - 1] == '\n';
    } else if (digit(x, x->at)) {
        end = float_end(x, x->at);
        ret->kind = end ? VS_TP_FLOATING : VS_TP_INTEGER;
        if (!end)
            end = integer_end(x, x->at);
    } else if ((end = name_end(x, x->at)) > x->at) {
        ret->kind = VS_TP_NAME;
    } else if ((x->s[x->at] == '\'' || x->s[x->at] == '"') && (end = string_end(x, x->at))) {
        ret->kind = VS_TP_STRING;
        ret->s++;
        ret->n = end - x->at - 2;
        x->at = end;
        return VS_OK;
    } else {
        int status = operator_at(x, ret);
        if (status != VS_OK)
            return status;
        x->at += ret->n;
        return VS_OK;
    }
    ret->n = end - x->at;
    x->at = end;
    return VS_OK;
}

int vs_tp_lexer_next(struct vs_tp_lexer *x, struct vs_tp_token *ret)
{
    return x->state == ROOT ? next_in_root(x, ret) : next_in_tag(x, ret);
}
