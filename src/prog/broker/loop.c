/* prog/broker/loop.c - a turn of the loop: who is due, who is ready, and what is freed. */
#include "prog/broker/broker.h"

#include "base/clock.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool write_line(struct broker *b, enum vs_log_level level, const char *event, const struct vs_log_field *fields,
                       size_t n, const char *words)
{
    struct vs_buf line = { 0 };
    vs_log_format(&(struct vs_log){ .form = b->settings.log, .level = level, .from = "broker", .event = event, .words = words,
                                    .fields = fields, .n_fields = n, .time_ms = vs_clock_real_ms() }, &line);
    return vs_log_write(&line);
}

static void tell_left_out(struct broker *b)
{
    char text[96];
    const struct vs_log_field fields[] = { { "lines", NULL, b->n_left_out }, { "requests", NULL, b->n_ends_left_out } };
    snprintf(text, sizeof text, "%u line%s left out, %u of them about requests that ended", b->n_left_out,
             b->n_left_out == 1 ? " was" : "s were", b->n_ends_left_out);
    if (b->n_left_out && write_line(b, VS_LOG_WARNING, "left_out", fields, 2, text))
        b->n_left_out = b->n_ends_left_out = 0;
}

static void begin_second(struct broker *b)
{
    uint64_t second = b->now / (1000 * MS);
    if (second == b->log_second)
        return;
    tell_left_out(b);
    b->n_logs = 0;
    b->log_second = second;
}

/* Nobody may say anything for a long time. */
static uint64_t log_timer(struct broker *b)
{
    if (b->n_left_out)
        begin_second(b);
    return b->n_left_out ? (b->log_second + 1) * 1000 * MS : NEVER;
}

/* Lines are limited, for clients can cause them; what was left out is counted. An error is not limited: its kind is rare by
 * itself, and nobody may hide it behind many other lines. */
void broker_log_event(struct broker *b, enum vs_log_level level, const char *event, const struct vs_log_field *fields, size_t n,
                      const char *words)
{
    unsigned most = level == VS_LOG_INFO ? MAX_LOG_LINES / 4 * 3 : MAX_LOG_LINES;      /* some for what went wrong */
    if (b->quiet)
        return;
    begin_second(b);
    bool fits = level == VS_LOG_ERROR || b->n_logs++ < most;
    if (fits && write_line(b, level, event, fields, n, words))
        return;
    b->n_left_out++;
    b->n_ends_left_out += strcmp(event, VS_EVENT_REQUEST_END) == 0;
}

void broker_log(struct broker *b, const char *format, ...)
{
    char text[MAX_LOG_TEXT];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    broker_log_event(b, VS_LOG_WARNING, "message", NULL, 0, text);
}

/* A connection that ends takes its requests with it; those that ended are freed. */
static void sweep_requests(struct broker *b, struct peer *p)
{
    for (struct request *r = p->requests; r && (p->gone || p->close_at); r = r->peer_next) {
        if (r->place == PLACE_ENDED || r->place == PLACE_CLOSING)
            continue;
        model_cancel(b, r, VS_E_CANCELLED);
        if (r->place != PLACE_ENDED && r->place != PLACE_CLOSING)       /* its worker will stop, and answer nobody */
            request_cut(b, r, VS_E_CANCELLED, vs_status_text(VS_E_CANCELLED));
    }
    for (struct request **at = &p->requests; *at;) {
        struct request *r = *at;
        if (r->place != PLACE_ENDED) {
            at = &r->peer_next;
            continue;
        }
        *at = r->peer_next;
        if (r->is_recorded)
            audit_forget(r);
        receipt_free(b, r);
        ask_forget_late(b, r);
        json_decref(r->alias);
        vs_buf_clear(&r->closing);
        free(r);
    }
}

static void sweep_peers(struct broker *b)
{
    for (struct peer **at = &b->peers; *at;) {
        struct peer *p = *at;
        sweep_requests(b, p);
        if (!p->gone || p->requests) {  /* the log has not yet all that it asked for */
            at = &p->next;
            continue;
        }
        *at = p->next;
        b->n_peers--;
        b->ending |= p->is_private && !p->is_attached;
        p->client->n_peers--;
        vs_conn_clear(&p->conn);
        explicit_bzero(p->late_key, sizeof p->late_key);
        free(p);
    }
    for (struct client **at = &b->clients; *at;) {
        struct client *c = *at;
        if (c->n_peers || c->n_requests || (c->person[0] && b->n_persons <= MAX_PERSONS)) {
            at = &c->next;
            continue;
        }
        b->n_persons -= c->person[0] != 0;
        *at = c->next;
        free(c);
    }
}

static void sweep_models(struct broker *b)
{
    for (struct model **at = &b->models; *at;) {
        struct model *m = *at;
        if (!m->gone) {
            at = &m->next;
            continue;
        }
        *at = m->next;
        vs_conn_clear(&m->conn);
        vs_files_close(&m->files);
        json_decref(m->settings);
        json_decref(m->aliases);
        json_decref(m->path);
        json_decref(m->bytes);
        json_decref(m->origin);
        json_decref(m->facts);
        json_decref(m->sandbox);
        json_decref(m->guard);
        json_decref(m->guard_sandbox);
        free(m->name);
        free(m);
    }
}

/* Peers first: their requests leave the models' queues. */
void broker_sweep(struct broker *b)
{
    sweep_peers(b);
    sweep_models(b);
}

/* The time to drain is over: every answer that isn't complete ends here. One that is to have a receipt waits a little for what its
 * worker says for it. */
static void cut_off(struct broker *b, uint64_t *next)
{
    static const char why[] = "the daemon was stopped before the answer was complete";
    bool is_last = due(b, b->drained_at + b->cut_time, next);
    for (struct peer *p = b->peers; p; p = p->next)
        for (struct request *r = p->requests; r; r = r->peer_next)
            if (r->place != PLACE_ENDED)
                (is_last ? request_cut : request_withdraw)(b, r, VS_E_CANCELLED, why);
}

/* Judged by the time of the last poll: what had come until then has been read. */
static uint64_t timers(struct broker *b)
{
    uint64_t next = log_timer(b), t = audit_timers(b);
    next = t < next ? t : next;
    if (b->draining && b->now >= b->drained_at)
        cut_off(b, &next);
    else if (b->draining)
        next = b->drained_at < next ? b->drained_at : next;
    if (b->accept_at && b->now >= b->accept_at)
        b->accept_at = 0;
    else if (b->accept_at)
        next = b->accept_at < next ? b->accept_at : next;
    for (struct peer *p = b->peers; p; p = p->next) {
        if (p->together_until && due(b, p->together_until, &next))
            p->together_until = 0;
        if ((t = peer_timers(b, p)) < next)
            next = t;
    }
    for (struct model *m = b->models; m; m = m->next)
        if ((t = model_timers(b, m)) < next)
            next = t;
    return next;
}

/* Draining is over when nobody waits for anything. */
static bool is_idle(const struct broker *b)
{
    for (const struct peer *p = b->peers; p; p = p->next)
        if (!p->gone && (p->n_requests || vs_conn_queued(&p->conn)))
            return false;
    return !b->audit.first || b->audit.is_failed;
}

static short wants(const struct vs_conn *c, bool read)
{
    return (short)((read ? POLLIN : 0) | (vs_conn_queued(c) ? POLLOUT : 0));
}

/* Milliseconds for poll until `next`. */
static int wait_ms(uint64_t next)
{
    uint64_t now = vs_clock_ns();
    return next <= now ? 0 : next == NEVER ? -1 : next - now > 60000 * MS ? 60000 : (int)((next - now) / MS + 1);
}

unsigned broker_connections(const struct broker *b)
{
    return b->settings.clients + MAX_GUESTS + MAX_LEAVING + 1;
}

/* Room for an entry for each connection and each model that is there. */
static bool make_room(struct broker *b)
{
    size_t n = 3 + b->n_peers;
    for (const struct model *m = b->models; m; m = m->next)
        n++;
    if (n <= b->n_polls)
        return true;
    n = 2 * n;
    struct pollfd *polls = realloc(b->polls, n * sizeof *polls);
    b->polls = polls ? polls : b->polls;
    void **polled = realloc(b->polled, n * sizeof *polled);
    b->polled = polled ? polled : b->polled;
    b->n_polls = polls && polled ? n : b->n_polls;
    return polls && polled;
}

/* What this turn had to say. The log's writer first: clients wait for it. */
static void flush(struct broker *b)
{
    audit_flush(b);
    for (struct peer *p = b->peers; p; p = p->next)
        if (!p->together_until)
            peer_flush(p);
}

void broker_turn(struct broker *b, bool wait)
{
    uint64_t next = timers(b);
    flush(b);
    broker_sweep(b);
    if (b->ending || !make_room(b)) {
        b->ending = true;
        return;
    }
    struct pollfd *polls = b->polls;
    struct peer **peers = (struct peer **)b->polled;
    size_t n = 0, n_peers = 0, n_models = 0;
    polls[n++] = (struct pollfd){ b->control.fd, wants(&b->control, true), 0 };
    bool may_accept = b->n_peers < broker_connections(b) - 1 && !b->accept_at && b->is_open;
    polls[n++] = (struct pollfd){ may_accept ? b->listen_fd : -1, POLLIN, 0 };
    polls[n++] = (struct pollfd){ b->audit.conn.fd, wants(&b->audit.conn, true), 0 };
    for (struct peer *p = b->peers; p; p = p->next) {
        bool heard = peer_is_heard(p);
        next = heard && p->has_more ? 0 : next;
        peers[n_peers++] = p;
        short events = wants(&p->conn, heard && !p->has_more);
        polls[n++] = (struct pollfd){ p->gone ? -1 : p->conn.fd, p->together_until ? events & ~POLLOUT : events, 0 };
    }
    struct model **models = (struct model **)b->polled + n_peers;
    for (struct model *m = b->models; m; m = m->next) {
        next = m->has_more ? 0 : next;
        models[n_models++] = m;
        polls[n++] = (struct pollfd){ m->conn.fd, wants(&m->conn, !m->has_more), 0 };
    }
    int ms = wait ? wait_ms(next) : 0;
    if (poll(polls, n, ms) < 0)
        return;                         /* a signal */
    uint64_t passed = vs_clock_ns() - b->now;
    b->now += passed;
    if (ms >= 0 && passed > (uint64_t)ms * MS + PAUSE_TIME)
        model_forgive_pause(b);
    const struct pollfd *of_peers = polls + 3, *of_models = of_peers + n_peers;
    for (size_t i = 0; i < n_peers; i++)
        if (!peer_is_heard(peers[i])) { /* its clock stands still while we do not listen */
            peers[i]->byte_at += passed;
            peers[i]->frame_at += peers[i]->frame_at ? passed : 0;
        }
    if (polls[2].revents && b->audit.conn.fd == polls[2].fd)
        audit_ready(b, polls[2].revents);
    if (polls[0].revents)
        control_ready(b, polls[0].revents);
    for (size_t i = 0; i < n_models; i++)       /* workers first: what they free, clients can use */
        if (of_models[i].revents || models[i]->has_more)
            model_ready(b, models[i], of_models[i].revents);
    for (size_t i = 0; i < n_peers; i++)
        if (of_peers[i].revents || peers[i]->has_more)
            peer_ready(b, peers[i], of_peers[i].revents);
    if (polls[1].revents)
        peer_accept(b);
    audit_hash(b);
    receipts_hash(b);
    flush(b);
    broker_sweep(b);
    audit_flush(b);                     /* of requests whose client is gone */
}

void broker_clear(struct broker *b)
{
    refused_free(b);
    audit_clear(b);
    metrics_free(b);
    vs_identity_list_clear(&b->keys);
    limits_free(b);
    free(b->polls);
    free(b->polled);
    json_decref(b->sandbox);
    json_decref(b->settings.aliases);
    json_decref(b->settings.delegates);
    while (b->clients) {                /* persons; processes have gone with their connections */
        struct client *c = b->clients;
        b->clients = c->next;
        free(c);
    }
}

void broker_init(struct broker *b)
{
    settings_init(&b->settings);
    vs_conn_init(&b->audit.conn, -1, &vs_ipc_from_audit, VS_AT_OPEN);
    b->memory.limit = MAX_MEMORY;
    b->clients_memory = (struct vs_budget){ .limit = MAX_CLIENTS_MEMORY, .above = &b->memory };
    b->now = b->started_at = vs_clock_ns();
}

void broker_loop(struct broker *b)
{
    while (!b->ending && !(b->draining && is_idle(b)))
        broker_turn(b, true);
}
