/* sandbox/seccomp.c - the lists of system calls.
 *
 * Three answers, as tables: allowed (with conditions on arguments), refused with an errno that the C library copes
 * with, killed at once. Everything else traps: the handler in words.c leaves the call's number and ends the process.
 * The list is loaded last, for all threads. A 32-bit or x32 entry kills. */
#include "sandbox/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif

enum { W = 1u << VS_SANDBOX_WORKER, B = 1u << VS_SANDBOX_BROKER, WB = W | B };      /* which profiles a row is for */

struct row {
    int call;
    uint8_t profiles, n;
    struct scmp_arg_cmp arg[3];
};

#define CALL(name) SCMP_SYS(name)
#define EQ(i, value) { i, SCMP_CMP_MASKED_EQ, 0xffffffffu, (scmp_datum_t)(value) }
#define NO_BITS(i, bits) { i, SCMP_CMP_MASKED_EQ, (scmp_datum_t)(bits), 0 }
#define ZERO(i) { i, SCMP_CMP_EQ, 0, 0 }

/* A thread as a C library makes it, and nothing else: it shares all there is to share (a table of descriptors of its own would
 * have a limit of its own), brings no namespace, no signal and no descriptor. */
#define THREAD_BITS (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SYSVSEM | CLONE_SIGHAND | CLONE_THREAD)
#define THREAD_TIDS (CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID)
#define THREAD_MASK (0xffffffffu & ~(THREAD_TIDS | CLONE_DETACHED))

/* Memory that RLIMIT_DATA counts: private, anonymous, no stack that grows, none of the machine's reserve of huge pages. */
#define OWN_MEMORY (MAP_PRIVATE | MAP_ANONYMOUS)
#define MEMORY_MASK (MAP_TYPE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_LOCKED | MAP_HUGETLB)
#define FUTEX_OPERATION 0x7f            /* without the bits for private and for the clock */

static const struct row allowed[] = {
    /* memory: never executable, never a file */
    { CALL(mmap), WB, 2, { NO_BITS(2, PROT_EXEC), { 3, SCMP_CMP_MASKED_EQ, MEMORY_MASK, OWN_MEMORY } } },
    { CALL(mprotect), WB, 1, { NO_BITS(2, PROT_EXEC) } },
    { CALL(munmap), WB, 0, {} },
    { CALL(mremap), WB, 1, { NO_BITS(3, ~(uint32_t)MREMAP_MAYMOVE) } },
    { CALL(madvise), WB, 1, { EQ(2, MADV_DONTNEED) } },
    { CALL(madvise), WB, 1, { EQ(2, MADV_WILLNEED) } },
    { CALL(madvise), WB, 1, { EQ(2, MADV_HUGEPAGE) } },
    { CALL(brk), WB, 0, {} },
    /* threads */
    { CALL(clone), W, 1, { { 0, SCMP_CMP_MASKED_EQ, THREAD_MASK, THREAD_BITS } } },
    { CALL(set_robust_list), W, 0, {} },
    { CALL(rseq), W, 0, {} },
#define FUTEX(operation) { CALL(futex), WB, 1, { { 1, SCMP_CMP_MASKED_EQ, FUTEX_OPERATION, operation } } }
    FUTEX(FUTEX_WAIT), FUTEX(FUTEX_WAKE), FUTEX(FUTEX_REQUEUE), FUTEX(FUTEX_CMP_REQUEUE), FUTEX(FUTEX_WAKE_OP),
    FUTEX(FUTEX_WAIT_BITSET), FUTEX(FUTEX_WAKE_BITSET),         /* not the ones that lend priority: nobody here uses them */
#undef FUTEX
    { CALL(sched_yield), WB, 0, {} },
    { CALL(sched_getaffinity), WB, 0, {} },
    { CALL(getcpu), WB, 0, {} },
    { CALL(exit), WB, 0, {} },
    { CALL(exit_group), WB, 0, {} },
    /* signals: one's own */
    { CALL(rt_sigaction), WB, 0, {} },
    { CALL(rt_sigprocmask), WB, 0, {} },
    { CALL(rt_sigreturn), WB, 0, {} },
    { CALL(sigaltstack), WB, 0, {} },
    { CALL(restart_syscall), WB, 0, {} },
    { CALL(getpid), WB, 0, {} },
    { CALL(gettid), WB, 0, {} },
    { CALL(getppid), WB, 0, {} },
    /* time and chance */
    { CALL(clock_gettime), WB, 0, {} },
    { CALL(clock_getres), WB, 0, {} },
    { CALL(gettimeofday), WB, 0, {} },
    { CALL(time), WB, 0, {} },
    { CALL(nanosleep), WB, 0, {} },
    { CALL(clock_nanosleep), WB, 0, {} },
    { CALL(getrandom), WB, 0, {} },
    /* what one may know of oneself and the machine; qsort asks sysinfo how much memory there is */
    { CALL(getuid), WB, 0, {} },
    { CALL(geteuid), WB, 0, {} },
    { CALL(getgid), WB, 0, {} },
    { CALL(getegid), WB, 0, {} },
    { CALL(getrusage), WB, 0, {} },
    { CALL(sysinfo), WB, 0, {} },
    { CALL(prlimit64), WB, 2, { EQ(0, 0), ZERO(2) } },
    { CALL(prctl), WB, 1, { EQ(0, PR_SET_NAME) } },
    { CALL(setpriority), W, 2, { EQ(0, PRIO_PROCESS), ZERO(1) } },      /* of the calling thread; never higher than it was */
    /* descriptors that are already there */
    { CALL(read), WB, 0, {} },
    { CALL(pread64), W, 0, {} },
    { CALL(write), WB, 0, {} },
    { CALL(writev), WB, 0, {} },
    { CALL(lseek), WB, 0, {} },
    { CALL(fstat), WB, 0, {} },
    { CALL(fadvise64), W, 0, {} },
    { CALL(close), WB, 0, {} },
    { CALL(fcntl), WB, 1, { EQ(1, F_GETFL) } },
    { CALL(fcntl), WB, 1, { EQ(1, F_GETFD) } },
    { CALL(fcntl), B, 1, { EQ(1, F_DUPFD_CLOEXEC) } },  /* a client's file, until it is on its way to the supervisor */
    { CALL(fcntl), WB, 1, { EQ(1, F_SETFD) } },
    { CALL(poll), WB, 0, {} },
    { CALL(ppoll), WB, 0, {} },
    { CALL(recvmsg), B, 0, {} },                        /* with descriptors: a worker neither gets nor gives any */
    { CALL(sendmsg), B, 0, {} },
    { CALL(recvfrom), WB, 0, {} },
    { CALL(sendto), WB, 1, { ZERO(4) } },               /* send(): no address */
    /* the broker takes clients, and asks who they are */
    { CALL(accept4), B, 0, {} },
    { CALL(getsockopt), B, 2, { EQ(1, SOL_SOCKET), EQ(2, SO_PEERCRED) } },      /* SO_PEERPIDFD would be a descriptor */
};

/* Refused, and the caller lives: the C library has another way. */
static const struct { int call, error; uint8_t n; struct scmp_arg_cmp arg[1]; } refused[] = {
    { CALL(clone3), ENOSYS, 0, {} },                    /* its flags are in memory, out of reach of a filter: clone() */
    { CALL(ioctl), ENOTTY, 1, { EQ(1, TCGETS) } },      /* isatty() of stdio */
    { CALL(sched_setaffinity), EPERM, 0, {} },
    { CALL(prctl), EINVAL, 1, { EQ(0, PR_SET_VMA) } },  /* names of memory areas */
};

/* Nobody does these by mistake. */
static const int killed[] = {
    CALL(execve), CALL(execveat), CALL(ptrace), CALL(process_vm_readv), CALL(process_vm_writev), CALL(bpf),
    CALL(io_uring_setup), CALL(io_uring_enter), CALL(io_uring_register), CALL(userfaultfd), CALL(perf_event_open),
    CALL(add_key), CALL(request_key), CALL(keyctl), CALL(mount), CALL(umount2), CALL(pivot_root), CALL(chroot),
    CALL(move_mount), CALL(open_tree), CALL(fsopen), CALL(fsconfig), CALL(fsmount), CALL(fspick), CALL(mount_setattr),
    CALL(unshare), CALL(setns), CALL(pidfd_open), CALL(pidfd_getfd), CALL(pidfd_send_signal), CALL(kexec_load),
    CALL(kexec_file_load), CALL(init_module), CALL(finit_module), CALL(delete_module), CALL(setuid), CALL(setgid),
    CALL(setreuid), CALL(setregid), CALL(setresuid), CALL(setresgid), CALL(setfsuid), CALL(setfsgid), CALL(setgroups),
    CALL(capset), CALL(reboot), CALL(swapon), CALL(swapoff), CALL(iopl), CALL(ioperm), CALL(modify_ldt), CALL(acct),
    CALL(quotactl), CALL(settimeofday), CALL(clock_settime), CALL(adjtimex), CALL(clock_adjtime), CALL(sethostname),
    CALL(setdomainname), CALL(syslog), CALL(name_to_handle_at), CALL(open_by_handle_at), CALL(fanotify_init),
    CALL(kcmp), CALL(vhangup), CALL(uselib), CALL(ustat), CALL(sysfs), CALL(nfsservctl), CALL(lookup_dcookie),
    CALL(process_madvise), CALL(memfd_secret),
#if !VS_SANDBOX_SANITIZER
    CALL(personality),
#endif
};

#if VS_SANDBOX_SANITIZER
/* What the run time of a sanitizer does by itself: allowed, or refused so that it goes on without. */
static const struct { int call, error; } sanitizer[] = {
    { CALL(mmap), 0 }, { CALL(mprotect), 0 }, { CALL(newfstatat), 0 }, { CALL(prctl), 0 }, { CALL(pipe), 0 },
    { CALL(pipe2), 0 }, { CALL(sched_setaffinity), 0 }, { CALL(mincore), 0 }, { CALL(sigreturn), 0 }, { CALL(dup), 0 },
    { CALL(prlimit64), 0 }, { CALL(clone), 0 }, { CALL(set_robust_list), 0 }, { CALL(rseq), 0 },
    { CALL(membarrier), 0 }, { CALL(madvise), 0 }, { CALL(readlink), EACCES }, { CALL(readlinkat), EACCES },
    { CALL(getcwd), EACCES },
    { CALL(unlink), EACCES }, { CALL(personality), EPERM }, { CALL(ioctl), ENOTTY }, { CALL(uname), 0 },
    { CALL(sched_getparam), 0 }, { CALL(sched_getscheduler), 0 }, { CALL(wait4), 0 }, { CALL(arch_prctl), EINVAL },
};
#endif

/* Calls that this architecture lacks have no number: nothing to allow. */
static int add(scmp_filter_ctx filter, uint32_t action, int call, unsigned n, const struct scmp_arg_cmp *args)
{
    if (call < 0)
        return 0;
    int rc = seccomp_rule_add_array(filter, action, call, n, args);
    return rc == -EACCES || rc == -EEXIST ? 0 : rc;     /* the action is the default one, or the rule is there */
}

static bool is_counted(size_t i)
{
    for (size_t j = 0; j < i; j++)
        if (allowed[j].call == allowed[i].call)
            return false;
    return allowed[i].call >= 0;
}

static int add_all(scmp_filter_ctx filter, const struct vs_sandbox_options *o, int *ret_n_calls)
{
    unsigned profile = 1u << o->profile;
    int rc = 0;
    *ret_n_calls = 1;                                   /* tgkill */
#if VS_SANDBOX_SANITIZER
    for (size_t i = 0; i < sizeof sanitizer / sizeof *sanitizer && rc == 0; i++)
        rc = add(filter, sanitizer[i].error ? SCMP_ACT_ERRNO((uint16_t)sanitizer[i].error) : SCMP_ACT_ALLOW,
                 sanitizer[i].call, 0, NULL);
#endif
    for (size_t i = 0; i < sizeof allowed / sizeof *allowed && rc == 0; i++) {
        if (!(allowed[i].profiles & profile))
            continue;
        rc = add(filter, SCMP_ACT_ALLOW, allowed[i].call, allowed[i].n, allowed[i].arg);
        *ret_n_calls += is_counted(i);
    }
    for (size_t i = 0; i < sizeof refused / sizeof *refused && rc == 0; i++)
        rc = add(filter, SCMP_ACT_ERRNO((uint16_t)refused[i].error), refused[i].call, refused[i].n, refused[i].arg);
    for (size_t i = 0; i < sizeof killed / sizeof *killed && rc == 0; i++)
        rc = add(filter, SCMP_ACT_KILL_PROCESS, killed[i], 0, NULL);
    /* What depends on this process: signals go to itself. */
    if (rc == 0)
        rc = add(filter, SCMP_ACT_ALLOW, CALL(tgkill), 1, (struct scmp_arg_cmp[]){ EQ(0, getpid()) });
    return rc;
}

int vs_seccomp_load(const struct vs_sandbox_options *o, int *ret_n_calls)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_TRAP);
    if (!filter)
        return ENOMEM;
    int rc = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    if (rc == 0)
        rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    if (rc == 0)
        rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);     /* a tree, not a chain */
    if (rc == 0)
        rc = add_all(filter, o, ret_n_calls);
    if (rc == 0)
        rc = seccomp_load(filter);
    seccomp_release(filter);
    return -rc;
}

bool vs_seccomp_available(void)
{
    return prctl(PR_GET_SECCOMP) >= 0;
}
