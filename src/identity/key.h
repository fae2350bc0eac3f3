/* identity/key.h - an API key: how it is made, what it looks like, what is kept of it.
 *
 *     vk_ id(8) secret(32) check(7)        letters a-z and digits 2-7, 5 bits each
 *
 * The id finds the record, and is no secret; the secret has 160 bits of the kernel's chance; the check is a CRC-32 of all before
 * it, so that a slip of the pen is known without asking anybody. What is kept is a salt and the SHA-256 of salt and key: a secret
 * of 160 bits needs no slow hash. Digests are compared in constant time, so that the time tells nothing of them.
 *
 * Threads: pure, but for the kernel's chance.
 */
#ifndef VS_IDENTITY_KEY_H
#define VS_IDENTITY_KEY_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    VS_API_KEY_ID = 8, VS_API_KEY_SECRET = 32, VS_API_KEY_CHECK = 7,
    VS_API_KEY_LENGTH = 3 + VS_API_KEY_ID + VS_API_KEY_SECRET + VS_API_KEY_CHECK,
    VS_API_KEY_MOST = 128,              /* bytes of what is looked at as a key at all */
};

/* What is kept of a key. */
struct vs_secret {
    char id[VS_API_KEY_ID + 1];         /* "": there is none */
    uint8_t salt[16], hash[32];
    int64_t until;                      /* seconds since 1970, from which it does not count any more; 0: for ever */
};

/* A new key, and what is kept of it. false: the kernel gives no chance. The caller wipes the key. */
bool vs_api_key_make(char ret_key[VS_API_KEY_LENGTH + 1], struct vs_secret *ret);

/* Does text[n] have the form of a key, and the right check? Then *ret_id is its id. */
bool vs_api_key_parse(const char *text, size_t n, char ret_id[VS_API_KEY_ID + 1]);

/* Is text[n] the key of which s was kept? The time depends on n alone. */
bool vs_secret_matches(const struct vs_secret *s, const char *text, size_t n);

bool vs_api_key_id_is_valid(const char *id);
#endif
