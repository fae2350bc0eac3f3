/* ipc/envelope.h - the payload of requests and of the frames that end them: an envelope that everybody on the way reads, and a body
 * for the far end alone.
 *
 *     | n u32le | envelope: n bytes, a JSON object | body: JSON, to the end of the payload |
 *
 * The envelope is small, and closed: an unknown key is an error, so that what one side decides by cannot be misspelt. The broker
 * lives on envelopes; it never reads a body.
 *
 * Memory:  a vs_head owns its JSON until _clear; everything else is plain data or points into the caller's bytes.
 */
#ifndef VS_IPC_ENVELOPE_H
#define VS_IPC_ENVELOPE_H
#include "base/buf.h"
#include "base/status.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vs_payload {
    const char *envelope, *body;
    size_t envelope_bytes, body_bytes;
};

/* VS_E_PROTOCOL: the envelope does not end within the payload, or is larger than max_envelope bytes. */
int vs_payload_split(const void *data, size_t n, size_t max_envelope, struct vs_payload *ret, struct vs_error *err);

/* Appends a payload's beginning: room for n (u32), to be followed by the envelope. _end writes n; call it before the body. */
size_t vs_payload_begin(struct vs_buf *out);
void vs_payload_end(struct vs_buf *out, size_t begin);

/* ---- of a request ---- */

enum {                                  /* which keys an envelope may have */
    VS_KEY_MODEL = 1,                   /* and must, where it may */
    VS_KEY_DEADLINE = 2,
    VS_KEY_TRACE = 4,
    VS_KEY_SETTINGS = 8,
    VS_KEY_FORCE = 16,
    VS_KEY_PRIORITY = 32,
    VS_KEY_BEHALF = 128,                /* a delegate says for whom it asks */
    VS_KEY_WHO = 256,                   /* whose key it is asked under, and from where */
    VS_KEY_RECEIPT = 512,               /* it wants a receipt */
    VS_KEY_REFUSED = 1024,              /* a gateway tells of somebody whom it refused itself */
    VS_KEY_OF_BROKER = 64,              /* broker to worker: owner, client, deadline_at, arrived_at, sent, credit, resumes, salt, */
                                        /* keep */
    VS_KEYS_ALL = VS_KEY_DEADLINE | VS_KEY_TRACE | VS_KEY_WHO,       /* of every request of a client */
    VS_KEYS_MODEL = VS_KEYS_ALL | VS_KEY_MODEL | VS_KEY_BEHALF,
    VS_KEYS_ANSWER = VS_KEYS_MODEL | VS_KEY_PRIORITY,
    VS_KEYS_WORKER = VS_KEY_TRACE | VS_KEY_PRIORITY | VS_KEY_RECEIPT | VS_KEY_OF_BROKER,
};

enum { VS_RECEIPT_NONE, VS_RECEIPT_BEST, VS_RECEIPT_ALL, VS_N_RECEIPTS };      /* what it covers: the 64 best logits, or all */
enum { VS_SALT_HEX = 65 };                /* 32 bytes in hex, and a NUL */

enum { VS_PRIORITY_HIGH, VS_PRIORITY_NORMAL, VS_PRIORITY_LOW, VS_N_PRIORITIES };

enum { VS_TRACE_BYTES = 56 };           /* a traceparent and a NUL */
/* version "-" trace id "-" parent id "-" flags, in lower-case hex; NULL is none. */
bool vs_is_traceparent(const char *s);
enum { VS_PERSON_BYTES = 65 };

struct vs_head {
    json_t *json;                       /* one of these has the texts below */
    char *text;
    const char *model, *trace;          /* NULL when absent; so too: */
    const char *on_behalf_of;           /* 1 to VS_PERSON_BYTES - 1 bytes */
    const char *key;                    /* an API key: the request is asked under it */
    const char *remote;                 /* where who asks is, 1 to VS_PERSON_BYTES - 1 bytes */
    const char *refused;                /* how the audit log calls what a gateway refused: wrong_key, locked_out */
    int64_t deadline_ms;                /* 0 when absent */
    json_t *settings;                   /* NULL when absent; borrowed from json */
    bool force;
    unsigned priority;                  /* VS_PRIORITY_NORMAL when absent */
    int64_t owner;                      /* a uid, or the number of one who can't be told; -1 when absent */
    int64_t client;                     /* with whom it shares places */
    int64_t deadline_at, arrived_at;    /* milliseconds of CLOCK_MONOTONIC; 0 when absent */
    int64_t sent;                       /* tokens that the client already has (SENT frames came before) */
    int64_t credit;                     /* bytes of output that may come at first; VS_CREDIT_START when absent */
    int64_t resumes;                    /* 0, or the id that it had when its worker died: a guard remembers it */
    unsigned receipt;                   /* VS_RECEIPT_*: the level of the one that is wanted; `true` is VS_RECEIPT_BEST */
    const char *salt;                   /* of its commitments, 32 bytes in hex; NULL when absent */
    bool keep;                          /* the operator keeps what it commits to */
};

/* VS_E_MALFORMED: not a JSON object. VS_E_INVALID: a key that is not in `keys`, a value that cannot be, a model that is missing.
 * Nothing is left to clear on failure. What is spelt as _dump spells it is read without making JSON values of it. */
int vs_head_parse(const char *data, size_t n, unsigned keys, struct vs_head *ret, struct vs_error *err);
void vs_head_clear(struct vs_head *h);
/* As a worker reads it: the keys of VS_KEYS_WORKER that are not as if absent. */
void vs_head_dump(const struct vs_head *h, struct vs_buf *out);

/* Is it a key of some envelope, rather than of a body? */
bool vs_head_is_key(const char *key, unsigned keys);

/* ---- of COMPLETE, REJECTED and ERROR ---- */

struct vs_usage {
    int64_t prompt_tokens, completion_tokens, cached_tokens;
    int64_t drafted_tokens, accepted_tokens;     /* speculation: proposed, and how many of them were right */
    int64_t recomputed_tokens;                   /* whose K and V were thrown away meanwhile */
    int64_t resumed;                             /* so often it went on in another worker */
};

enum { VS_VERDICT_BYTES = 2304 };       /* of `guard`, with its NUL: so an envelope keeps within its limit */

struct vs_outcome {
    struct vs_error error;              /* VS_OK on COMPLETE */
    struct vs_outcome_hints {           /* keys of the error; 0 when absent */
        int64_t retry_after_ms;         /* BUSY */
        int64_t needed, free, held;     /* NOMEM: bytes */
    } hints;
    char finish_reason[32];             /* "" when there is none: so too below */
    bool has_usage;
    struct vs_usage usage;
    char model_digest[65];              /* SHA-256 of the file's bytes, in hex */
    char salt[VS_SALT_HEX];             /* that opens the receipt's commitments */
    bool is_altered, is_withheld;       /* of an answer with a receipt: the client has other text, or not all ids */
    char guard[VS_VERDICT_BYTES];       /* what a guard found: a JSON object, as text */
};

/* VS_E_MALFORMED, or VS_E_INVALID: unknown keys, values of the wrong kind. */
int vs_outcome_parse(const char *data, size_t n, struct vs_outcome *ret, struct vs_error *err);
/* As a client reads it, whose daemon may be newer: the error and its hints alone. A name that is not known is a code all the same;
 * keys that are not known are left out. VS_E_MALFORMED: no object, or an error without a code or a message. */
int vs_outcome_error(const char *data, size_t n, struct vs_error *ret, struct vs_outcome_hints *ret_hints, struct vs_error *err);
void vs_outcome_dump(const struct vs_outcome *o, struct vs_buf *out);
#endif
