/* evidence/sign.h - signatures of the log: keys that move forward, and signed checkpoints (docs/AUDIT.md).
 *
 * Keys are of Ed25519, or of P-256 where OpenSSL is in FIPS mode; all of a log are of one kind, but for one from outside.
 * A key signs for a while, an epoch; then it signs the next one and is erased, so that who takes the machine today cannot sign
 * for yesterday. The file `keys` has a line for each epoch: its number, the public key, what the log was when the key before was
 * erased, and the signature of that key (of the first one: its own). Who trusts the first trusts all, and that the log up to
 * there is as it was when it was signed: no later key can sign another beginning.
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
    VS_SEED_BYTES = 32, VS_PUBLIC_MOST = 65, VS_SIGNATURE_MOST = 72,
    VS_ORIGIN_BYTES = 64, VS_KEYS_MOST = 100000,
    VS_NOTE_MOST = 4096,                 /* bytes of a note */
};

/* How is signed, by the types of C2SP signed notes: Ed25519, or ECDSA with P-256 and SHA-256 where OpenSSL is in FIPS mode. */
enum vs_key_kind { VS_KEY_ED25519 = 1, VS_KEY_P256 = 2 };

struct vs_public {
    uint8_t n;                           /* 32: Ed25519; 65: P-256, a point that is not compressed */
    uint8_t bytes[VS_PUBLIC_MOST];
};

struct vs_key_secret {                       /* the caller's to wipe */
    enum vs_key_kind kind;
    uint8_t seed[VS_SEED_BYTES];         /* Ed25519's seed; P-256's number, the high byte first */
    struct vs_public public;
};

struct vs_signature {
    size_t n;                            /* Ed25519: 64; P-256: DER, 8 to 71, the lesser s; of another form: as it came */
    uint8_t bytes[VS_SIGNATURE_MOST];
};

/* Uses each kind once, so that OpenSSL has loaded what it needs before nothing can be opened any more. VS_E_UNSUPPORTED: it has
 * neither. */
int vs_sign_setup(struct vs_error *err);
/* The kind for a log that begins here. */
enum vs_key_kind vs_key_kind_here(void);
enum vs_key_kind vs_public_kind(const struct vs_public *p);
bool vs_public_equal(const struct vs_public *a, const struct vs_public *b);

/* A new secret; the one that was kept as its seed and, for P-256, its public half. VS_E_UNSUPPORTED: OpenSSL can't. */
int vs_key_secret_make(enum vs_key_kind kind, struct vs_key_secret *ret);
int vs_key_secret_read(enum vs_key_kind kind, const uint8_t seed[VS_SEED_BYTES], const struct vs_public *p256,
                       struct vs_key_secret *ret);

/* A private key that signs often: what follows from its secret is computed once. VS_E_NOMEM; VS_E_UNSUPPORTED: OpenSSL has no such
 * kind here. */
struct vs_key;
int vs_key_create(const struct vs_key_secret *secret, struct vs_key **ret);
void vs_key_free(struct vs_key *k);              /* and its secret is nowhere in it any more */
const struct vs_public *vs_key_own(const struct vs_key *k);      /* its public half */
/* From now on `signer` signs in OpenSSL's place, where the key is one of Ed25519 and OpenSSL is not in FIPS mode: the very same
 * 64 bytes, for Ed25519 leaves no choice. False: it could not. secret: what the key was made of. */
typedef bool vs_ed25519_signer(uint8_t ret[64], const void *data, size_t n, const uint8_t seed[32], const uint8_t public[32]);
void vs_key_sign_by(struct vs_key *k, vs_ed25519_signer *signer, const struct vs_key_secret *secret);
int vs_key_sign(struct vs_key *k, const void *data, size_t n, struct vs_signature *ret);
int vs_key_sign_once(const struct vs_key_secret *secret, const void *data, size_t n, struct vs_signature *ret);
/* Brings what OpenSSL made, 72 bytes at most, into the one form that counts: of P-256's two values for s the lesser one. */
void vs_signature_settle(struct vs_signature *g, enum vs_key_kind kind);
/* False too for a signature of another form. */
bool vs_key_verify(const struct vs_public *key, const void *data, size_t n, const struct vs_signature *signature);

/* ---- epochs ---- */

struct vs_past {                         /* size 0: not told, as in lines of logs that were begun before there was this */
    uint64_t size;
    uint8_t root[VS_HASH_BYTES];         /* of the tree of so many records */
};

struct vs_keys {
    struct vs_public *key;               /* [n]: epoch 1 first */
    struct vs_past *past;                /* [n]: the log as the key before left it */
    size_t n;
    char origin[VS_ORIGIN_BYTES];        /* made of the first one */
};

/* Reads the file `keys`. Lines that are cut are left out. VS_E_MALFORMED: a line that no key before it signed; VS_E_UNSUPPORTED:
 * keys of a kind that OpenSSL can't check here. */
int vs_keys_parse(const char *text, size_t n, struct vs_keys *ret, struct vs_error *err);
void vs_keys_clear(struct vs_keys *k);
/* Appends the line of epoch n: signed by the key before it, the first one by itself. past may be NULL. */
int vs_keys_line(uint64_t epoch, const struct vs_public *key, const struct vs_past *past, const struct vs_key_secret *signer,
                 struct vs_buf *out);
/* What is signed of such a line, and the line with a signature that another one made. */
enum { VS_KEYS_SIGNED_BYTES = 288 };
size_t vs_keys_signed(uint64_t epoch, const struct vs_public *key, const struct vs_past *past, char ret[VS_KEYS_SIGNED_BYTES]);
int vs_keys_line_signed(uint64_t epoch, const struct vs_public *key, const struct vs_past *past,
                        const struct vs_signature *signature, struct vs_buf *out);
/* Is line[n], without its newline, whole, and that of this epoch? signer: the key before it, NULL for the first. A signature that
 * can be none is whole: it is not verified. */
bool vs_keys_line_parse(const char *line, size_t n, uint64_t epoch, const struct vs_public *signer, struct vs_public *ret_key,
                        struct vs_past *ret_past, struct vs_signature *ret_signature);
/* A key for people and other programs: "origin+hash+base64" (C2SP). _parse: of the first epoch; false: it is none. */
void vs_vkey_format(const char *origin, const struct vs_public *key, struct vs_buf *out);
bool vs_vkey_parse(const char *text, size_t n, struct vs_public *ret);

/* ---- checkpoints ---- */

struct vs_note {
    uint64_t size;
    uint8_t root[VS_HASH_BYTES], head[VS_HASH_BYTES];
    int64_t time_ms;
};

int vs_note_format(const struct vs_note *note, const char *origin, struct vs_key *key, struct vs_buf *out);
/* Takes the note at the beginning of text[n]; *ret_n: the bytes that are to be passed over, more than 0 where n is. VS_OK;
 * VS_E_SHORT: cut, as a kill or a power failure leaves it; VS_E_NOT_FOUND: its first line is not this log's origin, nor a part of
 * it that was cut, and *ret_n is that line; VS_E_MALFORMED: no key of this log signed it, as it stands there. */
int vs_note_parse(const char *text, size_t n, const struct vs_keys *keys, struct vs_note *ret, size_t *ret_n);

void vs_base64(const void *data, size_t n, struct vs_buf *out);
/* The bytes of text[n], which must be their exact form; false: it is not, or they are more than `most`. */
bool vs_base64_parse(const char *text, size_t n, uint8_t *ret, size_t most, size_t *ret_n);
#endif
