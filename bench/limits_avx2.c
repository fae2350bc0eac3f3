/* bench/limits_avx2.c - AVX2 and FMA: int8 products by maddubs + madd + add, as a kernel without VNNI must do them. */
#include "limits.h"

#include <immintrin.h>

/* In assembly, because a compiler keeps an array of accumulators in memory as soon as it may not remove the work. */
#define CLOBBERS "ymm0", "ymm1", "ymm2", "ymm3", "ymm4", "ymm5", "ymm6", "ymm7", "ymm8", "ymm9", "ymm10", "ymm11", "ymm12", \
    "ymm13", "ymm14", "ymm15"

static double int8(uint64_t rounds)
{
    uint64_t left = rounds;
    __asm__ volatile(
        ".irp r,0,1,2,3,4,5,6,7,14,15\n vpxor %%xmm\\r, %%xmm\\r, %%xmm\\r\n .endr\n"
        ".balign 64\n"
        "1:\n"
        ".irp r,0,1,2,3\n"
        " vpmaddubsw %%ymm14, %%ymm15, %%ymm8\n vpmaddwd %%ymm15, %%ymm8, %%ymm9\n vpaddd %%ymm9, %%ymm\\r, %%ymm\\r\n"
        ".endr\n"
        ".irp r,4,5,6,7\n"
        " vpmaddubsw %%ymm14, %%ymm15, %%ymm10\n vpmaddwd %%ymm15, %%ymm10, %%ymm11\n vpaddd %%ymm11, %%ymm\\r, %%ymm\\r\n"
        ".endr\n"
        " dec %0\n jnz 1b\n"
        : "+r"(left) : : CLOBBERS, "cc");
    return (double)rounds * 8 * 64;
}

static double f32(uint64_t rounds)
{
    uint64_t left = rounds;
    __asm__ volatile(
        ".irp r,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n vpxor %%xmm\\r, %%xmm\\r, %%xmm\\r\n .endr\n"
        ".balign 64\n"
        "1:\n"
        ".irp r,0,1,2,3,4,5,6,7,8,9,10,11\n vfmadd231ps %%ymm14, %%ymm15, %%ymm\\r\n .endr\n"
        " dec %0\n jnz 1b\n"
        : "+r"(left) : : CLOBBERS, "cc");
    return (double)rounds * 12 * 16;
}

static uint64_t read_all(const void *p, size_t n)
{
    const __m256i *v = p;
    __m256i x[8];
    for (int i = 0; i < 8; i++)
        x[i] = _mm256_setzero_si256();
    for (size_t at = 0; at < n / sizeof *v; at += 8)
        for (size_t i = 0; i < 8; i++)
            x[i] = _mm256_xor_si256(x[i], _mm256_load_si256(v + at + i));
    for (int i = 1; i < 8; i++)
        x[0] = _mm256_xor_si256(x[0], x[i]);
    return (uint64_t)_mm256_extract_epi64(x[0], 0);
}

const struct limits vs_limits_avx2 = { "avx2", int8, f32, read_all };
