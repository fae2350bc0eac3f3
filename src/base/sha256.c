/* base/sha256.c - see sha256.h */
#include "base/sha256.h"

#include "base/sha256_blocks.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#include <stdalign.h>
#include <stdatomic.h>
#include <string.h>

alignas(64) const uint32_t vs_sha256_k[64] = {   /* the fractions of the cube roots of the first 64 primes */
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01,
    0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc,
    0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
    0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08,
    0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
    0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t turn(uint32_t x, int n)
{
    return x >> n | x << (32 - n);
}

/* One round, with the names of the eight words turned by one from round to round, so that none is moved. */
#define ROUND(a, b, c, d, e, f, g, h, i) do { \
        uint32_t t = h + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + ((e & f) ^ (~e & g)) + vs_sha256_k[i] + w[i]; \
        d += t; \
        h = t + (turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + ((a & b) ^ (a & c) ^ (b & c)); \
    } while (0)

static void block(uint32_t state[8], const uint8_t *p)
{
    uint32_t w[64], a = state[0], b = state[1], c = state[2], d = state[3], e = state[4], f = state[5], g = state[6], h = state[7];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)p[4 * i] << 24 | (uint32_t)p[4 * i + 1] << 16 | (uint32_t)p[4 * i + 2] << 8 | p[4 * i + 3];
    for (int i = 16; i < 64; i++) {
        uint32_t x = w[i - 15], y = w[i - 2];
        w[i] = w[i - 16] + (turn(x, 7) ^ turn(x, 18) ^ x >> 3) + w[i - 7] + (turn(y, 17) ^ turn(y, 19) ^ y >> 10);
    }
    for (int i = 0; i < 64; i += 8) {
        ROUND(a, b, c, d, e, f, g, h, i);
        ROUND(h, a, b, c, d, e, f, g, i + 1);
        ROUND(g, h, a, b, c, d, e, f, i + 2);
        ROUND(f, g, h, a, b, c, d, e, i + 3);
        ROUND(e, f, g, h, a, b, c, d, i + 4);
        ROUND(d, e, f, g, h, a, b, c, i + 5);
        ROUND(c, d, e, f, g, h, a, b, i + 6);
        ROUND(b, c, d, e, f, g, h, a, i + 7);
    }
    const uint32_t last[8] = { a, b, c, d, e, f, g, h };
    for (int i = 0; i < 8; i++)
        state[i] += last[i];
}

void vs_sha256_blocks_c(uint32_t state[8], const uint8_t *p, size_t n)
{
    for (; n > 0; n--, p += 64)
        block(state, p);
}

bool vs_sha256_has_shani(void)
{
#if defined(__x86_64__)
    unsigned a, b, c, d;
    bool has_sse41 = __get_cpuid(1, &a, &b, &c, &d) && c & bit_SSE4_1;
    return has_sse41 && __get_cpuid_count(7, 0, &a, &b, &c, &d) && b & 1u << 29;
#else
    return false;
#endif
}

typedef void blocks_fn(uint32_t state[8], const uint8_t *p, size_t n);

static void choose(uint32_t state[8], const uint8_t *p, size_t n);
static _Atomic(blocks_fn *) blocks = choose;

/* The first time: whichever thread is here finds the same. */
static void choose(uint32_t state[8], const uint8_t *p, size_t n)
{
    blocks_fn *best = vs_sha256_blocks_c;
#if defined(__x86_64__)
    best = vs_sha256_has_shani() ? vs_sha256_blocks_shani : best;
#endif
    atomic_store_explicit(&blocks, best, memory_order_relaxed);
    best(state, p, n);
}

static void add_blocks(struct vs_sha256 *s, const uint8_t *p, size_t n)
{
    atomic_load_explicit(&blocks, memory_order_relaxed)(s->h, p, n);
}

void vs_sha256_init(struct vs_sha256 *s)
{
    *s = (struct vs_sha256){ .h = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab,
                                    0x5be0cd19 } };
}

void vs_sha256_add(struct vs_sha256 *s, const void *data, size_t n)
{
    const uint8_t *p = data;
    size_t have = s->n % 64;
    if (n == 0)
        return;                         /* data may be NULL */
    s->n += n;
    if (have) {
        size_t take = 64 - have < n ? 64 - have : n;
        memcpy(s->block + have, p, take);
        p += take;
        n -= take;
        if (have + take < 64)
            return;
        add_blocks(s, s->block, 1);
    }
    if (n >= 64)
        add_blocks(s, p, n / 64);
    if (n % 64)
        memcpy(s->block, p + n / 64 * 64, n % 64);
}

void vs_sha256_end(struct vs_sha256 *s, uint8_t ret[32])
{
    size_t have = s->n % 64;
    s->block[have++] = 0x80;
    if (have > 56) {
        memset(s->block + have, 0, 64 - have);
        add_blocks(s, s->block, 1);
        have = 0;
    }
    memset(s->block + have, 0, 56 - have);
    for (int i = 0; i < 8; i++)
        s->block[56 + i] = (uint8_t)(s->n * 8 >> (56 - 8 * i));
    add_blocks(s, s->block, 1);
    for (int i = 0; i < 32; i++)
        ret[i] = (uint8_t)(s->h[i / 4] >> (24 - 8 * (i % 4)));
}

void vs_sha256_of(const void *data, size_t n, uint8_t ret[32])
{
    struct vs_sha256 s;
    vs_sha256_init(&s);
    vs_sha256_add(&s, data, n);
    vs_sha256_end(&s, ret);
}
