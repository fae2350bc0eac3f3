/* sandbox/namespaces.c - a view of the system with nothing in it, and an identity that owns nothing.
 *
 * Order, because each step needs what the next one gives up:
 *   1. with CAP_SYS_ADMIN (root): own network, IPC, UTS, cgroup and mount namespaces, an empty root directory;
 *   2. with CAP_SETUID (root): no groups, another gid and uid, an empty bounding set;
 *   3. a user namespace, and in it whatever of step 1 is still missing (all of it, for an ordinary user);
 *   4. no capabilities, in whatever namespace we are now.
 * The broker gets no user namespace when it can do without: it must see who its peers are. Where it needs one, its
 * own uid stays mapped, so peers of the same user (the socket's owner) look like themselves. */
#include "sandbox/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NOBODY = 65534, LAST_CAP = 63 };

static bool write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = (ssize_t)strlen(text);
    bool done = write(fd, text, (size_t)n) == n;
    close(fd);
    return done;
}

/* In a new user namespace: the uid and gid we had stay what they are; everybody else is nobody. */
static bool map_self(uid_t uid, gid_t gid)
{
    char text[64];
    write_file("/proc/self/setgroups", "deny");
    snprintf(text, sizeof text, "%u %u 1", (unsigned)uid, (unsigned)uid);
    if (!write_file("/proc/self/uid_map", text))
        return false;
    snprintf(text, sizeof text, "%u %u 1", (unsigned)gid, (unsigned)gid);
    return write_file("/proc/self/gid_map", text);
}

/* A tmpfs with room for its own root directory only becomes the root. */
static bool enter_empty_root(void)
{
    static const char limits[] = "size=4k,nr_inodes=1,mode=0555";
    static const char *const places[] = { "/tmp", "/proc", "/dev", "/usr" };
    const unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0)
        for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
            if (mount("none", places[i], "tmpfs", flags, limits) != 0)
                continue;
            if (chdir(places[i]) == 0 && syscall(SYS_pivot_root, ".", ".") == 0 && umount2(".", MNT_DETACH) == 0
                && chdir("/") == 0)
                return mount("none", "/", NULL, flags | MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) == 0;
            umount2(places[i], MNT_DETACH);
            break;
        }
#if defined(SYS_fsopen) && defined(SYS_fsconfig) && defined(SYS_fsmount)
    /* In a chroot "/" is no mount point, and a mount there could show outside: use one that is attached nowhere. */
    static const char *const settings[][2] = { { "size", "4k" }, { "nr_inodes", "1" }, { "mode", "0555" } };
    enum { SET_STRING = 1, CMD_CREATE = 6, ATTR_RDONLY_NOSUID_NODEV_NOEXEC = 1 | 2 | 4 | 8 };
    int fs = (int)syscall(SYS_fsopen, "tmpfs", 1);
    if (fs < 0)
        return false;
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        syscall(SYS_fsconfig, fs, SET_STRING, settings[i][0], settings[i][1], 0);
    int mounted = -1;
    if (syscall(SYS_fsconfig, fs, CMD_CREATE, NULL, NULL, 0) == 0)
        mounted = (int)syscall(SYS_fsmount, fs, 1, ATTR_RDONLY_NOSUID_NODEV_NOEXEC);
    close(fs);
    if (mounted < 0)
        return false;
    bool done = fchdir(mounted) == 0 && chroot(".") == 0 && chdir("/") == 0;
    close(mounted);
    return done;
#else
    return false;
#endif
}

static const struct { int flag; size_t at; const char *name; } kinds[] = {
    { CLONE_NEWNET, offsetof(struct vs_sandbox_report, ns_net), "network namespace" },
    { CLONE_NEWIPC, offsetof(struct vs_sandbox_report, ns_ipc), "IPC namespace" },
    { CLONE_NEWNS, offsetof(struct vs_sandbox_report, ns_mnt), "mount namespace" },
};
enum { N_KINDS = sizeof kinds / sizeof *kinds };

static bool *has(struct vs_sandbox_report *report, int i)
{
    return (bool *)((char *)report + kinds[i].at);
}

/* Takes what is still missing; extra (CLONE_NEWUSER) must come with it. Returns 0 or an errno. */
static int take_namespaces(struct vs_sandbox_report *report, int extra)
{
    int flags = extra;
    for (int i = 0; i < N_KINDS; i++)
        if (!*has(report, i))
            flags |= kinds[i].flag;
    if (!flags || unshare(flags | (flags & CLONE_NEWNS ? CLONE_NEWUTS | CLONE_NEWCGROUP : 0)) == 0) {
        for (int i = 0; i < N_KINDS; i++)
            *has(report, i) = true;
        return 0;
    }
    int error = errno;
    if (extra)
        return unshare(extra) == 0 ? take_namespaces(report, 0) : error;
    /* All at once was refused: a kernel may be built without one kind. */
    for (int i = 0; i < N_KINDS; i++)
        if (!*has(report, i) && unshare(kinds[i].flag) == 0)
            *has(report, i) = true;
    return error;
}

static bool drop_capabilities(bool bounding_only)
{
    bool done = true;
    for (int cap = 0; cap <= LAST_CAP; cap++)
        if (prctl(PR_CAPBSET_READ, cap, 0, 0, 0) == 1)
            done &= prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) == 0;
    if (bounding_only)
        return done;
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
    struct __user_cap_data_struct data[2] = { { 0, 0, 0 }, { 0, 0, 0 } };
    return syscall(SYS_capset, &header, data) == 0;
}

static bool has_capability(int cap)
{
    struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
    struct __user_cap_data_struct data[2] = { { 0, 0, 0 }, { 0, 0, 0 } };
    return syscall(SYS_capget, &header, data) == 0 && (data[cap / 32].effective >> (cap % 32) & 1);
}

static int change_user(const struct vs_sandbox_options *o, struct vs_sandbox_report *report, struct vs_error *err)
{
    uid_t uid = o->uid ? o->uid : NOBODY;
    gid_t gid = o->gid ? o->gid : NOBODY;
    if (!has_capability(CAP_SETUID) || !has_capability(CAP_SETGID)) {
        vs_sandbox_missing(report, "another uid", EPERM);
        return VS_OK;
    }
    drop_capabilities(true);
    if (setgroups(0, NULL) != 0 || setresgid(gid, gid, gid) != 0 || setresuid(uid, uid, uid) != 0)
        return vs_error_set(err, VS_E_SYSTEM, "cannot change to uid %u, gid %u: %s. Name ids that this system (or this "
            "container) maps, as in VERITAS_SANDBOX=uid=1000,gid=1000", (unsigned)uid, (unsigned)gid, strerror(errno));
    if (setuid(0) == 0)
        return vs_error_set(err, VS_E_SYSTEM, "uid 0 came back after it was given up");
    report->uid = uid;
    return VS_OK;
}

int vs_namespaces_enter(const struct vs_sandbox_options *o, struct vs_sandbox_report *report, struct vs_error *err)
{
    bool as_root = geteuid() == 0, wanted = !o->no_namespaces;
    report->uid = geteuid();
    report->ns_pid = wanted && getpid() == 1;
    if (!wanted)
        vs_sandbox_missing(report, "namespaces", 0);
    if (wanted && has_capability(CAP_SYS_ADMIN)) {
        take_namespaces(report, 0);
        if (report->ns_mnt)
            report->empty_root = enter_empty_root();
    }
    if (as_root) {
        int rc = change_user(o, report, err);
        if (rc != VS_OK)
            return rc;
    }
    bool all = report->ns_net && report->ns_ipc && report->ns_mnt;
    bool peers = vs_sandbox_profile_row(o->profile)->knows_peers;
    if (wanted && !(peers && all)) {
        gid_t gid = getegid();
        if (as_root)
            prctl(PR_SET_DUMPABLE, 1);      /* else /proc/self is root's; enter.c clears it for good */
        if (peers && access("/proc/self/uid_map", W_OK) != 0) {
            vs_sandbox_missing(report, "user namespace", errno);
        } else {
            int error = take_namespaces(report, CLONE_NEWUSER);
            report->ns_user = error == 0;
            if (error)
                vs_sandbox_missing(report, "user namespace", error);
            else if (!map_self(report->uid, gid) && peers)
                return vs_error_set(err, VS_E_SYSTEM, "cannot map uid %u into a user namespace: %s",
                    (unsigned)report->uid, strerror(errno));
        }
        if (report->ns_mnt && !report->empty_root)
            report->empty_root = enter_empty_root();
    }
    for (int i = 0; i < N_KINDS && wanted; i++)
        if (!*has(report, i))
            vs_sandbox_missing(report, kinds[i].name, 0);
    if (wanted && !report->empty_root)
        vs_sandbox_missing(report, "empty root directory", 0);
    drop_capabilities(false);
    report->caps_dropped = !has_capability(CAP_SYS_ADMIN) && !has_capability(CAP_SETUID)
        && !has_capability(CAP_DAC_OVERRIDE) && !has_capability(CAP_SYS_PTRACE);
    return VS_OK;
}

/* ---- the parent's side ---- */

static pid_t fork_into(unsigned long flags)
{
    /* The call's other arguments are zero: their order differs between machines, zeros don't. */
    return (pid_t)syscall(SYS_clone, flags | SIGCHLD, NULL, NULL, NULL, 0);
}

pid_t vs_sandbox_fork(enum vs_sandbox_profile profile)
{
    if (vs_sandbox_profile_row(profile)->knows_peers)
        return fork();
    uid_t uid = geteuid();
    gid_t gid = getegid();
    pid_t pid = fork_into(CLONE_NEWPID);
    if (pid >= 0 || errno != EPERM)
        return pid < 0 ? fork() : pid;
    /* An ordinary user may have one inside a user namespace. The mapping lets the child make another later. */
    pid = fork_into(CLONE_NEWUSER | CLONE_NEWPID);
    if (pid == 0)
        map_self(uid, gid);
    return pid < 0 ? fork() : pid;
}

static int try_in_child(int flags)
{
    pid_t pid = fork();
    if (pid < 0)
        return errno;
    if (pid == 0) {
        int error = unshare(flags) == 0 ? 0 : errno;
        _exit(error > 255 ? 255 : error);
    }
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return errno;
    return WIFEXITED(status) ? WEXITSTATUS(status) : EIO;
}

void vs_sandbox_probe(struct vs_sandbox_host *host)
{
    *host = (struct vs_sandbox_host){ .seccomp = vs_seccomp_available(), .landlock_abi = vs_landlock_abi() };
    int error = try_in_child(CLONE_NEWUSER);
    host->user_ns = error == 0;
    if (error)
        snprintf(host->user_ns_why, sizeof host->user_ns_why, "%s", error == EPERM
            ? "refused by a container, a chroot or a kernel setting" : strerror(error));
    int with = error || has_capability(CAP_SYS_ADMIN) ? 0 : CLONE_NEWUSER;
    host->net_ns = try_in_child(CLONE_NEWNET | with) == 0;
    host->pid_ns = try_in_child(CLONE_NEWPID | with) == 0;
}
