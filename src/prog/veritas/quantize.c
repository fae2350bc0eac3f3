/* prog/veritas/quantize.c - `veritas quantize`: a locked-in child reads the old file and makes the new one, this program stores it.
 *
 *     IN --(descriptor)--> veritas-worker --quantize --(pipe)--> a file without a name --(when it is whole)--> OUT
 *
 * The child is not believed: its bytes are counted and stored, nothing else. Whatever ends early leaves no file.
 */
#include "base/bytes.h"
#include "base/file.h"
#include "base/machine.h"
#include "prog/veritas/command.h"
#include "prog/veritas/locked.h"
#include "prog/veritas/output.h"
#include "prog/veritas/session.h"
#include "prog/veritas/term.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_OVERRIDES = 256, BLOCK = 1 << 20 };

struct work {
    const char *words[MAX_OVERRIDES + 8];
    int in, importance;
    struct vs_output out;
    bool is_open;                        /* out */
};

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
    int pipes[2];
    if (pipe2(pipes, O_CLOEXEC) != 0)
        return vs_error_set(err, VS_E_SYSTEM, "pipe: %s", strerror(errno));
    struct vs_locked child = { .words = w->words, .fd = { pipes[1], w->in, -1, w->importance }, .n_fds = 4, .words_at = 2 };
    int rc = vs_locked_start(&child, err);
    close(pipes[1]);
    bool is_started = rc == VS_OK;
    if (is_started)
        rc = store(w, pipes[0], ret_bytes, err);
    close(pipes[0]);
    if (!is_started)
        return rc;
    struct vs_error why = { 0 };
    int ended = vs_locked_end(&child, rc != VS_OK && rc != VS_E_SHORT, &why);
    if (rc == VS_E_SHORT || (rc == VS_OK && !w->out.error && ended != VS_OK))
        rc = ended == VS_OK ? vs_error_set(err, VS_E_DIED, "the worker ended before the file was whole")
                            : vs_error_set(err, ended, "%s", why.text);
    return rc;
}

static int open_all(struct work *w, const struct vs_args *args, struct vs_error *err)
{
    struct stat in, out;
    int rc = vs_file_open("the model", args->v[0], &w->in, &in, err);
    if (rc == VS_OK && vs_args_given(args, VS_OPT_IMATRIX))
        rc = vs_file_open("the imatrix", vs_args_text(args, VS_OPT_IMATRIX), &w->importance, &out, err);
    if (rc == VS_OK && stat(args->v[1], &out) == 0 && out.st_dev == in.st_dev && out.st_ino == in.st_ino)
        rc = vs_error_set(err, VS_E_INVALID, "the new file would take the place of the old one; give it another name");
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
    struct work w = { .in = -1, .importance = -1, .out = { .fd = -1, .stream = -1 } };
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
    if (w.in >= 0)
        close(w.in);
    if (w.importance >= 0)
        close(w.importance);
    return rc == VS_OK ? 0 : vs_fail(&err);
}
