/* rooms: base */
/* Any bytes as requests of HTTP: what is found does not depend on how they were cut, no byte is read twice or beyond the end, and
 * what was refused stays so. The first byte says how they are cut. */
#include "prog/gateway/http.c"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { MAX_BODY = 4096, MAX_REQUESTS = 8 };

struct seen {
    unsigned n;
    struct one { enum gw_http_step step; int status; size_t used, body, fields; uint64_t hash; } one[MAX_REQUESTS];
};

static uint64_t mix(uint64_t h, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)s[i]) * 1099511628211u;
    return h;
}

static void look(const struct gw_request *r, struct one *o)
{
    static const char *const names[] = { "host", "content-length", "transfer-encoding", "content-type" };
    o->body = r->body.n;
    o->fields = r->n_fields;
    o->hash = mix(14695981039346656037u, r->body.data ? r->body.data : "", r->body.n);
    o->hash = mix(o->hash, gw_request_target(r), strlen(gw_request_target(r)) + 1);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *value = gw_request_field(r, names[i]);
        if (value && strpbrk(value, "\r\n"))
            abort();
        o->hash = mix(o->hash, value ? value : "-", value ? strlen(value) + 1 : 1);
    }
    if (gw_request_field(r, "transfer-encoding") && gw_request_field(r, "content-length"))
        abort();
    if (!gw_request_is_old(r) && !gw_request_field(r, "host"))
        abort();
    if (r->body.n > MAX_BODY || r->n_fields > GW_MAX_FIELDS)
        abort();
    (void)gw_request_keeps_alive(r);
    (void)gw_request_has_body(r);
    (void)gw_request_waits(r);
    (void)gw_request_method(r);
}

static void read_all(const char *data, size_t n, size_t piece, struct seen *ret)
{
    struct gw_request r;
    size_t at = 0;
    bool head = false;
    memset(ret, 0, sizeof *ret);
    if (!gw_request_init(&r, MAX_BODY))
        abort();
    while (ret->n < MAX_REQUESTS) {
        size_t used, left = n - at < piece ? n - at : piece;
        enum gw_http_step step = gw_request_feed(&r, data + at, left, &used);
        if (used > left)
            abort();
        at += used;
        if (step == GW_HTTP_HEAD) {
            if (head)
                abort();
            head = true;
        } else if (step == GW_HTTP_DONE || step == GW_HTTP_BAD) {
            struct one *o = &ret->one[ret->n++];
            o->step = step;
            o->status = r.status;
            o->used = step == GW_HTTP_DONE ? at : 0;        /* of a refused one, more or less may have been looked at */
            if (step == GW_HTTP_DONE)
                look(&r, o);
            if (step == GW_HTTP_BAD) {
                if (!r.why || r.status < 400 || gw_request_feed(&r, "x", 1, &used) != GW_HTTP_BAD)
                    abort();
                break;
            }
            gw_request_reset(&r);
            head = false;
        } else if (used < left || at == n) {
            if (used < left)
                abort();                /* more is wanted, though there was more */
            break;
        }
    }
    gw_request_clear(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct seen whole, cut;
    char decoded[256];
    if (n < 1)
        return 0;
    const char *text = (const char *)data + 1;
    read_all(text, n - 1, n, &whole);
    read_all(text, n - 1, data[0] % 64 + 1u, &cut);
    if (whole.n != cut.n || memcmp(whole.one, cut.one, sizeof whole.one) != 0)
        abort();
    if (gw_percent_decode(text, n - 1 < 100 ? n - 1 : 100, decoded, sizeof decoded) && strlen(decoded) > 100)
        abort();
    return 0;
}
