/* ipc/json.h - the JSON of our frames: always one object, UTF-8, no duplicate keys; \u0000 is allowed in strings.
 *
 * All of JSON is accepted, also what our values can't hold: a whole number beyond 64 bits becomes a real one, one beyond the
 * range of a double the largest there is, \u0000 in a key U+FFFD. So such a value fails where it is used, if it is used, and not
 * its frame.
 *
 * Threads: jansson's own rules (one value, one thread at a time); vs_json_setup once, before anything else.
 */
#ifndef VS_IPC_JSON_H
#define VS_IPC_JSON_H
#include "base/buf.h"
#include "base/check.h"
#include "base/status.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* Seeds jansson's hash (it would open /dev/urandom at its first object otherwise, which a locked-in process may not) and
 * caps what all JSON values of this process may take together; beyond that parsing fails with VS_E_LIMIT. 0 = no cap. */
void vs_json_setup(size_t limit_bytes);

/* The object in data[n]; NULL and err when it isn't one: VS_E_MALFORMED, or VS_E_LIMIT (memory, or nested more than 2,000 deep). */
json_t *vs_json_parse(const void *data, size_t n, struct vs_error *err);

/* The same of any value; NULL: it is none. */
json_t *vs_json_value(const char *text, size_t n);

/* Appends compact JSON to out; out->status tells of failure. */
void vs_json_dump(const json_t *value, struct vs_buf *out);

/* The same for large values, work that can be stopped: then NULL, or out->status, is the check's answer. */
json_t *vs_json_read(const void *data, size_t n, struct vs_check *check, struct vs_error *err);
void vs_json_write(const json_t *value, struct vs_buf *out, struct vs_check *check);

/* json_decref, which takes 100 ms for a list of 300,000 messages: here with questions between the entries of lists (whatever the
 * answer, all is freed). */
void vs_json_free(json_t *value, struct vs_check *check);

/* The first key of an object that is not one of `known` (NULL ends them); NULL: there is no such key. Borrowed. */
const char *vs_json_other_key(const json_t *object, const char *const *known);

/* Bytes as a JSON string: each that is not UTF-8 becomes U+FFFD. _bytes tells how many bytes of JSON that will be. */
json_t *vs_json_text(const char *s, size_t n);
size_t vs_json_text_bytes(const char *s, size_t n);
bool vs_json_is_text(const char *s);      /* could it be a JSON string? */

/* {"error":"BUSY","code":-4,"message":"..."} and back; text that is not such an object becomes VS_E_PROTOCOL. */
json_t *vs_json_error(int code, const char *message);
void vs_json_to_error(const json_t *value, struct vs_error *ret);
#endif
