/* prog/audit/own.c - a file of the user's that has the log's first key (signing.key = file:PATH, made here): so it can be copied or
 * looked at before the log goes on. It is written when the log begins, and its key erased with our own copy of it; what a kill
 * left of that is finished at the next start. */
#include "prog/audit/audit.h"

#include "base/bytes.h"
#include "evidence/root.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { OWN_FD = 12, KEYS_FD = 9 };       /* main.c */
enum { MARK_BYTES = sizeof VS_OWN_KEY - 1 };
#define PEM_BEGIN "-----BEGIN PRIVATE KEY-----\n"
#define PEM_END "-----END PRIVATE KEY-----\n"
#define ERASED "erased: the log has gone on\n"
/* PKCS #8, up to what is the key's own: of Ed25519 (RFC 8410) its seed, of P-256 (RFC 5915) number and point. */
static const uint8_t ed25519[] = { 0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20 };
static const uint8_t p256[] = { 0x30, 0x81, 0x87, 2, 1, 0, 0x30, 0x13, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86,
                                0x48, 0xce, 0x3d, 3, 1, 7, 4, 0x6d, 0x30, 0x6b, 2, 1, 1, 4, 0x20 };
static const uint8_t point[] = { 0xa1, 0x44, 3, 0x42, 0 };
enum { DER_MOST = sizeof p256 + VS_SEED_BYTES + sizeof point + VS_PUBLIC_MOST, LINE_BYTES = 64, BODY_LINES = 3,
       PEM_BYTES = sizeof PEM_BEGIN - 1 + BODY_LINES * (LINE_BYTES + 1) + sizeof PEM_END - 1 };

static size_t put_der(const struct vs_key_secret *s, uint8_t der[DER_MOST])
{
    bool is_p256 = s->kind == VS_KEY_P256;
    size_t n = is_p256 ? sizeof p256 : sizeof ed25519;
    memcpy(der, is_p256 ? p256 : ed25519, n);
    memcpy(der + n, s->seed, VS_SEED_BYTES);
    n += VS_SEED_BYTES;
    if (!is_p256)
        return n;
    memcpy(der + n, point, sizeof point);
    memcpy(der + n + sizeof point, s->public.bytes, VS_PUBLIC_MOST);
    return n + sizeof point + VS_PUBLIC_MOST;
}

/* Returns its bytes. */
static size_t format(const struct vs_key_secret *secret, char ret[PEM_BYTES + 1])
{
    uint8_t der[DER_MOST];
    struct vs_buf body = { 0 };
    size_t n = sizeof PEM_BEGIN - 1;
    vs_base64(der, put_der(secret, der), &body);
    if (body.status != VS_OK)
        audit_leave(VS_E_NOMEM, "out of memory for the signing key");
    memcpy(ret, PEM_BEGIN, n);
    for (size_t at = 0; at < body.n; at += LINE_BYTES) {
        size_t piece = body.n - at < LINE_BYTES ? body.n - at : LINE_BYTES;
        memcpy(ret + n, body.data + at, piece);
        n += piece;
        ret[n++] = '\n';
    }
    memcpy(ret + n, PEM_END, sizeof PEM_END);
    explicit_bzero(der, sizeof der);
    explicit_bzero(body.data, body.n);
    vs_buf_clear(&body);
    return n + sizeof PEM_END - 1;
}

static void write_at(const char *text, size_t n)
{
    if (pwrite(OWN_FD, text, n, MARK_BYTES) != (ssize_t)n || fdatasync(OWN_FD) != 0)
        audit_leave(VS_E_SYSTEM, "signing.key: the file cannot be written: %s", strerror(errno));
}

/* What follows its first line. */
static size_t read_rest(char ret[PEM_BYTES + 1])
{
    ssize_t n = pread(OWN_FD, ret, PEM_BYTES, MARK_BYTES);
    n = n > 0 ? n : 0;
    ret[n] = 0;
    return (size_t)n;
}

bool own_begin(struct audit *a, const char *text, size_t n)
{
    char rest[PEM_BYTES + 1];
    a->has_own = n >= MARK_BYTES && memcmp(text, VS_OWN_KEY, MARK_BYTES) == 0;
    if (a->has_own && lseek(KEYS_FD, 0, SEEK_END) == 0 && read_rest(rest) > 0)
        audit_leave(VS_E_INVALID, "signing.key: this file was made for another log; name one that is not there yet, and this log's "
                    "first key will lie in it");
    explicit_bzero(rest, sizeof rest);
    return a->has_own;
}

void own_settle(struct audit *a)
{
    char rest[PEM_BYTES + 1], ours[PEM_BYTES + 1];
    if (!a->has_own)
        return;
    bool has_key = read_rest(rest) > 0 && strncmp(rest, PEM_BEGIN, sizeof PEM_BEGIN - 1) == 0;
    size_t n = format(&a->secret, ours);
    if (a->epoch > 1 && has_key)
        own_erase(a);
    else if (a->epoch == 1 && has_key && strncmp(rest, ours, strlen(rest)) != 0)        /* no beginning of ours either */
        audit_leave(VS_E_INVALID, "signing.key: this file has the first key of another log");
    else if (a->epoch == 1)
        write_at(ours, n);
    explicit_bzero(rest, sizeof rest);
    explicit_bzero(ours, sizeof ours);
}

void own_erase(const struct audit *a)
{
    char text[PEM_BYTES] = { 0 };
    if (!a->has_own)
        return;
    write_at(text, sizeof text);
    memset(text, '\n', sizeof text);
    memcpy(text, ERASED, sizeof ERASED - 1);
    write_at(text, sizeof text);
}
