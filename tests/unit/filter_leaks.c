/* rooms: filter */
/* Control sequences, links, protected values and the system message: what is found, what must stay, whole and in any pieces. */
#include "filter/control.h"
#include "filter/prompt.h"
#include "filter/protect.h"
#include "filter/urls.h"
#include "../support/detecting.h"
#include "../support/cpu_time.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct detected d;

/* Spans as "rule:text rule:text", compared with what is wanted. */
static void expect(const struct vs_detector *detector, const char *text, const char *want)
{
    char got[4096] = "";
    size_t n = 0;
    detect_any_cut(detector, text, strlen(text), (uint32_t)strlen(text), &d);
    for (size_t i = 0; i < d.n && n < sizeof got; i++) {
        const struct vs_span *s = &d.span[i];
        int length = (int)(s->end - s->start);
        n += (size_t)snprintf(got + n, sizeof got - n, "%s%s:%.*s", i ? " " : "", s->rule, length, text + s->start);
    }
    if (strcmp(got, want) != 0)
        fail_msg("in \"%s\"\n  found  %s\n  wanted %s", text, got, want);
}

/* ---- control ---- */

static void control_sequences(void **unused)
{
    (void)unused;
    static const char *const cases[][2] = {
        { "a\033[31mred\033[0m b", "ansi:\033[31m ansi:\033[0m" },
        { "x\033]8;;http://h.example\033\\link\033]8;;\a y", "ansi-string:\033]8;;http://h.example\033\\ ansi-string:\033]8;;\a" },
        { "\033(Bz\033c", "ansi:\033(B ansi:\033c" },
        { "\302\2331mC1", "ansi:\302\2331m" },
        { "bell\a back\b del\177", "control:\a control:\b control:\177" },
        { "line\r\nend\tx", "" },
        { "over\rwritten", "control:\r" },
        { "a\342\200\256b", "bidi:\342\200\256" },
        { "\330\247\342\200\217\330\250", "" },                                        /* Arabic with a right-to-left mark */
        { "a\363\240\201\201\363\240\201\202", "tags:\363\240\201\201 tags:\363\240\201\202" },
        { "\360\237\217\264\363\240\201\247\363\240\201\242\363\240\201\245\363\240\201\256\363\240\201\247\363\240\201\277 a flag",
          "" },
        { "\342\235\244\357\270\217 and 1\357\270\217\342\203\243", "" },              /* a heart and a keycap */
        { "a\357\270\201b", "selectors:\357\270\201" },
        { "\360\237\230\200\357\270\201\357\270\202", "selectors:\357\270\202" },
        { "\360\237\221\250\342\200\215\360\237\221\251\342\200\215\360\237\221\247", "" },        /* a family */
        { "\331\205\333\214\342\200\214\330\256\331\210\330\247\331\207\331\205", "" },            /* Persian with a non-joiner */
        { "h\342\200\213\342\200\214\342\200\213i", "invisible:\342\200\213 invisible:\342\200\214 invisible:\342\200\213" },
        { "soft\302\255hyphen", "" },
        { "\350\221\233\363\240\204\200", "" },                                        /* an ideograph with a variant */
        { "\033", "ansi:\033" },
        { "\033[", "ansi:\033[" },
        { "bad \200\377 bytes", "" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect(&vs_control_detector, cases[i][0], cases[i][1]);
}

static void long_strings_are_swallowed(void **unused)
{
    (void)unused;
    char text[3000];
    memset(text, 'x', sizeof text);
    memcpy(text, "ab\033]0;", 6);
    memcpy(text + 2000, "\033\\", 2);
    detect_any_cut(&vs_control_detector, text, sizeof text, 1, &d);
    assert_int_equal(d.n, 1);
    assert_int_equal(d.span[0].start, 2);
    assert_int_equal(d.span[0].end, 2002);
    text[1000] = '\033';                 /* another escape ends it, and belongs to it */
    detect_any_cut(&vs_control_detector, text, sizeof text, 2, &d);
    assert_int_equal(d.span[0].end, 1001);
}

/* ---- URLs ---- */

static void urls(void **unused)
{
    (void)unused;
    static const char *const allow[] = {
        "good.example", "*.sub.example", "port.example:8443", "path.example/docs", "xn--bcher-kva.example",
    };
    static const struct vs_urls list = { VS_URLS_LIST, allow, sizeof allow / sizeof *allow }, none = { VS_URLS_NONE, NULL, 0 };
    static const struct vs_urls any = { VS_URLS_ANY, NULL, 0 };
    static const char *const cases[][2] = {
        { "see https://good.example/a?b=c.", "" }, { "see HTTPS://GOOD.EXAMPLE./x", "" }, { "http://good.example:80/", "" },
        { "see https://bad.example/a(b)c.", "url:https://bad.example/a(b)c" },
        { "[t](https://bad.example/x) y", "url:https://bad.example/x" },
        { "![i](<https://bad.example/a>)", "url:https://bad.example/a" },
        { "<img src=\"//bad.example/p?q=1\">", "url-relative://bad.example/p?q=1" },
        { "<a href='\\\\bad.example\\x'>", "url-relative:\\\\bad.example\\x" },
        { "https://good.example@bad.example/", "url:https://good.example@bad.example/" },
        { "https://good.example:pw@bad.example", "url:https://good.example:pw@bad.example" },
        { "https://good.example.bad.example/", "url:https://good.example.bad.example/" },
        { "https://bad.example/good.example", "url:https://bad.example/good.example" },
        { "https://good.example:444/", "url:https://good.example:444/" }, { "https://port.example:8443/x", "" },
        { "https://port.example/x", "url:https://port.example/x" },
        { "https://a.sub.example/", "" }, { "https://sub.example/", "url:https://sub.example/" },
        { "https://xsub.example/", "url:https://xsub.example/" },
        { "https://path.example/docs/a", "" }, { "https://path.example/docsx", "url:https://path.example/docsx" },
        { "https://path.example/docs/../x", "url:https://path.example/docs/../x" },
        { "https://path.example/docs/%2e%2e/x", "url:https://path.example/docs/%2e%2e/x" },
        { "https://good.example\\.bad.example/", "url:https://good.example\\.bad.example/" },
        { "https:\\\\bad.example/", "url:https:\\\\bad.example/" },
        { "https://xn--bcher-kva.example/", "" },
        { "[x](javascript:alert(1))", "script-url:javascript:alert(1)" },
        { "<a href=\"java\nscript:alert(1)\">", "script-url:java\nscript:alert(1)" },
        { "<a href=\"ht\ttps://bad.example\">", "url:ht\ttps://bad.example" },
        { "<a href=\"https://good.example\n.bad.example/\">", "url:https://good.example\n.bad.example/" },
        { "data:text/html;base64,PGI+ and data: none", "data-url:data:text/html;base64,PGI+" },
        { "data:abcdefghijklmnopqrstuvwx/y,z", "data-url:data:abcdefghijklmnopqrstuvwx/y,z" },
        { "https:////////bad.example", "url:https:////////bad.example" },
        { "https:////////////bad.example/", "url:https:////////////bad.example/" }, { "https:////////////good.example/", "" },
        { "(//////////bad.example)", "url-relative://////////bad.example" }, { "f( ////////////////\n", "" },
        { "www.bad.example, www.good.example", "url:www.bad.example url:www.good.example" },
        { "ftp://good.example/x file:///etc/passwd", "url:ftp://good.example/x url:file:///etc/passwd" },
        { "https://good.example/?u=https://bad.example", "" },
        { "a // comment, http: the protocol, ftp" "://, C:\\\\dir, this/that", "" },
    };
    struct vs_detector detector = vs_urls_detector(&list);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect(&detector, cases[i][0], cases[i][1]);
    detector = vs_urls_detector(&none);
    expect(&detector, "https://good.example/ x", "url:https://good.example/");
    detector = vs_urls_detector(&any);
    expect(&detector, "https://bad.example/ x", "");
    for (size_t i = 0; i < sizeof allow / sizeof *allow; i++)
        assert_null(vs_urls_check(allow[i]));
    static const char *const wrong[] = { "", "https://a.example", "*", "*.", ".a", "a b", "a:", "a:x", "a?b", "a:1234567" };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_non_null(vs_urls_check(wrong[i]));
}

/* ---- protected values ---- */

static size_t encode64(const char *s, size_t n, bool url, char *to)
{
    const char *last = url ? "-_" : "+/";
    size_t length = 0;
    for (size_t bit = 0; bit < n * 8; bit += 6) {
        unsigned two = (unsigned)(unsigned char)s[bit / 8] << 8 | (bit / 8 + 1 < n ? (unsigned char)s[bit / 8 + 1] : 0u);
        unsigned v = two >> (10 - bit % 8) & 63;
        to[length++] = v < 26 ? (char)('A' + v) : v < 52 ? (char)('a' + v - 26) : v < 62 ? (char)('0' + v - 52) : last[v - 62];
    }
    to[length] = 0;
    return length;
}

static void encode32(const char *s, size_t n, char *to)
{
    size_t length = 0;
    for (size_t bit = 0; bit < n * 8; bit += 5) {
        unsigned two = (unsigned)(unsigned char)s[bit / 8] << 8 | (bit / 8 + 1 < n ? (unsigned char)s[bit / 8 + 1] : 0u);
        to[length++] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[two >> (11 - bit % 8) & 31];
    }
    to[length] = 0;
}

/* One span of a text that hides a value as `form`, around it other words. Of the form's ends, which other bytes may share, `most`
 * characters are not in it. */
static void expect_within(const struct vs_detector *detector, const char *form, size_t most)
{
    char text[8192];
    int n = snprintf(text, sizeof text, "Well, here it is: %s and so on, nothing more.", form);
    detect_any_cut(detector, text, (size_t)n, (uint32_t)n, &d);
    if (d.n != 1 || d.span[0].start > 18 + most || d.span[0].end + most < 18 + strlen(form) || d.span[0].end > 18 + strlen(form))
        fail_msg("%s: %zu spans, [%zu, %zu)", form, d.n, d.span[0].start, d.span[0].end);
    assert_int_equal(d.span[0].kind, VS_FOUND_PROTECTED);
}

static void expect_hidden(const struct vs_detector *detector, const char *form)
{
    expect_within(detector, form, 4);
}

/* Base32 and what is encoded twice, wherever the value begins in what is encoded. */
static void expect_coded(const struct vs_detector *detector, const char *value)
{
    char plain[64], once[128], form[512], shown[512];
    for (unsigned shift = 0; shift < 5; shift++) {
        snprintf(plain, sizeof plain, "%.*s%s!", (int)shift, "<<<<", value);
        encode32(plain, strlen(plain), form);
        expect_within(detector, form, 8);
    }
    for (unsigned way = 0; way < 4; way++)
        for (unsigned shift = 0; shift < 3; shift++)
            for (unsigned upper = 0; upper < 2; upper++) {
                size_t n = strlen(value), length = 0;
                snprintf(plain, sizeof plain, "%.*s%s", (int)shift, "<<", value);
                for (size_t i = 0; i < n && way == 3; i++)
                    plain[shift + i] = value[n - 1 - i];
                if (way == 1)
                    for (size_t i = 0; i < strlen(plain); i++)
                        length += (size_t)snprintf(once + length, sizeof once - length, upper ? "%02X" : "%02x",
                                                   (unsigned)plain[i]);
                else if (way == 3)
                    snprintf(once, sizeof once, "%s", plain);
                else
                    encode64(plain, strlen(plain), false, once);
                if (way == 2)
                    for (size_t i = length = 0; once[i]; i++)
                        length += (size_t)snprintf(form + length, sizeof form - length, "%02x", (unsigned)once[i]);
                else
                    encode64(once, strlen(once), upper, form);
                expect_within(detector, form, 8);
                for (size_t i = length = 0; form[i]; i++)           /* and %XX on top of it */
                    length += (size_t)snprintf(shown + length, sizeof shown - length, i % 5 ? "%c" : "%%%02x", form[i]);
                expect_within(detector, shown, 14);
            }
}

/* What looks like %XX in a value is no other text for that. */
static void values_with_signs(void **unused)
{
    (void)unused;
    static const struct vs_protected values[] = { { "pa%41ss-100%25-word", 19 }, { "\xef\xbc\xa1lpha-bravo-7", 16 } };
    struct vs_protect *p = vs_protect_create(values, 2);
    struct vs_detector detector = vs_protect_detector(p);
    expect_hidden(&detector, values[0].bytes);
    expect_hidden(&detector, "paAss-100%-word");
    expect_hidden(&detector, "Alpha-bravo-7");
    expect_hidden(&detector, values[1].bytes);
    vs_protect_free(p);
}

static void protected_values(void **unused)
{
    (void)unused;
    static const struct vs_protected values[] = { { "Blue-Heron-4471-Falcon", 22 }, { "#!#-&&-%%$", 10 }, { "tr0ub4dor", 9 } };
    struct vs_protect *p = vs_protect_create(values, 3);
    assert_non_null(p);
    struct vs_detector detector = vs_protect_detector(p);
    const char *v = values[0].bytes;
    char form[4096];
    size_t n = 0;
    expect_hidden(&detector, "Blue-Heron-4471-Falcon");
    expect_hidden(&detector, "BLUE-HERON-4471-FALCON");
    expect_hidden(&detector, "B l u e H e r o n 4 4 7 1 F a l c o n");
    expect_hidden(&detector, "B.l.u.e.-.H.e.r.o.n.-.4.4.7.1.-.F.a.l.c.o.n");
    expect_hidden(&detector, "noclaF-1744-noreH-eulB");
    expect_hidden(&detector, "Blue%2DHeron%2d4471%2DFalc%6Fn");
    expect_hidden(&detector, "Blue\nHeron\n4471\nFalcon");
    expect_hidden(&detector, "#!#-&&-%%$");
    expect_hidden(&detector, "TR0UB4DOR");
    expect_hidden(&detector, "Oyhr-Ureba-4471-Snypba");
    expect_hidden(&detector, "O y h r U r e b a 4 4 7 1 S n y p b a");
    expect_hidden(&detector, "\xef\xbc\xa2\xef\xbd\x8c\xef\xbd\x95\xef\xbd\x85\xef\xbc\x8d\xef\xbc\xa8\xef\xbd\x85\xef\xbd\x92"
                             "\xef\xbd\x8f\xef\xbd\x8e-\xef\xbc\x94\xef\xbc\x94\xef\xbc\x97\xef\xbc\x91-Falcon");
    for (unsigned way = 0; way < 5; way++) {
        static const char *const before[] = { "", "", "", "0x", "\\x" }, *const behind[] = { "", "", ":", ", ", "" };
        const char *digits = way == 1 ? "0123456789ABCDEF" : "0123456789abcdef";
        n = 0;
        for (size_t i = 0; i < values[0].n; i++)
            n += (size_t)snprintf(form + n, sizeof form - n, "%s%c%c%s", before[way], digits[v[i] >> 4], digits[v[i] & 15],
                                  behind[way]);
        expect_hidden(&detector, form);
    }
    for (unsigned shift = 0; shift < 3; shift++)
        for (unsigned url = 0; url < 2; url++) {
            char plain[64];
            snprintf(plain, sizeof plain, "%.*s%s!", (int)shift, "<<", v);
            encode64(plain, strlen(plain), url, form);
            expect_hidden(&detector, form);
        }
    expect_coded(&detector, v);
    expect(&detector, "Blue herons and falcons, 4471 of them; tr0ub4do and Blue-Heron-4471-Falco", "");
    vs_protect_free(p);
    struct vs_protected bad = { "short", 5 };
    assert_null(vs_protect_create(&bad, 1));
    bad.n = 513;
    assert_null(vs_protect_create(&bad, 1));
    p = vs_protect_create(NULL, 0);
    detector = vs_protect_detector(p);
    expect(&detector, "anything", "");
    vs_protect_free(p);
}

/* A value longer than what may be held is told open, and swallowed whole. */
static void long_values(void **unused)
{
    (void)unused;
    char value[512], text[4096], form[1100];
    uint32_t state = 9;
    for (size_t i = 0; i < sizeof value; i++) {
        state = state * 1664525u + 1013904223u;
        value[i] = "abcdefghijklmnopqrstuvwxyz0123456789 -"[(state >> 16) % 38];
    }
    struct vs_protected values = { value, sizeof value };
    struct vs_protect *p = vs_protect_create(&values, 1);
    struct vs_detector detector = vs_protect_detector(p);
    for (unsigned way = 0; way < 2; way++) {
        memcpy(form, value, sizeof value);
        size_t length = way ? encode64(value, sizeof value, false, form) : sizeof value;
        int n = snprintf(text, sizeof text, "It is ((%.*s)) indeed.", (int)length, form);
        detect_any_cut(&detector, text, (size_t)n, 3, &d);
        assert_int_equal(d.n, 1);
        assert_in_range(d.span[0].start, 8, 12);
        assert_in_range(d.span[0].end, 8 + length - 4, 8 + length + 4);
    }
    vs_protect_free(p);
}

/* ---- the system message ---- */

static void system_prompt(void **unused)
{
    (void)unused;
    static const char message[] = "You are Orla, the assistant of a small bakery in Galway.  Never tell anybody the recipe of the "
                                  "dark rye loaf;\nanswer in two sentences, and be kind to whoever asks. Gr\303\274\303\237 Gott!";
    struct vs_prompt *p = vs_prompt_create(message, strlen(message), NULL);
    assert_non_null(p);
    struct vs_detector detector = vs_prompt_detector(p);
    expect(&detector, "Sure! You are Orla, the assistant of a small bakery in Galway. Never mind.",
           "system-prompt:You are Orla, the assistant of a small bakery in Galway. Never ");
    expect(&detector, "NEVER TELL ANYBODY\n\nTHE RECIPE OF THE DARK RYE LOAF; OK",
           "system-prompt:NEVER TELL ANYBODY\n\nTHE RECIPE OF THE DARK RYE LOAF; ");
    expect(&detector, "The assistant of a small bakery answers in two sentences and is kind to whoever asks.", "");
    char run[64] = "x<";
    memcpy(run + 2, strstr(message, "tell"), 48);
    run[50] = 0;
    detect_any_cut(&detector, run, 50, 1, &d);
    assert_int_equal(d.n, 1);            /* 48 characters */
    detect_any_cut(&detector, run, 49, 1, &d);
    assert_int_equal(d.n, 0);            /* 47 */
    detect_any_cut(&detector, message, strlen(message), 2, &d);
    assert_int_equal(d.n, 1);
    assert_int_equal(d.span[0].start, 0);
    assert_int_equal(d.span[0].end, strlen(message));
    vs_prompt_free(p);
    p = vs_prompt_create("short", 5, NULL);
    detector = vs_prompt_detector(p);
    expect(&detector, "short", "");
    vs_prompt_free(p);
}

/* Other English holds little: the message's letters are common, its words are not. */
static void ordinary_text_is_hardly_held(void **unused)
{
    (void)unused;
    static const char message[] = "You are a careful assistant. Answer in the language of the question and say so when you can't.";
    static const char text[] = "The river rises in the hills above the town, and every spring the meadows stand under water.";
    struct vs_prompt *p = vs_prompt_create(message, strlen(message), NULL);
    struct vs_detector detector = vs_prompt_detector(p);
    size_t sum = 0;
    for (size_t n = 1; n < sizeof text; n++) {
        memset(&d, 0, sizeof d);
        d.n_call = n;
        sum += n - detector.find(&detector, text, n, 0, false, detect_told, &d);
    }
    assert_in_range(sum, 1, 6 * sizeof text);
    vs_prompt_free(p);
}

/* ---- all ---- */

static void hostile_input_is_linear(void **unused)
{
    (void)unused;
    static const char *const pieces[] = {
        "\033[", "\033]0;", "\363\240\201\201", "\342\200\213", "http", ("https:" "//"), "www.a", "](", "=\"//", "Blue", "B-", "%4",
        "%42", "you are a ", "( ", "j\n", "data:a", "\r", "\302", "426c7565",
    };
    static const char *const allow[] = { "good.example/a" };
    static const struct vs_urls list = { VS_URLS_LIST, allow, 1 };
    static const struct vs_protected value = { "Blue-Blue-Blue-Blue-Blue-Heron", 30 };
    enum { BYTES = 1 << 20, CUT_BYTES = 1 << 17 };
    char *text = malloc(BYTES);
    struct vs_protect *protect = vs_protect_create(&value, 1);
    static const char again[] = "you are a you are a you are a you are a you are a careful assistant of b";
    struct vs_prompt *prompt = vs_prompt_create(again, 70, NULL);
    const struct vs_detector all[] = {
        vs_control_detector, vs_urls_detector(&list), vs_protect_detector(protect), vs_prompt_detector(prompt),
    };
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++)
        for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
            for (size_t at = 0; at < BYTES; at++)
                text[at] = pieces[i][at % strlen(pieces[i])];
            uint64_t start = cpu_ns();
            detect(&all[k], text, BYTES, 0, 0, &d);
            detect(&all[k], text, CUT_BYTES, 7, 8, &d);
            if (cpu_ns() - start > 5000000000u)
                fail_msg("%s, %s: %.1f s", all[k].name, pieces[i], (double)(cpu_ns() - start) / 1e9);
        }
    vs_protect_free(protect);
    vs_prompt_free(prompt);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(control_sequences), cmocka_unit_test(long_strings_are_swallowed), cmocka_unit_test(urls),
        cmocka_unit_test(protected_values), cmocka_unit_test(values_with_signs),
        cmocka_unit_test(long_values), cmocka_unit_test(system_prompt),
        cmocka_unit_test(ordinary_text_is_hardly_held), cmocka_unit_test(hostile_input_is_linear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
