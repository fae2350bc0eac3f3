/* cpu/pool.c - see pool.h */
#include "cpu/pool.h"

#include "base/num.h"
#include "base/status.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    SPINS_BARRIER = 4000,               /* pauses before yielding: about 40 us, far above an even split of work */
    SPINS_IDLE = 20000,                 /* pauses before an idle thread sleeps: keeps it awake from token to token */
};

struct vs_pool {
    unsigned n_threads;
    void (*fn)(void *context, unsigned thread);
    void *context;
    _Alignas(64) _Atomic uint32_t generation;   /* counts runs; idle threads sleep on it */
    _Atomic uint32_t sleepers;
    _Alignas(64) _Atomic uint32_t arrived;      /* barrier: threads that came */
    _Alignas(64) _Atomic uint32_t phase;        /* barrier: counts openings */
    _Atomic int stop;
    pthread_t thread[VS_POOL_MAX_THREADS];
};

struct start { struct vs_pool *pool; unsigned thread; };

static inline void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#else
    atomic_signal_fence(memory_order_seq_cst);
#endif
}

void vs_pool_barrier(struct vs_pool *p)
{
    if (p->n_threads == 1)
        return;
    uint32_t phase = atomic_load_explicit(&p->phase, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&p->arrived, 1, memory_order_acq_rel) + 1 == p->n_threads) {
        atomic_store_explicit(&p->arrived, 0, memory_order_relaxed);
        atomic_store_explicit(&p->phase, phase + 1, memory_order_release);
        return;
    }
    for (unsigned spins = 0; atomic_load_explicit(&p->phase, memory_order_acquire) == phase; spins++) {
        if (spins < SPINS_BARRIER)
            relax();
        else
            sched_yield();
    }
}

static void idle(struct vs_pool *p, uint32_t seen)
{
    for (unsigned spins = 0; spins < SPINS_IDLE; spins++) {
        if (atomic_load_explicit(&p->generation, memory_order_acquire) != seen)
            return;
        relax();
    }
    atomic_fetch_add(&p->sleepers, 1);
    while (atomic_load(&p->generation) == seen)
        syscall(SYS_futex, &p->generation, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
    atomic_fetch_sub(&p->sleepers, 1);
}

static void *work(void *arg)
{
    struct start start = *(struct start *)arg;
    free(arg);
    struct vs_pool *p = start.pool;
    vs_fp_control_set();
    for (uint32_t seen = 0;;) {
        idle(p, seen);
        seen++;
        if (atomic_load(&p->stop))
            return NULL;
        p->fn(p->context, start.thread);
        vs_pool_barrier(p);
    }
}

static void wake(struct vs_pool *p)
{
    atomic_fetch_add(&p->generation, 1);
    if (atomic_load(&p->sleepers))
        syscall(SYS_futex, &p->generation, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}

void vs_pool_run(struct vs_pool *p, void (*fn)(void *context, unsigned thread), void *context)
{
    p->fn = fn;
    p->context = context;
    if (p->n_threads > 1)
        wake(p);
    fn(context, 0);
    vs_pool_barrier(p);
}

int vs_pool_create(unsigned n_threads, struct vs_pool **ret)
{
    if (n_threads < 1 || n_threads > VS_POOL_MAX_THREADS)
        return VS_E_INVALID;
    struct vs_pool *p = aligned_alloc(64, (sizeof *p + 63) / 64 * 64);
    if (!p)
        return VS_E_NOMEM;
    *p = (struct vs_pool){ .n_threads = 1 };
    vs_fp_control_set();
    for (unsigned i = 1; i < n_threads; i++) {
        struct start *start = malloc(sizeof *start);
        if (start)
            *start = (struct start){ p, i };
        if (!start || pthread_create(&p->thread[i], NULL, work, start) != 0) {
            free(start);
            p->n_threads = i;
            vs_pool_free(p);
            return VS_E_SYSTEM;
        }
    }
    p->n_threads = n_threads;           /* read by the threads only after the first wake */
    *ret = p;
    return VS_OK;
}

void vs_pool_free(struct vs_pool *p)
{
    if (!p)
        return;
    atomic_store(&p->stop, 1);
    if (p->n_threads > 1)
        wake(p);
    for (unsigned i = 1; i < p->n_threads; i++)
        pthread_join(p->thread[i], NULL);
    free(p);
}

unsigned vs_pool_n_threads(const struct vs_pool *p)
{
    return p->n_threads;
}
