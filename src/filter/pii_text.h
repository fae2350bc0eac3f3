/* filter/pii_text.h - how the matchers of personal data read: a place in the text, the words around it, and what they mean.
 *
 * A matcher at p sees text[p - VS_DETECT_CONTEXT, p + VS_DETECT_HELD) and no more, and who reads where the text has no end yet is
 * marked `is_short`: so its answer depends on those bytes alone, however the text was cut.
 *
 * Memory: none. Threads: pure.
 */
#ifndef VS_FILTER_PII_TEXT_H
#define VS_FILTER_PII_TEXT_H
#include "filter/pii.h"

#include <assert.h>

/* What a word near a number says about it. */
#define VS_PII_CLASS_MAP(X)                                                                                                        \
    X(CARD) X(SSN) X(SOCIAL) X(SECURITY) X(PHONE) X(VERSION) X(MASK) X(ACCOUNT) X(BANK) X(IBAN) X(ROUTING) X(SORT)         \
    X(PASSPORT) X(LICENSE) X(DRIVER) X(UNLICENSE) X(BIRTH) X(EVENT) X(MRN) X(MEDICAL) X(RECORD) X(PATIENT) X(NUMBER) X(NHS)        \
    X(NPI) X(MBI) X(DEA) X(MAC) X(OTHER) X(LINK) X(PLACE) X(AADHAAR) X(SIN) X(CPF) X(DNI) X(CODICE) X(PESEL) X(NIR)        \
    X(BSN) X(NORDIC) X(RRN) X(CHINA) X(SOUTH) X(TURKEY) X(NATIONAL) X(TAX) X(SOFT) X(USER) X(NINO) X(EXTENSION) X(MONTH)         \
    X(STREET) X(BOX) X(UNIT) X(ROAD) X(LANE) X(WIND) X(STATE) X(CHART) X(NET) X(SUFFIX) X(LABEL) X(ELSE)

enum vs_pii_class {
#define VS_PII_CLASS_ENUM(name) VS_NEAR_##name,
    VS_PII_CLASS_MAP(VS_PII_CLASS_ENUM)
#undef VS_PII_CLASS_ENUM
    VS_N_NEAR
};
static_assert(VS_N_NEAR <= 64, "a bit each");
#define VS_NEAR(name) (UINT64_C(1) << VS_NEAR_##name)

enum { VS_FAR = 99 };

struct vs_pii_at {
    const struct vs_pii_state *pii;
    const char *text;
    size_t n, p;
    bool whole;
    bool is_short;                       /* read at n while more may follow: what was found is not sure */
    enum { NONE_KNOWN, NEXT_KNOWN, ALL_KNOWN } known;    /* of `near`: nothing, what is 0, all */
    uint8_t near[VS_N_NEAR];             /* words between p and the nearest word of the class before it; VS_FAR: none */
    /* what was found */
    size_t end;
    enum vs_pii type;
    const char *rule;
    unsigned score;
};

/* The byte at i >= p; 0: the text ends there, or what may be looked at. */
static inline uint8_t vs_pii_byte(struct vs_pii_at *a, size_t i)
{
    if (i >= a->p + VS_DETECT_HELD)
        return 0;
    if (i < a->n)
        return (uint8_t)a->text[i];
    if (!a->whole)
        a->is_short = true;
    return 0;
}

/* The byte `back` (1 and up) before p; 0: there is none. */
static inline uint8_t vs_pii_before(const struct vs_pii_at *a, size_t back)
{
    return back <= a->p && back <= VS_DETECT_CONTEXT ? (uint8_t)a->text[a->p - back] : 0;
}

enum { VS_C_DIGIT = 1, VS_C_UPPER = 2, VS_C_LOWER = 4, VS_C_HEX = 8, VS_C_HIGH = 16, VS_C_MAIL = 32, VS_C_SPACE = 64 };
extern const uint8_t vs_pii_kind[256];
static inline bool vs_is_digit(uint8_t c) { return (unsigned)c - '0' < 10; }
static inline bool vs_is_alpha(uint8_t c) { return ((unsigned)c | 32) - 'a' < 26; }
static inline bool vs_is_upper(uint8_t c) { return (unsigned)c - 'A' < 26; }
static inline bool vs_is_lower(uint8_t c) { return (unsigned)c - 'a' < 26; }
static inline bool vs_is_alnum(uint8_t c) { return vs_is_digit(c) || vs_is_alpha(c); }
static inline bool vs_is_word(uint8_t c) { return vs_is_alnum(c) || c == '_'; }
static inline bool vs_is_hex(uint8_t c) { return vs_is_digit(c) || ((unsigned)c | 32) - 'a' < 6; }

/* How near before p a word of one of the classes stands: words between. VS_FAR: none in sight. */
unsigned vs_pii_near(struct vs_pii_at *a, uint64_t classes);

/* Whether one of the classes is as near as can be (0): what stands right before p is looked at, and no more. */
bool vs_pii_is_next(struct vs_pii_at *a, uint64_t classes);

/* Behind i: "(SSN)", "is my SSN": the classes of the word that names what stands before it; 0: none. */
uint64_t vs_pii_after(struct vs_pii_at *a, size_t i);

/* The month that the word at i names, in eleven languages: 1 to 12; 0: none. *ret_end: its end, with the dot of a short form. */
unsigned vs_pii_month(struct vs_pii_at *a, size_t i, size_t *ret_end);

/* The word at i, which begins there: its end; its classes. Small and capital letters are the same. */
size_t vs_pii_word(struct vs_pii_at *a, size_t i, uint64_t *ret_classes);

/* Whether the letters at i are `word` (small letters), and no letter follows. */
bool vs_pii_is_all(struct vs_pii_at *a, size_t i, const char *word);
static inline bool vs_pii_is(struct vs_pii_at *a, size_t i, const char *word)
{
    uint8_t c = vs_pii_byte(a, i);
    return (vs_is_upper(c) ? c | 32 : c) == (uint8_t)*word && vs_pii_is_all(a, i, word);
}

/* Digits in groups, with one separator between two: ' ' '-' '.' '/' (also their forms that do not break). */
enum { VS_PII_GROUPS = 8, VS_PII_DIGITS = 24 };
struct vs_pii_groups {
    unsigned n, n_digits;
    uint8_t length[VS_PII_GROUPS];
    char separator[VS_PII_GROUPS];       /* before the group; [0]: 0 */
    size_t end[VS_PII_GROUPS];
    char digits[VS_PII_DIGITS + 1];
};
/* At i; false: no digits, or more than fit. */
bool vs_pii_groups(struct vs_pii_at *a, size_t i, struct vs_pii_groups *ret);

/* What follows i does not go on with what ends there: no letter, digit, '_', no '-' or '.' or '/' with one behind it. */
bool vs_pii_ends(struct vs_pii_at *a, size_t i);

/* Groups of digits or letters with spaces stand before p and behind i: what is between may be a part of something longer. */
bool vs_pii_is_between(struct vs_pii_at *a, size_t i);

/* What stands before p does not reach into it: "A-", "1.", "$" do. */
bool vs_pii_begins(struct vs_pii_at *a);

static inline bool vs_pii_found(struct vs_pii_at *a, size_t end, enum vs_pii type, const char *rule, unsigned score)
{
    a->end = end, a->type = type, a->rule = rule, a->score = score;
    return true;
}

static inline bool vs_pii_wants(const struct vs_pii_at *a, enum vs_pii type)
{
    return a->pii->types >> type & 1;
}
#endif
