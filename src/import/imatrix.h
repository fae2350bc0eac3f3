/* import/imatrix.h - importance matrices: of each column of a model's matrices the mean square of what it is multiplied with.
 *
 * Both formats that are in use are read: GGUF (general.type "imatrix", tensors NAME.in_sum2 and NAME.counts), and the older one, a
 * list of names with numbers. Who writes one: `veritas imatrix`.
 *
 * Memory:  it owns what it looks names up in; values are read from the file when they are asked for.
 * Failure: VS_E_MALFORMED, VS_E_UNSUPPORTED, VS_E_NOMEM with text, or what the source says.
 */
#ifndef VS_IMPORT_IMATRIX_H
#define VS_IMPORT_IMATRIX_H
#include "base/source.h"
#include <stddef.h>

struct vs_imatrix;

/* The source must outlive it. */
int vs_imatrix_open(const struct vs_source *file, struct vs_imatrix **ret, struct vs_error *err);
void vs_imatrix_close(struct vs_imatrix *m);

/* *ret: mean squares [n_columns, n_matrices] of the tensor, the caller's to free; NULL where nothing is said about it. They are
 * finite and not negative. VS_E_MALFORMED: it has another shape here. */
int vs_imatrix_of(const struct vs_imatrix *m, const char *name, uint64_t n_columns, uint64_t n_matrices, float **ret,
                  struct vs_error *err);
#endif
