/* grammar/schema_sets.c - sets of schemas that must all hold: their rules, what $ref names, and their alternatives. */
#include "grammar/schema.h"

#include "base/bytes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_LISTS = 4096,                    /* alternatives of one set */
    MAX_RULES = 50000,
    MAX_PAIRS = 20000,                   /* of alternatives of oneOf, in all */
};

/* ---- sets and their rules ---- */

void vs_set_add(struct vs_compiler *c, struct vs_set *s, const json_t *schema)
{
    if (json_is_false(schema))
        s->never = true;
    if (json_is_boolean(schema) || failed(c))
        return;
    for (unsigned i = 0; i < s->n; i++)
        if (s->v[i] == schema)
            return;
    if (s->n == MAX_SET)
        vs_refuse(c, VS_E_LIMIT, schema, "schema", "too many schemas must hold together");
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

static bool enlarge_made(struct vs_compiler *c)
{
    uint32_t cap = c->cap_made ? 2 * c->cap_made : 64;
    struct vs_made *made = realloc(c->made, cap * sizeof *made);
    c->made = made ? made : c->made;
    free(c->slot);
    c->slot = malloc(2 * (size_t)cap * sizeof *c->slot);
    if (!made || !c->slot)
        return vs_schema_no_memory(c) != NULL;
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
uint32_t vs_set_rule(struct vs_compiler *c, const struct vs_set *s, const json_t *pair_of)
{
    const json_t *sorted[MAX_SET];
    if (s->never || failed(c) || (c->n_made == c->cap_made && !enlarge_made(c)))
        return VS_NOWHERE;
    memcpy(sorted, s->v, s->n * sizeof *sorted);
    qsort(sorted, s->n, sizeof *sorted, by_address);
    uint32_t at = set_hash(sorted, s->n) & c->mask;
    for (; c->slot[at] != VS_NOWHERE; at = (at + 1) & c->mask) {
        const struct vs_made *m = &c->made[c->slot[at]];
        if (m->n == s->n && m->pair_of == pair_of && memcmp(m->v, sorted, s->n * sizeof *sorted) == 0)
            return m->rule;
    }
    const char *path = s->n ? vs_path_of(c, s->v[0]) : "#";
    const json_t **v = malloc((2 * (size_t)s->n + 1) * sizeof *v);
    if (!v || c->n_made >= MAX_RULES) {
        free(v);
        vs_grammar_fail(c->g, v ? VS_E_LIMIT : VS_E_NOMEM, v ? "json_schema: it is too large: more than %d different schemas"
                                                            : "out of memory (%d)", MAX_RULES);
        return VS_NOWHERE;
    }
    memcpy(v, sorted, s->n * sizeof *v);
    memcpy(v + s->n, s->v, s->n * sizeof *v);       /* in their own order, for when it is written */
    c->made[c->n_made] = (struct vs_made){ v, s->n, vs_rule_add(c->g, path, strlen(path)), pair_of };
    c->slot[at] = c->n_made++;
    return c->made[c->n_made - 1].rule;
}

void vs_set_call(struct vs_compiler *c, const struct vs_set *s, uint32_t from, uint32_t to)
{
    uint32_t rule = vs_set_rule(c, s, NULL);
    if (rule != VS_NOWHERE && !failed(c))
        vs_edge_call(c->g, from, rule, to);
}

uint32_t vs_behind_comma(struct vs_compiler *c, uint32_t from)
{
    uint32_t comma = vs_place_add(c->g), begin = vs_place_add(c->g);
    vs_edge_text(c->g, from, ",", 1, comma);
    vs_edge_call(c->g, comma, c->space, begin);
    return begin;
}

/* ---- $ref ---- */

/* Two schemas with one name: neither is meant. */
static void add_name(struct vs_schema_scope *s, const char *document, const char *mark, const char *name, const json_t *schema)
{
    char *whole = NULL;
    if (asprintf(&whole, "%s%s%s", document, mark, name) < 0)
        whole = NULL;
    const json_t *other = whole ? json_object_get(s->named, whole) : NULL;
    int r = !whole ? -1 : !other ? json_object_set(s->named, whole, (json_t *)(uintptr_t)schema)
          : other == schema ? 0 : json_object_set_new(s->named, whole, json_null());
    s->has_failed |= r != 0;
    free(whole);
}

/* The names of v and of what stands below it. kind: v is a schema, or holds some. document: the identifier that v stands under, ""
 * for the root's; NULL: below an identifier within another one, where the same word may be another place. */
static void add_names(struct vs_schema_scope *s, const json_t *v, enum vs_schemas_below kind, const char *document, unsigned depth)
{
    static const char *const anchors[] = { "$anchor", "$dynamicAnchor" };
    const char *key;
    json_t *one;
    size_t i;
    bool is_schema = kind == VS_BELOW_ONE && json_is_object(v);
    const json_t *id = is_schema ? json_object_get(v, "$id") : NULL;
    if (depth > VS_MAX_BELOW)
        return;
    if (json_is_string(id)) {
        const char *word = json_string_value(id);
        bool is_name = *word && !strchr(word, '#') && strlen(word) == json_string_length(id);
        if (is_name)
            add_name(s, "", "", word, document ? v : json_null());
        if (depth)
            document = is_name && document && !*document ? word : NULL;
    }
    for (i = 0; is_schema && document && i < sizeof anchors / sizeof *anchors; i++)
        if (json_is_string(json_object_get(v, anchors[i])))
            add_name(s, document, "#", json_string_value(json_object_get(v, anchors[i])), v);
    json_object_foreach((json_t *)(uintptr_t)v, key, one) {
        enum vs_schemas_below below = is_schema ? vs_schema_below(key) : VS_BELOW_ONE;
        if (below != VS_BELOW_NONE)
            add_names(s, one, below, document, depth + 1);
    }
    json_array_foreach(v, i, one)
        add_names(s, one, VS_BELOW_ONE, document, depth + 1);
}

void vs_schema_scope_read(struct vs_schema_scope *s)
{
    if (s->named)
        return;
    s->named = json_object();
    s->has_failed = !s->named;
    add_names(s, s->root, VS_BELOW_ONE, "", 0);
    if (s->has_failed)
        json_object_clear(s->named);     /* a name that is missing could have been there twice */
}

void vs_schema_scope_clear(struct vs_schema_scope *s)
{
    json_decref(s->named);
    *s = (struct vs_schema_scope){ 0 };
}

/* NULL: nothing has this name; JSON's null: that is not clear. */
static const json_t *named(struct vs_schema_scope *s, const char *document, size_t n, const char *anchor)
{
    char *whole = NULL;
    vs_schema_scope_read(s);
    if (asprintf(&whole, "%.*s%s", (int)n, document, anchor) < 0)
        return NULL;
    const json_t *v = json_object_get(s->named, whole);
    free(whole);
    return v;
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

/* What a reference within the root names; NULL: nothing. *ret_why: a name that leads nowhere, or to several places. References and
 * identifiers have the same base, for none of them stands under another identifier; so the same word is the same place. */
enum lost { NOT_THERE, OUTSIDE, UNCLEAR };
static const json_t *follow(struct vs_schema_scope *s, const char *ref, enum lost *ret_why)
{
    const char *fragment = strchr(ref, '#');
    size_t n = fragment ? (size_t)(fragment - ref) : strlen(ref);
    const json_t *at = n ? named(s, ref, n, "") : s->root;
    *ret_why = !at ? OUTSIDE : json_is_null(at) ? UNCLEAR : NOT_THERE;
    if (*ret_why != NOT_THERE)
        return NULL;
    if (fragment && fragment[1] && fragment[1] != '/') {
        at = named(s, ref, at == s->root ? 0 : n, fragment);
        *ret_why = json_is_null(at) ? UNCLEAR : NOT_THERE;
    } else if (fragment) {
        char name[512];
        for (const char *p = fragment + 1; at && *p == '/';) {
            p = step_name(p + 1, name, sizeof name);
            char *end;
            unsigned long i = strtoul(name, &end, 10);
            at = json_is_array(at) ? (*name && !*end ? json_array_get(at, i) : NULL) : json_object_get(at, name);
        }
    }
    return at && vs_is_schema(at) ? at : NULL;
}

const json_t *vs_schema_follow(struct vs_schema_scope *s, const char *ref)
{
    enum lost why;
    return follow(s, ref, &why);
}

const json_t *vs_schema_resolve(struct vs_compiler *c, const json_t *schema)
{
    const char *ref = json_string_value(json_object_get(schema, "$ref")), *fragment = strchr(ref, '#');
    static const struct { int code; const char *text; } lost[] = {
        [NOT_THERE] = { VS_E_INVALID, "there is no schema at the place that it names" },
        [OUTSIDE] = { VS_E_UNSUPPORTED, "only references to places within the schema are followed (#/...)" },
        [UNCLEAR] = { VS_E_INVALID, "more than one schema may have the name that it says" },
    };
    enum lost why;
    const json_t *at = vs_grammar_work(c->g, strlen(ref)) ? follow(c->scope, ref, &why) : NULL;
    if (failed(c))
        return NULL;
    if (!at) {
        vs_refuse(c, lost[why].code, schema, "$ref", lost[why].text);
        return NULL;
    }
    char path[MAX_PATH];
    snprintf(path, sizeof path, "%.190s", fragment ? fragment : "#");
    vs_schema_name(c, at, path);
    return at;
}

/* Where a reference that stands alone leads to; else the schema itself. */
const json_t *vs_schema_behind(const struct vs_compiler *c, const json_t *schema)
{
    for (int i = 0; i < 8 && json_is_object(schema) && json_object_size(schema) == 1; i++) {
        const char *ref = json_string_value(json_object_get(schema, "$ref"));
        const json_t *to = ref ? vs_schema_follow(c->scope, ref) : NULL;
        if (!to)
            break;
        schema = to;
    }
    return schema;
}

/* ---- a set is opened ---- */

struct opening {
    struct vs_compiler *c;
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

static void open_schema(struct opening *o, const json_t *schema)
{
    struct vs_compiler *c = o->c;
    if (json_is_false(schema))
        o->never = true;
    if (json_is_boolean(schema) || failed(c) || !vs_grammar_work(c->g, 64))
        return;
    for (unsigned i = 0; i < o->n_above; i++)
        if (o->above[i] == schema) {
            vs_refuse(c, VS_E_INVALID, schema, "$ref", "it leads back to itself without reading anything");
            return;
        }
    for (int i = o->chosen; i >= 0; i = o->either[i].from)
        if (o->either[i].schema == schema) {
            vs_refuse(c, VS_E_INVALID, schema, o->either[i].keyword, "it leads back to itself without reading anything");
            return;
        }
    for (unsigned i = 0; i < o->n_open; i++)
        if (o->open[i] == schema) {
            o->met_again = true;
            return;
        }
    if (o->n_open == MAX_SET || o->n_above == MAX_SET || o->n_either + 2 >= MAX_SET) {
        vs_refuse(c, VS_E_LIMIT, schema, "schema", "too many schemas must hold together");
        return;
    }
    if (!vs_schema_check(c, schema))
        return;
    unsigned own = o->n_open++;
    o->open[own] = schema;
    o->above[o->n_above++] = schema;
    if (json_object_get(schema, "$ref")) {
        const json_t *to = vs_schema_resolve(c, schema);
        if (to)
            open_schema(o, to);
    }
    for (size_t i = 0; i < json_array_size(json_object_get(schema, "allOf")); i++)
        open_schema(o, vs_schema_at_number(c, schema, "allOf", i));
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
    struct vs_compiler *c = o->c;
    size_t n = json_array_size(json_object_get(schema, "oneOf"));
    for (size_t i = 0; i < n && !failed(c) && !o->pair_of; i++)
        for (size_t k = 0; k < i && !failed(c); k++) {
            struct vs_set s = { 0 };
            const json_t *a = vs_schema_at_number(c, schema, "oneOf", i), *b = vs_schema_at_number(c, schema, "oneOf", k);
            if (++c->n_pairs > MAX_PAIRS) {
                vs_refuse(c, VS_E_LIMIT, schema, "oneOf", "too many alternatives");
                return;
            }
            for (unsigned j = 0; j < o->n_open; j++)
                vs_set_add(c, &s, o->open[j]);
            vs_set_add(c, &s, a);
            vs_set_add(c, &s, b);
            uint32_t rule = vs_set_rule(c, &s, schema);
            char *text = NULL;
            if (rule == VS_NOWHERE)
                continue;
            if (asprintf(&text, "json_schema: oneOf at %s: a value can satisfy alternatives %zu and %zu together, and that "
                         "can't be ruled out; make them exclude each other (a required property with another const in each), "
                         "or use anyOf",
                         vs_path_of(c, schema), k, i) < 0)
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
            if (v && !vs_is_idle(o->open[i], keywords_of[k], v))
                vs_refuse(o->c, VS_E_UNSUPPORTED, o->open[i], keywords_of[k], "beside alternatives it can't be enforced");
        }
    return !failed(o->c);
}

/* All ways to take one alternative of each. */
static void choose(struct opening *o, unsigned done, unsigned *io_lists, vs_take_list *take, void *context)
{
    struct vs_compiler *c = o->c;
    if (o->never || failed(c))
        return;
    if (done == o->n_either) {
        if (++*io_lists > MAX_LISTS)
            vs_grammar_fail(c->g, VS_E_LIMIT, "json_schema: more than %d combinations of alternatives at %s", MAX_LISTS,
                            o->n_open ? vs_path_of(c, o->open[0]) : "#");
        else if (can_evaluate(o))
            take(context, o->open, o->end, o->n_open);
        return;
    }
    const json_t *schema = o->either[done].schema;
    const char *keyword = o->either[done].keyword;
    struct opening *next = malloc(sizeof *next);
    if (!next) {
        vs_schema_no_memory(c);
        return;
    }
    for (size_t i = 0; i < json_array_size(json_object_get(schema, keyword)) && !failed(c); i++) {
        *next = *o;
        next->chosen = (int)done;
        open_schema(next, vs_schema_at_number(c, schema, keyword, i));
        for (unsigned k = o->n_either; k < next->n_either && !next->never; k++)
            if (strcmp(next->either[k].keyword, "oneOf") == 0)
                exclude(next, next->either[k].schema);
        choose(next, done + 1, io_lists, take, context);
    }
    free(next);
}

void vs_set_open(struct vs_compiler *c, const struct vs_made *m, vs_take_list *take, void *context)
{
    struct opening *o = calloc(1, sizeof *o);
    unsigned lists = 0;
    if (!o) {
        vs_schema_no_memory(c);
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
