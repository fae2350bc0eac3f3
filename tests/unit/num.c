/* rooms: base */
/* The contract's scalar math against libm in higher precision, and the software fma against exact arithmetic and the
 * instruction. Default: a sample of the arguments. With the argument "all": every float (label long). */
#include "base/num.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static uint32_t stride = 4099;

static uint64_t random_state = 1;
static uint64_t random64(void)          /* splitmix64 */
{
    uint64_t z = random_state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static bool same(float a, float b)
{
    return (a != a && b != b) || vs_f32_bits(a) == vs_f32_bits(b);
}

/* -- fma ------------------------------------------------------------------------------------------------------------ */

/* a * b + c in 640-bit integers, rounded once by hand: slow, and nothing of it is floating point. Finite arguments. */
#define LIMBS 20
static void add_shifted(uint32_t *sum, uint64_t m, int shift)
{
    unsigned __int128 part = (unsigned __int128)m << (shift & 31);
    uint64_t carry = 0;
    for (int i = shift >> 5; i < LIMBS; i++) {
        carry += (uint64_t)sum[i] + (uint32_t)part;
        sum[i] = (uint32_t)carry;
        carry >>= 32;
        part >>= 32;
    }
}

static void negate(uint32_t *sum)
{
    uint64_t carry = 1;
    for (int i = 0; i < LIMBS; i++) {
        carry += (uint32_t)~sum[i];
        sum[i] = (uint32_t)carry;
        carry >>= 32;
    }
}

static void split(float x, uint32_t *ret_m, int *ret_e)     /* |x| = m * 2^(e - 149) */
{
    uint32_t u = vs_f32_bits(x) & 0x7fffffff, e = u >> 23;
    *ret_m = (u & 0x7fffff) | (e ? 0x800000 : 0);
    *ret_e = e ? (int)e - 1 : 0;
}

static float fma_exact(float a, float b, float c)
{
    uint32_t ma, mb, mc, sum[LIMBS] = { 0 }, other[LIMBS] = { 0 };
    int ea, eb, ec;
    split(a, &ma, &ea);
    split(b, &mb, &eb);
    split(c, &mc, &ec);
    bool np = signbit(a) != signbit(b), nc = signbit(c);
    add_shifted(sum, (uint64_t)ma * mb, ea + eb);           /* unit 2^-298 */
    add_shifted(other, mc, ec + 149);
    if (np)
        negate(sum);
    if (nc)
        negate(other);
    uint64_t carry = 0;
    for (int i = 0; i < LIMBS; i++) {
        carry += (uint64_t)sum[i] + other[i];
        sum[i] = (uint32_t)carry;
        carry >>= 32;
    }
    bool negative = sum[LIMBS - 1] >> 31;
    if (negative)
        negate(sum);
    int top = LIMBS * 32 - 1;
    while (top >= 0 && !(sum[top >> 5] >> (top & 31) & 1))
        top--;
    if (top < 0)                                            /* exact zero: the sign rule of IEEE 754 */
        return np && nc ? -0.0f : 0.0f;
    int low = top - 23 > 149 ? top - 23 : 149;              /* the last bit that a float keeps: 2^-149 at least */
    uint64_t m = 0;
    for (int i = top; i >= low; i--)
        m = m << 1 | (sum[i >> 5] >> (i & 31) & 1);
    bool half = sum[(low - 1) >> 5] >> ((low - 1) & 31) & 1, rest = false;
    for (int i = 0; i < low - 1; i++)
        rest |= sum[i >> 5] >> (i & 31) & 1;
    m += half && (rest || (m & 1));
    double value = ldexp((double)m, low - 298);
    float result = value > FLT_MAX ? INFINITY : (float)value;
    return negative ? -result : result;
}

#if defined(__x86_64__)
__attribute__((target("fma"))) static float fma_hard(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
static bool have_hard(void) { return __builtin_cpu_supports("fma"); }
#else
static float fma_hard(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
static bool have_hard(void) { return true; }
#endif

/* Floats that meet each other closely: few mantissa bits, near exponents, the edges of the range. */
static float hard_float(void)
{
    uint64_t r = random64();
    uint32_t sign = (uint32_t)(r >> 63) << 31, exponent, mantissa;
    static const uint32_t edges[] = { 0, 1, 2, 63, 64, 103, 104, 126, 127, 128, 150, 151, 190, 253, 254 };
    switch (r & 3) {
    case 0: exponent = edges[(r >> 8) % 15]; break;
    case 1: exponent = 115 + (r >> 8) % 24; break;
    case 2: exponent = (r >> 8) % 255; break;
    default: exponent = 100 + (r >> 8) % 10; break;
    }
    switch (r >> 4 & 3) {
    case 0: mantissa = 0; break;
    case 1: mantissa = 1u << (r >> 16) % 23; break;
    case 2: mantissa = (0x7fffffu << (r >> 16) % 23) & 0x7fffff; break;
    default: mantissa = (uint32_t)(r >> 32) & 0x7fffff; break;
    }
    return vs_f32_of_bits(sign | exponent << 23 | mantissa);
}

static void check_fma(float a, float b, float c, bool exact)
{
    float soft = vs_fmaf_soft(a, b, c);
    if (exact && !same(soft, fma_exact(a, b, c)))
        fail_msg("fma(%a, %a, %a) = %a, exactly %a", a, b, c, soft, fma_exact(a, b, c));
    if (have_hard() && !same(soft, fma_hard(a, b, c)))
        fail_msg("fma(%a, %a, %a) = %a, the instruction says %a", a, b, c, soft, fma_hard(a, b, c));
}

static void test_fma(void **state)
{
    (void)state;
    long n = stride == 1 ? 400000000 : 3000000;
    for (long i = 0; i < n; i++) {
        float a = hard_float(), b = hard_float(), c = hard_float();
        check_fma(a, b, c, i < 300000);
        /* c close to -a*b: cancellation; c half a unit beside the product: ties. */
        float p = -(float)((double)a * b);
        if (isfinite(p)) {
            check_fma(a, b, p, i < 100000);
            check_fma(a, b, vs_f32_of_bits(vs_f32_bits(p) + 1), i < 100000 && vs_f32_bits(p) << 1 < 0xfefffffe);
        }
        check_fma(vs_f32_of_bits((uint32_t)random64()), vs_f32_of_bits((uint32_t)random64()),
                  vs_f32_of_bits((uint32_t)random64()), false);
    }
    const float special[] = { 0.0f, -0.0f, 1.0f, -1.0f, FLT_MIN, 0x1p-149f, -0x1p-149f, FLT_MAX, -FLT_MAX, INFINITY,
                              -INFINITY, NAN, 0x1p-75f, 0x1p-74f, 0x1.000002p-75f, 0x1.fffffep127f, 0x1p63f, 0x1p64f };
    size_t k = sizeof special / sizeof *special;
    for (size_t i = 0; i < k * k * k; i++) {
        float a = special[i % k], b = special[i / k % k], c = special[i / k / k];
        check_fma(a, b, c, isfinite(a) && isfinite(b) && isfinite(c));
    }
    /* 2^-75 * 2^-75 is half the smallest float: a tie to even, and a hair more rounds up. */
    assert_true(vs_fmaf_soft(0x1p-75f, 0x1p-75f, 0.0f) == 0.0f);
    assert_true(vs_fmaf_soft(0x1.000002p-75f, 0x1p-75f, 0.0f) == 0x1p-149f);
    /* A double sum that lies between two floats only because of the bit that it lost. */
    assert_true(vs_fmaf_soft(0x1.000002p0f, 0x1p-24f, 1.0f) == 0x1.000002p0f);
    assert_true(vs_fmaf_soft(0x1p-80f, 0x1p-80f, 0x1.000001p0f) == 0x1.000001p0f);
}

/* -- rounding ------------------------------------------------------------------------------------------------------- */

static void test_rounding(void **state)
{
    (void)state;
    for (uint64_t u = 0; u < UINT64_C(1) << 32; u += stride) {
        float x = vs_f32_of_bits((uint32_t)u);
        if (!same(vs_rnef(x), rintf(x)))
            fail_msg("rne(%a) = %a", x, vs_rnef(x));
        if (fabsf(x) <= 0x1p22f && vs_rne_i32(x) != (int32_t)rintf(x))
            fail_msg("rne_i32(%a) = %d", x, vs_rne_i32(x));
    }
    const float ties[] = { 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, 126.5f, -126.5f, 0x1.fffffep-2f, 4194303.5f, -4194303.5f };
    for (size_t i = 0; i < sizeof ties / sizeof *ties; i++) {
        assert_true(same(vs_rnef(ties[i]), rintf(ties[i])));
        assert_int_equal(vs_rne_i32(ties[i]), (int)rintf(ties[i]));
    }
    assert_true(signbit(vs_rnef(-0.25f)));
}

/* -- functions of one float ------------------------------------------------------------------------------------------ */

static double ulp(double y)             /* the distance of floats at y */
{
    if (fabs(y) < 0x1p-126)
        return 0x1p-149;
    return ldexp(1.0, ilogb(y) - 23);
}

static double sigmoid_ref(double x) { return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x)); }
static double silu_ref(double x) { return x * sigmoid_ref(x); }
static double gelu_ref(double x)
{
    return x * sigmoid_ref(2 * sqrt(2 / M_PI) * (x + 0.044715 * x * x * x));
}

static double softplus_ref(double x) { return (x > 0 ? x : 0) + log1p(exp(-fabs(x))); }
static double gelu_erf_ref(double x) { return x * erfc(-x / sqrt(2)) / 2; }

struct function {
    const char *name;
    float (*ours)(float);
    double (*ref)(double);
    float min, max;                     /* arguments within are held to max_ulp */
    double max_ulp;
    double max_abs;                     /* and those outside to this: the flushed tails */
};

static const struct function functions[] = {
    { "exp",     vs_expf,       exp,         VS_EXP_MIN, VS_EXP_MAX, 0.90, 0x1p-126 },
    { "sigmoid", vs_sigmoidf,   sigmoid_ref, VS_EXP_MIN, INFINITY,   2.45, 0x1p-126 },
    { "silu",    vs_siluf,      silu_ref,    VS_EXP_MIN, INFINITY,   3.23, 0x1p-118 },
    { "gelu",    vs_gelu_tanhf, gelu_ref,    -2.0f,      INFINITY,   8.0,  0x1p-22 },
    { "gelu by erf", vs_gelu_erff, gelu_erf_ref, -2.0f,   INFINITY,   17.0, 0x1p-22 },
    { "tanh",    vs_tanhf,      tanh,        -INFINITY,  INFINITY,   1.50, 0 },
    { "log",     vs_logf,       log,         0.0f,       INFINITY,   0.86, 0 },
    { "softplus", vs_softplusf, softplus_ref, VS_EXP_MIN, INFINITY,   3.50, 0x1p-126 },
};

static void test_order(void **state)
{
    (void)state;
    assert_int_equal(vs_f32_order(-0.0f), vs_f32_order(0.0f));
    assert_true(vs_f32_order(-HUGE_VALF) < vs_f32_order(-FLT_MAX) && vs_f32_order(FLT_MAX) < vs_f32_order(HUGE_VALF));
    for (int i = 0; i < 1000000; i++) {
        float a = vs_f32_of_bits((uint32_t)random64()), b = vs_f32_of_bits((uint32_t)random64());
        if (a != a || b != b)
            continue;
        assert_int_equal(vs_f32_order(a) < vs_f32_order(b), a < b);
        assert_true(vs_f32_of_order(vs_f32_order(a)) == a);
    }
}

static void test_functions(void **state)
{
    (void)state;
    bool failed = false;
    for (size_t k = 0; k < sizeof functions / sizeof *functions; k++) {
        const struct function *f = &functions[k];
        double worst = 0, worst_abs = 0;
        float at = 0;
        for (uint64_t i = 0; i < UINT64_C(1) << 32; i += stride) {
            float x = vs_f32_of_bits((uint32_t)i), y = f->ours(x);
            if (isnan(x)) {
                if (!isnan(y))
                    fail_msg("%s(NaN) = %a", f->name, y);
                continue;
            }
            double d = f->ref(x);
            if (isinf(x) && isnan(d))   /* silu(-inf), gelu(-inf): a NaN or a zero, and a fault in any case */
                continue;
            if (isnan(d) || isinf((float)d) || isinf(y)) {
                if (!same(y, (float)d))
                    fail_msg("%s(%a) = %a, should be %a", f->name, x, y, d);
                continue;
            }
            double e = fabs(y - d);
            if (x >= f->min && x <= f->max) {
                if (e / ulp(d) > worst) {
                    worst = e / ulp(d);
                    at = x;
                }
            } else if (e > worst_abs) {
                worst_abs = e;
            }
        }
        print_message("  %-8s max %.4f ulp at %a, tails %.2g\n", f->name, worst, at, worst_abs);
        failed |= worst > f->max_ulp || worst_abs > f->max_abs;
    }
    assert_false(failed);               /* one of them is off by more than its row says */
    assert_true(vs_expf(0.0f) == 1.0f && vs_expf(-0.0f) == 1.0f);
    assert_true(vs_expf(VS_EXP_MIN) >= FLT_MIN && vs_expf(VS_EXP_MAX) <= FLT_MAX);
    assert_true(vs_expf(-INFINITY) == 0.0f && vs_expf(INFINITY) == INFINITY);
    assert_true(signbit(vs_tanhf(-0.0f)) && vs_tanhf(INFINITY) == 1.0f && vs_tanhf(-INFINITY) == -1.0f);
    assert_true(vs_softcapf(1e30f, 30.0f) == 30.0f && fabsf(vs_softcapf(0.01f, 30.0f) - 0.01f) < 1e-8f);
    assert_true(vs_logf(1.0f) == 0.0f && vs_logf(0.0f) == -INFINITY && isnan(vs_logf(-1.0f)));
}

/* -- double ------------------------------------------------------------------------------------------------------------ */

static double relative(double y, long double ref)
{
    return (double)(fabsl(y - ref) / fabsl(ref));
}

static void test_double(void **state)
{
    (void)state;
    double e = 0, l = 0, s = 0, p = 0;
    for (int i = 0; i < (stride == 1 ? 100000000 : 1000000); i++) {
        double u = (double)(random64() >> 11) * 0x1p-53, v = (double)(random64() >> 11) * 0x1p-53;
        double x = (u - 0.5) * 1416;
        e = fmax(e, relative(vs_exp64(x), expl(x)));
        x = i & 1 ? 0.5 + u * 1.5 : vs_f64_of_bits((random64() >> 1) % 0x7fe0000000000000u + 1);
        l = fmax(l, x == 1 ? 0 : relative(vs_log64(x), logl(x)));
        x = (u - 0.5) * (i & 1 ? 2e7 : 20);
        if (!(i & 7))                   /* beside a multiple of pi / 2 */
            x = (double)((long double)(int64_t)(u * 6e6) * 1.57079632679489661923L);
        s = fmax(s, (double)fabsl(vs_sin64(x) - sinl(x)));
        s = fmax(s, (double)fabsl(vs_cos64(x) - cosl(x)));
        double base = 1e3 + u * 1e7;
        p = fmax(p, relative(vs_pow64(base, -v), powl(base, -v)));
    }
    print_message("  f64: exp %.3g  log %.3g  pow %.3g relative; sin, cos %.3g absolute\n", e, l, p, s);
    assert_true(e < 0x1p-52 && l < 0x1p-52 && s < 0x1p-52 && p < 36 * 0x1p-53);
    assert_true(vs_sin64(0.0) == 0.0 && vs_cos64(0.0) == 1.0 && isnan(vs_cos64(1.1e7)) && isnan(vs_sin64(NAN)));
    assert_true(vs_exp64(0.0) == 1.0 && vs_exp64(-1000.0) == 0.0 && isinf(vs_exp64(710.0)) && isnan(vs_exp64(NAN)));
    assert_true(vs_log64(1.0) == 0.0 && vs_log64(0.0) == -INFINITY && isnan(vs_log64(-1.0)) && vs_log64(INFINITY) == INFINITY);
    assert_true(vs_pow64(10000.0, 0.0) == 1.0 && isnan(vs_pow64(-1.0, 0.5)));
}

static void test_control(void **state)
{
    (void)state;
    vs_fp_control_set();
    assert_true(vs_fp_control_ok());
#if defined(__x86_64__)
    __builtin_ia32_ldmxcsr(VS_FP_CONTROL | 0x8000);         /* flush to zero */
    assert_false(vs_fp_control_ok());
    __builtin_ia32_ldmxcsr(VS_FP_CONTROL | 0x0040);         /* denormals are zero */
    assert_false(vs_fp_control_ok());
    __builtin_ia32_ldmxcsr(VS_FP_CONTROL | 0x2000);         /* round down */
    assert_false(vs_fp_control_ok());
    __builtin_ia32_ldmxcsr(VS_FP_CONTROL | 0x003f);         /* sticky flags do not matter */
    assert_true(vs_fp_control_ok());
    vs_fp_control_set();
#endif
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "all") == 0)
        stride = 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fma),
        cmocka_unit_test(test_rounding),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_functions),
        cmocka_unit_test(test_double),
        cmocka_unit_test(test_control),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
