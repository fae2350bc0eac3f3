/* filter/pii.c - see pii.h. Where a word or number begins is found by the class of a byte and of the one before it; what may begin
 * there is asked in the order in which one would take it from another. */
#include "filter/pii.h"

#include "filter/letters.h"
#include "filter/pii_match.h"
#include "filter/pii_words.h"

static bool wants(const struct vs_pii_at *a, uint32_t types)
{
    return a->pii->types & types;
}

/* Types that need digits with a label, and those that only digits begin. */
static const uint32_t labelled_types = VS_PII_BIT(VS_PII_SSN) | VS_PII_BIT(VS_PII_BANK_ACCOUNT) | VS_PII_BIT(VS_PII_PASSPORT) |
                                       VS_PII_BIT(VS_PII_DRIVER_LICENSE) | VS_PII_BIT(VS_PII_MEDICAL_RECORD);
static const uint32_t optional_types = VS_PII_BIT(VS_PII_NATIONAL_ID) | VS_PII_BIT(VS_PII_CRYPTO_ADDRESS);

/* What was found counts only when its type is asked for: a number that is a card for certain is not told as a phone. What may be
 * at all is seen by what follows the first digits. */
static bool number(struct vs_pii_at *a)
{
    struct vs_pii_groups g;
    uint8_t before = vs_pii_before(a, 1);
    if ((before == '.' || before == '-' || before == '/') && vs_is_digit(vs_pii_before(a, 2)))
        return before == '-' && vs_pii_ipv4(a);              /* goes on from the number before; 10.0.0.1-10.0.0.9 */
    size_t i = a->p;
    while (vs_is_digit(vs_pii_byte(a, i)))
        i++;
    uint8_t next = vs_pii_byte(a, i);
    size_t n = i - a->p;
    bool is_hex = vs_is_alpha(next) || next == ':' || next == '-' || next == '.' || n == 12;
    if ((next == '.' && vs_pii_ipv4(a)) || (is_hex && n < 13 && (vs_pii_mac(a) || vs_pii_ipv6(a))))
        return true;
    if ((next == '@' || next >= 0xc3 || vs_is_word(next) || vs_pii_kind[next] & VS_C_MAIL) && vs_pii_email(a))
        return true;
    if ((n < 5 || n == 8) && vs_pii_birth(a))
        return true;
    bool has_groups = vs_pii_groups(a, a->p, &g);
    if (has_groups && ((g.n_digits > 11 && vs_pii_card(a, &g)) || (g.n > 2 && vs_pii_ssn(a, &g))))
        return true;
    if ((vs_is_upper(next) && vs_pii_structured(a)) || (wants(a, optional_types) && vs_pii_national(a)))
        return true;
    if (wants(a, labelled_types | VS_PII_BIT(VS_PII_PHONE)) && (vs_pii_labelled(a) || (g.n_digits > 6 && vs_pii_phone(a))))
        return true;
    if (!has_groups || n == 1)           /* "1 (800) 555-0198" */
        return vs_pii_phone(a) || (vs_pii_wants(a, VS_PII_ADDRESS) && vs_pii_house(a));
    return n < 7 && vs_pii_wants(a, VS_PII_ADDRESS) && vs_pii_house(a);
}

static bool has_digit(struct vs_pii_at *a, size_t end)
{
    uint8_t c;
    for (size_t i = vs_letters_end(a->text, end, a->p); i < end; i++)
        if (vs_is_digit(vs_pii_byte(a, i)))
            return true;
    c = vs_pii_byte(a, end);             /* "D-1234", "H 1234" */
    return end < a->p + 4 && (c == '-' || c == ' ') && vs_is_digit(vs_pii_byte(a, end + 1));
}

static bool word(struct vs_pii_at *a)
{
    uint64_t classes;
    size_t end = vs_pii_word(a, a->p, &classes);
    uint8_t next = vs_pii_byte(a, end);
    bool is_hex = vs_is_hex(vs_pii_byte(a, a->p)) && end - a->p <= 12;
    if (vs_pii_email(a))
        return true;
    if (is_hex && (next == ':' || next == '-' || next == '.' || end - a->p == 12) && (vs_pii_mac(a) || vs_pii_ipv6(a)))
        return true;
    if (classes & VS_NEAR(MONTH) && vs_pii_birth(a))
        return true;
    bool is_number = has_digit(a, end);
    if (is_number && (vs_pii_iban(a) || (wants(a, optional_types) && vs_pii_national(a))))
        return true;
    if ((is_number || end - a->p == 3 || next == '<') && vs_pii_structured(a))
        return true;
    if (is_number && wants(a, labelled_types) && vs_pii_labelled(a))
        return true;
    return vs_pii_wants(a, VS_PII_ADDRESS) && vs_pii_street(a, end, classes);
}

static inline bool is_start(const char *text, size_t p, uint8_t c)
{
    uint8_t before = p ? (uint8_t)text[p - 1] : 0;
    if (vs_is_alnum(c) || c >= 0xc3)
        return !vs_is_alnum(before) && !(c >= 0xc3 && before >= 0x80);
    return (c == '+' || c == '(' || c == ':') && !vs_is_word(before);
}

static bool match(struct vs_pii_at *a)
{
    uint8_t c = (uint8_t)a->text[a->p];
    if (vs_is_digit(c))
        return number(a);
    if (vs_is_alpha(c) || c >= 0xc3)
        return word(a);
    return c == ':' ? vs_pii_ipv6(a) : vs_pii_phone(a);
}

/* The letters at p are a plain word, which begins nothing: where it ends. Otherwise, and when too little of the text is there: p.
 * This only spares the matchers what they would refuse. */
static size_t plain_word(const char *text, size_t n, size_t p)
{
    char before = p ? text[p - 1] : 0, mark = p > 1 ? text[p - 2] : 0;
    bool is_usual = before == ' ' && vs_is_alpha((uint8_t)mark);
    if (!is_usual && (before == '"' || before == ':' || before == '=' || mark == ':' || mark == '='))
        return p;                        /* behind a label */
    size_t end = vs_letters_end(text, n, p);
    if (end + 2 >= n || end - p > 32 || vs_pii_may_start(vs_letters_key(text + p, end - p, n - p)))
        return p;
    uint8_t c = (uint8_t)text[end], next = (uint8_t)text[end + 1];
    bool is_name = vs_is_upper((uint8_t)text[p]);
    if (c == ' ')                        /* "D 1234"; "Hauptweg 5", "Kurze Gasse 5" */
        return (vs_is_digit(next) && (is_name || end - p < 4)) || (is_name && vs_is_upper(next)) ? p : end;
    if (c == '.')
        return (next == ' ' && !(is_name && vs_is_digit((uint8_t)text[end + 2]))) || next == '\n' ? end : p;
    return c == ',' || c == '\n' || c == ';' || c == ')' || c == '"' || c == '?' || c == '!' || (c == ':' && end - p > 4) ? end : p;
}

static size_t find(const struct vs_detector *d, const char *text, size_t n, size_t from, bool whole, vs_span_fn *told, void *arg)
{
    const struct vs_pii_state *pii = d->state;
    for (size_t p = from; p < n; p++) {
        uint8_t c = (uint8_t)text[p];
        if (vs_is_alpha(c)) {
            bool is_inside = p && vs_is_alnum((uint8_t)text[p - 1]);
            size_t end = is_inside ? vs_letters_end(text, n, p) : plain_word(text, n, p);
            if (end > p) {
                p = end < n && text[end] == ' ' ? end : end - 1;         /* nothing begins with a space */
                continue;
            }
        } else if (!is_start(text, p, c)) {
            continue;
        }
        struct vs_pii_at a;
        a.pii = pii, a.text = text, a.n = n, a.p = p, a.whole = whole, a.is_short = false, a.known = NONE_KNOWN;
        bool is_there = match(&a);
        if (a.is_short)
            return p;
        if (!is_there || !vs_pii_wants(&a, a.type))
            continue;
        struct vs_span span = { VS_FOUND_PII, a.type, a.rule, p, a.end, a.score, false };
        told(arg, &span);
    }
    return n;
}

void vs_pii_init(struct vs_pii_state *p, uint32_t types)
{
    p->types = types;
}

struct vs_detector vs_pii_detector(const struct vs_pii_state *p)
{
    return (struct vs_detector){ "pii", p, find, NULL };
}
