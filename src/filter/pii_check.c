/* filter/pii_check.c - see pii_check.h */
#include "filter/pii_check.h"

#include "base/sha256.h"

#include <stdlib.h>
#include <string.h>

static unsigned value(char digit)
{
    return (unsigned)(digit - '0');
}

static unsigned number(const char *digits, size_t n)
{
    unsigned x = 0;
    for (size_t i = 0; i < n; i++)
        x = x * 10 + value(digits[i]);
    return x;
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }

/* Sum of digit times weight; the weights repeat. */
static unsigned weighted(const char *digits, size_t n, const char *weights)
{
    size_t n_weights = strlen(weights);
    unsigned sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += value(digits[i]) * value(weights[i % n_weights]);
    return sum;
}

static bool is_one_digit(const char *digits, size_t n)
{
    for (size_t i = 1; i < n; i++)
        if (digits[i] != digits[0])
            return false;
    return true;
}

bool vs_check_luhn(const char *digits, size_t n)
{
    unsigned sum = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned d = value(digits[n - 1 - i]);
        sum += i % 2 ? 2 * d - (d > 4 ? 9 : 0) : d;
    }
    return n > 1 && sum % 10 == 0;
}

/* ---- cards ---- */

static const struct {
    uint32_t first, last;                /* the first six digits */
    uint32_t lengths;                    /* bit n: n digits */
    bool is_common;
} issuers[] = {
#define LENGTHS(a, b) ((2u << (b)) - (1u << (a)))
    { 400000, 499999, 1u << 13 | 1u << 16 | 1u << 19, true },      /* Visa */
    { 510000, 559999, 1u << 16, true }, { 222100, 272099, 1u << 16, true },        /* Mastercard */
    { 340000, 349999, 1u << 15, true }, { 370000, 379999, 1u << 15, true },        /* American Express */
    { 601100, 601199, LENGTHS(16, 19), true }, { 644000, 659999, LENGTHS(16, 19), true },  /* Discover */
    { 622126, 622925, LENGTHS(16, 19), true }, { 352800, 358999, LENGTHS(16, 19), true },  /* UnionPay with Discover; JCB */
    { 300000, 305999, 1u << 14 | 1u << 16, true }, { 309500, 309599, 1u << 14 | 1u << 16, true },  /* Diners Club */
    { 360000, 369999, LENGTHS(14, 19), true }, { 380000, 399999, 1u << 14 | 1u << 16, true },
    { 620000, 629999, LENGTHS(16, 19), true },                     /* UnionPay */
    { 220000, 220499, LENGTHS(16, 19), true },                     /* Mir */
    { 100000, 199999, 1u << 15, false },                           /* UATP */
    { 213100, 213199, 1u << 15, false },                           /* JCB, as it was; also 1800 */
    { 350000, 352799, 1u << 16, false }, { 359000, 359999, 1u << 16, false },
    { 500000, 509999, LENGTHS(12, 19), false }, { 560000, 589999, LENGTHS(12, 19), false },        /* Maestro, Elo, Verve */
    { 600000, 639999, LENGTHS(12, 19), false }, { 660000, 699999, LENGTHS(12, 19), false },
    { 810000, 819999, LENGTHS(16, 19), false }, { 979200, 979299, 1u << 16, false },               /* UnionPay, RuPay; Troy */
#undef LENGTHS
};

bool vs_check_card(const char *digits, size_t n, bool *ret_is_common)
{
    if (n < 12 || n > 19 || is_one_digit(digits, n) || !vs_check_luhn(digits, n))
        return false;
    uint32_t first = number(digits, 6);
    for (size_t i = 0; i < sizeof issuers / sizeof *issuers; i++)
        if (first >= issuers[i].first && first <= issuers[i].last && issuers[i].lengths >> n & 1) {
            *ret_is_common = issuers[i].is_common;
            return true;
        }
    return false;
}

/* ---- United States ---- */

bool vs_check_ssn(const char *digits)
{
    unsigned area = number(digits, 3), group = number(digits + 3, 2), serial = number(digits + 5, 4);
    if (!area || area == 666 || area > 899 || !group || !serial)
        return false;
    return memcmp(digits, "078051120", 9) != 0 && memcmp(digits, "219099999", 9) != 0 && !is_one_digit(digits, 9);
}

bool vs_check_itin(const char *digits)
{
    unsigned group = number(digits + 3, 2);
    return digits[0] == '9' && ((group >= 50 && group <= 65) || (group >= 70 && group <= 88) || (group >= 90 && group <= 92) ||
                                (group >= 94 && group <= 99));
}

bool vs_check_routing(const char *digits)
{
    unsigned first = number(digits, 2);
    bool is_given = first <= 12 || (first >= 21 && first <= 32) || (first >= 61 && first <= 72) || first == 80;
    return is_given && !is_one_digit(digits, 9) && weighted(digits, 9, "371") % 10 == 0;
}

bool vs_check_npi(const char *digits)
{
    char whole[16] = "80840";
    memcpy(whole + 5, digits, 10);
    return (digits[0] == '1' || digits[0] == '2') && vs_check_luhn(whole, 15);
}

bool vs_check_mbi(const char *s)
{
    static const char shape[] = "CANNANNAANN";         /* position 3 and 6 may be a letter or a digit */
    for (size_t i = 0; i < 11; i++) {
        bool is_letter = is_upper(s[i]) && !strchr("SLOIBZ", s[i]);
        bool is_both = i == 2 || i == 5;
        if (i == 0 ? !(s[i] >= '1' && s[i] <= '9') : is_both ? !is_letter && !is_digit(s[i])
            : shape[i] == 'A' ? !is_letter : !is_digit(s[i]))
            return false;
    }
    return true;
}

bool vs_check_dea(const char *s)
{
    const char *d = s + 2;
    unsigned sum = value(d[0]) + value(d[2]) + value(d[4]) + 2 * (value(d[1]) + value(d[3]) + value(d[5]));
    return strchr("ABCDEFGHJKLMPRSTUX", s[0]) && (is_upper(s[1]) || s[1] == '9') && sum % 10 == value(d[6]);
}

/* ---- IBAN ---- */

static const char iban_lengths[] =
    "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 ES24 FI18 "
    "FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 "
    "LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 "
    "SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30 ";

size_t vs_check_iban_length(char first, char second)
{
    for (const char *row = iban_lengths; *row; row += 5)
        if (row[0] == first && row[1] == second)
            return number(row + 2, 2);
    return 0;
}

bool vs_check_iban(const char *iban, size_t n)
{
    unsigned rest = 0;
    if (n < 15 || !is_digit(iban[2]) || !is_digit(iban[3]))
        return false;
    for (size_t i = 0; i < n; i++) {
        char c = iban[(i + 4) % n];
        if (is_digit(c))
            rest = (rest * 10 + value(c)) % 97;
        else if (is_upper(c))
            rest = (rest * 100 + (unsigned)(c - 'A') + 10) % 97;
        else
            return false;
    }
    return rest == 1;
}

/* ---- others ---- */

bool vs_check_verhoeff(const char *digits, size_t n)
{
    /* The dihedral group D5: times(a, b), and the permutation 1 5 7 6 2 8 3 0 9 4, applied as often as the digit's place says. */
    static const uint8_t permutation[10] = { 1, 5, 7, 6, 2, 8, 3, 0, 9, 4 };
    unsigned check = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned b = value(digits[n - 1 - i]), a = check;
        for (size_t k = 0; k < i % 8; k++)
            b = permutation[b];
        check = a < 5 ? (b < 5 ? (a + b) % 5 : 5 + (a + b) % 5) : (b < 5 ? 5 + (a + 5 - b) % 5 : (a + 5 - b) % 5);
    }
    return check == 0;
}

bool vs_check_nhs(const char *digits)
{
    unsigned sum = 0;
    for (unsigned i = 0; i < 9; i++)
        sum += value(digits[i]) * (10 - i);
    unsigned check = (11 - sum % 11) % 11;
    return check < 10 && check == value(digits[9]) && !is_one_digit(digits, 10);
}

bool vs_check_mrz(const char *s, size_t n, char digit)
{
    static const unsigned weights[3] = { 7, 3, 1 };
    unsigned sum = 0;
    for (size_t i = 0; i < n; i++) {
        char c = s[i];
        unsigned v = is_digit(c) ? value(c) : is_upper(c) ? (unsigned)(c - 'A') + 10 : 0;
        sum += v * weights[i % 3];
    }
    return digit == '<' ? sum == 0 : is_digit(digit) && sum % 10 == value(digit);
}

bool vs_check_date(unsigned year, unsigned month, unsigned day)
{
    static const uint8_t days[12] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month >= 1 && month <= 12 && day >= 1 && day <= days[month - 1] + (unsigned)(month == 2 && is_leap);
}

bool vs_check_aadhaar(const char *digits)
{
    return digits[0] >= '2' && vs_check_verhoeff(digits, 12) && !is_one_digit(digits, 12);
}

bool vs_check_sin(const char *digits)
{
    return digits[0] != '0' && digits[0] != '8' && vs_check_luhn(digits, 9) && !is_one_digit(digits, 9);
}

static unsigned cpf_digit(const char *digits, unsigned n)
{
    unsigned sum = 0;
    for (unsigned i = 0; i < n; i++)
        sum += value(digits[i]) * (n + 1 - i);
    return sum * 10 % 11 % 10;
}

bool vs_check_cpf(const char *digits)
{
    return !is_one_digit(digits, 11) && cpf_digit(digits, 9) == value(digits[9]) && cpf_digit(digits, 10) == value(digits[10]);
}

bool vs_check_nif(const char *s, size_t n)
{
    static const char letters[] = "TRWAGMYFPDXBNJZSQVHLCKE";
    char digits[9];
    if (n != 9)
        return false;
    memcpy(digits, s, 8);
    if (s[0] >= 'X' && s[0] <= 'Z')
        digits[0] = (char)('0' + (s[0] - 'X'));
    for (int i = 0; i < 8; i++)
        if (!is_digit(digits[i]))
            return false;
    return letters[number(digits, 8) % 23] == s[8];
}

bool vs_check_codice(const char *s)
{
    static const uint8_t odd[26] = { 1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23 };
    unsigned sum = 0;
    for (int i = 0; i < 16; i++) {
        bool is_letter = i < 6 || i == 8 || i == 11 || i == 15;
        if (is_letter ? !is_upper(s[i]) : !is_digit(s[i]) && !strchr("LMNPQRSTUV", s[i]))
            return false;
        unsigned v = is_digit(s[i]) ? value(s[i]) : (unsigned)(s[i] - 'A');
        if (i < 15)
            sum += i % 2 ? v : odd[v];
    }
    return strchr("ABCDEHLMPRST", s[8]) && (unsigned)(s[15] - 'A') == sum % 26;
}

bool vs_check_pesel(const char *digits)
{
    static const unsigned centuries[5] = { 1900, 2000, 2100, 2200, 1800 };
    unsigned month = number(digits + 2, 2), sum = weighted(digits, 10, "1379");
    return (10 - sum % 10) % 10 == value(digits[10]) && vs_check_date(centuries[month / 20] + number(digits, 2), month % 20,
                                                                      number(digits + 4, 2));
}

bool vs_check_nir(const char *s, size_t n)
{
    uint64_t x = 0;
    unsigned month;
    if ((n != 13 && n != 15) || (s[0] != '1' && s[0] != '2'))
        return false;
    for (size_t i = 0; i < n; i++)
        if (!is_digit(s[i]) && !(i == 6 && s[5] == '2' && (s[6] == 'A' || s[6] == 'B')))
            return false;
    month = number(s + 3, 2);
    if (!((month >= 1 && month <= 12) || (month >= 20 && month <= 42) || month >= 50))
        return false;
    for (int i = 0; i < 13; i++)
        x = x * 10 + (is_digit(s[i]) ? value(s[i]) : 0);
    if (!is_digit(s[6]))                 /* Corsica: 2A counts as 19, 2B as 18 */
        x -= s[6] == 'A' ? UINT64_C(10000000) : UINT64_C(20000000);
    return n == 13 || 97 - x % 97 == number(s + 13, 2);
}

bool vs_check_bsn(const char *digits)
{
    unsigned sum = 0;
    for (unsigned i = 0; i < 8; i++)
        sum += value(digits[i]) * (9 - i);
    return (sum + 110 - value(digits[8])) % 11 == 0 && !is_one_digit(digits, 9);
}

bool vs_check_nordic(const char *digits, size_t n)
{
    if (n == 11) {                       /* Norway */
        unsigned first = 11 - weighted(digits, 9, "376189452") % 11, second = 11 - weighted(digits, 10, "5432765432") % 11;
        unsigned day = number(digits, 2);
        return first % 11 == value(digits[9]) && second % 11 == value(digits[10])
               && vs_check_date(2000, number(digits + 2, 2) % 40, day > 40 ? day - 40 : day);
    }
    unsigned day = number(digits + 4, 2);
    bool is_sweden = vs_check_luhn(digits, 10) && vs_check_date(2000, number(digits + 2, 2), day > 60 ? day - 60 : day);
    bool is_denmark = vs_check_date(2000, number(digits + 2, 2), number(digits, 2));
    return n == 10 && (is_sweden || is_denmark);
}

bool vs_check_hetu(const char *s)
{
    static const char letters[] = "0123456789ABCDEFHJKLMNPRSTUVWXY";
    char digits[9];
    memcpy(digits, s, 6);
    memcpy(digits + 6, s + 7, 3);
    for (int i = 0; i < 9; i++)
        if (!is_digit(digits[i]))
            return false;
    return strchr("+-ABCDEFYXWVU", s[6]) && vs_check_date(2000, number(digits + 2, 2), number(digits, 2))
           && letters[number(digits, 9) % 31] == s[10];
}

bool vs_check_rrn(const char *digits)
{
    unsigned sum = weighted(digits, 12, "234567892345");
    return vs_check_date(2000, number(digits + 2, 2), number(digits + 4, 2)) && digits[6] != '0' && digits[6] <= '8'
           && (11 - sum % 11) % 10 == value(digits[12]);
}

bool vs_check_china(const char *s)
{
    static const uint8_t weights[17] = { 7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2 };
    unsigned sum = 0;
    for (int i = 0; i < 17; i++) {
        if (!is_digit(s[i]))
            return false;
        sum += value(s[i]) * weights[i];
    }
    unsigned year = number(s + 6, 4);
    return "10X98765432"[sum % 11] == s[17] && year >= 1900 && year < 2040
           && vs_check_date(year, number(s + 10, 2), number(s + 12, 2));
}

bool vs_check_south(const char *digits)
{
    return vs_check_date(2000, number(digits + 2, 2), number(digits + 4, 2)) && digits[10] <= '2' && vs_check_luhn(digits, 13);
}

bool vs_check_turkey(const char *digits)
{
    unsigned odd = 0, even = 0, sum = 0;
    for (int i = 0; i < 9; i++)
        *(i % 2 ? &even : &odd) += value(digits[i]);
    for (int i = 0; i < 10; i++)
        sum += value(digits[i]);
    return digits[0] != '0' && (odd * 7 + 90 - even) % 10 == value(digits[9]) && sum % 10 == value(digits[10]);
}

bool vs_check_steuer(const char *digits)
{
    unsigned product = 10;               /* ISO 7064 mod 11, 10 */
    for (int i = 0; i < 10; i++) {
        unsigned sum = (value(digits[i]) + product) % 10;
        product = (sum ? sum : 10) * 2 % 11;
    }
    return digits[0] != '0' && (11 - product) % 10 == value(digits[10]) && !is_one_digit(digits, 10);
}

/* ---- wallets ---- */

bool vs_check_base58(const char *s, size_t n)
{
    static const char alphabet[] = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    uint8_t bytes[25] = { 0 }, sum[32];
    for (size_t i = 0; i < n; i++) {
        const char *at = s[i] ? strchr(alphabet, s[i]) : NULL;
        if (!at)
            return false;
        unsigned carry = (unsigned)(at - alphabet);
        for (int k = 24; k >= 0; k--) {
            carry += bytes[k] * 58u;
            bytes[k] = (uint8_t)carry;
            carry >>= 8;
        }
        if (carry)
            return false;
    }
    vs_sha256_of(bytes, 21, sum);
    vs_sha256_of(sum, 32, sum);
    return memcmp(sum, bytes + 21, 4) == 0;
}

static uint32_t bech32_step(uint32_t sum, unsigned v)
{
    static const uint32_t generator[5] = { 0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3 };
    uint32_t top = sum >> 25;
    sum = (sum & 0x1ffffff) << 5 ^ v;
    for (int i = 0; i < 5; i++)
        sum ^= top >> i & 1 ? generator[i] : 0;
    return sum;
}

bool vs_check_bech32(const char *s, size_t n)
{
    static const char alphabet[] = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    uint32_t sum = 1;
    size_t mark = 0;
    for (size_t i = 0; i < n; i++)
        if (s[i] == '1')
            mark = i;
    if (mark < 1 || mark + 7 > n)
        return false;
    for (size_t i = 0; i < mark; i++)
        sum = bech32_step(sum, (unsigned)s[i] >> 5);
    sum = bech32_step(sum, 0);
    for (size_t i = 0; i < mark; i++)
        sum = bech32_step(sum, (unsigned)s[i] & 31);
    for (size_t i = mark + 1; i < n; i++) {
        const char *at = s[i] ? strchr(alphabet, s[i]) : NULL;
        if (!at)
            return false;
        sum = bech32_step(sum, (unsigned)(at - alphabet));
    }
    return sum == 1 || sum == 0x2bc830a3;
}
