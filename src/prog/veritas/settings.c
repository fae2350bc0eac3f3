/* prog/veritas/settings.c - what `veritas serve` was told, by its command line and by its file, in the form that others need: an
 * object for the broker, settings of models. */
#include "prog/veritas/serve.h"

#include "base/machine.h"
#include "client/client.h"
#include "prog/veritas/command.h"
#include "prog/veritas/config.h"
#include "prog/veritas/models.h"
#include "prog/veritas/term.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_CONFIG (1u << 20)

/* What a section says. */
struct section {
    char name[VS_MODEL_NAME_MAX + 1];
    struct vs_args args;                /* as `veritas load` has them */
    unsigned line, load_line;           /* where it begins; 0: it is not loaded at the start */
    unsigned lines[VS_OPT_COUNT];       /* where each option was given last; 0: it was not */
};

struct reading {
    struct vs_args file;                /* options of serve */
    unsigned lines[VS_OPT_COUNT];       /* as in a section */
    struct section *sections[MAX_MODELS];
    size_t n_sections;
    json_t *empty;                      /* sections that say nothing: the line of each, by its model */
};

static struct section *section_of(struct reading *r, const char *name, unsigned line, struct vs_error *err)
{
    for (size_t i = 0; i < r->n_sections; i++)
        if (strcmp(r->sections[i]->name, name) == 0)
            return r->sections[i];
    if (r->n_sections == MAX_MODELS) {
        vs_error_set(err, VS_E_LIMIT, "there are more than %d models", MAX_MODELS);
        return NULL;
    }
    struct section *s = calloc(1, sizeof *s);
    if (!s) {
        vs_error_set(err, VS_E_NOMEM, "out of memory");
        return NULL;
    }
    snprintf(s->name, sizeof s->name, "%s", name);
    s->line = line;
    s->args.command = &vs_commands[VS_COMMAND_LOAD];
    json_object_del(r->empty, name);
    return r->sections[r->n_sections++] = s;
}

static int take_load(struct section *s, const struct vs_config_entry *e, struct vs_error *err)
{
    bool yes = strcmp(e->value, "yes") == 0;
    if (!yes && strcmp(e->value, "no") != 0)
        return vs_error_set(err, VS_E_INVALID, "load: '%.60s' is neither yes nor no", e->value);
    s->load_line = yes ? e->line : 0;
    return VS_OK;
}

static int take_option(struct vs_args *args, unsigned lines[VS_OPT_COUNT], const struct vs_config_entry *e, struct vs_error *err)
{
    for (int id = 0; id < VS_OPT_COUNT; id++)
        if (strcmp(vs_options[id].name, e->name) == 0)
            lines[id] = e->line;
    return vs_args_give(args, e->name, e->value, err);
}

static int take_entry(void *context, const struct vs_config_entry *e, struct vs_error *err)
{
    struct reading *r = context;
    if (!e->model)
        return take_option(&r->file, r->lines, e, err);
    if (!e->name)                       /* as long as it says no more */
        return json_object_set_new(r->empty, e->model, json_integer(e->section_line)) == 0 ? VS_OK
            : vs_error_set(err, VS_E_NOMEM, "out of memory");
    struct section *s = section_of(r, e->model, e->section_line, err);
    if (!s)
        return err->code;
    return strcmp(e->name, "load") == 0 ? take_load(s, e, err) : take_option(&s->args, s->lines, e, err);
}

static bool is_in_directory(const char *name, struct stat *ret)
{
    char path[PATH_MAX];
    return vs_model_find(name, path, sizeof path, NULL) == VS_OK && stat(path, ret) == 0;
}

static int check_alias(const char *alias, const json_t *aliases, struct vs_error *err)
{
    struct stat st;
    if (!vs_model_name_is_valid(alias))
        return vs_error_set(err, VS_E_INVALID, "the alias '%.100s' is not a name (a-z 0-9 . _ -)", alias);
    if (is_in_directory(alias, &st))
        return vs_error_set(err, VS_E_INVALID, "the alias '%s' is a model of the directory", alias);
    if (json_object_get(aliases, alias))
        return vs_error_set(err, VS_E_INVALID, "the alias '%s' is given to two models", alias);
    return VS_OK;
}

/* As the supervisor will find it. model NULL: the draft of all. */
static int check_draft(const char *draft, const char *model, struct vs_error *err)
{
    struct stat st, other;
    struct vs_error why = { 0 };
    if (!vs_model_name_is_valid(draft))
        return vs_error_set(err, VS_E_INVALID, "the draft '%.100s' is not a name of the model directory", draft);
    if (!is_in_directory(draft, &st)) {
        vs_model_missing(draft, &why);
        return vs_error_set(err, VS_E_NOT_FOUND, "the draft: %s", why.text);
    }
    if (model && is_in_directory(model, &other) && st.st_dev == other.st_dev && st.st_ino == other.st_ino)
        return vs_error_set(err, VS_E_INVALID, "the draft '%s' is the model itself", draft);
    return VS_OK;
}

/* A model that is to be loaded must be there, and its draft; an alias must be one name of one model. */
static int check_section(const struct section *s, const json_t *aliases, unsigned *ret_line, struct vs_error *err)
{
    const char *alias = vs_args_text(&s->args, VS_OPT_ALIAS);
    const char *draft = vs_args_given(&s->args, VS_OPT_DRAFT) ? vs_args_text(&s->args, VS_OPT_DRAFT) : NULL;
    struct stat st;
    int rc = s->load_line && !is_in_directory(s->name, &st) ? vs_model_missing(s->name, err) : VS_OK;
    *ret_line = s->load_line;
    if (rc == VS_OK && alias) {
        rc = check_alias(alias, aliases, err);
        *ret_line = s->lines[VS_OPT_ALIAS];
    }
    if (rc == VS_OK && draft) {
        rc = check_draft(draft, s->name, err);
        *ret_line = s->lines[VS_OPT_DRAFT];
    }
    return rc;
}

/* Sections as settings of their models. */
static int take_sections(struct settings *s, const struct reading *r, json_t *aliases, unsigned *ret_line, struct vs_error *err)
{
    for (size_t i = 0; i < r->n_sections; i++) {
        const struct section *section = r->sections[i];
        json_t *settings = json_object();
        int rc = check_section(section, aliases, ret_line, err);
        if (rc == VS_OK && vs_args_json(&section->args, "settings.", settings) != VS_OK)
            rc = vs_error_set(err, VS_E_NOMEM, "out of memory");
        if (rc == VS_OK && vs_args_given(&section->args, VS_OPT_ALIAS))
            json_object_set_new(aliases, vs_args_text(&section->args, VS_OPT_ALIAS), json_string(section->name));
        if (rc == VS_OK && section->load_line)
            json_array_append_new(s->loads, json_string(section->name));
        json_object_set_new(s->models, section->name, settings);
        if (rc != VS_OK)
            return rc;
    }
    return VS_OK;
}

/* What the broker is told: the options that are its own, how much memory all models may take, other names of models. */
static int make_broker(struct settings *s, const struct vs_args *args, json_t *aliases, struct vs_error *err)
{
    struct vs_machine machine;
    json_t *all = json_object();
    vs_machine_read("", &machine);
    json_object_set_new(all, "memory", json_integer((json_int_t)(machine.free_bytes / 10 * 9)));
    if (json_object_size(aliases) > 0)
        json_object_set(all, "aliases", aliases);
    s->broker = all && vs_args_json(args, "serve.", all) == VS_OK ? json_dumps(all, JSON_COMPACT) : NULL;
    json_decref(all);
    return s->broker ? VS_OK : vs_error_set(err, VS_E_NOMEM, "out of memory");
}

/* Fills args, the command line's, with what the file says. */
static int read_file(const char *path, struct reading *r, struct vs_args *args, unsigned *ret_line, struct vs_error *err)
{
    char *text = NULL;
    size_t n = 0;
    int rc = vs_text_read(path, MAX_CONFIG, &text, &n, err);
    if (rc == VS_OK)
        rc = vs_config_parse(text, n, take_entry, r, ret_line, err);
    free(text);
    return rc == VS_OK ? vs_args_fill(args, &r->file, err) : rc;
}

/* ---- the models themselves ---- */

/* Is the text about this option? It begins with its name ("--ctx 9: ...", "draft: ..."), or names the file that it means. */
static bool is_about(const char *text, int id)
{
    static const struct { enum vs_option_id id; const char *file; } files[] = {
        { VS_OPT_DRAFT, "the draft" }, { VS_OPT_LORA, "the adapter" },
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (files[i].id == (enum vs_option_id)id && strstr(text, files[i].file))
            return true;
    size_t n = strlen(vs_options[id].name);
    text += strncmp(text, "--", 2) == 0 ? 2 : 0;
    return strncmp(text, vs_options[id].name, n) == 0 && strchr(": ", text[n]);
}

/* The line of the option that a text is about, in the section or at the head of the file; else that of the model. */
static unsigned line_of(const struct reading *r, const struct section *s, const char *text)
{
    for (int id = 0; id < VS_OPT_COUNT; id++) {
        unsigned line = s->lines[id] ? s->lines[id] : r->lines[id];
        if (line && is_about(text, id))
            return line;
    }
    return s->load_line ? s->load_line : s->line;
}

static int check_model(const struct settings *s, const struct section *section, struct vs_client *client, struct vs_error *err)
{
    json_t *settings = settings_of(s, section->name, NULL), *request = json_object(), *unload = json_object();
    if (json_object_set_new(settings, "check_only", json_true()) != 0 || json_object_set(request, "settings", settings) != 0
        || json_object_set_new(request, "model", json_string(section->name)) != 0
        || json_object_set_new(unload, "model", json_string(section->name)) != 0)
        vs_error_set(err, VS_E_NOMEM, "out of memory");
    else if (vs_client_call(client, VS_MSG_LOAD, request, NULL, NULL, err) == VS_OK)
        vs_client_call(client, VS_MSG_UNLOAD, unload, NULL, NULL, err);
    json_decref(settings);
    json_decref(request);
    json_decref(unload);
    return err->code;
}

/* One that a request or the start would load: a section may be there before its model. *client is made for the first. */
static int check_if_there(const struct settings *s, const struct reading *r, const struct section *section,
                          struct vs_client **client, unsigned *ret_line, struct vs_error *err)
{
    struct vs_error why = { 0 };
    struct stat st;
    if (!is_in_directory(section->name, &st))
        return VS_OK;
    if (!*client && vs_client_private(NULL, true, -1, "veritas serve --check", client, err) != VS_OK)
        return err->code;
    if (check_model(s, section, *client, &why) != VS_OK) {
        *ret_line = line_of(r, section, why.text);
        vs_error_set(err, why.code, "model %s: %s", section->name, why.text);
    }
    return err->code;
}

static int check_models(const struct settings *s, const struct reading *r, unsigned *ret_line, struct vs_error *err)
{
    struct vs_client *client = NULL;
    const char *name;
    json_t *line;
    int rc = VS_OK;
    if (s->policy.path[0] && setenv("VERITAS_POLICY", s->policy.path, 1) != 0)
        return vs_error_set(err, VS_E_NOMEM, "out of memory");
    for (size_t i = 0; i < r->n_sections && rc == VS_OK; i++)
        rc = check_if_there(s, r, r->sections[i], &client, ret_line, err);
    json_object_foreach(r->empty, name, line) {
        struct section empty = { .line = (unsigned)json_integer_value(line) };
        snprintf(empty.name, sizeof empty.name, "%s", name);
        rc = rc == VS_OK ? check_if_there(s, r, &empty, &client, ret_line, err) : rc;
    }
    vs_client_close(client);
    return rc;
}

static int settings_make(struct settings *s, const struct vs_args *given, bool with_models, struct vs_error *err)
{
    const char *path = vs_args_text(given, VS_OPT_CONFIG);
    struct vs_args all, *args = &all;   /* of the command line and, where that says nothing, of the file */
    struct reading r = { .file.command = &vs_commands[VS_COMMAND_SERVE], .empty = json_object() };
    struct vs_error why = { 0 };
    json_t *aliases = json_object();
    unsigned line = 0;
    s->defaults = json_object();
    s->models = json_object();
    s->loads = json_array();
    int rc = vs_args_copy(args, given);
    if (rc == VS_OK && path)
        rc = read_file(path, &r, args, &line, &why);
    if (rc == VS_OK && vs_args_given(args, VS_OPT_DRAFT)) {
        rc = check_draft(vs_args_text(args, VS_OPT_DRAFT), NULL, &why);
        line = vs_args_given(given, VS_OPT_DRAFT) ? 0 : r.lines[VS_OPT_DRAFT];
    }
    if (rc == VS_OK)
        rc = take_sections(s, &r, aliases, &line, &why);
    if (rc == VS_OK)
        rc = vs_args_json(args, "settings.", s->defaults);
    if (rc == VS_OK)
        rc = make_broker(s, args, aliases, &why);
    if (rc == VS_OK) {
        line = 0;                       /* it says its own */
        rc = vs_policy_file_read(&s->policy, vs_args_given(args, VS_OPT_POLICY) ? vs_args_text(args, VS_OPT_POLICY) : NULL, &why);
    }
    if (rc == VS_OK && with_models)
        rc = check_models(s, &r, &line, &why);
    if (rc == VS_OK) {
        s->drain = (uint64_t)vs_args_int(args, VS_OPT_DRAIN) * 1000 * MS;
        s->socket = vs_args_given(args, VS_OPT_SOCKET) ? strdup(vs_args_text(args, VS_OPT_SOCKET)) : NULL;
        s->log = strcmp(vs_args_text(args, VS_OPT_LOG), "json") == 0 ? VS_LOG_JSON : VS_LOG_TEXT;
    } else if (line) {
        vs_error_set(err, rc, "%s:%u: %s", path, line, why.text);
    } else {
        vs_error_set(err, rc, "%s", why.text);
    }
    json_decref(aliases);
    json_decref(r.empty);
    vs_args_clear(args);
    vs_args_clear(&r.file);
    for (size_t i = 0; i < r.n_sections; i++) {
        vs_args_clear(&r.sections[i]->args);
        free(r.sections[i]);
    }
    return rc;
}

int settings_read(struct settings *s, const struct vs_args *given, struct vs_error *err)
{
    return settings_make(s, given, false, err);
}

int settings_check(struct settings *s, const struct vs_args *given, struct vs_error *err)
{
    return settings_make(s, given, true, err);
}

json_t *settings_of(const struct settings *s, const char *model, json_t *asked)
{
    const json_t *const layers[] = { json_object_get(s->models, model), asked };       /* the later ones count more */
    json_t *all = json_deep_copy(s->defaults), *value;
    const char *key;
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++)
        json_object_foreach((json_t *)(uintptr_t)layers[i], key, value)
            if (!json_is_null(value) && json_object_set(all, key, value) != 0) {
                json_decref(all);
                return NULL;
            }
    return all;
}

void settings_clear(struct settings *s)
{
    free(s->broker);
    free(s->socket);
    vs_policy_file_clear(&s->policy);
    json_decref(s->defaults);
    json_decref(s->models);
    json_decref(s->loads);
    *s = (struct settings){ 0 };
}
