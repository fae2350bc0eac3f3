/* prog/broker/ask.c - what clients ask for: envelopes are read here, bodies go on as they came. */
#include "prog/broker/broker.h"

#include "base/file.h"
#include "ipc/json.h"
#include "ipc/keys.h"

#include <stdio.h>
#include <string.h>

/* A request's model by name, started when it isn't there. NULL: r has been answered. */
static struct model *model_for(struct broker *b, struct request *r, const char *name)
{
    struct vs_error why;
    struct model *m = model_find(b, name);
    if (m)
        return m;
    json_t *none = json_object();
    m = model_create(b, name, none, -1, "", &why);
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
    r->priority = head->priority;
    r->body_bytes = p->body_bytes;
    if (!request_keep(r, p->body_bytes + 1) || vs_buf_resize(&r->body, p->body_bytes + 1) != VS_OK)
        return false;
    vs_buf_add(&r->body, p->body, p->body_bytes);
    return r->body.status == VS_OK;
}

struct asked {                          /* what came */
    struct vs_head head;
    struct vs_payload payload;
    int fd;
};

/* generate, chat, tokenize, ...: the worker's business. */
static void ask_model(struct broker *b, struct request *r, const struct asked *a)
{
    if (!keep_body(r, &a->head, &a->payload)) {
        request_fail(b, r, VS_E_BUSY, "too many bytes of requests are waiting");
        return;
    }
    struct model *m = model_for(b, r, a->head.model);
    if (m)
        model_enqueue(b, m, r);
}

/* Is one of them other than what the model was loaded with? */
static bool is_other(const json_t *is, json_t *asked)
{
    const char *key;
    json_t *value;
    json_object_foreach(asked, key, value)
        if (!json_is_null(value) && !json_equal(json_object_get(is, key), value))
            return true;
    return false;
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
    if (alias_check(b, name, settings, &why) != VS_OK) {
        request_fail(b, r, VS_E_INVALID, why.text);
        return;
    }
    struct stat st;
    char file[VS_FILE_IDENTITY] = "";
    if (a->fd >= 0 && vs_file_check("the model", name, a->fd, &st, &why) != VS_OK) {
        request_fail(b, r, why.code, why.text);
        return;
    }
    if (a->fd >= 0)
        vs_file_identity(&st, file);
    struct model *m = model_find(b, name);
    if (m && a->fd >= 0 && m->by_descriptor && strcmp(m->file, file) != 0) {
        /* The file was replaced since. */
        if (model_is_answering(m)) {
            request_fail(b, r, VS_E_BUSY, "an older version of this file is loaded and still answers; unload it first");
            return;
        }
        model_drop(b, m, VS_E_CANCELLED, "the file was replaced");
        m = NULL;
    }
    if (m && is_other(m->settings, settings)) {
        struct vs_buf is = { 0 };
        vs_json_dump(m->settings, &is);
        char text[300];
        snprintf(text, sizeof text, "the model is loaded with other settings (%.200s); unload it first", is.data ? is.data : "?");
        vs_buf_clear(&is);
        request_fail(b, r, VS_E_INVALID, text);
        return;
    }
    if (!m) {
        json_t *none = json_object();
        m = model_create(b, name, settings ? settings : none, a->fd, file, &why);
        json_decref(none);
        if (!m) {
            request_fail(b, r, why.code, why.text);
            return;
        }
    }
    m->by_request = false;
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
    int status = control_send(b, VS_MSG_MODELS, id, NULL, -1);
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

static void ask_status(struct broker *b, struct request *r, const struct asked *a)
{
    (void)a;
    bool is_private = false;
    json_t *models = json_array();
    for (struct model *m = b->models; m; m = m->next)
        if (!m->gone)
            json_array_append_new(models, model_describe(b, m));
    json_t *clients = json_array();
    for (struct peer *p = b->peers; p; p = p->next) {
        is_private |= p->is_private;
        if (!p->gone && !p->close_at)
            json_array_append_new(clients, json_pack("{s:s, s:i, s:I, s:i}", "name", p->name, "pid", (int)p->pid, "uid",
                                                     (json_int_t)p->uid, "requests", (int)p->n_requests));
    }
    json_t *memory = json_pack("{s:I}", "used", (json_int_t)ledger_used(b));
    if (b->settings.memory <= INT64_MAX)
        json_object_set_new(memory, "limit", json_integer((json_int_t)b->settings.memory));
    request_complete(b, r, json_pack("{s:s, s:i, s:I, s:b, s:O, s:o, s:o, s:o}", "server", "veritas/" VERITAS_VERSION, "protocol",
                                     VS_PROTOCOL_VERSION, "uptime_ms", (json_int_t)((b->now - b->started_at) / MS), "private",
                                     is_private, "sandbox", b->sandbox, "clients", clients, "models", models, "memory",
                                     memory));
}

static void ask_shutdown(struct broker *b, struct request *r, const struct asked *a)
{
    (void)a;
    int status = b->draining ? VS_OK : control_send(b, VS_MSG_END, 0, NULL, -1);
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
    { VS_MSG_LOAD, ask_load, false },    { VS_MSG_UNLOAD, ask_unload, true }, { VS_MSG_LIST, ask_list, true },
    { VS_MSG_STATUS, ask_status, true }, { VS_MSG_SHUTDOWN, ask_shutdown, true },
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

void ask_request(struct broker *b, struct peer *p, struct vs_frame *f)
{
    const struct vs_ipc_rule *rule = vs_ipc_rule_find(&vs_ipc_from_client, f->type);
    size_t handler = vs_ipc_handler(handlers, N_HANDLERS, sizeof *handlers, f->type);
    struct asked a = { .fd = f->fd };
    struct vs_error why = { 0 };
    int status = f->is_refused ? VS_OK : vs_payload_split(f->data, f->n, rule->envelope, &a.payload, &why);
    if (status == VS_OK && !f->is_refused)
        status = vs_head_parse(a.payload.envelope, a.payload.envelope_bytes, rule->keys, &a.head, &why);
    if (status == VS_E_PROTOCOL || status == VS_E_MALFORMED) {
        peer_refuse(b, p, status, why.text);
        return;
    }
    struct request *r = request_create(b, p, f->type, f->id);
    const char *away;
    if (!r)
        peer_refuse(b, p, VS_E_NOMEM, vs_status_text(VS_E_NOMEM));
    else if (f->is_refused)
        request_fail(b, r, VS_E_BUSY, "there is no room for so large a request now");
    else if (status != VS_OK)
        request_fail(b, r, status, why.text);
    else if (a.payload.body_bytes && rule->max == 4 + rule->envelope)
        request_fail(b, r, VS_E_INVALID, "this request has an envelope and no body");
    else if ((away = turned_away(b, r, handlers[handler].always)))
        request_fail(b, r, VS_E_BUSY, away);
    else {
        if (a.head.model)
            a.head.model = alias_resolve(b, a.head.model);
        if (a.head.deadline_ms)
            r->deadline = b->now + (uint64_t)a.head.deadline_ms * MS;
        handlers[handler].ask(b, r, &a);
    }
    vs_head_clear(&a.head);
}
