/* prog/worker/main.c - a process that has one model and one socket, and nothing else.
 *
 * Started with 3 = the broker, 4 = the model file (read-only), 5 = page of last words, 6 = settings. It locks itself in
 * before it looks at the model; then it loads, says READY or FAILED, and serves one request after the other. The
 * supervisor's settings are read before lock-in: they size the limits. The socket is looked at whenever the running request
 * asks (vs_sink.check), which is how cancel and credit reach it. When the socket ends, so does the worker. */
#include "prog/worker/service.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "ipc/frame.h"
#include "ipc/json.h"
#include "sandbox/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { SOCKET_FD = 3, MODEL_FD = 4, WORDS_FD = 5, SETTINGS_FD = 6 };

#define MAX_SETTINGS (64u << 10)
#define MAX_JSON (512u << 20)
#define MAX_QUEUED (128u << 10)         /* output that may wait while we compute on */
#define DIGEST_MS 20                    /* how often an idle worker looks whether the digest is there */
#define PROGRESS_NS 50000000ull
#define ALIVE_NS 1000000000ull          /* so often we say that we work: src/prog/broker/broker.h, HANG_TIME */

struct loop {
    struct vs_conn conn;
    uint64_t id;                        /* the running request, or 0 */
    uint32_t credit;
    int stop;                           /* VS_OK, or why the running request must stop */
    bool sent;                          /* some of its output is out */
    uint64_t progress_at, alive_at;     /* last PROGRESS, last ALIVE */
    struct vs_service *service;
    struct vs_sink sink;
    bool has_told_digest;               /* the broker knows what was loaded, or there is nothing to know */
};

/* The broker is gone, or speaks nonsense: nothing is left to do. */
static _Noreturn void leave(int status)
{
    _exit(status);
}

static unsigned state_of(const void *loop, uint64_t id)
{
    return ((const struct loop *)loop)->id == id ? VS_AT_BEGUN : VS_AT_FREE;
}

static void on_credit(struct loop *l, const struct vs_frame *f)
{
    uint32_t value = vs_load_u32le(f->data);
    if (f->id == l->id)                 /* else it came too late for its request */
        l->credit = value > VS_CREDIT_MAX - l->credit ? VS_CREDIT_MAX : l->credit + value;
}

static void on_cancel(struct loop *l, const struct vs_frame *f)
{
    uint32_t value = vs_load_u32le(f->data);
    if (f->id == l->id && l->stop == VS_OK)
        l->stop = value >= 1 && value < 1000 ? -(int)value : VS_E_CANCELLED;
}

/* This worker answers from the start only, and does not say in its facts that it could do otherwise. */
static void on_sent(struct loop *l, const struct vs_frame *f)
{
    (void)l;
    (void)f;
    leave(1);
}

static void on_request(struct loop *l, const struct vs_frame *f);

static const struct {
    uint16_t type;
    void (*take)(struct loop *l, const struct vs_frame *f);
} handlers[] = {
    { VS_MSG_CREDIT, on_credit },
    { VS_MSG_CANCEL, on_cancel },
    { VS_MSG_SENT, on_sent },
#define ON_REQUEST(name, ...) { VS_MSG_##name, on_request },
    VS_MODEL_REQUEST_MAP(ON_REQUEST)
};

/* False: none is whole. */
static bool take_frame(struct loop *l)
{
    struct vs_frame f;
    struct vs_error why;
    int status = vs_conn_next(&l->conn, &f, &why);
    if (status == VS_E_BUSY)
        return false;
    if (status != VS_OK)
        leave(1);
    handlers[vs_ipc_handler(handlers, sizeof handlers / sizeof *handlers, sizeof *handlers, f.type)].take(l, &f);
    return true;
}

/* What to wait for: nothing, something to read, or that less output is queued. */
enum wait { NOTHING, INPUT, OUTPUT };

/* Takes what has come for the running request; the next request is for the main loop. */
static void attend(struct loop *l, enum wait wait)
{
    if (vs_conn_flush(&l->conn) == VS_E_DIED)
        leave(0);
    size_t queued = vs_conn_queued(&l->conn);
    if (wait == INPUT || (wait == OUTPUT && queued > MAX_QUEUED)) {
        struct pollfd p = { l->conn.fd, (short)(POLLIN | (queued ? POLLOUT : 0)), 0 };
        if (poll(&p, 1, l->service && !l->has_told_digest ? DIGEST_MS : -1) < 0 && errno != EINTR)
            leave(1);
    }
    int status = vs_conn_read(&l->conn);
    if (status == VS_E_DIED)
        leave(0);
    if (status != VS_OK && status != VS_E_BUSY)
        leave(1);
    while (l->id && take_frame(l)) { }
}

static void send_frame(struct loop *l, uint16_t type, uint16_t flags, uint64_t id, const void *data, size_t n)
{
    if (vs_conn_send(&l->conn, type, flags, id, data, n, -1) != VS_OK)
        leave(1);
    while (vs_conn_queued(&l->conn) > MAX_QUEUED)
        attend(l, OUTPUT);
}

/* Small messages of our own making. */
static void send_json(struct loop *l, uint16_t type, uint64_t id, json_t *value, uint32_t max)
{
    struct vs_buf out = { .limit = max };
    vs_json_dump(value, &out);
    json_decref(value);
    if (out.status == VS_OK)
        send_frame(l, type, 0, id, out.data, out.n);
    else if (type != VS_MSG_PROGRESS)
        leave(1);
    vs_buf_clear(&out);
}

/* The frame that ends a request: its envelope, and the body, whose bytes are taken. */
static void send_outcome(struct loop *l, uint16_t type, uint64_t id, const struct vs_outcome *outcome, struct vs_buf *body)
{
    struct vs_buf head = { .limit = 4 + VS_MAX_ENVELOPE };
    size_t begin = vs_payload_begin(&head);
    vs_outcome_dump(outcome, &head);
    vs_payload_end(&head, begin);
    if (head.status != VS_OK || vs_conn_send_parts(&l->conn, type, 0, id, head.data, head.n, body->data, body->n) != VS_OK)
        leave(1);
    vs_buf_clear(&head);
    vs_buf_clear(body);
    while (vs_conn_queued(&l->conn) > MAX_QUEUED)
        attend(l, OUTPUT);
}

/* Waits until n bytes may be sent; tells the broker that it waits. */
static int want_credit(struct loop *l, uint32_t n)
{
    attend(l, NOTHING);
    if (l->stop == VS_OK && l->credit < n) {
        uint8_t bytes[4];
        vs_store_u32le(bytes, n);
        send_frame(l, VS_MSG_BLOCKED, 0, l->id, bytes, sizeof bytes);
        while (l->stop == VS_OK && l->credit < n)
            attend(l, INPUT);
    }
    if (l->stop == VS_OK) {
        l->credit -= n;
        l->sent = true;
    }
    return l->stop;
}

static int sink_token(void *context, uint32_t id, const char *text, size_t n, const json_t *extra)
{
    struct loop *l = context;
    struct vs_buf out = { .limit = VS_MAX_CHUNK };
    char *head = vs_buf_grow(&out, 8);
    if (head) {
        vs_store_u32le(head, id);
        vs_store_u32le(head + 4, (uint32_t)n);
    }
    vs_buf_add(&out, text, n);
    if (extra)
        vs_json_dump(extra, &out);
    int status = out.status;
    if (status == VS_OK)
        status = want_credit(l, (uint32_t)out.n);
    if (status == VS_OK)
        send_frame(l, VS_MSG_TOKEN, extra ? VS_FLAG_EXTRA : 0, l->id, out.data, out.n);
    vs_buf_clear(&out);
    return status;
}

static int sink_data(void *context, const void *bytes, size_t n)
{
    struct loop *l = context;
    const char *at = bytes;
    while (n) {
        uint32_t chunk = n < VS_MAX_CHUNK ? (uint32_t)n : VS_MAX_CHUNK;
        int status = want_credit(l, chunk);
        if (status != VS_OK)
            return status;
        send_frame(l, VS_MSG_DATA, 0, l->id, at, chunk);
        at += chunk;
        n -= chunk;
    }
    return VS_OK;
}

static int ask(void *context)
{
    struct loop *l = context;
    uint64_t now = vs_clock_ns();
    if (now - l->alive_at >= ALIVE_NS) {
        l->alive_at = now;
        send_frame(l, VS_MSG_ALIVE, 0, l->id, NULL, 0);
    }
    attend(l, NOTHING);
    return l->stop;
}

static int sink_progress(void *context, const char *what, uint64_t done, uint64_t total)
{
    struct loop *l = context;
    uint64_t now = vs_clock_ns();
    if (now - l->progress_at >= PROGRESS_NS || (total && done == total)) {
        l->progress_at = now;
        send_json(l, VS_MSG_PROGRESS, l->id, json_pack("{s:s, s:I, s:I}", "what", what, "done", (json_int_t)done,
                                                       "total", (json_int_t)total), VS_MAX_CONTROL);
    }
    return ask(context);
}

/* A request that never got anywhere was rejected; one that failed on its way is an error. */
static bool is_rejection(const struct loop *l, int code)
{
    static const int codes[] = {
        VS_E_INVALID, VS_E_UNSUPPORTED, VS_E_CONTEXT, VS_E_MALFORMED, VS_E_NOT_FOUND, VS_E_BUSY, VS_E_DENIED,
    };
    for (size_t i = 0; !l->sent && i < sizeof codes / sizeof *codes; i++)
        if (codes[i] == code)
            return true;
    return false;
}

/* From the bytes of a request to the bytes of its result. The body is looked at piece by piece, while frames come: a copy, then. */
static int answer(struct loop *l, const struct vs_frame *f, struct vs_buf *out, struct vs_error *err)
{
    const struct vs_ipc_rule *rule = vs_ipc_rule_find(&vs_ipc_to_worker, f->type);
    struct vs_payload p;
    struct vs_head head;
    if (vs_payload_split(f->data, f->n, rule->envelope, &p, NULL) != VS_OK
        || vs_head_parse(p.envelope, p.envelope_bytes, rule->keys, &head, NULL) != VS_OK)
        leave(1);                       /* the broker's words */
    l->sink.owner = head.owner;
    l->credit = (uint32_t)head.credit;
    vs_head_clear(&head);
    struct vs_buf text = { 0 };
    vs_buf_add(&text, p.body, p.body_bytes);
    if (text.status != VS_OK)
        return vs_error_set(err, text.status, "out of memory");
    json_t *result = NULL, *request = text.n ? vs_json_read(text.data, text.n, &l->sink.check, err) : json_object();
    vs_buf_clear(&text);
    int status = request ? vs_service_call(l->service, f->type, request, &l->sink, &result, err) : err->code;
    json_decref(request);
    if (status != VS_OK)
        return status;
    vs_json_write(result, out, &l->sink.check);
    json_decref(result);
    if (out->status == VS_E_LIMIT)
        vs_error_set(err, VS_E_LIMIT, "the result is larger than %u MiB", VS_MAX_RESULT >> 20);
    return out->status;
}

/* Says why there is no model, and stays until the broker has read it. */
static _Noreturn void fail(struct loop *l, const struct vs_error *err)
{
    send_json(l, VS_MSG_FAILED, 0, vs_json_error(err->code, err->text), VS_MAX_CONTROL);
    for (;;)
        attend(l, INPUT);                /* the broker closes the socket: leave() */
}

/* The broker hears once what was loaded. When nobody can say that, because the file was changed meanwhile, no answer counts. */
static void tell_digest(struct loop *l)
{
    char hex[65];
    struct vs_error err = { 0 };
    int status = l->has_told_digest ? VS_E_BUSY : vs_service_digest(l->service, hex, &err);
    l->has_told_digest |= status != VS_E_BUSY;
    if (status == VS_OK)
        send_frame(l, VS_MSG_DIGEST, 0, 0, hex, 64);
    else if (status != VS_E_BUSY && status != VS_E_NOT_FOUND)
        fail(l, &err);
}

/* One request at a time: the broker sends the next one when this has ended. */
static void on_request(struct loop *l, const struct vs_frame *f)
{
    if (l->id)
        leave(1);
    uint64_t id = l->id = f->id;
    l->credit = VS_CREDIT_START;
    l->stop = VS_OK;
    l->sent = false;
    l->sink.check = (struct vs_check){ .ask = ask, .context = l };
    char phase[48];
    snprintf(phase, sizeof phase, "answering %s", vs_message_name(f->type));
    vs_last_words_phase(phase);
    struct vs_outcome outcome = { 0 };
    struct vs_error err = { 0 };
    struct vs_buf body = { .limit = VS_MAX_RESULT };
    l->sink.outcome = &outcome;
    int status = answer(l, f, &body, &err);
    l->id = 0;
    if (status != VS_OK && l->stop == status)   /* stopped from outside: one wording for all methods */
        vs_error_set(&err, status, "%s", status == VS_E_LIMIT ? "the client did not take the answer in time"
                                                              : vs_status_text(status));
    else if (status != VS_OK && (err.code != status || !err.text[0]))
        vs_error_set(&err, status, "%s", vs_status_text(status));
    if (status != VS_OK) {
        vs_buf_clear(&body);
        outcome = (struct vs_outcome){ .error = err };
    } else if (vs_service_digest(l->service, outcome.model_digest, NULL) != VS_OK) {
        outcome.model_digest[0] = 0;
    }
    tell_digest(l);
    uint16_t type = status == VS_OK ? VS_MSG_COMPLETE : is_rejection(l, status) ? VS_MSG_REJECTED : VS_MSG_ERROR;
    send_outcome(l, type, id, &outcome, &body);
    vs_last_words_phase("waiting for requests");
}

static json_t *read_settings(struct vs_error *err)
{
    char *text = malloc(MAX_SETTINGS);
    size_t n = 0;
    for (ssize_t got = 1; text && got > 0 && n < MAX_SETTINGS; n += got > 0 ? (size_t)got : 0)
        got = pread(SETTINGS_FD, text + n, MAX_SETTINGS - n, (off_t)n);
    json_t *settings = vs_json_parse(text ? text : "", n, err);
    free(text);
    return settings;
}

static json_t *ready_message(struct loop *l, const struct vs_sandbox_report *report)
{
    char text[1024];
    size_t n = vs_sandbox_report_json(report, text, sizeof text);
    return json_pack("{s:o?, s:o}", "sandbox", n ? vs_json_parse(text, n, NULL) : NULL, "facts", vs_service_facts(l->service));
}

int main(void)
{
    if (fcntl(SOCKET_FD, F_GETFD) < 0 || fcntl(MODEL_FD, F_GETFD) < 0 || fcntl(SETTINGS_FD, F_GETFD) < 0) {
        fprintf(stderr, "veritas-worker is started by `veritas serve`\n");
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN);
    vs_json_setup(MAX_JSON);
    static struct loop l;
    uint16_t unhandled = vs_ipc_unhandled(&vs_ipc_to_worker, handlers, sizeof handlers / sizeof *handlers, sizeof *handlers);
    for (size_t i = 0; i < vs_ipc_to_worker.n_rules && !unhandled; i++) {
        uint16_t type = vs_ipc_to_worker.rules[i].type;
        if (vs_message_is_request(type) && !vs_service_has(type))
            unhandled = type;
    }
    if (unhandled) {
        fprintf(stderr, "veritas-worker: message '%s' (0x%02x) has no handler or no row\n", vs_message_name(unhandled), unhandled);
        return 1;
    }
    vs_conn_init(&l.conn, SOCKET_FD, &vs_ipc_to_worker, VS_AT_START);
    l.conn.state_of = state_of;
    l.conn.context = &l;
    l.sink = (struct vs_sink){ .context = &l, .owner = -1, .token = sink_token, .data = sink_data, .progress = sink_progress,
                               .check = { .ask = ask, .context = &l } };
    struct vs_error err = { 0 };
    json_t *settings = read_settings(&err);
    if (!settings)
        fail(&l, &err);
    close(SETTINGS_FD);

    vs_service_prepare();

    /* A limit of its own, or what the machine has to give: beyond that the kernel would have to choose whom to end. */
    json_int_t limit = json_integer_value(json_object_get(settings, "memory_bytes"));
    if (limit <= 0)
        limit = json_integer_value(json_object_get(settings, "free_bytes"));
    bool words = fcntl(WORDS_FD, F_GETFD) >= 0;
    struct vs_sandbox_options options = {
        .profile = VS_SANDBOX_WORKER,
        .keep_fds = 1u << SOCKET_FD | 1u << MODEL_FD,
        .words_fd = words ? WORDS_FD : -1,
        .memory_bytes = limit > 0 ? (uint64_t)limit : 0,
        .keep_stderr = getenv("VERITAS_DEBUG") != NULL,
    };
    struct vs_sandbox_report report;
    if (vs_sandbox_options_parse(getenv("VERITAS_SANDBOX"), &options, &err) != VS_OK
        || vs_sandbox_enter(&options, &report, &err) != VS_OK)
        fail(&l, &err);

    vs_last_words_phase("loading the model");
    if (vs_service_open(MODEL_FD, settings, &l.sink, &l.service, &err) != VS_OK)
        fail(&l, &err);
    json_decref(settings);
    send_json(&l, VS_MSG_READY, 0, ready_message(&l, &report), 2 * VS_MAX_CONTROL);
    l.conn.state = VS_AT_OPEN;
    vs_last_words_phase("waiting for requests");
    for (;;)
        if (!take_frame(&l)) {
            tell_digest(&l);
            attend(&l, INPUT);
        }
}
