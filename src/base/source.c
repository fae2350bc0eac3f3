/* base/source.c - see source.h */
#include "base/source.h"

#include <string.h>

static int read_memory(void *context, uint64_t offset, size_t n, void *to, struct vs_error *err)
{
    (void)err;
    memcpy(to, (const char *)context + offset, n);
    return VS_OK;
}

struct vs_source vs_source_memory(const void *bytes, size_t n)
{
    return (struct vs_source){ .read = read_memory, .context = (void *)(uintptr_t)bytes, .n_bytes = n };
}
