/* prog/gateway/api_tokens.c - POST /tokenize, /detokenize, /apply-template. */
#include "prog/gateway/api_answer.h"
#include "prog/gateway/api_read.h"
#include "prog/gateway/api_routes.h"

#include "ipc/json.h"
#include "ipc/message.h"

#include <string.h>

/* ---- tokenize, detokenize ---- */

static int read_special(struct gw_reading *r, const json_t *v)
{
    bool wanted = true;
    int rc = gw_need_flag(r, v, &wanted);
    return rc == VS_OK ? gw_put(r, "no_bos", json_boolean(!wanted)) : rc;
}

static const struct gw_field tokenize_fields[] = {
    { "model", GW_READ, NULL, gw_read_model },
    { "prompt", GW_MAP, "text", NULL },
    { "content", GW_MAP, "text", NULL },
    { "add_special_tokens", GW_READ, NULL, read_special },
    { "add_special", GW_READ, NULL, read_special },
    { "special", GW_MAP, "special", NULL },
    { "parse_special", GW_MAP, "special", NULL },
    { NULL, 0, NULL, NULL },
};
static const struct gw_field detokenize_fields[] = {
    { "model", GW_READ, NULL, gw_read_model },
    { "tokens", GW_MAP, "tokens", NULL },
    { "special", GW_MAP, "special", NULL },
    { NULL, 0, NULL, NULL },
};

static const struct gw_field *const tokenize_tables[] = { tokenize_fields, NULL };
static const struct gw_field *const detokenize_tables[] = { detokenize_fields, NULL };

static int ask(struct gw_call *call, const struct gw_http *http, uint16_t type, const struct gw_field *const *tables,
               const char *key, struct gw_error *err)
{
    struct gw_reading r;
    int rc = gw_reading_init(&r, call, http, type, err);
    if (rc == VS_OK)
        rc = gw_read_fields(&r, http->body, "", tables);
    if (rc == VS_OK)
        rc = gw_require(&r, key, strcmp(key, "text") == 0 ? "prompt" : key);
    if (rc == VS_OK)
        rc = gw_read_end(&r);
    if (rc == VS_OK)
        rc = gw_ask_now(&r, type);
    gw_reading_clear(&r);
    return rc;
}

/* The same request as chat would answer: the prompt is that of the answer. */
static int read_chat(struct gw_reading *r)
{
    for (const struct gw_field *f = tokenize_fields; f->name; f++) {
        const json_t *v = json_object_get(r->http->body, f->name);
        if (v && !json_is_null(v) && strcmp(f->name, "model") != 0)
            return gw_refuse_at(r, f->name, "invalid_value", "is for a text: leave out either it or messages");
    }
    return gw_read_chat(r);
}

static int tokenize_begin(struct gw_call *call, const struct gw_http *http, struct gw_error *err)
{
    const json_t *messages = json_object_get(http->body, "messages");
    return messages && !json_is_null(messages) ? gw_begin_count(call, http, err, read_chat)
        : ask(call, http, VS_MSG_TOKENIZE, tokenize_tables, "text", err);
}

static void tokenize_done(struct gw_call *call, size_t number, const json_t *result, struct vs_buf *out)
{
    json_t *tokens = json_object_get(result, "tokens");
    (void)call;
    (void)number;
    gw_value(out, json_pack("{s:I, s:o}", "count", json_integer_value(json_object_get(result, "n")), "tokens",
                            /* more than a million come as DATA: only their number */
                            tokens ? json_incref(tokens) : json_null()));
}

const struct gw_api gw_api_tokenize = { .begin = tokenize_begin, .done = tokenize_done, .fail = gw_fail_openai };

static int detokenize_begin(struct gw_call *call, const struct gw_http *http, struct gw_error *err)
{
    return ask(call, http, VS_MSG_DETOKENIZE, detokenize_tables, "tokens", err);
}

static void detokenize_done(struct gw_call *call, size_t number, const json_t *result, struct vs_buf *out)
{
    json_t *text = json_object_get(result, "text");
    (void)call;
    (void)number;
    gw_value(out, json_pack("{s:O, s:O}", "prompt", text, "content", text));
}

const struct gw_api gw_api_detokenize = { .begin = detokenize_begin, .done = detokenize_done, .fail = gw_fail_openai };

/* ---- what a template makes of messages ---- */

static int template_begin(struct gw_call *call, const struct gw_http *http, struct gw_error *err)
{
    int rc = gw_begin_count(call, http, err, gw_read_chat);
    if (rc == VS_OK)
        json_object_set_new(call->asks[0].request, "render", json_true());
    return rc;
}

static void template_done(struct gw_call *call, size_t number, const json_t *result, struct vs_buf *out)
{
    (void)call;
    (void)number;
    gw_value(out, json_pack("{s:O}", "prompt", json_object_get(result, "text")));
}

const struct gw_api gw_api_template = { .begin = template_begin, .done = template_done, .fail = gw_fail_openai };
