/* template/filters.c - the filters a template may use, as one table. */
#include "template/internal.h"
#include "unicode/unicode.h"

#include <math.h>
#include <string.h>

/* ---- attributes by path ("a.b.0"), as attribute= of many filters -------------------------------------------- */

static bool split_path(struct vs_tp_vm *vm, struct vs_tp_value attr, struct vs_tp_list **ret)
{
    struct vs_tp_list *path = vs_tp_list_new(vm, 0);
    *ret = path;
    if (!path || !vs_tp_given(attr))
        return path != NULL;
    if (attr.kind != VS_TP_STR)
        return vs_tp_list_add(vm, path, attr);
    struct vs_tp_str *s = attr.u.str;
    for (size_t from = 0; from <= s->n;) {
        size_t to = from;
        while (to < s->n && s->s[to] != '.' && vs_tp_work(vm, 4))
            to++;
        struct vs_tp_str *part = vs_tp_str_bytes(vm, s, from, to);
        int64_t i;
        bool too_big;
        if (!part)
            return false;
        bool number = part->n > 0;
        for (size_t k = 0; number && k < part->n; k++)
            number = part->s[k] >= '0' && part->s[k] <= '9';
        number = number && vs_tp_parse_int(part->s, part->n, 10, &i, &too_big);
        if (!vs_tp_list_add(vm, path, number ? vs_tp_int(i) : vs_tp_of_str(part)) || !vs_tp_step(vm, 1))
            return false;
        from = to + 1;
    }
    return true;
}

static bool lower_key(struct vs_tp_vm *vm, struct vs_tp_value *v)
{
    if (v->kind != VS_TP_STR)
        return true;
    struct vs_tp_builder b;
    vs_tp_build(&b, vm);
    return vs_tp_put_cased(&b, v->u.str, 0, v->u.str->n, VS_TP_STYLE_LOWER) && vs_tp_built_value(&b, v);
}

static bool follow(struct vs_tp_vm *vm, const struct vs_tp_list *path, struct vs_tp_value fallback, bool ignore_case,
                   struct vs_tp_value v, struct vs_tp_value *ret)
{
    for (size_t i = 0; path && i < path->n; i++) {
        if (!vs_tp_getitem(vm, v, path->item[i], &v))
            return false;
        if (vs_tp_given(fallback) && v.kind == VS_TP_UNDEFINED)
            v = fallback;
    }
    *ret = v;
    return !ignore_case || lower_key(vm, ret);
}

/* ---- text --------------------------------------------------------------------------------------------------- */

VS_TP_BUILTIN(do_case)
{
    struct vs_tp_str *s;
    return vs_tp_str_of(vm, in->self, &s) && vs_tp_str_cased(vm, s, (enum vs_tp_style)in->me->variant, in->ret);
}

/* jinja2's own idea of words: after white space and - ( { [ <. */
VS_TP_BUILTIN(do_title)
{
    struct vs_tp_str *s;
    struct vs_tp_builder b;
    if (!vs_tp_str_of(vm, in->self, &s))
        return false;
    vs_tp_build(&b, vm);
    bool start = true;
    for (struct vs_tp_walk w = vs_tp_over(vm, s, 0, s->n); vs_tp_walk(&w);) {
        uint32_t c = w.c;
        if ((c < 0x80 && c && strchr("-({[<", (int)c)) || (vs_unicode(c)->flags & VS_UNICODE_SPACE)) {
            start = true;
            if (!vs_tp_put_part(&b, s, w.at, w.n))
                return false;
            continue;
        }
        if (!vs_tp_put_cased(&b, s, w.at, w.at + w.n, start ? VS_TP_STYLE_UPPER : VS_TP_STYLE_LOWER))
            return false;
        start = false;
    }
    return vs_tp_give_str(vs_tp_built(&b), in->ret);
}

VS_TP_BUILTIN(do_trim)
{
    struct vs_tp_str *s, *chars = NULL;
    if (!vs_tp_str_of(vm, in->self, &s) || (vs_tp_given(in->at[0]) && !vs_tp_need_str(vm, in->at[0], &chars)))
        return false;
    return vs_tp_give_str(vs_tp_str_strip(vm, s, chars, true, true), in->ret);
}

VS_TP_BUILTIN(do_string)
{
    struct vs_tp_str *s;
    return vs_tp_str_of(vm, in->self, &s) && vs_tp_give_str(s, in->ret);
}

/* A copy that is HTML, or is not. */
static bool marked(struct vs_tp_vm *vm, const struct vs_tp_str *s, bool markup, struct vs_tp_str **ret)
{
    struct vs_tp_str *copy = vs_tp_new(vm, sizeof *copy);
    if (!copy)
        return false;
    *copy = *s;
    copy->markup = markup;
    *ret = copy;
    return true;
}

static bool plain_text(struct vs_tp_vm *vm, struct vs_tp_value v, struct vs_tp_str **ret)
{
    return vs_tp_str_of(vm, v, ret) && (!(*ret)->markup || marked(vm, *ret, false, ret));
}

VS_TP_BUILTIN(do_safe)
{
    struct vs_tp_str *s;
    return vs_tp_str_of(vm, in->self, &s) && marked(vm, s, true, &s) && vs_tp_give_str(s, in->ret);
}

VS_TP_BUILTIN(do_escape)
{
    struct vs_tp_str *s;
    return (in->me->variant ? plain_text(vm, in->self, &s) : vs_tp_str_of(vm, in->self, &s)) &&
           vs_tp_str_escape(vm, s, &s) && vs_tp_give_str(s, in->ret);
}

VS_TP_BUILTIN(do_replace)
{
    struct vs_tp_str *s, *old, *with;
    int64_t count = -1;
    if (vs_tp_given(in->at[2]) && !vs_tp_need_int(vm, in->at[2], -1, &count))
        return false;
    return plain_text(vm, in->self, &s) && plain_text(vm, in->at[0], &old) && plain_text(vm, in->at[1], &with) &&
           vs_tp_str_replace(vm, s, old, with, count, in->ret);
}

VS_TP_BUILTIN(do_indent)
{
    struct vs_tp_str *s, *by = NULL;
    int64_t width = 4;
    if (!vs_tp_need_str(vm, in->self, &s))
        return false;
    if (in->at[0].kind == VS_TP_STR)
        by = in->at[0].u.str;
    else if (!vs_tp_need_int(vm, in->at[0], 4, &width))
        return false;
    bool first = vs_tp_truth(in->at[1]), blank = vs_tp_truth(in->at[2]);
    struct vs_tp_list *lines;
    struct vs_tp_str newline = { .s = "\n", .n = 1, .n_chars = 1, .trusted = true };
    struct vs_tp_str *whole = vs_tp_str_concat(vm, s, &newline);
    struct vs_tp_builder b;
    vs_tp_build(&b, vm);
    if (!whole || !vs_tp_str_lines(vm, whole, false, &lines))
        return false;
    for (size_t i = 0; i < lines->n; i++) {
        struct vs_tp_str *line = lines->item[i].u.str;
        if (i && !vs_tp_put_cstr(&b, "\n"))
            return false;
        bool put = i ? blank || line->n : first;
        if (put && !(by ? vs_tp_put_str(&b, by) : vs_tp_put_fill(&b, " ", 1, width)))
            return false;
        if (!vs_tp_put_str(&b, line))
            return false;
    }
    return vs_tp_built_like(&b, s, in->ret);
}

VS_TP_BUILTIN(do_center)
{
    struct vs_tp_str *s;
    int64_t width;
    return vs_tp_str_of(vm, in->self, &s) && vs_tp_need_int(vm, in->at[0], 80, &width) &&
           vs_tp_str_justify(vm, s, width, NULL, VS_TP_SIDE_MIDDLE, in->ret);
}

VS_TP_BUILTIN(do_truncate)
{
    struct vs_tp_str *s, *end = NULL;
    int64_t length, leeway = 5;
    size_t n_self;
    if (!vs_tp_need_int(vm, in->at[0], 255, &length) || !vs_tp_length(vm, in->self, &n_self) ||
        (in->at[2].kind != VS_TP_MISSING && !vs_tp_need_str(vm, in->at[2], &end)) ||
        (vs_tp_given(in->at[3]) && !vs_tp_need_int(vm, in->at[3], 5, &leeway)))
        return false;
    if (!end && !(end = vs_tp_str_new(vm, "...", 3, true)))
        return false;
    if (length < (int64_t)end->n_chars || leeway < 0)
        return vs_tp_fail(vm, VS_E_INVALID, "truncate: the length is too small");
    if ((int64_t)n_self <= length || (int64_t)n_self - length <= leeway) {
        *in->ret = in->self;
        return true;
    }
    if (!vs_tp_need_str(vm, in->self, &s))
        return false;
    size_t cut = vs_tp_str_offset(vm, s, (size_t)length - end->n_chars);
    if (!vs_tp_work(vm, cut))
        return false;
    if (!vs_tp_truth(in->at[1])) {
        const char *space = cut ? memrchr(s->s, ' ', cut) : NULL;
        cut = space ? (size_t)(space - s->s) : cut;
    }
    s = vs_tp_str_bytes(vm, s, 0, cut);
    return s && vs_tp_give_str(vs_tp_str_concat(vm, s, end), in->ret);
}

VS_TP_BUILTIN(do_wordcount)
{
    struct vs_tp_str *s;
    if (!vs_tp_str_of(vm, in->self, &s))
        return false;
    int64_t count = 0;
    bool inside = false;
    for (struct vs_tp_walk w = vs_tp_over(vm, s, 0, s->n); vs_tp_walk(&w);) {
        bool word = w.c == '_' || (vs_unicode(w.c)->flags & VS_UNICODE_ALNUM);
        count += word && !inside;
        inside = word;
    }
    *in->ret = vs_tp_int(count);
    return vm->status == VS_OK;
}

VS_TP_BUILTIN(do_format)
{
    struct vs_tp_str *s;
    if (!vs_tp_str_of(vm, in->self, &s))
        return false;
    if (in->args->n && in->args->n_named)
        return vs_tp_fail(vm, VS_E_INVALID, "format: can't handle positional and keyword arguments at the same time");
    if (in->args->n_named) {
        struct vs_tp_dict *d = vs_tp_dict_new(vm);
        for (size_t i = 0; d && i < in->args->n_named; i++)
            if (!vs_tp_dict_set(vm, d, in->args->named[i].key, in->args->named[i].value))
                return false;
        return d && vs_tp_percent(vm, s, VS_TP_SCALAR(VS_TP_DICT, dict, d), in->ret);
    }
    struct vs_tp_list *l = vs_tp_list_new(vm, in->args->n);
    for (size_t i = 0; l && i < in->args->n; i++)
        if (!vs_tp_list_add(vm, l, in->args->at[i]))
            return false;
    return l && vs_tp_percent(vm, s, vs_tp_of_tuple(l), in->ret);
}

VS_TP_BUILTIN(do_tojson)
{
    struct vs_tp_json style = { .ascii = vs_tp_truth(in->at[0]), .sort = vs_tp_truth(in->at[3]) };
    struct vs_tp_value indent = in->at[1], separators = in->at[2];
    int64_t width;
    if (indent.kind == VS_TP_STR) {
        style.indent = indent.u.str;
    } else if (vs_tp_given(indent)) {
        struct vs_tp_builder b;
        vs_tp_build(&b, vm);
        if (!vs_tp_need_int(vm, indent, 0, &width) || !vs_tp_put_fill(&b, " ", 1, width) || !(style.indent = vs_tp_built(&b)))
            return false;
    }
    if (vs_tp_given(separators)) {
        struct vs_tp_list *l;
        if (!vs_tp_list_of(vm, separators, &l))
            return false;
        if (l->n != 2)
            return vs_tp_fail(vm, VS_E_INVALID, "tojson: separators must be a pair of strings");
        if (!vs_tp_need_str(vm, l->item[0], &style.item) || !vs_tp_need_str(vm, l->item[1], &style.key))
            return false;
    } else {
        style.item = style.indent ? vs_tp_str_new(vm, ",", 1, true) : vs_tp_str_new(vm, ", ", 2, true);
        style.key = vs_tp_str_new(vm, ": ", 2, true);
        if (!style.item || !style.key)
            return false;
    }
    return vs_tp_json(vm, in->self, &style, in->ret);
}

VS_TP_BUILTIN(do_urlencode)
{
    struct vs_tp_str *s;
    if (in->self.kind != VS_TP_STR && vs_tp_iterable(in->self))
        return vs_tp_fail(vm, VS_E_UNSUPPORTED, "urlencode of a %s is not supported", vs_tp_type_name(in->self));
    if (!vs_tp_str_of(vm, in->self, &s))
        return false;
    struct vs_tp_builder b;
    vs_tp_build(&b, vm);
    for (size_t i = 0; i < s->n; i++) {
        unsigned char c = (unsigned char)s->s[i];
        char text[4];
        snprintf(text, sizeof text, "%%%02X", c);
        bool plain = (c | 0x20) >= 'a' && (c | 0x20) <= 'z' ? c < 0x80 : (c >= '0' && c <= '9') || (c && strchr("_.-~/", c));
        if (!(plain ? vs_tp_put_part(&b, s, i, 1) : vs_tp_put(&b, text, 3, vs_tp_mark(s, i))))
            return false;
    }
    return vs_tp_built_value(&b, in->ret);
}

/* ---- numbers ------------------------------------------------------------------------------------------------ */

static bool to_int(struct vs_tp_vm *vm, double f, struct vs_tp_value *ret)
{
    if (!(fabs(f) < 9.2e18))
        return vs_tp_fail(vm, VS_E_UNSUPPORTED, "an integer beyond 64 bits");
    *ret = vs_tp_int((int64_t)f);
    return true;
}

/* Pays for reading s as a number, three times over. */
static bool number_text(struct vs_tp_vm *vm, const struct vs_tp_str *s)
{
    if (s->n > 1 << 20)
        return vs_tp_fail(vm, VS_E_LIMIT, "a text of %zu bytes is too long to be a number", s->n);
    return vs_tp_work(vm, 12 * s->n);
}

VS_TP_BUILTIN(do_int)
{
    int64_t base = 10, i;
    double f;
    bool too_big = false;
    *in->ret = in->at[0].kind == VS_TP_MISSING ? vs_tp_int(0) : in->at[0];
    if (in->self.kind == VS_TP_UNDEFINED)
        return vs_tp_fail_undefined(vm, in->self);
    if (in->self.kind == VS_TP_STR) {
        struct vs_tp_str *s = in->self.u.str;
        if (!vs_tp_need_int(vm, in->at[1], 10, &base) || !number_text(vm, s))
            return false;
        if (base != 0 && (base < 2 || base > 36))
            base = 37;
        if (base <= 36 && vs_tp_parse_int(s->s, s->n, (int)base, &i, &too_big)) {
            *in->ret = vs_tp_int(i);
            in->ret->trusted = s->trusted && !s->mark;
            return true;
        }
        if (too_big)
            return vs_tp_fail(vm, VS_E_UNSUPPORTED, "an integer beyond 64 bits");
        if (!vs_tp_parse_float(s->s, s->n, &f) || !isfinite(f))
            return true;
        bool good = to_int(vm, f, in->ret);
        in->ret->trusted = s->trusted && !s->mark;
        return good;
    }
    if (in->self.kind == VS_TP_FLOAT) {
        if (isinf(in->self.u.f))
            return vs_tp_fail(vm, VS_E_INVALID, "cannot convert float infinity to integer");
        return isnan(in->self.u.f) ? true : to_int(vm, in->self.u.f, in->ret);
    }
    if (vs_tp_is_int(in->self)) {
        *in->ret = vs_tp_int(vs_tp_as_int(in->self));
        in->ret->trusted = in->self.trusted;
    }
    return true;
}

VS_TP_BUILTIN(do_float)
{
    double f;
    *in->ret = in->at[0].kind == VS_TP_MISSING ? vs_tp_float(0) : in->at[0];
    if (in->self.kind == VS_TP_UNDEFINED)
        return vs_tp_fail_undefined(vm, in->self);
    if (in->self.kind == VS_TP_STR && !number_text(vm, in->self.u.str))
        return false;
    if (in->self.kind == VS_TP_STR && vs_tp_parse_float(in->self.u.str->s, in->self.u.str->n, &f)) {
        *in->ret = vs_tp_float(f);
        in->ret->trusted = in->self.u.str->trusted && !in->self.u.str->mark;
    } else if (vs_tp_is_number(in->self)) {
        *in->ret = vs_tp_float(vs_tp_as_float(in->self));
        in->ret->trusted = in->self.trusted;
    }
    return true;
}

VS_TP_BUILTIN(do_abs)
{
    if (in->self.kind == VS_TP_UNDEFINED)
        return vs_tp_fail_undefined(vm, in->self);
    if (!vs_tp_is_number(in->self))
        return vs_tp_fail(vm, VS_E_INVALID, "bad operand type for abs(): '%s'", vs_tp_type_name(in->self));
    if (in->self.kind == VS_TP_FLOAT)
        *in->ret = vs_tp_float(fabs(in->self.u.f));
    else if (vs_tp_as_int(in->self) < 0)
        return vs_tp_arith(vm, VS_TP_SUB, vs_tp_int(0), in->self, in->ret);
    else
        *in->ret = vs_tp_int(vs_tp_as_int(in->self));
    in->ret->trusted = in->self.trusted;
    return true;
}

static bool round_int(struct vs_tp_vm *vm, int64_t i, int64_t digits, struct vs_tp_value *ret)
{
    if (digits < -18)
        i = 0;
    for (; digits < 0 && i; digits++) {
        int64_t unit = 10;
        while (++digits < 0 && unit < INT64_MAX / 10)
            unit *= 10;
        int64_t down = i / unit * unit, rest = i - down;
        if (rest < 0) {
            down -= unit;
            rest += unit;
        }
        bool up = rest * 2 > unit || (rest * 2 == unit && (down / unit) % 2);
        i = down;
        if (up && __builtin_add_overflow(down, unit, &i))
            return vs_tp_fail(vm, VS_E_UNSUPPORTED, "an integer beyond 64 bits");
        break;
    }
    *ret = vs_tp_int(i);
    return true;
}

VS_TP_BUILTIN(do_round)
{
    int64_t precision;
    struct vs_tp_str *method = NULL;
    if (in->at[1].kind != VS_TP_MISSING && !vs_tp_need_str(vm, in->at[1], &method))
        return false;
    bool ceiling = method && vs_tp_str_is(method, "ceil"), down = method && vs_tp_str_is(method, "floor");
    if (method && !ceiling && !down && !vs_tp_str_is(method, "common"))
        return vs_tp_fail(vm, VS_E_INVALID, "round: method must be common, ceil or floor");
    if (!vs_tp_need_int(vm, in->at[0], 0, &precision))
        return false;
    if (in->self.kind == VS_TP_UNDEFINED)
        return vs_tp_fail_undefined(vm, in->self);
    if (!vs_tp_is_number(in->self))
        return vs_tp_fail(vm, VS_E_INVALID, "type %s doesn't define __round__", vs_tp_type_name(in->self));
    if (precision > 300 || precision < -300)
        return vs_tp_fail(vm, VS_E_LIMIT, "round: a precision beyond 300");
    double f = vs_tp_as_float(in->self);
    bool good = true;
    if (ceiling || down) {
        double scale = pow(10, (double)precision), scaled = f * scale;
        *in->ret = vs_tp_float((ceiling ? ceil(scaled) : floor(scaled)) / scale);
    } else if (vs_tp_is_int(in->self)) {
        good = round_int(vm, vs_tp_as_int(in->self), precision, in->ret);
    } else if (!isfinite(f) || precision > 22) {
        *in->ret = in->self;
    } else if (precision >= 0) {
        char text[700];
        snprintf(text, sizeof text, "%.*f", (int)precision, f);
        for (char *c = text; *c; c++)
            if (*c == ',')
                *c = '.';
        vs_tp_parse_float(text, strlen(text), &f);
        *in->ret = vs_tp_float(f);
    } else {
        double unit = pow(10, (double)-precision);
        *in->ret = vs_tp_float(nearbyint(f / unit) * unit);
    }
    in->ret->trusted = in->self.trusted;
    return good;
}

VS_TP_BUILTIN(do_sum)
{
    struct vs_tp_list *path;
    struct vs_tp_iter *it;
    struct vs_tp_value v, total = in->at[1].kind == VS_TP_MISSING ? vs_tp_int(0) : in->at[1];
    if (total.kind == VS_TP_STR)
        return vs_tp_fail(vm, VS_E_INVALID, "sum() can't sum strings");
    if (!split_path(vm, in->at[0], &path) || !vs_tp_iter(vm, in->self, &it))
        return false;
    int more;
    while ((more = vs_tp_iter_next(vm, it, &v)) > 0)
        if (!follow(vm, path, vs_tp_none(), false, v, &v) || !vs_tp_arith(vm, VS_TP_ADD, total, v, &total))
            return false;
    *in->ret = total;
    return more == 0;
}

VS_TP_BUILTIN(do_filesizeformat)
{
    struct vs_tp_value v;
    const struct vs_tp_call plain = { .me = in->me, .self = in->self, .args = in->args, .ret = &v };
    double parsed;
    if (in->self.kind == VS_TP_STR && !number_text(vm, in->self.u.str))
        return false;
    if (in->self.kind == VS_TP_STR ? !vs_tp_parse_float(in->self.u.str->s, in->self.u.str->n, &parsed)
                               : !vs_tp_is_number(in->self) && in->self.kind != VS_TP_UNDEFINED)
        return vs_tp_fail(vm, VS_E_INVALID, "float() argument must be a string or a real number");
    if (!do_float(vm, &plain))
        return false;
    bool binary = vs_tp_truth(in->at[0]);
    double bytes = v.u.f, base = binary ? 1024 : 1000, unit = base;
    char text[64];
    if (bytes == 1) {
        snprintf(text, sizeof text, "1 Byte");
    } else if (bytes < base) {
        snprintf(text, sizeof text, "%lld Bytes", (long long)bytes);
    } else {
        int i = 0;
        for (unit = base * base; i < 7 && bytes >= unit; i++)
            unit *= base;
        snprintf(text, sizeof text, "%.1f %c%sB", base * bytes / unit, (binary ? "KMGTPEZY" : "kMGTPEZY")[i], binary ? "i" : "");
    }
    struct vs_tp_builder b;
    vs_tp_build(&b, vm);
    return vs_tp_put(&b, text, strlen(text), v.trusted) && vs_tp_built_value(&b, in->ret);
}

/* ---- sequences ---------------------------------------------------------------------------------------------- */

VS_TP_BUILTIN(do_length)
{
    size_t n;
    if (in->self.kind == VS_TP_LOOP) {
        struct vs_tp_str name = { .s = "length", .n = 6 };
        return vs_tp_getattr(vm, in->self, &name, in->ret);
    }
    if (!vs_tp_length(vm, in->self, &n))
        return false;
    *in->ret = vs_tp_int((int64_t)n);
    return true;
}

VS_TP_BUILTIN(do_default)
{
    bool replace = in->self.kind == VS_TP_UNDEFINED || (vs_tp_truth(in->at[1]) && !vs_tp_truth(in->self));
    *in->ret = in->self;
    if (replace && in->at[0].kind == VS_TP_MISSING)
        return vs_tp_give_str(vs_tp_str_new(vm, "", 0, true), in->ret);
    if (replace)
        *in->ret = in->at[0];
    return true;
}

VS_TP_BUILTIN(do_first)
{
    struct vs_tp_iter *it;
    struct vs_tp_value v = in->self;
    if ((in->me->variant && !vs_tp_reversed(vm, in->self, &v)) || !vs_tp_iter(vm, v, &it))
        return false;
    int more = vs_tp_iter_next(vm, it, in->ret);
    return more > 0 || (more == 0 && vs_tp_undefined(vm, NULL, NULL, in->me->variant ? "No last item, sequence was empty."
                                                     : "No first item, sequence was empty.", in->ret));
}

VS_TP_BUILTIN(do_list)
{
    struct vs_tp_list *l;
    if (!vs_tp_list_of(vm, in->self, &l))
        return false;
    *in->ret = vs_tp_of_list(l);
    return true;
}

VS_TP_BUILTIN(do_reverse)
{
    if (in->self.kind == VS_TP_STR) {
        const struct vs_tp_value back[3] = { vs_tp_none(), vs_tp_none(), vs_tp_int(-1) };
        return vs_tp_slice(vm, in->self, back, in->ret);
    }
    struct vs_tp_list *l;
    if (in->self.kind != VS_TP_ITER)
        return vs_tp_reversed(vm, in->self, in->ret);
    if (!vs_tp_list_of(vm, in->self, &l))
        return false;
    vs_tp_list_reverse(l);
    *in->ret = vs_tp_of_list(l);
    return true;
}

struct keyed { struct vs_tp_value key, value; };

/* Stable merge sort; `reverse` keeps equal items in order, as Python does. */
static bool sort_keyed(struct vs_tp_vm *vm, struct keyed *a, struct keyed *spare, size_t n, bool reverse)
{
    for (size_t width = 1; width < n; width *= 2) {
        for (size_t lo = 0; lo + width < n; lo += 2 * width) {
            size_t mid = lo + width, hi = mid + width < n ? mid + width : n, i = lo, j = mid, k = lo;
            while (i < mid && j < hi) {
                int order;
                size_t left = reverse ? i : j, right = reverse ? j : i;
                if (!vs_tp_order(vm, a[left].key, a[right].key, "<", &order))
                    return false;
                spare[k++] = order < 0 && order != 2 ? a[j++] : a[i++];
            }
            while (i < mid)
                spare[k++] = a[i++];
            while (j < hi)
                spare[k++] = a[j++];
            if (!vs_tp_copy(vm, a + lo, spare + lo, (hi - lo) * sizeof *a))
                return false;
        }
    }
    return true;
}

static bool sort_list(struct vs_tp_vm *vm, struct vs_tp_list *l, const struct vs_tp_list *keys, bool reverse)
{
    struct keyed *a = vs_tp_alloc(&vm->arena, (l->n + 1) * sizeof *a), *spare = vs_tp_alloc(&vm->arena, (l->n + 1) * sizeof *a);
    if (!a || !spare)
        return vs_tp_fail_memory(vm);
    for (size_t i = 0; i < l->n; i++)
        a[i] = (struct keyed){ keys->item[i], l->item[i] };
    if (!sort_keyed(vm, a, spare, l->n, reverse))
        return false;
    for (size_t i = 0; i < l->n; i++)
        l->item[i] = a[i].value;
    return true;
}

VS_TP_BUILTIN(do_sort)
{
    struct vs_tp_list *l, *keys, *paths = vs_tp_list_new(vm, 0);
    bool reverse = vs_tp_truth(in->at[0]), exact = vs_tp_truth(in->at[1]);
    struct vs_tp_value attr = in->at[2];
    if (!paths || !vs_tp_list_of(vm, in->self, &l) || !(keys = vs_tp_list_new(vm, l->n)))
        return false;
    struct vs_tp_str *text = attr.kind == VS_TP_STR ? attr.u.str : NULL;
    for (size_t from = 0; text ? from <= text->n : !from;) {
        size_t to = from;
        struct vs_tp_list *path;
        struct vs_tp_value part = attr;
        while (text && to < text->n && text->s[to] != ',' && vs_tp_work(vm, 4))
            to++;
        if (text) {
            struct vs_tp_str *s = vs_tp_str_bytes(vm, text, from, to);
            if (!s)
                return false;
            part = vs_tp_of_str(s);
        }
        if (!split_path(vm, part, &path) || !vs_tp_list_add(vm, paths, vs_tp_of_list(path)))
            return false;
        from = to + 1;
    }
    for (size_t i = 0; i < l->n; i++) {
        struct vs_tp_list *key = vs_tp_list_new(vm, paths->n);
        for (size_t k = 0; key && k < paths->n; k++) {
            struct vs_tp_value v;
            if (!follow(vm, paths->item[k].u.list, vs_tp_none(), !exact, l->item[i], &v) || !vs_tp_list_add(vm, key, v))
                return false;
        }
        if (!key || !vs_tp_list_add(vm, keys, vs_tp_of_list(key)))
            return false;
    }
    *in->ret = vs_tp_of_list(l);
    return sort_list(vm, l, keys, reverse);
}

VS_TP_BUILTIN(do_dictsort)
{
    struct vs_tp_str *by = NULL;
    if (in->self.kind == VS_TP_UNDEFINED)
        return vs_tp_fail_undefined(vm, in->self);
    if (in->self.kind != VS_TP_DICT)
        return vs_tp_fail(vm, VS_E_INVALID, "dictsort needs a dict, got %s", vs_tp_type_name(in->self));
    if (in->at[1].kind != VS_TP_MISSING && !vs_tp_need_str(vm, in->at[1], &by))
        return false;
    bool by_value = by && vs_tp_str_is(by, "value");
    if (by && !by_value && !vs_tp_str_is(by, "key"))
        return vs_tp_fail(vm, VS_E_INVALID, "dictsort: by must be \"key\" or \"value\"");
    struct vs_tp_dict *d = in->self.u.dict;
    struct vs_tp_list *l = vs_tp_list_new(vm, d->n), *keys = vs_tp_list_new(vm, d->n);
    for (size_t i = 0; l && keys && i < d->n; i++) {
        struct vs_tp_value pair, key = by_value ? d->pair[i].value : d->pair[i].key;
        if (!vs_tp_pair_tuple(vm, d->pair[i].key, d->pair[i].value, &pair) || !vs_tp_list_add(vm, l, pair) ||
            (!vs_tp_truth(in->at[0]) && !lower_key(vm, &key)) || !vs_tp_list_add(vm, keys, key))
            return false;
    }
    if (!l || !keys)
        return false;
    *in->ret = vs_tp_of_list(l);
    return sort_list(vm, l, keys, vs_tp_truth(in->at[2]));
}

VS_TP_BUILTIN(do_extreme)
{
    struct vs_tp_list *path;
    struct vs_tp_iter *it;
    struct vs_tp_value v, key, best_key = vs_tp_none();
    if (!split_path(vm, in->at[1], &path) || !vs_tp_iter(vm, in->self, &it))
        return false;
    int more;
    bool any = false;
    while ((more = vs_tp_iter_next(vm, it, &v)) > 0) {
        int order = 0;
        if (!follow(vm, path, vs_tp_none(), !vs_tp_truth(in->at[0]), v, &key))
            return false;
        if (any && !vs_tp_order(vm, key, best_key, in->me->variant > 0 ? ">" : "<", &order))
            return false;
        if (!any || (order != 2 && order * in->me->variant > 0)) {
            *in->ret = v;
            best_key = key;
        }
        any = true;
    }
    return more == 0 && (any || vs_tp_undefined(vm, NULL, NULL, "No aggregated item, sequence was empty.", in->ret));
}

/* ---- lazy filters: they make an iterator that works when walked --------------------------------------------- */

static bool make_lazy(struct vs_tp_vm *vm, struct vs_tp_value self, vs_tp_next *next, struct vs_tp_apply **ret_apply,
                      struct vs_tp_value *ret)
{
    struct vs_tp_iter *it = vs_tp_new(vm, sizeof *it);
    struct vs_tp_apply *apply = vs_tp_new(vm, sizeof *apply);
    if (!it || !apply)
        return false;
    it->next = next;
    it->generator = true;
    it->source = self;
    it->apply = apply;
    *ret_apply = apply;
    *ret = VS_TP_SCALAR(VS_TP_ITER, iter, it);
    return true;
}

/* The next of what the filter draws from. The source is looked at only now, so its errors come late as in Python. */
static int draw(struct vs_tp_vm *vm, struct vs_tp_iter *it, bool skip_false, struct vs_tp_value *ret)
{
    if (it->apply->done || (skip_false && !it->inner && !vs_tp_truth(it->source)))
        return 0;
    if (!it->inner && !vs_tp_iter(vm, it->source, &it->inner))
        return -1;
    int more = vs_tp_iter_next(vm, it->inner, ret);
    it->apply->done = more <= 0;
    return more;
}

static int next_mapped(struct vs_tp_vm *vm, struct vs_tp_iter *it, struct vs_tp_value *ret)
{
    struct vs_tp_value v;
    struct vs_tp_apply *a = it->apply;
    int more = draw(vm, it, true, &v);
    if (more <= 0)
        return more;
    bool good = a->callable ? vs_tp_invoke(vm, a->callable, v, &a->args, ret) : follow(vm, a->path, a->fallback, false, v, ret);
    return good ? 1 : -1;
}

static const struct vs_tp_value *named(const struct vs_tp_args *args, const char *name)
{
    for (size_t i = 0; i < args->n_named; i++)
        if (vs_tp_str_is(args->named[i].key.u.str, name))
            return &args->named[i].value;
    return NULL;
}

VS_TP_BUILTIN(do_map)
{
    struct vs_tp_apply *a;
    const struct vs_tp_value *attr = named(in->args, "attribute"), *fallback = named(in->args, "default");
    if (!make_lazy(vm, in->self, next_mapped, &a, in->ret))
        return false;
    if (!in->args->n && attr) {
        if (in->args->n_named != (fallback ? 2 : 1))
            return vs_tp_fail(vm, VS_E_INVALID, "map: unexpected keyword argument");
        a->fallback = fallback ? *fallback : vs_tp_none();
        return split_path(vm, *attr, &a->path);
    }
    if (!in->args->n)
        return !vs_tp_truth(in->self) || vs_tp_fail(vm, VS_E_INVALID, "map requires a filter argument");
    struct vs_tp_str *name;
    if (!vs_tp_need_str(vm, in->args->at[0], &name))
        return false;
    a->callable = vs_tp_filter_find(name);
    a->args = *in->args;
    a->args.at++;
    a->args.n--;
    return a->callable || !vs_tp_truth(in->self) ||
           vs_tp_fail(vm, VS_E_INVALID, "there is no filter %.*s", (int)(name->n < 60 ? name->n : 60), name->s);
}

VS_TP_BUILTIN(do_join)
{
    struct vs_tp_iter *it;
    struct vs_tp_apply *a;
    struct vs_tp_str *glue = NULL;
    struct vs_tp_value from = in->self;
    if (in->at[0].kind != VS_TP_MISSING && !vs_tp_str_of(vm, in->at[0], &glue))
        return false;
    if (vs_tp_given(in->at[1])) {       /* as map(attribute=...) */
        if (!make_lazy(vm, in->self, next_mapped, &a, &from) || !split_path(vm, in->at[1], &a->path))
            return false;
        a->fallback = vs_tp_none();
    }
    return vs_tp_iter(vm, from, &it) && vs_tp_str_join(vm, glue, it, false, in->ret);
}

static int next_selected(struct vs_tp_vm *vm, struct vs_tp_iter *it, struct vs_tp_value *ret)
{
    struct vs_tp_apply *a = it->apply;
    int more;
    while ((more = draw(vm, it, true, ret)) > 0) {
        struct vs_tp_value v;
        bool holds;
        if (!follow(vm, a->path, vs_tp_none(), false, *ret, &v))
            return -1;
        if (!a->callable)
            holds = vs_tp_truth(v);
        else if (!vs_tp_run_test(vm, a->callable, v, &a->args, &holds))
            return -1;
        if (holds == a->keep)
            break;
    }
    return more;
}

/* variant: 1 select, 0 reject, 2 more for the attribute forms */
VS_TP_BUILTIN(do_select)
{
    struct vs_tp_apply *a;
    size_t first = in->me->variant & 2 ? 1 : 0;
    if (!make_lazy(vm, in->self, next_selected, &a, in->ret))
        return false;
    a->keep = in->me->variant & 1;
    if (!vs_tp_truth(in->self))
        return true;
    if (in->args->n < first)
        return vs_tp_fail(vm, VS_E_INVALID, "%s: missing parameter for attribute name", in->me->name);
    if (first && !split_path(vm, in->args->at[0], &a->path))
        return false;
    if (in->args->n == first)
        return true;
    struct vs_tp_str *name;
    if (!vs_tp_need_str(vm, in->args->at[first], &name))
        return false;
    a->callable = vs_tp_test_find(name);
    a->args = *in->args;
    a->args.at += first + 1;
    a->args.n -= first + 1;
    return a->callable || vs_tp_fail(vm, VS_E_INVALID, "there is no test %.*s", (int)(name->n < 60 ? name->n : 60), name->s);
}

static int next_unique(struct vs_tp_vm *vm, struct vs_tp_iter *it, struct vs_tp_value *ret)
{
    struct vs_tp_apply *a = it->apply;
    int more;
    while ((more = draw(vm, it, false, ret)) > 0) {
        struct vs_tp_value key;
        struct vs_tp_pair *p;
        if (!follow(vm, a->path, vs_tp_none(), a->ignore_case, *ret, &key) || !vs_tp_dict_find(vm, a->seen, key, &p))
            return -1;
        if (!p)
            return vs_tp_dict_set(vm, a->seen, key, vs_tp_none()) ? 1 : -1;
    }
    return more;
}

VS_TP_BUILTIN(do_unique)
{
    struct vs_tp_apply *a;
    if (!make_lazy(vm, in->self, next_unique, &a, in->ret) || !(a->seen = vs_tp_dict_new(vm)))
        return false;
    a->ignore_case = !vs_tp_truth(in->at[0]);
    return split_path(vm, in->at[1], &a->path);
}

static int next_batch(struct vs_tp_vm *vm, struct vs_tp_iter *it, struct vs_tp_value *ret)
{
    struct vs_tp_apply *a = it->apply;
    struct vs_tp_list *l = vs_tp_list_new(vm, 0);
    struct vs_tp_value v;
    int more = 1;
    while (l && (a->count < 1 || (int64_t)l->n < a->count) && (more = draw(vm, it, false, &v)) > 0)
        if (!vs_tp_list_add(vm, l, v))
            return -1;
    if (!l || more < 0)
        return -1;
    if (!l->n)
        return 0;
    while (!more && vs_tp_given(a->fallback) && (int64_t)l->n < a->count)
        if (!vs_tp_step(vm, 1) || !vs_tp_list_add(vm, l, a->fallback))
            return -1;
    *ret = vs_tp_of_list(l);
    return 1;
}

VS_TP_BUILTIN(do_batch)
{
    struct vs_tp_apply *a;
    if (!make_lazy(vm, in->self, next_batch, &a, in->ret) || !vs_tp_need_int(vm, in->at[0], 0, &a->count))
        return false;
    a->fallback = in->at[1];
    return true;
}

static int next_pair(struct vs_tp_vm *vm, struct vs_tp_iter *it, struct vs_tp_value *ret)
{
    struct vs_tp_dict *d = it->source.u.dict;
    if (it->source.kind == VS_TP_UNDEFINED)
        return 0;
    if (it->source.kind != VS_TP_DICT)
        return vs_tp_fail(vm, VS_E_INVALID, "Can only get item pairs from a mapping.") ? 0 : -1;
    if (it->at >= d->n)
        return 0;
    it->at++;
    return vs_tp_pair_tuple(vm, d->pair[it->at - 1].key, d->pair[it->at - 1].value, ret) ? 1 : -1;
}

VS_TP_BUILTIN(do_items)
{
    struct vs_tp_apply *a;
    return make_lazy(vm, in->self, next_pair, &a, in->ret);
}

static int next_drawn(struct vs_tp_vm *vm, struct vs_tp_iter *it, struct vs_tp_value *ret)
{
    return draw(vm, it, false, ret);
}

VS_TP_BUILTIN(do_slice)
{
    int64_t n;
    struct vs_tp_list *l, *all = vs_tp_list_new(vm, 0);
    struct vs_tp_apply *a;
    if (!all || !vs_tp_need_int(vm, in->at[0], 1, &n) || !vs_tp_list_of(vm, in->self, &l))
        return false;
    if (n == 0)
        return vs_tp_fail(vm, VS_E_INVALID, "integer division or modulo by zero");
    int64_t each = n > 0 ? (int64_t)l->n / n : 0, extra = n > 0 ? (int64_t)l->n % n : 0;
    size_t at = 0;
    for (int64_t i = 0; i < n; i++) {
        struct vs_tp_list *part = vs_tp_list_new(vm, 0);
        for (int64_t k = 0; part && k < each + (i < extra); k++)
            if (!vs_tp_list_add(vm, part, l->item[at++]))
                return false;
        if (!part || !vs_tp_step(vm, 1) || (vs_tp_given(in->at[1]) && i >= extra && !vs_tp_list_add(vm, part, in->at[1])) ||
            !vs_tp_list_add(vm, all, vs_tp_of_list(part)))
            return false;
    }
    return make_lazy(vm, vs_tp_of_list(all), next_drawn, &a, in->ret);
}

VS_TP_BUILTIN(do_groupby)
{
    struct vs_tp_list *path, *l, *keys, *groups = vs_tp_list_new(vm, 0);
    bool ignore_case = !vs_tp_truth(in->at[2]);
    if (!groups || !split_path(vm, in->at[0], &path) || !vs_tp_list_of(vm, in->self, &l) || !(keys = vs_tp_list_new(vm, l->n)))
        return false;
    for (int pass = 0; pass < 2; pass++) {
        keys->n = 0;
        for (size_t i = 0; i < l->n; i++) {
            struct vs_tp_value key;
            if (!follow(vm, path, in->at[1], ignore_case, l->item[i], &key) || !vs_tp_list_add(vm, keys, key))
                return false;
        }
        if (!pass && !sort_list(vm, l, keys, false))
            return false;
    }
    struct vs_tp_list *group = NULL;
    for (size_t i = 0; i < l->n; i++) {
        bool same = false;
        if (i && !vs_tp_equal(vm, keys->item[i - 1], keys->item[i], &same))
            return false;
        if (!same) {
            struct vs_tp_value name, pair;
            if (!(group = vs_tp_list_new(vm, 0)) || !follow(vm, path, in->at[1], false, l->item[i], &name) ||
                !vs_tp_pair_tuple(vm, name, vs_tp_of_list(group), &pair) || !vs_tp_list_add(vm, groups, pair))
                return false;
        }
        if (!vs_tp_list_add(vm, group, l->item[i]))
            return false;
    }
    *in->ret = vs_tp_of_list(groups);
    return true;
}

VS_TP_BUILTIN(do_attr)
{
    struct vs_tp_str *name;
    if (!vs_tp_need_str(vm, in->at[0], &name))
        return false;
    if (in->self.kind == VS_TP_UNDEFINED)
        return vs_tp_fail_undefined(vm, in->self);
    int found = vs_tp_attribute(vm, in->self, name, in->ret);
    return found > 0 || (found == 0 && vs_tp_undefined(vm, vs_tp_type_name(in->self), name, NULL, in->ret));
}

/* ---- the table ---------------------------------------------------------------------------------------------- */

static const struct vs_tp_callable filters[] = {
    { "abs", do_abs, "", 0 },
    { "attr", do_attr, "name", 0 },
    { "batch", do_batch, "linecount|fill_with", 0 },
    { "capitalize", do_case, "", VS_TP_STYLE_CAPITALIZE },
    { "center", do_center, "|width", 0 },
    { "count", do_length, "", 0 },
    { "d", do_default, "|default_value boolean", 0 },
    { "default", do_default, "|default_value boolean", 0 },
    { "dictsort", do_dictsort, "|case_sensitive by reverse", 0 },
    { "e", do_escape, "", 0 },
    { "escape", do_escape, "", 0 },
    { "filesizeformat", do_filesizeformat, "|binary", 0 },
    { "first", do_first, "", 0 },
    { "float", do_float, "|default", 0 },
    { "forceescape", do_escape, "", 1 },
    { "format", do_format, "*", 0 },
    { "groupby", do_groupby, "attribute|default case_sensitive", 0 },
    { "indent", do_indent, "|width first blank", 0 },
    { "int", do_int, "|default base", 0 },
    { "items", do_items, "", 0 },
    { "join", do_join, "|d attribute", 0 },
    { "last", do_first, "", 1 },
    { "length", do_length, "", 0 },
    { "list", do_list, "", 0 },
    { "lower", do_case, "", VS_TP_STYLE_LOWER },
    { "map", do_map, "*", 0 },
    { "max", do_extreme, "|case_sensitive attribute", 1 },
    { "min", do_extreme, "|case_sensitive attribute", -1 },
    { "pprint", NULL, "", 0 },
    { "random", NULL, "", 0 },
    { "reject", do_select, "*", 0 },
    { "rejectattr", do_select, "*", 2 },
    { "replace", do_replace, "old new|count", 0 },
    { "reverse", do_reverse, "", 0 },
    { "round", do_round, "|precision method", 0 },
    { "safe", do_safe, "", 0 },
    { "select", do_select, "*", 1 },
    { "selectattr", do_select, "*", 3 },
    { "slice", do_slice, "slices|fill_with", 0 },
    { "sort", do_sort, "|reverse case_sensitive attribute", 0 },
    { "string", do_string, "", 0 },
    { "striptags", NULL, "", 0 },
    { "sum", do_sum, "|attribute start", 0 },
    { "title", do_title, "", 0 },
    { "tojson", do_tojson, "|ensure_ascii indent separators sort_keys", 0 },
    { "trim", do_trim, "|chars", 0 },
    { "truncate", do_truncate, "|length killwords end leeway", 0 },
    { "unique", do_unique, "|case_sensitive attribute", 0 },
    { "upper", do_case, "", VS_TP_STYLE_UPPER },
    { "urlencode", do_urlencode, "", 0 },
    { "urlize", NULL, "", 0 },
    { "wordcount", do_wordcount, "", 0 },
    { "wordwrap", NULL, "", 0 },
    { "xmlattr", NULL, "", 0 },
};

const struct vs_tp_callable *vs_tp_filter_find(const struct vs_tp_str *name)
{
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++)
        if (vs_tp_str_is(name, filters[i].name))
            return &filters[i];
    return NULL;
}
