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

static bool try_map_model(void)
{
    return mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, MODEL_FD, 0) != MAP_FAILED;
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
/* other ways to memory, descriptors, threads and words to others; arguments that would do something if they were let through */
RAW(shmget, 0, 1 << 20, 0600 | IPC_CREAT)
RAW(shmat, 0, NULL, 0)
RAW(semget, 0, 1, 0600 | IPC_CREAT)
RAW(msgget, 0, 0600 | IPC_CREAT)
RAW(mq_open, "/x", O_RDWR | O_CREAT, 0600, NULL)
RAW(remap_file_pages, NULL, 0, 0, 0, 0)
RAW(mlock, NULL, 0)
RAW(mlockall, 1)
RAW(mlock2, NULL, 0, 0)
RAW(mincore, NULL, 0, NULL)
RAW(pkey_mprotect, NULL, 0, PROT_READ | PROT_EXEC, -1)
RAW(memfd_secret, 0)
RAW(process_madvise, -1, NULL, 0, 0, 0)
RAW(eventfd2, 0, 0)
RAW(epoll_create1, 0)
RAW(timerfd_create, CLOCK_MONOTONIC, 0)
RAW(signalfd4, -1, NULL, 8, 0)
RAW(inotify_init1, 0)
RAW(pipe2, NULL, 0)
RAW(dup3, SOCKET_FD, 7, 0)
RAW(openat2, AT_FDCWD, "/", NULL, 0)
RAW(close_range, 900, 1000, 0)
RAW(sendmsg, SOCKET_FD, NULL, 0)
RAW(recvmsg, SOCKET_FD, NULL, 0)
RAW(sendmmsg, SOCKET_FD, NULL, 0, 0)
RAW(recvmmsg, SOCKET_FD, NULL, 0, 0, NULL)
RAW(sendfile, SOCKET_FD, MODEL_FD, NULL, 0)
RAW(splice, SOCKET_FD, NULL, MODEL_FD, NULL, 0, 0)
RAW(vmsplice, SOCKET_FD, NULL, 0, 0)
RAW(copy_file_range, MODEL_FD, NULL, SOCKET_FD, NULL, 0, 0)
RAW(flock, MODEL_FD, 2)
RAW(fchmod, MODEL_FD, 0777)
RAW(fsetxattr, MODEL_FD, "user.x", "", 0, 0)
RAW(getdents64, SOCKET_FD, NULL, 0)
RAW(setsockopt, SOCKET_FD, SOL_SOCKET, SO_SNDBUF, NULL, 0)
RAW(shutdown, SOCKET_FD, SHUT_RDWR)
RAW(bind, SOCKET_FD, NULL, 0)
RAW(listen, SOCKET_FD, 1)
RAW(sched_setscheduler, 0, 0, NULL)
RAW(sched_setattr, 0, NULL, 0)
RAW(setpriority, 0, 1, 19)
RAW(ioprio_set, 1, 0, 0)
RAW(set_mempolicy, 0, NULL, 0)
RAW(seccomp, 0, 0, NULL)
RAW(setpgid, 0, 0)
RAW(setsid)
RAW(wait4, -1, NULL, WNOHANG, NULL)
RAW(tkill, 1, 0)
RAW(rt_sigqueueinfo, 1, 0, NULL)
RAW(uname, NULL)
RAW(membarrier, 0, 0, 0)

#define PRCTL(name, ...) static bool try_prctl_##name(void) { return prctl(__VA_ARGS__) >= 0; }
PRCTL(mm, PR_SET_MM, PR_SET_MM_BRK, 0, 0, 0)
PRCTL(death, PR_SET_PDEATHSIG, 0)
PRCTL(ptracer, PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0)
PRCTL(seccomp, PR_SET_SECCOMP, 1)
PRCTL(subreaper, PR_SET_CHILD_SUBREAPER, 1)
PRCTL(merge, 67, 1, 0, 0, 0)            /* PR_SET_MEMORY_MERGE */

#define MAP(name, protection, flags) static bool try_map_##name(void) \
{ \
    return mmap(NULL, 2 << 20, protection, flags, (flags) & MAP_ANONYMOUS ? -1 : MODEL_FD, 0) != MAP_FAILED; \
}
MAP(shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS)
MAP(shared_validated, PROT_READ | PROT_WRITE, MAP_SHARED_VALIDATE | MAP_ANONYMOUS)
MAP(droppable, PROT_READ | PROT_WRITE, 0x08 | MAP_ANONYMOUS)
MAP(growing, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN)
MAP(huge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB)
MAP(locked, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED)
MAP(model_shared, PROT_READ, MAP_SHARED)

static bool try_remap(void)
{
    void *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return mremap(p, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, (char *)p + 4096) != MAP_FAILED;
}

static bool try_remap_and_keep(void)
{
    void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return mremap(p, 4096, 4096, MREMAP_MAYMOVE | 4 /* MREMAP_DONTUNMAP */) != MAP_FAILED;
}

static bool advise(int advice)
{
    void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return madvise(p, 4096, advice) == 0;
}

static bool try_merge(void)
{
    return advise(MADV_MERGEABLE);
}

static bool try_poison(void)
{
    return advise(MADV_HWPOISON);
}

static bool try_populate(void)
{
    return advise(23);                  /* MADV_POPULATE_WRITE */
}

static bool ask_socket(int level, int option)
{
    char bytes[64];
    socklen_t n = sizeof bytes;
    return getsockopt(SOCKET_FD, level, option, bytes, &n) == 0;
}

static bool try_peer_descriptor(void)
{
    return ask_socket(SOL_SOCKET, 77);  /* SO_PEERPIDFD */
}

static bool try_peer_label(void)
{
    return ask_socket(SOL_SOCKET, SO_PEERSEC);
}

static bool try_peer(void)
{
    return ask_socket(SOL_SOCKET, SO_PEERCRED);
}

static bool try_peer_of_another_level(void)
{
    return ask_socket(0, SO_PEERCRED);
}

static bool control_descriptor(int command, long argument)
{
    return fcntl(MODEL_FD, command, argument) >= 0;
}

static bool try_set_flags(void)
{
    return control_descriptor(F_SETFL, O_DIRECT);   /* of the supervisor's file, too */
}

static bool try_duplicate(void)
{
    return control_descriptor(F_DUPFD, 7);
}

static bool try_duplicate_for_exec(void)
{
    return control_descriptor(F_DUPFD_CLOEXEC, 7);
}

static bool try_own(void)
{
    return control_descriptor(F_SETOWN, 1);
}

static bool try_lease(void)
{
    return control_descriptor(F_SETLEASE, F_RDLCK);
}

static bool try_lend_priority(void)
{
    static int word;
    return syscall(SYS_futex, &word, 6 /* FUTEX_LOCK_PI */ | 128, 0, NULL, NULL, 0) == 0;
}

/* A thread with descriptors of its own: had it been let through it would run on our stack, so it ends at once. */
static bool try_thread_apart(void)
{
    return syscall(SYS_clone, CLONE_VM | CLONE_FS | CLONE_SYSVSEM | CLONE_SIGHAND | CLONE_THREAD, NULL, NULL, NULL, 0) >= 0;
}

static bool try_thread_with_descriptor(void)
{
    return syscall(SYS_clone, CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SYSVSEM | CLONE_SIGHAND | CLONE_THREAD | CLONE_PIDFD,
                   NULL, NULL, NULL, 0) >= 0;
}

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
    { "map the model", try_map_model, TRAPPED, SYS_mmap, true },
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
    { "shmget", try_shmget, TRAPPED, SYS_shmget, false },
    { "shmat", try_shmat, TRAPPED, SYS_shmat, false },
    { "semget", try_semget, TRAPPED, SYS_semget, false },
    { "msgget", try_msgget, TRAPPED, SYS_msgget, false },
    { "mq_open", try_mq_open, TRAPPED, SYS_mq_open, false },
    { "remap_file_pages", try_remap_file_pages, TRAPPED, SYS_remap_file_pages, false },
    { "mlock", try_mlock, TRAPPED, SYS_mlock, false },
    { "mlockall", try_mlockall, TRAPPED, SYS_mlockall, false },
    { "mlock2", try_mlock2, TRAPPED, SYS_mlock2, false },
    { "mincore", try_mincore, TRAPPED, SYS_mincore, true },
    { "pkey_mprotect", try_pkey_mprotect, TRAPPED, SYS_pkey_mprotect, false },
    { "eventfd2", try_eventfd2, TRAPPED, SYS_eventfd2, false },
    { "epoll_create1", try_epoll_create1, TRAPPED, SYS_epoll_create1, false },
    { "timerfd_create", try_timerfd_create, TRAPPED, SYS_timerfd_create, false },
    { "signalfd4", try_signalfd4, TRAPPED, SYS_signalfd4, false },
    { "inotify_init1", try_inotify_init1, TRAPPED, SYS_inotify_init1, false },
    { "pipe2", try_pipe2, TRAPPED, SYS_pipe2, true },
    { "dup3", try_dup3, TRAPPED, SYS_dup3, false },
    { "openat2", try_openat2, TRAPPED, SYS_openat2, false },
    { "close_range", try_close_range, TRAPPED, SYS_close_range, false },
    { "sendmmsg", try_sendmmsg, TRAPPED, SYS_sendmmsg, false },
    { "recvmmsg", try_recvmmsg, TRAPPED, SYS_recvmmsg, false },
    { "sendfile", try_sendfile, TRAPPED, SYS_sendfile, false },
    { "splice", try_splice, TRAPPED, SYS_splice, false },
    { "vmsplice", try_vmsplice, TRAPPED, SYS_vmsplice, false },
    { "copy_file_range", try_copy_file_range, TRAPPED, SYS_copy_file_range, false },
    { "flock", try_flock, TRAPPED, SYS_flock, false },
    { "fchmod", try_fchmod, TRAPPED, SYS_fchmod, false },
    { "fsetxattr", try_fsetxattr, TRAPPED, SYS_fsetxattr, false },
    { "getdents64", try_getdents64, TRAPPED, SYS_getdents64, false },
    { "setsockopt", try_setsockopt, TRAPPED, SYS_setsockopt, false },
    { "shutdown", try_shutdown, TRAPPED, SYS_shutdown, false },
    { "bind", try_bind, TRAPPED, SYS_bind, false },
    { "listen", try_listen, TRAPPED, SYS_listen, false },
    { "sched_setscheduler", try_sched_setscheduler, TRAPPED, SYS_sched_setscheduler, false },
    { "sched_setattr", try_sched_setattr, TRAPPED, SYS_sched_setattr, false },
    { "setpriority", try_setpriority, TRAPPED, SYS_setpriority, false },
    { "ioprio_set", try_ioprio_set, TRAPPED, SYS_ioprio_set, false },
    { "set_mempolicy", try_set_mempolicy, TRAPPED, SYS_set_mempolicy, false },
    { "seccomp", try_seccomp, TRAPPED, SYS_seccomp, false },
    { "setpgid", try_setpgid, TRAPPED, SYS_setpgid, false },
    { "setsid", try_setsid, TRAPPED, SYS_setsid, false },
    { "wait4", try_wait4, TRAPPED, SYS_wait4, true },
    { "tkill", try_tkill, TRAPPED, SYS_tkill, false },
    { "rt_sigqueueinfo", try_rt_sigqueueinfo, TRAPPED, SYS_rt_sigqueueinfo, false },
    { "uname", try_uname, TRAPPED, SYS_uname, true },
    { "membarrier", try_membarrier, TRAPPED, SYS_membarrier, true },
    { "prctl mm", try_prctl_mm, TRAPPED, SYS_prctl, true },
    { "prctl death", try_prctl_death, TRAPPED, SYS_prctl, true },
    { "prctl ptracer", try_prctl_ptracer, TRAPPED, SYS_prctl, true },
    { "prctl seccomp", try_prctl_seccomp, TRAPPED, SYS_prctl, true },
    { "prctl subreaper", try_prctl_subreaper, TRAPPED, SYS_prctl, true },
    { "prctl merge", try_prctl_merge, TRAPPED, SYS_prctl, true },
    { "map shared", try_map_shared, TRAPPED, SYS_mmap, true },
    { "map shared validated", try_map_shared_validated, TRAPPED, SYS_mmap, true },
    { "map droppable", try_map_droppable, TRAPPED, SYS_mmap, true },
    { "map growing", try_map_growing, TRAPPED, SYS_mmap, true },
    { "map huge", try_map_huge, TRAPPED, SYS_mmap, true },
    { "map locked", try_map_locked, TRAPPED, SYS_mmap, true },
    { "map model shared", try_map_model_shared, TRAPPED, SYS_mmap, true },
    { "move a map over another", try_remap, TRAPPED, SYS_mremap, false },
    { "move a map and keep it", try_remap_and_keep, TRAPPED, SYS_mremap, false },
    { "merge memory", try_merge, TRAPPED, SYS_madvise, true },
    { "poison memory", try_poison, TRAPPED, SYS_madvise, true },
    { "populate memory", try_populate, TRAPPED, SYS_madvise, true },
    { "descriptor of the peer", try_peer_descriptor, TRAPPED, SYS_getsockopt, false },
    { "label of the peer", try_peer_label, TRAPPED, SYS_getsockopt, false },
    { "peer at another level", try_peer_of_another_level, TRAPPED, SYS_getsockopt, false },
    { "set flags of the file", try_set_flags, TRAPPED, SYS_fcntl, false },
    { "duplicate", try_duplicate, TRAPPED, SYS_fcntl, false },
    { "send signals to others", try_own, TRAPPED, SYS_fcntl, false },
    { "lease", try_lease, TRAPPED, SYS_fcntl, false },
    { "lend priority", try_lend_priority, TRAPPED, SYS_futex, false },
    { "thread apart", try_thread_apart, TRAPPED, SYS_clone, true },
    { "thread with a descriptor", try_thread_with_descriptor, TRAPPED, SYS_clone, true },
    { "memfd_secret", try_memfd_secret, KILLED, 0, false },
    { "process_madvise", try_process_madvise, KILLED, 0, false },
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
    { "every memory is limited", every_memory_is_limited, WORKS, 0, true },
    { "who is the broker?", try_peer, TRAPPED, SYS_getsockopt, false },
    { "give a descriptor away", try_sendmsg, TRAPPED, SYS_sendmsg, false },
    { "take a descriptor", try_recvmsg, TRAPPED, SYS_recvmsg, false },
    { "duplicate for exec", try_duplicate_for_exec, TRAPPED, SYS_fcntl, false },
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
    { "who is it?", try_peer, WORKS, 0, false },
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
            for (int i = 0; i < N_ATTEMPTS; i++)
                check(&attempts[i], &o);
            bool worker = profile == VS_SANDBOX_WORKER;
            const struct attempt *own = worker ? worker_attempts : broker_attempts;
            for (size_t i = 0; i < (worker ? sizeof worker_attempts : sizeof broker_attempts) / sizeof *own; i++)
                check(&own[i], &o);
            if (worker)
                check(&worker_accept, &o);
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
