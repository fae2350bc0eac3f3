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
#include "base/status.h"
#include "tensor/dtype.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum vs_gguf_type {
    VS_GGUF_U8, VS_GGUF_I8, VS_GGUF_U16, VS_GGUF_I16, VS_GGUF_U32, VS_GGUF_I32, VS_GGUF_F32, VS_GGUF_BOOL,
    VS_GGUF_STRING, VS_GGUF_ARRAY, VS_GGUF_U64, VS_GGUF_I64, VS_GGUF_F64,
};

struct vs_str {                         /* not NUL-terminated, not guaranteed UTF-8 */
    const char *data;
    size_t n;
};

/* A name out of a file as messages show it: printable ASCII only, and not much of it. */
struct vs_shown { char text[100]; };
struct vs_shown vs_gguf_shown(struct vs_str name);

struct vs_gguf_kv {
    struct vs_str key;
    enum vs_gguf_type type;             /* VS_GGUF_ARRAY: see elem_type and count */
    enum vs_gguf_type elem_type;
    uint64_t count;                     /* 1 for scalars */
    const uint8_t *data;                /* first element, unaligned little-endian; strings: u64 length + bytes, in a row */
    size_t n_bytes;
};

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

uint32_t vs_gguf_version(const struct vs_gguf *g);
uint64_t vs_gguf_data_start(const struct vs_gguf *g);           /* byte of the file where tensor data begins */
const char *vs_gguf_type_name(enum vs_gguf_type type);          /* "u32" */
size_t vs_gguf_n_kv(const struct vs_gguf *g);
const struct vs_gguf_kv *vs_gguf_kv_at(const struct vs_gguf *g, size_t i);
const struct vs_gguf_kv *vs_gguf_find(const struct vs_gguf *g, const char *key);      /* NULL when absent */
size_t vs_gguf_n_tensors(const struct vs_gguf *g);
const struct vs_gguf_tensor *vs_gguf_tensor_at(const struct vs_gguf *g, size_t i);
const struct vs_gguf_tensor *vs_gguf_tensor(const struct vs_gguf *g, const char *name); /* NULL when absent */

/* Element i (< count) of a value as a number or string. false when the type does not fit (an integer
 * out of the wanted range, a string asked as number, ...); *ret is then untouched. _uint and _int accept every
 * integer type and bool; _float accepts f32, f64 and integers. */
bool vs_gguf_uint(const struct vs_gguf_kv *kv, uint64_t i, uint64_t *ret);
bool vs_gguf_int(const struct vs_gguf_kv *kv, uint64_t i, int64_t *ret);
bool vs_gguf_float(const struct vs_gguf_kv *kv, uint64_t i, double *ret);

/* Walks the strings of a string or array-of-string value. cursor starts as zero. false at the end. */
struct vs_gguf_cursor { size_t at; uint64_t i; };
bool vs_gguf_next_str(const struct vs_gguf_kv *kv, struct vs_gguf_cursor *cursor, struct vs_str *ret);

/* Scalars by key: VS_OK and *ret set; VS_E_NOT_FOUND (no text in err) when absent; VS_E_MALFORMED with text when the
 * type or range is wrong. */
int vs_gguf_get_u32(const struct vs_gguf *g, const char *key, uint32_t *ret, struct vs_error *err);
int vs_gguf_get_f32(const struct vs_gguf *g, const char *key, float *ret, struct vs_error *err);
int vs_gguf_get_bool(const struct vs_gguf *g, const char *key, bool *ret, struct vs_error *err);
int vs_gguf_get_str(const struct vs_gguf *g, const char *key, struct vs_str *ret, struct vs_error *err);
#endif
