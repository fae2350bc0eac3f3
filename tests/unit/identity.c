/* rooms: identity ipc base */
/* unit/identity.c - keys, what is kept of them, roles, limits, and who is locked out; the clock is played. With the argument
 * "time": does the time of a comparison tell anything? */
#include "identity/identity.h"
#include "identity/limits.h"
#include "identity/lockout.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/size.h"
#include "ipc/json.h"
#include "ipc/name.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SECOND UINT64_C(1000000000)

static void test_a_key_is_known_by_its_form(void **state)
{
    (void)state;
    char key[VS_API_KEY_LENGTH + 1], other[VS_API_KEY_LENGTH + 1], id[VS_API_KEY_ID + 1], wrong[VS_API_KEY_LENGTH + 2];
    struct vs_secret s, t;
    assert_true(vs_api_key_make(key, &s));
    assert_true(vs_api_key_make(other, &t));
    assert_string_not_equal(key, other);
    assert_memory_not_equal(s.salt, t.salt, sizeof s.salt);
    assert_int_equal(strlen(key), VS_API_KEY_LENGTH);
    assert_int_equal(strspn(key + 3, "abcdefghijklmnopqrstuvwxyz234567"), VS_API_KEY_LENGTH - 3);
    assert_true(vs_api_key_parse(key, strlen(key), id));
    assert_string_equal(id, s.id);
    assert_true(vs_secret_matches(&s, key, strlen(key)));
    assert_false(vs_secret_matches(&s, other, strlen(other)));
    assert_false(vs_secret_matches(&t, key, strlen(key)));
    for (size_t i = 0; i < VS_API_KEY_LENGTH; i++) {            /* a slip at any place is known */
        memcpy(wrong, key, sizeof key);
        wrong[i] = wrong[i] == 'q' ? 'r' : 'q';
        assert_false(vs_api_key_parse(wrong, VS_API_KEY_LENGTH, id));
        assert_false(vs_secret_matches(&s, wrong, VS_API_KEY_LENGTH));
        assert_false(vs_api_key_parse(key, i, id));
    }
    snprintf(wrong, sizeof wrong, "%sa", key);
    assert_false(vs_api_key_parse(wrong, VS_API_KEY_LENGTH + 1, id));
}

/* Each bit of a secret comes from chance: over many keys none stays the same. */
static void test_all_of_it_is_chance(void **state)
{
    (void)state;
    unsigned seen[VS_API_KEY_ID + VS_API_KEY_SECRET] = { 0 };
    char key[VS_API_KEY_LENGTH + 1];
    struct vs_secret s;
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz234567";
    for (int i = 0; i < 2000; i++) {
        assert_true(vs_api_key_make(key, &s));
        for (size_t k = 0; k < sizeof seen / sizeof *seen; k++)
            seen[k] |= 1u << (strchr(letters, key[3 + k]) - letters);
    }
    for (size_t k = 0; k < sizeof seen / sizeof *seen; k++)
        assert_int_equal(seen[k], UINT32_MAX);       /* missing one of 32 in 2,000 draws: chance 1e-26 */
}

static struct vs_identity identity(const char *name, enum vs_role role, char key[VS_API_KEY_LENGTH + 1])
{
    struct vs_identity who = { .role = role, .scopes = vs_role_scopes(role), .created = 1000 };
    snprintf(who.name, sizeof who.name, "%s", name);
    assert_true(vs_api_key_make(key, &who.secret[0]));
    return who;
}

static void test_a_file_is_read_as_it_was_written(void **state)
{
    (void)state;
    char key[VS_API_KEY_LENGTH + 1], before[VS_API_KEY_LENGTH + 1];
    struct vs_identity who = identity("anna@x-1_b.c", VS_ROLE_OPERATOR, key), old = identity("b", VS_ROLE_USER, before), back;
    struct vs_buf text = { 0 };
    struct vs_error err;
    who.scopes &= ~(uint32_t)VS_SCOPE_LOAD;
    who.secret[1] = old.secret[0];
    who.secret[1].until = 77;
    vs_identity_format(&who, &text);
    assert_int_equal(text.status, VS_OK);
    assert_null(strstr(text.data, key + 3 + VS_API_KEY_ID));    /* nothing of the secret */
    assert_int_equal(vs_identity_parse(text.data, text.n, &back, &err), VS_OK);
    assert_string_equal(back.name, who.name);
    assert_int_equal(back.role, who.role);
    assert_int_equal(back.scopes, who.scopes);
    assert_int_equal(back.created, who.created);
    for (int i = 0; i < 2; i++) {
        assert_string_equal(back.secret[i].id, who.secret[i].id);
        assert_memory_equal(back.secret[i].salt, who.secret[i].salt, sizeof who.secret[i].salt);
        assert_memory_equal(back.secret[i].hash, who.secret[i].hash, sizeof who.secret[i].hash);
        assert_int_equal(back.secret[i].until, who.secret[i].until);
    }
    for (size_t n = 0; n < text.n; n++)
        assert_int_equal(vs_identity_parse(text.data, n, &back, &err), VS_E_MALFORMED);
    vs_buf_clear(&text);
}

static void test_files_that_are_none(void **state)
{
    (void)state;
#define KEY "\"key\":{\"id\":\"abcdefgh\",\"salt\":\"00112233445566778899aabbccddeeff\"," \
    "\"sha256\":\"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\"}"
    static const char *const good = "{\"version\":1,\"name\":\"a\",\"role\":\"user\",\"scopes\":[],\"created\":1," KEY "}";
    static const char *const bad[] = {
        "", "[]", "{}", "{\"version\":2,\"name\":\"a\",\"role\":\"user\",\"scopes\":[],\"created\":1," KEY "}",
        "{\"version\":1,\"name\":\"../a\",\"role\":\"user\",\"scopes\":[],\"created\":1," KEY "}",
        "{\"version\":1,\"name\":\"a\\u0000b\",\"role\":\"user\",\"scopes\":[],\"created\":1," KEY "}",
        "{\"version\":1,\"name\":\"a\",\"role\":\"root\",\"scopes\":[],\"created\":1," KEY "}",
        "{\"version\":1,\"name\":\"a\",\"role\":\"user\",\"scopes\":[\"all\"],\"created\":1," KEY "}",
        "{\"version\":1,\"name\":\"a\",\"role\":\"user\",\"scopes\":{},\"created\":1," KEY "}",
        "{\"version\":1,\"name\":\"a\",\"role\":\"user\",\"scopes\":[],\"created\":-1," KEY "}",
        "{\"version\":1,\"name\":\"a\",\"role\":\"user\",\"scopes\":[],\"created\":1,\"key\":{\"id\":\"abcdefgh\"}}",
        "{\"version\":1,\"name\":\"a\",\"role\":\"user\",\"scopes\":[],\"created\":1," KEY ",\"before\":1}",
        "{\"version\":1,\"name\":\"a\",\"name\":\"b\",\"role\":\"user\",\"scopes\":[],\"created\":1," KEY "}",
    };
    struct vs_identity who;
    struct vs_error err;
    assert_int_equal(vs_identity_parse(good, strlen(good), &who, &err), VS_OK);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(vs_identity_parse(bad[i], strlen(bad[i]), &who, &err), VS_E_MALFORMED);
        assert_true(err.text[0]);
    }
    static char long_one[VS_IDENTITY_FILE_MOST + 2];
    memset(long_one, ' ', sizeof long_one);
    memcpy(long_one, good, strlen(good));
    assert_int_equal(vs_identity_parse(long_one, VS_IDENTITY_FILE_MOST, &who, &err), VS_OK);
    assert_int_equal(vs_identity_parse(long_one, VS_IDENTITY_FILE_MOST + 1, &who, &err), VS_E_MALFORMED);
}

/* Scopes that a file gives beyond its role do not count: who may write files writes the role. */
static void test_roles(void **state)
{
    (void)state;
    struct vs_error err;
    uint32_t set;
    enum vs_role role;
    assert_int_equal(vs_role_scopes(VS_ROLE_ADMIN), VS_SCOPES_ALL);
    assert_int_equal(vs_role_scopes(VS_ROLE_USER), VS_SCOPE_GENERATE | VS_SCOPE_TOKENIZE | VS_SCOPE_LIST);
    assert_false(vs_role_scopes(VS_ROLE_AUDITOR) & VS_SCOPE_GENERATE);
    assert_true(vs_role_scopes(VS_ROLE_AUDITOR) & VS_SCOPE_AUDIT);
    assert_false(vs_role_scopes(VS_ROLE_OPERATOR) & (VS_SCOPE_SHUTDOWN | VS_SCOPE_AUDIT));
    assert_true(vs_role_parse("auditor", &role) && role == VS_ROLE_AUDITOR);
    assert_false(vs_role_parse("Auditor", &role));
    assert_int_equal(vs_scopes_parse("generate,list", VS_ROLE_USER, &set, &err), VS_OK);
    assert_int_equal(set, VS_SCOPE_GENERATE | VS_SCOPE_LIST);
    assert_int_equal(vs_scopes_parse("load", VS_ROLE_USER, &set, &err), VS_E_INVALID);
    assert_non_null(strstr(err.text, "the role user does not have the scope 'load'"));
    static const char *const bad[] = { "", ",", "generate,", "generate,,list", "generat", "generatee", "GENERATE", "\x1b[2J" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(vs_scopes_parse(bad[i], VS_ROLE_ADMIN, &set, &err), VS_E_INVALID);
    static const char *const names[] = { "a", "A.b_c-d@e9", "-" };
    static const char *const none[] = { "", ".a", "a/b", "..", "a b", "\xc3\xa4", "a\n" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_true(vs_key_name_is_valid(names[i]));
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        assert_false(vs_key_name_is_valid(none[i]));
    char text[VS_IDENTITY_NAME + 1] = "";
    memset(text, 'a', VS_IDENTITY_NAME - 1);
    assert_true(vs_key_name_is_valid(text));
    text[VS_IDENTITY_NAME - 1] = 'a';
    assert_false(vs_key_name_is_valid(text));
}

static void test_a_key_finds_its_name(void **state)
{
    (void)state;
    enum { N = 1000 };
    static char keys[N][VS_API_KEY_LENGTH + 1];
    char name[20], other[VS_API_KEY_LENGTH + 1];
    struct vs_identities all = { 0 };
    struct vs_secret nobodys;
    const struct vs_secret *secret;
    struct vs_error err;
    json_t *list = json_array();
    for (int i = 0; i < N; i++) {
        snprintf(name, sizeof name, "k%d", i * 7919 % N);
        struct vs_identity who = identity(name, i % 2 ? VS_ROLE_USER : VS_ROLE_ADMIN, keys[i]);
        who.secret[0].until = i == 5 ? 2000 : 0;
        json_array_append_new(list, vs_identity_json(&who));
    }
    assert_int_equal(vs_identity_list_parse(list, &all, &err), VS_OK);
    json_decref(list);
    assert_int_equal(all.n, N);
    for (int i = 0; i < N; i++) {
        snprintf(name, sizeof name, "k%d", i * 7919 % N);
        const struct vs_identity *who = vs_identity_of_key(&all, keys[i], VS_API_KEY_LENGTH, 1999, &secret);
        assert_non_null(who);
        assert_string_equal(who->name, name);
        assert_ptr_equal(vs_identity_find(&all, name), who);
        assert_ptr_equal(secret, &who->secret[0]);
    }
    assert_null(vs_identity_of_key(&all, keys[5], VS_API_KEY_LENGTH, 2000, &secret));       /* its time is over */
    assert_true(vs_api_key_make(other, &nobodys));
    assert_null(vs_identity_of_key(&all, other, VS_API_KEY_LENGTH, 1, &secret));
    assert_null(vs_identity_of_key(&all, "", 0, 1, &secret));
    assert_null(vs_identity_find(&all, "k1000"));
    vs_identity_list_clear(&all);
    assert_null(vs_identity_of_key(&all, keys[0], VS_API_KEY_LENGTH, 1, &secret));
    assert_null(vs_identity_find(&all, "k0"));
}

static void test_five_wrong_ones_lock_out(void **state)
{
    (void)state;
    static struct vs_lockout l;
    uint64_t now = 1000 * SECOND;
    for (int i = 0; i < 4; i++, now += SECOND) {
        assert_int_equal(vs_lockout_left(&l, 7, now), 0);
        assert_false(vs_lockout_wrong(&l, 7, now));
    }
    assert_true(vs_lockout_wrong(&l, 7, now));
    assert_int_equal(vs_lockout_left(&l, 7, now), 30 * SECOND);
    assert_int_equal(vs_lockout_left(&l, 8, now), 0);                  /* others notice nothing */
    assert_false(vs_lockout_wrong(&l, 7, now + SECOND));               /* nor does it take longer */
    assert_int_equal(vs_lockout_left(&l, 7, now + 29 * SECOND), SECOND);
    now += 30 * SECOND;
    assert_int_equal(vs_lockout_left(&l, 7, now), 0);
    for (int i = 0; i < 20; i++, now += 15 * SECOND + 1)               /* never five within a minute */
        assert_false(vs_lockout_wrong(&l, 7, now));
}

/* Who is locked out stays so, however many others try. */
static void test_the_table_is_small(void **state)
{
    (void)state;
    static struct vs_lockout l;
    uint64_t now = 1000 * SECOND;
    for (int i = 0; i < VS_LOCKOUT_TRIES; i++)
        vs_lockout_wrong(&l, 1, now);
    for (uint64_t who = 2; who < 5000; who++)
        assert_false(vs_lockout_wrong(&l, who, now + who));
    assert_true(vs_lockout_left(&l, 1, now + 5000) > 0);
    assert_int_equal(l.n_used, VS_LOCKOUT_ENTRIES);
}

static uint64_t chance(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + 1442695040888963407;
    return *state >> 33;
}

/* Who asks as often as he may gets his rate, to the token, whatever his requests turn out to take; and may come again just when he
 * was told. */
static void test_a_rate_is_kept(void **state)
{
    (void)state;
    uint64_t random = 7, now = 5000 * SECOND, begin = now, wait, taken = 0, largest = 0;
    struct vs_account a = { .limits = { .tokens_per_minute = 6000 } };
    for (unsigned refused = 0; now < begin + 600 * SECOND;) {
        uint64_t prompt = 1 + chance(&random) % 40, real = 1 + chance(&random) % 90;
        if (vs_account_check(&a, now, prompt, &wait) == VS_LIMIT_TOKENS) {
            uint64_t again;
            assert_true(wait > 0);
            assert_int_equal(vs_account_check(&a, now + wait - 1, prompt, &again), VS_LIMIT_TOKENS);
            assert_int_equal(again, 1);
            now += wait;
            refused++;
            assert_int_equal(vs_account_check(&a, now, prompt, &again), VS_LIMIT_NONE);
            continue;
        }
        vs_account_begin(&a, now, prompt);
        vs_account_grow(&a, 3);
        vs_account_end(&a, now, prompt, 3, real);
        taken += real;
        largest = real > largest ? real : largest;
    }
    uint64_t minutes = 10, holds = 1000;
    assert_true(taken >= 6000 * minutes + holds - largest && taken <= 6000 * minutes + holds + largest);
    assert_int_equal(a.in_flight, 0);
    assert_int_equal(a.kv_tokens, 0);
}

static void test_what_is_at_a_time(void **state)
{
    (void)state;
    struct vs_account a = { .limits = { .in_flight = 2, .kv_tokens = 100 } };
    uint64_t wait;
    assert_int_equal(vs_account_check(&a, 1, 101, &wait), VS_LIMIT_KV);
    vs_account_begin(&a, 1, 40);
    vs_account_grow(&a, 1);
    assert_int_equal(vs_account_check(&a, 1, 60, &wait), VS_LIMIT_KV);
    assert_int_equal(vs_account_check(&a, 1, 59, &wait), VS_LIMIT_NONE);
    vs_account_begin(&a, 1, 10);
    assert_int_equal(vs_account_check(&a, 1, 1, &wait), VS_LIMIT_IN_FLIGHT);
    assert_int_equal(wait, 0);
    vs_account_end(&a, 1, 40, 1, 41);
    assert_int_equal(vs_account_check(&a, 1, 90, &wait), VS_LIMIT_NONE);
    assert_int_equal(vs_account_check(&a, 1, 91, &wait), VS_LIMIT_KV);
}

/* Requests a minute: ten seconds' worth at once, then steadily; at least one. */
static void test_requests(void **state)
{
    (void)state;
    static const struct { uint64_t rate, at_once; } cases[] = { { 60, 10 }, { 600, 100 }, { 1, 1 }, { 6, 1 } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct vs_account a = { .limits = { .requests_per_minute = cases[i].rate } };
        uint64_t now = 100 * SECOND, wait, n = 0;
        for (; vs_account_check(&a, now, 0, &wait) == VS_LIMIT_NONE; n++)
            vs_account_begin(&a, now, 0);
        assert_int_equal(n, cases[i].at_once);
        for (uint64_t k = 0; k < 3 * cases[i].rate; k++) {      /* three minutes more */
            assert_int_equal(vs_account_check(&a, now, 0, &wait), VS_LIMIT_REQUESTS);
            now += wait;
            vs_account_begin(&a, now, 0);
        }
        assert_true(now >= 100 * SECOND + 180 * SECOND - 60 * SECOND / cases[i].rate - 1000 && now <= 281 * SECOND);
    }
}

/* Another rate does not forget what was used: the debt is the same number of tokens. */
static void test_limits_change(void **state)
{
    (void)state;
    struct vs_account a = { .limits = { .tokens_per_minute = 600 } };
    const struct vs_limits twice = { .tokens_per_minute = 1200 }, none = { 0 };
    uint64_t now = 100 * SECOND, wait;
    vs_account_begin(&a, now, 700);                             /* holds 100: a debt of 600, a minute's worth */
    assert_int_equal(vs_account_check(&a, now, 1, &wait), VS_LIMIT_TOKENS);
    assert_int_equal(wait, 60 * SECOND + SECOND / 10);
    vs_account_limit(&a, now, &twice);                          /* holds 200: 500 at 20 a second */
    assert_int_equal(vs_account_check(&a, now, 1, &wait), VS_LIMIT_TOKENS);
    assert_int_equal(wait, 25 * SECOND + SECOND / 20);
    vs_account_limit(&a, now, &none);
    assert_int_equal(vs_account_check(&a, now, 1, &wait), VS_LIMIT_NONE);
    vs_account_limit(&a, now, &twice);                          /* nor does it when there was none for a moment */
    assert_int_equal(vs_account_check(&a, now, 1, &wait), VS_LIMIT_TOKENS);
    now += 3600 * SECOND;
    assert_int_equal(vs_account_check(&a, now, 1, &wait), VS_LIMIT_NONE);
}

/* The largest numbers that may come: no overflow, only a long wait. */
static void test_large_numbers(void **state)
{
    (void)state;
    struct vs_account a = { .limits = { .tokens_per_minute = 1, .requests_per_minute = UINT64_C(1) << 40 } };
    uint64_t wait, now = 100 * SECOND;
    for (int i = 0; i < 5; i++) {
        vs_account_begin(&a, now, UINT64_MAX / 4);
        assert_int_equal(vs_account_check(&a, now, 1, &wait), VS_LIMIT_TOKENS);
        assert_true(wait > 0 && wait < UINT64_C(1) << 63);
        vs_account_end(&a, now, UINT64_MAX / 4, 0, 0);
        assert_int_equal(vs_account_check(&a, now, 1, &wait), VS_LIMIT_NONE);
    }
}

static void test_times(void **state)
{
    (void)state;
    static const struct { const char *text; uint64_t seconds; } good[] = {
        { "1s", 1 }, { "90s", 90 }, { "30m", 1800 }, { "12h", 43200 }, { "30d", 2592000 }, { "36500d", 3153600000 },
    };
    static const char *const bad[] = { "", "1", "s", "0s", "-1s", "1.5h", "1 h", "1hh", "36501d", "99999999999999999999s", "1w" };
    uint64_t seconds;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_true(vs_duration_parse(good[i].text, &seconds));
        assert_int_equal(seconds, good[i].seconds);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(vs_duration_parse(bad[i], &seconds));
}

static void test_equal(void **state)
{
    (void)state;
    uint8_t a[33], b[33];
    for (unsigned i = 0; i < sizeof a; i++)
        a[i] = b[i] = (uint8_t)(i * 37);
    for (size_t n = 0; n <= sizeof a; n++)
        assert_true(vs_bytes_are_equal(a, b, n));
    for (size_t i = 0; i < sizeof a; i++)
        for (unsigned bit = 0; bit < 8; bit++) {
            b[i] ^= (uint8_t)(1u << bit);
            assert_false(vs_bytes_are_equal(a, b, sizeof a));
            assert_true(vs_bytes_are_equal(a, b, i));
            b[i] ^= (uint8_t)(1u << bit);
        }
}

/* ---- the time of a comparison ---- */

enum { SAMPLES = 200000, CALLS = 64 };

typedef bool equal_fn(const void *a, const void *b, size_t n);

/* What it must not be: the control, which the test has to find out. */
static bool first_difference_ends(const void *a, const void *b, size_t n)
{
    const volatile uint8_t *x = a, *y = b;
    for (size_t i = 0; i < n; i++)
        if (x[i] != y[i])
            return false;
    return true;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Welch's t between digests that differ at their first byte, and at their last: drawn by chance, one after the other, so that both
 * meet the same noise. The slowest tenth, which an interrupt or another process made, is left out. */
static double t_of(equal_fn *are_equal)
{
    static double time[2][SAMPLES];
    uint8_t digest[32], unlike[2][32];
    uint64_t random = 1;
    size_t n[2] = { 0 };
    double mean[2] = { 0 }, variance[2] = { 0 };
    unsigned sum = 0;
    for (size_t i = 0; i < sizeof digest; i++)
        digest[i] = unlike[0][i] = unlike[1][i] = (uint8_t)(i * 73);
    unlike[0][0] ^= 1;
    unlike[1][31] ^= 1;
    for (size_t i = 0; i < SAMPLES; i++) {
        unsigned class = chance(&random) & 1;
        uint64_t begin = vs_clock_ns();
        for (int k = 0; k < CALLS; k++)
            sum += are_equal(digest, unlike[class], sizeof digest);
        time[class][n[class]++] = (double)(vs_clock_ns() - begin);
    }
    assert_int_equal(sum, 0);           /* they are unlike, and the calls are not left out */
    for (int c = 0; c < 2; c++) {
        qsort(time[c], n[c], sizeof **time, by_size);
        n[c] = n[c] / 10 * 9;
        for (size_t i = 0; i < n[c]; i++)
            mean[c] += time[c][i] / (double)n[c];
        for (size_t i = 0; i < n[c]; i++)
            variance[c] += (time[c][i] - mean[c]) * (time[c][i] - mean[c]) / (double)(n[c] - 1);
    }
    return fabs(mean[0] - mean[1]) / sqrt(variance[0] / (double)n[0] + variance[1] / (double)n[1]);
}

/* One run in three may be unlucky: the machine changes its clock between the classes. Something that leaks shows in all. */
static int test_time(void)
{
    double best = 1e9, control = 1e9;
    for (int i = 0; i < 3; i++) {
        double t = t_of(vs_bytes_are_equal), c = t_of(first_difference_ends);
        printf("t %.2f; of one that leaks %.2f\n", t, c);
        best = t < best ? t : best;
        control = c < control ? c : control;
    }
    return best < 4.5 && control > 10 ? 0 : 1;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "time") == 0)
        return test_time();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_key_is_known_by_its_form), cmocka_unit_test(test_all_of_it_is_chance),
        cmocka_unit_test(test_a_file_is_read_as_it_was_written), cmocka_unit_test(test_files_that_are_none),
        cmocka_unit_test(test_roles), cmocka_unit_test(test_a_key_finds_its_name),
        cmocka_unit_test(test_five_wrong_ones_lock_out), cmocka_unit_test(test_the_table_is_small),
        cmocka_unit_test(test_a_rate_is_kept), cmocka_unit_test(test_what_is_at_a_time),
        cmocka_unit_test(test_requests), cmocka_unit_test(test_limits_change), cmocka_unit_test(test_large_numbers),
        cmocka_unit_test(test_times), cmocka_unit_test(test_equal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
