/* template/string.c - strings that know where each byte came from: building, slicing, searching, case. */
#include "base/utf8.h"
#include "template/internal.h"
#include "unicode/unicode.h"

#include <string.h>

size_t vs_tp_count_chars(const char *s, size_t n)
{
    size_t chars = 0;
    for (size_t i = 0; i < n; i++)
        chars += ((unsigned char)s[i] & 0xc0) != 0x80;
    return chars;
}

/* ---- builder ------------------------------------------------------------------------------------------------ */

void vs_tp_build(struct vs_tp_builder *b, struct vs_tp_vm *vm)
{
    *b = (struct vs_tp_builder){ .vm = vm, .trusted = true };
}

static bool room(struct vs_tp_builder *b, size_t n)
{
    if (b->failed || b->vm->status != VS_OK)
        return !(b->failed = true);
    if (n <= b->cap - b->n)
        return true;
    if (n > SIZE_MAX / 8 - b->n || !vs_tp_step(b->vm, n / 64)) {
        b->failed = true;
        return n > SIZE_MAX / 8 - b->n ? vs_tp_fail(b->vm, VS_E_LIMIT, "a string grows too long") : false;
    }
    size_t cap = b->cap ? b->cap * 2 : 32;
    if (cap < b->n + n)
        cap = b->n + n;
    char *s = vs_tp_realloc(&b->vm->arena, b->s, b->cap, cap);
    if (s && b->mark) {
        uint8_t *mark = vs_tp_alloc(&b->vm->arena, cap);
        if (mark)
            memcpy(mark, b->mark, b->n);
        else
            s = NULL;
        b->mark = mark;
    }
    if (!s) {
        b->failed = true;
        return vs_tp_fail_memory(b->vm);
    }
    b->s = s;
    b->cap = cap;
    return true;
}

/* From now on each byte has its own mark. */
static bool mixed(struct vs_tp_builder *b)
{
    if (b->mark)
        return true;
    b->mark = vs_tp_alloc(&b->vm->arena, b->cap);
    if (!b->mark) {
        b->failed = true;
        return vs_tp_fail_memory(b->vm);
    }
    memset(b->mark, b->trusted, b->n);
    return true;
}

bool vs_tp_put(struct vs_tp_builder *b, const char *s, size_t n, bool trusted)
{
    if (!n)
        return !b->failed;
    if (!room(b, n))
        return false;
    if (!b->n)
        b->trusted = trusted;
    if ((b->mark || b->trusted != trusted) && !mixed(b))
        return false;
    memcpy(b->s + b->n, s, n);
    if (b->mark)
        memset(b->mark + b->n, trusted, n);
    b->n += n;
    return true;
}

bool vs_tp_put_cstr(struct vs_tp_builder *b, const char *s)
{
    return vs_tp_put(b, s, strlen(s), true);
}

bool vs_tp_put_part(struct vs_tp_builder *b, const struct vs_tp_str *s, size_t from, size_t n)
{
    if (!s->mark)
        return vs_tp_put(b, s->s + from, n, s->trusted);
    for (size_t i = from, end = from + n; i < end;) {
        size_t run = i + 1;
        while (run < end && s->mark[run] == s->mark[i])
            run++;
        if (!vs_tp_put(b, s->s + i, run - i, s->mark[i] != 0))
            return false;
        i = run;
    }
    return !b->failed;
}

bool vs_tp_put_str(struct vs_tp_builder *b, const struct vs_tp_str *s)
{
    return vs_tp_put_part(b, s, 0, s->n);
}

bool vs_tp_put_char(struct vs_tp_builder *b, uint32_t c, bool trusted)
{
    unsigned char s[4];
    size_t n = 0;
    if (c < 0x80) {
        s[n++] = (unsigned char)c;
    } else {
        int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
        static const unsigned char lead[] = { 0, 0xc0, 0xe0, 0xf0 };
        s[n++] = (unsigned char)(lead[more] | c >> (6 * more));
        while (more--)
            s[n++] = (unsigned char)(0x80 | (c >> (6 * more) & 63));
    }
    return vs_tp_put(b, (const char *)s, n, trusted);
}

bool vs_tp_put_fill(struct vs_tp_builder *b, const char *s, size_t n, int64_t times)
{
    if (n && times > (int64_t)(SIZE_MAX / 16 / n))
        return vs_tp_fail(b->vm, VS_E_LIMIT, "a string grows too long");
    if (times > 0 && !room(b, n * (size_t)times))
        return false;
    for (; times > 0; times--)
        if (!vs_tp_put(b, s, n, true))
            return false;
    return !b->failed;
}

struct vs_tp_str *vs_tp_built(struct vs_tp_builder *b)
{
    if (b->failed || b->vm->status != VS_OK)
        return NULL;
    struct vs_tp_str *s = vs_tp_str_new(b->vm, b->s ? b->s : "", b->n, b->trusted);
    if (s)
        s->mark = b->mark;
    return s;
}

bool vs_tp_built_value(struct vs_tp_builder *b, struct vs_tp_value *ret)
{
    struct vs_tp_str *s = vs_tp_built(b);
    if (s)
        *ret = vs_tp_of_str(s);
    return s != NULL;
}

/* ---- slices ------------------------------------------------------------------------------------------------- */

struct vs_tp_str *vs_tp_str_new(struct vs_tp_vm *vm, const char *s, size_t n, bool trusted)
{
    struct vs_tp_str *str = vs_tp_new(vm, sizeof *str);
    if (!str)
        return NULL;
    str->s = s;
    str->n = n;
    str->n_chars = vs_tp_count_chars(s, n);
    str->trusted = trusted;
    return str;
}

struct vs_tp_str *vs_tp_str_bytes(struct vs_tp_vm *vm, struct vs_tp_str *s, size_t from, size_t to)
{
    if (from == 0 && to == s->n)
        return s;
    struct vs_tp_str *part = vs_tp_str_new(vm, s->s + from, to - from, s->trusted);
    if (!part)
        return NULL;
    part->mark = s->mark ? s->mark + from : NULL;
    part->markup = s->markup;
    return part;
}

/* A buffer that strings share from its start on: the longest of them may grow in place. So text that a template
 * collects piece by piece takes linear time and memory. */
struct vs_tp_growth { char *s; uint8_t *mark; size_t used, cap; };

static void mark_bytes(uint8_t *to, const struct vs_tp_str *s)
{
    if (s->mark)
        memcpy(to, s->mark, s->n);
    else
        memset(to, s->trusted, s->n);
}

struct vs_tp_str *vs_tp_str_concat(struct vs_tp_vm *vm, struct vs_tp_str *a, struct vs_tp_str *b)
{
    if (!b->n)
        return a;
    if (!a->n)
        return b;
    if (b->n > SIZE_MAX / 8 - a->n || !vs_tp_step(vm, b->n / 64))
        return vs_tp_fail(vm, VS_E_LIMIT, "a string grows too long"), NULL;
    struct vs_tp_str *r = vs_tp_new(vm, sizeof *r);
    if (!r)
        return NULL;
    size_t n = a->n + b->n;
    bool uniform = !a->mark && !b->mark && a->trusted == b->trusted;
    struct vs_tp_growth *g = a->growth;
    if (!g || a->s + a->n != g->s + g->used || b->n > g->cap - g->used) {
        g = vs_tp_new(vm, sizeof *g);
        if (!g)
            return NULL;
        g->cap = n < 64 ? n + 32 : n * 2;
        g->s = vs_tp_alloc(&vm->arena, g->cap);
        if (!g->s || !vs_tp_step(vm, n / 64))
            return g->s ? NULL : (vs_tp_fail_memory(vm), NULL);
        memcpy(g->s, a->s, a->n);
        g->used = a->n;
        if (!uniform) {
            g->mark = vs_tp_alloc(&vm->arena, g->cap);
            if (!g->mark)
                return vs_tp_fail_memory(vm), NULL;
            mark_bytes(g->mark, a);
        }
    } else if (!uniform && !g->mark) {
        g->mark = vs_tp_alloc(&vm->arena, g->cap);
        if (!g->mark)
            return vs_tp_fail_memory(vm), NULL;
        memset(g->mark, a->trusted, g->used);
        mark_bytes(g->mark + (a->s - g->s), a);
    }
    char *start = g->s + g->used - a->n;
    memcpy(g->s + g->used, b->s, b->n);
    if (g->mark)
        mark_bytes(g->mark + g->used, b);
    *r = (struct vs_tp_str){ .s = start, .n = n, .n_chars = a->n_chars + b->n_chars, .growth = g, .trusted = a->trusted };
    if (!uniform)
        r->mark = g->mark + (start - g->s);
    g->used += b->n;
    return r;
}

bool vs_tp_str_equal(const struct vs_tp_str *a, const struct vs_tp_str *b)
{
    return a->n == b->n && (a->s == b->s || memcmp(a->s, b->s, a->n) == 0);
}

bool vs_tp_str_is(const struct vs_tp_str *a, const char *b)
{
    return a->n == strlen(b) && memcmp(a->s, b, a->n) == 0;
}

int vs_tp_str_order(const struct vs_tp_str *a, const struct vs_tp_str *b)
{
    size_t n = a->n < b->n ? a->n : b->n;
    int order = n ? memcmp(a->s, b->s, n) : 0;
    return order ? order : (a->n > b->n) - (a->n < b->n);
}

size_t vs_tp_str_offset(const struct vs_tp_str *s, size_t chars)
{
    if (s->n == s->n_chars || chars >= s->n_chars)
        return chars >= s->n_chars ? s->n : chars;
    size_t at = 0;
    while (chars--) {
        at++;
        while (at < s->n && ((unsigned char)s->s[at] & 0xc0) == 0x80)
            at++;
    }
    return at;
}

size_t vs_tp_str_chars(const struct vs_tp_str *s, size_t bytes)
{
    return s->n == s->n_chars ? bytes : vs_tp_count_chars(s->s, bytes);
}

uint32_t vs_tp_str_char(const struct vs_tp_str *s, size_t at, size_t *ret_n)
{
    uint32_t c = 0;
    size_t n = vs_utf8_decode(s->s + at, s->n - at, &c);
    *ret_n = n ? n : 1;
    return c;
}

bool vs_tp_str_find(struct vs_tp_vm *vm, const struct vs_tp_str *s, size_t from, size_t to,
                    const struct vs_tp_str *needle, bool last, size_t *ret)
{
    *ret = SIZE_MAX;
    if (from > to || needle->n > to - from)
        return true;
    if (!vs_tp_step(vm, (to - from) / 64))
        return false;
    if (!last) {
        const char *hit = needle->n ? memmem(s->s + from, to - from, needle->s, needle->n) : s->s + from;
        if (hit)
            *ret = (size_t)(hit - s->s);
        return true;
    }
    for (size_t at = to - needle->n + 1; at-- > from;) {
        if (memcmp(s->s + at, needle->s, needle->n) == 0) {
            *ret = at;
            return true;
        }
        if ((at & 1023) == 0 && !vs_tp_step(vm, 16 + needle->n / 16))
            return false;
    }
    return true;
}

bool vs_tp_str_of(struct vs_tp_vm *vm, struct vs_tp_value v, struct vs_tp_str **ret)
{
    if (v.kind == VS_TP_STR) {
        *ret = v.u.str;
        return true;
    }
    struct vs_tp_builder b;
    vs_tp_build(&b, vm);
    vs_tp_put_value(&b, v);
    return (*ret = vs_tp_built(&b)) != NULL;
}

bool vs_tp_str_escape(struct vs_tp_vm *vm, struct vs_tp_str *s, struct vs_tp_str **ret)
{
    *ret = s;
    if (s->markup)
        return true;
    struct vs_tp_builder b;
    vs_tp_build(&b, vm);
    for (size_t i = 0; i < s->n; i++) {
        static const char special[] = "&<>'\"";
        static const char *const entity[] = { "&amp;", "&lt;", "&gt;", "&#39;", "&#34;" };
        const char *which = s->s[i] ? strchr(special, s->s[i]) : NULL;
        if (which)
            vs_tp_put(&b, entity[which - special], strlen(entity[which - special]), vs_tp_mark(s, i));
        else
            vs_tp_put_part(&b, s, i, 1);
    }
    *ret = vs_tp_built(&b);
    if (*ret)
        (*ret)->markup = true;
    return *ret != NULL;
}

/* ---- case --------------------------------------------------------------------------------------------------- */

/* The final form is used after a cased letter and not before one, Case_Ignorable characters apart. */
static bool final_sigma(const struct vs_tp_str *s, size_t at)
{
    bool before = false;
    for (size_t i = at; i > 0;) {
        i--;
        while (i > 0 && ((unsigned char)s->s[i] & 0xc0) == 0x80)
            i--;
        size_t n;
        unsigned flags = vs_unicode(vs_tp_str_char(s, i, &n))->flags;
        if (flags & VS_UNICODE_IGNORABLE)
            continue;
        before = flags & VS_UNICODE_CASED;
        break;
    }
    if (!before)
        return false;
    for (size_t i = at + 2, n; i < s->n; i += n) {
        unsigned flags = vs_unicode(vs_tp_str_char(s, i, &n))->flags;
        if (!(flags & VS_UNICODE_IGNORABLE))
            return !(flags & VS_UNICODE_CASED);
    }
    return true;
}

bool vs_tp_put_cased(struct vs_tp_builder *b, const struct vs_tp_str *s, size_t from, size_t to, enum vs_tp_style style)
{
    bool in_word = false;
    if (!vs_tp_step(b->vm, (to - from) / 16))
        return false;
    for (size_t at = from, n; at < to; at += n) {
        uint32_t c = vs_tp_str_char(s, at, &n), mapped[3];
        enum vs_unicode_case which = VS_TO_LOWER;
        switch (style) {
        case VS_TP_STYLE_UPPER: which = VS_TO_UPPER; break;
        case VS_TP_STYLE_LOWER: break;
        case VS_TP_STYLE_TITLE: which = in_word ? VS_TO_LOWER : VS_TO_TITLE; break;
        case VS_TP_STYLE_CAPITALIZE: which = at == from ? VS_TO_TITLE : VS_TO_LOWER; break;
        case VS_TP_STYLE_SWAP: which = vs_unicode(c)->flags & VS_UNICODE_UPPER ? VS_TO_LOWER : VS_TO_UPPER; break;
        }
        if (style == VS_TP_STYLE_TITLE)
            in_word = vs_unicode(c)->flags & VS_UNICODE_CASED;
        int count = vs_unicode_to(c, which, mapped);
        if (c == 0x3a3 && which == VS_TO_LOWER)
            mapped[0] = final_sigma(s, at) ? 0x3c2 : 0x3c3;
        for (int k = 0; k < count; k++)
            if (!vs_tp_put_char(b, mapped[k], vs_tp_mark(s, at)))
                return false;
    }
    return !b->failed;
}

/* ---- white space, lines, replacing -------------------------------------------------------------------------- */

bool vs_tp_str_isspace_at(const struct vs_tp_str *s, size_t at, size_t *ret_n)
{
    return vs_unicode(vs_tp_str_char(s, at, ret_n))->flags & VS_UNICODE_SPACE;
}

static bool stripped(const struct vs_tp_str *s, size_t at, size_t *n,
                     const struct vs_tp_str *chars)
{
    if (!chars)
        return vs_tp_str_isspace_at(s, at, n);
    vs_tp_str_char(s, at, n);
    for (size_t i = 0, k; i < chars->n; i += k) {
        vs_tp_str_char(chars, i, &k);
        if (k == *n && memcmp(chars->s + i, s->s + at, k) == 0)
            return true;
    }
    return false;
}

struct vs_tp_str *vs_tp_str_strip(struct vs_tp_vm *vm, struct vs_tp_str *s, const struct vs_tp_str *chars, bool left, bool right)
{
    size_t from = 0, to = s->n, n;
    while (left && from < to && stripped(s, from, &n, chars))
        from += n;
    while (right && to > from) {
        size_t at = to - 1;
        while (at > from && ((unsigned char)s->s[at] & 0xc0) == 0x80)
            at--;
        if (!stripped(s, at, &n, chars))
            break;
        to = at;
    }
    if (!vs_tp_step(vm, (s->n - (to - from)) / 16 * (chars ? 1 + chars->n / 16 : 1)))
        return NULL;
    return vs_tp_str_bytes(vm, s, from, to);
}

bool vs_tp_str_replace(struct vs_tp_vm *vm, struct vs_tp_str *s, struct vs_tp_str *old, struct vs_tp_str *with,
                       int64_t count, struct vs_tp_value *ret)
{
    struct vs_tp_builder b;
    vs_tp_build(&b, vm);
    size_t at = 0;
    if (count < 0)
        count = INT64_MAX;
    if (!old->n) {                      /* between all characters, and at both ends */
        size_t n = 0;
        for (; count > 0 && at <= s->n; count--, at += n) {
            vs_tp_put_str(&b, with);
            if (at == s->n)
                break;
            vs_tp_str_char(s, at, &n);
            if (!vs_tp_put_part(&b, s, at, n) || !vs_tp_step(vm, 1))
                return false;
        }
    }
    while (old->n && count-- > 0) {
        size_t hit;
        if (!vs_tp_step(vm, 1) || !vs_tp_str_find(vm, s, at, s->n, old, false, &hit))
            return false;
        if (hit == SIZE_MAX)
            break;
        if (!vs_tp_put_part(&b, s, at, hit - at) || !vs_tp_put_str(&b, with))
            return false;
        at = hit + old->n;
    }
    if (at < s->n)
        vs_tp_put_part(&b, s, at, s->n - at);
    struct vs_tp_str *r = vs_tp_built(&b);
    if (!r)
        return false;
    r->markup = s->markup;
    *ret = vs_tp_of_str(r);
    return true;
}

static bool is_line_end(uint32_t c)
{
    return (c >= 0xa && c <= 0xd) || (c >= 0x1c && c <= 0x1e) || c == 0x85 || c == 0x2028 || c == 0x2029;
}

bool vs_tp_str_lines(struct vs_tp_vm *vm, struct vs_tp_str *s, bool keep_ends, struct vs_tp_list **ret)
{
    *ret = vs_tp_list_new(vm, 0);
    if (!*ret)
        return false;
    for (size_t from = 0, at = 0; at < s->n;) {
        size_t n = 0, end = s->n, next = s->n;
        for (; at < s->n; at += n) {
            uint32_t c = vs_tp_str_char(s, at, &n);
            if (is_line_end(c)) {
                end = at;
                next = at + n;
                if (c == '\r' && next < s->n && s->s[next] == '\n')
                    next++;
                break;
            }
        }
        struct vs_tp_str *line = vs_tp_str_bytes(vm, s, from, keep_ends ? next : end);
        if (!line || !vs_tp_list_add(vm, *ret, vs_tp_of_str(line)) || !vs_tp_step(vm, 1 + (next - from) / 64))
            return false;
        from = at = next;
    }
    return true;
}
