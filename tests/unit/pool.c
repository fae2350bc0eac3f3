/* rooms: cpu base */
/* unit/pool.c - threads that wait for each other, with no pause before they sleep: nobody sleeps for good, and one wake is enough
 * for a sleep. */
#include "cpu/pool.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

enum { THREADS = 4, TURNS = 100000 };

static struct vs_gate gate;
static _Atomic uint32_t turn;

/* Whose turn it is goes on; the others, who wait since different turns, look again. */
static void *take_turns(void *arg)
{
    uint32_t own = (uint32_t)(uintptr_t)arg;
    for (;;) {
        uint32_t seen = atomic_load(&gate.changed), now = atomic_load(&turn);
        if (now >= TURNS)
            return NULL;
        if (now % THREADS != own) {
            vs_gate_wait(&gate, seen, now % 3);
            continue;
        }
        atomic_store(&turn, now + 1);
        vs_gate_open(&gate);
    }
}

static void test_nobody_sleeps_for_good(void **state)
{
    (void)state;
    pthread_t thread[THREADS];
    atomic_store(&gate.changed, UINT32_MAX - TURNS / 2);         /* it comes round */
    alarm(300);
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, take_turns, (void *)i), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    alarm(0);
    assert_int_equal(atomic_load(&turn), TURNS);
}

/* Who was woken may run late; until then it is not woken again. */
static void test_one_wake_for_a_sleep(void **state)
{
    (void)state;
    struct vs_gate g = { 0 };
    vs_gate_open(&g);
    assert_int_equal(atomic_load(&g.asleep), 0);
    vs_gate_wait(&g, 0, 0);             /* too late to sleep */
    assert_int_not_equal(atomic_load(&g.asleep), 0);
    vs_gate_open(&g);
    assert_int_equal(atomic_load(&g.asleep), 0);
}

/* One thread makes a change and is about to look who sleeps, while another already waits for the next one: it will be woken by
 * that, and so will who waited for this change and came later. */
static void test_who_waits_for_the_next_change(void **state)
{
    (void)state;
    for (uint32_t start = 0; start < 3; start++) {
        struct vs_gate g = { .changed = UINT32_MAX - start };
        vs_gate_wait(&g, g.changed + 1, 0);
        uint32_t next = atomic_load(&g.asleep);
        vs_gate_wait(&g, g.changed - 1, 0);
        assert_int_equal(atomic_load(&g.asleep), next);
        vs_gate_open(&g);
        assert_int_equal(atomic_load(&g.asleep), next);
        vs_gate_open(&g);
        assert_int_equal(atomic_load(&g.asleep), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nobody_sleeps_for_good),
        cmocka_unit_test(test_one_wake_for_a_sleep),
        cmocka_unit_test(test_who_waits_for_the_next_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
