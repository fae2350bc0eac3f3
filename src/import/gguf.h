/* import/gguf.h - reads the header of a GGUF file (v2, v3) that nobody vouches for.
 *
 * Everything is checked against the true file size before use: counts, string lengths, types, products of
 * dimensions, alignment, offsets, order of tensors, duplicate keys and names. Nothing here looks at tensor
 * data; a tensor is an (offset, bytes) pair proven to lie inside the file. Time is n log n in the size of the header
 * whatever it holds, memory at most about three times it; a header is at most 256 MiB.
 *
 * Memory:  the parser keeps pointers into `head`, which must outlive it. Its own tables are malloc'ed; _close frees.
 * Threads: read-only after _open.
 * Failure: VS_E_SHORT when `head` ends before the header does but the file goes on (call again with more bytes);
 *          VS_E_MALFORMED / VS_E_UNSUPPORTED / VS_E_NOMEM with a text that names the key or tensor and the fault.
 */
#ifndef VS_IMPORT_GGUF_H
#define VS_IMPORT_GGUF_H
#include "base/entry.h"
#include "tensor/dtype.h"

struct vs_gguf_tensor {
    struct vs_str name;
    uint32_t n_dims;                    /* 1..4 */
    uint64_t ne[4];                     /* ne[0] runs fastest; unused are 1 */
    const struct vs_dtype_info *dtype;
    uint64_t offset;                    /* from the start of the file */
    uint64_t n_bytes;                   /* offset + n_bytes <= file size */
};

struct vs_gguf;

/* head[0..n_head) are the first bytes of a file of file_size bytes. */
int vs_gguf_open(const void *head, size_t n_head, uint64_t file_size, struct vs_gguf **ret, struct vs_error *err);
void vs_gguf_close(struct vs_gguf *g);

/* Makes g, which was opened from the first part of a split model, the whole: n others follow it, number i of them begins at byte
 * start[i] when all parts are laid one behind the other. Their keys are only checked: each must be the part that it stands for. The
 * heads of all must outlive g; the others are not needed any more. After a failure g is as it was. */
int vs_gguf_join(struct vs_gguf *g, struct vs_gguf *const *others, const uint64_t *start, unsigned n, struct vs_error *err);
unsigned vs_gguf_n_parts(const struct vs_gguf *g);              /* that were joined; 1: it is one file */

uint32_t vs_gguf_version(const struct vs_gguf *g);
uint64_t vs_gguf_data_start(const struct vs_gguf *g);           /* byte of the file where tensor data begins */
const struct vs_entries *vs_gguf_entries(const struct vs_gguf *g);
size_t vs_gguf_n_tensors(const struct vs_gguf *g);
const struct vs_gguf_tensor *vs_gguf_tensor_at(const struct vs_gguf *g, size_t i);
const struct vs_gguf_tensor *vs_gguf_tensor(const struct vs_gguf *g, const char *name); /* NULL when absent */
#endif
