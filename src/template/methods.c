/* template/methods.c - methods and attributes of strings, dicts, lists, loops and the rest, as tables.
 *
 * What would change a list or dict is undefined, as in jinja2's immutable sandbox; so is what begins with "_". */
#include "template/internal.h"
#include "unicode/unicode.h"

#include <string.h>

/* ---- strings ------------------------------------------------------------------------------------------------ */

VS_TP_BUILTIN(str_case)
{
    return vs_tp_str_cased(vm, in->self.u.str, (enum vs_tp_style)in->me->variant, in->ret);
}

/* variant: 1 left, 2 right */
VS_TP_BUILTIN(str_strip)
{
    struct vs_tp_str *chars = NULL;
    if (vs_tp_given(in->at[0]) && !vs_tp_need_str(vm, in->at[0], &chars))
        return false;
    return vs_tp_give_str(vs_tp_str_strip(vm, in->self.u.str, chars, in->me->variant & 1, in->me->variant & 2), in->ret);
}

static bool add_part(struct vs_tp_vm *vm, struct vs_tp_list *l, struct vs_tp_str *s, size_t from, size_t to)
{
    struct vs_tp_str *part = vs_tp_str_bytes(vm, s, from, to);
    return part && vs_tp_step(vm, 1) && vs_tp_list_add(vm, l, vs_tp_of_str(part));
}

static bool split_words(struct vs_tp_vm *vm, struct vs_tp_str *s, int64_t most, bool from_right, struct vs_tp_list *l)
{
    size_t n, from = 0, to = s->n;
    for (;;) {
        while (!from_right && from < to && vs_tp_str_isspace_at(vm, s, from, &n))
            from += n;
        while (from_right && to > from) {
            size_t at = to - 1;
            while (((unsigned char)s->s[at] & 0xc0) == 0x80)
                at--;
            if (!vs_tp_str_isspace_at(vm, s, at, &n))
                break;
            to = at;
        }
        if (from >= to || vm->status != VS_OK)
            return vm->status == VS_OK;
        size_t cut = from_right ? to : from;
        if (most-- == 0) {
            struct vs_tp_str *rest = vs_tp_str_bytes(vm, s, from, to);
            return rest && vs_tp_list_add(vm, l, vs_tp_of_str(rest));
        }
        if (!from_right) {
            for (; cut < to && !vs_tp_str_isspace_at(vm, s, cut, &n); cut += n)
                ;
            if (!add_part(vm, l, s, from, cut))
                return false;
            from = cut;
        } else {
            while (cut > from) {
                size_t at = cut - 1;
                while (((unsigned char)s->s[at] & 0xc0) == 0x80)
                    at--;
                if (vs_tp_str_isspace_at(vm, s, at, &n))
                    break;
                cut = at;
            }
            if (!add_part(vm, l, s, cut, to))
                return false;
            to = cut;
        }
    }
}

static bool split_at(struct vs_tp_vm *vm, struct vs_tp_str *s, struct vs_tp_str *sep, int64_t most, bool from_right,
                     struct vs_tp_list *l)
{
    size_t from = 0, to = s->n, hit;
    for (; most != 0; most--) {
        if (!vs_tp_str_find(vm, s, from, to, sep, from_right, &hit))
            return false;
        if (hit == SIZE_MAX)
            break;
        if (!(from_right ? add_part(vm, l, s, hit + sep->n, to) : add_part(vm, l, s, from, hit)))
            return false;
        if (from_right)
            to = hit;
        else
            from = hit + sep->n;
    }
    return add_part(vm, l, s, from, to);
}

VS_TP_BUILTIN(str_split)
{
    struct vs_tp_list *l = vs_tp_list_new(vm, 0);
    struct vs_tp_str *sep = NULL;
    int64_t most;
    if (!l || (vs_tp_given(in->at[0]) && !vs_tp_need_str(vm, in->at[0], &sep)) || !vs_tp_need_int(vm, in->at[1], -1, &most))
        return false;
    if (sep && !sep->n)
        return vs_tp_fail(vm, VS_E_INVALID, "empty separator");
    bool good = sep ? split_at(vm, in->self.u.str, sep, most, in->me->variant, l)
                    : split_words(vm, in->self.u.str, most, in->me->variant, l);
    if (good && in->me->variant)
        vs_tp_list_reverse(l);
    *in->ret = vs_tp_of_list(l);
    return good;
}

VS_TP_BUILTIN(str_splitlines)
{
    struct vs_tp_list *l;
    if (!vs_tp_str_lines(vm, in->self.u.str, vs_tp_truth(in->at[0]), &l))
        return false;
    *in->ret = vs_tp_of_list(l);
    return true;
}

VS_TP_BUILTIN(str_partition)
{
    struct vs_tp_str *s = in->self.u.str, *sep;
    struct vs_tp_list *l = vs_tp_list_new(vm, 3);
    size_t hit;
    if (!l || !vs_tp_need_str(vm, in->at[0], &sep))
        return false;
    if (!sep->n)
        return vs_tp_fail(vm, VS_E_INVALID, "empty separator");
    if (!vs_tp_str_find(vm, s, 0, s->n, sep, in->me->variant, &hit))
        return false;
    *in->ret = vs_tp_of_tuple(l);
    if (hit != SIZE_MAX)
        return add_part(vm, l, s, 0, hit) && add_part(vm, l, s, hit, hit + sep->n) && add_part(vm, l, s, hit + sep->n, s->n);
    if (in->me->variant)
        return add_part(vm, l, s, 0, 0) && add_part(vm, l, s, 0, 0) && add_part(vm, l, s, 0, s->n);
    return add_part(vm, l, s, 0, s->n) && add_part(vm, l, s, 0, 0) && add_part(vm, l, s, 0, 0);
}

/* start and end as Python counts them: from the end of the n when negative, end at most n. */
static void clamp(int64_t n, int64_t *start, int64_t *end)
{
    *start = *start >= 0 ? *start : *start < -n ? 0 : *start + n;
    *end = *end > n ? n : *end >= 0 ? *end : *end < -n ? 0 : *end + n;
}

/* start and end of a search, in characters, as bytes. false in *ret_possible: no place at all. */
static bool window(struct vs_tp_vm *vm, const struct vs_tp_str *s, struct vs_tp_value a, struct vs_tp_value b, size_t *from,
                   size_t *to, bool *ret_possible)
{
    int64_t n = (int64_t)s->n_chars, start = 0, end = n;
    if ((vs_tp_given(a) && !vs_tp_need_int(vm, a, 0, &start)) || (vs_tp_given(b) && !vs_tp_need_int(vm, b, n, &end)))
        return false;
    clamp(n, &start, &end);
    *ret_possible = start <= end;
    *from = *ret_possible ? vs_tp_str_offset(vm, s, (size_t)start) : 0;
    *to = *ret_possible ? vs_tp_str_offset(vm, s, (size_t)end) : 0;
    return vm->status == VS_OK;
}

/* variant: 1 from the right, 2 an error when not found */
VS_TP_BUILTIN(str_find)
{
    struct vs_tp_str *s = in->self.u.str, *what;
    size_t from, to, hit = SIZE_MAX;
    bool possible;
    if (!vs_tp_need_str(vm, in->at[0], &what) || !window(vm, s, in->at[1], in->at[2], &from, &to, &possible) ||
        (possible && !vs_tp_str_find(vm, s, from, to, what, in->me->variant & 1, &hit)))
        return false;
    if (hit == SIZE_MAX && (in->me->variant & 2))
        return vs_tp_fail(vm, VS_E_INVALID, "substring not found");
    *in->ret = vs_tp_int(hit == SIZE_MAX ? -1 : (int64_t)vs_tp_str_chars(vm, s, 0, hit));
    return vm->status == VS_OK;
}

VS_TP_BUILTIN(str_count)
{
    struct vs_tp_str *s = in->self.u.str, *what;
    size_t from, to, hit;
    bool possible;
    int64_t count = 0;
    if (!vs_tp_need_str(vm, in->at[0], &what) || !window(vm, s, in->at[1], in->at[2], &from, &to, &possible))
        return false;
    if (possible && !what->n) {
        count = (int64_t)vs_tp_str_chars(vm, s, from, to) + 1;
    } else if (possible) {
        for (;; from = hit + what->n, count++) {
            if (!vs_tp_step(vm, 1) || !vs_tp_str_find(vm, s, from, to, what, false, &hit))
                return false;
            if (hit == SIZE_MAX)
                break;
        }
    }
    *in->ret = vs_tp_int(count);
    return true;
}

/* variant: 1 at the end */
VS_TP_BUILTIN(str_affix)
{
    struct vs_tp_str *s = in->self.u.str;
    size_t from, to;
    bool possible, hit = false;
    if (!window(vm, s, in->at[1], in->at[2], &from, &to, &possible))
        return false;
    struct vs_tp_list one = { (struct vs_tp_value[]){ in->at[0] }, 1, 1 };
    struct vs_tp_list *l = in->at[0].kind == VS_TP_TUPLE ? in->at[0].u.list : &one;
    for (size_t i = 0; i < l->n && !hit; i++) {
        struct vs_tp_str *what;
        if (!vs_tp_need_str(vm, l->item[i], &what) || !vs_tp_step(vm, 1))
            return false;
        if (possible && what->n <= to - from
            && !vs_tp_same(vm, in->me->variant ? s->s + to - what->n : s->s + from, what->s, what->n, &hit))
            return false;
    }
    *in->ret = vs_tp_bool(hit);
    return true;
}

VS_TP_BUILTIN(str_remove_affix)
{
    struct vs_tp_str *s = in->self.u.str, *what;
    if (!vs_tp_need_str(vm, in->at[0], &what))
        return false;
    bool same = false;
    if (what->n && what->n <= s->n && !vs_tp_same(vm, in->me->variant ? s->s + s->n - what->n : s->s, what->s, what->n, &same))
        return false;
    if (!same)
        return vs_tp_give_str(s, in->ret);
    size_t from = in->me->variant ? 0 : what->n;
    return vs_tp_give_str(vs_tp_str_bytes(vm, s, from, from + s->n - what->n), in->ret);
}

VS_TP_BUILTIN(str_replace)
{
    struct vs_tp_str *old, *with;
    int64_t count;
    if (!vs_tp_need_str(vm, in->at[0], &old) || !vs_tp_need_str(vm, in->at[1], &with) ||
        !vs_tp_need_int(vm, in->at[2], -1, &count) || (in->self.u.str->markup && !vs_tp_str_escape(vm, with, &with)))
        return false;
    return vs_tp_str_replace(vm, in->self.u.str, old, with, count, in->ret);
}

VS_TP_BUILTIN(str_join)
{
    struct vs_tp_iter *it;
    return vs_tp_iter(vm, in->at[0], &it) && vs_tp_str_join(vm, in->self.u.str, it, true, in->ret);
}

/* Every character has one of the flags of `variant`, and there is one. */
VS_TP_BUILTIN(str_all)
{
    struct vs_tp_str *s = in->self.u.str;
    bool yes = s->n > 0;
    for (struct vs_tp_walk w = vs_tp_over(vm, s, 0, s->n); yes && vs_tp_walk(&w);)
        yes = vs_unicode(w.c)->flags & (unsigned)in->me->variant;
    *in->ret = vs_tp_bool(yes);
    return vm->status == VS_OK;
}

VS_TP_BUILTIN(str_cased)
{
    return vs_tp_str_is_cased(vm, in->self.u.str, (unsigned)in->me->variant, in->ret);
}

VS_TP_BUILTIN(str_istitle)
{
    struct vs_tp_str *s = in->self.u.str;
    bool any = false, in_word = false, good = true;
    for (struct vs_tp_walk w = vs_tp_over(vm, s, 0, s->n); good && vs_tp_walk(&w);) {
        unsigned flags = vs_unicode(w.c)->flags;
        if (flags & (VS_UNICODE_UPPER | VS_UNICODE_TITLE))
            good = !in_word;
        else if (flags & VS_UNICODE_LOWER)
            good = in_word;
        in_word = flags & VS_UNICODE_CASED;
        any = any || in_word;
    }
    *in->ret = vs_tp_bool(good && any);
    return vm->status == VS_OK;
}

VS_TP_BUILTIN(str_isascii)
{
    *in->ret = vs_tp_bool(in->self.u.str->n == in->self.u.str->n_chars);
    return true;
}

VS_TP_BUILTIN(str_justify)
{
    struct vs_tp_str *fill = NULL;
    int64_t width;
    if (!vs_tp_need_int(vm, in->at[0], 0, &width) ||
        (in->at[1].kind != VS_TP_MISSING && !vs_tp_need_str(vm, in->at[1], &fill)))
        return false;
    return vs_tp_str_justify(vm, in->self.u.str, width, fill, (enum vs_tp_side)in->me->variant, in->ret);
}

VS_TP_BUILTIN(str_zfill)
{
    struct vs_tp_str *s = in->self.u.str;
    int64_t width;
    struct vs_tp_builder b;
    vs_tp_build(&b, vm);
    if (!vs_tp_need_int(vm, in->at[0], 0, &width))
        return false;
    size_t sign = s->n && (s->s[0] == '-' || s->s[0] == '+');
    return vs_tp_put_part(&b, s, 0, sign) && vs_tp_put_fill(&b, "0", 1, width - (int64_t)s->n_chars) &&
           vs_tp_put_part(&b, s, sign, s->n - sign) && vs_tp_built_like(&b, s, in->ret);
}

VS_TP_BUILTIN(str_expandtabs)
{
    struct vs_tp_str *s = in->self.u.str;
    int64_t size, column = 0;
    struct vs_tp_builder b;
    vs_tp_build(&b, vm);
    if (!vs_tp_need_int(vm, in->at[0], 8, &size))
        return false;
    for (struct vs_tp_walk w = vs_tp_over(vm, s, 0, s->n); vs_tp_walk(&w);) {
        uint32_t c = w.c;
        if (c == '\t') {
            int64_t fill = size > 0 ? size - column % size : 0;
            column += fill;
            if (!vs_tp_put_fill(&b, " ", 1, fill))
                return false;
            continue;
        }
        column = c == '\n' || c == '\r' ? 0 : column + 1;
        if (!vs_tp_put_part(&b, s, w.at, w.n))
            return false;
    }
    return vs_tp_built_like(&b, s, in->ret);
}

VS_TP_BUILTIN(str_format)
{
    struct vs_tp_list l = { in->args->at, in->args->n, in->args->n };
    struct vs_tp_dict *d = vs_tp_dict_new(vm);
    if (!d)
        return false;
    if (in->me->variant && (in->args->n != 1 || in->args->n_named))
        return vs_tp_fail(vm, VS_E_INVALID, "format_map() takes exactly one argument");
    if (in->me->variant) {
        l.n = 0;
        if (!vs_tp_dict_update(vm, d, in->args->at[0]))
            return false;
    }
    for (size_t i = 0; i < in->args->n_named; i++)
        if (!vs_tp_dict_set(vm, d, in->args->named[i].key, in->args->named[i].value))
            return false;
    return vs_tp_str_format(vm, in->self.u.str, &l, d, in->ret);
}

static const struct vs_tp_callable str_methods[] = {
    { "capitalize", str_case, "", VS_TP_STYLE_CAPITALIZE },
    { "casefold", NULL, "", 0 },
    { "center", str_justify, "/a|b", VS_TP_SIDE_MIDDLE },
    { "count", str_count, "/a|b c", 0 },
    { "encode", NULL, "*", 0 },
    { "endswith", str_affix, "/a|b c", 1 },
    { "expandtabs", str_expandtabs, "|tabsize", 0 },
    { "find", str_find, "/a|b c", 0 },
    { "format", str_format, "*", 0 },
    { "format_map", str_format, "*", 1 },
    { "index", str_find, "/a|b c", 2 },
    { "isalnum", str_all, "", VS_UNICODE_ALNUM },
    { "isalpha", str_all, "", VS_UNICODE_ALPHA },
    { "isascii", str_isascii, "", 0 },
    { "isdecimal", str_all, "", VS_UNICODE_DECIMAL },
    { "isdigit", str_all, "", VS_UNICODE_DIGIT },
    { "isidentifier", NULL, "", 0 },
    { "islower", str_cased, "", VS_UNICODE_LOWER },
    { "isnumeric", str_all, "", VS_UNICODE_NUMERIC },
    { "isprintable", NULL, "", 0 },
    { "isspace", str_all, "", VS_UNICODE_SPACE },
    { "istitle", str_istitle, "", 0 },
    { "isupper", str_cased, "", VS_UNICODE_UPPER },
    { "join", str_join, "/a", 0 },
    { "ljust", str_justify, "/a|b", VS_TP_SIDE_LEFT },
    { "lower", str_case, "", VS_TP_STYLE_LOWER },
    { "lstrip", str_strip, "/|a", 1 },
    { "maketrans", NULL, "*", 0 },
    { "partition", str_partition, "/a", 0 },
    { "removeprefix", str_remove_affix, "/a", 0 },
    { "removesuffix", str_remove_affix, "/a", 1 },
    { "replace", str_replace, "/a b|c", 0 },
    { "rfind", str_find, "/a|b c", 1 },
    { "rindex", str_find, "/a|b c", 3 },
    { "rjust", str_justify, "/a|b", VS_TP_SIDE_RIGHT },
    { "rpartition", str_partition, "/a", 1 },
    { "rsplit", str_split, "|sep maxsplit", 1 },
    { "rstrip", str_strip, "/|a", 2 },
    { "split", str_split, "|sep maxsplit", 0 },
    { "splitlines", str_splitlines, "|keepends", 0 },
    { "startswith", str_affix, "/a|b c", 0 },
    { "strip", str_strip, "/|a", 3 },
    { "swapcase", str_case, "", VS_TP_STYLE_SWAP },
    { "title", str_case, "", VS_TP_STYLE_TITLE },
    { "translate", NULL, "*", 0 },
    { "upper", str_case, "", VS_TP_STYLE_UPPER },
    { "zfill", str_zfill, "/a", 0 },
    { 0 }
};

/* ---- dicts, lists ------------------------------------------------------------------------------------------- */

VS_TP_BUILTIN(dict_view)
{
    struct vs_tp_view *view = vs_tp_new(vm, sizeof *view);
    if (!view)
        return false;
    view->dict = in->self.u.dict;
    view->of = (enum vs_tp_view_of)in->me->variant;
    *in->ret = VS_TP_SCALAR(VS_TP_VIEW, view, view);
    return true;
}

VS_TP_BUILTIN(dict_get)
{
    struct vs_tp_pair *p;
    if (!vs_tp_dict_find(vm, in->self.u.dict, in->at[0], &p))
        return false;
    *in->ret = p ? p->value : in->at[1].kind == VS_TP_MISSING ? vs_tp_none() : in->at[1];
    return true;
}

VS_TP_BUILTIN(dict_copy)
{
    struct vs_tp_dict *d = vs_tp_dict_new(vm);
    if (!d || !vs_tp_dict_update(vm, d, in->self))
        return false;
    *in->ret = VS_TP_SCALAR(VS_TP_DICT, dict, d);
    return true;
}

VS_TP_BUILTIN(list_copy)
{
    struct vs_tp_list *l;
    if (!vs_tp_list_of(vm, in->self, &l))
        return false;
    *in->ret = vs_tp_of_list(l);
    return true;
}

VS_TP_BUILTIN(list_index)
{
    struct vs_tp_list *l = in->self.u.list;
    int64_t n = (int64_t)l->n, start, end;
    if (!vs_tp_need_int(vm, in->at[1], 0, &start) || !vs_tp_need_int(vm, in->at[2], n, &end))
        return false;
    clamp(n, &start, &end);
    for (int64_t i = start; i < end; i++) {
        bool same;
        if (!vs_tp_equal(vm, l->item[i], in->at[0], &same))
            return false;
        if (same) {
            *in->ret = vs_tp_int(i);
            return true;
        }
    }
    return vs_tp_fail(vm, VS_E_INVALID, "the value is not in the list");
}

VS_TP_BUILTIN(list_count)
{
    int64_t count = 0;
    for (size_t i = 0; i < in->self.u.list->n; i++) {
        bool same;
        if (!vs_tp_equal(vm, in->self.u.list->item[i], in->at[0], &same))
            return false;
        count += same;
    }
    *in->ret = vs_tp_int(count);
    return true;
}

/* "-": exists in Python, forbidden by the sandbox: undefined */
static const struct vs_tp_callable dict_methods[] = {
    { "clear", NULL, "-", 0 },
    { "copy", dict_copy, "", 0 },
    { "fromkeys", NULL, "*", 0 },
    { "get", dict_get, "/a|b", 0 },
    { "items", dict_view, "", VS_TP_ITEMS },
    { "keys", dict_view, "", VS_TP_KEYS },
    { "pop", NULL, "-", 0 },
    { "popitem", NULL, "-", 0 },
    { "setdefault", NULL, "-", 0 },
    { "update", NULL, "-", 0 },
    { "values", dict_view, "", VS_TP_VALUES },
    { 0 }
};
static const struct vs_tp_callable list_methods[] = {
    { "append", NULL, "-", 0 },  { "clear", NULL, "-", 0 },   { "copy", list_copy, "", 0 },
    { "count", list_count, "/a", 0 }, { "extend", NULL, "-", 0 },  { "index", list_index, "/a|b c", 0 },
    { "insert", NULL, "-", 0 },  { "pop", NULL, "-", 0 },     { "remove", NULL, "-", 0 },
    { "reverse", NULL, "-", 0 }, { "sort", NULL, "-", 0 },    { 0 }
};
static const struct vs_tp_callable tuple_methods[] = {
    { "count", list_count, "/a", 0 }, { "index", list_index, "/a|b c", 0 }, { 0 }
};

/* ---- loops, cyclers ----------------------------------------------------------------------------------------- */

VS_TP_BUILTIN(loop_cycle)
{
    if (!in->args->n || in->args->n_named)
        return vs_tp_fail(vm, VS_E_INVALID, "no items for cycling given");
    *in->ret = in->args->at[in->self.u.loop->index0 % in->args->n];
    return true;
}

VS_TP_BUILTIN(loop_changed)
{
    struct vs_tp_loop *loop = in->self.u.loop;
    struct vs_tp_list *now = vs_tp_list_new(vm, in->args->n);
    for (size_t i = 0; now && i < in->args->n; i++)
        if (!vs_tp_list_add(vm, now, in->args->at[i]))
            return false;
    if (!now)
        return false;
    bool same = false;
    if (loop->has_changed && !vs_tp_equal(vm, loop->changed, vs_tp_of_tuple(now), &same))
        return false;
    loop->changed = vs_tp_of_tuple(now);
    loop->has_changed = true;
    *in->ret = vs_tp_bool(!same);
    return true;
}

VS_TP_BUILTIN(cycler_next)
{
    struct vs_tp_cycler *c = in->self.u.cycler;
    *in->ret = c->items->item[c->at];
    c->at = (c->at + 1) % c->items->n;
    return true;
}

VS_TP_BUILTIN(cycler_reset)
{
    in->self.u.cycler->at = 0;
    *in->ret = vs_tp_none();
    return true;
}

static const struct vs_tp_callable loop_methods[] = {
    { "cycle", loop_cycle, "*", 0 }, { "changed", loop_changed, "*", 0 }, { 0 }
};
static const struct vs_tp_callable cycler_methods[] = {
    { "next", cycler_next, "", 0 }, { "reset", cycler_reset, "", 0 }, { 0 }
};

/* Looks one item ahead. 1: there is one. */
static int peek(struct vs_tp_vm *vm, struct vs_tp_loop *loop)
{
    if (loop->has_after)
        return 1;
    if (loop->ended)
        return 0;
    int more = vs_tp_iter_next(vm, loop->it, &loop->after);
    loop->has_after = more > 0;
    loop->ended = more == 0;
    return more;
}

/* A loop over something without a length reads all of it to learn one. */
static bool loop_length(struct vs_tp_vm *vm, struct vs_tp_loop *loop, int64_t *ret)
{
    if (!loop->has_length && vs_tp_has_length(loop->iterable) && loop->iterable.kind != VS_TP_LOOP) {
        if (!vs_tp_length(vm, loop->iterable, &loop->length))
            return false;
        loop->has_length = true;
    } else if (!loop->has_length) {
        struct vs_tp_list *rest;
        struct vs_tp_value v = VS_TP_SCALAR(VS_TP_ITER, iter, loop->it);
        if (loop->ended)
            rest = vs_tp_list_new(vm, 0);
        else if (!vs_tp_list_of(vm, v, &rest))
            return false;
        if (!rest || !vs_tp_iter(vm, vs_tp_of_list(rest), &loop->it))
            return false;
        loop->length = rest->n + loop->index0 + 1 + loop->has_after;
        loop->has_length = true;
    }
    *ret = (int64_t)loop->length;
    return true;
}

enum loop_attr { INDEX, INDEX0, FIRST, LAST, LENGTH, REVINDEX, REVINDEX0, PREVITEM, NEXTITEM, DEPTH, DEPTH0 };

static int loop_attribute(struct vs_tp_vm *vm, struct vs_tp_loop *loop, const struct vs_tp_str *name, struct vs_tp_value *ret)
{
    static const char *const names[] = { "index", "index0", "first", "last", "length", "revindex", "revindex0", "previtem",
                                         "nextitem", "depth", "depth0" };
    int which = 0, n = sizeof names / sizeof *names, more;
    while (which < n && !vs_tp_str_is(name, names[which]))
        which++;
    int64_t index0 = (int64_t)loop->index0, length;
    switch (which) {
    case INDEX: *ret = vs_tp_int(index0 + 1); return 1;
    case INDEX0: *ret = vs_tp_int(index0); return 1;
    case FIRST: *ret = vs_tp_bool(index0 == 0); return 1;
    case DEPTH: *ret = vs_tp_int(1); return 1;
    case DEPTH0: *ret = vs_tp_int(0); return 1;
    case LAST: case NEXTITEM:
        more = peek(vm, loop);
        if (more < 0)
            return -1;
        *ret = which == LAST ? vs_tp_bool(!more) : loop->after;
        return which == LAST || more || vs_tp_undefined(vm, NULL, NULL, "there is no next item", ret) ? 1 : -1;
    case LENGTH: case REVINDEX: case REVINDEX0:
        if (!loop_length(vm, loop, &length))
            return -1;
        *ret = vs_tp_int(which == LENGTH ? length : which == REVINDEX ? length - index0 : length - index0 - 1);
        return 1;
    case PREVITEM:
        *ret = loop->before;
        return loop->has_before || vs_tp_undefined(vm, NULL, NULL, "there is no previous item", ret) ? 1 : -1;
    default: return 0;
    }
}

static int plain_attribute(struct vs_tp_vm *vm, struct vs_tp_value v, struct vs_tp_str *name, struct vs_tp_value *ret)
{
    struct vs_tp_pair *p;
    switch (v.kind) {
    case VS_TP_NAMESPACE:
        p = vs_tp_dict_find_name(vm, v.u.dict, name);
        if (p)
            *ret = p->value;
        return vm->status != VS_OK ? -1 : p != NULL;
    case VS_TP_LOOP: return loop_attribute(vm, v.u.loop, name, ret);
    case VS_TP_CYCLER:
        if (vs_tp_str_is(name, "current")) {
            *ret = v.u.cycler->items->item[v.u.cycler->at];
            return 1;
        }
        return 0;
    case VS_TP_TUPLE:                   /* what groupby yields has names */
        if (v.u.list->n == 2 && v.u.list->item[1].kind == VS_TP_LIST &&
            (vs_tp_str_is(name, "grouper") || vs_tp_str_is(name, "list"))) {
            *ret = v.u.list->item[vs_tp_str_is(name, "list")];
            return 1;
        }
        return 0;
    case VS_TP_MACRO:
        if (vs_tp_str_is(name, "name")) {
            *ret = v.u.macro->node->name ? vs_tp_of_str(v.u.macro->node->name) : vs_tp_none();
            return 1;
        }
        return 0;
    default: return 0;
    }
}

int vs_tp_attribute(struct vs_tp_vm *vm, struct vs_tp_value v, struct vs_tp_str *name, struct vs_tp_value *ret)
{
    static const struct vs_tp_callable *const methods[VS_TP_N_KINDS] = {
        [VS_TP_STR] = str_methods, [VS_TP_DICT] = dict_methods, [VS_TP_LIST] = list_methods, [VS_TP_TUPLE] = tuple_methods,
        [VS_TP_LOOP] = loop_methods, [VS_TP_CYCLER] = cycler_methods,
    };
    int found = plain_attribute(vm, v, name, ret);
    if (found)
        return found;
    for (const struct vs_tp_callable *m = methods[v.kind]; m && m->name; m++) {
        if (!vs_tp_str_is(name, m->name))
            continue;
        if (!m->run && *m->params == '-')
            return vs_tp_undefined(vm, NULL, NULL, "the sandbox forbids to change a list or dict", ret) ? 1 : -1;
        struct vs_tp_method *bound = vs_tp_new(vm, sizeof *bound);
        if (!bound)
            return -1;
        bound->callable = m;
        bound->self = v;
        *ret = VS_TP_SCALAR(VS_TP_METHOD, method, bound);
        return 1;
    }
    return 0;
}
