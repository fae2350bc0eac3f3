/* prog/broker/receipt.c - receipts of answers: what is known here and what the worker says become a statement, which the log's
 * writer signs (docs/RECEIPT.md). The client gets it right before the frame that ends its request.
 *
 *     request: salt, who, when --> worker: its part of the statement --> the end: the statement --RECEIPT--> signer
 *                                                                        client <--RECEIPT, the end-- signed
 *
 * A request for several answers has one salt, and of each answer a statement that is signed by itself.
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

struct made {                           /* an answer */
    struct made *next;                  /* that is to be signed, too */
    struct request *request;
    const uint8_t *salt;                /* the request's */
    uint64_t id;                        /* 0, or that of the frame by which it is to be signed */
    uint64_t at;                        /* since when it is to be signed */
    bool is_sent, is_signed;
    struct vs_statement *part;          /* the worker's; NULL */
    struct vs_sha256 as_made, delivered, ids;    /* what went to the client: its text under both names */
    bool has_text, is_altered, is_withheld;      /* it is not what the model made; ids of tokens were withheld */
    struct vs_buf text;                 /* the statement; then what the signer made of it */
    struct vs_buf kept;                 /* of a KEPT frame: the ids that were withheld, and the rest of the opening; mostly empty */
};

struct receipt {                        /* of a request */
    struct receipt *next_unhashed;      /* whose body is being hashed, too */
    struct vs_sha256 body;
    size_t n_hashed;                    /* bytes of it */
    struct request *request;
    unsigned level;
    bool keeps;
    char salt[VS_SALT_HEX];
    uint8_t salt_bytes[VS_SALT_BYTES];
    struct vs_statement known;          /* what we know when it comes */
    struct made *made[MAX_CHOICES];     /* [n] */
    unsigned n;
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
    for (struct made *m = a->unsigned_first; m && a->is_known && !a->unsent && a->conn.fd >= 0; m = m->next) {
        if (m->is_sent)
            continue;
        if (m->kept.n && vs_conn_send_parts(&a->conn, VS_MSG_KEPT, 0, m->id, m->salt, VS_SALT_BYTES, m->kept.data, m->kept.n)
            != VS_OK)
            return;
        if (vs_conn_send(&a->conn, VS_MSG_RECEIPT, 0, m->id, m->text.data, m->text.n, -1) != VS_OK)
            return;                     /* its end shows at the next read */
        m->is_sent = true;
    }
}

void receipts_unsend(struct broker *b)
{
    for (struct made *m = b->audit.unsigned_first; m; m = m->next)
        m->is_sent = false;
}

static void unlink_made(struct broker *b, const struct made *m)
{
    struct made **at = &b->audit.unsigned_first;
    while (*at && *at != m)
        at = &(*at)->next;
    if (*at)
        *at = m->next;
}

void receipts_on_signed(struct broker *b, const struct vs_frame *f)
{
    struct made *m = b->audit.unsigned_first;
    while (m && m->id != f->id)
        m = m->next;
    if (!m)
        return;
    unlink_made(b, m);
    vs_buf_reset(&m->text);
    vs_buf_add(&m->text, f->data, f->n);
    m->is_signed = m->text.status == VS_OK;
    request_deliver(b, m->request, m->is_signed ? NULL : "the receipt could not be signed");
}

void receipts_fail(struct broker *b, const char *why)
{
    while (b->audit.unsigned_first) {
        struct made *m = b->audit.unsigned_first;
        unlink_made(b, m);
        if (b->audit.continues && m->request->n_awaited == 1)      /* the last of them */
            audit_undelivered(b, m->request, "the receipt could not be signed: the answer went without it");
        request_deliver(b, m->request, b->audit.continues ? NULL : why);
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

/* One of its answers, from the first word of it on. NULL: no memory. */
static struct made *answer_of(struct receipt *c, uint32_t index)
{
    struct made *m = index < MAX_CHOICES ? c->made[index] : NULL;
    if (m || index >= MAX_CHOICES || !(m = calloc(1, sizeof *m)))
        return m;
    m->request = c->request;
    m->salt = c->salt_bytes;
    vs_commit_begin(&m->as_made, VS_COMMIT_TEXT, c->salt_bytes);
    vs_commit_begin(&m->delivered, VS_COMMIT_DELIVERED, c->salt_bytes);
    vs_commit_begin(&m->ids, VS_COMMIT_TOKENS, c->salt_bytes);
    c->made[index] = m;
    c->n = c->n > index ? c->n : index + 1;
    return m;
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
    if (c)
        c->request = r;
    if (!c || !make_salt(c) || !answer_of(c, 0)) {
        free(c);
        return vs_error_set(err, VS_E_NOMEM, "%s", vs_status_text(VS_E_NOMEM));
    }
    c->level = level;
    c->keeps = b->keeps;
    say_known(b, r, c, head, p);
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
    ret->keep = r->receipt->keeps;
}

void receipt_token(struct request *r, const struct vs_token_view *t)
{
    struct made *m = r->receipt ? answer_of(r->receipt, t->index) : NULL;
    if (!m)
        return;
    if (t->id != VS_NO_TOKEN)
        vs_commit_add_ids(&m->ids, &t->id, 1);
    m->has_text |= t->text_bytes > 0;
    vs_sha256_add(&m->as_made, t->text, t->text_bytes);
    vs_sha256_add(&m->delivered, t->text, t->text_bytes);
}

/* The worker says it once, right before its end; one that took over says it again. */
void receipt_on_part(struct broker *b, struct model *m, struct vs_frame *f)
{
    struct request *r = run_find(m, f->id)->request;
    struct vs_receipt_view said;
    struct vs_statement part;
    struct vs_error why;
    if (!r)
        return;
    if (!r->receipt || !vs_receipt_view(f, &said) || said.index >= MAX_CHOICES
        || vs_statement_parse(said.text, said.n, said.has_index ? VS_STATEMENT_CHOICE : VS_STATEMENT_WORKER, &part, &why) != VS_OK
        || part.trace.level != r->receipt->level) {
        model_violation(b, m, "what it says for a receipt is none, or was not asked for");
        return;
    }
    struct made *made = answer_of(r->receipt, said.index);
    if (made && !made->part)
        made->part = malloc(sizeof *made->part);
    if (made && made->part)
        *made->part = part;
}

/* Right before its part. Without room for it the answer comes all the same, and nobody can redo it who was not told its ids. */
void receipt_on_kept(struct broker *b, struct model *m, struct vs_frame *f)
{
    struct request *r = run_find(m, f->id)->request;
    struct vs_receipt_view said;
    struct vs_kept_view kept;
    if (!r)
        return;
    if (!r->receipt || !r->receipt->keeps || !vs_receipt_view(f, &said) || said.index >= MAX_CHOICES
        || !vs_kept_view(said.text, said.n, &kept)) {
        model_violation(b, m, "what is to be kept of its answer is none, or was not asked for");
        return;
    }
    struct made *made = answer_of(r->receipt, said.index);
    if (!made || !request_keep(r, r->counted - made->kept.n + said.n))
        return;
    vs_buf_reset(&made->kept);
    vs_buf_add(&made->kept, said.text, said.n);
}

/* ---- the end ---- */

/* Of several answers each says how it ended itself. */
static const char *finish_of(const struct request *r, const struct made *m, const struct vs_outcome *o)
{
    int code = o->error.code;
    if (code == VS_OK)
        return o->finish_reason[0] || !m->part ? o->finish_reason : m->part->result.finish;
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
static void say_delivered(struct made *m, struct vs_statement *s)
{
    uint8_t made[VS_DIGEST_BYTES], ids[VS_DIGEST_BYTES];
    vs_sha256_end(&m->ids, ids);
    m->is_withheld = !s->tokens.is_there || memcmp(ids, s->tokens.hash, sizeof ids) != 0;
    vs_sha256_end(&m->as_made, made);
    vs_sha256_end(&m->delivered, s->delivered.hash);
    s->delivered.is_there = s->text.is_there ? memcmp(made, s->text.hash, sizeof made) != 0 : m->has_text;
    m->is_altered = s->delivered.is_there;
}

/* One answer's statement is made, and waits for who signs it. */
static bool end_one(struct broker *b, struct request *r, struct made *m, const struct vs_outcome *o)
{
    const struct receipt *c = r->receipt;
    struct audit *a = &b->audit;
    struct vs_statement s = c->known;
    if (m->part) {
        s = *m->part;
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
    say_delivered(m, &s);
    bool has_all = !m->is_withheld && !m->is_altered && o->error.code == VS_OK;    /* the client */
    if (has_all || m->kept.status != VS_OK)
        vs_buf_clear(&m->kept);
    say_guard(&s, o);
    s.observed.resumed = r->n_resumed;
    s.time.end = (uint64_t)vs_clock_real_ms();
    snprintf(s.result.finish, sizeof s.result.finish, "%s", finish_of(r, m, o));
    if (o->error.code != VS_OK)
        snprintf(s.result.error, sizeof s.result.error, "%s", vs_status_name(o->error.code));
    if (!s.body.is_there && !s.tokens.is_there && !s.delivered.is_there)
        return false;                   /* refused before anything was kept of it */
    vs_statement_format(&s, VS_STATEMENT_WHOLE, &m->text);
    if (m->text.status != VS_OK)
        return false;
    m->id = ++a->n_receipts;
    m->at = b->now;
    struct made **at = &a->unsigned_first;
    while (*at)
        at = &(*at)->next;
    *at = m;
    return true;
}

unsigned receipt_end(struct broker *b, struct request *r, const struct vs_outcome *o)
{
    struct receipt *c = r->receipt;
    unsigned n = 0;
    if (!c || b->audit.is_failed)
        return 0;
    for (unsigned i = 0; i < c->n; i++) {
        struct made *m = answer_of(c, i);
        n += m && end_one(b, r, m, o);
    }
    receipts_send(b);
    return n;
}

json_t *receipt_chains(const struct request *r)
{
    const struct receipt *c = r->receipt;
    json_t *all = json_array();
    for (unsigned i = 0; c && i < c->n; i++) {
        char hex[2 * VS_DIGEST_BYTES + 1];
        if (!c->made[i] || !c->made[i]->part)
            continue;
        vs_hex(c->made[i]->part->trace.chain.hash, VS_DIGEST_BYTES, hex);
        json_array_append_new(all, json_string(hex));
    }
    return all;
}

void receipt_opens(const struct request *r, struct vs_outcome *ret)
{
    const struct receipt *c = r->receipt;
    bool has = c && c->made[0]->id;
    ret->is_altered = has && c->n == 1 && c->made[0]->is_altered;
    ret->is_withheld = has && c->n == 1 && c->made[0]->is_withheld;
    snprintf(ret->salt, sizeof ret->salt, "%s", has ? c->salt : "");
}

/* Of one of several answers: which it is, and in front of what was signed what its opening needs. */
static void tell_one(struct broker *b, const struct request *r, const struct made *m, uint32_t index)
{
    struct vs_buf out = { 0 };
    char head[4];
    vs_store_u32le(head, index);
    vs_buf_add(&out, head, sizeof head);
    vs_buf_printf(&out, "{\"altered\":%s,\"withheld\":%s,", m->is_altered ? "true" : "false", m->is_withheld ? "true" : "false");
    vs_buf_add(&out, m->text.data + 1, m->text.n - 1);
    if (out.status == VS_OK)
        peer_send(b, r->peer, VS_MSG_RECEIPT, VS_FLAG_INDEX, r->id, out.data, out.n);
    else
        r->peer->gone = true;           /* it can't be told */
    vs_buf_clear(&out);
}

void receipt_tell(struct broker *b, struct request *r)
{
    const struct receipt *c = r->receipt;
    for (unsigned i = 0; c && i < c->n; i++) {
        const struct made *m = c->made[i];
        if (m && m->is_signed && c->n == 1)
            peer_send(b, r->peer, VS_MSG_RECEIPT, 0, r->id, m->text.data, m->text.n);
        else if (m && m->is_signed)
            tell_one(b, r, m, i);
    }
}

size_t receipt_bound(const struct request *r)
{
    return r->receipt ? r->receipt->n * (VS_FRAME_HEADER + (size_t)VS_MAX_RECEIPT) : 0;
}

size_t receipt_kept_bytes(const struct request *r)
{
    const struct receipt *c = r->receipt;
    size_t n = 0;
    for (unsigned i = 0; c && i < c->n; i++)
        n += c->made[i] ? c->made[i]->kept.n : 0;
    return n;
}

void receipt_free(struct broker *b, struct request *r)
{
    struct receipt *c = r->receipt;
    if (!c)
        return;
    unlink_unhashed(b, c);
    for (unsigned i = 0; i < c->n; i++) {
        struct made *m = c->made[i];
        if (!m)
            continue;
        unlink_made(b, m);
        vs_buf_clear(&m->text);
        vs_buf_clear(&m->kept);
        free(m->part);
        free(m);
    }
    explicit_bzero(c->salt_bytes, sizeof c->salt_bytes);
    free(c);
    r->receipt = NULL;
    request_keep(r, 0);
}
