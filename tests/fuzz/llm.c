/* rooms: import graph tensor base */
/* Any bytes as a whole file: what opens is read as a language model. The corpus is one tiny model without its data, so the fuzzer
 * works on keys and shapes; the file is said to be large enough for any tensor. */
#include "import/gguf.h"
#include "import/llm.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct vs_gguf *g = NULL;
    struct vs_error err = { 0 };
    if (vs_gguf_open(data, n, (uint64_t)1 << 40, &g, &err) != VS_OK)
        return 0;
    struct vs_graph graph;
    memset(&err, 0, sizeof err);
    int code = vs_import_llm(g, &graph, &err);
    if (code != VS_OK) {
        if (!err.text[0] || err.code != code || strchr(err.text, '\n'))
            abort();
    } else {
        for (size_t i = 0; i < graph.n_nodes; i++) {
            const struct vs_node *node = &graph.nodes[i];
            for (int k = 0; k < 3; k++)
                if (node->in[k] != VS_NONE && node->in[k] >= node->out)
                    abort();
            for (int k = 0; k < 2; k++)
                if (node->tensor[k] != VS_NONE && node->tensor[k] >= graph.n_tensors)
                    abort();
        }
        for (size_t i = 0; i < graph.n_experts; i++) {
            const struct vs_experts *e = &graph.experts[i];
            const uint32_t first[] = { e->gate, e->up, e->down };
            if (!e->n || e->n > VS_MAX_EXPERTS || !e->n_used || e->n_used > e->n || !e->width || !e->n_in
                || (e->n_groups && (e->n % e->n_groups || e->n / e->n_groups * e->n_groups_used < e->n_used)))
                abort();
            for (int k = 0; k < 3; k++)
                if (first[k] != VS_NONE && (first[k] >= graph.n_tensors || graph.n_tensors - first[k] < e->n))
                    abort();
        }
        for (size_t i = 0; i < graph.n_ropes; i++)
            for (uint32_t k = 0; k < graph.ropes[i].n_dims / 2; k++) {
                double f = vs_rope_frequency(&graph.ropes[i], k) * graph.ropes[i].magnitude;
                if (!(f >= 0 && f < 1e12) || graph.ropes[i].n_dims > graph.head_dim)
                    abort();
            }
        for (size_t i = 0; i < graph.n_tensors; i++)
            if (graph.tensors[i].n_bytes > (uint64_t)1 << 40 ||
                graph.tensors[i].offset > ((uint64_t)1 << 40) - graph.tensors[i].n_bytes)
                abort();
        if (graph.output[VS_OUTPUT_VECTOR] >= graph.n_values || !graph.n_kv_heads || !graph.head_dim)
            abort();
        for (int k = 0; k < VS_N_OUTPUTS; k++)
            if (graph.output[k] != VS_NONE && graph.output[k] >= graph.n_values)
                abort();
        vs_graph_clear(&graph);
    }
    vs_gguf_close(g);
    return 0;
}
