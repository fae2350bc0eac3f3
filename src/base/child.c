/* base/child.c - see child.h */
#include "base/child.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC 4u
#endif

#define SANITIZER_OPTIONS "ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS", "TSAN_OPTIONS"

const char *const vs_child_kept_locked[] = { "VERITAS_SANDBOX", "VERITAS_DEBUG", SANITIZER_OPTIONS, NULL };
const char *const vs_child_kept_signer[] = {
    "VERITAS_SANDBOX", "VERITAS_DEBUG", "OPENSSL_CONF", "OPENSSL_MODULES", "PKCS11_*", "SOFTHSM2_CONF", SANITIZER_OPTIONS, NULL
};
const char *const vs_child_kept_daemon[] = {
    "VERITAS_*", "HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR", "TERM", "NO_COLOR",
    SANITIZER_OPTIONS, NULL
};

/* Does the entry of a list stand for the variable NAME=...? */
static bool is_named(const char *entry, const char *variable)
{
    size_t n = strlen(entry);
    if (n > 0 && entry[n - 1] == '*')
        return strncmp(entry, variable, n - 1) == 0;
    return strncmp(entry, variable, n) == 0 && variable[n] == '=';
}

static void exec_in_path(const char *program, char *const argv[], char *const environment[])
{
    char path[PATH_MAX];
    size_t n = strlen(program);
    for (const char *folder = VS_CHILD_PATH; *folder; ) {
        size_t length = strcspn(folder, ":");
        if (length + n + 2 <= sizeof path) {
            memcpy(path, folder, length);
            path[length] = '/';
            memcpy(path + length + 1, program, n + 1);
            execve(path, argv, environment);
            if (errno != ENOENT && errno != ENOTDIR && errno != EACCES)
                return;
        }
        folder += length + (folder[length] == ':');
    }
    errno = ENOENT;
}

void vs_child_environment(const char *const *set, const char *const *kept, struct vs_child_environment *ret)
{
    static const char path[] = "PATH=" VS_CHILD_PATH;
    size_t n = 0;
    ret->value[n++] = (char *)(uintptr_t)path;      /* execve changes nothing */
    for (; set && *set && n < VS_CHILD_MAX_VARIABLES; set++)
        ret->value[n++] = (char *)(uintptr_t)*set;
    for (; kept && *kept; kept++)
        for (char **variable = environ; variable && *variable && n < VS_CHILD_MAX_VARIABLES; variable++)
            if (is_named(*kept, *variable))
                ret->value[n++] = *variable;
    ret->value[n] = NULL;
}

void vs_child_exec(const char *program, char *const argv[], const char *const *set, const char *const *kept, const char *directory)
{
    struct vs_child_environment environment;
    vs_child_environment(set, kept, &environment);
    if (directory && chdir(directory) != 0)
        return;
    if (strchr(program, '/'))
        execve(program, argv, environment.value);
    else
        exec_in_path(program, argv, environment.value);
}

void vs_child_close_from(unsigned first)
{
    close_range(first, ~0u, CLOSE_RANGE_CLOEXEC);
}
