/* rooms: filter unicode base */
/* Personal data: check digits, every span of tests/data/pii, what must not be found, and that no cut makes a difference. */
#include "../support/stream.h"

#include "filter/pii.h"
#include "filter/pii_check.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

static struct vs_pii_state state;
static struct vs_detector detector;
static const struct vs_detector *const list[] = { &detector };

static struct vs_stream_config config_of(uint32_t types)
{
    vs_pii_init(&state, types);
    detector = vs_pii_detector(&state);
    return (struct vs_stream_config){ .detectors = list, .n_detectors = 1, .action = { [VS_FOUND_PII] = VS_STREAM_REPLACE } };
}

/* ---- check digits: each right number, and all that differ in one digit ---- */

static bool luhn(const char *s) { return vs_check_luhn(s, strlen(s)); }
static bool card(const char *s) { bool is_common; return vs_check_card(s, strlen(s), &is_common); }
static bool verhoeff(const char *s) { return vs_check_verhoeff(s, strlen(s)); }
static bool iban(const char *s) { return vs_check_iban(s, strlen(s)); }
static bool nif(const char *s) { return vs_check_nif(s, strlen(s)); }
static bool nir(const char *s) { return vs_check_nir(s, strlen(s)); }
static bool norway(const char *s) { return vs_check_nordic(s, strlen(s)); }
static bool bech32(const char *s) { return vs_check_bech32(s, strlen(s)); }
static bool base58(const char *s) { return vs_check_base58(s, strlen(s)); }

static void test_checks(void **unused)
{
    (void)unused;
    static const struct { bool (*is)(const char *); const char *number; bool is_strict; } rows[] = {
        { luhn, "79927398713", true }, { card, "4539148803436467", true }, { card, "378282246310005", true }, { verhoeff, "2363",
                true },
        { iban, "GB82WEST12345698765432", true }, { iban, "DE89370400440532013000", true }, { iban, "NO9386011117947", true },
        { vs_check_routing, "011000015", true }, { vs_check_nhs, "9434765919", true }, { vs_check_npi, "1245319599", true },
        { vs_check_dea, "BJ6125341", false }, { vs_check_cpf, "52998224725", false }, { vs_check_pesel, "44051401359", false },
        { vs_check_bsn, "111222333", true }, { vs_check_sin, "130692544", true }, { nif, "12345678Z", true }, { nif, "X1234567L",
                true },
        { vs_check_codice, "RSSMRA85T10A562S", false }, { nir, "255081416802538", false }, { norway, "01010750160", false },
        { vs_check_hetu, "131052-308T", false }, { vs_check_china, "11010519491231002X", false }, { vs_check_turkey, "10000000146",
                                                                                                    true },
        { vs_check_steuer, "86095742719", true }, { vs_check_south, "8001015009087", false },
        { bech32, "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", true }, { base58, "1BoatSLRHtKNngkdXEeobR76b53LETtpyT", true },
    };
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        char number[64];
        size_t n = strlen(rows[k].number);
        if (!rows[k].is(rows[k].number))
            fail_msg("%s is right", rows[k].number);
        for (size_t i = 0; i < n && rows[k].is_strict; i++) {
            memcpy(number, rows[k].number, n + 1);
            if (number[i] < '0' || number[i] > '9')
                continue;
            number[i] = number[i] == '9' ? '0' : (char)(number[i] + 1);
            if (rows[k].is(number))
                fail_msg("%s passes for %s", number, rows[k].number);
        }
    }
    assert_false(vs_check_ssn("000123456") || vs_check_ssn("666123456") || vs_check_ssn("123006789") || vs_check_ssn("123450000")
                 || vs_check_ssn("078051120") || vs_check_ssn("987654321"));
    assert_true(vs_check_ssn("123456789") && vs_check_itin("912734567") && !vs_check_itin("912934567"));
    assert_true(vs_check_mbi("1EG4TE5MK73") && !vs_check_mbi("1SG4TE5MK73"));
    assert_true(vs_check_mrz("L898902C3", 9, '6') && !vs_check_mrz("L898902C3", 9, '5'));
    assert_true(vs_check_date(2024, 2, 29) && !vs_check_date(2023, 2, 29) && !vs_check_date(2023, 13, 1));
    assert_false(vs_check_iban("GB82WEST12345698765431", 22) || vs_check_iban("XX82WEST12345698765432", 22));
}

/* ---- the data ---- */

static const struct { const char *name; enum vs_pii type; } names[] = {
#define NAME(type, preset) { #type, VS_PII_##type },
    VS_PII_MAP(NAME)
    { "CARD", VS_PII_CREDIT_CARD }, { "IP", VS_PII_IP_ADDRESS }, { "MAC", VS_PII_MAC_ADDRESS }, { "BANK", VS_PII_BANK_ACCOUNT },
    { "LICENCE", VS_PII_DRIVER_LICENSE }, { "DOB", VS_PII_DATE_OF_BIRTH }, { "MEDICAL", VS_PII_MEDICAL_RECORD },
    { "NATIONAL", VS_PII_NATIONAL_ID }, { "WALLET", VS_PII_CRYPTO_ADDRESS },
};

struct marked { struct vs_buf text, spans; };       /* the spans: lines "start end TYPE" */

static void unmark(const char *s, struct marked *m)
{
    memset(m, 0, sizeof *m);
    while (*s) {
        const char *open = strstr(s, "{{"), *bar = open ? strchr(open, '|') : NULL, *shut = bar ? strstr(bar, "}}") : NULL;
        enum vs_pii type = VS_N_PII;
        for (size_t k = 0; shut && k < sizeof names / sizeof *names; k++)
            if (strlen(names[k].name) == (size_t)(bar - open - 2) && memcmp(names[k].name, open + 2, (size_t)(bar - open - 2)) == 0)
                type = names[k].type;
        if (!shut || type == VS_N_PII) {
            vs_buf_str(&m->text, s);
            return;
        }
        vs_buf_add(&m->text, s, (size_t)(open - s));
        size_t start = m->text.n;
        vs_buf_add(&m->text, bar + 1, (size_t)(shut - bar - 1));
        vs_buf_printf(&m->spans, "%zu %zu %s\n", start, m->text.n, vs_finding_type(VS_FOUND_PII, type));
        s = shut + 2;
    }
}

static void keep_span(void *arg, const struct vs_finding *f, enum vs_stream_action action)
{
    (void)action;
    vs_buf_printf(arg, "%zu %zu %s\n", f->start, f->end, f->type);
}

static void no_piece(void *arg, const struct vs_piece *piece)
{
    (void)arg, (void)piece;
}

/* Calls row() for each text of a file of tests/data/pii. */
static void each(const char *file, void (*row)(const struct marked *m, void *arg), void *arg)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/data/pii/%s", TEST_DIR, file);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    char *line = NULL;
    size_t size = 0, n_rows = 0;
    while (getline(&line, &size, f) > 0) {
        json_t *value = json_loads(line, 0, NULL);
        struct marked m;
        assert_non_null(value);
        unmark(json_string_value(json_object_get(value, "marked")), &m);
        row(&m, arg);
        vs_buf_clear(&m.text);
        vs_buf_clear(&m.spans);
        json_decref(value);
        n_rows++;
    }
    free(line);
    fclose(f);
    assert_true(n_rows > 10);
}

static void find(const struct vs_stream_config *config, const struct vs_buf *text, struct vs_buf *ret)
{
    struct vs_stream_sink sink = { ret, no_piece, keep_span };
    struct vs_stream *s = vs_stream_create(config, &sink);
    assert_non_null(s);
    vs_stream_push(s, text->data, text->n, true);
    vs_stream_free(s);
}

struct tally { struct vs_stream_config config; unsigned n_wrong; };

static void compare(const struct marked *m, void *arg)
{
    struct tally *t = arg;
    struct vs_buf got = { 0 };
    find(&t->config, &m->text, &got);
    if (!stream_is_same(&got, &m->spans)) {
        fprintf(stderr, "%s\nis not\n%sin %s\n\n", got.n ? got.data : "", m->spans.n ? m->spans.data : "nothing ", m->text.data);
        t->n_wrong++;
    }
    vs_buf_clear(&got);
}

static void test_found(void **unused)
{
    (void)unused;
    struct tally t = { config_of(VS_PII_PRESET), 0 };
    each("positive.jsonl", compare, &t);
    assert_int_equal(t.n_wrong, 0);
    t.config = config_of(VS_PII_BIT(VS_N_PII) - 1);
    each("optional.jsonl", compare, &t);
    assert_int_equal(t.n_wrong, 0);
}

static void test_lookalikes(void **unused)
{
    (void)unused;
    struct tally t = { config_of(VS_PII_PRESET), 0 };
    each("lookalikes.jsonl", compare, &t);
    assert_in_range(t.n_wrong, 0, 2);    /* "100 Years Drive", "7 Wonders Way": they look like streets */
    t.n_wrong = 0;
    t.config = config_of(VS_PII_BIT(VS_N_PII) - 1);
    each("lookalikes.jsonl", compare, &t);
    assert_in_range(t.n_wrong, 0, 2);
}

/* ---- cuts ---- */

static void cut(const struct marked *m, void *arg)
{
    struct tally *t = arg;
    for (uint64_t seed = 1; seed < 5; seed++)
        t->n_wrong += !stream_cut_is_whole(&t->config, m->text.data, m->text.n, seed == 4 ? m->text.n + 5 : seed);
}

static void gather(const struct marked *m, void *arg)
{
    struct vs_buf *all = arg;
    vs_buf_add(all, m->text.data, m->text.n);
    vs_buf_char(all, " \n|"[m->text.n % 3]);
}

static void test_cuts(void **unused)
{
    (void)unused;
    struct tally t = { config_of(VS_PII_BIT(VS_N_PII) - 1), 0 };
    each("positive.jsonl", cut, &t);
    each("optional.jsonl", cut, &t);
    each("lookalikes.jsonl", cut, &t);
    assert_int_equal(t.n_wrong, 0);
    struct vs_buf all = { 0 };
    each("positive.jsonl", gather, &all);
    each("lookalikes.jsonl", gather, &all);
    for (uint64_t seed = 1; seed < 12; seed++)
        assert_true(stream_cut_is_whole(&t.config, all.data, all.n, seed));
    uint64_t x = 5;                      /* the same, with bytes changed, left out and doubled */
    for (int i = 0; i < 60; i++) {
        struct vs_buf text = { 0 };
        for (size_t at = 0; at < all.n; at++) {
            x = x * 6364136223846793005u + 1442695040888963407u;
            unsigned what = (unsigned)(x >> 40) % 60;
            if (what != 0)
                vs_buf_char(&text, what == 1 ? " -.,:/@+(1aX"[(x >> 50) % 12] : all.data[at]);
            if (what == 2)
                vs_buf_char(&text, all.data[at]);
        }
        assert_true(stream_cut_is_whole(&t.config, text.data, text.n, (uint64_t)i + 1));
        vs_buf_clear(&text);
    }
    vs_buf_clear(&all);
}

/* ---- hostile ---- */

static void test_hostile(void **unused)
{
    (void)unused;
    struct vs_stream_config c = config_of(VS_PII_BIT(VS_N_PII) - 1);
    static const char *const parts[] = { "@", "7", "a", "a.", "1.", "1-", "1 ", ":", "a:", "(", "+1", "12 Elm ", "A ", "\xc3\xa9",
                                         "1 A", "P<",
        "DOB 1 ", "no ", "\xff", "-", "1/2/", "4 4111", "bc1q",
        "\xe7\x94\x9f\xe6\x97\xa5" "1", "\xe7\x94\x9f", "\xd1\x82\xd0\xb5\xd0\xbb 1", "born of 1 ", "1 Elm Street a ",
        "1990\xe5\xb9\xb4" "1", "手机号码1" };
    for (size_t k = 0; k < sizeof parts / sizeof *parts; k++) {
        char piece[96];
        size_t n = strlen(parts[k]), length = sizeof piece / n * n;
        struct vs_stream_sink sink = { NULL, no_piece, NULL };
        struct vs_stream *s = vs_stream_create(&c, &sink);
        for (size_t i = 0; i < length; i += n)
            memcpy(piece + i, parts[k], n);
        clock_t start = clock();
        for (size_t i = 0; i < 1 << 20; i += length)
            assert_true(vs_stream_push(s, piece, length, false));
        vs_stream_push(s, "", 0, true);
        assert_true(vs_stream_held_max(s) <= VS_DETECT_HELD);
        double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
        if (seconds > 20)
            fail_msg("1 MiB of '%s': %.1f s", parts[k], seconds);
        vs_stream_free(s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_checks), cmocka_unit_test(test_found), cmocka_unit_test(test_lookalikes), cmocka_unit_test(test_cuts),
        cmocka_unit_test(test_hostile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
