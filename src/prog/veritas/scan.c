/* prog/veritas/scan.c - `veritas scan` and `veritas redact`: a text, or many of them, through the guard without a model.
 *
 * Both send SCAN and show what comes back. With --lines texts come as JSON lines and go out as JSON lines, in their order: some are
 * under way at once, and none waits for a line that has not come yet, so that a program may ask and answer by turns.
 */
#include "prog/veritas/command.h"
#include "prog/veritas/session.h"

#include "base/size.h"
#include "base/utf8.h"
#include "base/word.h"
#include "filter/finding.h"
#include "ipc/json.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { UNDER_WAY = 32 };                 /* requests at once; half of a daemon's places for a client */
#define TEXT_MOST (15u << 20)            /* of a text: it must fit into a request */
#define LINE_MOST (64u << 20)            /* of a line: six letters may stand for one */
#define BYTES_UNDER_WAY (8u << 20)

struct scan {
    const struct vs_args *args;
    bool is_redact;
    json_t *redact;                      /* the request's key; NULL of scan */
    size_t most;                         /* bytes of a text */
    struct vs_session session;
};

/* ---- options ---- */

/* "EMAIL,SSN" as a list; the guard judges the names too, but here the option can be named. */
static int read_types(const char *text, json_t *redact, struct vs_error *err)
{
    static const char *const names[VS_N_PII] = {
#define PII_NAME(name, preset) [VS_PII_##name] = #name,
        VS_PII_MAP(PII_NAME)
#undef PII_NAME
    };
    json_t *list = json_array();
    json_object_set_new(redact, "types", list);
    for (; ; text++) {
        size_t n = strcspn(text, ","), i = 0;
        while (i < VS_N_PII && !(strlen(names[i]) == n && strncmp(names[i], text, n) == 0))
            i++;
        if (i == VS_N_PII) {
            char word[32];
            const char *near = "";
            unsigned best = 3;
            snprintf(word, sizeof word, "%.*s", (int)(n < 31 ? n : 31), text);
            for (i = 0; i < VS_N_PII; i++)
                if (vs_word_unlike(word, names[i]) < best) {
                    best = vs_word_unlike(word, names[i]);
                    near = names[i];
                }
            return vs_error_set(err, VS_E_INVALID, "--types: '%s' is not a type%s%s%s", vs_shown(word).text,
                                *near ? "; did you mean " : "", near, *near ? "?" : "");
        }
        json_array_append_new(list, json_string(names[i]));
        text += n;
        if (!*text)
            return VS_OK;
    }
}

/* "4096" or "random:7" */
static int read_cut(const char *text, json_t *redact, struct vs_error *err)
{
    static const char word[] = "random:";
    bool is_random = strncmp(text, word, sizeof word - 1) == 0;
    int64_t n;
    if (!vs_integer_parse(text + (is_random ? sizeof word - 1 : 0), &n) || n < !is_random || (!is_random && n > VS_MAX_REQUEST))
        return vs_error_set(err, VS_E_INVALID, "--cut: '%.60s' is neither a number of bytes from 1 to %u nor random:SEED", text,
                            VS_MAX_REQUEST);
    json_object_set_new(redact, is_random ? "seed" : "cut", json_integer(n));
    return VS_OK;
}

static int scan_open(struct scan *c, const struct vs_args *args, bool is_redact, struct vs_error *err)
{
    *c = (struct scan){ .args = args, .is_redact = is_redact, .most = TEXT_MOST };
    int rc = VS_OK;
    if (is_redact) {
        c->redact = json_object();
        if (vs_args_given(args, VS_OPT_STYLE))
            json_object_set_new(c->redact, "style", json_string(vs_args_text(args, VS_OPT_STYLE)));
        if (vs_args_given(args, VS_OPT_TYPES))
            rc = read_types(vs_args_text(args, VS_OPT_TYPES), c->redact, err);
        if (rc == VS_OK && vs_args_given(args, VS_OPT_CUT))
            rc = read_cut(vs_args_text(args, VS_OPT_CUT), c->redact, err);
    } else if (vs_args_given(args, VS_OPT_MAX_BYTES)) {
        uint64_t most = TEXT_MOST;
        vs_size_parse(vs_args_text(args, VS_OPT_MAX_BYTES), &most);
        c->most = (size_t)most;
    }
    return rc == VS_OK ? vs_session_open(&c->session, args, NULL, 0, err) : rc;
}

static void scan_close(struct scan *c)
{
    vs_session_close(&c->session);
    json_decref(c->redact);
}

/* A new reference. zone NULL: the option's, or none. */
static json_t *request_of(const struct scan *c, const char *text, size_t n, const json_t *zone)
{
    json_t *request = json_pack("{s:o}", "text", json_stringn(text, n));
    if (zone)
        json_object_set(request, "zone", (json_t *)(uintptr_t)zone);
    else if (!c->is_redact && vs_args_given(c->args, VS_OPT_ZONE))
        json_object_set_new(request, "zone", json_string(vs_args_text(c->args, VS_OPT_ZONE)));
    if (c->redact)
        json_object_set(request, "redact", c->redact);
    return request;
}

static int check_length(const struct scan *c, size_t n, struct vs_error *err)
{
    return n <= c->most ? VS_OK : vs_error_set(err, VS_E_LIMIT, "the text has %zu bytes, and %zu are the most", n, c->most);
}

/* ---- answers ---- */

/* Of redact the three keys that do not depend on the machine. A new reference. */
static json_t *told(const struct scan *c, json_t *result)
{
    static const char *const keys[] = { "text", "findings", "held_max" };
    if (!c->is_redact)
        return json_incref(result);
    json_t *all = json_object();
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        json_object_set(all, keys[i], json_object_get(result, keys[i]));
    return all;
}

static const char *text_of(const json_t *finding, const char *key)
{
    const char *text = json_string_value(json_object_get(finding, key));
    return text ? text : "-";
}

static long long number_of(const json_t *of, const char *key)
{
    return (long long)json_integer_value(json_object_get(of, key));
}

/* For people: a verdict, and a line for each finding. */
static void print_scan(const json_t *result)
{
    const json_t *threshold = json_object_get(result, "threshold"), *f;
    size_t i;
    printf("%s: score %lld", json_is_true(json_object_get(result, "flagged")) ? "flagged" : "not flagged",
           number_of(result, "score"));
    if (json_is_integer(threshold))
        printf(", threshold %lld", (long long)json_integer_value(threshold));
    printf(", zone %s, action %s\n", vs_shown(text_of(result, "zone")).text, vs_shown(text_of(result, "action")).text);
    json_array_foreach(json_object_get(result, "findings"), i, f)
        printf("  %-13s %-16s %-16s bytes %lld-%lld, score %lld, %s\n", vs_shown(text_of(f, "kind")).text,
               vs_shown(text_of(f, "type")).text, vs_shown(text_of(f, "rule")).text, number_of(f, "start"), number_of(f, "end"),
               number_of(f, "score"), vs_shown(text_of(f, "view")).text);
    if (number_of(result, "more") > 0)
        printf("  and %lld more\n", number_of(result, "more"));
}

static int print_result(const struct scan *c, json_t *result, struct vs_error *err)
{
    const json_t *text = json_object_get(result, "text");
    if (vs_args_given(c->args, VS_OPT_JSON)) {
        json_t *all = told(c, result);
        vs_answer_json(all, JSON_COMPACT);
        json_decref(all);
    } else if (!c->is_redact) {
        print_scan(result);
    } else if (!json_is_string(text)) {
        return vs_error_set(err, VS_E_PROTOCOL, "the daemon's answer has no text");
    } else {
        vs_answer(json_string_value(text), json_string_length(text));
    }
    return vs_answer_flush() == VS_OK ? VS_OK : vs_answer_error(err);
}

/* ---- one text ---- */

static int scan_text(struct scan *c, bool *ret_flagged, struct vs_error *err)
{
    char *text = NULL;
    size_t n = 0;
    json_t *request = NULL, *result = NULL;
    int rc = vs_text_read(c->args->n > 0 ? c->args->v[0] : NULL, c->most, &text, &n, err);
    if (rc == VS_OK)
        rc = vs_text_check("the text", text, n, err);
    if (rc == VS_OK) {
        request = request_of(c, text, n, NULL);
        rc = vs_session_call(&c->session, VS_MSG_SCAN, request, -1, NULL, NULL, &result, err);
    }
    if (rc == VS_OK) {
        *ret_flagged = json_is_true(json_object_get(result, "flagged"));
        rc = print_result(c, result, err);
    }
    json_decref(result);
    json_decref(request);
    free(text);
    return rc;
}

/* ---- lines ---- */

struct slot {                            /* a line that was read and is not answered yet */
    uint64_t id;                         /* the request's; 0: none, `answer` is there already */
    size_t bytes;
    unsigned long number;                /* of the line, from 1 on */
    json_t *answer;                      /* what goes out */
};

struct lines {
    struct scan *scan;
    struct slot slot[UNDER_WAY];         /* a ring */
    size_t first, n;
    size_t bytes;                        /* of texts under way */
    int in;
    bool has_ended;                      /* the input */
    struct vs_buf text;                  /* read and not used: text.data[at, n) */
    size_t at, looked;                   /* no newline before `looked` */
    unsigned long number;                /* of the line */
    int status;                          /* the first error of a line */
    bool is_flagged;
};

static void answer_error(struct lines *l, struct slot *s, const struct vs_error *why)
{
    struct vs_error full = { 0 };
    vs_error_set(&full, why->code, "line %lu: %.400s", s->number, why->text);
    s->answer = vs_json_error(full.code, full.text);
    l->status = l->status == VS_OK ? why->code : l->status;
}

/* The line's object, its text judged; NULL and err. A new reference. */
static json_t *line_parse(const struct lines *l, const char *line, size_t n, struct vs_error *err)
{
    json_t *all = vs_json_parse(line, n, err);
    const json_t *text = json_object_get(all, "text");
    if (all && !json_is_string(text))
        vs_error_set(err, VS_E_INVALID, "text must be a string");
    else if (all && check_length(l->scan, json_string_length(text), err) == VS_OK)
        return all;
    json_decref(all);
    return NULL;
}

/* Asks about a line. A line that is wrong has its answer at once. VS_OK, or why the connection is over. */
static int line_send(struct lines *l, const char *line, size_t n, struct vs_error *err)
{
    struct slot *s = &l->slot[(l->first + l->n++) % UNDER_WAY];
    struct vs_error why = { 0 };
    *s = (struct slot){ .number = l->number };
    json_t *all = line_parse(l, line, n, &why);
    if (!all) {
        answer_error(l, s, &why);
        return VS_OK;
    }
    const json_t *text = json_object_get(all, "text"), *zone = json_object_get(all, "zone");
    json_t *request = request_of(l->scan, json_string_value(text), json_string_length(text), json_is_null(zone) ? NULL : zone);
    int rc = vs_client_request(l->scan->session.client, VS_MSG_SCAN, request, NULL, &s->id, &why);
    s->bytes = json_string_length(text);
    if (rc == VS_OK)
        l->bytes += s->bytes;
    else if (rc == VS_E_LIMIT)
        answer_error(l, s, &why);
    else
        vs_error_set(err, rc, "%s", why.text);
    json_decref(request);
    json_decref(all);
    return rc == VS_E_LIMIT ? VS_OK : rc;
}

/* Takes the next line out of what was read, one without an end only when the input has ended. */
static bool next_line(struct lines *l, const char **ret, size_t *ret_n)
{
    const char *data = l->text.data, *end = l->looked < l->text.n ? memchr(data + l->looked, '\n', l->text.n - l->looked) : NULL;
    l->looked = l->text.n;
    if (!end && !(l->has_ended && l->at < l->text.n))
        return false;
    *ret = data + l->at;
    *ret_n = end ? (size_t)(end - *ret) : l->text.n - l->at;
    l->at += *ret_n + (end != NULL);
    l->looked = l->at;
    l->number++;
    return true;
}

static bool has_room(const struct lines *l)
{
    return l->n < UNDER_WAY && l->bytes < BYTES_UNDER_WAY;
}

/* Lines that were read are asked about, as many as may be under way. */
static int send_lines(struct lines *l, struct vs_error *err)
{
    const char *line;
    size_t n;
    int rc = VS_OK;
    while (rc == VS_OK && has_room(l) && next_line(l, &line, &n))
        if (!vs_is_blank(line, n))
            rc = line_send(l, line, n, err);
    return rc;
}

static int read_lines(struct lines *l, struct vs_error *err)
{
    enum { PIECE = 65536 };
    vs_buf_drop(&l->text, l->at);
    l->looked -= l->at;
    l->at = 0;
    if (l->text.n >= LINE_MOST)
        return vs_error_set(err, VS_E_LIMIT, "line %lu is longer than %u bytes", l->number + 1, LINE_MOST);
    char *to = vs_buf_grow(&l->text, PIECE);
    if (!to)
        return vs_error_set(err, VS_E_NOMEM, "out of memory");
    ssize_t got = read(l->in, to, PIECE);
    l->text.n -= PIECE - (got > 0 ? (size_t)got : 0);
    l->has_ended = got == 0;
    return got >= 0 || errno == EINTR || errno == EAGAIN ? VS_OK
        : vs_error_set(err, VS_E_SYSTEM, "cannot read the lines: %s", strerror(errno));
}

static void take_event(struct lines *l, const struct vs_event *e)
{
    size_t i = 0;
    while (i < l->n && l->slot[(l->first + i) % UNDER_WAY].id != e->request)
        i++;
    if (i == l->n || !e->is_last)
        return;
    struct slot *s = &l->slot[(l->first + i) % UNDER_WAY];
    s->id = 0;
    l->bytes -= s->bytes;
    if (e->kind != VS_MSG_COMPLETE) {
        answer_error(l, s, &e->error);
        return;
    }
    s->answer = told(l->scan, e->json);
    l->is_flagged |= json_is_true(json_object_get(e->json, "flagged"));
}

static int take_events(struct lines *l, struct vs_error *err)
{
    struct vs_event e;
    int rc;
    while ((rc = vs_client_next(l->scan->session.client, 0, &e, err)) == VS_OK)
        take_event(l, &e);
    return rc == VS_E_TIMEOUT ? VS_OK : rc;
}

/* Answers that have none before them. */
static int print_answers(struct lines *l, struct vs_error *err)
{
    bool any = false;
    for (; l->n > 0 && l->slot[l->first].answer; l->n--, any = true) {
        vs_answer_json(l->slot[l->first].answer, JSON_COMPACT);
        json_decref(l->slot[l->first].answer);
        l->slot[l->first].answer = NULL;
        l->first = (l->first + 1) % UNDER_WAY;
    }
    return !any || vs_answer_flush() == VS_OK ? VS_OK : vs_answer_error(err);
}

/* Until something can be read, or a signal came: signals come in only here, so that none is missed. */
static int wait_lines(struct lines *l, const sigset_t *mask, struct vs_error *err)
{
    struct vs_client *client = l->scan->session.client;
    struct pollfd polls[] = {
        { vs_client_fd(client), (short)(POLLIN | (vs_client_wants_write(client) ? POLLOUT : 0)), 0 },
        { l->has_ended || !has_room(l) ? -1 : l->in, POLLIN, 0 },
    };
    if (!vs_client_has_more(client) && ppoll(polls, 2, NULL, mask) < 0 && errno != EINTR)
        return vs_error_set(err, VS_E_SYSTEM, "poll: %s", strerror(errno));
    if (vs_session_is_interrupted())
        return vs_error_set(err, VS_E_CANCELLED, "cancelled");
    return polls[1].revents ? read_lines(l, err) : VS_OK;
}

static int scan_lines(struct scan *c, bool *ret_flagged, int *ret_status, struct vs_error *err)
{
    struct lines l = { .scan = c };
    const char *path = c->args->n > 0 && strcmp(c->args->v[0], "-") != 0 ? c->args->v[0] : NULL;
    sigset_t block, before;
    int rc = VS_OK;
    if (path && (l.in = open(path, O_RDONLY | O_CLOEXEC)) < 0)
        return vs_error_set(err, errno == ENOENT ? VS_E_NOT_FOUND : errno == EACCES ? VS_E_DENIED : VS_E_SYSTEM,
                            "cannot open %s: %s", path, strerror(errno));
    sigemptyset(&block);
    sigaddset(&block, SIGINT);
    sigaddset(&block, SIGTERM);
    sigprocmask(SIG_BLOCK, &block, &before);
    while (rc == VS_OK) {
        if ((rc = send_lines(&l, err)) != VS_OK || (rc = print_answers(&l, err)) != VS_OK)
            break;
        if (l.has_ended && l.n == 0 && l.at == l.text.n)
            break;
        if (has_room(&l) && l.looked < l.text.n)
            continue;                    /* room came, and a line is there */
        if ((rc = wait_lines(&l, &before, err)) == VS_OK)
            rc = take_events(&l, err);
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
    for (; l.n > 0; l.n--, l.first = (l.first + 1) % UNDER_WAY)
        json_decref(l.slot[l.first].answer);
    vs_buf_clear(&l.text);
    if (path)
        close(l.in);
    *ret_flagged = l.is_flagged;
    *ret_status = vs_status_exit(l.status);
    return rc;
}

/* ---- the commands ---- */

static int command(const struct vs_args *args, bool is_redact)
{
    struct vs_error err = { 0 };
    struct scan c;
    bool is_flagged = false;
    int status = 0, rc = scan_open(&c, args, is_redact, &err);
    if (rc == VS_OK)
        rc = vs_args_given(args, VS_OPT_LINES) ? scan_lines(&c, &is_flagged, &status, &err) : scan_text(&c, &is_flagged, &err);
    scan_close(&c);
    if (rc != VS_OK)
        return vs_fail(&err);
    return status ? status : is_flagged && vs_args_given(args, VS_OPT_FAIL) ? vs_status_exit(VS_E_FILTERED) : 0;
}

int vs_command_scan(const struct vs_args *args)
{
    return command(args, false);
}

int vs_command_redact(const struct vs_args *args)
{
    return command(args, true);
}
