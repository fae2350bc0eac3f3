/* graph/graph.c - see graph.h */
#include "graph/graph.h"

#include "base/num.h"
#include "base/status.h"

#include <stdlib.h>
#include <string.h>

void vs_graph_clear(struct vs_graph *g)
{
    free(g->tensors);
    free(g->values);
    free(g->nodes);
    free(g->experts);
    free(g->adapts);
    free(g->kv_layers);
    memset(g, 0, sizeof *g);
}

/* Room for one more item of `size` bytes; NULL (and a sticky status) when there is none. */
static void *push(struct vs_graph *g, void *items, size_t n, size_t *cap, size_t size)
{
    if (g->status != VS_OK || n < *cap)
        return g->status == VS_OK ? items : NULL;
    size_t more = *cap ? *cap * 2 : 64;
    void *grown = realloc(items, more * size);
    if (!grown) {
        g->status = VS_E_NOMEM;
        return NULL;
    }
    *cap = more;
    return grown;
}

uint32_t vs_graph_tensor(struct vs_graph *g, const struct vs_tensor *t)
{
    struct vs_tensor *items = push(g, g->tensors, g->n_tensors, &g->cap_tensors, sizeof *t);
    if (!items)
        return VS_NONE;
    g->tensors = items;
    g->tensors[g->n_tensors] = *t;
    return (uint32_t)g->n_tensors++;
}

uint32_t vs_graph_experts(struct vs_graph *g, const struct vs_experts *e)
{
    struct vs_experts *items = push(g, g->experts, g->n_experts, &g->cap_experts, sizeof *e);
    if (!items)
        return VS_NONE;
    g->experts = items;
    g->experts[g->n_experts] = *e;
    return (uint32_t)g->n_experts++;
}

uint32_t vs_graph_kv_layer(struct vs_graph *g, const struct vs_kv_layer *l)
{
    struct vs_kv_layer *items = push(g, g->kv_layers, g->n_kv_layers, &g->cap_kv_layers, sizeof *l);
    if (!items)
        return VS_NONE;
    g->kv_layers = items;
    g->kv_layers[g->n_kv_layers] = *l;
    g->n_kv_heads = l->n_heads > g->n_kv_heads ? l->n_heads : g->n_kv_heads;
    g->head_dim = l->head_dim > g->head_dim ? l->head_dim : g->head_dim;
    g->value_dim = l->value_dim > g->value_dim ? l->value_dim : g->value_dim;
    return (uint32_t)g->n_kv_layers++;
}

uint32_t vs_graph_adapt(struct vs_graph *g, const struct vs_adapt *a)
{
    struct vs_adapt *items = push(g, g->adapts, g->n_adapts, &g->cap_adapts, sizeof *a);
    if (!items)
        return VS_NONE;
    g->adapts = items;
    g->adapts[g->n_adapts] = *a;
    return (uint32_t)g->n_adapts++;
}

uint32_t vs_graph_node(struct vs_graph *g, const struct vs_node *n, enum vs_rows rows, uint32_t width)
{
    struct vs_value *values = push(g, g->values, g->n_values, &g->cap_values, sizeof *values);
    if (values)
        g->values = values;
    struct vs_node *nodes = push(g, g->nodes, g->n_nodes, &g->cap_nodes, sizeof *nodes);
    if (!nodes)
        return VS_NONE;
    g->nodes = nodes;
    g->values[g->n_values] = (struct vs_value){ rows, width };
    g->nodes[g->n_nodes] = *n;
    g->nodes[g->n_nodes++].out = (uint32_t)g->n_values;
    return (uint32_t)g->n_values++;
}

/* Does a pair turn by the position that a text has not? */
static bool is_still(const struct vs_rope *r, uint32_t pair)
{
    const uint32_t *n = r->sections;
    uint32_t all = n[0] + n[1] + n[2] + n[3];
    if (!all)
        return false;
    uint32_t at = pair % all;
    return r->interleaved ? at >= 3 * n[at % 3] : at >= n[0] + n[1] + n[2];
}

uint32_t vs_graph_width(const struct vs_graph *g, enum vs_output which)
{
    return g->output[which] == VS_NONE ? 0 : g->values[g->output[which]].width;
}

double vs_rope_frequency(const struct vs_rope *r, uint32_t pair)
{
    if (is_still(r, pair))
        return 0;
    double plain = vs_pow64(r->base, -2.0 * pair / r->n_dims), slow = plain * r->freq_scale;
    if (!(r->ext > 0))
        return slow;
    double width = r->high - r->low > 0.001 ? r->high - r->low : 0.001, at = (pair - r->low) / width;
    double mix = (1 - (at < 0 ? 0 : at > 1 ? 1 : at)) * r->ext;
    return slow * (1 - mix) + plain * mix;
}
