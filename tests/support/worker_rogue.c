/* support/worker_rogue.c - a worker that does what a worker must not do, to test what stands between it and the others.
 *
 * It speaks frames itself and checks nothing. A request's prompt is the name of a trick, which `tricks` has; a secret of ours is
 * what it tries to get out. Tricks of the second kind break a rule: they say some words first, so that the request is told from
 * one that goes on in another worker (SENT came before), where it behaves. "@steady N" is the neighbour: N tokens of 2 ms each, and
 * behind what was sent before. Every other request is a trick by its type: whatever its body says. */
#include "base/buf.h"
#include "base/bytes.h"
#include "ipc/envelope.h"
#include "ipc/frame.h"
#include "ipc/json.h"
#include "sandbox/sandbox.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

enum { SOCKET_FD = 3, WORDS_FD = 5, MAX_STEADY = 16 };

static const char secret[] = "jane.doe@example.com", card[] = "4111111111111111";
static struct vs_conn conn;

static struct steady {                  /* neighbours */
    uint64_t id;
    unsigned at, n;
} steady[MAX_STEADY];

static struct { uint64_t id; unsigned n; } sent;        /* SENT frames of the request to come */

static void say(uint16_t type, uint16_t flags, uint64_t id, const void *data, size_t n)
{
    if (vs_conn_send(&conn, type, flags, id, data, n, -1) != VS_OK)
        exit(1);
}

static void token(uint64_t id, uint32_t number, const char *text, size_t n, const char *extra)
{
    struct vs_buf out = { 0 };
    char *head = vs_buf_grow(&out, 8);
    vs_store_u32le(head, number);
    vs_store_u32le(head + 4, (uint32_t)n);
    vs_buf_add(&out, text, n);
    vs_buf_str(&out, extra ? extra : "");
    say(VS_MSG_TOKEN, extra ? VS_FLAG_EXTRA : 0, id, out.data, out.n);
    vs_buf_clear(&out);
}

static void end_with(uint16_t type, uint64_t id, const char *envelope, const char *body)
{
    struct vs_buf out = { 0 };
    size_t begin = vs_payload_begin(&out);
    vs_buf_str(&out, envelope);
    vs_payload_end(&out, begin);
    vs_buf_str(&out, body);
    say(type, 0, id, out.data, out.n);
    vs_buf_clear(&out);
}

static void complete(uint64_t id)
{
    end_with(VS_MSG_COMPLETE, id, "{\"finish_reason\":\"stop\",\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1,"
             "\"cached_tokens\":0}}", "{}");
}

/* ---- tricks that keep to the rules ---- */

static void t_split(uint64_t id)        /* a byte a token, and its byte the id */
{
    char text[64];
    int n = snprintf(text, sizeof text, "to %s now ", secret);
    for (int i = 0; i < n; i++)
        token(id, (unsigned char)text[i], text + i, 1, NULL);
    complete(id);
}

static void t_spell(uint64_t id)        /* ids that mean something else than their text */
{
    for (size_t i = 0; i < sizeof secret - 1; i++)
        token(id, (unsigned char)secret[i], "x ", 2, NULL);
    complete(id);
}

static void t_silent(uint64_t id)       /* ids without a text */
{
    for (int k = 0; k < 1000; k++)
        for (size_t i = 0; i < sizeof secret - 1; i++)
            if (k < 250 || k > 990)     /* within its credit */
                token(id, (unsigned char)secret[i], "", 0, NULL);
    token(id, 1, "done", 4, NULL);
    complete(id);
}

static void t_mute(uint64_t id)         /* text without ids */
{
    for (size_t i = 0; i < sizeof secret - 1; i++)
        token(id, VS_NO_TOKEN, secret + i, 1, NULL);
    complete(id);
}

static void t_extra(uint64_t id)        /* what stands beside a token: plain, in escapes, as a name, twice, as no JSON */
{
    static const char *const extras[] = {
        "{\"text\":\"jane.doe@example.com\"}", "{\"text\":\"jane.doe\\u0040example.com\"}", "{\"jane.doe@example.com\":1}",
        "{\"text\":\"jane.doe@example.com\",\"text\":\"x\"}", "jane.doe@example.com", "{\"n\":4111111111111111}",
    };
    for (size_t i = 0; i < sizeof extras / sizeof *extras; i++)
        token(id, 1, "word ", 5, extras[i]);
    complete(id);
}

/* Of a part of the answer. */
static void token_of(uint64_t id, uint32_t part, const char *text, size_t n)
{
    struct vs_buf out = { 0 };
    char *head = vs_buf_grow(&out, 12);
    vs_store_u32le(head, part);
    vs_store_u32le(head + 4, 1);
    vs_store_u32le(head + 8, (uint32_t)n);
    vs_buf_add(&out, text, n);
    say(VS_MSG_TOKEN, VS_FLAG_PART, id, out.data, out.n);
    vs_buf_clear(&out);
}

static void t_parts(uint64_t id)        /* the content, with empty reasoning within the secret */
{
    token_of(id, VS_PART_CONTENT, "to jane.d", 9);
    token_of(id, VS_PART_REASONING, "", 0);
    token_of(id, VS_PART_CONTENT, "oe@example.com now", 18);
    complete(id);
}

static void t_ansi(uint64_t id)
{
    static const char text[] = "a\x1b[31mred\x1b[0m b\x1b]0;title of it\x07" "c";
    for (size_t i = 0; i < sizeof text - 1; i++)
        token(id, 1, text + i, 1, NULL);
    complete(id);
}

static void t_within(uint64_t id)       /* control characters within what is looked for */
{
    static const char text[] = "to jane\x1b[0m.doe@exa\x01mple.com and 4111\x1b[1m 1111\x01 1111\x7f 1111 now\x1b[0m";
    for (size_t i = 0; i < sizeof text - 1; i++)
        token(id, 1, text + i, 1, NULL);
    complete(id);
}

static void t_progress(uint64_t id)     /* something under way that we don't know */
{
    static const char said[] = "{\"what\":\"jane doe\",\"done\":1,\"total\":2}";
    say(VS_MSG_PROGRESS, 0, id, said, sizeof said - 1);
    complete(id);
}

static void t_key(uint64_t id)
{
    end_with(VS_MSG_COMPLETE, id, "{}", "{\"jane.doe@example.com\":1}");
}

static void t_number(uint64_t id)
{
    end_with(VS_MSG_COMPLETE, id, "{}", "{\"n\":4111111111111111,\"of\":[4111111111111111],\"x\":4111111111111111.0}");
}

static void t_ids(uint64_t id)
{
    end_with(VS_MSG_COMPLETE, id, "{}", "{\"prompt_tokens\":[106,97]}");
}

/* "a@b.co ", n bytes of it: what is in its place is longer. */
static void add_growing(struct vs_buf *out, size_t n)
{
    for (size_t i = 0; i < n; i += 7)
        vs_buf_str(out, "a@b.co ");
}

static void t_mark(uint64_t id)         /* a token as long as one may be, whose marks take more than that */
{
    struct vs_buf text = { 0 };
    add_growing(&text, 60000);
    token(id, 1, text.data, text.n, NULL);
    complete(id);
    vs_buf_clear(&text);
}

static void t_grow(uint64_t id)         /* a result that is too long once it was redacted */
{
    struct vs_buf body = { 0 };
    vs_buf_str(&body, "{\"text\":\"");
    add_growing(&body, 14 << 20);
    vs_buf_str(&body, "\"}");
    end_with(VS_MSG_COMPLETE, id, "{}", body.data);
    vs_buf_clear(&body);
}

static void t_deep(uint64_t id)         /* one that takes more memory than there is to look at it */
{
    struct vs_buf body = { 0 };
    vs_buf_str(&body, "{\"a\":[[]");
    while (body.n < 15 << 20)
        vs_buf_str(&body, ",[]");
    vs_buf_str(&body, "]}");
    end_with(VS_MSG_COMPLETE, id, "{}", body.data);
    vs_buf_clear(&body);
}

static void t_place(uint64_t id)        /* the secret as names on the way to something that is found */
{
    end_with(VS_MSG_COMPLETE, id, "{}", "{\"jane.doe@exa\":{\"mple.com\":{\"jane.doe@example.com\":\"a@b.co\"}}}");
}

static void t_call(uint64_t id)         /* escapes and numbers in the arguments of a call */
{
    static const char text[] = "f\n{\"to\": \"jane.doe\\u0040example.com\", \"card\": 4111111111111111, "
                               "\"x\": \"\\u001b[\", \"y\": 1}";
    for (size_t i = 0; i < sizeof text - 1; i++)
        token_of(id, VS_PART_CALL, text + i, 1);
    complete(id);
}

static void t_noisy(uint64_t id)        /* a message of control characters, beside as many findings as can be told */
{
    char control[512] = "";
    for (size_t i = 0; i + 7 < sizeof control; i += 6)
        memcpy(control + i, "\\u0001", 7);
    struct vs_buf text = { 0 };
    vs_buf_printf(&text, "{\"error\":{\"code\":-9,\"name\":\"TIMEOUT\",\"message\":\"");
    for (int i = 0; i < 6; i++)
        vs_buf_str(&text, control);
    vs_buf_str(&text, "\"}}");
    for (int i = 0; i < 20; i++)
        token(id, 1, "a@b.co ", 7, NULL);
    end_with(VS_MSG_ERROR, id, text.data, "");
    vs_buf_clear(&text);
}

static void t_error(uint64_t id)
{
    end_with(VS_MSG_ERROR, id, "{\"error\":{\"code\":-9,\"name\":\"TIMEOUT\",\"message\":\"it is jane.doe@example.com\"}}", "");
}

/* ---- tricks that break a rule ---- */

static void b_half(uint64_t id) { token(id, 1, "\xc3", 1, NULL); }
static void b_raw(uint64_t id) { token(id, 1, "a\xff\xfe", 3, NULL); }
static void b_wrong(uint64_t id) { token(id + 1000, 1, secret, sizeof secret - 1, NULL); }
static void b_zero(uint64_t id) { (void)id, token(0, 1, secret, sizeof secret - 1, NULL); }
static void b_data(uint64_t id) { say(VS_MSG_DATA, 0, id, secret, sizeof secret - 1); }
static void b_log(uint64_t id) { (void)id, say(VS_MSG_LOG, 0, 0, "{\"text\":\"jane.doe@example.com\"}", 31); }
static void b_ready(uint64_t id) { (void)id, say(VS_MSG_READY, 0, 0, "{\"facts\":{\"a\":\"jane.doe@example.com\"}}", 38); }
static void b_receipt(uint64_t id) { say(VS_MSG_RECEIPT, 0, id, "{\"jane.doe@example.com\":1}", 26); }
static void b_stats(uint64_t id) { (void)id, say(VS_MSG_STATS, 0, 0, "{\"jane.doe@example.com\":1}", 26); }
static void b_request(uint64_t id) { say(VS_MSG_GENERATE, 0, id + 5, secret, sizeof secret - 1); }
static void b_progress(uint64_t id) { say(VS_MSG_PROGRESS, 0, id, "{\"what\":\"load\",\"done\":1,\"total\":2,\"jane\":1}", 43); }
static void b_count(uint64_t id) { say(VS_MSG_PROGRESS, 0, id, "{\"what\":\"load\",\"done\":4111111111111111,\"total\":0}", 50); }
static void b_finish(uint64_t id) { end_with(VS_MSG_COMPLETE, id, "{\"finish_reason\":\"jane_doe\"}", "{}"); }
static void b_text(uint64_t id) { end_with(VS_MSG_COMPLETE, id, "{}", secret); }
static void b_double(uint64_t id) { end_with(VS_MSG_COMPLETE, id, "{}", "{\"a\":\"jane.doe@example.com\",\"a\":\"x\"}"); }
static void b_key(uint64_t id) { end_with(VS_MSG_COMPLETE, id, "{\"jane.doe@example.com\":1}", "{}"); }
static void b_error(uint64_t id) { end_with(VS_MSG_ERROR, id, "{}", "jane.doe@example.com"); }

static void b_usage(uint64_t id)
{
    end_with(VS_MSG_COMPLETE, id, "{\"usage\":"
             "{\"prompt_tokens\":4111111111111111,\"completion_tokens\":1,\"cached_tokens\":0}}", "{}");
}

static void b_blocked(uint64_t id)
{
    say(VS_MSG_BLOCKED, 0, id, card, 4);
}

static void b_digest(uint64_t id)
{
    (void)id;
    say(VS_MSG_DIGEST, 0, 0, "jane.doe@example.com jane.doe@example.com jane.doe@example.com .", 64);
}

static void b_past(uint64_t id)
{
    complete(id);
    token(id, 1, secret, sizeof secret - 1, NULL);
}

static void b_twice(uint64_t id)
{
    complete(id);
    complete(id);
}

static void b_credit(uint64_t id)
{
    static char text[60000];
    memset(text, 'x', sizeof text);
    for (int i = 0; i < 40; i++)
        token(id, 1, text, sizeof text, NULL);
}

static void b_envelope(uint64_t id)     /* as long as it can be said, longer than it may be, and beyond its frame */
{
    struct vs_buf text = { 0 };
    while (text.n < 1 << 20)
        vs_buf_str(&text, secret);
    end_with(VS_MSG_COMPLETE, id, text.data, "{}");
    vs_buf_clear(&text);
}

static void b_frame(uint64_t id)        /* a header that promises a gigabyte */
{
    uint8_t head[VS_FRAME_HEADER];
    vs_frame_header(head, VS_MSG_COMPLETE, 0, id, 1u << 30);
    vs_buf_add(&conn.out, head, sizeof head);
    vs_conn_flush(&conn);
}

/* ---- answers to requests of other types ---- */

static void a_logits(uint64_t id, const char *how)
{
    char text[256];
    int n = snprintf(text, sizeof text, "to %s now    ", secret);
    n -= n % 4;
    for (int i = 0; i < 3; i++)         /* numbers, and the secret in their bytes; "f": a float a frame */
        say(VS_MSG_DATA, 0, id, "\x00\x00\x80\x3f\x00\x00\x00\xc0", 8);
    for (int i = 0; i < n; i += *how == 'f' ? 4 : n)
        say(VS_MSG_DATA, 0, id, text + i, *how == 'f' ? 4 : (size_t)n);
    end_with(VS_MSG_COMPLETE, id, "{}", "{\"n_tokens\":1}");
}

static void a_tokenize(uint64_t id, const char *how)
{
    if (*how == 'd')
        say(VS_MSG_DATA, 0, id, secret, sizeof secret - 1);
    else
        token(id, 1, "x", 1, NULL);
    complete(id);
}

static void a_text(uint64_t id, const char *how)
{
    (void)how;
    end_with(VS_MSG_COMPLETE, id, "{}", "{\"metadata\":{\"name\":\"by jane.doe@example.com\"},\"text\":\"jane.doe@example.com\"}");
}

/* ---- the table ---- */

static const struct {
    const char *name;
    void (*go)(uint64_t id);
} tricks[] = {
#define T(name) { #name, t_##name }
#define B(name) { "break-" #name, b_##name }
    T(split), T(spell), T(silent), T(mute), T(extra), T(parts), T(ansi), T(within), T(progress), T(key), T(number), T(ids),
    T(error), T(mark), T(grow), T(deep), T(place), T(call), T(noisy),
    B(half), B(raw), B(wrong), B(zero), B(data), B(log), B(ready), B(receipt), B(stats), B(digest), B(request), B(progress),
    B(count), B(finish), B(text), B(double), B(key), B(error), B(usage), B(blocked), B(past), B(twice), B(credit), B(envelope),
    B(frame),
};

static void warm_up(uint64_t id)
{
    static const char word[] = "word ";
    for (int i = 0; i < 100; i++)
        token(id, 1, word, 5, NULL);
}

static void begin_steady(uint64_t id, unsigned n)
{
    for (int i = 0; i < MAX_STEADY; i++)
        if (!steady[i].id) {
            steady[i] = (struct steady){ id, sent.id == id ? sent.n : 0, n };
            return;
        }
}

static void on_prompt(uint64_t id, const char *prompt)
{
    bool goes_on = sent.id == id && sent.n;
    if (strncmp(prompt, "@steady ", 8) == 0) {
        begin_steady(id, (unsigned)atoi(prompt + 8));
        return;
    }
    for (size_t i = 0; i < sizeof tricks / sizeof *tricks; i++)
        if (strcmp(tricks[i].name, prompt) == 0) {
            bool breaks = strncmp(prompt, "break-", 6) == 0;
            if (breaks && !goes_on)
                warm_up(id);
            if (breaks && goes_on)
                complete(id);
            else
                tricks[i].go(id);
            return;
        }
    complete(id);
}

static void on_request(const struct vs_frame *f)
{
    struct vs_payload payload;
    json_t *body = NULL;
    if (vs_payload_split(f->data, f->n, VS_MAX_ENVELOPE, &payload, NULL) == VS_OK && payload.body_bytes)
        body = vs_json_parse(payload.body, payload.body_bytes, NULL);
    const char *prompt = json_string_value(json_object_get(body, "prompt"));
    const char *text = json_string_value(json_object_get(body, "text"));
    if (f->type == VS_MSG_GENERATE)
        on_prompt(f->id, prompt ? prompt : "");
    else if (f->type == VS_MSG_LOGITS)
        a_logits(f->id, text ? text : "");
    else if (f->type == VS_MSG_TOKENIZE)
        a_tokenize(f->id, text ? text : "");
    else
        a_text(f->id, "");
    json_decref(body);
}

static void hear(void)
{
    struct vs_frame f;
    struct vs_error why;
    int status = vs_conn_read(&conn);
    if (status != VS_OK && status != VS_E_BUSY)
        exit(1);
    while (vs_conn_next(&conn, &f, &why) == VS_OK) {
        if (f.type == VS_MSG_SENT) {
            sent.n = (sent.id == f.id ? sent.n : 0) + f.n / 4;
            sent.id = f.id;
        } else if (vs_message_is_request(f.type)) {
            on_request(&f);
        }
    }
}

static void go_on(void)
{
    for (int i = 0; i < MAX_STEADY; i++) {
        struct steady *s = &steady[i];
        char text[16];
        if (!s->id)
            continue;
        if (s->at < s->n) {
            int n = snprintf(text, sizeof text, "%u ", s->at++ % 10);
            token(s->id, s->at, text, (size_t)n, NULL);
        } else {
            complete(s->id);
            s->id = 0;
        }
    }
}

int main(void)
{
    static const char ready[] = "{\"facts\":{\"parallel\":8,\"memory_bytes\":1}}";
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN);
    vs_json_setup(64u << 20);
    struct vs_sandbox_options options = {
        .profile = VS_SANDBOX_WORKER, .keep_fds = 1u << SOCKET_FD, .words_fd = fcntl(WORDS_FD, F_GETFD) >= 0 ? WORDS_FD : -1,
    };
    struct vs_sandbox_report report;
    struct vs_error err;
    if (vs_sandbox_options_parse(getenv("VERITAS_SANDBOX"), &options, &err) != VS_OK
        || vs_sandbox_enter(&options, &report, &err) != VS_OK)
        return 1;
    vs_last_words_phase("misbehaving");
    vs_conn_init(&conn, SOCKET_FD, &vs_ipc_to_worker, VS_AT_OPEN);
    say(VS_MSG_READY, 0, 0, ready, sizeof ready - 1);
    for (;;) {
        struct pollfd p = { SOCKET_FD, (short)(POLLIN | (vs_conn_queued(&conn) ? POLLOUT : 0)), 0 };
        poll(&p, 1, 2);
        if (p.revents)
            hear();
        go_on();
        vs_conn_flush(&conn);
    }
}
