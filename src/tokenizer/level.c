/* tokenizer/level.c - the instruction sets that this room is written for, and which of them this processor has. */
#include "tokenizer/internal.h"

const struct vs_level vs_level[] = {
    { vs_cut_c, vs_lanes_c },
#if defined(__x86_64__)
    { vs_cut_avx2, vs_lanes_avx2 },
    { vs_cut_avx512, vs_lanes_avx512 },
#endif
};

unsigned vs_levels(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")
        && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("fma"))
        return 3;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return 2;
#endif
    return 1;
}
