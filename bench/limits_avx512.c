/* bench/limits_avx512.c - AVX-512 with VNNI: one vpdpbusd is 64 exact products. */
#include "limits.h"

#include <immintrin.h>

/* In assembly, because a compiler keeps an array of accumulators in memory as soon as it may not remove the work. */
#define CLOBBERS "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25", "xmm26", "xmm27", \
    "xmm28", "xmm29", "xmm30", "xmm31"
#define CHAINS "16,17,18,19,20,21,22,23,24,25,26,27,28,29"
enum { N_CHAINS = 14 };

#define RUN(instruction)                                                                                          \
    __asm__ volatile(                                                                                             \
        ".irp r," CHAINS ",30,31\n vpxord %%zmm\\r, %%zmm\\r, %%zmm\\r\n .endr\n"                              \
        ".balign 64\n"                                                                                            \
        "1:\n"                                                                                                    \
        ".irp r," CHAINS "\n " instruction " %%zmm30, %%zmm31, %%zmm\\r\n .endr\n"                                \
        " dec %0\n jnz 1b\n"                                                                                      \
        : "+r"(left) : : CLOBBERS, "cc")

static double int8(uint64_t rounds)
{
    uint64_t left = rounds;
    RUN("vpdpbusd");
    return (double)rounds * N_CHAINS * 128;
}

static double f32(uint64_t rounds)
{
    uint64_t left = rounds;
    RUN("vfmadd231ps");
    return (double)rounds * N_CHAINS * 32;
}

static uint64_t read_all(const void *p, size_t n)
{
    const __m512i *v = p;
    __m512i x[8];
    for (int i = 0; i < 8; i++)
        x[i] = _mm512_setzero_si512();
    for (size_t at = 0; at < n / sizeof *v; at += 8)
        for (size_t i = 0; i < 8; i++)
            x[i] = _mm512_xor_si512(x[i], _mm512_load_si512(v + at + i));
    for (int i = 1; i < 8; i++)
        x[0] = _mm512_xor_si512(x[0], x[i]);
    return (uint64_t)_mm_cvtsi128_si64(_mm512_castsi512_si128(x[0]));
}

const struct limits vs_limits_avx512 = { "avx512", int8, f32, read_all };
