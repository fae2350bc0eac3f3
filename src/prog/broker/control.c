/* prog/broker/control.c - the supervisor, who starts and stops workers for us and knows the model directory. */
#include "prog/broker/broker.h"

#include "base/bytes.h"
#include "ipc/json.h"

#include <poll.h>
#include <string.h>
#include <unistd.h>

#define CONTROL_MEMORY (1u << 20)       /* bytes that may wait for the supervisor */
#define CONTROL_BUSY (256u << 10)       /* with so many nothing new is begun; what must be said still has room */

int control_send(struct broker *b, uint16_t type, uint64_t id, json_t *value, const struct vs_files *files)
{
    static const struct vs_files none;
    struct vs_buf out = { .limit = VS_MAX_START };
    int status = VS_OK;
    if (value)
        vs_json_dump(value, &out);
    json_decref(value);
    if (out.status != VS_OK)
        status = out.status;
    else if (type == VS_MSG_START && vs_conn_queued(&b->control) > CONTROL_BUSY)
        status = VS_E_BUSY;
    else
        status = vs_conn_send_files(&b->control, type, id, out.data, out.n, files ? files : &none);
    vs_buf_clear(&out);
    return status;
}

/* ---- what it says ---- */

static void on_started(struct broker *b, struct vs_frame *f, const json_t *message)
{
    struct model *m = model_find_id(b, f->id);
    if (!m && json_is_true(json_object_get(message, "restored")))
        m = model_restore(b, f->id, message);
    if (m && f->fd >= 0) {
        model_started(b, m, f->fd, message);
        f->fd = -1;
    }
}

static void on_failed(struct broker *b, struct vs_frame *f, const json_t *message)
{
    struct model *m = model_find_id(b, f->id);
    struct vs_error why;
    vs_json_to_error(message, &why);
    json_int_t needed = json_integer_value(json_object_get(message, "needed"));
    if (m && needed > 0 && m->state == MODEL_STARTING)
        ledger_refused(b, m, (uint64_t)needed, &why);
    else if (m)
        model_drop(b, m, why.code, why.text);
}

static void on_exited(struct broker *b, struct vs_frame *f, const json_t *message)
{
    struct model *m = model_find_id(b, f->id);
    struct vs_error why;
    vs_json_to_error(message, &why);
    if (m)
        model_exited(b, m, &why, message);
}

/* The other names of those that are listed: each an entry like that of its model. */
static void add_aliases(const struct broker *b, json_t *list)
{
    json_t *aliases = alias_json(b), *of;
    const char *alias;
    size_t n = json_array_size(list);
    json_object_foreach(aliases, alias, of)
        for (size_t i = 0; i < n; i++) {
            json_t *entry = json_array_get(list, i);
            if (!json_equal(json_object_get(entry, "name"), of))
                continue;
            json_t *copy = json_copy(entry);
            json_object_set_new(copy, "name", json_string(alias));
            json_object_set(copy, "alias_of", of);
            json_array_append_new(list, copy);
        }
    json_decref(aliases);
}

static void on_models(struct broker *b, struct vs_frame *f, const json_t *message)
{
    if (!b->asked_id || f->id != b->asked_id)
        return;
    json_t *list = json_array(), *entry;
    size_t i;
    json_array_foreach(json_object_get(message, "models"), i, entry) {
        const char *name = json_string_value(json_object_get(entry, "name"));
        const struct model *loaded = name ? model_find(b, name) : NULL;
        json_t *copy = json_copy(entry);
        json_object_set_new(copy, "loaded", json_boolean(loaded));
        if (loaded && loaded->digest[0])
            json_object_set_new(copy, "model_digest", json_string(loaded->digest));
        json_array_append_new(list, copy);
    }
    for (struct model *l = b->models; l; l = l->next)
        if (!l->gone && l->by_descriptor)
            json_array_append_new(list, json_pack("{s:s, s:O?, s:b, s:s?}", "name", l->name, "bytes", l->bytes, "loaded", 1,
                                                  "model_digest", l->digest[0] ? l->digest : NULL));
    add_aliases(b, list);
    json_t *result = json_pack("{s:o}", "models", list);
    json_t *folder = json_object_get(message, "path");
    if (folder)
        json_object_set(result, "path", folder);
    for (struct request *r = b->asked.first, *after; r; r = after) {
        after = r->next;
        if (r->asked_id == b->asked_id)
            request_complete(b, r, json_incref(result));
    }
    json_decref(result);
    ask_models_known(b);
}

/* What there was before us is told: clients may come. */
static void on_hello(struct broker *b, struct vs_frame *f, const json_t *message)
{
    (void)f;
    (void)message;
    b->is_open = true;
}

/* Who comes now is still told that it is too late. */
static void on_drain(struct broker *b, struct vs_frame *f, const json_t *message)
{
    (void)message;
    uint32_t ms = vs_load_u32le(f->data);
    b->draining = true;
    b->drained_at = b->now + ms * MS;
    b->cut_time = ms ? CANCEL_TIME : CUT_TIME;
}

/* There is a log, and here is its writer: the first, or another; or one that only signs; or why there is none. */
static void on_audit(struct broker *b, struct vs_frame *f, const json_t *message)
{
    if (f->fd < 0) {
        audit_failed(b, message);
        return;
    }
    audit_open(b, f->fd, message);
    f->fd = -1;
}

static void on_refused(struct broker *b, struct vs_frame *f, const json_t *message)
{
    (void)f;
    refused_restore(b, message);
}

/* Who may ask, from now on. */
static void on_settings(struct broker *b, struct vs_frame *f, const json_t *message)
{
    (void)message;
    if (f->fd >= 0)
        who_read(b, f->fd);
}

/* The supervisor asks whether the loop still turns. */
static void on_alive(struct broker *b, struct vs_frame *f, const json_t *message)
{
    (void)f;
    (void)message;
    control_send(b, VS_MSG_ALIVE, 0, NULL, NULL);
}

static void on_waited(struct broker *b, struct vs_frame *f, const json_t *message)
{
    struct model *m = model_find_id(b, f->id);
    (void)message;
    if (m)
        model_waited(b, m, vs_load_u64le(f->data), vs_load_u64le(f->data + 8));
}

static const struct {
    uint16_t type;
    bool is_json;
    void (*take)(struct broker *b, struct vs_frame *f, const json_t *message);
} handlers[] = {
    { VS_MSG_STARTED, true, on_started }, { VS_MSG_FAILED, true, on_failed }, { VS_MSG_EXITED, true, on_exited },
    { VS_MSG_MODELS, true, on_models },   { VS_MSG_DRAIN, false, on_drain },   { VS_MSG_HELLO, false, on_hello },
    { VS_MSG_ALIVE, false, on_alive },    { VS_MSG_REFUSED, true, on_refused },
    { VS_MSG_SETTINGS, false, on_settings },
    { VS_MSG_AUDIT, true, on_audit },     { VS_MSG_FILES, true, ask_log_known },
    { VS_MSG_ALIAS, true, alias_told },   { VS_MSG_WAITED, false, on_waited },
};
enum { N_HANDLERS = sizeof handlers / sizeof *handlers };

uint16_t control_unhandled(void)
{
    return vs_ipc_unhandled(&vs_ipc_from_supervisor, handlers, N_HANDLERS, sizeof *handlers);
}

static int take_frame(struct broker *b, struct vs_frame *f, struct vs_error *why)
{
    size_t i = vs_ipc_handler(handlers, N_HANDLERS, sizeof *handlers, f->type);
    json_t *message = handlers[i].is_json ? vs_json_parse(f->data, f->n, why) : NULL;
    int status = handlers[i].is_json && !message ? why->code : VS_OK;
    if (status == VS_OK)
        handlers[i].take(b, f, message);
    json_decref(message);
    if (f->fd >= 0)
        close(f->fd);
    return status;
}

void control_open(struct broker *b, int fd)
{
    vs_conn_init(&b->control, fd, &vs_ipc_from_supervisor, VS_AT_OPEN);
    b->control_memory.limit = CONTROL_MEMORY;
    b->control.budget = &b->control_memory;
}

void control_ready(struct broker *b, short events)
{
    struct vs_frame f;
    struct vs_error why = { 0 };
    if (events & POLLOUT)
        vs_conn_flush(&b->control);
    if (!(events & (POLLIN | POLLHUP | POLLERR)))
        return;
    int status = vs_conn_read(&b->control);
    while (status == VS_OK && (status = vs_conn_next(&b->control, &f, &why)) == VS_OK)
        status = take_frame(b, &f, &why);
    if (status == VS_E_BUSY)
        return;
    if (status != VS_E_DIED)
        broker_log(b, "the supervisor's message: %s", why.text[0] ? why.text : vs_status_text(status));
    b->ending = true;                   /* no supervisor, no service */
}
