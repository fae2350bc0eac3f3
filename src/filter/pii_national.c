/* filter/pii_national.c - national identity and tax numbers, and wallets: two types that are off unless a policy names them.
 *
 * Each has a check, and where the check alone would take one number in ten, a label near it. Sources: see pii_check.h.
 */
#include "filter/pii_check.h"
#include "filter/pii_match.h"

#include <string.h>

/* Letters and digits with single separators, as capital letters: how many; *ret_end where they end, *ret_mark the separators seen.
 * */
static size_t compact(struct vs_pii_at *a, char s[40], size_t most, const char *separators, size_t *ret_end)
{
    size_t n = 0, i = a->p;
    for (uint8_t c; n < most; i++) {
        c = vs_pii_byte(a, i);
        if (vs_is_alnum(c))
            s[n++] = (char)(vs_is_lower(c) ? c & ~32 : c);
        else if (!c || !strchr(separators, c) || !vs_is_alnum(vs_pii_byte(a, i + 1)))
            break;
    }
    s[n] = 0;
    *ret_end = i;
    return n;
}

static bool is_cpf(const char *s, size_t n) { (void)n; return vs_check_cpf(s); }
static bool is_aadhaar(const char *s, size_t n) { (void)n; return vs_check_aadhaar(s); }
static bool is_sin(const char *s, size_t n) { (void)n; return vs_check_sin(s); }
static bool is_pesel(const char *s, size_t n) { (void)n; return vs_check_pesel(s); }
static bool is_bsn(const char *s, size_t n) { (void)n; return vs_check_bsn(s); }
static bool is_rrn(const char *s, size_t n) { (void)n; return vs_check_rrn(s); }
static bool is_south(const char *s, size_t n) { (void)n; return vs_check_south(s); }
static bool is_turkey(const char *s, size_t n) { (void)n; return vs_check_turkey(s); }
static bool is_steuer(const char *s, size_t n) { (void)n; return vs_check_steuer(s); }
static bool is_china(const char *s, size_t n) { (void)n; return vs_check_china(s); }
static bool is_codice(const char *s, size_t n) { (void)n; return vs_check_codice(s); }

/* United Kingdom: two letters, six digits, A to D. */
static bool is_nino(const char *s, size_t n)
{
    (void)n;
    if (!strchr("ABCEGHJKLMNOPRSTWXYZ", s[0]) || !strchr("ABCEGHJKLMNPRSTWXYZ", s[1]) || s[8] < 'A' || s[8] > 'D')
        return false;
    for (int i = 2; i < 8; i++)
        if (s[i] < '0' || s[i] > '9')
            return false;
    static const char never[] = "BG GB NK KN TN NT ZZ ";
    char first[4] = { s[0], s[1], ' ', 0 };
    return !strstr(never, first);
}

/* India's tax number: five letters, four digits, a letter; the fourth letter says whose. */
static bool is_pan(const char *s, size_t n)
{
    (void)n;
    for (int i = 0; i < 10; i++)
        if (i < 5 || i == 9 ? s[i] < 'A' : s[i] > '9')
            return false;
    return strchr("ABCFGHLJPTK", s[3]) != NULL;
}

enum { DIGITS_ONLY = 1, ALONE = 2 };     /* its form is enough, without a label, when it is grouped as it should be */

static const struct kind {
    const char *rule;
    uint8_t length, flags;
    const char *separators;
    uint64_t classes;
    bool (*is)(const char *s, size_t n);
    const char *groups;                  /* the lengths of its groups when it stands alone; "": as one */
} kinds[] = {
    { "cpf", 11, DIGITS_ONLY | ALONE, ".-", VS_NEAR(CPF) | VS_NEAR(NATIONAL) | VS_NEAR(TAX), is_cpf, "3332" },
    { "aadhaar", 12, DIGITS_ONLY | ALONE, " -", VS_NEAR(AADHAAR) | VS_NEAR(NATIONAL), is_aadhaar, "444" },
    { "sin", 9, DIGITS_ONLY, " -", VS_NEAR(SIN) | VS_NEAR(SOCIAL), is_sin, NULL },
    { "nif", 9, ALONE, " -", VS_NEAR(DNI) | VS_NEAR(NATIONAL), vs_check_nif, "" },
    { "codice-fiscale", 16, ALONE, " ", VS_NEAR(CODICE), is_codice, "" },
    { "pesel", 11, DIGITS_ONLY, "", VS_NEAR(PESEL) | VS_NEAR(NATIONAL), is_pesel, NULL },
    { "nir", 15, ALONE, " ", VS_NEAR(NIR) | VS_NEAR(SOCIAL) | VS_NEAR(NATIONAL), vs_check_nir, "" },
    { "nir", 13, 0, " ", VS_NEAR(NIR), vs_check_nir, NULL },
    { "bsn", 9, DIGITS_ONLY, ". ", VS_NEAR(BSN), is_bsn, NULL },
    { "nordic", 11, DIGITS_ONLY, " -", VS_NEAR(NORDIC) | VS_NEAR(NATIONAL), vs_check_nordic, NULL },
    { "nordic", 10, DIGITS_ONLY, "-+", VS_NEAR(NORDIC) | VS_NEAR(NATIONAL), vs_check_nordic, NULL },
    { "nino", 9, ALONE, " -", VS_NEAR(NINO) | VS_NEAR(NATIONAL), is_nino, "" },
    { "rrn", 13, DIGITS_ONLY | ALONE, "-", VS_NEAR(RRN) | VS_NEAR(NATIONAL), is_rrn, "67" },
    { "china", 18, ALONE, "", VS_NEAR(CHINA) | VS_NEAR(NATIONAL), is_china, "" },
    { "south-africa", 13, DIGITS_ONLY, " ", VS_NEAR(SOUTH) | VS_NEAR(NATIONAL), is_south, NULL },
    { "turkey", 11, DIGITS_ONLY, "", VS_NEAR(TURKEY) | VS_NEAR(NATIONAL), is_turkey, NULL },
    { "steuer-id", 11, DIGITS_ONLY, " ", VS_NEAR(TAX) | VS_NEAR(NATIONAL), is_steuer, NULL },
    { "pan", 10, 0, "", VS_NEAR(TAX) | VS_NEAR(CARD), is_pan, NULL },
};

/* Whether text[p, end) is grouped so: "3332" with any separators between; "" is everything. */
static bool is_grouped(struct vs_pii_at *a, size_t end, const char *groups)
{
    size_t n = 0;
    if (!groups || !*groups)
        return groups;
    for (size_t i = a->p; i < end; i++) {
        if (vs_is_alnum(vs_pii_byte(a, i)))
            n++;
        else if (!*groups || n != (size_t)(*groups++ - '0'))
            return false;
        else
            n = 0;
    }
    return *groups && n == (size_t)(*groups - '0') && !groups[1];
}

static bool hetu(struct vs_pii_at *a)
{
    char s[12];
    for (size_t i = 0; i < 11; i++)
        s[i] = (char)vs_pii_byte(a, a->p + i);
    s[11] = 0;
    if (strlen(s) < 11 || !vs_check_hetu(s) || !vs_pii_ends(a, a->p + 11))
        return false;
    return vs_pii_found(a, a->p + 11, VS_PII_NATIONAL_ID, "hetu", 920);
}

/* Whether there are four digits in what the first look reads: most words have none. Only where all of that is there. */
static bool may_be_national(const struct vs_pii_at *a)
{
    enum { READ = 40, LEAST = 4 };       /* 19 characters, a separator each, and one behind */
    unsigned digits = 0;
    if (a->n - a->p < READ)
        return true;
    for (size_t i = a->p; i < a->p + READ; i++)
        digits += vs_is_digit((uint8_t)a->text[i]);
    return digits >= LEAST;
}

static bool national(struct vs_pii_at *a)
{
    char s[40];
    size_t n_digits = 0, end;
    size_t n = compact(a, s, 19, " -.+", &end);
    for (size_t i = 0; i < n; i++)
        n_digits += s[i] >= '0' && s[i] <= '9';
    if (n < 9 || n_digits < 4)
        return false;
    if (hetu(a))
        return true;
    size_t first = 0;               /* the first group, in one piece */
    while (vs_is_alnum(vs_pii_byte(a, a->p + first)))
        first++;
    bool is_nir = first == 1;
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        const struct kind *kind = &kinds[k];
        if (is_nir ? kind->is != vs_check_nir && kind->is != is_steuer : first < kind->length && !*kind->separators)
            continue;
        n = compact(a, s, kind->length, kind->separators, &end);
        bool is_form = n == kind->length && (!(kind->flags & DIGITS_ONLY) || strspn(s, "0123456789") == n);
        if (!is_form || !kind->is(s, n) || !vs_pii_ends(a, end))
            continue;
        bool is_part = (vs_pii_before(a, 1) == ' ' && vs_is_digit(vs_pii_before(a, 2))) ||
                       (vs_pii_byte(a, end) == ' ' && vs_is_digit(vs_pii_byte(a, end + 1)));
        bool is_alone = kind->flags & ALONE && !is_part && is_grouped(a, end, kind->groups) && vs_pii_near(a, VS_NEAR(OTHER)) > 2
                        && vs_is_upper((uint8_t)(vs_is_alpha(vs_pii_byte(a, a->p)) ? vs_pii_byte(a, a->p) : 'A'));
        unsigned near = vs_pii_near(a, kind->classes);
        if (near < 6 || is_alone || vs_pii_after(a, end) & kind->classes)
            return vs_pii_found(a, end, VS_PII_NATIONAL_ID, kind->rule, near < 6 ? 940 : 860);
    }
    return false;
}

/* ---- wallets ---- */

static bool wallet(struct vs_pii_at *a)
{
    char s[100];
    size_t n = 0;
    for (uint8_t c; n < 95 && vs_is_alnum(c = vs_pii_byte(a, a->p + n)); n++)
        s[n] = (char)c;
    s[n] = 0;
    if (n < 26 || n > 90)
        return false;
    bool is_ether = n == 42 && s[0] == '0' && s[1] == 'x' && strspn(s + 2, "0123456789abcdefABCDEF") == 40;
    for (size_t i = 0; s[0] == 'B' && s[1] == 'C' && i < n; i++)
        s[i] = (char)(s[i] | 32);        /* bech32 may be in capitals */
    bool is_prefix = strncmp(s, "bc1", 3) == 0 || strncmp(s, "tb1", 3) == 0 || strncmp(s, "ltc1", 4) == 0;
    bool is_bech32 = is_prefix && vs_check_bech32(s, n);
    bool is_base58 = n <= 35 && strchr("132mnLMDT", s[0]) && vs_check_base58(s, n);
    const char *rule = is_ether ? "ethereum" : is_bech32 ? "bech32" : "base58";
    return (is_ether || is_bech32 || is_base58) && vs_pii_found(a, a->p + n, VS_PII_CRYPTO_ADDRESS, rule, 960);
}

bool vs_pii_national(struct vs_pii_at *a)
{
    if (!vs_pii_begins(a))
        return false;
    if (vs_pii_wants(a, VS_PII_CRYPTO_ADDRESS) && wallet(a))
        return true;
    return vs_pii_wants(a, VS_PII_NATIONAL_ID) && may_be_national(a) && national(a);
}
