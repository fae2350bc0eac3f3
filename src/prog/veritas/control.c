/* prog/veritas/control.c - what the broker asks for: models, each with a worker of its own. */
#include "prog/veritas/serve.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/machine.h"
#include "base/word.h"
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

/* frames in a turn of the loop; models told; entries looked at; refused requests that are remembered; names that a loaded model
 * gets */
enum { MAX_TURN = 16, MAX_LISTED = 200, MAX_SCANNED = 4096, MAX_REFUSED = 256, MAX_ALIASES = 16 };
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
    guard_kill(m);
    vs_files_close(&m->files);
    if (m->id && m->draft >= 0)
        close(m->draft);
    json_decref(m->settings);
    json_decref(m->aliases);
    free(m->text);
    *m = (struct model){ .draft = -1, .guard_link.fd = -1 };
}

/* Are the files others than those that were opened? A worker that is started again would serve the wrong ones. */
static bool are_changed(const struct vs_files *files, const char *opened)
{
    char now[VS_FILE_IDENTITY];
    vs_files_identity(files, now);
    return strcmp(now, opened) != 0;
}

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

static json_t *started_message(const struct model *m)
{
    return json_pack("{s:I, s:s, s:o, s:I, s:s, s:O, s:O*, s:b, s:{s:i, s:i}}", "pid", (json_int_t)m->worker.pid, "model",
                     m->name, "path", path_text(m->path), "bytes", (json_int_t)m->bytes, "file", m->identity, "settings",
                     m->settings, "aliases", m->aliases, "restored", !m->is_known, "guard", "pid", (int)m->guard.pid, "restarts",
                     (int)m->guard_restarts);
}

/* A guard alone: what it is asked needs no model. */
static int start_scanner(struct supervisor *s, struct model *m, struct vs_error *err)
{
    int broker[2];
    m->worker.restart_at = 0;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, broker) != 0)
        return vs_error_set(err, VS_E_SYSTEM, "cannot prepare a guard: %s", strerror(errno));
    int rc = guard_start(s, m, err);
    if (rc == VS_OK)
        rc = guard_hand(m, -1, broker[1], err);
    json_t *message = json_pack("{s:i, s:{s:i, s:i}}", "pid", (int)m->guard.pid, "guard", "pid", (int)m->guard.pid, "restarts",
                                (int)m->guard_restarts);
    if (rc == VS_OK && (rc = say(s, VS_MSG_STARTED, m->id, json_incref(message), broker[0])) != VS_OK)
        vs_error_set(err, rc, "the broker is too busy to be given a guard");
    json_decref(message);
    close(broker[0]);
    close(broker[1]);
    return rc;
}

/* Starts the worker of m, and before the first its guard: one socket between them, and another from the guard to the broker. The
 * worker comes first, for it has a model to load. */
static int start_worker(struct supervisor *s, struct model *m, struct vs_error *err)
{
    int pair[2] = { -1, -1 }, broker[2] = { -1, -1 }, fds[N_CHILD_FDS], rc;
    memset(fds, -1, sizeof fds);
    struct vs_files more = { 0 };
    for (unsigned i = 0; i < m->files.n; i++)
        lseek(m->files.fd[i], 0, SEEK_SET);
    for (unsigned i = 1; i < m->files.n; i++)
        more.fd[more.n++] = m->files.fd[i];
    fds[FD_MODEL] = m->files.fd[0];
    fds[FD_DRAFT] = m->draft;
    if (m->draft >= 0)
        lseek(m->draft, 0, SEEK_SET);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0
        || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, broker) != 0 || (fds[FD_SETTINGS] = settings_open(m->text)) < 0) {
        rc = vs_error_set(err, VS_E_SYSTEM, "cannot prepare a worker: %s", strerror(errno));
    } else {
        fds[FD_GUARD] = pair[1];
        rc = process_start(s, &m->worker, fds, &more, err);
    }
    if (rc == VS_OK)
        rc = guard_start(s, m, err);
    if (rc == VS_OK)
        rc = guard_hand(m, pair[0], broker[1], err);
    if (rc == VS_OK && (rc = say(s, VS_MSG_STARTED, m->id, started_message(m), broker[0])) != VS_OK)
        vs_error_set(err, rc, "the broker is too busy to be given a worker");
    if (rc == VS_OK)
        m->is_known = true;
    else
        process_kill(&m->worker);
    for (int i = 0; i < 2; i++) {
        if (pair[i] >= 0)
            close(pair[i]);
        if (broker[i] >= 0)
            close(broker[i]);
    }
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
    bool changed = !m->is_scanner
                   && (are_changed(&m->files, m->identity) || (m->draft >= 0 && is_changed(m->draft, &m->draft_st)));
    int rc = m->is_scanner ? start_scanner(s, m, &err) : !changed ? start_worker(s, m, &err)
                      : vs_error_set(&err, VS_E_MALFORMED, "%s was changed while it was in use; try again when it is complete",
                                     m->path);
    if (rc == VS_E_BUSY) {
        process_back_off(&m->worker);
    } else if (rc != VS_OK) {
        vs_say_event(VS_LOG_ERROR, "model_failed", "serve: %s: %s", m->path, err.text);
        give_up(s, m, &err);
    }
}

/* The broker hears it; so do people, where it goes on. */
static void say_exited(struct supervisor *s, struct model *m, int code, const char *text, int status, bool again, bool is_guard,
                       const char *call)
{
    json_t *message = vs_json_error(code, text);
    json_object_set_new(message, "sigkill", json_boolean(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL));
    json_object_set_new(message, "last", json_boolean(s->ending || !again));
    json_object_set_new(message, "guard", json_boolean(is_guard));
    if (call)
        json_object_set_new(message, "call", json_string(call));
    say(s, VS_MSG_EXITED, m->id, message, -1);
    if (s->ending || !again)
        m->worker.restart_at = 0;
    else if (s->private_fd < 0)         /* a private client gets the same words as its answer */
        vs_say_event(VS_LOG_WARNING, is_guard ? "guard_died" : "worker_died", "serve: %s: %s; it is to be started again", m->path,
                     text);
}

/* A worker that leaves by itself does so when the socket to its guard ends: the guard dies, and says more. */
static void worker_reaped(struct supervisor *s, struct model *m, int status)
{
    char why[400], text[480];
    bool again, said = m->worker.words->kind == VS_WORDS_TEXT;
    int code = process_ended(&m->worker, status, why, sizeof why, &again);
    if (status == 0 && m->guard.pid > 0) {
        kill(m->guard.pid, SIGKILL);
        return;
    }
    snprintf(text, sizeof text, said ? "%s" : "worker %s", why);
    say_exited(s, m, code, text, status, again, false, vs_last_words_call(m->worker.words, status));
}

/* Nobody knows any more what its worker has said of which request. */
static void guard_reaped(struct supervisor *s, struct model *m, int status)
{
    char why[400], text[480];
    bool again;
    process_ended(&m->guard, status, why, sizeof why, &again);
    const char *call = vs_last_words_call(m->guard.words, status);
    snprintf(text, sizeof text, "the guard died: %s", m->guard_asked_at ? "it gave no sign of life" : why);
    process_kill(&m->worker);
    m->worker.restart_at = m->guard.restart_at;
    guard_kill(m);
    m->guard_restarts++;
    say_exited(s, m, VS_E_DIED, text, status, again, true, call);
}

bool models_reaped(struct supervisor *s, pid_t pid, int status)
{
    for (int i = 0; i < MAX_MODELS; i++) {
        struct model *m = &s->models[i];
        if (m->id && m->worker.pid == pid)
            worker_reaped(s, m, status);
        else if (m->id && m->guard.pid == pid)
            guard_reaped(s, m, status);
        else
            continue;
        return true;
    }
    return false;
}

uint64_t models_timers(struct supervisor *s, uint64_t now)
{
    uint64_t next = guards_timers(s, now);
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
        guard_kill(&s->models[i]);
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

/* Are all parts those that the first one's name tells of? */
static int check_parts(const char *path, const struct vs_files *files, struct vs_error *err)
{
    char part[PATH_MAX], kernel[PATH_MAX];
    size_t at = 0;
    unsigned n = vs_split_count(path, &at);
    if (files->n != (n > 1 ? n : 1) || (n > 1 && strtoul(path + at, NULL, 10) != 1))
        return vs_error_set(err, VS_E_INVALID, "%.200s came with %u descriptor%s: they must be those of all its parts, and it the "
                            "first of them", path, files->n, vs_plural(files->n));
    for (unsigned i = 0; i < files->n; i++) {
        snprintf(part, sizeof part, "%s", path);
        if (n > 1)
            vs_split_name(path, at, i + 1, part, sizeof part);
        if (!is_named(part, files->fd[i], kernel, sizeof kernel))
            return vs_error_set(err, VS_E_INVALID,
                                "the name %.200s is not that of the descriptor's file, which the daemon sees as %.200s", part,
                                kernel[0] ? kernel : "one without a name");
    }
    return VS_OK;
}

/* Adapters in their order: those with a path are the client's, others are NAME.gguf of the model directory. */
static int open_adapters(struct supervisor *s, struct model *m, const struct vs_files *came, unsigned next, struct vs_error *err)
{
    static const char what[] = "the adapter";
    const json_t *text;
    size_t i, n;
    struct stat st;
    json_array_foreach(json_object_get(m->settings, "lora"), i, text) {
        char name[PATH_MAX], path[PATH_MAX], kernel[PATH_MAX];
        int fd = -1, rc = VS_OK;
        vs_files_scale(json_string_value(text), &n);
        snprintf(name, sizeof name, "%.*s", (int)(n < sizeof name ? n : sizeof name - 1), json_string_value(text));
        if (m->files.n == VS_MAX_FILES)
            return vs_error_set(err, VS_E_LIMIT, "too many parts and adapters");
        if (name[0] == '/') {
            rc = vs_file_check(what, name, came->fd[next], &st, err);
            if (rc == VS_OK && !is_named(name, came->fd[next], kernel, sizeof kernel))
                rc = vs_error_set(err, VS_E_INVALID, "the name %.200s is not that of the descriptor's file", name);
            if (rc == VS_OK && (fd = fcntl(came->fd[next++], F_DUPFD_CLOEXEC, HIGH_FD)) < 0)
                rc = vs_error_set(err, VS_E_SYSTEM, "%s: %s", name, strerror(errno));
        } else if (!vs_model_name_is_valid(name) || snprintf(path, sizeof path, "%s/%s.gguf", s->directory, name) >= PATH_MAX) {
            rc = vs_error_set(err, VS_E_INVALID, "the adapter '%.100s' is not a name of the model directory", name);
        } else {
            rc = vs_file_open(what, path, &fd, &st, err);
        }
        if (rc != VS_OK)
            return rc;
        m->files.fd[m->files.n++] = fd;
    }
    return VS_OK;
}

/* How many adapters come from the client: those with a path. */
static unsigned n_own_adapters(const struct model *m)
{
    const json_t *text;
    unsigned n = 0;
    size_t i;
    json_array_foreach(json_object_get(m->settings, "lora"), i, text)
        n += json_is_string(text) && json_string_value(text)[0] == '/';
    return n;
}

/* A client's own descriptors, or the model of that name in the model directory. */
static int open_model(struct supervisor *s, struct model *m, const struct vs_files *all, struct vs_error *err)
{
    static const char what[] = "the model";
    struct vs_files parts = *all, *came = &parts;
    const json_t *text;
    struct stat st;
    size_t i;
    int rc = VS_OK;
    json_array_foreach(json_object_get(m->settings, "lora"), i, text)
        if (!json_is_string(text))
            return vs_error_set(err, VS_E_INVALID, "settings.lora: a list of strings is needed");
    if (n_own_adapters(m) > came->n)
        return vs_error_set(err, VS_E_INVALID, "settings.lora: an adapter with a path comes with its descriptor");
    came->n -= n_own_adapters(m);
    if (!came->n) {
        if (!vs_model_name_is_valid(m->name))
            return vs_model_missing(m->name, err);
        rc = vs_files_find_model(s->directory, m->name, m->path, sizeof m->path, err);
        if (rc == VS_OK)
            rc = vs_files_open_model(what, m->path, &m->files, &st, &m->bytes, err);
        if (rc == VS_E_NOT_FOUND)
            return vs_model_missing(m->name, err);
        if (rc == VS_OK)
            rc = open_adapters(s, m, all, 0, err);
        vs_files_identity(&m->files, m->identity);
        return rc;
    }
    memcpy(m->path, m->name, sizeof m->path);
    m->bytes = 0;
    for (i = 0; i < came->n && rc == VS_OK; i++) {
        rc = vs_file_check(what, m->path, came->fd[i], &st, err);
        m->bytes += rc == VS_OK ? (uint64_t)st.st_size : 0;
    }
    if (rc == VS_OK)
        rc = check_parts(m->name, came, err);
    if (rc == VS_OK)
        rc = vs_files_copy(came, HIGH_FD, &m->files, err);
    if (rc == VS_OK)
        rc = open_adapters(s, m, all, came->n, err);
    vs_files_identity(&m->files, m->identity);
    return rc;
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
    struct stat st;
    if (fstat(m->files.fd[0], &st) == 0 && m->draft_st.st_dev == st.st_dev && m->draft_st.st_ino == st.st_ino)
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

/* An alias (NULL: none) must not hide a model of the directory. */
static int check_alias(const struct supervisor *s, const char *alias, struct vs_error *err)
{
    char path[PATH_MAX];
    if (!alias)
        return VS_OK;
    if (!vs_model_name_is_valid(alias) || vs_files_find_model(s->directory, alias, path, sizeof path, err) == VS_E_LIMIT)
        return vs_error_set(err, VS_E_INVALID, "the alias '%.100s' is not a name (a-z 0-9 . _ -)", alias);
    return access(path, F_OK) == 0 ? vs_error_set(err, VS_E_INVALID, "the alias '%s' is a model of the directory", alias) : VS_OK;
}

/* Bytes of the file that are there: a hole is no memory, and the worker says what is wrong with it. */
static uint64_t stored(const struct stat *st)
{
    uint64_t there = (uint64_t)st->st_blocks * 512;
    return there < (uint64_t)st->st_size ? there : (uint64_t)st->st_size;
}

/* Asked before memory is taken: is there room for what the files hold, and for the cache that was asked for? Who only looks takes
 * none. */
static int check_room(struct model *m, uint64_t room, struct vs_error *err)
{
    if (json_is_true(json_object_get(m->settings, "inspect_only")) || json_is_true(json_object_get(m->settings, "check_only")))
        return VS_OK;
    json_int_t kv = json_integer_value(json_object_get(m->settings, "kv_memory"));
    m->needed = (kv > 0 ? (uint64_t)kv : 0) + (m->draft >= 0 ? stored(&m->draft_st) : 0);
    struct stat st;
    for (unsigned i = 0; i < m->files.n; i++)
        m->needed += fstat(m->files.fd[i], &st) == 0 ? stored(&st) : 0;
    m->is_too_large = m->needed > room;
    if (!m->is_too_large)
        return VS_OK;
    return vs_error_set(err, VS_E_NOMEM, "there is no room for the model %.100s: it needs %llu MiB or more, and of what all models "
                        "may take together (veritas serve --memory) %llu MiB are left", m->name,
                        (unsigned long long)(m->needed >> 20), (unsigned long long)(room >> 20));
}

/* Fills m with a model that a worker can be started for; came: what the client opened. After a failure it must be freed. */
static int model_open(struct supervisor *s, struct model *m, uint64_t id, const char *name, json_t *asked,
                      const struct vs_files *came, uint64_t room, struct vs_error *err)
{
    *m = (struct model){ .id = id, .worker.kind = PROCESS_WORKER, .guard.kind = PROCESS_GUARD, .guard_link.fd = -1,
                         .draft = -1 };
    memcpy(m->name, name, strlen(name) + 1);
    m->settings = settings_of(&s->settings, name, asked);
    m->text = m->settings ? settings_text(m->settings, room) : NULL;
    const char *alias = json_string_value(json_object_get(m->settings, "alias"));
    int rc = m->text ? check_alias(s, alias, err) : vs_error_set(err, VS_E_NOMEM, "out of memory");
    if (rc == VS_OK)
        rc = open_model(s, m, came, err);
    if (rc == VS_OK)
        rc = open_draft(s, m, err);
    return rc == VS_OK ? check_room(m, room, err) : rc;
}

int models_load(struct supervisor *s, struct vs_error *err)
{
    static const struct vs_files none;
    const json_t *name;
    size_t i;
    json_array_foreach(s->settings.loads, i, name) {
        const char *text = json_string_value(name);
        struct vs_error why;
        int rc = model_open(s, &s->models[i], i + 1, text, NULL, &none, UINT64_MAX, &why);
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
    if (json_is_true(json_object_get(message, "scanner"))) {
        *m = (struct model){ .id = f->id, .is_scanner = true, .is_known = true, .worker.kind = PROCESS_WORKER,
                             .guard.kind = PROCESS_GUARD, .guard_link.fd = -1, .draft = -1 };
        if (start_scanner(s, m, &err) != VS_OK)
            give_up(s, m, &err);
        json_decref(message);
        return VS_OK;
    }
    struct vs_files came = { f->fd >= 0, { f->fd } };
    for (unsigned i = 0; i < s->control.more.n; i++)
        came.fd[came.n++] = s->control.more.fd[i];
    int rc = model_open(s, m, f->id, name, settings, &came, room ? (uint64_t)json_integer_value(room) : UINT64_MAX, &err);
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

/* A worker that hangs, or its guard does: it dies, and is started again like one that died by itself. */
static int on_kill(struct supervisor *s, const struct vs_frame *f)
{
    struct model *m = model_find(s, f->id);
    if (m && m->worker.pid > 0)
        guard_ask(m);
    else if (m && m->guard.pid > 0)
        kill(m->guard.pid, SIGKILL);
    return VS_OK;
}

static int on_waited(struct supervisor *s, const struct vs_frame *f)
{
    const struct model *m = model_find(s, f->id);
    uint8_t both[16];
    vs_store_u64le(both, m ? process_waited(&m->worker) : 0);
    vs_store_u64le(both + 8, m ? process_waited(&m->guard) : 0);
    say_bytes(s, VS_MSG_WAITED, f->id, both, sizeof both, -1);
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
        uint64_t bytes;
        if (vs_model_name_is_valid(name) && vs_model_is_listed(dirfd(d), e->d_name, name, &bytes))
            json_array_append_new(list, json_pack("{s:s, s:I}", "name", name, "bytes", (json_int_t)bytes));
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

/* The broker's own list ends with it; the next one is told. Who is refused is the broker's affair: here it is text. */
static int on_refused(struct supervisor *s, const struct vs_frame *f)
{
    json_t *message = vs_json_parse(f->data, f->n, NULL);
    if (!json_is_object(message)) {
        json_decref(message);
        return VS_E_PROTOCOL;
    }
    if (!s->refused)
        s->refused = json_array();
    if (json_array_size(s->refused) >= MAX_REFUSED)
        json_array_remove(s->refused, 0);
    json_array_append_new(s->refused, message);
    return VS_OK;
}

/* The broker has no link to the log's writer, or to who signs: there is one that it lost, or there is none yet. */
static int on_audit(struct supervisor *s, const struct vs_frame *f)
{
    (void)f;
    writer_sign(s);
    return VS_OK;
}

/* Somebody who may reads the log. */
static int on_files(struct supervisor *s, const struct vs_frame *f)
{
    struct vs_files files;
    struct vs_error err = { 0 };
    struct vs_buf out = { .limit = VS_MAX_CONTROL };
    json_t *names;
    int rc = writer_files(s, &files, &names, &err);
    json_t *all = json_pack("{s:o*}", "files", names);
    vs_json_dump(all, &out);
    json_decref(all);
    if (rc == VS_OK && out.status == VS_OK)
        rc = vs_conn_send_files(&s->control, VS_MSG_FILES, f->id, out.data, out.n, &files);
    else
        say_error(s, VS_MSG_FILES, f->id, rc == VS_OK ? out.status : rc, rc == VS_OK ? vs_status_text(out.status) : err.text);
    if (rc == VS_E_BUSY)
        say_error(s, VS_MSG_FILES, f->id, VS_E_BUSY, "a descriptor has not gone out yet; try again");
    vs_files_close(&files);
    vs_buf_clear(&out);
    return VS_OK;
}

/* The number of names: it is none of them. */
static size_t alias_at(const struct model *m, const json_t *alias)
{
    size_t i = 0, n = json_array_size(m->aliases);
    while (i < n && !json_equal(json_array_get(m->aliases, i), alias))
        i++;
    return i;
}

/* A model that is loaded gets another name, which a later broker is told, too. */
static int add_alias(const struct supervisor *s, struct model *m, json_t *alias, struct vs_error *err)
{
    if (!m)
        return vs_error_set(err, VS_E_NOT_FOUND, "no such model is loaded");
    if (check_alias(s, json_string_value(alias), err) != VS_OK)
        return err->code;
    if (alias_at(m, alias) < json_array_size(m->aliases))
        return VS_OK;
    if (json_array_size(m->aliases) >= MAX_ALIASES)
        return vs_error_set(err, VS_E_LIMIT, "the model has got %d other names already", MAX_ALIASES);
    if (!m->aliases)
        m->aliases = json_array();
    return json_array_append(m->aliases, alias) == 0 ? VS_OK : vs_error_set(err, VS_E_NOMEM, "out of memory");
}

static int on_alias(struct supervisor *s, const struct vs_frame *f)
{
    struct vs_error err = { 0 };
    json_t *message = vs_json_parse(f->data, f->n, NULL), *alias = json_object_get(message, "alias");
    json_int_t id = json_integer_value(json_object_get(message, "model"));
    if (!json_is_string(alias) || id < 1) {
        json_decref(message);
        return VS_E_PROTOCOL;
    }
    struct model *m = model_find(s, (uint64_t)id);
    if (json_is_true(json_object_get(message, "withdrawn"))) {      /* who asked for it is gone: no answer */
        if (m)
            json_array_remove(m->aliases, alias_at(m, alias));
        json_decref(message);
        return VS_OK;
    }
    int rc = add_alias(s, m, alias, &err);
    if (rc == VS_OK)
        say(s, VS_MSG_ALIAS, f->id, json_object(), -1);
    else
        say_error(s, VS_MSG_ALIAS, f->id, rc, err.text);
    json_decref(message);
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
    { VS_MSG_MODELS, on_models }, { VS_MSG_END, on_end },       { VS_MSG_ALIVE, on_alive },   { VS_MSG_REFUSED, on_refused },
    { VS_MSG_AUDIT, on_audit },   { VS_MSG_FILES, on_files },   { VS_MSG_ALIAS, on_alias },
    { VS_MSG_WAITED, on_waited },
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
    if (!who_tell(s) && s->broker.pid > 0)      /* first of all who may come: without that it lets everybody in */
        kill(s->broker.pid, SIGKILL);
    for (int i = 0; i < MAX_MODELS; i++)        /* of the time before a broker died: with the settings that they had */
        if (s->models[i].is_scanner)
            model_free(&s->models[i]);  /* who asks again gets another */
        else if (s->models[i].id)
            start_again(s, &s->models[i]);
    const json_t *refused;
    size_t n;
    json_array_foreach(s->refused, n, refused)
        say(s, VS_MSG_REFUSED, 0, json_incref((json_t *)(uintptr_t)refused), -1);
    writer_hand(s);
    say_bytes(s, VS_MSG_HELLO, 0, NULL, 0, -1); /* now clients may come */
}

void control_close(struct supervisor *s)
{
    vs_conn_clear(&s->control);
    s->control_has_more = false;
}

bool control_tell_keys(struct supervisor *s, int fd)
{
    return vs_conn_send(&s->control, VS_MSG_SETTINGS, VS_FLAG_FD, 0, NULL, 0, fd) == VS_OK;
}

void control_tell_audit(struct supervisor *s, json_t *settings, int fd)
{
    say(s, VS_MSG_AUDIT, 0, settings, fd);
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
