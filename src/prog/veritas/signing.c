/* prog/veritas/signing.c - the key from outside that signs the first key of a log: policy key signing.key (docs/AUDIT.md).
 *
 * It is opened before the daemon opens anything else, goes to the log's writer alone, and is closed when that has used it. Nobody
 * here reads it. A `file:` that is not there is made where a log begins: empty, the writer puts its first key in, and erases it
 * when the next one is made. Such a file begins with a line of its own, and stays open for that. */
#include "prog/veritas/serve.h"

#include "base/file.h"
#include "evidence/root.h"
#include "ipc/json.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A file that others may read is no secret. */
static int check_secret(const char *name, int fd, struct vs_error *err)
{
    struct stat st;
    if (fd < 0)
        return vs_error_set(err, errno == ENOENT ? VS_E_NOT_FOUND : VS_E_DENIED, "signing.key %.300s: %s", name,
                            errno == ELOOP ? "it is a link" : strerror(errno));
    if (fstat(fd, &st) != 0 || (S_ISREG(st.st_mode) && ((st.st_mode & 077) || (st.st_uid != geteuid() && st.st_uid != 0))))
        return vs_error_set(err, VS_E_DENIED, "signing.key %.300s: others may read it, or it is another user's; chmod 600", name);
    return VS_OK;
}

static int open_path(struct supervisor *s, const char *path, struct vs_error *err)
{
    s->writer.root_fd = open(path, O_RDONLY | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    return check_secret(path, s->writer.root_fd, err);
}

static bool is_own(int fd)
{
    char text[sizeof VS_OWN_KEY - 1];
    return pread(fd, text, sizeof text, 0) == (ssize_t)sizeof text && memcmp(text, VS_OWN_KEY, sizeof text) == 0;
}

/* Where one of that name is made: in the folder of state. */
static int state_path(const char *name, char *ret, size_t n, struct vs_error *err)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    int length = *name == '/'          ? snprintf(ret, n, "%s", name)
        : state && *state == '/'       ? snprintf(ret, n, "%s/veritas/%s", state, name)
        : home && *home == '/'         ? snprintf(ret, n, "%s/.local/state/veritas/%s", home, name)
                                       : -1;
    if (length < 0)
        return vs_error_set(err, VS_E_NOT_FOUND, "signing.key file:%.200s: it is not there, and there is no place to make it: set "
                            "XDG_STATE_HOME or HOME, or name it from / on", name);
    return length < (int)n ? VS_OK : vs_error_set(err, VS_E_LIMIT, "signing.key: the path is too long");
}

static int open_either(struct supervisor *s, const char *path, struct vs_error *err)
{
    int rc = open_path(s, path, err);
    if (rc != VS_OK || !is_own(s->writer.root_fd))
        return rc;
    close(s->writer.root_fd);           /* again, as one that is written */
    s->writer.root_is_own = true;
    s->writer.root_fd = open(path, O_RDWR | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    return check_secret(path, s->writer.root_fd, err);
}

/* A relative path begins where the policy lies, and then in the folder of state. */
static int open_file(struct supervisor *s, const char *rest, struct vs_error *err)
{
    char path[PATH_MAX];
    const char *policy = s->settings.policy.path, *slash = strrchr(policy, '/');
    int n = *rest == '/' || !slash ? snprintf(path, sizeof path, "%s", rest)
                                   : snprintf(path, sizeof path, "%.*s/%s", (int)(slash - policy), policy, rest);
    if (n >= (int)sizeof path)
        return vs_error_set(err, VS_E_LIMIT, "signing.key: the path is too long");
    int rc = open_either(s, path, err);
    if (rc != VS_E_NOT_FOUND || (rc = state_path(rest, path, sizeof path, err)) != VS_OK
        || (rc = open_either(s, path, err)) != VS_E_NOT_FOUND)
        return rc;
    snprintf(s->writer.root_path, sizeof s->writer.root_path, "%s", path);
    return VS_OK;
}

/* Folders that lead to it, as far as they are ours to make: those of state. */
static void make_folders(const char *path)
{
    char part[PATH_MAX];
    for (size_t i = 1; path[i]; i++)
        if (path[i] == '/') {
            memcpy(part, path, i);
            part[i] = 0;
            mkdir(part, 0700);
        }
}

int signing_make(struct supervisor *s, struct vs_error *err)
{
    struct writer *w = &s->writer;
    struct stat st;
    if (!w->root_path[0] || (fstatat(w->dir_fd, "keys", &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_size > 0))
        return VS_OK;                   /* a log that has begun needs it no more */
    make_folders(w->root_path);
    /* Under another name first: a kill leaves the whole file, or none. */
    static const char mark[] = VS_OWN_KEY;
    char part[sizeof w->root_path + 8];
    snprintf(part, sizeof part, "%s.part", w->root_path);
    unlink(part);
    w->root_fd = open(part, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (w->root_fd < 0)
        return vs_error_set(err, VS_E_DENIED, "signing.key %.300s: it is not there and cannot be made: %s", w->root_path,
                            strerror(errno));
    bool done = vs_write_all(w->root_fd, mark, sizeof mark - 1) && fsync(w->root_fd) == 0
        && renameat2(AT_FDCWD, part, AT_FDCWD, w->root_path, RENAME_NOREPLACE) == 0;
    if (!done)
        return vs_error_set(err, VS_E_SYSTEM, "signing.key %.300s cannot be written: %s", w->root_path, strerror(errno));
    w->root_is_own = true;
    return VS_OK;
}

/* One that was open when the daemon began: nobody else gets it. */
static int open_descriptor(struct supervisor *s, const char *rest, struct vs_error *err)
{
    char *end, name[16];
    long n = strtol(rest, &end, 10);
    if (end == rest || *end || n < 3 || n > 1023)
        return vs_error_set(err, VS_E_INVALID, "signing.key fd:%.40s: a number from 3 to 1023", rest);
    s->writer.root_fd = fcntl((int)n, F_DUPFD_CLOEXEC, HIGH_FD);
    if (s->writer.root_fd >= 0)
        close((int)n);
    snprintf(name, sizeof name, "fd:%ld", n);
    return check_secret(name, s->writer.root_fd, err);
}

/* Of the service manager. */
static int open_credential(struct supervisor *s, const char *rest, struct vs_error *err)
{
    char path[PATH_MAX];
    const char *folder = getenv("CREDENTIALS_DIRECTORY");
    if (!folder || !*folder)
        return vs_error_set(err, VS_E_NOT_FOUND, "signing.key credential:%.100s: there is no $CREDENTIALS_DIRECTORY; a service has "
                            "one (LoadCredential=)", rest);
    if (!*rest || strchr(rest, '/') || *rest == '.')
        return vs_error_set(err, VS_E_INVALID, "signing.key credential:%.100s: this is no name", rest);
    if (snprintf(path, sizeof path, "%s/%s", folder, rest) >= (int)sizeof path)
        return vs_error_set(err, VS_E_LIMIT, "signing.key: the path is too long");
    return open_path(s, path, err);
}

static int open_token(struct supervisor *s, const char *rest, struct vs_error *err)
{
    snprintf(s->writer.root_uri, sizeof s->writer.root_uri, "pkcs11:%s", rest);
    return *rest ? VS_OK : vs_error_set(err, VS_E_INVALID, "signing.key pkcs11: an address must follow (RFC 7512)");
}

static const struct {
    const char *scheme;
    int (*open)(struct supervisor *s, const char *rest, struct vs_error *err);
} forms[] = {
    { "file:", open_file }, { "fd:", open_descriptor }, { "credential:", open_credential }, { "pkcs11:", open_token },
};

int signing_open(struct supervisor *s, struct vs_error *err)
{
    json_t *all = vs_json_parse(s->settings.policy.text, strlen(s->settings.policy.text), NULL);
    const char *where = json_string_value(json_object_get(json_object_get(all, "signing"), "key"));
    int rc = !where || !*where ? VS_OK
        : vs_error_set(err, VS_E_INVALID, "signing.key: it begins with file:, fd:, credential: or pkcs11:");
    for (size_t i = 0; where && i < sizeof forms / sizeof *forms; i++)
        if (strncmp(where, forms[i].scheme, strlen(forms[i].scheme)) == 0)
            rc = forms[i].open(s, where + strlen(forms[i].scheme), err);
    json_decref(all);
    return rc;
}

void signing_close(struct supervisor *s)
{
    if (s->writer.root_is_own)
        return;
    if (s->writer.root_fd >= 0)
        close(s->writer.root_fd);
    s->writer.root_fd = -1;
    s->writer.root_uri[0] = 0;
}
