/* prog/veritas/identity.c - see identity.h */
#include "prog/veritas/identity.h"

#include "base/buf.h"
#include "ipc/json.h"
#include "prog/veritas/models.h"
#include "prog/veritas/term.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

static const char ending[] = ".json";
enum { ENDING = sizeof ending - 1, FILE_NAME = VS_IDENTITY_NAME + ENDING };

/* ---- reading ---- */

static const char *file_name(const char *name, char ret[FILE_NAME])
{
    snprintf(ret, FILE_NAME, "%s%s", name, ending);
    return ret;
}

/* NULL, or why what it holds does not count. */
static const char *distrust(const struct stat *st)
{
    if (st->st_uid != geteuid() && st->st_uid != 0)
        return "it belongs to another user";
    return st->st_mode & 022 ? "others may write to it" : NULL;
}

/* -1: errno ENOENT: there is none; else err says what is wrong. */
static int open_folder(const char *folder, struct vs_error *err)
{
    struct stat st;
    int fd = *folder ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (!*folder)
        errno = ENOENT;
    if (fd < 0) {
        int error = errno;
        vs_error_set(err, error == ENOENT ? VS_E_NOT_FOUND : VS_E_SYSTEM, "the folder of keys %s: %s", folder, strerror(error));
        errno = error;
        return -1;
    }
    const char *why = fstat(fd, &st) == 0 ? distrust(&st) : strerror(errno);
    if (!why)
        return fd;
    vs_error_set(err, VS_E_DENIED, "the folder of keys %s: %s", folder, why);
    close(fd);
    errno = EPERM;
    return -1;
}

/* The file of a name; VS_E_NOT_FOUND: there is none. */
static int read_file(int folder, const char *name, struct vs_identity *ret, struct vs_error *err)
{
    char path[FILE_NAME], text[VS_IDENTITY_FILE_MOST + 1];
    struct stat st;
    int fd = openat(folder, file_name(name, path), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return vs_error_set(err, errno == ENOENT ? VS_E_NOT_FOUND : VS_E_SYSTEM, "%s", strerror(errno));
    const char *why = fstat(fd, &st) != 0 ? strerror(errno) : !S_ISREG(st.st_mode) ? "it is no file" : distrust(&st);
    ssize_t n = why ? 0 : read(fd, text, sizeof text);
    close(fd);
    if (why || n < 0)
        return vs_error_set(err, VS_E_DENIED, "%s", why ? why : "it cannot be read");
    struct vs_identity who;
    int rc = vs_identity_parse(text, (size_t)n, &who, err);
    explicit_bzero(text, sizeof text);
    if (rc == VS_OK && strcmp(who.name, name) != 0)
        rc = vs_error_set(err, VS_E_MALFORMED, "it is the file of another name");
    if (rc == VS_OK)
        *ret = who;
    return rc;
}

/* Is it the name of a key's file? */
static bool name_of(const char *file, char ret[VS_IDENTITY_NAME])
{
    size_t n = strlen(file);
    if (n <= ENDING || n - ENDING >= VS_IDENTITY_NAME || strcmp(file + n - ENDING, ending) != 0)
        return false;
    snprintf(ret, VS_IDENTITY_NAME, "%.*s", (int)(n - ENDING), file);
    return vs_key_name_is_valid(ret);
}

json_t *vs_keys_list(const char *folder, bool is_silent, struct vs_error *err)
{
    int fd = open_folder(folder, err);
    json_t *list = json_array();
    if (fd < 0 && errno == ENOENT)
        return list;
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    if (!d) {
        json_decref(list);
        return NULL;
    }
    for (struct dirent *e; (e = readdir(d)) && json_array_size(list) < VS_IDENTITIES_MOST; ) {
        char name[VS_IDENTITY_NAME];
        struct vs_identity who;
        struct vs_error why = { 0 };
        if (!name_of(e->d_name, name))
            continue;
        if (read_file(dirfd(d), name, &who, &why) == VS_OK)
            json_array_append_new(list, vs_identity_json(&who));
        else if (!is_silent)
            vs_say("%s/%s does not count as a key: %s", folder, e->d_name, why.text);
    }
    closedir(d);
    return list;
}

int vs_keys_load(const char *folder, const char *name, struct vs_identity *ret, struct vs_error *err)
{
    struct vs_error why = { 0 };
    if (!vs_key_name_is_valid(name))
        return vs_error_set(err, VS_E_INVALID, "'%.80s' is not a key's name: 1 to 64 of a-z A-Z 0-9 . _ - @, and no point first",
                            vs_shown(name).text);
    int fd = open_folder(folder, &why), rc = fd < 0 ? why.code : read_file(fd, name, ret, &why);
    if (fd >= 0)
        close(fd);
    if (rc == VS_E_NOT_FOUND)
        return vs_error_set(err, rc, "there is no key '%s' in %s", name, folder);
    return rc == VS_OK ? rc : vs_error_set(err, rc, "the key '%s' in %s: %s", name, folder, why.text);
}

/* ---- writing ---- */

static int failed(struct vs_error *err, const char *folder, const char *name)
{
    if (errno == EEXIST)
        return vs_error_set(err, VS_E_INVALID, "there is a key '%s' already; rotate makes it a new one, revoke ends it", name);
    return vs_error_set(err, VS_E_SYSTEM, "the key '%s' cannot be written to %s: %s", name, folder, strerror(errno));
}

static const char unfinished[] = ".new";

/* Is it the name of a file that is being written, and that will have another one? */
static bool is_unfinished(const char *name)
{
    size_t n = strlen(name), ending_bytes = sizeof unfinished - 1;
    return name[0] == '.' && n > ending_bytes && strcmp(name + n - ending_bytes, unfinished) == 0;
}

/* Whole, then there: nobody sees a part of it. */
static bool put_file(int folder, const struct vs_buf *text, const char *path, bool is_new)
{
    char beside[64];
    snprintf(beside, sizeof beside, ".%ld%s", (long)getpid(), unfinished);
    unlinkat(folder, beside, 0);
    int fd = openat(folder, beside, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    bool good = fd >= 0 && write(fd, text->data, text->n) == (ssize_t)text->n && fsync(fd) == 0;
    if (fd >= 0)
        close(fd);
    if (good && is_new)
        good = linkat(folder, beside, folder, path, 0) == 0;     /* never over another */
    else if (good)
        good = renameat(folder, beside, folder, path) == 0;
    int error = errno;
    unlinkat(folder, beside, 0);
    fsync(folder);
    errno = error;
    return good;
}

/* The folder, locked: two commands at once go one after the other. */
static int lock_folder(const char *folder, struct vs_error *err)
{
    int fd = open_folder(folder, err);
    if (fd >= 0 && flock(fd, LOCK_EX) != 0) {
        vs_error_set(err, VS_E_SYSTEM, "cannot lock %s: %s", folder, strerror(errno));
        close(fd);
        return -1;
    }
    return fd;
}

int vs_keys_save(const char *folder, const struct vs_identity *who, bool is_new, struct vs_error *err)
{
    char path[FILE_NAME];
    struct vs_buf text = { 0 };
    if (!*folder)
        return vs_error_set(err, VS_E_INVALID, "nothing says where keys are kept: `identity.keys` of the policy, $XDG_STATE_HOME "
                            "or $HOME does");
    int rc = vs_directory_make(folder, err);
    if (rc != VS_OK)
        return rc;
    vs_identity_format(who, &text);
    vs_buf_char(&text, '\n');
    int fd = lock_folder(folder, err);
    if (fd < 0 || text.status != VS_OK)
        rc = fd < 0 ? err->code : vs_error_set(err, text.status, "%s", vs_status_text(text.status));
    else if (!put_file(fd, &text, file_name(who->name, path), is_new))
        rc = failed(err, folder, who->name);
    if (fd >= 0)
        close(fd);
    vs_buf_clear(&text);
    return rc;
}

int vs_keys_remove(const char *folder, const char *name, struct vs_error *err)
{
    char path[FILE_NAME];
    struct vs_identity who;
    int rc = vs_keys_load(folder, name, &who, err);
    if (rc == VS_E_NOT_FOUND || rc == VS_E_INVALID)
        return rc;                       /* a file that does not count goes, too */
    int fd = lock_folder(folder, err);
    if (fd < 0)
        return err->code;
    rc = unlinkat(fd, file_name(name, path), 0) == 0 ? VS_OK : failed(err, folder, name);
    fsync(fd);
    close(fd);
    return rc;
}

/* ---- watching ---- */

/* The folder, or the nearest above it that is there. ret_below: the folder just below that, which was not there; empty: none. */
static int watch_nearest(int fd, const char *folder, char ret_below[PATH_MAX])
{
    char path[PATH_MAX];
    int watch;
    *ret_below = 0;
    snprintf(path, sizeof path, "%s", folder);
    while (*path && (watch = inotify_add_watch(fd, path, IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE
                                               | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR)) < 0) {
        char *slash = strrchr(path, '/');
        snprintf(ret_below, PATH_MAX, "%s", path);
        if (!slash || strcmp(path, "/") == 0)
            return -1;
        slash[slash == path] = 0;
    }
    return *path ? watch : -1;
}

void vs_keys_watch_set(struct vs_keys_watch *w, const char *folder)
{
    enum { MOST_TRIES = 64 };
    char below[PATH_MAX];
    struct stat st;
    if (!*folder)
        return;
    if (w->fd < 0) {
        w->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
        w->watch = -1;
    }
    for (int i = 0; w->fd >= 0 && i < MOST_TRIES; i++) {
        int before = w->watch;
        w->watch = watch_nearest(w->fd, folder, below);
        if (before >= 0 && before != w->watch)          /* the same place has the same number */
            inotify_rm_watch(w->fd, before);
        if (!*below || stat(below, &st) != 0 || !S_ISDIR(st.st_mode))
            break;                                      /* else: made since it was looked for, and nobody would tell of it */
    }
}

bool vs_keys_watch_read(struct vs_keys_watch *w)
{
    char told[4096] __attribute__((aligned(8)));
    bool is_change = false;
    for (ssize_t n; w->fd >= 0 && (n = read(w->fd, told, sizeof told)) > 0;)
        for (ssize_t at = 0; at < n;) {
            const struct inotify_event *e = (const struct inotify_event *)(const void *)(told + at);
            /* IGNORED comes of a watch that we took away */
            is_change |= !(e->mask & IN_IGNORED) && !(e->len && is_unfinished(e->name));
            at += (ssize_t)(sizeof *e + e->len);
        }
    return is_change;
}

void vs_keys_watch_close(struct vs_keys_watch *w)
{
    if (w->fd >= 0)
        close(w->fd);
    w->fd = -1;
}
