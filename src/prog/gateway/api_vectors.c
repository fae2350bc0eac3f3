/* prog/gateway/api_vectors.c - POST /embeddings as OpenAI has it, /rerank as Jina and Cohere do; with --ollama /api/embed and
 * /api/embeddings.
 *
 * Vectors come from the daemon as bytes (DATA, f32), in the order of the texts; they are kept until the end and written as
 * numbers that give the same float back (nine digits), or as base64.
 */
#include "prog/gateway/api_answer.h"
#include "prog/gateway/api_read.h"
#include "prog/gateway/api_routes.h"

#include "base/bytes.h"
#include "ipc/json.h"
#include "ipc/message.h"

#include <stdlib.h>
#include <string.h>

struct vectors {
    struct vs_buf bytes;
    bool is_base64;
    int64_t top_n;                      /* rerank: -1: all */
    json_t *documents;                  /* that are told again; NULL */
};

static struct vectors *state_of(struct gw_call *call)
{
    if (!call->state) {
        struct vectors *v = calloc(1, sizeof *v);
        if (v)
            *v = (struct vectors){ .bytes.limit = VS_MAX_RESULT / 2, .top_n = -1 };
        call->state = v;
    }
    return call->state;
}

static void clear(struct gw_call *call)
{
    struct vectors *v = call->state;
    if (v) {
        vs_buf_clear(&v->bytes);
        json_decref(v->documents);
    }
    free(v);
}

static int take_data(struct gw_call *call, size_t ask, const void *data, size_t n)
{
    struct vectors *v = state_of(call);
    (void)ask;
    if (!v)
        return VS_E_NOMEM;
    vs_buf_add(&v->bytes, data, n);
    return v->bytes.status;
}

/* ---- embeddings ---- */

/* A text, texts, the ids of a text, or those of several. */
static int read_input(struct gw_reading *r, const json_t *v)
{
    const json_t *first = json_is_array(v) ? json_array_get(v, 0) : v;
    bool is_list = json_is_array(v);
    if (is_list && !json_array_size(v))
        return gw_refuse(r, "invalid_value", "the list is empty");
    if (json_is_string(first))
        return gw_put(r, "input", is_list ? json_incref((json_t *)(uintptr_t)v) : json_pack("[O]", v));
    if (is_list && json_is_integer(first))
        return gw_put(r, "tokens", json_pack("[O]", v));
    if (is_list && json_is_array(first))
        return gw_put(r, "tokens", json_incref((json_t *)(uintptr_t)v));
    return gw_refuse(r, "invalid_value", "a text, a list of texts, a list of token ids or a list of such lists is needed");
}

static int read_encoding(struct gw_reading *r, const json_t *v)
{
    struct vectors *state = state_of(r->call);
    if (!state)
        return gw_no_memory(r->err);
    state->is_base64 = gw_is(v, "base64");
    return state->is_base64 || gw_is(v, "float") ? VS_OK : gw_refuse(r, "unsupported_value", "float or base64 is needed");
}

static const struct gw_field embeddings_fields[] = {
    { "model", GW_READ, NULL, gw_read_model },
    { "input", GW_READ, NULL, read_input },
    { "encoding_format", GW_READ, NULL, read_encoding },
    { "dimensions", GW_MAP, "dimensions", NULL },
    { "pooling", GW_MAP, "pooling", NULL },
    { "normalize", GW_MAP, "normalize", NULL },
    { "user", GW_MUTE, NULL, NULL },
    { NULL, 0, NULL, NULL },
};

static int begin(struct gw_call *call, const struct gw_http *http, uint16_t type, const struct gw_field *fields, const char *key,
                 const char *name, struct gw_error *err)
{
    const struct gw_field *const tables[] = { fields, NULL };
    struct gw_reading r;
    int rc = gw_reading_init(&r, call, http, type, err);
    if (rc == VS_OK)
        rc = gw_read_fields(&r, http->body, "", tables);
    if (rc == VS_OK && !json_object_get(r.request, "tokens"))
        rc = gw_require(&r, key, name);
    if (rc == VS_OK)
        rc = gw_read_end(&r);
    if (rc == VS_OK)
        rc = gw_ask_now(&r, type);
    gw_reading_clear(&r);
    return rc;
}

static int embeddings_begin(struct gw_call *call, const struct gw_http *http, struct gw_error *err)
{
    return begin(call, http, VS_MSG_EMBED, embeddings_fields, "input", "input", err);
}

static void write_base64(const char *data, size_t n, struct vs_buf *out)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n; i += 3) {
        uint32_t x = 0;
        for (size_t k = 0; k < 3; k++)
            x = x << 8 | (i + k < n ? (uint8_t)data[i + k] : 0);
        for (size_t k = 0; k < 4; k++)
            vs_buf_char(out, i + k <= n ? letters[x >> (18 - 6 * k) & 63] : '=');
    }
}

static void write_floats(const char *data, size_t n, struct vs_buf *out)
{
    vs_buf_char(out, '[');
    for (size_t i = 0; i < n; i++) {
        uint32_t u = vs_load_u32le(data + 4 * i);
        float x;
        memcpy(&x, &u, sizeof x);
        vs_buf_printf(out, "%s%.9g", i ? "," : "", (double)x);
    }
    vs_buf_char(out, ']');
}

static int64_t number(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

/* The rows of text i, of which *io_at is the first: one, or without pooling one for each of its tokens, as a list of lists. */
static void write_text(const struct vectors *v, const json_t *result, size_t i, size_t *io_at, struct vs_buf *out)
{
    size_t dim = (size_t)number(result, "dim");
    bool is_rows = gw_is(json_object_get(result, "pooling"), "none");
    size_t n = is_rows ? (size_t)json_integer_value(json_array_get(json_object_get(result, "tokens"), i)) : 1;
    if (*io_at > v->bytes.n / 4 / dim || n > v->bytes.n / 4 / dim - *io_at)
        n = 0;                          /* never from our own daemon */
    const char *data = n ? v->bytes.data + *io_at * dim * 4 : "";
    *io_at += n;
    if (v->is_base64) {
        vs_buf_char(out, '"');
        write_base64(data, n * dim * 4, out);
        vs_buf_char(out, '"');
        return;
    }
    if (is_rows)
        vs_buf_char(out, '[');
    for (size_t k = 0; k < n; k++) {
        if (k)
            vs_buf_char(out, ',');
        write_floats(data + k * dim * 4, dim, out);
    }
    if (is_rows)
        vs_buf_char(out, ']');
}

static void embeddings_done(struct gw_call *call, size_t ask, const json_t *result, struct vs_buf *out)
{
    const struct vectors *v = state_of(call);
    int64_t read = number(json_object_get(result, "usage"), "prompt_tokens");
    size_t n = (size_t)number(result, "n"), at = 0;
    (void)ask;
    if (!v || !number(result, "dim")) {
        out->status = VS_E_NOMEM;
        return;
    }
    vs_buf_str(out, "{\"object\":\"list\",\"data\":[");
    for (size_t i = 0; i < n; i++) {
        vs_buf_printf(out, "%s{\"object\":\"embedding\",\"index\":%zu,\"embedding\":", i ? "," : "", i);
        write_text(v, result, i, &at, out);
        vs_buf_char(out, '}');
    }
    vs_buf_str(out, "],\"model\":");
    json_t *model = json_string(call->model);
    char *name = json_dumps(model, JSON_ENCODE_ANY);
    vs_buf_str(out, name ? name : "null");
    free(name);
    json_decref(model);
    vs_buf_printf(out, ",\"usage\":{\"prompt_tokens\":%lld,\"total_tokens\":%lld}}", (long long)read, (long long)read);
}

const struct gw_api gw_api_embeddings = { .begin = embeddings_begin, .data = take_data, .done = embeddings_done,
                                          .fail = gw_fail_openai, .clear = clear };

/* ---- Ollama's ---- */

static int read_prompt(struct gw_reading *r, const json_t *v)
{
    const char *text;
    int rc = gw_need_text(r, v, &text);
    return rc == VS_OK ? gw_put(r, "input", json_pack("[O]", v)) : rc;
}

static const struct gw_field ollama_fields[] = {
    { "model", GW_READ, NULL, gw_read_ollama_model },
    { "input", GW_READ, NULL, read_input },
    { "prompt", GW_READ, NULL, read_prompt },
    { "dimensions", GW_MAP, "dimensions", NULL },
    { "truncate", GW_ONLY, "false", NULL },
    { "keep_alive", GW_MUTE, NULL, NULL },
    { NULL, 0, NULL, NULL },
};

static int ollama_begin(struct gw_call *call, const struct gw_http *http, struct gw_error *err)
{
    return begin(call, http, VS_MSG_EMBED, ollama_fields, "input", "input", err);
}

static void write_all(struct gw_call *call, const json_t *result, size_t n, struct vs_buf *out)
{
    const struct vectors *v = state_of(call);
    size_t at = 0;
    if (!v || !number(result, "dim"))
        out->status = VS_E_NOMEM;
    for (size_t i = 0; i < n && out->status == VS_OK; i++) {
        if (i)
            vs_buf_char(out, ',');
        write_text(v, result, i, &at, out);
    }
}

static void embed_done(struct gw_call *call, size_t ask, const json_t *result, struct vs_buf *out)
{
    (void)ask;
    vs_buf_str(out, "{\"embeddings\":[");
    write_all(call, result, (size_t)number(result, "n"), out);
    vs_buf_printf(out, "],\"prompt_eval_count\":%lld}", (long long)number(json_object_get(result, "usage"), "prompt_tokens"));
}

static void embed_one_done(struct gw_call *call, size_t ask, const json_t *result, struct vs_buf *out)
{
    (void)ask;
    vs_buf_str(out, "{\"embedding\":");
    write_all(call, result, 1, out);
    vs_buf_char(out, '}');
}

const struct gw_api gw_api_ollama_embed = { .begin = ollama_begin, .data = take_data, .done = embed_done, .fail = gw_fail_ollama,
                                            .clear = clear };
const struct gw_api gw_api_ollama_embed_one = { .begin = ollama_begin, .data = take_data, .done = embed_one_done,
                                                .fail = gw_fail_ollama, .clear = clear };

/* ---- rerank ---- */

static int read_top(struct gw_reading *r, const json_t *v)
{
    struct vectors *state = state_of(r->call);
    return state ? gw_need_int(r, v, 0, 1024, &state->top_n) : gw_no_memory(r->err);
}

static int read_return(struct gw_reading *r, const json_t *v)
{
    struct vectors *state = state_of(r->call);
    bool wanted = false;
    int rc = state ? gw_need_flag(r, v, &wanted) : gw_no_memory(r->err);
    if (rc == VS_OK && wanted)
        state->documents = json_incref(json_object_get(r->http->body, "documents"));
    return rc;
}

static const struct gw_field rerank_fields[] = {
    { "model", GW_READ, NULL, gw_read_model },
    { "query", GW_MAP, "query", NULL },
    { "documents", GW_MAP, "documents", NULL },
    { "top_n", GW_READ, NULL, read_top },
    { "return_documents", GW_READ, NULL, read_return },
    { "user", GW_MUTE, NULL, NULL },
    { NULL, 0, NULL, NULL },
};

static int rerank_begin(struct gw_call *call, const struct gw_http *http, struct gw_error *err)
{
    int rc = begin(call, http, VS_MSG_RERANK, rerank_fields, "documents", "documents", err);
    if (rc == VS_OK && !state_of(call))
        rc = gw_no_memory(err);
    return rc;
}

struct ranked { size_t index; double score; };

static int by_score(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return x->index < y->index ? -1 : 1;
}

static json_t *ranking(const struct vectors *v, const json_t *scores)
{
    size_t n = json_array_size(scores), most = v->top_n >= 0 && (size_t)v->top_n < n ? (size_t)v->top_n : n;
    struct ranked *r = calloc(n ? n : 1, sizeof *r);
    json_t *list = r ? json_array() : NULL;
    for (size_t i = 0; list && i < n; i++)
        r[i] = (struct ranked){ i, json_number_value(json_array_get(scores, i)) };
    if (list)
        qsort(r, n, sizeof *r, by_score);
    for (size_t i = 0; list && i < most; i++) {
        json_t *one = json_pack("{s:I, s:f}", "index", (json_int_t)r[i].index, "relevance_score", r[i].score);
        json_t *document = json_array_get(v->documents, r[i].index);
        if (json_is_string(document))
            json_object_set_new(one, "document", json_pack("{s:O}", "text", document));
        else if (document)
            json_object_set(one, "document", document);
        json_array_append_new(list, one);
    }
    free(r);
    return list;
}

static void rerank_done(struct gw_call *call, size_t ask, const json_t *result, struct vs_buf *out)
{
    json_int_t read = number(json_object_get(result, "usage"), "prompt_tokens");
    (void)ask;
    gw_value(out, json_pack("{s:s, s:s, s:o, s:{s:I, s:I}}", "object", "list", "model", call->model, "results",
                            ranking(state_of(call), json_object_get(result, "scores")), "usage", "prompt_tokens", read,
                            "total_tokens", read));
}

const struct gw_api gw_api_rerank = { .begin = rerank_begin, .done = rerank_done, .fail = gw_fail_openai, .clear = clear };
