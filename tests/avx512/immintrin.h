/* avx512/immintrin.h - AVX-512 for machines without it: each intrinsic that our kernels use, as plain vector code.
 *
 * A test puts this folder before the compiler's and builds the room cpu's _avx512.c files with AVX2 flags; then the file that ships
 * runs, lane for lane, on any x86-64 with AVX2. Written from Intel's description of each instruction, in the simplest
 * form. An intrinsic that is missing here is a compile error ("target specific option mismatch"): add it.
 * Speed does not matter; only what a lane holds does.
 */
#ifndef VS_TEST_AVX512_IMMINTRIN_H
#define VS_TEST_AVX512_IMMINTRIN_H
#include_next <immintrin.h>
#include <stdint.h>
#include <string.h>
#if defined(__AVX512F__)
#error "built with AVX-512: then the real thing should run"
#endif
#pragma GCC diagnostic ignored "-Wpsabi"

#define EMU static inline __attribute__((always_inline, unused))

typedef int32_t emu_i32 __attribute__((vector_size(64)));
typedef uint32_t emu_u32 __attribute__((vector_size(64)));
typedef uint16_t emu_u16 __attribute__((vector_size(64)));
typedef int16_t emu_i16 __attribute__((vector_size(64)));
typedef int8_t emu_i8 __attribute__((vector_size(64)));
typedef uint8_t emu_u8 __attribute__((vector_size(64)));

EMU __m512i emu_load(const void *p) { __m512i v; memcpy(&v, p, 64); return v; }
EMU __m512 emu_load_ps(const void *p) { __m512 v; memcpy(&v, p, 64); return v; }
EMU void emu_store(void *p, __m512i v) { memcpy(p, &v, 64); }
EMU void emu_store_ps(void *p, __m512 v) { memcpy(p, &v, 64); }
#define _mm512_loadu_si512 emu_load
#define _mm512_load_si512 emu_load
#define _mm512_loadu_ps emu_load_ps
#define _mm512_load_ps emu_load_ps
#define _mm512_storeu_si512 emu_store
#define _mm512_store_si512 emu_store
#define _mm512_storeu_ps emu_store_ps
#define _mm512_store_ps emu_store_ps

/* A lane whose bit is 0 is not touched in memory. */
EMU __m512 emu_maskz_load_ps(__mmask16 m, const void *p)
{
    __m512 v = { 0 };
    for (int i = 0; i < 16; i++)
        if (m >> i & 1)
            memcpy((char *)&v + 4 * i, (const char *)p + 4 * i, 4);
    return v;
}
EMU void emu_mask_store_ps(void *p, __mmask16 m, __m512 v)
{
    for (int i = 0; i < 16; i++)
        if (m >> i & 1)
            memcpy((char *)p + 4 * i, (const char *)&v + 4 * i, 4);
}
#define _mm512_maskz_loadu_ps emu_maskz_load_ps
#define _mm512_mask_storeu_ps emu_mask_store_ps

EMU __m512 emu_set1_ps(float x) { return (__m512){ x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x }; }
EMU __m512i emu_set1_32(int32_t x) { return (__m512i)((emu_i32){ 0 } + x); }
EMU __m512i emu_set1_16(int16_t x) { emu_i16 v; for (int i = 0; i < 32; i++) v[i] = x; return (__m512i)v; }
EMU __m512i emu_set1_8(int8_t x) { emu_i8 v; for (int i = 0; i < 64; i++) v[i] = x; return (__m512i)v; }
#define _mm512_set1_ps emu_set1_ps
#define _mm512_set1_epi32 emu_set1_32
#define _mm512_set1_epi16 emu_set1_16
#define _mm512_set1_epi8 emu_set1_8
#define _mm512_setzero_ps() emu_set1_ps(0.0f)
#define _mm512_setzero_si512() emu_set1_32(0)

EMU __m512i emu_and(__m512i a, __m512i b) { return a & b; }
EMU __m512i emu_or(__m512i a, __m512i b) { return a | b; }
EMU __m512i emu_xor(__m512i a, __m512i b) { return a ^ b; }
EMU __m512i emu_andnot(__m512i a, __m512i b) { return ~a & b; }
EMU __m512i emu_ternary(__m512i a, __m512i b, __m512i c, int table)      /* bit i of table answers abc = i */
{
    __m512i r = { 0 };
    for (int i = 0; i < 8; i++)
        if (table >> i & 1)
            r |= (i & 4 ? a : ~a) & (i & 2 ? b : ~b) & (i & 1 ? c : ~c);
    return r;
}
#define _mm512_and_si512 emu_and
#define _mm512_or_si512 emu_or
#define _mm512_xor_si512 emu_xor
#define _mm512_andnot_si512 emu_andnot
#undef _mm512_ternarylogic_epi32
#undef _mm512_ternarylogic_epi64
#define _mm512_ternarylogic_epi32 emu_ternary
#define _mm512_ternarylogic_epi64 emu_ternary

/* Counts at or above the width give zero. */
EMU __m512i emu_sll16(__m512i a, unsigned n) { return n > 15 ? (__m512i){ 0 } : (__m512i)((emu_u16)a << (uint16_t)n); }
EMU __m512i emu_srl16(__m512i a, unsigned n) { return n > 15 ? (__m512i){ 0 } : (__m512i)((emu_u16)a >> (uint16_t)n); }
EMU __m512i emu_sll32(__m512i a, unsigned n) { return n > 31 ? (__m512i){ 0 } : (__m512i)((emu_u32)a << n); }
EMU __m512i emu_srl32(__m512i a, unsigned n) { return n > 31 ? (__m512i){ 0 } : (__m512i)((emu_u32)a >> n); }
EMU __m512i emu_sra32(__m512i a, unsigned n) { return (__m512i)((emu_i32)a >> (int)(n > 31 ? 31 : n)); }
#define _mm512_slli_epi16 emu_sll16
#define _mm512_srli_epi16 emu_srl16
#define _mm512_slli_epi32 emu_sll32
#define _mm512_srli_epi32 emu_srl32
#define _mm512_srai_epi32 emu_sra32

EMU __m512i emu_add32(__m512i a, __m512i b) { return (__m512i)((emu_u32)a + (emu_u32)b); }
EMU __m512i emu_sub32(__m512i a, __m512i b) { return (__m512i)((emu_u32)a - (emu_u32)b); }
EMU __m512i emu_mul32(__m512i a, __m512i b) { return (__m512i)((emu_u32)a * (emu_u32)b); }
EMU __m512i emu_dpbusd(__m512i sum, __m512i a, __m512i b)                /* four u8 * i8 to each int32; wraps, no saturation */
{
    emu_u32 r = (emu_u32)sum;
    emu_u8 u = (emu_u8)a;
    emu_i8 s = (emu_i8)b;
    for (int i = 0; i < 16; i++)
        for (int k = 0; k < 4; k++)
            r[i] += (uint32_t)((int32_t)u[4 * i + k] * (int32_t)s[4 * i + k]);
    return (__m512i)r;
}
#define _mm512_add_epi32 emu_add32
#define _mm512_sub_epi32 emu_sub32
#define _mm512_mullo_epi32 emu_mul32
#define _mm512_dpbusd_epi32 emu_dpbusd

EMU __m512i emu_from_u8(__m128i a) { uint8_t x[16]; emu_i32 v; memcpy(x, &a, 16); for (int i = 0; i < 16; i++) v[i] = x[i]; return (__m512i)v; }
EMU __m512i emu_from_i8(__m128i a) { int8_t x[16]; emu_i32 v; memcpy(x, &a, 16); for (int i = 0; i < 16; i++) v[i] = x[i]; return (__m512i)v; }
EMU __m512i emu_from_u16(__m256i a) { uint16_t x[16]; emu_i32 v; memcpy(x, &a, 32); for (int i = 0; i < 16; i++) v[i] = x[i]; return (__m512i)v; }
EMU __m512i emu_from_i16(__m256i a) { int16_t x[16]; emu_i32 v; memcpy(x, &a, 32); for (int i = 0; i < 16; i++) v[i] = x[i]; return (__m512i)v; }
#define _mm512_cvtepu8_epi32 emu_from_u8
#define _mm512_cvtepi8_epi32 emu_from_i8
#define _mm512_cvtepu16_epi32 emu_from_u16
#define _mm512_cvtepi16_epi32 emu_from_i16

EMU __m512i emu_bits(__m512 a) { return (__m512i)a; }
EMU __m512 emu_floats(__m512i a) { return (__m512)a; }
EMU __m512 emu_join(__m256 low, __m256 high) { __m512 v; memcpy(&v, &low, 32); memcpy((char *)&v + 32, &high, 32); return v; }
EMU __m256 emu_half(__m512 a, int high) { __m256 v; memcpy(&v, (const char *)&a + 32 * high, 32); return v; }
#define _mm512_castps_si512 emu_bits
#define _mm512_castsi512_ps emu_floats

EMU __m512 emu_to_float(__m512i a) { __m512 v; for (int i = 0; i < 16; i++) v[i] = (float)((emu_i32)a)[i]; return v; }
EMU __m512 emu_from_f16(__m256i a)
{
    return emu_join(_mm256_cvtph_ps(_mm256_castsi256_si128(a)), _mm256_cvtph_ps(_mm256_extracti128_si256(a, 1)));
}
EMU __m512 emu_add_ps(__m512 a, __m512 b) { return a + b; }
EMU __m512 emu_sub_ps(__m512 a, __m512 b) { return a - b; }
EMU __m512 emu_mul_ps(__m512 a, __m512 b) { return a * b; }
EMU __m512 emu_div_ps(__m512 a, __m512 b) { return a / b; }
EMU __m512 emu_fma_ps(__m512 a, __m512 b, __m512 c)
{
    return emu_join(_mm256_fmadd_ps(emu_half(a, 0), emu_half(b, 0), emu_half(c, 0)),
                    _mm256_fmadd_ps(emu_half(a, 1), emu_half(b, 1), emu_half(c, 1)));
}
#define _mm512_cvtepi32_ps emu_to_float
#define _mm512_cvtph_ps emu_from_f16
#define _mm512_add_ps emu_add_ps
#define _mm512_sub_ps emu_sub_ps
#define _mm512_mul_ps emu_mul_ps
#define _mm512_div_ps emu_div_ps
#define _mm512_fmadd_ps emu_fma_ps
#endif
