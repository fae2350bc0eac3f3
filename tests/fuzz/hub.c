/* rooms: base ipc */
/* Any bytes as a hub's list of files, or as hf:OWNER/REPO[/FILE]: what is taken from them leads nowhere else. */
#include "prog/veritas/hub.c"

#include <ctype.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check_path(const char *path)
{
    if (path[0] == '\0' || path[0] == '/' || strstr(path, "//") || strncmp(path, "../", 3) == 0 || strstr(path, "/../") ||
        strchr(path, '\\')
        || strchr(path, '\n'))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const char *const wanted[] = { "", "a.gguf", "d/m-00001-of-00002.gguf" };
    struct vs_part *parts;
    size_t n_parts;
    char repo[VS_HUB_PATH], file[VS_HUB_PATH], url[3 * VS_HUB_PATH + 8], text[1024];
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        struct vs_error err = { 0 };
        if (vs_hub_pick((const char *)data, n, wanted[i], &parts, &n_parts, &err) != VS_OK) {
            if (!err.text[0])
                abort();
            continue;
        }
        if (n_parts == 0 || n_parts > VS_SPLIT_MAX)
            abort();
        for (size_t k = 0; k < n_parts; k++) {
            check_path(parts[k].path);
            if ((parts[k].sha256[0] && strlen(parts[k].sha256) != 64) || !vs_url_path(parts[k].path, url, sizeof url) ||
                strpbrk(url, " ?#\n"))
                abort();
        }
        free(parts);
    }
    size_t length = n < sizeof text - 1 ? n : sizeof text - 1;
    memcpy(text, data, length);
    text[length] = '\0';
    if (vs_hub_parse(text, repo, file, NULL) == VS_OK) {
        if (file[0])
            check_path(file);
        check_path(repo);
    }
    return 0;
}
