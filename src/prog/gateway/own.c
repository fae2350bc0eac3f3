/* prog/gateway/own.c - the routes about the gateway itself: is it there, is it ready, what can it do, what has it done. */
#include "prog/gateway/api_routes.h"
#include "prog/gateway/gateway.h"
#include "prog/gateway/page.h"

#include "ipc/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct gateway *the_gateway;

static void fail_json(struct gw_call *call, const struct gw_error *err, bool begun, struct vs_buf *out)
{
    (void)call, (void)begun;
    gw_error_write(err, out);
}

/* ---- /livez, /version ---- */

static int begin_nothing(struct gw_call *call, const struct gw_http *http, struct gw_error *err)
{
    (void)http, (void)err;
    call->type = "text/plain; charset=utf-8";
    return VS_OK;
}

static void done_livez(struct gw_call *call, size_t ask, const json_t *result, struct vs_buf *out)
{
    (void)call, (void)ask, (void)result;
    vs_buf_str(out, "ok\n");
}

static void done_version(struct gw_call *call, size_t ask, const json_t *result, struct vs_buf *out)
{
    (void)ask, (void)result;
    call->type = NULL;
    vs_buf_str(out, "{\"version\":\"" VERITAS_VERSION "\"}");
}

static const struct gw_api api_livez = { .begin = begin_nothing, .done = done_livez, .fail = fail_json };
static const struct gw_api api_version = { .begin = begin_nothing, .done = done_version, .fail = fail_json };

/* ---- /readyz, /startupz, /health: does a model answer, and do we accept? ---- */

struct ready {
    bool is_verbose, is_json;
    json_t *status, *list;
};

/* Which model -m means: its name, or another one that it has. NULL: none was named. */
static const char *wanted_model(const struct ready *r)
{
    const char *wanted = the_gateway->settings.model;
    const char *of = wanted ? json_string_value(json_object_get(json_object_get(r->status, "aliases"), wanted)) : NULL;
    return of ? of : wanted;
}

static void clear_ready(struct gw_call *call)
{
    struct ready *r = call->state;
    if (r) {
        json_decref(r->status);
        json_decref(r->list);
    }
    free(r);
}

static int begin_ready(struct gw_call *call, const struct gw_http *http, struct gw_error *err)
{
    struct ready *r = calloc(1, sizeof *r);
    call->state = r;
    call->type = "text/plain; charset=utf-8";
    if (!r || gw_call_ask(call, VS_MSG_STATUS, json_object()) != VS_OK || gw_call_ask(call, VS_MSG_LIST, json_object()) != VS_OK) {
        gw_error_of(err, VS_E_NOMEM, "out of memory", 0);
        return VS_E_NOMEM;
    }
    r->is_verbose = strncmp(http->query, "verbose", 7) == 0;
    r->is_json = strcmp(http->path, "/health") == 0;
    if (r->is_json)
        call->type = NULL;
    return VS_OK;
}

/* The model that was named by -m; else any that is loaded; else one that a request would load. */
static const char *not_ready(const struct ready *r)
{
    const char *wanted = wanted_model(r), *why = NULL;
    json_t *models = json_object_get(r->status, "models"), *model;
    size_t i;
    bool is_there = false;
    json_array_foreach(models, i, model) {
        const char *name = json_string_value(json_object_get(model, "name"));
        const char *state = json_string_value(json_object_get(model, "state"));
        if (!name || !state || (wanted && strcmp(name, wanted) != 0))
            continue;
        is_there = true;
        if (strcmp(state, "ready") == 0 || strcmp(state, "busy") == 0)
            return NULL;
        why = "no model is ready";
    }
    if (!is_there)
        json_array_foreach(json_object_get(r->list, "models"), i, model) {
            const char *name = json_string_value(json_object_get(model, "name"));
            if (name && (!wanted || strcmp(name, wanted) == 0))
                return NULL;
        }
    return why ? why : "there is no model";
}

static void say_ready(struct gw_call *call, const char *problem, struct vs_buf *out)
{
    struct ready *r = call->state;
    json_t *model;
    size_t i;
    if (the_gateway->draining)
        problem = "draining";
    call->status = problem ? 503 : 200;
    if (r->is_json) {
        vs_buf_str(out, problem ? "{\"status\":\"not ready\"}" : "{\"status\":\"ok\"}");
        return;
    }
    if (r->is_verbose) {
        vs_buf_printf(out, "[%s] accepting\n[%s] daemon\n", the_gateway->draining || the_gateway->loading ? "-" : "+",
                      link_is_up(the_gateway) ? "+" : "-");
        json_array_foreach(json_object_get(r->status, "models"), i, model) {
            const char *state = json_string_value(json_object_get(model, "state"));
            bool is_ready = state && (strcmp(state, "ready") == 0 || strcmp(state, "busy") == 0);
            vs_buf_printf(out, "[%s] model %s: %s\n", is_ready ? "+" : "-", json_string_value(json_object_get(model, "name")),
                          state ? state : "?");
        }
    }
    vs_buf_printf(out, "%s\n", problem ? problem : "ok");
}

static void done_readyz(struct gw_call *call, size_t ask, const json_t *result, struct vs_buf *out)
{
    struct ready *r = call->state;
    json_t **to = ask == 0 ? &r->status : &r->list;
    union { const json_t *in; json_t *out; } value = { result };        /* a reference of our own */
    *to = json_incref(value.out);
    if (!r->status || !r->list)
        return;
    const char *problem = the_gateway->loading ? "the model is being loaded" : not_ready(r);
    the_gateway->was_ready |= problem == NULL;
    say_ready(call, problem, out);
}

static void fail_readyz(struct gw_call *call, const struct gw_error *err, bool begun, struct vs_buf *out)
{
    (void)begun;
    if (call->state && err->status >= 500)
        say_ready(call, err->message, out);
    else
        gw_error_write(err, out);
}

static const struct gw_api api_readyz = { .begin = begin_ready, .done = done_readyz, .fail = fail_readyz, .clear = clear_ready };

/* Once ready, it stays so. */
static int begin_startupz(struct gw_call *call, const struct gw_http *http, struct gw_error *err)
{
    return the_gateway->was_ready ? begin_nothing(call, http, err) : begin_ready(call, http, err);
}

static void done_startupz(struct gw_call *call, size_t ask, const json_t *result, struct vs_buf *out)
{
    if (call->n_asks)
        done_readyz(call, ask, result, out);
    else
        done_livez(call, ask, result, out);
}

static const struct gw_api api_startupz = {
    .begin = begin_startupz, .done = done_startupz, .fail = fail_readyz, .clear = clear_ready,
};

/* ---- /v1/models: fields of OpenAI's list and of Anthropic's ---- */

struct models {
    char name[256];                     /* the one that is asked for; "" all */
    const struct gw_api *errors;        /* whose form errors have */
};

static int begin_models(struct gw_call *call, const struct gw_http *http, struct gw_error *err)
{
    struct models *m = calloc(1, sizeof *m);
    call->state = m;
    if (!m || gw_call_ask(call, VS_MSG_LIST, json_object()) != VS_OK) {
        gw_error_of(err, VS_E_NOMEM, "out of memory", 0);
        return VS_E_NOMEM;
    }
    snprintf(m->name, sizeof m->name, "%s", http->rest);
    m->errors = http->header(http, GW_ANTHROPIC) ? &gw_api_messages : &gw_api_chat;
    return VS_OK;
}

static json_t *model_of(const json_t *listed)
{
    const char *name = json_string_value(json_object_get(listed, "name"));
    return json_pack("{s:s, s:s, s:i, s:s, s:s, s:s, s:s, s:b}", "id", name, "object", "model", "created", 0, "owned_by", "veritas",
                     "type", "model", "display_name", name, "created_at", "1970-01-01T00:00:00Z", "loaded",
                     json_is_true(json_object_get(listed, "loaded")));
}

static void done_models(struct gw_call *call, size_t ask, const json_t *result, struct vs_buf *out)
{
    const struct models *m = call->state;
    json_t *data = json_array(), *listed;
    size_t i;
    (void)ask;
    json_array_foreach(json_object_get(result, "models"), i, listed) {
        const char *name = json_string_value(json_object_get(listed, "name"));
        if (name && (!m->name[0] || strcmp(m->name, name) == 0))
            json_array_append_new(data, model_of(listed));
    }
    json_t *first = json_array_get(data, 0);
    if (m->name[0] && first) {
        vs_json_dump(first, out);
    } else if (m->name[0]) {
        struct gw_error err;
        gw_error_set(&err, 404, "model_not_found", "model", "the model '%.200s' is not there; GET /v1/models lists them", m->name);
        call->status = 404;
        m->errors->fail(call, &err, false, out);
    } else {
        json_t *last = json_array_get(data, json_array_size(data) - 1);
        json_t *whole = json_pack("{s:s, s:O, s:b, s:O?, s:O?}", "object", "list", "data", data, "has_more", 0,
                                  "first_id", json_object_get(first, "id"), "last_id", json_object_get(last, "id"));
        vs_json_dump(whole, out);
        json_decref(whole);
    }
    json_decref(data);
}

static void fail_models(struct gw_call *call, const struct gw_error *err, bool begun, struct vs_buf *out)
{
    const struct models *m = call->state;
    (m && m->errors ? m->errors : &gw_api_chat)->fail(call, err, begun, out);
}

static void clear_models(struct gw_call *call)
{
    free(call->state);
}

static const struct gw_api api_models = { .begin = begin_models, .done = done_models, .fail = fail_models, .clear = clear_models };

/* ---- /: the web page ---- */

static int begin_page(struct gw_call *call, const struct gw_http *http, struct gw_error *err)
{
    static char policy[512];
    (void)http;
    if (!policy[0] && gw_page_policy(policy, sizeof policy) != VS_OK) {
        gw_error_of(err, VS_E_LIMIT, "the page's policy is too long", 0);
        return VS_E_LIMIT;
    }
    call->type = "text/html; charset=utf-8";
    vs_buf_printf(&call->headers, "content-security-policy: %s\r\nreferrer-policy: no-referrer\r\n", policy);
    return VS_OK;
}

static void done_page(struct gw_call *call, size_t ask, const json_t *result, struct vs_buf *out)
{
    (void)call, (void)ask, (void)result;
    vs_buf_add(out, gw_page, gw_page_bytes());
}

static const struct gw_api api_page = { .begin = begin_page, .done = done_page, .fail = fail_json };

const struct gw_route own_routes[] = {
    { "GET", "/", &api_page, NULL, false },
    { "GET", "/livez", &api_livez, NULL, false },
    { "GET", "/readyz", &api_readyz, NULL, false },
    { "GET", "/startupz", &api_startupz, NULL, false },
    { "GET", "/health", &api_readyz, NULL, false },
    { "GET", "/version", &api_version, NULL, false },
    { "GET", "/models", &api_models, NULL, false },
    { "GET", "/models/*", &api_models, "/models", false },
    { "GET", "/metrics", &gw_api_metrics, NULL, false },
    { NULL, NULL, NULL, NULL, false },
};

bool route_is_public(const struct gw_route *route)
{
    return route->api == &api_livez || route->api == &api_readyz || route->api == &api_startupz;
}

bool route_is_page(const struct gw_route *route)
{
    return route->api == &api_page;
}

bool route_is_metrics(const struct gw_route *route)
{
    return route->api == &gw_api_metrics || route_is_public(route);
}
