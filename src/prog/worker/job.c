/* prog/worker/job.c - see job.h */
#include "prog/worker/job.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/num.h"
#include "ipc/json.h"
#include "prog/worker/claim.h"
#include "sandbox/sandbox.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    STREAM_AHEAD = 1 << 20,              /* bytes that a text thread may stream before the client takes them */
    MAX_QUEUED = 128 << 10,              /* progress is dropped when so much waits to be sent */
    FRAME_HEAD = 8,                      /* of a frame that waits: u32 bytes, u16 type, u16 flags */
    N_TEXTS = 5,                        /* keys of a request that hold what was read: take_texts */
};
#define PROGRESS_NS 50000000ull
#define HEAR_NS 1000000ull              /* so often a request that the main thread reads looks at the socket */
#define MS_NS 1000000ull
#define CLAIM_NS (VS_CLAIM_MS * MS_NS)

/* ---- the list ---- */

static struct vs_job *find_in(struct vs_job *list, uint64_t id)
{
    while (list && list->id != id)
        list = list->next;
    return list;
}

struct vs_job *vs_job_find(const struct vs_link *l, uint64_t id)
{
    return find_in(l->jobs, id);
}

static void unlink_job(struct vs_job **at, struct vs_job *j)
{
    while (*at != j)
        at = &(*at)->next;
    *at = j->next;
}

static struct vs_job *create(struct vs_link *l, uint64_t id)
{
    struct vs_job *j = calloc(1, sizeof *j);
    if (!j)
        vs_link_leave(1);
    j->link = l;
    j->id = id;
    pthread_mutex_init(&j->lock, NULL);
    pthread_cond_init(&j->drained, NULL);
    return j;
}

static void destroy(struct vs_job *j)
{
    for (int i = 0; i < VS_MAX_CHOICES; i++)
        free(j->sent[i].id);
    json_decref(j->request);
    json_decref(j->answer.result);
    vs_claim_free(j->claim);
    vs_buf_clear(&j->body);
    vs_buf_clear(&j->out);
    pthread_cond_destroy(&j->drained);
    pthread_mutex_destroy(&j->lock);
    free(j);
}

/* ---- output ---- */

static bool has_output(const struct vs_job *j)
{
    return j->out.n > j->out_done;
}

/* A token's frame is on its way: that much the client has. */
static void note_said(const struct vs_job *j, uint16_t type, uint16_t flags, const char *data, uint32_t n)
{
    const struct vs_frame f = { .type = type, .flags = flags, .data = (const uint8_t *)data, .n = n };
    struct vs_token_view t;
    if (j->claim && type == VS_MSG_TOKEN && vs_token_parse(&f, &t))
        vs_claim_said(j->claim, t.index, t.id);
}

/* Sends what the credit allows; says once how much is wanted. The main thread, under the lock. */
static void pump(struct vs_job *j)
{
    if (atomic_load(&j->stop) == VS_E_BUSY)
        return;                          /* it goes back as one of which nothing was said */
    while (has_output(j)) {
        const char *at = j->out.data + j->out_done;
        uint32_t n = vs_load_u32le(at);
        if (n > j->credit) {
            uint8_t bytes[4];
            vs_store_u32le(bytes, n);
            if (j->wanted != n)
                vs_link_send(j->link, VS_MSG_BLOCKED, 0, j->id, bytes, sizeof bytes);
            j->wanted = n;
            return;
        }
        j->credit -= n;
        j->wanted = 0;
        j->sent_any = true;
        vs_link_send(j->link, vs_load_u16le(at + 4), vs_load_u16le(at + 6), j->id, at + FRAME_HEAD, n);
        note_said(j, vs_load_u16le(at + 4), vs_load_u16le(at + 6), at + FRAME_HEAD, n);
        j->out_done += FRAME_HEAD + n;
    }
    j->out_done = 0;
    vs_buf_reset(&j->out);
    pthread_cond_signal(&j->drained);
}

static bool on_main_thread(const struct vs_link *l)
{
    return pthread_equal(pthread_self(), l->main);
}

static void wake(struct vs_link *l)
{
    static const uint64_t one = 1;
    if (write(l->wake_fd, &one, sizeof one) < 0)
        return;                          /* full: it is awake already */
}

/* A frame whose bytes were added behind `begin` goes out, or waits for credit. */
static int let_out(struct vs_job *j, size_t begin, uint16_t type, uint16_t flags)
{
    if (j->out.status != VS_OK)
        return VS_E_NOMEM;
    uint32_t n = (uint32_t)(j->out.n - begin - FRAME_HEAD);
    vs_store_u32le(j->out.data + begin, n);
    vs_store_u16le(j->out.data + begin + 4, type);
    vs_store_u16le(j->out.data + begin + 6, flags);
    if (on_main_thread(j->link)) {
        pump(j);
        return VS_OK;
    }
    wake(j->link);
    while (j->out.n - j->out_done > STREAM_AHEAD && atomic_load(&j->stop) == VS_OK)
        pthread_cond_wait(&j->drained, &j->lock);
    return atomic_load(&j->stop);
}

static void add_u32(struct vs_buf *out, uint32_t value)
{
    char bytes[4];
    vs_store_u32le(bytes, value);
    vs_buf_add(out, bytes, sizeof bytes);
}

static int sink_token(void *context, const struct vs_said *said)
{
    struct vs_job *j = context;
    uint16_t flags = 0;
    pthread_mutex_lock(&j->lock);
    size_t begin = j->out.n;
    vs_buf_grow(&j->out, FRAME_HEAD);
    if (said->index >= 0) {
        flags |= VS_FLAG_INDEX;
        add_u32(&j->out, (uint32_t)said->index);
    }
    if (said->part >= 0) {
        flags |= VS_FLAG_PART;
        add_u32(&j->out, (uint32_t)said->part);
    }
    add_u32(&j->out, said->id);
    add_u32(&j->out, (uint32_t)said->n);
    vs_buf_add(&j->out, said->text, said->n);
    if (said->extra) {
        flags |= VS_FLAG_EXTRA;
        vs_json_dump(said->extra, &j->out);
    }
    int status = VS_E_LIMIT;
    if (j->out.status == VS_OK && j->out.n - begin - FRAME_HEAD > VS_MAX_CHUNK)
        j->out.n = begin;
    else
        status = let_out(j, begin, VS_MSG_TOKEN, flags);
    pthread_mutex_unlock(&j->lock);
    return status;
}

static int sink_data(void *context, const void *bytes, size_t n)
{
    struct vs_job *j = context;
    const char *at = bytes;
    int status = VS_OK;
    pthread_mutex_lock(&j->lock);
    for (size_t chunk; n && status == VS_OK; at += chunk, n -= chunk) {
        size_t begin = j->out.n;
        chunk = n < VS_MAX_CHUNK ? n : VS_MAX_CHUNK;
        vs_buf_grow(&j->out, FRAME_HEAD);
        vs_buf_add(&j->out, at, chunk);
        status = let_out(j, begin, VS_MSG_DATA, 0);
    }
    pthread_mutex_unlock(&j->lock);
    return status;
}

static bool sink_is_full(void *context)
{
    return has_output(context);          /* the main thread's question: nobody else adds to it then */
}

static int sink_progress(void *context, const char *what, uint64_t done, uint64_t total)
{
    struct vs_job *j = context;
    struct vs_link *l = j->link;
    uint64_t now = vs_clock_ns();
    if (on_main_thread(l) && (now - j->progress_ns >= PROGRESS_NS || (total && done == total)) &&
        vs_conn_queued(&l->conn) < MAX_QUEUED) {
        j->progress_ns = now;
        vs_link_send_json(l, VS_MSG_PROGRESS, j->id, json_pack("{s:s, s:I, s:I}", "what", what, "done", (json_int_t)done,
                                                               "total", (json_int_t)total), VS_MAX_CONTROL);
    }
    return atomic_load(&j->stop);
}

static int sink_stopped(void *context)
{
    struct vs_job *j = context;
    return atomic_load(&j->stop);
}

static int ask(void *context)
{
    struct vs_job *j = context;
    struct vs_link *l = j->link;
    if (j->reader)
        atomic_fetch_add_explicit(&j->reader->ticks, 1, memory_order_relaxed);
    else if (on_main_thread(l) && vs_clock_ns() - l->heard_ns >= HEAR_NS)
        vs_link_attend(l);
    return atomic_load(&j->stop);
}

/* ---- the end ---- */

/* A request that never got anywhere was rejected; one that failed on its way is an error. */
static bool is_rejection(const struct vs_job *j)
{
    static const int codes[] = {
        VS_E_INVALID, VS_E_UNSUPPORTED, VS_E_CONTEXT, VS_E_MALFORMED, VS_E_NOT_FOUND, VS_E_BUSY, VS_E_DENIED,
    };
    for (size_t i = 0; !j->sent_any && i < sizeof codes / sizeof *codes; i++)
        if (codes[i] == j->status)
            return true;
    return false;
}

/* The result's bytes take the place of the request's. */
static void write_result(struct vs_job *j)
{
    vs_buf_clear(&j->body);
    j->body.limit = VS_MAX_RESULT;
    vs_json_write(j->answer.result, &j->body, &j->sink.check);
    j->status = j->body.status;
    if (j->status == VS_E_LIMIT)
        vs_error_set(&j->err, VS_E_LIMIT, "the result is larger than %u MiB", VS_MAX_RESULT >> 20);
}

static void end(struct vs_job *j, int status, const struct vs_error *err)
{
    j->state = VS_JOB_ENDED;
    j->status = status;
    j->failed_ns = vs_clock_ns();
    if (err)
        j->err = *err;
    int stop = atomic_load(&j->stop);
    if (status != VS_OK && stop == status)       /* stopped from outside: one wording for all methods */
        vs_error_set(&j->err, status, "%s", status == VS_E_LIMIT ? "the client did not take the answer in time"
                                                                 : vs_status_text(status));
    else if (status != VS_OK && (j->err.code != status || !j->err.text[0]))
        vs_error_set(&j->err, status, "%s", vs_status_text(status));
}

static void sink_ended(void *context, int status, json_t *result, const struct vs_error *err)
{
    struct vs_job *j = context;
    j->answer.result = result;
    j->status = status;
    if (status == VS_OK)
        write_result(j);
    end(j, j->status, status == VS_OK ? NULL : err);
}

/* Before its end: what its receipt is to say, as far as it came. Without the model's digest it is nothing: false. */
static bool say_claim(struct vs_job *j)
{
    char digest[65];
    uint64_t done, total;
    uint32_t n = j->claim ? vs_claim_n(j->claim) : 0;
    if (!n || vs_service_digest(j->link->service, 0, digest, &done, &total, NULL) != VS_OK)
        return false;
    for (uint32_t i = 0; i < n; i++) {
        struct vs_buf out = { .limit = VS_MAX_RECEIPT }, kept = { .limit = VS_MAX_KEPT };
        uint16_t flags = n > 1 ? VS_FLAG_INDEX : 0;
        if (n > 1) {
            char index[4];
            vs_store_u32le(index, i);
            vs_buf_add(&out, index, sizeof index);
            vs_buf_add(&kept, index, sizeof index);
        }
        if (vs_claim_kept(j->claim, i, &kept))
            vs_link_send(j->link, VS_MSG_KEPT, flags, j->id, kept.data, kept.n);
        vs_buf_clear(&kept);
        vs_claim_format(j->claim, i, digest, j->link->service, j->outcome.has_usage ? &j->outcome.usage : NULL, &out);
        if (out.status != VS_OK)
            vs_link_leave(1);
        vs_link_send(j->link, VS_MSG_RECEIPT, flags, j->id, out.data, out.n);
        vs_buf_clear(&out);
    }
    return true;
}

/* What failed on its way has in place of a result what a receipt of it needs to be redone. */
static void write_claim(struct vs_job *j)
{
    j->body.limit = VS_MAX_RESULT;
    vs_claim_dump(j->claim, &j->body);
    if (j->body.status != VS_OK)        /* then it can't be */
        vs_buf_clear(&j->body);
}

/* Nothing is to be sent any more but its end. */
static void say_end(struct vs_job *j)
{
    struct vs_link *l = j->link;
    struct vs_buf head = { .limit = 4 + VS_MAX_ENVELOPE };
    bool has_claim = say_claim(j);
    size_t begin = vs_payload_begin(&head);
    if (j->status != VS_OK) {
        bool has_usage = j->sent_any && j->outcome.has_usage;
        j->outcome = (struct vs_outcome){ .error = j->err, .has_usage = has_usage, .usage = j->outcome.usage };
        vs_buf_clear(&j->body);
    }
    vs_outcome_dump(&j->outcome, &head);
    vs_payload_end(&head, begin);
    uint16_t type = j->status == VS_OK ? VS_MSG_COMPLETE : is_rejection(j) ? VS_MSG_REJECTED : VS_MSG_ERROR;
    if (has_claim && type == VS_MSG_ERROR)
        write_claim(j);
    if (head.status != VS_OK || vs_conn_send_parts(&l->conn, type, 0, j->id, head.data, head.n, j->body.data, j->body.n) != VS_OK)
        vs_link_leave(1);
    vs_buf_clear(&head);
    unlink_job(&l->jobs, j);
    destroy(j);
    if (!l->jobs)
        vs_last_words_phase("waiting for requests");
}

/* A result is nothing without it; what failed on its way, whose receipt is, waits a little for it and then does without. One that
 * goes back into the line has said nothing. */
static bool needs_digest(const struct vs_job *j)
{
    char digest[65];
    uint64_t done, total;
    if (j->state != VS_JOB_ENDED || j->outcome.model_digest[0])
        return false;
    if (j->status == VS_OK)
        return vs_service_needs_digest(j->type);
    uint64_t since = j->stopped_ns ? j->stopped_ns : j->failed_ns;      /* a step may have come between */
    return j->claim && vs_claim_n(j->claim) && !j->is_left && j->status != VS_E_BUSY && vs_clock_ns() - since < CLAIM_NS
        && vs_service_digest(j->link->service, 0, digest, &done, &total, NULL) == VS_E_BUSY;
}

/* Every result names the file when that is known; some are nothing without it. */
static void name_digest(struct vs_job *j)
{
    uint64_t done, total;
    int status = vs_service_digest(j->link->service, 0, j->outcome.model_digest, &done, &total, NULL);
    if (status != VS_OK)
        j->outcome.model_digest[0] = 0;
    if (status == VS_E_BUSY && needs_digest(j))
        sink_progress(j, "digest", done, total);
}

/* True: it is gone. */
static bool finish(struct vs_job *j)
{
    int stop = atomic_load(&j->stop);
    if (j->state != VS_JOB_ENDED)
        return false;
    if (j->status == VS_OK && stop != VS_OK && (has_output(j) || needs_digest(j)))
        end(j, stop, NULL);
    if (j->status == VS_OK && has_output(j))
        return false;
    if (j->status == VS_OK && !j->outcome.model_digest[0])
        name_digest(j);
    if (needs_digest(j))
        return false;                    /* when there will be none, the link says so and ends: main.c */
    say_end(j);
    return true;
}

/* ---- text ---- */

/* From the bytes of a request to its result or its work. On a text thread, or, when it is quick, on the main one. */
static void read_text(struct vs_job *j)
{
    j->request = j->body.n ? vs_json_read(j->body.data, j->body.n, &j->sink.check, &j->err) : json_object();
    vs_buf_clear(&j->body);
    j->status = j->request ? vs_service_call(j->link->service, j->type, j->request, &j->sink, &j->answer, &j->err) : j->err.code;
    if (j->status == VS_OK && j->answer.result)
        write_result(j);
}

/* What was read is not needed any more, but for a few settings. Taken off here, so that the main thread need not free it. */
static void take_texts(struct vs_job *j, json_t *ret[N_TEXTS])
{
    static const char *const keys[N_TEXTS] = { "messages", "tools", "tokens", "template_args", "constraint" };
    for (int i = 0; i < N_TEXTS; i++) {
        ret[i] = json_incref(json_object_get(j->request, keys[i]));
        json_object_del(j->request, keys[i]);
    }
}

/* The main thread goes on with it. */
static void after_text(struct vs_job *j)
{
    struct vs_work *work = j->answer.work;
    int stop = atomic_load(&j->stop);
    j->answer.work = NULL;
    if (work && j->status == VS_OK && stop == VS_OK) {
        j->state = VS_JOB_STEPS;
        vs_service_join(j->link->service, work);
        return;
    }
    vs_work_free(work);
    end(j, j->status == VS_OK && work ? stop : j->status, NULL);
}

static void *text_thread(void *context)
{
    struct vs_text_thread *t = context;
    struct vs_link *l = t->link;
    vs_fp_control_set();
    pthread_mutex_lock(&l->lock);
    for (;;) {
        while (!l->text)
            pthread_cond_wait(&l->has_text, &l->lock);
        struct vs_job *j = l->text;
        l->text = j->text_next;
        j->reader = t;
        pthread_mutex_unlock(&l->lock);
        atomic_fetch_add(&t->ticks, 1);
        atomic_store(&t->busy, true);
        json_t *texts[N_TEXTS];
        read_text(j);
        take_texts(j, texts);
        pthread_mutex_lock(&l->lock);
        j->reader = NULL;
        j->text_next = l->done;
        l->done = j;
        wake(l);
        pthread_mutex_unlock(&l->lock);
        for (int i = 0; i < N_TEXTS; i++)
            json_decref(texts[i]);       /* the job may be gone by now: nobody waits for this */
        atomic_store(&t->busy, false);
        pthread_mutex_lock(&l->lock);
    }
    return NULL;
}

int vs_text_start(struct vs_link *l, struct vs_error *err)
{
    for (; l->n_text_threads < VS_TEXT_THREADS; l->n_text_threads++) {
        struct vs_text_thread *t = &l->text_threads[l->n_text_threads];
        pthread_t thread;
        t->link = l;
        int e = pthread_create(&thread, NULL, text_thread, t);
        if (e != 0)
            return vs_error_set(err, VS_E_LIMIT,
                                "a thread for reading requests can't be started (%s): raise the limits on processes "
                                "and memory", strerror(e));
        pthread_detach(thread);
    }
    return VS_OK;
}

bool vs_jobs_are_alive(struct vs_link *l)
{
    bool all = true;
    for (unsigned i = 0; i < l->n_text_threads; i++) {
        struct vs_text_thread *t = &l->text_threads[i];
        uint64_t ticks = atomic_load(&t->ticks);
        all &= ticks != t->seen || !atomic_load(&t->busy);
        t->seen = ticks;
    }
    return all;
}

static void give_to_text_thread(struct vs_job *j)
{
    struct vs_link *l = j->link;
    pthread_mutex_lock(&l->lock);
    struct vs_job **at = &l->text;
    while (*at)
        at = &(*at)->text_next;
    *at = j;
    j->text_next = NULL;
    pthread_cond_signal(&l->has_text);
    pthread_mutex_unlock(&l->lock);
}

/* ---- frames ---- */

void vs_job_sent(struct vs_link *l, const struct vs_frame *f)
{
    bool has_index = f->flags & VS_FLAG_INDEX;
    uint32_t index = has_index && f->n >= 4 ? vs_load_u32le(f->data) : 0, skip = has_index ? 4 : 0;
    struct vs_job *j = find_in(l->sent, f->id);
    if (f->n < skip || (f->n - skip) % 4 || index >= VS_MAX_CHOICES)
        vs_link_leave(1);                /* the broker's words */
    if (!j) {
        j = create(l, f->id);
        j->next = l->sent;
        l->sent = j;
    }
    struct vs_sent *sent = &j->sent[index];
    size_t n = (f->n - skip) / 4;
    uint32_t *id = realloc(sent->id, (sent->n + n + 1) * sizeof *id);
    if (!id)
        vs_link_leave(1);
    sent->id = id;
    for (size_t i = 0; i < n; i++)
        id[sent->n++] = vs_load_u32le(f->data + skip + 4 * i);
    j->n_sent += n;
}

static void read_envelope(struct vs_job *j, const struct vs_frame *f)
{
    const struct vs_ipc_rule *rule = vs_ipc_rule_find(&vs_ipc_to_worker, f->type);
    struct vs_payload p;
    struct vs_head head;
    if (vs_payload_split(f->data, f->n, rule->envelope, &p, NULL) != VS_OK
        || vs_head_parse(p.envelope, p.envelope_bytes, rule->keys, &head, NULL) != VS_OK || (size_t)head.sent != j->n_sent)
        vs_link_leave(1);                /* the broker's words */
    if (head.receipt && head.salt && !(j->claim = vs_claim_create(head.receipt, head.salt, head.keep)))
        vs_link_leave(1);
    j->sink = (struct vs_sink){
        .context = j, .owner = head.owner, .client = (uint64_t)head.client, .priority = head.priority,
        .arrived_ns = head.arrived_at ? (uint64_t)head.arrived_at * MS_NS : vs_clock_ns(), .sent = j->sent, .claim = j->claim,
        .outcome = &j->outcome,
        .token = sink_token, .data = sink_data, .is_full = sink_is_full, .progress = sink_progress, .stopped = sink_stopped,
        .ended = sink_ended, .check = { .ask = ask, .context = j },
    };
    j->deadline_ns = (uint64_t)head.deadline_at * MS_NS;
    j->credit = (uint32_t)head.credit;
    vs_head_clear(&head);
    vs_buf_add(&j->body, p.body, p.body_bytes);
    if (j->body.status != VS_OK)
        vs_error_set(&j->err, j->body.status, "out of memory");
}

void vs_job_begin(struct vs_link *l, const struct vs_frame *f)
{
    struct vs_job *j = find_in(l->sent, f->id);
    char phase[48];
    if (j)
        unlink_job(&l->sent, j);
    else
        j = create(l, f->id);
    j->type = f->type;
    j->next = l->jobs;
    l->jobs = j;
    snprintf(phase, sizeof phase, "answering %s", vs_message_name(f->type));
    vs_last_words_phase(phase);
    read_envelope(j, f);
    if (j->err.code != VS_OK) {
        end(j, j->err.code, NULL);
    } else if (vs_service_is_quick(f->type) && f->n <= VS_QUICK_BYTES && !l->is_reading) {
        l->is_reading = true;
        read_text(j);
        l->is_reading = false;
        after_text(j);
        finish(j);                       /* at once, for a step may be under way */
    } else {
        give_to_text_thread(j);
    }
}

void vs_job_credit(struct vs_job *j, uint32_t n)
{
    pthread_mutex_lock(&j->lock);
    j->credit = n > VS_CREDIT_MAX - j->credit ? VS_CREDIT_MAX : j->credit + n;
    pump(j);
    pthread_mutex_unlock(&j->lock);
}

void vs_job_stop(struct vs_job *j, int status)
{
    int none = VS_OK;
    uint64_t now = vs_clock_ns();
    if (atomic_compare_exchange_strong(&j->stop, &none, status))        /* a deadline is the broker's, too */
        j->stopped_ns = j->deadline_ns && j->deadline_ns < now ? j->deadline_ns : now;
    pthread_mutex_lock(&j->lock);
    pthread_cond_signal(&j->drained);
    pthread_mutex_unlock(&j->lock);
}

static void take_done(struct vs_link *l)
{
    pthread_mutex_lock(&l->lock);
    struct vs_job *done = l->done;
    l->done = NULL;
    pthread_mutex_unlock(&l->lock);
    while (done) {
        struct vs_job *j = done;
        done = j->text_next;
        after_text(j);
    }
}

bool vs_jobs_turn(struct vs_link *l)
{
    uint64_t now = vs_clock_ns();
    bool any = false;
    take_done(l);
    for (struct vs_job *j = l->jobs, *next; j; j = next) {
        next = j->next;
        if (j->deadline_ns && now >= j->deadline_ns)
            vs_job_stop(j, VS_E_TIMEOUT);
        pthread_mutex_lock(&j->lock);
        pump(j);                         /* what a text thread streams */
        pthread_mutex_unlock(&j->lock);
        any |= finish(j);
    }
    return any;
}

bool vs_jobs_await_digest(const struct vs_link *l)
{
    for (const struct vs_job *j = l->jobs; j; j = j->next)
        if (needs_digest(j) && (j->status != VS_OK || !has_output(j)))
            return true;
    return false;
}
