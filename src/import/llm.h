/* import/llm.h - a GGUF header becomes a graph: one generic builder for all decoder models, architectures are rows of a table.
 *
 * A new Llama-like model is a row in `architectures` (families.c). Hyper-parameters are untrusted: each is checked for
 * range and against the shapes of the tensors before a node uses it.
 */
#ifndef VS_IMPORT_LLM_H
#define VS_IMPORT_LLM_H
#include "base/status.h"
#include "graph/graph.h"
#include "import/gguf.h"

/* *ret is zeroed before; on failure it is empty again. VS_E_UNSUPPORTED names the architecture, key or type that this build can't
 * run and what it can; VS_E_MALFORMED names a missing or contradictory key or tensor. */
int vs_import_llm(const struct vs_gguf *g, struct vs_graph *ret, struct vs_error *err);
/* The same with adapters that were opened for it, at most VS_MAX_ADAPTERS; each of their pairs must find its matrix. */
struct vs_adapter;
int vs_import_adapted(const struct vs_gguf *g, struct vs_adapter *const *adapters, unsigned n, struct vs_graph *ret,
                      struct vs_error *err);

/* Name of architecture i of the table, as general.architecture has it; NULL: there are no more. */
const char *vs_llm_architecture(size_t i);
#endif
