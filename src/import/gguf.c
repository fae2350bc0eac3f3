/* import/gguf.c - see gguf.h
 *
 *   magic version n_tensors n_kv | key type value ... | name n_dims ne... type offset ... | padding | tensor data
 *
 * One pass, front to back; no pointer into the file is kept before its whole range is known to lie inside. What the
 * format allows in theory and no writer makes (nested arrays, gaps between tensors, tensors out of order) is refused,
 * so that there is one way to read a file. Names are found through an index sorted by name: no input makes a lookup or
 * the search for duplicates slow, as a hash of ours could be made to.
 */
#include "import/gguf.h"

#include "base/bytes.h"
#include "base/word.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_KV = 65536, MAX_TENSORS = 1 << 20,
    MAX_KEY = 1024, MAX_NAME = 255,             /* bytes; writers keep names below 64 */
    MIN_KV_BYTES = 8 + 1 + 4 + 1,               /* the shortest key and value */
    MIN_TENSOR_BYTES = 8 + 1 + 4 + 8 + 4 + 8,
    MAX_BEHIND = 1 << 20,                       /* bytes after the last tensor */
};
static const uint64_t max_header_bytes = (uint64_t)256 << 20;    /* the largest real ones take about 30 MiB */
static const uint64_t max_ne = (uint64_t)1 << 40;

struct vs_gguf {
    uint32_t version;
    uint32_t alignment;
    uint64_t data_start;
    struct vs_entries entries;
    struct vs_entry *kv;
    size_t n_tensors;
    struct vs_gguf_tensor *tensor;
    uint32_t *kv_by_key, *tensor_by_name;
    unsigned n_parts;
};

#define SHOW(str) vs_str_shown(str).text

/* Reading: every take is checked against the file first (what lies beyond is malformed) and then against the bytes at
 * hand (what lies beyond is merely not read yet). */

struct reader {
    struct vs_bytes in;
    const uint8_t *start;
    uint64_t file_size;
    struct vs_shown where;                         /* what is being read, for messages */
    struct vs_error *err;
};

static uint64_t position(const struct reader *r)
{
    return (uint64_t)(r->in.at - r->start);
}

static uint64_t left_in_file(const struct reader *r)
{
    return r->file_size - position(r);
}

#define MALFORMED(r, ...) vs_error_set((r)->err, VS_E_MALFORMED, "GGUF: " __VA_ARGS__)
#define UNSUPPORTED(r, ...) vs_error_set((r)->err, VS_E_UNSUPPORTED, "GGUF: " __VA_ARGS__)

static int need(const struct reader *r, uint64_t n)
{
    if (n > left_in_file(r))
        return MALFORMED(r, "the file ends inside %s: %" PRIu64 " byte%s wanted at byte %" PRIu64
                         ", the file has %" PRIu64 "; it is cut or damaged, fetch it again",
                         r->where.text, n, vs_plural(n), position(r), r->file_size);
    if (n > max_header_bytes || position(r) > max_header_bytes - n)
        return MALFORMED(r, "%s at byte %" PRIu64 " makes the header larger than %" PRIu64 " MiB",
                         r->where.text, position(r), max_header_bytes >> 20);
    if (n > vs_bytes_left(&r->in))
        return vs_error_set(r->err, VS_E_SHORT, "GGUF: the header goes on after the first %" PRIu64 " bytes",
                            position(r) + vs_bytes_left(&r->in));
    return VS_OK;
}

static int read_string(struct reader *r, struct vs_str *ret)
{
    int code = need(r, 8);
    if (code != VS_OK)
        return code;
    uint64_t n = vs_bytes_u64le(&r->in);
    if ((code = need(r, n)) != VS_OK)
        return code;
    ret->data = (const char *)vs_bytes_take(&r->in, n);
    ret->n = (size_t)n;
    return VS_OK;
}

/* count values of one type, one after the other: moves past them and proves that each is whole. */
static int skip_values(struct reader *r, enum vs_entry_type type, uint64_t count)
{
    if (count > left_in_file(r) / vs_entry_type_bytes(type))
        return MALFORMED(r, "%s has %" PRIu64 " element%s of type %s, more than the rest of the file (%" PRIu64 " byte%s) can hold",
                         r->where.text, count, vs_plural(count), vs_entry_type_name(type), left_in_file(r),
                         vs_plural(left_in_file(r)));
    if (type == VS_ENTRY_STRING) {
        for (uint64_t i = 0; i < count; i++) {
            struct vs_str s;
            int code = read_string(r, &s);
            if (code != VS_OK)
                return code;
        }
        return VS_OK;
    }
    uint64_t n = count * vs_entry_type_bytes(type);
    int code = need(r, n);
    if (code != VS_OK)
        return code;
    const uint8_t *p = vs_bytes_take(&r->in, n);
    if (type == VS_ENTRY_BOOL)
        for (uint64_t i = 0; i < n; i++)
            if (p[i] > 1)
                return MALFORMED(r, "%s holds the value %u where only 0 and 1 are bools", r->where.text, p[i]);
    return VS_OK;
}

static int read_type(struct reader *r, const char *what, enum vs_entry_type *ret)
{
    int code = need(r, 4);
    if (code != VS_OK)
        return code;
    uint32_t type = vs_bytes_u32le(&r->in);
    if (type >= VS_N_ENTRY_TYPES)
        return MALFORMED(r, "%s has the unknown %s type %" PRIu32, r->where.text, what, type);
    *ret = (enum vs_entry_type)type;
    return VS_OK;
}

static int read_kv(struct reader *r, size_t i, struct vs_entry *kv)
{
    snprintf(r->where.text, sizeof r->where.text, "metadata key %zu", i);
    int code = read_string(r, &kv->key);
    if (code != VS_OK)
        return code;
    if (kv->key.n == 0 || kv->key.n > MAX_KEY)
        return MALFORMED(r, "%s is %zu bytes long; 1 to %d are allowed", r->where.text, kv->key.n, MAX_KEY);
    snprintf(r->where.text, sizeof r->where.text, "key '%.80s'", SHOW(kv->key));

    if ((code = read_type(r, "value", &kv->type)) != VS_OK)
        return code;
    kv->elem_type = kv->type;
    kv->count = 1;
    if (kv->type == VS_ENTRY_ARRAY) {
        if ((code = read_type(r, "element", &kv->elem_type)) != VS_OK)
            return code;
        if (kv->elem_type == VS_ENTRY_ARRAY)
            return UNSUPPORTED(r, "%s is an array of arrays, which no writer makes", r->where.text);
        if ((code = need(r, 8)) != VS_OK)
            return code;
        kv->count = vs_bytes_u64le(&r->in);
    }
    kv->data = r->in.at;
    if ((code = skip_values(r, kv->elem_type, kv->count)) != VS_OK)
        return code;
    kv->n_bytes = (size_t)(r->in.at - kv->data);
    return VS_OK;
}

static int read_dtype(struct reader *r, uint32_t id, const struct vs_dtype_info **ret)
{
    const struct vs_dtype_info *info = vs_dtype_info(id);
    if (info && !info->removed) {
        *ret = info;
        return VS_OK;
    }
    if (info)
        return UNSUPPORTED(r, "%s has type %s (number %" PRIu32 "), which files no longer use; "
                           "get the model in a current type, such as Q4_0 or Q4_K", r->where.text, info->name, id);
    const struct vs_dtype_info *base = id >= 200 && id < 400 ? vs_dtype_info(id - 200) : NULL;
    if (base)
        return UNSUPPORTED(r, "%s has type number %" PRIu32 ", rows of %s interleaved for one program; "
                           "get the model in plain %s", r->where.text, id, base->name, base->name);
    return UNSUPPORTED(r, "%s has the unknown type number %" PRIu32, r->where.text, id);
}

/* Everything about one tensor but the place of its data. */
static int read_tensor(struct reader *r, size_t i, struct vs_gguf_tensor *t)
{
    snprintf(r->where.text, sizeof r->where.text, "the description of tensor %zu", i);
    int code = read_string(r, &t->name);
    if (code != VS_OK)
        return code;
    if (t->name.n == 0 || t->name.n > MAX_NAME)
        return MALFORMED(r, "the name of tensor %zu is %zu bytes long; 1 to %d are allowed", i, t->name.n, MAX_NAME);
    snprintf(r->where.text, sizeof r->where.text, "tensor '%.80s'", SHOW(t->name));

    if ((code = need(r, 4)) != VS_OK)
        return code;
    t->n_dims = vs_bytes_u32le(&r->in);
    if (t->n_dims < 1 || t->n_dims > 4)
        return MALFORMED(r, "%s has %" PRIu32 " dimensions; 1 to 4 are allowed", r->where.text, t->n_dims);
    if ((code = need(r, 8 * t->n_dims + 4 + 8)) != VS_OK)
        return code;
    for (uint32_t d = 0; d < 4; d++) {
        t->ne[d] = d < t->n_dims ? vs_bytes_u64le(&r->in) : 1;
        if (t->ne[d] == 0 || t->ne[d] > max_ne)
            return MALFORMED(r, "dimension %" PRIu32 " of %s is %" PRIu64, d, r->where.text, t->ne[d]);
    }
    if ((code = read_dtype(r, vs_bytes_u32le(&r->in), &t->dtype)) != VS_OK)
        return code;
    t->offset = vs_bytes_u64le(&r->in);

    if (t->ne[0] % t->dtype->block_len != 0)
        return MALFORMED(r, "%s has rows of %" PRIu64 " element%s, not a multiple of the %" PRIu32 " in a %s block",
                         r->where.text, t->ne[0], vs_plural(t->ne[0]), t->dtype->block_len, t->dtype->name);
    uint64_t n = t->ne[0] / t->dtype->block_len * t->dtype->block_bytes + t->dtype->row_extra_bytes;
    for (uint32_t d = 1; d < 4; d++)
        if (__builtin_mul_overflow(n, t->ne[d], &n) || n > INT64_MAX) {
            n = INT64_MAX;
            break;
        }
    if (n > r->file_size)
        return MALFORMED(r, "%s [%" PRIu64 ", %" PRIu64 ", %" PRIu64 ", %" PRIu64 "] is larger than the file (%" PRIu64
                         " bytes); it is cut or damaged, fetch it again", r->where.text, t->ne[0], t->ne[1], t->ne[2],
                         t->ne[3], r->file_size);
    t->n_bytes = n;
    return VS_OK;
}

/* Tensors lie one behind the other in the order of their descriptions, each at the next multiple of the alignment: so
 * all writers do, and it leaves no room for overlaps. */
static int place_tensors(struct reader *r, struct vs_gguf *g)
{
    uint64_t mask = (uint64_t)g->alignment - 1, expected = 0;
    g->data_start = (position(r) + mask) & ~mask;
    for (size_t i = 0; i < g->n_tensors; i++) {
        struct vs_gguf_tensor *t = &g->tensor[i];
        if (t->offset & mask)
            return MALFORMED(r, "tensor '%s': offset %" PRIu64 " is not a multiple of the alignment %" PRIu32,
                             SHOW(t->name), t->offset, g->alignment);
        if (t->offset >= r->file_size || g->data_start > r->file_size
            || t->n_bytes > r->file_size - g->data_start || t->offset > r->file_size - g->data_start - t->n_bytes)
            return MALFORMED(r, "tensor '%s' (%" PRIu64 " bytes at offset %" PRIu64 " of the data, which begins at byte %"
                             PRIu64 ") ends past the end of the file (%" PRIu64 " bytes); it is cut or damaged, "
                             "fetch it again", SHOW(t->name), t->n_bytes, t->offset, g->data_start, r->file_size);
        if (t->offset != expected) {
            const char *fault = t->offset < expected ? "overlaps or precedes the tensor before it"
                                                     : "leaves a gap after the tensor before it";
            return MALFORMED(r, "tensor '%s' %s: offset %" PRIu64 " where %" PRIu64 " was due", SHOW(t->name), fault,
                             t->offset, expected);
        }
        expected = (t->offset + t->n_bytes + mask) & ~mask;      /* both below 2^63 */
        t->offset += g->data_start;
    }
    if (r->file_size > g->data_start && r->file_size - g->data_start > expected &&
        r->file_size - g->data_start - expected > MAX_BEHIND)
        return MALFORMED(r, "the file goes on for %" PRIu64 " bytes behind its last tensor, which ends at byte %" PRIu64
                         "; it is not the file that its header describes", r->file_size - g->data_start - expected,
                         g->data_start + expected);
    return VS_OK;
}

static int read_alignment(struct reader *r, struct vs_gguf *g)
{
    g->alignment = 32;
    const struct vs_entry *kv = vs_entries_find(&g->entries, "general.alignment");
    if (!kv)
        return VS_OK;
    if (kv->type != VS_ENTRY_U32)
        return MALFORMED(r, "general.alignment has type %s instead of u32", vs_entry_type_name(kv->type));
    g->alignment = vs_load_u32le(kv->data);
    if (g->alignment == 0 || (g->alignment & (g->alignment - 1)) != 0)
        return MALFORMED(r, "general.alignment is %" PRIu32 ", which is not a power of two", g->alignment);
    return VS_OK;
}

static int read_counts(struct reader *r, struct vs_gguf *g)
{
    memcpy(r->where.text, "the first bytes", sizeof "the first bytes");
    int code = need(r, 4);
    if (code != VS_OK)
        return code;
    const uint8_t *magic = vs_bytes_take(&r->in, 4);
    if (memcmp(magic, "GGUF", 4) != 0)
        return MALFORMED(r, "this is not a GGUF file: it begins with '%s' instead of 'GGUF'",
                         SHOW(((struct vs_str){ (const char *)magic, 4 })));
    if ((code = need(r, 4)) != VS_OK)
        return code;
    g->version = vs_bytes_u32le(&r->in);
    if (g->version == 1)
        return UNSUPPORTED(r, "version 1 is not supported; versions 2 and 3 are. Convert the model again");
    if (g->version == 0x02000000 || g->version == 0x03000000)
        return UNSUPPORTED(r, "big-endian files are not supported; get the little-endian one");
    if (g->version != 2 && g->version != 3)
        return UNSUPPORTED(r, "version %" PRIu32 " is not supported; versions 2 and 3 are", g->version);
    if ((code = need(r, 16)) != VS_OK)
        return code;
    uint64_t n_tensors = vs_bytes_u64le(&r->in), n_kv = vs_bytes_u64le(&r->in);
    if (n_kv > MAX_KV || n_kv > left_in_file(r) / MIN_KV_BYTES)
        return MALFORMED(r, "%" PRIu64 " metadata keys announced; a file of %" PRIu64 " bytes may have at most %" PRIu64,
                         n_kv, r->file_size, left_in_file(r) / MIN_KV_BYTES < MAX_KV ? left_in_file(r) / MIN_KV_BYTES : MAX_KV);
    if (n_tensors > MAX_TENSORS || n_tensors > left_in_file(r) / MIN_TENSOR_BYTES)
        return MALFORMED(r, "%" PRIu64 " tensors announced; a file of %" PRIu64 " bytes may have at most %" PRIu64, n_tensors,
                         r->file_size, left_in_file(r) / MIN_TENSOR_BYTES < MAX_TENSORS
                                           ? left_in_file(r) / MIN_TENSOR_BYTES : MAX_TENSORS);
    g->entries = (struct vs_entries){ .format = "GGUF", .n = (size_t)n_kv };
    g->n_tensors = (size_t)n_tensors;
    g->n_parts = 1;
    return VS_OK;
}

int vs_gguf_open(const void *head, size_t n_head, uint64_t file_size, struct vs_gguf **ret, struct vs_error *err)
{
    struct reader reader = { .start = head, .file_size = file_size, .err = err }, *r = &reader;
    vs_bytes_init(&r->in, head, n_head < file_size ? n_head : (size_t)file_size);
    struct vs_str twice = { 0 };
    int code;
    struct vs_gguf *g = calloc(1, sizeof *g);
    if (!g) {
        code = vs_error_set(err, VS_E_NOMEM, "GGUF: no memory for the header");
        goto out;
    }
    if ((code = read_counts(r, g)) != VS_OK)
        goto out;

    g->kv = calloc(g->entries.n ? g->entries.n : 1, sizeof *g->kv);
    g->tensor = calloc(g->n_tensors ? g->n_tensors : 1, sizeof *g->tensor);
    if (!g->kv || !g->tensor) {
        code = vs_error_set(err, VS_E_NOMEM, "GGUF: no memory for %zu key%s and %zu tensor%s", g->entries.n,
                            vs_plural(g->entries.n), g->n_tensors, vs_plural(g->n_tensors));
        goto out;
    }
    for (size_t i = 0; i < g->entries.n; i++)
        if ((code = read_kv(r, i, &g->kv[i])) != VS_OK)
            goto out;
    code = vs_names_index(g->kv, sizeof *g->kv, g->entries.n, &g->kv_by_key, &twice);
    g->entries.entry = g->kv;
    g->entries.by_key = g->kv_by_key;
    if (code == VS_E_MALFORMED)
        MALFORMED(r, "the key '%s' occurs twice", SHOW(twice));
    if (code == VS_E_NOMEM)
        vs_error_set(err, code, "GGUF: no memory for %zu key%s", g->entries.n, vs_plural(g->entries.n));
    if (code != VS_OK)
        goto out;
    if ((code = read_alignment(r, g)) != VS_OK)
        goto out;

    for (size_t i = 0; i < g->n_tensors; i++)
        if ((code = read_tensor(r, i, &g->tensor[i])) != VS_OK)
            goto out;
    code = vs_names_index(g->tensor, sizeof *g->tensor, g->n_tensors, &g->tensor_by_name, &twice);
    if (code == VS_E_MALFORMED)
        MALFORMED(r, "there are two tensors named '%s'", SHOW(twice));
    if (code == VS_E_NOMEM)
        vs_error_set(err, code, "GGUF: no memory for %zu tensor%s", g->n_tensors, vs_plural(g->n_tensors));
    if (code != VS_OK)
        goto out;
    code = place_tensors(r, g);
out:
    if (code == VS_OK)
        *ret = g;
    else
        vs_gguf_close(g);
    return code;
}

void vs_gguf_close(struct vs_gguf *g)
{
    if (!g)
        return;
    free(g->kv);
    free(g->tensor);
    free(g->kv_by_key);
    free(g->tensor_by_name);
    free(g);
}

/* ---- parts ---- */

static bool begins(struct vs_str s, const char *with)
{
    return s.n >= strlen(with) && memcmp(s.data, with, strlen(with)) == 0;
}

static int part_key(const struct vs_gguf *g, const char *key, unsigned part, uint32_t *ret, struct vs_error *err)
{
    int r = vs_entries_u32(&g->entries, key, ret, err);
    if (r != VS_E_NOT_FOUND)
        return r;
    return vs_error_set(err, VS_E_MALFORMED, "model: file %u of the model has no %s: it is no part of a model", part, key);
}

/* Is it part `part` (from 1) of n? What it says of the tensors of all must be what the first part says. */
static int check_part(const struct vs_gguf *g, unsigned part, unsigned n, uint32_t *io_tensors, struct vs_error *err)
{
    uint32_t no = 0, count = 0, tensors = 0;
    int r = part_key(g, "split.count", part, &count, err);
    if (r == VS_OK && count != n)
        r = vs_error_set(err, VS_E_MALFORMED, "model: file %u of %u is of a model in %u parts (split.count)", part, n, count);
    if (r == VS_OK)
        r = part_key(g, "split.no", part, &no, err);
    if (r == VS_OK && no != part - 1)
        r = vs_error_set(err, VS_E_MALFORMED, "model: file %u of %u is part %u (split.no %u)", part, n, no + 1, no);
    if (r == VS_OK)
        r = part_key(g, "split.tensors.count", part, &tensors, err);
    if (r == VS_OK && part > 1 && tensors != *io_tensors)
        r = vs_error_set(err, VS_E_MALFORMED, "model: file %u of %u is of a model with %u tensors, the first of one with %u "
                         "(split.tensors.count)", part, n, tensors, *io_tensors);
    for (size_t i = 0; i < g->entries.n && part > 1 && r == VS_OK; i++) {
        struct vs_str key = g->entries.entry[i].key;
        if (!begins(key, "split.") && !begins(key, "general."))
            r = vs_error_set(err, VS_E_UNSUPPORTED, "model: file %u of %u has the key %s: only the first part may say more of the "
                             "model", part, n, SHOW(key));
    }
    *io_tensors = tensors;
    return r;
}

int vs_gguf_join(struct vs_gguf *g, struct vs_gguf *const *others, const uint64_t *start, unsigned n, struct vs_error *err)
{
    uint32_t announced = 0, *by_name = NULL;
    size_t all = g->n_tensors;
    struct vs_str twice = { 0 };
    int r = check_part(g, 1, n + 1, &announced, err);
    for (unsigned i = 0; i < n && r == VS_OK; i++) {
        r = check_part(others[i], i + 2, n + 1, &announced, err);
        all += others[i]->n_tensors;
    }
    if (r == VS_OK && all != announced)
        r = vs_error_set(err, VS_E_MALFORMED, "model: its parts have %zu tensor%s, split.tensors.count announces %u", all,
                         vs_plural(all), announced);
    if (r != VS_OK)
        return r;
    struct vs_gguf_tensor *tensor = calloc(all ? all : 1, sizeof *tensor);
    if (!tensor)
        return vs_error_set(err, VS_E_NOMEM, "GGUF: no memory for %zu tensors", all);
    memcpy(tensor, g->tensor, g->n_tensors * sizeof *tensor);
    for (size_t at = g->n_tensors, i = 0; i < n; at += others[i++]->n_tensors)
        for (size_t k = 0; k < others[i]->n_tensors; k++) {
            tensor[at + k] = others[i]->tensor[k];
            tensor[at + k].offset += start[i];
        }
    r = vs_names_index(tensor, sizeof *tensor, all, &by_name, &twice);
    if (r == VS_E_MALFORMED)
        vs_error_set(err, r, "model: two parts have a tensor named '%s'", SHOW(twice));
    if (r != VS_OK) {
        free(tensor);
        free(by_name);
        return r == VS_E_NOMEM ? vs_error_set(err, r, "GGUF: no memory for %zu tensors", all) : r;
    }
    free(g->tensor);
    free(g->tensor_by_name);
    g->tensor = tensor;
    g->tensor_by_name = by_name;
    g->n_tensors = all;
    g->n_parts = n + 1;
    return VS_OK;
}

unsigned vs_gguf_n_parts(const struct vs_gguf *g)
{
    return g->n_parts;
}

uint32_t vs_gguf_version(const struct vs_gguf *g)
{
    return g->version;
}

uint64_t vs_gguf_data_start(const struct vs_gguf *g)
{
    return g->data_start;
}

const struct vs_entries *vs_gguf_entries(const struct vs_gguf *g)
{
    return &g->entries;
}

size_t vs_gguf_n_tensors(const struct vs_gguf *g)
{
    return g->n_tensors;
}

const struct vs_gguf_tensor *vs_gguf_tensor_at(const struct vs_gguf *g, size_t i)
{
    return i < g->n_tensors ? &g->tensor[i] : NULL;
}

const struct vs_gguf_tensor *vs_gguf_tensor(const struct vs_gguf *g, const char *name)
{
    return vs_names_find(g->tensor, sizeof *g->tensor, g->tensor_by_name, g->n_tensors, name);
}
