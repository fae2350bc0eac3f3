/* parts/parts.c - see parts.h: the parser, a state machine over bytes that are not decided yet.
 *
 *     START --reasoning's mark--> THINK --its end--> AFTER_THINK --> FIRST
 *     START ----------------------------------------------------> FIRST --{ of a bare call--> CALL
 *     FIRST --> CONTENT --mark--> CALL --whole--> AFTER_CALL --mark--> CALL
 *                  ^                |  broken        |  anything else
 *                  |________________|________________|
 *
 * A mark that is a control token stands in our bytes as vs_mark_code spells it, for no UTF-8 has such bytes. What a family writes
 * is spelled so, too, when a parser is made.
 * Each byte is looked at once for marks, and once for the call that it belongs to, if any: what was no call is not looked through
 * again for one that begins inside it.
 */
#include "parts/parts.h"

#include "ipc/json.h"
#include "parts/internal.h"
#include "parts/literal.h"
#include "parts/scan.h"

#include <stdlib.h>
#include <string.h>

#define CONTROL '\xff'                   /* what codes of marks begin with, and only they */
enum { MOST_HEADER = 512, MOST_KEY = 256 };      /* bytes of what stands in front of a call's arguments; of a tag's name */

enum state { START, THINK, AFTER_THINK, FIRST, CONTENT, CALL, AFTER_CALL, HEADER, MESSAGE };

enum phase {
    MARKS, IN_JSON, IN_HEADER, IN_ARGUMENTS, IN_NAME, IN_ATTRIBUTES, AT_TAG, IN_KEY, AT_VALUE, IN_VALUE, AT_CODE, IN_CODE,
    BEHIND_CODE,
};

/* A text as it stands in our bytes. */
struct pattern { char text[64]; size_t n; };
enum tag { NAME_END, NAME_TAIL, KEY_OPEN, KEY_CLOSE, VALUE_OPEN, VALUE_CLOSE, TAGS_END, N_TAGS };

struct span { size_t at, n; };

struct call {                            /* what may be one, or several: positions count from the first byte that is not decided */
    enum phase phase;
    size_t at;                           /* looked at so far */
    size_t from;                         /* where the text begins that phase is about */
    size_t behind;                       /* its mark */
    size_t said;                         /* what stands before was said, as calls */
    bool has_begun;                      /* its mark was there */
    bool is_bare;
    struct vs_scan scan;
    unsigned base;                       /* depth of the objects that are calls */
    struct span key, value, arguments;
    bool has_value;
    const json_t *tool;                  /* that was named */
    bool has_object, is_sure;            /* an object that may be a call is under way; it will be one */
    size_t object_at;                    /* where it begins */
    size_t told, value_end;              /* of its arguments, what was said; where they end; 0: not yet */
    json_t *object;                      /* arguments that come as tags */
    bool is_text, is_told;               /* the value's attributes say that it is text; they say what it is */
    struct vs_literal_scan code;
    bool in_list;                        /* of calls that are source code */
};

struct vs_parts {
    struct vs_parts_config config;
    const struct vs_family *family;      /* NULL: no calls */
    bool has_control;                    /* some marks are control tokens */
    struct pattern pattern[VS_N_MARKS], tag[N_TAGS], tail;
    struct vs_literal_form code;
    uint8_t stop[2 * VS_MOST_MARKS], closers[VS_MOST_MARKS + 1];      /* marks that end content; those that belong around it */
    unsigned n_openers;                  /* marks that content has begun with */
    bool has_control_closers;            /* they are control tokens, and so never text */
    struct vs_buf in;
    size_t done;                         /* bytes of it that are decided */
    size_t dropped;                      /* of the answer, that stood in front of it */
    struct span blank;                   /* see skip_space; counted from the answer's first byte */
    size_t look, solid;                  /* behind them: looked at for marks; of these, up to the last that is no white space */
    enum state state;
    uint32_t part;                       /* MESSAGE: what its text is */
    struct call call;
    bool last_was_bare;
    uint32_t n_calls;
    struct vs_pieces said;
    int status;
};

/* ---- what is said ---- */

static void say_plain(struct vs_parts *p, uint32_t part, const char *text, size_t n)
{
    struct vs_pieces *s = &p->said;
    if (!n)
        return;
    if (!s->n || s->piece[s->n - 1].part != part) {
        if (s->n == s->cap) {
            size_t cap = s->cap ? 2 * s->cap : 4;
            struct vs_piece *piece = realloc(s->piece, cap * sizeof *piece);
            if (!piece) {
                p->status = VS_E_NOMEM;
                return;
            }
            s->piece = piece;
            s->cap = cap;
        }
        s->piece[s->n++] = (struct vs_piece){ part, 0 };
    }
    s->piece[s->n - 1].n += n;
    vs_buf_add(&s->text, text, n);
    if (s->text.status != VS_OK)
        p->status = s->text.status;
}

/* The next n bytes that are not decided, and they are then. */
static void say(struct vs_parts *p, uint32_t part, size_t n)
{
    const char *at = p->in.data + p->done, *end = at + n;
    while (at < end) {
        const char *control = memchr(at, CONTROL, (size_t)(end - at));
        say_plain(p, part, at, (size_t)((control ? control : end) - at));
        if (!control)
            break;
        const char *name = vs_mark_text[vs_mark_of_code(control)];
        if (p->config.shows_control)
            say_plain(p, part, name, strlen(name));
        at = control + VS_MARK_CODE;
    }
    p->done += n;
}

/* ---- looking at bytes ---- */

static const char *bytes(const struct vs_parts *p)
{
    return p->in.data + p->done;
}

static size_t left(const struct vs_parts *p)
{
    return p->in.n - p->done;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

/* A long run that still goes on is looked through once: where the last one that was not empty began and ended is remembered. */
static size_t skip_space(struct vs_parts *p, size_t at)
{
    size_t before = p->dropped + p->done, from = before + at, to = from == p->blank.at ? from + p->blank.n : from;
    while (to - before < left(p) && is_space(bytes(p)[to - before]))
        to++;
    if (to > from)
        p->blank = (struct span){ from, to - from };
    return to - before;
}

enum match { NO, PERHAPS, YES };         /* PERHAPS: what is there may become it */

static enum match match(const struct vs_parts *p, size_t at, const char *text, size_t n)
{
    size_t there = left(p) - at, common = there < n ? there : n;
    if (memcmp(bytes(p) + at, text, common) != 0)
        return NO;
    return common == n ? YES : PERHAPS;
}

static enum match match_mark(const struct vs_parts *p, size_t at, unsigned mark)
{
    return match(p, at, p->pattern[mark].text, p->pattern[mark].n);
}

static enum match match_text(const struct vs_parts *p, size_t at, const char *text)
{
    return match(p, at, text, strlen(text));
}

static enum match match_tag(const struct vs_parts *p, size_t at, enum tag tag)
{
    return match(p, at, p->tag[tag].text, p->tag[tag].n);
}

/* One of a list. *ret_n: its bytes. */
static enum match match_any(const struct vs_parts *p, size_t at, const uint8_t *marks, size_t *ret_n)
{
    enum match best = NO;
    for (; *marks != NO_MARK; marks++) {
        enum match m = match_mark(p, at, *marks);
        if (m == YES)
            *ret_n = p->pattern[*marks].n;
        best = m > best ? m : best;
    }
    return best;
}

/* Where text begins, from call.at on; what was looked at in vain is remembered. SIZE_MAX: not yet. */
static size_t find(struct vs_parts *p, const char *text, size_t n)
{
    struct call *c = &p->call;
    const char *found = left(p) - c->at >= n ? memmem(bytes(p) + c->at, left(p) - c->at, text, n) : NULL;
    if (found)
        return (size_t)(found - bytes(p));
    if (left(p) - c->at >= n)
        c->at = left(p) - n + 1;
    return SIZE_MAX;
}

static size_t find_tag(struct vs_parts *p, enum tag tag)
{
    return find(p, p->tag[tag].text, p->tag[tag].n);
}

static struct span trimmed(const struct vs_parts *p, size_t from, size_t to)
{
    while (from < to && is_space(bytes(p)[from]))
        from++;
    while (to > from && is_space(bytes(p)[to - 1]))
        to--;
    return (struct span){ from, to - from };
}

static void enter(struct vs_parts *p, enum state state)
{
    p->state = state;
    p->look = p->solid = 0;
}

/* ---- calls ---- */

static const json_t *find_tool(const struct vs_parts *p, const char *name, size_t n)
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

static void begin_call(struct vs_parts *p, size_t at, bool is_bare)
{
    enter(p, CALL);
    p->call = (struct call){ .at = at, .is_bare = is_bare, .phase = MARKS };
}

static void drop_call(struct vs_parts *p)
{
    json_decref(p->call.object);
    p->call.object = NULL;
}

/* It was none: what stands before `at` is content. */
static bool fail(struct vs_parts *p, size_t at)
{
    drop_call(p);
    p->call.said = p->call.told > p->call.said ? p->call.told : p->call.said;
    p->done += p->call.said;
    say(p, VS_PART_CONTENT, at - p->call.said);
    enter(p, p->family->is_channels ? HEADER : CONTENT);
    return true;
}

/* It ends before `at`. */
static bool succeed(struct vs_parts *p, size_t at)
{
    drop_call(p);
    p->last_was_bare = p->call.is_bare;
    p->done += at;
    enter(p, p->family->is_channels ? HEADER : AFTER_CALL);
    return true;
}

static void say_call(struct vs_parts *p, const json_t *function, const char *arguments, size_t n)
{
    const json_t *name = json_object_get(function, "name");
    uint32_t part = VS_PART_CALL + p->n_calls++;
    say_plain(p, part, json_string_value(name), json_string_length(name));
    say_plain(p, part, "\n", 1);
    say_plain(p, part, arguments, n);
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

/* ---- calls as JSON objects ---- */

static bool is_word(const struct vs_parts *p, struct span s, const char *word)
{
    return s.n == strlen(word) && memcmp(bytes(p) + s.at, word, s.n) == 0;
}

static const char *const name_keys[] = { "name", "tool_name", "function", NULL };
static const char *const argument_keys[] = { "arguments", "parameters", "args", NULL };
static const char *const other_keys[] = { "id", "type", "tool_call_id", NULL };

static bool is_key(const struct vs_parts *p, const char *const *keys)
{
    while (*keys && !is_word(p, p->call.key, *keys))
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

static const json_t *tool_of_string(const struct vs_parts *p, struct span text)
{
    json_t *name = vs_json_value(bytes(p) + text.at, text.n);
    const json_t *tool = json_is_string(name) ? find_tool(p, json_string_value(name), json_string_length(name)) : NULL;
    json_decref(name);
    return tool;
}

/* A value of the call's object ends before `at`; false: it names no tool. */
static bool end_value(struct vs_parts *p, size_t at)
{
    struct call *c = &p->call;
    bool has_value = c->has_value;
    struct span value = trimmed(p, c->value.at, at);
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
    struct call *c = &p->call;
    size_t end = c->value_end ? c->value_end : c->at;
    if (!c->is_sure || !c->tool || !c->has_value || !is_arguments(p) || bytes(p)[c->value.at] != '{')
        return;
    if (!c->told) {
        say_call(p, c->tool, "", 0);
        c->told = c->value.at;
    }
    say_plain(p, VS_PART_CALL + p->n_calls - 1, bytes(p) + c->told, end - c->told);
    c->told = end;
}

/* An object that is a call has ended with the byte at `at`. */
static bool end_object(struct vs_parts *p, size_t at)
{
    struct call *c = &p->call;
    say_early(p);
    if (!end_value(p, at) || !c->tool || (c->is_bare && !c->arguments.n))
        return false;
    struct span arguments = c->arguments;
    bool said = c->told || (arguments.n ? say_arguments(p, c->tool, bytes(p) + arguments.at, arguments.n)
                                        : say_arguments(p, c->tool, "{}", 2));
    if (!said)
        return false;
    c->said = at + 1;
    c->tool = NULL;
    c->has_object = c->is_sure = false;
    c->told = c->value_end = 0;
    c->arguments = (struct span){ 0 };
    return true;
}

/* One byte; false: it is no call. */
static bool follow_json(struct vs_parts *p, size_t at, bool *ret_is_whole)
{
    struct call *c = &p->call;
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
            c->value = (struct span){ at, 0 };
            c->has_value = true;
        }
        return depth != c->base || c->scan.is_object[depth - 1];
    case VS_SCAN_SCALAR:
        if (depth == c->base) {
            c->value = (struct span){ at, 0 };
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
            return !c->tool && (c->tool = find_tool(p, bytes(p) + c->key.at, c->key.n)) != NULL;
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

static bool is_over(const struct vs_parts *p)
{
    return p->config.is_single && p->n_calls && !(p->state == CALL && p->call.told);
}

/* False: more is needed; so too below. */
static bool step_json(struct vs_parts *p)
{
    struct call *c = &p->call;
    while (c->at < left(p)) {
        bool is_whole;
        if (!follow_json(p, c->at, &is_whole))
            return fail(p, c->scan.depth || is_whole ? c->at + 1 : c->at ? c->at : 1);
        c->at++;
        if (is_whole || is_over(p))
            return succeed(p, c->at);
    }
    say_early(p);
    return false;
}

/* ---- calls as a name and arguments ---- */

/* The next word of a header: [at, at + n) between white space and marks. */
static struct span next_word(const struct vs_parts *p, size_t at, size_t end)
{
    static const uint8_t between[] = {
        VS_MARK_DEEPSEEK_SEP, VS_MARK_ARGS, VS_MARK_CALL_ID, VS_MARK_KIMI_ARGS, VS_MARK_CONSTRAIN, VS_MARK_MESSAGE, VS_MARK_CHANNEL,
        VS_MARK_START, VS_MARK_SOLAR_NAME, VS_MARK_SOLAR_ARGS, NO_MARK,
    };
    size_t n = 0, from = SIZE_MAX;
    while (at < end) {
        bool is_mark = match_any(p, at, between, &n) == YES;
        if ((is_mark || is_space(bytes(p)[at])) && from != SIZE_MAX)
            break;
        if (!is_mark && !is_space(bytes(p)[at]) && from == SIZE_MAX)
            from = at;
        at += is_mark ? n : 1;
    }
    return from == SIZE_MAX ? (struct span){ end, 0 } : (struct span){ from, at - from };
}

/* "functions.NAME:0" and "NAME>" name a tool as NAME does. */
static const json_t *tool_of_word(const struct vs_parts *p, const char *word, size_t n)
{
    static const char prefix[] = "functions.";
    if (n && word[n - 1] == '>')
        n--;
    const json_t *tool = find_tool(p, word, n);
    if (!tool && n > sizeof prefix && memcmp(word, prefix, sizeof prefix - 1) == 0) {
        word += sizeof prefix - 1;
        n -= sizeof prefix - 1;
        tool = find_tool(p, word, n);
    }
    size_t digits = n;
    while (digits && word[digits - 1] >= '0' && word[digits - 1] <= '9')
        digits--;
    return tool ? tool : digits && word[digits - 1] == ':' ? find_tool(p, word, digits - 1) : NULL;
}

static bool is_noise(const struct vs_parts *p, struct span word)
{
    for (const char *const *noise = p->family->noise; *noise; noise++)
        if (is_word(p, word, *noise))
            return true;
    return false;
}

/* The first word that names a tool: an id may stand in front of it. */
static const json_t *tool_of_header(const struct vs_parts *p, size_t from, size_t to)
{
    for (struct span word = next_word(p, from, to); word.n; word = next_word(p, word.at + word.n, to)) {
        const json_t *tool = is_noise(p, word) ? NULL : tool_of_word(p, bytes(p) + word.at, word.n);
        if (tool)
            return tool;
    }
    return NULL;
}

static bool step_header(struct vs_parts *p)
{
    struct call *c = &p->call;
    size_t brace = find(p, "{", 1), end = brace == SIZE_MAX ? left(p) : brace;
    if (end - c->from > MOST_HEADER)
        return fail(p, c->from);
    if (brace == SIZE_MAX)
        return false;
    c->tool = tool_of_header(p, c->from, brace);
    if (!c->tool)
        return fail(p, brace);
    c->phase = IN_ARGUMENTS;
    c->from = c->at = brace;
    return true;
}

static bool step_arguments(struct vs_parts *p)
{
    struct call *c = &p->call;
    for (; c->at < left(p); c->at++) {
        enum vs_scan_event event = vs_scan_push(&c->scan, bytes(p)[c->at]);
        if (event == VS_SCAN_BROKEN)
            return fail(p, c->at);
        if (event == VS_SCAN_CLOSE && !c->scan.depth)
            return say_arguments(p, c->tool, bytes(p) + c->from, c->at + 1 - c->from) ? succeed(p, c->at + 1) : fail(p, c->at + 1);
    }
    return false;
}

/* ---- calls as tags ---- */

/* Where a name ends: at name_end, or where a tag or a mark begins. SIZE_MAX: not yet. */
static size_t find_name_end(struct vs_parts *p)
{
    struct call *c = &p->call;
    if (p->tag[NAME_END].n)
        return find_tag(p, NAME_END);
    while (c->at < left(p) && bytes(p)[c->at] != '<' && bytes(p)[c->at] != CONTROL)
        c->at++;
    return c->at == left(p) ? SIZE_MAX : c->at;
}

/* With attributes: up to the quotation mark. */
static struct span bare_name(const struct vs_parts *p, struct span name)
{
    const char *quote = p->family->tags->has_attributes && name.n ? memchr(bytes(p) + name.at, '"', name.n) : NULL;
    if (quote)
        name.n = (size_t)(quote - (bytes(p) + name.at));
    return name;
}

static bool step_name(struct vs_parts *p)
{
    struct call *c = &p->call;
    size_t at = find_name_end(p);
    if ((at == SIZE_MAX ? left(p) : at) - c->from > MOST_KEY)
        return fail(p, c->from);
    if (at == SIZE_MAX)
        return false;
    struct span name = bare_name(p, trimmed(p, c->from, at));
    c->tool = find_tool(p, bytes(p) + name.at, name.n);
    if (!c->tool)
        return fail(p, at);
    c->object = json_object();
    c->phase = IN_ATTRIBUTES;
    c->at = at + p->tag[NAME_END].n;
    return true;
}

/* What may stand behind a name. */
static bool step_attributes(struct vs_parts *p)
{
    struct call *c = &p->call;
    size_t at = skip_space(p, c->at), n = p->tag[NAME_TAIL].n;
    enum match tail = !n ? NO : at < left(p) ? match_tag(p, at, NAME_TAIL) : PERHAPS;
    if (tail == PERHAPS)
        return false;
    c->at = tail == YES ? at + n : c->at;
    c->phase = AT_TAG;
    return true;
}

static bool say_object(struct vs_parts *p, const json_t *object)
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

static bool end_tags(struct vs_parts *p, size_t at)
{
    say_object(p, p->call.object);
    return succeed(p, at);
}

static bool step_tag(struct vs_parts *p)
{
    struct call *c = &p->call;
    const struct vs_tags *tags = p->family->tags;
    c->at = skip_space(p, c->at);
    const uint8_t ends[] = { tags->end_mark, NO_MARK };
    size_t n = p->tag[TAGS_END].n;
    enum match key = match_tag(p, c->at, KEY_OPEN), end = match_tag(p, c->at, TAGS_END);
    end = end == YES ? end : match_any(p, c->at, ends, &n) > end ? match_any(p, c->at, ends, &n) : end;
    if (end == YES)
        return end_tags(p, c->at + n);
    if (end == PERHAPS)                  /* a key may begin as the end does */
        return false;
    if (key == YES) {
        c->phase = IN_KEY;
        c->from = c->at += p->tag[KEY_OPEN].n;
        return true;
    }
    return key == NO ? fail(p, c->at) : false;
}

static bool step_key(struct vs_parts *p)
{
    struct call *c = &p->call;
    const struct vs_tags *tags = p->family->tags;
    size_t at = find_tag(p, KEY_CLOSE);
    if ((at == SIZE_MAX ? left(p) : at) - c->from > MOST_KEY)
        return fail(p, c->from);
    if (at == SIZE_MAX)
        return false;
    struct span whole = trimmed(p, c->from, at);
    c->key = bare_name(p, whole);
    c->is_told = tags->text_sign && c->key.n < whole.n;
    c->is_text = c->is_told && memmem(bytes(p) + whole.at, whole.n, tags->text_sign, strlen(tags->text_sign));
    c->phase = AT_VALUE;
    c->at = at + p->tag[KEY_CLOSE].n;
    return true;
}

static bool step_at_value(struct vs_parts *p)
{
    struct call *c = &p->call;
    size_t n = p->tag[VALUE_OPEN].n, at = n ? skip_space(p, c->at) : c->at;
    enum match m = n && at == left(p) ? PERHAPS : match_tag(p, at, VALUE_OPEN);
    if (m == NO)
        return fail(p, at);
    if (m == PERHAPS)
        return false;
    c->phase = IN_VALUE;
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
static json_t *typed(const struct vs_parts *p, const json_t *root, const json_t *schema, struct span text)
{
    unsigned types = schema ? vs_schema_types(root, schema) : VS_JSON_ANY;
    struct span bare = trimmed(p, text.at, text.at + text.n);
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

static json_t *read_nested(const struct nested *in, const json_t *schema, struct span text);

/* The next child from *io_at on: its key and its value; false: there is none, or it has no end. */
static bool next_child(const struct vs_parts *p, size_t *io_at, size_t end, struct span *ret_key, struct span *ret_value)
{
    const struct pattern *open = &p->tag[KEY_OPEN], *close = &p->tag[VALUE_CLOSE];
    size_t at = *io_at;
    while (at < end && is_space(bytes(p)[at]))
        at++;
    const char *key_end = at + open->n < end && match(p, at, open->text, open->n) == YES
        ? memchr(bytes(p) + at + open->n, '>', end - at - open->n) : NULL;
    if (!key_end)
        return false;
    *ret_key = (struct span){ at + open->n, (size_t)(key_end - bytes(p)) - at - open->n };
    ret_value->at = ret_key->at + ret_key->n + 1;
    unsigned depth = 0;
    for (at = ret_value->at; at < end; at++) {
        bool is_close = match(p, at, close->text, close->n) == YES;
        if (!is_close && match(p, at, open->text, open->n) != YES)
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

static json_t *read_children(const struct nested *in, const json_t *schema, struct span text)
{
    const struct vs_parts *p = in->p;
    const struct nested deeper = { p, in->root, in->depth + 1 };
    size_t at = text.at, end = text.at + text.n;
    struct span key, value;
    json_t *children = NULL;
    while (next_child(p, &at, end, &key, &value)) {
        bool is_item = is_word(p, key, "item") && !schema_of(schema, "item", 4);
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
    if (children && trimmed(p, at, end).n) {
        json_decref(children);
        return NULL;
    }
    return children;
}

static json_t *read_nested(const struct nested *in, const json_t *schema, struct span text)
{
    struct span bare = trimmed(in->p, text.at, text.at + text.n);
    bool is_text = schema && vs_schema_types(in->root, schema) == VS_JSON_STRING;
    bool is_tags = !is_text && bare.n && match_tag(in->p, bare.at, KEY_OPEN) == YES;
    if (!is_tags)
        return typed(in->p, in->root, schema, text);
    return in->depth < VS_LITERAL_DEPTH ? read_children(in, schema, bare) : NULL;
}

static json_t *value_of(const struct vs_parts *p, struct span text)
{
    const struct call *c = &p->call;
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

/* Where a value ends: at its closing tag, which may have the key in it. *ret_n: that tag's bytes. SIZE_MAX: not yet. */
static size_t find_value_end(struct vs_parts *p, size_t *ret_n)
{
    struct call *c = &p->call;
    struct pattern close = p->tag[VALUE_CLOSE];
    if (p->family->tags->is_nested) {
        char whole[sizeof close.text + MOST_KEY + 2];
        memcpy(whole, close.text, close.n);
        memcpy(whole + close.n, bytes(p) + c->key.at, c->key.n);
        whole[close.n + c->key.n] = '>';
        *ret_n = close.n + c->key.n + 1;
        return find(p, whole, *ret_n);
    }
    *ret_n = close.n;
    return find(p, close.text, close.n);
}

static bool step_value(struct vs_parts *p)
{
    struct call *c = &p->call;
    const struct vs_tags *tags = p->family->tags;
    size_t n_close, end = find_value_end(p, &n_close);
    if (end == SIZE_MAX)
        return false;
    struct span text = { c->from, end - c->from };
    if (tags->has_lines && text.n && bytes(p)[text.at] == '\n') {
        text.at++;
        text.n--;
    }
    if (tags->has_lines && text.n && bytes(p)[text.at + text.n - 1] == '\n')
        text.n--;
    json_t *value = value_of(p, text);
    if (!value || json_object_setn_new(c->object, bytes(p) + c->key.at, c->key.n, value) != 0)
        return fail(p, end);             /* control tokens in it: no text */
    c->phase = AT_TAG;
    c->at = end + n_close;
    return true;
}

/* ---- calls as source code ---- */

static bool is_name_byte(char ch)
{
    return ch == '_' || ch == '-' || ch == '.' || (ch >= '0' && ch <= '9') || (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z');
}

/* The name and what opens its arguments. */
static bool step_code_name(struct vs_parts *p)
{
    struct call *c = &p->call;
    const struct vs_code *code = p->family->code;
    size_t at = c->at = c->object_at = skip_space(p, c->at), n_prefix = strlen(code->prefix);
    enum match prefix = at < left(p) ? match_text(p, at, code->prefix) : PERHAPS;
    if (prefix != YES)
        return prefix == NO ? fail(p, at) : false;
    size_t from = at + n_prefix, end = from;
    while (end < left(p) && is_name_byte(bytes(p)[end]))
        end++;
    if (end - from > MOST_KEY)
        return fail(p, at);
    if (end == left(p))
        return false;
    size_t open = skip_space(p, end);
    if (open == left(p))
        return false;
    c->tool = bytes(p)[open] == code->open ? find_tool(p, bytes(p) + from, end - from) : NULL;
    if (!c->tool)
        return fail(p, at > c->said ? at : c->said);
    c->from = c->at = open + 1;
    c->code = (struct vs_literal_scan){ 0 };
    c->phase = IN_CODE;
    return true;
}

static bool step_code(struct vs_parts *p)
{
    struct call *c = &p->call;
    for (; c->at < left(p); c->at++) {
        enum vs_literal_event event = vs_literal_push(&c->code, &p->code, bytes(p)[c->at]);
        if (event == VS_LITERAL_BROKEN)
            return fail(p, c->at);
        if (event != VS_LITERAL_END)
            continue;
        json_t *object = vs_literal_arguments(&p->code, bytes(p) + c->from, c->at - c->from);
        if (!object)
            return fail(p, c->at + 1);
        bool said = say_object(p, object);
        json_decref(object);
        if (!said)
            return fail(p, c->at + 1);
        c->said = ++c->at;
        c->phase = BEHIND_CODE;
        return is_over(p) ? succeed(p, c->at) : true;
    }
    return false;
}

/* Another one, or the end of the list. */
static bool step_behind_code(struct vs_parts *p)
{
    struct call *c = &p->call;
    size_t at = skip_space(p, c->at), n = 0;
    if (at == left(p))
        return false;
    char ch = bytes(p)[at];
    enum match end = match_any(p, at, p->family->end, &n);
    if (c->in_list && ch == ']')
        return succeed(p, at + 1);
    if (end == PERHAPS)
        return false;
    if (end == YES || !p->family->code->is_list || (ch != ',' && !is_name_byte(ch)) || (!c->in_list && c->is_bare))
        return c->in_list ? fail(p, c->said) : succeed(p, c->at);
    if (!c->in_list && memchr(bytes(p) + c->at, '\n', at - c->at) == NULL)
        return succeed(p, c->at);
    c->at = ch == ',' ? at + 1 : at;
    c->object_at = skip_space(p, c->at);
    c->phase = AT_CODE;
    return true;
}

/* ---- a call's beginning ---- */

static bool step_marks(struct vs_parts *p)
{
    struct call *c = &p->call;
    const struct vs_family *f = p->family;
    size_t n = 0, at = skip_space(p, c->at);
    c->at = at;
    if (at == left(p))
        return false;
    if (!c->is_bare && !c->has_begun) {
        enum match begin = match_any(p, at, f->begin, &n);
        enum match m = begin == YES ? YES : match_any(p, at, f->section, &n);
        if (m != YES)
            return m == NO && begin == NO ? fail(p, at) : false;
        c->has_begun = begin == YES;
        c->at = c->behind = at + n;
        return true;
    }
    char first = bytes(p)[at];
    size_t inner = first == '[' ? skip_space(p, at + 1) : at;
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
        return fail(p, at);
    return true;
}

static bool step_call(struct vs_parts *p)
{
    static bool (*const steps[])(struct vs_parts *p) = {
        [MARKS] = step_marks, [IN_JSON] = step_json, [IN_HEADER] = step_header, [IN_ARGUMENTS] = step_arguments,
        [IN_NAME] = step_name, [IN_ATTRIBUTES] = step_attributes, [AT_TAG] = step_tag, [IN_KEY] = step_key,
        [AT_VALUE] = step_at_value, [IN_VALUE] = step_value,
        [AT_CODE] = step_code_name, [IN_CODE] = step_code, [BEHIND_CODE] = step_behind_code,
    };
    return steps[p->call.phase](p);
}

/* ---- the states ---- */

/* Says what surely belongs to `part`. Stops at one of the marks (YES; what stands before it is said but for white space, which
 * is still there), or where one may begin. */
static enum match say_until(struct vs_parts *p, uint32_t part, const uint8_t *a, const uint8_t *b, size_t *ret_at, size_t *ret_n)
{
    enum match m = NO;
    size_t n = left(p);
    for (; p->look < n; p->look++) {
        if (is_space(bytes(p)[p->look]))
            continue;
        m = match_any(p, p->look, a, ret_n);
        if (m != YES && b) {
            enum match other = match_any(p, p->look, b, ret_n);
            m = other > m ? other : m;
        }
        if (m != NO)
            break;
        p->solid = p->look + 1;
    }
    size_t solid = p->solid;
    say(p, part, solid);
    p->look -= solid;
    p->solid = 0;
    *ret_at = p->look;
    return m;
}

static bool step_start(struct vs_parts *p)
{
    const struct vs_think *think = p->config.style.think;
    size_t at = p->look = skip_space(p, p->look);
    if (think) {
        enum match m = at < left(p) ? match_mark(p, at, think->open) : PERHAPS;
        if (m == PERHAPS)
            return false;
        if (m == YES) {
            p->done += at + p->pattern[think->open].n;
            enter(p, THINK);
            return true;
        }
    }
    enter(p, FIRST);
    return true;
}

static bool step_think(struct vs_parts *p)
{
    const uint8_t close[] = { p->config.style.think->close, NO_MARK };
    size_t at, n = 0;
    if (p->part != VS_PART_REASONING) {    /* white space behind the mark is not said */
        p->done += skip_space(p, 0);
        if (!left(p))
            return false;
        p->part = VS_PART_REASONING;
    }
    if (say_until(p, VS_PART_REASONING, close, NULL, &at, &n) != YES)
        return false;
    p->done += at + n;
    enter(p, AFTER_THINK);
    return true;
}

static bool step_after_think(struct vs_parts *p)
{
    p->done += skip_space(p, 0);
    if (!left(p))
        return false;
    enter(p, FIRST);
    return true;
}

/* Marks in front of content, each but once, and white space behind them. False: more is needed. */
static bool drop_openers(struct vs_parts *p)
{
    const struct vs_wrap *wrap = p->config.style.wrap;
    size_t n = 0;
    for (enum match m = YES; wrap && m == YES;) {
        size_t at = skip_space(p, 0);
        m = p->n_openers == VS_MOST_MARKS ? NO : at < left(p) ? match_any(p, at, wrap->open, &n) : PERHAPS;
        if (m == PERHAPS)
            return false;
        p->done += m == YES ? at + n : p->n_openers ? at : 0;
        p->n_openers += m == YES;
    }
    return true;
}

static bool step_first(struct vs_parts *p)
{
    const struct vs_family *f = p->family;
    if (f && f->is_channels) {
        enter(p, HEADER);
        return true;
    }
    if (!p->look && !drop_openers(p))
        return false;
    if (f && f->is_bare) {
        size_t at = p->look = skip_space(p, p->look);
        if (at == left(p))
            return false;
        if (bytes(p)[at] == '{' || bytes(p)[at] == '[') {
            begin_call(p, at, true);
            return true;
        }
    }
    enter(p, CONTENT);
    return true;
}

static bool step_content(struct vs_parts *p)
{
    size_t at, n = 0;
    if (!p->family && p->closers[0] == NO_MARK) {
        say(p, VS_PART_CONTENT, left(p));
        return false;
    }
    if (say_until(p, VS_PART_CONTENT, p->stop, p->n_openers || p->has_control_closers ? p->closers : NULL, &at, &n) != YES)
        return false;
    if (match_any(p, at, p->closers, &n) != YES) {
        begin_call(p, at, false);
        return true;
    }
    p->done += at + n;
    enter(p, CONTENT);
    return true;
}

/* Between calls: marks of ends, a ; or a comma between bare ones. */
static bool step_after_call(struct vs_parts *p)
{
    const struct vs_family *f = p->family;
    size_t n = 0, at = skip_space(p, 0), next;
    p->done += at;
    if (!left(p))
        return false;
    enum match end = match_any(p, 0, f->end, &n), tail = f->tail ? match(p, 0, p->tail.text, p->tail.n) : NO;
    if (end != YES && tail == YES)
        n = p->tail.n;
    end = tail > end ? tail : end;
    if (end == YES) {
        p->done += n;
        return true;
    }
    enum match begin = match_any(p, 0, f->begin, &n), section = match_any(p, 0, f->section, &n);
    if (begin == YES || section == YES) {
        begin_call(p, 0, false);
        return true;
    }
    if (end == PERHAPS || begin == PERHAPS || section == PERHAPS)
        return false;
    char c = bytes(p)[0];
    bool may_repeat = p->last_was_bare || f->is_repeated;
    next = may_repeat && (c == ';' || c == ',') ? skip_space(p, 1) : 0;
    if (may_repeat && next == left(p))
        return false;
    if (may_repeat && (bytes(p)[next] == '{')) {
        p->done += next;
        begin_call(p, 0, true);
        return true;
    }
    enter(p, CONTENT);
    return true;
}

/* ---- messages with headers: <|start|>ROLE<|channel|>NAME to=functions.TOOL <|constrain|>json<|message|>TEXT<|end|> ---- */

static const uint8_t header_marks[] = { VS_MARK_START, VS_MARK_CHANNEL, NO_MARK };
static const uint8_t message_marks[] = { VS_MARK_END, VS_MARK_START, VS_MARK_CHANNEL, VS_MARK_END_OF_CALL, NO_MARK };

static struct span word_after(const struct vs_parts *p, size_t n, const char *prefix, size_t *ret_at)
{
    size_t n_prefix = strlen(prefix);
    for (struct span w = next_word(p, 0, n); w.n; w = next_word(p, w.at + w.n, n))
        if (w.n > n_prefix && memcmp(bytes(p) + w.at, prefix, n_prefix) == 0) {
            *ret_at = w.at + n_prefix;
            return (struct span){ w.at + n_prefix, w.n - n_prefix };
        }
    return (struct span){ 0 };
}

static bool has_word(const struct vs_parts *p, size_t n, const char *word)
{
    for (struct span w = next_word(p, 0, n); w.n; w = next_word(p, w.at + w.n, n))
        if (is_word(p, w, word))
            return true;
    return false;
}

static bool step_message_header(struct vs_parts *p)
{
    size_t n = 0, at = p->look = skip_space(p, p->look), end = at;
    if (at == left(p))
        return false;
    enum match m = match_any(p, at, header_marks, &n), to_whom = match_text(p, at, "to=");
    m = to_whom > m ? to_whom : m;       /* the prompt has begun the header */
    if (m == PERHAPS)
        return false;
    if (m == NO) {                       /* no header: the text itself */
        if (match_any(p, at, message_marks, &n) == YES) {
            p->done += at + n;
            return true;
        }
        p->part = VS_PART_CONTENT;
        enter(p, MESSAGE);
        return true;
    }
    while (end < left(p) && match_mark(p, end, VS_MARK_MESSAGE) == NO)
        end++;
    if (end - at > MOST_HEADER) {
        p->part = VS_PART_CONTENT;
        p->done += at + n;
        enter(p, MESSAGE);
        return true;
    }
    if (end == left(p) || match_mark(p, end, VS_MARK_MESSAGE) == PERHAPS)
        return false;
    size_t tool_at;
    struct span to = word_after(p, end, "to=", &tool_at);
    const json_t *tool = to.n ? tool_of_word(p, bytes(p) + to.at, to.n) : NULL;
    p->part = has_word(p, end, "analysis") ? VS_PART_REASONING : VS_PART_CONTENT;
    end += p->pattern[VS_MARK_MESSAGE].n;
    if (tool && p->config.tools) {
        begin_call(p, end, false);
        p->call.said = end;              /* the header is no text */
        p->call.phase = IN_ARGUMENTS;
        p->call.from = end;
        p->call.tool = tool;
        return true;
    }
    p->done += end;
    enter(p, MESSAGE);
    return true;
}

static bool step_message(struct vs_parts *p)
{
    size_t at, n = 0;
    if (say_until(p, p->part, message_marks, NULL, &at, &n) != YES)
        return false;
    p->done += at;
    enter(p, HEADER);
    return true;
}

static bool (*const steps[])(struct vs_parts *p) = {
    [START] = step_start, [THINK] = step_think, [AFTER_THINK] = step_after_think, [FIRST] = step_first, [CONTENT] = step_content,
    [CALL] = step_call, [AFTER_CALL] = step_after_call, [HEADER] = step_message_header, [MESSAGE] = step_message,
};

/* ---- what a family writes, as it stands in our bytes ---- */

static void spell(const struct vs_parts *p, const char *text, struct pattern *ret)
{
    for (ret->n = 0; *text && ret->n + VS_MARK_CODE <= sizeof ret->text;) {
        unsigned m = p->has_control ? vs_mark_at(text, p->config.is_control) : VS_N_MARKS;
        if (m < VS_N_MARKS)
            vs_mark_code((enum vs_mark)m, ret->text + ret->n);
        else
            ret->text[ret->n] = *text;
        ret->n += m < VS_N_MARKS ? VS_MARK_CODE : 1;
        text += m < VS_N_MARKS ? strlen(vs_mark_text[m]) : 1;
    }
}

static void spell_tags(struct vs_parts *p, const struct vs_tags *tags)
{
    const char *const text[N_TAGS] = {
        [NAME_END] = tags->name_end, [NAME_TAIL] = tags->name_tail, [KEY_OPEN] = tags->key_open, [KEY_CLOSE] = tags->key_close,
        [VALUE_OPEN] = tags->value_open, [VALUE_CLOSE] = tags->value_close, [TAGS_END] = tags->end,
    };
    for (size_t i = 0; i < N_TAGS; i++)
        spell(p, text[i], &p->tag[i]);
}

static void spell_code(struct vs_parts *p, const struct vs_code *code)
{
    p->code = (struct vs_literal_form){ .open = code->open, .is = code->is, .close = code->close };
    if (code->quote == NO_MARK)
        return;
    p->code.n_quote = p->pattern[code->quote].n;
    memcpy(p->code.quote, p->pattern[code->quote].text, p->code.n_quote);
}

static size_t add_marks(uint8_t *list, size_t n, const uint8_t *marks)
{
    for (; *marks != NO_MARK; marks++)
        list[n++] = *marks;
    list[n] = NO_MARK;
    return n;
}

/* The marks that content is looked through for. */
static void list_marks(struct vs_parts *p)
{
    const struct vs_wrap *wrap = p->config.style.wrap;
    p->stop[0] = p->closers[0] = NO_MARK;
    if (p->family)
        add_marks(p->stop, add_marks(p->stop, 0, p->family->begin), p->family->section);
    if (wrap)
        add_marks(p->closers, 0, wrap->close);
    p->n_openers = wrap && wrap->open[0] == NO_MARK;
    for (const uint8_t *mark = p->closers; *mark != NO_MARK; mark++)
        p->has_control_closers |= !p->config.shows_control && memchr(p->pattern[*mark].text, CONTROL, p->pattern[*mark].n);
}

/* ---- from outside ---- */

int vs_parts_create(const struct vs_parts_config *config, struct vs_parts **ret)
{
    struct vs_parts *p = calloc(1, sizeof *p);
    if (!p)
        return VS_E_NOMEM;
    p->config = *config;
    /* Messages have headers whether there are tools or not. */
    if (json_array_size(config->tools) || config->style.family->is_channels)
        p->family = config->style.family;
    p->has_control = memchr(config->is_control, true, sizeof config->is_control) != NULL;
    for (size_t i = 0; i < VS_N_MARKS; i++)
        spell(p, vs_mark_text[i], &p->pattern[i]);
    if (p->family && p->family->tail)
        spell(p, p->family->tail, &p->tail);
    if (p->family && p->family->tags)
        spell_tags(p, p->family->tags);
    if (p->family && p->family->code)
        spell_code(p, p->family->code);
    list_marks(p);
    p->state = config->in_content ? config->style.family->is_channels ? MESSAGE : CONTENT : config->is_open ? THINK : START;
    *ret = p;
    return VS_OK;
}

void vs_parts_free(struct vs_parts *p)
{
    if (!p)
        return;
    drop_call(p);
    vs_buf_clear(&p->in);
    vs_buf_clear(&p->said.text);
    free(p->said.piece);
    free(p);
}

static int go_on(struct vs_parts *p)
{
    if (p->in.status != VS_OK)
        p->status = p->in.status;
    while (p->status == VS_OK && !is_over(p) && left(p) && steps[p->state](p)) { }
    if (p->done && p->status == VS_OK) {
        vs_buf_drop(&p->in, p->done);
        p->dropped += p->done;
        p->done = 0;
    }
    return p->status;
}

int vs_parts_push(struct vs_parts *p, const char *text, size_t n)
{
    if (is_over(p) || !n)
        return p->status;
    vs_buf_add(&p->in, text, n);
    return go_on(p);
}

int vs_parts_push_mark(struct vs_parts *p, enum vs_mark mark)
{
    char code[VS_MARK_CODE];
    vs_mark_code(mark, code);
    return vs_parts_push(p, code, sizeof code);
}

int vs_parts_finish(struct vs_parts *p)
{
    if (is_over(p) || p->status != VS_OK || !left(p))
        return p->status;
    size_t at = skip_space(p, 0);
    bool is_empty = at == left(p) && (p->n_calls || p->state == AFTER_THINK);
    if (p->state == CALL && p->call.told)
        say_plain(p, VS_PART_CALL + p->n_calls - 1, bytes(p) + p->call.told, left(p) - p->call.told);
    else if (p->state == CALL)
        fail(p, left(p));
    else if (p->state == THINK)
        say(p, VS_PART_REASONING, left(p));
    else if (p->state == MESSAGE)
        say(p, p->part, left(p));
    else if (p->state != HEADER && !is_empty)
        say(p, VS_PART_CONTENT, left(p));
    p->done = p->in.n;
    return p->status;
}

/* Where what is held to its form begins; SIZE_MAX: nothing is under way that surely is a call. */
static size_t held_from(const struct vs_parts *p)
{
    const struct call *c = &p->call;
    const struct vs_family *f = p->family;
    bool knows = !c->is_bare || c->tool;
    if (p->state != CALL)
        return SIZE_MAX;
    if (c->phase == AT_CODE || c->phase == IN_CODE || (c->phase == MARKS && f->code && c->in_list))
        return f->form.tags && (!c->is_bare || c->phase == IN_CODE) ? c->object_at : SIZE_MAX;
    if (c->phase == IN_JSON)
        return !f->form.tags && c->has_object && knows ? c->object_at : SIZE_MAX;
    if (f->is_channels)
        return c->from;
    bool is_list = f->code && f->code->is_list;      /* its bracket stands in front of what is held */
    return c->has_begun && !f->keys && !is_list ? c->behind : SIZE_MAX;
}

const char *vs_parts_call(const struct vs_parts *p, size_t *ret_n)
{
    size_t from = held_from(p);
    if (from == SIZE_MAX)
        return NULL;
    *ret_n = left(p) - from;
    return bytes(p) + from;
}

const char *vs_parts_call_name(const struct vs_parts *p)
{
    return p->state == CALL && p->family->is_channels ? json_string_value(json_object_get(p->call.tool, "name")) : NULL;
}

void vs_parts_trust(struct vs_parts *p)
{
    p->call.is_sure = true;
}

const struct vs_pieces *vs_parts_said(const struct vs_parts *p)
{
    return &p->said;
}

void vs_parts_reset(struct vs_parts *p)
{
    p->said.n = 0;
    vs_buf_reset(&p->said.text);
}

bool vs_parts_is_reasoning(const struct vs_parts *p)
{
    return p->state == THINK;
}

uint32_t vs_parts_n_calls(const struct vs_parts *p)
{
    return p->n_calls;
}

bool vs_parts_is_over(const struct vs_parts *p)
{
    return is_over(p);
}
