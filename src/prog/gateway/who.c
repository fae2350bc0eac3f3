/* prog/gateway/who.c - keys: the daemon knows them, we ask it. A key that it has found good is not asked about again for ten
 * seconds; each request goes there with its key all the same, so one that was revoked meanwhile fails there.
 *
 * Wrong ones are counted by the place that they come from, an IPv4 address or the upper half of an IPv6 one: five within a minute,
 * and for 30 seconds no key from there is asked about. One that is known to be good passes. The daemon, whose audit log has wrong
 * keys, is told of those that it is not asked about, and of who was locked out. */
#include "prog/gateway/gateway.h"

#include "base/bytes.h"

#include <arpa/inet.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

void who_place(struct conn *c, const void *address, size_t n)
{
    const struct sockaddr *any = address;
    const struct sockaddr_in *four = address;
    const struct sockaddr_in6 *six = address;
    c->remote[0] = 0;
    c->place = 0;
    if (n >= sizeof *four && any->sa_family == AF_INET) {
        inet_ntop(AF_INET, &four->sin_addr, c->remote, sizeof c->remote);
        c->place = UINT64_C(4) << 32 | ntohl(four->sin_addr.s_addr);
    } else if (n >= sizeof *six && any->sa_family == AF_INET6) {
        inet_ntop(AF_INET6, &six->sin6_addr, c->remote, sizeof c->remote);
        c->place = vs_load_u64le(six->sin6_addr.s6_addr);
        if (IN6_IS_ADDR_V4MAPPED(&six->sin6_addr))
            c->place = UINT64_C(4) << 32 | vs_load_u32le(six->sin6_addr.s6_addr + 12);
    }
}

static void digest_of(const char *key, uint8_t ret[32])
{
    SHA256((const unsigned char *)key, strlen(key), ret);
}

/* All of them are compared, each whole: the time tells nothing. */
static bool is_known(const struct gateway *g, const char *key)
{
    uint8_t digest[32];
    unsigned found = 0;
    digest_of(key, digest);
    for (size_t i = 0; i < MAX_KNOWN && i < g->n_known; i++)
        found |= (unsigned)(CRYPTO_memcmp(g->known[i].digest, digest, sizeof digest) == 0) & (unsigned)(g->known[i].until > g->now);
    return found;
}

static void remember(struct gateway *g, const char *key)
{
    struct known *at = &g->known[g->n_known++ % MAX_KNOWN];
    digest_of(key, at->digest);
    at->until = g->now + KNOWN_TIME;
}

static int no_key(struct gw_error *err)
{
    return gw_error_set(err, 401, "invalid_api_key", "", "no valid API key: send Authorization: Bearer KEY, or x-api-key");
}

static int locked_out(uint64_t left, struct gw_error *err)
{
    gw_error_set(err, 429, "too_many_wrong_keys", "", "too many wrong API keys came from this address");
    err->again = true;
    err->retry_after_ms = (int64_t)(left / MS + 1);
    return VS_E_LIMIT;
}

static void count_wrong(struct gateway *g, const struct conn *c)
{
    if (!vs_lockout_wrong(&g->lockout, c->place, g->now))
        return;
    gateway_log("too many wrong keys from %s: locked out for 30 seconds", c->remote[0] ? c->remote : "this machine");
    link_tell_refused(g, c, "locked_out");
}

int who_check(struct gateway *g, struct conn *c, const char *text, struct gw_error *err)
{
    char id[VS_API_KEY_ID + 1];
    struct vs_error why = { 0 };
    bool is_key = text && vs_api_key_parse(text, strlen(text), id);
    c->key[0] = 0;
    if (!is_key && !g->needs_key)
        return VS_OK;                    /* many programs send some word or other */
    if (!text || !*text)
        return no_key(err);
    if (is_key && is_known(g, text)) {
        snprintf(c->key, sizeof c->key, "%s", text);
        return VS_OK;
    }
    uint64_t left = vs_lockout_left(&g->lockout, c->place, g->now);
    if (left)
        return locked_out(left, err);
    if (!is_key) {
        link_tell_refused(g, c, "wrong_key");       /* one with the form of a key it looks at itself */
        count_wrong(g, c);
        return no_key(err);
    }
    snprintf(c->key, sizeof c->key, "%s", text);
    int rc = link_ask_key(g, c, &why);
    if (rc == VS_OK)
        return VS_E_BUSY;                /* conn_told comes */
    gw_error_of_ask(err, rc, why.text);
    return rc;
}

void who_told(struct gateway *g, struct conn *c, const struct vs_error *why)
{
    struct gw_error err = { 0 };
    int rc = why->code;
    if (rc == VS_OK) {
        remember(g, c->key);
    } else if (rc == VS_E_KEY) {
        count_wrong(g, c);
        no_key(&err);
    } else {
        gw_error_of_ask(&err, rc, why->text);
    }
    conn_told(g, c, rc, &err);
}
