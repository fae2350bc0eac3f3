/* prog/guard/input.c - what a request brings, through the policy: every text of its body, wherever it stands, with the zone that it
 * comes from.
 *
 *     messages    `zone` of the message or of the part; else by role: system and developer are system, tool is tool, others user
 *     documents   retrieved        tools    tool        system    system        all else    user
 *
 * Of all texts together input.max_bytes are looked at. Where something may be refused or replaced, a request with more is
 * refused. */
#include "prog/guard/guard.h"

#include "ipc/json.h"

#include <stdio.h>
#include <string.h>

enum { SHORTEST = 4 };                  /* bytes of a text in which something can be found */

struct texts {
    struct pass *p;
    char in[IN_BYTES];
    uint64_t n, most;                   /* bytes that were looked at, that may be */
    bool changed, blocked, is_too_long;
    bool failed;                        /* there was no memory for what is in place of a text */
};

const char *const zone_names[VS_N_ZONES] = {
#define ZONE_NAME(name, text) text,
    VS_ZONE_MAP(ZONE_NAME)
};

bool zone_named(const json_t *value, enum vs_zone *ret)
{
    for (unsigned i = 0; json_is_string(value) && i < VS_N_ZONES; i++)
        if (strcmp(json_string_value(value), zone_names[i]) == 0) {
            *ret = (enum vs_zone)i;
            return true;
        }
    return false;
}

static enum vs_zone zone_of_role(const json_t *role)
{
    const char *name = json_is_string(role) ? json_string_value(role) : "";
    return strcmp(name, "system") == 0 || strcmp(name, "developer") == 0 ? VS_ZONE_SYSTEM
         : strcmp(name, "tool") == 0                                     ? VS_ZONE_TOOL
                                                                         : VS_ZONE_USER;
}

/* Of a key of the body. */
static enum vs_zone zone_of_key(const char *key)
{
    static const struct { const char *key; enum vs_zone zone; } keys[] = {
        { "system", VS_ZONE_SYSTEM }, { "documents", VS_ZONE_RETRIEVED }, { "tools", VS_ZONE_TOOL },
    };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (strcmp(keys[i].key, key) == 0)
            return keys[i].zone;
    return VS_ZONE_USER;
}

/* What is wrong with a name can't be replaced: one in which something is found that may not pass refuses all. */
static void name(struct texts *w, const char *key, enum vs_zone zone)
{
    bool changed = false;
    size_t n = strlen(key);
    if (in_is_word(key) || n < SHORTEST || w->is_too_long)
        return;
    w->is_too_long = n > w->most - w->n;
    w->n += w->is_too_long ? w->most - w->n : n;
    w->blocked |= !screen_injection(w->p->screen, zone, key, n, w->in, &w->p->verdict);
    w->blocked |= !screen_text(w->p->screen, SIDE_INPUT, key, n, w->in, &w->p->verdict, NULL, &changed) || changed;
}

/* An expression or a grammar that answers must keep: changed, it would stand for something else. */
static bool is_form(const char *in)
{
    static const char *const ends[] = { ".regex", ".grammar", ".pattern" };
    size_t n = strlen(in);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (n > strlen(ends[i]) && strcmp(in + n - strlen(ends[i]), ends[i]) == 0)
            return strncmp(in, "constraint", 10) == 0 || strncmp(in, "tools", 5) == 0;
    return false;
}

/* A string in place of another; NULL: it stays. */
static json_t *text(struct texts *w, const json_t *value, enum vs_zone zone)
{
    size_t n = json_string_length(value);
    struct vs_buf out = { 0 };
    bool changed = false;
    json_t *fresh = NULL;
    if (n < SHORTEST || w->is_too_long)
        return NULL;
    if (n > w->most - w->n) {
        w->is_too_long = true;
        n = (size_t)(w->most - w->n);
    }
    w->n += n;
    if (zone == VS_ZONE_SYSTEM && w->p->screen->policy.output.system_prompt != VS_POLICY_OFF) {
        vs_buf_add(&w->p->system, json_string_value(value), n);
        vs_buf_char(&w->p->system, '\n');
    }
    w->blocked |= !screen_injection(w->p->screen, zone, json_string_value(value), n, w->in, &w->p->verdict);
    w->blocked |= !screen_text(w->p->screen, SIDE_INPUT, json_string_value(value), n, w->in, &w->p->verdict, &out, &changed)
                  || out.status != VS_OK;
    w->blocked |= changed && is_form(w->in);
    if (changed)
        fresh = vs_json_text(out.data ? out.data : "", out.n);
    w->changed |= changed;
    w->failed |= changed && !fresh;
    vs_buf_clear(&out);
    return fresh;
}

static void walk(struct texts *w, json_t *value, enum vs_zone zone);

/* Arguments of a call may be a text that holds JSON. The template gets the value, so that is what is looked at. */
static json_t *arguments(struct texts *w, const json_t *text, enum vs_zone zone)
{
    struct vs_buf out = { 0 };
    bool before = w->changed;
    json_t *fresh = NULL, *value = vs_json_parse(json_string_value(text), json_string_length(text), NULL);
    w->changed = false;
    walk(w, value, zone);
    if (w->changed) {
        vs_json_dump(value, &out);
        fresh = out.status == VS_OK ? vs_json_text(out.data, out.n) : NULL;
        w->failed |= !fresh;
    }
    w->changed |= before;
    vs_buf_clear(&out);
    json_decref(value);
    return fresh;
}

static void member(struct texts *w, json_t *object, const char *key, json_t *value, enum vs_zone zone)
{
    json_t *fresh;
    size_t n = in_add(w->in, key);
    if (!json_is_string(value))
        walk(w, value, zone);
    else if (strcmp(key, "arguments") == 0 && (fresh = arguments(w, value, zone)))
        json_object_set_new(object, key, fresh);
    else if ((fresh = text(w, value, zone)))
        json_object_set_new(object, key, fresh);
    w->in[n] = 0;
}

static void entry(struct texts *w, json_t *list, size_t i, json_t *value, enum vs_zone zone)
{
    json_t *fresh;
    size_t n = strlen(w->in);
    snprintf(w->in + n, sizeof w->in - n, "[%zu]", i);
    if (!json_is_string(value))
        walk(w, value, zone);
    else if ((fresh = text(w, value, zone)))
        json_array_set_new(list, i, fresh);
    w->in[n] = 0;
}

static void walk(struct texts *w, json_t *value, enum vs_zone zone)
{
    const char *key;
    json_t *inner;
    void *next;
    size_t i;
    json_object_foreach_safe(value, next, key, inner) {
        name(w, key, zone);
        member(w, value, key, inner, zone);
    }
    json_array_foreach(value, i, inner)
        entry(w, value, i, inner, zone);
}

/* ---- messages ---- */

/* The parts of a content become one text in the prompt, with a line feed between them or without. */
static bool join(const json_t *parts, const char *between, struct vs_buf *ret_text, struct vs_buf *ret_borders)
{
    const json_t *part;
    size_t i, n = 0;
    json_array_foreach(parts, i, part) {
        const json_t *said = json_object_get(part, "text");
        if (!json_is_string(said))
            continue;
        if (n++)
            vs_buf_str(ret_text, between);
        vs_buf_add(ret_borders, &ret_text->n, sizeof ret_text->n);
        vs_buf_add(ret_text, json_string_value(said), json_string_length(said));
    }
    return n > 1;
}

/* What is found across parts has no text that could be replaced. */
static void look_across(struct texts *w, const json_t *parts, enum vs_zone zone, const char *between)
{
    struct vs_buf text = { 0 }, borders = { 0 };
    struct screen *s = w->p->screen;
    if (join(parts, between, &text, &borders) && text.n <= w->most) {
        w->blocked |= !screen_injection(s, zone, text.data, text.n, w->in, &w->p->verdict);
        w->blocked |= !screen_across(s, SIDE_INPUT, text.data, text.n, (const size_t *)(const void *)borders.data,
                                     borders.n / sizeof(size_t), w->in, &w->p->verdict);
    }
    w->failed |= text.status != VS_OK || borders.status != VS_OK;
    vs_buf_clear(&text);
    vs_buf_clear(&borders);
}

static enum vs_zone zone_said(const json_t *by, enum vs_zone zone)
{
    zone_named(json_object_get(by, "zone"), &zone);
    return zone;
}

static void walk_parts(struct texts *w, json_t *parts, enum vs_zone zone)
{
    size_t n = in_add(w->in, "content"), i;
    enum vs_zone least = zone, own;      /* trusted */
    json_t *part;
    json_array_foreach(parts, i, part) {
        own = zone_said(part, zone);
        least = own > least ? own : least;
        entry(w, parts, i, part, own);
    }
    if (!w->is_too_long && !w->blocked) {
        look_across(w, parts, least, "");
        look_across(w, parts, least, "\n");
    }
    w->in[n] = 0;
}

/* A message and a part of its content say their zone. Nothing deeper does: an argument of a call, say, is the model's word. */
static void walk_message(struct texts *w, json_t *message, enum vs_zone zone)
{
    const char *key;
    json_t *inner;
    void *next;
    json_object_foreach_safe(message, next, key, inner) {
        name(w, key, zone);
        if (strcmp(key, "content") == 0 && json_is_array(inner))
            walk_parts(w, inner, zone);
        else
            member(w, message, key, inner, zone);
    }
}

enum vs_zone zone_of_message(const json_t *message)
{
    return zone_said(message, zone_of_role(json_object_get(message, "role")));
}

static void walk_messages(struct texts *w, json_t *messages)
{
    json_t *message;
    size_t i;
    json_array_foreach(messages, i, message) {
        snprintf(w->in, sizeof w->in, "messages[%zu]", i);
        walk_message(w, message, zone_of_message(message));
    }
    w->in[0] = 0;
}

bool input_may_refuse(const struct pass *p)
{
    bool refuses = false;
    for (int i = 0; i < VS_N_ZONES; i++)
        refuses |= p->screen->policy.injection.zone[i].mode >= VS_POLICY_REDACT;
    return p->screen->side[SIDE_INPUT].is_strict || refuses;
}

/* Why it does not pass, that is no finding. Its length is said, for who asked can do something about that. */
static enum passage failed_with(int code, struct vs_error *why)
{
    if (code == VS_E_LIMIT)
        vs_error_set(why, code, "with what the policy replaces in it the request is larger than %u MiB", VS_MAX_REQUEST >> 20);
    else
        vs_error_set(why, code, "%s", vs_status_text(code));
    return PASSAGE_FAILED;
}

static enum passage passage_of(struct texts *w, json_t *json, struct vs_buf *out, struct vs_error *why)
{
    if (w->blocked || (w->is_too_long && input_may_refuse(w->p)))
        return PASSAGE_REFUSED;
    if (w->failed)
        return failed_with(VS_E_NOMEM, why);
    if (!w->changed)
        return PASSAGE_AS_IT_IS;
    vs_json_write(json, out, w->p->screen->rest);
    return out->status == VS_OK ? PASSAGE_CHANGED : failed_with(out->status, why);
}

/* The body as JSON; NULL with PASSAGE_FAILED: it is JSON, perhaps, that takes more than we have, so that nobody can look. NULL with
 * PASSAGE_AS_IT_IS: it is none, and the worker, who reads it in the same way, says so. */
static json_t *body_json(const struct pass *p, const char *body, size_t n, enum passage *ret, struct vs_error *why)
{
    json_t *json = vs_json_read(body, n, p->screen->rest, why);
    *ret = json || why->code == VS_E_MALFORMED ? PASSAGE_AS_IT_IS : PASSAGE_FAILED;
    return json;
}

static struct texts texts_of(struct pass *p)
{
    return (struct texts){ .p = p, .most = p->screen->policy.input.max_bytes };
}

/* What brings no text of its own: ids that are to be told, and questions about the model, or about a
 * receipt: the answer is a verdict. */
static bool brings_text(uint16_t type)
{
    return type != VS_MSG_DETOKENIZE && type != VS_MSG_INSPECT && type != VS_MSG_BENCH
        && type != VS_MSG_VERIFY;
}

enum passage input_screen(struct pass *p, const char *body, size_t n, struct vs_buf *out, struct vs_error *why)
{
    struct texts w = texts_of(p);
    enum passage passage = PASSAGE_AS_IT_IS;
    struct vs_buf talk = { 0 };
    const char *key;
    json_t *value;
    void *next;
    json_t *json = screen_looks(p->screen) && n && brings_text(p->type) ? body_json(p, body, n, &passage, why) : NULL;
    talk_hear(json, &talk);
    json_object_foreach_safe(json, next, key, value) {
        if (strcmp(key, "messages") == 0)
            walk_messages(&w, value);
        else
            member(&w, json, key, value, zone_of_key(key));
    }
    if (json && !w.is_too_long && !w.blocked)
        w.blocked |= !talk_screen(p->screen, &talk, &p->verdict);
    talk_clear(&talk);
    if (json)
        passage = passage_of(&w, json, out, why);
    bool failed;
    const json_t *form = json_object_get(json, "constraint");
    p->is_formed = form != NULL;
    p->is_json = json_object_get(form, "json_schema") || json_object_get(form, "json_object");
    prompted_free(p->prompted);
    p->prompted = screen_prompted(p->screen, p->system.data, p->system.n, &failed);
    if (passage != PASSAGE_REFUSED && (failed || p->system.status != VS_OK))
        passage = failed_with(VS_E_NOMEM, why);          /* who can't look does not let pass */
    vs_buf_clear(&p->system);
    vs_json_free(json, p->screen->rest);
    return passage;
}

/* ---- ids in place of text ---- */

/* Ids, or lists of ids, as one list: a new reference. */
static json_t *flat(json_t *ids)
{
    json_t *list = json_array(), *one;
    size_t i;
    if (!json_is_array(json_array_get(ids, 0))) {
        json_decref(list);
        return json_incref(ids);
    }
    json_array_foreach(ids, i, one)
        json_array_extend(list, one);
    return list;
}

/* Is the key perhaps there? It may be spelt with escapes. */
static bool may_name_ids(const char *body, size_t n)
{
    return memmem(body, n, "\"tokens\"", 8) || memmem(body, n, "\\u", 2);
}

int input_ask_ids(const struct pass *p, const char *body, size_t n, struct vs_buf *ret_question, struct vs_error *why)
{
    static const uint16_t types[] = { VS_MSG_GENERATE, VS_MSG_LOGITS, VS_MSG_PERPLEXITY, VS_MSG_EMBED };
    enum passage passage;
    bool asks = false;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        asks |= types[i] == p->type;
    if (!asks || !screen_looks(p->screen) || p->screen->policy.input.raw_tokens == VS_POLICY_RAW_ALLOW
        || !may_name_ids(body, n))
        return VS_OK;
    json_t *json = body_json(p, body, n, &passage, why), *ids = json_object_get(json, "tokens");
    if (json_array_size(ids) > 0) {
        json_t *question = json_pack("{s:o, s:b}", "tokens", flat(ids), "special", 1);
        if (question)
            vs_json_dump(question, ret_question);
        else
            ret_question->status = VS_E_NOMEM;
        json_decref(question);
    }
    json_decref(json);
    if (ret_question->status == VS_E_LIMIT)
        return vs_error_set(why, VS_E_LIMIT, "tokens: the list is too long for the policy to look at (input.raw_tokens)");
    if (ret_question->status != VS_OK)
        return vs_error_set(why, ret_question->status, "%s", vs_status_text(ret_question->status));
    return passage == PASSAGE_FAILED ? why->code : VS_OK;
}

enum passage input_screen_ids(struct pass *p, const char *result, size_t n, struct vs_error *why)
{
    struct texts w = texts_of(p);
    json_t *json = vs_json_parse(result, n, why), *said = json_object_get(json, "text");
    snprintf(w.in, sizeof w.in, "tokens");
    if (!json && why->code != VS_E_MALFORMED)
        return PASSAGE_FAILED;
    if (json_is_string(said))
        json_decref(text(&w, said, VS_ZONE_USER));
    bool passed = json_is_string(said) && !w.blocked && !w.changed && !(w.is_too_long && input_may_refuse(p));
    json_decref(json);
    return passed ? PASSAGE_AS_IT_IS : PASSAGE_REFUSED;         /* an id can't be replaced */
}
