/* prog/guard/pass.c - requests under way: what is kept of them, their credit, their end.
 *
 * Credit. The worker may send as much as the broker would take, less what we hold: so however our changes make frames longer or
 * shorter, what waits here is bounded by the broker's credit and one frame. What is held because its text is not decided can go
 * when it is: so what the worker has sent reaches the client also when the client stops to read, and its receipt is of that. */
#include "prog/guard/guard.h"

#include "base/bytes.h"
#include "ipc/json.h"

#include <stdlib.h>

/* ---- the list ---- */

struct pass *pass_find(const struct guard *g, uint64_t id)
{
    struct pass *p = g->passes;
    while (p && (p->id != id || p->is_lost))
        p = p->next;
    return p;
}

struct pass *pass_find_far(const struct guard *g, uint64_t far)
{
    struct pass *p = far ? g->passes : NULL;
    while (p && p->far != far)
        p = p->next;
    return p;
}

struct pass *pass_find_lost(const struct guard *g, uint64_t id)
{
    struct pass *p = g->passes;
    while (p && (p->id != id || !p->is_lost))
        p = p->next;
    return p;
}

struct pass *pass_add(struct guard *g, uint16_t type, uint64_t id)
{
    struct pass *p = calloc(1, sizeof *p);
    if (!p)
        guard_leave("out of memory");
    p->type = type;
    p->id = id;
    p->screen = screen_ref(g->screen);
    p->next = g->passes;
    g->passes = p;
    return p;
}

void pass_free(struct guard *g, struct pass *p)
{
    struct pass **at = &g->passes;
    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    g->n_lost -= p->is_lost;
    for (int i = 0; i < MAX_CHOICES; i++)
        free(p->choice[i].id);
    vs_buf_clear(&p->out);
    vs_buf_clear(&p->end);
    vs_buf_clear(&p->request);
    vs_buf_clear(&p->data);
    vs_buf_clear(&p->told);
    output_free(p);
    prompted_free(p->prompted);
    vs_buf_clear(&p->system);
    screen_unref(p->screen);
    free(p);
}

/* What was told to stop does not go on, nor what another worker could not go on behind. */
static bool can_resume(const struct pass *p)
{
    return p->stop == VS_OK && !p->has_data && !p->cannot_resume && p->type != VS_MSG_BENCH;
}

static void forget_oldest(struct guard *g)
{
    struct pass *oldest = NULL;
    for (struct pass *p = g->passes; p; p = p->next)
        oldest = p->is_lost ? p : oldest;
    pass_free(g, oldest);
}

void pass_lose_all(struct guard *g)
{
    for (struct pass *p = g->passes, *next; p; p = next) {
        next = p->next;
        if (p->is_lost)
            continue;
        if (!can_resume(p)) {
            pass_free(g, p);
            continue;
        }
        p->far = 0;
        p->is_lost = true;
        p->is_asking = false;
        p->told_type = 0;
        vs_buf_reset(&p->told);
        p->stop = VS_OK;
        vs_buf_reset(&p->data);          /* its successor says it from the beginning */
        g->n_lost++;
    }
    while (g->n_lost > MAX_LOST)
        forget_oldest(g);
}

/* ---- tokens ---- */

bool pass_note(struct pass *p, const struct vs_token_view *t, bool has_index)
{
    struct told *c = &p->choice[t->index];
    p->has_index = has_index;
    if (c->n == c->cap) {
        uint32_t cap = c->cap ? 2 * c->cap : 256;
        uint32_t *id = realloc(c->id, cap * sizeof *id);
        p->cannot_resume |= !id;
        if (!id)
            return true;                 /* it is answered all the same, by this worker */
        c->id = id;
        c->cap = cap;
    }
    c->id[c->n++] = t->id;
    return c->n <= MAX_TOKENS;
}

/* ---- credit ---- */

static size_t waiting(const struct pass *p)
{
    return p->out.n - p->out_done;
}

/* Nothing, where that and the next frame are more than a client has to take at once: none is to wait for ever. */
static uint32_t reserved(const struct pass *p)
{
    return p->n_held + p->wanted <= VS_MAX_CHUNK ? (uint32_t)p->n_held : 0;
}

uint32_t pass_may_send(const struct pass *p)
{
    size_t taken = waiting(p) + reserved(p);
    return taken < p->credit ? p->credit - (uint32_t)taken : 0;
}

void pass_grant(struct guard *g, struct pass *p, uint32_t least)
{
    uint32_t may = pass_may_send(p);
    if (!p->far || p->stop != VS_OK || may < p->far_credit || may - p->far_credit < least || may == p->far_credit)
        return;
    back_send_u32(g, VS_MSG_CREDIT, p->far, may - p->far_credit);
    p->far_credit = may;
}

static void tell_blocked(struct guard *g, struct pass *p, uint32_t bytes)
{
    uint8_t value[4];
    vs_store_u32le(value, bytes);
    if (p->asked != bytes)
        front_send(g, VS_MSG_BLOCKED, 0, p->id, value, sizeof value);
    p->asked = bytes;
}

/* ---- output ---- */

static void send_output(struct guard *g, struct pass *p, uint16_t type, uint16_t flags, const void *data, uint32_t n)
{
    uint32_t index = flags & VS_FLAG_INDEX ? vs_load_u32le(data) : 0;
    p->credit -= n;
    p->asked = 0;
    p->has_data |= type == VS_MSG_DATA;
    if (type == VS_MSG_TOKEN)
        p->choice[index].n_frames++;
    front_send(g, type, flags, p->id, data, n);
}

void pass_emit(struct guard *g, struct pass *p, uint16_t type, uint16_t flags, const void *data, size_t n)
{
    if (!waiting(p) && n <= p->credit) {
        send_output(g, p, type, flags, data, (uint32_t)n);
        return;
    }
    char *head = vs_buf_grow(&p->out, FRAME_HEAD);
    if (head) {
        vs_store_u32le(head, (uint32_t)n);
        vs_store_u16le(head + 4, type);
        vs_store_u16le(head + 6, flags);
    }
    vs_buf_add(&p->out, data, n);
    if (p->out.status != VS_OK)
        guard_leave("out of memory");
    pass_pump(g, p);
}

void pass_pump(struct guard *g, struct pass *p)
{
    while (waiting(p)) {
        const char *at = p->out.data + p->out_done;
        uint32_t n = vs_load_u32le(at);
        if (n > p->credit) {
            tell_blocked(g, p, n);
            return;
        }
        send_output(g, p, vs_load_u16le(at + 4), vs_load_u16le(at + 6), at + FRAME_HEAD, n);
        p->out_done += FRAME_HEAD + n;
    }
    p->out_done = 0;
    vs_buf_reset(&p->out);
    if (p->far && p->far_credit < p->wanted)
        tell_blocked(g, p, p->wanted + reserved(p));
    if (!p->end_type)
        return;
    front_send(g, p->end_type, 0, p->id, p->end.data, p->end.n);
    pass_free(g, p);
}

/* ---- the end ---- */

void pass_end(struct guard *g, struct pass *p, uint16_t type, const void *payload, size_t n)
{
    p->far = 0;
    if (type != VS_MSG_COMPLETE)         /* what waits is not wanted any more */
        p->out_done = p->out.n = 0;
    if (!waiting(p)) {
        front_send(g, type, 0, p->id, payload, n);
        pass_free(g, p);
        return;
    }
    p->end_type = type;
    vs_buf_reset(&p->end);
    vs_buf_add(&p->end, payload, n);
    if (p->end.status != VS_OK)
        guard_leave("out of memory");
}

void pass_log(struct guard *g, const struct pass *p)
{
    struct vs_buf text = { .limit = 400 }, out = { .limit = VS_MAX_CONTROL };
    const struct verdict *v = &p->verdict;
    if (v->done == VS_POLICY_OFF)
        return;
    vs_buf_printf(&text, "guard: %s: %s:", vs_message_name(p->type), vs_policy_mode_name(v->done));
    for (unsigned i = 0; i < v->n; i++)
        vs_buf_printf(&text, " %s %s (%s) in %s;", vs_finding_kind_name(v->found[i].finding.kind), v->found[i].finding.type,
                      v->found[i].finding.rule, v->found[i].in);
    json_t *message = json_pack("{s:o}", "text", vs_json_text(text.data ? text.data : "", text.n));
    vs_json_dump(message, &out);
    json_decref(message);
    if (out.status == VS_OK)
        front_send(g, VS_MSG_LOG, 0, p->id, out.data, out.n);
    vs_buf_clear(&text);
    vs_buf_clear(&out);
}

static void end_failed(struct guard *g, struct pass *p, uint16_t type, struct vs_outcome *outcome)
{
    struct vs_buf out = { 0 };
    size_t begin = vs_payload_begin(&out);
    verdict_format(&p->verdict, p->screen, outcome->guard, sizeof outcome->guard);
    vs_outcome_dump(outcome, &out);
    vs_payload_end(&out, begin);
    if (out.status != VS_OK)
        guard_leave("out of memory");
    pass_end(g, p, type, out.data, out.n);
    vs_buf_clear(&out);
}

void pass_refuse(struct guard *g, struct pass *p)
{
    struct vs_outcome outcome = { 0 };
    vs_error_set(&outcome.error, VS_E_FILTERED, "%s", vs_status_text(VS_E_FILTERED));
    pass_log(g, p);
    end_failed(g, p, VS_MSG_REJECTED, &outcome);
}

void pass_fail(struct guard *g, struct pass *p, uint16_t type, int code, const char *text)
{
    struct vs_outcome outcome = { 0 };
    vs_error_set(&outcome.error, code, "%s", text);
    end_failed(g, p, type, &outcome);
}
