/* base/source.h - bytes that are read by range: a file, a file that must be decrypted first, memory.
 *
 * Who reads gets a copy in memory of its own and looks only at that: what lies behind may change at any time.
 * Threads: read may be called by several at once, on ranges that do not overlap.
 */
#ifndef VS_BASE_SOURCE_H
#define VS_BASE_SOURCE_H
#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

struct vs_source {
    /* All of [offset, offset + n) to `to`, or VS_E_* with text: the caller has checked the range against n_bytes. */
    int (*read)(void *context, uint64_t offset, size_t n, void *to, struct vs_error *err);
    void *context;
    uint64_t n_bytes;
    const uint64_t *part_end;            /* [n_parts], of a file in several parts, one behind the other; the last is n_bytes */
    unsigned n_parts;                    /* 0: it is one */
};

static inline int vs_source_read(const struct vs_source *s, uint64_t offset, size_t n, void *to, struct vs_error *err)
{
    return s->read(s->context, offset, n, to, err);
}

/* n bytes at `bytes`, which stay the caller's and must outlive it. */
struct vs_source vs_source_memory(const void *bytes, size_t n);
#endif
