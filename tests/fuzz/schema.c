/* rooms: grammar base */
/* A JSON schema: input is JSON. See support/constraint.h. */
#include "../support/constraint.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    json_t *value = json_loadb((const char *)data, n, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    fuzz_constraint(value ? json_pack("{s:o}", "json_schema", value) : NULL, data, n);
    return 0;
}
