/* prog/worker/claim_request.c - what a receipt says of the request: the model, how it computes, the prompt and the draws. */
#include "prog/worker/claim.h"
#include "prog/worker/generate.h"
#include "prog/worker/work.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void say_model(struct vs_statement *s, const struct vs_model *m)
{
    const struct vs_model_config *c = vs_model_config(m);
    snprintf(s->contract.id, sizeof s->contract.id, "%s", c->high ? "VNC-1H" : "VNC-1");
    snprintf(s->numeric.kv_type, sizeof s->numeric.kv_type, "%s", vs_kv_type_name(c->kv_type));
    s->numeric.n_ctx = vs_model_context(m);
    snprintf(s->observed.isa, sizeof s->observed.isa, "%s", c->backend->level_name(c->level));
    s->observed.threads = c->n_threads;
    s->observed.chunk = c->chunk;
}

static void say_sampling(struct vs_statement *s, const struct vs_sampling *p)
{
    s->request.seed = p->seed;
    s->request.temperature = p->temperature;
    s->request.top_p = p->top_p;
    s->request.min_p = p->min_p;
    s->request.typical_p = p->typical_p;
    s->request.repeat_penalty = p->repeat_penalty;
    s->request.presence_penalty = p->presence_penalty;
    s->request.frequency_penalty = p->frequency_penalty;
    s->request.top_k = p->top_k;
    s->request.repeat_last_n = p->repeat_last_n;
}

/* Each of these is committed to, and stands in the opening where there is one. */
static void commit_bias(const uint8_t *salt, const struct vs_sampling *p, struct vs_hashed *ret, json_t *opening)
{
    struct vs_sha256 sum;
    json_t *list = json_array();
    vs_commit_begin(&sum, VS_COMMIT_BIAS, salt);
    for (size_t i = 0; i < p->n_bias; i++) {
        uint32_t word[2] = { p->bias[i].id };
        char bits[9];
        memcpy(&word[1], &p->bias[i].bias, sizeof word[1]);
        vs_commit_add_ids(&sum, word, 2);
        snprintf(bits, sizeof bits, "%08" PRIx32, word[1]);
        json_array_append_new(list, json_pack("[I, s]", (json_int_t)word[0], bits));
    }
    vs_sha256_end(&sum, ret->hash);
    ret->is_there = p->n_bias > 0;
    if (ret->is_there)
        json_object_set(opening, "bias", list);
    json_decref(list);
}

static void commit_stops(const uint8_t *salt, const struct vs_order *o, struct vs_hashed *ret, json_t *opening)
{
    struct vs_sha256 sum;
    json_t *list = json_array();
    vs_commit_begin(&sum, VS_COMMIT_STOP, salt);
    for (size_t i = 0; i < o->n_stops; i++) {
        vs_commit_add_text(&sum, o->stop[i], o->stop_n[i]);
        json_array_append_new(list, json_stringn(o->stop[i], o->stop_n[i]));
    }
    vs_sha256_end(&sum, ret->hash);
    ret->is_there = o->n_stops > 0;
    if (ret->is_there)
        json_object_set(opening, "stop", list);
    json_decref(list);
}

static void commit_stop_tokens(const uint8_t *salt, const struct vs_ids *ids, struct vs_hashed *ret, json_t *opening)
{
    vs_commit_ids(VS_COMMIT_STOP_TOKENS, salt, ids->id, ids->n, ret->hash);
    ret->is_there = ids->n > 0;
    if (ret->is_there)
        json_object_set_new(opening, "stop_tokens", vs_ids_json(ids->id, ids->n, NULL));
}

/* As JSON, which the opening has as a text. */
static int commit_json(const uint8_t *salt, const char *name, const json_t *value, struct vs_hashed *ret, json_t *opening)
{
    struct vs_buf text = { 0 };
    if (!value || json_is_null(value))
        return VS_OK;
    vs_json_dump(value, &text);
    if (text.status == VS_OK) {
        vs_commit(name, salt, text.data, text.n, ret->hash);
        json_object_set_new(opening, name, json_stringn(text.data, text.n));
    }
    ret->is_there = true;
    int r = text.status;
    vs_buf_clear(&text);
    return r;
}

/* As much as they count for this request; which they are is known with the model's digest. */
static void say_adapters(struct vs_statement *s, const struct vs_work *w)
{
    static_assert((int)VS_STATEMENT_ADAPTERS >= (int)VS_MAX_ADAPTERS, "a statement has room for all of them");
    s->model.adapters.n = vs_model_n_adapters(w->s->model);
    for (uint32_t i = 0; i < s->model.adapters.n; i++)
        s->model.adapters.one[i].scale = w->adapters[i];
}

int vs_claim_request(struct vs_claim *claim, const struct vs_work *w, const struct vs_asked *a, const struct vs_ids *prompt,
                     struct vs_error *err)
{
    const struct vs_order *order = &a->order;
    bool shaped = order->forces || order->or_calls || a->opening.may_reason;     /* tools alone bend nothing until one is called */
    const struct vs_service *s = w->s;
    const json_t *request = w->request;
    const uint8_t *salt = vs_claim_salt(claim);
    struct vs_statement asked = { 0 };
    say_model(&asked, s->model);
    say_adapters(&asked, w);
    say_sampling(&asked, &order->sampling);
    asked.observed.parallel = s->parallel;
    asked.request.n_prompt = prompt->n;
    asked.request.max_tokens = order->max_tokens;
    asked.request.ignore_eos = order->ignore_eos;
    asked.request.special = order->special;
    asked.request.parts = a->teller.is_in_parts;
    asked.request.shaped = shaped;
    asked.request.prompt.is_there = true;
    vs_commit_ids(VS_COMMIT_PROMPT, salt, prompt->id, prompt->n, asked.request.prompt.hash);
    json_t *opening = json_object();
    commit_bias(salt, &order->sampling, &asked.request.bias, opening);
    commit_stops(salt, order, &asked.request.stop, opening);
    commit_stop_tokens(salt, &order->stop_tokens, &asked.request.stop_tokens, opening);
    int r = commit_json(salt, VS_COMMIT_CONSTRAINT, json_object_get(request, "constraint"), &asked.request.constraint, opening);
    if (r == VS_OK && (shaped || a->tools))
        r = commit_json(salt, VS_COMMIT_ASKED, request, &asked.request.asked, opening);
    if (r == VS_OK)
        r = vs_claim_prompt(claim, prompt->id, prompt->n);
    if (vs_claim_begin(claim, &asked, opening, w->n_lanes) != VS_OK || r != VS_OK)
        return vs_error_set(err, VS_E_NOMEM, "out of memory");
    return VS_OK;
}
