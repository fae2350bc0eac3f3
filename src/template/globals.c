/* template/globals.c - the functions a template finds without asking: range, namespace, dict, ... */
#include "template/internal.h"

#include <stdio.h>
#include <string.h>

#define GLOBAL(name)                                                                                            \
    static bool name(struct vs_tp_vm *vm, const struct vs_tp_callable *me, struct vs_tp_value self,            \
                     const struct vs_tp_args *args, const struct vs_tp_bound *bound, struct vs_tp_value *ret)
#define UNUSED (void)vm, (void)me, (void)self, (void)args, (void)bound, (void)ret

enum { MAX_RANGE = 100000 };

GLOBAL(make_range)
{
    UNUSED;
    int64_t v[3] = { 0, 0, 1 };
    struct vs_tp_range_value *r = vs_tp_new(vm, sizeof *r);
    if (!r || !vs_tp_need_int(vm, bound->at[0], 0, &v[0]) || !vs_tp_need_int(vm, bound->at[1], 0, &v[1]) ||
        !vs_tp_need_int(vm, bound->at[2], 1, &v[2]))
        return false;
    if (bound->at[1].kind == VS_TP_MISSING) {
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
    *ret = VS_TP_SCALAR(VS_TP_RANGE, range, r);
    return true;
}

/* dict(...) and namespace(...) take the same arguments. */
GLOBAL(make_dict)
{
    UNUSED;
    struct vs_tp_dict *d = vs_tp_dict_new(vm);
    if (!d)
        return false;
    if (args->n > 1)
        return vs_tp_fail(vm, VS_E_INVALID, "dict expected at most 1 argument, got %zu", args->n);
    if (args->n && args->at[0].kind == VS_TP_NAMESPACE)
        return vs_tp_fail(vm, VS_E_INVALID, "'Namespace' object is not iterable");
    if (args->n && !vs_tp_dict_update(vm, d, args->at[0]))
        return false;
    for (size_t i = 0; i < args->n_named; i++)
        if (!vs_tp_dict_set(vm, d, args->named[i].key, args->named[i].value))
            return false;
    for (size_t i = 0; me->variant && i < d->n; i++)
        if (d->pair[i].key.kind == VS_TP_STR && d->pair[i].key.u.str->n && d->pair[i].key.u.str->s[0] == '_')
            return vs_tp_fail(vm, VS_E_INVALID, "a namespace takes no attribute that begins with an underscore");
    *ret = VS_TP_SCALAR(me->variant ? VS_TP_NAMESPACE : VS_TP_DICT, dict, d);
    return true;
}

GLOBAL(make_cycler)
{
    UNUSED;
    struct vs_tp_cycler *c = vs_tp_new(vm, sizeof *c);
    if (!c || !(c->items = vs_tp_list_new(vm, args->n)))
        return false;
    if (!args->n || args->n_named)
        return vs_tp_fail(vm, VS_E_INVALID, "cycler: at least one item has to be provided");
    for (size_t i = 0; i < args->n; i++)
        if (!vs_tp_list_add(vm, c->items, args->at[i]))
            return false;
    *ret = VS_TP_SCALAR(VS_TP_CYCLER, cycler, c);
    return true;
}

GLOBAL(make_joiner)
{
    UNUSED;
    struct vs_tp_joiner *j = vs_tp_new(vm, sizeof *j);
    if (!j)
        return false;
    j->separator = bound->at[0];
    if (bound->at[0].kind == VS_TP_MISSING) {
        struct vs_tp_str *s = vs_tp_str_new(vm, ", ", 2, true);
        if (!s)
            return false;
        j->separator = vs_tp_of_str(s);
    }
    *ret = VS_TP_SCALAR(VS_TP_JOINER, joiner, j);
    return true;
}

/* The message is the template's own, so it goes out as it is. */
GLOBAL(raise_exception)
{
    UNUSED;
    struct vs_tp_str *s;
    if (!vs_tp_str_of(vm, bound->at[0], &s))
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

GLOBAL(strftime_now)
{
    UNUSED;
    struct vs_tp_str *format;
    return vs_tp_need_str(vm, bound->at[0], &format) && vs_tp_strftime(vm, format, ret);
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
