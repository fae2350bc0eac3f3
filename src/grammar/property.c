/* grammar/property.c - \p{...} of regular expressions: general categories by their short and long names, and a few properties. */
#include "grammar/internal.h"

#include "unicode/unicode.h"

#include <string.h>

#define BIT(name) (UINT32_C(1) << VS_U_##name)
#define ALL_CASED (BIT(LU) | BIT(LL) | BIT(LT))
#define ALL_L (ALL_CASED | BIT(LM) | BIT(LO))
#define ALL_M (BIT(MN) | BIT(MC) | BIT(ME))
#define ALL_N (BIT(ND) | BIT(NL) | BIT(NO))
#define ALL_P (BIT(PC) | BIT(PD) | BIT(PS) | BIT(PE) | BIT(PI) | BIT(PF) | BIT(PO))
#define ALL_S (BIT(SM) | BIT(SC) | BIT(SK) | BIT(SO))
#define ALL_Z (BIT(ZS) | BIT(ZL) | BIT(ZP))
#define ALL_ASSIGNED (ALL_L | ALL_M | ALL_N | ALL_P | ALL_S | ALL_Z | BIT(CC) | BIT(CF) | BIT(CS) | BIT(CO))

static const struct category { const char *name, *long_name; uint32_t mask; } categories[] = {
    { "L", "Letter", ALL_L }, { "LC", "Cased_Letter", ALL_CASED },
    { "Lu", "Uppercase_Letter", BIT(LU) }, { "Ll", "Lowercase_Letter", BIT(LL) }, { "Lt", "Titlecase_Letter", BIT(LT) },
    { "Lm", "Modifier_Letter", BIT(LM) }, { "Lo", "Other_Letter", BIT(LO) },
    { "M", "Mark", ALL_M }, { "M", "Combining_Mark", ALL_M },
    { "Mn", "Nonspacing_Mark", BIT(MN) }, { "Mc", "Spacing_Mark", BIT(MC) }, { "Me", "Enclosing_Mark", BIT(ME) },
    { "N", "Number", ALL_N },
    { "Nd", "Decimal_Number", BIT(ND) }, { "digit", "digit", BIT(ND) }, { "Nl", "Letter_Number", BIT(NL) },
    { "No", "Other_Number", BIT(NO) },
    { "P", "Punctuation", ALL_P }, { "punct", "punct", ALL_P },
    { "Pc", "Connector_Punctuation", BIT(PC) }, { "Pd", "Dash_Punctuation", BIT(PD) }, { "Ps", "Open_Punctuation", BIT(PS) },
    { "Pe", "Close_Punctuation", BIT(PE) }, { "Pi", "Initial_Punctuation", BIT(PI) }, { "Pf", "Final_Punctuation", BIT(PF) },
    { "Po", "Other_Punctuation", BIT(PO) },
    { "S", "Symbol", ALL_S },
    { "Sm", "Math_Symbol", BIT(SM) }, { "Sc", "Currency_Symbol", BIT(SC) }, { "Sk", "Modifier_Symbol", BIT(SK) },
    { "So", "Other_Symbol", BIT(SO) },
    { "Z", "Separator", ALL_Z },
    { "Zs", "Space_Separator", BIT(ZS) }, { "Zl", "Line_Separator", BIT(ZL) }, { "Zp", "Paragraph_Separator", BIT(ZP) },
    { "C", "Other", BIT(CC) | BIT(CF) | BIT(CS) | BIT(CO) | BIT(CN) },
    { "Cc", "Control", BIT(CC) }, { "cntrl", "cntrl", BIT(CC) }, { "Cf", "Format", BIT(CF) }, { "Cs", "Surrogate", BIT(CS) },
    { "Co", "Private_Use", BIT(CO) }, { "Cn", "Unassigned", BIT(CN) },
};

static const struct category properties[] = {
    { "Any", "Any", ALL_ASSIGNED | BIT(CN) }, { "Assigned", "Assigned", ALL_ASSIGNED },
    { "space", "White_Space", BIT(WHITE_SPACE) },
};

static const struct category scripts[] = {
    { "Hani", "Han", BIT(HAN) },
};

static uint32_t mask_in(const struct category *rows, size_t n_rows, const char *name, size_t n)
{
    for (size_t i = 0; i < n_rows; i++)
        if ((strlen(rows[i].name) == n && memcmp(rows[i].name, name, n) == 0)
            || (strlen(rows[i].long_name) == n && memcmp(rows[i].long_name, name, n) == 0))
            return rows[i].mask;
    return 0;
}

/* NAME, gc=NAME or sc=NAME, with long names too; 0: nobody here knows it. */
static uint32_t mask_of(const char *name, size_t n)
{
    static const struct { const char *before; const struct category *rows; size_t n_rows; } kinds[] = {
        { "gc=", categories, sizeof categories / sizeof *categories },
        { "General_Category=", categories, sizeof categories / sizeof *categories },
        { "sc=", scripts, sizeof scripts / sizeof *scripts },
        { "Script=", scripts, sizeof scripts / sizeof *scripts },
        { "", categories, sizeof categories / sizeof *categories },
        { "", properties, sizeof properties / sizeof *properties },
    };
    uint32_t mask = 0;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds && !mask; i++) {
        size_t k = strlen(kinds[i].before);
        if (n > k && memcmp(name, kinds[i].before, k) == 0)
            mask = mask_in(kinds[i].rows, kinds[i].n_rows, name + k, n - k);
    }
    return mask;
}

bool vs_property_ranges(struct vs_grammar *g, const char *name, size_t n, struct vs_ranges *r)
{
    struct vs_unicode_walk walk = { 0 };
    uint32_t first, last, mask = mask_of(name, n);
    if (n == 5 && memcmp(name, "ASCII", n) == 0)
        return vs_ranges_add(g, r, 0, 0x7f);
    while (mask && vs_unicode_walk(&walk, mask, &first, &last))
        if (!vs_ranges_add(g, r, first, last))
            return true;                /* g has the error */
    return mask != 0;
}
