/* template/eval.c - walks the tree: expressions to values, statements to output. */
#include "template/internal.h"

#include <string.h>

enum flow { NEXT, BREAK, CONTINUE, FAILED };

static enum flow run_body(struct vs_tp_vm *vm, const struct vs_tp_nodes *body);

/* ---- frames ------------------------------------------------------------------------------------------------- */

static struct vs_tp_value *slot(struct vs_tp_vm *vm, struct vs_tp_place place)
{
    struct vs_tp_frame *f = vm->frame;
    for (uint32_t hops = place.hops; hops; hops--)
        f = f->parent;
    return &f->slot[place.slot];
}

static bool resolve(struct vs_tp_vm *vm, const struct vs_tp_str *name, struct vs_tp_value *ret)
{
    struct vs_tp_pair *p = vs_tp_dict_find_name(vm, vm->context, name);
    const struct vs_tp_callable *global = p ? NULL : vs_tp_global_find(name);
    *ret = p ? p->value : global ? VS_TP_SCALAR(VS_TP_GLOBAL, global, global) : (struct vs_tp_value){ .kind = VS_TP_MISSING };
    return vm->status == VS_OK;
}

static struct vs_tp_frame *new_frame(struct vs_tp_vm *vm, const struct vs_tp_scope *scope, struct vs_tp_frame *parent)
{
    struct vs_tp_frame *f = vs_tp_new(vm, sizeof *f + scope->n * sizeof *f->slot);
    if (f) {
        f->scope = scope;
        f->parent = parent;
    }
    return f;
}

/* Makes f the current frame, its slots as its scope says. */
static bool enter_frame(struct vs_tp_vm *vm, struct vs_tp_frame *f)
{
    if (!vs_tp_step(vm, 1 + f->scope->n))
        return false;
    vm->frame = f;
    for (size_t i = 0; i < f->scope->n; i++) {
        const struct vs_tp_symbol *s = &f->scope->symbol[i];
        f->slot[i] = (struct vs_tp_value){ .kind = VS_TP_MISSING };
        if (s->load == VS_TP_LOAD_RESOLVE) {
            if (!resolve(vm, s->name, &f->slot[i]))
                return false;
        } else if (s->load == VS_TP_LOAD_ALIAS) {
            vm->frame = f->parent;
            f->slot[i] = *slot(vm, s->outer);
            vm->frame = f;
        }
    }
    return true;
}

/* ---- expressions -------------------------------------------------------------------------------------------- */

static bool eval_name(struct vs_tp_vm *vm, const struct vs_tp_node *node, struct vs_tp_value *ret)
{
    *ret = *slot(vm, node->place);
    return ret->kind != VS_TP_MISSING || vs_tp_undefined(vm, NULL, node->name, NULL, ret);
}

static bool eval_list(struct vs_tp_vm *vm, const struct vs_tp_node *node, struct vs_tp_value *ret)
{
    struct vs_tp_list *l = vs_tp_list_new(vm, node->list.n);
    *ret = node->kind == VS_TP_N_LIST ? vs_tp_of_list(l) : vs_tp_of_tuple(l);
    for (size_t i = 0; l && i < node->list.n; i++) {
        struct vs_tp_value item;
        if (!vs_tp_eval(vm, node->list.at[i], &item) || !vs_tp_list_add(vm, l, item))
            return false;
    }
    return l != NULL;
}

static bool eval_dict(struct vs_tp_vm *vm, const struct vs_tp_node *node, struct vs_tp_value *ret)
{
    struct vs_tp_dict *d = vs_tp_dict_new(vm);
    *ret = VS_TP_SCALAR(VS_TP_DICT, dict, d);
    for (size_t i = 0; d && i + 1 < node->list.n; i += 2) {
        struct vs_tp_value key, value;
        if (!vs_tp_eval(vm, node->list.at[i], &key) || !vs_tp_eval(vm, node->list.at[i + 1], &value) ||
            !vs_tp_dict_set(vm, d, key, value))
            return false;
    }
    return d != NULL;
}

static bool eval_concat(struct vs_tp_vm *vm, const struct vs_tp_node *node, struct vs_tp_value *ret)
{
    struct vs_tp_str *all = NULL;
    for (size_t i = 0; i < node->list.n; i++) {
        struct vs_tp_value v;
        struct vs_tp_str *s;
        if (!vs_tp_eval(vm, node->list.at[i], &v) || !vs_tp_str_of(vm, v, &s))
            return false;
        all = all ? vs_tp_str_concat(vm, all, s) : s;
        if (!all)
            return false;
    }
    if (all->markup) {
        struct vs_tp_str *plain = vs_tp_new(vm, sizeof *plain);
        if (!plain)
            return false;
        *plain = *all;
        plain->markup = false;
        all = plain;
    }
    *ret = vs_tp_of_str(all);
    return true;
}

static bool eval_arith(struct vs_tp_vm *vm, const struct vs_tp_node *node, struct vs_tp_value *ret)
{
    if (!vs_tp_eval(vm, node->list.at[0], ret))
        return false;
    for (size_t i = 1; i < node->list.n; i++) {
        struct vs_tp_value right;
        if (!vs_tp_eval(vm, node->list.at[i], &right))
            return false;
        vm->line = node->line;
        if (!vs_tp_arith(vm, node->op[i], *ret, right, ret))
            return false;
    }
    return true;
}

static bool eval_logic(struct vs_tp_vm *vm, const struct vs_tp_node *node, struct vs_tp_value *ret)
{
    for (size_t i = 0; i < node->list.n; i++) {
        if (!vs_tp_eval(vm, node->list.at[i], ret))
            return false;
        if (vs_tp_truth(*ret) == (node->kind == VS_TP_N_OR))
            break;
    }
    return true;
}

static bool eval_sign(struct vs_tp_vm *vm, const struct vs_tp_node *node, struct vs_tp_value *ret)
{
    struct vs_tp_value v;
    if (!vs_tp_eval(vm, node->a, &v))
        return false;
    if (v.kind == VS_TP_UNDEFINED)
        return vs_tp_fail_undefined(vm, v);
    if (!vs_tp_is_number(v))
        return vs_tp_fail(vm, VS_E_INVALID, "bad operand type for unary %c: '%s'", node->kind == VS_TP_N_NEG ? '-' : '+',
                          vs_tp_type_name(v));
    if (node->kind == VS_TP_N_NEG && v.kind == VS_TP_FLOAT)
        *ret = vs_tp_float(-v.u.f);
    else if (node->kind == VS_TP_N_NEG)
        return vs_tp_arith(vm, VS_TP_SUB, vs_tp_int(0), v, ret);
    else
        *ret = v.kind == VS_TP_FLOAT ? v : vs_tp_int(vs_tp_as_int(v));
    ret->trusted = v.trusted;
    return true;
}

bool vs_tp_compare(struct vs_tp_vm *vm, enum vs_tp_cmp op, struct vs_tp_value a, struct vs_tp_value b, bool *ret)
{
    static const char *const spelling[] = { "==", "!=", "<", "<=", ">", ">=" };
    bool good;
    int order = 0;
    switch (op) {
    case VS_TP_EQ: return vs_tp_equal(vm, a, b, ret);
    case VS_TP_NE: good = vs_tp_equal(vm, a, b, ret); *ret = !*ret; return good;
    case VS_TP_IN: return vs_tp_contains(vm, b, a, ret);
    case VS_TP_NOT_IN: good = vs_tp_contains(vm, b, a, ret); *ret = !*ret; return good;
    default: break;
    }
    if (!vs_tp_order(vm, a, b, spelling[op], &order))
        return false;
    /* 2 means unordered: a NaN */
    *ret = order != 2 && (op == VS_TP_LT ? order < 0 : op == VS_TP_LE ? order <= 0 : op == VS_TP_GT ? order > 0 : order >= 0);
    return true;
}

static bool eval_compare(struct vs_tp_vm *vm, const struct vs_tp_node *node, struct vs_tp_value *ret)
{
    struct vs_tp_value left, right;
    bool holds = true;
    if (!vs_tp_eval(vm, node->list.at[0], &left))
        return false;
    for (size_t i = 1; holds && i < node->list.n; i++) {
        if (!vs_tp_eval(vm, node->list.at[i], &right))
            return false;
        vm->line = node->line;
        if (!vs_tp_compare(vm, node->op[i], left, right, &holds))
            return false;
        left = right;
    }
    *ret = vs_tp_bool(holds);
    return true;
}

static bool eval_cond(struct vs_tp_vm *vm, const struct vs_tp_node *node, struct vs_tp_value *ret)
{
    struct vs_tp_value test;
    if (!vs_tp_eval(vm, node->b, &test))
        return false;
    if (vs_tp_truth(test))
        return vs_tp_eval(vm, node->a, ret);
    if (node->c)
        return vs_tp_eval(vm, node->c, ret);
    return vs_tp_undefined(vm, NULL, NULL, "the inline if-expression evaluated to false and has no else part", ret);
}

static bool eval_getitem(struct vs_tp_vm *vm, const struct vs_tp_node *node, struct vs_tp_value *ret)
{
    struct vs_tp_value object, key;
    if (!vs_tp_eval(vm, node->a, &object))
        return false;
    if (node->b->kind != VS_TP_N_SLICE) {
        if (!vs_tp_eval(vm, node->b, &key))
            return false;
        vm->line = node->line;
        return vs_tp_getitem(vm, object, key, ret);
    }
    const struct vs_tp_node *part[3] = { node->b->a, node->b->b, node->b->c };
    struct vs_tp_value bound[3] = { vs_tp_none(), vs_tp_none(), vs_tp_none() };
    for (int i = 0; i < 3; i++)
        if (part[i] && !vs_tp_eval(vm, part[i], &bound[i]))
            return false;
    vm->line = node->line;
    return vs_tp_slice(vm, object, bound, ret);
}

static struct vs_tp_pair *find_named(struct vs_tp_vm *vm, const struct vs_tp_args *args, const struct vs_tp_str *name)
{
    for (size_t i = 0; i < args->n_named && vs_tp_work(vm, 16); i++) {
        const struct vs_tp_str *key = args->named[i].key.u.str;
        bool same = false;
        if (key->n == name->n && vs_tp_same(vm, key->s, name->s, key->n, &same) && same)
            return &args->named[i];
    }
    return NULL;
}

static bool add_named(struct vs_tp_vm *vm, struct vs_tp_args *args, size_t *cap, struct vs_tp_value key, struct vs_tp_value value)
{
    if (find_named(vm, args, key.u.str))
        return vs_tp_fail(vm, VS_E_INVALID, "got multiple values for a keyword argument");
    if (args->n_named == *cap) {
        size_t more = *cap ? *cap * 2 : 4;
        struct vs_tp_pair *grown = vs_tp_grow(vm, args->named, *cap * sizeof *grown, more * sizeof *grown);
        if (!grown)
            return false;
        args->named = grown;
        *cap = more;
    }
    args->named[args->n_named++] = (struct vs_tp_pair){ .key = key, .value = value };
    return vm->status == VS_OK;
}

/* The arguments of a call, filter or test, in Python's order of evaluation. */
static bool eval_args(struct vs_tp_vm *vm, const struct vs_tp_node *node, struct vs_tp_args *args)
{
    *args = (struct vs_tp_args){ 0 };
    size_t cap = 0;
    struct vs_tp_list *list = node->list.n || node->star ? vs_tp_list_new(vm, node->list.n) : NULL;
    struct vs_tp_value v;
    if ((node->list.n || node->star) && !list)
        return false;
    for (size_t i = 0; i < node->list.n; i++)
        if (!vs_tp_eval(vm, node->list.at[i], &v) || !vs_tp_list_add(vm, list, v))
            return false;
    if (node->star) {
        struct vs_tp_list *more;
        if (!vs_tp_eval(vm, node->star, &v) || !vs_tp_list_of(vm, v, &more))
            return false;
        for (size_t i = 0; i < more->n; i++)
            if (!vs_tp_list_add(vm, list, more->item[i]))
                return false;
    }
    for (size_t i = 0; i < node->more.n; i++)
        if (!vs_tp_eval(vm, node->more.at[i]->a, &v) || !add_named(vm, args, &cap, vs_tp_of_str(node->more.at[i]->name), v))
            return false;
    if (node->star_star) {
        if (!vs_tp_eval(vm, node->star_star, &v))
            return false;
        if (v.kind != VS_TP_DICT)
            return vs_tp_fail(vm, VS_E_INVALID, "argument after ** must be a mapping, not %s", vs_tp_type_name(v));
        for (size_t i = 0; i < v.u.dict->n; i++) {
            if (v.u.dict->pair[i].key.kind != VS_TP_STR)
                return vs_tp_fail(vm, VS_E_INVALID, "keywords must be strings");
            if (!add_named(vm, args, &cap, v.u.dict->pair[i].key, v.u.dict->pair[i].value))
                return false;
        }
    }
    if (list) {
        args->at = list->item;
        args->n = list->n;
    }
    return true;
}

static bool apply_filter(struct vs_tp_vm *vm, const struct vs_tp_node *node, struct vs_tp_value subject, struct vs_tp_value *ret)
{
    struct vs_tp_args args;
    if (!eval_args(vm, node, &args))
        return false;
    vm->line = node->line;
    if (!node->callable)
        return vs_tp_fail(vm, VS_E_MALFORMED, "there is no %s %.*s", node->kind == VS_TP_N_FILTER ? "filter" : "test",
                          (int)(node->name->n < 60 ? node->name->n : 60), node->name->s);
    if (!vs_tp_invoke(vm, node->callable, subject, &args, ret))
        return false;
    if (node->negated)
        *ret = vs_tp_bool(!vs_tp_truth(*ret));
    return true;
}

/* A chain of filters of a block, from the inside out. */
static bool apply_chain(struct vs_tp_vm *vm, const struct vs_tp_node *node, struct vs_tp_value *value)
{
    if (!node)
        return true;
    if (!vs_tp_enter(vm))
        return false;
    bool good = apply_chain(vm, node->a, value) && apply_filter(vm, node, *value, value);
    vs_tp_leave(vm);
    return good;
}

static bool eval_apply(struct vs_tp_vm *vm, const struct vs_tp_node *node, struct vs_tp_value *ret)
{
    struct vs_tp_value subject;
    return vs_tp_eval(vm, node->a, &subject) && apply_filter(vm, node, subject, ret);
}

static bool eval_call(struct vs_tp_vm *vm, const struct vs_tp_node *node, struct vs_tp_value *ret)
{
    struct vs_tp_value f;
    struct vs_tp_args args;
    if (!vs_tp_eval(vm, node->a, &f) || !eval_args(vm, node, &args))
        return false;
    vm->line = node->line;
    return vs_tp_call(vm, f, &args, ret);
}

static bool eval_node(struct vs_tp_vm *vm, const struct vs_tp_node *node, struct vs_tp_value *ret)
{
    struct vs_tp_value v;
    switch (node->kind) {
    case VS_TP_N_CONST: *ret = node->value; return true;
    case VS_TP_N_NAME: return eval_name(vm, node, ret);
    case VS_TP_N_TUPLE: case VS_TP_N_LIST: return eval_list(vm, node, ret);
    case VS_TP_N_DICT: return eval_dict(vm, node, ret);
    case VS_TP_N_CONCAT: return eval_concat(vm, node, ret);
    case VS_TP_N_ARITH: return eval_arith(vm, node, ret);
    case VS_TP_N_AND: case VS_TP_N_OR: return eval_logic(vm, node, ret);
    case VS_TP_N_NOT:
        if (!vs_tp_eval(vm, node->a, &v))
            return false;
        *ret = vs_tp_bool(!vs_tp_truth(v));
        return true;
    case VS_TP_N_NEG: case VS_TP_N_POS: return eval_sign(vm, node, ret);
    case VS_TP_N_COMPARE: return eval_compare(vm, node, ret);
    case VS_TP_N_COND: return eval_cond(vm, node, ret);
    case VS_TP_N_GETATTR:
        if (!vs_tp_eval(vm, node->a, &v))
            return false;
        vm->line = node->line;
        return vs_tp_getattr(vm, v, node->name, ret);
    case VS_TP_N_GETITEM: return eval_getitem(vm, node, ret);
    case VS_TP_N_FILTER: case VS_TP_N_TEST: return eval_apply(vm, node, ret);
    case VS_TP_N_CALL: return eval_call(vm, node, ret);
    default: return vs_tp_fail(vm, VS_E_UNSUPPORTED, "this expression is not supported here");
    }
}

bool vs_tp_eval(struct vs_tp_vm *vm, const struct vs_tp_node *node, struct vs_tp_value *ret)
{
    vm->line = node->line;
    if (!vs_tp_step(vm, 1) || !vs_tp_enter(vm))
        return false;
    bool good = eval_node(vm, node, ret);
    vs_tp_leave(vm);
    return good;
}

/* ---- output ------------------------------------------------------------------------------------------------- */

static bool emit(struct vs_tp_vm *vm, const struct vs_tp_str *s)
{
    if (vm->capture)
        return vs_tp_put_str(vm->capture, s);
    if (s->n > vm->out_limit - vm->out->text.n)
        return vs_tp_fail(vm, VS_E_LIMIT, "the text grows beyond %zu bytes", vm->out_limit);
    for (size_t i = 0; i < s->n;) {
        size_t most = s->n - i < 1 << 16 ? s->n : i + (1 << 16), run = most;
        if (s->mark)
            for (run = i + 1; run < most && s->mark[run] == s->mark[i];)
                run++;
        if (!vs_tp_work(vm, 16 + run - i))
            return false;
        int status = vs_marked_text_add(vm->out, s->s + i, run - i, vs_tp_mark(s, i));
        if (status != VS_OK)
            return vs_tp_fail(vm, status, "%s", vs_status_text(status));
        i = run;
    }
    return true;
}

static bool emit_value(struct vs_tp_vm *vm, struct vs_tp_value v)
{
    struct vs_tp_str *s;
    if (v.kind == VS_TP_UNDEFINED)
        return true;
    return vs_tp_str_of(vm, v, &s) && emit(vm, s);
}

/* ---- assignment --------------------------------------------------------------------------------------------- */

static bool assign(struct vs_tp_vm *vm, const struct vs_tp_node *target, struct vs_tp_value v)
{
    if (target->kind == VS_TP_N_NAME) {
        *slot(vm, target->place) = v;
        return true;
    }
    if (target->kind == VS_TP_N_NSREF) {
        struct vs_tp_value ns = *slot(vm, target->place);
        if (target->attr->n && target->attr->s[0] == '_')
            return vs_tp_fail(vm, VS_E_INVALID, "a namespace takes no attribute that begins with an underscore");
        return vs_tp_dict_set(vm, ns.u.dict, vs_tp_of_str(target->attr), v);
    }
    struct vs_tp_list *l;
    if (!vs_tp_list_of(vm, v, &l))
        return false;
    if (l->n != target->list.n)
        return vs_tp_fail(vm, VS_E_INVALID, "%s values to unpack (expected %zu)", l->n > target->list.n ? "too many" : "not enough",
                          target->list.n);
    if (!vs_tp_enter(vm))
        return false;
    bool good = true;
    for (size_t i = 0; good && i < l->n; i++)
        good = assign(vm, target->list.at[i], l->item[i]);
    vs_tp_leave(vm);
    return good;
}

static bool check_refs(struct vs_tp_vm *vm, const struct vs_tp_node *target)
{
    if (target->kind == VS_TP_N_NSREF && slot(vm, target->place)->kind != VS_TP_NAMESPACE)
        return vs_tp_fail(vm, VS_E_INVALID, "cannot assign attribute on non-namespace object");
    for (size_t i = 0; i < target->list.n; i++)
        if (!check_refs(vm, target->list.at[i]))
            return false;
    return true;
}

static enum flow run_set(struct vs_tp_vm *vm, const struct vs_tp_node *node)
{
    struct vs_tp_value v;
    return check_refs(vm, node->a) && vs_tp_eval(vm, node->b, &v) && assign(vm, node->a, v) ? NEXT : FAILED;
}

/* ---- blocks with a frame ------------------------------------------------------------------------------------ */

/* Runs body in a new frame, its output into *ret when that is given. The frame stays current (the caller restores). */
static enum flow run_captured(struct vs_tp_vm *vm, const struct vs_tp_nodes *body, struct vs_tp_value *ret)
{
    struct vs_tp_builder b, *outer = vm->capture;
    vs_tp_build(&b, vm);
    vm->capture = &b;
    enum flow flow = run_body(vm, body);
    vm->capture = outer;
    if (flow == NEXT && !vs_tp_built_value(&b, ret))
        flow = FAILED;
    return flow;
}

static enum flow run_filtered(struct vs_tp_vm *vm, const struct vs_tp_node *node)
{
    struct vs_tp_frame *outer = vm->frame, *f = new_frame(vm, node->scope, outer);
    struct vs_tp_value v;
    if (!f || !enter_frame(vm, f))
        return FAILED;
    enum flow flow = run_captured(vm, &node->body, &v);
    if (flow == NEXT && !apply_chain(vm, node->b, &v))
        flow = FAILED;
    vm->frame = outer;
    if (flow != NEXT)
        return flow;
    if (node->kind == VS_TP_N_FILTER_BLOCK)
        return emit_value(vm, v) ? NEXT : FAILED;
    return check_refs(vm, node->a) && assign(vm, node->a, v) ? NEXT : FAILED;
}

static enum flow run_with(struct vs_tp_vm *vm, const struct vs_tp_node *node)
{
    struct vs_tp_frame *outer = vm->frame, *f = new_frame(vm, node->scope, outer);
    if (!f || !enter_frame(vm, f))
        return FAILED;
    for (size_t i = 0; i < node->list.n; i++) {
        struct vs_tp_value v;
        vm->frame = outer;
        bool good = vs_tp_eval(vm, node->more.at[i], &v);
        vm->frame = f;
        if (!good || !assign(vm, node->list.at[i], v))
            return FAILED;
    }
    enum flow flow = run_body(vm, &node->body);
    vm->frame = outer;
    return flow;
}

static bool make_macro(struct vs_tp_vm *vm, const struct vs_tp_node *node, struct vs_tp_value *ret)
{
    struct vs_tp_macro *m = vs_tp_new(vm, sizeof *m);
    if (!m)
        return false;
    m->node = node;
    m->frame = vm->frame;
    *ret = VS_TP_SCALAR(VS_TP_MACRO, macro, m);
    return true;
}

/* Fills the frame of a call: parameters, then caller, kwargs and varargs where the body uses them. */
static bool bind_macro(struct vs_tp_vm *vm, const struct vs_tp_node *node, const struct vs_tp_args *args)
{
    struct vs_tp_frame *f = vm->frame;
    size_t n = node->list.n, used = 0;
    static const struct vs_tp_str caller_name = { .s = "caller", .n = 6 };
    for (size_t i = 0; i < n; i++) {
        struct vs_tp_pair *named = i < args->n ? NULL : find_named(vm, args, node->list.at[i]->name);
        used += named != NULL;
        f->slot[node->list.at[i]->place.slot] = i < args->n ? args->at[i] : named ? named->value
                                                : (struct vs_tp_value){ .kind = VS_TP_MISSING };
    }
    struct vs_tp_pair *caller = find_named(vm, args, &caller_name);
    bool takes_caller = node->caller >= 0 && !node->explicit_caller;
    if (takes_caller) {
        used += caller != NULL;
        if (caller)
            f->slot[node->caller] = caller->value;
        else if (!vs_tp_undefined(vm, NULL, NULL, "No caller defined", &f->slot[node->caller]))
            return false;
    }
    if (node->kwargs >= 0) {
        struct vs_tp_dict *d = vs_tp_dict_new(vm);
        for (size_t i = 0; d && i < args->n_named; i++) {
            struct vs_tp_str *key = args->named[i].key.u.str;
            bool taken = takes_caller && vs_tp_str_equal(key, &caller_name);
            for (size_t k = args->n; k < n && vs_tp_work(vm, 16); k++)
                taken = taken || vs_tp_str_equal(key, node->list.at[k]->name);
            if (!taken && !vs_tp_dict_set(vm, d, args->named[i].key, args->named[i].value))
                return false;
        }
        if (!d)
            return false;
        f->slot[node->kwargs] = VS_TP_SCALAR(VS_TP_DICT, dict, d);
    } else if (used < args->n_named) {
        return vs_tp_fail(vm, VS_E_INVALID, "the macro takes no such keyword argument");
    }
    if (node->varargs >= 0) {
        struct vs_tp_list *l = vs_tp_list_new(vm, 0);
        for (size_t i = n; l && i < args->n; i++)
            if (!vs_tp_list_add(vm, l, args->at[i]))
                return false;
        if (!l)
            return false;
        f->slot[node->varargs] = vs_tp_of_tuple(l);
    } else if (args->n > n) {
        return vs_tp_fail(vm, VS_E_INVALID, "the macro takes not more than %zu argument(s)", n);
    }
    for (size_t i = 0; i < n; i++) {
        struct vs_tp_value *v = &f->slot[node->list.at[i]->place.slot];
        if (v->kind != VS_TP_MISSING)
            continue;
        size_t first = n - node->more.n;
        if (i < first ? !vs_tp_undefined(vm, NULL, node->list.at[i]->name, NULL, v) : !vs_tp_eval(vm, node->more.at[i - first], v))
            return false;
    }
    return true;
}

bool vs_tp_call_macro(struct vs_tp_vm *vm, struct vs_tp_macro *m, const struct vs_tp_args *args, struct vs_tp_value *ret)
{
    if (vm->calls == vm->max_calls)
        return vs_tp_fail(vm, VS_E_LIMIT, "macros call each other more than %u deep", vm->max_calls);
    struct vs_tp_frame *outer = vm->frame, *f = new_frame(vm, m->node->scope, m->frame);
    uint32_t line = vm->line;
    if (!f || !vs_tp_enter(vm))
        return false;
    vm->calls++;
    bool good = enter_frame(vm, f) && bind_macro(vm, m->node, args) && run_captured(vm, &m->node->body, ret) == NEXT;
    vm->calls--;
    vm->frame = outer;
    if (good)
        vm->line = line;
    vs_tp_leave(vm);
    return good;
}

static enum flow run_call_block(struct vs_tp_vm *vm, const struct vs_tp_node *node)
{
    struct vs_tp_value f, v, caller;
    struct vs_tp_args args;
    static struct vs_tp_str name = { .s = "caller", .n = 6, .n_chars = 6, .trusted = true };
    if (!make_macro(vm, node->b, &caller) || !vs_tp_eval(vm, node->a->a, &f) || !eval_args(vm, node->a, &args))
        return FAILED;
    size_t cap = args.n_named;
    if (!add_named(vm, &args, &cap, vs_tp_of_str(&name), caller))
        return FAILED;
    return vs_tp_call(vm, f, &args, &v) && emit_value(vm, v) ? NEXT : FAILED;
}

static enum flow run_generation(struct vs_tp_vm *vm, const struct vs_tp_node *node)
{
    struct vs_tp_value macro, v;
    const struct vs_tp_args none = { 0 };
    return make_macro(vm, node->b, &macro) && vs_tp_call_macro(vm, macro.u.macro, &none, &v) && emit_value(vm, v) ? NEXT : FAILED;
}

/* ---- loops -------------------------------------------------------------------------------------------------- */

struct filtered { struct vs_tp_iter it; const struct vs_tp_node *node; struct vs_tp_frame *frame; };

/* The generator of `for x in y if test`. */
static int next_filtered(struct vs_tp_vm *vm, struct vs_tp_iter *it, struct vs_tp_value *ret)
{
    struct filtered *f = (struct filtered *)it;
    struct vs_tp_frame *outer = vm->frame;
    int more;
    while ((more = vs_tp_iter_next(vm, it->inner, ret)) > 0) {
        struct vs_tp_value test;
        vm->frame = f->frame;
        bool good = assign(vm, f->node->a, *ret) && vs_tp_eval(vm, f->node->c, &test);
        vm->frame = outer;
        if (!good)
            return -1;
        if (vs_tp_truth(test))
            break;
    }
    return more;
}

static bool filter_loop(struct vs_tp_vm *vm, const struct vs_tp_node *node, struct vs_tp_value *iterable)
{
    struct filtered *f = vs_tp_new(vm, sizeof *f);
    struct vs_tp_frame *outer = vm->frame;
    if (!f || !vs_tp_iter(vm, *iterable, &f->it.inner))
        return false;
    f->it.next = next_filtered;
    f->it.generator = true;
    f->node = node;
    f->frame = new_frame(vm, node->scope_c, outer);
    bool good = f->frame && enter_frame(vm, f->frame);
    vm->frame = outer;
    *iterable = VS_TP_SCALAR(VS_TP_ITER, iter, &f->it);
    return good;
}

/* Moves the loop on: 1, 0 at the end, -1. */
static int next_round(struct vs_tp_vm *vm, struct vs_tp_loop *loop)
{
    struct vs_tp_value v = loop->after;
    int more = loop->ended ? 0 : 1;
    if (loop->has_after)
        loop->has_after = false;
    else if (more)
        more = vs_tp_iter_next(vm, loop->it, &v);
    if (more <= 0)
        return more;
    loop->has_before = loop->index0 != SIZE_MAX;
    loop->index0++;
    loop->before = loop->current;
    loop->current = v;
    return 1;
}

static enum flow run_for(struct vs_tp_vm *vm, const struct vs_tp_node *node)
{
    struct vs_tp_frame *outer = vm->frame;
    struct vs_tp_loop *loop = vs_tp_new(vm, sizeof *loop);
    if (!loop || !vs_tp_eval(vm, node->b, &loop->iterable))
        return FAILED;
    vm->line = node->line;
    if ((node->c && !filter_loop(vm, node, &loop->iterable)) || !vs_tp_iter(vm, loop->iterable, &loop->it))
        return FAILED;
    struct vs_tp_frame *f = new_frame(vm, node->scope, outer);
    if (!f)
        return FAILED;
    loop->index0 = SIZE_MAX;
    bool finished_one = false;
    for (;;) {
        vm->frame = outer;
        int more = next_round(vm, loop);
        if (more < 0)
            return FAILED;
        if (!more)
            break;
        if (!enter_frame(vm, f) || !assign(vm, node->a, loop->current))
            return FAILED;
        if (!node->simple)
            f->slot[node->place.slot] = VS_TP_SCALAR(VS_TP_LOOP, loop, loop);
        enum flow flow = run_body(vm, &node->body);
        if (flow == FAILED)
            return FAILED;
        finished_one = finished_one || flow == NEXT;
        if (flow == BREAK)
            break;
    }
    vm->frame = outer;
    if (finished_one || !node->other.n)
        return NEXT;
    struct vs_tp_frame *e = new_frame(vm, node->scope_b, outer);
    if (!e || !enter_frame(vm, e))
        return FAILED;
    enum flow flow = run_body(vm, &node->other);
    vm->frame = outer;
    return flow;
}

/* ---- statements --------------------------------------------------------------------------------------------- */

static enum flow run_if(struct vs_tp_vm *vm, const struct vs_tp_node *node)
{
    for (size_t i = 0; i < node->more.n; i++) {
        struct vs_tp_value test;
        if (!vs_tp_eval(vm, node->more.at[i], &test))
            return FAILED;
        if (vs_tp_truth(test))
            return run_body(vm, &node->bodies[i]);
    }
    return run_body(vm, &node->other);
}

static enum flow run_output(struct vs_tp_vm *vm, const struct vs_tp_node *node)
{
    for (size_t i = 0; i < node->list.n; i++) {
        struct vs_tp_value v;
        if (!vs_tp_eval(vm, node->list.at[i], &v) || !emit_value(vm, v))
            return FAILED;
    }
    return NEXT;
}

static enum flow run_macro(struct vs_tp_vm *vm, const struct vs_tp_node *node)
{
    struct vs_tp_value macro;
    if (!make_macro(vm, node, &macro))
        return FAILED;
    *slot(vm, node->place) = macro;
    return NEXT;
}

static enum flow run_statement(struct vs_tp_vm *vm, const struct vs_tp_node *node)
{
    switch (node->kind) {
    case VS_TP_N_OUTPUT: return run_output(vm, node);
    case VS_TP_N_SET: return run_set(vm, node);
    case VS_TP_N_SET_BLOCK: case VS_TP_N_FILTER_BLOCK: return run_filtered(vm, node);
    case VS_TP_N_IF: return run_if(vm, node);
    case VS_TP_N_FOR: return run_for(vm, node);
    case VS_TP_N_BREAK: return BREAK;
    case VS_TP_N_CONTINUE: return CONTINUE;
    case VS_TP_N_MACRO: return run_macro(vm, node);
    case VS_TP_N_CALL_BLOCK: return run_call_block(vm, node);
    case VS_TP_N_GENERATION: return run_generation(vm, node);
    case VS_TP_N_WITH: return run_with(vm, node);
    default: vs_tp_fail(vm, VS_E_UNSUPPORTED, "this statement is not supported"); return FAILED;
    }
}

static enum flow run_body(struct vs_tp_vm *vm, const struct vs_tp_nodes *body)
{
    if (!body->n)
        return NEXT;
    if (!vs_tp_enter(vm))
        return FAILED;
    struct vs_tp_frame *frame = vm->frame;
    enum flow flow = NEXT;
    for (size_t i = 0; flow == NEXT && i < body->n; i++) {
        vm->line = body->at[i]->line;
        flow = vs_tp_step(vm, 1) ? run_statement(vm, body->at[i]) : FAILED;
    }
    vm->frame = frame;
    vs_tp_leave(vm);
    return flow;
}

bool vs_tp_run(struct vs_tp_vm *vm, const struct vs_template *t)
{
    struct vs_tp_frame *f = new_frame(vm, t->scope, NULL);
    return f && enter_frame(vm, f) && run_body(vm, &t->body) == NEXT;
}
