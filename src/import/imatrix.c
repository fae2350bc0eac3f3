/* import/imatrix.c - see imatrix.h */
#include "import/imatrix.h"

#include "base/bytes.h"
#include "base/entry.h"
#include "base/num.h"
#include "import/gguf.h"
#include "import/header.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_NAME = 63, MAX_ENTRIES = 1 << 20, MAX_GGUF_NAME = 100 };

/* Of the older format: values lie one behind the other, each a sum over so many calls. */
struct old {
    struct vs_str key;                   /* its bytes are `name` */
    char name[MAX_NAME + 1];
    uint64_t offset, n;
    uint32_t n_calls;
};

struct vs_imatrix {
    struct vs_source source;
    struct vs_header *header;            /* GGUF; NULL: the older format */
    struct old *old;
    size_t n_old;
    uint32_t *index;
};

static struct vs_shown shown(const char *name)
{
    return vs_str_shown((struct vs_str){ name, strlen(name) });
}

/* ---- the older format ---- */

static int u32_at(const struct vs_source *s, uint64_t *io_at, uint32_t *ret, struct vs_error *err)
{
    uint8_t p[4];
    if (s->n_bytes - *io_at < sizeof p)
        return vs_error_set(err, VS_E_MALFORMED, "the imatrix ends early");
    int rc = vs_source_read(s, *io_at, sizeof p, p, err);
    *io_at += sizeof p;
    *ret = vs_load_u32le(p);
    return rc;
}

static int read_entry(struct vs_imatrix *m, uint64_t *io_at, struct old *o, struct vs_error *err)
{
    uint32_t len = 0, n = 0;
    int rc = u32_at(&m->source, io_at, &len, err);
    if (rc == VS_OK && (len < 1 || len > MAX_NAME || m->source.n_bytes - *io_at < len))
        rc = vs_error_set(err, VS_E_MALFORMED, "the imatrix: a name of %u bytes at byte %llu", len, (unsigned long long)*io_at);
    if (rc == VS_OK)
        rc = vs_source_read(&m->source, *io_at, len, o->name, err);
    if (rc == VS_OK) {
        *io_at += len;
        rc = u32_at(&m->source, io_at, &o->n_calls, err);
    }
    if (rc == VS_OK)
        rc = u32_at(&m->source, io_at, &n, err);
    if (rc != VS_OK)
        return rc;
    o->n = n;
    o->offset = *io_at;
    if (!n || (m->source.n_bytes - *io_at) / sizeof(float) < n)
        return vs_error_set(err, VS_E_MALFORMED, "the imatrix: %s: %u values do not fit into the file", shown(o->name).text, n);
    *io_at += n * sizeof(float);
    return VS_OK;
}

static int open_old(struct vs_imatrix *m, struct vs_error *err)
{
    uint64_t at = 0;
    uint32_t n = 0;
    int rc = u32_at(&m->source, &at, &n, err);
    if (rc == VS_OK && (n < 1 || n > MAX_ENTRIES || n > m->source.n_bytes / 17))
        rc = vs_error_set(err, VS_E_MALFORMED, "the file of --imatrix is no imatrix: it is not GGUF, and begins with no number of "
                          "tensors");
    if (rc == VS_OK && !(m->old = calloc(n, sizeof *m->old)))
        rc = vs_error_set(err, VS_E_NOMEM, "out of memory");
    for (uint32_t i = 0; rc == VS_OK && i < n; i++) {
        rc = read_entry(m, &at, &m->old[i], err);
        m->old[i].key = (struct vs_str){ m->old[i].name, strlen(m->old[i].name) };
        m->n_old = i + 1;
    }
    struct vs_str twice;
    if (rc == VS_OK && (rc = vs_names_index(m->old, sizeof *m->old, m->n_old, &m->index, &twice)) != VS_OK)
        rc = rc == VS_E_NOMEM ? vs_error_set(err, rc, "out of memory")
                              : vs_error_set(err, VS_E_MALFORMED, "the imatrix: %s is there twice", vs_str_shown(twice).text);
    return rc;
}

static const struct old *find_old(const struct vs_imatrix *m, const char *name)
{
    return vs_names_find(m->old, sizeof *m->old, m->index, m->n_old, name);
}

/* ---- GGUF ---- */

static int open_gguf(struct vs_imatrix *m, struct vs_error *err)
{
    struct vs_str type;
    int rc = vs_header_open(&m->source, &m->header, err);
    if (rc != VS_OK)
        return rc;
    if (vs_entries_str(vs_header_entries(m->header), "general.type", &type, NULL) != VS_OK || type.n != 7
        || memcmp(type.data, "imatrix", 7) != 0)
        return vs_error_set(err, VS_E_UNSUPPORTED, "the file of --imatrix is no imatrix (general.type)");
    return VS_OK;
}

static const struct vs_gguf_tensor *part_of(const struct vs_imatrix *m, const char *name, const char *end)
{
    char full[MAX_GGUF_NAME + 16];
    snprintf(full, sizeof full, "%s.%s", name, end);
    return vs_gguf_tensor(vs_header_gguf(m->header), full);
}

/* ---- both ---- */

int vs_imatrix_open(const struct vs_source *file, struct vs_imatrix **ret, struct vs_error *err)
{
    uint8_t magic[4] = { 0 };
    struct vs_imatrix *m = calloc(1, sizeof *m);
    if (!m)
        return vs_error_set(err, VS_E_NOMEM, "out of memory");
    m->source = *file;
    int rc = file->n_bytes < sizeof magic ? vs_error_set(err, VS_E_MALFORMED, "the imatrix ends early")
                                          : vs_source_read(file, 0, sizeof magic, magic, err);
    if (rc == VS_OK)
        rc = memcmp(magic, "GGUF", 4) == 0 ? open_gguf(m, err) : open_old(m, err);
    if (rc != VS_OK) {
        vs_imatrix_close(m);
        return rc;
    }
    *ret = m;
    return VS_OK;
}

void vs_imatrix_close(struct vs_imatrix *m)
{
    if (!m)
        return;
    vs_header_close(m->header);
    free(m->old);
    free(m->index);
    free(m);
}

/* values[n], each a sum over count[i / n_columns] rows, as mean squares. */
static int to_means(float *values, uint64_t n, const float *count, uint64_t n_columns, const char *name, struct vs_error *err)
{
    for (uint64_t i = 0; i < n; i++) {
        float c = count[i / n_columns];
        values[i] = c > 0 ? values[i] / c : 1;                   /* an expert that was never asked: all columns alike */
        if (!(values[i] >= 0) || vs_f32_bits(values[i]) >= 0x7f800000)
            return vs_error_set(err, VS_E_MALFORMED, "the imatrix: %s has a value that is no mean square", shown(name).text);
    }
    return VS_OK;
}

static int other_shape(const char *name, uint64_t n_columns, uint64_t n_matrices, struct vs_error *err)
{
    return vs_error_set(err, VS_E_MALFORMED, "the imatrix is of another model: %s has %llu columns and %llu experts here",
                        shown(name).text, (unsigned long long)n_columns, (unsigned long long)n_matrices);
}

int vs_imatrix_of(const struct vs_imatrix *m, const char *name, uint64_t n_columns, uint64_t n_matrices, float **ret,
                  struct vs_error *err)
{
    *ret = NULL;
    if (strlen(name) > MAX_GGUF_NAME)
        return VS_OK;
    uint64_t n = n_columns * n_matrices, at;
    const struct vs_gguf_tensor *sums = m->header ? part_of(m, name, "in_sum2") : NULL;
    const struct vs_gguf_tensor *counts = m->header ? part_of(m, name, "counts") : NULL;
    const struct old *o = m->header ? NULL : find_old(m, name);
    if (!sums && !counts && !o)
        return VS_OK;
    if (o ? o->n != n : !sums || !counts || sums->dtype->id != VS_F32 || counts->dtype->id != VS_F32 || sums->ne[0] != n_columns
                        || sums->ne[1] != n_matrices || sums->n_bytes != n * sizeof(float)
                        || counts->n_bytes != n_matrices * sizeof(float))
        return other_shape(name, n_columns, n_matrices, err);
    float *v = malloc((n ? n : 1) * sizeof *v), *count = malloc((n_matrices ? n_matrices : 1) * sizeof *count);
    int rc = v && count ? VS_OK : vs_error_set(err, VS_E_NOMEM, "out of memory");
    at = o ? o->offset : sums->offset;
    if (rc == VS_OK)
        rc = vs_source_read(&m->source, at, n * sizeof *v, v, err);
    if (rc == VS_OK && !o)
        rc = vs_source_read(&m->source, counts->offset, n_matrices * sizeof *count, count, err);
    for (uint64_t i = 0; rc == VS_OK && o && i < n_matrices; i++)
        count[i] = (float)o->n_calls;
    if (rc == VS_OK)
        rc = to_means(v, n, count, n_columns, name, err);
    free(count);
    if (rc == VS_OK)
        *ret = v;
    else
        free(v);
    return rc;
}
