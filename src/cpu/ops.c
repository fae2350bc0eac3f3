/* cpu/ops.c - chooses kernels by what the CPU has. */
#include "cpu/ops.h"

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif
#include <string.h>

#if defined(__aarch64__)
static const char *const names[VS_N_ISAS] = { "c", "neon", "i8mm" };
#else
static const char *const names[VS_N_ISAS] = { "c", "avx2", "avxvnni", "avx512" };
#endif

const char *vs_isa_name(enum vs_isa isa)
{
    return names[isa];
}

int vs_isa_parse(const char *name)
{
    if (strcmp(name, "auto") == 0)
        return (int)vs_isa_best();
    for (int i = 0; i < VS_N_ISAS; i++)
        if (strcmp(name, names[i]) == 0)
            return i;
    return -1;
}

#if defined(__x86_64__)
static bool has_f16c(void)               /* clang 14 has no name for it */
{
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && c & bit_F16C;
}

static bool has_avxvnni(void)            /* the VEX encoding */
{
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) && a & 1u << 4;
}
#endif

enum vs_isa vs_isa_best(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !has_f16c())
        return VS_ISA_C;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")
        && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni"))
        return VS_ISA_AVX512;
    return has_avxvnni() ? VS_ISA_AVXVNNI : VS_ISA_AVX2;
#elif defined(__aarch64__)
    if (!(getauxval(AT_HWCAP) & HWCAP_ASIMDDP))
        return VS_ISA_C;
    return getauxval(AT_HWCAP2) & HWCAP2_I8MM ? VS_ISA_I8MM : VS_ISA_NEON;
#else
    return VS_ISA_C;
#endif
}

/* Weights: measured on Zen 3, 4 and 5 and on an Intel server core; AMD's older ones count as Zen 3, whatever is unknown as Intel.
 * All but Zen 4 want to be asked far ahead, for up to twice the speed; Zen 4 and 5 prefetch even streams well by themselves. Lines:
 * measured on Zen 5. Figures: bench/results/LAB.md, Zen 3: types-2026-12-01-epyc-zen3.md. */
static struct vs_prefetch prefetch_of_cpu(enum vs_isa isa)
{
#if defined(__x86_64__)
    unsigned a, b, c, d, amd_family = 0;
    if (__get_cpuid(0, &a, &b, &c, &d) && b == signature_AMD_ebx && __get_cpuid(1, &a, &b, &c, &d))
        amd_family = (a >> 8 & 15) + (a >> 20 & 255);
    const bool zen4 = amd_family == 25 && __builtin_cpu_supports("avx512f");
    if (amd_family && amd_family <= 25 && !zen4)
        return (struct vs_prefetch){ .few_even = 2048, .few = 2048, .many = 2048, .lines = false };
    if (zen4)
        return (struct vs_prefetch){ .few_even = 0, .few = 256, .many = 2048, .lines = false };
    return (struct vs_prefetch){ .few_even = amd_family ? 0 : 8192, .few = 8192, .many = 12288, .lines = isa == VS_ISA_AVX512 };
#else
    (void)isa;
    return (struct vs_prefetch){ 0 };
#endif
}

void vs_cpu_ops_init(struct vs_cpu_ops *ops, enum vs_isa isa)
{
    vs_cpu_ops_init_c(ops);
    vs_cpu_scan_init_c(ops);
    ops->prefetch = prefetch_of_cpu(isa);                /* before the levels, which choose slots by it */
#if defined(__x86_64__)
    if (isa >= VS_ISA_AVX2) {
        vs_cpu_ops_init_avx2(ops);
        vs_cpu_matmul_init_avx2(ops);
        vs_cpu_scan_init_avx2(ops);
    }
    if (isa == VS_ISA_AVXVNNI) {         /* by whichever encoding is there */
        if (has_avxvnni())
            vs_cpu_matmul_init_avxvnni(ops);
        else
            vs_cpu_matmul_init_avx512vl(ops);
    }
    if (isa >= VS_ISA_AVX512) {
        vs_cpu_ops_init_avx512(ops);
        vs_cpu_matmul_init_avx512(ops);
        vs_cpu_scan_init_avx512(ops);
    }
#elif defined(__aarch64__)
    if (isa >= VS_ISA_NEON) {
        vs_cpu_ops_init_neon(ops);
        vs_cpu_matmul_init_neon(ops);
        vs_cpu_scan_init_neon(ops);
    }
    if (isa >= VS_ISA_I8MM)
        vs_cpu_matmul_init_i8mm(ops);
#endif
    ops->name = names[isa];
}
