/* rooms: draft base */
/* The lookup against a naive search over tokens, and the controller in a simulated decode whose steps cost what a table says. */
#include "base/status.h"
#include "draft/draft.h"
#include "draft/suffix.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
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

static bool chance(double p)
{
    return below(1 << 20) < p * (1 << 20);
}

/* ---- the lookup ---- */

enum { MOST = 3000, AHEAD = 20, TRIES = 16, NEAR = 8 };
static const uint32_t orders[] = { 6, 2 };

struct naive {
    uint32_t token[MOST];
    size_t n, trail, source;
};

static uint32_t same_before(const struct naive *m, size_t place)
{
    uint32_t n = 0;
    while (n < place && n < VS_SUFFIX_LENGTH && m->token[place - 1 - n] == m->token[m->n - 1 - n])
        n++;
    return n;
}

static void naive_latest(const struct naive *m, uint32_t order, size_t *ret_place, uint32_t *ret_evidence)
{
    int tries = TRIES;
    for (size_t place = m->n - (m->n > 0); place > 0 && tries; place--) {
        uint32_t n = same_before(m, place);
        tries -= n >= order;
        if (n >= order && n > *ret_evidence) {
            *ret_place = place;
            *ret_evidence = n;
        }
    }
}

/* Around the trail: the most tokens, of these the nearest place, of these the first. */
static void naive_near(const struct naive *m, size_t *ret_place, uint32_t *ret_evidence)
{
    uint32_t longest = 0, distance = 99;
    size_t best = m->trail;
    for (size_t place = m->trail > 4 ? m->trail - 4 : 1; place < m->n && place <= m->trail + 12; place++) {
        uint32_t n = same_before(m, place), far = (uint32_t)(place > m->trail ? place - m->trail : m->trail - place);
        if (n > longest || (n && n == longest && far < distance)) {
            longest = n;
            distance = far;
            best = place;
        }
    }
    if (longest + 1 >= *ret_evidence) {
        *ret_place = best;
        *ret_evidence = longest + 1;
    }
}

static uint32_t naive_guess(struct naive *m, uint32_t *ret_token)
{
    size_t place = 0;
    uint32_t evidence = 0;
    for (size_t o = 0; o < 2 && !place; o++)
        naive_latest(m, orders[o], &place, &evidence);
    if (evidence < NEAR && m->trail && m->trail < m->n)
        naive_near(m, &place, &evidence);
    m->source = place;
    if (evidence >= 4)
        m->trail = place;
    for (size_t i = 0; place && i < AHEAD; i++)
        ret_token[i] = place + i < m->n ? m->token[place + i] : ret_token[place + i - m->n];
    return evidence;
}

static void naive_push(struct naive *m, uint32_t token)
{
    m->trail += m->trail > 0;
    if (m->source && m->token[m->source] == token)
        m->trail = ++m->source;
    else
        m->source = 0;
    m->token[m->n++] = token;
}

/* The same stream into both; guesses are asked for at every token, or at some. */
static void compare(const uint32_t *token, size_t n, bool always)
{
    static struct naive m;
    struct vs_suffix *s;
    uint32_t want[AHEAD], got[AHEAD], evidence = 0;
    memset(&m, 0, sizeof m);
    assert_int_equal(vs_suffix_create(&s), VS_OK);
    for (size_t i = 0; i <= n; i++) {
        if (always || below(3) == 0) {
            uint32_t expected = naive_guess(&m, want);
            uint64_t before = vs_suffix_compared(s);
            assert_int_equal(vs_suffix_guess(s, AHEAD, got, &evidence), expected > 0);
            assert_true(vs_suffix_compared(s) - before <= VS_SUFFIX_COMPARES);
            if (expected) {
                assert_int_equal(evidence, expected);
                assert_memory_equal(got, want, sizeof got);
            }
        }
        if (i < n) {
            naive_push(&m, token[i]);
            assert_int_equal(vs_suffix_push(s, token + i, 1), VS_OK);
        }
    }
    vs_suffix_free(s);
}

static void test_random(void **state)
{
    (void)state;
    static uint32_t token[MOST];
    for (int round = 0; round < 60; round++) {
        uint32_t letters = 1 + below(round % 2 ? 6 : 60), n = below(round % 10 ? 500 : MOST);
        for (uint32_t i = 0; i < n; i++) {
            uint32_t back = 1 + below(200), length = 1 + below(40);
            token[i] = below(letters) * 0x01010101u;
            if (below(8) == 0 && back <= i)              /* a piece that was there before, now and then with a change */
                for (uint32_t j = 0; j < length && i + 1 < n; j++, i++)
                    token[i] = below(20) ? token[i - back] : below(letters);
        }
        compare(token, n, round % 3);
    }
}

static void test_adversarial(void **state)
{
    (void)state;
    static uint32_t token[MOST];
    for (uint32_t period = 1; period < 40; period += 1 + period / 8) {
        for (uint32_t i = 0; i < MOST / 2; i++)
            token[i] = i % period * i % period;
        compare(token, MOST / 2, true);
    }
    for (uint32_t i = 0; i < MOST; i++)                  /* Thue and Morse: no piece stands there three times in a row */
        token[i] = (uint32_t)__builtin_popcount(i) & 1;
    compare(token, MOST, true);
    for (uint32_t i = 0; i < MOST; i++)                  /* a, ab, abb, abbb...: each end is longer than all before it */
        token[i] = 1;
    for (uint32_t i = 0, gap = 1; i < MOST; i += gap++)
        token[i] = 0;
    compare(token, MOST, true);
}

/* A long prompt costs no compares at all, and a guess behind it no more than one in a short text. */
static void test_long(void **state)
{
    (void)state;
    enum { LONG = 40000 };
    static uint32_t token[LONG];
    struct vs_suffix *s;
    uint32_t got[AHEAD], evidence, patterns = 3;
    for (uint32_t pattern = 0; pattern < patterns; pattern++) {
        for (uint32_t i = 0; i < LONG; i++)
            token[i] = pattern == 0 ? 7 : pattern == 1 ? i % 5 : below(3);
        assert_int_equal(vs_suffix_create(&s), VS_OK);
        assert_int_equal(vs_suffix_push(s, token, LONG), VS_OK);
        assert_int_equal(vs_suffix_compared(s), 0);
        for (int i = 0; i < 1000; i++) {
            uint64_t before = vs_suffix_compared(s);
            assert_true(vs_suffix_guess(s, AHEAD, got, &evidence));
            assert_true(vs_suffix_compared(s) - before <= VS_SUFFIX_COMPARES);
            assert_int_equal(vs_suffix_push(s, got, 1), VS_OK);
        }
        vs_suffix_free(s);
    }
}

/* What stood in a long prompt is found from two tokens on, guessed whole, and followed beyond a change. */
static void test_copy(void **state)
{
    (void)state;
    enum { LONG = 5000 };
    static uint32_t token[LONG];
    struct vs_suffix *s;
    uint32_t got[AHEAD], evidence, other = 999999;
    for (uint32_t i = 0; i < LONG; i++)
        token[i] = i;
    assert_int_equal(vs_suffix_create(&s), VS_OK);
    assert_false(vs_suffix_guess(s, AHEAD, got, &evidence));
    assert_int_equal(vs_suffix_reserve(s, 2 * LONG), VS_OK);
    assert_int_equal(vs_suffix_push(s, token, LONG), VS_OK);
    assert_false(vs_suffix_guess(s, AHEAD, got, &evidence));
    assert_int_equal(vs_suffix_push(s, token + 1000, 1), VS_OK);
    assert_false(vs_suffix_guess(s, AHEAD, got, &evidence));      /* one token is too little */
    assert_int_equal(vs_suffix_push(s, token + 1001, 9), VS_OK);
    assert_true(vs_suffix_guess(s, AHEAD, got, &evidence));
    assert_int_equal(evidence, 10);
    assert_memory_equal(got, token + 1010, sizeof got);
    assert_int_equal(vs_suffix_push(s, &other, 1), VS_OK);        /* in place of token 1010 */
    assert_true(vs_suffix_guess(s, AHEAD, got, &evidence));
    assert_int_equal(evidence, 1);
    assert_memory_equal(got, token + 1011, sizeof got);
    assert_int_equal(vs_suffix_push(s, token + 1013, 1), VS_OK);  /* two tokens were left out */
    assert_true(vs_suffix_guess(s, AHEAD, got, &evidence));
    assert_int_equal(evidence, 2);
    assert_memory_equal(got, token + 1014, sizeof got);
    vs_suffix_free(s);
}

static void test_limits(void **state)
{
    (void)state;
    struct vs_suffix *s;
    uint32_t token[4] = { 5, 6, 5, 6 }, got[AHEAD] = { 0 }, evidence;
    assert_int_equal(vs_suffix_create(&s), VS_OK);
    assert_int_equal(vs_suffix_reserve(s, SIZE_MAX), VS_E_NOMEM);
    assert_int_equal(vs_suffix_push(s, token, SIZE_MAX), VS_E_NOMEM);
    assert_int_equal(vs_suffix_push(s, token, 0), VS_OK);
    assert_int_equal(vs_suffix_push(s, token, 4), VS_OK);
    assert_true(vs_suffix_guess(s, 0, got, &evidence));
    assert_int_equal(got[0], 0);
    assert_true(vs_suffix_guess(s, AHEAD, got, &evidence));       /* goes on as it would */
    for (int i = 0; i < AHEAD; i++)
        assert_int_equal(got[i], 5 + i % 2);
    vs_suffix_free(s);
    vs_suffix_free(NULL);
}

/* ---- the controller ---- */

/* Steps of n rows, in steps of one row: memory first, then arithmetic, as a small model on a small machine has it. */
static double cost_small(void *context, uint32_t n)
{
    (void)context;
    return n <= 8 ? 0.9 + 0.1 * n : 1.7 + 0.18 * (n - 8);
}

/* Each row costs as much as the first: nothing can be won. */
static double cost_even(void *context, uint32_t n)
{
    (void)context;
    return n;
}

static double cost_flat(void *context, uint32_t n)
{
    (void)context;
    return 1 + 0.001 * n;
}

/* A decode of n tokens. What comes is always 1; a guess is 1 when the pattern says that it comes true, else 0. */
struct play {
    struct vs_draft d;
    struct vs_draft_step step;
    uint32_t (*evidence)(uint32_t at);
    bool (*comes)(uint32_t at, uint32_t ahead, uint32_t evidence);
    uint32_t n_steps, n_trials, at_first;                /* at_first: the first token that came by a draft */
    double time;                                         /* with drafts; without them it is n */
};

static uint32_t looked_up(struct play *p, uint32_t at, uint32_t evidence, uint32_t guess[VS_DRAFT_MOST])
{
    for (uint32_t i = 0; i < VS_DRAFT_MOST; i++)
        guess[i] = p->comes(at + i, i, evidence + i);
    uint32_t n = vs_draft_length(&p->d, evidence, &p->step);
    vs_draft_guessed(&p->d, guess, VS_DRAFT_MOST, n);
    return n;
}

static uint32_t made(struct play *p, uint32_t at, uint32_t guess[VS_DRAFT_MOST])
{
    uint32_t n = vs_draft_length(&p->d, 0, &p->step);
    for (uint32_t i = 0; i < n; i++)
        guess[i] = p->comes(at + i, i, i);
    vs_draft_guessed(&p->d, guess, n, n);
    return n;
}

static void play(struct play *p, enum vs_draft_kind kind, uint32_t n_tokens)
{
    vs_draft_init(&p->d, kind);
    p->step.cost = p->step.cost ? p->step.cost : cost_small;
    p->step.n_rows = p->step.n_rows ? p->step.n_rows : 1;
    p->step.n_most = VS_DRAFT_MOST;
    p->step.limit = INFINITY;
    double without = p->step.cost(NULL, p->step.n_rows);
    for (uint32_t at = 0; at < n_tokens; p->n_steps++) {
        uint32_t guess[VS_DRAFT_MOST] = { 0 }, n = 0, evidence = p->evidence ? p->evidence(at) : 0;
        if (kind == VS_DRAFT_MODEL)
            n = made(p, at, guess);
        else if (evidence)
            n = looked_up(p, at, evidence, guess);
        p->n_trials += n > 0;
        p->time += (p->step.cost(NULL, p->step.n_rows + n) + n * p->step.guess_cost) / without;
        uint32_t came = 0;
        for (bool goes_on = true; goes_on && at < n_tokens; at++) {
            goes_on = came < n && guess[came] == 1;
            came++;
            vs_draft_took(&p->d, 1);
        }
        if (came > 1 && !p->at_first)
            p->at_first = at;
    }
}

static uint32_t evidence_none(uint32_t at) { (void)at; return 0; }
static uint32_t evidence_weak(uint32_t at) { (void)at; return below(8) ? 0 : 2 + below(3) * below(2); }
static uint32_t evidence_strong(uint32_t at) { (void)at; return 40; }
static uint32_t evidence_any(uint32_t at) { (void)at; return below(40); }
static bool never(uint32_t at, uint32_t ahead, uint32_t evidence) { (void)at, (void)ahead, (void)evidence; return false; }
static bool always(uint32_t at, uint32_t ahead, uint32_t evidence) { (void)at, (void)ahead, (void)evidence; return true; }
static bool seldom(uint32_t at, uint32_t ahead, uint32_t evidence) { (void)at, (void)ahead, (void)evidence; return chance(0.1); }
static bool mostly(uint32_t at, uint32_t ahead, uint32_t evidence) { (void)at, (void)ahead, (void)evidence; return chance(0.97); }
static bool often(uint32_t at, uint32_t ahead, uint32_t evidence) { (void)at, (void)ahead, (void)evidence; return chance(0.7); }
static bool late(uint32_t at, uint32_t ahead, uint32_t evidence) { (void)ahead, (void)evidence; return at > 3000; }
static bool by_turns(uint32_t at, uint32_t ahead, uint32_t evidence) { (void)ahead, (void)evidence; return at / 100 % 2; }
/* As good as it looks until it is computed: behind the first row all is wrong. */
static bool false_friend(uint32_t at, uint32_t ahead, uint32_t evidence) { (void)at, (void)evidence; return ahead > 0; }

/* What must be lost at most, whatever comes; and what must be won where something can be. The loss counts at answers of 1,000
 * tokens: what is paid until a sequence is known is paid once. */
static void test_patterns(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum vs_draft_kind kind;
        uint32_t (*evidence)(uint32_t);
        bool (*comes)(uint32_t, uint32_t, uint32_t);
        double (*cost)(void *, uint32_t);
        double guess_cost, least, most;                  /* speed, in that without drafts */
    } cases[] = {
        { "nothing is found", VS_DRAFT_LOOKED_UP, evidence_none, never, cost_small, 0, 1, 1 },
        { "prose", VS_DRAFT_LOOKED_UP, evidence_weak, seldom, cost_small, 0, 0.98, 1.05 },
        { "looks good, never comes", VS_DRAFT_LOOKED_UP, evidence_strong, never, cost_small, 0, 0.98, 1 },
        { "any, never comes", VS_DRAFT_LOOKED_UP, evidence_any, never, cost_small, 0, 0.98, 1 },
        { "any, seldom", VS_DRAFT_LOOKED_UP, evidence_any, seldom, cost_small, 0, 0.98, 1.05 },
        { "the first is wrong", VS_DRAFT_LOOKED_UP, evidence_strong, false_friend, cost_small, 0, 0.98, 1 },
        { "code edit", VS_DRAFT_LOOKED_UP, evidence_strong, mostly, cost_small, 0, 3, 6 },
        { "a copy", VS_DRAFT_LOOKED_UP, evidence_strong, always, cost_small, 0, 5, 6 },
        { "a copy, every row at its price", VS_DRAFT_LOOKED_UP, evidence_strong, always, cost_even, 0, 1, 1 },
        { "by turns", VS_DRAFT_LOOKED_UP, evidence_strong, by_turns, cost_small, 0, 1.4, 1.7 },
        { "a useless model", VS_DRAFT_MODEL, NULL, never, cost_small, 0.3, 0.98, 1 },
        { "a poor model", VS_DRAFT_MODEL, NULL, seldom, cost_small, 0.3, 0.98, 1.05 },
        { "a model that is as slow", VS_DRAFT_MODEL, NULL, always, cost_small, 1, 0.98, 1 },
        { "a good model", VS_DRAFT_MODEL, NULL, often, cost_small, 0.25, 1.1, 2 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int round = 0; round < 50; round++) {
            struct play p = { .evidence = cases[i].evidence, .comes = cases[i].comes,
                              .step = { .cost = cases[i].cost, .guess_cost = cases[i].guess_cost } };
            play(&p, cases[i].kind, 1000);
            double speed = 1000 / p.time;
            if (speed < cases[i].least || speed > cases[i].most)
                fail_msg("%s: speed %.3f, not from %.2f to %.2f", cases[i].name, speed, cases[i].least, cases[i].most);
            assert_true(p.d.n_accepted <= p.d.n_drafted);
        }
}

/* More rows of others: never a longer draft, in the end none. */
static void test_batch(void **state)
{
    (void)state;
    for (uint32_t evidence = 1; evidence <= 40; evidence++) {
        uint32_t before = VS_DRAFT_MOST;
        for (uint32_t n_rows = 1; n_rows <= 200; n_rows++) {
            struct vs_draft d;
            vs_draft_init(&d, VS_DRAFT_LOOKED_UP);
            struct vs_draft_step step = { .n_rows = n_rows, .n_most = VS_DRAFT_MOST, .cost = cost_small, .limit = INFINITY };
            uint32_t n = vs_draft_length(&d, evidence, &step);
            assert_true(n <= before);
            before = n;
        }
        assert_int_equal(before, 0);
    }
    struct vs_draft d;
    vs_draft_init(&d, VS_DRAFT_LOOKED_UP);
    struct vs_draft_step step = { .n_rows = 1, .n_most = VS_DRAFT_MOST, .cost = cost_small, .limit = INFINITY };
    assert_in_range(vs_draft_length(&d, 40, &step), 6, 16);
}

static void test_most(void **state)
{
    (void)state;
    for (uint32_t n_most = 0; n_most < 40; n_most++) {
        struct vs_draft d;
        vs_draft_init(&d, VS_DRAFT_LOOKED_UP);
        struct vs_draft_step step = { .n_rows = 1, .n_most = n_most, .cost = cost_flat, .limit = INFINITY };
        assert_int_equal(vs_draft_length(&d, 40, &step), n_most < VS_DRAFT_MOST ? n_most : VS_DRAFT_MOST);
        vs_draft_init(&d, VS_DRAFT_MODEL);
        d.idle = VS_DRAFT_LONGEST_WAIT;
        assert_true(vs_draft_length(&d, 0, &step) <= n_most);
    }
}

/* A step with guesses, those of a model made first, takes no longer than it may; a try is no exception. */
static void test_limit(void **state)
{
    (void)state;
    for (int tenths = 0; tenths < 60; tenths++) {
        struct vs_draft d;
        struct vs_draft_step step = { .n_rows = 1, .n_most = VS_DRAFT_MOST, .cost = cost_flat, .limit = tenths / 10.0 };
        double one = cost_flat(NULL, 1);
        vs_draft_init(&d, VS_DRAFT_LOOKED_UP);
        uint32_t n = vs_draft_length(&d, 40, &step);
        assert_true(!n || cost_flat(NULL, 1 + n) <= step.limit);
        vs_draft_init(&d, VS_DRAFT_MODEL);
        d.idle = VS_DRAFT_LONGEST_WAIT;
        step.guess_cost = 0.3 * one;
        n = vs_draft_length(&d, 0, &step);
        assert_true(!n || cost_flat(NULL, 1 + n) + n * step.guess_cost <= step.limit);
        assert_true(n || step.limit < cost_flat(NULL, 2) + step.guess_cost);
    }
}

static void test_doubt(void **state)
{
    (void)state;
    float logits[70] = { 0 };
    for (uint32_t id = 0; id < 70; id++)
        for (uint32_t other = 0; other < 70; other++) {
            logits[id] = 5;
            assert_true(vs_draft_is_sure(logits, 70, id));
            if (other != id) {
                logits[other] = 4;                       /* one apart is enough, and less is not */
                assert_true(vs_draft_is_sure(logits, 70, id));
                logits[other] = 4.01f;
                assert_false(vs_draft_is_sure(logits, 70, id));
                assert_false(vs_draft_is_sure(logits, 70, other));
                logits[other] = 6;                       /* sampled, and not the likeliest */
                assert_false(vs_draft_is_sure(logits, 70, id));
            }
            logits[id] = logits[other] = 0;
        }
    logits[0] = -INFINITY;
    assert_true(vs_draft_is_sure(logits, 1, 0));         /* there is no other one */
}

/* A model that never helps is asked ever more seldom; one that begins to help is found out. */
static void test_tries(void **state)
{
    (void)state;
    struct play p = { .comes = never, .step = { .guess_cost = 0.3 } };
    play(&p, VS_DRAFT_MODEL, 1000);
    uint32_t begun = p.n_trials;
    p = (struct play){ .comes = never, .step = { .guess_cost = 0.3 } };
    play(&p, VS_DRAFT_MODEL, 100000);
    assert_in_range(p.n_trials - begun, 15, 40);          /* 512, 1024, 2048, then each 4096 */
    assert_int_equal(p.d.wait, VS_DRAFT_LONGEST_WAIT);
    p = (struct play){ .comes = late, .step = { .guess_cost = 0.3 } };
    play(&p, VS_DRAFT_MODEL, 20000);
    assert_in_range(p.at_first, 3000, 8000);
    assert_true(20000 / p.time > 1.3);
}

/* Guesses of a model that get no rows cost their making and bring nothing: it rests, longer each time. */
static void test_made_in_vain(void **state)
{
    (void)state;
    struct vs_draft d;
    vs_draft_init(&d, VS_DRAFT_MODEL);
    struct vs_draft_step step = { .n_rows = 1, .n_most = 4, .cost = cost_flat, .guess_cost = 0.3, .limit = INFINITY };
    uint32_t n_asked = 0, guess[VS_DRAFT_MOST] = { 0 };
    for (uint32_t i = 0; i < 1000; i++) {
        uint32_t n = vs_draft_length(&d, 0, &step);
        n_asked += n > 0;
        if (n)
            vs_draft_guessed(&d, guess, n, 0);
        vs_draft_took(&d, 0);
    }
    assert_in_range(n_asked, 24, 48);
}

/* What was looked up is compared also while nothing is computed: it is found out at once that it helps. */
static void test_shadow(void **state)
{
    (void)state;
    struct play p = { .evidence = evidence_strong, .comes = late };
    play(&p, VS_DRAFT_LOOKED_UP, 6000);
    assert_in_range(p.at_first, 3000, 3000 + 2 * VS_DRAFT_WAIT);
    assert_true(p.n_steps < 3000 + 600);
}

static void test_same(void **state)
{
    (void)state;
    struct play p[2];
    for (int i = 0; i < 2; i++) {
        seed = 99;
        p[i] = (struct play){ .evidence = evidence_any, .comes = often };
        play(&p[i], VS_DRAFT_LOOKED_UP, 5000);
    }
    assert_int_equal(p[0].n_steps, p[1].n_steps);
    assert_int_equal(p[0].d.n_drafted, p[1].d.n_drafted);
    assert_int_equal(p[0].d.n_accepted, p[1].d.n_accepted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random), cmocka_unit_test(test_adversarial), cmocka_unit_test(test_long),
        cmocka_unit_test(test_copy), cmocka_unit_test(test_limits), cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_batch), cmocka_unit_test(test_most), cmocka_unit_test(test_limit),
        cmocka_unit_test(test_doubt), cmocka_unit_test(test_tries),
        cmocka_unit_test(test_made_in_vain),
        cmocka_unit_test(test_shadow), cmocka_unit_test(test_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
