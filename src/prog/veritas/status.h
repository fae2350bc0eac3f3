/* prog/veritas/status.h - what STATUS says of models, as cells of tables: `veritas ps` and `veritas top`.
 *
 * A value that the daemon does not tell, or that was not measured, is "-". Text comes from others and goes through base/text.h.
 * Memory: the caller's. Threads: one at a time.
 */
#ifndef VS_VERITAS_STATUS_H
#define VS_VERITAS_STATUS_H
#include "base/buf.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

enum vs_cell_kind {
    VS_CELL_TEXT,                       /* at the left of its column; all others at the right */
    VS_CELL_COUNT,                      /* a whole number; of two paths the first that is there */
    VS_CELL_SHARE,                      /* the first path in per cent of the second */
    VS_CELL_RATE,                       /* a number with one decimal */
    VS_CELL_MEMORY                      /* resident megabytes of the process at the path, where it is one of this machine */
};

struct vs_column {
    const char *title;
    int width;
    const char *words;                  /* the cell within a sentence: "running %s" */
    enum vs_cell_kind kind;
    const char *path, *second;          /* "requests.running" */
};

const json_t *vs_status_at(const json_t *object, const char *path);     /* NULL when absent or null; borrowed */

/* How many of the n columns, from the first on, fit into `width` characters; at least one. */
size_t vs_columns_fit(const struct vs_column *columns, size_t n, int width);
void vs_columns_head(const struct vs_column *columns, size_t n, struct vs_buf *out);
void vs_columns_row(const struct vs_column *columns, size_t n, const json_t *model, struct vs_buf *out);
/* "name: ready, pid 7, running 0": the first cell, then the others in their words. */
void vs_columns_sentence(const struct vs_column *columns, size_t n, const json_t *model, struct vs_buf *out);
#endif
