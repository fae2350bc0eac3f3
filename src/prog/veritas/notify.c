/* prog/veritas/notify.c - see notify.h */
#include "prog/veritas/notify.h"

#include "prog/veritas/options.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int64_t number_of(const char *name)
{
    int64_t value = 0;
    const char *text = getenv(name);
    return text && vs_integer_parse(text, &value) && value > 0 ? value : 0;
}

/* How often we must be heard of; not when another process is meant. */
static uint64_t watchdog_ns(void)
{
    int64_t usec = number_of("WATCHDOG_USEC");
    if ((getenv("WATCHDOG_PID") && number_of("WATCHDOG_PID") != getpid()) || usec > INT64_MAX / 1000)
        return 0;
    return (uint64_t)usec * 1000;
}

void vs_notify_open(struct vs_notify *n)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    const char *name = getenv("NOTIFY_SOCKET");
    size_t length = name ? strlen(name) : 0;
    *n = (struct vs_notify){ .fd = -1 };
    if (length < 2 || length >= sizeof address.sun_path || (name[0] != '/' && name[0] != '@'))
        return;
    memcpy(address.sun_path, name, length);
    if (name[0] == '@')
        address.sun_path[0] = 0;        /* abstract: its length counts, there is no NUL at its end */
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length)) == 0) {
        n->fd = fd;
        n->watchdog_ns = watchdog_ns();
    } else if (fd >= 0) {
        close(fd);
    }
}

void vs_notify_send(const struct vs_notify *n, const char *lines)
{
    if (n->fd >= 0)
        (void)!send(n->fd, lines, strlen(lines), MSG_NOSIGNAL);
}

void vs_notify_close(struct vs_notify *n)
{
    if (n->fd >= 0)
        close(n->fd);
    n->fd = -1;
}
