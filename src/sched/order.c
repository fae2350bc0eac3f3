/* sched/order.c - classes and clients: who is where in the line.
 *
 * Fair queueing by finish time: a client's tag is what it will have been served when the first of its prompts is read. A short
 * prompt goes before a long one of another client, two long ones are read one after the other and not in turns, and nobody ends
 * later than if all had gone on at once. The scale is kept by `turned`, which goes on as fast as those that wait are served on
 * average.
 */
#include "sched/internal.h"

#include <assert.h>

static const uint64_t RISE_NS = UINT64_C(30000000000);
enum { LAG_CHUNKS = 64 };               /* what is further back than that is forgotten */

static struct vs_sched_account *find(struct vs_sched *s, struct vs_sched_request *r)
{
    if (r->known && r->account < s->n_accounts && s->account[r->account].client == r->client && s->account[r->account].plan)
        return &s->account[r->account];
    uint32_t oldest = 0;
    for (uint32_t i = 0; i < s->n_accounts; i++) {
        if (s->account[i].plan && s->account[i].client == r->client) {
            r->account = i;
            return &s->account[i];
        }
        if (s->account[i].plan < s->account[oldest].plan)
            oldest = i;
    }
    r->account = oldest;
    s->account[oldest] = (struct vs_sched_account){ .client = r->client };
    return &s->account[oldest];
}

static void open_account(struct vs_sched *s, struct vs_sched_account *a)
{
    if (a->plan == s->plan)
        return;
    a->waited = a->waits && a->plan + 1 == s->plan;
    a->plan = s->plan;
    a->n_places = a->n_runnable = 0;
    a->waits = false;
    a->head = NULL;
}

/* Who waits behind requests of the same client and priority does not rise: that line moves. */
static void rise(struct vs_sched *s, struct vs_sched_request *r, const struct vs_sched_account *a)
{
    if (!r->known) {
        r->known = true;
        r->class = r->priority;
        r->since_ns = r->arrived_ns;
    }
    if (!r->runnable || r->since_ns > s->now_ns)
        r->since_ns = s->now_ns;
    if (r->since_ns < a->rows_ns[r->priority])
        r->since_ns = a->rows_ns[r->priority];
    for (; r->class && s->now_ns - r->since_ns >= RISE_NS; r->since_ns += RISE_NS) {
        r->class--;
        r->until_ns = 0;
    }
    if (r->class < r->priority && r->until_ns && s->now_ns >= r->until_ns) {
        r->class = r->priority;
        r->until_ns = 0;
    }
}

static bool sooner(const struct vs_sched_request *a, const struct vs_sched_request *b)
{
    return a->class != b->class ? a->class < b->class : a->arrived_ns < b->arrived_ns;
}

static void count(struct vs_sched *s, struct vs_sched_request *r, struct vs_sched_account *a)
{
    a->n_places += r->place;
    s->n_placed += r->place;
    if (!r->runnable)
        return;
    s->n_clients += a->n_runnable++ == 0;
    if (r->decode && r->place)
        return;
    s->n_waiting_clients += !a->waits;
    a->waits = true;
    if (!a->head || sooner(r, a->head))
        a->head = r;
}

/* Who wanted nothing has saved nothing. */
static void set_tag(const struct vs_sched *s, struct vs_sched_account *a)
{
    double lag = (double)LAG_CHUNKS * s->config.chunk;
    double low = a->waits && a->waited ? s->turned - lag : s->turned, high = s->turned + lag;
    a->served = a->served < low ? low : a->served > high ? high : a->served;
    a->tag = a->served + (a->head ? a->head->n_rows : 0);
}

void vs_sched_look(struct vs_sched *s, struct vs_sched_request *const *request, size_t n)
{
    s->n_placed = s->n_clients = s->n_waiting_clients = 0;
    for (size_t i = 0; i < n; i++) {
        struct vs_sched_request *r = request[i];
        assert(r->priority < VS_SCHED_PRIORITIES && r->n_rows);
        r->left = false;
        r->rows = 0;
        struct vs_sched_account *a = find(s, r);
        open_account(s, a);
        rise(s, r, a);
        count(s, r, a);
    }
    for (uint32_t i = 0; i < s->n_accounts; i++)
        if (s->account[i].plan == s->plan)
            set_tag(s, &s->account[i]);
}

bool vs_sched_before(const struct vs_sched *s, const struct vs_sched_request *a, const struct vs_sched_request *b)
{
    const struct vs_sched_account *of_a = &s->account[a->account], *of_b = &s->account[b->account];
    if (a->class != b->class)
        return a->class < b->class;
    if (of_a->tag != of_b->tag)
        return of_a->tag < of_b->tag;
    return a->arrived_ns < b->arrived_ns;
}

void vs_sched_charge(struct vs_sched *s, struct vs_sched_request *const *request, size_t n)
{
    uint64_t to_waiting = 0;
    for (size_t i = 0; i < n; i++) {
        struct vs_sched_request *r = request[i];
        if (!r->rows)
            continue;
        struct vs_sched_account *a = &s->account[r->account];
        a->served += r->rows;
        to_waiting += a->waits ? r->rows : 0;
        r->since_ns = a->rows_ns[r->priority] = s->now_ns;
        if (r->class < r->priority && !r->until_ns)
            r->until_ns = s->now_ns + RISE_NS;
    }
    if (s->n_waiting_clients)
        s->turned += (double)to_waiting / s->n_waiting_clients;
}
