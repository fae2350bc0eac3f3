/* prog/veritas/receipts.c - see receipts.h */
#include "prog/veritas/receipts.h"

#include "ipc/json.h"
#include "prog/veritas/output.h"

static unsigned add(const json_t *receipt, struct vs_buf *out)
{
    if (!receipt)
        return 0;
    vs_json_dump(receipt, out);
    vs_buf_char(out, '\n');
    return 1;
}

unsigned vs_receipts_add(const json_t *result, struct vs_buf *out)
{
    unsigned n = add(json_object_get(result, "receipt"), out);
    const json_t *choice;
    size_t i;
    json_array_foreach(json_object_get(result, "choices"), i, choice)
        n += add(json_object_get(choice, "receipt"), out);
    return n;
}

int vs_receipts_save(struct vs_output *out, const struct vs_buf *lines, struct vs_error *err)
{
    if (lines->status != VS_OK)
        return vs_error_set(err, lines->status, "out of memory");
    vs_output_write(out, lines->data ? lines->data : "", lines->n);
    return vs_output_commit(out, err);
}
