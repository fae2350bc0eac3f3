/* prog/broker/audit.c - the log's side here: what happened goes to its writer, and nobody is answered before that is written.
 *
 *     a request comes --record--> writer --WRITTEN--> its worker may have it
 *     its outcome     --record--> writer --WRITTEN--> the client is told, or, where that fails, a record says that it was not
 *
 * Records are numbered and kept until they are known to be written, so a writer that was started again gets what the one before it
 * had not written. When there is no writer for AUDIT_TIME, or it writes nothing for so long, requests are refused and those that
 * run end (on_failure refuse), or they go on, and a record says later how much is missing (continue). The body of a large request
 * is hashed a slice a turn, so that nobody else waits for that. Without a log all of this costs nothing. */
#include "prog/broker/broker.h"

#include "base/bytes.h"
#include "base/sha256.h"
#include "base/utf8.h"
#include "ipc/json.h"
#include "ipc/long_text.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define AUDIT_TIME (5000 * MS)          /* the writer is away for so long at most before it counts as failed */
#define AUDIT_MEMORY (64u << 20)        /* bytes of its link */
#define ASK_TIME (1000 * MS)            /* between two questions for another link */
#define HASH_SLICE (256u << 10)         /* bytes of a body in a turn */
enum { MOST_KEPT = 65536, HMAC_BLOCK = 64, MOST_QUEUED = 8 << 20 };

struct record {
    struct record *next;
    uint64_t number, at;                /* when it was made */
    struct request *begins, *ends;      /* whose it is, or NULL */
    size_t n;
    char text[];
};

/* ---- sending ---- */

/* As far as the link takes; the rest when it has room. */
static void send_kept(struct broker *b)
{
    struct audit *a = &b->audit;
    while (a->unsent && a->conn.fd >= 0 && a->is_known && vs_conn_queued(&a->conn) < MOST_QUEUED) {
        struct record *r = a->unsent;
        if (vs_conn_send(&a->conn, VS_MSG_RECORD, 0, r->number, r->text, r->n, -1) != VS_OK)
            return;                     /* its end shows at the next read */
        a->unsent = r->next;
    }
}

void audit_flush(struct broker *b)
{
    struct vs_conn *c = &b->audit.conn;
    while (vs_conn_queued(c) && vs_conn_flush(c) == VS_OK) {
        send_kept(b);                   /* what was too much at once */
        receipts_send(b);
    }
}

/* ---- fields: the text of an object, for many records a second are made ---- */

static void put_key(struct vs_buf *f, const char *key)
{
    vs_buf_str(f, f->n ? ",\"" : "{\"");
    vs_buf_str(f, key);
    vs_buf_str(f, "\":");
}

static void put_json(struct vs_buf *f, const char *key, const json_t *value)
{
    put_key(f, key);
    if (value)
        vs_json_dump(value, f);
    else
        f->status = VS_E_NOMEM;
}

/* Cut where it is long. */
static void put_text(struct vs_buf *f, const char *key, const char *text)
{
    size_t n = strnlen(text, MAX_LOG_NAME - 1);
    if (vs_utf8_valid(text, n) != n) {
        json_t *clean = vs_json_text(text, n);
        put_json(f, key, clean);
        json_decref(clean);
    } else if (n) {
        put_key(f, key);
        vs_long_write(text, n, f);
    }
}

static void put_number(struct vs_buf *f, const char *key, uint64_t n)
{
    put_key(f, key);
    vs_buf_decimal(f, n);
}

/* Takes over the fields. NULL: it can't be kept. */
static struct record *keep(struct broker *b, const char *event, struct vs_buf *f)
{
    struct audit *a = &b->audit;
    struct record *r = NULL;
    put_text(f, "event", event);
    vs_buf_char(f, '}');
    if (f->status == VS_OK && f->n <= 2 * VS_MAX_CONTROL && a->n_kept < MOST_KEPT)
        r = malloc(sizeof *r + f->n);
    if (r) {
        *r = (struct record){ .number = ++a->n_made, .at = b->now, .n = f->n };
        memcpy(r->text, f->data, f->n);
        if (a->last)
            a->last->next = r;
        else
            a->first = r;
        a->last = r;
        a->n_kept++;
        if (!a->unsent)
            a->unsent = r;
        send_kept(b);
    } else {
        a->n_missed++;
    }
    vs_buf_clear(f);
    return r;
}

void audit_note(struct broker *b, const char *event, json_t *fields)
{
    struct vs_buf f = { .status = fields ? VS_OK : VS_E_NOMEM };
    const char *key;
    json_t *value;
    json_object_foreach(fields, key, value)
        if (b->audit.is_on)
            put_json(&f, key, value);
    if (b->audit.is_on)
        keep(b, event, &f);
    json_decref(fields);
}

/* ---- texts: never themselves ---- */

static void hmac_begin(const struct audit *a, uint8_t pad, struct vs_sha256 *ret)
{
    uint8_t block[HMAC_BLOCK];
    for (size_t i = 0; i < sizeof block; i++)
        block[i] = (uint8_t)((i < sizeof a->key ? a->key[i] : 0) ^ pad);
    vs_sha256_init(ret);
    vs_sha256_add(ret, block, sizeof block);
}

static void hmac_end(const struct audit *a, struct vs_sha256 *inner, char ret[65])
{
    struct vs_sha256 outer;
    uint8_t sum[32];
    vs_sha256_end(inner, sum);
    hmac_begin(a, 0x5c, &outer);
    vs_sha256_add(&outer, sum, sizeof sum);
    vs_sha256_end(&outer, sum);
    vs_hex(sum, sizeof sum, ret);
}

void audit_text(struct broker *b, struct request *r, const char *text, size_t n)
{
    if (!b->audit.is_on || !r->is_recorded)
        return;
    if (!r->text_bytes)
        hmac_begin(&b->audit, 0x36, &r->text_sum);
    vs_sha256_add(&r->text_sum, text, n);
    r->text_bytes += n;
}

static void put_hmac(const struct audit *a, struct vs_buf *f, struct vs_sha256 *inner)
{
    char hmac[65];
    hmac_end(a, inner, hmac);
    put_text(f, "text_hmac", hmac);
}

/* ---- requests ---- */

static bool is_loggable(uint16_t type)
{
    return type != VS_MSG_STATUS && type != VS_MSG_LIST && type != VS_MSG_METRICS && type != VS_MSG_TRACES
        && type != VS_MSG_WHOAMI;
}

static void put_who(struct vs_buf *f, const struct request *r)
{
    put_number(f, "request", r->id);
    put_text(f, "type", vs_message_name(r->type));
    put_number(f, "number", r->number);
    put_number(f, "uid", r->peer->uid);
    put_number(f, "pid", (uint64_t)r->peer->pid);
    put_text(f, "client", r->peer->name);
    put_text(f, "key", r->who.name);
    if (r->who.name[0] || r->who.role)
        put_text(f, "role", vs_role_name(r->who.role));
    put_text(f, "remote", r->remote);
    put_text(f, "trace", r->trace);
    if (!r->client->is_key)
        put_text(f, "on_behalf_of", r->client->person);
}

static void let_begin(struct broker *b, struct request *r)
{
    r->waits_for_log = false;
    if (r->place == PLACE_QUEUED)
        run_pump(b, r->model);
}

/* Its first record. False: it cannot be kept, and nobody may have what has none. */
static bool keep_begin(struct broker *b, struct request *r, struct vs_buf *f)
{
    struct audit *a = &b->audit;
    struct record *record = keep(b, "request", f);
    r->first_record = record ? record->number : 0;
    r->waits_for_log = record && !a->is_failed;
    if (r->waits_for_log) {
        record->begins = r;
        r->begin_record = record;
    }
    return record || a->continues;
}

/* Not in one turn: its body must be there until it is done (audit_hash). */
static void hash_later(struct audit *a, struct request *r, const struct vs_buf *f)
{
    struct request **at = &a->unhashed;
    while (*at)
        at = &(*at)->next_unhashed;
    *at = r;
    r->unhashed = *f;
    r->n_hashed = 0;
    r->waits_for_log = true;
    hmac_begin(a, 0x36, &r->body_sum);
}

/* Takes its first record, which is without HMAC as far as the body was not read. False: it has been made. */
static bool take_unhashed(struct audit *a, struct request *r, struct vs_buf *ret)
{
    struct request **at = &a->unhashed;
    if (!r->unhashed.n)
        return false;
    while (*at != r)
        at = &(*at)->next_unhashed;
    *at = r->next_unhashed;
    r->next_unhashed = NULL;
    *ret = r->unhashed;
    r->unhashed = (struct vs_buf){ 0 };
    return true;
}

void audit_hash(struct broker *b)
{
    struct audit *a = &b->audit;
    struct request *r = a->unhashed;
    if (!r)
        return;
    size_t left = r->body.n - r->n_hashed, n = left < HASH_SLICE ? left : HASH_SLICE;
    vs_sha256_add(&r->body_sum, r->body.data + r->n_hashed, n);
    r->n_hashed += n;
    if (n < left)
        return;
    struct vs_buf f = { 0 };
    take_unhashed(a, r, &f);
    put_hmac(a, &f, &r->body_sum);
    if (!keep_begin(b, r, &f))
        request_fail(b, r, VS_E_SYSTEM, "the audit log cannot be written");
    else if (!r->waits_for_log)
        let_begin(b, r);
}

bool audit_begin(struct broker *b, struct request *r, const struct vs_head *head, const struct vs_payload *p)
{
    struct audit *a = &b->audit;
    if (!a->is_on || !is_loggable(r->type))
        return true;
    if (a->is_failed && !a->continues) {
        a->n_missed++;
        return false;
    }
    r->number = ++a->n_requests;
    memcpy(r->policy, a->policy, sizeof r->policy);
    if (head && head->trace)
        snprintf(r->trace, sizeof r->trace, "%s", head->trace);
    struct vs_buf f = { 0 };
    put_who(&f, r);
    if (head && head->model)
        put_text(&f, "model", head->model);
    if (head && head->on_behalf_of && (r->client->is_key || !r->client->person[0]))
        put_text(&f, "on_behalf_of", head->on_behalf_of);
    r->is_recorded = true;
    if (p && p->body_bytes)
        put_number(&f, "text_bytes", p->body_bytes);
    if (p && p->body_bytes > HASH_SLICE) {
        hash_later(a, r, &f);
        return true;
    }
    if (p && p->body_bytes) {
        struct vs_sha256 sum;
        hmac_begin(a, 0x36, &sum);
        vs_sha256_add(&sum, p->body, p->body_bytes);
        put_hmac(a, &f, &sum);
    }
    return r->is_recorded = keep_begin(b, r, &f);
}

static int severity_of(const struct vs_outcome *o)
{
    return o->error.code == VS_OK ? 1 : 2;      /* OCSF: success, failure */
}

static void add_finding(struct broker *b, struct request *r, const struct vs_outcome *o)
{
    json_t *guard = o->guard[0] ? vs_json_parse(o->guard, strlen(o->guard), NULL) : NULL;
    struct vs_buf f = { 0 };
    if (!guard)
        return;
    put_who(&f, r);
    put_json(&f, "guard", guard);
    put_text(&f, "model", r->model ? r->model->name : "");
    put_text(&f, "policy", r->policy);
    keep(b, "finding", &f);
    json_decref(guard);
}

static void put_levels(struct vs_buf *f, const struct broker *b, const struct model *m)
{
    const struct { const char *name; const json_t *sandbox; } of[] = {
        { "broker", b->sandbox }, { "guard", m ? m->guard_sandbox : NULL }, { "worker", m ? m->sandbox : NULL },
    };
    struct vs_buf all = { 0 };
    for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
        const json_t *level = json_object_get(of[i].sandbox, "level");
        if (json_is_integer(level))
            put_number(&all, of[i].name, (uint64_t)json_integer_value(level));
    }
    put_key(f, "sandbox");
    vs_buf_add(f, all.n ? all.data : "{", all.n ? all.n : 1);
    vs_buf_char(f, '}');
    vs_buf_clear(&all);
}

static void put_chains(struct vs_buf *f, const struct request *r)
{
    json_t *all = r->receipt ? receipt_chains(r) : NULL;
    if (json_array_size(all) == 1)
        put_text(f, "receipt", json_string_value(json_array_get(all, 0)));
    else if (json_array_size(all))
        put_json(f, "receipts", all);
    json_decref(all);
}

enum audit_ends audit_end(struct broker *b, struct request *r, const struct vs_outcome *o)
{
    struct audit *a = &b->audit;
    if (!a->is_on || !r->is_recorded)
        return AUDIT_TELL;
    bool failed = o->error.code != VS_OK;
    struct vs_buf f = { 0 };
    if (take_unhashed(a, r, &f))        /* no worker has seen the body */
        keep_begin(b, r, &f);
    add_finding(b, r, o);
    put_who(&f, r);
    const struct model *m = r->model;
    put_text(&f, "model", m ? m->name : "");
    put_text(&f, "model_digest", o->model_digest[0] ? o->model_digest : "");
    put_text(&f, "finish", failed ? vs_status_name(o->error.code) : o->finish_reason[0] ? o->finish_reason : "done");
    put_number(&f, "status_id", (uint64_t)severity_of(o));
    put_number(&f, "duration", (b->now - r->arrived_at) / MS);
    if (o->has_usage) {
        put_number(&f, "prompt_tokens", o->usage.prompt_tokens);
        put_number(&f, "completion_tokens", o->usage.completion_tokens);
        put_number(&f, "cached_tokens", o->usage.cached_tokens);
    } else if (r->n_tokens) {
        put_number(&f, "completion_tokens", r->n_tokens);
    }
    if (r->n_resumed)
        put_number(&f, "resumed", r->n_resumed);
    if (r->text_bytes) {
        put_number(&f, "text_bytes", r->text_bytes);
        put_hmac(a, &f, &r->text_sum);
    }
    put_text(&f, "policy", r->policy);
    put_chains(&f, r);
    if (m)
        put_levels(&f, b, m);
    struct record *record = keep(b, "answer", &f);
    if (a->continues && (!record || a->is_failed))
        return AUDIT_TELL;
    if (!record)
        return AUDIT_LOST;
    record->ends = r;
    r->end_record = record;
    return AUDIT_WAIT;
}

void audit_undelivered(struct broker *b, struct request *r, const char *why)
{
    struct vs_buf f = { 0 };
    if (!b->audit.is_on || !r->is_recorded)
        return;
    put_who(&f, r);
    put_text(&f, "message", why);
    put_number(&f, "status_id", 2);
    keep(b, "undelivered", &f);
}

void audit_forget(struct request *r)
{
    if (r->begin_record)
        r->begin_record->begins = NULL;
    if (r->end_record)
        r->end_record->ends = NULL;
    r->begin_record = r->end_record = NULL;
}

/* ---- the writer ---- */

/* Nobody waits for this record any longer: it is written, or they go on without it, or end. */
static void let_go(struct broker *b, struct record *r, bool is_well)
{
    struct request *begins = r->begins, *ends = r->ends;
    r->begins = r->ends = NULL;
    if (begins) {
        begins->begin_record = NULL;
        let_begin(b, begins);
    }
    if (ends) {
        ends->end_record = NULL;
        request_deliver(b, ends, is_well ? NULL : "the audit log cannot be written");
    }
}

/* The first of those kept is written, or will not be. */
static void drop_first(struct broker *b, bool is_written)
{
    struct audit *a = &b->audit;
    struct record *r = a->first;
    a->first = r->next;
    a->last = a->first ? a->last : NULL;
    a->unsent = a->unsent == r ? r->next : a->unsent;
    a->n_kept--;
    let_go(b, r, is_written);
    free(r);
}

static void on_written(struct broker *b, const struct vs_frame *f)
{
    struct audit *a = &b->audit;
    uint64_t number = vs_load_u64le(f->data);
    bool goes_on = !a->first || a->first->number <= number;
    a->is_known = true;
    if (goes_on) {                      /* else it is there, and has written nothing more: it may be about to end again */
        a->is_failed = false;
        a->gone_at = 0;
    }
    while (a->first && a->first->number <= number)
        drop_first(b, true);
    if (a->n_missed && goes_on) {
        uint64_t missed = a->n_missed;
        a->n_missed = 0;
        struct vs_buf gap = { 0 };
        put_number(&gap, "missed", missed);
        keep(b, "gap", &gap);
    }
    send_kept(b);
    receipts_send(b);
}

static void on_receipt(struct broker *b, const struct vs_frame *f)
{
    receipts_on_signed(b, f);
}

void audit_open(struct broker *b, int fd, const json_t *settings)
{
    struct audit *a = &b->audit;
    const char *failure = json_string_value(json_object_get(settings, "on_failure"));
    const char *key = json_string_value(json_object_get(settings, "key"));
    uint64_t number = 0;
    vs_conn_clear(&a->conn);
    vs_conn_init(&a->conn, fd, &vs_ipc_from_audit, VS_AT_OPEN);
    a->memory.limit = AUDIT_MEMORY;
    a->conn.budget = &a->memory;
    a->conn.corked = true;              /* audit_flush: a record and its receipt come together, and wake the writer once */
    a->continues = failure && strcmp(failure, "continue") == 0;
    if (key && vs_hex_is_sha256(key))
        vs_hex_bytes(key, sizeof a->key, a->key);
    bool only_signs = json_is_true(json_object_get(settings, "signer"));
    if (!a->source[0] && getrandom(&number, sizeof number, 0) == (ssize_t)sizeof number)
        snprintf(a->source, sizeof a->source, "%016llx", (unsigned long long)number);
    receipts_unsend(b);
    a->unsent = a->first;               /* what is written of it, the writer says at once */
    a->is_known = false;
    a->gone_at = a->gone_at ? a->gone_at : b->now;
    char hello[64];
    int n = snprintf(hello, sizeof hello, "{\"source\":\"%s\"}", a->source);
    vs_conn_send(&a->conn, VS_MSG_HELLO, 0, 0, hello, (size_t)n, -1);
    if (!a->is_on && !only_signs) {
        a->is_on = true;
        struct vs_buf f = { 0 };
        json_t *keys = who_keys_json(b);
        put_text(&f, "version", VERITAS_VERSION);
        put_levels(&f, b, NULL);
        put_text(&f, "policy", a->policy);
        put_json(&f, "settings", keys);
        keep(b, "broker", &f);
        json_decref(keys);
    }
}

/* Nobody writes any more, for too long. */
static void fail(struct broker *b, const char *why)
{
    struct audit *a = &b->audit;
    a->is_failed = true;
    if (a->is_on)
        broker_log_event(b, VS_LOG_ERROR, "audit_failed", NULL, 0, a->continues
                         ? "the audit log cannot be written: requests are answered, and what is missing is counted"
                         : "the audit log cannot be written: requests are refused until it can");
    for (struct peer *p = b->peers; p && !a->continues; p = p->next)
        for (struct request *r = p->requests; r; r = r->peer_next)
            if (r->is_recorded && r->place != PLACE_ENDED && r->place != PLACE_CLOSING)
                request_fail(b, r, VS_E_SYSTEM, "the audit log cannot be written");
    for (struct record *r = a->first; r; r = r->next)           /* they stay, for a writer that comes */
        let_go(b, r, a->continues);
    receipts_fail(b, why);
}

void audit_failed(struct broker *b, const json_t *message)
{
    struct vs_error why;
    char text[400];
    vs_json_to_error(message, &why);
    snprintf(text, sizeof text, "receipts can't be signed: %.300s", why.text);
    if (b->audit.conn.fd < 0)
        fail(b, text);
}

static const struct {
    uint16_t type;
    void (*take)(struct broker *b, const struct vs_frame *f);
} handlers[] = {
    { VS_MSG_WRITTEN, on_written }, { VS_MSG_RECEIPT, on_receipt },
};
enum { N_HANDLERS = sizeof handlers / sizeof *handlers };

uint16_t audit_unhandled(void)
{
    return vs_ipc_unhandled(&vs_ipc_from_audit, handlers, N_HANDLERS, sizeof *handlers);
}

void audit_ready(struct broker *b, short events)
{
    struct audit *a = &b->audit;
    struct vs_frame f;
    struct vs_error why = { 0 };
    if (events & POLLOUT)
        audit_flush(b);
    if (!(events & (POLLIN | POLLHUP | POLLERR)))
        return;
    int status = vs_conn_read(&a->conn);
    while (status == VS_OK && (status = vs_conn_next(&a->conn, &f, &why)) == VS_OK)
        handlers[vs_ipc_handler(handlers, N_HANDLERS, sizeof *handlers, f.type)].take(b, &f);
    if (status == VS_E_BUSY)
        return;
    vs_conn_clear(&a->conn);            /* the supervisor starts another, where it is the writer that ended */
    a->gone_at = a->gone_at ? a->gone_at : b->now;
    a->ask_at = b->now + ASK_TIME;
    a->is_known = false;
}

/* The oldest record waits too long, be there a writer or none. */
uint64_t audit_timers(struct broker *b)
{
    struct audit *a = &b->audit;
    uint64_t next = NEVER, since = a->first ? a->first->at : a->gone_at ? a->gone_at : receipts_since(b);
    if (since && !a->is_failed && due(b, since + AUDIT_TIME, &next))
        fail(b, a->is_on ? "the audit log cannot be written" : "the receipt could not be signed: nobody is there who does");
    if ((a->is_on || a->unsigned_first) && a->conn.fd < 0 && due(b, a->ask_at, &next)) {
        control_send(b, VS_MSG_AUDIT, 0, NULL, NULL);
        a->ask_at = b->now + ASK_TIME;
    }
    return a->unhashed || a->unhashed_receipts ? 0 : next;
}

void audit_clear(struct broker *b)
{
    struct audit *a = &b->audit;
    while (a->first) {
        struct record *r = a->first;
        a->first = r->next;
        free(r);
    }
    vs_conn_clear(&a->conn);
    explicit_bzero(a->key, sizeof a->key);
}
