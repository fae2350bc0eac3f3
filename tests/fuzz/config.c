/* rooms: ipc base */
/* Any bytes as the file of `veritas serve --config`: entries are what they are said to be; written again they are read alike. */
#include "prog/veritas/config.c"

#include "base/buf.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

struct read {
    struct vs_buf again;                /* what was read, as a file */
    unsigned n, line;
};

static int take(void *context, const struct vs_config_entry *e, struct vs_error *err)
{
    struct read *r = context;
    (void)err;
    if (!e->name) {                     /* a section */
        if (e->line <= r->line || e->line != e->section_line || !vs_model_name_is_valid(e->model))
            abort();
        vs_buf_printf(&r->again, "[model %s]\n", e->model);
        r->line = e->line;
        r->n++;
        return VS_OK;
    }
    size_t name = strlen(e->name), value = strlen(e->value);
    if (e->line <= r->line || name == 0 || strchr(e->name, ' ') || strchr(e->value, '\n') || name + value >= LINE_BYTES
        || (value > 0 && (strchr(BLANKS, e->value[0]) || strchr(BLANKS, e->value[value - 1])))
        || (e->model && !vs_model_name_is_valid(e->model)))
        abort();
    vs_buf_printf(&r->again, "%s=%s\n", e->name, e->value);
    r->line = e->line;
    r->n++;
    return VS_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct read first = { 0 }, second = { 0 };
    struct vs_error err = { 0 };
    unsigned line = 0;
    int rc = vs_config_parse((const char *)data, n, take, &first, &line, &err);
    if ((rc == VS_OK) != (line == 0) || (rc != VS_OK && (!err.text[0] || line <= first.line)))
        abort();
    if (vs_config_parse(first.again.data ? first.again.data : "", first.again.n, take, &second, &line, &err) != VS_OK
        || second.n != first.n || second.again.n != first.again.n
        || (first.again.n && memcmp(first.again.data, second.again.data, first.again.n) != 0))
        abort();
    vs_buf_clear(&first.again);
    vs_buf_clear(&second.again);
    return 0;
}
