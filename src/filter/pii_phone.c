/* filter/pii_phone.c - telephone numbers: with a country's code (E.164), as North America writes them, as other countries group
 * them. A run of digits without a grouping is one only where a word says so.
 *
 * Sources: ITU-T E.164 and its list of codes; the numbering plan of North America: an area and an exchange begin with 2 to 9.
 */
#include "filter/pii_check.h"
#include "filter/pii_match.h"

#include <string.h>

enum { PARTS = 8, DIGITS = 16 };

struct number {                          /* digits in parts, whatever is between them */
    unsigned n;
    uint8_t length[PARTS], total[PARTS];
    size_t end[PARTS];
    char separator[PARTS];               /* before each part: the one that matters of ") " and "-(" */
    char digits[DIGITS + 1];
    bool has_bracket;
};

/* What is between two parts: a separator, a bracket, or both. */
static size_t between(struct vs_pii_at *a, size_t i, char *ret, bool *ret_bracket)
{
    size_t start = i;
    *ret = 0;
    for (unsigned k = 0; k < 3; k++) {
        uint8_t c = vs_pii_byte(a, i);
        if (c == '(' || c == ')') {
            *ret_bracket = true;
            i++;
        } else if (c == ' ' || c == '-' || c == '.' || c == '/') {
            if (*ret && !(*ret == ' ' && c == '-') && *ret != '-')
                return 0;
            *ret = (char)c;
            i++;
        } else if (c == 0xc2 && vs_pii_byte(a, i + 1) == 0xa0) {
            *ret = ' ';
            i += 2;
        } else if (c == 0xe2 && vs_pii_byte(a, i + 1) == 0x80 && vs_pii_byte(a, i + 2) >= 0x90 && vs_pii_byte(a, i + 2) <= 0x93) {
            *ret = '-';
            i += 3;
        } else
            break;
    }
    return i > start && vs_is_digit(vs_pii_byte(a, i)) ? i - start : 0;
}

static bool read_number(struct vs_pii_at *a, size_t i, struct number *x)
{
    unsigned n_digits = 0;
    char mark = 0;
    x->n = 0;
    x->has_bracket = false;
    while (x->n < PARTS) {
        size_t start = i;
        for (uint8_t c; vs_is_digit(c = vs_pii_byte(a, i)); i++) {
            if (n_digits == DIGITS)
                return x->n > 0;
            x->digits[n_digits++] = (char)c;
        }
        x->length[x->n] = (uint8_t)(i - start);
        x->total[x->n] = (uint8_t)n_digits;
        x->separator[x->n] = mark;
        x->end[x->n++] = i;
        bool has_bracket = false;
        size_t width = between(a, i, &mark, &has_bracket);
        if (!width)
            break;
        x->has_bracket |= has_bracket;
        i += width;
    }
    x->digits[n_digits] = 0;
    return x->n > 0 && x->length[0] > 0;
}

/* ---- with a country's code ---- */

/* Code, and how many digits follow it. What is not listed: 6 to 12. */
static const struct { const char *code; uint8_t least, most; } countries[] = {
    { "1", 10, 10 }, { "7", 10, 10 }, { "20", 9, 10 }, { "27", 9, 9 }, { "30", 10, 10 }, { "31", 9, 9 }, { "32", 8, 9 },
    { "33", 9, 9 }, { "34", 9, 9 }, { "36", 8, 9 }, { "39", 8, 11 }, { "40", 9, 9 }, { "41", 9, 9 }, { "43", 7, 13 },
    { "44", 9, 10 }, { "45", 8, 8 }, { "46", 7, 10 }, { "47", 8, 8 }, { "48", 9, 9 }, { "49", 6, 11 }, { "51", 8, 9 },
    { "52", 10, 11 }, { "53", 8, 8 }, { "54", 10, 11 }, { "55", 10, 11 }, { "56", 9, 9 }, { "57", 10, 10 }, { "58", 10, 10 },
    { "60", 8, 10 }, { "61", 9, 9 }, { "62", 8, 12 }, { "63", 9, 10 }, { "64", 8, 10 }, { "65", 8, 8 }, { "66", 8, 9 },
    { "81", 9, 10 }, { "82", 8, 10 }, { "84", 9, 10 }, { "86", 10, 11 }, { "90", 10, 10 }, { "91", 10, 10 }, { "92", 9, 10 },
    { "93", 9, 9 }, { "94", 9, 9 }, { "95", 7, 10 }, { "98", 10, 10 }, { "212", 9, 9 }, { "234", 8, 10 }, { "254", 9, 9 },
    { "351", 9, 9 }, { "352", 6, 9 }, { "353", 7, 9 }, { "354", 7, 7 }, { "358", 6, 10 }, { "370", 8, 8 }, { "371", 8, 8 },
    { "372", 7, 8 }, { "380", 9, 9 }, { "385", 8, 9 }, { "386", 8, 8 }, { "420", 9, 9 }, { "421", 9, 9 }, { "852", 8, 8 },
    { "886", 8, 9 }, { "880", 8, 10 }, { "966", 8, 9 }, { "971", 8, 9 }, { "972", 8, 9 }, { "974", 8, 8 },
};

/* The first two digits of the codes that have three. */
static bool is_code(const char *d)
{
    static const char three[] = " 21 22 23 24 25 26 29 35 37 38 42 50 59 67 68 69 80 85 87 88 96 97 99 ";
    char first[5] = { ' ', d[0], d[1], ' ', 0 };
    return strstr(three, first) != NULL;
}

/* "fax", "office": what a telephone number is said to be. */
static bool is_kind(struct vs_pii_at *a, size_t i)
{
    uint64_t classes;
    vs_pii_word(a, i, &classes);
    return classes & VS_NEAR(PHONE) || vs_pii_is(a, i, "office") || vs_pii_is(a, i, "home") || vs_pii_is(a, i, "work");
}

/* A number may end at i: *ret_end then, which takes the extension of "555-0100x123" with it. */
static bool ends(struct vs_pii_at *a, size_t i, size_t *ret_end)
{
    uint8_t c = vs_pii_byte(a, i);
    *ret_end = i;
    if (vs_pii_ends(a, i) || (c == '-' && is_kind(a, i + 1)))
        return true;
    size_t n = 1;
    while (c == 'x' && n < 7 && vs_is_digit(vs_pii_byte(a, i + n)))
        n++;
    *ret_end = i + n;
    return n > 1 && vs_pii_ends(a, i + n);
}

static bool with_code(struct vs_pii_at *a)
{
    struct number x;
    uint8_t before = vs_pii_before(a, 1);
    unsigned least = 6, most = 12, code = 3;
    bool is_listed = false;
    size_t first = a->p + 1 + (vs_pii_byte(a, a->p + 1) == '(');
    if (vs_is_alnum(before) || before == '+' || !read_number(a, first, &x) || x.digits[0] == '0')
        return false;
    for (size_t k = 0; k < sizeof countries / sizeof *countries; k++)
        if (strncmp(x.digits, countries[k].code, strlen(countries[k].code)) == 0) {
            least = countries[k].least, most = countries[k].most, code = (unsigned)strlen(countries[k].code);
            is_listed = true;
        }
    if (!is_listed && !is_code(x.digits))
        return false;
    for (unsigned k = x.n; k; k--) {
        unsigned total = x.total[k - 1], national = total - code;
        bool has_trunk = k > 1 && x.has_bracket && x.length[1] == 1 && x.digits[x.total[0]] == '0';      /* +44 (0)20 ... */
        size_t end;
        if (total < code + least || national > most + has_trunk || !ends(a, x.end[k - 1], &end))
            continue;
        bool is_exchange = x.digits[4] >= '2' || memcmp(x.digits + 1, "555", 3) == 0;
        if (x.digits[0] == '1' && (x.digits[1] < '2' || (!is_exchange && vs_pii_near(a, VS_NEAR(PHONE)) > 4)))
            return false;
        return vs_pii_found(a, end, VS_PII_PHONE, "phone-e164", 960);
    }
    return false;
}

/* ---- as a country writes it ---- */

static bool has_shape(const struct number *x, const char *lengths, unsigned n)
{
    if (strlen(lengths) != n)
        return false;
    for (unsigned k = 0; k < n; k++)
        if (x->length[k] != lengths[k] - '0')
            return false;
    return true;
}

static bool is_uniform(const struct number *x, unsigned n)
{
    for (unsigned k = 2; k < n; k++)
        if (x->separator[k] != x->separator[1])
            return false;
    return true;
}

/* North America: 3-3-4, perhaps with 1 before it. */
static bool is_nanp(const struct number *x, unsigned n)
{
    bool has_one = n == 4 && x->length[0] == 1 && x->digits[0] == '1';
    unsigned skip = has_one;
    if (n - skip != 3 || x->length[skip] != 3 || x->length[skip + 1] != 3 || x->length[skip + 2] != 4)
        return false;
    const char *d = x->digits + skip;
    return d[0] >= '2' && (d[3] >= '2' || memcmp(d, "555", 3) == 0) && !(d[1] == '1' && d[2] == '1');   /* 555: in examples */
}

/* Numbers that begin with 0, in the groups that only telephone numbers have. */
static bool is_trunk(const struct number *x, unsigned n)
{
    static const struct { const char *lengths, *separators; } shapes[] = {
        { "22222", " .-" }, { "344", " -" }, { "434", " " }, { "533", " " }, { "433", " " }, { "56", " " }, { "47", " -/" },
        { "46", " /" }, { "244", " -" }, { "334", "-" }, { "48", "/- " }, { "37", "/" }, { "38", "/" }, { "443", " " },
        { "3222", " " }, { "3322", " " },
    };
    if (x->digits[0] != '0' || x->digits[1] == '0' || !is_uniform(x, n) || n < 2)
        return false;
    for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++)
        if (has_shape(x, shapes[k].lengths, n) && strchr(shapes[k].separators, x->separator[1]))
            return true;
    unsigned total = x->total[n - 1];    /* others with spaces: three groups of three or more */
    if (n != 3 || x->separator[1] != ' ' || x->length[0] < 3 || x->length[0] > 5 || total < 9 || total > 12)
        return false;
    return x->length[1] > 2 && x->length[2] > 2 && (x->length[0] > 3 || total > 10) && (x->length[1] != 4 || x->length[0] != 4);
}

/* "8.60-14.20": dots between some and another sign between others. But "02/555.12.34": a code in front. */
static bool is_range(const struct number *x, unsigned n)
{
    unsigned n_dots = 0;
    for (unsigned k = 1; k < n; k++)
        n_dots += x->separator[k] == '.';
    bool has_code = x->separator[1] != '.' && x->digits[0] == '0';
    return n_dots && n_dots < n - 1 && !x->has_bracket && !has_code;
}

/* "called 2023-12-01", "1 234 567": a day, or what was counted. */
static bool is_day_or_amount(const struct number *x, unsigned n)
{
    unsigned part[3] = { 0 };
    if (n != 3 || x->has_bracket || !is_uniform(x, n))
        return false;
    for (unsigned k = 0, i = 0; k < 3; k++)
        for (; i < x->total[k]; i++)
            part[k] = part[k] * 10 + (unsigned)(x->digits[i] - '0');
    bool is_first = has_shape(x, "422", n), is_last = has_shape(x, "224", n) && x->separator[1] != ' ';
    unsigned year = part[is_last ? 2 : 0];
    if ((is_first || is_last) && year >= 1900 && year < 2100)
        return is_first || vs_check_date(year, part[1], part[0]) || vs_check_date(year, part[0], part[1]);
    return has_shape(x, "133", n) && (x->separator[1] == ' ' || x->separator[1] == '.');
}

static unsigned named(struct vs_pii_at *a)
{
    unsigned phone = vs_pii_near(a, VS_NEAR(PHONE));
    uint64_t others = VS_NEAR(OTHER) | VS_NEAR(ACCOUNT) | VS_NEAR(SSN) | VS_NEAR(CARD) | VS_NEAR(ROUTING) | VS_NEAR(PASSPORT) |
                      VS_NEAR(MRN) | VS_NEAR(LICENSE) | VS_NEAR(NHS) | VS_NEAR(NPI) | VS_NEAR(DRIVER) | VS_NEAR(IBAN) |
                      VS_NEAR(BIRTH) | VS_NEAR(TAX) | VS_NEAR(SORT) | VS_NEAR(NINO) | VS_NEAR(BSN) | VS_NEAR(SIN) |
                      VS_NEAR(AADHAAR) | VS_NEAR(CPF);
    return vs_pii_near(a, others) < phone ? VS_FAR : phone;
}

static bool is_named_behind(struct vs_pii_at *a, size_t end)
{
    uint64_t classes;
    if (vs_pii_after(a, end) & VS_NEAR(PHONE))
        return true;
    if (vs_pii_byte(a, end) == '-' && is_kind(a, end + 1))
        return true;
    if (vs_pii_byte(a, end) != ' ')
        return false;
    size_t i = vs_pii_word(a, end + 1, &classes);
    uint8_t c = vs_pii_byte(a, i);
    if ((c == '\n' || c == 0 || c == '\\' || c == ',' || c == ')') && is_kind(a, end + 1))
        return true;                     /* "416 60 039 office" at the end of a line */
    if (classes & VS_NEAR(EXTENSION) && !(classes & VS_NEAR(PHONE)))
        return true;
    return i == end + 2 && vs_pii_byte(a, end + 1) == 'x' && vs_is_digit(vs_pii_byte(a, i));
}

/* Three parts with spaces, and no number beside it. */
static bool stands_alone(const struct vs_pii_at *a, const struct number *x, unsigned n)
{
    return n == x->n && !(vs_pii_before(a, 1) == ' ' && (vs_is_digit(vs_pii_before(a, 2)) || vs_pii_before(a, 2) == ','))
           && vs_pii_before(a, 1) != '[';
}

/* "id: ", "user_id=": what follows names a thing. Also "x = 555-123-4567;", which is a sum. */
static bool is_thing(const struct vs_pii_at *a, uint8_t behind)
{
    size_t back = 1;
    uint8_t c;
    while (back < 5 && (c = vs_pii_before(a, back)) && (c == ' ' || c == ':' || c == '=' || c == '"' || c == '#'))
        back++;
    bool is_id = (vs_pii_before(a, back) | 32) == 'd' && (vs_pii_before(a, back + 1) | 32) == 'i'
        && !vs_is_alpha(vs_pii_before(a, back + 2));
    bool is_sum = behind == ';' && (vs_pii_before(a, 1) == '=' || (vs_pii_before(a, 1) == ' ' && vs_pii_before(a, 2) == '='));
    return (back > 1 && is_id) || is_sum;
}

/* Groups as somebody may write them: not many, none of one digit but the first. */
static bool has_groups(const struct number *x, unsigned n)
{
    for (unsigned k = 1; k < n; k++)
        if (x->length[k] < 2)
            return false;
    return n < 7;
}

/* "dial 030 1234567": right in front, as a dial also shows numbers. */
static bool is_dialed(const struct vs_pii_at *a)
{
    static const char word[] = "dial ";
    for (size_t k = 0, n = sizeof word - 1; k < n; k++)
        if ((vs_pii_before(a, k + 1) | 32) != (uint8_t)word[n - 1 - k])
            return false;
    return !vs_is_alpha(vs_pii_before(a, sizeof word));
}

static bool is_phone(struct vs_pii_at *a, const struct number *x, unsigned n, bool has_bracket)
{
    unsigned total = x->total[n - 1], near = named(a), other = vs_pii_near(a, VS_NEAR(OTHER));
    bool is_other = (other < 3 && near > other) || (near > 5 && is_thing(a, vs_pii_byte(a, x->end[n - 1])));
    if (is_nanp(x, n) && !is_other) {
        if (has_bracket || (is_uniform(x, n) && (x->separator[1] == '-' || x->separator[1] == '.')) || near < 6)
            return true;
        if (stands_alone(a, x, n) && x->separator[n - 2] == ' ' && x->separator[n - 1] != '/' && vs_pii_near(a,
                VS_NEAR(ACCOUNT) | VS_NEAR(CARD)) > 4)
            return true;
    }
    uint8_t before = vs_pii_before(a, 2);
    bool is_alone = n == x->n || x->separator[n] != x->separator[1];
    if (n > 1 && total >= 7 && is_dialed(a))
        return true;
    if (is_trunk(x, n) && !is_other && is_alone && ((!vs_is_digit(before) && before != ';' && before != ',') || near < 5))
        return true;
    if (has_bracket && n == 3 && x->length[0] == 2 && x->digits[0] != '0' && (x->length[1] == 4 || x->length[1] == 5)
        && x->length[2] == 4)
        return true;                     /* Brazil */
    if (has_bracket && x->digits[0] == '0' && total >= 9 && total <= 12 && n > 1)
        return true;
    bool is_dialled = total <= 12 || x->digits[0] == '0' || x->length[0] <= 2;      /* 00 49 ..., 55 11 ...: a code in front */
    if (n > 1 && near < 5 && total >= 7 && is_dialled && !is_range(x, n) && !is_day_or_amount(x, n) &&
        (total > 8 || x->length[0] != 4 || near < 2))
        return true;
    bool is_weak = near == vs_pii_near(a, VS_NEAR(EXTENSION));       /* "call", "text": words of other things too */
    bool is_argument = vs_pii_before(a, 1) == '(' && vs_is_word(vs_pii_before(a, 2));        /* "call f(1234567890)" */
    bool is_count = near && n == 1 && total < 9 && memcmp(x->digits + total - 4, "0000", 4) == 0;     /* "fax machines: 1200000" */
    bool is_run = near < 3 && !is_argument && !is_count && total >= 7 && total <= 13 &&
        (!is_weak || (near < 2 && total > 9) || (!near && total > 8));
    return n == 1 && (is_run || (total >= 9 && total <= 12 && near == VS_FAR && !is_other &&
                                                                   is_named_behind(a, x->end[0])));
}

bool vs_pii_phone(struct vs_pii_at *a)
{
    struct number x;
    uint8_t first = vs_pii_byte(a, a->p);
    if (first == '+')
        return with_code(a);
    bool is_open = first == '(';
    if (is_open ? vs_is_word(vs_pii_before(a, 1)) : !vs_pii_begins(a))
        return false;
    if (is_open && vs_pii_byte(a, a->p + 1) == '+')
        return false;
    if (!read_number(a, a->p + is_open, &x) || (is_open && !x.has_bracket))
        return false;
    for (unsigned n = x.n; n; n--) {
        unsigned total = x.total[n - 1];
        size_t end;
        if (total < 7 || total > 15 || !has_groups(&x, n) || !ends(a, x.end[n - 1], &end))
            continue;
        bool has_bracket = x.has_bracket && n > 1;
        if (is_phone(a, &x, n, has_bracket))
            return vs_pii_found(a, end, VS_PII_PHONE, n == 1 ? "phone-labelled" : "phone", n == 1 ? 820 : 900);
        if (is_named_behind(a, x.end[n - 1]) && n > 1)
            return vs_pii_found(a, end, VS_PII_PHONE, "phone-after", 820);
    }
    return false;
}
