/* sandbox/enter.c - the layers in their order; each one may take away what the one before it needed. */
#include "sandbox/internal.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#if VS_SANDBOX_SANITIZER
/* The leak check at exit needs a thread that traces its own process. Leaks are looked for in unsandboxed tests. */
static bool entered;
int __lsan_is_turned_off(void);
__attribute__((visibility("default"))) int __lsan_is_turned_off(void)
{
    return entered;
}
#endif

static int level_of(const struct vs_sandbox_report *r)
{
    bool alone = !vs_sandbox_profile_row(r->profile)->knows_peers;
    const bool reached[] = {
        true,
        r->no_new_privs && r->rlimits && r->no_dump && r->fds_closed && r->caps_dropped,
        r->seccomp && r->uid != 0,
        r->landlock_abi >= 1 || r->empty_root,
        r->ns_net,
        r->landlock_abi >= 6 && r->empty_root && r->ns_mnt && r->ns_ipc && (!alone || (r->ns_user && r->ns_pid)),
    };
    int level = 0;
    while (level < VS_SANDBOX_LEVEL_FULL && reached[level + 1])
        level++;
    return level;
}

int vs_sandbox_enter(const struct vs_sandbox_options *o, struct vs_sandbox_report *ret_report, struct vs_error *err)
{
    struct vs_sandbox_report r = { .profile = o->profile, .sanitizer = VS_SANDBOX_SANITIZER };
    int death = 0;
    pid_t parent = getppid();
    prctl(PR_GET_PDEATHSIG, &death);

    if (o->words_fd >= 0) {
        int rc = vs_last_words_attach(o->words_fd);
        if (rc != VS_OK)
            return vs_error_set(err, rc, "sandbox: descriptor %d is no page for last words", o->words_fd);
    }
    vs_words_handle_signals();
    /* glibc's further arenas read /proc when they shrink; one arena is brk and mmap only. */
    mallopt(M_ARENA_MAX, 1);
    /* Small blocks are joined when they are freed, not all at once by the next large one: 40 ms after 300,000 messages. */
    mallopt(M_MXFAST, 0);

    uint64_t keep = o->words_fd >= 0 && o->words_fd < 64 ? o->keep_fds & ~(1ull << o->words_fd) : o->keep_fds;
    r.fds_closed = vs_limits_close_fds(keep);
    vs_limits_clear_environment();
    r.env_cleared = true;

    int rc = vs_namespaces_enter(o, &r, err);
    if (rc != VS_OK)
        return rc;
    r.no_new_privs = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
    r.no_dump = prctl(PR_SET_DUMPABLE, 0) == 0;
    /* A change of uid disarmed it. */
    if (death) {
        prctl(PR_SET_PDEATHSIG, death);
        if (getppid() != parent)
            raise(SIGKILL);
    }

    int abi = o->landlock_max < 0 ? 0 : vs_landlock_abi(), error = 0;
    if (o->landlock_max > 0 && abi > o->landlock_max)
        abi = o->landlock_max;
    r.landlock_abi = vs_landlock_deny_all(abi, &error);
    if (!r.landlock_abi)
        vs_sandbox_missing(&r, "Landlock", error);
    else if (r.landlock_abi < 6)
        vs_sandbox_missing(&r, "Landlock ABI 6", 0);

    r.rlimits = vs_limits_set(o, &r);
    if (!r.rlimits)
        vs_sandbox_missing(&r, "rlimits", errno);

    if (o->no_seccomp || !vs_seccomp_available()) {
        vs_sandbox_missing(&r, "seccomp", 0);
    } else {
        error = vs_seccomp_load(o, &r.n_calls);
        r.seccomp = error == 0;
        if (error)
            vs_sandbox_missing(&r, "seccomp", error);
    }
#if VS_SANDBOX_SANITIZER
    entered = true;
#endif

    r.level = level_of(&r);
    int min_level = o->min_level ? o->min_level : VS_SANDBOX_LEVEL_DEFAULT;
    if (ret_report)
        *ret_report = r;
    if (r.level < min_level)
        return vs_error_set(err, VS_E_DENIED, "sandbox level %d is below the configured minimum %d (missing: %s). "
            "'veritas doctor' says what this host lacks; VERITAS_SANDBOX=min=N changes the minimum",
            r.level, min_level, r.missing[0] ? r.missing : "an unprivileged uid");
    return VS_OK;
}
