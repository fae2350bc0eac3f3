/* prog/audit/receipt.c - receipts: a statement that the broker made is signed with the log's key (docs/RECEIPT.md). What it says of
 * the log is written before, and so is what the operator keeps of an answer that was changed on its way to the client. */
#include "prog/audit/audit.h"

#include "base/bytes.h"
#include "base/file.h"
#include "evidence/receipt.h"
#include "ipc/json.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { KEPT_FD = 13,                     /* main.c */
       PIECE = 1 << 20 };                /* bytes of a line of receipts.keep that are written at once */

static void add_hex(struct vs_buf *out, const char *before, const uint8_t hash[VS_HASH_BYTES])
{
    char hex[VS_HASH_HEX];
    vs_hex(hash, VS_HASH_BYTES, hex);
    vs_buf_printf(out, "%s\"%s\"", before, hex);
}

/* To the file of receipts.keep; what is there of a line that could not be finished is ended by the next start. */
static void write_kept(struct vs_buf *out)
{
    if (out->status != VS_OK)
        audit_leave(VS_E_NOMEM, "out of memory for what receipts.keep keeps");
    if (!vs_write_all(KEPT_FD, out->data, out->n))
        audit_leave(VS_E_SYSTEM, "the file of receipts.keep cannot be written: %s", strerror(errno));
    vs_buf_reset(out);
}

/* In pieces: a hostile worker names millions of ids. */
static void add_ids(struct vs_buf *out, const char *key, const uint8_t *ids, size_t n)
{
    vs_buf_printf(out, ",\"%s\":[", key);
    for (size_t i = 0; i < n; i++) {
        vs_buf_printf(out, i ? ",%u" : "%u", vs_load_u32le(ids + 4 * i));
        if (out->n >= PIECE)
            write_kept(out);
    }
    vs_buf_char(out, ']');
}

/* The rest of an opening is somebody else's JSON: its members, if it is an object. */
static void add_rest(struct vs_buf *out, const char *text, size_t n)
{
    json_t *rest = n ? vs_json_parse(text, n, NULL) : NULL;
    struct vs_buf members = { 0 };
    json_object_del(rest, "salt");
    json_object_del(rest, "prompt_tokens");
    json_object_del(rest, "tokens");
    if (json_object_size(rest))
        vs_json_dump(rest, &members);
    if (members.n > 2) {
        vs_buf_char(out, ',');
        vs_buf_add(out, members.data + 1, members.n - 2);
    }
    vs_buf_clear(&members);
    json_decref(rest);
}

/* {"receipt": SHA-256 of the statement, "opening": {...}}, a line. */
static void keep(struct audit *a, const struct vs_frame *statement)
{
    struct vs_buf out = { 0 };
    struct vs_kept_view v;
    uint8_t hash[VS_HASH_BYTES];
    if (!vs_kept_view(a->kept.data + VS_SALT_BYTES, a->kept.n - VS_SALT_BYTES, &v))
        return;
    vs_hash(statement->data, statement->n, hash);
    add_hex(&out, "{\"receipt\":", hash);
    add_hex(&out, ",\"opening\":{\"salt\":", (const uint8_t *)a->kept.data);
    add_ids(&out, "prompt_tokens", v.ids, v.n_prompt);
    add_ids(&out, "tokens", v.ids + 4 * (size_t)v.n_prompt, v.n_tokens);
    add_rest(&out, v.opening, v.n);
    vs_buf_str(&out, "}}\n");
    write_kept(&out);
    if (a->sync_each && fdatasync(KEPT_FD) != 0)
        audit_leave(VS_E_SYSTEM, "the file of receipts.keep cannot be written: %s", strerror(errno));
    vs_buf_clear(&out);
}

void receipt_keep(struct audit *a, const struct vs_frame *f)
{
    if (!a->has_kept)
        return;
    vs_buf_reset(&a->kept);
    vs_buf_add(&a->kept, f->data, f->n);
    a->kept_id = a->kept.status == VS_OK ? f->id : 0;
}

/* What it says of the log: nothing, or a record of this broker that is written. */
static bool is_of_log(const struct audit *a, const struct vs_statement *s)
{
    return !s->has_log || (!a->is_signer && strcmp(s->log.source, a->source) == 0 && s->log.record <= a->n_taken);
}

void receipt_sign(struct audit *a, const struct vs_frame *f)
{
    struct vs_statement statement;
    struct vs_error why;
    struct vs_buf out = { .limit = VS_MAX_RECEIPT };
    log_flush(a);
    if (!a->source[0] || vs_statement_parse((const char *)f->data, f->n, VS_STATEMENT_WHOLE, &statement, &why) != VS_OK
        || !is_of_log(a, &statement)) {
        vs_conn_clear(&a->broker);      /* it is not itself any more */
        return;
    }
    if (a->kept_id && a->kept_id == f->id)
        keep(a, f);
    a->kept_id = 0;
    vs_buf_clear(&a->kept);
    if (vs_receipt_sign((const char *)f->data, f->n, a->key, &a->keys, &out) != VS_OK)
        audit_leave(VS_E_UNSUPPORTED, "a receipt could not be signed");
    vs_conn_send(&a->broker, VS_MSG_RECEIPT, 0, f->id, out.data, out.n, -1);
    vs_conn_flush(&a->broker);          /* with the word that its record is written; a failure shows at the next read */
    vs_buf_clear(&out);
}
