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
#define PEM_END "\n-----END PRIVATE KEY-----\n"
#define ERASED "erased: the log has gone on\n"
enum { BODY_BYTES = 64, PEM_BYTES = sizeof PEM_BEGIN - 1 + BODY_BYTES + sizeof PEM_END - 1 };

/* PKCS #8 of an Ed25519 key (RFC 8410): 48 bytes, 64 digits. */
static void format(const uint8_t seed[VS_SEED_BYTES], char ret[PEM_BYTES + 1])
{
    static const uint8_t head[] = { 0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20 };
    uint8_t der[sizeof head + VS_SEED_BYTES];
    struct vs_buf body = { 0 };
    memcpy(der, head, sizeof head);
    memcpy(der + sizeof head, seed, VS_SEED_BYTES);
    vs_base64(der, sizeof der, &body);
    if (body.status != VS_OK)
        audit_leave(VS_E_NOMEM, "out of memory for the signing key");
    snprintf(ret, PEM_BYTES + 1, PEM_BEGIN "%s" PEM_END, body.data);
    explicit_bzero(der, sizeof der);
    explicit_bzero(body.data, body.n);
    vs_buf_clear(&body);
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
    format(a->seed, ours);
    if (a->epoch > 1 && has_key)
        own_erase(a);
    else if (a->epoch == 1 && strcmp(rest, ours) != 0 && has_key && strlen(rest) == PEM_BYTES)
        audit_leave(VS_E_INVALID, "signing.key: this file has the first key of another log");
    else if (a->epoch == 1)
        write_at(ours, PEM_BYTES);
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
