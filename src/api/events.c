/* api/events.c - a request started, its events given out: one at a time (veritas_step), or all of one request (veritas_run).
 *
 *     client ---> is it whose we wait for?  yes: given out, credited when the next is asked for
 *                                           no:  kept, credited when it is given out
 *
 * What is kept is bounded by credit; a daemon that sends more loses us.
 */
#include "api/internal.h"

#include "base/clock.h"
#include "base/files.h"
#include "ipc/json.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FOR_EVER UINT64_MAX

struct vs_kept {
    struct vs_kept *next;
    veritas_request *request;
    struct vs_event event;              /* its text lies behind this struct, its json is a reference of ours */
    char text[];
};

/* ---- events that wait ---- */

static void kept_free(struct vs_kept *k)
{
    json_decref(k->event.json);
    free(k);
}

void vs_api_forget(struct veritas *v, const veritas_request *r)
{
    for (struct vs_kept **at = &v->kept, *k; (k = *at); ) {
        if (r && k->request != r) {
            at = &k->next;
            continue;
        }
        *at = k->next;
        kept_free(k);
    }
    v->kept_end = &v->kept;
    while (*v->kept_end)
        v->kept_end = &(*v->kept_end)->next;
}

static int keep(veritas *v, veritas_request *r, const struct vs_event *e, struct vs_error *err)
{
    if (e->kind == VS_MSG_PROGRESS)     /* it may be lost, and no credit bounds it */
        return VS_OK;
    vs_client_keep(v->client);
    r->kept_bytes += e->credit_bytes;
    if (r->kept_bytes > vs_client_credit(v->client))
        return vs_error_set(err, VS_E_PROTOCOL, "the daemon sends more of a request than it has credit for");
    struct vs_kept *k = malloc(sizeof *k + e->n);
    if (!k)
        return vs_error_set(err, VS_E_NOMEM, "%s", vs_status_text(VS_E_NOMEM));
    k->next = NULL;
    k->request = r;
    k->event = *e;
    json_incref(e->json);
    if (e->n)
        memcpy(k->text, e->text, e->n);
    k->event.text = k->text;
    *v->kept_end = k;
    v->kept_end = &k->next;
    return VS_OK;
}

/* The first that waits: of one request, or of any. NULL: there is none. */
static struct vs_kept *take_kept(veritas *v, const veritas_request *only)
{
    struct vs_kept **at = &v->kept, *k;
    while ((k = *at) && only && k->request != only)
        at = &k->next;
    if (!k)
        return NULL;
    *at = k->next;
    if (v->kept_end == &k->next)
        v->kept_end = at;
    return k;
}

/* ---- an event as the application sees it ---- */

static const char *text_of(struct vs_buf *b, const char *bytes, size_t n)
{
    vs_buf_reset(b);
    vs_buf_add(b, bytes, n);
    return b->status == VS_OK ? b->data : NULL;
}

static int set_json(veritas *v, const json_t *json, struct veritas_event *ret)
{
    vs_buf_reset(&v->json);
    vs_json_dump(json, &v->json);
    ret->json = v->json.data;
    ret->json_bytes = v->json.n;
    return v->json.status;
}

static int show_bytes(veritas *v, veritas_request *r, const struct vs_event *e, struct veritas_event *ret)
{
    (void)r;
    ret->text = text_of(&v->text, e->text, e->n);
    ret->text_bytes = e->n;
    ret->token = e->token;
    ret->choice = e->index;
    ret->part = e->part;
    return !ret->text ? VS_E_NOMEM : e->json ? set_json(v, e->json, ret) : VS_OK;
}

static int show_progress(veritas *v, veritas_request *r, const struct vs_event *e, struct veritas_event *ret)
{
    (void)r;
    const json_t *what = json_object_get(e->json, "what");
    ret->text = text_of(&v->text, json_is_string(what) ? json_string_value(what) : "", json_string_length(what));
    ret->text_bytes = json_string_length(what);
    ret->done = json_integer_value(json_object_get(e->json, "done"));
    ret->total = json_integer_value(json_object_get(e->json, "total"));
    return ret->text ? set_json(v, e->json, ret) : VS_E_NOMEM;
}

static int show_result(veritas *v, veritas_request *r, const struct vs_event *e, struct veritas_event *ret)
{
    (void)v;
    json_decref(r->result);
    r->result = json_incref(e->json);
    ret->json = veritas_result(r);
    ret->json_bytes = r->result_text.n;
    return ret->json ? VS_OK : VS_E_NOMEM;
}

static int show_error(veritas *v, veritas_request *r, const struct vs_event *e, struct veritas_event *ret)
{
    (void)r;
    v->error = (struct veritas_error)VERITAS_ERROR_INIT;
    vs_api_fail(&v->error, &e->error);
    ret->error = &v->error;
    return VS_OK;
}

static const struct {
    uint16_t type;
    int kind;
    int (*show)(veritas *v, veritas_request *r, const struct vs_event *e, struct veritas_event *ret);
} shows[] = {
    { VS_MSG_TOKEN, VERITAS_TOKEN, show_bytes },          { VS_MSG_DATA, VERITAS_DATA, show_bytes },
    { VS_MSG_PROGRESS, VERITAS_PROGRESS, show_progress }, { VS_MSG_COMPLETE, VERITAS_DONE, show_result },
    { VS_MSG_REJECTED, VERITAS_FAILED, show_error },      { VS_MSG_ERROR, VERITAS_FAILED, show_error },
};

/* An event for which there is no memory fails its request, which ends. */
static void show(veritas *v, veritas_request *r, const struct vs_event *e, struct veritas_event *ret)
{
    size_t i = vs_ipc_handler(shows, sizeof shows / sizeof *shows, sizeof *shows, e->kind);
    *ret = (struct veritas_event)VERITAS_EVENT_INIT;
    ret->kind = shows[i].kind;
    ret->request = r;
    ret->user = r->user;
    ret->text = "";
    int status = shows[i].show(v, r, e, ret);
    r->is_running = r->is_running && !e->is_last;
    if (status == VS_OK)
        return;
    struct vs_event failed = { .kind = VS_MSG_ERROR, .is_last = true };
    vs_error_set(&failed.error, status, "%s", vs_status_text(status));
    if (r->is_running)
        vs_client_cancel(v->client, r->id, NULL);
    vs_api_forget(v, r);
    json_decref(r->result);
    r->result = NULL;
    vs_buf_clear(&v->text);
    vs_buf_clear(&v->json);
    show(v, r, &failed, ret);
}

/* ---- the next event ---- */

static veritas_request *find(const veritas *v, uint64_t id)
{
    for (veritas_request *r = v->requests; r; r = r->next)
        if (r->is_running && r->id == id)
            return r;
    return NULL;
}

static void send_cancels(veritas *v)
{
    for (veritas_request *r = v->requests; r; r = r->next)
        if (r->is_running && !r->is_cancel_sent && atomic_load(&r->is_cancelled)) {
            r->is_cancel_sent = true;
            vs_client_cancel(v->client, r->id, NULL);
        }
}

/* The connection is over: each request that runs ends by that. False: there is none left. */
static bool take_lost(veritas *v, veritas_request *only, const struct vs_error *why, struct veritas_event *ret)
{
    veritas_request *r = only ? only : v->requests;
    while (r && !r->is_running)
        r = only ? NULL : r->next;
    if (!r)
        return false;
    struct vs_event e = { .kind = VS_MSG_ERROR, .is_last = true, .error = *why };
    show(v, r, &e, ret);
    return true;
}

/* One event that is here already, of `only` or of any. VS_E_TIMEOUT: there is none; else why the connection is over. */
static int take(veritas *v, veritas_request *only, struct veritas_event *ret, struct vs_error *err)
{
    struct vs_kept *k = take_kept(v, only);
    if (k) {
        k->request->kept_bytes -= k->event.credit_bytes;
        vs_client_consume(v->client, k->request->id, k->event.credit_bytes);
        show(v, k->request, &k->event, ret);
        kept_free(k);
        return VS_OK;
    }
    while (v->lost.code == VS_OK) {
        struct vs_event e;
        int status = vs_client_next(v->client, 0, &e, err);
        if (status == VS_E_TIMEOUT)
            return status;
        if (status != VS_OK)
            break;
        veritas_request *r = find(v, e.request);
        if (r && (!only || r == only)) {
            show(v, r, &e, ret);
            return VS_OK;
        }
        if (r && keep(v, r, &e, err) != VS_OK)
            v->lost = *err;
    }
    if (v->lost.code != VS_OK)
        *err = v->lost;
    return take_lost(v, only, err, ret) ? VS_OK : err->code;
}

/* Waits on everything that can make an event. VS_OK: look again; VS_E_TIMEOUT. */
static int wait_until(const veritas *v, uint64_t end, bool stop_at_signal)
{
    uint64_t now = vs_clock_ns();
    if (end != FOR_EVER && now >= end)
        return VS_E_TIMEOUT;
    uint64_t ms = end == FOR_EVER ? 0 : (end - now + 999999) / 1000000;
    struct pollfd p = { v->poll_fd, POLLIN, 0 };
    int n = poll(&p, 1, end == FOR_EVER ? -1 : (int)ms);
    return n < 0 && stop_at_signal ? VS_E_TIMEOUT : VS_OK;
}

/* From here on wake_fd says what comes from here on. */
static void forget_waking(veritas *v)
{
    uint64_t n;
    v->is_awake = false;
    while (read(v->wake_fd, &n, sizeof n) < 0 && errno == EINTR) { }
}

/* vs_error of VS_E_TIMEOUT is not set. */
static int next_event(veritas *v, veritas_request *only, uint64_t end, struct veritas_event *ret, struct vs_error *err)
{
    for (;;) {
        send_cancels(v);
        int status = take(v, only, ret, err);
        if (status == VS_OK)
            return status;
        forget_waking(v);
        if (status != VS_E_TIMEOUT)
            return status;
        send_cancels(v);                /* of those that woke us before */
        vs_api_settle(v);
        status = wait_until(v, end, only == NULL);
        if (status != VS_OK)
            return status;
    }
}

int veritas_step(veritas *v, int timeout_ms, struct veritas_event *ret, struct veritas_error *err)
{
    struct veritas_event e;
    struct vs_error why;
    size_t least = offsetof(struct veritas_event, part);        /* programs that were built before there were parts */
    if (!v || !ret || ret->size < least)
        return vs_api_error(err, VS_E_INVALID, "v or ret is NULL, or *ret does not begin as VERITAS_EVENT_INIT");
    if (v->is_in_run)
        return vs_api_error(err, VS_E_BUSY, "veritas_run waits on this connection: nothing else can wait meanwhile");
    uint64_t end = timeout_ms < 0 ? FOR_EVER : timeout_ms ? vs_clock_ns() + (uint64_t)timeout_ms * 1000000 : 0;
    if (timeout_ms < 0 && !vs_api_is_any_running(v))
        end = 0;
    int status = next_event(v, NULL, end, &e, &why);
    if (status == VS_E_TIMEOUT)
        return timeout_ms < 0 && end == 0 ? vs_api_error(err, VS_E_INVALID, "no request runs on this connection")
            : vs_api_error(err, status, "nothing came in time");
    vs_api_settle(v);
    if (status != VS_OK)
        return vs_api_fail(err, &why);
    e.size = ret->size;
    memcpy(ret, &e, e.size < sizeof e ? e.size : sizeof e);
    return VERITAS_OK;
}

/* ---- a request ---- */

/* The files of a LOAD by path, for their descriptors; none: it is by name. */
static int open_model(const veritas_request *r, struct vs_files *ret, struct vs_error *err)
{
    const char *model = json_string_value(json_object_get(r->body, "model"));
    struct stat st;
    uint64_t bytes;
    ret->n = 0;
    if (r->kind != VS_MSG_LOAD || !model || !strchr(model, '/'))
        return VS_OK;
    return vs_files_open_model("the model", model, ret, &st, &bytes, err);
}

int veritas_start(veritas_request *r, struct veritas_error *err)
{
    struct vs_error why;
    struct vs_files files;
    if (!r || !r->v)
        return vs_api_error(err, VS_E_INVALID, r ? "the connection of this request was closed" : "r is NULL");
    if (r->is_running)
        return vs_api_error(err, VS_E_BUSY, "this request runs already");
    if (r->failed.code != VS_OK)
        return vs_api_fail(err, &r->failed);
    veritas *v = r->v;
    if (v->lost.code != VS_OK)
        return vs_api_fail(err, &v->lost);
    if (open_model(r, &files, &why) != VS_OK)
        return vs_api_fail(err, &why);
    int status = vs_client_request(v->client, r->kind, r->body, &files, &r->id, &why);
    vs_files_close(&files);
    if (status != VS_OK)
        return vs_api_fail(err, &why);
    json_decref(r->result);
    r->result = NULL;
    vs_buf_clear(&r->result_text);
    r->kept_bytes = 0;
    r->is_cancel_sent = false;
    atomic_store(&r->is_cancelled, false);
    r->is_running = true;
    vs_api_settle(v);
    return VERITAS_OK;
}

void veritas_cancel(veritas_request *r)
{
    if (!r || !r->v)
        return;
    int before = errno;
    atomic_store(&r->is_cancelled, true);
    vs_api_wake(r->v);
    errno = before;
}

/* What was asked for in a callback, and had to wait for us to be done with it. */
static int finish_run(veritas *v, veritas_request *r, int status, struct veritas_error *err)
{
    v->is_in_run = r->is_in_run = false;
    if (r->is_doomed)
        veritas_request_free(r);
    if (!v->is_doomed) {
        vs_api_settle(v);
        return status;
    }
    veritas_close(v);
    return vs_api_error(err, VS_E_CANCELLED, "the connection was closed by the callback");
}

int veritas_run(veritas_request *r, veritas_callback *callback, void *user, struct veritas_error *err)
{
    if (r && r->v && r->v->is_in_run)
        return vs_api_error(err, VS_E_BUSY, "veritas_run waits on this connection: nothing else can wait meanwhile");
    int status = veritas_start(r, err);
    if (status != VERITAS_OK)
        return status;
    veritas *v = r->v;
    bool is_stopped = false;
    struct vs_error why;
    struct veritas_event e;
    v->is_in_run = r->is_in_run = true;
    do {
        status = next_event(v, r, FOR_EVER, &e, &why);      /* a lost connection is an event of r too */
        if (status != VERITAS_OK || !callback || is_stopped)
            continue;
        bool stops = callback(user, &e) != 0 || r->is_doomed;
        if (stops && r->is_running) {   /* else it has ended already */
            is_stopped = true;
            veritas_cancel(r);
        }
    } while (status == VERITAS_OK && e.kind != VERITAS_DONE && e.kind != VERITAS_FAILED && !v->is_doomed);
    if (status != VERITAS_OK)
        vs_api_fail(err, &why);
    else if (is_stopped)
        status = vs_api_error(err, VS_E_CANCELLED, "the callback stopped it");
    else if (e.kind == VERITAS_FAILED) {
        status = v->error.code;
        if (err && err->size >= sizeof *err) {
            size_t size = err->size;
            *err = v->error;
            err->size = size;
        }
    }
    return finish_run(v, r, status, err);
}
