/* prog/gateway/call.c - a request under way: what its API asks goes to the daemon, what the daemon says goes through the API. */
#include "prog/gateway/gateway.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void call_free(struct call *call)
{
    for (size_t i = 0; call->asks && i < call->api.n_asks; i++)
        if (call->asks[i].link && !call->asks[i].has_ended)
            link_forget(call->asks[i].link, call->asks[i].id);
    if (call->api.api->clear)
        call->api.api->clear(&call->api);
    for (size_t i = 0; i < call->api.n_asks; i++)
        json_decref(call->api.asks[i].request);
    free(call->api.asks);
    vs_buf_clear(&call->api.headers);
    json_decref(call->api.names);
    vs_buf_clear(&call->body);
    free(call->asks);
    free(call);
}

/* The answer is queued, or was: the connection goes on without it. */
static void finish(struct gateway *g, struct call *call, int status)
{
    struct conn *c = call->conn;
    trace_end(&call->span, gw_route_label(call->route), call->api.model, status);
    metrics_count(call->api.model, gw_route_label(call->route), status);
    reply_end(g, c);
    call_free(call);
}

static void fail(struct gateway *g, struct call *call, const struct gw_error *err)
{
    struct conn *c = call->conn;
    if (!call->has_head) {
        trace_end(&call->span, gw_route_label(call->route), call->api.model, err->status);
        reply_error(g, c, err, &call->api.headers);
        call_free(call);
        return;
    }
    struct vs_buf out = { 0 };
    call->api.api->fail(&call->api, err, true, &out);
    reply_part(c, out.data, out.n);
    vs_buf_clear(&out);
    finish(g, call, err->status);
}

/* Sends what an API said of a stream, or keeps it of a whole answer. */
static void send_out(struct gateway *g, struct call *call, struct vs_buf *out)
{
    if (out->status != VS_OK)
        call->body.status = out->status;
    if (!call->api.stream)
        vs_buf_add(&call->body, out->data, out->n);
    else if (out->n) {
        if (!call->has_head)
            reply_head(g, call->conn, 200, call->api.api->stream_type, -1, &call->api.headers);
        call->has_head = true;
        reply_part(call->conn, out->data, out->n);
    }
    call->said_at = g->now;
    vs_buf_clear(out);
}

static void complete(struct gateway *g, struct call *call)
{
    struct conn *c = call->conn;
    int status = call->api.status ? call->api.status : 200;
    if (call->body.status != VS_OK) {
        struct gw_error err;
        gw_error_of(&err, call->body.status, "there is no memory for the answer", 0);
        fail(g, call, &err);
        return;
    }
    if (!call->has_head) {
        reply_head(g, c, status, call->api.type ? call->api.type : "application/json", (int64_t)call->body.n, &call->api.headers);
        reply_part(c, call->body.data, call->body.n);
    }
    finish(g, call, status);
}

void gw_error_of_ask(struct gw_error *err, int code, const char *text)
{
    gw_error_of(err, code, text, 0);
    if (code != VS_E_DIED)
        return;
    snprintf(err->code, sizeof err->code, "daemon_away");
    err->status = 503;
    err->retry_after_ms = 1000;
}

void call_begin(struct gateway *g, struct conn *c, const struct gw_route *route, struct gw_http *http)
{
    struct gw_error err = { 0 };
    struct vs_error why = { 0 };
    const char *trace = http->header(http, "traceparent");
    char told[VS_TRACE_BYTES] = "";
    struct call *call = calloc(1, sizeof *call);
    if (!call) {
        gw_error_of(&err, VS_E_NOMEM, "out of memory", 0);
        reply_error(g, c, &err, NULL);
        return;
    }
    call->api.api = route->api;
    snprintf(call->api.id, sizeof call->api.id, "%s", c->request_id);
    call->api.created = vs_clock_real_ms() / 1000;
    call->began_at = vs_clock_ns();
    call->api.default_model = g->settings.model;
    call->conn = c;
    call->route = route;
    call->said_at = g->now;
    call->body.limit = VS_MAX_RESULT;
    c->call = call;
    c->state = CONN_ANSWERS;
    if (route->api->begin(&call->api, http, &err) != VS_OK) {
        fail(g, call, &err);
        return;
    }
    trace = vs_is_traceparent(trace) && strncmp(trace, "ff", 2) != 0 ? trace : NULL;     /* ff: the W3C forbids it */
    if (g->settings.otlp_host && !route_is_metrics(route))
        trace_begin(&call->span, trace, told);
    if (trace && !told[0])              /* nobody collects spans here: it is passed on as it came */
        memcpy(told, trace, sizeof told);
    size_t n = call->api.n_asks;
    call->asks = calloc(n + 1, sizeof *call->asks);
    call->n_open = n;
    int rc = call->asks ? VS_OK : vs_error_set(&why, VS_E_NOMEM, "out of memory");
    for (size_t i = 0; i < n && rc == VS_OK; i++) {
        json_t *request = call->api.asks[i].request;
        if (told[0])
            json_object_set_new(request, "trace", json_string(told));
        rc = link_send(g, call, i, &call->api.asks[i], &call->asks[i].link, &call->asks[i].id, &why);
        if (rc == VS_OK) {
            json_decref(request);       /* it is on its way */
            call->api.asks[i].request = NULL;
        }
    }
    if (rc != VS_OK) {
        gw_error_of_ask(&err, rc, why.text);
        fail(g, call, &err);
    } else if (n == 0) {
        struct vs_buf out = { 0 };
        route->api->done(&call->api, 0, NULL, &out);
        send_out(g, call, &out);
        complete(g, call);
    }
}

static void on_token(struct gateway *g, struct call *call, size_t index, const struct vs_event *e)
{
    struct vs_buf out = { 0 };
    struct gw_token t = { .ask = index, .index = e->index, .part = e->part, .id = e->token, .text = e->text, .n = e->n,
                         .extra = e->json };
    struct call_ask *ask = &call->asks[index];
    call->api.api->token(&call->api, &t, &out);
    send_out(g, call, &out);
    if (call->api.stream) {
        vs_client_keep(ask->link->client);
        ask->owed += e->credit_bytes;
    }
    if (call->conn->out.n - call->conn->out_done > MAX_OUTPUT)
        call->conn->state = CONN_GONE;  /* who reads nothing for so long has left */
}

static void on_data(struct gateway *g, struct call *call, size_t index, const struct vs_event *e)
{
    struct gw_error err;
    int rc = call->api.api->data(&call->api, index, e->text, e->n);
    if (rc == VS_OK)
        return;
    gw_error_of(&err, rc, "the answer is longer than one may be: ask for less at once", 0);
    fail(g, call, &err);
}

void call_event(struct gateway *g, struct call *call, size_t index, const struct vs_event *e)
{
    struct gw_error err;
    g->was_ready |= call->api.model[0] && (e->kind == VS_MSG_TOKEN || e->kind == VS_MSG_COMPLETE);
    if (e->kind == VS_MSG_TOKEN && call->api.api->token) {
        on_token(g, call, index, e);
    } else if (e->kind == VS_MSG_DATA && call->api.api->data) {
        on_data(g, call, index, e);
    } else if (e->kind == VS_MSG_COMPLETE) {
        struct vs_buf out = { 0 };
        call->asks[index].has_ended = true;
        call->n_open--;
        metrics_answered(call->api.model);
        trace_result(&call->span, e->json);
        call->api.took_ns = vs_clock_ns() - call->began_at;
        call->api.api->done(&call->api, index, e->json, &out);
        send_out(g, call, &out);
        if (call->n_open == 0)
            complete(g, call);
    } else if (e->is_last) {
        call->asks[index].has_ended = true;
        gw_error_of(&err, e->error.code, e->error.text, e->hints.retry_after_ms);
        gw_error_place(&call->api, &err);
        fail(g, call, &err);
    }
}

void call_lost(struct gateway *g, struct call *call, const char *why)
{
    struct gw_error err;
    gw_error_of(&err, VS_E_DIED, why, 0);
    snprintf(err.code, sizeof err.code, "daemon_died");
    for (size_t i = 0; i < call->api.n_asks; i++)
        if (call->asks[i].link && !call->asks[i].link->client)
            call->asks[i].has_ended = true;
    fail(g, call, &err);
}

void call_cut(struct gateway *g, struct call *call, int status, const char *code, const char *why)
{
    struct gw_error err = { 0 };
    gw_error_set(&err, status, code, "", "%s", why);
    err.again = true;
    fail(g, call, &err);
}

void call_flushed(struct call *call)
{
    for (size_t i = 0; call->asks && i < call->api.n_asks; i++) {
        struct call_ask *ask = &call->asks[i];
        if (ask->owed && !ask->has_ended && ask->link && ask->link->client)
            vs_client_consume(ask->link->client, ask->id, ask->owed);
        ask->owed = 0;
    }
}

uint64_t call_timers(struct gateway *g, struct call *call)
{
    if (!call->api.stream || !call->api.api->ping)
        return NEVER;
    if (g->now >= call->said_at + PING_TIME) {
        struct vs_buf out = { 0 };
        call->api.api->ping(&call->api, &out);
        send_out(g, call, &out);
        conn_touch(call->conn);
    }
    return call->said_at + PING_TIME;
}
