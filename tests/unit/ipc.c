/* rooms: ipc base */
#include "base/bytes.h"
#include "../support/asking.h"
#include "ipc/envelope.h"
#include "ipc/frame.h"
#include "ipc/json.h"
#include "ipc/keys.h"

#include <fcntl.h>
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static const char nothing[] = "\2\0\0\0{}";        /* an envelope that says nothing, and no body */

struct link {
    struct vs_conn a, b;                /* a speaks as a client, b hears as a broker */
};

static unsigned state_of(const void *context, uint64_t id)
{
    (void)context;
    return id == 9 ? VS_AT_BEGUN : VS_AT_FREE;
}

static void link_init(struct link *l, unsigned state)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    vs_conn_init(&l->a, pair[0], &vs_ipc_to_client, VS_AT_OPEN);
    vs_conn_init(&l->b, pair[1], &vs_ipc_from_client, state);
}

static void link_clear(struct link *l)
{
    vs_conn_clear(&l->a);
    vs_conn_clear(&l->b);
}

/* Raw bytes in, the verdict out. */
static int judge_id(uint64_t id, unsigned state, uint32_t n, uint16_t type, uint16_t flags, size_t payload, struct vs_error *err)
{
    struct link l;
    link_init(&l, state);
    l.b.state_of = state_of;
    uint8_t h[VS_FRAME_HEADER];
    vs_frame_header(h, type, flags, id, n);
    assert_int_equal(write(l.a.fd, h, sizeof h), sizeof h);
    for (size_t i = 0; i < payload; i++)
        assert_int_equal(write(l.a.fd, "x", 1), 1);
    int status = vs_conn_read(&l.b);
    struct vs_frame f;
    while (status == VS_OK)
        status = vs_conn_next(&l.b, &f, err) == VS_OK ? 1 : vs_conn_read(&l.b);
    if (status == VS_E_BUSY)
        status = vs_conn_next(&l.b, &f, err);
    link_clear(&l);
    return status;
}

static int judge(unsigned state, uint32_t n, uint16_t type, uint16_t flags, size_t payload, struct vs_error *err)
{
    return judge_id(7, state, n, type, flags, payload, err);
}

static void test_states_are_of_requests(void **state)
{
    (void)state;
    struct vs_error err;
    assert_int_equal(judge_id(9, VS_AT_OPEN, 6, VS_MSG_GENERATE, 0, 6, &err), VS_E_PROTOCOL);
    assert_non_null(strstr(err.text, "in use"));
    assert_int_equal(judge_id(0, VS_AT_OPEN, 6, VS_MSG_GENERATE, 0, 6, &err), VS_E_PROTOCOL);
    assert_non_null(strstr(err.text, "reserved"));
    for (uint64_t id = 7; id <= 9; id += 2)     /* ended or not: it may be too late */
        assert_int_equal(judge_id(id, VS_AT_OPEN, 4, VS_MSG_CREDIT, 0, 4, &err), 1);
    assert_int_equal(judge_id(0, VS_AT_OPEN, 4, VS_MSG_CREDIT, 0, 4, &err), VS_E_PROTOCOL);
    assert_int_equal(judge_id(0, VS_AT_START, 2, VS_MSG_HELLO, 0, 2, &err), 1);
    assert_int_equal(judge_id(7, VS_AT_START, 2, VS_MSG_HELLO, 0, 2, &err), VS_E_PROTOCOL);
}

static void test_every_row_has_a_handler(void **state)
{
    (void)state;
    struct { uint16_t type; void *take; } all[64], *some;
    const struct vs_ipc_table *tables[] = { &vs_ipc_from_client, &vs_ipc_to_client, &vs_ipc_to_worker, &vs_ipc_from_worker,
                                           &vs_ipc_to_guard, &vs_ipc_from_guard,
                                           &vs_ipc_to_supervisor, &vs_ipc_from_supervisor };
    for (size_t t = 0; t < 4; t++) {
        size_t n = tables[t]->n_rules;
        for (size_t i = 0; i < n; i++) {
            all[i].type = tables[t]->rules[i].type;
            for (size_t k = 0; k < i; k++)
                assert_int_not_equal(all[k].type, all[i].type);
        }
        some = all;
        assert_int_equal(vs_ipc_unhandled(tables[t], all, n, sizeof *all), 0);
        assert_int_equal(vs_ipc_unhandled(tables[t], some + 1, n - 1, sizeof *all), all[0].type);
        all[n].type = 0x7777;           /* a handler nobody can reach */
        assert_int_equal(vs_ipc_unhandled(tables[t], all, n + 1, sizeof *all), 0x7777);
        assert_int_equal(vs_ipc_handler(all, n, sizeof *all, all[n - 1].type), n - 1);
        assert_int_equal(vs_ipc_handler(all, n, sizeof *all, 0x7777), n);
    }
}

static void test_table_is_closed(void **state)
{
    (void)state;
    struct vs_error err;
    assert_int_equal(judge(VS_AT_OPEN, 6, VS_MSG_GENERATE, 0, 6, &err), 1);
    assert_int_equal(judge(VS_AT_OPEN, 6, VS_MSG_GENERATE, 0, 5, &err), VS_E_BUSY);
    assert_int_equal(judge(VS_AT_START, 6, VS_MSG_GENERATE, 0, 0, &err), VS_E_PROTOCOL);
    assert_int_equal(judge(VS_AT_OPEN, 2, VS_MSG_HELLO, 0, 0, &err), VS_E_PROTOCOL);
    assert_int_equal(judge(VS_AT_OPEN, 2, VS_MSG_TOKEN, 0, 0, &err), VS_E_PROTOCOL);
    assert_int_equal(judge(VS_AT_OPEN, 2, 0x7777, 0, 0, &err), VS_E_PROTOCOL);
    assert_int_equal(judge(VS_AT_OPEN, 5, VS_MSG_GENERATE, 0, 5, &err), VS_E_PROTOCOL);
    assert_string_equal(err.text, "message 'generate' of 5 bytes is too short; at least 6");
    assert_int_equal(judge(VS_AT_OPEN, 1, VS_MSG_GENERATE, 0, 1, &err), VS_E_PROTOCOL);
    assert_string_equal(err.text, "message 'generate' of 1 byte is too short; at least 6");
    assert_int_equal(judge(VS_AT_OPEN, 6, VS_MSG_GENERATE, VS_FLAG_FD, 6, &err), VS_E_PROTOCOL);
    assert_int_equal(judge(VS_AT_OPEN, 6, VS_MSG_LOAD, VS_FLAG_FD, 6, &err), VS_E_PROTOCOL);
    /* judged by the header alone, before anything is allocated */
    assert_int_equal(judge(VS_AT_OPEN, UINT32_MAX, VS_MSG_GENERATE, 0, 0, &err), VS_E_LIMIT);
    assert_int_equal(judge(VS_AT_OPEN, VS_MAX_FRAME + 1, VS_MSG_CHAT, 0, 0, &err), VS_E_LIMIT);
    assert_int_equal(judge(VS_AT_OPEN, 5, VS_MSG_CREDIT, 0, 0, &err), VS_E_LIMIT);
    assert_non_null(strstr(err.text, "credit"));
}

static void test_large_frames_cross_in_pieces(void **state)
{
    (void)state;
    struct link l;
    link_init(&l, VS_AT_OPEN);
    size_t n = VS_MAX_REQUEST;
    char *big = malloc(n);
    for (size_t i = 0; i < n; i++)
        big[i] = (char)(i * 7 + i / 251);
    assert_int_equal(vs_conn_send(&l.a, VS_MSG_CHAT, 0, 1, big, n, -1), VS_OK);
    assert_int_equal(vs_conn_send(&l.a, VS_MSG_CANCEL, 0, 1, NULL, 0, -1), VS_OK);
    assert_true(vs_conn_queued(&l.a) > 0);
    struct vs_frame f;
    int status;
    while ((status = vs_conn_next(&l.b, &f, NULL)) == VS_E_BUSY) {
        int flushed = vs_conn_flush(&l.a);
        assert_true(flushed == VS_OK || flushed == VS_E_BUSY);
        assert_int_equal(vs_conn_read(&l.b), VS_OK);
    }
    assert_int_equal(status, VS_OK);
    assert_int_equal(f.n, n);
    assert_memory_equal(f.data, big, n);
    assert_int_equal(vs_conn_flush(&l.a), VS_OK);
    while ((status = vs_conn_next(&l.b, &f, NULL)) == VS_E_BUSY)
        assert_int_equal(vs_conn_read(&l.b), VS_OK);
    assert_int_equal(f.type, VS_MSG_CANCEL);
    assert_int_equal(vs_conn_read(&l.b), VS_E_BUSY);
    assert_true(l.b.in.cap < VS_MAX_REQUEST);       /* memory is given back */
    free(big);
    link_clear(&l);
}

static void test_descriptor_finds_its_frame(void **state)
{
    (void)state;
    struct link l;
    link_init(&l, VS_AT_OPEN);
    int fd = open("/dev/null", O_RDONLY);
    size_t n = 1 << 20;                 /* more than the socket takes: the descriptor waits in the queue */
    char *big = calloc(1, n);
    assert_int_equal(vs_conn_send(&l.a, VS_MSG_CHAT, 0, 1, big, n, -1), VS_OK);
    assert_int_equal(vs_conn_send(&l.a, VS_MSG_LOAD, VS_FLAG_FD, 2, nothing, 6, fd), VS_OK);
    assert_int_equal(vs_conn_send(&l.a, VS_MSG_LOAD, VS_FLAG_FD, 3, nothing, 6, fd), VS_E_BUSY);
    assert_int_equal(vs_conn_send(&l.a, VS_MSG_LIST, 0, 4, nothing, 6, -1), VS_OK);
    close(fd);
    unsigned seen = 0;
    while (seen != (1 << 1 | 1 << 2 | 1 << 4)) {
        vs_conn_flush(&l.a);
        assert_int_equal(vs_conn_read(&l.b), VS_OK);
        struct vs_frame f;
        int status;
        while ((status = vs_conn_next(&l.b, &f, NULL)) == VS_OK) {
            seen |= 1u << f.id;
            assert_int_equal(f.fd >= 0, f.type == VS_MSG_LOAD);
            if (f.fd >= 0) {
                struct stat s;
                assert_int_equal(fstat(f.fd, &s), 0);
                assert_true(S_ISCHR(s.st_mode));
                close(f.fd);
            }
        }
        assert_int_equal(status, VS_E_BUSY);
    }
    free(big);
    link_clear(&l);
}

static void test_several_descriptors_find_their_frame(void **state)
{
    (void)state;
    struct link l;
    struct vs_frame f;
    struct vs_error err;
    struct vs_files files = { 0 };
    link_init(&l, VS_AT_OPEN);
    for (unsigned i = 0; i < VS_MAX_FILES; i++)
        files.fd[files.n++] = open("/dev/null", O_RDONLY);
    for (unsigned n = 1; n <= VS_MAX_FILES; n += VS_MAX_FILES / 3) {
        files.n = n;
        assert_int_equal(vs_conn_send_files(&l.a, VS_MSG_LOAD, 2, nothing, 6, &files), VS_OK);
        assert_int_equal(vs_conn_read(&l.b), VS_OK);
        assert_int_equal(vs_conn_next(&l.b, &f, &err), VS_OK);
        assert_int_equal(l.b.more.n, n - 1);
        int last = n > 1 ? l.b.more.fd[n - 2] : f.fd;
        assert_true(fcntl(last, F_GETFD) >= 0);
        close(f.fd);
        assert_int_equal(vs_conn_next(&l.b, &f, &err), VS_E_BUSY);
        assert_int_equal(l.b.more.n, 0);
        assert_true(n == 1 || fcntl(last, F_GETFD) < 0);        /* what nobody took is closed */
    }
    /* more than the frame tells of */
    files.n = 2;
    uint8_t header[VS_FRAME_HEADER];
    vs_frame_header(header, VS_MSG_LOAD, VS_FLAG_FD, 3, 6);
    assert_int_equal(vs_conn_send_files(&l.a, VS_MSG_LOAD, 3, nothing, 6, &files), VS_OK);
    assert_int_equal(vs_conn_read(&l.b), VS_OK);
    memcpy(l.b.in.data + l.b.in_done, header, sizeof header);
    assert_int_equal(vs_conn_next(&l.b, &f, &err), VS_E_PROTOCOL);
    files.n = VS_MAX_FILES;
    vs_files_close(&files);
    link_clear(&l);
}

static void test_unasked_descriptors_are_refused(void **state)
{
    (void)state;
    struct link l;
    link_init(&l, VS_AT_OPEN);
    int fd = open("/dev/null", O_RDONLY);
    vs_conn_send(&l.a, VS_MSG_LIST, 0, 2, nothing, 6, fd);
    assert_int_equal(vs_conn_read(&l.b), VS_OK);
    struct vs_frame f;
    struct vs_error err;
    assert_int_equal(vs_conn_next(&l.b, &f, &err), VS_E_PROTOCOL);
    assert_int_equal(vs_conn_send(&l.a, VS_MSG_LIST, 0, 2, nothing, 6, fd), VS_OK);
    assert_int_equal(vs_conn_read(&l.b), VS_E_PROTOCOL);        /* a second one, while the first waits */
    close(fd);
    link_clear(&l);
}

static void test_end_is_seen(void **state)
{
    (void)state;
    struct link l;
    link_init(&l, VS_AT_OPEN);
    vs_conn_send(&l.a, VS_MSG_LIST, 0, 2, nothing, 6, -1);
    vs_conn_clear(&l.a);
    assert_int_equal(vs_conn_read(&l.b), VS_OK);
    struct vs_frame f;
    assert_int_equal(vs_conn_next(&l.b, &f, NULL), VS_OK);
    assert_int_equal(vs_conn_read(&l.b), VS_E_DIED);
    assert_int_equal(vs_conn_send(&l.b, VS_MSG_COMPLETE, 0, 2, nothing, 6, -1), VS_E_DIED);
    link_clear(&l);
}

/* Who has an own part keeps it; what is beyond comes from all. */
static void test_budget(void **state)
{
    (void)state;
    struct vs_budget all = { .limit = 100 }, a = { .limit = 80, .own = 10, .above = &all },
                     b = { .limit = 200, .own = 10, .above = &all };
    assert_true(vs_budget_take(&a, 60));
    assert_int_equal(all.used, 50);
    assert_false(vs_budget_take(&a, 21));
    assert_false(vs_budget_take(&b, 61));
    assert_int_equal(b.used, 0);
    assert_true(vs_budget_take(&b, 60));
    assert_int_equal(all.used, 100);
    assert_false(vs_budget_take(&b, 1));
    vs_budget_give(&a, 55);
    assert_int_equal(a.used, 5);
    assert_int_equal(all.used, 50);
    assert_true(vs_budget_take(&a, 5));         /* its own part needs nobody */
    vs_budget_give(&b, 60);
    vs_budget_give(&a, 10);
    assert_int_equal(all.used + a.used + b.used, 0);
}

/* A frame for which there is no room is told by its header, thrown away as it comes, and the next one is whole. */
static void test_refused_frames(void **state)
{
    (void)state;
    struct link l;
    struct vs_budget room = { .limit = 300000 };
    link_init(&l, VS_AT_OPEN);
    l.b.budget = &room;
    size_t n = 1 << 20;
    char *big = calloc(1, n);
    assert_int_equal(vs_conn_send(&l.a, VS_MSG_CHAT, 0, 1, big, n, -1), VS_OK);
    assert_int_equal(vs_conn_send(&l.a, VS_MSG_CHAT, 0, 2, big, 200000, -1), VS_OK);
    assert_int_equal(vs_conn_send(&l.a, VS_MSG_LIST, 0, 3, nothing, 6, -1), VS_OK);
    uint64_t seen = 0;
    while (seen < 3) {
        struct vs_frame f;
        int status;
        while ((status = vs_conn_next(&l.b, &f, NULL)) == VS_OK) {
            assert_int_equal(f.id, ++seen);
            assert_int_equal(f.is_refused, f.id == 1);
            assert_int_equal(f.n, f.id == 1 ? 0 : f.id == 2 ? 200000 : 6);
        }
        assert_int_equal(status, VS_E_BUSY);
        assert_true(room.used <= room.limit && room.used == l.b.in.cap + l.b.out.cap);
        vs_conn_flush(&l.a);
        status = vs_conn_read(&l.b);
        assert_true(status == VS_OK || status == VS_E_BUSY);
    }
    assert_int_equal(vs_conn_send(&l.b, VS_MSG_COMPLETE, 0, 1, big, n, -1), VS_E_LIMIT);
    free(big);
    link_clear(&l);
    assert_int_equal(room.used, 0);
}

/* As the broker and the guard write them; 1: read without JSON values. */
static void test_own_heads(void)
{
#define SALT "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define TRACE "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"
    static const struct { const char *text; int is_own; } heads[] = {
        { "{\"priority\":\"low\"}", 1 }, { "{\"priority\":\"lower\"}", -1 }, { "{\"priority\":\"normal\",\"owner\":0}", 1 },
        { "{\"priority\":\"high\",\"owner\":9223372036854775807,\"client\":2,\"arrived_at\":3,\"deadline_at\":4,\"sent\":5,"
          "\"credit\":6,\"resumes\":7,\"receipt\":2,\"salt\":\"" SALT "\",\"keep\":true,\"trace\":\"" TRACE "\"}", 1 },
        { "{\"priority\":\"high\",\"owner\":9223372036854775808}", -1 }, { "{\"priority\":\"high\",\"owner\":01}", -1 },
        { "{\"priority\":\"high\",\"sent\":4294967296}", -1 }, { "{\"priority\":\"high\",\"sent\":4294967295}", 1 },
        { "{\"priority\":\"high\",\"client\":2,\"owner\":1}", 0 }, { "{\"priority\":\"high\",\"receipt\":true}", 0 },
        { "{\"priority\":\"high\",\"receipt\":3}", -1 }, { "{\"priority\":\"high\",\"keep\":false}", 0 },
        { "{\"priority\":\"high\",\"salt\":\"" SALT "0\"}", -1 }, { "{\"priority\":\"high\",\"salt\":\"\"}", -1 },
        { "{\"priority\":\"high\",\"trace\":\"" TRACE "1\"}", -1 }, { "{\"priority\":\"high\"", -1 },
        { "{\"priority\":\"high\"}}", -1 }, { "{\"priority\":\"high\",\"sent\":1,\"sent\":1}", -1 },
        { "{\"priority\":\"high\",\"sent\":}", -1 }, { "{\"priority\":\"high\",}", -1 }, { "{\"priority\"", -1 }, { "", -1 },
        { "{\"priority\":\"h\\u0069gh\"}", 0 }, { "{\"priority\":\"high\",\"sent\":1.0}", -1 },
    };
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        struct vs_head h;
        struct vs_error err;
        struct vs_buf out = { 0 };
        int status = vs_head_parse(heads[i].text, strlen(heads[i].text), VS_KEYS_WORKER, &h, &err);
        if ((status == VS_OK) != (heads[i].is_own >= 0))
            fail_msg("%s: %s", heads[i].text, status ? err.text : "accepted");
        if (status != VS_OK)
            continue;
        assert_int_equal(!h.json, heads[i].is_own);
        vs_head_dump(&h, &out);
        if (heads[i].is_own)
            assert_string_equal(out.data, heads[i].text);
        vs_buf_clear(&out);
        vs_head_clear(&h);
    }
}

/* As they are written here, or almost: read to the same, or refused, as behind a blank, which only the general way takes. */
static void test_own_outcomes(void)
{
#define COUNTS "\"prompt_tokens\":1,\"completion_tokens\":2"
#define USAGE(last) "\"usage\":{" COUNTS ",\"cached_tokens\":0,\"drafted_tokens\":0,\"accepted_tokens\":0," \
                    "\"recomputed_tokens\":0,\"resumed\":" last "}"
    static const struct { const char *text; bool is_well; } outcomes[] = {
        { "{}", true }, { "{\"finish_reason\":\"stop\"," USAGE("3") ",\"model_digest\":\"" SALT "\",\"salt\":\"" SALT "\"}", true },
        { "{" USAGE("9223372036854775807") "}", true }, { "{" USAGE("9223372036854775808") "}", false },
        { "{" USAGE("18446744073709551617") "}", false }, { "{" USAGE("00") "}", false }, { "{" USAGE("-0") "}", true },
        { "{" USAGE("-1") "}", false }, { "{" USAGE("1e0") "}", false }, { "{" USAGE("") "}", false },
        { "{" USAGE("0") "," USAGE("0") "}", false }, { "{\"usage\":{" COUNTS "}}", false },
        { "{\"usage\":{" COUNTS ",\"cached_tokens\":0}}", true }, { "{\"usage\":{" COUNTS ",\"cached_tokens\":0,\"x\":1}}", false },
        { "{\"finish_reason\":\"\"}", false }, { "{\"finish_reason\":\"st\\u006fp\"}", true },
        { "{\"finish_reason\":\"Stop\"}", false }, { "{\"finish_reason\":\"st\xffp\"}", false },
        { "{\"finish_reason\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}", true },
        { "{\"finish_reason\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}", false },
        { "{\"salt\":\"" SALT "\",\"model_digest\":\"" SALT "\"}", true },
        { "{\"salt\":\"" SALT "\",\"salt\":\"" SALT "\"}", false },
        { "{\"salt\":\"" SALT "0\"}", false }, { "{\"salt\":\"\"}", false }, { "{\"model_digest\":null}", true },
        { "{\"finish_reason\":\"stop\"", false }, { "{\"finish_reason\":\"stop\"}}", false },
        { "{\"finish_reason\":\"stop\",}", false },
        { "{,}", false }, { "{", false }, { "", false }, { "[]", false },
    };
    for (size_t i = 0; i < sizeof outcomes / sizeof *outcomes; i++) {
        static const struct vs_outcome untouched = { .finish_reason = "untouched" };
        struct vs_outcome own = untouched, general = untouched;
        struct vs_error err;
        char text[1024];
        int n = snprintf(text, sizeof text, " %s", outcomes[i].text);
        bool is_well = vs_outcome_parse(text + 1, (size_t)n - 1, &own, &err) == VS_OK;
        if (is_well != outcomes[i].is_well || (vs_outcome_parse(text, (size_t)n, &general, &err) == VS_OK) != is_well)
            fail_msg("%s: %s", outcomes[i].text, is_well ? "accepted" : err.text);
        assert_memory_equal(&own, is_well ? &general : &untouched, sizeof own);
    }
}

static void test_envelopes(void **state)
{
    (void)state;
    struct vs_payload p;
    struct vs_error err;
    assert_int_equal(vs_payload_split("\2\0\0\0{}{\"a\":1}", 13, 10, &p, &err), VS_OK);
    assert_int_equal(p.envelope_bytes, 2);
    assert_int_equal(p.body_bytes, 7);
    assert_int_equal(vs_payload_split("\2\0\0", 3, 10, &p, &err), VS_E_PROTOCOL);
    assert_int_equal(vs_payload_split("\3\0\0\0{}", 6, 10, &p, &err), VS_E_PROTOCOL);
    assert_int_equal(vs_payload_split("\377\377\377\377{}", 6, 10, &p, &err), VS_E_PROTOCOL);
    assert_int_equal(vs_payload_split("\2\0\0\0{}", 6, 1, &p, &err), VS_E_PROTOCOL);

    static const struct { const char *text; unsigned keys; int status; } heads[] = {
        { "{}", VS_KEYS_ALL, VS_OK }, { "{}", VS_KEYS_MODEL, VS_E_INVALID }, { "[]", VS_KEYS_ALL, VS_E_MALFORMED },
        { "{\"model\":\"m\",\"deadline_ms\":5,\"trace\":\"00-0123456789abcdef0123456789abcdef-0123456789abcdef-01\"}",
          VS_KEYS_MODEL, VS_OK },
        { "{\"model\":\"m\"}", VS_KEYS_ALL, VS_E_INVALID }, { "{\"model\":\"m\",\"x\":1}", VS_KEYS_MODEL, VS_E_INVALID },
        { "{\"model\":\"\"}", VS_KEYS_MODEL, VS_E_INVALID }, { "{\"model\":\"a\\u0000b\"}", VS_KEYS_MODEL, VS_E_INVALID },
        { "{\"model\":3}", VS_KEYS_MODEL, VS_E_INVALID }, { "{\"deadline_ms\":0}", VS_KEYS_ALL, VS_E_INVALID },
        { "{\"deadline_ms\":1e400}", VS_KEYS_ALL, VS_E_INVALID },
        { "{\"deadline_ms\":18446744073709551616}", VS_KEYS_ALL, VS_E_INVALID },
        { "{\"\\u0000\":1}", VS_KEYS_ALL, VS_E_INVALID }, { "{\"trace\":\"00-x\"}", VS_KEYS_ALL, VS_E_INVALID },
        { "{\"owner\":5}", VS_KEYS_WORKER, VS_OK }, { "{\"owner\":5}", VS_KEYS_ALL, VS_E_INVALID },
        { "{\"owner\":-1}", VS_KEYS_WORKER, VS_E_INVALID },
        { "{\"priority\":\"low\",\"client\":2,\"deadline_at\":3,\"arrived_at\":4,\"sent\":5}", VS_KEYS_WORKER, VS_OK },
        { "{\"model\":\"m\",\"priority\":\"high\"}", VS_KEYS_ANSWER, VS_OK },
        { "{\"model\":\"m\",\"priority\":\"high\"}", VS_KEYS_MODEL, VS_E_INVALID },
        { "{\"model\":\"m\",\"priority\":\"urgent\"}", VS_KEYS_ANSWER, VS_E_INVALID },
        { "{\"sent\":-1}", VS_KEYS_WORKER, VS_E_INVALID }, { "{\"sent\":1}", VS_KEYS_ANSWER | VS_KEY_FORCE, VS_E_INVALID },
        { "{\"model\":\"m\",\"force\":1}", VS_KEYS_MODEL | VS_KEY_FORCE, VS_E_INVALID },
        { "{\"model\":\"m\",\"settings\":[]}", VS_KEYS_MODEL | VS_KEY_SETTINGS, VS_E_INVALID },
        { "{\"model\":\"m\",\"settings\":null,\"force\":null}", VS_KEYS_MODEL | VS_KEY_SETTINGS | VS_KEY_FORCE, VS_OK },
        { "{\"model\":\"m\",\"priority\":null,\"deadline_ms\":null,\"trace\":null,\"on_behalf_of\":null,\"key\":null,"
          "\"remote\":null,\"receipt\":null}", VS_KEYS_ANSWER | VS_KEY_RECEIPT, VS_OK },
        { "{\"model\":null}", VS_KEYS_MODEL, VS_E_INVALID }, { "{\"model\":\"m\",\"force\":null}", VS_KEYS_MODEL, VS_E_INVALID },
    };
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        struct vs_head h;
        int status = vs_head_parse(heads[i].text, strlen(heads[i].text), heads[i].keys, &h, &err);
        if (status != heads[i].status)
            fail_msg("%s: %s", heads[i].text, status ? err.text : "accepted");
        if (status == VS_OK)
            vs_head_clear(&h);
    }
    test_own_heads();
    test_own_outcomes();
    assert_true(vs_head_is_key("settings", VS_KEY_SETTINGS));
    assert_false(vs_head_is_key("settings", VS_KEYS_MODEL));

    struct vs_outcome o = { .has_usage = true, .usage = { 3, 4, 2, 6, 5, 7, 1 } }, again;
    struct vs_buf out = { 0 };
    memset(o.model_digest, 'a', 64);
    memcpy(o.finish_reason, "stop", 5);
    vs_outcome_dump(&o, &out);
    assert_int_equal(vs_outcome_parse(out.data, out.n, &again, &err), VS_OK);
    assert_memory_equal(&o, &again, sizeof o);
    vs_buf_char(&out, ' ');              /* not in our own spelling */
    assert_int_equal(vs_outcome_parse(out.data, out.n, &again, &err), VS_OK);
    assert_memory_equal(&o, &again, sizeof o);
    vs_buf_reset(&out);
    o = (struct vs_outcome){ 0 };
    vs_error_set(&o.error, VS_E_BUSY, "later");
    vs_outcome_dump(&o, &out);
    assert_string_equal(out.data, "{\"error\":{\"code\":-4,\"name\":\"BUSY\",\"message\":\"later\"}}");
    assert_int_equal(vs_outcome_parse(out.data, out.n, &again, &err), VS_OK);
    assert_int_equal(again.error.code, VS_E_BUSY);
    vs_buf_reset(&out);
    o.hints = (struct vs_outcome_hints){ .retry_after_ms = 250, .held = 7 };
    vs_outcome_dump(&o, &out);
    assert_int_equal(vs_outcome_parse(out.data, out.n, &again, &err), VS_OK);
    assert_memory_equal(&o.hints, &again.hints, sizeof o.hints);
    vs_buf_clear(&out);
    static const char *const wrong[] = {
        "{\"x\":1}", "{\"error\":{\"code\":-4,\"name\":\"NOMEM\",\"message\":\"\"}}", "{\"finish_reason\":\"<b>\"}",
        "{\"usage\":{\"prompt_tokens\":1}}",
        "{\"usage\":{\"prompt_tokens\":-1,\"completion_tokens\":1,\"cached_tokens\":1}}", "{\"model_digest\":\"AA\"}",
        "{\"model_digest\":5}", "no", "{\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1,\"cached_tokens\":1,\"x\":1}}",
        "{\"error\":{\"code\":-4,\"name\":\"BUSY\",\"message\":\"\",\"retry_after_ms\":-1}}",
        "{\"error\":{\"code\":-4,\"name\":\"BUSY\",\"message\":\"\",\"x\":1}}",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_not_equal(vs_outcome_parse(wrong[i], strlen(wrong[i]), &again, &err), VS_OK);
}

/* A value is one value, whatever its text pretends to close and to begin. */
static void test_json_value(void **state)
{
    static const char *const wrong[] = {
        "", " ", "1,\"v\":2", "1,\"w\":2", "{\"a\":1},\"v\":{}", "1,\"\\u0076\":2", "1e999,\"v\":2",
        "1}", "1} ", "1}{\"v\":2", "{\"a\":1,\"a\":2}",
        "{\"a\":1,\"\\u0061\":2}", "1 2", "1,", "null,\"v\":null",
    };
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_null(vs_json_value(wrong[i], strlen(wrong[i])));
    json_t *v = vs_json_value(" {\"v\":1} ", strlen(" {\"v\":1} "));
    assert_int_equal(json_integer_value(json_object_get(v, "v")), 1);
    json_decref(v);
    v = vs_json_value("1e999", 5);
    assert_true(json_is_real(v));
    json_decref(v);
}

/* All of JSON is read; what no value of ours can hold is held as well as it can be. */
static void test_json_beyond_our_values(void **state)
{
    (void)state;
    static const char text[] = "{ \"a\": 18446744073709551616, \"b\" : [1e400, -1e400, 1e-400, -9223372036854775808, "
                               "123456789012345678901234567890], "
                               "\"k\\u0000\\\\u0000\" : \"v\\u0000, \\\"99999999999999999999\\\": 1e999\" }";
    struct vs_error err;
    json_t *v = vs_json_parse(text, sizeof text - 1, &err), *list = json_object_get(v, "b");
    assert_non_null(v);
    assert_true(json_is_real(json_object_get(v, "a")));
    assert_true(json_real_value(json_object_get(v, "a")) == 18446744073709551616.0);
    assert_true(json_real_value(json_array_get(list, 0)) > 1e308 && json_real_value(json_array_get(list, 1)) < -1e308);
    assert_true(json_real_value(json_array_get(list, 2)) == 0);
    assert_true(json_integer_value(json_array_get(list, 3)) == INT64_MIN);
    assert_true(json_is_real(json_array_get(list, 4)));
    const json_t *s = json_object_get(v, "k\357\277\275\\u0000");
    assert_int_equal(json_string_length(s), strlen("vX, \"99999999999999999999\": 1e999"));
    json_decref(v);
    char many[5000] = "{\"n\":";
    memset(many + 5, '7', 4000);
    memcpy(many + 4005, "}", 2);
    v = vs_json_parse(many, 4006, &err);        /* four thousand digits are a number, too */
    assert_true(json_real_value(json_object_get(v, "n")) > 1e308);
    json_decref(v);
    static const char *const wrong[] = { "{\"a\":01, \"b\":1e400}", "{\"a\":1.2.3, \"b\":1e400}", "{\"a\":1e400", "{\"a\":1e400} x",
                                         "{\"\\u0000\":1e}" };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_null(vs_json_parse(wrong[i], strlen(wrong[i]), &err));
        assert_int_equal(err.code, VS_E_MALFORMED);
    }
    memset(many, '[', sizeof many);
    memcpy(many, "{\"a\":", 5);
    memset(many + 2505, ']', 2495);
    memcpy(many + 2505, "1", 1);
    many[4999] = '}';
    assert_null(vs_json_parse(many, 5000, &err));
    assert_int_equal(err.code, VS_E_LIMIT);
}

/* A text of n characters that need every way of being written. */
static json_t *odd_text(size_t n, unsigned seed)
{
    static const char *const pieces[] = { "a", "plain words, ", "\"", "\\", "/", "\n", "\t", "\b\f\r", "\x01\x1f", "\x7f",
                                          "\xc3\xa9", "\xe4\xbd\xa0", "\xf0\x9f\x98\x80", "{\":,[]}" };
    struct vs_buf text = { 0 };
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1103515245 + 12345;
        vs_buf_str(&text, pieces[(seed >> 16) % (sizeof pieces / sizeof *pieces)]);
        if (seed >> 28 == 0)
            vs_buf_add(&text, "", 1);            /* a NUL */
    }
    json_t *v = json_stringn(text.n ? text.data : "", text.n);
    vs_buf_clear(&text);
    return v;
}

/* Long strings are read and written by code of our own: as jansson does it. */
static void test_long_strings(void **state)
{
    (void)state;
    void *(*take)(size_t n);
    void (*give)(void *p);
    json_get_alloc_funcs(&take, &give);  /* they count */
    for (unsigned i = 0; i < 24; i++) {
        json_t *v = json_pack("{s:s, s:[s, o, {s:o, s:i}, o, []], s:{}, s:o, s:s}", "short", "x\"y", "list", "", odd_text(9000, i),
                              "in", odd_text(i % 3 ? 8000 : 3, i + 100), "n", 7, odd_text(i % 2 ? 9000 : 0, i + 200), "none",
                              "last \\\" \xc3\xa9", odd_text(12000, i + 300), "end", "{\"a\": 1}");
        char *want = json_dumps(v, JSON_COMPACT), *ascii = json_dumps(v, JSON_INDENT(2) | JSON_ENSURE_ASCII | JSON_ESCAPE_SLASH);
        struct vs_buf out = { 0 };
        struct vs_error err;
        vs_json_dump(v, &out);
        assert_int_equal(out.n, strlen(want));
        assert_memory_equal(out.data, want, out.n);
        for (int spelling = 0; spelling < 2; spelling++) {
            const char *text = spelling ? ascii : want;
            json_t *again = vs_json_parse(text, strlen(text), &err);
            assert_true(json_equal(v, again));
            json_decref(again);
            assert_null(vs_json_parse(text, strlen(text) - 1, &err));
        }
        vs_buf_clear(&out);
        give(want);
        give(ascii);
        json_decref(v);
    }
    static const char *const wrong[] = { "\\ud800", "\\udc00", "\\ud800\\u0041", "\\ud83dx", "\\x", "\n", "\x1f",
                                         "\xff", "\xc3", "\xed\xa0\x80", "\\u00g0", "\\" };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        for (int at_end = 0; at_end < 2; at_end++) {
            struct vs_buf text = { 0 };
            struct vs_error err;
            vs_buf_str(&text, "{\"a\": \"");
            for (size_t k = 0; k < 40000; k++) {
                vs_buf_char(&text, 'a');
                if (k == 30000 && !at_end)
                    vs_buf_str(&text, wrong[i]);
            }
            vs_buf_str(&text, at_end ? wrong[i] : "");
            vs_buf_str(&text, "\"}");
            json_t *v = vs_json_parse(text.data, text.n, &err);
            assert_null(v);
            assert_int_equal(err.code, VS_E_MALFORMED);
            vs_buf_clear(&text);
        }
}

static void test_token(void **state)
{
    (void)state;
    uint8_t p[32];
    vs_store_u32le(p, 42);
    vs_store_u32le(p + 4, 3);
    memcpy(p + 8, "abc{}", 5);
    struct vs_frame f = { VS_MSG_TOKEN, VS_FLAG_EXTRA, 1, 13, p, -1, false };
    struct vs_token_view t;
    assert_true(vs_token_parse(&f, &t));
    assert_int_equal(t.id, 42);
    assert_int_equal(t.text_bytes, 3);
    assert_int_equal(t.extra_bytes, 2);
    f.flags = 0;
    assert_false(vs_token_parse(&f, &t));
    f.n = 11;
    assert_true(vs_token_parse(&f, &t));
    assert_null(t.extra);
    f.n = 10;
    assert_false(vs_token_parse(&f, &t));
    vs_store_u32le(p + 4, UINT32_MAX);
    assert_false(vs_token_parse(&f, &t));
}

/* Of one of several answers a number comes first; what is kept of one says how many ids follow, and no more than there are. */
static void test_receipt_and_kept(void **state)
{
    (void)state;
    uint8_t p[40] = { 7 };
    struct vs_frame f = { VS_MSG_KEPT, VS_FLAG_INDEX, 1, 4 + 8 + 12 + 2, p, -1, false };
    struct vs_receipt_view v;
    struct vs_kept_view k;
    vs_store_u32le(p + 4, 1);
    vs_store_u32le(p + 8, 2);
    vs_store_u32le(p + 20, 99);
    memcpy(p + 24, "{}", 2);
    assert_true(vs_receipt_view(&f, &v));
    assert_true(v.has_index && v.index == 7 && v.n == 22);
    assert_true(vs_kept_view(v.text, v.n, &k));
    assert_int_equal(k.n_prompt, 1);
    assert_int_equal(k.n_tokens, 2);
    assert_int_equal(vs_load_u32le(k.ids + 8), 99);
    assert_memory_equal(k.opening, "{}", k.n);
    assert_false(vs_kept_view(v.text, 19, &k));         /* an id is cut */
    vs_store_u32le(p + 4, UINT32_MAX);
    vs_store_u32le(p + 8, UINT32_MAX);
    assert_false(vs_kept_view(v.text, v.n, &k));
    f.flags = 0;
    assert_true(vs_receipt_view(&f, &v));
    assert_true(!v.has_index && v.index == 0 && v.n == f.n);
    f.n = 0;
    assert_false(vs_receipt_view(&f, &v));
    f.flags = VS_FLAG_INDEX;
    f.n = 4;
    assert_false(vs_receipt_view(&f, &v));
}

/* Index and part come first, in this order, each only with its flag. */
static void test_token_part(void **state)
{
    (void)state;
    static const struct { uint16_t flags; uint32_t index, part, n; } cases[] = {
        { 0, 0, 0, 8 }, { VS_FLAG_INDEX, 9, 0, 12 }, { VS_FLAG_PART, 0, 9, 12 }, { VS_FLAG_INDEX | VS_FLAG_PART, 9, 5, 16 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t p[17] = { 9 };
        struct vs_token_view t;
        if (cases[i].n == 16)
            vs_store_u32le(p + 4, 5);
        vs_store_u32le(p + cases[i].n - 8, VS_NO_TOKEN);
        vs_store_u32le(p + cases[i].n - 4, 1);
        p[cases[i].n] = 'x';
        struct vs_frame f = { VS_MSG_TOKEN, cases[i].flags, 1, cases[i].n + 1, p, -1, false };
        assert_true(vs_token_parse(&f, &t));
        assert_true(t.index == cases[i].index && t.part == cases[i].part && t.id == VS_NO_TOKEN);
        assert_true(t.text_bytes == 1 && *t.text == 'x');
        for (f.n = 0; f.n <= cases[i].n; f.n++)
            assert_false(vs_token_parse(&f, &t));
    }
}

static void test_json(void **state)
{
    (void)state;
    struct vs_error err;
    assert_null(vs_json_parse("[1]", 3, &err));
    assert_int_equal(err.code, VS_E_MALFORMED);
    assert_null(vs_json_parse("{\"a\":1,\"a\":2}", 13, &err));
    assert_null(vs_json_parse("{\"a\":\"\xff\"}", 9, &err));
    json_t *v = vs_json_parse("{\"a\":\"x\\u0000y\"}", 16, &err);
    assert_int_equal(json_string_length(json_object_get(v, "a")), 3);
    struct vs_buf out = { 0 };
    vs_json_dump(v, &out);
    assert_string_equal(out.data, "{\"a\":\"x\\u0000y\"}");
    vs_buf_clear(&out);
    json_decref(v);

    v = vs_json_error(VS_E_BUSY, "later");
    vs_json_to_error(v, &err);
    assert_int_equal(err.code, VS_E_BUSY);
    assert_string_equal(err.text, "later");
    json_decref(v);
    v = vs_json_error(VS_E_BUSY, "\xff");
    assert_non_null(v);
    json_decref(v);
    vs_json_to_error(NULL, &err);
    assert_int_equal(err.code, VS_E_PROTOCOL);
}

static int stop_now(void *context)
{
    ++*(int *)context;
    return VS_E_CANCELLED;
}

static void test_json_can_be_stopped(void **state)
{
    (void)state;
    struct vs_buf text = { 0 }, out = { 0 };
    struct vs_error err;
    int asked = 0;
    struct vs_check stop = { .ask = stop_now, .context = &asked }, go = { 0 };
    vs_buf_str(&text, "{\"a\":[0");
    for (int i = 0; i < 60000; i++)
        vs_buf_str(&text, ",1");
    vs_buf_str(&text, "]}");
    assert_null(vs_json_read(text.data, text.n, &stop, &err));
    assert_int_equal(err.code, VS_E_CANCELLED);
    assert_int_equal(asked, 1);
    json_t *v = vs_json_read(text.data, text.n, &go, &err);
    assert_int_equal(json_array_size(json_object_get(v, "a")), 60001);
    stop.status = VS_OK;
    vs_json_write(v, &out, &stop);
    assert_int_equal(out.status, VS_E_CANCELLED);
    assert_true(out.n < 2 * VS_CHECK_UNITS);
    vs_buf_clear(&out);
    vs_json_write(v, &out, &go);
    assert_int_equal(out.n, text.n);
    assert_memory_equal(out.data, text.data, text.n);
    json_decref(v);
    vs_buf_clear(&out);
    vs_buf_clear(&text);
}

/* A list of many numbers and a long string at the bottom of a deep nest: it is walked once, not once a level. */
static void test_deep_and_wide(void **state)
{
    enum { DEPTH = 1500, WIDTH = 60000 };
    struct vs_buf text = { 0 }, out = { 0 };
    struct vs_error err;
    (void)state;
    vs_buf_str(&text, "{\"x\":");
    for (int i = 0; i < DEPTH; i++)
        vs_buf_char(&text, '[');
    for (int i = 0; i < WIDTH; i++)
        vs_buf_str(&text, "1,");
    vs_buf_char(&text, '"');
    memset(vs_buf_grow(&text, 40000), 'x', 40000);
    vs_buf_char(&text, '"');
    for (int i = 0; i < DEPTH; i++)
        vs_buf_char(&text, ']');
    vs_buf_char(&text, '}');
    json_t *v = vs_json_parse(text.data, text.n, &err);
    vs_json_dump(v, &out);
    assert_int_equal(out.n, text.n);
    assert_memory_equal(out.data, text.data, out.n);
    json_decref(v);
    vs_buf_clear(&text);
    vs_buf_clear(&out);
}

static void test_json_text_bytes(void **state)
{
    (void)state;
    static const struct { const char *s; size_t n; } texts[] = {
        { "", 0 }, { "a\"b\\c/d\x7f", 8 }, { "\0\1\b\t\n\f\r\x1f", 8 }, { "\xc3\xa9\xe4\xb8\x96\xf0\x9f\x98\x80", 9 },
        { "\xff\xc3x\xf0\x9f\x98", 6 },
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct vs_buf out = { 0 };
        json_t *v = vs_json_text(texts[i].s, texts[i].n);
        vs_json_dump(v, &out);
        assert_int_equal(out.n, vs_json_text_bytes(texts[i].s, texts[i].n));
        json_decref(v);
        vs_buf_clear(&out);
    }
}

static int judge_keys(uint16_t type, const char *text, struct vs_error *err)
{
    json_t *body = json_loads(text, 0, NULL);
    assert_non_null(body);
    int r = vs_key_check_body(type, body, err);
    json_decref(body);
    return r;
}

enum { JSON_LIMIT = 8 << 20 };

/* Whoever waits is heard while a large request is read and while it is freed. */
static void test_json_of_many(void **state)
{
    (void)state;
    struct vs_buf b = { 0 };
    vs_json_setup((size_t)1 << 30);
    vs_buf_str(&b, "{\"messages\":[");
    for (int i = 0; i < 300000; i++)
        vs_buf_printf(&b, "%s{\"role\":\"user\",\"content\":\"%d\"}", i ? "," : "", i % 10);
    vs_buf_str(&b, "]}");
    assert_int_equal(b.status, VS_OK);
    struct asking asking = { .worst_ns = UINT64_MAX };
    for (int attempt = 0; attempt < 4 && asking.worst_ns > WORST_NS; attempt++) {       /* others use this machine too */
        asking = (struct asking){ .last_ns = cpu_ns() };
        struct vs_check check = { .ask = on_ask, .context = &asking };
        struct vs_error err;
        json_t *v = vs_json_read(b.data, b.n, &check, &err), *list = json_incref(json_object_get(v, "messages"));
        assert_int_equal(json_array_size(list), 300000);
        uint64_t n = asking.n;
        vs_json_free(v, &check);                         /* the list is still ours */
        assert_int_equal(json_array_size(list), 300000);
        vs_json_free(list, &check);
        on_ask(&asking);
        assert_true(n > 100 && asking.n > n + 100);
    }
    if (asking.worst_ns > WORST_NS)
        fail_msg("%u us between two questions", (unsigned)(asking.worst_ns / 1000));
    asking = (struct asking){ .stop_at = 50 };
    struct vs_check check = { .ask = on_ask, .context = &asking };
    struct vs_error err;
    assert_null(vs_json_read(b.data, b.n, &check, &err));
    assert_int_equal(err.code, VS_E_CANCELLED);
    vs_json_free(NULL, &check);
    vs_buf_clear(&b);
    vs_json_setup(JSON_LIMIT);
}

static void test_keys(void **state)
{
    (void)state;
    struct vs_error err;
    assert_int_equal(judge_keys(VS_MSG_GENERATE,
                                "{\"prompt\":\"x\",\"max_tokens\":0,\"sampling\":{\"seed\":-9223372036854775808,\"top_p\":1}}",
                                &err), VS_OK);
    assert_int_equal(judge_keys(VS_MSG_GENERATE, "{\"template_args\":{\"anything\":[1]},\"stop\":null}", &err), VS_OK);
    static const struct { uint16_t type; const char *body, *text; } bad[] = {
        { VS_MSG_GENERATE, "{\"max_tokens\":\"5\"}",
          "max_tokens: a whole number from 0 to 2147483647 is needed, this is the string '5'" },
        { VS_MSG_GENERATE, "{\"max_tokens\":1.0}",
          "max_tokens: a whole number from 0 to 2147483647 is needed, this is 1.0, a number with a point or an exponent" },
        { VS_MSG_GENERATE, "{\"max_tokens\":1.5}", "max_tokens: a whole number from 0 to 2147483647 is needed, this is 1.5" },
        { VS_MSG_GENERATE, "{\"max_tokens\":1e20}", "max_tokens: a whole number from 0 to 2147483647 is needed, this is 1e+20" },
        { VS_MSG_GENERATE, "{\"max_tokens\":-1}", "max_tokens: a whole number from 0 to 2147483647 is needed, this is -1" },
        { VS_MSG_CHAT, "{\"sampling\":{\"top_p\":1.5}}", "sampling.top_p: a number from 0 to 1 is needed, this is 1.5" },
        { VS_MSG_CHAT, "{\"sampling\":{\"temprature\":1}}",
          "sampling.temprature is not a key of chat; did you mean sampling.temperature?" },
        { VS_MSG_CHAT, "{\"sampling.top_k\":1}", "sampling.top_k is not a key of chat" },
        { VS_MSG_CHAT, "{\"prompt\":\"x\"}", "prompt is not a key of chat" },
        { VS_MSG_LOAD, "{\"settings\":{\"kv_type\":\"f8\"}}",
          "settings.kv_type: f16, f32 or q8_0 is needed, this is the string 'f8'" },
        { VS_MSG_LOAD, "{\"settings\":{\"n_cpus\":1}}", "settings.n_cpus is not a key of load" },
        { VS_MSG_BENCH, "{\"pp\":{}}", "pp: a list of at most 64 numbers of tokens is needed, this is an object" },
        { VS_MSG_TOKENIZE, "{\"special\":1}", "special: true or false is needed, this is 1" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(judge_keys(bad[i].type, bad[i].body, &err), VS_E_INVALID);
        assert_string_equal(err.text, bad[i].text);
    }
}

static void test_json_budget(void **state)
{
    (void)state;
    struct vs_buf bomb = { 0 };
    vs_buf_str(&bomb, "{\"a\":[");
    for (int i = 0; i < 200000; i++)
        vs_buf_str(&bomb, "{},");
    vs_buf_str(&bomb, "0]}");
    struct vs_error err;
    assert_null(vs_json_parse(bomb.data, bomb.n, &err));
    assert_int_equal(err.code, VS_E_LIMIT);
    json_t *v = vs_json_parse("{}", 2, &err);       /* and nothing of it stays */
    assert_non_null(v);
    json_decref(v);
    vs_buf_clear(&bomb);
}

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(vs_message_name(VS_MSG_PERPLEXITY), "perplexity");
    assert_true(vs_message_is_request(VS_MSG_STATUS));
    assert_false(vs_message_is_request(VS_MSG_TOKEN));
    assert_true(vs_message_is_terminal(VS_MSG_REJECTED));
}

int main(void)
{
    mallopt(M_MXFAST, 0);                                /* as in a worker: sandbox/enter.c */
    vs_json_setup(JSON_LIMIT);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table_is_closed),
        cmocka_unit_test(test_states_are_of_requests),
        cmocka_unit_test(test_every_row_has_a_handler),
        cmocka_unit_test(test_large_frames_cross_in_pieces),
        cmocka_unit_test(test_descriptor_finds_its_frame),
        cmocka_unit_test(test_several_descriptors_find_their_frame),
        cmocka_unit_test(test_unasked_descriptors_are_refused),
        cmocka_unit_test(test_end_is_seen),
        cmocka_unit_test(test_budget),
        cmocka_unit_test(test_refused_frames),
        cmocka_unit_test(test_envelopes),
        cmocka_unit_test(test_json_value),
        cmocka_unit_test(test_json_beyond_our_values), cmocka_unit_test(test_long_strings),
        cmocka_unit_test(test_deep_and_wide),
        cmocka_unit_test(test_token),
        cmocka_unit_test(test_receipt_and_kept),
        cmocka_unit_test(test_token_part),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_json_can_be_stopped),
        cmocka_unit_test(test_json_text_bytes),
        cmocka_unit_test(test_json_of_many), cmocka_unit_test(test_keys),
        cmocka_unit_test(test_json_budget),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
