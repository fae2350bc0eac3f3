/* prog/worker/messages.c - the messages of a conversation: what they must be, and the shapes in which templates take them. */
#include "prog/worker/chat.h"

#include "ipc/json.h"

#include <string.h>

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

static json_t *shaped(json_t *m, const struct vs_shape *shape, struct vs_check *check)
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

json_t *vs_messages_shape(const json_t *messages, const struct vs_shape *shape, struct vs_check *check)
{
    json_t *list = json_array(), *m;
    size_t i;
    json_array_foreach((json_t *)(uintptr_t)messages, i, m)
        if (vs_check_work(check, 16) != VS_OK || json_array_append_new(list, shaped(m, shape, check)) != 0)
            return json_decref(list), NULL;
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

const json_t *vs_messages_arguments(const json_t *messages)
{
    return json_object_get(first_call(find(messages, has_text_arguments)), "arguments");
}
