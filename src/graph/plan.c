/* graph/plan.c - see plan.h */
#include "graph/plan.h"

#include <stdlib.h>

static int by_size(const void *a, const void *b)
{
    const struct vs_plan_item *x = *(struct vs_plan_item *const *)a, *y = *(struct vs_plan_item *const *)b;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? 1 : -1;
    return x < y ? -1 : x > y;
}

static size_t round_up(size_t n)
{
    return (n + 63) / 64 * 64;
}

/* Lowest offset at which `item` clears all placed items that live at the same time. */
static size_t place(const struct vs_plan_item *item, struct vs_plan_item *const *placed, size_t n)
{
    size_t at = 0;
    for (;;) {
        size_t next = at;
        for (size_t i = 0; i < n; i++) {
            const struct vs_plan_item *p = placed[i];
            if (p->last < item->first || p->first > item->last)
                continue;
            if (at < p->offset + round_up(p->bytes) && p->offset < at + round_up(item->bytes)
                && p->offset + round_up(p->bytes) > next)
                next = p->offset + round_up(p->bytes);
        }
        if (next == at)
            return at;
        at = next;
    }
}

size_t vs_plan(struct vs_plan_item *items, size_t n)
{
    struct vs_plan_item **order = malloc((n ? n : 1) * sizeof *order);
    if (!order)
        return SIZE_MAX;
    for (size_t i = 0; i < n; i++)
        order[i] = &items[i];
    qsort(order, n, sizeof *order, by_size);
    size_t total = 0;
    for (size_t i = 0; i < n; i++) {
        order[i]->offset = place(order[i], order, i);
        size_t end = order[i]->offset + round_up(order[i]->bytes);
        total = end > total ? end : total;
    }
    free(order);
    return total;
}
