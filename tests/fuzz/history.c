/* rooms: base */
/* Any bytes as a line of the chat history: what is read from it is an entry that is written and read back unchanged. */
#include "prog/veritas/history_line.c"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct vs_buf entry = { 0 }, line = { 0 }, again = { 0 };
    if (vs_history_decode((const char *)data, n, &entry)) {
        vs_history_encode(entry.data, entry.n, &line);
        if (line.n < 2 || memchr(line.data, '\n', line.n) != line.data + line.n - 1 ||
            !vs_history_decode(line.data, line.n - 1, &again) || again.n != entry.n || memcmp(again.data, entry.data, entry.n) != 0)
            abort();
    }
    vs_buf_clear(&entry);
    vs_buf_clear(&line);
    vs_buf_clear(&again);
    return 0;
}
