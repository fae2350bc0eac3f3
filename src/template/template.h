/* template/template.h - runs the chat templates that models carry: an interpreter of our own for the Jinja they use.
 *
 * Untrusted code with untrusted data: bounded in steps, nesting depth and output, each charged before the work is done; no
 * access to anything but the context given. What it can't run is VS_E_UNSUPPORTED naming the construct and the line; an explicit
 * raise_exception() is VS_E_INVALID with the template's own message.
 *
 * Every string carries where each byte came from (template, or input) through concatenation, slicing and every
 * filter; the output comes as marked runs for tokenizer/tokenizer.h. Literals of the template and the strings listed in
 * trusted_keys (bos_token, eos_token, ...) are trusted; all else in the context is not.
 *
 * Memory:  a template owns its tree; rendering uses memory of its own, freed before it returns.
 * Threads: a parsed template is read-only and may be rendered by several threads.
 */
#ifndef VS_TEMPLATE_TEMPLATE_H
#define VS_TEMPLATE_TEMPLATE_H
#include "base/buf.h"
#include "base/check.h"
#include "base/status.h"
#include "tokenizer/tokenizer.h"        /* struct vs_text_run */

#include <jansson.h>
#include <stddef.h>

struct vs_template;

int vs_template_parse(const char *source, size_t n, struct vs_template **ret, struct vs_error *err);
void vs_template_free(struct vs_template *t);

struct vs_template_limits {             /* zeroed = defaults */
    struct vs_check *check;             /* asked every few milliseconds; NULL: nobody is */
    uint64_t steps;                     /* default 20 million */
    size_t output_bytes;                /* default 64 MiB */
    unsigned depth;                     /* default 128: nesting of calls and expressions */
};

struct vs_marked_text {                 /* zeroed = empty; _clear frees */
    struct vs_buf text;
    struct vs_text_run *runs;           /* cover text exactly; neighbours differ in `trusted` */
    size_t n_runs, cap_runs;
};
void vs_marked_text_clear(struct vs_marked_text *m);
int vs_marked_text_add(struct vs_marked_text *m, const char *s, size_t n, bool trusted);

/* context: a JSON object, the template's global variables (messages, tools, add_generation_prompt, bos_token, eos_token,
 * any further keys). trusted_keys: NULL-terminated list of top-level keys whose string value is trusted.
 * strftime_now reads `now` (seconds since 1970, UTC) from the caller, so that a render is reproducible. */
int vs_template_render(const struct vs_template *t, const json_t *context, const char *const *trusted_keys, int64_t now,
                       const struct vs_template_limits *limits, struct vs_marked_text *out, struct vs_error *err);
#endif
