/* cpu/pool.h - the threads that run one program together.
 *
 * vs_pool_run starts the same function on every thread (the caller is thread 0) and returns when all are done. Inside, the
 * threads meet at barriers. Waiting spins for a short while, then yields, then (between runs) sleeps, so that an idle
 * pool costs nothing and a stolen core stalls nobody for longer than its time slice.
 */
#ifndef VS_CPU_POOL_H
#define VS_CPU_POOL_H
#include <stddef.h>

struct vs_pool;

enum { VS_POOL_MAX_THREADS = 256 };

/* n_threads in 1..VS_POOL_MAX_THREADS. Threads are created here; none later. */
int vs_pool_create(unsigned n_threads, struct vs_pool **ret);
void vs_pool_free(struct vs_pool *p);
unsigned vs_pool_n_threads(const struct vs_pool *p);

void vs_pool_run(struct vs_pool *p, void (*fn)(void *context, unsigned thread), void *context);
/* Called by every thread of a running function. What was written before it is seen by all after it. */
void vs_pool_barrier(struct vs_pool *p);
#endif
