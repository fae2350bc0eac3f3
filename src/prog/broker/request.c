/* prog/broker/request.c - one request from its arrival to its one terminal frame. */
#include "prog/broker/broker.h"

#include "base/bytes.h"
#include "base/sha256.h"
#include "ipc/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void queue_add(struct queue *q, struct request *r)
{
    r->next = NULL;
    if (q->last)
        q->last->next = r;
    else
        q->first = r;
    q->last = r;
    q->n++;
}

void queue_remove(struct queue *q, struct request *r)
{
    struct request *before = NULL;
    for (struct request *i = q->first; i; before = i, i = i->next) {
        if (i != r)
            continue;
        if (before)
            before->next = r->next;
        else
            q->first = r->next;
        if (q->last == r)
            q->last = before;
        r->next = NULL;
        q->n--;
        return;
    }
}

struct request *queue_find_asked(const struct queue *q, uint64_t asked_id)
{
    struct request *r = q->first;
    while (r && r->asked_id != asked_id)
        r = r->next;
    return r;
}

struct request *request_create(struct broker *b, struct peer *p, uint16_t type, uint64_t id)
{
    struct request *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->peer = p;
    r->type = type;
    r->id = id;
    r->arrived_at = b->now;
    r->deadline = NEVER;
    r->priority = VS_PRIORITY_NORMAL;
    r->credit = VS_CREDIT_START;
    r->peer_next = p->requests;
    p->requests = r;
    p->n_requests++;
    r->owner = p->owner;
    r->client = p->client;
    r->share = &p->share;
    r->client->n_requests++;
    r->share->n_requests++;
    r->who = p->who;
    return r;
}

static struct client *person_of(struct broker *b, const char *person, bool is_key)
{
    struct client *c = b->clients;
    while (c && (c->is_key != is_key || strcmp(c->person, person) != 0))
        c = c->next;
    if (c || !(c = calloc(1, sizeof *c)))
        return c;
    snprintf(c->person, sizeof c->person, "%s", person);
    c->is_key = is_key;
    c->number = ++b->last_client;
    c->next = b->clients;
    b->clients = c;
    b->n_persons++;
    return c;
}

/* A number that no uid has, and that another person has with a chance of 2^-62. */
static int64_t owner_of(const char *person)
{
    uint8_t digest[32];
    vs_sha256_of(person, strlen(person), digest);
    return (int64_t)(UINT64_C(1) << 62 | vs_load_u64le(digest) >> 2);
}

static bool become(struct request *r, struct client *c, int64_t owner)
{
    if (!c)
        return false;
    r->client->n_requests--;
    r->share->n_requests--;
    r->owner = owner;
    r->client = c;
    r->share = &c->share;
    r->client->n_requests++;
    r->share->n_requests++;
    return true;
}

bool request_speak_for(struct broker *b, struct request *r, const char *person)
{
    return become(r, person_of(b, person, false), owner_of(person));
}

bool request_speak_as(struct broker *b, struct request *r)
{
    return become(r, person_of(b, r->who.name, true), who_owner(&r->who, r->owner));
}

struct request *request_find(const struct peer *p, uint64_t id)
{
    for (struct request *r = p->requests; r; r = r->peer_next)
        if (r->id == id && r->place != PLACE_ENDED)
            return r;                   /* also one of which the client has not been told the end */
    return NULL;
}

bool request_keep(struct request *r, size_t n)
{
    if (n > r->counted && !vs_budget_take(&r->peer->memory, n - r->counted))
        return false;
    if (n < r->counted)
        vs_budget_give(&r->peer->memory, r->counted - n);
    r->counted = n;
    return true;
}

/* ---- what another worker needs to go on ---- */

static struct sent *choice_of(struct request *r, uint32_t index)
{
    if (index < r->n_choices)
        return &r->sent[index];
    struct sent *more = request_keep(r, r->counted + (index + 1 - r->n_choices) * sizeof *more)
        ? realloc(r->sent, (index + 1) * sizeof *more) : NULL;
    if (!more)
        return NULL;
    memset(more + r->n_choices, 0, (index + 1 - r->n_choices) * sizeof *more);
    r->sent = more;
    r->n_choices = index + 1;
    return &more[index];
}

static bool has_room(struct request *r, struct sent *s)
{
    if (s->n < s->cap)
        return true;
    uint32_t cap = s->cap ? 2 * s->cap : 32;
    uint32_t *id = request_keep(r, r->counted + (cap - s->cap) * sizeof *id) ? realloc(s->id, cap * sizeof *id) : NULL;
    if (!id)
        return false;
    s->id = id;
    s->cap = cap;
    return true;
}

static void forget(struct request *r)
{
    receipt_lose_body(r);
    for (unsigned i = 0; i < r->n_choices; i++)
        free(r->sent[i].id);
    free(r->sent);
    r->sent = NULL;
    r->n_choices = 0;
    vs_buf_clear(&r->body);
    request_keep(r, receipt_kept_bytes(r));
}

void request_lose(struct request *r)
{
    if (!r->is_lost)
        forget(r);
    r->is_lost = true;
}

bool request_note(struct request *r, const struct vs_token_view *t, bool has_index)
{
    r->hides_ids |= t->id == VS_NO_TOKEN && !r->n_tokens;
    bool is_token = t->id != VS_NO_TOKEN || r->hides_ids;
    r->n_tokens += is_token;
    r->n_since += is_token;
    if (is_token)
        limits_grow(r);
    if (r->is_lost)
        return is_token;
    struct sent *s = t->index < MAX_CHOICES ? choice_of(r, t->index) : NULL;
    if (s && has_room(r, s)) {
        s->id[s->n++] = t->id;
        r->has_index = has_index;
    } else {
        request_lose(r);                /* no room: it is answered all the same, by this worker */
    }
    return is_token;
}

bool request_can_go_on(const struct request *r)
{
    return !r->is_lost && r->type != VS_MSG_BENCH;
}

/* ---- the end ---- */

static void leave_place(struct broker *b, struct request *r)
{
    if (r->place == PLACE_QUEUED) {
        queue_remove(&r->model->queue, r);
        if (r->lost_run)
            run_forget(r->model, r->lost_run);
    }
    if (r->place == PLACE_ASKED)
        queue_remove(r->type == VS_MSG_LIST ? &b->asked : &b->asked_each, r);
    if (r->place == PLACE_ASKED && r->type == VS_MSG_LOAD)
        alias_withdraw(b, r);
    if (r->run)
        run_leave(b, r->model, r->run);
    r->run = NULL;
    r->place = PLACE_NONE;
}

/* That something was found, but not what. */
static void leave_out_findings(struct vs_outcome *o)
{
    struct vs_buf out = { .limit = sizeof o->guard - 1 };
    json_t *guard = vs_json_parse(o->guard, strlen(o->guard), NULL);
    json_object_set_new(guard, "findings", json_array());
    json_object_del(guard, "more");
    vs_json_dump(guard, &out);
    json_decref(guard);
    snprintf(o->guard, sizeof o->guard, "%s", guard && out.status == VS_OK ? out.data : "");
    vs_buf_clear(&out);
}

/* The outcome as the client is told it: its envelope goes to the end of ret. */
static void add_outcome(const struct request *r, const struct vs_outcome *outcome, struct vs_buf *ret)
{
    struct vs_outcome told = *outcome;
    if (told.guard[0] && !who_may(&r->who, VS_SCOPE_VERDICTS))
        leave_out_findings(&told);
    receipt_opens(r, &told);
    size_t begin = vs_payload_begin(ret);
    vs_outcome_dump(&told, ret);
    vs_payload_end(ret, begin);
}

/* For the log: who asked what of whom, and what came of it; never what was said. */
static void log_end(struct broker *b, const struct request *r, const struct vs_outcome *o)
{
    bool failed = o->error.code != VS_OK;
    char model[MAX_LOG_NAME];           /* which may be a path */
    snprintf(model, sizeof model, "%s", r->model->name);
    const struct vs_log_field fields[] = {
        { "request", NULL, r->id },
        { "type", vs_message_name(r->type), 0 },
        { "model", model, 0 },
        { "uid", NULL, r->peer->uid },
        { "pid", NULL, (uint64_t)r->peer->pid },
        { "finish", failed ? vs_status_name(o->error.code) : o->finish_reason[0] ? o->finish_reason : "done", 0 },
        { "ms", NULL, (uint64_t)((b->now - r->arrived_at) / MS) },
        { "prompt_tokens", NULL, o->usage.prompt_tokens },
        { "tokens", NULL, r->n_tokens },
        { "resumed", NULL, r->n_resumed },
        /* what there may be */
        { "key", r->who.name, 0 },
        { "remote", r->remote, 0 },
        { "trace", r->trace, 0 },
    };
    enum { ALWAYS = sizeof fields / sizeof *fields - 3 };
    struct vs_log_field told[sizeof fields / sizeof *fields];
    size_t n = 0;
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (i < ALWAYS || fields[i].text[0])
            told[n++] = fields[i];
    broker_log_event(b, VS_LOG_INFO, VS_EVENT_REQUEST_END, told, n, NULL);
}

static void leave_line(struct request *r)
{
    r->place = PLACE_ENDED;
    r->peer->n_requests--;
    r->client->n_requests--;
    r->share->n_requests--;
}

void request_usage(const struct request *r, struct vs_outcome *o)
{
    if ((r->type != VS_MSG_GENERATE && r->type != VS_MSG_CHAT) || !r->n_prompt)
        return;
    if (!o->has_usage)
        o->usage = (struct vs_usage){ .completion_tokens = r->n_tokens, .resumed = r->n_resumed };
    if (!o->usage.prompt_tokens)
        o->usage.prompt_tokens = r->n_prompt;
    o->has_usage = true;
}

/* The bytes of the frames that end it are counted before anybody writes down or hears how it ends. */
static bool keep_end(struct request *r, size_t n)
{
    forget(r);
    size_t all = r->counted + receipt_bound(r) + VS_FRAME_HEADER + VS_MAX_ENVELOPE + n;
    if (request_keep(r, all))
        return true;
    peer_flush(r->peer);                /* what this turn has said goes out first */
    return request_keep(r, all);
}

/* There is no room for its body: a result is nothing without it, an error is. What the guard found stays. */
static struct vs_outcome without_body(uint16_t type, const struct vs_outcome *outcome)
{
    struct vs_outcome failure = *outcome;
    if (type == VS_MSG_ERROR)
        return failure;
    failure.finish_reason[0] = 0;
    vs_error_set(&failure.error, VS_E_LIMIT, "there is no room for the result: too much waits unread on this connection");
    return failure;
}

/* What would be told is not in the log, or has no receipt. */
static struct vs_outcome not_to_be_told(const struct request *r, const char *why)
{
    struct vs_outcome failure = { .has_usage = r->has_usage, .usage = r->usage };
    vs_error_set(&failure.error, VS_E_SYSTEM, "%s", why);
    return failure;
}

static uint16_t failure_type(const struct request *r)
{
    return r->began ? VS_MSG_ERROR : VS_MSG_REJECTED;
}

/* The frame that ends it, in the room that was kept for it. */
static void tell(struct broker *b, struct request *r, uint16_t type, const struct vs_outcome *outcome, const void *body, size_t n)
{
    struct vs_buf head = { 0 };
    leave_line(r);
    forget(r);
    add_outcome(r, outcome, &head);
    if (head.status != VS_OK || peer_send_parts(b, r->peer, type, r->id, head.data, head.n, body, n) != VS_OK)
        r->peer->gone = true;           /* it can't be told how its request ended */
    vs_buf_clear(&head);
}

/* The same for later. */
static void hold(struct request *r, uint16_t type, const struct vs_outcome *outcome, const void *body, size_t n)
{
    r->place = PLACE_CLOSING;
    r->closing_type = type;
    add_outcome(r, outcome, &r->closing);
    vs_buf_add(&r->closing, body, n);
}

static void tell_held(struct broker *b, struct request *r)
{
    leave_line(r);
    forget(r);
    receipt_tell(b, r);
    if (peer_send_parts(b, r->peer, r->closing_type, r->id, r->closing.data, r->closing.n, NULL, 0) != VS_OK)
        r->peer->gone = true;
}

void request_deliver(struct broker *b, struct request *r, const char *failure)
{
    if (r->place != PLACE_CLOSING || (!failure && --r->n_awaited > 0))
        return;
    r->peer->together_until = 0;
    if (!failure && r->closing.status != VS_OK)
        failure = vs_status_text(r->closing.status);
    if (failure) {
        const struct vs_outcome told = not_to_be_told(r, failure);
        audit_undelivered(b, r, failure);
        tell(b, r, failure_type(r), &told, NULL, 0);
    } else {
        tell_held(b, r);
    }
    vs_buf_clear(&r->closing);
}

void request_end(struct broker *b, struct request *r, uint16_t type, const struct vs_outcome *outcome, const void *body, size_t n)
{
    if (r->place == PLACE_ENDED || r->place == PLACE_CLOSING)
        return;
    leave_place(b, r);
    struct vs_outcome failure;
    if (!keep_end(r, n) && n) {
        failure = without_body(type, outcome);
        outcome = &failure;
        type = VS_MSG_ERROR;
        n = 0;
        keep_end(r, n);                 /* it is short, and tried in any case */
    }
    r->has_usage = outcome->has_usage;
    r->usage = outcome->usage;
    limits_end(b, r, outcome);
    enum audit_ends ends = audit_end(b, r, outcome);
    if (ends == AUDIT_LOST) {
        failure = not_to_be_told(r, "the audit log cannot be written");
        outcome = &failure;
        type = failure_type(r);
        n = 0;
    }
    r->n_awaited = (ends == AUDIT_WAIT) + (ends != AUDIT_LOST ? receipt_end(b, r, outcome) : 0);
    if (r->n_awaited) {
        audit_flush(b);                 /* the client waits for the writer, which is woken while the rest is done here */
        if (r->peer->n_requests == 1)   /* nothing else is on its way: one frame after the other would wake the client twice */
            r->peer->together_until = b->now + TOGETHER_TIME;
        hold(r, type, outcome, body, n);
    } else {
        tell(b, r, type, outcome, body, n);
    }
    if (r->model) {                     /* once it has been told: nobody waits for our log */
        r->model->used_at = b->now;
        log_end(b, r, outcome);
        if (r->began)
            metrics_usage(b, r->model, r, outcome);
        metrics_end(b, r, outcome);
    }
}

void request_fail_hints(struct broker *b, struct request *r, int code, const char *text, const struct vs_outcome_hints *hints)
{
    struct vs_outcome outcome = { .hints = *hints };
    vs_error_set(&outcome.error, code, "%s", text);
    request_usage(r, &outcome);
    request_end(b, r, failure_type(r), &outcome, NULL, 0);
}

void request_withdraw(struct broker *b, struct request *r, int code, const char *text)
{
    if (r->place == PLACE_RUNNING)
        run_withdraw(b, r->model, r->run, code, text);
    if (r->place != PLACE_RUNNING || !r->receipt)
        request_fail(b, r, code, text);
}

void request_cut(struct broker *b, struct request *r, int code, const char *text)
{
    bool is_known = r->place == PLACE_RUNNING && r->run->cancel != VS_OK;
    request_fail(b, r, is_known ? r->run->cancel : code, is_known ? r->run->cancel_text : text);
}

void request_fail(struct broker *b, struct request *r, int code, const char *text)
{
    struct vs_outcome_hints hints = { 0 };
    unsigned running, waiting = 0;
    if (code == VS_E_BUSY && r->model)
        model_count(r->model, &running, &waiting);
    if (code == VS_E_BUSY)
        hints.retry_after_ms = r->model ? (int64_t)measure_retry_ms(&r->model->measure, b->now, waiting + 1) : RETRY_MS;
    request_fail_hints(b, r, code, text, &hints);
}

void request_complete(struct broker *b, struct request *r, json_t *result)
{
    struct vs_outcome outcome = { 0 };
    struct vs_buf out = { .limit = VS_MAX_RESULT };
    vs_json_dump(result, &out);
    json_decref(result);
    if (out.status == VS_OK)
        request_end(b, r, VS_MSG_COMPLETE, &outcome, out.data, out.n);
    else
        request_fail(b, r, out.status, vs_status_text(out.status));
    vs_buf_clear(&out);
}
