/* prog/broker/peer.c - clients: who may come, what they may say, what it costs us. */
#include "prog/broker/broker.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/utf8.h"
#include "ipc/json.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

void peer_send(struct broker *b, struct peer *p, uint16_t type, uint16_t flags, uint64_t id, const void *data, size_t n)
{
    if (p->gone || p->close_at)
        return;
    if (type == VS_MSG_PROGRESS && vs_conn_queued(&p->conn) > MAX_LOSSY)
        return;
    if (vs_conn_send(&p->conn, type, flags, id, data, n, -1) != VS_OK || vs_conn_queued(&p->conn) > MAX_UNREAD)
        peer_drop(b, p);
}

static void cancel_all(struct broker *b, struct peer *p)
{
    while (p->jobs) {
        struct job *j = p->jobs;
        p->jobs = j->peer_next;
        p->n_jobs--;
        j->peer = NULL;
        model_cancel(b, j, VS_E_CANCELLED);
    }
}

void peer_drop(struct broker *b, struct peer *p)
{
    if (p->gone)
        return;
    p->gone = true;
    if (p->is_private)
        b->ending = true;
    cancel_all(b, p);
}

void peer_refuse(struct broker *b, struct peer *p, int code, const char *text)
{
    if (p->gone || p->close_at)
        return;
    broker_log("client %s (pid %d): %s", p->name, (int)p->pid, text);
    struct vs_buf out = { 0 };
    json_t *value = vs_json_error(code, text);
    vs_json_dump(value, &out);
    json_decref(value);
    if (out.status == VS_OK)
        peer_send(b, p, VS_MSG_ERROR, 0, 0, out.data, out.n);
    vs_buf_clear(&out);
    if (p->gone)
        return;
    p->close_at = b->now + CLOSE_TIME;
    cancel_all(b, p);
}

static struct job *find_job(const struct peer *p, uint64_t client_id)
{
    for (struct job *j = p->jobs; j; j = j->peer_next)
        if (j->client_id == client_id)
            return j;
    return NULL;
}

static unsigned state_of(const void *peer, uint64_t id)
{
    return find_job(peer, id) ? VS_AT_BEGUN : VS_AT_FREE;
}

void peer_add(struct broker *b, int fd, bool is_private)
{
    struct ucred who = { 0 };
    socklen_t n = sizeof who;
    struct peer *p = calloc(1, sizeof *p);
    if (!p || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n) != 0) {
        free(p);
        close(fd);
        return;
    }
    vs_conn_init(&p->conn, fd, &vs_ipc_from_client, VS_AT_START);
    p->conn.state_of = state_of;
    p->conn.context = p;
    p->uid = who.uid;
    p->pid = who.pid;
    p->is_private = is_private;
    p->byte_at = p->frame_at = b->now;
    memcpy(p->name, "?", 2);
    p->next = b->peers;
    b->peers = p;
    b->n_peers++;
    if (!is_private && who.uid != b->uid && who.uid != 0)
        peer_refuse(b, p, VS_E_DENIED, "this daemon belongs to another user");
    else if (b->n_peers > MAX_PEERS)
        peer_refuse(b, p, VS_E_BUSY, "too many connections");
}

void peer_accept(struct broker *b)
{
    /* A few more than MAX_PEERS may be there for a moment, to be told why they are refused. */
    for (int i = 0; i < 16 && b->n_peers < MAX_PEERS + 16; i++) {
        int fd = accept4(b->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0)
            return;
        peer_add(b, fd, false);
    }
}

/* ---- what clients say ---- */

static void on_hello(struct broker *b, struct peer *p, struct vs_frame *f)
{
    struct vs_error why;
    json_t *hello = vs_json_parse(f->data, f->n, &why);
    if (!hello) {
        peer_refuse(b, p, VS_E_PROTOCOL, why.text);
        return;
    }
    json_int_t version = json_integer_value(json_object_get(hello, "protocol"));
    const char *name = json_string_value(json_object_get(hello, "client"));
    if (name && *name)
        snprintf(p->name, sizeof p->name, "%.*s", (int)(sizeof p->name - 1), name);
    p->name[vs_utf8_valid(p->name, strlen(p->name))] = 0;      /* cut within a character */
    json_decref(hello);
    if (version != VS_PROTOCOL_VERSION) {
        char text[96];
        snprintf(text, sizeof text, "protocol %lld is not spoken here; protocol %d is", (long long)version, VS_PROTOCOL_VERSION);
        peer_refuse(b, p, VS_E_PROTOCOL, text);
        return;
    }
    p->conn.state = VS_AT_OPEN;
    char answer[160];
    int length = snprintf(answer, sizeof answer, "{\"protocol\":%d,\"server\":\"veritas/%s\",\"max_frame\":%u,\"credit\":%u,"
                          "\"max_credit\":%u}", VS_PROTOCOL_VERSION, VERITAS_VERSION, VS_MAX_REQUEST, VS_CREDIT_START,
                          VS_CREDIT_MAX);
    peer_send(b, p, VS_MSG_HELLO, 0, 0, answer, (size_t)length);
}

static void on_credit(struct broker *b, struct peer *p, struct vs_frame *f)
{
    struct job *j = find_job(p, f->id);
    uint32_t n = vs_load_u32le(f->data);
    if (!j)
        return;                         /* it has just ended; the client could not know */
    if (n > VS_CREDIT_MAX - j->credit)
        peer_refuse(b, p, VS_E_PROTOCOL, "a request may not have more than 1 MiB of credit");
    else
        model_credit(b, j, n);
}

static void on_cancel(struct broker *b, struct peer *p, struct vs_frame *f)
{
    struct job *j = find_job(p, f->id);
    if (j)
        model_cancel(b, j, VS_E_CANCELLED);
}

/* A request's model by name, started when it isn't there. NULL: j has been answered. */
static struct model *model_for(struct broker *b, struct job *j, const char *name)
{
    struct vs_error why;
    struct model *m = model_find(b, name);
    if (m)
        return m;
    json_t *none = json_object();
    m = model_create(b, name, none, -1, &why);
    json_decref(none);
    if (!m)
        job_fail(b, j, why.code, why.text);
    return m;
}

/* generate, chat, tokenize, ...: the worker's business. The body goes on as it came. */
static void ask_worker(struct broker *b, struct job *j, const json_t *request, struct vs_frame *f)
{
    const char *name = json_string_value(json_object_get(request, "model"));
    if (!name) {
        job_fail(b, j, VS_E_INVALID, "the request names no model");
        return;
    }
    if (b->held_bytes + f->n > MAX_HELD || !(j->body = malloc(f->n))) {
        job_fail(b, j, VS_E_BUSY, "too many bytes of requests are waiting");
        return;
    }
    memcpy(j->body, f->data, f->n);
    j->body_bytes = f->n;
    b->held_bytes += f->n;
    struct model *m = model_for(b, j, name);
    if (m)
        model_enqueue(b, m, j);
}

static bool is_known_setting(const char *key)
{
    static const char *const known[] = { "threads", "isa", "ctx", "kv_type", "prefill_chunk", "precision", "inspect_only" };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(known[i], key) == 0)
            return true;
    return false;
}

static bool is_same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec
           && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec && a->st_ctim.tv_sec == b->st_ctim.tv_sec
           && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static void ask_load(struct broker *b, struct job *j, const json_t *request, struct vs_frame *f)
{
    const char *name = json_string_value(json_object_get(request, "model"));
    json_t *settings = json_object_get(request, "settings");
    if (!name || (settings && !json_is_object(settings))) {
        job_fail(b, j, VS_E_INVALID, name ? "settings must be an object" : "the request names no model");
        return;
    }
    const char *key;
    json_t *value;
    json_object_foreach(settings, key, value)
        if (!is_known_setting(key)) {
            char text[200];
            snprintf(text, sizeof text, "unknown setting '%.60s'; known are threads, isa, ctx, kv_type, prefill_chunk, precision, "
                     "inspect_only", key);
            job_fail(b, j, VS_E_INVALID, text);
            return;
        }
    struct stat file = { 0 };
    if (f->fd >= 0 && (fstat(f->fd, &file) != 0 || !S_ISREG(file.st_mode))) {
        job_fail(b, j, VS_E_INVALID, "the descriptor is not a regular file");
        return;
    }
    struct model *m = model_find(b, name);
    if (m && f->fd >= 0 && m->by_descriptor && !is_same_file(&m->file, &file)) {
        /* The file was replaced since. */
        if ((m->running && m->running->peer) || m->queue.n) {
            job_fail(b, j, VS_E_BUSY, "an older version of this file is loaded and still answers; unload it first");
            return;
        }
        model_drop(b, m, VS_E_CANCELLED, "the file was replaced");
        m = NULL;
    }
    if (m && settings && !json_equal(m->settings, settings)) {
        struct vs_buf is = { 0 };
        vs_json_dump(m->settings, &is);
        char text[300];
        snprintf(text, sizeof text, "the model is loaded with other settings (%.200s); unload it first", is.data ? is.data : "?");
        vs_buf_clear(&is);
        job_fail(b, j, VS_E_INVALID, text);
        return;
    }
    if (!m) {
        struct vs_error why;
        json_t *none = json_object();
        m = model_create(b, name, settings ? settings : none, f->fd, &why);
        json_decref(none);
        if (!m) {
            job_fail(b, j, why.code, why.text);
            return;
        }
    }
    model_enqueue(b, m, j);
}

static void ask_unload(struct broker *b, struct job *j, const json_t *request, struct vs_frame *f)
{
    (void)f;
    const char *name = json_string_value(json_object_get(request, "model"));
    struct model *m = name ? model_find(b, name) : NULL;
    if (!m)
        job_fail(b, j, name ? VS_E_NOT_FOUND : VS_E_INVALID, name ? "no such model is loaded" : "the request names no model");
    else if ((m->queue.n || (m->running && m->running->peer)) && !json_is_true(json_object_get(request, "force")))
        job_fail(b, j, VS_E_BUSY, "the model is answering; wait, or unload with force");
    else {
        model_drop(b, m, VS_E_CANCELLED, "the model was unloaded");
        job_complete(b, j, json_pack("{s:s}", "model", m->name));
    }
}

static void ask_list(struct broker *b, struct job *j, const json_t *request, struct vs_frame *f)
{
    (void)request;
    (void)f;
    int status = control_send(b, json_pack("{s:s, s:I}", "op", "models", "id", (json_int_t)j->id), -1);
    if (status != VS_OK) {
        job_fail(b, j, status, "the supervisor does not answer");
        return;
    }
    j->place = JOB_ASKED;
    queue_add(&b->asked, j);
}

static void ask_status(struct broker *b, struct job *j, const json_t *request, struct vs_frame *f)
{
    (void)request;
    (void)f;
    json_t *models = json_array();
    for (struct model *m = b->models; m; m = m->next)
        if (!m->gone)
            json_array_append_new(models, model_describe(m));
    json_t *clients = json_array();
    for (struct peer *p = b->peers; p; p = p->next)
        if (!p->gone && !p->close_at)
            json_array_append_new(clients, json_pack("{s:s, s:i, s:I, s:i}", "name", p->name, "pid", (int)p->pid, "uid",
                                                     (json_int_t)p->uid, "requests", (int)p->n_jobs));
    job_complete(b, j, json_pack("{s:s, s:i, s:I, s:b, s:O, s:o, s:o}", "server", "veritas/" VERITAS_VERSION, "protocol",
                                 VS_PROTOCOL_VERSION, "uptime_ms", (json_int_t)((b->now - b->started_at) / MS), "private",
                                 b->peers && b->peers->is_private, "sandbox", b->sandbox, "clients", clients, "models", models));
}

static void ask_shutdown(struct broker *b, struct job *j, const json_t *request, struct vs_frame *f)
{
    (void)request;
    (void)f;
    int status = control_send(b, json_pack("{s:s}", "op", "shutdown"), -1);
    if (status == VS_OK)
        job_complete(b, j, json_object());
    else
        job_fail(b, j, status, "the supervisor does not answer");
}

/* Which of the handlers, and whether it still is served while we drain. The requests come from the table. */
static const struct handler {
    uint16_t type;
    void (*take)(struct broker *b, struct peer *p, struct vs_frame *f);
    void (*ask)(struct broker *b, struct job *j, const json_t *request, struct vs_frame *f);
    bool while_draining;
} handlers[] = {
    { VS_MSG_HELLO, on_hello, NULL, true },  { VS_MSG_CREDIT, on_credit, NULL, true },      { VS_MSG_CANCEL, on_cancel, NULL, true },
    { VS_MSG_LOAD, NULL, ask_load, false },  { VS_MSG_UNLOAD, NULL, ask_unload, true },     { VS_MSG_LIST, NULL, ask_list, true },
    { VS_MSG_STATUS, NULL, ask_status, true }, { VS_MSG_SHUTDOWN, NULL, ask_shutdown, true },
#define ASK_WORKER(name, ...) { VS_MSG_##name, NULL, ask_worker, false },
    VS_MODEL_REQUEST_MAP(ASK_WORKER)
};

uint16_t peer_unhandled(void)
{
    return vs_ipc_unhandled(&vs_ipc_from_client, handlers, sizeof handlers / sizeof *handlers, sizeof *handlers);
}

/* version "-" trace id "-" parent id "-" flags, in lower-case hex */
static bool is_traceparent(const char *s)
{
    static const char shape[] = "hh-hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh-hhhhhhhhhhhhhhhh-hh";
    if (strlen(s) != sizeof shape - 1)
        return false;
    for (size_t i = 0; s[i]; i++)
        if (shape[i] == '-' ? s[i] != '-' : !((s[i] >= '0' && s[i] <= '9') || (s[i] >= 'a' && s[i] <= 'f')))
            return false;
    return true;
}

/* What every request may carry. */
static const char *take_common(struct broker *b, struct job *j, const json_t *request)
{
    const json_t *deadline = json_object_get(request, "deadline_ms"), *trace = json_object_get(request, "trace");
    const json_t *model = json_object_get(request, "model");
    if (model && (!json_is_string(model) || json_string_length(model) != strlen(json_string_value(model))))
        return "model must be a string";
    if (deadline) {
        json_int_t ms = json_integer_value(deadline);
        if (!json_is_integer(deadline) || ms < 1 || ms > 7ll * 86400 * 1000)
            return "deadline_ms must be an integer from 1 to 604800000";
        j->deadline = b->now + (uint64_t)ms * MS;
    }
    if (trace) {
        if (!json_is_string(trace) || !is_traceparent(json_string_value(trace)))
            return "trace must be a W3C traceparent string";
        snprintf(j->trace, sizeof j->trace, "%s", json_string_value(trace));
    }
    return NULL;
}

static void take_request(struct broker *b, struct peer *p, struct vs_frame *f, const struct handler *h)
{
    struct vs_error why;
    json_t *request = vs_json_parse(f->data, f->n, &why);
    if (!request && why.code == VS_E_MALFORMED) {
        peer_refuse(b, p, VS_E_MALFORMED, why.text);
        return;
    }
    struct job *j = job_create(b, p, f->type, f->id);
    const char *wrong;
    if (!j)
        peer_refuse(b, p, VS_E_NOMEM, vs_status_text(VS_E_NOMEM));
    else if (!request)
        job_fail(b, j, why.code, why.text);
    else if (b->draining && !h->while_draining)
        job_fail(b, j, VS_E_BUSY, "the daemon is shutting down");
    else if (p->n_jobs > MAX_PEER_JOBS)
        job_fail(b, j, VS_E_BUSY, "too many requests on this connection");
    else if ((wrong = take_common(b, j, request)))
        job_fail(b, j, VS_E_INVALID, wrong);
    else
        h->ask(b, j, request, f);
    json_decref(request);
}

static void take_frame(struct broker *b, struct peer *p, struct vs_frame *f)
{
    const struct handler *h = &handlers[vs_ipc_handler(handlers, sizeof handlers / sizeof *handlers, sizeof *handlers, f->type)];
    if (h->take)
        h->take(b, p, f);
    else
        take_request(b, p, f, h);
    if (f->fd >= 0)
        close(f->fd);
}

void peer_ready(struct broker *b, struct peer *p, short events)
{
    if (p->gone)
        return;
    if (events & POLLOUT && vs_conn_flush(&p->conn) == VS_E_DIED) {
        peer_drop(b, p);
        return;
    }
    if (p->close_at) {
        if (events & (POLLHUP | POLLERR) || vs_conn_queued(&p->conn) == 0)
            peer_drop(b, p);
        return;
    }
    if (!(events & (POLLIN | POLLHUP | POLLERR)))
        return;
    int status = vs_conn_read(&p->conn);
    if (status == VS_E_BUSY)
        return;
    if (status == VS_E_PROTOCOL) {
        peer_refuse(b, p, status, "descriptors came that no message asked for");
        return;
    }
    if (status == VS_E_DIED && vs_conn_is_partial(&p->conn))
        broker_log("client %s (pid %d): closed within a frame", p->name, (int)p->pid);
    if (status != VS_OK) {
        peer_drop(b, p);
        return;
    }
    p->byte_at = b->now;
    struct vs_frame f;
    struct vs_error why;
    while (!p->gone && !p->close_at && (status = vs_conn_next(&p->conn, &f, &why)) == VS_OK) {
        take_frame(b, p, &f);
        p->frame_at = b->now;
    }
    if (status != VS_OK && status != VS_E_BUSY && !p->gone)
        peer_refuse(b, p, status, why.text);
    if (!vs_conn_is_partial(&p->conn))
        p->frame_at = 0;
    else if (!p->frame_at)
        p->frame_at = b->now;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t peer_timers(struct broker *b, struct peer *p)
{
    if (p->gone)
        return NEVER;
    uint64_t next = NEVER;
    if (p->close_at) {
        if (b->now >= p->close_at || vs_conn_queued(&p->conn) == 0)
            peer_drop(b, p);
        return p->close_at;
    }
    bool waits = vs_conn_is_partial(&p->conn) || p->conn.state == VS_AT_START;
    if (waits && !p->is_private) {
        uint64_t silent = p->byte_at + FRAME_SILENCE, slow = p->frame_at + FRAME_TIME;
        if (b->now >= silent || b->now >= slow) {
            peer_refuse(b, p, VS_E_TIMEOUT, p->conn.state == VS_AT_START ? "no whole HELLO came within 10 seconds"
                                                                      : "a frame was begun and not finished in time");
            return b->now + CLOSE_TIME;
        }
        next = earlier(silent, slow);
    }
    for (struct job *j = p->jobs, *after; j; j = after) {
        after = j->peer_next;
        if (b->now < j->deadline) {
            next = earlier(next, j->deadline);
            continue;
        }
        j->deadline = NEVER;
        model_cancel(b, j, VS_E_TIMEOUT);   /* may free j, and only j */
        if (p->gone)
            return NEVER;
    }
    return next;
}
