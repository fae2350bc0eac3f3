/* sandbox/landlock.c - a ruleset without rules: every access that this kernel's Landlock knows is handled, none is
 * allowed. By direct system calls: Debian's C library has no wrappers, and its kernel header knows two ABIs of seven. */
#include "sandbox/internal.h"

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_restrict_self 446
#endif

enum { CREATE_RULESET_VERSION = 1 };

struct ruleset { uint64_t fs, net, scoped; };

/* What each ABI added, and how much of the struct it knows. The last row serves every later ABI: what came after 6
 * are flags for logging and rights that an older ruleset leaves to the other layers. */
static const struct { uint64_t fs, net, scoped; size_t bytes; } added[] = {
    { 0x1fff, 0, 0, 8 },                /* 1: execute, read, write, list, remove and make of each kind */
    { 1u << 13, 0, 0, 8 },              /* 2: link or rename into another directory */
    { 1u << 14, 0, 0, 8 },              /* 3: truncate */
    { 0, 3, 0, 16 },                    /* 4: TCP bind and connect */
    { 1u << 15, 0, 0, 16 },             /* 5: ioctl on devices */
    { 0, 0, 3, 24 },                    /* 6: abstract sockets and signals outside the domain */
};

enum { N_ADDED = sizeof added / sizeof *added };

int vs_landlock_abi(void)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, CREATE_RULESET_VERSION);
    return abi > 0 ? (int)abi : 0;
}

int vs_landlock_deny_all(int abi, int *ret_error)
{
    *ret_error = 0;
    if (abi <= 0)
        return 0;
    struct ruleset r = { 0, 0, 0 };
    size_t bytes = 0;
    for (int i = 0; i < abi && i < N_ADDED; i++) {
        r.fs |= added[i].fs;
        r.net |= added[i].net;
        r.scoped |= added[i].scoped;
        bytes = added[i].bytes;
    }
    int fd = (int)syscall(SYS_landlock_create_ruleset, &r, bytes, 0);
    if (fd < 0) {
        *ret_error = errno;
        return 0;
    }
    long rc = syscall(SYS_landlock_restrict_self, fd, 0);
    if (rc < 0)
        *ret_error = errno;
    close(fd);
    return rc < 0 ? 0 : abi;
}
