/* prog/veritas/daemon.c - the commands that are about a running daemon: ps, stop, load, unload. */
#include "prog/veritas/command.h"
#include "prog/veritas/session.h"
#include "prog/veritas/status.h"

#include "base/buf.h"
#include "base/file.h"
#include "client/metrics.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WAIT_MS = 500 };                  /* a signal that came between two looks is seen so soon */

/* Opens the running daemon, sends one request, returns its result. until_end: stays until the daemon hangs up, which takes as long
 * as it gives to those whose answers are under way, or a signal comes. */
static int ask(const struct vs_args *args, uint16_t type, bool until_end, json_t **ret_result, struct vs_error *err)
{
    struct vs_session s;
    struct vs_event e;
    int rc = vs_session_open(&s, args, NULL, VS_SESSION_RUNNING | VS_SESSION_NO_LOAD, err);
    if (rc != VS_OK)
        return rc;
    json_t *request = json_object();
    rc = vs_session_call(&s, type, request, -1, NULL, NULL, ret_result, err);
    int more = rc == VS_OK && until_end ? VS_OK : VS_E_DIED;
    while ((more == VS_OK || more == VS_E_TIMEOUT) && !vs_session_is_interrupted())
        more = vs_client_next(s.client, WAIT_MS, &e, NULL);
    if (rc == VS_OK && until_end && vs_session_is_interrupted())
        rc = vs_error_set(err, VS_E_CANCELLED, "the daemon has not ended yet");
    json_decref(request);
    vs_session_close(&s);
    return rc;
}

int vs_command_metrics(const struct vs_args *args)
{
    struct vs_error err = { 0 };
    struct vs_buf text = { 0 };
    json_t *result = NULL;
    int rc = ask(args, VS_MSG_METRICS, false, &result, &err);
    if (rc == VS_OK) {
        vs_metrics_text(result, &text);
        rc = text.status == VS_OK ? VS_OK : vs_error_set(&err, text.status, "%s", vs_status_text(text.status));
    }
    if (rc == VS_OK)
        fwrite(text.data, 1, text.n, stdout);
    vs_buf_clear(&text);
    json_decref(result);
    if (rc != VS_OK)
        return vs_fail(&err);
    vs_answer_flush();
    return 0;
}

int vs_command_stop(const struct vs_args *args)
{
    struct vs_error err = { 0 };
    int rc = ask(args, VS_MSG_SHUTDOWN, true, NULL, &err);
    /* A daemon that ends before it could answer has done what was asked. */
    return rc == VS_OK || rc == VS_E_DIED ? 0 : vs_fail(&err);
}

static struct vs_shown text_of(const json_t *object, const char *key)
{
    return vs_shown(json_string_value(json_object_get(object, key)));
}

/* "level 5: seccomp, Landlock ABI 7, namespaces user net pid mnt ipc", and what is missing. */
static void sandbox_text(const json_t *sandbox, struct vs_buf *ret)
{
    json_t *namespaces = json_object_get(sandbox, "namespaces"), *name;
    const char *missing = json_string_value(json_object_get(sandbox, "missing"));
    int abi = (int)json_integer_value(json_object_get(sandbox, "landlock_abi"));
    size_t i;
    vs_buf_reset(ret);
    if (!json_is_integer(json_object_get(sandbox, "level"))) {
        vs_buf_str(ret, "-");            /* it has not locked itself in yet */
        return;
    }
    vs_buf_printf(ret, "level %lld:%s", (long long)json_integer_value(json_object_get(sandbox, "level")),
                  json_is_true(json_object_get(sandbox, "seccomp")) ? " seccomp" : " no seccomp");
    if (abi > 0)
        vs_buf_printf(ret, ", Landlock ABI %d", abi);
    if (json_is_true(json_object_get(sandbox, "empty_root")))
        vs_buf_str(ret, ", empty root");
    json_array_foreach(namespaces, i, name)
        vs_buf_printf(ret, "%s%s", i ? " " : ", namespaces ", vs_shown(json_string_value(name)).text);
    if (missing && missing[0])
        vs_buf_printf(ret, "; missing: %s", vs_shown(missing).text);
}

static long long number_of(const json_t *object, const char *key)
{
    return (long long)json_integer_value(json_object_get(object, key));
}

/* What became of a model's file since its worker opened it; NULL: nothing that can be seen. */
static const char *file_changed(const json_t *model)
{
    const char *path = json_string_value(json_object_get(model, "path")), *file = json_string_value(json_object_get(model, "file"));
    return path && file && path[0] == '/' ? vs_file_changed(path, file) : NULL;
}

static void warn_of_file(const char *name, const char *what)
{
    name = name ? name : "-";
    vs_say("%s still serves the file that was loaded, which was %s since; veritas unload %s ends that", name, what, name);
}

static const struct vs_column columns[] = {
    { "MODEL", 32, "%s", VS_CELL_TEXT, "name", NULL },
    { "STATE", 10, "%s", VS_CELL_TEXT, "state", NULL },
    { "PID", 8, "pid %s", VS_CELL_COUNT, "pid", NULL },
    { "MEMORY MB", 9, "%s MB", VS_CELL_MEMORY, "pid", NULL },
    { "RUNNING", 7, "running %s", VS_CELL_COUNT, "requests.running", "running" },
    { "WAITING", 7, "waiting %s", VS_CELL_COUNT, "requests.waiting", "queued" },
    { "PARKED", 6, "parked %s", VS_CELL_COUNT, "requests.parked", NULL },
    { "SERVED", 7, "served %s", VS_CELL_COUNT, "served", NULL },
    { "RESTARTS", 8, "restarts %s", VS_CELL_COUNT, "restarts", NULL },
    { "KV", 5, "KV %s used", VS_CELL_SHARE, "kv.used", "kv.pages" },
    { "CACHED", 6, "%s cached", VS_CELL_SHARE, "kv.cached", "kv.pages" },
    { "TOKENS/S", 8, "%s tokens/s", VS_CELL_RATE, "tokens_per_second.generated", NULL },
};
enum { N_COLUMNS = sizeof columns / sizeof *columns };

/* --verbose: what has no place in the table. */
static const struct { const char *label; struct vs_column cells[6]; } details[] = {
    { "    KV cache ", {
        { "", 0, "%s pages", VS_CELL_COUNT, "kv.pages", NULL }, { "", 0, "%s used", VS_CELL_COUNT, "kv.used", NULL },
        { "", 0, "%s cached", VS_CELL_COUNT, "kv.cached", NULL },
        { "", 0, "%s bytes a page", VS_CELL_COUNT, "kv.page_bytes", NULL },
        { "", 0, "%s preemptions", VS_CELL_COUNT, "preemptions", NULL } } },
    { "    guard ", {
        { "", 0, "pid %s", VS_CELL_COUNT, "guard.pid", NULL }, { "", 0, "%s restarts", VS_CELL_COUNT, "guard.restarts", NULL },
        { "", 0, "sandbox level %s", VS_CELL_COUNT, "guard.sandbox.level", NULL } } },
    { "    tokens a second ", {
        { "", 0, "%s of prompts", VS_CELL_RATE, "tokens_per_second.prompt", NULL },
        { "", 0, "%s of answers", VS_CELL_RATE, "tokens_per_second.generated", NULL } } },
    { "    ms in the line ", {
        { "", 0, "p50 %s", VS_CELL_RATE, "latency_ms.queue.p50", NULL },
        { "", 0, "p95 %s", VS_CELL_RATE, "latency_ms.queue.p95", NULL },
        { "", 0, "p99 %s", VS_CELL_RATE, "latency_ms.queue.p99", NULL } } },
    { "    ms to the first token ", {
        { "", 0, "p50 %s", VS_CELL_RATE, "latency_ms.first_token.p50", NULL },
        { "", 0, "p95 %s", VS_CELL_RATE, "latency_ms.first_token.p95", NULL },
        { "", 0, "p99 %s", VS_CELL_RATE, "latency_ms.first_token.p99", NULL } } },
    { "    ms between tokens ", {
        { "", 0, "p50 %s", VS_CELL_RATE, "latency_ms.inter_token.p50", NULL },
        { "", 0, "p95 %s", VS_CELL_RATE, "latency_ms.inter_token.p95", NULL },
        { "", 0, "p99 %s", VS_CELL_RATE, "latency_ms.inter_token.p99", NULL } } },
};

/* A line; on a terminal of `width` columns broken between words, the next lines at `indent`. */
static void print_text(const char *label, const char *text, int indent, int width)
{
    int column = printf("%s", label);
    if (width && column + (int)strlen(text) > width)
        vs_wrap(text, indent, width, column);
    else
        printf("%s\n", text);
}

static void print_details(const json_t *model, int width)
{
    struct vs_buf line = { 0 };
    for (size_t i = 0; i < sizeof details / sizeof *details; i++) {
        size_t n = 0;
        while (n < sizeof details[i].cells / sizeof *details[i].cells && details[i].cells[n].words)
            n++;
        vs_buf_reset(&line);
        vs_columns_sentence(details[i].cells, n, model, &line);
        print_text(details[i].label, line.data ? line.data : "-", 8, width);
    }
    char *settings = json_dumps(json_object_get(model, "settings"), JSON_COMPACT);
    if (settings)
        print_text("    settings ", vs_shown(settings).text, 8, width);
    free(settings);
    vs_buf_clear(&line);
}

/* The connection that asks is none that was there. */
static void leave_out_ourselves(json_t *clients)
{
    for (size_t i = json_array_size(clients); i-- > 0;)
        if (number_of(json_array_get(clients, i), "pid") == (long long)getpid())
            json_array_remove(clients, i);
}

int vs_command_ps(const struct vs_args *args)
{
    struct vs_error err = { 0 };
    struct vs_buf sandbox = { 0 }, line = { 0 };
    json_t *result = NULL, *model, *client, *of;
    const char *alias;
    size_t i;
    if (ask(args, VS_MSG_STATUS, false, &result, &err) != VS_OK)
        return vs_fail(&err);
    json_array_foreach(json_object_get(result, "models"), i, model)
        json_object_set_new(model, "file_changed", file_changed(model) ? json_string(file_changed(model)) : json_null());
    leave_out_ourselves(json_object_get(result, "clients"));
    if (vs_args_given(args, VS_OPT_JSON)) {
        vs_answer_json(result, JSON_INDENT(2));
        json_decref(result);
        return 0;
    }
    sandbox_text(json_object_get(result, "sandbox"), &sandbox);
    int width = vs_columns(STDOUT_FILENO, 0);
    printf("%s, up %.0f s\n", text_of(result, "server").text, json_number_value(json_object_get(result, "uptime_ms")) / 1000);
    print_text("broker sandbox ", sandbox.data ? sandbox.data : "-", 4, width);
    json_t *models = json_object_get(result, "models"), *clients = json_object_get(result, "clients");
    const json_t *limit = vs_status_at(result, "memory.limit");
    if (limit)
        printf("memory of all models %.1f of %.1f GB\n", json_number_value(vs_status_at(result, "memory.used")) / 1e9,
               json_number_value(limit) / 1e9);
    bool narrow = width && vs_columns_fit(columns, N_COLUMNS, width) < N_COLUMNS;
    if (json_array_size(models) == 0) {
        printf("no model is loaded\n");
    } else if (!narrow) {
        vs_columns_head(columns, N_COLUMNS, &line);
        printf("%s%s\n", line.data ? line.data : "", width ? "" : "  SANDBOX");
    }
    json_array_foreach(models, i, model) {
        sandbox_text(json_object_get(model, "sandbox"), &sandbox);
        vs_buf_reset(&line);
        (narrow ? vs_columns_sentence : vs_columns_row)(columns, N_COLUMNS, model, &line);
        if (width) {                     /* a terminal: what does not fit goes below, between words */
            print_text("", line.data ? line.data : "-", 4, width);
            print_text("    sandbox ", sandbox.data ? sandbox.data : "-", 8, width);
        } else {
            printf("%s  %s\n", line.data ? line.data : "-", sandbox.data ? sandbox.data : "-");
        }
        if (vs_args_given(args, VS_OPT_VERBOSE))
            print_details(model, width);
    }
    json_object_foreach(json_object_get(result, "aliases"), alias, of)
        printf("%s is another name of %s\n", alias, vs_shown(json_string_value(of)).text);
    vs_answer_flush();
    json_array_foreach(models, i, model)
        if (file_changed(model))
            warn_of_file(json_string_value(json_object_get(model, "name")), file_changed(model));
    json_array_foreach(clients, i, client)
        printf("client %s, pid %lld, requests under way: %lld\n", text_of(client, "name").text, number_of(client, "pid"),
               number_of(client, "requests"));
    vs_buf_clear(&line);
    vs_buf_clear(&sandbox);
    json_decref(result);
    return 0;
}

int vs_command_load(const struct vs_args *args)
{
    struct vs_error err = { 0 };
    struct vs_session s = { 0 };
    json_t *settings = json_object(), *result = NULL;
    int rc = vs_args_json(args, "settings.", settings);
    /* `veritas serve & veritas load M`: the daemon may need a moment until it listens. */
    for (int i = 0; rc == VS_OK && i < 100; i++) {
        rc = vs_session_open(&s, args, NULL, VS_SESSION_RUNNING | VS_SESSION_NO_LOAD, &err);
        if (rc != VS_E_NOT_FOUND || i == 99)
            break;
        rc = VS_OK;
        poll(NULL, 0, 10);
    }
    if (rc == VS_OK)
        rc = vs_session_load(&s, args->v[0], settings, &result, &err);
    if (rc == VS_OK)
        vs_note("%s is loaded", s.model);
    if (rc == VS_OK && file_changed(result))
        warn_of_file(s.model, file_changed(result));
    json_decref(result);
    vs_session_close(&s);
    json_decref(settings);
    return rc == VS_OK ? 0 : vs_fail(&err);
}

int vs_command_unload(const struct vs_args *args)
{
    struct vs_error err = { 0 };
    struct vs_session s = { 0 };
    int rc = vs_session_open(&s, args, NULL, VS_SESSION_RUNNING | VS_SESSION_NO_LOAD, &err);
    if (rc == VS_OK) {
        json_t *request = json_object();
        /* A model loaded by path is known by its absolute path; the file itself may be gone by now. */
        if (strchr(args->v[0], '/') && realpath(args->v[0], s.model) == NULL)
            snprintf(s.model, sizeof s.model, "%s", args->v[0]);
        else if (!strchr(args->v[0], '/'))
            snprintf(s.model, sizeof s.model, "%s", args->v[0]);
        json_object_set_new(request, "model", json_string(s.model));
        if (vs_args_given(args, VS_OPT_FORCE))
            json_object_set_new(request, "force", json_true());
        s.model[0] = '\0';
        rc = vs_session_call(&s, VS_MSG_UNLOAD, request, -1, NULL, NULL, NULL, &err);
        json_decref(request);
    }
    vs_session_close(&s);
    return rc == VS_OK ? 0 : vs_fail(&err);
}
