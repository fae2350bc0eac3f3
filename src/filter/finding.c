/* filter/finding.c - see finding.h */
#include "filter/finding.h"

static const char *const kinds[] = {
#define KIND(name, text) text,
    VS_FINDING_KIND_MAP(KIND)
};

static const char *const kind_types[] = {
#define KIND_TYPE(name, text) #name,
    VS_FINDING_KIND_MAP(KIND_TYPE)
};

static const char *const pii_types[] = {
#define PII_TYPE(name, preset) #name,
    VS_PII_MAP(PII_TYPE)
};

const char *vs_finding_kind_name(enum vs_finding_kind kind)
{
    return kinds[kind];
}

const char *vs_finding_type(enum vs_finding_kind kind, enum vs_pii type)
{
    return kind == VS_FOUND_PII || kind == VS_FOUND_SECRET ? pii_types[type] : kind_types[kind];
}
