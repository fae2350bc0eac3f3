/* engine/file.c - see file.h */
#include "engine/file.h"

#include "base/bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 64 << 10, STACK = 256 << 10, AT_ONCE = 16, NICE = 10 };

struct hash { uint64_t low, high; };

struct block {                           /* what was loaded of the file */
    uint64_t offset;
    size_t n;                            /* 1..BLOCK */
    struct hash hash;
};

struct vs_model_file {
    int fd;
    uint64_t n_bytes;
    struct vs_source source, glance;
    uint64_t *key;                       /* [BLOCK / 8] */

    pthread_mutex_t lock;                /* of the two groups that follow */
    struct block *blocks;
    size_t n_blocks, cap_blocks;

    pthread_cond_t ended;
    int status;                          /* VS_E_BUSY until the digest is there */
    char hex[65];
    struct vs_error err;

    pthread_t thread;
    bool has_thread;
    _Atomic bool stop;
    _Atomic uint64_t done;
};

/* ---- the hash of a block ---- */

static struct hash hash_of(const struct vs_model_file *f, const uint8_t *bytes, size_t n)
{
    unsigned __int128 sum = 0;
    const uint64_t *key = f->key;
    uint64_t pair[2];
    for (; n >= sizeof pair; n -= sizeof pair, bytes += sizeof pair, key += 2) {
        memcpy(pair, bytes, sizeof pair);
        sum += (unsigned __int128)(pair[0] + key[0]) * (pair[1] + key[1]);
    }
    if (n) {
        memset(pair, 0, sizeof pair);
        memcpy(pair, bytes, n);
        sum += (unsigned __int128)(pair[0] + key[0]) * (pair[1] + key[1]);
    }
    return (struct hash){ (uint64_t)sum, (uint64_t)(sum >> 64) };
}

static bool is_same(struct hash a, struct hash b)
{
    return a.low == b.low && a.high == b.high;
}

static int make_key(struct vs_model_file *f)
{
    f->key = malloc(BLOCK);
    for (size_t at = 0; f->key && at < BLOCK;) {
        ssize_t n = getrandom((char *)f->key + at, BLOCK - at, 0);
        if (n < 0 && errno != EINTR)
            return VS_E_SYSTEM;
        at += n > 0 ? (size_t)n : 0;
    }
    return f->key ? VS_OK : VS_E_NOMEM;
}

/* ---- reading ---- */

static int read_all(const struct vs_model_file *f, uint64_t offset, size_t n, uint8_t *to, struct vs_error *err)
{
    while (n) {
        ssize_t got = pread(f->fd, to, n, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return vs_error_set(err, VS_E_SYSTEM, "model: the file can't be read at byte %llu: %s", (unsigned long long)offset,
                                strerror(errno));
        if (got == 0)
            return vs_error_set(err, VS_E_MALFORMED, "model: the file was cut while it was loaded (it ends at byte %llu of %llu); "
                                "load it again when it is complete", (unsigned long long)offset, (unsigned long long)f->n_bytes);
        offset += (uint64_t)got;
        to += got;
        n -= (size_t)got;
    }
    return VS_OK;
}

static int enter(struct vs_model_file *f, const struct block *blocks, size_t n, struct vs_error *err)
{
    int r = VS_OK;
    pthread_mutex_lock(&f->lock);
    if (f->n_blocks + n > f->cap_blocks) {
        size_t cap = f->cap_blocks * 2 + 1024;
        struct block *more = realloc(f->blocks, cap * sizeof *more);
        if (more) {
            f->blocks = more;
            f->cap_blocks = cap;
        } else {
            r = vs_error_set(err, VS_E_NOMEM, "model: out of memory");
        }
    }
    if (r == VS_OK)
        memcpy(f->blocks + f->n_blocks, blocks, n * sizeof *blocks);
    if (r == VS_OK)
        f->n_blocks += n;
    pthread_mutex_unlock(&f->lock);
    return r;
}

/* Fills `to` when there is something to read; hashes what is there, block by block while it is in the cache. */
static int load(struct vs_model_file *f, uint64_t offset, uint8_t *to, const uint8_t *bytes, size_t n, struct vs_error *err)
{
    struct block blocks[AT_ONCE];
    size_t n_blocks = 0;
    int r = VS_OK;
    while (n && r == VS_OK) {
        size_t step = n < BLOCK ? n : BLOCK;
        if (to)
            r = read_all(f, offset, step, to, err);
        if (r != VS_OK)
            return r;
        blocks[n_blocks++] = (struct block){ offset, step, hash_of(f, bytes, step) };
        if (n_blocks == AT_ONCE || n == step) {
            r = enter(f, blocks, n_blocks, err);
            n_blocks = 0;
        }
        offset += step;
        bytes += step;
        to = to ? to + step : NULL;
        n -= step;
    }
    return r;
}

static int read_source(void *context, uint64_t offset, size_t n, void *to, struct vs_error *err)
{
    return load(context, offset, to, to, n, err);
}

static int read_glance(void *context, uint64_t offset, size_t n, void *to, struct vs_error *err)
{
    return read_all(context, offset, n, to, err);
}

int vs_model_file_loaded(struct vs_model_file *f, uint64_t offset, const void *bytes, size_t n, struct vs_error *err)
{
    return load(f, offset, NULL, bytes, n, err);
}

/* ---- the digest ---- */

/* Heap sort: qsort of the C library may ask the system for its memory size. */
static void sort(struct block *b, size_t n)
{
    for (size_t first = n / 2, end = n; end > 1;) {
        if (first) {
            first--;
        } else {
            struct block last = b[--end];
            b[end] = b[0];
            b[0] = last;
        }
        for (size_t at = first, child; (child = 2 * at + 1) < end; at = child) {
            if (child + 1 < end && b[child].offset < b[child + 1].offset)
                child++;
            if (b[at].offset >= b[child].offset)
                break;
            struct block swap = b[at];
            b[at] = b[child];
            b[child] = swap;
        }
    }
}

/* [from, from + n) as it is now, into the digest; compared with what was loaded when `loaded` is not NULL. */
static int feed(struct vs_model_file *f, EVP_MD_CTX *sha, uint8_t *buffer, uint64_t from, size_t n, const struct block *loaded)
{
    if (atomic_load(&f->stop))
        return vs_error_set(&f->err, VS_E_CANCELLED, "model: closed");
    int r = read_all(f, from, n, buffer, &f->err);
    if (r != VS_OK)
        return r;
    if (loaded && !is_same(hash_of(f, buffer, n), loaded->hash))
        return vs_error_set(&f->err, VS_E_MALFORMED, "model: the file was changed while it was loaded (near byte %llu), so nobody "
                            "can say what the answer was computed with; load it again when it is complete", (unsigned long long)from);
    if (!EVP_DigestUpdate(sha, buffer, n))
        return vs_error_set(&f->err, VS_E_SYSTEM, "model: SHA-256 failed");
    atomic_store(&f->done, from + n);
    return VS_OK;
}

static int digest(struct vs_model_file *f, EVP_MD_CTX *sha, uint8_t *buffer)
{
    uint64_t at = 0;
    int r = VS_OK;
    sort(f->blocks, f->n_blocks);
    for (size_t i = 0; i <= f->n_blocks && r == VS_OK; i++) {
        const struct block *b = i < f->n_blocks ? &f->blocks[i] : NULL;
        uint64_t next = b ? b->offset : f->n_bytes;
        if (next < at)
            return vs_error_set(&f->err, VS_E_MALFORMED, "model: byte %llu of the file is used twice", (unsigned long long)next);
        while (at < next && r == VS_OK) {
            size_t n = next - at < BLOCK ? (size_t)(next - at) : BLOCK;
            r = feed(f, sha, buffer, at, n, NULL);
            at += n;
        }
        if (b && r == VS_OK) {
            r = feed(f, sha, buffer, at, b->n, b);
            at += b->n;
        }
    }
    struct stat st;
    if (r == VS_OK && (fstat(f->fd, &st) != 0 || (uint64_t)st.st_size != f->n_bytes))
        r = vs_error_set(&f->err, VS_E_MALFORMED, "model: the file was changed while it was loaded: its size is another; load it "
                         "again when it is complete");
    return r;
}

static void *digest_thread(void *file)
{
    struct vs_model_file *f = file;
    uint8_t *buffer = malloc(BLOCK);
    unsigned char bytes[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *sha = EVP_MD_CTX_new();
    setpriority(PRIO_PROCESS, 0, NICE);              /* of this thread; a refusal costs only a little of the others' time */
    int r = VS_E_NOMEM;
    if (!buffer || !sha || !EVP_DigestInit_ex(sha, EVP_sha256(), NULL))
        vs_error_set(&f->err, r, "model: no memory for the file's SHA-256");
    else
        r = digest(f, sha, buffer);
    if (r == VS_OK && !EVP_DigestFinal_ex(sha, bytes, NULL))
        r = vs_error_set(&f->err, VS_E_SYSTEM, "model: SHA-256 failed");
    EVP_MD_CTX_free(sha);
    free(buffer);
    pthread_mutex_lock(&f->lock);
    if (r == VS_OK)
        vs_hex(bytes, 32, f->hex);
    free(f->blocks);
    f->blocks = NULL;
    f->status = r;
    pthread_cond_broadcast(&f->ended);
    pthread_mutex_unlock(&f->lock);
    return NULL;
}

int vs_model_file_finish(struct vs_model_file *f, struct vs_error *err)
{
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK);
    int e = pthread_create(&f->thread, &attr, digest_thread, f);
    pthread_attr_destroy(&attr);
    f->has_thread = e == 0;
    if (e != 0)
        return vs_error_set(err, VS_E_LIMIT, "model: the thread for the file's SHA-256 can't be started: %s", strerror(e));
    return VS_OK;
}

int vs_model_file_digest(struct vs_model_file *f, unsigned wait_ms, char ret_hex[65], uint64_t *ret_done, struct vs_error *err)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += (long)wait_ms % 1000 * 1000000;
    until.tv_sec += wait_ms / 1000 + until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&f->lock);
    while (f->status == VS_E_BUSY && wait_ms && pthread_cond_timedwait(&f->ended, &f->lock, &until) == 0)
        ;
    int r = f->status;
    if (r == VS_OK)
        memcpy(ret_hex, f->hex, sizeof f->hex);
    else if (r != VS_E_BUSY)
        vs_error_set(err, r, "%s", f->err.text);
    pthread_mutex_unlock(&f->lock);
    *ret_done = atomic_load(&f->done);
    return r;
}

/* ---- open and close ---- */

int vs_model_file_open(int fd, struct vs_model_file **ret, struct vs_error *err)
{
    struct stat st;
    struct vs_model_file *f = calloc(1, sizeof *f);
    if (!f) {
        close(fd);
        return vs_error_set(err, VS_E_NOMEM, "model: out of memory");
    }
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&f->ended, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&f->lock, NULL);
    f->fd = fd;
    f->status = VS_E_BUSY;
    int r = make_key(f);
    if (r != VS_OK)
        vs_error_set(err, r, "model: %s", r == VS_E_NOMEM ? "out of memory" : "there are no random numbers");
    else if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        r = vs_error_set(err, VS_E_MALFORMED, "model: not a regular file");
    if (r != VS_OK) {
        vs_model_file_close(f);
        return r;
    }
    f->n_bytes = (uint64_t)st.st_size;
    f->source = (struct vs_source){ read_source, f, f->n_bytes };
    f->glance = (struct vs_source){ read_glance, f, f->n_bytes };
    posix_fadvise(fd, 0, 0, POSIX_FADV_WILLNEED);
    *ret = f;
    return VS_OK;
}

void vs_model_file_close(struct vs_model_file *f)
{
    if (!f)
        return;
    atomic_store(&f->stop, true);
    if (f->has_thread)
        pthread_join(f->thread, NULL);
    close(f->fd);
    pthread_cond_destroy(&f->ended);
    pthread_mutex_destroy(&f->lock);
    free(f->blocks);
    free(f->key);
    free(f);
}

const struct vs_source *vs_model_file_source(const struct vs_model_file *f)
{
    return &f->source;
}

const struct vs_source *vs_model_file_glance(const struct vs_model_file *f)
{
    return &f->glance;
}
