/* grammar/schema_scalars.c - strings and numbers, and values that enum or const name. */
#include "grammar/schema.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IPV4 "(?:(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\\.){3}(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
#define IPV6 "(?:[0-9a-fA-F]{1,4}:){7}[0-9a-fA-F]{1,4}|(?:[0-9a-fA-F]{1,4}:){1,7}:|(?:[0-9a-fA-F]{1,4}:){1,6}:[0-9a-fA-F]{1,4}" \
             "|(?:[0-9a-fA-F]{1,4}:){1,5}(?::[0-9a-fA-F]{1,4}){1,2}|(?:[0-9a-fA-F]{1,4}:){1,4}(?::[0-9a-fA-F]{1,4}){1,3}" \
             "|(?:[0-9a-fA-F]{1,4}:){1,3}(?::[0-9a-fA-F]{1,4}){1,4}|(?:[0-9a-fA-F]{1,4}:){1,2}(?::[0-9a-fA-F]{1,4}){1,5}" \
             "|[0-9a-fA-F]{1,4}:(?::[0-9a-fA-F]{1,4}){1,6}|:(?:(?::[0-9a-fA-F]{1,4}){1,7}|:)"
#define BASE64 "(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?"
#define UUID_OF(version) "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-" version "[0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12}"

struct format { const char *name, *regex; };
static const struct format formats[] = {
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

/* Patterns that a text of ours keeps, too, so that every reader can read it: there is a year, T and Z are upper case, numbers are
 * not too large, mail programs know such addresses. */
static const struct format written[] = {
    { "date", "^(?!0000)" },
    { "time", "^[^a-z]*$" },
    { "date-time", "^(?!0000)[^a-z]*$" },
    { "duration", "^(?!.*[0-9]{7})" },
    { "email", "^[^@]{1,64}@.*\\.[A-Za-z][A-Za-z0-9-]*[A-Za-z]$" },
};

/* Formats that say nothing of a text: how it is shown, or what it is for. */
static const char *const hints[] = { "password", "binary", "path", "file-path", "directory-path" };

/* ---- strings ---- */

uint64_t vs_list_greatest(const struct vs_list *l, const char *keyword)
{
    uint64_t most = 0, one;
    for (unsigned i = 0; i < l->n; i++)
        if (vs_schema_whole(json_object_get(l->v[i], keyword), &one) && one > most)
            most = one;
    return most;
}

uint64_t vs_list_least(const struct vs_list *l, const char *keyword)
{
    uint64_t least_one = UINT64_MAX, one;
    for (unsigned i = 0; i < l->n; i++)
        if (vs_schema_whole(json_object_get(l->v[i], keyword), &one) && one < least_one)
            least_one = one;
    return least_one;
}

/* The strings of a list of n values; list NULL: of the one value. */
struct vs_dfa *vs_schema_texts(struct vs_compiler *c, const json_t *list, const json_t *one, size_t n)
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
    struct vs_dfa *d = text && n_text ? vs_dfa_of_texts(c->g, text, n_text, used) : vs_schema_no_memory(c);
    free(text);
    free(n_text);
    return d;
}

/* What the complement of a pattern or a list of strings leaves out; all NULL: of any text. */
static struct vs_dfa *leave_out(struct vs_list *l, const json_t *schema, struct vs_dfa *all)
{
    struct vs_grammar *g = l->c->g;
    const json_t *pattern = json_object_get(schema, VS_NOT_PATTERN), *list = json_object_get(schema, VS_NOT_ENUM);
    for (int kind = 0; kind < 2 && !failed(l->c); kind++) {
        if (kind ? !list : !pattern)
            continue;
        all = all ? all : vs_dfa_of_pattern(g, "", 0, true);
        struct vs_dfa *out = kind ? vs_schema_texts(l->c, list, NULL, json_array_size(list))
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

static const char *regex_of(const struct format *rows, size_t n, const json_t *format)
{
    for (size_t i = 0; format && i < n; i++)
        if (strcmp(rows[i].name, json_string_value(format)) == 0)
            return rows[i].regex;
    return NULL;
}

/* Those of `all` that keep patterns and formats; all NULL: any text, and NULL comes back where nothing is said of it. */
struct vs_dfa *vs_list_patterns(struct vs_list *l, bool has_type, struct vs_dfa *all)
{
    struct vs_compiler *c = l->c;
    struct vs_grammar *g = c->g;
    for (unsigned i = 0; i < l->n && !failed(c); i++) {
        const json_t *pattern = json_object_get(l->v[i], "pattern"), *format = json_object_get(l->v[i], "format");
        if (is_hint(format))
            format = NULL;
        const char *regex = regex_of(formats, sizeof formats / sizeof *formats, format);
        const char *ours = g->use == VS_GRAMMAR_WRITES ? regex_of(written, sizeof written / sizeof *written, format) : NULL;
        if (format && !regex)
            vs_refuse(c, VS_E_UNSUPPORTED, l->v[i], "format", "this format can't be enforced");
        else if (format && !has_type)
            vs_refuse(c, VS_E_UNSUPPORTED, l->v[i], "format", "without \"type\": \"string\" it is only a remark; say the type");
        for (int kind = 0; kind < 2 && !failed(c); kind++) {
            if (kind ? !regex : !pattern)
                continue;
            struct vs_dfa *one = kind ? vs_dfa_of_pattern(g, regex, strlen(regex), false)
                                      : vs_dfa_of_pattern(g, json_string_value(pattern), json_string_length(pattern), true);
            if (!one) {
                struct vs_error why = g->err;
                g->err.code = VS_OK;
                vs_grammar_fail(g, why.code, "json_schema: %s at %s: %.300s", kind ? "format" : "pattern",
                                vs_path_of(c, l->v[i]), why.text);
            }
            if (one && kind && ours)
                one = vs_dfa_both(g, one, vs_dfa_of_pattern(g, ours, strlen(ours), true), VS_DFA_AND);
            if (!one)
                vs_dfa_free(all);
            all = all && one ? vs_dfa_both(g, all, one, VS_DFA_AND) : one;
        }
        all = leave_out(l, l->v[i], all);
    }
    return all;
}

/* Of what has to be an automaton. */
struct vs_dfa *vs_list_length(struct vs_list *l, struct vs_dfa *all, uint64_t low, uint64_t high)
{
    struct vs_compiler *c = l->c;
    if (!all || (!low && high == UINT64_MAX))
        return all;
    if (high == UINT64_MAX ? low > MAX_COUNTED : high > MAX_COUNTED) {
        vs_grammar_fail(c->g, VS_E_LIMIT, "json_schema: minLength or maxLength beside pattern or format at %s: more than %d",
                        vs_path_of(c, l->v[0]), MAX_COUNTED);
        return all;
    }
    return vs_dfa_both(c->g, all, vs_dfa_of_length(c->g, low, high), VS_DFA_AND);
}

void vs_list_add_string(struct vs_list *l, bool has_type)
{
    struct vs_compiler *c = l->c;
    struct vs_grammar *g = c->g;
    uint64_t low = vs_list_greatest(l, "minLength"), high = vs_list_least(l, "maxLength");
    if (low > high)
        return;
    uint32_t begin = vs_place_add(g), end = vs_place_add(g);
    vs_edge_text(g, l->from, "\"", 1, begin);
    vs_edge_text(g, end, "\"", 1, l->to);
    struct vs_dfa *all = vs_list_patterns(l, has_type, NULL);
    if (!all && !failed(c)) {
        vs_spell_text(g, c->companion, low, high, begin, end);
        return;
    }
    all = vs_list_length(l, all, low, high);
    if (all && !failed(c))
        vs_dfa_emit_string(g, all, begin, end);
    vs_dfa_free(all);
}

/* ---- numbers ---- */

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

void vs_list_add_number(struct vs_list *l, bool integer, bool fractional)
{
    struct vs_compiler *c = l->c;
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
                vs_refuse(c, VS_E_UNSUPPORTED, l->v[i], bounds[k].keyword, "the number is too large, or has too many digits");
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
        if ((!vs_schema_whole(multiple, &m) || m == 0) && !step_of(multiple, &m, &decimals)) {
            vs_refuse(c, VS_E_UNSUPPORTED, l->v[i], "multipleOf", "only numbers above 0 of at most 8 digits");
            return;
        }
        if (n.multiple && (n.decimals || decimals)) {
            vs_refuse(c, VS_E_UNSUPPORTED, l->v[i], "multipleOf", "two of them together only where both are whole numbers");
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
        snprintf(path, sizeof path, "json_schema: multipleOf at %s", vs_path_of(c, l->v[i]));
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

/* ---- enum and const ---- */

bool vs_json_same(const json_t *a, const json_t *b)
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
            if (!vs_json_same(json_array_get(a, i), json_array_get(b, i)))
                return false;
        return json_array_size(a) == json_array_size(b);
    }
    if (json_is_object(a)) {
        json_object_foreach((json_t *)(uintptr_t)a, name, v)
            if (!json_object_get(b, name) || !vs_json_same(v, json_object_get(b, name)))
                return false;
        return json_object_size(a) == json_object_size(b);
    }
    return json_equal(a, b);
}

/* Keywords beside enum and const that say more than a type. */
static bool says_more(const struct vs_list *l, unsigned bits)
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

/* Does the value keep all the other keywords? It is written, and read by a grammar of these alone. */
static bool keeps(const struct vs_list *l, const json_t *value, unsigned bits)
{
    struct vs_compiler *c = l->c, inner = { .scope = c->scope, .number = { VS_NOWHERE, VS_NOWHERE }, .own = json_array() };
    struct vs_matcher *m = NULL;
    bool ok = false;
    char number[VS_NUMBER_TEXT], *text;
    struct vs_buf plain = { 0 };
    if (json_is_number(value))
        vs_spell_number_of(value, number);
    text = json_is_number(value) ? strdup(number) : json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(17));
    inner.g = vs_grammar_begin(c->g->v, VS_GRAMMAR_READS, c->g->check);
    if (!text || !inner.g) {
        vs_schema_no_memory(c);
        free(text);
        vs_grammar_free(inner.g);
        return false;
    }
    inner.g->root = vs_rule_add(inner.g, NULL, 0);
    inner.space = vs_spell_space(inner.g);
    inner.companion = vs_spell_companion(inner.g);
    if (!failed(&inner)) {
        struct vs_list same = { &inner, l->v, NULL, l->n, inner.g->rule[inner.g->root].start, inner.g->rule[inner.g->root].end };
        vs_list_add_types(&same, bits, true);
    }
    if (failed(&inner))
        vs_grammar_fail(c->g, inner.g->err.code, "%s", inner.g->err.text);
    else if (vs_grammar_finish(inner.g, NULL) == VS_OK && vs_matcher_create(inner.g, &m) == VS_OK)
        vs_json_respell(text, strlen(text), SIZE_MAX, &plain);
    if (plain.n && m)
        ok = vs_matcher_read(m, plain.data, plain.n) == plain.n && vs_matcher_may_end(m);
    vs_buf_clear(&plain);
    vs_matcher_free(m);
    vs_compiler_clear(&inner);
    vs_grammar_free(inner.g);
    free(text);
    return ok;
}

/* Is it one of those that enum and const of all schemas but `own` allow? */
bool vs_list_has(const struct vs_list *l, const json_t *value, unsigned own)
{
    for (unsigned i = 0; i < l->n; i++) {
        if (i == own)
            continue;
        if (!vs_grammar_work(l->c->g, 8 * json_array_size(json_object_get(l->v[i], "enum"))))
            return false;
        const json_t *constant = json_object_get(l->v[i], "const"), *list = json_object_get(l->v[i], "enum");
        bool found = !list;
        if (constant && !vs_json_same(constant, value))
            return false;
        for (size_t k = 0; k < json_array_size(list) && !found; k++)
            found = vs_json_same(json_array_get(list, k), value);
        if (!found)
            return false;
    }
    return true;
}

static void add_value(const struct vs_list *l, const json_t *value, unsigned of, unsigned bits)
{
    struct vs_compiler *c = l->c;
    unsigned own = vs_json_type(value);
    if (!(own & bits) || !vs_list_has(l, value, of) || !vs_grammar_work(c->g, 64))
        return;
    if (says_more(l, own)) {
        if (own & (T_ARRAY | T_OBJECT)) {
            vs_grammar_fail(c->g, VS_E_UNSUPPORTED, "json_schema: enum or const at %s: beside a list or an object nothing else may "
                            "stand that says what it must be", vs_path_of(c, l->v[0]));
            return;
        }
        if (!keeps(l, value, own))
            return;
    }
    vs_spell_value(c->g, c->space, value, l->from, l->to);
}

/* True: enum or const say what it may be. */
bool vs_list_add_values(const struct vs_list *l, unsigned bits)
{
    for (unsigned i = 0; i < l->n; i++) {
        const json_t *constant = json_object_get(l->v[i], "const"), *list = json_object_get(l->v[i], "enum");
        bool both = !list;
        for (size_t k = 0; constant && k < json_array_size(list) && !both; k++)
            both = vs_json_same(json_array_get(list, k), constant);
        if (constant && both)
            add_value(l, constant, i, bits);
        for (size_t k = 0; !constant && k < json_array_size(list); k++)
            add_value(l, json_array_get(list, k), i, bits);
        if (constant || list)
            return true;
    }
    return false;
}
