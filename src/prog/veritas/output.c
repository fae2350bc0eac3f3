/* prog/veritas/output.c - see output.h */
#include "prog/veritas/output.h"

#include "base/file.h"
#include "prog/veritas/term.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static int fail(const struct vs_output *o, int number, struct vs_error *err)
{
    if (number == EPIPE)
        vs_answer_lost(number);
    const char *name = strcmp(o->path, "-") == 0 ? "to standard output" : o->path;
    int code = number == ENOENT || number == ENOTDIR ? VS_E_NOT_FOUND : number == EACCES || number == EPERM ? VS_E_DENIED
        : VS_E_SYSTEM;
    return vs_error_set(err, code, "cannot write %s: %s", name, strerror(number));
}

/* "DIRECTORY/.veritas-0123456789abcdef" for a target of that directory. */
static bool name_beside(struct vs_output *o)
{
    uint64_t number;
    const char *slash = strrchr(o->target, '/');
    int directory = slash ? (int)(slash - o->target) + 1 : 0;
    if (getrandom(&number, sizeof number, 0) != sizeof number)
        return false;
    int n = snprintf(o->beside, sizeof o->beside, "%.*s.veritas-%016llx", directory, o->target, (unsigned long long)number);
    if (n > 0 && (size_t)n < sizeof o->beside)
        return true;
    errno = ENAMETOOLONG;
    return false;
}

/* The new file has no name while it is written, so that nothing is left when the program is killed; where the file system can't do
 * that it has one from the start. */
static bool open_beside(struct vs_output *o, mode_t mode)
{
    char directory[PATH_MAX];
    const char *slash = strrchr(o->target, '/');
    snprintf(directory, sizeof directory, "%.*s", slash ? (int)(slash - o->target) + 1 : 1, slash ? o->target : ".");
    o->fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, mode);
    if (o->fd >= 0)
        return true;
    if (!name_beside(o))
        return false;
    o->fd = open(o->beside, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (o->fd < 0)
        o->beside[0] = '\0';
    return o->fd >= 0;
}

int vs_output_spare(const char *path, const char *other, struct vs_error *err)
{
    struct stat a, b;
    if (stat(path, &a) == 0 && S_ISREG(a.st_mode) && stat(other, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino)
        return vs_error_set(err, VS_E_INVALID, "the new file would take the place of %s, which is read; give it another name",
                            other);
    return VS_OK;
}

int vs_output_open(struct vs_output *o, const char *path, mode_t mode, struct vs_error *err)
{
    struct stat st;
    *o = (struct vs_output){ .path = path, .fd = -1, .stream = -1 };
    bool is_stdout = strcmp(path, "-") == 0, is_there = !is_stdout && stat(path, &st) == 0;
    if (is_there && S_ISDIR(st.st_mode))
        return fail(o, EISDIR, err);
    if (is_stdout || (is_there && !S_ISREG(st.st_mode))) {
        o->stream = is_stdout ? fcntl(1, F_DUPFD_CLOEXEC, 3) : open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
        FILE *spool = o->stream < 0 ? NULL : tmpfile();
        if (spool) {
            o->fd = fcntl(fileno(spool), F_DUPFD_CLOEXEC, 3);
            fclose(spool);
        }
    } else if (is_there) {
        /* A link stays a link; a file that may not be written is not replaced. */
        if (realpath(path, o->target) && access(path, W_OK) == 0 && open_beside(o, 0600) && fchmod(o->fd, st.st_mode & 07777) < 0)
            o->error = errno;
    } else if (snprintf(o->target, sizeof o->target, "%s", path) < (int)sizeof o->target) {
        open_beside(o, mode);
    } else {
        errno = ENAMETOOLONG;
    }
    if (o->fd >= 0 && !o->error)
        return VS_OK;
    int number = o->error ? o->error : errno;
    vs_output_drop(o);
    return fail(o, number, err);
}

bool vs_output_write(struct vs_output *o, const void *data, size_t n)
{
    if (!o->error && !vs_write_all(o->fd, data, n))
        o->error = errno;
    return !o->error;
}

bool vs_output_write_at(struct vs_output *o, uint64_t offset, const void *data, size_t n)
{
    if (!o->error && lseek(o->fd, (off_t)offset, SEEK_SET) < 0)
        o->error = errno;
    return vs_output_write(o, data, n);
}

int vs_disk_reserve(int fd, const char *what, uint64_t from, uint64_t to, struct vs_error *err)
{
    struct statvfs disk;
    struct rlimit size;
    uint64_t room = fstatvfs(fd, &disk) == 0 ? (uint64_t)disk.f_bavail * disk.f_frsize : UINT64_MAX, need = to - from;
    if ((getrlimit(RLIMIT_FSIZE, &size) == 0 && to > size.rlim_cur) || to > INT64_MAX)
        return vs_error_set(err, VS_E_LIMIT, "%s has %.1f MB, and no file may be as large here (ulimit -f)", what,
                            (double)to / 1e6);
    if (room >= need && (need == 0 || fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)from, (off_t)need) == 0
                         || (errno != ENOSPC && errno != EDQUOT)))
        return VS_OK;
    return vs_error_set(err, VS_E_LIMIT,
                        "%s needs %llu MB of space and the disk has no room for it (%llu MB are free); make room or "
                        "write elsewhere (models: set VERITAS_MODELS)", what, (unsigned long long)(need / 1000000 + 1),
                        (unsigned long long)(room / 1000000));
}

static bool copy_to_stream(struct vs_output *o)
{
    static char block[1 << 16];
    ssize_t got = -1;
    if (lseek(o->fd, 0, SEEK_SET) < 0)
        return false;
    while ((got = read(o->fd, block, sizeof block)) > 0)
        if (!vs_write_all(o->stream, block, (size_t)got))
            return false;
    return got == 0;
}

static bool take_place(struct vs_output *o)
{
    char unnamed[64];
    if (fsync(o->fd) < 0)
        return false;
    snprintf(unnamed, sizeof unnamed, "/proc/self/fd/%d", o->fd);
    if (o->exclusive)
        return linkat(AT_FDCWD, unnamed, AT_FDCWD, o->target, AT_SYMLINK_FOLLOW) == 0;
    if (!o->beside[0]) {
        if (!name_beside(o))
            return false;
        if (linkat(AT_FDCWD, unnamed, AT_FDCWD, o->beside, AT_SYMLINK_FOLLOW) < 0) {
            o->beside[0] = '\0';
            return false;
        }
    }
    if (rename(o->beside, o->target) < 0)
        return false;
    o->beside[0] = '\0';
    return true;
}

int vs_output_commit(struct vs_output *o, struct vs_error *err)
{
    if (!o->error && !(o->stream >= 0 ? copy_to_stream(o) : take_place(o)))
        o->error = errno;
    if (o->stream >= 0 && close(o->stream) < 0 && !o->error)
        o->error = errno;
    o->stream = -1;
    vs_output_drop(o);
    return o->error ? fail(o, o->error, err) : VS_OK;
}

void vs_output_drop(struct vs_output *o)
{
    if (o->beside[0])
        unlink(o->beside);
    if (o->fd >= 0)
        close(o->fd);
    if (o->stream >= 0)
        close(o->stream);
    o->beside[0] = '\0';
    o->fd = o->stream = -1;
}

bool vs_output_npy(struct vs_output *o, uint64_t rows, uint64_t columns)
{
    char header[VS_NPY_HEADER + 1];
    memset(header, ' ', sizeof header);
    memcpy(header, "\x93NUMPY\x01\x00", 8);
    header[8] = VS_NPY_HEADER - 10;
    header[9] = 0;
    int n = snprintf(header + 10, VS_NPY_HEADER - 10, "{'descr': '<f4', 'fortran_order': False, 'shape': (%llu, %llu), }",
                     (unsigned long long)rows, (unsigned long long)columns);
    header[10 + n] = ' ';
    header[VS_NPY_HEADER - 1] = '\n';
    return vs_output_write_at(o, 0, header, VS_NPY_HEADER);
}
