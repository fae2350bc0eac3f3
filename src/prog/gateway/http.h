/* prog/gateway/http.h - one HTTP/1 request out of bytes, strictly: what two readers could understand in two ways is refused.
 *
 * The head is collected first and looked at line by line: each line ends with CR LF, none begins with a blank (a folded header), no
 * NUL. Then llhttp (strict mode) reads it. Refused besides: a length beside chunked, two lengths, two hosts, a coding other than
 * chunked, more than MAX fields or bytes. Bodies come by length or chunked; extensions of chunks and trailers are read over.
 *
 *     feed: GW_HTTP_MORE ... GW_HTTP_HEAD (once: may the body come?) ... GW_HTTP_DONE          or GW_HTTP_BAD: error says why
 *
 * Memory:  owned by the gw_request until _clear; _reset readies it for the next one. Threads: one. Errors: of HTTP, in `error`.
 */
#ifndef VS_GATEWAY_HTTP_H
#define VS_GATEWAY_HTTP_H
#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    GW_MAX_HEAD = 64 << 10,             /* bytes of request line and fields */
    GW_MAX_LINE = 16 << 10,             /* bytes of the request line */
    GW_MAX_FIELDS = 100,
};

enum gw_http_step { GW_HTTP_MORE, GW_HTTP_HEAD, GW_HTTP_DONE, GW_HTTP_BAD };

struct gw_request {
    struct llhttp__internal_s *parser;
    enum { GW_AT_HEAD, GW_AT_BODY, GW_AT_END, GW_AT_ERROR } at;
    struct vs_buf head;                 /* as it came */
    size_t line_at;                     /* where its last line begins */
    unsigned n_lines;
    struct vs_buf text;                 /* target, names (lower case) and values, each with a NUL */
    struct { uint32_t name, value; } fields[GW_MAX_FIELDS];
    unsigned n_fields;
    bool is_value;                      /* the last that came was a value */
    bool is_complete;                   /* llhttp has seen the end */
    unsigned n_empty;                   /* lines before the request */
    uint64_t raw;                       /* bytes of the body as they came */
    struct vs_buf body;
    size_t max_body;                    /* of its bytes; the caller's */
    int status;                         /* GW_HTTP_BAD: the HTTP status to answer, and why */
    const char *why;
};

bool gw_request_init(struct gw_request *r, size_t max_body);     /* false: no memory */
void gw_request_reset(struct gw_request *r);    /* ready for the next one; gives its memory back */
void gw_request_clear(struct gw_request *r);

/* Takes bytes; *ret_used of them belong to this request. After GW_HTTP_HEAD call it again for the body, even with n 0. */
enum gw_http_step gw_request_feed(struct gw_request *r, const char *data, size_t n, size_t *ret_used);

bool gw_request_is_begun(const struct gw_request *r);
const char *gw_request_method(const struct gw_request *r);
const char *gw_request_target(const struct gw_request *r);
const char *gw_request_field(const struct gw_request *r, const char *name);     /* name in lower case; the first; NULL */
bool gw_request_is_old(const struct gw_request *r);             /* HTTP/1.0 */
bool gw_request_keeps_alive(const struct gw_request *r);
bool gw_request_has_body(const struct gw_request *r);           /* after HEAD */
bool gw_request_waits(const struct gw_request *r);              /* Expect: 100-continue */

/* Percent signs decoded into ret (n bytes and a NUL fit). false: a broken one, or a NUL. */
bool gw_percent_decode(const char *s, size_t n, char *ret, size_t size);
#endif
