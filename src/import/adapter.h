/* import/adapter.h - LoRA adapters: what a small file adds to the matrices of a model that it was trained for.
 *
 * A GGUF file of type "adapter" with pairs NAME.lora_a [n_in, rank] and NAME.lora_b [rank, n_out] for the model's matrices NAME,
 * all of floats. Everything is checked against the model's own tensors: an adapter of another model is refused by the name of what
 * does not fit. What we can't honour (adapters of embeddings, norms and experts, such that begin at a word) is refused too.
 *
 * Memory:  an adapter owns its header's bytes. Threads: read-only after _open. Failure: VS_E_* with text, nothing is left.
 */
#ifndef VS_IMPORT_ADAPTER_H
#define VS_IMPORT_ADAPTER_H
#include "base/source.h"
#include "import/gguf.h"

struct vs_adapter_pair {
    struct vs_str name;                  /* of the model's matrix */
    const struct vs_gguf_tensor *a, *b;  /* their offsets are of the whole source */
    uint32_t rank;
    float factor;                        /* alpha / rank, or 1 */
};

struct vs_adapter;
/* The adapter in bytes [start, start + n_bytes) of the source, for the model that g is. Weights are read: none may be NaN or
 * infinite. */
int vs_adapter_open(const struct vs_source *file, uint64_t start, uint64_t n_bytes, const struct vs_gguf *g,
                    struct vs_adapter **ret, struct vs_error *err);
void vs_adapter_close(struct vs_adapter *a);

size_t vs_adapter_n_pairs(const struct vs_adapter *a);
const struct vs_adapter_pair *vs_adapter_pair_at(const struct vs_adapter *a, size_t i);
const struct vs_adapter_pair *vs_adapter_find(const struct vs_adapter *a, const char *name);     /* NULL: nothing for that one */
#endif
