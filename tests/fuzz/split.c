/* rooms: import tensor base */
/* Any bytes as the parts of a model: number and lengths come first. What is taken as one model lies within its parts, each tensor
 * in one of them. */
#include "base/source.h"
#include "import/gguf.h"
#include "import/header.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { MAX_PARTS = 4 };

/* n_parts - 1, then two bytes for the length of each part but the last. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    uint64_t end[MAX_PARTS];
    if (!n)
        return 0;
    unsigned n_parts = 1 + data[0] % MAX_PARTS;
    if (n < 1 + 2 * (n_parts - 1u))
        return 0;
    const uint8_t *lengths = data + 1, *bytes = lengths + 2 * (n_parts - 1u);
    size_t all = n - (size_t)(bytes - data), at = 0;
    for (unsigned i = 0; i < n_parts; i++) {
        size_t length = i + 1 < n_parts ? lengths[2 * i] | (size_t)lengths[2 * i + 1] << 8 : all;
        at += length < all - at ? length : all - at;
        end[i] = at;
    }
    struct vs_source source = vs_source_memory(bytes, all);
    source.part_end = end;
    source.n_parts = n_parts;
    struct vs_header *h;
    struct vs_error err = { 0 };
    if (vs_header_open(&source, &h, &err) != VS_OK) {
        if (!err.text[0])
            abort();
        return 0;
    }
    const struct vs_gguf *g = vs_header_gguf(h);
    for (size_t i = 0; i < vs_gguf_n_tensors(g); i++) {
        const struct vs_gguf_tensor *t = vs_gguf_tensor_at(g, i);
        bool fits = false;
        for (unsigned k = 0; k < n_parts; k++)
            fits |= t->offset >= (k ? end[k - 1] : 0) && t->offset <= end[k] && t->n_bytes <= end[k] - t->offset;
        if (!fits)
            abort();
    }
    for (unsigned k = 0; k < vs_header_n_parts(h); k++) {
        uint64_t start;
        size_t used;
        const uint8_t *head = vs_header_bytes(h, k, &start, &used);
        if (start + used > end[k] || memcmp(head, bytes + start, used) != 0)
            abort();
    }
    vs_header_close(h);
    return 0;
}
