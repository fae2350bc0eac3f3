/* cpu/load.c - weights from the file's blocks to where the kernels read them, by all threads at once.
 *
 * A thread takes a piece: reads it into memory of its own and packs it from there, or straight to its place when the file's own
 * blocks are kept. So nothing is looked at twice, whatever happens to the file meanwhile, and the file and its packed copy
 * are never in memory both. */
#include "cpu/internal.h"
#include "tensor/indexed.h"

#include <stdlib.h>

struct load {
    struct vs_cpu *c;
    const struct vs_graph *g;
    const struct vs_source *file;
    struct piece { uint32_t tensor; size_t begin, end; } *pieces;
    size_t n_pieces;
    uint8_t *raw;                        /* for each thread: the largest piece as it is in the file */
    size_t raw_bytes;
    _Atomic size_t next;
    _Atomic uint64_t done;
    uint64_t total;
    vs_progress_fn *progress;
    void *context;
    _Atomic int status;                  /* the first fault's; err has its text */
    struct vs_error *err;
};

static void stop(struct load *l, const struct vs_error *why)
{
    int none = VS_OK;
    if (atomic_compare_exchange_strong(&l->status, &none, why->code) && l->err)
        *l->err = *why;
}

/* Where the piece is in its tensor's part of the file. */
static void file_range(const struct vs_weight *w, const struct piece *p, size_t *ret_from, size_t *ret_n)
{
    size_t unit = 1, end = p->end;
    if (w->matrix.packed) {
        unit = vs_matrix_row_bytes(&w->matrix);
        end = p->end * VS_PANEL_ROWS < w->matrix.n_rows ? p->end * VS_PANEL_ROWS : w->matrix.n_rows;
    }
    *ret_from = p->begin * (w->matrix.packed ? VS_PANEL_ROWS : 1) * unit;
    *ret_n = end * unit - *ret_from;
}

static size_t block_bytes(const struct vs_weight *w)
{
    return vs_dtype_info((uint32_t)w->matrix.dtype)->block_bytes;
}

static void load_thread(void *context, unsigned thread)
{
    struct load *l = context;
    uint8_t *raw = l->raw + thread * l->raw_bytes;
    struct vs_error err = { 0 };
    for (size_t i; atomic_load(&l->status) == VS_OK && (i = atomic_fetch_add(&l->next, 1)) < l->n_pieces;) {
        const struct piece *p = &l->pieces[i];
        struct vs_weight *w = &l->c->memory.weights[p->tensor];
        uint8_t *to = l->c->memory.weight_memory + (w->matrix.data - l->c->memory.weight_memory);
        size_t from, n;
        file_range(w, p, &from, &n);
        uint8_t *got = w->matrix.packed ? raw : to + from;
        int r = vs_source_read(l->file, l->g->tensors[p->tensor].offset + from, n, got, &err);
        if (r == VS_OK && w->matrix.indexed && !vs_indexed_sound(w->matrix.indexed, got, n / block_bytes(w)))
            r = vs_error_set(&err, VS_E_MALFORMED, "model: %s: a %s scale is not a number", l->g->tensors[p->tensor].name,
                             vs_dtype_info((uint32_t)w->matrix.dtype)->name);
        if (r == VS_OK && w->matrix.packed)
            vs_matrix_pack(&w->matrix, raw, to, p->begin, p->end);
        uint64_t done = atomic_fetch_add(&l->done, n) + n;
        if (r == VS_OK && thread == 0 && l->progress && (r = l->progress(l->context, done, l->total)) != VS_OK)
            vs_error_set(&err, r, "model: loading was stopped");
        if (r != VS_OK)
            stop(l, &err);
    }
}

enum { PIECE_BYTES = 1 << 19 };

static size_t piece_step(const struct vs_weight *w)      /* panels, or bytes of whole blocks when not packed */
{
    if (!w->matrix.packed)
        return PIECE_BYTES / block_bytes(w) * block_bytes(w);
    size_t panels = PIECE_BYTES / vs_matrix_panel_bytes(&w->matrix);
    return panels ? panels : 1;
}

static size_t piece_end(const struct vs_weight *w)
{
    return w->matrix.packed ? vs_matrix_n_panels(&w->matrix) : vs_matrix_bytes(&w->matrix);
}

static size_t kept_bytes(const struct vs_weight *w)
{
    return (vs_matrix_bytes(&w->matrix) + 63 + 64) / 64 * 64;    /* kernels may read a vector past the end */
}

static size_t vector_bytes(const struct vs_weight *w)    /* of its copy as F32 */
{
    return w->widened ? ((size_t)w->matrix.n_rows * w->matrix.n_cols * sizeof(float) + 63) / 64 * 64 : 0;
}

static void widen(struct vs_cpu *c, struct vs_weight *w)
{
    float *to = (float *)(void *)(c->memory.weight_memory + (w->matrix.data - c->memory.weight_memory) + kept_bytes(w));
    for (size_t row = 0; row < w->matrix.n_rows; row++)
        vs_matrix_row(&w->matrix, row, to + row * w->matrix.n_cols);
    w->vector = to;
}

/* Places every tensor in the graph's order and cuts it into pieces. */
static int plan(struct load *l, struct vs_error *err)
{
    struct vs_cpu *c = l->c;
    size_t at = 0, n_pieces = 0;
    for (uint32_t i = 0; i < l->g->n_tensors; i++) {     /* data holds the offset until the memory is there */
        struct vs_weight *w = &c->memory.weights[i];
        const struct vs_tensor *t = &l->g->tensors[i];
        if (t->n_bytes > l->file->n_bytes || t->offset > l->file->n_bytes - t->n_bytes
            || t->n_bytes != (uint64_t)t->n_rows * vs_matrix_row_bytes(&w->matrix))
            return vs_error_set(err, VS_E_MALFORMED, "model: %s: its bytes are not in the file", t->name);
        w->matrix.data = (const uint8_t *)at;
        at += kept_bytes(w) + vector_bytes(w);
        l->total += t->n_bytes;
        n_pieces += (piece_end(w) + piece_step(w) - 1) / piece_step(w);
    }
    c->memory.weight_bytes = at;
    c->memory.weight_memory = vs_cpu_reserve(at);
    l->pieces = malloc((n_pieces ? n_pieces : 1) * sizeof *l->pieces);
    if (!c->memory.weight_memory || !l->pieces)
        return vs_error_set(err, VS_E_NOMEM,
                            "model: %zu MB for the weights can't be had: end other programs, raise the memory limit, "
                            "or take a smaller model", at >> 20);
    for (uint32_t i = 0; i < l->g->n_tensors; i++) {
        struct vs_weight *w = &c->memory.weights[i];
        w->matrix.data = c->memory.weight_memory + (size_t)w->matrix.data;
        if (w->matrix.cls == VS_CLASS_F32)
            w->vector = (const float *)(const void *)w->matrix.data;
        for (size_t begin = 0, end = piece_end(w), step = piece_step(w); begin < end; begin += step) {
            struct piece *p = &l->pieces[l->n_pieces++];
            size_t from, n;
            *p = (struct piece){ i, begin, begin + step < end ? begin + step : end };
            file_range(w, p, &from, &n);
            if (w->matrix.packed && n > l->raw_bytes)
                l->raw_bytes = n;
        }
    }
    l->raw_bytes = (l->raw_bytes + 63) / 64 * 64;
    l->raw = malloc(l->raw_bytes * c->config.n_threads + 1);
    return l->raw ? VS_OK : vs_error_set(err, VS_E_NOMEM, "model: out of memory");
}

int vs_cpu_load(struct vs_cpu *c, const struct vs_graph *g, const struct vs_source *file,
                vs_progress_fn *progress, void *context, struct vs_error *err)
{
    struct load l = { .c = c, .g = g, .file = file, .progress = progress, .context = context, .err = err };
    int r = plan(&l, err);
    if (r == VS_OK) {
        vs_pool_run(c->pool, load_thread, &l);
        vs_pool_join(c->pool);
        r = atomic_load(&l.status);
    }
    for (uint32_t i = 0; i < g->n_tensors && r == VS_OK; i++)
        if (c->memory.weights[i].widened)
            widen(c, &c->memory.weights[i]);
    free(l.pieces);
    free(l.raw);
    return r;
}
