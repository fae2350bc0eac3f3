/* prog/broker/model.c - models: a worker each and a line each; how they come, die and go.
 *
 *     STARTING --started--> LOADING --READY--> READY
 *        |failed              |FAILED, dies     |dies, hangs, breaks a rule
 *        v                    v                 v
 *       gone                 gone             DEAD --started--> LOADING
 *
 * Between us and a worker stands its guard, which says what the worker says, and which we trust no more: a worker has read a
 * foreign file. So what comes is checked like a client's: against the table, against the credit of its runs. One that breaks the
 * rules is stopped, and another takes its place. Where the supervisor names no guard the worker speaks for itself, by the same
 * rules. */
#include "prog/broker/broker.h"

#include "base/bytes.h"
#include "base/word.h"
#include "ipc/json.h"
#include "ipc/name.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const stats_names[N_STATS] = {
#define STATS_NAME(name) #name,
    STATS_MAP(STATS_NAME)
};

struct model *model_find(struct broker *b, const char *name)
{
    for (struct model *m = b->models; m; m = m->next)
        if (!m->gone && !m->is_scanner && strcmp(m->name, name) == 0)
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
    vs_files_close(&m->files);
    json_decref(m->settings);
    json_decref(m->aliases);
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
    m->parallel = 1;
    m->used_at = b->now;
    snprintf(m->file, sizeof m->file, "%s", file);
    m->memory = (struct vs_budget){ .limit = MAX_MEMORY, .own = OWN_MEMORY, .above = &b->memory };
    vs_conn_init(&m->conn, -1, &vs_ipc_from_guard, VS_AT_START);
    return m;
}

static void model_add(struct broker *b, struct model *m)
{
    m->next = b->models;
    b->models = m;
    b->n_models++;
}

static int check_name(const char *name, bool by_descriptor, struct vs_error *err)
{
    if (by_descriptor ? *name == '/' && strlen(name) <= 4000 : vs_model_name_is_valid(name))
        return VS_OK;
    if (by_descriptor)
        return vs_error_set(err, VS_E_INVALID, "a model loaded by descriptor is named by its absolute path");
    if (*name == '/')
        return vs_error_set(err, VS_E_NOT_FOUND, "this file is not loaded; load it with its descriptor first");
    return vs_error_set(err, VS_E_NOT_FOUND, "'%.130s' is not a model's name (a-z 0-9 . _ -)", name);
}

/* Files of models that wait to be started. */
static unsigned files_held(const struct broker *b)
{
    unsigned n = 0;
    for (const struct model *m = b->models; m; m = m->next)
        n += m->files.n;
    return n;
}

struct model *model_create(struct broker *b, const char *name, const json_t *settings, const struct vs_files *files,
                           const char *file, struct vs_error *err)
{
    bool by_descriptor = files->n && !vs_model_name_is_valid(name);     /* else they are adapters */
    if (check_name(name, by_descriptor, err) != VS_OK)
        return NULL;
    if (files_held(b) + files->n > MAX_MODELS + b->spare_files / 2) {
        vs_error_set(err, VS_E_BUSY, "too many models wait to be loaded; try again when one is");
        return NULL;
    }
    if (b->n_models >= MAX_MODELS && !ledger_give_up_one(b, NAMED_IDLE_TIME)) {
        vs_error_set(err, VS_E_BUSY, "%d models are loaded, no more fit; unload one", MAX_MODELS);
        return NULL;
    }
    struct model *m = model_new(b, ++b->last_id, name, settings, by_descriptor, file);
    if (!m || vs_files_copy(files, 3, &m->files, NULL) != VS_OK) {
        vs_error_set(err, VS_E_NOMEM, "%s", vs_status_text(VS_E_NOMEM));
        if (m)
            model_free(m);
        return NULL;
    }
    model_add(b, m);
    ledger_start_next(b);
    if (!m->gone)
        return m;
    vs_error_set(err, VS_E_BUSY, "the supervisor does not answer");
    return NULL;
}

struct model *model_scanner(struct broker *b, struct vs_error *err)
{
    for (struct model *m = b->models; m; m = m->next)
        if (m->is_scanner && !m->gone)
            return m;
    json_t *none = json_object();
    struct model *m = model_new(b, ++b->last_id, "(scan)", none, false, "");
    json_decref(none);
    if (!m) {
        vs_error_set(err, VS_E_NOMEM, "%s", vs_status_text(VS_E_NOMEM));
        return NULL;
    }
    m->is_scanner = true;
    m->next = b->models;
    b->models = m;
    ledger_start_next(b);
    if (!m->gone)
        return m;
    vs_error_set(err, VS_E_BUSY, "the supervisor does not answer");
    return NULL;
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
    m->aliases = json_incref(json_object_get(message, "aliases"));
    m->is_asked = m->was_ready = true;
    m->room = UINT64_MAX;
    if (b->last_id < id)
        b->last_id = id;
    model_add(b, m);
    return m;
}

/* ---- requests ---- */

void model_tell_loaded(struct broker *b, struct model *m, struct request *r)
{
    json_t *result = model_describe(b, m);
    json_object_set_new(result, "model", json_string(m->name));
    request_complete(b, r, result);
}

static void finish_load(struct broker *b, struct model *m, struct request *r)
{
    m->by_request = false;
    if (r->place == PLACE_QUEUED)
        queue_remove(&m->queue, r);
    r->place = PLACE_NONE;
    if (r->alias && !alias_is_given(b, m, json_string_value(r->alias)))
        alias_ask(b, m, r);
    else
        model_tell_loaded(b, m, r);
}

void model_enqueue(struct broker *b, struct model *m, struct request *r)
{
    r->model = m;
    if (r->type == VS_MSG_LOAD && m->state == MODEL_READY) {
        finish_load(b, m, r);
        return;
    }
    line_enter(b, m, r);
    run_pump(b, m);
}

bool model_is_answering(const struct model *m)
{
    const struct run *run = m->runs;
    while (run && !run->request)
        run = run->next;
    return m->queue.n || run;
}

void model_cancel(struct broker *b, struct request *r, int code)
{
    if (r->place == PLACE_RUNNING)
        run_cancel(b, r->model, r->run, code);
    else
        request_fail(b, r, code, code == VS_E_TIMEOUT && !r->began ? "the deadline passed before the request was started"
                                                                   : vs_status_text(code));
}

/* ---- life and death ---- */

/* It answers, does not any more, or never did. */
static void note(struct broker *b, const struct model *m, const char *event, int code, const char *text)
{
    char words[MAX_LOG_TEXT], name[MAX_LOG_NAME];
    if (m->is_scanner)
        return;
    snprintf(name, sizeof name, "%s", m->name);
    snprintf(words, sizeof words, "%s", text);
    bool is_wanted = code == VS_OK || code == VS_E_CANCELLED;
    audit_note(b, event, json_pack("{s:o, s:s, s:i, s:o}", "model", vs_json_text(name, strlen(name)), "finish",
                                   is_wanted ? "done" : vs_status_name(code), "status_id", is_wanted ? 1 : 2, "message",
                                   vs_json_text(words, strlen(words))));
}

void model_drop(struct broker *b, struct model *m, int code, const char *text)
{
    if (m->gone)
        return;
    note(b, m, m->was_ready ? "unloaded" : "load_failed", code, text);
    m->gone = true;                     /* before anything else: what follows may look for models */
    b->n_models -= !m->is_scanner;
    run_end_all(b, m, code, text);
    while (m->queue.first)
        request_fail(b, m->queue.first, code, text);
    for (struct request *r = b->asked_each.first, *after; r; r = after) {
        after = r->next;
        if (r->model == m)
            request_fail(b, r, code, text);
    }
    if (m->is_asked)
        control_send(b, VS_MSG_STOP, m->id, NULL, NULL);
    if (m->state == MODEL_STARTING)     /* the next one may have its turn */
        ledger_start_next(b);
}

static unsigned state_of(const void *model, uint64_t id)
{
    const struct model *m = model;
    return run_find(m, id) ? VS_AT_BEGUN : VS_AT_FREE;
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
    if (m->state == MODEL_DEAD) {
        m->n_restarts++;
        metrics_count(b, m, COUNT_RESTARTS, 1);
    }
    vs_conn_init(&m->conn, fd, &vs_ipc_from_guard, VS_AT_START);
    m->conn.state_of = state_of;
    m->conn.context = m;
    m->conn.budget = &m->memory;
    m->state = MODEL_LOADING;
    m->digest[0] = 0;                   /* another load, perhaps of another file */
    model_heard(b, m);
    m->killed_for[0] = 0;
    m->is_dead = false;
    m->pid = (pid_t)json_integer_value(json_object_get(message, "pid"));
    replace(&m->path, json_object_get(message, "path"));
    replace(&m->bytes, json_object_get(message, "bytes"));
    replace(&m->origin, json_object_get(message, "file"));
    replace(&m->guard, json_object_get(message, "guard"));
    replace(&m->guard_sandbox, NULL);
    m->told_at = 0;
    if (json_is_object(json_object_get(message, "settings")))       /* with the supervisor's defaults */
        replace(&m->settings, json_object_get(message, "settings"));
    memset(m->stats, 0, sizeof m->stats);
    json_int_t bytes = json_integer_value(m->bytes), kv = json_integer_value(json_object_get(m->settings, "kv_memory"));
    m->needed = (bytes > 0 ? (uint64_t)bytes : 0) + (kv > 0 ? (uint64_t)kv : 0);
    vs_files_close(&m->files);
    ledger_start_next(b);
}

static void hang_up(struct model *m)
{
    vs_conn_clear(&m->conn);
    m->has_more = false;
}

static void log_death(struct broker *b, const struct model *m, const char *text, const char *call)
{
    char words[MAX_LOG_TEXT], name[MAX_LOG_NAME];
    const struct vs_log_field field = { .key = "model", .text = name };
    snprintf(name, sizeof name, "%s", m->name);
    snprintf(words, sizeof words, "model %s: %s", name, text);
    broker_log_event(b, VS_LOG_ERROR, "worker_died", &field, 1, words);
    audit_note(b, "worker_died", json_pack("{s:o, s:o}", "model", vs_json_text(name, strlen(name)), "message",
                                           vs_json_text(words, strlen(words))));
    if (*call)
        audit_note(b, "blocked_call", json_pack("{s:o, s:s, s:o}", "model", vs_json_text(name, strlen(name)), "call", call,
                                                "message", vs_json_text(words, strlen(words))));
}

/* All that its worker said is known. Only a guard knows the tokens behind which another worker would go on. */
static void bury(struct broker *b, struct model *m)
{
    const struct death *d = &m->death;
    bool was_loading = m->state == MODEL_STARTING || m->state == MODEL_LOADING;
    const char *text = m->killed_for[0] && !d->by_guard ? m->killed_for : d->text;
    m->told_at = 0;
    hang_up(m);
    log_death(b, m, text, d->call);
    m->state = MODEL_DEAD;
    m->dead_at = b->now;
    m->pid = 0;
    if (d->by_guard)
        run_end_lost(b, m, VS_E_DIED, text);
    else
        run_lose_all(b, m, d->code, text, m->killed_for[0] ? m->is_suspicious : !d->by_sigkill);
    bool from_outside = d->by_sigkill && !m->killed_for[0];
    if (d->is_last || (was_loading && !(m->was_ready && from_outside)))     /* there is no other, or it would die again */
        model_drop(b, m, d->code, text);
}

/* The worker is gone; the supervisor may know why, or say it soon. What it still said counts: a result, or why it could not
 * load. */
static void lose_worker(struct broker *b, struct model *m, const struct death *d)
{
    m->is_dead = true;                  /* nothing more is begun there */
    m->death = *d;
    m->told_at = b->now;
    for (int i = 0; i < 10000 && !m->gone && m->conn.fd >= 0 && m->told_at; i++)
        model_ready(b, m, POLLIN);
    bool tells = m->guard && !d->by_guard && m->conn.fd >= 0;   /* to the end of its socket; model_timers waits so long for it */
    if (!m->gone && m->told_at && !tells)
        bury(b, m);
}

void model_exited(struct broker *b, struct model *m, const struct vs_error *why, const json_t *message)
{
    struct death d = {
        .code = why->code, .by_sigkill = json_is_true(json_object_get(message, "sigkill")),
        .is_last = json_is_true(json_object_get(message, "last")), .by_guard = json_is_true(json_object_get(message, "guard")),
    };
    snprintf(d.text, sizeof d.text, "%s", why->text);
    const char *call = json_string_value(json_object_get(message, "call"));
    snprintf(d.call, sizeof d.call, "%s", call ? call : "");
    lose_worker(b, m, &d);
}

static void on_end(struct broker *b, struct model *m)
{
    hang_up(m);
    if (m->told_at) {
        bury(b, m);
        return;
    }
    m->dead_at = b->now;
    if (m->state == MODEL_READY)
        m->state = MODEL_DEAD;
}

/* The measure of what its processes wait begins anew. */
static void forget_waits(struct model *m)
{
    m->waited.since = m->waited.first = m->waited.at = 0;
}

void model_stop_worker(struct broker *b, struct model *m, const char *text, bool is_suspicious)
{
    broker_log(b, "model %s: %s", m->name, text);
    snprintf(m->killed_for, sizeof m->killed_for, "%s", text);
    m->killed_at = b->now;
    forget_waits(m);
    m->is_suspicious = is_suspicious;
    control_send(b, VS_MSG_KILL, m->id, NULL, NULL);
}

/* ---- what workers say ---- */

void model_violation(struct broker *b, struct model *m, const char *what)
{
    broker_log(b, "model %s: its worker broke the protocol: %s", m->name, what);
    if (m->state == MODEL_READY) {
        model_stop_worker(b, m, "the worker broke the protocol and was stopped", true);
        on_end(b, m);                   /* nothing more of it counts */
    } else {
        model_drop(b, m, VS_E_DIED, "the worker broke the protocol and was stopped");
    }
}

/* {"what", "done", "total"}: a word, and counts that can be. Said again in our own words. *ret_prompt: the tokens of a prompt that
 * is read; 0: it is not, or that is not what it is about. */
static bool read_progress(const struct vs_frame *f, char *ret, size_t size, size_t *ret_n, unsigned *ret_prompt)
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
    *ret_prompt = good && strcmp(what, "prompt") == 0 && d == t && t <= MOST_PROMPT ? (unsigned)t : 0;
    json_decref(value);
    return good;
}

static void on_progress(struct broker *b, struct model *m, struct vs_frame *f)
{
    char text[160];
    size_t n;
    unsigned n_prompt;
    if (!read_progress(f, text, sizeof text, &n, &n_prompt)) {
        model_violation(b, m, "its progress is none");
        return;
    }
    struct request *of = f->id ? run_find(m, f->id)->request : NULL;
    if (of && n_prompt && !of->n_tokens)
        of->n_prompt = n_prompt;        /* later it is what it goes on behind, too */
    if (of)
        peer_send(b, of->peer, f->type, 0, of->id, text, n);
    if (f->id)
        return;
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

/* Numbers, only to show. */
static void on_stats(struct broker *b, struct model *m, struct vs_frame *f)
{
    json_t *value = vs_json_parse(f->data, f->n, NULL);
    bool good = json_object_size(value) == N_STATS;
    int64_t before = m->stats[STATS_prompt_tokens];
    for (size_t i = 0; i < N_STATS && good; i++) {
        const json_t *number = json_object_get(value, stats_names[i]);
        good = json_is_integer(number) && json_integer_value(number) >= 0;
        m->stats[i] = json_integer_value(number);
    }
    json_decref(value);
    int64_t more = m->stats[STATS_prompt_tokens] - before;
    if (!good)
        model_violation(b, m, "its numbers are none");
    else if (more > 0)
        measure_tokens(&m->measure, b->now, RATE_PROMPT, more < MOST_PROMPT ? (uint64_t)more : MOST_PROMPT);
}

/* What a guard says of a request, with the numbers by which request_end tells it too. */
static void log_guard(struct broker *b, const struct model *m, const struct request *r, const char *text)
{
    char words[MAX_LOG_TEXT], name[MAX_LOG_NAME];
    snprintf(name, sizeof name, "%s", m->name);
    snprintf(words, sizeof words, "model %s: request %llu of pid %lld: %s", name, (unsigned long long)r->id,
             (long long)r->peer->pid, text);
    const struct vs_log_field fields[] = {
        { "request", NULL, r->id }, { "model", name, 0 }, { "uid", NULL, r->peer->uid },
        { "pid", NULL, (uint64_t)r->peer->pid },
    };
    broker_log_event(b, VS_LOG_WARNING, "guard", fields, sizeof fields / sizeof *fields, words);
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
    const struct run *run = run_find(m, f->id);
    if (text && run && run->request)
        log_guard(b, m, run->request, text);
    else if (text)
        broker_log(b, "model %s: %.1000s", m->name, text);
    json_decref(value);
}

static void on_ready(struct broker *b, struct model *m, struct vs_frame *f)
{
    json_t *value = f->is_refused ? NULL : vs_json_parse(f->data, f->n, NULL);
    if (!value) {
        model_violation(b, m, "its facts are no JSON");
        return;
    }
    replace(&m->facts, json_object_get(value, "facts"));
    replace(&m->sandbox, json_object_get(value, "sandbox"));
    replace(&m->guard_sandbox, json_object_get(value, "guard"));
    json_decref(value);
    const json_t *parallel = json_object_get(m->facts, "parallel");
    json_int_t n = json_integer_value(parallel);
    m->can_go_on = json_is_integer(parallel);
    m->parallel = n < 1 ? 1 : n > MAX_PARALLEL ? MAX_PARALLEL : (unsigned)n;
    m->state = MODEL_READY;
    note(b, m, "loaded", VS_OK, m->was_ready ? "again" : "");
    m->was_ready = true;
    m->used_at = b->now;
    m->conn.state = VS_AT_OPEN;
    for (struct request *r = m->queue.first, *after; r; r = after) {
        after = r->next;
        if (r->type == VS_MSG_LOAD)
            finish_load(b, m, r);
    }
    run_pump(b, m);
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
        model_violation(b, m, "its digest is none, or another one");
    else
        memcpy(m->digest, hex, sizeof m->digest);
    if (!m->gone && m->digest[0] && !m->is_scanner)
        audit_note(b, "digest", json_pack("{s:o, s:s}", "model", vs_json_text(m->name, strlen(m->name)), "model_digest",
                                          m->digest));
}

/* The guard does not listen to its worker any more. */
static void on_broken(struct broker *b, struct model *m, struct vs_frame *f)
{
    struct vs_error why;
    json_t *value = vs_json_parse(f->data, f->n, NULL);
    vs_json_to_error(value, &why);
    json_decref(value);
    model_violation(b, m, why.text);
}

static const struct {
    uint16_t type;
    void (*take)(struct broker *b, struct model *m, struct vs_frame *f);
} handlers[] = {
    { VS_MSG_TOKEN, run_on_stream },     { VS_MSG_DATA, run_on_stream },        { VS_MSG_BLOCKED, run_on_blocked },
    { VS_MSG_COMPLETE, run_on_terminal }, { VS_MSG_REJECTED, run_on_terminal }, { VS_MSG_ERROR, run_on_terminal },
    { VS_MSG_PROGRESS, on_progress },    { VS_MSG_LOG, on_log },                { VS_MSG_ALIVE, on_alive },
    { VS_MSG_STATS, on_stats },          { VS_MSG_READY, on_ready },            { VS_MSG_FAILED, on_failed },
    { VS_MSG_DIGEST, on_digest },        { VS_MSG_BROKEN, on_broken },          { VS_MSG_RECEIPT, receipt_on_part },
    { VS_MSG_KEPT, receipt_on_kept },
};

uint16_t model_unhandled(void)
{
    return vs_ipc_unhandled(&vs_ipc_from_guard, handlers, sizeof handlers / sizeof *handlers, sizeof *handlers);
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
            model_violation(b, m, vs_status_text(read));
        else if (read != VS_OK && read != VS_E_BUSY)
            on_end(b, m);
        if (read != VS_OK)
            return;
        model_heard(b, m);
    }
    struct vs_frame f;
    struct vs_error why;
    int status = VS_OK;
    for (int n = 0; n < MAX_WORKER_TURN && !m->gone && (status = vs_conn_next(&m->conn, &f, &why)) == VS_OK; n++)
        handlers[vs_ipc_handler(handlers, sizeof handlers / sizeof *handlers, sizeof *handlers, f.type)].take(b, m, &f);
    m->has_more = status == VS_OK && !m->gone;
    if (!m->gone && status != VS_OK && status != VS_E_BUSY)
        model_violation(b, m, why.text);
}

bool due(const struct broker *b, uint64_t at, uint64_t *next)
{
    if (b->now >= at)
        return true;
    if (at < *next)
        *next = at;
    return false;
}

/* ---- who hangs ---- */

void model_heard(const struct broker *b, struct model *m)
{
    m->heard_at = b->now;
    forget_waits(m);
}

static uint64_t grown(uint64_t before, uint64_t now)
{
    return now > before ? now - before : 0;
}

void model_waited(const struct broker *b, struct model *m, uint64_t worker, uint64_t guard)
{
    uint64_t of_worker = grown(m->waited.worker, worker), of_guard = grown(m->waited.guard, guard);
    if (!m->waited.at)
        m->waited.first = b->now;
    else
        m->waited.since += of_worker > of_guard ? of_worker : of_guard;
    m->waited.worker = worker;
    m->waited.guard = guard;
    m->waited.at = b->now;
    m->waited.is_asked = false;
}

/* Have they been able to run for so long since `from`, and did nothing? On a machine that has too much to do they may wait for a
 * processor all the time. How long they have waited is asked at half of the time, for a beginning, and at its end, which is later
 * when the beginning was. */
static bool is_overdue(struct broker *b, struct model *m, uint64_t from, uint64_t time, uint64_t *next)
{
    uint64_t half = from + time / 2, begin = m->waited.first > half ? m->waited.first : half;
    uint64_t limit = begin + m->waited.since + time / 2;
    if (m->waited.is_asked || !due(b, m->waited.at ? limit : half, next))
        return false;
    if (m->waited.at >= limit)
        return true;
    m->waited.is_asked = control_send(b, VS_MSG_WAITED, m->id, NULL, NULL) == VS_OK;
    return false;
}

static void judge_silence(struct broker *b, struct model *m, uint64_t *next)
{
    uint64_t hang = b->settings.hang;
    char why[96];
    if (!is_overdue(b, m, m->heard_at, hang, next))
        return;
    snprintf(why, sizeof why, "the worker hung: no sign of life for %llu second%s; it was stopped",
             (unsigned long long)(hang / (1000 * MS)), vs_plural(hang / (1000 * MS)));
    model_stop_worker(b, m, why, true);
}

/* It was stopped, and nobody says that it ended. The supervisor asks its guard first, which may wait for a processor, too. */
static bool stays(struct broker *b, struct model *m, uint64_t *next)
{
    uint64_t from = m->heard_at > m->killed_at ? m->heard_at : m->killed_at;
    return m->killed_for[0] && (m->conn.fd >= 0 || m->runs) && is_overdue(b, m, from, KILL_TIME, next);
}

void model_forgive_pause(struct broker *b)
{
    for (struct model *m = b->models; m; m = m->next)
        model_heard(b, m);
}

uint64_t model_timers(struct broker *b, struct model *m)
{
    uint64_t next = NEVER;
    if (m->gone)
        return next;
    if (m->is_scanner && m->state == MODEL_READY && !model_is_answering(m) && due(b, m->used_at + SCANNER_IDLE, &next)) {
        model_drop(b, m, VS_E_CANCELLED, "nobody asked for it");
        return next;
    }
    uint64_t idle = (uint64_t)json_integer_value(json_object_get(m->settings, "idle_unload_s")) * 1000 * MS;
    if (idle && m->state == MODEL_READY && !model_is_answering(m) && due(b, m->used_at + idle, &next)) {
        broker_log(b, "model %s: unloaded, for nobody used it", m->name);
        model_drop(b, m, VS_E_CANCELLED, "the model was unloaded, for nobody used it");
        return next;
    }
    /* The socket ended and nobody says why; it was stopped and does not end. */
    bool died = m->conn.fd < 0 && m->dead_at && (m->state == MODEL_LOADING || (m->state == MODEL_DEAD && m->runs));
    if (m->told_at && due(b, m->told_at + DEATH_TIME, &next)) {
        bury(b, m);
        return next;
    }
    if ((died && due(b, m->dead_at + DEATH_TIME, &next)) || stays(b, m, &next)) {
        lose_worker(b, m, &(struct death){ .code = VS_E_DIED, .text = "the worker died", .is_last = !died });
        return next;
    }
    if (m->has_more || m->killed_for[0] || m->conn.fd < 0 || m->told_at)
        return next;
    if (m->runs && m->state == MODEL_READY)
        run_timers(b, m, &next);
    bool owes = m->state == MODEL_LOADING || (m->state == MODEL_READY && run_is_working(m));
    if (owes && !m->killed_for[0])
        judge_silence(b, m, &next);
    stays(b, m, &next);                 /* it may have been stopped just now */
    return next;
}
