/* base/entry.h - what a file says about itself: values by key, whatever the file's format.
 *
 * A reader of a format (import/gguf.c) makes the table; tokenizer, template and sampler look into it and know of no format.
 * The bytes are foreign and were checked by who made the table: every value lies whole where `data` points.
 *
 * Memory:  the table points into its maker's memory.
 * Threads: read-only.
 */
#ifndef VS_BASE_ENTRY_H
#define VS_BASE_ENTRY_H
#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum vs_entry_type {                    /* in the order of GGUF's numbers */
    VS_ENTRY_U8, VS_ENTRY_I8, VS_ENTRY_U16, VS_ENTRY_I16, VS_ENTRY_U32, VS_ENTRY_I32, VS_ENTRY_F32, VS_ENTRY_BOOL,
    VS_ENTRY_STRING, VS_ENTRY_ARRAY, VS_ENTRY_U64, VS_ENTRY_I64, VS_ENTRY_F64, VS_N_ENTRY_TYPES
};
const char *vs_entry_type_name(enum vs_entry_type type);         /* "u32" */
size_t vs_entry_type_bytes(enum vs_entry_type type);             /* of one element; of strings and arrays the least */

struct vs_str {                         /* not NUL-terminated, not guaranteed UTF-8 */
    const char *data;
    size_t n;
};

/* A name out of a file as messages show it: printable ASCII only, and not much of it. */
struct vs_shown { char text[100]; };
struct vs_shown vs_str_shown(struct vs_str name);

/* Records that begin with their name (struct vs_str), found by it: an index in ascending order. Time is n log n whatever the names.
 * VS_E_MALFORMED and *ret_twice when a name occurs twice, VS_E_NOMEM; *ret is the caller's to free in any case. */
int vs_names_index(const void *records, size_t stride, size_t n, uint32_t **ret, struct vs_str *ret_twice);
const void *vs_names_find(const void *records, size_t stride, const uint32_t *by_name, size_t n, const char *name);

struct vs_entry {
    struct vs_str key;
    enum vs_entry_type type;            /* VS_ENTRY_ARRAY: see elem_type and count */
    enum vs_entry_type elem_type;
    uint64_t count;                     /* 1 for scalars */
    const uint8_t *data;                /* first element, unaligned little-endian; strings: u64 length + bytes, in a row */
    size_t n_bytes;
};

/* Element i (< count) of a value as a number or string. false when the type does not fit (an integer
 * out of the wanted range, a string asked as number, ...); *ret is then untouched. _uint and _int accept every
 * integer type and bool; _float accepts f32, f64 and integers. */
bool vs_entry_uint(const struct vs_entry *kv, uint64_t i, uint64_t *ret);
bool vs_entry_int(const struct vs_entry *kv, uint64_t i, int64_t *ret);
bool vs_entry_float(const struct vs_entry *kv, uint64_t i, double *ret);

/* Walks the strings of a string or array-of-string value. cursor starts as zero. false at the end. */
struct vs_entry_cursor { size_t at; uint64_t i; };
bool vs_entry_next_str(const struct vs_entry *kv, struct vs_entry_cursor *cursor, struct vs_str *ret);

struct vs_entries {
    const char *format;                 /* "GGUF", for messages */
    const struct vs_entry *entry;       /* [n] in the file's order */
    size_t n;
    const uint32_t *by_key;             /* as vs_names_index gives it */
};
const struct vs_entry *vs_entries_find(const struct vs_entries *s, const char *key);      /* NULL when absent */

/* Scalars by key: VS_OK and *ret set; VS_E_NOT_FOUND (no text in err) when absent; VS_E_MALFORMED with text when the
 * type or range is wrong. */
int vs_entries_u32(const struct vs_entries *s, const char *key, uint32_t *ret, struct vs_error *err);
int vs_entries_f32(const struct vs_entries *s, const char *key, float *ret, struct vs_error *err);
int vs_entries_bool(const struct vs_entries *s, const char *key, bool *ret, struct vs_error *err);
int vs_entries_str(const struct vs_entries *s, const char *key, struct vs_str *ret, struct vs_error *err);
#endif
