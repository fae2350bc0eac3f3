/* api/parameters.c - what a request asks, and the values of its result: JSON by paths ("sampling.top_k", "choices.0.index"). */
#include "api/internal.h"

#include "ipc/json.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_PART = 128, MAX_DEPTH = 16 };

/* The part of a path up to its next dot; false when it is none that a key can be. */
static bool next_part(const char **path, char ret[MAX_PART])
{
    size_t n = strcspn(*path, ".");
    if (n == 0 || n >= MAX_PART)
        return false;
    memcpy(ret, *path, n);
    ret[n] = 0;
    *path += n + ((*path)[n] == '.' && (*path)[n + 1]);
    return **path != '.';
}

json_t *vs_api_find(json_t *value, const char *path)
{
    char part[MAX_PART], *end;
    while (value && path && *path) {
        if (!next_part(&path, part))
            return NULL;
        unsigned long i = json_is_array(value) ? strtoul(part, &end, 10) : 0;
        if (json_is_array(value))
            value = *end == 0 ? json_array_get(value, i) : NULL;
        else
            value = json_object_get(value, part);
    }
    return path && *path == 0 ? value : NULL;
}

/* Remembers the first failure. */
__attribute__((format(printf, 3, 4)))
static int failed(veritas_request *r, int code, const char *format, ...)
{
    struct vs_error why = { .code = code };
    va_list args;
    va_start(args, format);
    vsnprintf(why.text, sizeof why.text, format, args);
    va_end(args);
    if (r->failed.code == VS_OK)
        r->failed = why;
    return code;
}

static int set_at(veritas_request *r, json_t *object, const char *path, json_t *value)
{
    char part[MAX_PART];
    for (int depth = 0; depth < MAX_DEPTH; depth++) {
        if (!*path || !next_part(&path, part))
            break;
        if (!*path) {
            if (json_object_set_new(object, part, value) == 0)
                return VERITAS_OK;
            return failed(r, VS_E_INVALID, "%s: a key is UTF-8", part);
        }
        json_t *inner = json_object_get(object, part);
        if (!inner && json_object_set_new(object, part, inner = json_object()) != 0)
            inner = NULL;
        if (!json_is_object(inner)) {
            json_decref(value);
            return failed(r, VS_E_INVALID, "%s has a value that is no object", part);
        }
        object = inner;
    }
    json_decref(value);
    return failed(r, VS_E_INVALID, "'%s' is no path of a key", path);
}

/* Takes value over. NULL: it cannot be one, or there was no memory for it. */
static int set_new(veritas_request *r, const char *key, json_t *value)
{
    if (r && key && value)
        return set_at(r, r->body, key, value);
    json_decref(value);
    return !r ? VS_E_INVALID : !key ? failed(r, VS_E_INVALID, "a parameter's key is NULL")
        : failed(r, VS_E_INVALID, "%s: the value is NULL or not UTF-8 or no number, or there is no memory for it", key);
}

/* NULL: not UTF-8, or NULL itself. */
static json_t *text_new(const char *text, size_t n)
{
    return text ? json_stringn(text, n == VERITAS_TEXT ? strlen(text) : n) : NULL;
}

int veritas_set_text(veritas_request *r, const char *key, const char *text, size_t n)
{
    return set_new(r, key, text_new(text, n));
}

int veritas_set_int(veritas_request *r, const char *key, int64_t value)
{
    return set_new(r, key, json_integer(value));
}

int veritas_set_number(veritas_request *r, const char *key, double value)
{
    return set_new(r, key, json_real(value));
}

int veritas_set_flag(veritas_request *r, const char *key, int value)
{
    return set_new(r, key, json_boolean(value));
}

int veritas_set_tokens(veritas_request *r, const char *key, const uint32_t *tokens, size_t n)
{
    json_t *list = tokens || !n ? json_array() : NULL;
    for (size_t i = 0; list && i < n; i++)
        if (json_array_append_new(list, json_integer(tokens[i])) != 0) {
            json_decref(list);
            list = NULL;
        }
    return set_new(r, key, list);
}

/* Appends to the list at a path; the list is made when there is none. */
static int add_new(veritas_request *r, const char *key, json_t *value)
{
    json_t *list = r && key ? vs_api_find(r->body, key) : NULL;
    if (!list || !value)
        return set_new(r, key, value ? json_pack("[o]", value) : NULL);
    if (json_is_array(list))
        return json_array_append_new(list, value) == 0 ? VERITAS_OK : failed(r, VS_E_NOMEM, "%s: out of memory", key);
    json_decref(value);
    return failed(r, VS_E_INVALID, "%s has a value that is no list", key);
}

int veritas_add_text(veritas_request *r, const char *key, const char *text, size_t n)
{
    return add_new(r, key, text_new(text, n));
}

int veritas_add_message(veritas_request *r, const char *role, const char *content, size_t n)
{
    json_t *message = json_object();
    if (json_object_set_new(message, "role", text_new(role, VERITAS_TEXT)) != 0
        || json_object_set_new(message, "content", text_new(content, n)) != 0) {
        json_decref(message);
        message = NULL;
    }
    return add_new(r, "messages", message);
}

/* Any JSON value. Our parser takes objects alone, so it is read as the value of one. */
static json_t *parse_value(const char *json, struct vs_error *err)
{
    struct vs_buf object = { 0 };
    vs_buf_str(&object, "{\"value\":");
    vs_buf_str(&object, json);
    vs_buf_char(&object, '}');
    json_t *outer = object.status == VS_OK ? vs_json_parse(object.data, object.n, err) : NULL;
    json_t *value = json_object_size(outer) == 1 ? json_incref(json_object_get(outer, "value")) : NULL;
    if (object.status != VS_OK)
        vs_error_set(err, VS_E_NOMEM, "%s", vs_status_text(VS_E_NOMEM));
    else if (outer && !value)
        vs_error_set(err, VS_E_MALFORMED, "JSON: more than one value");
    json_decref(outer);
    vs_buf_clear(&object);
    return value;
}

int veritas_set_json(veritas_request *r, const char *key, const char *json)
{
    struct vs_error why;
    if (!r || !json)
        return r ? failed(r, VS_E_INVALID, "the JSON of a parameter is NULL") : VS_E_INVALID;
    json_t *value = parse_value(json, &why);
    if (!value)
        return failed(r, why.code == VS_E_MALFORMED ? VS_E_INVALID : why.code, "%s: %s", key ? key : "parameters", why.text);
    if (key)
        return set_new(r, key, value);
    int status = !json_is_object(value) ? failed(r, VS_E_INVALID, "parameters without a key are an object")
        : json_object_update(r->body, value) != 0 ? failed(r, VS_E_NOMEM, "%s", vs_status_text(VS_E_NOMEM)) : VERITAS_OK;
    json_decref(value);
    return status;
}

/* ---- a request ---- */

/* A model as the daemon knows it: a name, or the real path of a file. */
static json_t *model_value(const char *model)
{
    char *path = strchr(model, '/') ? realpath(model, NULL) : NULL;
    json_t *value = json_string(path ? path : model);
    free(path);
    return value;
}

int veritas_request_new(veritas *v, int kind, const char *model, veritas_request **ret_r, struct veritas_error *err)
{
    if (!v || !ret_r)
        return vs_api_error(err, VS_E_INVALID, "v or ret_r is NULL");
    if (kind < 0 || kind > UINT16_MAX || !vs_message_is_request((uint16_t)kind))
        return vs_api_error(err, VS_E_INVALID, "%d is no kind of request", kind);
    veritas_request *r = calloc(1, sizeof *r);
    json_t *body = json_object(), *name = model ? model_value(model) : NULL;
    if (!r || !body || (model && json_object_set_new(body, "model", name) != 0)) {
        bool is_bad = r && body && model && !name;
        free(r);
        json_decref(body);
        return is_bad ? vs_api_error(err, VS_E_INVALID, "the model's name is not UTF-8")
            : vs_api_error(err, VS_E_NOMEM, "%s", vs_status_text(VS_E_NOMEM));
    }
    r->v = v;
    r->kind = (uint16_t)kind;
    r->body = body;
    r->next = v->requests;
    r->link = &v->requests;
    if (r->next)
        r->next->link = &r->next;
    v->requests = r;
    *ret_r = r;
    return VERITAS_OK;
}

void veritas_request_free(veritas_request *r)
{
    if (!r)
        return;
    struct veritas *v = r->v;
    if (r->is_in_run) {
        r->is_doomed = true;
        veritas_cancel(r);
        return;
    }
    if (v) {
        *r->link = r->next;
        if (r->next)
            r->next->link = r->link;
        vs_api_forget(v, r);
        if (r->is_running) {
            vs_client_cancel(v->client, r->id, NULL);
            vs_api_settle(v);
        }
    }
    json_decref(r->body);
    json_decref(r->result);
    vs_buf_clear(&r->result_text);
    free(r);
}

void veritas_request_set_user(veritas_request *r, void *user)
{
    if (r)
        r->user = user;
}

/* ---- its result ---- */

const char *veritas_result(veritas_request *r)
{
    if (!r || !r->result)
        return NULL;
    if (r->result_text.n == 0) {
        vs_json_dump(r->result, &r->result_text);
        if (r->result_text.status != VS_OK)
            vs_buf_clear(&r->result_text);
    }
    return r->result_text.n ? r->result_text.data : NULL;
}

const char *veritas_result_text(veritas_request *r, const char *path)
{
    return r ? json_string_value(vs_api_find(r->result, path)) : NULL;
}

int veritas_result_int(veritas_request *r, const char *path, int64_t *ret)
{
    json_t *value = r ? vs_api_find(r->result, path) : NULL;
    if (!r || !path || !ret)
        return VERITAS_E_INVALID;
    if (!json_is_integer(value))
        return VERITAS_E_NOT_FOUND;
    *ret = json_integer_value(value);
    return VERITAS_OK;
}

int veritas_result_number(veritas_request *r, const char *path, double *ret)
{
    json_t *value = r ? vs_api_find(r->result, path) : NULL;
    if (!r || !path || !ret)
        return VERITAS_E_INVALID;
    if (!json_is_number(value))
        return VERITAS_E_NOT_FOUND;
    *ret = json_number_value(value);
    return VERITAS_OK;
}
