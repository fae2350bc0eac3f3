/* prog/veritas/quantize.c - `veritas quantize`: a locked-in child reads the old file and makes the new one, this program stores it.
 *
 *     IN --(descriptor)--> veritas-worker --quantize --(pipe)--> a file without a name --(when it is whole)--> OUT
 *
 * The child is not believed: its bytes are counted and stored, nothing else. Whatever ends early leaves no file.
 */
#include "base/bytes.h"
#include "base/child.h"
#include "base/file.h"
#include "base/machine.h"
#include "prog/veritas/command.h"
#include "prog/veritas/output.h"
#include "prog/veritas/session.h"
#include "prog/veritas/term.h"
#include "sandbox/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { HIGH_FD = 20, MAX_OVERRIDES = 256, BLOCK = 1 << 20 };

struct work {
    char program[1200];
    const char *words[MAX_OVERRIDES + 8];
    int in, importance, words_fd;
    struct vs_last_words *last;
    struct vs_output out;
    bool is_open;                        /* out */
};

/* In the child: the pipe to 3, the old file to 4, last words to 5, the importance matrix to 6. */
static void become_worker(const struct work *w, int pipe, pid_t parent)
{
    union { const char *const *in; char *const *out; } argv = { w->words };     /* execv changes nothing */
    int fds[] = { pipe, w->in, w->words_fd, w->importance };
    setsid();                            /* the terminal's Ctrl-C is for the parent */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(127);
    int null = open("/dev/null", O_RDWR);
    if (dup2(null, 0) < 0 || dup2(null, 1) < 0)
        _exit(127);
    for (int i = 0; i < 4; i++)
        if (fds[i] >= 0 && (fds[i] = fcntl(fds[i], F_DUPFD, HIGH_FD)) < 0)
            _exit(127);
    for (int i = 0; i < 4; i++) {
        close(3 + i);
        if (fds[i] >= 0 && dup2(fds[i], 3 + i) < 0)
            _exit(127);
    }
    vs_child_close_from(7);
    vs_child_exec(w->program, argv.out, NULL, vs_child_kept_locked, "/");
    _exit(127);
}

/* 0 at the end, -1 on failure. */
static ssize_t read_some(int fd, void *to, size_t n)
{
    ssize_t got;
    do
        got = read(fd, to, n);
    while (got < 0 && errno == EINTR);
    return got;
}

/* What the child makes, into the new file. VS_E_SHORT: it ended before it was done, and its last words say why. */
static int store(struct work *w, int pipe, uint64_t *ret_bytes, struct vs_error *err)
{
    struct vs_progress progress = { .what = "quantising", .bytes = true };
    uint8_t length[8], *block = malloc(BLOCK);
    uint64_t total, done = 0;
    size_t have = 0;
    ssize_t got = 1;
    int rc = block ? VS_OK : vs_error_set(err, VS_E_NOMEM, "out of memory");
    while (rc == VS_OK && have < sizeof length && (got = read_some(pipe, length + have, sizeof length - have)) > 0)
        have += (size_t)got;
    if (rc == VS_OK && have < sizeof length)
        rc = VS_E_SHORT;
    total = vs_load_u64le(length);
    if (rc == VS_OK)
        rc = vs_disk_reserve(w->out.fd, "the new file", 0, total, err);
    while (rc == VS_OK && (got = read_some(pipe, block, BLOCK)) > 0) {
        if ((uint64_t)got > total - done)
            rc = vs_error_set(err, VS_E_PROTOCOL, "the worker made more bytes than it said");
        else if (!vs_output_write(&w->out, block, (size_t)got))
            break;                       /* _commit tells it */
        else
            vs_progress_show(&progress, done += (uint64_t)got, total);
    }
    vs_progress_end(&progress);
    free(block);
    *ret_bytes = done;
    return rc == VS_OK && done != total && !w->out.error ? VS_E_SHORT : rc;
}

static int run(struct work *w, uint64_t *ret_bytes, struct vs_error *err)
{
    int pipes[2], status = 0;
    pid_t parent = getpid();
    if (pipe2(pipes, O_CLOEXEC) != 0)
        return vs_error_set(err, VS_E_SYSTEM, "pipe: %s", strerror(errno));
    pid_t pid = fork();
    if (pid == 0)
        become_worker(w, pipes[1], parent);
    close(pipes[1]);
    if (pid < 0) {
        close(pipes[0]);
        return vs_error_set(err, VS_E_SYSTEM, "fork: %s", strerror(errno));
    }
    int rc = store(w, pipes[0], ret_bytes, err);
    close(pipes[0]);
    if (rc != VS_OK && rc != VS_E_SHORT)
        kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (rc == VS_E_SHORT || (rc == VS_OK && !w->out.error && status != 0)) {
        char why[512];
        int code = vs_last_words_explain(w->last, status, why, sizeof why);
        rc = vs_error_set(err, code == VS_OK ? VS_E_DIED : code, "%s", why);
    }
    return rc;
}

static int open_all(struct work *w, const struct vs_args *args, struct vs_error *err)
{
    struct stat in, out;
    int rc = vs_program_find("veritas-worker", w->program, sizeof w->program, err);
    if (rc == VS_OK)
        rc = vs_file_open("the model", args->v[0], &w->in, &in, err);
    if (rc == VS_OK && vs_args_given(args, VS_OPT_IMATRIX))
        rc = vs_file_open("the imatrix", vs_args_text(args, VS_OPT_IMATRIX), &w->importance, &out, err);
    if (rc == VS_OK && stat(args->v[1], &out) == 0 && out.st_dev == in.st_dev && out.st_ino == in.st_ino)
        rc = vs_error_set(err, VS_E_INVALID, "the new file would take the place of the old one; give it another name");
    if (rc == VS_OK)
        rc = vs_last_words_create(&w->words_fd, &w->last, err);
    if (rc == VS_OK && (rc = vs_output_open(&w->out, args->v[1], 0644, err)) == VS_OK)
        w->is_open = true;
    return rc;
}

static int64_t machine_cores(void)
{
    struct vs_machine m;
    vs_machine_read("", &m);
    return m.n_cpus;
}

static double megabytes(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (double)st.st_size / 1e6 : 0;
}

int vs_command_quantize(const struct vs_args *args)
{
    struct vs_error err = { 0 };
    struct work w = { .in = -1, .importance = -1, .words_fd = -1, .out = { .fd = -1, .stream = -1 } };
    char threads[24];
    uint64_t bytes = 0;
    int n = 0, n_overrides = args->option[VS_OPT_TENSOR_TYPE].n;
    if (!vs_args_given(args, VS_OPT_MIX))
        return vs_usage("quantize", "to which type? --type Q4_K_M");
    if (n_overrides > MAX_OVERRIDES)
        return vs_usage("quantize", "too many --tensor");
    snprintf(threads, sizeof threads, "%lld", vs_args_given(args, VS_OPT_THREADS) ? (long long)vs_args_int(args, VS_OPT_THREADS)
                                                                                   : (long long)machine_cores());
    w.words[n++] = "veritas-worker";
    w.words[n++] = "--quantize";
    w.words[n++] = vs_args_text(args, VS_OPT_MIX);
    w.words[n++] = threads;
    for (int i = 0; i < n_overrides; i++)
        w.words[n++] = args->option[VS_OPT_TENSOR_TYPE].v[i];
    int rc = open_all(&w, args, &err);
    if (rc == VS_OK)
        rc = run(&w, &bytes, &err);
    if (rc == VS_OK)
        rc = vs_output_commit(&w.out, &err);
    if (rc == VS_OK)
        vs_note("%s: %.1f MB (%s: %.1f MB)", args->v[1], (double)bytes / 1e6, args->v[0], megabytes(args->v[0]));
    if (w.is_open)
        vs_output_drop(&w.out);
    vs_last_words_unmap(w.last);
    if (w.words_fd >= 0)
        close(w.words_fd);
    if (w.in >= 0)
        close(w.in);
    if (w.importance >= 0)
        close(w.importance);
    return rc == VS_OK ? 0 : vs_fail(&err);
}
