/* prog/audit/receipt.c - receipts: a statement that the broker made is signed with the log's key (docs/RECEIPT.md). What it says of
 * the log is written before. */
#include "prog/audit/audit.h"

#include "evidence/receipt.h"

void receipt_sign(struct audit *a, const struct vs_frame *f)
{
    struct vs_statement statement;
    struct vs_error why;
    struct vs_buf out = { .limit = VS_MAX_RECEIPT };
    log_flush(a);
    if (!a->source[0] || vs_statement_parse((const char *)f->data, f->n, VS_STATEMENT_WHOLE, &statement, &why) != VS_OK) {
        vs_conn_clear(&a->broker);      /* it is not itself any more */
        return;
    }
    if (vs_receipt_sign((const char *)f->data, f->n, a->seed, a->keys.data, a->keys.n, &out) != VS_OK)
        audit_leave(VS_E_UNSUPPORTED, "a receipt could not be signed");
    vs_conn_send(&a->broker, VS_MSG_RECEIPT, 0, f->id, out.data, out.n, -1);    /* a failure shows at the next read */
    vs_buf_clear(&out);
}
