/* prog/veritas/logits.c - `veritas logits`: all logits of a text as a NumPy file (.npy, version 1.0).
 *
 * The number of rows is known at the end only, so the header is written last, into the bytes left free for it.
 */
#include "prog/veritas/command.h"
#include "prog/veritas/output.h"
#include "prog/veritas/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_LIMIT (15u << 20)

struct sink { struct vs_output file; uint64_t bytes; };

static int take_rows(void *context, const struct vs_event *e)
{
    struct sink *sink = context;
    if (e->kind != VS_MSG_DATA)
        return VS_OK;
    sink->bytes += e->n;
    return vs_output_write_at(&sink->file, VS_NPY_HEADER + sink->bytes - e->n, e->text, e->n) ? VS_OK : VS_E_SYSTEM;
}

int vs_command_logits(const struct vs_args *args)
{
    struct vs_error err = { 0 };
    struct vs_session s = { 0 };
    struct sink sink = { .file.fd = -1, .file.stream = -1 };
    char *text = NULL;
    size_t n = 0;
    json_t *request = json_object(), *result = NULL;
    int rc = VS_OK;
    const char *path = vs_args_text(args, VS_OPT_OUTPUT);
    if (!path) {
        json_decref(request);
        return vs_usage("logits", "where to? -o FILE.npy");
    }
    if (vs_args_given(args, VS_OPT_TOKENS) && args->n > 0) {
        json_decref(request);
        return vs_usage("logits", "either --tokens or a file, not both");
    }
    if (strcmp(path, "-") == 0 && vs_args_given(args, VS_OPT_JSON)) {
        json_decref(request);
        return vs_usage("logits", "-o - and --json would both write to standard output");
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
    /* Opened before the model is loaded, so that a bad path is said at once. */
    if ((rc = vs_output_spare(path, vs_args_text(args, VS_OPT_MODEL), &err)) != VS_OK ||
        (rc = vs_output_open(&sink.file, path, 0644, &err)) != VS_OK)
        goto out;
    if ((rc = vs_session_open(&s, args, vs_args_text(args, VS_OPT_MODEL), VS_SESSION_LOUD, &err)) != VS_OK)
        goto out;
    rc = vs_session_call(&s, VS_MSG_LOGITS, request, -1, take_rows, &sink, &result, &err);
    if (sink.file.error)                 /* the call was stopped for it; it is told with its reason */
        rc = vs_output_commit(&sink.file, &err);
    if (rc != VS_OK)
        goto out;
    uint64_t rows = (uint64_t)json_integer_value(json_object_get(result, "n_rows"));
    uint64_t columns = (uint64_t)json_integer_value(json_object_get(result, "n_vocab"));
    if (rows > UINT32_MAX || columns > UINT32_MAX || rows * columns * 4 != sink.bytes)
        rc = vs_error_set(&err, VS_E_PROTOCOL, "%llu bytes of logits came for %llu x %llu numbers", (unsigned long long)sink.bytes,
                          (unsigned long long)rows, (unsigned long long)columns);
    if (rc == VS_OK) {
        vs_output_npy(&sink.file, rows, columns);
        rc = vs_output_commit(&sink.file, &err);
    }
    if (rc == VS_OK)
        vs_session_remarks(&s, request, result, false);
    if (rc == VS_OK && vs_args_given(args, VS_OPT_JSON))
        vs_answer_json(result, JSON_COMPACT);
    else if (rc == VS_OK)
        vs_note("%s: float32 [%llu, %llu]", strcmp(path, "-") == 0 ? "standard output" : path,
                (unsigned long long)rows, (unsigned long long)columns);
out:
    vs_output_drop(&sink.file);
    json_decref(result);
    json_decref(request);
    vs_session_close(&s);
    free(text);
    return rc == VS_OK ? 0 : vs_fail(&err);
}
