/* template/tests.c - the tests behind `is`, as one table. */
#include "template/internal.h"
#include "unicode/unicode.h"

#include <string.h>

static bool answer(bool yes, struct vs_tp_value *ret)
{
    *ret = vs_tp_bool(yes);
    return true;
}

/* variant: the set of kinds that pass */
#define K(kind) (1 << VS_TP_##kind)

VS_TP_BUILTIN(is_kind)
{
    return answer(in->me->variant >> in->self.kind & 1, in->ret);
}

VS_TP_BUILTIN(is_bool)
{
    return answer(in->self.kind == VS_TP_BOOL && in->self.u.b == (in->me->variant != 0), in->ret);
}

/* value % variant (or % argument) == rest */
static bool divides(struct vs_tp_vm *vm, struct vs_tp_value v, struct vs_tp_value by, int64_t rest, struct vs_tp_value *ret)
{
    bool same;
    return vs_tp_arith(vm, VS_TP_MOD, v, by, &v) && vs_tp_equal(vm, v, vs_tp_int(rest), &same) && answer(same, ret);
}

VS_TP_BUILTIN(is_odd_even)
{
    return divides(vm, in->self, vs_tp_int(2), in->me->variant, in->ret);
}

VS_TP_BUILTIN(is_divisible)
{
    return divides(vm, in->self, in->at[0], 0, in->ret);
}

VS_TP_BUILTIN(is_sequence)
{
    unsigned kind = in->self.kind;
    return answer(kind == VS_TP_UNDEFINED || (kind >= VS_TP_STR && kind <= VS_TP_DICT) || kind == VS_TP_RANGE, in->ret);
}

VS_TP_BUILTIN(is_iterable)
{
    return answer(vs_tp_iterable(in->self), in->ret);
}

VS_TP_BUILTIN(is_escaped)
{
    return answer(in->self.kind == VS_TP_STR && in->self.u.str->markup, in->ret);
}

VS_TP_BUILTIN(is_cased)
{
    struct vs_tp_str *s;
    return vs_tp_str_of(vm, in->self, &s) && vs_tp_str_is_cased(vm, s, (unsigned)in->me->variant, in->ret);
}

VS_TP_BUILTIN(is_same)
{
    struct vs_tp_value b = in->at[0];
    bool same = false;
    if (in->self.kind == b.kind && in->self.kind <= VS_TP_STR)
        return vs_tp_equal(vm, in->self, b, &same) &&
               answer(same && in->self.kind != VS_TP_UNDEFINED && in->self.kind != VS_TP_FLOAT, in->ret);
    return answer(in->self.kind == b.kind && in->self.u.list == b.u.list, in->ret);
}

VS_TP_BUILTIN(is_in)
{
    bool inside;
    return vs_tp_contains(vm, in->at[0], in->self, &inside) && answer(inside, in->ret);
}

VS_TP_BUILTIN(is_compared)
{
    bool holds;
    return vs_tp_compare(vm, (enum vs_tp_cmp)in->me->variant, in->self, in->at[0], &holds) && answer(holds, in->ret);
}

VS_TP_BUILTIN(is_known)
{
    if (in->self.kind != VS_TP_STR)
        return answer(false, in->ret);
    return answer(in->me->variant ? vs_tp_test_find(in->self.u.str) != NULL : vs_tp_filter_find(in->self.u.str) != NULL, in->ret);
}

static const struct vs_tp_callable tests[] = {
    { "defined", is_kind, "", ~(int64_t)K(UNDEFINED) },
    { "undefined", is_kind, "", K(UNDEFINED) },
    { "none", is_kind, "", K(NONE) },
    { "boolean", is_kind, "", K(BOOL) },
    { "true", is_bool, "", 1 },
    { "false", is_bool, "", 0 },
    { "integer", is_kind, "", K(INT) },
    { "float", is_kind, "", K(FLOAT) },
    { "number", is_kind, "", K(INT) | K(FLOAT) | K(BOOL) },
    { "string", is_kind, "", K(STR) },
    { "mapping", is_kind, "", K(DICT) },
    { "callable", is_kind, "", K(UNDEFINED) | K(MACRO) | K(GLOBAL) | K(METHOD) | K(JOINER) | K(LOOP) },
    { "sequence", is_sequence, "", 0 },
    { "iterable", is_iterable, "", 0 },
    { "escaped", is_escaped, "", 0 },
    { "odd", is_odd_even, "", 1 },
    { "even", is_odd_even, "", 0 },
    { "divisibleby", is_divisible, "num", 0 },
    { "lower", is_cased, "", VS_UNICODE_LOWER },
    { "upper", is_cased, "", VS_UNICODE_UPPER },
    { "sameas", is_same, "other", 0 },
    { "in", is_in, "seq", 0 },
    { "filter", is_known, "", 0 },
    { "test", is_known, "", 1 },
    { "==", is_compared, "/b", VS_TP_EQ }, { "eq", is_compared, "/b", VS_TP_EQ }, { "equalto", is_compared, "/b", VS_TP_EQ },
    { "!=", is_compared, "/b", VS_TP_NE }, { "ne", is_compared, "/b", VS_TP_NE },
    { ">", is_compared, "/b", VS_TP_GT }, { "gt", is_compared, "/b", VS_TP_GT }, { "greaterthan", is_compared, "/b", VS_TP_GT },
    { ">=", is_compared, "/b", VS_TP_GE }, { "ge", is_compared, "/b", VS_TP_GE },
    { "<", is_compared, "/b", VS_TP_LT }, { "lt", is_compared, "/b", VS_TP_LT }, { "lessthan", is_compared, "/b", VS_TP_LT },
    { "<=", is_compared, "/b", VS_TP_LE }, { "le", is_compared, "/b", VS_TP_LE },
};

const struct vs_tp_callable *vs_tp_test_find(const struct vs_tp_str *name)
{
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        if (vs_tp_str_is(name, tests[i].name))
            return &tests[i];
    return NULL;
}

bool vs_tp_run_test(struct vs_tp_vm *vm, const struct vs_tp_callable *test, struct vs_tp_value v,
                    const struct vs_tp_args *args, bool *ret)
{
    struct vs_tp_value answered;
    if (!vs_tp_invoke(vm, test, v, args, &answered))
        return false;
    *ret = vs_tp_truth(answered);
    return true;
}
