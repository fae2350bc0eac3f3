/* prog/veritas/locked.c - see locked.h */
#include "prog/veritas/locked.h"

#include "base/child.h"
#include "prog/veritas/command.h"
#include "prog/veritas/session.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { HIGH_FD = 100 };                  /* above all that the child has */

static void become(const struct vs_locked *l, const char *program, pid_t parent)
{
    union { const char *const *in; char *const *out; } argv = { l->words };     /* execv changes nothing */
    int high[VS_LOCKED_MAX_FDS];
    setsid();                            /* the terminal's Ctrl-C is for the parent */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(127);
    for (int i = 0; i < l->n_fds; i++)
        if ((high[i] = l->fd[i] < 0 ? -1 : fcntl(l->fd[i], F_DUPFD, HIGH_FD)) < 0 && l->fd[i] >= 0)
            _exit(127);
    int null = open("/dev/null", O_RDWR);
    if (dup2(null, 0) < 0 || dup2(null, 1) < 0)
        _exit(127);
    for (int i = 0; i < l->n_fds; i++) {
        close(3 + i);
        if (high[i] >= 0 && dup2(high[i], 3 + i) < 0)
            _exit(127);
    }
    vs_child_close_from((unsigned)(3 + l->n_fds));
    vs_child_exec(program, argv.out, NULL, vs_child_kept_locked, "/");
    _exit(127);
}

int vs_locked_start(struct vs_locked *l, struct vs_error *err)
{
    char program[PATH_MAX];
    pid_t parent = getpid();
    int *words_fd = &l->fd[l->words_at];
    int rc = vs_program_find("veritas-worker", program, sizeof program, err);
    *words_fd = -1;
    if (rc == VS_OK)
        rc = vs_last_words_create(words_fd, &l->last, err);
    if (rc == VS_OK && (l->pid = fork()) == 0)
        become(l, program, parent);
    if (rc == VS_OK && l->pid < 0)
        rc = vs_error_set(err, VS_E_SYSTEM, "fork: %s", strerror(errno));
    if (*words_fd >= 0)
        close(*words_fd);
    *words_fd = -1;
    if (rc != VS_OK && l->last) {
        vs_last_words_unmap(l->last);
        l->last = NULL;
    }
    return rc;
}

int vs_locked_end(struct vs_locked *l, bool is_over, struct vs_error *err)
{
    char why[512];
    int status = 0, code = VS_OK;
    if (is_over)
        kill(l->pid, SIGKILL);
    while (waitpid(l->pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (status != 0) {
        code = vs_last_words_explain(l->last, status, why, sizeof why);
        code = vs_error_set(err, code == VS_OK ? VS_E_DIED : code, "%s", why);
    }
    vs_last_words_unmap(l->last);
    l->last = NULL;
    return code;
}
