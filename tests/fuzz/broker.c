/* rooms: identity ipc base */
/* fuzz/broker.c - bytes of clients and of workers against the real broker: its loop, places, budgets, timers. The input is a list
 * of steps; the supervisor is played, and the clock is the input's. What the broker says must be what the tables allow, to clients
 * and to workers; a request ends once; a worker that goes on is told as many tokens as its envelope says; and in the end nothing
 * may be left counted. */
#include "prog/broker/broker.h"

#include "base/clock.h"
#include "ipc/json.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* A key made for this test, and what is kept of it. */
#define KEY "vk_odr4zrgzzf3f43ywifkenx6a4u5rsir4eoy66jp5kcsnbha"
#define RECORD "{\"id\":\"odr4zrgz\",\"salt\":\"78972369a84a51acb5ef9a34fc0daabc\",\"sha256\":" \
    "\"bed02a2656f36158989e4bfbc60aa40b7b98a536f47cb502ddc3f01c8ef6be10\"}"
enum { MAX_CLIENTS = 6, MAX_WORKERS = 4, MAX_STEPS = 400, MAX_IDS = 8 };

static uint64_t clock_ns;

uint64_t vs_clock_ns(void)              /* instead of base/clock.c: time passes when the input says so */
{
    return clock_ns;
}

int64_t vs_clock_real_ms(void)
{
    return (int64_t)(clock_ns / 1000000);
}

static pid_t peer_pid;                  /* of the process that connects next */

/* Instead of the C library's: clients are of three processes. */
int getsockopt(int fd, int level, int name, void *value, socklen_t *n)
{
    (void)fd, (void)level, (void)name;
    struct ucred who = { .pid = peer_pid, .uid = getuid(), .gid = getgid() };
    *n = sizeof who;
    memcpy(value, &who, sizeof who);
    return 0;
}

struct input {
    const uint8_t *at, *end;
};

struct world {
    struct broker broker;
    struct vs_conn supervisor;          /* our end of the control link */
    struct vs_conn clients[MAX_CLIENTS];
    struct asks { unsigned n[MAX_IDS]; bool is_wild; } asks[MAX_CLIENTS];  /* requests that may end yet; wild: who knows how many */
    struct {
        struct vs_conn conn;
        uint64_t id;
        uint64_t sent_id, n_sent;       /* tokens that it was told for this run */
    } workers[MAX_WORKERS];
};

static unsigned take(struct input *in)
{
    return in->at < in->end ? *in->at++ : 0;
}

static size_t take_bytes(struct input *in, size_t n, const uint8_t **ret)
{
    *ret = in->at;
    n = n < (size_t)(in->end - in->at) ? n : (size_t)(in->end - in->at);
    in->at += n;
    return n;
}

/* ---- the supervisor ---- */

static void say(struct world *w, uint16_t type, uint64_t id, const char *text, int fd)
{
    vs_conn_send(&w->supervisor, type, fd >= 0 ? VS_FLAG_FD : 0, id, text, strlen(text), fd);
}

static void start_worker(struct world *w, unsigned slot)
{
    int pair[2];
    if (w->workers[slot].conn.fd >= 0 || !w->workers[slot].id || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
        return;
    vs_conn_init(&w->workers[slot].conn, pair[0], &vs_ipc_to_guard, VS_AT_OPEN);
    say(w, VS_MSG_STARTED, w->workers[slot].id, "{\"pid\":7,\"path\":\"/m\",\"bytes\":5}", pair[1]);
    close(pair[1]);
}

static void end_worker(struct world *w, unsigned slot, unsigned how)
{
    static const char *const ends[] = {
        NULL,
        "{\"error\":\"DIED\",\"code\":-10,\"message\":\"signal 9\",\"sigkill\":true}",
        "{\"error\":\"DIED\",\"code\":-10,\"message\":\"code 70\",\"sigkill\":false}",
        "{\"error\":\"DENIED\",\"code\":-12,\"message\":\"no\",\"last\":true}",
    };
    vs_conn_clear(&w->workers[slot].conn);
    if (ends[how] && w->workers[slot].id)
        say(w, VS_MSG_EXITED, w->workers[slot].id, ends[how], -1);
}

static void on_start(struct world *w, uint64_t id)
{
    for (unsigned slot = 0; slot < MAX_WORKERS; slot++)
        if (!w->workers[slot].id) {
            w->workers[slot].id = id;
            return;
        }
    say(w, VS_MSG_FAILED, id, id & 1 ? "{\"error\":\"NOMEM\",\"code\":-1,\"message\":\"no\",\"needed\":100}"
                                     : "{\"error\":\"BUSY\",\"code\":-4,\"message\":\"no\"}", -1);
}

static void hear(struct world *w)
{
    struct vs_frame f;
    struct vs_error why;
    int status = vs_conn_read(&w->supervisor);
    while ((status = vs_conn_next(&w->supervisor, &f, &why)) == VS_OK) {
        if (f.type == VS_MSG_MODELS)
            say(w, VS_MSG_MODELS, f.id, "{\"models\":[{\"name\":\"a\"}]}", -1);
        else if (f.type == VS_MSG_START)
            on_start(w, f.id);
        else if (f.type == VS_MSG_WAITED)
            vs_conn_send(&w->supervisor, VS_MSG_WAITED, 0, f.id, (const uint8_t[16]){ 0 }, 16, -1);
        for (unsigned slot = 0; slot < MAX_WORKERS && (f.type == VS_MSG_STOP || f.type == VS_MSG_KILL); slot++)
            if (w->workers[slot].id == f.id) {
                end_worker(w, slot, f.type == VS_MSG_KILL);     /* by SIGKILL */
                w->workers[slot].id = f.type == VS_MSG_KILL ? f.id : 0;
            }
        if (f.fd >= 0)
            close(f.fd);
    }
    if (status != VS_E_BUSY)
        abort();                        /* the broker said what it may not */
}

/* ---- clients and workers ---- */

static void put(int fd, const void *data, size_t n, int with)
{
    struct iovec io = { (void *)(uintptr_t)data, n };
    union { struct cmsghdr align; char bytes[CMSG_SPACE(sizeof(int))]; } control;
    struct msghdr m = { .msg_iov = &io, .msg_iovlen = 1 };
    memset(&control, 0, sizeof control);
    if (with >= 0) {
        m.msg_control = &control;
        m.msg_controllen = sizeof control;
        struct cmsghdr *h = CMSG_FIRSTHDR(&m);
        h->cmsg_level = SOL_SOCKET;
        h->cmsg_type = SCM_RIGHTS;
        h->cmsg_len = CMSG_LEN(sizeof with);
        memcpy(CMSG_DATA(h), &with, sizeof with);
    }
    if (fd >= 0 && n)
        sendmsg(fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void put_frame(int fd, uint16_t type, uint16_t flags, uint64_t id, const void *data, size_t n, int with)
{
    static uint8_t frame[70000];
    if (n > sizeof frame - VS_FRAME_HEADER)
        return;
    vs_frame_header(frame, type, flags, id, (uint32_t)n);
    memcpy(frame + VS_FRAME_HEADER, data, n);
    put(fd, frame, VS_FRAME_HEADER + n, with);
}

/* An envelope, right or nearly, and a body from the input. */
static void put_outcome(int fd, uint16_t type, uint16_t flags, uint64_t id, const char *envelope, struct input *in, int with)
{
    const uint8_t *body;
    size_t n = take_bytes(in, take(in) % 64, &body);
    struct vs_buf out = { 0 };
    size_t begin = vs_payload_begin(&out);
    vs_buf_str(&out, envelope);
    vs_payload_end(&out, begin);
    vs_buf_add(&out, body, n);
    put_frame(fd, type, flags, id, out.data, out.n, with);
    vs_buf_clear(&out);
}

static void add_client(struct world *w, unsigned k, const char *hello)
{
    int pair[2];
    if (w->clients[k].fd >= 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
        return;
    fcntl(pair[1], F_SETFL, O_NONBLOCK);
    vs_conn_init(&w->clients[k], pair[0], &vs_ipc_to_client, VS_AT_START);
    w->asks[k] = (struct asks){ 0 };
    peer_pid = 1000 + (pid_t)k % 3;
    peer_add(&w->broker, pair[1], false);
    put_frame(pair[0], VS_MSG_HELLO, 0, 0, hello, strlen(hello), -1);
}

/* What the broker said must be what a worker may hear; of tokens that were sent it hears before their request. */
static void work(struct world *w, unsigned slot)
{
    struct vs_frame f;
    struct vs_error why;
    struct vs_conn *c = &w->workers[slot].conn;
    if (c->fd < 0)
        return;
    int status = vs_conn_read(c), next;
    while ((next = vs_conn_next(c, &f, &why)) == VS_OK) {
        struct vs_payload p;
        struct vs_head head;
        const struct vs_ipc_rule *rule = vs_ipc_rule_find(&vs_ipc_to_guard, f.type);
        uint64_t told = w->workers[slot].sent_id == f.id ? w->workers[slot].n_sent : 0;
        if (f.type == VS_MSG_SENT) {
            w->workers[slot].sent_id = f.id;
            w->workers[slot].n_sent = told + f.n / 4 - (f.flags & VS_FLAG_INDEX ? 1 : 0);
        }
        if (!vs_message_is_request(f.type))
            continue;
        if (vs_payload_split(f.data, f.n, rule->envelope, &p, &why) != VS_OK
            || vs_head_parse(p.envelope, p.envelope_bytes, rule->keys, &head, &why) != VS_OK || (uint64_t)head.sent != told)
            abort();
        vs_head_clear(&head);
    }
    if (next != VS_E_BUSY)
        abort();
    if (status != VS_OK && status != VS_E_BUSY)
        vs_conn_clear(c);
}

static void ask_counted(struct world *w, struct vs_conn *c, uint16_t type, unsigned id)
{
    w->asks[c - w->clients].n[id] += vs_message_is_request(type);
}

/* What the broker said must be what a client may hear. */
static void listen_to(struct world *w, struct vs_conn *c)
{
    struct asks *asks = &w->asks[c - w->clients];
    struct vs_frame f;
    struct vs_error why;
    if (c->fd < 0)
        return;
    int status = vs_conn_read(c), next;
    while ((next = vs_conn_next(c, &f, &why)) == VS_OK) {
        struct vs_payload p;
        struct vs_outcome o;
        if (f.type == VS_MSG_HELLO)
            c->state = VS_AT_OPEN;
        bool old = f.type == VS_MSG_ERROR && f.data[0] == '{';      /* to a client of protocol 1 */
        if (vs_message_is_terminal(f.type) && !old
            && (vs_payload_split(f.data, f.n, VS_MAX_ENVELOPE, &p, &why) != VS_OK
                || vs_outcome_parse(p.envelope, p.envelope_bytes, &o, &why) != VS_OK
                || (f.type == VS_MSG_COMPLETE) != (o.error.code == VS_OK)))
            abort();
        if (vs_message_is_terminal(f.type) && f.id && !asks->is_wild && (f.id >= MAX_IDS || asks->n[f.id]-- == 0))
            abort();                    /* the end of what was never asked, or a second one */
    }
    if (next != VS_E_BUSY)
        abort();
    if (status != VS_OK && status != VS_E_BUSY)
        vs_conn_clear(c);
}

/* One of the runs that this worker has; or one that it has not. */
static uint64_t run_of(struct world *w, unsigned slot, unsigned which)
{
    const struct model *m = w->workers[slot].id ? model_find_id(&w->broker, w->workers[slot].id) : NULL;
    const struct run *run = m ? m->runs : NULL;
    for (unsigned i = 0; run && run->next && i < which; i++)
        run = run->next;
    return run ? run->id : w->broker.last_run + which;
}

/* Three clients and a worker that takes three requests in a step: what most inputs would have to find first. */
static void begin(struct world *w)
{
    static const char ready[] = "{\"facts\":{\"parallel\":3,\"weight_bytes\":50},\"sandbox\":{}}";
    static const uint8_t nothing[1];
    struct input none = { nothing, nothing };
    for (unsigned k = 0; k < 4; k++)
        add_client(w, k, "{\"protocol\":2}");
    broker_turn(&w->broker, false);
    put_outcome(w->clients[0].fd, VS_MSG_GENERATE, 0, 1, "{\"model\":\"a\"}", &none, -1);
    ask_counted(w, &w->clients[0], VS_MSG_GENERATE, 1);
    broker_turn(&w->broker, false);
    hear(w);
    start_worker(w, 0);
    broker_turn(&w->broker, false);
    put_frame(w->workers[0].conn.fd, VS_MSG_READY, 0, 0, ready, sizeof ready - 1, -1);
    broker_turn(&w->broker, false);
}

static void step(struct world *w, struct input *in)
{
    static const char *const hellos[] = {
        "{\"protocol\":2,\"client\":\"f\"}", "{\"protocol\":2}", "{\"protocol\":1}", "{", "{\"x\":1e999}",
        "{\"protocol\":2,\"key\":\"" KEY "\"}", "{\"protocol\":2,\"key\":\"vk_\"}", "{\"protocol\":2,\"key\":[]}",
    };
    static const uint16_t from_client[] = {
#define TYPE(name, ...) VS_MSG_##name,
        VS_REQUEST_MAP(TYPE) VS_MSG_HELLO, VS_MSG_CREDIT, VS_MSG_CANCEL, VS_MSG_TOKEN, 0x7777,
    };
    static const uint16_t from_worker[] = {
        VS_MSG_READY, VS_MSG_FAILED, VS_MSG_TOKEN, VS_MSG_DATA, VS_MSG_PROGRESS, VS_MSG_LOG, VS_MSG_BLOCKED, VS_MSG_ALIVE,
        VS_MSG_COMPLETE, VS_MSG_REJECTED, VS_MSG_ERROR, VS_MSG_CHAT, VS_MSG_DIGEST, VS_MSG_STATS, VS_MSG_TOKEN, VS_MSG_READY,
    };
    static const char *const heads[] = {
        "{\"model\":\"a\"}", "{\"model\":\"b\",\"deadline_ms\":100}", "{}", "{\"model\":\"/x\",\"settings\":{\"threads\":1}}",
        "{\"model\":\"a\",\"force\":true}",
        "{\"model\":\"a\",\"trace\":\"00-0123456789abcdef0123456789abcdef-0123456789abcdef-01\"}",
        "{\"model\":\"a\",\"settings\":{}}", "{\"model\":\"a\",\"priority\":\"low\"}",
        "{\"model\":\"b\",\"settings\":{\"idle_unload_s\":5}}", "{\"x\":1}", "{\"model\":1e999}", "[]", "{",
        "{\"model\":\"a\",\"key\":\"" KEY "\",\"remote\":\"::1\"}", "{\"key\":\"" KEY "\"}", "{\"model\":\"a\",\"key\":\"x\"}",
    };
    static const char *const ends[] = {
        "{}", "{\"finish_reason\":\"stop\",\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2,\"cached_tokens\":0}}",
        "{\"error\":{\"code\":-4,\"name\":\"BUSY\",\"message\":\"m\"}}", "{\"model_digest\":null}", "{\"x\":1}", "{\"error\":1}",
    };
    static const char *const refused[] = {        /* "a" with the body {} */
        "{\"model\":\"ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb\",\"type\":16,\"bytes\":2,"
        "\"sha256\":\"44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a\"}",
        "{\"model\":\"ca97\",\"type\":-1,\"bytes\":1e9,\"sha256\":null}",
    };
    static const char *const progress[] = {
        "{\"what\":\"load\",\"done\":1,\"total\":2}", "{\"what\":\"\\u001b\",\"done\":1,\"total\":2}", "{}",
    };
    static const char *const facts[] = {
        "{\"facts\":{},\"sandbox\":{}}", "{\"facts\":{\"parallel\":3,\"weight_bytes\":50},\"sandbox\":{}}",
        "{\"facts\":{\"parallel\":1}}", "{\"facts\":{\"parallel\":1e9,\"kv_bytes\":-1}}",
    };
    static const char *const stats[] = {
        "{\"pages\":9,\"used\":1,\"cached\":2,\"page_bytes\":64,\"parked\":1,\"preemptions\":3,\"prompt_tokens\":5}",
        "{\"pages\":9}",
    };
    enum { N_FROM_CLIENT = sizeof from_client / sizeof *from_client, N_FROM_WORKER = sizeof from_worker / sizeof *from_worker };
    const uint8_t *bytes;
    size_t n;
    unsigned op = take(in) % 14, who = take(in);
    struct vs_conn *c = &w->clients[who % MAX_CLIENTS];
    unsigned slot = who % MAX_WORKERS, what = take(in);
    int worker = w->workers[slot].conn.fd;
    uint64_t run = run_of(w, slot, what >> 6);
    switch (op) {
    case 0: add_client(w, who % MAX_CLIENTS, hellos[what % 8]); break;
    case 1:
        n = take_bytes(in, take(in), &bytes);
        put(c->fd, bytes, n, -1);
        w->asks[c - w->clients].is_wild = true;
        break;
    case 2: {
        unsigned id = take(in) % MAX_IDS;
        n = take_bytes(in, take(in), &bytes);
        put_frame(c->fd, from_client[what % N_FROM_CLIENT], (uint16_t)(what >> 7), id, bytes, n, -1);
        ask_counted(w, c, from_client[what % N_FROM_CLIENT], id);
        break;
    }
    case 3:
    case 4: {
        uint16_t type = from_client[what % N_FROM_CLIENT];
        unsigned more = take(in);
        bool with = type == VS_MSG_LOAD && more & 64;
        int file = with ? open("/proc/self/exe", O_RDONLY | O_CLOEXEC) : -1;
        put_outcome(c->fd, type, with, more % MAX_IDS, heads[(more >> 3) % (sizeof heads / sizeof *heads)], in, file);
        ask_counted(w, c, type, more % MAX_IDS);
        if (file >= 0)
            close(file);
        break;
    }
    case 5: vs_conn_clear(c); break;
    case 6: start_worker(w, slot); break;
    case 7: end_worker(w, slot, what & 3); break;
    case 8:
        n = take_bytes(in, take(in), &bytes);
        put_frame(worker, from_worker[what % N_FROM_WORKER], (uint16_t)((what >> 4) & 6), run, bytes, n, -1);
        break;
    case 9: {
        uint16_t type = from_worker[what % N_FROM_WORKER];
        const char *text = progress[take(in) % 3];
        if (vs_message_is_terminal(type))
            put_outcome(worker, type, 0, run, ends[take(in) % (sizeof ends / sizeof *ends)], in, -1);
        else if (type == VS_MSG_READY)
            put_frame(worker, type, 0, 0, facts[what >> 6], strlen(facts[what >> 6]), -1);
        else if (type == VS_MSG_STATS)
            put_frame(worker, type, 0, 0, stats[what >> 7], strlen(stats[what >> 7]), -1);
        else if (type == VS_MSG_TOKEN && what & 32)
            put_frame(worker, type, VS_FLAG_INDEX, run, &"\1\0\0\0\0\0\0\0\0\0\0\0"[what & 64 ? 0 : 1], 12, -1);
        else if (type == VS_MSG_DIGEST)
            put_frame(worker, type, 0, 0, "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", 64, -1);
        else if (type == VS_MSG_PROGRESS)
            put_frame(worker, type, 0, what & 64 ? 0 : run, text, strlen(text), -1);
        else
            put_frame(worker, type, 0, run, "\1\0\0\0\1\0\0\0x", type == VS_MSG_BLOCKED ? 4 : type == VS_MSG_ALIVE ? 0 : 9, -1);
        break;
    }
    case 10: clock_ns += (uint64_t)1 << what % 38; break;
    case 11: listen_to(w, c); break;
    case 13: work(w, slot); break;
    case 12:
        if (what == 77)
            vs_conn_send(&w->supervisor, VS_MSG_DRAIN, 0, 0, "\1\1\0\0", 4, -1);
        else if (what >= 78 && what < 80)
            vs_conn_send(&w->supervisor, VS_MSG_REFUSED, 0, 0, refused[what - 78], strlen(refused[what - 78]), -1);
        else if (c->fd >= 0 && what & 1) {
            int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
            put(c->fd, "\6", 1, file);
            w->asks[c - w->clients].is_wild = true;
            close(file);
        }
        break;
    }
}

/* One key, of a user who may load, and limits that are soon reached. */
static void let_in(struct broker *b)
{
    static const char all[] = "{\"limits\":{\"default\":{\"requests_per_minute\":60,\"in_flight\":6},\"keys\":{\"f\":{"
        "\"tokens_per_minute\":60,\"kv_tokens\":90,\"priority\":\"low\"}}},\"keys\":[{\"version\":1,\"name\":\"f\",\"role\":"
        "\"operator\",\"scopes\":[\"generate\",\"load\",\"list\"],\"created\":1,\"key\":" RECORD "}]}";
    struct vs_error err;
    json_t *value = vs_json_parse(all, sizeof all - 1, &err);
    if (!value || vs_identity_list_parse(json_object_get(value, "keys"), &b->keys, &err) != VS_OK)
        abort();
    limits_changed(b, json_object_get(value, "limits"));
    json_decref(value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static bool is_ready;
    static struct world world;
    struct world *w = &world;
    struct input in = { data, data + n };
    int pair[2];
    if (!is_ready)
        vs_json_setup(MAX_JSON);
    is_ready = true;
    if (n > 20000 || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
        return 0;
    memset(w, 0, sizeof *w);
    clock_ns = 1000000 * MS;
    vs_conn_init(&w->supervisor, pair[0], &vs_ipc_to_supervisor, VS_AT_OPEN);
    struct broker *b = &w->broker;
    b->listen_fd = -1;
    b->uid = getuid();
    b->quiet = true;
    b->sandbox = json_object();
    broker_init(b);
    b->settings.memory = 1000;
    b->settings.queue = 5;
    let_in(b);
    control_open(b, pair[1]);
    for (int i = 0; i < MAX_CLIENTS; i++)
        vs_conn_init(&w->clients[i], -1, &vs_ipc_to_client, VS_AT_START);
    for (int i = 0; i < MAX_WORKERS; i++)
        vs_conn_init(&w->workers[i].conn, -1, &vs_ipc_to_guard, VS_AT_OPEN);
    if (take(&in) & 1)
        begin(w);
    for (int i = 0; i < MAX_STEPS && in.at < in.end && !b->ending; i++) {
        step(w, &in);
        broker_turn(b, false);
        hear(w);
    }
    for (int i = 0; i < MAX_CLIENTS; i++)
        listen_to(w, &w->clients[i]);
    for (unsigned i = 0; i < MAX_WORKERS; i++)
        work(w, i);
    for (struct peer *p = b->peers; p; p = p->next)
        p->gone = true;
    for (struct model *m = b->models; m; m = m->next)
        model_drop(b, m, VS_E_CANCELLED, "the end");
    broker_sweep(b);
    if (b->peers || b->models || b->asked.n || b->memory.used || b->clients_memory.used)
        abort();
    for (const struct client *c = b->clients; c; c = c->next)
        if (!c->person[0] || c->n_requests)
            abort();                    /* persons, and keys, are remembered; nothing of theirs is under way */
    for (int i = 0; i < MAX_CLIENTS; i++)
        vs_conn_clear(&w->clients[i]);
    for (int i = 0; i < MAX_WORKERS; i++)
        vs_conn_clear(&w->workers[i].conn);
    broker_clear(b);
    vs_conn_clear(&b->control);
    vs_conn_clear(&w->supervisor);
    if (b->control_memory.used)
        abort();
    return 0;
}
