/* template/call.c - binds arguments to parameters as Python does, and calls. */
#include "template/internal.h"
#include "base/word.h"

#include <string.h>

bool vs_tp_need_int(struct vs_tp_vm *vm, struct vs_tp_value v, int64_t missing, int64_t *ret)
{
    if (v.kind == VS_TP_MISSING) {
        *ret = missing;
        return true;
    }
    if (v.kind == VS_TP_UNDEFINED)
        return vs_tp_fail_undefined(vm, v);
    if (!vs_tp_is_int(v))
        return vs_tp_fail(vm, VS_E_INVALID, "'%s' object cannot be interpreted as an integer", vs_tp_type_name(v));
    *ret = vs_tp_as_int(v);
    return true;
}

bool vs_tp_need_str(struct vs_tp_vm *vm, struct vs_tp_value v, struct vs_tp_str **ret)
{
    if (v.kind == VS_TP_UNDEFINED)
        return vs_tp_fail_undefined(vm, v);
    if (v.kind != VS_TP_STR)
        return vs_tp_fail(vm, VS_E_INVALID, "a string is needed, got %s", vs_tp_type_name(v));
    *ret = v.u.str;
    return true;
}

/* Length of the parameter name at s. */
static size_t name_length(const char *s)
{
    return strcspn(s, " |");
}

static bool bind(struct vs_tp_vm *vm, struct vs_tp_call *call)
{
    const struct vs_tp_callable *c = call->me;
    const struct vs_tp_args *args = call->args;
    const char *s = c->params;
    bool names = *s != '/';
    if (!names)
        s++;
    size_t n = 0, used = 0;
    bool needed = true;
    while (*s) {
        if (*s == ' ' || *s == '|') {
            needed = needed && *s == ' ';
            s++;
            continue;
        }
        size_t len = name_length(s);
        bool given = n < args->n;
        if (given)
            call->at[n] = args->at[n];
        for (size_t i = 0; names && i < args->n_named; i++) {
            const struct vs_tp_str *key = args->named[i].key.u.str;
            if (key->n != len || memcmp(key->s, s, len) != 0)
                continue;
            if (given)
                return vs_tp_fail(vm, VS_E_INVALID, "%s got multiple values for argument '%.*s'", c->name, (int)len, s);
            call->at[n] = args->named[i].value;
            given = true;
            used++;
        }
        if (!given && needed)
            return vs_tp_fail(vm, VS_E_INVALID, "%s is missing its argument '%.*s'", c->name, (int)len, s);
        n++;
        s += len;
    }
    if (args->n > n)
        return vs_tp_fail(vm, VS_E_INVALID, "%s takes at most %zu argument%s, got %zu", c->name, n, vs_plural(n), args->n);
    if (used < args->n_named)
        return vs_tp_fail(vm, VS_E_INVALID, "%s got an unexpected keyword argument", c->name);
    return true;
}

bool vs_tp_invoke(struct vs_tp_vm *vm, const struct vs_tp_callable *c, struct vs_tp_value self, const struct vs_tp_args *args,
                  struct vs_tp_value *ret)
{
    struct vs_tp_call call = { .me = c, .self = self, .args = args, .ret = ret };
    if (!c->run)
        return vs_tp_fail(vm, VS_E_UNSUPPORTED, "%s is not supported", c->name);
    if (!vs_tp_step(vm, 1) || !vs_tp_enter(vm))
        return false;
    bool good = (strcmp(c->params, "*") == 0 || bind(vm, &call)) && c->run(vm, &call);
    vs_tp_leave(vm);
    return good;
}

static bool call_joiner(struct vs_tp_vm *vm, struct vs_tp_joiner *j, struct vs_tp_value *ret)
{
    *ret = j->separator;
    if (!j->used) {
        j->used = true;
        struct vs_tp_str *empty = vs_tp_str_new(vm, "", 0, true);
        *ret = vs_tp_of_str(empty);
        return empty != NULL;
    }
    return true;
}

bool vs_tp_call(struct vs_tp_vm *vm, struct vs_tp_value f, const struct vs_tp_args *args, struct vs_tp_value *ret)
{
    switch (f.kind) {
    case VS_TP_MACRO: return vs_tp_call_macro(vm, f.u.macro, args, ret);
    case VS_TP_GLOBAL: return vs_tp_invoke(vm, f.u.global, vs_tp_none(), args, ret);
    case VS_TP_METHOD: return vs_tp_invoke(vm, f.u.method->callable, f.u.method->self, args, ret);
    case VS_TP_JOINER: return call_joiner(vm, f.u.joiner, ret);
    case VS_TP_LOOP: return vs_tp_fail(vm, VS_E_UNSUPPORTED, "calling `loop` (a recursive loop) is not supported");
    case VS_TP_UNDEFINED: return vs_tp_fail_undefined(vm, f);
    default: return vs_tp_fail(vm, VS_E_INVALID, "'%s' object is not callable", vs_tp_type_name(f));
    }
}
