/* prog/worker/service_internal.h - shared by the parts of the service; stays inside the worker. */
#ifndef VS_WORKER_SERVICE_INTERNAL_H
#define VS_WORKER_SERVICE_INTERNAL_H
#include "base/buf.h"
#include "base/entry.h"
#include "engine/model.h"
#include "import/header.h"
#include "ipc/json.h"
#include "ipc/keys.h"
#include "ipc/message.h"
#include "prog/worker/chat.h"
#include "prog/worker/service.h"
#include "sampler/sampler.h"
#include "tokenizer/tokenizer.h"

struct vs_service {
    struct vs_model_file *file;
    struct vs_header *header;
    struct vs_model_config config;       /* as the settings have it */
    struct vs_model *model;              /* NULL when opened to be looked at only */
    struct vs_tokenizer *tokenizer;      /* NULL: no_tokenizer says why */
    char no_tokenizer[512];
    struct vs_chat chat;
    uint32_t parallel;                   /* requests of a step, */
    uint64_t target_ns;                  /* which should take no longer while others decode */
    bool speculates;                     /* unless the request says no; */
    struct vs_drafter *drafter;          /* with this model; NULL: there is none */
    struct vs_works *works;
    struct vs_told { uint32_t used, cached, parked; uint64_t preemptions; } told;      /* by the last STATS */
    double load_ms;
};

/* Keys of a request, which ipc/keys.h has checked; `preset` and false when one is absent. */
int64_t vs_request_int(const json_t *request, const char *key, int64_t preset);
bool vs_request_flag(const json_t *request, const char *key);
int vs_request_ids(const struct vs_service *s, const json_t *list, const char *key, struct vs_check *check, struct vs_ids *ret,
                   struct vs_error *err);
json_t *vs_ids_json(const uint32_t *id, size_t n, struct vs_check *check);      /* NULL: stopped, or no memory */
int vs_service_need_tokenizer(const struct vs_service *s, struct vs_error *err);
int vs_service_encode(const struct vs_service *s, const char *text, size_t n, bool special, unsigned flags,
                      struct vs_check *check, struct vs_ids *ids, struct vs_error *err);

int vs_service_generate(struct vs_service *s, json_t *request, struct vs_sink *sink, struct vs_answer *ret, struct vs_error *err);
int vs_service_logits(struct vs_service *s, json_t *request, struct vs_sink *sink, struct vs_answer *ret, struct vs_error *err);
int vs_service_perplexity(struct vs_service *s, json_t *request, struct vs_sink *sink, struct vs_answer *ret, struct vs_error *err);
int vs_service_bench(struct vs_service *s, json_t *request, struct vs_sink *sink, struct vs_answer *ret, struct vs_error *err);
#endif
