/* identity/limits.c - see limits.h */
#include "identity/limits.h"

#include "ipc/envelope.h"

#include <string.h>

#define MINUTE UINT64_C(60000000000)
enum { HOLDS = 6 };                     /* a bucket holds a minute's worth by so many */

static uint64_t count_of(const json_t *object, const char *key)
{
    json_int_t n = json_integer_value(json_object_get(object, key));
    return n > 0 ? (uint64_t)n : 0;
}

struct vs_limits vs_limits_of(const json_t *object)
{
    const char *priority = json_string_value(json_object_get(object, "priority"));
    return (struct vs_limits){
        .requests_per_minute = count_of(object, "requests_per_minute"), .tokens_per_minute = count_of(object, "tokens_per_minute"),
        .in_flight = count_of(object, "in_flight"), .kv_tokens = count_of(object, "kv_tokens"),
        .priority = !priority || strcmp(priority, "high") == 0 ? VS_PRIORITY_HIGH
                    : strcmp(priority, "low") == 0 ? VS_PRIORITY_LOW : VS_PRIORITY_NORMAL,
    };
}

/* ---- buckets ---- */

/* What n of a rate cost, as time. */
static uint64_t cost(uint64_t n, uint64_t rate)
{
    double ns = (double)n * (double)MINUTE / (double)rate;
    return ns < 1e18 ? (uint64_t)ns : UINT64_C(1000000000000000000);
}

static uint64_t holds(uint64_t rate)
{
    uint64_t one = cost(1, rate);
    return one > MINUTE / HOLDS ? one : MINUTE / HOLDS;
}

/* How long until one is in it; 0: there is. */
static uint64_t wait_of(uint64_t at, uint64_t rate, uint64_t now)
{
    if (!rate || at <= now)
        return 0;
    uint64_t after = at - now + cost(1, rate), most = holds(rate);
    return after > most ? after - most : 0;
}

static void charge(uint64_t *at, uint64_t rate, uint64_t now, uint64_t n)
{
    if (rate)
        *at = (*at > now ? *at : now) + cost(n, rate);
}

static void give_back(uint64_t *at, uint64_t rate, uint64_t n)
{
    uint64_t back = rate ? cost(n, rate) : 0;
    *at -= back < *at ? back : *at;
}

/* The same debt, at another rate. */
static void change(uint64_t *at, uint64_t from, uint64_t to, uint64_t now)
{
    if (from && to && from != to && *at > now)
        *at = now + (uint64_t)((double)(*at - now) * (double)from / (double)to);
}

/* ---- accounts ---- */

enum vs_limit vs_account_check(const struct vs_account *a, uint64_t now, uint64_t tokens, uint64_t *ret_wait)
{
    const struct vs_limits *l = &a->limits;
    uint64_t requests = wait_of(a->requests_at, l->requests_per_minute, now);
    uint64_t of_tokens = wait_of(a->tokens_at, l->tokens_per_minute, now);
    *ret_wait = requests > of_tokens ? requests : of_tokens;
    if (*ret_wait)
        return requests > of_tokens ? VS_LIMIT_REQUESTS : VS_LIMIT_TOKENS;
    if (l->in_flight && a->in_flight >= l->in_flight)
        return VS_LIMIT_IN_FLIGHT;
    return l->kv_tokens && a->kv_tokens + tokens > l->kv_tokens ? VS_LIMIT_KV : VS_LIMIT_NONE;
}

void vs_account_begin(struct vs_account *a, uint64_t now, uint64_t tokens)
{
    charge(&a->requests_at, a->limits.requests_per_minute, now, 1);
    charge(&a->tokens_at, a->limits.tokens_per_minute, now, tokens);
    a->in_flight++;
    a->kv_tokens += tokens;
}

void vs_account_grow(struct vs_account *a, uint64_t tokens)
{
    a->kv_tokens += tokens;
}

void vs_account_end(struct vs_account *a, uint64_t now, uint64_t tokens, uint64_t grown, uint64_t taken)
{
    uint64_t held = tokens + grown;
    if (taken >= tokens)
        charge(&a->tokens_at, a->limits.tokens_per_minute, now, taken - tokens);
    else
        give_back(&a->tokens_at, a->limits.tokens_per_minute, tokens - taken);
    a->in_flight -= a->in_flight > 0;
    a->kv_tokens -= held < a->kv_tokens ? held : a->kv_tokens;
}

void vs_account_limit(struct vs_account *a, uint64_t now, const struct vs_limits *limits)
{
    change(&a->requests_at, a->limits.requests_per_minute, limits->requests_per_minute, now);
    change(&a->tokens_at, a->limits.tokens_per_minute, limits->tokens_per_minute, now);
    a->limits = *limits;
}
