/* rooms: template base */
/* Replays the files of tests/golden/template (made by tools/golden_template.py from jinja2), and checks what jinja2 can't
 * say: provenance, bounds, messages. */
#include "template/template.h"
#include "../support/asking.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static const char *const trusted[] = { "bos_token", "eos_token", NULL };

static int render(const char *source, size_t n, const json_t *context, const struct vs_template_limits *limits,
                  struct vs_marked_text *out, struct vs_error *err)
{
    struct vs_template *t;
    int status = vs_template_parse(source, n, &t, err);
    if (status == VS_OK) {
        status = vs_template_render(t, context, trusted, 1700000000, limits, out, err);
        vs_template_free(t);
    }
    return status;
}

static int n_bad, n_cases;

static void replay(const char *path)
{
    json_error_t bad;
    json_t *cases = json_load_file(path, JSON_ALLOW_NUL, &bad);
    if (!cases)
        fail_msg("%s: %s", path, bad.text);
    size_t i;
    json_t *c;
    json_array_foreach(cases, i, c) {
        const json_t *source = json_object_get(c, "template"), *want = json_object_get(c, "text");
        struct vs_marked_text out = { 0 };
        struct vs_error err = { 0 };
        int status = render(json_string_value(source), json_string_length(source), json_object_get(c, "context"), NULL, &out, &err);
        bool good = json_is_string(want) ? status == VS_OK && out.text.n == json_string_length(want) &&
                    (!out.text.n || memcmp(out.text.data, json_string_value(want), out.text.n) == 0) : status != VS_OK;
        size_t sum = 0;
        for (size_t k = 0; k < out.n_runs; k++)
            sum += out.runs[k].n;
        assert_int_equal(sum, out.text.n);
        n_cases++;
        if (!good) {
            n_bad++;
            print_message("%s #%zu: %.300s\n  wanted %.300s\n  got    %.300s\n", path, i, json_string_value(source),
                          json_is_string(want) ? json_string_value(want) : "an error",
                          status == VS_OK ? (out.text.data ? out.text.data : "") : err.text);
        }
        vs_marked_text_clear(&out);
    }
    json_decref(cases);
}

static void test_goldens(void **state)
{
    (void)state;
    DIR *dir = opendir(TEST_DIR "/golden/template");
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir));) {
        char path[4096];
        size_t n = strlen(e->d_name);
        snprintf(path, sizeof path, "%s/%s", TEST_DIR "/golden/template", e->d_name);
        if (n > 5 && strcmp(e->d_name + n - 5, ".json") == 0)
            replay(path);
    }
    closedir(dir);
    print_message("%d cases\n", n_cases);
    assert_int_equal(n_bad, 0);
    assert_true(n_cases > 300);
}

/* The text with what came from the input in [ ]. */
static void check_marks(const char *source, const char *context, const char *want)
{
    json_t *c = json_loads(context, 0, NULL);
    struct vs_marked_text out = { 0 };
    struct vs_error err = { 0 };
    struct vs_buf shown = { 0 };
    assert_non_null(c);
    int status = render(source, strlen(source), c, NULL, &out, &err);
    if (status != VS_OK)
        fail_msg("%s: %s", source, err.text);
    const char *at = out.text.data;
    for (size_t i = 0; i < out.n_runs; at += out.runs[i++].n) {
        vs_buf_str(&shown, out.runs[i].trusted ? "" : "[");
        vs_buf_add(&shown, at, out.runs[i].n);
        vs_buf_str(&shown, out.runs[i].trusted ? "" : "]");
    }
    assert_string_equal(shown.data ? shown.data : "", want);
    vs_buf_clear(&shown);
    vs_marked_text_clear(&out);
    json_decref(c);
}

static void test_provenance(void **state)
{
    (void)state;
    static const struct { const char *source, *want; } cases[] = {
        { "<|im_start|>{{ x }}<|im_end|>", "<|im_start|>[a<b>c]<|im_end|>" },
        { "{{ bos_token ~ x ~ eos }}", "<s>[a<b>c</s>]" },
        { "{{ '<' + x[1:4] + '>' }}", "<[<b>]>" },
        { "{{ x|upper }}{{ 'q'|upper }}", "[A<B>C]Q" },
        { "{{ x|replace('b', 'T') }}", "[a<]T[>c]" },
        { "{{ ('k' ~ x ~ 'z')|replace('k', x[0]) }}", "[aa<b>c]z" },
        { "{{ {'k': x}|tojson }}", "{\"k\": \"[a<b>c]\"}" },
        { "{{ [x, 'y'] }}", "['[a<b>c]', 'y']" },
        { "{{ '%s!%s' % (x, 'u') }}", "[a<b>c]!u" },
        { "{{ '{}-{}'.format('l', x) }}", "l-[a<b>c]" },
        { "{{ x.split('<')|join('|') }}", "[a]|[b>c]" },
        { "{{ (x ~ 'T')[::-1] }}", "T[c>b<a]" },
        { "{{ n }}{{ 5 }}{{ n + 1 }}{{ messages|length }}", "[7]5[8]2" },
        { "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}", "[key]=[value];" },
        { "{% macro m(a) %}({{ a }}){% endmacro %}{{ m(x) }}{{ m('t') }}", "([a<b>c])(t)" },
        { "{% set y %}1{{ x }}2{% endset %}{{ y|trim }}", "1[a<b>c]2" },
        { "{% set ns = namespace(t='') %}{% for i in [1,2] %}{% set ns.t = ns.t + 'T' + x %}{% endfor %}{{ ns.t }}",
          "T[a<b>c]T[a<b>c]" },
        { "{{ x|indent(2, true) }}", "  [a<b>c]" },
        { "{{ x|e }}", "[a&lt;b&gt;c]" },
        { "{{ messages[0].content.strip() }}", "[hi]" },
        { "{{ x.center(9, '*') }}", "**[a<b>c]**" },
        { "{{ x|center(9) }}", "  [a<b>c]  " },
        { "{{ [x, 'y', n]|join('|') }}", "[a<b>c]|y|[7]" },
        { "{{ [d, {'key': 'own'}]|join('|', attribute='key') }}", "[value]|own" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_marks(cases[i].source,
                    "{\"x\": \"a<b>c\", \"n\": 7, \"eos\": \"</s>\", \"bos_token\": \"<s>\", \"d\": {\"key\": \"value\"},"
                    " \"messages\": [{\"content\": \" hi \"}, 1]}", cases[i].want);
}

/* A filter, or a test, and the method of that name give the same. */
static void test_twins(void **state)
{
    (void)state;
    static const char *const same[] = {
        "x|center(%d) == x.center(%d)", "(x|e|center(%d)) is escaped", "(x|e).center(%d) is escaped",
        "x|replace('a', '%d') == x.replace('a', '%d')", "x|upper == x.upper()", "(x|e|upper) is escaped",
        "(x|e).upper() is escaped", "x|capitalize == x.capitalize()", "(x is lower) == x.islower()", "'x%d' is lower",
        "('X' is upper) == 'X'.isupper()", "x|trim('a') == x.strip('a')", "[x, '%d']|join(x) == x.join([x, '%d'])",
        "(x|e).join(['<']) is escaped",
    };
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        for (int n = 0; n < 12; n += 1 + (n == 7)) {
            char expression[120], source[160];
            snprintf(expression, sizeof expression, "%s", same[i]);
            for (char *at; (at = strstr(expression, "%d"));) {
                at[0] = (char)(n >= 10 ? '1' : ' ');
                at[1] = (char)('0' + n % 10);
            }
            snprintf(source, sizeof source, "{{ %s }}", expression);
            check_marks(source, "{\"x\": \"a<b>c\"}", "True");
        }
}

static void check_error(const char *source, int code, const char *text)
{
    struct vs_marked_text out = { 0 };
    struct vs_error err = { 0 };
    const struct vs_template_limits limits = { .steps = 200000, .output_bytes = 1 << 20 };
    json_t *context = json_pack("{s:[i,i]}", "xs", 1, 2);
    int status = render(source, strlen(source), context, &limits, &out, &err);
    if (status != code || !strstr(err.text, text))
        fail_msg("%s: %s, %s", source, vs_status_name(status), err.text);
    vs_marked_text_clear(&out);
    json_decref(context);
}

/* The calendar is our own (the C library's reads a file): compared with the C library's, which may do that here. */
static void test_dates(void **state)
{
    (void)state;
    const char *source = "{{ strftime_now('%Y-%m-%d %H:%M:%S %a %j') }}";
    struct vs_template *t;
    struct vs_error err = { 0 };
    assert_int_equal(vs_template_parse(source, strlen(source), &t, &err), VS_OK);
    json_t *context = json_object();
    static const int64_t times[] = { 0, -1, 1, 86399, 86400, 951782399, 951782400, 951868799, 951868800, 4107542399,
                                     4107542400, 68169600,
        -62135596800, 253402300799, 1764000000, -2203977600, -2203891200, 1709164800, 1709251200 };
    size_t n = sizeof times / sizeof *times;
    uint64_t seed = 1;
    for (size_t i = 0; i < n + 3000; i++) {
        seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        int64_t now = i < n ? times[i] : (int64_t)(seed >> 20) % INT64_C(300000000000) - INT64_C(60000000000);
        if (now > INT64_C(253402300799))
            continue;
        struct vs_marked_text out = { 0 };
        char want[64];
        time_t when = (time_t)now;
        struct tm tm;
        gmtime_r(&when, &tm);
        size_t length = (size_t)snprintf(want, sizeof want, "%04d", tm.tm_year + 1900);
        strftime(want + length, sizeof want - length, "-%m-%d %H:%M:%S %a %j", &tm);
        assert_int_equal(vs_template_render(t, context, NULL, now, NULL, &out, &err), VS_OK);
        assert_string_equal(out.text.data, want);
        vs_marked_text_clear(&out);
    }
    struct vs_marked_text out = { 0 };
    assert_int_equal(vs_template_render(t, context, NULL, INT64_C(253402300800), NULL, &out, &err), VS_E_INVALID);
    assert_int_equal(vs_template_render(t, context, NULL, INT64_C(-62135596801), NULL, &out, &err), VS_E_INVALID);
    vs_marked_text_clear(&out);
    json_decref(context);
    vs_template_free(t);
}

static void test_errors_name_construct_and_line(void **state)
{
    (void)state;
    check_error("a\n{% include 'x' %}", VS_E_UNSUPPORTED, "line 2: this tag is not supported: include");
    check_error("{% block a %}{% endblock %}", VS_E_UNSUPPORTED, "block");
    check_error("{% for a in b recursive %}{% endfor %}", VS_E_UNSUPPORTED, "recursive");
    check_error("{{ raise_exception('roles must alternate') }}", VS_E_INVALID, "roles must alternate");
    check_error("{{ 'a'|upper(1) }}", VS_E_INVALID, "takes at most 0 arguments, got 1");
    check_error("{{ 'a'.zfill(1, 2, 3) }}", VS_E_INVALID, "takes at most 1 argument, got 3");
    check_error("{{ dict([[1]]) }}", VS_E_INVALID, "made of pairs, got 1 value");
    check_error("\n\n{{ a.b.c }}", VS_E_INVALID, "line 3: 'a' is undefined");
    check_error("{{ xs|random }}", VS_E_UNSUPPORTED, "random");
    check_error("{{ xs|nothing }}", VS_E_MALFORMED, "nothing");
    check_error("{% if x %}", VS_E_MALFORMED, "endif");
    check_error("{{ 'abc }}", VS_E_MALFORMED, "line 1");
    check_error("{{ xs|map('string') }}", VS_E_UNSUPPORTED, "address");
    check_error("{{ 9223372036854775807 + 1 }}", VS_E_UNSUPPORTED, "64 bits");
    check_error("\xff", VS_E_MALFORMED, "UTF-8");
}

static void test_bounds(void **state)
{
    (void)state;
    check_error("{% for a in range(1000) %}{% for b in range(1000) %}{% endfor %}{% endfor %}", VS_E_LIMIT, "steps");
    check_error("{{ range(1000000) }}", VS_E_LIMIT, "range");
    check_error("{{ 'x' * 100000000 }}", VS_E_LIMIT, "");
    check_error("{{ 'x' * 10000000000 }}", VS_E_LIMIT, "");
    check_error("{% set ns = namespace(s='x') %}{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}{% endfor %}", VS_E_LIMIT, "");
    check_error("{% for i in range(2000) %}{{ 'x' * 1000 }}{% endfor %}", VS_E_LIMIT, "");
    check_error("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", VS_E_LIMIT, "deep");
    check_error("{% set ns = namespace(a=[]) %}{% for i in range(5000) %}{% set ns.a = [ns.a] %}{% endfor %}{{ ns.a }}",
                VS_E_LIMIT, "deep");
    char deep[4096];
    memset(deep, '(', sizeof deep);
    memcpy(deep, "{{", 2);
    deep[sizeof deep - 1] = 0;
    check_error(deep, VS_E_LIMIT, "nested");
    check_error("{% set ns = namespace(a=()) %}{% for i in range(9000) %}{% set ns.a = (ns.a,) %}{% endfor %}{{ {ns.a: 1} }}",
                VS_E_LIMIT, "deep");
    check_error("{{ '%*d' % (-9223372036854775808 + 0, 1) }}", VS_E_UNSUPPORTED, "64 bits");
    check_error("{{ '%*d' % (-9223372036854775807 - 1, 1) }}", VS_E_LIMIT, "wider");
}

/* ---- work is paid before it is done, and can be stopped ---- */

/* Expressions whose cost is that of their operands: x and y are equal and long, w differs at its end, z is not ASCII, s and t are
 * lists of long strings. */
static const char *const costly[] = {
    "x == y", "x != w", "x < w", "w >= x", "x in y", "w in x", "x in s", "[x] == [y]", "{'a': x} == {'a': y}", "{x: 1}[y]",
    "{x: 1}.get(w)", "(x, 1) in {(y, 1): 2}", "x.strip('ba')", "x|trim('ab')", "z.strip(z)", "x.rstrip(z ~ 'ab')",
    "x.startswith(y)", "x.endswith((w, y))", "x.removeprefix(y)", "x.removeprefix('a')", "x[1:]", "z[5:-5]", "x[::-1]",
    "z[::3]", "z[-9]", "x.count('ab')", "x.count(w)", "x.find(w)", "x.rfind('bb')", "x.rfind(w)", "x.rsplit('aa')",
    "x.replace('q', '')", "x.replace('a', 'bc')", "x.split('q')", "x.partition('q')", "x.rpartition('bb')", "x.split()",
    "x.splitlines()", "x ~ w", "x + y", "x * 9", "s * 999", "s + t", "s|sort", "s|sort(reverse=true)", "s|unique|list", "s|min",
    "s|max", "s|join(x)", "s|join", "','.join(s)", "s|groupby(0)", "s|map('upper')|list", "s == t", "s|list", "s|reverse|list",
    "x|upper", "z|title", "x.swapcase()", "x|capitalize", "x|wordcount", "x.isupper()", "x.istitle()", "x.isalpha()",
    "x is lower", "x|tojson", "z|tojson(ensure_ascii=true)", "s|tojson(indent=2)", "{x: 1, w: 2}|tojson(sort_keys=true)",
    "[x]|string", "x|e", "x|urlencode", "x|indent", "x|center(9999999)", "x.ljust(9999999)", "x.zfill(9999999)",
    "x.expandtabs()", "x|truncate(9, true)", "'%s' % x", "x % ()", "'{}'.format(x)", "x.format()", "'{:>9}'.format(x)", "x|int",
    "x|float", "x|replace(x, w)", "x.index(y)", "x|length", "z|length", "x is eq y", "x is in s", "x is sameas y", "s.index(w)",
    "s.count(x)", "dict(a=x) == dict(a=y)", "x|first", "x|last", "x|list", "namespace(a=x)", "z|batch(3)|list", "x|format",
    "m(**{'a': x})", "x|attr(y)", "x.a", "s|sum(start=[])", "s|dictsort", "s|slice(3)|list",
};

static void test_work_is_paid(void **state)
{
    (void)state;
    json_t *context = json_object(), *list = json_array(), *other = json_array();
    enum { N = 1 << 20 };
    char *x = malloc(N + 1);
    assert_non_null(x);
    for (size_t i = 0; i < N; i++)
        x[i] = "ab"[i & 1];
    x[N] = 0;
    json_object_set_new(context, "x", json_string(x));
    json_object_set_new(context, "y", json_string(x));
    x[N - 1] = 'c';
    json_object_set_new(context, "w", json_string(x));
    for (int i = 0; i < 16; i++) {
        json_array_append_new(list, json_string(x));
        json_array_append_new(other, json_string(x));
    }
    for (size_t i = 0; i + 1 < N; i += 2)
        memcpy(x + i, "\xc3\xa9", 2);
    json_object_set_new(context, "z", json_string(x));
    json_object_set_new(context, "s", list);
    json_object_set_new(context, "t", other);
    free(x);
    for (size_t i = 0; i < sizeof costly / sizeof *costly; i++) {
        char source[256];
        snprintf(source, sizeof source, "{%% macro m() %%}{{ kwargs|length }}{%% endmacro %%}{%% for a in range(99999) %%}"
                 "{%% for b in range(99999) %%}{%% if %s %%}{%% endif %%}{%% endfor %%}{%% endfor %%}", costly[i]);
        struct vs_template *t;
        struct vs_error err = { 0 };
        assert_int_equal(vs_template_parse(source, strlen(source), &t, &err), VS_OK);
        uint64_t n_asked = 0;
        for (int cancel = 0; cancel < 2; cancel++) {
            struct vs_marked_text out = { 0 };
            struct asking asking = { .last_ns = cpu_ns(), .stop_at = cancel ? n_asked / 2 : 0 };
            struct vs_check check = { .ask = on_ask, .context = &asking };
            const struct vs_template_limits limits = { .steps = 2000000, .check = &check };
            uint64_t from = cpu_ns();
            int r = vs_template_render(t, context, NULL, 0, &limits, &out, &err);
            uint64_t took = cpu_ns() - from;
            on_ask(&asking);
            if (r == VS_OK || took > 3000000000u || asking.worst_ns > 100000000)
                fail_msg("%s: %s, %u ms, at most %u us between two questions", costly[i], vs_status_name(r),
                         (unsigned)(took / 1000000), (unsigned)(asking.worst_ns / 1000));
            if (cancel && n_asked > 9)
                assert_int_equal(r, VS_E_CANCELLED);
            n_asked = asking.n;
            vs_marked_text_clear(&out);
        }
        vs_template_free(t);
    }
    json_decref(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_goldens),
        cmocka_unit_test(test_provenance),
        cmocka_unit_test(test_twins),
        cmocka_unit_test(test_errors_name_construct_and_line),
        cmocka_unit_test(test_dates),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_work_is_paid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
