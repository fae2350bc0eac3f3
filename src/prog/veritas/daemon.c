/* prog/veritas/daemon.c - the commands that are about a running daemon: ps, stop, load, unload. */
#include "prog/veritas/command.h"
#include "prog/veritas/session.h"

#include "base/buf.h"
#include "base/file.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { END_MS = 15000 };                 /* a daemon that ends gives running requests 10 s */

/* Opens the running daemon, sends one request, returns its result. until_end: stays until the daemon hangs up. */
static int ask(const struct vs_args *args, uint16_t type, bool until_end, json_t **ret_result, struct vs_error *err)
{
    struct vs_session s;
    struct vs_event e;
    int rc = vs_session_open(&s, args, NULL, VS_SESSION_RUNNING | VS_SESSION_NO_LOAD, err);
    if (rc != VS_OK)
        return rc;
    json_t *request = json_object();
    rc = vs_session_call(&s, type, request, -1, NULL, NULL, ret_result, err);
    while (rc == VS_OK && until_end && vs_client_next(s.client, END_MS, &e, NULL) == VS_OK)
        ;
    json_decref(request);
    vs_session_close(&s);
    return rc;
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

/* Resident memory of a worker, 0 when it cannot be told: the daemon may run in a container, under other numbers. */
static double resident_bytes(long long pid)
{
    char path[64], name[32] = "";
    long long pages = 0;
    snprintf(path, sizeof path, "/proc/%lld/comm", pid);
    FILE *f = fopen(path, "re");
    bool ours = f && fgets(name, sizeof name, f) && strncmp(name, "veritas-worker", 14) == 0;
    if (f)
        fclose(f);
    snprintf(path, sizeof path, "/proc/%lld/statm", pid);
    f = ours ? fopen(path, "re") : NULL;
    if (f && fscanf(f, "%*d %lld", &pages) != 1)
        pages = 0;
    if (f)
        fclose(f);
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
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

enum { TABLE_COLUMNS = 100 };            /* of the table of ps */

/* A line; on a terminal of `width` columns broken between words, the next lines at `indent`. */
static void print_text(const char *label, const char *text, int indent, int width)
{
    int column = printf("%s", label);
    if (width && column + (int)strlen(text) > width)
        vs_wrap(text, indent, width, column);
    else
        printf("%s\n", text);
}

int vs_command_ps(const struct vs_args *args)
{
    struct vs_error err = { 0 };
    struct vs_buf sandbox = { 0 }, line = { 0 };
    json_t *result = NULL, *model, *client;
    size_t i;
    if (ask(args, VS_MSG_STATUS, false, &result, &err) != VS_OK)
        return vs_fail(&err);
    json_array_foreach(json_object_get(result, "models"), i, model)
        json_object_set_new(model, "file_changed", file_changed(model) ? json_string(file_changed(model)) : json_null());
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
    bool narrow = width && width < TABLE_COLUMNS;
    if (json_array_size(models) == 0)
        printf("no model is loaded\n");
    else if (!narrow)
        printf("%-32s %-10s %8s %9s %8s %8s %8s %9s  %s\n", "MODEL", "STATE", "PID", "MEMORY MB", "RUNNING", "WAITING", "SERVED",
               "RESTARTS", width ? "" : "SANDBOX");
    json_array_foreach(models, i, model) {
        double memory = resident_bytes(number_of(model, "pid"));
        char megabytes[32];
        snprintf(megabytes, sizeof megabytes, memory > 0 ? "%.1f" : "-", memory / 1e6);
        sandbox_text(json_object_get(model, "sandbox"), &sandbox);
        vs_buf_reset(&line);
        vs_buf_printf(&line, narrow ? "%s: %s, pid %lld, %s MB, running %lld, waiting %lld, served %lld, restarts %lld"
                                           : "%-32s %-10s %8lld %9s %8lld %8lld %8lld %9lld  ",
                 text_of(model, "name").text, text_of(model, "state").text, number_of(model, "pid"), megabytes,
                 number_of(model, "running"), number_of(model, "queued"), number_of(model, "served"), number_of(model, "restarts"));
        if (width) {                     /* a terminal: what does not fit goes below, between words */
            print_text("", line.data ? line.data : "-", 4, width);
            print_text("    sandbox ", sandbox.data ? sandbox.data : "-", 8, width);
        } else {
            printf("%s%s\n", line.data ? line.data : "-", sandbox.data ? sandbox.data : "-");
        }
    }
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
