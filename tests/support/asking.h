/* Asks of a vs_check are counted, and how much processor time lies between two of them; the one called stop_at cancels. */
#ifndef VS_TESTS_ASKING_H
#define VS_TESTS_ASKING_H
#include "base/status.h"

#include <stdint.h>
#include <time.h>

/* At most this long may nobody ask: 10 ms, and a little for clocks; where a sanitizer looks on everything takes longer. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define WORST_NS 100000000u
#else
#define WORST_NS 12000000u
#endif

struct asking { uint64_t n, stop_at, last_ns, worst_ns; };

static inline uint64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline int on_ask(void *context)
{
    struct asking *a = context;
    uint64_t now = cpu_ns();
    if (now - a->last_ns > a->worst_ns)
        a->worst_ns = now - a->last_ns;
    a->last_ns = now;
    return ++a->n == a->stop_at ? VS_E_CANCELLED : VS_OK;
}
#endif
