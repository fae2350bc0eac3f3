/* prog/veritas/control.c - what the broker asks for: models, each with a worker of its own. */
#include "prog/veritas/serve.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/machine.h"
#include "ipc/json.h"
#include "ipc/name.h"
#include "prog/veritas/models.h"
#include "prog/veritas/term.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_TURN = 16, MAX_LISTED = 200, MAX_SCANNED = 4096 };  /* frames in a turn of the loop; models told; entries looked at */
#define LIST_TIME (1000 * MS)           /* the directory is read again after so long */
#define CONTROL_MEMORY (1u << 20)       /* bytes that may wait for the broker to read them */

/* ---- saying ---- */

/* A broker that does not read for so long that this is full is ended; it would not miss one message well. */
static int say_bytes(struct supervisor *s, uint16_t type, uint64_t id, const void *data, size_t n, int fd)
{
    if (s->control.fd < 0)
        return VS_OK;
    int status = vs_conn_send(&s->control, type, fd >= 0 ? VS_FLAG_FD : 0, id, data, n, fd);
    if (status != VS_OK && status != VS_E_BUSY && s->broker.pid > 0 && !s->ending)
        kill(s->broker.pid, SIGKILL);
    return status;
}

static int say(struct supervisor *s, uint16_t type, uint64_t id, json_t *value, int fd)
{
    struct vs_buf out = { .limit = VS_MAX_CHUNK };
    vs_json_dump(value, &out);
    json_decref(value);
    int status = out.status == VS_OK ? say_bytes(s, type, id, out.data, out.n, fd) : out.status;
    vs_buf_clear(&out);
    return status;
}

static void say_error(struct supervisor *s, uint16_t type, uint64_t id, int code, const char *text)
{
    say(s, type, id, vs_json_error(code, text), -1);
}

/* ---- models ---- */

static struct model *model_find(struct supervisor *s, uint64_t id)
{
    for (int i = 0; i < MAX_MODELS; i++)
        if (s->models[i].id == id)
            return &s->models[i];
    return NULL;
}

static void model_free(struct model *m)
{
    process_kill(&m->worker);
    if (m->id && m->file >= 0)
        close(m->file);
    if (m->id && m->draft >= 0)
        close(m->draft);
    json_decref(m->settings);
    free(m->text);
    *m = (struct model){ .file = -1, .draft = -1 };
}

/* Is the file another than the one that was opened? A worker that is started again would serve the wrong one. */
static bool is_changed(int fd, const struct stat *opened)
{
    struct stat now;
    char before[VS_FILE_IDENTITY], after[VS_FILE_IDENTITY];
    if (fstat(fd, &now) != 0)
        return true;
    vs_file_identity(opened, before);
    vs_file_identity(&now, after);
    return strcmp(before, after) != 0;
}

/* A path may have any bytes. */
static json_t *path_text(const char *path)
{
    return vs_json_text(path, strlen(path));
}

/* Starts the worker of m and hands its socket to the broker. */
static int start_worker(struct supervisor *s, struct model *m, struct vs_error *err)
{
    int pair[2] = { -1, -1 }, fds[N_CHILD_FDS], rc;
    char file[VS_FILE_IDENTITY];
    memset(fds, -1, sizeof fds);
    lseek(m->file, 0, SEEK_SET);
    fds[FD_MODEL] = m->file;
    fds[FD_DRAFT] = m->draft;
    if (m->draft >= 0)
        lseek(m->draft, 0, SEEK_SET);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0 || (fds[FD_SETTINGS] = settings_open(m->text)) < 0) {
        rc = vs_error_set(err, VS_E_SYSTEM, "cannot prepare a worker: %s", strerror(errno));
    } else {
        fds[FD_BROKER] = pair[1];
        rc = process_start(s, &m->worker, fds, err);
    }
    if (rc == VS_OK) {
        vs_file_identity(&m->st, file);
        rc = say(s, VS_MSG_STARTED, m->id,
                 json_pack("{s:I, s:s, s:o, s:I, s:s, s:O, s:b}", "pid", (json_int_t)m->worker.pid, "model", m->name,
                           "path", path_text(m->path), "bytes", (json_int_t)m->st.st_size, "file", file,
                           "settings", m->settings, "restored", !m->is_known),
                 pair[0]);
        if (rc != VS_OK) {
            process_kill(&m->worker);
            vs_error_set(err, rc, "the broker is too busy to be given a worker");
        } else {
            m->is_known = true;
        }
    }
    for (int i = 0; i < 2; i++)
        if (pair[i] >= 0)
            close(pair[i]);
    if (fds[FD_SETTINGS] >= 0)
        close(fds[FD_SETTINGS]);
    return rc;
}

static void give_up(struct supervisor *s, struct model *m, const struct vs_error *err)
{
    json_t *message = vs_json_error(err->code, err->text);
    if (m->is_too_large)                /* the broker may make room, and ask again */
        json_object_set_new(message, "needed", json_integer((json_int_t)m->needed));
    say(s, VS_MSG_FAILED, m->id, message, -1);
    model_free(m);
}

/* Starts it again, unless that makes no sense. */
static void start_again(struct supervisor *s, struct model *m)
{
    struct vs_error err = { 0 };
    bool changed = is_changed(m->file, &m->st) || (m->draft >= 0 && is_changed(m->draft, &m->draft_st));
    int rc = !changed ? start_worker(s, m, &err)
                      : vs_error_set(&err, VS_E_MALFORMED, "%s was changed while it was in use; try again when it is complete",
                                     m->path);
    if (rc == VS_E_BUSY) {
        process_back_off(&m->worker);
    } else if (rc != VS_OK) {
        vs_say_event(VS_LOG_ERROR, "model_failed", "serve: %s: %s", m->path, err.text);
        give_up(s, m, &err);
    }
}

bool models_reaped(struct supervisor *s, pid_t pid, int status)
{
    char why[400], text[480];
    bool again;
    for (int i = 0; i < MAX_MODELS; i++) {
        struct model *m = &s->models[i];
        if (!m->id || m->worker.pid != pid)
            continue;
        bool said = m->worker.words->kind == VS_WORDS_TEXT;
        int code = process_ended(&m->worker, status, why, sizeof why, &again);
        snprintf(text, sizeof text, said ? "%s" : "worker %s", why);
        json_t *message = vs_json_error(code, text);
        json_object_set_new(message, "sigkill", json_boolean(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL));
        json_object_set_new(message, "last", json_boolean(s->ending || !again));
        say(s, VS_MSG_EXITED, m->id, message, -1);
        if (s->ending || !again)
            m->worker.restart_at = 0;
        else if (s->private_fd < 0)     /* a private client gets the same words as its answer */
            vs_say_event(VS_LOG_WARNING, "worker_died", "serve: %s: %s; it is to be started again", m->path, text);
        return true;
    }
    return false;
}

uint64_t models_timers(struct supervisor *s, uint64_t now)
{
    uint64_t next = UINT64_MAX;
    for (int i = 0; i < MAX_MODELS && !s->ending; i++) {
        struct model *m = &s->models[i];
        if (m->id && m->worker.restart_at && now >= m->worker.restart_at)
            start_again(s, m);
        if (m->id && m->worker.restart_at && m->worker.restart_at < next)
            next = m->worker.restart_at;
    }
    return next;
}

void models_stop(struct supervisor *s)
{
    for (int i = 0; i < MAX_MODELS; i++) {
        process_kill(&s->models[i].worker);
        s->models[i].is_known = false;
    }
}

void models_free(struct supervisor *s)
{
    for (int i = 0; i < MAX_MODELS; i++)
        model_free(&s->models[i]);
}

/* ---- what the broker asks for ---- */

/* Does a client's path name the file of its descriptor? The kernel says what the file is called, without touching a file system
 * that may hang. Where the client means the same file by another name (a link), the name was looked up a moment ago by its open,
 * so what the kernel remembers is enough: nothing else is asked. */
static bool is_named(const char *path, int fd, char *ret_kernel, size_t n)
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, ret_kernel, n - 1);
    ret_kernel[length < 0 ? 0 : length] = 0;
    if (strcmp(path, ret_kernel) == 0)
        return true;
    struct open_how how = { .flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_CACHED };
    int other = (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how);
    struct stat a, b;
    bool same = other >= 0 && fstat(other, &a) == 0 && fstat(fd, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
    if (other >= 0)
        close(other);
    return same;
}

/* A client's own descriptor, or NAME.gguf of the model directory. */
static int open_model(struct supervisor *s, struct model *m, int fd, struct vs_error *err)
{
    static const char what[] = "the model";
    char kernel[sizeof m->path];
    if (fd < 0) {
        if (!vs_model_name_is_valid(m->name) ||
            snprintf(m->path, sizeof m->path, "%s/%s.gguf", s->directory, m->name) >= (int)sizeof m->path)
            return vs_model_missing(m->name, err);
        int rc = vs_file_open(what, m->path, &m->file, &m->st, err);
        return rc == VS_E_NOT_FOUND ? vs_model_missing(m->name, err) : rc;
    }
    memcpy(m->path, m->name, sizeof m->path);
    int rc = vs_file_check(what, m->path, fd, &m->st, err);
    if (rc != VS_OK)
        return rc;
    if (!is_named(m->name, fd, kernel, sizeof kernel))
        return vs_error_set(err, VS_E_INVALID,
                            "the name %.200s is not that of the descriptor's file, which the daemon sees as %.200s",
                            m->name, kernel[0] ? kernel : "one without a name");
    m->file = fcntl(fd, F_DUPFD_CLOEXEC, HIGH_FD);
    return m->file >= 0 ? VS_OK : vs_error_set(err, VS_E_SYSTEM, "%s: %s", m->path, strerror(errno));
}

static int missing_draft(const char *name, struct vs_error *err)
{
    struct vs_error why = { 0 };
    vs_model_missing(name, &why);
    return vs_error_set(err, VS_E_NOT_FOUND, "the draft: %s", why.text);
}

/* The draft is NAME.gguf of the model directory, and not the model. */
static int open_draft(struct supervisor *s, struct model *m, struct vs_error *err)
{
    const char *name = json_string_value(json_object_get(m->settings, "draft"));
    char path[PATH_MAX];
    if (!name)
        return VS_OK;
    if (!vs_model_name_is_valid(name) || snprintf(path, sizeof path, "%s/%s.gguf", s->directory, name) >= (int)sizeof path)
        return vs_error_set(err, VS_E_INVALID, "the draft '%.100s' is not a name of the model directory", name);
    int rc = vs_file_open("the draft", path, &m->draft, &m->draft_st, err);
    if (rc != VS_OK)
        return rc == VS_E_NOT_FOUND ? missing_draft(name, err) : rc;
    if (m->draft_st.st_dev == m->st.st_dev && m->draft_st.st_ino == m->st.st_ino)
        return vs_error_set(err, VS_E_INVALID, "the draft '%s' is the model itself", name);
    return VS_OK;
}

/* The settings that were asked for, and what this machine has, of which the model may take `room`. NULL: out of memory. */
static char *settings_text(const json_t *asked, uint64_t room)
{
    struct vs_machine machine;
    vs_machine_read("", &machine);
    if (machine.free_bytes > room)
        machine.free_bytes = room;      /* the rest is for other models */
    /* A worker inherits our limits: what they leave is all that it has, whatever the machine has. */
    static const __rlimit_resource_t inherited[] = { RLIMIT_DATA, RLIMIT_AS };
    for (size_t i = 0; i < sizeof inherited / sizeof *inherited; i++) {
        struct rlimit r;
        if (getrlimit(inherited[i], &r) == 0 && r.rlim_cur < machine.free_bytes)
            machine.free_bytes = r.rlim_cur;
    }
    json_t *all = json_deep_copy(asked);
    json_object_set_new(all, "n_cpus", json_integer(machine.n_cpus));
    json_object_set_new(all, "free_bytes", json_integer((json_int_t)machine.free_bytes));
    char *text = all ? json_dumps(all, JSON_COMPACT) : NULL;
    json_decref(all);
    return text;
}

/* An alias must not hide a model of the directory. */
static int check_alias(const struct supervisor *s, const struct model *m, struct vs_error *err)
{
    const char *alias = json_string_value(json_object_get(m->settings, "alias"));
    char path[PATH_MAX];
    if (!alias)
        return VS_OK;
    if (!vs_model_name_is_valid(alias) || snprintf(path, sizeof path, "%s/%s.gguf", s->directory, alias) >= (int)sizeof path)
        return vs_error_set(err, VS_E_INVALID, "the alias '%.100s' is not a name (a-z 0-9 . _ -)", alias);
    return access(path, F_OK) == 0 ? vs_error_set(err, VS_E_INVALID, "the alias '%s' is a model of the directory", alias) : VS_OK;
}

/* Bytes of the file that are there: a hole is no memory, and the worker says what is wrong with it. */
static uint64_t stored(const struct stat *st)
{
    uint64_t there = (uint64_t)st->st_blocks * 512;
    return there < (uint64_t)st->st_size ? there : (uint64_t)st->st_size;
}

/* Asked before memory is taken: is there room for what the files hold, and for the cache that was asked for? */
static int check_room(struct model *m, uint64_t room, struct vs_error *err)
{
    json_int_t kv = json_integer_value(json_object_get(m->settings, "kv_memory"));
    m->needed = stored(&m->st) + (kv > 0 ? (uint64_t)kv : 0) + (m->draft >= 0 ? stored(&m->draft_st) : 0);
    m->is_too_large = m->needed > room;
    if (!m->is_too_large)
        return VS_OK;
    return vs_error_set(err, VS_E_NOMEM, "there is no room for the model %.100s: it needs %llu MiB or more, and of what all models "
                        "may take together (veritas serve --memory) %llu MiB are left", m->name,
                        (unsigned long long)(m->needed >> 20), (unsigned long long)(room >> 20));
}

/* Fills m with a model that a worker can be started for; fd: the client's, or -1. After a failure it must be freed. */
static int model_open(struct supervisor *s, struct model *m, uint64_t id, const char *name, json_t *asked, int fd, uint64_t room,
                      struct vs_error *err)
{
    *m = (struct model){ .id = id, .worker.kind = PROCESS_WORKER, .file = -1, .draft = -1 };
    memcpy(m->name, name, strlen(name) + 1);
    m->settings = settings_of(&s->settings, name, asked);
    m->text = m->settings ? settings_text(m->settings, room) : NULL;
    int rc = m->text ? check_alias(s, m, err) : vs_error_set(err, VS_E_NOMEM, "out of memory");
    if (rc == VS_OK)
        rc = open_model(s, m, fd, err);
    if (rc == VS_OK)
        rc = open_draft(s, m, err);
    return rc == VS_OK ? check_room(m, room, err) : rc;
}

int models_load(struct supervisor *s, struct vs_error *err)
{
    const json_t *name;
    size_t i;
    json_array_foreach(s->settings.loads, i, name) {
        const char *text = json_string_value(name);
        struct vs_error why;
        int rc = model_open(s, &s->models[i], i + 1, text, NULL, -1, UINT64_MAX, &why);
        if (rc != VS_OK)
            return vs_error_set(err, rc, "model %s: %s", text, why.text);
    }
    return VS_OK;
}

static int on_start(struct supervisor *s, const struct vs_frame *f)
{
    struct vs_error err = { 0 };
    struct model *m = model_find(s, 0);
    json_t *message = vs_json_parse(f->data, f->n, &err), *settings = json_object_get(message, "settings");
    const char *name = json_string_value(json_object_get(message, "model"));
    if (!name || strlen(name) >= sizeof m->name || !json_is_object(settings)) {
        json_decref(message);
        return VS_E_PROTOCOL;
    }
    if (!m) {
        vs_error_set(&err, VS_E_BUSY, "more than %d models at once", MAX_MODELS);
        say_error(s, VS_MSG_FAILED, f->id, err.code, err.text);
        json_decref(message);
        return VS_OK;
    }
    const json_t *room = json_object_get(message, "room");
    int rc = model_open(s, m, f->id, name, settings, f->fd, room ? (uint64_t)json_integer_value(room) : UINT64_MAX, &err);
    m->is_known = true;
    if (rc == VS_OK)
        rc = start_worker(s, m, &err);
    if (rc != VS_OK)
        give_up(s, m, &err);
    json_decref(message);
    return VS_OK;
}

static int on_stop(struct supervisor *s, const struct vs_frame *f)
{
    struct model *m = model_find(s, f->id);
    if (m)
        model_free(m);
    return VS_OK;
}

/* A worker that hangs: it dies, and is started again like one that died by itself. */
static int on_kill(struct supervisor *s, const struct vs_frame *f)
{
    struct model *m = model_find(s, f->id);
    if (m && m->worker.pid > 0)
        kill(m->worker.pid, SIGKILL);
    return VS_OK;
}

static json_t *list_directory(const char *path)
{
    json_t *list = json_array();
    DIR *d = opendir(path);
    struct dirent *e;
    for (int i = 0; d && i < MAX_SCANNED && json_array_size(list) < MAX_LISTED && (e = readdir(d)); i++) {
        size_t n = strlen(e->d_name);
        char name[VS_MODEL_NAME_MAX + 1];
        if (n < 6 || n - 5 > VS_MODEL_NAME_MAX || strcmp(e->d_name + n - 5, ".gguf") != 0)
            continue;
        memcpy(name, e->d_name, n - 5);
        name[n - 5] = 0;
        struct stat st;
        if (vs_model_name_is_valid(name) && fstatat(dirfd(d), e->d_name, &st, 0) == 0 && S_ISREG(st.st_mode))
            json_array_append_new(list, json_pack("{s:s, s:I}", "name", name, "bytes", (json_int_t)st.st_size));
    }
    if (d)
        closedir(d);
    return list;
}

/* Costs the same however often it is asked: the directory is read once in a second, and no further than MAX_SCANNED. */
static int on_models(struct supervisor *s, const struct vs_frame *f)
{
    uint64_t now = vs_clock_ns();
    if (!s->listed || now - s->listed_at >= LIST_TIME) {
        json_decref(s->listed);
        s->listed = list_directory(s->directory);
        s->listed_at = vs_clock_ns();
    }
    say(s, VS_MSG_MODELS, f->id, json_pack("{s:o, s:O}", "path", path_text(s->directory), "models", s->listed), -1);
    return VS_OK;
}

static int on_end(struct supervisor *s, const struct vs_frame *f)
{
    (void)f;
    if (!s->ending)
        supervisor_end(s);
    return VS_OK;
}

static int on_hello(struct supervisor *s, const struct vs_frame *f)
{
    (void)f;
    s->control.state = VS_AT_OPEN;
    vs_notify_send(&s->notify, "READY=1\nSTATUS=accepts clients");
    return VS_OK;
}

static int on_alive(struct supervisor *s, const struct vs_frame *f)
{
    (void)f;
    vs_notify_send(&s->notify, "WATCHDOG=1");
    return VS_OK;
}

void control_ask(struct supervisor *s)
{
    if (s->control.state == VS_AT_OPEN)
        say_bytes(s, VS_MSG_ALIVE, 0, NULL, 0, -1);
}

static const struct {
    uint16_t type;
    int (*take)(struct supervisor *s, const struct vs_frame *f);
} handlers[] = {
    { VS_MSG_HELLO, on_hello },   { VS_MSG_START, on_start },   { VS_MSG_STOP, on_stop },     { VS_MSG_KILL, on_kill },
    { VS_MSG_MODELS, on_models }, { VS_MSG_END, on_end },       { VS_MSG_ALIVE, on_alive },
};
enum { N_HANDLERS = sizeof handlers / sizeof *handlers };

uint16_t control_unhandled(void)
{
    return vs_ipc_unhandled(&vs_ipc_to_supervisor, handlers, N_HANDLERS, sizeof *handlers);
}

static unsigned state_of(const void *supervisor, uint64_t id)
{
    const struct supervisor *s = supervisor;
    for (int i = 0; i < MAX_MODELS; i++)
        if (s->models[i].id == id)
            return VS_AT_BEGUN;
    return VS_AT_FREE;
}

void control_open(struct supervisor *s, int fd)
{
    static struct vs_budget memory = { .limit = CONTROL_MEMORY };
    vs_conn_init(&s->control, fd, &vs_ipc_to_supervisor, VS_AT_START);
    s->control.state_of = state_of;
    s->control.context = s;
    s->control.budget = &memory;
    s->control_has_more = false;
    for (int i = 0; i < MAX_MODELS; i++)        /* of the time before a broker died: with the settings that they had */
        if (s->models[i].id)
            start_again(s, &s->models[i]);
    say_bytes(s, VS_MSG_HELLO, 0, NULL, 0, -1); /* now clients may come */
}

void control_close(struct supervisor *s)
{
    vs_conn_clear(&s->control);
    s->control_has_more = false;
}

void control_drain(struct supervisor *s, uint64_t within)
{
    uint8_t ms[4];
    vs_store_u32le(ms, (uint32_t)(within / MS));
    say_bytes(s, VS_MSG_DRAIN, 0, ms, sizeof ms, -1);
}

void control_ready(struct supervisor *s, short events)
{
    struct vs_frame f;
    struct vs_error why = { 0 };
    int status = VS_OK;
    if (events & POLLOUT)
        vs_conn_flush(&s->control);
    if (!s->control_has_more && !(events & (POLLIN | POLLHUP | POLLERR)))
        return;
    if (!s->control_has_more)
        status = vs_conn_read(&s->control);
    s->control_has_more = false;
    for (int i = 0; status == VS_OK && (status = vs_conn_next(&s->control, &f, &why)) == VS_OK; i++) {
        size_t handler = vs_ipc_handler(handlers, N_HANDLERS, sizeof *handlers, f.type);
        if (f.is_refused || (status = handlers[handler].take(s, &f)) != VS_OK)
            vs_error_set(&why, status = VS_E_PROTOCOL, "message '%s' is malformed", vs_message_name(f.type));
        if (f.fd >= 0)
            close(f.fd);
        if (status == VS_OK && i + 1 == MAX_TURN) {
            s->control_has_more = true; /* signals and timers have their turn first */
            return;
        }
    }
    if (status == VS_E_BUSY)
        return;
    if (status != VS_E_DIED) {          /* strangers talk to it: it may not be itself any more */
        vs_say_event(VS_LOG_ERROR, "broker_stopped", "serve: the broker broke the rules of the control link: %s",
                     why.text[0] ? why.text : vs_status_text(status));
        if (s->broker.pid > 0)
            kill(s->broker.pid, SIGKILL);
    }
    control_close(s);                   /* its exit status comes by SIGCHLD */
}
