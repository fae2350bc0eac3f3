/* draft/suffix.c - see suffix.h
 *
 * A place is a number of tokens: place i lies behind i tokens, and token[i] follows it. For each order (the last 6 tokens, the last
 * 2) places with the same hash of these tokens are a chain, the latest first:
 *
 *     head[hash] -> 90 -> before[90] = 41 -> before[41] = 7 -> 0, the end
 */
#include "draft/suffix.h"

#include "base/status.h"

#include <stdlib.h>
#include <string.h>

enum {
    N_ORDERS = 2,
    LEAST_CAP = 1024,
    TRAIL_BEHIND = 4, TRAIL_AHEAD = 12,  /* how far from the trail one token counts as much as two */
    TRAIL_KEPT = 4,                      /* evidence from which on a match is the new trail */
    SURE = 8,                            /* evidence from which on the trail isn't asked */
    LINKS = 64,                          /* of a chain, followed at most: others may share a hash */
};
static const size_t most_tokens = (size_t)1 << 30;

static const struct order {
    uint32_t n_tokens, tries;            /* tokens that a place must share; how many such places are looked at */
} orders[N_ORDERS] = { { 6, 16 }, { 2, 16 } };      /* the next one is asked only when this one has nothing */

struct vs_suffix {
    size_t n, cap;                       /* cap: a power of two, or 0 */
    uint32_t *token;                     /* [cap]; the memory of all that follows too */
    struct chains {
        uint32_t *head;                  /* [cap]: by hash, the latest place; 0 = none */
        uint32_t *before;                /* [cap + 1]: by place, the one before it */
    } chains[N_ORDERS];
    uint32_t trail;                      /* the place where the last good match goes on; 0 = none yet */
    uint32_t source;                     /* the place of the last guess, if all of it has come true; 0 = no */
    uint64_t compared;
};

struct match { uint32_t place, evidence; };

int vs_suffix_create(struct vs_suffix **ret)
{
    struct vs_suffix *s = calloc(1, sizeof *s);
    if (!s)
        return VS_E_NOMEM;
    *ret = s;
    return VS_OK;
}

void vs_suffix_free(struct vs_suffix *s)
{
    if (!s)
        return;
    free(s->token);
    free(s);
}

/* ---- the index ---- */

static size_t hash_of(const uint32_t *token, uint32_t n_tokens, size_t cap)
{
    uint64_t h = 0;
    for (uint32_t i = 0; i < n_tokens; i++)
        h = (h ^ token[i]) * 0x9e3779b97f4a7c15u;
    return (size_t)(h >> 33) & (cap - 1);
}

/* Enters the place behind n tokens. */
static void enter(struct vs_suffix *s, size_t n)
{
    for (size_t o = 0; o < N_ORDERS; o++) {
        uint32_t n_tokens = orders[o].n_tokens;
        if (n < n_tokens)
            continue;
        uint32_t *head = &s->chains[o].head[hash_of(s->token + n - n_tokens, n_tokens, s->cap)];
        s->chains[o].before[n] = *head;
        *head = (uint32_t)n;
    }
}

int vs_suffix_reserve(struct vs_suffix *s, size_t n)
{
    if (n <= s->cap)
        return VS_OK;
    if (n > most_tokens)
        return VS_E_NOMEM;
    size_t cap = s->cap ? s->cap : LEAST_CAP;
    while (cap < n)
        cap *= 2;
    uint32_t *block = calloc(cap * (1 + 2 * N_ORDERS) + N_ORDERS, sizeof *block), *at = block + cap;
    if (!block)
        return VS_E_NOMEM;
    if (s->n)
        memcpy(block, s->token, s->n * sizeof *block);
    free(s->token);
    s->token = block;
    s->cap = cap;
    for (size_t o = 0; o < N_ORDERS; o++, at += 2 * cap + 1)
        s->chains[o] = (struct chains){ at, at + cap };
    for (size_t i = 1; i <= s->n; i++)
        enter(s, i);
    return VS_OK;
}

/* Both follow the sequence; the source is given up at the first token that differs from what it said. */
static void move_on(struct vs_suffix *s, uint32_t token)
{
    s->trail += s->trail != 0;
    if (!s->source)
        return;
    bool came = s->token[s->source] == token;
    s->source = came ? s->source + 1 : 0;
    s->trail = came ? s->source : s->trail;
}

int vs_suffix_push(struct vs_suffix *s, const uint32_t *token, size_t n)
{
    int r = n > most_tokens - s->n ? VS_E_NOMEM : vs_suffix_reserve(s, s->n + n);
    if (r != VS_OK)
        return r;
    for (size_t i = 0; i < n; i++) {
        move_on(s, token[i]);
        s->token[s->n++] = token[i];
        enter(s, s->n);
    }
    return VS_OK;
}

/* ---- a guess ---- */

/* How many tokens before the place are those at the end. */
static uint32_t length_at(struct vs_suffix *s, size_t place)
{
    const uint32_t *a = s->token + place, *end = s->token + s->n;
    uint32_t n = 0, most = place < VS_SUFFIX_LENGTH ? (uint32_t)place : VS_SUFFIX_LENGTH;
    while (n < most && a[-1 - (ptrdiff_t)n] == end[-1 - (ptrdiff_t)n])
        n++;
    s->compared += n + (n < most);
    return n;
}

/* The longest of the order's latest places. */
static struct match longest_of(struct vs_suffix *s, size_t o)
{
    struct match best = { 0, 0 };
    if (s->n < orders[o].n_tokens)
        return best;
    uint32_t tries = orders[o].tries, place = s->chains[o].before[s->n];
    for (int i = 0; i < LINKS && tries && place && best.evidence < VS_SUFFIX_LENGTH; i++) {
        uint32_t n = length_at(s, place);
        bool shares = n >= orders[o].n_tokens;
        tries -= shares;
        if (shares && n > best.evidence)
            best = (struct match){ place, n };
        place = s->chains[o].before[place];
    }
    return best;
}

static size_t distance(size_t a, size_t b)
{
    return a < b ? b - a : a - b;
}

/* The best place around the trail: the longest, then the nearest, then the first; the trail itself where no token fits. Being there
 * counts as a token. */
static struct match along_trail(struct vs_suffix *s)
{
    size_t trail = s->trail, first = trail > TRAIL_BEHIND ? trail - TRAIL_BEHIND : 1;
    struct match best = { s->trail, 1 };
    for (size_t place = first; place < s->n && place <= trail + TRAIL_AHEAD; place++) {
        uint32_t n = 1 + length_at(s, place);
        if (n > best.evidence || (n == best.evidence && n > 1 && distance(place, trail) < distance(best.place, trail)))
            best = (struct match){ (uint32_t)place, n };
    }
    return best;
}

static struct match find(struct vs_suffix *s)
{
    struct match best = { 0, 0 };
    for (size_t o = 0; o < N_ORDERS && !best.place; o++)
        best = longest_of(s, o);
    if (best.evidence < SURE && s->trail && s->trail < s->n) {
        struct match near = along_trail(s);
        best = near.evidence >= best.evidence ? near : best;
    }
    return best;
}

bool vs_suffix_guess(struct vs_suffix *s, size_t n, uint32_t *ret_token, uint32_t *ret_evidence)
{
    struct match m = find(s);
    s->source = m.place;
    if (!m.place)
        return false;
    if (m.evidence >= TRAIL_KEPT)
        s->trail = m.place;
    size_t known = s->n - m.place;       /* behind them the guess repeats itself, as the sequence then would */
    for (size_t i = 0; i < n; i++)
        ret_token[i] = i < known ? s->token[m.place + i] : ret_token[i - known];
    *ret_evidence = m.evidence;
    return true;
}

uint64_t vs_suffix_compared(const struct vs_suffix *s)
{
    return s->compared;
}
