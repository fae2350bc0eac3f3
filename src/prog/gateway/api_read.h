/* prog/gateway/api_read.h - what a request's JSON says, by tables: a row for each field that an API knows.
 *
 *     body {"n": 2, "top_p": 0.9, "user": "x", "bloom": 1}
 *       n       GW_READ  the row's function reads it
 *       top_p   GW_MAP   becomes the key sampling.top_p of our request; ipc/keys.c says what it may be
 *       user    GW_MUTE  known, and nothing in the answer depends on it
 *       bloom   no row   named in the header x-veritas-ignored
 *
 * A null counts as absent. What is refused is 400 and names the field (`param`), what is needed and what was there.
 *
 * Memory:  a gw_reading lives as long as `begin`; its request goes to the call or is freed by gw_reading_clear.
 * Threads: one.
 */
#ifndef VS_GATEWAY_API_READ_H
#define VS_GATEWAY_API_READ_H
#include "prog/gateway/api.h"

struct gw_answer;
struct gw_reading;

enum gw_how {
    GW_MAP,                             /* `to` is the key of our request */
    GW_READ,                            /* `read` says what it means */
    GW_MUTE,                            /* accepted: nothing in the answer depends on it */
    GW_ONLY,                            /* `to` lists the values that we have, as JSON, '|' between them; they change nothing */
    GW_HINT,                            /* as GW_ONLY; another value is named as ignored, as the answer may be the same with it */
    GW_NEVER,                           /* refused; `to` says what to do instead */
};

struct gw_field {
    const char *name;
    enum gw_how how;
    const char *to;
    int (*read)(struct gw_reading *, const json_t *value);      /* VS_OK, or reading->err is set (gw_refuse) */
};

struct gw_reading {
    /* set by the API */
    struct gw_call *call;
    const struct gw_http *http;
    uint16_t type;                      /* of our request: which keys it may have */
    struct gw_error *err;
    /* the outcome */
    json_t *request;                    /* ours; keys of the envelope and of the body together */
    const char *name;                   /* the field that is being read */
    struct vs_buf ignored;              /* names, ", " between them */
    bool stream, include_usage;
    bool wants_logprobs;
    int64_t top_logprobs;               /* -1 when absent */
    int64_t n;                          /* choices */
    bool draws_seed;                    /* seed -1 */
    bool is_last;                       /* the model need not stay */
    bool goes_on;                       /* the last message is an answer that has begun */
    const json_t *allowed;              /* of the tools these alone, as tool_choice has them; borrowed. NULL: all */
    const char *allowed_at;             /* where in one of them its name is; NULL: in itself */
    bool has_format;                    /* the constraint is that of the answer's text (response_format and the like) */
};

/* Starts with an empty request; `model` is read by every table through gw_read_model. VS_OK or err (no memory). */
int gw_reading_init(struct gw_reading *r, struct gw_call *call, const struct gw_http *http, uint16_t type, struct gw_error *err);
void gw_reading_clear(struct gw_reading *r);

/* Reads every field of object by the tables (NULL at the end). prefix: how a field is called in messages, "options." */
int gw_read_fields(struct gw_reading *r, const json_t *object, const char *prefix, const struct gw_field *const *tables);

/* The same of a value that must be an object, the field that is being read: "options.num_ctx". */
int gw_read_object(struct gw_reading *r, const json_t *v, const struct gw_field *const *tables);

/* What is left to do after the fields: the model, the seed, the headers. Then the request can be asked. */
int gw_read_end(struct gw_reading *r);

/* A key of our request that must be there by now; name: what the field is called. */
int gw_require(struct gw_reading *r, const char *key, const char *name);
/* Leaves of the request what a message of this type may have: to count the tokens of a request that is as if it were to be
 * answered. */
void gw_narrow(struct gw_reading *r, uint16_t type);
/* Asks what was read; the reading is empty afterwards. */
int gw_ask_now(struct gw_reading *r, uint16_t type);
/* The begin of a route that answers chats: init, read, room for the answer (NULL: there was none), ask. The caller clears `r`. */
int gw_begin_answer(struct gw_reading *r, struct gw_call *call, const struct gw_http *http, struct gw_error *err,
                    int (*read)(struct gw_reading *), struct gw_answer *answer);
/* The begin of a route that counts the tokens of a request which `read` reads as if it were to be answered. */
int gw_begin_count(struct gw_call *call, const struct gw_http *http, struct gw_error *err, int (*read)(struct gw_reading *));

/* Refuses the field that is being read: 400, with its name as `param`. Returns VS_E_INVALID. */
int gw_refuse(struct gw_reading *r, const char *code, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* The same for a place within it: "messages[2].content". */
int gw_refuse_at(struct gw_reading *r, const char *param, const char *code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Puts a value where a key says ("sampling.seed"); takes it over. */
int gw_put(struct gw_reading *r, const char *key, json_t *value);
/* Puts it if ipc/keys.c allows it, with the field's own name in the message. Borrows it. */
int gw_map(struct gw_reading *r, const char *key, const json_t *value);
void gw_ignore(struct gw_reading *r, const char *name);         /* "options.num_ctx": into x-veritas-ignored, once */

/* Values as most fields need them; *ret is written on success only. */
int gw_need_text(struct gw_reading *r, const json_t *v, const char **ret);
int gw_need_flag(struct gw_reading *r, const json_t *v, bool *ret);
int gw_need_int(struct gw_reading *r, const json_t *v, int64_t low, int64_t high, int64_t *ret);
bool gw_is(const json_t *v, const char *word);                  /* is it this string? */
/* A list, each of its values by `one`, which is told its place. */
int gw_read_list(struct gw_reading *r, const json_t *v, int (*one)(struct gw_reading *, size_t i, const json_t *));

/* Fields that several APIs have. */
int gw_read_model(struct gw_reading *r, const json_t *v);
int gw_read_stream(struct gw_reading *r, const json_t *v);
int gw_read_stop(struct gw_reading *r, const json_t *v);        /* a string or a list of them */
int gw_read_n(struct gw_reading *r, const json_t *v);
int gw_read_logprobs(struct gw_reading *r, const json_t *v);    /* a flag */
int gw_read_effort(struct gw_reading *r, const json_t *v);      /* of reasoning: a word */
int gw_read_thinks(struct gw_reading *r, bool thinks);          /* template_args.enable_thinking */
int gw_read_constraint(struct gw_reading *r, const char *kind, const json_t *v);    /* {"constraint": {kind: v}}; only one */
int gw_read_format(struct gw_reading *r, const json_t *v);      /* response_format, text.format */
int gw_read_input(struct gw_reading *r, const json_t *v);       /* input of Responses, a text or items: messages */
/* Where a text comes from ("zone") goes on from a message of theirs to ours; the daemon says what it may be. */
void gw_copy_zone(json_t *to, const json_t *from);
/* Our content of the texts of `parts`: one text, a line feed between them; where one says its zone, the list itself, as the
 * daemon takes it. Takes over parts, each of which is {"type": "text", "text"} with a zone or without. */
json_t *gw_content(json_t *parts);
/* Asks for the parts of an answer (reasoning, calls), where the daemon knows them. */
int gw_want_parts(struct gw_reading *r);
int gw_put_choice(struct gw_reading *r, const json_t *name);    /* tool_choice: this function */
/* tool_choice of OpenAI's APIs: a word; {"type": "function"} with the function's name at `at` of it, NULL: in itself; or
 * {"type": "allowed_tools"} with a mode and some of the tools, there or in itself. */
int gw_read_choice(struct gw_reading *r, const json_t *v, const char *at, const char *allowed_at);
/* The last of the messages is an answer that has begun: it is taken out of the list, and its text goes on. */
int gw_read_begun(struct gw_reading *r, json_t *messages);
/* When all is read. _settle_tools: a call can't be forced without tools, and what else is said of them means nothing; where one is
 * forced there is no text, so that a format of the text means nothing; where the model may call, it says text in the format, or
 * calls.
 * _conversation: all of a request whose system message stands beside the others, which it becomes the first of; name: the field
 * that holds those. */
int gw_settle_tools(struct gw_reading *r);
int gw_read_conversation(struct gw_reading *r, const struct gw_field *const *tables, const char *name);
/* One function to `tools`, in the form of OpenAI's chat; at: how it is called in messages, "tools[0]"; schema: its key of the
 * arguments' schema; prefix: of keys that nobody knows, "tools.". */
int gw_read_tool(struct gw_reading *r, const char *at, const json_t *tool, const char *schema, const char *prefix);
/* A tool of another type than functions, which a server runs or which has no schema. Where the model may call, it need not: it is
 * told of the functions alone, and "tools.TYPE" is named as ignored. */
int gw_skip_tool(struct gw_reading *r, const char *at, const json_t *type);
/* Names the keys of an object that are not among known (NULL at the end) as ignored. */
void gw_ignore_others(struct gw_reading *r, const json_t *object, const char *prefix, const char *const *known);

extern const struct gw_field gw_fields_sampling[];      /* of every API that answers */
extern const struct gw_field gw_fields_constraint[];    /* structured_outputs, grammar, ... */
extern const struct gw_field gw_fields_chat[];          /* documents, and what a chat template is told */
extern const struct gw_field gw_fields_openai[];        /* of OpenAI's chat and completions */
extern const struct gw_field gw_fields_openai_chat[];   /* of OpenAI's chat and responses */
#endif
