/* rooms: client ipc base */
/* The client against a daemon played by a thread: what it must survive and what it must give back. */
#include "base/bytes.h"
#include "client/client.h"
#include "ipc/envelope.h"
#include "ipc/frame.h"
#include "ipc/json.h"

#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

static char path[100];

struct daemon {
    pthread_t thread;
    int listen_fd;
    const char *hello;                  /* NULL: refuse with ERROR 0; "": hang up without a word, unless it plays on */
    void (*play)(struct vs_conn *c);
};

/* The next frame, waiting for it; false at the end. */
static bool hear(struct vs_conn *c, struct vs_frame *f)
{
    int status;
    while ((status = vs_conn_next(c, f, NULL)) == VS_E_BUSY) {
        struct pollfd p = { c->fd, POLLIN, 0 };
        poll(&p, 1, 5000);
        status = vs_conn_read(c);
        if (status != VS_OK && status != VS_E_BUSY)
            return false;
    }
    return status == VS_OK;
}

static void say(struct vs_conn *c, uint16_t type, uint64_t id, const char *text)
{
    vs_conn_send(c, type, 0, id, text, strlen(text), -1);
    while (vs_conn_flush(c) == VS_E_BUSY)
        usleep(1000);
}

/* A frame that ends a request, or with id 0 the connection. */
static void say_end(struct vs_conn *c, uint16_t type, uint64_t id, const char *envelope, const char *body)
{
    struct vs_buf out = { 0 };
    size_t begin = vs_payload_begin(&out);
    vs_buf_str(&out, envelope);
    vs_payload_end(&out, begin);
    vs_buf_str(&out, body);
    vs_conn_send(c, type, 0, id, out.data, out.n, -1);
    while (vs_conn_flush(c) == VS_E_BUSY)
        usleep(1000);
    vs_buf_clear(&out);
}

static void *run(void *context)
{
    struct daemon *d = context;
    struct vs_conn c;
    struct vs_frame f;
    vs_conn_init(&c, accept(d->listen_fd, NULL, NULL), &vs_ipc_from_client, VS_AT_START);
    if (hear(&c, &f)) {
        c.state = VS_AT_OPEN;
        if (d->hello && *d->hello)
            say(&c, VS_MSG_HELLO, 0, d->hello);
        else if (!d->hello)
            say_end(&c, VS_MSG_ERROR, 0, "{\"error\":{\"name\":\"DENIED\",\"code\":-12,\"message\":\"not you\"}}", "");
        if (d->play)
            d->play(&c);
    }
    vs_conn_clear(&c);
    return NULL;
}

static void start(struct daemon *d, const char *hello, void (*play)(struct vs_conn *c))
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    snprintf(path, sizeof path, "/tmp/veritas-unit-client-%d", (int)getpid());
    unlink(path);
    strncpy(a.sun_path, path, sizeof a.sun_path - 1);
    d->listen_fd = socket(AF_UNIX, SOCK_STREAM, 0);
    d->hello = hello;
    d->play = play;
    assert_int_equal(bind(d->listen_fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(d->listen_fd, 1), 0);
    assert_int_equal(pthread_create(&d->thread, NULL, run, d), 0);
}

static void stop(struct daemon *d)
{
    pthread_join(d->thread, NULL);
    close(d->listen_fd);
    unlink(path);
}

static const char good[] = "{\"protocol\":2,\"server\":\"test\"}";

static void test_hello(void **state)
{
    (void)state;
    const struct { const char *hello; int code; } cases[] = {
        { NULL, VS_E_DENIED }, { "{\"protocol\":3}", VS_E_PROTOCOL }, { "{}", VS_E_PROTOCOL }, { "no", VS_E_PROTOCOL },
        { "", VS_E_NOT_FOUND },         /* it ends, and a next one may listen */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct daemon d;
        struct vs_client *c = NULL;
        struct vs_error err;
        start(&d, cases[i].hello, NULL);
        assert_int_equal(vs_client_connect(path, "test", NULL, &c, &err), cases[i].code);
        assert_null(c);
        stop(&d);
    }
    struct vs_client *c;
    struct vs_error err;
    assert_int_equal(vs_client_connect(path, "test", NULL, &c, &err), VS_E_NOT_FOUND);
}

static uint32_t granted[3];

/* Two requests' data in turns, 60 frames of 8 KiB each; counts the credit that comes back. */
static void play_two_streams(struct vs_conn *c)
{
    static char block[8193];
    struct vs_frame f;
    memset(block, 'd', 8192);
    if (!hear(c, &f) || !hear(c, &f))
        return;
    for (int i = 0; i < 120; i++)
        say(c, VS_MSG_DATA, 1 + (uint64_t)(i & 1), block);
    say_end(c, VS_MSG_COMPLETE, 1, "{}", "{}");
    say_end(c, VS_MSG_COMPLETE, 2, "{}", "");
    while (hear(c, &f))
        if (f.type == VS_MSG_CREDIT && f.id < 3)
            granted[f.id] += vs_load_u32le(f.data);
}

static void test_credit_comes_back(void **state)
{
    (void)state;
    struct daemon d;
    struct vs_client *c;
    struct vs_error err;
    struct vs_event e;
    uint64_t id;
    start(&d, good, play_two_streams);
    assert_int_equal(vs_client_connect(path, "test", NULL, &c, &err), VS_OK);
    json_t *none = json_object();
    for (uint64_t i = 1; i < 3; i++) {
        assert_int_equal(vs_client_request(c, VS_MSG_LOGITS, none, NULL, &id, &err), VS_OK);
        assert_int_equal(id, i);
    }
    assert_int_equal(vs_client_request(c, VS_MSG_TOKEN, none, NULL, &id, &err), VS_E_INVALID);
    assert_int_equal(vs_client_request(c, VS_MSG_LIST, none, &(struct vs_files){ 1, { 0 } }, &id, &err), VS_E_INVALID);
    size_t bytes = 0;
    for (int ended = 0; ended < 2;) {
        assert_int_equal(vs_client_next(c, 5000, &e, &err), VS_OK);
        ended += e.is_last;
        bytes += e.n;
    }
    assert_int_equal(bytes, 120 * 8192);
    assert_int_equal(vs_client_next(c, 10, &e, &err), VS_E_TIMEOUT);
    json_decref(none);
    vs_client_close(c);
    stop(&d);
    for (int i = 1; i < 3; i++)         /* all but what a quarter of the window may hold back */
        assert_true(granted[i] <= 60 * 8192 && granted[i] + VS_CREDIT_START / 4 >= 60 * 8192);
}

static void play_hang_up(struct vs_conn *c)
{
    struct vs_frame f;
    if (!hear(c, &f))
        return;
    say_end(c, VS_MSG_COMPLETE, f.id, "{}", "{}");
    say_end(c, VS_MSG_ERROR, 0, "{\"error\":{\"name\":\"LIMIT\",\"code\":-3,\"message\":\"too much\"}}", "");
}

static void test_reason_is_remembered(void **state)
{
    (void)state;
    struct daemon d;
    struct vs_client *c;
    struct vs_error err;
    struct vs_event e;
    start(&d, good, play_hang_up);
    assert_int_equal(vs_client_connect(path, "test", NULL, &c, &err), VS_OK);
    json_t *none = json_object();
    assert_int_equal(vs_client_request(c, VS_MSG_LIST, none, NULL, NULL, &err), VS_OK);
    stop(&d);
    /* the socket is dead; what it says is not */
    assert_int_equal(vs_client_request(c, VS_MSG_LIST, none, NULL, NULL, &err), VS_OK);
    assert_int_equal(vs_client_next(c, 1000, &e, &err), VS_OK);
    assert_true(e.is_last && e.request == 1 && e.kind == VS_MSG_COMPLETE);
    assert_int_equal(vs_client_next(c, 1000, &e, &err), VS_E_LIMIT);
    assert_string_equal(err.text, "too much");
    assert_int_equal(vs_client_request(c, VS_MSG_LIST, none, NULL, NULL, &err), VS_E_LIMIT);
    assert_int_equal(vs_client_next(c, 1000, &e, &err), VS_E_LIMIT);
    assert_int_equal(vs_client_cancel(c, 1, &err), VS_E_LIMIT);
    assert_string_equal(err.text, "too much");
    assert_int_equal(vs_client_fd(c), -1);
    json_decref(none);
    vs_client_close(c);
}

/* Streams more than the socket holds before it reads a single request, and then reads them all. */
static void play_late(struct vs_conn *c)
{
    static char block[8193];
    struct vs_frame f;
    memset(block, 'd', 8192);
    if (!hear(c, &f))
        return;
    for (int i = 0; i < 200; i++)
        say(c, VS_MSG_DATA, 1, block);
    say_end(c, VS_MSG_COMPLETE, 1, "{}", "{}");
    for (granted[1] = granted[2] = 0; hear(c, &f); )
        if (f.type == VS_MSG_TOKENIZE)
            say_end(c, VS_MSG_COMPLETE, f.id, "{}", "{}");
        else if (f.type == VS_MSG_CREDIT && f.id < 3)
            granted[f.id] += vs_load_u32le(f.data);
}

/* Neither side reads until the other does: sending must not wait. What is kept is not credited. */
static void test_sending_never_waits(void **state)
{
    (void)state;
    struct daemon d;
    struct vs_client *c;
    struct vs_error err;
    struct vs_event e;
    uint64_t id;
    start(&d, good, play_late);
    assert_int_equal(vs_client_connect(path, "test", NULL, &c, &err), VS_OK);
    json_t *none = json_object(), *large = json_object();
    char *text = malloc(4 << 20);
    memset(text, 't', 4 << 20);
    json_object_set_new(large, "text", json_stringn(text, 4 << 20));
    free(text);
    assert_int_equal(vs_client_request(c, VS_MSG_LOGITS, none, NULL, &id, &err), VS_OK);
    for (uint64_t i = 2; i < 5; i++)
        assert_int_equal(vs_client_request(c, VS_MSG_TOKENIZE, large, NULL, &id, &err), VS_OK);
    assert_true(vs_client_wants_write(c));
    int ended = 0;
    for (uint32_t kept = 0; ended < 4; ended += e.is_last) {
        assert_int_equal(vs_client_next(c, 5000, &e, &err), VS_OK);
        kept += e.credit_bytes;
        vs_client_keep(c);
        if (kept == 100 * 8192) {       /* consumed late, in two portions */
            vs_client_consume(c, 1, kept);
            kept = 0;
        }
    }
    assert_false(vs_client_wants_write(c));
    json_decref(large);
    json_decref(none);
    vs_client_close(c);
    stop(&d);
    assert_int_equal(granted[1], 2 * 100 * 8192);
}

/* A socket that is there already. What was read but not asked for shows, so that a poll loop need not wait for it. */
static void test_adopted_socket(void **state)
{
    (void)state;
    int pair[2];
    struct vs_client *c = NULL;
    struct vs_error err;
    struct vs_event e;
    struct vs_conn peer;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    close(pair[1]);
    assert_int_equal(vs_client_adopt(pair[0], "test", NULL, &c, &err), VS_E_DIED);
    assert_null(c);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    vs_conn_init(&peer, pair[1], &vs_ipc_from_client, VS_AT_START);
    say(&peer, VS_MSG_HELLO, 0, good);
    assert_int_equal(vs_client_adopt(pair[0], "test", NULL, &c, &err), VS_OK);
    json_t *none = json_object();
    assert_int_equal(vs_client_request(c, VS_MSG_LOGITS, none, NULL, NULL, &err), VS_OK);
    json_decref(none);
    assert_false(vs_client_has_more(c));
    say(&peer, VS_MSG_DATA, 1, "one");
    say(&peer, VS_MSG_DATA, 1, "two");
    assert_int_equal(vs_client_next(c, 0, &e, &err), VS_OK);
    assert_true(vs_client_has_more(c));
    assert_int_equal(vs_client_next(c, 0, &e, &err), VS_OK);
    assert_memory_equal(e.text, "two", 3);
    assert_false(vs_client_has_more(c));
    assert_int_equal(vs_client_next(c, 0, &e, &err), VS_E_TIMEOUT);
    vs_client_close(c);
    vs_conn_clear(&peer);
}

static char heard[200];                 /* the payload of the last request */
static uint32_t n_heard;

static void play_results(struct vs_conn *c)
{
    struct vs_frame f;
    for (int i = 0; i < 3 && hear(c, &f); i++) {
        n_heard = f.n;
        memcpy(heard, f.data, f.n);
        if (i == 0)
            say_end(c, VS_MSG_COMPLETE, f.id,
                    "{\"finish_reason\":\"stop\",\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2,\"cached_tokens\":0}}",
                    "{\"big\":99999999999999999999,\"huge\":1e999}");
        else
            say_end(c, VS_MSG_COMPLETE, f.id, "{}", i == 1 ? "{\"half\":" : "{\"last\":1}");
    }
    hear(c, &f);
}

/* A request is split into envelope and body, a result is put together; a body that is no JSON fails its request alone. */
static void test_envelopes(void **state)
{
    (void)state;
    struct daemon d;
    struct vs_client *c;
    struct vs_error err;
    start(&d, good, play_results);
    assert_int_equal(vs_client_connect(path, "test", NULL, &c, &err), VS_OK);
    json_t *request = json_pack("{s:s, s:s, s:i, s:i}", "prompt", "p", "model", "m", "deadline_ms", 9, "force", 1), *result = NULL;
    assert_int_equal(vs_client_call(c, VS_MSG_GENERATE, request, NULL, &result, &err), VS_OK);
    static const char payload[] = "\35\0\0\0{\"model\":\"m\",\"deadline_ms\":9}{\"prompt\":\"p\",\"force\":1}";
    assert_int_equal(n_heard, sizeof payload - 1);
    assert_memory_equal(heard, payload, n_heard);
    assert_string_equal(json_string_value(json_object_get(result, "finish_reason")), "stop");
    assert_int_equal(json_integer_value(json_object_get(json_object_get(result, "usage"), "completion_tokens")), 2);
    assert_true(json_is_real(json_object_get(result, "big")) && json_is_real(json_object_get(result, "huge")));
    json_decref(result);
    assert_int_equal(vs_client_call(c, VS_MSG_GENERATE, request, NULL, &result, &err), VS_E_MALFORMED);
    assert_int_equal(vs_client_call(c, VS_MSG_GENERATE, request, NULL, &result, &err), VS_OK);
    json_decref(result);
    json_decref(request);
    vs_client_close(c);
    stop(&d);
}

static void play_old(struct vs_conn *c)
{
    say(c, VS_MSG_ERROR, 0, "{\"error\":\"PROTOCOL\",\"code\":-14,\"message\":\"protocol 2 is not spoken here; protocol 1 is\"}");
}

static void test_old_daemon(void **state)
{
    (void)state;
    struct daemon d;
    struct vs_client *c = NULL;
    struct vs_error err;
    start(&d, "", play_old);
    assert_int_equal(vs_client_connect(path, "test", NULL, &c, &err), VS_E_PROTOCOL);
    assert_string_equal(err.text, "protocol 2 is not spoken here; protocol 1 is");
    stop(&d);
}

int main(void)
{
    vs_json_setup(0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hello),
        cmocka_unit_test(test_credit_comes_back),
        cmocka_unit_test(test_reason_is_remembered),
        cmocka_unit_test(test_sending_never_waits),
        cmocka_unit_test(test_adopted_socket),
        cmocka_unit_test(test_envelopes),
        cmocka_unit_test(test_old_daemon),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
