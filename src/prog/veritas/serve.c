/* prog/veritas/serve.c - `veritas serve`: set-up, the loop, the end; see serve.h. */
#include "prog/veritas/serve.h"

#include "base/clock.h"
#include "client/client.h"
#include "ipc/json.h"
#include "prog/veritas/command.h"
#include "prog/veritas/models.h"
#include "prog/veritas/term.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MIN_FILES = 128, OWN_POLLS = 5 };

/* ---- the broker ---- */

static int start_broker(struct supervisor *s, struct vs_error *err)
{
    int pair[2], fds[N_CHILD_FDS];
    memset(fds, -1, sizeof fds);
    if ((fds[FD_SETTINGS] = settings_open(s->settings.broker)) < 0)
        return vs_error_set(err, VS_E_SYSTEM, "cannot prepare the broker: %s", strerror(errno));
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
        close(fds[FD_SETTINGS]);
        return vs_error_set(err, VS_E_SYSTEM, "socketpair: %s", strerror(errno));
    }
    fds[FD_LISTEN] = s->listener.fd;
    fds[FD_CONTROL] = pair[1];
    fds[FD_PRIVATE] = s->private_fd;
    int rc = process_start(s, &s->broker, fds, NULL, err);
    close(pair[1]);
    close(fds[FD_SETTINGS]);
    if (rc == VS_OK)
        control_open(s, pair[0]);
    else
        close(pair[0]);
    return rc;
}

static void broker_ended(struct supervisor *s, int status)
{
    char why[400];
    bool again;
    process_ended(&s->broker, status, why, sizeof why, &again);
    const char *call = vs_last_words_call(s->broker.words, status);
    control_close(s);
    models_stop(s);
    if (status != 0)
        writer_note(s, "broker_died", why);
    if (call)
        writer_note(s, "blocked_call", why);
    if (s->ending)
        return;
    if (s->private_fd >= 0 || status == 0) {
        s->ending = true;               /* its one client left, or it was told to end */
    } else if (again) {
        vs_say_event(VS_LOG_WARNING, "broker_died", "serve: the broker died: %s; it is to be started again", why);
    } else {
        /* It has said why it cannot start, and would say the same for ever. */
        vs_say("serve: the broker cannot start, so the daemon ends");
        s->ending = s->failed = true;
    }
}

static void broker_timer(struct supervisor *s, uint64_t now)
{
    struct vs_error err = { 0 };
    if (!s->broker.restart_at || now < s->broker.restart_at || s->ending)
        return;
    if (start_broker(s, &err) == VS_OK)
        return;
    vs_say("serve: %s; the daemon ends", err.text);
    s->ending = s->failed = true;
}

/* ---- the end ---- */

void supervisor_end(struct supervisor *s)
{
    uint64_t time = s->ending ? 0 : s->settings.drain;       /* a second signal is impatient */
    char lines[96];
    s->ending = true;
    s->end_at = vs_clock_ns() + time + (time ? RECEIPT_TIME : 0) + LAST_WORDS_TIME;
    snprintf(lines, sizeof lines, "STOPPING=1\nEXTEND_TIMEOUT_USEC=%llu",
             (unsigned long long)((time + RECEIPT_TIME + 5 * LAST_WORDS_TIME) / 1000));
    vs_notify_send(&s->notify, lines);
    control_drain(s, time);
}

/* ---- the loop ---- */

/* The policy that was read again; the old one goes with `fresh`. */
static void take_policy(struct supervisor *s, struct settings *fresh)
{
    struct vs_policy_file old = s->settings.policy;
    bool is_new = strcmp(old.text, fresh->policy.text) != 0;
    s->settings.policy = fresh->policy;
    fresh->policy = old;
    if (is_new) {
        guards_tell_policy(s);
        writer_tell_policy(s);
    }
    if (s->control.fd >= 0)
        who_tell(s);
    if (is_new)
        vs_say_event(VS_LOG_INFO, "policy_read", "serve: the policy is now %s, digest %s; requests that run keep the old one",
                     *s->settings.policy.path ? s->settings.policy.path : "the built-in one", s->settings.policy.digest);
}

/* Is there a file that SIGHUP could mean? Else it ends the daemon, as it does when a terminal goes away. */
static bool has_file(const struct supervisor *s)
{
    char path[PATH_MAX];
    return vs_args_given(s->args, VS_OPT_CONFIG) || *s->settings.policy.path
        || (vs_policy_file_find(NULL, path, NULL) == VS_OK && *path);
}

/* SIGHUP: the files once more, for guards, and for models that are loaded from now on. What the broker was told stays. */
static void read_again(struct supervisor *s)
{
    struct settings fresh = { 0 };
    struct vs_error err = { 0 };
    if (settings_read(&fresh, s->args, &err) == VS_OK) {
        json_t *defaults = s->settings.defaults, *models = s->settings.models;
        s->settings.defaults = fresh.defaults;
        s->settings.models = fresh.models;
        s->settings.drain = fresh.drain;
        fresh.defaults = defaults;
        fresh.models = models;
        take_policy(s, &fresh);
        vs_say_event(VS_LOG_INFO, "options_read",
                     "serve: the options were read again: models that are loaded from now on get them; "
                     "what is loaded, aliases and the daemon's own options but --drain stay as they are");
    } else {
        vs_say_event(VS_LOG_ERROR, "options_refused", "serve: options and policy stay as they are: %s", err.text);
        writer_note(s, "policy_refused", err.text);
    }
    settings_clear(&fresh);
}

static void take_signals(struct supervisor *s)
{
    struct signalfd_siginfo info;
    while (read(s->signal_fd, &info, sizeof info) == sizeof info)
        if (info.ssi_signo == SIGHUP && has_file(s))
            read_again(s);
        else if (info.ssi_signo != SIGCHLD)
            supervisor_end(s);
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0; )
        if (pid == s->broker.pid)
            broker_ended(s, status);
        else if (!writer_reaped(s, pid, status))
            models_reaped(s, pid, status);
}

/* Three questions in the time of the watchdog: one may come late. */
static void watchdog_timer(struct supervisor *s, uint64_t now)
{
    if (now < s->ask_at)
        return;
    control_ask(s);
    s->ask_at = now + s->notify.watchdog_ns / 3;
}

static uint64_t timers(struct supervisor *s)
{
    uint64_t now = vs_clock_ns();
    watchdog_timer(s, now);
    broker_timer(s, now);
    uint64_t next = models_timers(s, now), keys = who_timers(s, now), of_writer = writer_timer(s, now);
    next = keys < next ? keys : next;
    next = of_writer < next ? of_writer : next;
    if (s->broker.restart_at && s->broker.restart_at < next)
        next = s->broker.restart_at;
    if (s->ending)
        next = s->end_at;
    return s->ask_at < next ? s->ask_at : next;
}

static void loop(struct supervisor *s)
{
    while (!(s->ending && (s->broker.pid == 0 || vs_clock_ns() >= s->end_at))) {
        uint64_t next = timers(s), now = vs_clock_ns();
        struct pollfd polls[OWN_POLLS + MAX_MODELS] = {
            { s->signal_fd, POLLIN, 0 },
            { s->control.fd, (short)((s->control_has_more ? 0 : POLLIN) | (vs_conn_queued(&s->control) ? POLLOUT : 0)), 0 },
            { s->private_fd, POLLRDHUP, 0 },
            { s->keys.fd, POLLIN, 0 },
            { s->writer.link.fd, (short)(POLLIN | (vs_conn_queued(&s->writer.link) ? POLLOUT : 0)), 0 },
        };
        size_t n = OWN_POLLS + guards_poll(s, polls + OWN_POLLS);
        if (s->ending && s->broker.pid == 0)
            return;
        int wait = s->control_has_more || next <= now ? 0 : next == UINT64_MAX ? -1 : next - now > 60000 * MS ? 60000
            : (int)((next - now) / MS) + 1;
        if (poll(polls, n, wait) < 0) {
            if (errno == EINTR)
                continue;
            vs_say("serve: poll: %s", strerror(errno));
            s->failed = true;
            return;
        }
        if (polls[2].revents && !s->writer.is_on)
            return;                     /* the private client is gone: so are we */
        if (polls[2].revents) {         /* the log has to be told of it first */
            s->private_fd = -1;
            supervisor_end(s);
        }
        if (polls[4].revents && s->writer.link.fd == polls[4].fd)
            writer_ready(s, polls[4].revents);
        guards_ready(s, polls + OWN_POLLS);     /* before models come and go */
        if (polls[1].revents || s->control_has_more)
            control_ready(s, polls[1].revents);
        if (polls[3].revents)
            who_changed(s);
        if (polls[0].revents)
            take_signals(s);
    }
}

/* ---- set-up ---- */

static int set_up(struct supervisor *s, int private_fd, struct vs_error *err)
{
    sigset_t mask;
    struct vs_sandbox_options checked = { 0 };
    struct stat st;                      /* looked at first, before a descriptor of ours takes its number */
    if (private_fd >= 0 && (fstat(private_fd, &st) != 0 || !S_ISSOCK(st.st_mode) || fcntl(private_fd, F_SETFD, FD_CLOEXEC) != 0))
        return vs_error_set(err, VS_E_INVALID, "--private-fd %d is not an open socket", private_fd);
    int rc = private_fd < 0 || writer_is_wanted(s, true) ? signing_open(s, err) : VS_OK;
    if (rc == VS_OK)
        rc = vs_sandbox_options_parse(getenv("VERITAS_SANDBOX"), &checked, err);
    struct rlimit files;                 /* each model and client needs some; poll() itself refuses more entries than that */
    if (rc == VS_OK && getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < MIN_FILES) {
        files.rlim_cur = files.rlim_max < MIN_FILES ? files.rlim_max : MIN_FILES;
        if (files.rlim_max < MIN_FILES || setrlimit(RLIMIT_NOFILE, &files) != 0)
            rc = vs_error_set(err, VS_E_LIMIT, "%llu open files are too few; raise the limit to %d or more (ulimit -n)",
                              (unsigned long long)files.rlim_cur, MIN_FILES);
    }
    if (rc == VS_OK)
        rc = vs_models_directory(s->directory, sizeof s->directory, err);
    if (rc == VS_OK)
        rc = processes_find(PROCESS_BROKER, PROCESS_GUARD, err);
    if (rc != VS_OK)
        return rc;
    sigemptyset(&mask);
    sigaddset(&mask, SIGCHLD);
    sigaddset(&mask, SIGTERM);
    sigaddset(&mask, SIGINT);
    sigaddset(&mask, SIGHUP);
    sigprocmask(SIG_BLOCK, &mask, &s->old_mask);
    sigdelset(&s->old_mask, SIGCHLD);
    sigdelset(&s->old_mask, SIGTERM);
    sigdelset(&s->old_mask, SIGINT);
    signal(SIGPIPE, SIG_IGN);
    s->signal_fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
    s->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (s->signal_fd < 0 || s->null_fd < 0 || pipe2(s->lifeline, O_CLOEXEC) != 0)
        return vs_error_set(err, VS_E_SYSTEM, "cannot set up: %s", strerror(errno));
    if ((rc = models_load(s, err)) != VS_OK)
        return rc;
    if (private_fd >= 0) {
        s->private_fd = private_fd;
    } else {
        if ((rc = listener_open(&s->listener, s->settings.socket, s->settings.policy.identity.socket_group, err)) != VS_OK)
            return rc;
        vs_notify_open(&s->notify);     /* a private daemon is nobody's service */
        s->ask_at = s->notify.watchdog_ns ? 0 : UINT64_MAX;
    }
    rc = writer_open(s, private_fd >= 0, err);
    return rc == VS_OK ? start_broker(s, err) : rc;
}

int vs_command_serve(const struct vs_args *args)
{
    static struct supervisor supervisor = {
        .notify.fd = -1, .ask_at = UINT64_MAX, .private_fd = -1, .signal_fd = -1, .null_fd = -1, .rules_fd = -1, .listener.fd = -1,
        .control.fd = -1, .keys.fd = -1, .writer = { .link.fd = -1, .dir_fd = -1, .lock_fd = -1, .root_fd = -1 },
    };
    struct supervisor *s = &supervisor;
    struct vs_error err = { 0 };
    uint16_t unhandled = control_unhandled() ? control_unhandled() : guards_unhandled() ? guards_unhandled() : writer_unhandled();
    if (unhandled) {
        vs_say("serve: message '%s' (0x%02x) has no handler or no row", vs_message_name(unhandled), unhandled);
        return 1;
    }
    vs_json_setup(0);
    bool is_private = vs_args_given(args, VS_OPT_PRIVATE_FD), is_check = vs_args_given(args, VS_OPT_CHECK) && !is_private;
    int rc = is_check ? settings_check(&s->settings, args, &err) : settings_read(&s->settings, args, &err);
    if (rc != VS_OK || is_check) {
        settings_clear(&s->settings);
        if (rc == VS_OK)
            puts("ok");
        return rc == VS_OK ? 0 : vs_fail(&err);
    }
    vs_say_as(s->settings.log);
    s->args = args;
    s->broker.kind = PROCESS_BROKER;
    rc = set_up(s, is_private ? (int)vs_args_int(args, VS_OPT_PRIVATE_FD) : -1, &err);
    if (rc == VS_OK) {
        if (!is_private)
            vs_say_event(VS_LOG_INFO, "listening", "listening at %s", s->listener.path);
        loop(s);
        rc = s->failed ? VS_E_DIED : VS_OK;
    } else {
        vs_say("%s", err.text);
    }
    process_kill(&s->broker);
    writer_close(s);
    models_free(s);
    control_close(s);
    json_decref(s->listed);
    json_decref(s->refused);
    settings_clear(&s->settings);
    vs_notify_close(&s->notify);
    listener_close(&s->listener);
    vs_keys_watch_close(&s->keys);
    return vs_status_exit(rc);
}
