/* prog/broker/line.c - who waits for a model, and who is next.
 *
 *     1. what a dead worker left: it had its turn already
 *     2. the higher priority; who waits rises a class every 30 seconds, so nobody waits for ever
 *     3. the process that was served fewest tokens, of it the connection; a person for whom a delegate asks counts as both
 *     4. who was begun longest ago, who came first
 *
 * Who gave a place up for one that has fewer comes behind those before all that.
 * Tokens are counted as they are sent, and at the end from the result's usage. Whoever comes back after a while has no credit from
 * the time when he asked for nothing: he begins at the count of who was begun last. */
#include "prog/broker/broker.h"

#include <string.h>

unsigned line_priority(const struct broker *b, const struct request *r)
{
    uint64_t risen = (b->now - r->arrived_at) / RISE_TIME;
    return risen < r->priority ? r->priority - (unsigned)risen : 0;
}

static int compare_turns(const struct turn *x, const struct turn *y)
{
    if (x->n_tokens != y->n_tokens)
        return x->n_tokens < y->n_tokens ? -1 : 1;
    return x->run_number < y->run_number ? -1 : x->run_number > y->run_number;
}

/* x gave its place up for one whose process has fewer: it does not take it again. */
static bool yields(const struct broker *b, const struct request *x, const struct request *y)
{
    return x->gave_up && !y->gave_up && x->client->n_runs > y->client->n_runs && line_priority(b, x) >= line_priority(b, y);
}

static bool comes_before(const struct broker *b, const struct request *x, const struct request *y)
{
    unsigned i = line_priority(b, x), k = line_priority(b, y);
    if (yields(b, x, y))
        return false;
    if (yields(b, y, x))
        return true;
    if (x->n_deaths != y->n_deaths)
        return x->n_deaths > y->n_deaths;
    if (i != k)
        return i < k;
    int order = compare_turns(&x->client->turn, &y->client->turn);
    if (order == 0)
        order = compare_turns(&x->share->turn, &y->share->turn);
    return order < 0 || (order == 0 && x->arrived_at < y->arrived_at);
}

static void count_none(struct client *c)
{
    c->n_runs = 0;
    memset(c->n_of_class, 0, sizeof c->n_of_class);
}

/* Places of the worker that each client of the line has. */
static void count_runs(const struct model *m)
{
    for (struct request *r = m->queue.first; r; r = r->next)
        count_none(r->client);
    for (struct run *run = m->runs; run; run = run->next)
        if (run->request)
            count_none(run->request->client);
    for (struct run *run = m->runs; run; run = run->next)
        if (run->request) {
            run->request->client->n_runs++;
            run->request->client->n_of_class[run->request->priority]++;
        }
}

/* Its client has no more than fit into a step; what is of a lower class does not stand in its way, for there the worker chooses.
 * But a quarter of all places is for others in any case. */
static bool has_place(const struct model *m, const struct request *r)
{
    unsigned n = 0;
    for (unsigned class = 0; class <= r->priority; class++)
        n += r->client->n_of_class[class];
    return n < m->parallel && r->client->n_runs < m->parallel + m->parallel / 2;
}

struct request *line_next(struct broker *b, const struct model *m)
{
    struct request *first = NULL;
    for (const struct run *run = m->runs; run; run = run->next)
        if (run->is_alone)
            return NULL;
    count_runs(m);
    for (struct request *r = m->queue.first; r; r = r->next)
        if (!r->waits_for_log && has_place(m, r) && (!first || comes_before(b, r, first)))
            first = r;
    return first && first->is_suspect && m->n_runs ? NULL : first;
}

void line_served(struct request *r, uint64_t n)
{
    r->share->turn.n_tokens += n;
    r->client->turn.n_tokens += n;
}

/* The line is full: the connection that has most in it gives one up, the one that came last, to somebody who has less. False:
 * nobody has less. */
static bool give_place(struct broker *b, struct model *m, const struct request *newcomer)
{
    struct request *last = NULL;
    newcomer->share->n_waiting = 0;
    for (struct request *r = m->queue.first; r; r = r->next)
        r->share->n_waiting = 0;
    for (struct request *r = m->queue.first; r; r = r->next)
        r->share->n_waiting++;
    for (struct request *r = m->queue.first; r; r = r->next)
        if (!r->n_deaths && (!last || r->share->n_waiting >= last->share->n_waiting))
            last = r;
    if (!last || last->share->n_waiting <= newcomer->share->n_waiting + 1)
        return false;
    request_fail(b, last, VS_E_BUSY, "too many requests wait for this model, and this connection has most of them");
    return true;
}

static void come_back(struct turn *turn, uint64_t floor)
{
    turn->n_tokens = turn->n_tokens > floor ? turn->n_tokens : floor;
}

void line_begun(struct broker *b, struct request *r, uint64_t run)
{
    r->share->turn.run_number = r->client->turn.run_number = run;
    come_back(&b->last_turn, r->client->turn.n_tokens);
    come_back(&r->client->last_turn, r->share->turn.n_tokens);
}

void line_enter(struct broker *b, struct model *m, struct request *r)
{
    if (b->n_refused && refused_has(b, r)) {
        request_fail(b, r, VS_E_DENIED, "this request ended two workers; it is refused until the daemon ends");
        return;
    }
    unsigned running, waiting;
    model_count(m, &running, &waiting);
    if (waiting >= b->settings.queue && !give_place(b, m, r)) {
        request_fail(b, r, VS_E_BUSY, "too many requests wait for this model");
        return;
    }
    if (r->share->n_requests == 1)       /* it asked for nothing before this */
        come_back(&r->share->turn, r->client->last_turn.n_tokens);
    if (r->client->n_requests == 1)
        come_back(&r->client->turn, b->last_turn.n_tokens);
    r->place = PLACE_QUEUED;
    queue_add(&m->queue, r);
}
