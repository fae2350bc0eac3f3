/* prog/worker/chat.c - see chat.h
 *
 * Clients agree on what a conversation is, templates do not. Three things are evened out, each only where it has to be:
 * content as a list of text parts is joined for a template that would print the list; content that is missing beside tool
 * calls is given as null, not at all, or as "", whichever way the template shows the calls and prints no "None"; and no
 * variable of the caller's takes the place of one of ours.
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
    if (kv->type != VS_ENTRY_STRING || !vs_entry_next_str(kv, &start, &source))
        vs_error_set(&one->err, VS_E_MALFORMED, "the model file's key " KEY " (%s) is no text", one->name);
    else if (vs_template_parse(source.data, source.n, &one->template, &one->err) != VS_OK)
        one->template = NULL;
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
    else if (json_array_size(json_object_get(request, "tools")))
        one = find(c, "tool_use");
    if (!one && !wanted)
        one = find(c, "default");
    if (one && !one->template)
        vs_error_set(err, one->err.code, "%s", one->err.text);
    else if (!one) {
        struct vs_buf names = { .limit = 200 };
        for (size_t i = 0; i < c->n; i++)
            vs_buf_printf(&names, "%s%s", i ? ", " : "", c->one[i].name);
        vs_error_set(err, wanted ? VS_E_NOT_FOUND : VS_E_UNSUPPORTED, "the model has no %s chat template%s%s; "
                     "`veritas run --raw` completes plain text", wanted ? "such" : "default", c->n ? ": it has " : "",
                     names.data ? names.data : "");
        vs_buf_clear(&names);
    }
    return one && one->template ? one : NULL;
}

/* ---- messages ---- */

static bool is_absent(const json_t *v)
{
    return !v || json_is_null(v);
}

static int check_parts(const json_t *parts, size_t at, struct vs_error *err)
{
    size_t i;
    const json_t *part;
    json_array_foreach(parts, i, part) {
        const char *type = json_string_value(json_object_get(part, "type"));
        if (type && strcmp(type, "text") != 0)
            return vs_error_set(err, VS_E_UNSUPPORTED, "messages: part %zu of entry %zu is not text, and only text can be read", i,
                                at);
        if (!type || !json_is_string(json_object_get(part, "text")))
            return vs_error_set(err, VS_E_INVALID, "messages: part %zu of entry %zu is not {\"type\": \"text\", \"text\"}", i, at);
    }
    return VS_OK;
}

static int check_message(const json_t *m, size_t at, struct vs_error *err)
{
    const json_t *content = json_object_get(m, "content"), *calls = json_object_get(m, "tool_calls"), *call;
    const json_t *reasoning = json_object_get(m, "reasoning_content");
    const char *role = json_string_value(json_object_get(m, "role"));
    size_t i;
    if (!role || !role[0])
        return vs_error_set(err, VS_E_INVALID, "messages: entry %zu needs a role and a content", at);
    if (!is_absent(calls) && !json_is_array(calls))
        return vs_error_set(err, VS_E_INVALID, "messages: tool_calls of entry %zu must be a list", at);
    json_array_foreach(calls, i, call)
        if (!json_is_object(call))
            return vs_error_set(err, VS_E_INVALID, "messages: tool call %zu of entry %zu is not an object", i, at);
    if (!is_absent(reasoning) && !json_is_string(reasoning))
        return vs_error_set(err, VS_E_INVALID, "messages: reasoning_content of entry %zu must be a string", at);
    if (json_is_array(content))
        return check_parts(content, at, err);
    if (json_is_string(content) || (is_absent(content) && json_array_size(calls) && strcmp(role, "assistant") == 0))
        return VS_OK;
    return vs_error_set(err, VS_E_INVALID, is_absent(content) ? "messages: entry %zu needs a content"
                        : "messages: content of entry %zu must be a string or a list of text parts", at);
}

static int check_messages(const json_t *messages, struct vs_check *check, struct vs_error *err)
{
    size_t i;
    const json_t *m;
    int r = VS_OK;
    if (!json_is_array(messages) || !json_array_size(messages))
        return vs_error_set(err, VS_E_INVALID, "messages must be a list of at least one {\"role\", \"content\"}");
    json_array_foreach(messages, i, m)
        if ((r = check_message(m, i, err)) != VS_OK || (r = vs_check_work(check, 16)) != VS_OK)
            return r;
    return VS_OK;
}

static json_t *joined(const json_t *parts)
{
    struct vs_buf text = { 0 };
    size_t i;
    const json_t *part;
    json_array_foreach(parts, i, part) {
        const json_t *s = json_object_get(part, "text");
        vs_buf_add(&text, i ? "\n" : "", i ? 1 : 0);
        vs_buf_add(&text, json_string_value(s), json_string_length(s));
    }
    json_t *v = text.status == VS_OK ? json_stringn(text.data ? text.data : "", text.n) : NULL;
    vs_buf_clear(&text);
    return v;
}

/* How content that is missing beside tool calls is given to a template. */
enum way { AS_IT_IS, AS_NULL, LEFT_OUT, AS_EMPTY, N_WAYS };

/* The messages as a template takes them; a new reference, or NULL. */
static json_t *prepared(const json_t *messages, enum way way, bool join, struct vs_check *check)
{
    json_t *list = json_array(), *m;
    size_t i;
    json_array_foreach((json_t *)(uintptr_t)messages, i, m) {
        if (vs_check_work(check, 16) != VS_OK)
            return json_decref(list), NULL;
        const json_t *content = json_object_get(m, "content");
        bool missing = is_absent(content) && way != AS_IT_IS, parts = json_is_array(content) && join;
        if (!missing && !parts) {
            json_array_append(list, m);
            continue;
        }
        json_t *copy = json_copy(m);
        if (parts)
            json_object_set_new(copy, "content", joined(content));
        else if (way == LEFT_OUT)
            json_object_del(copy, "content");
        else
            json_object_set_new(copy, "content", way == AS_NULL ? json_null() : json_string(""));
        json_array_append_new(list, copy);
    }
    return list;
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
    if (json_object_set_new(r->context, "messages", messages) != 0)
        return vs_error_set(err, VS_E_NOMEM, "out of memory");
    return vs_template_render(r->template, r->context, trusted, r->now, NULL, ret, err);
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
    if (one->parts == PARTS_UNKNOWN) {
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

static bool any(const json_t *messages, bool (*is)(const json_t *m))
{
    size_t i;
    const json_t *m;
    json_array_foreach(messages, i, m)
        if (is(m))
            return true;
    return false;
}

static bool has_parts(const json_t *m)
{
    return json_is_array(json_object_get(m, "content"));
}

static bool has_no_content(const json_t *m)
{
    return is_absent(json_object_get(m, "content"));
}

/* The name of the first call of a message without content. */
static const char *called(const json_t *messages)
{
    size_t i = 0;
    while (i < json_array_size(messages) && !has_no_content(json_array_get(messages, i)))
        i++;
    const json_t *call = json_array_get(json_object_get(json_array_get(messages, i), "tool_calls"), 0);
    return json_string_value(json_object_get(json_object_get(call, "function"), "name"));
}

/* Of the ways to give missing content: 2 when a call is shown, and 1 when no "None" is that was not said. */
static int score(const struct vs_marked_text *m, const json_t *messages, size_t n_none)
{
    const char *name = called(messages);
    bool shown = !name || !name[0] || count(m->text.data, m->text.n, name);
    return 2 * shown + (count(m->text.data, m->text.n, "None") <= n_none);
}

static int render_best(const struct render *r, const json_t *messages, bool join, struct vs_marked_text *ret, struct vs_error *err)
{
    struct vs_buf said = { 0 };
    int best = -1, status = VS_OK;
    vs_json_write(messages, &said, r->check);
    size_t n_none = count(said.data, said.n, "None");
    vs_buf_clear(&said);
    for (int way = AS_IT_IS; way < N_WAYS && best < 3; way++) {
        struct vs_marked_text m = { 0 };
        struct vs_error why = { 0 };
        int now = render(r, prepared(messages, (enum way)way, join, r->check), &m, &why);
        int points = now == VS_OK ? score(&m, messages, n_none) : -1;
        if (way == AS_IT_IS) {
            status = now;
            *err = why;
        }
        if (r->check && r->check->status != VS_OK) {
            vs_marked_text_clear(&m);
            return now;
        }
        if (points > best) {
            struct vs_marked_text worse = *ret;
            *ret = m;
            m = worse;
            best = points;
        }
        vs_marked_text_clear(&m);
    }
    return best >= 0 ? VS_OK : status;
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

int vs_chat_render(struct vs_chat *c, const struct vs_tokenizer *t, const json_t *messages, const json_t *request,
                   struct vs_check *check, struct vs_marked_text *ret, struct vs_error *err)
{
    struct vs_chat_template *one = choose(c, request, err);
    struct render with = { .check = check };
    struct vs_error why = { 0 };
    if (!one)
        return err->code;
    int r = check_messages(messages, check, err);
    if (r == VS_OK)
        r = check_tools(json_object_get(request, "tools"), err);
    if (r != VS_OK)
        return r;
    with.now = vs_request_int(request, "now", 0);
    with.template = one->template;
    with.context = json_pack("{s:b, s:o, s:o}", "add_generation_prompt", 1, "bos_token", piece(t, vs_tokenizer_bos(t)),
                             "eos_token", piece(t, vs_tokenizer_eos(t)));
    json_t *tools = json_object_get(request, "tools");
    if (!with.context || (!is_absent(tools) && json_object_set(with.context, "tools", tools) != 0))
        r = vs_error_set(err, VS_E_NOMEM, "out of memory");
    else
        r = add_args(with.context, json_object_get(request, "template_args"), err);
    if (r == VS_OK) {
        bool join = any(messages, has_parts) && !takes_parts(one, &with);
        r = any(messages, has_no_content) ? render_best(&with, messages, join, ret, &why)
                                          : render(&with, prepared(messages, AS_IT_IS, join, check), ret, &why);
        if (r == VS_E_INVALID && strncmp(why.text, "template:", 9) != 0)      /* raise_exception, in the template's own words */
            vs_error_set(err, r, "the model's chat template refuses this conversation: %s", why.text);
        else if (r != VS_OK)
            vs_error_set(err, r, "%s", why.code ? why.text : vs_status_text(r));
        else if (!ret->text.n)
            r = vs_error_set(err, VS_E_INVALID, "the model's chat template makes no text of this conversation");
    }
    json_decref(with.context);
    return r;
}
