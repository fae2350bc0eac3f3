/* prog/fetch/main.c - veritas-fetch: gets one file from one URL, for `veritas models pull`, and is trusted with nothing.
 *
 *     veritas ----- argv: URL, first byte, entity tag ----> veritas-fetch ----- TLS ----> server
 *             <---- fd 1: the body, fd 3: report ---------
 *
 * TLS and HTTP are spoken here and nowhere else (libcurl). It writes no file and starts nothing: what comes goes through a pipe to
 * its parent, which counts, stores and checks it. It is started with a clean environment and locks itself in (lockdown.c) before
 * the first byte goes out.
 *
 * The report, in lines: "head STATUS FIRST TOTAL TAG" before the body (TOTAL and TAG are "-" when unknown), then "done", or
 * "fail KIND TEXT" where KIND is again (the same may work later), range (nothing lies behind the first byte), missing, denied or
 * final.
 *
 * https only, unless the host is this machine (localhost, 127.*, ::1). At most five redirects, none from https to http, none from
 * elsewhere to this machine. No cookies, no passwords, no compression.
 */
#include "prog/fetch/lockdown.h"

#include "base/file.h"

#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { REPORT_FD = 3, CA_FD = 4, MAX_REDIRECTS = 5, MAX_CA = 8 << 20, MAX_DROPPED = 1 << 20, CONNECT_S = 30, STALL_S = 60 };

struct fetch {
    CURL *curl;
    uint64_t first;                      /* of the bytes that are wanted */
    bool said_head, is_body;             /* a redirect or an error has a body too, which nobody wants */
    size_t n_dropped;
    char tag[200], range[200];           /* of the answer: ETag, Content-Range */
};

static void report(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void report(const char *format, ...)
{
    char line[1024];
    va_list list;
    va_start(list, format);
    int n = vsnprintf(line, sizeof line - 1, format, list);
    va_end(list);
    n = n < 0 ? 0 : n > (int)sizeof line - 2 ? (int)sizeof line - 2 : n;
    for (int i = 0; i < n; i++)
        if ((unsigned char)line[i] < 0x20)
            line[i] = ' ';
    line[n++] = '\n';
    if (write(REPORT_FD, line, (size_t)n) != n)
        _exit(1);                        /* nobody listens any more */
}

/* ---- which URLs ---- */

static bool is_loopback(const char *host)
{
    return strcasecmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0
           || (strncmp(host, "127.", 4) == 0 && host[strspn(host, "0123456789.")] == '\0');
}

/* NULL when it may be asked, else why not. before: where a redirect came from, or NULL. */
static const char *refuse(const char *url, const char *before)
{
    const char *why = NULL;
    char *scheme = NULL, *host = NULL, *user = NULL, *from_scheme = NULL, *from_host = NULL;
    CURLU *u = curl_url(), *b = curl_url();
    if (!u || !b || curl_url_set(u, CURLUPART_URL, url, 0) != CURLUE_OK
        || curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK
        || curl_url_get(u, CURLUPART_HOST, &host, 0) != CURLUE_OK)
        why = "it is no URL";
    else if (curl_url_get(u, CURLUPART_USER, &user, 0) == CURLUE_OK)
        why = "a name or password in a URL would be seen by others";
    else if (strcmp(scheme, "https") != 0 && !(strcmp(scheme, "http") == 0 && is_loopback(host)))
        why = "only https is spoken (http to this machine alone)";
    else if (before && (curl_url_set(b, CURLUPART_URL, before, 0) != CURLUE_OK
                        || curl_url_get(b, CURLUPART_SCHEME, &from_scheme, 0) != CURLUE_OK
                        || curl_url_get(b, CURLUPART_HOST, &from_host, 0) != CURLUE_OK))
        why = "it came from no URL";
    else if (before && strcmp(from_scheme, "https") == 0 && strcmp(scheme, "https") != 0)
        why = "it leads from https to http";
    else if (before && is_loopback(host) && !is_loopback(from_host))
        why = "it leads from another machine to this one";
    curl_free(scheme), curl_free(host), curl_free(user), curl_free(from_scheme), curl_free(from_host);
    curl_url_cleanup(u), curl_url_cleanup(b);
    return why;
}

/* ---- one answer ---- */

static void take_value(const char *data, size_t n, const char *name, char *ret, size_t size)
{
    size_t length = strlen(name);
    if (n <= length || strncasecmp(data, name, length) != 0)
        return;
    for (data += length, n -= length; n > 0 && isspace((unsigned char)*data); data++)
        n--;
    while (n > 0 && isspace((unsigned char)data[n - 1]))
        n--;
    if (n < size) {
        memcpy(ret, data, n);
        ret[n] = '\0';
    }
}

static size_t on_header(char *data, size_t one, size_t n, void *context)
{
    struct fetch *f = context;
    if (n > 5 && strncmp(data, "HTTP/", 5) == 0)
        f->tag[0] = f->range[0] = '\0';  /* of an interim answer or a proxy */
    take_value(data, n, "ETag:", f->tag, sizeof f->tag);
    take_value(data, n, "Content-Range:", f->range, sizeof f->range);
    return one * n;
}

/* Says what is coming, before its first byte. A weak tag, or one that could not go into a request, is none. */
static void say_head(struct fetch *f)
{
    long status = 0;
    curl_off_t length = -1;
    uint64_t first = 0, last, total;
    char total_text[32] = "-";
    curl_easy_getinfo(f->curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(f->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    f->said_head = true;
    f->is_body = status == 200 || status == 206;
    if (!f->is_body)
        return;
    if (status == 206 && sscanf(f->range, "bytes %" SCNu64 "-%" SCNu64 "/%" SCNu64, &first, &last, &total) == 3)
        snprintf(total_text, sizeof total_text, "%" PRIu64, total);
    else if (status == 200 && length >= 0)
        snprintf(total_text, sizeof total_text, "%lld", (long long)length);
    bool strong = f->tag[0] == '"' && strpbrk(f->tag, " \t") == NULL;
    report("head %ld %" PRIu64 " %s %s", status, first, total_text, strong ? f->tag : "-");
}

static size_t on_body(char *data, size_t one, size_t n, void *context)
{
    struct fetch *f = context;
    if (!f->said_head)
        say_head(f);
    if (!f->is_body)                     /* of a redirect or an error: not to its end when that is far */
        return (f->n_dropped += one * n) > MAX_DROPPED ? 0 : one * n;
    return vs_write_all(1, data, one * n) ? one * n : 0;
}

/* ---- the whole of it ---- */

static bool will_pass(CURLcode code)
{
    static const CURLcode codes[] = {
        CURLE_COULDNT_RESOLVE_HOST, CURLE_COULDNT_RESOLVE_PROXY, CURLE_COULDNT_CONNECT, CURLE_PARTIAL_FILE,
            CURLE_OPERATION_TIMEDOUT,
        CURLE_GOT_NOTHING, CURLE_SEND_ERROR, CURLE_RECV_ERROR, CURLE_SSL_CONNECT_ERROR,
    };
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if (code == codes[i])
            return true;
    return false;
}

/* What an answer that is no file means to the parent. */
static const char *kind_of(long status)
{
    switch (status) {
    case 404: case 410: return "missing";
    case 401: case 403: return "denied";
    case 416: return "range";
    case 408: case 429: return "again";
    default: return status >= 500 ? "again" : "final";
    }
}

/* Follows redirects by hand, since each has to be judged. Returns the exit status. */
static int fetch(struct fetch *f, const char *url)
{
    char *at = strdup(url), problem[CURL_ERROR_SIZE] = "";
    const char *why = refuse(at, NULL);
    curl_easy_setopt(f->curl, CURLOPT_ERRORBUFFER, problem);
    for (int hops = 0; !why; hops++) {
        long status = 0;
        char *next = NULL;
        f->said_head = f->is_body = false;
        f->n_dropped = 0;
        problem[0] = '\0';
        curl_easy_setopt(f->curl, CURLOPT_URL, at);
        CURLcode code = curl_easy_perform(f->curl);
        curl_easy_getinfo(f->curl, CURLINFO_RESPONSE_CODE, &status);
        bool is_left = code == CURLE_WRITE_ERROR && f->said_head && !f->is_body;
        if (code != CURLE_OK && !is_left) {
            report("fail %s %s", will_pass(code) ? "again" : "final", problem[0] ? problem : curl_easy_strerror(code));
            return 1;
        }
        if (status == 200 || status == 206) {
            if (!f->said_head)
                say_head(f);             /* an empty body */
            report("done");
            return 0;
        }
        curl_easy_getinfo(f->curl, CURLINFO_REDIRECT_URL, &next);
        if (status < 300 || status >= 400 || !next) {
            report("fail %s the server answered %ld", kind_of(status), status);
            return 1;
        }
        if (hops == MAX_REDIRECTS) {
            report("fail final more than %d redirects", MAX_REDIRECTS);
            return 1;
        }
        next = strdup(next);
        why = next ? refuse(next, at) : "out of memory";
        if (why) {
            report("fail final the server redirects to %.300s: %s", next ? next : "?", why);
            return 1;
        }
        free(at);
        at = next;
    }
    report("fail final %s", why);
    return 1;
}

/* The certificates that the parent opened for us; whom to trust is not left to the environment of a locked-in process. */
static void take_authorities(CURL *curl)
{
    char *text = malloc(MAX_CA);
    size_t n = 0;
    ssize_t got;
    while (text && n < MAX_CA && (got = read(CA_FD, text + n, MAX_CA - n)) > 0)
        n += (size_t)got;
    close(CA_FD);
    if (text && n > 0) {
        struct curl_blob blob = { text, n, CURL_BLOB_COPY };
        curl_easy_setopt(curl, CURLOPT_CAINFO_BLOB, &blob);
    }
    free(text);
}

int main(int argc, char **argv)
{
    struct fetch f = { 0 };
    char range[64], condition[260];
    struct curl_slist *headers = NULL;
    if (argc != 4 || fcntl(REPORT_FD, F_GETFD) < 0) {
        static const char usage[] = "veritas-fetch is started by `veritas models pull`, and has no other use\n";
        return write(2, usage, sizeof usage - 1) < 0 ? 1 : 2;
    }
    f.first = strtoull(argv[2], NULL, 10);
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK || !(f.curl = curl_easy_init())) {
        report("fail final libcurl cannot be set up");
        return 1;
    }
    take_authorities(f.curl);
    const char *why = vs_fetch_lockdown();
    if (why) {
        report("fail final cannot lock itself in: %s", why);
        return 1;
    }
    curl_easy_setopt(f.curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(f.curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(f.curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(f.curl, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(f.curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(f.curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(f.curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_S);
    curl_easy_setopt(f.curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(f.curl, CURLOPT_LOW_SPEED_TIME, (long)STALL_S);
    curl_easy_setopt(f.curl, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(f.curl, CURLOPT_USERAGENT, "veritas/" VERITAS_VERSION);
    curl_easy_setopt(f.curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(f.curl, CURLOPT_HEADERDATA, &f);
    curl_easy_setopt(f.curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(f.curl, CURLOPT_WRITEDATA, &f);
    if (f.first > 0) {
        snprintf(range, sizeof range, "%" PRIu64 "-", f.first);
        curl_easy_setopt(f.curl, CURLOPT_RANGE, range);
    }
    if (f.first > 0 && argv[3][0] == '"') {
        snprintf(condition, sizeof condition, "If-Range: %.200s", argv[3]);
        headers = curl_slist_append(headers, condition);
        curl_easy_setopt(f.curl, CURLOPT_HTTPHEADER, headers);
    }
    _exit(fetch(&f, argv[1]));           /* nothing to give back, and a leak checker could not run in here */
}
