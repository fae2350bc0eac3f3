/* prog/broker/limits.c - how much each may ask: an account for each key, else for each uid, kept while the daemon lives.
 *
 * A request is charged some four bytes of its body a token when it comes; what it took is told by the envelope that ends it. */
#include "prog/broker/broker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BYTES_A_TOKEN = 4 };

struct account {
    struct account *next;
    char name[VS_IDENTITY_NAME];        /* of a key; "": */
    uid_t uid;
    struct vs_account it;
    uint64_t arrivals;                  /* the sum of when those in flight came; it wraps */
};

/* Those of a key that are its own, else those of all. */
static struct vs_limits limits_of(const struct broker *b, const struct account *a)
{
    const json_t *own = a->name[0] ? json_object_get(json_object_get(b->limits, "keys"), a->name) : NULL;
    return vs_limits_of(own ? own : json_object_get(b->limits, "default"));
}

static struct account **list_of(struct broker *b, const struct who *w, uid_t uid)
{
    uint32_t hash = w->name[0] ? 0 : (uint32_t)uid;
    for (const char *c = w->name; *c; c++)
        hash = hash * 31 + (uint8_t)*c;
    return &b->accounts[hash % N_ACCOUNT_LISTS];
}

/* NULL: no memory. */
static struct account *account_of(struct broker *b, const struct request *r)
{
    struct account **list = list_of(b, &r->who, r->peer->uid), *a = *list;
    while (a && (r->who.name[0] ? strcmp(a->name, r->who.name) != 0 : a->name[0] || a->uid != r->peer->uid))
        a = a->next;
    if (a || !(a = calloc(1, sizeof *a)))
        return a;
    memcpy(a->name, r->who.name, sizeof a->name);
    a->uid = r->peer->uid;
    a->it.limits = limits_of(b, a);
    a->next = *list;
    return *list = a;
}

static bool is_limited(const struct broker *b, const struct request *r)
{
    return b->limits && (r->who.name[0] || !r->peer->is_private);  /* a private daemon is its client's own */
}

/* Until one of those ends that the account has in flight, as old as they are on average. */
static uint64_t end_ms(const struct broker *b, const struct account *a, const struct model *m)
{
    uint64_t n = a->it.in_flight;
    return measure_end_ms(m ? &m->measure : NULL, b->now, m ? m->n_runs + m->queue.n : 0, (b->now * n - a->arrivals) / n);
}

static void refuse(struct broker *b, struct request *r, const struct account *a, enum vs_limit limit, uint64_t wait,
                   const struct model *m)
{
    static const char *const words[] = {
        [VS_LIMIT_REQUESTS] = "requests a minute", [VS_LIMIT_TOKENS] = "tokens a minute",
        [VS_LIMIT_IN_FLIGHT] = "requests at a time", [VS_LIMIT_KV] = "tokens at a time",
    };
    char text[200], user[32];
    snprintf(user, sizeof user, "user %lld", (long long)a->uid);
    if (limit == VS_LIMIT_KV && a->it.in_flight == 0) {
        snprintf(text, sizeof text, "the request is larger than all that %s may have: %llu tokens at a time",
                 a->name[0] ? a->name : user, (unsigned long long)a->it.limits.kv_tokens);
        request_fail(b, r, VS_E_LIMIT, text);
        return;
    }
    struct vs_outcome_hints hints = { .retry_after_ms = (int64_t)(wait ? wait / MS + 1 : end_ms(b, a, m)) };
    snprintf(text, sizeof text, "the limit of %s of %s is reached", words[limit], a->name[0] ? a->name : user);
    request_fail_hints(b, r, VS_E_BUSY, text, &hints);
}

bool limits_begin(struct broker *b, struct request *r, size_t body_bytes, const struct model *m)
{
    uint64_t wait, tokens = who_scope_of(r->type) == VS_SCOPE_GENERATE ? body_bytes / BYTES_A_TOKEN + 1 : 0;
    struct account *a = is_limited(b, r) ? account_of(b, r) : NULL;
    if (!a)
        return true;
    enum vs_limit limit = vs_account_check(&a->it, b->now, tokens, &wait);
    if (limit != VS_LIMIT_NONE) {
        refuse(b, r, a, limit, wait, m);
        return false;
    }
    vs_account_begin(&a->it, b->now, tokens);
    a->arrivals += r->arrived_at;
    r->account = a;
    r->charged = tokens;
    return true;
}

unsigned limits_priority(const struct request *r, unsigned asked)
{
    return r->account && asked < r->account->it.limits.priority ? r->account->it.limits.priority : asked;
}

void limits_grow(struct request *r)
{
    if (r->account)
        vs_account_grow(&r->account->it, 1);
}

/* What has no usage took what it was charged, as far as it began. */
void limits_end(struct broker *b, struct request *r, const struct vs_outcome *o)
{
    uint64_t taken = (r->began ? r->charged : 0) + r->n_tokens;
    if (!r->account)
        return;
    if (o->has_usage && o->usage.prompt_tokens <= MOST_PROMPT && o->usage.completion_tokens <= MOST_PROMPT)
        taken = (uint64_t)(o->usage.prompt_tokens + o->usage.completion_tokens);
    vs_account_end(&r->account->it, b->now, r->charged, r->n_tokens, taken);
    r->account->arrivals -= r->arrived_at;
    r->account = NULL;
}

void limits_changed(struct broker *b, const json_t *limits)
{
    json_decref(b->limits);
    b->limits = json_is_object(limits) ? json_deep_copy(limits) : NULL;
    for (unsigned i = 0; i < N_ACCOUNT_LISTS; i++)
        for (struct account *a = b->accounts[i]; a; a = a->next) {
            struct vs_limits l = limits_of(b, a);
            vs_account_limit(&a->it, b->now, &l);
        }
}

void limits_free(struct broker *b)
{
    json_decref(b->limits);
    b->limits = NULL;
    for (unsigned i = 0; i < N_ACCOUNT_LISTS; i++)
        while (b->accounts[i]) {
            struct account *a = b->accounts[i];
            b->accounts[i] = a->next;
            free(a);
        }
}
