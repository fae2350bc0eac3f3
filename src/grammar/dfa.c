/* grammar/dfa.c - deterministic automata over bytes, where texts have to be in several sets at once: a pattern and a format and a
 * length, all keys but those that are named, numbers within bounds.
 *
 * All are made in one way: states are keys of 64 bits, found one after the other from a start, a function and a byte.
 */
#include "grammar/internal.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_STATES = 100000, MAX_CELLS = 4 << 20 };
#define DEAD VS_DFA_DEAD

void vs_dfa_free(struct vs_dfa *d)
{
    if (!d)
        return;
    free(d->next);
    free(d->accepts);
    free(d);
}

uint32_t vs_dfa_step(const struct vs_dfa *d, uint32_t state, uint8_t byte)
{
    return d->next[(size_t)state * d->n_classes + d->class_of[byte]];
}

/* Ways that lead to no end are cut; an automaton that accepts nothing has no states. */
static void trim(struct vs_grammar *g, struct vs_dfa *d)
{
    bool *alive = calloc((size_t)d->n + 1, 1), changed = true;
    if (!alive) {
        vs_grammar_fail(g, VS_E_NOMEM, "out of memory");
        return;
    }
    memcpy(alive, d->accepts, d->n);
    while (changed && vs_grammar_work(g, d->n)) {            /* backwards: most automata run forwards through their numbers */
        changed = false;
        for (uint32_t s = d->n; s-- > 0;)
            for (unsigned c = 0; c < d->n_classes && !alive[s]; c++) {
                uint32_t to = d->next[(size_t)s * d->n_classes + c];
                if (to != VS_NOWHERE && alive[to])
                    alive[s] = changed = true;
            }
    }
    for (size_t i = 0; i < (size_t)d->n * d->n_classes; i++)
        if (d->next[i] != VS_NOWHERE && !alive[d->next[i]])
            d->next[i] = VS_NOWHERE;
    if (d->n && !alive[0])
        d->n = 0;
    free(alive);
}

static uint64_t mix(uint64_t key)
{
    key *= 0x9e3779b97f4a7c15u;
    return key ^ key >> 29;
}

struct making { uint64_t *key; uint32_t *slot, mask, cap; };

static bool enlarge(struct vs_grammar *g, struct making *m, struct vs_dfa *d)
{
    uint32_t cap = m->cap ? 2 * m->cap : 64;
    uint64_t *key = realloc(m->key, cap * sizeof *key);
    m->key = key ? key : m->key;
    uint32_t *next = realloc(d->next, (size_t)cap * d->n_classes * sizeof *next);
    d->next = next ? next : d->next;
    bool *accepts = realloc(d->accepts, cap);
    d->accepts = accepts ? accepts : d->accepts;
    free(m->slot);
    m->slot = malloc(2 * (size_t)cap * sizeof *m->slot);
    if (!key || !next || !accepts || !m->slot)
        return vs_grammar_fail(g, VS_E_NOMEM, "out of memory"), false;
    m->cap = cap;
    m->mask = 2 * cap - 1;
    memset(m->slot, 0xff, 2 * (size_t)cap * sizeof *m->slot);
    for (uint32_t i = 0; i < d->n; i++) {
        uint32_t at = (uint32_t)mix(m->key[i]) & m->mask;
        while (m->slot[at] != VS_NOWHERE)
            at = (at + 1) & m->mask;
        m->slot[at] = i;
    }
    return true;
}

static uint32_t number_of(struct vs_grammar *g, struct making *m, struct vs_dfa *d, uint64_t key)
{
    if (d->n == m->cap && !enlarge(g, m, d))
        return VS_NOWHERE;
    uint32_t at = (uint32_t)mix(key) & m->mask;
    for (; m->slot[at] != VS_NOWHERE; at = (at + 1) & m->mask)
        if (m->key[m->slot[at]] == key)
            return m->slot[at];
    if (d->n >= MAX_STATES || (size_t)d->n * d->n_classes >= MAX_CELLS) {
        vs_grammar_fail(g, VS_E_LIMIT, "the constraint is too large: what a text or number must be needs more than %u states",
                        d->n);
        return VS_NOWHERE;
    }
    m->slot[at] = d->n;
    m->key[d->n] = key;
    return d->n++;
}

struct vs_dfa *vs_dfa_make(struct vs_grammar *g, const bool cut[257], const struct vs_dfa_maker *maker)
{
    struct vs_dfa *d = calloc(1, sizeof *d);
    struct making m = { 0 };
    if (!d) {
        vs_grammar_fail(g, VS_E_NOMEM, "out of memory");
        return NULL;
    }
    uint8_t example[256];
    for (unsigned b = 0; b < 256; b++) {
        if (b == 0 || cut[b])
            example[d->n_classes++] = (uint8_t)b;
        d->class_of[b] = (uint8_t)(d->n_classes - 1);
    }
    number_of(g, &m, d, maker->start);
    for (uint32_t s = 0; s < d->n && vs_grammar_work(g, 2 * d->n_classes); s++) {
        bool own[257] = { 0 };
        uint32_t number = VS_NOWHERE;
        d->accepts[s] = maker->accepts(maker->context, m.key[s]);
        if (maker->cuts)
            maker->cuts(maker->context, m.key[s], own);
        for (unsigned c = 0; c < d->n_classes && g->err.code == VS_OK; c++) {
            if (c == 0 || !maker->cuts || own[example[c]]) {
                uint64_t to = maker->step(maker->context, m.key[s], example[c]);
                number = to == DEAD ? VS_NOWHERE : number_of(g, &m, d, to);
            }
            d->next[(size_t)s * d->n_classes + c] = number;
        }
    }
    free(m.key);
    free(m.slot);
    if (g->err.code == VS_OK)
        trim(g, d);
    if (g->err.code == VS_OK)
        return d;
    vs_dfa_free(d);
    return NULL;
}

/* ---- two at once ---- */

struct pair { const struct vs_dfa *a, *b; enum vs_dfa_both both; };

static uint64_t step_pair(void *context, uint64_t key, uint8_t byte)
{
    const struct pair *p = context;
    uint32_t a = (uint32_t)(key >> 32), b = (uint32_t)key;
    a = a == VS_NOWHERE ? a : vs_dfa_step(p->a, a, byte);
    b = b == VS_NOWHERE ? b : vs_dfa_step(p->b, b, byte);
    if (p->both == VS_DFA_AND ? a == VS_NOWHERE || b == VS_NOWHERE : a == VS_NOWHERE)
        return DEAD;
    return (uint64_t)a << 32 | b;
}

static bool accepts_pair(void *context, uint64_t key)
{
    const struct pair *p = context;
    uint32_t a = (uint32_t)(key >> 32), b = (uint32_t)key;
    bool in_b = b != VS_NOWHERE && p->b->accepts[b];
    return p->a->accepts[a] && in_b == (p->both == VS_DFA_AND);
}

static void add_cuts(const struct vs_dfa *d, bool cut[257])
{
    for (unsigned b = 1; b < 256; b++)
        cut[b] |= d->class_of[b] != d->class_of[b - 1];
}

struct vs_dfa *vs_dfa_both(struct vs_grammar *g, struct vs_dfa *a, struct vs_dfa *b, enum vs_dfa_both both)
{
    struct pair pair = { a, b, both };
    bool cut[257] = { 0 };
    struct vs_dfa *d = NULL;
    if (a && b && (a->n == 0 || (b->n == 0 && both == VS_DFA_AND_NOT))) {
        vs_dfa_free(b);
        return a;
    }
    if (a && b && b->n == 0) {
        vs_dfa_free(a);
        return b;
    }
    if (a && b) {
        const struct vs_dfa_maker maker = { 0, &pair, step_pair, accepts_pair, NULL };
        add_cuts(a, cut);
        add_cuts(b, cut);
        d = vs_dfa_make(g, cut, &maker);
    }
    vs_dfa_free(a);
    vs_dfa_free(b);
    return d;
}

/* ---- kinds ---- */

struct vs_dfa *vs_dfa_of_pattern(struct vs_grammar *g, const char *text, size_t n, bool searches)
{
    struct vs_grammar *scratch = vs_grammar_begin(g->v, g->use, g->check);
    struct vs_dfa *d = NULL;
    if (!scratch) {
        vs_grammar_fail(g, VS_E_NOMEM, "out of memory");
        return NULL;
    }
    uint32_t start = vs_place_add(scratch), end = vs_place_add(scratch);
    vs_regex_places(scratch, text, n, searches, start, end);
    if (scratch->err.code != VS_OK)
        vs_grammar_fail(g, scratch->err.code, "%s", scratch->err.text);
    else
        d = vs_dfa_of_places(g, scratch, start, end);
    vs_grammar_free(scratch);
    return d;
}

struct vs_dfa *vs_dfa_of_texts(struct vs_grammar *g, const char *const *text, const size_t *n, size_t n_texts)
{
    struct vs_grammar *scratch = vs_grammar_begin(g->v, g->use, g->check);
    struct vs_dfa *d = NULL;
    if (!scratch) {
        vs_grammar_fail(g, VS_E_NOMEM, "out of memory");
        return NULL;
    }
    uint32_t start = vs_place_add(scratch), end = vs_place_add(scratch);
    for (size_t i = 0; i < n_texts; i++)
        vs_edge_text(scratch, start, text[i], n[i], end);
    if (scratch->err.code != VS_OK)
        vs_grammar_fail(g, scratch->err.code, "%s", scratch->err.text);
    else
        d = vs_dfa_of_places(g, scratch, start, end);
    vs_grammar_free(scratch);
    return d;
}

struct length { uint64_t low, high; };

static uint64_t step_length(void *context, uint64_t key, uint8_t byte)
{
    const struct length *l = context;
    if (byte >= 0x80 && byte < 0xc0)
        return key;
    if (key == l->high)
        return DEAD;
    return l->high == UINT64_MAX && key == l->low ? key : key + 1;
}

static bool accepts_length(void *context, uint64_t key)
{
    return key >= ((const struct length *)context)->low;
}

struct vs_dfa *vs_dfa_of_length(struct vs_grammar *g, uint64_t low, uint64_t high)
{
    struct length l = { low, high };
    const struct vs_dfa_maker maker = { 0, &l, step_length, accepts_length, NULL };
    bool cut[257] = { [0x80] = true, [0xc0] = true };
    return vs_dfa_make(g, cut, &maker);
}

/* ---- into places ---- */

/* A place for each state. The first of them; VS_NOWHERE: no memory, or no states. */
static uint32_t lay(struct vs_grammar *g, const struct vs_dfa *d, uint32_t from, uint32_t to)
{
    uint32_t first = g->n_places;
    for (uint32_t s = 0; s < d->n; s++)
        vs_place_add(g);
    if (d->n == 0 || g->err.code != VS_OK)
        return VS_NOWHERE;
    vs_edge_empty(g, from, first);
    for (uint32_t s = 0; s < d->n; s++)
        if (d->accepts[s])
            vs_edge_empty(g, first + s, to);
    return first;
}

/* Edges for the bytes of state s that `takes`, neighbours together. */
static void add_ranges(struct vs_grammar *g, const struct vs_dfa *d, uint32_t s, uint32_t first, bool (*takes)(unsigned byte))
{
    unsigned lo = 0;
    uint32_t last = VS_NOWHERE;
    for (unsigned b = 0; b <= 256; b++) {
        uint32_t to = b < 256 && takes(b) ? vs_dfa_step(d, s, (uint8_t)b) : VS_NOWHERE;
        if (to == last && b < 256)
            continue;
        if (last != VS_NOWHERE)
            vs_edge_bytes(g, first + s, lo, b - 1, first + last);
        last = to;
        lo = b;
    }
}

static bool takes_all(unsigned byte)
{
    (void)byte;
    return true;
}

void vs_dfa_emit(struct vs_grammar *g, const struct vs_dfa *d, uint32_t from, uint32_t to)
{
    uint32_t first = lay(g, d, from, to);
    for (uint32_t s = 0; first != VS_NOWHERE && s < d->n && g->err.code == VS_OK; s++)
        add_ranges(g, d, s, first, takes_all);
}

/* Does plain text, whatever it is, lead from the state to free ones only? */
static bool stays_free(const struct vs_dfa *d, const bool *is_free, uint32_t s)
{
    for (unsigned b = 0x20; b < 0x80; b++) {
        uint32_t to = vs_is_plain(b) ? vs_dfa_step(d, s, (uint8_t)b) : s;
        if (to == VS_NOWHERE || !is_free[to])
            return false;
    }
    for (size_t i = 0; i < VS_UTF8_SHAPES; i++)
        for (unsigned b = vs_utf8_shape[i].lo; b <= vs_utf8_shape[i].hi; b++) {
            uint32_t at = vs_dfa_step(d, s, (uint8_t)b);
            for (unsigned k = 0; k < vs_utf8_shape[i].n && at != VS_NOWHERE; k++) {
                unsigned lo = k ? 0x80 : vs_utf8_shape[i].second_lo, hi = k ? 0xbf : vs_utf8_shape[i].second_hi;
                uint32_t next = vs_dfa_step(d, at, (uint8_t)lo);
                for (unsigned c = lo; c <= hi; c++)
                    next = vs_dfa_step(d, at, (uint8_t)c) == next ? next : VS_NOWHERE;
                at = next;
            }
            if (at == VS_NOWHERE || !is_free[at])
                return false;
        }
    return true;
}

/* Places from which any plain text may follow. Where continuation bytes differ a state counts as not free, though it may be. */
static void mark_free(struct vs_grammar *g, const struct vs_dfa *d, uint32_t first)
{
    bool *is_free = malloc((size_t)d->n + 1), changed = true;
    if (!is_free) {
        vs_grammar_fail(g, VS_E_NOMEM, "out of memory");
        return;
    }
    memset(is_free, true, d->n);
    while (changed && vs_grammar_work(g, 64 * (uint64_t)d->n)) {
        changed = false;
        for (uint32_t s = d->n; s-- > 0;)
            if (is_free[s] && !stays_free(d, is_free, s)) {
                is_free[s] = false;
                changed = true;
            }
    }
    for (uint32_t s = 0; s < d->n && g->err.code == VS_OK; s++) {
        g->place[first + s].run = is_free[s] ? UINT32_MAX : 0;
        g->place[first + s].group = first + 1;
    }
    free(is_free);
}

static bool takes_plain(unsigned byte)
{
    return vs_is_plain(byte);
}

static uint32_t escape_place(struct vs_grammar *g, uint32_t from, uint32_t *io_place)
{
    if (*io_place == VS_NOWHERE) {
        *io_place = vs_place_add(g);
        vs_edge_bytes(g, from, '\\', '\\', *io_place);
    }
    return *io_place;
}

static void add_hex(struct vs_grammar *g, uint32_t from, unsigned digit, uint32_t to)
{
    if (digit < 10) {
        vs_edge_bytes(g, from, '0' + digit, '0' + digit, to);
        return;
    }
    vs_edge_bytes(g, from, 'a' + digit - 10, 'a' + digit - 10, to);
    vs_edge_bytes(g, from, 'A' + digit - 10, 'A' + digit - 10, to);
}

/* Where all that can't stand for itself leads to; VS_NOWHERE: to several states, or nowhere. */
static uint32_t only_escape(const struct vs_dfa *d, uint32_t s)
{
    uint32_t to = vs_dfa_step(d, s, '"');
    bool same = vs_dfa_step(d, s, '\\') == to && vs_dfa_step(d, s, '/') == to;
    for (unsigned c = 0; c < 0x20; c++)
        same &= vs_dfa_step(d, s, (uint8_t)c) == to;
    return same ? to : VS_NOWHERE;
}

/* What can't stand for itself in a string. shared[s]: the place behind the backslash of states whose escapes all lead to s. */
static void add_escapes(struct vs_grammar *g, const struct vs_dfa *d, uint32_t s, uint32_t first, uint32_t *shared)
{
    static const char shorts[] = "\"\"\\\\b\bf\fn\nr\rt\t//";
    uint32_t escape = VS_NOWHERE, half[2] = { VS_NOWHERE, VS_NOWHERE }, only = only_escape(d, s);
    if (only != VS_NOWHERE && shared[only] != VS_NOWHERE) {
        vs_edge_bytes(g, first + s, '\\', '\\', shared[only]);
        return;
    }
    for (size_t i = 0; i + 1 < sizeof shorts; i += 2) {
        uint32_t to = vs_dfa_step(d, s, (uint8_t)shorts[i + 1]);
        if (to == VS_NOWHERE || (shorts[i] == '/' && g->use == VS_GRAMMAR_WRITES))
            continue;
        escape_place(g, first + s, &escape);
        vs_edge_bytes(g, escape, (uint8_t)shorts[i], (uint8_t)shorts[i], first + to);
    }
    for (unsigned c = 0; c < 0x20 && g->err.code == VS_OK; c++) {
        uint32_t to = vs_dfa_step(d, s, (uint8_t)c);
        if (to == VS_NOWHERE || (c && strchr("\b\f\n\r\t", (int)c)))
            continue;
        if (half[c / 16] == VS_NOWHERE) {
            uint32_t zero = vs_place_add(g);
            half[c / 16] = vs_place_add(g);
            vs_edge_text(g, escape_place(g, first + s, &escape), "u00", 3, zero);
            add_hex(g, zero, c / 16, half[c / 16]);
        }
        add_hex(g, half[c / 16], c % 16, first + to);
    }
    if (only != VS_NOWHERE)
        shared[only] = escape;
}

void vs_dfa_emit_string(struct vs_grammar *g, const struct vs_dfa *d, uint32_t from, uint32_t to)
{
    uint32_t first = lay(g, d, from, to), *shared = malloc(((size_t)d->n + 1) * sizeof *shared);
    if (!shared)
        vs_grammar_fail(g, VS_E_NOMEM, "out of memory");
    else
        memset(shared, 0xff, d->n * sizeof *shared);
    for (uint32_t s = 0; first != VS_NOWHERE && s < d->n && g->err.code == VS_OK; s++) {
        add_ranges(g, d, s, first, takes_plain);
        add_escapes(g, d, s, first, shared);
    }
    if (first != VS_NOWHERE && g->err.code == VS_OK)
        mark_free(g, d, first);
    free(shared);
}
