/* support/cpu_time.h - the calling thread's own time: a limit in it finds what is slow, not who shares the machine. */
#ifndef VS_TEST_CPU_TIME_H
#define VS_TEST_CPU_TIME_H
#include <stdint.h>
#include <time.h>

static inline uint64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}
#endif
