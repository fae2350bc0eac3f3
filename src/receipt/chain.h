/* receipt/chain.h - what an answer commits to: salted digests of its content, and the chain over the logits it was drawn from
 * (docs/RECEIPT.md).
 *
 *     C(name, x) = SHA-256("veritas-receipt/1 " || name || "\n" || salt || x)
 *     h[0] by receipt/statement.h        h[t] = SHA-256(h[t-1] || u32le position || u32le token || D[t])
 *     D[t]: of the raw logits that token t was drawn from. Level 1: SHA-256 of the 64 best, each u32le id, u32le bits; logit
 *           descending, then id ascending. Level 2: SHA-256 of all of them, id ascending, u32le bits.
 *
 * The salt is 32 random bytes of each request: without it nobody can try what a short answer may have been. Nothing here knows how
 * an answer was computed, so batch, threads and instruction set cannot show. Plain SHA-256 of base: no library.
 *
 * Memory: none of its own. Threads: pure. Failure: none.
 */
#ifndef VS_RECEIPT_CHAIN_H
#define VS_RECEIPT_CHAIN_H
#include "base/sha256.h"

#include <stddef.h>
#include <stdint.h>

enum {
    VS_DIGEST_BYTES = 32, VS_SALT_BYTES = 32,
    VS_TRACE_SOME = 1, VS_TRACE_ALL = 2, /* levels */
};

/* Names of what is committed to. */
#define VS_COMMIT_TOKENS      "output.tokens"       /* u32le each */
#define VS_COMMIT_TEXT        "output.text"         /* UTF-8, as the model made it */
#define VS_COMMIT_DELIVERED   "output.delivered"    /* UTF-8, as the client got it, where that differs */
#define VS_COMMIT_BODY        "request.body"        /* the request's body as it came */
#define VS_COMMIT_PROMPT      "prompt"              /* u32le each */
#define VS_COMMIT_BIAS        "bias"                /* u32le id, u32le bits of the float, each; in the order in which they apply */
#define VS_COMMIT_STOP        "stop"                /* u32le length, bytes, each */
#define VS_COMMIT_STOP_TOKENS "stop_tokens"         /* u32le each */
#define VS_COMMIT_CONSTRAINT  "constraint"          /* the bytes of its JSON as the opening has them */
#define VS_COMMIT_ASKED       "asked"               /* the whole request as the worker read it, JSON, as the opening has it */
#define VS_COMMIT_BEHALF      "on_behalf_of"        /* UTF-8 */

/* C(name, x), x in pieces: begin, then vs_sha256_add each, then vs_sha256_end. */
void vs_commit_begin(struct vs_sha256 *s, const char *name, const uint8_t salt[VS_SALT_BYTES]);
void vs_commit(const char *name, const uint8_t salt[VS_SALT_BYTES], const void *data, size_t n, uint8_t ret[VS_DIGEST_BYTES]);
void vs_commit_ids(const char *name, const uint8_t salt[VS_SALT_BYTES], const uint32_t *id, size_t n,
                   uint8_t ret[VS_DIGEST_BYTES]);
/* Adds ids as u32le; a length and bytes. */
void vs_commit_add_ids(struct vs_sha256 *s, const uint32_t *id, size_t n);
void vs_commit_add_text(struct vs_sha256 *s, const char *text, size_t n);

/* D of logits[n], all of them finite. level: VS_TRACE_SOME, VS_TRACE_ALL. */
void vs_trace_digest(unsigned level, const float *logits, size_t n, uint8_t ret[VS_DIGEST_BYTES]);
/* h[t] in place of h[t-1]. position: the token's place in its sequence, prompt included, from 0. */
void vs_trace_step(uint8_t h[VS_DIGEST_BYTES], uint32_t position, uint32_t token, const uint8_t d[VS_DIGEST_BYTES]);
#endif
