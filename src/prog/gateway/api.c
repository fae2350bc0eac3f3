/* prog/gateway/api.c - what every API uses of api.h: asks and errors. */
#include "prog/gateway/api.h"

#include "ipc/json.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int gw_call_ask(struct gw_call *call, uint16_t type, json_t *request)
{
    struct gw_ask *more = request ? realloc(call->asks, (call->n_asks + 1) * sizeof *more) : NULL;
    if (!more) {
        json_decref(request);
        return VS_E_NOMEM;
    }
    call->asks = more;
    call->asks[call->n_asks++] = (struct gw_ask){ type, request };
    return VS_OK;
}

/* ---- errors ---- */

static const struct { int status; const char *type; } types[] = {
    { 401, "authentication_error" }, { 403, "permission_error" }, { 429, "rate_limit_error" }, { 500, "server_error" },
    { 502, "server_error" }, { 503, "server_error" }, { 504, "server_error" },
};

int gw_error_set(struct gw_error *err, int status, const char *code, const char *param, const char *format, ...)
{
    va_list args;
    memset(err, 0, sizeof *err);
    err->status = status;
    snprintf(err->type, sizeof err->type, "invalid_request_error");
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i].status == status)
            snprintf(err->type, sizeof err->type, "%s", types[i].type);
    snprintf(err->code, sizeof err->code, "%s", code ? code : "");
    snprintf(err->param, sizeof err->param, "%s", param ? param : "");
    va_start(args, format);
    vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    return VS_E_INVALID;
}

int gw_no_memory(struct gw_error *err)
{
    return gw_error_set(err, 503, "", "", "out of memory");
}

/* Where the name of ours is not what clients look for. again: the same may work later. */
static const struct { int code, status; const char *name; bool again; } meanings[] = {
    { VS_E_NOT_FOUND, 404, "model_not_found", false }, { VS_E_CONTEXT, 400, "context_length_exceeded", false },
    { VS_E_BUSY, 429, "rate_limit_exceeded", true },   { VS_E_NOMEM, 503, "out_of_memory", true },
    { VS_E_DIED, 502, "worker_died", true },           { VS_E_CANCELLED, 503, "cancelled", true },
    { VS_E_TIMEOUT, 504, "timeout", true },            { VS_E_UNSUPPORTED, 400, "unsupported", false },
    { VS_E_FILTERED, 400, GW_FILTERED, false },
    { VS_E_KEY, 401, "invalid_api_key", false },
};

void gw_error_of(struct gw_error *err, int code, const char *message, int64_t retry_after_ms)
{
    char name[40];
    int known = vs_status_http(code), status = known ? known : 500;
    bool again = false;
    snprintf(name, sizeof name, "%s", known ? vs_status_name(code) : "");
    for (char *s = name; *s; s++)
        *s = (char)(*s >= 'A' && *s <= 'Z' ? *s - 'A' + 'a' : *s);
    for (size_t i = 0; i < sizeof meanings / sizeof *meanings; i++)
        if (meanings[i].code == code) {
            status = meanings[i].status;
            again = meanings[i].again;
            snprintf(name, sizeof name, "%s", meanings[i].name);
        }
    gw_error_set(err, status, name, code == VS_E_NOT_FOUND ? "model" : "", "%s", message);
    err->again = again;
    err->retry_after_ms = retry_after_ms ? retry_after_ms : again && (status == 429 || status == 503) ? 1000 : 0;
}

/* How messages begin that do not name the key which they are about. */
static const struct { const char *begins, *key; } abouts[] = {
    { "json_schema", "constraint" }, { "the regular expression", "constraint" }, { "grammar", "constraint" },
    { "the grammar", "constraint" }, { "rule '", "constraint" }, { "the constraint", "constraint" },
    { "no answer can satisfy", "constraint" }, { "the shortest answer", "max_tokens" },
    { "the model has no such chat template", "template" }, { "template_args", "template_args" },
    { "the model's chat template", "messages" }, { "template:", "messages" },
};

void gw_error_place(const struct gw_call *call, struct gw_error *err)
{
    char word[64];
    size_t n = strspn(err->message, "abcdefghijklmnopqrstuvwxyz_.");
    const char *key, *dot, *about = NULL;
    json_t *name;
    for (size_t i = 0; i < sizeof abouts / sizeof *abouts && !about; i++)
        about = strncmp(err->message, abouts[i].begins, strlen(abouts[i].begins)) == 0 ? abouts[i].key : NULL;
    bool is_constraint = about && strcmp(about, "constraint") == 0;
    if (is_constraint && err->status == 413)        /* the body was not too large */
        err->status = 400;
    if (err->param[0] || err->status != 400 || (!about && (n == 0 || n >= sizeof word)))
        return;
    snprintf(word, sizeof word, "%.*s", about ? (int)strlen(about) : (int)n, about ? about : err->message);
    json_object_foreach(call->names, key, name) {
        size_t k = strlen(key);
        dot = strchr(key, '.');
        bool is_in = strncmp(word, key, k) == 0 && (!word[k] || word[k] == '.');
        if (is_in || (dot && strcmp(word, dot + 1) == 0))
            snprintf(err->param, sizeof err->param, "%s", json_string_value(name));
    }
}

void gw_error_write(const struct gw_error *err, struct vs_buf *out)
{
    json_t *value = json_pack("{s:{s:o, s:s, s:o?, s:o?}}", "error", "message", vs_json_text(err->message, strlen(err->message)),
                              "type", err->type, "param", err->param[0] ? json_string(err->param) : json_null(),
                              "code", err->code[0] ? json_string(err->code) : json_null());
    vs_json_dump(value, out);
    json_decref(value);
}
