/* sandbox/limits.c - resource limits, descriptors, environment. */
#include "sandbox/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

extern char **environ;

#define STACK_BYTES (8u << 20)
#define PROGRAM_BYTES (1ull << 30)      /* addresses, not memory: the program, its libraries, what is mapped and never touched */

static bool close_from_to(unsigned first, unsigned last)
{
    if (syscall(SYS_close_range, first, last, 0) == 0)
        return true;
    if (errno != ENOSYS && errno != EPERM)
        return false;
    /* Kernels before 5.9, and containers that don't know the call. */
    struct rlimit r;
    unsigned limit = getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_max < 65536 ? (unsigned)r.rlim_max : 65536;
    for (unsigned fd = first; fd <= last && fd < limit; fd++)
        close((int)fd);
    return true;
}

bool vs_limits_close_fds(uint64_t keep)
{
    bool done = true;
    unsigned fd = 0;
    keep |= 7;
    while (fd < 64) {
        if (keep >> fd & 1) {
            fd++;
            continue;
        }
        unsigned last = fd;
        while (last < 63 && !(keep >> (last + 1) & 1))
            last++;
        done &= close_from_to(fd, last);
        fd = last + 1;
    }
    return close_from_to(64, ~0u) && done;
}

/* Not only forgotten but overwritten: the strings lie in the process's first stack page and may hold keys. */
void vs_limits_clear_environment(void)
{
    for (char **e = environ; e && *e; e++)
        explicit_bzero(*e, strlen(*e));
    clearenv();
}

static bool set(int resource, rlim_t value)
{
    struct rlimit r;
    if (getrlimit((__rlimit_resource_t)resource, &r) != 0)
        return false;
    if (value > r.rlim_max)
        value = r.rlim_max;
    r = (struct rlimit){ value, value };
    return setrlimit((__rlimit_resource_t)resource, &r) == 0;
}

bool vs_limits_set(const struct vs_sandbox_options *o, struct vs_sandbox_report *report)
{
    rlim_t n_files = o->n_files;
    if (!n_files)
        n_files = o->keep_fds ? 64 - (rlim_t)__builtin_clzll(o->keep_fds | 4) : 3;
    bool done = set(RLIMIT_CORE, 0) && set(RLIMIT_MSGQUEUE, 0);
    if (!VS_SANDBOX_SANITIZER) {
        done &= set(RLIMIT_STACK, STACK_BYTES);         /* a stack that grows is not counted as data */
        done &= set(RLIMIT_NOFILE, n_files) && set(RLIMIT_MEMLOCK, 0);
        if (o->memory_bytes) {
            done &= set(RLIMIT_DATA, (rlim_t)o->memory_bytes)
                && set(RLIMIT_AS, (rlim_t)o->memory_bytes + PROGRAM_BYTES);
            report->memory_bytes = o->memory_bytes;
        }
    }
    if (!o->keep_stderr && !vs_sandbox_profile_row(o->profile)->writes_files)
        done &= set(RLIMIT_FSIZE, 0);
    /* The count of processes belongs to a user; only a user namespace of one's own makes it one's own. */
    if (report->ns_user)
        done &= set(RLIMIT_NPROC, o->n_threads ? o->n_threads : 512);
    return done;
}
