/* sched/places.c - who has a place in the step, and who gives one up. */
#include "sched/internal.h"

static uint32_t share(const struct vs_sched *s)
{
    return s->n_clients ? (s->config.places + s->n_clients - 1) / s->n_clients : s->config.places;
}

static bool below_share(const struct vs_sched *s, const struct vs_sched_request *r)
{
    return s->account[r->account].n_places < share(s);
}

static bool above_share(const struct vs_sched *s, const struct vs_sched_request *r)
{
    return s->account[r->account].n_places > share(s);
}

/* Of those that wait: the first class, there a client below its share, then as everywhere. */
static bool sooner(const struct vs_sched *s, const struct vs_sched_request *a, const struct vs_sched_request *b)
{
    if (a->class != b->class || below_share(s, a) == below_share(s, b))
        return vs_sched_before(s, a, b);
    return below_share(s, a);
}

static struct vs_sched_request *first_waiting(const struct vs_sched *s, struct vs_sched_request *const *request, size_t n)
{
    struct vs_sched_request *first = NULL;
    for (size_t i = 0; i < n; i++) {
        struct vs_sched_request *r = request[i];
        if (r->runnable && !r->place && !r->left && (!first || sooner(s, r, first)))
            first = r;
    }
    return first;
}

static const struct vs_sched_request *longest(struct vs_sched_request *const *request, size_t n)
{
    const struct vs_sched_request *found = NULL;
    for (size_t i = 0; i < n; i++) {
        const struct vs_sched_request *r = request[i];
        if (!r->place || !r->runnable)
            continue;
        if (!found || r->position > found->position || (r->position == found->position && r->arrived_ns < found->arrived_ns))
            found = r;
    }
    return found;
}

/* Of two with a place: is it a that is to lose its own? */
static bool yields(const struct vs_sched_request *a, const struct vs_sched_request *b)
{
    if (a->runnable != b->runnable)
        return !a->runnable;
    if (a->class != b->class)
        return a->class > b->class;
    if (a->position != b->position)
        return a->position < b->position;
    return a->arrived_ns > b->arrived_ns;
}

static bool may_take(const struct vs_sched *s, const struct vs_sched_request *waiting, const struct vs_sched_request *from,
                     const struct vs_sched_request *longest_one)
{
    if (!from->runnable || from->class > waiting->class)
        return true;
    return from->class == waiting->class && below_share(s, waiting) && above_share(s, from) && from != longest_one;
}

/* Who loses the place for one that waits; NULL: nobody. ret_pages: what all who could lose it would free. */
static struct vs_sched_request *loser(const struct vs_sched *s, struct vs_sched_request *const *request, size_t n,
                                      const struct vs_sched_request *waiting, uint64_t *ret_pages)
{
    const struct vs_sched_request *keeps = longest(request, n);
    struct vs_sched_request *found = NULL;
    *ret_pages = 0;
    for (size_t i = 0; i < n; i++) {
        struct vs_sched_request *r = request[i];
        if (!r->place || !may_take(s, waiting, r, keeps))
            continue;
        *ret_pages += r->held_pages;
        if (!found || yields(r, found))
            found = r;
    }
    return found;
}

static void take(struct vs_sched *s, struct vs_sched_request *r)
{
    r->place = true;
    s->n_placed++;
    s->account[r->account].n_places++;
}

static void park(struct vs_sched_request *r)
{
    r->place = false;
    r->parked = r->left = true;
    r->rows = 0;
}

static uint64_t wanted_pages(const struct vs_sched *s, const struct vs_sched_request *r)
{
    return s->n_placed ? (uint64_t)r->need_pages + (r->parked ? s->n_placed : 0) : 0;
}

/* One that waits comes in, maybe for others. */
static bool admit(struct vs_sched *s, struct vs_sched_request *const *request, size_t n, struct vs_sched_request *waiting,
                  uint64_t *free_pages)
{
    while (s->n_placed == s->config.places || wanted_pages(s, waiting) > *free_pages) {
        uint64_t could_free;
        struct vs_sched_request *out = loser(s, request, n, waiting, &could_free);
        if (!out || waiting->need_pages > *free_pages + could_free)
            return false;
        park(out);
        s->n_placed--;
        s->account[out->account].n_places--;
        *free_pages += out->held_pages;
    }
    take(s, waiting);
    *free_pages -= waiting->need_pages < *free_pages ? waiting->need_pages : *free_pages;
    return true;
}

void vs_sched_places(struct vs_sched *s, struct vs_sched_request *const *request, size_t n, uint32_t free_pages)
{
    uint64_t pages = free_pages;
    for (;;) {
        struct vs_sched_request *r = first_waiting(s, request, n);
        if (!r || !admit(s, request, n, r, &pages))
            return;
    }
}

size_t vs_sched_victim(struct vs_sched_request *const *request, size_t n)
{
    const struct vs_sched_request *keeps = longest(request, n);
    size_t found = n;
    for (size_t i = 0; i < n; i++)
        if (request[i]->place && request[i] != keeps && (found == n || yields(request[i], request[found])))
            found = i;
    if (found < n)
        park(request[found]);
    return found;
}
