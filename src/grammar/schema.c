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
#include "grammar/internal.h"

#include "base/bytes.h"
#include "base/utf8.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_SET = 64,                        /* schemas that must hold together */
    MAX_LISTS = 4096,                    /* alternatives of one set */
    MAX_RULES = 50000,
    MAX_PAIRS = 20000,                    /* of alternatives of oneOf, in all */
    MAX_CONTAINED = 100,                 /* elements that contains counts */
    MAX_UNPLACED = 8,                    /* members without a place of their own that may come in any order */
    MAX_COUNTED = 20000,                 /* members that are counted, and characters beside a pattern */
    MAX_UNIQUE = 8,                      /* values that uniqueItems tells apart */
    MAX_PATTERNS = 5,                    /* of patternProperties that may meet in one object */
    MAX_PATH = 200,                      /* bytes of a place that is shown */
};

enum {
    T_NULL = VS_JSON_NULL, T_BOOLEAN = VS_JSON_BOOLEAN, T_INTEGER = VS_JSON_INTEGER, T_NUMBER = VS_JSON_NUMBER,
    T_STRING = VS_JSON_STRING, T_ARRAY = VS_JSON_ARRAY, T_OBJECT = VS_JSON_OBJECT, T_ALL = VS_JSON_ANY,
};
static const struct { const char *name; unsigned bits; } types[] = {
    { "null", T_NULL }, { "boolean", T_BOOLEAN }, { "integer", T_INTEGER }, { "number", T_INTEGER | T_NUMBER },
    { "string", T_STRING }, { "array", T_ARRAY }, { "object", T_OBJECT },
};

/* What a keyword needs as its value, and whether it is enforced. */
enum need { ANYTHING, A_SCHEMA, SCHEMAS, A_MAP, MAP_OF_LISTS, A_NUMBER, A_COUNT, A_STRING, STRINGS, A_LIST, A_TYPE };
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
    { "nullable", ANYTHING, true }, { "disallow", ANYTHING, true }, { "extends", ANYTHING, true },
    { "divisibleBy", ANYTHING, true },
};

#define IPV4 "(?:(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\\.){3}(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
#define IPV6 "(?:[0-9a-fA-F]{1,4}:){7}[0-9a-fA-F]{1,4}|(?:[0-9a-fA-F]{1,4}:){1,7}:|(?:[0-9a-fA-F]{1,4}:){1,6}:[0-9a-fA-F]{1,4}" \
             "|(?:[0-9a-fA-F]{1,4}:){1,5}(?::[0-9a-fA-F]{1,4}){1,2}|(?:[0-9a-fA-F]{1,4}:){1,4}(?::[0-9a-fA-F]{1,4}){1,3}" \
             "|(?:[0-9a-fA-F]{1,4}:){1,3}(?::[0-9a-fA-F]{1,4}){1,4}|(?:[0-9a-fA-F]{1,4}:){1,2}(?::[0-9a-fA-F]{1,4}){1,5}" \
             "|[0-9a-fA-F]{1,4}:(?::[0-9a-fA-F]{1,4}){1,6}|:(?:(?::[0-9a-fA-F]{1,4}){1,7}|:)"
#define BASE64 "(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?"
#define UUID_OF(version) "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-" version "[0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12}"

static const struct { const char *name, *regex; } formats[] = {
    { "date", "[0-9]{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
              "|02-(?:0[1-9]|1[0-9]|2[0-8]))"
              "|(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)-02-29" },
    { "time", "(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\\.[0-9]{1,9})?(?:[Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])" },
    { "date-time", "(?:[0-9]{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
                   "|02-(?:0[1-9]|1[0-9]|2[0-8]))"
                   "|(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)-02-29)"
                   "[Tt](?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\\.[0-9]{1,9})?(?:[Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])" },
    { "duration", "P(?:[0-9]+W|(?:[0-9]+Y(?:[0-9]+M(?:[0-9]+D)?)?|[0-9]+M(?:[0-9]+D)?|[0-9]+D)"
                  "(?:T(?:[0-9]+H(?:[0-9]+M(?:[0-9]+S)?)?"
                  "|[0-9]+M(?:[0-9]+S)?|[0-9]+S))?|T(?:[0-9]+H(?:[0-9]+M(?:[0-9]+S)?)?|[0-9]+M(?:[0-9]+S)?|[0-9]+S))" },
    { "uuid", "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}" },
    { "uuid1", UUID_OF("1") }, { "uuid3", UUID_OF("3") }, { "uuid4", UUID_OF("4") }, { "uuid5", UUID_OF("5") },
    { "uuid6", UUID_OF("6") }, { "uuid7", UUID_OF("7") }, { "uuid8", UUID_OF("8") },
    { "byte", BASE64 }, { "base64", BASE64 }, { "base64url", "[A-Za-z0-9_-]*={0,2}" },
    { "json-pointer", "(?:/(?:[^~/]|~[01])*)*" },
    { "ipv4", IPV4 },
    { "ipv6", IPV6 }, { "ipvanyaddress", IPV4 "|" IPV6 },
    { "email", "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*@(?:[A-Za-z0-9]"
               "(?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\\.)+[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?" },
    { "hostname", "[A-Za-z0-9](?:-?[A-Za-z0-9]){0,30}(?:\\.[A-Za-z0-9](?:-?[A-Za-z0-9]){0,30}){0,3}" },
    { "uri", "[A-Za-z][A-Za-z0-9+.-]*:(?://[A-Za-z0-9._~!$&'()*+,;=-]+(?::[0-9]{1,5})?(?:/"
             "(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})*)*"
             "|(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})+(?:/(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})*)*)"
             "(?:\\?(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*)?(?:#"
             "(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*)?" },
};

/* Formats that say nothing of a text: how it is shown, or what it is for. */
static const char *const hints[] = { "password", "binary", "path", "file-path", "directory-path" };

/* Schemas that must all hold, in the order in which they were met; sorted for its key. */
struct set { const json_t *v[MAX_SET]; unsigned n; bool never; };

/* A set that has a rule; v sorted, and once more in its own order. pair_of: two alternatives of that one's oneOf,
 * asked for only to see that they allow nothing together; else NULL. */
struct made { const json_t **v; unsigned n; uint32_t rule; const json_t *pair_of; };
struct place { const json_t *schema; char *path; };

struct compiler {
    struct vs_grammar *g;
    const json_t *root;
    struct made *made;                   /* [n_made]; those from n_done on are still to be written */
    uint32_t n_made, n_done, cap_made;
    uint32_t *slot, mask;                /* of made, by content */
    struct place *place;                 /* an open table by address */
    uint32_t n_places, place_mask;
    uint32_t n_pairs;                    /* of alternatives that must exclude each other */
    uint32_t space, companion;
    uint32_t number[2];                  /* rules of any number, and of any integer; VS_NOWHERE: not yet */
    json_t *own;                         /* schemas that were made here */
};

static bool failed(const struct compiler *c)
{
    return c->g->err.code != VS_OK;
}

static void clear_compiler(struct compiler *c)
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

static void *out_of_memory(struct compiler *c)
{
    vs_grammar_fail(c->g, VS_E_NOMEM, "out of memory");
    return NULL;
}

/* ---- places, for messages ---- */

static uint32_t address_hash(const void *p)
{
    uint64_t h = (uint64_t)(uintptr_t)p * 0x9e3779b97f4a7c15u;
    return (uint32_t)(h >> 32);
}

static struct place *place_slot(struct compiler *c, const json_t *schema)
{
    uint32_t at = address_hash(schema) & c->place_mask;
    while (c->place[at].schema && c->place[at].schema != schema)
        at = (at + 1) & c->place_mask;
    return &c->place[at];
}

static const char *path_of(struct compiler *c, const json_t *schema)
{
    const struct place *p = c->place ? place_slot(c, schema) : NULL;
    return p && p->schema ? p->path : "#";
}

static bool enlarge_places(struct compiler *c)
{
    uint32_t size = c->place ? 2 * (c->place_mask + 1) : 256, old_size = c->place ? c->place_mask + 1 : 0;
    struct place *old = c->place, *place = calloc(size, sizeof *place);
    if (!place)
        return out_of_memory(c) != NULL;
    c->place = place;
    c->place_mask = size - 1;
    for (uint32_t i = 0; i < old_size; i++)
        if (old[i].schema)
            *place_slot(c, old[i].schema) = old[i];
    free(old);
    return true;
}

static void name_place(struct compiler *c, const json_t *schema, const char *path)
{
    if (failed(c) || json_is_boolean(schema) || ((c->n_places + 1) * 2 > c->place_mask && !enlarge_places(c)))
        return;
    struct place *p = place_slot(c, schema);
    if (p->schema)
        return;
    p->schema = schema;
    if (!(p->path = strdup(path))) {
        p->schema = NULL;
        out_of_memory(c);
        return;
    }
    c->n_places++;
}

/* The schema below another one, by keyword and name or number. */
static const json_t *below(struct compiler *c, const json_t *parent, const char *keyword, const char *name, const json_t *schema)
{
    char path[MAX_PATH];
    snprintf(path, sizeof path, "%.140s/%.30s%s%.24s", path_of(c, parent), keyword, name ? "/" : "", name ? name : "");
    if (schema)
        name_place(c, schema, path);
    return schema;
}

static const json_t *below_number(struct compiler *c, const json_t *parent, const char *keyword, size_t i)
{
    char name[24];
    snprintf(name, sizeof name, "%zu", i);
    return below(c, parent, keyword, name, json_array_get(json_object_get(parent, keyword), i));
}

static void refuse(struct compiler *c, int code, const json_t *schema, const char *keyword, const char *why)
{
    vs_grammar_fail(c->g, code, "json_schema: %s at %s: %s", keyword, path_of(c, schema), why);
}

/* ---- is it a schema? ---- */

static bool is_schema(const json_t *v)
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

static bool whole_number(const json_t *v, uint64_t *ret)
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
    case A_SCHEMA: return is_schema(v) ? NULL : json_is_array(v) ? "a schema is needed; for a list of schemas there is prefixItems"
                                                                : "a schema is needed";
    case SCHEMAS: return json_is_array(v) && json_array_size(v) && all_are(v, is_schema) ? NULL : "a list of schemas is needed";
    case A_MAP: return json_is_object(v) ? NULL : "an object is needed";
    case MAP_OF_LISTS: return json_is_object(v) && all_are(v, is_string_list) ? NULL : "an object of lists of strings is needed";
    case A_NUMBER: return json_is_number(v) ? NULL : "a number is needed";
    case A_COUNT: return whole_number(v, &n) ? NULL : "a whole number of at least 0 is needed";
    case A_STRING: return json_is_string(v) ? NULL : "a string is needed";
    case STRINGS: return json_is_array(v) && all_are(v, is_string) ? NULL : "a list of strings is needed";
    case A_LIST: return json_is_array(v) ? NULL : "a list is needed";
    case A_TYPE: return type_bits(v) ? NULL : "a type, or a list of types, is needed (null, boolean, integer, number, string, "
                                              "array, object)";
    }
    return NULL;
}

/* Some keywords say nothing in one form; then they are no reason to refuse. */
static bool says_nothing(const json_t *schema, const char *name, const json_t *v)
{
    if (strcmp(name, "uniqueItems") == 0 || strcmp(name, "nullable") == 0)
        return json_is_false(v);
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
    return keyword_of(keyword) && !says_nothing(schema, keyword, v);
}

enum vs_schemas_below vs_schema_below(const char *keyword)
{
    const struct keyword *k = keyword_of(keyword);
    return !k ? VS_BELOW_NONE : k->need == A_SCHEMA ? VS_BELOW_ONE : k->need == SCHEMAS ? VS_BELOW_LIST
           : k->need == A_MAP ? VS_BELOW_MAP : VS_BELOW_NONE;
}

static bool check_keywords(struct compiler *c, const json_t *schema)
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
        if (!what && maps && !all_are(v, is_schema))
            what = "each member must be a schema";
        if (what)
            refuse(c, VS_E_INVALID, schema, name, what);
        else if (k->refused && !says_nothing(schema, name, v))
            refuse(c, VS_E_UNSUPPORTED, schema, name, strcmp(name, "nullable") == 0
                   ? "it is of OpenAPI 3.0, not of JSON schema: add \"null\" to the type" : "this keyword can't be enforced");
        if (failed(c))
            return false;
    }
    return true;
}

/* ---- sets and their rules ---- */

static void set_add(struct compiler *c, struct set *s, const json_t *schema)
{
    if (json_is_false(schema))
        s->never = true;
    if (json_is_boolean(schema) || failed(c))
        return;
    for (unsigned i = 0; i < s->n; i++)
        if (s->v[i] == schema)
            return;
    if (s->n == MAX_SET)
        refuse(c, VS_E_LIMIT, schema, "schema", "too many schemas must hold together");
    else
        s->v[s->n++] = schema;
}

static int by_address(const void *a, const void *b)
{
    uintptr_t x = (uintptr_t)*(const json_t *const *)a, y = (uintptr_t)*(const json_t *const *)b;
    return x < y ? -1 : x > y;
}

static uint32_t set_hash(const json_t *const *v, unsigned n)
{
    uint32_t h = n;
    for (unsigned i = 0; i < n; i++)
        h = (h ^ address_hash(v[i])) * 16777619u;
    return h;
}

static bool enlarge_made(struct compiler *c)
{
    uint32_t cap = c->cap_made ? 2 * c->cap_made : 64;
    struct made *made = realloc(c->made, cap * sizeof *made);
    c->made = made ? made : c->made;
    free(c->slot);
    c->slot = malloc(2 * (size_t)cap * sizeof *c->slot);
    if (!made || !c->slot)
        return out_of_memory(c) != NULL;
    c->cap_made = cap;
    c->mask = 2 * cap - 1;
    memset(c->slot, 0xff, 2 * (size_t)cap * sizeof *c->slot);
    for (uint32_t i = 0; i < c->n_made; i++) {
        uint32_t at = set_hash(made[i].v, made[i].n) & c->mask;
        while (c->slot[at] != VS_NOWHERE)
            at = (at + 1) & c->mask;
        c->slot[at] = i;
    }
    return true;
}

/* The rule of the set; it is written later. VS_NOWHERE: the set allows nothing. */
static uint32_t rule_of(struct compiler *c, const struct set *s, const json_t *pair_of)
{
    const json_t *sorted[MAX_SET];
    if (s->never || failed(c) || (c->n_made == c->cap_made && !enlarge_made(c)))
        return VS_NOWHERE;
    memcpy(sorted, s->v, s->n * sizeof *sorted);
    qsort(sorted, s->n, sizeof *sorted, by_address);
    uint32_t at = set_hash(sorted, s->n) & c->mask;
    for (; c->slot[at] != VS_NOWHERE; at = (at + 1) & c->mask) {
        const struct made *m = &c->made[c->slot[at]];
        if (m->n == s->n && m->pair_of == pair_of && memcmp(m->v, sorted, s->n * sizeof *sorted) == 0)
            return m->rule;
    }
    const char *path = s->n ? path_of(c, s->v[0]) : "#";
    const json_t **v = malloc((2 * (size_t)s->n + 1) * sizeof *v);
    if (!v || c->n_made >= MAX_RULES) {
        free(v);
        vs_grammar_fail(c->g, v ? VS_E_LIMIT : VS_E_NOMEM, v ? "json_schema: it is too large: more than %d different schemas"
                                                            : "out of memory (%d)", MAX_RULES);
        return VS_NOWHERE;
    }
    memcpy(v, sorted, s->n * sizeof *v);
    memcpy(v + s->n, s->v, s->n * sizeof *v);       /* in their own order, for when it is written */
    c->made[c->n_made] = (struct made){ v, s->n, vs_rule_add(c->g, path, strlen(path)), pair_of };
    c->slot[at] = c->n_made++;
    return c->made[c->n_made - 1].rule;
}

static void call(struct compiler *c, const struct set *s, uint32_t from, uint32_t to)
{
    uint32_t rule = rule_of(c, s, NULL);
    if (rule != VS_NOWHERE && !failed(c))
        vs_edge_call(c->g, from, rule, to);
}

/* ---- $ref ---- */

static const json_t *find_anchor(const json_t *v, const char *name, unsigned depth)
{
    const char *key;
    json_t *one;
    size_t i;
    const json_t *found = NULL;
    if (depth > 100)
        return NULL;
    for (int kind = 0; kind < 2; kind++) {
        const char *anchor = json_string_value(json_object_get(v, kind ? "$dynamicAnchor" : "$anchor"));
        if (anchor && strcmp(anchor, name) == 0)
            return v;
    }
    json_object_foreach((json_t *)(uintptr_t)v, key, one)
        if (strcmp(key, "enum") != 0 && strcmp(key, "const") != 0 && (found = find_anchor(one, name, depth + 1)))
            return found;
    json_array_foreach(v, i, one)
        if ((found = find_anchor(one, name, depth + 1)))
            return found;
    return NULL;
}

/* One step of a pointer: "a~1b%20c" is "a/b c". Returns the rest. */
static const char *step_name(const char *at, char *ret, size_t size)
{
    size_t n = 0;
    while (*at && *at != '/' && n + 1 < size) {
        char ch = *at++;
        if (ch == '%' && vs_hex_digit(at[0]) >= 0 && vs_hex_digit(at[1]) >= 0) {
            ch = (char)(vs_hex_digit(at[0]) * 16 + vs_hex_digit(at[1]));
            at += 2;
        }
        ret[n++] = ch;
    }
    ret[n] = '\0';
    char *to = ret;
    for (const char *from = ret; *from; from++)
        *to++ = from[0] == '~' && (from[1] == '0' || from[1] == '1') ? (*++from == '0' ? '~' : '/') : *from;
    *to = '\0';
    return at;
}

/* What a reference within the root names; NULL: nothing. *ret_is_outside: it names another document. */
static const json_t *follow(const json_t *root, const char *ref, bool *ret_is_outside)
{
    const char *id = json_string_value(json_object_get(root, "$id")), *fragment = strchr(ref, '#');
    size_t n = fragment ? (size_t)(fragment - ref) : strlen(ref);
    const json_t *at = root;
    *ret_is_outside = n && !(id && strlen(id) == n && memcmp(id, ref, n) == 0);
    if (*ret_is_outside)
        return NULL;
    if (fragment && fragment[1] && fragment[1] != '/') {
        at = find_anchor(root, fragment + 1, 0);
    } else if (fragment) {
        char name[512];
        for (const char *p = fragment + 1; at && *p == '/';) {
            p = step_name(p + 1, name, sizeof name);
            char *end;
            unsigned long i = strtoul(name, &end, 10);
            at = json_is_array(at) ? (*name && !*end ? json_array_get(at, i) : NULL) : json_object_get(at, name);
        }
    }
    return at && is_schema(at) ? at : NULL;
}

const json_t *vs_schema_follow(const json_t *root, const char *ref)
{
    bool is_outside;
    return follow(root, ref, &is_outside);
}

static const json_t *resolve(struct compiler *c, const json_t *schema)
{
    const char *ref = json_string_value(json_object_get(schema, "$ref")), *fragment = strchr(ref, '#');
    bool is_outside;
    const json_t *at = follow(c->root, ref, &is_outside);
    if (!at) {
        refuse(c, is_outside ? VS_E_UNSUPPORTED : VS_E_INVALID, schema, "$ref",
               is_outside ? "only references to places within the schema are followed (#/...)"
                          : "there is no schema at the place that it names");
        return NULL;
    }
    char path[MAX_PATH];
    snprintf(path, sizeof path, "%.190s", fragment ? fragment : "#");
    name_place(c, at, path);
    return at;
}

/* ---- a set is opened ---- */

struct opening {
    struct compiler *c;
    const json_t *open[MAX_SET];         /* objects that are in the list */
    unsigned end[MAX_SET];               /* those that came through it end there */
    unsigned n_open;
    struct { const json_t *schema; const char *keyword; int from; } either[MAX_SET];      /* alternatives that were met */
    unsigned n_either;
    const json_t *above[MAX_SET];        /* through which $ref and the like one came here */
    unsigned n_above;
    uint32_t owner;                      /* whose rule it is */
    const json_t *pair_of;               /* its oneOf is decided */
    int chosen;                          /* whose alternative is opened; -1: none. from: whose alternative brought it */
    bool never, met_again;       /* one was met twice */
};

typedef void take_list(void *context, const json_t *const *list, const unsigned *end, unsigned n);

static void open_schema(struct opening *o, const json_t *schema)
{
    struct compiler *c = o->c;
    if (json_is_false(schema))
        o->never = true;
    if (json_is_boolean(schema) || failed(c) || !vs_grammar_work(c->g, 64))
        return;
    for (unsigned i = 0; i < o->n_above; i++)
        if (o->above[i] == schema) {
            refuse(c, VS_E_INVALID, schema, "$ref", "it leads back to itself without reading anything");
            return;
        }
    for (int i = o->chosen; i >= 0; i = o->either[i].from)
        if (o->either[i].schema == schema) {
            refuse(c, VS_E_INVALID, schema, o->either[i].keyword, "it leads back to itself without reading anything");
            return;
        }
    for (unsigned i = 0; i < o->n_open; i++)
        if (o->open[i] == schema) {
            o->met_again = true;
            return;
        }
    if (o->n_open == MAX_SET || o->n_above == MAX_SET || o->n_either + 2 >= MAX_SET) {
        refuse(c, VS_E_LIMIT, schema, "schema", "too many schemas must hold together");
        return;
    }
    if (!check_keywords(c, schema))
        return;
    unsigned own = o->n_open++;
    o->open[own] = schema;
    o->above[o->n_above++] = schema;
    if (json_object_get(schema, "$ref")) {
        const json_t *to = resolve(c, schema);
        if (to)
            open_schema(o, to);
    }
    for (size_t i = 0; i < json_array_size(json_object_get(schema, "allOf")); i++)
        open_schema(o, below_number(c, schema, "allOf", i));
    o->n_above--;
    o->end[own] = o->n_open;
    if (json_object_get(schema, "anyOf"))
        o->either[o->n_either].schema = schema, o->either[o->n_either].from = o->chosen, o->either[o->n_either++].keyword = "anyOf";
    if (json_object_get(schema, "oneOf") && schema != o->pair_of)
        o->either[o->n_either].schema = schema, o->either[o->n_either].from = o->chosen, o->either[o->n_either++].keyword = "oneOf";
}

/* Each two alternatives must exclude each other, with all else that holds. */
static void exclude(struct opening *o, const json_t *schema)
{
    struct compiler *c = o->c;
    size_t n = json_array_size(json_object_get(schema, "oneOf"));
    for (size_t i = 0; i < n && !failed(c) && !o->pair_of; i++)
        for (size_t k = 0; k < i && !failed(c); k++) {
            struct set s = { 0 };
            const json_t *a = below_number(c, schema, "oneOf", i), *b = below_number(c, schema, "oneOf", k);
            if (++c->n_pairs > MAX_PAIRS) {
                refuse(c, VS_E_LIMIT, schema, "oneOf", "too many alternatives");
                return;
            }
            for (unsigned j = 0; j < o->n_open; j++)
                set_add(c, &s, o->open[j]);
            set_add(c, &s, a);
            set_add(c, &s, b);
            uint32_t rule = rule_of(c, &s, schema);
            char *text = NULL;
            if (rule == VS_NOWHERE)
                continue;
            if (asprintf(&text, "json_schema: oneOf at %s: a value can satisfy alternatives %zu and %zu together, and that "
                         "can't be ruled out; make them exclude each other (a required property with another const in each), "
                         "or use anyOf",
                         path_of(c, schema), k, i) < 0)
                text = NULL;
            vs_grammar_never(c->g, o->owner, rule, text);
        }
}

/* What is "unevaluated" is known only where nothing depends on which alternatives hold. */
static bool can_evaluate(struct opening *o)
{
    static const char *const keywords_of[] = { "unevaluatedProperties", "unevaluatedItems" };
    bool unsure = o->n_either || o->met_again;
    for (unsigned i = 0; i < o->n_open; i++)
        unsure |= json_object_get(o->open[i], "if") != NULL;
    for (unsigned i = 0; i < o->n_open && unsure; i++)
        for (int k = 0; k < 2; k++) {
            const json_t *v = json_object_get(o->open[i], keywords_of[k]);
            if (v && !says_nothing(o->open[i], keywords_of[k], v))
                refuse(o->c, VS_E_UNSUPPORTED, o->open[i], keywords_of[k], "beside alternatives it can't be enforced");
        }
    return !failed(o->c);
}

/* All ways to take one alternative of each. */
static void choose(struct opening *o, unsigned done, unsigned *io_lists, take_list *take, void *context)
{
    struct compiler *c = o->c;
    if (o->never || failed(c))
        return;
    if (done == o->n_either) {
        if (++*io_lists > MAX_LISTS)
            vs_grammar_fail(c->g, VS_E_LIMIT, "json_schema: more than %d combinations of alternatives at %s", MAX_LISTS,
                            o->n_open ? path_of(c, o->open[0]) : "#");
        else if (can_evaluate(o))
            take(context, o->open, o->end, o->n_open);
        return;
    }
    const json_t *schema = o->either[done].schema;
    const char *keyword = o->either[done].keyword;
    struct opening *next = malloc(sizeof *next);
    if (!next) {
        out_of_memory(c);
        return;
    }
    for (size_t i = 0; i < json_array_size(json_object_get(schema, keyword)) && !failed(c); i++) {
        *next = *o;
        next->chosen = (int)done;
        open_schema(next, below_number(c, schema, keyword, i));
        for (unsigned k = o->n_either; k < next->n_either && !next->never; k++)
            if (strcmp(next->either[k].keyword, "oneOf") == 0)
                exclude(next, next->either[k].schema);
        choose(next, done + 1, io_lists, take, context);
    }
    free(next);
}

static void open_set(struct compiler *c, const struct made *m, take_list *take, void *context)
{
    struct opening *o = calloc(1, sizeof *o);
    unsigned lists = 0;
    if (!o) {
        out_of_memory(c);
        return;
    }
    o->c = c;
    o->owner = m->rule;
    o->chosen = -1;
    o->pair_of = m->pair_of;
    for (unsigned i = 0; i < m->n; i++)
        open_schema(o, m->v[m->n + i]);
    for (unsigned i = 0; i < o->n_either && !o->never; i++)
        if (strcmp(o->either[i].keyword, "oneOf") == 0)
            exclude(o, o->either[i].schema);
    choose(o, 0, &lists, take, context);
    free(o);
}

/* ---- types ---- */

/* end[i]: where those of v[n] end that came through v[i]; NULL: it does not matter. */
struct list { struct compiler *c; const json_t *const *v; const unsigned *end; unsigned n; uint32_t from, to; };

static uint64_t greatest(const struct list *l, const char *keyword)
{
    uint64_t most = 0, one;
    for (unsigned i = 0; i < l->n; i++)
        if (whole_number(json_object_get(l->v[i], keyword), &one) && one > most)
            most = one;
    return most;
}

static uint64_t least(const struct list *l, const char *keyword)
{
    uint64_t least_one = UINT64_MAX, one;
    for (unsigned i = 0; i < l->n; i++)
        if (whole_number(json_object_get(l->v[i], keyword), &one) && one < least_one)
            least_one = one;
    return least_one;
}

/* The strings of a list of n values; list NULL: of the one value. */
static struct vs_dfa *dfa_of_strings(struct compiler *c, const json_t *list, const json_t *one, size_t n)
{
    const char **text = calloc(n + 1, sizeof *text);
    size_t *n_text = calloc(n + 1, sizeof *n_text), used = 0;
    for (size_t k = 0; k < n && text && n_text; k++) {
        const json_t *v = list ? json_array_get(list, k) : one;
        if (json_is_string(v)) {
            text[used] = json_string_value(v);
            n_text[used++] = json_string_length(v);
        }
    }
    struct vs_dfa *d = text && n_text ? vs_dfa_of_texts(c->g, text, n_text, used) : out_of_memory(c);
    free(text);
    free(n_text);
    return d;
}

/* What the complement of a pattern or a list of strings leaves out; all NULL: of any text. */
static struct vs_dfa *leave_out(struct list *l, const json_t *schema, struct vs_dfa *all)
{
    struct vs_grammar *g = l->c->g;
    const json_t *pattern = json_object_get(schema, VS_NOT_PATTERN), *list = json_object_get(schema, VS_NOT_ENUM);
    for (int kind = 0; kind < 2 && !failed(l->c); kind++) {
        if (kind ? !list : !pattern)
            continue;
        all = all ? all : vs_dfa_of_pattern(g, "", 0, true);
        struct vs_dfa *out = kind ? dfa_of_strings(l->c, list, NULL, json_array_size(list))
                                  : vs_dfa_of_pattern(g, json_string_value(pattern), json_string_length(pattern), true);
        all = vs_dfa_both(g, all, out, VS_DFA_AND_NOT);
    }
    return all;
}

static bool is_hint(const json_t *format)
{
    bool found = false;
    for (size_t i = 0; format && i < sizeof hints / sizeof *hints; i++)
        found |= strcmp(json_string_value(format), hints[i]) == 0;
    return found;
}

/* Those of `all` that keep patterns and formats; all NULL: any text, and NULL comes back where nothing is said of it. */
static struct vs_dfa *keep_patterns(struct list *l, bool has_type, struct vs_dfa *all)
{
    struct compiler *c = l->c;
    struct vs_grammar *g = c->g;
    for (unsigned i = 0; i < l->n && !failed(c); i++) {
        const json_t *pattern = json_object_get(l->v[i], "pattern"), *format = json_object_get(l->v[i], "format");
        const char *regex = NULL;
        if (is_hint(format))
            format = NULL;
        for (size_t k = 0; format && k < sizeof formats / sizeof *formats; k++)
            if (strcmp(formats[k].name, json_string_value(format)) == 0)
                regex = formats[k].regex;
        if (format && !regex)
            refuse(c, VS_E_UNSUPPORTED, l->v[i], "format", "this format can't be enforced");
        else if (format && !has_type)
            refuse(c, VS_E_UNSUPPORTED, l->v[i], "format", "without \"type\": \"string\" it is only a remark; say the type");
        for (int kind = 0; kind < 2 && !failed(c); kind++) {
            if (kind ? !regex : !pattern)
                continue;
            struct vs_dfa *one = kind ? vs_dfa_of_pattern(g, regex, strlen(regex), false)
                                      : vs_dfa_of_pattern(g, json_string_value(pattern), json_string_length(pattern), true);
            if (!one) {
                struct vs_error why = g->err;
                g->err.code = VS_OK;
                vs_grammar_fail(g, why.code, "json_schema: %s at %s: %.300s", kind ? "format" : "pattern",
                                path_of(c, l->v[i]), why.text);
            }
            if (one && kind && g->use == VS_GRAMMAR_WRITES && strstr(json_string_value(format), "time"))
                one = vs_dfa_both(g, one, vs_dfa_of_pattern(g, "^[^a-z]*$", 9, true), VS_DFA_AND); /* T and Z */
            if (!one)
                vs_dfa_free(all);
            all = all && one ? vs_dfa_both(g, all, one, VS_DFA_AND) : one;
        }
        all = leave_out(l, l->v[i], all);
    }
    return all;
}

/* Of what has to be an automaton. */
static struct vs_dfa *keep_length(struct list *l, struct vs_dfa *all, uint64_t low, uint64_t high)
{
    struct compiler *c = l->c;
    if (!all || (!low && high == UINT64_MAX))
        return all;
    if (high == UINT64_MAX ? low > MAX_COUNTED : high > MAX_COUNTED) {
        vs_grammar_fail(c->g, VS_E_LIMIT, "json_schema: minLength or maxLength beside pattern or format at %s: more than %d",
                        path_of(c, l->v[0]), MAX_COUNTED);
        return all;
    }
    return vs_dfa_both(c->g, all, vs_dfa_of_length(c->g, low, high), VS_DFA_AND);
}

static void add_string(struct list *l, bool has_type)
{
    struct compiler *c = l->c;
    struct vs_grammar *g = c->g;
    uint64_t low = greatest(l, "minLength"), high = least(l, "maxLength");
    if (low > high)
        return;
    uint32_t begin = vs_place_add(g), end = vs_place_add(g);
    vs_edge_text(g, l->from, "\"", 1, begin);
    vs_edge_text(g, end, "\"", 1, l->to);
    struct vs_dfa *all = keep_patterns(l, has_type, NULL);
    if (!all && !failed(c)) {
        vs_spell_text(g, c->companion, low, high, begin, end);
        return;
    }
    all = keep_length(l, all, low, high);
    if (all && !failed(c))
        vs_dfa_emit_string(g, all, begin, end);
    vs_dfa_free(all);
}

/* 0.25 is 25 of 2 decimals. False: it is too long. */
static bool step_of(const json_t *v, uint64_t *ret_multiple, unsigned *ret_decimals)
{
    struct vs_decimal d;
    char digits[24];
    if (!vs_decimal_of(v, &d) || d.negative || strlen(d.whole) + strlen(d.fraction) > 8)
        return false;
    snprintf(digits, sizeof digits, "%.8s%.8s", d.whole, d.fraction);
    *ret_multiple = strtoull(digits, NULL, 10);
    *ret_decimals = (unsigned)strlen(d.fraction);
    return *ret_multiple > 0;
}

static void add_number(struct list *l, bool integer, bool fractional)
{
    struct compiler *c = l->c;
    static const struct { const char *keyword; bool is_low, open; } bounds[] = {
        { "minimum", true, false }, { "exclusiveMinimum", true, true }, { "maximum", false, false },
        { "exclusiveMaximum", false, true },
    };
    struct vs_number n = { .integer = integer, .fractional = fractional };
    char path[MAX_PATH + 64];
    for (unsigned i = 0; i < l->n; i++) {
        for (size_t k = 0; k < 4; k++) {
            const json_t *v = json_object_get(l->v[i], bounds[k].keyword);
            struct vs_decimal d;
            if (!v)
                continue;
            if (!vs_decimal_of(v, &d)) {
                refuse(c, VS_E_UNSUPPORTED, l->v[i], bounds[k].keyword, "the number is too large, or has too many digits");
                return;
            }
            bool *has = bounds[k].is_low ? &n.has_low : &n.has_high, *open = bounds[k].is_low ? &n.low_open : &n.high_open;
            struct vs_decimal *at = bounds[k].is_low ? &n.low : &n.high;
            int order = *has ? vs_decimal_compare(&d, at) : 0;
            if (!*has || (bounds[k].is_low ? order > 0 : order < 0)) {
                *at = d;
                *open = bounds[k].open;
                *has = true;
            } else if (order == 0) {
                *open |= bounds[k].open;
            }
        }
        const json_t *multiple = json_object_get(l->v[i], "multipleOf");
        uint64_t m;
        if (!multiple)
            continue;
        unsigned decimals = 0;
        if ((!whole_number(multiple, &m) || m == 0) && !step_of(multiple, &m, &decimals)) {
            refuse(c, VS_E_UNSUPPORTED, l->v[i], "multipleOf", "only numbers above 0 of at most 8 digits");
            return;
        }
        if (n.multiple && (n.decimals || decimals)) {
            refuse(c, VS_E_UNSUPPORTED, l->v[i], "multipleOf", "two of them together only where both are whole numbers");
            return;
        }
        n.decimals = decimals;
        uint64_t a = n.multiple ? n.multiple : m, b = m;
        while (b) {
            uint64_t rest = a % b;
            a = b;
            b = rest;
        }
        n.multiple = n.multiple && n.multiple < 1000000 && m < 1000000 ? n.multiple / a * m : m > n.multiple ? m : n.multiple;
        snprintf(path, sizeof path, "json_schema: multipleOf at %s", path_of(c, l->v[i]));
        n.multiple_path = path;
    }
    if (n.has_low || n.has_high || n.multiple || fractional) {
        vs_spell_number(c->g, &n, l->from, l->to);
        return;
    }
    if (c->number[integer] == VS_NOWHERE) {
        uint32_t rule = vs_rule_add(c->g, NULL, 0);
        if (failed(c))
            return;
        vs_spell_number(c->g, &n, c->g->rule[rule].start, c->g->rule[rule].end);
        c->number[integer] = rule;
    }
    vs_edge_call(c->g, l->from, c->number[integer], l->to);
}

/* ---- arrays ---- */

/* What element i must be. */
static void element_of(struct list *l, uint64_t i, struct set *ret)
{
    struct compiler *c = l->c;
    for (unsigned k = 0; k < l->n; k++) {
        const json_t *first = json_object_get(l->v[k], "prefixItems"), *items = json_object_get(l->v[k], "items");
        const json_t *rest = json_object_get(l->v[k], "unevaluatedItems");
        if (i < json_array_size(first))
            set_add(c, ret, below_number(c, l->v[k], "prefixItems", i));
        else if (items)
            set_add(c, ret, below(c, l->v[k], "items", NULL, items));
        bool evaluated = !rest || !l->end;
        for (unsigned j = k; rest && l->end && j < l->end[k] && !evaluated; j++) {
            if (json_object_get(l->v[j], "contains") && !says_nothing(l->v[k], "unevaluatedItems", rest))
                refuse(c, VS_E_UNSUPPORTED, l->v[k], "unevaluatedItems", "beside contains it can't be enforced");
            evaluated = i < json_array_size(json_object_get(l->v[j], "prefixItems")) || json_object_get(l->v[j], "items")
                        || (j > k && json_object_get(l->v[j], "unevaluatedItems"));
        }
        if (!evaluated)
            set_add(c, ret, below(c, l->v[k], "unevaluatedItems", NULL, rest));
    }
}

/* What some elements must be, beside all else, how many at least and at most (UINT64_MAX: any number), and what the others must be
 * then. NULL: nothing. */
static const json_t *contained(struct list *l, uint64_t *ret_least, uint64_t *ret_most, const json_t **ret_others)
{
    struct compiler *c = l->c;
    const json_t *found = NULL;
    for (unsigned k = 0; k < l->n; k++) {
        const json_t *one = json_object_get(l->v[k], "contains");
        uint64_t most = UINT64_MAX, least_one = 1;
        if (!one)
            continue;
        whole_number(json_object_get(l->v[k], "minContains"), &least_one);
        whole_number(json_object_get(l->v[k], "maxContains"), &most);
        const json_t *others = json_object_get(l->v[k], VS_NOT_CONTAINS);
        if (most != UINT64_MAX && !others)
            refuse(c, VS_E_UNSUPPORTED, l->v[k], "maxContains", "what contains does not count can't be told from what it does");
        if (!least_one && most == UINT64_MAX)
            continue;
        if (found)
            refuse(c, VS_E_UNSUPPORTED, l->v[k], "contains", "two of them together can't be enforced");
        if (least_one > MAX_CONTAINED || (most != UINT64_MAX && most > MAX_CONTAINED))
            refuse(c, VS_E_LIMIT, l->v[k], "minContains or maxContains", "more than 100");
        found = below(c, l->v[k], "contains", NULL, one);
        *ret_least = least_one;
        *ret_most = most;
        *ret_others = most == UINT64_MAX ? NULL : below(c, l->v[k], "contains", NULL, others);
    }
    return failed(c) ? NULL : found;
}

/* Lists of one value that a set is narrowed to; they live as long as the compiler. */
static const json_t *only(struct compiler *c, const json_t *value)
{
    json_t *schema = json_pack("{s:O}", "const", value);
    if (!schema || json_array_append_new(c->own, schema) != 0)
        return out_of_memory(c);
    return schema;
}

/* An element, behind others if there are some. */
static void add_element(struct compiler *c, const struct set *s, bool some, uint32_t from, uint32_t to)
{
    struct vs_grammar *g = c->g;
    uint32_t behind = vs_place_add(g);
    if (some) {
        uint32_t comma = vs_place_add(g), begin = vs_place_add(g);
        vs_edge_text(g, from, ",", 1, comma);
        vs_edge_call(g, comma, c->space, begin);
        from = begin;
    }
    call(c, s, from, behind);
    vs_edge_call(g, behind, c->space, to);
}

static bool is_listed(const struct list *l, const json_t *value, unsigned own);
static bool is_same(const json_t *a, const json_t *b);

/* Where a reference that stands alone leads to; else the schema itself. */
static const json_t *behind_reference(const struct compiler *c, const json_t *schema)
{
    for (int i = 0; i < 8 && json_is_object(schema) && json_object_size(schema) == 1; i++) {
        const char *ref = json_string_value(json_object_get(schema, "$ref"));
        const json_t *to = ref ? vs_schema_follow(c->root, ref) : NULL;
        if (!to)
            break;
        schema = to;
    }
    return schema;
}

/* The values that all elements are among; 0: there is no such list, or it is a long one. */
static size_t listed_values(struct list *l, const json_t *ret[MAX_UNIQUE])
{
    struct compiler *c = l->c;
    struct set s = { 0 };
    size_t n = 0;
    element_of(l, SIZE_MAX, &s);
    for (unsigned i = 0; i < s.n && !n; i++) {
        const json_t *list = json_object_get(behind_reference(c, s.v[i]), "enum"), *v;
        size_t k, j;
        json_array_foreach(list, k, v) {
            for (j = 0; j < n && !is_same(ret[j], v); j++) { }
            if (j == n && n == MAX_UNIQUE)
                return 0;
            if (j == n)
                ret[n++] = v;
        }
    }
    return n;
}

/* uniqueItems, where all elements are of one short list: at[set of those that were read]. False: nothing is said of it. */
static bool add_unique(struct list *l, uint64_t low, uint64_t high)
{
    struct compiler *c = l->c;
    struct vs_grammar *g = c->g;
    const json_t *value[MAX_UNIQUE], *asserted = NULL;
    uint32_t at[1 << MAX_UNIQUE];
    for (unsigned i = 0; i < l->n; i++) {
        bool has_more = json_object_get(l->v[i], "contains") || json_object_get(l->v[i], "prefixItems");
        if (json_is_true(json_object_get(l->v[i], "uniqueItems")))
            asserted = l->v[i];
        if (asserted && has_more && high > 1) {
            refuse(c, VS_E_UNSUPPORTED, l->v[i], "uniqueItems", "beside contains and prefixItems it can't be enforced");
            return true;
        }
    }
    if (!asserted || high <= 1)
        return false;
    size_t n = listed_values(l, value);
    if (!n) {
        refuse(c, VS_E_UNSUPPORTED, asserted, "uniqueItems", "it can be enforced where items is an enum of at most 8 values, or "
               "maxItems is 1");
        return true;
    }
    struct set s = { 0 };
    element_of(l, SIZE_MAX, &s);
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
            if (!(have >> k & 1)) {
                struct set one = s;
                const json_t *is = only(c, value[k]);
                if (is)
                    set_add(c, &one, is);
                add_element(c, &one, count > 0, at[have], at[have | 1u << k]);
            }
    }
    return true;
}

/* at[f]: so many elements were read, and f of them count for contains. */
static void add_array(struct list *l)
{
    struct compiler *c = l->c;
    struct vs_grammar *g = c->g;
    uint64_t low = greatest(l, "minItems"), high = least(l, "maxItems"), need = 0, most = UINT64_MAX;
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
        struct set s = { 0 }, counted;
        for (uint64_t f = need; f <= columns && i >= low; f++)
            vs_edge_empty(g, at[f], close);
        if (i == last && !loops)
            return;
        element_of(l, i, &s);
        counted = s;
        if (some)
            set_add(c, &counted, some);
        if (others)
            set_add(c, &s, others);
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

/* ---- objects ---- */

/* Two that name their values have none in common: quickly seen, which tells the alternatives of most unions apart. */
static bool is_hopeless(struct compiler *c, const struct set *s)
{
    const struct list l = { .c = c, .v = s->v, .n = s->n };
    for (unsigned i = 0; i < s->n; i++) {
        const json_t *constant = json_object_get(s->v[i], "const"), *list = json_object_get(s->v[i], "enum");
        if (constant)
            return !is_listed(&l, constant, i);
        for (size_t k = 0; list && k < json_array_size(list); k++)
            if (is_listed(&l, json_array_get(list, k), i))
                return false;
        if (list)
            return true;
    }
    return s->never;
}

struct member { const char *name; bool required, has_place; struct set value; };       /* has_place: properties say which */

struct members { struct member *v; size_t n, cap; };

static struct member *member_of(struct compiler *c, struct members *m, const char *name)
{
    for (size_t i = 0; i < m->n; i++)
        if (strcmp(m->v[i].name, name) == 0)
            return &m->v[i];
    if (!vs_grammar_work(c->g, 16 + 2 * m->n))
        return NULL;
    if (m->n == m->cap) {
        size_t cap = m->cap ? 2 * m->cap : 16;
        struct member *v = realloc(m->v, cap * sizeof *v);
        if (!v)
            return out_of_memory(c);
        m->v = v;
        m->cap = cap;
    }
    m->v[m->n] = (struct member){ .name = name };
    return &m->v[m->n++];
}

static void collect_members(struct list *l, struct members *m)
{
    const char *name;
    json_t *v;
    for (unsigned i = 0; i < l->n; i++)
        json_object_foreach(json_object_get(l->v[i], "properties"), name, v)
            if (!member_of(l->c, m, name))
                return;
    for (size_t i = 0; i < m->n; i++)
        m->v[i].has_place = true;
    for (unsigned i = 0; i < l->n; i++) {
        const json_t *required = json_object_get(l->v[i], "required");
        for (size_t k = 0; k < json_array_size(required); k++) {
            struct member *one = member_of(l->c, m, json_string_value(json_array_get(required, k)));
            if (!one)
                return;
            one->required = true;
        }
    }
}

/* A pattern of patternProperties, and whose it is. */
struct pattern { unsigned of; const char *text; const json_t *schema; struct vs_dfa *dfa; };

static unsigned collect_patterns(struct list *l, struct pattern *p)
{
    struct compiler *c = l->c;
    const char *text;
    json_t *v;
    unsigned n = 0;
    for (unsigned i = 0; i < l->n; i++)
        json_object_foreach(json_object_get(l->v[i], "patternProperties"), text, v) {
            if (n == MAX_PATTERNS) {
                refuse(c, VS_E_LIMIT, l->v[i], "patternProperties", "more than 5 patterns meet in one object");
                return n;
            }
            p[n] = (struct pattern){ i, text, below(c, l->v[i], "patternProperties", text, v), NULL };
            p[n].dfa = vs_dfa_of_pattern(c->g, text, strlen(text), true);
            if (!p[n].dfa) {
                struct vs_error why = c->g->err;
                c->g->err.code = VS_OK;
                vs_grammar_fail(c->g, why.code, "json_schema: patternProperties at %s: %.300s", path_of(c, l->v[i]), why.text);
                return n;
            }
            n++;
        }
    return n;
}

static bool matches(const struct vs_dfa *d, const char *s)
{
    uint32_t at = d->n ? 0 : VS_NOWHERE;
    for (; *s && at != VS_NOWHERE; s++)
        at = vs_dfa_step(d, at, (uint8_t)*s);
    return at != VS_NOWHERE && d->accepts[at];
}

/* What the value of a key must be: which of the patterns match it is known. name NULL: none that properties name. */
static void value_of(struct list *l, const char *name, const struct pattern *p, unsigned n_p, unsigned matched, struct set *ret)
{
    struct compiler *c = l->c;
    for (unsigned i = 0; i < l->n; i++) {
        const json_t *own = name ? json_object_get(json_object_get(l->v[i], "properties"), name) : NULL;
        const json_t *other = json_object_get(l->v[i], "additionalProperties");
        bool is_named = own != NULL;
        if (own)
            set_add(c, ret, below(c, l->v[i], "properties", name, own));
        for (unsigned k = 0; k < n_p; k++)
            if (p[k].of == i && (matched >> k & 1)) {
                set_add(c, ret, p[k].schema);
                is_named = true;
            }
        if (!is_named && other)
            set_add(c, ret, below(c, l->v[i], "additionalProperties", NULL, other));
        const json_t *rest = json_object_get(l->v[i], "unevaluatedProperties");
        bool evaluated = !rest || !l->end;
        for (unsigned j = i; rest && l->end && j < l->end[i] && !evaluated; j++) {
            evaluated = (name && json_object_get(json_object_get(l->v[j], "properties"), name))
                        || json_object_get(l->v[j], "additionalProperties")
                        || (j > i && json_object_get(l->v[j], "unevaluatedProperties"));
            for (unsigned k = 0; k < n_p; k++)
                evaluated |= p[k].of == j && (matched >> k & 1);
        }
        if (!evaluated)
            set_add(c, ret, below(c, l->v[i], "unevaluatedProperties", NULL, rest));
    }
}

/* The keys that propertyNames allow; *ret_any: all. */
static struct vs_dfa *allowed_keys(struct list *l, bool *ret_any)
{
    static const char *const known[] = { "type", "pattern", "minLength", "maxLength", "const", "enum", "title", "description" };
    struct compiler *c = l->c;
    struct vs_grammar *g = c->g;
    struct vs_dfa *keys = vs_dfa_of_pattern(g, "", 0, true);
    *ret_any = true;
    for (unsigned i = 0; i < l->n && keys && !failed(c); i++) {
        const json_t *names = behind_reference(c, json_object_get(l->v[i], "propertyNames"));
        const json_t *pattern = json_object_get(names, "pattern");
        const json_t *constant = json_object_get(names, "const"), *list = json_object_get(names, "enum"), *v;
        const json_t *type = json_object_get(names, "type");
        const char *key;
        if (!names || json_is_true(names))
            continue;
        *ret_any = false;
        json_object_foreach((json_t *)(uintptr_t)names, key, v) {
            bool is_known = false;
            for (size_t k = 0; k < sizeof known / sizeof *known; k++)
                is_known |= strcmp(known[k], key) == 0;
            if (!is_known)
                refuse(c, VS_E_UNSUPPORTED, l->v[i], "propertyNames",
                       "only type, pattern, lengths, const and enum can be enforced");
        }
        if (failed(c) || !check_keywords(c, below(c, l->v[i], "propertyNames", NULL, names)))
            break;
        struct list one = { .c = c, .v = &names, .n = 1 };
        uint64_t low = greatest(&one, "minLength"), high = least(&one, "maxLength");
        bool none = json_is_false(names) || low > high || (type && !(type_bits(type) & T_STRING));
        if (none)
            keys = vs_dfa_both(g, keys, vs_dfa_of_texts(g, NULL, NULL, 0), VS_DFA_AND);
        else if ((low || high != UINT64_MAX) && low <= MAX_COUNTED && (high == UINT64_MAX || high <= MAX_COUNTED))
            keys = vs_dfa_both(g, keys, vs_dfa_of_length(g, low, high), VS_DFA_AND);
        else if (low || high != UINT64_MAX)
            refuse(c, VS_E_LIMIT, l->v[i], "propertyNames", "lengths above 20000");
        if (pattern && keys)
            keys = vs_dfa_both(g, keys, vs_dfa_of_pattern(g, json_string_value(pattern), json_string_length(pattern), true),
                               VS_DFA_AND);
        for (int kind = 0; kind < 2 && keys; kind++) {
            size_t n = kind ? json_array_size(list) : 1;
            if (kind ? !list : !constant)
                continue;
            keys = vs_dfa_both(g, keys, dfa_of_strings(c, kind ? list : NULL, constant, n), VS_DFA_AND);
        }
    }
    return keys;
}

/* key ":" value, as a rule; VS_NOWHERE: there is no such value. */
static uint32_t member_rule(struct compiler *c, const char *name, const struct vs_dfa *keys, const struct set *value)
{
    struct vs_grammar *g = c->g;
    uint32_t value_rule = rule_of(c, value, NULL);
    if (value_rule == VS_NOWHERE)
        return VS_NOWHERE;
    uint32_t rule = vs_rule_add(g, NULL, 0), p[5];
    for (int i = 0; i < 5; i++)
        p[i] = vs_place_add(g);
    if (failed(c))
        return VS_NOWHERE;
    if (name) {
        vs_spell_literal(g, name, strlen(name), g->rule[rule].start, p[0]);
    } else {
        uint32_t begin = vs_place_add(g), end = vs_place_add(g);
        vs_edge_text(g, g->rule[rule].start, "\"", 1, begin);
        vs_dfa_emit_string(g, keys, begin, end);
        vs_edge_text(g, end, "\"", 1, p[0]);
    }
    vs_edge_call(g, p[0], c->space, p[1]);
    vs_edge_text(g, p[1], ":", 1, p[2]);
    vs_edge_call(g, p[2], c->space, p[3]);
    vs_edge_call(g, p[3], value_rule, p[4]);
    vs_edge_call(g, p[4], c->space, g->rule[rule].end);
    return failed(c) ? VS_NOWHERE : rule;
}

/* Keys that nobody names, by the patterns that they match: rules of members. Returns how many. */
static unsigned free_members(struct list *l, const struct members *m, const struct pattern *p, unsigned n_p, uint32_t *ret)
{
    bool any;
    struct compiler *c = l->c;
    unsigned n = 0;
    const char **name = malloc((m->n + 1) * sizeof *name);
    size_t *n_name = malloc((m->n + 1) * sizeof *n_name);
    for (size_t i = 0; name && n_name && i < m->n; i++) {
        name[i] = m->v[i].name;
        n_name[i] = strlen(name[i]);
    }
    if (!name || !n_name)
        out_of_memory(c);
    for (unsigned matched = 0; matched < 1u << n_p && !failed(c); matched++) {
        struct set value = { 0 };
        value_of(l, NULL, p, n_p, matched, &value);
        if (value.never)
            continue;
        struct vs_dfa *keys = allowed_keys(l, &any);
        if (m->n && keys)
            keys = vs_dfa_both(c->g, keys, vs_dfa_of_texts(c->g, name, n_name, m->n), VS_DFA_AND_NOT);
        for (unsigned k = 0; k < n_p && keys; k++)
            keys = vs_dfa_both(c->g, keys, vs_dfa_of_pattern(c->g, p[k].text, strlen(p[k].text), true),
                               matched >> k & 1 ? VS_DFA_AND : VS_DFA_AND_NOT);
        if (keys && keys->n && (ret[n] = member_rule(c, NULL, keys, &value)) != VS_NOWHERE)
            n++;
        vs_dfa_free(keys);
    }
    free(name);
    free(n_name);
    return n;
}

/* A member from a place where `some` tells whether others stand before it. */
static void add_member(struct compiler *c, uint32_t rule, bool some, uint32_t from, uint32_t to)
{
    struct vs_grammar *g = c->g;
    if (some) {
        uint32_t comma = vs_place_add(g), begin = vs_place_add(g);
        vs_edge_text(g, from, ",", 1, comma);
        vs_edge_call(g, comma, c->space, begin);
        from = begin;
    }
    vs_edge_call(g, from, rule, to);
}

/* What is only required has no place of its own: a text that is read may have it anywhere behind the properties, also among others.
 * at[set of them that was read][column]. */
static void write_unplaced(struct list *l, const struct members *m, const uint32_t *rule, const uint32_t *others, unsigned n_others,
                           uint64_t low, uint64_t high, bool counts, uint64_t columns, const uint32_t *from, uint32_t to)
{
    struct compiler *c = l->c;
    struct vs_grammar *g = c->g;
    size_t first = 0;
    while (first < m->n && m->v[first].has_place)
        first++;
    uint32_t all = (1u << (m->n - first)) - 1;
    uint32_t *at = malloc(((size_t)all + 1) * (columns + 1) * sizeof *at);
    if (!at) {
        out_of_memory(c);
        return;
    }
    for (size_t i = 0; i < ((size_t)all + 1) * (columns + 1); i++)
        at[i] = i <= columns && from[i] != VS_NOWHERE ? from[i] : vs_place_add(g);
    for (uint32_t have = 0; have <= all && !failed(c); have++)
        for (uint64_t k = 0; k <= columns && !failed(c); k++) {
            uint64_t after = k < columns ? k + 1 : k;
            uint32_t here = at[have * (columns + 1) + k];
            bool full = counts && high != UINT64_MAX && k == high;
            for (unsigned o = 0; o < n_others && !full; o++)
                add_member(c, others[o], k > 0, here, at[have * (columns + 1) + after]);
            for (size_t i = first; i < m->n && !full; i++)
                if (!(have >> (i - first) & 1) && rule[i] != VS_NOWHERE)
                    add_member(c, rule[i], k > 0, here, at[(have | 1u << (i - first)) * (columns + 1) + after]);
            if (have == all && (!counts || k >= low))
                vs_edge_empty(g, here, to);
        }
    free(at);
}

/* Columns: members that are there (counted where that matters; else none or some). Rows: whose turn it is. */
static void write_members(struct list *l, const struct members *m, const uint32_t *rule, const uint32_t *others, unsigned n_others,
                          uint64_t low, uint64_t high, bool counts, uint32_t from, uint32_t to)
{
    struct compiler *c = l->c;
    struct vs_grammar *g = c->g;
    uint64_t columns = !counts ? 1 : high != UINT64_MAX ? high : low;
    uint32_t *row = columns <= MAX_COUNTED ? malloc(2 * (columns + 1) * sizeof *row) : NULL;
    if (!row) {
        vs_grammar_fail(g, columns <= MAX_COUNTED ? VS_E_NOMEM : VS_E_LIMIT, "json_schema: minProperties or maxProperties at %s: "
                        "more than %d", path_of(c, l->v[0]), MAX_COUNTED);
        return;
    }
    uint32_t *next = row + columns + 1;
    for (uint64_t k = 0; k <= columns; k++)
        row[k] = k == 0 ? from : VS_NOWHERE;
    for (size_t i = 0; i <= m->n && !failed(c); i++) {
        bool is_last = i == m->n;
        if (!is_last && !m->v[i].has_place && g->use == VS_GRAMMAR_READS && m->n - i <= MAX_UNPLACED && columns < MAX_UNPLACED) {
            write_unplaced(l, m, rule, others, n_others, low, high, counts, columns, row, to);
            break;
        }
        for (uint64_t k = 0; k <= columns; k++)
            next[k] = VS_NOWHERE;
        for (uint64_t k = 0; k <= columns && !failed(c); k++) {
            uint64_t after = k < columns ? k + 1 : k;
            bool full = counts && high != UINT64_MAX && k == high;
            if (row[k] == VS_NOWHERE)
                continue;
            if (is_last) {
                for (unsigned o = 0; o < n_others && !full; o++) {
                    if (row[after] == VS_NOWHERE)
                        row[after] = vs_place_add(g);
                    add_member(c, others[o], k > 0, row[k], row[after]);
                }
                if (!counts || k >= low)
                    vs_edge_empty(g, row[k], to);
                continue;
            }
            if (!m->v[i].required) {
                if (next[k] == VS_NOWHERE)
                    next[k] = vs_place_add(g);
                vs_edge_empty(g, row[k], next[k]);
            }
            if (rule[i] != VS_NOWHERE && !full) {
                if (next[after] == VS_NOWHERE)
                    next[after] = vs_place_add(g);
                add_member(c, rule[i], k > 0, row[k], next[after]);
            }
        }
        if (!is_last)
            memcpy(row, next, (columns + 1) * sizeof *row);
    }
    free(row);
}

static void add_object(struct list *l)
{
    struct compiler *c = l->c;
    struct vs_grammar *g = c->g;
    struct members m = { 0 };
    struct pattern p[MAX_PATTERNS];
    uint32_t others[1 << MAX_PATTERNS], n_required = 0;
    uint64_t low = greatest(l, "minProperties"), high = least(l, "maxProperties");
    bool hopeless = false;
    collect_members(l, &m);
    unsigned n_p = collect_patterns(l, p);
    bool any_name;
    struct vs_dfa *names = allowed_keys(l, &any_name);
    uint32_t *rule = malloc((m.n + 1) * sizeof *rule);
    if (!rule)
        out_of_memory(c);
    for (size_t i = 0; i < m.n && !failed(c); i++) {
        unsigned matched = 0;
        for (unsigned k = 0; k < n_p; k++)
            matched |= (unsigned)matches(p[k].dfa, m.v[i].name) << k;
        value_of(l, m.v[i].name, p, n_p, matched, &m.v[i].value);
        m.v[i].value.never |= names && !any_name && !matches(names, m.v[i].name);
        n_required += m.v[i].required;
        hopeless |= m.v[i].required && is_hopeless(c, &m.v[i].value);
    }
    for (size_t i = 0; i < m.n && !failed(c) && !hopeless; i++)
        rule[i] = member_rule(c, m.v[i].name, NULL, &m.v[i].value);
    if (hopeless)
        low = UINT64_MAX;
    unsigned n_others = failed(c) || hopeless ? 0 : free_members(l, &m, p, n_p, others);
    if (!n_others && low > m.n)
        high = 0;                        /* never enough */
    else if (!n_others && high >= m.n)
        high = UINT64_MAX;
    bool counts = low > n_required || high != UINT64_MAX;
    if (n_others && low > n_required + 1)
        for (unsigned i = 0; i < l->n; i++)
            if (json_object_get(l->v[i], "minProperties"))
                refuse(c, VS_E_UNSUPPORTED, l->v[i], "minProperties",
                       "more than one above the required ones, where keys are free: one key could come twice");
    if (!failed(c) && low <= high) {
        uint32_t open = vs_place_add(g), at = vs_place_add(g), close = vs_place_add(g);
        vs_edge_text(g, l->from, "{", 1, open);
        vs_edge_call(g, open, c->space, at);
        vs_edge_text(g, close, "}", 1, l->to);
        write_members(l, &m, rule, others, n_others, low, high, counts, at, close);
    }
    for (unsigned k = 0; k < n_p; k++)
        vs_dfa_free(p[k].dfa);
    vs_dfa_free(names);
    free(rule);
    free(m.v);
}

/* ---- enum and const ---- */

static bool is_same(const json_t *a, const json_t *b)
{
    const char *name;
    json_t *v;
    if (json_is_number(a) && json_is_number(b)) {
        if (json_is_integer(a) && json_is_integer(b))
            return json_integer_value(a) == json_integer_value(b);
        return json_number_value(a) == json_number_value(b);
    }
    if (json_typeof(a) != json_typeof(b))
        return false;
    if (json_is_array(a)) {
        for (size_t i = 0; i < json_array_size(a) && i < json_array_size(b); i++)
            if (!is_same(json_array_get(a, i), json_array_get(b, i)))
                return false;
        return json_array_size(a) == json_array_size(b);
    }
    if (json_is_object(a)) {
        json_object_foreach((json_t *)(uintptr_t)a, name, v)
            if (!json_object_get(b, name) || !is_same(v, json_object_get(b, name)))
                return false;
        return json_object_size(a) == json_object_size(b);
    }
    return json_equal(a, b);
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

/* Keywords beside enum and const that say more than a type. */
static bool says_more(const struct list *l, unsigned bits)
{
    static const struct { unsigned bits; const char *keyword; } more[] = {
        { T_STRING, "minLength" }, { T_STRING, "maxLength" }, { T_STRING, "pattern" }, { T_STRING, "format" },
        { T_STRING, VS_NOT_PATTERN }, { T_STRING, VS_NOT_ENUM },
        { T_INTEGER | T_NUMBER, "minimum" }, { T_INTEGER | T_NUMBER, "maximum" }, { T_INTEGER | T_NUMBER, "exclusiveMinimum" },
        { T_INTEGER | T_NUMBER, "exclusiveMaximum" }, { T_INTEGER | T_NUMBER, "multipleOf" },
        { T_ARRAY, "items" }, { T_ARRAY, "prefixItems" }, { T_ARRAY, "contains" }, { T_ARRAY, "uniqueItems" },
        { T_ARRAY, "unevaluatedItems" }, { T_OBJECT, "unevaluatedProperties" }, { T_OBJECT, "propertyNames" },
        { T_ARRAY, "minItems" }, { T_ARRAY, "maxItems" },
        { T_OBJECT, "properties" }, { T_OBJECT, "required" }, { T_OBJECT, "additionalProperties" },
        { T_OBJECT, "patternProperties" },
        { T_OBJECT, "minProperties" }, { T_OBJECT, "maxProperties" },
    };
    for (unsigned i = 0; i < l->n; i++)
        for (size_t k = 0; k < sizeof more / sizeof *more; k++)
            if ((more[k].bits & bits) && json_object_get(l->v[i], more[k].keyword))
                return true;
    return false;
}

static void add_types(struct list *l, unsigned bits, bool has_type);

/* Does the value keep all the other keywords? It is written, and read by a grammar of these alone. */
static bool keeps(const struct list *l, const json_t *value, unsigned bits)
{
    struct compiler *c = l->c, inner = { .root = c->root, .number = { VS_NOWHERE, VS_NOWHERE }, .own = json_array() };
    struct vs_matcher *m = NULL;
    bool ok = false;
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(17));
    inner.g = vs_grammar_begin(c->g->v, VS_GRAMMAR_READS, c->g->check);
    if (!text || !inner.g) {
        out_of_memory(c);
        free(text);
        vs_grammar_free(inner.g);
        return false;
    }
    inner.g->root = vs_rule_add(inner.g, NULL, 0);
    inner.space = vs_spell_space(inner.g);
    inner.companion = vs_spell_companion(inner.g);
    if (!failed(&inner)) {
        struct list same = { &inner, l->v, NULL, l->n, inner.g->rule[inner.g->root].start, inner.g->rule[inner.g->root].end };
        add_types(&same, bits, true);
    }
    if (failed(&inner))
        vs_grammar_fail(c->g, inner.g->err.code, "%s", inner.g->err.text);
    else if (vs_grammar_finish(inner.g, NULL) == VS_OK && vs_matcher_create(inner.g, &m) == VS_OK)
        ok = vs_matcher_read(m, text, strlen(text)) == strlen(text) && vs_matcher_may_end(m);
    vs_matcher_free(m);
    clear_compiler(&inner);
    vs_grammar_free(inner.g);
    free(text);
    return ok;
}

/* Is it one of those that enum and const of all schemas but `own` allow? */
static bool is_listed(const struct list *l, const json_t *value, unsigned own)
{
    for (unsigned i = 0; i < l->n; i++) {
        if (i == own)
            continue;
        if (!vs_grammar_work(l->c->g, 8 * json_array_size(json_object_get(l->v[i], "enum"))))
            return false;
        const json_t *constant = json_object_get(l->v[i], "const"), *list = json_object_get(l->v[i], "enum");
        bool found = !list;
        if (constant && !is_same(constant, value))
            return false;
        for (size_t k = 0; k < json_array_size(list) && !found; k++)
            found = is_same(json_array_get(list, k), value);
        if (!found)
            return false;
    }
    return true;
}

static void add_value(const struct list *l, const json_t *value, unsigned of, unsigned bits)
{
    struct compiler *c = l->c;
    unsigned own = vs_json_type(value);
    if (!(own & bits) || !is_listed(l, value, of) || !vs_grammar_work(c->g, 64))
        return;
    if (says_more(l, own)) {
        if (own & (T_ARRAY | T_OBJECT)) {
            vs_grammar_fail(c->g, VS_E_UNSUPPORTED, "json_schema: enum or const at %s: beside a list or an object nothing else may "
                            "stand that says what it must be", path_of(c, l->v[0]));
            return;
        }
        if (!keeps(l, value, own))
            return;
    }
    vs_spell_value(c->g, c->space, value, l->from, l->to);
}

/* True: enum or const say what it may be. */
static bool add_listed(const struct list *l, unsigned bits)
{
    for (unsigned i = 0; i < l->n; i++) {
        const json_t *constant = json_object_get(l->v[i], "const"), *list = json_object_get(l->v[i], "enum");
        bool both = !list;
        for (size_t k = 0; constant && k < json_array_size(list) && !both; k++)
            both = is_same(json_array_get(list, k), constant);
        if (constant && both)
            add_value(l, constant, i, bits);
        for (size_t k = 0; !constant && k < json_array_size(list); k++)
            add_value(l, json_array_get(list, k), i, bits);
        if (constant || list)
            return true;
    }
    return false;
}

/* ---- all together ---- */

static void add_types(struct list *l, unsigned bits, bool has_type)
{
    struct vs_grammar *g = l->c->g;
    if (bits & T_NULL)
        vs_edge_text(g, l->from, "null", 4, l->to);
    if (bits & T_BOOLEAN) {
        vs_edge_text(g, l->from, "true", 4, l->to);
        vs_edge_text(g, l->from, "false", 5, l->to);
    }
    if (bits & (T_INTEGER | T_NUMBER))
        add_number(l, !(bits & T_NUMBER), !(bits & T_INTEGER));
    if (bits & T_STRING)
        add_string(l, has_type);
    if (bits & T_ARRAY)
        add_array(l);
    if (bits & T_OBJECT)
        add_object(l);
}

static void take(void *context, const json_t *const *v, const unsigned *end, unsigned n)
{
    struct list *l = context;
    unsigned bits = T_ALL;
    bool has_type = false;
    l->v = v;
    l->end = end;
    l->n = n;
    for (unsigned i = 0; i < n; i++) {
        const json_t *type = json_object_get(v[i], "type");
        has_type |= type != NULL;
        bits &= type ? type_bits(type) : T_ALL;
        bits &= json_object_get(v[i], VS_NOT_INTEGER) ? T_ALL & ~(unsigned)T_INTEGER : T_ALL;
    }
    if (!add_listed(l, bits))
        add_types(l, bits, has_type);
}

/* An identifier below the root would change what references mean. */
static bool has_inner_id(const json_t *v, bool is_root, unsigned depth)
{
    const char *key;
    json_t *one;
    size_t i;
    if (!is_root && json_is_string(json_object_get(v, "$id")))
        return true;
    if (depth > 500)
        return false;
    json_object_foreach((json_t *)(uintptr_t)v, key, one)
        if (strcmp(key, "const") != 0 && strcmp(key, "enum") != 0 && has_inner_id(one, false, depth + 1))
            return true;
    json_array_foreach(v, i, one)
        if (has_inner_id(one, false, depth + 1))
            return true;
    return false;
}

static unsigned types_of(const json_t *root, const json_t *schema, unsigned depth)
{
    static const char *const unions[] = { "anyOf", "oneOf", "enum", "allOf" };
    const json_t *type = json_object_get(schema, "type"), *constant = json_object_get(schema, "const"), *v;
    const char *ref = json_string_value(json_object_get(schema, "$ref"));
    unsigned bits = type && type_bits(type) ? type_bits(type) : T_ALL;
    size_t i;
    if (!json_is_object(schema) || depth > 8)
        return json_is_false(schema) ? 0 : T_ALL;
    if (constant)
        bits &= vs_json_type(constant);
    for (size_t k = 0; k < sizeof unions / sizeof *unions; k++) {
        const json_t *list = json_object_get(schema, unions[k]);
        unsigned any = 0;
        json_array_foreach(list, i, v) {
            unsigned one = k == 2 ? vs_json_type(v) : types_of(root, v, depth + 1);
            any |= one;
            bits &= k == 3 ? one : T_ALL;
        }
        bits &= json_is_array(list) && k < 3 ? any : T_ALL;
    }
    return ref ? bits & types_of(root, vs_schema_follow(root, ref), depth + 1) : bits;
}

unsigned vs_schema_types(const json_t *root, const json_t *schema)
{
    return types_of(root, schema, 0);
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

static struct vs_dfa *limit(struct compiler *c, const json_t *schema, struct vs_dfa *text, unsigned depth)
{
    const json_t *constant = json_object_get(schema, "const"), *list = json_object_get(schema, "enum"), *found = NULL;
    struct list l = { .c = c, .v = &schema, .n = 1 };
    if (!text || !json_is_object(schema) || failed(c) || !check_keywords(c, schema))
        return text;
    if (depth > 8) {
        refuse(c, VS_E_LIMIT, schema, "$ref", "too deep for the text of a tag");
        return text;
    }
    text = keep_length(&l, keep_patterns(&l, true, text), greatest(&l, "minLength"), least(&l, "maxLength"));
    for (int kind = 0; kind < 2 && text && !failed(c); kind++) {
        size_t n = kind ? json_array_size(list) : 1;
        if (kind ? list != NULL : constant != NULL)
            text = vs_dfa_both(c->g, text, dfa_of_strings(c, kind ? list : NULL, kind ? NULL : constant, n), VS_DFA_AND);
    }
    if (json_object_get(schema, "$ref"))
        text = limit(c, resolve(c, schema), text, depth + 1);
    for (size_t i = 0; i < json_array_size(json_object_get(schema, "allOf")) && !failed(c); i++)
        text = limit(c, below_number(c, schema, "allOf", i), text, depth + 1);
    for (int kind = 0; kind < 2 && !failed(c); kind++, found = NULL) {
        const char *keyword = kind ? "oneOf" : "anyOf";
        for (size_t i = 0; i < json_array_size(json_object_get(schema, keyword)); i++) {
            const json_t *one = below_number(c, schema, keyword, i);
            if (!(types_of(c->root, one, 0) & T_STRING))
                continue;
            if (found)
                refuse(c, VS_E_UNSUPPORTED, schema, keyword, "several alternatives that are strings can't be told apart in tags");
            found = one;
        }
        text = found ? limit(c, found, text, depth + 1) : text;
    }
    return text;
}

static void add_schema(struct vs_grammar *g, const json_t *schema, uint32_t from, uint32_t to);

void vs_schema_add(struct vs_grammar *g, const json_t *schema, uint32_t from, uint32_t to)
{
    json_t *rewritten = vs_schema_rewritten(g, schema);
    if (rewritten && g->err.code == VS_OK)
        add_schema(g, rewritten, from, to);
    json_decref(rewritten);
}

static void add_schema(struct vs_grammar *g, const json_t *schema, uint32_t from, uint32_t to)
{
    struct compiler c = { .g = g, .root = schema, .number = { VS_NOWHERE, VS_NOWHERE }, .own = json_array() };
    struct set all = { 0 };
    if (!is_schema(schema))
        vs_grammar_fail(g, VS_E_INVALID, "json_schema: an object, true or false is needed");
    c.space = vs_spell_space(g);
    c.companion = vs_spell_companion(g);
    const char *dialect = json_string_value(json_object_get(schema, "$schema"));
    if (dialect && !strstr(dialect, "json-schema.org/"))
        vs_grammar_fail(g, VS_E_UNSUPPORTED, "json_schema: $schema at #: only the drafts of json-schema.org");
    if (has_inner_id(schema, true, 0))
        vs_grammar_fail(g, VS_E_UNSUPPORTED, "json_schema: $id below the root: only one schema, with references within it");
    name_place(&c, schema, "#");
    set_add(&c, &all, schema);
    if (g->use == VS_GRAMMAR_READS && !failed(&c)) {
        uint32_t begin = vs_place_add(g), end = vs_place_add(g);
        vs_edge_call(g, from, c.space, begin);
        vs_edge_call(g, end, c.space, to);
        from = begin;
        to = end;
    }
    call(&c, &all, from, to);
    for (; c.n_done < c.n_made && !failed(&c); c.n_done++) {
        const struct made m = c.made[c.n_done];
        struct list l = { .c = &c, .from = g->rule[m.rule].start, .to = g->rule[m.rule].end };
        open_set(&c, &m, take, &l);
    }
    clear_compiler(&c);
}

struct vs_dfa *vs_schema_limit(struct vs_grammar *g, const json_t *root, const json_t *schema, struct vs_dfa *text)
{
    struct compiler c = { .g = g, .root = root, .number = { VS_NOWHERE, VS_NOWHERE }, .own = json_array() };
    text = limit(&c, schema, text, 0);
    clear_compiler(&c);
    return text;
}
