/* base/text.c - see text.h. */
#include "base/text.h"

#include "base/utf8.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { STEP_MAX = 8 };                  /* bytes of the longest escape, "\u202E", and its NUL */

static const struct { uint32_t first, last; bool is_mark; } hidden[] = {
    { 0x00, 0x1f, false },              /* C0 */
    { 0x7f, 0x9f, false },              /* DEL, C1: some terminals obey U+009B as they do ESC [ */
    { 0x61c, 0x61c, true },             /* Arabic letter mark */
    { 0x200e, 0x200f, true },           /* left-to-right and right-to-left mark */
    { 0x2028, 0x202e, false },          /* separators of lines and paragraphs; embeddings and overrides */
    { 0x2066, 0x206f, false },          /* isolates, and old switches of digits and of shapes */
    { 0xfff9, 0xfffb, false },          /* interlinear annotation */
};

static bool is_hidden(uint32_t c, enum vs_text_kind kind)
{
    if ((c == '\n' && kind != VS_TEXT_LINE) || (c == '\t' && kind == VS_TEXT_LINES))
        return false;
    for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++)
        if (c >= hidden[i].first && c <= hidden[i].last)
            return !(hidden[i].is_mark && kind == VS_TEXT_LINES);
    return false;
}

/* The next character of s[n], n > 0, as it is to be shown; returns how many bytes of s it is. */
static size_t step(const char *s, size_t n, enum vs_text_kind kind, char ret[STEP_MAX], size_t *ret_n)
{
    uint32_t c = (uint8_t)*s;
    size_t length = vs_utf8_decode(s, n, &c);
    if (length && !is_hidden(c, kind)) {
        memcpy(ret, s, length);
        *ret_n = length;
        return length;
    }
    bool small = c < 0x100 && kind != VS_TEXT_JSON;
    *ret_n = (size_t)snprintf(ret, STEP_MAX, small ? "\\x%02X" : kind == VS_TEXT_JSON ? "\\u%04x" : "\\u%04X",
                              (unsigned)(c & 0xffff));
    return length ? length : 1;
}

void vs_text_show(struct vs_buf *out, const char *s, size_t n, enum vs_text_kind kind)
{
    char shown[STEP_MAX];
    size_t m;
    for (size_t i = 0; i < n; ) {
        size_t plain = i;
        while (plain < n && s[plain] >= 0x20 && s[plain] < 0x7f)       /* shown as it is */
            plain++;
        vs_buf_add(out, s + i, plain - i);
        if ((i = plain) == n)
            break;
        i += step(s + i, n - i, kind, shown, &m);
        vs_buf_add(out, shown, m);
    }
}

void vs_text_print(FILE *f, const char *s, size_t n, enum vs_text_kind kind)
{
    char shown[STEP_MAX];
    size_t m;
    for (size_t i = 0; i < n; ) {
        i += step(s + i, n - i, kind, shown, &m);
        fwrite(shown, 1, m, f);
    }
}

size_t vs_text_line(char *to, size_t size, const char *s, size_t n)
{
    char shown[STEP_MAX];
    size_t m, at = 0;
    n = strnlen(s, n);
    for (size_t i = 0; i < n && size; at += m) {
        i += step(s + i, n - i, VS_TEXT_LINE, shown, &m);
        if (at + m >= size)
            break;
        memcpy(to + at, shown, m);
    }
    if (size)
        to[at] = 0;
    return at;
}

struct vs_shown vs_shown(const char *s)
{
    struct vs_shown shown;
    vs_text_line(shown.text, sizeof shown.text, s ? s : "-", s ? strlen(s) : 1);
    return shown;
}
