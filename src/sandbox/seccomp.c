/* sandbox/seccomp.c - the lists of system calls.
 *
 * Two answers, as tables: allowed (with conditions on arguments), and refused with an errno that the C library copes with.
 * Everything else traps: the handler in words.c leaves the call's number and ends the process. Another handler can't be set,
 * and where the signal is blocked the kernel ends the process itself. The list is loaded last, for all threads. A 32-bit or x32
 * entry kills. */
#include "sandbox/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
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

/* which profiles a row is for */
enum {
    W = 1u << VS_SANDBOX_WORKER, B = 1u << VS_SANDBOX_BROKER, G = 1u << VS_SANDBOX_GATEWAY, U = 1u << VS_SANDBOX_GUARD,
    A = 1u << VS_SANDBOX_AUDIT,
    WU = W | U, BG = B | G, ALL = W | B | G | U | A,
};

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
    { CALL(mmap), ALL, 2, { NO_BITS(2, PROT_EXEC), { 3, SCMP_CMP_MASKED_EQ, MEMORY_MASK, OWN_MEMORY } } },
    { CALL(mprotect), ALL, 1, { NO_BITS(2, PROT_EXEC) } },
    { CALL(munmap), ALL, 0, {} },
    { CALL(mremap), ALL, 1, { NO_BITS(3, ~(uint32_t)MREMAP_MAYMOVE) } },
    { CALL(madvise), ALL, 1, { EQ(2, MADV_DONTNEED) } },
    { CALL(madvise), ALL, 1, { EQ(2, MADV_WILLNEED) } },
    { CALL(madvise), ALL, 1, { EQ(2, MADV_HUGEPAGE) } },
    { CALL(brk), ALL, 0, {} },
    /* threads */
    { CALL(clone), WU, 1, { { 0, SCMP_CMP_MASKED_EQ, THREAD_MASK, THREAD_BITS } } },
    { CALL(set_robust_list), WU, 0, {} },
    { CALL(rseq), WU, 0, {} },
#define FUTEX(operation) { CALL(futex), ALL, 1, { { 1, SCMP_CMP_MASKED_EQ, FUTEX_OPERATION, operation } } }
    FUTEX(FUTEX_WAIT), FUTEX(FUTEX_WAKE), FUTEX(FUTEX_REQUEUE), FUTEX(FUTEX_CMP_REQUEUE), FUTEX(FUTEX_WAKE_OP),
    FUTEX(FUTEX_WAIT_BITSET), FUTEX(FUTEX_WAKE_BITSET),         /* not the ones that lend priority: nobody here uses them */
#undef FUTEX
    { CALL(sched_yield), ALL, 0, {} },
    { CALL(sched_getaffinity), ALL, 0, {} },
    { CALL(getcpu), ALL, 0, {} },
    { CALL(exit), ALL, 0, {} },
    { CALL(exit_group), ALL, 0, {} },
    /* signals: one's own */
#define NOT_SIGSYS(bit) { CALL(rt_sigaction), ALL, 1, { { 0, SCMP_CMP_MASKED_EQ, 1u << (bit), 0 } } }
    NOT_SIGSYS(0), NOT_SIGSYS(1), NOT_SIGSYS(2), NOT_SIGSYS(3), NOT_SIGSYS(4),      /* SIGSYS, 31, has all five bits */
#undef NOT_SIGSYS
    { CALL(rt_sigprocmask), ALL, 0, {} },
    { CALL(rt_sigreturn), ALL, 0, {} },
    { CALL(sigaltstack), ALL, 0, {} },
    { CALL(restart_syscall), ALL, 0, {} },
    { CALL(getpid), ALL, 0, {} },
    { CALL(gettid), ALL, 0, {} },
    { CALL(getppid), ALL, 0, {} },
    /* time and chance */
    { CALL(clock_gettime), ALL, 0, {} },
    { CALL(clock_getres), ALL, 0, {} },
    { CALL(gettimeofday), ALL, 0, {} },
    { CALL(time), ALL, 0, {} },
    { CALL(nanosleep), ALL, 0, {} },
    { CALL(clock_nanosleep), ALL, 0, {} },
    { CALL(getrandom), ALL, 0, {} },
    /* what one may know of oneself and the machine; qsort asks sysinfo how much memory there is */
    { CALL(getuid), ALL, 0, {} },
    { CALL(geteuid), ALL, 0, {} },
    { CALL(getgid), ALL, 0, {} },
    { CALL(getegid), ALL, 0, {} },
    { CALL(getrusage), ALL, 0, {} },
    { CALL(sysinfo), ALL, 0, {} },
    { CALL(prlimit64), ALL, 2, { EQ(0, 0), ZERO(2) } },
    { CALL(prctl), ALL, 1, { EQ(0, PR_SET_NAME) } },
    { CALL(setpriority), W, 2, { EQ(0, PRIO_PROCESS), ZERO(1) } },      /* of the calling thread; never higher than it was */
    /* descriptors that are already there */
    { CALL(read), ALL, 0, {} },
    { CALL(pread64), W | A, 0, {} },
    { CALL(pwrite64), A, 0, {} },                        /* of a file that is open for appending the kernel makes it an append */
    { CALL(fdatasync), A, 0, {} },
    { CALL(write), ALL, 0, {} },
    { CALL(writev), ALL, 0, {} },
    { CALL(lseek), ALL, 0, {} },
    { CALL(fstat), ALL, 0, {} },
    { CALL(fadvise64), W, 0, {} },
    { CALL(close), ALL, 0, {} },
    { CALL(fcntl), ALL, 1, { EQ(1, F_GETFL) } },
    { CALL(fcntl), ALL, 1, { EQ(1, F_GETFD) } },
    { CALL(fcntl), BG, 1, { EQ(1, F_DUPFD_CLOEXEC) } },  /* a client's file, until it is on its way to the supervisor */
    { CALL(fcntl), ALL, 1, { EQ(1, F_SETFD) } },
    { CALL(poll), ALL, 0, {} },
    { CALL(ppoll), ALL, 0, {} },
    { CALL(recvmsg), BG | U | A, 0, {} },                    /* with descriptors: a worker neither gets nor gives any; */
    { CALL(sendmsg), BG, 0, {} },                        /* a guard gives none */
    { CALL(recvfrom), ALL, 0, {} },
    { CALL(sendto), ALL, 1, { ZERO(4) } },               /* send(): no address */
    /* clients are taken; the broker asks who they are */
    { CALL(accept4), BG, 0, {} },
    { CALL(shutdown), G, 0, {} },
    { CALL(getsockopt), B, 2, { EQ(1, SOL_SOCKET), EQ(2, SO_PEERCRED) } },      /* SO_PEERPIDFD would be a descriptor */
};

/* Refused, and the caller lives: the C library has another way. */
static const struct { int call, error; uint8_t n; struct scmp_arg_cmp arg[1]; } refused[] = {
    { CALL(clone3), ENOSYS, 0, {} },                    /* its flags are in memory, out of reach of a filter: clone() */
    { CALL(ioctl), ENOTTY, 1, { EQ(1, TCGETS) } },      /* isatty() of stdio */
    { CALL(sched_setaffinity), EPERM, 0, {} },
    { CALL(prctl), EINVAL, 1, { EQ(0, PR_SET_VMA) } },  /* names of memory areas */
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
#ifdef __SANITIZE_THREAD__
    { CALL(open), EACCES }, { CALL(openat), EACCES },   /* a report gets out, without the names that it looks for in files */
#endif
};
#endif

_Static_assert(SIGSYS == 31, "the rows of rt_sigaction know its bits");

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
