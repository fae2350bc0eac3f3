/* prog/veritas/audit_folder.c - see audit_folder.h. */
#include "prog/veritas/audit_folder.h"

#include "ipc/json.h"
#include "prog/veritas/policy_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DIGITS = 16 };

void audit_name(uint64_t first, char ret[AUDIT_NAME_BYTES])
{
    snprintf(ret, AUDIT_NAME_BYTES, "%0*" PRIu64 ".jsonl", DIGITS, first % UINT64_C(10000000000000000));
}

/* The number in a name; 0: it is no file of a log. */
static uint64_t number_of(const char *name)
{
    uint64_t n = 0;
    if (strspn(name, "0123456789") != DIGITS || strcmp(name + DIGITS, ".jsonl") != 0)
        return 0;
    for (int i = 0; i < DIGITS; i++)
        n = n * 10 + (uint64_t)(name[i] - '0');
    return n;
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

int audit_files_list(int dir, struct audit_files *ret, struct vs_error *err)
{
    *ret = (struct audit_files){ 0 };
    int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    size_t cap = 0;
    if (!d) {
        if (fd >= 0)
            close(fd);
        return vs_error_set(err, VS_E_SYSTEM, "the log's folder cannot be read: %s", strerror(errno));
    }
    int rc = VS_OK;
    for (struct dirent *e; rc == VS_OK && (e = readdir(d));) {
        uint64_t first = number_of(e->d_name);
        if (!first)
            continue;
        if (ret->n == cap) {
            uint64_t *more = realloc(ret->first, (cap = cap ? 2 * cap : 64) * sizeof *more);
            if (!more) {
                rc = vs_error_set(err, VS_E_NOMEM, "out of memory");
                break;
            }
            ret->first = more;
        }
        ret->first[ret->n++] = first;
    }
    closedir(d);
    if (ret->n)
        qsort(ret->first, ret->n, sizeof *ret->first, compare);
    if (rc != VS_OK)
        audit_files_clear(ret);
    return rc;
}

void audit_files_clear(struct audit_files *f)
{
    free(f->first);
    *f = (struct audit_files){ 0 };
}

int audit_file_open(int dir, const char *name, int flags, struct vs_error *err)
{
    struct stat st;
    int fd = openat(dir, name, flags | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
    if (fd < 0) {
        vs_error_set(err, errno == ENOENT ? VS_E_NOT_FOUND : errno == EACCES ? VS_E_DENIED : errno == ELOOP ? VS_E_MALFORMED
                     : VS_E_SYSTEM, "%s: %s", name, errno == ELOOP ? "it is a link" : strerror(errno));
        return -1;
    }
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_nlink != 1) {
        vs_error_set(err, VS_E_MALFORMED, "%s: it is not a file of its own", name);
        close(fd);
        return -1;
    }
    return fd;
}

int audit_secret_open(int dir, const char *name, struct vs_error *err)
{
    struct stat st;
    int fd = audit_file_open(dir, name, O_RDWR | O_CREAT, err);
    if (fd < 0 || (fstat(fd, &st) == 0 && !(st.st_mode & 077) && st.st_uid == geteuid()))
        return fd;
    vs_error_set(err, VS_E_DENIED, "%s: others may read it, or it is another user's; chmod 600", name);
    close(fd);
    return -1;
}

/* With all that leads to it. */
static bool make_folder(const char *path)
{
    char part[PATH_MAX];
    size_t n = strlen(path);
    for (size_t i = 1; i <= n && n < sizeof part; i++)
        if (path[i] == '/' || i == n) {
            memcpy(part, path, i);
            part[i] = 0;
            if (mkdir(part, 0700) != 0 && errno != EEXIST)
                return false;
        }
    return true;
}

int audit_folder_open(const char *path, bool make, struct vs_error *err)
{
    struct stat st;
    if (make && !make_folder(path)) {
        vs_error_set(err, VS_E_SYSTEM, "the log's folder %.200s cannot be made: %s", path, strerror(errno));
        return -1;
    }
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        vs_error_set(err, errno == ENOENT ? VS_E_NOT_FOUND : errno == EACCES ? VS_E_DENIED : VS_E_SYSTEM,
                     "the log's folder %.200s: %s", path, strerror(errno));
        return -1;
    }
    if (make && (fstat(fd, &st) != 0 || st.st_uid != geteuid() || (st.st_mode & (S_IWGRP | S_IWOTH)))) {
        vs_error_set(err, VS_E_DENIED, "the log's folder %.200s is another user's, or others may write into it", path);
        close(fd);
        return -1;
    }
    return fd;
}

int audit_folder_of(const struct vs_policy_file *policy, char *ret, size_t n, struct vs_error *err)
{
    json_t *all = vs_json_parse(policy->shown, strlen(policy->shown), NULL);
    const char *dir = json_string_value(json_object_get(json_object_get(all, "audit"), "dir"));
    const char *slash = strrchr(policy->path, '/');
    int rc = VS_OK, length = 0;
    if (!dir || !*dir)
        rc = vs_error_set(err, VS_E_NOT_FOUND, "the policy keeps no log: audit.dir says where it is to lie");
    else if (*dir == '/' || !slash)
        length = snprintf(ret, n, "%s", dir);
    else
        length = snprintf(ret, n, "%.*s/%s", (int)(slash - policy->path), policy->path, dir);
    json_decref(all);
    return length >= (int)n ? vs_error_set(err, VS_E_LIMIT, "audit.dir: the path is too long") : rc;
}
