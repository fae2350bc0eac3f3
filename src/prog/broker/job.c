/* prog/broker/job.c - one request from its arrival to its one terminal frame. */
#include "prog/broker/broker.h"

#include "ipc/json.h"

#include <stdlib.h>
#include <string.h>

void queue_add(struct queue *q, struct job *j)
{
    j->next = NULL;
    if (q->last)
        q->last->next = j;
    else
        q->first = j;
    q->last = j;
    q->n++;
}

void queue_remove(struct queue *q, struct job *j)
{
    struct job *before = NULL;
    for (struct job *i = q->first; i; before = i, i = i->next) {
        if (i != j)
            continue;
        if (before)
            before->next = j->next;
        else
            q->first = j->next;
        if (q->last == j)
            q->last = before;
        j->next = NULL;
        q->n--;
        return;
    }
}

struct job *job_create(struct broker *b, struct peer *p, uint16_t type, uint64_t client_id)
{
    struct job *j = calloc(1, sizeof *j);
    if (!j)
        return NULL;
    j->peer = p;
    j->type = type;
    j->id = ++b->last_id;
    j->client_id = client_id;
    j->deadline = NEVER;
    j->credit = VS_CREDIT_START;
    if (p) {
        j->peer_next = p->jobs;
        p->jobs = j;
        p->n_jobs++;
    }
    return j;
}

static void leave_place(struct broker *b, struct job *j)
{
    if (j->place == JOB_QUEUED)
        queue_remove(&j->model->queue, j);
    else if (j->place == JOB_HELD)
        queue_remove(&j->model->held, j);
    else if (j->place == JOB_ASKED)
        queue_remove(&b->asked, j);
    else if (j->place == JOB_RUNNING)
        j->model->running = NULL;
}

void job_finish(struct broker *b, struct job *j, uint16_t type, const void *data, size_t n)
{
    leave_place(b, j);
    struct peer *p = j->peer;
    if (p) {
        struct job **at = &p->jobs;
        while (*at != j)
            at = &(*at)->peer_next;
        *at = j->peer_next;
        p->n_jobs--;
    }
    b->held_bytes -= j->body_bytes;
    if (p && !p->gone)
        peer_send(b, p, type, 0, j->client_id, data, n);
    free(j->body);
    free(j);
}

void job_fail(struct broker *b, struct job *j, int code, const char *text)
{
    struct vs_buf out = { 0 };
    json_t *value = vs_json_error(code, text);
    vs_json_dump(value, &out);
    json_decref(value);
    if (out.status == VS_OK)
        job_finish(b, j, j->started ? VS_MSG_ERROR : VS_MSG_REJECTED, out.data, out.n);
    else
        job_finish(b, j, VS_MSG_ERROR, "{}", 2);    /* no memory for a reason */
    vs_buf_clear(&out);
}

void job_complete(struct broker *b, struct job *j, json_t *result)
{
    struct vs_buf out = { .limit = VS_MAX_RESULT };
    vs_json_dump(result, &out);
    json_decref(result);
    if (out.status == VS_OK)
        job_finish(b, j, VS_MSG_COMPLETE, out.data, out.n);
    else
        job_fail(b, j, out.status, vs_status_text(out.status));
    vs_buf_clear(&out);
}
