/* prog/gateway/loop.c - a turn of the loop: who is due, who is ready, what goes out, what is freed. */
#include "prog/gateway/gateway.h"

#include "base/log.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { FIXED_POLLS = 2 + MAX_LISTENERS + MAX_LINKS, MAX_LOG_LINES = 20 };

/* Some lines a second, for clients can cause them. Never in it: keys, texts. */
void gateway_log(const char *format, ...)
{
    static uint64_t second;
    static unsigned n;
    char text[800];
    struct vs_buf line = { 0 };
    uint64_t now = vs_clock_ns() / (1000 * MS);
    va_list args;
    n = now == second ? n + 1 : 1;
    second = now;
    if (n > MAX_LOG_LINES)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    vs_log_format(&(struct vs_log){ .level = VS_LOG_WARNING, .from = "gateway", .event = "message", .words = text,
                                    .time_ms = vs_clock_real_ms() }, &line);
    vs_log_write(&line);
}

static void sweep(struct gateway *g)
{
    for (struct conn **at = &g->conns; *at;) {
        struct conn *c = *at;
        if (c->state != CONN_GONE) {
            at = &c->next;
            continue;
        }
        *at = c->next;
        conn_free(g, c);
    }
}

static bool is_idle(const struct gateway *g)
{
    for (const struct conn *c = g->conns; c; c = c->next)
        if (c->call || c->state != CONN_READS || gw_request_is_begun(&c->request))
            return false;
    return true;
}

/* The time to drain is over: answers that are not complete end here. */
static void cut_off(struct gateway *g)
{
    for (struct conn *c = g->conns; c; c = c->next)
        if (c->call) {
            call_cut(g, c->call, 503, "shutting_down", "the gateway was stopped before the answer was complete");
            conn_flush(g, c);
        }
    g->ending = true;
}

static uint64_t timers(struct gateway *g)
{
    uint64_t next = link_timers(g), t = collector_timers(g);
    next = t < next ? t : next;
    if (g->draining && g->now >= g->drained_at)
        cut_off(g);
    else if (g->draining && g->drained_at < next)
        next = g->drained_at;
    for (struct conn *c = g->conns; c; c = c->next) {
        if ((t = conn_timers(g, c)) < next)
            next = t;
        if (c->call && (t = call_timers(g, c->call)) < next)
            next = t;
    }
    return next;
}

static int wait_ms(uint64_t next)
{
    uint64_t now = vs_clock_ns();
    return next <= now ? 0 : next == NEVER ? -1 : next - now > 60000 * MS ? 60000 : (int)((next - now) / MS + 1);
}

static void flush_all(struct gateway *g)
{
    for (struct conn *c = g->conns; c; c = c->next)
        while (c->is_dirty && c->state != CONN_GONE)
            conn_flush(g, c);
}

static bool make_polls(struct gateway *g)
{
    if (g->n_conns + FIXED_POLLS <= g->n_polls)
        return true;
    size_t n = 2 * g->n_conns + 64 + FIXED_POLLS;
    struct pollfd *polls = realloc(g->polls, n * sizeof *polls);
    if (!polls)
        return false;
    g->polls = polls;
    g->n_polls = n;
    return true;
}

static void turn(struct gateway *g)
{
    uint64_t next = timers(g);
    flush_all(g);
    sweep(g);
    if (g->ending || !make_polls(g)) {
        g->ending = true;
        return;
    }
    struct pollfd *polls = g->polls;
    size_t n = 0;
    polls[n++] = (struct pollfd){ g->control.fd, (short)(POLLIN | (vs_conn_queued(&g->control) ? POLLOUT : 0)), 0 };
    for (size_t i = 0; i < g->n_listeners; i++)
        polls[n++] = (struct pollfd){ g->now >= g->accept_at ? g->listeners[i].fd : -1, POLLIN, 0 };
    if (g->now < g->accept_at && g->accept_at < next)
        next = g->accept_at;
    size_t links = n;
    for (size_t i = 0; i < MAX_LINKS; i++) {
        struct vs_client *client = g->links[i].client;
        if (g->links[i].has_more)
            next = 0;
        polls[n++] = (struct pollfd){ client ? vs_client_fd(client) : -1,
                                      (short)(POLLIN | (client && vs_client_wants_write(client) ? POLLOUT : 0)), 0 };
    }
    size_t collector = n, conns = n + 1;
    polls[n++] = (struct pollfd){ collector_fd(), collector_wants(), 0 };
    for (struct conn *c = g->conns; c; c = c->next) {
        if (conn_has_more(c))
            next = 0;
        polls[n++] = (struct pollfd){ c->fd, conn_wants(c), 0 };
    }
    if (poll(polls, n, wait_ms(next)) < 0) {
        g->now = vs_clock_ns();
        return;                         /* a signal */
    }
    g->now = vs_clock_ns();
    if (polls[0].revents)
        control_ready(g, polls[0].revents);
    size_t i = conns;
    for (struct conn *c = g->conns; c; c = c->next, i++)        /* nothing is freed before the sweep */
        if (polls[i].revents || conn_has_more(c))
            conn_ready(g, c, polls[i].revents | (conn_has_more(c) ? POLLIN : 0));
    for (i = 0; i < MAX_LINKS; i++)
        if (g->links[i].client && (polls[links + i].revents || g->links[i].has_more || vs_client_wants_write(g->links[i].client)))
            link_ready(g, &g->links[i]);
    if (polls[collector].revents)
        collector_ready(g);
    flush_all(g);
    sweep(g);
    for (i = 0; i < g->n_listeners; i++)
        if (polls[1 + i].revents)
            conn_accept(g, &g->listeners[i]);
}

void gateway_loop(struct gateway *g)
{
    while (!g->ending && !(g->draining && is_idle(g) && !collector_is_busy()))
        turn(g);
}
