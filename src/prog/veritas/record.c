/* prog/veritas/record.c - see record.h */
#include "prog/veritas/record.h"

#include "base/bytes.h"
#include "base/file.h"
#include "ipc/json.h"
#include "prog/veritas/models.h"
#include "prog/veritas/output.h"
#include "prog/veritas/session.h"
#include "prog/veritas/term.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { MAX_RECORD = 8192 };

/* ---- digest ---- */

struct vs_sum *vs_sum_create(void)
{
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    if (c && EVP_DigestInit_ex(c, EVP_sha256(), NULL) != 1) {
        EVP_MD_CTX_free(c);
        return NULL;
    }
    return (struct vs_sum *)c;
}

bool vs_sum_add(struct vs_sum *sum, const void *data, size_t n)
{
    return EVP_DigestUpdate((EVP_MD_CTX *)sum, data, n) == 1;
}

bool vs_sum_end(struct vs_sum *sum, char ret_hex[65])
{
    unsigned char hash[EVP_MAX_MD_SIZE];
    if (EVP_DigestFinal_ex((EVP_MD_CTX *)sum, hash, NULL) != 1)
        return false;
    vs_hex(hash, 32, ret_hex);
    return true;
}

void vs_sum_free(struct vs_sum *sum)
{
    EVP_MD_CTX_free((EVP_MD_CTX *)sum);
}

int vs_file_digest(int fd, const char *what, char ret_hex[65], struct vs_error *err)
{
    struct vs_progress progress = { .what = what, .bytes = true };
    static unsigned char block[1 << 18];
    struct stat before, after;
    uint64_t done = 0;
    int rc = VS_OK;
    struct vs_sum *sum = vs_sum_create();
    if (!sum || fstat(fd, &before) < 0)
        rc = vs_error_set(err, VS_E_NOMEM, "out of memory");
    for (ssize_t n; rc == VS_OK && (n = pread(fd, block, sizeof block, (off_t)done)) != 0;) {
        if (vs_session_is_interrupted())
            rc = vs_error_set(err, VS_E_CANCELLED, "interrupted");
        else if (n < 0 && errno == EINTR)
            continue;
        else if (n < 0 || !vs_sum_add(sum, block, (size_t)n))
            rc = vs_error_set(err, VS_E_SYSTEM, "%s: cannot read: %s", what, strerror(errno));
        else
            vs_progress_show(&progress, done += (uint64_t)n, (uint64_t)before.st_size);
    }
    if (rc == VS_OK && !vs_sum_end(sum, ret_hex))
        rc = vs_error_set(err, VS_E_SYSTEM, "%s: SHA-256 failed", what);
    if (rc == VS_OK && (fstat(fd, &after) < 0 || !vs_file_is_untouched(&before, &after)))
        rc = vs_error_set(err, VS_E_MALFORMED, "%s: the file changed while it was read; try again when it is complete", what);
    vs_sum_free(sum);
    vs_progress_end(&progress);
    return rc;
}

int vs_digest_join(const struct vs_digest_lines *parts, unsigned n, char ret_hex[65], struct vs_error *err)
{
    struct vs_sum *sum = vs_sum_create();
    bool fine = sum;
    for (unsigned i = 0; i < n && fine; i++)
        fine = vs_sum_add(sum, parts[i].hex, 64) && vs_sum_add(sum, "\n", 1);
    fine = fine && vs_sum_end(sum, ret_hex);
    vs_sum_free(sum);
    return fine ? VS_OK : vs_error_set(err, VS_E_NOMEM, "out of memory");
}

int vs_files_digest(const struct vs_files *files, const char *what, char ret_hex[65], struct vs_error *err)
{
    struct vs_digest_lines part[VS_MAX_FILES];
    int rc = VS_OK;
    for (unsigned i = 0; i < files->n && rc == VS_OK; i++)
        rc = vs_file_digest(files->fd[i], what, part[i].hex, err);
    if (rc == VS_OK && files->n > 1)
        return vs_digest_join(part, files->n, ret_hex, err);
    if (rc == VS_OK)
        memcpy(ret_hex, part[0].hex, sizeof part[0].hex);
    return rc;
}

/* ---- record ---- */

int vs_record_path(const char *name, char *ret, size_t n, struct vs_error *err)
{
    char directory[PATH_MAX];
    int rc = vs_models_directory(directory, sizeof directory, err);
    if (rc != VS_OK)
        return rc;
    int length = snprintf(ret, n, "%s/.%s.record", directory, name);
    return length >= 0 && (size_t)length < n ? VS_OK : vs_error_set(err, VS_E_LIMIT, "the path of the model directory is too long");
}

/* What identifies a file, as the record spells it. */
static json_t *identity(const struct stat *st)
{
    char modified[48], changed[48];
    snprintf(modified, sizeof modified, "%lld.%09ld", (long long)st->st_mtim.tv_sec, st->st_mtim.tv_nsec);
    snprintf(changed, sizeof changed, "%lld.%09ld", (long long)st->st_ctim.tv_sec, st->st_ctim.tv_nsec);
    return json_pack("{s:I, s:I, s:s, s:s}", "bytes", (json_int_t)st->st_size, "inode", (json_int_t)st->st_ino, "modified",
                     modified, "changed", changed);
}

/* The record counts when it is from who could have changed the file anyway: its owner, root, or us. */
static json_t *load(const char *path, const struct stat *file)
{
    char text[MAX_RECORD];
    struct stat st;
    json_t *all = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return NULL;
    bool trusted = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && !(st.st_mode & 022)
                   && (st.st_uid == geteuid() || st.st_uid == 0 || st.st_uid == file->st_uid);
    ssize_t n = trusted ? pread(fd, text, sizeof text, 0) : -1;
    close(fd);
    if (n > 0 && n < (ssize_t)sizeof text)
        all = vs_json_parse(text, (size_t)n, NULL);
    return all;
}

enum vs_record_state vs_record_read(const char *name, const struct stat *file, struct vs_record *ret)
{
    char path[PATH_MAX];
    if (vs_record_path(name, path, sizeof path, NULL) != VS_OK)
        return VS_RECORD_NONE;
    json_t *all = load(path, file), *now = identity(file);
    const char *sha256 = json_string_value(json_object_get(all, "sha256")), *source = json_string_value(json_object_get(all,
            "source"));
    enum vs_record_state state = VS_RECORD_NONE;
    if (sha256 && vs_hex_is_sha256(sha256)) {
        snprintf(ret->sha256, sizeof ret->sha256, "%s", sha256);
        snprintf(ret->source, sizeof ret->source, "%s", source ? source : "");
        state = json_equal(json_object_get(all, "file"), now) ? VS_RECORD_CURRENT : VS_RECORD_STALE;
    }
    json_decref(now);
    json_decref(all);
    return state;
}

enum vs_record_state vs_record_of_model(const char *path, const struct vs_files *files, struct vs_record *ret)
{
    struct vs_digest_lines part[VS_MAX_PARTS];
    char file[PATH_MAX], name[VS_MODEL_NAME_MAX + 1];
    size_t at = 0;
    unsigned n = vs_split_count(path, &at);
    enum vs_record_state worst = VS_RECORD_CURRENT;
    n = n ? n : 1;
    if (n > VS_MAX_PARTS || (files && files->n != n))
        return VS_RECORD_NONE;
    for (unsigned i = 0; i < n; i++) {
        struct vs_record one = { 0 };
        struct stat st;
        snprintf(file, sizeof file, "%s", path);
        if (n > 1)
            vs_split_name(path, at, i + 1, file, sizeof file);
        vs_model_name_from(file, name, sizeof name);
        bool there = files ? fstat(files->fd[i], &st) == 0 : stat(file, &st) == 0;
        enum vs_record_state state = there ? vs_record_read(name, &st, &one) : VS_RECORD_NONE;
        worst = state < worst ? state : worst;
        memcpy(part[i].hex, one.sha256, sizeof part[i].hex);
        if (i == 0)
            *ret = one;
    }
    if (n > 1 && worst != VS_RECORD_NONE && vs_digest_join(part, n, ret->sha256, NULL) != VS_OK)
        return VS_RECORD_NONE;
    return worst;
}

int vs_record_write(const char *name, const struct stat *file, const struct vs_record *record, struct vs_error *err)
{
    char path[PATH_MAX];
    struct vs_output out;
    struct vs_buf text = { 0 };
    int rc = vs_record_path(name, path, sizeof path, err);
    if (rc != VS_OK)
        return rc;
    json_t *all = json_pack("{s:s, s:s, s:o}", "sha256", record->sha256, "source", record->source, "file", identity(file));
    if (all)
        vs_json_dump(all, &text);
    vs_buf_char(&text, '\n');
    if (!all || text.status != VS_OK) {
        rc = vs_error_set(err, VS_E_NOMEM, "out of memory");
    } else if ((rc = vs_output_open(&out, path, 0644, err)) == VS_OK) {
        vs_output_write(&out, text.data, text.n);
        rc = vs_output_commit(&out, err);
    }
    vs_buf_clear(&text);
    json_decref(all);
    return rc;
}
