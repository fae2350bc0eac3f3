/* receipt/statement.h - the signed part of a receipt: an in-toto Statement of integers, hex and words (docs/RECEIPT.md).
 *
 * Each statement has one spelling: members in the order of the table in statement.c, no white space, no escapes, no floats (their
 * IEEE bits stand in hex), integers without leading zeros, hex in lower case. So the parser takes nothing but what the writer
 * writes, and no JSON library is needed.
 *
 *     worker: contract model numeric request trace observed, what the answer is      broker: engine result guard time actor log
 *
 * A worker fills its part and formats it with VS_STATEMENT_WORKER, or, one of several answers to a request, with
 * VS_STATEMENT_CHOICE, which says too how that one ended; the broker parses that, adds its own and formats the whole. What has no
 * worker's part (a request that was refused) is a statement too.
 *
 * Memory: plain data. Threads: pure.
 */
#ifndef VS_RECEIPT_STATEMENT_H
#define VS_RECEIPT_STATEMENT_H
#include "base/buf.h"
#include "base/status.h"
#include "receipt/chain.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    VS_STATEMENT_MOST = 8192,            /* bytes of one */
    VS_STATEMENT_WORD = 65,              /* a word's bytes, with its NUL: letters, digits and . _ - / : + @ */
    VS_STATEMENT_ADAPTERS = 7,           /* of a model, at most */
};

struct vs_hashed { bool is_there; uint8_t hash[VS_DIGEST_BYTES]; };      /* may be absent, where the table says so */

struct vs_statement {
    /* subject: at least one */
    struct vs_hashed tokens, text, delivered, body;
    bool has_worker;                     /* the next six groups are there */
    struct { char id[VS_STATEMENT_WORD]; } contract;                     /* "VNC-1" */
    /* sha256: as `model_digest` of the protocol. adapters: in their order, as much as each counted */
    struct {
        struct vs_hashed sha256;
        struct vs_adapted {
            uint32_t n;
            struct { uint8_t sha256[VS_DIGEST_BYTES]; float scale; } one[VS_STATEMENT_ADAPTERS];
        } adapters;
    } model;
    struct { char kv_type[VS_STATEMENT_WORD]; uint64_t n_ctx; } numeric;
    struct vs_statement_request {
        struct vs_hashed prompt;
        uint64_t n_prompt, seed;
        float temperature, top_p, min_p, typical_p, repeat_penalty, presence_penalty, frequency_penalty;
        uint64_t top_k;
        int64_t repeat_last_n, max_tokens;       /* -1: all; as many as fit */
        uint64_t ignore_eos, special;            /* 0, 1 */
        uint64_t parts;                  /* 1: it was told in parts. `text` is what came before that, out of stop.c */
        struct vs_hashed bias, stop, stop_tokens, constraint;    /* absent: there were none */
        struct vs_hashed asked;          /* where calls or reasoning may bend the draws */
        uint64_t shaped;                 /* 1: they did; a replay needs what was asked */
    } request;
    struct { uint64_t level, n_out; struct vs_hashed chain; } trace;
    /* What must not matter. */
    struct { char isa[VS_STATEMENT_WORD]; uint64_t threads, parallel, chunk, cached, drafted, recomputed, resumed; } observed;

    struct { char name[VS_STATEMENT_WORD], version[VS_STATEMENT_WORD]; } engine;
    /* finish: stop, length, tool_calls, filtered, cancelled, refused, failed. error: a name of the protocol; "": none */
    struct { char finish[VS_STATEMENT_WORD], error[VS_STATEMENT_WORD]; } result;
    bool has_guard;
    struct { struct vs_hashed policy; char action[VS_STATEMENT_WORD]; } guard;
    struct { uint64_t start, end; char source[VS_STATEMENT_WORD]; } time;        /* ms since 1970; "local" */
    /* uid, or -1; the client's number of the request; the name of an API key, ""; C(on_behalf_of) */
    struct { int64_t uid; uint64_t request; char key[VS_STATEMENT_WORD]; struct vs_hashed on_behalf_of; } actor;
    bool has_log;
    struct { char source[VS_STATEMENT_WORD]; uint64_t record; } log;     /* as `from` of the request's first record in the log */
};

enum vs_statement_part {
    VS_STATEMENT_WORKER,                 /* subjects and the worker's groups */
    VS_STATEMENT_CHOICE,                 /* the same, and result */
    VS_STATEMENT_WHOLE,
};

/* Appends it; out->status tells of failure. Words that must be there are words (_is_word), hashes that must be there are there. */
void vs_statement_format(const struct vs_statement *s, enum vs_statement_part part, struct vs_buf *out);
/* VS_E_MALFORMED: err says what and where. Values are in their ranges then, and words are known ones where the table lists them. */
int vs_statement_parse(const char *text, size_t n, enum vs_statement_part part, struct vs_statement *ret, struct vs_error *err);
bool vs_statement_is_word(const char *s);        /* 1 to 64 of the bytes that a word may have */

/* h[0] = SHA-256("veritas-receipt/1 chain\n" || salt || u32le level || SHA-256 of each of the objects contract, model, numeric and
 * request, as they are spelled in the statement). Of the level, and these four groups of s. */
int vs_statement_chain(const struct vs_statement *s, const uint8_t salt[VS_SALT_BYTES], uint8_t ret[VS_DIGEST_BYTES]);
#endif
