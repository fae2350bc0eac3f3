/* client/receipt.h - a receipt put together of what comes for a request: the signed part in its frame, the salt in the envelope of
 * the end, the prompt and settings in the result's body, tokens and text in the answer's frames (docs/RECEIPT.md). Of several
 * answers to a request each has its own.
 *
 * Stays inside the room.
 */
#ifndef VS_CLIENT_RECEIPT_H
#define VS_CLIENT_RECEIPT_H
#include "ipc/frame.h"

#include <jansson.h>
#include <stdbool.h>

struct vs_joined;

struct vs_joined *vs_joined_create(void);        /* NULL: no memory */
void vs_joined_free(struct vs_joined *j);
/* A token of the answer; j NULL: nobody needs it. */
void vs_joined_token(struct vs_joined *j, const struct vs_token_view *t);
bool vs_joined_signed(struct vs_joined *j, const struct vs_frame *f);     /* what is signed; false: it is malformed, or no memory */
/* Puts {"envelope", "keys", "opening"} into the result as "receipt", or, where there are several answers, into the entry of each in
 * "choices"; nothing where none came. What it is made of leaves the result. */
void vs_joined_add(const struct vs_joined *j, const json_t *envelope, json_t *result);
#endif
