/* sampler/sampler.h - from logits to one token, reproducibly (docs/NUMERICS.md, "sampler").
 *
 * Order: mask of what is allowed, logit bias, penalties, temperature, top-k, typical, top-p, min-p. Total order of tokens: logit
 * descending, id
 * ascending. Probabilities become integers floor(p * 2^40), so every cumulative sum and threshold test is
 * exact. Random numbers are counter-based (Philox4x32-10): key = seed, counter = (absolute position, purpose, draw):
 * no state, so batching, retries and speculation cannot shift them. temperature 0 = greedy = lowest id among maxima.
 *
 * Memory:  _create allocates all scratch (n_vocab entries); _sample allocates nothing.
 * Threads: one caller at a time per sampler.
 */
#ifndef VS_SAMPLER_SAMPLER_H
#define VS_SAMPLER_SAMPLER_H
#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vs_logit_bias { uint32_t id; float bias; };      /* bias may be -INFINITY: never */

struct vs_sampling {
    uint64_t seed;
    float temperature;                  /* >= 0; 0 = greedy */
    uint32_t top_k;                     /* 0 = off */
    float top_p, min_p, typical_p;      /* 0 <= x <= 1; top_p 1, min_p 0, typical_p 1 = off */
    float repeat_penalty;               /* > 0; 1 = off */
    float presence_penalty, frequency_penalty;    /* 0 = off */
    int32_t repeat_last_n;              /* tokens looked back for penalties; -1 = all, 0 = off */
    const struct vs_logit_bias *bias;
    size_t n_bias;
    const uint64_t *allowed;            /* bit id % 64 of word id / 64: the token may come; NULL: all may */
};

/* Defaults of the contract: seed 0, temperature 0.8, top-k 40, top-p 0.95, min-p 0.05, typical 1, penalties off, last_n 64. */
void vs_sampling_defaults(struct vs_sampling *s);

/* VS_E_INVALID naming the parameter for negative, NaN, infinite or out-of-range values and bias ids >= n_vocab. */
int vs_sampling_check(const struct vs_sampling *s, uint32_t n_vocab, struct vs_error *err);

struct vs_sampler;
int vs_sampler_create(uint32_t n_vocab, struct vs_sampler **ret);
void vs_sampler_free(struct vs_sampler *s);

/* Picks the token for absolute position `position` (0-based place of the new token in its sequence).
 * logits[n_vocab] are raw and stay untouched. history[n_history] are all tokens so far, prompt included.
 * VS_E_FAULT when a logit is NaN or infinite. */
int vs_sampler_sample(struct vs_sampler *s, const struct vs_sampling *params, const float *logits,
                      const uint32_t *history, size_t n_history, uint64_t position,
                      uint32_t *ret_id, struct vs_error *err);

/* Natural-log probabilities from the raw logits (soft-max over all, temperature 1): of `id`, and the n best in total order. */
struct vs_logprob { uint32_t id; float logprob; };
int vs_sampler_logprobs(struct vs_sampler *s, const float *logits, uint32_t id, size_t n_best,
                        float *ret_chosen, struct vs_logprob *ret_best /* [n_best] */);

/* Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011). */
void vs_philox(const uint32_t key[2], const uint32_t counter[4], uint32_t ret[4]);
#endif
