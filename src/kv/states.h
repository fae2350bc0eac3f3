/* kv/states.h - the slots behind kv.h that hold recurrent states, for this room only: numbers with references.
 *
 * A slot is written by the step after which the sequence that took it has so many tokens, and never again until nobody refers to
 * it: so sequences share one by a reference, and go back by forgetting the later ones.
 *
 * Threads: one owner. No locks inside.
 */
#ifndef VS_KV_STATES_H
#define VS_KV_STATES_H
#include "kv/kv.h"

struct vs_kv_states;
int vs_kv_states_create(uint32_t n, struct vs_kv_states **ret);
void vs_kv_states_free(struct vs_kv_states *p);

/* A free slot, with one reference; VS_KV_NO_STATE: there is none. */
uint32_t vs_kv_states_take(struct vs_kv_states *p);
void vs_kv_states_ref(struct vs_kv_states *p, uint32_t slot);
void vs_kv_states_unref(struct vs_kv_states *p, uint32_t slot);
uint32_t vs_kv_states_free_slots(const struct vs_kv_states *p);
#endif
