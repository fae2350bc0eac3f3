/* prog/broker/alias.c - other names of models: those of `veritas serve`'s file stay, those of loads go with their model. */
#include "prog/broker/broker.h"

#include "ipc/json.h"
#include "ipc/name.h"

#include <string.h>

static const char *first_alias(const struct model *m)
{
    return json_string_value(json_object_get(m->settings, "alias"));
}

static bool has_alias(const struct model *m, const char *alias)
{
    const char *first = first_alias(m);
    bool found = first && strcmp(first, alias) == 0;
    for (size_t i = 0; i < json_array_size(m->aliases); i++)
        found |= strcmp(json_string_value(json_array_get(m->aliases, i)), alias) == 0;
    return found;
}

/* The model whose alias it is; a name of its own comes before that of an alias. NULL: nobody's. */
static const char *named(struct broker *b, const char *alias)
{
    for (const struct model *m = b->models; m; m = m->next)
        if (!m->gone && has_alias(m, alias))
            return m->name;
    return json_string_value(json_object_get(b->settings.aliases, alias));
}

bool alias_is_given(struct broker *b, const struct model *m, const char *alias)
{
    const char *of = named(b, alias);
    return of && strcmp(of, m->name) == 0;
}

const char *alias_resolve(struct broker *b, const char *name)
{
    const char *of = model_find(b, name) ? NULL : named(b, name);
    return of ? of : name;
}

int alias_check(struct broker *b, const char *name, const json_t *value, struct vs_error *err)
{
    const char *alias = json_string_value(value);
    if (!alias)
        return VS_OK;
    if (!vs_model_name_is_valid(alias))
        return vs_error_set(err, VS_E_INVALID, "the alias '%.100s' is not a name (a-z 0-9 . _ -)", alias);
    const char *of = named(b, alias);
    for (const struct request *r = b->asked_each.first; r && !of; r = r->next)
        of = r->alias && strcmp(json_string_value(r->alias), alias) == 0 ? r->model->name : NULL;
    if (model_find(b, alias))
        return vs_error_set(err, VS_E_INVALID, "the alias '%s' is in use: a model of that name is loaded", alias);
    if (of && strcmp(of, name) != 0)
        return vs_error_set(err, VS_E_INVALID, "the alias '%s' is in use: it is another name of %.200s", alias, of);
    return VS_OK;
}

void alias_ask(struct broker *b, struct model *m, struct request *r)
{
    struct vs_error why;
    if (alias_check(b, m->name, r->alias, &why) != VS_OK) {     /* while m was loaded another one got it */
        request_fail(b, r, VS_E_INVALID, why.text);
        return;
    }
    r->asked_id = ++b->last_id;
    json_t *question = json_pack("{s:I, s:O}", "model", (json_int_t)m->id, "alias", r->alias);
    int status = control_send(b, VS_MSG_ALIAS, r->asked_id, question, NULL);
    if (status != VS_OK) {
        request_fail(b, r, status, "the supervisor does not answer");
        return;
    }
    r->place = PLACE_ASKED;
    queue_add(&b->asked_each, r);
}

void alias_withdraw(struct broker *b, const struct request *r)
{
    const char *alias = json_string_value(r->alias);
    bool is_wanted = !r->asked_id || r->model->gone || has_alias(r->model, alias);
    for (const struct request *other = b->asked_each.first; other && !is_wanted; other = other->next)
        is_wanted = other->model == r->model && other->alias && json_equal(other->alias, r->alias);
    if (!is_wanted)
        control_send(b, VS_MSG_ALIAS, r->asked_id, json_pack("{s:I, s:O, s:b}", "model", (json_int_t)r->model->id, "alias",
                                                             r->alias, "withdrawn", 1), NULL);
}

void alias_told(struct broker *b, struct vs_frame *f, const json_t *message)
{
    struct request *r = queue_find_asked(&b->asked_each, f->id);
    struct vs_error why = { 0 };
    if (!r)
        return;
    r->asked_id = 0;
    if (json_object_get(message, "error")) {
        vs_json_to_error(message, &why);
        request_fail(b, r, why.code, why.text);
        return;
    }
    if (!r->model->aliases)
        r->model->aliases = json_array();
    if (!has_alias(r->model, json_string_value(r->alias)))       /* else somebody asked for the same */
        json_array_append(r->model->aliases, r->alias);
    model_tell_loaded(b, r->model, r);
}

json_t *alias_json(const struct broker *b)
{
    json_t *all = json_object();
    if (b->settings.aliases)
        json_object_update(all, b->settings.aliases);
    for (const struct model *m = b->models; m; m = m->next) {
        if (m->gone)
            continue;
        if (first_alias(m))
            json_object_set_new(all, first_alias(m), json_string(m->name));
        for (size_t i = 0; i < json_array_size(m->aliases); i++)
            json_object_set_new(all, json_string_value(json_array_get(m->aliases, i)), json_string(m->name));
    }
    return all;
}
