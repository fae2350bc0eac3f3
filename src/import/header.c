/* import/header.c - see header.h */
#include "import/header.h"

#include "graph/graph.h"
#include "import/adapter.h"
#include "import/gguf.h"
#include "import/llm.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { FIRST_READ = 8 << 20 };

struct head {                            /* of a part */
    uint8_t *bytes;
    size_t n;
    uint64_t start, n_file;              /* where the part begins, how long it is */
    struct vs_gguf *gguf;
};

struct vs_header {
    unsigned n_parts;
    struct head *parts;
    unsigned n_adapters;
    struct vs_adapter *adapters[VS_MAX_ADAPTERS];
};

/* Reads [p->n, n) more bytes of the header. */
static int read_head(struct head *p, const struct vs_source *file, size_t n, struct vs_error *err)
{
    uint8_t *bytes = realloc(p->bytes, n ? n : 1);
    if (!bytes)
        return vs_error_set(err, VS_E_NOMEM, "model: no memory for a header of %zu bytes", n);
    p->bytes = bytes;
    int r = vs_source_read(file, p->start + p->n, n - p->n, p->bytes + p->n, err);
    if (r == VS_OK)
        p->n = n;
    return r;
}

static size_t n_used(const struct head *p)
{
    uint64_t data = vs_gguf_data_start(p->gguf);
    return data < p->n ? (size_t)data : p->n;
}

static int open_part(struct head *p, const struct vs_source *file, struct vs_error *err)
{
    int r = VS_E_SHORT;
    for (uint64_t want = FIRST_READ; r == VS_E_SHORT; want *= 4) {
        bool all = want >= p->n_file;
        r = read_head(p, file, (size_t)(all ? p->n_file : want), err);
        if (r == VS_OK)
            r = vs_gguf_open(p->bytes, p->n, p->n_file, &p->gguf, err);
        if (r == VS_E_SHORT && all)
            r = vs_error_set(err, VS_E_MALFORMED, "model: the file ends inside its header");
    }
    if (r != VS_OK)
        return r;
    /* What was read beyond the header is not looked at again: its pages go back. */
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), end = ((uintptr_t)p->bytes + p->n) / page * page;
    uintptr_t from = ((uintptr_t)p->bytes + n_used(p) + page - 1) / page * page;
    if (from < end)
        madvise((void *)from, end - from, MADV_DONTNEED);
    return VS_OK;
}

/* The first part's tables get what the others have. */
static int join(struct vs_header *h, struct vs_error *err)
{
    unsigned n = h->n_parts - 1;
    struct vs_gguf **others = malloc((n + 1) * sizeof *others);
    uint64_t *start = malloc((n + 1) * sizeof *start);
    int r = others && start ? VS_OK : vs_error_set(err, VS_E_NOMEM, "model: out of memory");
    for (unsigned i = 0; i < n && r == VS_OK; i++) {
        others[i] = h->parts[i + 1].gguf;
        start[i] = h->parts[i + 1].start;
    }
    if (r == VS_OK)
        r = vs_gguf_join(h->parts[0].gguf, others, start, n, err);
    free(others);
    free(start);
    return r;
}

int vs_header_open(const struct vs_source *file, struct vs_header **ret, struct vs_error *err)
{
    struct vs_header *h = calloc(1, sizeof *h);
    unsigned n = file->n_parts ? file->n_parts : 1;
    struct head *parts = h ? calloc(n, sizeof *parts) : NULL;
    if (!parts) {
        free(h);
        return vs_error_set(err, VS_E_NOMEM, "model: out of memory");
    }
    *h = (struct vs_header){ .n_parts = n, .parts = parts };
    int r = VS_OK;
    for (unsigned i = 0; i < n && r == VS_OK; i++) {
        struct vs_error why = { 0 };
        parts[i].start = i ? file->part_end[i - 1] : 0;
        parts[i].n_file = (file->n_parts ? file->part_end[i] : file->n_bytes) - parts[i].start;
        r = open_part(&parts[i], file, &why);
        if (r != VS_OK && n > 1)
            vs_error_set(err, r, "file %u of %u: %s", i + 1, n, why.text);
        else if (r != VS_OK)
            vs_error_set(err, r, "%s", why.text);
    }
    if (r == VS_OK && n > 1)
        r = join(h, err);
    if (r != VS_OK) {
        vs_header_close(h);
        return r;
    }
    *ret = h;
    return VS_OK;
}

void vs_header_close(struct vs_header *h)
{
    if (!h)
        return;
    for (unsigned i = 0; i < h->n_parts; i++) {
        vs_gguf_close(h->parts[i].gguf);
        free(h->parts[i].bytes);
    }
    for (unsigned i = 0; i < h->n_adapters; i++)
        vs_adapter_close(h->adapters[i]);
    free(h->parts);
    free(h);
}

const struct vs_gguf *vs_header_gguf(const struct vs_header *h)
{
    return h->parts[0].gguf;
}

const struct vs_entries *vs_header_entries(const struct vs_header *h)
{
    return vs_gguf_entries(h->parts[0].gguf);
}

int vs_header_adapt(struct vs_header *h, const struct vs_source *file, uint64_t start, uint64_t n_bytes, struct vs_error *err)
{
    if (h->n_adapters == VS_MAX_ADAPTERS)
        return vs_error_set(err, VS_E_LIMIT, "a model may have %d adapters", VS_MAX_ADAPTERS);
    int r = vs_adapter_open(file, start, n_bytes, h->parts[0].gguf, &h->adapters[h->n_adapters], err);
    h->n_adapters += r == VS_OK;
    return r;
}

int vs_header_graph(const struct vs_header *h, struct vs_graph *ret, struct vs_error *err)
{
    return vs_import_adapted(h->parts[0].gguf, h->adapters, h->n_adapters, ret, err);
}

unsigned vs_header_n_parts(const struct vs_header *h)
{
    return h->n_parts;
}

const void *vs_header_bytes(const struct vs_header *h, unsigned part, uint64_t *ret_at, size_t *ret_n)
{
    *ret_at = h->parts[part].start;
    *ret_n = n_used(&h->parts[part]);
    return h->parts[part].bytes;
}
