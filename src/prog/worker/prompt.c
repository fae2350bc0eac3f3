/* prog/worker/prompt.c - from a request's prompt, messages or ids to the ids that the model reads. */
#include "prog/worker/generate.h"
#include "prog/worker/render.h"

#include <string.h>

/* A prompt is there to be continued: no token that ends a text, though a file may want one behind every text; a source is whole.
 * A file with a vocabulary alone has no model. */
static unsigned prompt_flags(const struct vs_service *s)
{
    return s->model && vs_model_graph(s->model)->n_source ? VS_ENCODE_ADD_SPECIAL : VS_ENCODE_ADD_FIRST;
}

/* all_trusted: the caller vouches for every byte, so that names of control tokens in the messages become those tokens. */
static int from_messages(struct vs_service *s, const json_t *messages, const json_t *request, bool all_trusted,
                         struct vs_check *check, struct vs_marked_text *ret_text, struct vs_ids *ret, struct vs_style *ret_style,
                         const char **ret_notice, struct vs_error *err)
{
    int r = vs_chat_render(&s->chat, s->tokenizer, messages, request, check, ret_text, ret_style, ret_notice, err);
    const struct vs_text_run whole = { ret_text->text.n, true };
    return r != VS_OK ? r : vs_tokenizer_encode(s->tokenizer, ret_text->text.data, ret_text->text.n,
                                                all_trusted ? &whole : ret_text->runs, all_trusted ? 1 : ret_text->n_runs,
                                                prompt_flags(s), check, ret, err);
}

/* The first of the keys that a request has, and not empty. */
static const char *first_given(const json_t *request, const char *const *keys)
{
    for (; *keys; keys++) {
        const json_t *v = json_object_get(request, *keys);
        if (json_string_length(v) || json_object_size(v) || json_array_size(v))
            return *keys;
    }
    return NULL;
}

static int read_prompt(struct vs_service *s, const json_t *request, struct vs_check *check, struct vs_ids *ret,
                       struct vs_style *ret_style, const char **ret_notice, struct vs_error *err)
{
    const json_t *messages = json_object_get(request, "messages"), *prompt = json_object_get(request, "prompt");
    const json_t *tokens = json_object_get(request, "tokens"), *system = json_object_get(request, "system");
    static const char *const of_text[] = { "prompt", "system", "template", "template_args", "tools", "documents", NULL };
    struct vs_marked_text text = { 0 };
    const char *const *of_template = of_text + 1, *beside = first_given(request, of_text);
    vs_chat_style(&s->chat, request, ret_style);
    if (json_is_array(tokens) && beside)
        return vs_error_set(err, VS_E_INVALID, "tokens are the whole prompt: leave out either tokens or %s", beside);
    if (json_is_array(tokens))
        return vs_request_ids(s, tokens, "tokens", check, ret, err);
    int r = vs_service_need_tokenizer(s, err);
    if (r != VS_OK)
        return r;
    if (messages && !json_is_null(messages)) {
        r = from_messages(s, messages, request, false, check, &text, ret, ret_style, ret_notice, err);
        vs_marked_text_clear(&text);
        return r;
    }
    if (!json_is_string(prompt))
        return vs_error_set(err, VS_E_INVALID, "there is nothing to answer: the request has no prompt and no messages");
    bool raw = vs_request_flag(request, "raw"), special = vs_request_flag(request, "special");
    bool has_system = json_is_string(system);     /* an empty one too: it takes the place of the template's own */
    const char *unused = first_given(request, of_template);
    if (unused && (raw || !s->chat.n))
        return raw ? vs_error_set(err, VS_E_INVALID, "%s is for the chat template: leave out either raw or %s", unused, unused)
                   : vs_error_set(err, VS_E_UNSUPPORTED, "the model has no chat template, so there is no place for %s%s", unused,
                                  has_system ? "; put it into the prompt" : "");
    if (!raw && !s->chat.n) {
        if (!vs_model_graph(s->model)->n_source)         /* those answer without one */
            *ret_notice = "the model has no chat template: the text is completed as it is";
        raw = true;
    }
    if (raw)
        return vs_service_encode(s, json_string_value(prompt), json_string_length(prompt), special, prompt_flags(s), check, ret,
                                 err);
    json_t *list = json_array();
    if (has_system)
        json_array_append_new(list, json_pack("{s:s, s:O}", "role", "system", "content", system));
    json_array_append_new(list, json_pack("{s:s, s:O}", "role", "user", "content", prompt));
    r = from_messages(s, list, request, special, check, &text, ret, ret_style, ret_notice, err);
    vs_marked_text_clear(&text);
    json_decref(list);
    return r;
}

typedef bool judges(const struct vs_style *style, const char *text, size_t n);
static bool ends_so(const struct vs_service *s, const struct vs_ids *prompt, const struct vs_style *style, judges *judge)
{
    enum { TAIL = 16 };                  /* tokens that surely hold the mark */
    struct vs_buf text = { 0 };
    size_t n = prompt->n < TAIL ? prompt->n : TAIL;
    bool does = vs_tokenizer_decode(s->tokenizer, prompt->id + prompt->n - n, n, true, NULL, &text, NULL) == VS_OK
                && text.n && judge(style, text.data, text.n);
    vs_buf_clear(&text);
    return does;
}

bool vs_prompt_is_open(const struct vs_service *s, const struct vs_ids *prompt, const struct vs_style *style)
{
    return ends_so(s, prompt, style, vs_style_is_open);
}

static bool is_closed(const struct vs_service *s, const struct vs_ids *prompt, const struct vs_style *style)
{
    return ends_so(s, prompt, style, vs_style_is_closed);
}

bool vs_prompt_leads(const struct vs_service *s, const struct vs_ids *prompt, const struct vs_style *style)
{
    return ends_so(s, prompt, style, vs_style_leads);
}

void vs_prompt_open(const struct vs_service *s, const json_t *request, const struct vs_ids *prompt, const struct vs_style *style,
                    bool forces, bool keeps_form, struct vs_opening *ret)
{
    bool in_parts = vs_request_flag(request, "parts") && s->tokenizer;
    bool is_begun = json_string_length(json_object_get(request, "begun")) > 0;
    bool is_raw = vs_request_flag(request, "raw") || json_is_array(json_object_get(request, "tokens"));    /* no template made it */
    if (forces) {
        vs_style_begin_call(style, in_parts && vs_prompt_is_open(s, prompt, style), &ret->text);
    } else if (keeps_form && !is_raw && !(in_parts && is_begun)) {
        ret->is_open = vs_prompt_is_open(s, prompt, style);
        ret->may_reason = in_parts && vs_style_thinks(style, &(enum vs_mark){ 0 }, &(enum vs_mark){ 0 })
                          && !is_closed(s, prompt, style);
        if (!ret->may_reason)
            vs_style_begin_content(style, ret->is_open, &ret->text);
    }
}

/* What CHAT makes of the request's messages: the text, and the ids, of which some may be those of the answer's beginning. */
static int read_messages(struct vs_service *s, const json_t *request, struct vs_check *check, struct vs_marked_text *ret_text,
                         struct vs_ids *ret, const char **ret_notice, struct vs_error *err)
{
    const json_t *messages = json_object_get(request, "messages"), *form = json_object_get(request, "constraint");
    struct vs_opening opening = { 0 };
    struct vs_order order = { 0 };
    struct vs_style style;
    int r = vs_service_need_tokenizer(s, err);
    if (r == VS_OK)
        r = vs_order_tools(&order, request, err);
    if (r == VS_OK)
        r = from_messages(s, messages, request, false, check, ret_text, ret, &style, ret_notice, err);
    if (r != VS_OK)
        return r;
    vs_prompt_open(s, request, ret, &style, order.forces, form && !json_is_null(form), &opening);
    struct vs_buf *begun = &opening.text;
    if (begun->status != VS_OK || (begun->n && vs_marked_text_add(ret_text, begun->data, begun->n, true) != VS_OK))
        r = vs_error_set(err, VS_E_NOMEM, "out of memory");
    if (r == VS_OK && begun->n)
        r = vs_service_encode(s, begun->data, begun->n, true, 0, check, ret, err);
    vs_buf_clear(begun);
    return r;
}

int vs_prompt_messages(struct vs_service *s, const json_t *request, struct vs_check *check, struct vs_ids *ret,
                       struct vs_error *err)
{
    struct vs_marked_text text = { 0 };
    const char *notice = NULL;
    int r = read_messages(s, request, check, &text, ret, &notice, err);
    vs_marked_text_clear(&text);
    return r;
}

int vs_prompt_render(struct vs_service *s, const json_t *request, struct vs_check *check, json_t **ret, struct vs_error *err)
{
    struct vs_marked_text m = { 0 };
    struct vs_ids ids = { 0 };
    const char *notice = NULL;
    int r = read_messages(s, request, check, &m, &ids, &notice, err);
    vs_ids_clear(&ids);
    if (r == VS_OK && vs_json_text_bytes(m.text.data, m.text.n) > VS_MAX_RESULT - VS_MAX_CONTROL)
        r = vs_error_set(err, VS_E_LIMIT, "the text of the messages is longer than a result may be (%u MiB)", VS_MAX_RESULT >> 20);
    if (r == VS_OK)
        *ret = json_pack("{s:o, s:o, s:s*}", "text", vs_json_text(m.text.data, m.text.n), "runs", vs_render_runs(&m),
                         "notice", notice);
    vs_marked_text_clear(&m);
    return r;
}

int vs_prompt_read(struct vs_service *s, const json_t *request, struct vs_check *check, struct vs_ids *ret,
                   struct vs_style *ret_style, const char **ret_notice, struct vs_error *err)
{
    uint32_t context = vs_model_context(s->model);
    int r = read_prompt(s, request, check, ret, ret_style, ret_notice, err);
    if (r == VS_OK && !ret->n)
        r = vs_error_set(err, VS_E_INVALID, "the prompt is empty");
    if (r == VS_OK)
        r = vs_service_begin_answer(s, ret, err);
    if (r == VS_OK && ret->n >= context)
        r = vs_error_set(err, VS_E_CONTEXT, "the prompt has %zu token%s and the context holds %u, one of them for the answer",
                         ret->n, ret->n == 1 ? "" : "s", context);
    return r;
}
