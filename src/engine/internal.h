/* engine/internal.h - what model.c, batch.c and sequence.c share; stays inside the room. */
#ifndef VS_ENGINE_INTERNAL_H
#define VS_ENGINE_INTERNAL_H
#include "engine/model.h"
#include "graph/graph.h"
#include "kv/kv.h"

/* What the next step computes: rows and page tables of the sequences that planned them. */
struct vs_batch {
    struct vs_row *rows;                 /* [config.chunk] */
    uint32_t *out;                       /* [config.max_out] */
    uint32_t *pages;                     /* [cap_pages] */
    struct vs_stretch *stretches;               /* [config.chunk] */
    struct vs_row *side;                 /* [config.chunk], [config.max_out]: of a model that answers a source, those of one side */
    uint32_t *side_out;
    uint32_t n_rows, n_pages, n_out, n_stretches;
    size_t cap_pages;
    const float *adapters;               /* of rows that are added */
};
int vs_batch_create(struct vs_batch *b, const struct vs_model_config *c);
void vs_batch_clear(struct vs_batch *b);

struct vs_model {
    struct vs_graph graph;
    struct vs_model_config config;
    struct vs_backend *backend;
    struct vs_kv *kv;
    struct vs_batch batch;
};
#endif
