/* evidence/ed25519.h - Ed25519 (RFC 8032): the very signature that OpenSSL makes, in less than half of its time.
 *
 * A client waits for the signature of its receipt, and most of that is R = rB, which OpenSSL computes with ten limbs of 25 and 26
 * bits; here they are five of 51. Nonces are made of key and message as the RFC says, never by chance, so that each signature can
 * be compared with OpenSSL's: _setup does for some, the unit test for many. Hashes are OpenSSL's. Nothing is verified here.
 *
 * No branch and no address depends on a secret. Memory: a table of 30 KB for the process. Threads: pure after _setup.
 */
#ifndef VS_EVIDENCE_ED25519_H
#define VS_EVIDENCE_ED25519_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { VS_ED25519_SEED = 32, VS_ED25519_SIGNATURE = 64 };

struct vs_ed25519_key {                  /* the caller's to wipe */
    uint64_t scalar[4];                  /* the secret number times 2^256, modulo the order of B */
    uint8_t prefix[32], public[32];
};

/* Makes the table. Before that, and when it says false (OpenSSL has no SHA-512 here), nothing else here may be called. */
bool vs_ed25519_setup(void);
/* False: the hash could not be computed. */
bool vs_ed25519_key_init(struct vs_ed25519_key *key, const uint8_t seed[VS_ED25519_SEED]);
bool vs_ed25519_sign(const struct vs_ed25519_key *key, const void *data, size_t n, uint8_t ret[VS_ED25519_SIGNATURE]);
#endif
