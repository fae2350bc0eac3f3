/* prog/veritas/perplexity.c - `veritas perplexity`; how it is counted: docs/PERPLEXITY.md. */
#include "prog/veritas/command.h"
#include "prog/veritas/session.h"

#include <stdio.h>
#include <stdlib.h>

#define TEXT_LIMIT (15u << 20)

int vs_command_perplexity(const struct vs_args *args)
{
    struct vs_error err = { 0 };
    struct vs_session s = { 0 };
    char *text = NULL;
    size_t n = 0;
    json_t *request = json_object(), *result = NULL;
    int rc = vs_text_read(args->n > 0 ? args->v[0] : NULL, TEXT_LIMIT, &text, &n, &err);
    if (rc != VS_OK || (rc = vs_text_check("the text", text, n, &err)) != VS_OK)
        goto out;
    if (n > 0 && text[n - 1] == '\n')    /* docs/PERPLEXITY.md, 1 */
        n--;
    int64_t ctx = vs_args_given(args, VS_OPT_CTX) ? vs_args_int(args, VS_OPT_CTX) : 512;
    if (json_object_set_new(request, "text", json_stringn(text, n)) < 0 ||
        json_object_set_new(request, "ctx", json_integer(ctx)) < 0) {
        rc = vs_error_set(&err, VS_E_NOMEM, "out of memory");
        goto out;
    }
    if ((rc = vs_session_open(&s, args, vs_args_text(args, VS_OPT_MODEL), VS_SESSION_LOUD, &err)) != VS_OK ||
        (rc = vs_session_call(&s, VS_MSG_PERPLEXITY, request, -1, NULL, NULL, &result, &err)) != VS_OK)
        goto out;
    vs_session_remarks(&s, request, result, false);
    if (vs_args_given(args, VS_OPT_JSON))
        vs_answer_json(result, JSON_COMPACT);
    else
        printf("perplexity %.6f over %lld tokens\n", json_number_value(json_object_get(result, "perplexity")),
               (long long)json_integer_value(json_object_get(result, "n_tokens")));
out:
    json_decref(result);
    json_decref(request);
    vs_session_close(&s);
    free(text);
    return rc == VS_OK ? 0 : vs_fail(&err);
}
