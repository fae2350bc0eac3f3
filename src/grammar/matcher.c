/* grammar/matcher.c - one text on its way through a grammar: states, and the masks of tokens that they allow.
 *
 * A state is the set of places where one may be, each with what is to be gone on with when its rule ends: a node, which is a set of
 * links (place to return to, node below). Nodes and states are made once and known by number, so that sets which are alike are one:
 * all stacks of an ambiguous grammar together stay small, and a step from a state by a byte is computed once.
 *
 *     state 7: { place 12 with node 3, place 40 with node 3 }    node 3: { return to 15 with node 1 }    node 0: the answer ends
 *
 * A step that is known is a look into a table, so that a walk over the trie costs a few nanoseconds a node. What is allowed in a
 * state is kept as a mask. All this has a limit of memory and work; beyond it all but the present state is forgotten. What does not
 * fit even then is left out of the mask: the same tokens, whatever was known before, and never all of them.
 */
#include "grammar/internal.h"

#include <stdlib.h>
#include <string.h>

enum {
    MAX_BYTES = 8 << 20,                 /* of states and nodes */
    MAX_WORK = 4 << 20,                  /* steps of closures until all is forgotten; some 10 ns each */
    MAX_MASKS = 128,
    MAX_PATH = 2048,                     /* bytes of a shortest end that are looked at; longer ones are counted in bytes */
    JOINED = 1024,                       /* unions that are remembered */
    PROBED_BYTES = 256, PROBED_EACH = 32, WIDE = 128,       /* how far, how often and from how many places on one looks ahead */
    MUCH_WIDER = 1000,                   /* too many in any vocabulary */
    DEAD = 0,                            /* the state from which nothing goes on */
    ENDS = 0,                            /* the node below which there is none */
};
#define UNKNOWN UINT32_MAX

struct link { uint32_t place, node; };

struct node {
    uint32_t first, n;                   /* links, by place */
    uint32_t cost;                       /* bytes to the end of the answer */
    uint16_t depth;
    bool ends;                           /* the answer may end here */
};

struct state {
    uint32_t first, n;                   /* links: places and nodes */
    uint32_t cost, need;                 /* bytes, tokens to the end; need UNKNOWN: not computed */
    uint32_t row, mask;                  /* UNKNOWN: none yet */
    bool may_end;
};

struct table { uint32_t *slot; uint32_t mask, n; };     /* numbers by content; UNKNOWN: empty */

struct known {
    struct link *link;
    struct node *node;
    struct state *state;
    uint32_t *row;                       /* [n_rows, n_classes] */
    uint32_t n_links, cap_links, n_nodes, cap_nodes, n_states, cap_states, n_rows, cap_rows;
    struct table nodes, states;
    struct { uint32_t a, b, joined; } joined[JOINED];
    size_t bytes, work;
};

struct mask { uint64_t *bits; uint32_t most; uint32_t state; };

struct vs_matcher {
    const struct vs_grammar *g;
    struct known k;
    uint32_t state;
    bool is_full;                        /* the limit was reached */
    bool failed;                         /* memory */
    /* the closure that is being computed */
    struct link *list;
    bool *queued;
    uint32_t *queue, *where;             /* where[n_places]: of a place in the list, if the list agrees */
    uint32_t n_list, cap_list, n_queue;
    struct link *scratch;
    uint32_t n_scratch, cap_scratch;
    struct mask mask[MAX_MASKS];
    uint32_t n_masks;
    uint64_t *spare;                     /* a mask that is not kept, and of what it is; UNKNOWN: of nothing */
    uint32_t spare_state, spare_left;
};

/* ---- memory ---- */

static bool grow(struct vs_matcher *m, void *array, uint32_t need, uint32_t *cap, size_t size)
{
    void *old, *new;
    if (need <= *cap)
        return true;
    memcpy(&old, array, sizeof old);
    uint32_t more = *cap ? *cap : 64;
    while (more < need)
        more *= 2;
    if (!(new = realloc(old, more * size)))
        return m->failed = true, false;
    memcpy(array, &new, sizeof new);
    *cap = more;
    return true;
}

static void count(struct vs_matcher *m, size_t bytes, size_t work)
{
    m->k.bytes += bytes;
    m->k.work += work;
    if (m->k.bytes > MAX_BYTES || m->k.work > MAX_WORK)
        m->is_full = true;
}

static uint64_t hash(const struct link *l, uint32_t n, bool flag)
{
    uint64_t h = 0x9e3779b97f4a7c15u + n + flag;
    for (uint32_t i = 0; i < n; i++) {
        h = (h ^ ((uint64_t)l[i].place << 32 | l[i].node)) * 0xff51afd7ed558ccdu;
        h ^= h >> 32;
    }
    return h;
}

static bool same_links(const struct known *k, uint32_t first, uint32_t n, const struct link *l, uint32_t n_l)
{
    for (uint32_t i = 0; n == n_l && i < n; i++)
        if (k->link[first + i].place != l[i].place || k->link[first + i].node != l[i].node)
            return false;
    return n == n_l;
}

/* A larger table, when two thirds are full; `of` gives the hash of what has a number. */
static bool widen(struct vs_matcher *m, struct table *t, uint64_t (*of)(const struct known *, uint32_t))
{
    if (t->slot && t->n * 3 < t->mask * 2)
        return true;
    uint32_t size = t->slot ? 2 * (t->mask + 1) : 256;
    uint32_t *slot = malloc(size * sizeof *slot);
    if (!slot)
        return m->failed = true, false;
    memset(slot, 0xff, size * sizeof *slot);
    for (uint32_t i = 0; t->slot && i <= t->mask; i++) {
        if (t->slot[i] == UNKNOWN)
            continue;
        uint32_t at = (uint32_t)of(&m->k, t->slot[i]) & (size - 1);
        while (slot[at] != UNKNOWN)
            at = (at + 1) & (size - 1);
        slot[at] = t->slot[i];
    }
    free(t->slot);
    t->slot = slot;
    t->mask = size - 1;
    return true;
}

static uint64_t hash_of_node(const struct known *k, uint32_t i)
{
    return hash(k->link + k->node[i].first, k->node[i].n, k->node[i].ends);
}

static uint64_t hash_of_state(const struct known *k, uint32_t i)
{
    return hash(k->link + k->state[i].first, k->state[i].n, k->state[i].may_end);
}

static bool add_links(struct vs_matcher *m, const struct link *l, uint32_t n, uint32_t *ret_first)
{
    if (!grow(m, &m->k.link, m->k.n_links + n, &m->k.cap_links, sizeof *m->k.link))
        return false;
    for (uint32_t i = 0; i < n; i++)
        m->k.link[m->k.n_links + i] = l[i];
    *ret_first = m->k.n_links;
    m->k.n_links += n;
    return true;
}

static uint32_t cost_of(const struct vs_matcher *m, struct link l)
{
    uint32_t cost = m->g->place[l.place].cost + m->k.node[l.node].cost;
    return cost < VS_COST_NEVER ? cost : VS_COST_NEVER;
}

/* The number of the node that has these links, sorted by place. */
static uint32_t node_of(struct vs_matcher *m, const struct link *l, uint32_t n, bool ends)
{
    struct known *k = &m->k;
    if (m->failed || !widen(m, &k->nodes, hash_of_node))
        return ENDS;
    uint32_t at = (uint32_t)hash(l, n, ends) & k->nodes.mask;
    for (; k->nodes.slot[at] != UNKNOWN; at = (at + 1) & k->nodes.mask) {
        const struct node *old = &k->node[k->nodes.slot[at]];
        if (old->ends == ends && same_links(k, old->first, old->n, l, n))
            return k->nodes.slot[at];
    }
    struct node made = { .n = n, .ends = ends, .cost = ends ? 0 : VS_COST_NEVER };
    for (uint32_t i = 0; i < n; i++) {
        uint32_t cost = cost_of(m, l[i]);
        uint16_t depth = k->node[l[i].node].depth;
        made.cost = cost < made.cost ? cost : made.cost;
        made.depth = depth + 1 > made.depth ? (uint16_t)(depth + 1) : made.depth;
    }
    if (!add_links(m, l, n, &made.first) || !grow(m, &k->node, k->n_nodes + 1, &k->cap_nodes, sizeof *k->node))
        return ENDS;
    k->node[k->n_nodes] = made;
    k->nodes.slot[at] = k->n_nodes;
    k->nodes.n++;
    count(m, n * sizeof *l + sizeof made + 8, 1);
    return k->n_nodes++;
}

static uint32_t state_of(struct vs_matcher *m, const struct link *l, uint32_t n, bool may_end)
{
    struct known *k = &m->k;
    if ((n == 0 && !may_end) || m->failed || !widen(m, &k->states, hash_of_state))
        return DEAD;
    uint32_t at = (uint32_t)hash(l, n, may_end) & k->states.mask;
    for (; k->states.slot[at] != UNKNOWN; at = (at + 1) & k->states.mask) {
        const struct state *old = &k->state[k->states.slot[at]];
        if (old->may_end == may_end && same_links(k, old->first, old->n, l, n))
            return k->states.slot[at];
    }
    struct state made = { .n = n, .may_end = may_end, .cost = may_end ? 0 : VS_COST_NEVER, .need = UNKNOWN, .row = UNKNOWN,
                          .mask = UNKNOWN };
    for (uint32_t i = 0; i < n; i++) {
        uint32_t cost = cost_of(m, l[i]);
        made.cost = cost < made.cost ? cost : made.cost;
    }
    if (!add_links(m, l, n, &made.first) || !grow(m, &k->state, k->n_states + 1, &k->cap_states, sizeof *k->state))
        return DEAD;
    k->state[k->n_states] = made;
    k->states.slot[at] = k->n_states;
    k->states.n++;
    count(m, n * sizeof *l + sizeof made + 8, 1);
    return k->n_states++;
}

/* ---- steps ---- */

static bool scratch_add(struct vs_matcher *m, struct link l)
{
    if (!grow(m, &m->scratch, m->n_scratch + 1, &m->cap_scratch, sizeof *m->scratch))
        return false;
    m->scratch[m->n_scratch++] = l;
    return true;
}

/* The node with the links of both. The recursion is no deeper than nodes are. */
static uint32_t join(struct vs_matcher *m, uint32_t a, uint32_t b)
{
    if (a == b || m->failed)
        return a;
    if (a > b) {
        uint32_t other = a;
        a = b;
        b = other;
    }
    uint32_t memo = (a * 31 + b) % JOINED, base = m->n_scratch;
    if (m->k.joined[memo].a == a && m->k.joined[memo].b == b)
        return m->k.joined[memo].joined;
    const struct node x = m->k.node[a], y = m->k.node[b];
    count(m, 0, 1 + x.n + y.n);
    for (uint32_t i = 0, j = 0; (i < x.n || j < y.n) && !m->failed;) {
        struct link l = i < x.n ? m->k.link[x.first + i] : m->k.link[y.first + j];
        struct link r = j < y.n ? m->k.link[y.first + j] : l;
        if (i < x.n && j < y.n && l.place == r.place) {
            l.node = join(m, l.node, r.node);
            i++;
            j++;
        } else if (i < x.n && (j == y.n || l.place < r.place)) {
            i++;
        } else {
            l = r;
            j++;
        }
        scratch_add(m, l);
    }
    uint32_t joined = m->failed ? a : node_of(m, m->scratch + base, m->n_scratch - base, x.ends || y.ends);
    m->n_scratch = base;
    m->k.joined[memo].a = a;
    m->k.joined[memo].b = b;
    m->k.joined[memo].joined = joined;
    return joined;
}

static void queue(struct vs_matcher *m, uint32_t at)
{
    if (!m->queued[at]) {
        m->queued[at] = true;
        m->queue[m->n_queue++] = at;
    }
}

/* One may be there. */
static void enter(struct vs_matcher *m, uint32_t place, uint32_t node)
{
    const struct vs_place *p = &m->g->place[place];
    count(m, 0, 1);
    if (m->failed || p->cost >= VS_COST_NEVER || m->k.node[node].depth + p->height > VS_MAX_HEIGHT)
        return;
    uint32_t at = m->where[place];
    if (at < m->n_list && m->list[at].place == place) {
        uint32_t joined = join(m, m->list[at].node, node);
        if (joined != m->list[at].node) {
            m->list[at].node = joined;
            queue(m, at);
        }
        return;
    }
    if (m->n_list == m->cap_list) {
        uint32_t a = m->cap_list, b = m->cap_list, c = m->cap_list;
        if (!grow(m, &m->list, m->n_list + 1, &a, sizeof *m->list) || !grow(m, &m->queued, m->n_list + 1, &b, sizeof *m->queued)
            || !grow(m, &m->queue, m->n_list + 1, &c, sizeof *m->queue))
            return;
        m->cap_list = a;
    }
    m->list[m->n_list] = (struct link){ place, node };
    m->where[place] = m->n_list;
    m->queued[m->n_list] = false;
    queue(m, m->n_list++);
}

/* What follows from where one may be without a byte; true: the answer may end. */
static bool close_over(struct vs_matcher *m)
{
    const struct vs_grammar *g = m->g;
    bool may_end = false;
    while (m->n_queue && !m->failed) {
        uint32_t at = m->queue[--m->n_queue];
        struct link l = m->list[at];
        const struct vs_place *p = &g->place[l.place];
        m->queued[at] = false;
        if (p->is_end) {
            struct node n = m->k.node[l.node];
            may_end |= n.ends;
            for (uint32_t i = 0; i < n.n; i++) {
                struct link back = m->k.link[n.first + i];
                enter(m, back.place, back.node);
            }
        }
        for (uint32_t i = 0; i < p->n; i++) {
            const struct vs_edge *e = &g->edge[p->first + i];
            if (e->kind == VS_EDGE_EMPTY) {
                enter(m, e->to, l.node);
            } else if (e->kind == VS_EDGE_CALL && g->place[e->to].cost < VS_COST_NEVER
                       && g->place[g->rule[e->rule].start].cost < VS_COST_NEVER) {
                struct link back = { e->to, l.node };
                enter(m, g->rule[e->rule].start, g->place[e->to].is_end ? l.node : node_of(m, &back, 1, false));
            }
        }
    }
    return may_end;
}

static int by_place(const void *a, const void *b)
{
    const struct link *x = a, *y = b;
    return x->place < y->place ? -1 : x->place > y->place;
}

/* The state of the list: its places that read bytes. */
static uint32_t settle(struct vs_matcher *m)
{
    bool may_end = close_over(m);
    uint32_t n = 0;
    for (uint32_t i = 0; i < m->n_list; i++)
        if (m->g->place[m->list[i].place].has_bytes)
            m->list[n++] = m->list[i];
    if (n > 1)
        qsort(m->list, n, sizeof *m->list, by_place);
    uint32_t state = state_of(m, m->list, n, may_end);
    m->n_list = m->n_queue = 0;
    return m->failed ? DEAD : state;
}

static uint32_t row_of(struct vs_matcher *m, uint32_t state)
{
    struct known *k = &m->k;
    unsigned n = m->g->n_classes;
    if (k->state[state].row != UNKNOWN)
        return k->state[state].row;
    if (!grow(m, &k->row, k->n_rows + n, &k->cap_rows, sizeof *k->row))
        return UNKNOWN;
    memset(k->row + k->n_rows, 0xff, n * sizeof *k->row);
    count(m, n * sizeof *k->row, 1);
    k->state[state].row = k->n_rows;
    k->n_rows += n;
    return k->state[state].row;
}

/* From a state that has a row, by a class of bytes that was never seen there. */
static uint32_t step(struct vs_matcher *m, uint32_t state, unsigned class)
{
    const struct vs_grammar *g = m->g;
    unsigned byte = g->example[class];
    if (m->is_full || m->failed)
        return DEAD;
    for (uint32_t i = 0; i < m->k.state[state].n; i++) {
        struct link l = m->k.link[m->k.state[state].first + i];
        const struct vs_place *p = &g->place[l.place];
        count(m, 0, 1 + p->n / 4);
        for (uint32_t e = 0; e < p->n; e++) {
            const struct vs_edge *edge = &g->edge[p->first + e];
            if (edge->kind == VS_EDGE_BYTES && byte >= edge->lo && byte <= edge->hi)
                enter(m, edge->to, l.node);
        }
    }
    uint32_t to = settle(m);
    if (m->is_full || m->failed)
        return DEAD;
    return m->k.row[m->k.state[state].row + class] = to;
}

static uint32_t step_byte(struct vs_matcher *m, uint32_t state, uint8_t byte)
{
    uint32_t row = row_of(m, state);
    if (row == UNKNOWN)
        return DEAD;
    uint32_t to = m->k.row[row + m->g->class_of[byte]];
    return to == UNKNOWN ? step(m, state, m->g->class_of[byte]) : to;
}

/* ---- beginning, forgetting ---- */

static bool begin_known(struct vs_matcher *m)
{
    m->k = (struct known){ 0 };
    m->n_masks = 0;
    m->spare_state = UNKNOWN;
    m->is_full = false;
    node_of(m, NULL, 0, true);           /* ENDS */
    if (m->failed || !grow(m, &m->k.state, 1, &m->k.cap_states, sizeof *m->k.state))
        return false;
    m->k.state[DEAD] = (struct state){ .cost = VS_COST_NEVER, .need = VS_COST_NEVER, .row = UNKNOWN, .mask = UNKNOWN };
    m->k.n_states = 1;
    return true;
}

static void clear_known(struct known *k)
{
    free(k->link);
    free(k->node);
    free(k->state);
    free(k->row);
    free(k->nodes.slot);
    free(k->states.slot);
}

static uint32_t copy_node(struct vs_matcher *m, const struct known *old, uint32_t node, uint32_t *copy)
{
    if (copy[node] != UNKNOWN)
        return copy[node];
    const struct node n = old->node[node];
    uint32_t base = m->n_scratch;
    for (uint32_t i = 0; i < n.n && !m->failed; i++) {
        struct link l = old->link[n.first + i];
        l.node = copy_node(m, old, l.node, copy);
        scratch_add(m, l);
    }
    copy[node] = m->failed ? ENDS : node_of(m, m->scratch + base, m->n_scratch - base, n.ends);
    m->n_scratch = base;
    return copy[node];
}

/* All but the present state. */
static bool forget(struct vs_matcher *m)
{
    struct known old = m->k;
    const struct state s = old.state[m->state];
    uint32_t *copy = malloc((old.n_nodes + 1) * sizeof *copy), base = m->n_scratch;
    if (!copy)
        return m->failed = true, false;
    memset(copy, 0xff, (old.n_nodes + 1) * sizeof *copy);
    if (begin_known(m)) {
        copy[ENDS] = ENDS;
        for (uint32_t i = 0; i < s.n; i++) {
            struct link l = old.link[s.first + i];
            l.node = copy_node(m, &old, l.node, copy);
            scratch_add(m, l);
        }
        if (!m->failed)
            m->state = state_of(m, m->scratch + base, s.n, s.may_end);
    }
    m->n_scratch = base;
    free(copy);
    clear_known(&old);
    return !m->failed;
}

int vs_matcher_create(const struct vs_grammar *g, struct vs_matcher **ret)
{
    struct vs_matcher *m = calloc(1, sizeof *m);
    if (!m)
        return VS_E_NOMEM;
    m->g = g;
    m->where = calloc(g->n_places + 1, sizeof *m->where);
    m->spare = malloc((g->v->n_words + 1) * sizeof *m->spare);
    if (m->where && m->spare && begin_known(m)) {
        enter(m, g->rule[g->root].start, ENDS);
        m->state = settle(m);
    }
    bool allows = m->state != DEAD || g->use == VS_GRAMMAR_READS;
    if (!m->where || !m->spare || m->failed || !allows) {
        vs_matcher_free(m);
        return VS_E_NOMEM;
    }
    *ret = m;
    return VS_OK;
}

void vs_matcher_free(struct vs_matcher *m)
{
    if (!m)
        return;
    clear_known(&m->k);
    for (uint32_t i = 0; i < MAX_MASKS; i++)
        free(m->mask[i].bits);
    free(m->list);
    free(m->queued);
    free(m->queue);
    free(m->where);
    free(m->scratch);
    free(m->spare);
    free(m);
}

/* ---- the shortest end ---- */

/* The byte with which the shortest way goes on. A state has one such way, so that its end is that of the state behind it. */
static unsigned best_byte(const struct vs_matcher *m, uint32_t state)
{
    const struct vs_grammar *g = m->g;
    const struct state *s = &m->k.state[state];
    unsigned best = 256;
    for (uint32_t i = 0; i < s->n; i++) {
        struct link l = m->k.link[s->first + i];
        const struct vs_place *p = &g->place[l.place];
        if (p->best == VS_NOWHERE || g->edge[p->best].kind != VS_EDGE_BYTES || cost_of(m, l) != s->cost)
            continue;
        const struct vs_edge *e = &g->edge[p->best];
        unsigned b = e->lo;
        while (b < e->hi && !g->v->spells[b])
            b++;
        b = g->v->spells[b] ? b : e->lo;
        best = b < best ? b : best;
    }
    return best;
}

static uint32_t child_of(const struct vs_trie_nodes *t, uint32_t node, uint8_t byte)
{
    for (uint32_t i = node + 1; i < t->skip[node]; i = t->skip[i])
        if (t->byte[i] == byte)
            return i;
    return VS_NOWHERE;
}

/* Fewest tokens that spell the shortest end: how many each of its bytes needs, from the last to the first. */
static uint32_t need_of(struct vs_matcher *m, uint32_t state)
{
    static const uint32_t never = VS_COST_NEVER;
    const struct vs_vocabulary *v = m->g->v;
    uint32_t path[MAX_PATH + 1], n = 0;
    uint8_t byte[MAX_PATH];
    if (m->k.state[state].need != UNKNOWN)
        return m->k.state[state].need;
    uint32_t cost = m->k.state[state].cost, at = state;
    for (path[0] = at; n < MAX_PATH && m->k.state[at].cost; path[++n] = at) {
        unsigned b = best_byte(m, at);
        if (b > 255 || (at = step_byte(m, at, (uint8_t)b)) == DEAD)
            break;
        byte[n] = (uint8_t)b;
    }
    if (at == DEAD || m->k.state[at].cost)
        return cost < VS_COST_RARE ? cost : never;          /* too long, or no room to look */
    m->k.state[at].need = 0;
    for (uint32_t i = n; i-- > 0;) {
        uint32_t best = never, node = v->child[byte[i]];
        for (uint32_t j = i; node != VS_NOWHERE; node = child_of(&v->all, node, byte[j])) {
            uint32_t after = m->k.state[path[++j]].need;
            if (v->all.token[node] != VS_NOWHERE && after + 1 < best)
                best = after + 1;
            if (j == n)
                break;
        }
        m->k.state[path[i]].need = best;
    }
    return m->k.state[state].need;
}

uint32_t vs_matcher_shortest(struct vs_matcher *m)
{
    uint32_t need = need_of(m, m->state);
    if (m->is_full && forget(m))
        need = need_of(m, m->state);
    return need >= VS_COST_NEVER ? UINT32_MAX : need;
}

/* May one be there with so many tokens left? */
static inline bool affords(struct vs_matcher *m, uint32_t state, uint32_t left)
{
    uint32_t cost = m->k.state[state].cost;
    if (cost <= left && cost < VS_COST_RARE)
        return true;
    uint32_t need = need_of(m, state);
    return need <= left && need < VS_COST_NEVER;
}

/* ---- masks ---- */

static void allow(const struct vs_vocabulary *v, uint64_t *bits, uint32_t token)
{
    for (; token != VS_NOWHERE; token = v->same[token])
        bits[token / 64] |= UINT64_C(1) << token % 64;
}

/* Returns the greatest cost of a state that an allowed token leads to. */
static uint32_t walk(struct vs_matcher *m, const struct vs_trie_nodes *t, uint32_t from, uint32_t left, uint64_t *bits)
{
    const struct vs_vocabulary *v = m->g->v;
    uint32_t at[VS_TOKEN_BYTES + 1], row[VS_TOKEN_BYTES + 1], most = 0;
    at[0] = from;
    if ((row[0] = row_of(m, from)) == UNKNOWN)
        return 0;
    for (uint32_t i = 0; i < t->n;) {
        unsigned depth = t->depth[i], class = m->g->class_of[t->byte[i]];
        uint32_t to = m->k.row[row[depth] + class];
        if (to == UNKNOWN)
            to = step(m, at[depth], class);
        if (to == DEAD) {
            i = t->skip[i];
            continue;
        }
        if (t->token[i] != VS_NOWHERE && affords(m, to, left)) {
            allow(v, bits, t->token[i]);
            most = m->k.state[to].cost > most ? m->k.state[to].cost : most;
        }
        at[depth + 1] = to;
        if (t->skip[i] > i + 1 && (row[depth + 1] = row_of(m, to)) == UNKNOWN)
            return most;
        i++;
    }
    return most;
}

/* How many characters of plain text may follow, whatever they are; *ret_cost: of what they lead to, at most. Up to VS_SLICE_CHARS
 * of them it does not matter what else may come; a smaller number counts only where nothing else reads plain text. */
static uint32_t run_of(const struct vs_matcher *m, uint32_t state, uint32_t *ret_cost)
{
    const struct state *s = &m->k.state[state];
    uint32_t run = 0;
    bool others = false;
    for (uint32_t i = 0; i < s->n; i++) {
        struct link l = m->k.link[s->first + i];
        const struct vs_place *p = &m->g->place[l.place];
        others |= (p->run && run) || (!p->run && p->reads_plain && !p->is_companion);
        if (p->run > run) {
            run = p->run;
            *ret_cost = p->run_cost + m->k.node[l.node].cost;
        }
    }
    return others && run < VS_SLICE_CHARS ? 0 : run;
}

/* Does each character of plain text lead from `from` to `to`? */
static bool all_lead(struct vs_matcher *m, uint32_t from, uint32_t to)
{
    for (unsigned b = 0x20; b < 0x80; b++)
        if (vs_is_plain(b) && step_byte(m, from, (uint8_t)b) != to)
            return false;
    for (size_t i = 0; i < VS_UTF8_SHAPES; i++)
        for (unsigned b = vs_utf8_shape[i].lo; b <= vs_utf8_shape[i].hi; b++) {
            uint32_t at = step_byte(m, from, (uint8_t)b);
            for (unsigned k = 0; k < vs_utf8_shape[i].n && at != DEAD; k++) {
                unsigned lo = k ? 0x80 : vs_utf8_shape[i].second_lo, hi = k ? 0xbf : vs_utf8_shape[i].second_hi;
                uint32_t next = step_byte(m, at, (uint8_t)lo);
                for (unsigned c = lo + 1; c <= hi; c++)
                    next = step_byte(m, at, (uint8_t)c) == next ? next : DEAD;
                at = next;
            }
            if (at != to)
                return false;
        }
    return true;
}

/* The same where no place says so: text of any length leads to one state. */
static bool is_free(struct vs_matcher *m, uint32_t state, uint32_t *ret_cost)
{
    uint32_t to = step_byte(m, state, 'a');
    if (to == DEAD || !all_lead(m, state, to) || (to != state && !all_lead(m, to, to)))
        return false;
    *ret_cost = m->k.state[to].cost;
    return true;
}

static uint32_t fill(struct vs_matcher *m, uint32_t state, uint32_t left, uint64_t *bits)
{
    const struct vs_vocabulary *v = m->g->v;
    uint32_t cost = 0, run = run_of(m, state, &cost), most;
    if (!run && is_free(m, state, &cost))
        run = UINT32_MAX;
    if (run && cost <= left && cost < VS_COST_RARE) {
        memcpy(bits, v->slice[run < VS_SLICE_CHARS ? run : VS_SLICE_CHARS], v->n_words * sizeof *bits);
        most = walk(m, &v->rest, state, left, bits);
        most = most > cost ? most : cost;
    } else {
        memset(bits, 0, v->n_words * sizeof *bits);
        most = walk(m, &v->all, state, left, bits);
    }
    if (m->k.state[state].may_end)
        for (uint32_t i = 0; i < v->n_ends; i++)
            bits[v->end[i] / 64] |= UINT64_C(1) << v->end[i] % 64;
    return most;
}

static bool is_empty(const uint64_t *bits, uint32_t n)
{
    uint64_t any = 0;
    for (uint32_t i = 0; i < n; i++)
        any |= bits[i];
    return any == 0;
}

/* There was no room to find more: tokens on the shortest way. */
static void allow_shortest(struct vs_matcher *m, uint64_t *bits)
{
    const struct vs_vocabulary *v = m->g->v;
    uint32_t at = m->state, node = VS_NOWHERE;
    for (bool first = true; first || node != VS_NOWHERE; first = false) {
        unsigned b = best_byte(m, at);
        if (b > 255)
            return;
        node = first ? v->child[b] : child_of(&v->all, node, (uint8_t)b);
        m->is_full = false;              /* a few more states */
        at = step_byte(m, at, (uint8_t)b);
        if (node == VS_NOWHERE || at == DEAD)
            return;
        if (v->all.token[node] != VS_NOWHERE)
            allow(v, bits, v->all.token[node]);
    }
}

static uint32_t compute(struct vs_matcher *m, uint32_t left, uint64_t *bits)
{
    if (m->is_full && !forget(m))
        return 0;
    uint32_t most = fill(m, m->state, left, bits);
    if (m->is_full && forget(m))
        most = fill(m, m->state, left, bits);
    if (is_empty(bits, m->g->v->n_words) && !m->failed)
        allow_shortest(m, bits);
    return most;
}

/* A place for the mask of the present state. */
static struct mask *keep_mask(struct vs_matcher *m)
{
    if (m->n_masks == MAX_MASKS) {
        for (uint32_t i = 0; i < m->n_masks; i++)
            m->k.state[m->mask[i].state].mask = UNKNOWN;
        m->n_masks = 0;
    }
    struct mask *kept = &m->mask[m->n_masks];
    if (!kept->bits && !(kept->bits = malloc((m->g->v->n_words + 1) * sizeof *kept->bits)))
        return NULL;
    return kept;
}

const uint64_t *vs_matcher_mask(struct vs_matcher *m, uint32_t left)
{
    uint32_t at = m->k.state[m->state].mask;
    if (at != UNKNOWN && left >= m->mask[at].most)
        return m->mask[at].bits;
    struct mask *kept = at == UNKNOWN ? keep_mask(m) : NULL;
    if (kept) {
        uint64_t *bits = kept->bits;
        uint32_t most = compute(m, VS_COST_NEVER, bits);     /* may forget the masks that are kept */
        if (m->failed)
            return NULL;
        uint64_t *other = m->mask[m->n_masks].bits;
        if (other != bits) {
            for (uint32_t i = 0; i < MAX_MASKS; i++)
                if (m->mask[i].bits == bits)
                    m->mask[i].bits = other;
            m->mask[m->n_masks].bits = bits;
        }
        m->mask[m->n_masks].most = most;
        m->mask[m->n_masks].state = m->state;
        m->k.state[m->state].mask = m->n_masks++;
        if (left >= most)
            return is_empty(bits, m->g->v->n_words) ? NULL : bits;
    }
    if (m->spare_state != m->state || m->spare_left != left) {
        compute(m, left, m->spare);
        m->spare_state = m->state;
        m->spare_left = left;
    }
    return m->failed || is_empty(m->spare, m->g->v->n_words) ? NULL : m->spare;
}

/* ---- is it too much? ---- */

/* States that the probe was in. One that moves on enters none of them again: else it would stay in the first loop. */
struct seen { bool moves_on; uint32_t n, state[PROBED_BYTES]; };

static bool was_seen(const struct seen *seen, uint32_t state)
{
    for (uint32_t i = 0; i < seen->n; i++)
        if (seen->state[i] == state)
            return true;
    return false;
}

/* Goes by the byte that leaves most places open: one of ASCII if that goes on, since within a longer character there are more for a
 * moment. False: none goes on. */
static bool go_widest(struct vs_matcher *m, struct seen *seen)
{
    uint32_t best = DEAD, most = 0;
    if (seen->moves_on && seen->n < PROBED_BYTES)
        seen->state[seen->n++] = m->state;
    for (unsigned class = 0; class < m->g->n_classes && !m->failed; class++) {
        bool is_ascii = m->g->example[class] < 0x80;
        uint32_t to = step_byte(m, m->state, m->g->example[class]);
        uint32_t n = to == DEAD || was_seen(seen, to) ? 0 : m->k.state[to].n + (is_ascii ? VS_MAX_PLACES : 0);
        if (n > most) {
            most = n;
            best = to;
        }
    }
    if (best == DEAD && m->is_full) {
        seen->n = 0;                     /* states get other numbers */
        return forget(m);                /* and once more */
    }
    if (best != DEAD)
        m->state = best;
    return best != DEAD;
}

uint32_t vs_matcher_too_wide(struct vs_matcher *m, bool moves_on)
{
    struct seen seen = { .moves_on = moves_on };
    for (unsigned i = 1; i <= PROBED_BYTES && go_widest(m, &seen); i++) {
        uint32_t n = m->k.state[m->state].n;
        if (i % PROBED_EACH || n < WIDE)
            continue;
        if (n >= MUCH_WIDER && i >= 3 * PROBED_EACH)
            return n;
        seen.n = 0;
        if (!forget(m))
            return 0;
        n = m->k.state[m->state].n;
        m->spare_state = UNKNOWN;
        fill(m, m->state, VS_COST_NEVER, m->spare);
        if (m->is_full || m->k.work > MAX_WORK / 4)
            return n;
    }
    return 0;
}

/* ---- going on ---- */

static uint32_t run_through(struct vs_matcher *m, const char *text, size_t n, size_t *ret_n)
{
    uint32_t state = m->state;
    for (*ret_n = 0; *ret_n < n; ++*ret_n) {
        uint32_t to = step_byte(m, state, (uint8_t)text[*ret_n]);
        if (to == DEAD)
            break;
        state = to;
    }
    return state;
}

bool vs_matcher_take(struct vs_matcher *m, uint32_t id)
{
    const struct vs_vocabulary *v = m->g->v;
    if (id >= v->n || v->at[id + 1] == v->at[id])
        return false;
    size_t n = v->at[id + 1] - v->at[id], done;
    uint32_t state = run_through(m, v->bytes + v->at[id], n, &done);
    if (done < n && m->is_full && forget(m))
        state = run_through(m, v->bytes + v->at[id], n, &done);
    if (done < n || m->failed)
        return false;
    m->state = state;
    return true;
}

size_t vs_matcher_read(struct vs_matcher *m, const char *text, size_t n)
{
    for (size_t i = 0, done; i < n; i++) {
        uint32_t state = run_through(m, text + i, 1, &done);
        if (!done && m->is_full && forget(m))
            state = run_through(m, text + i, 1, &done);
        if (!done || m->failed)
            return i;
        m->state = state;
    }
    return n;
}

bool vs_matcher_may_end(const struct vs_matcher *m)
{
    return m->k.state[m->state].may_end;
}

bool vs_matcher_must_end(const struct vs_matcher *m)
{
    return m->k.state[m->state].may_end && m->k.state[m->state].n == 0;
}
