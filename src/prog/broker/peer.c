/* prog/broker/peer.c - connections: who may come, what they may say, what it costs us. */
#include "prog/broker/broker.h"

#include "base/bytes.h"
#include "base/utf8.h"
#include "ipc/json.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- what we say ---- */

void peer_flush(struct peer *p)
{
    if (p->is_stalled || !vs_conn_queued(&p->conn))
        return;
    int status = vs_conn_flush(&p->conn);
    p->is_stalled = status == VS_E_BUSY;
    p->gone |= status == VS_E_DIED;
}

/* Where there is no room for it, what this turn has said goes out first. */
static int queue_frame(struct peer *p, uint16_t type, uint16_t flags, uint64_t id, const void *head, size_t n, const void *body,
                       size_t m)
{
    int status = vs_conn_send_parts(&p->conn, type, flags, id, head, n, body, m);
    if (status != VS_E_LIMIT || p->is_stalled || !vs_conn_queued(&p->conn))
        return status;
    peer_flush(p);
    return p->gone ? VS_E_DIED : vs_conn_send_parts(&p->conn, type, flags, id, head, n, body, m);
}

int peer_send_parts(struct broker *b, struct peer *p, uint16_t type, uint64_t id, const void *head, size_t n, const void *body,
                    size_t m)
{
    (void)b;
    int status = p->gone || p->close_at ? VS_E_DIED : queue_frame(p, type, 0, id, head, n, body, m);
    p->gone |= status != VS_OK && status != VS_E_LIMIT;
    return status;
}

void peer_send(struct broker *b, struct peer *p, uint16_t type, uint16_t flags, uint64_t id, const void *data, size_t n)
{
    (void)b;
    if (p->gone || p->close_at)
        return;
    if (type == VS_MSG_PROGRESS && vs_conn_queued(&p->conn) > MAX_LOSSY) {
        peer_flush(p);                  /* what was said in this turn does not count before it was offered */
        if (p->gone || vs_conn_queued(&p->conn) > MAX_LOSSY)
            return;
    }
    if (queue_frame(p, type, flags, id, data, n, NULL, 0) != VS_OK)
        p->gone = true;                 /* it left, or reads nothing and has used up its part */
}

int peer_send_files(struct peer *p, uint16_t type, uint64_t id, const void *data, size_t n, const struct vs_files *files)
{
    int status = p->gone || p->close_at ? VS_E_DIED : vs_conn_send_files(&p->conn, type, id, data, n, files);
    peer_flush(p);                      /* only one frame with descriptors may wait */
    p->gone |= status != VS_OK && status != VS_E_LIMIT && status != VS_E_BUSY;
    return status;
}

/* A client of protocol 1 is told in its own words; every other gets an envelope. */
static void say_why(struct broker *b, struct peer *p, const struct vs_error *why, bool is_old)
{
    struct vs_outcome outcome = { .error = *why, .hints = { .retry_after_ms = why->retry_after_ms } };
    struct vs_buf out = { 0 };
    if (is_old) {
        json_t *value = vs_json_error(why->code, why->text);
        vs_json_dump(value, &out);
        json_decref(value);
    } else {
        size_t begin = vs_payload_begin(&out);
        vs_outcome_dump(&outcome, &out);
        vs_payload_end(&out, begin);
    }
    if (out.status == VS_OK)
        peer_send(b, p, VS_MSG_ERROR, 0, 0, out.data, out.n);
    vs_buf_clear(&out);
}

static void refuse(struct broker *b, struct peer *p, const struct vs_error *why, bool is_old)
{
    if (p->gone || p->close_at)
        return;
    broker_log(b, "client %s (pid %d): %s", p->name, (int)p->pid, why->text);
    say_why(b, p, why, is_old);
    p->close_at = b->now + CLOSE_TIME;
}

void peer_refuse_for(struct broker *b, struct peer *p, const struct vs_error *why)
{
    refuse(b, p, why, false);
}

void peer_refuse(struct broker *b, struct peer *p, int code, const char *text)
{
    struct vs_error why;
    vs_error_set(&why, code, "%s", text);
    why.retry_after_ms = code == VS_E_BUSY ? RETRY_MS : 0;
    refuse(b, p, &why, false);
}

/* ---- places ---- */

static bool is_here(const struct peer *p)
{
    return !p->gone && !p->close_at;
}

/* Counts connections that have a place, or those of guests: for each process, and all. */
static unsigned count_peers(struct broker *b, bool guests)
{
    unsigned all = 0;
    for (struct client *c = b->clients; c; c = c->next)
        c->n_counted = 0;
    for (const struct peer *p = b->peers; p; p = p->next)
        if (is_here(p) && p->is_guest == guests) {
            p->client->n_counted++;
            all++;
        }
    return all;
}

/* The connection that is idle for longest, of the process that has most; NULL when none of it is idle. They have been counted. */
static struct peer *find_idle(const struct broker *b, bool guests, const struct peer *not_this, unsigned *ret_n)
{
    const struct client *most = NULL;
    for (const struct client *c = b->clients; c; c = c->next)
        if (c->n_counted && (!most || c->n_counted > most->n_counted))
            most = c;
    struct peer *found = NULL;
    for (struct peer *p = b->peers; p && most; p = p->next)
        if (p != not_this && is_here(p) && p->is_guest == guests && p->client == most && !p->n_requests && !p->is_private
            && (!found || p->served_at < found->served_at))
            found = p;
    *ret_n = most ? most->n_counted : 0;
    return found;
}

bool peer_has_place(struct broker *b, struct peer *p)
{
    if (!p->is_guest || p->is_private)
        return true;
    unsigned all = count_peers(b, false), mine = p->client->n_counted, places = b->settings.clients, most;
    if (mine >= (places >= 4 ? places / 4 * 3 : places))
        return false;
    if (all >= places) {
        struct peer *idle = find_idle(b, false, p, &most);
        if (!idle || most <= mine + 1)
            return false;
        peer_refuse(b, idle, VS_E_BUSY, "another process needed the place of this idle connection");
    }
    p->is_guest = false;
    return true;
}

/* A guest may always come: when there are too many, one that has its answers goes. */
static void welcome_guest(struct broker *b, struct peer *p)
{
    unsigned most;
    if (count_peers(b, true) <= MAX_GUESTS)
        return;
    struct peer *idle = find_idle(b, true, p, &most);
    peer_refuse(b, idle ? idle : p, VS_E_BUSY, "too many connections");
}

static struct client *client_of(struct broker *b, pid_t pid)
{
    struct client *c = b->clients;
    while (c && (c->person[0] || c->pid != pid))
        c = c->next;
    if (c || !(c = calloc(1, sizeof *c)))
        return c;
    c->pid = pid;
    c->number = ++b->last_client;
    c->memory = (struct vs_budget){ .limit = MAX_CLIENT_MEMORY, .above = &b->clients_memory };
    c->next = b->clients;
    b->clients = c;
    return c;
}

static unsigned state_of(const void *peer, uint64_t id)
{
    return request_find(peer, id) ? VS_AT_BEGUN : VS_AT_FREE;
}

struct peer *peer_add(struct broker *b, int fd, bool is_private)
{
    struct ucred who = { 0 };
    socklen_t n = sizeof who;
    struct peer *p = calloc(1, sizeof *p);
    struct client *c = p && getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n) == 0 ? client_of(b, who.pid) : NULL;
    if (!c) {
        free(p);
        close(fd);
        return NULL;
    }
    vs_conn_init(&p->conn, fd, &vs_ipc_from_client, VS_AT_START);
    p->conn.corked = true;              /* peer_flush */
    p->conn.state_of = state_of;
    p->conn.context = p;
    p->conn.budget = &p->memory;
    p->memory = (struct vs_budget){ .limit = MAX_PEER_MEMORY, .own = OWN_MEMORY, .above = &c->memory };
    p->client = c;
    c->n_peers++;
    p->uid = who.uid;
    p->pid = who.pid;
    p->owner = who.uid == NOBODY ? (int64_t)UINT32_MAX + (int64_t)++b->last_peer : (int64_t)who.uid;
    p->is_private = is_private;
    p->is_guest = true;
    p->byte_at = p->frame_at = p->served_at = b->now;
    memcpy(p->name, "?", 2);
    p->next = b->peers;
    b->peers = p;
    b->n_peers++;
    if (!is_private && who.uid != b->uid && who.uid != 0 && !b->has_group)
        peer_refuse(b, p, VS_E_DENIED, "this daemon belongs to another user");
    else if (!peer_has_place(b, p))
        welcome_guest(b, p);
    else
        p->is_guest = false;
    return p;
}

void peer_accept(struct broker *b)
{
    /* A few more than have a place may be there for a moment, to be told why they are refused. */
    for (int i = 0; i < 16 && b->n_peers < broker_connections(b) - 1; i++) {
        int fd = accept4(b->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != ECONNABORTED && errno != EINTR)
            b->accept_at = b->now + 100 * MS;   /* no descriptors, no memory: not at once again */
        if (fd < 0)
            return;
        peer_add(b, fd, false);
    }
}

/* ---- what clients say ---- */

static void welcome(struct broker *b, struct peer *p)
{
    struct vs_buf out = { 0 };
    json_t *hello = json_pack("{s:i, s:s, s:I, s:I, s:I}", "protocol", VS_PROTOCOL_VERSION, "server", "veritas/" VERITAS_VERSION,
                              "max_frame", (json_int_t)VS_MAX_FRAME, "credit", (json_int_t)VS_CREDIT_START, "max_credit",
                              (json_int_t)VS_CREDIT_MAX);
    if (peer_is_delegate(b, p))
        json_object_set_new(hello, "delegate", json_true());
    if (b->require_key && !p->is_private)
        json_object_set_new(hello, "needs_key", json_true());
    if (b->receipts == RECEIPTS_ALWAYS)
        json_object_set_new(hello, "receipts", json_true());
    if (p->who.name[0])
        json_object_set_new(hello, "who", who_json(&p->who));
    vs_json_dump(hello, &out);
    json_decref(hello);
    p->conn.state = VS_AT_OPEN;
    p->gone |= out.status != VS_OK;
    peer_send(b, p, VS_MSG_HELLO, 0, 0, out.data, out.n);
    vs_buf_clear(&out);
}

/* NULL: there is none. What is no text is "", which is nobody's. */
static const char *key_of(const json_t *hello)
{
    const json_t *key = json_object_get(hello, "key");
    const char *text = json_string_value(key);
    return !key || json_is_null(key) ? NULL : text && strlen(text) == json_string_length(key) ? text : "";
}

/* It stays nowhere in our memory. */
static void wipe_key(const json_t *hello, struct vs_frame *f)
{
    const json_t *key = json_object_get(hello, "key");
    if (json_is_string(key))
        explicit_bzero((char *)(uintptr_t)json_string_value(key), json_string_length(key));
    if (key)
        explicit_bzero((char *)(uintptr_t)f->data, f->n);
}

static void judge_key(struct broker *b, struct peer *p, const char *key)
{
    struct vs_error why;
    if (who_of_peer(b, p, key, &why) == VS_OK)
        welcome(b, p);
    else
        refuse(b, p, &why, false);
}

void peer_judge_late(struct broker *b, struct peer *p)
{
    char key[sizeof p->late_key];
    memcpy(key, p->late_key, sizeof key);
    explicit_bzero(p->late_key, sizeof p->late_key);
    if (!p->gone && !p->close_at)
        judge_key(b, p, key);
    explicit_bzero(key, sizeof key);
}

static void on_hello(struct broker *b, struct peer *p, struct vs_frame *f)
{
    struct vs_error why;
    json_t *hello = vs_json_parse(f->data, f->n, &why);
    if (!hello) {
        peer_refuse(b, p, VS_E_PROTOCOL, why.text);
        return;
    }
    json_int_t version = json_integer_value(json_object_get(hello, "protocol"));
    const char *name = json_string_value(json_object_get(hello, "client"));
    if (name && *name)
        snprintf(p->name, sizeof p->name, "%.*s", (int)(sizeof p->name - 1), name);
    p->name[vs_utf8_valid(p->name, strlen(p->name))] = 0;      /* cut within a character */
    const char *key = key_of(hello);
    if (version != VS_PROTOCOL_VERSION) {
        vs_error_set(&why, VS_E_PROTOCOL, "protocol %lld is not spoken here; protocol %d is", (long long)version,
                     VS_PROTOCOL_VERSION);
        refuse(b, p, &why, version == 1);
    } else if (key && who_may_come(b, p, key)) {
        snprintf(p->late_key, sizeof p->late_key, "%s", key);
        p->late_at = b->now + LATE_KEY_TIME;
    } else {
        judge_key(b, p, key);
    }
    wipe_key(hello, f);
    json_decref(hello);
}

static void on_credit(struct broker *b, struct peer *p, struct vs_frame *f)
{
    struct request *r = request_find(p, f->id);
    uint32_t n = vs_load_u32le(f->data);
    if (n == 0)
        peer_refuse(b, p, VS_E_PROTOCOL, "credit of 0 bytes");
    else if (!r)
        return;                         /* it has just ended; the client could not know */
    else if (n > VS_CREDIT_MAX - (r->run ? r->run->credit : r->credit))
        peer_refuse(b, p, VS_E_PROTOCOL, "a request may not have more than 1 MiB of credit");
    else
        model_credit(b, r, n);
}

static void on_cancel(struct broker *b, struct peer *p, struct vs_frame *f)
{
    struct request *r = request_find(p, f->id);
    if (r)
        model_cancel(b, r, VS_E_CANCELLED);
}

static const struct {
    uint16_t type;
    void (*take)(struct broker *b, struct peer *p, struct vs_frame *f);
} handlers[] = {
    { VS_MSG_HELLO, on_hello },
    { VS_MSG_CREDIT, on_credit },
    { VS_MSG_CANCEL, on_cancel },
#define ASK(name, ...) { VS_MSG_##name, ask_request },
    VS_REQUEST_MAP(ASK)
};
enum { N_HANDLERS = sizeof handlers / sizeof *handlers };

uint16_t peer_unhandled(void)
{
    uint16_t type = vs_ipc_unhandled(&vs_ipc_from_client, handlers, N_HANDLERS, sizeof *handlers);
    return type ? type : ask_unhandled();
}

bool peer_is_heard(const struct peer *p)
{
    return is_here(p) && vs_conn_queued(&p->conn) <= MAX_LISTEN && !p->late_key[0];
}

/* Too many descriptors wait for their frame: the one that waits longest goes, with its connection. */
static void limit_descriptors(struct broker *b)
{
    struct peer *first = NULL;
    unsigned n = 0, n_descriptors = 0;
    for (struct peer *p = b->peers; p; p = p->next) {
        bool waits = is_here(p) && p->descriptor_at;
        n += waits;
        n_descriptors += waits ? p->conn.came.n : 0;
        if (waits && (!first || p->descriptor_at < first->descriptor_at))
            first = p;
    }
    if (n > MAX_DESCRIPTORS || n_descriptors > MAX_DESCRIPTORS + b->spare_files / 2)
        peer_refuse(b, first, VS_E_PROTOCOL, "a descriptor came without the message that takes it, and others need its place");
}

/* Takes a client's part of the turn. */
static void take_frames(struct broker *b, struct peer *p)
{
    struct vs_frame f;
    struct vs_error why;
    int status = VS_OK, n = 0;
    while (peer_is_heard(p) && n < MAX_TURN && (status = vs_conn_next(&p->conn, &f, &why)) == VS_OK) {
        handlers[vs_ipc_handler(handlers, N_HANDLERS, sizeof *handlers, f.type)].take(b, p, &f);
        if (f.fd >= 0)
            close(f.fd);
        p->frame_at = p->served_at = b->now;
        n++;
    }
    p->has_more = status == VS_OK;
    if (status != VS_OK && status != VS_E_BUSY)
        peer_refuse(b, p, status, why.text);
    if (!vs_conn_is_partial(&p->conn))
        p->frame_at = 0;
    else if (!p->frame_at)
        p->frame_at = b->now;
    if (!p->conn.came.n || p->has_more)
        p->descriptor_at = 0;           /* what waits for us does not count */
    else if (!p->descriptor_at) {
        p->descriptor_at = b->now;
        limit_descriptors(b);
    }
}

/* Reads what came. False: nothing is to be taken of it. */
static bool hear(struct broker *b, struct peer *p)
{
    int status = vs_conn_read(&p->conn);
    if (status == VS_E_BUSY)
        return false;
    if (status == VS_E_PROTOCOL || status == VS_E_LIMIT) {
        peer_refuse(b, p, status, status == VS_E_LIMIT ? "there is no room for what came; too much waits already"
                                                       : "descriptors came that no message asked for");
        return false;
    }
    if (status == VS_E_DIED && vs_conn_is_partial(&p->conn))
        broker_log(b, "client %s (pid %d): closed within a frame", p->name, (int)p->pid);
    p->gone = status != VS_OK;
    p->byte_at = b->now;
    return !p->gone;
}

void peer_ready(struct broker *b, struct peer *p, short events)
{
    if (p->gone)
        return;
    if (events & POLLOUT) {
        p->is_stalled = false;
        peer_flush(p);
    }
    if (p->gone)
        return;
    if (p->close_at)
        p->gone = events & (POLLHUP | POLLERR) || vs_conn_queued(&p->conn) == 0;
    else if (!peer_is_heard(p))
        p->gone = events & (POLLHUP | POLLERR);
    else if (p->has_more || (events & (POLLIN | POLLHUP | POLLERR) && hear(b, p)))
        take_frames(b, p);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t peer_timers(struct broker *b, struct peer *p)
{
    uint64_t next = NEVER;
    if (p->gone)
        return NEVER;
    if (p->close_at) {
        p->gone = b->now >= p->close_at || vs_conn_queued(&p->conn) == 0;
        return p->gone ? b->now : p->close_at;
    }
    if (p->late_key[0] && b->now >= p->late_at)
        peer_judge_late(b, p);
    if (p->late_key[0])
        return p->late_at;
    bool waits = vs_conn_is_partial(&p->conn) || p->conn.state == VS_AT_START;
    if (waits && !p->has_more && !p->is_private) {
        next = earlier(p->byte_at + FRAME_SILENCE, p->frame_at + FRAME_TIME);
        if (b->now >= next)
            peer_refuse(b, p, VS_E_TIMEOUT, p->conn.state == VS_AT_START ? "no whole HELLO came within 10 seconds"
                                                                        : "a frame was begun and not finished in time");
    }
    if (p->descriptor_at) {
        next = earlier(next, p->descriptor_at + DESCRIPTOR_TIME);
        if (b->now >= p->descriptor_at + DESCRIPTOR_TIME)
            peer_refuse(b, p, VS_E_PROTOCOL, "a descriptor came, and within a second no message that takes it");
    }
    for (struct request *r = p->requests; r; r = r->peer_next) {
        bool is_over = r->place == PLACE_ENDED || r->place == PLACE_CLOSING;
        if (r->late_key && !is_over && b->now >= r->late_at)
            ask_judge_late(b, r);
        else if (r->late_key && !is_over)
            next = earlier(next, r->late_at);
        if (is_over || b->now < r->deadline) {
            next = is_over ? next : earlier(next, r->deadline);
            continue;
        }
        r->deadline = NEVER;
        model_cancel(b, r, VS_E_TIMEOUT);
    }
    return p->close_at ? b->now : next;
}
