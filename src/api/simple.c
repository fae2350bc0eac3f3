/* api/simple.c - the short cuts of veritas.h: a request made, run and freed; and errors, version, memory. */
#include "api/internal.h"

#include "base/bytes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- errors ---- */

#define SAME_CODE(name, value, ...) _Static_assert((int)VERITAS_E_##name == value, "veritas.h has the codes of base/status.h");
VS_STATUS_MAP(SAME_CODE)

int vs_api_fail(struct veritas_error *err, const struct vs_error *why)
{
    if (!err || err->size < sizeof *err)
        return why->code;
    err->code = why->code;
    err->retry_after_ms = why->retry_after_ms;
    snprintf(err->name, sizeof err->name, "%s", vs_status_name(why->code));
    snprintf(err->message, sizeof err->message, "%s", why->text);
    return why->code;
}

int vs_api_error(struct veritas_error *err, int code, const char *format, ...)
{
    struct vs_error why = { .code = code };
    va_list args;
    va_start(args, format);
    vsnprintf(why.text, sizeof why.text, format, args);
    va_end(args);
    return vs_api_fail(err, &why);
}

const char *veritas_error_name(int code)
{
    return vs_status_name(code);
}

const char *veritas_version(void)
{
    return VERITAS_VERSION;
}

void veritas_free(void *memory)
{
    free(memory);
}

/* ---- short cuts ---- */

/* Takes the bytes of a buffer over, with a NUL behind them. */
static int give_text(struct vs_buf *text, char **ret_text, size_t *ret_bytes, struct veritas_error *err)
{
    vs_buf_add(text, "", 0);
    if (text->status != VS_OK || !text->data) {
        int status = text->status == VS_OK ? VS_E_NOMEM : text->status;
        return vs_api_error(err, status, "%s", vs_status_text(status));
    }
    *ret_text = text->data;
    if (ret_bytes)
        *ret_bytes = text->n;
    *text = (struct vs_buf){ 0 };
    return VERITAS_OK;
}

/* Collects the text of the first answer, or the bytes of DATA. */
static int collect(void *buffer, const struct veritas_event *e)
{
    if ((e->kind == VERITAS_TOKEN && e->choice == 0) || e->kind == VERITAS_DATA)
        vs_buf_add(buffer, e->text, e->text_bytes);
    return ((struct vs_buf *)buffer)->status;
}

static int run_collecting(veritas_request *r, struct vs_buf *into, struct veritas_error *err)
{
    int status = veritas_run(r, collect, into, err);
    return into->status != VS_OK ? vs_api_error(err, into->status, "%s", vs_status_text(into->status)) : status;
}

static int answer(veritas *v, int kind, const char *model, const char *key, const char *value, const char *params, char **ret_text,
                  struct veritas_error *err)
{
    veritas_request *r;
    struct vs_buf text = { 0 };
    if (!model || !value || !ret_text)
        return vs_api_error(err, VS_E_INVALID, "model, %s or ret_text is NULL", key);
    int status = veritas_request_new(v, kind, model, &r, err);
    if (status != VERITAS_OK)
        return status;
    if (kind == VERITAS_CHAT)
        veritas_set_json(r, key, value);
    else
        veritas_set_text(r, key, value, VERITAS_TEXT);
    if (params)
        veritas_set_json(r, NULL, params);
    status = run_collecting(r, &text, err);
    if (status == VERITAS_OK)
        status = give_text(&text, ret_text, NULL, err);
    vs_buf_clear(&text);
    veritas_request_free(r);
    return status;
}

int veritas_generate(veritas *v, const char *model, const char *prompt, const char *params, char **ret_text,
                     struct veritas_error *err)
{
    return answer(v, VERITAS_GENERATE, model, "prompt", prompt, params, ret_text, err);
}

int veritas_chat(veritas *v, const char *model, const char *messages, const char *params, char **ret_text,
                 struct veritas_error *err)
{
    return answer(v, VERITAS_CHAT, model, "messages", messages, params, ret_text, err);
}

static void set_flags(veritas_request *r, int flags)
{
    if (flags & VERITAS_NO_BOS)
        veritas_set_flag(r, "no_bos", 1);
    if (flags & VERITAS_SPECIAL)
        veritas_set_flag(r, "special", 1);
}

/* The ids: in the result, or, when they are many, in DATA frames before it. */
static int give_tokens(const veritas_request *r, const struct vs_buf *data, uint32_t **ret_tokens, size_t *ret_n,
                       struct veritas_error *err)
{
    const json_t *list = json_object_get(r->result, "tokens");
    size_t n = list ? json_array_size(list) : data->n / 4;
    if (data->n % 4 || (list ? !json_is_array(list) : n == 0))
        return vs_api_error(err, VS_E_PROTOCOL, "the daemon's list of tokens is not one");
    uint32_t *tokens = malloc(n ? n * sizeof *tokens : 1);
    if (!tokens)
        return vs_api_error(err, VS_E_NOMEM, "%s", vs_status_text(VS_E_NOMEM));
    for (size_t i = 0; i < n; i++)
        tokens[i] = list ? (uint32_t)json_integer_value(json_array_get(list, i)) : vs_load_u32le(data->data + 4 * i);
    *ret_tokens = tokens;
    *ret_n = n;
    return VERITAS_OK;
}

int veritas_tokenize(veritas *v, const char *model, const char *text, size_t n, int flags, uint32_t **ret_tokens, size_t *ret_n,
                     struct veritas_error *err)
{
    veritas_request *r;
    struct vs_buf data = { 0 };
    if (!model || !text || !ret_tokens || !ret_n || flags & ~(VERITAS_NO_BOS | VERITAS_SPECIAL))
        return vs_api_error(err, VS_E_INVALID, "model, text, ret_tokens or ret_n is NULL, or a flag is not known");
    int status = veritas_request_new(v, VERITAS_TOKENIZE, model, &r, err);
    if (status != VERITAS_OK)
        return status;
    veritas_set_text(r, "text", text, n);
    set_flags(r, flags);
    status = run_collecting(r, &data, err);
    if (status == VERITAS_OK)
        status = give_tokens(r, &data, ret_tokens, ret_n, err);
    vs_buf_clear(&data);
    veritas_request_free(r);
    return status;
}

int veritas_detokenize(veritas *v, const char *model, const uint32_t *tokens, size_t n, int flags, char **ret_text,
                       size_t *ret_bytes, struct veritas_error *err)
{
    veritas_request *r;
    struct vs_buf text = { 0 };
    if (!model || (!tokens && n) || !ret_text || flags & ~VERITAS_SPECIAL)
        return vs_api_error(err, VS_E_INVALID, "model, tokens or ret_text is NULL, or a flag is not known");
    int status = veritas_request_new(v, VERITAS_DETOKENIZE, model, &r, err);
    if (status != VERITAS_OK)
        return status;
    veritas_set_tokens(r, "tokens", tokens, n);
    set_flags(r, flags);
    status = veritas_run(r, NULL, NULL, err);
    const json_t *value = status == VERITAS_OK ? json_object_get(r->result, "text") : NULL;
    if (status == VERITAS_OK && !json_is_string(value))
        status = vs_api_error(err, VS_E_PROTOCOL, "the daemon's result has no text");
    if (status == VERITAS_OK) {
        vs_buf_add(&text, json_string_value(value), json_string_length(value));
        status = give_text(&text, ret_text, ret_bytes, err);
    }
    vs_buf_clear(&text);
    veritas_request_free(r);
    return status;
}

/* A request about n texts, under key, and further parameters. */
static int texts_new(veritas *v, int kind, const char *model, const char *key, const char *const *texts, size_t n,
                     const char *params, veritas_request **ret_r, struct veritas_error *err)
{
    veritas_request *r;
    int status = veritas_request_new(v, kind, model, &r, err);
    if (status != VERITAS_OK)
        return status;
    veritas_set_json(r, key, "[]");
    for (size_t i = 0; i < n; i++)
        veritas_add_text(r, key, texts[i], VERITAS_TEXT);       /* a NULL is remembered, and said by run */
    if (params)
        veritas_set_json(r, NULL, params);
    *ret_r = r;
    return VERITAS_OK;
}

/* The floats of DATA frames, little-endian as the protocol has them. */
static int give_vectors(const veritas_request *r, const struct vs_buf *data, float **ret_vectors, size_t *ret_n, size_t *ret_dim,
                        struct veritas_error *err)
{
    json_int_t said = json_integer_value(json_object_get(r->result, "dim"));
    size_t n = data->n / sizeof(float), dim = said > 0 ? (size_t)said : 1;
    if (said <= 0 || data->n % sizeof(float) || n % dim)
        return vs_api_error(err, VS_E_PROTOCOL, "the daemon's vectors are not such");
    float *vectors = malloc(n ? data->n : 1);
    if (!vectors)
        return vs_api_error(err, VS_E_NOMEM, "%s", vs_status_text(VS_E_NOMEM));
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = vs_load_u32le(data->data + 4 * i);
        memcpy(&vectors[i], &bits, sizeof bits);
    }
    *ret_vectors = vectors;
    *ret_n = n / dim;
    *ret_dim = dim;
    return VERITAS_OK;
}

int veritas_embed(veritas *v, const char *model, const char *const *texts, size_t n, const char *params, float **ret_vectors,
                  size_t *ret_n, size_t *ret_dim, struct veritas_error *err)
{
    veritas_request *r;
    struct vs_buf data = { 0 };
    if (!model || (!texts && n) || !ret_vectors || !ret_n || !ret_dim)
        return vs_api_error(err, VS_E_INVALID, "model, texts, ret_vectors, ret_n or ret_dim is NULL");
    int status = texts_new(v, VERITAS_EMBED, model, "input", texts, n, params, &r, err);
    if (status != VERITAS_OK)
        return status;
    status = run_collecting(r, &data, err);
    if (status == VERITAS_OK)
        status = give_vectors(r, &data, ret_vectors, ret_n, ret_dim, err);
    vs_buf_clear(&data);
    veritas_request_free(r);
    return status;
}

int veritas_rerank(veritas *v, const char *model, const char *query, const char *const *documents, size_t n, const char *params,
                   double **ret_scores, struct veritas_error *err)
{
    veritas_request *r;
    if (!model || !query || (!documents && n) || !ret_scores)
        return vs_api_error(err, VS_E_INVALID, "model, query, documents or ret_scores is NULL");
    int status = texts_new(v, VERITAS_RERANK, model, "documents", documents, n, params, &r, err);
    if (status != VERITAS_OK)
        return status;
    veritas_set_text(r, "query", query, VERITAS_TEXT);
    status = veritas_run(r, NULL, NULL, err);
    const json_t *list = status == VERITAS_OK ? json_object_get(r->result, "scores") : NULL;
    double *scores = status == VERITAS_OK ? malloc(n ? n * sizeof *scores : 1) : NULL;
    if (status == VERITAS_OK && json_array_size(list) != n)
        status = vs_api_error(err, VS_E_PROTOCOL, "the daemon's list of scores is not one");
    else if (status == VERITAS_OK && !scores)
        status = vs_api_error(err, VS_E_NOMEM, "%s", vs_status_text(VS_E_NOMEM));
    for (size_t i = 0; status == VERITAS_OK && i < n; i++)
        scores[i] = json_number_value(json_array_get(list, i));
    if (status == VERITAS_OK)
        *ret_scores = scores;
    else
        free(scores);
    veritas_request_free(r);
    return status;
}

/* A request that has one parameter at most, and of which only the success counts, or the whole result. */
static int ask(veritas *v, int kind, const char *model, const char *key, const char *json, char **ret_json,
               struct veritas_error *err)
{
    veritas_request *r;
    struct vs_buf text = { 0 };
    int status = veritas_request_new(v, kind, model, &r, err);
    if (status != VERITAS_OK)
        return status;
    if (json)
        veritas_set_json(r, key, json);
    status = veritas_run(r, NULL, NULL, err);
    const char *result = status == VERITAS_OK && ret_json ? veritas_result(r) : NULL;
    if (status == VERITAS_OK && ret_json) {
        vs_buf_add(&text, result, result ? strlen(result) : 0);
        text.status = result ? text.status : VS_E_NOMEM;
        status = give_text(&text, ret_json, NULL, err);
    }
    vs_buf_clear(&text);
    veritas_request_free(r);
    return status;
}

int veritas_load(veritas *v, const char *model, const char *settings, struct veritas_error *err)
{
    return model ? ask(v, VERITAS_LOAD, model, "settings", settings, NULL, err) : vs_api_error(err, VS_E_INVALID, "model is NULL");
}

int veritas_unload(veritas *v, const char *model, int force, struct veritas_error *err)
{
    return model ? ask(v, VERITAS_UNLOAD, model, "force", force ? "true" : NULL, NULL, err)
        : vs_api_error(err, VS_E_INVALID, "model is NULL");
}

int veritas_status(veritas *v, char **ret_json, struct veritas_error *err)
{
    return ret_json ? ask(v, VERITAS_STATUS, NULL, NULL, NULL, ret_json, err) : vs_api_error(err, VS_E_INVALID, "ret_json is NULL");
}
