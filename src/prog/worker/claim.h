/* prog/worker/claim.h - what a worker says of an answer for its receipt (docs/RECEIPT.md): which computation it was, from what, and
 * a chain over the logits of each token.
 *
 *     generate.c: what was asked for, the logits of each token     job.c: what went out     the end: a statement for each choice
 *
 * What is said of tokens that did not go out (a client that cancelled) is left out, so the statement is about what the client has.
 * The digest of the model may be known only at the end, so the chain is made then, of the digests that are kept. Of several
 * answers to a request each has a statement of its own, which also says how it ended.
 *
 * Memory: owned by the job. Threads: a choice's logits on one thread at a time; what went out, and the end, on the main one, or
 * before the first step.
 *
 * Stays inside the worker.
 */
#ifndef VS_WORKER_CLAIM_H
#define VS_WORKER_CLAIM_H
#include "ipc/envelope.h"
#include "receipt/statement.h"

#include <jansson.h>

struct vs_asked;
struct vs_claim;
struct vs_ids;
struct vs_service;
struct vs_work;

/* salt: VS_SALT_BYTES in hex. keeps: the operator wants the content, too. NULL: no memory. */
struct vs_claim *vs_claim_create(unsigned level, const char *salt, bool keeps);
void vs_claim_free(struct vs_claim *c);

/* asked: the worker's groups, but for the digest of the model, the seed of a choice and what is known at the end. opening: what of
 * the request it commits to, but for the prompt; stolen. VS_E_NOMEM. */
int vs_claim_begin(struct vs_claim *c, const struct vs_statement *asked, json_t *opening, uint32_t n_choices);
const uint8_t *vs_claim_salt(const struct vs_claim *c);
int vs_claim_prompt(struct vs_claim *c, const uint32_t *id, size_t n);   /* its ids. VS_E_NOMEM */
/* The same from a request that was read. VS_E_NOMEM. claim_request.c */
int vs_claim_request(struct vs_claim *c, const struct vs_work *w, const struct vs_asked *asked, const struct vs_ids *prompt,
                     struct vs_error *err);
json_t *vs_claim_opening(const struct vs_claim *c);      /* borrowed */
/* Token `id` at `position` was drawn from these logits. VS_E_NOMEM. */
int vs_claim_token(struct vs_claim *c, uint32_t choice, size_t position, uint32_t id, const float *logits, size_t n);
/* Text that came with it, before it is told apart. VS_E_NOMEM. */
int vs_claim_text(struct vs_claim *c, uint32_t choice, const char *text, size_t n);
/* The client has a frame: id, or VS_NO_TOKEN. */
void vs_claim_said(struct vs_claim *c, uint32_t choice, uint32_t id);
/* How it ended: a word of docs/RECEIPT.md, which lives for ever. Else, where there are several, by what stopped the request. */
void vs_claim_finish(struct vs_claim *c, uint32_t choice, const char *finish);

/* From here on a call was held to its form. */
void vs_claim_shaped(struct vs_claim *c, uint32_t choice);

uint32_t vs_claim_n(const struct vs_claim *c);   /* statements; 0: it never came to that */
/* Appends that of a choice. digest: of the model, in hex; s knows those of its adapters; usage: NULL where it is not known. */
void vs_claim_format(const struct vs_claim *c, uint32_t choice, const char *digest, const struct vs_service *s,
                     const struct vs_usage *usage, struct vs_buf *out);
/* Appends the content of a choice as a KEPT frame has it; false: nobody wants it, or it is too long. */
bool vs_claim_kept(const struct vs_claim *c, uint32_t choice, struct vs_buf *out);
/* Appends what the client of a request that failed needs for its opening: prompt_tokens and opening, as a result has them. */
void vs_claim_dump(const struct vs_claim *c, struct vs_buf *out);
#endif
