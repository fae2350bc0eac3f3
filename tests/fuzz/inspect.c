/* rooms: cpu import tensor ipc base */
/* Any bytes as a whole file, inspected: the answer must be JSON that can be read back and is not much larger than the file. */
#include "cpu/backend.h"
#include "prog/worker/inspect.c"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct vs_gguf *g = NULL;
    struct vs_error err = { 0 };
    if (n < 1 || vs_gguf_open(data + 1, n - 1, n - 1, &g, &err) != VS_OK)
        return 0;
    json_t *out = NULL;
    if (vs_inspect(g, &vs_backend_cpu, data[0], NULL, &out, &err) != VS_OK)
        abort();
    char *text = json_dumps(out, JSON_COMPACT);
    json_t *again = text ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : NULL;
    if (!again || strlen(text) > 20 * n + 4096)
        abort();
    json_decref(again);
    json_decref(out);
    free(text);
    vs_gguf_close(g);
    return 0;
}
