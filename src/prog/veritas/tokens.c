/* prog/veritas/tokens.c - `veritas tokenize` and `veritas detokenize`. */
#include "prog/veritas/command.h"
#include "prog/veritas/session.h"

#include "base/buf.h"
#include "base/bytes.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TEXT_LIMIT (15u << 20)

static int take_data(void *context, const struct vs_event *e)
{
    struct vs_buf *ids = context;
    if (e->kind == VS_MSG_DATA)
        vs_buf_add(ids, e->text, e->n);
    return ids->status;
}

int vs_command_tokenize(const struct vs_args *args)
{
    struct vs_error err = { 0 };
    struct vs_session s = { 0 };
    struct vs_buf ids = { .limit = 512u << 20 };
    char *text = NULL;
    size_t n = 0;
    json_t *request = NULL, *result = NULL;
    int rc = vs_text_read(args->n > 0 ? args->v[0] : NULL, TEXT_LIMIT, &text, &n, &err);
    if (rc != VS_OK || (rc = vs_text_check("the text", text, n, &err)) != VS_OK ||
        (rc = vs_session_open(&s, args, vs_args_text(args, VS_OPT_MODEL), VS_SESSION_INSPECT, &err)) != VS_OK)
        goto out;
    request = json_object();
    if (vs_args_json(args, "", request) != VS_OK || json_object_set_new(request, "text", json_stringn(text, n)) < 0) {
        rc = vs_error_set(&err, VS_E_NOMEM, "out of memory");
        goto out;
    }
    rc = vs_session_call(&s, VS_MSG_TOKENIZE, request, -1, take_data, &ids, &result, &err);
    if (rc != VS_OK)
        goto out;
    const char *notice = json_string_value(json_object_get(result, "notice"));
    if (notice)
        vs_note("%s", notice);
    /* Short lists come in the result, long ones as DATA. */
    json_t *list = json_object_get(result, "tokens");
    size_t count = json_is_array(list) ? json_array_size(list) : ids.n / 4;
    bool as_json = vs_args_given(args, VS_OPT_JSON);
    if (as_json)
        putchar('[');
    for (size_t i = 0; i < count; i++)
        printf("%s%lld", i == 0 ? "" : as_json ? ", " : " ",
               json_is_array(list) ? (long long)json_integer_value(json_array_get(list, i))
                                   : (long long)vs_load_u32le(ids.data + 4 * i));
    printf(as_json ? "]\n" : "\n");
out:
    json_decref(result);
    json_decref(request);
    vs_session_close(&s);
    vs_buf_clear(&ids);
    free(text);
    return rc == VS_OK ? 0 : vs_fail(&err);
}

/* Adds the numbers in s, separated by anything of " \t\n,[]", to the list. */
static bool add_ids(const char *s, json_t *list)
{
    static const char between[] = " \t\r\n,[]";
    for (s += strspn(s, between); *s; s += strspn(s, between)) {
        char word[16];
        size_t n = strcspn(s, between);
        int64_t id;
        if (n >= sizeof word)
            return false;
        memcpy(word, s, n);
        word[n] = '\0';
        if (!vs_integer_parse(word, &id) || id < 0 || id > UINT32_MAX)
            return false;
        json_array_append_new(list, json_integer(id));
        s += n;
    }
    return true;
}

int vs_command_detokenize(const struct vs_args *args)
{
    struct vs_error err = { 0 };
    struct vs_session s = { 0 };
    char *text = NULL;
    size_t n = 0;
    json_t *request = json_object(), *result = NULL, *list = NULL;
    int rc = VS_OK;
    if (vs_args_given(args, VS_OPT_TOKENS)) {
        list = vs_args_ints(args, VS_OPT_TOKENS);
    } else {
        bool good = (list = json_array()) != NULL;
        for (int i = 0; i < args->n && good; i++)
            good = add_ids(args->v[i], list);
        if (args->n == 0) {
            rc = vs_text_read(NULL, TEXT_LIMIT, &text, &n, &err);
            good = rc != VS_OK || (strlen(text) == n && add_ids(text, list));
        }
        if (!good)
            rc = vs_error_set(&err, VS_E_INVALID,
                              "token ids are whole numbers from 0 to 4294967295, separated by blanks or commas");
    }
    if (rc != VS_OK || (rc = vs_session_open(&s, args, vs_args_text(args, VS_OPT_MODEL), VS_SESSION_INSPECT, &err)) != VS_OK)
        goto out;
    if (vs_args_json(args, "", request) != VS_OK || json_object_set(request, "tokens", list) < 0) {
        rc = vs_error_set(&err, VS_E_NOMEM, "out of memory");
        goto out;
    }
    rc = vs_session_call(&s, VS_MSG_DETOKENIZE, request, -1, NULL, NULL, &result, &err);
    if (rc != VS_OK)
        goto out;
    json_t *answer = json_object_get(result, "text");
    if (json_is_string(answer))
        vs_answer(json_string_value(answer), json_string_length(answer));
    if (isatty(1))
        putchar('\n');
out:
    json_decref(list);
    json_decref(result);
    json_decref(request);
    vs_session_close(&s);
    free(text);
    return rc == VS_OK ? 0 : vs_fail(&err);
}
