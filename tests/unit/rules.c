/* rooms: filter unicode base */
/* Rules of injection: each example of each rule, the format that people write, and files of compiled rules that are not whole. */
#include "base/buf.h"
#include "base/bytes.h"
#include "base/sha256.h"
#include "base/utf8.h"
#include "filter/rules.h"
#include "unicode/unicode.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct vs_buf compiled;
static struct vs_rules *rules;
static struct vs_rulefile source;

static void read_all(const char *path, struct vs_buf *to)
{
    char block[1 << 14];
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    for (size_t n; (n = fread(block, 1, sizeof block, file)) > 0;)
        vs_buf_add(to, block, n);
    fclose(file);
    assert_int_equal(to->status, VS_OK);
}

/* In the order of their names, as the build compiles them. */
static int is_rules(const struct dirent *entry)
{
    const char *dot = strrchr(entry->d_name, '.');
    return dot && strcmp(dot, ".rules") == 0;
}

static int start(void **state)
{
    (void)state;
    struct dirent **entry;
    struct vs_error err;
    read_all(RULES_FILE, &compiled);
    assert_int_equal(vs_rules_open(compiled.data, compiled.n, &rules, &err), VS_OK);
    int n = scandir(RULES_SOURCES, &entry, is_rules, alphasort);
    assert_true(n >= 2);
    for (int i = 0; i < n; i++) {
        struct vs_buf text = { 0 };
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", RULES_SOURCES, entry[i]->d_name);
        read_all(path, &text);
        if (vs_rulefile_add(&source, entry[i]->d_name, text.data, text.n, &err) != VS_OK)
            fail_msg("%s", err.text);
        vs_buf_clear(&text);
        free(entry[i]);
    }
    free(entry);
    return 0;
}

static int end(void **state)
{
    (void)state;
    vs_rules_close(rules);
    vs_rulefile_clear(&source);
    vs_buf_clear(&compiled);
    return 0;
}

struct looking { unsigned rule; size_t n; bool found, inside; };

static void on_rule(void *arg, unsigned rule, size_t from, size_t to)
{
    struct looking *l = arg;
    l->inside = l->inside && from < to && to <= l->n;
    l->found = l->found || rule == l->rule;
}

/* As a scan does it, what is not ASCII is folded first. */
static void fold(const char *s, size_t n, struct vs_buf *out)
{
    for (size_t i = 0; i < n;) {
        uint32_t c, to[VS_FOLD_MOST];
        size_t length = vs_utf8_decode(s + i, n - i, &c);
        assert_true(length);
        int count = vs_unicode_fold(c, to);
        for (int k = 0; k < count; k++)
            vs_buf_utf8(out, to[k]);
        i += length;
    }
}

static void test_examples(void **state)
{
    (void)state;
    unsigned wrong = 0, n_for = 0, n_not = 0;
    for (unsigned i = 0; i < source.n; i++) {
        const struct vs_rule_text *rule = &source.rule[i];
        unsigned before = n_for;
        assert_string_equal(rule->id, vs_rules_table(rules)->rule[i].id);
        for (size_t k = 0; k < rule->n_examples; k++) {
            const struct vs_rule_example *example = &rule->example[k];
            struct vs_buf text = { 0 };
            fold(example->text, example->n, &text);
            struct looking l = { i, text.n, false, true };
            assert_int_equal(vs_rules_scan(rules, text.data, text.n, on_rule, &l), VS_OK);
            assert_true(l.inside);
            if (l.found != example->found) {
                print_error("%s: %s: %s\n", rule->id, example->found ? "not found" : "must not be found", example->text);
                wrong++;
            }
            n_for += example->found;
            n_not += !example->found;
            vs_buf_clear(&text);
        }
        if (n_for == before)
            fail_msg("%s has no example", rule->id);
    }
    print_message("%zu rules, %u examples for, %u against; %zu bytes of memory\n", source.n, n_for, n_not, vs_rules_bytes(rules));
    assert_int_equal(wrong, 0);
    assert_true(source.n >= 80);
    assert_true(vs_rules_bytes(rules) < 4u << 20);
}

static void test_classes(void **state)
{
    (void)state;
    unsigned n[VS_N_RULE_CLASSES] = { 0 };
    for (size_t i = 0; i < source.n; i++)
        n[source.rule[i].class]++;
    for (unsigned i = 0; i < VS_N_RULE_CLASSES; i++)
        assert_true(n[i] > 0);
}

/* ---- what people write ---- */

static void test_format(void **state)
{
    (void)state;
    static const struct { const char *text, *wrong; } cases[] = {
        { "rule a override 5\n match x\n for x\n", NULL },
        { "let a = x|y\nrule a override 5/6\n match {a} ~ (?:{a} z)\n for x\\n\\u{41}\\\\ \n", NULL },
        { "rule a override 1001\n match x\n", "a:1: rule ID CLASS WEIGHT" },
        { "rule a override 5/\n match x\n", "a:1: rule ID CLASS WEIGHT" },
        { "rule a over 5\n match x\n", "a:1: no such class" },
        { "rule A override 5\n match x\n", "a:1: an id is of" },
        { "rule a override 5\n match x\nrule a role 5\n match y\n", "a:3: there is a rule" },
        { "rule a override 5\n match {b}\n", "a:2: no such name" },
        { "let b = x\nlet b = y\n", "a:2: a name is of" },
        { "let b x\n", "a:1: let NAME" },
        { "match x\n", "a:1: before the first rule" },
        { "rule a override 5\n", "a: the rule a has no pattern" },
        { "rule a override 5\n match\n", "a:2: a pattern ends" },
        { "rule a override 5\n match ~ x\n", "a:2: between two parts" },
        { "rule a override 5\n match x ~ .. y\n", "a:2: between two parts" },
        { "rule a override 5\n match x ~\n", "a:2: a pattern ends" },
        { "rule a override 5\n match a b c d e f g h i\n", "a:2: a pattern has at most" },
        { "rule a override 5\n match [a\n", "a:2: a class" },
        { "rule a override 5\n match \xff\n", "a:2: this is not UTF-8" },
        { "rule a override 5\n match x\n for \\q\n", "a:3: after \\" },
        { "rule a override 5\n match x\n for \\u{110000}\n", "a:3: after \\" },
        { "rule a override 5\n match x\n for\n", "a:3: an example" },
        { "rule a override 5\n match x\n what x\n", "a:3: a line begins" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct vs_rulefile f = { 0 };
        struct vs_error err = { 0 };
        int r = vs_rulefile_add(&f, "a", cases[i].text, strlen(cases[i].text), &err);
        assert_int_equal(r, cases[i].wrong ? VS_E_MALFORMED : VS_OK);
        if (cases[i].wrong && strncmp(err.text, cases[i].wrong, strlen(cases[i].wrong)) != 0)
            fail_msg("%zu: %s", i, err.text);
        vs_rulefile_clear(&f);
    }
}

/* ---- files of compiled rules ---- */

static void sign(struct vs_buf *file)
{
    vs_store_u64le(file->data + 16, file->n);
    vs_sha256_of(file->data + VS_RULES_HEADER, file->n - VS_RULES_HEADER, (uint8_t *)file->data + 32);
}

static void refused(const struct vs_buf *file, size_t n, int code, const char *word)
{
    struct vs_rules *none = NULL;
    struct vs_error err = { 0 };
    char *exact = malloc(n ? n : 1);
    memcpy(exact, file->data, n);
    assert_int_equal(vs_rules_open(exact, n, &none, &err), code);
    if (!strstr(err.text, word))
        fail_msg("%s", err.text);
    assert_null(none);
    free(exact);
}

static void test_file(void **state)
{
    (void)state;
    struct vs_buf file = { 0 };
    vs_buf_add(&file, compiled.data, compiled.n);
    refused(&file, 0, VS_E_MALFORMED, "no file of compiled rules");
    refused(&file, VS_RULES_HEADER - 1, VS_E_MALFORMED, "no file of compiled rules");
    for (size_t n = VS_RULES_HEADER; n < file.n; n += 1 + n / 7)
        refused(&file, n, VS_E_MALFORMED, "cut short");
    for (size_t at = VS_RULES_HEADER; at < file.n; at += 1 + at / 7) {
        file.data[at] ^= 1;
        refused(&file, file.n, VS_E_MALFORMED, "was changed");
        file.data[at] ^= 1;
    }
    file.data[70] ^= 1;
    refused(&file, file.n, VS_E_UNSUPPORTED, "another build");
    file.data[70] ^= 1;
    file.data[8] ^= 2;
    refused(&file, file.n, VS_E_UNSUPPORTED, "another build");
    file.data[8] ^= 2;
    /* Signed anew: then the table and the automaton say so themselves. */
    size_t table = (size_t)vs_load_u64le(file.data + 24);
    vs_store_u32le(file.data + VS_RULES_HEADER, 0xffffffff);
    sign(&file);
    refused(&file, file.n, VS_E_MALFORMED, "the table");
    memcpy(file.data + VS_RULES_HEADER, compiled.data + VS_RULES_HEADER, 4);
    memset(file.data + VS_RULES_HEADER + table, 0, 16);
    sign(&file);
    refused(&file, file.n, VS_E_MALFORMED, "automaton");
    vs_store_u64le(file.data + 24, file.n);
    refused(&file, file.n, VS_E_MALFORMED, "was changed");
    vs_buf_clear(&file);
}

/* Time is linear, and nothing is told outside the text. */
static void test_long(void **state)
{
    (void)state;
    static const char *const unit[] = { "ignore ", "a", "ignore all previous ", "[", "\n", "\xd0\xb0", "the ", "<!--", "\xff",
                                        "\xe0\xa4\x95" };      /* begins as a prefix of 33 bytes does */
    for (size_t u = 0; u < sizeof unit / sizeof *unit; u++) {
        struct vs_buf text = { 0 };
        while (text.n < 1 << 22)
            vs_buf_str(&text, unit[u]);
        struct looking l = { 0, text.n, false, true };
        assert_int_equal(vs_rules_scan(rules, text.data, text.n, on_rule, &l), VS_OK);
        assert_true(l.inside);
        vs_buf_clear(&text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_examples), cmocka_unit_test(test_classes), cmocka_unit_test(test_format),
        cmocka_unit_test(test_file), cmocka_unit_test(test_long),
    };
    return cmocka_run_group_tests(tests, start, end);
}
