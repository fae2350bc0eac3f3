/* grammar/schema.c - JSON schemas (draft 2020-12) as rules.
 *
 * A rule stands for a set of schemas that must all hold; the same set is one rule, so that recursion through $ref ends. Such a set
 * is opened: what $ref and allOf name joins it, each alternative of anyOf and oneOf makes a copy of it. What is left is a list of
 * objects without alternatives, and each type that all of them allow is written from the keywords that they have together:
 *
 *     { schemas } --open--> lists of objects --by type--> null true false | number | string | [ items ] | { members }
 *
 * oneOf is an anyOf whose alternatives exclude each other: the set of each two of them must allow nothing, which is known when the
 * costs are (vs_grammar_finish). Keywords that can't be enforced are refused with their place; nothing that asserts is left out.
 * Members come in the order of the schema's properties, then those that are only required, then all others.
 */
#include "grammar/schema.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct { const char *name; unsigned bits; } types[] = {
    { "null", T_NULL }, { "boolean", T_BOOLEAN }, { "integer", T_INTEGER }, { "number", T_INTEGER | T_NUMBER },
    { "string", T_STRING }, { "array", T_ARRAY }, { "object", T_OBJECT },
};

/* What a keyword needs as its value, and whether it is enforced. */
enum need { ANYTHING, A_SCHEMA, SCHEMAS, A_MAP, MAP_OF_LISTS, A_NUMBER, A_COUNT, A_STRING, STRINGS, A_LIST, A_TYPE, A_BOOLEAN };
static const struct keyword { const char *name; enum need need; bool refused; } keywords[] = {
    { "type", A_TYPE, false }, { "enum", A_LIST, false }, { "const", ANYTHING, false },
    { "properties", A_MAP, false }, { "required", STRINGS, false }, { "additionalProperties", A_SCHEMA, false },
    { "patternProperties", A_MAP, false }, { "minProperties", A_COUNT, false }, { "maxProperties", A_COUNT, false },
    { "items", A_SCHEMA, false }, { "prefixItems", SCHEMAS, false }, { "minItems", A_COUNT, false }, { "maxItems", A_COUNT, false },
    { "anyOf", SCHEMAS, false }, { "oneOf", SCHEMAS, false }, { "allOf", SCHEMAS, false }, { "$ref", A_STRING, false },
    { "$defs", A_MAP, false }, { "definitions", A_MAP, false },
    { "minLength", A_COUNT, false }, { "maxLength", A_COUNT, false }, { "pattern", A_STRING, false }, { "format", A_STRING, false },
    { "minimum", A_NUMBER, false }, { "maximum", A_NUMBER, false }, { "exclusiveMinimum", A_NUMBER, false },
    { "exclusiveMaximum", A_NUMBER, false }, { "multipleOf", A_NUMBER, false },
    { "dependentRequired", MAP_OF_LISTS, false }, { "dependentSchemas", A_MAP, false }, { "contains", A_SCHEMA, false },
    { "minContains", A_COUNT, false }, { "maxContains", A_COUNT, false }, { "propertyNames", A_SCHEMA, false },
    { "unevaluatedItems", A_SCHEMA, false }, { "unevaluatedProperties", A_SCHEMA, false },
    { "not", A_SCHEMA, true }, { "if", A_SCHEMA, true }, { "then", A_SCHEMA, false }, { "else", A_SCHEMA, false },
    { "dependencies", A_MAP, true }, { "uniqueItems", ANYTHING, false },
    { "$dynamicRef", A_STRING, true }, { "$recursiveRef", A_STRING, true }, { "additionalItems", A_SCHEMA, true },
    { "nullable", A_BOOLEAN, false }, { "disallow", ANYTHING, true }, { "extends", ANYTHING, true },
    { "divisibleBy", ANYTHING, true },
};

void vs_compiler_clear(struct vs_compiler *c)
{
    for (uint32_t i = 0; i < c->n_made; i++)
        free(c->made[i].v);
    for (uint32_t i = 0; c->place && i <= c->place_mask; i++)
        free(c->place[i].path);
    free(c->made);
    free(c->slot);
    free(c->place);
    json_decref(c->own);
}

void *vs_schema_no_memory(struct vs_compiler *c)
{
    vs_grammar_fail(c->g, VS_E_NOMEM, "out of memory");
    return NULL;
}

/* ---- places, for messages ---- */

static struct vs_named_place *place_slot(struct vs_compiler *c, const json_t *schema)
{
    uint32_t at = address_hash(schema) & c->place_mask;
    while (c->place[at].schema && c->place[at].schema != schema)
        at = (at + 1) & c->place_mask;
    return &c->place[at];
}

const char *vs_path_of(struct vs_compiler *c, const json_t *schema)
{
    const struct vs_named_place *p = c->place ? place_slot(c, schema) : NULL;
    return p && p->schema ? p->path : "#";
}

static bool enlarge_places(struct vs_compiler *c)
{
    uint32_t size = c->place ? 2 * (c->place_mask + 1) : 256, old_size = c->place ? c->place_mask + 1 : 0;
    struct vs_named_place *old = c->place, *place = calloc(size, sizeof *place);
    if (!place)
        return vs_schema_no_memory(c) != NULL;
    c->place = place;
    c->place_mask = size - 1;
    for (uint32_t i = 0; i < old_size; i++)
        if (old[i].schema)
            *place_slot(c, old[i].schema) = old[i];
    free(old);
    return true;
}

void vs_schema_name(struct vs_compiler *c, const json_t *schema, const char *path)
{
    if (failed(c) || json_is_boolean(schema) || ((c->n_places + 1) * 2 > c->place_mask && !enlarge_places(c)))
        return;
    struct vs_named_place *p = place_slot(c, schema);
    if (p->schema)
        return;
    p->schema = schema;
    if (!(p->path = strdup(path))) {
        p->schema = NULL;
        vs_schema_no_memory(c);
        return;
    }
    c->n_places++;
}

/* The schema below another one, by keyword and name or number. */
const json_t *vs_schema_at(struct vs_compiler *c, const json_t *parent, const char *keyword, const char *name, const json_t *schema)
{
    char path[MAX_PATH];
    snprintf(path, sizeof path, "%.140s/%.30s%s%.24s", vs_path_of(c, parent), keyword, name ? "/" : "", name ? name : "");
    if (schema)
        vs_schema_name(c, schema, path);
    return schema;
}

const json_t *vs_schema_at_number(struct vs_compiler *c, const json_t *parent, const char *keyword, size_t i)
{
    char name[24];
    snprintf(name, sizeof name, "%zu", i);
    return vs_schema_at(c, parent, keyword, name, json_array_get(json_object_get(parent, keyword), i));
}

void vs_refuse(struct vs_compiler *c, int code, const json_t *schema, const char *keyword, const char *why)
{
    vs_grammar_fail(c->g, code, "json_schema: %s at %s: %s", keyword, vs_path_of(c, schema), why);
}

/* ---- is it a schema? ---- */

bool vs_is_schema(const json_t *v)
{
    return json_is_object(v) || json_is_boolean(v);
}

static unsigned type_bits(const json_t *v)
{
    unsigned bits = 0;
    const char *name = json_string_value(v);
    for (size_t i = 0; name && i < sizeof types / sizeof *types; i++)
        if (strcmp(types[i].name, name) == 0)
            bits = types[i].bits;
    for (size_t i = 0; json_is_array(v) && i < json_array_size(v); i++) {
        unsigned one = json_is_string(json_array_get(v, i)) ? type_bits(json_array_get(v, i)) : 0;
        if (!one)
            return 0;
        bits |= one;
    }
    return bits;
}

unsigned vs_types_said(const json_t *schema)
{
    const json_t *type = json_object_get(schema, "type");
    unsigned bits = type ? type_bits(type) : T_ALL;
    return json_is_true(json_object_get(schema, "nullable")) ? bits | T_NULL : bits;
}

static bool all_are(const json_t *v, bool (*what)(const json_t *))
{
    const char *name;
    json_t *one;
    size_t i;
    json_object_foreach((json_t *)(uintptr_t)v, name, one)
        if (!what(one))
            return false;
    json_array_foreach(v, i, one)
        if (!what(one))
            return false;
    return true;
}

static bool is_string(const json_t *v)
{
    return json_is_string(v);
}

static bool is_string_list(const json_t *v)
{
    return json_is_array(v) && all_are(v, is_string);
}

bool vs_schema_whole(const json_t *v, uint64_t *ret)
{
    double real = json_real_value(v);
    if (json_is_integer(v) ? json_integer_value(v) < 0 : !(json_is_real(v) && real >= 0 && real < 1e15 && real == floor(real)))
        return false;
    *ret = json_is_integer(v) ? (uint64_t)json_integer_value(v) : (uint64_t)real;
    return true;
}

static const char *wrong(enum need need, const json_t *v)
{
    uint64_t n;
    switch (need) {
    case ANYTHING: return NULL;
    case A_SCHEMA: return vs_is_schema(v) ? NULL : !json_is_array(v) ? "a schema is needed"
                        : "a schema is needed; for a list of schemas there is prefixItems";
    case SCHEMAS: return json_is_array(v) && json_array_size(v) && all_are(v, vs_is_schema) ? NULL : "a list of schemas is needed";
    case A_MAP: return json_is_object(v) ? NULL : "an object is needed";
    case MAP_OF_LISTS: return json_is_object(v) && all_are(v, is_string_list) ? NULL : "an object of lists of strings is needed";
    case A_NUMBER: return json_is_number(v) ? NULL : "a number is needed";
    case A_COUNT: return vs_schema_whole(v, &n) ? NULL : "a whole number of at least 0 is needed";
    case A_STRING: return json_is_string(v) ? NULL : "a string is needed";
    case STRINGS: return json_is_array(v) && all_are(v, is_string) ? NULL : "a list of strings is needed";
    case A_LIST: return json_is_array(v) ? NULL : "a list is needed";
    case A_TYPE: return type_bits(v) ? NULL : "a type, or a list of types, is needed (null, boolean, integer, number, string, "
                                              "array, object)";
    case A_BOOLEAN: return json_is_boolean(v) ? NULL : "true or false is needed";
    }
    return NULL;
}

/* Some keywords say nothing in one form; then they are no reason to refuse. */
bool vs_is_idle(const json_t *schema, const char *name, const json_t *v)
{
    if (strcmp(name, "uniqueItems") == 0)
        return json_is_false(v);
    if (strcmp(name, "nullable") == 0)
        return json_is_false(v) || !json_object_get(schema, "type");
    if (strcmp(name, "if") == 0)
        return !json_object_get(schema, "then") && !json_object_get(schema, "else");
    if (strcmp(name, "not") == 0)
        return json_is_false(v);
    return json_is_true(v) || (json_is_object(v) && json_object_size(v) == 0 && strcmp(name, "$dynamicRef") != 0);
}

static const struct keyword *keyword_of(const char *name)
{
    for (size_t i = 0; i < sizeof keywords / sizeof *keywords; i++)
        if (strcmp(keywords[i].name, name) == 0)
            return &keywords[i];
    return NULL;
}

bool vs_schema_asserts(const json_t *schema, const char *keyword, const json_t *v)
{
    return keyword_of(keyword) && !vs_is_idle(schema, keyword, v);
}

enum vs_schemas_below vs_schema_below(const char *keyword)
{
    const struct keyword *k = keyword_of(keyword);
    return !k ? VS_BELOW_NONE : k->need == A_SCHEMA ? VS_BELOW_ONE : k->need == SCHEMAS ? VS_BELOW_LIST
           : k->need == A_MAP ? VS_BELOW_MAP : VS_BELOW_NONE;
}

bool vs_schema_check(struct vs_compiler *c, const json_t *schema)
{
    const char *name;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)schema, name, v) {
        const struct keyword *k = keyword_of(name);
        if (!vs_grammar_work(c->g, 64))
            return false;
        if (!k)
            continue;                    /* an annotation, or a keyword of nobody */
        const char *what = wrong(k->need, v);
        bool maps = strcmp(name, "properties") == 0 || strcmp(name, "patternProperties") == 0
                    || strcmp(name, "dependentSchemas") == 0;
        if (!what && maps && !all_are(v, vs_is_schema))
            what = "each member must be a schema";
        if (what)
            vs_refuse(c, VS_E_INVALID, schema, name, what);
        else if (k->refused && !vs_is_idle(schema, name, v))
            vs_refuse(c, VS_E_UNSUPPORTED, schema, name, "this keyword can't be enforced");
        if (failed(c))
            return false;
    }
    return true;
}

unsigned vs_json_type(const json_t *v)
{
    double real = json_real_value(v);
    switch (json_typeof(v)) {
    case JSON_NULL: return T_NULL;
    case JSON_TRUE:
    case JSON_FALSE: return T_BOOLEAN;
    case JSON_INTEGER: return T_INTEGER;
    case JSON_REAL: return real == floor(real) ? T_INTEGER : T_NUMBER;
    case JSON_STRING: return T_STRING;
    case JSON_ARRAY: return T_ARRAY;
    case JSON_OBJECT: return T_OBJECT;
    }
    return 0;
}

/* ---- all together ---- */

void vs_list_add_types(struct vs_list *l, unsigned bits, bool has_type)
{
    struct vs_grammar *g = l->c->g;
    if (bits & T_NULL)
        vs_edge_text(g, l->from, "null", 4, l->to);
    if (bits & T_BOOLEAN) {
        vs_edge_text(g, l->from, "true", 4, l->to);
        vs_edge_text(g, l->from, "false", 5, l->to);
    }
    if (bits & (T_INTEGER | T_NUMBER))
        vs_list_add_number(l, !(bits & T_NUMBER), !(bits & T_INTEGER));
    if (bits & T_STRING)
        vs_list_add_string(l, has_type);
    if (bits & T_ARRAY)
        vs_list_add_array(l);
    if (bits & T_OBJECT)
        vs_list_add_object(l);
}

static void take(void *context, const json_t *const *v, const unsigned *end, unsigned n)
{
    struct vs_list *l = context;
    unsigned bits = T_ALL;
    bool has_type = false;
    l->v = v;
    l->end = end;
    l->n = n;
    for (unsigned i = 0; i < n; i++) {
        const json_t *type = json_object_get(v[i], "type");
        has_type |= type != NULL;
        bits &= vs_types_said(v[i]);
        bits &= json_object_get(v[i], VS_NOT_INTEGER) ? T_ALL & ~(unsigned)T_INTEGER : T_ALL;
    }
    if (!vs_list_add_values(l, bits))
        vs_list_add_types(l, bits, has_type);
}

/* An identifier below the root changes what references below it mean. kind: v is a schema, or holds some; VS_BELOW_NONE: under a
 * keyword of nobody, where a reference may lead, too. */
static bool has_inner_reference(struct vs_grammar *g, const json_t *v, enum vs_schemas_below kind, bool has_id, unsigned depth)
{
    const char *key;
    json_t *one;
    size_t i;
    bool is_schema = kind == VS_BELOW_ONE && json_is_object(v);
    enum vs_schemas_below below = kind == VS_BELOW_NONE ? VS_BELOW_NONE : VS_BELOW_ONE;
    has_id |= depth && json_is_string(json_object_get(v, "$id"));
    if (has_id && (depth > VS_MAX_BELOW || json_is_string(json_object_get(v, "$ref"))))
        return true;
    if (depth > VS_MAX_BELOW || !vs_grammar_work(g, 8))
        return false;
    json_object_foreach((json_t *)(uintptr_t)v, key, one) {
        bool is_value = is_schema && (strcmp(key, "const") == 0 || strcmp(key, "enum") == 0);
        if (!is_value && has_inner_reference(g, one, is_schema ? vs_schema_below(key) : below, has_id, depth + 1))
            return true;
    }
    json_array_foreach(v, i, one)
        if (has_inner_reference(g, one, below, has_id, depth + 1))
            return true;
    return false;
}

enum { MAX_TYPES = 10000 };              /* schemas that are looked at for the types of one */

/* left: so many more schemas are looked at; then it may be anything, as references could multiply without end. */
static unsigned types_of(struct vs_schema_scope *scope, unsigned *left, const json_t *schema, unsigned depth)
{
    static const char *const unions[] = { "anyOf", "oneOf", "enum", "allOf" };
    const json_t *constant = json_object_get(schema, "const"), *v;
    const char *ref = json_string_value(json_object_get(schema, "$ref"));
    unsigned bits = vs_types_said(schema) ? vs_types_said(schema) : T_ALL;
    size_t i;
    if (!json_is_object(schema) || depth > 8 || !*left)
        return json_is_false(schema) ? 0 : T_ALL;
    --*left;
    if (constant)
        bits &= vs_json_type(constant);
    for (size_t k = 0; k < sizeof unions / sizeof *unions; k++) {
        const json_t *list = json_object_get(schema, unions[k]);
        unsigned any = 0;
        json_array_foreach(list, i, v) {
            unsigned one = k == 2 ? vs_json_type(v) : types_of(scope, left, v, depth + 1);
            any |= one;
            bits &= k == 3 ? one : T_ALL;
        }
        bits &= json_is_array(list) && k < 3 ? any : T_ALL;
    }
    return ref ? bits & types_of(scope, left, vs_schema_follow(scope, ref), depth + 1) : bits;
}

unsigned vs_schema_types(const json_t *root, const json_t *schema)
{
    struct vs_schema_scope scope = { .root = root };
    unsigned left = MAX_TYPES, bits = types_of(&scope, &left, schema, 0);
    vs_schema_scope_clear(&scope);
    return bits;
}

unsigned vs_schema_types_within(struct vs_grammar *g, struct vs_schema_scope *scope, const json_t *schema)
{
    unsigned left = MAX_TYPES, bits = types_of(scope, &left, schema, 0);
    return vs_grammar_work(g, 64 * (uint64_t)(MAX_TYPES - left)) ? bits : VS_JSON_ANY;
}

bool vs_schema_says_nothing(const json_t *schema)
{
    for (size_t k = 0; json_is_object(schema) && k < sizeof keywords / sizeof *keywords; k++) {
        const json_t *v = json_object_get(schema, keywords[k].name);
        if (v && keywords[k].need != A_MAP)
            return false;
    }
    return !json_is_false(schema);
}

static struct vs_dfa *limit(struct vs_compiler *c, const json_t *schema, struct vs_dfa *text, unsigned depth)
{
    const json_t *constant = json_object_get(schema, "const"), *list = json_object_get(schema, "enum"), *found = NULL;
    struct vs_list l = { .c = c, .v = &schema, .n = 1 };
    if (!text || !json_is_object(schema) || failed(c) || !vs_schema_check(c, schema))
        return text;
    if (depth > 8) {
        vs_refuse(c, VS_E_LIMIT, schema, "$ref", "too deep for the text of a tag");
        return text;
    }
    text = vs_list_length(&l, vs_list_patterns(&l, true, text), vs_list_greatest(&l, "minLength"), vs_list_least(&l, "maxLength"));
    for (int kind = 0; kind < 2 && text && !failed(c); kind++) {
        size_t n = kind ? json_array_size(list) : 1;
        if (kind ? list != NULL : constant != NULL)
            text = vs_dfa_both(c->g, text, vs_schema_texts(c, kind ? list : NULL, kind ? NULL : constant, n), VS_DFA_AND);
    }
    if (json_object_get(schema, "$ref"))
        text = limit(c, vs_schema_resolve(c, schema), text, depth + 1);
    for (size_t i = 0; i < json_array_size(json_object_get(schema, "allOf")) && !failed(c); i++)
        text = limit(c, vs_schema_at_number(c, schema, "allOf", i), text, depth + 1);
    for (int kind = 0; kind < 2 && !failed(c); kind++, found = NULL) {
        const char *keyword = kind ? "oneOf" : "anyOf";
        for (size_t i = 0; i < json_array_size(json_object_get(schema, keyword)); i++) {
            const json_t *one = vs_schema_at_number(c, schema, keyword, i);
            if (!(vs_schema_types_within(c->g, c->scope, one) & T_STRING))
                continue;
            if (found)
                vs_refuse(c, VS_E_UNSUPPORTED, schema, keyword,
                          "several alternatives that are strings can't be told apart in tags");
            found = one;
        }
        text = found ? limit(c, found, text, depth + 1) : text;
    }
    return text;
}

static void add_schema(struct vs_grammar *g, struct vs_schema_scope *scope, uint32_t from, uint32_t to);

void vs_schema_add(struct vs_grammar *g, const json_t *schema, uint32_t from, uint32_t to)
{
    struct vs_schema_scope scope;
    if (has_inner_reference(g, schema, VS_BELOW_ONE, false, 0))
        vs_grammar_fail(g, VS_E_UNSUPPORTED, "json_schema: $id below the root: a reference under it would name another schema");
    if (g->err.code != VS_OK)
        return;
    json_t *rewritten = vs_schema_rewritten(g, schema, &scope);
    if (rewritten && g->err.code == VS_OK)
        add_schema(g, &scope, from, to);
    vs_schema_scope_clear(&scope);
    json_decref(rewritten);
}

static void add_schema(struct vs_grammar *g, struct vs_schema_scope *scope, uint32_t from, uint32_t to)
{
    const json_t *schema = scope->root;
    struct vs_compiler c = { .g = g, .scope = scope, .number = { VS_NOWHERE, VS_NOWHERE }, .own = json_array() };
    struct vs_set all = { 0 };
    if (!vs_is_schema(schema))
        vs_grammar_fail(g, VS_E_INVALID, "json_schema: an object, true or false is needed");
    c.space = vs_spell_space(g);
    c.companion = vs_spell_companion(g);
    const char *dialect = json_string_value(json_object_get(schema, "$schema"));
    if (dialect && !strstr(dialect, "json-schema.org/"))
        vs_grammar_fail(g, VS_E_UNSUPPORTED, "json_schema: $schema at #: only the drafts of json-schema.org");
    vs_schema_name(&c, schema, "#");
    vs_set_add(&c, &all, schema);
    if (g->use == VS_GRAMMAR_READS && !failed(&c)) {
        uint32_t begin = vs_place_add(g), end = vs_place_add(g);
        vs_edge_call(g, from, c.space, begin);
        vs_edge_call(g, end, c.space, to);
        from = begin;
        to = end;
    }
    vs_set_call(&c, &all, from, to);
    for (; c.n_done < c.n_made && !failed(&c); c.n_done++) {
        const struct vs_made m = c.made[c.n_done];
        struct vs_list l = { .c = &c, .from = g->rule[m.rule].start, .to = g->rule[m.rule].end };
        vs_set_open(&c, &m, take, &l);
    }
    vs_compiler_clear(&c);
}

struct vs_dfa *vs_schema_limit(struct vs_grammar *g, struct vs_schema_scope *scope, const json_t *schema, struct vs_dfa *text)
{
    struct vs_compiler c = { .g = g, .scope = scope, .number = { VS_NOWHERE, VS_NOWHERE }, .own = json_array() };
    text = limit(&c, schema, text, 0);
    vs_compiler_clear(&c);
    return text;
}
