/* cpu/backend.h - runs a graph on the CPU: lowers it to a flat program, holds weights and KV pages, executes steps.
 *
 * A step takes a batch of rows (token, position, sequence) of any mix of sequences. Rows of one sequence must be
 * in ascending position and adjacent; positions below them must have been computed before. What a row computes depends
 * only on its own input and its prefix (docs/NUMERICS.md, G7).
 *
 * Memory:  all taken at _create: weights (packed panels, about the size of the file), the KV reservation (pages are
 *          touched on first use), the step arena. A step allocates nothing.
 * Threads: one caller; the pool inside is private.
 * Failure: VS_OK or VS_E_*. A NaN or infinite logit is VS_E_FAULT; the cache then holds what it holds: drop the sequence.
 */
#ifndef VS_CPU_BACKEND_H
#define VS_CPU_BACKEND_H
#include "base/source.h"
#include "cpu/ops.h"
#include "graph/graph.h"

enum vs_kv_type { VS_KV_F16, VS_KV_F32, VS_KV_Q8_0, VS_N_KV_TYPES };
int vs_kv_type_parse(const char *name);                  /* "f16" "f32" "q8_0"; -1 when unknown */
const char *vs_kv_type_name(enum vs_kv_type type);

struct vs_cpu_config {
    enum vs_isa isa;
    unsigned n_threads;
    uint32_t max_rows, max_out;          /* most rows of a step; most of them whose logits are read */
    uint32_t max_positions;              /* longest sequence */
    uint32_t n_pages;                    /* KV pages of VS_PAGE_TOKENS positions */
    enum vs_kv_type kv_type;
    bool high;                           /* high precision: contract VNC-1H instead of VNC-1 */
};

/* Bytes of one KV page over all layers; bytes of the step arena and of the weights in memory. */
size_t vs_cpu_page_bytes(const struct vs_graph *g, enum vs_kv_type type);
struct vs_cpu;
size_t vs_cpu_arena_bytes(const struct vs_cpu *c);
size_t vs_cpu_weight_bytes(const struct vs_cpu *c);

/* Called now and then while weights are packed; a result other than VS_OK stops the load with that code. */
typedef int vs_progress_fn(void *context, uint64_t done, uint64_t total);

/* The graph's tensors are read from `file`, each byte once, by several threads; it may go after _create. */
int vs_cpu_create(const struct vs_graph *g, const struct vs_cpu_config *config, const struct vs_source *file,
                  vs_progress_fn *progress, void *context, struct vs_cpu **ret, struct vs_error *err);
void vs_cpu_free(struct vs_cpu *c);

struct vs_row {
    uint32_t token, position;
    const uint32_t *pages;               /* page table of its sequence, entries for position / 64 and below */
};

struct vs_step {
    const struct vs_row *rows;
    uint32_t n_rows;
    const uint32_t *out;                 /* ascending indices of the rows whose logits are read */
    uint32_t n_out;
    int (*check)(void *context);         /* asked by the caller's thread every 100 ms of a long step; a code other than VS_OK ends it
                                          * with that code, as if it had not begun. NULL: never */
    void *context;
};

/* *ret_logits [n_out, n_vocab] stays valid until the next step. */
int vs_cpu_step(struct vs_cpu *c, const struct vs_step *step, const float **ret_logits, struct vs_error *err);
#endif
