/* prog/veritas/socket.c - where clients connect: the socket in a folder that is ours, and ours alone. */
#include "prog/veritas/serve.h"

#include "client/client.h"
#include "prog/veritas/models.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LISTEN_BACKLOG = 64 };

/* Does a daemon listen there? A broker whose supervisor was killed a moment ago still may, until it has died of it: so
 * the answer counts when it stays the same for half a second. */
static bool is_live(const struct sockaddr_un *address)
{
    for (int i = 0; i < 6; i++) {
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        /* too busy to accept */
        bool live = fd >= 0 && (connect(fd, (const struct sockaddr *)address, sizeof *address) == 0 || errno == EAGAIN);
        if (fd >= 0)
            close(fd);
        if (!live)
            return false;
        if (i < 5)
            poll(NULL, 0, 100);
    }
    return true;
}

/* Its members may go through the folder and connect; nobody may write there. */
static int open_to_group(const char *folder, const char *path, const char *group, struct vs_error *err)
{
    errno = 0;
    const struct group *g = getgrnam(group);
    if (!g)
        return vs_error_set(err, VS_E_NOT_FOUND, "identity.socket_group: there is no group '%.60s'%s%s", group,
                            errno ? ": " : "", errno ? strerror(errno) : "");
    if (chown(folder, (uid_t)-1, g->gr_gid) != 0 || chmod(folder, 0710) != 0 || chown(path, (uid_t)-1, g->gr_gid) != 0
        || chmod(path, 0660) != 0)
        return vs_error_set(err, VS_E_DENIED, "identity.socket_group: %s cannot be given to the group %.60s: %s", path, group,
                            strerror(errno));
    return VS_OK;
}

int listener_open(struct listener *l, const char *path, const char *group, struct vs_error *err)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    char folder[sizeof address.sun_path];
    int rc = VS_OK;
    if (path && strlen(path) >= sizeof l->path)
        return vs_error_set(err, VS_E_LIMIT, "the socket's path is longer than %zu bytes", sizeof l->path - 1);
    if (path)
        memcpy(l->path, path, strlen(path) + 1);
    else if (vs_client_socket_path(l->path, sizeof l->path) != VS_OK)
        return vs_error_set(err, VS_E_LIMIT, "the socket's path is too long; set VERITAS_SOCKET to a shorter one");
    else if ((rc = vs_client_place_check(l->path, err)) != VS_OK)
        return rc;
    memcpy(address.sun_path, l->path, sizeof address.sun_path);
    memcpy(folder, l->path, sizeof folder);
    char *slash = strrchr(folder, '/');
    if (!slash || slash == folder)
        return vs_error_set(err, VS_E_INVALID, "the socket's path '%s' has no directory of its own", l->path);
    *slash = 0;
    rc = vs_directory_make(folder, err);
    struct stat st;
    if (rc != VS_OK)
        return rc;
    if (lstat(folder, &st) != 0 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid())
        return vs_error_set(err, VS_E_DENIED, "%s is not a directory of this user", folder);
    if (st.st_mode & 022)
        return vs_error_set(err, VS_E_DENIED,
                            "%s may be written by others; run chmod 700 on it or choose another socket with --socket", folder);
    /* Two daemons that start at once: the second looks when the first one listens. The lock goes when this returns. */
    int lock = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd = -1;
    if (lock < 0 || flock(lock, LOCK_EX) != 0) {
        rc = vs_error_set(err, VS_E_SYSTEM, "cannot lock %s: %s", folder, strerror(errno));
        goto out;
    }
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        rc = vs_error_set(err, VS_E_SYSTEM, "socket: %s", strerror(errno));
        goto out;
    }
    if (lstat(l->path, &st) == 0) {
        if (!S_ISSOCK(st.st_mode)) {
            rc = vs_error_set(err, VS_E_INVALID, "%s is there and is not a socket", l->path);
            goto out;
        }
        if (is_live(&address)) {
            rc = vs_error_set(err, VS_E_BUSY, "a daemon already listens at %s; `veritas stop` ends it", l->path);
            goto out;
        }
        unlink(l->path);              /* left behind by one that was killed */
    }
    mode_t mask = umask(0177);
    bool done = bind(fd, (struct sockaddr *)&address, sizeof address) == 0;
    int error = errno;
    umask(mask);
    if (!done || listen(fd, LISTEN_BACKLOG) != 0) {
        rc = vs_error_set(err, VS_E_SYSTEM, "%s: %s", l->path, strerror(done ? errno : error));
        goto out;
    }
    if (*group && (rc = open_to_group(folder, l->path, group, err)) != VS_OK) {
        unlink(l->path);
        goto out;
    }
    if (lstat(l->path, &st) == 0) {
        l->inode = st.st_ino;
        l->made = st.st_mtim;
    }
    l->fd = fd;
    fd = -1;
out:
    if (fd >= 0)
        close(fd);
    if (lock >= 0)
        close(lock);
    return rc;
}

void listener_close(struct listener *l)
{
    char folder[sizeof l->path];
    struct stat st;
    if (l->fd < 0)
        return;
    close(l->fd);                       /* first: who holds the lock may be looking whether somebody listens */
    l->fd = -1;
    memcpy(folder, l->path, sizeof folder);
    *strrchr(folder, '/') = 0;
    int lock = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (lock >= 0 && flock(lock, LOCK_EX) == 0 && lstat(l->path, &st) == 0 && st.st_ino == l->inode
        && st.st_mtim.tv_sec == l->made.tv_sec && st.st_mtim.tv_nsec == l->made.tv_nsec)
        unlink(l->path);
    if (lock >= 0)
        close(lock);
}
