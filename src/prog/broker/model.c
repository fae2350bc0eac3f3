/* prog/broker/model.c - models: a worker each, a queue each.
 *
 *     STARTING --started--> LOADING --READY--> READY <--> (running)
 *        |failed              |FAILED, dies     |dies
 *        v                    v                 v
 *       gone                 gone             DEAD --started--> LOADING
 *
 * A worker has read a foreign file, so what it says is checked like a client's: against the table, against the credit of
 * the one request that it runs. One that breaks the rules is stopped. */
#include "prog/broker/broker.h"

#include "base/bytes.h"
#include "base/utf8.h"
#include "ipc/json.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Results that prove something carry the digest of the file they came from and wait for it when it is not known yet;
 * the others carry it when it is known. */
static bool waits_for_digest(uint16_t type)
{
    return type == VS_MSG_GENERATE || type == VS_MSG_CHAT || type == VS_MSG_LOGITS || type == VS_MSG_PERPLEXITY;
}

struct model *model_find(struct broker *b, const char *name)
{
    for (struct model *m = b->models; m; m = m->next)
        if (!m->gone && strcmp(m->name, name) == 0)
            return m;
    return NULL;
}

struct model *model_find_id(struct broker *b, uint64_t id)
{
    for (struct model *m = b->models; m; m = m->next)
        if (!m->gone && m->id == id)
            return m;
    return NULL;
}

static bool is_model_name(const char *s)
{
    if (*s == '.' || !*s || strlen(s) > 128)
        return false;
    return s[strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789._-")] == 0;
}

struct model *model_create(struct broker *b, const char *name, const json_t *settings, int fd, struct vs_error *err)
{
    if (fd >= 0 ? *name != '/' || strlen(name) > 4000 : !is_model_name(name)) {
        if (*name == '/' && fd < 0)
            vs_error_set(err, VS_E_NOT_FOUND, "this file is not loaded; load it with its descriptor first");
        else if (fd < 0)
            vs_error_set(err, VS_E_NOT_FOUND, "'%.130s' is not a model's name (a-z 0-9 . _ -)", name);
        else
            vs_error_set(err, VS_E_INVALID, "a model loaded by descriptor is named by its absolute path");
        return NULL;
    }
    if (b->n_models >= MAX_MODELS) {
        vs_error_set(err, VS_E_BUSY, "%d models are loaded, no more fit; unload one", MAX_MODELS);
        return NULL;
    }
    struct model *m = calloc(1, sizeof *m);
    if (m)
        m->name = strdup(name);
    if (!m || !m->name || !(m->settings = json_deep_copy(settings))) {
        vs_error_set(err, VS_E_NOMEM, "%s", vs_status_text(VS_E_NOMEM));
        goto failed;
    }
    m->id = ++b->last_id;
    m->by_descriptor = fd >= 0;
    if (fd >= 0 && fstat(fd, &m->file) != 0) {
        vs_error_set(err, VS_E_INVALID, "the descriptor is not usable");
        goto failed;
    }
    vs_conn_init(&m->conn, -1, &vs_ipc_from_worker, VS_AT_START);
    int status = control_send(b, json_pack("{s:s, s:I, s:s, s:O}", "op", "start", "id", (json_int_t)m->id, "model", name,
                                           "settings", m->settings), fd);
    if (status != VS_OK) {
        vs_error_set(err, status, "the supervisor does not answer");
        goto failed;
    }
    m->next = b->models;
    b->models = m;
    b->n_models++;
    return m;
failed:
    if (m) {
        json_decref(m->settings);
        free(m->name);
    }
    free(m);
    return NULL;
}

/* ---- requests to the worker ---- */

static void send_u32(struct model *m, uint16_t type, uint64_t id, uint32_t value)
{
    uint8_t bytes[4];
    vs_store_u32le(bytes, value);
    vs_conn_send(&m->conn, type, 0, id, bytes, sizeof bytes, -1);   /* a failure shows as end of file at the next read */
}

/* What is measured must not share the machine with the file's digest. */
static bool has_quiet(const struct broker *b, const struct model *m)
{
    return m->digest[0] || b->now >= m->ready_at + DIGEST_TIME;
}

/* Starts the next request when the worker is free; a question of our own when nobody waits. */
static void pump(struct broker *b, struct model *m, bool ask_facts)
{
    if (m->gone || m->state != MODEL_READY || m->running)
        return;
    struct job *j = m->queue.first;
    if (j && j->type == VS_MSG_BENCH && !has_quiet(b, m))
        return;
    if (j) {
        queue_remove(&m->queue, j);
    } else {
        j = ask_facts ? job_create(b, NULL, VS_MSG_STATUS, 0) : NULL;
        if (!j)
            return;
        j->model = m;
    }
    j->place = JOB_RUNNING;
    j->started = true;
    m->running = j;
    int status = vs_conn_send(&m->conn, j->type, 0, j->id, j->body ? j->body : "{}", j->body ? j->body_bytes : 2, -1);
    if (j->credit > VS_CREDIT_START)
        send_u32(m, VS_MSG_CREDIT, j->id, j->credit - VS_CREDIT_START);
    b->held_bytes -= j->body_bytes;
    free(j->body);
    j->body = NULL;
    j->body_bytes = 0;
    if (status == VS_E_NOMEM)
        model_drop(b, m, VS_E_NOMEM, vs_status_text(VS_E_NOMEM));
}

static void finish_load(struct broker *b, struct model *m, struct job *j)
{
    json_t *result = model_describe(m);
    json_object_set_new(result, "model", json_string(m->name));
    job_complete(b, j, result);
}

void model_enqueue(struct broker *b, struct model *m, struct job *j)
{
    j->model = m;
    if (j->type == VS_MSG_LOAD && m->state == MODEL_READY) {
        finish_load(b, m, j);
        return;
    }
    if (m->queue.n >= MAX_QUEUE) {
        job_fail(b, j, VS_E_BUSY, "too many requests wait for this model");
        return;
    }
    j->place = JOB_QUEUED;
    queue_add(&m->queue, j);
    pump(b, m, false);
}

void model_credit(struct broker *b, struct job *j, uint32_t n)
{
    (void)b;
    j->credit += n;
    j->blocked_at = 0;
    if (j->place == JOB_RUNNING)
        send_u32(j->model, VS_MSG_CREDIT, j->id, n);
}

void model_cancel(struct broker *b, struct job *j, int code)
{
    if (j->place == JOB_HELD) {
        /* The work is done; only the digest is missing. */
        if (j->peer && code == VS_E_TIMEOUT)
            job_finish(b, j, VS_MSG_COMPLETE, j->body, j->body_bytes);
        else
            job_fail(b, j, code, vs_status_text(code));
    } else if (j->place != JOB_RUNNING) {
        job_fail(b, j, code, code == VS_E_TIMEOUT ? "the deadline passed before the request was started" : vs_status_text(code));
    } else if (j->cancel == VS_OK) {
        j->cancel = code;
        j->cancel_at = b->now;
        send_u32(j->model, VS_MSG_CANCEL, j->id, (uint32_t)-code);
    }
}

/* ---- life and death ---- */

static void fail_all(struct broker *b, struct model *m, int code, const char *text)
{
    if (m->running)
        job_fail(b, m->running, code, text);
    while (m->queue.first)
        job_fail(b, m->queue.first, code, text);
}

/* Results that wait for a digest get it, or "unknown". */
static void release_held(struct broker *b, struct model *m, struct job *j)
{
    struct vs_buf out = { 0 };
    /* The result is the worker's JSON, as large as it likes; the digest is put at its end, not parsed in. Where the worker
     * names a digest itself the key is there twice, which our readers refuse. */
    size_t n = j->body_bytes;
    while (n && (j->body[n - 1] == '}' || j->body[n - 1] == ' ' || j->body[n - 1] == '\n'))
        if (j->body[--n] == '}')
            break;
    size_t at = 1;
    while (at < n && (j->body[at] == ' ' || j->body[at] == '\n'))
        at++;
    vs_buf_add(&out, j->body, n);
    vs_buf_printf(&out, "%s\"model_digest\":", at < n ? "," : "");
    vs_buf_printf(&out, m->digest[0] ? "\"%s\"}" : "null}", m->digest);
    if (out.status == VS_OK)
        job_finish(b, j, VS_MSG_COMPLETE, out.data, out.n);
    else
        job_fail(b, j, out.status, vs_status_text(out.status));
    vs_buf_clear(&out);
}

static void release_all(struct broker *b, struct model *m)
{
    while (m->held.first)
        release_held(b, m, m->held.first);
}

void model_drop(struct broker *b, struct model *m, int code, const char *text)
{
    if (m->gone)
        return;
    m->gone = true;                     /* before anything else: what follows may look for models */
    b->n_models--;
    fail_all(b, m, code, text);
    release_all(b, m);
    vs_conn_clear(&m->conn);
    control_send(b, json_pack("{s:s, s:I}", "op", "stop", "id", (json_int_t)m->id), -1);
}

static unsigned state_of(const void *model, uint64_t id)
{
    const struct model *m = model;
    return m->running && m->running->id == id ? VS_AT_BEGUN : VS_AT_FREE;
}

static void replace(json_t **at, json_t *value)
{
    json_decref(*at);
    *at = json_incref(value);
}

void model_started(struct broker *b, struct model *m, int fd, const json_t *message)
{
    (void)b;
    if (m->conn.fd >= 0 || (m->state != MODEL_STARTING && m->state != MODEL_DEAD)) {
        close(fd);
        return;
    }
    if (m->state == MODEL_DEAD)
        m->n_restarts++;
    vs_conn_init(&m->conn, fd, &vs_ipc_from_worker, VS_AT_START);
    m->conn.state_of = state_of;
    m->conn.context = m;
    m->state = MODEL_LOADING;
    m->pid = (pid_t)json_integer_value(json_object_get(message, "pid"));
    replace(&m->path, json_object_get(message, "path"));
    replace(&m->bytes, json_object_get(message, "bytes"));
    replace(&m->origin, json_object_get(message, "file"));
}

/* The worker is gone; the supervisor may know why, or say it soon. */
void model_exited(struct broker *b, struct model *m, int code, const char *text)
{
    /* What it still said counts: a result, or why it could not load. */
    for (int i = 0; i < 1000 && !m->gone && m->conn.fd >= 0; i++)
        model_ready(b, m, POLLIN);
    if (m->gone)
        return;
    bool was_loading = m->state == MODEL_STARTING || m->state == MODEL_LOADING;
    vs_conn_clear(&m->conn);
    broker_log("model %s: %s", m->name, text);
    if (was_loading) {
        /* It would die again. */
        model_drop(b, m, code, text);
        return;
    }
    m->state = MODEL_DEAD;
    m->dead_at = b->now;
    m->pid = 0;
    if (m->running)
        job_fail(b, m->running, code, text);
}

static void on_end(struct broker *b, struct model *m)
{
    vs_conn_clear(&m->conn);
    m->dead_at = b->now;
    if (m->state == MODEL_READY)
        m->state = MODEL_DEAD;
}

void model_digest(struct broker *b, struct model *m, const char *hex)
{
    if (strlen(hex) != 64 || hex[strspn(hex, "0123456789abcdef")])
        return;
    memcpy(m->digest, hex, 65);
    release_all(b, m);
    pump(b, m, false);
}

/* ---- what workers say ---- */

static void violation(struct broker *b, struct model *m, const char *what)
{
    broker_log("model %s: its worker broke the protocol: %s; stopped", m->name, what);
    model_drop(b, m, VS_E_DIED, "the worker broke the protocol and was stopped");
}

static void on_stream(struct broker *b, struct model *m, struct vs_frame *f)
{
    struct job *j = m->running;
    struct vs_token_view t;
    if (f->n > j->credit) {
        violation(b, m, "it sent more than its credit");
        return;
    }
    if (f->type == VS_MSG_TOKEN && !vs_token_parse(f, &t)) {
        violation(b, m, "malformed token");
        return;
    }
    j->credit -= f->n;
    j->blocked_at = 0;
    if (j->peer)
        peer_send(b, j->peer, f->type, f->flags, j->client_id, f->data, f->n);
}

static void on_blocked(struct broker *b, struct model *m, struct vs_frame *f)
{
    struct job *j = m->running;
    if (j->credit < vs_load_u32le(f->data) && !j->blocked_at)   /* else credit is on its way already */
        j->blocked_at = b->now;
}

static void on_progress(struct broker *b, struct model *m, struct vs_frame *f)
{
    if (f->id) {
        if (m->running->peer)
            peer_send(b, m->running->peer, f->type, 0, m->running->client_id, f->data, f->n);
        return;
    }
    for (struct job *j = m->queue.first, *after; j; j = after) {
        after = j->next;
        peer_send(b, j->peer, f->type, 0, j->client_id, f->data, f->n);
        if (j->peer && j->peer->gone)
            return;                     /* its jobs went with it, the queue is another */
    }
}

static void on_log(struct broker *b, struct model *m, struct vs_frame *f)
{
    uint64_t second = b->now / (1000 * MS);
    if (second != m->log_second)
        m->n_logs = 0;
    m->log_second = second;
    if (m->n_logs++ >= 20)
        return;                         /* log lines may be lost */
    json_t *value = vs_json_parse(f->data, f->n, NULL);
    const char *text = json_string_value(json_object_get(value, "text"));
    if (text)
        broker_log("worker %s: %.1000s", m->name, text);
    json_decref(value);
}

static void take_facts(struct model *m, const void *data, size_t n)
{
    json_t *value = vs_json_parse(data, n, NULL);
    if (value)
        replace(&m->facts, value);
    json_decref(value);
}

static void on_terminal(struct broker *b, struct model *m, struct vs_frame *f)
{
    struct job *j = m->running;
    m->n_served += j->peer != NULL;
    bool ours = j->type == VS_MSG_STATUS;
    if (ours && f->type == VS_MSG_COMPLETE)
        take_facts(m, f->data, f->n);
    if (f->n < 2 || f->data[0] != '{' || f->data[f->n - 1] != '}' || vs_utf8_valid((const char *)f->data, f->n) != f->n) {
        violation(b, m, "its result is not JSON");
        return;
    }
    bool wants = f->type == VS_MSG_COMPLETE && j->peer;
    if (!wants) {
        job_finish(b, j, f->type, f->data, f->n);
    } else if (!(j->body = malloc(f->n))) {
        job_fail(b, j, VS_E_NOMEM, vs_status_text(VS_E_NOMEM));
    } else {
        memcpy(j->body, f->data, f->n);
        j->body_bytes = f->n;
        b->held_bytes += f->n;
        m->running = NULL;
        j->place = JOB_HELD;
        j->held_at = b->now;
        queue_add(&m->held, j);
        if (m->digest[0] || !waits_for_digest(j->type))
            release_held(b, m, j);
    }
    pump(b, m, !ours);
}

static void on_ready(struct broker *b, struct model *m, struct vs_frame *f)
{
    json_t *value = vs_json_parse(f->data, f->n, NULL);
    replace(&m->facts, json_object_get(value, "facts"));
    replace(&m->sandbox, json_object_get(value, "sandbox"));
    json_decref(value);
    m->state = MODEL_READY;
    m->ready_at = b->now;
    m->conn.state = VS_AT_OPEN;
    for (struct job *j = m->queue.first, *after; j; j = after) {
        after = j->next;
        if (j->type == VS_MSG_LOAD) {
            struct peer *p = j->peer;
            finish_load(b, m, j);
            if (p && p->gone)
                after = m->queue.first;
        }
    }
    pump(b, m, false);
}

static void on_failed(struct broker *b, struct model *m, struct vs_frame *f)
{
    struct vs_error why;
    json_t *value = vs_json_parse(f->data, f->n, NULL);
    vs_json_to_error(value, &why);
    json_decref(value);
    broker_log("model %s: %s", m->name, why.text);
    model_drop(b, m, why.code, why.text);
}

static const struct {
    uint16_t type;
    void (*take)(struct broker *b, struct model *m, struct vs_frame *f);
} handlers[] = {
    { VS_MSG_TOKEN, on_stream },       { VS_MSG_DATA, on_stream },      { VS_MSG_PROGRESS, on_progress }, { VS_MSG_LOG, on_log },
    { VS_MSG_BLOCKED, on_blocked },    { VS_MSG_COMPLETE, on_terminal }, { VS_MSG_REJECTED, on_terminal },
    { VS_MSG_ERROR, on_terminal },     { VS_MSG_READY, on_ready },      { VS_MSG_FAILED, on_failed },
};

uint16_t model_unhandled(void)
{
    return vs_ipc_unhandled(&vs_ipc_from_worker, handlers, sizeof handlers / sizeof *handlers, sizeof *handlers);
}

void model_ready(struct broker *b, struct model *m, short events)
{
    if (m->gone || m->conn.fd < 0)
        return;
    if (events & POLLOUT)
        vs_conn_flush(&m->conn);
    if (!(events & (POLLIN | POLLHUP | POLLERR)))
        return;
    int status = vs_conn_read(&m->conn);
    if (status == VS_E_BUSY)
        return;
    if (status != VS_OK) {
        on_end(b, m);
        return;
    }
    struct vs_frame f;
    struct vs_error why;
    while (!m->gone && (status = vs_conn_next(&m->conn, &f, &why)) == VS_OK)
        handlers[vs_ipc_handler(handlers, sizeof handlers / sizeof *handlers, sizeof *handlers, f.type)].take(b, m, &f);
    if (!m->gone && status != VS_E_BUSY)
        violation(b, m, why.text);
}

static bool due(struct broker *b, uint64_t at, uint64_t *next)
{
    if (b->now >= at)
        return true;
    if (at < *next)
        *next = at;
    return false;
}

static void job_timers(struct broker *b, struct model *m, struct job *j, uint64_t *next)
{
    if (j->cancel != VS_OK) {
        if (j->peer && due(b, j->cancel_at + CANCEL_TIME, next)) {
            /* The client has waited long enough. The worker keeps its request until it ends. */
            struct job *answer = job_create(b, j->peer, j->type, j->client_id);
            struct job **at = &j->peer->jobs;
            while (*at != j)
                at = &(*at)->peer_next;
            *at = j->peer_next;
            j->peer->n_jobs--;
            j->peer = NULL;
            if (answer) {
                answer->started = true;
                job_fail(b, answer, j->cancel, vs_status_text(j->cancel));
            }
        }
        if (due(b, j->cancel_at + HANG_TIME, next))
            model_drop(b, m, VS_E_DIED, "the worker did not answer and was stopped");
    } else if (j->blocked_at && due(b, j->blocked_at + (m->queue.n ? STALL_TIME_QUEUED : STALL_TIME), next)) {
        model_cancel(b, j, VS_E_LIMIT);
    }
}

uint64_t model_timers(struct broker *b, struct model *m)
{
    uint64_t next = NEVER;
    if (m->gone)
        return next;
    /* The socket ended and nobody says why. */
    bool died = m->conn.fd < 0 && m->dead_at && (m->state == MODEL_LOADING || (m->state == MODEL_DEAD && m->running));
    if (died && due(b, m->dead_at + DEATH_TIME, &next)) {
        model_exited(b, m, VS_E_DIED, "the worker died");
        if (m->gone)
            return next;
    }
    if (m->running && m->state == MODEL_READY)
        job_timers(b, m, m->running, &next);
    if (!m->gone && m->state == MODEL_READY && m->queue.first && !m->digest[0] && due(b, m->ready_at + DIGEST_TIME, &next))
        pump(b, m, false);
    if (!m->gone && m->held.first && due(b, m->held.first->held_at + DIGEST_TIME, &next))
        release_held(b, m, m->held.first);
    return next;
}

json_t *model_describe(const struct model *m)
{
    static const char *const states[] = { "starting", "loading", "ready", "restarting" };
    bool busy = m->state == MODEL_READY && m->running && m->running->type != VS_MSG_STATUS;
    json_t *value = json_pack("{s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:O, s:s?}", "name", m->name, "state",
                              busy ? "busy" : states[m->state], "pid", (int)m->pid, "running", busy, "queued", (int)m->queue.n,
                              "served", (int)m->n_served, "restarts", (int)m->n_restarts, "settings", m->settings, "model_digest",
                              m->digest[0] ? m->digest : NULL);
    const struct {
        const char *key;
        json_t *of;
    } more[] = { { "path", m->path }, { "bytes", m->bytes }, { "file", m->origin }, { "facts", m->facts }, { "sandbox", m->sandbox } };
    for (size_t i = 0; i < sizeof more / sizeof *more; i++)
        if (more[i].of)
            json_object_set(value, more[i].key, more[i].of);
    return value;
}
