/* client/client.c - see client.h */
#include "client/client.h"

#include "base/bytes.h"
#include "base/child.h"
#include "base/clock.h"
#include "ipc/envelope.h"
#include "ipc/frame.h"
#include "ipc/json.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
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
#define PRIVATE_FD 3
#define MAX_CREDIT (16u << 20)          /* more at once is not believed */

struct begun {                          /* a request that has not ended */
    uint64_t id;
    uint32_t owed;                      /* bytes consumed and not yet credited */
};

struct vs_client {
    struct vs_conn conn;
    pid_t child;                        /* private daemon, or 0 */
    uint64_t next_id;
    struct begun *begun;
    size_t n_begun, room_begun;
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
    return vs_error_set(err, c->lost.code, "%s", c->lost.text);
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
    c->begun[c->n_begun++] = (struct begun){ id, 0 };
    return VS_OK;
}

static void request_end(struct vs_client *c, uint64_t id)
{
    struct begun *b = find(c, id);
    if (b)
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
    e->text = t.text;
    e->n = t.text_bytes;
    e->credit_bytes = f->n;
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

static int on_end(struct vs_client *c, const struct vs_frame *f, struct vs_event *e, struct vs_error *err)
{
    struct vs_payload p;
    struct vs_error why;
    request_end(c, f->id);
    if (c->conn.state == VS_AT_START && f->n && f->data[0] == '{') {
        json_t *old = vs_json_parse(f->data, f->n, NULL);   /* a daemon of protocol 1 says so in its own way */
        vs_json_to_error(old, &why);
        json_decref(old);
        return lose(c, why.code, why.text, err);
    }
    if (vs_payload_split(f->data, f->n, VS_MAX_ENVELOPE, &p, &why) != VS_OK
        || vs_outcome_error(p.envelope, p.envelope_bytes, &e->error, &e->hints, &why) != VS_OK)
        return lose(c, VS_E_PROTOCOL, why.text, err);
    if ((f->type == VS_MSG_COMPLETE) != (e->error.code == VS_OK))
        return lose(c, VS_E_PROTOCOL, "a request ended with the wrong envelope", err);
    if (f->id == 0)
        return lose(c, e->error.code, e->error.text, err);
    if (f->type == VS_MSG_COMPLETE && set_result(c, &p, e) != VS_OK)
        e->kind = VS_MSG_ERROR;         /* a body that can't be read fails its request */
    return VS_OK;
}

static const struct {
    uint16_t type;
    int (*take)(struct vs_client *c, const struct vs_frame *f, struct vs_event *e, struct vs_error *err);
} takers[] = {
    { VS_MSG_HELLO, on_json },         { VS_MSG_TOKEN, on_token },      { VS_MSG_DATA, on_data },     { VS_MSG_PROGRESS, on_json },
    { VS_MSG_COMPLETE, on_end },       { VS_MSG_REJECTED, on_end },     { VS_MSG_ERROR, on_end },
};

static int next_event(struct vs_client *c, uint64_t end, bool stop_at_signal, struct vs_event *ret, struct vs_error *err)
{
    vs_client_consume(c, c->consumed_id, c->consumed);
    json_decref(c->json);
    c->json = NULL;
    c->consumed = 0;
    struct vs_frame f;
    int status = next_frame(c, end, stop_at_signal, &f, err);
    if (status != VS_OK)
        return status;
    memset(ret, 0, sizeof *ret);
    ret->kind = f.type;
    ret->request = f.id;
    ret->is_last = vs_message_is_terminal(f.type);
    status = takers[vs_ipc_handler(takers, sizeof takers / sizeof *takers, sizeof *takers, f.type)].take(c, &f, ret, err);
    c->consumed_id = f.id;
    c->consumed = ret->credit_bytes;
    return status;
}

/* Queues a frame and sends what the socket takes. */
static int send_frame(struct vs_client *c, uint16_t type, uint16_t flags, uint64_t id, const void *data, size_t n, int fd,
                      struct vs_error *err)
{
    if (c->lost.code != VS_OK)
        return lose(c, 0, "", err);
    int status = vs_conn_send(&c->conn, type, flags, id, data, n, fd);
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

static int hello(struct vs_client *c, const char *name, struct vs_error *err)
{
    struct vs_buf out = { 0 };
    json_t *value = json_pack("{s:i, s:o}", "protocol", VS_PROTOCOL_VERSION, "client", vs_json_text(name, strlen(name)));
    vs_json_dump(value, &out);
    json_decref(value);
    int status = out.status;
    if (status != VS_OK)
        vs_error_set(err, status, "%s", vs_status_text(status));
    else
        status = send_frame(c, VS_MSG_HELLO, 0, 0, out.data, out.n, -1, err);
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
    return VS_OK;
}

/* Takes over fd and child. */
static int open_on(int fd, pid_t child, const char *name, struct vs_client **ret, struct vs_error *err)
{
    struct vs_client *c = calloc(1, sizeof *c);
    if (!c) {
        close(fd);
        return vs_error_set(err, VS_E_NOMEM, "%s", vs_status_text(VS_E_NOMEM));
    }
    vs_conn_init(&c->conn, fd, &vs_ipc_to_client, VS_AT_START);
    c->conn.state_of = state_of;
    c->conn.context = c;
    c->child = child;
    uint16_t unhandled = vs_ipc_unhandled(&vs_ipc_to_client, takers, sizeof takers / sizeof *takers, sizeof *takers);
    int status = unhandled ? vs_error_set(err, VS_E_PROTOCOL, "message '%s' has no handler or no row", vs_message_name(unhandled))
        : hello(c, name ? name : "unnamed", err);
    if (status != VS_OK) {
        vs_client_close(c);
        return status;
    }
    *ret = c;
    return VS_OK;
}

int vs_client_connect(const char *path, const char *name, struct vs_client **ret, struct vs_error *err)
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
    /* A socket in a shared folder proves nothing: the daemon behind it must be ours, or root's. */
    struct ucred peer;
    socklen_t n = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) != 0 || (peer.uid != geteuid() && peer.uid != 0)) {
        close(fd);
        return vs_error_set(err, VS_E_DENIED, "the daemon at %s runs as another user", address.sun_path);
    }
    return open_on(fd, 0, name, ret, err);
}

/* Descriptors 0 to 3 of the daemon, and none else. */
static int give_descriptors(posix_spawn_file_actions_t *a, int log_fd, int theirs)
{
    int e = log_fd >= 0 && fcntl(log_fd, F_GETFD) >= 0 ? posix_spawn_file_actions_adddup2(a, log_fd, 2)
        : posix_spawn_file_actions_addopen(a, 2, "/dev/null", O_WRONLY, 0);
    e = e ? e : posix_spawn_file_actions_addopen(a, 0, "/dev/null", O_RDWR, 0);
    e = e ? e : posix_spawn_file_actions_adddup2(a, 0, 1);
    e = e ? e : posix_spawn_file_actions_adddup2(a, theirs, PRIVATE_FD);
    return e ? e : posix_spawn_file_actions_addclosefrom_np(a, PRIVATE_FD + 1);
}

/* A session of its own (Ctrl-C at the terminal is for the client alone), and signals as if nobody had touched them. */
static int give_signals(posix_spawnattr_t *a)
{
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    int e = posix_spawnattr_setflags(a, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    e = e ? e : posix_spawnattr_setsigmask(a, &none);
    return e ? e : posix_spawnattr_setsigdefault(a, &all);
}

/* Not fork: this process may have threads, hooks that run at a fork, and more memory than can be had twice. Returns errno. A signal
 * at the parent's death is not asked for: it would come at the death of this thread. The daemon sees the socket close. */
static int start_daemon(const char *program, int log_fd, int theirs, pid_t *ret)
{
    char digits[] = { '0' + PRIVATE_FD, 0 }, name[] = "veritas", serve[] = "serve", option[] = "--private-fd";
    char *argv[] = { name, serve, option, digits, NULL };
    struct vs_child_environment environment;
    posix_spawn_file_actions_t descriptors;
    posix_spawnattr_t signals;
    vs_child_environment(NULL, vs_child_kept_daemon, &environment);
    int e = posix_spawn_file_actions_init(&descriptors);
    if (e)
        return e;
    if ((e = posix_spawnattr_init(&signals)) == 0) {
        e = give_descriptors(&descriptors, log_fd, theirs);
        e = e ? e : give_signals(&signals);
        e = e ? e : posix_spawn(ret, program, &descriptors, &signals, argv, environment.value);
        posix_spawnattr_destroy(&signals);
    }
    posix_spawn_file_actions_destroy(&descriptors);
    return e;
}

int vs_client_private(const char *program, int log_fd, const char *name, struct vs_client **ret, struct vs_error *err)
{
    if (!program)
        program = "/proc/self/exe";
    if (access(program, X_OK) != 0)
        return vs_error_set(err, VS_E_NOT_FOUND, "%s: %s", program, strerror(errno));
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        return vs_error_set(err, VS_E_SYSTEM, "socketpair: %s", strerror(errno));
    /* Where the client's own standard descriptors are closed the pair may lie on 0..3: move theirs out of the way. */
    pid_t child = 0;
    int theirs = fcntl(pair[1], F_DUPFD_CLOEXEC, 10);
    int e = theirs < 0 ? errno : start_daemon(program, log_fd, theirs, &child);
    close(pair[1]);
    if (theirs >= 0)
        close(theirs);
    if (e != 0) {
        close(pair[0]);
        return vs_error_set(err, VS_E_SYSTEM, "cannot start a private daemon: %s: %s", program, strerror(e));
    }
    int status = open_on(pair[0], child, name, ret, err);
    if (status == VS_E_DIED)
        return vs_error_set(err, VS_E_DIED, "the private daemon ended before it answered");
    return status;
}

int vs_client_adopt(int fd, const char *name, struct vs_client **ret, struct vs_error *err)
{
    return open_on(fd, 0, name, ret, err);
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

int vs_client_request(struct vs_client *c, uint16_t type, const json_t *request, int fd, uint64_t *ret_id,
                      struct vs_error *err)
{
    const struct vs_ipc_rule *rule = vs_ipc_rule_find(&vs_ipc_from_client, type);
    if (!rule || !vs_message_is_request(type))
        return vs_error_set(err, VS_E_INVALID, "'%s' is not a request", vs_message_name(type));
    if (fd >= 0 && !(rule->flags & VS_FLAG_FD))
        return vs_error_set(err, VS_E_INVALID, "'%s' takes no descriptor", vs_message_name(type));
    struct vs_buf out = { .limit = rule->max };
    int status = make_payload(request, rule, &out);
    if (status == VS_E_LIMIT)
        vs_error_set(err, status, "the request is larger than %u bytes", rule->max);
    else if (status != VS_OK)
        vs_error_set(err, status, "%s", vs_status_text(status));
    else if (request_begin(c, ++c->next_id) != VS_OK)
        status = vs_error_set(err, VS_E_NOMEM, "%s", vs_status_text(VS_E_NOMEM));
    else if ((status = send_frame(c, type, fd >= 0 ? VS_FLAG_FD : 0, c->next_id, out.data, out.n, fd, err)) != VS_OK)
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
    return send_frame(c, VS_MSG_CANCEL, 0, id, NULL, 0, -1, err);
}

int vs_client_call(struct vs_client *c, uint16_t type, const json_t *request, int fd, json_t **ret_result,
                   struct vs_error *err)
{
    uint64_t id;
    int status = vs_client_request(c, type, request, fd, &id, err);
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
