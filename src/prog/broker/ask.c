/* prog/broker/ask.c - what clients ask for: envelopes are read here, bodies go on as they came. */
#include "prog/broker/broker.h"

#include "base/file.h"
#include "ipc/json.h"
#include "ipc/keys.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char look_over[] = "it was only looked at, and is loaded now";
static const char look_busy[] = "the model is being looked at; try again when that is done";

/* Only looked at: its weights were not read, and with check_only not its vocabulary. */
static bool is_look(const json_t *settings)
{
    return json_is_true(json_object_get(settings, "check_only")) || json_is_true(json_object_get(settings, "inspect_only"));
}

/* Does a request need what this one has not? One that came by its descriptor is of its client's file, not of that name. */
static bool gives_way(const struct model *m, const struct request *r)
{
    bool has_text = json_is_true(json_object_get(m->settings, "inspect_only"));
    return is_look(m->settings) && !m->by_descriptor && !(has_text && who_scope_of(r->type) == VS_SCOPE_TOKENIZE);
}

/* A request's model by name, started when it isn't there. NULL: r has been answered. */
static struct model *model_for(struct broker *b, struct request *r, const char *name)
{
    struct vs_error why;
    struct model *m = model_find(b, name);
    bool is_old = m && gives_way(m, r);
    if (m && !is_old)
        return m;
    if (is_old && model_is_answering(m)) {
        request_fail(b, r, VS_E_BUSY, look_busy);
        return NULL;
    }
    if (!who_may(&r->who, VS_SCOPE_LOAD)) {
        request_fail(b, r, VS_E_DENIED, "this model is not loaded, and who asks may not load one");
        return NULL;
    }
    if (is_old)
        model_drop(b, m, VS_E_CANCELLED, look_over);
    json_t *none = json_object();
    m = model_create(b, name, none, &(struct vs_files){ 0 }, "", &why);
    json_decref(none);
    if (m)
        m->by_request = true;
    else
        request_fail(b, r, why.code, why.text);
    return m;
}

/* What the worker will read, now or after another one's death. */
static bool keep_body(struct request *r, const struct vs_head *head, const struct vs_payload *p)
{
    if (head->trace)
        snprintf(r->trace, sizeof r->trace, "%s", head->trace);
    r->priority = limits_priority(r, head->priority);
    r->body_bytes = p->body_bytes;
    if (!request_keep(r, p->body_bytes + 1) || vs_buf_resize(&r->body, p->body_bytes + 1) != VS_OK)
        return false;
    vs_buf_add(&r->body, p->body, p->body_bytes);
    return r->body.status == VS_OK;
}

struct asked {                          /* what came */
    struct vs_head head;
    struct vs_payload payload;
    struct vs_files files;              /* borrowed */
};

/* generate, chat, tokenize, ...: the worker's business. */
static void ask_model(struct broker *b, struct request *r, const struct asked *a)
{
    if (!limits_begin(b, r, a->payload.body_bytes, model_find(b, a->head.model)))
        return;
    if (!keep_body(r, &a->head, &a->payload)) {
        request_fail(b, r, VS_E_BUSY, "too many bytes of requests are waiting");
        return;
    }
    struct model *m = model_for(b, r, a->head.model);
    if (m)
        model_enqueue(b, m, r);
}

/* scan: a guard's business, without a model. */
static void ask_scan(struct broker *b, struct request *r, const struct asked *a)
{
    struct vs_error why;
    if (!limits_begin(b, r, a->payload.body_bytes, NULL))
        return;
    if (!keep_body(r, &a->head, &a->payload)) {
        request_fail(b, r, VS_E_BUSY, "too many bytes of requests are waiting");
        return;
    }
    struct model *m = model_scanner(b, &why);
    if (m)
        model_enqueue(b, m, r);
    else
        request_fail(b, r, why.code, why.text);
}

/* Why what is there is not what is to be loaded, so that it gives way; NULL: it is. */
static const char *outdated(const struct model *m, const struct asked *a, const char *file)
{
    if (a->files.n && m->by_descriptor && strcmp(m->file, file) != 0)
        return "the file was replaced";
    return is_look(m->settings) && !is_look(a->head.settings) ? look_over : NULL;
}

/* Do they agree with what the model was loaded with, and with what became of it? Else err names one that does not. */
static int compare_settings(const struct model *m, json_t *asked, struct vs_error *err)
{
    json_t *effect = model_settings(m), *value;
    const char *key;
    int status = VS_OK;
    json_object_foreach(asked, key, value) {
        const json_t *is = json_object_get(effect, key);
        if (json_is_null(value) || json_equal(is, value) || json_equal(json_object_get(m->settings, key), value)
            || strcmp(key, "alias") == 0)       /* which it may get at any time */
            continue;
        char *shown = is ? json_dumps(is, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
        status = vs_error_set(err, VS_E_INVALID, "the model is loaded with other settings (%.40s is %.100s); unload it first", key,
                              shown ? shown : "not given");
        free(shown);
        break;
    }
    json_decref(effect);
    return status;
}

static void ask_load(struct broker *b, struct request *r, const struct asked *a)
{
    const char *name = a->head.model;
    json_t *settings = a->head.settings;
    struct vs_error why;
    if (vs_key_check_group(VS_MSG_LOAD, "settings", settings, &why) != VS_OK) {
        request_fail(b, r, VS_E_INVALID, why.text);
        return;
    }
    if (alias_check(b, name, json_object_get(settings, "alias"), &why) != VS_OK) {
        request_fail(b, r, VS_E_INVALID, why.text);
        return;
    }
    struct stat st;
    char file[VS_FILE_IDENTITY] = "";
    for (unsigned i = 0; i < a->files.n; i++)
        if (vs_file_check(i ? "a part of the model" : "the model", name, a->files.fd[i], &st, &why) != VS_OK) {
            request_fail(b, r, why.code, why.text);
            return;
        }
    if (a->files.n)
        vs_files_identity(&a->files, file);
    struct model *m = model_find(b, name);
    const char *old = m ? outdated(m, a, file) : NULL;
    if (old && model_is_answering(m)) {
        request_fail(b, r, VS_E_BUSY, is_look(m->settings) ? look_busy
                     : "an older version of this file is loaded and still answers; unload it first");
        return;
    }
    if (old) {
        model_drop(b, m, VS_E_CANCELLED, old);
        m = NULL;
    }
    if (m && compare_settings(m, settings, &why) != VS_OK) {
        request_fail(b, r, why.code, why.text);
        return;
    }
    if (!m) {
        json_t *none = json_object();
        m = model_create(b, name, settings ? settings : none, &a->files, file, &why);
        json_decref(none);
        if (!m) {
            request_fail(b, r, why.code, why.text);
            return;
        }
    }
    m->by_request = false;
    if (json_is_string(json_object_get(settings, "alias")))
        r->alias = json_incref(json_object_get(settings, "alias"));
    model_enqueue(b, m, r);
}

static void ask_unload(struct broker *b, struct request *r, const struct asked *a)
{
    struct model *m = model_find(b, a->head.model);
    if (!m)
        request_fail(b, r, VS_E_NOT_FOUND, "no such model is loaded");
    else if (model_is_answering(m) && !a->head.force)
        request_fail(b, r, VS_E_BUSY, m->state == MODEL_READY
                     ? "the model is answering; wait, or unload with force"
                     : "the model is being loaded for somebody; wait, or unload with force");
    else {
        model_drop(b, m, VS_E_CANCELLED, "the model was unloaded");
        request_complete(b, r, json_pack("{s:s}", "model", m->name));
    }
}

/* One question to the supervisor at a time answers everybody who asked before it. */
static void ask_supervisor(struct broker *b)
{
    if (b->asked_id || !b->asked.first)
        return;
    uint64_t id = ++b->last_id;
    int status = control_send(b, VS_MSG_MODELS, id, NULL, NULL);
    if (status == VS_OK)
        b->asked_id = id;
    for (struct request *r = b->asked.first, *after; r; r = after) {
        after = r->next;
        r->asked_id = id;
        if (status != VS_OK)
            request_fail(b, r, status, "the supervisor does not answer");
    }
}

void ask_models_known(struct broker *b)
{
    b->asked_id = 0;
    ask_supervisor(b);
}

static void ask_list(struct broker *b, struct request *r, const struct asked *a)
{
    (void)a;
    r->place = PLACE_ASKED;
    queue_add(&b->asked, r);
    ask_supervisor(b);
}

/* Who may read the log gets its files, open for reading; they are opened by the supervisor. */
static void ask_log(struct broker *b, struct request *r, const struct asked *a)
{
    (void)a;
    r->asked_id = ++b->last_id;
    int status = b->audit.is_on ? control_send(b, VS_MSG_FILES, r->asked_id, NULL, NULL) : VS_E_NOT_FOUND;
    if (status != VS_OK) {
        request_fail(b, r, status, b->audit.is_on ? "the supervisor does not answer" : "this daemon keeps no audit log");
        return;
    }
    r->place = PLACE_ASKED;
    queue_add(&b->asked_each, r);
}

void ask_log_known(struct broker *b, struct vs_frame *f, const json_t *message)
{
    struct request *r = queue_find_asked(&b->asked_each, f->id);
    struct vs_files files = { f->fd >= 0, { f->fd } };
    struct vs_error why = { 0 };
    if (!r)
        return;
    for (unsigned i = 0; i < b->control.more.n; i++)
        files.fd[files.n++] = b->control.more.fd[i];
    if (!files.n)
        vs_json_to_error(message, &why);
    int status = files.n ? peer_send_files(r->peer, VS_MSG_FILES, r->id, f->data, f->n, &files) : why.code;
    if (status == VS_OK)
        request_complete(b, r, json_object());
    else
        request_fail(b, r, status, files.n ? vs_status_text(status) : why.text);
}

static void ask_status(struct broker *b, struct request *r, const struct asked *a)
{
    (void)a;
    bool is_private = false;
    json_t *models = json_array();
    for (struct model *m = b->models; m; m = m->next)
        if (!m->gone && !m->is_scanner)
            json_array_append_new(models, model_describe(b, m));
    json_t *clients = json_array();
    for (struct peer *p = b->peers; p; p = p->next) {
        is_private |= p->is_private;
        if (!p->gone && !p->close_at && (who_may(&r->who, VS_SCOPE_STATUS) || p->owner == r->owner))
            json_array_append_new(clients, json_pack("{s:s, s:i, s:I, s:i, s:s*}", "name", p->name, "pid", (int)p->pid, "uid",
                                                     (json_int_t)p->uid, "requests", (int)p->n_requests, "key",
                                                     p->who.name[0] ? p->who.name : NULL));
    }
    json_int_t uptime_ms = (json_int_t)((b->now - b->started_at) / MS);
    json_t *memory = json_pack("{s:I}", "used", (json_int_t)ledger_used(b));
    if (b->settings.memory <= INT64_MAX)
        json_object_set_new(memory, "limit", json_integer((json_int_t)b->settings.memory));
    request_complete(b, r, json_pack("{s:s, s:i, s:I, s:b, s:O, s:o, s:o, s:o, s:o}", "server", "veritas/" VERITAS_VERSION,
                                     "protocol", VS_PROTOCOL_VERSION, "uptime_ms", uptime_ms, "private", is_private, "sandbox",
                                     b->sandbox, "clients", clients, "models", models, "memory", memory, "aliases",
                                     alias_json(b)));
}

static void ask_metrics(struct broker *b, struct request *r, const struct asked *a)
{
    (void)a;
    request_complete(b, r, metrics_json(b));
}

static void ask_traces(struct broker *b, struct request *r, const struct asked *a)
{
    (void)a;
    request_complete(b, r, metrics_traces_json(b));
}

static void ask_whoami(struct broker *b, struct request *r, const struct asked *a)
{
    (void)a;
    request_complete(b, r, who_json(&r->who));
}

/* The client of a private daemon has another connection: this socket. */
static void ask_attach(struct broker *b, struct request *r, const struct asked *a)
{
    unsigned n = 0;
    for (const struct peer *p = b->peers; p; p = p->next)
        n += p->is_attached && !p->gone;
    if (!r->peer->is_private || a->files.n != 1) {
        request_fail(b, r, VS_E_DENIED, "only the client of a private daemon attaches connections, a socket with each request");
        return;
    }
    int fd = n < MAX_ATTACHED ? fcntl(a->files.fd[0], F_DUPFD_CLOEXEC, 3) : -1;
    struct peer *p = fd >= 0 ? peer_add(b, fd, true) : NULL;
    if (!p) {
        request_fail(b, r, VS_E_BUSY, n < MAX_ATTACHED ? "the socket cannot be used" : "too many connections are attached");
        return;
    }
    p->is_attached = true;
    request_complete(b, r, json_object());
}

static void ask_shutdown(struct broker *b, struct request *r, const struct asked *a)
{
    (void)a;
    int status = b->draining ? VS_OK : control_send(b, VS_MSG_END, 0, NULL, NULL);
    if (status == VS_OK)
        request_complete(b, r, json_object());
    else
        request_fail(b, r, status, "the supervisor does not answer");
}

/* Who answers, and whether it always may be asked: by a guest, with too much under way, while we drain. */
static const struct {
    uint16_t type;
    void (*ask)(struct broker *b, struct request *r, const struct asked *a);
    bool always;
} handlers[] = {
#define ASK_MODEL(name, ...) { VS_MSG_##name, ask_model, false },
    VS_MODEL_REQUEST_MAP(ASK_MODEL)
    { VS_MSG_SCAN, ask_scan, false },
    { VS_MSG_LOAD, ask_load, false },    { VS_MSG_UNLOAD, ask_unload, true }, { VS_MSG_LIST, ask_list, true },
    { VS_MSG_METRICS, ask_metrics, true }, { VS_MSG_TRACES, ask_traces, true },
    { VS_MSG_STATUS, ask_status, true }, { VS_MSG_SHUTDOWN, ask_shutdown, true },
    { VS_MSG_WHOAMI, ask_whoami, true },   { VS_MSG_ATTACH, ask_attach, false },
    { VS_MSG_AUDITLOG, ask_log, true },
};
enum { N_HANDLERS = sizeof handlers / sizeof *handlers };

uint16_t ask_unhandled(void)
{
#define REQUEST_TYPE(name, ...) VS_MSG_##name,
    static const uint16_t types[] = { VS_REQUEST_MAP(REQUEST_TYPE) };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (vs_ipc_handler(handlers, N_HANDLERS, sizeof *handlers, types[i]) == N_HANDLERS)
            return types[i];
    return 0;
}

/* Why a request can't be taken now; NULL when it can. */
static const char *turned_away(struct broker *b, struct request *r, bool always)
{
    if (always)
        return NULL;
    if (b->draining)
        return "the daemon is shutting down";
    if (!peer_has_place(b, r->peer))
        return "all places for connections are taken; here only status, list, unload and shutdown are answered";
    if (r->peer->n_requests > MAX_PEER_REQUESTS)
        return "too many requests on this connection";
    return NULL;
}

bool peer_is_delegate(const struct broker *b, const struct peer *p)
{
    size_t i;
    const json_t *uid;
    if (p->is_private)                  /* the daemon is its own */
        return true;
    json_array_foreach(b->settings.delegates, i, uid)
        if (json_is_integer(uid) && json_integer_value(uid) == (json_int_t)p->uid && p->uid != NOBODY)
            return true;
    return false;
}

/* For whom it asks. false: r has been answered. */
static bool speak_for(struct broker *b, struct request *r, const char *person)
{
    char text[120];
    if (!person)
        return true;
    if (!peer_is_delegate(b, r->peer)) {
        snprintf(text, sizeof text, "on_behalf_of: the user %lld is no delegate of this daemon (veritas serve --delegate UID)",
                 (long long)r->peer->uid);
        request_fail(b, r, VS_E_DENIED, text);
        return false;
    }
    if (request_speak_for(b, r, person))
        return true;
    request_fail(b, r, VS_E_NOMEM, vs_status_text(VS_E_NOMEM));
    return false;
}

/* Who asks; why he may not, if so. It answers nothing: a request is recorded first, and the record names the key. */
static void identify(struct broker *b, struct request *r, const struct vs_head *head, struct vs_error *ret)
{
    who_of_request(b, r, head, ret);
    if (head->key)                      /* it stays nowhere in our memory */
        explicit_bzero((char *)(uintptr_t)head->key, strlen(head->key));
}

/* false: r has been answered. */
static bool is_allowed(struct broker *b, struct request *r, const struct vs_head *head, const struct vs_error *denied)
{
    struct vs_outcome_hints hints = { .retry_after_ms = denied->retry_after_ms };
    if (denied->code == VS_OK)
        return speak_for(b, r, head->on_behalf_of);
    request_fail_hints(b, r, denied->code, denied->text, &hints);
    return false;
}

/* Whose is this key? A gateway asks: of a new one we are about to be told, as with that of a HELLO (peer.c). */
static bool waits_for_key(struct broker *b, struct request *r, const struct vs_head *head)
{
    if (r->type != VS_MSG_WHOAMI || !head->key || b->n_late >= MOST_LATE || !who_may_come(b, r->peer, head->key)
        || !(r->late_key = strdup(head->key)))
        return false;
    explicit_bzero((char *)(uintptr_t)head->key, strlen(head->key));
    if (head->remote)
        snprintf(r->remote, sizeof r->remote, "%s", head->remote);
    r->late_at = b->now + LATE_KEY_TIME;
    b->n_late++;
    return true;
}

void ask_forget_late(struct broker *b, struct request *r)
{
    if (!r->late_key)
        return;
    explicit_bzero(r->late_key, strlen(r->late_key));
    free(r->late_key);
    r->late_key = NULL;
    b->n_late--;
}

void ask_judge_late(struct broker *b, struct request *r)
{
    const struct vs_head head = { .key = r->late_key };
    struct vs_error denied = { 0 };
    who_of_request(b, r, &head, &denied);
    ask_forget_late(b, r);
    if (is_allowed(b, r, &head, &denied))
        ask_whoami(b, r, NULL);
}

void ask_request(struct broker *b, struct peer *p, struct vs_frame *f)
{
    const struct vs_ipc_rule *rule = vs_ipc_rule_find(&vs_ipc_from_client, f->type);
    size_t handler = vs_ipc_handler(handlers, N_HANDLERS, sizeof *handlers, f->type);
    struct asked a = { .files = { f->fd >= 0, { f->fd } } };
    for (unsigned i = 0; i < p->conn.more.n; i++)
        a.files.fd[a.files.n++] = p->conn.more.fd[i];
    struct vs_error why = { 0 };
    int status = f->is_refused ? VS_OK : vs_payload_split(f->data, f->n, rule->envelope, &a.payload, &why);
    if (status == VS_OK && !f->is_refused)
        status = vs_head_parse(a.payload.envelope, a.payload.envelope_bytes, rule->keys, &a.head, &why);
    if (a.head.key)
        explicit_bzero((char *)(uintptr_t)a.payload.envelope, a.payload.envelope_bytes);
    if (status == VS_E_PROTOCOL || status == VS_E_MALFORMED) {
        peer_refuse(b, p, status, why.text);
        return;
    }
    struct request *r = request_create(b, p, f->type, f->id);
    const char *away;
    struct vs_error denied = { 0 };
    bool is_read = status == VS_OK && !f->is_refused;
    bool waits = r && is_read && waits_for_key(b, r, &a.head);
    if (r && is_read && !waits)
        identify(b, r, &a.head, &denied);
    if (!r)
        peer_refuse(b, p, VS_E_NOMEM, vs_status_text(VS_E_NOMEM));
    else if (!audit_begin(b, r, is_read ? &a.head : NULL, is_read ? &a.payload : NULL))
        request_fail(b, r, VS_E_SYSTEM, "the audit log cannot be written");
    else if (is_read && denied.code != VS_E_KEY && receipt_begin(b, r, &a.head, &a.payload, &why) != VS_OK)
        request_fail(b, r, why.code, why.text);
    else if (f->is_refused)
        request_fail(b, r, VS_E_BUSY, "there is no room for so large a request now");
    else if (status != VS_OK)
        request_fail(b, r, status, why.text);
    else if (a.payload.body_bytes && rule->max == 4 + rule->envelope)
        request_fail(b, r, VS_E_INVALID, "this request has an envelope and no body");
    else if ((away = turned_away(b, r, handlers[handler].always)))
        request_fail(b, r, VS_E_BUSY, away);
    else if (is_allowed(b, r, &a.head, &denied)) {
        if (a.head.model)
            a.head.model = alias_resolve(b, a.head.model);
        if (a.head.deadline_ms)
            r->deadline = b->now + (uint64_t)a.head.deadline_ms * MS;
        if (!waits)                     /* else ask_judge_late */
            handlers[handler].ask(b, r, &a);
    }
    vs_head_clear(&a.head);
}
