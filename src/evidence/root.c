/* evidence/root.c - see root.h. */
#include "evidence/root.h"

#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <openssl/provider.h>
#include <openssl/store.h>
#include <stdlib.h>
#include <string.h>

struct vs_root {
    EVP_PKEY *key;
    OSSL_PROVIDER *provider;             /* of a token; NULL */
    struct vs_public public;
};

static bool get_point(const EVP_PKEY *key, uint8_t *ret, size_t *n)
{
    return EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, ret, VS_PUBLIC_MOST, n) == 1;
}

/* A token's private key may lack its point until its public half was asked for (pkcs11-provider 1.2 finds it then). */
static bool find_point(const EVP_PKEY *key, uint8_t *ret, size_t *n)
{
    OSSL_PARAM *half = NULL;
    if (get_point(key, ret, n))
        return true;
    EVP_PKEY_todata(key, EVP_PKEY_PUBLIC_KEY, &half);
    OSSL_PARAM_free(half);
    return get_point(key, ret, n);
}

/* False: of another kind. */
static bool read_public(const EVP_PKEY *key, struct vs_public *ret)
{
    char group[32];
    size_t n = sizeof ret->bytes;
    bool is_p256 = EVP_PKEY_is_a(key, "EC") && EVP_PKEY_get_group_name(key, group, sizeof group, NULL) == 1
        && strcmp(group, "prime256v1") == 0;
    bool done = is_p256 ? find_point(key, ret->bytes, &n)
        : EVP_PKEY_is_a(key, "ED25519") && EVP_PKEY_get_raw_public_key(key, ret->bytes, &n) == 1;
    ret->n = (uint8_t)n;
    return done && n == (is_p256 ? VS_PUBLIC_MOST : 32) && (!is_p256 || ret->bytes[0] == 4);
}

static int take(EVP_PKEY *key, struct vs_root **ret, struct vs_error *err)
{
    struct vs_root *root = calloc(1, sizeof *root);
    int rc = !root ? vs_error_set(err, VS_E_NOMEM, "out of memory")
        : !read_public(key, &root->public)
        ? vs_error_set(err, VS_E_UNSUPPORTED, "signing.key: this is no key of Ed25519 or P-256 (openssl genpkey -algorithm ed25519 "
                       "makes one)") : VS_OK;
    if (rc == VS_OK) {
        root->key = key;
        *ret = root;
    } else {
        EVP_PKEY_free(key);
        free(root);
    }
    return rc;
}

/* Nobody is asked for a password. */
static int no_password(char *buffer, int size, int writes, void *context)
{
    (void)buffer, (void)size, (void)writes, (void)context;
    return -1;
}

int vs_root_read(const char *text, size_t n, struct vs_root **ret, struct vs_error *err)
{
    BIO *bio = BIO_new_mem_buf(text, (int)n);
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL) : NULL;
    BIO_free(bio);
    ERR_clear_error();
    if (key)
        return take(key, ret, err);
    return vs_error_set(err, VS_E_INVALID, "signing.key: this is no private key in PEM, or a password protects it");
}

int vs_root_open(const char *uri, struct vs_root **ret, struct vs_error *err)
{
    EVP_PKEY *key = NULL;
    OSSL_PROVIDER *provider = OSSL_PROVIDER_load(NULL, "pkcs11");
    OSSL_PROVIDER_load(NULL, "default");        /* one that is named is no longer taken by itself */
    if (provider)                       /* it would do all else, too, and can't once we are locked in */
        EVP_set_default_properties(NULL, "?provider!=pkcs11");
    OSSL_STORE_CTX *store = provider ? OSSL_STORE_open(uri, NULL, NULL, NULL, NULL) : NULL;
    while (store && !key && !OSSL_STORE_eof(store)) {
        OSSL_STORE_INFO *info = OSSL_STORE_load(store);
        if (info && OSSL_STORE_INFO_get_type(info) == OSSL_STORE_INFO_PKEY)
            key = OSSL_STORE_INFO_get1_PKEY(info);
        OSSL_STORE_INFO_free(info);
    }
    OSSL_STORE_close(store);
    ERR_clear_error();
    if (key) {
        int rc = take(key, ret, err);
        if (rc == VS_OK)
            (*ret)->provider = provider;
        return rc;
    }
    if (!provider)
        return vs_error_set(err, VS_E_UNSUPPORTED, "signing.key pkcs11: OpenSSL has no provider for tokens here; install one "
                            "(pkcs11-provider) and name its module in openssl.cnf");
    return vs_error_set(err, VS_E_NOT_FOUND, "signing.key: no token has a private key of this pkcs11: address");
}

void vs_root_free(struct vs_root *root)
{
    if (!root)
        return;
    EVP_PKEY_free(root->key);
    if (root->provider)
        OSSL_PROVIDER_unload(root->provider);
    free(root);
}

const struct vs_public *vs_root_public(const struct vs_root *root)
{
    return &root->public;
}

int vs_root_line(const struct vs_root *root, uint64_t epoch, const struct vs_public *key, struct vs_buf *out)
{
    struct vs_signature signature = { .n = VS_SIGNATURE_MOST };
    char text[VS_KEYS_SIGNED_BYTES];
    size_t n = vs_keys_signed(epoch, key, NULL, text);
    enum vs_key_kind kind = vs_public_kind(&root->public);
    const char *digest = kind == VS_KEY_P256 ? "SHA256" : NULL;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool done = context && EVP_DigestSignInit_ex(context, NULL, digest, NULL, NULL, root->key, NULL) == 1
        && EVP_DigestSign(context, signature.bytes, &signature.n, (const uint8_t *)text, n) == 1;
    EVP_MD_CTX_free(context);
    if (done)
        vs_signature_settle(&signature, kind);
    return done ? vs_keys_line_signed(epoch, key, NULL, &signature, out) : VS_E_UNSUPPORTED;
}
