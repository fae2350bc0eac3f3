/* template/globals.c - the functions a template finds without asking: range, namespace, dict, ... */
#include "template/internal.h"

#include <stdio.h>
#include <string.h>

enum { MAX_RANGE = 100000 };

VS_TP_BUILTIN(make_range)
{
    int64_t v[3] = { 0, 0, 1 };
    struct vs_tp_range_value *r = vs_tp_new(vm, sizeof *r);
    if (!r || !vs_tp_need_int(vm, in->at[0], 0, &v[0]) || !vs_tp_need_int(vm, in->at[1], 0, &v[1]) ||
        !vs_tp_need_int(vm, in->at[2], 1, &v[2]))
        return false;
    if (in->at[1].kind == VS_TP_MISSING) {
        v[1] = v[0];
        v[0] = 0;
    }
    if (!v[2])
        return vs_tp_fail(vm, VS_E_INVALID, "range() arg 3 must not be zero");
    __int128 span = v[2] > 0 ? (__int128)v[1] - v[0] : (__int128)v[0] - v[1];
    __int128 step = v[2] > 0 ? v[2] : -(__int128)v[2], n = span > 0 ? (span - 1) / step + 1 : 0;
    if (n > MAX_RANGE)
        return vs_tp_fail(vm, VS_E_LIMIT, "a range of more than %d items", MAX_RANGE);
    *r = (struct vs_tp_range_value){ v[0], v[1], v[2], (size_t)n };
    *in->ret = VS_TP_SCALAR(VS_TP_RANGE, range, r);
    return true;
}

/* dict(...) and namespace(...) take the same arguments. */
VS_TP_BUILTIN(make_dict)
{
    struct vs_tp_dict *d = vs_tp_dict_new(vm);
    if (!d)
        return false;
    if (in->args->n > 1)
        return vs_tp_fail(vm, VS_E_INVALID, "dict expected at most 1 argument, got %zu", in->args->n);
    if (in->args->n && in->args->at[0].kind == VS_TP_NAMESPACE)
        return vs_tp_fail(vm, VS_E_INVALID, "'Namespace' object is not iterable");
    if (in->args->n && !vs_tp_dict_update(vm, d, in->args->at[0]))
        return false;
    for (size_t i = 0; i < in->args->n_named; i++)
        if (!vs_tp_dict_set(vm, d, in->args->named[i].key, in->args->named[i].value))
            return false;
    for (size_t i = 0; in->me->variant && i < d->n; i++)
        if (d->pair[i].key.kind == VS_TP_STR && d->pair[i].key.u.str->n && d->pair[i].key.u.str->s[0] == '_')
            return vs_tp_fail(vm, VS_E_INVALID, "a namespace takes no attribute that begins with an underscore");
    *in->ret = VS_TP_SCALAR(in->me->variant ? VS_TP_NAMESPACE : VS_TP_DICT, dict, d);
    return true;
}

VS_TP_BUILTIN(make_cycler)
{
    struct vs_tp_cycler *c = vs_tp_new(vm, sizeof *c);
    if (!c || !(c->items = vs_tp_list_new(vm, in->args->n)))
        return false;
    if (!in->args->n || in->args->n_named)
        return vs_tp_fail(vm, VS_E_INVALID, "cycler: at least one item has to be provided");
    for (size_t i = 0; i < in->args->n; i++)
        if (!vs_tp_list_add(vm, c->items, in->args->at[i]))
            return false;
    *in->ret = VS_TP_SCALAR(VS_TP_CYCLER, cycler, c);
    return true;
}

VS_TP_BUILTIN(make_joiner)
{
    struct vs_tp_joiner *j = vs_tp_new(vm, sizeof *j);
    if (!j)
        return false;
    j->separator = in->at[0];
    if (in->at[0].kind == VS_TP_MISSING) {
        struct vs_tp_str *s = vs_tp_str_new(vm, ", ", 2, true);
        if (!s)
            return false;
        j->separator = vs_tp_of_str(s);
    }
    *in->ret = VS_TP_SCALAR(VS_TP_JOINER, joiner, j);
    return true;
}

/* The message is the template's own, so it goes out as it is. */
VS_TP_BUILTIN(raise_exception)
{
    struct vs_tp_str *s;
    if (!vs_tp_str_of(vm, in->at[0], &s))
        return false;
    vs_tp_fail(vm, VS_E_INVALID, "%s", "");
    if (!vm->err)
        return false;
    size_t n = s->n < sizeof vm->err->text - 1 ? s->n : sizeof vm->err->text - 1;
    while (n && n < s->n && ((unsigned char)s->s[n] & 0xc0) == 0x80)
        n--;
    memcpy(vm->err->text, s->s, n);
    vm->err->text[n] = 0;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)vm->err->text[i] < 0x20)
            vm->err->text[i] = ' ';
    return false;
}

VS_TP_BUILTIN(strftime_now)
{
    struct vs_tp_str *format;
    return vs_tp_need_str(vm, in->at[0], &format) && vs_tp_strftime(vm, format, in->ret);
}

static const struct vs_tp_callable globals[] = {
    { "range", make_range, "/a|b c", 0 },
    { "dict", make_dict, "*", 0 },
    { "namespace", make_dict, "*", 1 },
    { "cycler", make_cycler, "*", 0 },
    { "joiner", make_joiner, "|sep", 0 },
    { "raise_exception", raise_exception, "message", 0 },
    { "strftime_now", strftime_now, "format", 0 },
    { "lipsum", NULL, "*", 0 },
};

const struct vs_tp_callable *vs_tp_global_find(const struct vs_tp_str *name)
{
    for (size_t i = 0; i < sizeof globals / sizeof *globals; i++)
        if (vs_tp_str_is(name, globals[i].name))
            return &globals[i];
    return NULL;
}
