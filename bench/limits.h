/* bench/limits.h - what each instruction set contributes to bench/limits. Numbers are operations (one multiply and one
 * add are two) or bytes; the caller divides by time. */
#ifndef VS_BENCH_LIMITS_H
#define VS_BENCH_LIMITS_H
#include <stddef.h>
#include <stdint.h>

struct limits {
    const char *isa;
    double (*int8)(uint64_t rounds);            /* exact u8 x i8 dots into int32; operations done. NULL: none here */
    double (*f32)(uint64_t rounds);             /* fused multiply-adds */
    uint64_t (*read)(const void *p, size_t n);  /* every byte loaded once; n % 512 == 0, p 64-byte aligned */
};

extern const struct limits vs_limits_c, vs_limits_avx2, vs_limits_avx512;
#endif
