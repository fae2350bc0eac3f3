/* rooms: sandbox base */
/* A child enters a profile under each Landlock mask and tries what it must not do. Each attempt has its expected end:
 * trapped (and its number in the last words), killed by the kernel, or working. A second round leaves the list of
 * system calls off, so that the layers below it must answer alone. */
#include "sandbox/sandbox.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SANITIZER = 1 };
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
enum { SANITIZER = 1 };
#else
enum { SANITIZER = 0 };
#endif
#else
enum { SANITIZER = 0 };
#endif

enum { WORDS_FD = 5, MODEL_FD = 4, SOCKET_FD = 3, STRAY_FD = 9 };
enum { DONE = 0, FAILED = 1, NOT_ENTERED = 2 };         /* exit codes of a child whose attempt came back */

/* ---- attempts: each returns true when it worked ---- */

static bool try_open(void)
{
    return open("/etc/passwd", O_RDONLY) >= 0;
}

static bool try_open_proc(void)
{
    return open("/proc/self/maps", O_RDONLY) >= 0;
}

static bool try_create(void)
{
    return open("/tmp/veritas-escape", O_RDWR | O_CREAT, 0600) >= 0;
}

static bool try_stat(void)
{
    struct stat s;
    return stat("/etc/passwd", &s) == 0;
}

static bool try_readlink(void)
{
    char b[64];
    return readlink("/proc/self/exe", b, sizeof b) >= 0;
}

static bool try_unix_socket(void)
{
    return socket(AF_UNIX, SOCK_STREAM, 0) >= 0;
}

static bool try_inet(void)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    return fd >= 0 && sendto(fd, "x", 1, 0, (struct sockaddr *)&to, sizeof to) == 1;
}

static bool try_socketpair(void)
{
    int fd[2];
    return socketpair(AF_UNIX, SOCK_STREAM, 0, fd) == 0;
}

static bool try_connect(void)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX, .sun_path = "/run/x" };
    return connect(SOCKET_FD, (struct sockaddr *)&to, sizeof to) == 0;
}

static bool try_exec(void)
{
    char *argv[] = { (char *)(uintptr_t)"true", NULL };
    execv("/bin/true", argv);
    return false;
}

static bool try_fork(void)
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    return pid > 0;
}

static bool try_vfork(void)
{
    return syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, 0) >= 0;
}

static bool try_ptrace(void)
{
    return ptrace(PTRACE_ATTACH, getppid(), NULL, NULL) == 0;
}

static bool try_kill_other(void)
{
    return kill(1, 0) == 0;
}

static bool try_tgkill_other(void)
{
    return syscall(SYS_tgkill, 1, 1, 0) == 0;
}

static bool try_map_exec(void)
{
    return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED;
}

static bool try_protect_exec(void)
{
    void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return mprotect(p, 4096, PROT_READ | PROT_EXEC) == 0;
}

static bool try_map_other_fd(void)
{
    return mmap(NULL, 4096, PROT_READ, MAP_SHARED, SOCKET_FD, 0) != MAP_FAILED;
}

static bool try_map_model_writable(void)
{
    return mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, MODEL_FD, 0) != MAP_FAILED;
}

static bool try_memfd(void)
{
    return memfd_create("x", 0) >= 0;
}

static bool try_setuid(void)
{
    return setuid(0) == 0;
}

static bool try_prlimit(void)
{
    struct rlimit r = { RLIM_INFINITY, RLIM_INFINITY };
    return prlimit(0, RLIMIT_CORE, &r, NULL) == 0;
}

static bool try_dumpable(void)
{
    return prctl(PR_SET_DUMPABLE, 1) == 0;
}

static bool try_truncate(void)
{
    return ftruncate(MODEL_FD, 0) == 0;
}

static bool try_dup(void)
{
    return dup(SOCKET_FD) >= 0;
}

#define RAW(name, ...) static bool try_##name(void) { return syscall(SYS_##name, ##__VA_ARGS__) >= 0; }
RAW(mount, "none", "/", "tmpfs", 0, NULL)
RAW(bpf, 0, NULL, 0)
RAW(unshare, 0x10000000)
RAW(setns, 0, 0)
RAW(io_uring_setup, 1, NULL)
RAW(perf_event_open, NULL, 0, 0, 0, 0)
RAW(process_vm_readv, 1, NULL, 0, NULL, 0, 0)
RAW(keyctl, 0, 0, 0, 0, 0)
RAW(init_module, NULL, 0, "")
RAW(kexec_load, 0, 0, NULL, 0)
RAW(execveat, -1, "/bin/true", NULL, NULL, 0)
RAW(userfaultfd, 0)
RAW(chroot, "/")
RAW(pidfd_open, 1, 0)
RAW(personality, 0)

/* ---- what must go on working ---- */

static void *thread_main(void *arg)
{
    free(malloc(1 << 20));
    return arg;
}

static int compare_ints(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

static bool can_compute(void)
{
    pthread_t t[4];
    for (int i = 0; i < 4; i++)
        if (pthread_create(&t[i], NULL, thread_main, NULL) != 0)
            return false;
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    /* qsort asks for the machine's memory, fstat is a path call in this C library, stdio asks for a terminal. */
    int *numbers = calloc(100000, sizeof *numbers);
    qsort(numbers, 100000, sizeof *numbers, compare_ints);
    free(numbers);
    struct stat s;
    if (fstat(MODEL_FD, &s) != 0 || s.st_size != 4096)
        return false;
    char b[16];
    const char *map = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, MODEL_FD, 0);
    if (map == MAP_FAILED || map[1] != 'm' || pread(MODEL_FD, b, 16, 0) != 16)
        return false;
    struct timespec now, nap = { 0, 1000 };
    clock_gettime(CLOCK_MONOTONIC, &now);
    nanosleep(&nap, NULL);
    /* the other end was closed with all unplanned descriptors: an error, not a death by SIGPIPE */
    return write(SOCKET_FD, "x", 1) < 0 && errno == EPIPE && prctl(PR_SET_NAME, "worker") == 0;
}

static bool clone3_is_unknown(void)
{
    return syscall(SYS_clone3, NULL, 0) < 0 && errno == ENOSYS;
}

static bool descriptors_are_planned(void)
{
    for (int fd = 0; fd < 1024; fd++) {
        bool want = fd <= MODEL_FD;
        if ((fcntl(fd, F_GETFD) >= 0) != want)
            return false;
    }
    return true;
}

static bool environment_is_empty(void)
{
    return !getenv("PATH") && !getenv("SECRET");
}

static bool is_nobody(void)
{
    return getuid() != 0 && geteuid() != 0;
}

static bool core_and_files_are_limited(void)
{
    struct rlimit core, file;
    return prlimit(0, RLIMIT_CORE, NULL, &core) == 0 && core.rlim_max == 0 && prlimit(0, RLIMIT_FSIZE, NULL, &file) == 0
        && file.rlim_max == 0;
}

static bool memory_is_limited(void)
{
    /* 64 MiB are allowed, see enter_and_try() */
    void *volatile small = malloc(16 << 20), *volatile large = malloc(256 << 20);     /* clang would leave them out */
    bool done = small && !large;
    free(small);
    free(large);
    return done;
}

enum end { TRAPPED, KILLED, WORKS };

static const struct attempt {
    const char *name;
    bool (*go)(void);
    enum end end;
    int call;                           /* trapped with this number */
    bool sanitizer_differs;             /* the wider list of a sanitizer build lets it through or refuses it */
} attempts[] = {
    { "open a file", try_open, TRAPPED, SYS_openat, false },
    { "open /proc", try_open_proc, TRAPPED, SYS_openat, false },
    { "create a file", try_create, TRAPPED, SYS_openat, false },
    { "stat a path", try_stat, TRAPPED, SYS_newfstatat, true },
    { "readlink", try_readlink, TRAPPED, SYS_readlink, true },
    { "unix socket", try_unix_socket, TRAPPED, SYS_socket, false },
    { "inet socket", try_inet, TRAPPED, SYS_socket, false },
    { "socketpair", try_socketpair, TRAPPED, SYS_socketpair, false },
    { "connect", try_connect, TRAPPED, SYS_connect, false },
    { "exec", try_exec, KILLED, 0, false },
    { "fork", try_fork, TRAPPED, SYS_clone, true },
    { "clone without thread", try_vfork, TRAPPED, SYS_clone, true },
    { "ptrace", try_ptrace, KILLED, 0, false },
    { "kill another", try_kill_other, TRAPPED, SYS_kill, false },
    { "tgkill another", try_tgkill_other, TRAPPED, SYS_tgkill, false },
    { "map executable", try_map_exec, TRAPPED, SYS_mmap, true },
    { "make executable", try_protect_exec, TRAPPED, SYS_mprotect, true },
    { "map another descriptor", try_map_other_fd, TRAPPED, SYS_mmap, true },
    { "map the model writable", try_map_model_writable, TRAPPED, SYS_mmap, true },
    { "memfd", try_memfd, TRAPPED, SYS_memfd_create, false },
    { "setuid", try_setuid, KILLED, 0, false },
    { "raise a limit", try_prlimit, TRAPPED, SYS_prlimit64, true },
    { "become dumpable", try_dumpable, TRAPPED, SYS_prctl, true },
    { "cut the model", try_truncate, TRAPPED, SYS_ftruncate, false },
    { "dup", try_dup, TRAPPED, SYS_dup, true },
    { "mount", try_mount, KILLED, 0, false },
    { "bpf", try_bpf, KILLED, 0, false },
    { "unshare", try_unshare, KILLED, 0, false },
    { "setns", try_setns, KILLED, 0, false },
    { "io_uring", try_io_uring_setup, KILLED, 0, false },
    { "perf", try_perf_event_open, KILLED, 0, false },
    { "read another's memory", try_process_vm_readv, KILLED, 0, false },
    { "keyctl", try_keyctl, KILLED, 0, false },
    { "load a module", try_init_module, KILLED, 0, false },
    { "kexec", try_kexec_load, KILLED, 0, false },
    { "execveat", try_execveat, KILLED, 0, false },
    { "userfaultfd", try_userfaultfd, KILLED, 0, false },
    { "chroot", try_chroot, KILLED, 0, false },
    { "pidfd", try_pidfd_open, KILLED, 0, false },
    { "personality", try_personality, KILLED, 0, true },
    { "descriptors as planned", descriptors_are_planned, WORKS, 0, false },
    { "environment is empty", environment_is_empty, WORKS, 0, false },
    { "is nobody", is_nobody, WORKS, 0, false },
    { "limits", core_and_files_are_limited, WORKS, 0, true },
    { "memory is limited", memory_is_limited, WORKS, 0, true },
};
enum { N_ATTEMPTS = sizeof attempts / sizeof *attempts };

/* What only a worker does. */
static const struct attempt worker_attempts[] = {
    { "compute", can_compute, WORKS, 0, false },
    { "clone3", clone3_is_unknown, WORKS, 0, false },
};

static bool try_accept(void)
{
    return accept4(SOCKET_FD, NULL, NULL, 0) < 0 && errno != ENOSYS;
}

static bool try_thread(void)
{
    pthread_t t;
    return pthread_create(&t, NULL, thread_main, NULL) == 0;
}

static const struct attempt broker_attempts[] = {
    { "accept", try_accept, WORKS, 0, false },
    /* pthread_create blocks all signals around clone: a trap that finds its signal blocked kills */
    { "thread", try_thread, KILLED, 0, true },
};
static const struct attempt worker_accept = { "worker accepts", try_accept, TRAPPED, SYS_accept4, false };

/* ---- running them ---- */

static int model_fd = -1;

static void enter_and_try(const struct attempt *a, struct vs_sandbox_options o, int words_fd)
{
    int pair[2];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setenv("SECRET", "hunter2", 1);
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
        _exit(NOT_ENTERED);
    int model = fcntl(model_fd, F_DUPFD, 20), words = fcntl(words_fd, F_DUPFD, 20), end = fcntl(pair[0], F_DUPFD, 20);
    dup2(end, SOCKET_FD);
    dup2(model, MODEL_FD);
    dup2(words, WORDS_FD);
    dup2(model, STRAY_FD);
    o.keep_fds = 1u << SOCKET_FD | 1u << MODEL_FD | 1u << WORDS_FD;
    o.words_fd = WORDS_FD;
    o.map_fd = o.profile == VS_SANDBOX_WORKER ? MODEL_FD : -1;
    o.memory_bytes = 64 << 20;
    o.n_files = 1024;
    struct vs_sandbox_report report;
    struct vs_error err = { 0 };
    if (vs_sandbox_enter(&o, &report, &err) != VS_OK) {
        vs_last_words_say(err.code, err.text);
        _exit(NOT_ENTERED);
    }
    _exit(a->go() ? DONE : FAILED);
}

/* Runs one attempt; returns waitpid's status and fills words. */
static int run(const struct attempt *a, const struct vs_sandbox_options *o, struct vs_last_words *words)
{
    int fd;
    struct vs_last_words *shared;
    assert_int_equal(vs_last_words_create(&fd, &shared, NULL), VS_OK);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        enter_and_try(a, *o, fd);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    *words = *shared;
    vs_last_words_unmap(shared);
    close(fd);
    return status;
}

static void check(const struct attempt *a, const struct vs_sandbox_options *o)
{
    if (SANITIZER && a->sanitizer_differs)
        return;
    struct vs_last_words w;
    int status = run(a, o, &w);
    char why[512];
    vs_last_words_explain(&w, status, why, sizeof why);
    bool as_planned = false;
    if (a->end == TRAPPED)
        as_planned = WIFEXITED(status) && WEXITSTATUS(status) == VS_SANDBOX_EXIT && w.kind == VS_WORDS_SYSCALL
            && w.number == a->call;
    else if (a->end == KILLED)
        as_planned = WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
    else
        as_planned = WIFEXITED(status) && WEXITSTATUS(status) == DONE;
    if (!as_planned)
        fail_msg("%s (profile %d, Landlock mask %d): status 0x%x, %s", a->name, o->profile, o->landlock_max, status, why);
}

static const int masks[] = { 1, 2, 0 };

static void test_attempts(void **state)
{
    (void)state;
    for (int profile = VS_SANDBOX_WORKER; profile <= VS_SANDBOX_BROKER; profile++)
        for (size_t m = 0; m < sizeof masks / sizeof *masks; m++) {
            struct vs_sandbox_options o = { .profile = profile, .landlock_max = masks[m] };
            /* Namespaces cost a millisecond each time and the list answers before them: in one mask only. */
            o.no_namespaces = masks[m] != 0;
            for (int i = 0; i < N_ATTEMPTS; i++) {
                if (profile == VS_SANDBOX_BROKER && attempts[i].go == try_map_model_writable)
                    continue;
                check(&attempts[i], &o);
            }
            if (profile == VS_SANDBOX_WORKER) {
                check(&worker_attempts[0], &o);
                check(&worker_attempts[1], &o);
                check(&worker_accept, &o);
            } else {
                check(&broker_attempts[0], &o);
                check(&broker_attempts[1], &o);
            }
        }
}

/* Without the list, Landlock alone and the empty root alone keep files out of reach. */
static void test_layers_below_the_list(void **state)
{
    (void)state;
    static const struct attempt reach[] = {
        { "open", try_open, WORKS, 0, false },
        { "open proc", try_open_proc, WORKS, 0, false },
        { "create", try_create, WORKS, 0, false },
        { "exec", try_exec, WORKS, 0, false },
        { "setuid", try_setuid, WORKS, 0, false },
        { "mount", try_mount, WORKS, 0, false },
    };
    struct vs_sandbox_host host;
    vs_sandbox_probe(&host);
    for (size_t i = 0; i < sizeof reach / sizeof *reach; i++) {
        struct vs_last_words w;
        for (size_t m = 0; m < sizeof masks / sizeof *masks && host.landlock_abi; m++) {
            struct vs_sandbox_options o = { .no_seccomp = true, .no_namespaces = true, .landlock_max = masks[m],
                .min_level = -1 };
            int status = run(&reach[i], &o, &w);
            if (!WIFEXITED(status) || WEXITSTATUS(status) != FAILED)
                fail_msg("%s with Landlock %d alone: status 0x%x", reach[i].name, masks[m], status);
        }
        if (host.user_ns || geteuid() == 0) {
            struct vs_sandbox_options o = { .no_seccomp = true, .landlock_max = -1, .min_level = -1 };
            int status = run(&reach[i], &o, &w);
            if (!WIFEXITED(status) || WEXITSTATUS(status) != FAILED)
                fail_msg("%s with namespaces alone: status 0x%x", reach[i].name, status);
        }
    }
    if (host.net_ns) {
        /* Nothing listens there and nothing routes: the packet has nowhere to go. */
        struct attempt inet = { "inet", try_inet, WORKS, 0, false };
        struct vs_sandbox_options o = { .no_seccomp = true, .landlock_max = -1, .min_level = -1 };
        struct vs_last_words w;
        int status = run(&inet, &o, &w);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == FAILED);
    }
}

static bool report_full(void)
{
    return true;
}

static void test_minimum_is_kept(void **state)
{
    (void)state;
    struct attempt a = { "enter", report_full, WORKS, 0, false };
    struct vs_sandbox_options o = { .no_seccomp = true };
    struct vs_last_words w;
    int status = run(&a, &o, &w);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == NOT_ENTERED);
    assert_int_equal(w.status, VS_E_DENIED);
    assert_non_null(strstr(w.text, "below the configured minimum 2"));
    assert_non_null(strstr(w.text, "seccomp"));
    char why[512];
    assert_int_equal(vs_last_words_explain(&w, status, why, sizeof why), VS_E_DENIED);
    o = (struct vs_sandbox_options){ .landlock_max = -1, .no_namespaces = true, .min_level = 3 };
    status = run(&a, &o, &w);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == NOT_ENTERED);
    o.min_level = 2;
    status = run(&a, &o, &w);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == DONE);
}

/* ---- the report, through a pipe: the child can only write ---- */

static void test_report(void **state)
{
    (void)state;
    int pipe_fd[2], words_fd;
    assert_int_equal(pipe(pipe_fd), 0);
    assert_int_equal(vs_last_words_create(&words_fd, NULL, NULL), VS_OK);
    pid_t pid = vs_sandbox_fork(true);
    assert_true(pid >= 0);
    if (pid == 0) {
        int out = fcntl(pipe_fd[1], F_DUPFD, 20);
        dup2(out, SOCKET_FD);
        struct vs_sandbox_options o = { .keep_fds = 1u << SOCKET_FD, .words_fd = -1, .map_fd = -1 };
        struct vs_sandbox_report r;
        char text[1024];
        if (vs_sandbox_enter(&o, &r, NULL) != VS_OK)
            _exit(NOT_ENTERED);
        size_t n = vs_sandbox_report_json(&r, text, sizeof text);
        _exit(n && write(SOCKET_FD, text, n) == (ssize_t)n ? DONE : FAILED);
    }
    close(pipe_fd[1]);
    close(words_fd);
    char text[1025];
    ssize_t n = read(pipe_fd[0], text, sizeof text - 1);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_true(n > 0);
    text[n] = 0;
    printf("[  report  ] %s\n", text);
    assert_non_null(strstr(text, "\"seccomp\":true"));
    assert_non_null(strstr(text, "\"fds_closed\":true"));
    assert_null(strstr(text, "\"uid\":0,"));
    close(pipe_fd[0]);
}

/* ---- deaths and their explanations ---- */

static bool die_cut(void)
{
    const volatile char *map = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE, MODEL_FD, 0);
    vs_last_words_phase("loading the model");
    return map[5000];
}

static bool die_null(void)
{
    static int *volatile nowhere;
    return *nowhere;
}

static bool die_abort(void)
{
    abort();
}

static bool die_said(void)
{
    vs_last_words_say(VS_E_MALFORMED, "tensor\n3 lies \x1b[31mpast the end");
    _exit(3);
}

static bool die_quietly(void)
{
    _exit(9);
}

static void test_explanations(void **state)
{
    (void)state;
    static const struct {
        struct attempt a;
        int code;
        const char *text;
    } deaths[] = {
        { { "cut", die_cut, WORKS, 0, false }, VS_E_MALFORMED, "cut while it was being read while loading the model" },
        { { "null", die_null, WORKS, 0, true }, VS_E_DIED, "SIGSEGV" },
        { { "abort", die_abort, WORKS, 0, true }, VS_E_DIED, "SIGABRT" },
        { { "said", die_said, WORKS, 0, false }, VS_E_MALFORMED, "tensor\\x0A3 lies \\x1B[31mpast the end" },
        { { "quiet", die_quietly, WORKS, 0, false }, VS_E_DIED, "exit code 9" },
        { { "open", try_open, WORKS, 0, false }, VS_E_DIED, "tried the system call openat (" },
        { { "exec", try_exec, WORKS, 0, false }, VS_E_DIED, "forbidden system call" },
    };
    for (size_t i = 0; i < sizeof deaths / sizeof *deaths; i++) {
        if (SANITIZER && deaths[i].a.sanitizer_differs)
            continue;
        struct vs_sandbox_options o = { .no_namespaces = true };
        struct vs_last_words w;
        int status = run(&deaths[i].a, &o, &w);
        char text[512];
        assert_int_equal(vs_last_words_explain(&w, status, text, sizeof text), deaths[i].code);
        if (!strstr(text, deaths[i].text))
            fail_msg("%s: '%s'", deaths[i].a.name, text);
    }
    char text[64];
    assert_int_equal(vs_last_words_explain(NULL, SIGKILL, text, sizeof text), VS_E_DIED);
    assert_non_null(strstr(text, "signal 9"));
    /* A page full of lies must not lead the parent astray. */
    struct vs_last_words lies;
    memset(&lies, 0xff, sizeof lies);
    for (uint32_t kind = 0; kind < 6; kind++) {
        lies.kind = kind;
        vs_last_words_explain(&lies, VS_SANDBOX_EXIT << 8, text, sizeof text);
        assert_true(strlen(text) < sizeof text);
    }
}

/* A parent killed with -9 takes a process with it that has changed its uid, in its own PID namespace too. */
static void test_death_of_the_parent(void **state)
{
    (void)state;
    for (int own_pids = 0; own_pids < 2; own_pids++) {
        int fd[2];
        assert_int_equal(pipe(fd), 0);
        pid_t parent = fork();
        assert_true(parent >= 0);
        if (parent == 0) {
            pid_t child = vs_sandbox_fork(own_pids);
            if (child == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                int out = fcntl(fd[1], F_DUPFD, 20);
                dup2(out, SOCKET_FD);
                struct vs_sandbox_options o = { .keep_fds = 1u << SOCKET_FD, .words_fd = -1, .map_fd = -1 };
                if (vs_sandbox_enter(&o, NULL, NULL) != VS_OK || write(SOCKET_FD, "r", 1) != 1)
                    _exit(NOT_ENTERED);
                for (;;)
                    poll(NULL, 0, 1000);
            }
            for (;;)
                pause();
        }
        close(fd[1]);
        char c;
        assert_int_equal(read(fd[0], &c, 1), 1);
        kill(parent, SIGKILL);
        waitpid(parent, NULL, 0);
        struct pollfd p = { fd[0], POLLIN, 0 };
        assert_int_equal(poll(&p, 1, 2000), 1);         /* the write end closes when the child is gone */
        assert_int_equal(read(fd[0], &c, 1), 0);
        close(fd[0]);
    }
}

static void test_options(void **state)
{
    (void)state;
    struct vs_sandbox_options o = { 0 };
    struct vs_error err = { 0 };
    assert_int_equal(vs_sandbox_options_parse(NULL, &o, &err), VS_OK);
    assert_int_equal(vs_sandbox_options_parse("", &o, &err), VS_OK);
    assert_int_equal(vs_sandbox_options_parse("min=3,landlock=2,namespaces=off,seccomp=on,uid=7,gid=8", &o, &err), VS_OK);
    assert_int_equal(o.min_level, 3);
    assert_int_equal(o.landlock_max, 2);
    assert_true(o.no_namespaces);
    assert_false(o.no_seccomp);
    assert_int_equal(o.uid, 7);
    static const char *const wrong[] = { "min=6", "min=", "min", "landlock=0", "uid=0", "uid=-1", "x=1", "seccomp=2" };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(vs_sandbox_options_parse(wrong[i], &o, &err), VS_E_INVALID);
}

static int set_up(void **state)
{
    (void)state;
    char page[4096];
    memset(page, 'm', sizeof page);
    FILE *f = tmpfile();
    if (!f || fwrite(page, 1, sizeof page, f) != sizeof page || fflush(f) != 0)
        return -1;
    model_fd = fileno(f);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_report),
        cmocka_unit_test(test_attempts),
        cmocka_unit_test(test_layers_below_the_list),
        cmocka_unit_test(test_minimum_is_kept),
        cmocka_unit_test(test_explanations),
        cmocka_unit_test(test_death_of_the_parent),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
