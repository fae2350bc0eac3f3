/* prog/audit/main.c - set-up, lock-in, the loop. Descriptors: 3 the supervisor, 4 last words, 5 settings, 6 the last file of the
 * log (none: there is no log yet, or never, and it only signs), 7 the lock, which it only holds, 8 the signing key, 9 public keys,
 * 10 checkpoints, 11 their copy, 12 the key from outside, which is closed before lock-in, or the file that has our first one,
 * 13 the operator's file of what was withheld from clients. */
#include "prog/audit/audit.h"

#include "base/clock.h"
#include "evidence/root.h"
#include "ipc/json.h"
#include "sandbox/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { CONTROL_FD = 3, WORDS_FD = 4, SETTINGS_FD = 5, LOG_FD = 6, LOCK_FD = 7, LAST_FD = 11, ROOT_FD = 12, KEPT_FD = 13,
       N_FILES = 24 };
enum { ROOT_MOST = 16384 };             /* bytes of a key in PEM */
#define MAX_MEMORY (128u << 20)

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static int wait_ms(uint64_t next)
{
    uint64_t now = vs_clock_ns();
    return next == UINT64_MAX ? -1 : next <= now ? 0 : (int)((next - now) / MS) + 1;
}

static void loop(struct audit *a)
{
    while (!a->is_stopping) {
        uint64_t next = log_timer(a), due = seal_timer(a);
        next = due < next ? due : next;
        struct pollfd p[] = {
            { a->control.fd, (short)(POLLIN | (vs_conn_queued(&a->control) ? POLLOUT : 0)), 0 },
            { a->broker.fd, (short)(POLLIN | (vs_conn_queued(&a->broker) ? POLLOUT : 0)), 0 },
        };
        if (poll(p, 2, a->broker_has_more ? 0 : wait_ms(next)) < 0 && errno != EINTR)
            audit_leave(VS_E_SYSTEM, "poll failed");
        if (p[1].revents || a->broker_has_more)
            broker_ready(a, p[1].revents);
        log_flush(a);
        if (vs_conn_queued(&a->broker))
            vs_conn_flush(&a->broker);  /* a failure shows at the next read */
        if (p[0].revents)
            control_ready(a, p[0].revents);
    }
}

static json_t *settings_read(struct vs_error *err)
{
    char text[VS_MAX_START];
    ssize_t n = pread(SETTINGS_FD, text, sizeof text, 0);
    return vs_json_parse(text, n > 0 ? (size_t)n : 0, err);
}

static void say_ready(struct audit *a, const char *sandbox, size_t n)
{
    vs_conn_send(&a->control, VS_MSG_READY, 0, 0, n ? sandbox : "{}", n ? n : 2, -1);
}

/* The key from outside, where there is one: it does its work and is gone before lock-in. */
static void use_root(struct audit *a, const json_t *settings)
{
    char text[ROOT_MOST];
    size_t n = 0;
    struct vs_root *root = NULL;
    struct vs_error err = { 0 };
    const char *uri = json_string_value(json_object_get(settings, "pkcs11"));
    int rc = uri ? vs_root_open(uri, &root, &err) : VS_OK;
    if (!uri && is_open(ROOT_FD)) {
        lseek(ROOT_FD, 0, SEEK_SET);    /* where the writer before this one read it; a pipe has no such place */
        for (ssize_t got; n < sizeof text && (got = read(ROOT_FD, text + n, sizeof text - n)) > 0;)
            n += (size_t)got;
        if (!own_begin(a, text, n)) {
            rc = vs_root_read(text, n, &root, &err);
            close(ROOT_FD);
        }
        explicit_bzero(text, sizeof text);
    }
    if (rc != VS_OK)
        audit_leave(rc, "%s", err.text);
    if (root)
        seal_begin(root);
    vs_root_free(root);
}

int main(void)
{
    static struct audit audit = { .next_fd = -1, .clock_offset_ms = INT64_MIN };
    struct audit *a = &audit;
    struct vs_error err = { 0 };
    uint16_t unhandled = control_unhandled();
    if (!is_open(CONTROL_FD) || !is_open(SETTINGS_FD)) {
        fprintf(stderr, "veritas-audit is started by `veritas serve`\n");
        return 2;
    }
    if (unhandled) {
        fprintf(stderr, "veritas-audit: message '%s' (0x%02x) has no handler or no row\n", vs_message_name(unhandled), unhandled);
        return 1;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN);
    vs_json_setup(MAX_JSON);
    vs_conn_init(&a->control, CONTROL_FD, &vs_ipc_to_audit_control, VS_AT_OPEN);
    vs_conn_init(&a->broker, -1, &vs_ipc_to_audit, VS_AT_OPEN);
    a->log_fd = is_open(LOG_FD) ? LOG_FD : -1;
    a->has_copy = is_open(LAST_FD);     /* before its number can be that of a file that comes */
    a->has_kept = is_open(KEPT_FD);
    vs_last_words_attach(WORDS_FD);
    if (vs_evidence_setup(&err) != VS_OK || vs_sign_setup(&err) != VS_OK)
        audit_leave(err.code, "%s", err.text);
    if (sodium_init() < 0)
        audit_leave(VS_E_UNSUPPORTED, "libsodium cannot begin here");
    json_t *settings = settings_read(&err);
    if (!settings)
        audit_leave(err.code, "its settings: %s", err.text);
    use_root(a, settings);
    struct vs_sandbox_options options = {
        .profile = VS_SANDBOX_AUDIT,
        .keep_fds = 1u << CONTROL_FD | 1u << SETTINGS_FD | ((1u << (LAST_FD + 1)) - (1u << LOG_FD))
            | (a->has_own ? 1u << ROOT_FD : 0) | (a->has_kept ? 1u << KEPT_FD : 0),
        .words_fd = is_open(WORDS_FD) ? WORDS_FD : -1,
        .memory_bytes = MAX_MEMORY,
        .n_files = N_FILES,
        .keep_stderr = getenv("VERITAS_DEBUG") != NULL,
    };
    struct vs_sandbox_report report;
    char text[1024];
    if (vs_sandbox_options_parse(getenv("VERITAS_SANDBOX"), &options, &err) != VS_OK
        || vs_sandbox_enter(&options, &report, &err) != VS_OK)
        audit_leave(err.code, "%s", err.text);
    size_t n = vs_sandbox_report_json(&report, text, sizeof text);
    const char *boot = json_string_value(json_object_get(settings, "boot"));
    snprintf(a->boot, sizeof a->boot, "%s", boot ? boot : "");
    if (strlen(a->boot) != VS_BOOT_HEX - 1)
        audit_leave(VS_E_INVALID, "its settings: there is no boot id");
    settings_take(a, settings);
    a->is_signer = json_is_true(json_object_get(settings, "signer"));
    seal_open(a);
    own_settle(a);
    if (!a->is_signer) {
        log_open(a, (uint64_t)json_integer_value(json_object_get(settings, "first")));
        seal_check(a);
    }
    json_t *start = json_pack("{s:s, s:s, s:o}", "version", VERITAS_VERSION, "policy", a->policy, "sandbox",
                              json_pack("{s:i}", "audit", report.level));
    if (json_object_get(settings, "died_of"))           /* the writer before this one */
        json_object_set(start, "message", json_object_get(settings, "died_of"));
    log_event(a, "start", start);
    log_clock(a);
    json_decref(settings);
    log_flush(a);
    seal(a);
    say_ready(a, text, n);
    vs_last_words_phase("writing");
    loop(a);
    log_event(a, "stop", NULL);
    log_flush(a);
    seal(a);
    vs_conn_flush(&a->broker);
    return 0;
}
