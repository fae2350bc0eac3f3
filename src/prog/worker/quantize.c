/* prog/worker/quantize.c - see quantize.h */
#include "prog/worker/quantize.h"
#include "prog/worker/make.h"
#include "prog/worker/mix.h"

#include "base/buf.h"
#include "base/num.h"
#include "cpu/pool.h"
#include "import/gguf.h"
#include "import/header.h"
#include "import/imatrix.h"
#include "sandbox/sandbox.h"
#include "tensor/quantize.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK_BYTES = 16 << 20 };

struct file {
    struct vs_make_parts parts;
    struct vs_source source;
    struct vs_header *header;
    const struct vs_gguf *gguf;
};

static int file_open(struct file *f, struct vs_error *err)
{
    int rc = vs_make_parts(&f->parts, &f->source, err);
    if (rc == VS_OK)
        rc = vs_header_open(&f->source, &f->header, err);
    if (rc == VS_OK)
        f->gguf = vs_header_gguf(f->header);
    return rc;
}

/* What the importance matrix has of a tensor; *ret NULL: nothing. */
static int importance_of(const struct vs_imatrix *imatrix, const struct vs_gguf_tensor *t, float **ret, struct vs_error *err)
{
    char name[64];
    *ret = NULL;
    if (!imatrix || t->name.n >= sizeof name)
        return VS_OK;
    snprintf(name, sizeof name, "%.*s", (int)t->name.n, t->name.data);
    return vs_imatrix_of(imatrix, name, t->ne[0], t->ne[2], ret, err);
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
            rc = vs_make_put(out, (size_t)j->n * j->out_bytes, err);
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
            rc = vs_make_put(block, n, err);
        at += n;
    }
    free(block);
    return rc;
}

/* ---- the file ---- */

static void put_str(struct vs_buf *b, struct vs_str s)
{
    vs_buf_u64le(b, s.n);
    vs_buf_add(b, s.data, s.n);
}

static void put_key_u32(struct vs_buf *b, const char *key, uint32_t v)
{
    put_str(b, (struct vs_str){ key, strlen(key) });
    vs_buf_u32le(b, VS_ENTRY_U32);
    vs_buf_u32le(b, v);
}

/* What the new file says itself, or is no longer true of it. */
static bool is_left_out(const struct vs_entry *e)
{
    static const char *const keys[] = { "general.file_type", "general.quantization_version", "split.no", "split.count",
                                        "split.tensors.count" };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (e->key.n == strlen(keys[i]) && memcmp(e->key.data, keys[i], e->key.n) == 0)
            return true;
    return false;
}

static void put_entry(struct vs_buf *b, const struct vs_entry *e)
{
    put_str(b, e->key);
    vs_buf_u32le(b, (uint32_t)e->type);
    if (e->type == VS_ENTRY_ARRAY) {
        vs_buf_u32le(b, (uint32_t)e->elem_type);
        vs_buf_u64le(b, e->count);
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
        n += !is_left_out(&kv->entry[i]);
    vs_buf_str(b, "GGUF");
    vs_buf_u32le(b, 3);
    vs_buf_u64le(b, vs_gguf_n_tensors(g));
    vs_buf_u64le(b, n);
    for (size_t i = 0; i < kv->n; i++)
        if (!is_left_out(&kv->entry[i]))
            put_entry(b, &kv->entry[i]);
    put_key_u32(b, "general.file_type", vs_mix_file_type(mix));
    put_key_u32(b, "general.quantization_version", 2);
    for (size_t i = 0; i < vs_gguf_n_tensors(g); i++) {
        const struct vs_gguf_tensor *t = vs_gguf_tensor_at(g, i);
        put_str(b, t->name);
        vs_buf_u32le(b, t->n_dims);
        for (uint32_t d = 0; d < t->n_dims; d++)
            vs_buf_u64le(b, t->ne[d]);
        vs_buf_u32le(b, p->type[i]->id);
        vs_buf_u64le(b, p->offset[i]);
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
    for (int i = 0; i < n_overrides; i++) {
        int rc = vs_mix_check_fits(overrides[i], g, err);
        if (rc != VS_OK)
            return rc;
    }
    for (size_t i = 0; i < n; i++) {
        const struct vs_gguf_tensor *t = vs_gguf_tensor_at(g, i);
        p->type[i] = vs_mix_type(mix, g, t, overrides, n_overrides);
        p->offset[i] = p->n_bytes;
        p->n_bytes += (bytes_of(t, p->type[i]) + alignment - 1) / alignment * alignment;
    }
    return VS_OK;
}

static int write_file(const struct file *model, const struct vs_imatrix *imatrix, const struct plan *p, const struct vs_mix *mix,
                      unsigned n_threads, struct vs_error *err)
{
    struct vs_buf head = { 0 };
    static const uint8_t zeros[4096];
    struct job j = { 0 };
    int rc = vs_pool_create(n_threads, &j.pool, err);
    put_head(&head, model->gguf, mix, p);
    if (rc == VS_OK && head.status != VS_OK)
        rc = vs_error_set(err, VS_E_NOMEM, "out of memory");
    if (rc == VS_OK && (rc = vs_make_length(head.n + p->n_bytes, err)) == VS_OK)
        rc = vs_make_put(head.data, head.n, err);
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
            rc = vs_make_put(zeros, now, err);
            rest -= now;
        }
    }
    vs_pool_free(j.pool);
    vs_buf_clear(&head);
    return rc;
}

/* All of the importance matrix, before anything is written. */
static int check_importance(const struct file *model, const struct vs_imatrix *imatrix, const struct plan *p, struct vs_error *err)
{
    int rc = VS_OK;
    for (size_t i = 0; rc == VS_OK && imatrix && i < vs_gguf_n_tensors(model->gguf); i++) {
        const struct vs_gguf_tensor *t = vs_gguf_tensor_at(model->gguf, i);
        float *importance = NULL;
        if (p->type[i] != t->dtype)
            rc = importance_of(imatrix, t, &importance, err);
        free(importance);
    }
    return rc;
}

/* The descriptors: the model's parts, and what is left, an importance matrix; -1: none. */
static int sort_files(const struct vs_files *others, const char *n_parts, struct vs_make_parts *ret, int *ret_imatrix,
                      struct vs_error *err)
{
    unsigned long n = strtoul(n_parts, NULL, 10);
    if (n < 1 || n > VS_MAX_PARTS || n - 1 > others->n)
        return vs_error_set(err, VS_E_PROTOCOL, "%lu parts, and %u descriptors", n, others->n);
    ret->n = (unsigned)n;
    ret->fd[0] = VS_MAKE_INPUT;
    for (unsigned i = 1; i < n; i++)
        ret->fd[i] = others->fd[i - 1];
    *ret_imatrix = others->n >= n ? others->fd[n - 1] : -1;
    return VS_OK;
}

static int quantize(const struct vs_mix *mix, const struct vs_files *others, char **words, int n_words, struct vs_error *err)
{
    struct file model = { 0 };
    struct vs_source source;
    struct vs_imatrix *imatrix = NULL;
    struct plan p = { 0 };
    int imatrix_fd = -1;
    vs_last_words_phase("reading the file");
    int rc = sort_files(others, words[1], &model.parts, &imatrix_fd, err);
    if (rc == VS_OK)
        rc = file_open(&model, err);
    if (rc == VS_OK && imatrix_fd >= 0 && (rc = vs_make_source(&imatrix_fd, &source, err)) == VS_OK)
        rc = vs_imatrix_open(&source, &imatrix, err);
    if (rc == VS_OK)
        rc = make_plan(&p, model.gguf, mix, words + 2, n_words - 2, err);
    if (rc == VS_OK)
        rc = check_importance(&model, imatrix, &p, err);
    vs_last_words_phase("quantising");
    if (rc == VS_OK)
        rc = write_file(&model, imatrix, &p, mix, vs_make_threads(words[0]), err);
    free(p.type);
    free(p.offset);
    vs_imatrix_close(imatrix);
    vs_header_close(model.header);
    return rc;
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
    struct vs_files others;
    if (argc < 5 || vs_make_begin("quantize") != VS_OK)
        return 2;
    const struct vs_mix *mix = vs_mix_find(argv[2]);
    int rc = mix ? VS_OK : no_mix(argv[2], &err);
    for (int i = 5; rc == VS_OK && i < argc; i++)
        rc = vs_mix_check_override(argv[i], &err);
    if (rc == VS_OK)
        rc = vs_make_enter(&others, &err);
    if (rc == VS_OK)
        rc = quantize(mix, &others, argv + 3, argc - 3, &err);
    return vs_make_end(rc, &err);
}
