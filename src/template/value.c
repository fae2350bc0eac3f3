/* template/value.c - Python's values: truth, equality, order, containers, iteration, attributes, arithmetic, str and repr. */
#include "template/internal.h"
#include "base/word.h"
#include "unicode/unicode.h"

#include <math.h>
#include <string.h>

const char *vs_tp_type_name(struct vs_tp_value v)
{
    static const char *const names[VS_TP_N_KINDS] = {
        "missing", "Undefined", "NoneType", "bool", "int", "float", "str", "list", "tuple", "dict", "dict view", "range",
        "generator", "Namespace", "LoopContext", "Macro", "function", "method", "Cycler", "Joiner",
    };
    return v.kind < VS_TP_N_KINDS ? names[v.kind] : "?";
}

bool vs_tp_undefined(struct vs_tp_vm *vm, const char *owner, struct vs_tp_str *name, const char *hint,
                     struct vs_tp_value *ret)
{
    struct vs_tp_undefined *u = vs_tp_new(vm, sizeof *u);
    if (!u)
        return false;
    *u = (struct vs_tp_undefined){ owner, name, hint };
    *ret = VS_TP_SCALAR(VS_TP_UNDEFINED, undefined, u);
    return true;
}

bool vs_tp_fail_undefined(struct vs_tp_vm *vm, struct vs_tp_value v)
{
    const struct vs_tp_undefined *u = v.u.undefined;
    int n = u->name ? (int)(u->name->n < 80 ? u->name->n : 80) : 0;
    const char *name = u->name ? u->name->s : "";
    if (u->hint)
        return vs_tp_fail(vm, VS_E_INVALID, "%s", u->hint);
    if (u->owner)
        return vs_tp_fail(vm, VS_E_INVALID, "'%s object' has no attribute '%.*s'", u->owner, n, name);
    return vs_tp_fail(vm, VS_E_INVALID, "'%.*s' is undefined", n, name);
}

bool vs_tp_is_int(struct vs_tp_value v) { return v.kind == VS_TP_INT || v.kind == VS_TP_BOOL; }
bool vs_tp_is_number(struct vs_tp_value v) { return vs_tp_is_int(v) || v.kind == VS_TP_FLOAT; }
int64_t vs_tp_as_int(struct vs_tp_value v) { return v.kind == VS_TP_BOOL ? v.u.b : v.u.i; }
double vs_tp_as_float(struct vs_tp_value v) { return v.kind == VS_TP_FLOAT ? v.u.f : (double)vs_tp_as_int(v); }

bool vs_tp_truth(struct vs_tp_value v)
{
    switch (v.kind) {
    case VS_TP_MISSING: case VS_TP_UNDEFINED: case VS_TP_NONE: return false;
    case VS_TP_BOOL: return v.u.b;
    case VS_TP_INT: return v.u.i != 0;
    case VS_TP_FLOAT: return v.u.f != 0;
    case VS_TP_STR: return v.u.str->n != 0;
    case VS_TP_LIST: case VS_TP_TUPLE: return v.u.list->n != 0;
    case VS_TP_DICT: return v.u.dict->n != 0;
    case VS_TP_VIEW: return v.u.view->dict->n != 0;
    case VS_TP_RANGE: return v.u.range->n != 0;
    default: return true;
    }
}

/* ---- containers --------------------------------------------------------------------------------------------- */

struct vs_tp_list *vs_tp_list_new(struct vs_tp_vm *vm, size_t cap)
{
    struct vs_tp_list *l = vs_tp_new(vm, sizeof *l);
    if (l && cap) {
        l->item = vs_tp_alloc(&vm->arena, cap * sizeof *l->item);
        l->cap = cap;
        if (!l->item)
            return vs_tp_fail_memory(vm), NULL;
    }
    return l;
}

bool vs_tp_list_add(struct vs_tp_vm *vm, struct vs_tp_list *l, struct vs_tp_value v)
{
    if (l->n == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 4;
        struct vs_tp_value *item = vs_tp_grow(vm, l->item, l->cap * sizeof *item, cap * sizeof *item);
        if (!item)
            return false;
        l->item = item;
        l->cap = cap;
    }
    l->item[l->n++] = v;
    return vs_tp_work(vm, sizeof v);
}

void vs_tp_list_reverse(struct vs_tp_list *l)
{
    for (size_t i = 0; i < l->n / 2; i++) {
        struct vs_tp_value v = l->item[i];
        l->item[i] = l->item[l->n - 1 - i];
        l->item[l->n - 1 - i] = v;
    }
}

bool vs_tp_pair_tuple(struct vs_tp_vm *vm, struct vs_tp_value a, struct vs_tp_value b, struct vs_tp_value *ret)
{
    struct vs_tp_list *l = vs_tp_list_new(vm, 2);
    if (!l)
        return false;
    *ret = vs_tp_of_tuple(l);
    return vs_tp_list_add(vm, l, a) && vs_tp_list_add(vm, l, b);
}

bool vs_tp_list_of(struct vs_tp_vm *vm, struct vs_tp_value v, struct vs_tp_list **ret)
{
    struct vs_tp_iter *it;
    struct vs_tp_value item;
    *ret = vs_tp_list_new(vm, 0);
    if (!*ret || !vs_tp_iter(vm, v, &it))
        return false;
    int more;
    while ((more = vs_tp_iter_next(vm, it, &item)) > 0)
        if (!vs_tp_list_add(vm, *ret, item))
            return false;
    return more == 0;
}

struct vs_tp_dict *vs_tp_dict_new(struct vs_tp_vm *vm)
{
    return vs_tp_new(vm, sizeof(struct vs_tp_dict));
}

static uint64_t mix(uint64_t h, uint64_t x)
{
    h ^= x;
    h *= 0x9e3779b97f4a7c15u;
    return h ^ h >> 29;
}

static int hash_tuple(struct vs_tp_vm *vm, const struct vs_tp_list *l, uint64_t *ret);

/* Equal keys have equal hashes: 1, 1.0 and True are one key. 1: *ret; 0: v can't be hashed; -1: failed. */
static int hash(struct vs_tp_vm *vm, struct vs_tp_value v, uint64_t *ret)
{
    uint64_t h = 0xcbf29ce484222325u;
    switch (v.kind) {
    case VS_TP_LIST: case VS_TP_DICT: case VS_TP_VIEW: return 0;
    case VS_TP_BOOL: case VS_TP_INT: *ret = mix(2, (uint64_t)vs_tp_as_int(v)); return 1;
    case VS_TP_FLOAT:
        if (v.u.f == floor(v.u.f) && fabs(v.u.f) < 9e18) {
            *ret = mix(2, (uint64_t)(int64_t)v.u.f);
        } else {
            memcpy(&h, &v.u.f, sizeof h);
            *ret = mix(3, h);
        }
        return 1;
    case VS_TP_STR:
        for (size_t i = 0; i < v.u.str->n; i++) {
            if (i % 4096 == 0 && !vs_tp_work(vm, v.u.str->n - i < 4096 ? v.u.str->n - i : 4096))
                return -1;
            h = (h ^ (unsigned char)v.u.str->s[i]) * 0x100000001b3u;
        }
        *ret = mix(4, h);
        return 1;
    case VS_TP_TUPLE: return hash_tuple(vm, v.u.list, ret);
    default: *ret = mix(v.kind, 5); return 1;
    }
}

static int hash_tuple(struct vs_tp_vm *vm, const struct vs_tp_list *l, uint64_t *ret)
{
    uint64_t all = 1, h;
    int known = 1;
    if (!vs_tp_enter(vm))
        return -1;
    for (size_t i = 0; i < l->n && known > 0; i++) {
        known = vs_tp_step(vm, 1) ? hash(vm, l->item[i], &h) : -1;
        all = known > 0 ? mix(all, h) : all;
    }
    vs_tp_leave(vm);
    *ret = all;
    return known;
}

static bool need_hash(struct vs_tp_vm *vm, struct vs_tp_value key, uint64_t *ret)
{
    int known = hash(vm, key, ret);
    return known > 0 || (known == 0 && vs_tp_fail(vm, VS_E_INVALID, "unhashable type: '%s'", vs_tp_type_name(key)));
}

enum { SMALL_DICT = 8 };

static bool find_hashed(struct vs_tp_vm *vm, struct vs_tp_dict *d, struct vs_tp_value key, uint64_t h, struct vs_tp_pair **ret)
{
    *ret = NULL;
    size_t mask = d->n_slots - 1, at = d->n_slots ? h & mask : 0;
    for (size_t i = 0;; i++) {
        struct vs_tp_pair *p;
        if (d->n_slots) {
            if (!d->slot[at])
                return true;
            p = &d->pair[d->slot[at] - 1];
            at = (at + 1) & mask;
        } else if (i < d->n) {
            p = &d->pair[i];
        } else {
            return true;
        }
        if (i > 8 && !vs_tp_step(vm, 1))
            return false;
        bool same = false;
        if (p->hash == h && !vs_tp_equal(vm, p->key, key, &same))
            return false;
        if (same) {
            *ret = p;
            return true;
        }
    }
}

bool vs_tp_dict_find(struct vs_tp_vm *vm, struct vs_tp_dict *d, struct vs_tp_value key, struct vs_tp_pair **ret)
{
    uint64_t h;
    *ret = NULL;
    return need_hash(vm, key, &h) && (!d->n || find_hashed(vm, d, key, h, ret));
}

struct vs_tp_pair *vs_tp_dict_find_name(struct vs_tp_vm *vm, struct vs_tp_dict *d, const struct vs_tp_str *name)
{
    struct vs_tp_pair *p;
    struct vs_tp_str key = *name;
    return vs_tp_dict_find(vm, d, vs_tp_of_str(&key), &p) ? p : NULL;
}

static bool index_pair(struct vs_tp_vm *vm, struct vs_tp_dict *d, size_t i)
{
    size_t mask = d->n_slots - 1, at = d->pair[i].hash & mask;
    for (size_t probes = 0; d->slot[at]; at = (at + 1) & mask)
        if (++probes > 8 && !vs_tp_step(vm, 1))
            return false;
    d->slot[at] = (uint32_t)i + 1;
    return true;
}

static bool reindex(struct vs_tp_vm *vm, struct vs_tp_dict *d)
{
    d->n_slots = 64;
    while (d->n_slots < d->cap * 2)
        d->n_slots *= 2;
    d->slot = vs_tp_new(vm, d->n_slots * sizeof *d->slot);
    if (!d->slot)
        return false;
    for (size_t i = 0; i < d->n; i++)
        if (!vs_tp_work(vm, sizeof *d->pair) || !index_pair(vm, d, i))
            return false;
    return true;
}

bool vs_tp_dict_set(struct vs_tp_vm *vm, struct vs_tp_dict *d, struct vs_tp_value key, struct vs_tp_value v)
{
    struct vs_tp_pair *p = NULL;
    uint64_t h;
    if (!need_hash(vm, key, &h) || (d->n && !find_hashed(vm, d, key, h, &p)))
        return false;
    if (p) {
        p->value = v;
        return true;
    }
    if (d->n == UINT32_MAX / 4)
        return vs_tp_fail(vm, VS_E_LIMIT, "a dict grows too large");
    if (d->n == d->cap) {
        size_t cap = d->cap ? d->cap * 2 : SMALL_DICT;
        struct vs_tp_pair *pair = vs_tp_grow(vm, d->pair, d->cap * sizeof *pair, cap * sizeof *pair);
        if (!pair)
            return false;
        d->pair = pair;
        d->cap = cap;
        if (cap > SMALL_DICT && !reindex(vm, d))
            return false;
    }
    d->pair[d->n++] = (struct vs_tp_pair){ .key = key, .value = v, .hash = h };
    return vs_tp_work(vm, sizeof *d->pair) && (!d->n_slots || index_pair(vm, d, d->n - 1));
}

bool vs_tp_dict_update(struct vs_tp_vm *vm, struct vs_tp_dict *d, struct vs_tp_value from)
{
    if (from.kind == VS_TP_DICT) {
        for (size_t i = 0; i < from.u.dict->n; i++)
            if (!vs_tp_dict_set(vm, d, from.u.dict->pair[i].key, from.u.dict->pair[i].value))
                return false;
        return true;
    }
    struct vs_tp_iter *it;
    struct vs_tp_value item;
    if (!vs_tp_iter(vm, from, &it))
        return false;
    int more;
    while ((more = vs_tp_iter_next(vm, it, &item)) > 0) {
        struct vs_tp_list *pair;
        if (!vs_tp_list_of(vm, item, &pair))
            return false;
        if (pair->n != 2)
            return vs_tp_fail(vm, VS_E_INVALID, "a dict is made of pairs, got %zu value%s", pair->n, vs_plural(pair->n));
        if (!vs_tp_dict_set(vm, d, pair->item[0], pair->item[1]))
            return false;
    }
    return more == 0;
}

/* ---- equality and order ------------------------------------------------------------------------------------- */

static bool equal_lists(struct vs_tp_vm *vm, struct vs_tp_list *a, struct vs_tp_list *b, bool *ret)
{
    *ret = a->n == b->n;
    for (size_t i = 0; *ret && i < a->n; i++)
        if (!vs_tp_equal(vm, a->item[i], b->item[i], ret))
            return false;
    return true;
}

static bool equal_dicts(struct vs_tp_vm *vm, struct vs_tp_dict *a, struct vs_tp_dict *b, bool *ret)
{
    *ret = a->n == b->n;
    for (size_t i = 0; *ret && i < a->n; i++) {
        struct vs_tp_pair *p;
        if (!vs_tp_dict_find(vm, b, a->pair[i].key, &p))
            return false;
        if (!p)
            *ret = false;
        else if (!vs_tp_equal(vm, a->pair[i].value, p->value, ret))
            return false;
    }
    return true;
}

static int order_numbers(struct vs_tp_value a, struct vs_tp_value b)
{
    if (vs_tp_is_int(a) && vs_tp_is_int(b)) {
        int64_t x = vs_tp_as_int(a), y = vs_tp_as_int(b);
        return (x > y) - (x < y);
    }
    long double x = a.kind == VS_TP_FLOAT ? (long double)a.u.f : (long double)vs_tp_as_int(a);
    long double y = b.kind == VS_TP_FLOAT ? (long double)b.u.f : (long double)vs_tp_as_int(b);
    return x != x || y != y ? 2 : (x > y) - (x < y);
}

bool vs_tp_equal(struct vs_tp_vm *vm, struct vs_tp_value a, struct vs_tp_value b, bool *ret)
{
    *ret = false;
    if (!vs_tp_step(vm, 1))
        return false;
    if (vs_tp_is_number(a) && vs_tp_is_number(b)) {
        *ret = order_numbers(a, b) == 0;
        return true;
    }
    if (a.kind != b.kind)
        return true;
    bool good = true;
    switch (a.kind) {
    case VS_TP_UNDEFINED: case VS_TP_NONE:
        *ret = true;
        return true;
    case VS_TP_STR:
        return a.u.str->n != b.u.str->n || vs_tp_same(vm, a.u.str->s, b.u.str->s, a.u.str->n, ret);
    case VS_TP_LIST: case VS_TP_TUPLE: case VS_TP_DICT:
        if (!vs_tp_enter(vm))
            return false;
        good = a.kind == VS_TP_DICT ? equal_dicts(vm, a.u.dict, b.u.dict, ret) : equal_lists(vm, a.u.list, b.u.list, ret);
        vs_tp_leave(vm);
        return good;
    case VS_TP_RANGE:
        *ret = a.u.range->n == b.u.range->n && (!a.u.range->n || (a.u.range->start == b.u.range->start &&
               (a.u.range->n == 1 || a.u.range->step == b.u.range->step)));
        return true;
    default:
        *ret = a.u.list == b.u.list;
        return true;
    }
}

bool vs_tp_order(struct vs_tp_vm *vm, struct vs_tp_value a, struct vs_tp_value b, const char *op, int *ret)
{
    if (!vs_tp_step(vm, 1))
        return false;
    if (a.kind == VS_TP_UNDEFINED || b.kind == VS_TP_UNDEFINED)
        return vs_tp_fail_undefined(vm, a.kind == VS_TP_UNDEFINED ? a : b);
    if (vs_tp_is_number(a) && vs_tp_is_number(b)) {
        *ret = order_numbers(a, b);
        return true;
    }
    if (a.kind == VS_TP_STR && b.kind == VS_TP_STR)
        return vs_tp_str_order(vm, a.u.str, b.u.str, ret);
    if (a.kind != b.kind || (a.kind != VS_TP_LIST && a.kind != VS_TP_TUPLE))
        return vs_tp_fail(vm, VS_E_INVALID, "'%s' not supported between instances of '%s' and '%s'", op, vs_tp_type_name(a),
                          vs_tp_type_name(b));
    if (!vs_tp_enter(vm))
        return false;
    struct vs_tp_list *x = a.u.list, *y = b.u.list;
    bool good = true;
    *ret = (x->n > y->n) - (x->n < y->n);
    for (size_t i = 0; good && i < x->n && i < y->n; i++) {
        bool same;
        good = vs_tp_equal(vm, x->item[i], y->item[i], &same);
        if (good && !same) {
            good = vs_tp_order(vm, x->item[i], y->item[i], op, ret);
            break;
        }
    }
    vs_tp_leave(vm);
    return good;
}

bool vs_tp_contains(struct vs_tp_vm *vm, struct vs_tp_value box, struct vs_tp_value v, bool *ret)
{
    *ret = false;
    if (box.kind == VS_TP_STR) {
        if (v.kind != VS_TP_STR)
            return vs_tp_fail(vm, VS_E_INVALID, "'in <string>' requires string as left operand, not %s", vs_tp_type_name(v));
        size_t at;
        if (!vs_tp_str_find(vm, box.u.str, 0, box.u.str->n, v.u.str, false, &at))
            return false;
        *ret = at != SIZE_MAX;
        return true;
    }
    if (box.kind == VS_TP_DICT || (box.kind == VS_TP_VIEW && box.u.view->of == VS_TP_KEYS)) {
        struct vs_tp_pair *p;
        if (!vs_tp_dict_find(vm, box.kind == VS_TP_DICT ? box.u.dict : box.u.view->dict, v, &p))
            return false;
        *ret = p != NULL;
        return true;
    }
    if (!vs_tp_iterable(box))
        return vs_tp_fail(vm, VS_E_INVALID, "argument of type '%s' is not iterable", vs_tp_type_name(box));
    struct vs_tp_iter *it;
    struct vs_tp_value item;
    if (!vs_tp_iter(vm, box, &it))
        return false;
    int more = 1;
    while (!*ret && (more = vs_tp_iter_next(vm, it, &item)) > 0)
        if (!vs_tp_equal(vm, item, v, ret))
            return false;
    return more >= 0;
}

bool vs_tp_has_length(struct vs_tp_value v)
{
    return (v.kind >= VS_TP_STR && v.kind <= VS_TP_RANGE) || v.kind == VS_TP_UNDEFINED || v.kind == VS_TP_LOOP;
}

bool vs_tp_length(struct vs_tp_vm *vm, struct vs_tp_value v, size_t *ret)
{
    switch (v.kind) {
    case VS_TP_UNDEFINED: *ret = 0; return true;
    case VS_TP_STR: *ret = v.u.str->n_chars; return true;
    case VS_TP_LIST: case VS_TP_TUPLE: *ret = v.u.list->n; return true;
    case VS_TP_DICT: *ret = v.u.dict->n; return true;
    case VS_TP_VIEW: *ret = v.u.view->dict->n; return true;
    case VS_TP_RANGE: *ret = v.u.range->n; return true;
    default: return vs_tp_fail(vm, VS_E_INVALID, "object of type '%s' has no len()", vs_tp_type_name(v));
    }
}

/* ---- iteration ---------------------------------------------------------------------------------------------- */

bool vs_tp_iterable(struct vs_tp_value v)
{
    return (v.kind >= VS_TP_STR && v.kind <= VS_TP_ITER) || v.kind == VS_TP_UNDEFINED || v.kind == VS_TP_LOOP;
}

static int next_none(struct vs_tp_vm *vm, struct vs_tp_iter *it, struct vs_tp_value *ret)
{
    (void)vm; (void)it; (void)ret;
    return 0;
}

static int next_item(struct vs_tp_vm *vm, struct vs_tp_iter *it, struct vs_tp_value *ret)
{
    (void)vm;
    if (it->at >= it->source.u.list->n)
        return 0;
    *ret = it->source.u.list->item[it->at++];
    return 1;
}

static int next_char(struct vs_tp_vm *vm, struct vs_tp_iter *it, struct vs_tp_value *ret)
{
    struct vs_tp_str *s = it->source.u.str;
    if (it->at >= s->n)
        return 0;
    size_t n;
    vs_tp_str_char(s, it->at, &n);
    struct vs_tp_str *c = vs_tp_str_bytes(vm, s, it->at, it->at + n);
    if (!c)
        return -1;
    it->at += n;
    *ret = vs_tp_of_str(c);
    return 1;
}

static int next_pair(struct vs_tp_vm *vm, struct vs_tp_iter *it, struct vs_tp_value *ret)
{
    bool is_dict = it->source.kind == VS_TP_DICT;
    struct vs_tp_dict *d = is_dict ? it->source.u.dict : it->source.u.view->dict;
    if (it->at >= d->n)
        return 0;
    struct vs_tp_pair *p = &d->pair[it->at++];
    switch (is_dict ? VS_TP_KEYS : it->source.u.view->of) {
    case VS_TP_KEYS: *ret = p->key; return 1;
    case VS_TP_VALUES: *ret = p->value; return 1;
    default: return vs_tp_pair_tuple(vm, p->key, p->value, ret) ? 1 : -1;
    }
}

static int next_in_range(struct vs_tp_vm *vm, struct vs_tp_iter *it, struct vs_tp_value *ret)
{
    (void)vm;
    struct vs_tp_range_value *r = it->source.u.range;
    if (it->at >= r->n)
        return 0;
    *ret = vs_tp_int(r->start + (int64_t)it->at++ * r->step);
    return 1;
}

static int next_backwards(struct vs_tp_vm *vm, struct vs_tp_iter *it, struct vs_tp_value *ret)
{
    (void)vm;
    if (it->at >= it->source.u.list->n)
        return 0;
    it->at++;
    *ret = it->source.u.list->item[it->source.u.list->n - it->at];
    return 1;
}

bool vs_tp_iter(struct vs_tp_vm *vm, struct vs_tp_value v, struct vs_tp_iter **ret)
{
    if (v.kind == VS_TP_ITER) {
        *ret = v.u.iter;
        return true;
    }
    static vs_tp_next *const nexts[VS_TP_N_KINDS] = {
        [VS_TP_UNDEFINED] = next_none, [VS_TP_STR] = next_char, [VS_TP_LIST] = next_item, [VS_TP_TUPLE] = next_item,
        [VS_TP_DICT] = next_pair, [VS_TP_VIEW] = next_pair, [VS_TP_RANGE] = next_in_range,
    };
    if (!nexts[v.kind])
        return vs_tp_fail(vm, VS_E_INVALID, "'%s' object is not iterable", vs_tp_type_name(v));
    struct vs_tp_iter *it = vs_tp_new(vm, sizeof *it);
    if (!it)
        return false;
    it->next = nexts[v.kind];
    it->source = v;
    *ret = it;
    return true;
}

int vs_tp_iter_next(struct vs_tp_vm *vm, struct vs_tp_iter *it, struct vs_tp_value *ret)
{
    if (!vs_tp_step(vm, 1) || !vs_tp_enter(vm))
        return -1;
    int more = it->next(vm, it, ret);
    vs_tp_leave(vm);
    return more;
}

bool vs_tp_reversed(struct vs_tp_vm *vm, struct vs_tp_value v, struct vs_tp_value *ret)
{
    if (v.kind == VS_TP_ITER || !vs_tp_iterable(v) || v.kind == VS_TP_LOOP)
        return vs_tp_fail(vm, VS_E_INVALID, "'%s' object is not reversible", vs_tp_type_name(v));
    struct vs_tp_list *list;
    struct vs_tp_iter *it = vs_tp_new(vm, sizeof *it);
    if (!it || !vs_tp_list_of(vm, v, &list))
        return false;
    it->next = next_backwards;
    it->generator = true;
    it->source = vs_tp_of_list(list);
    *ret = VS_TP_SCALAR(VS_TP_ITER, iter, it);
    return true;
}

/* ---- the context -------------------------------------------------------------------------------------------- */

static struct vs_tp_str *json_text(struct vs_tp_vm *vm, const char *s, size_t n, bool trusted)
{
    return vs_tp_str_new(vm, s, n, trusted);
}

bool vs_tp_from_json(struct vs_tp_vm *vm, const json_t *j, bool trusted, struct vs_tp_value *ret)
{
    bool good = vs_tp_step(vm, 1) && vs_tp_enter(vm);
    if (!good)
        return false;
    *ret = vs_tp_none();
    switch (json_typeof(j)) {
    case JSON_NULL: break;
    case JSON_TRUE: case JSON_FALSE: *ret = vs_tp_bool(json_is_true(j)); break;
    case JSON_INTEGER: *ret = vs_tp_int(json_integer_value(j)); break;
    case JSON_REAL: *ret = vs_tp_float(json_real_value(j)); break;
    case JSON_STRING: {
        struct vs_tp_str *s = json_text(vm, json_string_value(j), json_string_length(j), trusted);
        good = s != NULL;
        *ret = vs_tp_of_str(s);
        break;
    }
    case JSON_ARRAY: {
        struct vs_tp_list *list = vs_tp_list_new(vm, json_array_size(j));
        good = list != NULL;
        for (size_t i = 0; good && i < json_array_size(j); i++) {
            struct vs_tp_value item;
            good = vs_tp_from_json(vm, json_array_get(j, i), trusted, &item) && vs_tp_list_add(vm, list, item);
        }
        *ret = vs_tp_of_list(list);
        break;
    }
    case JSON_OBJECT: {
        struct vs_tp_dict *dict = vs_tp_dict_new(vm);
        good = dict != NULL;
        /* jansson's iterators take a plain pointer and change nothing */
        union { const json_t *in; json_t *out; } object = { j };
        for (void *it = json_object_iter(object.out); good && it; it = json_object_iter_next(object.out, it)) {
            const char *key = json_object_iter_key(it);
            struct vs_tp_str *name = json_text(vm, key, json_object_iter_key_len(it), trusted);
            struct vs_tp_value value;
            good = name && vs_tp_from_json(vm, json_object_iter_value(it), trusted, &value) &&
                   vs_tp_dict_set(vm, dict, vs_tp_of_str(name), value);
        }
        *ret = VS_TP_SCALAR(VS_TP_DICT, dict, dict);
        break;
    }
    }
    ret->trusted = trusted;
    vs_tp_leave(vm);
    return good;
}

/* ---- attributes and items ----------------------------------------------------------------------------------- */

/* Python's v[key]: 1 there, 0 not there (IndexError, KeyError, TypeError), -1 failed. */
static int subscript(struct vs_tp_vm *vm, struct vs_tp_value v, struct vs_tp_value key, struct vs_tp_value *ret)
{
    size_t n;
    if (v.kind == VS_TP_UNDEFINED)
        return vs_tp_fail_undefined(vm, v) ? 0 : -1;
    if (v.kind == VS_TP_DICT) {
        struct vs_tp_pair *p = NULL;
        uint64_t h;
        int known = hash(vm, key, &h);
        if (known <= 0)
            return known;
        if (v.u.dict->n && !find_hashed(vm, v.u.dict, key, h, &p))
            return -1;
        if (p)
            *ret = p->value;
        return p != NULL;
    }
    bool is_sequence = v.kind == VS_TP_STR || v.kind == VS_TP_LIST || v.kind == VS_TP_TUPLE || v.kind == VS_TP_RANGE;
    if (!is_sequence || !vs_tp_is_int(key))
        return 0;
    if (!vs_tp_length(vm, v, &n))
        return -1;
    int64_t i = vs_tp_as_int(key);
    if (i < 0)
        i += (int64_t)n;
    if (i < 0 || i >= (int64_t)n)
        return 0;
    if (v.kind == VS_TP_RANGE) {
        *ret = vs_tp_int(v.u.range->start + i * v.u.range->step);
    } else if (v.kind == VS_TP_STR) {
        size_t at = vs_tp_str_offset(vm, v.u.str, (size_t)i), len;
        vs_tp_str_char(v.u.str, at, &len);
        struct vs_tp_str *c = vm->status == VS_OK ? vs_tp_str_bytes(vm, v.u.str, at, at + len) : NULL;
        if (!c)
            return -1;
        *ret = vs_tp_of_str(c);
    } else {
        *ret = v.u.list->item[i];
    }
    return 1;
}

bool vs_tp_getattr(struct vs_tp_vm *vm, struct vs_tp_value v, struct vs_tp_str *name, struct vs_tp_value *ret)
{
    if (v.kind == VS_TP_UNDEFINED)
        return vs_tp_fail_undefined(vm, v);
    int found = vs_tp_attribute(vm, v, name, ret);
    if (!found)
        found = subscript(vm, v, vs_tp_of_str(name), ret);
    if (found)
        return found > 0;
    return vs_tp_undefined(vm, vs_tp_type_name(v), name, NULL, ret);
}

bool vs_tp_getitem(struct vs_tp_vm *vm, struct vs_tp_value v, struct vs_tp_value key, struct vs_tp_value *ret)
{
    int found = subscript(vm, v, key, ret);
    if (!found && key.kind == VS_TP_STR)
        found = vs_tp_attribute(vm, v, key.u.str, ret);
    if (found)
        return found > 0;
    struct vs_tp_str *name;
    return vs_tp_str_of(vm, key, &name) && vs_tp_undefined(vm, vs_tp_type_name(v), name, NULL, ret);
}

/* Python's slice.indices(n). */
static bool bounds(struct vs_tp_vm *vm, const struct vs_tp_value bound[3], int64_t n, int64_t *start, int64_t *stop,
                   int64_t *step)
{
    for (int i = 0; i < 3; i++)
        if (bound[i].kind != VS_TP_NONE && !vs_tp_is_int(bound[i]))
            return vs_tp_fail(vm, VS_E_INVALID, "slice indices must be integers or None");
    *step = bound[2].kind == VS_TP_NONE ? 1 : vs_tp_as_int(bound[2]);
    if (!*step)
        return vs_tp_fail(vm, VS_E_INVALID, "slice step cannot be zero");
    if (*step < -INT64_MAX)
        *step = -INT64_MAX;
    int64_t low = *step < 0 ? -1 : 0, high = *step < 0 ? n - 1 : n, at[2];
    for (int i = 0; i < 2; i++) {
        if (bound[i].kind == VS_TP_NONE) {
            at[i] = (i == 0) == (*step < 0) ? high : low;
            continue;
        }
        at[i] = vs_tp_as_int(bound[i]);
        if (at[i] < 0)
            at[i] = at[i] < -n ? low : at[i] + n < low ? low : at[i] + n;
        else if (at[i] > high)
            at[i] = high;
    }
    *start = at[0];
    *stop = at[1];
    return true;
}

bool vs_tp_slice(struct vs_tp_vm *vm, struct vs_tp_value v, const struct vs_tp_value bound[3], struct vs_tp_value *ret)
{
    if (v.kind == VS_TP_UNDEFINED)
        return vs_tp_fail_undefined(vm, v);
    bool is_list = v.kind == VS_TP_LIST || v.kind == VS_TP_TUPLE;
    if (!is_list && v.kind != VS_TP_STR && v.kind != VS_TP_RANGE)
        return vs_tp_fail(vm, VS_E_INVALID, "'%s' object can't be sliced", vs_tp_type_name(v));
    size_t n;
    int64_t start, stop, step;
    if (!vs_tp_length(vm, v, &n) || !bounds(vm, bound, (int64_t)n, &start, &stop, &step))
        return false;
    size_t count = 0;
    if (step > 0 && stop > start)
        count = (size_t)((stop - start - 1) / step) + 1;
    else if (step < 0 && stop < start)
        count = (size_t)((start - stop - 1) / -step) + 1;
    if (!vs_tp_step(vm, 1))
        return false;
    if (v.kind == VS_TP_RANGE) {
        struct vs_tp_range_value *r = vs_tp_new(vm, sizeof *r), *from = v.u.range;
        if (!r)
            return false;
        r->n = count;
        r->start = from->start + start * from->step;
        r->stop = from->start + stop * from->step;
        if (__builtin_mul_overflow(from->step, step, &r->step))
            r->step = from->step;
        *ret = VS_TP_SCALAR(VS_TP_RANGE, range, r);
        return true;
    }
    if (is_list) {
        struct vs_tp_list *l = vs_tp_list_new(vm, count);
        for (size_t i = 0; l && i < count; i++)
            if (!vs_tp_list_add(vm, l, v.u.list->item[start + (int64_t)i * step]))
                return false;
        *ret = v.kind == VS_TP_LIST ? vs_tp_of_list(l) : vs_tp_of_tuple(l);
        return l != NULL;
    }
    struct vs_tp_str *s = v.u.str;
    if (step == 1) {
        size_t from = vs_tp_str_offset(vm, s, (size_t)start), to = count ? vs_tp_str_offset(vm, s, (size_t)stop) : from;
        struct vs_tp_str *part = vm->status == VS_OK ? vs_tp_str_bytes(vm, s, from, to) : NULL;
        *ret = vs_tp_of_str(part);
        return part != NULL;
    }
    struct vs_tp_builder b;
    vs_tp_build(&b, vm);
    size_t at = count ? vs_tp_str_offset(vm, s, (size_t)start) : 0;
    for (size_t i = 0; i < count && vm->status == VS_OK; i++) {
        size_t len;
        vs_tp_str_char(s, at, &len);
        if (!vs_tp_put_part(&b, s, at, len))
            return false;
        for (int64_t k = 0; i + 1 < count && k < (step < 0 ? -step : step); k++) {
            if (!vs_tp_work(vm, 4))
                return false;
            if (step > 0) {
                vs_tp_str_char(s, at, &len);
                at += len;
            } else {
                at--;
                while (((unsigned char)s->s[at] & 0xc0) == 0x80)
                    at--;
            }
        }
    }
    struct vs_tp_str *r = vs_tp_built(&b);
    if (!r)
        return false;
    r->markup = s->markup;
    *ret = vs_tp_of_str(r);
    return true;
}

/* ---- arithmetic --------------------------------------------------------------------------------------------- */

static bool overflow(struct vs_tp_vm *vm)
{
    return vs_tp_fail(vm, VS_E_UNSUPPORTED, "an integer beyond 64 bits");
}

static bool int_power(struct vs_tp_vm *vm, int64_t base, int64_t e, int64_t *ret)
{
    int64_t r = 1;
    while (e > 0) {
        if ((e & 1) && __builtin_mul_overflow(r, base, &r))
            return overflow(vm);
        e >>= 1;
        if (e && __builtin_mul_overflow(base, base, &base))
            return overflow(vm);
    }
    *ret = r;
    return true;
}

static bool int_arith(struct vs_tp_vm *vm, enum vs_tp_op op, int64_t x, int64_t y, struct vs_tp_value *ret)
{
    int64_t r = 0;
    bool over = false;
    switch (op) {
    case VS_TP_ADD: over = __builtin_add_overflow(x, y, &r); break;
    case VS_TP_SUB: over = __builtin_sub_overflow(x, y, &r); break;
    case VS_TP_MUL: over = __builtin_mul_overflow(x, y, &r); break;
    case VS_TP_FLOORDIV: case VS_TP_MOD:
        if (!y)
            return vs_tp_fail(vm, VS_E_INVALID, "integer division or modulo by zero");
        if (y == -1) {
            if (op == VS_TP_FLOORDIV)
                over = __builtin_sub_overflow(0, x, &r);
            break;
        }
        r = op == VS_TP_MOD ? x % y : x / y;
        if (x % y != 0 && (x < 0) != (y < 0))
            r += op == VS_TP_MOD ? y : -1;
        break;
    case VS_TP_POW:
        if (!int_power(vm, x, y, &r))
            return false;
        break;
    default: break;
    }
    *ret = vs_tp_int(r);
    return over ? overflow(vm) : true;
}

static bool float_arith(struct vs_tp_vm *vm, enum vs_tp_op op, double x, double y, struct vs_tp_value *ret)
{
    double r = 0;
    if (y == 0 && (op == VS_TP_DIV || op == VS_TP_FLOORDIV || op == VS_TP_MOD))
        return vs_tp_fail(vm, VS_E_INVALID, "division by zero");
    switch (op) {
    case VS_TP_ADD: r = x + y; break;
    case VS_TP_SUB: r = x - y; break;
    case VS_TP_MUL: r = x * y; break;
    case VS_TP_DIV: r = x / y; break;
    case VS_TP_MOD: case VS_TP_FLOORDIV: {
        double mod = fmod(x, y), div = (x - mod) / y;
        if (mod != 0 && (y < 0) != (mod < 0)) {
            mod += y;
            div -= 1;
        } else if (mod == 0) {
            mod = copysign(0, y);
        }
        double whole = div != 0 ? floor(div) : copysign(0, x / y);
        if (div != 0 && div - whole > 0.5)
            whole += 1;
        r = op == VS_TP_MOD ? mod : whole;
        break;
    }
    case VS_TP_POW:
        if (x == 0 && y < 0)
            return vs_tp_fail(vm, VS_E_INVALID, "0.0 cannot be raised to a negative power");
        if (x < 0 && y != floor(y))
            return vs_tp_fail(vm, VS_E_UNSUPPORTED, "complex numbers are not supported");
        r = pow(x, y);
        if (isinf(r) && isfinite(x) && isfinite(y))
            return vs_tp_fail(vm, VS_E_INVALID, "numerical result out of range");
        break;
    }
    *ret = vs_tp_float(r);
    return true;
}

static bool repeat(struct vs_tp_vm *vm, struct vs_tp_value v, int64_t times, struct vs_tp_value *ret)
{
    if (times < 0)
        times = 0;
    if (v.kind == VS_TP_STR) {
        struct vs_tp_builder b;
        vs_tp_build(&b, vm);
        if (!vs_tp_reserve(&b, v.u.str->n, times))
            return false;
        for (int64_t i = 0; i < times && v.u.str->n; i++)
            if (!vs_tp_put_str(&b, v.u.str) || !vs_tp_step(vm, 1))
                return false;
        struct vs_tp_str *s = vs_tp_built(&b);
        if (!s)
            return false;
        s->markup = v.u.str->markup;
        *ret = vs_tp_of_str(s);
        return true;
    }
    if (v.u.list->n && (uint64_t)times > SIZE_MAX / 64 / v.u.list->n)
        return vs_tp_fail(vm, VS_E_LIMIT, "a list grows too long");
    struct vs_tp_list *l = vs_tp_list_new(vm, v.u.list->n * (size_t)times);
    if (!l)
        return false;
    for (int64_t i = 0; i < times && v.u.list->n; i++)
        for (size_t k = 0; k < v.u.list->n; k++)
            if (!vs_tp_work(vm, 32) || !vs_tp_list_add(vm, l, v.u.list->item[k]))
                return false;
    *ret = v;
    ret->u.list = l;
    return true;
}

static bool join_lists(struct vs_tp_vm *vm, struct vs_tp_value a, struct vs_tp_value b, struct vs_tp_value *ret)
{
    struct vs_tp_list *l = vs_tp_list_new(vm, a.u.list->n + b.u.list->n);
    if (!l)
        return false;
    for (size_t i = 0; i < a.u.list->n; i++)
        if (!vs_tp_list_add(vm, l, a.u.list->item[i]))
            return false;
    for (size_t i = 0; i < b.u.list->n; i++)
        if (!vs_tp_list_add(vm, l, b.u.list->item[i]))
            return false;
    *ret = a;
    ret->u.list = l;
    return true;
}

bool vs_tp_arith(struct vs_tp_vm *vm, enum vs_tp_op op, struct vs_tp_value a, struct vs_tp_value b, struct vs_tp_value *ret)
{
    static const char *const spelling[] = { "+", "-", "*", "/", "//", "%", "** or pow()" };
    if (op == VS_TP_MOD && a.kind == VS_TP_STR)
        return vs_tp_percent(vm, a.u.str, b, ret);
    if (a.kind == VS_TP_UNDEFINED || b.kind == VS_TP_UNDEFINED)
        return vs_tp_fail_undefined(vm, a.kind == VS_TP_UNDEFINED ? a : b);
    if (vs_tp_is_number(a) && vs_tp_is_number(b)) {
        bool ints = vs_tp_is_int(a) && vs_tp_is_int(b) && op != VS_TP_DIV && !(op == VS_TP_POW && vs_tp_as_int(b) < 0);
        bool good = ints ? int_arith(vm, op, vs_tp_as_int(a), vs_tp_as_int(b), ret)
                         : float_arith(vm, op, vs_tp_as_float(a), vs_tp_as_float(b), ret);
        ret->trusted = a.trusted && b.trusted;
        return good;
    }
    if (op == VS_TP_ADD && a.kind == VS_TP_STR && b.kind == VS_TP_STR) {
        struct vs_tp_str *x = a.u.str, *y = b.u.str;
        bool markup = x->markup || y->markup;
        if (markup && (!vs_tp_str_escape(vm, x, &x) || !vs_tp_str_escape(vm, y, &y)))
            return false;
        struct vs_tp_str *r = vs_tp_str_concat(vm, x, y);
        *ret = vs_tp_of_str(r);
        return r != NULL && (!markup || (r->markup = true));
    }
    bool a_list = a.kind == VS_TP_LIST || a.kind == VS_TP_TUPLE, b_list = b.kind == VS_TP_LIST || b.kind == VS_TP_TUPLE;
    if (op == VS_TP_ADD && a_list && a.kind == b.kind)
        return join_lists(vm, a, b, ret);
    if (op == VS_TP_MUL && (a_list || a.kind == VS_TP_STR) && vs_tp_is_int(b))
        return repeat(vm, a, vs_tp_as_int(b), ret);
    if (op == VS_TP_MUL && (b_list || b.kind == VS_TP_STR) && vs_tp_is_int(a))
        return repeat(vm, b, vs_tp_as_int(a), ret);
    return vs_tp_fail(vm, VS_E_INVALID, "unsupported operand type(s) for %s: '%s' and '%s'", spelling[op], vs_tp_type_name(a),
                      vs_tp_type_name(b));
}

/* ---- str() and repr() --------------------------------------------------------------------------------------- */

static bool put_quoted(struct vs_tp_builder *b, const struct vs_tp_str *s)
{
    if (!vs_tp_work(b->vm, s->n))
        return !(b->failed = true);
    char quote = memchr(s->s, '\'', s->n) && !memchr(s->s, '"', s->n) ? '"' : '\'';
    vs_tp_put_cstr(b, s->markup ? "Markup(" : "");
    vs_tp_put(b, &quote, 1, true);
    for (struct vs_tp_walk w = vs_tp_over(b->vm, s, 0, s->n); vs_tp_walk(&w);) {
        uint32_t c = w.c;
        size_t at = w.at, n = w.n;
        char text[16];
        const char *simple = c == '\\' ? "\\\\" : c == '\n' ? "\\n" : c == '\r' ? "\\r" : c == '\t' ? "\\t" : NULL;
        if (c == (uint32_t)quote)
            simple = quote == '"' ? "\\\"" : "\\'";
        if (!simple && (vs_unicode(c)->flags & VS_UNICODE_PRINT)) {
            if (!vs_tp_put_part(b, s, at, n))
                return false;
            continue;
        }
        if (!simple)
            snprintf(text, sizeof text, c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x", c);
        simple = simple ? simple : text;
        if (!vs_tp_put(b, simple, strlen(simple), vs_tp_mark(s, at)))
            return false;
    }
    vs_tp_put(b, &quote, 1, true);
    return vs_tp_put_cstr(b, s->markup ? ")" : "");
}

static bool put_list(struct vs_tp_builder *b, const struct vs_tp_value *item, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (i && !vs_tp_put_cstr(b, ", "))
            return false;
        if (!vs_tp_put_repr(b, item[i]))
            return false;
    }
    return true;
}

static bool put_dict(struct vs_tp_builder *b, const struct vs_tp_dict *d)
{
    vs_tp_put_cstr(b, "{");
    for (size_t i = 0; i < d->n; i++) {
        if ((i && !vs_tp_put_cstr(b, ", ")) || !vs_tp_put_repr(b, d->pair[i].key) || !vs_tp_put_cstr(b, ": ") ||
            !vs_tp_put_repr(b, d->pair[i].value))
            return false;
    }
    return vs_tp_put_cstr(b, "}");
}

static bool put_view(struct vs_tp_builder *b, struct vs_tp_value v)
{
    static const char *const names[] = { "dict_keys([", "dict_values([", "dict_items([" };
    struct vs_tp_list *l;
    return vs_tp_list_of(b->vm, v, &l) && vs_tp_put_cstr(b, names[v.u.view->of]) && put_list(b, l->item, l->n) &&
           vs_tp_put_cstr(b, "])");
}

static bool put_number(struct vs_tp_builder *b, struct vs_tp_value v)
{
    char text[64];
    if (v.kind == VS_TP_FLOAT)
        vs_tp_float_repr(v.u.f, text);
    else
        snprintf(text, sizeof text, "%lld", (long long)v.u.i);
    return vs_tp_put(b, text, strlen(text), v.trusted);
}

static bool put_range(struct vs_tp_builder *b, const struct vs_tp_range_value *r)
{
    char text[96];
    if (r->step == 1)
        snprintf(text, sizeof text, "range(%lld, %lld)", (long long)r->start, (long long)r->stop);
    else
        snprintf(text, sizeof text, "range(%lld, %lld, %lld)", (long long)r->start, (long long)r->stop, (long long)r->step);
    return vs_tp_put_cstr(b, text);
}

static bool put_container(struct vs_tp_builder *b, struct vs_tp_value v)
{
    switch (v.kind) {
    case VS_TP_LIST:
        return vs_tp_put_cstr(b, "[") && put_list(b, v.u.list->item, v.u.list->n) && vs_tp_put_cstr(b, "]");
    case VS_TP_TUPLE:
        return vs_tp_put_cstr(b, "(") && put_list(b, v.u.list->item, v.u.list->n) &&
               vs_tp_put_cstr(b, v.u.list->n == 1 ? ",)" : ")");
    case VS_TP_DICT: return put_dict(b, v.u.dict);
    case VS_TP_NAMESPACE: return vs_tp_put_cstr(b, "<Namespace ") && put_dict(b, v.u.dict) && vs_tp_put_cstr(b, ">");
    case VS_TP_VIEW: return put_view(b, v);
    case VS_TP_RANGE: return put_range(b, v.u.range);
    case VS_TP_LOOP: {
        struct vs_tp_str index = { .s = "index", .n = 5 }, length = { .s = "length", .n = 6 };
        struct vs_tp_value i, n;
        return vs_tp_attribute(b->vm, v, &index, &i) > 0 && vs_tp_attribute(b->vm, v, &length, &n) > 0 &&
               vs_tp_put_cstr(b, "<LoopContext ") && vs_tp_put_repr(b, i) && vs_tp_put_cstr(b, "/") && vs_tp_put_repr(b, n) &&
               vs_tp_put_cstr(b, ">");
    }
    case VS_TP_MACRO: {
        struct vs_tp_str *name = v.u.macro->node->name;
        return name ? vs_tp_put_cstr(b, "<Macro ") && put_quoted(b, name) && vs_tp_put_cstr(b, ">")
                    : vs_tp_put_cstr(b, "<Macro anonymous>");
    }
    default:
        return vs_tp_fail(b->vm, VS_E_UNSUPPORTED, "a %s is printed; its text would be an address", vs_tp_type_name(v));
    }
}

bool vs_tp_put_repr(struct vs_tp_builder *b, struct vs_tp_value v)
{
    if (!vs_tp_step(b->vm, 1))
        return !(b->failed = true);
    switch (v.kind) {
    case VS_TP_MISSING: case VS_TP_UNDEFINED: return vs_tp_put_cstr(b, "Undefined");
    case VS_TP_NONE: return vs_tp_put(b, "None", 4, v.trusted);
    case VS_TP_BOOL: return vs_tp_put(b, v.u.b ? "True" : "False", v.u.b ? 4 : 5, v.trusted);
    case VS_TP_INT: case VS_TP_FLOAT: return put_number(b, v);
    case VS_TP_STR: return put_quoted(b, v.u.str);
    default: break;
    }
    if (!vs_tp_enter(b->vm))
        return !(b->failed = true);
    bool good = put_container(b, v);
    vs_tp_leave(b->vm);
    return good;
}

bool vs_tp_put_value(struct vs_tp_builder *b, struct vs_tp_value v)
{
    if (v.kind == VS_TP_STR)
        return vs_tp_put_str(b, v.u.str);
    if (v.kind == VS_TP_UNDEFINED || v.kind == VS_TP_MISSING)
        return true;
    return vs_tp_put_repr(b, v);
}
