/* filter/view.c - see view.h */
#include "filter/view.h"

#include "base/utf8.h"

#include <string.h>

void vs_view_init(struct vs_view *v, bool json)
{
    v->json = json;
    v->n = v->n_raw = v->n_seen = v->most = 0;
    v->in_string = false;
    v->n_bare = 0;
}

void vs_view_wipe(struct vs_view *v)
{
    explicit_bzero(v->text, v->most);
    if (v->json)
        explicit_bzero(v->raw, v->most);
}

static void put(struct vs_view *v, const char *bytes, size_t n, size_t width, enum vs_view_kind kind)
{
    memcpy(v->text + v->n, bytes, n);
    memset(v->width + v->n, 0, n);
    memset(v->kind + v->n, kind, n);
    for (size_t i = 0; i < n && kind == VS_VIEW_BARE; i++, v->n_bare++)
        v->kind[v->n + i] = (uint8_t)(v->n_bare < VS_VIEW_BARE_MAX - VS_VIEW_BARE ? VS_VIEW_BARE + v->n_bare : VS_VIEW_BARE_MAX);
    if (kind != VS_VIEW_BARE)
        v->n_bare = 0;
    v->width[v->n] = (uint8_t)width;
    v->n += n;
}

static int hex4(const char *s)
{
    int value = 0;
    for (int i = 0; i < 4; i++) {
        char c = s[i];
        int digit = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
        if (digit < 0)
            return -1;
        value = value << 4 | digit;
    }
    return value;
}

/* The escape s[0..n), s[0] is '\': its length, 0 when it is not all there; *ret what it means. What is no escape is one backslash.
 * */
static size_t escape(const char *s, size_t n, uint32_t *ret)
{
    static const char names[] = "\"\\/bfnrt", means[] = "\"\\/\b\f\n\r\t";
    *ret = '\\';
    if (n < 2)
        return 0;
    const char *name = s[1] ? strchr(names, s[1]) : NULL;
    if (name) {
        *ret = (uint8_t)means[name - names];
        return 2;
    }
    if (s[1] != 'u')
        return 1;
    if (n < 6)
        return 0;
    int high = hex4(s + 2);
    if (high < 0)
        return 1;
    *ret = (uint32_t)high;
    if (high < 0xd800 || high > 0xdfff)
        return 6;
    *ret = 0xfffd;                       /* half a character */
    if (high > 0xdbff)
        return 6;
    if ((n > 6 && s[6] != '\\') || (n > 7 && s[7] != 'u'))
        return 6;
    if (n < VS_VIEW_ESCAPE)
        return 0;
    int low = hex4(s + 8);
    if (low < 0xdc00 || low > 0xdfff)
        return 6;
    *ret = 0x10000 + ((uint32_t)(high - 0xd800) << 10 | (uint32_t)(low - 0xdc00));
    return VS_VIEW_ESCAPE;
}

static bool between(char c)
{
    return c && strchr("{}[]:, \t\r\n", c);
}

/* Sees one character, or one byte that is none, of s[0..n): how many bytes of the input; 0: it is not all there. */
static size_t see(struct vs_view *v, const char *s, size_t n, bool end)
{
    if (v->in_string && *s == '\\') {
        uint32_t c;
        char bytes[4];
        size_t width = escape(s, n, &c);
        if (!width && !end)
            return 0;
        if (width < 2) {                 /* no escape, or cut off */
            put(v, s, 1, 1, VS_VIEW_STRING);
            return 1;
        }
        put(v, bytes, vs_utf8_encode(c, bytes), width, VS_VIEW_STRING);
        return width;
    }
    if (*s == '"') {
        v->in_string = !v->in_string;
        put(v, s, 1, 1, VS_VIEW_BETWEEN);
        return 1;
    }
    uint32_t c;
    size_t length = vs_utf8_decode(s, n, &c);
    if (!length) {
        if (!end && vs_utf8_unfinished(s, n) == n)
            return 0;
        length = 1;
    }
    put(v, s, length, length, v->in_string ? VS_VIEW_STRING : between(*s) ? VS_VIEW_BETWEEN : VS_VIEW_BARE);
    return length;
}

void vs_view_add(struct vs_view *v, const char *bytes, size_t n, bool end)
{
    if (!v->json) {
        memcpy(v->text + v->n_raw, bytes, n);
        v->n_raw += n;
        v->n = v->n_seen = v->n_raw - (end ? 0 : vs_utf8_unfinished(v->text, v->n_raw));
        v->most = v->n_raw > v->most ? v->n_raw : v->most;
        return;
    }
    memcpy(v->raw + v->n_raw, bytes, n);
    v->n_raw += n;
    for (size_t width; v->n_seen < v->n_raw; v->n_seen += width)
        if (!(width = see(v, v->raw + v->n_seen, v->n_raw - v->n_seen, end)))
            break;
    size_t now = v->n > v->n_raw ? v->n : v->n_raw;
    v->most = now > v->most ? now : v->most;
}

void vs_view_drop(struct vs_view *v, size_t n, size_t n_raw)
{
    if (!v->json) {
        memmove(v->text, v->text + n, v->n_raw - n);
        v->n -= n, v->n_raw -= n, v->n_seen -= n;
        return;
    }
    memmove(v->text, v->text + n, v->n - n);
    memmove(v->width, v->width + n, v->n - n);
    memmove(v->kind, v->kind + n, v->n - n);
    memmove(v->raw, v->raw + n_raw, v->n_raw - n_raw);
    v->n -= n, v->n_raw -= n_raw, v->n_seen -= n_raw;
}

size_t vs_view_width(const struct vs_view *v, size_t from, size_t to)
{
    if (!v->json)
        return to - from;
    size_t width = 0;
    for (size_t i = from; i < to; i++)
        width += v->width[i];
    return width;
}

/* The valid character around text[i], when i is inside one: its beginning and length. */
static size_t around(const struct vs_view *v, size_t i, size_t *ret_length)
{
    uint32_t c;
    if (i < v->n && ((uint8_t)v->text[i] & 0xc0) == 0x80)
        for (size_t back = 1; back < 4 && back <= i; back++)
            if ((*ret_length = vs_utf8_decode(v->text + i - back, v->n - i + back, &c)) > back)
                return i - back;
    *ret_length = 0;
    return i;
}

size_t vs_view_floor(const struct vs_view *v, size_t i)
{
    size_t length;
    return around(v, i, &length);
}

size_t vs_view_ceiling(const struct vs_view *v, size_t i)
{
    size_t length, start = around(v, i, &length);
    return start + length;
}
