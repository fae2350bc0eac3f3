/* prog/veritas/signing.c - the key from outside that signs the first key of a log: policy key signing.key (docs/AUDIT.md).
 *
 * It is opened before the daemon opens anything else, goes to the log's writer alone, and is closed when that has used it. Nobody
 * here reads it. */
#include "prog/veritas/serve.h"

#include "ipc/json.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A file that others may read is no secret. */
static int check_secret(const char *name, int fd, struct vs_error *err)
{
    struct stat st;
    if (fd < 0)
        return vs_error_set(err, errno == ENOENT ? VS_E_NOT_FOUND : VS_E_DENIED, "signing.key %.300s: %s", name,
                            errno == ELOOP ? "it is a link" : strerror(errno));
    if (fstat(fd, &st) != 0 || (S_ISREG(st.st_mode) && ((st.st_mode & 077) || (st.st_uid != geteuid() && st.st_uid != 0))))
        return vs_error_set(err, VS_E_DENIED, "signing.key %.300s: others may read it, or it is another user's; chmod 600", name);
    return VS_OK;
}

static int open_path(struct supervisor *s, const char *path, struct vs_error *err)
{
    s->writer.root_fd = open(path, O_RDONLY | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    return check_secret(path, s->writer.root_fd, err);
}

/* A relative path begins where the policy lies. */
static int open_file(struct supervisor *s, const char *rest, struct vs_error *err)
{
    char path[PATH_MAX];
    const char *policy = s->settings.policy.path, *slash = strrchr(policy, '/');
    int n = *rest == '/' || !slash ? snprintf(path, sizeof path, "%s", rest)
                                   : snprintf(path, sizeof path, "%.*s/%s", (int)(slash - policy), policy, rest);
    return n < (int)sizeof path ? open_path(s, path, err) : vs_error_set(err, VS_E_LIMIT, "signing.key: the path is too long");
}

/* One that was open when the daemon began: nobody else gets it. */
static int open_descriptor(struct supervisor *s, const char *rest, struct vs_error *err)
{
    char *end;
    long n = strtol(rest, &end, 10);
    if (end == rest || *end || n < 3 || n > 1023)
        return vs_error_set(err, VS_E_INVALID, "signing.key fd:%.40s: a number from 3 to 1023", rest);
    s->writer.root_fd = fcntl((int)n, F_DUPFD_CLOEXEC, HIGH_FD);
    if (s->writer.root_fd >= 0)
        close((int)n);
    return check_secret(rest, s->writer.root_fd, err);
}

/* Of the service manager. */
static int open_credential(struct supervisor *s, const char *rest, struct vs_error *err)
{
    char path[PATH_MAX];
    const char *folder = getenv("CREDENTIALS_DIRECTORY");
    if (!folder || !*folder)
        return vs_error_set(err, VS_E_NOT_FOUND, "signing.key credential:%.100s: there is no $CREDENTIALS_DIRECTORY; a service has "
                            "one (LoadCredential=)", rest);
    if (!*rest || strchr(rest, '/') || *rest == '.')
        return vs_error_set(err, VS_E_INVALID, "signing.key credential:%.100s: this is no name", rest);
    if (snprintf(path, sizeof path, "%s/%s", folder, rest) >= (int)sizeof path)
        return vs_error_set(err, VS_E_LIMIT, "signing.key: the path is too long");
    return open_path(s, path, err);
}

static int open_token(struct supervisor *s, const char *rest, struct vs_error *err)
{
    snprintf(s->writer.root_uri, sizeof s->writer.root_uri, "pkcs11:%s", rest);
    return *rest ? VS_OK : vs_error_set(err, VS_E_INVALID, "signing.key pkcs11: an address must follow (RFC 7512)");
}

static const struct {
    const char *scheme;
    int (*open)(struct supervisor *s, const char *rest, struct vs_error *err);
} forms[] = {
    { "file:", open_file }, { "fd:", open_descriptor }, { "credential:", open_credential }, { "pkcs11:", open_token },
};

int signing_open(struct supervisor *s, struct vs_error *err)
{
    json_t *all = vs_json_parse(s->settings.policy.text, strlen(s->settings.policy.text), NULL);
    const char *where = json_string_value(json_object_get(json_object_get(all, "signing"), "key"));
    int rc = !where || !*where ? VS_OK
        : vs_error_set(err, VS_E_INVALID, "signing.key: it begins with file:, fd:, credential: or pkcs11:");
    for (size_t i = 0; where && i < sizeof forms / sizeof *forms; i++)
        if (strncmp(where, forms[i].scheme, strlen(forms[i].scheme)) == 0)
            rc = forms[i].open(s, where + strlen(forms[i].scheme), err);
    json_decref(all);
    return rc;
}

void signing_close(struct supervisor *s)
{
    if (s->writer.root_fd >= 0)
        close(s->writer.root_fd);
    s->writer.root_fd = -1;
    s->writer.root_uri[0] = 0;
}
