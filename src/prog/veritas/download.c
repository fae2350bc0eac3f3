/* prog/veritas/download.c - `veritas models pull URL` and `hf:OWNER/REPO[/FILE]`.
 *
 *     veritas-fetch --(body, a pipe)--> .NAME.pull/part-1 --> SHA-256 --> a worker looks into it --> NAME.gguf and its record
 *
 * Another program speaks TLS and HTTP, and is not believed: here its bytes are counted, stored and checked. A transfer that breaks
 * off goes on at its last byte, now or at the next pull; .NAME.pull/what says what the bytes belong to. */
#include "base/buf.h"
#include "base/bytes.h"
#include "base/child.h"
#include "base/clock.h"
#include "base/files.h"
#include "base/word.h"
#include "prog/veritas/command.h"
#include "prog/veritas/hosts.h"
#include "prog/veritas/hub.h"
#include "prog/veritas/output.h"
#include "prog/veritas/session.h"
#include "prog/veritas/stage.h"
#include "prog/veritas/term.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_URL = 4096, MAX_LISTING = 16 << 20, MAX_TRIES = 5, MAX_TRIES_IN_ALL = 1000, REPORT = 1200, HIGH_FD = 10 };

/* Where a body goes: a file, or memory for a listing. */
struct sink {
    int fd;                              /* -1: memory */
    struct vs_buf *memory;
    uint64_t have, limit;                /* bytes stored; more than limit is refused (a listing, or a body of unknown length) */
    uint64_t total;                      /* what it must have in the end; 0: not known yet */
    char tag[200];                       /* entity tag of what is stored, "-": none */
    const char *what;
    struct vs_progress *progress;
    uint64_t before, of_all;             /* for the progress of several parts */
};

struct download {
    char program[1200];
    const char *ca;                      /* file, or NULL */
    char url[MAX_URL];                   /* of the first part */
    char name[VS_MODEL_NAME_MAX + 1];
    struct vs_part *parts;
    size_t n_parts;
    bool needs_digest, is_hub;
    char unfit[VS_UNFIT];                /* why what was fetched last cannot be run, or "" */
};

static const char *const kept_fetch[] = {
    "http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "ASAN_OPTIONS", "UBSAN_OPTIONS",
    "LSAN_OPTIONS", "TSAN_OPTIONS", NULL
};

/* ---- one run of veritas-fetch ---- */

/* In the child: body to 1, report to 3, certificates on 4, nothing else. */
static void become_fetch(const struct download *d, char *const argv[], int body, int report, int ca, pid_t parent)
{
    static const char *const set[] = { "LANG=C.UTF-8", NULL };
    setsid();                            /* the terminal's Ctrl-C is for the parent */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(127);
    signal(SIGPIPE, SIG_DFL);
    int null = open("/dev/null", O_RDWR);
    int fds[] = { null, body, null, report, ca >= 0 ? ca : null };
    for (int i = 0; i < 5; i++)
        fds[i] = fcntl(fds[i], F_DUPFD, HIGH_FD);
    for (int i = 0; i < 5; i++)
        if (fds[i] < 0 || dup2(fds[i], i) < 0)
            _exit(127);
    vs_child_close_from(5);
    vs_child_exec(d->program, argv, set, kept_fetch, "/");
    _exit(127);
}

static int store(struct sink *s, const char *data, size_t n, struct vs_error *err)
{
    uint64_t most = s->total ? s->total : s->limit;
    if (n > most || s->have > most - n)
        return vs_error_set(err, s->total ? VS_E_MALFORMED : VS_E_LIMIT,
                            s->total ? "%s: the server sends more than the %llu byte%s it should have"
                            : "%s: the server sends without end (stopped after %llu byte%s)", s->what, (unsigned long long)most,
                            vs_plural(most));
    if (s->fd < 0) {
        vs_buf_add(s->memory, data, n);
        if (s->memory->status != VS_OK)
            return vs_error_set(err, VS_E_NOMEM, "out of memory");
    }
    for (size_t at = 0; s->fd >= 0 && at < n;) {
        ssize_t put = pwrite(s->fd, data + at, n - at, (off_t)(s->have + at));
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return vs_error_set(err, errno == ENOSPC || errno == EDQUOT || errno == EFBIG ? VS_E_LIMIT : VS_E_SYSTEM,
                                "%s: cannot write: %s; make room, then pull again: it goes on where it stopped", s->what,
                                strerror(errno));
        at += (size_t)put;
    }
    s->have += n;
    if (s->progress)
        vs_progress_show(s->progress, s->before + s->have, s->of_all ? s->of_all : s->total);
    return VS_OK;
}

static int start_again(struct sink *s, struct vs_error *err)
{
    s->have = 0;
    if (s->fd >= 0 && ftruncate(s->fd, 0) < 0)
        return vs_error_set(err, VS_E_SYSTEM, "%s: cannot write: %s", s->what, strerror(errno));
    if (s->fd < 0)
        vs_buf_reset(s->memory);
    return VS_OK;
}

/* "head STATUS FIRST TOTAL TAG": what is coming. */
static int take_head(struct sink *s, const char *line, struct vs_error *err)
{
    int status = 0, used = 0;
    unsigned long long first = 0, total = 0;
    char total_text[24] = "", tag[200] = "";
    if (sscanf(line, "head %3d %20llu %20s %199s%n", &status, &first, total_text, tag, &used) != 4 || line[used] != '\0'
        || (strcmp(total_text, "-") != 0 && sscanf(total_text, "%20llu", &total) != 1))
        return vs_error_set(err, VS_E_PROTOCOL, "veritas-fetch says what it should not: %.60s", line);
    if (status == 200 || first != s->have) {
        if (status != 200)
            return vs_error_set(err, VS_E_MALFORMED, "%s: the server sends other bytes than were asked for", s->what);
        int rc = start_again(s, err);    /* it cannot begin in the middle, or has another file now */
        if (rc != VS_OK)
            return rc;
    }
    memcpy(s->tag, tag, sizeof tag);
    bool is_known = strcmp(total_text, "-") != 0;
    if (s->total && is_known && total != s->total)
        return vs_error_set(err, VS_E_MALFORMED, "%s: the server has %llu byte%s, and it should be %llu", s->what, total,
                            vs_plural(total), (unsigned long long)s->total);
    if (is_known && s->fd < 0 && total > s->limit)
        return vs_error_set(err, VS_E_LIMIT, "%s is too long: %llu bytes", s->what, total);
    if (is_known && s->fd >= 0) {
        s->total = total;
        return vs_disk_reserve(s->fd, s->what, s->have, total, err);
    }
    return VS_OK;
}

/* beside VS_OK and VS_E_*: it may work at once, or later; there is nothing behind what we have */
enum { AGAIN = 1, FROM_START = 2 };

static int take_failure(const char *url, const char *line, struct vs_error *err)
{
    static const struct { const char *kind; int rc, code; } kinds[] = {
        { "again ", AGAIN, VS_E_SYSTEM }, { "range ", FROM_START, VS_E_SYSTEM }, { "missing ", VS_E_NOT_FOUND, VS_E_NOT_FOUND },
        { "denied ", VS_E_DENIED, VS_E_DENIED }, { "final ", VS_E_SYSTEM, VS_E_SYSTEM },
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        size_t n = strlen(kinds[i].kind);
        if (strncmp(line, kinds[i].kind, n) != 0)
            continue;
        vs_error_set(err, kinds[i].code, "cannot fetch %.200s: %.250s", url, line + n);
        return kinds[i].rc;
    }
    return vs_error_set(err, VS_E_PROTOCOL, "veritas-fetch says what it should not: %.60s", line);
}

struct reading { char report[REPORT]; size_t n; bool is_done, has_failed; int rc; };

/* What veritas-fetch reports, line by line. */
static int take_report(struct reading *r, struct sink *s, const char *url, int fd, bool *ret_open, struct vs_error *err)
{
    ssize_t got = read(fd, r->report + r->n, sizeof r->report - 1 - r->n);
    if (got < 0 && (errno == EINTR || errno == EAGAIN))
        return VS_OK;
    if (got <= 0) {
        *ret_open = false;
        return VS_OK;
    }
    r->n += (size_t)got;
    r->report[r->n] = '\0';
    for (char *end; (end = memchr(r->report, '\n', r->n)) != NULL;) {
        *end = '\0';
        int rc = VS_OK;
        if (strncmp(r->report, "head ", 5) == 0) {
            rc = take_head(s, r->report, err);
        } else if (strcmp(r->report, "done") == 0) {
            r->is_done = true;
        } else {
            r->has_failed = true;
            r->rc = take_failure(url, strncmp(r->report, "fail ", 5) == 0 ? r->report + 5 : "", err);
        }
        if (rc != VS_OK)
            return rc;
        r->n -= (size_t)(end + 1 - r->report);
        memmove(r->report, end + 1, r->n);
    }
    return r->n < sizeof r->report - 1 ? VS_OK : vs_error_set(err, VS_E_PROTOCOL, "veritas-fetch says too much");
}

/* Takes what comes until both pipes end. The report is looked at first: a head is written before its body. */
static int listen_to(struct sink *s, const char *url, int body, int report, struct vs_error *err)
{
    static char block[1 << 18];
    struct reading r = { .n = 0 };
    bool body_open = true, report_open = true;
    int rc = VS_OK;
    fcntl(report, F_SETFL, O_NONBLOCK);
    while (rc == VS_OK && (body_open || report_open)) {
        struct pollfd polls[] = { { report_open ? report : -1, POLLIN, 0 }, { body_open ? body : -1, POLLIN, 0 } };
        if (vs_session_is_interrupted())
            return VS_E_CANCELLED;
        if (poll(polls, 2, 250) <= 0)
            continue;
        if (report_open)
            rc = take_report(&r, s, url, report, &report_open, err);
        if (rc == VS_OK && polls[1].revents) {
            ssize_t got = read(body, block, sizeof block);
            if (got > 0)
                rc = store(s, block, (size_t)got, err);
            else if (got == 0 || errno != EINTR)
                body_open = false;
        }
    }
    if (rc != VS_OK || r.has_failed)
        return rc != VS_OK ? rc : r.rc;
    if (!r.is_done)
        return vs_error_set(err, VS_E_DIED, "veritas-fetch ended before it was done");
    if (s->total && s->have < s->total)
        return vs_error_set(err, VS_E_SYSTEM, "cannot fetch %.200s: it ended early", url), AGAIN;
    return VS_OK;
}

static int fetch_once(const struct download *d, const char *url, struct sink *s, struct vs_error *err)
{
    char first[24], address[MAX_URL];
    int body[2] = { -1, -1 }, report[2] = { -1, -1 }, ca = -1, status = 0, rc;
    snprintf(first, sizeof first, "%llu", (unsigned long long)s->have);
    snprintf(address, sizeof address, "%s", url);
    char name[] = "veritas-fetch", *argv[] = { name, address, first, s->tag, NULL };
    if (d->ca && (ca = open(d->ca, O_RDONLY | O_CLOEXEC)) < 0)
        return vs_error_set(err, errno == ENOENT ? VS_E_NOT_FOUND : VS_E_SYSTEM, "cannot open the certificates %s: %s", d->ca,
                            strerror(errno));
    if (pipe2(body, O_CLOEXEC) < 0 || pipe2(report, O_CLOEXEC) < 0) {
        rc = vs_error_set(err, VS_E_SYSTEM, "pipe: %s", strerror(errno));
        goto out;
    }
    pid_t parent = getpid(), pid = fork();
    if (pid == 0)
        become_fetch(d, argv, body[1], report[1], ca, parent);
    close(body[1]);
    close(report[1]);
    body[1] = report[1] = -1;
    if (pid < 0) {
        rc = vs_error_set(err, VS_E_SYSTEM, "cannot start %s: %s", d->program, strerror(errno));
        goto out;
    }
    rc = listen_to(s, url, body[0], report[0], err);
    kill(pid, SIGKILL);                  /* done, or no longer wanted */
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (rc == VS_E_DIED && WIFSIGNALED(status))
        vs_error_set(err, VS_E_DIED, "veritas-fetch was killed by signal %d", WTERMSIG(status));
out:
    for (int i = 0; i < 2; i++) {
        if (body[i] >= 0)
            close(body[i]);
        if (report[i] >= 0)
            close(report[i]);
    }
    if (ca >= 0)
        close(ca);
    return rc;
}

/* Tries until everything is there, or five times in a row nothing came. */
static int fetch(const struct download *d, const char *url, struct sink *s, struct vs_error *err)
{
    int in_vain = 0, rc = AGAIN;
    uint64_t most = s->have;             /* getting the same bytes again is no progress */
    for (int tries = 0; rc == AGAIN; tries++) {
        rc = fetch_once(d, url, s, err);
        if (rc != AGAIN && rc != FROM_START)
            break;
        in_vain = s->have > most ? 0 : in_vain + 1;
        most = s->have > most ? s->have : most;
        if (in_vain >= MAX_TRIES || tries >= MAX_TRIES_IN_ALL)
            return err ? err->code : VS_E_SYSTEM;
        /* Bytes that nothing can check are only put together while the server vouches that they are of one file. */
        bool keep = rc == AGAIN && s->fd >= 0 && (d->needs_digest || s->tag[0] == '"');
        if (!keep && (rc = start_again(s, err)) != VS_OK)
            break;
        rc = AGAIN;
        for (uint64_t end = vs_clock_ns() + (UINT64_C(250000000) << in_vain); vs_clock_ns() < end;) {
            if (vs_session_is_interrupted())
                return VS_E_CANCELLED;
            poll(NULL, 0, 50);
        }
    }
    if (rc == VS_E_DENIED && d->is_hub && err) {
        size_t n = strlen(err->text);
        snprintf(err->text + n, sizeof err->text - n, "; the repository is private, or gated: its terms must be agreed to in a "
                 "browser. Fetch the file there, then: veritas models add FILE");
    }
    return rc;
}

/* ---- one part ---- */

/* As much as may come from a server that does not say how much it is. */
static uint64_t unknown_limit(int fd)
{
    struct statvfs disk;
    struct rlimit size;
    uint64_t most = fstatvfs(fd, &disk) == 0 ? (uint64_t)disk.f_bavail * disk.f_frsize / 2 : UINT64_C(1) << 30;
    return getrlimit(RLIMIT_FSIZE, &size) == 0 && size.rlim_cur < most ? size.rlim_cur : most;
}

static void part_url(const struct download *d, size_t i, char ret[MAX_URL])
{
    size_t at, slash = strcspn(d->url, "?#");
    char plain[MAX_URL], rest[MAX_URL];
    snprintf(plain, sizeof plain, "%.*s", (int)slash, d->url);
    snprintf(rest, sizeof rest, "%s", d->url + slash);
    if (d->n_parts > 1 && vs_split_count(plain, &at) > 0) {
        char part[MAX_URL];
        vs_split_name(plain, at, (unsigned)i + 1, part, sizeof part);
        snprintf(ret, MAX_URL, "%.*s%.*s", MAX_URL / 2, part, MAX_URL / 2 - 1, rest);
    } else {
        snprintf(ret, MAX_URL, "%s", d->url);
    }
}

/* The name that part i gets: NAME, or NAME-00001-of-00003. */
static void part_name(const struct download *d, size_t i, char ret[VS_MODEL_NAME_MAX + 32])
{
    if (d->n_parts == 1)
        snprintf(ret, VS_MODEL_NAME_MAX + 32, "%s", d->name);
    else
        snprintf(ret, VS_MODEL_NAME_MAX + 32, "%s-%05u-of-%05u", d->name, ((unsigned)i + 1) % 100000,
                 (unsigned)d->n_parts % 100000);
}

static void part_record(const struct download *d, size_t i, struct vs_record *ret)
{
    char url[MAX_URL];
    part_url(d, i, url);
    memcpy(ret->sha256, d->parts[i].sha256, sizeof ret->sha256);
    snprintf(ret->source, sizeof ret->source, "%.900s%s", url, d->needs_digest ? "" : " (nobody said which digest it should have)");
}

/* Fetches and checks part i; its digest is in d->parts afterwards. */
static int get_part(struct download *d, size_t i, int fd, uint64_t before, uint64_t of_all,
                    struct vs_error *err)
{
    struct vs_part *part = &d->parts[i];
    char url[MAX_URL], name[VS_MODEL_NAME_MAX + 32], hex[65];
    struct stat st;
    part_url(d, i, url);
    part_name(d, i, name);
    if (fstat(fd, &st) < 0)
        return vs_error_set(err, VS_E_SYSTEM, "%s: %s", name, strerror(errno));
    struct vs_progress progress = { .what = name, .bytes = true };
    struct sink s = { .fd = fd, .have = (uint64_t)st.st_size, .total = part->bytes, .tag = "-", .what = name, .progress = &progress,
                      .before = before, .of_all = of_all };
    s.limit = s.have + unknown_limit(fd);
    int rc = VS_OK;
    if (s.total && s.have > s.total)
        rc = start_again(&s, err);
    bool is_resumed = s.have > 0;
    if (rc == VS_OK && !(s.total && s.have == s.total))
        rc = fetch(d, url, &s, err);
    vs_progress_end(&progress);
    if (rc != VS_OK)
        return rc;
    if ((rc = vs_file_digest(fd, "checking", hex, err)) != VS_OK)
        return rc;
    if (part->sha256[0] && strcmp(hex, part->sha256) != 0) {
        if (ftruncate(fd, 0) < 0) { /* what cannot be cut is fetched over */ }
        return vs_error_set(err, VS_E_MALFORMED, "%s has SHA-256 %s, not %s: %s. What was fetched is deleted", name, hex,
                            part->sha256, is_resumed ? "the file changed between two pulls, or is another one"
                            : "it is another file, or was damaged on the way");
    }
    memcpy(part->sha256, hex, sizeof hex);
    part->bytes = s.have;
    return VS_OK;
}

/* What part i is called in the stage: of a split model so that each tells of the others. */
static void stage_path(const struct download *d, const struct vs_stage *stage, size_t i, char ret[PATH_MAX])
{
    char file[64] = "part-1";
    if (d->n_parts > 1)
        snprintf(file, sizeof file, "part-%05zu-of-%05zu.gguf", i + 1, d->n_parts);
    vs_stage_path(stage, file, ret);
}

/* Has any part in the stage a byte? Each is deleted, where that is asked for. */
static bool walk_parts(const struct vs_stage *stage, bool deletes)
{
    bool any = false;
    struct stat st;
    DIR *all = opendir(stage->directory);
    for (struct dirent *e; all && (e = readdir(all)) != NULL;) {
        if (strncmp(e->d_name, "part-", 5) != 0)
            continue;
        any |= fstatat(dirfd(all), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_size > 0;
        if (deletes)
            unlinkat(dirfd(all), e->d_name, 0);
    }
    if (all)
        closedir(all);
    return any;
}

/* The stage belongs to one set of URLs and digests: what was left by another is thrown away. */
static int open_stage(struct download *d, struct vs_stage *stage, struct vs_error *err)
{
    char path[PATH_MAX], old[MAX_URL + 80] = "", now[MAX_URL + 80];
    int rc = vs_stage_open(stage, d->name, err);
    if (rc != VS_OK)
        return rc;
    vs_stage_path(stage, "what", path);
    snprintf(now, sizeof now, "%s\n%s\n", d->url, d->parts[0].sha256);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    ssize_t n = fd < 0 ? -1 : pread(fd, old, sizeof old - 1, 0);
    if (n < 0)
        rc = vs_error_set(err, VS_E_SYSTEM, "cannot write %s: %s", path, strerror(errno));
    /* Without a digest nothing could tell the beginning of one file from the end of another. */
    if (rc == VS_OK && (strcmp(old, now) != 0 || !d->needs_digest)) {
        walk_parts(stage, true);
        if (ftruncate(fd, 0) < 0 || pwrite(fd, now, strlen(now), 0) != (ssize_t)strlen(now))
            rc = vs_error_set(err, errno == ENOSPC ? VS_E_LIMIT : VS_E_SYSTEM, "cannot write %s: %s", path, strerror(errno));
    }
    if (fd >= 0)
        close(fd);
    return rc;
}

/* ---- all of it ---- */

/* Is every part there already? VS_E_NOT_FOUND when one is missing, VS_E_BUSY when one is another file. */
static int look(const struct download *d, struct vs_error *err)
{
    int rc = VS_OK;
    for (size_t i = 0; i < d->n_parts && (rc == VS_OK || rc == VS_E_NOT_FOUND); i++) {
        char name[VS_MODEL_NAME_MAX + 32];
        struct vs_record record = { 0 };
        part_name(d, i, name);
        part_record(d, i, &record);
        int one = vs_stage_look(name, &record, d->parts[i].bytes, err);
        rc = one == VS_OK ? rc : one;
    }
    return rc;
}

/* A locked-in worker looks into what was fetched, read-only as anything that a worker is given. */
static int look_into(struct download *d, const struct vs_args *args, const int *fds, struct vs_error *err)
{
    struct vs_files files = { 0 };
    char link[64];
    int rc = VS_OK;
    if (d->n_parts > VS_MAX_PARTS) {
        snprintf(d->unfit, sizeof d->unfit, "a model may have %d parts", VS_MAX_PARTS);
        return VS_OK;
    }
    for (size_t i = 0; i < d->n_parts && rc == VS_OK; i++) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", fds[i]);
        int fd = open(link, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            rc = vs_error_set(err, VS_E_SYSTEM, "cannot open what was fetched: %s", strerror(errno));
        else
            files.fd[files.n++] = fd;
    }
    if (rc == VS_OK)
        rc = vs_stage_inspect(args, &files, d->url, d->unfit, err);
    vs_files_close(&files);
    return rc;
}

static int join_digests(const struct download *d, char ret_hex[65], struct vs_error *err)
{
    struct vs_digest_lines *all = calloc(d->n_parts, sizeof *all);
    for (size_t i = 0; all && i < d->n_parts; i++)
        memcpy(all[i].hex, d->parts[i].sha256, sizeof all[i].hex);
    int rc = all ? vs_digest_join(all, (unsigned)d->n_parts, ret_hex, err) : vs_error_set(err, VS_E_NOMEM, "out of memory");
    free(all);
    return rc;
}

static int download(struct download *d, const struct vs_args *args, struct vs_error *err)
{
    bool force = vs_args_given(args, VS_OPT_FORCE);
    struct vs_stage stage = { .lock = -1 };
    uint64_t done = 0, of_all = 0;
    char digest[120];
    int *fds = malloc(d->n_parts * sizeof *fds);
    size_t n_fds = 0;
    int rc = fds ? VS_OK : vs_error_set(err, VS_E_NOMEM, "out of memory");
    if (rc == VS_OK && !force && (rc = look(d, err)) != VS_E_NOT_FOUND) {
        if (rc == VS_OK)
            vs_note("%s is there, SHA-256 checked: veritas run -m %s ...", d->name, d->name);
        goto out;
    }
    for (size_t i = 0; i < d->n_parts; i++)
        of_all = d->n_parts > 1 && (i == 0 || of_all) && d->parts[i].bytes ? of_all + d->parts[i].bytes : 0;
    if ((rc = open_stage(d, &stage, err)) != VS_OK)
        goto out;
    vs_note("fetching %s from %.300s", d->name, d->url);
    for (; n_fds < d->n_parts && rc == VS_OK; n_fds++) {
        char path[PATH_MAX];
        stage_path(d, &stage, n_fds, path);
        fds[n_fds] = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
        rc = fds[n_fds] < 0 ? vs_error_set(err, VS_E_SYSTEM, "cannot write %s: %s", path, strerror(errno))
             : get_part(d, n_fds, fds[n_fds], done, of_all, err);
        done += d->parts[n_fds].bytes;
    }
    if (rc == VS_OK)
        rc = look_into(d, args, fds, err);
    /* all are checked; the first part, by which it is opened, comes last */
    for (size_t i = d->n_parts; i-- > 0 && rc == VS_OK;) {
        char path[PATH_MAX], name[VS_MODEL_NAME_MAX + 32];
        struct vs_record record = { 0 };
        stage_path(d, &stage, i, path);
        part_name(d, i, name);
        part_record(d, i, &record);
        rc = vs_stage_publish(path, fds[i], name, &record, force, err);
    }
    vs_stage_close(&stage, rc == VS_OK || !walk_parts(&stage, false));
    snprintf(digest, sizeof digest, "%s", d->parts[0].sha256);
    if (rc == VS_OK && d->n_parts > 1)
        rc = join_digests(d, digest, err);
    snprintf(digest + 64, sizeof digest - 64, "%s", d->needs_digest ? " checked" : " (nobody said which it should be)");
    if (rc == VS_OK)
        vs_stage_say(d->name, digest, d->unfit);
    else if (rc == VS_E_CANCELLED)
        vs_error_set(err, rc, d->needs_digest ? "interrupted; the next pull of %s goes on where this one stopped"
                     : "interrupted; the next pull of %s begins again", d->name);
out:
    vs_stage_close(&stage, false);
    for (size_t i = 0; fds && i < n_fds; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    free(fds);
    return rc;
}

/* ---- what is meant ---- */

/* The digests that the user names: one for each part, separated by commas. */
static int take_digests(struct download *d, const char *text, struct vs_error *err)
{
    for (size_t i = 0; i < d->n_parts; i++) {
        size_t n = strcspn(text, ",");
        char hex[65] = "";
        for (size_t k = 0; n == 64 && k < 64; k++)
            hex[k] = (char)tolower((unsigned char)text[k]);
        if (!vs_hex_is_sha256(hex) || (text[n] == ',') != (i + 1 < d->n_parts))
            return vs_error_set(err, VS_E_INVALID, "--sha256: %zu digest%s needed, of 64 hexadecimal digits, separated by commas",
                                d->n_parts, d->n_parts == 1 ? " is" : "s are");
        if (d->parts[i].sha256[0] && strcmp(d->parts[i].sha256, hex) != 0)
            return vs_error_set(err, VS_E_MALFORMED, "the hub records SHA-256 %s for part %zu, not %s", d->parts[i].sha256, i + 1,
                                hex);
        memcpy(d->parts[i].sha256, hex, sizeof hex);
        text += n + (text[n] == ',');
    }
    return VS_OK;
}

/* The model's name: the one that was given, else the file's. */
static int take_name(struct download *d, const char *file, const char *given, struct vs_error *err)
{
    char base[MAX_URL], name[VS_MODEL_NAME_MAX + 2];
    const char *slash = strrchr(file, '/');
    size_t at;
    snprintf(base, sizeof base, "%s", slash ? slash + 1 : file);
    if (vs_split_count(base, &at) > 0)
        memcpy(base + at - 1, ".gguf", 6);
    if (given)
        snprintf(name, sizeof name, "%s", given);
    else
        vs_model_name_from(base, name, sizeof name);
    if (!vs_model_name_is_valid(name) || (d->n_parts > 1 && strlen(name) > VS_MODEL_NAME_MAX - 15))
        return vs_error_set(err, VS_E_INVALID, "'%.60s' cannot be a model's name (up to %d of the characters a-z 0-9 . _ -, and "
                            "no dot first); give one after the source", name, VS_MODEL_NAME_MAX);
    snprintf(d->name, sizeof d->name, "%s", name);
    return VS_OK;
}

static int from_url(struct download *d, const char *url, struct vs_error *err)
{
    char plain[MAX_URL];
    size_t at, n = strcspn(url, "?#");
    if (strncmp(url, VS_HTTPS, strlen(VS_HTTPS)) != 0 && strncmp(url, VS_HTTP, strlen(VS_HTTP)) != 0)
        return vs_error_set(err, VS_E_INVALID, "'%.60s': only " VS_HTTPS " can be fetched (and " VS_HTTP " from this machine)",
                            url);
    if (strchr("/?#", strchr(url, '/')[2]))
        return vs_error_set(err, VS_E_INVALID, "'%.60s' names no host", url);
    if (strlen(url) >= MAX_URL / 2)
        return vs_error_set(err, VS_E_LIMIT, "the URL is longer than %d bytes", MAX_URL / 2);
    for (const char *c = url; *c; c++)
        if ((unsigned char)*c <= 0x20 || (unsigned char)*c >= 0x7f)
            return vs_error_set(err, VS_E_INVALID, "the URL holds a character that must be percent-encoded");
    snprintf(d->url, sizeof d->url, "%s", url);
    snprintf(plain, sizeof plain, "%.*s", (int)n, url);
    unsigned count = vs_split_count(plain, &at);
    d->n_parts = count ? count : 1;
    d->parts = calloc(d->n_parts, sizeof *d->parts);
    return d->parts ? VS_OK : vs_error_set(err, VS_E_NOMEM, "out of memory");
}

/* The hub, or for tests a server of this machine. */
static int hub_host(const char **ret, struct vs_error *err)
{
    const char *other = getenv("VERITAS_HUB");
    *ret = VS_HOST_HF;
    if (!other || !other[0])
        return VS_OK;
    static const char *const local[] = { VS_HOSTS_LOCAL };
    for (size_t i = 0; i < sizeof local / sizeof *local; i++) {
        size_t n = strlen(local[i]);
        if (strncmp(other, local[i], n) == 0 && other[n] && other[n + strspn(other + n, "0123456789")] == '\0') {
            *ret = other;
            return VS_OK;
        }
    }
    return vs_error_set(err, VS_E_INVALID, "VERITAS_HUB may only name a port of this machine, as http://127.0.0.1:PORT");
}

static int from_hub(struct download *d, const char *text, struct vs_error *err)
{
    char repo[VS_HUB_PATH], file[VS_HUB_PATH], url[MAX_URL], path[3 * VS_HUB_PATH + 8];
    const char *host;
    struct vs_buf listing = { .limit = MAX_LISTING };
    int rc = vs_hub_parse(text, repo, file, err);
    if (rc != VS_OK || (rc = hub_host(&host, err)) != VS_OK)
        return rc;
    snprintf(url, sizeof url, "%s/api/models/%s/tree/main?recursive=true", host, repo);
    struct sink s = { .fd = -1, .memory = &listing, .limit = MAX_LISTING, .tag = "-", .what = "the hub's list of files" };
    rc = fetch(d, url, &s, err);
    if (rc == VS_OK)
        rc = vs_hub_pick(listing.data ? listing.data : "", listing.n, file, &d->parts, &d->n_parts, err);
    if (rc == VS_OK && !vs_url_path(d->parts[0].path, path, sizeof path))
        rc = vs_error_set(err, VS_E_LIMIT, "the path of the file is too long");
    if (rc == VS_OK)
        snprintf(d->url, sizeof d->url, "%s/%s/resolve/main/%s", host, repo, path);
    vs_buf_clear(&listing);
    return rc;
}

int vs_model_download(const struct vs_args *args, struct vs_error *err)
{
    struct download d = { .needs_digest = true };
    const char *source = args->v[0], *given = args->n > 1 ? args->v[1] : NULL;
    const char *certificates = vs_args_given(args, VS_OPT_CA) ? vs_args_text(args, VS_OPT_CA) : getenv("SSL_CERT_FILE");
    d.ca = certificates && certificates[0] ? certificates : NULL;
    if (vs_program_find("veritas-fetch", d.program, sizeof d.program, NULL) != VS_OK)
        return vs_error_set(err, VS_E_NOT_FOUND, "this build cannot fetch URLs: it has no veritas-fetch (needs libcurl: "
                            "apt install libcurl4-openssl-dev, then build again)");
    vs_session_signals();
    bool is_hub = strncmp(source, "hf:", 3) == 0;
    d.is_hub = is_hub;
    int rc = is_hub ? from_hub(&d, source + 3, err) : from_url(&d, source, err);
    if (rc == VS_OK && vs_args_given(args, VS_OPT_SHA256))
        rc = take_digests(&d, vs_args_text(args, VS_OPT_SHA256), err);
    for (size_t i = 0; rc == VS_OK && i < d.n_parts; i++)
        d.needs_digest = d.needs_digest && d.parts[i].sha256[0];
    if (rc == VS_OK && !d.needs_digest && !vs_args_given(args, VS_OPT_INSECURE_NO_DIGEST))
        rc = vs_error_set(err, VS_E_INVALID, is_hub
                          ? "the hub records no SHA-256 for this file; give --sha256 HEX, or --insecure-no-digest"
                          : "a URL needs --sha256 HEX, so that the file can be checked (or --insecure-no-digest)");
    if (rc == VS_OK) {
        char plain[MAX_URL];
        snprintf(plain, sizeof plain, "%.*s", (int)strcspn(d.url, "?#"), d.url);
        rc = take_name(&d, is_hub ? d.parts[0].path : plain, given, err);
    }
    if (rc == VS_OK)
        rc = download(&d, args, err);
    if (rc == VS_E_CANCELLED && err && !err->text[0])
        vs_error_set(err, rc, "interrupted");
    free(d.parts);
    return rc;
}
