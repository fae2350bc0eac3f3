/* prog/veritas/guards.c - a guard for each worker: it is started before the first, is handed the sockets of each, and is asked who
 * hangs. What it says is a sign of life and nothing else. */
#include "prog/veritas/serve.h"

#include "base/clock.h"
#include "prog/veritas/command.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#define ANSWER_TIME (700 * MS)          /* a guard that lives says so in this time */

/* The rules lie beside the programs. The copy is made once, and nobody can change it. */
static int open_rules(struct supervisor *s, struct vs_error *err)
{
    char path[PATH_MAX];
    if (s->rules_fd >= 0)
        return VS_OK;
    int rc = vs_beside_find("veritas.rules", R_OK, path, sizeof path, err);
    int from = rc == VS_OK ? open(path, O_RDONLY | O_CLOEXEC) : -1, to = -1;
    if (rc != VS_OK)
        return rc;
    if (from >= 0)
        to = memfd_create("veritas rules", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    ssize_t n = to >= 0 ? 1 : -1;
    while (n > 0)
        n = sendfile(to, from, NULL, 1 << 20);
    if (n < 0 || fcntl(to, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) != 0) {
        rc = vs_error_set(err, VS_E_SYSTEM, "cannot read the rules %s: %s", path, strerror(errno));
        if (to >= 0)
            close(to);
        to = -1;
    }
    if (from >= 0)
        close(from);
    s->rules_fd = to;
    return rc;
}

int guard_start(struct supervisor *s, struct model *m, struct vs_error *err)
{
    int pair[2], fds[N_CHILD_FDS];
    if (m->guard.pid > 0)
        return VS_OK;
    if (open_rules(s, err) != VS_OK)
        return err->code;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        return vs_error_set(err, VS_E_SYSTEM, "cannot prepare a guard: %s", strerror(errno));
    memset(fds, -1, sizeof fds);
    fds[FD_CONTROL] = pair[1];
    fds[FD_RULES] = s->rules_fd;
    fds[FD_SETTINGS] = settings_open(s->settings.policy.text);
    int rc = fds[FD_SETTINGS] >= 0 ? process_start(s, &m->guard, fds, NULL, err)
                                   : vs_error_set(err, VS_E_SYSTEM, "cannot prepare a guard: %s", strerror(errno));
    close(pair[1]);
    if (fds[FD_SETTINGS] >= 0)
        close(fds[FD_SETTINGS]);
    if (rc == VS_OK)
        vs_conn_init(&m->guard_link, pair[0], &vs_ipc_from_guard_control, VS_AT_OPEN);
    else
        close(pair[0]);
    return rc;
}

/* A link holds one descriptor that waits, so the second frame goes when the first is sent: a guard reads within a turn. */
int guard_hand(struct model *m, int worker_fd, int broker_fd, struct vs_error *err)
{
    int rc = worker_fd < 0 ? VS_OK : vs_conn_send(&m->guard_link, VS_MSG_WORKER, VS_FLAG_FD, 0, NULL, 0, worker_fd);
    if (rc == VS_OK)
        rc = vs_conn_send(&m->guard_link, VS_MSG_BROKER, VS_FLAG_FD, 0, NULL, 0, broker_fd);
    return rc == VS_OK ? VS_OK : vs_error_set(err, VS_E_BUSY, "the guard takes no worker: %s", vs_status_text(rc));
}

void guards_tell_policy(struct supervisor *s)
{
    for (int i = 0; i < MAX_MODELS; i++) {
        struct model *m = &s->models[i];
        int fd = m->id && m->guard.pid > 0 ? settings_open(s->settings.policy.text) : -1;
        bool told = fd >= 0 && vs_conn_send(&m->guard_link, VS_MSG_SETTINGS, VS_FLAG_FD, 0, NULL, 0, fd) == VS_OK;
        if (m->id && m->guard.pid > 0 && !told)
            kill(m->guard.pid, SIGKILL);        /* none goes on under a policy that does not hold any more */
        if (fd >= 0)
            close(fd);
    }
}

void guard_kill(struct model *m)
{
    process_kill(&m->guard);
    vs_conn_clear(&m->guard_link);
    m->guard_link.fd = -1;
    m->guard_asked_at = 0;
}

void guard_ask(struct model *m)
{
    if (m->guard.pid <= 0 || vs_conn_send(&m->guard_link, VS_MSG_ALIVE, 0, 0, NULL, 0, -1) != VS_OK) {
        if (m->worker.pid > 0)
            kill(m->worker.pid, SIGKILL);       /* the guard's own end is told by its exit status */
        return;
    }
    if (m->guard_asked_at)
        return;
    m->guard_asked_at = vs_clock_ns() + ANSWER_TIME;
    m->guard_waited = process_waited(&m->guard);
}

/* On a machine that has too much to do it may not have run since it was asked: for as long it has more time. */
static void wait_with_it(struct model *m, uint64_t now)
{
    uint64_t waited = process_waited(&m->guard);
    if (waited > m->guard_waited)
        m->guard_asked_at = now + waited - m->guard_waited;
    m->guard_waited = waited;
}

static void on_alive(struct model *m)
{
    if (m->guard_asked_at && m->worker.pid > 0)
        kill(m->worker.pid, SIGKILL);
    m->guard_asked_at = 0;
}

static const struct {
    uint16_t type;
    void (*take)(struct model *m);
} handlers[] = {
    { VS_MSG_ALIVE, on_alive },
};
enum { N_HANDLERS = sizeof handlers / sizeof *handlers };

uint16_t guards_unhandled(void)
{
    return vs_ipc_unhandled(&vs_ipc_from_guard_control, handlers, N_HANDLERS, sizeof *handlers);
}

uint64_t guards_timers(struct supervisor *s, uint64_t now)
{
    uint64_t next = UINT64_MAX;
    for (int i = 0; i < MAX_MODELS; i++) {
        struct model *m = &s->models[i];
        if (!m->id || !m->guard_asked_at)
            continue;
        if (now >= m->guard_asked_at)
            wait_with_it(m, now);
        if (now < m->guard_asked_at)
            next = m->guard_asked_at < next ? m->guard_asked_at : next;
        else if (m->guard.pid > 0)
            kill(m->guard.pid, SIGKILL);        /* its exit status comes by SIGCHLD */
    }
    return next;
}

size_t guards_poll(struct supervisor *s, struct pollfd polls[MAX_MODELS])
{
    for (int i = 0; i < MAX_MODELS; i++) {
        const struct vs_conn *link = &s->models[i].guard_link;
        bool is_there = s->models[i].id && link->fd >= 0;
        bool waits = is_there && vs_conn_queued(link);
        polls[i] = (struct pollfd){ is_there ? link->fd : -1, (short)(POLLIN | (waits ? POLLOUT : 0)), 0 };
    }
    return MAX_MODELS;
}

static void take_frames(struct model *m, short events)
{
    struct vs_frame f;
    struct vs_error why;
    if (events & POLLOUT)
        vs_conn_flush(&m->guard_link);
    if (!(events & (POLLIN | POLLHUP | POLLERR)))
        return;
    int status = vs_conn_read(&m->guard_link);
    while (status == VS_OK && (status = vs_conn_next(&m->guard_link, &f, &why)) == VS_OK)
        handlers[vs_ipc_handler(handlers, N_HANDLERS, sizeof *handlers, f.type)].take(m);
    if (status == VS_E_BUSY)
        return;
    vs_conn_clear(&m->guard_link);      /* it ends, or is not itself any more */
    if (m->guard.pid > 0)
        kill(m->guard.pid, SIGKILL);
}

void guards_ready(struct supervisor *s, const struct pollfd *polls)
{
    for (int i = 0; i < MAX_MODELS; i++)
        if (polls[i].revents && s->models[i].guard_link.fd == polls[i].fd)
            take_frames(&s->models[i], polls[i].revents);
}
