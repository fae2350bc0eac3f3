/* rooms: identity ipc base */
/* unit/broker.c - whose turn it is in a line, and what is measured, with a clock of our own; what goes out when; all else of the
 * broker is seen from outside (e2e/line.py, e2e/protocol.py). */
#include "prog/broker/broker.h"

#include "ipc/json.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define SECOND (1000 * MS)

struct room {                           /* two processes, the first with two connections, and a model */
    struct broker broker;
    struct client clients[2];
    struct peer peers[3];
    struct model model;
    struct request requests[8];
    unsigned n;
    char name[2];
};

static void room_init(struct room *r)
{
    memset(r, 0, sizeof *r);
    r->broker.settings.queue = 4;
    r->broker.now = 1000 * SECOND;
    r->model.parallel = 2;
    r->model.name = r->name;
    for (unsigned i = 0; i < 3; i++)
        r->peers[i].client = &r->clients[i == 2];
}

static struct request *enter(struct room *r, unsigned peer, unsigned priority)
{
    struct request *q = &r->requests[r->n++];
    *q = (struct request){ .peer = &r->peers[peer], .type = VS_MSG_GENERATE, .id = r->n, .priority = priority,
                           .arrived_at = r->broker.now, .deadline = NEVER, .client = r->peers[peer].client,
                           .share = &r->peers[peer].share };
    q->client->n_requests++;
    q->share->n_requests++;
    line_enter(&r->broker, &r->model, q);
    return q;
}

static void leave(struct room *r, struct request *q)
{
    queue_remove(&r->model.queue, q);
    q->client->n_requests--;
    q->share->n_requests--;
}

static void test_who_waits_rises(void **state)
{
    (void)state;
    struct room r;
    room_init(&r);
    struct request *low = enter(&r, 0, VS_PRIORITY_LOW);
    r.broker.now += 29999 * MS;
    struct request *normal = enter(&r, 2, VS_PRIORITY_NORMAL);
    assert_int_equal(line_priority(&r.broker, low), VS_PRIORITY_LOW);
    assert_ptr_equal(line_next(&r.broker, &r.model), normal);
    r.broker.now += MS;
    assert_int_equal(line_priority(&r.broker, low), VS_PRIORITY_NORMAL);
    assert_ptr_equal(line_next(&r.broker, &r.model), low);      /* of one class, and first to come */
    struct request *high = enter(&r, 1, VS_PRIORITY_HIGH);
    assert_ptr_equal(line_next(&r.broker, &r.model), high);
    r.broker.now += 30 * SECOND;
    assert_int_equal(line_priority(&r.broker, low), VS_PRIORITY_HIGH);
    assert_int_equal(line_priority(&r.broker, normal), VS_PRIORITY_HIGH);
    assert_ptr_equal(line_next(&r.broker, &r.model), low);
    r.broker.now += 3600 * SECOND;
    assert_int_equal(line_priority(&r.broker, high), VS_PRIORITY_HIGH);
}

static void test_tokens_count(void **state)
{
    (void)state;
    struct room r;
    room_init(&r);
    struct request *mine = enter(&r, 0, VS_PRIORITY_NORMAL), *other = enter(&r, 1, VS_PRIORITY_NORMAL),
                   *theirs = enter(&r, 2, VS_PRIORITY_NORMAL);
    line_served(mine, 100);                                     /* the process of the first two */
    assert_ptr_equal(line_next(&r.broker, &r.model), theirs);
    line_served(theirs, 101);
    assert_ptr_equal(line_next(&r.broker, &r.model), other);    /* of its connections the one with fewer */
    line_served(other, 1);
    assert_ptr_equal(line_next(&r.broker, &r.model), other);    /* 101 and 101: who came first, of this process's */
    line_begun(&r.broker, other, 1);
    assert_ptr_equal(line_next(&r.broker, &r.model), theirs);   /* whose turn was longest ago */
    line_begun(&r.broker, theirs, 2);
    leave(&r, theirs);
    line_served(mine, 900);
    line_begun(&r.broker, mine, 3);
    theirs = enter(&r, 2, VS_PRIORITY_NORMAL);                  /* it was away: it has saved up nothing */
    assert_int_equal(r.clients[1].turn.n_tokens, r.clients[0].turn.n_tokens);
}

/* One connection asks for two persons and for itself: each has its own turn and its own place in a full line. */
static void test_persons(void **state)
{
    (void)state;
    struct room r;
    room_init(&r);
    struct request *anna[2], *ben, *itself;
    for (int i = 0; i < 2; i++) {
        anna[i] = enter(&r, 0, VS_PRIORITY_NORMAL);
        assert_true(request_speak_for(&r.broker, anna[i], "anna"));
    }
    ben = enter(&r, 0, VS_PRIORITY_NORMAL);
    assert_true(request_speak_for(&r.broker, ben, "ben"));
    itself = enter(&r, 0, VS_PRIORITY_NORMAL);
    assert_ptr_equal(anna[0]->client, anna[1]->client);
    assert_true(anna[0]->owner == anna[1]->owner && anna[0]->owner != ben->owner && ben->owner > UINT32_MAX && !itself->owner);
    assert_true(ben->client != anna[0]->client && ben->client->number != anna[0]->client->number);
    assert_true(anna[0]->client->n_requests == 2 && r.clients[0].n_requests == 1 && r.broker.n_persons == 2);
    line_served(anna[0], 10);
    line_served(itself, 5);
    assert_ptr_equal(line_next(&r.broker, &r.model), ben);
    line_served(ben, 6);
    assert_ptr_equal(line_next(&r.broker, &r.model), itself);
    line_served(itself, 100);
    assert_ptr_equal(line_next(&r.broker, &r.model), ben);
    line_served(ben, 100);
    assert_ptr_equal(line_next(&r.broker, &r.model), anna[0]);
    while (r.broker.clients) {
        struct client *c = r.broker.clients;
        r.broker.clients = c->next;
        free(c);
    }
}

static void test_what_a_dead_worker_left_comes_first(void **state)
{
    (void)state;
    struct room r;
    room_init(&r);
    struct request *first = enter(&r, 0, VS_PRIORITY_HIGH), *second = enter(&r, 2, VS_PRIORITY_LOW);
    second->n_deaths = 1;
    assert_ptr_equal(line_next(&r.broker, &r.model), second);
    struct run run = { .is_alone = false };
    r.model.runs = &run;
    r.model.n_runs = 1;
    second->is_suspect = true;
    assert_null(line_next(&r.broker, &r.model));                /* it waits until nothing runs, and all others for it */
    leave(&r, second);
    assert_ptr_equal(line_next(&r.broker, &r.model), first);
    run.is_alone = true;
    assert_null(line_next(&r.broker, &r.model));
}

static double number_of(json_t *all, const char *of, const char *key)
{
    double n = json_number_value(json_object_get(of ? json_object_get(all, of) : all, key));
    json_decref(all);
    return n;
}

static void test_measures(void **state)
{
    (void)state;
    static struct measure m;
    uint64_t now = 5000 * SECOND;
    json_t *nothing = measure_latency_json(&m, now);
    assert_true(json_is_null(json_object_get(json_object_get(nothing, "queue"), "p50")));
    json_decref(nothing);
    for (uint64_t i = 1; i <= 1000; i++)
        measure_latency(&m, now, LATENCY_QUEUE, i * MS);
    static const struct { const char *key; double is; } want[] = { { "p50", 500 }, { "p95", 950 }, { "p99", 990 } };
    for (size_t i = 0; i < 3; i++) {
        double said = number_of(measure_latency_json(&m, now), "queue", want[i].key);
        assert_true(said > 0.88 * want[i].is && said < 1.12 * want[i].is);
        said = number_of(measure_latency_json(&m, now + 49 * SECOND), "queue", want[i].key);
        assert_true(said > 0.88 * want[i].is);
    }
    measure_latency(&m, now + 61 * SECOND, LATENCY_QUEUE, UINT64_MAX);  /* a minute later only what is new counts */
    assert_true(number_of(measure_latency_json(&m, now + 61 * SECOND), "queue", "p50") > 1e6);
    measure_latency(&m, now, LATENCY_INTER_TOKEN, 0);
    assert_true(number_of(measure_latency_json(&m, now), "inter_token", "p99") == 0);

    for (uint64_t s = 0; s < 20; s++)
        measure_tokens(&m, now + s * SECOND, RATE_GENERATED, 40);
    assert_true(number_of(measure_rate_json(&m, now + 20 * SECOND), NULL, "generated") == 40);
    assert_true(number_of(measure_rate_json(&m, now + 24 * SECOND), NULL, "generated") == 20);
    assert_true(number_of(measure_rate_json(&m, now + 40 * SECOND), NULL, "generated") == 0);

    assert_int_equal(measure_retry_ms(&m, now, 5), RETRY_MS);
    assert_int_equal(measure_end_ms(&m, now, 5, 3 * SECOND), 3000);     /* as long again */
    assert_int_equal(measure_end_ms(NULL, now, 0, 1), 100);
    for (uint64_t s = 0; s <= 10; s++)
        measure_end(&m, now + s * SECOND);
    assert_in_range(measure_retry_ms(&m, now + 10 * SECOND, 11), 9500, 10500);  /* eleven in ten seconds */
    assert_int_equal(measure_retry_ms(&m, now + 10 * SECOND, 0), 100);
    assert_in_range(measure_end_ms(&m, now + 10 * SECOND, 4, SECOND), 2500, 3000);      /* four are there, one ends in a second */
    assert_int_equal(measure_end_ms(&m, now + 10 * SECOND, 4, 9 * SECOND), 9000);
    assert_int_equal(measure_retry_ms(&m, now + 10 * SECOND, UINT32_MAX), 600000);
}

enum { MUCH = 300 << 10 };              /* bytes of a frame: more than may wait where progress is said, more than a socket takes */

/* The first peer gets a connection, and says that much. Our end of it. */
static int talk(struct room *r, size_t most)
{
    static const char text[MUCH];
    struct peer *p = &r->peers[0];
    int fd[2];
    room_init(r);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd), 0);
    vs_conn_init(&p->conn, fd[0], &vs_ipc_from_client, VS_AT_OPEN);
    p->conn.corked = true;
    p->memory.limit = most;
    p->conn.budget = &p->memory;
    peer_send(&r->broker, p, VS_MSG_TOKEN, 0, 1, text, sizeof text);
    assert_true(vs_conn_queued(&p->conn) > MAX_LOSSY);
    return fd[1];
}

static size_t drain(int fd)
{
    char piece[65536];
    size_t n = 0;
    for (ssize_t got; (got = read(fd, piece, sizeof piece)) > 0;)
        n += (size_t)got;
    return n;
}

static void end_talk(struct room *r, int fd)
{
    close(fd);
    vs_conn_clear(&r->peers[0].conn);
}

static void test_progress_is_lost_only_where_nobody_reads(void **state)
{
    (void)state;
    struct room r;
    int fd = talk(&r, MAX_PEER_MEMORY);
    struct peer *p = &r.peers[0];
    size_t all = vs_conn_queued(&p->conn) + VS_FRAME_HEADER + 2;
    peer_send(&r.broker, p, VS_MSG_PROGRESS, 0, 1, "{}", 2);    /* what waits was never offered */
    assert_true(p->is_stalled);
    for (size_t came = 0; came < all;) {
        size_t n = drain(fd);
        assert_true(n > 0);
        came += n;
        peer_ready(&r.broker, p, POLLOUT);
        assert_true(came < all || vs_conn_queued(&p->conn) == 0);
    }
    end_talk(&r, fd);
}

/* A socket that took no more is asked again when poll says so, not in every turn. */
static void test_who_reads_nothing_costs_nothing(void **state)
{
    (void)state;
    static const char text[MUCH];
    struct room r;
    int fd = talk(&r, MAX_PEER_MEMORY);
    struct peer *p = &r.peers[0];
    peer_flush(p);
    assert_true(p->is_stalled);
    assert_true(drain(fd) > 0);
    peer_send(&r.broker, p, VS_MSG_TOKEN, 0, 1, text, sizeof text);
    size_t queued = vs_conn_queued(&p->conn);
    peer_send(&r.broker, p, VS_MSG_PROGRESS, 0, 1, "{}", 2);
    peer_flush(p);
    assert_int_equal(drain(fd), 0);
    assert_int_equal(vs_conn_queued(&p->conn), queued);
    peer_ready(&r.broker, p, POLLOUT);
    assert_int_equal(drain(fd), queued - vs_conn_queued(&p->conn));
    assert_true(vs_conn_queued(&p->conn) < queued && !p->gone);
    end_talk(&r, fd);
}

static void test_a_limit_counts_what_is_not_taken(void **state)
{
    (void)state;
    static const char text[MUCH];
    struct room r;
    int fd = talk(&r, MUCH + (128 << 10));
    struct peer *p = &r.peers[0];
    peer_send(&r.broker, p, VS_MSG_TOKEN, 0, 1, text, 200 << 10);
    assert_false(p->gone);
    assert_int_equal(peer_send_parts(&r.broker, p, VS_MSG_TOKEN, 1, text, MUCH, text, MUCH), VS_E_LIMIT);
    assert_false(p->gone);
    peer_send(&r.broker, p, VS_MSG_TOKEN, 0, 1, text, MUCH);    /* and nobody reads */
    assert_true(p->gone);
    end_talk(&r, fd);
}

/* A request of the first peer that runs; what its client hears is read from `heard`. */
static struct request *run_one(struct room *r, size_t most, int cancel, struct vs_conn *heard)
{
    struct peer *p = &r->peers[0];
    int ends[2];
    room_init(r);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    vs_conn_init(&p->conn, ends[0], &vs_ipc_from_client, VS_AT_OPEN);
    vs_conn_init(heard, ends[1], &vs_ipc_to_client, VS_AT_OPEN);
    p->memory.limit = most;
    p->conn.budget = &p->memory;
    p->conn.corked = true;
    struct request *q = enter(r, 0, VS_PRIORITY_NORMAL);
    struct run *run = calloc(1, sizeof *run);
    assert_non_null(run);
    *run = (struct run){ .request = q, .id = 9, .cancel = cancel };
    queue_remove(&r->model.queue, q);
    p->n_requests = 1;
    q->model = &r->model;
    q->run = r->model.runs = run;
    r->model.n_runs = 1;
    q->place = PLACE_RUNNING;
    q->began = true;
    return q;
}

/* The one frame that its client got, and the outcome in it. */
static uint16_t hear_end(struct room *r, struct vs_conn *heard, struct vs_outcome *ret)
{
    struct vs_frame f;
    struct vs_payload payload;
    struct vs_error err;
    peer_flush(&r->peers[0]);
    assert_int_equal(vs_conn_read(heard), VS_OK);
    int status = vs_conn_next(heard, &f, &err);
    if (status == VS_E_BUSY && vs_conn_read(heard) == VS_OK)
        status = vs_conn_next(heard, &f, &err);
    assert_int_equal(status, VS_OK);
    assert_int_equal(vs_payload_split(f.data, f.n, VS_MAX_ENVELOPE, &payload, &err), VS_OK);
    assert_int_equal(vs_outcome_parse(payload.envelope, payload.envelope_bytes, ret, &err), VS_OK);
    return f.type;
}

static void end_one(struct room *r, struct vs_conn *heard)
{
    metrics_free(&r->broker);
    vs_conn_clear(heard);
    vs_conn_clear(&r->peers[0].conn);
    assert_int_equal(r->peers[0].memory.used, 0);
}

/* A worker's ERROR for whose body there was no room: who was cancelled hears that, and not of a result. */
static void test_an_error_without_room(void **state)
{
    (void)state;
    static const struct { int cancel, told; } cases[] = { { VS_E_CANCELLED, VS_E_CANCELLED }, { VS_E_TIMEOUT, VS_E_TIMEOUT },
                                                          { VS_OK, VS_E_NOMEM } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct room r;
        struct vs_conn heard;
        struct vs_frame f = { .type = VS_MSG_ERROR, .id = 9, .fd = -1, .is_refused = true };
        struct vs_outcome outcome;
        run_one(&r, MAX_PEER_MEMORY, cases[i].cancel, &heard);
        run_on_terminal(&r.broker, &r.model, &f);
        assert_int_equal(hear_end(&r, &heard, &outcome), VS_MSG_ERROR);
        assert_int_equal(outcome.error.code, cases[i].told);
        end_one(&r, &heard);
    }
}

enum { RESULT = 64 << 10 };

/* The worker ends the request with a result of so many bytes. */
static void complete(struct room *r)
{
    static const char text[RESULT];
    struct vs_buf out = { 0 };
    struct vs_outcome outcome = { .finish_reason = "stop" };
    size_t begin = vs_payload_begin(&out);
    vs_outcome_dump(&outcome, &out);
    vs_payload_end(&out, begin);
    vs_buf_add(&out, text, sizeof text);
    assert_int_equal(out.status, VS_OK);
    struct vs_frame f = { .type = VS_MSG_COMPLETE, .id = 9, .fd = -1, .data = (const uint8_t *)out.data, .n = (uint32_t)out.n };
    run_on_terminal(&r->broker, &r->model, &f);
    vs_buf_clear(&out);
}

static const struct { size_t room; int told; const char *finish; } rooms[] = {
    { 2 * RESULT, VS_OK, "stop" }, { RESULT, VS_E_LIMIT, "LIMIT" }, { 2 << 10, VS_E_LIMIT, "LIMIT" },
};

/* Where there is no room for a result, what is counted is what the client is told. */
static void test_an_end_is_counted_as_it_is_told(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++) {
        struct room r;
        struct vs_conn heard;
        struct vs_outcome outcome;
        struct request *q = run_one(&r, rooms[i].room, VS_OK, &heard);
        memset(q->trace, 'a', sizeof q->trace - 1);
        complete(&r);
        assert_int_equal(hear_end(&r, &heard, &outcome), rooms[i].told ? VS_MSG_ERROR : VS_MSG_COMPLETE);
        assert_int_equal(outcome.error.code, rooms[i].told);
        json_t *traces = metrics_traces_json(&r.broker), *one = json_array_get(json_object_get(traces, "requests"), 0);
        assert_string_equal(json_string_value(json_object_get(one, "finish")), rooms[i].finish);
        json_decref(traces);
        end_one(&r, &heard);
    }
}

/* The next record that the log's writer gets has these words. */
static void hear_record(struct room *r, struct vs_conn *writer, const char *event, const char *words)
{
    struct vs_frame f;
    struct vs_error err;
    char text[4096];
    audit_flush(&r->broker);
    int status = vs_conn_next(writer, &f, &err);
    if (status == VS_E_BUSY && vs_conn_read(writer) == VS_OK)
        status = vs_conn_next(writer, &f, &err);
    assert_int_equal(status, VS_OK);
    assert_int_equal(f.type, VS_MSG_RECORD);
    snprintf(text, sizeof text, "%.*s", (int)f.n, (const char *)f.data);
    if (!strstr(text, event) || !strstr(text, words) || !strstr(text, "\"number\":77"))
        fail_msg("%s: no %s, %s", text, event, words);
}

/* And so is what the log says; where its writer fails behind that, another record takes it back. */
static void test_an_end_is_told_as_it_is_logged(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2 * sizeof rooms / sizeof *rooms; i++) {
        struct room r;
        struct vs_conn heard, writer;
        struct vs_outcome outcome;
        int ends[2];
        char words[64];
        size_t at = i / 2;
        bool fails = i % 2;
        struct request *q = run_one(&r, rooms[at].room, VS_OK, &heard);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
        vs_conn_init(&r.broker.audit.conn, ends[0], &vs_ipc_from_audit, VS_AT_OPEN);
        vs_conn_init(&writer, ends[1], &vs_ipc_to_audit, VS_AT_OPEN);
        r.broker.audit.conn.corked = r.broker.audit.is_on = r.broker.audit.is_known = true;
        q->is_recorded = true;
        q->number = 77;
        complete(&r);
        snprintf(words, sizeof words, "\"finish\":\"%s\",\"status_id\":%d", rooms[at].finish, rooms[at].told ? 2 : 1);
        hear_record(&r, &writer, "\"event\":\"answer\"", words);
        assert_int_equal(q->place, PLACE_CLOSING);
        assert_int_equal(r.peers[0].together_until, r.broker.now + TOGETHER_TIME);
        if (fails) {
            r.broker.now += 60 * SECOND;
            audit_timers(&r.broker);
            hear_record(&r, &writer, "\"event\":\"undelivered\"", "the audit log cannot be written");
        } else {
            assert_int_equal(vs_conn_send(&writer, VS_MSG_WRITTEN, 0, 0, "\1\0\0\0\0\0\0", 8, -1), VS_OK);
            audit_ready(&r.broker, POLLIN);
        }
        assert_int_equal(hear_end(&r, &heard, &outcome), fails || rooms[at].told ? VS_MSG_ERROR : VS_MSG_COMPLETE);
        assert_int_equal(outcome.error.code, fails ? VS_E_SYSTEM : rooms[at].told);
        assert_int_equal(r.peers[0].together_until, 0);
        audit_clear(&r.broker);
        vs_conn_clear(&writer);
        end_one(&r, &heard);
    }
}

int main(void)
{
    vs_json_setup(0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_waits_rises),
        cmocka_unit_test(test_tokens_count), cmocka_unit_test(test_persons),
        cmocka_unit_test(test_what_a_dead_worker_left_comes_first),
        cmocka_unit_test(test_measures),
        cmocka_unit_test(test_progress_is_lost_only_where_nobody_reads),
        cmocka_unit_test(test_who_reads_nothing_costs_nothing),
        cmocka_unit_test(test_a_limit_counts_what_is_not_taken),
        cmocka_unit_test(test_an_error_without_room),
        cmocka_unit_test(test_an_end_is_counted_as_it_is_told),
        cmocka_unit_test(test_an_end_is_told_as_it_is_logged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
