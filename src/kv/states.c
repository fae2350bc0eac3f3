/* kv/states.c - see states.h */
#include "kv/states.h"

#include "base/status.h"

#include <assert.h>
#include <stdlib.h>

struct vs_kv_states {
    uint32_t n, n_free;
    uint32_t *refs;                      /* [n] */
    uint32_t *free;                      /* a stack of slot numbers */
};

int vs_kv_states_create(uint32_t n, struct vs_kv_states **ret)
{
    struct vs_kv_states *p = calloc(1, sizeof *p);
    if (!p)
        return VS_E_NOMEM;
    p->refs = calloc(n ? n : 1, sizeof *p->refs);
    p->free = calloc(n ? n : 1, sizeof *p->free);
    if (!p->refs || !p->free) {
        vs_kv_states_free(p);
        return VS_E_NOMEM;
    }
    p->n = p->n_free = n;
    for (uint32_t i = 0; i < n; i++)
        p->free[i] = n - 1 - i;
    *ret = p;
    return VS_OK;
}

void vs_kv_states_free(struct vs_kv_states *p)
{
    if (!p)
        return;
    free(p->refs);
    free(p->free);
    free(p);
}

uint32_t vs_kv_states_take(struct vs_kv_states *p)
{
    if (!p->n_free)
        return VS_KV_NO_STATE;
    uint32_t slot = p->free[--p->n_free];
    p->refs[slot] = 1;
    return slot;
}

void vs_kv_states_ref(struct vs_kv_states *p, uint32_t slot)
{
    assert(slot < p->n && p->refs[slot]);
    p->refs[slot]++;
}

void vs_kv_states_unref(struct vs_kv_states *p, uint32_t slot)
{
    assert(slot < p->n && p->refs[slot]);
    if (--p->refs[slot] == 0)
        p->free[p->n_free++] = slot;
}

uint32_t vs_kv_states_free_slots(const struct vs_kv_states *p)
{
    return p->n_free;
}
