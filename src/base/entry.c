/* base/entry.c - see entry.h */
#include "base/entry.h"

#include "base/bytes.h"

#include <float.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    uint8_t n_bytes;                            /* the least, for strings */
} types[VS_N_ENTRY_TYPES] = {
    [VS_ENTRY_U8] = { "u8", 1 },         [VS_ENTRY_I8] = { "i8", 1 },     [VS_ENTRY_U16] = { "u16", 2 },
    [VS_ENTRY_I16] = { "i16", 2 },       [VS_ENTRY_U32] = { "u32", 4 },   [VS_ENTRY_I32] = { "i32", 4 },
    [VS_ENTRY_F32] = { "f32", 4 },       [VS_ENTRY_BOOL] = { "bool", 1 }, [VS_ENTRY_STRING] = { "string", 8 },
    [VS_ENTRY_ARRAY] = { "array", 12 },  [VS_ENTRY_U64] = { "u64", 8 },   [VS_ENTRY_I64] = { "i64", 8 },
    [VS_ENTRY_F64] = { "f64", 8 },
};

const char *vs_entry_type_name(enum vs_entry_type type)
{
    return (unsigned)type < VS_N_ENTRY_TYPES ? types[type].name : "unknown";
}

size_t vs_entry_type_bytes(enum vs_entry_type type)
{
    return types[type].n_bytes;
}

struct vs_shown vs_str_shown(struct vs_str name)
{
    const char *data = name.data;
    size_t n = name.n;
    struct vs_shown s;
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)data[i];
        if (at + 8 > sizeof s.text) {
            memcpy(s.text + at, "...", 3);
            at += 3;
            break;
        }
        if (c >= 0x20 && c < 0x7f && c != '\\' && c != '\'')
            s.text[at++] = (char)c;
        else
            at += (size_t)snprintf(s.text + at, 5, "\\x%02x", c);
    }
    s.text[at] = 0;
    return s;
}

/* ---- names ---- */

/* The index by name: merge sort, because qsort of the C library may ask the system for its memory size, which a locked
 * worker must not. */

static int compare(struct vs_str a, struct vs_str b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int c = memcmp(a.data, b.data, n);
    return c ? c : (a.n > b.n) - (a.n < b.n);
}

/* All records begin with their name; stride is their size. */
static struct vs_str name_at(const void *records, size_t stride, uint32_t i)
{
    struct vs_str s;
    memcpy(&s, (const char *)records + stride * i, sizeof s);
    return s;
}

static uint32_t *sorted_by_name(const void *records, size_t stride, size_t n)
{
    uint32_t *a = malloc((n ? n : 1) * sizeof *a), *b = malloc((n ? n : 1) * sizeof *b);
    if (!a || !b) {
        free(a);
        free(b);
        return NULL;
    }
    for (size_t i = 0; i < n; i++)
        a[i] = (uint32_t)i;
    for (size_t width = 1; width < n; width *= 2) {
        for (size_t lo = 0; lo < n; lo += 2 * width) {
            size_t mid = lo + width < n ? lo + width : n, hi = lo + 2 * width < n ? lo + 2 * width : n;
            for (size_t i = lo, j = mid, k = lo; k < hi; k++) {
                bool left = j == hi || (i < mid && compare(name_at(records, stride, a[i]),
                                                           name_at(records, stride, a[j])) <= 0);
                b[k] = left ? a[i++] : a[j++];
            }
        }
        uint32_t *swap = a;
        a = b;
        b = swap;
    }
    free(b);
    return a;
}

/* *ret gets the index; a name that occurs twice is answered with *ret_twice set. */
int vs_names_index(const void *records, size_t stride, size_t n, uint32_t **ret, struct vs_str *ret_twice)
{
    *ret = sorted_by_name(records, stride, n);
    if (!*ret)
        return VS_E_NOMEM;
    for (size_t i = 1; i < n; i++) {
        struct vs_str name = name_at(records, stride, (*ret)[i]);
        if (compare(name_at(records, stride, (*ret)[i - 1]), name) == 0) {
            *ret_twice = name;
            return VS_E_MALFORMED;
        }
    }
    return VS_OK;
}

const void *vs_names_find(const void *records, size_t stride, const uint32_t *by_name, size_t n, const char *name)
{
    struct vs_str wanted = { name, strlen(name) };
    size_t lo = 0, hi = n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = compare(wanted, name_at(records, stride, by_name[mid]));
        if (c == 0)
            return (const char *)records + stride * by_name[mid];
        if (c < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return NULL;
}

/* ---- one value ---- */

/* An integer as sign and magnitude's two's complement: every integer type fits. */
static bool integer_at(const struct vs_entry *kv, uint64_t i, int64_t *ret, bool *ret_above)
{
    if (i >= kv->count)
        return false;
    const uint8_t *p = kv->data + (kv->elem_type == VS_ENTRY_STRING ? 0 : i * types[kv->elem_type].n_bytes);
    *ret_above = false;
    switch (kv->elem_type) {
    case VS_ENTRY_U8: case VS_ENTRY_BOOL: *ret = p[0]; return true;
    case VS_ENTRY_I8: *ret = (int8_t)p[0]; return true;
    case VS_ENTRY_U16: *ret = vs_load_u16le(p); return true;
    case VS_ENTRY_I16: *ret = (int16_t)vs_load_u16le(p); return true;
    case VS_ENTRY_U32: *ret = vs_load_u32le(p); return true;
    case VS_ENTRY_I32: *ret = (int32_t)vs_load_u32le(p); return true;
    case VS_ENTRY_U64: *ret_above = vs_load_u64le(p) > INT64_MAX; *ret = (int64_t)vs_load_u64le(p); return true;
    case VS_ENTRY_I64: *ret = (int64_t)vs_load_u64le(p); return true;
    default: return false;
    }
}

bool vs_entry_uint(const struct vs_entry *kv, uint64_t i, uint64_t *ret)
{
    int64_t v;
    bool above;
    if (!integer_at(kv, i, &v, &above) || (v < 0 && !above))
        return false;
    *ret = (uint64_t)v;
    return true;
}

bool vs_entry_int(const struct vs_entry *kv, uint64_t i, int64_t *ret)
{
    int64_t v;
    bool above;
    if (!integer_at(kv, i, &v, &above) || above)
        return false;
    *ret = v;
    return true;
}

bool vs_entry_float(const struct vs_entry *kv, uint64_t i, double *ret)
{
    int64_t v;
    bool above;
    if (integer_at(kv, i, &v, &above)) {
        *ret = above ? (double)(uint64_t)v : (double)v;
        return true;
    }
    if (i >= kv->count)
        return false;
    if (kv->elem_type == VS_ENTRY_F32) {
        uint32_t u = vs_load_u32le(kv->data + 4 * i);
        float f;
        memcpy(&f, &u, sizeof f);
        *ret = (double)f;
        return true;
    }
    if (kv->elem_type == VS_ENTRY_F64) {
        uint64_t u = vs_load_u64le(kv->data + 8 * i);
        memcpy(ret, &u, sizeof *ret);
        return true;
    }
    return false;
}

bool vs_entry_next_str(const struct vs_entry *kv, struct vs_entry_cursor *cursor, struct vs_str *ret)
{
    if (kv->elem_type != VS_ENTRY_STRING || cursor->i >= kv->count)
        return false;
    ret->n = (size_t)vs_load_u64le(kv->data + cursor->at);
    ret->data = (const char *)kv->data + cursor->at + 8;
    cursor->at += 8 + ret->n;
    cursor->i++;
    return true;
}

/* ---- by key ---- */

const struct vs_entry *vs_entries_find(const struct vs_entries *s, const char *key)
{
    return vs_names_find(s->entry, sizeof *s->entry, s->by_key, s->n, key);
}

static int scalar(const struct vs_entries *s, const char *key, const char *wanted, const struct vs_entry **ret,
                  struct vs_error *err)
{
    const struct vs_entry *kv = vs_entries_find(s, key);
    if (!kv) {
        if (err) {
            err->code = VS_E_NOT_FOUND;
            err->text[0] = 0;
        }
        return VS_E_NOT_FOUND;
    }
    if (kv->type == VS_ENTRY_ARRAY)
        return vs_error_set(err, VS_E_MALFORMED, "%s: key '%s' is an array of %s instead of %s", s->format, key,
                            types[kv->elem_type].name, wanted);
    *ret = kv;
    return VS_OK;
}

static int wrong_type(const struct vs_entries *s, const struct vs_entry *kv, const char *key, const char *wanted,
                      struct vs_error *err)
{
    return vs_error_set(err, VS_E_MALFORMED, "%s: key '%s' has type %s instead of %s", s->format, key, types[kv->type].name,
                        wanted);
}

int vs_entries_u32(const struct vs_entries *s, const char *key, uint32_t *ret, struct vs_error *err)
{
    const struct vs_entry *kv = NULL;
    int code = scalar(s, key, "an integer", &kv, err);
    if (code != VS_OK)
        return code;
    int64_t v;
    bool above;
    if (kv->type == VS_ENTRY_BOOL || !integer_at(kv, 0, &v, &above))
        return wrong_type(s, kv, key, "an integer", err);
    if (above || v < 0 || v > UINT32_MAX)
        return vs_error_set(err, VS_E_MALFORMED, "%s: key '%s' is %s%" PRIu64 ", outside 0 to 4294967295", s->format, key,
                            v < 0 && !above ? "-" : "", v < 0 && !above ? -(uint64_t)v : (uint64_t)v);
    *ret = (uint32_t)v;
    return VS_OK;
}

int vs_entries_f32(const struct vs_entries *s, const char *key, float *ret, struct vs_error *err)
{
    const struct vs_entry *kv = NULL;
    int code = scalar(s, key, "a number", &kv, err);
    if (code != VS_OK)
        return code;
    double v;
    if (kv->type == VS_ENTRY_BOOL || !vs_entry_float(kv, 0, &v))
        return wrong_type(s, kv, key, "a number", err);
    if (!(v >= -(double)FLT_MAX && v <= (double)FLT_MAX))
        return vs_error_set(err, VS_E_MALFORMED, "%s: key '%s' is %g, not a finite number in the range of f32", s->format, key, v);
    *ret = (float)v;
    return VS_OK;
}

int vs_entries_bool(const struct vs_entries *s, const char *key, bool *ret, struct vs_error *err)
{
    const struct vs_entry *kv = NULL;
    int code = scalar(s, key, "a bool", &kv, err);
    if (code != VS_OK)
        return code;
    if (kv->type != VS_ENTRY_BOOL)
        return wrong_type(s, kv, key, "a bool", err);
    *ret = kv->data[0] != 0;
    return VS_OK;
}

int vs_entries_str(const struct vs_entries *s, const char *key, struct vs_str *ret, struct vs_error *err)
{
    const struct vs_entry *kv = NULL;
    int code = scalar(s, key, "a string", &kv, err);
    if (code != VS_OK)
        return code;
    struct vs_entry_cursor cursor = { 0 };
    if (!vs_entry_next_str(kv, &cursor, ret))
        return wrong_type(s, kv, key, "a string", err);
    return VS_OK;
}
