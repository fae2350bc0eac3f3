/* rooms: filter unicode base */
/* Rules as people write them, and the table of compiled ones: input is either. */
#include "filter/rules.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct vs_rulefile f = { 0 };
    struct vs_rule_table table;
    struct vs_rules *rules;
    struct vs_error err;
    if (n > 1 << 16)
        return 0;
    vs_rulefile_add(&f, "fuzz", (const char *)data, n, &err);
    vs_rulefile_clear(&f);
    if (vs_rule_table_read(&table, data, n, &err) == VS_OK)
        vs_rule_table_clear(&table);
    if (vs_rules_open(data, n, &rules, &err) == VS_OK)
        vs_rules_close(rules);
    return 0;
}
