/* rooms: selftest import graph tensor base */
/* Any bytes as an adapter for a small model: what opens fits the model's matrices, and the graph that is made with it adds to those
 * alone. */
#include "base/buf.h"
#include "import/adapter.h"
#include "import/header.h"
#include "import/llm.h"
#include "selftest/tiny.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static struct vs_buf model;

static void make_model(void)
{
    struct vs_tiny tiny = { .arch = "llama", .type = "F32", .layers = 1, .embd = 8, .heads = 2, .ff = 8, .vocab = 4, .ctx = 8,
                            .seed = 1, .version = 3, .freq_base = 10000 };
    struct vs_tiny_head head = { 0 };
    struct vs_error err;
    if (vs_tiny_complete(&tiny, &err) != VS_OK)
        abort();
    vs_tiny_metadata(&tiny, &head);
    if (vs_tiny_file(&tiny, &head, true, &model, &err) != VS_OK)
        abort();
    vs_buf_clear(&head.buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct vs_gguf *g;
    struct vs_adapter *a;
    struct vs_graph graph = { 0 };
    struct vs_error err = { 0 };
    if (!model.n)
        make_model();
    if (vs_gguf_open(model.data, model.n, model.n, &g, &err) != VS_OK)
        abort();
    struct vs_source source = vs_source_memory(data, n);
    if (vs_adapter_open(&source, 0, n, g, &a, &err) != VS_OK) {
        if (!err.text[0])
            abort();
        vs_gguf_close(g);
        return 0;
    }
    for (size_t i = 0; i < vs_adapter_n_pairs(a); i++) {
        const struct vs_adapter_pair *p = vs_adapter_pair_at(a, i);
        if (p->a->offset + p->a->n_bytes > n || p->b->offset + p->b->n_bytes > n || !p->rank)
            abort();
    }
    if (vs_import_adapted(g, &a, 1, &graph, &err) == VS_OK) {
        if (graph.n_adapts != vs_adapter_n_pairs(a))
            abort();
        vs_graph_clear(&graph);
    }
    vs_adapter_close(a);
    vs_gguf_close(g);
    return 0;
}
