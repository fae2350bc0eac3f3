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

#include "parts/parser.h"

#include <stdlib.h>
#include <string.h>

void vs_parts_enter(struct vs_parts *p, enum vs_parts_state state)
{
    p->state = state;
    p->look = p->solid = 0;
}

/* ---- the states ---- */

/* Says what surely belongs to `part`. Stops at one of the marks (YES; what stands before it is said but for white space, which
 * is still there), or where one may begin. */
static enum vs_match say_until(struct vs_parts *p, uint32_t part, const uint8_t *a, const uint8_t *b, size_t *ret_at, size_t *ret_n)
{
    enum vs_match m = NO;
    size_t n = left(p);
    for (; p->look < n; p->look++) {
        if (is_space(bytes(p)[p->look]))
            continue;
        m = vs_look_any(p, p->look, a, ret_n);
        if (m != YES && b) {
            enum vs_match other = vs_look_any(p, p->look, b, ret_n);
            m = other > m ? other : m;
        }
        if (m != NO)
            break;
        p->solid = p->look + 1;
    }
    size_t solid = p->solid;
    vs_parts_say(p, part, solid);
    p->look -= solid;
    p->solid = 0;
    *ret_at = p->look;
    return m;
}

static bool step_start(struct vs_parts *p)
{
    const struct vs_think *think = p->config.style.think;
    size_t at = p->look = vs_look_space(p, p->look);
    if (think) {
        enum vs_match m = at < left(p) ? match_mark(p, at, think->open) : PERHAPS;
        if (m == PERHAPS)
            return false;
        if (m == YES) {
            p->done += at + p->pattern[think->open].n;
            vs_parts_enter(p, THINK);
            return true;
        }
    }
    vs_parts_enter(p, FIRST);
    return true;
}

static bool step_think(struct vs_parts *p)
{
    const uint8_t close[] = { p->config.style.think->close, NO_MARK };
    size_t at, n = 0;
    if (p->part != VS_PART_REASONING) {    /* white space behind the mark is not said */
        p->done += vs_look_space(p, 0);
        if (!left(p))
            return false;
        p->part = VS_PART_REASONING;
    }
    if (say_until(p, VS_PART_REASONING, close, NULL, &at, &n) != YES)
        return false;
    p->done += at + n;
    vs_parts_enter(p, AFTER_THINK);
    return true;
}

static bool step_after_think(struct vs_parts *p)
{
    p->done += vs_look_space(p, 0);
    if (!left(p))
        return false;
    vs_parts_enter(p, FIRST);
    return true;
}

/* Marks in front of content, each but once, and white space behind them. False: more is needed. */
static bool drop_openers(struct vs_parts *p)
{
    const struct vs_wrap *wrap = p->config.style.wrap;
    size_t n = 0;
    for (enum vs_match m = YES; wrap && m == YES;) {
        size_t at = vs_look_space(p, 0);
        m = p->n_openers == VS_MOST_MARKS ? NO : at < left(p) ? vs_look_any(p, at, wrap->open, &n) : PERHAPS;
        if (m == PERHAPS)
            return false;
        p->done += m == YES ? at + n : p->n_openers ? at : 0;
        p->n_openers += m == YES;
    }
    return true;
}

/* A bare call: alone, in a fence, as models write JSON for readers, or in braces, since some templates show the form of calls as
 * {{"name": ...}}. */
static enum vs_match begin_bare(struct vs_parts *p, size_t at)
{
    size_t object = at;
    bool is_plain = bytes(p)[at] == '{' || bytes(p)[at] == '[';
    enum vs_match m = is_plain ? YES : p->family->keys ? vs_look_fence(p, at, &object) : NO;
    if (m != YES)
        return m;
    bool is_braced = bytes(p)[object] == '{' && p->family->keys;
    if (is_braced && object + 1 == left(p))
        return PERHAPS;
    is_braced = is_braced && bytes(p)[object + 1] == '{';
    vs_call_begin(p, object + is_braced, true);
    p->call.is_fenced = !is_plain;
    p->call.is_braced = is_braced;
    return YES;
}

static bool step_first(struct vs_parts *p)
{
    const struct vs_family *f = p->family;
    if (f && f->is_channels) {
        vs_parts_enter(p, HEADER);
        return true;
    }
    if (!p->look && !drop_openers(p))
        return false;
    if (f && f->is_bare) {
        size_t at = p->look = vs_look_space(p, p->look);
        if (at == left(p))
            return false;
        enum vs_match m = begin_bare(p, at);
        if (m != NO)
            return m == YES;
    }
    vs_parts_enter(p, CONTENT);
    return true;
}

static bool step_content(struct vs_parts *p)
{
    size_t at, n = 0;
    if (!p->family && p->closers[0] == NO_MARK) {
        vs_parts_say(p, VS_PART_CONTENT, left(p));
        return false;
    }
    if (say_until(p, VS_PART_CONTENT, p->stop, p->n_openers || p->has_control_closers ? p->closers : NULL, &at, &n) != YES)
        return false;
    if (vs_look_any(p, at, p->closers, &n) != YES) {
        vs_call_begin(p, at, false);
        return true;
    }
    p->done += at + n;
    vs_parts_enter(p, CONTENT);
    return true;
}

/* Between calls: marks of ends, a ; or a comma between bare ones, the end of their fence and another one. */
static bool step_after_call(struct vs_parts *p)
{
    const struct vs_family *f = p->family;
    size_t n = 0, at = vs_look_space(p, 0), next;
    p->done += at;
    if (!left(p))
        return false;
    enum vs_match end = vs_look_any(p, 0, f->end, &n), tail = f->tail ? vs_look_match(p, 0, p->tail.text, p->tail.n) : NO;
    if (end != YES && tail == YES)
        n = p->tail.n;
    end = tail > end ? tail : end;
    if (end == YES) {
        p->done += n;
        return true;
    }
    enum vs_match begin = vs_look_any(p, 0, f->begin, &n), section = vs_look_any(p, 0, f->section, &n);
    if (begin == YES || section == YES) {
        vs_call_begin(p, 0, false);
        return true;
    }
    if (end == PERHAPS || begin == PERHAPS || section == PERHAPS)
        return false;
    char c = bytes(p)[0];
    if (p->in_brace && c == '}') {
        p->in_brace = false;
        p->done++;
        return true;
    }
    enum vs_match fence = p->in_fence ? match_mark(p, 0, VS_MARK_FENCE) : NO;
    if (fence == YES) {
        p->in_fence = false;
        p->done += p->pattern[VS_MARK_FENCE].n;
        return true;
    }
    bool may_repeat = p->last_was_bare || f->is_repeated;
    next = may_repeat && (c == ';' || c == ',') ? vs_look_space(p, 1) : 0;
    if (fence == PERHAPS || (may_repeat && next == left(p)))
        return false;
    if (may_repeat && (bytes(p)[next] == '{' || (p->last_was_bare && bytes(p)[next] != '['))) {
        enum vs_match m = begin_bare(p, next);
        if (m != NO)
            return m == YES;
    }
    vs_parts_enter(p, CONTENT);
    return true;
}

/* ---- messages with headers: <|start|>ROLE<|channel|>NAME to=functions.TOOL <|constrain|>json<|message|>TEXT<|end|> ---- */

static const uint8_t header_marks[] = { VS_MARK_START, VS_MARK_CHANNEL, NO_MARK };
static const uint8_t message_marks[] = { VS_MARK_END, VS_MARK_START, VS_MARK_CHANNEL, VS_MARK_END_OF_CALL, NO_MARK };

static struct vs_span word_after(const struct vs_parts *p, size_t n, const char *prefix, size_t *ret_at)
{
    size_t n_prefix = strlen(prefix);
    for (struct vs_span w = vs_look_word(p, 0, n); w.n; w = vs_look_word(p, w.at + w.n, n))
        if (w.n > n_prefix && memcmp(bytes(p) + w.at, prefix, n_prefix) == 0) {
            *ret_at = w.at + n_prefix;
            return (struct vs_span){ w.at + n_prefix, w.n - n_prefix };
        }
    return (struct vs_span){ 0 };
}

static bool has_word(const struct vs_parts *p, size_t n, const char *word)
{
    for (struct vs_span w = vs_look_word(p, 0, n); w.n; w = vs_look_word(p, w.at + w.n, n))
        if (vs_look_is(p, w, word))
            return true;
    return false;
}

static bool step_message_header(struct vs_parts *p)
{
    size_t n = 0, at = p->look = vs_look_space(p, p->look), end = at;
    if (at == left(p))
        return false;
    enum vs_match m = vs_look_any(p, at, header_marks, &n), to_whom = vs_look_match(p, at, "to=", 3);
    m = to_whom > m ? to_whom : m;       /* the prompt has begun the header */
    if (m == PERHAPS)
        return false;
    if (m == NO) {                       /* no header: the text itself */
        if (vs_look_any(p, at, message_marks, &n) == YES) {
            p->done += at + n;
            return true;
        }
        p->part = VS_PART_CONTENT;
        vs_parts_enter(p, MESSAGE);
        return true;
    }
    while (end < left(p) && match_mark(p, end, VS_MARK_MESSAGE) == NO)
        end++;
    if (end - at > MOST_HEADER) {
        p->part = VS_PART_CONTENT;
        p->done += at + n;
        vs_parts_enter(p, MESSAGE);
        return true;
    }
    if (end == left(p) || match_mark(p, end, VS_MARK_MESSAGE) == PERHAPS)
        return false;
    size_t tool_at;
    struct vs_span to = word_after(p, end, "to=", &tool_at);
    const json_t *tool = to.n ? vs_tool_of_word(p, bytes(p) + to.at, to.n) : NULL;
    p->part = has_word(p, end, "analysis") ? VS_PART_REASONING : VS_PART_CONTENT;
    end += p->pattern[VS_MARK_MESSAGE].n;
    if (tool && p->config.tools) {
        vs_call_begin(p, end, false);
        p->call.said = end;              /* the header is no text */
        p->call.phase = IN_ARGUMENTS;
        p->call.from = end;
        p->call.tool = tool;
        return true;
    }
    p->done += end;
    vs_parts_enter(p, MESSAGE);
    return true;
}

static bool step_message(struct vs_parts *p)
{
    size_t at, n = 0;
    if (say_until(p, p->part, message_marks, NULL, &at, &n) != YES)
        return false;
    p->done += at;
    vs_parts_enter(p, HEADER);
    return true;
}

static bool (*const steps[])(struct vs_parts *p) = {
    [START] = step_start, [THINK] = step_think, [AFTER_THINK] = step_after_think, [FIRST] = step_first, [CONTENT] = step_content,
    [CALL] = vs_call_step, [AFTER_CALL] = step_after_call, [HEADER] = step_message_header, [MESSAGE] = step_message,
};

/* ---- what a family writes, as it stands in our bytes ---- */

static void spell(const struct vs_parts *p, const char *text, struct vs_pattern *ret)
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
    vs_call_drop(p);
    vs_buf_clear(&p->in);
    vs_buf_clear(&p->said.text);
    free(p->said.piece);
    free(p);
}

static int go_on(struct vs_parts *p)
{
    if (p->in.status != VS_OK)
        p->status = p->in.status;
    while (p->status == VS_OK && !vs_parts_is_over(p) && left(p) && steps[p->state](p)) { }
    if (p->done && p->status == VS_OK) {
        vs_buf_drop(&p->in, p->done);
        p->dropped += p->done;
        p->done = 0;
    }
    return p->status;
}

int vs_parts_push(struct vs_parts *p, const char *text, size_t n)
{
    if (vs_parts_is_over(p) || !n)
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
    if (vs_parts_is_over(p) || p->status != VS_OK || !left(p))
        return p->status;
    size_t at = vs_look_space(p, 0);
    bool is_empty = at == left(p) && (p->n_calls || p->state == AFTER_THINK);
    if (p->state == CALL && p->call.told)
        vs_parts_say_plain(p, VS_PART_CALL + p->n_calls - 1, bytes(p) + p->call.told, left(p) - p->call.told);
    else if (p->state == CALL)
        vs_call_fail(p, left(p));
    else if (p->state == THINK)
        vs_parts_say(p, VS_PART_REASONING, left(p));
    else if (p->state == MESSAGE)
        vs_parts_say(p, p->part, left(p));
    else if (p->state != HEADER && !is_empty)
        vs_parts_say(p, VS_PART_CONTENT, left(p));
    p->done = p->in.n;
    return p->status;
}

/* Where what is held to its form begins; SIZE_MAX: nothing is under way that surely is a call. */
static size_t held_from(const struct vs_parts *p)
{
    const struct vs_call *c = &p->call;
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
    return p->config.is_single && p->n_calls && !(p->state == CALL && p->call.told);
}
