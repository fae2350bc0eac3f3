/* evidence/sign.h - signatures of the log: keys that move forward, and signed checkpoints (docs/AUDIT.md).
 *
 * A key signs for a while, an epoch; then it signs the next one and is erased, so that who takes the machine today cannot sign
 * for yesterday. The file `keys` has a line for each epoch: its number, the public key, and the signature of the key before (of
 * the first one: its own). Who trusts the first trusts all.
 *
 *     veritas-audit/0011223344556677        a checkpoint is a signed note (C2SP signed-note, tlog-checkpoint): origin,
 *     1234                                  size of the tree,
 *     <base64 of its root>                  root,
 *     head <hex SHA-256 of line 1234>       and lines of ours
 *     time 1790000000000
 *                                           an empty line
 *     — veritas-audit/0011223344556677 <base64 of key id and signature>
 *
 * Memory: plain data; a vs_key, a vs_keys and the notes of a list are the caller's. Threads: pure after vs_evidence_setup; a vs_key
 * one at a time.
 */
#ifndef VS_EVIDENCE_SIGN_H
#define VS_EVIDENCE_SIGN_H
#include "base/buf.h"
#include "evidence/tree.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    VS_SEED_BYTES = 32, VS_PUBLIC_BYTES = 32, VS_SIGNATURE_BYTES = 64,
    VS_ORIGIN_BYTES = 64, VS_KEYS_MOST = 100000,
    VS_NOTE_MOST = 4096,                 /* bytes of a note */
};

/* A private key that signs often: what follows from its seed is computed once. VS_E_NOMEM; VS_E_UNSUPPORTED: OpenSSL has no
 * Ed25519 here. */
struct vs_key;
int vs_key_create(const uint8_t seed[VS_SEED_BYTES], struct vs_key **ret);
void vs_key_free(struct vs_key *k);              /* and its seed is nowhere in it any more */
const uint8_t *vs_key_own(const struct vs_key *k);               /* its public half, [VS_PUBLIC_BYTES] */
int vs_key_sign(struct vs_key *k, const void *data, size_t n, uint8_t ret[VS_SIGNATURE_BYTES]);
/* The same, once. */
int vs_key_public(const uint8_t seed[VS_SEED_BYTES], uint8_t ret[VS_PUBLIC_BYTES]);
int vs_key_sign_once(const uint8_t seed[VS_SEED_BYTES], const void *data, size_t n, uint8_t ret[VS_SIGNATURE_BYTES]);
bool vs_key_verify(const uint8_t key[VS_PUBLIC_BYTES], const void *data, size_t n, const uint8_t signature[VS_SIGNATURE_BYTES]);

/* ---- epochs ---- */

struct vs_keys {
    uint8_t (*key)[VS_PUBLIC_BYTES];     /* [n]: epoch 1 first */
    size_t n;
    char origin[VS_ORIGIN_BYTES];        /* made of the first one */
};

/* Reads the file `keys`. Lines that are cut are left out. VS_E_MALFORMED: a line that no key before it signed. */
int vs_keys_parse(const char *text, size_t n, struct vs_keys *ret, struct vs_error *err);
void vs_keys_clear(struct vs_keys *k);
/* Appends the line of epoch n: signed by the key before it, the first one by itself. */
int vs_keys_line(uint64_t epoch, const uint8_t key[VS_PUBLIC_BYTES], const uint8_t signer[VS_SEED_BYTES], struct vs_buf *out);
/* What is signed of such a line, and the line with a signature that another one made. */
enum { VS_KEYS_SIGNED_BYTES = 160 };
size_t vs_keys_signed(uint64_t epoch, const uint8_t key[VS_PUBLIC_BYTES], char ret[VS_KEYS_SIGNED_BYTES]);
int vs_keys_line_signed(uint64_t epoch, const uint8_t key[VS_PUBLIC_BYTES], const uint8_t signature[VS_SIGNATURE_BYTES],
                        struct vs_buf *out);
/* A key for people and other programs: "origin+hash+base64" (C2SP). _parse: of the first epoch; false: it is none. */
void vs_vkey_format(const char *origin, const uint8_t key[VS_PUBLIC_BYTES], struct vs_buf *out);
bool vs_vkey_parse(const char *text, size_t n, uint8_t ret[VS_PUBLIC_BYTES]);

/* ---- checkpoints ---- */

struct vs_note {
    uint64_t size;
    uint8_t root[VS_HASH_BYTES], head[VS_HASH_BYTES];
    int64_t time_ms;
};

int vs_note_format(const struct vs_note *note, const char *origin, struct vs_key *key, struct vs_buf *out);
/* Takes the note at the beginning of text[n]. *ret_n: its bytes, 0 when it is cut. VS_OK; VS_E_SHORT: cut, or no note;
 * VS_E_MALFORMED: of another log, or no key of this one signed it. */
int vs_note_parse(const char *text, size_t n, const struct vs_keys *keys, struct vs_note *ret, size_t *ret_n);

void vs_base64(const void *data, size_t n, struct vs_buf *out);
/* The bytes of text[n], which must be their exact form; false: it is not, or they are more than `most`. */
bool vs_base64_parse(const char *text, size_t n, uint8_t *ret, size_t most, size_t *ret_n);
#endif
