/* cpu/pool.c - see pool.h */
#include "cpu/pool.h"

#include "base/num.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SPINS_IDLE = 20000 };            /* pauses before an idle thread sleeps: keeps it awake from token to token */
enum { STACK = 512 << 10 };             /* the largest frame, of AVX-512's matrices for many rows, takes 33 KB */

struct vs_pool {
    unsigned n_threads;
    vs_pool_fn *fn;
    void *context;
    struct vs_gate runs;                /* changed once for each run, and at the end */
    _Alignas(64) _Atomic bool open;     /* there is something to run */
    _Atomic uint32_t inside;            /* threads other than 0 that may be running fn */
    _Atomic bool stop;
    pthread_t thread[VS_POOL_MAX_THREADS];
};

struct start { struct vs_pool *pool; unsigned thread; };

static inline void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb");
#else
    atomic_signal_fence(memory_order_seq_cst);
#endif
}

/* Who may sleep for the change of `seen`; never 0. Two compare by their difference. */
static uint32_t mark(uint32_t seen)
{
    return seen << 1 | 1;
}

/* Only a mark of a change that is made is taken away, behind the change: whoever left it is woken here, or does not fall asleep.
 * Marks that were left meanwhile for later changes stay. */
void vs_gate_open(struct vs_gate *g)
{
    uint32_t made = mark(atomic_fetch_add(&g->changed, 1)), asleep = atomic_load(&g->asleep);
    if (!asleep)
        return;
    if ((int32_t)(asleep - made) <= 0)
        atomic_compare_exchange_strong(&g->asleep, &asleep, 0);
    syscall(SYS_futex, &g->changed, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

void vs_gate_wait(struct vs_gate *g, uint32_t seen, unsigned spins)
{
    for (; spins; spins--) {
        if (atomic_load_explicit(&g->changed, memory_order_acquire) != seen)
            return;
        relax();
    }
    uint32_t own = mark(seen), last = atomic_load(&g->asleep);
    while ((!last || (int32_t)(own - last) > 0) && !atomic_compare_exchange_weak(&g->asleep, &last, own)) { }
    if (atomic_load(&g->changed) == seen)
        syscall(SYS_futex, &g->changed, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
}

static void *work(void *arg)
{
    struct start start = *(struct start *)arg;
    free(arg);
    struct vs_pool *p = start.pool;
    vs_fp_control_set();
    for (uint32_t seen = 0;;) {
        while (atomic_load(&p->runs.changed) == seen)
            vs_gate_wait(&p->runs, seen, SPINS_IDLE);
        seen = atomic_load(&p->runs.changed);
        if (atomic_load(&p->stop))
            return NULL;
        atomic_fetch_add(&p->inside, 1);         /* before looking: _join closes, then waits for this */
        if (atomic_load(&p->open))
            p->fn(p->context, start.thread);
        atomic_fetch_sub(&p->inside, 1);
    }
}

void vs_pool_join(struct vs_pool *p)
{
    atomic_store(&p->open, false);
    while (atomic_load(&p->inside))
        relax();
}

void vs_pool_run(struct vs_pool *p, vs_pool_fn *fn, void *context)
{
    if (p->n_threads > 1) {
        if (p->fn != fn || p->context != context) {
            vs_pool_join(p);
            p->fn = fn;
            p->context = context;
        }
        atomic_store(&p->open, true);
        vs_gate_open(&p->runs);
    }
    fn(context, 0);
}

static int start_thread(struct vs_pool *p, unsigned i)
{
    struct start *start = malloc(sizeof *start);
    if (!start)
        return ENOMEM;
    *start = (struct start){ p, i };
    pthread_attr_t attr;                 /* stacks count as memory: limits must not be met by what is never used */
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK);
    int e = pthread_create(&p->thread[i], &attr, work, start);
    pthread_attr_destroy(&attr);
    if (e != 0)
        free(start);
    return e;
}

int vs_pool_create(unsigned n_threads, struct vs_pool **ret, struct vs_error *err)
{
    if (n_threads < 1 || n_threads > VS_POOL_MAX_THREADS)
        return vs_error_set(err, VS_E_INVALID, "threads: from 1 to %d", VS_POOL_MAX_THREADS);
    struct vs_pool *p = aligned_alloc(64, (sizeof *p + 63) / 64 * 64);
    if (!p)
        return vs_error_set(err, VS_E_NOMEM, "model: out of memory");
    *p = (struct vs_pool){ .n_threads = 1 };
    vs_fp_control_set();
    int e = 0;
    for (unsigned i = 1; i < n_threads && (e = start_thread(p, i)) == 0; i++)
        p->n_threads = i + 1;           /* read by the threads only after the first run opens */
    if (e != 0) {
        vs_error_set(err, VS_E_LIMIT, "model: of %u threads only %u can be started (%s): give a smaller --threads, or raise the "
                     "limits on processes and memory", n_threads, p->n_threads, strerror(e));
        vs_pool_free(p);
        return VS_E_LIMIT;
    }
    *ret = p;
    return VS_OK;
}

void vs_pool_free(struct vs_pool *p)
{
    if (!p)
        return;
    vs_pool_join(p);
    atomic_store(&p->stop, true);
    vs_gate_open(&p->runs);
    for (unsigned i = 1; i < p->n_threads; i++)
        pthread_join(p->thread[i], NULL);
    free(p);
}
