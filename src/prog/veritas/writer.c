/* prog/veritas/writer.c - the writer of the log, for the supervisor: it is given files, and to the broker. */
#include "prog/veritas/serve.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "evidence/line.h"
#include "ipc/json.h"
#include "prog/veritas/audit_folder.h"
#include "prog/veritas/command.h"
#include "prog/veritas/term.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PART "next.part"
#define END_TIME (3000 * MS)            /* it has so long to write the last record */
#define LOCK_TIME (2000 * MS)           /* another daemon that makes the key of receipts is done after so long */
enum { KEY_BYTES = 32 };

/* ---- what the policy says ---- */

static json_t *audit_of(const struct supervisor *s)
{
    json_t *all = vs_json_parse(s->settings.policy.text, strlen(s->settings.policy.text), NULL);
    json_t *audit = json_incref(json_object_get(all, "audit"));
    json_decref(all);
    return audit;
}

/* What the writer is told, at its start and when the policy changes. */
static json_t *settings_for(const struct supervisor *s)
{
    json_t *audit = audit_of(s);
    static const char *const keys[] = { "sync", "rotate_bytes", "checkpoint_records", "checkpoint_seconds" };
    json_t *all = json_pack("{s:s, s:s}", "policy", s->settings.policy.digest, "boot", s->writer.boot);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        json_object_set(all, keys[i], json_object_get(audit, keys[i]));
    json_decref(audit);
    if (s->writer.is_signer)
        json_object_set_new(all, "signer", json_true());
    return all;
}

static int say(struct supervisor *s, uint16_t type, json_t *value, int fd)
{
    struct vs_buf out = { .limit = VS_MAX_START };
    if (value)
        vs_json_dump(value, &out);
    json_decref(value);
    int rc = out.status != VS_OK ? out.status
        : vs_conn_send(&s->writer.link, type, fd >= 0 ? VS_FLAG_FD : 0, 0, out.data, out.n, fd);
    vs_buf_clear(&out);
    return rc;
}

/* ---- the folder ---- */

static int read_boot(char ret[VS_BOOT_HEX], struct vs_error *err)
{
    char text[64] = "";
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC), n = 0;
    if (fd >= 0 && read(fd, text, sizeof text - 1) > 0)
        for (const char *c = text; *c && n < VS_BOOT_HEX - 1; c++)
            if (vs_hex_digit(*c) >= 0)
                ret[n++] = *c;
    if (fd >= 0)
        close(fd);
    ret[n] = 0;
    return n == VS_BOOT_HEX - 1 ? VS_OK : vs_error_set(err, VS_E_SYSTEM, "this boot has no id in /proc/sys/kernel/random/boot_id");
}

/* Made at first use; it stays, for whoever shows later that a text was the one. */
static int read_key(struct writer *w, struct vs_error *err)
{
    uint8_t key[KEY_BYTES];
    int fd = audit_secret_open(w->dir_fd, "text.key", err);
    if (fd < 0)
        return err->code;
    ssize_t n = pread(fd, key, sizeof key, 0);
    if (n == 0 && getrandom(key, sizeof key, 0) == (ssize_t)sizeof key && write(fd, key, sizeof key) == (ssize_t)sizeof key &&
        fdatasync(fd) == 0)
        n = sizeof key;
    close(fd);
    if (n != (ssize_t)sizeof key)
        return vs_error_set(err, VS_E_SYSTEM, "text.key: it is not a key of %d bytes, and could not be made one", KEY_BYTES);
    vs_hex(key, sizeof key, w->key);
    explicit_bzero(key, sizeof key);
    return VS_OK;
}

static int lock_folder(struct writer *w, const char *path, struct vs_error *err)
{
    w->lock_fd = audit_file_open(w->dir_fd, "lock", O_RDWR | O_CREAT, err);
    if (w->lock_fd < 0)
        return err->code;
    if (flock(w->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return VS_OK;
    return vs_error_set(err, VS_E_BUSY, "another daemon writes the log in %.200s; each needs a folder of its own (audit.dir)",
                        path);
}

/* The last file, and the number of its first record; -1: there is none. */
static int open_last(struct writer *w, uint64_t *ret_first, struct vs_error *err)
{
    struct audit_files files;
    char name[AUDIT_NAME_BYTES];
    *ret_first = 0;
    if (audit_files_list(w->dir_fd, &files, err) != VS_OK || !files.n)
        return -1;
    *ret_first = files.first[files.n - 1];
    audit_name(*ret_first, name);
    audit_files_clear(&files);
    return audit_file_open(w->dir_fd, name, O_RDWR | O_APPEND, err);
}

/* Files whose last record is older than audit.retain_days go, the oldest first; the last one stays. */
static void drop_old(struct supervisor *s)
{
    struct audit_files files;
    struct vs_error err;
    json_t *audit = audit_of(s);
    json_int_t days = json_integer_value(json_object_get(audit, "retain_days"));
    json_decref(audit);
    if (days <= 0 || audit_files_list(s->writer.dir_fd, &files, &err) != VS_OK)
        return;
    for (size_t i = 0; i + 1 < files.n; i++) {
        char name[AUDIT_NAME_BYTES];
        struct stat st;
        audit_name(files.first[i], name);
        if (fstatat(s->writer.dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0 || st.st_mtime + days * 86400 > time(NULL)
            || unlinkat(s->writer.dir_fd, name, 0) != 0)
            break;
        vs_say_event(VS_LOG_INFO, "audit_dropped", "serve: %s of the audit log is older than audit.retain_days and was removed",
                     name);
    }
    audit_files_clear(&files);
}

/* ---- the process ---- */

/* What was opened for this start alone. */
static void close_all(const int fds[N_CHILD_FDS])
{
    static const enum child_fd own[] = { FD_SETTINGS, FD_LOG, FD_KEY, FD_KEYS, FD_NOTES, FD_COPY, FD_KEPT };
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (fds[own[i]] >= 0)
            close(fds[own[i]]);
}

/* What it signs with, the public keys, the checkpoints, and the second place of those. */
static int open_signing(const struct supervisor *s, int fds[N_CHILD_FDS], struct vs_error *err)
{
    static const struct { enum child_fd fd; const char *name; int flags; } files[] = {
        { FD_KEYS, "keys", O_RDWR | O_APPEND | O_CREAT }, { FD_NOTES, "checkpoints", O_RDWR | O_APPEND | O_CREAT },
    };
    size_t n = sizeof files / sizeof *files - s->writer.is_signer;      /* a signer has no checkpoints */
    if ((fds[FD_KEY] = audit_secret_open(s->writer.dir_fd, "signing.key", err)) < 0)
        return err->code;
    for (size_t i = 0; i < n; i++)
        if ((fds[files[i].fd] = audit_file_open(s->writer.dir_fd, files[i].name, files[i].flags, err)) < 0)
            return err->code;
    if (s->writer.is_signer)
        return VS_OK;
    json_t *audit = audit_of(s);
    const char *copy = json_string_value(json_object_get(audit, "checkpoint_copy"));
    if (copy && *copy && (fds[FD_COPY] = open(copy, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC | O_NONBLOCK,
                                             0600)) < 0)
        vs_error_set(err, VS_E_SYSTEM, "audit.checkpoint_copy %.200s: %s", copy,
                     errno == ENXIO ? "nobody reads this pipe" : strerror(errno));
    bool failed = copy && *copy && fds[FD_COPY] < 0;
    json_decref(audit);
    return failed ? err->code : VS_OK;
}

/* A line that was cut by a kill or a full disk ends here, or the next one would be a part of it. The writer can't read the file. */
static bool end_cut_line(const char *path, int fd, off_t bytes)
{
    char last = '\n';
    int to_read = bytes ? open(path, O_RDONLY | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC | O_NONBLOCK) : -1;
    bool done = !bytes || (to_read >= 0 && pread(to_read, &last, 1, bytes - 1) == 1 && (last == '\n' || write(fd, "\n", 1) == 1));
    if (to_read >= 0)
        close(to_read);
    return done;
}

/* It holds what was said, so it is for its owner alone. */
static int open_kept(const char *path, struct vs_error *err)
{
    struct stat st;
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC | O_NONBLOCK, 0600);
    if (fd < 0)
        vs_error_set(err, VS_E_SYSTEM, "receipts.keep %.200s: %s", path, errno == ELOOP ? "it is a link" : strerror(errno));
    else if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || (st.st_mode & 077))
        vs_error_set(err, VS_E_DENIED, "receipts.keep %.200s: it is no file, or others may read it; chmod 600", path);
    else if (!end_cut_line(path, fd, st.st_size))
        vs_error_set(err, VS_E_SYSTEM, "receipts.keep %.200s: %s", path, strerror(errno));
    if (fd >= 0 && err->code != VS_OK) {
        close(fd);
        return -1;
    }
    return fd;
}

/* A path without / at its beginning starts where the policy lies. */
static void find_kept(struct supervisor *s)
{
    const char *keep = s->settings.policy.keep, *policy = s->settings.policy.path, *slash = strrchr(policy, '/');
    if (!*keep || *keep == '/' || !slash)
        snprintf(s->writer.keep, sizeof s->writer.keep, "%s", keep);
    else
        snprintf(s->writer.keep, sizeof s->writer.keep, "%.*s/%.2000s", (int)(slash - policy), policy, keep);
}

static int start(struct supervisor *s, struct vs_error *err)
{
    struct writer *w = &s->writer;
    int pair[2], fds[N_CHILD_FDS];
    uint64_t first = 0;
    struct vs_error why = { 0 };
    memset(fds, -1, sizeof fds);
    if (!w->is_signer)
        fds[FD_LOG] = open_last(w, &first, &why);
    if (why.code == VS_OK)
        open_signing(s, fds, &why);
    if (why.code == VS_OK && w->keep[0])
        fds[FD_KEPT] = open_kept(w->keep, &why);
    if (why.code != VS_OK) {
        close_all(fds);
        return vs_error_set(err, why.code, "%s in %.200s: %s", w->is_signer ? "the key of receipts" : "the audit log", w->dir,
                            why.text);
    }
    json_t *settings = settings_for(s);
    json_object_set_new(settings, "first", json_integer((json_int_t)first));
    if (w->root_uri[0] && !w->is_signer)
        json_object_set_new(settings, "pkcs11", json_string(w->root_uri));
    if (w->died_of[0])                  /* the one before: its successor writes it down */
        json_object_set_new(settings, "died_of", vs_json_text(w->died_of, strlen(w->died_of)));
    char *text = json_dumps(settings, JSON_COMPACT);
    json_decref(settings);
    fds[FD_SETTINGS] = text ? settings_open(text) : -1;
    free(text);
    int rc = fds[FD_SETTINGS] >= 0 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0
        ? VS_OK : vs_error_set(err, VS_E_SYSTEM, "cannot prepare the audit log's writer: %s", strerror(errno));
    if (rc == VS_OK) {
        fds[FD_CONTROL] = pair[1];
        fds[FD_LOCK] = w->is_signer ? -1 : w->lock_fd;
        fds[FD_ROOT] = w->is_signer ? -1 : w->root_fd;
        rc = process_start(s, &w->process, fds, NULL, err);
        close(pair[1]);
        if (rc == VS_OK)
            vs_conn_init(&w->link, pair[0], &vs_ipc_from_audit_control, VS_AT_OPEN);
        else
            close(pair[0]);
    }
    close_all(fds);
    return rc;
}

/* It has the end of the log, and could write; or it says why not. */
static int await(struct supervisor *s, struct vs_error *err)
{
    struct writer *w = &s->writer;
    char why[400];
    bool again;
    int status;
    while (!w->was_ready && w->link.fd >= 0) {
        struct pollfd p = { w->link.fd, (short)(POLLIN | (vs_conn_queued(&w->link) ? POLLOUT : 0)), 0 };
        if (poll(&p, 1, -1) > 0)
            writer_ready(s, p.revents);
    }
    if (w->was_ready)
        return VS_OK;
    waitpid(w->process.pid, &status, 0);
    int code = process_ended(&w->process, status, why, sizeof why, &again);
    return vs_error_set(err, code, "the audit log in %.200s: %.250s", w->dir, why);
}

/* May it write down what is asked and said? A private daemon only where the policy says so; the one of serve --check answers
 * nobody, and leaves nothing behind. */
static bool may_write(const struct supervisor *s, const json_t *audit, bool is_private)
{
    bool is_of_all = json_is_true(json_object_get(audit, "private")) && !vs_args_given(s->args, VS_OPT_CHECK);
    return !is_private || is_of_all;
}

bool writer_is_wanted(const struct supervisor *s, bool is_private)
{
    json_t *audit = audit_of(s);
    const char *dir = json_string_value(json_object_get(audit, "dir"));
    bool is_wanted = dir && *dir && may_write(s, audit, is_private);
    json_decref(audit);
    return is_wanted;
}

int writer_open(struct supervisor *s, bool is_private, struct vs_error *err)
{
    struct writer *w = &s->writer;
    struct vs_error why = { 0 };
    json_t *audit = audit_of(s);
    if (may_write(s, audit, is_private))
        find_kept(s);
    json_decref(audit);
    w->process.kind = PROCESS_AUDIT;
    if (!writer_is_wanted(s, is_private))
        return VS_OK;
    int rc = processes_find(PROCESS_AUDIT, PROCESS_AUDIT, err);
    if (rc == VS_OK)
        rc = read_boot(w->boot, err);
    if (rc == VS_OK)
        rc = audit_folder_of(&s->settings.policy, w->dir, sizeof w->dir, err);
    if (rc != VS_OK)
        return rc;
    w->dir_fd = audit_folder_open(w->dir, true, err);
    if (w->dir_fd < 0)
        return err->code;
    rc = lock_folder(w, w->dir, &why);
    if (rc == VS_OK)
        rc = read_key(w, &why);
    if (rc == VS_OK)
        rc = signing_make(s, &why);
    if (rc != VS_OK)
        return vs_error_set(err, rc, "the audit log in %.200s: %s", w->dir, why.text);
    w->is_on = true;
    drop_old(s);
    rc = start(s, err);
    return rc == VS_OK ? await(s, err) : rc;
}

/* ---- a signer alone ---- */

static int signer_folder(char *ret, size_t n, struct vs_error *err)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    int length = -1;
    if (state && *state == '/')
        length = snprintf(ret, n, "%s/veritas/receipts", state);
    else if (home && *home == '/')
        length = snprintf(ret, n, "%s/.local/state/veritas/receipts", home);
    if (length < 0)
        return vs_error_set(err, VS_E_NOT_FOUND, "receipts need a place for their key: set XDG_STATE_HOME or HOME, or keep an "
                            "audit log (audit.dir), whose key signs them too");
    return length < (int)n ? VS_OK : vs_error_set(err, VS_E_LIMIT, "the path of the key of receipts is too long");
}

/* Who comes first makes the key; others wait for that. */
static int lock_signer(struct writer *w, struct vs_error *err)
{
    uint64_t until = vs_clock_ns() + LOCK_TIME;
    w->lock_fd = audit_file_open(w->dir_fd, "lock", O_RDWR | O_CREAT, err);
    if (w->lock_fd < 0)
        return err->code;
    while (flock(w->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        if (vs_clock_ns() > until)
            return vs_error_set(err, VS_E_BUSY, "another daemon holds the key of receipts in %.200s", w->dir);
        nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
    }
    return VS_OK;
}

static int open_signer(struct supervisor *s, struct vs_error *err)
{
    struct writer *w = &s->writer;
    struct vs_error why = { 0 };
    w->is_signer = true;
    int rc = processes_find(PROCESS_AUDIT, PROCESS_AUDIT, err);
    if (rc == VS_OK)
        rc = read_boot(w->boot, err);
    if (rc == VS_OK)
        rc = signer_folder(w->dir, sizeof w->dir, err);
    if (rc == VS_OK && w->dir_fd < 0 && (w->dir_fd = audit_folder_open(w->dir, true, &why)) < 0)
        rc = vs_error_set(err, why.code, "the key of receipts: %s", why.text);
    if (rc == VS_OK)
        rc = lock_signer(w, err);
    if (rc == VS_OK)
        rc = start(s, err);
    w->is_on = rc == VS_OK;
    if (!w->is_on && w->lock_fd >= 0) {
        close(w->lock_fd);
        w->lock_fd = -1;
    }
    return rc;
}

void writer_sign(struct supervisor *s)
{
    struct vs_error err = { 0 };
    if (s->ending)
        return;
    if (s->writer.is_on || open_signer(s, &err) == VS_OK) {
        writer_hand(s);                 /* nothing, while it is being started again */
        return;
    }
    vs_say_event(VS_LOG_ERROR, "receipts_failed", "serve: %s", err.text);
    control_tell_audit(s, vs_json_error(err.code, err.text), -1);
}

void writer_hand(struct supervisor *s)
{
    struct writer *w = &s->writer;
    int pair[2];
    if (w->process.pid <= 0 || s->control.fd < 0)
        return;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
        vs_say_event(VS_LOG_ERROR, "audit_failed", "serve: cannot connect the broker and the audit log's writer: %s",
                     strerror(errno));
        return;
    }
    json_t *audit = audit_of(s);
    if (say(s, VS_MSG_BROKER, NULL, pair[0]) == VS_OK)
        control_tell_audit(s, json_pack("{s:O, s:s, s:b}", "on_failure", json_object_get(audit, "on_failure"), "key", w->key,
                                        "signer", w->is_signer), pair[1]);
    json_decref(audit);
    close(pair[0]);
    close(pair[1]);
}

void writer_tell_policy(struct supervisor *s)
{
    if (s->writer.process.pid > 0)
        say(s, VS_MSG_SETTINGS, settings_for(s), -1);
}

void writer_note(struct supervisor *s, const char *event, const char *text)
{
    if (s->writer.process.pid > 0)
        say(s, VS_MSG_RECORD, json_pack("{s:s, s:o}", "event", event, "message", vs_json_text(text, strlen(text))), -1);
}

/* Opens what the log's readers may have, for reading: not its secrets. Of very many files the newest. */
int writer_files(struct supervisor *s, struct vs_files *ret, json_t **ret_names, struct vs_error *err)
{
    static const char *const others[] = { "checkpoints", "keys" };
    enum { N_OTHERS = sizeof others / sizeof *others, MOST = VS_MAX_FILES - N_OTHERS };
    struct audit_files files;
    struct writer *w = &s->writer;
    *ret = (struct vs_files){ 0 };
    *ret_names = NULL;
    if (!w->is_on || w->is_signer)
        return vs_error_set(err, VS_E_NOT_FOUND, "this daemon keeps no audit log");
    int rc = audit_files_list(w->dir_fd, &files, err);
    if (rc != VS_OK)
        return rc;
    *ret_names = json_array();
    size_t skipped = files.n > MOST ? files.n - MOST : 0;
    for (size_t i = 0; rc == VS_OK && i < N_OTHERS + files.n - skipped; i++) {
        char name[AUDIT_NAME_BYTES];
        if (i < N_OTHERS)
            snprintf(name, sizeof name, "%s", others[i]);
        else
            audit_name(files.first[skipped + i - N_OTHERS], name);
        int fd = audit_file_open(w->dir_fd, name, O_RDONLY, err);
        rc = fd < 0 ? err->code : VS_OK;
        if (rc == VS_OK)
            ret->fd[ret->n++] = fd;
        json_array_append_new(*ret_names, json_string(name));
    }
    audit_files_clear(&files);
    return rc;
}

bool writer_reaped(struct supervisor *s, pid_t pid, int status)
{
    struct writer *w = &s->writer;
    char why[400];
    bool again;
    if (pid != w->process.pid)
        return false;
    process_ended(&w->process, status, why, sizeof why, &again);
    snprintf(w->died_of, sizeof w->died_of, "%s", why);
    vs_conn_clear(&w->link);
    w->link.fd = -1;
    vs_say_event(VS_LOG_ERROR, "audit_died", "serve: %s ended: %s; it is to be started again",
                 w->is_signer ? "who signs receipts" : "the audit log's writer", why);
    if (!w->process.restart_at)
        process_back_off(&w->process);
    return true;
}

uint64_t writer_timer(struct supervisor *s, uint64_t now)
{
    struct writer *w = &s->writer;
    struct vs_error err = { 0 };
    if (!w->process.restart_at)
        return UINT64_MAX;
    if (now < w->process.restart_at)
        return w->process.restart_at;
    if (start(s, &err) == VS_OK) {
        writer_hand(s);
        return UINT64_MAX;
    }
    vs_say_event(VS_LOG_ERROR, "audit_failed", "serve: %s", err.text);
    process_back_off(&w->process);
    return w->process.restart_at;
}

/* ---- what it asks for ---- */

static void answer_failed(struct supervisor *s, const char *what)
{
    char text[200];
    snprintf(text, sizeof text, "%s: %s", what, strerror(errno));
    say(s, VS_MSG_FAILED, vs_json_error(VS_E_SYSTEM, text), -1);
}

/* A file without a name: it gets that when its first record is on the disk. */
static void on_segment(struct supervisor *s, const struct vs_frame *f)
{
    struct vs_error err = { 0 };
    (void)f;
    unlinkat(s->writer.dir_fd, PART, 0);
    int fd = audit_file_open(s->writer.dir_fd, PART, O_RDWR | O_APPEND | O_CREAT | O_EXCL, &err);
    if (fd < 0) {
        say(s, VS_MSG_FAILED, vs_json_error(err.code, err.text), -1);
        return;
    }
    say(s, VS_MSG_SEGMENT, NULL, fd);
    close(fd);
}

static void on_named(struct supervisor *s, const struct vs_frame *f)
{
    char name[AUDIT_NAME_BYTES];
    audit_name(vs_load_u64le(f->data), name);
    if (renameat2(s->writer.dir_fd, PART, s->writer.dir_fd, name, RENAME_NOREPLACE) != 0 || fsync(s->writer.dir_fd) != 0) {
        answer_failed(s, name);
        return;
    }
    say(s, VS_MSG_NAMED, NULL, -1);
    drop_old(s);
}

static void on_ready(struct supervisor *s, const struct vs_frame *f)
{
    (void)f;
    s->writer.was_ready = true;
    signing_close(s);
    if (s->writer.is_signer && s->writer.lock_fd >= 0) {        /* the key is there: others may have it too */
        close(s->writer.lock_fd);
        s->writer.lock_fd = -1;
    }
}

static const struct {
    uint16_t type;
    void (*take)(struct supervisor *s, const struct vs_frame *f);
} handlers[] = {
    { VS_MSG_READY, on_ready }, { VS_MSG_SEGMENT, on_segment }, { VS_MSG_NAMED, on_named },
};
enum { N_HANDLERS = sizeof handlers / sizeof *handlers };

uint16_t writer_unhandled(void)
{
    return vs_ipc_unhandled(&vs_ipc_from_audit_control, handlers, N_HANDLERS, sizeof *handlers);
}

void writer_ready(struct supervisor *s, short events)
{
    struct vs_frame f;
    struct vs_error why;
    struct vs_conn *link = &s->writer.link;
    if (events & POLLOUT)
        vs_conn_flush(link);
    if (!(events & (POLLIN | POLLHUP | POLLERR)))
        return;
    int status = vs_conn_read(link);
    while (status == VS_OK && (status = vs_conn_next(link, &f, &why)) == VS_OK)
        handlers[vs_ipc_handler(handlers, N_HANDLERS, sizeof *handlers, f.type)].take(s, &f);
    if (status == VS_E_BUSY)
        return;
    vs_conn_clear(link);
    link->fd = -1;
    if (status != VS_E_DIED && s->writer.process.pid > 0)
        kill(s->writer.process.pid, SIGKILL);
}

/* The broker is gone, so nothing more is to be written but the end. */
void writer_close(struct supervisor *s)
{
    struct writer *w = &s->writer;
    struct vs_error err;
    uint64_t until = vs_clock_ns() + END_TIME;
    if (w->is_on && !w->is_signer && w->process.pid <= 0) {     /* it died a moment ago; the end is to be written all the same */
        w->was_ready = false;
        if (start(s, &err) == VS_OK)
            await(s, &err);
    }
    if (w->process.pid > 0 && say(s, VS_MSG_STOP, NULL, -1) == VS_OK)
        while (w->process.pid > 0 && vs_clock_ns() < until) {
            struct pollfd p = { w->link.fd, POLLIN, 0 };
            if (waitpid(w->process.pid, NULL, WNOHANG) == w->process.pid)
                w->process.pid = 0;
            else if (poll(&p, 1, w->link.fd >= 0 ? 100 : 10) > 0)
                writer_ready(s, p.revents);
        }
    process_kill(&w->process);
    vs_conn_clear(&w->link);
    if (w->lock_fd >= 0)
        close(w->lock_fd);
    if (w->dir_fd >= 0)
        close(w->dir_fd);
    explicit_bzero(w->key, sizeof w->key);
    w->lock_fd = w->dir_fd = w->link.fd = -1;
}
