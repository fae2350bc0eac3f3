/* base/files.c - see files.h */
#include "base/files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void vs_files_close(struct vs_files *f)
{
    for (unsigned i = 0; i < f->n; i++)
        close(f->fd[i]);
    f->n = 0;
}

int vs_files_copy(const struct vs_files *f, int low, struct vs_files *ret, struct vs_error *err)
{
    ret->n = 0;
    for (unsigned i = 0; i < f->n; i++) {
        int fd = fcntl(f->fd[i], F_DUPFD_CLOEXEC, low);
        if (fd < 0) {
            vs_files_close(ret);
            return vs_error_set(err, VS_E_SYSTEM, "there are too many open files: %s", strerror(errno));
        }
        ret->fd[ret->n++] = fd;
    }
    return VS_OK;
}

void vs_files_identity(const struct vs_files *f, char ret[VS_FILE_IDENTITY])
{
    char other[VS_FILE_IDENTITY];
    uint64_t sum = UINT64_C(0xcbf29ce484222325);     /* FNV-1a: nobody has a reason to deceive himself */
    struct stat st = { 0 };
    for (unsigned i = 1; i < f->n; i++) {
        if (fstat(f->fd[i], &st) == 0)
            vs_file_identity(&st, other);
        else
            other[0] = 0;
        for (const char *c = other;; c++) {
            sum = (sum ^ (unsigned char)*c) * UINT64_C(0x100000001b3);
            if (!*c)
                break;
        }
    }
    memset(&st, 0, sizeof st);
    if (f->n && fstat(f->fd[0], &st) != 0)
        memset(&st, 0, sizeof st);
    vs_file_identity(&st, ret);
    size_t n = strlen(ret);
    if (f->n > 1)
        snprintf(ret + n, VS_FILE_IDENTITY - n, " +%016llx", (unsigned long long)sum);
}

unsigned vs_split_count(const char *path, size_t *ret_at)
{
    static const char shape[] = "-00000-of-00000.gguf";
    size_t n = strlen(path), length = sizeof shape - 1;
    if (n <= length)
        return 0;
    const char *end = path + n - length;
    for (size_t i = 0; i < length; i++)
        if (shape[i] == '0' ? end[i] < '0' || end[i] > '9' : end[i] != shape[i])
            return 0;
    unsigned long number = strtoul(end + 1, NULL, 10), count = strtoul(end + 10, NULL, 10);
    *ret_at = n - length + 1;
    return number >= 1 && number <= count && count <= VS_SPLIT_MAX ? (unsigned)count : 0;
}

void vs_split_name(const char *path, size_t at, unsigned i, char *ret, size_t n)
{
    snprintf(ret, n, "%.*s%05u%s", (int)at, path, i, path + at + 5);
}

int vs_files_find_model(const char *folder, const char *name, char *ret, size_t n, struct vs_error *err)
{
    char part[PATH_MAX];
    unsigned found = 0;
    int length = snprintf(ret, n, "%s/%s.gguf", folder, name);
    if (length < 0 || (size_t)length >= n || (size_t)length + VS_SPLIT_SUFFIX >= n)
        return vs_error_set(err, VS_E_LIMIT, "the path of model %.60s is too long", name);
    if (access(ret, F_OK) == 0)
        return VS_OK;
    for (unsigned i = 2; i <= VS_MAX_PARTS; i++) {
        if (snprintf(part, sizeof part, "%s/%s-00001-of-%05u.gguf", folder, name, i) >= (int)sizeof part || access(part, F_OK) != 0)
            continue;
        if (found)
            return vs_error_set(err, VS_E_INVALID, "%s has parts of two models called %s: of one with %u, and of one with %u",
                                folder, name, found, i);
        found = i;
        snprintf(ret, n, "%s", part);
    }
    return VS_OK;
}

double vs_files_scale(const char *text, size_t *ret_n)
{
    const char *last = strrchr(text, '=');
    char *end = NULL;
    double scale = last && last > text && last[1] ? strtod(last + 1, &end) : 1;
    bool given = end && !*end;
    *ret_n = given ? (size_t)(last - text) : strlen(text);
    return given ? scale : 1;
}

static int add(const char *what, const char *path, struct vs_files *io, struct stat *ret, struct vs_error *err)
{
    int fd;
    if (io->n == VS_MAX_FILES)
        return vs_error_set(err, VS_E_LIMIT, "%s %s: more than %d files at once", what, path, VS_MAX_FILES);
    int r = vs_file_open(what, path, &fd, ret, err);
    if (r == VS_OK)
        io->fd[io->n++] = fd;
    return r;
}

int vs_files_open_model(const char *what, const char *path, struct vs_files *io, struct stat *ret_first, uint64_t *ret_bytes,
                        struct vs_error *err)
{
    char part[PATH_MAX];
    struct stat st;
    size_t at = 0;
    unsigned n = vs_split_count(path, &at), before = io->n;
    if (n > 1 && strtoul(path + at, NULL, 10) != 1) {
        vs_split_name(path, at, 1, part, sizeof part);
        return vs_error_set(err, VS_E_INVALID, "%s %s is a part of a model that is opened by its first one, %s", what, path, part);
    }
    if (n > VS_MAX_PARTS)
        return vs_error_set(err, VS_E_LIMIT, "%s %s is one of %u parts; a model may have %d", what, path, n, VS_MAX_PARTS);
    int r = add(what, path, io, ret_first, err);
    *ret_bytes = r == VS_OK ? (uint64_t)ret_first->st_size : 0;
    for (unsigned i = 2; i <= n && r == VS_OK; i++) {
        vs_split_name(path, at, i, part, sizeof part);
        r = add(what, part, io, &st, err);
        if (r == VS_E_NOT_FOUND)
            r = vs_error_set(err, VS_E_MALFORMED, "%s %s: part %u of %u is missing: there is no %s", what, path, i, n, part);
        *ret_bytes += r == VS_OK ? (uint64_t)st.st_size : 0;
    }
    while (r != VS_OK && io->n > before)
        close(io->fd[--io->n]);
    return r;
}
