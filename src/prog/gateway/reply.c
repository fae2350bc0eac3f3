/* prog/gateway/reply.c - answers as HTTP writes them: heads, parts of streams, errors. */
#include "prog/gateway/gateway.h"

#include "base/clock.h"
#include "base/date.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct { int status; const char *reason; } reasons[] = {
    { 200, "OK" }, { 204, "No Content" }, { 400, "Bad Request" }, { 401, "Unauthorized" }, { 403, "Forbidden" },
    { 404, "Not Found" }, { 405, "Method Not Allowed" }, { 408, "Request Timeout" }, { 413, "Content Too Large" },
    { 414, "URI Too Long" },
    { 415, "Unsupported Media Type" }, { 417, "Expectation Failed" }, { 422, "Unprocessable Content" },
    { 429, "Too Many Requests" }, { 431, "Request Header Fields Too Large" },
    { 499, "Client Closed Request" }, { 500, "Internal Server Error" },
    { 501, "Not Implemented" }, { 502, "Bad Gateway" }, { 503, "Service Unavailable" }, { 504, "Gateway Timeout" },
    { 505, "HTTP Version Not Supported" },
};

static const char *reason_of(int status)
{
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return "Error";
}

static void add_date(struct vs_buf *out)
{
    static const char days[][4] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
    static const char months[][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
    int64_t now = vs_clock_real_ms() / 1000;
    struct tm t;
    if (vs_date_of(now, &t))            /* 1970 began with a Thursday */
        vs_buf_printf(out, "date: %s, %02d %s %d %02d:%02d:%02d GMT\r\n", days[(now / 86400 + 4) % 7], t.tm_mday,
                      months[t.tm_mon % 12], t.tm_year + 1900, t.tm_hour, t.tm_min, t.tm_sec);
}

void reply_head(struct gateway *g, struct conn *c, int status, const char *type, int64_t length, const struct vs_buf *headers)
{
    struct vs_buf *out = &c->out;
    c->state = CONN_ANSWERS;
    c->is_chunked = length < 0 && !c->is_old;
    if (length < 0 && c->is_old)
        c->keeps_alive = false;         /* its end is the connection's */
    c->keeps_alive &= !g->draining;
    vs_buf_printf(out, "HTTP/1.1 %d %s\r\n", status, reason_of(status));
    add_date(out);
    vs_buf_str(out, "server: veritas/" VERITAS_VERSION "\r\ncache-control: no-store\r\nx-content-type-options: nosniff\r\n");
    if (c->request_id[0])
        vs_buf_printf(out, "x-request-id: %s\r\n", c->request_id);
    if (c->request_id[0] && c->api && c->api->id_header)
        vs_buf_printf(out, "%s: %s\r\n", c->api->id_header, c->request_id);
    if (type)
        vs_buf_printf(out, "content-type: %s\r\n", type);
    if (c->is_chunked)
        vs_buf_str(out, "transfer-encoding: chunked\r\n");
    else if (length >= 0 && status != 204)
        vs_buf_printf(out, "content-length: %lld\r\n", (long long)length);
    if (!c->keeps_alive)
        vs_buf_str(out, "connection: close\r\n");
    else if (c->is_old)
        vs_buf_str(out, "connection: keep-alive\r\n");
    if (c->allowed_origin)
        vs_buf_printf(out, "access-control-allow-origin: %s\r\naccess-control-expose-headers: x-request-id, request-id, "
                      "x-veritas-ignored, x-veritas-seed, retry-after\r\nvary: origin\r\n", c->allowed_origin);
    if (headers && headers->n)
        vs_buf_add(out, headers->data, headers->n);
    vs_buf_str(out, "\r\n");
    conn_touch(c);
}

void reply_part(struct conn *c, const void *data, size_t n)
{
    if (n == 0 || c->is_head_request)
        return;
    if (c->is_chunked)
        vs_buf_printf(&c->out, "%zx\r\n", n);
    vs_buf_add(&c->out, data, n);
    if (c->is_chunked)
        vs_buf_str(&c->out, "\r\n");
    c->is_dirty = true;
}

void reply_end(struct gateway *g, struct conn *c)
{
    if (c->is_chunked && !c->is_head_request)
        vs_buf_str(&c->out, "0\r\n\r\n");
    c->is_chunked = false;
    conn_continue(g, c);
}

void reply_whole(struct gateway *g, struct conn *c, int status, const char *type, const void *data, size_t n,
                 const struct vs_buf *headers)
{
    reply_head(g, c, status, type, (int64_t)n, headers);
    reply_part(c, data, n);
    reply_end(g, c);
}

void reply_error(struct gateway *g, struct conn *c, const struct gw_error *err, const struct vs_buf *headers)
{
    struct vs_buf body = { 0 }, more = { 0 };
    struct gw_call none = { .api = c->api ? c->api : c->route ? c->route->api : NULL };
    struct gw_call *call = c->call ? &c->call->api : &none;
    const char *type = "application/json";
    snprintf(none.id, sizeof none.id, "%s", c->request_id);
    if (call->api && call->api->fail) {
        call->api->fail(call, err, false, &body);
        type = call->type ? call->type : type;
    } else
        gw_error_write(err, &body);
    if (headers && headers->n)
        vs_buf_add(&more, headers->data, headers->n);
    if (err->retry_after_ms > 0)
        vs_buf_printf(&more, "retry-after: %lld\r\n", (long long)((err->retry_after_ms + 999) / 1000));
    if (err->status == 401)
        vs_buf_str(&more, "www-authenticate: Bearer\r\n");
    vs_buf_printf(&more, "x-should-retry: %s\r\n", err->again ? "true" : "false");
    metrics_count(call->model, c->route ? gw_route_label(c->route) : "none", err->status);
    reply_whole(g, c, err->status, type, body.data, body.n, &more);
    vs_buf_clear(&body);
    vs_buf_clear(&more);
}
