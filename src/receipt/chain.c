/* receipt/chain.c - see chain.h. */
#include "receipt/chain.h"

#include "base/bytes.h"

#include <stdbool.h>
#include <string.h>

#define DOMAIN "veritas-receipt/1 "

/* ---- commitments ---- */

void vs_commit_begin(struct vs_sha256 *s, const char *name, const uint8_t salt[VS_SALT_BYTES])
{
    vs_sha256_init(s);
    vs_sha256_add(s, DOMAIN, sizeof DOMAIN - 1);
    vs_sha256_add(s, name, strlen(name));
    vs_sha256_add(s, "\n", 1);
    vs_sha256_add(s, salt, VS_SALT_BYTES);
}

void vs_commit(const char *name, const uint8_t salt[VS_SALT_BYTES], const void *data, size_t n, uint8_t ret[VS_DIGEST_BYTES])
{
    struct vs_sha256 s;
    vs_commit_begin(&s, name, salt);
    vs_sha256_add(&s, data, n);
    vs_sha256_end(&s, ret);
}

void vs_commit_ids(const char *name, const uint8_t salt[VS_SALT_BYTES], const uint32_t *id, size_t n,
                   uint8_t ret[VS_DIGEST_BYTES])
{
    struct vs_sha256 s;
    vs_commit_begin(&s, name, salt);
    vs_commit_add_ids(&s, id, n);
    vs_sha256_end(&s, ret);
}

void vs_commit_add_ids(struct vs_sha256 *s, const uint32_t *id, size_t n)
{
    uint8_t words[64 * 4];
    for (size_t at = 0; at < n;) {
        size_t k = 0;
        for (; k < 64 && at < n; k++, at++)
            vs_store_u32le(words + 4 * k, id[at]);
        vs_sha256_add(s, words, 4 * k);
    }
}

void vs_commit_add_text(struct vs_sha256 *s, const char *text, size_t n)
{
    uint8_t length[4];
    vs_store_u32le(length, (uint32_t)n);
    vs_sha256_add(s, length, sizeof length);
    vs_sha256_add(s, text, n);
}

/* ---- the best logits ---- */

struct best {
    uint32_t n, id[VS_TRACE_BEST];
    float logit[VS_TRACE_BEST];          /* descending; equal ones by id */
};

/* Ids come ascending, so an equal one that came before stays in front. */
static void take(struct best *b, uint32_t id, float logit)
{
    uint32_t at = b->n < VS_TRACE_BEST ? b->n++ : VS_TRACE_BEST - 1;
    for (; at > 0 && b->logit[at - 1] < logit; at--) {
        b->logit[at] = b->logit[at - 1];
        b->id[at] = b->id[at - 1];
    }
    b->logit[at] = logit;
    b->id[at] = id;
}

enum { RUN = 32 };

/* Is one of RUN logits better than the last of the best? Without a branch in it, so that the compiler can do several at once. */
static bool has_better(const float *logits, float least)
{
    int any = 0;
    for (int i = 0; i < RUN; i++)
        any |= logits[i] > least;
    return any;
}

static void find_best(struct best *b, const float *logits, size_t n)
{
    size_t i = 0;
    for (; i < n && i < VS_TRACE_BEST; i++)
        take(b, (uint32_t)i, logits[i]);
    while (i < n) {
        if (n - i >= RUN && !has_better(logits + i, b->logit[VS_TRACE_BEST - 1])) {
            i += RUN;
            continue;
        }
        size_t end = n - i >= RUN ? i + RUN : n;
        for (; i < end; i++)
            if (logits[i] > b->logit[VS_TRACE_BEST - 1])
                take(b, (uint32_t)i, logits[i]);
    }
}

static void add_floats(struct vs_sha256 *s, const float *v, size_t n)
{
    uint8_t words[256 * 4];
    for (size_t at = 0; at < n;) {
        size_t k = 0;
        for (; k < 256 && at < n; k++, at++) {
            uint32_t bits;
            memcpy(&bits, v + at, sizeof bits);
            vs_store_u32le(words + 4 * k, bits);
        }
        vs_sha256_add(s, words, 4 * k);
    }
}

void vs_trace_digest(unsigned level, const float *logits, size_t n, uint8_t ret[VS_DIGEST_BYTES])
{
    struct vs_sha256 s;
    vs_sha256_init(&s);
    if (level == VS_TRACE_ALL) {
        add_floats(&s, logits, n);
    } else {
        struct best b = { 0 };
        find_best(&b, logits, n);
        for (uint32_t i = 0; i < b.n; i++) {
            vs_commit_add_ids(&s, &b.id[i], 1);
            add_floats(&s, &b.logit[i], 1);
        }
    }
    vs_sha256_end(&s, ret);
}

void vs_trace_step(uint8_t h[VS_DIGEST_BYTES], uint32_t position, uint32_t token, const uint8_t d[VS_DIGEST_BYTES])
{
    struct vs_sha256 s;
    const uint32_t words[2] = { position, token };
    vs_sha256_init(&s);
    vs_sha256_add(&s, h, VS_DIGEST_BYTES);
    vs_commit_add_ids(&s, words, 2);
    vs_sha256_add(&s, d, VS_DIGEST_BYTES);
    vs_sha256_end(&s, h);
}
