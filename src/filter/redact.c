/* filter/redact.c - see redact.h */
#include "filter/redact.h"

#include <stdio.h>
#include <string.h>

static void keyed(struct vs_redact *r, const uint8_t key[VS_REDACT_KEY])
{
    uint8_t inner[64] = { 0 };
    memcpy(inner, key, VS_REDACT_KEY);
    for (int i = 0; i < 64; i++) {
        r->outer[i] = inner[i] ^ 0x5c;
        inner[i] ^= 0x36;
    }
    vs_sha256_init(&r->hash);
    vs_sha256_add(&r->hash, inner, sizeof inner);
}

void vs_redact_begin(struct vs_redact *r, enum vs_redact_style style, const uint8_t key[VS_REDACT_KEY], const char *type)
{
    r->style = style;
    r->type = type;
    r->n_characters = 0;
    if (style == VS_REDACT_HASH) {
        keyed(r, key);
        vs_sha256_add(&r->hash, type, strlen(type));
        vs_sha256_add(&r->hash, ":", 1);
    }
}

void vs_redact_add(struct vs_redact *r, const char *text, size_t n)
{
    if (r->style == VS_REDACT_HASH)
        vs_sha256_add(&r->hash, text, n);
    if (r->style == VS_REDACT_MASK)
        for (size_t i = 0; i < n; i++)
            r->n_characters += ((uint8_t)text[i] & 0xc0) != 0x80;
}

static size_t label(struct vs_redact *r, char *ret)
{
    return (size_t)snprintf(ret, VS_REDACT_BOUND, "[REDACTED:%.40s]", r->type);
}

static size_t stars(struct vs_redact *r, char *ret)
{
    size_t n = r->n_characters < VS_REDACT_BOUND ? (size_t)r->n_characters : VS_REDACT_BOUND;
    memset(ret, '*', n);
    r->n_characters -= n;
    return n;
}

static size_t hashed(struct vs_redact *r, char *ret)
{
    uint8_t sum[32];
    vs_sha256_end(&r->hash, sum);
    vs_sha256_init(&r->hash);
    vs_sha256_add(&r->hash, r->outer, sizeof r->outer);
    vs_sha256_add(&r->hash, sum, sizeof sum);
    vs_sha256_end(&r->hash, sum);
    return (size_t)snprintf(ret, VS_REDACT_BOUND, "[%.40s:%02x%02x%02x%02x%02x%02x]", r->type,
                            sum[0], sum[1], sum[2], sum[3], sum[4], sum[5]);
}

size_t vs_redact_next(struct vs_redact *r, char ret[VS_REDACT_BOUND])
{
    if (r->style == VS_REDACT_MASK)
        return stars(r, ret);
    if (!r->type)
        return 0;
    size_t n = r->style == VS_REDACT_HASH ? hashed(r, ret) : label(r, ret);
    r->type = NULL;
    return n;
}
