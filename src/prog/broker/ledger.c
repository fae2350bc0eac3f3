/* prog/broker/ledger.c - the memory of all models: asked for before it is taken.
 *
 * A model that is to come is put to the supervisor with the room that is left, one at a time, so that two do not take the same
 * room. The supervisor knows how large the file is: what does not fit is not started. Then room is made, where it can be: by models
 * that a request's name brought and that nobody uses now, the one that is idle for longest first; never by one that answers or
 * that somebody loaded. A worker that has loaded says itself what it took. */
#include "prog/broker/broker.h"

#include <stdio.h>
#include <unistd.h>

static uint64_t fact(const struct model *m, const char *key)
{
    json_int_t n = json_integer_value(json_object_get(m->facts, key));
    return n > 0 && n < INT64_MAX / 4 ? (uint64_t)n : 0;
}

uint64_t ledger_bytes(const struct model *m)
{
    uint64_t said = fact(m, "weight_bytes") + fact(m, "step_bytes") + fact(m, "kv_bytes");
    said = said < m->room ? said : m->room;     /* more it can't have taken, whatever it says */
    return said ? said : m->needed;
}

uint64_t ledger_used(const struct broker *b)
{
    uint64_t used = 0;
    for (const struct model *m = b->models; m; m = m->next)
        used += m->gone ? 0 : ledger_bytes(m);
    return used;
}

static uint64_t room(const struct broker *b)
{
    uint64_t used = ledger_used(b), limit = b->settings.memory < INT64_MAX ? b->settings.memory : INT64_MAX;
    return limit > used ? limit - used : 0;
}

static bool can_be_given_up(const struct model *m)
{
    return !m->gone && m->by_request && m->state == MODEL_READY && !model_is_answering(m);
}

bool ledger_give_up_one(struct broker *b, uint64_t idle)
{
    struct model *idlest = NULL;
    for (struct model *m = b->models; m; m = m->next)
        if (can_be_given_up(m) && b->now - m->used_at >= idle && (!idlest || m->used_at < idlest->used_at))
            idlest = m;
    if (idlest) {
        broker_log(b, "model %s: unloaded to make room for another", idlest->name);
        model_drop(b, idlest, VS_E_CANCELLED, "the model was unloaded to make room for another");
    }
    return idlest;
}

static void start(struct broker *b, struct model *m)
{
    m->is_asked = true;
    m->n_asked++;
    m->room = room(b);
    json_t *message = json_pack("{s:s, s:O, s:I}", "model", m->name, "settings", m->settings, "room", (json_int_t)m->room);
    if (m->is_scanner)
        json_object_set_new(message, "scanner", json_true());
    int status = control_send(b, VS_MSG_START, m->id, message, &m->files);
    if (status != VS_OK)
        model_drop(b, m, status, "the supervisor does not answer");
}

void ledger_start_next(struct broker *b)
{
    struct model *first = NULL;
    for (struct model *m = b->models; m; m = m->next) {
        if (m->gone || m->state != MODEL_STARTING)
            continue;
        if (m->is_asked)
            return;                     /* what it takes is known when the supervisor answers */
        first = m;                      /* the list has the newest first */
    }
    if (first)
        start(b, first);
}

void ledger_refused(struct broker *b, struct model *m, uint64_t needed, const struct vs_error *why)
{
    uint64_t can_be_had = room(b);
    for (const struct model *i = b->models; i; i = i->next)
        can_be_had += can_be_given_up(i) ? ledger_bytes(i) : 0;
    if (can_be_had >= needed && m->n_asked < MAX_ASKED) {       /* else nobody is given up in vain */
        while (room(b) < needed && ledger_give_up_one(b, 0)) { }
        m->is_asked = false;
        ledger_start_next(b);
        return;
    }
    struct vs_outcome_hints hints = { .needed = (int64_t)needed, .free = (int64_t)room(b), .held = (int64_t)ledger_used(b) };
    while (m->queue.first)
        request_fail_hints(b, m->queue.first, why->code, why->text, &hints);
    model_drop(b, m, why->code, why->text);
}
