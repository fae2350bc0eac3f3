/* cpu/load.c - weights from the file's blocks to where the kernels read them, by all threads at once. */
#include "cpu/internal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct load {
    struct vs_cpu *c;
    const struct vs_graph *g;
    const uint8_t *file;
    struct piece { uint32_t tensor; size_t begin, end; } *pieces;
    size_t n_pieces;
    _Atomic size_t next;
    _Atomic uint64_t done;
    uint64_t total;
    vs_progress_fn *progress;
    void *context;
    _Atomic int status;
};

/* Bytes [begin, end) from base, in the mapped file, will not be read again: whole pages of them are given back, so that the file and its packed
 * copy are never in memory both. What is read again all the same (a page that two pieces share) comes back from the page cache. */
static void forget(const uint8_t *base, size_t begin, size_t end)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t from = ((uintptr_t)base + begin + page - 1) / page * page, to = ((uintptr_t)base + end) / page * page;
    if (from < to)
        madvise((void *)from, to - from, MADV_DONTNEED);
}

static void load_thread(void *context, unsigned thread)
{
    struct load *l = context;
    for (;;) {
        size_t i = atomic_fetch_add(&l->next, 1);
        if (i >= l->n_pieces || atomic_load(&l->status) != VS_OK)
            return;
        const struct piece *p = &l->pieces[i];
        struct vs_weight *w = &l->c->weights[p->tensor];
        const uint8_t *from = l->file + l->g->tensors[p->tensor].offset;
        uint8_t *to = l->c->weight_memory + (w->matrix.data - l->c->weight_memory);
        uint64_t n;
        if (w->matrix.packed) {
            vs_matrix_pack(&w->matrix, from, to, p->begin, p->end);
            n = (p->end - p->begin) * vs_matrix_panel_bytes(&w->matrix);
        } else {
            memcpy(to + p->begin, from + p->begin, p->end - p->begin);
            n = p->end - p->begin;
        }
        size_t unit = w->matrix.packed ? VS_PANEL_ROWS * vs_matrix_row_bytes(&w->matrix) : 1;       /* bytes of the file */
        if (l->c->config.give_back)
            forget(from, p->begin * unit, p->end * unit);
        uint64_t done = atomic_fetch_add(&l->done, n) + n;
        if (thread == 0 && l->progress) {
            int r = l->progress(l->context, done, l->total);
            if (r != VS_OK)
                atomic_store(&l->status, r);
        }
    }
}

enum { PIECE_BYTES = 1 << 19 };

static size_t piece_step(const struct vs_weight *w)      /* panels, or bytes when not packed */
{
    if (!w->matrix.packed)
        return PIECE_BYTES;
    size_t panels = PIECE_BYTES / vs_matrix_panel_bytes(&w->matrix);
    return panels ? panels : 1;
}

static size_t piece_end(const struct vs_weight *w)
{
    return w->matrix.packed ? vs_matrix_n_panels(&w->matrix) : vs_matrix_bytes(&w->matrix);
}

/* Copies or packs every tensor in the graph's order, all threads at once. */
int vs_cpu_load(struct vs_cpu *c, const struct vs_graph *g, const uint8_t *file, uint64_t n_file,
                vs_progress_fn *progress, void *context, struct vs_error *err)
{
    (void)n_file;
    struct load l = { .c = c, .g = g, .file = file, .progress = progress, .context = context };
    size_t at = 0, n = 0;
    for (uint32_t i = 0; i < g->n_tensors; i++) {        /* data holds the offset until the memory is there */
        struct vs_weight *w = &c->weights[i];
        size_t bytes = vs_matrix_bytes(&w->matrix);
        w->matrix.data = (const uint8_t *)at;
        at += (bytes + 63 + 64) / 64 * 64;               /* kernels may read a vector past the end */
        l.total += bytes;
        n += (piece_end(w) + piece_step(w) - 1) / piece_step(w);
    }
    c->weight_bytes = at;
    c->weight_memory = vs_cpu_reserve(at);
    l.pieces = malloc((n ? n : 1) * sizeof *l.pieces);
    if (!c->weight_memory || !l.pieces) {
        free(l.pieces);
        return vs_error_set(err, VS_E_NOMEM, "model: %zu MB for the weights can't be had: end other programs, raise the memory limit, or take a smaller model", at >> 20);
    }
    for (uint32_t i = 0; i < g->n_tensors; i++) {
        struct vs_weight *w = &c->weights[i];
        w->matrix.data = c->weight_memory + (size_t)w->matrix.data;
        for (size_t begin = 0, end = piece_end(w), step = piece_step(w); begin < end; begin += step)
            l.pieces[l.n_pieces++] = (struct piece){ i, begin, begin + step < end ? begin + step : end };
    }
    vs_pool_run(c->pool, load_thread, &l);
    vs_pool_join(c->pool);
    free(l.pieces);
    if (atomic_load(&l.status) != VS_OK)
        return vs_error_set(err, atomic_load(&l.status), "model: loading was stopped");
    return VS_OK;
}
