/* prog/worker/chat.c - see chat.h
 *
 * Clients agree on what a conversation is, templates do not. Some things are evened out, each only where it has to be: content
 * as a list of text parts is joined for a template that would print the list; content that is missing beside tool calls is
 * given as null, not at all, or as "", whichever way the template shows the calls and prints no "None"; arguments that are
 * a JSON text become what it says where the template would quote the text. No variable of the caller's takes the place
 * of one of ours.
 */
#include "prog/worker/chat.h"

#include "base/entry.h"
#include "ipc/json.h"
#include "prog/worker/service_internal.h"
#include "tokenizer/tokenizer.h"

#include <string.h>

#define KEY "tokenizer.chat_template"

/* ---- the templates ---- */

static void add(struct vs_chat *c, const char *name, size_t n, const struct vs_entry *kv)
{
    if (c->n == VS_MAX_TEMPLATES || n > VS_MAX_TEMPLATE_NAME)
        return;
    struct vs_chat_template *one = &c->one[c->n++];
    struct vs_entry_cursor start = { 0 };
    struct vs_str source;
    memcpy(one->name, name, n);
    vs_style_detect("", 0, &one->style);
    if (kv->type != VS_ENTRY_STRING || !vs_entry_next_str(kv, &start, &source))
        vs_error_set(&one->err, VS_E_MALFORMED, "the model file's key " KEY " (%s) is no text", one->name);
    else if (vs_template_parse(source.data, source.n, &one->template, &one->err) != VS_OK)
        one->template = NULL;
    else
        vs_style_detect(source.data, source.n, &one->style);
}

void vs_chat_open(struct vs_chat *c, const struct vs_entries *entries)
{
    static const size_t n_key = sizeof KEY - 1;
    for (size_t i = 0; i < entries->n; i++) {
        const struct vs_entry *kv = &entries->entry[i];
        if (kv->key.n < n_key || memcmp(kv->key.data, KEY, n_key) != 0)
            continue;
        if (kv->key.n == n_key)
            add(c, "default", 7, kv);
        else if (kv->key.data[n_key] == '.' && kv->key.n > n_key + 1)
            add(c, kv->key.data + n_key + 1, kv->key.n - n_key - 1, kv);
    }
}

void vs_chat_close(struct vs_chat *c)
{
    for (size_t i = 0; i < c->n; i++)
        vs_template_free(c->one[i].template);
    c->n = 0;
}

static struct vs_chat_template *find(struct vs_chat *c, const char *name)
{
    for (size_t i = 0; i < c->n; i++)
        if (strcmp(c->one[i].name, name) == 0)
            return &c->one[i];
    return NULL;
}

static struct vs_chat_template *choose(struct vs_chat *c, const json_t *request, struct vs_error *err)
{
    const char *wanted = json_string_value(json_object_get(request, "template"));
    struct vs_chat_template *one = NULL;
    if (wanted)
        one = find(c, wanted);
    else if (json_array_size(vs_chat_tools(request)))
        one = find(c, "tool_use");
    if (!one && !wanted)
        one = find(c, "default");
    if (one && !one->template)
        vs_error_set(err, one->err.code, "%s", one->err.text);
    else if (!one) {
        struct vs_buf names = { .limit = 200 };
        for (size_t i = 0; i < c->n; i++)
            vs_buf_printf(&names, "%s%s", i ? ", " : "", c->one[i].name);
        vs_error_set(err, wanted ? VS_E_INVALID : VS_E_UNSUPPORTED, "the model has no %s chat template%s%s; "
                     "plain text is completed without one: `veritas run --raw`, over HTTP /v1/completions",
                     wanted ? "such" : "default", c->n ? ": it has " : "", names.data ? names.data : "");
        vs_buf_clear(&names);
    }
    return one && one->template ? one : NULL;
}

void vs_chat_style(struct vs_chat *c, const json_t *request, struct vs_style *ret)
{
    struct vs_error err;
    const struct vs_chat_template *one = choose(c, request, &err);
    if (one)
        *ret = one->style;
    else
        vs_style_detect("", 0, ret);
}

json_t *vs_chat_tools(const json_t *request)
{
    json_t *tools = json_object_get(request, "tools");
    const char *choice = json_string_value(json_object_get(request, "tool_choice"));
    return json_array_size(tools) && !(choice && strcmp(choice, "none") == 0) ? tools : NULL;
}

/* A template that came with the request, in place of the model's. */
static struct vs_chat_template *parse_given(struct vs_chat_template *given, const json_t *source, const json_t *request,
                                            struct vs_error *err)
{
    const json_t *name = json_object_get(request, "template");
    if (name && !json_is_null(name)) {
        vs_error_set(err, VS_E_INVALID, "template names one of the model's and template_text is another: leave out either");
        return NULL;
    }
    if (vs_template_parse(json_string_value(source), json_string_length(source), &given->template, err) != VS_OK)
        return NULL;
    vs_style_detect(json_string_value(source), json_string_length(source), &given->style);
    return given;
}

/* ---- rendering ---- */

struct render {
    const struct vs_template *template;
    json_t *context;
    int64_t now;
    struct vs_check *check;
};

/* With these messages (the reference is taken). */
static int render(const struct render *r, json_t *messages, struct vs_marked_text *ret, struct vs_error *err)
{
    static const char *const trusted[] = { "bos_token", "eos_token", NULL };
    if (r->check && r->check->status != VS_OK)
        return json_decref(messages), vs_error_set(err, r->check->status, "%s", vs_status_text(r->check->status));
    json_t *before = json_incref(json_object_get(r->context, "messages"));
    int failed = json_object_set_new(r->context, "messages", messages);
    vs_json_free(before, r->check);
    if (failed)
        return vs_error_set(err, VS_E_NOMEM, "out of memory");
    const struct vs_template_limits limits = { .check = r->check };
    return vs_template_render(r->template, r->context, trusted, r->now, &limits, ret, err);
}

static size_t count(const char *text, size_t n, const char *word)
{
    size_t found = 0, n_word = strlen(word);
    for (const char *at = text, *end = text + n; n && (at = memmem(at, (size_t)(end - at), word, n_word)); at += n_word)
        found++;
    return found;
}

/* A template that takes parts prints their text, and not what they are made of. */
static bool takes_parts(struct vs_chat_template *one, const struct render *r)
{
    if (one->parts == PARTS_UNKNOWN && vs_check_ask(r->check) == VS_OK) {
        struct vs_marked_text m = { 0 };
        struct vs_error err;
        json_t *probe = json_pack("[{s:s, s:[{s:s, s:s}]}]", "role", "user", "content", "type", "text", "text", "VsProbe");
        bool takes = render(r, probe, &m, &err) == VS_OK && count(m.text.data, m.text.n, "VsProbe") == 1
                     && !count(m.text.data, m.text.n, "'type'") && !count(m.text.data, m.text.n, "\"type\"");
        one->parts = takes ? PARTS_TAKEN : PARTS_JOINED;
        vs_marked_text_clear(&m);
    }
    return one->parts == PARTS_TAKEN;
}

static bool is_same(const struct vs_marked_text *a, const struct vs_marked_text *b)
{
    return a->text.n == b->text.n && memcmp(a->text.data, b->text.data, a->text.n) == 0;
}

/* Is a call of a message without content in the text? Surely not when its name is not there; else when the text is another one
 * under another name, for the name alone may be a word of the template. */
static bool shows_call(const struct render *r, const json_t *messages, struct vs_shape shape, const struct vs_marked_text *m)
{
    const char *name = vs_messages_call(messages);
    struct vs_marked_text other = { 0 };
    struct vs_error why = { 0 };
    if (!name || !name[0])
        return true;
    if (!count(m->text.data, m->text.n, name))
        return false;
    shape.call = "VsProbe";
    bool shown = render(r, vs_messages_shape(messages, &shape, r->check), &other, &why) != VS_OK || !is_same(m, &other);
    vs_marked_text_clear(&other);
    return shown;
}

/* Of the ways to give missing content: 2 when a call is shown, and 1 when no "None" is that was not said. */
static int score(const struct render *r, const json_t *messages, struct vs_shape shape, const struct vs_marked_text *m,
                 size_t n_none)
{
    return 2 * shows_call(r, messages, shape, m) + (count(m->text.data, m->text.n, "None") <= n_none);
}

/* What is better takes the place of *ret. */
static void keep(struct vs_marked_text *ret, struct vs_marked_text *better)
{
    vs_marked_text_clear(ret);
    *ret = *better;
    *better = (struct vs_marked_text){ 0 };
}

static int render_best(const struct render *r, const json_t *messages, struct vs_shape shape, struct vs_marked_text *ret,
                       struct vs_error *err)
{
    struct vs_buf said = { 0 };
    int best = -1, status = VS_OK;
    vs_json_write(messages, &said, r->check);
    size_t n_none = count(said.data, said.n, "None");
    vs_buf_clear(&said);
    for (int i = 0; i < VS_N_MISSING && best < 3 && vs_check_ask(r->check) == VS_OK; i++) {
        struct vs_marked_text m = { 0 };
        struct vs_error why = { 0 };
        shape.missing = i;
        int now = render(r, vs_messages_shape(messages, &shape, r->check), &m, &why);
        int points = now == VS_OK ? score(r, messages, shape, &m, n_none) : -1;
        if (i == 0) {
            status = now;
            *err = why;
        }
        if (points > best) {
            keep(ret, &m);
            best = points;
        }
        vs_marked_text_clear(&m);
    }
    if (r->check && r->check->status != VS_OK)
        return r->check->status;
    return best >= 0 ? VS_OK : status;
}

static int render_shape(const struct render *r, const json_t *messages, struct vs_shape shape, struct vs_marked_text *ret,
                        struct vs_error *err)
{
    return vs_messages_lack_content(messages) ? render_best(r, messages, shape, ret, err)
                                              : render(r, vs_messages_shape(messages, &shape, r->check), ret, err);
}

/* Does the text show arguments, which are a JSON text, as a quoted string? */
static bool quotes(const struct vs_marked_text *m, const json_t *arguments)
{
    struct vs_buf quoted = { 0 };
    vs_json_dump(arguments, &quoted);
    bool found = quoted.status == VS_OK && count(m->text.data, m->text.n, quoted.data);
    vs_buf_clear(&quoted);
    return found;
}

static int render_messages(struct vs_chat_template *one, const struct render *r, const json_t *messages, struct vs_marked_text *ret,
                           struct vs_error *err)
{
    struct vs_shape shape = { .join = vs_messages_in_parts(messages) && !takes_parts(one, r) };
    const json_t *arguments = vs_messages_arguments(messages);
    int status = render_shape(r, messages, shape, ret, err);
    if (arguments && (status != VS_OK || quotes(ret, arguments))) {
        struct vs_marked_text m = { 0 };
        struct vs_error why = { 0 };
        shape.parse = true;
        if (render_shape(r, messages, shape, &m, &why) == VS_OK) {
            keep(ret, &m);
            status = VS_OK;
        }
        vs_marked_text_clear(&m);
    }
    return r->check && r->check->status != VS_OK ? r->check->status : status;
}

static json_t *piece(const struct vs_tokenizer *t, uint32_t id)
{
    size_t n = 0;
    const char *p = id == VS_TOKENIZER_NONE ? "" : vs_tokenizer_piece(t, id, &n);
    return vs_json_text(p, n);
}

static int check_tools(const json_t *tools, struct vs_error *err)
{
    size_t i;
    const json_t *tool;
    json_array_foreach(tools, i, tool)
        if (!json_is_object(tool))
            return vs_error_set(err, VS_E_INVALID, "tools: entry %zu is not an object", i);
    return VS_OK;
}

static int add_args(json_t *context, const json_t *args, struct vs_error *err)
{
    static const char *const ours[] = { "messages", "tools", "bos_token", "eos_token" };
    if (json_object_get(context, "documents") && json_object_get(args, "documents"))
        return vs_error_set(err, VS_E_INVALID, "template_args: documents are given twice");
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)args, key, value) {
        for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
            if (strcmp(key, ours[i]) == 0)
                return vs_error_set(err, VS_E_INVALID, "template_args: %s is not the caller's to set", key);
        if (json_object_set(context, key, value) != 0)
            return vs_error_set(err, VS_E_NOMEM, "out of memory");
    }
    return VS_OK;
}

/* Has the template a place for tools? It has when the text is another one without them. Their names prove nothing: they may be
 * escaped in the text, or be words of the conversation or of the template itself. */
static bool shows_tools(struct vs_chat_template *one, const struct render *r, const json_t *messages,
                        const struct vs_marked_text *m)
{
    struct vs_marked_text without = { 0 };
    struct vs_error why = { 0 };
    json_object_del(r->context, "tools");
    bool same = render_messages(one, r, messages, &without, &why) == VS_OK && is_same(&without, m);
    vs_marked_text_clear(&without);
    return !same;
}

/* The template shows no tools: they are described in a message instead. */
static int describe_tools(struct vs_chat_template *one, const struct render *r, const json_t *messages, const json_t *tools,
                          struct vs_marked_text *ret, struct vs_error *err)
{
    json_t *told = vs_messages_without_tools(messages, tools);
    vs_marked_text_clear(ret);
    json_object_del(r->context, "tools");
    int status = told ? render_messages(one, r, told, ret, err) : vs_error_set(err, VS_E_NOMEM, "out of memory");
    vs_json_free(told, r->check);
    return status;
}

/* With tools, if there are any; *io_style becomes that of who is told of them. */
static int render_tools(struct vs_chat_template *one, const struct render *r, const json_t *messages, const json_t *request,
                        struct vs_marked_text *ret, struct vs_style *io_style, const char **ret_notice, struct vs_error *err)
{
    const json_t *tools = vs_chat_tools(request);
    int status = render_messages(one, r, messages, ret, err);
    bool is_refused = status == VS_E_INVALID, is_lost = tools && status == VS_OK && !shows_tools(one, r, messages, ret);
    if (tools && (is_lost || is_refused) && vs_request_flag(request, "parts")) {
        vs_style_set_plain(io_style);
        return describe_tools(one, r, messages, tools, ret, err);
    }
    if (is_lost)
        *ret_notice = "the model's chat template has no place for tools: the model does not know of them";
    return status;
}

/* Is the text another one without the documents of the context? They stay there if so. */
static bool shows_documents(struct vs_chat_template *one, const struct render *r, const json_t *messages)
{
    struct vs_marked_text with = { 0 }, without = { 0 };
    struct vs_error why = { 0 };
    json_t *documents = json_incref(json_object_get(r->context, "documents"));
    bool shown = render_messages(one, r, messages, &with, &why) == VS_OK;
    json_object_del(r->context, "documents");
    shown = shown && !(render_messages(one, r, messages, &without, &why) == VS_OK && is_same(&without, &with));
    if (shown && json_object_set(r->context, "documents", documents) != 0)
        shown = false;
    vs_marked_text_clear(&with);
    vs_marked_text_clear(&without);
    json_decref(documents);
    return shown;
}

/* The messages that the template gets: these, or with the documents in one of them. A new reference; NULL: see the check. */
static json_t *place_documents(struct vs_chat_template *one, const struct render *r, const json_t *messages, const json_t *request)
{
    const json_t *documents = json_object_get(request, "documents");
    return !json_array_size(documents) || shows_documents(one, r, messages) ? json_incref((json_t *)(uintptr_t)messages)
        : vs_messages_with_documents(messages, documents, r->check);
}

/* Where the caller's variables and what is ours end up: see chat.h. */
static int make_context(struct render *r, const struct vs_tokenizer *t, const json_t *request, struct vs_error *err)
{
    json_t *tools = vs_chat_tools(request), *documents = json_object_get(request, "documents");
    r->now = vs_request_int(request, "now", 0);
    r->context = json_pack("{s:b, s:o, s:o}", "add_generation_prompt", 1, "bos_token", piece(t, vs_tokenizer_bos(t)),
                           "eos_token", piece(t, vs_tokenizer_eos(t)));
    if (!r->context || (tools && json_object_set(r->context, "tools", tools) != 0)
        || (json_array_size(documents) && json_object_set(r->context, "documents", documents) != 0))
        return vs_error_set(err, VS_E_NOMEM, "out of memory");
    return add_args(r->context, json_object_get(request, "template_args"), err);
}

/* The answer has begun: the text goes on with it, behind what its content begins with. */
static int add_begun(const json_t *request, const struct vs_style *style, struct vs_marked_text *text, struct vs_error *err)
{
    const json_t *begun = json_object_get(request, "begun");
    struct vs_buf first = { 0 };
    if (!json_string_length(begun))
        return VS_OK;
    vs_style_begin_content(style, vs_style_is_open(style, text->text.data, text->text.n), &first);
    int r = first.status;
    if (r == VS_OK && first.n)
        r = vs_marked_text_add(text, first.data, first.n, true);
    if (r == VS_OK)
        r = vs_marked_text_add(text, json_string_value(begun), json_string_length(begun), false);
    vs_buf_clear(&first);
    return r == VS_OK ? r : vs_error_set(err, r, "%s", vs_status_text(r));
}

static int render_with(struct vs_chat_template *one, const struct vs_tokenizer *t, const json_t *messages, const json_t *request,
                       struct vs_check *check, struct vs_marked_text *ret, struct vs_style *ret_style, const char **ret_notice,
                       struct vs_error *err)
{
    struct render with = { .check = check };
    struct vs_error why = { 0 };
    int r = vs_messages_check(messages, check, err);
    if (r == VS_OK)
        r = check_tools(json_object_get(request, "tools"), err);
    if (r == VS_OK)
        r = vs_documents_check(json_object_get(request, "documents"), check, err);
    if (r != VS_OK)
        return r;
    with.template = one->template;
    *ret_style = one->style;
    r = make_context(&with, t, request, err);
    json_t *told = r == VS_OK ? place_documents(one, &with, messages, request) : NULL;
    if (r == VS_OK && !told)
        r = check && check->status != VS_OK ? vs_error_set(err, check->status, "%s", vs_status_text(check->status))
            : vs_error_set(err, VS_E_NOMEM, "out of memory");
    if (r == VS_OK) {
        r = render_tools(one, &with, told, request, ret, ret_style, ret_notice, &why);
        if (r == VS_E_INVALID && strncmp(why.text, "template:", 9) != 0)      /* raise_exception, in the template's own words */
            vs_error_set(err, r, "the model's chat template refuses this conversation: %s", why.text);
        else if (r != VS_OK)
            vs_error_set(err, r, "%s", why.code ? why.text : vs_status_text(r));
        else if (!ret->text.n)
            r = vs_error_set(err, VS_E_INVALID, "the model's chat template makes no text of this conversation");
    }
    vs_json_free(told, check);
    if (r == VS_OK)
        r = add_begun(request, ret_style, ret, err);
    vs_json_free(with.context, check);
    return r;
}

int vs_chat_render(struct vs_chat *c, const struct vs_tokenizer *t, const json_t *messages, const json_t *request,
                   struct vs_check *check, struct vs_marked_text *ret, struct vs_style *ret_style, const char **ret_notice,
                   struct vs_error *err)
{
    const json_t *source = json_object_get(request, "template_text");
    struct vs_chat_template given = { .name = "given" };
    struct vs_chat_template *one = json_is_string(source) ? parse_given(&given, source, request, err) : choose(c, request, err);
    int r = one ? render_with(one, t, messages, request, check, ret, ret_style, ret_notice, err) : err->code;
    vs_template_free(given.template);
    return r;
}
