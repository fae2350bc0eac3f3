/* filter/pii.h - personal data, as a detector: the types of VS_PII_MAP but API_KEY, which is secrets.h's.
 *
 * One pass over the bytes; at the beginning of a word or number, the matchers that may begin there look at it and at the words
 * around it. What is told has a shape and more: a check digit, a known range, a label near it ("SSN:", "date of birth"), or
 * a shape that nothing else has. What each type needs is said at its matcher (pii_*.c). Labels are known in English and, where a
 * word is plain, in German, French, Spanish, Italian, Portuguese and Dutch; those of telephones and births, and some others, in
 * further languages and scripts (pii_words.c).
 *
 * At most one span begins at a place. Its rule is the matcher's name for it: "card", "iban", "nhs". No clock is asked: a birth
 * lies in the years VS_PII_BORN_FIRST to VS_PII_BORN_LAST.
 *
 * Memory: the struct, which the detector points to. Threads: read only after _init.
 */
#ifndef VS_FILTER_PII_H
#define VS_FILTER_PII_H
#include "filter/detector.h"

enum { VS_PII_BORN_FIRST = 1902, VS_PII_BORN_LAST = 2027 };

#define VS_PII_BIT(type) (1u << (type))
#define VS_PII_PRESET_BIT(name, preset) | ((preset) ? VS_PII_BIT(VS_PII_##name) : 0)
enum { VS_PII_PRESET = 0 VS_PII_MAP(VS_PII_PRESET_BIT) };   /* the types that are on when a policy names none */

struct vs_pii_state {
    uint32_t types;                      /* VS_PII_BIT of those that are told */
};

void vs_pii_init(struct vs_pii_state *p, uint32_t types);
struct vs_detector vs_pii_detector(const struct vs_pii_state *p);
#endif
