/* prog/broker/main.c - set-up, lock-in, and the loop. Descriptors: 3 listening socket, 4 supervisor, 5 private client. */
#include "prog/broker/broker.h"

#include "base/clock.h"
#include "base/text.h"
#include "ipc/json.h"
#include "sandbox/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { LISTEN_FD = 3, CONTROL_FD = 4, PRIVATE_FD = 5 };

static bool quiet;                      /* a private daemon's client says itself what went wrong */

void broker_log(const char *format, ...)
{
    if (quiet)
        return;
    char text[1400], line[2800];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    vs_text_line(line, sizeof line, text, sizeof text);     /* parts of it come from outside */
    fprintf(stderr, "broker: %s\n", line);
}

/* Frees what the last turn gave up. Jobs are gone already: a dropped peer or model has none. */
static void sweep(struct broker *b)
{
    for (struct peer **at = &b->peers; *at;) {
        struct peer *p = *at;
        if (!p->gone) {
            at = &p->next;
            continue;
        }
        *at = p->next;
        b->n_peers--;
        vs_conn_clear(&p->conn);
        free(p);
    }
    for (struct model **at = &b->models; *at;) {
        struct model *m = *at;
        if (!m->gone) {
            at = &m->next;
            continue;
        }
        *at = m->next;
        vs_conn_clear(&m->conn);
        json_decref(m->settings);
        json_decref(m->path);
        json_decref(m->bytes);
        json_decref(m->origin);
        json_decref(m->facts);
        json_decref(m->sandbox);
        free(m->name);
        free(m);
    }
}

/* The time to drain is over: every answer that isn't complete ends here. */
static void cut_off(struct broker *b)
{
    for (struct peer *p = b->peers; p; p = p->next)
        while (p->jobs)
            job_fail(b, p->jobs, VS_E_CANCELLED, "the daemon was stopped before the answer was complete");
}

static uint64_t timers(struct broker *b)
{
    uint64_t next = NEVER, t;
    if (b->draining && b->now >= b->drained_at)
        cut_off(b);
    else if (b->draining)
        next = b->drained_at;
    for (struct peer *p = b->peers; p; p = p->next)
        if ((t = peer_timers(b, p)) < next)
            next = t;
    for (struct model *m = b->models; m; m = m->next)
        if ((t = model_timers(b, m)) < next)
            next = t;
    return next;
}

/* Draining is over when nobody waits for anything. */
static bool is_idle(const struct broker *b)
{
    for (const struct peer *p = b->peers; p; p = p->next)
        if (!p->gone && (p->jobs || vs_conn_queued(&p->conn)))
            return false;
    return true;
}

static short wants(const struct vs_conn *c, bool read)
{
    return (short)((read ? POLLIN : 0) | (vs_conn_queued(c) ? POLLOUT : 0));
}

static void loop(struct broker *b)
{
    enum { MAX_POLL = 2 + MAX_PEERS + 16 + MAX_MODELS };
    while (!b->ending && !(b->draining && is_idle(b))) {
        struct pollfd polls[MAX_POLL];
        struct peer *peers[MAX_POLL];
        struct model *models[MAX_POLL];
        size_t n = 0, n_peers, n_models;
        polls[n++] = (struct pollfd){ b->control_fd, POLLIN, 0 };
        polls[n++] = (struct pollfd){ b->n_peers < MAX_PEERS + 16 ? b->listen_fd : -1, POLLIN, 0 };
        for (struct peer *p = b->peers; p; p = p->next) {
            peers[n] = p;
            polls[n++] = (struct pollfd){ p->conn.fd, wants(&p->conn, !p->close_at), 0 };
        }
        n_peers = n;
        for (struct model *m = b->models; m && n < MAX_POLL; m = m->next) {
            models[n] = m;
            polls[n++] = (struct pollfd){ m->conn.fd, wants(&m->conn, true), 0 };
        }
        n_models = n;
        b->now = vs_clock_ns();
        uint64_t next = timers(b);
        int wait = next == NEVER ? -1 : next <= b->now ? 0 : next - b->now > 60000 * MS ? 60000 : (int)((next - b->now) / MS + 1);
        if (b->ending || poll(polls, n, wait) < 0)
            continue;                   /* a signal */
        b->now = vs_clock_ns();
        if (polls[0].revents)
            control_ready(b);
        for (size_t i = n_peers; i < n_models; i++)     /* workers first: what they free, clients can use */
            if (polls[i].revents)
                model_ready(b, models[i], polls[i].revents);
        for (size_t i = 2; i < n_peers; i++)
            if (polls[i].revents)
                peer_ready(b, peers[i], polls[i].revents);
        if (polls[1].revents)
            peer_accept(b);
        sweep(b);
    }
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

int main(void)
{
    static struct broker broker;
    struct broker *b = &broker;
    if (!is_open(CONTROL_FD)) {
        fprintf(stderr, "veritas-broker is started by `veritas serve`\n");
        return 2;
    }
    uint16_t unhandled = peer_unhandled() ? peer_unhandled() : model_unhandled();
    if (unhandled) {
        fprintf(stderr, "veritas-broker: message '%s' (0x%02x) has no handler or no row\n", vs_message_name(unhandled), unhandled);
        return 1;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, SIG_IGN);            /* the supervisor says when to end */
    b->listen_fd = is_open(LISTEN_FD) ? LISTEN_FD : -1;
    b->control_fd = CONTROL_FD;
    b->uid = getuid();
    bool is_private = is_open(PRIVATE_FD);
    if (b->listen_fd >= 0)
        fcntl(b->listen_fd, F_SETFL, fcntl(b->listen_fd, F_GETFL) | O_NONBLOCK);
    vs_json_setup(MAX_JSON);

    struct vs_sandbox_options options = {
        .profile = VS_SANDBOX_BROKER,
        .keep_fds = 1u << CONTROL_FD | (b->listen_fd >= 0 ? 1u << LISTEN_FD : 0) | (is_private ? 1u << PRIVATE_FD : 0),
        .words_fd = -1,
        .memory_bytes = 1ull << 30,
        .n_files = 8 + MAX_PEERS + 16 + MAX_MODELS + 16,
        .keep_stderr = true,
    };
    struct vs_sandbox_report report;
    struct vs_error err;
    char text[1024];
    if (vs_sandbox_options_parse(getenv("VERITAS_SANDBOX"), &options, &err) != VS_OK
        || vs_sandbox_enter(&options, &report, &err) != VS_OK) {
        broker_log("%s", err.text);
        return 1;
    }
    size_t n = vs_sandbox_report_json(&report, text, sizeof text);
    b->sandbox = n ? vs_json_parse(text, n, NULL) : NULL;
    if (!b->sandbox)
        b->sandbox = json_object();
    b->now = b->started_at = vs_clock_ns();
    if (control_send(b, json_pack("{s:s, s:O}", "op", "hello", "sandbox", b->sandbox), -1) != VS_OK)
        return 1;
    quiet = is_private && !getenv("VERITAS_DEBUG");
    if (is_private)
        peer_add(b, PRIVATE_FD, true);
    loop(b);
    control_send(b, json_pack("{s:s}", "op", "shutdown"), -1);
    return 0;
}
