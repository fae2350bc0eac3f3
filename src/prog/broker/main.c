/* prog/broker/main.c - set-up and lock-in. Descriptors: 3 listening socket, 4 supervisor, 5 private client, 6 settings. */
#include "prog/broker/broker.h"

#include "ipc/json.h"
#include "sandbox/sandbox.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

enum { LISTEN_FD = 3, CONTROL_FD = 4, PRIVATE_FD = 5, SETTINGS_FD = 6 };

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static uint32_t files_needed(const struct broker *b)
{
    return 12 + broker_connections(b) + 3 * MAX_MODELS + MAX_DESCRIPTORS;
}

/* A descriptor for each client: where there may not be so many, there are fewer places. */
static void fit_clients(struct broker *b)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0)
        return;
    uint32_t needed = files_needed(b), other = needed - b->settings.clients;
    if (files.rlim_max < needed) {
        b->settings.clients = files.rlim_max > other ? (unsigned)(files.rlim_max - other) : 1;
        broker_log(b, "%llu open files are allowed, so %u clients have a place (ulimit -n)", (unsigned long long)files.rlim_max,
                   b->settings.clients);
        needed = (uint32_t)files.rlim_max;
    }
    b->spare_files = files.rlim_max - needed < MAX_SPARE ? (unsigned)(files.rlim_max - needed) : MAX_SPARE;
    needed += b->spare_files;
    if (files.rlim_cur < needed) {
        files.rlim_cur = needed;
        setrlimit(RLIMIT_NOFILE, &files);
    }
}

int main(void)
{
    static struct broker broker;
    struct broker *b = &broker;
    if (!is_open(CONTROL_FD)) {
        fprintf(stderr, "veritas-broker is started by `veritas serve`\n");
        return 2;
    }
    uint16_t unhandled = peer_unhandled() ? peer_unhandled() : model_unhandled() ? model_unhandled() : control_unhandled();
    unhandled = unhandled ? unhandled : audit_unhandled();
    if (unhandled) {
        fprintf(stderr, "veritas-broker: message '%s' (0x%02x) has no handler or no row\n", vs_message_name(unhandled), unhandled);
        return 1;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, SIG_IGN);            /* the supervisor says when to end */
    b->listen_fd = is_open(LISTEN_FD) ? LISTEN_FD : -1;
    control_open(b, CONTROL_FD);
    b->uid = getuid();
    bool is_private = is_open(PRIVATE_FD);
    if (b->listen_fd >= 0)
        fcntl(b->listen_fd, F_SETFL, fcntl(b->listen_fd, F_GETFL) | O_NONBLOCK);
    vs_json_setup(MAX_JSON);
    struct vs_error err;
    broker_init(b);
    if (is_open(SETTINGS_FD) && settings_read(&b->settings, SETTINGS_FD, &err) != VS_OK) {
        broker_log(b, "its settings: %s", err.text);
        return 1;
    }

    b->quiet = is_private && !getenv("VERITAS_DEBUG");
    fit_clients(b);
    struct vs_sandbox_options options = {
        .profile = VS_SANDBOX_BROKER,
        .keep_fds = 1u << CONTROL_FD | (b->listen_fd >= 0 ? 1u << LISTEN_FD : 0) | (is_private ? 1u << PRIVATE_FD : 0),
        .words_fd = -1,
        .memory_bytes = (5ull << 28) + (uint64_t)broker_connections(b) * OWN_MEMORY,
        .n_files = files_needed(b),
        .keep_stderr = true,
    };
    struct vs_sandbox_report report;
    char text[1024];
    if (vs_sandbox_options_parse(getenv("VERITAS_SANDBOX"), &options, &err) != VS_OK
        || vs_sandbox_enter(&options, &report, &err) != VS_OK) {
        broker_log(b, "%s", err.text);
        return 1;
    }
    size_t n = vs_sandbox_report_json(&report, text, sizeof text);
    b->sandbox = n ? vs_json_parse(text, n, NULL) : NULL;
    if (!b->sandbox)
        b->sandbox = json_object();
    if (control_send(b, VS_MSG_HELLO, 0, json_incref(b->sandbox), NULL) != VS_OK)
        return 1;
    if (is_private)
        peer_add(b, PRIVATE_FD, true);
    broker_loop(b);
    control_send(b, VS_MSG_END, 0, NULL, NULL);
    broker_clear(b);
    return 0;
}
