/* prog/worker/generate.h - the parts of an answer: what was asked for, the prompt, where it stops, and the request itself.
 *
 *     JSON --order.c--> vs_order        what the request wants, all of it checked; advice.c: what the model file recommends
 *     JSON --prompt.c--> ids            template and tokenizer
 *     id --stop.c--> text, or the end   characters and stop strings are never cut
 *     generate.c                        a request as a state machine: wants rows computed, takes their logits, says one token
 *
 * Stays inside the worker.
 */
#ifndef VS_WORKER_GENERATE_H
#define VS_WORKER_GENERATE_H
#include "prog/worker/service_internal.h"

/* ---- order.c ---- */

enum { VS_MAX_STOPS = 64, VS_MAX_STOP_BYTES = 4096 };     /* so many stop strings as ipc/keys.c allows */

struct vs_order {
    struct vs_sampling sampling;
    struct vs_logit_bias *bias;          /* owned; sampling points at it */
    int64_t max_tokens, n_logprobs;      /* -1: as many as fit; not asked for */
    bool ignore_eos, special, logits_hash, speculates;
    const char *stop[VS_MAX_STOPS];      /* borrowed from the request's JSON */
    size_t stop_n[VS_MAX_STOPS], n_stops;
    struct vs_ids stop_tokens;
};

/* Reads and checks all that generate and chat have besides the prompt. What the model file recommends stands between the
 * contract's defaults and the request. _clear in either case. */
int vs_order_read(struct vs_service *s, const json_t *request, struct vs_check *check, struct vs_order *ret, struct vs_error *err);
void vs_order_clear(struct vs_order *o);

/* ---- advice.c ---- */

/* What the file recommends, but for keys that `given` (the request's sampling; NULL: none) has itself. _sequence comes after the
 * request's own values: the file's order and choice of samplers. */
int vs_advice_apply(const struct vs_entries *entries, const json_t *given, uint32_t n_vocab, struct vs_sampling *p,
                    struct vs_error *err);
int vs_advice_sequence(const struct vs_entries *entries, const json_t *given, struct vs_sampling *p, struct vs_error *err);

/* ---- prompt.c ---- */

/* The ids of the request's prompt, messages or tokens: at least one, and room for another. *ret_notice is set when the user
 * should be told something. */
int vs_prompt_read(struct vs_service *s, const json_t *request, struct vs_check *check, struct vs_ids *ret, const char **ret_notice,
                   struct vs_error *err);

/* ---- stop.c ---- */

struct vs_stop_string {
    const char *text;
    size_t n, matched;                   /* its bytes; how many of them are the end of the text so far */
    uint32_t *fallback;                  /* [n] when byte i does not match: how many still do */
};

struct vs_stopper {
    const struct vs_order *order;
    const struct vs_tokenizer *tokenizer;         /* NULL: ids only, no text */
    struct vs_detok detok;
    struct vs_stop_string stop[VS_MAX_STOPS];
    size_t n_stops;
    struct vs_buf held;                  /* text that is not out yet */
};

/* The order must outlive it. _clear in either case. */
int vs_stopper_init(struct vs_stopper *p, const struct vs_order *order, const struct vs_tokenizer *tokenizer, struct vs_error *err);
void vs_stopper_clear(struct vs_stopper *p);
/* Takes the next token. *ret_ends: it ends the answer, by itself or with a stop string. *ret_n: so many bytes at the front of
 * `held` are text that may go out; a stop string and what follows it are dropped. */
int vs_stopper_push(struct vs_stopper *p, uint32_t id, bool *ret_ends, size_t *ret_n, struct vs_error *err);
/* There is no further token: all that was held back is text. Returns how many bytes. */
size_t vs_stopper_finish(struct vs_stopper *p);
#endif
