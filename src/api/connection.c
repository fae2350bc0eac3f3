/* api/connection.c - a connection: which daemon, and the one descriptor that a poll loop needs.
 *
 *     veritas_fd: epoll ---- socket      to read; to write while bytes are queued
 *                       \--- eventfd     a cancel from another thread, or events that are here already
 */
#include "api/internal.h"

#include "base/word.h"
#include "ipc/json.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { MAX_NAME = 128 };

/* ---- the program of a private daemon ---- */

/* The folder of the file that holds this library's code; "" when its absolute path is not known. */
static void own_folder(char ret[PATH_MAX])
{
    Dl_info info;
    union { void (*function)(veritas *); const void *address; } us = { veritas_close };
    ret[0] = 0;
    if (dladdr(us.address, &info) == 0 || !info.dli_fname || info.dli_fname[0] != '/' || strlen(info.dli_fname) >= PATH_MAX)
        return;
    snprintf(ret, PATH_MAX, "%s", info.dli_fname);
    *strrchr(ret, '/') = 0;
}

/* Beside the library as it is installed, however it was moved; else where programs of this machine are. Never by PATH, never in the
 * folder that the caller stands in. */
static int find_program(char ret[PATH_MAX], struct vs_error *err)
{
    char own[PATH_MAX];
    own_folder(own);
    const char *const folders[] = { own, "/usr/local/bin", "/usr/bin" };
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        if (folders[i][0] && snprintf(ret, PATH_MAX, "%s/%sveritas", folders[i], i == 0 ? VERITAS_LIB_TO_BIN "/" : "") < PATH_MAX
            && access(ret, X_OK) == 0)
            return VS_OK;
    return vs_error_set(err, VS_E_NOT_FOUND, "the program veritas, to be a private daemon, is neither beside this library (%s) nor "
                        "in /usr/local/bin nor in /usr/bin; `program` of the options names another",
                        own[0] ? own : "whose path is not known");
}

static int open_private(const struct veritas_options *o, const char *name, struct vs_client **ret, struct vs_error *err)
{
    char path[PATH_MAX];
    struct vs_error why;
    int status = o->program ? VS_OK : find_program(path, err);
    if (status == VS_OK && (status = vs_client_private(o->program ? o->program : path, false, o->log_fd, name, ret, &why)) != VS_OK)
        vs_error_set(err, status, "%s%s", why.text,
                     status == VS_E_DIED && o->log_fd < 0 ? "; log_fd of the options can show why" : "");
    return status;
}

static int open_client(const struct veritas_options *o, struct vs_client **ret, struct vs_error *err)
{
    char name[MAX_NAME];
    snprintf(name, sizeof name, "%s", o->name ? o->name : program_invocation_short_name);
    if (o->fd >= 0) {
        int copy = fcntl(o->fd, F_DUPFD_CLOEXEC, 3);
        return copy >= 0 ? vs_client_adopt(copy, name, o->key, ret, err)
            : vs_error_set(err, VS_E_INVALID, "fd %d of the options: %s", o->fd, strerror(errno));
    }
    if (o->mode == VERITAS_PRIVATE)
        return open_private(o, name, ret, err);
    int status = vs_client_connect(o->socket, name, o->key, ret, err);
    if (status != VS_E_NOT_FOUND || o->mode == VERITAS_RUNNING || o->socket)
        return status;
    return open_private(o, name, ret, err);
}

/* ---- what is polled ---- */

static int watch(const veritas *v, int how, int fd, uint32_t events)
{
    struct epoll_event e = { .events = events, .data = { .fd = fd } };
    return epoll_ctl(v->poll_fd, how, fd, &e);
}

/* Also in a signal handler, and by other threads. */
void vs_api_wake(const struct veritas *v)
{
    uint64_t one = 1;
    ssize_t n;
    do
        n = write(v->wake_fd, &one, sizeof one);    /* full: then it is readable anyhow */
    while (n < 0 && errno == EINTR);
}

bool vs_api_is_any_running(const struct veritas *v)
{
    const veritas_request *r = v->requests;
    while (r && !r->is_running)
        r = r->next;
    return r != NULL;
}

void vs_api_settle(struct veritas *v)
{
    int fd = vs_client_fd(v->client);
    bool is_over = fd < 0 || v->lost.code != VS_OK, writes = !is_over && vs_client_wants_write(v->client);
    if (is_over && v->polls_socket) {   /* a dead socket is readable for ever */
        epoll_ctl(v->poll_fd, EPOLL_CTL_DEL, v->socket, NULL);
        v->polls_socket = false;
    } else if (v->polls_socket && writes != v->polls_write && watch(v, EPOLL_CTL_MOD, fd, EPOLLIN | (writes ? EPOLLOUT : 0)) == 0) {
        v->polls_write = writes;
    }
    if (!v->is_awake && (v->kept || (is_over ? vs_api_is_any_running(v) : vs_client_has_more(v->client)))) {
        v->is_awake = true;
        vs_api_wake(v);
    }
}

/* ---- open and close ---- */

int veritas_open(const struct veritas_options *options, veritas **ret_v, struct veritas_error *err)
{
    struct veritas_options o = VERITAS_OPTIONS_INIT;
    struct vs_error why;
    if (!ret_v)
        return vs_api_error(err, VS_E_INVALID, "ret_v is NULL");
    const size_t before = offsetof(struct veritas_options, key);       /* programs that were built before there were keys */
    if (options && options->size != sizeof o && options->size != before)
        return vs_api_error(err, options->size > sizeof o ? VS_E_UNSUPPORTED : VS_E_INVALID,
                            "the options have %zu byte%s, not %zu: begin with VERITAS_OPTIONS_INIT of this version's header",
                            options->size, vs_plural(options->size), sizeof o);
    if (options)
        memcpy(&o, options, options->size);
    if (o.mode < VERITAS_EITHER || o.mode > VERITAS_PRIVATE)
        return vs_api_error(err, VS_E_INVALID, "%d is no mode", o.mode);
    if (o.key && !vs_json_is_text(o.key))
        return vs_api_error(err, VS_E_INVALID, "a key is UTF-8");
    if (o.name && (strlen(o.name) >= MAX_NAME || !vs_json_is_text(o.name)))
        return vs_api_error(err, VS_E_INVALID, "a name is UTF-8 of less than %d bytes", MAX_NAME);
    veritas *v = calloc(1, sizeof *v);
    if (!v)
        return vs_api_error(err, VS_E_NOMEM, "%s", vs_status_text(VS_E_NOMEM));
    v->kept_end = &v->kept;
    v->poll_fd = epoll_create1(EPOLL_CLOEXEC);
    v->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int status = v->poll_fd < 0 || v->wake_fd < 0 || watch(v, EPOLL_CTL_ADD, v->wake_fd, EPOLLIN) != 0
        ? vs_error_set(&why, VS_E_SYSTEM, "epoll, eventfd: %s", strerror(errno)) : open_client(&o, &v->client, &why);
    if (status == VS_OK) {
        v->socket = vs_client_fd(v->client);
        v->polls_socket = watch(v, EPOLL_CTL_ADD, v->socket, EPOLLIN) == 0;
        if (!v->polls_socket)
            status = vs_error_set(&why, VS_E_SYSTEM, "epoll: %s", strerror(errno));
    }
    if (status != VS_OK) {
        veritas_close(v);
        return vs_api_fail(err, &why);
    }
    vs_api_settle(v);
    *ret_v = v;
    return VERITAS_OK;
}

void veritas_close(veritas *v)
{
    if (!v)
        return;
    if (v->is_in_run) {
        v->is_doomed = true;
        return;
    }
    for (veritas_request *r = v->requests, *next; r; r = next) {
        next = r->next;
        r->v = NULL;
        r->is_running = false;
    }
    vs_api_forget(v, NULL);
    vs_client_close(v->client);
    if (v->poll_fd >= 0)
        close(v->poll_fd);
    if (v->wake_fd >= 0)
        close(v->wake_fd);
    vs_buf_clear(&v->text);
    vs_buf_clear(&v->json);
    free(v);
}

int veritas_is_private(const veritas *v)
{
    return v && vs_client_is_private(v->client);
}

int veritas_fd(const veritas *v)
{
    return v ? v->poll_fd : -1;
}
