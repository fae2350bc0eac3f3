/* rooms: base */
#include "base/buf.h"
#include "base/bytes.h"
#include "base/check.h"
#include "base/status.h"
#include "base/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void test_bytes_short_read_is_sticky(void **state)
{
    (void)state;
    const uint8_t data[] = { 1, 2, 3, 4, 5 };
    struct vs_bytes b;
    vs_bytes_init(&b, data, sizeof data);
    assert_int_equal(vs_bytes_u32le(&b), 0x04030201);
    assert_int_equal(vs_bytes_u16le(&b), 0);
    assert_int_equal(b.status, VS_E_SHORT);
    assert_int_equal(vs_bytes_u8(&b), 0);
    assert_null(vs_bytes_take(&b, UINT64_MAX));
}

static void test_buf_limit(void **state)
{
    (void)state;
    struct vs_buf b = { .limit = 4 };
    vs_buf_str(&b, "abc");
    vs_buf_str(&b, "de");
    assert_int_equal(b.status, VS_E_LIMIT);
    assert_string_equal(b.data, "abc");
    vs_buf_clear(&b);
}

static void test_utf8(void **state)
{
    (void)state;
    assert_int_equal(vs_utf8_valid("a\xc3\xa9", 3), 3);
    assert_int_equal(vs_utf8_valid("a\xc0\x80", 3), 1);
    assert_int_equal(vs_utf8_valid("\xed\xa0\x80", 3), 0);
    assert_int_equal(vs_utf8_valid("\xf4\x90\x80\x80", 4), 0);
    assert_int_equal(vs_utf8_unfinished("a\xf0\x9f\x98", 4), 3);
    assert_int_equal(vs_utf8_unfinished("a\xf0\x8f", 3), 0);
    assert_int_equal(vs_utf8_unfinished("ab", 2), 0);
    struct vs_buf b = { 0 };
    vs_buf_utf8(&b, 0x1f600);
    uint32_t c;
    assert_int_equal(vs_utf8_decode(b.data, b.n, &c), 4);
    assert_int_equal(c, 0x1f600);
    vs_buf_clear(&b);
}

static void test_status_names(void **state)
{
    (void)state;
    assert_string_equal(vs_status_name(VS_E_BUSY), "BUSY");
    assert_int_equal(vs_status_parse("BUSY"), VS_E_BUSY);
    assert_int_equal(vs_status_exit(VS_E_DIED), 70);
}

static int stop_at_third(void *context)
{
    int *asked = context;
    return ++*asked < 3 ? VS_OK : VS_E_CANCELLED;
}

static void test_check_asks_every_so_often_and_stays(void **state)
{
    (void)state;
    int asked = 0;
    struct vs_check check = { .ask = stop_at_third, .context = &asked };
    uint64_t done = 0;
    while (vs_check_work(&check, 1) == VS_OK)
        done++;
    assert_int_equal(done, 3 * VS_CHECK_UNITS - 1);
    assert_int_equal(asked, 3);
    assert_int_equal(vs_check_work(&check, 1), VS_E_CANCELLED);
    assert_int_equal(vs_check_work(&check, UINT64_C(1) << 40), VS_E_CANCELLED);
    assert_int_equal(asked, 3);                             /* an answer that stays is not asked for again */
    struct vs_check none = { 0 };
    assert_int_equal(vs_check_work(&none, UINT64_C(1) << 40), VS_OK);
    assert_int_equal(vs_check_work(NULL, UINT64_C(1) << 40), VS_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_short_read_is_sticky),
        cmocka_unit_test(test_buf_limit),
        cmocka_unit_test(test_check_asks_every_so_often_and_stays),
        cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_status_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
