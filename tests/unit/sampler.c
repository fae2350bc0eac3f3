/* rooms: sampler base */
/* The sampler against a naive model written from docs/NUMERICS.md (sorts everything, adds in 128 bits), against goldens
 * of an independent model in Python (tools/golden_sampler.py), and its refusals. "all" as argument: 2^20 seeds. */
#include "sampler/sampler.h"

#include "base/num.h"
#include "../support/cpu_time.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef unsigned __int128 u128;

static int n_draws = 40;

static uint64_t random_state = 1;
static uint32_t random32(void)
{
    uint64_t z = random_state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (uint32_t)(z >> 32);
}
static float uniform(void) { return (float)(random32() >> 8) * 0x1p-24f; }

/* -- the naive model ------------------------------------------------------------------------------------------------ */

struct item { float l; uint32_t id; uint64_t q; int64_t deep; bool kept; };

static int by_order(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    if (x->l != y->l)
        return x->l > y->l ? -1 : 1;
    return x->id < y->id ? -1 : 1;
}

static u128 distance(const struct item *x, u128 all, u128 mean)
{
    u128 at = all * (u128)x->deep;
    return at > mean ? at - mean : mean - at;
}

/* 0 when every token is forbidden. weights and kept flags stay in items for more draws. */
static size_t naive_items(const struct vs_sampling *p, const float *logits, uint32_t n_vocab, const uint32_t *history,
                          size_t n_history, struct item *items)
{
    size_t first = p->repeat_last_n >= 0 && n_history > (size_t)p->repeat_last_n ? n_history - (size_t)p->repeat_last_n : 0;
    for (uint32_t i = 0; i < n_vocab; i++) {
        float l = logits[i];
        for (size_t k = 0; k < p->n_bias; k++)
            if (p->bias[k].id == i)
                l = l + p->bias[k].bias;
        uint32_t count = 0;
        for (size_t k = first; k < n_history; k++)
            count += history[k] == i;
        if (count > 0) {
            l = l > 0 ? l / p->repeat_penalty : l * p->repeat_penalty;
            float f = (float)count * p->frequency_penalty;
            l = l - f;
            l = l - p->presence_penalty;
        }
        items[i] = (struct item){ .l = l, .id = i };
    }
    qsort(items, n_vocab, sizeof *items, by_order);
    if (items[0].l == -INFINITY)
        return 0;
    if (p->temperature == 0)
        return 1;
    size_t n = p->top_k && p->top_k < n_vocab ? p->top_k : n_vocab;
    u128 all = 0, mean = 0;
    for (size_t i = 0; i < n; i++) {
        float d = (items[i].l - items[0].l) / p->temperature;
        items[i].q = (uint64_t)floor(ldexp((double)vs_expf(d), 40));
        items[i].deep = items[i].q ? (int64_t)rint(ldexp(-(double)d, 20)) : 0;
        items[i].kept = items[i].q > 0;
        all += items[i].q;
        mean += (u128)items[i].q * (u128)items[i].deep;
    }
    if (p->typical_p < 1) {
        u128 limit = (u128)floor(ldexp((double)p->typical_p, 32));
        u128 edge = 0;
        bool have = false;
        for (size_t i = 0; i < n; i++) {                    /* the least distance within which enough lies */
            if (!items[i].kept)
                continue;
            u128 v = distance(&items[i], all, mean), sum = 0;
            for (size_t k = 0; k < n; k++)
                if (items[k].kept && distance(&items[k], all, mean) <= v)
                    sum += items[k].q;
            if (sum << 32 >= limit * all && (!have || v < edge)) {
                have = true;
                edge = v;
            }
        }
        for (size_t i = 0; i < n; i++)
            items[i].kept = items[i].kept && distance(&items[i], all, mean) <= edge;
    }
    if (p->top_p < 1) {
        u128 limit = (u128)floor(ldexp((double)p->top_p, 32)), sum = 0;
        all = 0;
        for (size_t i = 0; i < n; i++)
            all += items[i].kept ? items[i].q : 0;
        bool enough = false;
        for (size_t i = 0; i < n; i++) {
            if (!items[i].kept)
                continue;
            items[i].kept = !enough;
            sum += items[i].q;
            enough |= sum << 32 >= limit * all;
        }
    }
    uint64_t best = 0;
    for (size_t i = 0; i < n; i++)
        if (items[i].kept && items[i].q > best)
            best = items[i].q;
    u128 limit = (u128)floor(ldexp((double)p->min_p, 32));
    for (size_t i = 0; i < n; i++)
        items[i].kept = items[i].kept && (u128)items[i].q << 32 >= limit * best;
    return n;
}

static uint32_t naive_draw(const struct vs_sampling *p, const struct item *items, size_t n, uint64_t position)
{
    if (p->temperature == 0)
        return items[0].id;
    uint32_t r[4];
    vs_philox((const uint32_t[]){ (uint32_t)p->seed, (uint32_t)(p->seed >> 32) },
              (const uint32_t[]){ (uint32_t)position, (uint32_t)(position >> 32), 0, 0 }, r);
    u128 all = 0, sum = 0;
    for (size_t i = 0; i < n; i++)
        all += items[i].kept ? items[i].q : 0;
    u128 at = (((u128)r[1] << 32 | r[0]) * all) >> 64;
    for (size_t i = 0; i < n; i++) {
        sum += items[i].kept ? items[i].q : 0;
        if (sum > at)
            return items[i].id;
    }
    fail_msg("the naive model drew nothing");
    return 0;
}

/* -- shapes of logits -------------------------------------------------------------------------------------------------- */

static void make_logits(float *l, uint32_t n, int shape)
{
    for (uint32_t i = 0; i < n; i++) {
        switch (shape) {
        case 0: l[i] = (uniform() + uniform() + uniform() - 1.5f) * 8; break;
        case 1: l[i] = 3.25f; break;                                    /* all equal */
        case 2: l[i] = (float)(random32() % 5); break;                  /* many ties */
        case 3: l[i] = -(float)i * 0.6931472f; break;                   /* a geometric tail down to nothing */
        case 4: l[i] = i % 7 ? 1e-40f * (float)(i % 11) : -0.0f; break; /* denormals and both zeros */
        case 5: l[i] = i == n / 2 ? 1000.0f : uniform(); break;         /* one far above */
        case 6: l[i] = (uniform() * 2 - 1) * 1.6e38f; break;               /* the whole range */
        default: l[i] = -27.9f * uniform(); break;                      /* around the last weight */
        }
    }
}

static const float probabilities[] = { 0.0f, 1.0f, 0.5f, 0.25f, 0.95f, 0.05f, 0.9f, 0x1p-9f, 0.9999999f, 1e-30f };
static float probability(void) { return probabilities[random32() % 10]; }

static void test_naive(void **state)
{
    (void)state;
    static const uint32_t sizes[] = { 1, 2, 3, 17, 64, 200, 1500 };
    static float l[1500];
    static struct item items[1500];
    for (int round = 0; round < 1500; round++) {
        uint32_t n = sizes[round % 7];
        make_logits(l, n, round / 7 % 8);
        struct vs_logit_bias bias[4];
        uint32_t history[90];
        for (size_t i = 0; i < 4; i++)
            bias[i] = (struct vs_logit_bias){ random32() % n, i == 3 ? -INFINITY : uniform() * 10 - 5 };
        for (size_t i = 0; i < 90; i++)
            history[i] = random32() % n;
        struct vs_sampling p;
        vs_sampling_defaults(&p);
        p.temperature = random32() % 6 ? 0.1f + uniform() * 2 : (float[]){ 0.0f, 1.0f, 1e-45f, 3e38f }[random32() % 4];
        p.top_k = (uint32_t[]){ 0, 1, 2, 40, 3, 1100 }[random32() % 6];
        p.top_p = probability();
        p.min_p = random32() % 2 ? 0.0f : probability();
        p.typical_p = random32() % 2 ? 1.0f : probability();
        if (n > 200 && p.typical_p < 1)                     /* the naive rule is quadratic */
            p.top_k = 40;
        size_t n_history = 0;
        if (random32() % 2) {
            n_history = random32() % 91;
            p.repeat_penalty = 0.5f + uniform();
            p.presence_penalty = uniform() - 0.5f;
            p.frequency_penalty = uniform() - 0.5f;
            p.repeat_last_n = (int32_t[]){ -1, 0, 64, 5, 1000 }[random32() % 5];
        }
        if (random32() % 3 == 0) {
            p.bias = bias;
            p.n_bias = 1 + random32() % 4;
        }
        struct vs_sampler *s;
        assert_int_equal(vs_sampler_create(n, &s), VS_OK);
        size_t k = naive_items(&p, l, n, history, n_history, items);
        int draws = k <= 200 ? n_draws : 4;
        for (int i = 0; i < draws; i++) {
            p.seed = (uint64_t)random32() << 32 | random32();
            uint64_t position = (uint64_t)random32() << (random32() % 32);
            uint32_t id = UINT32_MAX;
            struct vs_error err = { 0 };
            int status = vs_sampler_sample(s, &p, l, history, n_history, position, &id, &err);
            if (k == 0 || (status != VS_OK && items[0].l == INFINITY)) {
                assert_int_equal(status, VS_E_INVALID);
                break;
            }
            if (status != VS_OK)
                fail_msg("round %d: %s", round, err.text);
            uint32_t expected = naive_draw(&p, items, k, position);
            if (id != expected)
                fail_msg("round %d: %u, naively %u (n %u shape %d T %g k %u p %g min %g typical %g)", round, id, expected,
                         n, round / 7 % 8, (double)p.temperature, p.top_k, (double)p.top_p, (double)p.min_p, (double)p.typical_p);
        }
        vs_sampler_free(s);
    }
}

/* Draws agree with their probabilities: a chi-square over four tokens, many positions, one seed. */
static void test_distribution(void **state)
{
    (void)state;
    const float l[4] = { 0.0f, 1.0f, 2.0f, 0.5f };
    struct vs_sampling p;
    vs_sampling_defaults(&p);
    p.temperature = 1.0f;
    p.top_p = 1.0f;
    p.min_p = 0.0f;
    p.seed = 7;
    struct vs_sampler *s;
    assert_int_equal(vs_sampler_create(4, &s), VS_OK);
    int n = 40000, count[4] = { 0 };
    for (int i = 0; i < n; i++) {
        uint32_t id;
        assert_int_equal(vs_sampler_sample(s, &p, l, NULL, 0, (uint64_t)i, &id, NULL), VS_OK);
        count[id]++;
    }
    double sum = 0, chi = 0;
    for (int i = 0; i < 4; i++)
        sum += exp((double)l[i]);
    for (int i = 0; i < 4; i++) {
        double e = n * exp((double)l[i]) / sum;
        chi += (count[i] - e) * (count[i] - e) / e;
    }
    assert_true(chi < 16.3);            /* 3 degrees of freedom, p = 0.001 */
    vs_sampler_free(s);
}

static void test_philox(void **state)
{
    (void)state;
    uint32_t r[4];
    /* The published known-answer vectors of Philox4x32-10. */
    vs_philox((const uint32_t[]){ 0, 0 }, (const uint32_t[]){ 0, 0, 0, 0 }, r);
    assert_true(r[0] == 0x6627e8d5 && r[1] == 0xe169c58d && r[2] == 0xbc57ac4c && r[3] == 0x9b00dbd8);
    vs_philox((const uint32_t[]){ 0xffffffff, 0xffffffff },
              (const uint32_t[]){ 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff }, r);
    assert_true(r[0] == 0x408f276d && r[1] == 0x41c83b0e && r[2] == 0xa20bc7c6 && r[3] == 0x6d5451fd);
    vs_philox((const uint32_t[]){ 0xa4093822, 0x299f31d0 },
              (const uint32_t[]){ 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344 }, r);
    assert_true(r[0] == 0xd16cfe09 && r[1] == 0x94fdcceb && r[2] == 0x5001e420 && r[3] == 0x24126ea1);
}

/* A mask is the same as a bias of -infinity on all that it does not allow: from nearly all to a few, far apart; or nothing. */
static void check_masks(uint32_t n, uint32_t rounds)
{
    enum { N = 3000 };
    static const uint32_t shares[] = { 1000, 100, 200, 900, 4, 500, 0, 300, 2, 990, 50 };      /* of 1,000 that are allowed */
    static float l[N];
    static struct vs_logit_bias bias[N];
    static uint64_t allowed[(N + 63) / 64];
    struct vs_sampler *s;
    assert_true(n <= N);
    assert_int_equal(vs_sampler_create(n, &s), VS_OK);
    for (uint32_t round = 0; round < rounds; round++) {
        uint32_t share = shares[round % 11], n_allowed = 0;
        float spread = round % 2 ? 8.0f : 400.0f;        /* so wide that most have no weight, in some rounds */
        struct vs_sampling p, q;
        memset(allowed, 0, sizeof allowed);
        vs_sampling_defaults(&p);
        p.top_k = (uint32_t[]){ 0, 40, 3 }[round % 3];
        p.temperature = round % 5 ? 1.5f : 0.0f;
        p.typical_p = round % 7 ? 1.0f : 0.9f;
        p.repeat_penalty = round % 4 ? 1.0f : 1.3f;      /* penalties come behind the mask */
        p.frequency_penalty = round % 4 ? 0.0f : -0.5f;
        uint32_t history[30];
        for (size_t i = 0; i < sizeof history / sizeof *history; i++)
            history[i] = random32() % n;
        q = p;
        q.bias = bias;
        for (uint32_t i = 0; i < n; i++) {
            l[i] = spread * (uniform() - 0.5f);
            if (random32() % 1000 < share)
                allowed[i / 64] |= UINT64_C(1) << i % 64, n_allowed++;
            else
                bias[q.n_bias++] = (struct vs_logit_bias){ i, -INFINITY };
        }
        p.allowed = allowed;
        for (uint64_t position = 0; position < 20; position++) {
            uint32_t a = n, b = n;
            int r = vs_sampler_sample(s, &p, l, history, position + 10, position, &a, NULL);
            assert_int_equal(r, n_allowed ? VS_OK : VS_E_INVALID);
            assert_int_equal(r, vs_sampler_sample(s, &q, l, history, position + 10, position, &b, NULL));
            assert_int_equal(a, b);
            assert_true(r != VS_OK || (allowed[a / 64] >> a % 64 & 1));
        }
    }
    vs_sampler_free(s);
}

static void test_mask(void **state)
{
    (void)state;
    check_masks(200, 300);
    check_masks(3000, 330);             /* more than the heap holds, and many blocks */
}

/* Thresholds that are met to the last unit. */
static void test_edges(void **state)
{
    (void)state;
    struct vs_sampler *s;
    assert_int_equal(vs_sampler_create(4, &s), VS_OK);
    struct vs_sampling p;
    vs_sampling_defaults(&p);
    p.temperature = 1.0f;
    p.min_p = 0.0f;
    uint32_t seen = 0, id;
    const float equal[4] = { 1.0f, 1.0f, 1.0f, 1.0f };
    p.top_p = 0.5f;                     /* two of four reach one half exactly */
    for (uint64_t i = 0; i < 200; i++) {
        assert_int_equal(vs_sampler_sample(s, &p, equal, NULL, 0, i, &id, NULL), VS_OK);
        seen |= 1u << id;
    }
    assert_int_equal(seen, 3);
    p.top_p = 0x1.000002p-1f;           /* a hair more needs the third */
    seen = 0;
    for (uint64_t i = 0; i < 200; i++) {
        assert_int_equal(vs_sampler_sample(s, &p, equal, NULL, 0, i, &id, NULL), VS_OK);
        seen |= 1u << id;
    }
    assert_int_equal(seen, 7);
    p.top_p = 1.0f;
    p.min_p = 1.0f;                     /* equal to the best is enough */
    seen = 0;
    for (uint64_t i = 0; i < 200; i++) {
        assert_int_equal(vs_sampler_sample(s, &p, equal, NULL, 0, i, &id, NULL), VS_OK);
        seen |= 1u << id;
    }
    assert_int_equal(seen, 15);
    p.temperature = 0;
    assert_int_equal(vs_sampler_sample(s, &p, (const float[]){ -1.0f, -0.0f, 0.0f, 0.0f }, NULL, 0, 0, &id, NULL), VS_OK);
    assert_int_equal(id, 1);            /* -0 equals 0: the lowest id */
    vs_sampler_free(s);
}

static void expect_refused(struct vs_sampler *s, const struct vs_sampling *p, const char *word)
{
    const float l[3] = { 0 };
    uint32_t id = 77;
    struct vs_error err = { 0 };
    assert_int_equal(vs_sampler_sample(s, p, l, NULL, 0, 0, &id, &err), VS_E_INVALID);
    assert_int_equal(id, 77);
    if (!strstr(err.text, word))
        fail_msg("\"%s\" does not name %s", err.text, word);
}

static void test_refusals(void **state)
{
    (void)state;
    struct vs_sampler *s = NULL;
    assert_int_equal(vs_sampler_create(0, &s), VS_E_LIMIT);
    assert_int_equal(vs_sampler_create(UINT32_MAX, &s), VS_E_LIMIT);
    assert_int_equal(vs_sampler_create(3, &s), VS_OK);
    struct vs_sampling good;
    vs_sampling_defaults(&good);
    assert_int_equal(vs_sampling_check(&good, 3, NULL), VS_OK);
    const float wrong[] = { -0.5f, NAN, INFINITY, -INFINITY };
    for (size_t i = 0; i < 4; i++) {
        struct vs_sampling p = good;
        p.temperature = wrong[i], expect_refused(s, &p, "temperature");
        p = good, p.top_p = wrong[i], expect_refused(s, &p, "top_p");
        p = good, p.min_p = wrong[i], expect_refused(s, &p, "min_p");
        p = good, p.typical_p = wrong[i], expect_refused(s, &p, "typical_p");
        p = good, p.repeat_penalty = wrong[i], expect_refused(s, &p, "repeat_penalty");
        if (i > 0) {
            p = good, p.presence_penalty = wrong[i], expect_refused(s, &p, "presence_penalty");
            p = good, p.frequency_penalty = wrong[i], expect_refused(s, &p, "frequency_penalty");
        }
    }
    struct vs_sampling p = good;
    p.repeat_penalty = 0.0f, expect_refused(s, &p, "repeat_penalty");
    p = good, p.top_p = 1.0000001f, expect_refused(s, &p, "top_p");
    p = good, p.repeat_last_n = -2, expect_refused(s, &p, "repeat_last_n");
    struct vs_logit_bias bias[3] = { { 3, 1.0f } };
    p = good, p.bias = bias, p.n_bias = 1, expect_refused(s, &p, "token 3");
    bias[0] = (struct vs_logit_bias){ 1, INFINITY };
    expect_refused(s, &p, "token 1");
    bias[0].bias = NAN;
    expect_refused(s, &p, "token 1");
    for (uint32_t i = 0; i < 3; i++)
        bias[i] = (struct vs_logit_bias){ i, -INFINITY };
    p.n_bias = 3;
    expect_refused(s, &p, "every token");
    p.bias = NULL;
    expect_refused(s, &p, "logit_bias");

    uint32_t id = 77;
    struct vs_error err;
    const uint32_t history[] = { 0, 3 };
    p = good, p.repeat_penalty = 1.1f;
    assert_int_equal(vs_sampler_sample(s, &p, (const float[]){ 0, 0, 0 }, history, 2, 0, &id, &err), VS_E_INVALID);
    const float bad[] = { NAN, INFINITY, -INFINITY };
    for (size_t i = 0; i < 3; i++)
        for (size_t at = 0; at < 3; at++) {
            float l[3] = { 0 }, chosen;
            l[at] = bad[i];
            assert_int_equal(vs_sampler_sample(s, &good, l, NULL, 0, 0, &id, &err), VS_E_FAULT);
            assert_non_null(strstr(err.text, "token"));
            assert_int_equal(vs_sampler_logprobs(s, l, 0, 0, &chosen, NULL), VS_E_FAULT);
        }
    assert_int_equal(id, 77);
    /* After refusals the sampler works as before. */
    assert_int_equal(vs_sampler_sample(s, &p, (const float[]){ 0, 9, 0 }, history, 1, 0, &id, &err), VS_OK);
    vs_sampler_free(s);
    vs_sampler_free(NULL);
}

static void test_logprobs(void **state)
{
    (void)state;
    static float l[3000];
    static struct item items[3000];
    static struct vs_logprob best[3000];
    struct vs_sampler *s;
    assert_int_equal(vs_sampler_create(3000, &s), VS_OK);
    for (int shape = 0; shape < 8; shape++) {
        make_logits(l, 3000, shape);
        for (uint32_t i = 0; i < 3000; i++)
            items[i] = (struct item){ .l = l[i], .id = i };
        qsort(items, 3000, sizeof *items, by_order);
        long double sum = 0;
        for (size_t i = 0; i < 3000; i++)
            sum += expl((long double)l[i] - items[0].l);
        size_t n_best = (size_t[]){ 0, 1, 5, 1024, 1025, 2999, 3000, 20 }[shape];
        float chosen;
        assert_int_equal(vs_sampler_logprobs(s, l, 17, n_best, &chosen, best), VS_OK);
        long double expected = (long double)l[17] - items[0].l - logl(sum);
        assert_true(fabsl(chosen - expected) <= 1e-7 + 1e-7 * fabsl(expected));
        for (size_t i = 0; i < n_best; i++) {
            assert_int_equal(best[i].id, items[i].id);
            expected = (long double)items[i].l - items[0].l - logl(sum);
            assert_true(fabsl(best[i].logprob - expected) <= 1e-7 + 1e-7 * fabsl(expected));
        }
    }
    float chosen;
    assert_int_equal(vs_sampler_logprobs(s, l, 3000, 0, &chosen, NULL), VS_E_INVALID);
    assert_int_equal(vs_sampler_logprobs(s, l, 0, 3001, &chosen, best), VS_E_INVALID);
    vs_sampler_free(s);
}

/* -- goldens: one case a line, made by tools/golden_sampler.py ------------------------------------------------------------ */

static float from_hex(const char **at)
{
    char *end;
    uint32_t u = (uint32_t)strtoul(*at, &end, 16);
    assert_ptr_not_equal(*at, end);
    *at = end;
    return vs_f32_of_bits(u);
}

static uint64_t number(const char **at)
{
    char *end;
    uint64_t u = strtoull(*at, &end, 10);
    assert_ptr_not_equal(*at, end);
    *at = end;
    return u;
}

static void test_golden(void **state)
{
    (void)state;
    FILE *f = fopen(TEST_DIR "/golden/sampler.txt", "r");
    assert_non_null(f);
    static char line[65536];
    int cases = 0;
    while (fgets(line, sizeof line, f)) {
        if (line[0] == '#')
            continue;
        const char *at = line;
        struct vs_sampling p;
        vs_sampling_defaults(&p);
        p.temperature = from_hex(&at);
        p.top_k = (uint32_t)number(&at);
        p.top_p = from_hex(&at);
        p.min_p = from_hex(&at);
        p.typical_p = from_hex(&at);
        p.repeat_penalty = from_hex(&at);
        p.presence_penalty = from_hex(&at);
        p.frequency_penalty = from_hex(&at);
        p.repeat_last_n = (int32_t)number(&at) - 1;
        uint32_t n = (uint32_t)number(&at);
        float l[256];
        assert_in_range(n, 1, 256);
        for (uint32_t i = 0; i < n; i++)
            l[i] = from_hex(&at);
        size_t n_history = number(&at);
        uint32_t history[256];
        assert_in_range(n_history, 0, 256);
        for (size_t i = 0; i < n_history; i++)
            history[i] = (uint32_t)number(&at);
        struct vs_logit_bias bias[16];
        p.n_bias = number(&at);
        p.bias = bias;
        assert_in_range(p.n_bias, 0, 16);
        for (size_t i = 0; i < p.n_bias; i++) {
            bias[i].id = (uint32_t)number(&at);
            bias[i].bias = from_hex(&at);
        }
        p.seed = number(&at);
        uint64_t position = number(&at);
        size_t n_ids = number(&at);
        struct vs_sampler *s;
        assert_int_equal(vs_sampler_create(n, &s), VS_OK);
        for (size_t i = 0; i < n_ids; i++) {
            uint32_t id, expected = (uint32_t)number(&at);
            assert_int_equal(vs_sampler_sample(s, &p, l, history, n_history, position + i, &id, NULL), VS_OK);
            if (id != expected)
                fail_msg("case %d, position %" PRIu64 ": %u, golden %u", cases, position + i, id, expected);
        }
        vs_sampler_free(s);
        cases++;
    }
    fclose(f);
    assert_true(cases >= 200);
}

/* Not a limit, a figure: how long a big vocabulary takes. */
static void test_time(void **state)
{
    (void)state;
    uint32_t n = 262144;
    float *l = malloc(n * sizeof *l);
    struct vs_sampler *s;
    assert_int_equal(vs_sampler_create(n, &s), VS_OK);
    make_logits(l, n, 0);
    struct vs_sampling p;
    for (int k = 0; k < 3; k++) {
        vs_sampling_defaults(&p);
        if (k == 1)
            p.temperature = 0;
        if (k == 2)
            p.top_k = 0;
        uint64_t best = UINT64_MAX;
        for (int i = 0; i < 7; i++) {
            uint32_t id;
            uint64_t start = cpu_ns();
            assert_int_equal(vs_sampler_sample(s, &p, l, NULL, 0, (uint64_t)i, &id, NULL), VS_OK);
            uint64_t took = cpu_ns() - start;
            best = took < best ? took : best;
        }
        print_message("  %s over %u tokens: %.3f ms\n", (const char *[]){ "top-k 40", "greedy", "top-k off" }[k], n,
                      (double)best / 1e6);
    }
    vs_sampler_free(s);
    free(l);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "all") == 0)
        n_draws = 1 << 20 >> 8;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_philox),
        cmocka_unit_test(test_naive),
        cmocka_unit_test(test_distribution),
        cmocka_unit_test(test_mask), cmocka_unit_test(test_edges),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_logprobs),
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
