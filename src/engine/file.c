/* engine/file.c - see file.h */
#include "engine/file.h"

#include "base/buf.h"
#include "base/bytes.h"
#include "base/clock.h"

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
#include <unistd.h>

enum { BLOCK = 64 << 10, STACK = 256 << 10, AT_ONCE = 16, NICE = 10 };

struct hash { uint64_t low, high; };

struct block {                           /* what was loaded of the file */
    uint64_t offset;
    size_t n;                            /* 1..BLOCK */
    struct hash hash;
};

struct vs_model_file {
    struct vs_files parts;               /* and adapters */
    unsigned n_model;                    /* of them the model's */
    uint64_t part_end[VS_MAX_FILES];     /* with those before it */
    uint64_t n_bytes;
    struct vs_source source, glance;
    uint64_t *key;                       /* [BLOCK / 8] */

    pthread_mutex_t lock;                /* of what follows, until _finish and after it */
    struct block *blocks;                /* in the order of the file once the digest has begun */
    size_t n_blocks, cap_blocks;

    /* The digest goes on block by block, in the thread or, when somebody waits, in the caller. */
    EVP_MD_CTX *sha;                     /* of the part, or the file */
    struct vs_buf lines;                 /* digests of the parts before it */
    unsigned part;
    uint8_t *buffer;                     /* [BLOCK] */
    bool has_begun;
    size_t next;                         /* of the blocks */
    _Atomic uint64_t done;               /* bytes of the file */
    _Atomic int status;                  /* VS_E_BUSY until hex or err is there */
    char hex[65];
    char adapter_hex[VS_MAX_FILES][65];  /* of the files behind the model's */
    struct vs_error err;

    pthread_t thread;
    bool has_thread;
    pthread_cond_t go_on;
    _Atomic bool stop, is_waited_for;
};

/* ---- the hash of a block ---- */

static struct hash hash_of(const struct vs_model_file *f, const uint8_t *bytes, size_t n)
{
    unsigned __int128 sum = 0, other = 0;            /* two chains: an addition with carry takes its time */
    const uint64_t *key = f->key;
    uint64_t pair[4];
    for (; n >= sizeof pair; n -= sizeof pair, bytes += sizeof pair, key += 4) {
        memcpy(pair, bytes, sizeof pair);
        sum += (unsigned __int128)(pair[0] + key[0]) * (pair[1] + key[1]);
        other += (unsigned __int128)(pair[2] + key[2]) * (pair[3] + key[3]);
    }
    if (n) {
        memset(pair, 0, sizeof pair);
        memcpy(pair, bytes, n);
        sum += (unsigned __int128)(pair[0] + key[0]) * (pair[1] + key[1]);
        other += (unsigned __int128)(pair[2] + key[2]) * (pair[3] + key[3]);
    }
    sum += other;
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
    for (unsigned part = 0; n;) {
        while (offset >= f->part_end[part] && part + 1 < f->parts.n)
            part++;
        uint64_t start = part ? f->part_end[part - 1] : 0;
        size_t here = f->part_end[part] > offset && f->part_end[part] - offset < n ? (size_t)(f->part_end[part] - offset) : n;
        ssize_t got = pread(f->parts.fd[part], to, here, (off_t)(offset - start));
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

static int changed(struct vs_model_file *f, const char *how)
{
    return vs_error_set(&f->err, VS_E_MALFORMED, "model: the file was changed while it was loaded (%s), so nobody can say what the "
                        "answer was computed with; load it again when it is complete", how);
}

static int begin(struct vs_model_file *f)
{
    f->has_begun = true;
    sort(f->blocks, f->n_blocks);
    f->buffer = malloc(BLOCK);
    f->sha = EVP_MD_CTX_new();
    if (!f->buffer || !f->sha || !EVP_DigestInit_ex(f->sha, EVP_sha256(), NULL))
        return vs_error_set(&f->err, VS_E_NOMEM, "model: no memory for the file's SHA-256");
    return VS_OK;
}

static int digest_of(struct vs_model_file *f, char ret_hex[65])
{
    unsigned char bytes[EVP_MAX_MD_SIZE];
    if (!EVP_DigestFinal_ex(f->sha, bytes, NULL) || !EVP_DigestInit_ex(f->sha, EVP_sha256(), NULL))
        return vs_error_set(&f->err, VS_E_SYSTEM, "model: SHA-256 failed");
    vs_hex(bytes, 32, ret_hex);
    return VS_OK;
}

/* A part was read to its end; VS_E_BUSY: there are more. */
static int conclude(struct vs_model_file *f)
{
    struct stat st;
    uint64_t start = f->part ? f->part_end[f->part - 1] : 0;
    if (fstat(f->parts.fd[f->part], &st) != 0 || (uint64_t)st.st_size != f->part_end[f->part] - start)
        return changed(f, "its size is another");
    char hex[65];
    int r = digest_of(f, hex);
    if (r == VS_OK && f->part < f->n_model) {
        memcpy(f->hex, hex, sizeof hex);
        vs_buf_printf(&f->lines, "%s\n", hex);
    } else if (r == VS_OK) {
        memcpy(f->adapter_hex[f->part - f->n_model], hex, sizeof hex);
    }
    if (r == VS_OK && ++f->part == f->n_model && f->n_model > 1) {
        if (f->lines.status != VS_OK || !EVP_DigestUpdate(f->sha, f->lines.data, f->lines.n))
            return vs_error_set(&f->err, VS_E_NOMEM, "model: no memory for the file's SHA-256");
        r = digest_of(f, f->hex);
    }
    return r == VS_OK && f->part < f->parts.n ? VS_E_BUSY : r;
}

/* The next block, or a piece of what lies between two, as it is in the file now. VS_E_BUSY: there is more to come. */
static int step(struct vs_model_file *f)
{
    int r = f->has_begun ? VS_OK : begin(f);
    if (r != VS_OK)
        return r;
    uint64_t at = atomic_load(&f->done);
    const struct block *b = f->next < f->n_blocks ? &f->blocks[f->next] : NULL;
    uint64_t end = b ? b->offset : f->n_bytes, part_end = f->part_end[f->part];
    if (end < at)
        return vs_error_set(&f->err, VS_E_MALFORMED, "model: byte %llu of the file is used twice", (unsigned long long)end);
    if (part_end == at)
        return conclude(f);
    if (end > part_end) {                /* what follows is of the next part */
        b = NULL;
        end = part_end;
    }
    bool is_loaded = b && end == at;
    size_t n = is_loaded ? b->n : end - at < BLOCK ? (size_t)(end - at) : BLOCK;
    r = read_all(f, at, n, f->buffer, &f->err);
    if (r != VS_OK)
        return r;
    if (is_loaded && !is_same(hash_of(f, f->buffer, n), b->hash)) {
        char where[48];
        snprintf(where, sizeof where, "near byte %llu", (unsigned long long)at);
        return changed(f, where);
    }
    if (!EVP_DigestUpdate(f->sha, f->buffer, n))
        return vs_error_set(&f->err, VS_E_SYSTEM, "model: SHA-256 failed");
    f->next += is_loaded;
    atomic_store(&f->done, at + n);
    return VS_E_BUSY;
}

static void *digest_thread(void *file)
{
    struct vs_model_file *f = file;
    setpriority(PRIO_PROCESS, 0, NICE);              /* of this thread; a refusal costs only a little of the others' time */
    pthread_mutex_lock(&f->lock);
    while (atomic_load(&f->status) == VS_E_BUSY && !atomic_load(&f->stop))
        if (atomic_load(&f->is_waited_for)) {
            pthread_cond_wait(&f->go_on, &f->lock);
        } else {
            atomic_store(&f->status, step(f));
            pthread_mutex_unlock(&f->lock);          /* somebody may want to take over */
            pthread_mutex_lock(&f->lock);
        }
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

/* Who waits computes: the thread has a low priority, and others may have work for all processors. */
static void take_over(struct vs_model_file *f, unsigned ms)
{
    uint64_t until = vs_clock_ns() + ms * 1000000ull;
    atomic_store(&f->is_waited_for, true);
    pthread_mutex_lock(&f->lock);
    while (atomic_load(&f->status) == VS_E_BUSY && vs_clock_ns() < until)
        atomic_store(&f->status, step(f));
    atomic_store(&f->is_waited_for, false);
    pthread_cond_signal(&f->go_on);
    pthread_mutex_unlock(&f->lock);
}

int vs_model_file_digest(struct vs_model_file *f, unsigned wait_ms, char ret_hex[65], uint64_t *ret_done, struct vs_error *err)
{
    if (wait_ms && atomic_load(&f->status) == VS_E_BUSY)
        take_over(f, wait_ms);
    int r = atomic_load(&f->status);
    if (r == VS_OK)
        memcpy(ret_hex, f->hex, sizeof f->hex);
    else if (r != VS_E_BUSY)
        vs_error_set(err, r, "%s", f->err.text);
    *ret_done = atomic_load(&f->done);
    return r;
}

/* ---- open and close ---- */

/* How long the parts are. */
static int measure(struct vs_model_file *f, struct vs_error *err)
{
    struct stat st;
    for (unsigned i = 0; i < f->parts.n; i++) {
        if (fstat(f->parts.fd[i], &st) != 0 || !S_ISREG(st.st_mode))
            return vs_error_set(err, VS_E_MALFORMED, "model: not a regular file");
        if (!st.st_size && f->parts.n > 1)
            return vs_error_set(err, VS_E_MALFORMED, "model: file %u of %u is empty", i + 1, f->parts.n);
        f->part_end[i] = f->n_bytes += (uint64_t)st.st_size;
        posix_fadvise(f->parts.fd[i], 0, 0, POSIX_FADV_WILLNEED);
    }
    return VS_OK;
}

int vs_model_file_open(const struct vs_files *parts, struct vs_model_file **ret, struct vs_error *err)
{
    return vs_model_file_open_with(parts, 0, ret, err);
}

void vs_model_file_adapter(const struct vs_model_file *f, unsigned i, uint64_t *ret_start, uint64_t *ret_bytes)
{
    *ret_start = f->part_end[f->n_model + i - 1];
    *ret_bytes = f->part_end[f->n_model + i] - *ret_start;
}

const char *vs_model_file_adapter_digest(const struct vs_model_file *f, unsigned i)
{
    return f->adapter_hex[i];
}

int vs_model_file_open_with(const struct vs_files *parts, unsigned n_adapters, struct vs_model_file **ret, struct vs_error *err)
{
    struct vs_model_file *f = calloc(1, sizeof *f);
    if (!f) {
        struct vs_files all = *parts;
        vs_files_close(&all);
        return vs_error_set(err, VS_E_NOMEM, "model: out of memory");
    }
    pthread_cond_init(&f->go_on, NULL);
    pthread_mutex_init(&f->lock, NULL);
    f->parts = *parts;
    f->n_model = parts->n - n_adapters;
    atomic_store(&f->status, VS_E_BUSY);
    int r = make_key(f);
    if (r != VS_OK)
        vs_error_set(err, r, "model: %s", r == VS_E_NOMEM ? "out of memory" : "there are no random numbers");
    else
        r = measure(f, err);
    if (r != VS_OK) {
        vs_model_file_close(f);
        return r;
    }
    f->source = (struct vs_source){ read_source, f, f->n_bytes, f->part_end, f->n_model };
    f->glance = (struct vs_source){ read_glance, f, f->n_bytes, f->part_end, f->n_model };
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
    vs_files_close(&f->parts);
    vs_buf_clear(&f->lines);
    pthread_cond_destroy(&f->go_on);
    pthread_mutex_destroy(&f->lock);
    EVP_MD_CTX_free(f->sha);
    free(f->buffer);
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
