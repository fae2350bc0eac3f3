/* receipt/chain.c - see chain.h. */
#include "receipt/chain.h"

#include "base/bytes.h"
#include "base/num.h"

#include <math.h>
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

/* A candidate as one number: the better one is the greater. Of equal logits, and zeros are equal, the lower id is better. */
static uint64_t key_of(uint32_t id, float logit)
{
    return (uint64_t)vs_f32_order(logit) << 32 | (uint32_t)~id;
}

enum { RUN = 32, ROOM = 4 * VS_TRACE_BEST };

struct best {
    uint32_t n;
    uint64_t key[ROOM];                  /* those that may be among the best, in no order */
};

/* The VS_TRACE_BEST greatest come first; n is larger. */
static void select_best(uint64_t *key, size_t n)
{
    size_t from = 0, to = n;
    while (to - from > 1) {
        uint64_t pivot = key[from + (to - from - 1) / 2];      /* so the first part is never all */
        size_t i = from, j = to - 1;
        for (;; i++, j--) {
            while (key[i] > pivot)
                i++;
            while (key[j] < pivot)
                j--;
            if (i >= j)
                break;
            uint64_t other = key[i];
            key[i] = key[j];
            key[j] = other;
        }
        if (j + 1 >= VS_TRACE_BEST)
            to = j + 1;
        else
            from = j + 1;
    }
}

static void sort(uint64_t *key, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        uint64_t one = key[i];
        size_t at = i;
        for (; at > 0 && key[at - 1] < one; at--)
            key[at] = key[at - 1];
        key[at] = one;
    }
}

/* Is one of RUN logits better than that? Without a branch in it, so that the compiler can do several at once. */
static bool has_better(const float *logits, float least)
{
    int any = 0;
    for (int i = 0; i < RUN; i++)
        any |= logits[i] > least;
    return any;
}

static uint32_t id_of(uint64_t key)
{
    return ~(uint32_t)key;
}

/* The worst of the best, when all others are forgotten. */
static float forget_others(struct best *b, const float *logits)
{
    uint64_t least = UINT64_MAX;
    select_best(b->key, b->n);
    b->n = VS_TRACE_BEST;
    for (size_t i = 0; i < VS_TRACE_BEST; i++)
        least = b->key[i] < least ? b->key[i] : least;
    return logits[id_of(least)];
}

/* Ids come ascending, so one that equals the worst of the best comes too late. */
static void find_best(struct best *b, const float *logits, size_t n)
{
    float least = -INFINITY;
    bool is_full = false;                /* VS_TRACE_BEST of them are not worse than least */
    for (size_t i = 0; i < n;) {
        size_t end = n - i >= RUN ? i + RUN : n;
        if (is_full && end - i == RUN && !has_better(logits + i, least)) {
            i = end;
            continue;
        }
        for (; i < end; i++)
            if (!is_full || logits[i] > least)
                b->key[b->n++] = key_of((uint32_t)i, logits[i]);
        if (b->n > ROOM - RUN) {
            least = forget_others(b, logits);
            is_full = true;
        }
    }
    if (b->n > VS_TRACE_BEST)
        forget_others(b, logits);
    sort(b->key, b->n);
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
        struct best b = { .n = 0 };
        uint8_t words[VS_TRACE_BEST * 8];
        find_best(&b, logits, n);
        for (uint32_t i = 0; i < b.n; i++) {
            uint32_t id = id_of(b.key[i]), bits;
            memcpy(&bits, &logits[id], sizeof bits);
            vs_store_u32le(words + 8 * i, id);
            vs_store_u32le(words + 8 * i + 4, bits);
        }
        vs_sha256_add(&s, words, 8 * b.n);
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
