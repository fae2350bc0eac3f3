/* ipc/long_text.c - see long_text.h */
#include "ipc/long_text.h"

#include "base/bytes.h"
#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>

/* So many bytes at the front stand for themselves in a string; eight are looked at together. */
static size_t plain_run(const char *s, size_t n)
{
    size_t i = 0;
    for (uint64_t v; n - i >= 8; i += 8) {
        memcpy(&v, s + i, 8);
        uint64_t controls = (v - 0x2020202020202020u) & ~v & 0x8080808080808080u;
        if (vs_zero_bytes(v ^ 0x2222222222222222u) | vs_zero_bytes(v ^ 0x5c5c5c5c5c5c5c5cu) | controls)
            break;
    }
    while (i < n && (unsigned char)s[i] >= 0x20 && s[i] != '"' && s[i] != '\\')
        i++;
    return i;
}

size_t vs_string_end(const char *s, size_t n, size_t at)
{
    for (at++; at < n; at++) {
        at += plain_run(s + at, n - at);
        if (at < n && s[at] == '"')
            return at + 1;
        at += at < n && s[at] == '\\';
    }
    return n;
}

bool vs_string_is_key(const char *s, size_t n, size_t end)
{
    while (end < n && (s[end] == ' ' || s[end] == '\t' || s[end] == '\r' || s[end] == '\n'))
        end++;
    return end < n && s[end] == ':';
}

/* ---- reading ---- */

/* What stands between the quotes; out has room for n bytes. */
static bool unescape(const char *s, size_t n, char *out, size_t *ret_n)
{
    char *to = out;
    for (size_t i = 0, bytes; i < n; i += bytes) {
        size_t run = s[i] == '\\' ? 0 : plain_run(s + i, n - i);
        memcpy(to, s + i, run);
        to += run;
        i += run;
        if (i == n)
            break;
        uint32_t c;
        if (s[i] != '\\' || !(bytes = vs_json_escape(s + i, n - i, &c)))
            return false;
        to += vs_utf8_encode(c, to);
    }
    *ret_n = (size_t)(to - out);
    return true;
}

static bool keep(struct vs_long_texts *t, size_t ordinal, const char *s, size_t n)
{
    struct vs_buf text = { 0 };
    json_t *value = NULL;
    size_t length;
    if (t->n == t->cap) {
        size_t cap = t->cap ? 2 * t->cap : 4;
        struct vs_long_one *more = realloc(t->one, cap * sizeof *more);
        if (!more)
            return false;
        t->one = more;
        t->cap = cap;
    }
    char *room = vs_utf8_valid(s, n) == n ? vs_buf_grow(&text, n) : NULL;
    if (room && unescape(s, n, room, &length))
        value = json_stringn_nocheck(room, length);
    vs_buf_clear(&text);
    if (value)
        t->one[t->n++] = (struct vs_long_one){ ordinal, value };
    return value != NULL;
}

bool vs_long_take(const char *s, size_t n, struct vs_check *check, struct vs_long_texts *ret)
{
    size_t ordinal = 0, end;
    *ret = (struct vs_long_texts){ 0 };
    for (size_t i = 0; i < n && n > VS_LONG_TEXT; i = end) {
        const char *quote = memchr(s + i, '"', n - i);
        size_t at = quote ? (size_t)(quote - s) : n;
        vs_buf_add(&ret->thin, s + i, at - i);
        if (!quote)
            break;
        end = vs_string_end(s, n, at);
        bool is_key = vs_string_is_key(s, n, end), is_long = !is_key && end - at > VS_LONG_TEXT && s[end - 1] == '"';
        if (vs_check_work(check, 1 + (end - at) / 16) != VS_OK || (is_long && !keep(ret, ordinal, s + at + 1, end - at - 2)))
            return false;
        vs_buf_add(&ret->thin, is_long ? "\"\"" : s + at, is_long ? 2 : end - at);
        ordinal += !is_key;
    }
    return ret->n && ret->thin.status == VS_OK;
}

/* In the order of the text, in which jansson keeps the members of objects. */
static bool put(struct vs_long_texts *t, json_t *value, size_t *io_ordinal, size_t *io_next)
{
    const char *key;
    json_t *child;
    size_t i;
    bool is_next, ok = true;
    json_object_foreach(value, key, child) {
        is_next = json_is_string(child) && *io_next < t->n && t->one[*io_next].ordinal == *io_ordinal;
        *io_ordinal += json_is_string(child);
        ok = ok && (is_next ? json_object_set(value, key, t->one[*io_next].value) == 0 : put(t, child, io_ordinal, io_next));
        *io_next += is_next;
    }
    json_array_foreach(value, i, child) {
        is_next = json_is_string(child) && *io_next < t->n && t->one[*io_next].ordinal == *io_ordinal;
        *io_ordinal += json_is_string(child);
        ok = ok && (is_next ? json_array_set(value, i, t->one[*io_next].value) == 0 : put(t, child, io_ordinal, io_next));
        *io_next += is_next;
    }
    return ok;
}

bool vs_long_put(struct vs_long_texts *t, json_t *root)
{
    size_t ordinal = 0, next = 0;
    return put(t, root, &ordinal, &next) && next == t->n;
}

void vs_long_clear(struct vs_long_texts *t)
{
    for (size_t i = 0; i < t->n; i++)
        json_decref(t->one[i].value);
    free(t->one);
    vs_buf_clear(&t->thin);
    *t = (struct vs_long_texts){ 0 };
}

/* ---- writing ---- */

void vs_long_write(const char *s, size_t n, struct vs_buf *out)
{
    static const char letters[32] = { [8] = 'b', [9] = 't', [10] = 'n', [12] = 'f', [13] = 'r' };
    vs_buf_char(out, '"');
    for (size_t i = 0, run; i < n; i = run + 1) {
        run = i + plain_run(s + i, n - i);
        vs_buf_add(out, s + i, run - i);
        if (run == n)
            break;
        unsigned char c = (unsigned char)s[run];
        if (c >= 0x20 || letters[c])
            vs_buf_add(out, (char[]){ '\\', c >= 0x20 ? (char)c : letters[c] }, 2);
        else
            vs_buf_add(out, (char[]){ '\\', 'u', '0', '0', (char)('0' + (c >> 4)), "0123456789ABCDEF"[c & 15] }, 6);
    }
    vs_buf_char(out, '"');
}
