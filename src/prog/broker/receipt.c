/* prog/broker/receipt.c - receipts of answers: what is known here and what the worker says become a statement, which the log's
 * writer signs (docs/RECEIPT.md). The client gets it right before the frame that ends its request.
 *
 *     request: salt, who, when --> worker: its part of the statement --> the end: the statement --RECEIPT--> signer
 *                                                                        client <--RECEIPT, the end-- signed
 *
 * A daemon without a log has no writer; then the supervisor is asked for one that only signs, when the first receipt is wanted. */
#include "prog/broker/broker.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "ipc/json.h"
#include "receipt/statement.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define HASH_SLICE (256u << 10)         /* bytes of a body in a turn, so that nobody else waits for a large one */

struct receipt {
    struct receipt *next;               /* that is to be signed, too */
    struct receipt *next_unhashed;      /* whose body is being hashed, too */
    struct vs_sha256 body;
    size_t n_hashed;                    /* bytes of it */
    struct request *request;
    uint64_t id;                        /* 0, or that of the frame by which it is to be signed */
    uint64_t at;                        /* since when it is to be signed */
    bool is_sent;
    unsigned level;
    char salt[VS_SALT_HEX];
    uint8_t salt_bytes[VS_SALT_BYTES];
    struct vs_statement known;          /* what we know when it comes */
    struct vs_statement *part;          /* the worker's; NULL */
    struct vs_sha256 as_made, delivered, ids;    /* what went to the client: its text under both names */
    bool has_text, is_altered, is_withheld;      /* it is not what the model made; ids of tokens were withheld */
    struct vs_buf text;                 /* the statement; then what the signer made of it */
    bool is_signed;
};

/* ---- the signer ---- */

static void ask_for_signer(struct broker *b)
{
    struct audit *a = &b->audit;
    if (a->is_on || a->conn.fd >= 0 || (a->gone_at && !a->is_failed))
        return;
    a->is_failed = false;
    a->gone_at = b->now;
    a->ask_at = b->now + 1000 * MS;
    control_send(b, VS_MSG_AUDIT, 0, NULL, NULL);
}

uint64_t receipts_since(const struct broker *b)
{
    return b->audit.unsigned_first ? b->audit.unsigned_first->at : 0;
}

void receipts_send(struct broker *b)
{
    struct audit *a = &b->audit;
    for (struct receipt *c = a->unsigned_first; c && a->is_known && !a->unsent && a->conn.fd >= 0; c = c->next) {
        if (c->is_sent)
            continue;
        if (vs_conn_send(&a->conn, VS_MSG_RECEIPT, 0, c->id, c->text.data, c->text.n, -1) != VS_OK)
            return;                     /* its end shows at the next read */
        c->is_sent = true;
    }
}

void receipts_unsend(struct broker *b)
{
    for (struct receipt *c = b->audit.unsigned_first; c; c = c->next)
        c->is_sent = false;
}

static void unlink_receipt(struct broker *b, const struct receipt *c)
{
    struct receipt **at = &b->audit.unsigned_first;
    while (*at && *at != c)
        at = &(*at)->next;
    if (*at)
        *at = c->next;
}

void receipts_on_signed(struct broker *b, const struct vs_frame *f)
{
    struct receipt *c = b->audit.unsigned_first;
    while (c && c->id != f->id)
        c = c->next;
    if (!c)
        return;
    unlink_receipt(b, c);
    vs_buf_reset(&c->text);
    vs_buf_add(&c->text, f->data, f->n);
    c->is_signed = c->text.status == VS_OK;
    request_deliver(b, c->request, c->is_signed);
}

void receipts_fail(struct broker *b, const char *why)
{
    while (b->audit.unsigned_first) {
        struct receipt *c = b->audit.unsigned_first;
        unlink_receipt(b, c);
        request_deliver(b, c->request, b->audit.continues);
    }
    for (struct peer *p = b->peers; p && !b->audit.continues; p = p->next)
        for (struct request *r = p->requests; r; r = r->peer_next)
            if (r->receipt && r->place != PLACE_ENDED && r->place != PLACE_CLOSING)
                request_fail(b, r, VS_E_SYSTEM, why);
}

/* ---- a request ---- */

static bool make_salt(struct receipt *c)
{
    if (getrandom(c->salt_bytes, sizeof c->salt_bytes, 0) != (ssize_t)sizeof c->salt_bytes)
        return false;
    vs_hex(c->salt_bytes, sizeof c->salt_bytes, c->salt);
    return true;
}

/* n bytes more of the body; the last of them end it. */
static void hash_body(struct receipt *c, const char *body, size_t n, size_t whole)
{
    vs_sha256_add(&c->body, body + c->n_hashed, n);
    c->n_hashed += n;
    if (c->n_hashed < whole)
        return;
    vs_sha256_end(&c->body, c->known.body.hash);
    c->known.body.is_there = true;
}

static void unlink_unhashed(struct broker *b, const struct receipt *c)
{
    struct receipt **at = &b->audit.unhashed_receipts;
    while (*at && *at != c)
        at = &(*at)->next_unhashed;
    if (*at)
        *at = c->next_unhashed;
}

void receipt_lose_body(struct request *r)
{
    struct receipt *c = r->receipt;
    const struct vs_buf *body = &r->body;
    if (c && !c->known.body.is_there && body->n)
        hash_body(c, body->data, body->n - c->n_hashed, body->n);
}

void receipts_hash(struct broker *b)
{
    struct receipt *c = b->audit.unhashed_receipts;
    if (!c)
        return;
    const struct vs_buf *body = &c->request->body;
    size_t left = body->n - c->n_hashed;
    if (!c->known.body.is_there && body->n)
        hash_body(c, body->data, left < HASH_SLICE ? left : HASH_SLICE, body->n);
    if (c->known.body.is_there || !body->n)      /* it ended before its body was kept: its receipt has none */
        unlink_unhashed(b, c);
}

/* Who asks for what. */
static void say_known(const struct broker *b, const struct request *r, struct receipt *c, const struct vs_head *head,
                      const struct vs_payload *p)
{
    struct vs_statement *s = &c->known;
    vs_commit_begin(&c->body, VS_COMMIT_BODY, c->salt_bytes);
    if (p->body_bytes <= HASH_SLICE)
        hash_body(c, p->body, p->body_bytes, p->body_bytes);
    snprintf(s->engine.name, sizeof s->engine.name, "veritas");
    snprintf(s->engine.version, sizeof s->engine.version, "%s", VERITAS_VERSION);
    s->time.start = (uint64_t)vs_clock_real_ms();
    snprintf(s->time.source, sizeof s->time.source, "local");
    s->actor.uid = r->peer->uid == NOBODY ? -1 : (int64_t)r->peer->uid;
    s->actor.request = r->id > INT64_MAX ? 0 : r->id;
    if (vs_statement_is_word(r->who.name))
        snprintf(s->actor.key, sizeof s->actor.key, "%s", r->who.name);
    if (head->on_behalf_of) {
        vs_commit(VS_COMMIT_BEHALF, c->salt_bytes, head->on_behalf_of, strlen(head->on_behalf_of), s->actor.on_behalf_of.hash);
        s->actor.on_behalf_of.is_there = true;
    }
    s->has_guard = vs_hex_is_sha256(b->audit.policy);
    if (s->has_guard)
        vs_hex_bytes(b->audit.policy, sizeof s->guard.policy.hash, s->guard.policy.hash);
    s->guard.policy.is_there = s->has_guard;
}

int receipt_begin(struct broker *b, struct request *r, const struct vs_head *head, const struct vs_payload *p,
                  struct vs_error *err)
{
    bool is_answer = r->type == VS_MSG_GENERATE || r->type == VS_MSG_CHAT;
    unsigned level = head->receipt;
    if (level && b->receipts == RECEIPTS_OFF)
        return vs_error_set(err, VS_E_DENIED, "the policy makes no receipts (receipts.mode)");
    if (!level && is_answer && b->receipts == RECEIPTS_ALWAYS)
        level = VS_RECEIPT_BEST;
    if (!level)
        return VS_OK;
    struct receipt *c = calloc(1, sizeof *c);
    if (!c || !make_salt(c)) {
        free(c);
        return vs_error_set(err, VS_E_NOMEM, "%s", vs_status_text(VS_E_NOMEM));
    }
    c->request = r;
    c->level = level;
    say_known(b, r, c, head, p);
    vs_commit_begin(&c->as_made, VS_COMMIT_TEXT, c->salt_bytes);
    vs_commit_begin(&c->delivered, VS_COMMIT_DELIVERED, c->salt_bytes);
    vs_commit_begin(&c->ids, VS_COMMIT_TOKENS, c->salt_bytes);
    r->receipt = c;
    if (!c->known.body.is_there) {
        c->next_unhashed = b->audit.unhashed_receipts;
        b->audit.unhashed_receipts = c;
    }
    ask_for_signer(b);
    return VS_OK;
}

void receipt_head(const struct request *r, struct vs_head *ret)
{
    if (!r->receipt)
        return;
    ret->receipt = r->receipt->level;
    ret->salt = r->receipt->salt;
}

void receipt_token(struct request *r, const struct vs_token_view *t)
{
    struct receipt *c = r->receipt;
    if (!c)
        return;
    if (t->id != VS_NO_TOKEN)
        vs_commit_add_ids(&c->ids, &t->id, 1);
    c->has_text |= t->text_bytes > 0;
    vs_sha256_add(&c->as_made, t->text, t->text_bytes);
    vs_sha256_add(&c->delivered, t->text, t->text_bytes);
}

/* The worker says it once, right before its end; one that took over says it again. */
void receipt_on_part(struct broker *b, struct model *m, struct vs_frame *f)
{
    struct request *r = run_find(m, f->id)->request;
    struct vs_statement part;
    struct vs_error why;
    if (!r)
        return;
    if (!r->receipt || vs_statement_parse((const char *)f->data, f->n, VS_STATEMENT_WORKER, &part, &why) != VS_OK
        || part.trace.level != r->receipt->level) {
        model_violation(b, m, "what it says for a receipt is none, or was not asked for");
        return;
    }
    struct receipt *c = r->receipt;
    if (!c->part)
        c->part = malloc(sizeof *c->part);
    if (c->part)
        *c->part = part;
}

/* ---- the end ---- */

static const char *finish_of(const struct request *r, const struct vs_outcome *o)
{
    int code = o->error.code;
    if (code == VS_OK)
        return o->finish_reason;
    return code == VS_E_CANCELLED || code == VS_E_TIMEOUT ? "cancelled" : r->began && code != VS_E_FILTERED ? "failed" : "refused";
}

/* What the guard did, the strongest; "pass": nothing. */
static void say_guard(struct vs_statement *s, const struct vs_outcome *o)
{
    json_t *guard = o->guard[0] ? vs_json_parse(o->guard, strlen(o->guard), NULL) : NULL;
    const char *action = json_string_value(json_object_get(guard, "action"));
    snprintf(s->guard.action, sizeof s->guard.action, "%s", action && vs_statement_is_word(action) ? action : "pass");
    json_decref(guard);
}

/* The text that the client has; under a name of its own when it is not what the model made. */
static void say_delivered(struct receipt *c, struct vs_statement *s)
{
    uint8_t made[VS_DIGEST_BYTES], ids[VS_DIGEST_BYTES];
    vs_sha256_end(&c->ids, ids);
    c->is_withheld = !s->tokens.is_there || memcmp(ids, s->tokens.hash, sizeof ids) != 0;
    vs_sha256_end(&c->as_made, made);
    vs_sha256_end(&c->delivered, s->delivered.hash);
    s->delivered.is_there = s->text.is_there ? memcmp(made, s->text.hash, sizeof made) != 0 : c->has_text;
    c->is_altered = s->delivered.is_there;
}

bool receipt_end(struct broker *b, struct request *r, const struct vs_outcome *o)
{
    struct receipt *c = r->receipt;
    struct audit *a = &b->audit;
    if (!c || a->is_failed)
        return false;
    receipt_lose_body(r);
    struct vs_statement s = c->known;
    if (c->part) {
        s = *c->part;
        s.body = c->known.body;
        s.engine = c->known.engine;
        s.time = c->known.time;
        s.actor = c->known.actor;
        s.has_guard = c->known.has_guard;
        s.guard = c->known.guard;
    }
    s.has_log = r->first_record != 0;
    s.log.record = r->first_record;
    snprintf(s.log.source, sizeof s.log.source, "%s", a->source);
    say_delivered(c, &s);
    say_guard(&s, o);
    s.observed.resumed = r->n_resumed;
    s.time.end = (uint64_t)vs_clock_real_ms();
    snprintf(s.result.finish, sizeof s.result.finish, "%s", finish_of(r, o));
    if (o->error.code != VS_OK)
        snprintf(s.result.error, sizeof s.result.error, "%s", vs_status_name(o->error.code));
    if (!s.body.is_there && !s.tokens.is_there && !s.delivered.is_there)
        return false;                   /* refused before anything was kept of it */
    vs_statement_format(&s, VS_STATEMENT_WHOLE, &c->text);
    if (c->text.status != VS_OK)
        return false;
    c->id = ++a->n_receipts;
    c->at = b->now;
    struct receipt **at = &a->unsigned_first;
    while (*at)
        at = &(*at)->next;
    *at = c;
    receipts_send(b);
    return true;
}

bool receipt_hash(const struct request *r, char ret[65])
{
    if (!r->receipt || !r->receipt->part)
        return false;
    vs_hex(r->receipt->part->trace.chain.hash, VS_DIGEST_BYTES, ret);
    return true;
}

void receipt_opens(const struct request *r, struct vs_outcome *ret)
{
    const struct receipt *c = r->receipt;
    ret->is_altered = c && c->id && c->is_altered;
    ret->is_withheld = c && c->id && c->is_withheld;
    snprintf(ret->salt, sizeof ret->salt, "%s", c && c->id ? c->salt : "");
}

void receipt_tell(struct broker *b, struct request *r)
{
    const struct receipt *c = r->receipt;
    if (c && c->is_signed)
        peer_send(b, r->peer, VS_MSG_RECEIPT, 0, r->id, c->text.data, c->text.n);
}

void receipt_free(struct broker *b, struct request *r)
{
    struct receipt *c = r->receipt;
    if (!c)
        return;
    unlink_receipt(b, c);
    unlink_unhashed(b, c);
    vs_buf_clear(&c->text);
    free(c->part);
    explicit_bzero(c->salt_bytes, sizeof c->salt_bytes);
    free(c);
    r->receipt = NULL;
}
