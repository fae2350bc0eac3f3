/* bench/limits.c - what this machine can do at most, so that a speed can be told as a fraction of a limit.
 *
 *   limits [--threads N] [--reps N] [--mib N] [--isa c|avx2|avx512] [--json]
 *
 * Measures int8 and f32 peak, read bandwidth (huge pages where the system gives them) and the cost of a barrier, with one
 * pinned thread and with all. Best and median of the repetitions: on a shared machine the best is the limit, and the
 * distance of the two says how shared it is.
 */
#include "limits.h"

#include "base/clock.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { THREADS_MAX = 256, REPS_MAX = 99 };

/* Plain C has no such limit of its own to speak of: what the compiler makes of eight independent chains. */
static double f32_c(uint64_t rounds)
{
    float a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0;
    const float m = 0.5f, n = 0.25f;
    for (uint64_t r = 0; r < rounds; r++) {
        a = a * m + n, b = b * m + n, c = c * m + n, d = d * m + n;
        e = e * m + n, f = f * m + n, g = g * m + n, h = h * m + n;
    }
    float sum[8] = { a, b, c, d, e, f, g, h };
    __asm__ volatile("" : : "r"(sum) : "memory");
    return (double)rounds * 16;
}

static uint64_t read_c(const void *p, size_t n)
{
    const uint64_t *v = p;
    uint64_t x[8] = { 0 };
    for (size_t at = 0; at < n / 8; at += 8)
        for (size_t i = 0; i < 8; i++)
            x[i] ^= v[at + i];
    return x[0] ^ x[1] ^ x[2] ^ x[3] ^ x[4] ^ x[5] ^ x[6] ^ x[7];
}

const struct limits vs_limits_c = { "c", NULL, f32_c, read_c };

/* -- the crew: n pinned threads that do one thing together and are timed from the first start to the last end ---------- */

struct crew {
    const struct limits *isa;
    size_t n_threads, part_bytes;
    void *part[THREADS_MAX];
    int cpu[THREADS_MAX];
    uint64_t rounds;
    double (*work)(struct crew *c, size_t self);        /* operations or bytes done */
    atomic_uint arrived, generation;
    atomic_uint_fast64_t sink;
};

struct member { struct crew *crew; size_t self; uint64_t start, end; double done; };

static void barrier(struct crew *c)
{
    unsigned generation = atomic_load_explicit(&c->generation, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&c->arrived, 1, memory_order_acq_rel) == c->n_threads - 1) {
        atomic_store_explicit(&c->arrived, 0, memory_order_relaxed);
        atomic_store_explicit(&c->generation, generation + 1, memory_order_release);
        return;
    }
    for (unsigned spins = 0; atomic_load_explicit(&c->generation, memory_order_acquire) == generation; spins++) {
#if defined(__x86_64__)
        __builtin_ia32_pause();
#endif
        if (spins > 100000)
            sched_yield();
    }
}

static void *member_main(void *argument)
{
    struct member *m = argument;
    struct crew *c = m->crew;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(c->cpu[m->self], &set);
    pthread_setaffinity_np(pthread_self(), sizeof set, &set);
    barrier(c);
    m->start = vs_clock_ns();
    m->done = c->work(c, m->self);
    m->end = vs_clock_ns();
    return NULL;
}

/* Done in a second; 0 when the threads could not be started. */
static double crew_run(struct crew *c)
{
    pthread_t thread[THREADS_MAX];
    struct member member[THREADS_MAX];
    atomic_store(&c->arrived, 0);
    for (size_t i = 0; i < c->n_threads; i++) {
        member[i] = (struct member){ .crew = c, .self = i };
        if (pthread_create(&thread[i], NULL, member_main, &member[i]) != 0) {
            fprintf(stderr, "limits: cannot start thread %zu\n", i);
            exit(1);
        }
    }
    uint64_t first = UINT64_MAX, last = 0;
    double done = 0;
    for (size_t i = 0; i < c->n_threads; i++) {
        pthread_join(thread[i], NULL);
        first = member[i].start < first ? member[i].start : first;
        last = member[i].end > last ? member[i].end : last;
        done += member[i].done;
    }
    return done * 1e9 / (double)(last - first);
}

static double do_int8(struct crew *c, size_t self) { (void)self; return c->isa->int8(c->rounds); }
static double do_f32(struct crew *c, size_t self) { (void)self; return c->isa->f32(c->rounds); }

static double do_read(struct crew *c, size_t self)
{
    atomic_fetch_xor(&c->sink, c->isa->read(c->part[self], c->part_bytes));
    return (double)c->part_bytes;
}

static double do_barrier(struct crew *c, size_t self)
{
    for (uint64_t i = 0; i < c->rounds; i++)
        barrier(c);
    return self == 0 ? (double)c->rounds : 0;
}

/* -- what is measured ------------------------------------------------------------------------------------------------------ */

struct measure {
    const char *name, *unit;
    double (*work)(struct crew *c, size_t self);
    uint64_t rounds;
    double scale;                       /* result = scale * rate, or scale / rate where inverse */
    bool inverse;
};

static const struct measure measures[] = {
    { "int8",    "GOPS",   do_int8,    2000000, 1e-9, false },
    { "f32 fma", "GFLOPS", do_f32,     2000000, 1e-9, false },
    { "read",    "GB/s",   do_read,    0,       1e-9, false },
    { "barrier", "ns",     do_barrier, 100000,  1e9,  true },
};

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void run_measure(struct crew *c, const struct measure *m, int reps, bool json, bool *first)
{
    double value[REPS_MAX];
    c->work = m->work;
    c->rounds = m->rounds;
    crew_run(c);                        /* warm */
    for (int i = 0; i < reps; i++)
        value[i] = m->inverse ? m->scale / crew_run(c) : m->scale * crew_run(c);
    qsort(value, (size_t)reps, sizeof *value, by_value);
    double median = value[reps / 2], best = m->inverse ? value[0] : value[reps - 1];
    if (json)
        printf("%s\n    {\"what\": \"%s\", \"isa\": \"%s\", \"threads\": %zu, \"unit\": \"%s\", \"best\": %.4g, \"median\": %.4g}",
               *first ? "" : ",", m->name, c->isa->isa, c->n_threads, m->unit, best, median);
    else
        printf("%-8s %-7s %2zu thread%s  %9.1f %-6s (median %.1f)\n", m->name, c->isa->isa, c->n_threads,
               c->n_threads == 1 ? " " : "s", best, m->unit, median);
    *first = false;
    fflush(stdout);
}

static const struct limits *const levels[] = {
    &vs_limits_c,
#if defined(__x86_64__)
    &vs_limits_avx2, &vs_limits_avx512,
#endif
};
enum { N_LEVELS = sizeof levels / sizeof *levels };

static bool runs_here(const struct limits *isa)
{
    if (isa == &vs_limits_c)
        return true;
#if defined(__x86_64__)
    if (isa == &vs_limits_avx2)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")
        && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni");
#else
    return false;
#endif
}

static bool take_number(const char *text, long min, long max, long *ret)
{
    char *end;
    *ret = text ? strtol(text, &end, 10) : 0;
    return text && *text && *end == '\0' && *ret >= min && *ret <= max;
}

int main(int argc, char **argv)
{
    static struct crew crew;
    cpu_set_t allowed;
    size_t n_cpus = 0;
    CPU_ZERO(&allowed);
    sched_getaffinity(0, sizeof allowed, &allowed);
    for (int i = 0; i < CPU_SETSIZE && n_cpus < THREADS_MAX; i++)
        if (CPU_ISSET(i, &allowed))
            crew.cpu[n_cpus++] = i;
    long threads = (long)n_cpus, reps = 7, mib = 256;
    const struct limits *isa = NULL;
    bool json = false;
    for (int i = 1; i < argc; i++) {
        bool good = true;
        if (strcmp(argv[i], "--json") == 0)
            json = true;
        else if (strcmp(argv[i], "--threads") == 0)
            good = take_number(argv[++i], 1, (long)n_cpus, &threads);
        else if (strcmp(argv[i], "--reps") == 0)
            good = take_number(argv[++i], 1, REPS_MAX, &reps);
        else if (strcmp(argv[i], "--mib") == 0)
            good = take_number(argv[++i], 1, 65536, &mib);
        else if (strcmp(argv[i], "--isa") == 0) {
            i++;
            for (int k = 0; k < N_LEVELS; k++)
                if (argv[i] && strcmp(argv[i], levels[k]->isa) == 0)
                    isa = levels[k];
            good = isa && runs_here(isa);
        } else
            good = false;
        if (!good) {
            fprintf(stderr, "usage: limits [--threads 1..%zu] [--reps 1..%d] [--mib N] [--isa c|avx2|avx512] [--json]\n",
                    n_cpus, REPS_MAX);
            return 2;
        }
    }

    size_t bytes = (size_t)mib << 20, huge = (size_t)2 << 20;
    char *memory = mmap(NULL, bytes + huge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        fprintf(stderr, "limits: no memory for %ld MiB; try a smaller --mib\n", mib);
        return 1;
    }
    memory += (huge - (size_t)memory % huge) % huge;
    madvise(memory, bytes, MADV_HUGEPAGE);
    memset(memory, 1, bytes);

    bool first = true;
    if (json)
        printf("{\"cpus\": %zu, \"mib\": %ld, \"results\": [", n_cpus, mib);
    for (int k = 0; k < N_LEVELS; k++) {
        bool highest = k + 1 == N_LEVELS || !runs_here(levels[k + 1]);
        if (!runs_here(levels[k]) || (isa && isa != levels[k]))
            continue;
        crew.isa = levels[k];
        for (size_t n = 1; n <= (size_t)threads; n = n == 1 && threads > 1 ? (size_t)threads : (size_t)threads + 1) {
            crew.n_threads = n;
            crew.part_bytes = bytes / n / 512 * 512;
            for (size_t i = 0; i < n; i++)
                crew.part[i] = memory + i * crew.part_bytes;
            for (size_t i = 0; i < sizeof measures / sizeof *measures; i++) {
                const struct measure *m = &measures[i];
                if ((m->work == do_int8 && !crew.isa->int8) || (m->work == do_barrier && n == 1)
                    || ((m->work == do_barrier || m->work == do_read) && !highest && !isa))
                    continue;           /* reading and waiting are measured once */
                run_measure(&crew, m, (int)reps, json, &first);
            }
        }
        if (highest)
            break;
    }
    if (json)
        printf("\n]}\n");
    return 0;
}
