/* rooms: evidence base */
/* Our Ed25519 against the examples of RFC 8032 and against OpenSSL: keys, and signatures of every length. */
#include "evidence/ed25519.h"

#include "base/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/evp.h>

enum { MOST = 600 };

static int setup(void **state)
{
    (void)state;
    return vs_ed25519_setup() ? 0 : 1;
}

static void rfc8032(void **state)
{
    static const struct { const char *seed, *public, *message, *signature; } of[] = {
        { "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
          "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
          "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
          "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b" },
        { "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
          "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
          "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
          "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00" },
        { "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
          "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
          "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
          "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
        struct vs_ed25519_key key;
        uint8_t seed[32], message[2], signature[64];
        char hex[2 * sizeof signature + 1];
        size_t n = strlen(of[i].message) / 2;
        vs_hex_bytes(of[i].seed, sizeof seed, seed);
        vs_hex_bytes(of[i].message, n, message);
        assert_true(vs_ed25519_key_init(&key, seed));
        vs_hex(key.public, sizeof key.public, hex);
        assert_string_equal(hex, of[i].public);
        assert_true(vs_ed25519_sign(&key, message, n, signature));
        vs_hex(signature, sizeof signature, hex);
        assert_string_equal(hex, of[i].signature);
    }
}

static void same_as_openssl(const uint8_t seed[32], const uint8_t *message, size_t n)
{
    struct vs_ed25519_key key;
    uint8_t ours[64], theirs[64], public[32];
    size_t n_theirs = sizeof theirs, n_public = sizeof public;
    EVP_PKEY *k = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, 32);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    assert_true(vs_ed25519_key_init(&key, seed) && vs_ed25519_sign(&key, message, n, ours));
    assert_int_equal(EVP_PKEY_get_raw_public_key(k, public, &n_public), 1);
    assert_int_equal(EVP_DigestSignInit(context, NULL, NULL, NULL, k), 1);
    assert_int_equal(EVP_DigestSign(context, theirs, &n_theirs, message, n), 1);
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(k);
    assert_memory_equal(public, key.public, sizeof public);
    assert_memory_equal(theirs, ours, sizeof ours);
}

/* Each message is a hash's worth of another nonce, so all digits and carries come. */
static void openssl(void **state)
{
    uint8_t seed[32], message[MOST];
    (void)state;
    for (int edge = 0; edge < 2; edge++) {
        memset(seed, edge ? 0xff : 0, sizeof seed);
        same_as_openssl(seed, seed, sizeof seed);
    }
    srand(7);
    for (size_t i = 0; i < 4 * MOST; i++) {
        for (size_t j = 0; j < sizeof seed; j++)
            seed[j] = (uint8_t)(rand() >> 7);
        for (size_t j = 0; j < i % MOST; j++)
            message[j] = (uint8_t)(rand() >> 7);
        same_as_openssl(seed, message, i % MOST);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(rfc8032), cmocka_unit_test(openssl) };
    return cmocka_run_group_tests(tests, setup, NULL);
}
