/* rooms: policy filter vectorscan unicode ipc base */
/* fuzz/guard.c - any bytes of a worker, and what brokers may say, against the real guard, under a policy that replaces e-mail
 * addresses and ends answers at card numbers. What the guard says must be what the tables allow, to the worker and to the broker;
 * a request ends once; nobody is sent more than his credit; and no address ever leaves, however it was cut. Workers die in between,
 * and what they left goes on. */
#include "prog/guard/guard.h"

#include "base/bytes.h"
#include "ipc/json.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { MAX_ASKS = 6, MAX_STEPS = 300, MAX_TEXT = 4096 };
static const char secret[] = "ask jane.doe@example.com or 4111 1111 1111 1111 now ";
static const char needle[] = "doe@example.com";

_Noreturn void guard_leave(const char *why)
{
    fprintf(stderr, "the guard left: %s\n", why);        /* nothing here is the broker's or the supervisor's fault */
    abort();
}

static void fail(int line)
{
    fprintf(stderr, "fuzz/guard.c:%d: what must not be\n", line);
    abort();
}

struct input {
    const uint8_t *at, *end;
};

struct ask {
    uint64_t id;                        /* 0: none */
    uint16_t type;
    bool is_lost;
    uint32_t credit, n_sent[MAX_CHOICES];
    bool has_index;
    char text[2 * MAX_CHOICES][MAX_TEXT];        /* what came, by choice and part */
    size_t n[2 * MAX_CHOICES];
};

struct world {
    struct guard guard;
    struct vs_conn broker, worker;      /* our ends */
    struct ask asks[MAX_ASKS];
    uint64_t last_id, far[32];          /* far: requests that the worker heard of */
    unsigned n_far;
    size_t at;                          /* in the secret */
};

static unsigned take(struct input *in)
{
    return in->at < in->end ? *in->at++ : 0;
}

static size_t take_bytes(struct input *in, size_t n, const uint8_t **ret)
{
    *ret = in->at;
    n = n < (size_t)(in->end - in->at) ? n : (size_t)(in->end - in->at);
    in->at += n;
    return n;
}

static void put(const struct vs_conn *c, uint16_t type, uint16_t flags, uint64_t id, const void *data, size_t n)
{
    static uint8_t frame[70000];
    if (c->fd < 0 || n > sizeof frame - VS_FRAME_HEADER)
        return;
    vs_frame_header(frame, type, flags, id, (uint32_t)n);
    memcpy(frame + VS_FRAME_HEADER, data, n);
    if (send(c->fd, frame, VS_FRAME_HEADER + n, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        return;
}

static void put_envelope(const struct vs_conn *c, uint16_t type, uint64_t id, const char *envelope, const void *body, size_t n)
{
    struct vs_buf out = { 0 };
    size_t begin = vs_payload_begin(&out);
    vs_buf_str(&out, envelope);
    vs_payload_end(&out, begin);
    vs_buf_add(&out, body, n);
    put(c, type, 0, id, out.data, out.n);
    vs_buf_clear(&out);
}

/* ---- the broker ---- */

static struct ask *ask_of(struct world *w, uint64_t id)
{
    for (int i = 0; id && i < MAX_ASKS; i++)
        if (w->asks[i].id == id && !w->asks[i].is_lost)
            return &w->asks[i];
    return NULL;
}

static unsigned broker_state(const void *world, uint64_t id)
{
    return ask_of((struct world *)(uintptr_t)world, id) ? VS_AT_BEGUN : VS_AT_FREE;
}

static void note_text(struct ask *a, const struct vs_token_view *t)
{
    size_t at = 2 * t->index + t->part % 2, *n = &a->n[at];
    if (*n + t->text_bytes >= MAX_TEXT)
        *n = 0;
    memcpy(a->text[at] + *n, t->text, t->text_bytes);
    *n += t->text_bytes;
    if (memmem(a->text[at], *n, needle, sizeof needle - 1))
        fail(__LINE__);                        /* it got out */
}

static void hear_broker(struct world *w)
{
    struct vs_frame f;
    struct vs_error why;
    if (w->broker.fd < 0)
        return;
    int status = vs_conn_read(&w->broker), next;
    while ((next = vs_conn_next(&w->broker, &f, &why)) == VS_OK) {
        struct ask *a = ask_of(w, f.id);
        struct vs_token_view t;
        struct vs_payload p;
        struct vs_outcome o;
        if (f.type == VS_MSG_READY)
            w->broker.state = VS_AT_OPEN;
        if (f.type == VS_MSG_TOKEN || f.type == VS_MSG_DATA) {
            if (f.n > a->credit)
                fail(__LINE__);
            a->credit -= f.n;
        }
        if (f.type == VS_MSG_TOKEN) {
            if (!vs_token_parse(&f, &t) || t.index >= MAX_CHOICES)
                fail(__LINE__);
            a->has_index = f.flags & VS_FLAG_INDEX;
            a->n_sent[t.index]++;
            note_text(a, &t);
        }
        if (!vs_message_is_terminal(f.type))
            continue;
        if (vs_payload_split(f.data, f.n, VS_MAX_ENVELOPE, &p, &why) != VS_OK
            || vs_outcome_parse(p.envelope, p.envelope_bytes, &o, &why) != VS_OK
            || (f.type == VS_MSG_COMPLETE) != (o.error.code == VS_OK))
            fail(__LINE__);
        if (memmem(f.data, f.n, needle, sizeof needle - 1))
            fail(__LINE__);
        a->id = 0;
    }
    if (next != VS_E_BUSY)
        fail(__LINE__);
    if (status != VS_OK && status != VS_E_BUSY)
        vs_conn_clear(&w->broker);
}

/* A request, or one of the worker before that goes on: with as many frames as came. */
static void ask(struct world *w, struct input *in)
{
    static const uint16_t types[] = { VS_MSG_GENERATE, VS_MSG_CHAT, VS_MSG_TOKENIZE, VS_MSG_DETOKENIZE, VS_MSG_LOGITS };
    struct ask *a = &w->asks[take(in) % MAX_ASKS];
    char envelope[160];
    const uint8_t *body;
    unsigned total = 0;
    if (w->broker.fd < 0 || w->broker.state != VS_AT_OPEN || (a->id && !a->is_lost))
        return;
    uint64_t before = a->is_lost ? a->id : 0, id = ++w->last_id;
    if (!before)
        *a = (struct ask){ .type = types[take(in) % (sizeof types / sizeof *types)] };
    a->id = id;
    a->is_lost = false;
    a->credit = (1 + take(in)) * 64;
    for (uint32_t i = 0; i < MAX_CHOICES; i++) {
        uint8_t ids[4 + 4 * 300] = { 0 };
        uint32_t n = a->n_sent[i] < 300 ? a->n_sent[i] : 300;
        a->n_sent[i] = n;
        total += n;
        vs_store_u32le(ids, i);
        if (n)
            put(&w->broker, VS_MSG_SENT, a->has_index ? VS_FLAG_INDEX : 0, id, a->has_index ? ids : ids + 4,
                4 * n + (a->has_index ? 4 : 0));
    }
    snprintf(envelope, sizeof envelope, "{\"credit\":%u,\"resumes\":%llu,\"sent\":%u}", a->credit, (unsigned long long)before,
             total);
    size_t n = take_bytes(in, take(in), &body);
    put_envelope(&w->broker, a->type, id, envelope, body, n);
}

/* ---- the worker ---- */

static void hear_worker(struct world *w)
{
    struct vs_frame f;
    struct vs_error why;
    if (w->worker.fd < 0)
        return;
    int status = vs_conn_read(&w->worker), next;
    while ((next = vs_conn_next(&w->worker, &f, &why)) == VS_OK)
        if (vs_message_is_request(f.type) && w->n_far < 32)
            w->far[w->n_far++] = f.id;
    if (next != VS_E_BUSY)
        fail(__LINE__);
    if (status != VS_OK && status != VS_E_BUSY)
        vs_conn_clear(&w->worker);
}

static void new_worker(struct world *w)
{
    int worker[2], broker[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, worker) != 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, broker) != 0)
        fail(__LINE__);
    vs_conn_clear(&w->worker);
    vs_conn_clear(&w->broker);
    vs_conn_init(&w->worker, worker[0], &vs_ipc_to_worker, VS_AT_OPEN);
    vs_conn_init(&w->broker, broker[0], &vs_ipc_from_guard, VS_AT_START);
    w->broker.state_of = broker_state;
    w->broker.context = w;
    w->n_far = 0;
    back_open(&w->guard, worker[1], broker[1]);
}

/* It dies: the guard says the rest, and closes the broker's socket. */
static void turn(struct world *w);
static void end_worker(struct world *w)
{
    vs_conn_clear(&w->worker);
    for (int i = 0; i < 20 && w->broker.fd >= 0; i++) {
        turn(w);
        hear_broker(w);
    }
    for (int i = 0; i < MAX_ASKS; i++)
        w->asks[i].is_lost = w->asks[i].id != 0;
    new_worker(w);
}

static void put_token(struct world *w, struct input *in, uint64_t far, unsigned what)
{
    uint8_t frame[16 + 64];
    size_t at = 0, n = take(in) % 24;
    uint16_t flags = (uint16_t)(what & 1 ? VS_FLAG_INDEX : 0) | (what & 2 ? VS_FLAG_PART : 0);
    if (flags & VS_FLAG_INDEX)
        vs_store_u32le(frame, what >> 2 & 1), at += 4;
    if (flags & VS_FLAG_PART)
        vs_store_u32le(frame + at, what >> 3 & 1), at += 4;
    vs_store_u32le(frame + at, what);
    vs_store_u32le(frame + at + 4, (uint32_t)n);
    at += 8;
    for (size_t i = 0; i < n; i++)
        frame[at++] = (uint8_t)secret[w->at++ % (sizeof secret - 1)];
    put(&w->worker, VS_MSG_TOKEN, flags, far, frame, at);
}

/* ---- steps ---- */

static void turn(struct world *w)
{
    struct guard *g = &w->guard;
    if (g->worker.fd >= 0)
        back_ready(g, POLLIN);
    if (g->broker.fd >= 0 && !g->is_leaving)
        front_ready(g, POLLIN);
    vs_conn_flush(&g->worker);
    vs_conn_flush(&g->broker);
    if (g->is_leaving && vs_conn_queued(&g->broker) == 0)
        front_close(g);
}

static void step(struct world *w, struct input *in)
{
    static const char *const ends[] = {
        "{}", "{\"finish_reason\":\"stop\",\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2,\"cached_tokens\":0}}",
        "{\"error\":{\"code\":-8,\"name\":\"CANCELLED\",\"message\":\"jane.doe@example.com\"}}", "{\"x\":1}",
    };
    static const uint16_t says[] = {
        VS_MSG_READY, VS_MSG_TOKEN, VS_MSG_DATA, VS_MSG_BLOCKED, VS_MSG_COMPLETE, VS_MSG_ERROR, VS_MSG_REJECTED, VS_MSG_STATS,
        VS_MSG_DIGEST, VS_MSG_FAILED, VS_MSG_ALIVE, VS_MSG_CHAT, VS_MSG_TOKEN, VS_MSG_PROGRESS,
    };
    const uint8_t *bytes;
    unsigned op = take(in) % 9, what = take(in);
    uint64_t far = w->n_far ? w->far[what % w->n_far] : what % 4;
    struct ask *a = &w->asks[what % MAX_ASKS];
    uint8_t value[4];
    size_t n;
    switch (op) {
    case 0: put(&w->worker, VS_MSG_READY, 0, 0, "{\"facts\":{}}", 12); break;
    case 1: ask(w, in); break;
    case 2:
    case 3: put_token(w, in, far, what); break;
    case 4:
        n = take_bytes(in, take(in), &bytes);
        put(&w->worker, says[what % (sizeof says / sizeof *says)], (uint16_t)(what >> 5), far, bytes, n);
        break;
    case 5: {
        static const char body[] = "{\"text\":\"to jane.doe@example.com\",\"tokens\":[1]}";
        unsigned which = take(in) % 4;
        put_envelope(&w->worker, which == 2 ? VS_MSG_ERROR : VS_MSG_COMPLETE, far, ends[which], body,
                     which == 2 ? 0 : sizeof body - 1);
        break;
    }
    case 6: end_worker(w); break;
    case 7:
        vs_store_u32le(value, 1 + what);
        if (a->id && !a->is_lost && a->credit + 1 + what <= VS_CREDIT_MAX) {
            a->credit += 1 + what;
            put(&w->broker, VS_MSG_CREDIT, 0, a->id, value, 4);
        }
        break;
    case 8:
        vs_store_u32le(value, what & 1 ? 8 : 4);
        if (a->id && w->broker.state == VS_AT_OPEN)
            put(&w->broker, VS_MSG_CANCEL, 0, a->id, value, 4);
        if (a->is_lost)
            a->id = 0;
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const char policy[] = "{\"version\":1,\"pii\":{\"output\":\"redact\",\"input\":\"warn\",\"types\":[\"EMAIL\"]}}";
    static bool is_ready;
    static struct world world;
    struct world *w = &world;
    struct input in = { data, data + n };
    if (!is_ready)
        vs_json_setup(MAX_JSON);
    is_ready = true;
    if (n > 20000)
        return 0;
    memset(w, 0, sizeof *w);
    struct guard *g = &w->guard;
    g->worker_came = -1;
    vs_conn_init(&g->control, -1, &vs_ipc_to_guard_control, VS_AT_OPEN);
    vs_conn_init(&g->broker, -1, &vs_ipc_to_guard, VS_AT_START);
    vs_conn_init(&g->worker, -1, &vs_ipc_from_worker, VS_AT_START);
    vs_conn_init(&w->broker, -1, &vs_ipc_from_guard, VS_AT_START);
    vs_conn_init(&w->worker, -1, &vs_ipc_to_worker, VS_AT_OPEN);
    g->sandbox = json_object();
    if (screen_create(policy, sizeof policy - 1, g->key, NULL, NULL, &g->screen, NULL) != VS_OK)
        fail(__LINE__);
    new_worker(w);
    for (int i = 0; i < MAX_STEPS && in.at < in.end; i++) {
        step(w, &in);
        turn(w);
        hear_worker(w);
        hear_broker(w);
    }
    while (g->passes)
        pass_free(g, g->passes);
    vs_conn_clear(&g->broker);
    vs_conn_clear(&g->worker);
    vs_conn_clear(&w->broker);
    vs_conn_clear(&w->worker);
    screen_unref(g->screen);
    json_decref(g->sandbox);
    return 0;
}
