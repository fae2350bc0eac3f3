/* ipc/frame.c - see frame.h */
#include "ipc/frame.h"

#include "base/bytes.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_BYTES (256u << 10)         /* asked of the socket at once */
#define KEEP_BYTES (512u << 10)         /* an empty buffer larger than this gives its memory back */

void vs_frame_header(uint8_t ret[VS_FRAME_HEADER], uint16_t type, uint16_t flags, uint64_t id, uint32_t n)
{
    vs_store_u32le(ret, n);
    vs_store_u16le(ret + 4, type);
    vs_store_u16le(ret + 6, flags);
    vs_store_u64le(ret + 8, id);
}

void vs_conn_init(struct vs_conn *c, int fd, const struct vs_ipc_table *table, unsigned state)
{
    memset(c, 0, sizeof *c);
    c->fd = fd;
    c->table = table;
    c->state = state;
    c->to_send = -1;
}

void vs_conn_clear(struct vs_conn *c)
{
    if (!c)
        return;
    if (c->fd >= 0)
        close(c->fd);
    for (unsigned i = 0; i < c->n_came; i++)
        close(c->came[i]);
    if (c->to_send >= 0)
        close(c->to_send);
    vs_buf_clear(&c->in);
    vs_buf_clear(&c->out);
    vs_conn_init(c, -1, c->table, c->state);
}

/* Forgets what is consumed: all at once when all of it is, else when it is the larger part (so each byte moves at most
 * once on average). */
static void compact(struct vs_buf *b, size_t *done)
{
    if (*done == b->n) {
        if (b->cap > KEEP_BYTES)
            vs_buf_clear(b);
        else
            vs_buf_reset(b);
        *done = 0;
    } else if (*done > b->n / 2) {
        vs_buf_drop(b, *done);
        *done = 0;
    }
}

/* Keeps the descriptors that came with a message, closes what was not asked for. */
static int take_descriptors(struct vs_conn *c, struct msghdr *m)
{
    int status = m->msg_flags & MSG_CTRUNC ? VS_E_PROTOCOL : VS_OK;
    for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h)) {
        if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
            continue;
        size_t n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(h) + i * sizeof fd, sizeof fd);
            if (c->n_came < sizeof c->came / sizeof *c->came) {
                c->came[c->n_came++] = fd;
            } else {
                close(fd);
                status = VS_E_PROTOCOL;
            }
        }
    }
    return status;
}

int vs_conn_read(struct vs_conn *c)
{
    if (c->fd < 0)
        return VS_E_DIED;
    compact(&c->in, &c->in_done);
    size_t had = c->in.n;
    /* Room for twice of what is there, so that a large frame is not copied again for each read. */
    size_t want = had < 4096 ? 8192 : had < READ_BYTES ? had : READ_BYTES;
    char *at = vs_buf_grow(&c->in, want);
    if (!at)
        return c->in.status;
    struct iovec io = { at, want };
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(4 * sizeof(int))];
    } control;
    struct msghdr m = { .msg_iov = &io, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
    ssize_t n;
    do
        n = recvmsg(c->fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    c->in.n = had + (n > 0 ? (size_t)n : 0);
    if (n < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK ? VS_E_BUSY
               : errno == ECONNRESET                   ? VS_E_DIED
                                                       : VS_E_SYSTEM;
    int status = take_descriptors(c, &m);
    return status != VS_OK ? status : n == 0 ? VS_E_DIED : VS_OK;
}

/* The state of what an id names: the link, or one of its requests, which there are only on an open link. */
static unsigned state_now(const struct vs_conn *c, uint64_t id)
{
    if (id == 0)
        return c->state;
    if (c->state != VS_AT_OPEN)
        return 0;
    return c->state_of ? c->state_of(c->context, id) : VS_AT_FREE | VS_AT_BEGUN;
}

static int not_now(uint16_t type, uint64_t id, unsigned now, struct vs_error *err)
{
    const char *name = vs_message_name(type);
    if (id == 0 && vs_message_is_request(type) && now == VS_AT_OPEN)
        return vs_error_set(err, VS_E_PROTOCOL, "request id 0 is reserved");
    if (now == VS_AT_BEGUN && vs_message_is_request(type))
        return vs_error_set(err, VS_E_PROTOCOL, "request id %llu is in use", (unsigned long long)id);
    if (now == VS_AT_FREE)
        return vs_error_set(err, VS_E_PROTOCOL, "message '%s' names request %llu, which is not under way", name, (unsigned long long)id);
    return vs_error_set(err, VS_E_PROTOCOL, "message '%s' is not allowed now", name);
}

int vs_conn_next(struct vs_conn *c, struct vs_frame *ret, struct vs_error *err)
{
    size_t left = c->in.n - c->in_done;
    if (left < VS_FRAME_HEADER)
        return VS_E_BUSY;
    const uint8_t *h = (const uint8_t *)c->in.data + c->in_done;
    uint32_t n = vs_load_u32le(h);
    uint16_t type = vs_load_u16le(h + 4), flags = vs_load_u16le(h + 6);
    const struct vs_ipc_rule *rule = vs_ipc_rule_find(c->table, type);
    if (!rule)
        return vs_error_set(err, VS_E_PROTOCOL, "message type 0x%02x is not known here", type);
    uint64_t id = vs_load_u64le(h + 8);
    unsigned now = state_now(c, id);
    if (!(rule->states & now))
        return not_now(type, id, now, err);
    if (flags & ~rule->flags)
        return vs_error_set(err, VS_E_PROTOCOL, "message '%s' has unknown flags 0x%04x", vs_message_name(type), flags);
    if (n > rule->max)
        return vs_error_set(err, VS_E_LIMIT, "message '%s' of %u bytes is too large; at most %u", vs_message_name(type), n,
                            rule->max);
    if (n < rule->min)
        return vs_error_set(err, VS_E_PROTOCOL, "message '%s' of %u bytes is too short; at least %u", vs_message_name(type), n,
                            rule->min);
    if (left - VS_FRAME_HEADER < n)
        return VS_E_BUSY;
    int fd = -1;
    if (flags & VS_FLAG_FD) {
        if (c->n_came == 0)
            return vs_error_set(err, VS_E_PROTOCOL, "message '%s' promises a descriptor, none came", vs_message_name(type));
        fd = c->came[0];
        c->came[0] = c->came[1];
        c->n_came--;
    } else if (c->n_came && left == VS_FRAME_HEADER + (size_t)n) {
        return vs_error_set(err, VS_E_PROTOCOL, "a descriptor came with message '%s', which takes none", vs_message_name(type));
    }
    *ret = (struct vs_frame){ type, flags, id, n, h + VS_FRAME_HEADER, fd };
    c->in_done += VS_FRAME_HEADER + (size_t)n;
    return VS_OK;
}

bool vs_conn_is_partial(const struct vs_conn *c)
{
    return c->in.n > c->in_done;
}

int vs_conn_send(struct vs_conn *c, uint16_t type, uint16_t flags, uint64_t id, const void *data, size_t n, int fd)
{
    if (c->fd < 0)
        return VS_E_DIED;
    assert(n <= UINT32_MAX);
    if (fd >= 0 && c->to_send >= 0)
        return VS_E_BUSY;
    size_t done = c->out_done;
    compact(&c->out, &c->out_done);
    if (c->to_send >= 0)
        c->to_send_at -= done - c->out_done;
    int copy = fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 3) : -1;
    if (fd >= 0 && copy < 0)
        return VS_E_SYSTEM;
    size_t at = c->out.n;
    char *room = vs_buf_grow(&c->out, VS_FRAME_HEADER + n);
    if (!room) {
        if (copy >= 0)
            close(copy);
        return c->out.status;
    }
    if (copy >= 0) {
        c->to_send = copy;
        c->to_send_at = at;
    }
    vs_frame_header((uint8_t *)room, type, flags, id, (uint32_t)n);
    if (n)
        memcpy(room + VS_FRAME_HEADER, data, n);
    int status = vs_conn_flush(c);
    return status == VS_E_BUSY ? VS_OK : status;
}

int vs_conn_flush(struct vs_conn *c)
{
    if (c->fd < 0)
        return VS_E_DIED;
    while (c->out_done < c->out.n) {
        size_t n = c->out.n - c->out_done;
        bool with = c->to_send >= 0 && c->to_send_at == c->out_done;
        if (c->to_send >= 0 && !with && c->to_send_at - c->out_done < n)
            n = c->to_send_at - c->out_done;    /* bytes before the descriptor go without it */
        struct iovec io = { c->out.data + c->out_done, n };
        union {
            struct cmsghdr align;
            char bytes[CMSG_SPACE(sizeof(int))];
        } control;
        struct msghdr m = { .msg_iov = &io, .msg_iovlen = 1 };
        if (with) {
            memset(&control, 0, sizeof control);
            m.msg_control = &control;
            m.msg_controllen = sizeof control;
            struct cmsghdr *h = CMSG_FIRSTHDR(&m);
            h->cmsg_level = SOL_SOCKET;
            h->cmsg_type = SCM_RIGHTS;
            h->cmsg_len = CMSG_LEN(sizeof(int));
            memcpy(CMSG_DATA(h), &c->to_send, sizeof(int));
        }
        ssize_t sent = sendmsg(c->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno == EINTR)
                continue;
            return errno == EAGAIN || errno == EWOULDBLOCK ? VS_E_BUSY : VS_E_DIED;
        }
        if (with) {
            close(c->to_send);
            c->to_send = -1;
        }
        c->out_done += (size_t)sent;
    }
    compact(&c->out, &c->out_done);
    return VS_OK;
}

size_t vs_conn_queued(const struct vs_conn *c)
{
    return c->out.n - c->out_done;
}

bool vs_token_parse(const struct vs_frame *f, struct vs_token_view *ret)
{
    struct vs_bytes b;
    vs_bytes_init(&b, f->data, f->n);
    uint32_t id = vs_bytes_u32le(&b), n = vs_bytes_u32le(&b);
    const uint8_t *text = vs_bytes_take(&b, n);
    size_t rest = vs_bytes_left(&b);
    if (b.status != VS_OK || (rest != 0) != ((f->flags & VS_FLAG_EXTRA) != 0))
        return false;
    *ret = (struct vs_token_view){ id, (const char *)text, rest ? (const char *)text + n : NULL, n, (uint32_t)rest };
    return true;
}
