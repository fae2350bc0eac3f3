/* grammar/schema_arrays.c - lists: elements in their places, contains, uniqueItems. */
#include "grammar/schema.h"

#include <string.h>

enum {
    MAX_CONTAINED = 100,                 /* elements that contains counts */
    MAX_UNIQUE = 12,                     /* values that uniqueItems tells apart */
};

/* What element i must be. */
static void element_of(struct vs_list *l, uint64_t i, struct vs_set *ret)
{
    struct vs_compiler *c = l->c;
    for (unsigned k = 0; k < l->n; k++) {
        const json_t *first = json_object_get(l->v[k], "prefixItems"), *items = json_object_get(l->v[k], "items");
        const json_t *rest = json_object_get(l->v[k], "unevaluatedItems");
        if (i < json_array_size(first))
            vs_set_add(c, ret, vs_schema_at_number(c, l->v[k], "prefixItems", i));
        else if (items)
            vs_set_add(c, ret, vs_schema_at(c, l->v[k], "items", NULL, items));
        bool evaluated = !rest || !l->end;
        for (unsigned j = k; rest && l->end && j < l->end[k] && !evaluated; j++) {
            if (json_object_get(l->v[j], "contains") && !vs_is_idle(l->v[k], "unevaluatedItems", rest))
                vs_refuse(c, VS_E_UNSUPPORTED, l->v[k], "unevaluatedItems", "beside contains it can't be enforced");
            evaluated = i < json_array_size(json_object_get(l->v[j], "prefixItems")) || json_object_get(l->v[j], "items")
                        || (j > k && json_object_get(l->v[j], "unevaluatedItems"));
        }
        if (!evaluated)
            vs_set_add(c, ret, vs_schema_at(c, l->v[k], "unevaluatedItems", NULL, rest));
    }
}

/* What some elements must be, beside all else, how many at least and at most (UINT64_MAX: any number), and what the others must be
 * then. NULL: nothing. */
static const json_t *contained(struct vs_list *l, uint64_t *ret_least, uint64_t *ret_most, const json_t **ret_others)
{
    struct vs_compiler *c = l->c;
    const json_t *found = NULL;
    for (unsigned k = 0; k < l->n; k++) {
        const json_t *one = json_object_get(l->v[k], "contains");
        uint64_t most = UINT64_MAX, least_one = 1;
        if (!one)
            continue;
        vs_schema_whole(json_object_get(l->v[k], "minContains"), &least_one);
        vs_schema_whole(json_object_get(l->v[k], "maxContains"), &most);
        const json_t *others = json_object_get(l->v[k], VS_NOT_CONTAINS);
        if (most != UINT64_MAX && !others)
            vs_refuse(c, VS_E_UNSUPPORTED, l->v[k], "maxContains", "what contains does not count can't be told from what it does");
        if (!least_one && most == UINT64_MAX)
            continue;
        if (found)
            vs_refuse(c, VS_E_UNSUPPORTED, l->v[k], "contains", "two of them together can't be enforced");
        if (least_one > MAX_CONTAINED || (most != UINT64_MAX && most > MAX_CONTAINED))
            vs_refuse(c, VS_E_LIMIT, l->v[k], "minContains or maxContains", "more than 100");
        found = vs_schema_at(c, l->v[k], "contains", NULL, one);
        *ret_least = least_one;
        *ret_most = most;
        *ret_others = most == UINT64_MAX ? NULL : vs_schema_at(c, l->v[k], "contains", NULL, others);
    }
    return failed(c) ? NULL : found;
}

/* Lists of one value that a set is narrowed to; they live as long as the compiler. */
static const json_t *only(struct vs_compiler *c, const json_t *value)
{
    json_t *schema = json_pack("{s:O}", "const", value);
    if (!schema || json_array_append_new(c->own, schema) != 0)
        return vs_schema_no_memory(c);
    return schema;
}

/* An element, behind others if there are some. */
static void add_element(struct vs_compiler *c, const struct vs_set *s, bool some, uint32_t from, uint32_t to)
{
    uint32_t behind = vs_place_add(c->g);
    vs_set_call(c, s, some ? vs_behind_comma(c, from) : from, behind);
    vs_edge_call(c->g, behind, c->space, to);
}

/* The few values that a schema allows, or more of them; NULL: that is not known. */
static const json_t *few_values(struct vs_compiler *c, const json_t *schema)
{
    const json_t *list = json_object_get(schema, "enum"), *value = json_object_get(schema, "const");
    const char *type = json_string_value(json_object_get(schema, "type"));
    const json_t *low = json_object_get(schema, "minimum"), *high = json_object_get(schema, "maximum");
    json_t *made = NULL;
    if (list)
        return list;
    if (value)
        made = json_pack("[O]", value);
    else if (type && strcmp(type, "boolean") == 0)
        made = json_pack("[b, b]", 1, 0);
    else if (type && strcmp(type, "integer") == 0 && json_is_integer(low) && json_is_integer(high)) {
        json_int_t first = json_integer_value(low), last = json_integer_value(high);
        if (first > last || (uint64_t)last - (uint64_t)first >= MAX_UNIQUE)
            return NULL;
        made = json_array();
        for (json_int_t v = first; v < last; v++)
            json_array_append_new(made, json_integer(v));
        json_array_append_new(made, json_integer(last));
    }
    if (made && !value && json_is_true(json_object_get(schema, "nullable")))
        json_array_append_new(made, json_null());
    if (made && json_array_append_new(c->own, made) != 0)
        return vs_schema_no_memory(c);
    return made;
}

/* The values that all elements are among; 0: there is no such list, or it is a long one. */
static size_t listed_values(struct vs_list *l, const json_t *ret[MAX_UNIQUE])
{
    struct vs_compiler *c = l->c;
    struct vs_set s = { 0 };
    size_t n = 0;
    element_of(l, SIZE_MAX, &s);
    for (unsigned i = 0; i < s.n && !n; i++) {
        const json_t *list = few_values(c, vs_schema_behind(c, s.v[i])), *v;
        size_t k, j;
        json_array_foreach(list, k, v) {
            for (j = 0; j < n && !vs_json_same(ret[j], v); j++) { }
            if (j == n && n == MAX_UNIQUE)
                return 0;
            if (j == n)
                ret[n++] = v;
        }
    }
    return n;
}

/* uniqueItems, where all elements are of one short list: at[set of those that were read]. False: nothing is said of it. */
static bool add_unique(struct vs_list *l, uint64_t low, uint64_t high)
{
    struct vs_compiler *c = l->c;
    struct vs_grammar *g = c->g;
    const json_t *value[MAX_UNIQUE], *asserted = NULL;
    uint32_t at[1 << MAX_UNIQUE];
    for (unsigned i = 0; i < l->n; i++) {
        bool has_more = json_object_get(l->v[i], "contains") || json_object_get(l->v[i], "prefixItems");
        if (json_is_true(json_object_get(l->v[i], "uniqueItems")))
            asserted = l->v[i];
        if (asserted && has_more && high > 1) {
            vs_refuse(c, VS_E_UNSUPPORTED, l->v[i], "uniqueItems", "beside contains and prefixItems it can't be enforced");
            return true;
        }
    }
    if (!asserted || high <= 1)
        return false;
    size_t n = listed_values(l, value);
    if (!n) {
        vs_refuse(c, VS_E_UNSUPPORTED, asserted, "uniqueItems", "it can be enforced where items are of at most 12 values (enum, "
                  "boolean, integers from minimum to maximum), or maxItems is 1");
        return true;
    }
    struct vs_set one[MAX_UNIQUE] = { 0 };              /* an element that is this value */
    for (size_t k = 0; k < n && !failed(c); k++) {
        const json_t *is = only(c, value[k]);
        element_of(l, SIZE_MAX, &one[k]);
        if (is)
            vs_set_add(c, &one[k], is);
    }
    uint32_t open = vs_place_add(g), close = vs_place_add(g), n_sets = 1u << n;
    for (uint32_t i = 0; i < n_sets; i++)
        at[i] = vs_place_add(g);
    vs_edge_text(g, l->from, "[", 1, open);
    vs_edge_call(g, open, c->space, at[0]);
    vs_edge_text(g, close, "]", 1, l->to);
    for (uint32_t have = 0; have < n_sets && !failed(c); have++) {
        unsigned count = (unsigned)__builtin_popcount(have);
        if (count >= low && count <= high)
            vs_edge_empty(g, at[have], close);
        for (size_t k = 0; k < n && count < high; k++)
            if (!(have >> k & 1))
                add_element(c, &one[k], count > 0, at[have], at[have | 1u << k]);
    }
    return true;
}

/* at[f]: so many elements were read, and f of them count for contains. */
void vs_list_add_array(struct vs_list *l)
{
    struct vs_compiler *c = l->c;
    struct vs_grammar *g = c->g;
    uint64_t low = vs_list_greatest(l, "minItems"), high = vs_list_least(l, "maxItems"), need = 0, most = UINT64_MAX;
    uint32_t at[MAX_CONTAINED + 1], next[MAX_CONTAINED + 1];
    const json_t *others = NULL, *some = contained(l, &need, &most, &others);
    uint64_t columns = others ? most : need;             /* counted so far; with a maximum never more than that */
    size_t n_first = 0;
    for (unsigned i = 0; i < l->n; i++) {
        size_t n = json_array_size(json_object_get(l->v[i], "prefixItems"));
        n_first = n > n_first ? n : n_first;
    }
    if (low > high || need > most || failed(c) || add_unique(l, low, high))
        return;
    uint32_t open = vs_place_add(g), close = vs_place_add(g);
    for (uint64_t f = 0; f <= columns; f++)
        at[f] = vs_place_add(g);
    vs_edge_text(g, l->from, "[", 1, open);
    vs_edge_call(g, open, c->space, at[0]);
    vs_edge_text(g, close, "]", 1, l->to);
    uint64_t last = n_first > low ? n_first : low;           /* from here on all are alike */
    last = last ? last : 1;
    if (high != UINT64_MAX)
        last = high;
    for (uint64_t i = 0; i <= last && !failed(c); i++) {
        bool loops = i == last && high == UINT64_MAX;
        struct vs_set s = { 0 }, counted;
        for (uint64_t f = need; f <= columns && i >= low; f++)
            vs_edge_empty(g, at[f], close);
        if (i == last && !loops)
            return;
        element_of(l, i, &s);
        counted = s;
        if (some)
            vs_set_add(c, &counted, some);
        if (others)
            vs_set_add(c, &s, others);
        for (uint64_t f = 0; f <= columns; f++)
            next[f] = loops ? at[f] : vs_place_add(g);
        for (uint64_t f = 0; f <= columns && !failed(c); f++) {
            add_element(c, &s, i > 0, at[f], next[f]);
            if (f < columns)
                add_element(c, &counted, i > 0, at[f], next[f + 1]);
        }
        memcpy(at, next, sizeof at);
    }
}
