/* prog/gateway/http.c - see http.h. Grammar: RFC 9110 and 9112; the parser under it is Debian's node-llhttp. */
#include "prog/gateway/http.h"

#include "base/bytes.h"
#include "base/status.h"

#include <llhttp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { MAX_OVERHEAD = 64 << 10 };       /* bytes of chunk sizes, extensions and trailers, beside 8 for each byte of the body */

static enum gw_http_step bad(struct gw_request *r, int status, const char *why)
{
    r->at = GW_AT_ERROR;
    r->status = status;
    r->why = why;
    return GW_HTTP_BAD;
}

/* ---- what llhttp finds ---- */

static void text_add(struct gw_request *r, const char *at, size_t n, bool lower)
{
    if (r->text.n)
        r->text.n--;                    /* over the NUL */
    size_t begin = r->text.n;
    vs_buf_add(&r->text, at, n);
    for (size_t i = begin; lower && r->text.status == VS_OK && i < r->text.n; i++)
        if (r->text.data[i] >= 'A' && r->text.data[i] <= 'Z')
            r->text.data[i] = (char)(r->text.data[i] - 'A' + 'a');
    vs_buf_char(&r->text, 0);
}

static uint32_t text_begin(struct gw_request *r)
{
    vs_buf_char(&r->text, 0);
    return (uint32_t)r->text.n - 1;
}

static int on_url(llhttp_t *p, const char *at, size_t n)
{
    text_add(p->data, at, n, false);
    return 0;
}

static int on_name(llhttp_t *p, const char *at, size_t n)
{
    struct gw_request *r = p->data;
    if (r->at != GW_AT_HEAD)
        return 0;                       /* a trailer */
    if (r->is_value || r->n_fields == 0) {
        if (r->n_fields == GW_MAX_FIELDS)
            return HPE_USER;
        r->fields[r->n_fields].name = text_begin(r);
        r->fields[r->n_fields].value = 0;
        r->n_fields++;
        r->is_value = false;
    }
    text_add(r, at, n, true);
    return 0;
}

static int on_value(llhttp_t *p, const char *at, size_t n)
{
    struct gw_request *r = p->data;
    if (r->at != GW_AT_HEAD || r->n_fields == 0)
        return 0;
    if (!r->is_value)
        r->fields[r->n_fields - 1].value = text_begin(r);
    r->is_value = true;
    text_add(r, at, n, false);
    return 0;
}

static int on_body(llhttp_t *p, const char *at, size_t n)
{
    struct gw_request *r = p->data;
    vs_buf_add(&r->body, at, n);
    return r->body.status == VS_OK ? 0 : HPE_USER;
}

/* A chunk that could not be taken whole is refused before it comes. */
static int on_chunk(llhttp_t *p)
{
    struct gw_request *r = p->data;
    if (p->content_length <= r->max_body && r->body.n + p->content_length <= r->max_body)
        return 0;
    r->body.status = VS_E_LIMIT;
    return HPE_USER;
}

static int on_complete(llhttp_t *p)
{
    ((struct gw_request *)p->data)->is_complete = true;
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_url = on_url, .on_header_field = on_name, .on_header_value = on_value, .on_body = on_body,
    .on_chunk_header = on_chunk, .on_message_complete = on_complete,
};

/* ---- its life ---- */

static void start(struct gw_request *r)
{
    union { const llhttp_settings_t *in; llhttp_settings_t *out; } s = { &settings };       /* it changes nothing */
    llhttp_init(r->parser, HTTP_REQUEST, s.out);
    r->parser->data = r;
    r->at = GW_AT_HEAD;
    r->line_at = 0;
    r->n_lines = r->n_fields = 0;
    r->is_value = r->is_complete = false;
    r->n_empty = 0;
    r->raw = 0;
    r->status = 0;
    r->why = NULL;
    r->body.limit = r->max_body;
}

bool gw_request_init(struct gw_request *r, size_t max_body)
{
    memset(r, 0, sizeof *r);
    r->max_body = max_body;
    r->parser = calloc(1, sizeof *r->parser);
    if (!r->parser)
        return false;
    start(r);
    return true;
}

static void give_back(struct gw_request *r)
{
    vs_buf_clear(&r->head);
    vs_buf_clear(&r->text);
    vs_buf_clear(&r->body);
}

void gw_request_clear(struct gw_request *r)
{
    give_back(r);
    free(r->parser);
    r->parser = NULL;
}

void gw_request_reset(struct gw_request *r)
{
    give_back(r);
    start(r);
}

/* ---- the head ---- */

/* "METHOD target HTTP/1.1" with one blank between the words; llhttp lets more of them pass. */
static bool is_request_line(const char *line, size_t n)
{
    size_t blanks = 0;
    for (size_t i = 0; i < n; i++) {
        if (line[i] == '\t' || (line[i] == ' ' && i + 1 < n && line[i + 1] == ' '))
            return false;
        blanks += line[i] == ' ';
    }
    return blanks == 2;
}

enum { MAX_EMPTY = 2 };

/* Takes bytes up to the empty line. GW_HTTP_DONE: it is whole. */
static enum gw_http_step collect(struct gw_request *r, const char *data, size_t n, size_t *ret_used)
{
    size_t i = 0;
    while (i < n) {
        char c = data[i++], before = r->head.n ? r->head.data[r->head.n - 1] : '\n';
        bool at_start = r->head.n == r->line_at;
        *ret_used = i;
        if (c == '\n' && before != '\r')
            return bad(r, 400, "a line ends with a bare line feed; it must be carriage return and line feed");
        if (before == '\r' && c != '\n')
            return bad(r, 400, "a carriage return without a line feed");
        if (c == 0)
            return bad(r, 400, "a NUL byte in the request's head");
        if (at_start && (c == ' ' || c == '\t'))
            return bad(r, 400, r->n_lines ? "a header goes on in a second line; such folding is refused"
                       : "the request line begins with a blank");
        if (at_start && c == ':')
            return bad(r, 400, "a header without a name");
        vs_buf_char(&r->head, c);
        if (r->head.status != VS_OK)
            return bad(r, 503, "no memory for the request's head");
        if (r->n_lines == 0 && r->head.n > GW_MAX_LINE)
            return bad(r, 414, "the request line is longer than 16384 bytes");
        if (r->head.n > GW_MAX_HEAD)
            return bad(r, 431, "the request's head is larger than 65536 bytes");
        if (c != '\n')
            continue;
        bool is_empty = r->head.n - r->line_at == 2;
        if (is_empty && r->n_lines == 0) {
            if (++r->n_empty > MAX_EMPTY)   /* RFC 9112, 2.2: at least one is to be ignored */
                return bad(r, 400, "empty lines in place of a request");
            vs_buf_reset(&r->head);
            continue;
        }
        if (is_empty)
            return GW_HTTP_DONE;
        if (r->n_lines == 0 && !is_request_line(r->head.data, r->head.n))
            return bad(r, 400, "the request line is not METHOD, target and version with one blank between them");
        r->line_at = r->head.n;
        if (++r->n_lines > GW_MAX_FIELDS + 1)
            return bad(r, 431, "more than 100 header fields");
    }
    return GW_HTTP_MORE;
}

static unsigned count(const struct gw_request *r, const char *name)
{
    unsigned n = 0;
    for (unsigned i = 0; i < r->n_fields; i++)
        n += strcmp(r->text.data + r->fields[i].name, name) == 0;
    return n;
}

/* What may stand there only once. */
static const char *const single[] = { "host", "content-length", "transfer-encoding", "content-type", "authorization", "x-api-key",
                                      "origin", "expect" };

static enum gw_http_step read_head(struct gw_request *r)
{
    r->text.n = 0;
    text_begin(r);
    llhttp_errno_t e = llhttp_execute(r->parser, r->head.data, r->head.n);
    if (e == HPE_PAUSED && r->is_complete)
        e = HPE_OK;
    if (r->is_complete && r->parser->method == HTTP_CONNECT)
        return bad(r, 405, "CONNECT is not served here");
    if (e == HPE_PAUSED_UPGRADE) {      /* nothing else is spoken here: the request is one like any other */
        llhttp_resume_after_upgrade(r->parser);
        e = HPE_OK;
    }
    for (unsigned i = 0; i < sizeof single / sizeof *single && r->text.status == VS_OK && r->n_fields; i++)
        if (count(r, single[i]) > 1)
            return bad(r, 400, "a header that may come once came twice");
    if (e == HPE_PAUSED_H2_UPGRADE || e == HPE_INVALID_VERSION
        || (e == HPE_OK && (r->parser->http_major != 1 || r->parser->http_minor > 1)))
        return bad(r, 505, "only HTTP/1.1 and HTTP/1.0 are spoken here");
    const char *coding = e == HPE_OK ? gw_request_field(r, "transfer-encoding") : NULL;
    if (e == HPE_UNEXPECTED_CONTENT_LENGTH || (coding && count(r, "content-length")))
        return bad(r, 400, "a Content-Length beside Transfer-Encoding, or a second one");
    if (e == HPE_INVALID_METHOD)
        return bad(r, 501, "an unknown method");
    if (e != HPE_OK)
        return bad(r, 400, llhttp_get_error_reason(r->parser) ? llhttp_get_error_reason(r->parser) : "malformed request");
    if (r->text.status != VS_OK)
        return bad(r, 503, "no memory for the request's head");
    if (coding && gw_request_is_old(r))
        return bad(r, 400, "Transfer-Encoding in HTTP/1.0");
    if (coding && strcasecmp(coding, "chunked") != 0)
        return bad(r, 501, "a transfer coding other than chunked");
    if (!gw_request_is_old(r) && count(r, "host") != 1)
        return bad(r, 400, "a request without a Host header");
    if (!coding && r->parser->content_length > r->max_body)
        return bad(r, 413, "the body is larger than the gateway takes (--max-body)");
    const char *expect = gw_request_field(r, "expect");
    if (expect && strcasecmp(expect, "100-continue") != 0)
        return bad(r, 417, "an expectation other than 100-continue");
    r->at = r->is_complete ? GW_AT_END : GW_AT_BODY;
    vs_buf_clear(&r->head);
    return GW_HTTP_HEAD;
}

/* ---- the body ---- */

static enum gw_http_step read_body(struct gw_request *r, const char *data, size_t n, size_t *ret_used)
{
    llhttp_errno_t e = n ? llhttp_execute(r->parser, data, n) : HPE_OK;
    *ret_used = n;
    if (e == HPE_PAUSED && r->is_complete) {
        *ret_used = (size_t)(llhttp_get_error_pos(r->parser) - data);
        e = HPE_OK;
    }
    r->raw += *ret_used;
    if (r->body.status == VS_E_LIMIT)
        return bad(r, 413, "the body is larger than the gateway takes (--max-body)");
    if (r->body.status != VS_OK)
        return bad(r, 503, "no memory for the body");
    if (e != HPE_OK)
        return bad(r, 400, llhttp_get_error_reason(r->parser) ? llhttp_get_error_reason(r->parser) : "malformed body");
    if (r->raw > MAX_OVERHEAD + 9 * (uint64_t)r->body.n)
        return bad(r, 400, "chunks that hold almost nothing");
    if (!r->is_complete)
        return GW_HTTP_MORE;
    r->at = GW_AT_END;
    return GW_HTTP_DONE;
}

enum gw_http_step gw_request_feed(struct gw_request *r, const char *data, size_t n, size_t *ret_used)
{
    *ret_used = 0;
    if (r->at == GW_AT_HEAD) {
        enum gw_http_step step = collect(r, data, n, ret_used);
        return step == GW_HTTP_DONE ? read_head(r) : step;
    }
    return r->at == GW_AT_BODY ? read_body(r, data, n, ret_used) : r->at == GW_AT_END ? GW_HTTP_DONE : GW_HTTP_BAD;
}

/* ---- questions ---- */

bool gw_request_is_begun(const struct gw_request *r)
{
    return r->at != GW_AT_HEAD || r->head.n > 0;
}

const char *gw_request_method(const struct gw_request *r)
{
    return llhttp_method_name((llhttp_method_t)r->parser->method);
}

const char *gw_request_target(const struct gw_request *r)
{
    return r->text.data ? r->text.data : "";
}

const char *gw_request_field(const struct gw_request *r, const char *name)
{
    for (unsigned i = 0; i < r->n_fields; i++)
        if (strcmp(r->text.data + r->fields[i].name, name) == 0)
            return r->fields[i].value ? r->text.data + r->fields[i].value : "";
    return NULL;
}

bool gw_request_is_old(const struct gw_request *r)
{
    return r->parser->http_minor == 0;
}

bool gw_request_keeps_alive(const struct gw_request *r)
{
    const char *word = gw_request_field(r, "connection");
    if (gw_request_is_old(r))
        return word && strcasecmp(word, "keep-alive") == 0;
    return !word || strcasestr(word, "close") == NULL;
}

bool gw_request_has_body(const struct gw_request *r)
{
    return gw_request_field(r, "transfer-encoding") || r->parser->content_length > 0 || r->body.n > 0;
}

bool gw_request_waits(const struct gw_request *r)
{
    return r->at == GW_AT_BODY && !gw_request_is_old(r) && gw_request_field(r, "expect") != NULL;
}

bool gw_percent_decode(const char *s, size_t n, char *ret, size_t size)
{
    size_t m = 0;
    for (size_t i = 0; i < n; i++) {
        int c = (unsigned char)s[i];
        if (c == '%') {
            int high = n - i > 2 ? vs_hex_digit(s[i + 1]) : -1, low = n - i > 2 ? vs_hex_digit(s[i + 2]) : -1;
            if (high < 0 || low < 0)
                return false;
            c = 16 * high + low;
            i += 2;
        }
        if (c == 0 || m + 1 >= size)
            return false;
        ret[m++] = (char)c;
    }
    ret[m] = 0;
    return true;
}
