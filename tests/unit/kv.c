/* rooms: kv base */
#include "base/status.h"
#include "kv/pool.h"

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

/* The naive model: who has each page. */
enum { MAX_PAGES = 70, N_TABLES = 5, NOBODY = -1, LOOSE = N_TABLES };

struct model {
    uint32_t n_pages, page_tokens, n_loose, loose[MAX_PAGES];
    int owner[MAX_PAGES];
    struct vs_kv_pool *pool;
    struct vs_kv_table table[N_TABLES];
    uint32_t n_tokens[N_TABLES];
};

static uint32_t n_free(const struct model *m)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < m->n_pages; i++)
        n += m->owner[i] == NOBODY;
    return n;
}

static void claim(struct model *m, const uint32_t *page, uint32_t n, int owner)
{
    for (uint32_t i = 0; i < n; i++) {
        assert_true(page[i] < m->n_pages);
        assert_int_equal(m->owner[page[i]], owner == NOBODY ? LOOSE : NOBODY);
        m->owner[page[i]] = owner;
    }
}

static void check(const struct model *m)
{
    uint32_t n = m->n_loose;
    for (int t = 0; t < N_TABLES; t++) {
        n += m->table[t].n_pages;
        for (uint32_t i = 0; i < m->table[t].n_pages; i++)
            assert_int_equal(m->owner[m->table[t].page[i]], t);
    }
    assert_int_equal(n, m->n_pages - n_free(m));
}

static void take_loose(struct model *m)
{
    uint32_t n = below(m->n_pages + 2), page[MAX_PAGES + 2];
    memset(page, 0xff, sizeof page);
    int r = vs_kv_pool_take(m->pool, n, page);
    assert_int_equal(r, n > n_free(m) ? VS_E_BUSY : VS_OK);
    if (r != VS_OK) {
        for (uint32_t i = 0; i < n; i++)
            assert_int_equal(page[i], UINT32_MAX);
        return;
    }
    claim(m, page, n, LOOSE);
    memcpy(m->loose + m->n_loose, page, n * sizeof *page);
    m->n_loose += n;
}

static void give_loose(struct model *m)
{
    uint32_t n = below(m->n_loose + 1), page[MAX_PAGES + 1];
    for (uint32_t i = 0; i < n; i++) {                   /* any of them */
        uint32_t j = i + below(m->n_loose - i), swap = m->loose[i];
        m->loose[i] = m->loose[j];
        m->loose[j] = swap;
    }
    memcpy(page, m->loose, n * sizeof *page);
    if (below(2)) {                                      /* and one that is free, does not exist, or stands there already */
        uint32_t at = below(n + 1), bad = m->n_pages + below(3);
        for (uint32_t i = 0; i < m->n_pages && below(2); i++)
            bad = m->owner[i] == NOBODY ? i : bad;
        if (n && below(3) == 0)
            bad = page[below(n)];
        memmove(page + at + 1, page + at, (n - at) * sizeof *page);
        page[at] = bad;
        assert_int_equal(vs_kv_pool_give(m->pool, page, n + 1), VS_E_INVALID);
        return;
    }
    assert_int_equal(vs_kv_pool_give(m->pool, page, n), VS_OK);
    claim(m, page, n, NOBODY);
    m->n_loose -= n;
    memmove(m->loose, m->loose + n, m->n_loose * sizeof *m->loose);
}

static void change_table(struct model *m)
{
    int t = (int)below(N_TABLES);
    struct vs_kv_table *table = &m->table[t];
    uint32_t n = below(m->n_pages * m->page_tokens + 9), had = table->n_pages, need = (n + m->page_tokens - 1) / m->page_tokens;
    uint32_t before[MAX_PAGES];
    memcpy(before, table->page ? table->page : before, had * sizeof *before);
    if (below(2)) {
        int r = vs_kv_table_reserve(table, m->pool, n);
        assert_int_equal(r, need > had && need - had > n_free(m) ? VS_E_BUSY : VS_OK);
        assert_int_equal(table->n_pages, r == VS_OK && need > had ? need : had);
        if (table->n_pages > had)
            claim(m, table->page + had, table->n_pages - had, t);
    } else {
        vs_kv_table_truncate(table, m->pool, n);
        assert_int_equal(table->n_pages, need < had ? need : had);
        for (uint32_t i = table->n_pages; i < had; i++)
            m->owner[before[i]] = NOBODY;
    }
    if (had && table->n_pages)                           /* what stayed, stayed where it was */
        assert_memory_equal(table->page, before, (table->n_pages < had ? table->n_pages : had) * sizeof *before);
}

static void test_random(void **state)
{
    (void)state;
    for (int round = 0; round < 200; round++) {
        struct model m = { .n_pages = below(MAX_PAGES), .page_tokens = 1 + below(70) };
        for (uint32_t i = 0; i < MAX_PAGES; i++)
            m.owner[i] = NOBODY;
        assert_int_equal(vs_kv_pool_create(m.n_pages, m.page_tokens, &m.pool), VS_OK);
        for (int i = 0; i < 400; i++) {
            static void (*const what[])(struct model *) = { take_loose, give_loose, change_table, change_table };
            what[below(4)](&m);
            check(&m);
        }
        assert_int_equal(vs_kv_pool_give(m.pool, m.loose, m.n_loose), VS_OK);
        for (int t = 0; t < N_TABLES; t++)
            vs_kv_table_clear(&m.table[t], m.pool);
        uint32_t all[MAX_PAGES];
        assert_int_equal(vs_kv_pool_take(m.pool, m.n_pages, all), VS_OK);     /* nothing was lost */
        assert_int_equal(vs_kv_pool_take(m.pool, 1, all), VS_E_BUSY);
        vs_kv_pool_free(m.pool);
    }
}

/* A sequence that grows alone has ascending pages: its keys are one stream of memory. Also after it was cut. */
static void test_order(void **state)
{
    (void)state;
    struct vs_kv_pool *pool;
    struct vs_kv_table t = { 0 };
    assert_int_equal(vs_kv_pool_create(100, 64, &pool), VS_OK);
    for (int round = 0; round < 3; round++) {
        for (uint32_t n = 0; n <= 6400; n += 37)
            assert_int_equal(vs_kv_table_reserve(&t, pool, n), VS_OK);
        for (uint32_t i = 0; i < t.n_pages; i++)
            assert_int_equal(t.page[i], i);
        vs_kv_table_truncate(&t, pool, (uint32_t)round * 1000);
    }
    assert_int_equal(vs_kv_table_reserve(&t, pool, 6401), VS_E_BUSY);
    assert_int_equal(vs_kv_table_reserve(&t, pool, UINT32_MAX), VS_E_BUSY);
    vs_kv_table_clear(&t, pool);
    vs_kv_pool_free(pool);
    vs_kv_pool_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_random), cmocka_unit_test(test_order) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
