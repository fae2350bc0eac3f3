/* prog/veritas/process.c - what the supervisor can start, as a table; starting, ending, starting again. */
#include "prog/veritas/serve.h"

#include "base/child.h"
#include "base/clock.h"
#include "prog/veritas/command.h"
#include "prog/veritas/term.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_GIVEN = 11 };         /* descriptors from 3 on */

/* Did it fail at its beginning, so that it would fail the same way again? */
static bool is_broker_hopeless(const struct process *p, int status)
{
    return WIFEXITED(status) && WEXITSTATUS(status) != VS_SANDBOX_EXIT && vs_clock_ns() - p->started_at < 1000 * MS;
}

static bool is_worker_hopeless(const struct process *p, int status)
{
    (void)status;
    bool said = p->words->kind == VS_WORDS_TEXT;
    return said || !p->words->phase[0] || strncmp(p->words->phase, "load", 4) == 0;
}

static bool is_guard_hopeless(const struct process *p, int status)
{
    (void)status;
    return !p->words->phase[0];         /* it was never locked in */
}

static const struct row {
    const char *program;
    enum vs_sandbox_profile profile;
    enum child_fd given[MAX_GIVEN];
    bool is_heard;                      /* its stderr is ours; else only for debugging */
    bool passes_on;                     /* what others wait for goes through it: its turns are short, and come soon */
    uint64_t first, last, steady;       /* back-off: from, to; a life that long begins anew */
    bool (*is_hopeless)(const struct process *p, int status);
} rows[N_PROCESS_KINDS] = {
    [PROCESS_BROKER] = { "veritas-broker", VS_SANDBOX_BROKER, { FD_LISTEN, FD_CONTROL, FD_PRIVATE, FD_SETTINGS },
                         true, true, 100 * MS, 10000 * MS, 60000 * MS, is_broker_hopeless },
    [PROCESS_WORKER] = { "veritas-worker", VS_SANDBOX_WORKER, { FD_GUARD, FD_MODEL, FD_WORDS, FD_SETTINGS, FD_DRAFT },
                         false, false, 100 * MS, 10000 * MS, 60000 * MS, is_worker_hopeless },
    [PROCESS_GUARD] = { "veritas-guard", VS_SANDBOX_GUARD, { FD_CONTROL, FD_WORDS, FD_SETTINGS, FD_RULES },
                        false, true, 100 * MS, 10000 * MS, 60000 * MS, is_guard_hopeless },
    [PROCESS_GATEWAY] = { "veritas-gateway", VS_SANDBOX_GATEWAY, { FD_CONTROL, FD_SETTINGS, FD_WORDS },
                          true, true, 100 * MS, 10000 * MS, 60000 * MS, is_broker_hopeless },
    [PROCESS_AUDIT] = { "veritas-audit", VS_SANDBOX_AUDIT, { FD_CONTROL, FD_WORDS, FD_SETTINGS, FD_LOG, FD_LOCK, FD_KEY,
                        FD_KEYS, FD_NOTES, FD_COPY, FD_ROOT, FD_KEPT },
                        false, true, 50 * MS, 1000 * MS, 10000 * MS, is_guard_hopeless },
};

static char programs[N_PROCESS_KINDS][PATH_MAX];

int processes_find(enum process_kind first, enum process_kind last, struct vs_error *err)
{
    for (unsigned i = first; i <= last; i++) {
        int rc = vs_program_find(rows[i].program, programs[i], sizeof programs[i], err);
        if (rc != VS_OK)
            return rc;
    }
    return VS_OK;
}

int vs_program_find(const char *name, char *ret, size_t n, struct vs_error *err)
{
    return vs_beside_find(name, X_OK, ret, n, err);
}

int vs_beside_find(const char *name, int mode, char *ret, size_t n, struct vs_error *err)
{
    char self[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (length <= 0)
        return vs_error_set(err, VS_E_SYSTEM, "/proc/self/exe: %s", strerror(errno));
    self[length] = 0;
    *strrchr(self, '/') = 0;
    static const char *const folders[] = { "", "/../libexec/veritas" };
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        if (snprintf(ret, n, "%s%s/%s", self, folders[i], name) < (int)n && access(ret, mode) == 0)
            return VS_OK;
    return vs_error_set(err, VS_E_NOT_FOUND, "%s is neither in %s nor in %s/../libexec/veritas", name, self, self);
}

int settings_open(const char *text)
{
    ssize_t n = (ssize_t)strlen(text);
    int fd = memfd_create("veritas settings", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0 || write(fd, text, (size_t)n) != n
        || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) != 0) {
        if (fd >= 0)
            close(fd);
        return -1;
    }
    return fd;
}

/* Beside a worker, which computes on all processors, who passes a token on would wait for the end of a slice (some milliseconds).
 * Who asks for slices of a tenth of one comes first when it wakes; it gets no more time in all. A kernel before 6.12 ignores it. */
static void take_short_turns(void)
{
    struct {                            /* struct sched_attr as it first was */
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t slice, deadline, period;
    } attr = { .size = sizeof attr };
    static_assert(sizeof attr == 48, "SCHED_ATTR_SIZE_VER0");
    if (syscall(SYS_sched_getattr, 0, &attr, sizeof attr, 0) != 0 || attr.policy != 0)
        return;                         /* somebody chose another policy for us */
    attr.size = sizeof attr;
    attr.flags = 0;
    attr.slice = MS / 10;
    syscall(SYS_sched_setattr, 0, &attr, 0);    /* else it is as before */
}

/* In the child: descriptors to 0..2 and 3.., and nothing else; a small environment; exec. Returns when that failed, with errno. */
static void child_exec(struct supervisor *s, const struct row *row, const char *program, const int *fds,
                       const struct vs_files *more)
{
    int high[MAX_GIVEN + VS_MAX_FILES], n = 0;
    setsid();                           /* the terminal's Ctrl-C is for the supervisor */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    struct pollfd alive = { s->lifeline[0], POLLIN, 0 };
    if (poll(&alive, 1, 0) > 0)
        _exit(70);                      /* the parent ended between fork and prctl */
    sigprocmask(SIG_SETMASK, &s->old_mask, NULL);
    if (row->passes_on)
        take_short_turns();
    int null = fcntl(s->null_fd, F_DUPFD, HIGH_FD);
    if (null < 0)
        return;
    for (; n < MAX_GIVEN && row->given[n] != FD_END; n++) {
        int fd = fds[row->given[n]];
        high[n] = fd >= 0 ? fcntl(fd, F_DUPFD, HIGH_FD) : -1;
        if (fd >= 0 && high[n] < 0)
            return;
    }
    for (unsigned i = 0; more && i < more->n; i++)
        if ((high[n++] = fcntl(more->fd[i], F_DUPFD, HIGH_FD)) < 0)
            return;
    if (dup2(null, 0) < 0 || dup2(null, 1) < 0 || (!row->is_heard && !getenv("VERITAS_DEBUG") && dup2(null, 2) < 0))
        return;
    for (int i = 0; i < n; i++) {
        close(3 + i);
        if (high[i] >= 0 && dup2(high[i], 3 + i) < 0)
            return;
    }
    vs_child_close_from((unsigned)(3 + n));
    char *argv[] = { strdup(program), NULL };
    bool asks_token = row->profile == VS_SANDBOX_AUDIT && s->writer.root_uri[0];
    vs_child_exec(program, argv, NULL, asks_token ? vs_child_kept_signer : vs_child_kept_locked, "/");
}

/* Opened before it is another program, which waits for that: one that is locked in can be hidden from its own user
 * (ProtectProc=invisible), and when it matters there may be no descriptor left. */
static void open_times(struct process *p, pid_t pid)
{
    char path[48];
    snprintf(path, sizeof path, "/proc/%d/schedstat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    p->times = fd > 2 ? fd : 0;
    if (fd >= 0 && fd <= 2)
        close(fd);
}

static void close_times(struct process *p)
{
    if (p->times)
        close(p->times);
    p->times = 0;
}

int process_start(struct supervisor *s, struct process *p, const int fds[N_CHILD_FDS], const struct vs_files *more,
                  struct vs_error *err)
{
    const struct row *row = &rows[p->kind];
    const char *program = programs[p->kind];
    int given[N_CHILD_FDS], said[2], words = -1, error = 0;
    vs_last_words_unmap(p->words);
    p->words = NULL;
    close_times(p);
    p->restart_at = 0;
    if (!p->backoff)
        p->backoff = row->first;
    memcpy(given, fds, sizeof given);
    int rc = vs_last_words_create(&words, &p->words, err);
    if (rc != VS_OK)
        return rc;
    given[FD_WORDS] = words;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, said) != 0) {
        close(words);
        return vs_error_set(err, VS_E_SYSTEM, "cannot start %s: %s", program, strerror(errno));
    }
    pid_t pid = vs_sandbox_fork(row->profile);
    if (pid == 0) {
        char go;
        int out = fcntl(said[1], F_DUPFD_CLOEXEC, HIGH_FD);     /* closed when it becomes the program */
        close(s->lifeline[1]);
        close(said[0]);
        if (recv(out, &go, 1, 0) != 1)
            _exit(70);                  /* the parent has ended */
        child_exec(s, row, program, given, more);
        error = errno;
        _exit(write(out, &error, sizeof error) == (ssize_t)sizeof error ? 127 : 70);
    }
    error = errno;
    close(words);
    close(said[1]);
    if (pid > 0) {
        ssize_t n;
        open_times(p, pid);
        send(said[0], "", 1, MSG_NOSIGNAL);
        do
            n = read(said[0], &error, sizeof error);
        while (n < 0 && errno == EINTR);
        if (n == (ssize_t)sizeof error) {
            waitpid(pid, NULL, 0);
            close_times(p);
            pid = -1;
        }
    }
    close(said[0]);
    if (pid < 0)
        return vs_error_set(err, VS_E_SYSTEM, "cannot start %s: %s", program, strerror(error));
    p->pid = pid;
    p->started_at = vs_clock_ns();
    return VS_OK;
}

void process_kill(struct process *p)
{
    if (p->pid > 0)
        kill(p->pid, SIGKILL);
    p->pid = 0;
    p->restart_at = 0;
    close_times(p);
    vs_last_words_unmap(p->words);
    p->words = NULL;
}

uint64_t process_waited(const struct process *p)
{
    char text[96];
    unsigned long long ran, waited;
    ssize_t n = p->pid > 0 && p->times ? pread(p->times, text, sizeof text - 1, 0) : 0;
    text[n > 0 ? n : 0] = 0;
    return sscanf(text, "%llu %llu", &ran, &waited) == 2 ? waited : 0;
}

void process_back_off(struct process *p)
{
    const struct row *row = &rows[p->kind];
    uint64_t now = vs_clock_ns();
    if (p->started_at && now - p->started_at > row->steady)
        p->backoff = row->first;
    p->restart_at = now + p->backoff;
    p->backoff = p->backoff * 2 > row->last ? row->last : p->backoff * 2;
}

int process_ended(struct process *p, int status, char *why, size_t n, bool *ret_again)
{
    int code = vs_last_words_explain(p->words, status, why, n);
    p->pid = 0;
    close_times(p);
    *ret_again = status != 0 && !rows[p->kind].is_hopeless(p, status);
    if (*ret_again)
        process_back_off(p);
    return code;
}
