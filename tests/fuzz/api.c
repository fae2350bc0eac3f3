/* rooms: api client ipc base */
/* fuzz/api.c - a hostile daemon, and a program that does this and that meanwhile, against libveritas. The input is a list of steps:
 * an operation, its argument, and for what the daemon says a header in few bytes, or bytes as they are. However it goes: each
 * request has exactly one end, what is given out is whole, and nothing is left. */
#include "veritas/veritas.h"

#include "base/buf.h"
#include "base/bytes.h"
#include "ipc/frame.h"
#include "ipc/json.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { N_REQUESTS = 4, MAX_STEPS = 300 };

struct world {
    const uint8_t *at, *end;
    veritas *v;
    veritas_request *request[N_REQUESTS];
    int ends[N_REQUESTS];               /* ends that are due: 1 while it runs */
    int peer;
    bool is_running;                    /* veritas_run is on the stack */
};

static unsigned take(struct world *w)
{
    return w->at < w->end ? *w->at++ : 0;
}

static void say(struct world *w, const void *data, size_t n)
{
    if (w->peer >= 0 && n)
        (void)!send(w->peer, data, n, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* A frame with a header that is mostly right. */
static void say_frame(struct world *w)
{
    static const uint16_t types[] = { VS_MSG_TOKEN, VS_MSG_DATA, VS_MSG_PROGRESS, VS_MSG_COMPLETE, VS_MSG_REJECTED, VS_MSG_ERROR,
                                      VS_MSG_HELLO };
    struct vs_buf out = { 0 };
    uint8_t header[VS_FRAME_HEADER], head[4];
    unsigned what = take(w), id = take(w) % 8, n = take(w);
    uint16_t type = types[what % 7];
    size_t left = (size_t)(w->end - w->at);
    n = n < left ? n : (unsigned)left;
    const uint8_t *bytes = w->at;
    w->at += n;
    if (what & 8) {                     /* an envelope that is right, then bytes as a body */
        static const char good[] = "{}";
        static const char bad[] = "{\"error\":{\"code\":-4,\"name\":\"BUSY\",\"message\":\"x\",\"retry_after_ms\":100}}";
        const char *envelope = type == VS_MSG_COMPLETE ? good : bad;
        vs_store_u32le(head, (uint32_t)strlen(envelope));
        vs_buf_add(&out, head, 4);
        vs_buf_str(&out, envelope);
    }
    for (int i = 0; i < (what & 16 && !(what & 8) ? 200 : 1); i++)         /* large ones, for what is kept */
        vs_buf_add(&out, bytes, n);
    vs_frame_header(header, type, (uint16_t)(what >> 5 & 6), id, (uint32_t)out.n);
    say(w, header, sizeof header);
    say(w, out.data, out.n);
    vs_buf_clear(&out);
}

static int index_of(const struct world *w, const veritas_request *r)
{
    for (int i = 0; i < N_REQUESTS; i++)
        if (r && w->request[i] == r)
            return i;
    abort();                            /* an event of a request that is not there */
}

static void judge(struct world *w, const struct veritas_event *e)
{
    int i = index_of(w, e->request);
    if (!w->ends[i] || !e->text || e->text[e->text_bytes] || (e->json && e->json[e->json_bytes]) || e->user != &w->ends[i])
        abort();
    if ((e->kind == VERITAS_FAILED) != (e->error != NULL) || (e->error && e->error->code >= 0))
        abort();
    if (e->kind == VERITAS_DONE && !e->json)
        abort();
    if (e->kind == VERITAS_DONE || e->kind == VERITAS_FAILED)
        w->ends[i] = 0;
}

static void free_one(struct world *w, unsigned i)
{
    veritas_request_free(w->request[i]);
    w->request[i] = NULL;
    w->ends[i] = 0;
}

static void start_one(struct world *w, unsigned i, int kind)
{
    if (!w->request[i] && veritas_request_new(w->v, kind, "m", &w->request[i], NULL) == VERITAS_OK) {
        veritas_request_set_user(w->request[i], &w->ends[i]);
        veritas_set_text(w->request[i], "prompt", "p", 1);
    }
    if (w->request[i] && veritas_start(w->request[i], NULL) == VERITAS_OK) {
        if (w->ends[i])
            abort();                    /* it ran already */
        w->ends[i] = 1;
    }
}

static void step(struct world *w);

static int on_event(void *user, const struct veritas_event *e)
{
    struct world *w = user;
    judge(w, e);
    unsigned op = take(w);
    if (w->at == w->end && w->peer >= 0) {          /* else it would wait for ever */
        close(w->peer);
        w->peer = -1;
    }
    if (op % 4 == 1)
        step(w);
    return op % 8 == 7;
}

static void run_one(struct world *w, unsigned i)
{
    if (w->is_running || !w->request[i] || w->ends[i])
        return;
    struct veritas_error error = VERITAS_ERROR_INIT;
    for (int k = take(w) % 4; k > 0; k--)
        say_frame(w);
    close(w->peer);                     /* nobody can say more while it waits */
    w->peer = -1;
    w->is_running = true;
    w->ends[i] = 1;
    int status = veritas_run(w->request[i], on_event, w, &error);
    w->is_running = false;
    if (status > 0 || (status < 0 && error.code != status))
        abort();
    w->ends[i] = 0;
}

static void step(struct world *w)
{
    struct veritas_event e = VERITAS_EVENT_INIT;
    unsigned op = take(w), i = op >> 4 & 3;
    static const int kinds[] = { VERITAS_GENERATE, VERITAS_LOGITS, VERITAS_LIST, VERITAS_TOKENIZE };
    size_t n;
    switch (op & 7) {
    case 0:
        say_frame(w);
        break;
    case 1:
        n = take(w);
        n = n < (size_t)(w->end - w->at) ? n : (size_t)(w->end - w->at);
        say(w, w->at, n);
        w->at += n;
        break;
    case 2:
        start_one(w, i, kinds[op >> 6]);
        break;
    case 3:
        veritas_cancel(w->request[i]);
        break;
    case 4:
        if (!w->is_running)             /* in its own callback it stays until the end */
            free_one(w, i);
        break;
    case 5:
        run_one(w, i);
        break;
    default:
        if (veritas_step(w->v, 0, &e, NULL) == VERITAS_OK)
            judge(w, &e);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const char hello[] = "{\"protocol\":2,\"credit\":64}";
    struct world w = { .at = data, .end = data + n };
    struct veritas_options o = VERITAS_OPTIONS_INIT;
    struct veritas_event e = VERITAS_EVENT_INIT;
    uint8_t header[VS_FRAME_HEADER];
    int pair[2], status;
    if (n > 20000 || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
        return 0;
    w.peer = pair[1];
    o.fd = pair[0];
    vs_frame_header(header, VS_MSG_HELLO, 0, 0, sizeof hello - 1);
    say(&w, header, sizeof header);
    say(&w, hello, sizeof hello - 1);
    if (veritas_open(&o, &w.v, NULL) != VERITAS_OK)
        abort();
    close(pair[0]);
    for (int i = 0; i < MAX_STEPS && w.at < w.end; i++)
        step(&w);
    if (w.peer >= 0)
        close(w.peer);
    while ((status = veritas_step(w.v, 0, &e, NULL)) == VERITAS_OK)
        judge(&w, &e);
    struct pollfd p = { veritas_fd(w.v), POLLIN, 0 };
    if (status == VERITAS_E_TIMEOUT || poll(&p, 1, 0) != 0)
        abort();                        /* a connection that is over says so, once */
    for (unsigned i = 0; i < N_REQUESTS; i++) {
        if (w.ends[i])
            abort();                    /* without an end */
        if (i & 1)
            free_one(&w, i);
    }
    veritas_close(w.v);
    for (unsigned i = 0; i < N_REQUESTS; i++)
        free_one(&w, i);
    return 0;
}
