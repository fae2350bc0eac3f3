/* prog/broker/control.c - what we and the supervisor say to each other: one JSON object a packet, descriptors beside it. */
#include "prog/broker/broker.h"

#include "ipc/json.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_PACKET (64u << 10)

int control_send(struct broker *b, json_t *message, int fd)
{
    struct vs_buf out = { .limit = MAX_PACKET };
    vs_json_dump(message, &out);
    json_decref(message);
    int status = out.status;
    if (status == VS_OK) {
        struct iovec io = { out.data, out.n };
        union {
            struct cmsghdr align;
            char bytes[CMSG_SPACE(sizeof(int))];
        } control;
        struct msghdr m = { .msg_iov = &io, .msg_iovlen = 1 };
        if (fd >= 0) {
            memset(&control, 0, sizeof control);
            m.msg_control = &control;
            m.msg_controllen = sizeof control;
            struct cmsghdr *h = CMSG_FIRSTHDR(&m);
            h->cmsg_level = SOL_SOCKET;
            h->cmsg_type = SCM_RIGHTS;
            h->cmsg_len = CMSG_LEN(sizeof fd);
            memcpy(CMSG_DATA(h), &fd, sizeof fd);
        }
        ssize_t n;
        do
            n = sendmsg(b->control_fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
        while (n < 0 && errno == EINTR);
        if (n < 0)
            status = errno == EAGAIN || errno == EWOULDBLOCK ? VS_E_BUSY : VS_E_SYSTEM;
    }
    vs_buf_clear(&out);
    return status;
}

static const char *text_of(const json_t *message, const char *key, const char *otherwise)
{
    const char *s = json_string_value(json_object_get(message, key));
    return s ? s : otherwise;
}

static int code_of(const json_t *message)
{
    int code = vs_status_parse(text_of(message, "error", ""));
    return code ? code : VS_E_SYSTEM;
}

static void on_started(struct broker *b, struct model *m, const json_t *message, int *fd)
{
    (void)b;
    if (!m || *fd < 0)
        return;
    model_started(b, m, *fd, message);
    *fd = -1;
}

static void on_failed(struct broker *b, struct model *m, const json_t *message, int *fd)
{
    (void)fd;
    if (m) {
        int code = code_of(message);
        const char *text = text_of(message, "message", "the model could not be started");
        model_drop(b, m, code, text);
        return;
    }
    if ((uint64_t)json_integer_value(json_object_get(message, "id")) != b->asked_id)
        return;
    for (struct request *r = b->asked.first, *after; r; r = after) {
        after = r->next;
        if (r->asked_id == b->asked_id)
            request_fail(b, r, code_of(message), text_of(message, "message", "the supervisor could not answer"));
    }
    ask_models_known(b);
}

static void on_exited(struct broker *b, struct model *m, const json_t *message, int *fd)
{
    (void)fd;
    if (m)
        model_exited(b, m, code_of(message), text_of(message, "message", "the worker ended"));
}

static void on_models(struct broker *b, struct model *m, const json_t *message, int *fd)
{
    (void)m;
    (void)fd;
    if (!b->asked_id || (uint64_t)json_integer_value(json_object_get(message, "id")) != b->asked_id)
        return;
    json_t *list = json_array(), *entry;
    size_t i;
    json_array_foreach(json_object_get(message, "models"), i, entry) {
        const char *name = text_of(entry, "name", NULL);
        const struct model *loaded = name ? model_find(b, name) : NULL;
        json_t *copy = json_copy(entry);
        json_object_set_new(copy, "loaded", json_boolean(loaded));
        if (loaded && loaded->digest[0])
            json_object_set_new(copy, "model_digest", json_string(loaded->digest));
        json_array_append_new(list, copy);
    }
    for (struct model *l = b->models; l; l = l->next)
        if (!l->gone && l->by_descriptor)
            json_array_append_new(list, json_pack("{s:s, s:O?, s:b, s:s?}", "name", l->name, "bytes", l->bytes, "loaded", 1,
                                                  "model_digest", l->digest[0] ? l->digest : NULL));
    json_t *result = json_pack("{s:o}", "models", list);
    json_t *folder = json_object_get(message, "path");
    if (folder)
        json_object_set(result, "path", folder);
    for (struct request *r = b->asked.first, *after; r; r = after) {
        after = r->next;
        if (r->asked_id == b->asked_id)
            request_complete(b, r, json_incref(result));
    }
    json_decref(result);
    ask_models_known(b);
}

static void on_drain(struct broker *b, struct model *m, const json_t *message, int *fd)
{
    (void)m;
    (void)fd;
    b->draining = true;
    const json_t *within = json_object_get(message, "within_ms");
    b->drained_at = json_is_integer(within) ? b->now + (uint64_t)json_integer_value(within) * MS : NEVER;
    if (b->listen_fd >= 0)
        close(b->listen_fd);
    b->listen_fd = -1;
}

static const struct {
    const char *op;
    void (*take)(struct broker *b, struct model *m, const json_t *message, int *fd);
} takers[] = {
    { "started", on_started }, { "failed", on_failed }, { "exited", on_exited },
    { "models", on_models },   { "drain", on_drain },
};

static void take_packet(struct broker *b, const char *packet, size_t n, int *fd)
{
    struct vs_error why;
    json_t *message = vs_json_parse(packet, n, &why);
    if (!message) {
        broker_log(b, "control message: %s", why.text);
        return;
    }
    const char *op = text_of(message, "op", "");
    struct model *m = model_find_id(b, (uint64_t)json_integer_value(json_object_get(message, "id")));
    for (size_t i = 0; i < sizeof takers / sizeof *takers; i++)
        if (strcmp(takers[i].op, op) == 0)
            takers[i].take(b, m, message, fd);
    json_decref(message);
}

void control_ready(struct broker *b)
{
    static char packet[MAX_PACKET];     /* too large for the stack; the broker is one thread */
    for (;;) {
        struct iovec io = { packet, sizeof packet };
        union {
            struct cmsghdr align;
            char bytes[CMSG_SPACE(sizeof(int))];
        } control;
        struct msghdr m = { .msg_iov = &io, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
        ssize_t n = recvmsg(b->control_fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        if (n <= 0) {
            b->ending = true;           /* no supervisor, no service */
            return;
        }
        int fd = -1;
        struct cmsghdr *h = CMSG_FIRSTHDR(&m);
        if (h && h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS)
            memcpy(&fd, CMSG_DATA(h), sizeof fd);
        take_packet(b, packet, (size_t)n, &fd);
        if (fd >= 0)
            close(fd);
    }
}
