/* filter/pii_match.h - the matchers of personal data: each looks at what begins at a->p, and tells by a->end, type, rule and score.
 *
 * A matcher is asked only where a word or number begins (pii.c), and says false when what it wants is not there, or is not sure yet
 * (a->is_short). Memory: none. Threads: pure.
 */
#ifndef VS_FILTER_PII_MATCH_H
#define VS_FILTER_PII_MATCH_H
#include "filter/pii_text.h"

bool vs_pii_email(struct vs_pii_at *a);
bool vs_pii_mac(struct vs_pii_at *a);
bool vs_pii_ipv4(struct vs_pii_at *a);
bool vs_pii_ipv6(struct vs_pii_at *a);
bool vs_pii_birth(struct vs_pii_at *a);             /* a date that is somebody's birth */
bool vs_pii_house(struct vs_pii_at *a);             /* an address that begins with a number */
bool vs_pii_street(struct vs_pii_at *a, size_t end, uint64_t classes);     /* ... with a word, which is text[p, end) */
bool vs_pii_phone(struct vs_pii_at *a);             /* beginning with a digit, '+' or '(' */
bool vs_pii_card(struct vs_pii_at *a, const struct vs_pii_groups *g);
bool vs_pii_ssn(struct vs_pii_at *a, const struct vs_pii_groups *g);
bool vs_pii_iban(struct vs_pii_at *a);
bool vs_pii_structured(struct vs_pii_at *a);        /* numbers whose own structure is enough: UK licence, MBI, MRZ, wallets, ... */
bool vs_pii_labelled(struct vs_pii_at *a);          /* numbers that only a label tells: accounts, passports, records, ... */
bool vs_pii_national(struct vs_pii_at *a);
#endif
