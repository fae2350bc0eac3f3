/* filter/pii_date.c - dates of birth: a date in one of the usual forms, in a year in which somebody who lives may be born, with a
 * word of birth within about four words before it, or naming it behind ("(DOB)", "is her birthday"). A word of another event that
 * is nearer ("hired", "expires") takes it. */
#include "filter/pii_check.h"
#include "filter/pii_match.h"

enum { NEAR_ENOUGH = 5 };

struct date { unsigned year, month, day; };

static size_t digits(struct vs_pii_at *a, size_t i, unsigned *ret)
{
    size_t n = 0;
    *ret = 0;
    for (uint8_t c; n < 9 && vs_is_digit(c = vs_pii_byte(a, i + n)); n++)
        *ret = *ret * 10 + (c - '0');
    return n;
}

static unsigned full_year(unsigned year, size_t n_digits)
{
    return n_digits == 4 ? year : year + (year <= VS_PII_BORN_LAST - 2000 ? 2000u : 1900u);
}

static bool is_birth(const struct date *d)
{
    return d->year >= VS_PII_BORN_FIRST && d->year <= VS_PII_BORN_LAST && vs_check_date(d->year, d->month, d->day);
}

static size_t spaces(struct vs_pii_at *a, size_t i)
{
    while (vs_pii_byte(a, i) == ' ')
        i++;
    return i;
}

/* [de|of] Month [de|of|,] year, behind a day: the end; 0: no. */
static size_t month_and_year(struct vs_pii_at *a, size_t i, struct date *d)
{
    unsigned year;
    uint8_t c = vs_pii_byte(a, i);
    if (c == '-' || c == '/' || c == '.')
        i++;
    i = spaces(a, i);
    if (vs_pii_is(a, i, "of") || vs_pii_is(a, i, "de"))
        i = spaces(a, i + 2);
    if (!(d->month = vs_pii_month(a, i, &i)))
        return 0;
    c = vs_pii_byte(a, i);
    if (c == ',' || c == '-' || c == '/')
        i++;
    i = spaces(a, i);
    if (vs_pii_is(a, i, "of") || vs_pii_is(a, i, "de"))
        i = spaces(a, i + 2);
    if (vs_pii_is(a, i, "del"))
        i = spaces(a, i + 3);
    if (vs_pii_byte(a, i) == '\'')
        i++;
    size_t n = digits(a, i, &year);
    if (n != 4 && n != 2)
        return 0;
    d->year = full_year(year, n);
    return i + n;
}

/* 3rd, 1er, 15. */
static size_t ordinal(struct vs_pii_at *a, size_t i)
{
    static const char *const ends[] = { "st", "nd", "rd", "th", "er" };
    for (size_t k = 0; k < sizeof ends / sizeof *ends; k++)
        if (vs_pii_is(a, i, ends[k]))
            return i + 2;
    return i;
}

static bool is_text(struct vs_pii_at *a, size_t i, const char *text)
{
    for (; *text; text++, i++)
        if (vs_pii_byte(a, i) != (uint8_t)*text)
            return false;
    return true;
}

/* Numbers with '-' '/' '.' between them, or with the signs of Chinese, Japanese or Korean dates. */
static size_t numbers(struct vs_pii_at *a, size_t n_first, unsigned first, struct date *d)
{
    enum { SIGN = 3 };
    static const char *const signs[2][3] = { { "年", "月", "日" }, { "년", "월", "일" } };
    unsigned second = 0, third = 0;
    size_t i = a->p + n_first;
    uint8_t separator = vs_pii_byte(a, i);
    for (size_t k = 0, m; n_first == 4 && k < sizeof signs / sizeof *signs; k++) {
        if (!is_text(a, i, signs[k][0]))
            continue;
        size_t month = spaces(a, i + SIGN), n = digits(a, month, &second), day = spaces(a, month + n + SIGN);
        if (!n || !is_text(a, month + n, signs[k][1]) || !(m = digits(a, day, &third)))
            return 0;
        *d = (struct date){ first, second, third };
        return day + m + (is_text(a, day + m, signs[k][2]) ? SIGN : 0);
    }
    if (separator != '-' && separator != '/' && separator != '.')
        return 0;
    i++;
    if (separator == '.' && vs_pii_byte(a, i) == ' ')
        i++;
    size_t n = digits(a, i, &second);
    if (n < 1 || n > 2 || vs_pii_byte(a, i + n) != separator)
        return 0;
    i += n + 1;
    if (separator == '.' && vs_pii_byte(a, i) == ' ')
        i++;
    n = digits(a, i, &third);
    if (n_first == 4) {
        *d = (struct date){ first, second, third };
        return n == 1 || n == 2 ? i + n : 0;
    }
    if (n_first > 2 || (n != 4 && n != 2))
        return 0;
    *d = (struct date){ full_year(third, n), second, first };
    if (!is_birth(d))                    /* the day first, or the month */
        *d = (struct date){ full_year(third, n), first, second };
    return i + n;
}

static size_t from_digit(struct vs_pii_at *a, struct date *d, bool *ret_is_bare)
{
    unsigned first;
    size_t n = digits(a, a->p, &first), end;
    *ret_is_bare = n == 8;
    if (n == 8) {
        *d = (struct date){ first / 10000, first / 100 % 100, first % 100 };
        if (!is_birth(d))
            *d = (struct date){ first % 10000, first / 10000 % 100, first / 1000000 };
        if (!is_birth(d))
            *d = (struct date){ first % 10000, first / 1000000, first / 10000 % 100 };
        return a->p + 8;
    }
    if (n > 4 || !n)
        return 0;
    if ((end = numbers(a, n, first, d)))
        return end;
    if (n <= 2 && vs_is_digit(vs_pii_byte(a, spaces(a, a->p + n))))
        return 0;                        /* numbers in a row */
    if (n <= 2) {
        d->day = first;
        return month_and_year(a, ordinal(a, a->p + n), d);
    }
    size_t i = spaces(a, a->p + n);
    if (n != 4 || i == a->p + n || !(d->month = vs_pii_month(a, i, &i)))
        return 0;
    i = spaces(a, i);
    n = digits(a, i, &d->day);
    d->year = first;
    return n == 1 || n == 2 ? i + n : 0;
}

/* March 15, 1989 */
static size_t from_month(struct vs_pii_at *a, struct date *d)
{
    size_t i, n;
    unsigned year;
    if (!(d->month = vs_pii_month(a, a->p, &i)))
        return 0;
    i += vs_pii_byte(a, i) == '-';
    i = spaces(a, i);
    if (vs_pii_is(a, i, "the"))
        i = spaces(a, i + 3);
    n = digits(a, i, &d->day);
    if (n != 1 && n != 2)
        return 0;
    i = ordinal(a, i + n);
    uint8_t c = vs_pii_byte(a, i);
    i = spaces(a, i + (c == ',' || c == '-' || c == '/'));
    n = digits(a, i, &year);
    if (n != 4 && n != 2)
        return 0;
    d->year = full_year(year, n);
    return n == 2 && c == ' ' ? 0 : i + n;
}

/* As Japanese and Chinese write it, right behind the day: "born", "born in"; but of "takes effect", "produced" that is the first
 * character, too. */
static bool is_born(struct vs_pii_at *a, size_t i)
{
    if (is_text(a, i, "\xe5\x87\xba\xe7\x94\x9f"))
        return true;
    if (!is_text(a, i, "\xe7\x94\x9f"))
        return false;
    uint8_t c = vs_pii_byte(a, i + 3), next = vs_pii_byte(a, i + 4);
    bool is_kana = c == 0xe3 && (next == 0x81 || next == 0x82);
    bool is_sign = (c == 0xe3 && next == 0x80) || (c == 0xef && next == 0xbc);
    return (c < 0x80 && !vs_is_word(c)) || is_kana || is_sign || is_text(a, i + 3, "\xe4\xba\x8e")
           || is_text(a, i + 3, "\xe6\x96\xbc") || is_text(a, i + 3, "\xe4\xba\xba");
}

bool vs_pii_birth(struct vs_pii_at *a)
{
    struct date d = { 0 };
    bool is_bare = false;
    uint8_t before = vs_pii_before(a, 1);
    if (vs_is_word(before) || ((before == '-' || before == '.' || before == '/') && vs_is_digit(vs_pii_before(a, 2))))
        return false;
    size_t end = vs_is_digit(vs_pii_byte(a, a->p)) ? from_digit(a, &d, &is_bare) : from_month(a, &d);
    if (!end || !is_birth(&d))
        return false;
    uint8_t c = vs_pii_byte(a, end);
    uint8_t next = c ? vs_pii_byte(a, end + 1) : 0;
    if ((vs_is_word(c) && !(c == 'T' && vs_is_digit(next))) || ((c == '-' || c == '/') && vs_is_alnum(next)))
        return false;
    if (c == '.' && vs_is_digit(next))
        return false;
    unsigned near = vs_pii_near(a, VS_NEAR(BIRTH));
    if (near <= (is_bare ? 1u : (unsigned)NEAR_ENOUGH) && near < vs_pii_near(a, VS_NEAR(EVENT)))
        return vs_pii_found(a, end, VS_PII_DATE_OF_BIRTH, "birth", 940);
    if (is_bare || (!is_born(a, end) && !(vs_pii_after(a, end) & VS_NEAR(BIRTH))))
        return false;
    return vs_pii_found(a, end, VS_PII_DATE_OF_BIRTH, "birth-after", 880);
}
