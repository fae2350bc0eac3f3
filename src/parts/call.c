/* parts/call.c - a call, from its mark to its end: as an object of JSON, or as a name and arguments.
 *
 * What turns out to be none is content, byte for byte. Calls as tags and as source code: markup.c.
 */
#include "parts/parser.h"

#include "ipc/json.h"

#include <string.h>

/* ---- calls ---- */

const json_t *vs_tool_find(const struct vs_parts *p, const char *name, size_t n)
{
    size_t i;
    const json_t *tool;
    json_array_foreach(p->config.tools, i, tool) {
        const json_t *function = vs_tool_function(tool), *is = json_object_get(function, "name");
        if (json_string_length(is) == n && n && memcmp(json_string_value(is), name, n) == 0)
            return function;
    }
    return NULL;
}

/* "functions.NAME:0" and "NAME>" name a tool as NAME does. */
const json_t *vs_tool_of_word(const struct vs_parts *p, const char *word, size_t n)
{
    static const char prefix[] = "functions.";
    if (n && word[n - 1] == '>')
        n--;
    const json_t *tool = vs_tool_find(p, word, n);
    if (!tool && n > sizeof prefix - 1 && memcmp(word, prefix, sizeof prefix - 1) == 0) {
        word += sizeof prefix - 1;
        n -= sizeof prefix - 1;
        tool = vs_tool_find(p, word, n);
    }
    size_t digits = n;
    while (digits && word[digits - 1] >= '0' && word[digits - 1] <= '9')
        digits--;
    return tool ? tool : digits && word[digits - 1] == ':' ? vs_tool_find(p, word, digits - 1) : NULL;
}

void vs_call_begin(struct vs_parts *p, size_t at, bool is_bare)
{
    vs_parts_enter(p, CALL);
    p->call = (struct vs_call){ .at = at, .is_bare = is_bare, .phase = MARKS };
}

void vs_call_drop(struct vs_parts *p)
{
    json_decref(p->call.object);
    p->call.object = NULL;
}

/* It was none: what stands before `at` is content. */
bool vs_call_fail(struct vs_parts *p, size_t at)
{
    vs_call_drop(p);
    p->call.said = p->call.told > p->call.said ? p->call.told : p->call.said;
    p->done += p->call.said;
    vs_parts_say(p, VS_PART_CONTENT, at - p->call.said);
    vs_parts_enter(p, p->family->is_channels ? HEADER : CONTENT);
    return true;
}

/* It ends before `at`. */
bool vs_call_succeed(struct vs_parts *p, size_t at)
{
    vs_call_drop(p);
    p->last_was_bare = p->call.is_bare;
    p->in_fence |= p->call.is_fenced;
    p->in_brace = p->call.is_braced;
    p->done += at;
    vs_parts_enter(p, p->family->is_channels ? HEADER : AFTER_CALL);
    return true;
}

static void say_call(struct vs_parts *p, const json_t *function, const char *arguments, size_t n)
{
    const json_t *name = json_object_get(function, "name");
    uint32_t part = VS_PART_CALL + p->n_calls++;
    vs_parts_say_plain(p, part, json_string_value(name), json_string_length(name));
    vs_parts_say_plain(p, part, "\n", 1);
    vs_parts_say_plain(p, part, arguments, n);
}

/* Arguments as JSON text: an object, or a string that holds one. */
static bool say_arguments(struct vs_parts *p, const json_t *function, const char *text, size_t n)
{
    json_t *value = vs_json_value(text, n), *inner = json_is_string(value)
        ? vs_json_value(json_string_value(value), json_string_length(value)) : NULL;
    bool is_whole = json_is_object(value), is_inner = json_is_object(inner);
    if (is_whole)
        say_call(p, function, text, n);
    else if (is_inner)
        say_call(p, function, json_string_value(value), json_string_length(value));
    json_decref(inner);
    json_decref(value);
    return is_whole || is_inner;
}

bool vs_call_say_object(struct vs_parts *p, const json_t *object)
{
    struct vs_buf text = { 0 };
    vs_json_dump(object, &text);
    if (text.status == VS_OK)
        say_call(p, p->call.tool, text.data, text.n);
    else
        p->status = text.status;
    vs_buf_clear(&text);
    return p->status == VS_OK;
}

/* ---- as JSON objects ---- */

static const char *const name_keys[] = { "name", "tool_name", "function", NULL };
static const char *const argument_keys[] = { "arguments", "parameters", "args", NULL };
static const char *const other_keys[] = { "id", "type", "tool_call_id", NULL };

static bool is_key(const struct vs_parts *p, const char *const *keys)
{
    while (*keys && !vs_look_is(p, p->call.key, *keys))
        keys++;
    return *keys != NULL;
}

/* An object without a mark in front of it is a call only when it has nothing else. */
static bool can_have_key(const struct vs_parts *p)
{
    return !p->call.is_bare || is_key(p, name_keys) || is_key(p, argument_keys) || is_key(p, other_keys);
}

/* The key is the name, and what stands behind it are the arguments. */
static bool is_by_name(const struct vs_parts *p)
{
    return p->family->keys && !p->family->keys->name;
}

static bool is_arguments(const struct vs_parts *p)
{
    return is_by_name(p) || is_key(p, argument_keys);
}

static const json_t *tool_of_string(const struct vs_parts *p, struct vs_span text)
{
    json_t *name = vs_json_value(bytes(p) + text.at, text.n);
    const json_t *tool = json_is_string(name) ? vs_tool_find(p, json_string_value(name), json_string_length(name)) : NULL;
    json_decref(name);
    return tool;
}

/* A value of the call's object ends before `at`; false: it names no tool. */
static bool end_value(struct vs_parts *p, size_t at)
{
    struct vs_call *c = &p->call;
    bool has_value = c->has_value;
    struct vs_span value = vs_look_trimmed(p, c->value.at, at);
    c->has_value = false;
    if (has_value && !is_by_name(p) && is_key(p, name_keys))
        return (c->tool = tool_of_string(p, value)) != NULL;
    if (has_value && is_arguments(p))
        c->arguments = value;
    return true;
}

/* Arguments of a call that is sure to become one, as far as they are there. */
static void say_early(struct vs_parts *p)
{
    struct vs_call *c = &p->call;
    size_t end = c->value_end ? c->value_end : c->at;
    if (!c->is_sure || !c->tool || !c->has_value || !is_arguments(p) || bytes(p)[c->value.at] != '{')
        return;
    if (!c->told) {
        say_call(p, c->tool, "", 0);
        c->told = c->value.at;
    }
    vs_parts_say_plain(p, VS_PART_CALL + p->n_calls - 1, bytes(p) + c->told, end - c->told);
    c->told = end;
}

/* An object that is a call has ended with the byte at `at`. */
static bool end_object(struct vs_parts *p, size_t at)
{
    struct vs_call *c = &p->call;
    say_early(p);
    if (!end_value(p, at) || !c->tool || (c->is_bare && !c->arguments.n))
        return false;
    struct vs_span arguments = c->arguments;
    bool said = c->told || (arguments.n ? say_arguments(p, c->tool, bytes(p) + arguments.at, arguments.n)
                                        : say_arguments(p, c->tool, "{}", 2));
    if (!said)
        return false;
    c->said = at + 1;
    c->tool = NULL;
    c->has_object = c->is_sure = false;
    c->told = c->value_end = 0;
    c->arguments = (struct vs_span){ 0 };
    return true;
}

/* One byte; false: it is no call. */
static bool follow_json(struct vs_parts *p, size_t at, bool *ret_is_whole)
{
    struct vs_call *c = &p->call;
    enum vs_scan_event event = vs_scan_push(&c->scan, bytes(p)[at]);
    unsigned depth = c->scan.depth;
    *ret_is_whole = false;
    switch (event) {
    case VS_SCAN_NOTHING: return true;
    case VS_SCAN_BROKEN: return false;
    case VS_SCAN_OPEN:
        if (depth == 1)
            c->base = c->scan.is_object[0] ? 1 : 2;
        if (depth == c->base && c->scan.is_object[depth - 1]) {
            c->object_at = at;
            c->has_object = true;
        }
        if (depth == c->base + 1) {
            c->value = (struct vs_span){ at, 0 };
            c->has_value = true;
        }
        return depth != c->base || c->scan.is_object[depth - 1];
    case VS_SCAN_SCALAR:
        if (depth == c->base) {
            c->value = (struct vs_span){ at, 0 };
            c->has_value = true;
        }
        return depth >= c->base;
    case VS_SCAN_KEY_OPEN:
        if (depth == c->base)
            c->key.at = at + 1;
        return true;
    case VS_SCAN_KEY_CLOSE:
        if (depth != c->base)
            return true;
        c->key.n = at - c->key.at;
        if (is_by_name(p))
            return !c->tool && (c->tool = vs_tool_find(p, bytes(p) + c->key.at, c->key.n)) != NULL;
        return can_have_key(p);
    case VS_SCAN_COMMA:
        return depth != c->base || end_value(p, at);
    case VS_SCAN_CLOSE:
        *ret_is_whole = depth == 0;
        if (depth == c->base && is_arguments(p))
            c->value_end = at + 1;
        if (depth + 1 == c->base)
            return end_object(p, at);
        return depth != 0 || c->said;    /* an empty list is none */
    }
    return false;
}

/* False: more is needed; so too below. */
static bool step_json(struct vs_parts *p)
{
    struct vs_call *c = &p->call;
    while (c->at < left(p)) {
        bool is_whole;
        if (!follow_json(p, c->at, &is_whole))
            return vs_call_fail(p, c->scan.depth || is_whole ? c->at + 1 : c->at ? c->at : 1);
        c->at++;
        if (is_whole || vs_parts_is_over(p))
            return vs_call_succeed(p, c->at);
    }
    say_early(p);
    return false;
}

/* ---- as a name and arguments ---- */

static bool is_noise(const struct vs_parts *p, struct vs_span word)
{
    for (const char *const *noise = p->family->noise; *noise; noise++)
        if (vs_look_is(p, word, *noise))
            return true;
    return false;
}

/* The first word that names a tool: an id may stand in front of it. */
static const json_t *tool_of_header(const struct vs_parts *p, size_t from, size_t to)
{
    for (struct vs_span word = vs_look_word(p, from, to); word.n; word = vs_look_word(p, word.at + word.n, to)) {
        const json_t *tool = is_noise(p, word) ? NULL : vs_tool_of_word(p, bytes(p) + word.at, word.n);
        if (tool)
            return tool;
    }
    return NULL;
}

static bool step_header(struct vs_parts *p)
{
    struct vs_call *c = &p->call;
    size_t brace = vs_look_find(p, "{", 1), end = brace == SIZE_MAX ? left(p) : brace;
    if (end - c->from > MOST_HEADER)
        return vs_call_fail(p, c->from);
    if (brace == SIZE_MAX)
        return false;
    c->tool = tool_of_header(p, c->from, brace);
    if (!c->tool)
        return vs_call_fail(p, brace);
    c->phase = IN_ARGUMENTS;
    c->from = c->at = brace;
    return true;
}

static bool step_arguments(struct vs_parts *p)
{
    struct vs_call *c = &p->call;
    for (; c->at < left(p); c->at++) {
        enum vs_scan_event event = vs_scan_push(&c->scan, bytes(p)[c->at]);
        if (event == VS_SCAN_BROKEN)
            return vs_call_fail(p, c->at);
        if (event == VS_SCAN_CLOSE && !c->scan.depth)
            return say_arguments(p, c->tool, bytes(p) + c->from, c->at + 1 - c->from) ? vs_call_succeed(p, c->at + 1)
                                                                                      : vs_call_fail(p, c->at + 1);
    }
    return false;
}

/* ---- a call's beginning ---- */

static bool step_marks(struct vs_parts *p)
{
    struct vs_call *c = &p->call;
    const struct vs_family *f = p->family;
    size_t n = 0, at = vs_look_space(p, c->at);
    c->at = at;
    if (at == left(p))
        return false;
    if (!c->is_bare && !c->has_begun) {
        enum vs_match begin = vs_look_any(p, at, f->begin, &n);
        enum vs_match m = begin == YES ? YES : vs_look_any(p, at, f->section, &n);
        if (m != YES)
            return m == NO && begin == NO ? vs_call_fail(p, at) : false;
        c->has_begun = begin == YES;
        c->at = c->behind = at + n;
        return true;
    }
    char first = bytes(p)[at];
    size_t inner = first == '[' ? vs_look_space(p, at + 1) : at;
    c->in_list = first == '[';
    c->object_at = inner;
    if (f->code && inner == left(p))
        return false;
    bool is_json = f->keys && (first == '{' || first == '[') && !(f->code && bytes(p)[inner] != '{');
    c->from = c->at = at;
    if (is_json)
        c->phase = IN_JSON;
    else if (f->code && (first == '[' ? f->code->is_list : !c->is_bare)) {
        c->at = inner;
        c->phase = AT_CODE;
    } else if (f->tags)
        c->phase = IN_NAME;
    else if (f->noise)
        c->phase = IN_HEADER;
    else
        return vs_call_fail(p, at);
    return true;
}

bool vs_call_step(struct vs_parts *p)
{
    static bool (*const steps[])(struct vs_parts *p) = {
        [MARKS] = step_marks, [IN_JSON] = step_json, [IN_HEADER] = step_header, [IN_ARGUMENTS] = step_arguments,
        [IN_NAME] = vs_tags_name, [IN_ATTRIBUTES] = vs_tags_attributes, [AT_TAG] = vs_tags_next, [IN_KEY] = vs_tags_key,
        [AT_VALUE] = vs_tags_at_value, [IN_VALUE] = vs_tags_value,
        [AT_CODE] = vs_code_name, [IN_CODE] = vs_code_arguments, [BEHIND_CODE] = vs_code_behind,
    };
    return steps[p->call.phase](p);
}
