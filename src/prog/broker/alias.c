/* prog/broker/alias.c - other names of models: those of `veritas serve`'s file stay, that of a load goes with its model. */
#include "prog/broker/broker.h"

#include "ipc/name.h"

#include <string.h>

static const char *alias_of(const struct model *m)
{
    return json_string_value(json_object_get(m->settings, "alias"));
}

/* The model whose alias it is; a name of its own comes before that of an alias. NULL: nobody's. */
static const char *named(struct broker *b, const char *alias)
{
    for (const struct model *m = b->models; m; m = m->next)
        if (!m->gone && alias_of(m) && strcmp(alias_of(m), alias) == 0)
            return m->name;
    return json_string_value(json_object_get(b->settings.aliases, alias));
}

const char *alias_resolve(struct broker *b, const char *name)
{
    const char *of = model_find(b, name) ? NULL : named(b, name);
    return of ? of : name;
}

int alias_check(struct broker *b, const char *name, const json_t *settings, struct vs_error *err)
{
    const char *alias = json_string_value(json_object_get(settings, "alias"));
    if (!alias)
        return VS_OK;
    if (!vs_model_name_is_valid(alias))
        return vs_error_set(err, VS_E_INVALID, "the alias '%.100s' is not a name (a-z 0-9 . _ -)", alias);
    const char *of = named(b, alias);
    if (model_find(b, alias))
        return vs_error_set(err, VS_E_INVALID, "the alias '%s' is in use: a model of that name is loaded", alias);
    if (of && strcmp(of, name) != 0)
        return vs_error_set(err, VS_E_INVALID, "the alias '%s' is in use: it is another name of %.200s", alias, of);
    return VS_OK;
}
