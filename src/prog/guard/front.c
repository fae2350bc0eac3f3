/* prog/guard/front.c - what the broker says: requests, and what belongs to them. It speaks for strangers, so what can't be is not
 * obeyed: we leave, and everything begins anew. */
#include "prog/guard/guard.h"

#include "base/bytes.h"

#include <poll.h>
#include <string.h>

/* ---- what we say ---- */

/* A broker that is gone shows as the end of its socket. */
void front_send(struct guard *g, uint16_t type, uint16_t flags, uint64_t id, const void *data, size_t n)
{
    int status = vs_conn_send(&g->broker, type, flags, id, data, n, -1);
    if (status == VS_E_NOMEM)
        guard_leave(vs_status_text(status));
}

void front_close(struct guard *g)
{
    vs_conn_clear(&g->broker);
    g->broker_has_more = g->is_leaving = false;
}

/* ---- what it says ---- */

static void on_credit(struct guard *g, const struct vs_frame *f)
{
    struct pass *p = pass_find(g, f->id);
    uint32_t n = vs_load_u32le(f->data);
    if (!p)
        return;                         /* it has just ended */
    if (n > VS_CREDIT_MAX - p->credit)
        guard_leave("the broker gave more credit than a request may have");
    p->credit += n;
    pass_grant(g, p, 1);
    pass_pump(g, p);
}

static void on_cancel(struct guard *g, const struct vs_frame *f)
{
    struct pass *p = pass_find(g, f->id), *lost = pass_find_lost(g, f->id);
    uint32_t value = vs_load_u32le(f->data);
    int code = value >= 1 && value < 1000 ? -(int)value : VS_E_CANCELLED;
    bool is_wanted_back = code == VS_E_BUSY;     /* into the broker's line; one of which something was said goes on instead */
    if (lost && !is_wanted_back)        /* nobody will ask for it again */
        pass_free(g, lost);
    if (!p)
        return;
    p->is_wanted_back = is_wanted_back;
    if (!is_wanted_back || p->is_asking)
        p->stop = code;
    if (p->far)
        back_send_u32(g, VS_MSG_CANCEL, p->far, value);
    else if (p->stop != VS_OK)          /* the worker is done with it, and only its output waits */
        pass_fail(g, p, VS_MSG_ERROR, code,
                  code == VS_E_LIMIT ? "the client did not take the answer in time" : vs_status_text(code));
}

static void on_sent(struct guard *g, const struct vs_frame *f)
{
    bool has_index = f->flags & VS_FLAG_INDEX;
    uint32_t index = has_index && f->n >= 4 ? vs_load_u32le(f->data) : 0, skip = has_index ? 4 : 0;
    if (f->n < skip || (f->n - skip) % 4 || index >= MAX_CHOICES)
        guard_leave("the broker's list of what was sent is malformed");
    if (g->sent.id != f->id)
        g->sent = (struct sent){ .id = f->id };
    g->sent.n[index] += (f->n - skip) / 4;
}

/* The ids that the worker before gave, in as many frames as needed. */
static void send_choice(struct guard *g, const struct pass *p, uint32_t choice)
{
    static uint8_t bytes[VS_MAX_CHUNK];
    const struct told *c = &p->choice[choice];
    size_t head = p->has_index ? 4 : 0;
    vs_store_u32le(bytes, choice);
    for (uint32_t at = 0; at < c->n;) {
        size_t n = head;
        for (; at < c->n && n < sizeof bytes; n += 4)
            vs_store_u32le(bytes + n, c->id[at++]);
        if (vs_conn_send(&g->worker, VS_MSG_SENT, head ? VS_FLAG_INDEX : 0, p->far, bytes, n, -1) == VS_E_NOMEM)
            guard_leave("out of memory");
    }
}

/* To the worker: with an id, a count and a credit of this hop. */
static void send_request(struct guard *g, struct pass *p, struct vs_head *head, const struct vs_payload *payload, bool goes_on)
{
    struct vs_buf out = { 0 };
    p->far = ++g->last_far;
    p->wanted = 0;
    p->far_credit = pass_may_send(p);       /* less what it holds of the worker before */
    head->resumes = head->sent = 0;
    head->credit = p->far_credit;
    for (uint32_t i = 0; i < MAX_CHOICES && goes_on; i++) {
        head->sent += p->choice[i].n;
        send_choice(g, p, i);
    }
    size_t begin = vs_payload_begin(&out);
    vs_head_dump(head, &out);
    vs_payload_end(&out, begin);
    int status = out.status;
    if (status == VS_OK)
        status = vs_conn_send_parts(&g->worker, p->type, 0, p->far, out.data, out.n, payload->body, payload->body_bytes);
    if (status == VS_E_NOMEM)
        guard_leave("out of memory");
    vs_buf_clear(&out);
}

/* Does the broker have what we told it, no more and no less? */
static bool has_what_was_told(const struct guard *g, const struct pass *p, uint64_t id)
{
    bool same = true;
    for (int i = 0; i < MAX_CHOICES; i++)
        same &= (g->sent.id == id ? g->sent.n[i] : 0) == p->choice[i].n_frames;
    return same;
}

/* The pass that goes on with this request; a new one; or NULL: that which it would go on with is not known. */
static struct pass *pass_of(struct guard *g, const struct vs_frame *f, const struct vs_head *head)
{
    struct pass *p = head->resumes ? pass_find_lost(g, (uint64_t)head->resumes) : NULL;
    if (!p && !head->sent)
        return pass_add(g, f->type, f->id);
    if (!p || p->type != f->type || !has_what_was_told(g, p, f->id))
        return NULL;
    p->is_lost = false;
    g->n_lost--;
    p->id = f->id;
    p->asked = 0;
    return p;
}

/* What was found is told once, however often it is looked at: also after a worker's death, under the policy of the beginning. */
static void pass_on(struct guard *g, struct pass *p, struct vs_head *head, struct vs_payload *payload)
{
    struct vs_buf body = { .limit = VS_MAX_REQUEST };
    struct verdict before = p->verdict;
    struct vs_error why;
    enum passage passage = input_screen(p, payload->body, payload->body_bytes, &body, &why);
    if (p->has_begun)
        p->verdict = before;            /* it was found already */
    p->has_begun = true;
    if (passage == PASSAGE_CHANGED) {
        payload->body = body.data;
        payload->body_bytes = body.n;
    }
    if (passage == PASSAGE_REFUSED)
        pass_refuse(g, p);
    else if (passage == PASSAGE_FAILED)
        pass_fail(g, p, VS_MSG_REJECTED, why.code, why.text);
    else
        send_request(g, p, head, payload, true);
    vs_buf_clear(&body);
}

/* The worker is asked first what the ids mean; `f` is kept meanwhile. */
static void ask_for_text(struct guard *g, struct pass *p, const struct vs_frame *f, const struct vs_buf *question)
{
    struct vs_head head = { .owner = -1, .priority = VS_PRIORITY_NORMAL, .credit = VS_CREDIT_START };
    const struct vs_payload payload = { .body = question->data, .body_bytes = question->n };
    uint16_t type = p->type;
    vs_buf_reset(&p->request);
    vs_buf_add(&p->request, f->data, f->n);
    if (p->request.status != VS_OK)
        guard_leave("out of memory");
    p->is_asking = true;
    p->type = VS_MSG_DETOKENIZE;
    send_request(g, p, &head, &payload, false);
    p->type = type;
}

static void begin(struct guard *g, struct pass *p, const struct vs_frame *f, struct vs_head *head, struct vs_payload *payload)
{
    struct vs_outcome none = { 0 };
    struct vs_buf question = { .limit = VS_MAX_REQUEST };
    struct vs_error why;
    if (p->end_type)                    /* the worker before was done with it */
        pass_pump(g, p);
    else if (p->is_cut)
        output_end_cut(g, p, &none);
    else if (!p->has_begun && input_ask_ids(p, payload->body, payload->body_bytes, &question, &why) != VS_OK)
        pass_fail(g, p, VS_MSG_REJECTED, why.code, why.text);
    else if (!question.n)
        pass_on(g, p, head, payload);
    else if (p->screen->policy.input.raw_tokens == VS_POLICY_RAW_REFUSE)
        pass_fail(g, p, VS_MSG_REJECTED, VS_E_DENIED, "the policy takes no ids in place of text (input.raw_tokens)");
    else
        ask_for_text(g, p, f, &question);
    vs_buf_clear(&question);
}

void front_ids_told(struct guard *g, struct pass *p, const struct vs_frame *f)
{
    struct vs_payload told, payload;
    struct vs_outcome outcome;
    struct vs_error why;
    struct vs_head head;
    const struct vs_ipc_rule *rule = vs_ipc_rule_find(&vs_ipc_to_guard, p->type);
    p->is_asking = false;
    p->far = 0;
    if (vs_payload_split(f->data, f->n, VS_MAX_ENVELOPE, &told, NULL) != VS_OK
        || vs_outcome_parse(told.envelope, told.envelope_bytes, &outcome, NULL) != VS_OK
        || (f->type == VS_MSG_COMPLETE) != (outcome.error.code == VS_OK)) {
        back_break(g, "an envelope that does not fit its frame");
        return;
    }
    bool unknown = outcome.error.code == VS_E_UNSUPPORTED && !input_may_refuse(p);      /* a model without a tokenizer */
    enum passage passage = PASSAGE_AS_IT_IS;
    if (p->stop == VS_OK && outcome.error.code == VS_OK)
        passage = input_screen_ids(p, told.body, told.body_bytes, &why);
    if (p->stop != VS_OK) {
        pass_fail(g, p, VS_MSG_ERROR, p->stop, vs_status_text(p->stop));
    } else if (outcome.error.code != VS_OK && !unknown) {
        pass_fail(g, p, VS_MSG_REJECTED, outcome.error.code, outcome.error.text);
    } else if (passage == PASSAGE_FAILED) {
        pass_fail(g, p, VS_MSG_REJECTED, why.code, why.text);
    } else if (passage != PASSAGE_AS_IT_IS) {
        pass_refuse(g, p);
    } else if (vs_payload_split(p->request.data, p->request.n, rule->envelope, &payload, NULL) != VS_OK
               || vs_head_parse(payload.envelope, payload.envelope_bytes, rule->keys, &head, NULL) != VS_OK) {
        guard_leave("a request that was kept is malformed");
    } else {
        pass_on(g, p, &head, &payload);         /* p may be gone */
        vs_head_clear(&head);
    }
}

static void on_request(struct guard *g, const struct vs_frame *f)
{
    const struct vs_ipc_rule *rule = vs_ipc_rule_find(&vs_ipc_to_guard, f->type);
    struct vs_payload payload;
    struct vs_head head;
    if (vs_payload_split(f->data, f->n, rule->envelope, &payload, NULL) != VS_OK
        || vs_head_parse(payload.envelope, payload.envelope_bytes, rule->keys, &head, NULL) != VS_OK)
        guard_leave("the broker's request is malformed");
    struct pass *p = pass_of(g, f, &head);
    if (!p) {
        p = pass_add(g, f->type, f->id);
        pass_fail(g, p, VS_MSG_ERROR, VS_E_DIED, "the worker died, and what it had said is not known any more");
    } else if (f->type == VS_MSG_SCAN) {
        g->may_rest = true;
        scan_answer(g, p, payload.body, payload.body_bytes);
        g->may_rest = false;
        back_catch_up(g);
    } else if (g->is_alone) {
        pass_fail(g, p, VS_MSG_REJECTED, VS_E_INVALID, "this guard has no model");
    } else {
        p->credit = (uint32_t)head.credit;
        g->may_rest = true;
        begin(g, p, f, &head, &payload);
        g->may_rest = false;
        back_catch_up(g);
    }
    g->sent.id = 0;
    vs_head_clear(&head);
}

static const struct {
    uint16_t type;
    void (*take)(struct guard *g, const struct vs_frame *f);
} handlers[] = {
    { VS_MSG_CREDIT, on_credit },
    { VS_MSG_CANCEL, on_cancel },
    { VS_MSG_SENT, on_sent },
#define ON_REQUEST(name, ...) { VS_MSG_##name, on_request },
    VS_MODEL_REQUEST_MAP(ON_REQUEST) VS_GUARD_REQUEST_MAP(ON_REQUEST)
};
enum { N_HANDLERS = sizeof handlers / sizeof *handlers };

uint16_t front_unhandled(void)
{
    return vs_ipc_unhandled(&vs_ipc_to_guard, handlers, N_HANDLERS, sizeof *handlers);
}

void front_ready(struct guard *g, short events)
{
    struct vs_frame f;
    struct vs_error why = { 0 };
    int status = VS_OK;
    if (events & POLLOUT && vs_conn_flush(&g->broker) == VS_E_DIED)
        events |= POLLHUP;
    if (!g->broker_has_more) {
        if (!(events & (POLLIN | POLLHUP | POLLERR)))
            return;
        status = vs_conn_read(&g->broker);
    }
    for (int i = 0; i < MAX_TURN && status == VS_OK && (status = vs_conn_next(&g->broker, &f, &why)) == VS_OK; i++)
        handlers[vs_ipc_handler(handlers, N_HANDLERS, sizeof *handlers, f.type)].take(g, &f);
    g->broker_has_more = status == VS_OK;
    if (status == VS_E_DIED)            /* whoever closed it has the worker ended, or us */
        front_close(g);
    else if (status != VS_OK && status != VS_E_BUSY)
        guard_leave(why.text[0] ? why.text : vs_status_text(status));
}
