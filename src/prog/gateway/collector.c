/* prog/gateway/collector.c - sends spans to the collector of --otlp: a POST for each batch; the parent makes its connection. */
#include "prog/gateway/gateway.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#define BATCH_TIME (1000 * MS)
#define SEND_TIME (5000 * MS)
#define AGAIN_TIME (5000 * MS)          /* after a failure */
enum { BATCH_SPANS = 512 };

static struct {
    int fd;                             /* -1: none */
    bool is_asked_for, has_failed;
    uint64_t due_at, until;
    struct vs_buf out;
    size_t out_done;
    char head[16];                      /* how its answer begins */
    size_t n_head;
} to = { .fd = -1 };

static void give_up(struct gateway *g, const char *why)
{
    if (!to.has_failed)
        gateway_log("spans were lost: the collector %s", why);
    to.has_failed = true;
    to.due_at = g->now + AGAIN_TIME;
    if (to.fd >= 0)
        close(to.fd);
    to.fd = -1;
    vs_buf_clear(&to.out);
    to.out_done = 0;
}

int collector_fd(void)
{
    return to.fd;
}

short collector_wants(void)
{
    return to.out_done < to.out.n ? POLLOUT : POLLIN;
}

void collector_refused(struct gateway *g)
{
    to.is_asked_for = false;
    struct vs_buf lost = { 0 };
    trace_export(&lost);                /* it may be away for long: nothing is kept for it */
    vs_buf_clear(&lost);
    give_up(g, "cannot be reached");
}

void collector_adopt(struct gateway *g, int fd)
{
    struct vs_buf body = { 0 };
    to.is_asked_for = false;
    if (to.fd >= 0)
        close(to.fd);
    to.fd = fd;
    to.n_head = 0;
    to.until = g->now + SEND_TIME;
    trace_export(&body);
    vs_buf_clear(&to.out);
    to.out_done = 0;
    vs_buf_printf(&to.out, "POST %s HTTP/1.1\r\nhost: %s\r\ncontent-type: application/x-protobuf\r\ncontent-length: %zu\r\n"
                  "user-agent: veritas/" VERITAS_VERSION "\r\nconnection: close\r\n\r\n", g->settings.otlp_path,
                  g->settings.otlp_host, body.n);
    vs_buf_add(&to.out, body.data, body.n);
    vs_buf_clear(&body);
    if (to.out.status != VS_OK)
        give_up(g, "got no memory");
}

void collector_ready(struct gateway *g)
{
    while (to.fd >= 0 && to.out_done < to.out.n) {
        ssize_t n = write(to.fd, to.out.data + to.out_done, to.out.n - to.out_done);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n < 0) {
            give_up(g, "hung up");
            return;
        }
        to.out_done += (size_t)n;
    }
    char piece[4096];
    ssize_t n = to.fd >= 0 ? read(to.fd, piece, sizeof piece) : -1;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    for (ssize_t i = 0; i < n && to.n_head < sizeof to.head; i++)
        to.head[to.n_head++] = piece[i];
    if (n > 0)
        return;
    if (to.n_head < 12 || to.head[9] != '2') {
        give_up(g, to.n_head < 12 ? "hung up" : "refused them");
        return;
    }
    close(to.fd);
    to.fd = -1;
    to.has_failed = false;
    vs_buf_clear(&to.out);
    to.out_done = 0;
}

uint64_t collector_timers(struct gateway *g)
{
    if (!g->settings.otlp_host)
        return NEVER;
    if (to.fd >= 0 && g->now >= to.until)
        give_up(g, "does not answer");
    if (to.fd >= 0)
        return to.until;
    if (to.is_asked_for || !trace_queued())
        return NEVER;
    if (!to.due_at)
        to.due_at = g->now + BATCH_TIME;
    if (g->now >= to.due_at || (trace_queued() >= BATCH_SPANS && !to.has_failed) || g->draining) {
        to.due_at = 0;
        to.is_asked_for = control_send(g, VS_MSG_START, VS_COLLECTOR_ID, json_object()) == VS_OK;
        return NEVER;
    }
    return to.due_at;
}

/* At the end: is there something that should still go out? */
bool collector_is_busy(void)
{
    return to.fd >= 0 || to.is_asked_for || (trace_queued() && !to.has_failed);
}
