/* prog/gateway/conn.c - a connection: bytes in, requests one after the other, bytes out; its time limits. Plain or TLS. */
#include "prog/gateway/gateway.h"

#include <errno.h>
#include <openssl/err.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READ_BYTES = 32 << 10, TURN_BYTES = 256 << 10 };

/* ---- bytes ---- */

enum { IO_AGAIN = -1, IO_LOST = -2 };

static ssize_t tls_result(struct conn *c, int rc)
{
    int why = SSL_get_error(c->ssl, rc);
    ERR_clear_error();
    c->wants_write = why == SSL_ERROR_WANT_WRITE;
    return why == SSL_ERROR_ZERO_RETURN ? 0 : why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? IO_AGAIN : IO_LOST;
}

static ssize_t take(struct conn *c, char *to, size_t n)
{
    if (c->ssl) {
        int rc = SSL_read(c->ssl, to, (int)n);
        return rc > 0 ? rc : tls_result(c, rc);
    }
    ssize_t got = read(c->fd, to, n);
    return got >= 0 ? got : errno == EAGAIN || errno == EINTR ? IO_AGAIN : IO_LOST;
}

static ssize_t give(struct conn *c, const char *from, size_t n)
{
    if (c->ssl) {
        int rc = SSL_write(c->ssl, from, (int)(n < INT32_MAX ? n : INT32_MAX));
        return rc > 0 ? rc : tls_result(c, rc);
    }
    ssize_t sent = write(c->fd, from, n);
    return sent >= 0 ? sent : errno == EAGAIN || errno == EINTR ? IO_AGAIN : IO_LOST;
}

static size_t waiting(const struct conn *c)
{
    return c->out.n - c->out_done;
}

static void gone(struct conn *c)
{
    c->state = CONN_GONE;
}

static void count_body(struct gateway *g, struct conn *c, size_t n)
{
    g->bodies += n - c->counted;
    c->counted = n;
}

void conn_touch(struct conn *c)
{
    c->is_dirty = true;
}

/* ---- requests ---- */

/* It is answered now: what is still to come of it is not read. */
static void leave_body(struct conn *c)
{
    if (c->request.at != GW_AT_END)
        c->keeps_alive = false;
}

/* What the body is, judged by the head. */
static int check_body(struct conn *c, struct gw_error *err)
{
    const char *type = gw_request_field(&c->request, "content-type"), *coding = gw_request_field(&c->request, "content-encoding");
    size_t n = type ? strcspn(type, "; \t") : 0;
    if (coding && strcasecmp(coding, "identity") != 0)
        return gw_error_set(err, 415, "unsupported_media_type", "", "a body with Content-Encoding %.40s is not read", coding);
    if (n != 16 || strncasecmp(type, "application/json", 16) != 0)
        return gw_error_set(err, 415, "unsupported_media_type", "", "the body must be application/json, and Content-Type says so");
    return VS_OK;
}

static void split_target(const struct conn *c, char *path, size_t size, const char **ret_query)
{
    const char *target = gw_request_target(&c->request);
    const char *authority = target[0] == '/' ? NULL : strstr(target, "://");
    if (authority)                      /* the absolute form; guard.c looks at it */
        target = authority + 3 + strcspn(authority + 3, "/?");
    const char *query = strchr(target, '?');
    size_t n = query ? (size_t)(query - target) : strcspn(target, "#");
    if (n >= 3 && strncmp(target, "/v1", 3) == 0 && (n == 3 || target[3] == '/'))
        target += 3, n -= 3;
    if (n == 0)
        target = "/", n = 1;
    snprintf(path, size, "%.*s", (int)n, target);
    *ret_query = query ? query + 1 : "";
}

struct http_of_conn {
    struct gw_http http;
    struct conn *conn;
};

static const char *header_of(const struct gw_http *http, const char *name)
{
    return gw_request_field(&((const struct http_of_conn *)http)->conn->request, name);
}

static bool expects_body(const struct gw_route *route)
{
    return strcmp(route->method, "POST") == 0;
}

/* The header names that a page would like to send, as a preflight lists them; those of our APIs where they are not such a list. */
static const char *asked_headers(const struct conn *c)
{
    const char *names = gw_request_field(&c->request, "access-control-request-headers");
    return names && *names && strspn(names, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-, ") == strlen(names)
        ? names : "authorization, content-type, x-api-key, anthropic-version, anthropic-beta, traceparent";
}

static void on_checked(struct gateway *g, struct conn *c, int rc, const struct gw_error *why);

/* The head is there: may it go on? */
static void on_head(struct gateway *g, struct conn *c)
{
    struct gw_error err = { 0 };
    char path[GW_MAX_LINE], allow[64];
    const char *query, *rest, *method = gw_request_method(&c->request);
    int status;
    c->is_old = gw_request_is_old(&c->request);
    c->keeps_alive = gw_request_keeps_alive(&c->request) && !g->draining;
    c->is_head_request = strcmp(method, "HEAD") == 0;
    c->allowed_origin = NULL;
    snprintf(c->request_id, sizeof c->request_id, "%08llx%08llx", (unsigned long long)(vs_clock_ns() >> 8 & 0xffffffff),
             (unsigned long long)++g->n_requests);
    split_target(c, path, sizeof path, &query);
    c->route = route_find(g, c, c->is_head_request ? "GET" : method, path, &rest, &status, allow);
    c->api = route_api_of(g, c, path);
    int rc = guard_check(g, c, c->route && (route_is_public(c->route) || route_is_page(c->route)), &err);
    if (rc == VS_E_BUSY)
        c->state = CONN_WAITS;          /* for the daemon's word about its key */
    else
        on_checked(g, c, rc, &err);
}

static void on_checked(struct gateway *g, struct conn *c, int rc, const struct gw_error *why)
{
    struct gw_error err = *why;
    char path[GW_MAX_LINE], allow[64];
    const char *query, *rest, *method = gw_request_method(&c->request);
    int status;
    split_target(c, path, sizeof path, &query);
    route_find(g, c, c->is_head_request ? "GET" : method, path, &rest, &status, allow);
    if (rc == VS_OK && strcmp(method, "OPTIONS") == 0 && (c->route || status == 405 || strcmp(path, "*") == 0)) {
        struct vs_buf more = { 0 };
        vs_buf_printf(&more, "allow: %s%sOPTIONS\r\n", allow, allow[0] ? ", " : "");
        if (c->allowed_origin)          /* its pages may send any header: the clients that people have bring many of their own */
            vs_buf_printf(&more, "access-control-allow-methods: %s%sOPTIONS\r\naccess-control-allow-headers: %s\r\n"
                          "access-control-max-age: 600\r\n", allow, allow[0] ? ", " : "", asked_headers(c));
        leave_body(c);
        reply_whole(g, c, 204, NULL, NULL, 0, &more);
        vs_buf_clear(&more);
        return;
    }
    if (rc == VS_OK && !c->route && status == 405) {
        struct vs_buf more = { 0 };
        gw_error_set(&err, 405, "method_not_allowed", "", "%s is not for %.200s; it takes %s", method,
                     gw_request_target(&c->request), allow);
        vs_buf_printf(&more, "allow: %s\r\n", allow);
        leave_body(c);
        reply_error(g, c, &err, &more);
        vs_buf_clear(&more);
        return;
    }
    if (rc == VS_OK && !c->route)
        rc = gw_error_set(&err, 404, "not_found", "", "there is nothing at %.200s", gw_request_target(&c->request));
    bool is_shut = g->draining || (g->loading && !route_is_page(c->route));
    if (rc == VS_OK && is_shut && !route_is_metrics(c->route)) {
        rc = g->draining ? gw_error_set(&err, 503, "shutting_down", "", "the gateway is about to end")
                         : gw_error_set(&err, 503, "loading", "", "the model is being loaded");
        err.again = true;
        err.retry_after_ms = 1000;
    }
    if (rc == VS_OK && (expects_body(c->route) || gw_request_has_body(&c->request)))
        rc = check_body(c, &err);
    if (rc != VS_OK) {
        leave_body(c);
        reply_error(g, c, &err, NULL);
    } else if (gw_request_waits(&c->request)) {
        vs_buf_str(&c->out, "HTTP/1.1 100 Continue\r\n\r\n");
        conn_touch(c);
    }
}

/* Would reading it hold up everybody else? A value costs some 400 ns, a byte 1 ns: each value but the first has a comma or a
 * bracket before it. */
static bool has_too_many_values(const char *data, size_t n)
{
    size_t count = 0;
    bool is_string = false;
    for (size_t i = 0; i < n; i++) {
        char c = data[i];
        if (is_string) {
            i += c == '\\';
            is_string = c != '"';
        } else {
            is_string = c == '"';
            count += c == ',' || c == '[' || c == '{';
        }
    }
    return count > MAX_VALUES;
}

static void on_request(struct gateway *g, struct conn *c)
{
    char path[GW_MAX_LINE], allow[64], decoded[GW_MAX_LINE];
    const char *rest = "";
    int status;
    struct http_of_conn it = { .http = { .path = path, .rest = decoded, .header = header_of }, .conn = c };
    it.http.method = gw_request_method(&c->request);
    struct gw_error err = { 0 };
    split_target(c, path, sizeof path, &it.http.query);
    route_find(g, c, c->is_head_request ? "GET" : it.http.method, path, &rest, &status, allow);
    if (!gw_percent_decode(rest, strlen(rest), decoded, sizeof decoded)) {
        gw_error_set(&err, 400, "invalid_path", "", "a percent sign in the path without two hex digits");
        reply_error(g, c, &err, NULL);
        return;
    }
    if (expects_body(c->route)) {
        struct vs_error why = { 0 };
        if (has_too_many_values(c->request.body.data, c->request.body.n)) {
            gw_error_set(&err, 413, "too_many_values", "", "the body has more than %d JSON values", MAX_VALUES);
            reply_error(g, c, &err, NULL);
            return;
        }
        it.http.body = vs_json_parse(c->request.body.data ? c->request.body.data : "", c->request.body.n, &why);
        if (!it.http.body) {
            gw_error_set(&err, 400, "invalid_json", "", "the body is not one JSON object: %s", why.text);
            reply_error(g, c, &err, NULL);
            return;
        }
    }
    vs_buf_clear(&c->request.body);     /* it is JSON now */
    count_body(g, c, 0);
    call_begin(g, c, c->route, &it.http);
    json_decref(it.http.body);
}

/* Takes requests out of what came, until one has to be waited for. */
static void pump(struct gateway *g, struct conn *c)
{
    while (c->state == CONN_READS && waiting(c) < LOW_OUTPUT) {
        size_t used, left = c->in.n - c->in_done;
        if (left == 0 && c->request.at == GW_AT_HEAD)
            break;
        if (!gw_request_is_begun(&c->request))
            c->since = g->now;
        enum gw_http_step step = gw_request_feed(&c->request, c->in.data ? c->in.data + c->in_done : "", left, &used);
        c->in_done += used;
        count_body(g, c, c->request.body.cap);
        if (step == GW_HTTP_HEAD)
            on_head(g, c);
        else if (step == GW_HTTP_DONE)
            on_request(g, c);
        else if (step == GW_HTTP_BAD || g->bodies > MAX_BODIES) {
            struct gw_error err = { 0 };
            gw_error_set(&err, step == GW_HTTP_BAD ? c->request.status : 503, "bad_request", "", "%s",
                         step == GW_HTTP_BAD ? c->request.why : "too many large requests at once");
            err.again = err.status == 503;
            c->keeps_alive = c->is_head_request = false;
            reply_error(g, c, &err, NULL);
        } else
            break;
    }
    if (c->in_done == c->in.n) {
        vs_buf_clear(&c->in);
        c->in_done = 0;
    } else if (c->in_done > INPUT_ROOM / 2) {
        vs_buf_drop(&c->in, c->in_done);
        c->in_done = 0;
    }
}

void conn_told(struct gateway *g, struct conn *c, int status, const struct gw_error *err)
{
    if (c->state != CONN_WAITS)
        return;
    c->state = CONN_READS;
    c->moved_at = g->now;               /* it could not go on meanwhile */
    on_checked(g, c, status, err);
    conn_touch(c);
}

void conn_continue(struct gateway *g, struct conn *c)
{
    c->call = NULL;
    c->route = NULL;
    c->api = NULL;
    c->allowed_origin = NULL;           /* it pointed into the request */
    c->request_id[0] = 0;
    explicit_bzero(c->key, sizeof c->key);
    c->moved_at = g->now;
    count_body(g, c, 0);
    if (c->state == CONN_GONE)
        return;
    if (c->keeps_alive && c->request.at == GW_AT_END) {
        gw_request_reset(&c->request);
        c->state = CONN_READS;
    } else {
        c->state = CONN_CLOSES;
    }
    conn_touch(c);
}

/* ---- its turn ---- */

static bool shake(struct conn *c)
{
    if (!c->is_shaking)
        return true;
    int rc = SSL_accept(c->ssl);
    if (rc == 1)
        c->is_shaking = c->wants_write = false;
    else if (tls_result(c, rc) != IO_AGAIN)
        gone(c);
    return rc == 1;
}

static void read_in(struct gateway *g, struct conn *c)
{
    ssize_t n = 0;
    for (size_t sum = 0; sum < TURN_BYTES && c->in.n - c->in_done < INPUT_ROOM; sum += (size_t)n) {
        char piece[READ_BYTES];
        n = take(c, piece, sizeof piece);
        if (n <= 0)
            break;
        c->moved_at = g->now;
        if (c->state == CONN_LINGERS || c->state == CONN_CLOSES)
            continue;
        vs_buf_add(&c->in, piece, (size_t)n);
        if (c->in.status != VS_OK)
            gone(c);
        pump(g, c);
    }
    if (n == IO_LOST || (n == 0 && (c->state == CONN_ANSWERS || c->state == CONN_LINGERS || waiting(c) == 0)))
        gone(c);
    else if (n == 0 && c->state == CONN_READS)
        c->state = CONN_CLOSES;
}

void conn_flush(struct gateway *g, struct conn *c)
{
    if (c->state == CONN_GONE || c->is_shaking)
        return;
    pump(g, c);
    if (c->out.status != VS_OK)
        gone(c);
    if (!c->wrote_at)
        c->wrote_at = g->now;
    while (waiting(c) > 0 && c->state != CONN_GONE) {
        ssize_t n = give(c, c->out.data + c->out_done, waiting(c));
        if (n == IO_AGAIN)
            break;
        if (n < 0) {
            gone(c);
            return;
        }
        c->out_done += (size_t)n;
        c->wrote_at = g->now;
    }
    if (waiting(c) == 0) {
        c->wrote_at = 0;
        if (c->out.cap > LOW_OUTPUT || c->state != CONN_ANSWERS)
            vs_buf_clear(&c->out);
        else
            vs_buf_reset(&c->out);
        c->out_done = 0;
    } else if (c->out_done > LOW_OUTPUT) {
        vs_buf_drop(&c->out, c->out_done);
        c->out_done = 0;
    }
    if (c->call && waiting(c) < LOW_OUTPUT)
        call_flushed(c->call);
    if (c->state == CONN_CLOSES && waiting(c) == 0) {
        if (c->ssl)
            SSL_shutdown(c->ssl);
        ERR_clear_error();
        shutdown(c->fd, SHUT_WR);
        c->state = CONN_LINGERS;
        c->since = g->now;
    }
    /* What came already is taken up again when there is room for its answer. */
    c->is_dirty = c->state == CONN_READS && c->in.n > c->in_done && waiting(c) < LOW_OUTPUT;
}

void conn_ready(struct gateway *g, struct conn *c, short events)
{
    if (c->state == CONN_GONE)
        return;
    if (c->is_shaking && !shake(c))
        return;
    if (events & (POLLIN | POLLHUP | POLLERR | POLLRDHUP)) {
        if (c->in.n - c->in_done >= INPUT_ROOM) {
            if (events & (POLLHUP | POLLERR | POLLRDHUP))
                gone(c);                /* it left, with much unread */
        } else
            read_in(g, c);
    }
    conn_touch(c);
}

static bool may_read(const struct conn *c)
{
    return c->in.n - c->in_done < INPUT_ROOM;
}

bool conn_has_more(const struct conn *c)
{
    return c->ssl && !c->is_shaking && c->state != CONN_GONE && may_read(c) && SSL_has_pending(c->ssl);
}

short conn_wants(const struct conn *c)
{
    return (short)((may_read(c) ? POLLIN : 0) | POLLRDHUP | (c->wants_write || (waiting(c) > 0 && !c->is_shaking) ? POLLOUT : 0));
}

/* ---- time ---- */

static uint64_t due(const struct gateway *g, const struct conn *c)
{
    if (c->is_shaking)
        return c->since + HEAD_TIME;
    if (c->state == CONN_LINGERS)
        return c->since + LINGER_TIME;
    if (waiting(c) > 0)
        return (c->wrote_at ? c->wrote_at : g->now) + WRITE_TIME;
    if (c->state != CONN_READS)
        return NEVER;
    if (!gw_request_is_begun(&c->request))
        return c->moved_at + (g->draining ? LINGER_TIME : IDLE_TIME);
    if (c->request.at == GW_AT_HEAD)
        return c->since + HEAD_TIME;
    uint64_t slow = c->since + BODY_TIME + c->request.raw * (1000 * MS / BODY_RATE), silent = c->moved_at + BODY_TIME;
    return slow < silent ? slow : silent;
}

uint64_t conn_timers(struct gateway *g, struct conn *c)
{
    uint64_t at = due(g, c);
    if (g->now < at)
        return at;
    if (c->state == CONN_READS && gw_request_is_begun(&c->request) && waiting(c) == 0 && !c->is_shaking) {
        struct gw_error err = { 0 };
        gw_error_set(&err, 408, "request_timeout", "", "the request did not come in time");
        err.again = true;
        c->keeps_alive = false;
        c->is_old |= c->request.at == GW_AT_HEAD;
        reply_error(g, c, &err, NULL);
        return 0;
    }
    gone(c);
    return 0;
}

/* ---- its beginning and end ---- */

/* The one that has been idle for longest makes room. */
static bool make_room(struct gateway *g)
{
    struct conn *oldest = NULL;
    for (struct conn *c = g->conns; c; c = c->next)
        if (c->state == CONN_READS && !gw_request_is_begun(&c->request) && (!oldest || c->moved_at < oldest->moved_at))
            oldest = c;
    if (!oldest)
        return false;
    struct conn **at = &g->conns;
    while (*at != oldest)
        at = &(*at)->next;
    *at = oldest->next;
    conn_free(g, oldest);
    return true;
}

void conn_accept(struct gateway *g, const struct listener *l)
{
    static const char full[] = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nretry-after: 1\r\n"
                               "connection: close\r\n\r\n";
    for (int i = 0; i < 64; i++) {
        struct sockaddr_storage from;
        socklen_t n_from = sizeof from;
        int fd = accept4(l->fd, (struct sockaddr *)&from, &n_from, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0) {
            if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
                g->accept_at = g->now + 100 * MS;       /* no descriptor, no memory: it would be ready again at once */
            return;
        }
        struct conn *c = NULL;
        if (g->n_conns < g->settings.max_connections || make_room(g))
            c = calloc(1, sizeof *c);
        if (c && (!gw_request_init(&c->request, g->settings.max_body) || (l->is_tls && !(c->ssl = SSL_new(g->tls))))) {
            gw_request_clear(&c->request);
            free(c);
            c = NULL;
        }
        if (!c) {
            if (!l->is_tls && write(fd, full, sizeof full - 1) < 0)
                ERR_clear_error();
            close(fd);
            continue;
        }
        c->fd = fd;
        c->listener = l;
        who_place(c, &from, n_from);
        c->is_shaking = c->ssl != NULL;
        if (c->ssl) {
            SSL_set_fd(c->ssl, fd);
            SSL_set_accept_state(c->ssl);
        }
        c->since = c->moved_at = g->now;
        c->next = g->conns;
        g->conns = c;
        g->n_conns++;
    }
}

void conn_free(struct gateway *g, struct conn *c)
{
    if (c->call)
        call_free(c->call);
    if (c->state == CONN_WAITS || c->key[0])
        link_forget_conn(g, c);
    explicit_bzero(c->key, sizeof c->key);
    count_body(g, c, 0);
    if (c->ssl)
        SSL_free(c->ssl);
    close(c->fd);
    gw_request_clear(&c->request);
    vs_buf_clear(&c->in);
    vs_buf_clear(&c->out);
    free(c);
    g->n_conns--;
}
