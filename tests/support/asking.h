/* Asks of a vs_check are counted, and how much processor time lies between two of them; the one called stop_at cancels. */
#ifndef VS_TESTS_ASKING_H
#define VS_TESTS_ASKING_H
#include "base/status.h"
#include "cpu_time.h"

#include <stdint.h>

/* At most this long may nobody ask: 10 ms, and a little for clocks; where a sanitizer looks on everything takes longer. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define WORST_NS 100000000u
#else
#define WORST_NS 12000000u
#endif

struct asking { uint64_t n, stop_at, last_ns, worst_ns; };

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
