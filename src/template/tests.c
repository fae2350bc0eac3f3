/* template/tests.c - the tests behind `is`, as one table. */
#include "template/internal.h"
#include "unicode/unicode.h"

#include <string.h>

#define TEST(name)                                                                                              \
    static bool name(struct vs_tp_vm *vm, const struct vs_tp_callable *me, struct vs_tp_value self,            \
                     const struct vs_tp_args *args, const struct vs_tp_bound *bound, struct vs_tp_value *ret)
#define UNUSED (void)vm, (void)me, (void)self, (void)args, (void)bound, (void)ret

static bool answer(bool yes, struct vs_tp_value *ret)
{
    *ret = vs_tp_bool(yes);
    return true;
}

/* variant: the set of kinds that pass */
#define K(kind) (1 << VS_TP_##kind)

TEST(is_kind)
{
    UNUSED;
    return answer(me->variant >> self.kind & 1, ret);
}

TEST(is_bool)
{
    UNUSED;
    return answer(self.kind == VS_TP_BOOL && self.u.b == (me->variant != 0), ret);
}

/* value % variant (or % argument) == rest */
static bool divides(struct vs_tp_vm *vm, struct vs_tp_value v, struct vs_tp_value by, int64_t rest, struct vs_tp_value *ret)
{
    bool same;
    return vs_tp_arith(vm, VS_TP_MOD, v, by, &v) && vs_tp_equal(vm, v, vs_tp_int(rest), &same) && answer(same, ret);
}

TEST(is_odd_even)
{
    UNUSED;
    return divides(vm, self, vs_tp_int(2), me->variant, ret);
}

TEST(is_divisible)
{
    UNUSED;
    return divides(vm, self, bound->at[0], 0, ret);
}

TEST(is_sequence)
{
    UNUSED;
    return answer(self.kind == VS_TP_UNDEFINED || (self.kind >= VS_TP_STR && self.kind <= VS_TP_DICT) || self.kind == VS_TP_RANGE, ret);
}

TEST(is_iterable)
{
    UNUSED;
    return answer(vs_tp_iterable(self), ret);
}

TEST(is_escaped)
{
    UNUSED;
    return answer(self.kind == VS_TP_STR && self.u.str->markup, ret);
}

/* All cased letters have the case asked for, and there is one. */
TEST(is_cased)
{
    UNUSED;
    struct vs_tp_str *s;
    if (!vs_tp_str_of(vm, self, &s))
        return false;
    bool any = false;
    for (struct vs_tp_walk w = vs_tp_over(vm, s, 0, s->n); vs_tp_walk(&w);) {
        unsigned flags = vs_unicode(w.c)->flags;
        if (flags & VS_UNICODE_CASED & ~(unsigned)me->variant)
            return answer(false, ret);
        any = any || (flags & (unsigned)me->variant);
    }
    return answer(any, ret);
}

TEST(is_same)
{
    UNUSED;
    struct vs_tp_value b = bound->at[0];
    bool same = false;
    if (self.kind == b.kind && self.kind <= VS_TP_STR)
        return vs_tp_equal(vm, self, b, &same) && answer(same && self.kind != VS_TP_UNDEFINED && self.kind != VS_TP_FLOAT, ret);
    return answer(self.kind == b.kind && self.u.list == b.u.list, ret);
}

TEST(is_in)
{
    UNUSED;
    bool in;
    return vs_tp_contains(vm, bound->at[0], self, &in) && answer(in, ret);
}

TEST(is_compared)
{
    UNUSED;
    static const char *const spelling[] = { "==", "!=", "<", "<=", ">", ">=" };
    bool same;
    int order;
    if (me->variant == VS_TP_EQ || me->variant == VS_TP_NE)
        return vs_tp_equal(vm, self, bound->at[0], &same) && answer(same == (me->variant == VS_TP_EQ), ret);
    if (!vs_tp_order(vm, self, bound->at[0], spelling[me->variant], &order))
        return false;
    bool yes = me->variant == VS_TP_LT ? order < 0 : me->variant == VS_TP_LE ? order <= 0 : me->variant == VS_TP_GT ? order > 0
             : order >= 0;
    return answer(yes && order != 2, ret);
}

TEST(is_known)
{
    UNUSED;
    if (self.kind != VS_TP_STR)
        return answer(false, ret);
    return answer(me->variant ? vs_tp_test_find(self.u.str) != NULL : vs_tp_filter_find(self.u.str) != NULL, ret);
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
