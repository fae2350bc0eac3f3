/* prog/veritas/logits.c - `veritas logits`: all logits of a text as a NumPy file (.npy, version 1.0).
 *
 * The number of rows is known at the end only, so the header is written last, into the 128 bytes left free for it.
 */
#include "prog/veritas/command.h"
#include "prog/veritas/session.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HEADER 128
#define TEXT_LIMIT (15u << 20)

struct sink { int fd; uint64_t bytes; };

static bool write_all(int fd, const char *data, size_t n)
{
    for (size_t at = 0; at < n;) {
        ssize_t put = write(fd, data + at, n - at);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return false;
        at += (size_t)put;
    }
    return true;
}

static int take_rows(void *context, const struct vs_event *e)
{
    struct sink *sink = context;
    if (e->kind != VS_MSG_DATA)
        return VS_OK;
    if ((sink->bytes == 0 && ftruncate(sink->fd, HEADER) != 0) || !write_all(sink->fd, e->text, e->n))
        return VS_E_SYSTEM;
    sink->bytes += e->n;
    return VS_OK;
}

static bool write_header(int fd, uint64_t rows, uint64_t columns)
{
    char header[HEADER + 1];
    memset(header, ' ', sizeof header);
    memcpy(header, "\x93NUMPY\x01\x00", 8);
    header[8] = HEADER - 10;
    header[9] = 0;
    int n = snprintf(header + 10, HEADER - 10, "{'descr': '<f4', 'fortran_order': False, 'shape': (%llu, %llu), }",
                     (unsigned long long)rows, (unsigned long long)columns);
    header[10 + n] = ' ';
    header[HEADER - 1] = '\n';
    return pwrite(fd, header, HEADER, 0) == HEADER;
}

int vs_command_logits(const struct vs_args *args)
{
    struct vs_error err = { 0 };
    struct vs_session s = { 0 };
    struct sink sink = { .fd = -1 };
    char *text = NULL;
    size_t n = 0;
    json_t *request = json_object(), *result = NULL;
    int rc = VS_OK;
    const char *path = vs_args_text(args, VS_OPT_OUTPUT);
    bool made = false;
    if (!path) {
        json_decref(request);
        return vs_usage("logits", "where to? -o FILE.npy");
    }
    if (vs_args_given(args, VS_OPT_TOKENS) && args->n > 0) {
        json_decref(request);
        return vs_usage("logits", "either --tokens or a file, not both");
    }
    if (!vs_args_given(args, VS_OPT_TOKENS)) {
        if ((rc = vs_text_read(args->n > 0 ? args->v[0] : NULL, TEXT_LIMIT, &text, &n, &err)) != VS_OK ||
            (rc = vs_text_check("the text", text, n, &err)) != VS_OK)
            goto out;
        json_object_set_new(request, "text", json_stringn(text, n));
    }
    if (vs_args_json(args, "", request) != VS_OK) {
        rc = vs_error_set(&err, VS_E_NOMEM, "out of memory");
        goto out;
    }
    /* Opened before the model is loaded, so that a bad path is said at once; an older file stays until the first row comes. */
    made = access(path, F_OK) != 0;
    sink.fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (sink.fd < 0 || lseek(sink.fd, HEADER, SEEK_SET) != HEADER) {
        rc = vs_error_set(&err, VS_E_SYSTEM, "cannot write %s: %s (it must be a plain file)", path, strerror(errno));
        goto out;
    }
    if ((rc = vs_session_open(&s, args, vs_args_text(args, VS_OPT_MODEL), VS_SESSION_LOUD, &err)) != VS_OK)
        goto out;
    rc = vs_session_call(&s, VS_MSG_LOGITS, request, -1, take_rows, &sink, &result, &err);
    if (rc != VS_OK)
        goto out;
    uint64_t rows = (uint64_t)json_integer_value(json_object_get(result, "n_tokens"));
    uint64_t columns = (uint64_t)json_integer_value(json_object_get(result, "n_vocab"));
    if (rows > UINT32_MAX || columns > UINT32_MAX || rows * columns * 4 != sink.bytes)
        rc = vs_error_set(&err, VS_E_PROTOCOL, "%llu bytes of logits came for %llu x %llu numbers", (unsigned long long)sink.bytes,
                          (unsigned long long)rows, (unsigned long long)columns);
    else if (!write_header(sink.fd, rows, columns))
        rc = vs_error_set(&err, VS_E_SYSTEM, "cannot write %s: %s", path, strerror(errno));
    else if (vs_args_given(args, VS_OPT_JSON))
        vs_answer_json(result, JSON_COMPACT);
    else
        vs_say("%s: float32 [%llu, %llu]", path, (unsigned long long)rows, (unsigned long long)columns);
out:
    if (sink.fd >= 0)
        close(sink.fd);
    if (rc != VS_OK && (made || sink.bytes > 0))
        unlink(path);
    json_decref(result);
    json_decref(request);
    vs_session_close(&s);
    free(text);
    return rc == VS_OK ? 0 : vs_fail(&err);
}
