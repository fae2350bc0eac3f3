/* filter/finding.h - what a filter finds in a text, and the names of what there is to find.
 *
 * Names are those of the policy file, of `veritas scan` and `veritas redact`, and of the key `guard` of a result. Offsets are in
 * bytes of the text that was given, whatever the view in which something was found. Memory: the strings of a finding are static, or
 * belong to the rules that found it. Threads: none.
 */
#ifndef VS_FILTER_FINDING_H
#define VS_FILTER_FINDING_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VS_FINDING_KIND_MAP(X)          /* name in JSON */                                                     \
    X(INJECTION,     "injection")       /* a rule, or the linear model */                                     \
    X(PII,           "pii")             /* one of VS_PII_MAP */                                               \
    X(SECRET,        "secret")          /* type API_KEY */                                                    \
    X(PROTECTED,     "protected")       /* a value of secrets.protect, plain or encoded */                    \
    X(SYSTEM_PROMPT, "system_prompt")   /* 48 characters of the request's system message */                   \
    X(URL,           "url")             /* one that output.url_allow does not name */                         \
    X(CONTROL,       "control")         /* a control character or an ANSI sequence */

#define VS_PII_MAP(X)                   /* the types that a policy names; the second column: on when it names none */ \
    X(CREDIT_CARD, true) X(SSN, true) X(EMAIL, true) X(PHONE, true) X(IP_ADDRESS, true) X(MAC_ADDRESS, true)          \
    X(BANK_ACCOUNT, true) X(PASSPORT, true) X(DRIVER_LICENSE, true) X(DATE_OF_BIRTH, true) X(ADDRESS, true)           \
    X(MEDICAL_RECORD, true) X(API_KEY, true) X(NATIONAL_ID, false) X(CRYPTO_ADDRESS, false)

#define VS_ZONE_MAP(X)                  /* where a text comes from: how far it is trusted */                          \
    X(SYSTEM, "system") X(USER, "user") X(RETRIEVED, "retrieved") X(TOOL, "tool")

enum vs_finding_kind {
#define VS_FINDING_ENUM(name, text) VS_FOUND_##name,
    VS_FINDING_KIND_MAP(VS_FINDING_ENUM)
#undef VS_FINDING_ENUM
    VS_N_FOUND
};

enum vs_pii {
#define VS_PII_ENUM(name, preset) VS_PII_##name,
    VS_PII_MAP(VS_PII_ENUM)
#undef VS_PII_ENUM
    VS_N_PII
};

enum vs_zone {
#define VS_ZONE_ENUM(name, text) VS_ZONE_##name,
    VS_ZONE_MAP(VS_ZONE_ENUM)
#undef VS_ZONE_ENUM
    VS_N_ZONES
};

struct vs_finding {
    enum vs_finding_kind kind;
    const char *type;                    /* of PII and secrets a name of VS_PII_MAP, of rules their class ("override") */
    const char *rule;                    /* the id of what found it: "email", "github-pat", "R012", "linear" */
    const char *view;                    /* "plain", or the view in which it was seen: "base64", "confusables", ... */
    size_t start, end;                   /* bytes of the text that was given */
    unsigned score;                      /* 0 to 1000: how sure */
};

/* "pii"; "EMAIL", or of kinds without types their own name: "URL". Static. */
const char *vs_finding_kind_name(enum vs_finding_kind kind);
const char *vs_finding_type(enum vs_finding_kind kind, enum vs_pii type);
#endif
