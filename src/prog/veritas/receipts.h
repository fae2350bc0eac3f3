/* prog/veritas/receipts.h - receipts that came with answers, as lines of a file (docs/RECEIPT.md). */
#ifndef VS_VERITAS_RECEIPTS_H
#define VS_VERITAS_RECEIPTS_H
#include "base/buf.h"
#include "base/status.h"

#include <jansson.h>

struct vs_output;

/* Appends those of a result, a line each: that of the answer, or of each of several. How many; a failure is the status of out. */
unsigned vs_receipts_add(const json_t *result, struct vs_buf *out);

/* Writes them to what was opened for them, which holds what was said: for its owner alone. */
enum { VS_RECEIPTS_MODE = 0600 };
int vs_receipts_save(struct vs_output *out, const struct vs_buf *lines, struct vs_error *err);
#endif
