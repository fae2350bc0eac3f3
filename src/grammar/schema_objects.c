/* grammar/schema_objects.c - objects: members in their order, keys that nobody names, how many there are. */
#include "grammar/schema.h"

#include <stdlib.h>
#include <string.h>

enum {
    MAX_UNPLACED = 8,                    /* members without a place of their own that may come in any order */
    MAX_PATTERNS = 5,                    /* of patternProperties that may meet in one object */
};

/* Two that name their values have none in common: quickly seen, which tells the alternatives of most unions apart. */
static bool is_hopeless(struct vs_compiler *c, const struct vs_set *s)
{
    const struct vs_list l = { .c = c, .v = s->v, .n = s->n };
    for (unsigned i = 0; i < s->n; i++) {
        const json_t *constant = json_object_get(s->v[i], "const"), *list = json_object_get(s->v[i], "enum");
        if (constant)
            return !vs_list_has(&l, constant, i);
        for (size_t k = 0; list && k < json_array_size(list); k++)
            if (vs_list_has(&l, json_array_get(list, k), i))
                return false;
        if (list)
            return true;
    }
    return s->never;
}

struct member { const char *name; bool required, has_place; struct vs_set value; };       /* has_place: properties say which */

struct members { struct member *v; size_t n, cap; };

static struct member *member_of(struct vs_compiler *c, struct members *m, const char *name)
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
            return vs_schema_no_memory(c);
        m->v = v;
        m->cap = cap;
    }
    m->v[m->n] = (struct member){ .name = name };
    return &m->v[m->n++];
}

static void collect_members(struct vs_list *l, struct members *m)
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

static unsigned collect_patterns(struct vs_list *l, struct pattern *p)
{
    struct vs_compiler *c = l->c;
    const char *text;
    json_t *v;
    unsigned n = 0;
    for (unsigned i = 0; i < l->n; i++)
        json_object_foreach(json_object_get(l->v[i], "patternProperties"), text, v) {
            if (n == MAX_PATTERNS) {
                vs_refuse(c, VS_E_LIMIT, l->v[i], "patternProperties", "more than 5 patterns meet in one object");
                return n;
            }
            p[n] = (struct pattern){ i, text, vs_schema_at(c, l->v[i], "patternProperties", text, v), NULL };
            p[n].dfa = vs_dfa_of_pattern(c->g, text, strlen(text), true);
            if (!p[n].dfa) {
                struct vs_error why = c->g->err;
                c->g->err.code = VS_OK;
                vs_grammar_fail(c->g, why.code, "json_schema: patternProperties at %s: %.300s", vs_path_of(c, l->v[i]), why.text);
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
static void value_of(struct vs_list *l, const char *name, const struct pattern *p, unsigned n_p, unsigned matched,
                     struct vs_set *ret)
{
    struct vs_compiler *c = l->c;
    for (unsigned i = 0; i < l->n; i++) {
        const json_t *own = name ? json_object_get(json_object_get(l->v[i], "properties"), name) : NULL;
        const json_t *other = json_object_get(l->v[i], "additionalProperties");
        bool is_named = own != NULL;
        if (own)
            vs_set_add(c, ret, vs_schema_at(c, l->v[i], "properties", name, own));
        for (unsigned k = 0; k < n_p; k++)
            if (p[k].of == i && (matched >> k & 1)) {
                vs_set_add(c, ret, p[k].schema);
                is_named = true;
            }
        if (!is_named && other)
            vs_set_add(c, ret, vs_schema_at(c, l->v[i], "additionalProperties", NULL, other));
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
            vs_set_add(c, ret, vs_schema_at(c, l->v[i], "unevaluatedProperties", NULL, rest));
    }
}

/* The keys that propertyNames allow; *ret_any: all. */
static struct vs_dfa *allowed_keys(struct vs_list *l, bool *ret_any)
{
    static const char *const known[] = { "type", "pattern", "minLength", "maxLength", "const", "enum", "title", "description" };
    struct vs_compiler *c = l->c;
    struct vs_grammar *g = c->g;
    struct vs_dfa *keys = vs_dfa_of_pattern(g, "", 0, true);
    *ret_any = true;
    for (unsigned i = 0; i < l->n && keys && !failed(c); i++) {
        const json_t *names = vs_schema_behind(c, json_object_get(l->v[i], "propertyNames"));
        const json_t *pattern = json_object_get(names, "pattern");
        const json_t *constant = json_object_get(names, "const"), *list = json_object_get(names, "enum"), *v;
        const char *key;
        if (!names || json_is_true(names))
            continue;
        *ret_any = false;
        json_object_foreach((json_t *)(uintptr_t)names, key, v) {
            bool is_known = false;
            for (size_t k = 0; k < sizeof known / sizeof *known; k++)
                is_known |= strcmp(known[k], key) == 0;
            if (!is_known)
                vs_refuse(c, VS_E_UNSUPPORTED, l->v[i], "propertyNames",
                       "only type, pattern, lengths, const and enum can be enforced");
        }
        if (failed(c) || !vs_schema_check(c, vs_schema_at(c, l->v[i], "propertyNames", NULL, names)))
            break;
        struct vs_list one = { .c = c, .v = &names, .n = 1 };
        uint64_t low = vs_list_greatest(&one, "minLength"), high = vs_list_least(&one, "maxLength");
        bool none = json_is_false(names) || low > high || !(vs_types_said(names) & T_STRING);
        if (none)
            keys = vs_dfa_both(g, keys, vs_dfa_of_texts(g, NULL, NULL, 0), VS_DFA_AND);
        else if ((low || high != UINT64_MAX) && low <= MAX_COUNTED && (high == UINT64_MAX || high <= MAX_COUNTED))
            keys = vs_dfa_both(g, keys, vs_dfa_of_length(g, low, high), VS_DFA_AND);
        else if (low || high != UINT64_MAX)
            vs_refuse(c, VS_E_LIMIT, l->v[i], "propertyNames", "lengths above 20000");
        if (pattern && keys)
            keys = vs_dfa_both(g, keys, vs_dfa_of_pattern(g, json_string_value(pattern), json_string_length(pattern), true),
                               VS_DFA_AND);
        for (int kind = 0; kind < 2 && keys; kind++) {
            size_t n = kind ? json_array_size(list) : 1;
            if (kind ? !list : !constant)
                continue;
            keys = vs_dfa_both(g, keys, vs_schema_texts(c, kind ? list : NULL, constant, n), VS_DFA_AND);
        }
    }
    return keys;
}

/* key ":" value, as a rule; VS_NOWHERE: there is no such value. */
static uint32_t member_rule(struct vs_compiler *c, const char *name, const struct vs_dfa *keys, const struct vs_set *value)
{
    struct vs_grammar *g = c->g;
    uint32_t value_rule = vs_set_rule(c, value, NULL);
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
static unsigned free_members(struct vs_list *l, const struct members *m, const struct pattern *p, unsigned n_p, uint32_t *ret)
{
    bool any;
    struct vs_compiler *c = l->c;
    unsigned n = 0;
    const char **name = malloc((m->n + 1) * sizeof *name);
    size_t *n_name = malloc((m->n + 1) * sizeof *n_name);
    for (size_t i = 0; name && n_name && i < m->n; i++) {
        name[i] = m->v[i].name;
        n_name[i] = strlen(name[i]);
    }
    if (!name || !n_name)
        vs_schema_no_memory(c);
    for (unsigned matched = 0; matched < 1u << n_p && !failed(c); matched++) {
        struct vs_set value = { 0 };
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
static void add_member(struct vs_compiler *c, uint32_t rule, bool some, uint32_t from, uint32_t to)
{
    vs_edge_call(c->g, some ? vs_behind_comma(c, from) : from, rule, to);
}

/* What is only required has no place of its own: a text that is read may have it anywhere behind the properties, also among others.
 * at[set of them that was read][column]. */
static void write_unplaced(struct vs_list *l, const struct members *m, const uint32_t *rule, const uint32_t *others,
                           unsigned n_others, uint64_t low, uint64_t high, bool counts, uint64_t columns, const uint32_t *from,
                           uint32_t to)
{
    struct vs_compiler *c = l->c;
    struct vs_grammar *g = c->g;
    size_t first = 0;
    while (first < m->n && m->v[first].has_place)
        first++;
    uint32_t all = (1u << (m->n - first)) - 1;
    uint32_t *at = malloc(((size_t)all + 1) * (columns + 1) * sizeof *at);
    if (!at) {
        vs_schema_no_memory(c);
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
static void write_members(struct vs_list *l, const struct members *m, const uint32_t *rule, const uint32_t *others,
                          unsigned n_others, uint64_t low, uint64_t high, bool counts, uint32_t from, uint32_t to)
{
    struct vs_compiler *c = l->c;
    struct vs_grammar *g = c->g;
    uint64_t columns = !counts ? 1 : high != UINT64_MAX ? high : low;
    uint32_t *row = columns <= MAX_COUNTED ? malloc(2 * (columns + 1) * sizeof *row) : NULL;
    if (!row) {
        vs_grammar_fail(g, columns <= MAX_COUNTED ? VS_E_NOMEM : VS_E_LIMIT, "json_schema: minProperties or maxProperties at %s: "
                        "more than %d", vs_path_of(c, l->v[0]), MAX_COUNTED);
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

void vs_list_add_object(struct vs_list *l)
{
    struct vs_compiler *c = l->c;
    struct vs_grammar *g = c->g;
    struct members m = { 0 };
    struct pattern p[MAX_PATTERNS];
    uint32_t others[1 << MAX_PATTERNS], n_required = 0;
    uint64_t low = vs_list_greatest(l, "minProperties"), high = vs_list_least(l, "maxProperties");
    bool hopeless = false;
    collect_members(l, &m);
    unsigned n_p = collect_patterns(l, p);
    bool any_name;
    struct vs_dfa *names = allowed_keys(l, &any_name);
    uint32_t *rule = malloc((m.n + 1) * sizeof *rule);
    if (!rule)
        vs_schema_no_memory(c);
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
                vs_refuse(c, VS_E_UNSUPPORTED, l->v[i], "minProperties",
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
