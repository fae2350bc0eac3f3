/* grammar/calls.c - calls of functions as families of models write them, as rules.
 *
 *     open NAME close ARGUMENTS [ between open NAME close ARGUMENTS ... ] [ after ]
 *
 * ARGUMENTS are an object of JSON, or tags, one for each property that is given: key_open KEY key_close VALUE value_close. VALUE is
 * text where the schema wants a string, else JSON. Where the tags do not say which of the two it is, what the text of one would be
 * taken for (null, a number, ...) where the schema allows that, too, is left out, so that a reader who looks at the schema knows.
 */
#include "grammar/internal.h"

#include <stdio.h>
#include <string.h>

struct tags {
    struct vs_grammar *g;
    const struct vs_call_tags *of;
    const char *name;                    /* of the function, for messages */
    const json_t *parameters;
    struct vs_schema_scope *scope;       /* of the parameters */
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

static bool is_code(char c)
{
    return (uint8_t)c >= 0xf8;
}

/* Text that does not end the tag; where the key stands in its end, tags look alike, and it has none. */
static struct vs_dfa *text_of_tag(const struct tags *t)
{
    char pattern[128];
    const char *close = strstr(t->of->value_close, "%s") ? t->of->key_open : t->of->value_close;
    close += strspn(close, "\n");
    size_t n_close = strcspn(close, "\n"), n = 0;
    struct vs_dfa *any = vs_dfa_of_pattern(t->g, "", 0, true);
    if (!any || (n_close && is_code(close[0])))
        return any;                      /* no text has such bytes */
    for (size_t i = 0; i < n_close && !is_code(close[i]) && n + 2 < sizeof pattern; i++) {
        if (strchr("|\\^$.*+?()[]{}", close[i]))
            pattern[n++] = '\\';
        pattern[n++] = close[i];
    }
    struct vs_dfa *ends = vs_dfa_of_pattern(t->g, pattern, n, true);
    return ends ? vs_dfa_both(t->g, any, ends, VS_DFA_AND_NOT) : any;
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

static const char *const shared[] = { "$defs", "definitions" };

/* Does a reference lead to another place of the parameters than their definitions? */
static bool refers_beyond(const struct tags *t, const json_t *v, unsigned depth)
{
    const char *key, *ref = json_string_value(json_object_get(v, "$ref"));
    json_t *one;
    size_t i;
    if (depth > VS_MAX_BELOW || !vs_grammar_work(t->g, 8))
        return true;
    if (ref && (strcmp(ref, "#") == 0 || (strncmp(ref, "#/", 2) == 0 && strncmp(ref, "#/$defs/", 8) != 0
                                          && strncmp(ref, "#/definitions/", 14) != 0)))
        return true;
    json_object_foreach((json_t *)(uintptr_t)v, key, one)
        if (refers_beyond(t, one, depth + 1))
            return true;
    json_array_foreach(v, i, one)
        if (refers_beyond(t, one, depth + 1))
            return true;
    return false;
}

/* The schema with the definitions that it may refer to: it is the root of what is compiled. A new reference. */
static json_t *alone(const struct tags *t, const char *key, const json_t *schema)
{
    json_t *whole = json_is_object(schema) ? json_copy((json_t *)(uintptr_t)schema) : json_incref((json_t *)(uintptr_t)schema);
    for (size_t i = 0; i < 2 && json_is_object(whole); i++) {
        json_t *defs = json_object_get(t->parameters, shared[i]);
        if (defs && json_object_get(whole, shared[i]) && !json_equal(defs, json_object_get(whole, shared[i])))
            refuse(t, key, "it has other definitions than the parameters");
        if (defs && !json_object_get(whole, shared[i]))
            json_object_set(whole, shared[i], defs);
    }
    if (refers_beyond(t, whole, 0))
        refuse(t, key, "in tags only references to #/$defs/... and #/definitions/... can be followed");
    return whole;
}

static void add_string(const struct tags *t, const char *key, const json_t *schema, unsigned others, uint32_t from, uint32_t to)
{
    struct vs_grammar *g = t->g;
    bool says_nothing = !json_is_object(schema) || (others | VS_JSON_STRING) == VS_JSON_ANY;
    struct vs_dfa *text = text_of_tag(t);
    if (text && says_nothing && !vs_schema_says_nothing(schema))
        refuse(t, key, "its schema says something, but not of which type it is");
    if (text && !says_nothing)
        text = vs_schema_limit(g, t->scope, schema, t->of->json_close ? text : without_json(t, text, others));
    if (text)
        vs_dfa_emit(g, text, from, to);
    vs_dfa_free(text);
}

/* A value of JSON, of some of all types that its schema allows. */
static void add_json(const struct tags *t, const char *key, const json_t *schema, unsigned all, unsigned some, uint32_t from,
                     uint32_t to)
{
    static const struct { unsigned type; const char *name; } names[] = {
        { VS_JSON_NULL, "null" }, { VS_JSON_BOOLEAN, "boolean" }, { VS_JSON_INTEGER | VS_JSON_NUMBER, "number" },
        { VS_JSON_STRING, "string" }, { VS_JSON_ARRAY, "array" }, { VS_JSON_OBJECT, "object" },
    };
    json_t *whole = schema ? alone(t, key, schema) : json_true(), *list = json_array(), *both = json_array(), *rest = json_object();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (some & names[i].type)
            json_array_append_new(list, json_string(names[i].name));
    json_array_append(both, whole);
    json_array_append_new(both, json_pack("{s:o}", "type", list));
    for (size_t i = 0; i < 2; i++)
        if (json_object_get(whole, shared[i]))
            json_object_set(rest, shared[i], json_object_get(whole, shared[i]));
    if (json_object_set_new(rest, "allOf", both) != 0)
        vs_grammar_fail(t->g, VS_E_NOMEM, "out of memory");
    else
        vs_schema_add(t->g, some == all ? whole : rest, from, to);
    json_decref(rest);
    json_decref(whole);
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

/* A text in which %s is a word. */
static void add_filled(struct vs_grammar *g, uint32_t from, const char *text, const char *word, uint32_t to)
{
    const char *hole = strstr(text, "%s");
    if (!hole) {
        add_text(g, from, text, to);
        return;
    }
    uint32_t at = vs_place_add(g), behind = vs_place_add(g);
    vs_edge_text(g, from, text, (size_t)(hole - text), at);
    add_text(g, at, word, behind);
    add_text(g, behind, hole + 2, to);
}

/* What stands behind the key: a text, or JSON; each type of that by itself where the tags tell them apart. */
static void add_values(const struct tags *t, const char *key, const json_t *schema, uint32_t from, uint32_t to)
{
    static const struct { unsigned type; const char *name; } kinds[] = {
        { VS_JSON_NULL, "null" }, { VS_JSON_BOOLEAN, "boolean" }, { VS_JSON_INTEGER | VS_JSON_NUMBER, "number" },
        { VS_JSON_ARRAY, "array" }, { VS_JSON_OBJECT, "object" },
    };
    struct vs_grammar *g = t->g;
    const struct vs_call_tags *of = t->of;
    unsigned types = json_is_object(schema) ? vs_schema_types_within(g, t->scope, schema) : VS_JSON_ANY;
    unsigned others = of->key_close ? types & ~(unsigned)VS_JSON_STRING : types;
    const char *close = of->json_close ? of->json_close : of->key_close, *end = of->json_close ? of->json_end : of->value_close;
    bool has_kinds = strstr(close, "%s") != NULL;
    if (of->key_close && (types & VS_JSON_STRING)) {
        uint32_t begin = vs_place_add(g), behind = vs_place_add(g);
        add_text(g, from, of->key_close, begin);
        add_string(t, key, schema, others, begin, behind);
        add_filled(g, behind, of->value_close, key, to);
    }
    /* Where the tags do not tell, what says nothing of its type is text. */
    bool is_text = !of->json_close && types == VS_JSON_ANY;
    for (size_t i = 0; !is_text && i < (has_kinds ? sizeof kinds / sizeof *kinds : 1) && g->err.code == VS_OK; i++) {
        unsigned some = has_kinds ? others & kinds[i].type : others;
        if (!some)
            continue;
        uint32_t begin = vs_place_add(g), behind = vs_place_add(g);
        add_filled(g, from, close, kinds[i].name, begin);
        add_json(t, key, schema, types, some, begin, behind);
        add_filled(g, behind, end, key, to);
    }
}

static void add_tag(const struct tags *t, const char *key, const json_t *schema, uint32_t from, uint32_t to)
{
    struct vs_grammar *g = t->g;
    uint32_t name = vs_place_add(g), end = vs_place_add(g);
    size_t n = strlen(key);
    const char *never = t->of->between ? "<>\n\r\t \"':=,(){}[]" : "<>\n\r\t\"";
    if (!n || n > 200 || strpbrk(key, never) || key[0] == ' ' || key[n - 1] == ' ')
        refuse(t, key, "a tag can't have this name");
    add_text(g, from, t->of->key_open, name);
    add_text(g, name, key, end);
    add_values(t, key, schema, end, to);
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

/* Where the tags that were given so far leave us: none of them, or some. NO_PLACE: that can't be. Where nothing stands between two
 * it makes no difference, and the place is that of some. */
enum { NO_PLACE = UINT32_MAX };
struct given { uint32_t none, some; };

/* One more tag, which may be left out. */
static struct given add_property(const struct tags *t, const char *key, const json_t *schema, bool is_needed, struct given at)
{
    struct vs_grammar *g = t->g;
    bool is_apart = t->of->between != NULL;
    struct given next = { is_apart && !is_needed && at.none != NO_PLACE ? vs_place_add(g) : NO_PLACE, vs_place_add(g) };
    uint32_t begin = is_apart ? vs_place_add(g) : at.some;
    if (is_apart && at.none != NO_PLACE)
        vs_edge_empty(g, at.none, begin);
    if (is_apart && at.some != NO_PLACE)
        add_text(g, at.some, t->of->between, begin);
    if (!json_is_false(schema) && g->err.code == VS_OK)
        add_tag(t, key, schema, begin, next.some);
    if (!is_needed && at.some != NO_PLACE)
        vs_edge_empty(g, at.some, next.some);
    if (next.none != NO_PLACE)
        vs_edge_empty(g, at.none, next.none);
    return next;
}

static void add_tags(const struct tags *t, uint32_t from, uint32_t to)
{
    struct vs_grammar *g = t->g;
    const json_t *properties = json_object_get(t->parameters, "properties"), *required = json_object_get(t->parameters, "required");
    const char *key;
    json_t *schema;
    struct given at = { t->of->between ? from : NO_PLACE, t->of->between ? NO_PLACE : from };
    check_parameters(t);
    json_object_foreach((json_t *)(uintptr_t)properties, key, schema)
        at = add_property(t, key, schema, is_required(t->parameters, key), at);
    for (size_t i = 0; i < json_array_size(required) && g->err.code == VS_OK; i++) {
        key = json_string_value(json_array_get(required, i));
        if (!key || json_object_get(properties, key))
            continue;
        if (json_is_false(json_object_get(t->parameters, "additionalProperties"))) {
            vs_grammar_fail(g, VS_E_INVALID, "function %.60s: %.60s is required, and not allowed", t->name, key);
            return;
        }
        at = add_property(t, key, json_object_get(t->parameters, "additionalProperties"), true, at);
    }
    if (at.none != NO_PLACE)
        add_text(g, at.none, t->of->end, to);
    if (at.some != NO_PLACE)
        add_text(g, at.some, t->of->end, to);
}

/* ---- calls ---- */

static void add_call(struct vs_grammar *g, const struct vs_call_form *form, const struct vs_callable *f, uint32_t from, uint32_t to)
{
    uint32_t name = vs_place_add(g), end = vs_place_add(g), arguments = vs_place_add(g);
    struct vs_schema_scope scope = { .root = f->parameters };
    const struct tags t = { g, form->tags, f->name, f->parameters, &scope };
    add_text(g, from, form->open, name);
    add_text(g, name, f->name, end);
    add_text(g, end, form->close, arguments);
    if (form->tags)
        add_tags(&t, arguments, to);
    else
        vs_schema_add(g, f->parameters, arguments, to);
    vs_schema_scope_clear(&scope);
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
