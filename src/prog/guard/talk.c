/* prog/guard/talk.c - messages of a conversation, and documents beside them, read together: an order that is split over several of
 * them says nothing in each.
 *
 *     messages   user "..."   assistant "..."   user "..."   tool "..."      documents "..." "..."
 *                  |              |               |            |                  |     |
 *     talks      user <---------- | -------------'           tool              retrieved
 *                            assistant
 *
 * A talk is the texts of one zone in their order, with a line feed between; what an assistant said has its own. Of a long text
 * only both ends can be part of something split, so the talk is read up to its beginning, and the next begins with its end. What
 * is found is told in the text where it begins, up to the end of that at most. Of a zone in which one text was flagged by itself
 * nothing more is asked. Texts are looked at a second time at most: time is linear. They are taken down before the policy replaces
 * anything in them, so that offsets are those of what came. */
#include "prog/guard/guard.h"

#include <stdio.h>
#include <string.h>

enum { EDGE = 1024, N_TALKS = 2 * VS_N_ZONES };

struct said {                           /* a text, or an end of one, in a talk */
    size_t at, end;                     /* where in the talk */
    size_t from;                        /* its first byte in the text */
    uint32_t message, part;             /* which one; part: NOWHERE when the content is the text */
    enum { OF_MESSAGE, OF_TITLE, OF_DOCUMENT } kind;
};

#define NOWHERE UINT32_MAX

struct heard {                          /* a text of the body */
    json_t *text;                       /* ours, too */
    enum vs_zone zone;
    bool is_assistant;
    struct said said;
};

struct talk {
    enum vs_zone zone;
    struct vs_buf text, said;           /* said: struct said[] */
};

struct talks {
    const struct screen *screen;
    struct verdict *verdict;
    struct talk talk[N_TALKS];
    bool is_blocked;                    /* also when there is no memory */
};

static size_t n_said(const struct talk *t)
{
    return t->said.n / sizeof(struct said);
}

static void place(void *talk, struct vs_finding *f, char in[IN_BYTES])
{
    const struct talk *t = talk;
    const struct said *said = (const void *)t->said.data;
    size_t low = 0, high = n_said(t);
    while (high - low > 1) {            /* the last one that begins before it */
        size_t middle = low + (high - low) / 2;
        if (said[middle].at <= f->start)
            low = middle;
        else
            high = middle;
    }
    said += low;
    f->start = (f->start < said->end ? f->start : said->end) - said->at + said->from;
    f->end = (f->end < said->end ? f->end : said->end) - said->at + said->from;
    if (said->kind != OF_MESSAGE)
        snprintf(in, IN_BYTES, "documents[%u].%s", said->message, said->kind == OF_TITLE ? "title" : "text");
    else if (said->part == NOWHERE)
        snprintf(in, IN_BYTES, "messages[%u].content", said->message);
    else
        snprintf(in, IN_BYTES, "messages[%u].content[%u].text", said->message, said->part);
}

/* Reads what is there; the talk is empty then. */
static void read_talk(struct talks *w, struct talk *t)
{
    if (t->text.status != VS_OK || t->said.status != VS_OK)
        w->is_blocked = true;           /* who can't look does not let pass */
    else if (n_said(t) > 1 && !(w->verdict->injected >> t->zone & 1))
        w->is_blocked |= !screen_injection_in(w->screen, t->zone, t->text.data, t->text.n, place, t, w->verdict);
    vs_buf_reset(&t->text);
    vs_buf_reset(&t->said);
}

/* Not within a character. */
static size_t edge_after(const char *text, size_t n, size_t i)
{
    while (i < n && ((uint8_t)text[i] & 0xc0) == 0x80)
        i++;
    return i;
}

static void add(struct talk *t, const char *text, size_t from, size_t n, struct said said)
{
    if (t->text.n)
        vs_buf_char(&t->text, '\n');
    said.at = t->text.n;
    said.from = from;
    vs_buf_add(&t->text, text + from, n);
    said.end = t->text.n;
    vs_buf_add(&t->said, &said, sizeof said);
}

static void read_text(struct talks *w, const struct heard *h)
{
    struct talk *t = &w->talk[2 * (unsigned)h->zone + h->is_assistant];
    const char *text = json_string_value(h->text);
    size_t n = json_string_length(h->text);
    if (w->screen->policy.injection.zone[h->zone].mode == VS_POLICY_OFF || w->is_blocked)
        return;
    t->zone = h->zone;
    if (n <= 2 * EDGE) {
        add(t, text, 0, n, h->said);
        return;
    }
    size_t last = edge_after(text, n, n - EDGE);
    add(t, text, 0, edge_after(text, n, EDGE), h->said);
    read_talk(w, t);
    add(t, text, last, n - last, h->said);
}

bool talk_screen(const struct screen *s, const struct vs_buf *talk, struct verdict *v)
{
    struct talks w = { .screen = s, .verdict = v, .is_blocked = talk->status != VS_OK };
    const struct heard *heard = (const void *)talk->data;
    for (size_t i = 0; i < talk->n / sizeof *heard; i++)
        read_text(&w, &heard[i]);
    for (size_t i = 0; i < N_TALKS; i++) {
        read_talk(&w, &w.talk[i]);
        vs_buf_clear(&w.talk[i].text);
        vs_buf_clear(&w.talk[i].said);
    }
    return !w.is_blocked;
}

/* ---- what a body says ---- */

static void hear(struct vs_buf *talk, json_t *text, enum vs_zone zone, bool is_assistant, struct said said)
{
    const struct heard heard = { text, zone, is_assistant, said };
    if (!json_string_length(text) || zone == VS_ZONE_SYSTEM)
        return;
    vs_buf_add(talk, &heard, sizeof heard);
    if (talk->status == VS_OK)
        json_incref(text);
}

static void hear_message(struct vs_buf *talk, const json_t *message, size_t at)
{
    const json_t *role = json_object_get(message, "role"), *part;
    json_t *content = json_object_get(message, "content");
    enum vs_zone zone = zone_of_message(message), own;
    bool is_assistant = json_is_string(role) && strcmp(json_string_value(role), "assistant") == 0;
    size_t i;
    hear(talk, content, zone, is_assistant, (struct said){ .message = (uint32_t)at, .part = NOWHERE });
    json_array_foreach(content, i, part) {
        own = zone;
        zone_named(json_object_get(part, "zone"), &own);
        hear(talk, json_object_get(part, "text"), own, is_assistant,
             (struct said){ .message = (uint32_t)at, .part = (uint32_t)i });
    }
}

void talk_hear(const json_t *body, struct vs_buf *ret)
{
    const json_t *messages = json_object_get(body, "messages"), *prompt = json_object_get(body, "prompt"), *one;
    size_t i;
    json_array_foreach(messages, i, one)
        hear_message(ret, one, i);
    if (!json_is_array(messages) && !json_is_string(prompt))
        return;                         /* documents that are ranked are read each by itself */
    json_array_foreach(json_object_get(body, "documents"), i, one) {
        struct said said = { .message = (uint32_t)i, .kind = OF_TITLE };
        hear(ret, json_object_get(one, "title"), VS_ZONE_RETRIEVED, false, said);
        said.kind = OF_DOCUMENT;
        hear(ret, json_object_get(one, "text"), VS_ZONE_RETRIEVED, false, said);
    }
}

void talk_clear(struct vs_buf *talk)
{
    const struct heard *heard = (const void *)talk->data;
    for (size_t i = 0; i < talk->n / sizeof *heard; i++)
        json_decref(heard[i].text);
    vs_buf_clear(talk);
}
