/* support/detecting.h - a detector asked about a text whole, or in pieces as a stream asks it (src/filter/stream.h).
 *
 * detect() also checks what src/filter/detector.h promises of every call: spans in order, once, not before `from`; not more held
 * than is allowed. A broken promise ends the test's program with one line.
 */
#ifndef TESTS_SUPPORT_DETECTING_H
#define TESTS_SUPPORT_DETECTING_H
#include "filter/detector.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DETECTED_MAX = 4096 };

struct detected {
    struct vs_span span[DETECTED_MAX];   /* offsets in the whole text; none is open: one that never closed ends with the text */
    size_t n, total;                     /* total: also those for which there was no room */
    size_t held_max;
    size_t base, last, n_call;           /* of the call under way */
    bool has_open;
};

static inline void detect_broken(const char *what, size_t at)
{
    fprintf(stderr, "detector: %s, at byte %zu\n", what, at);
    abort();
}

static inline void detect_told(void *arg, const struct vs_span *span)
{
    struct detected *d = arg;
    if (d->has_open)
        detect_broken("told a span behind an open one", d->base + span->start);
    if (span->start >= span->end || span->end > d->n_call)
        detect_broken("told a span that is empty or ends beyond the text", d->base + span->start);
    if (d->base + span->start < d->last)
        detect_broken("told a span twice, out of order or before `from`", d->base + span->start);
    d->last = d->base + span->start + 1;
    d->has_open = span->open;
    d->total++;
    if (d->n == DETECTED_MAX)
        return;
    d->span[d->n] = *span;
    d->span[d->n].start += d->base;
    d->span[d->n++].end += d->base;
}

/* seed 0: the text in one call. Else pieces of 1..most bytes, and no more of what came before than must be there. */
static inline void detect(const struct vs_detector *detector, const char *text, size_t n, uint32_t seed, size_t most,
                          struct detected *d)
{
    size_t from = 0, have = 0, looked = 0;
    memset(d, 0, sizeof *d);
    while (have < n || from < n) {
        seed = seed * 1664525u + 1013904223u;
        size_t piece = seed && most ? 1 + (seed >> 8) % most : n;
        bool whole = piece >= n - have || !most;
        have = whole ? n : have + piece;
        bool again = true;
        while (again) {
            again = false;
            size_t spare = most && from > VS_DETECT_CONTEXT ? from - VS_DETECT_CONTEXT : 0;
            d->base = spare - (seed >> 20) % (spare + 1) % 64;
            d->n_call = have - d->base;
            if (d->has_open) {
                size_t back = looked > d->base + VS_DETECT_CONTEXT ? looked - VS_DETECT_CONTEXT : d->base;
                size_t end = detector->closed(detector, d->span[d->n - 1].rule, text + back, have - back, looked - back);
                looked = have;
                if (end == SIZE_MAX && !whole)
                    break;
                from = end == SIZE_MAX || back + end > have ? have : back + end;
                d->has_open = false;
                if (d->n && d->n == d->total)
                    d->span[d->n - 1].end = from, d->span[d->n - 1].open = false;
                again = from < have;
                d->last = from > d->last ? from : d->last;
                continue;
            }
            if (from == have)
                break;
            if (from > d->last)
                d->last = from;
            size_t held = detector->find(detector, text + d->base, d->n_call, from - d->base, whole, detect_told, d) + d->base;
            if (d->has_open) {
                if (whole)
                    detect_broken("told an open span of a text that is whole", held);
                looked = from = d->span[d->n - 1].end;
                again = true;
                continue;
            }
            if (held < from || held > have || (whole && held != have))
                detect_broken("held is out of range", held);
            if (have - held > VS_DETECT_HELD)
                detect_broken("more is held than allowed", held);
            d->held_max = have - held > d->held_max ? have - held : d->held_max;
            from = held;
        }
    }
}

/* The same spans, whatever the cut. */
static inline bool detect_same(const struct detected *a, const struct detected *b)
{
    for (size_t i = 0; i < a->n && i < b->n; i++) {
        const struct vs_span *x = &a->span[i], *y = &b->span[i];
        if (x->start != y->start || x->end != y->end || x->kind != y->kind || x->type != y->type || strcmp(x->rule, y->rule) != 0)
            return false;
    }
    return a->n == b->n && a->total == b->total;
}

/* Ends the program when pieces give another answer than the whole. */
static inline void detect_any_cut(const struct vs_detector *detector, const char *text, size_t n, uint32_t seed,
                                  struct detected *whole)
{
    static struct detected cut;
    static const size_t most[] = { 1, 4, 40, 700 };
    detect(detector, text, n, 0, 0, whole);
    for (size_t i = 0; i < sizeof most / sizeof *most; i++) {
        detect(detector, text, n, seed + 1 + (uint32_t)i, most[i], &cut);
        if (detect_same(whole, &cut))
            continue;
        size_t k = 0;
        while (k < whole->n && k < cut.n && whole->span[k].start == cut.span[k].start && whole->span[k].end == cut.span[k].end)
            k++;
        for (int side = 0; side < 2; side++) {
            const struct detected *d = side ? &cut : whole;
            const struct vs_span *s = &d->span[k];
            if (k < d->n)
                fprintf(stderr, "%s: %s [%zu, %zu)\n", side ? "in pieces" : "whole", s->rule, s->start, s->end);
        }
        detect_broken("another answer in pieces than whole", k < whole->n ? whole->span[k].start : n);
    }
}
#endif
