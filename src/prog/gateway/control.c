/* prog/gateway/control.c - the link to the parent, which alone may open and connect. Frames of ipc/message.h. */
#include "prog/gateway/gateway.h"

#include "base/bytes.h"
#include "ipc/json.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int control_send(struct gateway *g, uint16_t type, uint64_t id, json_t *value)
{
    struct vs_buf text = { 0 };
    if (value)
        vs_json_dump(value, &text);
    json_decref(value);
    int rc = text.status != VS_OK ? text.status : vs_conn_send(&g->control, type, 0, id, text.data, text.n, -1);
    vs_buf_clear(&text);
    return rc;
}

void control_open(struct gateway *g, int fd)
{
    vs_conn_init(&g->control, fd, &vs_ipc_to_gateway, VS_AT_OPEN);
}

static const char *text_of(const json_t *value, const char *key)
{
    const char *s = json_string_value(json_object_get(value, key));
    return s ? s : "";
}

static int on_listen(struct gateway *g, const struct vs_frame *f, const json_t *value)
{
    if (f->fd < 0 || g->n_listeners == MAX_LISTENERS)
        return VS_E_PROTOCOL;
    struct listener *l = &g->listeners[g->n_listeners++];
    *l = (struct listener){ .fd = f->fd, .is_tls = json_is_true(json_object_get(value, "tls")),
                            .is_metrics = json_is_true(json_object_get(value, "metrics")) };
    snprintf(l->host, sizeof l->host, "%s", text_of(value, "host"));
    return VS_OK;
}

static int on_started(struct gateway *g, const struct vs_frame *f, const json_t *value)
{
    json_int_t credit = json_integer_value(json_object_get(value, "credit"));
    if (f->fd >= 0 && f->id == VS_COLLECTOR_ID) {
        collector_adopt(g, f->fd);
        return VS_OK;
    }
    if (f->fd < 0 || f->id < 1 || f->id > MAX_LINKS || g->links[f->id - 1].client || credit < 4 || credit > UINT32_MAX)
        return VS_E_PROTOCOL;
    link_adopt(g, f->id - 1, f->fd, (uint32_t)credit);
    return VS_OK;
}

static int on_failed(struct gateway *g, const struct vs_frame *f, const json_t *value)
{
    (void)value;
    if (f->id == VS_COLLECTOR_ID) {
        collector_refused(g);
        return VS_OK;
    }
    if (f->id < 1 || f->id > MAX_LINKS)
        return VS_E_PROTOCOL;
    link_refused(g, f->id - 1);
    return VS_OK;
}

/* What may change while it runs: whether the model is there, and the certificate; the old one stays when the new one is not
 * usable. */
static int on_settings(struct gateway *g, const struct vs_frame *f, const json_t *value)
{
    (void)f;
    struct vs_error err = { 0 };
    bool is_loading = json_is_true(json_object_get(value, "loading"));
    g->was_ready |= g->loading && !is_loading;
    g->loading = is_loading;
    const char *cert = json_string_value(json_object_get(value, "cert"));
    const char *secret = json_string_value(json_object_get(value, "key"));
    if ((cert || secret) && tls_setup(g, cert ? cert : "", secret ? secret : "", &err) != VS_OK)
        control_send(g, VS_MSG_FAILED, 0, vs_json_error(err.code, err.text));
    else
        control_send(g, VS_MSG_READY, 0, json_object());
    return VS_OK;
}

static int on_drain(struct gateway *g, const struct vs_frame *f, const json_t *value)
{
    (void)value;
    g->draining = true;
    g->drained_at = g->now + vs_load_u32le(f->data) * MS;
    return VS_OK;
}

static const struct {
    uint16_t type;
    int (*take)(struct gateway *g, const struct vs_frame *f, const json_t *value);
    bool is_json;
} takers[] = {
    { VS_MSG_LISTEN, on_listen, true },     { VS_MSG_STARTED, on_started, true }, { VS_MSG_FAILED, on_failed, true },
    { VS_MSG_SETTINGS, on_settings, true }, { VS_MSG_DRAIN, on_drain, false },
};
enum { N_TAKERS = sizeof takers / sizeof *takers };

uint16_t control_unhandled(void)
{
    return vs_ipc_unhandled(&vs_ipc_to_gateway, takers, N_TAKERS, sizeof *takers);
}

/* The parent is ours, and gone when this ends: so are we. */
void control_ready(struct gateway *g, short events)
{
    struct vs_frame f;
    struct vs_error err;
    (void)events;
    int rc = vs_conn_read(&g->control);
    if (rc != VS_OK && rc != VS_E_BUSY && rc != VS_E_LIMIT) {
        g->ending = true;
        return;
    }
    while (!g->ending && (rc = vs_conn_next(&g->control, &f, &err)) == VS_OK) {
        size_t i = vs_ipc_handler(takers, N_TAKERS, sizeof *takers, f.type);
        json_t *value = takers[i].is_json ? vs_json_parse(f.data, f.n, NULL) : NULL;
        if ((takers[i].is_json && !value) || takers[i].take(g, &f, value) != VS_OK) {
            gateway_log("the parent said something that it may not: %s", vs_message_name(f.type));
            g->ending = true;
        }
        json_decref(value);
    }
    if (rc != VS_E_BUSY && rc != VS_OK)
        g->ending = true;
    vs_conn_flush(&g->control);
}
