/* support/attempts.c - see attempts.h */
#include "support/attempts.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/vm_sockets.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
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
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum { MODEL_FD = 4, SOCKET_FD = 3 };

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
    return syscall(SYS_tgkill, getpid() + 1, getpid() + 1, 0) == 0;
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

RAW(accept4, SOCKET_FD, NULL, NULL, 0)

/* ---- from outside of what C calls a system call ---- */

#if defined(__x86_64__)
static bool try_32_bit_entry(void)
{
    int result;
    __asm__ volatile("int $0x80" : "=a"(result) : "0"(20) : "memory", "r8", "r9", "r10", "r11");        /* getpid */
    return result > 0;
}

static bool try_x32_entry(void)
{
    return syscall(0x40000000 | SYS_getpid) > 0;
}
#endif

/* ---- files ---- */

static bool try_first_environment(void)
{
    return open("/proc/1/environ", O_RDONLY) >= 0;
}

static bool open_of_parent(const char *what)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)getppid(), what);
    return open(path, O_RDWR) >= 0;
}

static bool try_parents_memory(void)
{
    return open_of_parent("mem");
}

static bool try_descriptors_of_parent(void)
{
    return open_of_parent("fd/4");
}

static bool try_log(void)
{
    return open("/var/log/veritas.log", O_WRONLY | O_APPEND) >= 0;
}

RAW(symlinkat, "/etc/passwd", AT_FDCWD, "/tmp/veritas-escape")
RAW(linkat, AT_FDCWD, "/etc/passwd", AT_FDCWD, "/tmp/veritas-escape", 0)
RAW(renameat2, AT_FDCWD, "/tmp/a", AT_FDCWD, "/tmp/veritas-escape", 0)
RAW(unlinkat, AT_FDCWD, "/tmp/veritas-escape", 0)
RAW(mkdirat, AT_FDCWD, "/tmp/veritas-escape", 0700)
RAW(mknodat, AT_FDCWD, "/tmp/veritas-escape", 0600, 0)
RAW(fchmodat, AT_FDCWD, "/etc/passwd", 0666)
RAW(fchownat, AT_FDCWD, "/etc/passwd", 0, 0, 0)
RAW(fallocate, MODEL_FD, 0, 0, 1)
RAW(chdir, "/")
RAW(getcwd, NULL, 0)
RAW(sync)

/* ---- the network ---- */

static bool try_tcp(void)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    return fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) == 0;
}

static bool try_inet6(void)
{
    return socket(AF_INET6, SOCK_STREAM, 0) >= 0;
}

static bool try_abstract(void)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX, .sun_path = "\0veritas" };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    return fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) == 0;
}

static bool try_netlink(void)
{
    return socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE) >= 0;
}

static bool try_vsock(void)
{
    return socket(AF_VSOCK, SOCK_STREAM, 0) >= 0;
}

static bool try_raw_packets(void)
{
    return socket(AF_PACKET, SOCK_RAW, 0) >= 0;
}

/* ---- other processes ---- */

static bool try_kill_parent(void)
{
    return kill(getppid(), SIGTERM) == 0;
}

static bool try_kill_all(void)
{
    return kill(-1, 0) == 0;
}

static bool try_seize_parent(void)
{
    return ptrace(PTRACE_SEIZE, getppid(), NULL, NULL) == 0;
}

static bool try_be_traced(void)
{
    return ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0;
}

static bool try_setuid_program(void)
{
    char *argv[] = { (char *)(uintptr_t)"su", NULL };
    execv("/bin/su", argv);
    return false;
}

static bool try_many_processes(void)
{
    for (int i = 0; i < 100000; i++)
        if (syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, 0) < 0)
            return false;
    return true;
}

static bool try_user_namespace_by_clone(void)
{
    return syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, 0) >= 0;
}

RAW(add_key, "user", "x", "y", 1, -3)
RAW(process_vm_writev, 1, NULL, 0, NULL, 0, 0)
RAW(pidfd_getfd, 0, 0, 0)
RAW(kcmp, 1, 1, 0, 0, 0)
RAW(getpgid, 1)
RAW(sched_setparam, 1, NULL)

/* ---- the machine ---- */

RAW(reboot, 0, 0, 0, NULL)
RAW(sethostname, "x", 1)
RAW(settimeofday, NULL, NULL)
RAW(open_by_handle_at, -1, NULL, 0)
RAW(pivot_root, "/", "/")
RAW(umount2, "/", 0)
RAW(capset, NULL, NULL)
RAW(setgroups, 0, NULL)
RAW(setresuid, 0, 0, 0)
RAW(landlock_create_ruleset, NULL, 0, 1)
RAW(syslog, 3, NULL, 0)

static bool try_writable_code(void)
{
    return mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED;
}

static bool try_own_code_writable(void)
{
    uintptr_t at = (uintptr_t)try_own_code_writable & ~(uintptr_t)4095;
    return mprotect((void *)at, 4096, PROT_READ | PROT_WRITE | PROT_EXEC) == 0;
}

static bool try_terminal(void)
{
    return ioctl(0, TIOCSTI, "x") == 0;          /* types for whoever started us */
}

static bool try_dump(void)
{
    struct rlimit r = { 1 << 20, 1 << 20 };
    return setrlimit(RLIMIT_CORE, &r) == 0;
}

/* ---- what is so, and stays so ---- */

static bool model_is_read_only(void)
{
    return write(MODEL_FD, "x", 1) < 0;
}

/* RLIMIT_DATA as it is, twice. */
static bool twice_the_memory_is_refused(void)
{
    struct rlimit r;
    if (prlimit(0, RLIMIT_DATA, NULL, &r) != 0 || r.rlim_cur == RLIM_INFINITY)
        return false;
    return mmap(NULL, 2 * r.rlim_cur, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) == MAP_FAILED;
}

static bool environment_is_empty(void)
{
    extern char **environ;
    return !environ || !environ[0];
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

static void go_on(int number)
{
    (void)number;
}

static bool try_silence(void)
{
    return sigaction(SIGSYS, &(struct sigaction){ .sa_handler = go_on }, NULL) == 0;
}

/* The kernel needs no handler. */
static bool try_unheard(void)
{
    sigset_t all;
    sigfillset(&all);
    return sigprocmask(SIG_BLOCK, &all, NULL) == 0 && open("/etc/passwd", O_RDONLY) >= 0;
}

const struct attempt attempts[] = {
    { "open a file", try_open, TRAPPED, SYS_openat, false },
    { "open /proc", try_open_proc, TRAPPED, SYS_openat, false },
    { "create a file", try_create, TRAPPED, SYS_openat, false },
    { "stat a path", try_stat, TRAPPED, SYS_newfstatat, true },
    { "readlink", try_readlink, TRAPPED, SYS_readlink, true },
    { "unix socket", try_unix_socket, TRAPPED, SYS_socket, false },
    { "inet socket", try_inet, TRAPPED, SYS_socket, false },
    { "socketpair", try_socketpair, TRAPPED, SYS_socketpair, false },
    { "connect", try_connect, TRAPPED, SYS_connect, false },
    { "exec", try_exec, TRAPPED, SYS_execve, false },
    { "fork", try_fork, TRAPPED, SYS_clone, true },
    { "clone without thread", try_vfork, TRAPPED, SYS_clone, true },
    { "ptrace", try_ptrace, TRAPPED, SYS_ptrace, false },
    { "kill another", try_kill_other, TRAPPED, SYS_kill, false },
    { "tgkill another", try_tgkill_other, TRAPPED, SYS_tgkill, false },
    { "map executable", try_map_exec, TRAPPED, SYS_mmap, true },
    { "make executable", try_protect_exec, TRAPPED, SYS_mprotect, true },
    { "map another descriptor", try_map_other_fd, TRAPPED, SYS_mmap, true },
    { "map the model", try_map_model, TRAPPED, SYS_mmap, true },
    { "memfd", try_memfd, TRAPPED, SYS_memfd_create, false },
    { "setuid", try_setuid, TRAPPED, SYS_setuid, false },
    { "raise a limit", try_prlimit, TRAPPED, SYS_prlimit64, true },
    { "become dumpable", try_dumpable, TRAPPED, SYS_prctl, true },
    { "cut the model", try_truncate, TRAPPED, SYS_ftruncate, false },
    { "dup", try_dup, TRAPPED, SYS_dup, true },
    { "mount", try_mount, TRAPPED, SYS_mount, false },
    { "bpf", try_bpf, TRAPPED, SYS_bpf, false },
    { "unshare", try_unshare, TRAPPED, SYS_unshare, false },
    { "setns", try_setns, TRAPPED, SYS_setns, false },
    { "io_uring", try_io_uring_setup, TRAPPED, SYS_io_uring_setup, false },
    { "perf", try_perf_event_open, TRAPPED, SYS_perf_event_open, false },
    { "read another's memory", try_process_vm_readv, TRAPPED, SYS_process_vm_readv, false },
    { "keyctl", try_keyctl, TRAPPED, SYS_keyctl, false },
    { "load a module", try_init_module, TRAPPED, SYS_init_module, false },
    { "kexec", try_kexec_load, TRAPPED, SYS_kexec_load, false },
    { "execveat", try_execveat, TRAPPED, SYS_execveat, false },
    { "userfaultfd", try_userfaultfd, TRAPPED, SYS_userfaultfd, false },
    { "chroot", try_chroot, TRAPPED, SYS_chroot, false },
    { "pidfd", try_pidfd_open, TRAPPED, SYS_pidfd_open, false },
    { "personality", try_personality, TRAPPED, SYS_personality, true },
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
    { "memfd_secret", try_memfd_secret, TRAPPED, SYS_memfd_secret, false },
    { "process_madvise", try_process_madvise, TRAPPED, SYS_process_madvise, false },
#if defined(__x86_64__)
    { "32-bit entry", try_32_bit_entry, KILLED, 0, false },
    { "x32 entry", try_x32_entry, KILLED, 0, false },
#endif
    { "environment of the first process", try_first_environment, TRAPPED, SYS_openat, false },
    { "memory of the parent", try_parents_memory, TRAPPED, SYS_openat, false },
    { "descriptors of the parent", try_descriptors_of_parent, TRAPPED, SYS_openat, false },
    { "write to a log", try_log, TRAPPED, SYS_openat, false },
    { "symlink", try_symlinkat, TRAPPED, SYS_symlinkat, false },
    { "hard link", try_linkat, TRAPPED, SYS_linkat, false },
    { "rename", try_renameat2, TRAPPED, SYS_renameat2, false },
    { "remove", try_unlinkat, TRAPPED, SYS_unlinkat, false },
    { "make a folder", try_mkdirat, TRAPPED, SYS_mkdirat, false },
    { "make a device", try_mknodat, TRAPPED, SYS_mknodat, false },
    { "chmod", try_fchmodat, TRAPPED, SYS_fchmodat, false },
    { "chown", try_fchownat, TRAPPED, SYS_fchownat, false },
    { "fallocate", try_fallocate, TRAPPED, SYS_fallocate, false },
    { "chdir", try_chdir, TRAPPED, SYS_chdir, false },
    { "getcwd", try_getcwd, TRAPPED, SYS_getcwd, true },
    { "sync", try_sync, TRAPPED, SYS_sync, false },
    { "tcp", try_tcp, TRAPPED, SYS_socket, false },
    { "inet6", try_inet6, TRAPPED, SYS_socket, false },
    { "abstract socket", try_abstract, TRAPPED, SYS_socket, false },
    { "netlink", try_netlink, TRAPPED, SYS_socket, false },
    { "vsock", try_vsock, TRAPPED, SYS_socket, false },
    { "raw packets", try_raw_packets, TRAPPED, SYS_socket, false },
    { "kill the parent", try_kill_parent, TRAPPED, SYS_kill, false },
    { "kill all", try_kill_all, TRAPPED, SYS_kill, false },
    { "trace the parent", try_seize_parent, TRAPPED, SYS_ptrace, false },
    { "be traced", try_be_traced, TRAPPED, SYS_ptrace, false },
    { "a setuid program", try_setuid_program, TRAPPED, SYS_execve, false },
    { "very many processes", try_many_processes, TRAPPED, SYS_clone, true },
    { "user namespace by clone", try_user_namespace_by_clone, TRAPPED, SYS_clone, true },
    { "add_key", try_add_key, TRAPPED, SYS_add_key, false },
    { "write another's memory", try_process_vm_writev, TRAPPED, SYS_process_vm_writev, false },
    { "descriptor of another", try_pidfd_getfd, TRAPPED, SYS_pidfd_getfd, false },
    { "kcmp", try_kcmp, TRAPPED, SYS_kcmp, false },
    { "getpgid", try_getpgid, TRAPPED, SYS_getpgid, false },
    { "sched_setparam", try_sched_setparam, TRAPPED, SYS_sched_setparam, false },
    { "reboot", try_reboot, TRAPPED, SYS_reboot, false },
    { "sethostname", try_sethostname, TRAPPED, SYS_sethostname, false },
    { "settimeofday", try_settimeofday, TRAPPED, SYS_settimeofday, false },
    { "open by handle", try_open_by_handle_at, TRAPPED, SYS_open_by_handle_at, false },
    { "pivot_root", try_pivot_root, TRAPPED, SYS_pivot_root, false },
    { "umount", try_umount2, TRAPPED, SYS_umount2, false },
    { "capset", try_capset, TRAPPED, SYS_capset, false },
    { "setgroups", try_setgroups, TRAPPED, SYS_setgroups, false },
    { "setresuid", try_setresuid, TRAPPED, SYS_setresuid, false },
    { "landlock", try_landlock_create_ruleset, TRAPPED, SYS_landlock_create_ruleset, false },
    { "the kernel's log", try_syslog, TRAPPED, SYS_syslog, false },
    { "map writable and executable", try_writable_code, TRAPPED, SYS_mmap, true },
    { "make our code writable", try_own_code_writable, TRAPPED, SYS_mprotect, true },
    { "type on the terminal", try_terminal, TRAPPED, SYS_ioctl, true },
    { "core dumps", try_dump, TRAPPED, SYS_prlimit64, true },
    { "the model is read-only", model_is_read_only, WORKS, 0, false },
    { "environment is empty", environment_is_empty, WORKS, 0, false },
    { "is nobody", is_nobody, WORKS, 0, false },
    { "limits", core_and_files_are_limited, WORKS, 0, true },
    { "twice the memory is refused", twice_the_memory_is_refused, WORKS, 0, true },
    { "silence the handler", try_silence, TRAPPED, SYS_rt_sigaction, true },
    { "open with all signals blocked", try_unheard, KILLED, 0, false },
};
const size_t n_attempts = sizeof attempts / sizeof *attempts;

const struct attempt attempts_of_worker[] = {
    { "who is the broker?", try_peer, TRAPPED, SYS_getsockopt, false },
    { "give a descriptor away", try_sendmsg, TRAPPED, SYS_sendmsg, false },
    { "take a descriptor", try_recvmsg, TRAPPED, SYS_recvmsg, false },
    { "duplicate for exec", try_duplicate_for_exec, TRAPPED, SYS_fcntl, false },
    { "accept", try_accept4, TRAPPED, SYS_accept4, false },
    { "shutdown", try_shutdown, TRAPPED, SYS_shutdown, false },
};
const size_t n_attempts_of_worker = sizeof attempts_of_worker / sizeof *attempts_of_worker;

const struct attempt *attempt_find(const char *name)
{
    for (size_t i = 0; i < n_attempts; i++)
        if (strcmp(attempts[i].name, name) == 0)
            return &attempts[i];
    for (size_t i = 0; i < n_attempts_of_worker; i++)
        if (strcmp(attempts_of_worker[i].name, name) == 0)
            return &attempts_of_worker[i];
    return NULL;
}
