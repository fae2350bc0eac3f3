/* prog/guard/back.c - what the worker says. It has read a model, so every frame is checked: against the table (ipc/message.h), its
 * credit, and what it may say of a request. One that breaks a rule is not heard any more; the broker has it ended. */
#include "prog/guard/guard.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/utf8.h"
#include "ipc/json.h"
#include "receipt/statement.h"

#include <poll.h>
#include <string.h>

void back_send_u32(struct guard *g, uint16_t type, uint64_t far, uint32_t value)
{
    uint8_t bytes[4];
    vs_store_u32le(bytes, value);
    if (vs_conn_send(&g->worker, type, 0, far, bytes, sizeof bytes, -1) == VS_E_NOMEM)
        guard_leave("out of memory");    /* one that is gone shows as the end of its socket */
}

void back_break(struct guard *g, const char *why)
{
    struct vs_buf out = { .limit = VS_MAX_CONTROL };
    json_t *message = vs_json_error(VS_E_PROTOCOL, why);
    vs_json_dump(message, &out);
    json_decref(message);
    if (out.status == VS_OK)
        front_send(g, VS_MSG_BROKEN, 0, 0, out.data, out.n);
    vs_buf_clear(&out);
    g->is_broken = true;
}

/* Steals the message. */
static void send_json(struct guard *g, uint16_t type, uint64_t id, json_t *message)
{
    struct vs_buf out = { .limit = VS_MAX_CONTROL };
    vs_json_dump(message, &out);
    json_decref(message);
    if (out.status != VS_OK)
        guard_leave("out of memory");
    front_send(g, type, 0, id, out.data, out.n);
    vs_buf_clear(&out);
}

/* ---- what it says of a request ---- */

/* A token; what it returns is why it can't be, or NULL. */
static const char *take_token(struct guard *g, struct pass *p, const struct vs_frame *f)
{
    struct vs_token_view t;
    if (!vs_token_parse(f, &t) || t.index >= MAX_CHOICES)
        return "malformed token";
    if (p->type != VS_MSG_GENERATE && p->type != VS_MSG_CHAT)
        return "it says tokens where none were asked for";
    if (vs_utf8_valid(t.text, t.text_bytes) != t.text_bytes)
        return "the text of a token is not UTF-8";
    struct told *c = &p->choice[t.index];
    if (t.part >= VS_PART_CALL && t.part + 1 < c->part)
        return "it goes back to a call that has ended";
    c->part = t.part > c->part ? t.part : c->part;
    if (!pass_note(p, &t, f->flags & VS_FLAG_INDEX))
        return "it says more tokens than an answer can have";
    if (pass_looking(p, SIDE_WATCH)->n)
        output_watch(g, p, &t, f->flags);
    if (pass_looking(p, SIDE_STREAM)->n)
        output_token(g, p, &t, f);
    else
        pass_emit(g, p, f->type, f->flags, f->data, f->n);
    return NULL;
}

static void on_stream(struct guard *g, const struct vs_frame *f)
{
    struct pass *p = pass_find_far(g, f->id);
    const char *why = p->is_asking           ? "it streams what was asked for at once"
                    : f->n > p->far_credit   ? "it sent more than its credit"
                                             : NULL;
    if (!why) {
        p->wanted = 0;
        p->far_credit -= f->n;
        why = f->type == VS_MSG_TOKEN ? take_token(g, p, f) : data_take(g, p, f);
    }
    if (why)
        back_break(g, why);
    else
        pass_grant(g, p, GRANT);
}

/* It waits for credit: what our changes set free is given, or the broker hears of it. */
static void on_blocked(struct guard *g, const struct vs_frame *f)
{
    struct pass *p = pass_find_far(g, f->id);
    uint32_t wants = vs_load_u32le(f->data);
    if (wants > VS_MAX_CHUNK) {
        back_break(g, "it waits for more than a frame may hold");
        return;
    }
    if (p->is_asking)
        return;
    p->wanted = wants;
    pass_grant(g, p, 1);
    pass_pump(g, p);
}

static void on_terminal(struct guard *g, const struct vs_frame *f)
{
    struct pass *p = pass_find_far(g, f->id);
    if (!p->is_asking) {
        output_terminal(g, p, f);
    } else if (!g->is_resting) {
        front_ids_told(g, p, f);
    } else {                            /* one request is looked at after the other */
        p->told_type = f->type;
        vs_buf_add(&p->told, f->data, f->n);
        if (p->told.status != VS_OK)
            guard_leave("out of memory");
        p->far = 0;
    }
}

void back_catch_up(struct guard *g)
{
    for (struct pass *p = g->passes; p;) {
        struct vs_frame f = { .type = p->told_type, .n = (uint32_t)p->told.n, .data = (const uint8_t *)p->told.data };
        struct pass *next = p->next;
        if (p->told_type) {
            struct vs_buf told = p->told;
            p->told = (struct vs_buf){ 0 };
            p->told_type = 0;
            front_ids_told(g, p, &f);
            vs_buf_clear(&told);
            next = g->passes;            /* others may be gone, too */
        }
        p = next;
    }
}

static void on_progress(struct guard *g, const struct vs_frame *f)
{
    const struct pass *p = f->id ? pass_find_far(g, f->id) : NULL;
    json_t *message;
    if (!checked_progress(f, &message))
        back_break(g, "its progress is none");
    else if (message)
        send_json(g, f->type, p ? p->id : 0, message);
}

/* What its receipt is to say: digests, numbers and words from tables, in the one spelling that they have. A request that waits for
 * credit may hear of it before its last tokens. */
static void on_receipt(struct guard *g, const struct vs_frame *f)
{
    const struct pass *p = pass_find_far(g, f->id);
    struct vs_receipt_view v;
    struct vs_statement s;
    struct vs_error why;
    if (p->is_asking || (p->type != VS_MSG_GENERATE && p->type != VS_MSG_CHAT) || !vs_receipt_view(f, &v) || v.index >= MAX_CHOICES
        || vs_statement_parse(v.text, v.n, v.has_index ? VS_STATEMENT_CHOICE : VS_STATEMENT_WORKER, &s, &why) != VS_OK
        || !checked_statement(&s))
        back_break(g, "what it says for a receipt is none");
    else
        front_send(g, f->type, f->flags & VS_FLAG_INDEX, p->id, f->data, f->n);
}

/* The ids of prompt and answer, for the operator's own file; no client gets them. */
static void on_kept(struct guard *g, const struct vs_frame *f)
{
    const struct pass *p = pass_find_far(g, f->id);
    struct vs_receipt_view v;
    struct vs_kept_view kept;
    if (p->is_asking || (p->type != VS_MSG_GENERATE && p->type != VS_MSG_CHAT) || !vs_receipt_view(f, &v) || v.index >= MAX_CHOICES
        || !vs_kept_view(v.text, v.n, &kept))
        back_break(g, "what is to be kept of its answer is none");
    else
        front_send(g, f->type, f->flags & VS_FLAG_INDEX, p->id, f->data, f->n);
}

/* ---- what it says of itself ---- */

/* Every frame is a sign of life of ours, too. */
static void on_alive(struct guard *g, const struct vs_frame *f)
{
    front_send(g, f->type, 0, 0, NULL, 0);
}

static void on_stats(struct guard *g, const struct vs_frame *f)
{
    json_t *message;
    if (checked_stats(f, &message)) {
        send_json(g, f->type, 0, message);
    } else {
        json_decref(message);
        back_break(g, "its numbers are none");
    }
}

static void on_failed(struct guard *g, const struct vs_frame *f)
{
    send_json(g, f->type, 0, checked_failure(g, f));
}

static void on_digest(struct guard *g, const struct vs_frame *f)
{
    char hex[65] = "";
    memcpy(hex, f->data, 64);
    if (!vs_hex_is_sha256(hex)) {
        back_break(g, "its digest is none");
        return;
    }
    memcpy(g->digest, hex, sizeof hex);
    front_send(g, f->type, 0, 0, hex, 64);
}

/* Steals the message. */
static void say_ready(struct guard *g, json_t *message)
{
    struct vs_buf out = { .limit = 3 * VS_MAX_CONTROL };
    json_object_set(message, "guard", g->sandbox);
    vs_json_dump(message, &out);
    json_decref(message);
    if (out.status == VS_OK)
        front_send(g, VS_MSG_READY, 0, 0, out.data, out.n);
    else
        back_break(g, "its facts are too many");
    vs_buf_clear(&out);
    g->worker.state = g->broker.state = VS_AT_OPEN;
}

static void on_ready(struct guard *g, const struct vs_frame *f)
{
    json_t *message = vs_json_parse(f->data, f->n, NULL);
    if (message)
        say_ready(g, message);
    else
        back_break(g, "its facts are no JSON");
}

static const struct {
    uint16_t type;
    void (*take)(struct guard *g, const struct vs_frame *f);
} handlers[] = {
    { VS_MSG_TOKEN, on_stream },      { VS_MSG_DATA, on_stream },       { VS_MSG_BLOCKED, on_blocked },
    { VS_MSG_COMPLETE, on_terminal }, { VS_MSG_REJECTED, on_terminal }, { VS_MSG_ERROR, on_terminal },
    { VS_MSG_PROGRESS, on_progress }, { VS_MSG_ALIVE, on_alive },       { VS_MSG_STATS, on_stats },
    { VS_MSG_READY, on_ready },       { VS_MSG_FAILED, on_failed },     { VS_MSG_DIGEST, on_digest },
    { VS_MSG_RECEIPT, on_receipt },   { VS_MSG_KEPT, on_kept },
};
enum { N_HANDLERS = sizeof handlers / sizeof *handlers };

uint16_t back_unhandled(void)
{
    return vs_ipc_unhandled(&vs_ipc_from_worker, handlers, N_HANDLERS, sizeof *handlers);
}

/* ---- its life ---- */

static unsigned front_state(const void *guard, uint64_t id)
{
    return pass_find(guard, id) ? VS_AT_BEGUN : VS_AT_FREE;
}

static unsigned back_state(const void *guard, uint64_t far)
{
    return pass_find_far(guard, far) ? VS_AT_BEGUN : VS_AT_FREE;
}

static void open_conn(struct guard *g, struct vs_conn *c, int fd, const struct vs_ipc_table *table,
                      unsigned (*state_of)(const void *guard, uint64_t id))
{
    vs_conn_init(c, fd, table, VS_AT_START);
    c->state_of = state_of;
    c->context = g;
    c->corked = true;                   /* frames of a turn go out together */
}

static void back_close(struct guard *g)
{
    vs_conn_clear(&g->worker);
    g->worker_has_more = g->is_broken = false;
    pass_lose_all(g);
}

void back_open(struct guard *g, int worker_fd, int broker_fd)
{
    back_close(g);                      /* the one before is gone, whether we have seen it or not */
    front_close(g);
    g->is_alone = worker_fd < 0;
    open_conn(g, &g->worker, worker_fd, &vs_ipc_from_worker, back_state);
    open_conn(g, &g->broker, broker_fd, &vs_ipc_to_guard, front_state);
    if (g->is_alone)
        say_ready(g, json_pack("{s:{}, s:{s:i}}", "sandbox", "facts", "parallel", SCANS));
}

/* Up to so many frames. What ends the worker is left for the loop, which finds it again. */
static int take_frames(struct guard *g, int status, struct vs_error *why)
{
    struct vs_frame f;
    for (int i = 0; i < MAX_TURN && !g->is_broken && status == VS_OK
                    && (status = vs_conn_next(&g->worker, &f, why)) == VS_OK; i++)
        handlers[vs_ipc_handler(handlers, N_HANDLERS, sizeof *handlers, f.type)].take(g, &f);
    return status;
}

/* While we look at something long nobody else says that we are there. */
static void say_alive(struct guard *g)
{
    uint64_t now = vs_clock_ns();
    if (now - g->alive_ns < ALIVE_NS)
        return;
    g->alive_ns = now;
    front_send(g, VS_MSG_ALIVE, 0, 0, NULL, 0);
    vs_conn_flush(&g->broker);
}

int back_rest(void *guard)
{
    struct guard *g = guard;
    struct vs_error why = { 0 };
    if (g->may_rest)
        say_alive(g);
    if (!g->may_rest || g->is_resting || g->worker.fd < 0 || g->is_broken || vs_conn_queued(&g->broker) > MAX_TO_BROKER)
        return VS_OK;
    g->is_resting = true;
    int status = g->worker_has_more ? VS_OK : vs_conn_read(&g->worker);
    status = take_frames(g, status, &why);
    g->worker_has_more = status == VS_OK && !g->is_broken;
    if (status != VS_OK && status != VS_E_BUSY && status != VS_E_DIED && !g->is_broken)
        back_break(g, why.text[0] ? why.text : vs_status_text(status));
    vs_conn_flush(&g->worker);
    vs_conn_flush(&g->broker);
    g->is_resting = false;
    return VS_OK;
}

void back_ready(struct guard *g, short events)
{
    struct vs_error why = { 0 };
    int status = VS_OK;
    if (events & POLLOUT)
        vs_conn_flush(&g->worker);
    if (!g->worker_has_more) {
        if (!(events & (POLLIN | POLLHUP | POLLERR)))
            return;
        status = vs_conn_read(&g->worker);
    }
    status = take_frames(g, status, &why);
    g->worker_has_more = status == VS_OK && !g->is_broken;
    if (status == VS_E_DIED) {
        g->is_leaving = true;
        back_close(g);
    } else if (status != VS_OK && status != VS_E_BUSY && !g->is_broken) {
        back_break(g, why.text[0] ? why.text : vs_status_text(status));
    }
}
