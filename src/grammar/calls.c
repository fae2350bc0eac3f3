/* grammar/calls.c - calls of functions as families of models write them, as rules.
 *
 *     open NAME close ARGUMENTS [ between open NAME close ARGUMENTS ... ] [ after ]
 *
 * ARGUMENTS are an object of JSON, or tags, one for each property that is given: key_open KEY key_close VALUE value_close. VALUE is
 * text where the schema wants a string, else JSON. What the text of a tag would be taken for (null, a number, ...) where the schema
 * allows that, too, is left out, so that a reader who looks at the schema knows which of the two it is.
 */
#include "grammar/internal.h"

#include <stdio.h>
#include <string.h>

struct tags {
    struct vs_grammar *g;
    const struct vs_call_tags *of;
    const char *name;                    /* of the function, for messages */
    const json_t *parameters;
};

static void add_text(struct vs_grammar *g, uint32_t from, const char *text, uint32_t to)
{
    vs_edge_text(g, from, text, strlen(text), to);
}

static void refuse(const struct tags *t, const char *what, const char *why)
{
    vs_grammar_fail(t->g, VS_E_UNSUPPORTED, "function %.60s, %.60s: %s", t->name, what, why);
}

/* ---- a value ---- */

/* Text that does not end the tag. */
static struct vs_dfa *text_of_tag(const struct tags *t)
{
    const char *close = t->of->value_close + strspn(t->of->value_close, "\n");
    struct vs_dfa *any = vs_dfa_of_pattern(t->g, "", 0, true), *ends = vs_dfa_of_pattern(t->g, close, strcspn(close, "\n"), true);
    return any && ends ? vs_dfa_both(t->g, any, ends, VS_DFA_AND_NOT) : any;
}

/* What a reader would take for something else. */
static struct vs_dfa *without_json(const struct tags *t, struct vs_dfa *text, unsigned types)
{
    static const struct { unsigned type; const char *begins; } looks[] = {
        { VS_JSON_NULL, "^\\s*null\\s*$" }, { VS_JSON_BOOLEAN, "^\\s*(true|false|True|False)\\s*$" },
        { VS_JSON_INTEGER | VS_JSON_NUMBER, "^\\s*-?[0-9]" }, { VS_JSON_ARRAY, "^\\s*\\[" }, { VS_JSON_OBJECT, "^\\s*\\{" },
    };
    for (size_t i = 0; i < sizeof looks / sizeof *looks && text; i++)
        if (types & looks[i].type)
            text = vs_dfa_both(t->g, text, vs_dfa_of_pattern(t->g, looks[i].begins, strlen(looks[i].begins), true), VS_DFA_AND_NOT);
    return text;
}

/* The schema with the definitions that it may refer to. A new reference. */
static json_t *alone(const struct tags *t, const json_t *schema)
{
    static const char *const shared[] = { "$defs", "definitions" };
    json_t *whole = json_is_object(schema) ? json_copy((json_t *)(uintptr_t)schema) : json_incref((json_t *)(uintptr_t)schema);
    for (size_t i = 0; i < 2 && json_is_object(whole); i++) {
        json_t *defs = json_object_get(t->parameters, shared[i]);
        if (defs && !json_object_get(whole, shared[i]))
            json_object_set(whole, shared[i], defs);
    }
    return whole;
}

static void add_value(const struct tags *t, const char *key, const json_t *schema, uint32_t from, uint32_t to)
{
    struct vs_grammar *g = t->g;
    unsigned types = vs_schema_types(t->parameters, schema), others = types & ~VS_JSON_STRING;
    bool says_nothing = !json_is_object(schema) || types == VS_JSON_ANY;
    if (types & VS_JSON_STRING) {
        struct vs_dfa *text = text_of_tag(t);
        if (text && says_nothing && !vs_schema_says_nothing(schema))
            refuse(t, key, "its schema says something, but not of which type it is");
        if (text && !says_nothing)
            text = vs_schema_limit(g, t->parameters, schema, without_json(t, text, others));
        if (text)
            vs_dfa_emit(g, text, from, to);
        vs_dfa_free(text);
    }
    if (others && !says_nothing && g->err.code == VS_OK) {
        json_t *whole = alone(t, schema), *rest = json_pack("{s:[O, {s:[s, s, s, s, s]}]}", "allOf", whole, "type", "null",
                                                            "boolean", "number", "array", "object");
        const char *const shared[] = { "$defs", "definitions" };
        for (size_t i = 0; i < 2 && rest; i++)
            if (json_object_get(whole, shared[i]))
                json_object_set(rest, shared[i], json_object_get(whole, shared[i]));
        if (!rest)
            vs_grammar_fail(g, VS_E_NOMEM, "out of memory");
        else
            vs_schema_add(g, types & VS_JSON_STRING ? rest : whole, from, to);
        json_decref(rest);
        json_decref(whole);
    }
}

/* ---- the tags of a call ---- */

static bool is_required(const json_t *parameters, const char *key)
{
    size_t i;
    const json_t *v;
    json_array_foreach(json_object_get(parameters, "required"), i, v)
        if (json_is_string(v) && strcmp(json_string_value(v), key) == 0)
            return true;
    return false;
}

static void add_tag(const struct tags *t, const char *key, const json_t *schema, uint32_t from, uint32_t to)
{
    struct vs_grammar *g = t->g;
    uint32_t name = vs_place_add(g), end = vs_place_add(g), begin = vs_place_add(g), close = vs_place_add(g);
    size_t n = strlen(key);
    if (!n || n > 200 || strpbrk(key, "<>\n\r\t") || key[0] == ' ' || key[n - 1] == ' ')
        refuse(t, key, "a tag can't have this name");
    add_text(g, from, t->of->key_open, name);
    add_text(g, name, key, end);
    add_text(g, end, t->of->key_close, begin);
    add_value(t, key, schema, begin, close);
    add_text(g, close, t->of->value_close, to);
}

/* All that a list of tags can't keep. */
static void check_parameters(const struct tags *t)
{
    static const char *const refused[] = {
        "patternProperties", "minProperties", "maxProperties", "anyOf", "oneOf", "allOf", "not", "if", "$ref", "dependentRequired",
        "dependentSchemas", "dependencies", "propertyNames", "enum", "const", "unevaluatedProperties", "$dynamicRef",
    };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        const json_t *v = json_object_get(t->parameters, refused[i]);
        if (v && !json_is_false(v) && !(json_is_object(v) && json_object_size(v) == 0))
            refuse(t, refused[i], "in tags this keyword can't be enforced at the root of parameters");
    }
    if (strpbrk(t->name, "<> \n\r\t"))
        refuse(t, "name", "a tag can't have this name");
}

static void add_tags(const struct tags *t, uint32_t from, uint32_t to)
{
    struct vs_grammar *g = t->g;
    const json_t *properties = json_object_get(t->parameters, "properties"), *required = json_object_get(t->parameters, "required");
    const char *key;
    json_t *schema;
    uint32_t at = from;
    check_parameters(t);
    json_object_foreach((json_t *)(uintptr_t)properties, key, schema) {
        uint32_t next = vs_place_add(g);
        if (!json_is_false(schema) && g->err.code == VS_OK)
            add_tag(t, key, schema, at, next);
        if (!is_required(t->parameters, key))
            vs_edge_empty(g, at, next);
        at = next;
    }
    for (size_t i = 0; i < json_array_size(required) && g->err.code == VS_OK; i++) {
        key = json_string_value(json_array_get(required, i));
        if (!key || json_object_get(properties, key))
            continue;
        if (json_is_false(json_object_get(t->parameters, "additionalProperties"))) {
            vs_grammar_fail(g, VS_E_INVALID, "function %.60s: %.60s is required, and not allowed", t->name, key);
            return;
        }
        uint32_t next = vs_place_add(g);
        add_tag(t, key, json_object_get(t->parameters, "additionalProperties"), at, next);
        at = next;
    }
    add_text(g, at, t->of->end, to);
}

/* ---- calls ---- */

static void add_call(struct vs_grammar *g, const struct vs_call_form *form, const struct vs_callable *f, uint32_t from, uint32_t to)
{
    uint32_t name = vs_place_add(g), end = vs_place_add(g), arguments = vs_place_add(g);
    const struct tags t = { g, form->tags, f->name, f->parameters };
    add_text(g, from, form->open, name);
    add_text(g, name, f->name, end);
    add_text(g, end, form->close, arguments);
    if (form->tags)
        add_tags(&t, arguments, to);
    else
        vs_schema_add(g, f->parameters, arguments, to);
}

static void add_calls(struct vs_grammar *g, const struct vs_call_form *form, const struct vs_callable *f, size_t n,
                      const json_t *constraint, bool is_bare)
{
    g->root = vs_rule_add(g, "root", 4);
    uint32_t begin = vs_place_add(g), end = vs_place_add(g);
    if (g->err.code == VS_OK)
        add_text(g, g->rule[g->root].start, constraint ? form->begin : "", begin);
    if (constraint && g->err.code == VS_OK)
        vs_constraint_add(g, constraint, g->rule[g->root].start, g->rule[g->root].end);
    for (size_t i = 0; i < n && g->err.code == VS_OK; i++) {
        add_call(g, form, &f[i], begin, end);
        if (constraint && is_bare && g->err.code == VS_OK)
            vs_schema_add(g, f[i].parameters, g->rule[g->root].start, g->rule[g->root].end);
    }
    if (g->err.code == VS_OK) {
        vs_edge_empty(g, end, g->rule[g->root].end);
        if (form->between)
            add_text(g, end, form->between, begin);
        if (form->between && form->after)
            add_text(g, end, form->after, g->rule[g->root].end);
    }
}

int vs_grammar_calls(const struct vs_call_form *form, const struct vs_callable *f, size_t n, const json_t *constraint, bool is_bare,
                     const struct vs_vocabulary *v, struct vs_check *check, struct vs_grammar **ret, struct vs_error *err)
{
    bool splits = false;
    int r;
    do {
        struct vs_grammar *g = vs_grammar_begin(v, VS_GRAMMAR_WRITES, check);
        if (!g)
            return vs_error_set(err, VS_E_NOMEM, "out of memory");
        g->splits = splits;
        add_calls(g, form, f, n, constraint, is_bare);
        r = vs_grammar_give(g, ret, &splits, err);
    } while (splits);
    return r;
}
