/* prog/worker/main.c - a process that has one model and one socket, and nothing else.
 *
 * Started with 3 = the broker, 4 = the model file (read-only), 5 = page of last words, 6 = settings, 7 = the draft model's file,
 * where there is one, 8 and so on = the other parts of a split model. It locks itself in before it looks at the model; then it
 * loads, says READY or FAILED, and serves requests.
 * The supervisor's settings are read before lock-in: they size the limits. The socket is looked at between steps, every two
 * milliseconds within one (src/cpu/run.c), and whenever a request that is read asks (vs_sink.check): so cancel and credit arrive,
 * and what needs no step is answered meanwhile. When the socket ends, so does the worker. */
#include "prog/worker/formats.h"
#include "prog/worker/imatrix.h"
#include "prog/worker/quantize.h"
#include "prog/worker/render.h"
#include "prog/worker/job.h"

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
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { SOCKET_FD = 3, MODEL_FD = 4, WORDS_FD = 5, SETTINGS_FD = 6, DRAFT_FD = 7, MORE_FD = 8 };

#define MAX_SETTINGS (64u << 10)
#define MAX_JSON (512u << 20)
#define BESIDE_BYTES (256 << 20)        /* most that threads and texts take beside a model */
#define DIGEST_MS 20                    /* how often an idle worker looks whether the digest is there */
#define ALIVE_NS 1000000000ull          /* so often we say that we work: src/prog/broker/broker.h */
#define STATS_NS 100000000ull           /* and at most so often how full the cache is */
#define LOAD_NS 50000000ull

void vs_link_leave(int status)
{
    _exit(status);
}

static unsigned state_of(const void *link, uint64_t id)
{
    return vs_job_find(link, id) ? VS_AT_BEGUN : VS_AT_FREE;
}

/* ---- out ---- */

void vs_link_send(struct vs_link *l, uint16_t type, uint16_t flags, uint64_t id, const void *data, size_t n)
{
    if (vs_conn_send(&l->conn, type, flags, id, data, n, -1) != VS_OK)
        vs_link_leave(1);
}

void vs_link_send_json(struct vs_link *l, uint16_t type, uint64_t id, json_t *value, uint32_t max)
{
    struct vs_buf out = { .limit = max };
    vs_json_dump(value, &out);
    json_decref(value);
    if (out.status == VS_OK)
        vs_link_send(l, type, 0, id, out.data, out.n);
    else if (type != VS_MSG_PROGRESS && type != VS_MSG_STATS)
        vs_link_leave(1);
    vs_buf_clear(&out);
}

static void say_alive(struct vs_link *l, uint64_t id)
{
    uint64_t now = vs_clock_ns();
    if (now - l->alive_ns < ALIVE_NS)
        return;
    l->alive_ns = now;
    if (vs_jobs_are_alive(l))
        vs_link_send(l, VS_MSG_ALIVE, 0, id, NULL, 0);
}

static void tell_stats(struct vs_link *l)
{
    uint64_t now = vs_clock_ns();
    if (l->jobs && now - l->stats_ns < STATS_NS)
        return;
    l->stats_ns = now;
    json_t *stats = vs_service_stats(l->service);
    if (stats)
        vs_link_send_json(l, VS_MSG_STATS, 0, stats, VS_MAX_CONTROL);
}

/* Says why there is no model, and stays until the broker has read it. */
static _Noreturn void fail(struct vs_link *l, const struct vs_error *err)
{
    vs_link_send_json(l, VS_MSG_FAILED, 0, vs_json_error(err->code, err->text), VS_MAX_CONTROL);
    for (;;) {
        struct pollfd p = { l->conn.fd, (short)(POLLIN | (vs_conn_queued(&l->conn) ? POLLOUT : 0)), 0 };
        poll(&p, 1, -1);
        if (vs_conn_flush(&l->conn) == VS_E_DIED)
            vs_link_leave(0);
        int status = vs_conn_read(&l->conn);      /* the broker closes the socket */
        if (status != VS_OK && status != VS_E_BUSY)
            vs_link_leave(0);
    }
}

/* The broker hears once what was loaded. When nobody can say that, because the file was changed meanwhile, no answer counts. */
static void tell_digest(struct vs_link *l)
{
    char hex[65];
    uint64_t done, total;
    struct vs_error err = { 0 };
    int status = l->has_told_digest ? VS_E_BUSY : vs_service_digest(l->service, 0, hex, &done, &total, &err);
    l->has_told_digest |= status != VS_E_BUSY;
    if (status == VS_OK)
        vs_link_send(l, VS_MSG_DIGEST, 0, 0, hex, 64);
    else if (status != VS_E_BUSY && status != VS_E_NOT_FOUND)
        fail(l, &err);
}

/* ---- in ---- */

static void on_credit(struct vs_link *l, const struct vs_frame *f)
{
    struct vs_job *j = vs_job_find(l, f->id);
    if (j)                              /* else it came too late for its request */
        vs_job_credit(j, vs_load_u32le(f->data));
}

static void on_cancel(struct vs_link *l, const struct vs_frame *f)
{
    struct vs_job *j = vs_job_find(l, f->id);
    uint32_t value = vs_load_u32le(f->data);
    int code = value >= 1 && value < 1000 ? -(int)value : VS_E_CANCELLED;
    if (j && !value)
        j->is_left = true;
    if (j && !(code == VS_E_BUSY && j->sent_any))       /* what has said something does not go back into the line */
        vs_job_stop(j, code);
}

static const struct {
    uint16_t type;
    void (*take)(struct vs_link *l, const struct vs_frame *f);
} handlers[] = {
    { VS_MSG_CREDIT, on_credit },
    { VS_MSG_CANCEL, on_cancel },
    { VS_MSG_SENT, vs_job_sent },
#define ON_REQUEST(name, ...) { VS_MSG_##name, vs_job_begin },
    VS_MODEL_REQUEST_MAP(ON_REQUEST)
};

static void flush(struct vs_link *l)
{
    if (vs_conn_flush(&l->conn) == VS_E_DIED)
        vs_link_leave(0);
}

void vs_link_attend(struct vs_link *l)
{
    struct vs_frame f;
    struct vs_error why;
    l->heard_ns = vs_clock_ns();
    if (l->jobs)
        say_alive(l, l->jobs->id);
    flush(l);
    int status = vs_conn_read(&l->conn);
    if (status == VS_E_DIED)
        vs_link_leave(0);
    if (status != VS_OK && status != VS_E_BUSY)
        vs_link_leave(1);
    while ((status = vs_conn_next(&l->conn, &f, &why)) == VS_OK)
        handlers[vs_ipc_handler(handlers, sizeof handlers / sizeof *handlers, sizeof *handlers, f.type)].take(l, &f);
    if (status != VS_E_BUSY)
        vs_link_leave(1);
    flush(l);
}

/* While a step runs. What needs no step is answered meanwhile. */
static void attend(void *link)
{
    vs_link_attend(link);
    vs_jobs_turn(link);
    flush(link);
}

/* ---- the loop ---- */

/* Until something comes: a frame, or the end of a text thread's work. */
static void wait(struct vs_link *l)
{
    uint64_t n;
    struct pollfd p[] = { { l->conn.fd, (short)(POLLIN | (vs_conn_queued(&l->conn) ? POLLOUT : 0)), 0 },
                          { l->wake_fd, POLLIN, 0 } };
    int ms = l->jobs ? (int)(ALIVE_NS / 1000000) : l->has_told_digest ? -1 : DIGEST_MS;
    if (poll(p, 2, ms) < 0 && errno != EINTR)
        vs_link_leave(1);
    if (p[1].revents && read(l->wake_fd, &n, sizeof n) < 0 && errno != EAGAIN && errno != EINTR)
        vs_link_leave(1);
}

static _Noreturn void serve(struct vs_link *l)
{
    char hex[65];
    uint64_t done, total;
    for (;;) {
        vs_link_attend(l);
        bool any = vs_jobs_turn(l);
        any |= vs_service_turn(l->service, attend, l);
        any |= vs_jobs_turn(l);
        tell_digest(l);
        tell_stats(l);
        if (any)
            continue;
        flush(l);
        if (vs_jobs_await_digest(l))
            vs_service_digest(l->service, 10, hex, &done, &total, NULL);
        else
            wait(l);
    }
}

/* ---- begin ---- */

static int load_progress(void *context, const char *what, uint64_t done, uint64_t total)
{
    struct vs_link *l = context;
    uint64_t now = vs_clock_ns();
    say_alive(l, 0);
    if (now - l->stats_ns >= LOAD_NS || (total && done == total)) {
        l->stats_ns = now;
        vs_link_send_json(l, VS_MSG_PROGRESS, 0, json_pack("{s:s, s:I, s:I}", "what", what, "done", (json_int_t)done,
                                                           "total", (json_int_t)total), VS_MAX_CONTROL);
    }
    vs_link_attend(l);
    return VS_OK;
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

static json_t *ready_message(struct vs_link *l, const struct vs_sandbox_report *report)
{
    char text[1024];
    size_t n = vs_sandbox_report_json(report, text, sizeof text);
    return json_pack("{s:o?, s:o}", "sandbox", n ? vs_json_parse(text, n, NULL) : NULL, "facts", vs_service_facts(l->service));
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--formats") == 0)
        return vs_formats(argc, argv);
    if (argc > 1 && strcmp(argv[1], "--imatrix") == 0)
        return vs_imatrix_main(argc, argv);
    if (argc > 1 && strcmp(argv[1], "--quantize") == 0)
        return vs_quantize_main(argc, argv);
    if (argc > 1 && strcmp(argv[1], "--render") == 0)
        return vs_render_main(argc, argv);
    if (fcntl(SOCKET_FD, F_GETFD) < 0 || fcntl(MODEL_FD, F_GETFD) < 0 || fcntl(SETTINGS_FD, F_GETFD) < 0) {
        fprintf(stderr, "veritas-worker is started by `veritas serve`\n");
        return 2;
    }
    bool drafts = fcntl(DRAFT_FD, F_GETFD) >= 0;
    struct vs_files parts = { 1, { MODEL_FD } };
    for (int fd = MORE_FD; parts.n < VS_MAX_FILES && fcntl(fd, F_GETFD) >= 0; fd++)
        parts.fd[parts.n++] = fd;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN);
    vs_json_setup(MAX_JSON);
    static struct vs_link l = { .lock = PTHREAD_MUTEX_INITIALIZER, .has_text = PTHREAD_COND_INITIALIZER };
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
    l.conn.corked = true;               /* frames of a turn go out together */
    l.main = pthread_self();
    struct vs_sink loading = { .context = &l, .owner = -1, .progress = load_progress };
    struct vs_error err = { 0 };
    l.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (l.wake_fd < 0) {
        vs_error_set(&err, VS_E_SYSTEM, "eventfd: %s", strerror(errno));
        fail(&l, &err);
    }
    json_t *settings = read_settings(&err);
    if (!settings)
        fail(&l, &err);
    close(SETTINGS_FD);

    vs_service_prepare();

    /* A limit of its own, or what the machine has to give: beyond that the kernel would have to choose whom to end. What is
     * free is counted in weights, KV cache and the step's memory; stacks and texts come beside them. */
    json_int_t limit = json_integer_value(json_object_get(settings, "memory_bytes"));
    if (limit <= 0) {
        limit = json_integer_value(json_object_get(settings, "free_bytes"));
        limit += limit > 0 && limit < INT64_MAX - BESIDE_BYTES ? BESIDE_BYTES : 0;
    }
    bool words = fcntl(WORDS_FD, F_GETFD) >= 0;
    struct vs_sandbox_options options = {
        .profile = VS_SANDBOX_WORKER,
        .keep_fds = UINT64_C(1) << SOCKET_FD | (drafts ? UINT64_C(1) << DRAFT_FD : 0) | UINT64_C(1) << l.wake_fd,
        .words_fd = words ? WORDS_FD : -1,
        .memory_bytes = limit > 0 ? (uint64_t)limit : 0,
        .keep_stderr = getenv("VERITAS_DEBUG") != NULL,
    };
    for (unsigned i = 0; i < parts.n; i++)
        options.keep_fds |= UINT64_C(1) << parts.fd[i];
    struct vs_sandbox_report report;
    if (vs_sandbox_options_parse(getenv("VERITAS_SANDBOX"), &options, &err) != VS_OK
        || vs_sandbox_enter(&options, &report, &err) != VS_OK)
        fail(&l, &err);

    vs_last_words_phase("loading the model");
    if (vs_service_open(&parts, drafts ? DRAFT_FD : -1, settings, &loading, &l.service, &err) != VS_OK
        || vs_text_start(&l, &err) != VS_OK)
        fail(&l, &err);
    json_decref(settings);
    vs_link_send_json(&l, VS_MSG_READY, 0, ready_message(&l, &report), 2 * VS_MAX_CONTROL);
    tell_stats(&l);                     /* in the same write: who is told that it is loaded may ask for them */
    l.conn.state = VS_AT_OPEN;
    vs_last_words_phase("waiting for requests");
    serve(&l);
}
