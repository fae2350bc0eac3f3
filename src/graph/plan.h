/* graph/plan.h - the memory plan: gives every intermediate an offset in one arena, so that those alive together don't overlap. */
#ifndef VS_GRAPH_PLAN_H
#define VS_GRAPH_PLAN_H
#include <stddef.h>
#include <stdint.h>

struct vs_plan_item {
    size_t bytes;
    uint32_t first, last;               /* alive from step `first` to step `last` of the program, both included */
    size_t offset;                      /* the answer, a multiple of 64 */
};

/* Sets the offsets; returns the bytes of the arena. Largest first, each at the lowest place that is free. SIZE_MAX: no memory. */
size_t vs_plan(struct vs_plan_item *items, size_t n);
#endif
