/* prog/gateway/guard.c - who may ask: Host is ours (a page whose name was turned to this machine names another), Origin is ours or
 * was allowed, and who.c looks at the key. */
#include "prog/gateway/gateway.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* The host of "host:port" or "[::1]:port" into ret, in brackets no more. false: it is none. */
static bool host_of(const char *s, size_t n, char *ret, size_t size)
{
    size_t m = n;
    if (n && s[0] == '[') {
        const char *end = memchr(s, ']', n);
        if (!end)
            return false;
        m = (size_t)(end - s) - 1;
        s++;
        if (m + 2 < n && s[m + 1] != ':')
            return false;
    } else {
        const char *colon = memchr(s, ':', n);
        m = colon ? (size_t)(colon - s) : n;
    }
    if (m == 0 || m >= size)
        return false;
    memcpy(ret, s, m);
    ret[m] = 0;
    if (m > 1 && ret[m - 1] == '.')
        ret[m - 1] = 0;
    return true;
}

static bool is_loopback(const char *host)
{
    struct in_addr four;
    struct in6_addr six;
    if (strcasecmp(host, "localhost") == 0)
        return true;
    if (inet_pton(AF_INET, host, &four) == 1)
        return (ntohl(four.s_addr) >> 24) == 127;
    return inet_pton(AF_INET6, host, &six) == 1 && IN6_IS_ADDR_LOOPBACK(&six);
}

static bool is_address(const char *host)
{
    unsigned char any[16];
    return inet_pton(AF_INET, host, any) == 1 || inet_pton(AF_INET6, host, any) == 1;
}

static bool is_wildcard(const char *host)
{
    return strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0;
}

static bool is_ours(const struct gateway *g, const struct conn *c, const char *host)
{
    if (is_loopback(host) || (c->listener->host[0] && strcasecmp(host, c->listener->host) == 0))
        return true;
    if (is_wildcard(c->listener->host) && is_address(host))
        return true;                    /* no name can be turned to us that is an address */
    for (char *const *name = g->settings.hosts; *name; name++)
        if (strcasecmp(*name, host) == 0)
            return true;
    return false;
}

static bool is_origin_ours(const struct gateway *g, struct conn *c, const char *origin, const char *host)
{
    const char *rest = strstr(origin, "://");
    for (char *const *name = g->settings.origins; *name; name++)
        if (strcmp(*name, "*") == 0 || strcasecmp(*name, origin) == 0) {
            c->allowed_origin = origin;
            return true;
        }
    /* Our own page: scheme, host and port are what was asked. */
    const char *scheme = c->ssl ? "https" : "http";
    size_t n = strlen(scheme);
    return rest && host && (size_t)(rest - origin) == n && strncasecmp(origin, scheme, n) == 0 && strcasecmp(rest + 3, host) == 0;
}

/* NULL: none was said. */
static const char *said_key(const struct conn *c)
{
    const char *bearer = gw_request_field(&c->request, "authorization"), *key = gw_request_field(&c->request, "x-api-key");
    if (bearer && strncasecmp(bearer, "Bearer ", 7) == 0)
        return bearer + 7 + strspn(bearer + 7, " ");
    return key;
}

int guard_check(struct gateway *g, struct conn *c, bool is_public, struct gw_error *err)
{
    const struct gw_request *r = &c->request;
    const char *host = gw_request_field(r, "host"), *origin = gw_request_field(r, "origin"), *target = gw_request_target(r);
    char name[256];
    if (!host && !gw_request_is_old(r))
        return gw_error_set(err, 400, "bad_request", "", "a request without a Host header");
    if (host && (!host_of(host, strlen(host), name, sizeof name) || !is_ours(g, c, name)))
        return gw_error_set(err, 403, "host_not_allowed", "", "the host '%.100s' is not one of this gateway; --allow-host adds it",
                            host);
    if (target[0] != '/' && strcmp(target, "*") != 0) {
        const char *at = strstr(target, "://");
        size_t n = at ? strcspn(at + 3, "/?#") : 0;
        if (!at || !host_of(at + 3, n, name, sizeof name) || !is_ours(g, c, name))
            return gw_error_set(err, 400, "bad_request", "", "the target names another server");
    }
    if (origin && !is_origin_ours(g, c, origin, host))
        return gw_error_set(err, 403, "origin_not_allowed", "", "pages of '%.100s' may not ask here; --allow-origin lets them",
                            origin);
    bool is_preflight = strcmp(gw_request_method(r), "OPTIONS") == 0;       /* browsers send it without a key */
    return is_public || c->listener->is_metrics || is_preflight ? VS_OK : who_check(g, c, said_key(c), err);
}
