/* prog/veritas/serve.c - the supervisor: `veritas serve`.
 *
 *     client ---- socket ----> broker ---- socketpair ----> worker      each locked in by itself
 *                                 \____ control ____ supervisor ____ exit status, last words
 *
 * It opens files, starts and restarts the others, and does nothing else: it reads no frame, no model and no prompt. What the
 * broker says is small JSON; it is checked as if it came from a stranger. One thread, one poll loop.
 *
 * Nothing outlives it: every child carries a parent-death signal, and each also ends when its socket does. */
#include "base/buf.h"
#include "base/bytes.h"
#include "base/child.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/machine.h"
#include "client/client.h"
#include "ipc/json.h"
#include "prog/veritas/command.h"
#include "prog/veritas/models.h"
#include "prog/veritas/record.h"
#include "prog/veritas/term.h"
#include "sandbox/sandbox.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_WORKERS = 32, MAX_MESSAGE = 64 << 10, HIGH_FD = 32, MIN_FILES = 128, LISTEN_BACKLOG = 64 };
#define MS UINT64_C(1000000)
#define BACKOFF_FIRST (100 * MS)
#define BACKOFF_LAST (10000 * MS)
#define STEADY (60000 * MS)             /* a life that long resets the back-off */
#define DRAIN_TIME (9000 * MS)           /* for what is being answered */
#define LAST_WORDS_TIME (1000 * MS)      /* for the broker to tell those whose answer was cut */

struct worker {
    uint64_t id;                        /* the broker's; 0 = free */
    char path[PATH_MAX];
    int file;
    struct stat st;
    char *settings;
    size_t settings_bytes;
    pid_t pid;                          /* 0 = not running */
    struct vs_last_words *words;
    uint64_t started_at, backoff, restart_at;
};

struct supervisor {
    char directory[1024], socket[sizeof ((struct sockaddr_un *)0)->sun_path], broker_path[1100], worker_path[1100];
    int private_fd, listen_fd, control_fd, signal_fd, null_fd;
    ino_t socket_inode;                  /* ours; a successor may be given the same number, at a later time */
    struct timespec socket_made;
    int lifeline[2];                    /* a pipe nobody writes to: its write end closes when the supervisor ends */
    pid_t broker_pid;
    uint64_t broker_started, broker_backoff, broker_restart_at;
    bool ending, failed;
    uint64_t end_at;
    sigset_t old_mask;
    struct worker workers[MAX_WORKERS];
};

/* ---- messages ---- */

static void say(struct supervisor *s, json_t *message, int fd)
{
    struct vs_buf out = { .limit = MAX_MESSAGE };
    vs_json_dump(message, &out);
    json_decref(message);
    if (out.status == VS_OK && s->control_fd >= 0) {
        struct iovec io = { out.data, out.n };
        union { struct cmsghdr align; char bytes[CMSG_SPACE(sizeof(int))]; } control;
        struct msghdr m = { .msg_iov = &io, .msg_iovlen = 1 };
        if (fd >= 0) {
            memset(&control, 0, sizeof control);
            m.msg_control = &control;
            m.msg_controllen = sizeof control;
            struct cmsghdr *h = CMSG_FIRSTHDR(&m);
            h->cmsg_level = SOL_SOCKET;
            h->cmsg_type = SCM_RIGHTS;
            h->cmsg_len = CMSG_LEN(sizeof fd);
            memcpy(CMSG_DATA(h), &fd, sizeof fd);
        }
        /* A broker that does not read for so long that its queue is full is ended; it would not miss one message well. */
        if (sendmsg(s->control_fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && s->broker_pid > 0 && !s->ending)
            kill(s->broker_pid, SIGKILL);
    }
    vs_buf_clear(&out);
}

static void say_failed(struct supervisor *s, uint64_t id, const struct vs_error *err)
{
    say(s, json_pack("{s:s, s:I, s:s, s:s}", "op", "failed", "id", (json_int_t)id, "error", vs_status_name(err->code),
                     "message", err->text), -1);
}

/* ---- children ---- */

/* In the child: descriptors to 0..2 and 3.., and nothing else; a small environment; exec. */
static void child_exec(struct supervisor *s, const char *path, const int *fds, int n_fds, bool keep_stderr, int lifeline)
{
    int high[8];
    setsid();                           /* the terminal's Ctrl-C is for the supervisor */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    struct pollfd alive = { lifeline, POLLIN, 0 };
    if (poll(&alive, 1, 0) > 0)
        _exit(70);                      /* the parent ended between fork and prctl */
    sigprocmask(SIG_SETMASK, &s->old_mask, NULL);
    int null = fcntl(s->null_fd, F_DUPFD, HIGH_FD);
    bool all = null >= 0;
    for (int i = 0; i < n_fds; i++) {
        high[i] = fds[i] >= 0 ? fcntl(fds[i], F_DUPFD, HIGH_FD) : -1;
        all = all && (fds[i] < 0 || high[i] >= 0);
    }
    if (!all) {
        vs_say("serve: cannot start %s: %s", path, strerror(errno));
        _exit(70);
    }
    if (dup2(null, 0) < 0 || dup2(null, 1) < 0 || (!keep_stderr && dup2(null, 2) < 0))
        _exit(70);
    for (int i = 0; i < n_fds; i++) {
        close(3 + i);
        if (high[i] >= 0 && dup2(high[i], 3 + i) < 0)
            _exit(70);
    }
    close_range((unsigned)(3 + n_fds), ~0u, 0);
    char *argv[] = { strdup(path), NULL };
    vs_child_exec(path, argv, NULL, vs_child_kept_locked, "/");
    _exit(70);
}

static pid_t start_child(struct supervisor *s, const char *path, enum vs_sandbox_profile profile, const int *fds, int n_fds, bool keep_stderr)
{
    pid_t pid = vs_sandbox_fork(profile);
    if (pid == 0) {
        close(s->lifeline[1]);
        child_exec(s, path, fds, n_fds, keep_stderr, s->lifeline[0]);
    }
    return pid;
}

static int start_broker(struct supervisor *s, struct vs_error *err)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return vs_error_set(err, VS_E_SYSTEM, "socketpair: %s", strerror(errno));
    const int fds[] = { s->listen_fd, pair[1], s->private_fd };
    s->broker_pid = start_child(s, s->broker_path, VS_SANDBOX_BROKER, fds, 3, true);
    close(pair[1]);
    if (s->broker_pid < 0) {
        s->broker_pid = 0;
        close(pair[0]);
        return vs_error_set(err, VS_E_SYSTEM, "cannot start %s: %s", s->broker_path, strerror(errno));
    }
    s->control_fd = pair[0];
    s->broker_started = vs_clock_ns();
    return VS_OK;
}

static int settings_memfd(const struct worker *w)
{
    int fd = memfd_create("veritas settings", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0 || write(fd, w->settings, w->settings_bytes) != (ssize_t)w->settings_bytes
        || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) != 0) {
        if (fd >= 0)
            close(fd);
        return -1;
    }
    return fd;
}

/* Starts the worker of w and hands its socket to the broker. */
static int start_worker(struct supervisor *s, struct worker *w, struct vs_error *err)
{
    int pair[2] = { -1, -1 }, words = -1, settings = -1;
    int rc = VS_OK;
    vs_last_words_unmap(w->words);
    w->words = NULL;
    w->restart_at = 0;
    lseek(w->file, 0, SEEK_SET);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0 || (settings = settings_memfd(w)) < 0) {
        rc = vs_error_set(err, VS_E_SYSTEM, "cannot prepare a worker: %s", strerror(errno));
        goto out;
    }
    rc = vs_last_words_create(&words, &w->words, err);
    if (rc != VS_OK)
        goto out;
    const int fds[] = { pair[1], w->file, words, settings };
    pid_t pid = start_child(s, s->worker_path, VS_SANDBOX_WORKER, fds, 4, getenv("VERITAS_DEBUG") != NULL);
    if (pid < 0) {
        rc = vs_error_set(err, VS_E_SYSTEM, "cannot start %s: %s", s->worker_path, strerror(errno));
        goto out;
    }
    w->pid = pid;
    w->started_at = vs_clock_ns();
    char file[VS_FILE_IDENTITY];
    vs_file_identity(&w->st, file);
    say(s, json_pack("{s:s, s:I, s:I, s:s, s:I, s:s}", "op", "started", "id", (json_int_t)w->id, "pid", (json_int_t)pid,
                     "path", w->path, "bytes", (json_int_t)w->st.st_size, "file", file), pair[0]);
out:
    for (int i = 0; i < 2; i++)
        if (pair[i] >= 0)
            close(pair[i]);
    if (words >= 0)
        close(words);
    if (settings >= 0)
        close(settings);
    return rc;
}

static void worker_free(struct worker *w)
{
    if (w->pid > 0)
        kill(w->pid, SIGKILL);
    if (w->file >= 0)
        close(w->file);
    vs_last_words_unmap(w->words);
    free(w->settings);
    *w = (struct worker){ .file = -1 };
}

/* ---- which file it is ---- */

static void file_key(const struct stat *st, char *key, size_t n)
{
    snprintf(key, n, "%llx %llx %lld %lld.%09ld %lld.%09ld", (unsigned long long)st->st_dev, (unsigned long long)st->st_ino,
             (long long)st->st_size, (long long)st->st_mtim.tv_sec, st->st_mtim.tv_nsec, (long long)st->st_ctim.tv_sec,
             st->st_ctim.tv_nsec);
}

/* Is the file another than the one that was opened? A worker that is started again would speak of the wrong one. */
static bool is_changed(const struct worker *w)
{
    struct stat now;
    char before[160], after[160];
    if (fstat(w->file, &now) != 0)
        return true;
    file_key(&w->st, before, sizeof before);
    file_key(&now, after, sizeof after);
    return strcmp(before, after) != 0;
}

/* The worker died and the file is another: nobody meant that one. */
static void give_up(struct supervisor *s, struct worker *w)
{
    struct vs_error err = { 0 };
    vs_error_set(&err, VS_E_MALFORMED, "%s was changed while it was in use; try again when it is complete", w->path);
    say_failed(s, w->id, &err);
    worker_free(w);
}

/* ---- what the broker asks for ---- */

static struct worker *worker_find(struct supervisor *s, uint64_t id)
{
    for (int i = 0; i < MAX_WORKERS; i++)
        if (s->workers[i].id == id)
            return &s->workers[i];
    return NULL;
}

/* Does a client's path name the file of its descriptor? The kernel says what the file is called, without touching a file system
 * that may hang. Where the client means the same file by another name (a link), the name was looked up a moment ago by its open,
 * so what the kernel remembers is enough: nothing else is asked. */
static bool is_named(const char *path, int fd, char *ret_kernel, size_t n)
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, ret_kernel, n - 1);
    ret_kernel[length < 0 ? 0 : length] = 0;
    if (strcmp(path, ret_kernel) == 0)
        return true;
    struct open_how how = { .flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_CACHED };
    int other = (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how);
    struct stat a, b;
    bool same = other >= 0 && fstat(other, &a) == 0 && fstat(fd, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
    if (other >= 0)
        close(other);
    return same;
}

/* A client's own descriptor, or NAME.gguf of the model directory. */
static int open_model(struct supervisor *s, const char *model, int fd, struct worker *w, struct vs_error *err)
{
    static const char what[] = "the model";
    char kernel[sizeof w->path];
    if (fd < 0) {
        if (!vs_model_name_is_valid(model) || snprintf(w->path, sizeof w->path, "%s/%s.gguf", s->directory, model) >= (int)sizeof w->path)
            return vs_model_missing(model, err);
        int rc = vs_file_open(what, w->path, &w->file, &w->st, err);
        return rc == VS_E_NOT_FOUND ? vs_model_missing(model, err) : rc;
    }
    snprintf(w->path, sizeof w->path, "%s", model);
    int rc = vs_file_check(what, w->path, fd, &w->st, err);
    if (rc != VS_OK)
        return rc;
    if (!is_named(model, fd, kernel, sizeof kernel))
        return vs_error_set(err, VS_E_INVALID, "the name %.200s is not that of the descriptor's file, which the daemon sees as %.200s",
                            model, kernel[0] ? kernel : "one without a name");
    w->file = fcntl(fd, F_DUPFD_CLOEXEC, HIGH_FD);
    return w->file >= 0 ? VS_OK : vs_error_set(err, VS_E_SYSTEM, "%s: %s", w->path, strerror(errno));
}

static void on_start(struct supervisor *s, uint64_t id, const json_t *message, int fd)
{
    struct vs_error err = { 0 };
    struct worker *w = worker_find(s, 0);
    const char *model = json_string_value(json_object_get(message, "model"));
    if (!id || worker_find(s, id) || !model)
        return;
    if (!w) {
        vs_error_set(&err, VS_E_BUSY, "more than %d models at once", MAX_WORKERS);
        say_failed(s, id, &err);
        return;
    }
    *w = (struct worker){ .file = -1, .backoff = BACKOFF_FIRST };
    if (open_model(s, model, fd, w, &err) != VS_OK) {
        say_failed(s, id, &err);
        return;
    }
    w->id = id;
    struct vs_machine machine;
    vs_machine_read("", &machine);
    /* A worker inherits our limits: what they leave is all that it has, whatever the machine has. */
    static const __rlimit_resource_t inherited[] = { RLIMIT_DATA, RLIMIT_AS };
    for (size_t i = 0; i < sizeof inherited / sizeof *inherited; i++) {
        struct rlimit r;
        if (getrlimit(inherited[i], &r) == 0 && r.rlim_cur < machine.free_bytes)
            machine.free_bytes = r.rlim_cur;
    }
    const json_t *asked = json_object_get(message, "settings");
    json_t *settings = json_is_object(asked) ? json_copy((json_t *)(uintptr_t)asked) : json_object();
    json_object_set_new(settings, "n_cpus", json_integer(machine.n_cpus));
    json_object_set_new(settings, "free_bytes", json_integer((json_int_t)machine.free_bytes));
    w->settings = json_dumps(settings, JSON_COMPACT);
    json_decref(settings);
    w->settings_bytes = w->settings ? strlen(w->settings) : 0;
    int rc = w->settings ? start_worker(s, w, &err) : vs_error_set(&err, VS_E_NOMEM, "out of memory");
    if (rc != VS_OK) {
        say_failed(s, id, &err);
        worker_free(w);
        return;
    }
}

static void on_stop(struct supervisor *s, uint64_t id, const json_t *message, int fd)
{
    (void)message, (void)fd;
    struct worker *w = id ? worker_find(s, id) : NULL;
    if (w)
        worker_free(w);
}

static void on_models(struct supervisor *s, uint64_t id, const json_t *message, int fd)
{
    (void)message, (void)fd;
    json_t *list = json_array();
    DIR *d = opendir(s->directory);
    for (struct dirent *e; d && (e = readdir(d)) && json_array_size(list) < 200; ) {
        size_t n = strlen(e->d_name);
        char name[VS_MODEL_NAME_MAX + 1];
        if (n < 6 || n - 5 > VS_MODEL_NAME_MAX || strcmp(e->d_name + n - 5, ".gguf") != 0)
            continue;
        memcpy(name, e->d_name, n - 5);
        name[n - 5] = 0;
        struct stat st;
        if (vs_model_name_is_valid(name) && fstatat(dirfd(d), e->d_name, &st, 0) == 0 && S_ISREG(st.st_mode))
            json_array_append_new(list, json_pack("{s:s, s:I}", "name", name, "bytes", (json_int_t)st.st_size));
    }
    if (d)
        closedir(d);
    say(s, json_pack("{s:s, s:I, s:s, s:o}", "op", "models", "id", (json_int_t)id, "path", s->directory, "models", list), -1);
}

static void end_within(struct supervisor *s, uint64_t time)
{
    s->ending = true;
    s->end_at = vs_clock_ns() + time + LAST_WORDS_TIME;
    say(s, json_pack("{s:s, s:I}", "op", "drain", "within_ms", (json_int_t)(time / MS)), -1);
}

static void begin_end(struct supervisor *s)
{
    if (!s->ending)
        end_within(s, DRAIN_TIME);
}

static void on_shutdown(struct supervisor *s, uint64_t id, const json_t *message, int fd)
{
    (void)id, (void)message, (void)fd;
    begin_end(s);
}

static const struct {
    const char *op;
    void (*take)(struct supervisor *s, uint64_t id, const json_t *message, int fd);
} takers[] = {
    { "start", on_start }, { "stop", on_stop }, { "models", on_models }, { "shutdown", on_shutdown },
};

static void control_ready(struct supervisor *s)
{
    static char packet[MAX_MESSAGE];
    for (;;) {
        struct iovec io = { packet, sizeof packet };
        union { struct cmsghdr align; char bytes[CMSG_SPACE(sizeof(int))]; } control;
        struct msghdr m = { .msg_iov = &io, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
        ssize_t n = recvmsg(s->control_fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {                   /* the broker ended; its exit status comes by SIGCHLD */
            close(s->control_fd);
            s->control_fd = -1;
            return;
        }
        int fd = -1;
        struct cmsghdr *h = CMSG_FIRSTHDR(&m);
        if (h && h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS)
            memcpy(&fd, CMSG_DATA(h), sizeof fd);
        json_t *message = m.msg_flags & MSG_TRUNC ? NULL : vs_json_parse(packet, (size_t)n, NULL);
        const char *op = json_string_value(json_object_get(message, "op"));
        uint64_t id = (uint64_t)json_integer_value(json_object_get(message, "id"));
        for (size_t i = 0; op && i < sizeof takers / sizeof *takers; i++)
            if (strcmp(takers[i].op, op) == 0)
                takers[i].take(s, id, message, fd);
        json_decref(message);
        if (fd >= 0)
            close(fd);
        if (s->control_fd < 0)
            return;
    }
}

/* ---- deaths ---- */

static uint64_t back_off(uint64_t *backoff, uint64_t started_at)
{
    uint64_t now = vs_clock_ns();
    if (now - started_at > STEADY)
        *backoff = BACKOFF_FIRST;
    uint64_t at = now + *backoff;
    *backoff = *backoff * 2 > BACKOFF_LAST ? BACKOFF_LAST : *backoff * 2;
    return at;
}

static void worker_ended(struct supervisor *s, struct worker *w, int status)
{
    char why[400], text[480];
    /* A worker that says itself why it ends, or dies over its model, would do so again. */
    bool loading = w->words && strncmp(w->words->phase, "load", 4) == 0;
    bool said = w->words && w->words->kind == VS_WORDS_TEXT;
    int code = vs_last_words_explain(w->words, status, why, sizeof why);
    snprintf(text, sizeof text, said ? "%s" : "worker %s", why);
    w->pid = 0;
    say(s, json_pack("{s:s, s:I, s:s, s:s}", "op", "exited", "id", (json_int_t)w->id, "error", vs_status_name(code),
                     "message", text), -1);
    if (s->ending || status == 0 || said || loading)
        return;
    if (s->private_fd < 0)              /* a private client gets the same words as its answer */
        vs_say("serve: %s: %s; it is started again", w->path, text);
    w->restart_at = back_off(&w->backoff, w->started_at);
}

static void broker_ended(struct supervisor *s, int status)
{
    s->broker_pid = 0;
    if (s->control_fd >= 0)
        close(s->control_fd);
    s->control_fd = -1;
    for (int i = 0; i < MAX_WORKERS; i++)
        worker_free(&s->workers[i]);
    if (s->ending)
        return;
    if (s->private_fd >= 0 || status == 0) {
        s->ending = true;               /* its one client left, or it was told to end */
        return;
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) != VS_SANDBOX_EXIT && vs_clock_ns() - s->broker_started < 1000 * MS) {
        /* It has said why it cannot start, and would say the same for ever. */
        vs_say("serve: the broker cannot start, so the daemon ends");
        s->ending = s->failed = true;
        return;
    }
    char why[400];
    vs_last_words_explain(NULL, status, why, sizeof why);
    vs_say("serve: the broker died: %s; it is started again", why);
    s->broker_restart_at = back_off(&s->broker_backoff, s->broker_started);
}

static void reap(struct supervisor *s)
{
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0; ) {
        if (pid == s->broker_pid)
            broker_ended(s, status);
        for (int i = 0; i < MAX_WORKERS; i++)
            if (s->workers[i].id && s->workers[i].pid == pid)
                worker_ended(s, &s->workers[i], status);
    }
}

static void take_signals(struct supervisor *s)
{
    struct signalfd_siginfo info;
    while (read(s->signal_fd, &info, sizeof info) == sizeof info) {
        if (info.ssi_signo == SIGCHLD)
            continue;
        if (s->ending)
            end_within(s, 0);           /* a second one is impatient */
        else
            begin_end(s);
    }
    reap(s);
}

/* ---- the loop ---- */

static uint64_t timers(struct supervisor *s)
{
    uint64_t now = vs_clock_ns(), next = UINT64_MAX;
    struct vs_error err = { 0 };
    if (s->ending)
        next = s->end_at;
    if (s->broker_restart_at && !s->ending) {
        if (now >= s->broker_restart_at) {
            s->broker_restart_at = 0;
            if (start_broker(s, &err) != VS_OK)
                s->broker_restart_at = back_off(&s->broker_backoff, now);
        }
        if (s->broker_restart_at)
            next = s->broker_restart_at;
    }
    for (int i = 0; i < MAX_WORKERS && !s->ending; i++) {
        struct worker *w = &s->workers[i];
        if (!w->id || !w->restart_at)
            continue;
        if (now >= w->restart_at && is_changed(w)) {
            give_up(s, w);
            continue;
        }
        if (now >= w->restart_at && start_worker(s, w, &err) != VS_OK)
            w->restart_at = back_off(&w->backoff, now);
        if (w->restart_at && w->restart_at < next)
            next = w->restart_at;
    }
    return next;
}

static void loop(struct supervisor *s)
{
    while (!(s->ending && (s->broker_pid == 0 || vs_clock_ns() >= s->end_at))) {
        uint64_t next = timers(s), now = vs_clock_ns();
        struct pollfd polls[] = {
            { s->signal_fd, POLLIN, 0 }, { s->control_fd, POLLIN, 0 }, { s->private_fd, POLLRDHUP, 0 },
        };
        int timeout = next == UINT64_MAX ? -1 : next <= now ? 0 : next - now > 60000 * MS ? 60000 : (int)((next - now) / MS) + 1;
        if (poll(polls, 3, timeout) < 0) {
            if (errno == EINTR)
                continue;
            vs_say("serve: poll: %s", strerror(errno));
            s->failed = true;
            return;
        }
        if (polls[2].revents)
            return;                     /* the private client is gone: so are we */
        if (polls[1].revents)
            control_ready(s);
        if (polls[0].revents)
            take_signals(s);
    }
}

/* ---- set-up ---- */

int vs_program_find(const char *name, char *ret, size_t n, struct vs_error *err)
{
    char self[1024];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (length <= 0)
        return vs_error_set(err, VS_E_SYSTEM, "/proc/self/exe: %s", strerror(errno));
    self[length] = 0;
    *strrchr(self, '/') = 0;
    static const char *const folders[] = { "", "/../libexec/veritas" };
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        if (snprintf(ret, n, "%s%s/%s", self, folders[i], name) < (int)n && access(ret, X_OK) == 0)
            return VS_OK;
    return vs_error_set(err, VS_E_NOT_FOUND, "%s is neither in %s nor in %s/../libexec/veritas", name, self, self);
}

/* Does a daemon listen there? A broker whose supervisor was killed a moment ago still may, until it has died of it: so
 * the answer counts when it stays the same for half a second. */
static bool is_live(const struct sockaddr_un *address)
{
    for (int i = 0; i < 6; i++) {
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        bool live = fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof *address) == 0;
        if (fd >= 0)
            close(fd);
        if (!live)
            return false;
        if (i < 5)
            poll(NULL, 0, 100);
    }
    return true;
}

static int open_socket(struct supervisor *s, struct vs_error *err)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    char folder[sizeof address.sun_path];
    memcpy(address.sun_path, s->socket, sizeof address.sun_path);
    memcpy(folder, s->socket, sizeof folder);
    char *slash = strrchr(folder, '/');
    if (!slash || slash == folder)
        return vs_error_set(err, VS_E_INVALID, "the socket's path '%s' has no directory of its own", s->socket);
    *slash = 0;
    int rc = vs_directory_make(folder, err);
    struct stat st;
    if (rc != VS_OK)
        return rc;
    if (lstat(folder, &st) != 0 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid())
        return vs_error_set(err, VS_E_DENIED, "%s is not a directory of this user", folder);
    if (st.st_mode & 022)
        return vs_error_set(err, VS_E_DENIED, "%s may be written by others; run chmod 700 on it or choose another socket with --socket", folder);
    /* Two daemons that start at once: the second looks when the first one listens. The lock goes when this returns. */
    int lock = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd = -1;
    if (lock < 0 || flock(lock, LOCK_EX) != 0) {
        rc = vs_error_set(err, VS_E_SYSTEM, "cannot lock %s: %s", folder, strerror(errno));
        goto out;
    }
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        rc = vs_error_set(err, VS_E_SYSTEM, "socket: %s", strerror(errno));
        goto out;
    }
    if (lstat(s->socket, &st) == 0) {
        if (!S_ISSOCK(st.st_mode)) {
            rc = vs_error_set(err, VS_E_INVALID, "%s is there and is not a socket", s->socket);
            goto out;
        }
        if (is_live(&address)) {
            rc = vs_error_set(err, VS_E_BUSY, "a daemon already listens at %s; `veritas stop` ends it", s->socket);
            goto out;
        }
        unlink(s->socket);              /* left behind by one that was killed */
    }
    mode_t mask = umask(0177);
    bool done = bind(fd, (struct sockaddr *)&address, sizeof address) == 0;
    int error = errno;
    umask(mask);
    if (!done || listen(fd, LISTEN_BACKLOG) != 0) {
        rc = vs_error_set(err, VS_E_SYSTEM, "%s: %s", s->socket, strerror(done ? errno : error));
        goto out;
    }
    if (lstat(s->socket, &st) == 0) {
        s->socket_inode = st.st_ino;
        s->socket_made = st.st_mtim;
    }
    s->listen_fd = fd;
    fd = -1;
out:
    if (fd >= 0)
        close(fd);
    if (lock >= 0)
        close(lock);
    return rc;
}

/* Removes our socket, and not that of a successor which has taken its place already. */
static void remove_socket(const struct supervisor *s)
{
    char folder[sizeof s->socket];
    struct stat st;
    memcpy(folder, s->socket, sizeof folder);
    *strrchr(folder, '/') = 0;
    int lock = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (lock >= 0 && flock(lock, LOCK_EX) == 0 && lstat(s->socket, &st) == 0 && st.st_ino == s->socket_inode
        && st.st_mtim.tv_sec == s->socket_made.tv_sec && st.st_mtim.tv_nsec == s->socket_made.tv_nsec)
        unlink(s->socket);
    if (lock >= 0)
        close(lock);
}

static int set_up(struct supervisor *s, const char *socket_path, int private_fd, struct vs_error *err)
{
    sigset_t mask;
    struct vs_sandbox_options checked = { 0 };
    struct stat st;                      /* looked at first, before a descriptor of ours takes its number */
    if (private_fd >= 0 && (fstat(private_fd, &st) != 0 || !S_ISSOCK(st.st_mode) || fcntl(private_fd, F_SETFD, FD_CLOEXEC) != 0))
        return vs_error_set(err, VS_E_INVALID, "--private-fd %d is not an open socket", private_fd);
    int rc = vs_sandbox_options_parse(getenv("VERITAS_SANDBOX"), &checked, err);
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
        rc = vs_program_find("veritas-broker", s->broker_path, sizeof s->broker_path, err);
    if (rc == VS_OK)
        rc = vs_program_find("veritas-worker", s->worker_path, sizeof s->worker_path, err);
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
    vs_json_setup(0);
    if (private_fd >= 0) {
        s->private_fd = private_fd;
    } else {
        if (socket_path && strlen(socket_path) >= sizeof s->socket)
            return vs_error_set(err, VS_E_LIMIT, "the socket's path is longer than %zu bytes", sizeof s->socket - 1);
        if (socket_path)
            memcpy(s->socket, socket_path, strlen(socket_path) + 1);
        else if (vs_client_socket_path(s->socket, sizeof s->socket) != VS_OK)
            return vs_error_set(err, VS_E_LIMIT, "the socket's path is too long; set VERITAS_SOCKET to a shorter one");
        else
            rc = vs_client_place_check(s->socket, err);
        if (rc == VS_OK)
            rc = open_socket(s, err);
        if (rc != VS_OK)
            return rc;
    }
    return start_broker(s, err);
}

int vs_command_serve(const struct vs_args *args)
{
    static struct supervisor supervisor = { .private_fd = -1, .listen_fd = -1, .control_fd = -1, .signal_fd = -1,
        .null_fd = -1, .broker_backoff = BACKOFF_FIRST };
    struct supervisor *s = &supervisor;
    struct vs_error err = { 0 };
    for (int i = 0; i < MAX_WORKERS; i++)
        s->workers[i].file = -1;
    bool is_private = vs_args_given(args, VS_OPT_PRIVATE_FD);
    int rc = set_up(s, vs_args_given(args, VS_OPT_SOCKET) ? vs_args_text(args, VS_OPT_SOCKET) : NULL,
                    is_private ? (int)vs_args_int(args, VS_OPT_PRIVATE_FD) : -1, &err);
    if (rc == VS_OK) {
        if (!is_private)
            vs_say("listening at %s", s->socket);
        loop(s);
        rc = s->failed ? VS_E_DIED : VS_OK;
    } else {
        vs_say("%s", err.text);
    }
    if (s->broker_pid > 0)
        kill(s->broker_pid, SIGKILL);
    for (int i = 0; i < MAX_WORKERS; i++)
        worker_free(&s->workers[i]);
    if (s->listen_fd >= 0) {
        close(s->listen_fd);            /* first: who holds the lock may be looking whether somebody listens */
        remove_socket(s);
    }
    return vs_status_exit(rc);
}
