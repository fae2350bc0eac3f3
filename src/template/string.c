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
    b->failed = true;                   /* until it is done */
    if (n > SIZE_MAX / 8 - b->n)
        return vs_tp_fail(b->vm, VS_E_LIMIT, "a string grows too long");
    size_t cap = b->cap ? b->cap * 2 : 32;
    if (cap < b->n + n)
        cap = b->n + n;
    char *s = vs_tp_grow(b->vm, b->s, b->cap, cap);
    uint8_t *mark = NULL;
    if (s && b->mark && !(mark = vs_tp_alloc(&b->vm->arena, cap)))
        return vs_tp_fail_memory(b->vm);
    if (!s || (mark && !vs_tp_copy(b->vm, mark, b->mark, b->n)))
        return false;
    b->s = s;
    b->mark = mark;
    b->cap = cap;
    b->failed = false;
    return true;
}

bool vs_tp_reserve(struct vs_tp_builder *b, size_t n, int64_t times)
{
    if (times <= 0 || !n)
        return !b->failed;
    if ((uint64_t)times > SIZE_MAX / 16 / n)
        return vs_tp_fail(b->vm, VS_E_LIMIT, "a string grows too long");
    return room(b, n * (size_t)times);
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
    if (!vs_tp_work(b->vm, b->n))
        return !(b->failed = true);
    memset(b->mark, b->trusted, b->n);
    return true;
}

bool vs_tp_put(struct vs_tp_builder *b, const char *s, size_t n, bool trusted)
{
    if (!n)
        return !b->failed;
    if (!room(b, n) || !vs_tp_work(b->vm, 16))
        return !(b->failed = true);
    if (!b->n)
        b->trusted = trusted;
    if ((b->mark || b->trusted != trusted) && !mixed(b))
        return false;
    if (!vs_tp_copy(b->vm, b->s + b->n, s, n))
        return !(b->failed = true);
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
        size_t run = i + 1, most = end - i < 4096 ? end : i + 4096;
        while (run < most && s->mark[run] == s->mark[i])
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
    char s[4];
    return vs_tp_put(b, s, vs_utf8_encode(c, s), trusted);
}

bool vs_tp_put_fill(struct vs_tp_builder *b, const char *s, size_t n, int64_t times)
{
    if (!vs_tp_reserve(b, n, times))
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

bool vs_tp_give_str(struct vs_tp_str *s, struct vs_tp_value *ret)
{
    if (s)
        *ret = vs_tp_of_str(s);
    return s != NULL;
}

bool vs_tp_built_value(struct vs_tp_builder *b, struct vs_tp_value *ret)
{
    return vs_tp_give_str(vs_tp_built(b), ret);
}

bool vs_tp_built_like(struct vs_tp_builder *b, const struct vs_tp_str *from, struct vs_tp_value *ret)
{
    struct vs_tp_str *s = vs_tp_built(b);
    if (s)
        s->markup = from->markup;
    return vs_tp_give_str(s, ret);
}

/* ---- slices ------------------------------------------------------------------------------------------------- */

struct vs_tp_str *vs_tp_str_new(struct vs_tp_vm *vm, const char *s, size_t n, bool trusted)
{
    struct vs_tp_str *str = vs_tp_new(vm, sizeof *str);
    if (!str)
        return NULL;
    str->s = s;
    str->n = n;
    str->trusted = trusted;
    str->n_chars = vs_tp_str_chars(vm, str, 0, n);
    return vm->status == VS_OK ? str : NULL;
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

static bool mark_bytes(struct vs_tp_vm *vm, uint8_t *to, const struct vs_tp_str *s)
{
    if (s->mark)
        return vs_tp_copy(vm, to, s->mark, s->n);
    if (!vs_tp_work(vm, s->n))
        return false;
    memset(to, s->trusted, s->n);
    return true;
}

struct vs_tp_str *vs_tp_str_concat(struct vs_tp_vm *vm, struct vs_tp_str *a, struct vs_tp_str *b)
{
    if (!b->n)
        return a;
    if (!a->n)
        return b;
    if (b->n > SIZE_MAX / 8 - a->n)
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
        if (!g->s)
            return vs_tp_fail_memory(vm), NULL;
        if (!vs_tp_copy(vm, g->s, a->s, a->n))
            return NULL;
        g->used = a->n;
        if (!uniform) {
            g->mark = vs_tp_alloc(&vm->arena, g->cap);
            if (!g->mark)
                return vs_tp_fail_memory(vm), NULL;
            if (!mark_bytes(vm, g->mark, a))
                return NULL;
        }
    } else if (!uniform && !g->mark) {
        uint8_t *mark = vs_tp_alloc(&vm->arena, g->cap);
        if (!mark)
            return vs_tp_fail_memory(vm), NULL;
        if (!vs_tp_work(vm, g->used))
            return NULL;
        memset(mark, a->trusted, g->used);
        if (!mark_bytes(vm, mark + (a->s - g->s), a))
            return NULL;
        g->mark = mark;
    }
    char *start = g->s + g->used - a->n;
    if (!vs_tp_copy(vm, g->s + g->used, b->s, b->n) || (g->mark && !mark_bytes(vm, g->mark + g->used, b)))
        return NULL;
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

bool vs_tp_str_order(struct vs_tp_vm *vm, const struct vs_tp_str *a, const struct vs_tp_str *b, int *ret)
{
    size_t n = a->n < b->n ? a->n : b->n, block = 256;
    *ret = 0;
    for (size_t at = 0, k; !*ret && at < n && a->s != b->s; at += k, block *= block < 1 << 20 ? 2 : 1) {
        k = n - at < block ? n - at : block;
        if (!vs_tp_work(vm, k))
            return false;
        *ret = memcmp(a->s + at, b->s + at, k);
    }
    *ret = *ret ? *ret : (a->n > b->n) - (a->n < b->n);
    return true;
}

size_t vs_tp_str_offset(struct vs_tp_vm *vm, const struct vs_tp_str *s, size_t chars)
{
    if (s->n == s->n_chars || chars >= s->n_chars)
        return chars >= s->n_chars ? s->n : chars;
    size_t at = 0;
    while (chars-- && vs_tp_work(vm, 4)) {
        at++;
        while (at < s->n && ((unsigned char)s->s[at] & 0xc0) == 0x80)
            at++;
    }
    return at;
}

size_t vs_tp_str_chars(struct vs_tp_vm *vm, const struct vs_tp_str *s, size_t from, size_t to)
{
    size_t chars = 0;
    for (size_t k; from < to; from += k) {
        k = to - from < 1 << 18 ? to - from : 1 << 18;
        if (!vs_tp_work(vm, k))
            break;
        chars += vs_tp_count_chars(s->s + from, k);
    }
    return chars;
}

bool vs_tp_walk(struct vs_tp_walk *w)
{
    w->at += w->n;
    w->n = 0;
    if (w->at >= w->to)
        return false;
    if (w->at >= w->paid) {
        size_t k = w->to - w->at < 4096 ? w->to - w->at : 4096;
        if (!vs_tp_work(w->vm, 4 * k))
            return false;
        w->paid = w->at + k;
    }
    w->c = vs_tp_str_char(w->s, w->at, &w->n);
    return true;
}

uint32_t vs_tp_str_char(const struct vs_tp_str *s, size_t at, size_t *ret_n)
{
    uint32_t c = 0;
    size_t n = vs_utf8_decode(s->s + at, s->n - at, &c);
    *ret_n = n ? n : 1;
    return c;
}

enum { FIRST_WINDOW = 256, LARGEST_WINDOW = 1 << 16, PREFIX = 1 << 12 };

static bool find_first(struct vs_tp_vm *vm, const struct vs_tp_str *s, size_t from, size_t to, const struct vs_tp_str *needle,
                       size_t *ret)
{
    size_t window = FIRST_WINDOW, prefix = needle->n < PREFIX ? needle->n : PREFIX;
    for (size_t at = from; to - at >= needle->n;) {
        size_t span = to - at - prefix < window ? to - at : window + prefix;
        if (!vs_tp_work(vm, span))
            return false;
        const char *hit = memmem(s->s + at, span, needle->s, prefix);
        if (!hit) {                     /* on, with the bytes in which a hit may have begun */
            at += span - prefix + 1;
            window *= window < LARGEST_WINDOW ? 2 : 1;
            if (at > to)
                break;
            continue;
        }
        at = (size_t)(hit - s->s);
        bool same;
        if (to - at < needle->n)
            break;
        if (!vs_tp_same(vm, hit + prefix, needle->s + prefix, needle->n - prefix, &same))
            return false;
        if (same) {
            *ret = at;
            break;
        }
        at++;
    }
    return true;
}

static bool find_last(struct vs_tp_vm *vm, const struct vs_tp_str *s, size_t from, size_t to, const struct vs_tp_str *needle,
                      size_t *ret)
{
    size_t window = FIRST_WINDOW;
    for (size_t end = to - needle->n + 1; end > from;) {    /* it begins before end */
        size_t low = end - from < window ? from : end - window;
        if (!vs_tp_work(vm, end - low))
            return false;
        const char *hit = memrchr(s->s + low, needle->s[0], end - low);
        if (!hit) {
            end = low;
            window *= window < LARGEST_WINDOW ? 2 : 1;
            continue;
        }
        bool same;
        window = FIRST_WINDOW;
        end = (size_t)(hit - s->s);
        if (!vs_tp_same(vm, hit, needle->s, needle->n, &same))
            return false;
        if (same) {
            *ret = end;
            break;
        }
    }
    return true;
}

bool vs_tp_str_find(struct vs_tp_vm *vm, const struct vs_tp_str *s, size_t from, size_t to,
                    const struct vs_tp_str *needle, bool last, size_t *ret)
{
    *ret = SIZE_MAX;
    if (from > to || needle->n > to - from)
        return true;
    if (!needle->n)
        *ret = last ? to : from;
    else if (!(last ? find_last : find_first)(vm, s, from, to, needle, ret))
        return false;
    return vm->status == VS_OK;
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
static bool final_sigma(struct vs_tp_vm *vm, const struct vs_tp_str *s, size_t at)
{
    bool before = false;
    for (size_t i = at; i > 0 && vs_tp_work(vm, 4);) {
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
    for (size_t i = at + 2, n; i < s->n && vs_tp_work(vm, 4); i += n) {
        unsigned flags = vs_unicode(vs_tp_str_char(s, i, &n))->flags;
        if (!(flags & VS_UNICODE_IGNORABLE))
            return !(flags & VS_UNICODE_CASED);
    }
    return true;
}

bool vs_tp_put_cased(struct vs_tp_builder *b, const struct vs_tp_str *s, size_t from, size_t to, enum vs_tp_style style)
{
    bool in_word = false;
    for (struct vs_tp_walk w = vs_tp_over(b->vm, s, from, to); vs_tp_walk(&w);) {
        uint32_t c = w.c, mapped[3];
        size_t at = w.at;
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
            mapped[0] = final_sigma(b->vm, s, at) ? 0x3c2 : 0x3c3;
        for (int k = 0; k < count; k++)
            if (!vs_tp_put_char(b, mapped[k], vs_tp_mark(s, at)))
                return false;
    }
    return !b->failed && b->vm->status == VS_OK;
}

/* ---- white space, lines, replacing -------------------------------------------------------------------------- */

bool vs_tp_str_isspace_at(struct vs_tp_vm *vm, const struct vs_tp_str *s, size_t at, size_t *ret_n)
{
    *ret_n = 1;
    return (!vm || vs_tp_work(vm, 4)) && vs_unicode(vs_tp_str_char(s, at, ret_n))->flags & VS_UNICODE_SPACE;
}

static bool stripped(struct vs_tp_vm *vm, const struct vs_tp_str *s, size_t at, size_t *n, const struct vs_tp_str *chars)
{
    if (!chars)
        return vs_tp_str_isspace_at(vm, s, at, n);
    vs_tp_str_char(s, at, n);
    for (struct vs_tp_walk w = vs_tp_over(vm, chars, 0, chars->n); vs_tp_walk(&w);)
        if (w.n == *n && memcmp(chars->s + w.at, s->s + at, w.n) == 0)
            return true;
    return false;
}

struct vs_tp_str *vs_tp_str_strip(struct vs_tp_vm *vm, struct vs_tp_str *s, const struct vs_tp_str *chars, bool left, bool right)
{
    size_t from = 0, to = s->n, n;
    while (left && from < to && stripped(vm, s, from, &n, chars))
        from += n;
    while (right && to > from) {
        size_t at = to - 1;
        while (at > from && ((unsigned char)s->s[at] & 0xc0) == 0x80)
            at--;
        if (!stripped(vm, s, at, &n, chars))
            break;
        to = at;
    }
    return vm->status == VS_OK ? vs_tp_str_bytes(vm, s, from, to) : NULL;
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
    return vs_tp_built_like(&b, s, ret);
}

bool vs_tp_str_cased(struct vs_tp_vm *vm, const struct vs_tp_str *s, enum vs_tp_style style, struct vs_tp_value *ret)
{
    struct vs_tp_builder b;
    vs_tp_build(&b, vm);
    return vs_tp_put_cased(&b, s, 0, s->n, style) && vs_tp_built_like(&b, s, ret);
}

bool vs_tp_str_is_cased(struct vs_tp_vm *vm, const struct vs_tp_str *s, unsigned flag, struct vs_tp_value *ret)
{
    bool any = false, other = false;
    for (struct vs_tp_walk w = vs_tp_over(vm, s, 0, s->n); !other && vs_tp_walk(&w);) {
        unsigned flags = vs_unicode(w.c)->flags;
        any = any || (flags & flag);
        other = flags & VS_UNICODE_CASED & ~flag;
    }
    *ret = vs_tp_bool(any && !other);
    return vm->status == VS_OK;
}

bool vs_tp_str_justify(struct vs_tp_vm *vm, struct vs_tp_str *s, int64_t width, const struct vs_tp_str *fill,
                       enum vs_tp_side side, struct vs_tp_value *ret)
{
    static const struct vs_tp_str space = { .s = " ", .n = 1, .n_chars = 1, .trusted = true };
    struct vs_tp_builder b;
    int64_t n = (int64_t)s->n_chars, missing = width > n ? width - n : 0, left = side == VS_TP_SIDE_LEFT ? 0 : missing;
    fill = fill ? fill : &space;
    if (fill->n_chars != 1)
        return vs_tp_fail(vm, VS_E_INVALID, "the fill character must be exactly one character long");
    if (!missing)
        return vs_tp_give_str(s, ret);
    if (side == VS_TP_SIDE_MIDDLE)
        left = missing / 2 + (missing & width & 1);
    vs_tp_build(&b, vm);
    if (!vs_tp_reserve(&b, fill->n, missing))
        return false;
    for (int64_t i = 0; i < missing; i++)
        if ((i == left && !vs_tp_put_str(&b, s)) || !vs_tp_put_str(&b, fill))
            return false;
    return (left < missing || vs_tp_put_str(&b, s)) && vs_tp_built_like(&b, s, ret);
}

bool vs_tp_str_join(struct vs_tp_vm *vm, const struct vs_tp_str *glue, struct vs_tp_iter *it, bool strict,
                    struct vs_tp_value *ret)
{
    struct vs_tp_builder b;
    struct vs_tp_value v;
    struct vs_tp_str *s;
    bool markup = strict && glue->markup;
    int more;
    vs_tp_build(&b, vm);
    for (size_t i = 0; (more = vs_tp_iter_next(vm, it, &v)) > 0; i++) {
        if (strict && v.kind != VS_TP_STR && !markup)
            return vs_tp_fail(vm, VS_E_INVALID, "sequence item %zu: expected str instance, %s found", i, vs_tp_type_name(v));
        if (!vs_tp_str_of(vm, v, &s) || (markup && !vs_tp_str_escape(vm, s, &s)) || (i && glue && !vs_tp_put_str(&b, glue)) ||
            !vs_tp_put_str(&b, s))
            return false;
    }
    return more == 0 && (markup ? vs_tp_built_like(&b, glue, ret) : vs_tp_built_value(&b, ret));
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
    struct vs_tp_walk w = vs_tp_over(vm, s, 0, s->n);
    for (size_t from = 0; from < s->n;) {
        size_t end = s->n, next = s->n;
        while (vs_tp_walk(&w)) {
            if (is_line_end(w.c)) {
                end = w.at;
                next = w.at + w.n;
                if (w.c == '\r' && next < s->n && s->s[next] == '\n' && vs_tp_walk(&w))
                    next++;
                break;
            }
        }
        struct vs_tp_str *line = vs_tp_str_bytes(vm, s, from, keep_ends ? next : end);
        if (!line || !vs_tp_list_add(vm, *ret, vs_tp_of_str(line)) || !vs_tp_step(vm, 1))
            return false;
        from = next;
    }
    return vm->status == VS_OK;
}
