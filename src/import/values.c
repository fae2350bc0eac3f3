/* import/values.c - the numbers of a file: each is checked for its range, and an error names its key. */
#include "import/internal.h"

#include <stdio.h>
#include <string.h>

int vs_gb_fail(struct vs_builder *b, int code, const char *what, const char *name)
{
    if (b->status == VS_OK)
        b->status = vs_error_set(b->err, code, "model: %s%s%s", name, *name ? ": " : "", what);
    return b->status;
}

const char *vs_gb_key_of(const struct vs_builder *b, const char *suffix, char buf[128])
{
    snprintf(buf, 128, "%s.%s", b->arch->name, suffix);
    return buf;
}

uint32_t vs_gb_in_range(struct vs_builder *b, const char *key, uint64_t v, uint32_t min, uint32_t max)
{
    char what[96];
    if (v >= min && v <= max)
        return (uint32_t)v;
    snprintf(what, sizeof what, "is %llu, must be %u to %u", (unsigned long long)v, min, max);
    vs_gb_fail(b, VS_E_MALFORMED, what, key);
    return 0;
}

uint32_t vs_gb_get_u32(struct vs_builder *b, const char *suffix, int64_t preset, uint32_t min, uint32_t max)
{
    char key[128];
    uint32_t v = 0;
    if (b->status != VS_OK)
        return 0;
    int r = vs_entries_u32(vs_gguf_entries(b->file), vs_gb_key_of(b, suffix, key), &v, b->err);
    if (r == VS_E_NOT_FOUND && preset >= 0)
        return (uint32_t)preset;
    if (r == VS_E_NOT_FOUND)
        vs_gb_fail(b, VS_E_MALFORMED, "is missing", key);
    else if (r != VS_OK)
        b->status = r;
    return b->status == VS_OK ? vs_gb_in_range(b, key, v, min, max) : 0;
}

uint64_t vs_gb_list_u64(struct vs_builder *b, const char *key, const struct vs_entry *kv, uint32_t i)
{
    char what[96];
    uint64_t v = 0;
    if (kv->count != b->n_blocks) {
        snprintf(what, sizeof what, "has %llu element%s, must have one for each layer, %u in all", (unsigned long long)kv->count,
                 vs_plural(kv->count), b->n_blocks);
        vs_gb_fail(b, VS_E_MALFORMED, what, key);
    } else if (!vs_entry_uint(kv, i, &v)) {
        vs_gb_fail(b, VS_E_MALFORMED, "is not a list of whole numbers", key);
    }
    return v;
}

uint32_t vs_gb_layer_u32(struct vs_builder *b, const char *suffix, uint32_t layer, int64_t preset, uint32_t min, uint32_t max)
{
    char key[128];
    const struct vs_entry *kv = vs_entries_find(vs_gguf_entries(b->file), vs_gb_key_of(b, suffix, key));
    if (b->status != VS_OK || !kv || kv->type != VS_ENTRY_ARRAY)
        return vs_gb_get_u32(b, suffix, preset, min, max);
    uint64_t v = vs_gb_list_u64(b, key, kv, layer);
    return b->status == VS_OK ? vs_gb_in_range(b, key, v, min, max) : 0;
}

double vs_gb_get_float(struct vs_builder *b, const char *suffix, double preset, double min, double max)
{
    char key[128];
    float v;
    if (b->status != VS_OK)
        return preset;
    int r = vs_entries_f32(vs_gguf_entries(b->file), vs_gb_key_of(b, suffix, key), &v, b->err);
    if (r == VS_E_NOT_FOUND)
        return preset;
    if (r != VS_OK) {
        b->status = r;
        return preset;
    }
    if (!(v >= min && v <= max)) {
        char what[96];
        snprintf(what, sizeof what, "is %g, must be %g to %g", (double)v, min, max);
        vs_gb_fail(b, VS_E_MALFORMED, what, key);
        return preset;
    }
    return (double)v;
}

double vs_gb_layer_float(struct vs_builder *b, const char *suffix, uint32_t layer, double preset, double min, double max)
{
    char key[128], what[96];
    double v = preset;
    const struct vs_entry *kv = vs_entries_find(vs_gguf_entries(b->file), vs_gb_key_of(b, suffix, key));
    if (b->status != VS_OK || !kv || kv->type != VS_ENTRY_ARRAY)
        return vs_gb_get_float(b, suffix, preset, min, max);
    snprintf(what, sizeof what, "must have one element for each layer, %u in all", b->n_blocks);
    if (kv->count != b->n_blocks)
        vs_gb_fail(b, VS_E_MALFORMED, what, key);
    snprintf(what, sizeof what, "has an element that is not %g to %g", min, max);
    if (b->status == VS_OK && (!vs_entry_float(kv, layer, &v) || !(v >= min && v <= max)))
        vs_gb_fail(b, VS_E_MALFORMED, what, key);
    return b->status == VS_OK ? v : preset;
}

bool vs_gb_get_bool(struct vs_builder *b, const char *suffix, bool preset)
{
    char key[128];
    uint64_t v = preset;
    const struct vs_entry *kv = vs_entries_find(vs_gguf_entries(b->file), vs_gb_key_of(b, suffix, key));
    if (b->status == VS_OK && kv && (!vs_entry_uint(kv, 0, &v) || v > 1))
        vs_gb_fail(b, VS_E_MALFORMED, "is not true or false", key);
    return v != 0;
}

bool vs_gb_has_key(const struct vs_builder *b, const char *suffix)
{
    char key[128];
    return vs_entries_find(vs_gguf_entries(b->file), vs_gb_key_of(b, suffix, key)) != NULL;
}

float vs_gb_bare_float(struct vs_builder *b, const char *key, uint32_t layer)
{
    double v = 0;
    const struct vs_entry *kv = vs_entries_find(vs_gguf_entries(b->file), key);
    if (!kv)
        vs_gb_fail(b, VS_E_MALFORMED, "is missing", key);
    else if (kv->type == VS_ENTRY_ARRAY && kv->count != b->n_layers)
        vs_gb_fail(b, VS_E_MALFORMED, "must have one element for each layer", key);
    else if (!vs_entry_float(kv, kv->type == VS_ENTRY_ARRAY ? layer : 0, &v) || !(v >= -1e3 && v <= 1e3))
        vs_gb_fail(b, VS_E_MALFORMED, "is not a number from -1000 to 1000", key);
    return (float)v;
}

bool vs_gb_is_named(struct vs_str s, const char *name)
{
    return s.n == strlen(name) && memcmp(s.data, name, s.n) == 0;
}
