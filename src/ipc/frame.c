/* ipc/frame.c - see frame.h */
#include "ipc/frame.h"

#include "base/bytes.h"
#include "base/word.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_BYTES (256u << 10)         /* asked of the socket at once */
#define KEEP_BYTES (128u << 10)         /* a buffer that is larger and holds little gives memory back */

/* What of `used` comes from above. */
static size_t beyond(const struct vs_budget *b, size_t used)
{
    return used > b->own ? used - b->own : 0;
}

bool vs_budget_take(struct vs_budget *b, size_t n)
{
    size_t more = n;
    for (const struct vs_budget *i = b; i && more; i = i->above) {
        if (more > i->limit || i->used > i->limit - more)
            return false;
        more = beyond(i, i->used + more) - beyond(i, i->used);
    }
    for (more = n; b && more; b = b->above) {
        size_t before = beyond(b, b->used);
        b->used += more;
        more = beyond(b, b->used) - before;
    }
    return true;
}

void vs_budget_give(struct vs_budget *b, size_t n)
{
    for (; b && n; b = b->above) {
        size_t before = beyond(b, b->used);
        b->used -= n;
        n = before - beyond(b, b->used);
    }
}

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
    for (size_t i = 0; table && i < table->n_rules; i++)
        c->takes_fds |= (table->rules[i].flags & (VS_FLAG_FD | VS_FLAG_FDS)) != 0;
}

/* The buffers are to take so many bytes. False: there is no room, nothing changed. */
static bool count(struct vs_conn *c, size_t bytes)
{
    if (bytes > c->counted && !vs_budget_take(c->budget, bytes - c->counted))
        return false;
    if (bytes < c->counted)
        vs_budget_give(c->budget, c->counted - bytes);
    c->counted = bytes;
    return true;
}

/* Room for n bytes more in one of the buffers: exactly so many, or with a reserve where that can be had. */
static int make_room(struct vs_conn *c, struct vs_buf *b, size_t n, size_t reserve)
{
    size_t other = c->in.cap + c->out.cap - b->cap, need = b->n + n + 1;
    if (need <= b->cap)
        return VS_OK;
    size_t cap = need + reserve;
    if (!count(c, other + cap)) {
        cap = need;
        if (!count(c, other + cap))
            return VS_E_LIMIT;
    }
    int status = vs_buf_resize(b, cap);
    if (status != VS_OK)
        count(c, other + b->cap);
    return status;
}

/* The first of the descriptors that came; the others are `more`. */
static int take_fd(struct vs_conn *c)
{
    int fd = c->came.fd[0];
    c->more.n = c->came.n - 1;
    memcpy(c->more.fd, c->came.fd + 1, c->more.n * sizeof fd);
    c->came.n = 0;
    return fd;
}

void vs_conn_clear(struct vs_conn *c)
{
    if (!c)
        return;
    if (c->fd >= 0)
        close(c->fd);
    vs_files_close(&c->came);
    vs_files_close(&c->more);
    vs_files_close(&c->to_send);
    vs_buf_clear(&c->in);
    vs_buf_clear(&c->out);
    count(c, 0);
    vs_conn_init(c, -1, c->table, c->state);
}

/* Forgets what is consumed: all at once when all of it is, else when it is the larger part (so each byte moves at most
 * once on average). A buffer that was large gives back what it does not need. */
static void compact(struct vs_conn *c, struct vs_buf *b, size_t *done)
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
        if (b->cap > KEEP_BYTES && b->n < b->cap / 4)
            vs_buf_resize(b, KEEP_BYTES);
    }
    count(c, c->in.cap + c->out.cap);
}

/* Keeps the descriptors that came with a message, closes what was not asked for. */
static int take_descriptors(struct vs_conn *c, struct msghdr *m)
{
    int status = m->msg_flags & MSG_CTRUNC ? VS_E_PROTOCOL : VS_OK;
    bool waits = c->came.n;              /* those of another frame */
    for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h)) {
        if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
            continue;
        size_t n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(h) + i * sizeof fd, sizeof fd);
            if (!waits && c->came.n < VS_MAX_FILES && status == VS_OK) {
                c->came.fd[c->came.n++] = fd;
                continue;
            }
            status = VS_E_PROTOCOL;
            close(fd);
        }
    }
    return status;
}

int vs_conn_read(struct vs_conn *c)
{
    if (c->fd < 0)
        return VS_E_DIED;
    compact(c, &c->in, &c->in_done);
    size_t had = c->in.n;
    /* A frame that was begun has its room already (vs_conn_next); else room for twice of what is there. */
    size_t want = had < 4096 ? 8192 : had < READ_BYTES ? had : READ_BYTES;
    if (c->in.cap > had + 1)
        want = c->in.cap - had - 1 < READ_BYTES ? c->in.cap - had - 1 : READ_BYTES;
    int room = make_room(c, &c->in, want, 0);
    char *at = room == VS_OK ? vs_buf_grow(&c->in, want) : NULL;
    if (!at)
        return room != VS_OK ? room : c->in.status;
    struct iovec io = { at, want };
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE((VS_MAX_FILES + 1) * sizeof(int))];
    } control;
    struct msghdr m = { .msg_iov = &io, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
    ssize_t n;
    do
        n = c->takes_fds ? recvmsg(c->fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) : recv(c->fd, at, want, MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    c->in.n = had + (n > 0 ? (size_t)n : 0);
    if (n < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK ? VS_E_BUSY
               : errno == ECONNRESET                   ? VS_E_DIED
                                                       : VS_E_SYSTEM;
    size_t skipped = c->in.n - had < c->skip ? c->in.n - had : c->skip;
    c->skip -= skipped;
    c->in_done += skipped;
    int status = c->takes_fds ? take_descriptors(c, &m) : VS_OK;
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
        return vs_error_set(err, VS_E_PROTOCOL, "message '%s' names request %llu, which is not under way", name,
                            (unsigned long long)id);
    return vs_error_set(err, VS_E_PROTOCOL, "message '%s' is not allowed now", name);
}

/* Is the header right, whatever follows it? */
static int judge(const struct vs_conn *c, const struct vs_frame *f, const struct vs_ipc_rule *rule, struct vs_error *err)
{
    const char *name = vs_message_name(f->type);
    if (!rule)
        return vs_error_set(err, VS_E_PROTOCOL, "message type 0x%02x is not known here", f->type);
    unsigned now = state_now(c, f->id);
    if (!(rule->states & now))
        return not_now(f->type, f->id, now, err);
    if (f->flags & ~rule->flags)
        return vs_error_set(err, VS_E_PROTOCOL, "message '%s' has unknown flags 0x%04x", name, f->flags);
    if (f->n > rule->max)
        return vs_error_set(err, VS_E_LIMIT, "message '%s' of %u bytes is too large; at most %u", name, f->n, rule->max);
    if (f->n < rule->min)
        return vs_error_set(err, VS_E_PROTOCOL, "message '%s' of %u byte%s is too short; at least %u", name, f->n,
                            vs_plural(f->n), rule->min);
    return VS_OK;
}

/* No room for the payload: what has come of it goes, the rest will. */
static int refuse(struct vs_conn *c, struct vs_frame *f, struct vs_frame *ret)
{
    size_t came = c->in.n - c->in_done - VS_FRAME_HEADER;
    c->in_done = c->in.n;
    c->skip = f->n - came;
    if (f->flags & (VS_FLAG_FD | VS_FLAG_FDS))
        vs_files_close(&c->came);
    f->n = 0;
    f->data = NULL;
    f->is_refused = true;
    *ret = *f;
    return VS_OK;
}

int vs_conn_next(struct vs_conn *c, struct vs_frame *ret, struct vs_error *err)
{
    size_t left = c->in.n - c->in_done;
    vs_files_close(&c->more);
    if (left < VS_FRAME_HEADER) {
        compact(c, &c->in, &c->in_done);
        return VS_E_BUSY;
    }
    const uint8_t *h = (const uint8_t *)c->in.data + c->in_done;
    struct vs_frame f = { vs_load_u16le(h + 4), vs_load_u16le(h + 6), vs_load_u64le(h + 8), vs_load_u32le(h),
                          h + VS_FRAME_HEADER, -1, false };
    int status = judge(c, &f, vs_ipc_rule_find(c->table, f.type), err);
    if (status != VS_OK)
        return status;
    if (left - VS_FRAME_HEADER < f.n) {
        compact(c, &c->in, &c->in_done);
        status = make_room(c, &c->in, c->in_done + VS_FRAME_HEADER + f.n - c->in.n, 0);
        if (status == VS_E_LIMIT)
            return refuse(c, &f, ret);
        return status == VS_OK ? VS_E_BUSY : vs_error_set(err, status, "%s", vs_status_text(status));
    }
    if (f.flags & (VS_FLAG_FD | VS_FLAG_FDS)) {
        if (!c->came.n)
            return vs_error_set(err, VS_E_PROTOCOL, "message '%s' promises a descriptor, none came", vs_message_name(f.type));
        if (c->came.n > 1 && !(f.flags & VS_FLAG_FDS))
            return vs_error_set(err, VS_E_PROTOCOL, "message '%s' promises one descriptor, %u came", vs_message_name(f.type),
                                c->came.n);
        f.fd = take_fd(c);
    } else if (c->came.n && left == VS_FRAME_HEADER + (size_t)f.n) {
        return vs_error_set(err, VS_E_PROTOCOL, "a descriptor came with message '%s', which takes none", vs_message_name(f.type));
    }
    *ret = f;
    c->in_done += VS_FRAME_HEADER + (size_t)f.n;
    return VS_OK;
}

bool vs_conn_is_partial(const struct vs_conn *c)
{
    return c->in.n > c->in_done || c->skip;
}

static void compact_out(struct vs_conn *c)
{
    size_t done = c->out_done;
    compact(c, &c->out, &c->out_done);
    if (c->to_send.n)
        c->to_send_at -= done - c->out_done;
}

/* Queues a frame of two pieces; descriptors that go with it (NULL: none) are marked before. */
static int queue_frame(struct vs_conn *c, uint16_t type, uint16_t flags, uint64_t id, const void *head, size_t n, const void *body,
                       size_t m, const struct vs_files *files)
{
    assert(n <= UINT32_MAX - m);
    if (c->fd < 0)
        return VS_E_DIED;
    if (files && c->to_send.n)
        return VS_E_BUSY;
    compact_out(c);
    int status = make_room(c, &c->out, VS_FRAME_HEADER + n + m, c->out.cap < KEEP_BYTES ? c->out.cap : KEEP_BYTES);
    if (status != VS_OK)
        return status;
    if (files && vs_files_copy(files, 3, &c->to_send, NULL) != VS_OK)
        return VS_E_SYSTEM;
    if (files)
        c->to_send_at = c->out.n;
    vs_frame_header((uint8_t *)vs_buf_grow(&c->out, VS_FRAME_HEADER), type, flags, id, (uint32_t)(n + m));
    vs_buf_add(&c->out, head, n);
    vs_buf_add(&c->out, body, m);
    if (c->corked)
        return VS_OK;
    status = vs_conn_flush(c);
    return status == VS_E_BUSY ? VS_OK : status;
}

int vs_conn_send(struct vs_conn *c, uint16_t type, uint16_t flags, uint64_t id, const void *data, size_t n, int fd)
{
    const struct vs_files one = { 1, { fd } };
    return queue_frame(c, type, flags, id, data, n, NULL, 0, fd >= 0 ? &one : NULL);
}

int vs_conn_send_files(struct vs_conn *c, uint16_t type, uint64_t id, const void *data, size_t n, const struct vs_files *files)
{
    uint16_t flags = files->n > 1 ? VS_FLAG_FDS : files->n ? VS_FLAG_FD : 0;
    return queue_frame(c, type, flags, id, data, n, NULL, 0, files->n ? files : NULL);
}

int vs_conn_send_parts(struct vs_conn *c, uint16_t type, uint16_t flags, uint64_t id, const void *head, size_t n, const void *body,
                       size_t m)
{
    return queue_frame(c, type, flags, id, head, n, body, m, NULL);
}

int vs_conn_flush(struct vs_conn *c)
{
    if (c->fd < 0)
        return VS_E_DIED;
    while (c->out_done < c->out.n) {
        size_t n = c->out.n - c->out_done;
        bool with = c->to_send.n && c->to_send_at == c->out_done;
        if (c->to_send.n && !with && c->to_send_at - c->out_done < n)
            n = c->to_send_at - c->out_done;    /* bytes before the descriptors go without them */
        struct iovec io = { c->out.data + c->out_done, n };
        union {
            struct cmsghdr align;
            char bytes[CMSG_SPACE(VS_MAX_FILES * sizeof(int))];
        } control;
        struct msghdr m = { .msg_iov = &io, .msg_iovlen = 1 };
        if (with) {
            memset(&control, 0, sizeof control);
            m.msg_control = &control;
            m.msg_controllen = CMSG_SPACE(c->to_send.n * sizeof(int));
            struct cmsghdr *h = CMSG_FIRSTHDR(&m);
            h->cmsg_level = SOL_SOCKET;
            h->cmsg_type = SCM_RIGHTS;
            h->cmsg_len = CMSG_LEN(c->to_send.n * sizeof(int));
            memcpy(CMSG_DATA(h), c->to_send.fd, c->to_send.n * sizeof(int));
        }
        const int flags = MSG_DONTWAIT | MSG_NOSIGNAL;
        ssize_t sent = with ? sendmsg(c->fd, &m, flags) : send(c->fd, io.iov_base, n, flags);
        if (sent < 0) {
            if (errno == EINTR)
                continue;
            bool waits = errno == EAGAIN || errno == EWOULDBLOCK;
            compact_out(c);
            return waits ? VS_E_BUSY : VS_E_DIED;
        }
        if (with)
            vs_files_close(&c->to_send);
        c->out_done += (size_t)sent;
    }
    compact_out(c);
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
    uint32_t index = f->flags & VS_FLAG_INDEX ? vs_bytes_u32le(&b) : 0, part = f->flags & VS_FLAG_PART ? vs_bytes_u32le(&b) : 0;
    uint32_t id = vs_bytes_u32le(&b), n = vs_bytes_u32le(&b);
    const uint8_t *text = vs_bytes_take(&b, n);
    size_t rest = vs_bytes_left(&b);
    if (b.status != VS_OK || (rest != 0) != ((f->flags & VS_FLAG_EXTRA) != 0))
        return false;
    *ret = (struct vs_token_view){ index, part, id, (const char *)text, rest ? (const char *)text + n : NULL, n, (uint32_t)rest };
    return true;
}

bool vs_receipt_view(const struct vs_frame *f, struct vs_receipt_view *ret)
{
    struct vs_bytes b;
    vs_bytes_init(&b, f->data, f->n);
    bool has_index = f->flags & VS_FLAG_INDEX;
    uint32_t index = has_index ? vs_bytes_u32le(&b) : 0;
    size_t n = vs_bytes_left(&b);
    *ret = (struct vs_receipt_view){ has_index, index, (const char *)vs_bytes_take(&b, n), n };
    return b.status == VS_OK && n > 0;
}

bool vs_kept_view(const void *data, size_t n, struct vs_kept_view *ret)
{
    struct vs_bytes b;
    vs_bytes_init(&b, data, n);
    uint32_t n_prompt = vs_bytes_u32le(&b), n_tokens = vs_bytes_u32le(&b);
    const uint8_t *ids = vs_bytes_take(&b, 4 * ((uint64_t)n_prompt + n_tokens));
    size_t left = vs_bytes_left(&b);
    *ret = (struct vs_kept_view){ n_prompt, n_tokens, ids, (const char *)vs_bytes_take(&b, left), left };
    return b.status == VS_OK;
}
