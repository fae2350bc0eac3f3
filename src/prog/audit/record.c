/* prog/audit/record.c - an event as the members of a line: OCSF's classes and names, from two tables. */
#include "prog/audit/audit.h"

#include "base/text.h"
#include "ipc/json.h"

#include <stdio.h>
#include <string.h>

enum { API_ACTIVITY = 6003, APPLICATION_LIFECYCLE = 6002, AUTHENTICATION = 3002, ACCOUNT_CHANGE = 3001, DETECTION_FINDING = 2004,
       OTHER = 99 };
enum { INFORMATIONAL = 1, LOW = 2, MEDIUM = 3, HIGH = 4 };

/* What happens, in our word and in OCSF's. */
static const struct event {
    const char *name;
    int class_uid, activity_id;
    const char *activity;
    int severity;
} events[] = {
    { "start",       APPLICATION_LIFECYCLE, 3,     "Start",  INFORMATIONAL },   /* of the log's writer: with the daemon, or again */
    { "stop",        APPLICATION_LIFECYCLE, 4,     "Stop",   INFORMATIONAL },   /* in order */
    { "segment",     APPLICATION_LIFECYCLE, OTHER, "Log file begun", INFORMATIONAL },
    { "gap",         APPLICATION_LIFECYCLE, OTHER, "Records lost",   HIGH },
    { "clock",       APPLICATION_LIFECYCLE, OTHER, "Clock step",     MEDIUM },
    { "policy",      APPLICATION_LIFECYCLE, 8,     "Update", MEDIUM },          /* another policy holds */
    { "policy_refused", APPLICATION_LIFECYCLE, 8,  "Update", MEDIUM },          /* it could not be read: the old one holds */
    { "broker",      APPLICATION_LIFECYCLE, 3,     "Start",  INFORMATIONAL },   /* who speaks from now on */
    { "broker_died", APPLICATION_LIFECYCLE, 4,     "Stop",   HIGH },
    { "copy_failed", APPLICATION_LIFECYCLE, OTHER, "Checkpoint not copied", MEDIUM },
    { "worker_died", APPLICATION_LIFECYCLE, 4,     "Stop",   HIGH },
    { "loaded",      APPLICATION_LIFECYCLE, 6,     "Enable", INFORMATIONAL },   /* a model */
    { "load_failed", APPLICATION_LIFECYCLE, 6,     "Enable", MEDIUM },          /* it is not what it should be, or too large */
    { "digest",      APPLICATION_LIFECYCLE, OTHER, "Model identified", INFORMATIONAL },         /* what its file was */
    { "unloaded",    APPLICATION_LIFECYCLE, 7,     "Disable", INFORMATIONAL },
    { "request",     API_ACTIVITY,          OTHER, "Begin",  INFORMATIONAL },
    { "answer",      API_ACTIVITY,          OTHER, "End",    INFORMATIONAL },
    { "finding",     DETECTION_FINDING,     1,     "Create", MEDIUM },          /* of the guard */
    { "blocked_call", DETECTION_FINDING,    1,     "Create", HIGH },            /* a process tried what its sandbox forbids */
    { "key_added",   ACCOUNT_CHANGE,        1,     "Create", LOW },
    { "key_rotated", ACCOUNT_CHANGE,        3,     "Password Change", LOW },
    { "key_changed", ACCOUNT_CHANGE,        OTHER, "Update", LOW },             /* its role, or its scopes */
    { "key_revoked", ACCOUNT_CHANGE,        6,     "Delete", LOW },
    { "wrong_key",   AUTHENTICATION,        1,     "Logon",  LOW },
    { "locked_out",  AUTHENTICATION,        1,     "Logon",  MEDIUM },          /* too many wrong keys of one user */
};

/* Fields, and where they stand. */
enum kind { TEXT, NUMBER, NUMERAL, OBJECT, LIST };     /* NUMERAL: a number that is written as a text */
static const struct field {
    const char *name;
    enum kind kind;
    const char *path;
} fields_known[] = {
    { "request", NUMERAL, "api.request.uid" },             { "type", TEXT, "api.operation" },
    { "number", NUMBER, "unmapped.number" },              { "trace", TEXT, "metadata.correlation_uid" },
    { "uid", NUMERAL, "actor.user.uid" },                  { "pid", NUMBER, "actor.process.pid" },
    { "key", TEXT, "actor.user.credential_uid" },         { "role", TEXT, "actor.user.type" },
    { "remote", TEXT, "src_endpoint.ip" },
    { "client", TEXT, "actor.app_name" },                 { "on_behalf_of", TEXT, "actor.invoked_by" },
    { "model", TEXT, "ai_model.name" },                   { "model_digest", TEXT, "ai_model.uid" },
    { "prompt_tokens", NUMBER, "message_context.prompt_tokens" },
    { "completion_tokens", NUMBER, "message_context.completion_tokens" },
    { "status_id", NUMBER, "status_id" },                 { "finish", TEXT, "status_detail" },
    { "duration", NUMBER, "duration" },                   { "message", TEXT, "message" },
    { "policy", TEXT, "policy.uid" },                     { "guard", OBJECT, "unmapped.guard" },
    { "cached_tokens", NUMBER, "unmapped.cached_tokens" }, { "resumed", NUMBER, "unmapped.resumed" },
    { "sandbox", OBJECT, "unmapped.sandbox" },            { "text_bytes", NUMBER, "unmapped.text.bytes" },
    { "text_hmac", TEXT, "unmapped.text.hmac" },          { "missed", NUMBER, "unmapped.missed" },
    { "since", NUMBER, "unmapped.since" },                { "step_ms", NUMBER, "unmapped.step_ms" },
    { "version", TEXT, "app.version" },                   { "settings", OBJECT, "unmapped.settings" },
    { "source", TEXT, "unmapped.source" },                { "call", TEXT, "unmapped.call" },
    { "account", TEXT, "user.name" },                     { "account_role", TEXT, "user.type" },
};
#define N_OF(a) (sizeof(a) / sizeof *(a))

static bool is_kind(const json_t *value, enum kind kind)
{
    static const json_type types[] = {
        [TEXT] = JSON_STRING, [NUMBER] = JSON_INTEGER, [NUMERAL] = JSON_INTEGER, [OBJECT] = JSON_OBJECT, [LIST] = JSON_ARRAY,
    };
    return json_typeof(value) == types[kind];
}

/* Puts value at path below all; takes the reference. */
static bool put(json_t *all, const char *path, json_t *value)
{
    char key[64];
    const char *dot;
    for (; (dot = strchr(path, '.')); path = dot + 1) {
        snprintf(key, sizeof key, "%.*s", (int)(dot - path), path);
        if (!json_object_get(all, key) && json_object_set_new(all, key, json_object()) != 0)
            break;
        all = json_object_get(all, key);
    }
    if (!dot)
        return json_object_set_new(all, path, value) == 0;
    json_decref(value);
    return false;
}

static const struct event *event_find(const char *name)
{
    for (size_t i = 0; i < N_OF(events); i++)
        if (strcmp(events[i].name, name) == 0)
            return &events[i];
    return NULL;
}

static json_t *as(enum kind kind, json_t *value)
{
    char text[24];
    if (kind != NUMERAL)
        return json_incref(value);
    snprintf(text, sizeof text, "%lld", (long long)json_integer_value(value));
    return json_string(text);
}

static bool put_fields(json_t *all, const json_t *fields)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)fields, key, value) {
        size_t i = 0;
        while (i < N_OF(fields_known) && strcmp(fields_known[i].name, key) != 0)
            i++;
        if (i == N_OF(fields_known) || !is_kind(value, fields_known[i].kind)
            || !put(all, fields_known[i].path, as(fields_known[i].kind, value)))
            return false;
    }
    return true;
}

bool record_format(const char *name, const json_t *fields, struct vs_buf *out)
{
    const struct event *e = event_find(name);
    if (!e)
        return false;
    json_t *all = json_pack("{s:s, s:i, s:i, s:i, s:i, s:s, s:i, s:{s:s, s:{s:s, s:s}}}", "event", e->name, "class_uid",
                            e->class_uid, "category_uid", e->class_uid / 1000, "activity_id", e->activity_id, "type_uid",
                            e->class_uid * 100 + e->activity_id, "activity_name", e->activity, "severity_id", e->severity,
                            "metadata", "version", "1.6.0", "product", "name", "Veritas SDR", "vendor_name", "Veritas");
    bool good = all && put_fields(all, fields);
    if (good && json_object_get(all, "ai_model"))
        good = json_object_set_new(json_object_get(all, "metadata"), "profiles", json_pack("[s]", "ai_operation")) == 0;
    struct vs_buf text = { 0 };
    if (good)
        vs_json_dump(all, &text);
    json_decref(all);
    good = good && text.status == VS_OK && text.n > 2;
    if (good)                           /* without its braces; no byte of it steers a terminal */
        vs_text_show(out, text.data + 1, text.n - 2, VS_TEXT_JSON);
    vs_buf_clear(&text);
    return good && out->status == VS_OK;
}
