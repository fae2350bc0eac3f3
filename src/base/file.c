/* base/file.c - see file.h */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int cannot(const char *what, const char *path, struct vs_error *err)
{
    int code = errno == ENOENT || errno == ENOTDIR ? VS_E_NOT_FOUND : errno == EACCES || errno == EPERM ? VS_E_DENIED : VS_E_SYSTEM;
    return vs_error_set(err, code, "cannot open %s %s: %s", what, path, strerror(errno));
}

static int no_file(const char *what, const char *path, struct vs_error *err)
{
    return vs_error_set(err, VS_E_MALFORMED, "%s %s is not a regular file", what, path);
}

int vs_file_check(const char *what, const char *path, int fd, struct stat *ret, struct vs_error *err)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fstat(fd, ret) != 0 || (flags & O_ACCMODE) != O_RDONLY || (flags & O_PATH))
        return vs_error_set(err, VS_E_INVALID, "the descriptor of %s %s is not open for reading only", what, path);
    return S_ISREG(ret->st_mode) ? VS_OK : no_file(what, path, err);
}

int vs_file_open(const char *what, const char *path, int *ret_fd, struct stat *ret, struct vs_error *err)
{
    if (stat(path, ret) != 0)
        return cannot(what, path, err);
    if (!S_ISREG(ret->st_mode))
        return no_file(what, path, err);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);      /* it may be another thing by now */
    if (fd < 0)
        return cannot(what, path, err);
    int rc = vs_file_check(what, path, fd, ret, err);
    if (rc != VS_OK)
        close(fd);
    else
        *ret_fd = fd;
    return rc;
}

void vs_file_identity(const struct stat *st, char ret[VS_FILE_IDENTITY])
{
    snprintf(ret, VS_FILE_IDENTITY, "%llu %lld %lld.%09ld", (unsigned long long)st->st_ino, (long long)st->st_size,
             (long long)st->st_mtim.tv_sec, st->st_mtim.tv_nsec);
}

const char *vs_file_changed(const char *path, const char *identity)
{
    char now[VS_FILE_IDENTITY];
    struct stat st;
    if (stat(path, &st) < 0)
        return errno == ENOENT || errno == ENOTDIR ? "removed" : NULL;
    vs_file_identity(&st, now);
    size_t n = strlen(now);
    if (strncmp(now, identity, n) == 0 && (!identity[n] || strncmp(identity + n, " +", 2) == 0))     /* of several: the first */
        return NULL;
    size_t inode = strcspn(now, " ");
    return strncmp(now, identity, inode + 1) == 0 ? "written to" : "replaced";
}

bool vs_file_is_untouched(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec
        && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec && a->st_ctim.tv_sec == b->st_ctim.tv_sec
        && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

bool vs_write_all(int fd, const void *data, size_t n)
{
    for (size_t at = 0; at < n;) {
        ssize_t done = write(fd, (const char *)data + at, n - at);
        if (done < 0 && errno == EINTR)
            continue;
        if (done == 0)
            errno = EIO;
        if (done <= 0)
            return false;
        at += (size_t)done;
    }
    return true;
}
