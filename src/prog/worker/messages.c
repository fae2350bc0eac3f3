/* prog/worker/messages.c - the messages of a conversation: what they must be, and the shapes in which templates take them. */
#include "prog/worker/chat.h"

#include "filter/finding.h"
#include "ipc/json.h"

#include <stdlib.h>
#include <string.h>

static bool is_absent(const json_t *v)
{
    return !v || json_is_null(v);
}

/* Where a text comes from is for the guard, which has read it; here it must be a word of the list. */
static int check_zone(const json_t *of, size_t at, struct vs_error *err)
{
    static const char *const zones[VS_N_ZONES] = {
#define ZONE_NAME(name, text) [VS_ZONE_##name] = text,
        VS_ZONE_MAP(ZONE_NAME)
#undef ZONE_NAME
    };
    const json_t *zone = json_object_get(of, "zone");
    if (is_absent(zone))
        return VS_OK;
    for (int i = 0; json_is_string(zone) && i < VS_N_ZONES; i++)
        if (strcmp(json_string_value(zone), zones[i]) == 0)
            return VS_OK;
    return vs_error_set(err, VS_E_INVALID, "messages: zone of entry %zu must be system, user, retrieved or tool", at);
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
        if (check_zone(part, at, err) != VS_OK)
            return VS_E_INVALID;
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
    if (check_zone(m, at, err) != VS_OK)
        return VS_E_INVALID;
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

int vs_messages_check(const json_t *messages, struct vs_check *check, struct vs_error *err)
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

/* A call whose arguments are a text: the object that the text holds, or NULL when it holds none. A new reference. */
static json_t *arguments_of(const json_t *call, struct vs_check *check)
{
    const json_t *text = json_object_get(json_object_get(call, "function"), "arguments");
    return json_is_string(text) ? vs_json_read(json_string_value(text), json_string_length(text), check, NULL) : NULL;
}

static json_t *parsed(const json_t *calls, struct vs_check *check)
{
    json_t *list = json_array(), *call;
    size_t i;
    json_array_foreach((json_t *)(uintptr_t)calls, i, call) {
        json_t *arguments = arguments_of(call, check), *copy = arguments ? json_copy(call) : json_incref(call);
        if (arguments) {
            json_t *function = json_copy(json_object_get(call, "function"));
            json_object_set_new(function, "arguments", arguments);
            json_object_set_new(copy, "function", function);
        }
        json_array_append_new(list, copy);
    }
    return list;
}

static bool has_zone(const json_t *m)
{
    const json_t *part;
    size_t i;
    json_array_foreach(json_object_get(m, "content"), i, part)
        if (json_object_get(part, "zone"))
            return true;
    return json_object_get(m, "zone") != NULL;
}

/* A template may print all that a message has. */
static json_t *without_zone(json_t *m)
{
    json_t *copy = json_copy(m), *content = json_object_get(m, "content"), *parts, *part;
    size_t i;
    json_object_del(copy, "zone");
    if (!json_is_array(content))
        return copy;
    parts = json_array();
    json_array_foreach(content, i, part) {
        json_t *plain = json_copy(part);
        json_object_del(plain, "zone");
        json_array_append_new(parts, plain);
    }
    json_object_set_new(copy, "content", parts);
    return copy;
}

static json_t *shaped_as(json_t *m, const struct vs_shape *shape, struct vs_check *check)
{
    json_t *content = json_object_get(m, "content"), *calls = json_object_get(m, "tool_calls");
    bool missing = is_absent(content) && shape->missing != VS_MISSING_AS_IT_IS, join = json_is_array(content) && shape->join;
    bool parse = json_is_array(calls) && shape->parse;
    if (!missing && !join && !parse)
        return json_incref(m);
    json_t *copy = json_copy(m);
    if (join)
        json_object_set_new(copy, "content", joined(content));
    if (missing && shape->missing == VS_MISSING_LEFT_OUT)
        json_object_del(copy, "content");
    else if (missing)
        json_object_set_new(copy, "content", shape->missing == VS_MISSING_AS_NULL ? json_null() : json_string(""));
    if (parse)
        json_object_set_new(copy, "tool_calls", parsed(calls, check));
    return copy;
}

static json_t *shaped(json_t *m, const struct vs_shape *shape, struct vs_check *check)
{
    if (!has_zone(m))
        return shaped_as(m, shape, check);
    json_t *plain = without_zone(m), *made = shaped_as(plain, shape, check);
    json_decref(plain);
    return made;
}

/* ---- for a template that knows no tools ---- */

static void add_content(struct vs_buf *out, const json_t *content)
{
    json_t *text = json_is_array(content) ? joined(content) : NULL;
    const json_t *s = text ? text : content;
    if (json_is_string(s))
        vs_buf_add(out, json_string_value(s), json_string_length(s));
    json_decref(text);
}

static json_t *message(const char *role, struct vs_buf *text)
{
    const char *content = text->n ? text->data : "";
    json_t *m = text->status == VS_OK ? json_pack("{s:s, s:s%}", "role", role, "content", content, text->n) : NULL;
    vs_buf_clear(text);
    return m;
}

/* As the model is told to write calls: vs_style_describe. */
static void add_calls(struct vs_buf *out, const json_t *calls)
{
    size_t i;
    const json_t *call;
    json_array_foreach(calls, i, call) {
        const json_t *function = json_object_get(call, "function"), *arguments = json_object_get(function, "arguments");
        vs_buf_str(out, out->n ? "\n<tool_call>\n{\"name\": " : "<tool_call>\n{\"name\": ");
        json_t *name = json_is_string(json_object_get(function, "name")) ? json_incref(json_object_get(function, "name"))
                                                                       : json_string("");
        char *quoted = json_dumps(name, JSON_ENCODE_ANY), *value = json_is_object(arguments) ? json_dumps(arguments, 0) : NULL;
        vs_buf_printf(out, "%s, \"arguments\": ", quoted ? quoted : "\"\"");
        if (value)
            vs_buf_str(out, value);
        else if (json_string_length(arguments))
            vs_buf_add(out, json_string_value(arguments), json_string_length(arguments));
        else
            vs_buf_str(out, "{}");
        vs_buf_str(out, "}\n</tool_call>");
        free(quoted);
        free(value);
        json_decref(name);
    }
}

/* Results that follow one another are one message of the user: many templates want users and assistants by turns. */
static json_t *results(const json_t *messages, size_t *io_i)
{
    struct vs_buf text = { 0 };
    for (; *io_i < json_array_size(messages); ++*io_i) {
        const json_t *m = json_array_get(messages, *io_i);
        if (strcmp(json_string_value(json_object_get(m, "role")), "tool") != 0)
            break;
        vs_buf_str(&text, text.n ? "\n<tool_response>\n" : "<tool_response>\n");
        add_content(&text, json_object_get(m, "content"));
        vs_buf_str(&text, "\n</tool_response>");
    }
    --*io_i;
    return message("user", &text);
}

static json_t *called(const json_t *m)
{
    struct vs_buf text = { 0 };
    add_content(&text, json_object_get(m, "content"));
    add_calls(&text, json_object_get(m, "tool_calls"));
    return message("assistant", &text);
}

json_t *vs_messages_without_tools(const json_t *messages, const json_t *tools)
{
    struct vs_buf text = { 0 };
    const json_t *first = json_array_get(messages, 0);
    bool has_system = strcmp(json_string_value(json_object_get(first, "role")), "system") == 0;
    if (has_system) {
        add_content(&text, json_object_get(first, "content"));
        vs_buf_str(&text, "\n\n");
    }
    vs_style_describe(tools, &text);
    json_t *list = json_array(), *system = message("system", &text);
    int failed = !system || json_array_append_new(list, system);
    for (size_t i = has_system; i < json_array_size(messages) && !failed; i++) {
        json_t *m = json_array_get(messages, i);
        const char *role = json_string_value(json_object_get(m, "role"));
        json_t *now = strcmp(role, "tool") == 0 ? results(messages, &i)
            : json_array_size(json_object_get(m, "tool_calls")) ? called(m) : json_incref(m);
        failed = !now || json_array_append_new(list, now);
    }
    if (failed) {
        json_decref(list);
        list = NULL;
    }
    return list;
}

/* ---- documents ---- */

int vs_documents_check(const json_t *documents, struct vs_check *check, struct vs_error *err)
{
    size_t i;
    const json_t *d;
    json_array_foreach(documents, i, d) {
        const json_t *title = json_object_get(d, "title");
        if (!json_is_string(json_object_get(d, "text")) || !(is_absent(title) || json_is_string(title)))
            return vs_error_set(err, VS_E_INVALID,
                                "documents: entry %zu is not {\"text\"}, with a \"title\" or without: strings", i);
        if (vs_check_work(check, 16) != VS_OK)
            return vs_error_set(err, check->status, "%s", vs_status_text(check->status));
    }
    return VS_OK;
}

static json_t *block_of(const json_t *documents, struct vs_check *check)
{
    struct vs_buf out = { 0 };
    size_t i;
    const json_t *d;
    vs_buf_str(&out, "<documents>\n");
    json_array_foreach(documents, i, d) {
        const json_t *title = json_object_get(d, "title"), *text = json_object_get(d, "text");
        vs_buf_str(&out, "<document>\n");
        if (json_string_length(title)) {
            vs_buf_str(&out, "Title: ");
            vs_buf_add(&out, json_string_value(title), json_string_length(title));
            vs_buf_char(&out, '\n');
        }
        vs_buf_add(&out, json_string_value(text), json_string_length(text));
        vs_buf_str(&out, "\n</document>\n");
        if (vs_check_work(check, json_string_length(text)) != VS_OK)
            break;
    }
    vs_buf_str(&out, "</documents>\n\n");
    bool stopped = check && check->status != VS_OK;
    json_t *block = out.status == VS_OK && !stopped ? json_stringn(out.data, out.n) : NULL;
    vs_buf_clear(&out);
    return block;
}

/* The content, a text or a list of parts, behind the block. */
static json_t *content_behind(json_t *block, json_t *content)
{
    struct vs_buf text = { 0 };
    if (!json_is_array(content)) {
        add_content(&text, block);
        add_content(&text, content);
        json_t *all = text.status == VS_OK ? json_stringn(text.data, text.n) : NULL;
        vs_buf_clear(&text);
        return all;
    }
    json_t *parts = json_pack("[{s:s, s:O}]", "type", "text", "text", block);
    if (parts && json_array_extend(parts, content) != 0) {
        json_decref(parts);
        return NULL;
    }
    return parts;
}

json_t *vs_messages_with_documents(const json_t *messages, const json_t *documents, struct vs_check *check)
{
    json_t *block = block_of(documents, check), *list = json_copy((json_t *)(uintptr_t)messages), *m = NULL, *content;
    size_t at = json_array_size(messages);
    while (at > 0 && strcmp(json_string_value(json_object_get(json_array_get(messages, at - 1), "role")), "user") != 0)
        at--;
    m = at > 0 ? json_copy(json_array_get(messages, at - 1)) : json_pack("{s:s}", "role", "user");
    content = block ? content_behind(block, json_object_get(m, "content")) : NULL;
    int failed = !content || json_object_set_new(m, "content", content) != 0;
    failed = failed || (at > 0 ? json_array_set(list, at - 1, m) : json_array_append(list, m)) != 0;
    json_decref(block);
    json_decref(m);
    if (failed) {
        json_decref(list);
        return NULL;
    }
    return list;
}

static bool is_in_parts(const json_t *m)
{
    return json_is_array(json_object_get(m, "content"));
}

static bool has_no_content(const json_t *m)
{
    return is_absent(json_object_get(m, "content"));
}

static const json_t *first_call(const json_t *m)
{
    return json_object_get(json_array_get(json_object_get(m, "tool_calls"), 0), "function");
}

static bool has_text_arguments(const json_t *m)
{
    return json_is_string(json_object_get(first_call(m), "arguments"));
}

static const json_t *find(const json_t *messages, bool (*is)(const json_t *m))
{
    size_t i;
    const json_t *m;
    json_array_foreach(messages, i, m)
        if (is(m))
            return m;
    return NULL;
}

bool vs_messages_in_parts(const json_t *messages)
{
    return find(messages, is_in_parts) != NULL;
}

bool vs_messages_lack_content(const json_t *messages)
{
    return find(messages, has_no_content) != NULL;
}

const char *vs_messages_call(const json_t *messages)
{
    return json_string_value(json_object_get(first_call(find(messages, has_no_content)), "name"));
}

/* The reference of m is taken. */
static json_t *with_call(json_t *m, const char *name)
{
    json_t *copy = json_deep_copy(m);
    json_object_set_new((json_t *)(uintptr_t)first_call(copy), "name", json_string(name));
    json_decref(m);
    return copy;
}

json_t *vs_messages_shape(const json_t *messages, const struct vs_shape *shape, struct vs_check *check)
{
    const json_t *renamed = shape->call ? find(messages, has_no_content) : NULL;
    json_t *list = json_array(), *m;
    size_t i;
    json_array_foreach((json_t *)(uintptr_t)messages, i, m) {
        json_t *one = vs_check_work(check, 16) == VS_OK ? shaped(m, shape, check) : NULL;
        if (one && m == renamed)
            one = with_call(one, shape->call);
        if (!one || json_array_append_new(list, one) != 0)
            return json_decref(list), NULL;
    }
    return list;
}

const json_t *vs_messages_arguments(const json_t *messages)
{
    return json_object_get(first_call(find(messages, has_text_arguments)), "arguments");
}
