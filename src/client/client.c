/* client/client.c - see client.h */
#include "client/internal.h"
#include "client/receipt.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "ipc/envelope.h"
#include "ipc/frame.h"
#include "ipc/json.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define HELLO_MS 10000                  /* a daemon answers HELLO at once; a private one has to start first */
#define MAX_CREDIT (16u << 20)          /* more at once is not believed */

struct begun {                          /* a request that has not ended */
    uint64_t id;
    uint32_t owed;                      /* bytes consumed and not yet credited */
    struct vs_joined *receipt;          /* what came of it, for its receipt; NULL: there can be none */
};

struct vs_client {
    struct vs_conn conn;
    struct vs_files came;               /* of the last event: descriptors that are ours to close */
    pid_t child;                        /* private daemon, or 0 */
    uint64_t next_id;
    struct begun *begun;
    size_t n_begun, room_begun;
    bool needs_key;                     /* the daemon says so */
    uint32_t credit;                    /* that a request begins with; a quarter is given back at once */
    bool is_read;                       /* of what came, no whole frame is left */
    json_t *json;                       /* of the last event */
    struct vs_error lost;               /* why the connection ended; code VS_OK while it lives */
    uint64_t consumed_id;               /* request and bytes of the last event, consumed when the next is asked for */
    uint32_t consumed;
    const sigset_t *wait_mask;
};

static const char *named_path(void)
{
    const char *path = getenv("VERITAS_SOCKET");
    return path && *path ? path : NULL;
}

static bool is_our_folder(const char *path, bool or_missing)
{
    struct stat st;
    if (lstat(path, &st) != 0)
        return or_missing && errno == ENOENT;
    return S_ISDIR(st.st_mode) && st.st_uid == geteuid();
}

int vs_client_socket_path(char *ret, size_t n)
{
    const char *path = named_path(), *dir = getenv("XDG_RUNTIME_DIR");
    int length;
    if (path)
        length = snprintf(ret, n, "%s", path);
    else if (dir && *dir == '/' && is_our_folder(dir, false))
        length = snprintf(ret, n, "%s/veritas/veritas.sock", dir);
    else
        length = snprintf(ret, n, "/tmp/veritas-%u/veritas/veritas.sock", (unsigned)getuid());
    return length < 0 || (size_t)length >= n ? VS_E_LIMIT : VS_OK;
}

int vs_client_place_check(const char *path, struct vs_error *err)
{
    if (named_path())
        return VS_OK;
    char folder[sizeof ((struct sockaddr_un *)0)->sun_path];
    snprintf(folder, sizeof folder, "%s", path);
    for (int i = 0; i < 2; i++) {
        char *slash = strrchr(folder, '/');
        if (!slash || slash == folder)
            return VS_OK;
        *slash = 0;
        if (!is_our_folder(folder, true))
            return vs_error_set(err, VS_E_DENIED, "%s is not a directory of this user, so no daemon of yours can listen there; "
                                "--socket or VERITAS_SOCKET names another place", folder);
    }
    return VS_OK;
}

/* The connection is over: remembers why, so that every later call says the same. TIMEOUT is not said: it means "ask again". */
static int lose(struct vs_client *c, int code, const char *text, struct vs_error *err)
{
    if (c->lost.code == VS_OK)
        vs_error_set(&c->lost, code == VS_E_TIMEOUT ? VS_E_DIED : code, "%s", text);
    if (err)
        *err = c->lost;
    return c->lost.code;
}

static const char lost_text[] = "the daemon closed the connection";

/* Milliseconds until `end` (UINT64_MAX = never) as poll wants them. */
static int left_ms(uint64_t end)
{
    if (end == UINT64_MAX)
        return -1;
    uint64_t now = vs_clock_ns();
    return now >= end ? 0 : (int)((end - now + 999999) / 1000000);
}

static uint64_t end_of(int timeout_ms)
{
    return timeout_ms < 0 ? UINT64_MAX : vs_clock_ns() + (uint64_t)timeout_ms * 1000000;
}

/* Waits until the socket can be read, or written while bytes are queued. VS_OK, or VS_E_TIMEOUT. */
static int wait_for(struct vs_client *c, uint64_t end, bool stop_at_signal, struct vs_error *err)
{
    struct pollfd p = { c->conn.fd, (short)(POLLIN | (vs_client_wants_write(c) ? POLLOUT : 0)), 0 };
    int wait = left_ms(end);
    struct timespec t = { wait / 1000, wait % 1000 * 1000000L };
    int n = ppoll(&p, 1, wait < 0 ? NULL : &t, stop_at_signal ? c->wait_mask : NULL);
    if (n == 0)
        return vs_error_set(err, VS_E_TIMEOUT, "no answer in time");
    if (n < 0 && errno == EINTR && stop_at_signal)
        return vs_error_set(err, VS_E_TIMEOUT, "interrupted by a signal");
    return n < 0 && errno != EINTR ? lose(c, VS_E_SYSTEM, strerror(errno), err) : VS_OK;
}

/* One whole frame, or VS_E_TIMEOUT. Queued bytes go out meanwhile. */
static int next_frame(struct vs_client *c, uint64_t end, bool stop_at_signal, struct vs_frame *ret, struct vs_error *err)
{
    for (;;) {
        if (c->lost.code != VS_OK)
            return lose(c, 0, "", err);
        if (vs_client_wants_write(c))
            vs_conn_flush(&c->conn);    /* VS_E_DIED here shows at the next read, after what the daemon still said */
        struct vs_error why;
        int status = vs_conn_next(&c->conn, ret, &why);
        c->is_read = status != VS_OK;
        if (status == VS_OK)
            return VS_OK;
        if (status != VS_E_BUSY)
            return lose(c, VS_E_PROTOCOL, why.text, err);
        status = vs_conn_read(&c->conn);
        if (status == VS_E_BUSY)
            status = wait_for(c, end, stop_at_signal, err);
        else if (status != VS_OK)
            status = lose(c, status, status == VS_E_DIED ? lost_text : vs_status_text(status), err);
        if (status != VS_OK)
            return status;
    }
}

static struct begun *find(const struct vs_client *c, uint64_t id)
{
    for (size_t i = 0; i < c->n_begun; i++)
        if (c->begun[i].id == id)
            return &c->begun[i];
    return NULL;
}

static unsigned state_of(const void *client, uint64_t id)
{
    return find(client, id) ? VS_AT_BEGUN : VS_AT_FREE;
}

static int request_begin(struct vs_client *c, uint64_t id)
{
    if (c->n_begun == c->room_begun) {
        size_t room = c->room_begun ? 2 * c->room_begun : 16;
        struct begun *more = realloc(c->begun, room * sizeof *more);
        if (!more)
            return VS_E_NOMEM;
        c->begun = more;
        c->room_begun = room;
    }
    c->begun[c->n_begun++] = (struct begun){ .id = id };
    return VS_OK;
}

static void request_end(struct vs_client *c, uint64_t id)
{
    struct begun *b = find(c, id);
    if (!b)
        return;
    vs_joined_free(b->receipt);
    *b = c->begun[--c->n_begun];
}

/* In portions of a quarter of the window. */
void vs_client_consume(struct vs_client *c, uint64_t id, uint32_t bytes)
{
    struct begun *b = find(c, id);
    if (!b || (b->owed += bytes) < c->credit / 4)
        return;
    uint8_t payload[4];
    vs_store_u32le(payload, b->owed);
    b->owed = 0;
    vs_conn_send(&c->conn, VS_MSG_CREDIT, 0, id, payload, sizeof payload, -1);
}

void vs_client_keep(struct vs_client *c)
{
    c->consumed = 0;
}

bool vs_client_needs_key(const struct vs_client *c)
{
    return c->needs_key;
}

uint32_t vs_client_credit(const struct vs_client *c)
{
    return c->credit;
}

int vs_client_fd(const struct vs_client *c)
{
    return c->lost.code == VS_OK ? c->conn.fd : -1;
}

bool vs_client_wants_write(const struct vs_client *c)
{
    return vs_conn_queued(&c->conn) > 0;
}

bool vs_client_has_more(const struct vs_client *c)
{
    return !c->is_read && vs_conn_is_partial(&c->conn);
}

static int set_json(struct vs_client *c, const void *data, size_t n, struct vs_event *e, struct vs_error *err)
{
    struct vs_error why;
    c->json = vs_json_parse(data, n, &why);
    e->json = c->json;
    return c->json ? VS_OK : lose(c, VS_E_PROTOCOL, why.text, err);
}

static int on_json(struct vs_client *c, const struct vs_frame *f, struct vs_event *e, struct vs_error *err)
{
    return set_json(c, f->data, f->n, e, err);
}

static int on_token(struct vs_client *c, const struct vs_frame *f, struct vs_event *e, struct vs_error *err)
{
    struct vs_token_view t;
    if (!vs_token_parse(f, &t))
        return lose(c, VS_E_PROTOCOL, "malformed token frame", err);
    e->token = t.id;
    e->index = t.index;
    e->part = t.part;
    e->text = t.text;
    e->n = t.text_bytes;
    e->credit_bytes = f->n;
    vs_joined_token(find(c, f->id)->receipt, &t);
    return t.extra ? set_json(c, t.extra, t.extra_bytes, e, err) : VS_OK;
}

static int on_data(struct vs_client *c, const struct vs_frame *f, struct vs_event *e, struct vs_error *err)
{
    (void)c;
    (void)err;
    e->text = (const char *)f->data;
    e->n = f->n;
    e->credit_bytes = f->n;
    return VS_OK;
}

/* The result as one object: the body, and what of the envelope is not an error. */
static int set_result(struct vs_client *c, const struct vs_payload *p, struct vs_event *e)
{
    c->json = p->body_bytes ? vs_json_parse(p->body, p->body_bytes, &e->error) : json_object();
    if (!c->json)
        return e->error.code;
    json_t *envelope = vs_json_parse(p->envelope, p->envelope_bytes, NULL);
    json_object_update(c->json, envelope);
    json_decref(envelope);
    e->json = c->json;
    return VS_OK;
}

static int take_end(struct vs_client *c, const struct vs_frame *f, struct vs_event *e, struct vs_payload *p, struct vs_error *err)
{
    struct vs_error why;
    if (c->conn.state == VS_AT_START && f->n && f->data[0] == '{') {
        json_t *old = vs_json_parse(f->data, f->n, NULL);   /* a daemon of protocol 1 says so in its own way */
        vs_json_to_error(old, &why);
        json_decref(old);
        return lose(c, why.code, why.text, err);
    }
    if (vs_payload_split(f->data, f->n, VS_MAX_ENVELOPE, p, &why) != VS_OK
        || vs_outcome_error(p->envelope, p->envelope_bytes, &e->error, &e->hints, &why) != VS_OK)
        return lose(c, VS_E_PROTOCOL, why.text, err);
    if ((f->type == VS_MSG_COMPLETE) != (e->error.code == VS_OK))
        return lose(c, VS_E_PROTOCOL, "a request ended with the wrong envelope", err);
    e->error.retry_after_ms = e->hints.retry_after_ms;
    if (f->id == 0) {
        lose(c, e->error.code, e->error.text, NULL);
        c->lost.retry_after_ms = e->error.retry_after_ms;
        return lose(c, 0, "", err);
    }
    if (f->type == VS_MSG_COMPLETE && set_result(c, p, e) != VS_OK)
        e->kind = VS_MSG_ERROR;         /* a body that can't be read fails its request */
    return VS_OK;
}

/* What its receipt is made of goes into e->json. */
static void add_receipt(struct vs_client *c, struct vs_joined *joined, const struct vs_payload *p, struct vs_event *e)
{
    json_t *envelope = vs_json_parse(p->envelope, p->envelope_bytes, NULL), *result = c->json;
    if (!result && p->body_bytes)       /* of an error: what its receipt is made of, and nothing else */
        result = vs_json_parse(p->body, p->body_bytes, NULL);
    if (!json_is_object(result)) {
        json_decref(result);
        result = json_object();
    }
    vs_joined_add(joined, envelope, result);
    json_decref(envelope);
    if (!c->json)
        json_object_del(result, "prompt_tokens");
    if (!c->json && json_object_size(result))
        e->json = c->json = result;
    else if (!c->json)
        json_decref(result);
}

static int on_receipt(struct vs_client *c, const struct vs_frame *f, struct vs_event *e, struct vs_error *err)
{
    (void)e;
    struct begun *b = find(c, f->id);
    if (!b->receipt)
        b->receipt = vs_joined_create();
    bool good = b->receipt && vs_joined_signed(b->receipt, f);
    return good ? VS_OK : lose(c, VS_E_PROTOCOL, "malformed receipt frame", err);
}

static int on_files(struct vs_client *c, const struct vs_frame *f, struct vs_event *e, struct vs_error *err)
{
    c->came = (struct vs_files){ f->fd >= 0, { f->fd } };
    e->files = c->came;
    for (unsigned i = 0; i < c->conn.more.n; i++)
        e->files.fd[e->files.n++] = c->conn.more.fd[i];
    return set_json(c, f->data, f->n, e, err);
}

static int on_end(struct vs_client *c, const struct vs_frame *f, struct vs_event *e, struct vs_error *err)
{
    struct vs_payload p;
    struct begun *b = find(c, f->id);
    struct vs_joined *joined = b ? b->receipt : NULL;
    if (b)
        b->receipt = NULL;
    request_end(c, f->id);
    int status = take_end(c, f, e, &p, err);
    if (status == VS_OK)
        add_receipt(c, joined, &p, e);
    vs_joined_free(joined);
    return status;
}

static const struct {
    uint16_t type;
    int (*take)(struct vs_client *c, const struct vs_frame *f, struct vs_event *e, struct vs_error *err);
} takers[] = {
    { VS_MSG_HELLO, on_json },         { VS_MSG_TOKEN, on_token },      { VS_MSG_DATA, on_data },     { VS_MSG_PROGRESS, on_json },
    { VS_MSG_COMPLETE, on_end },       { VS_MSG_REJECTED, on_end },     { VS_MSG_ERROR, on_end },
    { VS_MSG_RECEIPT, on_receipt },    { VS_MSG_FILES, on_files },
};

static int next_event(struct vs_client *c, uint64_t end, bool stop_at_signal, struct vs_event *ret, struct vs_error *err)
{
    vs_client_consume(c, c->consumed_id, c->consumed);
    json_decref(c->json);
    c->json = NULL;
    c->consumed = 0;
    vs_files_close(&c->came);
    struct vs_frame f;
    int status;
    do {                                /* what is signed is no event: it is joined with the end */
        status = next_frame(c, end, stop_at_signal, &f, err);
        if (status != VS_OK)
            return status;
        memset(ret, 0, sizeof *ret);
        ret->kind = f.type;
        ret->request = f.id;
        ret->is_last = vs_message_is_terminal(f.type);
        status = takers[vs_ipc_handler(takers, sizeof takers / sizeof *takers, sizeof *takers, f.type)].take(c, &f, ret, err);
    } while (status == VS_OK && f.type == VS_MSG_RECEIPT);
    c->consumed_id = f.id;
    c->consumed = ret->credit_bytes;
    return status;
}

/* Queues a frame and sends what the socket takes. */
static int send_frame(struct vs_client *c, uint16_t type, uint64_t id, const void *data, size_t n, const struct vs_files *files,
                      struct vs_error *err)
{
    static const struct vs_files none;
    if (c->lost.code != VS_OK)
        return lose(c, 0, "", err);
    int status = vs_conn_send_files(&c->conn, type, id, data, n, files ? files : &none);
    if (status == VS_OK || status == VS_E_DIED)             /* why it hung up is among what it still said: vs_client_next */
        return VS_OK;
    return vs_error_set(err, status, "%s", status == VS_E_BUSY ? "the descriptor of an earlier request has not gone out yet"
                        : vs_status_text(status));
}

/* The credit that a request begins with, as far as the daemon's word for it can be. */
static uint32_t credit_of(const json_t *hello)
{
    json_int_t credit = json_integer_value(json_object_get(hello, "credit"));
    return credit < 4 ? VS_CREDIT_START : credit < MAX_CREDIT ? (uint32_t)credit : MAX_CREDIT;
}

/* A secret does not stay in memory that is given back. */
static void wipe(const json_t *object, const char *key)
{
    const json_t *v = json_object_get(object, key);
    if (json_is_string(v))
        explicit_bzero((char *)(uintptr_t)json_string_value(v), json_string_length(v));
}

static int hello(struct vs_client *c, const char *name, const char *key, struct vs_error *err)
{
    struct vs_buf out = { 0 };
    json_t *value = json_pack("{s:i, s:o}", "protocol", VS_PROTOCOL_VERSION, "client", vs_json_text(name, strlen(name)));
    if (key && *key)
        json_object_set_new(value, "key", vs_json_text(key, strlen(key)));
    vs_json_dump(value, &out);
    wipe(value, "key");
    json_decref(value);
    int status = out.status;
    if (status != VS_OK)
        vs_error_set(err, status, "%s", vs_status_text(status));
    else
        status = send_frame(c, VS_MSG_HELLO, 0, out.data, out.n, NULL, err);
    if (out.data)
        explicit_bzero(out.data, out.n);
    vs_buf_clear(&out);
    if (status != VS_OK)
        return status;
    struct vs_event e;
    status = next_event(c, end_of(HELLO_MS), false, &e, err);
    if (status != VS_OK)
        return status;
    if (json_integer_value(json_object_get(e.json, "protocol")) != VS_PROTOCOL_VERSION)
        return vs_error_set(err, VS_E_PROTOCOL, "the daemon does not speak protocol %d", VS_PROTOCOL_VERSION);
    c->conn.state = VS_AT_OPEN;
    c->credit = credit_of(e.json);
    c->needs_key = json_is_true(json_object_get(e.json, "needs_key"));
    return VS_OK;
}

static struct vs_client *new_on(int fd, pid_t child)
{
    struct vs_client *c = calloc(1, sizeof *c);
    if (!c) {
        close(fd);
        return NULL;
    }
    vs_conn_init(&c->conn, fd, &vs_ipc_to_client, VS_AT_START);
    c->conn.state_of = state_of;
    c->conn.context = c;
    c->child = child;
    return c;
}

/* Takes over fd and child. */
int vs_client_open_on(int fd, pid_t child, const char *name, const char *key, struct vs_client **ret, struct vs_error *err)
{
    struct vs_client *c = new_on(fd, child);
    if (!c)
        return vs_error_set(err, VS_E_NOMEM, "%s", vs_status_text(VS_E_NOMEM));
    uint16_t unhandled = vs_ipc_unhandled(&vs_ipc_to_client, takers, sizeof takers / sizeof *takers, sizeof *takers);
    int status = unhandled ? vs_error_set(err, VS_E_PROTOCOL, "message '%s' has no handler or no row", vs_message_name(unhandled))
        : hello(c, name ? name : "unnamed", key, err);
    if (status != VS_OK) {
        vs_client_close(c);
        return status;
    }
    *ret = c;
    return VS_OK;
}

/* With the caller's key, or that of VERITAS_KEY_FILE. */
static int open_with_key(int fd, const char *name, const char *key, struct vs_client **ret, struct vs_error *err)
{
    char own[VS_CLIENT_KEY_BYTES] = "";
    int rc = key ? VS_OK : vs_client_key_read(own, err);
    if (rc != VS_OK) {
        close(fd);
        return rc;
    }
    rc = vs_client_open_on(fd, 0, name, key ? key : own, ret, err);
    explicit_bzero(own, sizeof own);
    return rc;
}

/* Another user's daemon, at a place that was named: nobody but him can have put its socket there. */
static bool is_his_place(const char *path, uid_t uid)
{
    char folder[sizeof ((struct sockaddr_un *)0)->sun_path];
    struct stat st;
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (!slash || slash == folder)
        return false;
    *slash = 0;
    return lstat(folder, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == uid && !(st.st_mode & 022);
}

int vs_client_connect(const char *path, const char *name, const char *key, struct vs_client **ret, struct vs_error *err)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int status = VS_OK;
    if (path && strlen(path) < sizeof address.sun_path)
        memcpy(address.sun_path, path, strlen(path) + 1);
    else
        status = path ? VS_E_LIMIT : vs_client_socket_path(address.sun_path, sizeof address.sun_path);
    if (status != VS_OK)
        return vs_error_set(err, status, "the socket's path is longer than %zu bytes; set VERITAS_SOCKET to a shorter one",
                            sizeof address.sun_path - 1);
    struct vs_error why;
    if (!path && vs_client_place_check(address.sun_path, &why) != VS_OK)
        return vs_error_set(err, VS_E_NOT_FOUND, "%s", why.text);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return vs_error_set(err, VS_E_SYSTEM, "socket: %s", strerror(errno));
    struct timeval patience = { HELLO_MS / 1000, 0 };      /* with those who come before; ours never waits when it sends */
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    int refused;
    do
        refused = connect(fd, (struct sockaddr *)&address, sizeof address);
    while (refused != 0 && errno == EINTR);             /* the line of those who want in was full, and a signal came */
    if (refused != 0) {
        int e = errno;
        close(fd);
        if (e == ENOENT || e == ECONNREFUSED || e == ENOTDIR)
            return vs_error_set(err, VS_E_NOT_FOUND, "no daemon listens at %s; start one with `veritas serve`", address.sun_path);
        if (e == EAGAIN)
            return vs_error_set(err, VS_E_BUSY, "the daemon at %s takes no connection", address.sun_path);
        if (e == EACCES || e == EPERM)
            return vs_error_set(err, VS_E_DENIED, "%s belongs to somebody else", address.sun_path);
        return vs_error_set(err, VS_E_SYSTEM, "%s: %s", address.sun_path, strerror(e));
    }
    /* A socket in a shared folder proves nothing: the daemon behind it must be ours, or root's, or he must be the one we meant. */
    struct ucred peer;
    socklen_t n = sizeof peer;
    bool is_known = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) == 0;
    if (!is_known || (peer.uid != geteuid() && peer.uid != 0
                      && !((path || named_path()) && is_his_place(address.sun_path, peer.uid)))) {
        close(fd);
        return vs_error_set(err, VS_E_DENIED, "the daemon at %s runs as another user", address.sun_path);
    }
    status = open_with_key(fd, name, key, ret, err);
    return status != VS_E_DIED ? status       /* a broker on its way out still has the socket */
        : vs_error_set(err, VS_E_NOT_FOUND, "the daemon at %s ended before it answered", address.sun_path);
}

int vs_client_adopt(int fd, const char *name, const char *key, struct vs_client **ret, struct vs_error *err)
{
    return open_with_key(fd, name, key, ret, err);
}

int vs_client_detach(struct vs_client *c, int *ret_fd, uint32_t *ret_credit)
{
    if (c->lost.code != VS_OK || c->n_begun || vs_client_wants_write(c) || vs_conn_is_partial(&c->conn))
        return c->lost.code != VS_OK ? c->lost.code : VS_E_BUSY;
    *ret_fd = c->conn.fd;
    *ret_credit = c->credit;
    c->conn.fd = -1;
    vs_error_set(&c->lost, VS_E_DIED, "the connection was handed on");
    return VS_OK;
}

int vs_client_resume(int fd, uint32_t credit, struct vs_client **ret, struct vs_error *err)
{
    struct vs_client *c = new_on(fd, 0);
    if (!c)
        return vs_error_set(err, VS_E_NOMEM, "%s", vs_status_text(VS_E_NOMEM));
    c->conn.state = VS_AT_OPEN;
    c->credit = credit;
    *ret = c;
    return VS_OK;
}

void vs_client_close(struct vs_client *c)
{
    if (!c)
        return;
    vs_conn_clear(&c->conn);
    if (c->child > 0) {
        /* It ends by itself when the connection does; one that doesn't is ended. */
        uint64_t end = end_of(2000);
        while (waitpid(c->child, NULL, WNOHANG) == 0) {
            if (vs_clock_ns() > end) {
                kill(c->child, SIGKILL);
                while (waitpid(c->child, NULL, 0) < 0 && errno == EINTR) { }
                break;
            }
            struct timespec nap = { 0, 2000000 };
            nanosleep(&nap, NULL);
        }
    }
    json_decref(c->json);
    vs_files_close(&c->came);
    for (size_t i = 0; i < c->n_begun; i++)
        vs_joined_free(c->begun[i].receipt);
    free(c->begun);
    free(c);
}

/* One object into two: the keys of the envelope, then the others, if there are any. */
static int make_payload(const json_t *request, const struct vs_ipc_rule *rule, struct vs_buf *out)
{
    json_t *envelope = json_object(), *body = json_object(), *value;
    const char *key;
    int failed = !envelope || !body;
    json_object_foreach((json_t *)(uintptr_t)request, key, value)
        failed |= json_object_set(vs_head_is_key(key, rule->keys) ? envelope : body, key, value);
    size_t begin = vs_payload_begin(out);
    vs_json_dump(envelope, out);
    vs_payload_end(out, begin);
    int status = out->n - begin > 4 + (size_t)rule->envelope ? VS_E_LIMIT : out->status;
    if (json_object_size(body) > 0)
        vs_json_dump(body, out);
    json_decref(envelope);
    json_decref(body);
    return failed ? VS_E_NOMEM : status != VS_OK ? status : out->status;
}

/* A request has begun. Of each answer a receipt may come, asked for or not: the policy may change at any time. VS_E_NOMEM. */
static int expect_receipt(struct vs_client *c, uint16_t type, uint64_t id)
{
    if (type != VS_MSG_GENERATE && type != VS_MSG_CHAT)
        return VS_OK;
    struct begun *b = find(c, id);
    b->receipt = vs_joined_create();
    return b->receipt ? VS_OK : VS_E_NOMEM;
}

int vs_client_request(struct vs_client *c, uint16_t type, const json_t *request, const struct vs_files *files, uint64_t *ret_id,
                      struct vs_error *err)
{
    const struct vs_ipc_rule *rule = vs_ipc_rule_find(&vs_ipc_from_client, type);
    if (!rule || !vs_message_is_request(type))
        return vs_error_set(err, VS_E_INVALID, "'%s' is not a request", vs_message_name(type));
    if (files && files->n && !(rule->flags & VS_FLAG_FD))
        return vs_error_set(err, VS_E_INVALID, "'%s' takes no descriptor", vs_message_name(type));
    struct vs_buf out = { .limit = rule->max };
    int status = make_payload(request, rule, &out);
    if (status == VS_E_LIMIT)
        vs_error_set(err, status, "the request is larger than %u bytes", rule->max);
    else if (status != VS_OK)
        vs_error_set(err, status, "%s", vs_status_text(status));
    else if (request_begin(c, ++c->next_id) != VS_OK || expect_receipt(c, type, c->next_id) != VS_OK)
        status = vs_error_set(err, VS_E_NOMEM, "%s", vs_status_text(VS_E_NOMEM));
    else
        status = send_frame(c, type, c->next_id, out.data, out.n, files, err);
    if (status != VS_OK)
        request_end(c, c->next_id);
    vs_buf_clear(&out);
    if (status == VS_OK && ret_id)
        *ret_id = c->next_id;
    return status;
}

void vs_client_wait_with(struct vs_client *c, const sigset_t *mask)
{
    c->wait_mask = mask;
}

int vs_client_next(struct vs_client *c, int timeout_ms, struct vs_event *ret, struct vs_error *err)
{
    return next_event(c, end_of(timeout_ms), true, ret, err);
}

int vs_client_cancel(struct vs_client *c, uint64_t id, struct vs_error *err)
{
    return send_frame(c, VS_MSG_CANCEL, id, NULL, 0, NULL, err);
}

int vs_client_call(struct vs_client *c, uint16_t type, const json_t *request, const struct vs_files *files, json_t **ret_result,
                   struct vs_error *err)
{
    uint64_t id;
    int status = vs_client_request(c, type, request, files, &id, err);
    if (status != VS_OK)
        return status;
    struct vs_event e;
    do
        status = next_event(c, UINT64_MAX, false, &e, err);
    while (status == VS_OK && !(e.is_last && e.request == id));
    if (status != VS_OK)
        return status;
    if (e.kind != VS_MSG_COMPLETE)
        return vs_error_set(err, e.error.code, "%s", e.error.text);
    if (ret_result)
        *ret_result = json_incref(e.json);
    return VS_OK;
}

bool vs_client_is_private(const struct vs_client *c)
{
    return c->child > 0;
}
