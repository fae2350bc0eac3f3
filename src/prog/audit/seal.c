/* prog/audit/seal.c - what signs the log: a key for each file of it, and checkpoints.
 *
 * The key's file has two places. A new key is written into the free one, then the old one signs it (a line of `keys`), then the old
 * one is overwritten. Whatever a kill -9 leaves of that is finished at the next start. */
#include "prog/audit/audit.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "evidence/root.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

enum { KEY_FD = 8, KEYS_FD = 9, NOTES_FD = 10, COPY_FD = 11 };         /* main.c */
enum { SLOT_BYTES = 4096, MAGIC_BYTES = 8, HELD_BYTES = MAGIC_BYTES + 8 + VS_SEED_BYTES };
#define MAGIC "VSKEY1\n"
#define MOST_KEYS (32u << 20)            /* bytes of `keys` */

/* ---- the key's file ---- */

static bool read_slot(unsigned slot, uint64_t *ret_epoch, uint8_t ret_seed[VS_SEED_BYTES])
{
    uint8_t held[HELD_BYTES + VS_HASH_BYTES], sum[VS_HASH_BYTES];
    bool good = pread(KEY_FD, held, sizeof held, (off_t)slot * SLOT_BYTES) == (ssize_t)sizeof held
        && memcmp(held, MAGIC, MAGIC_BYTES) == 0;
    if (good) {
        vs_hash(held, HELD_BYTES, sum);
        good = memcmp(sum, held + HELD_BYTES, sizeof sum) == 0;
    }
    *ret_epoch = good ? vs_load_u64le(held + MAGIC_BYTES) : 0;
    if (good)
        memcpy(ret_seed, held + MAGIC_BYTES + 8, VS_SEED_BYTES);
    explicit_bzero(held, sizeof held);
    return good;
}

static void write_slot(unsigned slot, uint64_t epoch, const uint8_t *seed)
{
    uint8_t held[SLOT_BYTES] = MAGIC;
    if (seed) {
        vs_store_u64le(held + MAGIC_BYTES, epoch);
        memcpy(held + MAGIC_BYTES + 8, seed, VS_SEED_BYTES);
        vs_hash(held, HELD_BYTES, held + HELD_BYTES);
    } else {
        memset(held, 0, sizeof held);
    }
    bool done = pwrite(KEY_FD, held, sizeof held, (off_t)slot * SLOT_BYTES) == (ssize_t)sizeof held && fdatasync(KEY_FD) == 0;
    explicit_bzero(held, sizeof held);
    if (!done)
        audit_leave(VS_E_SYSTEM, "the signing key cannot be written: %s", strerror(errno));
}

static void make_seed(uint8_t ret[VS_SEED_BYTES])
{
    if (getrandom(ret, VS_SEED_BYTES, 0) != VS_SEED_BYTES)
        audit_leave(VS_E_SYSTEM, "no random numbers");
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

/* The line of `epoch` in the file of public keys. */
static void publish(struct audit *a, uint64_t epoch, const uint8_t seed[VS_SEED_BYTES], const uint8_t signer[VS_SEED_BYTES])
{
    struct vs_buf line = { 0 };
    uint8_t key[VS_PUBLIC_BYTES];
    (void)a;
    end_cut(KEYS_FD, &line);
    if (vs_key_public(seed, key) != VS_OK || vs_keys_line(epoch, key, signer, &line) != VS_OK)
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
    if (text.status != VS_OK || vs_keys_parse(text.data ? text.data : "", text.n, ret, &err) != VS_OK)
        audit_leave(VS_E_MALFORMED, "the public keys are not as they were written: %s", err.text);
    vs_buf_clear(&text);
}

/* As they go with receipts. */
static void keep_keys(struct audit *a)
{
    char piece[4096];
    vs_buf_clear(&a->keys);
    a->keys.limit = VS_MAX_RECEIPT;
    for (ssize_t got; (got = pread(KEYS_FD, piece, sizeof piece, (off_t)a->keys.n)) > 0 && a->keys.status == VS_OK;)
        vs_buf_add(&a->keys, piece, (size_t)got);
    if (a->keys.status != VS_OK)
        vs_buf_clear(&a->keys);
}

/* ---- epochs ---- */

static bool is_public_of(const struct vs_keys *keys, uint64_t epoch, const uint8_t seed[VS_SEED_BYTES])
{
    uint8_t key[VS_PUBLIC_BYTES];
    return epoch > 0 && epoch <= keys->n && vs_key_public(seed, key) == VS_OK
        && memcmp(key, keys->key[epoch - 1], sizeof key) == 0;
}

static void sign_with(struct audit *a, const uint8_t seed[VS_SEED_BYTES])
{
    vs_key_free(a->key);
    a->key = NULL;
    memcpy(a->seed, seed, sizeof a->seed);
    if (vs_key_create(seed, &a->key) != VS_OK)
        audit_leave(VS_E_UNSUPPORTED, "OpenSSL cannot sign here");
}

/* What was begun and not finished is finished: the newer key is published, the older one erased. */
static void take_keys(struct audit *a, const struct vs_keys *keys)
{
    uint64_t epoch[2];
    uint8_t seed[2][VS_SEED_BYTES];
    bool has[2] = { read_slot(0, &epoch[0], seed[0]), read_slot(1, &epoch[1], seed[1]) };
    unsigned newer = has[1] && (!has[0] || epoch[1] > epoch[0]), older = 1 - newer;
    if (!has[newer])
        audit_leave(VS_E_MALFORMED, "the signing key is not there any more, so the log cannot go on; begin another in a new "
                    "folder");
    if (epoch[newer] == keys->n + 1 && (keys->n == 0 || (has[older] && is_public_of(keys, epoch[older], seed[older]))))
        publish(a, epoch[newer], seed[newer], keys->n == 0 ? seed[newer] : seed[older]);
    else if (!is_public_of(keys, epoch[newer], seed[newer]) || epoch[newer] != keys->n)
        audit_leave(VS_E_MALFORMED, "the signing key is not that of the log");
    a->slot = newer;
    a->epoch = epoch[newer];
    sign_with(a, seed[newer]);
    if (has[older])
        write_slot(older, 0, NULL);
    explicit_bzero(seed, sizeof seed);
}

/* The root is epoch 1, and signs the key of epoch 2, which is that of the first file. What a kill left of that is finished. */
void seal_begin(struct audit *a, const struct vs_root *root)
{
    struct vs_keys keys;
    struct vs_buf lines = { 0 };
    uint64_t epoch[2];
    uint8_t seed[2][VS_SEED_BYTES] = { 0 }, key[VS_PUBLIC_BYTES];
    (void)a;
    read_keys(&keys);
    if (keys.n && memcmp(keys.key[0], vs_root_public(root), VS_PUBLIC_BYTES) != 0)
        audit_leave(VS_E_INVALID, "this log was begun with another key than signing.key names, which counts for a log that begins");
    for (unsigned i = 0; i < 2; i++)
        if (!read_slot(i, &epoch[i], seed[i]) || epoch[i] != 2)
            epoch[i] = 0;
    unsigned slot = epoch[1] ? 1 : 0;
    if (keys.n < 2 && !epoch[slot]) {
        make_seed(seed[slot]);
        write_slot(slot, 2, seed[slot]);
    }
    end_cut(KEYS_FD, &lines);
    bool done = vs_key_public(seed[slot], key) == VS_OK
        && (keys.n > 0 || vs_root_line(root, 1, vs_root_public(root), &lines) == VS_OK)
        && (keys.n > 1 || vs_root_line(root, 2, key, &lines) == VS_OK);
    if (keys.n < 2 && !done)
        audit_leave(VS_E_UNSUPPORTED, "signing.key: it could not sign");
    if (keys.n < 2)
        append(KEYS_FD, "the public keys", &lines);
    explicit_bzero(seed, sizeof seed);
    vs_buf_clear(&lines);
    vs_keys_clear(&keys);
}

void seal_open(struct audit *a)
{
    struct vs_keys keys;
    uint8_t seed[VS_SEED_BYTES];
    off_t bytes = lseek(KEY_FD, 0, SEEK_END);
    read_keys(&keys);
    if (bytes <= 0 && keys.n == 0) {
        make_seed(seed);
        write_slot(0, 1, seed);
        explicit_bzero(seed, sizeof seed);
    }
    take_keys(a, &keys);
    vs_keys_clear(&keys);
    read_keys(&keys);
    memcpy(a->origin, keys.origin, sizeof a->origin);
    vs_keys_clear(&keys);
    keep_keys(a);
}

/* The last whole note of the file. */
void seal_check(struct audit *a)
{
    char text[2 * VS_NOTE_MOST];
    struct vs_keys keys;
    struct vs_note note, last = { 0 };
    size_t used;
    off_t end = lseek(NOTES_FD, 0, SEEK_END), from = end > (off_t)sizeof text ? end - (off_t)sizeof text : 0;
    ssize_t n = pread(NOTES_FD, text, sizeof text, from);
    read_keys(&keys);
    for (size_t at = 0; n > 0 && at < (size_t)n; at++)
        if ((at == 0 || text[at - 1] == '\n') && vs_note_parse(text + at, (size_t)n - at, &keys, &note, &used) == VS_OK)
            last = note;
    vs_keys_clear(&keys);
    if (last.size > a->state.tree.n)
        audit_leave(VS_E_MALFORMED, "the log is not as it was written: a checkpoint signs %llu records, and %llu are there; move "
                    "the folder away to begin another", (unsigned long long)last.size, (unsigned long long)a->state.tree.n);
    a->sealed = last.size;
}

void seal_next_epoch(struct audit *a)
{
    uint8_t seed[VS_SEED_BYTES];
    make_seed(seed);
    write_slot(1 - a->slot, a->epoch + 1, seed);
    publish(a, a->epoch + 1, seed, a->seed);
    write_slot(a->slot, 0, NULL);
    own_erase(a);
    a->slot = 1 - a->slot;
    a->epoch++;
    sign_with(a, seed);
    explicit_bzero(seed, sizeof seed);
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
    if (note.size == a->sealed)
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
    a->sealed = note.size;
}

uint64_t seal_timer(struct audit *a)
{
    uint64_t due = a->sealed_at + a->checkpoint_seconds * UINT64_C(1000) * MS;
    if (a->state.tree.n == a->sealed)
        return UINT64_MAX;
    if (a->state.tree.n - a->sealed >= a->checkpoint_records || vs_clock_ns() >= due)
        seal(a);
    return a->state.tree.n == a->sealed ? UINT64_MAX : due;
}
