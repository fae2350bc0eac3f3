/* filter/control.c - see control.h
 *
 * Most bytes are plain ASCII or letters of a script and are passed by a table of first bytes. */
#include "filter/control.h"

#include "base/utf8.h"
#include "unicode/unicode.h"

#include <string.h>

enum { SEQUENCE_MAX = 128, CONTEXT = 8, HIDDEN_MAX = 192 };

enum answer { NO, UNDECIDED, FOUND, FOUND_OPEN };

struct place {
    const char *text;
    size_t n, i;
    bool whole;
    const char *rule;
    size_t end;
};

static const char ansi[] = "ansi", osc[] = "ansi-string";

/* A character at i: its length; 0 when it is cut short or not valid. */
static size_t at(const char *text, size_t n, size_t i, uint32_t *ret)
{
    *ret = 0;
    return i < n ? vs_utf8_decode(text + i, n - i, ret) : 0;
}

/* The character that ends before i, 0 when there is none. */
static uint32_t before(const char *text, size_t i)
{
    uint32_t c;
    for (size_t k = 1; k <= 4 && k <= i; k++)
        if (vs_utf8_decode(text + i - k, k, &c) == k)
            return c;
    return 0;
}

static enum answer take(struct place *p, const char *rule, size_t end)
{
    p->rule = rule;
    p->end = end;
    return FOUND;
}

/* ---- sequences of terminals ---- */

/* The end of a string (OSC and its kin) that goes on at i, or 0: behind BEL, ESC \ or U+009C. A newline, and any
 * other ESC, end it too. */
static size_t string_end(const char *text, size_t n, size_t i)
{
    for (; i < n; i++) {
        if (text[i] == '\a')
            return i + 1;
        if (text[i] == '\n' || text[i] == 0x18 || text[i] == 0x1a)
            return i;
        if (text[i] == '\033') {
            if (i + 1 == n)
                return 0;
            return text[i + 1] == '\\' ? i + 2 : i + 1;
        }
        if (text[i] == '\xc2' && i + 1 < n && text[i + 1] == '\x9c')
            return i + 2;
    }
    return 0;
}

static enum answer terminal_string(struct place *p, size_t i)
{
    size_t end = string_end(p->text, p->n, i), marker = p->i + SEQUENCE_MAX;
    if (end && end <= marker)
        return take(p, osc, end);
    if (p->n >= marker) {
        take(p, osc, marker);
        return FOUND_OPEN;
    }
    return p->whole ? take(p, osc, p->n) : UNDECIDED;
}

/* Parameters 0x30..0x3f and intermediates 0x20..0x2f, then a final 0x40..0x7e. What is malformed ends before the odd byte. */
static enum answer control_sequence(struct place *p, size_t i, unsigned lowest)
{
    while (i < p->n && i < p->i + SEQUENCE_MAX && (unsigned char)p->text[i] >= lowest && (unsigned char)p->text[i] < 0x40)
        i++;
    if (i < p->n && i < p->i + SEQUENCE_MAX)
        return take(p, ansi, (unsigned char)p->text[i] >= 0x40 && (unsigned char)p->text[i] < 0x7f ? i + 1 : i);
    return i == p->i + SEQUENCE_MAX || p->whole ? take(p, ansi, i) : UNDECIDED;
}

/* What follows ESC or, 0x40 higher, is a C1 control. */
static enum answer introduced(struct place *p, unsigned char by, size_t i)
{
    if (by == '[')
        return control_sequence(p, i, 0x20);
    if (by == ']' || by == 'P' || by == 'X' || by == '^' || by == '_')
        return terminal_string(p, i);
    return take(p, by < 0x20 || by >= 0x7f ? "control" : ansi, by < 0x20 || by >= 0x7f ? p->i + 1 : i);
}

static enum answer escape(struct place *p)
{
    if (p->i + 1 == p->n)
        return p->whole ? take(p, ansi, p->n) : UNDECIDED;
    unsigned char by = (unsigned char)p->text[p->i + 1];
    if (by >= 0x20 && by < 0x30) {       /* intermediates and a final 0x30..0x7e */
        size_t i = p->i + 1;
        while (i < p->n && i < p->i + 8 && (unsigned char)p->text[i] >= 0x20 && (unsigned char)p->text[i] < 0x30)
            i++;
        if (i == p->n && !p->whole && i < p->i + 8)
            return UNDECIDED;
        bool has_final = i < p->n && i < p->i + 8 && (unsigned char)p->text[i] >= 0x30 && (unsigned char)p->text[i] < 0x7f;
        return take(p, ansi, has_final ? i + 1 : i);
    }
    return introduced(p, by, p->i + 2);
}

/* ---- characters ---- */

static bool is_bidi(uint32_t c)
{
    return (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

static bool is_tag(uint32_t c)
{
    return c >= 0xe0000 && c <= 0xe007f;
}

static bool is_selector(uint32_t c)
{
    return (c >= 0xfe00 && c <= 0xfe0f) || (c >= 0xe0100 && c <= 0xe01ef) || (c >= 0x180b && c <= 0x180d);
}

static bool is_invisible(uint32_t c)
{
    return c == 0xad || c == 0x200b || (c >= 0x2060 && c <= 0x2064) || (c >= 0x206a && c <= 0x206f) || c == 0xfeff || c == 0x3164
           || c == 0xffa0 || c == 0x180e || (c >= 0xfff9 && c <= 0xfffb) || c == 0x115f || c == 0x1160 || c == 0x034f
           || c == 0x200c || c == 0x200d;
}

/* Characters from i on for which `is` holds; *ret_n counts them. UNDECIDED: the text ends with them. */
static size_t run_of(const char *text, size_t n, size_t i, bool (*is)(uint32_t), size_t *ret_n)
{
    uint32_t c;
    *ret_n = 0;
    for (size_t length; (length = at(text, n, i, &c)) && is(c); i += length)
        ++*ret_n;
    return i;
}

/* Whether text[i, n) ends within a character that may belong to what stands before it. */
static bool is_cut(const struct place *p, size_t i)
{
    return !p->whole && (i == p->n || vs_utf8_unfinished(p->text + i, p->n - i) == p->n - i);
}

/* A flag: U+1F3F4 and tags up to U+E007F; p->i is at the first tag. */
static enum answer tags(struct place *p)
{
    enum { LENGTH = 4, FEWEST = 3, MOST = 7 };
    uint32_t c;
    size_t i = p->i, count = 0;
    bool is_flag = before(p->text, p->i) == 0x1f3f4, ended = false;
    for (size_t length; count <= MOST && !ended && (length = at(p->text, p->n, i, &c)) && is_tag(c); i += length, count++)
        ended = c == 0xe007f;
    if (is_flag && !ended && count <= MOST && is_cut(p, i))
        return UNDECIDED;
    if (is_flag && ended && count >= FEWEST) {
        p->end = i;                      /* passes whole */
        return NO;
    }
    return take(p, "tags", p->i + LENGTH);
}

static bool has_variants(uint32_t c, uint32_t selector)
{
    if (selector >= 0xe0100)
        return c >= 0x3400 && vs_unicode(c)->mask >> VS_U_HAN & 1;
    if (c < 0x80)
        return (c >= '0' && c <= '9') || c == '#' || c == '*';
    return !is_selector(c) && !is_invisible(c) && c != 0xa0 && !is_tag(c) && !is_bidi(c);
}

/* Two or more together hide something; their number is unbounded, so that what is over HIDDEN_MAX bytes is a span of its own. */
static enum answer invisible(struct place *p, size_t length)
{
    size_t count, end = run_of(p->text, p->n - p->i > HIDDEN_MAX ? p->i + HIDDEN_MAX : p->n, p->i, is_invisible, &count);
    bool follows = is_invisible(before(p->text, p->i));
    if (count < 2 && !follows && is_cut(p, end))
        return UNDECIDED;
    return count >= 2 || follows ? take(p, "invisible", p->i + length) : NO;
}

static enum answer character(struct place *p)
{
    uint32_t c;
    size_t length = at(p->text, p->n, p->i, &c);
    p->end = p->i + (length ? length : 1);
    if (!length)
        return is_cut(p, p->i) ? UNDECIDED : NO;
    if (c >= 0x80 && c < 0xa0)
        return introduced(p, (unsigned char)(c - 0x40), p->i + length);
    if (is_bidi(c))
        return take(p, "bidi", p->end);
    if (is_tag(c))
        return tags(p);
    if (is_selector(c))
        return has_variants(before(p->text, p->i), c) ? NO : take(p, "selectors", p->end);
    return is_invisible(c) ? invisible(p, length) : NO;
}

static enum answer ascii(struct place *p)
{
    char c = p->text[p->i];
    p->end = p->i + 1;
    if (c == '\033')
        return escape(p);
    if (c != '\r')
        return take(p, "control", p->end);
    if (p->end == p->n)
        return p->whole ? take(p, "control", p->end) : UNDECIDED;
    return p->text[p->end] == '\n' ? NO : take(p, "control", p->end);
}

/* ---- the detector ---- */

/* First bytes of what this file looks at. */
static bool is_suspect(unsigned char c)
{
    static const bool suspect[256] = {
        1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
        [0x7f] = 1, [0xc2] = 1, [0xcd] = 1, [0xe1] = 1, [0xe2] = 1, [0xe3] = 1, [0xef] = 1, [0xf3] = 1,
    };
    return suspect[c];
}

static size_t find(const struct vs_detector *d, const char *text, size_t n, size_t from, bool whole, vs_span_fn *told, void *arg)
{
    struct place p = { .text = text, .n = n, .whole = whole };
    size_t i = from;
    (void)d;
    while (i < n) {
        if (!is_suspect((unsigned char)text[i])) {
            i++;
            continue;
        }
        p.i = i;
        enum answer answer = (unsigned char)text[i] < 0x80 ? ascii(&p) : character(&p);
        if (answer == UNDECIDED)
            return i;
        bool open = answer == FOUND_OPEN && !whole;
        if (answer == FOUND_OPEN && whole) {
            size_t end = string_end(text, n, p.end);
            p.end = end ? end : n;
        }
        struct vs_span span = { VS_FOUND_CONTROL, 0, p.rule, i, p.end, 1000, open };
        if (answer != NO && p.end > i)
            told(arg, &span);
        if (open)
            return i;
        i = p.end > i ? p.end : i + 1;
    }
    return n;
}

/* An OSC string that is longer than is waited for. An ESC that was the last byte looked at is looked at again. */
static size_t closed(const struct vs_detector *d, const char *rule, const char *text, size_t n, size_t looked)
{
    (void)d, (void)rule;
    size_t i = looked > 0 && (text[looked - 1] == '\033' || text[looked - 1] == '\xc2') ? looked - 1 : looked;
    size_t end = string_end(text, n, i);
    return end ? end : SIZE_MAX;
}

const struct vs_detector vs_control_detector = { "control", NULL, find, closed };
