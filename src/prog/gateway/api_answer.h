/* prog/gateway/api_answer.h - an answer as it comes, in the terms that all APIs share: choices, each a row of pieces.
 *
 *     choice 0:  [reasoning "Well,..."] [content "It is"] [call get_weather {"city":"Rome"}] [call ...]
 *
 * A piece is a run of tokens of one part (docs/PROTOCOL.md, TOKEN). The text of a call begins with the function's name and a line
 * feed, which are taken off here. gw_answer_take says what a token changed; a stream sends just that, a whole answer is made of
 * the pieces at the end. So both say the same.
 *
 * Memory:  the answer owns its pieces until _clear. Text is kept only where `keeps` (a stream needs little of it).
 * Failure: the sticky status of a piece's buffers; gw_answer_status.
 */
#ifndef VS_GATEWAY_API_ANSWER_H
#define VS_GATEWAY_API_ANSWER_H
#include "ipc/message.h"
#include "prog/gateway/api.h"

struct gw_piece {
    uint32_t part;                      /* VS_PART_*, a call VS_PART_CALL + its number */
    struct vs_buf text;                 /* of a call: its arguments */
    struct vs_buf name;                 /* of a call */
    bool has_name;                      /* it is whole */
    json_t *logprobs;                   /* list of entries as OpenAI writes them; NULL */
};

struct gw_choice {
    struct gw_piece *pieces;
    size_t n_pieces;
    size_t n_calls;
    int64_t n_reasoning;                /* tokens of it */
    bool has_begun;                     /* for the API: something of it was sent */
};

struct gw_answer {
    struct gw_choice *choices;
    size_t n;
    bool keeps, keeps_logprobs;
    int status;
};

struct gw_change {
    struct gw_choice *choice;
    size_t index;                       /* of the choice */
    size_t at;                          /* of the piece, in its choice */
    struct gw_piece *piece;             /* NULL: nothing to say */
    bool is_new;                        /* the piece begins; the one before it, if any, has ended */
    bool is_named;                      /* a call's name is whole now */
    const char *text;                   /* what the piece gained, behind a call's name */
    size_t n;
    json_t *logprob;                    /* its entry, a new reference; NULL */
};

int gw_answer_init(struct gw_answer *a, size_t n_choices, bool keeps);
void gw_answer_clear(struct gw_answer *a);
void gw_answer_take(struct gw_answer *a, size_t choice, const struct gw_token *t, struct gw_change *ret);

/* The text of all pieces of one part together. */
void gw_choice_join(const struct gw_choice *c, uint32_t part, struct vs_buf *out);

/* {"token", "logprob", "bytes", "top_logprobs"} of a TOKEN's JSON. */
json_t *gw_logprob(const json_t *extra);
/* Bytes of a token of that JSON; for parts that are no UTF-8 too. */
void gw_token_bytes(const json_t *extra, struct vs_buf *out);

/* ---- what results say ---- */

struct gw_usage { int64_t prompt, completion, cached, drafted, accepted, reasoning; };
void gw_usage_add(struct gw_usage *u, const json_t *result, const struct gw_answer *a);        /* a NULL: none of it is kept */
json_t *gw_usage_openai(const struct gw_usage *u);

/* How choice i of this result ended: "stop", "length", "tool_calls"; never NULL. And the stop string that ended it, or NULL. */
const char *gw_finish_of(const json_t *result, size_t i);
const json_t *gw_stop_of(const json_t *result, size_t i);
/* Adds receipts to what an API says, where there are such: "receipt", or of several answers "receipts", in their order. */
void gw_add_receipts(json_t *to, const json_t *result);
/* "fp_" and 16 digits of the model's digest, or null. */
json_t *gw_fingerprint(const json_t *result);

/* ---- writing ---- */

/* "call_" and the request's id and a number: an id that is unique, and the same when it is made again. */
json_t *gw_id(const struct gw_call *call, const char *prefix, size_t number);
/* The arguments of a call as JSON. A model may write a key twice: then the last one counts, as for most readers. NULL: cut off. */
json_t *gw_arguments(const char *text, size_t n);

/* An event of a stream: "event: NAME\ndata: JSON\n\n" (name NULL: no such line). Takes over value. */
void gw_event(struct vs_buf *out, const char *name, json_t *value);
void gw_value(struct vs_buf *out, json_t *value);               /* JSON; NULL is what memory had no room for. Takes over value */
void gw_comment(struct gw_call *call, struct vs_buf *out);      /* ping: a line that every reader of events passes over */
#endif
