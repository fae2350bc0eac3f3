/* import/header.h - the header of a model's file, whatever its format: what it says of itself, and the graph in it.
 *
 * The first bytes are read into memory of our own, so that a file changed meanwhile can't deceive the parser. One format is known
 * so far; another one is told apart here, by its first bytes.
 *
 * Memory:  a header owns the copied bytes, and the table points into them.
 * Failure: VS_E_MALFORMED / VS_E_UNSUPPORTED / VS_E_SYSTEM / VS_E_NOMEM with text.
 */
#ifndef VS_IMPORT_HEADER_H
#define VS_IMPORT_HEADER_H
#include "base/source.h"

struct vs_gguf;
struct vs_graph;
struct vs_entries;

struct vs_header;
int vs_header_open(const struct vs_source *file, struct vs_header **ret, struct vs_error *err);
void vs_header_close(struct vs_header *h);

const struct vs_entries *vs_header_entries(const struct vs_header *h);
/* Adds an adapter to the model: bytes [start, start + n_bytes) of the file. At most VS_MAX_ADAPTERS. */
int vs_header_adapt(struct vs_header *h, const struct vs_source *file, uint64_t start, uint64_t n_bytes, struct vs_error *err);
/* As vs_import_adapted. */
int vs_header_graph(const struct vs_header *h, struct vs_graph *ret, struct vs_error *err);
/* A split model has a header in each part. The bytes of it that were looked at, and where they are in the whole. */
unsigned vs_header_n_parts(const struct vs_header *h);
const void *vs_header_bytes(const struct vs_header *h, unsigned part, uint64_t *ret_at, size_t *ret_n);
/* For `inspect`, which shows a file as its format has it. */
const struct vs_gguf *vs_header_gguf(const struct vs_header *h);
#endif
