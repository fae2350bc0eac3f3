/* prog/broker/model.c - models: a worker each, a queue each, and the run that the worker has.
 *
 *     STARTING --started--> LOADING --READY--> READY <--> (running)
 *        |failed              |FAILED, dies     |dies
 *        v                    v                 v
 *       gone                 gone             DEAD --started--> LOADING
 *
 * A worker has read a foreign file, so what it says is checked like a client's: against the table, against the credit of
 * its run. One that breaks the rules is stopped. */
#include "prog/broker/broker.h"

#include "base/bytes.h"
#include "ipc/json.h"
#include "ipc/name.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

static void model_free(struct model *m)
{
    json_decref(m->settings);
    free(m->name);
    free(m);
}

static struct model *model_new(struct broker *b, uint64_t id, const char *name, const json_t *settings, bool by_descriptor,
                               const char *file)
{
    struct model *m = calloc(1, sizeof *m);
    if (!m)
        return NULL;
    m->name = strdup(name);
    m->settings = json_deep_copy(settings);
    if (!m->name || !m->settings) {
        model_free(m);
        return NULL;
    }
    m->id = id;
    m->by_descriptor = by_descriptor;
    snprintf(m->file, sizeof m->file, "%s", file);
    m->memory = (struct vs_budget){ .limit = MAX_MEMORY, .own = OWN_MEMORY, .above = &b->memory };
    vs_conn_init(&m->conn, -1, &vs_ipc_from_worker, VS_AT_START);
    return m;
}

static void model_add(struct broker *b, struct model *m)
{
    m->next = b->models;
    b->models = m;
    b->n_models++;
}

struct model *model_create(struct broker *b, const char *name, const json_t *settings, int fd, const char *file,
                           struct vs_error *err)
{
    if (fd >= 0 ? *name != '/' || strlen(name) > 4000 : !vs_model_name_is_valid(name)) {
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
    struct model *m = model_new(b, ++b->last_id, name, settings, fd >= 0, file);
    if (!m) {
        vs_error_set(err, VS_E_NOMEM, "%s", vs_status_text(VS_E_NOMEM));
        return NULL;
    }
    int status = control_send(b, VS_MSG_START, m->id, json_pack("{s:s, s:O}", "model", name, "settings", m->settings), fd);
    if (status != VS_OK) {
        vs_error_set(err, status, "the supervisor does not answer");
        model_free(m);
        return NULL;
    }
    model_add(b, m);
    return m;
}

struct model *model_restore(struct broker *b, uint64_t id, const json_t *message)
{
    const char *name = json_string_value(json_object_get(message, "model"));
    const char *file = json_string_value(json_object_get(message, "file"));
    const json_t *settings = json_object_get(message, "settings");
    bool by_descriptor = name && *name == '/';
    struct model *m = name && file && json_is_object(settings) && b->n_models < MAX_MODELS
        ? model_new(b, id, name, settings, by_descriptor, file) : NULL;
    if (!m)
        return NULL;
    if (b->last_id < id)
        b->last_id = id;
    model_add(b, m);
    return m;
}

/* ---- requests to the worker ---- */

static void send_u32(struct model *m, uint16_t type, uint64_t id, uint32_t value)
{
    uint8_t bytes[4];
    vs_store_u32le(bytes, value);
    vs_conn_send(&m->conn, type, 0, id, bytes, sizeof bytes, -1);   /* a failure shows as end of file at the next read */
}

/* Whose turn it is: the process that was served least recently, of it the connection, of that the request that came first. */
static struct request *next_request(const struct model *m)
{
    struct request *first = m->queue.first;
    for (struct request *r = first; r; r = r->next) {
        uint64_t a = r->peer->client->run_number, b = first->peer->client->run_number;
        if (a < b || (a == b && r->peer->run_number < first->peer->run_number))
            first = r;
    }
    return first;
}

static void begin_run(struct broker *b, struct model *m, struct request *r)
{
    struct run *run = calloc(1, sizeof *run);
    queue_remove(&m->queue, r);
    r->place = PLACE_NONE;
    if (!run) {
        request_fail(b, r, VS_E_NOMEM, vs_status_text(VS_E_NOMEM));
        return;
    }
    run->id = ++b->last_run;
    run->type = r->type;
    run->credit = r->credit;
    vs_frame_header((uint8_t *)r->bytes.data, r->type, 0, run->id, (uint32_t)(r->bytes.n - VS_FRAME_HEADER));
    int status = vs_conn_send_whole(&m->conn, &r->bytes);   /* VS_E_DIED shows as end of file at the next read */
    request_keep(r, 0);
    if (status == VS_E_LIMIT || status == VS_E_NOMEM) {
        free(run);
        request_fail(b, r, VS_E_BUSY, "there is no room to hand so large a request on now");
        return;
    }
    run->request = r;
    r->run = m->run = run;
    m->heard_at = b->now;
    r->place = PLACE_RUNNING;
    r->began = true;
    r->peer->run_number = r->peer->client->run_number = run->id;
    if (run->credit > VS_CREDIT_START)
        send_u32(m, VS_MSG_CREDIT, run->id, run->credit - VS_CREDIT_START);
}

/* Begins the next run when the worker is free. */
static void pump(struct broker *b, struct model *m)
{
    while (!m->gone && m->state == MODEL_READY && !m->run && m->queue.first)
        begin_run(b, m, next_request(m));
}

static void finish_load(struct broker *b, struct model *m, struct request *r)
{
    json_t *result = model_describe(m);
    json_object_set_new(result, "model", json_string(m->name));
    request_complete(b, r, result);
}

/* The queue is full: who has most in it gives one up, the one that came last, to somebody who has less. False: nobody has. */
static bool give_place(struct broker *b, struct model *m, const struct request *newcomer)
{
    struct request *last = NULL;
    unsigned n_mine = 0, n_most = 0;
    for (struct request *r = m->queue.first; r; r = r->next) {
        unsigned n = 0;
        for (const struct request *i = m->queue.first; i; i = i->next)
            n += i->peer == r->peer;
        if (r->peer == newcomer->peer)
            n_mine = n;
        if (n >= n_most) {
            n_most = n;
            last = r;
        }
    }
    if (!last || n_most <= n_mine + 1)
        return false;
    request_fail(b, last, VS_E_BUSY, "too many requests wait for this model, and this connection has most of them");
    return true;
}

void model_enqueue(struct broker *b, struct model *m, struct request *r)
{
    r->model = m;
    if (r->type == VS_MSG_LOAD && m->state == MODEL_READY) {
        finish_load(b, m, r);
        return;
    }
    if (m->queue.n >= b->settings.queue && !give_place(b, m, r)) {
        request_fail(b, r, VS_E_BUSY, "too many requests wait for this model");
        return;
    }
    r->place = PLACE_QUEUED;
    queue_add(&m->queue, r);
    pump(b, m);
}

bool model_is_answering(const struct model *m)
{
    return m->queue.n || (m->run && m->run->request);
}

void model_credit(struct broker *b, struct request *r, uint32_t n)
{
    (void)b;
    struct run *run = r->run;
    if (!run) {
        r->credit += n;
        return;
    }
    run->credit += n;
    if (run->credit >= run->wants)
        run->blocked_at = 0;            /* only what lets it go on counts as progress */
    send_u32(r->model, VS_MSG_CREDIT, run->id, n);
}

static void cancel_run(struct broker *b, struct model *m, int code)
{
    struct run *run = m->run;
    if (run->cancel != VS_OK)
        return;
    run->cancel = code;
    run->cancel_at = b->now;
    send_u32(m, VS_MSG_CANCEL, run->id, (uint32_t)-code);
}

void model_cancel(struct broker *b, struct request *r, int code)
{
    if (r->place == PLACE_RUNNING)
        cancel_run(b, r->model, code);
    else
        request_fail(b, r, code, code == VS_E_TIMEOUT ? "the deadline passed before the request was started"
                                                      : vs_status_text(code));
}

/* ---- life and death ---- */

static void fail_run(struct broker *b, struct model *m, int code, const char *text)
{
    if (m->run && m->run->request)
        request_fail(b, m->run->request, code, text);
    free(m->run);
    m->run = NULL;
}

void model_drop(struct broker *b, struct model *m, int code, const char *text)
{
    if (m->gone)
        return;
    m->gone = true;                     /* before anything else: what follows may look for models */
    b->n_models--;
    fail_run(b, m, code, text);
    while (m->queue.first)
        request_fail(b, m->queue.first, code, text);
    control_send(b, VS_MSG_STOP, m->id, NULL, -1);
}

static unsigned state_of(const void *model, uint64_t id)
{
    const struct model *m = model;
    return m->run && m->run->id == id ? VS_AT_BEGUN : VS_AT_FREE;
}

static void replace(json_t **at, json_t *value)
{
    json_decref(*at);
    *at = json_incref(value);
}

void model_started(struct broker *b, struct model *m, int fd, const json_t *message)
{
    if (m->conn.fd >= 0 || (m->state != MODEL_STARTING && m->state != MODEL_DEAD)) {
        close(fd);
        return;
    }
    if (m->state == MODEL_DEAD)
        m->n_restarts++;
    vs_conn_init(&m->conn, fd, &vs_ipc_from_worker, VS_AT_START);
    m->conn.state_of = state_of;
    m->conn.context = m;
    m->conn.budget = &m->memory;
    m->state = MODEL_LOADING;
    m->digest[0] = 0;                   /* another load, perhaps of another file */
    m->heard_at = b->now;
    m->is_killed = false;
    m->pid = (pid_t)json_integer_value(json_object_get(message, "pid"));
    replace(&m->path, json_object_get(message, "path"));
    replace(&m->bytes, json_object_get(message, "bytes"));
    replace(&m->origin, json_object_get(message, "file"));
    if (json_is_object(json_object_get(message, "settings")))       /* with the supervisor's defaults */
        replace(&m->settings, json_object_get(message, "settings"));
}

/* The worker is gone; the supervisor may know why, or say it soon. */
void model_exited(struct broker *b, struct model *m, int code, const char *text)
{
    /* What it still said counts: a result, or why it could not load. */
    for (int i = 0; i < 10000 && !m->gone && m->conn.fd >= 0; i++)
        model_ready(b, m, POLLIN);
    if (m->gone)
        return;
    bool was_loading = m->state == MODEL_STARTING || m->state == MODEL_LOADING;
    vs_conn_clear(&m->conn);
    broker_log(b, "model %s: %s", m->name, text);
    if (was_loading) {
        /* It would die again. */
        model_drop(b, m, code, text);
        return;
    }
    m->state = MODEL_DEAD;
    m->dead_at = b->now;
    m->pid = 0;
    fail_run(b, m, code, text);
}

static void on_end(struct broker *b, struct model *m)
{
    vs_conn_clear(&m->conn);
    m->dead_at = b->now;
    if (m->state == MODEL_READY)
        m->state = MODEL_DEAD;
}

/* ---- what workers say ---- */

static void violation(struct broker *b, struct model *m, const char *what)
{
    broker_log(b, "model %s: its worker broke the protocol: %s; stopped", m->name, what);
    model_drop(b, m, VS_E_DIED, "the worker broke the protocol and was stopped");
}

static void on_stream(struct broker *b, struct model *m, struct vs_frame *f)
{
    struct run *run = m->run;
    struct vs_token_view t;
    if (f->n > run->credit) {
        violation(b, m, "it sent more than its credit");
        return;
    }
    if (f->type == VS_MSG_TOKEN && !vs_token_parse(f, &t)) {
        violation(b, m, "malformed token");
        return;
    }
    run->credit -= f->n;
    run->blocked_at = 0;
    run->wants = 0;
    if (run->request)
        peer_send(b, run->request->peer, f->type, f->flags, run->request->id, f->data, f->n);
}

static void on_blocked(struct broker *b, struct model *m, struct vs_frame *f)
{
    struct run *run = m->run;
    run->wants = vs_load_u32le(f->data);
    if (run->wants > VS_MAX_CHUNK)
        violation(b, m, "it waits for more than a frame may hold");
    else if (run->credit < run->wants && !run->blocked_at)     /* else credit is on its way already */
        run->blocked_at = b->now;
}

/* {"what", "done", "total"}: a word, and counts that can be. Said again in our own words. */
static bool read_progress(const struct vs_frame *f, char *ret, size_t size, size_t *ret_n)
{
    json_t *value = vs_json_parse(f->data, f->n, NULL);
    const json_t *done = json_object_get(value, "done"), *total = json_object_get(value, "total");
    const char *what = json_string_value(json_object_get(value, "what"));
    json_int_t d = json_integer_value(done), t = json_integer_value(total);
    bool good = json_object_size(value) == 3 && what && *what && strlen(what) <= 40
                && what[strspn(what, "abcdefghijklmnopqrstuvwxyz0123456789 _-")] == 0 && json_is_integer(done)
                && json_is_integer(total) && d >= 0 && t >= 0 && (t == 0 || d <= t);
    if (good)
        *ret_n = (size_t)snprintf(ret, size, "{\"what\":\"%s\",\"done\":%lld,\"total\":%lld}", what, (long long)d, (long long)t);
    json_decref(value);
    return good;
}

static void on_progress(struct broker *b, struct model *m, struct vs_frame *f)
{
    char text[160];
    size_t n;
    if (!read_progress(f, text, sizeof text, &n)) {
        violation(b, m, "its progress is none");
        return;
    }
    if (f->id) {
        if (m->run->request)
            peer_send(b, m->run->request->peer, f->type, 0, m->run->request->id, text, n);
        return;
    }
    for (struct request *r = m->queue.first; r; r = r->next)
        peer_send(b, r->peer, f->type, 0, r->id, text, n);
}

/* Nothing but a sign of life, which every frame is. */
static void on_alive(struct broker *b, struct model *m, struct vs_frame *f)
{
    (void)b;
    (void)m;
    (void)f;
}

static void on_log(struct broker *b, struct model *m, struct vs_frame *f)
{
    uint64_t second = b->now / (1000 * MS);
    if (second != m->log_second)
        m->n_logs = 0;
    m->log_second = second;
    if (m->n_logs++ >= MAX_LOG_LINES)
        return;                         /* log lines may be lost */
    json_t *value = vs_json_parse(f->data, f->n, NULL);
    const char *text = json_string_value(json_object_get(value, "text"));
    if (text)
        broker_log(b, "worker %s: %.1000s", m->name, text);
    json_decref(value);
}

static void on_terminal(struct broker *b, struct model *m, struct vs_frame *f)
{
    struct vs_payload p = { 0 };
    struct vs_outcome o = { 0 };
    struct vs_error why;
    bool complete = f->type == VS_MSG_COMPLETE;
    if (f->is_refused)
        vs_error_set(&o.error, VS_E_NOMEM, "there is no room for the result now");
    else if (vs_payload_split(f->data, f->n, VS_MAX_ENVELOPE, &p, &why) != VS_OK
             || vs_outcome_parse(p.envelope, p.envelope_bytes, &o, &why) != VS_OK) {
        violation(b, m, why.text);
        return;
    } else if (complete != (o.error.code == VS_OK) || (!complete && p.body_bytes)) {
        violation(b, m, "an envelope that does not fit its frame");
        return;
    }
    struct request *r = m->run->request;
    free(m->run);
    m->run = NULL;
    if (r) {
        m->n_served++;
        r->run = NULL;
        r->place = PLACE_NONE;
        request_end(b, r, complete && o.error.code ? VS_MSG_ERROR : f->type, &o, p.body, p.body_bytes);
    }
    pump(b, m);
}

static void on_ready(struct broker *b, struct model *m, struct vs_frame *f)
{
    json_t *value = f->is_refused ? NULL : vs_json_parse(f->data, f->n, NULL);
    if (!value) {
        violation(b, m, "its facts are no JSON");
        return;
    }
    replace(&m->facts, json_object_get(value, "facts"));
    replace(&m->sandbox, json_object_get(value, "sandbox"));
    json_decref(value);
    m->state = MODEL_READY;
    m->conn.state = VS_AT_OPEN;
    for (struct request *r = m->queue.first, *after; r; r = after) {
        after = r->next;
        if (r->type == VS_MSG_LOAD)
            finish_load(b, m, r);
    }
    pump(b, m);
}

static void on_failed(struct broker *b, struct model *m, struct vs_frame *f)
{
    struct vs_error why;
    json_t *value = vs_json_parse(f->data, f->n, NULL);
    vs_json_to_error(value, &why);
    json_decref(value);
    broker_log(b, "model %s: %s", m->name, why.text);
    model_drop(b, m, why.code, why.text);
}

static void on_digest(struct broker *b, struct model *m, struct vs_frame *f)
{
    char hex[65] = "";
    memcpy(hex, f->data, 64);
    if (m->digest[0] || !vs_hex_is_sha256(hex))
        violation(b, m, "its digest is none, or another one");
    else
        memcpy(m->digest, hex, sizeof m->digest);
}

static const struct {
    uint16_t type;
    void (*take)(struct broker *b, struct model *m, struct vs_frame *f);
} handlers[] = {
    { VS_MSG_TOKEN, on_stream },       { VS_MSG_DATA, on_stream },      { VS_MSG_PROGRESS, on_progress }, { VS_MSG_LOG, on_log },
    { VS_MSG_ALIVE, on_alive },
    { VS_MSG_BLOCKED, on_blocked },    { VS_MSG_COMPLETE, on_terminal }, { VS_MSG_REJECTED, on_terminal },
    { VS_MSG_ERROR, on_terminal },     { VS_MSG_READY, on_ready },      { VS_MSG_FAILED, on_failed },
    { VS_MSG_DIGEST, on_digest },
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
    if (!m->has_more) {
        if (!(events & (POLLIN | POLLHUP | POLLERR)))
            return;
        int read = vs_conn_read(&m->conn);
        if (read == VS_E_PROTOCOL || read == VS_E_LIMIT)
            violation(b, m, vs_status_text(read));
        else if (read != VS_OK && read != VS_E_BUSY)
            on_end(b, m);
        if (read != VS_OK)
            return;
        m->heard_at = b->now;
    }
    struct vs_frame f;
    struct vs_error why;
    int status = VS_OK;
    for (int n = 0; n < MAX_WORKER_TURN && !m->gone && (status = vs_conn_next(&m->conn, &f, &why)) == VS_OK; n++)
        handlers[vs_ipc_handler(handlers, sizeof handlers / sizeof *handlers, sizeof *handlers, f.type)].take(b, m, &f);
    m->has_more = status == VS_OK && !m->gone;
    if (!m->gone && status != VS_OK && status != VS_E_BUSY)
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

/* The worker is ended and started again; who waits for it waits on. */
static void stop_worker(struct broker *b, struct model *m, const char *text)
{
    broker_log(b, "model %s: %s", m->name, text);
    if (m->run && m->run->request)
        request_fail(b, m->run->request, VS_E_DIED, text);
    m->is_killed = true;
    control_send(b, VS_MSG_KILL, m->id, NULL, -1);
}

static void run_timers(struct broker *b, struct model *m, uint64_t *next)
{
    struct run *run = m->run;
    if (run->cancel != VS_OK) {
        if (run->request && due(b, run->cancel_at + CANCEL_TIME, next))     /* the client has waited long enough */
            request_fail(b, run->request, run->cancel, vs_status_text(run->cancel));
        if (due(b, run->cancel_at + OBEY_TIME, next))
            stop_worker(b, m, "the worker did not end a request that was cancelled, and was stopped");
    } else if (run->blocked_at && due(b, run->blocked_at + (m->queue.n ? STALL_TIME_QUEUED : STALL_TIME), next)) {
        cancel_run(b, m, VS_E_LIMIT);
    }
    /* One that waits for credit waits for us. */
    if (!m->is_killed && !run->blocked_at && due(b, m->heard_at + b->settings.hang, next)) {
        char why[96];
        snprintf(why, sizeof why, "the worker hung: no sign of life for %llu seconds; it was stopped",
                 b->settings.hang / (1000 * MS));
        stop_worker(b, m, why);
    }
}

uint64_t model_timers(struct broker *b, struct model *m)
{
    uint64_t next = NEVER;
    if (m->gone)
        return next;
    /* The socket ended and nobody says why. */
    bool died = m->conn.fd < 0 && m->dead_at && (m->state == MODEL_LOADING || (m->state == MODEL_DEAD && m->run));
    if (died && due(b, m->dead_at + DEATH_TIME, &next)) {
        model_exited(b, m, VS_E_DIED, "the worker died");
        if (m->gone)
            return next;
    }
    if (m->has_more || m->is_killed || m->conn.fd < 0)
        return next;
    if (m->run && m->state == MODEL_READY)
        run_timers(b, m, &next);
    else if (m->state == MODEL_LOADING && due(b, m->heard_at + LOAD_HANG_TIME, &next))
        stop_worker(b, m, "the worker hung while it loaded: no sign of life for a minute; it was stopped");
    return next;
}

json_t *model_describe(const struct model *m)
{
    static const char *const states[] = { "starting", "loading", "ready", "restarting" };
    bool busy = m->state == MODEL_READY && m->run;
    json_t *value = json_pack("{s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:O, s:s?}", "name", m->name, "state",
                              busy ? "busy" : states[m->state], "pid", (int)m->pid, "running", busy, "queued", (int)m->queue.n,
                              "served", (int)m->n_served, "restarts", (int)m->n_restarts, "settings", m->settings, "model_digest",
                              m->digest[0] ? m->digest : NULL);
    const struct {
        const char *key;
        json_t *of;
    } more[] = {
        { "path", m->path }, { "bytes", m->bytes }, { "file", m->origin }, { "facts", m->facts }, { "sandbox", m->sandbox },
    };
    for (size_t i = 0; i < sizeof more / sizeof *more; i++)
        if (more[i].of)
            json_object_set(value, more[i].key, more[i].of);
    return value;
}
