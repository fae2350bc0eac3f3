/* prog/veritas/keys.c - `veritas keys`: who may ask the daemon, by API keys. A key is printed once and kept nowhere. */
#include "prog/veritas/command.h"
#include "prog/veritas/identity.h"
#include "prog/veritas/policy_file.h"
#include "prog/veritas/session.h"
#include "prog/veritas/term.h"

#include "base/clock.h"
#include "base/date.h"
#include "base/size.h"
#include "ipc/json.h"

#include <stdio.h>
#include <string.h>

int vs_command_keys(const struct vs_args *args)
{
    char name[64];
    if (args->n == 0)
        return vs_usage("keys", "which one: add, list, revoke, rotate or whoami?");
    snprintf(name, sizeof name, "keys %.40s", args->v[0]);
    return vs_command_unknown(name);
}

/* The folder, as the policy has it. */
static int find_folder(const struct vs_args *args, char ret[PATH_MAX], struct vs_error *err)
{
    struct vs_policy_file f;
    vs_json_setup(0);
    int rc = vs_policy_file_read(&f, vs_args_given(args, VS_OPT_POLICY) ? vs_args_text(args, VS_OPT_POLICY) : NULL, err);
    if (rc == VS_OK)
        snprintf(ret, PATH_MAX, "%s", f.keys);
    vs_policy_file_clear(&f);
    return rc;
}

static int64_t now_s(void)
{
    return vs_clock_real_ms() / 1000;
}

/* From now on; an option that was not given is 0. */
static int time_of(const struct vs_args *args, enum vs_option_id option, int64_t *ret, struct vs_error *err)
{
    uint64_t seconds;
    *ret = 0;
    if (!vs_args_given(args, option))
        return VS_OK;
    const char *text = vs_args_text(args, option);
    if (!vs_duration_parse(text, &seconds))
        return vs_error_set(err, VS_E_INVALID, "--%s wants a time such as 90s, 30m, 12h or 30d, at most 36500d, not '%.40s'",
                            vs_options[option].name, vs_shown(text).text);
    *ret = now_s() + (int64_t)seconds;
    return VS_OK;
}

static json_t *time_json(int64_t seconds)
{
    return seconds ? json_integer(seconds) : json_null();
}

/* What there is to know of it; no salt and no digest. */
static json_t *told_json(const struct vs_identity *who)
{
    json_t *v = json_pack("{s:s, s:s, s:o, s:s, s:I, s:o}", "name", who->name, "role", vs_role_name(who->role), "scopes",
                          vs_scopes_json(who->scopes), "id", who->secret[0].id, "created", (json_int_t)who->created, "expires",
                          time_json(who->secret[0].until));
    if (who->secret[1].id[0])
        json_object_set_new(v, "before", json_pack("{s:s, s:o}", "id", who->secret[1].id, "expires",
                                                   time_json(who->secret[1].until)));
    return v;
}

/* The one time that the key is seen. */
static void print_key(const struct vs_args *args, const struct vs_identity *who, char *key)
{
    if (vs_args_given(args, VS_OPT_JSON)) {
        json_t *v = told_json(who);
        json_object_set_new(v, "key", json_string(key));
        vs_answer_json(v, JSON_COMPACT);
        json_decref(v);
    } else {
        printf("%s\n", key);
        vs_note("this is the key of '%s' (%s); it is shown once and kept nowhere", who->name, vs_role_name(who->role));
    }
    vs_answer_flush();
    explicit_bzero(key, strlen(key));
}

int vs_command_keys_add(const struct vs_args *args)
{
    struct vs_error err = { 0 };
    struct vs_identity who = { .created = now_s() };
    char folder[PATH_MAX], key[VS_API_KEY_LENGTH + 1];
    int64_t until;
    if (!vs_key_name_is_valid(args->v[0]))
        return vs_usage("keys add", "'%.80s' is not a key's name: 1 to 64 of a-z A-Z 0-9 . _ - @, and no point first",
                        vs_shown(args->v[0]).text);
    snprintf(who.name, sizeof who.name, "%s", args->v[0]);
    vs_role_parse(vs_args_text(args, VS_OPT_ROLE), &who.role);
    who.scopes = vs_role_scopes(who.role);
    int rc = vs_args_given(args, VS_OPT_SCOPES) ? vs_scopes_parse(vs_args_text(args, VS_OPT_SCOPES), who.role, &who.scopes, &err)
                                                : VS_OK;
    if (rc == VS_OK)
        rc = time_of(args, VS_OPT_EXPIRES, &until, &err);
    if (rc == VS_OK)
        rc = find_folder(args, folder, &err);
    if (rc == VS_OK && !vs_api_key_make(key, &who.secret[0]))
        rc = vs_error_set(&err, VS_E_SYSTEM, "the kernel gives no random numbers");
    if (rc == VS_OK) {
        who.secret[0].until = until;
        rc = vs_keys_save(folder, &who, true, &err);
    }
    if (rc != VS_OK)
        return vs_fail(&err);
    print_key(args, &who, key);
    return 0;
}

int vs_command_keys_rotate(const struct vs_args *args)
{
    struct vs_error err = { 0 };
    struct vs_identity who;
    struct vs_secret fresh;
    char folder[PATH_MAX], key[VS_API_KEY_LENGTH + 1];
    int64_t grace;
    int rc = time_of(args, VS_OPT_GRACE, &grace, &err);
    if (rc == VS_OK)
        rc = find_folder(args, folder, &err);
    if (rc == VS_OK)
        rc = vs_keys_load(folder, args->v[0], &who, &err);
    if (rc == VS_OK && !vs_api_key_make(key, &fresh))
        rc = vs_error_set(&err, VS_E_SYSTEM, "the kernel gives no random numbers");
    if (rc == VS_OK) {
        int64_t until = who.secret[0].until;
        who.secret[1] = grace ? who.secret[0] : (struct vs_secret){ 0 };
        if (grace && (!until || until > grace))
            who.secret[1].until = grace; /* never longer than it had */
        who.secret[0] = fresh;
        who.secret[0].until = until;
        rc = vs_keys_save(folder, &who, false, &err);
    }
    if (rc != VS_OK)
        return vs_fail(&err);
    print_key(args, &who, key);
    return 0;
}

int vs_command_keys_revoke(const struct vs_args *args)
{
    struct vs_error err = { 0 };
    char folder[PATH_MAX];
    int rc = find_folder(args, folder, &err);
    if (rc == VS_OK)
        rc = vs_keys_remove(folder, args->v[0], &err);
    if (rc != VS_OK)
        return vs_fail(&err);
    vs_note("the key '%s' is revoked", args->v[0]);
    return 0;
}

static void date_text(int64_t seconds, char ret[20])
{
    struct tm t;
    snprintf(ret, 20, "never");
    if (seconds && vs_date_of(seconds, &t))
        strftime(ret, 20, "%Y-%m-%d %H:%M", &t);
}

static void print_row(const struct vs_identity *who)
{
    char created[20], until[20];
    date_text(who->created, created);
    date_text(who->secret[0].until, until);
    bool is_over = who->secret[0].until && now_s() >= who->secret[0].until;
    printf("%-24s  %-8s  %-16s  %-16s  %s", who->name, vs_role_name(who->role), created, until, is_over ? "expired" : "");
    const char *comma = "";
    for (unsigned i = 0; i < VS_N_SCOPES && !is_over; i++)
        if (who->scopes >> i & 1) {
            printf("%s%s", comma, vs_scope_name((enum vs_scope)i));
            comma = ",";
        }
    putchar('\n');
}

int vs_command_keys_list(const struct vs_args *args)
{
    struct vs_error err = { 0 };
    struct vs_identities all = { 0 };
    char folder[PATH_MAX];
    int rc = find_folder(args, folder, &err);
    json_t *list = rc == VS_OK ? vs_keys_list(folder, false, &err) : NULL;
    if (!list || vs_identity_list_parse(list, &all, &err) != VS_OK) {
        json_decref(list);
        return vs_fail(&err);
    }
    json_decref(list);
    if (vs_args_given(args, VS_OPT_JSON)) {
        json_t *told = json_array();
        for (size_t i = 0; i < all.n; i++)
            json_array_append_new(told, told_json(&all.v[i]));
        json_t *v = json_pack("{s:o, s:o}", "folder", vs_json_text(folder, strlen(folder)), "keys", told);
        vs_answer_json(v, JSON_INDENT(2));
        json_decref(v);
    } else if (all.n == 0) {
        vs_note("there is no key in %s", *folder ? folder : "any folder");
    } else {
        printf("%-24s  %-8s  %-16s  %-16s  %s\n", "NAME", "ROLE", "CREATED", "EXPIRES", "SCOPES");
        for (size_t i = 0; i < all.n; i++)
            print_row(&all.v[i]);
    }
    vs_answer_flush();
    vs_identity_list_clear(&all);
    return 0;
}

/* What the daemon makes of the key that VERITAS_KEY_FILE names. */
int vs_command_keys_whoami(const struct vs_args *args)
{
    struct vs_error err = { 0 };
    struct vs_session s;
    json_t *request = json_object(), *result = NULL;
    int rc = vs_session_open(&s, args, NULL, VS_SESSION_RUNNING | VS_SESSION_NO_LOAD, &err);
    if (rc == VS_OK) {
        rc = vs_session_call(&s, VS_MSG_WHOAMI, request, -1, NULL, NULL, &result, &err);
        vs_session_close(&s);
    }
    json_decref(request);
    if (rc != VS_OK)
        return vs_fail(&err);
    vs_answer_json(result, vs_args_given(args, VS_OPT_JSON) ? JSON_COMPACT : JSON_INDENT(2));
    vs_answer_flush();
    json_decref(result);
    return 0;
}
