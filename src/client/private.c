/* client/private.c - a daemon of one's own; see client.h. By itself, so that what does not call it links nothing that starts a
 * program. */
#include "client/internal.h"

#include "base/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PRIVATE_FD 3

/* Descriptors 0 to 3 of the daemon, and none else. */
static int give_descriptors(posix_spawn_file_actions_t *a, int log_fd, int theirs)
{
    int e = log_fd >= 0 && fcntl(log_fd, F_GETFD) >= 0 ? posix_spawn_file_actions_adddup2(a, log_fd, 2)
        : posix_spawn_file_actions_addopen(a, 2, "/dev/null", O_WRONLY, 0);
    e = e ? e : posix_spawn_file_actions_addopen(a, 0, "/dev/null", O_RDWR, 0);
    e = e ? e : posix_spawn_file_actions_adddup2(a, 0, 1);
    e = e ? e : posix_spawn_file_actions_adddup2(a, theirs, PRIVATE_FD);
    return e ? e : posix_spawn_file_actions_addclosefrom_np(a, PRIVATE_FD + 1);
}

/* A session of its own (Ctrl-C at the terminal is for the client alone), and signals as if nobody had touched them. */
static int give_signals(posix_spawnattr_t *a)
{
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    int e = posix_spawnattr_setflags(a, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    e = e ? e : posix_spawnattr_setsigmask(a, &none);
    return e ? e : posix_spawnattr_setsigdefault(a, &all);
}

/* Not fork: this process may have threads, hooks that run at a fork, and more memory than can be had twice. Returns errno. A signal
 * at the parent's death is not asked for: it would come at the death of this thread. The daemon sees the socket close. */
static int start_daemon(const char *program, bool checks, int log_fd, int theirs, pid_t *ret)
{
    char digits[] = { '0' + PRIVATE_FD, 0 }, name[] = "veritas", serve[] = "serve", option[] = "--private-fd", check[] = "--check";
    char *argv[] = { name, serve, option, digits, checks ? check : NULL, NULL };
    struct vs_child_environment environment;
    posix_spawn_file_actions_t descriptors;
    posix_spawnattr_t signals;
    vs_child_environment(NULL, vs_child_kept_daemon, &environment);
    int e = posix_spawn_file_actions_init(&descriptors);
    if (e)
        return e;
    if ((e = posix_spawnattr_init(&signals)) == 0) {
        e = give_descriptors(&descriptors, log_fd, theirs);
        e = e ? e : give_signals(&signals);
        e = e ? e : posix_spawn(ret, program, &descriptors, &signals, argv, environment.value);
        posix_spawnattr_destroy(&signals);
    }
    posix_spawn_file_actions_destroy(&descriptors);
    return e;
}

int vs_client_private(const char *program, bool checks, int log_fd, const char *name, struct vs_client **ret, struct vs_error *err)
{
    if (!program)
        program = "/proc/self/exe";
    if (access(program, X_OK) != 0)
        return vs_error_set(err, VS_E_NOT_FOUND, "%s: %s", program, strerror(errno));
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        return vs_error_set(err, VS_E_SYSTEM, "socketpair: %s", strerror(errno));
    /* Where the client's own standard descriptors are closed the pair may lie on 0..3: move theirs out of the way. */
    pid_t child = 0;
    int theirs = fcntl(pair[1], F_DUPFD_CLOEXEC, 10);
    int e = theirs < 0 ? errno : start_daemon(program, checks, log_fd, theirs, &child);
    close(pair[1]);
    if (theirs >= 0)
        close(theirs);
    if (e != 0) {
        close(pair[0]);
        return vs_error_set(err, VS_E_SYSTEM, "cannot start a private daemon: %s: %s", program, strerror(e));
    }
    int status = vs_client_open_on(pair[0], child, name, NULL, ret, err);
    if (status == VS_E_DIED)
        return vs_error_set(err, VS_E_DIED, "the private daemon ended before it answered");
    return status;
}
