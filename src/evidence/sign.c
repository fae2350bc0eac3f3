/* evidence/sign.c - see sign.h. */
#include "evidence/sign.h"

#include "base/bytes.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Ed25519 ---- */

struct vs_key {
    EVP_PKEY *key;                       /* OpenSSL wipes it when it is freed */
    EVP_MD_CTX *context;
    bool is_begun;                       /* the context is ready to sign */
    uint8_t public[VS_PUBLIC_BYTES];
};

int vs_key_create(const uint8_t seed[VS_SEED_BYTES], struct vs_key **ret)
{
    size_t n = VS_PUBLIC_BYTES;
    struct vs_key *k = calloc(1, sizeof *k);
    if (!k)
        return VS_E_NOMEM;
    k->key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, VS_SEED_BYTES);
    k->context = EVP_MD_CTX_new();
    int rc = !k->context ? VS_E_NOMEM
           : !k->key || EVP_PKEY_get_raw_public_key(k->key, k->public, &n) != 1 ? VS_E_UNSUPPORTED : VS_OK;
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
    free(k);
}

const uint8_t *vs_key_own(const struct vs_key *k)
{
    return k->public;
}

static bool begin(struct vs_key *k)
{
    return k->is_begun = EVP_MD_CTX_reset(k->context) == 1 && EVP_DigestSignInit(k->context, NULL, NULL, NULL, k->key) == 1;
}

static bool sign(const struct vs_key *k, const void *data, size_t n, uint8_t ret[VS_SIGNATURE_BYTES])
{
    size_t length = VS_SIGNATURE_BYTES;
    return EVP_DigestSign(k->context, ret, &length, data, n) == 1 && length == VS_SIGNATURE_BYTES;
}

/* One that has signed may do so again as it is, but not with every OpenSSL: else it is begun anew. */
int vs_key_sign(struct vs_key *k, const void *data, size_t n, uint8_t ret[VS_SIGNATURE_BYTES])
{
    bool done = (k->is_begun && sign(k, data, n, ret)) || (begin(k) && sign(k, data, n, ret));
    return done ? VS_OK : VS_E_UNSUPPORTED;
}

int vs_key_public(const uint8_t seed[VS_SEED_BYTES], uint8_t ret[VS_PUBLIC_BYTES])
{
    struct vs_key *k = NULL;
    int rc = vs_key_create(seed, &k);
    if (rc == VS_OK)
        memcpy(ret, k->public, VS_PUBLIC_BYTES);
    vs_key_free(k);
    return rc;
}

int vs_key_sign_once(const uint8_t seed[VS_SEED_BYTES], const void *data, size_t n, uint8_t ret[VS_SIGNATURE_BYTES])
{
    struct vs_key *k = NULL;
    int rc = vs_key_create(seed, &k);
    if (rc == VS_OK)
        rc = vs_key_sign(k, data, n, ret);
    vs_key_free(k);
    return rc;
}

bool vs_key_verify(const uint8_t public[VS_PUBLIC_BYTES], const void *data, size_t n, const uint8_t signature[VS_SIGNATURE_BYTES])
{
    EVP_PKEY *key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, public, VS_PUBLIC_BYTES);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool good = key && context && EVP_DigestVerifyInit(context, NULL, NULL, NULL, key) == 1
        && EVP_DigestVerify(context, signature, VS_SIGNATURE_BYTES, data, n) == 1;
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(key);
    return good;
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

static void make_origin(const uint8_t first[VS_PUBLIC_BYTES], char ret[VS_ORIGIN_BYTES])
{
    uint8_t hash[VS_HASH_BYTES];
    char hex[17];
    vs_hash(first, VS_PUBLIC_BYTES, hash);
    vs_hex(hash, 8, hex);
    snprintf(ret, VS_ORIGIN_BYTES, "veritas-audit/%s", hex);
}

enum { KEY_ID = 4, ED25519 = 1 };

static void key_id(const char *name, const uint8_t key[VS_PUBLIC_BYTES], uint8_t ret[KEY_ID])
{
    static const uint8_t kind[] = { '\n', ED25519 };
    uint8_t hash[VS_HASH_BYTES];
    vs_hash_pieces((struct vs_piece[]){ { name, strlen(name) }, { kind, sizeof kind }, { key, VS_PUBLIC_BYTES } }, 3, hash);
    memcpy(ret, hash, KEY_ID);
}

void vs_vkey_format(const char *origin, const uint8_t key[VS_PUBLIC_BYTES], struct vs_buf *out)
{
    uint8_t id[KEY_ID], typed[1 + VS_PUBLIC_BYTES] = { ED25519 };
    char hex[2 * KEY_ID + 1];
    key_id(origin, key, id);
    vs_hex(id, sizeof id, hex);
    memcpy(typed + 1, key, VS_PUBLIC_BYTES);
    vs_buf_printf(out, "%s+%s+", origin, hex);
    vs_base64(typed, sizeof typed, out);
}

bool vs_vkey_parse(const char *text, size_t n, uint8_t ret[VS_PUBLIC_BYTES])
{
    uint8_t typed[1 + VS_PUBLIC_BYTES], id[KEY_ID];
    char origin[VS_ORIGIN_BYTES], given[2 * KEY_ID + 1] = "", hex[2 * KEY_ID + 1];
    size_t got;
    while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == '\r' || text[n - 1] == ' '))
        n--;
    const char *plus = memchr(text, '+', n);
    size_t name = plus ? (size_t)(plus - text) : 0;
    if (!plus || name >= sizeof origin || n < name + 10 || plus[9] != '+'
        || !vs_base64_parse(plus + 10, n - name - 10, typed, sizeof typed, &got) || got != sizeof typed || typed[0] != ED25519)
        return false;
    memcpy(given, plus + 1, 8);
    memcpy(ret, typed + 1, VS_PUBLIC_BYTES);
    memcpy(origin, text, name);
    origin[name] = 0;
    key_id(origin, ret, id);
    vs_hex(id, sizeof id, hex);
    return strcmp(hex, given) == 0;
}

/* ---- epochs: "7 <64 hex> <128 hex>" ---- */

#define KEYS_DOMAIN "veritas-audit key\n"

size_t vs_keys_signed(uint64_t epoch, const uint8_t key[VS_PUBLIC_BYTES], char ret[VS_KEYS_SIGNED_BYTES])
{
    char hex[VS_HASH_HEX];
    vs_hex(key, VS_PUBLIC_BYTES, hex);
    return (size_t)snprintf(ret, VS_KEYS_SIGNED_BYTES, KEYS_DOMAIN "%" PRIu64 " %s", epoch, hex);
}

int vs_keys_line(uint64_t epoch, const uint8_t key[VS_PUBLIC_BYTES], const uint8_t signer[VS_SEED_BYTES], struct vs_buf *out)
{
    uint8_t signature[VS_SIGNATURE_BYTES];
    char text[VS_KEYS_SIGNED_BYTES];
    size_t n = vs_keys_signed(epoch, key, text);
    int rc = vs_key_sign_once(signer, text, n, signature);
    return rc == VS_OK ? vs_keys_line_signed(epoch, key, signature, out) : rc;
}

int vs_keys_line_signed(uint64_t epoch, const uint8_t key[VS_PUBLIC_BYTES], const uint8_t signature[VS_SIGNATURE_BYTES],
                        struct vs_buf *out)
{
    char text[VS_KEYS_SIGNED_BYTES], hex[2 * VS_SIGNATURE_BYTES + 1];
    vs_keys_signed(epoch, key, text);
    vs_hex(signature, VS_SIGNATURE_BYTES, hex);
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

/* One line; false: it is cut. */
static bool take_key(const char *line, size_t n, uint64_t epoch, uint8_t key[VS_PUBLIC_BYTES],
                     uint8_t signature[VS_SIGNATURE_BYTES])
{
    char number[24];
    size_t digits_n = (size_t)snprintf(number, sizeof number, "%" PRIu64 " ", epoch);
    if (n != digits_n + 64 + 1 + 128 || memcmp(line, number, digits_n) != 0 || !is_hex(line + digits_n, 64)
        || line[digits_n + 64] != ' ' || !is_hex(line + digits_n + 65, 128))
        return false;
    vs_hex_bytes(line + digits_n, VS_PUBLIC_BYTES, key);
    vs_hex_bytes(line + digits_n + 65, VS_SIGNATURE_BYTES, signature);
    return true;
}

int vs_keys_parse(const char *text, size_t n, struct vs_keys *ret, struct vs_error *err)
{
    size_t cap = 0;
    *ret = (struct vs_keys){ 0 };
    for (const char *end; n && (end = memchr(text, '\n', n)); n -= (size_t)(end - text) + 1, text = end + 1) {
        uint8_t key[VS_PUBLIC_BYTES], signature[VS_SIGNATURE_BYTES];
        char line[VS_KEYS_SIGNED_BYTES];
        if (!take_key(text, (size_t)(end - text), ret->n + 1, key, signature))
            continue;
        size_t length = vs_keys_signed(ret->n + 1, key, line);
        if (ret->n == VS_KEYS_MOST || !vs_key_verify(ret->n ? ret->key[ret->n - 1] : key, line, length, signature)) {
            vs_error_set(err, VS_E_MALFORMED, "the key of epoch %zu is not signed by the one before it", ret->n + 1);
            vs_keys_clear(ret);
            return VS_E_MALFORMED;
        }
        if (ret->n == cap) {
            uint8_t (*more)[VS_PUBLIC_BYTES] = realloc(ret->key, (cap = cap ? 2 * cap : 16) * sizeof *more);
            if (!more) {
                vs_keys_clear(ret);
                return vs_error_set(err, VS_E_NOMEM, "out of memory");
            }
            ret->key = more;
        }
        memcpy(ret->key[ret->n++], key, sizeof key);
    }
    if (ret->n)
        make_origin(ret->key[0], ret->origin);
    return VS_OK;
}

void vs_keys_clear(struct vs_keys *k)
{
    free(k->key);
    *k = (struct vs_keys){ 0 };
}

/* ---- notes ---- */

#define DASH "\xe2\x80\x94 "             /* an em dash, as signed notes have it */

int vs_note_format(const struct vs_note *note, const char *origin, struct vs_key *key, struct vs_buf *out)
{
    struct vs_buf text = { 0 };
    char head[VS_HASH_HEX];
    uint8_t sealed[KEY_ID + VS_SIGNATURE_BYTES];
    vs_hex(note->head, sizeof note->head, head);
    vs_buf_printf(&text, "%s\n%" PRIu64 "\n", origin, note->size);
    vs_base64(note->root, sizeof note->root, &text);
    vs_buf_printf(&text, "\nhead %s\ntime %" PRId64 "\n", head, note->time_ms);
    int rc = text.status != VS_OK ? text.status : vs_key_sign(key, text.data, text.n, sealed + KEY_ID);
    if (rc == VS_OK) {
        key_id(origin, vs_key_own(key), sealed);
        vs_buf_add(out, text.data, text.n);
        vs_buf_printf(out, "\n" DASH "%s ", origin);
        vs_base64(sealed, sizeof sealed, out);
        vs_buf_char(out, '\n');
        rc = out->status;
    }
    vs_buf_clear(&text);
    return rc;
}

struct lines { const char *at, *end; };

/* The next line, without its newline; false: there is no whole one. */
static bool next_line(struct lines *l, const char **ret, size_t *ret_n)
{
    const char *end = l->at < l->end ? memchr(l->at, '\n', (size_t)(l->end - l->at)) : NULL;
    if (!end)
        return false;
    *ret = l->at;
    *ret_n = (size_t)(end - l->at);
    l->at = end + 1;
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

static bool is_signed(const struct vs_keys *keys, const char *text, size_t n, const uint8_t sealed[KEY_ID + VS_SIGNATURE_BYTES])
{
    uint8_t id[KEY_ID];
    for (size_t i = keys->n; i > 0; i--) {      /* the newest first */
        key_id(keys->origin, keys->key[i - 1], id);
        if (memcmp(id, sealed, KEY_ID) == 0 && vs_key_verify(keys->key[i - 1], text, n, sealed + KEY_ID))
            return true;
    }
    return false;
}

int vs_note_parse(const char *text, size_t n, const struct vs_keys *keys, struct vs_note *ret, size_t *ret_n)
{
    struct lines l = { text, text + (n < VS_NOTE_MOST ? n : VS_NOTE_MOST) };
    const char *line, *signature;
    uint8_t sealed[KEY_ID + VS_SIGNATURE_BYTES];
    size_t length, got, origin = strlen(keys->origin);
    uint64_t time_ms;
    *ret_n = 0;
    if (!next_line(&l, &line, &length))
        return VS_E_SHORT;
    if (length != origin || memcmp(line, keys->origin, origin) != 0)
        return VS_E_MALFORMED;
    if (!next_line(&l, &line, &length) || !is_number(line, length, &ret->size) || !next_line(&l, &line, &length)
        || !vs_base64_parse(line, length, ret->root, sizeof ret->root, &got) || got != sizeof ret->root
        || !next_line(&l, &line, &length) || length != 5 + 64 || !begins(line, length, "head ") || !is_hex(line + 5, 64))
        return VS_E_SHORT;
    vs_hex_bytes(line + 5, VS_HASH_BYTES, ret->head);
    if (!next_line(&l, &line, &length) || !begins(line, length, "time ") || !is_number(line + 5, length - 5, &time_ms)
        || !next_line(&l, &signature, &length) || length != 0)
        return VS_E_SHORT;
    ret->time_ms = (int64_t)time_ms;
    size_t signed_bytes = (size_t)(signature - text);
    if (!next_line(&l, &line, &length) || !begins(line, length, DASH) || length < sizeof DASH - 1 + origin + 1)
        return VS_E_SHORT;
    const char *sealed_text = line + sizeof DASH - 1 + origin + 1;
    if (!vs_base64_parse(sealed_text, (size_t)(line + length - sealed_text), sealed, sizeof sealed, &got) || got != sizeof sealed)
        return VS_E_SHORT;
    *ret_n = (size_t)(l.at - text);
    if (memcmp(line + sizeof DASH - 1, keys->origin, origin) != 0 || line[sizeof DASH - 1 + origin] != ' ')
        return VS_E_MALFORMED;
    return is_signed(keys, text, signed_bytes, sealed) ? VS_OK : VS_E_MALFORMED;
}
