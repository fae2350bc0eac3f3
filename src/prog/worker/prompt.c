/* prog/worker/prompt.c - from a request's prompt, messages or ids to the ids that the model reads. */
#include "prog/worker/generate.h"

#include <string.h>

static json_t *piece(const struct vs_tokenizer *t, uint32_t id)
{
    size_t n = 0;
    const char *p = id == VS_TOKENIZER_NONE ? "" : vs_tokenizer_piece(t, id, &n);
    return vs_json_text(p, n);
}

static int check_messages(const json_t *messages, struct vs_error *err)
{
    size_t i;
    const json_t *m;
    if (!json_is_array(messages) || !json_array_size(messages))
        return vs_error_set(err, VS_E_INVALID, "messages must be a list of at least one {\"role\", \"content\"}");
    json_array_foreach(messages, i, m)
        if (!json_is_string(json_object_get(m, "role")) || !json_object_get(m, "content"))
            return vs_error_set(err, VS_E_INVALID, "messages: entry %zu needs a role and a content", i);
    return VS_OK;
}

/* all_trusted: the caller vouches for every byte, so that names of control tokens in the messages become those tokens. */
static int from_messages(struct vs_service *s, json_t *messages, const json_t *request, bool all_trusted, struct vs_check *check,
                         struct vs_ids *ret, struct vs_error *err)
{
    static const char *const trusted[] = { "bos_token", "eos_token", NULL };
    if (!s->template)
        return vs_error_set(err, s->has_template ? s->template_error.code : VS_E_UNSUPPORTED, "%s", s->has_template
                            ? s->template_error.text : "the model has no chat template; `veritas run --raw` completes plain text");
    int r = check_messages(messages, err);
    if (r != VS_OK)
        return r;
    json_t *context = json_pack("{s:O, s:b, s:o, s:o}", "messages", messages, "add_generation_prompt", 1,
                                "bos_token", piece(s->tokenizer, vs_tokenizer_bos(s->tokenizer)),
                                "eos_token", piece(s->tokenizer, vs_tokenizer_eos(s->tokenizer)));
    const json_t *tools = json_object_get(request, "tools");
    if (context && tools)
        json_object_set(context, "tools", (json_t *)(uintptr_t)tools);
    int64_t now;
    r = vs_request_int(request, "now", 0, 0, INT64_MAX, &now, err);
    struct vs_marked_text m = { 0 };
    (void)check;
    struct vs_error why = { 0 };
    if (r == VS_OK)
        r = context ? vs_template_render(s->template, context, trusted, now, NULL, &m, &why) : VS_E_NOMEM;
    if (why.code == VS_E_INVALID && strncmp(why.text, "template:", 9) != 0)    /* raise_exception, in the template's own words */
        vs_error_set(err, r, "the model's chat template refuses this conversation: %s", why.text);
    else if (why.code)
        vs_error_set(err, r, "%s", why.text);
    else if (r == VS_E_NOMEM)
        vs_error_set(err, r, "out of memory");
    else if (r == VS_OK && !m.text.n)
        r = vs_error_set(err, VS_E_INVALID, "the model's chat template makes no text of this conversation");
    const struct vs_text_run whole = { m.text.n, true };
    if (r == VS_OK)
        r = vs_tokenizer_encode(s->tokenizer, m.text.data ? m.text.data : "", m.text.n, all_trusted ? &whole : m.runs,
                                all_trusted ? m.text.n > 0 : m.n_runs, VS_ENCODE_ADD_SPECIAL, ret, err);
    vs_marked_text_clear(&m);
    json_decref(context);
    return r;
}

static int read_prompt(struct vs_service *s, const json_t *request, struct vs_check *check, struct vs_ids *ret,
                       const char **ret_notice, struct vs_error *err)
{
    const json_t *messages = json_object_get(request, "messages"), *prompt = json_object_get(request, "prompt");
    const json_t *tokens = json_object_get(request, "tokens"), *system = json_object_get(request, "system");
    if (tokens && !json_is_null(tokens))
        return vs_request_ids(s, tokens, "tokens", check, ret, err);
    int r = vs_service_need_tokenizer(s, err);
    if (r != VS_OK)
        return r;
    if (messages)
        return from_messages(s, (json_t *)(uintptr_t)messages, request, false, check, ret, err);
    if (!json_is_string(prompt))
        return vs_error_set(err, VS_E_INVALID, "prompt is missing");
    bool raw = vs_request_flag(request, "raw"), special = vs_request_flag(request, "special");
    bool has_system = json_is_string(system) && json_string_length(system);
    if (has_system && raw)
        return vs_error_set(err, VS_E_INVALID, "a system message needs the chat template: leave out either raw or system");
    if (has_system && !s->has_template)
        return vs_error_set(err, VS_E_UNSUPPORTED, "the model has no chat template, so there is no place for a system message; "
                            "put it into the prompt");
    if (!raw && !s->has_template) {
        *ret_notice = "the model has no chat template: the text is completed as it is";
        raw = true;
    }
    if (raw)
        return vs_service_encode(s, json_string_value(prompt), json_string_length(prompt), special, true, check, ret, err);
    json_t *list = json_array();
    if (has_system)
        json_array_append_new(list, json_pack("{s:s, s:O}", "role", "system", "content", system));
    json_array_append_new(list, json_pack("{s:s, s:O}", "role", "user", "content", prompt));
    r = from_messages(s, list, request, special, check, ret, err);
    json_decref(list);
    return r;
}

int vs_prompt_read(struct vs_service *s, const json_t *request, struct vs_check *check, struct vs_ids *ret, const char **ret_notice,
                   struct vs_error *err)
{
    uint32_t context = vs_model_context(s->model);
    int r = read_prompt(s, request, check, ret, ret_notice, err);
    if (r == VS_OK && !ret->n)
        r = vs_error_set(err, VS_E_INVALID, "the prompt is empty");
    if (r == VS_OK && ret->n >= context)
        r = vs_error_set(err, VS_E_CONTEXT, "the prompt has %zu token%s and the context holds %u, one of them for the answer", ret->n, ret->n == 1 ? "" : "s", context);
    return r;
}
