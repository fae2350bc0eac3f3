/* client/receipt.h - a receipt put together of what comes for a request: the signed part in its frame, the salt in the envelope of
 * the end, the prompt and settings in the result's body, tokens and text in the answer's frames (docs/RECEIPT.md).
 *
 * Stays inside the room.
 */
#ifndef VS_CLIENT_RECEIPT_H
#define VS_CLIENT_RECEIPT_H
#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

struct vs_joined;

struct vs_joined *vs_joined_create(void);        /* NULL: no memory */
void vs_joined_free(struct vs_joined *j);
/* A token of the answer; j NULL: nobody needs it. */
void vs_joined_token(struct vs_joined *j, uint32_t id, const char *text, size_t n);
void vs_joined_signed(struct vs_joined *j, json_t *is_signed);   /* what is signed; stolen */
/* {"envelope", "keys", "opening"}: a new reference; NULL: none came. Takes what belongs to it out of result (NULL: there is
 * none). */
json_t *vs_joined_receipt(struct vs_joined *j, const json_t *envelope, json_t *result);
#endif
