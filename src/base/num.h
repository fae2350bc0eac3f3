/* base/num.h - the scalar arithmetic of the numerics contract (docs/NUMERICS.md): same bits on every machine.
 *
 * Everything that a numeric room needs beyond + - * / and sqrt is here, made of those and of one correctly rounded
 * fused multiply-add. No libm: a test reads the symbols. The constants are macros, so that a vector version can be
 * written beside it: same operations in the same order, hence same bits. No function reads or sets errno.
 *
 * Bounds (found over all 2^32 arguments for the functions of one float, tests/unit/num.c):
 *   vs_expf 0.90 ulp, vs_sigmoidf 2.45, vs_siluf 3.23, vs_tanhf 1.5, vs_logf 0.86, vs_softplusf 3.5; the f64 ones below.
 * NaN in gives NaN out; which NaN is not part of the contract.
 *
 * Memory: none. Threads: all pure but vs_fp_control_set, which acts on the calling thread.
 */
#ifndef VS_BASE_NUM_H
#define VS_BASE_NUM_H
#include <float.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#if defined(__FAST_MATH__)
#error "the numerics contract forbids -ffast-math"
#endif
#if FLT_EVAL_METHOD != 0
#error "float expressions must be evaluated in float (no x87)"
#endif

static inline uint32_t vs_f32_bits(float x) { uint32_t u; memcpy(&u, &x, 4); return u; }
static inline float vs_f32_of_bits(uint32_t u) { float x; memcpy(&x, &u, 4); return x; }
/* Words in the order of the floats, for all but NaN; -0 counts as 0. */
static inline uint32_t vs_f32_order(float x)
{
    uint32_t b = vs_f32_bits(x + 0.0f);
    return b ^ ((uint32_t)((int32_t)b >> 31) | 0x80000000u);
}
static inline float vs_f32_of_order(uint32_t k) { return vs_f32_of_bits(k & 0x80000000u ? k ^ 0x80000000u : ~k); }
static inline uint64_t vs_f64_bits(double x) { uint64_t u; memcpy(&u, &x, 8); return u; }
static inline double vs_f64_of_bits(uint64_t u) { double x; memcpy(&x, &u, 8); return x; }

/* -- the control word ------------------------------------------------------------------------------------------- */

/* Round to nearest even, denormals kept, no traps: set when a thread starts, checked for each request. */
#if defined(__x86_64__)
#define VS_FP_CONTROL 0x1f80u           /* all exceptions masked; RC = nearest, FTZ = DAZ = 0 */
#define VS_FP_CONTROL_MASK 0xffc0u      /* all but the sticky flags */
static inline void vs_fp_control_set(void) { __builtin_ia32_ldmxcsr(VS_FP_CONTROL); }
static inline bool vs_fp_control_ok(void) { return (__builtin_ia32_stmxcsr() & VS_FP_CONTROL_MASK) == VS_FP_CONTROL; }
#elif defined(__aarch64__)
static inline void vs_fp_control_set(void) { __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)0)); }
static inline bool vs_fp_control_ok(void)
{
    uint64_t control;
    __asm__ volatile("mrs %0, fpcr" : "=r"(control));
    return control == 0;
}
#else
#error "say how this machine's floating-point control word is set and read"
#endif

/* -- fused multiply-add ------------------------------------------------------------------------------------------ */

/* a * b + c with one rounding, without the instruction. The product of two floats is exact in double; the double sum
 * only hides an inexact bit when it lies exactly between two floats, or below their normal range. Only then is it
 * rounded to odd, which makes the last rounding see what was lost. */
static inline float vs_fmaf_soft(float a, float b, float c)
{
    double p = (double)a * b, s = p + c;
    uint64_t u = vs_f64_bits(s);
    if (__builtin_expect((u & 0x1fffffff) != 0x10000000 && (u >> 52 & 0x7ff) >= 1023 - 126, 1))
        return (float)s;
    double t = s - p, lost = (p - (s - t)) + (c - t);
    if (lost != 0 && !(u & 1))
        u = (lost > 0) == (s > 0) ? u + 1 : u - 1;
    return (float)vs_f64_of_bits(u);
}

static inline float vs_fmaf(float a, float b, float c)
{
#if defined(__FMA__) || defined(__aarch64__)
    return __builtin_fmaf(a, b, c);
#else
    return vs_fmaf_soft(a, b, c);
#endif
}

/* -- rounding and small things ------------------------------------------------------------------------------------- */

/* For |x| <= 2^22: x + VS_RNE_MAGIC has the integer nearest to x (ties to even) in its low mantissa bits. */
#define VS_RNE_MAGIC 0x1.8p23f

static inline float vs_absf(float x) { return __builtin_fabsf(x); }
static inline float vs_sqrtf(float x) { return __builtin_sqrtf(x); }

/* Nearest integer, ties to even, |x| <= 2^22. */
static inline int32_t vs_rne_i32(float x)
{
    return (int32_t)(vs_f32_bits(x + VS_RNE_MAGIC) - 0x4b400000u);
}

/* Nearest integral float, ties to even, for every x; the sign is kept (-0.4 gives -0). */
static inline float vs_rnef(float x)
{
    float a = vs_absf(x);
    if (!(a < 0x1p23f))
        return x;
    return __builtin_copysignf((a + 0x1p23f) - 0x1p23f, x);
}

/* -- float functions (constants: tools/fit_math.py) ---------------------------------------------------------------- */

#define VS_LOG2E    0x1.715476p+0f      /* 1 / ln 2 */
#define VS_LN2_HI   0x1.62e43p-1f       /* 21 bits: n * VS_LN2_HI is exact */
#define VS_LN2_LO  -0x1.05c61p-29f

#define VS_EXP_MIN -0x1.5d589ep+6f      /* below it the result would not be normal: 0 */
#define VS_EXP_MAX  0x1.62e42ep+6f      /* above it the result is infinite */
#define VS_EXP_C2   0x1.fffffcp-2f      /* exp(r) = 1 + r + r^2 (C2 + C3 r + C4 r^2 + C5 r^3 + C6 r^4) */
#define VS_EXP_C3   0x1.55548cp-3f
#define VS_EXP_C4   0x1.555858p-5f
#define VS_EXP_C5   0x1.123dep-7f
#define VS_EXP_C6   0x1.6ac74ep-10f

/* e^x; 0 for x < VS_EXP_MIN, infinity for x > VS_EXP_MAX. A vector version computes every lane and blends the three
 * special cases afterwards. The exponent is added as an integer: n <= 128, and p < 1 where n = 128. */
static inline float vs_expf(float x)
{
    if (x != x)
        return x;
    if (x < VS_EXP_MIN)
        return 0.0f;
    if (x > VS_EXP_MAX)
        return __builtin_inff();
    float t = vs_fmaf(x, VS_LOG2E, VS_RNE_MAGIC);
    float n = t - VS_RNE_MAGIC;
    float r = vs_fmaf(n, -VS_LN2_HI, x);
    r = vs_fmaf(n, -VS_LN2_LO, r);
    float p = vs_fmaf(VS_EXP_C6, r, VS_EXP_C5);
    p = vs_fmaf(p, r, VS_EXP_C4);
    p = vs_fmaf(p, r, VS_EXP_C3);
    p = vs_fmaf(p, r, VS_EXP_C2);
    p = vs_fmaf(p, r, 1.0f);
    p = vs_fmaf(p, r, 1.0f);
    return vs_f32_of_bits(vs_f32_bits(p) + (vs_f32_bits(t) << 23));
}

/* 1 / (1 + e^-x), by e = e^-|x| so that nothing overflows. */
static inline float vs_sigmoidf(float x)
{
    float e = vs_expf(-vs_absf(x)), d = 1.0f + e;
    return (x >= 0 ? 1.0f : e) / d;
}

/* x * sigmoid(x) */
static inline float vs_siluf(float x) { return x * vs_sigmoidf(x); }

#define VS_GELU_A 0x1.2444f2p-4f        /* 2 sqrt(2 / pi) * 0.044715 */
#define VS_GELU_B 0x1.988454p+0f        /* 2 sqrt(2 / pi) */

/* GELU, tanh form: x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) = x * sigmoid(x (A x^2 + B)). */
static inline float vs_gelu_tanhf(float x)
{
    float u = x * x;
    return x * vs_sigmoidf(x * vs_fmaf(u, VS_GELU_A, VS_GELU_B));
}

/* erfc(a / sqrt(2)) / 2 = exp(-a^2 / 2) * t * (H0 + H1 t + ...), t = 1 / (1 + P a) */
#define VS_GELU_P 0x1.70a3d8p-2f
#define VS_GELU_H0 0x1.264e8cp-3f
#define VS_GELU_H1 0x1.22ac78p-3f
#define VS_GELU_H2 0x1.1bbeb8p-3f
#define VS_GELU_H3 0x1.fd0cbcp-6f
#define VS_GELU_H4 0x1.5e7594p-3f
#define VS_GELU_H5 -0x1.575af4p-3f
#define VS_GELU_H6 0x1.410d68p-5f
#define VS_GELU_H7 0x1.11b930p-9f

/* GELU as it is defined: x times the part of a normal distribution that lies below x. */
static inline float vs_gelu_erff(float x)
{
    float a = vs_absf(x), t = 1.0f / vs_fmaf(VS_GELU_P, a, 1.0f), p = VS_GELU_H7;
    p = vs_fmaf(p, t, VS_GELU_H6);
    p = vs_fmaf(p, t, VS_GELU_H5);
    p = vs_fmaf(p, t, VS_GELU_H4);
    p = vs_fmaf(p, t, VS_GELU_H3);
    p = vs_fmaf(p, t, VS_GELU_H2);
    p = vs_fmaf(p, t, VS_GELU_H1);
    p = vs_fmaf(p, t, VS_GELU_H0);
    float tail = p * t * vs_expf(-0.5f * (a * a));
    return x >= 0 ? vs_fmaf(-x, tail, x) : x * tail;
}

#define VS_TANH_SMALL 0.625f
#define VS_TANH_T0 -0x1.555532p-2f      /* tanh(x) = x + x^3 (T0 + T1 x^2 + ...) for |x| < VS_TANH_SMALL */
#define VS_TANH_T1  0x1.1106f6p-3f
#define VS_TANH_T2 -0x1.b835a4p-5f
#define VS_TANH_T3  0x1.51f8cep-6f
#define VS_TANH_T4 -0x1.750ce4p-8f

static inline float vs_tanhf(float x)
{
    float a = vs_absf(x), y;
    if (a < VS_TANH_SMALL) {
        float u = a * a;
        float p = vs_fmaf(VS_TANH_T4, u, VS_TANH_T3);
        p = vs_fmaf(p, u, VS_TANH_T2);
        p = vs_fmaf(p, u, VS_TANH_T1);
        p = vs_fmaf(p, u, VS_TANH_T0);
        y = vs_fmaf(p * u, a, a);
    } else {
        float e = vs_expf(-2.0f * a);
        y = vs_fmaf(-2.0f, e / (1.0f + e), 1.0f);
    }
    return __builtin_copysignf(y, x);
}

/* c * tanh(x / c): logit and attention caps. */
static inline float vs_softcapf(float x, float c) { return c * vs_tanhf(x / c); }

#define VS_LOG_LN2_HI 0x1.62ep-1f       /* 12 bits */
#define VS_LOG_LN2_LO 0x1.0bfbe8p-15f
#define VS_LOG_L0  0x1.555554p-2f       /* log(1 + f) = f - f^2 / 2 + f^3 (L0 + L1 f + ...) */
#define VS_LOG_L1 -0x1.000228p-2f
#define VS_LOG_L2  0x1.99a036p-3f
#define VS_LOG_L3 -0x1.547226p-3f
#define VS_LOG_L4  0x1.22d5d6p-3f
#define VS_LOG_L5 -0x1.0d81eap-3f
#define VS_LOG_L6  0x1.05792ep-3f
#define VS_LOG_L7 -0x1.39145ap-4f

/* Natural logarithm: -infinity for +-0, NaN below. */
static inline float vs_logf(float x)
{
    if (!(x > 0))
        return x == 0 ? -__builtin_inff() : __builtin_nanf("");
    if (x > FLT_MAX)
        return x;
    float k = 0.0f;
    if (x < FLT_MIN) {
        x *= 0x1p23f;
        k = -23.0f;
    }
    uint32_t u = vs_f32_bits(x);
    int32_t e = (int32_t)(u - 0x3f3504f3u) >> 23;       /* x = 2^e m, sqrt(1/2) <= m < sqrt(2) */
    float f = vs_f32_of_bits(u - ((uint32_t)e << 23)) - 1.0f;
    k += (float)e;
    float p = vs_fmaf(VS_LOG_L7, f, VS_LOG_L6);
    p = vs_fmaf(p, f, VS_LOG_L5);
    p = vs_fmaf(p, f, VS_LOG_L4);
    p = vs_fmaf(p, f, VS_LOG_L3);
    p = vs_fmaf(p, f, VS_LOG_L2);
    p = vs_fmaf(p, f, VS_LOG_L1);
    p = vs_fmaf(p, f, VS_LOG_L0);
    float z = f * f;
    float y = vs_fmaf(k, VS_LOG_LN2_LO, p * f * z);
    y = vs_fmaf(-0.5f, z, y) + f;
    return vs_fmaf(k, VS_LOG_LN2_HI, y);
}

#define VS_SOFTPLUS_P1 (2.0f / 3.0f)     /* log(1 + e) = s (2 + z (P1 + z (P2 + ...))), s = e / (2 + e), z = s^2 */
#define VS_SOFTPLUS_P2 (2.0f / 5.0f)
#define VS_SOFTPLUS_P3 (2.0f / 7.0f)
#define VS_SOFTPLUS_P4 (2.0f / 9.0f)
#define VS_SOFTPLUS_P5 (2.0f / 11.0f)
#define VS_SOFTPLUS_P6 (2.0f / 13.0f)
#define VS_SOFTPLUS_P7 (2.0f / 15.0f)

/* log(1 + e^x) = max(x, 0) + log(1 + e^-|x|) */
static inline float vs_softplusf(float x)
{
    float e = vs_expf(-vs_absf(x)), s = e / (2.0f + e), z = s * s;
    float p = vs_fmaf(VS_SOFTPLUS_P7, z, VS_SOFTPLUS_P6);
    p = vs_fmaf(p, z, VS_SOFTPLUS_P5);
    p = vs_fmaf(p, z, VS_SOFTPLUS_P4);
    p = vs_fmaf(p, z, VS_SOFTPLUS_P3);
    p = vs_fmaf(p, z, VS_SOFTPLUS_P2);
    p = vs_fmaf(p, z, VS_SOFTPLUS_P1);
    p = vs_fmaf(p, z, 2.0f);
    return (x > 0.0f ? x : 0.0f) + s * p;
}

/* -- double functions: RoPE tables, log-probabilities, perplexity. + - * / only, no fma; Taylor, not fitted --------- */

double vs_exp64(double x);              /* 0 below -708, infinity above 709.7; error <= 1 ulp */
double vs_log64(double x);              /* -infinity for 0, NaN below; error <= 1 ulp */
double vs_pow64(double base, double exponent);  /* base > 0, else NaN; exp64(exponent * log64(base)): relative error
                                                 * about 2^-53 (2 + 2 |exponent log(base)|) */
double vs_sin64(double x);              /* |x| <= 1e7, else NaN; error <= 2^-52 */
double vs_cos64(double x);
#endif
