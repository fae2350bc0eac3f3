/* import/weights.c - the tensors of a file as those of a graph: each has exactly the shape that the sizes ask for. */
#include "import/internal.h"

#include <stdio.h>

const char *vs_gb_tensor_name(const struct vs_builder *b, char buf[64], int layer, const char *suffix)
{
    if (layer < 0)
        snprintf(buf, 64, "%s", suffix);
    else
        snprintf(buf, 64, "%s.%d.%s", b->blocks, layer, suffix);
    return buf;
}

static uint32_t *made_of(const struct vs_builder *b, const struct vs_gguf_tensor *t)
{
    return &b->made[t - vs_gguf_tensor_at(b->file, 0)];
}

bool vs_gb_is_there(const struct vs_builder *b, int layer, const char *suffix)
{
    char name[64];
    return vs_gguf_tensor(b->file, vs_gb_tensor_name(b, name, layer, suffix)) != NULL;
}

uint64_t vs_gb_rows_of_matrix(const struct vs_builder *b, int layer, const char *suffix)
{
    char name[64];
    const struct vs_gguf_tensor *t = vs_gguf_tensor(b->file, vs_gb_tensor_name(b, name, layer, suffix));
    return t ? t->ne[1] : 0;
}

struct vs_part vs_gb_whole(uint32_t n)
{
    return (struct vs_part){ 0, n, n };
}

static bool is_computable(struct vs_builder *b, const struct vs_gguf_tensor *t, const char *name)
{
    char what[160];
    snprintf(what, sizeof what, "tensor type %s is not supported; `veritas inspect --formats` lists those that are",
             t->dtype->name);
    if (!t->dtype->computable)
        vs_gb_fail(b, VS_E_UNSUPPORTED, what, name);
    return t->dtype->computable;
}

/* Those rows of matrix i of a tensor, as the graph knows them. */
static struct vs_tensor slice_of(const struct vs_gguf_tensor *t, uint32_t i, struct vs_part rows)
{
    uint64_t row_bytes = t->n_bytes / (t->ne[1] * t->ne[2]);
    struct vs_tensor g = { .dtype = (enum vs_dtype)t->dtype->id, .n_cols = (uint32_t)t->ne[0], .n_rows = rows.n,
                           .offset = t->offset + ((uint64_t)i * t->ne[1] + rows.first) * row_bytes,
                           .n_bytes = rows.n * row_bytes };
    snprintf(g.name, sizeof g.name, "%.*s", (int)t->name.n, t->name.data);
    return g;
}

/* The tensor and its name. NULL: building has failed, or it is not there; the latter fails unless it is optional. */
static const struct vs_gguf_tensor *find(struct vs_builder *b, int layer, const char *suffix, bool optional, char ret_name[64])
{
    if (b->status != VS_OK)
        return NULL;
    const struct vs_gguf_tensor *t = vs_gguf_tensor(b->file, vs_gb_tensor_name(b, ret_name, layer, suffix));
    if (!t && !optional)
        vs_gb_fail(b, VS_E_MALFORMED, "tensor is missing", ret_name);
    return t;
}

uint32_t vs_gb_tensor(struct vs_builder *b, int layer, const char *suffix, uint32_t n_cols, struct vs_part rows, bool optional)
{
    char name[64], what[160];
    const struct vs_gguf_tensor *t = find(b, layer, suffix, optional, name);
    if (!t)
        return VS_NONE;
    if (t->ne[0] != n_cols || t->ne[1] != rows.all || t->ne[2] != 1 || t->ne[3] != 1) {
        snprintf(what, sizeof what, "tensor is %llu x %llu, must be %u x %u", (unsigned long long)t->ne[0],
                 (unsigned long long)t->ne[1], n_cols, rows.all);
        vs_gb_fail(b, VS_E_MALFORMED, what, name);
        return VS_NONE;
    }
    if (!is_computable(b, t, name))
        return VS_NONE;
    struct vs_tensor g = slice_of(t, 0, rows);
    const struct vs_tensor *last = *made_of(b, t) == VS_NONE ? NULL : &b->g->tensors[*made_of(b, t)];
    if (!last || last->offset != g.offset || last->n_bytes != g.n_bytes)         /* what is read again is the same tensor */
        *made_of(b, t) = vs_graph_tensor(b->g, &g);
    return *made_of(b, t);
}

uint32_t vs_gb_vector(struct vs_builder *b, int layer, const char *suffix, struct vs_part part, bool optional)
{
    uint32_t i = vs_gb_tensor(b, layer, suffix, part.all, vs_gb_whole(1), optional);
    if (i == VS_NONE)
        return VS_NONE;
    struct vs_tensor *t = &b->g->tensors[i];
    if (t->dtype != VS_F32) {
        vs_gb_fail(b, VS_E_UNSUPPORTED, "a norm, bias, scale or rope tensor must be F32", t->name);
        return VS_NONE;
    }
    t->n_cols = part.n;
    t->offset += (uint64_t)part.first * sizeof(float);
    t->n_bytes = (uint64_t)part.n * sizeof(float);
    return i;
}

uint32_t vs_gb_vector_of_rows(struct vs_builder *b, int layer, const char *suffix, uint32_t n_cols, uint32_t n_rows)
{
    uint32_t i = vs_gb_tensor(b, layer, suffix, n_cols, vs_gb_whole(n_rows), false);
    if (i != VS_NONE && b->g->tensors[i].dtype != VS_F32)
        vs_gb_fail(b, VS_E_UNSUPPORTED, "a tensor of a recurrent layer must be F32", b->g->tensors[i].name);
    return i;
}

bool vs_gb_is_deep(const struct vs_builder *b, int layer, const char *suffix)
{
    char name[64];
    const struct vs_gguf_tensor *t = vs_gguf_tensor(b->file, vs_gb_tensor_name(b, name, layer, suffix));
    return t && t->ne[1] == 1 && t->ne[2] > 1;
}

uint32_t vs_gb_deep_vector(struct vs_builder *b, int layer, const char *suffix, uint32_t n_cols, uint32_t n_rows)
{
    char name[64], what[160];
    const struct vs_gguf_tensor *t = vs_gguf_tensor(b->file, vs_gb_tensor_name(b, name, layer, suffix));
    if (b->status != VS_OK)
        return VS_NONE;
    if (t->ne[0] != n_cols || t->ne[2] != n_rows || t->ne[3] != 1) {
        snprintf(what, sizeof what, "tensor is %llu x 1 x %llu, must be %u x 1 x %u", (unsigned long long)t->ne[0],
                 (unsigned long long)t->ne[2], n_cols, n_rows);
        vs_gb_fail(b, VS_E_MALFORMED, what, name);
        return VS_NONE;
    }
    if (t->dtype->id != VS_F32) {
        vs_gb_fail(b, VS_E_UNSUPPORTED, "a tensor of a recurrent layer must be F32", name);
        return VS_NONE;
    }
    struct vs_tensor g = slice_of(t, 0, vs_gb_whole(1));
    g.n_rows = n_rows;
    g.n_bytes = t->n_bytes;
    return *made_of(b, t) = vs_graph_tensor(b->g, &g);
}

uint32_t vs_gb_expert_matrices(struct vs_builder *b, int layer, const char *stem, const char *end, uint32_t n, uint32_t n_in,
                               struct vs_part out)
{
    char name[64], suffix[48], what[160];
    uint32_t first = VS_NONE;
    snprintf(suffix, sizeof suffix, "%s_%s.weight", stem, end);
    const struct vs_gguf_tensor *t = vs_gguf_tensor(b->file, vs_gb_tensor_name(b, name, layer, suffix));
    for (uint32_t e = 0; !t && e < n && b->status == VS_OK; e++) {
        char old[48];
        snprintf(old, sizeof old, "%s.%u.weight", stem, e);
        if (e == 0 && !vs_gb_is_there(b, layer, old))
            vs_gb_fail(b, VS_E_MALFORMED, "tensor is missing", name);
        uint32_t at = vs_gb_tensor(b, layer, old, n_in, out, false);
        first = e ? first : at;
    }
    if (!t || b->status != VS_OK)
        return first;
    if (t->ne[0] != n_in || t->ne[1] != out.all || t->ne[2] != n || t->ne[3] != 1) {
        snprintf(what, sizeof what, "tensor is %llu x %llu x %llu, must be %u x %u x %u", (unsigned long long)t->ne[0],
                 (unsigned long long)t->ne[1], (unsigned long long)t->ne[2], n_in, out.all, n);
        vs_gb_fail(b, VS_E_MALFORMED, what, name);
    }
    for (uint32_t e = 0; e < n && b->status == VS_OK && is_computable(b, t, name); e++) {
        struct vs_tensor g = slice_of(t, e, out);
        uint32_t at = vs_graph_tensor(b->g, &g);
        *made_of(b, t) = first = e ? first : at;
    }
    return first;
}

uint32_t vs_gb_head_matrices(struct vs_builder *b, int layer, const char *suffix, uint32_t n, uint32_t n_in, uint32_t n_out)
{
    char name[64], what[160];
    uint32_t first = VS_NONE;
    const struct vs_gguf_tensor *t = find(b, layer, suffix, false, name);
    if (!t)
        return VS_NONE;
    bool flat = t->ne[1] == (uint64_t)n_out * n && t->ne[2] == 1, deep = t->ne[1] == n_out && t->ne[2] == n;
    if (t->ne[0] != n_in || (!flat && !deep) || t->ne[3] != 1) {
        snprintf(what, sizeof what, "tensor is %llu x %llu x %llu, must be %u x %u x %u", (unsigned long long)t->ne[0],
                 (unsigned long long)t->ne[1], (unsigned long long)t->ne[2], n_in, n_out, n);
        vs_gb_fail(b, VS_E_MALFORMED, what, name);
    }
    for (uint32_t k = 0; k < n && b->status == VS_OK && is_computable(b, t, name); k++) {
        struct vs_tensor g = slice_of(t, deep ? k : 0, (struct vs_part){ deep ? 0 : k * n_out, n_out, n_out });
        uint32_t at = vs_graph_tensor(b->g, &g);
        *made_of(b, t) = first = k ? first : at;
    }
    return first;
}

uint32_t vs_gb_flat_vector(struct vs_builder *b, int layer, const char *suffix, struct vs_part part)
{
    char name[64], what[160];
    const struct vs_gguf_tensor *t = find(b, layer, suffix, false, name);
    if (!t)
        return VS_NONE;
    uint64_t n = t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3];
    if (n != part.all) {
        snprintf(what, sizeof what, "tensor has %llu elements, must have %u", (unsigned long long)n, part.all);
        vs_gb_fail(b, VS_E_MALFORMED, what, name);
        return VS_NONE;
    }
    if (t->dtype->id != VS_F32) {
        vs_gb_fail(b, VS_E_UNSUPPORTED, "a tensor of a recurrent layer must be F32", name);
        return VS_NONE;
    }
    struct vs_tensor g = { .dtype = VS_F32, .n_cols = part.n, .n_rows = 1,
                           .offset = t->offset + (uint64_t)part.first * sizeof(float),
                           .n_bytes = (uint64_t)part.n * sizeof(float) };
    snprintf(g.name, sizeof g.name, "%.*s", (int)t->name.n, t->name.data);
    return *made_of(b, t) = vs_graph_tensor(b->g, &g);
}

uint32_t vs_gb_expert_vector(struct vs_builder *b, int layer, const char *suffix, uint32_t n_out)
{
    uint32_t i = n_out ? vs_gb_tensor(b, layer, suffix, n_out, vs_gb_whole(b->n_experts), true)
                       : vs_gb_tensor(b, layer, suffix, b->n_experts, vs_gb_whole(1), true);
    if (i != VS_NONE && b->g->tensors[i].dtype != VS_F32)
        vs_gb_fail(b, VS_E_UNSUPPORTED, "a norm, bias, scale or rope tensor must be F32", b->g->tensors[i].name);
    return i;
}

uint32_t vs_gb_rows_of(struct vs_builder *b, const char *name, uint32_t most)
{
    const struct vs_gguf_tensor *t = vs_gguf_tensor(b->file, name);
    return t ? vs_gb_in_range(b, name, t->ne[1], 1, most) : 0;
}
