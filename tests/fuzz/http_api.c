/* rooms: ipc base */
/* Any JSON as the body of a request of every HTTP API (byte 0 says which), and an answer played to it. What an API takes the
 * daemon's
 * list of keys allows, what it refuses has a status, a form and words, and what it sends is text. */
#include "base/utf8.h"
#include "ipc/envelope.h"
#include "ipc/json.h"
#include "ipc/keys.h"
#include "prog/gateway/api_routes.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct gw_api *const apis[] = {
    &gw_api_chat, &gw_api_chat_tokens, &gw_api_completions, &gw_api_responses, &gw_api_responses_tokens, &gw_api_messages,
    &gw_api_messages_tokens, &gw_api_tokenize, &gw_api_detokenize, &gw_api_embeddings, &gw_api_ollama_chat,
    &gw_api_ollama_generate, &gw_api_ollama_show, &gw_api_decisions, &gw_api_template, &gw_api_rerank,
    &gw_api_ollama_embed, &gw_api_ollama_embed_one,
};

static const char *no_header(const struct gw_http *http, const char *name)
{
    (void)http;
    (void)name;
    return NULL;
}

static void must(bool is_so)
{
    if (!is_so)
        abort();
}


static void check_ask(const struct gw_ask *ask)
{
    const char *name;
    json_t *v, *body = json_object();
    struct vs_error err;
    json_object_foreach(ask->request, name, v)
        if (vs_key_find(name) && !vs_head_is_key(name, VS_KEYS_ANSWER))
            json_object_set(body, name, v);
    must(vs_key_check_body(ask->type, body, &err) == VS_OK);
    must(json_is_string(json_object_get(ask->request, "model")));
    json_decref(body);
}

static void play(struct gw_call *call, const uint8_t *data, size_t size, struct vs_buf *out)
{
    json_t *extra = json_pack("{s:f, s:s, s:[{s:f, s:s, s:[i]}]}", "logprob", -1.0, "text", "x", "top", "logprob", -2.0, "text",
                              "?",
                              "bytes", 195);
    json_t *result = json_pack("{s:s, s:i, s:s, s:i, s:[f, f, f], s:{s:i}}", "finish_reason",
                               size & 1 ? "stop" : "length", "n", 3, "text", "t",
                               "dim", 2, "scores", 0.5, 1.0, 0.25, "usage", "prompt_tokens", 3);
    for (size_t i = 0; i < size && i < 40 && call->api->token; i++) {
        struct gw_token t = { .ask = (data[i] >> 6) % call->n_asks, .index = data[i] & 1, .part = (data[i] >> 1) & 3, .id = data[i],
                              .text = data[i] & 32 ? "\n" : data[i] & 16 ? "\xc3\xa9{" : "", .extra = data[i] & 8 ? extra : NULL };
        t.n = strlen(t.text);
        call->api->token(call, &t, out);
        if (call->stream && call->api->ping && i % 8 == 7)
            call->api->ping(call, out);
    }
    for (size_t i = 0; i < 8 && size >= 4 && call->api->data; i++)
        must(call->api->data(call, 0, data, 4) == VS_OK);
    for (size_t i = 0; i < call->n_asks; i++)
        call->api->done(call, i, result, out);
    json_decref(extra);
    json_decref(result);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vs_error why;
    if (size < 2)
        return 0;
    struct gw_http http = { .method = "POST", .path = "/", .query = "", .rest = "", .header = no_header };
    http.body = vs_json_parse(data + 1, size - 1, &why);
    if (!http.body)
        return 0;
    struct gw_call call = { .api = apis[data[0] % (sizeof apis / sizeof *apis)], .id = "id", .created = 1700000000 };
    struct gw_error err = { 0 };
    struct vs_buf out = { 0 };
    if (call.api->begin(&call, &http, &err) == VS_OK) {
        for (size_t i = 0; i < call.n_asks; i++)
            check_ask(&call.asks[i]);
        play(&call, data, size, &out);
        must(out.status == VS_OK && out.n > 0);
    } else {
        must(err.status >= 400 && err.message[0]);
    }
    gw_error_set(&err, err.status ? err.status : 400, "code", err.param, "%s", err.message[0] ? err.message : "stop: words");
    gw_error_place(&call, &err);
    call.api->fail(&call, &err, call.stream && out.n, &out);
    must(out.status == VS_OK && out.n > 0 && vs_utf8_valid(out.data, out.n) == out.n);
    must(!call.headers.n || vs_utf8_valid(call.headers.data, call.headers.n) == call.headers.n);
    if (call.api->clear)
        call.api->clear(&call);
    for (size_t i = 0; i < call.n_asks; i++)
        json_decref(call.asks[i].request);
    free(call.asks);
    vs_buf_clear(&call.headers);
    json_decref(call.names);
    vs_buf_clear(&out);
    json_decref(http.body);
    return 0;
}
