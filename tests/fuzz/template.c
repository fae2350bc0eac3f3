/* rooms: template base */
/* Input: template source, NUL, JSON context. Whatever they are, rendering ends within its bounds, and the runs cover the
 * text. */
#include "template/template.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const char *const trusted[] = { "bos_token", "eos_token", NULL };
    const struct vs_template_limits limits = { .steps = 50000, .output_bytes = 1 << 18, .depth = 64 };
    const uint8_t *nul = memchr(data, 0, n);
    size_t n_source = nul ? (size_t)(nul - data) : n;
    struct vs_template *t;
    struct vs_error err = { 0 };
    if (vs_template_parse((const char *)data, n_source, &t, &err) != VS_OK)
        return 0;
    json_t *context = nul ? json_loadb((const char *)nul + 1, n - n_source - 1, JSON_ALLOW_NUL, NULL) : NULL;
    struct vs_marked_text out = { 0 };
    if (vs_template_render(t, context, trusted, 1700000000, &limits, &out, &err) == VS_OK) {
        size_t sum = 0;
        for (size_t i = 0; i < out.n_runs; i++)
            sum += out.runs[i].n;
        if (sum != out.text.n)
            abort();
    }
    vs_marked_text_clear(&out);
    json_decref(context);
    vs_template_free(t);
    return 0;
}
