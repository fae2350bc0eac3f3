/* client/key.c - the API key of VERITAS_KEY_FILE: never an argument, which every process may read, and never a variable. */
#include "client/internal.h"

#include "base/file.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int vs_client_key_read(char ret[VS_CLIENT_KEY_BYTES], struct vs_error *err)
{
    const char *path = getenv("VERITAS_KEY_FILE");
    char text[1024];
    struct stat st;
    int fd;
    ret[0] = 0;
    if (!path || !*path)
        return VS_OK;
    int rc = vs_file_open("the key (VERITAS_KEY_FILE)", path, &fd, &st, err);
    if (rc == VS_E_NOT_FOUND) {         /* which would say that no daemon is there, and a private one would answer */
        rc = VS_E_INVALID;
        if (err)
            err->code = rc;
    }
    if (rc != VS_OK)
        return rc;
    ssize_t n = read(fd, text, sizeof text);
    close(fd);
    const char *at = text;
    for (; n > 0 && strchr(" \t\r\n", *at) && *at; at++)
        n--;
    while (n > 0 && strchr(" \t\r\n", at[n - 1]) && at[n - 1])
        n--;
    if (st.st_mode & 077)
        rc = vs_error_set(err, VS_E_DENIED, "others may read the key in %s (VERITAS_KEY_FILE); run chmod 600 on it", path);
    else if (n <= 0 || n >= VS_CLIENT_KEY_BYTES || memchr(at, 0, (size_t)n) || memchr(at, '\n', (size_t)n))
        rc = vs_error_set(err, VS_E_INVALID, "%s (VERITAS_KEY_FILE) does not hold one key", path);
    else {
        memcpy(ret, at, (size_t)n);
        ret[n] = 0;
    }
    explicit_bzero(text, sizeof text);
    return rc;
}
