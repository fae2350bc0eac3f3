/* prog/veritas/daemon.c - the commands that are about a running daemon: ps, stop, load, unload. */
#include "prog/veritas/command.h"
#include "prog/veritas/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Opens the running daemon, sends one request, returns its result. */
static int ask(const struct vs_args *args, uint16_t type, json_t **ret_result, struct vs_error *err)
{
    struct vs_session s;
    int rc = vs_session_open(&s, args, NULL, VS_SESSION_RUNNING | VS_SESSION_NO_LOAD, err);
    if (rc != VS_OK)
        return rc;
    json_t *request = json_object();
    rc = vs_session_call(&s, type, request, -1, NULL, NULL, ret_result, err);
    json_decref(request);
    vs_session_close(&s);
    return rc;
}

int vs_command_stop(const struct vs_args *args)
{
    struct vs_error err = { 0 };
    int rc = ask(args, VS_MSG_SHUTDOWN, NULL, &err);
    /* A daemon that ends before it could answer has done what was asked. */
    return rc == VS_OK || rc == VS_E_DIED ? 0 : vs_fail(&err);
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *s = json_string_value(json_object_get(object, key));
    return s ? s : "-";
}

/* A short word for the sandbox: its level when it says one, else the names of the layers that are on. */
static void sandbox_word(const json_t *sandbox, char *ret, size_t n)
{
    const char *key;
    json_t *value;
    size_t at = 0;
    ret[0] = '\0';
    if (json_is_string(json_object_get(sandbox, "level"))) {
        snprintf(ret, n, "%s", text_of(sandbox, "level"));
        return;
    }
    json_object_foreach((json_t *)(uintptr_t)sandbox, key, value) {
        bool on = json_is_true(value) || (json_is_integer(value) && json_integer_value(value) > 0) ||
                  (json_is_string(value) && strcmp(json_string_value(value), "off") != 0 && strcmp(json_string_value(value), "none") != 0);
        if (on && at + 1 < n)
            at += (size_t)snprintf(ret + at, n - at, "%s%s", at ? "," : "", key);
    }
    if (!ret[0])
        snprintf(ret, n, "-");
}

int vs_command_ps(const struct vs_args *args)
{
    struct vs_error err = { 0 };
    json_t *result = NULL, *model, *client;
    size_t i;
    char sandbox[160];
    if (ask(args, VS_MSG_STATUS, &result, &err) != VS_OK)
        return vs_fail(&err);
    if (vs_args_given(args, VS_OPT_JSON)) {
        json_dumpf(result, stdout, JSON_INDENT(2));
        putchar('\n');
        json_decref(result);
        return 0;
    }
    sandbox_word(json_object_get(result, "sandbox"), sandbox, sizeof sandbox);
    printf("%s, up %.0f s, broker sandbox: %s\n", text_of(result, "server"),
           json_number_value(json_object_get(result, "uptime_ms")) / 1000, sandbox);
    json_t *models = json_object_get(result, "models"), *clients = json_object_get(result, "clients");
    if (json_array_size(models) == 0)
        printf("no model is loaded\n");
    else
        printf("%-32s %-9s %8s %10s %8s %8s  %s\n", "MODEL", "STATE", "PID", "FILE MB", "WAITING", "SERVED", "SANDBOX");
    json_array_foreach(models, i, model) {
        sandbox_word(json_object_get(model, "sandbox"), sandbox, sizeof sandbox);
        printf("%-32s %-9s %8lld %10.1f %8lld %8lld  %s\n", text_of(model, json_object_get(model, "name") ? "name" : "model"),
               text_of(model, "state"), (long long)json_integer_value(json_object_get(model, "pid")),
               json_number_value(json_object_get(model, "bytes")) / 1e6, (long long)json_integer_value(json_object_get(model, "queued")),
               (long long)json_integer_value(json_object_get(model, "served")), sandbox);
    }
    json_array_foreach(clients, i, client)
        printf("client %s, pid %lld, %lld requests\n", text_of(client, "name"), (long long)json_integer_value(json_object_get(client, "pid")),
               (long long)json_integer_value(json_object_get(client, "requests")));
    json_decref(result);
    return 0;
}

int vs_command_load(const struct vs_args *args)
{
    struct vs_error err = { 0 };
    struct vs_session s = { 0 };
    json_t *settings = json_object();
    int rc = vs_args_json(args, "settings.", settings);
    if (rc == VS_OK)
        rc = vs_session_open(&s, args, NULL, VS_SESSION_RUNNING | VS_SESSION_NO_LOAD, &err);
    if (rc == VS_OK)
        rc = vs_session_load(&s, args->v[0], settings, NULL, &err);
    if (rc == VS_OK)
        vs_say("%s is loaded", s.model);
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
