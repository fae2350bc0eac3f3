/* parts/literal.c - see literal.h */
#include "parts/literal.h"

#include "base/buf.h"
#include "base/bytes.h"
#include "base/utf8.h"
#include "ipc/json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

/* May it stand behind a value, or a key? */
static bool ends_value(char c)
{
    return c == ',' || c == ')' || c == ']' || c == '}' || c == ':';
}

/* ---- byte by byte ---- */

enum { TRIPLE = 3 };                     /* quotes around a text that may hold quotes */

enum { BETWEEN, OPENING, IN_TEXT, ESCAPED, BEHIND_QUOTE, IN_TRIPLE, ESCAPED_IN_TRIPLE, BEHIND_TRIPLE };

static enum vs_literal_event push_between(struct vs_literal_scan *s, const struct vs_literal_form *form, char c)
{
    s->n_matched = form->n_quote && c == form->quote[s->n_matched] ? s->n_matched + 1 : form->n_quote && c == form->quote[0];
    if (s->n_matched && s->n_matched == form->n_quote) {
        s->state = IN_TEXT;
        s->quote = 0;
        s->n_matched = 0;
        return VS_LITERAL_MORE;
    }
    if (s->n_matched > 1)                /* inside the form's quote */
        return VS_LITERAL_MORE;
    if (c == '"' || c == '\'') {
        s->state = OPENING;
        s->quote = c;
        s->n_matched = 1;
    } else if (c == '(' || c == '[' || c == '{') {
        if (++s->depth > VS_LITERAL_DEPTH)
            return VS_LITERAL_BROKEN;
    } else if (c == ')' || c == ']' || c == '}') {
        if (!s->depth)
            return c == form->close ? VS_LITERAL_END : VS_LITERAL_BROKEN;
        s->depth--;
    }
    return VS_LITERAL_MORE;
}

static enum vs_literal_event push_text(struct vs_literal_scan *s, const struct vs_literal_form *form, char c)
{
    if (s->quote) {
        s->state = c == '\\' ? ESCAPED : c == s->quote ? BEHIND_QUOTE : IN_TEXT;
        return VS_LITERAL_MORE;
    }
    s->n_matched = c == form->quote[s->n_matched] ? s->n_matched + 1 : c == form->quote[0];
    if (s->n_matched == form->n_quote) {
        s->n_matched = 0;
        s->state = BETWEEN;
    }
    return VS_LITERAL_MORE;
}

/* A quote was there that may have been the text's last. */
static enum vs_literal_event push_behind(struct vs_literal_scan *s, const struct vs_literal_form *form, char c)
{
    bool is_triple = s->state == BEHIND_TRIPLE;
    if (is_space(c) || c == s->quote)
        return VS_LITERAL_MORE;
    if (ends_value(c)) {
        s->state = BETWEEN;
        s->n_matched = 0;
        return push_between(s, form, c);
    }
    s->state = is_triple ? c == '\\' ? ESCAPED_IN_TRIPLE : IN_TRIPLE : c == '\\' ? ESCAPED : IN_TEXT;
    s->n_matched = 0;
    return VS_LITERAL_MORE;
}

/* One quote was there, or two. */
static enum vs_literal_event push_opening(struct vs_literal_scan *s, const struct vs_literal_form *form, char c)
{
    if (c == s->quote) {
        s->state = ++s->n_matched == TRIPLE ? IN_TRIPLE : OPENING;
        s->n_matched = s->state == IN_TRIPLE ? 0 : s->n_matched;
        return VS_LITERAL_MORE;
    }
    s->state = s->n_matched == 1 ? IN_TEXT : BEHIND_QUOTE;
    s->n_matched = 0;
    return s->state == IN_TEXT ? push_text(s, form, c) : push_behind(s, form, c);
}

static enum vs_literal_event push_triple(struct vs_literal_scan *s, char c)
{
    s->n_matched = c == s->quote ? s->n_matched + 1 : 0;
    s->state = c == '\\' ? ESCAPED_IN_TRIPLE : s->n_matched == TRIPLE ? BEHIND_TRIPLE : IN_TRIPLE;
    return VS_LITERAL_MORE;
}

enum vs_literal_event vs_literal_push(struct vs_literal_scan *s, const struct vs_literal_form *form, char c)
{
    switch (s->state) {
    case BETWEEN: return push_between(s, form, c);
    case OPENING: return push_opening(s, form, c);
    case ESCAPED: s->state = IN_TEXT; return VS_LITERAL_MORE;
    case BEHIND_QUOTE: case BEHIND_TRIPLE: return push_behind(s, form, c);
    case IN_TRIPLE: return push_triple(s, c);
    case ESCAPED_IN_TRIPLE: s->state = IN_TRIPLE; return VS_LITERAL_MORE;
    default: return push_text(s, form, c);
    }
}

/* ---- the whole of it ---- */

struct reader {
    const struct vs_literal_form *form;
    bool is_code;                        /* numbers may be written as in source code, not only as in JSON */
    const char *at, *end;
    unsigned depth;
};

static void skip_space(struct reader *r)
{
    while (r->at < r->end && is_space(*r->at))
        r->at++;
}

static bool take(struct reader *r, char c)
{
    skip_space(r);
    if (r->at == r->end || *r->at != c)
        return false;
    r->at++;
    return true;
}

static bool starts_with(const struct reader *r, const char *text, size_t n)
{
    return n && (size_t)(r->end - r->at) >= n && memcmp(r->at, text, n) == 0;
}

/* Where the text that begins at r->at ends: at so many quotes (the last of a run) behind which a value may end. Between quotes that
 * stand alone there may be white space. */
static const char *find_quotes(const struct reader *r, char quote, size_t n_quotes)
{
    size_t n = 0;
    for (const char *p = r->at; p < r->end; p++) {
        n = *p == quote ? n + 1 : 0;
        if (*p == '\\')
            p++;
        if (n < n_quotes)
            continue;
        const char *last = p, *next = p + 1;
        for (; next < r->end && (is_space(*next) || *next == quote); next++)
            last = *next == quote ? next : last;
        if (next == r->end || ends_value(*next))
            return last + 1 - n_quotes;
        p = next - 1;                    /* a run of quotes is looked at once */
        n = 0;
    }
    return NULL;
}

/* \n and the like; what is no escape stays as it is. Returns the bytes that were read. */
static size_t unescape(const char *p, const char *end, struct vs_buf *out)
{
    static const struct { char letter, is; } known[] = {
        { 'n', '\n' }, { 't', '\t' }, { 'r', '\r' }, { 'b', '\b' }, { 'f', '\f' }, { '\\', '\\' }, { '\'', '\'' }, { '"', '"' },
        { '/', '/' },
    };
    static const struct { char letter; size_t n; } coded[] = { { 'x', 2 }, { 'u', 4 }, { 'U', 8 } };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (p + 1 < end && p[1] == known[i].letter) {
            vs_buf_char(out, known[i].is);
            return 2;
        }
    for (size_t i = 0; i < sizeof coded / sizeof *coded; i++) {
        uint32_t code = 0;
        size_t k = 0;
        if (p + 1 >= end || p[1] != coded[i].letter)
            continue;
        for (; k < coded[i].n && p + 2 + k < end && vs_hex_digit(p[2 + k]) >= 0; k++)
            code = code << 4 | (uint32_t)vs_hex_digit(p[2 + k]);
        if (k == coded[i].n && code < 0x110000 && (code < 0xd800 || code > 0xdfff)) {
            char utf8[4];
            vs_buf_add(out, utf8, vs_utf8_encode(code, utf8));
            return 2 + k;
        }
    }
    vs_buf_char(out, '\\');
    return 1;
}

static json_t *read_text(struct reader *r)
{
    char quote = *r->at;
    struct vs_buf text = { 0 };
    size_t n_quotes = r->end - r->at > TRIPLE && r->at[1] == quote && r->at[2] == quote ? TRIPLE : 1;
    r->at += n_quotes;
    const char *end = find_quotes(r, quote, n_quotes);
    if (!end)
        return NULL;
    for (const char *p = r->at; p < end;)
        if (*p == '\\')
            p += unescape(p, end, &text);
        else
            vs_buf_char(&text, *p++);
    r->at = end + n_quotes;
    json_t *v = text.status == VS_OK ? json_stringn(text.n ? text.data : "", text.n) : NULL;
    vs_buf_clear(&text);
    return v;
}

/* Between the form's own quotes there are no escapes. */
static json_t *read_quoted(struct reader *r)
{
    const struct vs_literal_form *f = r->form;
    r->at += f->n_quote;
    const char *end = memmem(r->at, (size_t)(r->end - r->at), f->quote, f->n_quote);
    json_t *v = end ? json_stringn(r->at, (size_t)(end - r->at)) : NULL;
    r->at = end ? end + f->n_quote : r->end;
    return v;
}

static json_t *read_value(struct reader *r);

static json_t *read_list(struct reader *r, char close)
{
    json_t *list = json_array();
    while (list && !take(r, close)) {
        json_t *v = read_value(r);
        if (!v || json_array_append_new(list, v) != 0 || (!take(r, ',') && (r->at == r->end || *r->at != close))) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

/* A key: quoted, or a word up to `is`. False: none. */
static bool read_key(struct reader *r, char is, const char **ret, size_t *ret_n, json_t **ret_owner)
{
    skip_space(r);
    *ret_owner = NULL;
    bool is_own = starts_with(r, r->form->quote, r->form->n_quote);
    if (r->at < r->end && (is_own || *r->at == '"' || *r->at == '\'')) {
        *ret_owner = is_own ? read_quoted(r) : read_text(r);
        *ret = json_string_value(*ret_owner);
        *ret_n = json_string_length(*ret_owner);
        return *ret_owner && take(r, is);
    }
    *ret = r->at;
    while (r->at < r->end && *r->at != is && !strchr("\"'()[]{},\n", *r->at))
        r->at++;
    const char *end = r->at;
    while (end > *ret && is_space(end[-1]))
        end--;
    *ret_n = (size_t)(end - *ret);
    return *ret_n && take(r, is);
}

/* Pairs up to `close`; 0: up to the end. */
static json_t *read_pairs(struct reader *r, char is, char close)
{
    json_t *object = json_object(), *owner = NULL;
    bool good = object != NULL;
    for (skip_space(r); good && !(close ? take(r, close) : r->at == r->end); skip_space(r)) {
        const char *key;
        size_t n_key;
        good = read_key(r, is, &key, &n_key, &owner);
        json_t *v = good ? read_value(r) : NULL;
        good = v && !json_object_getn(object, key, n_key) && json_object_setn(object, key, n_key, v) == 0;
        json_decref(v);
        json_decref(owner);
        good = good && (take(r, ',') || (r->at == r->end ? !close : *r->at == close));
    }
    if (good)
        return object;
    json_decref(object);
    return NULL;
}

static bool is_digit(char c, int base)
{
    int v = vs_hex_digit(c);
    return v >= 0 && v < base;
}

/* As source code writes it: as JSON does, also 1_000; or 0x10, 0o17, 0b11 up to 63 bits. */
static json_t *read_code_number(const char *from, size_t n)
{
    static const struct { char letter; int base; } bases[] = { { 'x', 16 }, { 'o', 8 }, { 'b', 2 } };
    char digits[80];
    size_t k = 0, sign = *from == '-', first = 0;
    int base = 10;
    for (size_t b = 0; b < sizeof bases / sizeof *bases && n > sign + 2; b++)
        if (from[sign] == '0' && (from[sign + 1] | 0x20) == bases[b].letter) {
            base = bases[b].base;
            first = sign + 2;
        }
    if (n - first >= sizeof digits)
        return base == 10 ? vs_json_value(from, n) : NULL;
    for (size_t i = first; i < n; i++) {
        bool joins = from[i] == '_' && i > 0 && i + 1 < n && is_digit(from[i + 1], base)
                     && (is_digit(from[i - 1], base) || (i == first && base != 10));
        if (!joins && base != 10 && !is_digit(from[i], base))
            return NULL;
        if (!joins)
            digits[k++] = from[i];
    }
    digits[k] = '\0';
    if (base == 10)
        return vs_json_value(digits, k);
    errno = 0;
    unsigned long long v = strtoull(digits, NULL, base);
    return errno || v > INT64_MAX ? NULL : json_integer(sign ? -(json_int_t)v : (json_int_t)v);
}

/* A number, or a word for one of three values. */
static json_t *read_word(struct reader *r)
{
    static const struct { const char *word, *json; } words[] = {
        { "True", "true" }, { "False", "false" }, { "None", "null" }, { "true", "true" }, { "false", "false" }, { "null", "null" },
    };
    const char *from = r->at;
    while (r->at < r->end && !is_space(*r->at) && !ends_value(*r->at))
        r->at++;
    size_t n = (size_t)(r->at - from);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (n == strlen(words[i].word) && memcmp(from, words[i].word, n) == 0)
            return vs_json_value(words[i].json, strlen(words[i].json));
    if (!n || (*from != '-' && !is_digit(*from, 10)))
        return NULL;
    return r->is_code ? read_code_number(from, n) : vs_json_value(from, n);
}

static json_t *read_value(struct reader *r)
{
    skip_space(r);
    if (r->at == r->end || r->depth == VS_LITERAL_DEPTH)
        return NULL;
    if (starts_with(r, r->form->quote, r->form->n_quote))
        return read_quoted(r);
    if (*r->at == '"' || *r->at == '\'')
        return read_text(r);
    if (*r->at != '[' && *r->at != '(' && *r->at != '{')
        return read_word(r);
    char c = *r->at++;
    r->depth++;
    json_t *v = c == '{' ? read_pairs(r, ':', '}') : read_list(r, c == '[' ? ']' : ')');
    r->depth--;
    return v;
}

json_t *vs_literal_arguments(const struct vs_literal_form *form, const char *text, size_t n)
{
    struct reader r = { .form = form, .is_code = true, .at = text, .end = text + n };
    return read_pairs(&r, form->is, 0);
}

json_t *vs_literal_value(const char *text, size_t n)
{
    static const struct vs_literal_form python = { '(', '=', ')', "", 0 };
    struct reader r = { .form = &python, .at = text, .end = text + n };
    json_t *v = read_value(&r);
    skip_space(&r);
    if (r.at == r.end)
        return v;
    json_decref(v);
    return NULL;
}
