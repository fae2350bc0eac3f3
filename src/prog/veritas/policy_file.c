/* prog/veritas/policy_file.c - see policy_file.h; and `veritas policy`. */
#include "prog/veritas/policy_file.h"

#include "base/file.h"
#include "ipc/json.h"
#include "prog/veritas/command.h"
#include "prog/veritas/term.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SYSTEM_FILE "/etc/veritas/policy.json"

/* ---- where ---- */

static int too_long(struct vs_error *err)
{
    return vs_error_set(err, VS_E_LIMIT, "the path of the policy is too long");
}

static int absolute(const char *path, char ret[PATH_MAX], struct vs_error *err)
{
    char here[PATH_MAX];
    if (path[0] == '/')
        return snprintf(ret, PATH_MAX, "%s", path) < PATH_MAX ? VS_OK : too_long(err);
    if (!getcwd(here, sizeof here))
        return vs_error_set(err, VS_E_SYSTEM, "cannot find the policy %s: the directory: %s", path, strerror(errno));
    return snprintf(ret, PATH_MAX, "%s/%s", here, path) < PATH_MAX ? VS_OK : too_long(err);
}

int vs_policy_file_find(const char *named, char ret[PATH_MAX], struct vs_error *err)
{
    const char *variable = getenv("VERITAS_POLICY"), *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    int n = 0;
    if (!named && variable && *variable)
        named = variable;
    if (named)
        return absolute(named, ret, err);
    if (config && config[0] == '/')
        n = snprintf(ret, PATH_MAX, "%s/veritas/policy.json", config);
    else if (home && home[0] == '/')
        n = snprintf(ret, PATH_MAX, "%s/.config/veritas/policy.json", home);
    if (n >= PATH_MAX)
        return too_long(err);
    if (n > 0 && access(ret, F_OK) == 0)
        return VS_OK;
    snprintf(ret, PATH_MAX, "%s", access(SYSTEM_FILE, F_OK) == 0 ? SYSTEM_FILE : "");
    return VS_OK;
}

/* ---- reading ---- */

static int read_whole(const char *what, const char *path, struct vs_buf *ret, struct vs_error *err)
{
    struct stat st;
    ssize_t got = -1;
    int fd, rc = vs_file_open(what, path, &fd, &st, err);
    if (rc != VS_OK)
        return rc;
    ret->limit = VS_POLICY_FILE_MOST;
    while (ret->status == VS_OK && got != 0) {
        char piece[16384];
        got = read(fd, piece, sizeof piece);
        if (got < 0 && errno != EINTR) {
            rc = vs_error_set(err, VS_E_SYSTEM, "cannot read %s %s: %s", what, path, strerror(errno));
            break;
        }
        if (got > 0)
            vs_buf_add(ret, piece, (size_t)got);
        explicit_bzero(piece, sizeof piece);
    }
    close(fd);
    if (rc == VS_OK && ret->status == VS_E_LIMIT)
        return vs_error_set(err, VS_E_LIMIT, "%s %s is longer than %d bytes", what, path, VS_POLICY_FILE_MOST);
    return rc != VS_OK || ret->status == VS_OK ? rc : vs_error_set(err, ret->status, "%s", vs_status_text(ret->status));
}

/* For vs_policy_parse: `context` is the policy's own path. */
static int read_protected(void *context, const char *path, struct vs_buf *ret, struct vs_error *err)
{
    const char *policy = context, *slash = strrchr(policy, '/');
    char whole[PATH_MAX];
    int n = path[0] == '/' ? snprintf(whole, sizeof whole, "%s", path)
                           : snprintf(whole, sizeof whole, "%.*s/%s", (int)(slash - policy), policy, path);
    if (n >= (int)sizeof whole)
        return vs_error_set(err, VS_E_LIMIT, "the path is too long");
    return read_whole("the file", whole, ret, err);
}

/* The canonical text; a wipe of what is freed is the caller's. */
static char *formatted(const struct vs_policy *p)
{
    struct vs_buf text = { 0 };
    vs_policy_format(p, &text);
    if (text.status == VS_OK)
        return text.data;
    vs_buf_clear(&text);
    return NULL;
}

/* Where keys are: as the policy says, from its own folder on; else in the folder of state. */
static int find_keys(struct vs_policy_file *f, struct vs_error *err)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME"), *named = f->identity.keys, *slash = strrchr(f->path, '/');
    int n = 0;
    if (named[0] == '/')
        n = snprintf(f->keys, sizeof f->keys, "%s", named);
    else if (named[0])
        n = snprintf(f->keys, sizeof f->keys, "%.*s/%s", (int)(slash - f->path), f->path, named);
    else if (state && state[0] == '/')
        n = snprintf(f->keys, sizeof f->keys, "%s/veritas/keys", state);
    else if (home && home[0] == '/')
        n = snprintf(f->keys, sizeof f->keys, "%s/.local/state/veritas/keys", home);
    return n < (int)sizeof f->keys ? VS_OK : vs_error_set(err, VS_E_LIMIT, "the path of the folder of keys is too long");
}

static int parse(struct vs_policy_file *f, const struct vs_buf *file, struct vs_error *err)
{
    struct vs_policy policy = { 0 }, shown = { 0 };
    struct vs_error why = { 0 };
    const char *text = file->data ? file->data : *f->path ? "" : "{}";
    size_t n = file->data ? file->n : strlen(text);
    unsigned line = 0;
    int rc = vs_policy_parse(text, n, read_protected, f->path, &policy, &line, &why);
    if (rc == VS_OK)
        rc = vs_policy_parse(text, n, NULL, NULL, &shown, &line, &why);
    if (rc == VS_OK && (!(f->text = formatted(&policy)) || !(f->shown = formatted(&shown)) ||
                        vs_policy_digest(&policy, f->digest) != VS_OK))
        rc = vs_error_set(&why, VS_E_NOMEM, "out of memory");
    f->identity = policy.identity;
    f->receipts = policy.receipts.mode;
    memcpy(f->keep, policy.receipts.keep, sizeof f->keep);
    if (rc == VS_OK && !(f->limits = vs_policy_limits_json(&policy)))
        rc = vs_error_set(&why, VS_E_NOMEM, "out of memory");
    vs_policy_clear(&policy);
    vs_policy_clear(&shown);
    if (rc == VS_OK && (rc = find_keys(f, &why)) != VS_OK)
        line = 0;
    return rc == VS_OK ? VS_OK : line ? vs_error_set(err, rc, "%s:%u: %.400s", f->path, line, why.text)
                                      : vs_error_set(err, rc, "%s: %.400s", f->path, why.text);
}

int vs_policy_file_read(struct vs_policy_file *ret, const char *named, struct vs_error *err)
{
    struct vs_buf text = { 0 };
    *ret = (struct vs_policy_file){ 0 };
    int rc = vs_policy_file_find(named, ret->path, err);
    if (rc == VS_OK && *ret->path)
        rc = read_whole("the policy", ret->path, &text, err);
    if (rc == VS_OK)
        rc = parse(ret, &text, err);
    if (text.data)
        explicit_bzero(text.data, text.n);
    vs_buf_clear(&text);
    if (rc != VS_OK)
        vs_policy_file_clear(ret);
    return rc;
}

void vs_policy_file_clear(struct vs_policy_file *f)
{
    if (f->text)
        explicit_bzero(f->text, strlen(f->text));
    free(f->text);
    free(f->shown);
    json_decref(f->limits);
    *f = (struct vs_policy_file){ 0 };
}

/* ---- veritas policy ---- */

int vs_command_policy(const struct vs_args *args)
{
    char name[64];
    if (args->n == 0)
        return vs_usage("policy", "which one: check or show?");
    snprintf(name, sizeof name, "policy %.40s", args->v[0]);
    return vs_command_unknown(name);
}

int vs_command_policy_check(const struct vs_args *args)
{
    struct vs_policy_file f;
    struct vs_error err = { 0 };
    vs_json_setup(0);
    if (vs_policy_file_read(&f, args->v[0], &err) != VS_OK)
        return vs_fail(&err);
    printf("ok %s\n", f.digest);
    vs_policy_file_clear(&f);
    return 0;
}

int vs_command_policy_show(const struct vs_args *args)
{
    struct vs_policy_file f;
    struct vs_error err = { 0 };
    vs_json_setup(0);
    if (vs_policy_file_read(&f, args->n > 0 ? args->v[0] : NULL, &err) != VS_OK)
        return vs_fail(&err);
    json_t *policy = vs_json_parse(f.shown, strlen(f.shown), &err);
    json_t *all = json_object();
    if (vs_args_given(args, VS_OPT_JSON)) {
        json_object_set_new(all, "file", *f.path ? vs_json_text(f.path, strlen(f.path)) : json_null());
        json_object_set_new(all, "digest", json_string(f.digest));
        json_object_set(all, "policy", policy);
        vs_answer_json(all, JSON_COMPACT);
    } else {
        vs_note("%s, digest %s", *f.path ? f.path : "the built-in policy", f.digest);
        vs_answer_json(policy, JSON_INDENT(2));
    }
    json_decref(policy);
    json_decref(all);
    vs_policy_file_clear(&f);
    return 0;
}
