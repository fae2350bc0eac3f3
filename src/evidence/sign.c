/* evidence/sign.c - see sign.h. */
#include "evidence/sign.h"

#include "base/bytes.h"

#include <inttypes.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* ---- keys ---- */

enum { P256_NUMBER = 32 };
#define P256_GROUP "prime256v1"

struct vs_key {
    EVP_PKEY *key;                       /* OpenSSL wipes it when it is freed */
    EVP_MD_CTX *context;
    bool is_begun;                       /* the context is ready to sign once more */
    vs_ed25519_signer *signer;           /* signs in OpenSSL's place; NULL: nobody does */
    uint8_t seed[VS_SEED_BYTES];         /* for that one */
    struct vs_public public;
};

enum vs_key_kind vs_public_kind(const struct vs_public *p)
{
    return p->n == VS_PUBLIC_MOST ? VS_KEY_P256 : VS_KEY_ED25519;
}

bool vs_public_equal(const struct vs_public *a, const struct vs_public *b)
{
    return a->n == b->n && memcmp(a->bytes, b->bytes, a->n) == 0;
}

enum vs_key_kind vs_key_kind_here(void)
{
    return EVP_default_properties_is_fips_enabled(NULL) ? VS_KEY_P256 : VS_KEY_ED25519;
}

/* Of P-256; number: its private half, NULL for a public key. */
static EVP_PKEY *make_p256(const struct vs_public *p, const uint8_t *number)
{
    uint8_t native[P256_NUMBER];         /* in the machine's order, as OpenSSL takes it */
    char group[] = P256_GROUP;
    struct vs_public copy = *p;
    OSSL_PARAM all[4] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, copy.bytes, copy.n),
        OSSL_PARAM_construct_end(), OSSL_PARAM_construct_end(),
    };
    EVP_PKEY *key = NULL;
    BIGNUM *n = number ? BN_bin2bn(number, P256_NUMBER, NULL) : NULL;
    bool good = !number || (n && BN_bn2nativepad(n, native, sizeof native) == (int)sizeof native);
    if (number)
        all[2] = OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_PRIV_KEY, native, sizeof native);
    EVP_PKEY_CTX *context = good ? EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL) : NULL;
    good = context && EVP_PKEY_fromdata_init(context) == 1
        && EVP_PKEY_fromdata(context, &key, number ? EVP_PKEY_KEYPAIR : EVP_PKEY_PUBLIC_KEY, all) == 1;
    EVP_PKEY_CTX_free(context);
    BN_clear_free(n);
    explicit_bzero(native, sizeof native);
    return good ? key : NULL;
}

int vs_key_secret_read(enum vs_key_kind kind, const uint8_t seed[VS_SEED_BYTES], const struct vs_public *p256,
                       struct vs_key_secret *ret)
{
    struct vs_key_secret s = { .kind = kind };
    size_t n = VS_SEED_BYTES;
    memcpy(s.seed, seed, sizeof s.seed);
    EVP_PKEY *key = kind == VS_KEY_P256 ? make_p256(p256, seed) : EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, n);
    bool done = key && (kind == VS_KEY_P256 || EVP_PKEY_get_raw_public_key(key, s.public.bytes, &n) == 1);
    s.public.n = (uint8_t)n;
    if (kind == VS_KEY_P256)
        s.public = *p256;
    EVP_PKEY_free(key);
    if (done)
        *ret = s;
    explicit_bzero(&s, sizeof s);
    return done ? VS_OK : VS_E_UNSUPPORTED;
}

static int make_p256_secret(struct vs_key_secret *ret)
{
    struct vs_key_secret s = { .kind = VS_KEY_P256 };
    EVP_PKEY *key = EVP_EC_gen(P256_GROUP);
    BIGNUM *number = NULL;
    size_t n = 0;
    bool done = key && EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_PRIV_KEY, &number) == 1
        && BN_bn2binpad(number, s.seed, sizeof s.seed) == (int)sizeof s.seed
        && EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, s.public.bytes, sizeof s.public.bytes, &n) == 1
        && n == sizeof s.public.bytes;
    s.public.n = (uint8_t)n;
    if (done)
        *ret = s;
    BN_clear_free(number);
    EVP_PKEY_free(key);
    explicit_bzero(&s, sizeof s);
    return done ? VS_OK : VS_E_UNSUPPORTED;
}

int vs_key_secret_make(enum vs_key_kind kind, struct vs_key_secret *ret)
{
    uint8_t seed[VS_SEED_BYTES];
    if (kind == VS_KEY_P256)
        return make_p256_secret(ret);
    if (getrandom(seed, sizeof seed, 0) != (ssize_t)sizeof seed)
        return VS_E_SYSTEM;
    int rc = vs_key_secret_read(kind, seed, NULL, ret);
    explicit_bzero(seed, sizeof seed);
    return rc;
}

int vs_key_create(const struct vs_key_secret *secret, struct vs_key **ret)
{
    struct vs_key *k = calloc(1, sizeof *k);
    if (!k)
        return VS_E_NOMEM;
    k->key = secret->kind == VS_KEY_P256 ? make_p256(&secret->public, secret->seed)
        : EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, secret->seed, VS_SEED_BYTES);
    k->context = EVP_MD_CTX_new();
    k->public = secret->public;
    int rc = !k->context ? VS_E_NOMEM : !k->key ? VS_E_UNSUPPORTED : VS_OK;
    if (rc == VS_OK)
        *ret = k;
    else
        vs_key_free(k);
    return rc;
}

void vs_key_free(struct vs_key *k)
{
    if (!k)
        return;
    EVP_MD_CTX_free(k->context);
    EVP_PKEY_free(k->key);
    explicit_bzero(k->seed, sizeof k->seed);
    free(k);
}

void vs_key_sign_by(struct vs_key *k, vs_ed25519_signer *signer, const struct vs_key_secret *secret)
{
    if (secret->kind != VS_KEY_ED25519 || EVP_default_properties_is_fips_enabled(NULL))
        return;
    k->signer = signer;
    memcpy(k->seed, secret->seed, sizeof k->seed);
}

const struct vs_public *vs_key_own(const struct vs_key *k)
{
    return &k->public;
}

/* ---- signatures: their forms ---- */

enum form { CUT, WHOLE, WRONG };
enum { ED25519_SIGNATURE = 64, NUMBER_MOST = P256_NUMBER + 1, INTEGER = 2, SEQUENCE = 0x30 };

/* Of b[n]. P-256's is SEQUENCE { INTEGER r, INTEGER s } in DER, and *ret_s is where the length of s stands. */
static enum form form_of(const uint8_t *b, size_t n, enum vs_key_kind kind, size_t *ret_s)
{
    size_t at = 2;
    *ret_s = 0;
    if (kind == VS_KEY_ED25519)
        return n < ED25519_SIGNATURE ? CUT : n == ED25519_SIGNATURE ? WHOLE : WRONG;
    if (n && b[0] != SEQUENCE)
        return WRONG;
    for (int i = 0; i < 2; i++) {
        if (at < n && b[at] != INTEGER)
            return WRONG;
        if (at + 1 >= n)
            return CUT;
        if (b[at + 1] == 0 || b[at + 1] > NUMBER_MOST)
            return WRONG;
        *ret_s = at + 1;
        at += 2 + (size_t)b[at + 1];
    }
    return b[1] != at - 2 || n > at ? WRONG : n < at ? CUT : WHOLE;
}

/* s, and the order of the group less s, which would do as well. */
static void read_both(const uint8_t *length, uint8_t ret[P256_NUMBER], uint8_t ret_other[P256_NUMBER])
{
    static const uint8_t order[P256_NUMBER] = {
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    };
    size_t n = *length < P256_NUMBER ? *length : P256_NUMBER;
    int borrow = 0;
    memset(ret, 0, P256_NUMBER - n);
    memcpy(ret + P256_NUMBER - n, length + 1 + *length - n, n);
    for (size_t i = P256_NUMBER; i-- > 0;) {
        int rest = order[i] - ret[i] - borrow;
        borrow = rest < 0;
        ret_other[i] = (uint8_t)rest;
    }
}

/* Is it the one form of a signature that counts? */
static bool is_canonical(const struct vs_signature *g, enum vs_key_kind kind)
{
    uint8_t s[P256_NUMBER], other[P256_NUMBER];
    size_t at;
    if (g->n > sizeof g->bytes || form_of(g->bytes, g->n, kind, &at) != WHOLE)
        return false;
    if (kind == VS_KEY_ED25519)
        return true;
    read_both(g->bytes + at, s, other);
    return memcmp(s, other, sizeof s) < 0;
}

void vs_signature_settle(struct vs_signature *g, enum vs_key_kind kind)
{
    uint8_t s[P256_NUMBER], other[P256_NUMBER], *b = g->bytes;
    size_t at, zeros = 0;
    if (kind == VS_KEY_ED25519 || is_canonical(g, kind) || form_of(b, g->n, kind, &at) != WHOLE)
        return;
    read_both(b + at, s, other);
    while (zeros < P256_NUMBER - 1 && other[zeros] == 0)
        zeros++;
    size_t sign = other[zeros] >> 7, n = P256_NUMBER - zeros;
    b[at] = (uint8_t)(sign + n);
    b[at + 1] = 0;
    memcpy(b + at + 1 + sign, other + zeros, n);
    g->n = at + 1 + sign + n;
    b[1] = (uint8_t)(g->n - 2);
}

/* What is hashed first, by name; Ed25519 hashes itself. */
static const char *digest_of(enum vs_key_kind kind)
{
    return kind == VS_KEY_P256 ? "SHA256" : NULL;
}

static bool begin(struct vs_key *k)
{
    const char *digest = digest_of(vs_public_kind(&k->public));
    return EVP_MD_CTX_reset(k->context) == 1 && EVP_DigestSignInit_ex(k->context, NULL, digest, NULL, NULL, k->key, NULL) == 1;
}

static bool sign(const struct vs_key *k, const void *data, size_t n, struct vs_signature *ret)
{
    ret->n = sizeof ret->bytes;
    return EVP_DigestSign(k->context, ret->bytes, &ret->n, data, n) == 1;
}

/* An Ed25519 context that has signed may do so again as it is, but not with every OpenSSL; one of P-256 never: it would go on with
 * what it has hashed. */
int vs_key_sign(struct vs_key *k, const void *data, size_t n, struct vs_signature *ret)
{
    if (k->signer) {
        ret->n = ED25519_SIGNATURE;
        return k->signer(ret->bytes, data, n, k->seed, k->public.bytes) ? VS_OK : VS_E_UNSUPPORTED;
    }
    bool done = (k->is_begun && sign(k, data, n, ret)) || (begin(k) && sign(k, data, n, ret));
    k->is_begun = done && vs_public_kind(&k->public) == VS_KEY_ED25519;
    if (done)
        vs_signature_settle(ret, vs_public_kind(&k->public));
    return done ? VS_OK : VS_E_UNSUPPORTED;
}

int vs_key_sign_once(const struct vs_key_secret *secret, const void *data, size_t n, struct vs_signature *ret)
{
    struct vs_key *k = NULL;
    int rc = vs_key_create(secret, &k);
    if (rc == VS_OK)
        rc = vs_key_sign(k, data, n, ret);
    vs_key_free(k);
    return rc;
}

bool vs_key_verify(const struct vs_public *public, const void *data, size_t n, const struct vs_signature *signature)
{
    enum vs_key_kind kind = vs_public_kind(public);
    if (!is_canonical(signature, kind))
        return false;
    EVP_PKEY *key = kind == VS_KEY_P256 ? make_p256(public, NULL)
        : EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, public->bytes, public->n);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool good = key && context && EVP_DigestVerifyInit_ex(context, NULL, digest_of(kind), NULL, NULL, key, NULL) == 1
        && EVP_DigestVerify(context, signature->bytes, signature->n, data, n) == 1;
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(key);
    return good;
}

/* Does OpenSSL have it here? The first question takes a moment. */
static bool works(enum vs_key_kind kind)
{
    static _Atomic int known[VS_KEY_P256 + 1];   /* 1: it does, -1: it does not */
    struct vs_key_secret secret;
    struct vs_signature signature;
    if (!known[kind]) {
        bool done = vs_key_secret_make(kind, &secret) == VS_OK && vs_key_sign_once(&secret, "", 0, &signature) == VS_OK
            && vs_key_verify(&secret.public, "", 0, &signature);
        known[kind] = done ? 1 : -1;
        explicit_bzero(&secret, sizeof secret);
        ERR_clear_error();
    }
    return known[kind] > 0;
}

int vs_sign_setup(struct vs_error *err)
{
    bool ed25519 = works(VS_KEY_ED25519), p256 = works(VS_KEY_P256);
    return ed25519 || p256 ? VS_OK : vs_error_set(err, VS_E_UNSUPPORTED, "OpenSSL has neither Ed25519 nor ECDSA with P-256 here");
}

/* ---- base64 ---- */

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void vs_base64(const void *data, size_t n, struct vs_buf *out)
{
    const uint8_t *b = data;
    char *to = n ? vs_buf_grow(out, (n + 2) / 3 * 4) : NULL;
    for (size_t i = 0; to && i < n; i += 3, to += 4) {
        uint32_t v = (uint32_t)b[i] << 16 | (i + 1 < n ? (uint32_t)b[i + 1] << 8 : 0) | (i + 2 < n ? b[i + 2] : 0u);
        to[0] = digits[v >> 18];
        to[1] = digits[v >> 12 & 63];
        to[2] = i + 1 < n ? digits[v >> 6 & 63] : '=';
        to[3] = i + 2 < n ? digits[v & 63] : '=';
    }
}

static int digit_of(char c)
{
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}

bool vs_base64_parse(const char *text, size_t n, uint8_t *ret, size_t most, size_t *ret_n)
{
    *ret_n = 0;
    if (n % 4 != 0)
        return false;
    for (size_t i = 0; i < n; i += 4) {
        size_t pad = i + 4 == n ? (size_t)(text[i + 3] == '=') + (text[i + 2] == '=' && text[i + 3] == '=') : 0;
        uint32_t v = 0;
        for (size_t k = 0; k < 4; k++) {
            int d = k >= 4 - pad ? 0 : digit_of(text[i + k]);
            if (d < 0)
                return false;
            v = v << 6 | (uint32_t)d;
        }
        if (*ret_n + 3 - pad > most || (pad && v & (pad == 1 ? 0xffu : 0xffffu)))
            return false;
        for (size_t k = 0; k < 3 - pad; k++)
            ret[(*ret_n)++] = (uint8_t)(v >> (16 - 8 * k));
    }
    return true;
}

/* ---- names of keys ---- */

static void make_origin(const struct vs_public *first, char ret[VS_ORIGIN_BYTES])
{
    uint8_t hash[VS_HASH_BYTES];
    char hex[17];
    vs_hash(first->bytes, first->n, hash);
    vs_hex(hash, 8, hex);
    snprintf(ret, VS_ORIGIN_BYTES, "veritas-audit/%s", hex);
}

enum { KEY_ID = 4 };

/* SubjectPublicKeyInfo of P-256 (RFC 5480), up to the point. */
static const uint8_t spki[] = { 0x30, 0x59, 0x30, 0x13, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce,
                                0x3d, 3, 1, 7, 3, 0x42, 0 };
enum { TYPED_MOST = 1 + sizeof spki + VS_PUBLIC_MOST };

/* The key behind its type, as a vkey has it; returns how many bytes that are. */
static size_t put_typed(const struct vs_public *key, uint8_t ret[TYPED_MOST])
{
    size_t head = vs_public_kind(key) == VS_KEY_P256 ? sizeof spki : 0;
    ret[0] = (uint8_t)vs_public_kind(key);
    memcpy(ret + 1, spki, head);
    memcpy(ret + 1 + head, key->bytes, key->n);
    return 1 + head + key->n;
}

/* Of P-256 it is of the key alone. */
static void key_id(const char *name, const struct vs_public *key, uint8_t ret[KEY_ID])
{
    uint8_t hash[VS_HASH_BYTES], typed[TYPED_MOST];
    size_t n = put_typed(key, typed);
    if (vs_public_kind(key) == VS_KEY_P256)
        vs_hash(typed + 1, n - 1, hash);
    else
        vs_hash_pieces((struct vs_piece[]){ { name, strlen(name) }, { "\n", 1 }, { typed, n } }, 3, hash);
    memcpy(ret, hash, KEY_ID);
}

void vs_vkey_format(const char *origin, const struct vs_public *key, struct vs_buf *out)
{
    uint8_t id[KEY_ID], typed[TYPED_MOST];
    char hex[2 * KEY_ID + 1];
    key_id(origin, key, id);
    vs_hex(id, sizeof id, hex);
    vs_buf_printf(out, "%s+%s+", origin, hex);
    vs_base64(typed, put_typed(key, typed), out);
}

static bool take_typed(const uint8_t *typed, size_t n, struct vs_public *ret)
{
    bool is_p256 = n == TYPED_MOST && typed[0] == VS_KEY_P256 && memcmp(typed + 1, spki, sizeof spki) == 0;
    if (!is_p256 && (n != 1 + 32 || typed[0] != VS_KEY_ED25519))
        return false;
    ret->n = is_p256 ? VS_PUBLIC_MOST : 32;
    memcpy(ret->bytes, typed + n - ret->n, ret->n);
    return !is_p256 || ret->bytes[0] == 4;
}

bool vs_vkey_parse(const char *text, size_t n, struct vs_public *ret)
{
    uint8_t typed[TYPED_MOST], id[KEY_ID];
    char origin[VS_ORIGIN_BYTES], given[2 * KEY_ID + 1] = "", hex[2 * KEY_ID + 1];
    size_t got;
    while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == '\r' || text[n - 1] == ' '))
        n--;
    const char *plus = memchr(text, '+', n);
    size_t name = plus ? (size_t)(plus - text) : 0;
    if (!plus || name >= sizeof origin || n < name + 10 || plus[9] != '+'
        || !vs_base64_parse(plus + 10, n - name - 10, typed, sizeof typed, &got) || !take_typed(typed, got, ret))
        return false;
    memcpy(given, plus + 1, 8);
    make_origin(ret, origin);
    key_id(origin, ret, id);
    vs_hex(id, sizeof id, hex);
    return strlen(origin) == name && memcmp(origin, text, name) == 0 && strcmp(hex, given) == 0;
}

/* ---- epochs: "7 KEY at SIZE ROOT SIGNATURE", in hex but for numbers ---- */

#define KEYS_DOMAIN "veritas-audit key\n"
#define PAST " at "

size_t vs_keys_signed(uint64_t epoch, const struct vs_public *key, const struct vs_past *past, char ret[VS_KEYS_SIGNED_BYTES])
{
    char hex[2 * VS_PUBLIC_MOST + 1], root[VS_HASH_HEX];
    vs_hex(key->bytes, key->n, hex);
    if (!past || !past->size)
        return (size_t)snprintf(ret, VS_KEYS_SIGNED_BYTES, KEYS_DOMAIN "%" PRIu64 " %s", epoch, hex);
    vs_hex(past->root, sizeof past->root, root);
    return (size_t)snprintf(ret, VS_KEYS_SIGNED_BYTES, KEYS_DOMAIN "%" PRIu64 " %s" PAST "%" PRIu64 " %s", epoch, hex, past->size,
                            root);
}

int vs_keys_line(uint64_t epoch, const struct vs_public *key, const struct vs_past *past, const struct vs_key_secret *signer,
                 struct vs_buf *out)
{
    struct vs_signature signature;
    char text[VS_KEYS_SIGNED_BYTES];
    size_t n = vs_keys_signed(epoch, key, past, text);
    int rc = vs_key_sign_once(signer, text, n, &signature);
    return rc == VS_OK ? vs_keys_line_signed(epoch, key, past, &signature, out) : rc;
}

int vs_keys_line_signed(uint64_t epoch, const struct vs_public *key, const struct vs_past *past,
                        const struct vs_signature *signature, struct vs_buf *out)
{
    char text[VS_KEYS_SIGNED_BYTES], hex[2 * VS_SIGNATURE_MOST + 1];
    vs_keys_signed(epoch, key, past, text);
    vs_hex(signature->bytes, signature->n, hex);
    vs_buf_printf(out, "%s %s\n", text + sizeof KEYS_DOMAIN - 1, hex);
    return out->status;
}

static bool is_hex(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!((s[i] >= '0' && s[i] <= '9') || (s[i] >= 'a' && s[i] <= 'f')))
            return false;
    return true;
}

static bool is_number(const char *s, size_t n, uint64_t *ret)
{
    *ret = 0;
    for (size_t i = 0; i < n; i++) {
        if (s[i] < '0' || s[i] > '9')
            return false;
        *ret = *ret * 10 + (uint64_t)(s[i] - '0');
    }
    return n > 0 && n < 19 && (n == 1 || s[0] != '0');
}

static bool begins(const char *s, size_t n, const char *with)
{
    return n >= strlen(with) && memcmp(s, with, strlen(with)) == 0;
}

/* text[n] is "at SIZE ROOT " and more: how many bytes that is. 0: it is not. */
static size_t past_parse(const char *text, size_t n, struct vs_past *ret)
{
    enum { HEX = 2 * VS_HASH_BYTES };
    const size_t at = sizeof PAST - 2;
    const char *space = begins(text, n, &PAST[1]) ? memchr(text + at, ' ', n - at) : NULL;
    size_t root = space ? (size_t)(space - text) + 1 : 0;
    if (!space || !is_number(text + at, root - 1 - at, &ret->size) || !ret->size || n <= root + HEX || !is_hex(text + root, HEX)
        || text[root + HEX] != ' ')
        return 0;
    vs_hex_bytes(text + root, VS_HASH_BYTES, ret->root);
    return root + HEX + 1;
}

bool vs_keys_line_parse(const char *line, size_t n, uint64_t epoch, const struct vs_public *signer, struct vs_public *ret_key,
                        struct vs_past *ret_past, struct vs_signature *ret_signature)
{
    char number[24];
    size_t at, digits_n = (size_t)snprintf(number, sizeof number, "%" PRIu64 " ", epoch);
    *ret_past = (struct vs_past){ 0 };
    if (n <= digits_n || memcmp(line, number, digits_n) != 0)
        return false;
    const char *key = line + digits_n, *space = memchr(key, ' ', n - digits_n);
    size_t key_n = space ? (size_t)(space - key) : 0, rest = space ? n - digits_n - key_n - 1 : 0;
    size_t past_n = rest ? past_parse(space + 1, rest, ret_past) : 0;
    const char *signature = space ? space + 1 + past_n : NULL;
    rest -= past_n;
    if ((key_n != 2 * 32 && key_n != 2 * VS_PUBLIC_MOST) || rest % 2 || !is_hex(key, key_n) || !is_hex(signature, rest))
        return false;
    ret_key->n = (uint8_t)(key_n / 2);
    vs_hex_bytes(key, ret_key->n, ret_key->bytes);
    ret_signature->n = 0;                /* of one that is too long to be any */
    if (rest > 2 * VS_SIGNATURE_MOST)
        return true;
    ret_signature->n = rest / 2;
    vs_hex_bytes(signature, ret_signature->n, ret_signature->bytes);
    return form_of(ret_signature->bytes, ret_signature->n, vs_public_kind(signer ? signer : ret_key), &at) != CUT;
}

static int keys_fail(struct vs_keys *k, int status, const char *why, struct vs_error *err)
{
    size_t epoch = k->n + 1;
    vs_keys_clear(k);
    return vs_error_set(err, status, "the key of epoch %zu %s", epoch, why);
}

static bool keys_add(struct vs_keys *k, size_t *cap, const struct vs_public *key, const struct vs_past *past)
{
    if (k->n == *cap) {
        size_t more = *cap ? 2 * *cap : 16;
        struct vs_public *keys = realloc(k->key, more * sizeof *keys);
        k->key = keys ? keys : k->key;
        struct vs_past *pasts = keys ? realloc(k->past, more * sizeof *pasts) : NULL;
        k->past = pasts ? pasts : k->past;
        if (!pasts)
            return false;
        *cap = more;
    }
    k->key[k->n] = *key;
    k->past[k->n++] = *past;
    return true;
}

int vs_keys_parse(const char *text, size_t n, struct vs_keys *ret, struct vs_error *err)
{
    size_t cap = 0;
    *ret = (struct vs_keys){ 0 };
    for (const char *end; n && (end = memchr(text, '\n', n)); n -= (size_t)(end - text) + 1, text = end + 1) {
        struct vs_public key;
        struct vs_past past;
        struct vs_signature signature;
        char line[VS_KEYS_SIGNED_BYTES];
        const struct vs_public *signer = ret->n ? &ret->key[ret->n - 1] : NULL;
        if (!vs_keys_line_parse(text, (size_t)(end - text), ret->n + 1, signer, &key, &past, &signature))
            continue;
        signer = signer ? signer : &key;
        size_t length = vs_keys_signed(ret->n + 1, &key, &past, line);
        if (!works(vs_public_kind(signer)))
            return keys_fail(ret, VS_E_UNSUPPORTED, vs_public_kind(signer) == VS_KEY_P256
                             ? "is signed by ECDSA with P-256, which OpenSSL does not do here"
                             : "is signed by Ed25519, which OpenSSL does not do here", err);
        if (ret->n == VS_KEYS_MOST || !vs_key_verify(signer, line, length, &signature))
            return keys_fail(ret, VS_E_MALFORMED, "is not signed by the one before it", err);
        if (!keys_add(ret, &cap, &key, &past))
            return keys_fail(ret, VS_E_NOMEM, "has no room: out of memory", err);
    }
    if (ret->n)
        make_origin(&ret->key[0], ret->origin);
    return VS_OK;
}

void vs_keys_clear(struct vs_keys *k)
{
    free(k->key);
    free(k->past);
    *k = (struct vs_keys){ 0 };
}

/* ---- notes ---- */

#define DASH "\xe2\x80\x94 "             /* an em dash, as signed notes have it */

int vs_note_format(const struct vs_note *note, const char *origin, struct vs_key *key, struct vs_buf *out)
{
    struct vs_buf text = { 0 };
    char head[VS_HASH_HEX];
    struct vs_signature signature;
    uint8_t sealed[KEY_ID + VS_SIGNATURE_MOST];
    vs_hex(note->head, sizeof note->head, head);
    vs_buf_printf(&text, "%s\n%" PRIu64 "\n", origin, note->size);
    vs_base64(note->root, sizeof note->root, &text);
    vs_buf_printf(&text, "\nhead %s\ntime %" PRId64 "\n", head, note->time_ms);
    int rc = text.status != VS_OK ? text.status : vs_key_sign(key, text.data, text.n, &signature);
    if (rc == VS_OK) {
        key_id(origin, vs_key_own(key), sealed);
        memcpy(sealed + KEY_ID, signature.bytes, signature.n);
        vs_buf_add(out, text.data, text.n);
        vs_buf_printf(out, "\n" DASH "%s ", origin);
        vs_base64(sealed, KEY_ID + signature.n, out);
        vs_buf_char(out, '\n');
        rc = out->status;
    }
    vs_buf_clear(&text);
    return rc;
}

struct lines {
    const char *at, *end;
    const char *line;                    /* the one that was taken, [n] without its newline */
    size_t n;
};

/* Takes a line. False: there is no whole one. */
static bool next_line(struct lines *l)
{
    const char *end = l->at < l->end ? memchr(l->at, '\n', (size_t)(l->end - l->at)) : NULL;
    if (!end)
        return false;
    l->line = l->at;
    l->n = (size_t)(end - l->at);
    l->at = end + 1;
    return true;
}

/* How much of text[n] was written: a power failure may leave zeros behind that. */
static size_t without_zeros(const char *text, size_t n)
{
    while (n && text[n - 1] == 0)
        n--;
    return n;
}

/* Does a note begin with this line, or with what was written of it? */
static bool is_first(const struct lines *l, const char *origin)
{
    size_t n = without_zeros(l->line, l->n);
    return n && n <= strlen(origin) && memcmp(l->line, origin, n) == 0;
}

/* The line that was taken is not what belongs there, or not all of it. VS_E_SHORT: it was cut, for a note begins with it or behind
 * it, or nothing follows; VS_E_MALFORMED: it was changed. */
static int judge_odd(const struct lines *l, const char *origin)
{
    struct lines rest = *l;
    return is_first(l, origin) || !next_line(&rest) || is_first(&rest, origin) ? VS_E_SHORT : VS_E_MALFORMED;
}

/* The signature in base64. VS_OK; VS_E_SHORT: it is cut; VS_E_MALFORMED: it is none of these keys'. */
static int check_sealed(const struct vs_keys *keys, const char *text, size_t n, const char *base64, size_t base64_n)
{
    uint8_t sealed[VS_NOTE_MOST], id[KEY_ID];
    size_t got, n_digits = 0, s, there = without_zeros(base64, base64_n);
    int status = VS_E_MALFORMED;
    while (n_digits < there && digit_of(base64[n_digits]) >= 0)
        n_digits++;
    size_t after = there - n_digits;
    bool is_whole = vs_base64_parse(base64, there, sealed, sizeof sealed, &got), may_go_on = !is_whole || !after;
    if (!is_whole && (after > 1 || (after && (base64[n_digits] != '=' || n_digits % 4 != 2))))
        return VS_E_MALFORMED;
    if (!is_whole)
        vs_base64_parse(base64, n_digits / 4 * 4, sealed, sizeof sealed, &got);
    if (got <= KEY_ID)
        return may_go_on ? VS_E_SHORT : VS_E_MALFORMED;
    struct vs_signature signature = { .n = got - KEY_ID };
    memcpy(signature.bytes, sealed + KEY_ID, signature.n < sizeof signature.bytes ? signature.n : sizeof signature.bytes);
    for (size_t i = keys->n; i > 0; i--) {      /* the newest first */
        const struct vs_public *key = &keys->key[i - 1];
        key_id(keys->origin, key, id);
        if (memcmp(id, sealed, KEY_ID) != 0)
            continue;
        if (may_go_on && form_of(sealed + KEY_ID, signature.n, vs_public_kind(key), &s) == CUT)
            status = VS_E_SHORT;
        else if (is_whole && vs_key_verify(key, text, n, &signature))
            return there == base64_n ? VS_OK : VS_E_SHORT;
    }
    return status;
}

/* What follows the text: an empty line, and a dash, the origin and the signature of that text. */
static int check_end(const struct vs_keys *keys, const char *text, struct lines *l)
{
    char name[sizeof DASH + VS_ORIGIN_BYTES + 1];
    size_t n = (size_t)(l->at - text), named = (size_t)snprintf(name, sizeof name, DASH "%s ", keys->origin);
    bool is_there = next_line(l);
    if (is_there && without_zeros(l->line, l->n))
        return is_first(l, keys->origin) ? VS_E_SHORT : VS_E_MALFORMED;
    if (!is_there || l->n || !next_line(l) || is_first(l, keys->origin))
        return VS_E_SHORT;
    size_t there = without_zeros(l->line, l->n);
    if (memcmp(l->line, name, there < named ? there : named) != 0)
        return VS_E_MALFORMED;
    int status = there < named ? VS_E_SHORT : check_sealed(keys, text, n, l->line + named, l->n - named);
    return status == VS_E_SHORT ? judge_odd(l, keys->origin) : status;
}

/* A note begins with another line than the origin. What was written of that may be a part alone, and zeros: where there are zeros
 * first, what follows them is a part of the same note. */
static int judge_first(struct lines *l, const char *origin)
{
    bool is_hole = l->n && !l->line[0];
    if (!without_zeros(l->line, l->n) || is_first(l, origin))
        return VS_E_SHORT;
    while (is_hole && next_line(l))
        if (is_first(l, origin))
            return VS_E_SHORT;
    return is_hole ? VS_E_SHORT : VS_E_NOT_FOUND;
}

int vs_note_parse(const char *text, size_t n, const struct vs_keys *keys, struct vs_note *ret, size_t *ret_n)
{
    struct lines l = { .at = text, .end = text + (n < VS_NOTE_MOST ? n : VS_NOTE_MOST) };
    size_t got, first;
    uint64_t time_ms;
    *ret_n = n;
    if (!next_line(&l))                 /* it ends before its first line does, or is nothing of ours */
        return n < VS_NOTE_MOST ? VS_E_SHORT : VS_E_NOT_FOUND;
    first = (size_t)(l.at - text);
    bool is_good = l.n == strlen(keys->origin) && memcmp(l.line, keys->origin, l.n) == 0;
    int status = is_good ? VS_OK : judge_first(&l, keys->origin);
    is_good = is_good && next_line(&l) && is_number(l.line, l.n, &ret->size) && next_line(&l)
        && vs_base64_parse(l.line, l.n, ret->root, sizeof ret->root, &got) && got == sizeof ret->root && next_line(&l)
        && l.n == 5 + 64 && begins(l.line, l.n, "head ") && is_hex(l.line + 5, 64);
    if (is_good)
        vs_hex_bytes(l.line + 5, VS_HASH_BYTES, ret->head);
    is_good = is_good && next_line(&l) && begins(l.line, l.n, "time ") && is_number(l.line + 5, l.n - 5, &time_ms);
    if (is_good)
        ret->time_ms = (int64_t)time_ms;
    if (status == VS_OK)
        status = is_good ? check_end(keys, text, &l) : judge_odd(&l, keys->origin);
    bool is_next = status == VS_E_SHORT && l.line > text && is_first(&l, keys->origin);    /* behind the one that was cut */
    bool is_end = status == VS_E_SHORT && !memchr(l.at, '\n', (size_t)(l.end - l.at));
    *ret_n = status == VS_E_NOT_FOUND ? first : (size_t)((is_next ? l.line : is_end ? l.end : l.at) - text);
    return status;
}
