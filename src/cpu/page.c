/* cpu/page.c - where K and V of a page lie, and pages copied and cleared. ops.h says where each element of a head lies, internal.h
 * how pages lie in runs. */
#include "cpu/internal.h"

#include <stdlib.h>
#include <string.h>

static void layer_init(struct vs_kv_layer_layout *l, const struct vs_kv_layer *of, enum vs_kv_type type)
{
    size_t hd = of->head_dim, vd = of->value_dim, size = type == VS_KV_F32 ? 4 : type == VS_KV_F16 ? 2 : 1;
    *l = (struct vs_kv_layer_layout){ .n_heads = of->n_heads, .head_dim = of->head_dim, .value_dim = of->value_dim };
    l->k_bytes = l->key_bytes = hd * VS_PAGE_TOKENS * size;
    l->v_bytes = l->value_bytes = vd * VS_PAGE_TOKENS * size;
    if (type == VS_KV_Q8_0) {
        l->k_bytes = (hd + 3) / 4 * 4 * VS_PAGE_TOKENS;
        l->v_bytes = (vd + VS_LANES8 - 1) / VS_LANES8 * VS_LANES8 * VS_PAGE_TOKENS;
        l->key_bytes = l->k_bytes + (hd + 31) / 32 * VS_PAGE_TOKENS * 4;
        l->value_bytes = l->v_bytes + VS_PAGE_TOKENS * 4;
    }
}

int vs_kv_layout_init(struct vs_kv_layout *l, const struct vs_graph *g, enum vs_kv_type type)
{
    *l = (struct vs_kv_layout){ .type = type, .n_kv_heads = g->n_kv_heads, .head_dim = g->head_dim, .value_dim = g->value_dim,
                                .n_layers = g->n_kv_layers };
    l->layers = calloc(l->n_layers + 1, sizeof *l->layers);
    if (!l->layers)
        return VS_E_NOMEM;
    for (size_t i = 0; i < l->n_layers; i++)
        layer_init(&l->layers[i], &g->kv_layers[i], type);
    for (size_t i = 0; i < l->n_layers; i++) {
        l->layers[i].key_at = l->page_bytes;
        l->page_bytes += l->layers[i].n_heads * l->layers[i].key_bytes;
    }
    for (size_t i = 0; i < l->n_layers; i++) {
        l->layers[i].value_at = l->page_bytes;
        l->page_bytes += l->layers[i].n_heads * l->layers[i].value_bytes;
    }
    return VS_OK;
}

void vs_kv_layout_clear(struct vs_kv_layout *l)
{
    free(l->layers);
    l->layers = NULL;
}

uint8_t *vs_kv_place(const struct vs_cpu *c, uint32_t page, uint32_t layer, uint32_t head, bool value)
{
    const struct vs_kv_layout *l = &c->memory.kv_layout;
    const struct vs_kv_layer_layout *of = &l->layers[layer];
    uint8_t *run = c->memory.kv + page / VS_KV_RUN * VS_KV_RUN * l->page_bytes;
    size_t at = (size_t)head * VS_KV_RUN + page % VS_KV_RUN;
    return value ? run + of->value_at * VS_KV_RUN + at * of->value_bytes : run + of->key_at * VS_KV_RUN + at * of->key_bytes;
}

/* What lies in groups: n_lines lines of `line` bytes in each, of which the first `some` bytes are wanted. */
static void copy_lines(uint8_t *to, const uint8_t *from, size_t n_lines, size_t line, size_t some)
{
    if (some == line) {
        memcpy(to, from, n_lines * line);
        return;
    }
    for (size_t i = 0; i < n_lines; i++)
        memcpy(to + i * line, from + i * line, some);
}

/* Keys of the first n tokens: groups of `lanes` tokens, in each a line of them for every (size / lanes) bytes of a key. */
static void copy_keys(uint8_t *to, const uint8_t *from, size_t n, size_t lanes, size_t n_lines, size_t size)
{
    for (size_t t = 0; t < n; t += lanes) {
        size_t some = n - t < lanes ? n - t : lanes, at = t * n_lines * size;
        copy_lines(to + at, from + at, n_lines, lanes * size, some * size);
    }
}

static void copy_key(const struct vs_kv_layer_layout *l, enum vs_kv_type type, uint8_t *to, const uint8_t *from, size_t n)
{
    if (type == VS_KV_Q8_0) {
        copy_keys(to, from, n, VS_LANES8, (l->head_dim + 3) / 4, 4);
        copy_lines(to + l->k_bytes, from + l->k_bytes, (l->head_dim + 31) / 32, VS_PAGE_TOKENS * 4, n * 4);
    } else {
        copy_keys(to, from, n, VS_KEY_GROUP, l->head_dim, type == VS_KV_F32 ? 4 : 2);
    }
}

static void copy_value(const struct vs_kv_layer_layout *l, enum vs_kv_type type, uint8_t *to, const uint8_t *from, size_t n)
{
    size_t hd = l->value_dim, size = type == VS_KV_F32 ? 4 : 2;
    if (type == VS_KV_Q8_0) {         /* four tokens of a dimension side by side: whole ones, then byte by byte */
        size_t whole = n / 4 * 4;
        copy_lines(to, from, l->v_bytes / (VS_LANES8 * VS_PAGE_TOKENS), VS_LANES8 * VS_PAGE_TOKENS, whole * VS_LANES8);
        for (size_t t = whole; t < n; t++)
            for (size_t d = 0; d < hd; d++)
                to[vs_value8_at(t, d)] = from[vs_value8_at(t, d)];
        memcpy(to + l->v_bytes, from + l->v_bytes, n * 4);
        return;
    }
    for (size_t d = 0; d < hd; d += VS_VALUE_GROUP) {
        size_t at = vs_value_at(hd, 0, d) * size;
        memcpy(to + at, from + at, n * vs_value_width(hd, d) * size);
    }
}

void vs_cpu_copy_page(struct vs_backend *b, uint32_t from, uint32_t to, uint32_t n_tokens)
{
    const struct vs_cpu *c = (const struct vs_cpu *)b;
    const struct vs_kv_layout *l = &c->memory.kv_layout;
    for (uint32_t i = 0; i < l->n_layers; i++)
        for (uint32_t head = 0; head < l->layers[i].n_heads; head++) {
            copy_key(&l->layers[i], l->type, vs_kv_place(c, to, i, head, false), vs_kv_place(c, from, i, head, false), n_tokens);
            copy_value(&l->layers[i], l->type, vs_kv_place(c, to, i, head, true), vs_kv_place(c, from, i, head, true), n_tokens);
        }
}

void vs_cpu_clear_pages(struct vs_backend *b, const uint32_t *pages, uint32_t n)
{
    const struct vs_cpu *c = (const struct vs_cpu *)b;
    const struct vs_kv_layout *l = &c->memory.kv_layout;
    for (uint32_t k = 0; k < n; k++)
        for (uint32_t i = 0; i < l->n_layers; i++)
            for (uint32_t head = 0; head < l->layers[i].n_heads; head++) {
                memset(vs_kv_place(c, pages[k], i, head, false), 0, l->layers[i].key_bytes);
                memset(vs_kv_place(c, pages[k], i, head, true), 0, l->layers[i].value_bytes);
            }
}
