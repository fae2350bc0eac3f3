/* evidence/receipt.h - a receipt: a signed statement about an answer, and the content that it commits to (docs/RECEIPT.md).
 *
 *     {"envelope": {"payload", "payloadType", "signatures": [{"keyid", "sig"}]}, "keys": "1 <key> <signature>\n...",
 *      "opening": {"salt", "prompt_tokens", "tokens", "text", ...}}
 *
 * The envelope is DSSE, its payload a statement (receipt/statement.h), signed by the key of an epoch of the log; `keys` are lines
 * of the log's file of that name, from the first epoch on, so that who trusts the first key needs no other. What stands in the
 * opening must be what the statement commits to. Nothing of a receipt is believed before all of this is checked.
 *
 * Memory: a vs_receipt owns what it holds; vs_receipt_clear. Threads: one at a time, after vs_evidence_setup and vs_json_setup.
 */
#ifndef VS_EVIDENCE_RECEIPT_H
#define VS_EVIDENCE_RECEIPT_H
#include "base/buf.h"
#include "base/status.h"
#include "evidence/sign.h"
#include "receipt/statement.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VS_RECEIPT_TYPE "application/vnd.in-toto+json"

enum {
    VS_RECEIPT_MOST = 64 << 20,          /* bytes of a receipt */
    VS_RECEIPT_EPOCHS = 48,              /* a receipt brings the lines of so many epochs at most; a log may have more */
};

/* DSSE's pre-authentication encoding of the payload: the bytes that are signed. Appended. */
void vs_receipt_pae(const char *payload, size_t n, struct vs_buf *out);
/* Appends ,"keys":"..." for the receipts that a log signs: the lines of its file of keys; nothing where they are none, or more than
 * VS_RECEIPT_EPOCHS. out->status tells of failure. */
void vs_receipt_keys(const char *keys, size_t n, struct vs_buf *out);
/* Appends {"envelope":{...},"keys":"..."}: the payload signed; keys: what vs_receipt_keys made. */
int vs_receipt_sign(const char *payload, size_t n, struct vs_key *key, const struct vs_buf *keys, struct vs_buf *out);

enum vs_verdict { VS_WELL_FORMED, VS_MATCH, VS_MISMATCH, VS_UNVERIFIABLE, VS_INVALID };
const char *vs_verdict_name(enum vs_verdict v);          /* "WELL_FORMED" */

struct vs_receipt_ids { uint32_t *id; size_t n; bool is_there; };

struct vs_receipt {
    struct vs_statement statement;       /* signed: what the verdict is about */
    char signer[VS_ORIGIN_BYTES];        /* the name of the first key */
    bool is_trusted;                     /* that is the key which was given */
    uint8_t payload[VS_HASH_BYTES];      /* SHA-256 of the signed bytes: by this its operator finds what he kept */
    bool has_salt;
    uint8_t salt[VS_SALT_BYTES], h0[VS_DIGEST_BYTES];    /* h0: where there are a salt and a worker's part */
    struct vs_receipt_ids prompt, tokens, stop_tokens;
    const json_t *text, *delivered, *bias, *stop, *constraint, *asked;   /* borrowed from json: strings and lists; NULL */
    json_t *json;
};

/* Checks signature, statement and opening. key: what `veritas audit key` prints, or the log's file `keys` (NULL: nobody vouches for
 * the receipt's own keys). VS_WELL_FORMED; VS_UNVERIFIABLE: no key is there; VS_INVALID. reason says why. _clear in any case. */
enum vs_verdict vs_receipt_check(const void *data, size_t n, const char *key, size_t n_key, struct vs_receipt *ret,
                                 char *reason, size_t reason_size);
/* What a replay needs and a well-formed receipt lacks; NULL: it has all. */
const char *vs_receipt_lacks(const struct vs_receipt *r);
/* The body of a request VERIFY; NULL: out of memory. */
json_t *vs_receipt_request(const struct vs_receipt *r, bool decode);
void vs_receipt_clear(struct vs_receipt *r);
#endif
