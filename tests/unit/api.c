/* rooms: api client ipc base */
/* libveritas against a daemon that is played in the same thread, at the other end of a socketpair: sending never waits, so each
 * side says its part in turn. What an embedding program may do wrong, and what a hostile daemon may. */
#include "veritas/veritas.h"

#include "base/bytes.h"
#include "base/status.h"
#include "ipc/envelope.h"
#include "ipc/frame.h"
#include "ipc/json.h"

#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>

struct world {
    veritas *v;
    struct vs_conn peer;                /* the daemon's end */
};

static void say(struct world *w, uint16_t type, uint16_t flags, uint64_t id, const void *data, size_t n)
{
    vs_conn_send(&w->peer, type, flags, id, data, n, -1);
}

static void say_text(struct world *w, uint16_t type, uint64_t id, const char *text)
{
    say(w, type, 0, id, text, strlen(text));
}

static void say_token(struct world *w, uint64_t id, uint32_t token, const char *text)
{
    struct vs_buf b = { 0 };
    uint8_t head[8];
    vs_store_u32le(head, token);
    vs_store_u32le(head + 4, (uint32_t)strlen(text));
    vs_buf_add(&b, head, 8);
    vs_buf_str(&b, text);
    say(w, VS_MSG_TOKEN, 0, id, b.data, b.n);
    vs_buf_clear(&b);
}

static void say_end(struct world *w, uint16_t type, uint64_t id, const char *envelope, const char *body)
{
    struct vs_buf b = { 0 };
    size_t begin = vs_payload_begin(&b);
    vs_buf_str(&b, envelope);
    vs_payload_end(&b, begin);
    vs_buf_str(&b, body);
    say(w, type, 0, id, b.data, b.n);
    vs_buf_clear(&b);
}

static void say_done(struct world *w, uint64_t id)
{
    say_end(w, VS_MSG_COMPLETE, id, "{\"finish_reason\":\"stop\"}", "{}");
}

/* The next frame of the library that is not CREDIT; its type, or 0 when there is none. */
static uint16_t hear(struct world *w, struct vs_frame *f)
{
    int status;
    for (;;) {
        while ((status = vs_conn_next(&w->peer, f, NULL)) == VS_OK)
            if (f->type != VS_MSG_CREDIT)
                return f->type;
        if (status != VS_E_BUSY || vs_conn_read(&w->peer) != VS_OK)
            return 0;
    }
}

static void begin(struct world *w)
{
    int pair[2];
    struct vs_frame f;
    struct veritas_options o = VERITAS_OPTIONS_INIT;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    vs_conn_init(&w->peer, pair[1], &vs_ipc_from_client, VS_AT_START);
    say_text(w, VS_MSG_HELLO, 0, "{\"protocol\":2,\"server\":\"test\",\"credit\":262144}");
    o.fd = pair[0];
    assert_int_equal(veritas_open(&o, &w->v, NULL), VERITAS_OK);
    close(pair[0]);
    assert_int_equal(hear(w, &f), VS_MSG_HELLO);
    w->peer.state = VS_AT_OPEN;
}

/* The daemon's first word is that it has no place. */
static void test_a_daemon_that_is_full(void **state)
{
    (void)state;
    struct world w;
    int pair[2];
    struct veritas_options o = VERITAS_OPTIONS_INIT;
    struct veritas_error e = VERITAS_ERROR_INIT;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    vs_conn_init(&w.peer, pair[1], &vs_ipc_from_client, VS_AT_START);
    say_end(&w, VS_MSG_ERROR, 0, "{\"error\":{\"code\":-4,\"name\":\"BUSY\",\"message\":\"full\",\"retry_after_ms\":1500}}", "");
    o.fd = pair[0];
    assert_int_equal(veritas_open(&o, &w.v, &e), VERITAS_E_BUSY);
    assert_string_equal(e.message, "full");
    assert_int_equal(e.retry_after_ms, 1500);
    close(pair[0]);
    vs_conn_clear(&w.peer);
}

static void end(struct world *w)
{
    veritas_close(w->v);
    vs_conn_clear(&w->peer);
}

static veritas_request *start(struct world *w, int kind)
{
    veritas_request *r;
    struct vs_frame f;
    assert_int_equal(veritas_request_new(w->v, kind, "m", &r, NULL), VERITAS_OK);
    assert_int_equal(veritas_start(r, NULL), VERITAS_OK);
    assert_int_equal(hear(w, &f), kind);
    return r;
}

static bool is_readable(const veritas *v)
{
    struct pollfd p = { veritas_fd(v), POLLIN, 0 };
    return poll(&p, 1, 0) == 1;
}

/* ---- arguments ---- */

static void test_nothing_takes_null(void **state)
{
    (void)state;
    struct world w;
    struct veritas_error e = VERITAS_ERROR_INIT;
    struct veritas_event event = VERITAS_EVENT_INIT;
    veritas *v;
    veritas_request *r;
    char *text;
    const char *one = "a", *none = NULL;
    float *vectors;
    double *scores;
    uint32_t *tokens;
    size_t n;
    int64_t i;
    double d;
    assert_int_equal(veritas_open(NULL, NULL, &e), VERITAS_E_INVALID);
    assert_string_equal(e.name, "INVALID");
    assert_true(e.message[0] && e.code == VERITAS_E_INVALID);
    veritas_close(NULL);
    veritas_free(NULL);
    veritas_cancel(NULL);
    veritas_request_free(NULL);
    veritas_request_set_user(NULL, &w);
    assert_int_equal(veritas_fd(NULL), -1);
    assert_int_equal(veritas_is_private(NULL), 0);
    assert_null(veritas_result(NULL));
    assert_null(veritas_result_text(NULL, NULL));
    assert_int_equal(veritas_step(NULL, 0, &event, NULL), VERITAS_E_INVALID);
    assert_int_equal(veritas_request_new(NULL, VERITAS_CHAT, "m", &r, NULL), VERITAS_E_INVALID);
    assert_int_equal(veritas_start(NULL, NULL), VERITAS_E_INVALID);
    assert_int_equal(veritas_run(NULL, NULL, NULL, NULL), VERITAS_E_INVALID);
    assert_int_equal(veritas_generate(NULL, "m", "p", NULL, &text, NULL), VERITAS_E_INVALID);
    assert_int_equal(veritas_chat(NULL, "m", "[]", NULL, &text, NULL), VERITAS_E_INVALID);
    assert_int_equal(veritas_tokenize(NULL, "m", "p", 1, 0, &tokens, &n, NULL), VERITAS_E_INVALID);
    assert_int_equal(veritas_detokenize(NULL, "m", NULL, 0, 0, &text, NULL, NULL), VERITAS_E_INVALID);
    assert_int_equal(veritas_embed(NULL, "m", &one, 1, NULL, &vectors, &n, &n, NULL), VERITAS_E_INVALID);
    assert_int_equal(veritas_rerank(NULL, "m", "q", &one, 1, NULL, &scores, NULL), VERITAS_E_INVALID);
    assert_int_equal(veritas_load(NULL, "m", NULL, NULL), VERITAS_E_INVALID);
    assert_int_equal(veritas_unload(NULL, "m", 0, NULL), VERITAS_E_INVALID);
    assert_int_equal(veritas_status(NULL, &text, NULL), VERITAS_E_INVALID);
    assert_int_equal(veritas_set_text(NULL, "k", "t", 1), VERITAS_E_INVALID);
    assert_int_equal(veritas_set_json(NULL, "k", "1"), VERITAS_E_INVALID);
    assert_int_equal(veritas_add_message(NULL, "user", "t", 1), VERITAS_E_INVALID);
    begin(&w);
    assert_int_equal(veritas_step(w.v, 0, NULL, &e), VERITAS_E_INVALID);
    assert_int_equal(veritas_request_new(w.v, VERITAS_CHAT, "m", NULL, &e), VERITAS_E_INVALID);
    assert_int_equal(veritas_request_new(w.v, VERITAS_TOKEN, "m", &r, &e), VERITAS_E_INVALID);
    assert_int_equal(veritas_request_new(w.v, -1, "m", &r, &e), VERITAS_E_INVALID);
    assert_int_equal(veritas_request_new(w.v, 1 << 20, "m", &r, &e), VERITAS_E_INVALID);
    assert_int_equal(veritas_request_new(w.v, VERITAS_CHAT, "\xff", &r, &e), VERITAS_E_INVALID);
    assert_int_equal(veritas_generate(w.v, NULL, "p", NULL, &text, &e), VERITAS_E_INVALID);
    assert_int_equal(veritas_generate(w.v, "m", NULL, NULL, &text, &e), VERITAS_E_INVALID);
    assert_int_equal(veritas_generate(w.v, "m", "p", NULL, NULL, &e), VERITAS_E_INVALID);
    assert_int_equal(veritas_generate(w.v, "m", "p", "{", &text, &e), VERITAS_E_INVALID);
    assert_int_equal(veritas_chat(w.v, "m", "hello", NULL, &text, &e), VERITAS_E_INVALID);
    assert_int_equal(veritas_tokenize(w.v, "m", "p", 1, 4, &tokens, &n, &e), VERITAS_E_INVALID);
    assert_int_equal(veritas_tokenize(w.v, "m", NULL, 0, 0, &tokens, &n, &e), VERITAS_E_INVALID);
    assert_int_equal(veritas_detokenize(w.v, "m", NULL, 1, 0, &text, NULL, &e), VERITAS_E_INVALID);
    assert_int_equal(veritas_embed(w.v, "m", NULL, 1, NULL, &vectors, &n, &n, &e), VERITAS_E_INVALID);
    assert_int_equal(veritas_embed(w.v, "m", &none, 1, NULL, &vectors, &n, &n, &e), VERITAS_E_INVALID);
    assert_int_equal(veritas_rerank(w.v, "m", NULL, &one, 1, NULL, &scores, &e), VERITAS_E_INVALID);
    assert_int_equal(veritas_rerank(w.v, "m", "q", &one, 1, "[]", &scores, &e), VERITAS_E_INVALID);
    assert_int_equal(veritas_load(w.v, NULL, NULL, &e), VERITAS_E_INVALID);
    assert_int_equal(veritas_unload(w.v, NULL, 0, &e), VERITAS_E_INVALID);
    assert_int_equal(veritas_status(w.v, NULL, &e), VERITAS_E_INVALID);
    assert_int_equal(veritas_load(w.v, "/nowhere/at/all.gguf", NULL, &e), VERITAS_E_NOT_FOUND);
    assert_int_equal(veritas_load(w.v, "/", NULL, &e), VERITAS_E_MALFORMED);
    r = start(&w, VERITAS_CHAT);
    assert_int_equal(veritas_result_int(r, "a", &i), VERITAS_E_NOT_FOUND);
    assert_int_equal(veritas_result_int(r, NULL, &i), VERITAS_E_INVALID);
    assert_int_equal(veritas_result_number(r, "a", &d), VERITAS_E_NOT_FOUND);
    assert_int_equal(veritas_result_number(r, "a", NULL), VERITAS_E_INVALID);
    assert_null(veritas_result_text(r, NULL));
    veritas_request_free(r);
    end(&w);
    struct veritas_options o = VERITAS_OPTIONS_INIT;
    o.fd = 10000;
    assert_int_equal(veritas_open(&o, &v, &e), VERITAS_E_INVALID);
    o.fd = -1;
    o.mode = 7;
    assert_int_equal(veritas_open(&o, &v, &e), VERITAS_E_INVALID);
    o.mode = VERITAS_PRIVATE;
    o.name = "\xff";
    assert_int_equal(veritas_open(&o, &v, &e), VERITAS_E_INVALID);
    o.name = NULL;
    o.program = "/nowhere/veritas";
    assert_int_equal(veritas_open(&o, &v, &e), VERITAS_E_NOT_FOUND);
    o.program = "/";
    assert_int_equal(veritas_open(&o, &v, &e), VERITAS_E_SYSTEM);
    o.program = "/bin/true";
    assert_int_equal(veritas_open(&o, &v, &e), VERITAS_E_DIED);
    o.mode = VERITAS_EITHER;
    o.socket = "/nowhere/socket";       /* named: nothing else will do */
    assert_int_equal(veritas_open(&o, &v, &e), VERITAS_E_NOT_FOUND);
}

/* A struct of an older or newer header, or one that was not initialised: nothing is written beyond it. */
static void test_sizes(void **state)
{
    (void)state;
    struct world w;
    struct { struct veritas_error e; char more[64]; } newer;
    struct veritas_options o = VERITAS_OPTIONS_INIT;
    struct veritas_event event = VERITAS_EVENT_INIT;
    veritas *v;
    memset(&newer, 'x', sizeof newer);
    newer.e.size = 0;
    assert_int_equal(veritas_open(NULL, NULL, &newer.e), VERITAS_E_INVALID);
    assert_memory_equal(newer.e.message, "xxxx", 4);
    newer.e.size = sizeof newer;
    assert_int_equal(veritas_open(NULL, NULL, &newer.e), VERITAS_E_INVALID);
    assert_string_equal(newer.e.name, "INVALID");
    assert_memory_equal(newer.more, "xxxx", 4);
    assert_int_equal(newer.e.size, sizeof newer);
    o.size += 8;
    assert_int_equal(veritas_open(&o, &v, NULL), VERITAS_E_UNSUPPORTED);
    o.size = 0;
    assert_int_equal(veritas_open(&o, &v, NULL), VERITAS_E_INVALID);
    begin(&w);
    event.size = 8;
    assert_int_equal(veritas_step(w.v, 0, &event, NULL), VERITAS_E_INVALID);
    veritas_request *r = start(&w, VERITAS_CHAT);
    say(&w, VS_MSG_TOKEN, VS_FLAG_PART, 1, "\3\0\0\0\4\0\0\0\1\0\0\0x", 13);
    say(&w, VS_MSG_TOKEN, VS_FLAG_PART, 1, "\3\0\0\0\4\0\0\0\1\0\0\0y", 13);
    event = (struct veritas_event){ .size = offsetof(struct veritas_event, part), .part = 99 };     /* as it was without parts */
    assert_int_equal(veritas_step(w.v, 0, &event, NULL), VERITAS_OK);
    assert_true(event.part == 99 && event.token == 4 && *event.text == 'x' && event.size == offsetof(struct veritas_event, part));
    event.size = sizeof event;
    assert_int_equal(veritas_step(w.v, 0, &event, NULL), VERITAS_OK);
    assert_true(event.part == 3 && *event.text == 'y');
    veritas_request_free(r);
    end(&w);
    assert_string_equal(veritas_error_name(VERITAS_E_BUSY), "BUSY");
    assert_string_equal(veritas_error_name(77), "UNKNOWN");
    assert_string_equal(veritas_version(), VERITAS_VERSION);
}

static void test_parameters(void **state)
{
    (void)state;
    struct world w;
    struct vs_frame f;
    veritas_request *r;
    struct veritas_error e = VERITAS_ERROR_INIT;
    begin(&w);
    veritas_request_new(w.v, VERITAS_CHAT, "m", &r, NULL);
    assert_int_equal(veritas_add_message(r, "user", "a\0b", 3), VERITAS_OK);
    assert_int_equal(veritas_add_message(r, "assistant", "c", VERITAS_TEXT), VERITAS_OK);
    assert_int_equal(veritas_set_int(r, "max_tokens", 5), VERITAS_OK);
    assert_int_equal(veritas_set_number(r, "sampling.temperature", 0.5), VERITAS_OK);
    assert_int_equal(veritas_set_int(r, "sampling.top_k", 1), VERITAS_OK);
    assert_int_equal(veritas_set_flag(r, "ignore_eos", 7), VERITAS_OK);
    assert_int_equal(veritas_add_text(r, "stop", "x", 1), VERITAS_OK);
    assert_int_equal(veritas_add_text(r, "stop", "y", 1), VERITAS_OK);
    assert_int_equal(veritas_set_tokens(r, "stop_tokens", (const uint32_t[]){ 1, 4294967295 }, 2), VERITAS_OK);
    assert_int_equal(veritas_set_json(r, "template_args", "{\"deep\":[null]}"), VERITAS_OK);
    assert_int_equal(veritas_set_json(r, NULL, "{\"deadline_ms\":9,\"max_tokens\":6}"), VERITAS_OK);
    assert_int_equal(veritas_start(r, &e), VERITAS_OK);
    assert_int_equal(hear(&w, &f), VS_MSG_CHAT);
    static const char body[] = "{\"messages\":[{\"role\":\"user\",\"content\":\"a\\u0000b\"},"
        "{\"role\":\"assistant\",\"content\":\"c\"}],"
        "\"max_tokens\":6,\"sampling\":{\"temperature\":0.5,\"top_k\":1},\"ignore_eos\":true,\"stop\":[\"x\",\"y\"],"
        "\"stop_tokens\":[1,4294967295],\"template_args\":{\"deep\":[null]}}";
    struct vs_payload p;
    assert_int_equal(vs_payload_split(f.data, f.n, VS_MAX_ENVELOPE, &p, NULL), VS_OK);
    assert_int_equal(p.body_bytes, sizeof body - 1);
    assert_memory_equal(p.body, body, sizeof body - 1);
    assert_memory_equal(p.envelope, "{\"model\":\"m\",\"deadline_ms\":9}", p.envelope_bytes);
    assert_int_equal(veritas_start(r, &e), VERITAS_E_BUSY);
    veritas_request_free(r);
    static const struct { const char *key, *text, *json; } bad[] = {
        { "", "t", NULL }, { ".", "t", NULL }, { "a.", "t", NULL }, { ".a", "t", NULL }, { "a..b", "t", NULL }, { NULL, "t", NULL },
        { "\xff", "t", NULL },
        { "a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r", "t", NULL }, { "model.x", "t", NULL }, { "k", "\xff", NULL }, { "k", NULL, NULL },
        { "k", NULL, "1,2" }, { "k", NULL, "1}" }, { "k", NULL, "1,\"b\":2" }, { "k", NULL, "" }, { NULL, NULL, "[]" },
        { NULL, NULL, "nul" },
        { "k", NULL, "{\"a\":1,\"a\":2}" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        veritas_request_new(w.v, VERITAS_CHAT, "m", &r, NULL);
        assert_int_equal(bad[i].json ? veritas_set_json(r, bad[i].key, bad[i].json)
                         : veritas_set_text(r, bad[i].key, bad[i].text, VERITAS_TEXT), VERITAS_E_INVALID);
        veritas_set_int(r, "n", 1);     /* the first failure stays */
        assert_int_equal(veritas_start(r, &e), VERITAS_E_INVALID);
        assert_true(e.message[0]);
        veritas_request_free(r);
    }
    char key[400];
    memset(key, 'k', sizeof key);
    key[399] = 0;
    veritas_request_new(w.v, VERITAS_CHAT, "m", &r, NULL);
    assert_int_equal(veritas_set_int(r, key, 1), VERITAS_E_INVALID);
    assert_int_equal(veritas_set_number(r, "sampling.temperature", (double)NAN), VERITAS_E_INVALID);
    assert_int_equal(veritas_add_text(r, "model", "x", 1), VERITAS_E_INVALID);
    assert_int_equal(veritas_add_message(r, NULL, "x", 1), VERITAS_E_INVALID);
    assert_int_equal(veritas_add_message(r, "user", "\xff", 1), VERITAS_E_INVALID);
    assert_int_equal(veritas_set_tokens(r, "t", NULL, 1), VERITAS_E_INVALID);
    assert_int_equal(veritas_set_tokens(r, "t", NULL, 0), VERITAS_OK);
    veritas_request_free(r);
    end(&w);
}

/* ---- events ---- */

static void test_several_requests(void **state)
{
    (void)state;
    struct world w;
    struct veritas_event e = VERITAS_EVENT_INIT;
    struct veritas_error error = VERITAS_ERROR_INIT;
    int tag, rounds = 0;
    begin(&w);
    assert_int_equal(veritas_step(w.v, -1, &e, &error), VERITAS_E_INVALID);     /* else it would wait for ever */
    assert_int_equal(veritas_step(w.v, 0, &e, &error), VERITAS_E_TIMEOUT);
    veritas_request *a = start(&w, VERITAS_GENERATE), *b = start(&w, VERITAS_CHAT), *c = start(&w, VERITAS_LOAD);
    veritas_request_set_user(b, &tag);
    assert_false(is_readable(w.v));
    say_token(&w, 2, 7, "hei\xc3\x9f");
    say(&w, VS_MSG_TOKEN, VS_FLAG_EXTRA | VS_FLAG_INDEX, 1, "\3\0\0\0\4\0\0\0\1\0\0\0x{\"logprob\":-1}", 27);
    say_text(&w, VS_MSG_PROGRESS, 3, "{\"what\":\"load\",\"done\":5,\"total\":10}");
    say_text(&w, VS_MSG_PROGRESS, 3, "{}");
    say(&w, VS_MSG_DATA, 0, 1, "\0\1\2", 3);
    say_end(&w, VS_MSG_REJECTED, 3,
            "{\"error\":{\"code\":-4,\"name\":\"BUSY\",\"message\":\"later\",\"retry_after_ms\":1500}}", "");
    say_end(&w, VS_MSG_COMPLETE, 2, "{\"finish_reason\":\"stop\"}", "{\"timings\":{\"x\":1.5},\"list\":[{\"n\":3}]}");
    say_end(&w, VS_MSG_ERROR, 1, "{\"error\":{\"code\":-13,\"name\":\"FAULT\",\"message\":\"NaN\"}}", "");
    for (; is_readable(w.v); rounds++) {        /* one event for each time it is readable: nothing is left lying */
        int status = veritas_step(w.v, 0, &e, &error);
        if (status == VERITAS_E_TIMEOUT)
            continue;
        assert_int_equal(status, VERITAS_OK);
        switch (rounds) {
        case 0:
            assert_true(e.kind == VERITAS_TOKEN && e.request == b && e.user == &tag && e.token == 7 && e.text_bytes == 5);
            assert_true(!e.json && !e.error && e.choice == 0);
            assert_string_equal(e.text, "hei\xc3\x9f");
            break;
        case 1:
            assert_true(e.kind == VERITAS_TOKEN && e.request == a && !e.user && e.token == 4 && e.choice == 3 && e.text_bytes == 1);
            assert_string_equal(e.text, "x");
            assert_string_equal(e.json, "{\"logprob\":-1}");
            break;
        case 2:
            assert_true(e.kind == VERITAS_PROGRESS && e.request == c && e.done == 5 && e.total == 10);
            assert_string_equal(e.text, "load");
            break;
        case 3:
            assert_true(e.kind == VERITAS_PROGRESS && e.done == 0 && e.total == 0 && !e.text[0]);
            break;
        case 4:
            assert_true(e.kind == VERITAS_DATA && e.text_bytes == 3 && e.text[3] == 0);
            break;
        case 5:
            assert_true(e.kind == VERITAS_FAILED && e.request == c && e.error->code == VERITAS_E_BUSY);
            assert_int_equal(e.error->retry_after_ms, 1500);
            assert_string_equal(e.error->message, "later");
            break;
        case 6:
            assert_true(e.kind == VERITAS_DONE && e.request == b && e.json_bytes == strlen(e.json));
            break;
        case 7:
            assert_true(e.kind == VERITAS_FAILED && e.request == a && e.error->code == VERITAS_E_FAULT);
            assert_int_equal(e.error->retry_after_ms, 0);
            break;
        }
    }
    assert_true(rounds >= 8);
    int64_t i;
    double d;
    assert_string_equal(veritas_result_text(b, "finish_reason"), "stop");
    assert_null(veritas_result_text(b, "list"));
    assert_int_equal(veritas_result_int(b, "list.0.n", &i), VERITAS_OK);
    assert_int_equal(i, 3);
    assert_int_equal(veritas_result_int(b, "list.1.n", &i), VERITAS_E_NOT_FOUND);
    assert_int_equal(veritas_result_int(b, "list.-1.n", &i), VERITAS_E_NOT_FOUND);
    assert_int_equal(veritas_result_int(b, "list.x", &i), VERITAS_E_NOT_FOUND);
    assert_int_equal(veritas_result_int(b, "list..n", &i), VERITAS_E_NOT_FOUND);
    assert_int_equal(veritas_result_number(b, "timings.x", &d), VERITAS_OK);
    assert_true(d == 1.5);
    assert_int_equal(veritas_result_int(b, "timings.x", &i), VERITAS_E_NOT_FOUND);
    assert_null(veritas_result(a));
    assert_int_equal(veritas_start(b, NULL), VERITAS_OK);       /* again: the old result goes */
    assert_null(veritas_result(b));
    veritas_close(w.v);
    assert_int_equal(veritas_start(a, &error), VERITAS_E_INVALID);      /* requests outlive their connection */
    assert_int_equal(veritas_run(a, NULL, NULL, &error), VERITAS_E_INVALID);
    veritas_cancel(b);
    veritas_request_free(a);
    veritas_request_free(b);
    veritas_request_free(c);
    vs_conn_clear(&w.peer);
}

struct seen {
    struct world *w;
    veritas_request *other;
    int n, stop_at, kinds[8];
    int (*act)(struct seen *s, const struct veritas_event *e);
};

static int on_event(void *user, const struct veritas_event *e)
{
    struct seen *s = user;
    if (s->n < 8)
        s->kinds[s->n] = e->kind;
    s->n++;
    int r = s->act ? s->act(s, e) : 0;
    return s->n == s->stop_at ? 1 : r;
}

/* While one is waited for, the others' events are kept, not credited, and given out in their order. */
static void test_run_keeps_others(void **state)
{
    (void)state;
    struct world w;
    struct vs_frame f;
    struct veritas_event e = VERITAS_EVENT_INIT;
    struct seen s = { .w = &w };
    char block[60000];
    veritas_request *r;
    memset(block, 'd', sizeof block);
    begin(&w);
    veritas_request *a = start(&w, VERITAS_LOGITS), *b = start(&w, VERITAS_GENERATE);
    for (int i = 0; i < 2; i++)
        say(&w, VS_MSG_DATA, 0, 1, block, sizeof block);
    say_text(&w, VS_MSG_PROGRESS, 1, "{\"what\":\"load\"}");
    say_token(&w, 2, 9, "t");
    say_done(&w, 1);
    say_token(&w, 3, 1, "mine");
    say_done(&w, 3);
    assert_int_equal(veritas_request_new(w.v, VERITAS_CHAT, "m", &r, NULL), VERITAS_OK);
    assert_int_equal(veritas_run(r, on_event, &s, NULL), VERITAS_OK);
    assert_true(s.n == 2 && s.kinds[0] == VERITAS_TOKEN && s.kinds[1] == VERITAS_DONE);
    assert_int_equal(hear(&w, &f), VS_MSG_CHAT);
    assert_int_equal(vs_conn_read(&w.peer), VS_E_BUSY);         /* no credit has come */
    assert_true(is_readable(w.v));
    const veritas_request *order[] = { a, a, b, a };
    for (int i = 0; i < 4; i++) {
        assert_int_equal(veritas_step(w.v, 0, &e, NULL), VERITAS_OK);
        assert_ptr_equal(e.request, order[i]);
    }
    assert_int_equal(e.kind, VERITAS_DONE);
    assert_int_equal(veritas_step(w.v, 0, &e, NULL), VERITAS_E_TIMEOUT);
    assert_false(is_readable(w.v));
    veritas_request_free(a);
    veritas_request_free(b);
    veritas_request_free(r);
    end(&w);
}

static void *flush_all(void *peer)
{
    while (vs_conn_flush(peer) == VS_E_BUSY)
        usleep(1000);
    return NULL;
}

/* A daemon that does not care for credit cannot fill our memory. */
static void test_kept_is_bounded(void **state)
{
    (void)state;
    struct world w;
    struct veritas_event e = VERITAS_EVENT_INIT;
    struct veritas_error error = VERITAS_ERROR_INIT;
    static char block[60000];
    veritas_request *r;
    pthread_t thread;
    int n = 0, status;
    begin(&w);
    veritas_request *a = start(&w, VERITAS_LOGITS);
    assert_int_equal(veritas_request_new(w.v, VERITAS_CHAT, "m", &r, NULL), VERITAS_OK);
    for (int i = 0; i < 30; i++)
        say(&w, VS_MSG_DATA, 0, 1, block, sizeof block);
    pthread_create(&thread, NULL, flush_all, &w.peer);
    assert_int_equal(veritas_run(r, NULL, NULL, &error), VERITAS_E_PROTOCOL);
    assert_int_equal(veritas_start(r, &error), VERITAS_E_PROTOCOL);
    while ((status = veritas_step(w.v, -1, &e, &error)) == VERITAS_OK)          /* what was kept, and its end */
        n += e.kind == VERITAS_DATA;
    assert_true(n == 4 && e.kind == VERITAS_FAILED && e.request == a);
    assert_int_equal(status, VERITAS_E_PROTOCOL);
    assert_int_equal(veritas_step(w.v, 0, &e, &error), VERITAS_E_PROTOCOL);
    assert_false(is_readable(w.v));
    veritas_request_free(a);
    veritas_request_free(r);
    veritas_close(w.v);
    pthread_join(thread, NULL);
    vs_conn_clear(&w.peer);
}

/* ---- the end of a request, by us ---- */

static void *cancel_soon(void *r)
{
    usleep(20000);
    veritas_cancel(r);
    veritas_cancel(r);
    return NULL;
}

struct daemon {
    struct world *w;
    int n_cancels;
};

/* Answers each CANCEL until the other end closes. */
static void *play_cancels(void *context)
{
    struct daemon *d = context;
    struct vs_frame f;
    struct pollfd p = { d->w->peer.fd, POLLIN, 0 };
    uint16_t type;
    while (poll(&p, 1, 5000) == 1) {
        while ((type = hear(d->w, &f)) != 0) {      /* one read may bring several frames */
            if (type == VS_MSG_CANCEL) {
                d->n_cancels++;
                say_end(d->w, VS_MSG_ERROR, f.id, "{\"error\":{\"code\":-8,\"name\":\"CANCELLED\",\"message\":\"cancelled\"}}", "");
            }
        }
        if (p.revents & POLLHUP)
            break;
    }
    return NULL;
}

/* By another thread, while run or step waits; twice is as once. */
static void test_cancel(void **state)
{
    (void)state;
    struct world w;
    struct daemon d = { .w = &w };
    struct veritas_event e = VERITAS_EVENT_INIT;
    struct veritas_error error = VERITAS_ERROR_INIT;
    veritas_request *r;
    pthread_t daemon, other;
    begin(&w);
    pthread_create(&daemon, NULL, play_cancels, &d);
    assert_int_equal(veritas_request_new(w.v, VERITAS_CHAT, "m", &r, NULL), VERITAS_OK);
    veritas_cancel(r);                  /* does not run: nothing happens */
    pthread_create(&other, NULL, cancel_soon, r);
    assert_int_equal(veritas_run(r, NULL, NULL, &error), VERITAS_E_CANCELLED);
    pthread_join(other, NULL);
    veritas_cancel(r);                  /* has ended */
    assert_int_equal(veritas_step(w.v, 20, &e, &error), VERITAS_E_TIMEOUT);
    assert_int_equal(veritas_start(r, NULL), VERITAS_OK);
    pthread_create(&other, NULL, cancel_soon, r);
    assert_int_equal(veritas_step(w.v, -1, &e, &error), VERITAS_OK);
    assert_true(e.kind == VERITAS_FAILED && e.error->code == VERITAS_E_CANCELLED);
    pthread_join(other, NULL);
    assert_int_equal(veritas_step(w.v, 20, &e, &error), VERITAS_E_TIMEOUT);
    veritas_request_free(r);
    veritas_close(w.v);
    pthread_join(daemon, NULL);
    vs_conn_clear(&w.peer);
    assert_int_equal(d.n_cancels, 2);
}

static int free_self(struct seen *s, const struct veritas_event *e)
{
    (void)s;
    veritas_request_free(e->request);
    return 0;
}

static int free_at_end(struct seen *s, const struct veritas_event *e)
{
    (void)s;
    if (e->kind == VERITAS_DONE)
        veritas_request_free(e->request);
    return e->kind == VERITAS_DONE;     /* there is nothing left to stop */
}

static int close_all(struct seen *s, const struct veritas_event *e)
{
    (void)e;
    veritas_close(s->w->v);
    return 0;
}

static int nest(struct seen *s, const struct veritas_event *e)
{
    struct veritas_event inner = VERITAS_EVENT_INIT;
    char *text;
    assert_int_equal(veritas_step(s->w->v, 0, &inner, NULL), VERITAS_E_BUSY);
    assert_int_equal(veritas_run(e->request, NULL, NULL, NULL), VERITAS_E_BUSY);
    assert_int_equal(veritas_status(s->w->v, &text, NULL), VERITAS_E_BUSY);
    assert_int_equal(veritas_start(s->other, NULL), e->kind == VERITAS_TOKEN ? VERITAS_OK : VERITAS_E_BUSY);
    assert_string_equal(e->text, e->kind == VERITAS_TOKEN ? "t" : "");          /* still there */
    return 0;
}

/* What a callback may do, and what it should not but may not crash either. */
static void test_callbacks(void **state)
{
    (void)state;
    struct world w;
    struct seen s = { .w = &w, .act = nest };
    struct veritas_error error = VERITAS_ERROR_INIT;
    veritas_request *r, *other;
    begin(&w);
    veritas_request_new(w.v, VERITAS_CHAT, "m", &r, NULL);
    veritas_request_new(w.v, VERITAS_CHAT, "m", &other, NULL);
    s.other = other;
    say_token(&w, 1, 1, "t");
    w.peer.state_of = NULL;
    assert_int_equal(veritas_start(r, NULL), VERITAS_OK);       /* so that frames of request 1 may come */
    assert_int_equal(veritas_run(r, on_event, &s, &error), VERITAS_E_BUSY);
    veritas_request_free(r);
    veritas_request_new(w.v, VERITAS_CHAT, "m", &r, NULL);
    say_token(&w, 2, 1, "t");
    say_done(&w, 2);
    assert_int_equal(veritas_run(r, on_event, &s, &error), VERITAS_OK);
    assert_int_equal(s.n, 2);
    s = (struct seen){ .w = &w, .stop_at = 1, .act = NULL };
    say_token(&w, 4, 1, "t");
    say_token(&w, 4, 1, "t");
    say_done(&w, 4);                    /* it was quicker, but it was stopped */
    assert_int_equal(veritas_run(r, on_event, &s, &error), VERITAS_E_CANCELLED);
    assert_int_equal(s.n, 1);
    struct vs_frame f;
    while (hear(&w, &f)) { }
    s = (struct seen){ .w = &w, .act = free_self };
    say_token(&w, 5, 1, "t");
    say_done(&w, 5);
    assert_int_equal(veritas_run(r, on_event, &s, &error), VERITAS_E_CANCELLED);
    assert_int_equal(s.n, 1);
    veritas_request_new(w.v, VERITAS_CHAT, "m", &r, NULL);
    s = (struct seen){ .w = &w, .act = free_at_end };
    say_token(&w, 6, 1, "t");
    say_done(&w, 6);
    assert_int_equal(veritas_run(r, on_event, &s, &error), VERITAS_OK);
    assert_int_equal(s.n, 2);
    veritas_request_new(w.v, VERITAS_CHAT, "m", &r, NULL);
    s = (struct seen){ .w = &w, .act = close_all };
    say_token(&w, 7, 1, "t");
    assert_int_equal(veritas_run(r, on_event, &s, &error), VERITAS_E_CANCELLED);
    assert_int_equal(s.n, 1);
    veritas_request_free(r);
    veritas_request_free(other);
    vs_conn_clear(&w.peer);
}

/* Freed while it runs: it is cancelled, and what still comes of it is nobody's. */
static void test_free_while_running(void **state)
{
    (void)state;
    struct world w;
    struct vs_frame f;
    struct veritas_event e = VERITAS_EVENT_INIT;
    begin(&w);
    veritas_request *a = start(&w, VERITAS_CHAT), *b = start(&w, VERITAS_CHAT);
    veritas_request_free(a);
    assert_int_equal(hear(&w, &f), VS_MSG_CANCEL);
    assert_int_equal(f.id, 1);
    say_token(&w, 1, 1, "t");
    say_done(&w, 1);
    say_token(&w, 2, 1, "u");
    assert_int_equal(veritas_step(w.v, 0, &e, NULL), VERITAS_OK);
    assert_ptr_equal(e.request, b);
    assert_int_equal(veritas_step(w.v, 0, &e, NULL), VERITAS_E_TIMEOUT);
    veritas_request_free(b);
    end(&w);
}

/* ---- the end of the connection, by the daemon ---- */

static void test_daemon_dies(void **state)
{
    (void)state;
    static const struct { const char *last; int code; } ends[] = {
        { NULL, VERITAS_E_DIED },
        { "{\"error\":{\"code\":-3,\"name\":\"LIMIT\",\"message\":\"too much\"}}", VERITAS_E_LIMIT },
        { "{\"error\":{\"code\":-9,\"name\":\"TIMEOUT\",\"message\":\"too slow\"}}", VERITAS_E_DIED },        /* not "ask again" */
        { "{}", VERITAS_E_PROTOCOL },
    };
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        struct world w;
        struct veritas_event e = VERITAS_EVENT_INIT;
        struct veritas_error error = VERITAS_ERROR_INIT;
        begin(&w);
        veritas_request *a = start(&w, VERITAS_CHAT), *b = start(&w, VERITAS_CHAT);
        say_token(&w, 1, 1, "t");
        if (ends[i].last)
            say_end(&w, VS_MSG_ERROR, 0, ends[i].last, "");
        vs_conn_clear(&w.peer);
        assert_int_equal(veritas_step(w.v, 0, &e, &error), VERITAS_OK);
        assert_int_equal(e.kind, VERITAS_TOKEN);
        for (int n = 0; n < 2; n++) {   /* exactly one end for each */
            assert_true(is_readable(w.v));
            assert_int_equal(veritas_step(w.v, -1, &e, &error), VERITAS_OK);
            assert_true(e.kind == VERITAS_FAILED && e.error->code == ends[i].code && (e.request == a || e.request == b));
        }
        assert_int_equal(veritas_step(w.v, 0, &e, &error), ends[i].code);
        assert_int_equal(error.code, ends[i].code);
        assert_false(is_readable(w.v)); /* it is said once; a loop that goes on does not spin */
        assert_int_equal(veritas_start(a, &error), ends[i].code);      /* and no SIGPIPE */
        veritas_cancel(a);
        veritas_request_free(a);
        veritas_request_free(b);
        veritas_close(w.v);
    }
}

/* Each of these ends the connection, whatever the library was doing. */
static void test_hostile_frames(void **state)
{
    (void)state;
    static const struct { uint16_t type, flags; uint64_t id; const char *data; size_t n; } frames[] = {
        { 0x99, 0, 1, "", 0 }, { VS_MSG_TOKEN, 0, 1, "\1\0\0\0\377\377\377\377", 8 }, { VS_MSG_TOKEN, 0, 1, "", 0 },
        { VS_MSG_TOKEN, 0, 2, "\0\0\0\0\0\0\0\0", 8 }, { VS_MSG_TOKEN, 2, 1, "\1\0\0\0\0\0\0\0[1]", 11 },
        { VS_MSG_TOKEN, 0x80, 1, "\1\0\0\0\0\0\0\0", 8 }, { VS_MSG_HELLO, 0, 0, "{}", 2 }, { VS_MSG_PROGRESS, 0, 1, "{{", 2 },
        { VS_MSG_COMPLETE, 0, 1, "\377\377\377\377{}", 6 }, { VS_MSG_COMPLETE, 0, 0, "\2\0\0\0{}", 6 },
        { VS_MSG_ERROR, 0, 1, "\2\0\0\0{}", 6 }, { VS_MSG_COMPLETE, 0, 1, "\2\0\0\0[]", 6 },
    };
    for (size_t i = 0; i < sizeof frames / sizeof *frames; i++) {
        struct world w;
        struct veritas_error error = VERITAS_ERROR_INIT;
        veritas_request *r;
        begin(&w);
        say(&w, frames[i].type, frames[i].flags, frames[i].id, frames[i].data, frames[i].n);
        assert_int_equal(veritas_request_new(w.v, VERITAS_CHAT, "m", &r, NULL), VERITAS_OK);
        assert_int_equal(veritas_run(r, NULL, NULL, &error), VERITAS_E_PROTOCOL);
        veritas_request_free(r);
        end(&w);
    }
}

/* ---- the process around it ---- */

static void on_alarm(int number)
{
    (void)number;
}

static veritas_request *alarmed;

static void on_alarm_cancel(int number)
{
    (void)number;
    veritas_cancel(alarmed);
}

/* A signal ends the wait of step; run goes on; cancel may be called by a handler. */
static void test_signals(void **state)
{
    (void)state;
    struct world w;
    struct daemon d = { .w = &w };
    struct veritas_event e = VERITAS_EVENT_INIT;
    struct sigaction act = { .sa_handler = on_alarm }, before;
    struct itimerval soon = { { 0, 10000 }, { 0, 10000 } }, never = { 0 };
    pthread_t daemon;
    sigset_t alarms;
    begin(&w);
    sigemptyset(&alarms);
    sigaddset(&alarms, SIGALRM);
    pthread_sigmask(SIG_BLOCK, &alarms, NULL);
    pthread_create(&daemon, NULL, play_cancels, &d);
    pthread_sigmask(SIG_UNBLOCK, &alarms, NULL);
    veritas_request_new(w.v, VERITAS_CHAT, "m", &alarmed, NULL);
    assert_int_equal(veritas_start(alarmed, NULL), VERITAS_OK);
    sigaction(SIGALRM, &act, &before);
    setitimer(ITIMER_REAL, &soon, NULL);
    assert_int_equal(veritas_step(w.v, -1, &e, NULL), VERITAS_E_TIMEOUT);
    act.sa_handler = on_alarm_cancel;
    sigaction(SIGALRM, &act, NULL);
    int status;
    while ((status = veritas_step(w.v, -1, &e, NULL)) == VERITAS_E_TIMEOUT) { }
    assert_true(status == VERITAS_OK && e.kind == VERITAS_FAILED);
    assert_int_equal(veritas_run(alarmed, NULL, NULL, NULL), VERITAS_E_CANCELLED);
    setitimer(ITIMER_REAL, &never, NULL);
    sigaction(SIGALRM, &before, NULL);
    veritas_request_free(alarmed);
    veritas_close(w.v);
    pthread_join(daemon, NULL);
    vs_conn_clear(&w.peer);
}

/* A prompt that is too large is refused here; the largest is queued while the daemon does not read, and many are too. */
static void test_huge_prompts(void **state)
{
    (void)state;
    struct world w;
    struct veritas_error error = VERITAS_ERROR_INIT;
    veritas_request *r[4];
    size_t n = 17u << 20;
    char *text = malloc(n);
    memset(text, 'p', n);
    begin(&w);
    for (int i = 0; i < 4; i++) {
        veritas_request_new(w.v, VERITAS_GENERATE, "m", &r[i], NULL);
        assert_int_equal(veritas_set_text(r[i], "prompt", text, i == 0 ? n : n - (2u << 20)), VERITAS_OK);
        assert_int_equal(veritas_start(r[i], &error), i == 0 ? VERITAS_E_LIMIT : VERITAS_OK);
    }
    assert_false(is_readable(w.v));
    int heard = 0;
    struct vs_frame f;
    struct veritas_event e = VERITAS_EVENT_INIT;
    while (heard < 3) {                 /* the descriptor is ready whenever more can be sent */
        if (hear(&w, &f) == VS_MSG_GENERATE)
            heard++;
        else if (is_readable(w.v))
            assert_int_equal(veritas_step(w.v, 0, &e, &error), VERITAS_E_TIMEOUT);
    }
    for (int i = 0; i < 4; i++)
        veritas_request_free(r[i]);
    free(text);
    end(&w);
}

/* A daemon that is newer than this library: what is not known is passed on, or left out. */
static void test_newer_daemon(void **state)
{
    (void)state;
    struct world w;
    struct veritas_error error = VERITAS_ERROR_INIT;
    veritas_request *r;
    int64_t n = 0;
    begin(&w);
    assert_int_equal(veritas_request_new(w.v, VERITAS_CHAT, "m", &r, NULL), VERITAS_OK);
    say_end(&w, VS_MSG_COMPLETE, 1, "{\"finish_reason\":\"A new one\",\"usage\":{\"tokens_of_thought\":3},\"proof\":[1]}", "{}");
    assert_int_equal(veritas_run(r, NULL, NULL, &error), VERITAS_OK);
    assert_string_equal(veritas_result_text(r, "finish_reason"), "A new one");
    assert_int_equal(veritas_result_int(r, "usage.tokens_of_thought", &n), VERITAS_OK);
    assert_int_equal(n, 3);
    say_end(&w, VS_MSG_ERROR, 2,
            "{\"error\":{\"code\":-99,\"name\":\"TIRED\",\"message\":\"sleep\",\"retry_after_ms\":-5,\"hint\":1}}", "");
    assert_int_equal(veritas_run(r, NULL, NULL, &error), -99);
    assert_string_equal(error.message, "sleep");
    assert_int_equal(error.retry_after_ms, 0);
    static const char *const wrong[] = { "{\"error\":{}}", "{\"error\":{\"code\":5,\"name\":\"X\",\"message\":\"m\"}}",
        "{\"error\":null}",
        "{\"error\":{\"code\":-1,\"name\":\"NOMEM\"}}", "{\"error\":{\"code\":-9999999999,\"message\":\"m\"}}", "{", "" };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct vs_error e;
        struct vs_outcome_hints hints;
        assert_int_equal(vs_outcome_error(wrong[i], strlen(wrong[i]), &e, &hints, NULL), VS_E_MALFORMED);
    }
    veritas_request_free(r);
    end(&w);
}

/* No descriptors left: a reason, and nothing is left open. */
static void test_no_descriptors(void **state)
{
    (void)state;
    struct rlimit before, few;
    struct veritas_options o = VERITAS_OPTIONS_INIT;
    struct veritas_error error = VERITAS_ERROR_INIT;
    veritas *v = NULL;
    int pair[2], next = dup(0);
    close(next);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    o.fd = pair[0];
    getrlimit(RLIMIT_NOFILE, &before);
    for (rlim_t more = 2; more < 5; more++) {       /* the first, second, third that it opens; what the last one is for fails too */
        few = before;
        few.rlim_cur = (rlim_t)next + more;
        setrlimit(RLIMIT_NOFILE, &few);
        int status = veritas_open(&o, &v, &error);
        setrlimit(RLIMIT_NOFILE, &before);
        assert_true(status == VERITAS_E_SYSTEM || status == VERITAS_E_INVALID);
        assert_non_null(strstr(error.message, "Too many open files"));
        int again = dup(0);
        assert_int_equal(again, next + 2);
        close(again);
    }
    close(pair[0]);
    close(pair[1]);
}

/* ---- short cuts ---- */

static void test_short_cuts(void **state)
{
    (void)state;
    struct world w;
    struct veritas_error e = VERITAS_ERROR_INIT;
    char *text = NULL;
    uint32_t *tokens = NULL;
    size_t n = 9;
    begin(&w);
    say(&w, VS_MSG_TOKEN, VS_FLAG_INDEX, 1, "\0\0\0\0\4\0\0\0\1\0\0\0a", 13);
    say(&w, VS_MSG_TOKEN, VS_FLAG_INDEX, 1, "\1\0\0\0\4\0\0\0\1\0\0\0z", 13);
    say_token(&w, 1, 4, "b");
    say_done(&w, 1);
    assert_int_equal(veritas_generate(w.v, "m", "p", "{\"n\":2}", &text, &e), VERITAS_OK);
    assert_string_equal(text, "ab");
    veritas_free(text);
    say_done(&w, 2);
    assert_int_equal(veritas_chat(w.v, "m", "[{\"role\":\"user\",\"content\":\"x\"}]", NULL, &text, &e), VERITAS_OK);
    assert_string_equal(text, "");
    veritas_free(text);
    say_end(&w, VS_MSG_COMPLETE, 3, "{}", "{\"tokens\":[7,4294967295],\"n\":2}");
    assert_int_equal(veritas_tokenize(w.v, "m", "p", 1, VERITAS_NO_BOS | VERITAS_SPECIAL, &tokens, &n, &e), VERITAS_OK);
    assert_true(n == 2 && tokens[0] == 7 && tokens[1] == 4294967295);
    veritas_free(tokens);
    say(&w, VS_MSG_DATA, 0, 4, "\1\0\0\0\2\0\0\0", 8);
    say_end(&w, VS_MSG_COMPLETE, 4, "{}", "{\"n\":2}");
    assert_int_equal(veritas_tokenize(w.v, "m", "", 0, 0, &tokens, &n, &e), VERITAS_OK);
    assert_true(n == 2 && tokens[0] == 1 && tokens[1] == 2);
    veritas_free(tokens);
    say(&w, VS_MSG_DATA, 0, 5, "\1\0\0", 3);
    say_end(&w, VS_MSG_COMPLETE, 5, "{}", "{\"n\":2}");
    assert_int_equal(veritas_tokenize(w.v, "m", "", 0, 0, &tokens, &n, &e), VERITAS_E_PROTOCOL);
    say_end(&w, VS_MSG_COMPLETE, 6, "{}", "{\"tokens\":[],\"n\":0}");
    assert_int_equal(veritas_tokenize(w.v, "m", "", 0, 0, &tokens, &n, &e), VERITAS_OK);
    assert_int_equal(n, 0);
    veritas_free(tokens);
    say_end(&w, VS_MSG_COMPLETE, 7, "{}", "{\"text\":\"a\\u0000b\"}");
    assert_int_equal(veritas_detokenize(w.v, "m", (const uint32_t[]){ 1, 2 }, 2, 0, &text, &n, &e), VERITAS_OK);
    assert_int_equal(n, 3);
    assert_memory_equal(text, "a\0b", 4);
    veritas_free(text);
    say_end(&w, VS_MSG_COMPLETE, 8, "{}", "{}");
    assert_int_equal(veritas_detokenize(w.v, "m", NULL, 0, 0, &text, &n, &e), VERITAS_E_PROTOCOL);
    say_end(&w, VS_MSG_COMPLETE, 9, "{}", "{\"server\":\"x\"}");
    assert_int_equal(veritas_status(w.v, &text, &e), VERITAS_OK);
    assert_string_equal(text, "{\"server\":\"x\"}");
    veritas_free(text);
    say_end(&w, VS_MSG_COMPLETE, 10, "{}", "{}");
    assert_int_equal(veritas_load(w.v, "m", "{\"ctx\":16}", &e), VERITAS_OK);
    say_end(&w, VS_MSG_REJECTED, 11, "{\"error\":{\"code\":-4,\"name\":\"BUSY\",\"message\":\"no\",\"retry_after_ms\":100}}", "");
    assert_int_equal(veritas_unload(w.v, "m", 1, &e), VERITAS_E_BUSY);
    assert_true(e.retry_after_ms == 100 && e.size == sizeof e && strcmp(e.name, "BUSY") == 0 && strcmp(e.message, "no") == 0);
    end(&w);
}

static void test_vectors(void **state)
{
    (void)state;
    static const char *const texts[] = { "a", "b" };
    struct world w;
    struct veritas_error e = VERITAS_ERROR_INIT;
    float *vectors = NULL;
    double *scores = NULL;
    size_t n = 0, dim = 0;
    begin(&w);
    say(&w, VS_MSG_DATA, 0, 1, "\0\0\200\77\0\0\0\100\0", 9);      /* 1, 2, and a byte of the next */
    say(&w, VS_MSG_DATA, 0, 1, "\0\100\300\0\0\0\0", 7);             /* -3, 0 */
    say_end(&w, VS_MSG_COMPLETE, 1, "{}", "{\"n\":2,\"dim\":2,\"tokens\":[1,1]}");
    assert_int_equal(veritas_embed(w.v, "m", texts, 2, "{\"pooling\":\"mean\"}", &vectors, &n, &dim, &e), VERITAS_OK);
    assert_true(n == 2 && dim == 2 && vectors[0] == 1 && vectors[1] == 2 && vectors[2] == -3 && vectors[3] == 0);
    veritas_free(vectors);
    say(&w, VS_MSG_DATA, 0, 2, "\0\0\200\77", 4);                     /* not whole vectors */
    say_end(&w, VS_MSG_COMPLETE, 2, "{}", "{\"n\":1,\"dim\":2,\"tokens\":[1]}");
    assert_int_equal(veritas_embed(w.v, "m", texts, 1, NULL, &vectors, &n, &dim, &e), VERITAS_E_PROTOCOL);
    say_end(&w, VS_MSG_COMPLETE, 3, "{}", "{\"n\":0,\"dim\":-1}");
    assert_int_equal(veritas_embed(w.v, "m", NULL, 0, NULL, &vectors, &n, &dim, &e), VERITAS_E_PROTOCOL);
    say_end(&w, VS_MSG_COMPLETE, 4, "{}", "{\"scores\":[0.25,1]}");
    assert_int_equal(veritas_rerank(w.v, "m", "q", texts, 2, NULL, &scores, &e), VERITAS_OK);
    assert_true(scores[0] == 0.25 && scores[1] == 1);
    veritas_free(scores);
    say_end(&w, VS_MSG_COMPLETE, 5, "{}", "{\"scores\":[0.25]}");
    assert_int_equal(veritas_rerank(w.v, "m", "q", texts, 2, NULL, &scores, &e), VERITAS_E_PROTOCOL);
    end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_daemon_that_is_full),
        cmocka_unit_test(test_nothing_takes_null),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_parameters),
        cmocka_unit_test(test_several_requests),
        cmocka_unit_test(test_run_keeps_others),
        cmocka_unit_test(test_kept_is_bounded),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_callbacks),
        cmocka_unit_test(test_free_while_running),
        cmocka_unit_test(test_daemon_dies),
        cmocka_unit_test(test_hostile_frames),
        cmocka_unit_test(test_signals),
        cmocka_unit_test(test_huge_prompts),
        cmocka_unit_test(test_newer_daemon),
        cmocka_unit_test(test_no_descriptors),
        cmocka_unit_test(test_short_cuts),
        cmocka_unit_test(test_vectors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
