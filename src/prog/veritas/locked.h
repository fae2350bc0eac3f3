/* prog/veritas/locked.h - a locked-in child for one job on open files: `veritas-worker WORD...`.
 *
 * The child gets standard input and output that lead nowhere, the descriptors of its job from 3 on, no terminal, and the
 * environment of a program that is locked in; it ends with us. What it says at its end is told by _end.
 */
#ifndef VS_VERITAS_LOCKED_H
#define VS_VERITAS_LOCKED_H
#include "base/status.h"
#include "sandbox/sandbox.h"

#include <sys/types.h>

enum { VS_LOCKED_MAX_FDS = 60 };         /* the parts of a model, and more */
struct vs_locked {
    const char *const *words;            /* "veritas-worker", ..., NULL */
    int fd[VS_LOCKED_MAX_FDS], n_fds;    /* borrowed; fd[i] becomes 3 + i there; -1: nothing does */
    int words_at;                        /* which of them is the page of last words, made and closed here */
    pid_t pid;
    struct vs_last_words *last;
};

int vs_locked_start(struct vs_locked *l, struct vs_error *err);
/* Waits for its end (after SIGKILL if is_over). VS_OK: it ended well; else what went wrong, in its own words if it had any. */
int vs_locked_end(struct vs_locked *l, bool is_over, struct vs_error *err);
#endif
