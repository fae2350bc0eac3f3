/* import/header.c - see header.h */
#include "import/header.h"

#include "import/gguf.h"
#include "import/llm.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { FIRST_READ = 8 << 20 };

struct vs_header {
    uint8_t *head;
    size_t n_head;
    struct vs_gguf *gguf;
};

/* Reads [h->n_head, n) more bytes of the header. */
static int read_head(struct vs_header *h, const struct vs_source *file, size_t n, struct vs_error *err)
{
    uint8_t *head = realloc(h->head, n);
    if (!head)
        return vs_error_set(err, VS_E_NOMEM, "model: no memory for a header of %zu bytes", n);
    h->head = head;
    int r = vs_source_read(file, h->n_head, n - h->n_head, h->head + h->n_head, err);
    if (r == VS_OK)
        h->n_head = n;
    return r;
}

int vs_header_open(const struct vs_source *file, struct vs_header **ret, struct vs_error *err)
{
    struct vs_header *h = calloc(1, sizeof *h);
    if (!h)
        return vs_error_set(err, VS_E_NOMEM, "model: out of memory");
    int r = VS_E_SHORT;
    for (uint64_t want = FIRST_READ; r == VS_E_SHORT; want *= 4) {
        bool all = want >= file->n_bytes;
        r = read_head(h, file, (size_t)(all ? file->n_bytes : want), err);
        if (r == VS_OK)
            r = vs_gguf_open(h->head, h->n_head, file->n_bytes, &h->gguf, err);
        if (r == VS_E_SHORT && all)
            r = vs_error_set(err, VS_E_MALFORMED, "model: the file ends inside its header");
    }
    if (r != VS_OK) {
        vs_header_close(h);
        return r;
    }
    size_t n_used;
    vs_header_bytes(h, &n_used);
    /* What was read beyond the header is not looked at again: its pages go back. */
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), end = ((uintptr_t)h->head + h->n_head) / page * page;
    uintptr_t from = ((uintptr_t)h->head + n_used + page - 1) / page * page;
    if (from < end)
        madvise((void *)from, end - from, MADV_DONTNEED);
    *ret = h;
    return VS_OK;
}

void vs_header_close(struct vs_header *h)
{
    if (!h)
        return;
    vs_gguf_close(h->gguf);
    free(h->head);
    free(h);
}

const struct vs_gguf *vs_header_gguf(const struct vs_header *h)
{
    return h->gguf;
}

const struct vs_entries *vs_header_entries(const struct vs_header *h)
{
    return vs_gguf_entries(h->gguf);
}

int vs_header_graph(const struct vs_header *h, struct vs_graph *ret, struct vs_error *err)
{
    return vs_import_llm(h->gguf, ret, err);
}

const void *vs_header_bytes(const struct vs_header *h, size_t *ret_n)
{
    uint64_t data = vs_gguf_data_start(h->gguf);
    *ret_n = data < h->n_head ? (size_t)data : h->n_head;
    return h->head;
}
