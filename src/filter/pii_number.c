/* filter/pii_number.c - cards, social security numbers, IBANs, and the numbers that only a label tells from any other: accounts,
 * passports, licences, medical records.
 *
 * Sources: security notes of the project; ISO 7812, ISO 13616; the formats that passport and licence offices publish.
 */
#include "filter/pii_check.h"
#include "filter/pii_match.h"

#include <string.h>

/* ---- cards ---- */

static bool is_card_shape(const struct vs_pii_groups *g, unsigned n)
{
    unsigned digits = 0;
    for (unsigned k = 0; k < n; k++) {
        digits += g->length[k];
        if (k && (g->separator[k] != g->separator[1] || (g->separator[k] != ' ' && g->separator[k] != '-')))
            return false;
    }
    if (digits < 12 || digits > 19)
        return false;
    if (n == 1)
        return true;
    if (n == 3)                          /* American Express, Diners Club; 4-4-4 has only 12 digits */
        return g->length[0] == 4 && g->length[1] == 6 && (g->length[2] == 5 || g->length[2] == 4);
    for (unsigned k = 0; k + 1 < n; k++)
        if (g->length[k] != 4)
            return false;
    return n >= 4 && g->length[n - 1] <= 4;
}

bool vs_pii_card(struct vs_pii_at *a, const struct vs_pii_groups *g)
{
    bool is_common;
    if (!vs_pii_begins(a))
        return false;
    for (unsigned n = g->n; n; n--) {
        unsigned digits = 0;
        for (unsigned k = 0; k < n; k++)
            digits += g->length[k];
        if (!is_card_shape(g, n) || !vs_check_card(g->digits, digits, &is_common) || !vs_pii_ends(a, g->end[n - 1]))
            continue;
        unsigned card = vs_pii_near(a, VS_NEAR(CARD)), other = vs_pii_near(a, VS_NEAR(OTHER));
        if (card > 8 && n > 1 && vs_pii_is_between(a, g->end[n - 1]))
            return false;                /* of an IBAN, say */
        bool goes_on = vs_pii_before(a, 1) == ' ' && vs_is_digit(vs_pii_before(a, 2)) && vs_is_digit(vs_pii_before(a, 3))
            && vs_is_digit(vs_pii_before(a, 4));         /* a smaller number counts something else */
        if (goes_on && card > 4 && digits != 16)
            return false;                /* the end of a longer number in groups */
        if ((other < 3 && card > other + 3) || ((!is_common || digits < 14) && n < 4 && card > 6))
            return false;
        return vs_pii_found(a, g->end[n - 1], VS_PII_CREDIT_CARD, "card", card < 9 ? 990 : 900);
    }
    return false;
}

/* ---- SSN ---- */

static unsigned near_ssn(struct vs_pii_at *a)
{
    unsigned near = vs_pii_near(a, VS_NEAR(SSN)), social = vs_pii_near(a, VS_NEAR(SOCIAL)), tax = vs_pii_near(a, VS_NEAR(TAX));
    unsigned both = vs_pii_near(a, VS_NEAR(SECURITY)) < social ? social - 1 : social == 0 ? 0 : VS_FAR;
    near = both < near ? both : near;
    return tax < near && vs_pii_near(a, VS_NEAR(NUMBER)) < 3 ? tax : near;
}

static unsigned record(struct vs_pii_at *a, uint64_t classes);

bool vs_pii_ssn(struct vs_pii_at *a, const struct vs_pii_groups *g)
{
    if (g->n < 3 || g->length[0] != 3 || g->length[1] != 2 || g->length[2] != 4 || g->separator[1] != g->separator[2])
        return false;
    char separator = g->separator[1];
    if (separator == '/' || !(vs_check_ssn(g->digits) || vs_check_itin(g->digits)))
        return false;
    unsigned near = near_ssn(a);
    if (!(vs_pii_begins(a) || near == 0) || !vs_pii_ends(a, g->end[2]))
        return false;
    if (near > 5 && (separator != '-' || vs_pii_near(a, VS_NEAR(OTHER)) < 3))
        return false;
    if (near > 2 && record(a, VS_NEAR(MRN)) < 2)
        return false;                    /* "MRN: 483-20-1934": hospitals group their numbers so too */
    return vs_pii_found(a, g->end[2], VS_PII_SSN, vs_check_ssn(g->digits) ? "ssn" : "itin", near < 6 ? 980 : 850);
}

/* ---- IBAN ---- */

bool vs_pii_iban(struct vs_pii_at *a)
{
    char iban[40];
    size_t n = 0, i = a->p;
    uint8_t c = vs_pii_byte(a, i);
    bool is_small = vs_is_lower(c);
    size_t check = i + 2 + (vs_pii_byte(a, i + 2) == ' ');       /* "NO 93 8601 1117 947" too */
    if (!vs_is_alpha(vs_pii_byte(a, i + 1)) || !vs_is_digit(vs_pii_byte(a, check)) || !vs_is_digit(vs_pii_byte(a, check + 1)))
        return false;
    if (vs_is_word(vs_pii_before(a, 1)) || (is_small && vs_pii_near(a, VS_NEAR(IBAN)) > 2))
        return false;
    size_t length = vs_check_iban_length((char)(c & ~32), (char)(vs_pii_byte(a, i + 1) & ~32));
    for (; n < length; i++) {
        c = vs_pii_byte(a, i);
        if (vs_is_alnum(c))
            iban[n++] = (char)(vs_is_lower(c) ? c & ~32 : c);
        else if (!(c == ' ' || c == '-' || c == '.') || !vs_is_alnum(vs_pii_byte(a, i + 1)) || (n + 1 == length
                                                                                                && vs_check_iban(iban, n)))
            break;
    }
    if (!length || n + 1 < length || (n < length && vs_pii_near(a, VS_NEAR(IBAN)) > 2) || !vs_check_iban(iban, n) ||
        vs_is_word(vs_pii_byte(a, i)))
        return false;
    return vs_pii_found(a, i, VS_PII_BANK_ACCOUNT, "iban", 990);
}

/* ---- what a label tells ---- */

enum { TOKEN = 24, PARTS = 8 };

struct token {                           /* letters and digits, in parts with one separator between two */
    char s[TOKEN + 1];                   /* capital letters */
    unsigned n_parts;
    size_t end[PARTS];
    uint8_t n[PARTS], n_digits[PARTS];   /* up to the end of each part */
    char separator[PARTS];               /* before each */
};

static bool is_next_part(struct vs_pii_at *a, size_t i, char separator)
{
    unsigned n = 0, n_digits = 0;
    for (uint8_t c; n < 18 && vs_is_alnum(c = vs_pii_byte(a, i)); i++, n++)
        n_digits += vs_is_digit(c);
    return n && (separator == '-' ? n_digits > 0 || n < 3 : separator == '.' ? n_digits == n : n_digits == n && n > 1);
}

static bool read_token(struct vs_pii_at *a, struct token *t)
{
    size_t i = a->p;
    unsigned n = 0, n_digits = 0;
    char separator = 0;
    t->n_parts = 0;
    while (t->n_parts < PARTS) {
        size_t start = i;
        for (uint8_t c; vs_is_alnum(c = vs_pii_byte(a, i)); i++) {
            if (n == TOKEN)
                return t->n_parts > 0;
            n_digits += vs_is_digit(c);
            t->s[n++] = (char)(vs_is_lower(c) ? c & ~32 : c);
        }
        if (i == start)
            break;
        t->separator[t->n_parts] = separator;
        t->n[t->n_parts] = (uint8_t)n, t->n_digits[t->n_parts] = (uint8_t)n_digits;
        t->end[t->n_parts++] = i;
        uint8_t c = vs_pii_byte(a, i);
        separator = (char)c;
        bool is_short_word = n_digits || (n < 3 && vs_is_upper(vs_pii_byte(a, a->p)));
        if ((c != ' ' && c != '-' && c != '.') || (c == ' ' && !is_short_word) || !is_next_part(a, i + 1, separator))
            break;
        i++;
    }
    t->s[n] = 0;
    return t->n_parts > 0;
}

static bool all_digits(unsigned n, unsigned n_digits, unsigned least, unsigned most)
{
    return n == n_digits && n >= least && n <= most;
}

static bool is_ssn(const char *s, unsigned n, unsigned d)
{
    return all_digits(n, d, 9, 9) && (vs_check_ssn(s) || vs_check_itin(s));
}

static bool is_routing(const char *s, unsigned n, unsigned d) { return all_digits(n, d, 9, 9) && vs_check_routing(s); }
static bool is_sort(const char *s, unsigned n, unsigned d) { (void)s; return all_digits(n, d, 6, 6); }
static bool is_nhs(const char *s, unsigned n, unsigned d) { return all_digits(n, d, 10, 10) && vs_check_nhs(s); }
static bool is_npi(const char *s, unsigned n, unsigned d) { return all_digits(n, d, 10, 10) && vs_check_npi(s); }
static bool is_mbi(const char *s, unsigned n, unsigned d) { (void)d; return n == 11 && vs_check_mbi(s); }

static bool is_dea(const char *s, unsigned n, unsigned d)
{
    return n == 9 && d >= 7 && s[0] >= 'A' && s[2] <= '9' && vs_check_dea(s);
}

static bool is_account(const char *s, unsigned n, unsigned d)
{
    return n >= 6 && n <= 18 && d >= 6 && n - d <= 4 && !(s[0] == '0' && s[1] == 'X');
}

/* Nine characters that begin with a letter, of those that German papers use. */
static bool is_german(const char *s, unsigned n)
{
    bool fits = n == 9 && s[0] >= 'A';
    for (unsigned i = 0; i < n && fits; i++)
        fits = strchr("0123456789CFGHJKLMNPRTVWXYZ", s[i]) != NULL;
    return fits;
}

/* One or two letters and digits (most countries), nine digits, or as Germany and France have them: letters between. */
static bool is_passport(const char *s, unsigned n, unsigned d)
{
    return n >= 6 && n <= 10 && (((d >= 5 || (n >= 9 && d >= 3)) && n - d <= 5) || (d >= 2 && is_german(s, n)));
}

static bool is_licence(const char *s, unsigned n, unsigned d)
{
    (void)s;
    return n >= 5 && n <= 18 && ((d >= 4 && (n - d <= 6 || n == 16)) || (d >= 3 && n == 12));
}

static bool is_record(const char *s, unsigned n, unsigned d)
{
    (void)s;
    return n >= 4 && n <= 16 && d >= 4 && n - d <= 5;
}

/* 1996-2021 */
static bool is_years(const struct token *t)
{
    bool is_shape = t->n_parts == 2 && t->n[0] == 4 && t->n[1] == 8 && t->n_digits[1] == 8 && t->separator[1] == '-';
    return is_shape && (t->s[0] == '1' || t->s[0] == '2') && (t->s[4] == '1' || t->s[4] == '2');
}

/* 2019-03-04: a date near a label is not what it names. */
static bool is_date(const struct token *t)
{
    if (t->n_parts != 3 || t->n_digits[2] != t->n[2] || t->n[2] > 8 || t->n[2] < 6 || t->separator[1] == ' ')
        return false;
    unsigned first = t->n[0], second = t->n[1] - first, third = t->n[2] - t->n[1];
    const char *year = first == 4 ? t->s : t->s + t->n[1];
    return second <= 2 && ((first == 4 && third <= 2) || (first <= 2 && third == 4)) && (year[0] == '1' || year[0] == '2');
}

static unsigned only(struct vs_pii_at *a, uint64_t classes) { return vs_pii_near(a, classes); }

static bool has_number(struct vs_pii_at *a)
{
    uint8_t c = vs_pii_before(a, 1), b = vs_pii_before(a, 2);
    return c == '#' || b == '#' || c == ':' || b == ':' || vs_pii_near(a, VS_NEAR(NUMBER)) < 4;
}

static unsigned account(struct vs_pii_at *a, uint64_t classes)
{
    unsigned near = vs_pii_near(a, classes);
    bool is_bank = vs_pii_near(a, VS_NEAR(BANK)) < 9;
    if (vs_pii_near(a, VS_NEAR(USER)) <= near && !is_bank)
        return VS_FAR;
    return has_number(a) || is_bank || !near ? near : VS_FAR;
}

static unsigned licence(struct vs_pii_at *a, uint64_t classes)
{
    unsigned near = vs_pii_near(a, classes), driver = vs_pii_near(a, VS_NEAR(DRIVER));
    if (vs_pii_before(a, 1) == '#' && vs_is_lower(vs_pii_byte(a, a->p)))
        return VS_FAR;                   /* #ff0728 */
    if (vs_pii_near(a, VS_NEAR(UNLICENSE)) < 4 || vs_pii_near(a, VS_NEAR(LICENSE)) > 5 || vs_pii_near(a, VS_NEAR(VERSION)) < near)
        return VS_FAR;
    return driver < 6 || (near < 3 && has_number(a)) ? near : VS_FAR;
}

static unsigned record(struct vs_pii_at *a, uint64_t classes)
{
    unsigned near = vs_pii_near(a, classes), medical = vs_pii_near(a, VS_NEAR(MEDICAL)), file = vs_pii_near(a, VS_NEAR(RECORD));
    unsigned patient = vs_pii_near(a, VS_NEAR(PATIENT)), number = vs_pii_near(a, VS_NEAR(NUMBER));
    if (medical < 5 && (file < 4 || number < 2 || vs_pii_before(a, 1) == '#' || vs_pii_before(a, 2) == '#') && medical < near)
        near = medical > 1 ? medical - 1 : medical;
    if (patient < 4 && number < 3 && patient < near)
        near = patient;
    unsigned chart = vs_pii_near(a, VS_NEAR(CHART));
    if (chart < 3 && has_number(a) && chart < near)
        near = chart;
    if (patient < 7 && file < 3 && (has_number(a) || (!file && patient == 1)) && file < near)
        near = file;                     /* "patient record 860493" */
    return near;
}

static unsigned ssn(struct vs_pii_at *a, uint64_t classes) { (void)classes; return near_ssn(a); }

static const struct label {
    enum vs_pii type;
    const char *rule;
    uint64_t classes;
    unsigned limit;                      /* words between */
    unsigned (*near)(struct vs_pii_at *a, uint64_t classes);
    bool (*is)(const char *s, unsigned n, unsigned n_digits);
    unsigned score;
} labels[] = {
    { VS_PII_SSN, "ssn-labelled", VS_NEAR(SSN), 4, ssn, is_ssn, 940 },
    { VS_PII_BANK_ACCOUNT, "routing", VS_NEAR(ROUTING), 4, only, is_routing, 950 },
    { VS_PII_BANK_ACCOUNT, "sort-code", VS_NEAR(SORT), 2, only, is_sort, 900 },
    { VS_PII_BANK_ACCOUNT, "account", VS_NEAR(ACCOUNT), 4, account, is_account, 850 },
    { VS_PII_PASSPORT, "passport", VS_NEAR(PASSPORT), 5, only, is_passport, 900 },
    { VS_PII_DRIVER_LICENSE, "licence", VS_NEAR(LICENSE) | VS_NEAR(DRIVER), 5, licence, is_licence, 880 },
    { VS_PII_MEDICAL_RECORD, "nhs", VS_NEAR(NHS), 4, only, is_nhs, 960 },
    { VS_PII_MEDICAL_RECORD, "npi", VS_NEAR(NPI), 4, only, is_npi, 960 },
    { VS_PII_MEDICAL_RECORD, "mbi", VS_NEAR(MBI), 5, only, is_mbi, 960 },
    { VS_PII_MEDICAL_RECORD, "dea", VS_NEAR(DEA), 4, only, is_dea, 960 },
    { VS_PII_MEDICAL_RECORD, "record", VS_NEAR(MRN), 4, record, is_record, 880 },
};
enum { N_LABELS = sizeof labels / sizeof *labels };

/* As many parts of the token as the label's kind of number has; 0: it is none. */
static size_t end_as(struct vs_pii_at *a, const struct token *t, const struct label *label)
{
    for (unsigned k = t->n_parts; k; k--) {
        size_t end = t->end[k - 1];
        if (label->type == VS_PII_SSN && k > 1)
            continue;                    /* in groups it has its own form */
        if (label->is(t->s, t->n[k - 1], t->n_digits[k - 1]) && vs_pii_ends(a, end))
            return end;
    }
    return 0;
}

bool vs_pii_labelled(struct vs_pii_at *a)
{
    struct token t;
    if (!read_token(a, &t) || (t.n_digits[t.n_parts - 1] < 3 && !is_german(t.s, t.n[0])) || is_date(&t) || is_years(&t))
        return false;
    bool begins = vs_pii_begins(a);
    const struct label *best = NULL;
    unsigned best_near = VS_FAR, n_other = vs_pii_near(a, VS_NEAR(OTHER) | VS_NEAR(PHONE) | VS_NEAR(CARD));
    size_t best_end = 0;
    for (unsigned i = 0; i < N_LABELS; i++) {
        unsigned near = labels[i].near(a, labels[i].classes);
        if (near > labels[i].limit || near >= best_near || (!begins && near) || n_other < near)
            continue;
        size_t end = end_as(a, &t, &labels[i]);
        if (end)
            best = &labels[i], best_near = near, best_end = end;
    }
    if (best)
        return vs_pii_found(a, best_end, best->type, best->rule, best->score);
    if (!begins || t.n_digits[0] < 5)
        return false;
    uint64_t classes = vs_pii_after(a, t.end[0]);
    for (unsigned i = 0; classes && i < N_LABELS; i++)
        if (classes & labels[i].classes && labels[i].is(t.s, t.n[0], t.n_digits[0]))
            return vs_pii_found(a, t.end[0], labels[i].type, labels[i].rule, labels[i].score - 60);
    return false;
}

/* ---- what its own structure tells ---- */

/* "MRN 12345678": the label belongs to it. */
static bool mrn(struct vs_pii_at *a)
{
    struct vs_pii_at at = *a;
    struct token t;
    size_t i = a->p + 3;
    uint8_t c = vs_pii_byte(a, i);
    if (c == ' ' || c == '-' || c == '#' || c == '_')
        i++;
    if (vs_pii_byte(a, i) == '#')
        i++;
    at.p = i;
    bool is_there = vs_is_digit(vs_pii_byte(a, i)) && read_token(&at, &t) && is_record(t.s, t.n[0], t.n_digits[0]);
    a->is_short |= at.is_short;
    size_t end = is_there ? t.end[0] : 0;
    for (unsigned k = 1; is_there && k < t.n_parts && t.separator[k] == '-'; k++)
        end = t.end[k];
    return is_there && vs_pii_ends(a, end) && vs_pii_found(a, end, VS_PII_MEDICAL_RECORD, "mrn", 950);
}

/* A machine-readable line of a passport, or both of them: "P<UTO..." of 44 characters, and the one with the numbers. */
static bool is_mrz_line(struct vs_pii_at *a, size_t i, char line[44])
{
    for (size_t k = 0; k < 44; k++) {
        uint8_t c = vs_pii_byte(a, i + k);
        if (!vs_is_digit(c) && !vs_is_upper(c) && c != '<')
            return false;
        line[k] = (char)c;
    }
    return !vs_is_alnum(vs_pii_byte(a, i + 44));
}

static bool is_mrz_numbers(const char *l)
{
    return vs_check_mrz(l, 9, l[9]) && vs_check_mrz(l + 13, 6, l[19]) && vs_check_mrz(l + 21, 6, l[27]) && l[13] <= '9'
           && l[21] <= '9';
}

static bool mrz(struct vs_pii_at *a)
{
    char line[44];
    size_t next = a->p + 44;
    if (!is_mrz_line(a, a->p, line))
        return false;
    if (line[0] != 'P')
        return is_mrz_numbers(line) && vs_pii_found(a, next, VS_PII_PASSPORT, "mrz", 990);
    next += vs_pii_byte(a, next) == '\r';
    if (vs_pii_byte(a, next) == '\\' && vs_pii_byte(a, next + 1) == 'n')
        next++;
    next++;
    bool is_both = is_mrz_line(a, next, line) && is_mrz_numbers(line);
    return vs_pii_found(a, is_both ? next + 44 : a->p + 44, VS_PII_PASSPORT, "mrz", 990);
}

/* Great Britain: five letters of the name (9 fills), decade, month (+50), day, year, two initials, a digit, two letters. */
static bool is_uk_licence(const char *s)
{
    for (int i = 0; i < 5; i++)
        if (!(s[i] >= 'A' && s[i] <= 'Z') && !(s[i] == '9' && i > 0))
            return false;
    for (int i = 5; i < 11; i++)
        if (s[i] < '0' || s[i] > '9')
            return false;
    unsigned month = (unsigned)((s[6] - '0') % 5 * 10 + (s[7] - '0')), day = (unsigned)((s[8] - '0') * 10 + (s[9] - '0'));
    bool has_initials = ((s[11] >= 'A' && s[11] <= 'Z') || s[11] == '9') && ((s[12] >= 'A' && s[12] <= 'Z') || s[12] == '9');
    return s[6] != '2' && s[6] != '3' && s[6] != '4' && s[6] <= '6' && vs_check_date(2000, month, day) && has_initials
           && ((s[13] >= '0' && s[13] <= '9') || (s[13] >= 'A' && s[13] <= 'Z')) && s[14] >= 'A' && s[15] >= 'A';
}

static bool uk_licence(struct vs_pii_at *a)
{
    char s[16];
    size_t n = 0, i = a->p;
    for (uint8_t c; n < 16; i++) {
        c = vs_pii_byte(a, i);
        if (vs_is_digit(c) || vs_is_upper(c))
            s[n++] = (char)c;
        else if (c != ' ' || (n != 5 && n != 11 && n != 13))
            return false;
    }
    if (!is_uk_licence(s))
        return false;
    if (vs_is_digit(vs_pii_byte(a, i)) && vs_is_digit(vs_pii_byte(a, i + 1)))       /* the issue */
        i += 2;
    else if (vs_pii_byte(a, i) == ' ' && vs_is_digit(vs_pii_byte(a, i + 1)) && vs_is_digit(vs_pii_byte(a, i + 2)) &&
             !vs_is_alnum(vs_pii_byte(a, i + 3)))
        i += 3;
    return vs_pii_ends(a, i) && vs_pii_found(a, i, VS_PII_DRIVER_LICENSE, "licence-uk", 960);
}

/* Medicare: 1EG4-TE5-MK73. */
static bool mbi(struct vs_pii_at *a)
{
    char s[12];
    size_t i = a->p;
    for (size_t n = 0; n < 11; n++, i++) {
        if ((n == 4 || n == 7) && vs_pii_byte(a, i++) != '-')
            return false;
        s[n] = (char)vs_pii_byte(a, i);
    }
    s[11] = 0;
    return vs_check_mbi(s) && vs_pii_ends(a, i) && vs_pii_found(a, i, VS_PII_MEDICAL_RECORD, "mbi", 950);
}

bool vs_pii_structured(struct vs_pii_at *a)
{
    uint8_t c = vs_pii_byte(a, a->p), before = vs_pii_before(a, 1);
    if (vs_is_word(before) || before == '-')
        return false;
    if (vs_is_digit(c))
        return mbi(a) || mrz(a);
    if ((c | 32) == 'm' && (vs_pii_byte(a, a->p + 1) | 32) == 'r' && (vs_pii_byte(a, a->p + 2) | 32) == 'n' && mrn(a))
        return true;
    return vs_is_upper(c) && (uk_licence(a) || mrz(a));
}
