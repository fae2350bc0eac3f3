/* rooms: filter unicode base */
/* The output stream engine: what is passed, replaced, taken out, blocked; that no cut makes a difference; hostile input. */
#include "../support/stream.h"

#include "filter/control.h"
#include "filter/strip.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

static struct vs_stream_config config_of(bool json, enum vs_redact_style style)
{
    struct vs_stream_config config = { .detectors = toy_list, .n_detectors = N_TOYS, .style = style, .json = json };
    memcpy(config.action, toy_action, sizeof toy_action);
    memset(config.key, 'k', sizeof config.key);
    return config;
}

static void expect(const struct vs_stream_config *config, const char *text, const char *out)
{
    for (uint64_t seed = 0; seed < 12; seed++) {
        struct stream_run run;
        stream_run(config, text, strlen(text), seed, &run, NULL);
        assert_true(run.is_right);
        if (run.out.n != strlen(out) || (run.out.n && memcmp(run.out.data, out, run.out.n) != 0))
            fail_msg("seed %d of %s: %.*s, not %s", (int)seed, text, (int)run.out.n, run.out.data, out);
        stream_clear(&run);
    }
}

static void test_styles(void **state)
{
    (void)state;
    struct vs_stream_config label = config_of(false, VS_REDACT_LABEL), mask = config_of(false, VS_REDACT_MASK);
    struct vs_stream_config hash = config_of(false, VS_REDACT_HASH);
    expect(&label, "", "");
    expect(&label, "12 a 1234.", "12 a [REDACTED:PHONE].");
    expect(&label, "1234", "[REDACTED:PHONE]");
    expect(&label, "a\x01" "b\x1b[1mc\x1b", "ab[1mc");
    expect(&label, "x key-abcdef, y", "x [REDACTED:API_KEY], y");
    expect(&label, "key-abc 123 key-", "[REDACTED:API_KEY] [REDACTED:PHONE] [REDACTED:API_KEY]");
    expect(&label, "\xc3\xa9 1234 \xe2\x82\xac", "\xc3\xa9 [REDACTED:PHONE] \xe2\x82\xac");
    expect(&mask, "a 12345 key-\xc3\xa9", "a ***** ****\xc3\xa9");
    /* hmac(k * 32, "PHONE:1234"), by Python's hmac module */
    expect(&hash, "a 1234 b", "a [PHONE:a171fea0bf68] b");
}

static void test_layers(void **state)
{
    (void)state;
    struct vs_stream_config c = config_of(false, VS_REDACT_LABEL);
    expect(&c, "<a 123 b>", "<a [REDACTED:PHONE] b>");       /* what passes hides nothing */
    expect(&c, "{{ 123 }} 456", "{{ [REDACTED:PHONE] }} [REDACTED:PHONE]");
    expect(&c, "a 123 stop! b", "a [REDACTED:PHONE] ");
    c.action[VS_FOUND_URL] = VS_STREAM_REPLACE;
    expect(&c, "<a 123 b>", "[REDACTED:URL]");               /* what begins first */
    expect(&c, "<key-ab>cd key-abc", "[REDACTED:URL]cd [REDACTED:API_KEY]");
    expect(&c, "<key-ab", "<[REDACTED:API_KEY]");
    expect(&c, "<12stop!>", "[REDACTED:URL]");               /* and then it blocks */
    c.action[VS_FOUND_SYSTEM_PROMPT] = VS_STREAM_REPLACE;
    expect(&c, "a {{ 123 }} 456", "a [REDACTED:SYSTEM_PROMPT] [REDACTED:PHONE]");
    expect(&c, "a {{ 123 }", "a [REDACTED:SYSTEM_PROMPT]");
    c.action[VS_FOUND_SECRET] = VS_STREAM_REMOVE;
    expect(&c, "a key-abcdef. b", "a . b");
}

/* Of spans that all pass, one of another kind is told too, one inside its own kind is not. */
static void test_told(void **state)
{
    (void)state;
    struct vs_stream_config c = config_of(false, VS_REDACT_LABEL);
    for (int k = 0; k < VS_N_FOUND; k++)
        c.action[k] = VS_STREAM_PASS;
    static const char text[] = "<a <b> 123 > key-abc 45 {{ <c> 678 }}";
    static const char told[] = "0000000000 0000000006 url URL angles 0\n0000000007 0000000010 pii PHONE digits 0\n"
        "0000000013 0000000020 secret API_KEY key 0\n0000000024 0000000037 system_prompt SYSTEM_PROMPT braces 0\n"
        "0000000027 0000000030 url URL angles 0\n0000000031 0000000034 pii PHONE digits 0\n";
    for (uint64_t seed = 0; seed < 9; seed++) {
        struct stream_run run;
        stream_run(&c, text, strlen(text), seed, &run, NULL);
        assert_true(run.is_right);
        vs_buf_char(&run.found, 0);
        assert_string_equal(run.found.data, told);
        assert_int_equal(run.out.n, strlen(text));
        stream_clear(&run);
    }
}

static void test_long(void **state)
{
    (void)state;
    struct vs_stream_config c = config_of(false, VS_REDACT_MASK);
    struct vs_buf text = { 0 }, out = { 0 };
    vs_buf_str(&text, "x key-");
    vs_buf_str(&out, "x ****");
    for (int i = 0; i < 100000; i++) {
        vs_buf_char(&text, 'q');
        vs_buf_char(&out, '*');
    }
    vs_buf_str(&text, " 1234");
    vs_buf_str(&out, " ****");
    expect(&c, text.data, out.data);
    vs_buf_clear(&text);
    vs_buf_clear(&out);
}

static void test_json(void **state)
{
    (void)state;
    struct vs_stream_config c = config_of(true, VS_REDACT_LABEL);
    expect(&c, "{\"a\": 1234, \"b\": [-12345.5e3,1,12]}", "{\"a\": \"[REDACTED:PHONE]\", \"b\": [\"[REDACTED:PHONE]\",1,12]}");
    expect(&c, "{\"a\":\"x 1234 y\",\"777\":true}", "{\"a\":\"x [REDACTED:PHONE] y\",\"[REDACTED:PHONE]\":true}");
    expect(&c, "\"\\u0031\\u00323 \\u00e9\\n\\\"\"", "\"[REDACTED:PHONE] \\u00e9\\n\\\"\"");
    expect(&c, "\"\\u001b[0m\\ud83d\\ude00 \\ud83d\"", "\"[0m\\ud83d\\ude00 \\ud83d\"");
    expect(&c, "[\"key-abc\", \"key-\", 5]", "[\"[REDACTED:API_KEY]\", \"[REDACTED:API_KEY]\", 5]");
    expect(&c, "1234", "\"[REDACTED:PHONE]\"");
    expect(&c, "[1.00e0000000000000000000000000000000000000000000000000000000000000000000001]", "[\"[REDACTED:PHONE]\"]");
    expect(&c, "[0.1E+0.1E+0.1E+0.1E+0.1E+0.1E+0.1E+0.1E+0.1E+4567]", "[0.1E+0.1E+0.1E+0.1E+0.1E+0.1E+0.1E+0.1E+0.1E+1111]");
    expect(&c, "\"\\", "\"\\");
    expect(&c, "\"\\u00", "\"\\u00");
    c.action[VS_FOUND_URL] = VS_STREAM_REPLACE;
    expect(&c, "[\"a<b\",\"c>d\"]", "[\"a[REDACTED:URL]\",\"[REDACTED:URL]d\"]");
}

static uint64_t next(uint64_t *x)
{
    *x = *x * 6364136223846793005u + 1442695040888963407u;
    return *x >> 33;
}

static const char *const crumbs[] = { "123", "4", "<", ">", "\x1b", "key-", "abc", " ", ".", "{{", "}}", "\xc3\xa9", "\xc3", "\xa9",
    "\xf0\x9f\x98\x80", "\"", "\\u0031", "\\", ",", ":", "[", "]", "\n", "st", "key-a", "9999999999", "e", "-", "\\ud83d",
    "\\ude00", "\xe2\x82" };

static size_t random_text(uint64_t *x, char *text, size_t limit)
{
    size_t n = 0, length = (size_t)next(x) % limit;
    uint64_t few = next(x) % 8 + 2;
    while (n + 16 < length) {
        const char *crumb = crumbs[(next(x) % few * 7 + next(x) % 3) % (sizeof crumbs / sizeof *crumbs)];
        if (next(x) % 400 == 0)
            crumb = "stop!";
        memcpy(text + n, crumb, strlen(crumb));
        n += strlen(crumb);
    }
    return n;
}

static void test_cuts(void **state)
{
    (void)state;
    uint64_t x = 7;
    char text[6000];
    for (int i = 0; i < 3000; i++) {
        size_t n = random_text(&x, text, i % 10 ? 600 : sizeof text);
        struct vs_stream_config c = config_of(next(&x) & 1, (enum vs_redact_style)(next(&x) % 3));
        for (int k = 0; k < VS_N_FOUND; k++)
            if (next(&x) % 3 == 0)
                c.action[k] = (enum vs_stream_action)(next(&x) % (k == VS_FOUND_PROTECTED ? 4 : 3));
        if (!stream_cut_is_whole(&c, text, n, 1) || !stream_cut_is_whole(&c, text, n, 2 + next(&x) % 1000))
            fail_msg("text %d: %.*s", i, (int)n, text);
    }
}

/* Valid JSON stays valid, whatever is replaced in it. */
/* What is taken out ends with its value: marks of JSON stay, and so does the next value. */
static void test_json_taken_out(void **state)
{
    (void)state;
    struct vs_stream_config c = config_of(true, VS_REDACT_LABEL);
    c.action[VS_FOUND_URL] = VS_STREAM_REMOVE;
    expect(&c, "[\"a<b\", \"c>d\"]", "[\"a\", \"c>d\"]");
    expect(&c, "[\"a<b>c\", 1]", "[\"ac\", 1]");
    expect(&c, "{\"\\u003cb>c\": 1}", "{\"c\": 1}");
}

static void test_json_stays(void **state)
{
    (void)state;
    uint64_t x = 11;
    char text[600];
    for (int i = 0; i < 3000; i++) {
        size_t n = random_text(&x, text, sizeof text);
        json_t *value = json_array();
        for (size_t at = 0; at < n; at += 30) {
            size_t length = n - at < 30 ? n - at : 30;
            json_t *string = json_stringn(text + at, length);
            json_array_append_new(value, string ? string : json_integer((json_int_t)(next(&x) << (next(&x) % 32))));
            json_array_append_new(value, json_real((double)next(&x) / 7));
        }
        char *whole = json_dumps(value, (next(&x) & 1 ? JSON_ENSURE_ASCII : 0) | (next(&x) & 1 ? JSON_INDENT(1) : JSON_COMPACT));
        struct vs_stream_config c = config_of(true, (enum vs_redact_style)(next(&x) % 3));
        c.action[VS_FOUND_PROTECTED] = c.action[VS_FOUND_URL] = c.action[VS_FOUND_SYSTEM_PROMPT] = VS_STREAM_REPLACE;
        struct stream_run run;
        stream_run(&c, whole, strlen(whole), next(&x) % 100, &run, NULL);
        json_t *got = json_loadb(run.out.data, run.out.n, JSON_DECODE_ANY, NULL);
        if (!got || !run.is_right)
            fail_msg("%s\nbecame\n%.*s", whole, (int)run.out.n, run.out.data);
        assert_int_equal(json_array_size(got), json_array_size(value));
        json_decref(got);
        json_decref(value);
        free(whole);
        stream_clear(&run);
    }
}

static void test_held(void **state)
{
    (void)state;
    struct vs_stream_config c = config_of(false, VS_REDACT_LABEL);
    const char *parts[] = { "9", "<", "{{", "key-", "\xc3\xa9", "st", "\x01", "<9" };
    for (size_t k = 0; k < sizeof parts / sizeof *parts; k++) {
        struct vs_buf text = { 0 };
        for (int i = 0; i < 3000; i++)
            vs_buf_str(&text, parts[k]);
        for (uint64_t seed = 0; seed < 4; seed++) {
            struct stream_run run;
            size_t held;
            stream_run(&c, text.data, text.n, seed, &run, &held);
            assert_true(run.is_right);
            assert_true(held <= VS_DETECT_HELD);
            stream_clear(&run);
        }
        vs_buf_clear(&text);
    }
}

static void no_piece(void *arg, const struct vs_piece *piece)
{
    uint64_t *n = arg;
    *n += piece->out_end - piece->out_start;
}

/* 4 MB of one thing, in small pieces, in time that is linear: a generous bound. */
static void test_hostile(void **state)
{
    (void)state;
    struct vs_stream_config c = config_of(false, VS_REDACT_LABEL);
    const char *parts[] = { "@", "7", "a", "<", "{", "\x01", "key-", "\xff" };
    for (size_t k = 0; k < sizeof parts / sizeof *parts; k++) {
        uint64_t n_out = 0;
        char piece[64];
        struct vs_stream_sink sink = { &n_out, no_piece, NULL };
        struct vs_stream *s = vs_stream_create(&c, &sink);
        size_t n = strlen(parts[k]), length = sizeof piece / n * n;
        for (size_t i = 0; i < length; i += n)
            memcpy(piece + i, parts[k], n);
        clock_t start = clock();
        for (size_t i = 0; i < 4 << 20; i += length)
            assert_true(vs_stream_push(s, piece, length, false));
        assert_false(vs_stream_push(s, piece, length, true));
        assert_true((clock() - start) / CLOCKS_PER_SEC < 60);
        vs_stream_free(s);
    }
}

static void test_refused(void **state)
{
    (void)state;
    struct vs_stream_config c = config_of(false, VS_REDACT_LABEL);
    struct vs_stream_sink sink = { 0 };
    c.n_detectors = VS_STREAM_DETECTORS + 1;
    assert_null(vs_stream_create(&c, &sink));
    vs_stream_free(NULL);
}

/* ---- what is taken out before others look ---- */

struct stripped {
    struct vs_buf out;
    uint64_t in;
    bool is_right;
    struct vs_finding phone;
    unsigned n_control;
};

static void on_piece(void *arg, const struct vs_piece *p)
{
    struct stripped *s = arg;
    s->is_right &= p->in_start == s->in && p->out_start == s->out.n && p->in_end >= p->in_start;
    s->is_right &= p->finding || p->in_end - p->in_start == p->out_end - p->out_start;
    s->in = p->in_end;
    vs_buf_add(&s->out, p->bytes, (size_t)(p->out_end - p->out_start));
}

static void on_found(void *arg, const struct vs_finding *finding, enum vs_stream_action action)
{
    struct stripped *s = arg;
    (void)action;
    s->n_control += finding->kind == VS_FOUND_CONTROL;
    if (finding->kind == VS_FOUND_PII)
        s->phone = *finding;
}

static void strip(const struct vs_stream_config *c, const char *text, size_t n, size_t cut, struct stripped *ret)
{
    *ret = (struct stripped){ .is_right = true };
    const struct vs_stream_sink sink = { ret, on_piece, on_found };
    struct vs_strip *s = vs_strip_create(&vs_control_detector, true, c, &sink);
    assert_non_null(s);
    for (size_t at = 0; at < n; at += cut)
        vs_strip_push(s, text + at, n - at < cut ? n - at : cut, false);
    vs_strip_push(s, "", 0, true);
    vs_strip_free(s);
}

static void test_stripped(void **state)
{
    (void)state;
    static const char text[] = "\x02" "a\x01 12\x1b[0m34 \x02<x\x03> key-ab\x01" "cd. \x7f";
    static const char out[] = "a [REDACTED:PHONE] <x> [REDACTED:API_KEY]. ";
    const struct vs_stream_config c = config_of(false, VS_REDACT_LABEL);
    struct stripped s;
    for (size_t cut = 1; cut < sizeof text; cut++) {
        strip(&c, text, sizeof text - 1, cut, &s);
        assert_true(s.is_right);
        assert_int_equal(s.in, sizeof text - 1);
        assert_string_equal(s.out.data, out);
        assert_memory_equal(text + s.phone.start, "12", 2);
        assert_memory_equal(text + s.phone.end - 2, "34", 2);
        assert_int_equal(s.n_control, 7);
        vs_buf_clear(&s.out);
    }
    struct vs_buf many = { 0 };          /* more than are kept, in a text that passes and in one that is swallowed */
    for (int i = 0; i < 5000; i++)
        vs_buf_str(&many, "x\x01");
    vs_buf_str(&many, "key-");
    for (int i = 0; i < 5000; i++)
        vs_buf_str(&many, "x\x01");
    vs_buf_str(&many, " y");
    strip(&c, many.data, many.n, 7, &s);
    assert_true(s.is_right);
    assert_int_equal(s.in, many.n);
    assert_int_equal(s.out.n, 5000 + strlen("[REDACTED:API_KEY] y"));
    vs_buf_clear(&many);
    vs_buf_clear(&s.out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_styles), cmocka_unit_test(test_layers), cmocka_unit_test(test_told), cmocka_unit_test(test_long),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_json_taken_out), cmocka_unit_test(test_stripped), cmocka_unit_test(test_cuts),
        cmocka_unit_test(test_json_stays),
        cmocka_unit_test(test_held), cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
