/* sandbox/report.c - options from text, the report as text. */
#include "base/buf.h"
#include "sandbox/internal.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void vs_sandbox_missing(struct vs_sandbox_report *report, const char *what, int error)
{
    size_t n = strlen(report->missing), left = sizeof report->missing - n;
    /* strerror's text is plain ASCII without quotes in the C locale, which these programs keep. */
    int m = snprintf(report->missing + n, left, "%s%s%s%s%s", n ? ", " : "", what, error ? " (" : "",
        error ? strerror(error) : "", error ? ")" : "");
    if (m < 0 || (size_t)m >= left)
        report->missing[n] = 0;
}

static const struct vs_sandbox_row profiles[] = {
    [VS_SANDBOX_WORKER] = { .name = "worker" },
    [VS_SANDBOX_BROKER] = { .name = "broker", .knows_peers = true },
    [VS_SANDBOX_GATEWAY] = { .name = "gateway" },
    [VS_SANDBOX_GUARD] = { .name = "guard" },
    [VS_SANDBOX_AUDIT] = { .name = "audit", .writes_files = true },
};

const struct vs_sandbox_row *vs_sandbox_profile_row(enum vs_sandbox_profile profile)
{
    return &profiles[profile];
}

size_t vs_sandbox_report_json(const struct vs_sandbox_report *r, char *text, size_t text_bytes)
{
    const struct { const char *name; bool has; } ns[] = {
        { "user", r->ns_user }, { "net", r->ns_net }, { "pid", r->ns_pid }, { "mnt", r->ns_mnt }, { "ipc", r->ns_ipc },
    };
    const struct { const char *name; bool has; } flags[] = {
        { "seccomp", r->seccomp }, { "empty_root", r->empty_root }, { "no_new_privs", r->no_new_privs },
        { "rlimits", r->rlimits }, { "no_dump", r->no_dump }, { "caps_dropped", r->caps_dropped },
        { "env_cleared", r->env_cleared }, { "fds_closed", r->fds_closed }, { "sanitizer", r->sanitizer },
    };
    struct vs_buf b = { 0 };
    vs_buf_printf(&b, "{\"profile\":\"%s\",\"level\":%d,\"seccomp_calls\":%d,\"landlock_abi\":%d,\"uid\":%u,"
        "\"memory_bytes\":%llu,\"namespaces\":[", profiles[r->profile].name, r->level, r->n_calls,
        r->landlock_abi, (unsigned)r->uid, (unsigned long long)r->memory_bytes);
    bool first = true;
    for (size_t i = 0; i < sizeof ns / sizeof *ns; i++)
        if (ns[i].has) {
            vs_buf_printf(&b, "%s\"%s\"", first ? "" : ",", ns[i].name);
            first = false;
        }
    vs_buf_char(&b, ']');
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        vs_buf_printf(&b, ",\"%s\":%s", flags[i].name, flags[i].has ? "true" : "false");
    vs_buf_printf(&b, ",\"missing\":\"%s\"}", r->missing);
    size_t n = b.status == VS_OK && b.n < text_bytes ? b.n : 0;
    if (n)
        memcpy(text, b.data, n + 1);
    vs_buf_clear(&b);
    return n;
}

/* ---- "min=3,landlock=2,namespaces=off" ---- */

static bool number(const char *s, long min, long max, long *ret)
{
    char *end;
    errno = 0;
    long v = strtol(s, &end, 10);
    if (errno || end == s || *end || v < min || v > max)
        return false;
    *ret = v;
    return true;
}

static bool set_min(struct vs_sandbox_options *o, const char *value)
{
    long v;
    if (!number(value, 0, VS_SANDBOX_LEVEL_FULL, &v))
        return false;
    o->min_level = v ? (int)v : -1;
    return true;
}

static bool set_landlock(struct vs_sandbox_options *o, const char *value)
{
    long v = -1;
    if (strcmp(value, "off") != 0 && !number(value, 1, 1000, &v))
        return false;
    o->landlock_max = (int)v;
    return true;
}

static bool set_off(bool *flag, const char *value)
{
    *flag = strcmp(value, "off") == 0;
    return *flag || strcmp(value, "on") == 0;
}

static bool set_namespaces(struct vs_sandbox_options *o, const char *value)
{
    return set_off(&o->no_namespaces, value);
}

static bool set_seccomp(struct vs_sandbox_options *o, const char *value)
{
    return set_off(&o->no_seccomp, value);
}

static bool set_uid(struct vs_sandbox_options *o, const char *value)
{
    long v;
    if (!number(value, 1, INT_MAX, &v))
        return false;
    o->uid = (uid_t)v;
    return true;
}

static bool set_gid(struct vs_sandbox_options *o, const char *value)
{
    long v;
    if (!number(value, 1, INT_MAX, &v))
        return false;
    o->gid = (gid_t)v;
    return true;
}

static const struct {
    const char *name;
    bool (*set)(struct vs_sandbox_options *o, const char *value);
    const char *help;
} settings[] = {
    { "min", set_min, "0 to 5" },
    { "landlock", set_landlock, "an ABI from 1, or off" },
    { "namespaces", set_namespaces, "on or off" },
    { "seccomp", set_seccomp, "on or off" },
    { "uid", set_uid, "a number above 0" },
    { "gid", set_gid, "a number above 0" },
};
enum { N_SETTINGS = sizeof settings / sizeof *settings };

int vs_sandbox_options_parse(const char *text, struct vs_sandbox_options *o, struct vs_error *err)
{
    char copy[256];
    if (!text)
        return VS_OK;
    if (strlen(text) >= sizeof copy)
        return vs_error_set(err, VS_E_INVALID, "sandbox options are longer than %zu bytes", sizeof copy - 1);
    memcpy(copy, text, strlen(text) + 1);
    char *save = NULL;
    for (char *part = strtok_r(copy, ",", &save); part; part = strtok_r(NULL, ",", &save)) {
        char *value = strchr(part, '=');
        if (value)
            *value++ = 0;
        int i = 0;
        while (i < N_SETTINGS && strcmp(settings[i].name, part) != 0)
            i++;
        if (i == N_SETTINGS)
            return vs_error_set(err, VS_E_INVALID, "unknown sandbox option '%s'; known are min, landlock, namespaces, "
                "seccomp, uid and gid", part);
        if (!value || !settings[i].set(o, value))
            return vs_error_set(err, VS_E_INVALID, "sandbox option '%s' wants %s", part, settings[i].help);
    }
    return VS_OK;
}
