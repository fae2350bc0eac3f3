/* backend/backend.h - the front door of what computes: a graph is lowered, its weights are held, KV pages lie there, steps run.
 *
 * A kind of backend is one table of functions. Who loads a model picks the kind (the worker: cpu/backend.h); the engine and what is
 * above it know only this file.
 *
 * A step takes a batch of rows (token, position, page table) of any mix of sequences. Rows of one sequence must be in ascending
 * position and adjacent; positions below them must have been computed before. In a model with recurrent layers they read their
 * sequence's state in a slot and leave the next one in another. What a row computes depends only on its own input
 * and its prefix (docs/NUMERICS.md, G7).
 *
 * Memory:  all taken at _create: weights (about the size of the file), the KV reservation (pages are touched on first use), what
 *          a step needs. A step allocates nothing.
 * Threads: one caller; those inside are private.
 * Failure: VS_OK or VS_E_*. A NaN or infinite logit is VS_E_FAULT; the cache then holds what it holds: drop the sequence.
 */
#ifndef VS_BACKEND_BACKEND_H
#define VS_BACKEND_BACKEND_H
#include "backend/page.h"
#include "base/source.h"

#include <stdbool.h>

struct vs_buf;
struct vs_graph;

struct vs_backend_config {
    int level;                           /* which of the kind's ways to compute; the bits are the same */
    unsigned n_threads;
    uint32_t max_rows, max_out;          /* most rows of a step; most of them whose logits are read */
    uint32_t max_positions;              /* longest sequence */
    uint32_t n_pages;                    /* KV pages of VS_PAGE_TOKENS positions */
    uint32_t n_states;                   /* slots for states */
    enum vs_kv_type kv_type;
    bool high;                           /* high precision: contract VNC-1H instead of VNC-1 */
    bool observe;                        /* what matrices of layers read is added up (struct vs_observed); steps take longer */
    struct vs_backend *beside;           /* one of the same kind, whose threads this one runs on: their steps take turns, and it
                                          * goes first. NULL: threads of its own */
};

struct vs_row {
    uint32_t token, position;
    uint32_t table;                      /* where its sequence's page table begins in the step's pages */
    const float *adapters;               /* how much each of the graph's adapters counts, 0: not at all; NULL: none does */
    uint32_t first;                      /* of a model that answers a source: where the answer begins, for a row of it; else 0 */
};

/* Adjacent rows of one sequence, of a model with states. A slot is read or written, never both. */
struct vs_stretch {
    uint32_t first, n;                   /* rows of the step */
    uint32_t from, end;                  /* slots: the state before the first row, VS_NO_STATE = zeros; that behind the last */
    uint32_t n_mark, mark;               /* that behind the first n_mark rows goes to slot mark; n_mark 0: it is not wanted */
};
#define VS_NO_STATE UINT32_MAX

struct vs_step {
    const struct vs_row *rows;
    uint32_t n_rows;
    const uint32_t *pages;               /* page tables of all sequences: pages[table + p / 64] holds position p */
    const uint32_t *out;                 /* ascending indices of the rows whose logits are read */
    uint32_t n_out;
    const struct vs_stretch *stretches;         /* all rows in order, where the model has states; else nobody looks */
    uint32_t n_stretches;
    bool source;                         /* the rows are those of sources, each in the step as a whole; none is read */
    unsigned outputs;                    /* what they give: bits 1 << VS_OUTPUT_*; 0: logits */
    int (*check)(void *context);         /* asked by the caller's thread every 100 ms of a long step; a code other than VS_OK ends
                                          * it with that code, as if it had not begun. NULL: never */
    void *context;
};

/* Called now and then while weights are loaded; a result other than VS_OK stops the load with that code. */
typedef int vs_progress_fn(void *context, uint64_t done, uint64_t total);

typedef void vs_task_fn(void *context, uint32_t i, unsigned thread);

/* What a matrix (or each of a layer's experts) has read since the backend was made: of each column the sum of its squares, and how
 * many rows there were. The order of the rows is that of the steps, so neither threads nor the size of steps change a bit. */
struct vs_observed {
    char name[64];                       /* of the tensor */
    uint32_t n_columns, n_matrices;
    const double *sum;                   /* [n_matrices, n_columns] */
    const uint64_t *n_rows;              /* [n_matrices] */
};

struct vs_backend_memory { size_t weights, step; };      /* bytes */

struct vs_backend_kind;
struct vs_backend {                      /* the first member of each kind's own struct */
    const struct vs_backend_kind *kind;
};

struct vs_backend_kind {
    const char *name;
    unsigned max_threads;
    /* Most rows of a step that can be stopped in time: check is asked between tasks, and more rows make longer ones. */
    uint32_t (*max_rows)(int level);
    /* Bytes of one KV page over all layers. */
    size_t (*page_bytes)(const struct vs_graph *g, enum vs_kv_type type);
    /* Bytes of KV memory that _create takes for so many pages; SIZE_MAX when they can't be counted. */
    size_t (*kv_bytes)(const struct vs_graph *g, enum vs_kv_type type, uint32_t n_pages);
    /* Bytes of one slot: the states of all recurrent layers; 0: the model has none. */
    size_t (*state_bytes)(const struct vs_graph *g);
    /* The graph's tensors are read from `weights`, each byte once, by several threads; graph and source may go afterwards. */
    int (*create)(const struct vs_graph *g, const struct vs_backend_config *config, const struct vs_source *weights,
                  vs_progress_fn *progress, void *context, struct vs_backend **ret, struct vs_error *err);
    /* What _create would make of the graph, as lines of text for people; no weights are read, nothing is kept. */
    int (*describe)(const struct vs_graph *g, const struct vs_backend_config *config, struct vs_buf *ret, struct vs_error *err);
    void (*free)(struct vs_backend *b);
    void (*memory)(const struct vs_backend *b, struct vs_backend_memory *ret);
    /* *ret_logits [n_out, n_vocab] stays valid until the next step; NULL where no logits were wanted. */
    int (*step)(struct vs_backend *b, const struct vs_step *step, const float **ret_logits, struct vs_error *err);
    /* [n_out, its width] of the last step, which computed it; valid as logits are. */
    const float *(*output)(const struct vs_backend *b, int which);
    /* [*ret_n], the backend's; between steps. */
    const struct vs_observed *(*observed)(const struct vs_backend *b, size_t *ret_n);
    /* K and V of all layers, between steps: the first n_tokens positions of a page to another; whole pages to zeros. */
    void (*copy_page)(struct vs_backend *b, uint32_t from, uint32_t to, uint32_t n_tokens);
    void (*clear_pages)(struct vs_backend *b, const uint32_t *pages, uint32_t n);
    /* Between steps: task(context, i, thread) for each i in [0, n), shared out to the backend's threads (0 .. n_threads - 1; which
     * of them come is chance). Returns when all are done. */
    void (*each)(struct vs_backend *b, uint32_t n, vs_task_fn *task, void *context);
    /* A level by its name ("auto" is the best that this machine has): VS_E_INVALID, VS_E_UNSUPPORTED with what there is. */
    int (*level_parse)(const char *name, int *ret, struct vs_error *err);
    const char *(*level_name)(int level);
};

static inline void vs_backend_free(struct vs_backend *b)
{
    if (b)
        b->kind->free(b);
}

static inline int vs_backend_step(struct vs_backend *b, const struct vs_step *step, const float **ret_logits, struct vs_error *err)
{
    return b->kind->step(b, step, ret_logits, err);
}
#endif
