/* prog/veritas/audit_fetch.c - `veritas audit fetch`: a copy of the log for who may read it by his role, and not by the system. The
 * daemon gives descriptors; what is copied is what the other commands judge, so nothing here is believed.
 *
 * Checkpoints come first: records that follow meanwhile are a tail that they do not sign yet. */
#include "prog/veritas/audit_folder.h"
#include "prog/veritas/command.h"
#include "prog/veritas/output.h"
#include "prog/veritas/session.h"

#include "ipc/message.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { PIECE = 1 << 20 };

struct fetch {
    const char *folder;
    int dir;
    unsigned n;                          /* files that were copied */
    struct vs_error err;
};

/* A name that a log's file may have: the daemon does not say where we write. */
static bool is_name(const char *name)
{
    return name && (strcmp(name, "checkpoints") == 0 || strcmp(name, "keys") == 0
                    || (strlen(name) == AUDIT_NAME_BYTES - 2 && strspn(name, "0123456789") == 16
                        && strcmp(name + 16, ".jsonl") == 0));
}

/* Without a line that is being written: its newline has not come. */
static int copy(struct fetch *f, int fd, const char *name)
{
    static char piece[PIECE];
    struct vs_output out = { .fd = -1, .stream = -1 };
    struct vs_buf tail = { .limit = 4 << 20 };           /* bytes behind the last newline */
    char path[PATH_MAX];
    uint64_t at = 0;
    ssize_t got;
    if (snprintf(path, sizeof path, "%s/%s", f->folder, name) >= (int)sizeof path)
        return vs_error_set(&f->err, VS_E_LIMIT, "the path of the copy is too long");
    int rc = vs_output_open(&out, path, 0600, &f->err);
    while (rc == VS_OK && (got = pread(fd, piece, sizeof piece, (off_t)at)) != 0) {
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            rc = vs_error_set(&f->err, VS_E_SYSTEM, "%s cannot be read: %s", name, strerror(errno));
            break;
        }
        const char *end = memrchr(piece, '\n', (size_t)got);
        size_t whole = end ? (size_t)(end - piece) + 1 : 0;
        if (whole) {
            vs_output_write(&out, tail.data ? tail.data : "", tail.n);
            vs_output_write(&out, piece, whole);
            vs_buf_reset(&tail);
        }
        vs_buf_add(&tail, piece + whole, (size_t)got - whole);
        if (tail.status != VS_OK)
            rc = vs_error_set(&f->err, VS_E_MALFORMED, "%s: a line of more than 4 MiB", name);
        at += (uint64_t)got;
    }
    if (rc == VS_OK)
        rc = vs_output_commit(&out, &f->err);
    vs_output_drop(&out);
    vs_buf_clear(&tail);
    f->n += rc == VS_OK;
    return rc;
}

static int take(void *context, const struct vs_event *e)
{
    struct fetch *f = context;
    const json_t *names = json_object_get(e->json, "files");
    if (e->kind != VS_MSG_FILES)
        return VS_OK;
    if (json_array_size(names) != e->files.n)
        return vs_error_set(&f->err, VS_E_PROTOCOL, "the daemon names other files than it gives");
    for (unsigned i = 0; i < e->files.n; i++) {
        const char *name = json_string_value(json_array_get(names, i));
        if (!is_name(name))
            return vs_error_set(&f->err, VS_E_PROTOCOL, "the daemon gives a file that is none of a log");
        int rc = copy(f, e->files.fd[i], name);
        if (rc != VS_OK)
            return rc;
    }
    return VS_OK;
}

/* A log that is written here is not to be overwritten by a copy. */
static int open_folder(struct fetch *f)
{
    struct vs_error none;
    f->dir = audit_folder_open(f->folder, true, &f->err);
    if (f->dir < 0)
        return f->err.code;
    int fd = audit_file_open(f->dir, "signing.key", O_RDONLY, &none);
    if (fd >= 0)
        close(fd);
    return fd < 0 && none.code == VS_E_NOT_FOUND ? VS_OK
        : vs_error_set(&f->err, VS_E_INVALID, "%.300s: a daemon writes its log there; name another folder", f->folder);
}

int vs_command_audit_fetch(const struct vs_args *args)
{
    struct fetch f = { .folder = args->v[0], .dir = -1 };
    struct vs_error err = { 0 };
    struct vs_session s;
    json_t *request = json_object();
    int rc = vs_session_open(&s, args, NULL, VS_SESSION_RUNNING | VS_SESSION_NO_LOAD, &err);
    if (rc == VS_OK) {
        rc = open_folder(&f);
        if (rc == VS_OK)
            rc = vs_session_call(&s, VS_MSG_AUDITLOG, request, -1, take, &f, NULL, &err);
        if (f.err.code != VS_OK)
            err = f.err;
        vs_session_close(&s);
    }
    json_decref(request);
    if (f.dir >= 0)
        close(f.dir);
    if (rc == VS_OK && f.n == 0)
        rc = vs_error_set(&err, VS_E_PROTOCOL, "the daemon gave no file");
    if (rc != VS_OK)
        return vs_fail(&err);
    vs_note("%u files in %s", f.n, f.folder);
    return 0;
}
