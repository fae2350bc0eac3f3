/* prog/veritas/door.c - see door.h */
#include "prog/veritas/door.h"

#include "base/bytes.h"
#include "ipc/json.h"
#include "prog/veritas/term.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/sha.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { CONNECT_MS = 2000, BACKLOG = 512, MAX_FILE = 256 << 10, MAX_KEYS = 256 };

static struct door_listener *add(struct door *d, int fd, bool is_metrics, struct vs_error *err)
{
    if (d->n == DOOR_MAX_LISTENERS) {
        close(fd);
        vs_error_set(err, VS_E_LIMIT, "more than %d places to listen at", DOOR_MAX_LISTENERS);
        return NULL;
    }
    struct door_listener *l = &d->listeners[d->n++];
    *l = (struct door_listener){ .fd = fd, .is_metrics = is_metrics };
    return l;
}

static int busy(const char *where, int error, struct vs_error *err)
{
    if (error == EADDRINUSE)
        return vs_error_set(err, VS_E_BUSY, "%s is in use; --listen names another place", where);
    if (error == EACCES || error == EPERM)
        return vs_error_set(err, VS_E_DENIED, "%s may not be listened at: %s", where, strerror(error));
    return vs_error_set(err, VS_E_SYSTEM, "cannot listen at %s: %s", where, strerror(error));
}

static int open_unix(struct door *d, const char *path, bool is_metrics, struct vs_error *err)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct stat st;
    if (!*path || strlen(path) >= sizeof address.sun_path)
        return vs_error_set(err, VS_E_LIMIT, "the path of a socket has 1 to %zu bytes", sizeof address.sun_path - 1);
    memcpy(address.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return vs_error_set(err, VS_E_SYSTEM, "socket: %s", strerror(errno));
    if (lstat(path, &st) == 0) {
        if (!S_ISSOCK(st.st_mode) || connect(fd, (struct sockaddr *)&address, sizeof address) == 0 || errno != ECONNREFUSED) {
            close(fd);
            return vs_error_set(err, VS_E_BUSY, S_ISSOCK(st.st_mode) ? "somebody listens at %s" : "%s is there and is not a socket",
                                path);
        }
        unlink(path);                    /* left behind by one that was killed */
    }
    mode_t mask = umask(0177);
    bool done = bind(fd, (struct sockaddr *)&address, sizeof address) == 0;
    int error = errno;
    umask(mask);
    if (!done || listen(fd, BACKLOG) != 0) {
        error = done ? errno : error;
        close(fd);
        return busy(path, error, err);
    }
    struct door_listener *l = add(d, fd, is_metrics, err);
    if (!l)
        return VS_E_LIMIT;
    l->is_loopback = true;
    snprintf(l->path, sizeof l->path, "%s", path);
    snprintf(l->url, sizeof l->url, "unix:%s", path);
    return VS_OK;
}

static bool is_loopback(const struct sockaddr *a)
{
    if (a->sa_family == AF_INET)
        return (ntohl(((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr) >> 24) == 127;
    return a->sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr);
}

static in_port_t *port_of(struct sockaddr *a)
{
    return a->sa_family == AF_INET ? &((struct sockaddr_in *)(void *)a)->sin_port : &((struct sockaddr_in6 *)(void *)a)->sin6_port;
}

/* What is set here clients' sockets inherit. */
static int open_address(const struct addrinfo *a, struct sockaddr_storage *ret)
{
    int on = 1, error;
    socklen_t n = sizeof *ret;
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (a->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0 && getsockname(fd, (struct sockaddr *)ret, &n) == 0)
        return fd;
    error = errno;
    close(fd);
    errno = error;
    return -1;
}

static int open_tcp(struct door *d, const char *where, bool is_metrics, bool is_tls, struct vs_error *err)
{
    char host[sizeof d->listeners[0].host], name[80];
    const char *colon = strrchr(where, ':');
    size_t n = colon ? (size_t)(colon - where) : 0;
    bool is_six = n > 2 && where[0] == '[' && where[n - 1] == ']';
    int64_t number;
    if (!colon || n == 0 || n >= sizeof host || !vs_integer_parse(colon + 1, &number) || number < 0 || number > 65535
        || (!is_six && memchr(where, ':', n)))
        return vs_error_set(err, VS_E_INVALID, "'%s' is no place to listen at: HOST:PORT, [ADDRESS]:PORT or unix:PATH", where);
    snprintf(host, sizeof host, "%.*s", (int)(is_six ? n - 2 : n), where + is_six);
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV }, *list = NULL;
    int rc = getaddrinfo(host, colon + 1, &hints, &list);
    if (rc != 0)
        return vs_error_set(err, VS_E_INVALID, "%s: %s", host, gai_strerror(rc));
    in_port_t port = 0;
    rc = VS_OK;
    size_t before = d->n;
    for (struct addrinfo *a = list; a && rc == VS_OK; a = a->ai_next) {
        struct sockaddr_storage bound;
        if (a->ai_family != AF_INET && a->ai_family != AF_INET6)
            continue;
        if (port)
            *port_of(a->ai_addr) = port;
        int fd = open_address(a, &bound);
        if (fd < 0) {
            if (a->ai_next || d->n > before)
                continue;                /* a family that this machine lacks */
            rc = busy(where, errno, err);
            break;
        }
        struct door_listener *l = add(d, fd, is_metrics, err);
        if (!l) {
            rc = VS_E_LIMIT;
            break;
        }
        port = *port_of((struct sockaddr *)&bound);
        l->is_tls = is_tls;
        l->is_loopback = is_loopback((struct sockaddr *)&bound);
        memcpy(l->host, host, sizeof host);
        snprintf(name, sizeof name, "%s%.60s%s", is_six ? "[" : "", host, is_six ? "]" : "");
        if (d->n == before + 1)          /* one line for each place */
            snprintf(l->url, sizeof l->url, "%s://%s:%u", is_tls ? "https" : "http", name, (unsigned)ntohs(port));
    }
    freeaddrinfo(list);
    if (rc == VS_OK && d->n == before)
        rc = busy(where, errno, err);
    return rc;
}

/* ---- the collector of spans ---- */

int door_collector(const char *url, char ret_host[100], char ret_path[200], struct vs_error *err)
{
    size_t n = strncmp(url, "http:/" "/", 7) == 0 ? strcspn(url + 7, "/") : 0;
    const char *path = url + 7 + n, *colon = n ? memrchr(url + 7, ':', n) : NULL;
    int64_t port;
    char digits[8] = "";
    if (colon)
        snprintf(digits, sizeof digits, "%.*s", (int)(url + 7 + n - colon - 1), colon + 1);
    if (!colon || n >= 100 || strlen(path) >= 200 || strpbrk(url, " \t\r\n@") || !vs_integer_parse(digits, &port) || port < 1
        || port > 65535)
        return vs_error_set(err, VS_E_INVALID, "--otlp wants the scheme http, HOST:PORT and maybe a path (/v1/traces when there is "
                            "none)");
    snprintf(ret_host, 100, "%.*s", (int)n, url + 7);
    snprintf(ret_path, 200, "%s", path[0] && path[1] ? path : "/v1/traces");
    return VS_OK;
}

int door_connect(const char *where, int *ret_fd, struct vs_error *err)
{
    char host[100];
    const char *colon = strrchr(where, ':');
    bool is_six = where[0] == '[';
    snprintf(host, sizeof host, "%.*s", (int)(colon - where) - 2 * is_six, where + is_six);
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV }, *list = NULL;
    int rc = getaddrinfo(host, colon + 1, &hints, &list), fd = -1;
    for (struct addrinfo *a = rc == 0 ? list : NULL; a && fd < 0; a = a->ai_next) {
        int problem = 0;
        socklen_t n = sizeof problem;
        fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        struct pollfd p = { fd, POLLOUT, 0 };
        bool done = fd >= 0 && (connect(fd, a->ai_addr, a->ai_addrlen) == 0
                                || (errno == EINPROGRESS && poll(&p, 1, CONNECT_MS) == 1
                                    && getsockopt(fd, SOL_SOCKET, SO_ERROR, &problem, &n) == 0 && problem == 0));
        if (!done && fd >= 0) {
            close(fd);
            fd = -1;
        }
    }
    if (rc == 0)
        freeaddrinfo(list);
    if (fd < 0)
        return vs_error_set(err, VS_E_NOT_FOUND, "%s cannot be reached", where);
    *ret_fd = fd;
    return VS_OK;
}

int door_open(struct door *d, const char *where, bool is_metrics, bool is_tls, struct vs_error *err)
{
    return strncmp(where, "unix:", 5) == 0 ? open_unix(d, where + 5, is_metrics, err) : open_tcp(d, where, is_metrics, is_tls, err);
}

void door_close(struct door *d)
{
    for (size_t i = 0; i < d->n; i++) {
        close(d->listeners[i].fd);
        if (d->listeners[i].path[0])
            unlink(d->listeners[i].path);
    }
    d->n = 0;
}

/* ---- certificates ---- */

static int read_pem(const char *path, const char *key, json_t *ret, struct vs_error *err)
{
    char *text = NULL;
    size_t n = 0;
    int rc = vs_text_read(path, MAX_FILE, &text, &n, err);
    json_t *value = rc == VS_OK ? json_stringn(text, n) : NULL;
    if (rc == VS_OK && (!value || strlen(text) != n))
        rc = vs_error_set(err, VS_E_INVALID, "%s is not PEM", path);
    if (rc == VS_OK)
        json_object_set(ret, key, value);
    json_decref(value);
    if (text)
        explicit_bzero(text, n);
    free(text);
    return rc;
}

int door_secrets(const struct vs_args *args, struct vs_buf *ret, struct vs_error *err)
{
    json_t *value = json_object();
    int rc = VS_OK;
    if (vs_args_given(args, VS_OPT_TLS_CERT))
        rc = read_pem(vs_args_text(args, VS_OPT_TLS_CERT), "cert", value, err);
    if (rc == VS_OK && vs_args_given(args, VS_OPT_TLS_KEY))
        rc = read_pem(vs_args_text(args, VS_OPT_TLS_KEY), "key", value, err);
    if (rc == VS_OK) {
        vs_json_dump(value, ret);
        rc = ret->status == VS_OK ? VS_OK : vs_error_set(err, ret->status, "%s", vs_status_text(ret->status));
    }
    json_decref(value);
    return rc;
}
