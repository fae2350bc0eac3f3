/* prog/worker/service_internal.h - shared by the parts of the service; stays inside the worker. */
#ifndef VS_WORKER_SERVICE_INTERNAL_H
#define VS_WORKER_SERVICE_INTERNAL_H
#include "base/buf.h"
#include "base/entry.h"
#include "engine/model.h"
#include "grammar/grammar.h"
#include "import/header.h"
#include "ipc/json.h"
#include "ipc/keys.h"
#include "ipc/message.h"
#include "prog/worker/chat.h"
#include "prog/worker/service.h"
#include "sampler/sampler.h"
#include "tokenizer/tokenizer.h"

#include <pthread.h>

struct vs_service {
    struct vs_model_file *file;
    struct vs_header *header;
    struct vs_model_config config;       /* as the settings have it */
    struct vs_model *model;              /* NULL when opened to be looked at only */
    struct vs_tokenizer *tokenizer;      /* NULL: no_tokenizer says why */
    char no_tokenizer[512];
    struct vs_chat chat;
    uint32_t mark_id[VS_N_MARKS];        /* control tokens that are marks of parts; VS_TOKENIZER_NONE: that one is none */
    uint32_t parallel;                   /* requests of a step, */
    uint64_t target_ns;                  /* which should take no longer while others decode */
    bool speculates;                     /* unless the request says no; */
    struct vs_drafter *drafter;          /* with this model; NULL: there is none */
    struct vs_works *works;
    pthread_mutex_t vocabulary_lock;
    struct vs_vocabulary *vocabulary;    /* made when the first constraint comes */
    struct vs_told { uint64_t used, cached, parked, preemptions, prompt_tokens; } told;      /* by the last STATS */
    double load_ms;
};

/* Keys of a request, which ipc/keys.h has checked; `preset` and false when one is absent. */
int64_t vs_request_int(const json_t *request, const char *key, int64_t preset);
bool vs_request_flag(const json_t *request, const char *key);
int vs_request_ids(const struct vs_service *s, const json_t *list, const char *key, struct vs_check *check, struct vs_ids *ret,
                   struct vs_error *err);
json_t *vs_ids_json(const uint32_t *id, size_t n, struct vs_check *check);      /* NULL: stopped, or no memory */
/* What the user is told where token ids are a guess; NULL where they are not. */
const char *vs_service_guess(const struct vs_service *s);
/* The result, with vs_service_guess as its notice when there is one. NULL stays NULL. */
json_t *vs_service_tell_guess(const struct vs_service *s, json_t *result);
int vs_service_need_tokenizer(const struct vs_service *s, struct vs_error *err);
/* Of a model that answers a source: ids that are a source alone get the token behind them that begins the answer. */
int vs_service_begin_answer(const struct vs_service *s, struct vs_ids *ids, struct vs_error *err);
int vs_service_encode(const struct vs_service *s, const char *text, size_t n, bool special, unsigned flags,
                      struct vs_check *check, struct vs_ids *ids, struct vs_error *err);

/* The ids of a request's messages, as CHAT would read them: prompt.c. */
int vs_prompt_messages(struct vs_service *s, const json_t *request, struct vs_check *check, struct vs_ids *ret,
                       struct vs_error *err);

/* Their text, what the template makes of them: for a reader, since what is a control token can't be told from its name any more. */
int vs_prompt_render(struct vs_service *s, const json_t *request, struct vs_check *check, json_t **ret, struct vs_error *err);

/* constraint.c: the grammar of the request's constraint; NULL when it has none. The service must outlive it. */
int vs_constraint_read(struct vs_service *s, const json_t *request, enum vs_grammar_use use, struct vs_check *check,
                       struct vs_grammar **ret, struct vs_error *err);

/* constraint.c: the grammar of calls as a family of models writes them; of the tool `name` alone, when that is given. HELD: of one
 * that the model begins by itself (vs_parts_call; where the name comes first, NAME VS_CALLS_NAME_END stands in front). constraint:
 * what the answer may keep in place of calls; NULL: nothing. */
enum vs_calls_use { VS_CALLS_HELD, VS_CALLS_FORCED, VS_CALLS_FORCED_SEVERAL };
#define VS_CALLS_NAME_END "\n"
int vs_calls_read(struct vs_service *s, const struct vs_style *style, const json_t *tools, const char *name, enum vs_calls_use use,
                  const json_t *constraint, struct vs_check *check, struct vs_grammar **ret, struct vs_error *err);

/* tell.c. _of_id: VS_N_MARKS: the token is none. */
void vs_marks_find(const struct vs_tokenizer *t, uint32_t ret[VS_N_MARKS]);
unsigned vs_mark_of_id(const uint32_t mark_id[VS_N_MARKS], uint32_t id);

int vs_service_generate(struct vs_service *s, json_t *request, struct vs_sink *sink, struct vs_answer *ret, struct vs_error *err);
int vs_service_logits(struct vs_service *s, json_t *request, struct vs_sink *sink, struct vs_answer *ret, struct vs_error *err);
int vs_service_perplexity(struct vs_service *s, json_t *request, struct vs_sink *sink, struct vs_answer *ret, struct vs_error *err);
int vs_service_constrain(struct vs_service *s, json_t *request, struct vs_sink *sink, struct vs_answer *ret, struct vs_error *err);
int vs_service_embed(struct vs_service *s, json_t *request, struct vs_sink *sink, struct vs_answer *ret, struct vs_error *err);
int vs_service_rerank(struct vs_service *s, json_t *request, struct vs_sink *sink, struct vs_answer *ret, struct vs_error *err);
int vs_service_verify(struct vs_service *s, json_t *request, struct vs_sink *sink, struct vs_answer *ret, struct vs_error *err);
int vs_service_bench(struct vs_service *s, json_t *request, struct vs_sink *sink, struct vs_answer *ret, struct vs_error *err);
#endif
