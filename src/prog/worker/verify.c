/* prog/worker/verify.c - the method verify: the computation that a receipt is about is done again (docs/RECEIPT.md).
 *
 *     replay: one prefill over prompt and answer; the logits of each place decide a token, which must be the recorded one
 *     decode: token by token, as it was made
 *
 * Each token is drawn again, with the logits, the mask of the constraint, the seed and the position; the chain is made of what is
 * computed here; text and end follow from the tokens. What another model, contract or cache would compute says nothing: that is
 * told before anything is computed. */
#include "engine/file.h"
#include "prog/worker/generate.h"
#include "prog/worker/work.h"
#include "receipt/statement.h"

#include "base/bytes.h"
#include "ipc/keys.h"
#include "base/word.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum verdict { OPEN, MATCH, MISMATCH, UNVERIFIABLE };

struct replay {
    struct vs_work work;
    struct vs_statement statement;       /* its worker's part */
    uint8_t salt[VS_SALT_BYTES], h[VS_DIGEST_BYTES];
    struct vs_asked asked;
    struct vs_made made;                 /* all tokens are there; its `next` goes through them */
    bool decode;
    struct vs_sha256 text;
    enum verdict verdict;
    int64_t at;                          /* of a mismatch: which token of the answer; -1: none of them */
    char reason[300];
};

__attribute__((format(printf, 4, 5)))
static void judge(struct replay *p, enum verdict verdict, int64_t at, const char *format, ...)
{
    va_list list;
    if (p->verdict != OPEN)
        return;
    p->verdict = verdict;
    p->at = at;
    va_start(list, format);
    vsnprintf(p->reason, sizeof p->reason, format, list);
    va_end(list);
}

/* ---- the end ---- */

static bool is_finish(const struct replay *p, const char *word)
{
    return strcmp(json_string_value(json_object_get(p->work.request, "finish")), word) == 0;
}

static void judge_finish(struct replay *p)
{
    bool natural = is_finish(p, "stop") || is_finish(p, "length") || is_finish(p, "tool_calls");
    if (natural && !p->made.finish)
        judge(p, MISMATCH, -1, "the answer does not end behind these tokens");
    else if (natural && !is_finish(p, p->made.finish))
        judge(p, MISMATCH, -1, "the answer ends by '%s'", p->made.finish);
    else if (!natural && p->made.finish)
        judge(p, UNVERIFIABLE, -1, "the answer is at its end ('%s') behind these tokens: nobody can redo what stopped it",
              p->made.finish);
}

/* All tokens are as they were drawn. */
static void judge_whole(struct replay *p)
{
    const struct vs_statement *s = &p->statement;
    uint8_t text[VS_DIGEST_BYTES];
    vs_sha256_end(&p->text, text);
    judge_finish(p);
    if (memcmp(p->h, s->trace.chain.hash, sizeof p->h) != 0)
        judge(p, MISMATCH, -1, "the tokens are as they were drawn, but not from these logits, or not for this request: the chain "
              "is another one");
    if (!s->text.is_there || memcmp(text, s->text.hash, sizeof text) != 0)
        judge(p, MISMATCH, -1, "the tokens are another text");
    judge(p, MATCH, -1, "%s", "");
}

/* ---- one token ---- */

/* The token stands in its place: its text, and perhaps the end. */
static int follow(struct replay *p, uint32_t id, struct vs_error *err)
{
    struct vs_made *m = &p->made;
    struct vs_error why = { 0 };
    size_t n = 0;
    int r = vs_made_follow(&p->asked, m, id, &n, &why);
    if (r == VS_E_INVALID) {
        judge(p, MISMATCH, (int64_t)(m->next - 1 - p->asked.n_prompt), "the constraint does not allow this token");
        return VS_OK;
    }
    if (r == VS_OK && n)
        vs_sha256_add(&p->text, m->stopper.held.data, n);
    if (r == VS_OK)
        r = vs_made_keep(&p->asked, m, id, n, NULL, &why);
    vs_teller_drop(&m->teller, m->teller.n);     /* it is told to nobody */
    return r == VS_OK ? r : vs_error_set(err, r, "%s", why.text);
}

static int decide(struct replay *p, struct vs_sampler *sampler, const float *logits, struct vs_error *err)
{
    size_t position = p->made.next;
    int64_t at = (int64_t)(position - p->asked.n_prompt);
    uint32_t id, recorded = p->made.tokens.id[position];
    uint8_t d[VS_DIGEST_BYTES];
    if (p->made.finish) {
        judge(p, MISMATCH, at, "the answer has ended ('%s') before this token", p->made.finish);
        return VS_OK;
    }
    struct vs_error why = { 0 };
    int r = vs_made_draw(&p->asked, &p->made, p->asked.order.sampling, sampler, logits, &id, &why);
    if (r == VS_OK && id != recorded)
        judge(p, MISMATCH, at, "token %u is drawn here, and the receipt has %u", id, recorded);
    else if (r == VS_E_FAULT || r == VS_E_INVALID)
        judge(p, MISMATCH, at, "no token is drawn here: %.200s", why.text);
    else if (r != VS_OK)
        return vs_error_set(err, r, "%s", why.text);
    if (p->verdict != OPEN)
        return VS_OK;
    vs_trace_digest((unsigned)p->statement.trace.level, logits, vs_model_n_vocab(p->work.s->model), d);
    vs_trace_step(p->h, (uint32_t)position, recorded, d);
    return follow(p, recorded, err);
}

/* ---- what the batch asks ---- */

static void want(struct vs_work *w, uint32_t lane, struct vs_want *ret)
{
    const struct replay *p = (const struct replay *)w;
    (void)lane;
    *ret = (struct vs_want){ .tokens = p->made.tokens.id, .decode = p->decode && p->made.next > p->asked.n_prompt };
    if (p->verdict != OPEN)
        return;
    /* The last token's own row decides nothing. */
    ret->n = ret->n_known = (uint32_t)(p->decode ? p->made.next : p->made.tokens.n - 1);
    ret->n_out = p->decode ? 1 : (uint32_t)(p->made.tokens.n - p->made.next);
    ret->n_shared = p->decode ? ret->n - 1 : 0;
}

static int take(struct vs_work *w, uint32_t lane, struct vs_sampler *sampler, const float *logits, uint32_t n, struct vs_error *err)
{
    struct replay *p = (struct replay *)w;
    int r = VS_OK;
    (void)lane;
    for (uint32_t i = 0; i < n && r == VS_OK && p->verdict == OPEN; i++) {
        r = decide(p, sampler, logits + i * (size_t)vs_model_n_vocab(w->s->model), err);
        if (r == VS_OK && p->verdict == OPEN && p->made.next == p->made.tokens.n)
            judge_whole(p);
    }
    return r;
}

static int send_place(struct vs_work *w, uint32_t lane, struct vs_error *err)
{
    const struct replay *p = (const struct replay *)w;
    (void)lane;
    int r = w->sink->progress(w->sink->context, "verify", p->made.next - p->asked.n_prompt, p->made.tokens.n - p->asked.n_prompt);
    return r == VS_OK ? r : vs_error_set(err, r, "%s", vs_status_text(r));
}

static json_t *result(struct vs_work *w)
{
    static const char *const names[] = { "", "MATCH", "MISMATCH", "UNVERIFIABLE" };
    const struct replay *p = (const struct replay *)w;
    return json_pack("{s:s, s:o, s:s, s:I}", "verdict", names[p->verdict], "at", p->at < 0 ? json_null() : json_integer(p->at),
                     "reason", p->reason, "tokens", (json_int_t)(p->made.next - p->asked.n_prompt));
}

static void free_replay(struct vs_work *w)
{
    struct replay *p = (struct replay *)w;
    vs_made_clear(&p->made);
    vs_asked_clear(&p->asked);
    free(p);
}

static const struct vs_work_kind kind = {
    .want = want, .take = take, .send = send_place, .result = result, .free = free_replay,
};

/* ---- begin ---- */

/* The same ones, in their order; each then counts as much as it did. */
static void compare_adapters(struct replay *p)
{
    const struct vs_adapted *a = &p->statement.model.adapters;
    unsigned n = vs_model_n_adapters(p->work.s->model);
    if (a->n != n)
        judge(p, UNVERIFIABLE, -1, "the answer was computed with %u adapter%s, and %u %s loaded here (--lora)", a->n,
              vs_plural(a->n), n, n == 1 ? "is" : "are");
    for (unsigned i = 0; i < n && p->verdict == OPEN; i++) {
        char named[65];
        const char *hex = vs_model_file_adapter_digest(p->work.s->file, i);
        vs_hex(a->one[i].sha256, VS_DIGEST_BYTES, named);
        if (strcmp(hex, named) != 0)
            judge(p, UNVERIFIABLE, -1, "adapter %u of the receipt is %s, and this one is %s", i + 1, named, hex);
        if (fabsf(a->one[i].scale) > VS_MOST_SCALE)
            judge(p, MISMATCH, -1, "no adapter counts as much as adapter %u of the receipt", i + 1);
        p->work.adapters[i] = a->one[i].scale;
    }
}

/* Is it this model that is spoken of? The digest may still be under way. */
static int compare_model(struct replay *p, struct vs_error *err)
{
    struct vs_service *s = p->work.s;
    const struct vs_model_config *c = vs_model_config(s->model);
    const struct vs_statement *st = &p->statement;
    char hex[65], named[65];
    uint64_t done, total;
    int r;
    while ((r = vs_service_digest(s, 100, hex, &done, &total, err)) == VS_E_BUSY)
        if ((r = vs_check_ask(&p->work.sink->check)) != VS_OK)
            return vs_error_set(err, r, "%s", vs_status_text(r));
    if (r != VS_OK)
        return r;
    vs_hex(st->model.sha256.hash, VS_DIGEST_BYTES, named);
    if (strcmp(hex, named) != 0)
        judge(p, UNVERIFIABLE, -1, "the receipt is of the model %s, and this one is %s", named, hex);
    compare_adapters(p);
    if (strcmp(st->contract.id, c->high ? "VNC-1H" : "VNC-1") != 0)
        judge(p, UNVERIFIABLE, -1, "the receipt is of the contract %s, and the model is loaded under another one", st->contract.id);
    if (strcmp(st->numeric.kv_type, vs_kv_type_name(c->kv_type)) != 0)
        judge(p, UNVERIFIABLE, -1, "keys and values were kept as %s, and are kept here as %s", st->numeric.kv_type,
              vs_kv_type_name(c->kv_type));
    if (st->numeric.n_ctx != vs_model_context(s->model))
        judge(p, UNVERIFIABLE, -1, "the context was %" PRIu64 ", and here it is %u", st->numeric.n_ctx, vs_model_context(s->model));
    if ((st->request.shaped || is_finish(p, "tool_calls")) && !json_object_get(p->work.request, "asked"))
        judge(p, UNVERIFIABLE, -1, "%s", "calls of tools or reasoning bent the draws: to redo them, what was asked is needed");
    return VS_OK;
}

static bool committed(const struct replay *p, const char *name, const struct vs_ids *ids, const struct vs_hashed *to)
{
    uint8_t digest[VS_DIGEST_BYTES];
    vs_commit_ids(name, p->salt, ids->id, ids->n, digest);
    return to->is_there && memcmp(digest, to->hash, sizeof digest) == 0;
}

/* [[id, "bits"]], which becomes what the sampler adds; false: it is none, or not what was committed to. */
static bool read_bias(struct replay *p, const json_t *list)
{
    struct vs_sha256 sum;
    uint8_t digest[VS_DIGEST_BYTES];
    size_t n = json_array_size(list);
    if (!(p->asked.order.bias = calloc(n + 1, sizeof *p->asked.order.bias)))
        return false;
    vs_commit_begin(&sum, VS_COMMIT_BIAS, p->salt);
    for (size_t i = 0; i < n; i++) {
        const json_t *pair = json_array_get(list, i), *id = json_array_get(pair, 0), *bits = json_array_get(pair, 1);
        uint32_t words[2] = { (uint32_t)json_integer_value(id), 0 };
        if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) > UINT32_MAX
            || json_string_length(bits) != 8)
            return false;
        for (size_t k = 0; k < 8; k++)
            words[1] = words[1] << 4 | (uint32_t)(vs_hex_digit(json_string_value(bits)[k]) & 15);
        vs_commit_add_ids(&sum, words, 2);
        p->asked.order.bias[i].id = words[0];
        memcpy(&p->asked.order.bias[i].bias, &words[1], sizeof words[1]);
    }
    vs_sha256_end(&sum, digest);
    p->asked.order.sampling.bias = p->asked.order.bias;
    p->asked.order.sampling.n_bias = n;
    return p->statement.request.bias.is_there == (n > 0)
        && (n == 0 || memcmp(digest, p->statement.request.bias.hash, sizeof digest) == 0);
}

static bool read_stops(struct replay *p, const json_t *list)
{
    struct vs_sha256 sum;
    uint8_t digest[VS_DIGEST_BYTES];
    size_t i;
    const json_t *v;
    vs_commit_begin(&sum, VS_COMMIT_STOP, p->salt);
    json_array_foreach(list, i, v) {
        size_t n = json_string_length(v);
        if (!n || n > VS_MAX_STOP_BYTES || i >= VS_MAX_STOPS)
            return false;
        p->asked.order.stop[p->asked.order.n_stops] = json_string_value(v);
        p->asked.order.stop_n[p->asked.order.n_stops++] = n;
        vs_commit_add_text(&sum, json_string_value(v), n);
    }
    vs_sha256_end(&sum, digest);
    return p->statement.request.stop.is_there == (i > 0)
        && (i == 0 || memcmp(digest, p->statement.request.stop.hash, sizeof digest) == 0);
}

/* JSON, or NULL, is what was committed to under that name. */
static bool is_committed_json(const struct replay *p, const char *name, const json_t *value, const struct vs_hashed *to)
{
    struct vs_buf text = { 0 };
    uint8_t digest[VS_DIGEST_BYTES];
    if (value)
        vs_json_dump(value, &text);
    vs_commit(name, p->salt, text.data ? text.data : "", text.n, digest);
    bool good = text.status == VS_OK && to->is_there == (value != NULL)
        && (!value || memcmp(digest, to->hash, sizeof digest) == 0);
    vs_buf_clear(&text);
    return good;
}

static void read_sampling(struct replay *p)
{
    const struct vs_statement_request *q = &p->statement.request;
    p->asked.order.sampling = (struct vs_sampling){
        .seed = q->seed, .temperature = q->temperature, .top_k = (uint32_t)q->top_k, .top_p = q->top_p, .min_p = q->min_p,
        .typical_p = q->typical_p, .repeat_penalty = q->repeat_penalty, .presence_penalty = q->presence_penalty,
        .frequency_penalty = q->frequency_penalty, .repeat_last_n = (int32_t)q->repeat_last_n,
    };
    p->asked.order.max_tokens = q->max_tokens;
    p->asked.order.ignore_eos = q->ignore_eos;
    p->asked.order.special = q->special;
    p->asked.order.parts = q->parts;
}

/* Ids as they are; those that the model does not have are judged later. False: no list of ids, or no memory. */
static bool read_ids(const struct replay *p, const char *key, struct vs_ids *ret)
{
    const json_t *list = json_object_get(p->work.request, key), *v;
    size_t i;
    if (vs_ids_reserve(ret, json_array_size(list) + 1) != VS_OK)
        return false;
    json_array_foreach(list, i, v)
        if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > UINT32_MAX
            || vs_ids_add(ret, (uint32_t)json_integer_value(v)) != VS_OK)
            return false;
    return true;
}

static void judge_vocabulary(struct replay *p, const struct vs_ids *ids, bool is_answer)
{
    uint32_t n_vocab = vs_model_n_vocab(p->work.s->model);
    for (size_t i = 0; i < ids->n; i++)
        if (ids->id[i] >= n_vocab)
            judge(p, MISMATCH, is_answer ? (int64_t)i : -1, "token %u is none of this model's", ids->id[i]);
}

static bool is_same(const json_t *a, const json_t *b)
{
    return json_is_null(a) || !a ? !b : json_equal(a, b);
}

/* What bends the draws follows from the whole request, and must lead to the same prompt. */
static int read_asked(struct replay *p, const json_t *asked, const struct vs_ids *prompt, struct vs_error *err)
{
    struct vs_asked *a = &p->asked;
    struct vs_ids own = { 0 };
    struct vs_error why = { 0 };
    int r = vs_key_check_body(json_object_get(asked, "messages") ? VS_MSG_CHAT : VS_MSG_GENERATE, asked, &why);
    if (r == VS_OK)
        r = vs_asked_read(a, asked, &own, &why);
    if (r == VS_E_NOMEM || p->work.sink->check.status != VS_OK)
        r = vs_error_set(err, r, "%s", why.text[0] ? why.text : vs_status_text(r));
    else if (r != VS_OK)
        judge(p, MISMATCH, -1, "what was asked is refused here: %.200s", why.text);
    else if (own.n != prompt->n || memcmp(own.id, prompt->id, own.n * sizeof *own.id) != 0)
        judge(p, MISMATCH, -1, "what was asked becomes another prompt here");
    else if (a->teller.is_in_parts != p->statement.request.parts
             || !is_same(json_object_get(asked, "constraint"), json_object_get(p->work.request, "constraint")))
        judge(p, MISMATCH, -1, "what was asked is another request than the receipt's");
    vs_ids_clear(&own);
    a->n_prompt = prompt->n;
    free(a->order.bias);                 /* these are read from what is committed to by itself, as without it */
    a->order.bias = NULL;
    a->order.n_stops = 0;
    vs_ids_clear(&a->order.stop_tokens);
    return p->verdict == OPEN ? r : VS_OK;
}

/* The request as the receipt opens it: each part must be what is committed to. */
static int read_request(struct replay *p, struct vs_ids *prompt, struct vs_ids *answer, struct vs_error *err)
{
    const json_t *o = p->work.request, *asked = json_object_get(o, "asked");
    const struct vs_statement_request *q = &p->statement.request;
    struct vs_order *order = &p->asked.order;
    struct vs_error why = { 0 };
    bool good = read_ids(p, "prompt_tokens", prompt) && read_ids(p, "tokens", answer)
        && committed(p, VS_COMMIT_PROMPT, prompt, &q->prompt) && committed(p, VS_COMMIT_TOKENS, answer, &p->statement.tokens)
        && prompt->n == q->n_prompt && answer->n == p->statement.trace.n_out
        && is_committed_json(p, VS_COMMIT_CONSTRAINT, json_object_get(o, "constraint"), &q->constraint)
        && (!asked || is_committed_json(p, VS_COMMIT_ASKED, asked, &q->asked));
    p->asked.n_prompt = p->made.next = prompt->n;
    int r = good && asked ? read_asked(p, asked, prompt, err)
          : good ? vs_constraint_read(p->work.s, o, VS_GRAMMAR_WRITES, &p->work.sink->check, &order->grammar, err) : VS_OK;
    if (r != VS_OK || p->verdict != OPEN)
        return r;
    read_sampling(p);
    good = good && read_ids(p, "stop_tokens", &order->stop_tokens) && q->stop_tokens.is_there == (order->stop_tokens.n > 0)
        && (!order->stop_tokens.n || committed(p, VS_COMMIT_STOP_TOKENS, &order->stop_tokens, &q->stop_tokens))
        && read_bias(p, json_object_get(o, "bias")) && read_stops(p, json_object_get(o, "stop"));
    if (!good)
        return vs_error_set(err, VS_E_INVALID, "prompt_tokens, tokens, bias, stop, stop_tokens, constraint and asked must be what "
                            "the statement commits to; `veritas verify --mode structure` says which is not");
    judge_vocabulary(p, prompt, false);
    judge_vocabulary(p, answer, true);
    uint32_t n_source = vs_model_source(p->work.s->model, prompt->id, (uint32_t)prompt->n);
    if (vs_model_graph(p->work.s->model)->n_source && (n_source == 0 || n_source == prompt->n))
        judge(p, MISMATCH, -1, "%s", "the prompt is not a source with the token behind it that begins its answer");
    if (vs_sampling_check(&order->sampling, vs_model_n_vocab(p->work.s->model), &why) != VS_OK)
        judge(p, MISMATCH, -1, "nothing is drawn for such a request: %.200s", why.text);
    if (prompt->n + answer->n > (size_t)vs_model_context(p->work.s->model) + 1)
        judge(p, MISMATCH, -1, "%s", "prompt and answer do not fit into the context");
    return VS_OK;
}

/* The answer begins, and its tokens wait to be judged. */
static int begin_made(struct replay *p, const struct vs_ids *prompt, const struct vs_ids *answer, struct vs_error *err)
{
    struct vs_error why = { 0 };
    int r = vs_made_begin(&p->asked, &p->made, prompt, &why);
    if (r == VS_OK && vs_ids_append(&p->made.tokens, answer->id, answer->n) != VS_OK)
        r = VS_E_NOMEM;
    if (r == VS_OK && vs_statement_chain(&p->statement, p->salt, p->h) != VS_OK)
        r = VS_E_NOMEM;
    if (r == VS_E_NOMEM)
        return vs_error_set(err, r, "out of memory");
    if (r != VS_OK)
        judge(p, MISMATCH, -1, "no answer can be made here: %.200s", why.text);
    return VS_OK;
}

static int begin(struct replay *p, struct vs_error *err)
{
    const json_t *o = p->work.request;
    const char *statement = json_string_value(json_object_get(o, "statement"));
    const char *salt = json_string_value(json_object_get(o, "salt"));
    struct vs_ids prompt = { 0 }, answer = { 0 };
    if (!statement || !salt || !json_object_get(o, "finish") || !json_object_get(o, "prompt_tokens")
        || !json_object_get(o, "tokens"))
        return vs_error_set(err, VS_E_INVALID, "statement, salt, prompt_tokens, tokens and finish must be given");
    if (!vs_hex_is_sha256(salt))
        return vs_error_set(err, VS_E_INVALID, "salt: 64 hex digits in lower case are needed");
    vs_hex_bytes(salt, sizeof p->salt, p->salt);
    p->decode = vs_request_flag(o, "decode");
    p->asked.s = p->work.s;
    p->asked.check = &p->work.sink->check;
    vs_commit_begin(&p->text, VS_COMMIT_TEXT, p->salt);
    int r = vs_statement_parse(statement, json_string_length(json_object_get(o, "statement")), VS_STATEMENT_WORKER, &p->statement,
                               err);
    if (r == VS_OK)
        r = compare_model(p, err);
    if (r == VS_OK && p->verdict == OPEN)
        r = read_request(p, &prompt, &answer, err);
    if (r == VS_OK && p->verdict == OPEN)
        r = begin_made(p, &prompt, &answer, err);
    if (r == VS_OK && p->verdict == OPEN && answer.n == 0) {     /* no token: nothing is drawn */
        p->made.finish = vs_made_is_full(&p->asked, &p->made) ? "length" : NULL;
        judge_whole(p);
    }
    vs_ids_clear(&prompt);
    vs_ids_clear(&answer);
    return r;
}

int vs_service_verify(struct vs_service *s, json_t *request, struct vs_sink *sink, struct vs_answer *ret, struct vs_error *err)
{
    struct replay *p = calloc(1, sizeof *p);
    if (!p)
        return vs_error_set(err, VS_E_NOMEM, "out of memory");
    p->at = -1;
    int r = vs_work_init(&p->work, &kind, s, sink, request, 1, err);
    if (r == VS_OK)
        r = begin(p, err);
    if (r == VS_OK && p->verdict == OPEN) {
        ret->work = &p->work;
        return VS_OK;
    }
    if (r == VS_OK)
        ret->result = result(&p->work);  /* nothing has to be computed for it */
    vs_work_free(&p->work);
    return r;
}
