/* rooms: selftest */
/* The hash of the self-test against the vectors of FIPS 180-4, and its table of models. */
#include "base/bytes.h"
#include "selftest/selftest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void hash(const void *data, size_t n, size_t piece, char ret[65])
{
    struct vs_sha256 s;
    uint8_t bytes[32];
    vs_sha256_init(&s);
    for (size_t at = 0; at < n; at += piece)
        vs_sha256_add(&s, (const char *)data + at, n - at < piece ? n - at : piece);
    vs_sha256_end(&s, bytes);
    vs_hex(bytes, sizeof bytes, ret);
}

static void test_sha256(void **state)
{
    (void)state;
    char got[65], other[65];
    hash("", 0, 1, got);
    assert_string_equal(got, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    hash("abc", 3, 3, got);
    assert_string_equal(got, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    hash("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56, 56, got);
    assert_string_equal(got, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    char *a = malloc(1000000);
    assert_non_null(a);
    memset(a, 'a', 1000000);
    hash(a, 1000000, 997, got);
    assert_string_equal(got, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    for (size_t n = 50; n < 140; n++) {                  /* however it is cut, where the padding needs one block or two */
        hash(a, n, n, got);
        hash(a, n, 1, other);
        assert_string_equal(got, other);
    }
    free(a);
}

static void test_table(void **state)
{
    (void)state;
    assert_true(vs_n_cases > 20);
    for (size_t i = 0; i < vs_n_cases; i++) {
        assert_int_equal(strlen(vs_cases[i].golden), 64);
        assert_int_equal(strspn(vs_cases[i].golden, "0123456789abcdef"), 64);
        assert_true(vs_cases[i].n_prompt + vs_cases[i].n_generate <= vs_cases[i].tiny.ctx);
        for (size_t k = 0; k < i; k++) {
            assert_string_not_equal(vs_cases[k].name, vs_cases[i].name);
            assert_string_not_equal(vs_cases[k].golden, vs_cases[i].golden);
        }
    }
}

/* The model is what the seed says: another seed, other bytes; the same seed, the same. */
static void test_subject(void **state)
{
    (void)state;
    struct vs_case changed = vs_cases[0];
    struct vs_subject a, b, c;
    struct vs_error err;
    assert_int_equal(vs_subject_create(&vs_cases[0], &a, &err), VS_OK);
    assert_int_equal(vs_subject_create(&vs_cases[0], &b, &err), VS_OK);
    changed.tiny.seed++;
    assert_int_equal(vs_subject_create(&changed, &c, &err), VS_OK);
    assert_int_equal(a.file.n, b.file.n);
    assert_memory_equal(a.file.data, b.file.data, a.file.n);
    assert_int_equal(a.file.n, c.file.n);
    assert_memory_not_equal(a.file.data, c.file.data, a.file.n);
    vs_subject_clear(&a);
    vs_subject_clear(&b);
    vs_subject_clear(&c);
    changed.tiny.type = "Q9_9";
    assert_int_equal(vs_subject_create(&changed, &c, &err), VS_E_INVALID);
    changed.tiny.arch = "vax";
    assert_int_equal(vs_subject_create(&changed, &c, &err), VS_E_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sha256),
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_subject),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
