/* parts/markup.c - calls as tags (NAME, then KEY and VALUE, each between tags), and as source code: NAME(key=VALUE, ...). */
#include "parts/parser.h"

#include "ipc/json.h"

#include <string.h>

/* ---- as tags ---- */

static size_t find_tag(struct vs_parts *p, enum vs_tag tag)
{
    return vs_look_find(p, p->tag[tag].text, p->tag[tag].n);
}

/* Where a name ends: at name_end, or where a tag or a mark begins. SIZE_MAX: not yet. */
static size_t find_name_end(struct vs_parts *p)
{
    struct vs_call *c = &p->call;
    if (p->tag[NAME_END].n)
        return find_tag(p, NAME_END);
    while (c->at < left(p) && bytes(p)[c->at] != '<' && bytes(p)[c->at] != CONTROL)
        c->at++;
    return c->at == left(p) ? SIZE_MAX : c->at;
}

/* With attributes: up to the quotation mark. */
static struct vs_span bare_name(const struct vs_parts *p, struct vs_span name)
{
    const char *quote = p->family->tags->has_attributes && name.n ? memchr(bytes(p) + name.at, '"', name.n) : NULL;
    if (quote)
        name.n = (size_t)(quote - (bytes(p) + name.at));
    return name;
}

bool vs_tags_name(struct vs_parts *p)
{
    struct vs_call *c = &p->call;
    size_t at = find_name_end(p);
    if ((at == SIZE_MAX ? left(p) : at) - c->from > MOST_KEY)
        return vs_call_fail(p, c->from);
    if (at == SIZE_MAX)
        return false;
    struct vs_span name = bare_name(p, vs_look_trimmed(p, c->from, at));
    c->tool = vs_tool_find(p, bytes(p) + name.at, name.n);
    if (!c->tool)
        return vs_call_fail(p, at);
    c->object = json_object();
    c->phase = IN_ATTRIBUTES;
    c->at = at + p->tag[NAME_END].n;
    return true;
}

/* What may stand behind a name. */
bool vs_tags_attributes(struct vs_parts *p)
{
    struct vs_call *c = &p->call;
    size_t at = vs_look_space(p, c->at), n = p->tag[NAME_TAIL].n;
    enum vs_match tail = !n ? NO : at < left(p) ? match_tag(p, at, NAME_TAIL) : PERHAPS;
    if (tail == PERHAPS)
        return false;
    c->at = tail == YES ? at + n : c->at;
    c->phase = AT_TAG;
    return true;
}

static bool end_tags(struct vs_parts *p, size_t at)
{
    vs_call_say_object(p, p->call.object);
    return vs_call_succeed(p, at);
}

bool vs_tags_next(struct vs_parts *p)
{
    struct vs_call *c = &p->call;
    const struct vs_tags *tags = p->family->tags;
    c->at = vs_look_space(p, c->at);
    const uint8_t ends[] = { tags->end_mark, NO_MARK };
    size_t n = p->tag[TAGS_END].n;
    enum vs_match key = match_tag(p, c->at, KEY_OPEN), end = match_tag(p, c->at, TAGS_END);
    end = end == YES ? end : vs_look_any(p, c->at, ends, &n) > end ? vs_look_any(p, c->at, ends, &n) : end;
    if (end == YES)
        return end_tags(p, c->at + n);
    if (end == PERHAPS)                  /* a key may begin as the end does */
        return false;
    if (key == YES) {
        c->phase = IN_KEY;
        c->from = c->at += p->tag[KEY_OPEN].n;
        return true;
    }
    return key == NO ? vs_call_fail(p, c->at) : false;
}

bool vs_tags_key(struct vs_parts *p)
{
    struct vs_call *c = &p->call;
    const struct vs_tags *tags = p->family->tags;
    size_t at = find_tag(p, KEY_CLOSE);
    if ((at == SIZE_MAX ? left(p) : at) - c->from > MOST_KEY)
        return vs_call_fail(p, c->from);
    if (at == SIZE_MAX)
        return false;
    struct vs_span whole = vs_look_trimmed(p, c->from, at);
    c->key = bare_name(p, whole);
    c->is_told = tags->text_sign && c->key.n < whole.n;
    c->is_text = c->is_told && memmem(bytes(p) + whole.at, whole.n, tags->text_sign, strlen(tags->text_sign));
    c->phase = AT_VALUE;
    c->at = at + p->tag[KEY_CLOSE].n;
    return true;
}

bool vs_tags_at_value(struct vs_parts *p)
{
    struct vs_call *c = &p->call;
    size_t n = p->tag[VALUE_OPEN].n, at = n ? vs_look_space(p, c->at) : c->at;
    enum vs_match m = n && at == left(p) ? PERHAPS : match_tag(p, at, VALUE_OPEN);
    if (m == NO)
        return vs_call_fail(p, at);
    if (m == PERHAPS)
        return false;
    c->phase = IN_VALUE;
    c->n_within = 0;
    c->from = c->at = at + n;
    return true;
}

/* Does the schema allow a value of its type? */
static bool is_of_types(const json_t *value, unsigned types)
{
    unsigned own = vs_json_type(value);
    return (own & types) || (own == VS_JSON_INTEGER && (types & VS_JSON_NUMBER));
}

/* What a tag's text is, by its schema in `root`: what the text says as JSON, or as Python, where that may be, else a string. */
static json_t *typed(const struct vs_parts *p, const json_t *root, const json_t *schema, struct vs_span text)
{
    unsigned types = schema ? vs_schema_types(root, schema) : VS_JSON_ANY;
    struct vs_span bare = vs_look_trimmed(p, text.at, text.at + text.n);
    json_t *value = types == VS_JSON_STRING ? NULL : vs_json_value(bytes(p) + bare.at, bare.n);
    /* The quotes of a string are part of what was said. What may be no string stays what it says. */
    if (value && (json_is_string(value) || ((types & VS_JSON_STRING) && !is_of_types(value, types)))) {
        json_decref(value);
        value = NULL;
    }
    if (!value && schema && types != VS_JSON_ANY && types != VS_JSON_STRING) {
        value = vs_literal_value(bytes(p) + bare.at, bare.n);
        if (value && (json_is_string(value) || !is_of_types(value, types))) {
            json_decref(value);
            value = NULL;
        }
    }
    return value ? value : json_stringn(bytes(p) + text.at, text.n);
}

static const json_t *schema_of(const json_t *schema, const char *key, size_t n)
{
    return json_object_getn(json_object_get(schema, "properties"), key, n);
}

/* Values that are tags in turn: <item>VALUE</item>... is a list, <KEY>VALUE</KEY>... an object. */
struct nested { const struct vs_parts *p; const json_t *root; unsigned depth; };

static json_t *read_nested(const struct nested *in, const json_t *schema, struct vs_span text);

/* The next child from *io_at on: its key and its value; false: there is none, or it has no end. */
static bool next_child(const struct vs_parts *p, size_t *io_at, size_t end, struct vs_span *ret_key, struct vs_span *ret_value)
{
    const struct vs_pattern *open = &p->tag[KEY_OPEN], *close = &p->tag[VALUE_CLOSE];
    size_t at = *io_at;
    while (at < end && is_space(bytes(p)[at]))
        at++;
    const char *key_end = at + open->n < end && vs_look_match(p, at, open->text, open->n) == YES
        ? memchr(bytes(p) + at + open->n, '>', end - at - open->n) : NULL;
    if (!key_end)
        return false;
    *ret_key = (struct vs_span){ at + open->n, (size_t)(key_end - bytes(p)) - at - open->n };
    ret_value->at = ret_key->at + ret_key->n + 1;
    unsigned depth = 0;
    for (at = ret_value->at; at < end; at++) {
        bool is_close = vs_look_match(p, at, close->text, close->n) == YES;
        if (!is_close && vs_look_match(p, at, open->text, open->n) != YES)
            continue;
        if (!is_close)
            depth++;
        else if (depth--)
            continue;
        else
            break;
    }
    size_t tail = at + close->n;
    if (at >= end || tail + ret_key->n >= end || memcmp(bytes(p) + tail, bytes(p) + ret_key->at, ret_key->n) != 0
        || bytes(p)[tail + ret_key->n] != '>')
        return false;
    ret_value->n = at - ret_value->at;
    *io_at = tail + ret_key->n + 1;
    return true;
}

static json_t *read_children(const struct nested *in, const json_t *schema, struct vs_span text)
{
    const struct vs_parts *p = in->p;
    const struct nested deeper = { p, in->root, in->depth + 1 };
    size_t at = text.at, end = text.at + text.n;
    struct vs_span key, value;
    json_t *children = NULL;
    while (next_child(p, &at, end, &key, &value)) {
        bool is_item = vs_look_is(p, key, "item") && !schema_of(schema, "item", 4);
        if (!children)
            children = is_item ? json_array() : json_object();
        const char *name = bytes(p) + key.at;
        json_t *child = read_nested(&deeper, is_item ? json_object_get(schema, "items") : schema_of(schema, name, key.n), value);
        if (!child || json_is_array(children) != is_item
            || (is_item ? json_array_append_new(children, child) : json_object_setn_new(children, name, key.n, child)) != 0) {
            json_decref(children);
            return NULL;
        }
    }
    if (children && vs_look_trimmed(p, at, end).n) {
        json_decref(children);
        return NULL;
    }
    return children;
}

static json_t *read_nested(const struct nested *in, const json_t *schema, struct vs_span text)
{
    struct vs_span bare = vs_look_trimmed(in->p, text.at, text.at + text.n);
    bool is_text = schema && vs_schema_types(in->root, schema) == VS_JSON_STRING;
    bool is_tags = !is_text && bare.n && match_tag(in->p, bare.at, KEY_OPEN) == YES;
    if (!is_tags)
        return typed(in->p, in->root, schema, text);
    return in->depth < VS_LITERAL_DEPTH ? read_children(in, schema, bare) : NULL;
}

static json_t *value_of(const struct vs_parts *p, struct vs_span text)
{
    const struct vs_call *c = &p->call;
    const json_t *parameters = json_object_get(c->tool, "parameters");
    const json_t *schema = schema_of(parameters, bytes(p) + c->key.at, c->key.n);
    if (c->is_text)
        return json_stringn(bytes(p) + text.at, text.n);
    if (c->is_told) {
        json_t *value = vs_json_value(bytes(p) + text.at, text.n);
        return value ? value : typed(p, parameters, schema, text);
    }
    return p->family->tags->is_nested ? read_nested(&(struct nested){ p, parameters, 0 }, schema, text)
                                      : typed(p, parameters, schema, text);
}

/* Is KEY> here? */
static enum vs_match match_key(const struct vs_parts *p, size_t at)
{
    struct vs_span key = p->call.key;
    enum vs_match m = vs_look_match(p, at, bytes(p) + key.at, key.n);
    return m == YES ? vs_look_match(p, at + key.n, ">", 1) : m;
}

/* In nested tags the closing tag has the key in it, and elements within the value may be called alike. */
static size_t find_nested_end(struct vs_parts *p, size_t *ret_n)
{
    struct vs_call *c = &p->call;
    const struct vs_pattern *open = &p->tag[KEY_OPEN], *close = &p->tag[VALUE_CLOSE];
    for (size_t at; (at = vs_look_find(p, open->text, open->n)) != SIZE_MAX; c->at = at + 1) {
        bool is_close = vs_look_match(p, at, close->text, close->n) == YES;
        enum vs_match key = match_key(p, at + (is_close ? close->n : open->n));
        c->at = at;
        if (key == PERHAPS)
            return SIZE_MAX;
        *ret_n = close->n + c->key.n + 1;
        if (key == YES && is_close && c->n_within == 0)
            return at;
        c->n_within += key == YES && !is_close;
        c->n_within -= key == YES && is_close;
    }
    return SIZE_MAX;
}

/* Where a value ends: at its closing tag. *ret_n: that tag's bytes. SIZE_MAX: not yet. */
static size_t find_value_end(struct vs_parts *p, size_t *ret_n)
{
    const struct vs_pattern *close = &p->tag[VALUE_CLOSE];
    if (p->family->tags->is_nested)
        return find_nested_end(p, ret_n);
    *ret_n = close->n;
    return vs_look_find(p, close->text, close->n);
}

bool vs_tags_value(struct vs_parts *p)
{
    struct vs_call *c = &p->call;
    const struct vs_tags *tags = p->family->tags;
    size_t n_close, end = find_value_end(p, &n_close);
    if (end == SIZE_MAX)
        return false;
    struct vs_span text = { c->from, end - c->from };
    if (tags->has_lines && text.n && bytes(p)[text.at] == '\n') {
        text.at++;
        text.n--;
    }
    if (tags->has_lines && text.n && bytes(p)[text.at + text.n - 1] == '\n')
        text.n--;
    json_t *value = value_of(p, text);
    if (!value || json_object_setn_new(c->object, bytes(p) + c->key.at, c->key.n, value) != 0)
        return vs_call_fail(p, end);             /* control tokens in it: no text */
    c->phase = AT_TAG;
    c->at = end + n_close;
    return true;
}

/* ---- as source code ---- */

static bool is_name_byte(char ch)
{
    return ch == '_' || ch == '-' || ch == '.' || (ch >= '0' && ch <= '9') || (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z');
}

/* The name and what opens its arguments. */
bool vs_code_name(struct vs_parts *p)
{
    struct vs_call *c = &p->call;
    const struct vs_code *code = p->family->code;
    size_t at = c->at = c->object_at = vs_look_space(p, c->at), n_prefix = strlen(code->prefix);
    enum vs_match prefix = at < left(p) ? vs_look_match(p, at, code->prefix, n_prefix) : PERHAPS;
    if (prefix != YES)
        return prefix == NO ? vs_call_fail(p, at) : false;
    size_t from = at + n_prefix, end = from;
    while (end < left(p) && is_name_byte(bytes(p)[end]))
        end++;
    if (end - from > MOST_KEY)
        return vs_call_fail(p, at);
    if (end == left(p))
        return false;
    size_t open = vs_look_space(p, end);
    if (open == left(p))
        return false;
    c->tool = bytes(p)[open] == code->open ? vs_tool_find(p, bytes(p) + from, end - from) : NULL;
    if (!c->tool)
        return vs_call_fail(p, at > c->said ? at : c->said);
    c->from = c->at = open + 1;
    c->code = (struct vs_literal_scan){ 0 };
    c->phase = IN_CODE;
    return true;
}

bool vs_code_arguments(struct vs_parts *p)
{
    struct vs_call *c = &p->call;
    for (; c->at < left(p); c->at++) {
        enum vs_literal_event event = vs_literal_push(&c->code, &p->code, bytes(p)[c->at]);
        if (event == VS_LITERAL_BROKEN)
            return vs_call_fail(p, c->at);
        if (event != VS_LITERAL_END)
            continue;
        json_t *object = vs_literal_arguments(&p->code, bytes(p) + c->from, c->at - c->from);
        if (!object)
            return vs_call_fail(p, c->at + 1);
        bool said = vs_call_say_object(p, object);
        json_decref(object);
        if (!said)
            return vs_call_fail(p, c->at + 1);
        c->said = ++c->at;
        c->phase = BEHIND_CODE;
        return vs_parts_is_over(p) ? vs_call_succeed(p, c->at) : true;
    }
    return false;
}

/* Another one, or the end of the list. */
bool vs_code_behind(struct vs_parts *p)
{
    struct vs_call *c = &p->call;
    size_t at = vs_look_space(p, c->at), n = 0;
    if (at == left(p))
        return false;
    char ch = bytes(p)[at];
    enum vs_match end = vs_look_any(p, at, p->family->end, &n);
    if (c->in_list && ch == ']')
        return vs_call_succeed(p, at + 1);
    if (end == PERHAPS)
        return false;
    if (end == YES || !p->family->code->is_list || (ch != ',' && !is_name_byte(ch)) || (!c->in_list && c->is_bare))
        return c->in_list ? vs_call_fail(p, c->said) : vs_call_succeed(p, c->at);
    if (!c->in_list && memchr(bytes(p) + c->at, '\n', at - c->at) == NULL)
        return vs_call_succeed(p, c->at);
    c->at = ch == ',' ? at + 1 : at;
    c->object_at = vs_look_space(p, c->at);
    c->phase = AT_CODE;
    return true;
}
