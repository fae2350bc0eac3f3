/* rooms: filter */
/* Keys are made from the table of formats itself, so that each row is tried in several places and each may be found whole and in
 * pieces; tests/data/secrets has assignments, headers, URLs, and what only looks like a secret. */
#include "filter/random.h"
#include "filter/secret_value.h"
#include "filter/secrets.h"
#include "../support/detecting.h"
#include "../support/cpu_time.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>

static struct vs_secrets secrets;
static struct vs_detector detector;
static struct detected d;

static uint32_t draw(uint32_t *state, uint32_t n)
{
    *state = *state * 1664525u + 1013904223u;
    return (uint32_t)((uint64_t)(*state >> 1) * n >> 31);
}

/* What a class of secret_rows.c may be; in base 64 and the like, only what every reader knows. */
static const char *alphabet(char class)
{
    switch (class) {
    case 'd': return "0123456789";
    case 'h': return "0123456789abcdef";
    case 'H': return "0123456789ABCDEFabcdef";
    case 'l': return "abcdefghijklmnopqrstuvwxyz0123456789";
    case 'U': return "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    case 'b': return "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    case 'B': return "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
    default: return "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    }
}

/* A key of the pattern into to[512]; its length. */
static size_t make(const char *pattern, uint32_t *state, char *to)
{
    size_t n = 0;
    for (const char *p = pattern; *p;) {
        if (*p != '%' || p[1] == '%') {
            p += *p == '%';
            to[n++] = *p++;
            continue;
        }
        char class = p[1];
        p += 2;
        if (class == 'u') {
            for (unsigned k = 0; k < 36; k++)
                to[n++] = k == 8 || k == 13 || k == 18 || k == 23 ? '-' : alphabet('h')[draw(state, 16)];
            continue;
        }
        char *end;
        unsigned long least = strtoul(p, &end, 10), most = least;
        if (*end == ',')
            most = strtoul(end + 1, &end, 10);
        if (*end == '+')
            end++, most = least + 30;
        p = end;
        for (unsigned long k = least + draw(state, (uint32_t)(most - least) + 1); k > 0; k--)
            to[n++] = alphabet(class)[draw(state, (uint32_t)strlen(alphabet(class)))];
    }
    return n;
}

static bool has_span(size_t start, size_t end)
{
    for (size_t i = 0; i < d.n; i++)
        if (d.span[i].start == start && d.span[i].end == end)
            return true;
    return false;
}

/* Rows that ask for more than their alphabet may by chance not be met; all others always. */
/* 1: too few of its keys were found. */
static unsigned test_row(const struct vs_secret_row *row)
{
    static const char *const places[][2] = {
        { "", "" }, { "the key is ", " and more" }, { "x = \"", "\";" }, { "a,", "\n" }, { "(", ")" },
    };
    enum { TRIES = 20 };
    uint32_t state = (uint32_t)(uintptr_t)row->pattern[0] * 977u + (uint32_t)strlen(row->pattern);
    unsigned found = 0;
    bool is_special = row->flags & (VS_SECRET_JWT | VS_SECRET_PEM | VS_SECRET_PEM64 | VS_SECRET_PUTTY);
    for (unsigned k = 0; k < TRIES && !is_special; k++) {
        char text[700], key[512];
        size_t n = make(row->pattern, &state, key);
        const char *const *place = places[k % (sizeof places / sizeof *places)];
        size_t before = strlen(place[0]);
        int length = snprintf(text, sizeof text, "%s%.*s%s", place[0], (int)n, key, place[1]);
        detect_any_cut(&detector, text, (size_t)length, k, &d);
        found += has_span(before, before + n);
    }
    bool is_odd = row->flags & (VS_SECRET_RANDOM | VS_SECRET_DIGIT) || strstr(row->pattern, "%p") || strstr(row->pattern, "%n");
    unsigned least = is_odd ? TRIES * 3 / 4 : TRIES - 1;
    if (is_special || found >= least)
        return 0;
    print_error("%s %s: found %u of %u\n", row->id, row->pattern, found, TRIES);
    return 1;
}

static void every_row_finds_its_keys(void **unused)
{
    (void)unused;
    assert_in_range(vs_n_secret_rows + vs_n_secret_shapes, 300, VS_SECRET_ROWS);
    unsigned failed = 0;
    for (unsigned i = 0; i < vs_n_secret_rows; i++)
        failed += test_row(&vs_secret_rows[i]);
    for (unsigned i = 0; i < vs_n_secret_shapes; i++)
        failed += test_row(&vs_secret_shapes[i]);
    assert_int_equal(failed, 0);
}

/* A row that could hold more than a stream may would break the promise of detector.h. */
static void rows_are_well_formed(void **unused)
{
    (void)unused;
    for (unsigned i = 0; i < vs_n_secret_rows + vs_n_secret_shapes; i++) {
        const struct vs_secret_row *row = i < vs_n_secret_rows ? &vs_secret_rows[i] : &vs_secret_shapes[i - vs_n_secret_rows];
        unsigned long most = 0;
        if (i < vs_n_secret_rows)
            assert_true(strlen(row->pattern) >= 3 && !memchr(row->pattern, '%', 3));
        for (const char *p = row->pattern; *p;) {
            if (*p != '%' || p[1] == '%') {
                most++, p += *p == '%' ? 2 : 1;
                continue;
            }
            if (p[1] == 'u') {
                most += 36, p += 2;
                continue;
            }
            assert_non_null(strchr("dhHlUANwBbetkqcnp", p[1]));
            char *end;
            unsigned long least = strtoul(p + 2, &end, 10), up = least;
            assert_true(least > 0);
            if (*end == ',')
                up = strtoul(end + 1, &end, 10);
            assert_true(up >= least);
            if (*end == '+')
                assert_int_equal(*++end, 0);
            most += up;
            p = end;
        }
        for (unsigned k = 0; k < i && row->pattern[strlen(row->pattern) - 1] == '+'; k++) {      /* `closed` knows the id alone */
            const struct vs_secret_row *other = k < vs_n_secret_rows ? &vs_secret_rows[k] : &vs_secret_shapes[k - vs_n_secret_rows];
            bool is_open = strcmp(other->id, row->id) == 0 && other->pattern[strlen(other->pattern) - 1] == '+';
            if (is_open && strrchr(other->pattern, '%')[1] != strrchr(row->pattern, '%')[1])
                fail_msg("%s: %s and %s end differently", row->id, other->pattern, row->pattern);
        }
        if (most > 250)
            fail_msg("%s %s: up to %lu bytes", row->id, row->pattern, most);
    }
}

static void data_of_our_own(void **unused)
{
    (void)unused;
    unsigned count[2] = { 0 }, told[2] = { 0 };
    FILE *f = fopen(TEST_DIR "/data/secrets/secrets.jsonl", "r");
    assert_non_null(f);
    json_t *row;
    while ((row = json_loadf(f, JSON_DISABLE_EOF_CHECK, NULL))) {
        const char *b64 = json_string_value(json_object_get(row, "text_b64"));
        char text[4096];
        size_t n = vs_base64_decode(b64, strlen(b64), text, sizeof text);
        int label = json_integer_value(json_object_get(row, "label")) == 1;
        detect_any_cut(&detector, text, n, (uint32_t)n, &d);
        count[label]++;
        told[label] += d.n > 0;
        json_decref(row);
    }
    fclose(f);
    assert_in_range(count[0], 400, 10000);
    assert_in_range(count[1], 150, 10000);
    assert_true(told[1] * 100 >= count[1] * 98);
    assert_true(told[0] * 100 <= count[0]);
}

static void spans_are_exact(void **unused)
{
    static const struct { const char *text, *secret, *rule; } cases[] = {
        { "DB_PASSWORD=Tr0ub4dor&3x; next", "Tr0ub4dor", "password" },
        { "db at postgres://app:s3cr3tX9@db/x", "s3cr3tX9", "url-password" },
        { "curl -H 'Authorization: Bearer q7Zk2Lw9Xp4Rt8Vb3Nm6' x", "q7Zk2Lw9Xp4Rt8Vb3Nm6", "bearer-token" },
        { "Authorization: Basic c3ZjOlE3eks5dw==", "c3ZjOlE3eks5dw==", "basic-auth" },
        { "\"api_key\": \"q7Zk2Lw9Xp4Rt8Vb3Nm6\",", "q7Zk2Lw9Xp4Rt8Vb3Nm6", "generic-secret" },
        { "the token is q7Zk2Lw9Xp4Rt8Vb3Nm6.", "q7Zk2Lw9Xp4Rt8Vb3Nm6", "generic-secret" },
        { "<token>q7Zk2Lw9Xp4Rt8Vb3Nm6</token>", "q7Zk2Lw9Xp4Rt8Vb3Nm6", "generic-secret" },
        { "Of you it is $2a$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW. So",
          "$2a$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW", "password-hash" },
        { "Mine is SK9f86d081884c7d659a2feaa0c55ad015.", "SK9f86d081884c7d659a2feaa0c55ad015", "twilio-key" },
        { "SK9f86d081884c7d659a2feaa0c55ad015: it is old", "SK9f86d081884c7d659a2feaa0c55ad015", "twilio-key" },
        { "It was 9f86d081884c7d659a2feaa0c55ad015a3bfNRAL. Then", "9f86d081884c7d659a2feaa0c55ad015a3bfNRAL", "newrelic-license" },
    };
    (void)unused;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        detect_any_cut(&detector, cases[i].text, strlen(cases[i].text), (uint32_t)i, &d);
        size_t start = (size_t)(strstr(cases[i].text, cases[i].secret) - cases[i].text);
        if (d.n != 1 || d.span[0].start != start || d.span[0].end != start + strlen(cases[i].secret))
            fail_msg("%s: %zu spans, the first [%zu, %zu)", cases[i].text, d.n, d.span[0].start, d.span[0].end);
        assert_string_equal(d.span[0].rule, cases[i].rule);
        assert_int_equal(d.span[0].kind, VS_FOUND_SECRET);
        assert_int_equal(d.span[0].type, VS_PII_API_KEY);
    }
}

/* The checksum of GitHub's tokens is CRC-32 in base 62; that of "ghp_" and thirty letters a is known. */
static void checksum_raises_the_score(void **unused)
{
    (void)unused;
    char text[64] = "x ghp_";
    uint32_t state = 5;
    for (unsigned k = 0; k < 30; k++)
        text[6 + k] = alphabet('A')[draw(&state, 62)];
    uint32_t crc = UINT32_MAX;
    for (unsigned k = 0; k < 30; k++) {
        crc ^= (unsigned char)text[6 + k];
        for (unsigned bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ 0xedb88320u : crc >> 1;
    }
    crc = ~crc;
    for (unsigned k = 6; k-- > 0; crc /= 62)
        text[36 + k] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"[crc % 62];
    detect_any_cut(&detector, text, strlen(text), 1, &d);
    assert_int_equal(d.n, 1);
    assert_int_equal(d.span[0].score, 1000);
    text[20] = text[20] == 'q' ? 'r' : 'q';
    detect_any_cut(&detector, text, strlen(text), 1, &d);
    assert_int_equal(d.n, 1);
    assert_int_equal(d.span[0].score, 950);
}

/* A key whose block is cut short ends at the blank line; the text behind it stays. */
static void blocks_end(void **unused)
{
    (void)unused;
    char text[4096];
    static const char body[] = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\n";
    snprintf(text, sizeof text, "A\n-----BEGIN PRIVATE KEY-----\n%s%s\nAnd the text goes on.\n\nMore.", body, body);
    detect_any_cut(&detector, text, strlen(text), 3, &d);
    assert_int_equal(d.n, 1);
    assert_ptr_equal(strstr(text, "\nAnd"), text + d.span[0].end);
    snprintf(text, sizeof text, "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: X,1\n\n%s%s%s", body, body,
             "-----END RSA PRIVATE KEY-----, so");
    detect_any_cut(&detector, text, strlen(text), 4, &d);
    assert_int_equal(d.n, 1);
    assert_ptr_equal(strstr(text, ", so"), text + d.span[0].end);
    snprintf(text, sizeof text, "The header -----BEGIN PRIVATE KEY----- begins it, and base64 follows in lines of 64 characters.");
    detect_any_cut(&detector, text, strlen(text), 5, &d);
    assert_int_equal(d.n, 0);
}

static void random_is_told_from_words(void **unused)
{
    (void)unused;
    static const char *const words[] = { "configuration", "authentication_provider", "getElementsByClassName", "unordered_map",
                                         "internationalization", "customer_account_id", "MinimumPasswordLength", "password" };
    static const char *const random[] = { "kq3zv9xw1mbt2", "9f86d081884c7d65", "Xq7ZbT2LkP9w", "zx81kqpw77dj3m1v" };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        assert_false(vs_random_is(words[i], strlen(words[i])));
    for (size_t i = 0; i < sizeof random / sizeof *random; i++)
        assert_true(vs_random_is(random[i], strlen(random[i])));
    assert_false(vs_random_is("", 0));
    assert_false(vs_random_is("q7z", 3));
}

/* Megabytes of what makes a careless search slow. */
static void hostile_input_is_linear(void **unused)
{
    (void)unused;
    static const char *const pieces[] = {
        "-", "eyJ", "sk-", "password=", "-----BEGIN ", "a", "a-", "://a:", "\"", "key:'", "AKIA", "token = ", "$6$", "MDAxY",
        "Bearer ", "%3D", "\\n", "xoxb-1", "=", ":", "LS0tLS1CRUdJTi", "<password>",
    };
    enum { BYTES = 1 << 20, CUT_BYTES = 1 << 17 };
    char *text = malloc(BYTES);
    assert_non_null(text);
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        size_t length = strlen(pieces[i]);
        for (size_t k = 0; k < BYTES; k++)
            text[k] = pieces[i][k % length];
        uint64_t start = cpu_ns();
        detect(&detector, text, BYTES, 0, 0, &d);
        uint64_t whole = cpu_ns() - start;
        detect(&detector, text, CUT_BYTES, 7, 8, &d);
        uint64_t pieces_ns = cpu_ns() - start - whole;
        if (whole > 10000000000u || pieces_ns > 10000000000u)
            fail_msg("%s: %.1f s whole, %.1f s in pieces", pieces[i], (double)whole / 1e9, (double)pieces_ns / 1e9);
    }
    free(text);
}

static int setup(void **unused)
{
    (void)unused;
    vs_secrets_init(&secrets);
    detector = vs_secrets_detector(&secrets);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_well_formed), cmocka_unit_test(every_row_finds_its_keys), cmocka_unit_test(data_of_our_own),
        cmocka_unit_test(spans_are_exact), cmocka_unit_test(checksum_raises_the_score), cmocka_unit_test(blocks_end),
        cmocka_unit_test(random_is_told_from_words), cmocka_unit_test(hostile_input_is_linear),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
