/* prog/guard/main.c - set-up, lock-in, the loop. Descriptors: 3 the supervisor, 4 last words, 5 the policy, 6 the compiled
 * rules. */
#include "prog/guard/guard.h"

#include "filter/rules.h"
#include "ipc/json.h"
#include "sandbox/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <unistd.h>

enum { CONTROL_FD = 3, WORDS_FD = 4, POLICY_FD = 5, RULES_FD = 6, N_FILES = 16 };

#define MAX_RULES (64u << 20)           /* bytes of the compiled rules */

_Noreturn void guard_leave(const char *why)
{
    vs_last_words_say(VS_E_DIED, why);
    _exit(1);
}

static short wants(const struct vs_conn *c, bool read)
{
    return (short)((read ? POLLIN : 0) | (vs_conn_queued(c) ? POLLOUT : 0));
}

/* One who hears nothing more of a worker that is gone. */
static void finish_leaving(struct guard *g)
{
    if (g->is_leaving && vs_conn_queued(&g->broker) == 0)
        front_close(g);
}

static _Noreturn void loop(struct guard *g)
{
    for (;;) {
        bool to_worker = vs_conn_queued(&g->worker) <= MAX_TO_WORKER && (g->worker.fd >= 0 || g->is_alone) && !g->is_leaving;
        bool to_broker = vs_conn_queued(&g->broker) <= MAX_TO_BROKER && !g->is_broken;
        bool front_waits = g->broker_has_more && to_worker, back_waits = g->worker_has_more && to_broker;
        struct pollfd p[] = {
            { g->control.fd, wants(&g->control, true), 0 },
            { g->broker.fd, wants(&g->broker, to_worker && !g->broker_has_more), 0 },
            { g->worker.fd, wants(&g->worker, to_broker && !g->worker_has_more), 0 },
        };
        if (poll(p, 3, front_waits || back_waits ? 0 : -1) < 0 && errno != EINTR)
            guard_leave("poll failed");
        if (p[0].revents)
            control_ready(g, p[0].revents);
        if (p[2].fd == g->worker.fd && p[2].fd >= 0 && (back_waits || p[2].revents))
            back_ready(g, p[2].revents);
        if (p[1].fd == g->broker.fd && p[1].fd >= 0 && (front_waits || p[1].revents))
            front_ready(g, p[1].revents);
        vs_conn_flush(&g->worker);
        vs_conn_flush(&g->broker);
        finish_leaving(g);
    }
}

/* The supervisor's copy of the file that the build made. All guards share it, and so its place: each reads from its own. They are
 * bytes of ours, so they may be read before lock-in; what they say is looked at later. */
static void read_rules(struct vs_buf *file)
{
    char piece[16384];
    for (ssize_t got; (got = pread(RULES_FD, piece, sizeof piece, (off_t)file->n)) > 0 && file->status == VS_OK;)
        vs_buf_add(file, piece, (size_t)got);
    close(RULES_FD);
}

static struct vs_scan *open_rules(struct vs_buf *bytes)
{
    struct vs_buf file = *bytes;
    struct vs_rules *rules;
    struct vs_scan *scan;
    struct vs_error err = { 0 };
    if (file.status != VS_OK || vs_rules_open(file.data, file.n, &rules, &err) != VS_OK || vs_scan_create(rules, &scan) != VS_OK)
        guard_leave(err.code != VS_OK ? err.text : "out of memory for the rules");
    vs_buf_clear(bytes);
    return scan;
}

static uint16_t unhandled(void)
{
    return control_unhandled() ? control_unhandled() : front_unhandled() ? front_unhandled() : back_unhandled();
}

int main(void)
{
    static struct guard guard = { .worker_came = -1 };
    struct guard *g = &guard;
    if (fcntl(CONTROL_FD, F_GETFD) < 0 || fcntl(POLICY_FD, F_GETFD) < 0 || fcntl(RULES_FD, F_GETFD) < 0) {
        fprintf(stderr, "veritas-guard is started by `veritas serve`\n");
        return 2;
    }
    uint16_t type = unhandled();
    if (type) {
        fprintf(stderr, "veritas-guard: message '%s' (0x%02x) has no handler or no row\n", vs_message_name(type), type);
        return 1;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN);
    vs_json_setup(MAX_JSON);
    g->rest = (struct vs_check){ .ask = back_rest, .context = g };
    vs_conn_init(&g->control, CONTROL_FD, &vs_ipc_to_guard_control, VS_AT_OPEN);
    vs_conn_init(&g->broker, -1, &vs_ipc_to_guard, VS_AT_START);
    vs_conn_init(&g->worker, -1, &vs_ipc_from_worker, VS_AT_START);
    struct vs_buf rules = { .limit = MAX_RULES };
    read_rules(&rules);
    struct vs_sandbox_options options = {
        .profile = VS_SANDBOX_GUARD,
        .keep_fds = 1u << CONTROL_FD | 1u << POLICY_FD,
        .words_fd = fcntl(WORDS_FD, F_GETFD) >= 0 ? WORDS_FD : -1,
        .memory_bytes = MAX_MEMORY,
        .n_files = N_FILES,
        .keep_stderr = getenv("VERITAS_DEBUG") != NULL,
    };
    struct vs_sandbox_report report;
    struct vs_error err;
    char text[1024];
    if (vs_sandbox_options_parse(getenv("VERITAS_SANDBOX"), &options, &err) != VS_OK
        || vs_sandbox_enter(&options, &report, &err) != VS_OK)
        guard_leave(err.text);
    size_t n = vs_sandbox_report_json(&report, text, sizeof text);
    g->sandbox = n ? vs_json_parse(text, n, NULL) : NULL;
    if (getrandom(g->key, sizeof g->key, 0) != (ssize_t)sizeof g->key)
        guard_leave("no random numbers");
    g->scan = open_rules(&rules);
    g->screen = policy_read(g, POLICY_FD);
    close(POLICY_FD);
    vs_last_words_phase("passing frames");
    loop(g);
}
