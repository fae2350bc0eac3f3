/* rooms: kv base
 *
 * Random operations beside a naive model: sequences as plain lists of tokens and pages, references counted by looking through all
 * of them. The bytes are modelled too: each position of a page holds what a backend would have computed there, a hash of all tokens
 * up to it, and who computed it. A copy or a clearing that lacks, a page that is written while others hold it, or one that another
 * owner meets shows there. */
#include "base/status.h"
#include "kv/kv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint64_t seed = 1;

static uint32_t below(uint32_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)((seed >> 11) % n);
}

enum { MAX_PAGES = 40, MAX_SIZE = 9, MAX_TOKENS = 120, MAX_RUN = 6, MAX_KEEP = 5, N_PLACES = MAX_RUN + MAX_KEEP, CLEAN = -1 };
enum state { NONE, RUN, KEEP };

struct sequence {
    enum state state;
    struct vs_kv_sequence *real;         /* RUN */
    int owner, key;
    uint64_t used;
    uint32_t n, reserved, n_pages, tokens[MAX_TOKENS], pages[MAX_PAGES];
};

struct model {
    struct vs_kv_config config;
    struct vs_kv *kv;
    struct sequence all[N_PLACES];
    uint64_t clock;
    struct cell { uint64_t value; int owner; } cells[MAX_PAGES][MAX_SIZE];
    uint32_t n_copied, n_cleared;        /* by the operation just done */
    uint32_t seen_adopted, seen_parts, seen_copies, seen_clears, seen_busy, seen_evicted, seen_taken, seen_redundant;
};

/* ---- the backend ---- */

static void copy_cells(void *context, uint32_t from, uint32_t to, uint32_t n)
{
    struct model *m = context;
    assert_true(from < m->config.n_pages && to < m->config.n_pages && from != to && n > 0 && n < m->config.page_tokens);
    memcpy(m->cells[to], m->cells[from], n * sizeof m->cells[0][0]);
    m->n_copied++;
}

static void clear_cells(void *context, const uint32_t *page, uint32_t n)
{
    struct model *m = context;
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < MAX_SIZE; k++)
            m->cells[page[i]][k] = (struct cell){ 0, CLEAN };
    m->n_cleared += n;
}

static uint64_t computed(const uint32_t *tokens, uint32_t n)
{
    uint64_t h = n;
    for (uint32_t i = 0; i < n; i++)
        h = (h ^ tokens[i]) * 0x9e3779b97f4a7c15u + 1;
    return h;
}

/* ---- the naive model ---- */

static uint32_t pages_for(const struct model *m, uint32_t n)
{
    return (n + m->config.page_tokens - 1) / m->config.page_tokens;
}

/* Sequences in a state that hold a page. */
static uint32_t refs(const struct model *m, uint32_t page, enum state state)
{
    uint32_t n = 0;
    for (int i = 0; i < N_PLACES; i++)
        for (uint32_t k = 0; m->all[i].state == state && k < m->all[i].n_pages; k++)
            n += m->all[i].pages[k] == page;
    return n;
}

static struct vs_kv_counts counts(const struct model *m)
{
    struct vs_kv_counts c = { .pages = m->config.n_pages };
    for (uint32_t p = 0; p < c.pages; p++)
        *(refs(m, p, RUN) ? &c.used : refs(m, p, KEEP) ? &c.cached : &c.free) += 1;
    return c;
}

static uint32_t n_in(const struct model *m, enum state state)
{
    uint32_t n = 0;
    for (int i = 0; i < N_PLACES; i++)
        n += m->all[i].state == state;
    return n;
}

static struct sequence *any(struct model *m, enum state state)
{
    uint32_t n = n_in(m, state), which = n ? below(n) : 0;
    for (int i = 0; n && i < N_PLACES; i++)
        if (m->all[i].state == state && which-- == 0)
            return &m->all[i];
    return NULL;
}

static struct sequence *oldest(struct model *m)
{
    struct sequence *old = NULL;
    for (int i = 0; i < N_PLACES; i++)
        if (m->all[i].state == KEEP && (!old || m->all[i].used < old->used))
            old = &m->all[i];
    return old;
}

static void pop_page(struct model *m, struct sequence *k)
{
    k->n_pages--;
    k->n = k->n < k->n_pages * m->config.page_tokens ? k->n : k->n_pages * m->config.page_tokens;
    if (!k->n_pages)
        k->state = NONE;
}

static void evict(struct model *m, uint32_t n_free)
{
    while (counts(m).free < n_free) {
        struct sequence *k = oldest(m);
        assert_non_null(k);
        pop_page(m, k);
        m->seen_evicted++;
    }
}

static bool one_scope(const struct model *m, const struct sequence *a, const struct sequence *b)
{
    return m->config.sharing == VS_KV_SHARE_ALL || (a->owner == b->owner && a->key == b->key);
}

static uint32_t common(const uint32_t *a, uint32_t n_a, const uint32_t *b, uint32_t n_b)
{
    uint32_t n = 0;
    while (n < n_a && n < n_b && a[n] == b[n])
        n++;
    return n;
}

/* ---- after each operation ---- */

/* Pages of s that it did not hold before hold nothing of others behind its tokens. */
static void check_new_pages(const struct model *m, const struct sequence *s, const struct sequence *before)
{
    for (uint32_t i = 0; i < s->n_pages; i++) {
        if (i < before->n_pages && before->pages[i] == s->pages[i])
            continue;
        for (uint32_t k = 0; k < m->config.page_tokens; k++) {
            const struct cell *cell = &m->cells[s->pages[i]][k];
            if (i * m->config.page_tokens + k >= s->n)
                assert_true(cell->owner == CLEAN || cell->owner == s->owner);
        }
    }
}

/* The page table as it is now is the model's from here on; new pages were free until now (n_free as the model has it). */
static void take_table(struct model *m, struct sequence *s, uint32_t first)
{
    uint32_t n;
    const uint32_t *pages = vs_kv_pages(s->real, &n);
    assert_int_equal(n, s->n_pages);
    for (uint32_t i = first; i < n; i++) {
        assert_true(pages[i] < m->config.n_pages);
        assert_int_equal(refs(m, pages[i], RUN) + refs(m, pages[i], KEEP), 0);
        s->pages[i] = pages[i];
    }
}

static void check(const struct model *m)
{
    struct vs_kv_counts is, want = counts(m);
    vs_kv_count(m->kv, &is);
    assert_memory_equal(&is, &want, sizeof is);
    for (int i = 0; i < N_PLACES; i++) {
        const struct sequence *s = &m->all[i];
        for (uint32_t k = 0; s->state != NONE && k < s->n; k++) {
            const struct cell *cell = &m->cells[s->pages[k / m->config.page_tokens]][k % m->config.page_tokens];
            assert_true(cell->value == computed(s->tokens, k + 1));
            if (m->config.sharing != VS_KV_SHARE_ALL)
                assert_int_equal(cell->owner, s->owner);
        }
        if (s->state != RUN)
            continue;
        uint32_t n;
        const uint32_t *pages = vs_kv_pages(s->real, &n);
        assert_int_equal(n, s->n_pages);
        assert_int_equal(n, pages_for(m, s->reserved));
        assert_memory_equal(pages, s->pages, n * sizeof *pages);
        assert_int_equal(vs_kv_length(s->real), s->n);
        for (uint32_t k = 0; k < s->n; k++)
            assert_int_equal(vs_kv_token(s->real, k), s->tokens[k]);
    }
}

/* ---- operations ---- */

static const char *const keys[] = { NULL, "a", "b", "0123456789012345678901234567890123456789012345678901234567890123" };

static struct sequence *place(struct model *m)
{
    for (int i = 0; i < N_PLACES; i++)
        if (m->all[i].state == NONE)
            return &m->all[i];
    fail();
    return NULL;
}

static void begin(struct model *m)
{
    struct vs_kv_sequence *real = NULL;
    int owner = (int)below(2), key = below(4) ? 0 : (int)below(4), r = vs_kv_open(m->kv, owner, keys[key], &real);
    assert_int_equal(r, n_in(m, RUN) == m->config.max_sequences ? VS_E_BUSY : VS_OK);
    if (r == VS_OK)
        *place(m) = (struct sequence){ .state = RUN, .real = real, .owner = owner, .key = key };
    else
        assert_null(real);
}

static void unreserve(const struct model *m, struct sequence *s)
{
    s->reserved = s->n;
    s->n_pages = pages_for(m, s->n);
}

static void branch(struct model *m)
{
    struct sequence *s = any(m, RUN);
    struct vs_kv_sequence *real = NULL;
    if (!s)
        return;
    int r = vs_kv_fork(s->real, &real);
    assert_int_equal(r, n_in(m, RUN) == m->config.max_sequences ? VS_E_BUSY : VS_OK);
    if (r != VS_OK)
        return;
    unreserve(m, s);
    struct sequence *new = place(m);
    *new = *s;
    new->real = real;
}

static void reserve(struct model *m)
{
    struct sequence *s = any(m, RUN);
    if (!s)
        return;
    struct sequence before = *s;
    uint32_t most = m->config.max_tokens + 3 - s->n, n = s->n + below(below(3) ? (most < 20 ? most : 20) : most);
    uint32_t size = m->config.page_tokens, need = pages_for(m, n), last = s->n / size;
    struct vs_kv_counts c = counts(m);
    bool part = s->n % size && n > s->reserved, shared = part && refs(m, s->pages[last], RUN) + refs(m, s->pages[last], KEEP) > 1;
    uint32_t fresh = need > s->n_pages ? need - s->n_pages : 0, room = c.free + c.cached;
    bool take = shared && fresh == room && refs(m, s->pages[last], RUN) == 1;        /* those who keep it lose it */
    int want = n <= s->reserved ? VS_OK : n > m->config.max_tokens || need > m->config.n_pages ? VS_E_CONTEXT
             : fresh + (shared && !take) > room ? VS_E_BUSY : VS_OK;
    assert_int_equal(vs_kv_reserve(s->real, n), want);
    m->seen_busy += want == VS_E_BUSY;
    if (want != VS_OK || n <= s->reserved)
        return;
    for (int i = 0; take && i < N_PLACES; i++)
        while (m->all[i].state == KEEP && m->all[i].n_pages > last && m->all[i].pages[last] == s->pages[last])
            pop_page(m, &m->all[i]);
    shared = shared && !take;
    m->seen_taken += take;
    m->seen_copies += shared;
    evict(m, fresh + shared);
    uint32_t n_pages;
    const uint32_t *pages = vs_kv_pages(s->real, &n_pages);
    if (shared) {
        assert_int_equal(refs(m, pages[last], RUN) + refs(m, pages[last], KEEP), 0);
        s->pages[last] = pages[last];
    }
    assert_int_equal(m->n_copied, shared);
    uint32_t first = s->n_pages;
    s->n_pages = first + fresh;
    for (uint32_t i = first; i < s->n_pages; i++)
        s->pages[i] = UINT32_MAX;
    take_table(m, s, first);
    s->reserved = n;
    check_new_pages(m, s, &before);
}

/* What the backend would write; no other may hold the page then. */
static void compute(struct model *m, struct sequence *s, const uint32_t *tokens, uint32_t n)
{
    memcpy(s->tokens + s->n, tokens, n * sizeof *tokens);
    for (uint32_t p = s->n; p < s->reserved; p++) {      /* also what is not committed: drafts that were wrong */
        uint32_t page = s->pages[p / m->config.page_tokens];
        assert_int_equal(refs(m, page, RUN) + refs(m, page, KEEP), 1);
        m->cells[page][p % m->config.page_tokens] =
            (struct cell){ p < s->n + n ? computed(s->tokens, p + 1) : ~(uint64_t)p, s->owner };
    }
}

static void commit(struct model *m)
{
    struct sequence *s = any(m, RUN);
    if (!s || s->reserved == s->n)
        return;
    uint32_t n = below(3) ? s->reserved - s->n : below(s->reserved - s->n + 1), tokens[MAX_TOKENS];
    for (uint32_t i = 0; i < n; i++)
        tokens[i] = below(8) ? 0 : below(3);
    compute(m, s, tokens, n);
    vs_kv_commit(s->real, tokens, n);
    s->n += n;
}

static void truncate(struct model *m)
{
    struct sequence *s = any(m, RUN);
    if (!s)
        return;
    uint32_t n = below(s->n + 4);
    vs_kv_truncate(s->real, n);
    s->n = n < s->n ? n : s->n;
    unreserve(m, s);
}

static void adopt(struct model *m)
{
    struct sequence *s = any(m, RUN), *best = NULL;
    if (!s)
        return;
    struct sequence before = *s;
    uint32_t tokens[MAX_TOKENS + 8], n = below(MAX_TOKENS + 8), size = m->config.page_tokens, most = s->n;
    const struct sequence *like = any(m, below(2) ? RUN : KEEP);
    for (uint32_t i = 0; i < n; i++)
        tokens[i] = below(8) ? 0 : below(3);
    if (like && below(4))
        memcpy(tokens, like->tokens, (like->n < n ? like->n : n) * sizeof *tokens);
    if (below(8))                                        /* else: they do not begin with what it has */
        memcpy(tokens, s->tokens, (s->n < n ? s->n : n) * sizeof *tokens);
    bool mine = common(s->tokens, s->n, tokens, n) == s->n && m->config.sharing != VS_KV_SHARE_NONE;
    uint32_t limit = n < m->config.max_tokens ? n : m->config.max_tokens;
    for (int i = 0; mine && i < N_PLACES; i++) {
        struct sequence *c = &m->all[i];
        uint32_t same = c->state == NONE || c == s || !one_scope(m, c, s) ? 0 : common(c->tokens, c->n, tokens, limit);
        if (same > most || (best && same == most && best->state == KEEP && (c->state == RUN || c->used > best->used))) {
            best = c;
            most = same;
        }
    }
    unreserve(m, s);
    uint32_t got = vs_kv_adopt(s->real, tokens, n);
    if (!best) {
        assert_int_equal(got, s->n);
        return;
    }
    best->used = best->state == KEEP ? ++m->clock : 0;
    uint32_t whole = most / size, part = most % size, from = part ? best->pages[whole] : 0;
    memcpy(s->pages, best->pages, whole * sizeof *s->pages);
    s->n_pages = s->n_pages > whole ? s->n_pages : whole;
    bool own = part && before.n > whole * size && refs(m, s->pages[whole], RUN) + refs(m, s->pages[whole], KEEP) == 1;
    if (part && !own) {
        struct sequence pin = { .state = RUN, .n_pages = 1, .pages = { from } }, *at = NULL;
        for (int i = 0; i < N_PLACES; i++)               /* a page is not evicted to make room for its own copy */
            at = m->all[i].state == NONE ? &m->all[i] : at;
        struct vs_kv_counts c;
        if (at)
            *at = pin;
        c = counts(m);
        part = c.free + c.cached ? part : 0;
        if (part)
            evict(m, 1);
        if (at)
            at->state = NONE;
    }
    uint32_t now = whole * size + part > before.n ? whole * size + part : before.n;
    assert_int_equal(got, now);
    assert_int_equal(m->n_copied, part ? 1 : 0);
    m->seen_adopted++;
    m->seen_parts += part > 0;
    if (part && !own) {
        s->n_pages = whole;
        uint32_t n_pages;
        const uint32_t *pages = vs_kv_pages(s->real, &n_pages);
        assert_int_equal(n_pages, whole + 1);
        assert_true(pages[whole] != from);
        assert_int_equal(refs(m, pages[whole], RUN) + refs(m, pages[whole], KEEP), 0);
        s->pages[s->n_pages++] = pages[whole];
    }
    memcpy(s->tokens, tokens, now * sizeof *tokens);
    s->n = s->reserved = now;
    check_new_pages(m, s, &before);
}

static void end(struct model *m)
{
    struct sequence *s = any(m, RUN), *other = NULL;
    if (!s)
        return;
    bool keep = below(4);
    vs_kv_close(s->real, keep);
    unreserve(m, s);
    for (int i = 0; i < N_PLACES; i++) {
        struct sequence *k = &m->all[i];
        if (k->state == KEEP && one_scope(m, k, s) && common(k->tokens, k->n, s->tokens, s->n) == s->n
            && (!other || k->used > other->used))
            other = k;
    }
    s->state = NONE;
    if (!keep || !s->n || !m->config.max_kept || m->config.sharing == VS_KV_SHARE_NONE)
        return;
    if (other) {
        other->used = ++m->clock;
        m->seen_redundant++;
        return;
    }
    for (int i = 0; i < N_PLACES; i++) {
        struct sequence *k = &m->all[i];
        if (k->state == KEEP && one_scope(m, k, s) && common(k->tokens, k->n, s->tokens, s->n) == k->n) {
            k->state = NONE;
            m->seen_redundant++;
        }
    }
    if (n_in(m, KEEP) == m->config.max_kept)
        oldest(m)->state = NONE;
    s->state = KEEP;
    s->used = ++m->clock;
}

static void forget(struct model *m)
{
    if (below(20))
        return;
    vs_kv_forget(m->kv);
    for (int i = 0; i < N_PLACES; i++)
        m->all[i].state = m->all[i].state == KEEP ? NONE : m->all[i].state;
}

static void test_random(void **state)
{
    (void)state;
    static void (*const what[])(struct model *) = { begin, branch, reserve, reserve, reserve, commit, commit, commit,
                                                    truncate, adopt, adopt, adopt, end, end, forget };
    uint32_t seen[8] = { 0 };
    for (int round = 0; round < 700; round++) {
        static struct model m;
        memset(&m, 0, sizeof m);
        uint32_t size = 1 + below(MAX_SIZE), n_pages = below(MAX_PAGES + 1);
        m.config = (struct vs_kv_config){ .n_pages = n_pages, .page_tokens = size, .max_tokens = 1 + below(MAX_TOKENS),
                                          .max_sequences = 1 + below(MAX_RUN - 1), .max_kept = below(MAX_KEEP + 1),
                                          .sharing = round % 3 == 0 ? VS_KV_SHARE_ALL : round % 10 ? VS_KV_SHARE_OWNER
                                                   : VS_KV_SHARE_NONE,
                                          .memory = { copy_cells, clear_cells, &m } };
        clear_cells(&m, (uint32_t[]){ 0 }, 0);
        for (uint32_t p = 0; p < MAX_PAGES; p++)
            clear_cells(&m, &p, 1);
        assert_int_equal(vs_kv_create(&m.config, &m.kv), VS_OK);
        for (int i = 0; i < 800; i++) {
            m.n_copied = m.n_cleared = 0;
            what[below(sizeof what / sizeof *what)](&m);
            m.seen_clears += m.n_cleared;
            check(&m);
        }
        vs_kv_forget(m.kv);
        for (int i = 0; i < N_PLACES; i++)
            if (m.all[i].state == RUN)
                vs_kv_close(m.all[i].real, false);
        struct vs_kv_counts c;
        vs_kv_count(m.kv, &c);
        assert_int_equal(c.free, n_pages);               /* nothing was lost */
        vs_kv_free(m.kv);
        const uint32_t some[8] = { m.seen_adopted, m.seen_parts, m.seen_copies, m.seen_clears, m.seen_busy, m.seen_evicted,
                                   m.seen_taken, m.seen_redundant };
        for (int i = 0; i < 8; i++)
            seen[i] += some[i];
    }
    for (int i = 0; i < 8; i++)                          /* each of these did happen, often */
        assert_in_range(seen[i], 20, UINT32_MAX);
}

static void no_copy(void *context, uint32_t from, uint32_t to, uint32_t n)
{
    (void)context, (void)from, (void)to, (void)n;
    fail();
}

static void no_clear(void *context, const uint32_t *page, uint32_t n)
{
    (void)context, (void)page, (void)n;
    fail();
}

/* A sequence that grows alone has ascending pages: its keys are one stream of memory. Also after it was cut. */
static void test_order(void **state)
{
    (void)state;
    struct vs_kv *kv;
    struct vs_kv_sequence *s;
    const struct vs_kv_config config = { .n_pages = 100, .page_tokens = 64, .max_tokens = 10000, .max_sequences = 1,
                                         .memory = { no_copy, no_clear, NULL } };
    static uint32_t zeros[64 * 100];
    assert_int_equal(vs_kv_create(&config, &kv), VS_OK);
    assert_int_equal(vs_kv_open(kv, 7, NULL, &s), VS_OK);
    for (uint32_t round = 0; round < 3; round++) {
        for (uint32_t n = vs_kv_length(s); n <= 6400; n += 37)
            assert_int_equal(vs_kv_reserve(s, n), VS_OK);
        assert_int_equal(vs_kv_reserve(s, 6400), VS_OK);
        vs_kv_commit(s, zeros, 6400 - vs_kv_length(s));
        uint32_t n_pages;
        const uint32_t *page = vs_kv_pages(s, &n_pages);
        assert_int_equal(n_pages, 100);
        for (uint32_t i = 0; i < n_pages; i++)
            assert_int_equal(page[i], i);
        if (round < 2)
            vs_kv_truncate(s, round * 1000);
    }
    assert_int_equal(vs_kv_reserve(s, 6401), VS_E_CONTEXT);
    assert_int_equal(vs_kv_reserve(s, UINT32_MAX), VS_E_CONTEXT);
    vs_kv_close(s, true);
    vs_kv_close(NULL, true);
    vs_kv_free(kv);
    vs_kv_free(NULL);
}

static void test_keys(void **state)
{
    (void)state;
    struct vs_kv *kv;
    struct vs_kv_sequence *s = NULL;
    const struct vs_kv_config config = { .n_pages = 1, .page_tokens = 64, .max_tokens = 64, .max_sequences = 1,
                                         .memory = { no_copy, no_clear, NULL } };
    char key[VS_KV_MAX_KEY + 2] = "";
    memset(key, 'k', VS_KV_MAX_KEY + 1);
    assert_int_equal(vs_kv_create(&config, &kv), VS_OK);
    assert_int_equal(vs_kv_open(kv, 0, key, &s), VS_E_INVALID);
    key[VS_KV_MAX_KEY] = 0;
    assert_int_equal(vs_kv_open(kv, 0, key, &s), VS_OK);
    vs_kv_free(kv);
}

/* ---- states ---- */

/* Random operations on sequences with states, beside a list of what each slot holds. A state is a hash of the tokens that were
 * read: a step reads it in one slot and writes it to others; one that is lost, written twice or of other tokens shows there. */
enum { MAX_SLOTS = 24, N_SEQUENCES = 4 };

struct recurrent {
    struct vs_kv *kv;
    struct vs_kv_sequence *s[N_SEQUENCES];
    uint32_t n[N_SEQUENCES], tokens[N_SEQUENCES][MAX_TOKENS];
    uint64_t slots[MAX_SLOTS];
    uint32_t n_slots, seen_busy, seen_marks, seen_back, seen_adopted, seen_short;
};

static uint64_t after(uint64_t state, uint32_t token)
{
    return (state ^ token) * 0x9e3779b97f4a7c15u + 1;
}

static uint64_t state_of(const uint32_t *tokens, uint32_t n)
{
    uint64_t h = 0;
    for (uint32_t i = 0; i < n; i++)
        h = after(h, tokens[i]);
    return h;
}

/* A step of one sequence as the backend does it, then its end: all is taken, or some of it, or the step has failed. */
static void advance(struct recurrent *r, int i)
{
    uint32_t have = vs_kv_length(r->s[i]), n = 1 + below(9), mark = below(n + 1);
    struct vs_kv_plan plan;
    if (have + n > MAX_TOKENS || vs_kv_reserve(r->s[i], have + n) != VS_OK)
        return;
    uint32_t *tokens = r->tokens[i];
    for (uint32_t k = have; k < have + n; k++)
        tokens[k] = below(8) ? 0 : below(3);
    if (vs_kv_plan(r->s[i], n, mark, below(2), &plan) != VS_OK) {
        r->seen_busy++;
        assert_int_equal(vs_kv_length(r->s[i]), have);
        vs_kv_truncate(r->s[i], have);
        assert_int_equal(vs_kv_length(r->s[i]), have);
        return;
    }
    assert_true(plan.end < r->n_slots && plan.end != plan.from && plan.end != plan.mark);
    assert_true(have ? plan.from < r->n_slots : plan.from == VS_KV_NO_STATE);
    assert_true(!plan.n_mark || (plan.mark < r->n_slots && plan.mark != plan.from && plan.n_mark == mark));
    uint64_t state = have ? r->slots[plan.from] : 0;
    assert_true(state == state_of(tokens, have));
    for (uint32_t k = 0; k < n; k++) {
        state = after(state, tokens[have + k]);
        if (k + 1 == plan.n_mark)
            r->slots[plan.mark] = state;
    }
    r->slots[plan.end] = state;
    r->seen_marks += plan.n_mark > 0;
    if (below(8) == 0) {                                 /* it has failed */
        vs_kv_truncate(r->s[i], have);
        assert_int_equal(vs_kv_length(r->s[i]), have);
        return;
    }
    vs_kv_commit(r->s[i], tokens + have, n);
    if (below(2)) {                                      /* the last of them were wrong */
        uint32_t good = have + below(n + 1);
        vs_kv_truncate(r->s[i], good);
        uint32_t left = vs_kv_length(r->s[i]);
        assert_in_range(left, plan.n_mark && plan.n_mark <= good - have ? have + plan.n_mark : have, good);
        r->seen_back += left < good;
    }
}

static void find_beginning(struct recurrent *r, int i)
{
    int other = (int)below(N_SEQUENCES);
    uint32_t had = vs_kv_length(r->s[i]), n = r->s[other] ? vs_kv_length(r->s[other]) : below(20), tokens[MAX_TOKENS] = { 0 };
    if (r->s[other])
        memcpy(tokens, r->tokens[other], n * sizeof *tokens);
    bool mine = common(r->tokens[i], had, tokens, n) == had;
    uint32_t got = vs_kv_adopt(r->s[i], tokens, n);
    assert_true(got >= had && (mine || got == had) && (got == had || got <= n));
    memcpy(r->tokens[i], got > had ? tokens : r->tokens[i], got * sizeof *tokens);
    r->seen_adopted += got > had;
    r->seen_short += got > had && got < n;
}

static void fork_or_end(struct recurrent *r, int i)
{
    int other = (int)below(N_SEQUENCES);
    if (!r->s[other] && vs_kv_fork(r->s[i], &r->s[other]) == VS_OK) {
        memcpy(r->tokens[other], r->tokens[i], sizeof r->tokens[i]);
        assert_int_equal(vs_kv_length(r->s[other]), vs_kv_length(r->s[i]));
        return;
    }
    vs_kv_close(r->s[i], below(4));
    r->s[i] = NULL;
}

static void test_states(void **state)
{
    (void)state;
    uint32_t busy = 0, marks = 0, back = 0, adopted = 0, shorter = 0;
    for (int round = 0; round < 300; round++) {
        static struct recurrent r;
        static struct model cells;                       /* pages are copied, and nobody looks at them */
        memset(&r, 0, sizeof r);
        cells.config = (struct vs_kv_config){ .n_pages = 4 + below(30), .page_tokens = 1 + below(MAX_SIZE),
                                              .max_tokens = MAX_TOKENS,
                                              .max_sequences = N_SEQUENCES, .max_kept = 3,
                                              .n_states = 1 + below(MAX_SLOTS), .memory = { copy_cells, clear_cells, &cells } };
        r.n_slots = cells.config.n_states;
        assert_int_equal(vs_kv_create(&cells.config, &r.kv), VS_OK);
        for (int step = 0; step < 600; step++) {
            int i = (int)below(N_SEQUENCES);
            if (!r.s[i])
                assert_int_equal(vs_kv_open(r.kv, 0, NULL, &r.s[i]), VS_OK);
            else if (below(3))
                advance(&r, i);
            else if (below(2))
                find_beginning(&r, i);
            else if (below(4))
                fork_or_end(&r, i);
            else
                vs_kv_truncate(r.s[i], below(MAX_TOKENS));
        }
        for (int i = 0; i < N_SEQUENCES; i++)
            vs_kv_close(r.s[i], false);
        vs_kv_forget(r.kv);
        struct vs_kv_counts counts;
        vs_kv_count(r.kv, &counts);
        assert_int_equal(counts.free, counts.pages);
        assert_int_equal(counts.free_states, r.n_slots); /* nothing was lost */
        vs_kv_free(r.kv);
        busy += r.seen_busy, marks += r.seen_marks, back += r.seen_back, adopted += r.seen_adopted, shorter += r.seen_short;
    }
    const uint32_t seen[] = { busy, marks, back, adopted, shorter };
    for (size_t i = 0; i < sizeof seen / sizeof *seen; i++)
        assert_in_range(seen[i], 20, UINT32_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_random), cmocka_unit_test(test_states),
                                        cmocka_unit_test(test_order), cmocka_unit_test(test_keys) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
