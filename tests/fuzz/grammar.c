/* rooms: grammar base */
/* A grammar in GBNF: input is its text. See support/constraint.h. */
#include "../support/constraint.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    json_t *value = json_stringn((const char *)data, n);
    fuzz_constraint(value ? json_pack("{s:o}", "grammar", value) : NULL, data, n);
    return 0;
}
