/* grammar/subset.c - deterministic automata from places: a state is the set of places where a text may be.
 *
 * Where a regular expression looks ahead or behind, or asks for a boundary of words, a state has more parts ("looks"):
 *
 *     two flags       nothing was read yet; the last character is one of a word
 *     look-behinds    of each, where a text that ends here may be in it
 *     threads         places, each with the look-aheads that were begun on the way there and are not decided yet; of each of these,
 *                     where the text may be in it: threads again
 *
 * All are numbers of lists that are kept once. What needs no byte is followed when the next byte is known, or that there is none.
 */
#include "grammar/internal.h"

#include <stdlib.h>
#include <string.h>

#define DEAD VS_DFA_DEAD

/* ---- lists of numbers, each kept once ---- */

struct lists {
    uint32_t *v, *first;                 /* of list i: v[first[i] .. first[i + 1]) */
    uint32_t n, cap, n_v, cap_v;
    uint32_t *slot, mask;
};

static uint64_t hash_list(const uint32_t *v, uint32_t n)
{
    uint64_t h = n;
    for (uint32_t i = 0; i < n; i++) {
        h = (h ^ v[i]) * 0x9e3779b97f4a7c15u;
        h ^= h >> 29;
    }
    return h;
}

static bool enlarge(struct lists *l, uint32_t n)
{
    if (l->n_v + n > l->cap_v) {
        uint32_t cap = 2 * (l->n_v + n);
        uint32_t *v = realloc(l->v, cap * sizeof *v);
        if (!v)
            return false;
        l->v = v;
        l->cap_v = cap;
    }
    if (l->n + 1 < l->cap)
        return true;
    uint32_t cap = l->cap ? 2 * l->cap : 256;
    uint32_t *first = realloc(l->first, (cap + 1) * sizeof *first);
    l->first = first ? first : l->first;
    free(l->slot);
    l->slot = malloc(2 * (size_t)cap * sizeof *l->slot);
    if (!first || !l->slot)
        return false;
    l->first[0] = 0;
    l->cap = cap;
    l->mask = 2 * cap - 1;
    memset(l->slot, 0xff, 2 * (size_t)cap * sizeof *l->slot);
    for (uint32_t i = 0; i < l->n; i++) {
        uint32_t at = (uint32_t)hash_list(l->v + l->first[i], l->first[i + 1] - l->first[i]) & l->mask;
        while (l->slot[at] != VS_NOWHERE)
            at = (at + 1) & l->mask;
        l->slot[at] = i;
    }
    return true;
}

/* VS_NOWHERE: g has an error. v is not within the lists. */
static uint32_t number_of(struct vs_grammar *g, struct lists *l, const uint32_t *v, uint32_t n)
{
    enum { MOST = 16 << 20 };
    if (n > MOST || l->n_v + n > MOST) {
        vs_grammar_fail(g, VS_E_LIMIT, "the constraint is too large: its regular expression has too many states");
        return VS_NOWHERE;
    }
    if (!enlarge(l, n)) {
        vs_grammar_fail(g, VS_E_NOMEM, "out of memory");
        return VS_NOWHERE;
    }
    uint32_t at = (uint32_t)hash_list(v, n) & l->mask;
    for (; l->slot[at] != VS_NOWHERE; at = (at + 1) & l->mask) {
        uint32_t i = l->slot[at];
        if (l->first[i + 1] - l->first[i] == n && (n == 0 || memcmp(l->v + l->first[i], v, n * sizeof *v) == 0))
            return i;
    }
    if (n)
        memcpy(l->v + l->n_v, v, n * sizeof *v);
    l->n_v += n;
    l->slot[at] = l->n;
    l->first[++l->n] = l->n_v;
    return l->n - 1;
}

static void clear_lists(struct lists *l)
{
    free(l->v);
    free(l->first);
    free(l->slot);
}

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* Sorted, each once. */
static uint32_t sort_out(uint32_t *v, uint32_t n)
{
    uint32_t kept = 0;
    qsort(v, n, sizeof *v, by_number);
    for (uint32_t i = 0; i < n; i++)
        if (i == 0 || v[i] != v[kept - 1])
            v[kept++] = v[i];
    return kept;
}

/* ---- sets of places ---- */

struct sets {
    struct vs_grammar *g;                /* whose errors these are */
    const struct vs_grammar *of;
    uint32_t end;
    struct lists lists;                  /* a state is the number of one */
    uint32_t *list, n_list;              /* the set that is being made */
    uint32_t *seen, turn;
};

static void visit(struct sets *s, uint32_t place)
{
    if (s->seen[place] != s->turn) {
        s->seen[place] = s->turn;
        s->list[s->n_list++] = place;
    }
}

/* What is reached without a byte, at the beginning or (ends) at the end of the text. */
static void close_set(struct sets *s, bool begins, bool ends)
{
    for (uint32_t i = 0; i < s->n_list; i++) {
        uint32_t e = s->of->place[s->list[i]].first;
        for (; e != VS_NOWHERE; e = s->of->edge[e].next) {
            const struct vs_edge *edge = &s->of->edge[e];
            if (edge->kind == VS_EDGE_EMPTY || (begins && edge->kind == VS_EDGE_BEGIN) || (ends && edge->kind == VS_EDGE_END))
                visit(s, edge->to);
        }
    }
    vs_grammar_work(s->g, 4 * s->n_list);
}

static uint64_t number_of_set(struct sets *s)
{
    qsort(s->list, s->n_list, sizeof *s->list, by_number);
    uint32_t number = s->n_list ? number_of(s->g, &s->lists, s->list, s->n_list) : VS_NOWHERE;
    return number == VS_NOWHERE ? DEAD : number;
}

static void begin_set(struct sets *s)
{
    s->n_list = 0;
    s->turn++;
}

static uint64_t step_set(void *context, uint64_t key, uint8_t byte)
{
    struct sets *s = context;
    const struct lists *l = &s->lists;
    begin_set(s);
    for (uint32_t i = l->first[key]; i < l->first[key + 1]; i++)
        for (uint32_t e = s->of->place[l->v[i]].first; e != VS_NOWHERE; e = s->of->edge[e].next) {
            const struct vs_edge *edge = &s->of->edge[e];
            if (edge->kind == VS_EDGE_BYTES && byte >= edge->lo && byte <= edge->hi)
                visit(s, edge->to);
        }
    if (!vs_grammar_work(s->g, 4 * (l->first[key + 1] - l->first[key])))
        return DEAD;
    close_set(s, false, false);
    return number_of_set(s);
}

static void cuts_of_set(void *context, uint64_t key, bool cut[257])
{
    const struct sets *s = context;
    const struct lists *l = &s->lists;
    for (uint32_t i = l->first[key]; i < l->first[key + 1]; i++)
        for (uint32_t e = s->of->place[l->v[i]].first; e != VS_NOWHERE; e = s->of->edge[e].next)
            if (s->of->edge[e].kind == VS_EDGE_BYTES)
                cut[s->of->edge[e].lo] = cut[s->of->edge[e].hi + 1] = true;
}

/* At the end $ holds; where nothing was read ^ does too, also behind a $. */
static bool accepts_set(void *context, uint64_t key)
{
    struct sets *s = context;
    begin_set(s);
    for (uint32_t i = s->lists.first[key]; i < s->lists.first[key + 1]; i++)
        visit(s, s->lists.v[i]);
    close_set(s, key == 0, true);
    return s->seen[s->end] == s->turn;
}

static struct vs_dfa *of_sets(struct vs_grammar *g, const struct vs_grammar *of, uint32_t start, uint32_t end, const bool *cut)
{
    struct sets s = { .g = g, .of = of, .end = end };
    struct vs_dfa *d = NULL;
    s.list = malloc((of->n_places + 1) * sizeof *s.list);
    s.seen = calloc(of->n_places + 1, sizeof *s.seen);
    if (s.list && s.seen) {
        begin_set(&s);
        visit(&s, start);
        close_set(&s, true, false);
        const struct vs_dfa_maker maker = { number_of_set(&s), &s, step_set, accepts_set, cuts_of_set };
        if (g->err.code == VS_OK)
            d = vs_dfa_make(g, cut, &maker);
    } else {
        vs_grammar_fail(g, VS_E_NOMEM, "out of memory");
    }
    free(s.list);
    free(s.seen);
    clear_lists(&s.lists);
    return d;
}

/* ---- looks ---- */

enum { MAX_OPEN = 64, NONE = 0 };        /* look-aheads that one thread has begun; the number of the empty list */
enum { FLAG_BEGINS = 1, FLAG_WORD = 2 };
#define FOUND (VS_NOWHERE - 1)           /* of a look-ahead: it has matched; VS_NOWHERE: it never will */

/* What is known of the place between two characters, beside the flags: what comes is no character of a word, one, or nothing. */
enum next { NEXT_OTHER, NEXT_WORD, NEXT_END, N_NEXT };

/* In a list a thread is two numbers, its place and a list of its look-aheads: 2 x threads, + 1 where these must not match. Here it
 * is one that is followed. */
struct thread {
    uint32_t place, open;
    uint32_t before;                     /* the thread with the same place that was found before it; VS_NOWHERE */
};

/* What became of lists; valid in this turn. */
struct memo { uint32_t *to, *at, cap, turn; };

struct pushed { uint32_t *v, n, cap; };  /* pairs of numbers */

struct looks {
    struct vs_grammar *g;
    const struct vs_grammar *of;
    uint32_t end;
    bool has_words;                             /* some edge asks for a boundary of words */
    bool *is_goal;                              /* [places] the end of a look-ahead */
    uint32_t behind[VS_MAX_LOOKS], n_behind;    /* rules of look-behinds, inner ones first */
    struct lists lists;
    /* the state that is looked at */
    uint64_t key;
    uint32_t flags;
    bool is_held[N_NEXT], holds[N_NEXT][VS_MAX_LOOKS];          /* [rules] a look-behind matches what ends here */
    struct memo closed[N_NEXT];                 /* lists of threads, with all that they reach without a byte */
    struct memo stepped, cut;                   /* a byte later; its cuts are counted */
    /* threads that are followed: */
    struct thread *v;
    uint32_t n, cap;
    uint32_t *seen, *last, turn;                /* [places] turn of the last visit; its last thread */
    struct pushed next[VS_MAX_LOOKS + 2];       /* for each level of look-aheads in each other */
};

static bool is_word(unsigned c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || c == '_' || (c >= 'a' && c <= 'z');
}

static bool failed(const struct looks *m)
{
    return m->g->err.code != VS_OK;
}

static void no_memory(struct looks *m)
{
    vs_grammar_fail(m->g, VS_E_NOMEM, "out of memory");
}

/* NULL: not there, in this turn. */
static const uint32_t *recall(const struct memo *memo, uint32_t list)
{
    return list < memo->cap && memo->at[list] == memo->turn ? &memo->to[list] : NULL;
}

static void remember(struct looks *m, struct memo *memo, uint32_t list, uint32_t to)
{
    if (list >= memo->cap) {
        uint32_t cap = 2 * m->lists.n, *grown = realloc(memo->to, cap * sizeof *grown);
        memo->to = grown ? grown : memo->to;
        uint32_t *at = realloc(memo->at, cap * sizeof *at);
        memo->at = at ? at : memo->at;
        if (!grown || !at) {
            no_memory(m);
            return;
        }
        memset(at + memo->cap, 0, (cap - memo->cap) * sizeof *at);
        memo->cap = cap;
    }
    memo->to[list] = to;
    memo->at[list] = memo->turn;
}

static void push(struct looks *m, struct pushed *p, uint32_t place, uint32_t open)
{
    if (p->n == p->cap) {
        uint32_t cap = p->cap ? 2 * p->cap : 64, *v = realloc(p->v, 2 * (size_t)cap * sizeof *v);
        if (!v) {
            no_memory(m);
            return;
        }
        p->v = v;
        p->cap = cap;
    }
    p->v[2 * (size_t)p->n] = place;
    p->v[2 * (size_t)p->n++ + 1] = open;
}

static int by_pair(const void *a, const void *b)
{
    const uint32_t *x = a, *y = b;
    return x[0] != y[0] ? by_number(x, y) : by_number(x + 1, y + 1);
}

/* The number of the list of what was pushed: each pair once, and beside a thread without look-aheads no other of its place, as more
 * look-aheads allow nothing more. */
static uint32_t number_pushed(struct looks *m, struct pushed *p)
{
    uint32_t kept = 0;
    if (p->n)
        qsort(p->v, p->n, 2 * sizeof *p->v, by_pair);
    for (uint32_t i = 0; i < p->n; i++) {
        const uint32_t *one = p->v + 2 * (size_t)i, *before = kept ? p->v + 2 * (size_t)(kept - 1) : NULL;
        if (!before || before[0] != one[0] || (before[1] != one[1] && before[1] != NONE))
            memmove(p->v + 2 * (size_t)kept++, one, 2 * sizeof *one);
    }
    return vs_grammar_work(m->g, 4 * (uint64_t)p->n) ? number_of(m->g, &m->lists, p->v, 2 * kept) : VS_NOWHERE;
}

static void follow(struct looks *m, uint32_t place, uint32_t open)
{
    uint32_t before = m->seen[place] == m->turn ? m->last[place] : VS_NOWHERE;
    uint64_t n = 0;
    bool is_there = false;
    for (uint32_t i = before; i != VS_NOWHERE && !is_there; i = m->v[i].before, n++)
        is_there = m->v[i].open == open || m->v[i].open == NONE;
    if (!vs_grammar_work(m->g, n) || is_there)
        return;
    if (m->n == m->cap) {
        uint32_t cap = m->cap ? 2 * m->cap : 64;
        struct thread *v = realloc(m->v, cap * sizeof *v);
        if (!v) {
            no_memory(m);
            return;
        }
        m->v = v;
        m->cap = cap;
    }
    m->v[m->n] = (struct thread){ place, open, before };
    m->seen[place] = m->turn;
    m->last[place] = m->n++;
}

static uint32_t open_list(struct looks *m, uint32_t v[MAX_OPEN + 1], uint32_t n)
{
    vs_grammar_work(m->g, 4 * (uint64_t)n);
    n = sort_out(v, n);
    if (n > MAX_OPEN) {
        vs_grammar_fail(m->g, VS_E_LIMIT, "the constraint is too large: too many look-aheads of its regular expression at once");
        return NONE;
    }
    uint32_t number = number_of(m->g, &m->lists, v, n);
    return number == VS_NOWHERE ? NONE : number;
}

/* A look-ahead begins beside those that are open. */
static uint32_t with_look(struct looks *m, uint32_t open, uint32_t rule, bool negative)
{
    uint32_t v[MAX_OPEN + 1], n = m->lists.first[open + 1] - m->lists.first[open];
    const uint32_t begin[2] = { m->of->rule[rule].start, NONE };
    memcpy(v, m->lists.v + m->lists.first[open], n * sizeof *v);
    uint32_t list = number_of(m->g, &m->lists, begin, 2);
    if (list == VS_NOWHERE)
        return NONE;
    v[n] = 2 * list + negative;
    return open_list(m, v, n + 1);
}

/* May an edge that reads nothing be gone? */
static bool is_open_way(const struct looks *m, const struct vs_edge *edge, enum next next)
{
    bool boundary = (m->flags & FLAG_WORD) != 0;
    boundary = boundary != (next == NEXT_WORD);
    switch ((enum vs_edge_kind)edge->kind) {
    case VS_EDGE_EMPTY: case VS_EDGE_AHEAD: case VS_EDGE_NOT_AHEAD: return true;
    case VS_EDGE_BEGIN: return m->flags & FLAG_BEGINS;
    case VS_EDGE_END: return next == NEXT_END;
    case VS_EDGE_WORD: return boundary;
    case VS_EDGE_NOT_WORD: return !boundary;
    case VS_EDGE_BEHIND: return m->holds[next][edge->rule];
    case VS_EDGE_NOT_BEHIND: return !m->holds[next][edge->rule];
    case VS_EDGE_BYTES: case VS_EDGE_CALL: break;
    }
    return false;
}

/* The number of a list of threads with all that they reach without a byte. NONE where m has failed. */
static uint32_t closed(struct looks *m, uint32_t list, enum next next)
{
    const uint32_t *known = recall(&m->closed[next], list);
    if (known)
        return *known;
    m->n = 0;
    m->turn++;
    for (uint32_t i = m->lists.first[list]; i < m->lists.first[list + 1]; i += 2)
        follow(m, m->lists.v[i], m->lists.v[i + 1]);
    for (uint32_t i = 0; i < m->n && vs_grammar_work(m->g, 4); i++)
        for (uint32_t e = m->of->place[m->v[i].place].first; e != VS_NOWHERE && !failed(m); e = m->of->edge[e].next) {
            const struct vs_edge *edge = &m->of->edge[e];
            uint32_t open = m->v[i].open;
            bool goes = is_open_way(m, edge, next);
            if (edge->kind == VS_EDGE_AHEAD || edge->kind == VS_EDGE_NOT_AHEAD)
                open = with_look(m, open, edge->rule, edge->kind == VS_EDGE_NOT_AHEAD);
            if (goes && !failed(m))
                follow(m, edge->to, open);
        }
    struct pushed *p = &m->next[VS_MAX_LOOKS + 1];
    p->n = 0;
    for (uint32_t i = 0; i < m->n && !failed(m); i++)
        push(m, p, m->v[i].place, m->v[i].open);
    uint32_t to = failed(m) ? VS_NOWHERE : number_pushed(m, p);
    if (failed(m))
        return NONE;
    remember(m, &m->closed[next], list, to);
    return to;
}

static uint32_t step_threads(struct looks *m, uint32_t list, unsigned depth, uint8_t byte, enum next next);

/* The look-aheads of a thread, a byte later; VS_NOWHERE: one of them has failed it. */
static uint32_t step_open(struct looks *m, uint32_t open, unsigned depth, uint8_t byte, enum next next)
{
    uint32_t v[MAX_OPEN + 1], n = 0;
    for (uint32_t i = m->lists.first[open]; i < m->lists.first[open + 1]; i++) {
        uint32_t one = m->lists.v[i], to = step_threads(m, one >> 1, depth, byte, next);
        bool negative = one & 1;
        if (failed(m) || to == (negative ? FOUND : VS_NOWHERE))
            return VS_NOWHERE;
        if (to != (negative ? VS_NOWHERE : FOUND))
            v[n++] = 2 * to + negative;
    }
    return open_list(m, v, n);
}

/* Where the threads of a closed list are behind a byte. True: a look-ahead has reached its end. */
static bool push_moved(struct looks *m, struct pushed *p, uint32_t list, unsigned depth, uint8_t byte, enum next next)
{
    for (uint32_t i = m->lists.first[list]; i < m->lists.first[list + 1] && vs_grammar_work(m->g, 4); i += 2) {
        uint32_t place = m->lists.v[i], before = m->lists.v[i + 1];
        uint32_t open = before == NONE ? NONE : FOUND;          /* FOUND: not asked */
        if (m->is_goal[place]) {         /* it waits there for its own look-aheads */
            open = open == NONE ? NONE : step_open(m, before, depth + 1, byte, next);
            if (open == NONE)
                return true;
            if (open != VS_NOWHERE)
                push(m, p, place, open);
            continue;
        }
        for (uint32_t e = m->of->place[place].first; e != VS_NOWHERE && !failed(m); e = m->of->edge[e].next) {
            const struct vs_edge *edge = &m->of->edge[e];
            if (edge->kind != VS_EDGE_BYTES || byte < edge->lo || byte > edge->hi)
                continue;
            open = open == FOUND ? step_open(m, before, depth + 1, byte, next) : open;
            if (open != VS_NOWHERE)
                push(m, p, edge->to, open);
        }
    }
    return false;
}

/* A list of threads, a byte later. FOUND: those of a look-ahead have reached its end; VS_NOWHERE: none is left. */
static uint32_t step_threads(struct looks *m, uint32_t list, unsigned depth, uint8_t byte, enum next next)
{
    const uint32_t *known = recall(&m->stepped, list);
    if (known)
        return *known;
    struct pushed *p = &m->next[depth];
    uint32_t all = closed(m, list, next);
    p->n = 0;
    uint32_t to = push_moved(m, p, all, depth, byte, next) ? FOUND : VS_NOWHERE;
    if (to != FOUND && p->n && !failed(m))
        to = number_pushed(m, p);
    remember(m, &m->stepped, list, to);
    return to;
}

/* Do all look-aheads of a thread agree that the text ends here? */
static bool end_open(struct looks *m, uint32_t open)
{
    bool good = true;
    for (uint32_t i = m->lists.first[open]; i < m->lists.first[open + 1] && good && !failed(m); i++) {
        uint32_t one = m->lists.v[i], all = closed(m, one >> 1, NEXT_END);
        bool found = false;
        for (uint32_t k = m->lists.first[all]; k < m->lists.first[all + 1] && !found && vs_grammar_work(m->g, 4); k += 2)
            found = m->is_goal[m->lists.v[k]] && end_open(m, m->lists.v[k + 1]);
        good = found == !(one & 1);
    }
    return good;
}

/* A state: the flags, a list of threads for each look-behind, that of all. v: room for them; which look-behinds hold is known
 * now. */
static void look_at(struct looks *m, uint64_t key, enum next next, uint32_t v[VS_MAX_LOOKS + 2])
{
    memcpy(v, m->lists.v + m->lists.first[key], (m->n_behind + 2) * sizeof *v);
    if (key != m->key) {
        bool is_alike = m->key != DEAD && m->n_behind == 0 && m->flags == v[0];         /* it leads where the one before led */
        m->key = key;
        m->flags = v[0];
        for (unsigned i = 0; i < N_NEXT; i++) {
            m->closed[i].turn += !is_alike;
            m->is_held[i] = false;
        }
    }
    for (uint32_t k = 0; k < m->n_behind && !m->is_held[next] && !failed(m); k++) {
        uint32_t all = closed(m, v[k + 1], next), end = m->of->rule[m->behind[k]].end;
        bool holds = false;
        for (uint32_t i = m->lists.first[all]; i < m->lists.first[all + 1]; i += 2)
            holds |= m->lists.v[i] == end;
        m->holds[next][m->behind[k]] = holds;
    }
    m->is_held[next] = true;
}

static uint64_t step_look(void *context, uint64_t key, uint8_t byte)
{
    struct looks *m = context;
    uint32_t v[VS_MAX_LOOKS + 2], n = m->n_behind;
    bool reads_word = m->has_words && is_word(byte);
    enum next next = reads_word ? NEXT_WORD : NEXT_OTHER;
    look_at(m, key, next, v);
    m->stepped.turn++;
    for (uint32_t k = 0; k < n && !failed(m); k++) {
        m->next[0].n = 0;
        push(m, &m->next[0], m->of->rule[m->behind[k]].start, NONE);
        push_moved(m, &m->next[0], closed(m, v[k + 1], next), 0, byte, next);
        v[k + 1] = failed(m) ? NONE : number_pushed(m, &m->next[0]);
    }
    v[n + 1] = failed(m) ? VS_NOWHERE : step_threads(m, v[n + 1], 0, byte, next);
    v[0] = reads_word ? FLAG_WORD : 0;
    uint32_t number = failed(m) || v[n + 1] == VS_NOWHERE ? VS_NOWHERE : number_of(m->g, &m->lists, v, n + 2);
    return number == VS_NOWHERE ? DEAD : number;
}

static bool accepts_look(void *context, uint64_t key)
{
    struct looks *m = context;
    uint32_t v[VS_MAX_LOOKS + 2];
    look_at(m, key, NEXT_END, v);
    uint32_t all = closed(m, v[m->n_behind + 1], NEXT_END);
    bool found = false;
    for (uint32_t i = m->lists.first[all]; i < m->lists.first[all + 1] && !found && !failed(m); i += 2)
        found = m->lists.v[i] == m->end && end_open(m, m->lists.v[i + 1]);
    return found;
}

static void cut_threads(struct looks *m, uint32_t list, enum next next, bool cut[257])
{
    uint32_t all = closed(m, list, next);
    if (recall(&m->cut, all))
        return;
    remember(m, &m->cut, all, 0);
    for (uint32_t i = m->lists.first[all]; i < m->lists.first[all + 1] && !failed(m); i += 2) {
        uint32_t open = m->lists.v[i + 1];
        for (uint32_t e = m->of->place[m->lists.v[i]].first; e != VS_NOWHERE; e = m->of->edge[e].next)
            if (m->of->edge[e].kind == VS_EDGE_BYTES)
                cut[m->of->edge[e].lo] = cut[m->of->edge[e].hi + 1] = true;
        for (uint32_t k = m->lists.first[open]; k < m->lists.first[open + 1]; k++)
            cut_threads(m, m->lists.v[k] >> 1, next, cut);
    }
}

static void cut_words(bool cut[257])
{
    for (unsigned b = 1; b < 256; b++)
        cut[b] |= is_word(b) != is_word(b - 1);
}

static void cuts_of_look(void *context, uint64_t key, bool cut[257])
{
    struct looks *m = context;
    uint32_t v[VS_MAX_LOOKS + 2];
    for (enum next next = NEXT_OTHER; next <= (m->has_words ? NEXT_WORD : NEXT_OTHER); next++) {
        look_at(m, key, next, v);
        m->cut.turn++;
        for (uint32_t k = 0; k <= m->n_behind && !failed(m); k++)
            cut_threads(m, v[k + 1], next, cut);
    }
    if (m->has_words)
        cut_words(cut);
}

/* What the rules are, by the edges that name them; the first state. */
static uint64_t begin_looks(struct looks *m, uint32_t start)
{
    const struct vs_grammar *of = m->of;
    uint32_t v[VS_MAX_LOOKS + 2] = { FLAG_BEGINS };
    bool is_behind[VS_MAX_LOOKS] = { 0 };
    for (uint32_t e = 0; e < of->n_edges; e++) {
        const struct vs_edge *edge = &of->edge[e];
        if (edge->kind == VS_EDGE_BEHIND || edge->kind == VS_EDGE_NOT_BEHIND)
            is_behind[edge->rule] = true;
        else if (edge->kind == VS_EDGE_AHEAD || edge->kind == VS_EDGE_NOT_AHEAD)
            m->is_goal[of->rule[edge->rule].end] = true;
    }
    for (uint32_t rule = VS_MAX_LOOKS; rule-- > 0;)         /* an inner one has a greater number than its outer one */
        if (is_behind[rule])
            m->behind[m->n_behind++] = rule;
    number_of(m->g, &m->lists, v, 0);                       /* NONE */
    for (uint32_t k = 0; k <= m->n_behind && !failed(m); k++) {
        const uint32_t one[2] = { k < m->n_behind ? of->rule[m->behind[k]].start : start, NONE };
        v[k + 1] = number_of(m->g, &m->lists, one, 2);
    }
    return failed(m) ? DEAD : number_of(m->g, &m->lists, v, m->n_behind + 2);
}

static void clear_memo(struct memo *memo)
{
    free(memo->to);
    free(memo->at);
}

static struct vs_dfa *of_looks(struct vs_grammar *g, const struct vs_grammar *of, uint32_t start, uint32_t end, bool has_words,
                               const bool *cut)
{
    struct vs_dfa *d = NULL;
    struct looks *m = calloc(1, sizeof *m);
    if (m)
        *m = (struct looks){ .g = g, .of = of, .end = end, .has_words = has_words, .key = DEAD };
    if (m && (m->is_goal = calloc(of->n_places, sizeof *m->is_goal)) && (m->seen = calloc(of->n_places, sizeof *m->seen))
        && (m->last = calloc(of->n_places, sizeof *m->last))) {
        const struct vs_dfa_maker maker = { begin_looks(m, start), m, step_look, accepts_look, cuts_of_look };
        if (g->err.code == VS_OK)
            d = vs_dfa_make(g, cut, &maker);
    } else {
        vs_grammar_fail(g, VS_E_NOMEM, "out of memory");
    }
    if (!m)
        return NULL;
    for (unsigned i = 0; i < sizeof m->next / sizeof *m->next; i++)
        free(m->next[i].v);
    for (unsigned i = 0; i < N_NEXT; i++)
        clear_memo(&m->closed[i]);
    clear_memo(&m->stepped);
    clear_memo(&m->cut);
    clear_lists(&m->lists);
    free(m->v);
    free(m->seen);
    free(m->last);
    free(m->is_goal);
    free(m);
    return d;
}

struct vs_dfa *vs_dfa_of_places(struct vs_grammar *g, const struct vs_grammar *of, uint32_t start, uint32_t end)
{
    bool cut[257] = { 0 }, looks = false, has_words = false;
    for (uint32_t e = 0; e < of->n_edges; e++) {
        unsigned kind = of->edge[e].kind;
        if (kind == VS_EDGE_BYTES)
            cut[of->edge[e].lo] = cut[of->edge[e].hi + 1] = true;
        looks |= kind >= VS_EDGE_WORD;
        has_words |= kind == VS_EDGE_WORD || kind == VS_EDGE_NOT_WORD;
    }
    if (has_words)
        cut_words(cut);
    return looks ? of_looks(g, of, start, end, has_words, cut) : of_sets(g, of, start, end, cut);
}
