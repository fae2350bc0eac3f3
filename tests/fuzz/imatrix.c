/* rooms: import graph tensor base */
/* Any bytes as an importance matrix: what opens gives, for any name and shape, finite numbers that are not negative, or an
 * error. */
#include "import/imatrix.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const struct { const char *name; uint64_t columns, matrices; } asked[] = {
        { "blk.0.attn_q.weight", 8, 1 }, { "blk.0.ffn_up_exps.weight", 4, 2 }, { "a", 1, 1 }, { "", 1, 1 },
        { "a name that is longer than any name of a tensor can be in either of the two formats: both stop before", 1, 1 },
    };
    struct vs_imatrix *m;
    struct vs_error err = { 0 };
    struct vs_source source = vs_source_memory(data, n);
    if (vs_imatrix_open(&source, &m, &err) != VS_OK) {
        if (!err.text[0])
            abort();
        return 0;
    }
    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
        float *v = NULL;
        if (vs_imatrix_of(m, asked[i].name, asked[i].columns, asked[i].matrices, &v, &err) != VS_OK && v)
            abort();
        for (uint64_t k = 0; v && k < asked[i].columns * asked[i].matrices; k++)
            if (!(v[k] >= 0) || v[k] > 3.4e38f)
                abort();
        free(v);
    }
    vs_imatrix_close(m);
    return 0;
}
