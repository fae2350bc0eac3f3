/* prog/veritas/history.c - see history.h */
#include "prog/veritas/history.h"

#include "prog/veritas/models.h"
#include "prog/veritas/output.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_LIMIT (16u << 20)           /* what is older than its last 16 MiB is not read */
enum { LOCK_MS = 1000 };

static int fail(const struct vs_history *h, int number, struct vs_error *err)
{
    return vs_error_set(err, VS_E_SYSTEM, "what you type is not kept: %s: %s (--no-history keeps nothing and says nothing)",
                        h->path, strerror(number));
}

int vs_history_open(struct vs_history *h, struct vs_error *err)
{
    const char *own = getenv("VERITAS_HISTORY"), *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    char directory[PATH_MAX];
    struct stat st;
    h->path[0] = '\0';
    if (own && own[0]) {
        if (strcmp(own, "off") == 0 || (stat(own, &st) == 0 && !S_ISREG(st.st_mode)))
            return VS_OK;
        if (snprintf(h->path, sizeof h->path, "%s", own) < (int)sizeof h->path)
            return VS_OK;
        h->path[0] = '\0';
        return vs_error_set(err, VS_E_LIMIT, "what you type is not kept: the path in VERITAS_HISTORY is too long");
    }
    int n = state && state[0] == '/' ? snprintf(directory, sizeof directory, "%s/veritas", state)
            : home && home[0]        ? snprintf(directory, sizeof directory, "%s/.local/state/veritas", home)
                                     : -1;
    if (n < 0)
        return vs_error_set(err, VS_E_NOT_FOUND, "what you type is not kept: HOME is not set");
    struct vs_error why = { 0 };
    if (vs_directory_make(directory, &why) != VS_OK)
        return vs_error_set(err, why.code, "what you type is not kept: %s (--no-history keeps nothing and says nothing)", why.text);
    if ((size_t)n >= sizeof directory || snprintf(h->path, sizeof h->path, "%s/chat_history", directory) >= (int)sizeof h->path) {
        h->path[0] = '\0';
        return vs_error_set(err, VS_E_LIMIT, "what you type is not kept: the path of its file is too long");
    }
    return VS_OK;
}

/* Waits for the lock, but not for ever: a stopped session must not stop the others. Without it an entry is still added whole
 * (O_APPEND, one write); only cutting the file needs it. */
static bool lock(int fd)
{
    for (int waited = 0; flock(fd, LOCK_EX | LOCK_NB) < 0; waited += 10) {
        if (errno != EWOULDBLOCK || waited >= LOCK_MS)
            return false;
        poll(NULL, 0, 10);
    }
    return true;
}

/* Opens and locks the file that bears the name: while one waits for the lock a new file may have taken its place. */
static int open_locked(const struct vs_history *h, bool *ret_locked, struct vs_error *err)
{
    struct stat of_fd, of_path;
    for (int tries = 0; tries < 100; tries++) {
        int fd = open(h->path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
        if (fd < 0)
            break;
        *ret_locked = lock(fd);
        if (fstat(fd, &of_fd) == 0 && stat(h->path, &of_path) == 0 && of_fd.st_ino == of_path.st_ino &&
            of_fd.st_dev == of_path.st_dev) {
            if (!S_ISREG(of_fd.st_mode) || ((of_fd.st_mode & 077) && fchmod(fd, 0600) < 0)) {
                errno = S_ISREG(of_fd.st_mode) ? errno : EINVAL;
                close(fd);
                break;
            }
            return fd;
        }
        close(fd);
        errno = EAGAIN;
    }
    fail(h, errno, err);
    return -1;
}

/* The end of the file, from the beginning of a line. */
static bool read_end(int fd, struct vs_buf *ret)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return false;
    off_t from = st.st_size > (off_t)FILE_LIMIT ? st.st_size - (off_t)FILE_LIMIT : 0;
    size_t n = (size_t)(st.st_size - from), at = 0;
    char *data = vs_buf_grow(ret, n);
    if (!data && n > 0)
        return false;
    for (ssize_t got; at < n && (got = pread(fd, data + at, n - at, from + (off_t)at)) != 0;) {
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return false;
        at += (size_t)got;
    }
    ret->n -= n - at;
    if (from > 0) {
        char *newline = memchr(ret->data, '\n', ret->n);
        vs_buf_drop(ret, newline ? (size_t)(newline - ret->data) + 1 : ret->n);
    }
    return true;
}

/* Calls back for each entry in the file's text after the first `skip`; returns how many there are. */
static size_t walk(const struct vs_buf *text, size_t skip, void (*take)(void *context, const char *entry), void *context)
{
    struct vs_buf entry = { 0 };
    size_t count = 0;
    for (size_t at = 0, n; at < text->n; at += n + 1) {
        const char *line = text->data + at, *newline = memchr(line, '\n', text->n - at);
        n = newline ? (size_t)(newline - line) : text->n - at;
        if (vs_history_decode(line, n, &entry) && count++ >= skip && take)
            take(context, entry.data);
    }
    vs_buf_clear(&entry);
    return count;
}

static void write_entry(void *context, const char *entry)
{
    struct vs_buf line = { 0 };
    vs_history_encode(entry, strlen(entry), &line);
    vs_output_write(context, line.data, line.n);
    vs_buf_clear(&line);
}

int vs_history_load(const struct vs_history *h, void (*take)(void *context, const char *entry), void *context, struct vs_error *err)
{
    struct vs_buf text = { 0 };
    struct vs_output shorter;
    bool locked;
    int rc = VS_OK, fd = h->path[0] ? open_locked(h, &locked, err) : -1;
    if (fd < 0)
        return h->path[0] ? VS_E_SYSTEM : VS_OK;
    if (!read_end(fd, &text)) {
        rc = fail(h, errno, err);
        goto out;
    }
    size_t count = walk(&text, 0, NULL, NULL), skip = count > VS_HISTORY_ENTRIES ? count - VS_HISTORY_ENTRIES : 0;
    walk(&text, skip, take, context);
    if (locked && (count > 2 * VS_HISTORY_ENTRIES || text.n > FILE_LIMIT / 2) &&
        vs_output_open(&shorter, h->path, 0600, err) == VS_OK) {
        walk(&text, skip, write_entry, &shorter);
        rc = vs_output_commit(&shorter, err);
    }
out:
    close(fd);
    vs_buf_clear(&text);
    return rc;
}

int vs_history_add(const struct vs_history *h, const char *entry, size_t n, struct vs_error *err)
{
    struct vs_buf line = { 0 };
    struct stat st;
    bool locked;
    char last = '\n';
    if (!h->path[0] || !vs_history_keeps(entry, n))
        return VS_OK;
    int rc = VS_OK, fd = open_locked(h, &locked, err);
    if (fd < 0)
        return VS_E_SYSTEM;
    /* A disk that was full may have cut the last entry: ours begins a line of its own. */
    if (fstat(fd, &st) == 0 && st.st_size > 0 && pread(fd, &last, 1, st.st_size - 1) == 1 && last != '\n')
        vs_buf_char(&line, '\n');
    vs_history_encode(entry, n, &line);
    ssize_t put = line.status == VS_OK ? write(fd, line.data, line.n) : -1;
    if (put != (ssize_t)line.n)
        rc = fail(h, put < 0 ? errno : ENOSPC, err);
    close(fd);
    vs_buf_clear(&line);
    return rc;
}
