/* base/check.h - "may this go on?": the one question that all work over foreign input asks.
 *
 * A loop over input tells vs_check_work what it did, in units of about a byte or a token (some 10 ns at most). After every
 * VS_CHECK_UNITS of them, so at least every few milliseconds, `ask` is called: it looks for a cancel, a deadline or a used-up
 * budget. An answer other than VS_OK stays: the loop returns it at once, and so does each one that asks later.
 *
 *     for (size_t i = 0; i < n; i++)
 *         if ((r = vs_check_work(check, 1)) != VS_OK)
 *             return r;
 *
 * Memory:  the caller's; nothing to free. A NULL check, and one that is all zeros, never stops anything.
 * Threads: one at a time.
 */
#ifndef VS_BASE_CHECK_H
#define VS_BASE_CHECK_H
#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

enum { VS_CHECK_UNITS = 1 << 16 };

struct vs_check {
    int (*ask)(void *context);          /* VS_OK, or VS_E_CANCELLED, VS_E_TIMEOUT, VS_E_LIMIT: why to stop */
    void *context;
    uint64_t units;                     /* done since it was last asked */
    int status;                         /* the answer that stays */
};

/* Asks now, whatever was done since. */
static inline int vs_check_ask(struct vs_check *c)
{
    if (!c)
        return VS_OK;
    c->units = 0;
    if (c->status == VS_OK && c->ask)
        c->status = c->ask(c->context);
    return c->status;
}

/* Counts units of work, done or about to be done, and asks when enough have come together. */
static inline int vs_check_work(struct vs_check *c, uint64_t units)
{
    if (!c)
        return VS_OK;
    c->units += units;
    return c->units >= VS_CHECK_UNITS ? vs_check_ask(c) : c->status;
}

/* free(p) of n bytes, which may be many: the pages go in parts, with a question after each (the answer is for who asks next; the
 * rest is freed all the same). To give 100 MB back at once takes some 20 ms. */
void vs_check_free(struct vs_check *c, void *p, size_t n);
#endif
