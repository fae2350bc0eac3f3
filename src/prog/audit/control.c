/* prog/audit/control.c - what the supervisor and the broker say. */
#include "prog/audit/audit.h"

#include "base/bytes.h"
#include "ipc/json.h"
#include "sandbox/sandbox.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- the supervisor ---- */

/* Another broker, or the first. */
static void on_broker(struct audit *a, struct vs_frame *f)
{
    vs_conn_clear(&a->broker);
    vs_conn_init(&a->broker, f->fd, &vs_ipc_to_audit, VS_AT_OPEN);
    a->broker.corked = true;            /* main.c, the loop */
    f->fd = -1;
    a->source[0] = 0;
    a->broker_has_more = false;
}

static void on_segment(struct audit *a, struct vs_frame *f)
{
    a->next_fd = f->fd;
    f->fd = -1;
    a->was_answered = true;
}

static void on_named(struct audit *a, struct vs_frame *f)
{
    (void)f;
    a->was_answered = true;
}

static void on_failed(struct audit *a, struct vs_frame *f)
{
    struct vs_error why;
    json_t *value = vs_json_parse(f->data, f->n, NULL);
    vs_json_to_error(value, &why);
    json_decref(value);
    snprintf(a->failed, sizeof a->failed, "%.190s", why.text);
    a->was_answered = true;
}

void settings_take(struct audit *a, const json_t *settings)
{
    const char *sync = json_string_value(json_object_get(settings, "sync"));
    const char *policy = json_string_value(json_object_get(settings, "policy"));
    json_int_t rotate = json_integer_value(json_object_get(settings, "rotate_bytes"));
    a->checkpoint_records = (unsigned)json_integer_value(json_object_get(settings, "checkpoint_records"));
    a->checkpoint_seconds = (unsigned)json_integer_value(json_object_get(settings, "checkpoint_seconds"));
    a->sync_each = sync && strcmp(sync, "each") == 0;
    a->rotate_bytes = rotate > 0 ? (uint64_t)rotate : UINT64_MAX;
    snprintf(a->policy, sizeof a->policy, "%s", policy ? policy : "");
}

static void on_settings(struct audit *a, struct vs_frame *f)
{
    char before[sizeof a->policy];
    json_t *settings = vs_json_parse(f->data, f->n, NULL);
    memcpy(before, a->policy, sizeof before);
    if (settings)
        settings_take(a, settings);
    if (strcmp(before, a->policy) != 0)
        log_event(a, "policy", json_pack("{s:s}", "policy", a->policy));
    json_decref(settings);
}

/* What the broker cannot say: it died, for example. */
static void on_note(struct audit *a, struct vs_frame *f)
{
    log_note(a, (const char *)f->data, f->n);
}

static void on_stop(struct audit *a, struct vs_frame *f)
{
    (void)f;
    a->is_stopping = true;
}

static const struct {
    uint16_t type;
    void (*take)(struct audit *a, struct vs_frame *f);
} handlers[] = {
    { VS_MSG_BROKER, on_broker }, { VS_MSG_SEGMENT, on_segment },   { VS_MSG_NAMED, on_named },
    { VS_MSG_FAILED, on_failed }, { VS_MSG_SETTINGS, on_settings }, { VS_MSG_STOP, on_stop },
    { VS_MSG_RECORD, on_note },
};
enum { N_HANDLERS = sizeof handlers / sizeof *handlers };
enum { HELD_HEAD = 6 };                 /* of a frame that is put off: u32 bytes, u16 type */

/* Between two files nothing is written: the first record of the next one has its number already. */
static bool is_put_off(const struct audit *a, const struct vs_frame *f)
{
    return a->is_waiting && (f->type == VS_MSG_RECORD || f->type == VS_MSG_SETTINGS);
}

static void put_off(struct audit *a, const struct vs_frame *f)
{
    char head[HELD_HEAD];
    vs_store_u32le(head, f->n);
    vs_store_u16le(head + 4, f->type);
    vs_buf_add(&a->held, head, sizeof head);
    vs_buf_add(&a->held, f->data, f->n);
    if (a->held.status != VS_OK)
        audit_leave(VS_E_NOMEM, "out of memory for what the supervisor says");
}

static void take(struct audit *a, struct vs_frame *f)
{
    handlers[vs_ipc_handler(handlers, N_HANDLERS, sizeof *handlers, f->type)].take(a, f);
}

void control_catch_up(struct audit *a)
{
    struct vs_buf held = a->held;
    a->held = (struct vs_buf){ 0 };
    for (size_t at = 0; at < held.n;) {
        const char *head = held.data + at;
        struct vs_frame f = { .fd = -1, .n = vs_load_u32le(head), .type = vs_load_u16le(head + 4),
                              .data = (const uint8_t *)head + HELD_HEAD };
        take(a, &f);
        at += HELD_HEAD + f.n;
    }
    vs_buf_clear(&held);
}

void control_ready(struct audit *a, short events)
{
    struct vs_frame f;
    struct vs_error why = { 0 };
    if (events & POLLOUT)
        vs_conn_flush(&a->control);
    if (!(events & (POLLIN | POLLHUP | POLLERR)))
        return;
    int status = vs_conn_read(&a->control);
    while (status == VS_OK && (status = vs_conn_next(&a->control, &f, &why)) == VS_OK) {
        if (is_put_off(a, &f))
            put_off(a, &f);
        else
            take(a, &f);
        if (f.fd >= 0)
            close(f.fd);
    }
    if (status != VS_E_BUSY) {          /* no supervisor, no writer: what came is written */
        log_flush(a);
        log_sync(a);
        audit_leave(VS_E_DIED, "%s", status == VS_E_DIED ? "the supervisor is gone" : why.text);
    }
}

void control_wait(struct audit *a)
{
    a->was_answered = false;
    a->is_waiting = true;
    a->failed[0] = 0;
    while (!a->was_answered) {
        struct pollfd p = { a->control.fd, (short)(POLLIN | (vs_conn_queued(&a->control) ? POLLOUT : 0)), 0 };
        if (poll(&p, 1, -1) < 0 && errno != EINTR)
            audit_leave(VS_E_SYSTEM, "poll failed");
        control_ready(a, p.revents);
    }
    a->is_waiting = false;
}

/* ---- the broker ---- */

/* Who it is; it hears how much of what it said before is written. */
static void on_hello(struct audit *a, const struct vs_frame *f)
{
    json_t *hello = vs_json_parse(f->data, f->n, NULL);
    const char *source = json_string_value(json_object_get(hello, "source"));
    uint8_t number[8];
    if (source && strlen(source) == SOURCE_BYTES - 1 && source[strspn(source, "0123456789abcdef")] == 0)
        memcpy(a->source, source, SOURCE_BYTES);
    json_decref(hello);
    if (!a->source[0]) {
        vs_conn_clear(&a->broker);
        return;
    }
    a->n_taken = a->n_told = strcmp(a->source, a->written_source) == 0 ? a->written_number : 0;
    vs_store_u64le(number, a->n_taken);
    vs_conn_send(&a->broker, VS_MSG_WRITTEN, 0, 0, number, sizeof number, -1);
}

/* Numbers follow each other: nothing is lost on the way, nor said twice. */
static void on_record(struct audit *a, const struct vs_frame *f)
{
    if (a->is_signer || !a->source[0] || f->id != a->n_taken + 1) {
        vs_conn_clear(&a->broker);      /* it asks for another link, and says again what is not written */
    } else {
        log_record(a, f->id, (const char *)f->data, f->n);
        memcpy(a->written_source, a->source, sizeof a->source);
        a->written_number = f->id;
    }
}

static const struct {
    uint16_t type;
    void (*take)(struct audit *a, const struct vs_frame *f);
} broker_handlers[] = {
    { VS_MSG_HELLO, on_hello }, { VS_MSG_RECORD, on_record }, { VS_MSG_RECEIPT, receipt_sign },
    { VS_MSG_KEPT, receipt_keep },
};
enum { N_BROKER_HANDLERS = sizeof broker_handlers / sizeof *broker_handlers, MOST_TURN = 4096 };

void broker_ready(struct audit *a, short events)
{
    struct vs_frame f;
    struct vs_error why = { 0 };
    int status = VS_OK, n = 0;
    if (events & POLLOUT)
        vs_conn_flush(&a->broker);
    if (!a->broker_has_more && !(events & (POLLIN | POLLHUP | POLLERR)))
        return;
    if (!a->broker_has_more)
        status = vs_conn_read(&a->broker);
    while (status == VS_OK && n++ < MOST_TURN && a->broker.fd >= 0 && (status = vs_conn_next(&a->broker, &f, &why)) == VS_OK) {
        broker_handlers[vs_ipc_handler(broker_handlers, N_BROKER_HANDLERS, sizeof *broker_handlers, f.type)].take(a, &f);
        if (f.fd >= 0)
            close(f.fd);
    }
    a->broker_has_more = status == VS_OK && a->broker.fd >= 0;
    if (status != VS_OK && status != VS_E_BUSY)
        vs_conn_clear(&a->broker);
}

uint16_t control_unhandled(void)
{
    uint16_t type = vs_ipc_unhandled(&vs_ipc_to_audit, broker_handlers, N_BROKER_HANDLERS, sizeof *broker_handlers);
    return type ? type : vs_ipc_unhandled(&vs_ipc_to_audit_control, handlers, N_HANDLERS, sizeof *handlers);
}
