/* prog/veritas/config.h - the form of the file of `veritas serve --config`.
 *
 *     # a comment is a line of its own
 *     parallel = 16                 an option of `veritas serve`
 *     [model qwen]                  from here on: of the model `qwen`, as `veritas load` takes them
 *     load = yes
 *
 * Here are lines and sections; what options there are stands in options.c. Who starts the daemon wrote the file, but it is checked
 * like any other input.
 *
 * Memory: an entry lives as long as the call of `take`. Threads: pure.
 */
#ifndef VS_VERITAS_CONFIG_H
#define VS_VERITAS_CONFIG_H
#include "base/status.h"

#include <stddef.h>

struct vs_config_entry {
    const char *model;                  /* whose; NULL: of the daemon */
    /* A name is [a-z0-9-]+; a value has no blanks around it, and may be empty. Both NULL: here the model's section begins. */
    const char *name, *value;
    unsigned line, section_line;        /* from 1; where the model's section begins, 0 outside of one */
};

/* A code other than VS_OK ends the reading, and is its result. */
typedef int vs_config_take(void *context, const struct vs_config_entry *entry, struct vs_error *err);

/* Calls take for each section and each entry of text[n]. VS_E_INVALID; *ret_line is the line that is wrong (0: no line). */
int vs_config_parse(const char *text, size_t n, vs_config_take *take, void *context, unsigned *ret_line, struct vs_error *err);
#endif
