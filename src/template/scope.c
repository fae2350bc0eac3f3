/* template/scope.c - binds every name to a slot of a frame, by the rules of jinja2's compiler.
 *
 * A template, a loop, a macro, a block set, a filter block and `with` have a frame of their own; `if` has not. A name that
 * a frame mentions gets a slot there unless a frame outside already has it and it is only read. What the slot
 * holds on entry follows from how the name is first met: read -> the context's variable; assigned -> the outer value when
 * there is one, else nothing. So a variable that a frame assigns anywhere is its own from the start; branches of an
 * `if` are the exception, as only one of them runs. Tested against jinja2 rather than against intuition.
 */
#include "template/internal.h"

#include <string.h>

enum { MAX_SYMBOLS = 1000 };

struct binder {
    struct vs_tp_arena *arena;
    int status;
    struct vs_error *err;
};

static bool no_memory(struct binder *b)
{
    if (b->status == VS_OK)
        b->status = vs_error_set(b->err, b->arena->status, "template: too large");
    return false;
}

/* ---- symbols of one frame ----------------------------------------------------------------------------------- */

static struct vs_tp_symbol *find(struct vs_tp_scope *s, const struct vs_tp_str *name)
{
    for (size_t i = 0; i < s->n; i++)
        if (vs_tp_str_equal(s->symbol[i].name, name))
            return &s->symbol[i];
    return NULL;
}

static bool find_place(struct vs_tp_scope *s, const struct vs_tp_str *name, struct vs_tp_place *ret)
{
    for (uint32_t hops = 0; s; s = s->parent, hops++) {
        struct vs_tp_symbol *symbol = find(s, name);
        if (symbol) {
            *ret = (struct vs_tp_place){ hops, (uint32_t)(symbol - s->symbol) };
            return true;
        }
    }
    return false;
}

static struct vs_tp_symbol *define(struct binder *b, struct vs_tp_scope *s, struct vs_tp_str *name, enum vs_tp_load load)
{
    struct vs_tp_symbol *symbol = find(s, name);
    if (!symbol && s->n == MAX_SYMBOLS) {
        if (b->status == VS_OK)
            b->status = vs_error_set(b->err, VS_E_LIMIT, "template: more than %d names in one scope", MAX_SYMBOLS);
        return NULL;
    }
    if (!symbol) {
        if (s->n == s->cap) {
            size_t cap = s->cap ? s->cap * 2 : 8;
            struct vs_tp_symbol *grown = vs_tp_realloc(b->arena, s->symbol, s->n * sizeof *grown, cap * sizeof *grown);
            if (!grown) {
                no_memory(b);
                return NULL;
            }
            s->symbol = grown;
            s->cap = cap;
        }
        symbol = &s->symbol[s->n++];
        *symbol = (struct vs_tp_symbol){ .name = name };
    }
    symbol->load = (uint8_t)load;
    return symbol;
}

static void on_load(struct binder *b, struct vs_tp_scope *s, struct vs_tp_str *name)
{
    struct vs_tp_place place;
    if (!find_place(s, name, &place))
        define(b, s, name, VS_TP_LOAD_RESOLVE);
}

static void on_store(struct binder *b, struct vs_tp_scope *s, struct vs_tp_str *name)
{
    struct vs_tp_symbol *symbol = find(s, name);
    if (!symbol) {
        struct vs_tp_place outer;
        bool has_outer = s->parent && find_place(s->parent, name, &outer);
        symbol = define(b, s, name, has_outer ? VS_TP_LOAD_ALIAS : VS_TP_LOAD_UNDEFINED);
        if (symbol && has_outer)
            symbol->outer = outer;
    }
    if (symbol)
        symbol->stored = true;
}

static struct vs_tp_symbol *on_param(struct binder *b, struct vs_tp_scope *s, struct vs_tp_str *name)
{
    struct vs_tp_symbol *symbol = define(b, s, name, VS_TP_LOAD_PARAM);
    if (symbol)
        symbol->stored = true;
    return symbol;
}

static struct vs_tp_scope *new_scope(struct binder *b, struct vs_tp_scope *parent)
{
    struct vs_tp_scope *s = vs_tp_alloc_zero(b->arena, sizeof *s);
    if (!s)
        no_memory(b);
    else
        s->parent = parent;
    return s;
}

/* ---- which names a frame mentions --------------------------------------------------------------------------- */

static void analyze(struct binder *b, struct vs_tp_scope *s, const struct vs_tp_node *node);

static void analyze_list(struct binder *b, struct vs_tp_scope *s, const struct vs_tp_nodes *list)
{
    for (size_t i = 0; i < list->n && b->status == VS_OK; i++)
        analyze(b, s, list->at[i]);
}

static struct vs_tp_scope *copy(struct binder *b, const struct vs_tp_scope *s)
{
    struct vs_tp_scope *c = new_scope(b, s->parent);
    if (!c)
        return NULL;
    c->symbol = vs_tp_alloc(b->arena, (s->n + 4) * sizeof *c->symbol);
    if (!c->symbol) {
        no_memory(b);
        return NULL;
    }
    if (s->n)
        memcpy(c->symbol, s->symbol, s->n * sizeof *c->symbol);
    c->n = s->n;
    c->cap = s->n + 4;
    return c;
}

/* After branches of which one runs, s knows what all of them learnt; a name that only they store may also come through
 * unstored, so its slot starts as if it had been read. */
static void merge(struct binder *b, struct vs_tp_scope *s, struct vs_tp_scope *const *branch, size_t n)
{
    for (size_t k = 0; k < n; k++) {
        for (size_t i = 0; i < branch[k]->n && b->status == VS_OK; i++) {
            const struct vs_tp_symbol *learnt = &branch[k]->symbol[i];
            struct vs_tp_symbol *known = find(s, learnt->name);
            bool was_stored = known && known->stored;
            if (!known)
                known = define(b, s, learnt->name, learnt->load);
            if (!known)
                return;
            if (!learnt->stored || was_stored) {
                known->load = learnt->load;
                known->outer = learnt->outer;
                continue;
            }
            known->merged = true;
        }
    }
    for (size_t i = 0; i < s->n; i++) {
        struct vs_tp_symbol *symbol = &s->symbol[i];
        if (!symbol->merged)
            continue;
        bool has_outer = s->parent && find_place(s->parent, symbol->name, &symbol->outer);
        symbol->load = has_outer ? VS_TP_LOAD_ALIAS : VS_TP_LOAD_RESOLVE;
        symbol->stored = true;
        symbol->merged = false;
    }
}

static void analyze_if(struct binder *b, struct vs_tp_scope *s, const struct vs_tp_node *node)
{
    analyze(b, s, node->more.at[0]);
    struct vs_tp_scope *branch[3];
    for (int i = 0; i < 3; i++)
        if (!(branch[i] = copy(b, s)))
            return;
    analyze_list(b, branch[0], &node->bodies[0]);
    for (size_t i = 1; i < node->more.n && b->status == VS_OK; i++) {
        analyze(b, branch[1], node->more.at[i]);
        struct vs_tp_scope *body = copy(b, branch[1]);
        if (!body)
            return;
        analyze_list(b, body, &node->bodies[i]);
        merge(b, branch[1], &body, 1);
    }
    analyze_list(b, branch[2], &node->other);
    merge(b, s, branch, 3);
}

/* What node does to the symbols of the frame it lies in. Frames inside it are analyzed when they are bound. */
static void analyze(struct binder *b, struct vs_tp_scope *s, const struct vs_tp_node *node)
{
    if (!node || b->status != VS_OK)
        return;
    switch (node->kind) {
    case VS_TP_N_NAME:
        if (node->context == VS_TP_LOAD)
            on_load(b, s, node->name);
        else if (node->context == VS_TP_STORE)
            on_store(b, s, node->name);
        else
            on_param(b, s, node->name);
        return;
    case VS_TP_N_NSREF:
        on_load(b, s, node->name);
        return;
    case VS_TP_N_SET:
        analyze(b, s, node->b);
        analyze(b, s, node->a);
        return;
    case VS_TP_N_SET_BLOCK:
        analyze(b, s, node->a);
        return;
    case VS_TP_N_IF:
        analyze_if(b, s, node);
        return;
    case VS_TP_N_FOR:
        analyze(b, s, node->b);
        return;
    case VS_TP_N_MACRO:
        on_store(b, s, node->name);
        return;
    case VS_TP_N_CALL_BLOCK:
        analyze(b, s, node->a);
        return;
    case VS_TP_N_FILTER_BLOCK:
        analyze(b, s, node->b);
        return;
    case VS_TP_N_WITH:
        analyze_list(b, s, &node->more);
        return;
    case VS_TP_N_GENERATION:
        return;
    default:
        analyze(b, s, node->a);
        analyze(b, s, node->b);
        analyze(b, s, node->c);
        analyze_list(b, s, &node->list);
        analyze_list(b, s, &node->more);
        analyze(b, s, node->star);
        analyze(b, s, node->star_star);
    }
}

/* Targets of a loop are parameters of its frame. */
static void declare_targets(struct binder *b, struct vs_tp_scope *s, const struct vs_tp_node *target)
{
    if (target->kind == VS_TP_N_NAME)
        on_param(b, s, target->name);
    for (size_t i = 0; i < target->list.n; i++)
        declare_targets(b, s, target->list.at[i]);
}

/* ---- is a special name used in a body? ---------------------------------------------------------------------- */

struct mention { const char *name; bool found, hidden; };

static void mention(struct mention *m, const struct vs_tp_node *node);

static void mention_list(struct mention *m, const struct vs_tp_nodes *list)
{
    for (size_t i = 0; i < list->n && !m->found && !m->hidden; i++)
        mention(m, list->at[i]);
}

/* In the order of the source as jinja2 walks it: an assignment met first hides the special meaning. */
static void mention(struct mention *m, const struct vs_tp_node *node)
{
    if (!node || m->found || m->hidden)
        return;
    if (node->kind == VS_TP_N_NAME) {
        bool same = vs_tp_str_is(node->name, m->name);
        m->found = same && node->context == VS_TP_LOAD;
        m->hidden = same && !m->found;
        return;
    }
    mention(m, node->a);
    mention(m, node->b);
    if (node->kind != VS_TP_N_FOR)
        mention(m, node->c);
    mention_list(m, &node->list);
    if (node->kind == VS_TP_N_IF) {
        for (size_t i = 0; i < node->more.n; i++) {
            mention(m, node->more.at[i]);
            mention_list(m, &node->bodies[i]);
        }
    } else {
        mention_list(m, &node->more);
    }
    mention(m, node->star);
    mention(m, node->star_star);
    mention_list(m, &node->body);
    mention_list(m, &node->other);
    if (node->kind == VS_TP_N_FOR)
        mention(m, node->c);
}

static bool mentions(const struct vs_tp_nodes *body, const char *name)
{
    struct mention m = { .name = name };
    mention_list(&m, body);
    return m.found;
}

/* ---- binding ------------------------------------------------------------------------------------------------ */

static void bind(struct binder *b, struct vs_tp_scope *s, struct vs_tp_node *node, bool soft);

static void bind_list(struct binder *b, struct vs_tp_scope *s, const struct vs_tp_nodes *list, bool soft)
{
    for (size_t i = 0; i < list->n && b->status == VS_OK; i++)
        bind(b, s, list->at[i], soft);
}

static void bind_name(struct binder *b, struct vs_tp_scope *s, struct vs_tp_str *name, struct vs_tp_place *ret)
{
    on_load(b, s, name);                /* usually known by now */
    find_place(s, name, ret);
}

static void fail(struct binder *b, uint32_t line, const char *what, const struct vs_tp_str *name)
{
    if (b->status == VS_OK)
        b->status = vs_error_set(b->err, VS_E_MALFORMED, "template: line %u: %s%.*s", line, what,
                                 name ? (int)(name->n < 60 ? name->n : 60) : 0, name ? name->s : "");
}

/* Unknown filters and tests are found at once, unless a condition around them may keep them from running. */
static void bind_callable(struct binder *b, struct vs_tp_node *node, bool soft)
{
    bool is_filter = node->kind == VS_TP_N_FILTER;
    node->callable = is_filter ? vs_tp_filter_find(node->name) : vs_tp_test_find(node->name);
    if (!node->callable && !soft)
        fail(b, node->line, is_filter ? "there is no filter " : "there is no test ", node->name);
}

static bool stores_loop(const struct vs_tp_node *node);

static bool stores_loop_in(const struct vs_tp_nodes *list)
{
    for (size_t i = 0; i < list->n; i++)
        if (stores_loop(list->at[i]))
            return true;
    return false;
}

static bool stores_loop(const struct vs_tp_node *node)
{
    if (!node)
        return false;
    if (node->kind == VS_TP_N_NAME)
        return node->context == VS_TP_STORE && vs_tp_str_is(node->name, "loop");
    for (size_t i = 0; node->kind == VS_TP_N_IF && i < node->more.n; i++)
        if (stores_loop_in(&node->bodies[i]))
            return true;
    return stores_loop(node->a) || stores_loop(node->b) || stores_loop_in(&node->list) || stores_loop_in(&node->body) ||
           stores_loop_in(&node->other);
}

static void bind_for(struct binder *b, struct vs_tp_scope *s, struct vs_tp_node *node, bool soft)
{
    struct vs_tp_scope *body = new_scope(b, s), *other = new_scope(b, s), *test = new_scope(b, s);
    static const struct vs_tp_str loop = { .s = "loop", .n = 4, .n_chars = 4, .trusted = true };
    if (!body || !other || !test)
        return;
    if (!s->in_loop && stores_loop(node)) {
        fail(b, node->line, "can't assign to `loop` in a for loop", NULL);
        return;
    }
    node->scope = body;
    node->scope_b = other;
    node->scope_c = test;
    body->in_loop = true;
    bind(b, s, node->b, soft);
    declare_targets(b, body, node->a);
    declare_targets(b, test, node->a);
    node->simple = !mentions(&node->body, "loop");
    if (!node->simple) {
        struct vs_tp_str *name = vs_tp_alloc(b->arena, sizeof *name);
        if (!name) {
            no_memory(b);
            return;
        }
        *name = loop;
        struct vs_tp_symbol *symbol = on_param(b, body, name);
        if (symbol)
            node->place.slot = (uint32_t)(symbol - body->symbol);
    }
    analyze_list(b, body, &node->body);
    analyze_list(b, other, &node->other);
    analyze(b, test, node->c);
    bind(b, body, node->a, false);
    bind_list(b, body, &node->body, false);
    bind_list(b, other, &node->other, false);
    bind(b, test, node->c, false);
}

static int special_slot(struct binder *b, struct vs_tp_scope *s, const struct vs_tp_node *macro, const char *name)
{
    if (!mentions(&macro->body, name))
        return -1;
    struct vs_tp_str *str = vs_tp_alloc_zero(b->arena, sizeof *str);
    if (!str) {
        no_memory(b);
        return -1;
    }
    *str = (struct vs_tp_str){ .s = name, .n = strlen(name), .n_chars = strlen(name), .trusted = true };
    for (size_t i = 0; i < macro->list.n; i++)
        if (vs_tp_str_is(macro->list.at[i]->name, name))
            return -1;
    struct vs_tp_symbol *symbol = on_param(b, s, str);
    return symbol ? (int)(symbol - s->symbol) : -1;
}

static void bind_macro(struct binder *b, struct vs_tp_scope *s, struct vs_tp_node *node)
{
    struct vs_tp_scope *body = new_scope(b, s);
    if (!body)
        return;
    node->scope = body;
    analyze_list(b, body, &node->list);
    analyze_list(b, body, &node->more);
    analyze_list(b, body, &node->body);
    for (size_t i = 0; i < node->list.n; i++) {
        if (!vs_tp_str_is(node->list.at[i]->name, "caller"))
            continue;
        node->explicit_caller = true;
        if (mentions(&node->body, "caller") && i + node->more.n < node->list.n)
            fail(b, node->line, "the parameter `caller` needs a default", NULL);
    }
    node->caller = special_slot(b, body, node, "caller");
    node->kwargs = special_slot(b, body, node, "kwargs");
    node->varargs = special_slot(b, body, node, "varargs");
    bind_list(b, body, &node->list, false);
    bind_list(b, body, &node->more, false);
    bind_list(b, body, &node->body, false);
}

static void bind_body(struct binder *b, struct vs_tp_scope *s, struct vs_tp_node *node)
{
    struct vs_tp_scope *body = new_scope(b, s);
    if (!body)
        return;
    node->scope = body;
    body->in_loop = s->in_loop;
    if (node->kind == VS_TP_N_WITH)
        analyze_list(b, body, &node->list);
    analyze_list(b, body, &node->body);
    if (node->kind == VS_TP_N_FILTER_BLOCK)
        analyze(b, body, node->b);
    bind_list(b, body, &node->list, false);
    bind_list(b, body, &node->body, false);
    if (node->kind != VS_TP_N_WITH)
        bind(b, body, node->b, false);
}

static void bind(struct binder *b, struct vs_tp_scope *s, struct vs_tp_node *node, bool soft)
{
    if (!node || b->status != VS_OK)
        return;
    switch (node->kind) {
    case VS_TP_N_NAME:
    case VS_TP_N_NSREF:
        bind_name(b, s, node->name, &node->place);
        return;
    case VS_TP_N_IF:
        bind_list(b, s, &node->more, true);
        for (size_t i = 0; i < node->more.n; i++)
            bind_list(b, s, &node->bodies[i], true);
        bind_list(b, s, &node->other, true);
        return;
    case VS_TP_N_FOR:
        bind_for(b, s, node, soft);
        return;
    case VS_TP_N_MACRO:
        find_place(s, node->name, &node->place);
        bind_macro(b, s, node);
        return;
    case VS_TP_N_CALL_BLOCK:
        bind(b, s, node->a, soft);
        bind_macro(b, s, node->b);
        return;
    case VS_TP_N_GENERATION:
        bind_macro(b, s, node->b);
        return;
    case VS_TP_N_SET_BLOCK:
        bind(b, s, node->a, soft);
        bind_body(b, s, node);
        return;
    case VS_TP_N_FILTER_BLOCK:
        bind_body(b, s, node);
        return;
    case VS_TP_N_WITH:
        bind_list(b, s, &node->more, soft);
        bind_body(b, s, node);
        return;
    case VS_TP_N_FILTER:
    case VS_TP_N_TEST:
        bind_callable(b, node, soft);
        break;
    case VS_TP_N_COND:
        soft = true;
        break;
    default:
        break;
    }
    bind(b, s, node->a, soft);
    bind(b, s, node->b, soft);
    bind(b, s, node->c, soft);
    bind_list(b, s, &node->list, soft);
    bind_list(b, s, &node->more, soft);
    bind(b, s, node->star, soft);
    bind(b, s, node->star_star, soft);
}

int vs_tp_bind(struct vs_template *t, struct vs_error *err)
{
    struct binder b = { .arena = &t->arena, .err = err };
    t->scope = new_scope(&b, NULL);
    if (t->scope) {
        analyze_list(&b, t->scope, &t->body);
        bind_list(&b, t->scope, &t->body, false);
    }
    return b.status;
}
