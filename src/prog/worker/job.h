/* prog/worker/job.h - requests under way: what came, what goes out, and the threads that read their text.
 *
 *     frame --> job --text thread--> result --------------------------------> terminal frame
 *                        \--> work --main thread's steps--> result --/        (after all its output, and the file's digest)
 *
 * Output waits in the job until the client gives credit for it. What is quick is done at once by the main thread.
 *
 * Threads: the text threads call vs_service_call for one job each; everything else is the main thread's. What both touch (stop,
 * ticks, the output of a service that streams from its text thread) is atomic or under the lock.
 *
 * Stays inside the worker; knows frames, not models.
 */
#ifndef VS_WORKER_JOB_H
#define VS_WORKER_JOB_H
#include "base/buf.h"
#include "ipc/frame.h"
#include "prog/worker/service.h"

#include <pthread.h>
#include <stdatomic.h>

enum { VS_TEXT_THREADS = 4, VS_QUICK_BYTES = 16 << 10 };     /* a quick request has at most so many bytes */

enum vs_job_state {
    VS_JOB_TEXT,                         /* waits for a text thread, or has one */
    VS_JOB_STEPS,                        /* the service computes it */
    VS_JOB_ENDED,                        /* its outcome is there; output or the digest may be awaited */
};

struct vs_job {
    struct vs_job *next;                 /* of all */
    struct vs_text_thread *reader;       /* NULL: the main thread, or none */
    struct vs_job *text_next;            /* of those that wait for a text thread, or come back from it */
    struct vs_link *link;
    uint64_t id;
    uint16_t type;
    enum vs_job_state state;
    struct vs_buf body;                  /* bytes of JSON, until they are read */
    json_t *request;
    struct vs_sink sink;
    struct vs_sent sent[VS_MAX_CHOICES];
    size_t n_sent;                       /* that its envelope promises */
    struct vs_outcome outcome;
    struct vs_claim *claim;              /* for its receipt; NULL: none is wanted */
    struct vs_answer answer;
    int status;
    struct vs_error err;
    _Atomic int stop;                    /* VS_OK, or why it must stop */
    bool is_left;                        /* nobody hears its end: a receipt of it is nothing to wait for */
    uint64_t deadline_ns, progress_ns, stopped_ns, failed_ns;      /* stopped_ns: 0, or when it was told to stop */
    /* Output: frames that wait for credit, as bytes of frames without the id. */
    pthread_mutex_t lock;                /* of what follows; a text thread may stream */
    pthread_cond_t drained;
    uint32_t credit, wanted;             /* bytes that may go; that BLOCKED has asked for */
    struct vs_buf out;
    size_t out_done;
    bool sent_any;
};

struct vs_link {
    struct vs_conn conn;
    struct vs_service *service;
    struct vs_job *jobs;
    struct vs_job *sent;                 /* jobs that have tokens sent and no request yet */
    uint64_t alive_ns, stats_ns, heard_ns;      /* when we last said so; when we last looked at the socket */
    bool is_reading;                     /* the main thread reads the text of a quick request */
    bool has_told_digest;                /* the broker knows what was loaded, or there is nothing to know */
    int wake_fd;                         /* an eventfd: a text thread has something for the main thread */
    pthread_t main;
    pthread_mutex_t lock;                /* of the text threads' lists */
    pthread_cond_t has_text;
    struct vs_job *text, *done;
    struct vs_text_thread {
        struct vs_link *link;
        _Atomic uint64_t ticks;          /* it asked whether it may go on */
        _Atomic bool busy;
        uint64_t seen;                   /* ticks, when the main thread looked last */
    } text_threads[VS_TEXT_THREADS];
    unsigned n_text_threads;
};

/* The broker is gone, or speaks nonsense: nothing is left to do. */
_Noreturn void vs_link_leave(int status);
/* Takes what has come, and sends what there is to say; a sign of life when it is time. */
void vs_link_attend(struct vs_link *l);
void vs_link_send(struct vs_link *l, uint16_t type, uint16_t flags, uint64_t id, const void *data, size_t n);
void vs_link_send_json(struct vs_link *l, uint16_t type, uint64_t id, json_t *value, uint32_t max);     /* steals value */

int vs_text_start(struct vs_link *l, struct vs_error *err);

struct vs_job *vs_job_find(const struct vs_link *l, uint64_t id);
/* Tokens that the client of a request to come has. */
void vs_job_sent(struct vs_link *l, const struct vs_frame *f);
void vs_job_begin(struct vs_link *l, const struct vs_frame *f);
void vs_job_credit(struct vs_job *j, uint32_t n);
void vs_job_stop(struct vs_job *j, int status);
/* What text threads are done with goes on; what is due is stopped; who has ended and has nothing left to send says so. True:
 * something happened. */
bool vs_jobs_turn(struct vs_link *l);
bool vs_jobs_await_digest(const struct vs_link *l);      /* nothing but the digest holds somebody up */
bool vs_jobs_are_alive(struct vs_link *l);               /* no text thread has been silent since this was last asked */
#endif
