/* prog/gateway/main.c - set-up and lock-in. Descriptors: 3 the parent (`veritas gateway`), 4 settings, 5 last words. */
#include "prog/gateway/gateway.h"

#include "sandbox/sandbox.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

enum { CONTROL_FD = 3, SETTINGS_FD = 4, WORDS_FD = 5, MAX_SETTINGS = 1 << 20, OTHER_FILES = 64 };

static size_t names_of(const json_t *settings, const char *key, char *ret[MAX_NAMES])
{
    json_t *list = json_object_get(settings, key), *name;
    size_t i, n = 0;
    json_array_foreach(list, i, name)
        if (json_is_string(name) && n + 1 < MAX_NAMES)
            ret[n++] = strdup(json_string_value(name));
    return n;
}

/* Our parent wrote them: wrong ones are a fault of ours. */
static int settings_read(struct gateway *g, int fd)
{
    char *text = malloc(MAX_SETTINGS);
    ssize_t n = text ? pread(fd, text, MAX_SETTINGS, 0) : -1;
    json_t *value = n > 0 ? vs_json_parse(text, (size_t)n, NULL) : NULL;
    free(text);
    if (!value)
        return VS_E_MALFORMED;
    struct settings *s = &g->settings;
    s->max_body = (size_t)json_integer_value(json_object_get(value, "max_body"));
    s->max_connections = (unsigned)json_integer_value(json_object_get(value, "max_connections"));
    s->is_ollama = json_is_true(json_object_get(value, "ollama"));
    s->is_web = json_is_true(json_object_get(value, "web"));
    s->is_vllm = json_is_true(json_object_get(value, "vllm"));
    g->needs_key = json_is_true(json_object_get(value, "needs_key"));
    names_of(value, "hosts", s->hosts);
    names_of(value, "origins", s->origins);
    const char *model = json_string_value(json_object_get(value, "model"));
    s->model = model ? strdup(model) : NULL;
    const char *host = json_string_value(json_object_get(value, "otlp_host"));
    const char *path = json_string_value(json_object_get(value, "otlp_path"));
    s->otlp_host = host && path ? strdup(host) : NULL;
    s->otlp_path = host && path ? strdup(path) : NULL;
    json_decref(value);
    return s->max_body && s->max_connections ? VS_OK : VS_E_INVALID;
}

/* A descriptor for each connection: where there may not be so many, there are fewer. */
static void fit_connections(struct gateway *g)
{
    struct rlimit files;
    rlim_t needed = g->settings.max_connections + OTHER_FILES;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0)
        return;
    if (files.rlim_max < needed) {
        g->settings.max_connections = files.rlim_max > OTHER_FILES ? (unsigned)(files.rlim_max - OTHER_FILES) : 1;
        gateway_log("%llu open files are allowed, so there are %u connections at most (ulimit -n)",
                    (unsigned long long)files.rlim_max, g->settings.max_connections);
        needed = files.rlim_max;
    }
    if (files.rlim_cur < needed) {
        files.rlim_cur = needed;
        setrlimit(RLIMIT_NOFILE, &files);
    }
}

int main(void)
{
    static struct gateway gateway;
    struct gateway *g = the_gateway = &gateway;
    if (fcntl(CONTROL_FD, F_GETFD) < 0 || fcntl(SETTINGS_FD, F_GETFD) < 0) {
        fprintf(stderr, "veritas-gateway is started by `veritas gateway`\n");
        return 2;
    }
    uint16_t unhandled = control_unhandled();
    if (unhandled) {
        fprintf(stderr, "veritas-gateway: message '%s' (0x%02x) has no handler or no row\n", vs_message_name(unhandled), unhandled);
        return 1;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, SIG_IGN);            /* the parent says when to end */
    signal(SIGTERM, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    vs_json_setup(MAX_JSON);
    tls_warm_up();
    struct vs_error err;
    g->now = vs_clock_ns();
    if (settings_read(g, SETTINGS_FD) != VS_OK) {
        gateway_log("its settings cannot be read");
        return 1;
    }
    fit_connections(g);
    control_open(g, CONTROL_FD);
    struct vs_sandbox_options options = {
        .profile = VS_SANDBOX_GATEWAY,
        .keep_fds = 1u << CONTROL_FD,
        .words_fd = WORDS_FD,
        .memory_bytes = BASE_MEMORY + MAX_JSON + MAX_BODIES + (uint64_t)g->settings.max_connections * (512 << 10),
        .n_files = g->settings.max_connections + OTHER_FILES,
        .keep_stderr = true,
    };
    struct vs_sandbox_report report;
    char text[1024];
    if (vs_sandbox_options_parse(getenv("VERITAS_SANDBOX"), &options, &err) != VS_OK
        || vs_sandbox_enter(&options, &report, &err) != VS_OK) {
        gateway_log("%s", err.text);
        return 1;
    }
    size_t n = vs_sandbox_report_json(&report, text, sizeof text);
    json_t *sandbox = n ? vs_json_parse(text, n, NULL) : NULL;
    if (control_send(g, VS_MSG_HELLO, 0, sandbox ? sandbox : json_object()) != VS_OK)
        return 1;
    gateway_loop(g);
    return 0;
}
