/* rooms: import tensor base */
/* Any bytes as the head of a file that may be longer: the first byte says how much longer. What opens is walked whole. */
#include "import/gguf.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static volatile uint64_t sum;

static void walk(const struct vs_gguf *g)
{
    for (size_t i = 0; i < vs_gguf_entries(g)->n; i++) {
        const struct vs_entry *kv = &vs_gguf_entries(g)->entry[i];
        struct vs_entry_cursor cursor = { 0 };
        struct vs_str s;
        while (vs_entry_next_str(kv, &cursor, &s))
            for (size_t j = 0; j < s.n; j++)
                sum += (uint8_t)s.data[j];
        for (uint64_t j = 0; j <= kv->count; j++) {
            uint64_t u;
            int64_t v;
            double f;
            if (vs_entry_uint(kv, j, &u) || vs_entry_int(kv, j, &v) || vs_entry_float(kv, j, &f))
                sum++;
            else if (kv->elem_type != VS_ENTRY_STRING && j < kv->count)
                abort();
        }
        char key[2000];
        memcpy(key, kv->key.data, kv->key.n);
        key[kv->key.n] = 0;
        if (strlen(key) == kv->key.n && vs_entries_find(vs_gguf_entries(g), key) != kv)
            abort();
        uint32_t u32;
        float f32;
        bool b;
        struct vs_error err;
        vs_entries_u32(vs_gguf_entries(g), key, &u32, &err);
        vs_entries_f32(vs_gguf_entries(g), key, &f32, &err);
        vs_entries_bool(vs_gguf_entries(g), key, &b, &err);
        vs_entries_str(vs_gguf_entries(g), key, &s, &err);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (!n)
        return 0;
    uint64_t file_size = n - 1 + (data[0] & 1 ? (uint64_t)1 << (data[0] >> 1 & 63) : 0);
    uint8_t *head = malloc(n);
    if (!head)
        return 0;
    memcpy(head, data + 1, n - 1);
    head = realloc(head, n > 1 ? n - 1 : 1);
    struct vs_gguf *g = NULL;
    struct vs_error err = { 0 };
    int code = vs_gguf_open(head, n - 1, file_size, &g, &err);
    if (code == VS_OK) {
        uint64_t end = vs_gguf_data_start(g);
        for (size_t i = 0; i < vs_gguf_n_tensors(g); i++) {
            const struct vs_gguf_tensor *t = vs_gguf_tensor_at(g, i);
            if (t->offset < end || t->n_bytes > file_size || t->offset > file_size - t->n_bytes)
                abort();
            end = t->offset + t->n_bytes;
        }
        walk(g);
        vs_gguf_close(g);
    } else if (!err.text[0] || err.code != code || strchr(err.text, '\n')) {
        abort();
    }
    free(head);
    return 0;
}
