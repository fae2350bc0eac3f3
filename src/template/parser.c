/* template/parser.c - tokens to a tree: jinja2's grammar, less what reads other templates.
 *
 * Recursive descent, one function for each level of the grammar; chains of operators of one level become one node, so
 * only brackets and blocks nest, and `depth` bounds those. Failure is sticky: after it every function returns NULL.
 */
#include "base/bytes.h"
#include "base/utf8.h"
#include "template/internal.h"

#include <string.h>

enum { MAX_DEPTH = 120, MAX_POSTFIX = 200, MAX_SOURCE = 1 << 20, TREE_BYTES = 192 << 20 };

struct parser {
    struct vs_tp_lexer lexer;
    struct vs_tp_arena *arena;
    struct vs_tp_token token, ahead;
    bool has_ahead;
    unsigned depth, loops;
    int status;
    struct vs_error *err;
};

/* ---- tokens ------------------------------------------------------------------------------------------------- */

static void *fail(struct parser *p, int code, uint32_t line, const char *what, const char *detail, size_t n)
{
    if (p->status == VS_OK) {
        if (n > 60)
            n = 60;
        while (n && vs_utf8_unfinished(detail, n))
            n--;
        p->status = vs_error_set(p->err, code, "template: line %u: %s%.*s", line, what, (int)n, detail);
    }
    return NULL;
}

static void *no_memory(struct parser *p)
{
    if (p->status == VS_OK)
        p->status = vs_error_set(p->err, p->arena->status, "template: %s while parsing",
                                 p->arena->status == VS_E_LIMIT ? "too large" : vs_status_text(p->arena->status));
    return NULL;
}

static void advance(struct parser *p)
{
    if (p->status != VS_OK)
        return;
    if (p->has_ahead) {
        p->token = p->ahead;
        p->has_ahead = false;
    } else {
        int status = vs_tp_lexer_next(&p->lexer, &p->token);
        if (status != VS_OK)
            p->status = status;
    }
}

static const struct vs_tp_token *look(struct parser *p)
{
    if (!p->has_ahead && p->status == VS_OK) {
        int status = vs_tp_lexer_next(&p->lexer, &p->ahead);
        if (status != VS_OK)
            p->status = status;
        else
            p->has_ahead = true;
    }
    return &p->ahead;
}

static bool token_is_name(const struct vs_tp_token *t, const char *name)
{
    return t->kind == VS_TP_NAME && t->n == strlen(name) && memcmp(t->s, name, t->n) == 0;
}

static bool is_name(const struct parser *p, const char *name)
{
    return p->status == VS_OK && token_is_name(&p->token, name);
}

static bool is_op(const struct parser *p, const char *op)
{
    return p->status == VS_OK && p->token.kind == VS_TP_OPERATOR && strcmp(p->token.op, op) == 0;
}

static bool is_kind(const struct parser *p, enum vs_tp_token_kind kind)
{
    return p->status == VS_OK && p->token.kind == kind;
}

static bool skip_op(struct parser *p, const char *op)
{
    if (!is_op(p, op))
        return false;
    advance(p);
    return true;
}

static bool skip_name(struct parser *p, const char *name)
{
    if (!is_name(p, name))
        return false;
    advance(p);
    return true;
}

static void *unexpected(struct parser *p, const char *wanted)
{
    if (p->status != VS_OK)
        return NULL;
    char text[128];
    static const char *const kinds[] = {
        [VS_TP_EOF] = "the end of the template", [VS_TP_DATA] = "text", [VS_TP_BLOCK_BEGIN] = "'{%'",
        [VS_TP_BLOCK_END] = "'%}'", [VS_TP_VAR_BEGIN] = "'{{'", [VS_TP_VAR_END] = "'}}'",
    };
    const char *got = p->token.kind <= VS_TP_VAR_END ? kinds[p->token.kind] : "";
    snprintf(text, sizeof text, "expected %s, got %s", wanted, got);
    return fail(p, VS_E_MALFORMED, p->token.line, text, p->token.s ? p->token.s : "", *got ? 0 : p->token.n);
}

static bool expect_op(struct parser *p, const char *op)
{
    if (skip_op(p, op))
        return p->status == VS_OK;
    char wanted[8];
    snprintf(wanted, sizeof wanted, "'%s'", op);
    unexpected(p, wanted);
    return false;
}

static bool expect_kind(struct parser *p, enum vs_tp_token_kind kind, const char *wanted)
{
    if (!is_kind(p, kind)) {
        unexpected(p, wanted);
        return false;
    }
    advance(p);
    return p->status == VS_OK;
}

/* ---- nodes -------------------------------------------------------------------------------------------------- */

bool vs_tp_nodes_add(struct vs_tp_arena *a, struct vs_tp_nodes *list, struct vs_tp_node *node)
{
    if (list->n == list->cap) {
        size_t cap = list->cap ? list->cap * 2 : 4;
        struct vs_tp_node **at = vs_tp_realloc(a, list->at, list->n * sizeof *at, cap * sizeof *at);
        if (!at)
            return false;
        list->at = at;
        list->cap = cap;
    }
    list->at[list->n++] = node;
    return true;
}

static bool add(struct parser *p, struct vs_tp_nodes *list, struct vs_tp_node *node)
{
    if (!node)
        return false;
    if (vs_tp_nodes_add(p->arena, list, node))
        return true;
    no_memory(p);
    return false;
}

static struct vs_tp_node *new_node(struct parser *p, enum vs_tp_node_kind kind, uint32_t line)
{
    if (p->status != VS_OK)
        return NULL;
    struct vs_tp_node *node = vs_tp_alloc_zero(p->arena, sizeof *node);
    if (!node)
        return no_memory(p);
    node->kind = (uint8_t)kind;
    node->line = line;
    node->caller = node->kwargs = node->varargs = -1;
    return node;
}

static struct vs_tp_str *new_str(struct parser *p, const char *s, size_t n)
{
    struct vs_tp_str *str = vs_tp_alloc_zero(p->arena, sizeof *str);
    if (!str)
        return no_memory(p);
    str->s = s;
    str->n = n;
    str->n_chars = vs_tp_count_chars(s, n);
    str->trusted = true;
    return str;
}

static struct vs_tp_node *constant(struct parser *p, uint32_t line, struct vs_tp_value value)
{
    struct vs_tp_node *node = new_node(p, VS_TP_N_CONST, line);
    if (node)
        node->value = value;
    return node;
}

/* The current token, which must be a name, as a string; then on. */
static struct vs_tp_str *take_name(struct parser *p)
{
    if (!is_kind(p, VS_TP_NAME))
        return unexpected(p, "a name");
    struct vs_tp_str *name = new_str(p, p->token.s, p->token.n);
    advance(p);
    return p->status == VS_OK ? name : NULL;
}

static bool deeper(struct parser *p)
{
    if (p->status != VS_OK)
        return false;
    if (p->depth == MAX_DEPTH) {
        fail(p, VS_E_LIMIT, p->token.line, "nested too deeply", "", 0);
        return false;
    }
    p->depth++;
    return true;
}

static struct vs_tp_node *expression(struct parser *p, bool with_condition);
static struct vs_tp_node *primary(struct parser *p, bool with_namespace);
static struct vs_tp_node *unary(struct parser *p, bool with_filter);

/* ---- literals ----------------------------------------------------------------------------------------------- */

/* What Python makes of a backslash at s[i]: appends to out, returns the offset behind, or 0 after fail(). An escape never
 * grows beyond 2 + 2.5 times its source (a backslash before a non-ASCII character spells that character's number). */
static size_t escape(struct parser *p, const char *s, size_t i, size_t n, char *out, size_t *m)
{
    static const char from[] = "\\'\"abfnrtv", to[] = "\\'\"\a\b\f\n\r\t\v";
    char c = s[++i];
    if (c == '\n')
        return i + 1;
    const char *simple = c ? strchr(from, c) : NULL;
    if (simple) {
        out[(*m)++] = to[simple - from];
        return i + 1;
    }
    if (c >= '0' && c <= '7') {
        uint32_t v = 0;
        for (int k = 0; k < 3 && i < n && s[i] >= '0' && s[i] <= '7'; k++)
            v = v * 8 + (uint32_t)(s[i++] - '0');
        *m += vs_utf8_encode(v, out + *m);
        return i;
    }
    int n_digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (n_digits) {
        uint32_t v = 0;
        for (int k = 1; k <= n_digits; k++) {
            int d = i + (size_t)k < n ? vs_hex_digit(s[i + (size_t)k]) : -1;
            if (d < 0) {
                fail(p, VS_E_MALFORMED, p->token.line, "a string has a broken escape \\", &c, 1);
                return 0;
            }
            v = v * 16 + (uint32_t)d;
        }
        if (v > 0x10ffff || (v >= 0xd800 && v < 0xe000)) {
            fail(p, VS_E_MALFORMED, p->token.line, "a string escape names no character: \\", s + i, (size_t)n_digits + 1);
            return 0;
        }
        *m += vs_utf8_encode(v, out + *m);
        return i + (size_t)n_digits + 1;
    }
    if (c == 'N') {
        fail(p, VS_E_UNSUPPORTED, p->token.line, "the escape \\N{...} is not supported", "", 0);
        return 0;
    }
    out[(*m)++] = '\\';
    uint32_t code;
    size_t len = vs_utf8_decode(s + i, n - i, &code);
    if (code < 0x80) {
        out[(*m)++] = c;
        return i + 1;
    }
    *m += (size_t)snprintf(out + *m, 11, code < 0x100 ? "x%02x" : code < 0x10000 ? "u%04x" : "U%08x", code);
    return i + len;
}

static struct vs_tp_node *string(struct parser *p)
{
    uint32_t line = p->token.line;
    char *out = NULL;
    size_t m = 0, cap = 0;
    for (; is_kind(p, VS_TP_STRING); advance(p)) {
        const char *s = p->token.s;
        size_t n = p->token.n, want = m + 4 * n + 16;
        char *grown = vs_tp_realloc(p->arena, out, cap, want);
        if (!grown)
            return no_memory(p);
        out = grown;
        cap = want;
        for (size_t i = 0; i < n;) {
            if (s[i] != '\\') {
                out[m++] = s[i++];
                continue;
            }
            i = escape(p, s, i, n, out, &m);
            if (!i)
                return NULL;
        }
    }
    if (p->status != VS_OK)
        return NULL;
    struct vs_tp_str *str = new_str(p, out, m);
    return str ? constant(p, line, vs_tp_of_str(str)) : NULL;
}

static struct vs_tp_node *number(struct parser *p)
{
    const struct vs_tp_token t = p->token;
    struct vs_tp_value value;
    if (t.kind == VS_TP_FLOATING) {
        double f;
        if (!vs_tp_parse_float(t.s, t.n, &f))
            return fail(p, VS_E_LIMIT, t.line, "a number is too long: ", t.s, t.n);
        value = vs_tp_float(f);
    } else {
        int64_t i;
        bool too_big = false;
        if (!vs_tp_parse_int(t.s, t.n, 0, &i, &too_big))
            return fail(p, VS_E_UNSUPPORTED, t.line, "an integer has more than 64 bits: ", t.s, t.n);
        value = vs_tp_int(i);
    }
    advance(p);
    return constant(p, t.line, value);
}

/* ---- expressions -------------------------------------------------------------------------------------------- */

struct tuple_rules {
    bool simplified, with_condition, explicit_parentheses, with_namespace;
    const char *end;                    /* a name that ends it, or NULL */
};

static struct vs_tp_node *tuple(struct parser *p, struct tuple_rules rules)
{
    uint32_t line = p->token.line;
    struct vs_tp_node *node = new_node(p, VS_TP_N_TUPLE, line);
    if (!node)
        return NULL;
    bool is_tuple = false;
    for (;;) {
        if (node->list.n && !expect_op(p, ","))
            return NULL;
        if (is_kind(p, VS_TP_VAR_END) || is_kind(p, VS_TP_BLOCK_END) || is_op(p, ")") || (rules.end && is_name(p, rules.end)))
            break;
        struct vs_tp_node *item = rules.simplified ? primary(p, rules.with_namespace) : expression(p, rules.with_condition);
        if (!add(p, &node->list, item))
            return NULL;
        if (!is_op(p, ","))
            break;
        is_tuple = true;
    }
    if (is_tuple)
        return node;
    if (node->list.n)
        return node->list.at[0];
    return rules.explicit_parentheses ? node : unexpected(p, "an expression");
}

static struct vs_tp_node *sequence(struct parser *p, enum vs_tp_node_kind kind, const char *close)
{
    struct vs_tp_node *node = new_node(p, kind, p->token.line);
    if (!node)
        return NULL;
    advance(p);
    while (p->status == VS_OK && !is_op(p, close)) {
        if (node->list.n && !expect_op(p, ","))
            return NULL;
        if (is_op(p, close))
            break;
        if (!add(p, &node->list, expression(p, true)))
            return NULL;
        if (kind == VS_TP_N_DICT && (!expect_op(p, ":") || !add(p, &node->list, expression(p, true))))
            return NULL;
    }
    return expect_op(p, close) ? node : NULL;
}

static struct vs_tp_node *name_or_constant(struct parser *p, bool with_namespace)
{
    static const struct { const char *name; int which; } constants[] = {
        { "true", 1 }, { "True", 1 }, { "false", 0 }, { "False", 0 }, { "none", -1 }, { "None", -1 },
    };
    uint32_t line = p->token.line;
    for (size_t i = 0; i < sizeof constants / sizeof *constants; i++) {
        if (is_name(p, constants[i].name)) {
            advance(p);
            int which = constants[i].which;
            return constant(p, line, which < 0 ? vs_tp_none() : vs_tp_bool(which != 0));
        }
    }
    struct vs_tp_str *name = take_name(p);
    bool is_ref = name && with_namespace && is_op(p, ".");
    struct vs_tp_node *node = name ? new_node(p, is_ref ? VS_TP_N_NSREF : VS_TP_N_NAME, line) : NULL;
    if (!node)
        return NULL;
    node->name = name;
    if (is_ref) {
        advance(p);
        node->attr = take_name(p);
        if (!node->attr)
            return NULL;
    }
    return node;
}

static struct vs_tp_node *primary(struct parser *p, bool with_namespace)
{
    if (!deeper(p))
        return NULL;
    struct vs_tp_node *node = NULL;
    if (is_kind(p, VS_TP_NAME)) {
        node = name_or_constant(p, with_namespace);
    } else if (is_kind(p, VS_TP_STRING)) {
        node = string(p);
    } else if (is_kind(p, VS_TP_INTEGER) || is_kind(p, VS_TP_FLOATING)) {
        node = number(p);
    } else if (is_op(p, "(")) {
        advance(p);
        node = tuple(p, (struct tuple_rules){ .with_condition = true, .explicit_parentheses = true });
        if (!expect_op(p, ")"))
            node = NULL;
    } else if (is_op(p, "[")) {
        node = sequence(p, VS_TP_N_LIST, "]");
    } else if (is_op(p, "{")) {
        node = sequence(p, VS_TP_N_DICT, "}");
    } else {
        unexpected(p, "an expression");
    }
    p->depth--;
    return node;
}

/* Puts the arguments in brackets into `into`. */
static bool arguments(struct parser *p, struct vs_tp_node *into)
{
    uint32_t line = p->token.line;
    if (!expect_op(p, "("))
        return false;
    bool comma = false, good = true;
    while (good && p->status == VS_OK && !is_op(p, ")")) {
        if (comma) {
            if (!expect_op(p, ","))
                return false;
            if (is_op(p, ")"))
                break;
        }
        if (skip_op(p, "*")) {
            good = !into->star && !into->star_star;
            into->star = expression(p, true);
        } else if (skip_op(p, "**")) {
            good = !into->star_star;
            into->star_star = expression(p, true);
        } else if (is_kind(p, VS_TP_NAME) && look(p)->kind == VS_TP_OPERATOR && strcmp(look(p)->op, "=") == 0) {
            good = !into->star_star;
            struct vs_tp_node *keyword = new_node(p, VS_TP_N_KEYWORD, p->token.line);
            if (!keyword)
                return false;
            keyword->name = take_name(p);
            advance(p);
            keyword->a = expression(p, true);
            for (size_t i = 0; i < into->more.n && keyword->name; i++)
                good = good && !vs_tp_str_equal(into->more.at[i]->name, keyword->name);
            if (!keyword->a || !add(p, &into->more, keyword))
                return false;
        } else {
            good = !into->star && !into->star_star && !into->more.n;
            if (!add(p, &into->list, expression(p, true)))
                return false;
        }
        comma = true;
    }
    if (!good) {
        fail(p, VS_E_MALFORMED, line, "invalid arguments of a call", "", 0);
        return false;
    }
    return expect_op(p, ")");
}

static struct vs_tp_node *call(struct parser *p, struct vs_tp_node *callee)
{
    struct vs_tp_node *node = new_node(p, VS_TP_N_CALL, p->token.line);
    if (!node || !arguments(p, node))
        return NULL;
    node->a = callee;
    return node;
}

static struct vs_tp_node *subscribed(struct parser *p)
{
    uint32_t line = p->token.line;
    struct vs_tp_node *first = NULL;
    if (!is_op(p, ":")) {
        first = expression(p, true);
        if (!first || !is_op(p, ":"))
            return first;
    }
    struct vs_tp_node *node = new_node(p, VS_TP_N_SLICE, line);
    if (!node)
        return NULL;
    advance(p);
    node->a = first;
    if (!is_op(p, ":") && !is_op(p, "]") && !is_op(p, ",") && !(node->b = expression(p, true)))
        return NULL;
    if (skip_op(p, ":") && !is_op(p, "]") && !is_op(p, ",") && !(node->c = expression(p, true)))
        return NULL;
    return p->status == VS_OK ? node : NULL;
}

static struct vs_tp_node *subscript(struct parser *p, struct vs_tp_node *object)
{
    uint32_t line = p->token.line;
    if (skip_op(p, ".")) {
        bool is_attr = is_kind(p, VS_TP_NAME);
        if (!is_attr && !is_kind(p, VS_TP_INTEGER))
            return unexpected(p, "a name or a number");
        struct vs_tp_node *node = new_node(p, is_attr ? VS_TP_N_GETATTR : VS_TP_N_GETITEM, line);
        if (!node)
            return NULL;
        node->a = object;
        if (is_attr)
            node->name = take_name(p);
        else
            node->b = number(p);
        return p->status == VS_OK ? node : NULL;
    }
    advance(p);
    struct vs_tp_node *node = new_node(p, VS_TP_N_GETITEM, line);
    struct vs_tp_node *items = new_node(p, VS_TP_N_TUPLE, line);
    if (!node || !items)
        return NULL;
    node->a = object;
    while (p->status == VS_OK && !is_op(p, "]")) {
        if (items->list.n && !expect_op(p, ","))
            return NULL;
        if (!add(p, &items->list, subscribed(p)))
            return NULL;
    }
    if (!expect_op(p, "]"))
        return NULL;
    node->b = items->list.n == 1 ? items->list.at[0] : items;
    return node;
}

/* Chains of postfixes make deep trees without brackets: they have a bound of their own. */
static bool chain_ok(struct parser *p, unsigned *n)
{
    if (++*n <= MAX_POSTFIX)
        return true;
    fail(p, VS_E_LIMIT, p->token.line, "too long a chain of attributes, calls and filters", "", 0);
    return false;
}

static struct vs_tp_node *postfix(struct parser *p, struct vs_tp_node *node, unsigned *n)
{
    while (node && p->status == VS_OK) {
        if (is_op(p, ".") || is_op(p, "["))
            node = subscript(p, node);
        else if (is_op(p, "("))
            node = call(p, node);
        else
            return node;
        if (!chain_ok(p, n))
            return NULL;
    }
    return NULL;
}

/* The name of a filter or test, dots included. */
static struct vs_tp_str *dotted(struct parser *p)
{
    struct vs_tp_str *name = take_name(p);
    while (name && skip_op(p, ".")) {
        struct vs_tp_str *part = take_name(p);
        char *s = part ? vs_tp_alloc(p->arena, name->n + part->n + 1) : NULL;
        if (!s)
            return part ? no_memory(p) : NULL;
        memcpy(s, name->s, name->n);
        s[name->n] = '.';
        memcpy(s + name->n + 1, part->s, part->n);
        name = new_str(p, s, name->n + part->n + 1);
    }
    return name;
}

/* One filter; the token is its name. */
static struct vs_tp_node *filter(struct parser *p, struct vs_tp_node *subject)
{
    struct vs_tp_node *node = new_node(p, VS_TP_N_FILTER, p->token.line);
    if (!node)
        return NULL;
    node->a = subject;
    node->name = dotted(p);
    if (!node->name || (is_op(p, "(") && !arguments(p, node)))
        return NULL;
    return p->status == VS_OK ? node : NULL;
}

static struct vs_tp_node *filters(struct parser *p, struct vs_tp_node *subject, bool inline_start)
{
    unsigned n = 0;
    while (p->status == VS_OK && (inline_start || is_op(p, "|"))) {
        if (!inline_start)
            advance(p);
        subject = filter(p, subject);
        if (!subject || !chain_ok(p, &n))
            return NULL;
        inline_start = false;
    }
    return p->status == VS_OK ? subject : NULL;
}

static struct vs_tp_node *test(struct parser *p, struct vs_tp_node *subject)
{
    struct vs_tp_node *node = new_node(p, VS_TP_N_TEST, p->token.line);
    if (!node)
        return NULL;
    advance(p);
    node->a = subject;
    node->negated = skip_name(p, "not");
    node->name = dotted(p);
    if (!node->name)
        return NULL;
    if (is_op(p, "(")) {
        if (!arguments(p, node))
            return NULL;
    } else if ((is_kind(p, VS_TP_NAME) || is_kind(p, VS_TP_STRING) || is_kind(p, VS_TP_INTEGER) || is_kind(p, VS_TP_FLOATING) ||
                is_op(p, "[") || is_op(p, "{")) &&
               !is_name(p, "else") && !is_name(p, "or") && !is_name(p, "and")) {
        if (is_name(p, "is"))
            return fail(p, VS_E_MALFORMED, p->token.line, "tests can't be chained with `is`", "", 0);
        unsigned n = 0;
        struct vs_tp_node *argument = primary(p, false);
        if (!add(p, &node->list, postfix(p, argument, &n)))
            return NULL;
    }
    return p->status == VS_OK ? node : NULL;
}

static struct vs_tp_node *filter_or_test(struct parser *p, struct vs_tp_node *node, unsigned *n)
{
    while (node && p->status == VS_OK) {
        if (is_op(p, "|")) {
            advance(p);
            node = filter(p, node);
        } else if (is_name(p, "is")) {
            node = test(p, node);
        } else if (is_op(p, "(")) {
            node = call(p, node);
        } else {
            return node;
        }
        if (!chain_ok(p, n))
            return NULL;
    }
    return NULL;
}

static struct vs_tp_node *unary(struct parser *p, bool with_filter)
{
    uint32_t line = p->token.line;
    struct vs_tp_node *node;
    unsigned n = 0;
    if (is_op(p, "-") || is_op(p, "+")) {
        node = new_node(p, is_op(p, "-") ? VS_TP_N_NEG : VS_TP_N_POS, line);
        if (!node || !deeper(p))
            return NULL;
        advance(p);
        node->a = unary(p, false);
        p->depth--;
        if (!node->a)
            return NULL;
    } else {
        node = primary(p, false);
    }
    node = postfix(p, node, &n);
    return with_filter ? filter_or_test(p, node, &n) : node;
}

static struct vs_tp_node *unary_operand(struct parser *p)
{
    return unary(p, true);
}

static struct vs_tp_node *negation(struct parser *p);

/* Binary operators from the tightest level to the loosest. What stands between the operators of a level is `operand`, or an
 * expression of the level before. All operands of one level become one node. */
enum { POWER, PRODUCT, CONCATENATION, SUM, COMPARISON, CONJUNCTION, DISJUNCTION };

static const struct level {
    enum vs_tp_node_kind kind;
    struct vs_tp_node *(*operand)(struct parser *p);
    struct { const char *spelling; uint8_t op; } operators[9];
} levels[] = {
    [POWER] = { VS_TP_N_ARITH, unary_operand, { { "**", VS_TP_POW } } },
    [PRODUCT] = { VS_TP_N_ARITH, NULL, { { "*", VS_TP_MUL }, { "/", VS_TP_DIV }, { "//", VS_TP_FLOORDIV }, { "%", VS_TP_MOD } } },
    [CONCATENATION] = { VS_TP_N_CONCAT, NULL, { { "~", 0 } } },
    [SUM] = { VS_TP_N_ARITH, NULL, { { "+", VS_TP_ADD }, { "-", VS_TP_SUB } } },
    [COMPARISON] = { VS_TP_N_COMPARE, NULL,
                     { { "==", VS_TP_EQ }, { "!=", VS_TP_NE }, { "<", VS_TP_LT }, { "<=", VS_TP_LE }, { ">", VS_TP_GT },
                       { ">=", VS_TP_GE }, { "in", VS_TP_IN }, { "not in", VS_TP_NOT_IN } } },
    [CONJUNCTION] = { VS_TP_N_AND, negation, { { "and", 0 } } },
    [DISJUNCTION] = { VS_TP_N_OR, NULL, { { "or", 0 } } },
};

static bool skip_operator(struct parser *p, const char *spelling)
{
    if (*spelling < 'a' || *spelling > 'z')
        return skip_op(p, spelling);
    if (strcmp(spelling, "not in") != 0)
        return skip_name(p, spelling);
    if (!is_name(p, "not") || !token_is_name(look(p), "in"))
        return false;
    advance(p);
    advance(p);
    return true;
}

/* The operator of the level at the current token, taken; -1 for none. */
static int take_operator(struct parser *p, const struct level *level)
{
    for (size_t i = 0; level->operators[i].spelling; i++)
        if (skip_operator(p, level->operators[i].spelling))
            return level->operators[i].op;
    return -1;
}

static struct vs_tp_node *chain(struct parser *p, int of)
{
    const struct level *level = &levels[of];
    uint32_t line = p->token.line;
    struct vs_tp_node *first = level->operand ? level->operand(p) : chain(p, of - 1), *node = NULL;
    size_t cap = 0;
    for (int op; first && p->status == VS_OK && (op = take_operator(p, level)) >= 0;) {
        if (!node) {
            node = new_node(p, level->kind, line);
            if (!node || !add(p, &node->list, first))
                return NULL;
        }
        size_t n = node->list.n;
        if (n >= cap) {
            uint8_t *ops = vs_tp_realloc(p->arena, node->op, cap, n * 2 + 8);
            if (!ops)
                return no_memory(p);
            node->op = ops;
            cap = n * 2 + 8;
        }
        node->op[n] = (uint8_t)op;
        if (!add(p, &node->list, level->operand ? level->operand(p) : chain(p, of - 1)))
            return NULL;
    }
    return p->status == VS_OK ? (node ? node : first) : NULL;
}

static struct vs_tp_node *negation(struct parser *p)
{
    if (!is_name(p, "not"))
        return chain(p, COMPARISON);
    struct vs_tp_node *node = new_node(p, VS_TP_N_NOT, p->token.line);
    if (!node || !deeper(p))
        return NULL;
    advance(p);
    node->a = negation(p);
    p->depth--;
    return node->a ? node : NULL;
}

static struct vs_tp_node *disjunction(struct parser *p)
{
    return chain(p, DISJUNCTION);
}

static struct vs_tp_node *condition(struct parser *p)
{
    uint32_t line = p->token.line;
    unsigned n = 0;
    struct vs_tp_node *value = disjunction(p);
    while (value && skip_name(p, "if")) {
        struct vs_tp_node *node = new_node(p, VS_TP_N_COND, line);
        if (!node || !chain_ok(p, &n))
            return NULL;
        node->a = value;
        node->b = disjunction(p);
        if (!node->b || (skip_name(p, "else") && !(node->c = expression(p, true))))
            return NULL;
        value = node;
        line = p->token.line;
    }
    return p->status == VS_OK ? value : NULL;
}

static struct vs_tp_node *expression(struct parser *p, bool with_condition)
{
    if (!deeper(p))
        return NULL;
    struct vs_tp_node *node = with_condition ? condition(p) : disjunction(p);
    p->depth--;
    return node;
}

/* ---- statements --------------------------------------------------------------------------------------------- */

static bool mark_target(struct parser *p, struct vs_tp_node *node, int context)
{
    if (node->kind == VS_TP_N_NAME || node->kind == VS_TP_N_NSREF) {
        node->context = (uint8_t)context;
        return true;
    }
    if (node->kind != VS_TP_N_TUPLE) {
        fail(p, VS_E_MALFORMED, node->line, "can't assign to this", "", 0);
        return false;
    }
    for (size_t i = 0; i < node->list.n; i++)
        if (!mark_target(p, node->list.at[i], context))
            return false;
    return true;
}

static struct vs_tp_node *target(struct parser *p, bool with_namespace, const char *end)
{
    struct vs_tp_node *node = tuple(p, (struct tuple_rules){ .simplified = true, .with_condition = true,
                                                             .with_namespace = with_namespace, .end = end });
    return node && mark_target(p, node, VS_TP_STORE) ? node : NULL;
}

static struct vs_tp_node *target_name(struct parser *p, int context)
{
    struct vs_tp_node *node = name_or_constant(p, false);
    return node && mark_target(p, node, context) ? node : NULL;
}

static bool block(struct parser *p, struct vs_tp_nodes *body, const char *const *ends, size_t *ret_which);

/* A body up to one of `ends`, whose number is returned; the end word itself is taken. SIZE_MAX after a failure. */
static size_t statements(struct parser *p, struct vs_tp_nodes *body, const char *const *ends)
{
    size_t which = SIZE_MAX;
    skip_op(p, ":");
    if (!deeper(p))
        return SIZE_MAX;
    if (!expect_kind(p, VS_TP_BLOCK_END, "'%}'") || !block(p, body, ends, &which))
        which = SIZE_MAX;
    p->depth--;
    return which;
}

static struct vs_tp_node *set_statement(struct parser *p, uint32_t line)
{
    struct vs_tp_node *to = target(p, true, NULL);
    if (!to)
        return NULL;
    bool is_block = !is_op(p, "=");
    struct vs_tp_node *node = new_node(p, is_block ? VS_TP_N_SET_BLOCK : VS_TP_N_SET, line);
    if (!node)
        return NULL;
    node->a = to;
    if (!is_block) {
        advance(p);
        node->b = tuple(p, (struct tuple_rules){ .with_condition = true });
        return node->b ? node : NULL;
    }
    static const char *const ends[] = { "endset", NULL };
    node->b = filters(p, NULL, false);
    return statements(p, &node->body, ends) == SIZE_MAX ? NULL : node;
}

static struct vs_tp_node *for_statement(struct parser *p, uint32_t line)
{
    struct vs_tp_node *node = new_node(p, VS_TP_N_FOR, line);
    if (!node || !(node->a = target(p, false, "in")))
        return NULL;
    if (!skip_name(p, "in"))
        return unexpected(p, "'in'");
    node->b = tuple(p, (struct tuple_rules){ .end = "recursive" });
    if (!node->b || (skip_name(p, "if") && !(node->c = expression(p, true))))
        return NULL;
    if (is_name(p, "recursive"))
        return fail(p, VS_E_UNSUPPORTED, line, "a recursive `for` is not supported", "", 0);
    static const char *const ends[] = { "endfor", "else", NULL }, *const last[] = { "endfor", NULL };
    p->loops++;
    size_t which = statements(p, &node->body, ends);
    p->loops--;
    if (which == 1)
        which = statements(p, &node->other, last);
    return which == SIZE_MAX ? NULL : node;
}

static struct vs_tp_node *if_statement(struct parser *p, uint32_t line)
{
    static const char *const ends[] = { "endif", "else", "elif", NULL }, *const last[] = { "endif", NULL };
    struct vs_tp_node *node = new_node(p, VS_TP_N_IF, line);
    size_t which = 2, cap = 0;
    while (node && which == 2) {
        size_t n = node->more.n;
        if (!add(p, &node->more, tuple(p, (struct tuple_rules){ 0 })))
            return NULL;
        if (n == cap) {
            struct vs_tp_nodes *bodies = vs_tp_realloc(p->arena, node->bodies, cap * sizeof *bodies, (n * 2 + 2) * sizeof *bodies);
            if (!bodies)
                return no_memory(p);
            node->bodies = bodies;
            cap = n * 2 + 2;
        }
        node->bodies[n] = (struct vs_tp_nodes){ 0 };
        which = statements(p, &node->bodies[n], ends);
    }
    if (which == 1)
        which = statements(p, &node->other, last);
    return which == SIZE_MAX ? NULL : node;
}

static bool signature(struct parser *p, struct vs_tp_node *macro)
{
    if (!expect_op(p, "("))
        return false;
    while (p->status == VS_OK && !is_op(p, ")")) {
        if (macro->list.n && !expect_op(p, ","))
            return false;
        if (!add(p, &macro->list, target_name(p, VS_TP_PARAM)))
            return false;
        if (skip_op(p, "=")) {
            if (!add(p, &macro->more, expression(p, true)))
                return false;
        } else if (macro->more.n) {
            fail(p, VS_E_MALFORMED, p->token.line, "a parameter without default follows one with default", "", 0);
            return false;
        }
    }
    return expect_op(p, ")");
}

/* The body of a macro runs by itself: loops around it don't count. */
static bool macro_body(struct parser *p, struct vs_tp_node *macro, const char *const *ends)
{
    unsigned loops = p->loops;
    p->loops = 0;
    size_t which = statements(p, &macro->body, ends);
    p->loops = loops;
    return which != SIZE_MAX;
}

static struct vs_tp_node *macro_statement(struct parser *p, uint32_t line)
{
    static const char *const ends[] = { "endmacro", NULL };
    struct vs_tp_node *node = new_node(p, VS_TP_N_MACRO, line);
    struct vs_tp_node *name = node ? target_name(p, VS_TP_STORE) : NULL;
    if (!name)
        return NULL;
    node->name = name->name;
    return signature(p, node) && macro_body(p, node, ends) ? node : NULL;
}

static struct vs_tp_node *call_statement(struct parser *p, uint32_t line)
{
    static const char *const ends[] = { "endcall", NULL };
    struct vs_tp_node *node = new_node(p, VS_TP_N_CALL_BLOCK, line);
    struct vs_tp_node *macro = new_node(p, VS_TP_N_MACRO, line);
    if (!node || !macro || (is_op(p, "(") && !signature(p, macro)))
        return NULL;
    node->b = macro;
    node->a = expression(p, true);
    if (!node->a)
        return NULL;
    if (node->a->kind != VS_TP_N_CALL)
        return fail(p, VS_E_MALFORMED, line, "{% call %} needs a call", "", 0);
    return macro_body(p, macro, ends) ? node : NULL;
}

static struct vs_tp_node *generation_statement(struct parser *p, uint32_t line)
{
    static const char *const ends[] = { "endgeneration", NULL };
    struct vs_tp_node *node = new_node(p, VS_TP_N_GENERATION, line);
    struct vs_tp_node *macro = new_node(p, VS_TP_N_MACRO, line);
    if (!node || !macro || !macro_body(p, macro, ends))
        return NULL;
    node->b = macro;
    return node;
}

static struct vs_tp_node *filter_statement(struct parser *p, uint32_t line)
{
    static const char *const ends[] = { "endfilter", NULL };
    struct vs_tp_node *node = new_node(p, VS_TP_N_FILTER_BLOCK, line);
    if (!node || !(node->b = filters(p, NULL, true)))
        return NULL;
    return statements(p, &node->body, ends) == SIZE_MAX ? NULL : node;
}

static struct vs_tp_node *with_statement(struct parser *p, uint32_t line)
{
    static const char *const ends[] = { "endwith", NULL };
    struct vs_tp_node *node = new_node(p, VS_TP_N_WITH, line);
    while (node && p->status == VS_OK && !is_kind(p, VS_TP_BLOCK_END)) {
        if (node->list.n && !expect_op(p, ","))
            return NULL;
        struct vs_tp_node *to = target(p, false, NULL);
        if (!to || !mark_target(p, to, VS_TP_PARAM) || !add(p, &node->list, to))
            return NULL;
        if (!expect_op(p, "=") || !add(p, &node->more, expression(p, true)))
            return NULL;
    }
    if (!node || p->status != VS_OK)
        return NULL;
    return statements(p, &node->body, ends) == SIZE_MAX ? NULL : node;
}

static struct vs_tp_node *print_statement(struct parser *p, uint32_t line)
{
    struct vs_tp_node *node = new_node(p, VS_TP_N_OUTPUT, line);
    while (node && p->status == VS_OK && !is_kind(p, VS_TP_BLOCK_END)) {
        if (node->list.n && !expect_op(p, ","))
            return NULL;
        if (!add(p, &node->list, expression(p, true)))
            return NULL;
    }
    return p->status == VS_OK ? node : NULL;
}

static struct vs_tp_node *loop_control(struct parser *p, uint32_t line, enum vs_tp_node_kind kind)
{
    if (!p->loops)
        return fail(p, VS_E_MALFORMED, line, kind == VS_TP_N_BREAK ? "{% break %} outside a loop"
                    : "{% continue %} outside a loop", "", 0);
    return new_node(p, kind, line);
}

static struct vs_tp_node *break_statement(struct parser *p, uint32_t line)
{
    return loop_control(p, line, VS_TP_N_BREAK);
}

static struct vs_tp_node *continue_statement(struct parser *p, uint32_t line)
{
    return loop_control(p, line, VS_TP_N_CONTINUE);
}

static const struct {
    const char *name;
    struct vs_tp_node *(*parse)(struct parser *p, uint32_t line);     /* NULL: jinja2 has it, chat templates don't need it */
} tags[] = {
    { "set", set_statement },       { "if", if_statement },             { "for", for_statement },
    { "macro", macro_statement },   { "call", call_statement },         { "filter", filter_statement },
    { "with", with_statement },     { "print", print_statement },       { "generation", generation_statement },
    { "break", break_statement },   { "continue", continue_statement }, { "include", NULL },
    { "import", NULL },             { "from", NULL },                   { "extends", NULL },
    { "block", NULL },              { "autoescape", NULL },
};

/* The statement whose name is the current token. */
static struct vs_tp_node *statement(struct parser *p)
{
    struct vs_tp_token t = p->token;
    if (t.kind != VS_TP_NAME)
        return unexpected(p, "the name of a tag");
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++) {
        if (!token_is_name(&t, tags[i].name))
            continue;
        if (!tags[i].parse)
            return fail(p, VS_E_UNSUPPORTED, t.line, "this tag is not supported: ", t.s, t.n);
        advance(p);
        struct vs_tp_node *node = deeper(p) ? tags[i].parse(p, t.line) : NULL;
        if (node)
            p->depth--;
        return node;
    }
    return fail(p, VS_E_MALFORMED, t.line, "unknown tag: ", t.s, t.n);
}

/* Text and {{ }} in a row make one OUTPUT node. */
static struct vs_tp_node *output_node(struct parser *p, struct vs_tp_nodes *body, struct vs_tp_node **current)
{
    if (!*current) {
        *current = new_node(p, VS_TP_N_OUTPUT, p->token.line);
        if (!add(p, body, *current))
            return NULL;
    }
    return *current;
}

static bool block(struct parser *p, struct vs_tp_nodes *body, const char *const *ends, size_t *ret_which)
{
    struct vs_tp_node *output = NULL;
    while (p->status == VS_OK) {
        switch (p->token.kind) {
        case VS_TP_EOF:
            if (!ends)
                return true;
            fail(p, VS_E_MALFORMED, p->token.line, "the template ends before ", ends[0], strlen(ends[0]));
            return false;
        case VS_TP_DATA: {
            struct vs_tp_str *text = new_str(p, p->token.s, p->token.n);
            struct vs_tp_node *node = text ? constant(p, p->token.line, vs_tp_of_str(text)) : NULL;
            if (!node || !output_node(p, body, &output) || !add(p, &output->list, node))
                return false;
            advance(p);
            break;
        }
        case VS_TP_VAR_BEGIN: {
            if (!output_node(p, body, &output))
                return false;
            advance(p);
            if (!add(p, &output->list, tuple(p, (struct tuple_rules){ .with_condition = true })) ||
                !expect_kind(p, VS_TP_VAR_END, "'}}'"))
                return false;
            break;
        }
        case VS_TP_BLOCK_BEGIN:
            output = NULL;
            advance(p);
            for (size_t i = 0; ends && ends[i]; i++) {
                if (skip_name(p, ends[i])) {
                    *ret_which = i;
                    return p->status == VS_OK;
                }
            }
            if (!add(p, body, statement(p)) || !expect_kind(p, VS_TP_BLOCK_END, "'%}'"))
                return false;
            break;
        default:
            unexpected(p, "text or a tag");
            return false;
        }
    }
    return false;
}

int vs_tp_parse(struct vs_template *t, const char *source, size_t n, struct vs_error *err)
{
    if (n > MAX_SOURCE)
        return vs_error_set(err, VS_E_LIMIT, "template: %zu bytes of source; at most %d are read", n, MAX_SOURCE);
    size_t bad = vs_utf8_valid(source, n);
    if (bad < n)
        return vs_error_set(err, VS_E_MALFORMED, "template: invalid UTF-8 at byte %zu", bad);
    t->arena.cap = TREE_BYTES;
    struct parser p = { .arena = &t->arena, .err = err };
    int status = vs_tp_lexer_init(&p.lexer, &t->arena, source, n, err);
    if (status != VS_OK)
        return status;
    advance(&p);
    block(&p, &t->body, NULL, NULL);
    return p.status;
}
