/* prog/veritas/stage.c - see stage.h */
#include "prog/veritas/stage.h"

#include "prog/veritas/session.h"
#include "prog/veritas/term.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* The folder may be removed by the pull that held the lock before us: then begin again. */
static int take_lock(struct vs_stage *s, struct vs_error *err)
{
    for (bool said = false;;) {
        struct stat ours, there;
        if (mkdir(s->directory, 0700) < 0 && errno != EEXIST)
            return vs_error_set(err, errno == ENOSPC ? VS_E_LIMIT : VS_E_SYSTEM, "cannot make %s: %s", s->directory,
                                strerror(errno));
        s->lock = open(s->directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (s->lock < 0 && errno == ENOENT)
            continue;
        if (s->lock < 0)
            return vs_error_set(err, VS_E_SYSTEM, "cannot open %s: %s", s->directory, strerror(errno));
        if (fstat(s->lock, &ours) < 0 || ours.st_uid != geteuid() || (ours.st_mode & 022))
            return vs_error_set(err, VS_E_DENIED, "%s is not ours alone: others could change what is checked there; delete it",
                                s->directory);
        if (flock(s->lock, LOCK_EX | LOCK_NB) < 0) {
            if (!said)
                vs_note("another pull of %s is running; waiting for it", s->name);
            said = true;
            if (flock(s->lock, LOCK_EX) < 0)
                return vs_session_is_interrupted() ? VS_E_CANCELLED
                       : vs_error_set(err, VS_E_SYSTEM, "cannot lock %s: %s", s->directory, strerror(errno));
        }
        if (stat(s->directory, &there) == 0 && ours.st_ino == there.st_ino && ours.st_dev == there.st_dev)
            return VS_OK;
        close(s->lock);
    }
}

int vs_stage_open(struct vs_stage *s, const char *name, struct vs_error *err)
{
    char models[PATH_MAX], real[PATH_MAX];
    *s = (struct vs_stage){ .lock = -1 };
    snprintf(s->name, sizeof s->name, "%s", name);
    int rc = vs_models_directory(models, sizeof models, err);
    if (rc != VS_OK || (rc = vs_directory_make(models, err)) != VS_OK)
        return rc;
    /* Children stand elsewhere, so every path that they get is absolute. */
    if (!realpath(models, real))
        return vs_error_set(err, VS_E_SYSTEM, "cannot look into %s: %s", models, strerror(errno));
    if (snprintf(s->directory, sizeof s->directory, "%s/.%s.pull", real, name) >= (int)sizeof s->directory - 256)
        return vs_error_set(err, VS_E_LIMIT, "the path of the model directory is too long");
    if ((rc = take_lock(s, err)) != VS_OK)
        vs_stage_close(s, false);
    return rc;
}

void vs_stage_close(struct vs_stage *s, bool remove)
{
    if (s->lock < 0)
        return;
    if (remove)
        vs_directory_remove(s->directory);
    close(s->lock);
    s->lock = -1;
}

void vs_stage_path(const struct vs_stage *s, const char *file, char ret[PATH_MAX])
{
    snprintf(ret, PATH_MAX, "%.*s/%.250s", PATH_MAX - 256, s->directory, file);
}

int vs_stage_look(const char *name, const struct vs_record *wanted, uint64_t bytes, struct vs_error *err)
{
    char path[PATH_MAX], hex[65];
    struct stat st;
    struct vs_record record = { 0 };
    int rc = vs_model_path(name, path, sizeof path, err);
    if (rc != VS_OK)
        return rc;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 && errno == ENOENT)
        return VS_E_NOT_FOUND;
    if (fd < 0 || fstat(fd, &st) < 0) {
        rc = vs_error_set(err, VS_E_DENIED, "cannot open %s: %s", path, strerror(errno));
        goto out;
    }
    bool may_be = S_ISREG(st.st_mode) && wanted->sha256[0] && (bytes == 0 || (uint64_t)st.st_size == bytes);
    if (may_be && vs_record_read(name, &st, &record) != VS_RECORD_CURRENT) {
        if ((rc = vs_file_digest(fd, name, hex, err)) != VS_OK)
            goto out;
        memcpy(record.sha256, hex, sizeof hex);
        if (strcmp(hex, wanted->sha256) == 0)
            vs_record_write(name, &st, wanted, NULL);
    }
    if (!may_be || strcmp(record.sha256, wanted->sha256) != 0)
        rc = vs_error_set(err, VS_E_BUSY, "%s is there and is another file than the model %s, by size or SHA-256; --force replaces "
                          "it, `veritas models add` keeps it under another name", path, name);
out:
    if (fd >= 0)
        close(fd);
    return rc;
}

int vs_stage_publish(const char *path, int fd, const char *name, const struct vs_record *record, bool force, struct vs_error *err)
{
    char target[PATH_MAX];
    struct stat st;
    int rc = vs_model_path(name, target, sizeof target, err);
    if (rc != VS_OK)
        return rc;
    if (fsync(fd) < 0)
        return vs_error_set(err, VS_E_SYSTEM, "cannot write %s: %s", path, strerror(errno));
    int put = force ? rename(path, target) : renameat2(AT_FDCWD, path, AT_FDCWD, target, RENAME_NOREPLACE);
    if (put < 0 && errno == EINVAL && (put = link(path, target)) == 0)          /* a file system without that */
        unlink(path);
    if (put < 0 && errno == EEXIST)
        return vs_error_set(err, VS_E_BUSY, "a model %s is there already; --force replaces it", name);
    if (put < 0)
        return vs_error_set(err, VS_E_SYSTEM, "cannot make %s: %s", target, strerror(errno));
    if (fstat(fd, &st) < 0 || vs_record_write(name, &st, record, err) != VS_OK)
        vs_say("the SHA-256 of %s could not be written down: %s", name, err ? err->text : "");
    return VS_OK;
}

int vs_stage_inspect(const struct vs_args *args, const struct vs_files *files, const char *what, char ret_unfit[VS_UNFIT],
                     struct vs_error *err)
{
    struct vs_session s;
    struct vs_error why = { 0 };
    json_t *request = json_object(), *about = NULL;
    int rc = vs_session_open_files(&s, args, files, &why);
    if (rc == VS_OK)
        rc = vs_session_call(&s, VS_MSG_INSPECT, request, -1, NULL, NULL, &about, &why);
    const char *unfit = json_string_value(json_object_get(json_object_get(about, "memory"), "unknown"));
    snprintf(ret_unfit, VS_UNFIT, "%s", unfit ? unfit : "");
    json_decref(about);
    json_decref(request);
    vs_session_close(&s);
    return rc == VS_OK ? VS_OK : vs_error_set(err, rc, "%.160s was not added: %s", what, why.text);
}

void vs_stage_say(const char *name, const char *of_digest, const char *unfit)
{
    if (unfit[0])
        vs_note("%s is there, SHA-256 %s; this version cannot run it: %s", name, of_digest, unfit);
    else
        vs_note("%s is there, SHA-256 %s: veritas run -m %s ...", name, of_digest, name);
}
