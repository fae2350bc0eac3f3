/* prog/veritas/gateway.c - `veritas gateway`: the parent of veritas-gateway. It opens listeners, reads certificates,
 * connects to the daemon (or starts a private one and loads the model), and hands all of it over; again when the daemon was
 * started anew (START asks for it) and on SIGHUP. It starts the gateway again when that dies. Where the daemon has to load the
 * model of -m, a process of its own asks for that, and meanwhile the gateway answers probes. */
#include "prog/veritas/command.h"
#include "prog/veritas/door.h"
#include "prog/veritas/serve.h"
#include "prog/veritas/session.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/size.h"
#include "ipc/json.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SPARES = 7, OURS = SPARES - 1 };  /* connections to a private daemon, beside the first; the last makes those of who loads */
#define ATTACH_MS 10000                  /* a daemon that does not answer for so long hangs */
#define FIRST_WAIT (2000 * MS)           /* before a daemon is asked once more for a model that it could not load; doubles */
#define LAST_WAIT (64000 * MS)           /* up to */

struct parent {
    const struct vs_args *args;
    struct supervisor home;              /* what starting a child needs: null_fd, lifeline, old_mask */
    struct door door;
    struct process child;
    struct vs_conn control;
    struct vs_client *spare[SPARES];     /* NULL: handed on, or none */
    struct vs_session session;           /* the private daemon's, which is waited for; else closed after its socket was handed on */
    bool is_private, has_session;
    char model[PATH_MAX];                /* of -m, as the daemon knows it; "": none */
    bool needs_key;                      /* whoever asks */
    struct vs_buf secrets;
    char collector[100], collector_path[200];    /* of --otlp; "" when there is none */
    int signal_fd;
    pid_t loader;                        /* > 0: it loads the model */
    bool is_loading, told_loading, is_up, is_announced, ending;      /* told_loading: what the gateway knows of is_loading */
    uint64_t load_at, load_wait;         /* 0, or when it is loaded again, and how long that was waited for */
    char told[512];                      /* why there is no private daemon, as it was last said */
    int status;                          /* with which it ends, when that was not asked for */
    int exit_status;                     /* the loader's, when it has failed */
    uint64_t end_at;
};

/* ---- the daemon ---- */

static const char *model_of(const struct vs_args *args)
{
    return vs_args_given(args, VS_OPT_MODEL) ? vs_args_text(args, VS_OPT_MODEL) : NULL;
}

static void drop_spares(struct parent *p)
{
    for (size_t i = 0; i < SPARES; i++) {
        vs_client_close(p->spare[i]);
        p->spare[i] = NULL;
    }
}

static int load(struct parent *p, struct vs_session *s, struct vs_error *err)
{
    json_t *settings = json_object();
    int rc = settings && vs_args_json(p->args, "settings.", settings) == VS_OK
        ? vs_session_load(s, model_of(p->args), settings, NULL, err) : vs_error_set(err, VS_E_NOMEM, "out of memory");
    json_decref(settings);
    return rc;
}

/* A further connection to a private daemon: it has no place where one could connect, so it is handed a socket. One that hangs is
 * not waited for: signals are for us, too. */
static int attach(struct vs_client *by, struct vs_client **ret, struct vs_error *err)
{
    json_t *request = json_object();
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
        json_decref(request);
        return vs_error_set(err, VS_E_SYSTEM, "cannot make a socket: %s", strerror(errno));
    }
    const struct vs_files theirs = { 1, { pair[1] } };
    uint64_t id;
    struct vs_event e;
    int rc = vs_client_request(by, VS_MSG_ATTACH, request, &theirs, &id, err);
    do
        rc = rc == VS_OK ? vs_client_next(by, ATTACH_MS, &e, err) : rc;
    while (rc == VS_OK && !(e.is_last && e.request == id));
    if (rc == VS_OK && e.kind != VS_MSG_COMPLETE)
        rc = vs_error_set(err, e.error.code, "%s", e.error.text);
    close(pair[1]);
    json_decref(request);
    if (rc == VS_OK)
        return vs_client_adopt(pair[0], "veritas", "", ret, err);
    close(pair[0]);
    return rc;
}

/* Fewer will do. */
static void make_spares(struct parent *p)
{
    for (size_t i = SPARES; i-- > 0;)
        if (attach(p->session.client, &p->spare[i], NULL) != VS_OK)
            return;
}

/* again: the daemon that was there before; a private one never takes the place of a shared one. */
static int open_session(struct parent *p, bool again, struct vs_error *err)
{
    unsigned flags = VS_SESSION_NO_LOAD | (!again ? 0 : p->is_private ? VS_SESSION_PRIVATE : VS_SESSION_RUNNING);
    drop_spares(p);
    if (p->has_session)
        vs_session_close(&p->session);
    p->has_session = false;
    int rc = vs_session_open(&p->session, p->args, model_of(p->args), flags, err);
    p->has_session = rc == VS_OK;
    if (rc == VS_OK)
        p->is_private = vs_client_is_private(p->session.client);
    if (p->has_session && p->is_private)
        make_spares(p);
    return rc;
}

/* Does it have to be loaded first? A shared daemon loads by itself what it knows by name. */
static bool must_load(const struct parent *p)
{
    return model_of(p->args) && (p->is_private || vs_session_is_path(model_of(p->args)));
}

static int loader_main(struct parent *p, struct vs_client *client)
{
    struct vs_session s = { .client = client, .silent = true };
    struct vs_error err = { 0 };
    prctl(PR_SET_PDEATHSIG, SIGKILL);            /* other signals are the parent's: SIGHUP may come to the whole group */
    if (p->has_session && vs_client_fd(p->session.client) >= 0)
        close(vs_client_fd(p->session.client));  /* a private daemon ends with the parent's */
    return load(p, &s, &err) == VS_OK ? 0 : vs_fail(&err);
}

static int connect_loader(struct parent *p, struct vs_client **ret, struct vs_error *err)
{
    const char *socket = vs_args_given(p->args, VS_OPT_SOCKET) ? vs_args_text(p->args, VS_OPT_SOCKET) : NULL;
    if (!p->is_private)
        return vs_client_connect(socket, "veritas", NULL, ret, err);
    if (!p->spare[OURS])
        return vs_error_set(err, VS_E_LIMIT, "the private daemon has no further connection");
    return attach(p->spare[OURS], ret, err);
}

static void stop_loader(struct parent *p)
{
    if (p->loader > 0) {
        kill(p->loader, SIGKILL);
        waitpid(p->loader, NULL, 0);
    }
    p->loader = 0;
}

/* By a process, as opening and reading take time. */
static int start_load(struct parent *p, struct vs_error *err)
{
    struct vs_client *client;
    stop_loader(p);
    p->load_at = 0;
    int rc = connect_loader(p, &client, err);
    if (rc != VS_OK)
        return rc;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        _exit(loader_main(p, client));
    vs_client_close(client);
    if (pid < 0)
        return vs_error_set(err, VS_E_SYSTEM, "cannot start a process: %s", strerror(errno));
    p->loader = pid;
    return VS_OK;
}

/* Is that said by an option, by the daemon, or, of one of our own, by the policy? */
static int find_needs_key(struct parent *p, struct vs_error *err)
{
    struct vs_policy_file f = { 0 };
    int rc = p->is_private ? vs_policy_file_read(&f, vs_args_given(p->args, VS_OPT_POLICY) ? vs_args_text(p->args, VS_OPT_POLICY)
                                                                                           : NULL, err) : VS_OK;
    p->needs_key = vs_args_given(p->args, VS_OPT_REQUIRE_KEY) || vs_client_needs_key(p->session.client) || f.identity.require_key;
    vs_policy_file_clear(&f);
    return rc;
}

static int send_json(struct parent *p, uint16_t type, uint64_t id, json_t *value, int fd)
{
    struct vs_buf text = { 0 };
    vs_json_dump(value, &text);
    json_decref(value);
    int rc = text.status != VS_OK ? text.status
        : vs_conn_send(&p->control, type, fd >= 0 ? VS_FLAG_FD : 0, id, text.data, text.n, fd);
    vs_buf_clear(&text);
    for (int i = 0; i < 100 && rc == VS_OK && vs_conn_queued(&p->control); i++) {  /* one descriptor at a time waits */
        struct pollfd out = { p->control.fd, POLLOUT, 0 };
        poll(&out, 1, 100);
        rc = vs_conn_flush(&p->control) == VS_E_DIED ? VS_E_DIED : VS_OK;
    }
    return rc;
}

static void hand_collector(struct parent *p)
{
    struct vs_error err = { 0 };
    int fd = -1, rc = p->collector[0] ? door_connect(p->collector, &fd, &err)
                         : vs_error_set(&err, VS_E_INVALID, "there is no collector");
    if (rc != VS_OK) {
        send_json(p, VS_MSG_FAILED, VS_COLLECTOR_ID, vs_json_error(err.code, err.text), -1);
        return;
    }
    send_json(p, VS_MSG_STARTED, VS_COLLECTOR_ID, json_object(), fd);
    close(fd);
}

/* Certificates, and whether the model is there. It answers READY. */
static void send_settings(struct parent *p)
{
    struct vs_buf text = { 0 };
    p->told_loading = p->is_loading;
    vs_buf_str(&text, p->is_loading ? "{\"loading\":true" : "{\"loading\":false");
    if (p->secrets.n > 2)
        vs_buf_char(&text, ',');
    vs_buf_add(&text, p->secrets.data + 1, p->secrets.n - 1);
    if (text.status == VS_OK)
        vs_conn_send(&p->control, VS_MSG_SETTINGS, 0, 0, text.data, text.n, -1);
    explicit_bzero(text.data, text.n);
    vs_buf_clear(&text);
}

/* The model could not be loaded, by a daemon that is there: it may be asked again. */
static void wait_to_load(struct parent *p)
{
    p->load_wait = p->load_wait == 0 ? FIRST_WAIT : p->load_wait < LAST_WAIT ? 2 * p->load_wait : LAST_WAIT;
    p->load_at = vs_clock_ns() + p->load_wait;
}

/* Of a daemon that came anew. The gateway hears of it before it is handed the connection. */
static void load_again(struct parent *p)
{
    struct vs_error err = { 0 };
    p->is_loading = true;
    send_settings(p);
    if (start_load(p, &err) == VS_OK)
        return;
    vs_say_event(VS_LOG_ERROR, "load_failed", "gateway: %s", err.text);
    wait_to_load(p);
}

/* Why there is no private daemon is said once: it is tried every second. */
static void tell_away(struct parent *p, int rc, const struct vs_error *err)
{
    if (rc != VS_OK && p->is_private && strcmp(p->told, err->text) != 0)
        vs_say_event(VS_LOG_WARNING, "daemon_away", "gateway: there is no daemon: %s", err->text);
    snprintf(p->told, sizeof p->told, "%s", rc != VS_OK ? err->text : "");
}

/* The gateway's connection `id` to the daemon. */
static void hand_on(struct parent *p, uint64_t id)
{
    struct vs_error err = { 0 };
    int fd = -1;
    uint32_t credit = 0;
    int rc = VS_OK;
    bool is_spare = p->is_private && id > 1;
    struct vs_client **at = is_spare && id - 2 < OURS ? &p->spare[id - 2] : NULL;
    bool again = !is_spare && (!p->has_session || vs_client_fd(p->session.client) < 0);
    if (is_spare && (!at || !*at))
        rc = vs_error_set(&err, VS_E_LIMIT, "the private daemon has no further connection");
    else if (again && p->is_private && p->is_loading && !p->is_announced)
        rc = vs_error_set(&err, VS_E_DIED, "the daemon has died while it loaded the model");
    else if (again)
        tell_away(p, rc = open_session(p, true, &err), &err);
    if (rc == VS_OK && again && id == 1 && must_load(p))
        load_again(p);
    if (rc == VS_OK && (rc = vs_client_detach(is_spare ? *at : p->session.client, &fd, &credit)) != VS_OK)
        vs_error_set(&err, rc, "the daemon is busy with its own");
    if (rc != VS_OK) {
        send_json(p, VS_MSG_FAILED, id, vs_json_error(err.code, err.text), -1);
        return;
    }
    send_json(p, VS_MSG_STARTED, id, json_pack("{s:I}", "credit", (json_int_t)credit), fd);
    close(fd);
    if (is_spare) {
        vs_client_close(*at);
        *at = NULL;
    }
    if (!p->is_private) {
        vs_session_close(&p->session);
        p->has_session = false;
    }
}

/* ---- the gateway ---- */

static json_t *texts_of(const struct vs_args *args, enum vs_option_id id)
{
    json_t *list = json_array();
    for (int i = 0; i < args->option[id].n; i++)
        json_array_append_new(list, json_string(args->option[id].v[i]));
    return list;
}

static int start_gateway(struct parent *p, struct vs_error *err)
{
    int pair[2], fds[N_CHILD_FDS];
    uint64_t max_body = 16 << 20;
    vs_size_parse(vs_args_text(p->args, VS_OPT_MAX_BODY), &max_body);
    json_t *settings = json_pack("{s:I, s:I, s:b, s:b, s:b, s:o, s:o}", "max_body", (json_int_t)max_body, "max_connections",
                                 (json_int_t)vs_args_int(p->args, VS_OPT_MAX_CONNECTIONS), "ollama",
                                 vs_args_given(p->args, VS_OPT_OLLAMA), "web", !vs_args_given(p->args, VS_OPT_NO_WEB),
                                 "needs_key",
                                 p->needs_key, "hosts", texts_of(p->args, VS_OPT_ALLOW_HOST),
                                 "origins", texts_of(p->args, VS_OPT_ALLOW_ORIGIN));
    if (settings && vs_args_given(p->args, VS_OPT_METRICS_ALIAS))
        json_object_set_new(settings, "vllm", json_true());
    if (settings && p->collector[0]) {
        json_object_set_new(settings, "otlp_host", json_string(p->collector));
        json_object_set_new(settings, "otlp_path", json_string(p->collector_path));
    }
    if (settings && p->model[0])
        json_object_set_new(settings, "model", json_string(p->model));
    struct vs_buf text = { 0 };
    vs_json_dump(settings, &text);
    json_decref(settings);
    memset(fds, -1, sizeof fds);
    fds[FD_SETTINGS] = text.status == VS_OK ? settings_open(text.data) : -1;
    vs_buf_clear(&text);
    if (fds[FD_SETTINGS] < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
        if (fds[FD_SETTINGS] >= 0)
            close(fds[FD_SETTINGS]);
        return vs_error_set(err, VS_E_SYSTEM, "cannot prepare the gateway: %s", strerror(errno));
    }
    fds[FD_CONTROL] = pair[1];
    int rc = process_start(&p->home, &p->child, fds, NULL, err);
    close(pair[1]);
    close(fds[FD_SETTINGS]);
    if (rc != VS_OK) {
        close(pair[0]);
        return rc;
    }
    vs_conn_init(&p->control, pair[0], &vs_ipc_from_gateway, VS_AT_START);
    p->is_up = false;
    return VS_OK;
}

/* It has locked itself in: it gets everything, and says READY. */
static int on_hello(struct parent *p, const struct vs_frame *f)
{
    (void)f;
    p->control.state = VS_AT_OPEN;
    send_settings(p);
    hand_on(p, 1);                       /* first: who connects meanwhile waits */
    for (size_t i = 0; i < p->door.n; i++) {
        const struct door_listener *l = &p->door.listeners[i];
        send_json(p, VS_MSG_LISTEN, 0,
                  json_pack("{s:s, s:b, s:b}", "host", l->host, "tls", l->is_tls, "metrics", l->is_metrics), l->fd);
    }
    return VS_OK;
}

static int on_start(struct parent *p, const struct vs_frame *f)
{
    if (f->id == 0)
        return VS_E_PROTOCOL;
    if (f->id == VS_COLLECTOR_ID)
        hand_collector(p);
    else
        hand_on(p, f->id);
    return VS_OK;
}

static int on_ready(struct parent *p, const struct vs_frame *f)
{
    (void)f;
    p->is_up = true;
    if (p->told_loading && !p->is_loading)       /* it came while the gateway started */
        send_settings(p);
    if (p->told_loading || p->is_loading)
        return VS_OK;
    for (size_t i = 0; i < p->door.n && !p->is_announced; i++)
        if (p->door.listeners[i].url[0])
            printf("listening %s\n", p->door.listeners[i].url);
    if (!p->is_announced)
        vs_notify_send(&p->home.notify, "READY=1");
    p->is_announced = true;
    fflush(stdout);
    return VS_OK;
}

/* Certificates are not usable. At the start that is the end; later the old ones stay. */
static int on_failed(struct parent *p, const struct vs_frame *f)
{
    struct vs_error err;
    json_t *value = vs_json_parse(f->data, f->n, NULL);
    vs_json_to_error(value, &err);
    json_decref(value);
    if (p->is_up)
        vs_say_event(VS_LOG_ERROR, "reload_failed", "gateway: %s; what was there before stays", err.text);
    else {
        if (vs_args_given(p->args, VS_OPT_TLS_CERT))
            vs_say("%s (--tls-cert %s, --tls-key %s)", err.text, vs_args_text(p->args, VS_OPT_TLS_CERT),
                   vs_args_text(p->args, VS_OPT_TLS_KEY));
        else
            vs_say("%s", err.text);
        p->ending = true;
        p->status = err.code;
        process_kill(&p->child);
    }
    return VS_OK;
}

static const struct {
    uint16_t type;
    int (*take)(struct parent *p, const struct vs_frame *f);
} takers[] = {
    { VS_MSG_HELLO, on_hello }, { VS_MSG_START, on_start }, { VS_MSG_READY, on_ready }, { VS_MSG_FAILED, on_failed },
};
enum { N_TAKERS = sizeof takers / sizeof *takers };

static void link_heard(struct parent *p)
{
    struct vs_frame f;
    struct vs_error err;
    vs_conn_flush(&p->control);
    int rc = vs_conn_read(&p->control);
    if (rc != VS_OK && rc != VS_E_BUSY) {
        vs_conn_clear(&p->control);      /* it has died; SIGCHLD says how */
        return;
    }
    while (p->control.fd >= 0 && (rc = vs_conn_next(&p->control, &f, &err)) == VS_OK) {
        size_t i = vs_ipc_handler(takers, N_TAKERS, sizeof *takers, f.type);
        rc = takers[i].take(p, &f);
        if (rc != VS_OK)
            break;
    }
    if (rc != VS_E_BUSY && rc != VS_OK && p->child.pid > 0) {
        vs_say_event(VS_LOG_ERROR, "protocol", "gateway: veritas-gateway broke the rules of its link and is ended");
        kill(p->child.pid, SIGKILL);
    }
}

/* ---- its life ---- */

static uint64_t drain_ns(const struct parent *p)
{
    return (uint64_t)vs_args_int(p->args, VS_OPT_DRAIN) * 1000 * MS;
}

static void end(struct parent *p)
{
    uint8_t ms[4];
    uint64_t time = p->ending ? 0 : drain_ns(p);        /* a second signal is impatient */
    p->ending = true;
    p->end_at = vs_clock_ns() + time + LAST_WORDS_TIME;
    if (p->loader > 0)
        kill(p->loader, SIGKILL);
    vs_store_u32le(ms, (uint32_t)(time / MS));
    vs_notify_send(&p->home.notify, "STOPPING=1");
    if (p->control.fd >= 0)
        vs_conn_send(&p->control, VS_MSG_DRAIN, 0, 0, ms, sizeof ms, -1);
}

static void reload(struct parent *p)
{
    struct vs_buf fresh = { 0 };
    struct vs_error err = { 0 };
    if (p->load_at)                      /* whatever kept the model away may be mended */
        p->load_at = vs_clock_ns();
    if (door_secrets(p->args, &fresh, &err) != VS_OK) {
        vs_say_event(VS_LOG_ERROR, "reload_failed", "gateway: %s; what was there before stays", err.text);
        vs_buf_clear(&fresh);
        return;
    }
    vs_buf_clear(&p->secrets);
    p->secrets = fresh;
    if (p->control.fd >= 0 && p->is_up)
        send_settings(p);
}

static void child_ended(struct parent *p, int status)
{
    char why[400];
    bool again;
    process_ended(&p->child, status, why, sizeof why, &again);
    vs_conn_clear(&p->control);
    if (p->ending)
        return;
    if (status == 0 || !again || !p->is_announced) {
        vs_say("gateway: veritas-gateway ended: %s", why);
        p->ending = true;
        p->status = VS_E_DIED;
        return;
    }
    vs_say_event(VS_LOG_WARNING, "gateway_died", "gateway: veritas-gateway died: %s; it is started again", why);
}

static void loader_ended(struct parent *p, int status)
{
    p->loader = 0;
    if (status == 0) {
        p->is_loading = false;
        p->load_wait = 0;
        if (p->control.fd >= 0 && p->is_up)
            send_settings(p);
    } else if (!p->ending && p->is_announced) {
        wait_to_load(p);
    } else if (!p->ending) {
        p->ending = true;
        p->exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : vs_status_exit(VS_E_DIED);
        if (!WIFEXITED(status))          /* else it has said why */
            vs_say("gateway: the process that loads the model was ended by signal %d", WTERMSIG(status));
        process_kill(&p->child);
    }
}

static void take_signals(struct parent *p)
{
    struct signalfd_siginfo info;
    while (read(p->signal_fd, &info, sizeof info) == sizeof info) {
        if (info.ssi_signo == SIGHUP)
            reload(p);
        else if (info.ssi_signo != SIGCHLD)
            end(p);
    }
    int status;
    if (p->child.pid > 0 && waitpid(p->child.pid, &status, WNOHANG) == p->child.pid)
        child_ended(p, status);          /* a private daemon is waited for by its session */
    if (p->loader > 0 && waitpid(p->loader, &status, WNOHANG) == p->loader)
        loader_ended(p, status);
}

static void loop(struct parent *p)
{
    while (!(p->ending && (p->child.pid == 0 || vs_clock_ns() >= p->end_at))) {
        struct vs_error err;
        uint64_t now = vs_clock_ns(), next = p->ending ? p->end_at : p->child.restart_at ? p->child.restart_at : now + 60000 * MS;
        if (p->load_at && now >= p->load_at && !p->ending)
            load_again(p);
        if (p->load_at && !p->ending && p->load_at < next)
            next = p->load_at;
        if (p->child.restart_at && now >= p->child.restart_at && !p->ending && start_gateway(p, &err) != VS_OK) {
            vs_say("gateway: %s", err.text);
            p->status = VS_E_DIED;
            return;
        }
        struct pollfd polls[] = {
            { p->signal_fd, POLLIN, 0 },
            { p->control.fd, (short)(POLLIN | (p->control.fd >= 0 && vs_conn_queued(&p->control) ? POLLOUT : 0)), 0 },
        };
        int wait = next <= now ? 0 : next - now > 60000 * MS ? 60000 : (int)((next - now) / MS) + 1;
        if (poll(polls, 2, wait) < 0 && errno != EINTR)
            return;
        if (polls[1].revents)
            link_heard(p);
        if (polls[0].revents)
            take_signals(p);
    }
}

/* What may not be open to other machines without keys and TLS. */
static int check_open(const struct parent *p, struct vs_error *err)
{
    bool has_tls = vs_args_given(p->args, VS_OPT_TLS_CERT), has_keys = p->needs_key;
    for (size_t i = 0; i < p->door.n; i++) {
        const struct door_listener *l = &p->door.listeners[i];
        if (!l->is_loopback && !(has_tls && has_keys) && !vs_args_given(p->args, VS_OPT_INSECURE))
            return vs_error_set(err, VS_E_INVALID, "%s can be reached from other machines: it wants --require-key, --tls-cert and "
                                "--tls-key, or --insecure", l->host);
    }
    return VS_OK;
}

/* As browsers send them: scheme://host[:port], and nothing behind it. */
static int check_origins(const struct vs_args *args, struct vs_error *err)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyz0123456789.-_";
    for (int i = 0; i < args->option[VS_OPT_ALLOW_ORIGIN].n; i++) {
        const char *origin = args->option[VS_OPT_ALLOW_ORIGIN].v[i], *sep = strstr(origin, "://"), *at = sep ? sep + 3 : "";
        size_t n_host = at[0] == '[' ? strcspn(at, "]") + 1 : strspn(at, plain);
        const char *port = at + (n_host < strlen(at) ? n_host : strlen(at));
        int64_t number = 1;
        bool has_port = port[0] == ':' && vs_integer_parse(port + 1, &number);
        if (!sep || sep == origin || strspn(origin, "abcdefghijklmnopqrstuvwxyz0123456789+.-") != (size_t)(sep - origin) || !n_host
            || (port[0] && !has_port) || number < 1 || number > 65535)
            return vs_error_set(err, VS_E_INVALID, "--allow-origin wants scheme://host or scheme://host:port in lower case, as "
                                "browsers send it, not '%.100s'", origin);
    }
    return VS_OK;
}

/* A name that requests without a model would get: is it there? */
static int check_model(struct parent *p, struct vs_error *err)
{
    json_t *request = json_object(), *result = NULL, *model;
    size_t i;
    bool is_there = false;
    int rc = vs_session_call(&p->session, VS_MSG_LIST, request, -1, NULL, NULL, &result, err);
    json_array_foreach(json_object_get(result, "models"), i, model) {
        const char *name = json_string_value(json_object_get(model, "name"));
        is_there |= name && strcmp(name, p->model) == 0;
    }
    json_decref(request);
    json_decref(result);
    return rc != VS_OK || is_there ? rc : vs_error_set(err, VS_E_NOT_FOUND, "there is no model '%.100s': `veritas models` lists "
                                                       "them", p->model);
}

/* The name of -m's model for the daemon, which is the same for each one. */
static int choose_model(struct parent *p, struct vs_error *err)
{
    struct vs_session s = { 0 };
    int rc = model_of(p->args) ? vs_session_choose(&s, model_of(p->args), err) : VS_OK;
    memcpy(p->model, s.model, sizeof p->model);
    return rc;
}

static int set_up(struct parent *p, struct vs_error *err)
{
    const struct vs_args *args = p->args;
    bool has_tls = vs_args_given(args, VS_OPT_TLS_CERT);
    json_t *settings = json_object();
    int rc = vs_args_json(args, "settings.", settings);
    if (rc == VS_OK && json_object_size(settings) > 0 && !model_of(args))
        rc = vs_error_set(err, VS_E_INVALID, "options of a model (--ctx, --threads, ...) need --model");
    json_decref(settings);
    if (rc == VS_OK && has_tls != vs_args_given(args, VS_OPT_TLS_KEY))
        rc = vs_error_set(err, VS_E_INVALID, "--tls-cert and --tls-key go together");
    if (rc == VS_OK)
        rc = check_origins(args, err);
    if (rc == VS_OK)
        rc = processes_find(PROCESS_GATEWAY, PROCESS_GATEWAY, err);
    if (rc == VS_OK)
        rc = vs_session_check_variables(err);
    if (rc == VS_OK && vs_args_given(args, VS_OPT_OTLP))
        rc = door_collector(vs_args_text(args, VS_OPT_OTLP), p->collector, p->collector_path, err);
    if (rc == VS_OK)
        rc = door_secrets(args, &p->secrets, err);
    if (rc == VS_OK && !vs_args_given(args, VS_OPT_LISTEN))
        rc = door_open(&p->door, vs_args_text(args, VS_OPT_LISTEN), false, has_tls, err);
    for (int i = 0; rc == VS_OK && i < args->option[VS_OPT_LISTEN].n; i++)
        rc = door_open(&p->door, args->option[VS_OPT_LISTEN].v[i], false, has_tls, err);
    if (rc == VS_OK && vs_args_given(args, VS_OPT_METRICS_LISTEN))
        rc = door_open(&p->door, vs_args_text(args, VS_OPT_METRICS_LISTEN), true, false, err);
    if (rc == VS_OK)
        rc = open_session(p, false, err);
    if (rc == VS_OK)
        rc = choose_model(p, err);
    if (rc == VS_OK)
        rc = find_needs_key(p, err);
    if (rc == VS_OK)
        rc = check_open(p, err);
    if (rc == VS_OK && model_of(args) && !vs_session_is_path(model_of(args)))
        rc = check_model(p, err);
    if (rc != VS_OK)
        return rc;
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGCHLD);
    sigaddset(&mask, SIGTERM);
    sigaddset(&mask, SIGINT);
    sigaddset(&mask, SIGHUP);
    sigprocmask(SIG_BLOCK, &mask, &p->home.old_mask);
    p->signal_fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
    p->home.null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (p->signal_fd < 0 || p->home.null_fd < 0 || pipe2(p->home.lifeline, O_CLOEXEC) != 0)
        return vs_error_set(err, VS_E_SYSTEM, "cannot set up: %s", strerror(errno));
    vs_notify_open(&p->home.notify);
    p->is_loading = must_load(p);
    int started = p->is_loading ? start_load(p, err) : VS_OK;
    return started == VS_OK ? start_gateway(p, err) : started;
}

int vs_command_gateway(const struct vs_args *args)
{
    static struct parent parent = { .home.notify.fd = -1, .signal_fd = -1, .control.fd = -1, .child.kind = PROCESS_GATEWAY };
    struct parent *p = &parent;
    struct vs_error err = { 0 };
    uint16_t unhandled = vs_ipc_unhandled(&vs_ipc_from_gateway, takers, N_TAKERS, sizeof *takers);
    if (unhandled) {
        vs_say("gateway: message '%s' (0x%02x) has no handler or no row", vs_message_name(unhandled), unhandled);
        return 1;
    }
    vs_json_setup(0);
    p->args = args;
    int rc = set_up(p, &err);
    if (rc == VS_OK) {
        loop(p);
        rc = p->status;
    } else {
        vs_fail(&err);
    }
    process_kill(&p->child);
    stop_loader(p);
    vs_conn_clear(&p->control);
    drop_spares(p);
    if (p->has_session)
        vs_session_close(&p->session);
    door_close(&p->door);
    vs_buf_clear(&p->secrets);
    vs_notify_close(&p->home.notify);
    return p->exit_status ? p->exit_status : vs_status_exit(rc);
}
