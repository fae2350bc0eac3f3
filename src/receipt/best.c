/* receipt/best.c - see best.h: plain C, and which way is taken. */
#include "receipt/best_body.h"

static float greatest_of(const float *v, size_t n_runs)
{
    float most[VS_BEST_RUN];
    for (int k = 0; k < VS_BEST_RUN; k++)
        most[k] = v[k];
    for (size_t i = 1; i < n_runs; i++)
        for (int k = 0; k < VS_BEST_RUN; k++)
            most[k] = v[i * VS_BEST_RUN + k] > most[k] ? v[i * VS_BEST_RUN + k] : most[k];
    for (int k = 1; k < VS_BEST_RUN; k++)
        most[0] = most[k] > most[0] ? most[k] : most[0];
    return most[0];
}

static uint32_t not_below(const float v[VS_BEST_RUN], float least)
{
    uint32_t set = 0;
    for (int k = 0; k < VS_BEST_RUN; k++)
        set |= (uint32_t)(v[k] >= least) << k;
    return set;
}

uint32_t vs_best_c(const float *logits, size_t n, uint32_t ret[VS_BEST_MOST])
{
    return find_best(greatest_of, not_below, logits, n, ret);
}

uint32_t vs_best(const float *logits, size_t n, uint32_t ret[VS_BEST_MOST])
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2"))
        return vs_best_avx2(logits, n, ret);
#endif
    return vs_best_c(logits, n, ret);
}
