/* prog/worker/generate.h - the parts of an answer: what was asked for, the prompt, where it stops, and the request itself.
 *
 *     JSON --order.c--> vs_order        what the request wants, all of it checked; advice.c: what the model file recommends
 *     JSON --prompt.c--> ids            template and tokenizer
 *     id --stop.c--> text, or the end   characters and stop strings are never cut
 *     text --tell.c--> frames           each of one part: content, reasoning, a call
 *     reason.c                          what may stand in front of an answer that keeps a form
 *     answer.c                          which token may come next, and what follows from it
 *     generate.c                        a request as a state machine: wants rows computed, takes their logits, says one token
 *
 * Stays inside the worker.
 */
#ifndef VS_WORKER_GENERATE_H
#define VS_WORKER_GENERATE_H
#include "parts/parts.h"
#include "prog/worker/service_internal.h"

/* ---- order.c ---- */

enum { VS_MAX_STOPS = 64, VS_MAX_STOP_BYTES = 4096 };     /* so many stop strings as ipc/keys.c allows */

struct vs_order {
    struct vs_sampling sampling;
    struct vs_logit_bias *bias;          /* owned; sampling points at it */
    int64_t max_tokens, n_logprobs;      /* -1: as many as fit; not asked for */
    bool ignore_eos, special, logits_hash, speculates;
    bool parts, one_call;                /* the answer comes in parts; at most one of them is a call, */
    bool forces;                         /* the answer is calls: `grammar` is their form */
    bool or_calls;                       /* `grammar` is the constraint's or that of calls, whichever the model begins */
    const char *function;                /* that is called then; NULL: any of them. Borrowed */
    struct vs_grammar *calls;            /* of calls that the model makes by itself; NULL: nothing holds them */
    char notice[300];                    /* why nothing does; "" */
    const char *stop[VS_MAX_STOPS];      /* borrowed from the request's JSON */
    size_t stop_n[VS_MAX_STOPS], n_stops;
    struct vs_ids stop_tokens;
    struct vs_grammar *grammar;          /* that the answer keeps; NULL: none */
};

/* Reads and checks all that generate and chat have besides the prompt. What the model file recommends stands between the
 * contract's defaults and the request. _tools: of that alone who may be called, and whether somebody must be. _calls: the form of
 * calls, when it is known how the model writes them. _clear in either case. */
int vs_order_read(struct vs_service *s, const json_t *request, struct vs_check *check, struct vs_order *ret, struct vs_error *err);
int vs_order_tools(struct vs_order *o, const json_t *request, struct vs_error *err);
int vs_order_calls(struct vs_service *s, const json_t *request, const struct vs_style *style, struct vs_check *check,
                   struct vs_order *o, struct vs_error *err);
void vs_order_clear(struct vs_order *o);

/* ---- advice.c ---- */

/* What the file recommends, but for keys that `given` (the request's sampling; NULL: none) has itself. _sequence comes after the
 * request's own values: the file's order and choice of samplers. */
int vs_advice_apply(const struct vs_entries *entries, const json_t *given, uint32_t n_vocab, struct vs_sampling *p,
                    struct vs_error *err);
int vs_advice_sequence(const struct vs_entries *entries, const json_t *given, struct vs_sampling *p, struct vs_error *err);

/* ---- prompt.c ---- */

/* The ids of the request's prompt, messages or tokens: at least one, and room for another. *ret_notice is set when the user
 * should be told something; *ret_style says how the model writes parts that are no content. */
int vs_prompt_read(struct vs_service *s, const json_t *request, struct vs_check *check, struct vs_ids *ret,
                   struct vs_style *ret_style, const char **ret_notice, struct vs_error *err);

/* Does the prompt leave reasoning begun? */
bool vs_prompt_is_open(const struct vs_service *s, const struct vs_ids *prompt, const struct vs_style *style);
/* Does it end with what the answer's first part begins with? */
bool vs_prompt_leads(const struct vs_service *s, const struct vs_ids *prompt, const struct vs_style *style);

/* How the answer begins that is calls (forces) or keeps a form. */
struct vs_opening {
    bool is_open, may_reason;            /* the prompt has begun reasoning; and that goes on before the answer keeps its form */
    struct vs_buf text;                  /* what the prompt goes on with, so that nothing but a call can follow, or the form */
};
void vs_prompt_open(const struct vs_service *s, const json_t *request, const struct vs_ids *prompt, const struct vs_style *style,
                    bool forces, bool keeps_form, struct vs_opening *ret);

/* ---- stop.c ---- */

struct vs_stop_string {
    const char *text;
    size_t n, matched;                   /* its bytes; how many of them are the end of the text so far */
    uint32_t *fallback;                  /* [n] when byte i does not match: how many still do */
};

struct vs_stopper {
    const struct vs_order *order;
    const struct vs_tokenizer *tokenizer;         /* NULL: ids only, no text */
    const uint32_t *mark_id;             /* [VS_N_MARKS] of the model */
    struct vs_detok detok;
    struct vs_stop_string stop[VS_MAX_STOPS];
    size_t n_stops;
    bool is_paused;                      /* nothing that was asked for stops it: a call is being written, which is to be whole */
    const struct vs_stop_string *by;     /* the one that ended the answer; NULL */
    struct vs_buf held;                  /* text that is not out yet */
};

/* The order must outlive it. _clear in either case. */
int vs_stopper_init(struct vs_stopper *p, const struct vs_order *order, const struct vs_service *s, struct vs_error *err);
void vs_stopper_clear(struct vs_stopper *p);
/* Takes the next token. *ret_ends: it ends the answer, by itself or with a stop string. *ret_n: so many bytes at the front of
 * `held` are text that may go out; a stop string and what follows it are dropped. */
int vs_stopper_push(struct vs_stopper *p, uint32_t id, bool *ret_ends, size_t *ret_n, struct vs_error *err);
/* There is no further token: all that was held back is text. Returns how many bytes. */
size_t vs_stopper_finish(struct vs_stopper *p);

/* ---- reason.c ---- */

struct vs_reason_marks {                 /* of a model; zeroed: it does not reason */
    const char *close_text;              /* of the mark that ends reasoning; NULL: there is none */
    bool is_control;                     /* it ends with a control token */
    uint32_t open;                       /* the token that begins it; VS_TOKENIZER_NONE: it is more than one */
    uint32_t space[2];                   /* tokens that may stand behind its end; VS_TOKENIZER_NONE: this one is more than one */
    struct vs_ids close;                 /* the tokens of its end */
};
int vs_reason_marks_read(const struct vs_service *s, const struct vs_style *style, struct vs_check *check,
                         struct vs_reason_marks *ret, struct vs_error *err);
void vs_reason_marks_clear(struct vs_reason_marks *m);

enum { VS_REASON_TAIL = 32 };
struct vs_reasoning {                    /* zeroed: none, the answer is in its form */
    enum { VS_REASON_OVER, VS_REASON_MAY_BEGIN, VS_REASON_UNDER_WAY, VS_REASON_MAY_SPACE } state;
    const struct vs_reason_marks *marks;
    const struct vs_tokenizer *tokenizer;
    uint32_t shortest;                   /* tokens that the form needs */
    uint32_t n_forced;                   /* of marks->close, that were the only ones allowed */
    uint32_t n_words;
    uint64_t *bits;                      /* [n_words] the last mask */
    uint64_t *goes_on;                   /* [n_words] all tokens but those that end an answer; behind bits */
    char tail[VS_REASON_TAIL];           /* the end of what was reasoned */
    size_t n_tail;
    bool has_space;                      /* it ends with white space */
};
/* The marks outlive it. VS_OK or VS_E_NOMEM; _clear in either case. */
int vs_reasoning_init(struct vs_reasoning *r, const struct vs_reason_marks *marks, const struct vs_service *s, uint32_t shortest,
                      bool is_open);
void vs_reasoning_clear(struct vs_reasoning *r);
/* As vs_matcher_mask, which it asks where the form may go on. */
const uint64_t *vs_reasoning_mask(struct vs_reasoning *r, struct vs_matcher *m, uint32_t left);
/* A token that ends reasoning and says something behind it: it is taken out of the last mask. */
bool vs_reasoning_refuses(struct vs_reasoning *r, uint32_t id);
/* The token comes, and `left` more may follow it. False: it belongs to the form. */
bool vs_reasoning_takes(struct vs_reasoning *r, uint32_t id, uint32_t left);
void vs_reasoning_ended(struct vs_reasoning *r);         /* the parser has seen its end */

/* ---- tell.c ---- */

struct vs_teller_config {
    bool is_in_parts;                    /* else all is content */
    struct vs_style style;
    const uint32_t *mark_id;             /* [VS_N_MARKS] of the model; outlives the teller, as the tools do */
    const json_t *tools;
    const char *lead, *begun;            /* texts that the prompt has begun the answer with; NULL: none */
    bool is_open, is_single, special;
    bool in_content;                     /* the prompt has begun the answer's content */
};

struct vs_telling { uint32_t id, part; size_t n; json_t *extra; };   /* a frame: the next n bytes of the text */

struct vs_teller {
    struct vs_parts *parts;              /* NULL: all is content */
    const uint32_t *mark_id;
    bool has_marks;
    struct vs_waiting_mark { size_t at; enum vs_mark mark; } *waiting;      /* at: bytes of text in front of it */
    size_t n_waiting, cap_waiting, n_taken;
    struct vs_telling *told;                /* [n] frames that are not sent yet */
    size_t n, cap;
    struct vs_buf text;
};

/* _clear in either case. */
int vs_teller_init(struct vs_teller *t, const struct vs_teller_config *config, struct vs_error *err);
void vs_teller_clear(struct vs_teller *t);
/* A token has come, and n_held bytes of text wait to be added. */
int vs_teller_token(struct vs_teller *t, uint32_t id, size_t n_held, struct vs_error *err);
/* The text that may go out with a token: at least one frame. Takes over extra. is_last: no other comes. */
int vs_teller_add(struct vs_teller *t, uint32_t id, const char *text, size_t n, json_t *extra, bool is_last, struct vs_error *err);
void vs_teller_drop(struct vs_teller *t, size_t n);      /* the first n frames: they are sent */

/* ---- answer.c: an answer, token by token ---- */

struct vs_claim;

struct vs_asked {                        /* what all answers to a request share; s, check and claim are set, the rest zeroed */
    struct vs_service *s;
    struct vs_check *check;
    struct vs_claim *claim;              /* NULL: no receipt is wanted */
    struct vs_order order;
    size_t n_prompt;
    const char *notice;
    json_t *tools;                       /* a reference; NULL: none may be called */
    struct vs_teller_config teller;
    struct vs_opening opening;           /* its text is what the prompt ends with */
    struct vs_reason_marks marks;
};
/* Reads the request and its prompt. _clear in either case. */
int vs_asked_read(struct vs_asked *a, const json_t *request, struct vs_ids *prompt, struct vs_error *err);
void vs_asked_clear(struct vs_asked *a);

struct vs_made {                         /* one answer; index is set, the rest zeroed */
    uint32_t index;
    struct vs_ids tokens;                /* the prompt, then what was made; others may stand behind `next` */
    size_t next;                         /* the token that the next logits decide */
    struct vs_stopper stopper;
    struct vs_teller teller;             /* what is not sent yet */
    struct vs_matcher *matcher;          /* where the answer is in its constraint; NULL: it has none */
    struct vs_reasoning reasoning;       /* in front of that */
    bool holds_call;                     /* the constraint is that of a call which the model has begun by itself */
    bool skips_call;                     /* the call that is under way can't be held any more */
    const char *finish;                  /* NULL while it goes on */
};
/* Behind the prompt. _clear in either case. */
int vs_made_begin(const struct vs_asked *a, struct vs_made *m, const struct vs_ids *prompt, struct vs_error *err);
void vs_made_clear(struct vs_made *m);
/* No token may follow: as many as were asked for, or there is no room to read the last one. */
bool vs_made_is_full(const struct vs_asked *a, const struct vs_made *m);
/* Which tokens may come next, where there is a matcher. NULL: no memory. */
const uint64_t *vs_made_mask(const struct vs_asked *a, struct vs_made *m);
/* Draws the next one; nothing has changed yet. */
int vs_made_draw(const struct vs_asked *a, struct vs_made *m, struct vs_sampling sampling, struct vs_sampler *sampler,
                 const float *logits, uint32_t *ret, struct vs_error *err);
/* It stands in its place: its text comes, and perhaps the end. *ret_n: bytes at the front of stopper.held that may go out.
 * VS_E_INVALID: it is not what the constraint allows. Then _keep: they are kept to be sent; extra is taken over. */
int vs_made_follow(const struct vs_asked *a, struct vs_made *m, uint32_t id, size_t *ret_n, struct vs_error *err);
int vs_made_keep(const struct vs_asked *a, struct vs_made *m, uint32_t id, size_t n_text, json_t *extra, struct vs_error *err);
#endif
