/* prog/fetch/lockdown.c - see lockdown.h. Not the sandbox room's profile: that one knows a fixed list of calls, and here the
 * libraries of name resolution and TLS, which differ from host to host, must run; so calls are taken away instead of granted. */
#include "prog/fetch/lockdown.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/landlock.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { NOBODY = 65534, MAX_FILES = 64, MAX_DATA = 512 << 20 };

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED 1                               /* its shadow is larger than any limit */
#else
#define IS_SANITIZED 0
#endif

#define READING (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_EXECUTE)
#define EVERYTHING ((UINT64_C(1) << 13) - 1)         /* all that the first ABI knows */

/* Reads only, and only there: libraries that name resolution loads, and its files. */
static bool shut_files(void)
{
    static const char *const open_to[] = { "/etc", "/usr", "/lib", "/lib64", "/run/systemd/resolve", "/run/resolvconf", "/run/nscd",
                                          "/dev/urandom" };
    struct landlock_ruleset_attr all = { .handled_access_fs = EVERYTHING };
    int rules = (int)syscall(SYS_landlock_create_ruleset, &all, sizeof all, 0);
    if (rules < 0)
        return errno == ENOSYS || errno == EOPNOTSUPP;              /* a kernel without it */
    for (size_t i = 0; i < sizeof open_to / sizeof *open_to; i++) {
        bool is_file = i == sizeof open_to / sizeof *open_to - 1;
        struct landlock_path_beneath_attr rule = { .allowed_access = is_file ? LANDLOCK_ACCESS_FS_READ_FILE : READING };
        rule.parent_fd = open(open_to[i], O_PATH | O_CLOEXEC);
        if (rule.parent_fd < 0)
            continue;
        syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
        close(rule.parent_fd);
    }
    bool done = syscall(SYS_landlock_restrict_self, rules, 0) == 0;
    close(rules);
    return done;
}

static bool shut_calls(void)
{
    static const int deadly[] = {
        SCMP_SYS(execve), SCMP_SYS(execveat), SCMP_SYS(fork), SCMP_SYS(vfork), SCMP_SYS(ptrace), SCMP_SYS(process_vm_readv),
        SCMP_SYS(process_vm_writev), SCMP_SYS(pidfd_getfd), SCMP_SYS(kcmp), SCMP_SYS(mount), SCMP_SYS(umount2),
        SCMP_SYS(pivot_root), SCMP_SYS(chroot), SCMP_SYS(setns), SCMP_SYS(unshare), SCMP_SYS(bpf), SCMP_SYS(perf_event_open),
            SCMP_SYS(userfaultfd),
        SCMP_SYS(io_uring_setup), SCMP_SYS(init_module), SCMP_SYS(finit_module), SCMP_SYS(delete_module), SCMP_SYS(kexec_load),
        SCMP_SYS(keyctl), SCMP_SYS(add_key), SCMP_SYS(request_key), SCMP_SYS(open_by_handle_at), SCMP_SYS(memfd_create),
        SCMP_SYS(listen), SCMP_SYS(accept), SCMP_SYS(accept4), SCMP_SYS(setuid), SCMP_SYS(setreuid), SCMP_SYS(setresuid),
            SCMP_SYS(personality),
    };
    static const int families[] = { AF_UNIX, AF_INET, AF_INET6, AF_NETLINK };
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    bool done = filter != NULL;
    for (size_t i = 0; done && i < sizeof deadly / sizeof *deadly; i++)
        done = seccomp_rule_add(filter, SCMP_ACT_KILL_PROCESS, deadly[i], 0) == 0;
    /* other kinds of sockets do not exist */
    for (int family = 0; done && family < AF_MAX; family++) {
        bool known = false;
        for (size_t i = 0; i < sizeof families / sizeof *families; i++)
            known = known || family == families[i];
        if (!known)
            done = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1,
                                    SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)family, 0)) == 0;
    }
    done = done && seccomp_load(filter) == 0;
    seccomp_release(filter);
    return done;
}

static bool limit(int what, rlim_t most)
{
    struct rlimit both = { most, most };
    return setrlimit((__rlimit_resource_t)what, &both) == 0;
}

const char *vs_fetch_lockdown(void)
{
    if (geteuid() == 0 && (setgroups(0, NULL) != 0 || setresgid(NOBODY, NOBODY, NOBODY) != 0
                           || setresuid(NOBODY, NOBODY, NOBODY) != 0))
        return "it cannot stop being root";
    prctl(PR_SET_DUMPABLE, 0);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return "no_new_privs";
    if (!limit(RLIMIT_CORE, 0) || !limit(RLIMIT_FSIZE, 0) || !limit(RLIMIT_NOFILE, MAX_FILES)
        || (!IS_SANITIZED && !limit(RLIMIT_DATA, MAX_DATA)))
        return "limits";
    if (!shut_files())
        return "Landlock";
    if (!shut_calls())
        return "seccomp";
    return NULL;
}
