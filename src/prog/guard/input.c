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
    if (changed)
        fresh = vs_json_text(out.data ? out.data : "", out.n);
    w->changed |= changed;
    vs_buf_clear(&out);
    return fresh;
}

static void walk(struct texts *w, json_t *value, enum vs_zone zone);

static void member(struct texts *w, json_t *object, const char *key, json_t *value, enum vs_zone zone)
{
    json_t *fresh;
    size_t n = strlen(w->in);
    snprintf(w->in + n, sizeof w->in - n, "%s%.24s", n ? "." : "", key);
    if (!json_is_string(value))
        walk(w, value, zone);
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

/* A part may name a zone of its own, as its message does. */
static void walk(struct texts *w, json_t *value, enum vs_zone zone)
{
    const char *key;
    json_t *inner;
    void *next;
    size_t i;
    zone_named(json_object_get(value, "zone"), &zone);
    json_object_foreach_safe(value, next, key, inner)
        member(w, value, key, inner, zone);
    json_array_foreach(value, i, inner)
        entry(w, value, i, inner, zone);
}

static void walk_messages(struct texts *w, json_t *messages)
{
    json_t *message;
    size_t i;
    snprintf(w->in, sizeof w->in, "messages");
    json_array_foreach(messages, i, message)
        entry(w, messages, i, message, zone_of_role(json_object_get(message, "role")));
    w->in[0] = 0;
}

bool input_may_refuse(const struct pass *p)
{
    bool refuses = false;
    for (int i = 0; i < VS_N_ZONES; i++)
        refuses |= p->screen->policy.injection.zone[i].mode >= VS_POLICY_REDACT;
    return p->screen->side[SIDE_INPUT].is_strict || refuses;
}

static enum passage passage_of(struct texts *w, json_t *json, struct vs_buf *out)
{
    if (w->blocked || (w->is_too_long && input_may_refuse(w->p)))
        return PASSAGE_REFUSED;
    if (!w->changed)
        return PASSAGE_AS_IT_IS;
    vs_json_write(json, out, w->p->screen->rest);
    return out->status == VS_OK ? PASSAGE_CHANGED : PASSAGE_REFUSED;
}

static struct texts texts_of(struct pass *p)
{
    return (struct texts){ .p = p, .most = p->screen->policy.input.max_bytes };
}

/* What brings no text of its own: ids that are to be told, and questions about the model. */
static bool brings_text(uint16_t type)
{
    return type != VS_MSG_DETOKENIZE && type != VS_MSG_INSPECT && type != VS_MSG_BENCH;
}

enum passage input_screen(struct pass *p, const char *body, size_t n, struct vs_buf *out)
{
    struct texts w = texts_of(p);
    const char *key;
    json_t *value;
    void *next;
    json_t *json = screen_looks(p->screen) && n && brings_text(p->type) ? vs_json_read(body, n, p->screen->rest, NULL) : NULL;
    json_object_foreach_safe(json, next, key, value) {
        if (strcmp(key, "messages") == 0)
            walk_messages(&w, value);
        else
            member(&w, json, key, value, zone_of_key(key));
    }
    enum passage passage = json ? passage_of(&w, json, out) : PASSAGE_AS_IT_IS;
    bool failed;
    p->is_formed = json_object_get(json, "constraint") != NULL;
    prompted_free(p->prompted);
    p->prompted = screen_prompted(p->screen, p->system.data, p->system.n, &failed);
    if (failed || p->system.status != VS_OK)
        passage = PASSAGE_REFUSED;       /* who can't look does not let pass */
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

bool input_has_ids(const struct pass *p, const char *body, size_t n, struct vs_buf *ret_question)
{
    static const uint16_t types[] = { VS_MSG_GENERATE, VS_MSG_LOGITS, VS_MSG_PERPLEXITY, VS_MSG_EMBED };
    bool asks = false;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        asks |= types[i] == p->type;
    if (!asks || !screen_looks(p->screen) || p->screen->policy.input.raw_tokens == VS_POLICY_RAW_ALLOW
        || !memmem(body, n, "\"tokens\"", 8))
        return false;
    json_t *json = vs_json_read(body, n, p->screen->rest, NULL), *ids = json_object_get(json, "tokens");
    bool has = json_array_size(ids) > 0;
    if (has) {
        json_t *question = json_pack("{s:o, s:b}", "tokens", flat(ids), "special", 1);
        vs_json_dump(question, ret_question);
        json_decref(question);
    }
    json_decref(json);
    return has;
}

enum passage input_screen_ids(struct pass *p, const char *result, size_t n)
{
    struct texts w = texts_of(p);
    json_t *json = vs_json_parse(result, n, NULL), *said = json_object_get(json, "text");
    snprintf(w.in, sizeof w.in, "tokens");
    if (json_is_string(said))
        json_decref(text(&w, said, VS_ZONE_USER));
    bool passed = json_is_string(said) && !w.blocked && !w.changed && !(w.is_too_long && input_may_refuse(p));
    json_decref(json);
    return passed ? PASSAGE_AS_IT_IS : PASSAGE_REFUSED;         /* an id can't be replaced */
}
