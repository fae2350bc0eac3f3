/* rooms: sandbox base */
/* A child enters a profile under each Landlock mask and tries what it must not do. Each attempt has its expected end:
 * trapped (and its number in the last words), killed by the kernel, or working. A second round leaves the list of
 * system calls off, so that the layers below it must answer alone. */
#include "sandbox/sandbox.h"
#include "support/attempts.h"

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
#include <sched.h>
#include <sys/ipc.h>
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
    if (pread(MODEL_FD, b, 16, 0) != 16 || b[1] != 'm')
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

static bool no_secret(void)
{
    return !getenv("PATH") && !getenv("SECRET");
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

/* Every kind of memory runs into a limit: 64 MiB of data, and of addresses what the program needs beside it. */
static bool every_memory_is_limited(void)
{
    const size_t large = 128 << 20;
    void *bare = mmap(NULL, large, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);      /* counted when it becomes writable */
    if (bare == MAP_FAILED || mprotect(bare, large, PROT_READ | PROT_WRITE) == 0)
        return false;
    if (sbrk(large) != (void *)-1)
        return false;
    void *small = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mremap(small, 4096, large, MREMAP_MAYMOVE) != MAP_FAILED)
        return false;
    /* page tables of addresses that are only read */
    size_t addresses = 0;
    while (addresses < (size_t)4 << 30 &&
           mmap(NULL, large, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) != MAP_FAILED)
        addresses += large;
    struct rlimit stack;
    return addresses < (size_t)2 << 30 && prlimit(0, RLIMIT_STACK, NULL, &stack) == 0 && stack.rlim_max <= 8 << 20;
}

/* What holds in both profiles, as enter_and_try() makes them. */
static const struct attempt held[] = {
    { "descriptors as planned", descriptors_are_planned, WORKS, 0, false },
    { "memory is limited", memory_is_limited, WORKS, 0, true },
    { "no secret in the environment", no_secret, WORKS, 0, false },
};

/* What only a worker does. */
static const struct attempt worker_attempts[] = {
    { "compute", can_compute, WORKS, 0, false },
    { "clone3", clone3_is_unknown, WORKS, 0, false },
    { "every memory is limited", every_memory_is_limited, WORKS, 0, true },
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

static bool who_is_it(void)
{
    struct ucred peer;
    socklen_t n = sizeof peer;
    return getsockopt(SOCKET_FD, SOL_SOCKET, SO_PEERCRED, &peer, &n) == 0;
}

static bool hang_up(void)
{
    return shutdown(SOCKET_FD, SHUT_WR) == 0;
}

static const struct attempt broker_attempts[] = {
    { "accept", try_accept, WORKS, 0, false },
    /* pthread_create blocks all signals around clone: a trap that finds its signal blocked kills */
    { "thread", try_thread, KILLED, 0, true },
    { "who is it?", who_is_it, WORKS, 0, false },
    { "hang up", hang_up, TRAPPED, SYS_shutdown, false },
};

static const struct attempt gateway_attempts[] = {
    { "accept", try_accept, WORKS, 0, false },
    { "thread", try_thread, KILLED, 0, true },
    { "who is it?", who_is_it, TRAPPED, SYS_getsockopt, false },
    { "hang up", hang_up, WORKS, 0, false },
};

static bool take_descriptor(void)
{
    char byte;
    struct iovec io = { &byte, 1 };
    struct msghdr m = { .msg_iov = &io, .msg_iovlen = 1 };
    return recvmsg(SOCKET_FD, &m, MSG_DONTWAIT) == 0;         /* the other end is closed */
}

static bool give_descriptor(void)
{
    char byte = 0;
    struct iovec io = { &byte, 1 };
    struct msghdr m = { .msg_iov = &io, .msg_iovlen = 1 };
    return sendmsg(SOCKET_FD, &m, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

static bool read_at(void)
{
    char byte;
    return pread(MODEL_FD, &byte, 1, 0) >= 0;
}

static const struct attempt guard_attempts[] = {
    { "accept", try_accept, TRAPPED, SYS_accept4, false },
    { "thread", try_thread, WORKS, 0, false },
    { "who is it?", who_is_it, TRAPPED, SYS_getsockopt, false },
    { "hang up", hang_up, TRAPPED, SYS_shutdown, false },
    { "take a descriptor", take_descriptor, WORKS, 0, false },
    { "give a descriptor", give_descriptor, TRAPPED, SYS_sendmsg, false },
    { "read a file from a place", read_at, TRAPPED, SYS_pread64, false },
};

static bool wait_for_disk(void)
{
    return fdatasync(MODEL_FD) == 0 || errno != ENOSYS;
}

static bool cut_file(void)
{
    return ftruncate(MODEL_FD, 0) == 0;
}

static bool open_beneath(void)
{
    return openat(MODEL_FD, "x", O_RDONLY) >= 0;
}

static bool forget_append(void)
{
    return fcntl(MODEL_FD, F_SETFL, 0) == 0;
}

static const struct attempt audit_attempts[] = {
    { "accept", try_accept, TRAPPED, SYS_accept4, false },
    { "thread", try_thread, KILLED, 0, true },
    { "who is it?", who_is_it, TRAPPED, SYS_getsockopt, false },
    { "take a descriptor", take_descriptor, WORKS, 0, false },
    { "give a descriptor", give_descriptor, TRAPPED, SYS_sendmsg, false },
    { "read a file from a place", read_at, WORKS, 0, false },
    { "wait for the disk", wait_for_disk, WORKS, 0, false },
    { "cut a file", cut_file, TRAPPED, SYS_ftruncate, false },
    { "open a file in a folder that it holds", open_beneath, TRAPPED, SYS_openat, true },
    { "append no more", forget_append, TRAPPED, SYS_fcntl, false },
};

#define LIST(a) a, sizeof a / sizeof *a
static const struct { const struct attempt *list; size_t n; } own_attempts[] = {
    [VS_SANDBOX_WORKER] = { LIST(worker_attempts) },
    [VS_SANDBOX_BROKER] = { LIST(broker_attempts) },
    [VS_SANDBOX_GATEWAY] = { LIST(gateway_attempts) },
    [VS_SANDBOX_GUARD] = { LIST(guard_attempts) },
    [VS_SANDBOX_AUDIT] = { LIST(audit_attempts) },
};

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

/* What a process may not do that writes no file; the writer of the log makes those longer that it holds. */
static bool is_about_writing(const struct attempt *a)
{
    return strcmp(a->name, "the model is read-only") == 0 || strcmp(a->name, "limits") == 0;
}

static const int masks[] = { 1, 2, 0 };

static void test_attempts(void **state)
{
    (void)state;
    for (int profile = VS_SANDBOX_WORKER; profile <= VS_SANDBOX_AUDIT; profile++)
        for (size_t m = 0; m < sizeof masks / sizeof *masks; m++) {
            struct vs_sandbox_options o = { .profile = profile, .landlock_max = masks[m] };
            /* Namespaces cost a millisecond each time and the list answers before them: in one mask only. */
            o.no_namespaces = masks[m] != 0;
            for (size_t i = 0; i < n_attempts; i++)
                if (profile != VS_SANDBOX_AUDIT || !is_about_writing(&attempts[i]))
                    check(&attempts[i], &o);
            for (size_t i = 0; i < sizeof held / sizeof *held; i++)
                check(&held[i], &o);
            bool worker = profile == VS_SANDBOX_WORKER;
            for (size_t i = 0; i < own_attempts[profile].n; i++)
                check(&own_attempts[profile].list[i], &o);
            for (size_t i = 0; worker && i < n_attempts_of_worker; i++)
                check(&attempts_of_worker[i], &o);
        }
}

/* Without the list, Landlock alone and the empty root alone keep files out of reach. */
static void test_layers_below_the_list(void **state)
{
    (void)state;
    static const char *const reach[] = { "open a file", "open /proc", "create a file", "exec", "setuid", "mount" };
    struct vs_sandbox_host host;
    vs_sandbox_probe(&host);
    for (size_t i = 0; i < sizeof reach / sizeof *reach; i++) {
        struct vs_last_words w;
        for (size_t m = 0; m < sizeof masks / sizeof *masks && host.landlock_abi; m++) {
            struct vs_sandbox_options o = { .no_seccomp = true, .no_namespaces = true, .landlock_max = masks[m],
                .min_level = -1 };
            int status = run(attempt_find(reach[i]), &o, &w);
            if (!WIFEXITED(status) || WEXITSTATUS(status) != FAILED)
                fail_msg("%s with Landlock %d alone: status 0x%x", reach[i], masks[m], status);
        }
        if (host.user_ns || geteuid() == 0) {
            struct vs_sandbox_options o = { .no_seccomp = true, .landlock_max = -1, .min_level = -1 };
            int status = run(attempt_find(reach[i]), &o, &w);
            if (!WIFEXITED(status) || WEXITSTATUS(status) != FAILED)
                fail_msg("%s with namespaces alone: status 0x%x", reach[i], status);
        }
    }
    if (host.net_ns) {
        /* Nothing listens there and nothing routes: the packet has nowhere to go. */
        struct vs_sandbox_options o = { .no_seccomp = true, .landlock_max = -1, .min_level = -1 };
        struct vs_last_words w;
        int status = run(attempt_find("inet socket"), &o, &w);
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
    pid_t pid = vs_sandbox_fork(VS_SANDBOX_WORKER);
    assert_true(pid >= 0);
    if (pid == 0) {
        int out = fcntl(pipe_fd[1], F_DUPFD, 20);
        dup2(out, SOCKET_FD);
        struct vs_sandbox_options o = { .keep_fds = 1u << SOCKET_FD, .words_fd = -1 };
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
        { { "null", die_null, WORKS, 0, true }, VS_E_DIED, "SIGSEGV" },
        { { "abort", die_abort, WORKS, 0, true }, VS_E_DIED, "SIGABRT" },
        { { "said", die_said, WORKS, 0, false }, VS_E_MALFORMED, "tensor\\x0A3 lies \\x1B[31mpast the end" },
        { { "quiet", die_quietly, WORKS, 0, false }, VS_E_DIED, "exit code 9" },
        { { "open a file", NULL, WORKS, 0, false }, VS_E_DIED, "tried the system call openat (" },
        { { "exec", NULL, WORKS, 0, false }, VS_E_DIED, "tried the system call execve (" },
        { { "open with all signals blocked", NULL, WORKS, 0, false }, VS_E_DIED, "forbidden system call" },
    };
    for (size_t i = 0; i < sizeof deaths / sizeof *deaths; i++) {
        if (SANITIZER && deaths[i].a.sanitizer_differs)
            continue;
        struct vs_sandbox_options o = { .no_namespaces = true };
        struct vs_last_words w;
        int status = run(deaths[i].a.go ? &deaths[i].a : attempt_find(deaths[i].a.name), &o, &w);
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
            pid_t child = vs_sandbox_fork(own_pids ? VS_SANDBOX_WORKER : VS_SANDBOX_BROKER);
            if (child == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                int out = fcntl(fd[1], F_DUPFD, 20);
                dup2(out, SOCKET_FD);
                struct vs_sandbox_options o = { .keep_fds = 1u << SOCKET_FD, .words_fd = -1 };
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
