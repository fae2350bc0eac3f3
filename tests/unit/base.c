/* rooms: base */
#include "base/buf.h"
#include "base/bytes.h"
#include "base/check.h"
#include "base/status.h"
#include "base/text.h"
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

static void assert_shown(const char *in, size_t n, enum vs_text_kind kind, const char *expected)
{
    struct vs_buf b = { 0 };
    vs_text_show(&b, in, n, kind);
    assert_string_equal(b.data, expected);
    vs_buf_clear(&b);
}

static void test_text(void **state)
{
    (void)state;
    static const char steering[] = "a\0\x1b[31m\r\n\t\x7f\xc2\x9b\x9b\xc2\x85\xe2\x80\xae\xe2\x80\xa8\xe2\x81\xa7\xe2\x80\x8f\xc3\xa9";
    const size_t n = sizeof steering - 1;
    assert_shown(steering, n, VS_TEXT_LINE, "a\\x00\\x1B[31m\\x0D\\x0A\\x09\\x7F\\x9B\\x9B\\x85\\u202E\\u2028\\u2067\\u200F\xc3\xa9");
    assert_shown(steering, n, VS_TEXT_LINES, "a\\x00\\x1B[31m\\x0D\n\t\\x7F\\x9B\\x9B\\x85\\u202E\\u2028\\u2067\xe2\x80\x8f\xc3\xa9");
    assert_shown("{\"\x7f\xc2\x9b\": 1,\n}", 12, VS_TEXT_JSON, "{\"\\u007f\\u009b\": 1,\n}");
    assert_shown("\xe4\xb8\x96\xf0\x9f\x98\x80\xe2\x80", 9, VS_TEXT_LINE, "\xe4\xb8\x96\xf0\x9f\x98\x80\\xE2\\x80");     /* cut within a character */
    /* Every byte alone, and every code point of two bytes: nothing that a terminal obeys is left. */
    for (unsigned c = 0; c < 0x800; c++) {
        struct vs_buf in = { 0 }, out = { 0 };
        if (c < 0x100)
            vs_buf_char(&in, (char)c);
        vs_buf_utf8(&in, c);
        vs_text_show(&out, in.data, in.n, VS_TEXT_LINE);
        for (size_t i = 0; i < out.n; ) {
            uint32_t code_point = 0;
            size_t length = vs_utf8_decode(out.data + i, out.n - i, &code_point);
            assert_true(length > 0 && code_point >= 0x20 && (code_point < 0x7f || code_point > 0x9f) && code_point != 0x61c);
            i += length;
        }
        vs_buf_clear(&in);
        vs_buf_clear(&out);
    }
    char line[8];
    assert_int_equal(vs_text_line(line, sizeof line, "abcd\xe4\xb8\x96", 7), 7);
    assert_int_equal(vs_text_line(line, sizeof line, "abcde\xe4\xb8\x96", 8), 5);  /* a whole character or none of it */
    assert_string_equal(line, "abcde");
    assert_int_equal(vs_text_line(line, sizeof line, "a\0b", 3), 1);
    assert_string_equal(vs_shown(NULL).text, "-");
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
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_status_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
