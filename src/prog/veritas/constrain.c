/* prog/veritas/constrain.c - `veritas constrain`, and the constraint of `veritas run`: read here, judged by the worker. */
#include "prog/veritas/command.h"
#include "base/word.h"
#include "ipc/json.h"
#include "prog/veritas/session.h"

#include "base/buf.h"

#include <stdlib.h>
#include <string.h>

#define CONSTRAINT_LIMIT (4u << 20)
#define ACCEPTS_LIMIT (8u << 20)

/* The text is JSON; it becomes {"json_schema": the text}. */
static int read_schema(const char *file, const char *text, size_t n, json_t **ret, struct vs_error *err)
{
    struct vs_buf whole = { 0 };
    struct vs_error why = { 0 };
    vs_buf_str(&whole, "{\"json_schema\":");
    vs_buf_add(&whole, text, n);
    vs_buf_char(&whole, '}');
    *ret = whole.status == VS_OK ? vs_json_parse(whole.data, whole.n, &why) : NULL;
    if (*ret && json_object_size(*ret) != 1) {
        json_decref(*ret);
        *ret = NULL;
        vs_error_set(&why, VS_E_MALFORMED, "it is more than one JSON value");
    }
    vs_buf_clear(&whole);
    return *ret ? VS_OK : vs_error_set(err, why.code ? why.code : VS_E_NOMEM, "%.200s is no JSON: %.250s", file, why.text);
}

static int read_file(enum vs_option_id id, const char *file, json_t **ret, struct vs_error *err)
{
    char *text = NULL;
    size_t n = 0;
    int rc = vs_text_read(file, CONSTRAINT_LIMIT, &text, &n, err);
    if (rc == VS_OK)
        rc = vs_text_check("the constraint", text, n, err);
    if (rc == VS_OK && id == VS_OPT_SCHEMA)
        rc = read_schema(file, text, n, ret, err);
    else if (rc == VS_OK)
        *ret = json_pack("{s:o}", "grammar", json_stringn(text, n));
    free(text);
    return rc == VS_OK && !*ret ? vs_error_set(err, VS_E_NOMEM, "out of memory") : rc;
}

int vs_constraint_read(const struct vs_args *args, json_t **ret, struct vs_error *err)
{
    static const enum vs_option_id ids[] = { VS_OPT_SCHEMA, VS_OPT_REGEX, VS_OPT_GRAMMAR, VS_OPT_CHOICE };
    enum vs_option_id id = VS_OPT_COUNT;
    *ret = NULL;
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        if (!vs_args_given(args, ids[i]))
            continue;
        if (id != VS_OPT_COUNT)
            return vs_error_set(err, VS_E_INVALID, "--%s and --%s don't go together: an answer keeps one form", vs_options[id].name,
                                vs_options[ids[i]].name);
        id = ids[i];
    }
    if (id == VS_OPT_COUNT)
        return VS_OK;
    if (id == VS_OPT_SCHEMA || id == VS_OPT_GRAMMAR)
        return read_file(id, vs_args_text(args, id), ret, err);
    if (id == VS_OPT_REGEX) {
        *ret = json_pack("{s:s}", "regex", vs_args_text(args, id));
    } else {
        json_t *list = json_array();
        for (int i = 0; i < args->option[id].n; i++)
            json_array_append_new(list, json_string(args->option[id].v[i]));
        *ret = json_pack("{s:o}", "choice", list);
    }
    return *ret ? VS_OK : vs_error_set(err, VS_E_NOMEM, "out of memory");
}

/* Exit statuses of its own: 1 says "not accepted" and nothing else. */
static int status_of(const struct vs_error *err)
{
    int code = err->code, status = vs_fail(err);
    if (code == VS_E_INVALID || code == VS_E_LIMIT)
        return 3;
    return status == 1 ? 70 : status;
}

static int tell(const json_t *result, const char *text, size_t n)
{
    const json_t *accepted = json_object_get(result, "accepted");
    unsigned long long at = (unsigned long long)json_integer_value(json_object_get(result, "accepted_bytes"));
    long long shortest = json_integer_value(json_object_get(result, "shortest"));
    if (!accepted) {
        char line[160];
        vs_answer(line, (size_t)snprintf(line, sizeof line, "ok: %lld states; the shortest answer takes %lld token%s\n",
                                         (long long)json_integer_value(json_object_get(result, "states")), shortest,
                                         vs_plural((uint64_t)shortest)));
        return 0;
    }
    if (json_is_true(accepted))
        return 0;
    if (at >= n) {
        vs_say("not accepted: it ends too early");
    } else {
        size_t line = 1, column = 1;
        for (size_t i = 0; i < at; i++) {
            column = text[i] == '\n' ? 1 : column + 1;
            line += text[i] == '\n';
        }
        vs_say("not accepted: byte %llu (line %zu, byte %zu of it) can't stand there", at, line, column);
    }
    return 1;
}

int vs_command_constrain(const struct vs_args *args)
{
    struct vs_error err = { 0 };
    struct vs_session s = { 0 };
    json_t *request = json_object(), *constraint = NULL, *result = NULL;
    char *text = NULL;
    size_t n = 0;
    bool judges = vs_args_given(args, VS_OPT_ACCEPTS), is_text = true;
    int status, rc = vs_constraint_read(args, &constraint, &err);
    if (rc == VS_OK && !constraint)
        rc = vs_error_set(&err, VS_E_INVALID, "give --schema FILE, --regex REGEX, --grammar FILE or --choice TEXT");
    if (rc == VS_E_INVALID) {
        json_decref(request);
        return vs_usage("constrain", "%s", err.text);
    }
    if (rc == VS_OK && judges && (rc = vs_text_read(vs_args_text(args, VS_OPT_ACCEPTS), ACCEPTS_LIMIT, &text, &n, &err)) == VS_OK) {
        struct vs_error why;
        is_text = vs_text_check("the text", text, n, &why) == VS_OK;    /* else no answer is like it, whatever the constraint */
        n -= n && text[n - 1] == '\n';
        if (is_text)
            json_object_set_new(request, "text", json_stringn(text, n));
    }
    if (rc == VS_OK)
        rc = vs_session_open(&s, args, vs_args_text(args, VS_OPT_MODEL), VS_SESSION_INSPECT, &err);
    if (rc == VS_OK) {
        json_object_set(request, "constraint", constraint);
        rc = vs_session_call(&s, VS_MSG_CONSTRAIN, request, -1, NULL, NULL, &result, &err);
    }
    if (rc == VS_OK && !is_text) {
        vs_say("not accepted: it is not UTF-8");
        status = 1;
    } else
        status = rc == VS_OK ? tell(result, text, n) : status_of(&err);
    json_decref(result);
    json_decref(constraint);
    json_decref(request);
    vs_session_close(&s);
    free(text);
    return status;
}
