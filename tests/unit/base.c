/* rooms: base */
#include "base/buf.h"
#include "base/bytes.h"
#include "base/check.h"
#include "base/log.h"
#include "base/sha256.h"
#include "base/sha256_blocks.h"
#include "base/size.h"
#include "base/status.h"
#include "base/text.h"
#include "base/utf8.h"
#include "base/word.h"

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

static void test_hex(void **state)
{
    (void)state;
    static const char digits[] = "00112233445566778899aAbBcCdDeEfF";
    uint8_t all[256], back[256];
    char hex[513];
    for (int c = -128; c < 128; c++) {
        const char *at = c ? strchr(digits, c) : NULL;
        assert_int_equal(vs_hex_digit((char)c), at ? (int)(at - digits) / 2 : -1);
    }
    for (int i = 0; i < 256; i++)
        all[i] = (uint8_t)i;
    vs_hex(all, 256, hex);
    assert_int_equal(strlen(hex), 512);
    assert_memory_equal(hex + 508, "feff", 5);
    vs_hex_bytes(hex, 256, back);
    assert_memory_equal(back, all, 256);
    assert_false(vs_hex_is_sha256(hex));
    hex[64] = 0;
    assert_true(vs_hex_is_sha256(hex));
    hex[63] = 'F';
    assert_false(vs_hex_is_sha256(hex));
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
    static const char steering[] =
        "a\0\x1b[31m\r\n\t\x7f\xc2\x9b\x9b\xc2\x85\xe2\x80\xae\xe2\x80\xa8\xe2\x81\xa7\xe2\x80\x8f\xc3\xa9";
    const size_t n = sizeof steering - 1;
    assert_shown(steering, n, VS_TEXT_LINE,
                 "a\\x00\\x1B[31m\\x0D\\x0A\\x09\\x7F\\x9B\\x9B\\x85\\u202E\\u2028\\u2067\\u200F\xc3\xa9");
    assert_shown(steering, n, VS_TEXT_LINES,
                 "a\\x00\\x1B[31m\\x0D\n\t\\x7F\\x9B\\x9B\\x85\\u202E\\u2028\\u2067\xe2\x80\x8f\xc3\xa9");
    assert_shown("{\"\x7f\xc2\x9b\": 1,\n}", 12, VS_TEXT_JSON, "{\"\\u007f\\u009b\": 1,\n}");
    /* cut within a character */
    assert_shown("\xe4\xb8\x96\xf0\x9f\x98\x80\xe2\x80", 9, VS_TEXT_LINE, "\xe4\xb8\x96\xf0\x9f\x98\x80\\xE2\\x80");
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

static void test_plural(void **state)
{
    (void)state;
    static const struct { uint64_t n; const char *end; } cases[] = {
        { 0, "s" }, { 1, "" }, { 2, "s" }, { 11, "s" }, { 21, "s" }, { (UINT64_C(1) << 32) + 1, "s" }, { UINT64_MAX, "s" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_string_equal(vs_plural(cases[i].n), cases[i].end);
}

static void test_log(void **state)
{
    (void)state;
    const struct vs_log_field fields[] = {
        { .key = "request", .number = 7 }, { .key = "model", .text = "tiny" },
        { .key = "client", .text = "a \"b\"\n\x1b[2J" }, { .key = "none", .text = "" },
    };
    struct vs_log log = { .level = VS_LOG_WARNING, .from = "broker", .event = "request_end", .fields = fields, .n_fields = 4,
                          .time_ms = 1709210096007 };     /* a 29th of February */
    struct vs_buf out = { 0 };
    vs_log_format(&log, &out);
    assert_string_equal(out.data, "broker: request_end request=7 model=tiny client=\"a \\\"b\\\"\\x0A\\x1B[2J\" none=\"\"\n");
    vs_buf_reset(&out);
    log.form = VS_LOG_JSON;
    vs_log_format(&log, &out);
    assert_string_equal(out.data, "{\"time\":\"2024-02-29T12:34:56.007Z\",\"level\":\"warning\",\"from\":\"broker\","
                        "\"event\":\"request_end\",\"request\":7,"
                        "\"model\":\"tiny\",\"client\":\"a \\\"b\\\"\\n\\u001b[2J\",\"none\":\"\"}\n");
    vs_buf_reset(&out);
    log = (struct vs_log){ .form = VS_LOG_JSON, .from = "serve", .event = "listening", .words = "at \xff/s", .time_ms = 0 };
    vs_log_format(&log, &out);
    assert_string_equal(out.data, "{\"time\":\"1970-01-01T00:00:00.000Z\",\"level\":\"info\",\"from\":\"serve\","
                        "\"event\":\"listening\","
                        "\"message\":\"at \\u00ff/s\"}\n");
    vs_buf_reset(&out);
    log.form = VS_LOG_TEXT;
    vs_log_format(&log, &out);
    assert_string_equal(out.data, "serve: at \\xFF/s\n");
    vs_buf_clear(&out);
}

static void test_size(void **state)
{
    (void)state;
    static const struct { const char *text; uint64_t bytes; } good[] = {
        { "0", 0 }, { "1", 1 }, { "512M", 536870912 }, { "2g", UINT64_C(2) << 30 }, { "1k", 1024 }, { "3T", UINT64_C(3) << 40 },
        { "9223372036854775807", INT64_MAX }, { "8388607T", UINT64_C(8388607) << 40 },
    };
    static const char *const bad[] = { "", "M", "-1", "+1", " 1", "1 ", "1MB", "1.5G", "0x10",
                                         "9223372036854775808", "8388608T", "99999999999999999999999", "1e3" };
    uint64_t bytes = 7;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_true(vs_size_parse(good[i].text, &bytes));
        assert_true(bytes == good[i].bytes);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        bytes = 7;
        assert_false(vs_size_parse(bad[i], &bytes));
        assert_true(bytes == 7);
    }
}

static void test_status_names(void **state)
{
    (void)state;
    assert_string_equal(vs_status_name(VS_E_BUSY), "BUSY");
    assert_int_equal(vs_status_parse("BUSY"), VS_E_BUSY);
    assert_int_equal(vs_status_exit(VS_E_DIED), 70);
    struct vs_error e;                   /* one line of whole characters, whatever it quotes */
    char quoted[600];
    vs_error_set(&e, VS_E_INVALID, "no key '%s'", "a\n\x1b[1m\x7f");
    assert_string_equal(e.text, "no key 'a  [1m '");
    memset(quoted, 'x', sizeof quoted);
    for (size_t i = 0; i + 2 < sizeof quoted; i += 2)
        memcpy(quoted + i, "\xc3\xa9", 3);
    vs_error_set(&e, VS_E_INVALID, ".%s", quoted);
    assert_int_equal(strlen(e.text), sizeof e.text - 1);
    vs_error_set(&e, VS_E_INVALID, "%s", quoted);
    assert_int_equal(strlen(e.text), sizeof e.text - 2);
    assert_int_equal(vs_status_http(VS_E_DIED), 502);
    assert_int_equal(vs_status_http(VS_OK), 0);
    assert_int_equal(vs_status_http(-99), 0);
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

static void test_sha256_of_nothing(void **state)
{
    (void)state;
    static const char empty[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    static const char abc[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    struct vs_sha256 s;
    uint8_t digest[32];
    char hex[65];
    vs_sha256_of(NULL, 0, digest);
    vs_hex(digest, sizeof digest, hex);
    assert_string_equal(hex, empty);
    vs_sha256_init(&s);
    vs_sha256_add(&s, "ab", 2);
    vs_sha256_add(&s, NULL, 0);             /* while a part of a block waits */
    vs_sha256_add(&s, "c", 1);
    vs_sha256_end(&s, digest);
    vs_hex(digest, sizeof digest, hex);
    assert_string_equal(hex, abc);
}

/* The processor's instructions give what the definition gives, for any number of blocks, wherever they lie. */
static void test_sha256_blocks(void **state)
{
    (void)state;
#if defined(__x86_64__)
    uint8_t bytes[9 * 64 + 16];
    uint32_t random = 1;
    if (!vs_sha256_has_shani())
        skip();
    for (size_t n = 0; n <= 9; n++)
        for (size_t at = 0; at < 16; at++) {
            uint32_t plain[8], fast[8];
            for (size_t i = 0; i < sizeof bytes; i++)
                bytes[i] = (uint8_t)((random = random * 1664525 + 1013904223) >> 24);
            for (size_t i = 0; i < 8; i++)
                plain[i] = fast[i] = random = random * 1664525 + 1013904223;
            vs_sha256_blocks_c(plain, bytes + at, n);
            vs_sha256_blocks_shani(fast, bytes + at, n);
            assert_memory_equal(fast, plain, sizeof plain);
        }
#else
    skip();
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_short_read_is_sticky),
        cmocka_unit_test(test_hex),
        cmocka_unit_test(test_buf_limit),
        cmocka_unit_test(test_check_asks_every_so_often_and_stays),
        cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_plural),
        cmocka_unit_test(test_log),
        cmocka_unit_test(test_size),
        cmocka_unit_test(test_status_names),
        cmocka_unit_test(test_sha256_of_nothing),
        cmocka_unit_test(test_sha256_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
