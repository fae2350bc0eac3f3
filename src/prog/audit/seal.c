/* prog/audit/seal.c - what signs the log: a key for each file of it, and checkpoints.
 *
 * The key's file has two places. A new key is written into the free one, then the old one signs it (a line of `keys`), then the old
 * one is overwritten. Whatever a kill -9 leaves of that is finished at the next start. */
#include "prog/audit/audit.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "evidence/receipt.h"
#include "evidence/root.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { KEY_FD = 8, KEYS_FD = 9, NOTES_FD = 10, COPY_FD = 11 };         /* main.c */
enum { SLOT_BYTES = 4096, MAGIC_BYTES = 8, EPOCH_BYTES = 8, SEED_AT = MAGIC_BYTES + EPOCH_BYTES,
       HELD_MOST = SEED_AT + VS_SEED_BYTES + VS_PUBLIC_MOST + VS_HASH_BYTES };
#define MOST_KEYS (32u << 20)            /* bytes of `keys` */

/* ---- the key's file: magic, epoch, seed, of P-256 the public half too, and a hash of all that ---- */

static const struct form {
    char magic[MAGIC_BYTES];
    enum vs_key_kind kind;
    size_t n;                            /* bytes in front of the hash */
} forms[] = {
    { "VSKEY1\n", VS_KEY_ED25519, SEED_AT + VS_SEED_BYTES },
    { "VSKEY2\n", VS_KEY_P256, SEED_AT + VS_SEED_BYTES + VS_PUBLIC_MOST },
};

static bool is_form(const struct form *f, const uint8_t held[HELD_MOST])
{
    uint8_t sum[VS_HASH_BYTES];
    if (memcmp(held, f->magic, MAGIC_BYTES) != 0)
        return false;
    vs_hash(held, f->n, sum);
    return memcmp(sum, held + f->n, sizeof sum) == 0;
}

static bool read_slot(unsigned slot, uint64_t *ret_epoch, struct vs_key_secret *ret)
{
    uint8_t held[HELD_MOST] = { 0 };
    bool good = false;
    *ret_epoch = 0;
    ssize_t n = pread(KEY_FD, held, sizeof held, (off_t)slot * SLOT_BYTES);
    for (size_t i = 0; n > 0 && i < sizeof forms / sizeof *forms && !good; i++) {
        struct vs_public public = { .n = VS_PUBLIC_MOST };
        if (!is_form(&forms[i], held))
            continue;
        memcpy(public.bytes, held + SEED_AT + VS_SEED_BYTES, VS_PUBLIC_MOST);
        if (vs_key_secret_read(forms[i].kind, held + SEED_AT, &public, ret) != VS_OK)
            audit_leave(VS_E_UNSUPPORTED, "OpenSSL can't sign here with the log's key: it is of %s",
                        forms[i].kind == VS_KEY_P256 ? "P-256" : "Ed25519");
        good = true;
    }
    if (good)
        *ret_epoch = vs_load_u64le(held + MAGIC_BYTES);
    explicit_bzero(held, sizeof held);
    return good;
}

/* NULL: nothing is in it any more. */
static void write_slot(unsigned slot, uint64_t epoch, const struct vs_key_secret *secret)
{
    uint8_t held[SLOT_BYTES] = { 0 };
    if (secret) {
        const struct form *f = &forms[secret->kind == VS_KEY_P256];
        memcpy(held, f->magic, MAGIC_BYTES);
        vs_store_u64le(held + MAGIC_BYTES, epoch);
        memcpy(held + SEED_AT, secret->seed, VS_SEED_BYTES);
        if (secret->kind == VS_KEY_P256)
            memcpy(held + SEED_AT + VS_SEED_BYTES, secret->public.bytes, VS_PUBLIC_MOST);
        vs_hash(held, f->n, held + f->n);
    }
    bool done = pwrite(KEY_FD, held, sizeof held, (off_t)slot * SLOT_BYTES) == (ssize_t)sizeof held && fdatasync(KEY_FD) == 0;
    explicit_bzero(held, sizeof held);
    if (!done)
        audit_leave(VS_E_SYSTEM, "the signing key cannot be written: %s", strerror(errno));
}

static void make_secret(enum vs_key_kind kind, struct vs_key_secret *ret)
{
    if (vs_key_secret_make(kind, ret) != VS_OK)
        audit_leave(VS_E_UNSUPPORTED, "OpenSSL can't make a key here");
}

/* ---- appending ---- */

static void append(int fd, const char *what, const struct vs_buf *text)
{
    bool done = text->status == VS_OK && write(fd, text->data, text->n) == (ssize_t)text->n;
    if (!done || (fdatasync(fd) != 0 && errno != EINVAL))       /* a pipe has no disk */
        audit_leave(VS_E_SYSTEM, "%s cannot be written: %s", what, strerror(errno));
}

/* A copy that fails does not end the log: it says so, and stops until the next start. */
static void append_copy(struct audit *a, const struct vs_buf *text)
{
    ssize_t n = write(COPY_FD, text->data, text->n);
    if (n == (ssize_t)text->n && (fdatasync(COPY_FD) == 0 || errno == EINVAL))
        return;
    a->has_copy = false;
    log_event(a, "copy_failed", json_pack("{s:s}", "message", n < 0 ? strerror(errno) : "it took a part alone"));
}

/* What a kill left of the line before is ended first. */
static void end_cut(int fd, struct vs_buf *out)
{
    char last;
    off_t end = lseek(fd, 0, SEEK_END);
    if (end > 0 && pread(fd, &last, 1, end - 1) == 1 && last != '\n')
        vs_buf_char(out, '\n');
}

/* The line of `epoch` in the file of public keys. past: the log as the key before leaves it. */
static void publish(uint64_t epoch, const struct vs_key_secret *secret, const struct vs_past *past,
                    const struct vs_key_secret *signer)
{
    struct vs_buf line = { 0 };
    end_cut(KEYS_FD, &line);
    if (vs_keys_line(epoch, &secret->public, past, signer, &line) != VS_OK)
        audit_leave(VS_E_UNSUPPORTED, "OpenSSL cannot sign here");
    append(KEYS_FD, "the public keys", &line);
    vs_buf_clear(&line);
}

static void read_keys(struct vs_keys *ret)
{
    struct vs_buf text = { .limit = MOST_KEYS };
    struct vs_error err = { 0 };
    char piece[16384];
    for (ssize_t got; (got = pread(KEYS_FD, piece, sizeof piece, (off_t)text.n)) > 0 && text.status == VS_OK;)
        vs_buf_add(&text, piece, (size_t)got);
    int rc = text.status != VS_OK ? vs_error_set(&err, VS_E_NOMEM, "out of memory")
                                  : vs_keys_parse(text.data ? text.data : "", text.n, ret, &err);
    if (rc != VS_OK)
        audit_leave(rc, "the log's public keys: %s", err.text);
    vs_buf_clear(&text);
}

/* As they go with receipts, which all have the same. */
static void keep_keys(struct audit *a)
{
    struct vs_buf text = { .limit = VS_MAX_RECEIPT };
    char piece[4096];
    for (ssize_t got; (got = pread(KEYS_FD, piece, sizeof piece, (off_t)text.n)) > 0 && text.status == VS_OK;)
        vs_buf_add(&text, piece, (size_t)got);
    vs_buf_clear(&a->keys);
    if (text.status == VS_OK)           /* else it is too long for one */
        vs_receipt_keys(text.data ? text.data : "", text.n, &a->keys);
    if (a->keys.status != VS_OK)
        audit_leave(VS_E_NOMEM, "out of memory for the public keys");
    vs_buf_clear(&text);
}

/* ---- epochs ---- */

static bool is_public_of(const struct vs_keys *keys, uint64_t epoch, const struct vs_key_secret *secret)
{
    return epoch > 0 && epoch <= keys->n && vs_public_equal(&secret->public, &keys->key[epoch - 1]);
}

/* A client waits for the signature of its receipt, and libsodium makes it in half of OpenSSL's time. */
static bool sign_by_sodium(uint8_t ret[64], const void *data, size_t n, const uint8_t seed[32], const uint8_t public[32])
{
    uint8_t key[crypto_sign_ed25519_SECRETKEYBYTES];             /* both, one behind the other */
    memcpy(key, seed, 32);
    memcpy(key + 32, public, 32);
    bool done = crypto_sign_ed25519_detached(ret, NULL, data, n, key) == 0;
    sodium_memzero(key, sizeof key);
    return done;
}

static void sign_with(struct audit *a, const struct vs_key_secret *secret)
{
    vs_key_free(a->key);
    a->key = NULL;
    a->secret = *secret;
    if (vs_key_create(secret, &a->key) != VS_OK)
        audit_leave(VS_E_UNSUPPORTED, "OpenSSL cannot sign here");
    vs_key_sign_by(a->key, sign_by_sodium, secret);
}

/* What the last whole note of the file signs; nothing: size 0. */
static void read_sealed(const struct vs_keys *keys, struct vs_past *ret)
{
    char text[2 * VS_NOTE_MOST];
    struct vs_note note;
    size_t used;
    off_t end = lseek(NOTES_FD, 0, SEEK_END), from = end > (off_t)sizeof text ? end - (off_t)sizeof text : 0;
    ssize_t n = pread(NOTES_FD, text, sizeof text, from);
    *ret = (struct vs_past){ 0 };
    for (size_t at = 0; n > 0 && at < (size_t)n; at++)
        if ((at == 0 || text[at - 1] == '\n') && vs_note_parse(text + at, (size_t)n - at, keys, &note, &used) == VS_OK) {
            ret->size = note.size;
            memcpy(ret->root, note.root, sizeof ret->root);
        }
}

/* What was begun and not finished is finished: the newer key is published, the older one erased. */
static void take_keys(struct audit *a, const struct vs_keys *keys)
{
    uint64_t epoch[2];
    struct vs_key_secret secret[2];
    bool has[2] = { read_slot(0, &epoch[0], &secret[0]), read_slot(1, &epoch[1], &secret[1]) };
    unsigned newer = has[1] && (!has[0] || epoch[1] > epoch[0]), older = 1 - newer;
    if (!has[newer])
        audit_leave(VS_E_MALFORMED, "the signing key is not there any more, so the log cannot go on; begin another in a new "
                    "folder");
    if (epoch[newer] == keys->n + 1 && (keys->n == 0 || (has[older] && is_public_of(keys, epoch[older], &secret[older]))))
        publish(epoch[newer], &secret[newer], &a->sealed, &secret[keys->n == 0 ? newer : older]);
    else if (!is_public_of(keys, epoch[newer], &secret[newer]) || epoch[newer] != keys->n)
        audit_leave(VS_E_MALFORMED, "the signing key is not that of the log");
    a->slot = newer;
    a->epoch = epoch[newer];
    sign_with(a, &secret[newer]);
    if (has[older])
        write_slot(older, 0, NULL);
    explicit_bzero(secret, sizeof secret);
}

/* The root is epoch 1, and signs the key of epoch 2, which is that of the first file, and of the root's kind. What a kill left of
 * that is finished. */
void seal_begin(const struct vs_root *root)
{
    struct vs_keys keys;
    struct vs_buf lines = { 0 };
    uint64_t epoch[2];
    struct vs_key_secret secret[2] = { 0 };
    read_keys(&keys);
    if (keys.n && !vs_public_equal(&keys.key[0], vs_root_public(root)))
        audit_leave(VS_E_INVALID, "this log was begun with another key than signing.key names, which counts for a log that begins");
    for (unsigned i = 0; i < 2; i++)
        if (!read_slot(i, &epoch[i], &secret[i]) || epoch[i] != 2)
            epoch[i] = 0;
    unsigned slot = epoch[1] ? 1 : 0;
    if (keys.n < 2 && !epoch[slot]) {
        make_secret(vs_public_kind(vs_root_public(root)), &secret[slot]);
        write_slot(slot, 2, &secret[slot]);
    }
    end_cut(KEYS_FD, &lines);
    bool done = (keys.n > 0 || vs_root_line(root, 1, vs_root_public(root), &lines) == VS_OK)
        && (keys.n > 1 || vs_root_line(root, 2, &secret[slot].public, &lines) == VS_OK);
    if (keys.n < 2 && !done)
        audit_leave(VS_E_UNSUPPORTED, "signing.key: it could not sign");
    if (keys.n < 2)
        append(KEYS_FD, "the public keys", &lines);
    explicit_bzero(secret, sizeof secret);
    vs_buf_clear(&lines);
    vs_keys_clear(&keys);
}

void seal_open(struct audit *a)
{
    struct vs_keys keys;
    struct vs_key_secret secret;
    off_t bytes = lseek(KEY_FD, 0, SEEK_END);
    read_keys(&keys);
    if (!a->is_signer)                  /* which has no checkpoints */
        read_sealed(&keys, &a->sealed);
    if (bytes <= 0 && keys.n == 0) {
        make_secret(vs_key_kind_here(), &secret);
        write_slot(0, 1, &secret);
        explicit_bzero(&secret, sizeof secret);
    }
    take_keys(a, &keys);
    vs_keys_clear(&keys);
    read_keys(&keys);
    memcpy(a->origin, keys.origin, sizeof a->origin);
    vs_keys_clear(&keys);
    keep_keys(a);
}

void seal_check(struct audit *a)
{
    struct vs_keys keys;
    read_keys(&keys);
    const struct vs_past past = keys.past[keys.n - 1];
    vs_keys_clear(&keys);
    uint64_t size = a->sealed.size > past.size ? a->sealed.size : past.size;
    if (size > a->state.tree.n)
        audit_leave(VS_E_MALFORMED, "the log is not as it was written: %llu records are signed, and %llu are there; move the "
                    "folder away to begin another", (unsigned long long)size, (unsigned long long)a->state.tree.n);
    if (past.size && past.size + 1 == a->state.first && memcmp(past.root, a->state.believed_root, sizeof past.root) != 0)
        audit_leave(VS_E_MALFORMED, "the log is not as it was written: the key before signed other records up to %llu; move the "
                    "folder away to begin another", (unsigned long long)past.size);
}

void seal_next_epoch(struct audit *a)
{
    struct vs_key_secret secret;
    make_secret(a->secret.kind, &secret);
    write_slot(1 - a->slot, a->epoch + 1, &secret);
    publish(a->epoch + 1, &secret, &a->sealed, &a->secret);
    write_slot(a->slot, 0, NULL);
    own_erase(a);
    a->slot = 1 - a->slot;
    a->epoch++;
    sign_with(a, &secret);
    explicit_bzero(&secret, sizeof secret);
    keep_keys(a);
}

/* ---- checkpoints ---- */

void seal(struct audit *a)
{
    struct vs_buf text = { 0 };
    if (a->out.n)                       /* nothing is signed before it is written */
        log_flush(a);
    struct vs_note note = { .size = a->state.tree.n, .time_ms = vs_clock_real_ms() };
    a->sealed_at = vs_clock_ns();
    if (note.size == a->sealed.size)
        return;
    log_sync(a);
    vs_tree_root(&a->state.tree, note.root);
    memcpy(note.head, a->last_hash, sizeof note.head);
    end_cut(NOTES_FD, &text);
    if (vs_note_format(&note, a->origin, a->key, &text) != VS_OK)
        audit_leave(VS_E_UNSUPPORTED, "a checkpoint could not be signed");
    append(NOTES_FD, "the checkpoint", &text);
    if (a->has_copy)
        append_copy(a, &text);
    vs_buf_clear(&text);
    a->sealed.size = note.size;
    memcpy(a->sealed.root, note.root, sizeof note.root);
}

uint64_t seal_timer(struct audit *a)
{
    uint64_t due = a->sealed_at + a->checkpoint_seconds * UINT64_C(1000) * MS;
    if (a->state.tree.n == a->sealed.size)
        return UINT64_MAX;
    if (a->state.tree.n - a->sealed.size >= a->checkpoint_records || vs_clock_ns() >= due)
        seal(a);
    return a->state.tree.n == a->sealed.size ? UINT64_MAX : due;
}
