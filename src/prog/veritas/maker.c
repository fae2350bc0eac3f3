/* prog/veritas/maker.c - see maker.h */
#include "prog/veritas/maker.h"

#include "base/bytes.h"
#include "base/machine.h"
#include "prog/veritas/command.h"
#include "prog/veritas/locked.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BLOCK = 1 << 20, RECORD = 16 };

/* All n bytes; VS_E_SHORT: the child ended before, and its last words say why. */
static int read_all(int fd, uint8_t *to, size_t n)
{
    for (size_t at = 0; at < n;) {
        ssize_t got = read(fd, to + at, n - at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return VS_E_SHORT;
        at += (size_t)got;
    }
    return VS_OK;
}

/* Progress, until the file's length comes. */
static int read_records(const struct vs_maker *m, int fd, uint64_t *ret_length)
{
    struct vs_progress progress = { .what = m->what ? m->what : "working" };
    uint8_t record[RECORD];
    int rc;
    while ((rc = read_all(fd, record, sizeof record)) == VS_OK && vs_load_u64le(record + 8))
        if (m->what)
            vs_progress_show(&progress, vs_load_u64le(record), vs_load_u64le(record + 8));
    vs_progress_end(&progress);
    *ret_length = vs_load_u64le(record);
    return rc;
}

static int store(struct vs_maker *m, int fd, uint64_t *ret_bytes, struct vs_error *err)
{
    struct vs_progress progress = { .what = "writing", .bytes = true };
    uint8_t *block = malloc(BLOCK);
    uint64_t done = 0, total = 0;
    int rc = block ? read_records(m, fd, &total) : vs_error_set(err, VS_E_NOMEM, "out of memory");
    if (rc == VS_OK)
        rc = vs_disk_reserve(m->out.fd, "the new file", 0, total, err);
    while (rc == VS_OK) {
        ssize_t got = read(fd, block, BLOCK);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        if ((uint64_t)got > total - done)
            rc = vs_error_set(err, VS_E_PROTOCOL, "the worker made more bytes than it said");
        else if (!vs_output_write(&m->out, block, (size_t)got))
            break;                       /* _commit tells it */
        done += (uint64_t)got;
        if (!m->what)
            vs_progress_show(&progress, done, total);
    }
    vs_progress_end(&progress);
    free(block);
    *ret_bytes = done;
    return rc == VS_OK && done != total && !m->out.error ? VS_E_SHORT : rc;
}

static int run(struct vs_maker *m, uint64_t *ret_bytes, struct vs_error *err)
{
    int pipes[2];
    struct vs_locked child = { .words = m->words, .n_fds = 3 + (int)m->others.n, .words_at = 2 };
    if (pipe2(pipes, O_CLOEXEC) != 0)
        return vs_error_set(err, VS_E_SYSTEM, "pipe: %s", strerror(errno));
    child.fd[0] = pipes[1];
    child.fd[1] = m->input;
    memcpy(child.fd + 3, m->others.fd, m->others.n * sizeof *child.fd);
    int rc = vs_locked_start(&child, err);
    close(pipes[1]);
    bool is_started = rc == VS_OK;
    if (is_started)
        rc = store(m, pipes[0], ret_bytes, err);
    close(pipes[0]);
    if (!is_started)
        return rc;
    struct vs_error why = { 0 };
    int ended = vs_locked_end(&child, rc != VS_OK && rc != VS_E_SHORT, &why);
    if (rc == VS_E_SHORT || (rc == VS_OK && !m->out.error && ended != VS_OK))
        rc = ended == VS_OK ? vs_error_set(err, VS_E_DIED, "the worker ended before the file was whole")
                            : vs_error_set(err, ended, "%s", why.text);
    return rc;
}

static bool is_same(int fd, const struct stat *st)
{
    struct stat of;
    return fd >= 0 && fstat(fd, &of) == 0 && of.st_dev == st->st_dev && of.st_ino == st->st_ino;
}

/* Whether the file at `path` is one of those that are read. */
static bool is_read(const struct vs_maker *m, const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0 || !S_ISREG(st.st_mode))
        return false;
    for (unsigned i = 0; i < m->others.n; i++)
        if (is_same(m->others.fd[i], &st))
            return true;
    return is_same(m->input, &st);
}

int vs_maker_run(struct vs_maker *m, const char *path, uint64_t *ret_bytes, struct vs_error *err)
{
    *ret_bytes = 0;
    if (is_read(m, path))
        return vs_error_set(err, VS_E_INVALID, "the new file would take the place of one that is read; give it another name");
    int rc = vs_output_open(&m->out, path, 0644, err);
    if (rc != VS_OK)
        return rc;
    rc = run(m, ret_bytes, err);
    if (rc == VS_OK)
        rc = vs_output_commit(&m->out, err);
    vs_output_drop(&m->out);
    return rc;
}

int64_t vs_maker_threads(const struct vs_args *args)
{
    struct vs_machine m;
    if (vs_args_given(args, VS_OPT_THREADS))
        return vs_args_int(args, VS_OPT_THREADS);
    vs_machine_read("", &m);
    return m.n_cpus;
}
