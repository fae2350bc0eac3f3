/* identity/lockout.c - see lockout.h */
#include "identity/lockout.h"

#include <string.h>

static struct vs_lockout_entry *find(const struct vs_lockout *l, uint64_t who)
{
    for (unsigned i = 0; i < l->n_used; i++)
        if (l->entry[i].n && l->entry[i].who == who)
            return (struct vs_lockout_entry *)(uintptr_t)&l->entry[i];
    return NULL;
}

uint64_t vs_lockout_left(const struct vs_lockout *l, uint64_t who, uint64_t now)
{
    const struct vs_lockout_entry *e = l->n_used ? find(l, who) : NULL;
    return e && e->until > now ? e->until - now : 0;
}

/* A free one; else that which tried longest ago, of those that are not locked out if there is any. */
static struct vs_lockout_entry *take(struct vs_lockout *l, uint64_t now)
{
    struct vs_lockout_entry *oldest = &l->entry[0];
    if (l->n_used < VS_LOCKOUT_ENTRIES)
        return &l->entry[l->n_used++];
    for (unsigned i = 1; i < l->n_used; i++) {
        struct vs_lockout_entry *e = &l->entry[i];
        bool is_locked = e->until > now, was_locked = oldest->until > now;
        if (is_locked != was_locked ? was_locked : e->at[0] < oldest->at[0])
            oldest = e;
    }
    return oldest;
}

bool vs_lockout_wrong(struct vs_lockout *l, uint64_t who, uint64_t now)
{
    struct vs_lockout_entry *e = find(l, who);
    if (!e) {
        e = take(l, now);
        *e = (struct vs_lockout_entry){ .who = who };
    }
    if (e->until > now)
        return false;                    /* it is already */
    memmove(e->at + 1, e->at, sizeof e->at - sizeof *e->at);
    e->at[0] = now;
    e->n += e->n < VS_LOCKOUT_TRIES;
    if (e->n < VS_LOCKOUT_TRIES || now - e->at[VS_LOCKOUT_TRIES - 1] >= VS_LOCKOUT_WINDOW)
        return false;
    e->until = now + VS_LOCKOUT_TIME;
    e->n = 1;                            /* the next time it is counted from the start */
    return true;
}
