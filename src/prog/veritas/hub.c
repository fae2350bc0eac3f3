/* prog/veritas/hub.c - see hub.h */
#include "prog/veritas/hub.h"

#include "base/files.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define NAME_CHARACTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"

static bool is_gguf(const char *path)
{
    size_t n = strlen(path);
    return n > 5 && strcasecmp(path + n - 5, ".gguf") == 0;
}

/* Relative, without empty parts, "." and "..", backslashes and control characters. */
static bool is_plain(const char *path)
{
    if (path[0] == '\0' || strlen(path) >= VS_HUB_PATH)
        return false;
    for (const char *c = path; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f || *c == '\\')
            return false;
    for (const char *part = path;; part += 1) {
        size_t n = strcspn(part, "/");
        if (n == 0 || (n == 1 && part[0] == '.') || (n == 2 && part[0] == '.' && part[1] == '.'))
            return false;
        part += n;
        if (*part == '\0')
            return true;
    }
}

int vs_hub_parse(const char *text, char ret_repo[VS_HUB_PATH], char ret_file[VS_HUB_PATH], struct vs_error *err)
{
    size_t owner = strspn(text, NAME_CHARACTERS), repo = text[owner] == '/' ? strspn(text + owner + 1, NAME_CHARACTERS) : 0;
    size_t n = owner + 1 + repo;
    if (owner == 0 || repo == 0 || text[0] == '.' || text[owner + 1] == '.' || (text[n] != '\0' && text[n] != '/')
        || n >= VS_HUB_PATH)
        return vs_error_set(err, VS_E_INVALID, "'hf:%.100s' is not hf:OWNER/REPO or hf:OWNER/REPO/FILE", text);
    const char *file = text[n] == '/' ? text + n + 1 : "";
    if (text[n] == '/' && !is_plain(file))
        return vs_error_set(err, VS_E_INVALID, "'%.100s' cannot be a file of a repository", file);
    snprintf(ret_repo, VS_HUB_PATH, "%.*s", (int)n, text);
    snprintf(ret_file, VS_HUB_PATH, "%s", file);
    return VS_OK;
}

bool vs_url_path(const char *path, char *ret, size_t n)
{
    size_t used = 0;
    for (const char *c = path; *c; c++) {
        bool plain = strchr(NAME_CHARACTERS "/~", *c) != NULL;
        if (used + 4 > n)
            return false;
        used += (size_t)snprintf(ret + used, n - used, plain ? "%c" : "%%%02X", (unsigned char)*c);
    }
    ret[used < n ? used : n - 1] = '\0';
    return used < n;
}

/* One file of the listing; false when it is none that we take. */
static bool take(const json_t *entry, struct vs_part *ret)
{
    const char *path = json_string_value(json_object_get(entry, "path")), *type = json_string_value(json_object_get(entry, "type"));
    const json_t *lfs = json_object_get(entry, "lfs");
    const char *oid = json_string_value(json_object_get(lfs, "oid"));
    json_int_t size = json_integer_value(json_object_get(lfs ? lfs : entry, "size"));
    if (!path || (type && strcmp(type, "file") != 0) || !is_plain(path) || !is_gguf(path) || size < 0)
        return false;
    *ret = (struct vs_part){ .bytes = (uint64_t)size };
    snprintf(ret->path, sizeof ret->path, "%s", path);
    if (oid && strncmp(oid, "sha256:", 7) == 0)
        oid += 7;
    if (oid && strspn(oid, "0123456789abcdef") == 64 && oid[64] == '\0')
        snprintf(ret->sha256, sizeof ret->sha256, "%s", oid);
    return true;
}

static bool find(const json_t *all, const char *path, struct vs_part *ret)
{
    json_t *entry;
    size_t i;
    json_array_foreach(all, i, entry)
        if (take(entry, ret) && strcmp(ret->path, path) == 0)
            return true;
    return false;
}

/* Names of the models in the listing, for a message. Returns how many there are; of a split one the first part counts. */
static size_t candidates(const json_t *all, char *text, size_t n, char ret_one[VS_HUB_PATH])
{
    json_t *entry;
    struct vs_part part;
    size_t i, count = 0, used = 0, at;
    text[0] = '\0';
    json_array_foreach(all, i, entry) {
        if (!take(entry, &part) || (vs_split_count(part.path, &at) > 0 && strtoul(part.path + at, NULL, 10) != 1))
            continue;
        if (count++ == 0)
            snprintf(ret_one, VS_HUB_PATH, "%s", part.path);
        int more = used < n ? snprintf(text + used, n - used, "%s%s", used ? ", " : "", part.path) : 0;
        if (more > 0 && used + (size_t)more < n)
            used += (size_t)more;
        else
            text[used] = '\0';
    }
    return count;
}

int vs_hub_pick(const char *listing, size_t n, const char *file, struct vs_part **ret_parts, size_t *ret_n, struct vs_error *err)
{
    char names[300], one[VS_HUB_PATH];
    size_t at = 0, total = 0;
    int rc = VS_OK;
    struct vs_part *parts = NULL;
    json_error_t problem;
    json_t *all = json_loadb(listing, n, JSON_REJECT_DUPLICATES, &problem);
    if (!json_is_array(all)) {
        rc = vs_error_set(err, VS_E_MALFORMED, "the hub's list of files is not what it should be (a JSON array)");
        goto out;
    }
    size_t count = candidates(all, names, sizeof names, one);
    if (count == 0 || (file[0] == '\0' && count > 1)) {
        rc = vs_error_set(err, VS_E_NOT_FOUND, count == 0 ? "the repository holds no GGUF file%.0s"
                          : "the repository holds several models; name one of them: %s", names);
        goto out;
    }
    if (file[0])
        snprintf(one, sizeof one, "%s", file);
    unsigned n_parts = vs_split_count(one, &at);
    total = n_parts ? n_parts : 1;
    parts = calloc(total, sizeof *parts);
    if (!parts) {
        rc = vs_error_set(err, VS_E_NOMEM, "out of memory");
        goto out;
    }
    for (unsigned i = 1; i <= total && rc == VS_OK; i++) {
        char path[VS_HUB_PATH];
        if (n_parts)
            vs_split_name(one, at, i, path, sizeof path);
        else
            memcpy(path, one, sizeof path);
        if (!find(all, path, &parts[i - 1]))
            rc = vs_error_set(err, VS_E_NOT_FOUND, "the repository has no file %.150s; it has: %s", path, names);
    }
out:
    json_decref(all);
    if (rc != VS_OK) {
        free(parts);
        return rc;
    }
    *ret_parts = parts;
    *ret_n = total;
    return VS_OK;
}
