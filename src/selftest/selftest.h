/* selftest/selftest.h - the numerics contract put to the test: tiny models, ways to compute them, the hashes that must come out.
 *
 * A subject is one model of the table below, made in memory and imported like any file. vs_subject_run generates some tokens with
 * it and hashes, for each, u32le position, raw f32le logits and u32le token (docs/NUMERICS.md). How it is computed
 * (struct vs_way), and what became of its pages meanwhile, may not show in the hash, and the hash is that of the table: on this
 * machine, with this compiler, today.
 *
 * Memory:  a subject owns its file and graph; a run takes a backend for itself and gives it back.
 * Threads: one caller; the backend has its own.
 * Failure: VS_OK or VS_E_* with a text.
 */
#ifndef VS_SELFTEST_SELFTEST_H
#define VS_SELFTEST_SELFTEST_H
#include "cpu/backend.h"
#include "cpu/ops.h"
#include "graph/graph.h"
#include "base/sha256.h"
#include "selftest/tiny.h"

struct vs_sampler;

struct vs_case {
    const char *name;
    struct vs_tiny tiny;
    enum vs_kv_type kv;
    bool high;                          /* contract VNC-1H */
    uint32_t n_prompt, n_generate;
    const char *golden;                 /* SHA-256, hexadecimal */
};
extern const struct vs_case vs_cases[];
extern const size_t vs_n_cases;

/* So many tokens of the prompt are a source that is answered; 0: the model answers none. */
uint32_t vs_case_source(const struct vs_case *of);

struct vs_subject {
    const struct vs_case *of;
    struct vs_buf file;
    struct vs_graph graph;
};
int vs_subject_create(const struct vs_case *of, struct vs_subject *ret, struct vs_error *err);
void vs_subject_clear(struct vs_subject *s);

/* Token i of the prompt of every subject; also a source of other prompts, by `which`. */
uint32_t vs_subject_prompt(const struct vs_subject *s, uint64_t which, uint32_t i);

/* The prompt and what is generated after it, hashed: what every run has to get right. */
struct vs_answer {
    const struct vs_subject *of;
    uint32_t *tokens, n;                /* n = how many there are; begins with the prompt */
    struct vs_sampler *sampler;
    struct vs_sha256 hash;
};
int vs_answer_init(struct vs_answer *a, const struct vs_subject *of, struct vs_error *err);
/* The token after `logits`, which belong to the last one. VS_E_FAULT as the sampler says. */
int vs_answer_add(struct vs_answer *a, const float *logits, struct vs_error *err);
void vs_answer_hash(struct vs_answer *a, char ret[65]);     /* once, at the end */
void vs_answer_clear(struct vs_answer *a);

/* What happens to the sequence at its split: one with `split` tokens of it is shared, parked or lost. */
enum vs_past {
    VS_ALONE,
    VS_FOUND_RUNNING,                   /* its beginning is found in a sequence that runs and goes on, in the same steps */
    VS_FOUND_KEPT,                      /* in one that has ended */
    VS_FORKED,                          /* another goes on from there with other tokens, in the same steps */
    VS_PARKED,                          /* it is ended, kept, and found again */
    VS_EVICTED,                         /* it is ended, and computed again, as its pages were needed: all of them */
    VS_SHORTENED,                       /* or its last one */
    VS_N_PASTS
};
const char *vs_past_name(enum vs_past past);

struct vs_way {
    enum vs_isa isa;
    unsigned n_threads;
    uint32_t chunk;                     /* most rows of a step; 0 = the whole prompt at once */
    uint32_t n_drafts;                  /* guesses behind each token, right and wrong ones; at most VS_MAX_DRAFTS */
    enum vs_past past;
    uint32_t split;                     /* where, but for VS_ALONE */
};
enum { VS_MAX_DRAFTS = 4 };
int vs_subject_run(const struct vs_subject *s, const struct vs_way *way, char ret_hash[65], struct vs_error *err);

/* The ways that the self-test tries: plain C whole and in one thread comes first (the oracle). brief: one or two for each
 * instruction set. Returns how many. isa: the highest that may be used. */
enum { VS_MAX_WAYS = 256 };
size_t vs_selftest_ways(const struct vs_case *of, enum vs_isa isa, bool brief, struct vs_way ret[VS_MAX_WAYS]);
#endif
