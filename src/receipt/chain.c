/* receipt/chain.c - see chain.h. */
#include "receipt/chain.h"

#include "base/bytes.h"
#include "receipt/best.h"

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

/* ---- digests of logits ---- */

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
        uint32_t best[VS_BEST_MOST];
        uint8_t words[VS_BEST_MOST * 8];
        uint32_t n_best = vs_best(logits, n, best);
        for (uint32_t i = 0; i < n_best; i++) {
            uint32_t bits;
            memcpy(&bits, &logits[best[i]], sizeof bits);
            vs_store_u32le(words + 8 * i, best[i]);
            vs_store_u32le(words + 8 * i + 4, bits);
        }
        vs_sha256_add(&s, words, 8 * n_best);
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
