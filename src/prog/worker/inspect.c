/* prog/worker/inspect.c - see inspect.h */
#include "prog/worker/inspect.h"

#include "base/buf.h"
#include "base/utf8.h"
#include "graph/graph.h"
#include "import/gguf.h"
#include "import/llm.h"
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

static json_t *unknown(const char *why)
{
    return json_pack("{s:s}", "unknown", why);
}

/* The weights plus the keys and values of a whole context and the state of a sequence, as the backend itself counts them. */
static json_t *memory_of(const struct vs_gguf *g, const struct vs_backend_kind *backend, uint32_t ctx, uint64_t weights)
{
    struct vs_graph graph;
    struct vs_error err = { 0 };
    if (vs_import_llm(g, &graph, &err) != VS_OK)
        return unknown(err.text);
    uint32_t context = ctx ? ctx : graph.context;
    size_t state = backend->state_bytes(&graph);
    json_t *kv = json_object(), *total = json_object();
    bool counted = true;
    for (int type = 0; type < VS_N_KV_TYPES; type++) {
        size_t n = backend->kv_bytes(&graph, (enum vs_kv_type)type, vs_pages_for(context));
        counted &= n < (size_t)1 << 60 && weights < (uint64_t)1 << 60 && state < (size_t)1 << 60;
        json_object_set_new(kv, vs_kv_type_name((enum vs_kv_type)type), size_of(n));
        json_object_set_new(total, vs_kv_type_name((enum vs_kv_type)type), size_of(counted ? n + state + weights : 0));
    }
    vs_graph_clear(&graph);
    if (counted)
        return json_pack("{s:o, s:o, s:o, s:o, s:o}", "context", size_of(context), "weights", size_of(weights), "kv", kv,
                         "state", size_of(state), "total", total);
    json_decref(kv);
    json_decref(total);
    return unknown("the numbers in the file are out of range");
}

static json_t *string_key(const struct vs_gguf *g, const char *key, size_t limit)
{
    struct vs_str s;
    size_t budget = SIZE_MAX;
    return vs_entries_str(vs_gguf_entries(g), key, &s, NULL) == VS_OK ? text_of(s, limit, &budget) : json_null();
}

int vs_inspect(const struct vs_gguf *g, const struct vs_backend_kind *backend, uint32_t ctx, struct vs_check *check,
               json_t **ret, struct vs_error *err)
{
    uint64_t weights = 0;
    int code = VS_E_NOMEM;
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
            || json_object_set_new(out, "memory", memory_of(g, backend, ctx, weights)) != 0))
        code = VS_E_NOMEM;
    if (code == VS_OK) {
        *ret = out;
        return VS_OK;
    }
    json_decref(out);
    return vs_error_set(err, code, "inspect: %s", code == VS_E_NOMEM ? "no memory for the answer" : vs_status_text(code));
}
