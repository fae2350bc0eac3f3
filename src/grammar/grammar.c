/* grammar/grammar.c - rules as they are built, and what is computed of them once: costs, left recursion, classes of bytes.
 *
 * The cost of a place is the number of bytes of the shortest way to the end of its rule (Knuth 1977, "A generalization of
 * Dijkstra's
 * algorithm": the cost of a call is that of the rule and what follows). A place that has no such way is never entered.
 */
#include "grammar/internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- building ---- */

int vs_grammar_fail(struct vs_grammar *g, int code, const char *format, ...)
{
    if (g->err.code != VS_OK)
        return g->err.code;
    va_list args;
    va_start(args, format);
    vsnprintf(g->err.text, sizeof g->err.text, format, args);
    va_end(args);
    return g->err.code = code;
}

bool vs_grammar_work(struct vs_grammar *g, uint64_t units)
{
    int r = vs_check_work(g->check, units);
    g->spent += units;
    if (r != VS_OK)
        vs_grammar_fail(g, r, "%s", vs_status_text(r));
    else if (g->spent > VS_MAX_SPENT)
        vs_grammar_fail(g, VS_E_LIMIT, "the constraint is too large: it takes too long to compile");
    return g->err.code == VS_OK;
}

/* Room for one more of size bytes; false: err is set. */
static bool grow(struct vs_grammar *g, void *array, uint32_t n, uint32_t *cap, size_t size)
{
    void *old, *new;
    if (g->err.code != VS_OK)
        return false;
    if (n < *cap)
        return true;
    memcpy(&old, array, sizeof old);
    uint32_t more = *cap ? 2 * *cap : 64;
    new = realloc(old, more * size);
    if (!new)
        return vs_grammar_fail(g, VS_E_NOMEM, "out of memory"), false;
    memcpy(array, &new, sizeof new);
    *cap = more;
    return true;
}

uint32_t vs_place_add(struct vs_grammar *g)
{
    if (g->n_places >= VS_MAX_PLACES)
        vs_grammar_fail(g, VS_E_LIMIT, "the constraint is too large: it needs more than %d states", VS_MAX_PLACES);
    if (!vs_grammar_work(g, 8) || !grow(g, &g->place, g->n_places, &g->cap_places, sizeof *g->place))
        return 0;
    g->place[g->n_places] = (struct vs_place){ .first = VS_NOWHERE, .best = VS_NOWHERE, .cost = VS_COST_NEVER };
    return g->n_places++;
}

static void add_edge(struct vs_grammar *g, uint32_t from, const struct vs_edge *edge)
{
    if (g->n_edges >= VS_MAX_EDGES)
        vs_grammar_fail(g, VS_E_LIMIT, "the constraint is too large: it needs more than %d transitions", VS_MAX_EDGES);
    if (!vs_grammar_work(g, 8) || !grow(g, &g->edge, g->n_edges, &g->cap_edges, sizeof *g->edge))
        return;
    struct vs_edge *e = &g->edge[g->n_edges];
    *e = *edge;
    e->next = g->place[from].first;
    g->place[from].first = g->n_edges++;
    g->place[from].n++;
}

void vs_edge_empty(struct vs_grammar *g, uint32_t from, uint32_t to)
{
    add_edge(g, from, &(struct vs_edge){ .kind = VS_EDGE_EMPTY, .to = to, .rule = VS_NOWHERE });
}

void vs_edge_assert(struct vs_grammar *g, uint32_t from, enum vs_edge_kind kind, uint32_t rule, uint32_t to)
{
    add_edge(g, from, &(struct vs_edge){ .kind = (uint8_t)kind, .to = to, .rule = rule });
}

void vs_edge_bytes(struct vs_grammar *g, uint32_t from, unsigned lo, unsigned hi, uint32_t to)
{
    add_edge(g, from, &(struct vs_edge){ .kind = VS_EDGE_BYTES, .to = to, .rule = VS_NOWHERE, .lo = (uint8_t)lo,
                                         .hi = (uint8_t)hi });
}

void vs_edge_call(struct vs_grammar *g, uint32_t from, uint32_t rule, uint32_t to)
{
    add_edge(g, from, &(struct vs_edge){ .kind = VS_EDGE_CALL, .to = to, .rule = rule });
}

void vs_edge_text(struct vs_grammar *g, uint32_t from, const char *text, size_t n, uint32_t to)
{
    if (n == 0)
        vs_edge_empty(g, from, to);
    for (size_t i = 0; i < n && g->err.code == VS_OK; i++) {
        uint32_t next = i + 1 == n ? to : vs_place_add(g);
        vs_edge_bytes(g, from, (uint8_t)text[i], (uint8_t)text[i], next);
        from = next;
    }
}

const struct vs_utf8_shape vs_utf8_shape[VS_UTF8_SHAPES] = {
    { 0xc2, 0xdf, 0x80, 0xbf, 1 }, { 0xe0, 0xe0, 0xa0, 0xbf, 2 }, { 0xe1, 0xec, 0x80, 0xbf, 2 }, { 0xed, 0xed, 0x80, 0x9f, 2 },
    { 0xee, 0xef, 0x80, 0xbf, 2 }, { 0xf0, 0xf0, 0x90, 0xbf, 3 }, { 0xf1, 0xf3, 0x80, 0xbf, 3 }, { 0xf4, 0xf4, 0x80, 0x8f, 3 },
};

/* The first bytes of the characters that were added last, and where each leads: what begins alike goes the same way. So does what
 * ends alike, with n bytes of any kind: full[n], 0 where it is not there yet. */
struct prefix { uint8_t byte[3]; uint32_t place[3]; unsigned n; uint32_t full[4]; };

static uint32_t full_tail(struct vs_grammar *g, unsigned n, uint32_t to, struct prefix *before)
{
    if (n == 0)
        return to;
    if (!before->full[n]) {
        uint32_t behind = full_tail(g, n - 1, to, before);
        before->full[n] = vs_place_add(g);
        vs_edge_bytes(g, before->full[n], 0x80, 0xbf, behind);
    }
    return before->full[n];
}

/* Characters of n bytes: the ranges of their bytes are split until each is a product of ranges. */
static void add_utf8(struct vs_grammar *g, uint32_t from, uint32_t lo, uint32_t hi, unsigned n, uint32_t to, struct prefix *before)
{
    static const uint8_t mark[] = { 0, 0, 0xc0, 0xe0, 0xf0 };
    for (unsigned i = 1; i < n; i++) {
        uint32_t tail = (1u << 6 * i) - 1;
        if ((lo & ~tail) == (hi & ~tail))
            continue;
        if (lo & tail) {
            add_utf8(g, from, lo, lo | tail, n, to, before);
            add_utf8(g, from, (lo | tail) + 1, hi, n, to, before);
            return;
        }
        if ((hi & tail) != tail) {
            add_utf8(g, from, lo, (hi & ~tail) - 1, n, to, before);
            add_utf8(g, from, hi & ~tail, hi, n, to, before);
            return;
        }
    }
    unsigned depth = 0, alike = before->n;
    for (unsigned i = n; i-- > 0; depth++) {
        unsigned first = n == 1 ? 0 : i + 1 == n ? mark[n] : 0x80, bits = i + 1 == n ? 0xff : 0x3f;
        unsigned a = first | (lo >> 6 * i & bits), b = first | (hi >> 6 * i & bits);
        if (depth < alike && a == b && i && before->byte[depth] == a) {
            from = before->place[depth];
            continue;
        }
        alike = 0;
        before->n = before->n < depth ? before->n : depth;
        uint32_t tail = (1u << 6 * i) - 1;
        bool is_full = (lo & tail) == 0 && (hi & tail) == tail;
        uint32_t next = is_full ? full_tail(g, i, to, before) : vs_place_add(g);
        vs_edge_bytes(g, from, a, b, next);
        if (is_full)
            return;
        if (a == b && before->n == depth) {
            before->byte[depth] = (uint8_t)a;
            before->place[before->n++] = next;
        }
        from = next;
    }
}

static void add_chars(struct vs_grammar *g, uint32_t from, uint32_t lo, uint32_t hi, uint32_t to, struct prefix *before)
{
    static const struct { uint32_t lo, hi; unsigned n; } sizes[] = {
        { 0, 0x7f, 1 }, { 0x80, 0x7ff, 2 }, { 0x800, 0xd7ff, 3 }, { 0xe000, 0xffff, 3 }, { 0x10000, 0x10ffff, 4 },
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint32_t a = lo > sizes[i].lo ? lo : sizes[i].lo, b = hi < sizes[i].hi ? hi : sizes[i].hi;
        if (a <= b)
            add_utf8(g, from, a, b, sizes[i].n, to, before);
    }
}

void vs_edge_chars(struct vs_grammar *g, uint32_t from, uint32_t lo, uint32_t hi, uint32_t to)
{
    add_chars(g, from, lo, hi, to, &(struct prefix){ .n = 0 });
}

uint32_t vs_rule_add(struct vs_grammar *g, const char *name, size_t n_name)
{
    if (!grow(g, &g->rule, g->n_rules, &g->cap_rules, sizeof *g->rule))
        return 0;
    struct vs_rule rule = { .name = name ? strndup(name, n_name) : NULL };
    rule.start = vs_place_add(g);
    rule.end = vs_place_add(g);
    if (g->err.code != VS_OK || (name && !rule.name)) {
        free(rule.name);
        vs_grammar_fail(g, VS_E_NOMEM, "out of memory");
        return 0;
    }
    g->place[rule.end].is_end = true;
    g->rule[g->n_rules] = rule;
    return g->n_rules++;
}

/* ---- ranges of characters ---- */

bool vs_ranges_add(struct vs_grammar *g, struct vs_ranges *r, uint32_t lo, uint32_t hi)
{
    if (r->n == r->cap) {
        size_t cap = r->cap ? 2 * r->cap : 8;
        struct vs_range *v = realloc(r->v, cap * sizeof *v);
        if (!v)
            return vs_grammar_fail(g, VS_E_NOMEM, "out of memory"), false;
        r->v = v;
        r->cap = cap;
    }
    r->v[r->n++] = (struct vs_range){ lo, hi };
    return true;
}

static int by_lo(const void *a, const void *b)
{
    const struct vs_range *x = a, *y = b;
    return x->lo < y->lo ? -1 : x->lo > y->lo;
}

/* Sorted, and none touches the next. */
static void tidy(struct vs_ranges *r)
{
    size_t n = 0;
    if (r->n)
        qsort(r->v, r->n, sizeof *r->v, by_lo);
    for (size_t i = 0; i < r->n; i++) {
        if (n && r->v[i].lo <= r->v[n - 1].hi + 1)
            r->v[n - 1].hi = r->v[i].hi > r->v[n - 1].hi ? r->v[i].hi : r->v[n - 1].hi;
        else
            r->v[n++] = r->v[i];
    }
    r->n = n;
}

bool vs_ranges_invert(struct vs_grammar *g, struct vs_ranges *r)
{
    struct vs_ranges other = { 0 };
    uint32_t at = 0;
    bool ok = true;
    tidy(r);
    for (size_t i = 0; i < r->n && ok; i++) {
        if (r->v[i].lo > at)
            ok = vs_ranges_add(g, &other, at, r->v[i].lo - 1);
        at = r->v[i].hi + 1;
    }
    if (ok && at <= 0x10ffff)
        ok = vs_ranges_add(g, &other, at, 0x10ffff);
    free(r->v);
    *r = other;
    return ok;
}

void vs_ranges_edges(struct vs_grammar *g, struct vs_ranges *r, uint32_t from, uint32_t to)
{
    struct prefix before = { .n = 0 };
    tidy(r);
    for (size_t i = 0; i < r->n && g->err.code == VS_OK; i++)
        add_chars(g, from, r->v[i].lo, r->v[i].hi, to, &before);
}

/* ---- finishing ---- */

/* Edges of a place become neighbours, in the order in which they were added. An edge to a place that only goes on elsewhere goes
 * there at once, so that a call at the end of a rule is seen to be the last. */
static bool lay_out(struct vs_grammar *g)
{
    struct vs_edge *edge = malloc((g->n_edges + 1) * sizeof *edge);
    uint32_t *forward = malloc((g->n_places + 1) * sizeof *forward), n = 0;
    if (!edge || !forward) {
        free(edge);
        free(forward);
        return false;
    }
    for (uint32_t p = 0; p < g->n_places; p++) {
        uint32_t to = p;
        for (int hops = 0; hops < 16 && g->place[to].n == 1 && !g->place[to].is_end
                           && g->edge[g->place[to].first].kind == VS_EDGE_EMPTY; hops++)
            to = g->edge[g->place[to].first].to;
        forward[p] = to;
    }
    for (uint32_t p = 0; p < g->n_places; p++) {
        struct vs_place *at = &g->place[p];
        uint32_t end = n + at->n;
        for (uint32_t e = at->first, i = end; e != VS_NOWHERE; e = g->edge[e].next) {
            edge[--i] = g->edge[e];
            edge[i].to = forward[edge[i].to];
        }
        at->first = n;
        n = end;
    }
    free(forward);
    free(g->edge);
    g->edge = edge;
    g->cap_edges = g->n_edges + 1;
    return true;
}

/* Plain text from a free place leads to free places of the same automaton, which are neighbours; a counted one gets cheaper. */
static void bound_runs(struct vs_grammar *g)
{
    for (uint32_t p = 0; p < g->n_places; p++) {
        uint32_t end = p;
        g->place[p].run_cost = g->place[p].cost;
        while (end < g->n_places && g->place[p].run == UINT32_MAX && g->place[end].group == g->place[p].group)
            end++;
        uint32_t most = 0;
        for (uint32_t i = p; i < end; i++)
            most = g->place[i].run == UINT32_MAX && g->place[i].cost > most ? g->place[i].cost : most;
        for (uint32_t i = p; i < end; i++)
            g->place[i].run_cost = g->place[i].run == UINT32_MAX ? most : g->place[i].cost;
        p = end > p ? end - 1 : p;
    }
}

static void classify(struct vs_grammar *g)
{
    bool cut[257] = { [0] = true };
    for (uint32_t i = 0; i < g->n_edges; i++)
        if (g->edge[i].kind == VS_EDGE_BYTES)
            cut[g->edge[i].lo] = cut[g->edge[i].hi + 1] = true;
    g->n_classes = 0;
    for (unsigned b = 0; b < 256; b++) {
        if (cut[b])
            g->example[g->n_classes++] = (uint8_t)b;
        g->class_of[b] = (uint8_t)(g->n_classes - 1);
    }
    for (uint32_t p = 0; p < g->n_places; p++)
        for (uint32_t e = 0; e < g->place[p].n; e++) {
            const struct vs_edge *edge = &g->edge[g->place[p].first + e];
            if (edge->kind != VS_EDGE_BYTES)
                continue;
            g->place[p].has_bytes = true;
            for (unsigned b = edge->lo; b <= edge->hi; b++)
                g->place[p].reads_plain |= vs_is_plain(b);
        }
}

/* A heap of places by cost, the least on top; a place may be in it several times. */
struct heap { uint64_t *v; size_t n, cap; };

static bool heap_push(struct heap *h, uint64_t v)
{
    if (h->n == h->cap) {
        size_t cap = h->cap ? 2 * h->cap : 256;
        uint64_t *more = realloc(h->v, cap * sizeof *more);
        if (!more)
            return false;
        h->v = more;
        h->cap = cap;
    }
    size_t i = h->n++;
    for (; i && h->v[(i - 1) / 2] > v; i = (i - 1) / 2)
        h->v[i] = h->v[(i - 1) / 2];
    h->v[i] = v;
    return true;
}

static uint64_t heap_pop(struct heap *h)
{
    uint64_t top = h->v[0], v = h->v[--h->n];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < h->n; i = child) {
        child += child + 1 < h->n && h->v[child + 1] < h->v[child];
        if (v <= h->v[child])
            break;
        h->v[i] = h->v[child];
    }
    h->v[i] = v;
    return top;
}

/* Who leads to what: edges by the place that they go to, and calls by their rule. */
struct backward { uint32_t *into, *into_first, *call, *call_first, *from; };

static bool turn_round(const struct vs_grammar *g, struct backward *b)
{
    b->into = malloc((g->n_edges + 1) * sizeof *b->into);
    b->into_first = calloc(g->n_places + 2, sizeof *b->into_first);
    b->call = malloc((g->n_edges + 1) * sizeof *b->call);
    b->call_first = calloc(g->n_rules + 2, sizeof *b->call_first);
    b->from = malloc((g->n_edges + 1) * sizeof *b->from);
    if (!b->into || !b->into_first || !b->call || !b->call_first || !b->from)
        return false;
    for (uint32_t p = 0; p < g->n_places; p++)
        for (uint32_t e = 0; e < g->place[p].n; e++)
            b->from[g->place[p].first + e] = p;
    for (uint32_t e = 0; e < g->n_edges; e++) {
        b->into_first[g->edge[e].to + 2]++;
        if (g->edge[e].kind == VS_EDGE_CALL)
            b->call_first[g->edge[e].rule + 2]++;
    }
    for (uint32_t p = 0; p < g->n_places; p++)
        b->into_first[p + 2] += b->into_first[p + 1];
    for (uint32_t r = 0; r < g->n_rules; r++)
        b->call_first[r + 2] += b->call_first[r + 1];
    for (uint32_t e = 0; e < g->n_edges; e++) {
        b->into[b->into_first[g->edge[e].to + 1]++] = e;
        if (g->edge[e].kind == VS_EDGE_CALL)
            b->call[b->call_first[g->edge[e].rule + 1]++] = e;
    }
    return true;
}

static void backward_clear(struct backward *b)
{
    free(b->into);
    free(b->into_first);
    free(b->call);
    free(b->call_first);
    free(b->from);
}

static uint32_t byte_cost(const struct vs_grammar *g, const struct vs_edge *e)
{
    for (unsigned b = e->lo; b <= e->hi; b++)
        if (g->v->spells[b])
            return 1;
    return VS_COST_RARE;
}

static uint32_t edge_cost(const struct vs_grammar *g, const struct vs_edge *e)
{
    uint64_t cost = g->place[e->to].cost;
    if (e->kind == VS_EDGE_BYTES)
        cost += byte_cost(g, e);
    else if (e->kind == VS_EDGE_CALL)
        cost += g->place[g->rule[e->rule].start].cost;
    return cost < VS_COST_NEVER ? (uint32_t)cost : VS_COST_NEVER;
}

/* The edge may be a shorter way for its place. */
static bool try_edge(struct vs_grammar *g, struct heap *h, uint32_t from, uint32_t e)
{
    uint32_t cost = edge_cost(g, &g->edge[e]);
    struct vs_place *p = &g->place[from];
    if (cost >= p->cost)
        return true;
    p->cost = cost;
    p->best = e;
    return heap_push(h, (uint64_t)cost << 32 | from);
}

static uint16_t height_of(const struct vs_grammar *g, const struct vs_place *p)
{
    if (p->best == VS_NOWHERE)
        return 0;
    const struct vs_edge *e = &g->edge[p->best];
    unsigned height = g->place[e->to].height, called = 0;
    if (e->kind == VS_EDGE_CALL)
        called = 1u + g->place[g->rule[e->rule].start].height;
    height = called > height ? called : height;
    return (uint16_t)(height < UINT16_MAX ? height : UINT16_MAX);
}

static int compute_costs(struct vs_grammar *g)
{
    struct backward b = { 0 };
    struct heap h = { 0 };
    uint32_t *rule_of = malloc((g->n_places + 1) * sizeof *rule_of);
    bool *done = calloc(g->n_places + 1, sizeof *done), ok = rule_of && done && turn_round(g, &b);
    for (uint32_t p = 0; ok && p < g->n_places; p++) {
        rule_of[p] = VS_NOWHERE;
        if (g->place[p].is_end) {
            g->place[p].cost = 0;
            ok = heap_push(&h, p);
        }
    }
    for (uint32_t r = 0; ok && r < g->n_rules; r++)
        rule_of[g->rule[r].start] = r;
    while (ok && h.n && vs_grammar_work(g, 16)) {
        uint32_t p = (uint32_t)heap_pop(&h), r = rule_of[p];
        if (done[p])
            continue;
        done[p] = true;
        g->place[p].height = height_of(g, &g->place[p]);
        for (uint32_t i = b.into_first[p]; i < b.into_first[p + 1] && ok; i++) {
            const struct vs_edge *e = &g->edge[b.into[i]];
            if (e->kind != VS_EDGE_CALL || done[g->rule[e->rule].start])
                ok = try_edge(g, &h, b.from[b.into[i]], b.into[i]);
        }
        for (uint32_t i = r == VS_NOWHERE ? 0 : b.call_first[r]; r != VS_NOWHERE && i < b.call_first[r + 1] && ok; i++)
            if (done[g->edge[b.call[i]].to])
                ok = try_edge(g, &h, b.from[b.call[i]], b.call[i]);
        if (!vs_grammar_work(g, b.into_first[p + 1] - b.into_first[p]))
            break;
    }
    free(h.v);
    free(done);
    free(rule_of);
    backward_clear(&b);
    return ok ? g->err.code : vs_grammar_fail(g, VS_E_NOMEM, "out of memory");
}

/* Where one may be without having read a byte: an edge that is followed so, or VS_NOWHERE. *is_push: it opens a rule. */
static uint32_t silent(const struct vs_grammar *g, uint32_t place, uint32_t i, bool *is_push)
{
    const struct vs_edge *e = &g->edge[g->place[place].first + i / 2];
    *is_push = false;
    if (e->kind == VS_EDGE_EMPTY)
        return i % 2 ? VS_NOWHERE : e->to;
    if (e->kind == VS_EDGE_BYTES)
        return VS_NOWHERE;
    uint32_t start = g->rule[e->rule].start;
    *is_push = i % 2 == 0;
    return i % 2 == 0 ? start : g->place[start].cost == 0 ? e->to : VS_NOWHERE;
}

/* Tarjan's strongly connected components over silent edges: one with an opening inside would open rules for ever. */
static int refuse_left_recursion(struct vs_grammar *g)
{
    uint32_t n = g->n_places, counter = 0, n_stack = 0, n_calls = 0;
    uint32_t *order = calloc(n + 1, sizeof *order), *low = calloc(n + 1, sizeof *low);
    uint32_t *component = calloc(n + 1, sizeof *component);
    uint32_t *stack = malloc((n + 1) * sizeof *stack), *call = malloc((n + 1) * sizeof *call), *next = calloc(n + 1, sizeof *next);
    bool ok = order && low && component && stack && call && next;
    for (uint32_t root = 0; ok && root < n; root++) {
        if (order[root] || !vs_grammar_work(g, 4))
            continue;
        call[n_calls++] = root;
        order[root] = low[root] = ++counter;
        stack[n_stack++] = root;
        while (n_calls && vs_grammar_work(g, 4)) {
            uint32_t p = call[n_calls - 1];
            bool is_push;
            if (next[p] < 2 * g->place[p].n) {
                uint32_t to = silent(g, p, next[p]++, &is_push);
                if (to == VS_NOWHERE)
                    continue;
                if (!order[to]) {
                    order[to] = low[to] = ++counter;
                    stack[n_stack++] = to;
                    call[n_calls++] = to;
                } else if (!component[to] && order[to] < low[p]) {
                    low[p] = order[to];
                }
                continue;
            }
            n_calls--;
            if (n_calls && low[p] < low[call[n_calls - 1]])
                low[call[n_calls - 1]] = low[p];
            if (low[p] != order[p])
                continue;
            do
                component[stack[--n_stack]] = p + 1;
            while (stack[n_stack] != p);
        }
    }
    for (uint32_t p = 0; ok && p < n && g->err.code == VS_OK; p++)
        for (uint32_t i = 0; i < 2 * g->place[p].n; i++) {
            bool is_push;
            uint32_t to = silent(g, p, i, &is_push);
            if (to == VS_NOWHERE || !is_push || component[to] != component[p])
                continue;
            const char *name = g->rule[g->edge[g->place[p].first + i / 2].rule].name;
            vs_grammar_fail(g, VS_E_UNSUPPORTED, "rule '%.100s' is left-recursive: it can begin with itself. Write it as a "
                                                 "repetition, "
                            "or with the recursion at the end", name ? name : "?");
            break;
        }
    free(order);
    free(low);
    free(component);
    free(stack);
    free(call);
    free(next);
    return ok ? g->err.code : vs_grammar_fail(g, VS_E_NOMEM, "out of memory");
}

bool vs_grammar_never(struct vs_grammar *g, uint32_t owner, uint32_t rule, char *text)
{
    if (!text || !grow(g, &g->never, g->n_never, &g->cap_never, sizeof *g->never)) {
        free(text);
        return vs_grammar_fail(g, VS_E_NOMEM, "out of memory"), false;
    }
    g->never[g->n_never++] = (struct vs_never){ owner, rule, text };
    return true;
}

/* What must allow nothing does, wherever an answer can come. */
static int check_never(struct vs_grammar *g)
{
    uint32_t *stack = malloc((g->n_places + 1) * sizeof *stack), n = 0;
    bool *seen = calloc(g->n_places + 1, 1);
    if (!stack || !seen) {
        free(stack);
        free(seen);
        return vs_grammar_fail(g, VS_E_NOMEM, "out of memory");
    }
    stack[n++] = g->rule[g->root].start;
    seen[stack[0]] = true;
    while (n && vs_grammar_work(g, 8)) {
        const struct vs_place *p = &g->place[stack[--n]];
        for (uint32_t e = 0; e < p->n; e++) {
            const struct vs_edge *edge = &g->edge[p->first + e];
            uint32_t next[2] = { edge->to, edge->kind == VS_EDGE_CALL ? g->rule[edge->rule].start : edge->to };
            bool open = g->place[next[0]].cost < VS_COST_NEVER && g->place[next[1]].cost < VS_COST_NEVER;
            for (int i = 0; i < 2 && open; i++)
                if (!seen[next[i]]) {
                    seen[next[i]] = true;
                    stack[n++] = next[i];
                }
        }
    }
    for (uint32_t i = 0; i < g->n_never && g->err.code == VS_OK; i++)
        if (seen[g->rule[g->never[i].owner].start] && g->place[g->rule[g->never[i].rule].start].cost < VS_COST_NEVER)
            g->overlaps = vs_grammar_fail(g, VS_E_UNSUPPORTED, "%s", g->never[i].text) != VS_OK;
    free(stack);
    free(seen);
    return g->err.code;
}

struct vs_grammar *vs_grammar_begin(const struct vs_vocabulary *v, enum vs_grammar_use use, struct vs_check *check)
{
    struct vs_grammar *g = calloc(1, sizeof *g);
    if (g) {
        g->v = v;
        g->use = use;
        g->check = check;
    }
    return g;
}

int vs_grammar_finish(struct vs_grammar *g, struct vs_error *err)
{
    if (g->err.code == VS_OK && !lay_out(g))
        vs_grammar_fail(g, VS_E_NOMEM, "out of memory");
    if (g->err.code == VS_OK) {
        classify(g);
        compute_costs(g);
        bound_runs(g);
    }
    if (g->err.code == VS_OK)
        refuse_left_recursion(g);
    if (g->err.code == VS_OK && g->use == VS_GRAMMAR_WRITES && g->place[g->rule[g->root].start].cost >= VS_COST_NEVER)
        vs_grammar_fail(g, VS_E_INVALID, "no answer can satisfy the constraint");
    if (g->err.code == VS_OK && g->n_never)
        check_never(g);
    g->check = NULL;
    if (g->err.code != VS_OK && err)
        *err = g->err;
    return g->err.code;
}

/* What would take too long for each token is refused before the first. */
static int refuse_wide(struct vs_grammar *g, struct vs_error *err)
{
    uint32_t n = 0;
    for (int moves_on = 0; moves_on < 2 && !n; moves_on++) {
        struct vs_matcher *m = NULL;
        if (vs_matcher_create(g, &m) != VS_OK)
            return vs_error_set(err, VS_E_NOMEM, "out of memory");
        n = vs_matcher_too_wide(m, moves_on);
        vs_matcher_free(m);
    }
    return !n ? VS_OK : vs_error_set(err, VS_E_LIMIT, "the constraint is too ambiguous: %u places of it can be the right one at "
                                     "once; repeat less within what is repeated", n);
}

int vs_grammar_give(struct vs_grammar *g, struct vs_grammar **ret, bool *ret_overlaps, struct vs_error *err)
{
    int r = vs_grammar_finish(g, err);
    *ret_overlaps = g->overlaps && !g->splits;
    if (r == VS_OK && g->use == VS_GRAMMAR_WRITES)
        r = refuse_wide(g, err);
    if (r == VS_OK)
        *ret = g;
    else
        vs_grammar_free(g);
    return r;
}

void vs_grammar_free(struct vs_grammar *g)
{
    if (!g)
        return;
    for (uint32_t i = 0; i < g->n_rules; i++)
        free(g->rule[i].name);
    for (uint32_t i = 0; i < g->n_never; i++)
        free(g->never[i].text);
    free(g->never);
    free(g->place);
    free(g->edge);
    free(g->rule);
    free(g);
}

uint32_t vs_grammar_size(const struct vs_grammar *g)
{
    return g->n_places;
}

/* ---- the front ends ---- */

static void add_choice(struct vs_grammar *g, const json_t *list, uint32_t from, uint32_t to)
{
    size_t i;
    const json_t *v;
    if (!json_is_array(list) || json_array_size(list) == 0) {
        vs_grammar_fail(g, VS_E_INVALID, "constraint.choice: a list of at least one string is needed");
        return;
    }
    json_array_foreach(list, i, v) {
        if (!json_is_string(v)) {
            vs_grammar_fail(g, VS_E_INVALID, "constraint.choice: entry %zu is not a string", i);
            return;
        }
        vs_edge_text(g, from, json_string_value(v), json_string_length(v), to);
    }
}

static void add_regex(struct vs_grammar *g, const json_t *v, uint32_t from, uint32_t to)
{
    if (json_is_string(v))
        vs_regex_add(g, json_string_value(v), json_string_length(v), from, to);
    else
        vs_grammar_fail(g, VS_E_INVALID, "constraint.regex: a string is needed");
}

static void add_gbnf(struct vs_grammar *g, const json_t *v, uint32_t from, uint32_t to)
{
    if (!json_is_string(v)) {
        vs_grammar_fail(g, VS_E_INVALID, "constraint.grammar: a string is needed");
        return;
    }
    uint32_t outer = g->root;
    vs_gbnf_add(g, json_string_value(v), json_string_length(v));
    if (g->err.code == VS_OK)
        vs_edge_call(g, from, g->root, to);
    g->root = outer;
}

static void add_object(struct vs_grammar *g, const json_t *v, uint32_t from, uint32_t to)
{
    if (!json_is_true(v)) {
        vs_grammar_fail(g, VS_E_INVALID, "constraint.json_object: only true is possible");
        return;
    }
    json_t *schema = json_pack("{s:s}", "type", "object");
    vs_schema_add(g, schema, from, to);
    json_decref(schema);
}

static const struct { const char *key; void (*add)(struct vs_grammar *, const json_t *, uint32_t, uint32_t); } kinds[] = {
    { "json_schema", vs_schema_add }, { "json_object", add_object }, { "regex", add_regex }, { "choice", add_choice },
    { "grammar", add_gbnf },
};

void vs_constraint_add(struct vs_grammar *g, const json_t *constraint, uint32_t from, uint32_t to)
{
    const json_t *or_calls = json_object_get(constraint, VS_OR_CALLS);
    size_t kind = sizeof kinds / sizeof *kinds;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (json_object_get(constraint, kinds[i].key))
            kind = i;
    if (json_object_size(constraint) != 1u + (or_calls != NULL) || kind == sizeof kinds / sizeof *kinds)
        vs_grammar_fail(g, VS_E_INVALID, "constraint: an object with exactly one of json_schema, json_object, regex, choice "
                        "and grammar is needed");
    else if (or_calls && !json_is_boolean(or_calls))
        vs_grammar_fail(g, VS_E_INVALID, "constraint.or_calls: true or false is needed");
    else if (g->err.code == VS_OK)
        kinds[kind].add(g, json_object_get(constraint, kinds[kind].key), from, to);
}

int vs_grammar_compile(const json_t *constraint, enum vs_grammar_use use, const struct vs_vocabulary *v, struct vs_check *check,
                       struct vs_grammar **ret, struct vs_error *err)
{
    bool splits = false;
    int r;
    do {
        struct vs_grammar *g = vs_grammar_begin(v, use, check);
        if (!g)
            return vs_error_set(err, VS_E_NOMEM, "out of memory");
        g->splits = splits;
        g->root = vs_rule_add(g, "root", 4);
        if (g->err.code == VS_OK)
            vs_constraint_add(g, constraint, g->rule[g->root].start, g->rule[g->root].end);
        r = vs_grammar_give(g, ret, &splits, err);
    } while (splits);
    return r;
}
