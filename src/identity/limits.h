/* identity/limits.h - how much somebody may ask: requests and tokens a minute, requests and tokens of KV at a time, his class.
 *
 * A rate is a bucket that fills steadily and holds ten seconds' worth, at least one. A request may begin while one is in it, and is
 * charged what its prompt is thought to be; at its end what it really took is charged instead, which may leave a debt. So over time
 * nobody gets more than his rate, whatever his requests cost. When limits change what was used stays used.
 *
 *     used ->|=====debt=====|....holds....|      `at` is when all that was used is paid for
 *
 * Times are vs_clock_ns(), tokens and requests are counts. Memory: the struct is all. Threads: none.
 */
#ifndef VS_IDENTITY_LIMITS_H
#define VS_IDENTITY_LIMITS_H
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct vs_limits {                      /* 0: none */
    uint64_t requests_per_minute, tokens_per_minute, in_flight, kv_tokens;
    unsigned priority;                  /* VS_PRIORITY_*: the highest class that his requests may have */
};

/* Of an object with these keys; what is absent, or is no number, is 0. */
struct vs_limits vs_limits_of(const json_t *object);

enum vs_limit { VS_LIMIT_NONE, VS_LIMIT_REQUESTS, VS_LIMIT_TOKENS, VS_LIMIT_IN_FLIGHT, VS_LIMIT_KV };

struct vs_account {
    struct vs_limits limits;
    uint64_t requests_at, tokens_at;    /* buckets */
    uint64_t in_flight, kv_tokens;      /* of requests that have begun and not ended */
};

/* May a request that will take so many tokens begin? NONE; else which limit it is, and after how many nanoseconds that will be
 * another (0 of limits that are not rates: when one of his requests ends). */
enum vs_limit vs_account_check(const struct vs_account *a, uint64_t now, uint64_t tokens, uint64_t *ret_wait);
void vs_account_begin(struct vs_account *a, uint64_t now, uint64_t tokens);
void vs_account_grow(struct vs_account *a, uint64_t tokens);        /* it holds so many more */
/* It was charged `tokens` when it began, and has grown by `grown`; it took `taken`. */
void vs_account_end(struct vs_account *a, uint64_t now, uint64_t tokens, uint64_t grown, uint64_t taken);
void vs_account_limit(struct vs_account *a, uint64_t now, const struct vs_limits *limits);
#endif
