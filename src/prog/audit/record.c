/* prog/audit/record.c - an event as the members of a line: OCSF's classes and names, from two tables. */
#include "prog/audit/audit.h"

#include "base/bytes.h"
#include "base/text.h"
#include "base/utf8.h"

#include <stdio.h>
#include <string.h>

enum { API_ACTIVITY = 6003, APPLICATION_LIFECYCLE = 6002, AUTHENTICATION = 3002, ACCOUNT_CHANGE = 3001, DETECTION_FINDING = 2004,
       OTHER = 99 };
enum { INFORMATIONAL = 1, LOW = 2, MEDIUM = 3, HIGH = 4 };

/* What happens, in our word and in OCSF's. */
static const struct event {
    const char *name;
    int class_uid, activity_id;
    const char *activity;
    int severity;
} events[] = {
    { "start",       APPLICATION_LIFECYCLE, 3,     "Start",  INFORMATIONAL },   /* of the log's writer: with the daemon, or again */
    { "stop",        APPLICATION_LIFECYCLE, 4,     "Stop",   INFORMATIONAL },   /* in order */
    { "segment",     APPLICATION_LIFECYCLE, OTHER, "Log file begun", INFORMATIONAL },
    { "gap",         APPLICATION_LIFECYCLE, OTHER, "Records lost",   HIGH },
    { "clock",       APPLICATION_LIFECYCLE, OTHER, "Clock step",     MEDIUM },
    { "policy",      APPLICATION_LIFECYCLE, 8,     "Update", MEDIUM },          /* another policy holds */
    { "policy_refused", APPLICATION_LIFECYCLE, 8,  "Update", MEDIUM },          /* it could not be read: the old one holds */
    { "broker",      APPLICATION_LIFECYCLE, 3,     "Start",  INFORMATIONAL },   /* who speaks from now on */
    { "broker_died", APPLICATION_LIFECYCLE, 4,     "Stop",   HIGH },
    { "copy_failed", APPLICATION_LIFECYCLE, OTHER, "Checkpoint not copied", MEDIUM },
    { "worker_died", APPLICATION_LIFECYCLE, 4,     "Stop",   HIGH },
    { "loaded",      APPLICATION_LIFECYCLE, 6,     "Enable", INFORMATIONAL },   /* a model */
    { "load_failed", APPLICATION_LIFECYCLE, 6,     "Enable", MEDIUM },          /* it is not what it should be, or too large */
    { "digest",      APPLICATION_LIFECYCLE, OTHER, "Model identified", INFORMATIONAL },         /* what its file was */
    { "unloaded",    APPLICATION_LIFECYCLE, 7,     "Disable", INFORMATIONAL },
    { "request",     API_ACTIVITY,          OTHER, "Begin",  INFORMATIONAL },
    { "answer",      API_ACTIVITY,          OTHER, "End",    INFORMATIONAL },
    { "undelivered", API_ACTIVITY,          OTHER, "Not delivered", MEDIUM },   /* what `answer` says its client did not get */
    { "finding",     DETECTION_FINDING,     1,     "Create", MEDIUM },          /* of the guard */
    { "blocked_call", DETECTION_FINDING,    1,     "Create", HIGH },            /* a process tried what its sandbox forbids */
    { "key_added",   ACCOUNT_CHANGE,        1,     "Create", LOW },
    { "key_rotated", ACCOUNT_CHANGE,        3,     "Password Change", LOW },
    { "key_changed", ACCOUNT_CHANGE,        OTHER, "Update", LOW },             /* its role, or its scopes */
    { "key_revoked", ACCOUNT_CHANGE,        6,     "Delete", LOW },
    { "wrong_key",   AUTHENTICATION,        1,     "Logon",  LOW },
    { "locked_out",  AUTHENTICATION,        1,     "Logon",  MEDIUM },          /* too many wrong keys of one user */
};

/* Fields, and where they stand; those of one object follow each other. The first ones are in `metadata`, which is begun already. */
enum kind { TEXT, NUMBER, NUMERAL, OBJECT, LIST };     /* NUMERAL: a number that is written as a text */
static const struct field {
    const char *name;
    enum kind kind;
    const char *path;
} fields_known[] = {
    { "trace", TEXT, "metadata.correlation_uid" },
    { "request", NUMERAL, "api.request.uid" },             { "type", TEXT, "api.operation" },
    { "uid", NUMERAL, "actor.user.uid" },                  { "key", TEXT, "actor.user.credential_uid" },
    { "role", TEXT, "actor.user.type" },                  { "pid", NUMBER, "actor.process.pid" },
    { "client", TEXT, "actor.app_name" },                 { "on_behalf_of", TEXT, "actor.invoked_by" },
    { "remote", TEXT, "src_endpoint.ip" },
    { "account", TEXT, "user.name" },                     { "account_role", TEXT, "user.type" },
    { "model", TEXT, "ai_model.name" },                   { "model_digest", TEXT, "ai_model.uid" },
    { "prompt_tokens", NUMBER, "message_context.prompt_tokens" },
    { "completion_tokens", NUMBER, "message_context.completion_tokens" },
    { "status_id", NUMBER, "status_id" },                 { "finish", TEXT, "status_detail" },
    { "duration", NUMBER, "duration" },                   { "message", TEXT, "message" },
    { "policy", TEXT, "policy.uid" },                     { "version", TEXT, "app.version" },
    { "number", NUMBER, "unmapped.number" },              { "guard", OBJECT, "unmapped.guard" },
    { "receipt", TEXT, "unmapped.receipt" },              { "receipts", LIST, "unmapped.receipts" },
    { "cached_tokens", NUMBER, "unmapped.cached_tokens" }, { "resumed", NUMBER, "unmapped.resumed" },
    { "sandbox", OBJECT, "unmapped.sandbox" },            { "text_bytes", NUMBER, "unmapped.text.bytes" },
    { "text_hmac", TEXT, "unmapped.text.hmac" },          { "missed", NUMBER, "unmapped.missed" },
    { "since", NUMBER, "unmapped.since" },                { "step_ms", NUMBER, "unmapped.step_ms" },
    { "settings", OBJECT, "unmapped.settings" },          { "source", TEXT, "unmapped.source" },
    { "call", TEXT, "unmapped.call" },
};
#define N_OF(a) (sizeof(a) / sizeof *(a))
enum { N_FIELDS = N_OF(fields_known), MOST_DEPTH = 8 };

/* ---- what is said, as one flat object without blanks ---- */

struct cursor { const char *at, *end; bool is_wrong; };
struct span { const char *at; size_t n; };

static bool take(struct cursor *c, char wanted)
{
    if (c->is_wrong || c->at == c->end || *c->at != wanted)
        return false;
    c->at++;
    return true;
}

static void expect(struct cursor *c, char wanted)
{
    c->is_wrong |= !take(c, wanted);
}

/* What follows a backslash: one of the short ones, or a control character by its number. */
static void skip_escape(struct cursor *c)
{
    static const char marks[] = "\"\\/bfnrt";
    if (c->at < c->end && *c->at && strchr(marks, *c->at)) {
        c->at++;
        return;
    }
    c->is_wrong |= c->end - c->at < 5 || memcmp(c->at, "u00", 3) != 0 || vs_hex_digit(c->at[3]) < 0 || vs_hex_digit(c->at[4]) < 0;
    c->at += c->is_wrong ? 0 : 5;
}

static void skip_string(struct cursor *c)
{
    expect(c, '"');
    while (!c->is_wrong) {
        while (c->at < c->end && *c->at != '"' && *c->at != '\\' && (uint8_t)*c->at >= 0x20)
            c->at++;
        if (take(c, '"'))
            return;
        expect(c, '\\');
        if (!c->is_wrong)
            skip_escape(c);
    }
}

static size_t skip_digits(struct cursor *c)
{
    const char *begin = c->at;
    while (c->at < c->end && *c->at >= '0' && *c->at <= '9')
        c->at++;
    c->is_wrong |= c->at == begin;
    return (size_t)(c->at - begin);
}

static void skip_number(struct cursor *c)
{
    take(c, '-');
    bool is_zero = c->at < c->end && *c->at == '0';
    c->is_wrong |= skip_digits(c) > 1 && is_zero;
    if (take(c, '.'))
        skip_digits(c);
    if (take(c, 'e') || take(c, 'E')) {
        if (!take(c, '-'))
            take(c, '+');
        skip_digits(c);
    }
}

static void skip_word(struct cursor *c)
{
    static const char *const words[] = { "true", "false", "null" };
    for (size_t i = 0; i < N_OF(words); i++)
        if ((size_t)(c->end - c->at) >= strlen(words[i]) && memcmp(c->at, words[i], strlen(words[i])) == 0) {
            c->at += strlen(words[i]);
            return;
        }
    c->is_wrong = true;
}

static void skip_value(struct cursor *c, unsigned depth)
{
    char first = c->at < c->end ? *c->at : 0, close = first == '{' ? '}' : ']';
    if (first == '"') {
        skip_string(c);
    } else if (first != '{' && first != '[') {
        (first == '-' || (first >= '0' && first <= '9') ? skip_number : skip_word)(c);
    } else {
        c->is_wrong |= depth == MOST_DEPTH;
        c->at++;
        for (bool is_first = true; !c->is_wrong && !take(c, close); is_first = false) {
            if (!is_first)
                expect(c, ',');
            if (first == '{') {
                skip_string(c);
                expect(c, ':');
            }
            if (!c->is_wrong)
                skip_value(c, depth + 1);
        }
    }
}

static bool is_kind(const struct span *value, enum kind kind)
{
    static const char first[] = { [TEXT] = '"', [NUMBER] = '0', [NUMERAL] = '0', [OBJECT] = '{', [LIST] = '[' };
    char begin = *value->at;
    if (kind == NUMBER || kind == NUMERAL)
        for (size_t i = 1; i < value->n; i++)
            if (value->at[i] < '0' || value->at[i] > '9')
                return false;           /* a whole one */
    return (begin == '-' || (begin >= '0' && begin <= '9') ? '0' : begin) == first[kind];
}

/* What follows from the table, once: many records a second are made of it. */
static struct made {
    size_t name_n;                       /* bytes of its name */
    size_t group_n;                      /* of its path, up to the last point */
    size_t begin_n;
    char begin[40];                      /* "KEY": as it stands in the record, and the quote of a NUMERAL */
    bool is_model;
} made[N_FIELDS];

static void make_fields(void)
{
    for (size_t i = 0; i < N_FIELDS && !made[N_FIELDS - 1].name_n; i++) {
        const struct field *f = &fields_known[i];
        const char *dot = strrchr(f->path, '.');
        made[i].group_n = dot ? (size_t)(dot - f->path) : 0;
        made[i].begin_n = (size_t)snprintf(made[i].begin, sizeof made[i].begin, "\"%s\":%s", dot ? dot + 1 : f->path,
                                           f->kind == NUMERAL ? "\"" : "");
        made[i].is_model = strncmp(f->path, "ai_model.", 9) == 0;
        made[i].name_n = strlen(f->name);
    }
}

static bool is_field(size_t i, const char *name, size_t n)
{
    return made[i].name_n == n && memcmp(fields_known[i].name, name, n) == 0;
}

/* The member of that place was mostly the same one in the record before. */
static size_t field_find(const char *name, size_t n, size_t place)
{
    static uint8_t before[N_FIELDS];
    size_t i = 0;
    place = place < N_FIELDS ? place : N_FIELDS - 1;
    if (is_field(before[place], name, n))
        return before[place];
    while (i < N_FIELDS && !is_field(i, name, n))
        i++;
    before[place] = (uint8_t)(i < N_FIELDS ? i : 0);
    return i;
}

static const struct event *event_find(const struct span *quoted)
{
    for (size_t i = 0; i < N_OF(events); i++)
        if (quoted->n == strlen(events[i].name) + 2 && memcmp(events[i].name, quoted->at + 1, quoted->n - 2) == 0)
            return &events[i];
    return NULL;
}

/* Each member by its name; "event" says what it is. NULL: it is no record. */
static const struct event *read_members(const char *text, size_t n, struct span ret[N_FIELDS])
{
    struct cursor c = { text, text + n, vs_utf8_valid(text, n) != n };
    const struct event *event = NULL;
    size_t place = 0;
    expect(&c, '{');
    for (; !c.is_wrong && !take(&c, '}'); place++) {
        if (place)
            expect(&c, ',');
        const char *name = c.at + 1;
        skip_string(&c);
        size_t name_n = c.is_wrong ? 0 : (size_t)(c.at - name) - 1;
        expect(&c, ':');
        struct span value = { .at = c.at };
        if (!c.is_wrong)
            skip_value(&c, 0);
        value.n = (size_t)(c.at - value.at);
        if (c.is_wrong)
            return NULL;
        size_t i = field_find(name, name_n, place);
        if (name_n == 5 && memcmp(name, "event", 5) == 0 && !event && is_kind(&value, TEXT))
            event = event_find(&value);
        else if (i == N_FIELDS || ret[i].at || !is_kind(&value, fields_known[i].kind))
            return NULL;
        else
            ret[i] = value;
    }
    return c.is_wrong || c.at != c.end ? NULL : event;
}

/* ---- the members of the line ---- */

/* The object that is open, by its path; "": the record itself. */
struct place { const char *path; size_t n; bool is_first; };

static size_t parts(const char *path, size_t n)
{
    size_t all = n > 0;
    for (size_t i = 0; i < n; i++)
        all += path[i] == '.';
    return all;
}

/* Closes and opens objects until the one of this path is open. */
static void go(struct vs_buf *out, struct place *p, const char *path, size_t n)
{
    size_t same = 0;
    for (size_t i = 1; i <= n && i <= p->n && memcmp(path, p->path, i) == 0; i++)
        if ((i == n || path[i] == '.') && (i == p->n || p->path[i] == '.'))
            same = i;
    for (size_t k = parts(p->path, p->n) - parts(path, same); k > 0; k--) {
        vs_buf_char(out, '}');
        p->is_first = false;
    }
    for (size_t at = same + (same > 0 && same < n); at < n;) {
        const char *dot = memchr(path + at, '.', n - at);
        size_t end = dot ? (size_t)(dot - path) : n;
        vs_buf_str(out, p->is_first ? "\"" : ",\"");
        vs_buf_add(out, path + at, end - at);
        vs_buf_str(out, "\":{");
        p->is_first = true;
        at = end + 1;
    }
    p->path = path;
    p->n = n;
}

static void put(struct vs_buf *out, struct place *p, size_t i, const struct span *value)
{
    const struct field *f = &fields_known[i];
    if (p->n != made[i].group_n || memcmp(p->path, f->path, p->n) != 0)
        go(out, p, f->path, made[i].group_n);
    if (!p->is_first)
        vs_buf_char(out, ',');
    vs_buf_add(out, made[i].begin, made[i].begin_n);
    if (f->kind == NUMBER || f->kind == NUMERAL)
        vs_buf_add(out, value->at, value->n);
    else
        vs_text_show(out, value->at, value->n, VS_TEXT_JSON);          /* no byte of it steers a terminal */
    if (f->kind == NUMERAL)
        vs_buf_char(out, '"');
    p->is_first = false;
}

/* What all records of this event begin with. */
static void put_event(struct vs_buf *out, const struct event *e)
{
    static struct vs_buf begin[N_OF(events)];
    struct vs_buf *own = &begin[e - events];
    if (!own->n)
        vs_buf_printf(own, "\"event\":\"%s\",\"class_uid\":%d,\"category_uid\":%d,\"activity_id\":%d,\"type_uid\":%d,"
                      "\"activity_name\":\"%s\",\"severity_id\":%d,\"metadata\":{\"version\":\"1.6.0\",\"product\":{"
                      "\"name\":\"Veritas SDR\",\"vendor_name\":\"Veritas\"}", e->name, e->class_uid, e->class_uid / 1000,
                      e->activity_id, e->class_uid * 100 + e->activity_id, e->activity, e->severity);
    vs_buf_add(out, own->data, own->n);
}

bool record_format(const char *text, size_t n, struct vs_buf *out)
{
    struct span value[N_FIELDS] = { 0 };
    make_fields();
    const struct event *e = read_members(text, n, value);
    struct place place = { "metadata", 8, false };
    bool has_model = false;
    if (!e)
        return false;
    put_event(out, e);
    for (size_t i = 0; i < N_FIELDS; i++)
        has_model |= value[i].at && made[i].is_model;
    if (has_model)
        vs_buf_str(out, ",\"profiles\":[\"ai_operation\"]");
    for (size_t i = 0; i < N_FIELDS; i++)
        if (value[i].at)
            put(out, &place, i, &value[i]);
    go(out, &place, "", 0);
    return out->status == VS_OK;
}
