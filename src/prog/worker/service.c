/* prog/worker/service.c - open a model, answer methods. See service.h; the measuring methods are in measure.c. */
#include "prog/worker/service_internal.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/word.h"
#include "cpu/backend.h"
#include "graph/graph.h"
#include "prog/worker/drafter.h"
#include "prog/worker/inspect.h"
#include "prog/worker/work.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void vs_service_prepare(void)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
    EVP_Digest("", 0, digest, NULL, EVP_sha256(), NULL);     /* fetches what it needs while it still may */
    json_object_seed(0);
}

/* ---- JSON in ---- */

int64_t vs_request_int(const json_t *request, const char *key, int64_t preset)
{
    const json_t *v = json_object_get(request, key);
    return json_is_integer(v) ? json_integer_value(v) : preset;
}

bool vs_request_flag(const json_t *request, const char *key)
{
    return json_is_true(json_object_get(request, key));
}

int vs_request_ids(const struct vs_service *s, const json_t *list, const char *key, struct vs_check *check, struct vs_ids *ret,
                   struct vs_error *err)
{
    if (!json_is_array(list))
        return vs_error_set(err, VS_E_INVALID, "%s must be a list of token ids", key);
    uint32_t n_vocab = s->model ? vs_model_n_vocab(s->model) : s->tokenizer ? vs_tokenizer_n_vocab(s->tokenizer) : 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *v = json_array_get(list, i);
        int r = vs_check_work(check, 1);
        if (r != VS_OK)
            return r;
        if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) >= n_vocab)
            return vs_error_set(err, VS_E_INVALID, "%s: number %zu in the list is not a token id (there are %u, from 0)",
                                key, i + 1, n_vocab);
        if (vs_ids_add(ret, (uint32_t)json_integer_value(v)) != VS_OK)
            return vs_error_set(err, VS_E_NOMEM, "out of memory");
    }
    return VS_OK;
}

json_t *vs_ids_json(const uint32_t *id, size_t n, struct vs_check *check)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        if (vs_check_work(check, 4) != VS_OK || json_array_append_new(list, json_integer(id[i])) != 0)
            return json_decref(list), NULL;
    return list;
}

const char *vs_service_guess(const struct vs_service *s)
{
    return s->tokenizer && vs_tokenizer_is_guess(s->tokenizer)
        ? "the model file lacks tokenizer.ggml.pre, which says how its text is cut: the token ids are a guess, and likely wrong"
        : NULL;
}

json_t *vs_service_tell_guess(const struct vs_service *s, json_t *result)
{
    const char *guess = vs_service_guess(s);
    if (result && guess)
        json_object_set_new(result, "notice", json_string(guess));
    return result;
}

int vs_service_need_tokenizer(const struct vs_service *s, struct vs_error *err)
{
    return s->tokenizer ? VS_OK : vs_error_set(err, VS_E_UNSUPPORTED, "%s", s->no_tokenizer);
}

int vs_service_begin_answer(const struct vs_service *s, struct vs_ids *ids, struct vs_error *err)
{
    uint32_t n_source = vs_model_source(s->model, ids->id, (uint32_t)ids->n);
    if (!vs_model_graph(s->model)->n_source || (n_source && n_source < ids->n))
        return VS_OK;
    if (!n_source)
        return vs_error_set(err, VS_E_INVALID, "the tokens begin with %u, which begins an answer of this model: there is nothing "
                            "that is answered", vs_model_graph(s->model)->start);
    return vs_ids_add(ids, vs_model_graph(s->model)->start) == VS_OK ? VS_OK : vs_error_set(err, VS_E_NOMEM, "out of memory");
}

int vs_service_encode(const struct vs_service *s, const char *text, size_t n, bool special, unsigned flags,
                      struct vs_check *check, struct vs_ids *ids, struct vs_error *err)
{
    int r = vs_service_need_tokenizer(s, err);
    if (r != VS_OK)
        return r;
    struct vs_text_run run = { n, special };
    return vs_tokenizer_encode(s->tokenizer, text, n, &run, n ? 1 : 0, flags, check, ids, err);
}

/* ---- tokenize, detokenize, inspect, facts ---- */

enum {
    MAX_IDS_IN_RESULT = 1000000,         /* more of them go as data: a result has a largest size */
    MAX_TEXT_IN_RESULT = VS_MAX_RESULT - VS_MAX_CONTROL,     /* bytes of JSON */
    DATA_IDS = VS_MAX_CHUNK / 4,
};

static int send_ids(struct vs_sink *sink, const struct vs_ids *ids)
{
    uint8_t bytes[DATA_IDS * 4];
    int r = VS_OK;
    for (size_t i = 0, n; i < ids->n && r == VS_OK; i += n) {
        for (n = 0; n < DATA_IDS && i + n < ids->n; n++)
            vs_store_u32le(bytes + 4 * n, ids->id[i + n]);
        r = sink->data(sink->context, bytes, 4 * n);
    }
    return r;
}

/* The first of these keys that a request has; NULL. */
static const char *first_of(const json_t *request, const char *const *keys)
{
    for (; *keys; keys++) {
        const json_t *v = json_object_get(request, *keys);
        if (v && !json_is_null(v))
            return *keys;
    }
    return NULL;
}

/* A text, or a conversation as CHAT would read it. */
static int read_ids(struct vs_service *s, const json_t *request, struct vs_check *check, struct vs_ids *ret, struct vs_error *err)
{
    static const char *const of_text[] = { "text", "no_bos", "special", NULL };
    static const char *const of_messages[] = { "documents", "begun", "tools", "tool_choice", "template", "template_text",
                                               "template_args", "now", NULL };
    const json_t *text = json_object_get(request, "text");
    const char *key;
    if (json_is_array(json_object_get(request, "messages"))) {
        key = first_of(request, of_text);
        return key ? vs_error_set(err, VS_E_INVALID, "messages are the whole of it: leave out either messages or %s", key)
                   : vs_prompt_messages(s, request, check, ret, err);
    }
    if (!json_is_string(text))
        return vs_error_set(err, VS_E_INVALID, "there is nothing to tokenize: the request has no text and no messages");
    if ((key = first_of(request, of_messages)))
        return vs_error_set(err, VS_E_INVALID, "%s is for messages: leave out either text or %s", key, key);
    return vs_service_encode(s, json_string_value(text), json_string_length(text), vs_request_flag(request, "special"),
                             vs_request_flag(request, "no_bos") ? 0 : VS_ENCODE_ADD_SPECIAL, check, ret, err);
}

static int tokenize(struct vs_service *s, json_t *request, struct vs_sink *sink, struct vs_answer *ret, struct vs_error *err)
{
    struct vs_ids ids = { 0 };
    if (vs_request_flag(request, "render"))
        return json_is_array(json_object_get(request, "messages"))
                   ? vs_prompt_render(s, request, &sink->check, &ret->result, err)
                   : vs_error_set(err, VS_E_INVALID, "render is for messages: a text is what it is");
    int r = read_ids(s, request, &sink->check, &ids, err);
    if (r == VS_OK && ids.n > MAX_IDS_IN_RESULT) {
        r = send_ids(sink, &ids);
        if (r == VS_OK)
            ret->result = json_pack("{s:I}", "n", (json_int_t)ids.n);
    } else if (r == VS_OK) {
        ret->result = json_pack("{s:o, s:I}", "tokens", vs_ids_json(ids.id, ids.n, &sink->check), "n", (json_int_t)ids.n);
    }
    vs_service_tell_guess(s, ret->result);
    vs_ids_clear(&ids);
    return r;
}

static int detokenize(struct vs_service *s, json_t *request, struct vs_sink *sink, struct vs_answer *ret, struct vs_error *err)
{
    struct vs_ids ids = { 0 };
    struct vs_buf text = { .limit = MAX_TEXT_IN_RESULT };
    bool special = vs_request_flag(request, "special");
    int r = vs_service_need_tokenizer(s, err);
    if (r == VS_OK)
        r = vs_request_ids(s, json_object_get(request, "tokens"), "tokens", &sink->check, &ids, err);
    if (r == VS_OK)
        r = vs_tokenizer_decode(s->tokenizer, ids.id, ids.n, special, &sink->check, &text, err);
    if (r == VS_E_LIMIT || (r == VS_OK && vs_json_text_bytes(text.data, text.n) > MAX_TEXT_IN_RESULT))
        r = vs_error_set(err, VS_E_LIMIT, "the text of %zu token%s is longer than a result may be (%u MiB); "
                         "give fewer at once", ids.n, vs_plural(ids.n), VS_MAX_RESULT >> 20);
    if (r == VS_OK)
        ret->result = json_pack("{s:o}", "text", vs_json_text(text.data, text.n));
    vs_ids_clear(&ids);
    vs_buf_clear(&text);
    return r;
}

/* {"program": [a line for each instruction]} */
static int inspect_program(struct vs_service *s, uint32_t ctx, json_t **ret, struct vs_error *err)
{
    struct vs_buf text = { .limit = MAX_TEXT_IN_RESULT };
    struct vs_model_config config = s->config;
    config.context = ctx ? ctx : config.context;
    int r = vs_model_describe(s->header, &config, &text, err);
    json_t *lines = r == VS_OK ? json_array() : NULL;
    for (const char *at = text.data, *end; lines && at && (end = strchr(at, '\n')); at = end + 1)
        json_array_append_new(lines, json_stringn(at, (size_t)(end - at)));
    if (r == VS_OK)
        *ret = json_pack("{s:o}", "program", lines);
    vs_buf_clear(&text);
    return r;
}

static int inspect(struct vs_service *s, json_t *request, struct vs_sink *sink, struct vs_answer *ret, struct vs_error *err)
{
    uint32_t ctx = (uint32_t)vs_request_int(request, "ctx", 0);
    if (vs_request_flag(request, "program"))
        return inspect_program(s, ctx, &ret->result, err);
    return vs_inspect(vs_header_gguf(s->header), s->config.backend, ctx, &sink->check, &ret->result, err);
}

static const char *const sharing_names[] = { [VS_KV_SHARE_OWNER] = "owner", [VS_KV_SHARE_ALL] = "shared",
                                             [VS_KV_SHARE_NONE] = "off" };

json_t *vs_service_facts(const struct vs_service *s)
{
    if (!s->model)
        return json_object();
    struct vs_backend_memory memory, draft = { 0 };
    size_t kv_token, draft_kv = 0;
    vs_model_memory(s->model, &memory, &kv_token);
    if (s->drafter)
        vs_drafter_memory(s->drafter, &draft, &draft_kv);
    const struct vs_model_config *c = vs_model_config(s->model);
    size_t pool = vs_model_cache_bytes(s->model);
    return json_pack("{s:b, s:s, s:I, s:s, s:s, s:s, s:I, s:I, s:I, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:s}",
                     "chat_template", s->chat.n > 0,
                     "isa", c->backend->level_name(c->level), "threads", (json_int_t)c->n_threads,
                     "kv_type", vs_kv_type_name(c->kv_type), "precision", c->high ? "high" : "fast",
                     "contract", c->high ? "VNC-1H" : "VNC-1", "context", (json_int_t)c->context,
                     "prefill_chunk", (json_int_t)c->chunk, "context_limit", (json_int_t)vs_model_graph(s->model)->context,
                     "architecture", vs_model_graph(s->model)->architecture,
                     "weight_bytes", (json_int_t)(memory.weights + draft.weights),
                     "step_bytes", (json_int_t)(memory.step + draft.step), "kv_bytes_per_token", (json_int_t)kv_token,
                     "state_bytes", (json_int_t)vs_model_state_bytes(s->model), "states", (json_int_t)c->n_states,
                     "kv_memory", (json_int_t)pool, "kv_bytes", (json_int_t)(pool + draft_kv),
                     "parallel", (json_int_t)s->parallel, "itl_target_ms", (json_int_t)(s->target_ns / 1000000),
                     "prefix_cache", sharing_names[c->sharing], "speculation", s->speculates ? "auto" : "off");
}

json_t *vs_service_stats(struct vs_service *s)
{
    if (!s->model)
        return NULL;
    struct vs_kv_counts pages;
    struct vs_works_counts works;
    struct vs_backend_memory memory;
    size_t kv_token;
    vs_kv_count(vs_model_kv(s->model), &pages);
    vs_works_count(s->works, &works);
    const struct vs_told now = { pages.used, pages.cached, works.parked, works.preemptions, works.prompt_tokens };
    if (memcmp(&now, &s->told, sizeof now) == 0)
        return NULL;
    s->told = now;
    vs_model_memory(s->model, &memory, &kv_token);
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "pages", (json_int_t)pages.pages, "used", (json_int_t)pages.used,
                     "cached", (json_int_t)pages.cached, "page_bytes", (json_int_t)kv_token * VS_PAGE_TOKENS,
                     "parked", (json_int_t)works.parked, "preemptions", (json_int_t)works.preemptions,
                     "prompt_tokens", (json_int_t)works.prompt_tokens);
}

/* ---- the table of methods ---- */

static const struct method {
    uint16_t type;
    bool needs_model, needs_digest, is_quick, needs_logits, no_source;     /* the last: not with a model that answers a source */
    int (*call)(struct vs_service *, json_t *, struct vs_sink *, struct vs_answer *, struct vs_error *);
} methods[] = {
    { VS_MSG_GENERATE,   true,  true,  false, true,  false, vs_service_generate },
    { VS_MSG_CHAT,       true,  true,  false, true,  false, vs_service_generate },
    { VS_MSG_TOKENIZE,   false, false, true,  false, false, tokenize },
    { VS_MSG_DETOKENIZE, false, false, true,  false, false, detokenize },
    { VS_MSG_INSPECT,    false, false, false, false, false, inspect },
    { VS_MSG_LOGITS,     true,  true,  false, true,  false, vs_service_logits },
    { VS_MSG_PERPLEXITY, true,  true,  false, true,  true,  vs_service_perplexity },
    { VS_MSG_BENCH,      true,  true,  false, true,  true,  vs_service_bench },
    { VS_MSG_CONSTRAIN,  false, false, false, false, false, vs_service_constrain },
    { VS_MSG_EMBED,      true,  true,  false, false, true,  vs_service_embed },
    { VS_MSG_RERANK,     true,  true,  false, false, true,  vs_service_rerank },
    { VS_MSG_VERIFY,     true,  true,  false, true,  false, vs_service_verify },
};

static const struct method *method_find(uint16_t type)
{
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (methods[i].type == type)
            return &methods[i];
    return NULL;
}

bool vs_service_has(uint16_t type)
{
    return method_find(type) != NULL;
}

bool vs_service_needs_digest(uint16_t type)
{
    const struct method *m = method_find(type);
    return m && m->needs_digest;
}

bool vs_service_is_quick(uint16_t type)
{
    const struct method *m = method_find(type);
    return m && m->is_quick;
}

int vs_service_digest(struct vs_service *s, unsigned wait_ms, char ret_hex[65], uint64_t *ret_done, uint64_t *ret_total,
                      struct vs_error *err)
{
    *ret_done = *ret_total = 0;
    if (!s->model)
        return VS_E_NOT_FOUND;
    *ret_total = vs_model_file_source(s->file)->n_bytes;
    return vs_model_file_digest(s->file, wait_ms, ret_hex, ret_done, err);
}

const char *vs_service_adapter_digest(const struct vs_service *s, unsigned i)
{
    return vs_model_file_adapter_digest(s->file, i);
}

int vs_service_call(struct vs_service *s, uint16_t type, json_t *request, struct vs_sink *sink, struct vs_answer *ret,
                    struct vs_error *err)
{
    const struct method *m = method_find(type);
    *ret = (struct vs_answer){ 0 };
    if (!m)
        return vs_error_set(err, VS_E_UNSUPPORTED, "'%s' is nothing that a worker does", vs_message_name(type));
    if (m->needs_model && !s->model)
        return vs_error_set(err, VS_E_UNSUPPORTED, "the model was loaded to be looked at only");
    if (m->needs_logits && vs_model_graph(s->model)->output[VS_OUTPUT_LOGITS] == VS_NONE)
        return vs_error_set(err, VS_E_UNSUPPORTED, "a %s model reads texts and can't write any: it answers embed and rerank",
                            vs_model_graph(s->model)->architecture);
    if (m->no_source && vs_model_graph(s->model)->n_source)
        return vs_error_set(err, VS_E_UNSUPPORTED, "a %s model answers a text: it has no perplexity, no speed at a given length "
                            "and no vectors", vs_model_graph(s->model)->architecture);
    int r = vs_key_check_body(type, request, err);
    if (r == VS_OK)
        r = m->call(s, request, sink, ret, err);
    if (r == VS_OK && !ret->result && !ret->work)
        r = sink->check.status != VS_OK ? sink->check.status : vs_error_set(err, VS_E_NOMEM, "out of memory");
    if (r != VS_OK)
        json_decref(ret->result);
    return r;
}

void vs_service_join(struct vs_service *s, struct vs_work *work)
{
    vs_works_join(s->works, work);
}

bool vs_service_turn(struct vs_service *s, void (*attend)(void *context), void *context)
{
    return s->works && vs_works_turn(s->works, attend, context);
}

/* ---- open ---- */

struct loading {
    struct vs_sink *sink;
};

static int progress(void *context, uint64_t done, uint64_t total)
{
    struct vs_sink *sink = ((struct loading *)context)->sink;
    return sink && sink->progress ? sink->progress(sink->context, "load", done, total) : VS_OK;
}

static const char *string_setting(const json_t *settings, const char *key, const char *preset)
{
    const char *v = json_string_value(json_object_get(settings, key));
    return v ? v : preset;
}

enum { PARALLEL = 32, LEAST_OUT = 32, ITL_TARGET_MS = 100 };

/* How many requests share a step and the KV cache. */
static int read_batch(struct vs_service *s, const json_t *settings, struct vs_error *err)
{
    struct vs_model_config *c = &s->config;
    const char *sharing = string_setting(settings, "prefix_cache", "owner");
    int64_t kv_memory = vs_request_int(settings, "kv_memory", 0);
    s->parallel = (uint32_t)vs_request_int(settings, "parallel", PARALLEL);
    s->target_ns = (uint64_t)vs_request_int(settings, "itl_target_ms", ITL_TARGET_MS) * 1000000;
    for (c->sharing = VS_KV_SHARE_OWNER; strcmp(sharing_names[c->sharing], sharing) != 0; c->sharing++)
        if (c->sharing == VS_KV_SHARE_NONE)
            return vs_error_set(err, VS_E_INVALID, "prefix_cache '%s' is not known; known are owner, shared, off", sharing);
    s->speculates = strcmp(string_setting(settings, "speculation", "auto"), "off") != 0;
    c->kv_bytes = kv_memory ? (uint64_t)kv_memory : c->free_bytes / 4;
    c->max_out = s->parallel > LEAST_OUT ? s->parallel : LEAST_OUT;
    c->max_sequences = vs_works_max_lanes(s->parallel);
    c->n_at_once = s->parallel;
    return VS_OK;
}

/* The one place that picks what computes. */
static const struct vs_backend_kind *const backend = &vs_backend_cpu;

static int read_config(struct vs_service *s, const json_t *settings, struct vs_error *err)
{
    struct vs_model_config *c = &s->config;
    int r = vs_key_check_group(VS_KEYS_OF_WORKER, "settings", settings, err);
    if (r != VS_OK)
        return r;
    int64_t threads = vs_request_int(settings, "threads", 0), cpus = vs_request_int(settings, "n_cpus", 1);
    int64_t ctx = vs_request_int(settings, "ctx", 0), chunk = vs_request_int(settings, "prefill_chunk", 0);
    int64_t free_bytes = vs_request_int(settings, "free_bytes", 0);
    int level, kv = vs_kv_type_parse(string_setting(settings, "kv_type", "f16"));
    r = backend->level_parse(string_setting(settings, "isa", "auto"), &level, err);
    if (r != VS_OK)
        return r;
    if (kv < 0)
        return vs_error_set(err, VS_E_INVALID, "kv_type is not known; known are f16, f32, q8_0");
    const char *precision = string_setting(settings, "precision", "fast");
    bool high = strcmp(precision, "high") == 0;
    if (!high && strcmp(precision, "fast") != 0)
        return vs_error_set(err, VS_E_INVALID, "precision '%s' is not known; known are fast, high", precision);
    int64_t n = threads ? threads : cpus;
    n = n < 1 ? 1 : n > backend->max_threads ? backend->max_threads : n;
    *c = (struct vs_model_config){ .backend = backend, .level = level, .n_threads = (unsigned)n, .context = (uint32_t)ctx,
                                   .free_bytes = (uint64_t)free_bytes, .kv_type = (enum vs_kv_type)kv, .chunk = (uint32_t)chunk,
                                   .high = high };
    return read_batch(s, settings, err);
}

static int open_text(struct vs_service *s, bool inspect_only, struct vs_error *err)
{
    const struct vs_entries *entries = vs_header_entries(s->header);
    int r = vs_tokenizer_create(entries, &s->tokenizer, err);
    bool tolerable = r == VS_E_NOT_FOUND || r == VS_E_UNSUPPORTED || (r != VS_OK && inspect_only);
    if (tolerable) {                     /* logits by token id, and a look at the file, still work */
        snprintf(s->no_tokenizer, sizeof s->no_tokenizer, "%s",
                 r == VS_E_NOT_FOUND ? "the model file carries no tokenizer" : err->text);
        return VS_OK;
    }
    if (r != VS_OK)
        return r;
    vs_chat_open(&s->chat, entries);
    vs_marks_find(s->tokenizer, s->mark_id);
    return VS_OK;
}

/* The tokenizer's tables are built beside the packing of the weights: both only read the header. */
struct text_job {
    struct vs_service *s;
    bool inspect_only;
    int status;
    struct vs_error err;
};

static void *text_thread(void *job)
{
    struct text_job *j = job;
    j->status = open_text(j->s, j->inspect_only, &j->err);
    return NULL;
}

static void close_file(int fd)
{
    if (fd >= 0)
        close(fd);
}

/* "FILE=SCALE"; the file was opened by others. */
static int open_adapter(struct vs_service *s, unsigned i, const char *text, struct vs_error *err)
{
    uint64_t start, n_bytes;
    size_t n;
    double scale = vs_files_scale(text ? text : "", &n);
    if (!text || !n || !(scale >= -VS_MOST_SCALE && scale <= VS_MOST_SCALE))
        return vs_error_set(err, VS_E_INVALID, "lora: '%.200s' is no FILE=SCALE with a scale from -%d to %d", text ? text : "",
                            VS_MOST_SCALE, VS_MOST_SCALE);
    s->config.adapters[i] = (float)scale + 0.0f;
    vs_model_file_adapter(s->file, i, &start, &n_bytes);
    return vs_header_adapt(s->header, vs_model_file_glance(s->file), start, n_bytes, err);
}

static int check_tokens(const struct vs_service *s, uint32_t n_vocab, struct vs_error *err)
{
    return s->tokenizer && vs_tokenizer_n_vocab(s->tokenizer) > n_vocab
        ? vs_error_set(err, VS_E_MALFORMED, "model: the tokenizer has more tokens than the model") : VS_OK;
}

/* All that can be known before the weights are read. Closes draft. */
static int check(struct vs_service *s, int draft, struct vs_error *err)
{
    uint32_t n_vocab = 0;
    int r = vs_model_check(s->header, s->file, &s->config, &n_vocab, err);
    if (r == VS_OK)
        r = open_text(s, false, err);
    if (r == VS_OK)
        r = check_tokens(s, n_vocab, err);
    if (r == VS_OK && draft >= 0)
        return vs_drafter_check(draft, vs_header_entries(s->header), err);
    close_file(draft);
    return r;
}

int vs_service_open(const struct vs_files *parts, int draft, const json_t *settings, struct vs_sink *sink,
                    struct vs_service **ret, struct vs_error *err)
{
    struct vs_service *s = calloc(1, sizeof *s);
    if (!s) {
        struct vs_files all = *parts;
        vs_files_close(&all);
        close_file(draft);
        return vs_error_set(err, VS_E_NOMEM, "out of memory");
    }
    const json_t *lora = json_object_get(settings, "lora");
    unsigned n_adapters = (unsigned)json_array_size(lora);
    if (n_adapters >= parts->n) {
        struct vs_files all = *parts;
        vs_files_close(&all);
        close_file(draft);
        free(s);
        return vs_error_set(err, VS_E_INVALID, "lora: %u adapter%s and %u file%s", n_adapters, vs_plural(n_adapters), parts->n,
                            vs_plural(parts->n));
    }
    int r = vs_model_file_open_with(parts, n_adapters, &s->file, err);
    if (r != VS_OK) {
        close_file(draft);
        vs_service_close(s);
        return r;
    }
    pthread_mutex_init(&s->vocabulary_lock, NULL);
    uint64_t start = vs_clock_ns();
    struct loading loading = { sink };
    bool inspect_only = vs_request_flag(settings, "inspect_only"), check_only = vs_request_flag(settings, "check_only");
    r = read_config(s, settings, err);
    if (r == VS_OK)
        r = vs_header_open(vs_model_file_glance(s->file), &s->header, err);
    for (unsigned i = 0; i < n_adapters && r == VS_OK; i++)
        r = open_adapter(s, i, json_string_value(json_array_get(lora, i)), err);
    if (r == VS_OK && draft >= 0 && vs_drafter_is_model(draft, vs_model_file_glance(s->file), progress, &loading))
        r = vs_error_set(err, VS_E_INVALID, "the draft '%s' is the model itself, under another name",
                         string_setting(settings, "draft", ""));
    if (r == VS_OK && check_only) {
        r = check(s, draft, err);
        draft = -1;
    } else if (r == VS_OK) {
        struct text_job text = { .s = s, .inspect_only = inspect_only };
        pthread_t thread;
        bool beside = !inspect_only && pthread_create(&thread, NULL, text_thread, &text) == 0;
        if (!inspect_only)
            r = vs_model_open(s->header, s->file, &s->config, progress, &loading, &s->model, err);
        if (beside)
            pthread_join(thread, NULL);
        else
            text_thread(&text);
        if (r == VS_OK && text.status != VS_OK) {
            r = text.status;
            *err = text.err;
        }
    }
    if (r == VS_OK && s->model)
        r = check_tokens(s, vs_model_n_vocab(s->model), err);
    if (r == VS_OK && s->model) {
        const struct vs_model_config *c = vs_model_config(s->model);
        s->parallel = s->parallel < c->max_out ? s->parallel : c->max_out;
        s->parallel = s->parallel < c->n_at_once ? s->parallel : c->n_at_once;
        const struct vs_works_config works = { .places = s->parallel, .target_ns = s->target_ns, .sharing = c->sharing };
        s->told.used = UINT32_MAX;       /* nothing */
        if ((r = vs_works_create(s->model, &works, &s->works)) != VS_OK)
            vs_error_set(err, r, "model: out of memory");
    }
    if (r == VS_OK && s->model && draft >= 0)
        r = vs_drafter_open(draft, s->model, vs_header_entries(s->header), progress, &loading, &s->drafter, err);
    else
        close_file(draft);
    if (r == VS_OK && s->model)
        r = vs_model_file_finish(s->file, err);
    s->load_ms = (double)(vs_clock_ns() - start) / 1e6;
    if (r != VS_OK) {
        vs_service_close(s);
        return r;
    }
    *ret = s;
    return VS_OK;
}

void vs_service_close(struct vs_service *s)
{
    if (!s)
        return;
    vs_works_free(s->works);
    vs_drafter_close(s->drafter);
    vs_chat_close(&s->chat);
    vs_vocabulary_free(s->vocabulary);
    vs_tokenizer_free(s->tokenizer);
    vs_model_close(s->model);
    vs_header_close(s->header);
    vs_model_file_close(s->file);
    free(s);
}
