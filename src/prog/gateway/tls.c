/* prog/gateway/tls.c - TLS 1.2 and 1.3 by OpenSSL; certificate and key come as PEM text from the parent. */
#include "prog/gateway/gateway.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <string.h>

/* Nothing asks for a passphrase: there is nobody to ask. */
static int no_passphrase(char *to, int size, int is_writing, void *context)
{
    (void)to, (void)size, (void)is_writing, (void)context;
    return 0;
}

static int why(struct vs_error *err, const char *what)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    vs_error_set(err, VS_E_INVALID, "%s: %s", what, reason ? reason : "not usable");
    ERR_clear_error();
    return VS_E_INVALID;
}

static SSL_CTX *context_of(const char *cert, const char *key, struct vs_error *err)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    BIO *cert_text = BIO_new_mem_buf(cert, -1), *key_text = BIO_new_mem_buf(key, -1);
    X509 *leaf = NULL, *more;
    EVP_PKEY *secret = NULL;
    const char *problem = NULL;
    if (!ctx || !cert_text || !key_text)
        problem = "out of memory";
    else if (!(leaf = PEM_read_bio_X509(cert_text, NULL, no_passphrase, NULL)) || SSL_CTX_use_certificate(ctx, leaf) != 1)
        problem = "the certificate (--tls-cert) is not PEM that can be used";
    while (!problem && (more = PEM_read_bio_X509(cert_text, NULL, no_passphrase, NULL)) != NULL)
        if (SSL_CTX_add0_chain_cert(ctx, more) != 1)
            problem = "a certificate of the chain (--tls-cert) cannot be used";
    if (!problem && (!(secret = PEM_read_bio_PrivateKey(key_text, NULL, no_passphrase, NULL))
                     || SSL_CTX_use_PrivateKey(ctx, secret) != 1))
        problem = "the private key (--tls-key) is not PEM without a passphrase that can be used with this certificate";
    if (!problem && SSL_CTX_check_private_key(ctx) != 1)
        problem = "certificate and private key do not belong together";
    if (problem)
        why(err, problem);
    ERR_clear_error();                  /* the end of the chain is one */
    X509_free(leaf);
    EVP_PKEY_free(secret);
    BIO_free(cert_text);
    BIO_free(key_text);
    if (problem) {
        SSL_CTX_free(ctx);
        return NULL;
    }
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE
                        | SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    return ctx;
}

/* Connections that are open keep the old one. */
int tls_setup(struct gateway *g, const char *cert, const char *key, struct vs_error *err)
{
    SSL_CTX *ctx = context_of(cert, key, err);
    if (!ctx)
        return VS_E_INVALID;
    SSL_CTX_free(g->tls);
    g->tls = ctx;
    return VS_OK;
}

void tls_warm_up(void)
{
    OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
    SSL_CTX_free(SSL_CTX_new(TLS_server_method()));
}
