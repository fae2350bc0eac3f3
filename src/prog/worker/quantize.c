/* prog/worker/quantize.c - see quantize.h */
#include "prog/worker/quantize.h"
#include "prog/worker/mix.h"

#include "base/buf.h"
#include "base/bytes.h"
#include "base/num.h"
#include "cpu/pool.h"
#include "import/gguf.h"
#include "import/header.h"
#include "sandbox/sandbox.h"
#include "tensor/quantize.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OUT_FD = 3, MODEL_FD = 4, WORDS_FD = 5, IMPORTANCE_FD = 6, CHUNK_BYTES = 16 << 20, MAX_THREADS = 256 };

/* ---- files ---- */

static int file_read(void *context, uint64_t offset, size_t n, void *to, struct vs_error *err)
{
    const int *fd = context;
    for (size_t at = 0; at < n;) {
        ssize_t got = pread(*fd, (char *)to + at, n - at, (off_t)(offset + at));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return vs_error_set(err, VS_E_SYSTEM, "cannot read the file: %s", strerror(errno));
        if (got == 0)
            return vs_error_set(err, VS_E_MALFORMED, "the file was cut while it was read");
        at += (size_t)got;
    }
    return VS_OK;
}

struct file {
    int fd;
    struct vs_source source;
    struct vs_header *header;
    const struct vs_gguf *gguf;
};

static int file_open(struct file *f, int fd, struct vs_error *err)
{
    struct stat st;
    f->fd = fd;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        return vs_error_set(err, VS_E_INVALID, "this is no file");
    f->source = (struct vs_source){ .read = file_read, .context = &f->fd, .n_bytes = (uint64_t)st.st_size };
    int rc = vs_header_open(&f->source, &f->header, err);
    if (rc == VS_OK)
        f->gguf = vs_header_gguf(f->header);
    return rc;
}

static int put(const void *data, size_t n, struct vs_error *err)
{
    for (size_t at = 0; at < n;) {
        ssize_t done = write(OUT_FD, (const char *)data + at, n - at);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return vs_error_set(err, VS_E_CANCELLED, "nobody takes the new file");
        at += (size_t)done;
    }
    return VS_OK;
}

/* ---- importance: the mean square of what each column is multiplied with ---- */

/* importance[n_cols, n_experts] of a tensor, or NULL where the matrix says nothing about it. */
static int importance_of(const struct file *imatrix, const struct vs_gguf_tensor *t, float **ret, struct vs_error *err)
{
    char name[160];
    *ret = NULL;
    if (!imatrix->gguf || t->name.n > 100)
        return VS_OK;
    snprintf(name, sizeof name, "%.*s.in_sum2", (int)t->name.n, t->name.data);
    const struct vs_gguf_tensor *sums = vs_gguf_tensor(imatrix->gguf, name);
    snprintf(name, sizeof name, "%.*s.counts", (int)t->name.n, t->name.data);
    const struct vs_gguf_tensor *counts = vs_gguf_tensor(imatrix->gguf, name);
    if (!sums && !counts)
        return VS_OK;
    uint64_t n = t->ne[0] * t->ne[2];
    if (!sums || !counts || sums->dtype->id != VS_F32 || counts->dtype->id != VS_F32 || sums->ne[0] != t->ne[0]
        || sums->ne[1] != t->ne[2] || counts->n_bytes != t->ne[2] * sizeof(float) || sums->n_bytes != n * sizeof(float))
        return vs_error_set(err, VS_E_MALFORMED, "the imatrix is of another model: %.*s has %llu columns and %llu experts here",
                            (int)t->name.n, t->name.data, (unsigned long long)t->ne[0], (unsigned long long)t->ne[2]);
    float *v = malloc((n ? n : 1) * sizeof *v), *count = malloc((t->ne[2] ? t->ne[2] : 1) * sizeof *count);
    int rc = v && count ? VS_OK : vs_error_set(err, VS_E_NOMEM, "out of memory");
    if (rc == VS_OK)
        rc = vs_source_read(&imatrix->source, sums->offset, (size_t)sums->n_bytes, v, err);
    if (rc == VS_OK)
        rc = vs_source_read(&imatrix->source, counts->offset, (size_t)counts->n_bytes, count, err);
    for (uint64_t i = 0; rc == VS_OK && i < n; i++) {
        float c = count[i / t->ne[0]];
        v[i] = c > 0 ? v[i] / c : 1;                             /* an expert that was never asked: all columns alike */
        if (!(v[i] >= 0) || vs_f32_bits(v[i]) >= 0x7f800000)
            rc = vs_error_set(err, VS_E_MALFORMED, "the imatrix: %.*s has a value that is no mean square", (int)t->name.n,
                              t->name.data);
    }
    free(count);
    if (rc == VS_OK)
        *ret = v;
    else
        free(v);
    return rc;
}

static int open_importance(struct file *f, struct vs_error *err)
{
    struct vs_str type;
    if (fcntl(IMPORTANCE_FD, F_GETFD) < 0)
        return VS_OK;
    int rc = file_open(f, IMPORTANCE_FD, err);
    if (rc != VS_OK)
        return rc;
    if (vs_entries_str(vs_gguf_entries(f->gguf), "general.type", &type, NULL) != VS_OK || type.n != 7
        || memcmp(type.data, "imatrix", 7) != 0)
        return vs_error_set(err, VS_E_UNSUPPORTED, "the file of --imatrix is no imatrix (general.type)");
    return VS_OK;
}

/* ---- one tensor ---- */

struct job {
    struct vs_pool *pool;
    const struct vs_gguf_tensor *t;
    const struct vs_dtype_info *type;
    const float *importance;
    const uint8_t *in;
    uint8_t *out;
    float *rows;                         /* [threads, columns] */
    size_t in_bytes, out_bytes;          /* of a row */
    uint64_t first, n;                   /* rows of this chunk */
    _Atomic uint64_t next;
    _Atomic bool is_no_number;
    _Atomic uint64_t done;
};

static void convert_rows(void *context, unsigned thread)
{
    struct job *j = context;
    size_t n_cols = (size_t)j->t->ne[0];
    float *x = j->rows + thread * n_cols;
    for (uint64_t r; (r = atomic_fetch_add(&j->next, 1)) < j->n; atomic_fetch_add(&j->done, 1)) {
        const float *w = j->importance ? j->importance + (j->first + r) / j->t->ne[1] * n_cols : NULL;
        vs_dequantize((enum vs_dtype)j->t->dtype->id, j->in + r * j->in_bytes, x, n_cols);
        uint32_t greatest = 0;
        for (size_t i = 0; i < n_cols; i++) {
            uint32_t bits = vs_f32_bits(x[i]) & 0x7fffffff;
            greatest = bits > greatest ? bits : greatest;
        }
        if (greatest >= 0x7f800000)
            atomic_store(&j->is_no_number, true);
        else
            vs_quantize_row((enum vs_dtype)j->type->id, x, w, j->out + r * j->out_bytes, n_cols);
    }
}

static int convert(struct job *j, const struct file *model, unsigned n_threads, struct vs_error *err)
{
    const struct vs_gguf_tensor *t = j->t;
    uint64_t n_rows = t->ne[1] * t->ne[2] * t->ne[3], chunk = CHUNK_BYTES / (t->ne[0] * 4);
    chunk = chunk ? chunk : 1;
    chunk = chunk < n_rows ? chunk : n_rows;
    j->in_bytes = (size_t)(t->ne[0] / t->dtype->block_len * t->dtype->block_bytes);
    j->out_bytes = (size_t)(t->ne[0] / j->type->block_len * j->type->block_bytes);
    uint8_t *in = malloc(chunk * j->in_bytes), *out = malloc(chunk * j->out_bytes);
    j->rows = malloc(n_threads * t->ne[0] * sizeof(float));
    j->in = in;
    j->out = out;
    int rc = in && out && j->rows ? VS_OK : vs_error_set(err, VS_E_NOMEM, "out of memory");
    for (uint64_t at = 0; rc == VS_OK && at < n_rows; at += j->n) {
        j->first = at;
        j->n = n_rows - at < chunk ? n_rows - at : chunk;
        atomic_store(&j->next, 0);
        atomic_store(&j->done, 0);
        rc = vs_source_read(&model->source, t->offset + at * j->in_bytes, (size_t)j->n * j->in_bytes, in, err);
        if (rc != VS_OK)
            break;
        vs_pool_run(j->pool, convert_rows, j);
        vs_pool_join(j->pool);
        if (atomic_load(&j->is_no_number))
            rc = vs_error_set(err, VS_E_MALFORMED, "%.*s: a weight is not a number", (int)t->name.n, t->name.data);
        else
            rc = put(out, (size_t)j->n * j->out_bytes, err);
    }
    free(in);
    free(out);
    free(j->rows);
    return rc;
}

static int copy(const struct vs_gguf_tensor *t, const struct file *model, struct vs_error *err)
{
    uint8_t *block = malloc(CHUNK_BYTES);
    int rc = block ? VS_OK : vs_error_set(err, VS_E_NOMEM, "out of memory");
    for (uint64_t at = 0; rc == VS_OK && at < t->n_bytes;) {
        size_t n = t->n_bytes - at < CHUNK_BYTES ? (size_t)(t->n_bytes - at) : CHUNK_BYTES;
        if ((rc = vs_source_read(&model->source, t->offset + at, n, block, err)) == VS_OK)
            rc = put(block, n, err);
        at += n;
    }
    free(block);
    return rc;
}

/* ---- the file ---- */

static void put_u32(struct vs_buf *b, uint32_t v)
{
    uint8_t p[4];
    vs_store_u32le(p, v);
    vs_buf_add(b, p, 4);
}

static void put_u64(struct vs_buf *b, uint64_t v)
{
    uint8_t p[8];
    vs_store_u64le(p, v);
    vs_buf_add(b, p, 8);
}

static void put_str(struct vs_buf *b, struct vs_str s)
{
    put_u64(b, s.n);
    vs_buf_add(b, s.data, s.n);
}

static void put_key_u32(struct vs_buf *b, const char *key, uint32_t v)
{
    put_str(b, (struct vs_str){ key, strlen(key) });
    put_u32(b, VS_ENTRY_U32);
    put_u32(b, v);
}

static bool key_is(const struct vs_entry *e, const char *key)
{
    return e->key.n == strlen(key) && memcmp(e->key.data, key, e->key.n) == 0;
}

static void put_entry(struct vs_buf *b, const struct vs_entry *e)
{
    put_str(b, e->key);
    put_u32(b, (uint32_t)e->type);
    if (e->type == VS_ENTRY_ARRAY) {
        put_u32(b, (uint32_t)e->elem_type);
        put_u64(b, e->count);
    }
    vs_buf_add(b, e->data, e->n_bytes);
}

static void pad(struct vs_buf *b, uint64_t alignment)
{
    while (b->n % alignment && b->status == VS_OK)
        vs_buf_char(b, 0);
}

struct plan {
    const struct vs_dtype_info **type;   /* [tensors] */
    uint64_t *offset, n_bytes, alignment;
};

static uint64_t bytes_of(const struct vs_gguf_tensor *t, const struct vs_dtype_info *type)
{
    return type == t->dtype ? t->n_bytes : t->ne[0] / type->block_len * type->block_bytes * t->ne[1] * t->ne[2] * t->ne[3];
}

/* Everything before the data. */
static void put_head(struct vs_buf *b, const struct vs_gguf *g, const struct vs_mix *mix, const struct plan *p)
{
    const struct vs_entries *kv = vs_gguf_entries(g);
    uint64_t n = 2;
    for (size_t i = 0; i < kv->n; i++)
        n += !key_is(&kv->entry[i], "general.file_type") && !key_is(&kv->entry[i], "general.quantization_version");
    vs_buf_str(b, "GGUF");
    put_u32(b, 3);
    put_u64(b, vs_gguf_n_tensors(g));
    put_u64(b, n);
    for (size_t i = 0; i < kv->n; i++)
        if (!key_is(&kv->entry[i], "general.file_type") && !key_is(&kv->entry[i], "general.quantization_version"))
            put_entry(b, &kv->entry[i]);
    put_key_u32(b, "general.file_type", vs_mix_file_type(mix));
    put_key_u32(b, "general.quantization_version", 2);
    for (size_t i = 0; i < vs_gguf_n_tensors(g); i++) {
        const struct vs_gguf_tensor *t = vs_gguf_tensor_at(g, i);
        put_str(b, t->name);
        put_u32(b, t->n_dims);
        for (uint32_t d = 0; d < t->n_dims; d++)
            put_u64(b, t->ne[d]);
        put_u32(b, p->type[i]->id);
        put_u64(b, p->offset[i]);
    }
    pad(b, p->alignment);
}

static int make_plan(struct plan *p, const struct vs_gguf *g, const struct vs_mix *mix, char *const *overrides, int n_overrides,
                     struct vs_error *err)
{
    size_t n = vs_gguf_n_tensors(g);
    uint32_t alignment = 32;
    vs_entries_u32(vs_gguf_entries(g), "general.alignment", &alignment, NULL);
    p->alignment = alignment;
    p->type = calloc(n + 1, sizeof *p->type);
    p->offset = calloc(n + 1, sizeof *p->offset);
    if (!p->type || !p->offset)
        return vs_error_set(err, VS_E_NOMEM, "out of memory");
    if (vs_entries_find(vs_gguf_entries(g), "split.count"))
        return vs_error_set(err, VS_E_UNSUPPORTED, "one part of a split model can't be quantised; join its parts first");
    for (size_t i = 0; i < n; i++) {
        const struct vs_gguf_tensor *t = vs_gguf_tensor_at(g, i);
        p->type[i] = vs_mix_type(mix, g, t, overrides, n_overrides);
        p->offset[i] = p->n_bytes;
        p->n_bytes += (bytes_of(t, p->type[i]) + alignment - 1) / alignment * alignment;
    }
    return VS_OK;
}

static int write_file(const struct file *model, const struct file *imatrix, const struct plan *p, const struct vs_mix *mix,
                      unsigned n_threads, struct vs_error *err)
{
    struct vs_buf head = { 0 };
    uint8_t length[8];
    static const uint8_t zeros[4096];
    struct job j = { 0 };
    int rc = vs_pool_create(n_threads, &j.pool, err);
    put_head(&head, model->gguf, mix, p);
    if (rc == VS_OK && head.status != VS_OK)
        rc = vs_error_set(err, VS_E_NOMEM, "out of memory");
    vs_store_u64le(length, head.n + p->n_bytes);
    if (rc == VS_OK && (rc = put(length, sizeof length, err)) == VS_OK)
        rc = put(head.data, head.n, err);
    for (size_t i = 0; rc == VS_OK && i < vs_gguf_n_tensors(model->gguf); i++) {
        const struct vs_gguf_tensor *t = j.t = vs_gguf_tensor_at(model->gguf, i);
        float *importance = NULL;
        j.type = p->type[i];
        if (j.type == t->dtype) {
            rc = copy(t, model, err);
        } else if ((rc = importance_of(imatrix, t, &importance, err)) == VS_OK) {
            j.importance = importance;
            rc = convert(&j, model, n_threads, err);
        }
        free(importance);
        uint64_t n = bytes_of(t, j.type);
        for (uint64_t rest = (p->alignment - n % p->alignment) % p->alignment; rc == VS_OK && rest;) {
            size_t now = rest < sizeof zeros ? (size_t)rest : sizeof zeros;
            rc = put(zeros, now, err);
            rest -= now;
        }
    }
    vs_pool_free(j.pool);
    vs_buf_clear(&head);
    return rc;
}

/* All of the importance matrix, before anything is written. */
static int check_importance(const struct file *model, const struct file *imatrix, const struct plan *p, struct vs_error *err)
{
    int rc = VS_OK;
    for (size_t i = 0; rc == VS_OK && imatrix->gguf && i < vs_gguf_n_tensors(model->gguf); i++) {
        const struct vs_gguf_tensor *t = vs_gguf_tensor_at(model->gguf, i);
        float *importance = NULL;
        if (p->type[i] != t->dtype)
            rc = importance_of(imatrix, t, &importance, err);
        free(importance);
    }
    return rc;
}

static int quantize(const struct vs_mix *mix, unsigned n_threads, char *const *overrides, int n_overrides, struct vs_error *err)
{
    struct file model = { .fd = -1 }, imatrix = { .fd = -1 };
    struct plan p = { 0 };
    vs_last_words_phase("reading the file");
    int rc = file_open(&model, MODEL_FD, err);
    if (rc == VS_OK)
        rc = open_importance(&imatrix, err);
    if (rc == VS_OK)
        rc = make_plan(&p, model.gguf, mix, overrides, n_overrides, err);
    if (rc == VS_OK)
        rc = check_importance(&model, &imatrix, &p, err);
    vs_last_words_phase("quantising");
    if (rc == VS_OK)
        rc = write_file(&model, &imatrix, &p, mix, n_threads, err);
    free(p.type);
    free(p.offset);
    vs_header_close(imatrix.header);
    vs_header_close(model.header);
    return rc;
}

static int say(const struct vs_error *err)
{
    vs_last_words_say(err->code, err->text);
    return vs_status_exit(err->code);
}

static int no_mix(const char *name, struct vs_error *err)
{
    char list[400];
    size_t n = 0;
    for (size_t i = 0; vs_mix_name(i) && n < sizeof list; i++)
        n += (size_t)snprintf(list + n, sizeof list - n, " %s", vs_mix_name(i));
    return vs_error_set(err, VS_E_UNSUPPORTED, "--type %.40s can't be made; these can:%s", name, list);
}

int vs_quantize_main(int argc, char **argv)
{
    struct vs_error err = { 0 };
    if (argc < 4 || fcntl(OUT_FD, F_GETFD) < 0 || fcntl(MODEL_FD, F_GETFD) < 0 || fcntl(WORDS_FD, F_GETFD) < 0) {
        fprintf(stderr, "veritas-worker --quantize is started by `veritas quantize`\n");
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN);
    if (vs_last_words_attach(WORDS_FD) != VS_OK)
        return 1;
    const struct vs_mix *mix = vs_mix_find(argv[2]);
    long n_threads = strtol(argv[3], NULL, 10);
    int rc = mix ? VS_OK : no_mix(argv[2], &err);
    for (int i = 4; rc == VS_OK && i < argc; i++)
        rc = vs_mix_check_override(argv[i], &err);
    struct vs_sandbox_options options = {
        .profile = VS_SANDBOX_WORKER, .words_fd = WORDS_FD,
        .keep_fds = 1u << OUT_FD | 1u << MODEL_FD | (fcntl(IMPORTANCE_FD, F_GETFD) >= 0 ? 1u << IMPORTANCE_FD : 0),
    };
    struct vs_sandbox_report report;
    if (rc == VS_OK && (rc = vs_sandbox_options_parse(getenv("VERITAS_SANDBOX"), &options, &err)) == VS_OK)
        rc = vs_sandbox_enter(&options, &report, &err);
    vs_fp_control_set();
    n_threads = n_threads < 1 ? 1 : n_threads > MAX_THREADS ? MAX_THREADS : n_threads;
    if (rc == VS_OK)
        rc = quantize(mix, (unsigned)n_threads, argv + 4, argc - 4, &err);
    return rc == VS_OK ? 0 : say(&err);
}
