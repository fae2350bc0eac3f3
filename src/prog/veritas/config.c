/* prog/veritas/config.c - see config.h */
#include "prog/veritas/config.h"

#include "ipc/name.h"

#include <string.h>

enum { LINE_BYTES = 4200 };             /* of a line; a path fits */
#define BLANKS " \t\r"

/* Without the blanks at both ends; the end is written. */
static char *trimmed(char *s)
{
    s += strspn(s, BLANKS);
    size_t n = strlen(s);
    while (n > 0 && strchr(BLANKS, s[n - 1]))
        n--;
    s[n] = 0;
    return s;
}

/* "[model NAME]" */
static int take_section(char *line, char ret_model[VS_MODEL_NAME_MAX + 1], struct vs_error *err)
{
    static const char word[] = "model";
    size_t n = strlen(line);
    if (line[n - 1] != ']')
        return vs_error_set(err, VS_E_INVALID, "the ] of a section is missing");
    line[n - 1] = 0;
    char *name = trimmed(line + 1);
    if (strncmp(name, word, sizeof word - 1) != 0 || !name[sizeof word - 1] || !strchr(BLANKS, name[sizeof word - 1]))
        return vs_error_set(err, VS_E_INVALID, "[%.60s] is no section: there is only [model NAME]", name);
    name = trimmed(name + sizeof word);
    if (!vs_model_name_is_valid(name))
        return vs_error_set(err, VS_E_INVALID, "'%.100s' is not a model's name (a-z 0-9 . _ -)", name);
    memcpy(ret_model, name, strlen(name) + 1);
    return VS_OK;
}

static int take_entry(char *line, struct vs_config_entry *e, vs_config_take *take, void *context, struct vs_error *err)
{
    char *equals = strchr(line, '=');
    if (!equals)
        return vs_error_set(err, VS_E_INVALID, "'%.60s' is neither `option = value` nor a section", line);
    *equals = 0;
    e->name = trimmed(line);
    e->value = trimmed(equals + 1);
    if (!*e->name || e->name[strspn(e->name, "abcdefghijklmnopqrstuvwxyz0123456789-")])
        return vs_error_set(err, VS_E_INVALID, "'%.60s' is not the name of an option", e->name);
    return take(context, e, err);
}

int vs_config_parse(const char *text, size_t n, vs_config_take *take, void *context, unsigned *ret_line, struct vs_error *err)
{
    char line[LINE_BYTES], model[VS_MODEL_NAME_MAX + 1] = "";
    unsigned number = 0, section = 0;
    int rc = VS_OK;
    for (size_t at = 0; at < n && rc == VS_OK;) {
        const char *end = memchr(text + at, '\n', n - at);
        size_t length = end ? (size_t)(end - text) - at : n - at;
        *ret_line = ++number;
        if (length >= sizeof line)
            return vs_error_set(err, VS_E_INVALID, "the line is longer than %d bytes", LINE_BYTES - 1);
        if (memchr(text + at, 0, length))
            return vs_error_set(err, VS_E_INVALID, "there is a NUL byte in the line");
        memcpy(line, text + at, length);
        line[length] = 0;
        at += length + 1;
        char *words = trimmed(line);
        if (*words == '[') {
            rc = take_section(words, model, err);
            section = number;
            struct vs_config_entry e = { .model = model, .line = number, .section_line = section };
            rc = rc == VS_OK ? take(context, &e, err) : rc;
        } else if (*words && *words != '#') {
            struct vs_config_entry e = { .model = *model ? model : NULL, .line = number, .section_line = section };
            rc = take_entry(words, &e, take, context, err);
        }
    }
    if (rc == VS_OK)
        *ret_line = 0;
    return rc;
}
