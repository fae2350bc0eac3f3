/* prog/worker/make.c - see make.h */
#include "prog/worker/make.h"

#include "base/bytes.h"
#include "base/file.h"
#include "base/num.h"
#include "sandbox/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OUT_FD = 3, WORDS_FD = 5, MAX_THREADS = 256 };

int vs_make_begin(const char *what)
{
    if (fcntl(OUT_FD, F_GETFD) < 0 || fcntl(VS_MAKE_INPUT, F_GETFD) < 0 || fcntl(WORDS_FD, F_GETFD) < 0) {
        fprintf(stderr, "veritas-worker --%s is started by `veritas %s`\n", what, what);
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN);
    return vs_last_words_attach(WORDS_FD) == VS_OK ? VS_OK : 2;
}

int vs_make_enter(struct vs_files *ret_others, struct vs_error *err)
{
    struct vs_sandbox_options options = {
        .profile = VS_SANDBOX_WORKER, .words_fd = WORDS_FD,
        .keep_fds = UINT64_C(1) << OUT_FD | UINT64_C(1) << VS_MAKE_INPUT,
    };
    struct vs_sandbox_report report;
    *ret_others = (struct vs_files){ 0 };
    for (int fd = VS_MAKE_FIRST; fd < 64 && ret_others->n < VS_MAX_FILES && fcntl(fd, F_GETFD) >= 0; fd++) {
        ret_others->fd[ret_others->n++] = fd;
        options.keep_fds |= UINT64_C(1) << fd;
    }
    int rc = vs_sandbox_options_parse(getenv("VERITAS_SANDBOX"), &options, err);
    if (rc == VS_OK)
        rc = vs_sandbox_enter(&options, &report, err);
    vs_fp_control_set();
    return rc;
}

int vs_make_end(int status, const struct vs_error *err)
{
    if (status == VS_OK)
        return 0;
    vs_last_words_say(err->code, err->text);
    return vs_status_exit(err->code);
}

static int read_file(void *context, uint64_t offset, size_t n, void *to, struct vs_error *err)
{
    const int *fd = context;
    for (size_t at = 0; at < n;) {
        ssize_t got = pread(*fd, (char *)to + at, n - at, (off_t)(offset + at));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return vs_error_set(err, VS_E_SYSTEM, "cannot read the file: %s", strerror(errno));
        if (got == 0)
            return vs_error_set(err, VS_E_MALFORMED, "the file was cut while it was read");
        at += (size_t)got;
    }
    return VS_OK;
}

int vs_make_source(int *fd, struct vs_source *ret, struct vs_error *err)
{
    struct stat st;
    if (fstat(*fd, &st) != 0 || !S_ISREG(st.st_mode))
        return vs_error_set(err, VS_E_INVALID, "this is no file");
    *ret = (struct vs_source){ .read = read_file, .context = fd, .n_bytes = (uint64_t)st.st_size };
    return VS_OK;
}

static int read_parts(void *context, uint64_t offset, size_t n, void *to, struct vs_error *err)
{
    const struct vs_make_parts *of = context;
    int r = VS_OK;
    for (unsigned i = 0; n && i < of->n && r == VS_OK; i++) {
        uint64_t start = i ? of->end[i - 1] : 0;
        if (offset >= of->end[i])
            continue;
        size_t here = of->end[i] - offset < n ? (size_t)(of->end[i] - offset) : n;
        r = read_file((void *)(uintptr_t)&of->fd[i], offset - start, here, to, err);
        to = (char *)to + here;
        offset += here;
        n -= here;
    }
    return r;
}

int vs_make_parts(struct vs_make_parts *of, struct vs_source *ret, struct vs_error *err)
{
    uint64_t end = 0;
    for (unsigned i = 0; i < of->n; i++) {
        struct vs_source one = { 0 };
        int r = vs_make_source(&of->fd[i], &one, err);
        if (r != VS_OK)
            return r;
        of->end[i] = end += one.n_bytes;
    }
    *ret = (struct vs_source){ .read = read_parts, .context = of, .n_bytes = end, .part_end = of->end, .n_parts = of->n };
    return VS_OK;
}

int vs_make_put(const void *data, size_t n, struct vs_error *err)
{
    return vs_write_all(OUT_FD, data, n) ? VS_OK : vs_error_set(err, VS_E_CANCELLED, "nobody takes the new file");
}

static int put_record(uint64_t a, uint64_t b, struct vs_error *err)
{
    uint8_t record[16];
    vs_store_u64le(record, a);
    vs_store_u64le(record + 8, b);
    return vs_make_put(record, sizeof record, err);
}

int vs_make_progress(uint64_t done, uint64_t total, struct vs_error *err)
{
    return put_record(done, total, err);
}

int vs_make_length(uint64_t n, struct vs_error *err)
{
    return put_record(n, 0, err);
}

unsigned vs_make_threads(const char *word)
{
    long n = strtol(word, NULL, 10);
    return n < 1 ? 1 : n > MAX_THREADS ? MAX_THREADS : (unsigned)n;
}
