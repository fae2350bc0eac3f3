/* filter/urls.c - see urls.h */
#include "filter/urls.h"

#include <string.h>

enum answer { NO, UNDECIDED, ALLOWED, FOUND, FOUND_OPEN };

enum { URL_MAX = 200, SCHEME_GAPS_MAX = 24 };

struct scheme { const char *name; bool is_web, is_code; };       /* is_code: no host, dangerous by itself */
static const struct scheme schemes[] = {
    { "https", true, false }, { "http", true, false }, { "ftps", false, false }, { "ftp", false, false }, { "wss", false, false },
    { "ws", false, false }, { "file", false, false }, { "sftp", false, false }, { "ssh", false, false }, { "git", false, false },
    { "gopher", false, false }, { "ldaps", false, false }, { "ldap", false, false }, { "smb", false, false },
    { "javascript", false, true }, { "vbscript", false, true }, { "data", false, true }, { "blob", false, true },
};

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (lower(c) >= 'a' && lower(c) <= 'z') || (unsigned char)c >= 0x80;
}

static inline bool is_one_of(char c, const char *set)
{
    while (*set && *set != c)
        set++;
    return *set != 0;
}

static bool is_stripped(char c)
{
    return c == '\t' || c == '\n' || c == '\r';
}

struct place {
    const char *text;
    size_t n, i;
    bool whole;
    const struct vs_urls *urls;
    const char *rule;
    size_t end;
};

/* ---- the list ---- */

static bool is_host_char(char c)
{
    return is_alnum(c) || c == '.' || c == '-';
}

const char *vs_urls_check(const char *entry)
{
    size_t i = strncmp(entry, "*.", 2) == 0 ? 2 : 0, host = i;
    if (strstr(entry, "://"))
        return "a host without a scheme is expected";
    while (is_host_char(entry[i]))
        i++;
    if (i == host || entry[host] == '.' || strlen(entry) > URL_MAX)
        return "a host name is expected, as in example.com, *.example.com or example.com/docs";
    if (entry[i] == ':') {
        size_t port = ++i;
        while (entry[i] >= '0' && entry[i] <= '9')
            i++;
        if (i == port || i - port > 5)
            return "a port is a number";
    }
    return entry[i] == 0 || entry[i] == '/' ? NULL : "behind the host only a path may stand";
}

static bool is_same(const char *a, const char *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (lower(a[i]) != lower(b[i]))
            return false;
    return true;
}

struct parts { const char *host, *port, *path; size_t n_host, n_port, n_path; };

static bool allows(const char *entry, const struct parts *u)
{
    bool below = strncmp(entry, "*.", 2) == 0;
    const char *host = entry + (below ? 2 : 0);
    size_t n_host = strcspn(host, ":/"), n_port = 0;
    const char *rest = host + n_host;
    if (*rest == ':')
        n_port = strcspn(++rest, "/");
    if (below ? u->n_host <= n_host + 1 || u->host[u->n_host - n_host - 1] != '.' : u->n_host != n_host)
        return false;
    if (!is_same(u->host + u->n_host - n_host, host, n_host))
        return false;
    bool is_standard = u->n_port == 0 || (u->n_port == 2 && memcmp(u->port, "80", 2) == 0)
                       || (u->n_port == 3 && memcmp(u->port, "443", 3) == 0);
    if (n_port ? u->n_port != n_port || memcmp(u->port, rest, n_port) != 0 : !is_standard)
        return false;
    const char *path = rest + n_port;
    size_t n_path = strlen(path);
    while (n_path > 0 && path[n_path - 1] == '/')
        n_path--;
    if (n_path == 0)
        return true;
    return u->n_path >= n_path && memcmp(u->path, path, n_path) == 0
           && (u->n_path == n_path || is_one_of(u->path[n_path], "/?#"));
}

/* A path that may leave what it begins with. */
static bool is_climbing(const char *s, size_t n)
{
    for (size_t i = 0; i < n && s[i] != '?' && s[i] != '#'; i++) {
        if (s[i] == '\\' || (s[i] == '.' && i + 1 < n && s[i + 1] == '.'))
            return true;
        const char *code = s + i + 1;
        if (s[i] == '%' && i + 2 < n && (is_same(code, "2e", 2) || is_same(code, "2f", 2) || is_same(code, "5c", 2)))
            return true;
    }
    return false;
}

/* s[0, n): from the host on. */
static bool is_allowed(const struct vs_urls *urls, const char *s, size_t n)
{
    struct parts u = { .host = s };
    size_t i = 0;
    if (urls->mode == VS_URLS_NONE)
        return false;
    while (i < n && is_host_char(s[i]))
        i++;
    u.n_host = i && s[i - 1] == '.' ? i - 1 : i;
    if (i < n && s[i] == ':') {
        u.port = s + ++i;
        while (i < n && s[i] >= '0' && s[i] <= '9')
            i++;
        u.n_port = (size_t)(s + i - u.port);
        if (u.n_port == 0)
            return false;
    }
    if (i < n && !is_one_of(s[i], "/?#"))
        return false;                    /* a user, a backslash, or what is no host */
    u.path = s + i;
    u.n_path = n - i;
    bool climbs = is_climbing(u.path, u.n_path);
    for (size_t k = 0; k < n; k++)
        if (is_stripped(s[k]))
            return false;
    for (size_t k = 0; k < urls->n_allow; k++)
        if (allows(urls->allow[k], &u) && !(climbs && strchr(urls->allow[k], '/')))
            return true;
    return false;
}

/* ---- how far a URL goes ---- */

static bool is_end(char c, char opener)
{
    if (opener == '"' || opener == '\'' || opener == '<')
        return c == (opener == '<' ? '>' : opener) || (c >= 0 && c <= ' ' && !is_stripped(c)) || c == 127;
    return (c >= 0 && c <= ' ') || c == 127 || is_one_of(c, "<>\"`|^{}");
}

/* Where it ends: a closing bracket that it did not open ends it too, a quote where one opened. SIZE_MAX: it goes on behind the text
 * or behind URL_MAX bytes. */
static size_t url_end(const struct place *p, char opener)
{
    size_t depth = 0, most = p->n - p->i > URL_MAX ? p->i + URL_MAX : p->n, i = p->i;
    for (; i < most; i++) {
        char c = p->text[i];
        if (is_end(c, opener) || ((c == ')' || c == ']') && depth == 0) || (c == '\'' && opener == '\''))
            return i;
        depth += c == '(' || c == '[';
        depth -= c == ')' || c == ']';
    }
    return i == p->n && p->whole ? i : SIZE_MAX;
}

/* A URL from p->i whose host begins at `host`; SIZE_MAX: it has none, and no list allows it. */
static enum answer judge(struct place *p, size_t host, const char *rule)
{
    char opener = p->i ? p->text[p->i - 1] : 0;
    size_t end = url_end(p, opener);
    bool is_long = end == SIZE_MAX && p->n - p->i > URL_MAX;
    if (end == SIZE_MAX && !is_long)
        return UNDECIDED;
    end = is_long ? p->i + URL_MAX : end;
    while (!is_long && end > p->i && is_one_of(p->text[end - 1], ".,;:!?*_'"))
        end--;
    p->end = end;
    p->rule = rule;
    if (host != SIZE_MAX && is_long && host >= end)
        return FOUND_OPEN;               /* slashes, and what they lead to is out of sight */
    if (host != SIZE_MAX && (host >= end || (!is_alnum(p->text[host]) && p->text[host] != '[')))
        return NO;                       /* a scheme alone */
    if (host != SIZE_MAX && is_allowed(p->urls, p->text + host, end - host))
        return ALLOWED;
    return is_long ? FOUND_OPEN : FOUND;
}

/* ---- where one begins ---- */

static bool is_slash(char c)
{
    return c == '/' || c == '\\';
}

/* Where the slashes end that go on at i: for a browser two are as good as many. Not beyond URL_MAX bytes from p->i. */
static size_t slashes_end(const struct place *p, size_t i)
{
    while (i < p->n && i - p->i < URL_MAX && is_slash(p->text[i]))
        i++;
    return i;
}

/* Whether a link begins here: behind a bracket, a quote or =, and a little white space. */
static bool is_link(const struct place *p)
{
    size_t i = p->i;
    while (i > 0 && p->i - i < 8 && is_one_of(p->text[i - 1], " \t\r\n"))
        i--;
    return i > 0 && is_one_of(p->text[i - 1], "(\"'=<");
}

/* "data:text/html", "data:;base64,": not "data: none". */
static enum answer after_data(struct place *p, size_t i)
{
    size_t k = i;
    while (k < p->n && k - i < 24 && (is_alnum(p->text[k]) || is_one_of(p->text[k], "+-.")))
        k++;
    if (k == p->n && !p->whole)
        return UNDECIDED;
    bool is_data = k < p->n && ((k > i && p->text[k] == '/') || p->text[k] == ',' || p->text[k] == ';');
    return is_data ? judge(p, SIZE_MAX, "data-url") : NO;
}

/* Behind the colon of a scheme. */
static enum answer after_scheme(struct place *p, const struct scheme *s, size_t i)
{
    if (strcmp(s->name, "data") == 0)
        return after_data(p, i);
    if (i == p->n && !p->whole)
        return UNDECIDED;
    if (s->is_code)
        return i < p->n && (unsigned char)p->text[i] > ' ' ? judge(p, SIZE_MAX, "script-url") : NO;
    size_t k = slashes_end(p, i);
    if (k == p->n && !p->whole)
        return UNDECIDED;
    if (k - i < 2 && !(s->is_web && is_link(p)))
        return NO;                       /* "http: the protocol" */
    if (k >= p->n || (k - p->i < URL_MAX && !is_alnum(p->text[k]) && p->text[k] != '['))
        return NO;                       /* a scheme alone */
    return judge(p, s->is_web ? k : SIZE_MAX, "url");
}

/* A scheme at p->i, in one piece; where a link begins white space may part it. */
static enum answer try_scheme(struct place *p)
{
    bool may_part = is_link(p);
    for (size_t k = 0; k < sizeof schemes / sizeof *schemes; k++) {
        const char *name = schemes[k].name;
        size_t i = p->i, gaps = 0;
        if (lower(p->text[i]) != *name)
            continue;
        for (; *name && i < p->n; i++) {
            if (may_part && (unsigned char)p->text[i] <= ' ' && gaps < SCHEME_GAPS_MAX)
                gaps++;
            else if (lower(p->text[i]) == *name)
                name++;
            else
                break;
        }
        while (!*name && may_part && i < p->n && (unsigned char)p->text[i] <= ' ' && gaps < SCHEME_GAPS_MAX)
            i++, gaps++;
        if (i == p->n && !p->whole)
            return UNDECIDED;
        if (!*name && i < p->n && p->text[i] == ':')
            return after_scheme(p, &schemes[k], i + 1);
    }
    return NO;
}

static enum answer try_www(struct place *p)
{
    for (size_t k = 0; k < 4; k++) {
        if (p->i + k == p->n)
            return p->whole ? NO : UNDECIDED;
        if (lower(p->text[p->i + k]) != "www."[k])
            return NO;
    }
    if (p->i > 0 && (is_alnum(p->text[p->i - 1]) || is_one_of(p->text[p->i - 1], "/.@-")))
        return NO;
    return p->i + 4 == p->n && !p->whole ? UNDECIDED : p->i + 4 < p->n && is_alnum(p->text[p->i + 4]) ? judge(p, p->i, "url") : NO;
}

/* //host, \\host, /\host where a link begins */
static enum answer try_relative(struct place *p)
{
    if (p->i + 2 >= p->n && !p->whole)
        return UNDECIDED;
    if (p->i + 2 >= p->n || !is_slash(p->text[p->i + 1]))
        return NO;
    return judge(p, slashes_end(p, p->i), "url-relative");
}

static enum answer try_place(struct place *p)
{
    char c = p->text[p->i];
    enum answer answer = NO;
    if (is_slash(c))
        return is_link(p) ? try_relative(p) : NO;
    if (lower(c) == 'w')
        answer = try_www(p);
    return answer == NO ? try_scheme(p) : answer;
}

/* Where it pays to look: the first two letters of schemes (white space may stand between them), slashes where a link may begin. */
static bool is_worth(const char *text, size_t n, size_t i)
{
    static const char *const seconds[26] = {
        ['h' - 'a'] = "t", ['f' - 'a'] = "ti", ['w' - 'a'] = "sw", ['s' - 'a'] = "fsm", ['g' - 'a'] = "io", ['l' - 'a'] = "d",
        ['j' - 'a'] = "a", ['v' - 'a'] = "b", ['d' - 'a'] = "a", ['b' - 'a'] = "l",
    };
    char c = lower(text[i]);
    if (is_slash(c))
        return i > 0 && is_one_of(text[i - 1], " (\"'=<\t\r\n");
    if (c < 'a' || c > 'z' || !seconds[c - 'a'])
        return false;
    char second = i + 1 < n ? lower(text[i + 1]) : ' ';
    bool is_two = is_one_of(second, seconds[c - 'a']);
    if (i > 0 && is_alnum(text[i - 1]))
        return c == 'h' && (is_two || i + 1 == n);
    return is_two || (second >= 0 && second <= ' ');
}

#define BOTH(c) [c] = true, [(c) - 32] = true
static const bool first[256] = {
    BOTH('h'), BOTH('f'), BOTH('w'), BOTH('s'), BOTH('g'), BOTH('l'), BOTH('j'), BOTH('v'), BOTH('d'), BOTH('b'), ['/'] = true,
    ['\\'] = true,
};

static size_t closed(const struct vs_detector *d, const char *rule, const char *text, size_t n, size_t looked)
{
    (void)d, (void)rule;
    for (size_t i = looked; i < n; i++)
        if (is_end(text[i], 0) || text[i] == ')' || text[i] == ']')
            return i;
    return SIZE_MAX;
}

static size_t find(const struct vs_detector *d, const char *text, size_t n, size_t from, bool whole, vs_span_fn *told, void *arg)
{
    struct place p = { .text = text, .n = n, .whole = whole, .urls = d->state };
    if (p.urls->mode == VS_URLS_ANY)
        return n;
    for (size_t i = from; i < n;) {
        if (!first[(unsigned char)text[i]] || !is_worth(text, n, i)) {
            i++;
            continue;
        }
        p.i = i;
        enum answer answer = try_place(&p);
        if (answer == UNDECIDED)
            return i;
        if (answer == FOUND_OPEN && whole) {
            size_t end = closed(d, p.rule, text, n, p.end);
            p.end = end == SIZE_MAX ? n : end;
        }
        struct vs_span span = { VS_FOUND_URL, 0, p.rule, i, p.end, 1000, answer == FOUND_OPEN && !whole };
        if (answer >= FOUND)
            told(arg, &span);
        if (span.open)
            return i;
        i = answer != NO ? p.end : i + 1;
    }
    return n;
}

struct vs_detector vs_urls_detector(const struct vs_urls *urls)
{
    return (struct vs_detector){ "urls", urls, find, closed };
}
