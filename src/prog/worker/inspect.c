/* prog/worker/inspect.c - see inspect.h */
#include "prog/worker/inspect.h"

#include "base/buf.h"
#include "base/utf8.h"
#include "import/gguf.h"
#include "ipc/json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    HEAD = 8,                                   /* elements of an array that are shown */
    MAX_STRING = 64 << 10, MAX_ELEM = 256,      /* bytes of a string shown: of its own, in an array */
    MAX_KEYS = 4096, MAX_TENSORS = 20000,
    MAX_TEXT = 12 << 20,                        /* bytes of JSON for metadata, and as many for tensors */
    ENTRY_BYTES = 160,                          /* JSON of a key or tensor beside its text, at most */
    MAX_TEMPLATE = 1 << 20,                     /* bytes of a chat template that are shown */
    MAX_LAYERS = 1 << 16,
    PAGE_TOKENS = 64,                           /* KV memory comes in pages of so many tokens */
};

/* Valid UTF-8 as it is, every other byte (and NUL) as \xNN. At most limit bytes of s are looked at. */
static void escape(struct vs_buf *b, struct vs_str s, size_t limit)
{
    size_t n = s.n < limit ? s.n : limit;
    for (size_t i = 0, len; i < n; i += len) {
        uint32_t c;
        len = vs_utf8_decode(s.data + i, s.n - i, &c);
        if (len && c)
            vs_buf_add(b, s.data + i, len);
        else
            vs_buf_printf(b, "\\x%02x", (unsigned)(unsigned char)s.data[i]);
        len += !len;
    }
}

static void spend(size_t *budget, size_t bytes)
{
    *budget -= bytes < *budget ? bytes : *budget;
}

static json_t *text_of(struct vs_str s, size_t limit, size_t *budget)
{
    struct vs_buf b = { 0 };
    escape(&b, s, limit);
    json_t *text = b.status == VS_OK ? json_stringn(b.data ? b.data : "", b.n) : NULL;
    spend(budget, vs_json_text_bytes(b.data, b.n));
    vs_buf_clear(&b);
    return text;
}

static json_t *size_of(uint64_t n)
{
    return json_integer((json_int_t)(n < INT64_MAX ? n : INT64_MAX));
}

/* Element i, which is not a string. */
static json_t *number_of(const struct vs_entry *kv, uint64_t i)
{
    char text[32];
    int64_t v;
    uint64_t u;
    double f;
    if (kv->elem_type == VS_ENTRY_BOOL && vs_entry_uint(kv, i, &u))
        return json_boolean(u);
    if (vs_entry_int(kv, i, &v))
        return json_integer(v);
    if (vs_entry_uint(kv, i, &u)) {
        snprintf(text, sizeof text, "%" PRIu64, u);
        return json_string(text);
    }
    if (!vs_entry_float(kv, i, &f))
        return json_null();
    if (isfinite(f))
        return json_real(f);
    return json_string(f != f ? "nan" : f > 0 ? "inf" : "-inf");
}

static json_t *value_of(const struct vs_entry *kv, size_t *budget)
{
    struct vs_entry_cursor cursor = { 0 };
    struct vs_str s;
    if (kv->type == VS_ENTRY_STRING) {
        if (!vs_entry_next_str(kv, &cursor, &s))
            return json_null();
        if (s.n <= MAX_STRING)
            return text_of(s, MAX_STRING, budget);
        return json_pack("{s:s, s:o, s:o}", "type", "string", "bytes", size_of(s.n), "head",
                         text_of(s, MAX_ELEM, budget));
    }
    if (kv->type != VS_ENTRY_ARRAY)
        return number_of(kv, 0);
    json_t *head = json_array();
    for (uint64_t i = 0; i < kv->count && i < HEAD; i++) {
        bool is_string = vs_entry_next_str(kv, &cursor, &s);
        if (json_array_append_new(head, is_string ? text_of(s, MAX_ELEM, budget) : number_of(kv, i)) != 0) {
            json_decref(head);
            return NULL;
        }
    }
    return json_pack("{s:s, s:s, s:o, s:o}", "type", "array", "elem", vs_entry_type_name(kv->elem_type),
                     "count", size_of(kv->count), "head", head);
}

static int add_metadata(const struct vs_gguf *g, json_t *out, struct vs_check *check)
{
    json_t *metadata = json_object();
    size_t budget = MAX_TEXT, i = 0;
    if (json_object_set_new(out, "metadata", metadata) != 0)
        return VS_E_NOMEM;
    for (; i < vs_gguf_entries(g)->n && i < MAX_KEYS && budget; i++) {
        const struct vs_entry *kv = &vs_gguf_entries(g)->entry[i];
        struct vs_buf key = { 0 };
        int r = vs_check_work(check, kv->key.n + ENTRY_BYTES);
        if (r != VS_OK)
            return r;
        escape(&key, kv->key, MAX_STRING);
        spend(&budget, vs_json_text_bytes(key.data, key.n) + ENTRY_BYTES);
        int failed = key.status != VS_OK || json_object_set_new(metadata, key.data, value_of(kv, &budget)) != 0;
        vs_buf_clear(&key);
        if (failed)
            return VS_E_NOMEM;
    }
    size_t left_out = vs_gguf_entries(g)->n - i;
    return left_out && json_object_set_new(out, "keys_left_out", size_of(left_out)) != 0 ? VS_E_NOMEM : VS_OK;
}

static json_t *tensor_of(const struct vs_gguf_tensor *t, size_t *budget)
{
    spend(budget, ENTRY_BYTES);
    json_t *dims = json_array();
    for (uint32_t d = 0; d < t->n_dims; d++)
        json_array_append_new(dims, size_of(t->ne[d]));
    return json_pack("{s:o, s:o, s:s, s:o, s:o}", "name", text_of(t->name, MAX_ELEM, budget), "dims", dims,
                     "type", t->dtype->name, "bytes", size_of(t->n_bytes), "offset", size_of(t->offset));
}

/* Lists the tensors and counts them by type. The sums can't overflow: no tensor is larger than the file, tensors don't
 * overlap, and the smallest types have more than one bit for each weight. */
static int add_tensors(const struct vs_gguf *g, json_t *out, struct vs_check *check, uint64_t *ret_bytes)
{
    json_t *tensors = json_array(), *types = json_object();
    uint64_t parameters = 0, bytes = 0;
    size_t n = vs_gguf_n_tensors(g), budget = MAX_TEXT, listed = 0;
    if (json_object_set_new(out, "tensors", tensors) != 0 || json_object_set_new(out, "types", types) != 0)
        return VS_E_NOMEM;
    for (size_t i = 0; i < n; i++) {
        const struct vs_gguf_tensor *t = vs_gguf_tensor_at(g, i);
        uint64_t elements = t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3];
        parameters += elements;
        bytes += t->n_bytes;
        int r = vs_check_work(check, ENTRY_BYTES);
        if (r != VS_OK)
            return r;
        if (listed < MAX_TENSORS && budget) {
            if (json_array_append_new(tensors, tensor_of(t, &budget)) != 0)
                return VS_E_NOMEM;
            listed++;
        }
        json_t *type = json_object_get(types, t->dtype->name);
        if (!type) {
            type = json_pack("{s:i, s:i, s:i}", "tensors", 0, "parameters", 0, "bytes", 0);
            if (json_object_set_new(types, t->dtype->name, type) != 0)
                return VS_E_NOMEM;
        }
        const struct { const char *key; uint64_t more; } sums[] = {
            { "tensors", 1 }, { "parameters", elements }, { "bytes", t->n_bytes },
        };
        for (size_t k = 0; k < sizeof sums / sizeof *sums; k++) {
            json_t *sum = json_object_get(type, sums[k].key);
            json_integer_set(sum, json_integer_value(sum) + (json_int_t)sums[k].more);
        }
    }
    *ret_bytes = bytes;
    if (n > listed && json_object_set_new(out, "tensors_left_out", size_of(n - listed)) != 0)
        return VS_E_NOMEM;
    json_t *bits = parameters ? json_real((double)bytes * 8 / (double)parameters) : json_null();
    if (json_object_set_new(out, "parameters", size_of(parameters)) != 0
        || json_object_set_new(out, "tensor_bytes", size_of(bytes)) != 0
        || json_object_set_new(out, "bits_per_weight", bits) != 0)
        return VS_E_NOMEM;
    return VS_OK;
}

/* A hyper-parameter of one layer: a scalar or the layer's element of an array; otherwise what it is by default. */
static uint64_t of_layer(const struct vs_entry *kv, uint32_t layer, uint64_t otherwise)
{
    uint64_t v;
    if (!kv || !vs_entry_uint(kv, kv->type == VS_ENTRY_ARRAY ? layer : 0, &v) || v > UINT32_MAX)
        return otherwise;
    return v;
}

static const struct vs_entry *of_arch(const struct vs_gguf *g, struct vs_str arch, const char *name)
{
    char key[160];
    int n = snprintf(key, sizeof key, "%.*s.%s", (int)(arch.n < 64 ? arch.n : 64), arch.data, name);
    return n > 0 && (size_t)n < sizeof key ? vs_entries_find(vs_gguf_entries(g), key) : NULL;
}

static json_t *unknown(const char *why)
{
    return json_pack("{s:s}", "unknown", why);
}

/* Weights plus keys and values of every layer at full length: what a model of the usual kind needs at most. */
static json_t *memory_of(const struct vs_gguf *g, struct vs_str arch, uint32_t ctx, uint64_t weights)
{
    uint64_t layers = of_layer(of_arch(g, arch, "block_count"), 0, 0);
    uint64_t width = of_layer(of_arch(g, arch, "embedding_length"), 0, 0);
    uint64_t context = ctx ? ctx : of_layer(of_arch(g, arch, "context_length"), 0, 0);
    const struct vs_entry *heads = of_arch(g, arch, "attention.head_count");
    const struct vs_entry *kv_heads = of_arch(g, arch, "attention.head_count_kv");
    const struct vs_entry *k_length = of_arch(g, arch, "attention.key_length");
    const struct vs_entry *v_length = of_arch(g, arch, "attention.value_length");
    if (!layers || !width || !heads)
        return unknown("the file does not give block_count, embedding_length and attention.head_count");
    if (!context)
        return unknown("the file gives no context length; name one");
    if (layers > MAX_LAYERS)
        return unknown("block_count is out of range");

    uint64_t slots = (context + PAGE_TOKENS - 1) / PAGE_TOKENS * PAGE_TOKENS;
    double f32 = 0, f16 = 0, q8 = 0;            /* bytes; doubles, because hostile numbers must not wrap */
    for (uint32_t l = 0; l < layers; l++) {
        uint64_t h = of_layer(heads, l, 0), kv = of_layer(kv_heads, l, h);
        if (!h || !kv)
            continue;                           /* a layer without attention */
        uint64_t k = of_layer(k_length, l, width / h), v = of_layer(v_length, l, width / h);
        double elements = (double)slots * (double)kv * (double)(k + v);
        f32 += 4 * elements;
        f16 += 2 * elements;
        q8 += elements + (double)slots * (double)kv * (double)((k + 31) / 32 + (v + 31) / 32) * 2;
    }
    if (f32 + (double)weights > 0x1p60)
        return unknown("the numbers in the file are out of range");
    double w = (double)weights;
    return json_pack("{s:o, s:o, s:{s:o, s:o, s:o}, s:{s:o, s:o, s:o}}", "context", size_of(context), "weights", size_of(weights),
                     "kv", "f16", size_of((uint64_t)f16), "f32", size_of((uint64_t)f32), "q8_0", size_of((uint64_t)q8),
                     "total", "f16", size_of((uint64_t)(f16 + w)), "f32", size_of((uint64_t)(f32 + w)),
                     "q8_0", size_of((uint64_t)(q8 + w)));
}

static json_t *string_key(const struct vs_gguf *g, const char *key, size_t limit)
{
    struct vs_str s;
    size_t budget = SIZE_MAX;
    return vs_entries_str(vs_gguf_entries(g), key, &s, NULL) == VS_OK ? text_of(s, limit, &budget) : json_null();
}

int vs_inspect(const struct vs_gguf *g, uint32_t ctx, struct vs_check *check, json_t **ret, struct vs_error *err)
{
    struct vs_str arch = { "", 0 };
    uint64_t weights = 0;
    int code = VS_E_NOMEM;
    vs_entries_str(vs_gguf_entries(g), "general.architecture", &arch, NULL);
    json_t *out = json_pack("{s:s, s:i, s:o, s:o, s:o, s:o}", "format", "GGUF", "version", (int)vs_gguf_version(g),
                            "architecture", string_key(g, "general.architecture", MAX_ELEM),
                            "header_bytes", size_of(vs_gguf_data_start(g)), "n_keys", size_of(vs_gguf_entries(g)->n),
                            "n_tensors", size_of(vs_gguf_n_tensors(g)));
    if (out)
        code = add_tensors(g, out, check, &weights);
    if (out && code == VS_OK)
        code = add_metadata(g, out, check);
    if (out && code == VS_OK
        && (json_object_set_new(out, "chat_template", string_key(g, "tokenizer.chat_template", MAX_TEMPLATE)) != 0
            || json_object_set_new(out, "memory", memory_of(g, arch, ctx, weights)) != 0))
        code = VS_E_NOMEM;
    if (code == VS_OK) {
        *ret = out;
        return VS_OK;
    }
    json_decref(out);
    return vs_error_set(err, code, "inspect: %s", code == VS_E_NOMEM ? "no memory for the answer" : vs_status_text(code));
}
