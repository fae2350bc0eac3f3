/* prog/broker/run.c - requests that a worker has: begun, streamed, ended, or given to the next worker when it dies.
 *
 *     waiting --begin--> run --TOKEN, DATA, ...--> terminal frame
 *        ^                |the worker dies
 *        |__ first in line, with the ids of the tokens that the client has (SENT)
 *
 * When a worker ended otherwise than by SIGKILL one of its requests may have done it. So they go on one at a time: each is a
 * suspect until it has come further than before, or, if it was there a second time, until its end. The one that ends a worker when
 * no other ran there, and was there before, did it: VS_E_DIED, and it is refused from then on. A request that sees a second worker
 * die for which nobody can be blamed ends with VS_E_DIED too. */
#include "prog/broker/broker.h"

#include "base/bytes.h"
#include "ipc/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CLEARED_AFTER = 16,                 /* tokens in the next worker that clear a suspect of one death */
};

struct run *run_find(const struct model *m, uint64_t id)
{
    struct run *run = m->runs;
    while (run && run->id != id)
        run = run->next;
    return run;
}

static void send_u32(struct model *m, uint16_t type, uint64_t id, uint32_t value)
{
    uint8_t bytes[4];
    vs_store_u32le(bytes, value);
    vs_conn_send(&m->conn, type, 0, id, bytes, sizeof bytes, -1);   /* a failure shows as end of file at the next read */
}

/* Takes it out of the worker's runs; who waits for it is told by the caller. */
static struct request *run_free(struct model *m, struct run *run)
{
    struct request *r = run->request;
    struct run **at = &m->runs;
    while (*at != run)
        at = &(*at)->next;
    *at = run->next;
    m->n_runs--;
    free(run);
    if (r) {
        r->run = NULL;
        r->place = PLACE_NONE;
    }
    return r;
}

/* ---- begin ---- */

/* The tokens that the client has of one choice: u32 ids, in as many frames as needed. */
static int send_choice(struct model *m, uint64_t id, const struct request *r, unsigned choice)
{
    static uint8_t bytes[VS_MAX_CHUNK];
    const struct sent *s = &r->sent[choice];
    size_t head = r->has_index ? 4 : 0;
    int status = VS_OK;
    vs_store_u32le(bytes, choice);
    for (uint32_t at = 0; at < s->n && status == VS_OK;) {
        size_t n = head;
        for (; at < s->n && n < sizeof bytes; n += 4)
            vs_store_u32le(bytes + n, s->id[at++]);
        status = vs_conn_send(&m->conn, VS_MSG_SENT, head ? VS_FLAG_INDEX : 0, id, bytes, n, -1);
    }
    return status;
}

/* What we alone decide. Times are milliseconds of the clock that all processes of a machine share. */
static void add_envelope(struct vs_buf *out, const struct request *r)
{
    uint64_t n_sent = 0;
    for (unsigned i = 0; i < r->n_choices; i++)
        n_sent += r->sent[i].n;
    struct vs_head head = {
        .owner = r->owner, .client = (int64_t)r->client->number, .priority = r->priority,
        .arrived_at = (int64_t)(r->arrived_at / MS), .deadline_at = r->deadline == NEVER ? 0 : (int64_t)(r->deadline / MS),
        .sent = (int64_t)n_sent, .credit = r->credit, .resumes = (int64_t)r->lost_run, .trace = r->trace[0] ? r->trace : NULL,
    };
    receipt_head(r, &head);
    size_t begin = vs_payload_begin(out);
    vs_head_dump(&head, out);
    vs_payload_end(out, begin);
}

static int send_request(struct model *m, const struct request *r, uint64_t id)
{
    int status = VS_OK;
    for (unsigned i = 0; i < r->n_choices && status == VS_OK; i++)
        status = send_choice(m, id, r, i);
    struct vs_buf head = { 0 };
    add_envelope(&head, r);
    if (status == VS_OK)
        status = head.status;
    if (status == VS_OK)
        status = vs_conn_send_parts(&m->conn, r->type, 0, id, head.data, head.n, r->body.data, r->body.n);
    vs_buf_clear(&head);
    return status;
}

static void tell_resumed(struct broker *b, struct request *r)
{
    char text[80];
    int n = snprintf(text, sizeof text, "{\"what\":\"resumed\",\"done\":%u,\"total\":0}", r->n_tokens);
    r->n_resumed++;
    r->n_since = 0;
    peer_send(b, r->peer, VS_MSG_PROGRESS, 0, r->id, text, (size_t)n);
}

static struct run *run_add(struct broker *b, struct model *m, struct request *r)
{
    struct run *run = calloc(1, sizeof *run), **at = &m->runs;
    if (!run)
        return NULL;
    while (*at)
        at = &(*at)->next;
    *at = run;
    m->n_runs++;
    run->id = ++b->last_run;
    run->type = r->type;
    run->credit = r->credit;
    run->is_alone = r->is_suspect || r->type == VS_MSG_BENCH;
    run->request = r;
    r->run = run;
    r->place = PLACE_RUNNING;
    return run;
}

bool run_is_working(const struct model *m)
{
    for (const struct run *run = m->runs; run; run = run->next)
        if (!run->blocked_at)
            return true;
    return false;
}

static void begin(struct broker *b, struct model *m, struct request *r)
{
    bool was_working = run_is_working(m);
    queue_remove(&m->queue, r);
    r->place = PLACE_NONE;
    struct run *run = run_add(b, m, r);
    int status = run ? send_request(m, r, run->id) : VS_E_NOMEM;     /* VS_E_DIED shows as end of file at the next read */
    if (status == VS_E_LIMIT || status == VS_E_NOMEM) {
        if (run)
            run_free(m, run);
        request_fail(b, r, VS_E_BUSY, "there is no room to hand so large a request on now");
        return;
    }
    r->lost_run = 0;
    r->gave_up = false;
    if (!was_working)
        model_heard(b, m);
    if (!r->began) {
        measure_latency(&m->measure, b->now, LATENCY_QUEUE, b->now - r->arrived_at);
        metrics_time(b, m, TIME_QUEUE, b->now - r->arrived_at);
        r->begun_at = b->now;
    }
    r->began = true;
    line_begun(b, r, run->id);
    if (r->n_resumed < r->n_deaths)
        tell_resumed(b, r);
}

/* Could its place be given to the newcomer? It has sent nothing, is not of a higher class, and its client has two places more. */
static bool can_be_taken_back(const struct broker *b, const struct run *run, const struct request *newcomer)
{
    const struct request *r = run->request;
    return r && run->cancel == VS_OK && !r->n_tokens && !r->is_lost && line_priority(b, r) >= line_priority(b, newcomer)
           && r->client->n_runs >= newcomer->client->n_runs + 2;
}

/* All places are taken: who has too many gives one up, the one that was begun last, which goes back into the line. One at a time;
 * the worker answers as to CANCEL. */
static void take_back(const struct broker *b, struct model *m, const struct request *newcomer)
{
    struct run *last = NULL;
    for (struct run *run = m->runs; run; run = run->next) {
        if (run->is_taken_back)
            return;
        if (can_be_taken_back(b, run, newcomer)
            && (!last || run->request->client->n_runs >= last->request->client->n_runs))
            last = run;
    }
    if (!last)
        return;
    last->is_taken_back = true;
    send_u32(m, VS_MSG_CANCEL, last->id, (uint32_t)-VS_E_BUSY);
}

/* Twice as many as fit into a step, so that the worker can choose; half of those that may wait stay here, where who has many of
 * them gives one up. */
void run_pump(struct broker *b, struct model *m)
{
    unsigned half = b->settings.queue / 2, more = m->parallel < half ? m->parallel : half;
    unsigned most = m->parallel > 1 ? m->parallel + more : 1;
    struct request *r = NULL;
    while (!m->gone && m->state == MODEL_READY && !m->is_dead && !m->killed_for[0] && (r = line_next(b, m)) && m->n_runs < most)
        begin(b, m, r);
    if (r && m->parallel > 1)
        take_back(b, m, r);
}

/* ---- while it runs ---- */

void model_credit(struct broker *b, struct request *r, uint32_t n)
{
    struct run *run = r->run;
    if (!run) {
        r->credit += n;
        return;
    }
    run->credit += n;
    if (run->blocked_at && run->credit >= run->wants) {
        if (!run_is_working(r->model))
            model_heard(b, r->model);
        run->blocked_at = 0;            /* only what lets it go on counts as progress */
    }
    send_u32(r->model, VS_MSG_CREDIT, run->id, n);
}

/* It has come further than the worker that died. */
static void clear_suspect(struct broker *b, struct model *m, struct run *run)
{
    run->request->is_suspect = run->is_alone = false;
    run_pump(b, m);
}

/* Gaps are those of the first choice. */
static void measure_token(struct broker *b, struct model *m, struct request *r, const struct vs_token_view *t)
{
    measure_tokens(&m->measure, b->now, RATE_GENERATED, 1);
    if (t->index)
        return;
    if (r->token_at) {
        measure_latency(&m->measure, b->now, LATENCY_INTER_TOKEN, b->now - r->token_at);
        metrics_time(b, m, TIME_INTER_TOKEN, b->now - r->token_at);
    } else {
        measure_latency(&m->measure, b->now, LATENCY_FIRST_TOKEN, b->now - r->arrived_at);
        metrics_time(b, m, TIME_FIRST_TOKEN, b->now - r->arrived_at);
        r->first_at = b->now;
    }
    r->token_at = b->now;
}

void run_on_stream(struct broker *b, struct model *m, struct vs_frame *f)
{
    struct run *run = run_find(m, f->id);
    struct request *r = run->request;
    struct vs_token_view t;
    bool is_token = f->type == VS_MSG_TOKEN, was_taken_back = run->is_taken_back;
    if (f->n > run->credit) {
        model_violation(b, m, "it sent more than its credit");
        return;
    }
    if (is_token && (!vs_token_parse(f, &t) || t.index >= MAX_CHOICES)) {
        model_violation(b, m, "malformed token");
        return;
    }
    run->credit -= f->n;
    run->blocked_at = 0;
    run->wants = 0;
    run->is_taken_back = false;         /* too late: it goes on */
    if (!r)
        return;
    if (is_token) {
        audit_text(b, r, t.text, t.text_bytes);
        receipt_token(r, &t);
        if (request_note(r, &t, f->flags & VS_FLAG_INDEX)) {
            measure_token(b, m, r, &t);
            line_served(r, 1);
        }
    } else {
        request_lose(r);
    }
    peer_send(b, r->peer, f->type, f->flags, r->id, f->data, f->n);
    if (r->is_suspect && r->n_crashes == 1 && r->n_since >= CLEARED_AFTER)
        clear_suspect(b, m, run);
    else if (was_taken_back)            /* another one may give its place up */
        run_pump(b, m);
}

void run_on_blocked(struct broker *b, struct model *m, struct vs_frame *f)
{
    struct run *run = run_find(m, f->id);
    run->wants = vs_load_u32le(f->data);
    if (run->wants > VS_MAX_CHUNK)
        model_violation(b, m, "it waits for more than a frame may hold");
    else if (run->credit < run->wants && !run->blocked_at)     /* else credit is on its way already */
        run->blocked_at = b->now;
}

void run_forget(struct model *m, uint64_t run)
{
    if (m->conn.fd >= 0 && m->conn.state == VS_AT_OPEN)
        send_u32(m, VS_MSG_CANCEL, run, (uint32_t)-VS_E_CANCELLED);
}

/* as: what the worker is told. */
static void stop(struct broker *b, struct model *m, struct run *run, int code, const char *text, int as)
{
    if (run->cancel != VS_OK)
        return;
    run->cancel = code;
    run->cancel_text = text;
    run->cancel_at = b->now;
    send_u32(m, VS_MSG_CANCEL, run->id, (uint32_t)-as);
}

void run_cancel(struct broker *b, struct model *m, struct run *run, int code)
{
    stop(b, m, run, code, vs_status_text(code), code);
}

void run_withdraw(struct broker *b, struct model *m, struct run *run, int code, const char *text)
{
    stop(b, m, run, code, text, VS_E_CANCELLED);
}

void run_leave(struct broker *b, struct model *m, struct run *run)
{
    run->request = NULL;
    if (run->cancel == VS_OK) {
        run->cancel = VS_E_CANCELLED;
        run->cancel_at = b->now;
    }
    if (m->conn.fd >= 0 && m->conn.state == VS_AT_OPEN)
        send_u32(m, VS_MSG_CANCEL, run->id, 0);
}

/* ---- the end ---- */

/* Work that was not counted while its tokens went by. What has no usage is judged by its text: some four bytes a token. */
static void count_work(struct broker *b, struct model *m, struct request *r, const struct vs_outcome *o)
{
    const struct vs_usage *u = &o->usage;
    uint64_t prompt = o->has_usage && u->prompt_tokens > u->cached_tokens ? (uint64_t)(u->prompt_tokens - u->cached_tokens) : 0;
    measure_end(&m->measure, b->now);
    prompt = prompt < MOST_PROMPT ? prompt : MOST_PROMPT;
    if (prompt)
        line_served(r, prompt);
    else if (r->type == VS_MSG_LOGITS || r->type == VS_MSG_PERPLEXITY || r->type == VS_MSG_VERIFY)
        line_served(r, r->body_bytes / 4);
}

/* Of a request that failed: what the receipt's opening needs. */
static bool may_have_body(const struct run *run, const struct vs_frame *f)
{
    return f->type == VS_MSG_ERROR && (!run->request || run->request->receipt);
}

void run_on_terminal(struct broker *b, struct model *m, struct vs_frame *f)
{
    struct vs_payload p = { 0 };
    struct vs_outcome o = { 0 };
    struct vs_error why;
    bool complete = f->type == VS_MSG_COMPLETE;
    struct run *run = run_find(m, f->id);
    int told = run->cancel;             /* an error's body is a receipt's: that it is lost does not change why it ended */
    const char *told_text = run->cancel_text;
    if (f->is_refused && f->type == VS_MSG_ERROR && told != VS_OK)
        vs_error_set(&o.error, told, "%s", told_text);
    else if (f->is_refused)
        vs_error_set(&o.error, VS_E_NOMEM, "there is no room for the result now");
    else if (vs_payload_split(f->data, f->n, VS_MAX_ENVELOPE, &p, &why) != VS_OK
             || vs_outcome_parse(p.envelope, p.envelope_bytes, &o, &why) != VS_OK) {
        model_violation(b, m, why.text);
        return;
    } else if (complete != (o.error.code == VS_OK) || (!complete && p.body_bytes && !may_have_body(run, f))) {
        model_violation(b, m, "an envelope that does not fit its frame");
        return;
    }
    bool is_back = run->is_taken_back && o.error.code == VS_E_BUSY;
    uint32_t credit = run->credit;
    struct request *r = run_free(m, run);
    if (told != VS_OK && o.error.code == VS_E_CANCELLED)        /* as it was told to; why is ours to say */
        vs_error_set(&o.error, told, "%s", told_text);
    if (r && is_back && told == VS_OK) {
        r->credit = credit;
        r->gave_up = true;
        r->place = PLACE_QUEUED;
        queue_add(&m->queue, r);
    } else if (r && is_back) {
        request_fail(b, r, told, told_text);
    } else if (r) {
        m->n_served++;
        o.usage.resumed = r->n_resumed;
        request_usage(r, &o);
        count_work(b, m, r, &o);
        request_end(b, r, complete && o.error.code ? VS_MSG_ERROR : f->type, &o, p.body, p.body_bytes);
    }
    run_pump(b, m);
}

void run_end_all(struct broker *b, struct model *m, int code, const char *text)
{
    while (m->runs) {
        if (m->runs->request)
            request_cut(b, m->runs->request, code, text);
        run_free(m, m->runs);
    }
}

void run_end_lost(struct broker *b, struct model *m, int code, const char *text)
{
    run_end_all(b, m, code, text);
    for (struct request *r = m->queue.first, *after; r; r = after) {
        after = r->next;
        if (r->lost_run)
            request_fail(b, r, code, text);
    }
}

/* was_alone: no other run was there when the worker died. */
static void lose(struct broker *b, struct model *m, struct run *run, int code, const char *text, bool is_suspicious, bool was_alone)
{
    int cancel = run->cancel;
    const char *cancel_text = run->cancel_text;
    uint32_t credit = run->credit;
    uint64_t id = run->id;
    struct request *r = run_free(m, run);
    if (!r)
        return;
    r->n_deaths++;
    r->n_crashes += is_suspicious;
    bool was_there_before = is_suspicious && r->n_crashes > 1;
    bool saw_enough = r->n_deaths >= MAX_DEATHS && (was_alone || !was_there_before);    /* else another may have done it */
    if (cancel != VS_OK) {
        request_fail(b, r, cancel, cancel_text);
    } else if (saw_enough || !request_can_go_on(r) || (r->n_tokens && !m->can_go_on)) {
        if (was_there_before && was_alone && !r->is_lost)
            refused_add(b, r);
        request_fail(b, r, code, text);
    } else {
        r->credit = credit;
        r->lost_run = id;
        r->is_suspect = is_suspicious;
        r->place = PLACE_QUEUED;
        queue_add(&m->queue, r);
    }
}

void run_lose_all(struct broker *b, struct model *m, int code, const char *text, bool is_suspicious)
{
    bool was_alone = m->n_runs == 1;
    while (m->runs)
        lose(b, m, m->runs, code, text, is_suspicious, was_alone);
}

void run_timers(struct broker *b, struct model *m, uint64_t *next)
{
    bool others_wait = m->queue.n && m->parallel == 1;
    for (struct run *run = m->runs; run; run = run->next) {
        if (run->cancel != VS_OK) {
            if (run->request && due(b, run->cancel_at + CANCEL_TIME, next))     /* the client has waited long enough */
                request_fail(b, run->request, run->cancel, run->cancel_text);
            if (due(b, run->cancel_at + OBEY_TIME, next)) {
                model_stop_worker(b, m, "the worker did not end a request that was cancelled, and was stopped", false);
                return;
            }
        } else if (run->blocked_at && due(b, run->blocked_at + (others_wait ? STALL_TIME_QUEUED : STALL_TIME), next)) {
            run_cancel(b, m, run, VS_E_LIMIT);
        }
    }
}
