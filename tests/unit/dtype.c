/* rooms: tensor base */
#include "base/bytes.h"
#include "tensor/dtype.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const enum vs_dtype computable[] = {
    VS_F32, VS_F16, VS_BF16, VS_Q4_0, VS_Q4_1, VS_Q5_0, VS_Q5_1, VS_Q8_0, VS_Q2_K, VS_Q3_K, VS_Q4_K, VS_Q5_K, VS_Q6_K,
    VS_IQ4_NL, VS_IQ4_XS, VS_MXFP4, VS_NVFP4, VS_IQ3_S, VS_IQ3_XXS, VS_IQ2_XXS, VS_IQ2_XS, VS_IQ2_S, VS_IQ1_S, VS_IQ1_M, VS_TQ1_0,
    VS_TQ2_0, VS_Q1_0, VS_Q2_0, VS_Q6_0, VS_Q8_1,
};
enum { N_COMPUTABLE = sizeof computable / sizeof *computable, N_BLOCKS = 3000 };

static uint64_t splitmix(uint64_t *s)
{
    uint64_t z = *s += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static uint8_t *stream(uint64_t seed, size_t n)
{
    uint8_t *p = malloc(n + 8);
    assert_non_null(p);
    for (size_t i = 0; i < n; i += 8)
        vs_store_u64le(p + i, splitmix(&seed));
    return p;
}

static const uint64_t fnv_start = 0xcbf29ce484222325;

static uint64_t fnv(uint64_t h, uint64_t word)
{
    return (h ^ word) * 0x100000001b3;
}

static uint64_t fnv_floats(const float *x, size_t n)
{
    uint64_t h = fnv_start;
    for (size_t i = 0; i < n; i++) {
        uint32_t u;
        memcpy(&u, &x[i], sizeof u);
        h = fnv(h, x[i] != x[i] ? 0x7fc00000 : u);
    }
    return h;
}

/* The hash that golden/dtype.txt has for `what`. */
static uint64_t golden(const char *what, unsigned *ret_n)
{
    FILE *f = fopen(TEST_DIR "/golden/dtype.txt", "r");
    assert_non_null(f);
    char name[32];
    uint64_t hash;
    while (fscanf(f, "%31s %u %" SCNx64, name, ret_n, &hash) == 3)
        if (!strcmp(name, what)) {
            fclose(f);
            return hash;
        }
    fail_msg("%s is not in golden/dtype.txt", what);
    return 0;
}

static void test_decoders_equal_the_reference(void **state)
{
    (void)state;
    for (int t = 0; t < N_COMPUTABLE; t++) {
        const struct vs_dtype_info *info = vs_dtype_info(computable[t]);
        assert_non_null(info);
        assert_true(info->computable);
        uint8_t *raw = stream(info->id, N_BLOCKS * (size_t)info->block_bytes);
        size_t n = N_BLOCKS * (size_t)info->block_len;
        float *x = malloc(n * sizeof *x);
        assert_non_null(x);
        vs_dequantize(computable[t], raw, x, n);
        unsigned n_golden;
        uint64_t want = golden(info->name, &n_golden);
        assert_int_equal(n_golden, N_BLOCKS);
        if (fnv_floats(x, n) != want)
            fail_msg("%s decodes differently from the reference", info->name);
        free(x);
        free(raw);
    }
}

static void test_half_conversions(void **state)
{
    (void)state;
    static float f[65536], b[65536];
    for (unsigned i = 0; i < 65536; i++) {
        f[i] = vs_f16_to_f32((uint16_t)i);
        b[i] = vs_bf16_to_f32((uint16_t)i);
        if (f[i] == f[i])
            assert_int_equal(vs_f32_to_f16(f[i]), i);
        else
            assert_true(vs_f16_to_f32(vs_f32_to_f16(f[i])) != vs_f16_to_f32(vs_f32_to_f16(f[i])));
        if (b[i] == b[i])
            assert_int_equal(vs_f32_to_bf16(b[i]), i);
    }
    unsigned n;
    assert_true(fnv_floats(f, 65536) == golden("f16-to-f32", &n));
    assert_true(fnv_floats(b, 65536) == golden("bf16-to-f32", &n));

    uint8_t *raw = stream(99, 8 * N_BLOCKS);
    uint64_t to_f16 = fnv_start, to_bf16 = fnv_start;
    for (unsigned i = 0; i < 2 * N_BLOCKS; i++) {                /* as in golden/dtype.py */
        uint32_t r = vs_load_u32le(raw + 4 * i), mantissa = r & 0x7fffff;
        if (i % 2 == 0)
            mantissa &= 0x7ff000;
        if (i % 8 == 2)
            mantissa &= 0x7f8000;
        uint32_t u = (r & 0x80000000) | ((r >> 23) % 48 + 98) << 23 | mantissa;
        float x;
        memcpy(&x, &u, sizeof x);
        to_f16 = fnv(to_f16, vs_f32_to_f16(x));
        to_bf16 = fnv(to_bf16, vs_f32_to_bf16(x));
    }
    assert_true(to_f16 == golden("f32-to-f16", &n));
    assert_true(to_bf16 == golden("f32-to-bf16", &n));
    free(raw);
}

/* Half a step of the type, over the largest magnitude of a block of uniform values in -1..1. */
static void test_encoders_are_close(void **state)
{
    (void)state;
    static const float bound[N_COMPUTABLE] = { 0, 0.0003f, 0.0025f, 0.13f, 0.07f, 0.065f, 0.035f, 0.005f,
                                               0.4f, 0.28f, 0.075f, 0.04f, 0.035f,
                                               0.15f, 0.15f, 0.34f, 0.18f, 0.45f, 0.8f, 1.2f, 1.2f, 1, 1.2f, 1.2f, 0.51f,
                                               0.51f, 1, 0.51f, 0.04f, 0.005f };
    for (int t = 0; t < N_COMPUTABLE; t++) {
        const struct vs_dtype_info *info = vs_dtype_info(computable[t]);
        uint64_t seed = 7;
        float x[256 * 16], y[256 * 16];
        for (int i = 0; i < 256 * 16; i++)
            x[i] = (float)(int32_t)(splitmix(&seed) >> 32) * 0x1p-31f;
        uint8_t block[256 * 16 * 4];
        vs_quantize(computable[t], x, block, 256 * 16);
        vs_dequantize(computable[t], block, y, 256 * 16);
        for (int i = 0; i < 256 * 16; i++) {
            float e = x[i] > y[i] ? x[i] - y[i] : y[i] - x[i];
            if (!(e <= bound[t]))
                fail_msg("%s: %g became %g", info->name, (double)x[i], (double)y[i]);
        }
    }
}

static void test_encoders_survive_anything(void **state)
{
    (void)state;
    for (int t = 0; t < N_COMPUTABLE; t++) {
        uint8_t *raw = stream(1000 + (unsigned)t, 256 * 64 * 4);
        static float x[256 * 64], y[256 * 64];
        uint8_t *block = malloc(sizeof x);
        assert_non_null(block);
        vs_dequantize(VS_F32, raw, x, 256 * 64);
        memset(x, 0, 256 * sizeof *x);
        vs_quantize(computable[t], x, block, 256 * 64);
        vs_dequantize(computable[t], block, y, 256 * 64);
        for (int i = 0; i < 256; i++)
            assert_true(y[i] == 0);
        free(block);
        free(raw);
    }
}

static void test_table(void **state)
{
    (void)state;
    uint32_t n = 0;
    for (uint32_t id = 0; id < 1000; id++) {
        const struct vs_dtype_info *info = vs_dtype_info(id);
        if (!info)
            continue;
        n++;
        assert_int_equal(info->id, id);
        assert_true(info->block_len > 0 && info->block_bytes > 0);
        assert_false(info->computable && (info->removed || info->row_extra_bytes));
    }
    assert_int_equal(n, 70);                                     /* none is lost to a wrong order */
    assert_null(vs_dtype_info(UINT32_MAX));
    assert_true(vs_dtype_info(31)->removed);
    assert_int_equal(vs_dtype_info(39)->block_bytes, 17);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decoders_equal_the_reference),
        cmocka_unit_test(test_half_conversions),
        cmocka_unit_test(test_encoders_are_close),
        cmocka_unit_test(test_encoders_survive_anything),
        cmocka_unit_test(test_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
