/* rooms: policy ipc base */
#include "ipc/json.h"
#include "policy/policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char whole[] =
    "{\"version\":1,\"input\":{\"max_bytes\":1048576,\"raw_tokens\":\"scan\"},"
    "\"injection\":{\"user\":{\"mode\":\"warn\",\"threshold\":500},\"retrieved\":{\"mode\":\"warn\",\"threshold\":500},"
    "\"tool\":{\"mode\":\"warn\",\"threshold\":500},\"allow\":[]},"
    "\"pii\":{\"input\":\"off\",\"output\":\"off\",\"types\":[\"CREDIT_CARD\",\"SSN\",\"EMAIL\",\"PHONE\",\"IP_ADDRESS\","
    "\"MAC_ADDRESS\",\"BANK_ACCOUNT\",\"PASSPORT\",\"DRIVER_LICENSE\",\"DATE_OF_BIRTH\",\"ADDRESS\",\"MEDICAL_RECORD\","
    "\"API_KEY\"],\"style\":\"label\"},"
    "\"secrets\":{\"input\":\"warn\",\"output\":\"warn\",\"protect\":[]},"
    "\"output\":{\"control\":\"strip\",\"urls\":\"any\",\"url_allow\":[],\"system_prompt\":\"warn\",\"raw_tokens\":\"withhold\"},"
    "\"identity\":{\"require_key\":false,\"socket_group\":\"\",\"keys\":\"\"},"
    "\"audit\":{\"dir\":\"\",\"private\":false,\"sync\":\"group\",\"on_failure\":\"refuse\","
    "\"rotate_bytes\":67108864,\"retain_days\":0,"
    "\"checkpoint_records\":1000,\"checkpoint_seconds\":60,\"checkpoint_copy\":\"\"},"
    "\"signing\":{\"key\":\"\"},\"receipts\":{\"mode\":\"on-request\",\"keep\":\"\"},"
    "\"limits\":{\"default\":{\"requests_per_minute\":0,\"tokens_per_minute\":0,\"in_flight\":0,\"kv_tokens\":0,"
    "\"priority\":\"high\"},\"keys\":{}}}";

/* A file for each name; others are not there. */
static int read_file(void *context, const char *path, struct vs_buf *ret, struct vs_error *err)
{
    static const struct { const char *path; const char *text; size_t n; } files[] = {
#define FILE_OF(path, text) { path, text, sizeof text - 1 }
        FILE_OF("one", "correct horse battery\n"),
        FILE_OF("two", "first value\r\n\nsecond value"),
        FILE_OF("pem", "-----BEGIN KEY-----\nQUJDREVGR0g=\n-----END KEY-----\n"),
        FILE_OF("short", "long enough\nabc\n"),
        FILE_OF("empty", "\n\n"),
        FILE_OF("bytes", "\xff\xfe\xff\xfe\xff\xfe\xff\xfe"),
        FILE_OF("nul", "ab\0cdefgh"),
    };
    assert_ptr_equal(context, &whole);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (strcmp(files[i].path, path) == 0) {
            vs_buf_add(ret, files[i].text, files[i].n);
            return VS_OK;
        }
    return vs_error_set(err, VS_E_NOT_FOUND, "%s: no such file", path);
}

static void parse(const char *text, struct vs_policy *ret)
{
    struct vs_error err = { 0 };
    unsigned line;
    int rc = vs_policy_parse(text, strlen(text), read_file, (void *)(uintptr_t)&whole, ret, &line, &err);
    if (rc != VS_OK)
        fail_msg("%s: %s", text, err.text);
}

static void expect_format(const struct vs_policy *p, const char *wanted)
{
    struct vs_buf text = { 0 };
    vs_policy_format(p, &text);
    assert_int_equal(text.status, VS_OK);
    assert_string_equal(text.data, wanted);
    vs_buf_clear(&text);
}

static void defaults(void **state)
{
    (void)state;
    struct vs_policy p, q;
    vs_policy_default(&p);
    expect_format(&p, whole);
    parse("{}", &q);
    expect_format(&q, whole);
    assert_int_equal(q.injection.zone[VS_ZONE_SYSTEM].mode, VS_POLICY_OFF);
    assert_int_equal(q.injection.zone[VS_ZONE_SYSTEM].threshold, VS_POLICY_THRESHOLD_MOST);
    vs_policy_clear(&p);
    vs_policy_clear(&q);
}

static void values(void **state)
{
    (void)state;
    struct vs_policy p;
    parse("{\"injection\":{\"tool\":{\"mode\":\"block\",\"threshold\":1},\"allow\":[\"R1\",\"some text\"]},"
          "\"pii\":{\"types\":[\"NATIONAL_ID\",\"SSN\"],\"style\":\"hash\",\"input\":\"redact\"},"
          "\"input\":{\"max_bytes\":16777216,\"raw_tokens\":\"refuse\"},\"output\":{\"urls\":\"list\",\"control\":\"off\"}}", &p);
    assert_int_equal(p.injection.zone[VS_ZONE_TOOL].mode, VS_POLICY_BLOCK);
    assert_int_equal(p.injection.zone[VS_ZONE_TOOL].threshold, 1);
    assert_int_equal(p.injection.zone[VS_ZONE_USER].mode, VS_POLICY_WARN);
    assert_int_equal(p.injection.allow.n, 2);
    assert_string_equal(p.injection.allow.v[1], "some text");
    assert_int_equal(p.pii.types, 1u << VS_PII_NATIONAL_ID | 1u << VS_PII_SSN);
    assert_int_equal(p.pii.style, VS_POLICY_HASH);
    assert_int_equal(p.pii.input, VS_POLICY_REDACT);
    assert_int_equal(p.pii.output, VS_POLICY_OFF);
    assert_int_equal(p.input.max_bytes, 16777216);
    assert_int_equal(p.input.raw_tokens, VS_POLICY_RAW_REFUSE);
    assert_int_equal(p.output.urls, VS_POLICY_URLS_LIST);
    assert_int_equal(p.output.control, VS_POLICY_CONTROL_OFF);
    assert_string_equal(vs_policy_mode_name(p.pii.input), "redact");
    vs_policy_clear(&p);
}

static void files(void **state)
{
    (void)state;
    struct vs_policy p, q;
    struct vs_buf text = { 0 };
    struct vs_error err = { 0 };
    char a[VS_POLICY_DIGEST], b[VS_POLICY_DIGEST];
    unsigned line;
    parse("{\"secrets\":{\"protect\":[\"plain words\",\"file:one\",\"file:two\",\"file:pem\"]}}", &p);
    const struct vs_policy_list *list = &p.secrets.protect;
    assert_int_equal(list->n, 5);
    assert_string_equal(list->v[1], "correct horse battery");
    assert_string_equal(list->v[2], "first value");
    assert_string_equal(list->v[3], "second value");
    assert_string_equal(list->v[4], "QUJDREVGR0g=");
    /* The canonical form is read without opening anything, also where a value looks like a file. */
    vs_policy_format(&p, &text);
    assert_int_equal(vs_policy_parse(text.data, text.n, NULL, NULL, &q, &line, &err), VS_OK);
    assert_int_equal(q.secrets.protect.n, 5);
    expect_format(&q, text.data);
    assert_int_equal(vs_policy_digest(&p, a), VS_OK);
    assert_int_equal(vs_policy_digest(&q, b), VS_OK);
    assert_string_equal(a, b);
    assert_int_equal(strlen(a), 64);
    vs_policy_clear(&q);
    vs_buf_clear(&text);
    static const char named[] = "{\"secrets\":{\"protect\":[\"file:one\"]}}";
    assert_int_equal(vs_policy_parse(named, sizeof named - 1, NULL, NULL, &q, &line, &err), VS_OK);
    assert_string_equal(q.secrets.protect.v[0], "file:one");
    vs_policy_clear(&q);
    vs_policy_clear(&p);
}

static void digest_tells_no_value(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{\"secrets\":{\"protect\":[\"12345678\"]}}", "{\"secrets\":{\"protect\":[\"87654321\"]}}",
        "{\"secrets\":{\"protect\":[\"12345678\",\"87654321\"]}}",
        "{\"secrets\":{\"output\":\"block\",\"protect\":[\"12345678\"]}}",
    };
    char digest[4][VS_POLICY_DIGEST];
    for (int i = 0; i < 4; i++) {
        struct vs_policy p;
        parse(texts[i], &p);
        assert_int_equal(vs_policy_digest(&p, digest[i]), VS_OK);
        vs_policy_clear(&p);
    }
    assert_string_equal(digest[0], digest[1]);
    assert_string_not_equal(digest[0], digest[2]);
    assert_string_not_equal(digest[0], digest[3]);
}

static void refused(void **state)
{
    (void)state;
    static const struct { const char *text; unsigned line; const char *wanted; } cases[] = {
        { "[]", 1, "a policy is a JSON object" },
        { "", 1, "not JSON" },
        { "{\n\"version\":1,\n}", 3, "not JSON" },
        { "{\"version\":1,\n\"version\":1}", 2, "not JSON: duplicate" },
        { "{\"version\":2}", 1, "version: only 1 is known" },
        { "{\"version\":\"1\"}", 1, "version: only 1 is known" },
        { "{\n\"injektion\":{}}", 2, "injektion: there is no such key; did you mean injection?" },
        { "{\"injection\":{\n\n\"usr\":{}}}", 3, "injection.usr: there is no such key; did you mean injection.user?" },
        { "{\"injection\":{\"system\":{}}}", 1, "injection.system: there is no such key" },
        { "{\"injection.user.mode\":\"off\"}", 1, "injection.user.mode: there is no such key" },
        { "{\"pii\":{\"\":1}}", 1, "pii.: there is no such key" },
        { "{\"pii\":{\"a\\nb\":1}}", 1, "pii.a\\x0Ab: there is no such key" },
        { "{\"injection\":[]}", 1, "injection: an object is needed" },
        { "{\"injection\":{\"user\":\n\"warn\"}}", 2, "injection.user: an object is needed" },
        { "{\"injection\":{\"user\":{\"threshold\":500,\n \"mode\" :\n \"wran\"}}}", 3,
          "injection.user.mode: \"wran\" is not off, log, warn, redact or block" },
        { "{\"pii\":{\"input\":true}}", 1, "pii.input: a text is needed: off, log, warn, redact or block" },
        { "{\"pii\":{\"input\":\"off\\u0000\"}}", 1, "pii.input: \"off\" is not" },
        { "{\"pii\":{\"style\":\"Label\"}}", 1, "pii.style: \"Label\" is not label, mask or hash" },
        { "{\"injection\":{\"tool\":{\"threshold\":0}}}", 1, "injection.tool.threshold: a whole number from 1 to 1000 is needed" },
        { "{\"injection\":{\"tool\":{\"threshold\":1001}}}", 1, "from 1 to 1000" },
        { "{\"injection\":{\"tool\":{\"threshold\":500.5}}}", 1, "from 1 to 1000" },
        { "{\"input\":{\"max_bytes\":0}}", 1, "input.max_bytes: a whole number from 1 to 16777216" },
        { "{\"input\":{\"max_bytes\":null}}", 1, "input.max_bytes: a whole number" },
        { "{\"pii\":{\"types\":\"EMAIL\"}}", 1, "pii.types: a list is needed" },
        { "{\"pii\":{\"types\":[\"EMAIL\",\n[],\n1]}}", 2, "pii.types[1]: a text is needed" },
        { "{\"pii\":{\"types\":[\"EMAIL\",\"SSN\",\n\"EMIAL\"]}}", 2, "pii.types[2]: \"EMIAL\" is not a type; did you mean EMAIL" },
        { "{\"injection\":{\"allow\":[\"x\",\n\"\"]}}", 2, "allow[1]: a text of 1 to 4096 bytes is needed, this one has 0" },
        { "{\"injection\":{\"allow\":[{\"a\":[\"]\"]},7]}}", 1, "injection.allow[0]: a text is needed" },
        { "{\"secrets\":{\"protect\":[\"abc\"]}}", 1, "secrets.protect[0]: a text of 8 to 512 bytes is needed, this one has 3" },
        { "{\"secrets\":{\"protect\":[\"a\\u0000cdefgh\"]}}", 1, "secrets.protect[0]: there is a NUL in the text" },
        { "{\"secrets\":{\"protect\":[\"file:\"]}}", 1, "secrets.protect[0]: a path is missing behind file:" },
        { "{\"secrets\":{\"protect\":[\"abcdefgh\",\n\"file:gone\"]}}", 2, "secrets.protect[1]: gone: no such file" },
        { "{\"secrets\":{\"protect\":[\"file:short\"]}}", 1, "secrets.protect[0]: line 2 of the file: a text of 8 to 512 bytes" },
        { "{\"secrets\":{\"protect\":[\"file:empty\"]}}", 1, "secrets.protect[0]: the file has no value in it" },
        { "{\"secrets\":{\"protect\":[\"file:bytes\"]}}", 1, "protect[0]: line 1 of the file: the text is not UTF-8" },
        { "{\"secrets\":{\"protect\":[\"file:nul\"]}}", 1, "protect[0]: line 1 of the file: there is a NUL in the text" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct vs_policy p = { .version = 77 };
        struct vs_error err = { 0 };
        unsigned line = 99;
        int rc = vs_policy_parse(cases[i].text, strlen(cases[i].text), read_file, (void *)(uintptr_t)&whole, &p, &line, &err);
        if (rc == VS_OK || p.version != 77 || line != cases[i].line || !strstr(err.text, cases[i].wanted))
            fail_msg("%s: %d, line %u: %s", cases[i].text, rc, line, err.text);
        assert_int_equal(rc, strstr(cases[i].text, "gone") ? VS_E_NOT_FOUND : VS_E_INVALID);
    }
}

/* As many texts as may be, and one more. */
static void many(void **state)
{
    (void)state;
    for (int n = 1000; n <= 1001; n++) {
        struct vs_buf text = { 0 };
        struct vs_policy p;
        struct vs_error err = { 0 };
        unsigned line;
        vs_buf_str(&text, "{\"output\":{\"url_allow\":[");
        for (int i = 0; i < n; i++)
            vs_buf_printf(&text, "%s\"host%d.example\"", i ? "," : "", i);
        vs_buf_str(&text, "]}}");
        int rc = vs_policy_parse(text.data, text.n, NULL, NULL, &p, &line, &err);
        assert_int_equal(rc, n == 1000 ? VS_OK : VS_E_INVALID);
        if (rc == VS_OK)
            vs_policy_clear(&p);
        else
            assert_non_null(strstr(err.text, "output.url_allow[1000]: there are more than 1000 texts"));
        vs_buf_clear(&text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults), cmocka_unit_test(values), cmocka_unit_test(files),
        cmocka_unit_test(digest_tells_no_value), cmocka_unit_test(refused), cmocka_unit_test(many),
    };
    vs_json_setup(0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
