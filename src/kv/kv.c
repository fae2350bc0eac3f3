/* kv/kv.c - see kv.h. What can be found again is a list, not a tree: a sequence that can't help is told by one token (the next
 * one), a few hundred of them by some microseconds, and tokens are compared at last in any case. */
#include "kv/pool.h"
#include "kv/states.h"

#include "base/status.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum state { GONE, RUNNING, KEPT };
enum { MAX_SNAPSHOTS = 8 };              /* of a sequence; two may be planned */

/* A state that a sequence holds: that of its first `position` tokens. Above n_tokens: one that the step is to write. */
struct snapshot {
    uint32_t position, slot;
    bool keep;                           /* of use to others when the sequence is longer */
};

struct vs_kv_sequence {
    struct vs_kv *kv;
    enum state state;
    uint32_t n_tokens, n_reserved, n_pages;      /* positions committed; made ready to be written, at least as many */
    uint32_t *pages;                             /* [max_pages] */
    int64_t owner;
    uint64_t used;                               /* KEPT: the greater, the later */
    struct snapshot snapshots[MAX_SNAPSHOTS];    /* ascending positions */
    uint32_t n_snapshots;
    char key[VS_KV_MAX_KEY + 1];
};

struct vs_kv {
    struct vs_kv_config config;
    struct vs_kv_pool *pool;
    struct vs_kv_states *states;
    uint32_t n_sequences, max_pages, n_running, n_kept;
    struct vs_kv_sequence *sequences;            /* [max_sequences + max_kept] */
    uint32_t *tables;                            /* their page tables */
    uint64_t clock;                              /* of uses */
};

static uint32_t pages_for(const struct vs_kv *kv, uint32_t n_tokens)
{
    return n_tokens / kv->config.page_tokens + (n_tokens % kv->config.page_tokens != 0);
}

int vs_kv_create(const struct vs_kv_config *config, struct vs_kv **ret)
{
    assert(config->page_tokens > 0);
    struct vs_kv *kv = calloc(1, sizeof *kv);
    if (!kv)
        return VS_E_NOMEM;
    kv->config = *config;
    kv->n_sequences = config->max_sequences + config->max_kept;
    kv->max_pages = pages_for(kv, config->max_tokens);
    kv->max_pages = kv->max_pages < config->n_pages ? kv->max_pages : config->n_pages;
    size_t n = kv->n_sequences ? kv->n_sequences : 1;
    kv->sequences = calloc(n, sizeof *kv->sequences);
    kv->tables = calloc(n, (kv->max_pages ? kv->max_pages : 1) * sizeof *kv->tables);
    if (!kv->sequences || !kv->tables || vs_kv_states_create(config->n_states, &kv->states) != VS_OK ||
        vs_kv_pool_create(config->n_pages, config->page_tokens, &config->memory, &kv->pool) != VS_OK) {
        vs_kv_free(kv);
        return VS_E_NOMEM;
    }
    for (uint32_t i = 0; i < kv->n_sequences; i++)
        kv->sequences[i] = (struct vs_kv_sequence){ .kv = kv, .pages = kv->tables + (size_t)i * kv->max_pages };
    *ret = kv;
    return VS_OK;
}

void vs_kv_free(struct vs_kv *kv)
{
    if (!kv)
        return;
    vs_kv_pool_free(kv->pool);
    vs_kv_states_free(kv->states);
    free(kv->sequences);
    free(kv->tables);
    free(kv);
}

/* ---- what a sequence holds ---- */

static enum vs_kv_holder holder(const struct vs_kv_sequence *s)
{
    return s->state == RUNNING ? VS_KV_RUNNING : VS_KV_KEPT;
}

/* Gives the pages from the nth on back, the last one first: who comes next takes them in ascending order. */
static void drop_pages(struct vs_kv_sequence *s, uint32_t n)
{
    while (s->n_pages > n)
        vs_kv_pool_unref(s->kv->pool, s->pages[--s->n_pages], holder(s));
}

static bool has_states(const struct vs_kv *kv)
{
    return kv->config.n_states > 0;
}

static void drop_snapshot(struct vs_kv_sequence *s, uint32_t i)
{
    vs_kv_states_unref(s->kv->states, s->snapshots[i].slot);
    s->n_snapshots--;
    memmove(s->snapshots + i, s->snapshots + i + 1, (s->n_snapshots - i) * sizeof *s->snapshots);
}

/* The longest beginning of its first n tokens that it can go on from. */
static uint32_t restorable(const struct vs_kv_sequence *s, uint32_t n)
{
    if (!has_states(s->kv))
        return n;
    uint32_t best = 0;
    for (uint32_t i = 0; i < s->n_snapshots && s->snapshots[i].position <= n; i++)
        best = s->snapshots[i].position;
    return best;
}

/* Room for one more: without that whose end is nearest to the next one's. The last ones stay: a step needs them. */
static void thin_snapshots(struct vs_kv_sequence *s)
{
    uint32_t worst = 0;
    for (uint32_t i = 1; i + 3 < s->n_snapshots; i++)
        if (s->snapshots[i + 1].position - s->snapshots[i].position
            < s->snapshots[worst + 1].position - s->snapshots[worst].position)
            worst = i;
    drop_snapshot(s, worst);
}

/* The reference is the sequence's from here on. */
static void add_snapshot(struct vs_kv_sequence *s, struct snapshot snapshot)
{
    if (s->n_snapshots == MAX_SNAPSHOTS)
        thin_snapshots(s);
    uint32_t i = s->n_snapshots++;
    for (; i && s->snapshots[i - 1].position > snapshot.position; i--)
        s->snapshots[i] = s->snapshots[i - 1];
    s->snapshots[i] = snapshot;
}

static bool has_snapshot(const struct vs_kv_sequence *s, uint32_t position)
{
    for (uint32_t i = 0; i < s->n_snapshots; i++)
        if (s->snapshots[i].position == position)
            return true;
    return false;
}

/* All states of c's first n tokens that s lacks; both have the same tokens there. */
static void share_snapshots(struct vs_kv_sequence *s, const struct vs_kv_sequence *c, uint32_t n)
{
    for (uint32_t i = 0; i < c->n_snapshots && c->snapshots[i].position <= n; i++)
        if (!has_snapshot(s, c->snapshots[i].position)) {
            vs_kv_states_ref(s->kv->states, c->snapshots[i].slot);
            add_snapshot(s, c->snapshots[i]);
        }
}

static void cut(struct vs_kv_sequence *s, uint32_t n_tokens)
{
    s->n_tokens = restorable(s, n_tokens < s->n_tokens ? n_tokens : s->n_tokens);
    while (s->n_snapshots && s->snapshots[s->n_snapshots - 1].position > s->n_tokens)
        drop_snapshot(s, s->n_snapshots - 1);
    s->n_reserved = s->n_tokens;
    drop_pages(s, pages_for(s->kv, s->n_tokens));
}

static void release(struct vs_kv_sequence *s)
{
    cut(s, 0);                           /* and its states: none is of 0 tokens */
    *(s->state == RUNNING ? &s->kv->n_running : &s->kv->n_kept) -= 1;
    s->state = GONE;
}

static void touch(struct vs_kv_sequence *s)
{
    s->used = ++s->kv->clock;
}

/* ---- room for more ---- */

static struct vs_kv_sequence *least_recent(struct vs_kv *kv)
{
    struct vs_kv_sequence *least = NULL;
    for (uint32_t i = 0; i < kv->n_sequences; i++) {
        struct vs_kv_sequence *k = &kv->sequences[i];
        if (k->state == KEPT && (!least || k->used < least->used))
            least = k;
    }
    return least;
}

/* Takes the last page from a kept sequence, which goes with its first one. */
static void shorten(struct vs_kv_sequence *k)
{
    cut(k, (k->n_pages - 1) * k->kv->config.page_tokens);
    if (!k->n_pages)
        release(k);
}

/* Takes the first state from a kept sequence, which goes with its last one. */
static void forget_state(struct vs_kv_sequence *k)
{
    drop_snapshot(k, 0);
    if (!k->n_snapshots)
        release(k);
}

static uint32_t available(const struct vs_kv *kv)
{
    struct vs_kv_counts n;
    vs_kv_pool_count(kv->pool, &n);
    return n.free + n.cached;
}

/* n free pages, from kept sequences where there are too few; n is at most what is available. */
static void make_room(struct vs_kv *kv, uint32_t n)
{
    struct vs_kv_counts have;
    for (vs_kv_pool_count(kv->pool, &have); have.free < n; vs_kv_pool_count(kv->pool, &have))
        shorten(least_recent(kv));
}

/* Takes a page, and what comes behind it, from the kept sequences that hold it as their ith. */
static void take_from_kept(struct vs_kv *kv, uint32_t i, uint32_t page)
{
    for (struct vs_kv_sequence *k = kv->sequences; k < kv->sequences + kv->n_sequences; k++)
        while (k->state == KEPT && k->n_pages > i && k->pages[i] == page)
            shorten(k);
}

/* Its own copy of the ith page, of which the first n positions count. There is a free page. */
static void copy_page(struct vs_kv_sequence *s, uint32_t i, uint32_t n)
{
    uint32_t from = s->pages[i];
    vs_kv_pool_take(s->kv->pool, s->owner, 1, &s->pages[i]);
    vs_kv_pool_copy(s->kv->pool, from, s->pages[i], n);
    vs_kv_pool_unref(s->kv->pool, from, VS_KV_RUNNING);
}

/* The last page is there in part and is about to be written: is it another's too? */
static bool must_copy(const struct vs_kv_sequence *s)
{
    uint32_t size = s->kv->config.page_tokens;
    return s->n_tokens % size && vs_kv_pool_refs(s->kv->pool, s->pages[s->n_tokens / size]) > 1;
}

int vs_kv_reserve(struct vs_kv_sequence *s, uint32_t n_tokens)
{
    struct vs_kv *kv = s->kv;
    assert(s->state == RUNNING);
    if (n_tokens <= s->n_reserved)
        return VS_OK;
    uint32_t need = pages_for(kv, n_tokens), last = s->n_tokens / kv->config.page_tokens,
             part = s->n_tokens % kv->config.page_tokens;
    if (n_tokens > kv->config.max_tokens || need > kv->max_pages)
        return VS_E_CONTEXT;
    uint32_t fresh = need - s->n_pages, room = available(kv);
    bool copy = must_copy(s);
    if (fresh > room)
        return VS_E_BUSY;
    if (copy && fresh == room) {         /* no page to copy to: but who only keeps it must let it go */
        if (vs_kv_pool_running(kv->pool, s->pages[last]) > 1)
            return VS_E_BUSY;
        take_from_kept(kv, last, s->pages[last]);
        copy = false;
    }
    make_room(kv, fresh + copy);
    if (copy)
        copy_page(s, last, part);
    else if (part)
        vs_kv_pool_own(kv->pool, s->pages[last], s->owner);
    vs_kv_pool_take(kv->pool, s->owner, fresh, s->pages + s->n_pages);
    s->n_pages = need;
    s->n_reserved = n_tokens;
    return VS_OK;
}

/* ---- states of a step ---- */

/* One that a running sequence can do without: neither its present one nor one that is planned. NULL: there is none. */
static struct vs_kv_sequence *with_spare_state(struct vs_kv *kv)
{
    for (struct vs_kv_sequence *s = kv->sequences; s < kv->sequences + kv->n_sequences; s++)
        if (s->state == RUNNING && s->n_snapshots && s->snapshots[0].position < s->n_tokens)
            return s;
    return NULL;
}

/* A slot, from those who only keep theirs where none is free. */
static uint32_t take_state(struct vs_kv *kv)
{
    for (;;) {
        struct vs_kv_sequence *s = NULL;
        if (!vs_kv_states_free_slots(kv->states) && (s = least_recent(kv)))
            forget_state(s);
        else if (!vs_kv_states_free_slots(kv->states) && (s = with_spare_state(kv)))
            drop_snapshot(s, 0);
        if (!s)
            return vs_kv_states_take(kv->states);
    }
}

static uint32_t slot_of(const struct vs_kv_sequence *s, uint32_t position)
{
    for (uint32_t i = 0; i < s->n_snapshots; i++)
        if (s->snapshots[i].position == position)
            return s->snapshots[i].slot;
    return VS_KV_NO_STATE;
}

int vs_kv_plan(struct vs_kv_sequence *s, uint32_t n, uint32_t n_mark, bool keep, struct vs_kv_plan *ret)
{
    struct vs_kv *kv = s->kv;
    *ret = (struct vs_kv_plan){ VS_KV_NO_STATE, VS_KV_NO_STATE, VS_KV_NO_STATE, 0 };
    if (!has_states(kv))
        return VS_OK;
    assert(s->state == RUNNING && n && n <= s->n_reserved - s->n_tokens);
    for (uint32_t i = s->n_snapshots; i-- > 0;)          /* an earlier step's, that nobody will ask for */
        if (s->snapshots[i].position != s->n_tokens && (s->snapshots[i].position > s->n_tokens || !s->snapshots[i].keep))
            drop_snapshot(s, i);
    ret->end = take_state(kv);
    if (ret->end == VS_KV_NO_STATE)
        return VS_E_BUSY;
    add_snapshot(s, (struct snapshot){ s->n_tokens + n, ret->end, keep && n_mark == n });
    bool is_enough = kv->config.n_states >= 3 * kv->n_running;      /* the others of the step each have one, and need one more */
    if (n_mark && n_mark < n && is_enough && (ret->mark = take_state(kv)) != VS_KV_NO_STATE) {
        ret->n_mark = n_mark;
        add_snapshot(s, (struct snapshot){ s->n_tokens + n_mark, ret->mark, keep });
    }
    ret->from = slot_of(s, s->n_tokens);
    return VS_OK;
}

void vs_kv_commit(struct vs_kv_sequence *s, const uint32_t *tokens, uint32_t n)
{
    uint32_t size = s->kv->config.page_tokens;
    assert(s->state == RUNNING && n <= s->n_reserved - s->n_tokens);
    while (n) {
        uint32_t at = s->n_tokens % size, some = n < size - at ? n : size - at;
        memcpy(vs_kv_pool_tokens(s->kv->pool, s->pages[s->n_tokens / size]) + at, tokens, some * sizeof *tokens);
        s->n_tokens += some;
        tokens += some;
        n -= some;
    }
}

void vs_kv_truncate(struct vs_kv_sequence *s, uint32_t n)
{
    assert(s->state == RUNNING);
    cut(s, n);
}

/* ---- finding ---- */

static bool same_scope(const struct vs_kv_sequence *a, const struct vs_kv_sequence *b)
{
    bool same_key = strcmp(a->key, b->key) == 0;
    return a->kv->config.sharing == VS_KV_SHARE_ALL ? same_key || !a->kv->config.keyed : a->owner == b->owner && same_key;
}

/* How many of the first n are equal. */
static uint32_t n_equal(const uint32_t *a, const uint32_t *b, uint32_t n)
{
    if (memcmp(a, b, n * sizeof *a) == 0)
        return n;
    uint32_t i = 0;
    while (a[i] == b[i])
        i++;
    return i;
}

/* How many of tokens[0, n) s begins with. */
static uint32_t n_common(const struct vs_kv_sequence *s, const uint32_t *tokens, uint32_t n)
{
    uint32_t size = s->kv->config.page_tokens, most = n < s->n_tokens ? n : s->n_tokens;
    for (uint32_t done = 0; done < most; done += size) {
        uint32_t some = most - done < size ? most - done : size;
        uint32_t same = n_equal(vs_kv_pool_tokens(s->kv->pool, s->pages[done / size]), tokens + done, some);
        if (same < some)
            return done + same;
    }
    return most;
}

/* Are all tokens of a the first ones of b? */
static bool is_prefix(const struct vs_kv_sequence *a, const struct vs_kv_sequence *b)
{
    uint32_t size = a->kv->config.page_tokens;
    for (uint32_t done = 0; done < a->n_tokens && a->n_tokens <= b->n_tokens; done += size) {
        uint32_t mine = a->pages[done / size], its = b->pages[done / size],
                 some = a->n_tokens - done < size ? a->n_tokens - done : size;
        const struct vs_kv_pool *pool = a->kv->pool;
        if (mine != its && n_equal(vs_kv_pool_tokens(pool, mine), vs_kv_pool_tokens(pool, its), some) < some)
            return false;
    }
    return a->n_tokens <= b->n_tokens;
}

/* Is a, which holds n of what is looked for, better to take it from than b, which holds n_best? A running one is before a kept
 * one. */
static bool is_better(const struct vs_kv_sequence *a, uint32_t n, const struct vs_kv_sequence *b, uint32_t n_best)
{
    if (!b || n != n_best)
        return n > n_best;
    return b->state == KEPT && (a->state == RUNNING || a->used > b->used);
}

/* The other sequence of the scope that holds most of tokens[0, n), more than s; NULL: none. */
static struct vs_kv_sequence *longest(const struct vs_kv_sequence *s, const uint32_t *tokens, uint32_t n, uint32_t *ret_n)
{
    struct vs_kv *kv = s->kv;
    struct vs_kv_sequence *best = NULL;
    uint32_t have = s->n_tokens, page = have / kv->config.page_tokens, at = have % kv->config.page_tokens, n_best = have;
    for (struct vs_kv_sequence *c = kv->sequences; c < kv->sequences + kv->n_sequences; c++) {
        if (c->state == GONE || c == s || c->n_tokens <= have || vs_kv_pool_tokens(kv->pool, c->pages[page])[at] != tokens[have]
            || !same_scope(c, s))
            continue;
        uint32_t same = restorable(c, n_common(c, tokens, n));
        if (same > have && is_better(c, same, best, n_best)) {
            best = c;
            n_best = same;
        }
    }
    *ret_n = n_best;
    return best;
}

/* The first n pages of c in place of its own. */
static void share_pages(struct vs_kv_sequence *s, const struct vs_kv_sequence *c, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        uint32_t old = s->pages[i];
        if (i < s->n_pages && old == c->pages[i])
            continue;
        vs_kv_pool_ref(s->kv->pool, c->pages[i], VS_KV_RUNNING);
        s->pages[i] = c->pages[i];
        if (i < s->n_pages)
            vs_kv_pool_unref(s->kv->pool, old, VS_KV_RUNNING);
    }
    s->n_pages = s->n_pages > n ? s->n_pages : n;
}

/* The first n positions of page `from`, which hold more than its own ith page, if it has one. false: there is no page to copy
 * to. */
static bool copy_part(struct vs_kv_sequence *s, uint32_t i, uint32_t from, uint32_t n)
{
    struct vs_kv_pool *pool = s->kv->pool;
    if (i < s->n_pages && vs_kv_pool_refs(pool, s->pages[i]) == 1) {
        vs_kv_pool_own(pool, s->pages[i], s->owner);
        vs_kv_pool_copy(pool, from, s->pages[i], n);
        return true;
    }
    vs_kv_pool_ref(pool, from, VS_KV_RUNNING);           /* that it does not make room for itself */
    bool room = available(s->kv) > 0;
    if (room) {
        make_room(s->kv, 1);
        if (i < s->n_pages)
            vs_kv_pool_unref(pool, s->pages[i], VS_KV_RUNNING);
        vs_kv_pool_take(pool, s->owner, 1, &s->pages[i]);
        vs_kv_pool_copy(pool, from, s->pages[i], n);
        s->n_pages = i + 1;
    }
    vs_kv_pool_unref(pool, from, VS_KV_RUNNING);
    return room;
}

uint32_t vs_kv_adopt(struct vs_kv_sequence *s, const uint32_t *tokens, uint32_t n)
{
    struct vs_kv *kv = s->kv;
    assert(s->state == RUNNING);
    cut(s, s->n_tokens);
    n = n < kv->config.max_tokens ? n : kv->config.max_tokens;
    if (kv->config.sharing == VS_KV_SHARE_NONE || n <= s->n_tokens)
        return s->n_tokens;
    uint32_t found, size = kv->config.page_tokens;
    struct vs_kv_sequence *c = longest(s, tokens, n, &found);
    if (!c || n_common(s, tokens, n) < s->n_tokens)
        return s->n_tokens;
    touch(c);
    uint32_t whole = found / size, part = found % size, now = whole * size, from = part ? c->pages[whole] : 0;
    share_pages(s, c, whole);
    share_snapshots(s, c, now + part);
    if (part && copy_part(s, whole, from, part))
        now += part;
    s->n_tokens = s->n_reserved = now > s->n_tokens ? now : s->n_tokens;
    if (has_states(kv))
        cut(s, s->n_tokens);
    return s->n_tokens;
}

/* ---- beginning and end ---- */

int vs_kv_open(struct vs_kv *kv, int64_t owner, const char *cache_key, struct vs_kv_sequence **ret)
{
    size_t n = cache_key ? strlen(cache_key) : 0;
    if (n > VS_KV_MAX_KEY)
        return VS_E_INVALID;
    if (kv->n_running == kv->config.max_sequences)
        return VS_E_BUSY;
    struct vs_kv_sequence *s = kv->sequences;
    while (s->state != GONE)
        s++;
    s->state = RUNNING;
    s->owner = owner;
    memcpy(s->key, n ? cache_key : "", n + 1);
    kv->n_running++;
    *ret = s;
    return VS_OK;
}

int vs_kv_fork(struct vs_kv_sequence *s, struct vs_kv_sequence **ret)
{
    struct vs_kv_sequence *new;
    int r = vs_kv_open(s->kv, s->owner, s->key, &new);
    if (r != VS_OK)
        return r;
    cut(s, s->n_tokens);
    share_pages(new, s, s->n_pages);
    share_snapshots(new, s, s->n_tokens);
    new->n_tokens = new->n_reserved = s->n_tokens;
    *ret = new;
    return VS_OK;
}

/* The most recently used kept sequence that begins with all of s; NULL: none. */
static struct vs_kv_sequence *holder_of(const struct vs_kv_sequence *s)
{
    struct vs_kv *kv = s->kv;
    struct vs_kv_sequence *best = NULL;
    for (struct vs_kv_sequence *k = kv->sequences; k < kv->sequences + kv->n_sequences; k++)
        if (k->state == KEPT && (!best || k->used > best->used) && same_scope(k, s) && is_prefix(s, k))
            best = k;
    return best;
}

static void keep_pages(struct vs_kv_sequence *s)
{
    struct vs_kv *kv = s->kv;
    for (struct vs_kv_sequence *k = kv->sequences; k < kv->sequences + kv->n_sequences; k++)
        if (k->state == KEPT && same_scope(k, s) && is_prefix(k, s)) {
            share_snapshots(s, k, k->n_tokens);
            release(k);
        }
    if (kv->n_kept == kv->config.max_kept)
        release(least_recent(kv));
    for (uint32_t i = 0; i < s->n_pages; i++) {
        vs_kv_pool_ref(kv->pool, s->pages[i], VS_KV_KEPT);
        vs_kv_pool_unref(kv->pool, s->pages[i], VS_KV_RUNNING);
    }
    s->state = KEPT;
    kv->n_running--;
    kv->n_kept++;
    touch(s);
}

void vs_kv_close(struct vs_kv_sequence *s, bool keep)
{
    if (!s)
        return;
    assert(s->state == RUNNING);
    cut(s, s->n_tokens);
    keep = keep && s->n_tokens && s->kv->config.sharing != VS_KV_SHARE_NONE && s->kv->config.max_kept;
    struct vs_kv_sequence *other = keep ? holder_of(s) : NULL;
    if (other) {
        share_snapshots(other, s, s->n_tokens);
        touch(other);
    }
    if (keep && !other)
        keep_pages(s);
    else
        release(s);
}

void vs_kv_forget(struct vs_kv *kv)
{
    for (uint32_t i = 0; i < kv->n_sequences; i++)
        if (kv->sequences[i].state == KEPT)
            release(&kv->sequences[i]);
}

/* ---- questions ---- */

uint32_t vs_kv_length(const struct vs_kv_sequence *s)
{
    return s->n_tokens;
}

uint32_t vs_kv_token(const struct vs_kv_sequence *s, uint32_t i)
{
    assert(i < s->n_tokens);
    return vs_kv_pool_tokens(s->kv->pool, s->pages[i / s->kv->config.page_tokens])[i % s->kv->config.page_tokens];
}

const uint32_t *vs_kv_pages(const struct vs_kv_sequence *s, uint32_t *ret_n)
{
    *ret_n = s->n_pages;
    return s->pages;
}

void vs_kv_count(const struct vs_kv *kv, struct vs_kv_counts *ret)
{
    vs_kv_pool_count(kv->pool, ret);
    ret->free_states = vs_kv_states_free_slots(kv->states);
}
