/* engine/model.h - a loaded model, and sequences of tokens computed with it.
 *
 * Memory:  a model owns the backend, the KV pool and the copied header; after _open it reads nothing from the file.
 * Threads: one caller for a model and all its sequences.
 */
#ifndef VS_ENGINE_MODEL_H
#define VS_ENGINE_MODEL_H
#include "base/status.h"
#include "backend/backend.h"
#include "engine/file.h"
#include "graph/graph.h"
#include "kv/kv.h"

struct vs_model_config {
    const struct vs_backend_kind *backend;
    int level;                           /* of the backend: which of its ways to compute */
    unsigned n_threads;
    uint32_t context;                    /* 0 = the model's own, capped by a quarter of free_bytes */
    uint64_t free_bytes;                 /* 0 = unknown: no cap */
    uint64_t kv_bytes;                   /* of the KV cache that all sequences share; 0 = what one context needs */
    enum vs_kv_sharing sharing;
    uint32_t max_sequences, max_kept;    /* sequences that run, and that are kept for others; 0 = default */
    uint32_t n_at_once;                  /* most sequences of a step; 0 = 1. Made less by _open where their states find no room */
    uint32_t n_pages;                    /* set by _open: pages of the KV cache */
    uint32_t n_states;                   /* set by _open: slots for the states of recurrent layers */
    enum vs_kv_type kv_type;
    uint32_t chunk;                      /* most rows of a step; 0 = default */
    uint32_t max_out;                    /* most rows of a step whose logits are read; 0 = default */
    bool high;                           /* contract VNC-1H instead of VNC-1 */
    bool observe;                        /* as of struct vs_backend_config */
    float adapters[VS_MAX_ADAPTERS];     /* how much each of the header's counts where nobody says otherwise */
    struct vs_model *beside;             /* computes on the threads of this model, which outlives it; NULL: on its own */
};

struct vs_buf;
struct vs_graph;
struct vs_header;                        /* import/header.h */

struct vs_model;
/* The header was read through the file's glance; what it is made of counts as loaded from here on. */
int vs_model_open(const struct vs_header *h, struct vs_model_file *f, const struct vs_model_config *config,
                  vs_progress_fn *progress, void *context, struct vs_model **ret, struct vs_error *err);
void vs_model_close(struct vs_model *m);

/* What the backend would make of the model, as lines of text for people. */
int vs_model_describe(const struct vs_header *h, const struct vs_model_config *config, struct vs_buf *ret, struct vs_error *err);

/* What _open would find, but for the weights, which are not read: is the header a model that can be computed, with this context, in
 * this KV cache? Failure as of _open. */
int vs_model_check(const struct vs_header *h, const struct vs_model_file *f, const struct vs_model_config *config,
                   uint32_t *ret_n_vocab, struct vs_error *err);

/* Of a text of a model that answers a source: how many tokens its source has, which ends before the first that begins an answer;
 * 0: the model answers none. */
uint32_t vs_model_source(const struct vs_model *m, const uint32_t *tokens, uint32_t n);

uint32_t vs_model_context(const struct vs_model *m);
uint32_t vs_model_n_vocab(const struct vs_model *m);
const struct vs_graph *vs_model_graph(const struct vs_model *m);
const struct vs_model_config *vs_model_config(const struct vs_model *m);
/* Bytes of weights, step memory and one position of the KV cache. */
void vs_model_memory(const struct vs_model *m, struct vs_backend_memory *ret, size_t *ret_kv_token);
/* Bytes of a sequence's state; 0: the model has none. */
size_t vs_model_state_bytes(const struct vs_model *m);
/* Of the KV cache, pages and states. */
size_t vs_model_cache_bytes(const struct vs_model *m);

struct vs_kv *vs_model_kv(const struct vs_model *m);
struct vs_backend *vs_model_backend(const struct vs_model *m);

/* A step over rows of several sequences: _begin, _add for each, _compute; then the caller commits what was computed (vs_kv_commit).
 * _add: the next n tokens of s, at most as many rows as config.chunk in all; the last n_out of them are read, at most
 * config.max_out in all. VS_E_BUSY: no pages are free; VS_E_CONTEXT: there never will be enough. On failure nothing has changed.
 * _compute: *ret_logits has the rows that are read, in the order of _add, until the next step. check as in struct vs_step. outputs:
 * what they give, as in struct vs_step; of what else than logits was wanted _output has the rows. */
/* Of a model that answers a source a step has all of it or nothing of it, and none of its rows is read. */
void vs_batch_begin(struct vs_model *m);
int vs_batch_add(struct vs_model *m, struct vs_kv_sequence *s, const uint32_t *tokens, uint32_t n, uint32_t n_out,
                 struct vs_error *err);
/* The same, of a model with states: the sequence can go back to behind the first n_mark of the tokens, if 0 < n_mark <= n; keep:
 * also later, when it is longer, and so can who shares it. */
int vs_batch_add_marked(struct vs_model *m, struct vs_kv_sequence *s, const uint32_t *tokens, uint32_t n, uint32_t n_out,
                        uint32_t n_mark, bool keep, struct vs_error *err);
int vs_batch_compute(struct vs_model *m, unsigned outputs, int (*check)(void *context), void *context, const float **ret_logits,
                     struct vs_error *err);
const float *vs_batch_output(const struct vs_model *m, int which);

/* How much each adapter of the model counts for rows that are added from here on, until _begin; NULL: as much as when it was
 * loaded. The numbers stay the caller's until the step is computed. */
void vs_batch_adapt(struct vs_model *m, const float *scales);
unsigned vs_model_n_adapters(const struct vs_model *m);
const float *vs_model_adapters(const struct vs_model *m);       /* as loaded */

struct vs_sequence;                      /* one sequence alone: tokens whose K and V are in the cache */
int vs_sequence_create(struct vs_model *m, struct vs_sequence **ret);
void vs_sequence_free(struct vs_sequence *s);
const uint32_t *vs_sequence_tokens(const struct vs_sequence *s, size_t *ret_n);
/* Forgets all but the first n tokens, or more of them: kv/kv.h on states. */
void vs_sequence_truncate(struct vs_sequence *s, size_t n);

/* Appends tokens, computing their K and V in chunks. Logits are read for the last n_out of them and handed to `rows` (may be
 * NULL when n_out is 0) in order, at most config.max_out rows a call; first = index in tokens of the first row.
 * check (may be NULL) is asked before every step, and every 100 ms of a long one. On failure the sequence holds only
 * what was computed. */
typedef int vs_rows_fn(void *context, size_t first, size_t n, const float *logits);
typedef int vs_check_fn(void *context, size_t done, size_t total);
int vs_sequence_append(struct vs_sequence *s, const uint32_t *tokens, size_t n, size_t n_out,
                       vs_rows_fn *rows, vs_check_fn *check, void *context, struct vs_error *err);
#endif
