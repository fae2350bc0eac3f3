/* cpu/pool.h - the threads that run one program together.
 *
 * A run offers one function to every thread; the caller is thread 0. Who does which part is the function's own affair: it
 * must be complete when thread 0 returns from it, whichever of the others came, late or never. So a thread that the
 * machine does not let run holds nobody up.
 *
 * Waiting spins for a short while, then sleeps: an idle pool costs nothing.
 */
#ifndef VS_CPU_POOL_H
#define VS_CPU_POOL_H
#include "base/status.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct vs_pool;
typedef void vs_pool_fn(void *context, unsigned thread);

enum { VS_POOL_MAX_THREADS = 256 };

/* n_threads in 1..VS_POOL_MAX_THREADS. Threads are created here, all or none; none later. VS_E_LIMIT says how many could be had. */
int vs_pool_create(unsigned n_threads, struct vs_pool **ret, struct vs_error *err);
void vs_pool_free(struct vs_pool *p);

/* Runs fn on thread 0, and on the others as they come. Others may still be inside when it returns: context must outlive the
 * next vs_pool_join (or run with another fn or context, which joins first). */
void vs_pool_run(struct vs_pool *p, vs_pool_fn *fn, void *context);
/* Nobody but the caller is inside any more. */
void vs_pool_join(struct vs_pool *p);

/* A place to wait: `changed` counts changes of something that the caller looks at. */
struct vs_gate {
    _Alignas(64) _Atomic uint32_t changed;
    _Atomic uint32_t asleep;             /* 0: nobody; else the last change for which somebody may sleep (pool.c) */
};
/* After the change. What was written before it is seen by those who come back from _wait. */
void vs_gate_open(struct vs_gate *g);
/* Returns when g->changed is no longer `seen`, which the caller read before it looked; perhaps earlier. */
void vs_gate_wait(struct vs_gate *g, uint32_t seen, unsigned spins);
#endif
