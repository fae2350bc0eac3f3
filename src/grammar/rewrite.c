/* grammar/rewrite.c - JSON schemas that say less with more: what can be said with alternatives is said so, on a copy.
 *
 *     items [S, T], additionalItems R          prefixItems [S, T], items R: as older drafts wrote it, and 2020-12 does not allow
 *     dependencies                             dependentRequired and dependentSchemas, as they are called now
 *     minimum m, exclusiveMinimum true         exclusiveMinimum m, as it was once written; maxima too
 *     dependentRequired, dependentSchemas      the key is not there, or it is and more holds
 *     not S                                    its complement, keyword by keyword: a value breaks at least one of them
 *     if S then A else B                       anyOf [S and A], [not S and B]
 *     contains S, maxContains                  the complement of S stands beside it: what is not counted is that
 *     oneOf [A, B]                             anyOf [A and not B], [B and not A], where it can't be seen that they exclude each
 *                                              other, and g->splits asks for it
 *
 * What has no complement that could be said (formats, multiples, other keys, ...) stays as it is, and schema.c refuses it.
 */
#include "grammar/internal.h"

#include <string.h>

enum { MAX_DEPTH = 24, MAX_EXCLUDED = 16, MAX_SPLIT = 12 };

struct rewriting {
    struct vs_grammar *g;
    struct vs_schema_scope *scope;
    bool evaluates;                      /* it asks what was evaluated: what stands under `not` was not, so that stays there */
};

static json_t *negated(const struct rewriting *w, json_t *schema, unsigned depth);
static void rewrite(const struct rewriting *w, json_t *schema, unsigned depth);

/* ---- complements ---- */

static const struct { unsigned bits; const char *name; } types[] = {
    { VS_JSON_NULL, "null" }, { VS_JSON_BOOLEAN, "boolean" }, { VS_JSON_INTEGER | VS_JSON_NUMBER, "number" },
    { VS_JSON_STRING, "string" }, { VS_JSON_ARRAY, "array" }, { VS_JSON_OBJECT, "object" },
};

/* {"type": those}; a new false where there are none. */
static json_t *of_types(unsigned bits)
{
    json_t *names = json_array();
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (bits & types[i].bits)
            json_array_append_new(names, json_string(types[i].name));
    if (!json_array_size(names)) {
        json_decref(names);
        return json_false();
    }
    return json_pack("{s:o}", "type", names);
}

/* Takes over `one`; NULL or false: there is none. */
static bool add(json_t *list, json_t *one)
{
    if (one && !json_is_false(one))
        json_array_append(list, one);
    bool ok = one != NULL;
    json_decref(one);
    return ok;
}

static bool not_type(const struct rewriting *w, json_t *schema, json_t *v, json_t *list, unsigned depth)
{
    (void)schema, (void)v, (void)depth;
    json_t *only = json_pack("{s:O}", "type", v);
    unsigned bits = vs_schema_types_within(w->g, w->scope, only), numbers = VS_JSON_INTEGER | VS_JSON_NUMBER;
    json_decref(only);
    if ((bits & numbers) == VS_JSON_INTEGER)
        add(list, json_pack("{s:s, s:b}", "type", "number", VS_NOT_INTEGER, 1));
    return add(list, of_types(VS_JSON_ANY & ~(bits & numbers ? bits | numbers : bits)));
}

/* A number that is none of the listed ones. */
static json_t *other_number(const json_t *values)
{
    json_t *all = json_array(), *v;
    size_t i;
    json_array_foreach(values, i, v)
        if (json_is_number(v))
            json_array_append_new(all, json_pack("{s:[{s:O}, {s:O}]}", "anyOf", "exclusiveMaximum", v, "exclusiveMinimum", v));
    return json_pack("{s:s, s:o}", "type", "number", "allOf", all);
}

/* None of the values: another type, or another value of a type. */
static bool none_of(const json_t *values, json_t *list)
{
    unsigned listed = 0, booleans = 0;
    json_t *v, *strings = json_array();
    size_t i;
    bool ok = json_array_size(values) <= MAX_EXCLUDED;
    json_array_foreach(values, i, v) {
        unsigned bits = vs_json_type(v);
        listed |= bits & (VS_JSON_INTEGER | VS_JSON_NUMBER) ? VS_JSON_INTEGER | VS_JSON_NUMBER : bits;
        booleans |= json_is_true(v) ? 1 : json_is_false(v) ? 2 : 0;
        ok &= !(json_is_array(v) && json_array_size(v)) && !(json_is_object(v) && json_object_size(v));
        if (json_is_string(v))
            json_array_append(strings, v);
    }
    ok = ok && add(list, of_types(VS_JSON_ANY & ~listed));
    if (ok && (booleans == 1 || booleans == 2))
        add(list, json_pack("{s:b}", "const", booleans == 2));
    if (ok && (listed & VS_JSON_NUMBER))
        add(list, other_number(values));
    if (ok && json_array_size(strings))
        add(list, json_pack("{s:s, s:O}", "type", "string", VS_NOT_ENUM, strings));
    if (ok && (listed & VS_JSON_ARRAY))
        add(list, json_pack("{s:s, s:i}", "type", "array", "minItems", 1));
    if (ok && (listed & VS_JSON_OBJECT))
        add(list, json_pack("{s:s, s:i}", "type", "object", "minProperties", 1));
    json_decref(strings);
    return ok;
}

static bool not_enum(const struct rewriting *w, json_t *schema, json_t *v, json_t *list, unsigned depth)
{
    (void)w, (void)schema, (void)depth;
    return none_of(v, list);
}

static bool not_const(const struct rewriting *w, json_t *schema, json_t *v, json_t *list, unsigned depth)
{
    (void)w, (void)schema, (void)depth;
    json_t *one = json_pack("[O]", v);
    bool ok = none_of(one, list);
    json_decref(one);
    return ok;
}

/* A bound is broken by what keeps the opposite one. by: what a count has to go beyond it. */
static const struct { const char *keyword, *type, *other; int by; } bounds[] = {
    { "minimum", "number", "exclusiveMaximum", 0 }, { "maximum", "number", "exclusiveMinimum", 0 },
    { "exclusiveMinimum", "number", "maximum", 0 }, { "exclusiveMaximum", "number", "minimum", 0 },
    { "minLength", "string", "maxLength", -1 }, { "maxLength", "string", "minLength", 1 },
    { "minItems", "array", "maxItems", -1 }, { "maxItems", "array", "minItems", 1 },
    { "minProperties", "object", "maxProperties", -1 }, { "maxProperties", "object", "minProperties", 1 },
};

static bool not_bound(size_t i, json_t *v, json_t *list)
{
    json_t *other = json_incref(v);
    if (bounds[i].by) {
        json_decref(other);
        if (!json_is_number(v) || json_number_value(v) > 1e9)
            return false;
        if (bounds[i].by < 0 && json_number_value(v) < 1)
            return true;                 /* nothing can break it */
        other = json_integer((json_int_t)json_number_value(v) + bounds[i].by);
    }
    return add(list, json_pack("{s:s, s:o}", "type", bounds[i].type, bounds[i].other, other));
}

static bool not_pattern(const struct rewriting *w, json_t *schema, json_t *v, json_t *list, unsigned depth)
{
    (void)w, (void)schema, (void)depth;
    return add(list, json_pack("{s:s, s:O}", "type", "string", VS_NOT_PATTERN, v));
}

static bool not_required(const struct rewriting *w, json_t *schema, json_t *v, json_t *list, unsigned depth)
{
    json_t *key;
    size_t i;
    (void)w, (void)schema, (void)depth;
    json_array_foreach(v, i, key)
        if (!json_is_string(key)
            || !add(list, json_pack("{s:s, s:{s:b}}", "type", "object", "properties", json_string_value(key), 0)))
            return false;
    return true;
}

static bool not_properties(const struct rewriting *w, json_t *schema, json_t *v, json_t *list, unsigned depth)
{
    const char *key;
    json_t *one;
    (void)schema;
    json_object_foreach(v, key, one) {
        json_t *other = negated(w, one, depth + 1);
        if (!other)
            return false;
        if (json_is_false(other))
            json_decref(other);
        else
            add(list, json_pack("{s:s, s:[s], s:{s:o}}", "type", "object", "required", key, "properties", key, other));
    }
    return true;
}

static bool not_items(const struct rewriting *w, json_t *schema, json_t *v, json_t *list, unsigned depth)
{
    json_t *other = negated(w, v, depth + 1);
    if (!other || json_is_false(other))
        return add(list, other);
    if (json_object_get(schema, "prefixItems")) {
        json_decref(other);
        return false;
    }
    return add(list, json_pack("{s:s, s:o}", "type", "array", "contains", other));
}

static bool not_prefix(const struct rewriting *w, json_t *schema, json_t *v, json_t *list, unsigned depth)
{
    json_t *one;
    size_t i;
    (void)schema;
    json_array_foreach(v, i, one) {
        json_t *other = negated(w, one, depth + 1), *first = json_array();
        for (size_t k = 0; k < i; k++)
            json_array_append_new(first, json_true());
        if (!other || json_is_false(other)) {
            json_decref(first);
            if (!add(list, other))
                return false;
            continue;
        }
        json_array_append_new(first, other);
        add(list, json_pack("{s:s, s:I, s:o}", "type", "array", "minItems", (json_int_t)i + 1, "prefixItems", first));
    }
    return true;
}

static bool not_contains(const struct rewriting *w, json_t *schema, json_t *v, json_t *list, unsigned depth)
{
    const json_t *least = json_object_get(schema, "minContains");
    if (json_object_get(schema, "maxContains") || (least && json_number_value(least) != 1))
        return false;
    json_t *other = negated(w, v, depth + 1);
    return other && add(list, json_pack("{s:s, s:o}", "type", "array", "items", other));
}

static bool not_all(const struct rewriting *w, json_t *schema, json_t *v, json_t *list, unsigned depth)
{
    json_t *one;
    size_t i;
    (void)schema;
    json_array_foreach(v, i, one)
        if (!add(list, negated(w, one, depth + 1)))
            return false;
    return true;
}

static bool not_any(const struct rewriting *w, json_t *schema, json_t *v, json_t *list, unsigned depth)
{
    json_t *one, *all = json_array();
    size_t i;
    bool ok = true, never = false;
    (void)schema;
    json_array_foreach(v, i, one) {
        json_t *other = ok ? negated(w, one, depth + 1) : NULL;
        ok &= other != NULL;
        never |= json_is_false(other);
        if (other)
            json_array_append_new(all, other);
    }
    if (ok && !never)
        add(list, json_pack("{s:O}", "allOf", all));
    json_decref(all);
    return ok;
}

static bool not_not(const struct rewriting *w, json_t *schema, json_t *v, json_t *list, unsigned depth)
{
    (void)schema;
    json_t *copy = json_deep_copy(v);
    rewrite(w, copy, depth + 1);
    return add(list, copy);
}

static bool not_ref(const struct rewriting *w, json_t *schema, json_t *v, json_t *list, unsigned depth)
{
    (void)schema;
    const json_t *to = json_is_string(v) ? vs_schema_follow(w->scope, json_string_value(v)) : NULL;
    return to && add(list, negated(w, (json_t *)(uintptr_t)to, depth + 1));
}

static bool not_dependent(const struct rewriting *w, json_t *schema, json_t *v, json_t *list, unsigned depth)
{
    const char *key;
    json_t *names, *name;
    size_t i;
    (void)w, (void)schema, (void)depth;
    json_object_foreach(v, key, names)
        json_array_foreach(names, i, name)
            if (json_is_string(name) && strcmp(json_string_value(name), key) != 0)
                add(list, json_pack("{s:s, s:[s], s:{s:b}}", "type", "object", "required", key, "properties",
                                    json_string_value(name), 0));
    return true;
}

/* What was written here: what stands under `not` was rewritten before. */
static bool not_written(json_t *list, const char *type, const char *keyword, json_t *v)
{
    return add(list, keyword ? json_pack("{s:s, s:O}", "type", type, keyword, v) : json_pack("{s:s}", "type", type));
}

static bool not_not_integer(const struct rewriting *w, json_t *schema, json_t *v, json_t *list, unsigned depth)
{
    (void)w, (void)schema, (void)depth;
    return not_written(list, "integer", NULL, v);
}

static bool not_not_pattern(const struct rewriting *w, json_t *schema, json_t *v, json_t *list, unsigned depth)
{
    (void)w, (void)schema, (void)depth;
    return not_written(list, "string", "pattern", v);
}

static bool not_not_enum(const struct rewriting *w, json_t *schema, json_t *v, json_t *list, unsigned depth)
{
    (void)w, (void)schema, (void)depth;
    return not_written(list, "string", "enum", v);
}

static const struct {
    const char *keyword;
    bool (*negate)(const struct rewriting *w, json_t *schema, json_t *v, json_t *list, unsigned depth);
} complements[] = {
    { "type", not_type }, { "enum", not_enum }, { "const", not_const }, { "pattern", not_pattern }, { "required", not_required },
    { "properties", not_properties }, { "items", not_items }, { "prefixItems", not_prefix }, { "contains", not_contains },
    { "allOf", not_all }, { "anyOf", not_any }, { "not", not_not }, { "$ref", not_ref }, { "dependentRequired", not_dependent },
    { VS_NOT_INTEGER, not_not_integer }, { VS_NOT_PATTERN, not_not_pattern }, { VS_NOT_ENUM, not_not_enum },
};

/* Keywords that say nothing alone, or hold schemas that are only referred to. */
static bool is_beside(const char *keyword)
{
    static const char *const names[] = { "$defs", "definitions", "minContains", "maxContains", "then", "else" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], keyword) == 0)
            return true;
    return false;
}

static bool negate_keyword(const struct rewriting *w, json_t *schema, const char *keyword, json_t *v, json_t *list, unsigned depth)
{
    for (size_t i = 0; i < sizeof complements / sizeof *complements; i++)
        if (strcmp(complements[i].keyword, keyword) == 0)
            return complements[i].negate(w, schema, v, list, depth);
    for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++)
        if (strcmp(bounds[i].keyword, keyword) == 0)
            return not_bound(i, v, list);
    return is_beside(keyword) || !vs_schema_asserts(schema, keyword, v);
}

/* A schema that allows what this one does not. A new reference; NULL: it can't be said. */
static json_t *negated(const struct rewriting *w, json_t *schema, unsigned depth)
{
    const char *keyword;
    json_t *v, *list, *result = NULL;
    if (json_is_boolean(schema))
        return json_boolean(json_is_false(schema));
    if (!json_is_object(schema) || depth > MAX_DEPTH || !vs_grammar_work(w->g, 4096))
        return NULL;
    list = json_array();
    json_object_foreach(schema, keyword, v)
        if (!negate_keyword(w, schema, keyword, v, list, depth)) {
            json_decref(list);
            return NULL;
        }
    if (json_array_size(list) == 0)
        result = json_false();
    else
        result = json_array_size(list) == 1 ? json_incref(json_array_get(list, 0)) : json_pack("{s:O}", "anyOf", list);
    json_decref(list);
    return result;
}

/* ---- what is rewritten ---- */

/* Something more that holds; takes it over. */
static void hold(json_t *schema, json_t *more)
{
    json_t *all = json_object_get(schema, "allOf");
    if (!all) {
        all = json_array();
        json_object_set_new(schema, "allOf", all);
    }
    json_array_append_new(all, more);
}

static void rewrite_dependent(json_t *schema)
{
    static const char *const names[] = { "dependentRequired", "dependentSchemas" };
    const char *key;
    json_t *v;
    for (int kind = 0; kind < 2; kind++)
        json_object_foreach(json_object_get(schema, names[kind]), key, v) {
            json_t *required = json_pack("[s]", key);
            if (kind == 0)
                json_array_extend(required, v);
            json_t *with = kind == 0 ? json_pack("{s:o}", "required", required) : json_pack("{s:o, s:[O]}", "required", required,
                                                                                            "allOf", v);
            hold(schema, json_pack("{s:[{s:{s:b}}, o]}", "anyOf", "properties", key, 0, with));
        }
}

static void rewrite_not(const struct rewriting *w, json_t *schema)
{
    json_t *other = json_object_get(schema, "not") ? negated(w, json_object_get(schema, "not"), 0) : NULL;
    if (!other)
        return;
    json_object_del(schema, "not");
    hold(schema, other);
}

static void rewrite_if(const struct rewriting *w, json_t *schema)
{
    json_t *when = json_object_get(schema, "if"), *then = json_object_get(schema, "then"), *or = json_object_get(schema, "else");
    json_t *other = when && (then || or) ? negated(w, when, 0) : NULL;
    if (!other)
        return;
    json_t *yes = json_pack("{s:[O]}", "allOf", when), *no = json_pack("{s:[o]}", "allOf", other);
    if (then)
        json_array_append(json_object_get(yes, "allOf"), then);
    if (or)
        json_array_append(json_object_get(no, "allOf"), or);
    json_t *either = json_pack("{s:[o, o]}", "anyOf", yes, no);
    json_object_del(schema, "if");
    hold(schema, either);
}

static void rewrite_one_of(const struct rewriting *w, json_t *schema)
{
    json_t *list = json_object_get(schema, "oneOf"), *either = json_array(), *one, *other;
    size_t n = json_array_size(list), i, k;
    bool ok = n > 0 && n <= MAX_SPLIT;
    json_array_foreach(list, i, one) {
        json_t *all = json_pack("[O]", one);
        json_array_foreach(list, k, other)
            if (k != i && ok) {
                json_t *no = negated(w, other, 0);
                ok = no != NULL;
                if (no)
                    json_array_append_new(all, no);
            }
        json_array_append_new(either, json_pack("{s:o}", "allOf", all));
    }
    if (ok) {
        json_object_del(schema, "oneOf");
        hold(schema, json_pack("{s:O}", "anyOf", either));
    }
    json_decref(either);
}

static void rewrite_contains(const struct rewriting *w, json_t *schema)
{
    json_t *v = json_object_get(schema, "contains");
    json_t *other = v && json_object_get(schema, "maxContains") ? negated(w, v, 0) : NULL;
    if (other)
        json_object_set_new(schema, VS_NOT_CONTAINS, other);
}

/* ---- older drafts, where 2020-12 gives the same form no meaning ---- */

static void rewrite_items(json_t *schema)
{
    json_t *first = json_object_get(schema, "items"), *others = json_object_get(schema, "additionalItems");
    if (json_is_array(first) && !json_object_get(schema, "prefixItems")) {
        json_object_set(schema, "prefixItems", first);
        if (others)
            json_object_set(schema, "items", others);
        else
            json_object_del(schema, "items");
    }
    json_object_del(schema, "additionalItems");        /* beside one schema for all items it said nothing */
}

static void rewrite_dependencies(json_t *schema)
{
    json_t *all = json_incref(json_object_get(schema, "dependencies")), *v;
    const char *key;
    json_object_foreach(all, key, v) {
        const char *name = json_is_array(v) ? "dependentRequired" : "dependentSchemas";
        if (!json_object_get(schema, name))
            json_object_set_new(schema, name, json_object());
        if (!json_object_get(json_object_get(schema, name), key))
            json_object_set(json_object_get(schema, name), key, v);
        else
            hold(schema, json_pack("{s:{s:O}}", name, key, v));
    }
    if (json_is_object(all))
        json_object_del(schema, "dependencies");
    json_decref(all);
}

static void rewrite_exclusive(json_t *schema, const char *bound, const char *exclusive)
{
    json_t *v = json_object_get(schema, exclusive), *at = json_object_get(schema, bound);
    if (json_is_true(v) && json_is_number(at)) {
        json_object_set(schema, exclusive, at);
        json_object_del(schema, bound);
    } else if (json_is_false(v)) {
        json_object_del(schema, exclusive);
    }
}

static void rewrite(const struct rewriting *w, json_t *schema, unsigned depth)
{
    const char *keyword, *key;
    json_t *v, *one;
    size_t i;
    if (!json_is_object(schema) || depth > 400 || !vs_grammar_work(w->g, 64))
        return;
    rewrite_items(schema);
    rewrite_dependencies(schema);
    rewrite_exclusive(schema, "minimum", "exclusiveMinimum");
    rewrite_exclusive(schema, "maximum", "exclusiveMaximum");
    json_object_foreach(schema, keyword, v) {
        enum vs_schemas_below kind = vs_schema_below(keyword);
        if (kind == VS_BELOW_ONE)
            rewrite(w, v, depth + 1);
        else if (kind == VS_BELOW_LIST)
            json_array_foreach(v, i, one)
                rewrite(w, one, depth + 1);
        else if (kind == VS_BELOW_MAP)
            json_object_foreach(v, key, one)
                rewrite(w, one, depth + 1);
    }
    rewrite_dependent(schema);
    if (w->evaluates)
        return;
    rewrite_contains(w, schema);
    if (w->g->splits)
        rewrite_one_of(w, schema);
    rewrite_if(w, schema);
    rewrite_not(w, schema);
}

static bool has_key(const json_t *v, const char *const *names, unsigned depth)
{
    const char *key;
    json_t *one;
    size_t i;
    for (const char *const *name = names; *name; name++)
        if (json_object_get(v, *name))
            return true;
    json_object_foreach((json_t *)(uintptr_t)v, key, one)
        if (depth < 500 && has_key(one, names, depth + 1))
            return true;
    json_array_foreach(v, i, one)
        if (depth < 500 && has_key(one, names, depth + 1))
            return true;
    return false;
}

/* Is something written as older drafts do? */
static bool is_older(const json_t *v, unsigned depth)
{
    const char *key;
    json_t *one;
    size_t i;
    if (json_is_array(json_object_get(v, "items")) || json_object_get(v, "additionalItems") || json_object_get(v, "dependencies")
        || json_is_boolean(json_object_get(v, "exclusiveMinimum")) || json_is_boolean(json_object_get(v, "exclusiveMaximum")))
        return true;
    json_object_foreach((json_t *)(uintptr_t)v, key, one)
        if (depth < 500 && is_older(one, depth + 1))
            return true;
    json_array_foreach(v, i, one)
        if (depth < 500 && is_older(one, depth + 1))
            return true;
    return false;
}

json_t *vs_schema_rewritten(struct vs_grammar *g, const json_t *schema, struct vs_schema_scope *scope)
{
    static const char *const names[] = { "dependentRequired", "dependentSchemas", "not", "if", "maxContains", NULL };
    static const char *const one_of[] = { "oneOf", NULL };
    static const char *const evaluating[] = { "unevaluatedProperties", "unevaluatedItems", NULL };
    *scope = (struct vs_schema_scope){ .root = schema };
    if (!has_key(schema, names, 0) && !is_older(schema, 0) && !(g->splits && has_key(schema, one_of, 0)))
        return json_incref((json_t *)(uintptr_t)schema);
    json_t *copy = json_deep_copy(schema);
    *scope = (struct vs_schema_scope){ .root = copy };
    vs_schema_scope_read(scope);         /* what is said twice afterwards is the same schema, and was said once */
    const struct rewriting w = { g, scope, has_key(copy, evaluating, 0) };
    rewrite(&w, copy, 0);
    if (!copy)
        vs_grammar_fail(g, VS_E_NOMEM, "out of memory");
    return copy;
}
