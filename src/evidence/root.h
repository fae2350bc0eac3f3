/* evidence/root.h - a key from outside that signs the first key of a log, and nothing else (docs/AUDIT.md, "Whose key").
 *
 * It is read before lock-in, as PEM or from a PKCS#11 token, signs a line, and is gone: its private half is in memory only between
 * _read and _free.
 *
 * Memory: owned; vs_root_free. Threads: one at a time. Failure: err says what to do.
 */
#ifndef VS_EVIDENCE_ROOT_H
#define VS_EVIDENCE_ROOT_H
#include "evidence/sign.h"

struct vs_root;

/* How a file begins that the log made itself: its first key, which it erases when the second one is made. */
#define VS_OWN_KEY "veritas-audit made this key: it is the log's first one, and is erased when that goes on\n"

/* text[n] is a private key in PEM, of Ed25519 or P-256. VS_E_INVALID: it is none; VS_E_UNSUPPORTED: of another kind. */
int vs_root_read(const char *text, size_t n, struct vs_root **ret, struct vs_error *err);
/* The key that a pkcs11: URI names. VS_E_UNSUPPORTED: OpenSSL has no way to tokens here; VS_E_NOT_FOUND: there is no such key. */
int vs_root_open(const char *uri, struct vs_root **ret, struct vs_error *err);
void vs_root_free(struct vs_root *root);

const struct vs_public *vs_root_public(const struct vs_root *root);
/* Appends the line of an epoch, signed by this key. VS_E_*: it could not sign. */
int vs_root_line(const struct vs_root *root, uint64_t epoch, const struct vs_public *key, struct vs_buf *out);
#endif
