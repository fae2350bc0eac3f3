/* rooms: policy ipc base */
/* Any bytes as a policy file, with files that it may name: it is refused with a line and a reason, or its canonical form is read
 * again as the same policy. */
#include "base/text.h"
#include "policy/policy.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* A file is there when its name begins with "f"; what it holds is its name, with a newline for each '/'. */
static int read_file(void *context, const char *path, struct vs_buf *ret, struct vs_error *err)
{
    (void)context;
    if (*path != 'f')
        return vs_error_set(err, VS_E_NOT_FOUND, "%s: no such file", vs_shown(path).text);
    for (; *path; path++)
        vs_buf_char(ret, *path == '/' ? '\n' : *path);
    return VS_OK;
}

static void check_limits(const struct vs_policy *p)
{
    if (p->version != 1 || p->input.max_bytes == 0 || p->pii.types >> VS_N_PII || p->output.urls > VS_POLICY_URLS_LIST
        || p->injection.zone[VS_ZONE_SYSTEM].mode != VS_POLICY_OFF)
        abort();
    for (int i = 0; i < VS_N_ZONES; i++)
        if (p->injection.zone[i].mode > VS_POLICY_BLOCK || p->injection.zone[i].threshold - 1 >= VS_POLICY_THRESHOLD_MOST)
            abort();
    for (size_t i = 0; i < p->secrets.protect.n; i++)
        if (strlen(p->secrets.protect.v[i]) < 4)
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct vs_policy first, second;
    struct vs_buf text = { 0 }, again = { 0 };
    struct vs_error err = { 0 };
    char a[VS_POLICY_DIGEST], b[VS_POLICY_DIGEST];
    unsigned line = 0, n_lines = 1;
    for (size_t i = 0; i < n; i++)
        n_lines += data[i] == '\n';
    if (vs_policy_parse((const char *)data, n, read_file, NULL, &first, &line, &err) != VS_OK) {
        if (!err.text[0] || line > n_lines || strchr(err.text, '\n'))
            abort();
        return 0;
    }
    check_limits(&first);
    vs_policy_format(&first, &text);
    if (text.status != VS_OK || vs_policy_parse(text.data, text.n, NULL, NULL, &second, &line, &err) != VS_OK)
        abort();
    vs_policy_format(&second, &again);
    if (again.n != text.n || memcmp(again.data, text.data, text.n) != 0)
        abort();
    if (vs_policy_digest(&first, a) != VS_OK || vs_policy_digest(&second, b) != VS_OK || strcmp(a, b) != 0)
        abort();
    vs_policy_clear(&first);
    vs_policy_clear(&second);
    vs_buf_clear(&text);
    vs_buf_clear(&again);
    return 0;
}
