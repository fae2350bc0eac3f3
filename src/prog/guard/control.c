/* prog/guard/control.c - the supervisor, who hands us two sockets with each new worker, and asks whether we are there. */
#include "prog/guard/guard.h"

#include <poll.h>
#include <string.h>
#include <unistd.h>

static void on_worker(struct guard *g, struct vs_frame *f)
{
    if (g->worker_came >= 0)
        close(g->worker_came);
    g->worker_came = f->fd;
    f->fd = -1;
}

static void on_broker(struct guard *g, struct vs_frame *f)
{
    back_open(g, g->worker_came, f->fd);
    g->worker_came = f->fd = -1;
}

struct screen *policy_read(struct guard *g, int fd)
{
    struct vs_buf text = { .limit = VS_POLICY_FILE_MOST * 8u };
    struct screen *screen = NULL;
    struct vs_error err;
    char piece[16384];
    lseek(fd, 0, SEEK_SET);
    for (ssize_t got; (got = read(fd, piece, sizeof piece)) > 0;)
        vs_buf_add(&text, piece, (size_t)got);
    if (text.status != VS_OK || screen_create(text.data ? text.data : "{}", text.n ? text.n : 2, g->key, g->scan, &g->rest,
                                                &screen, &err) != VS_OK)
        guard_leave(text.status != VS_OK ? "its policy can't be read" : err.text);      /* the supervisor has checked it */
    explicit_bzero(piece, sizeof piece);
    if (text.data)
        explicit_bzero(text.data, text.n);
    vs_buf_clear(&text);
    return screen;
}

/* For requests that come from now on; those under way keep the one that they have. */
static void on_settings(struct guard *g, struct vs_frame *f)
{
    struct screen *fresh = policy_read(g, f->fd);
    screen_unref(g->screen);
    g->screen = fresh;
}

static void on_alive(struct guard *g, struct vs_frame *f)
{
    (void)f;
    vs_conn_send(&g->control, VS_MSG_ALIVE, 0, 0, NULL, 0, -1);
}

static const struct {
    uint16_t type;
    void (*take)(struct guard *g, struct vs_frame *f);
} handlers[] = {
    { VS_MSG_WORKER, on_worker }, { VS_MSG_BROKER, on_broker }, { VS_MSG_ALIVE, on_alive }, { VS_MSG_SETTINGS, on_settings },
};
enum { N_HANDLERS = sizeof handlers / sizeof *handlers };

uint16_t control_unhandled(void)
{
    return vs_ipc_unhandled(&vs_ipc_to_guard_control, handlers, N_HANDLERS, sizeof *handlers);
}

void control_ready(struct guard *g, short events)
{
    struct vs_frame f;
    struct vs_error why = { 0 };
    if (events & POLLOUT)
        vs_conn_flush(&g->control);
    if (!(events & (POLLIN | POLLHUP | POLLERR)))
        return;
    int status = vs_conn_read(&g->control);
    while (status == VS_OK && (status = vs_conn_next(&g->control, &f, &why)) == VS_OK) {
        handlers[vs_ipc_handler(handlers, N_HANDLERS, sizeof *handlers, f.type)].take(g, &f);
        if (f.fd >= 0)
            close(f.fd);
    }
    if (status != VS_E_BUSY)            /* no supervisor, no guard */
        guard_leave(status == VS_E_DIED ? "the supervisor is gone" : why.text);
}
