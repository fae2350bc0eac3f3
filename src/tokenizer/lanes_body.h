/* tokenizer/lanes_body.h - see lanes.c: what each instruction set does alike. */
#ifndef VS_TOKENIZER_LANES_BODY_H
#define VS_TOKENIZER_LANES_BODY_H
#include "tokenizer/internal.h"

enum { OUTSIDE = VS_LANE_BYTES };

struct lane_ops {
    uint64_t (*find_in)(const struct vs_merge_rule rule[VS_RULES_TOGETHER], uint64_t pair);     /* VS_NO_MERGE: none of them */
    int32_t (*least_of)(const int32_t key[VS_LANE_BYTES]);
};
#define INLINE static inline __attribute__((always_inline))

/* From this slot on; what four rules say is found without a branch, because nothing foretells it. */
INLINE uint64_t find_rule(const struct lane_ops *ops, const struct vs_tokenizer *t, uint64_t pair, uint32_t slot)
{
    for (;;) {
        const struct vs_merge_rule *rule = &t->bpe.rule[slot];
        uint64_t found = ops->find_in(rule, pair);
        if (found != VS_NO_MERGE || rule[VS_RULES_TOGETHER - 1].pair == UINT64_MAX)
            return found;
        slot = (slot + VS_RULES_TOGETHER) & t->bpe.rule_mask;
    }
}

static inline void lane_set(struct vs_lane *l, unsigned i, uint64_t merge)
{
    l->key[i] = merge == VS_NO_MERGE ? INT32_MAX : (int32_t)(merge >> 32) << 4 | (int32_t)i;
    l->made[i] = (uint32_t)merge;
}

static inline void lane_begin(const struct vs_tokenizer *t, struct vs_lane *l)
{
    uint8_t byte[VS_LANE_BYTES + 1];
    unsigned n = 0;
    for (unsigned i = 0; i < l->n_bytes; i++) {
        byte[n] = (uint8_t)l->word[i];
        l->id[n] = t->byte_id[byte[n]];
        n += l->id[n] != VS_NO_ID;
    }
    for (unsigned i = 0; i < VS_LANE_BYTES; i++) {
        l->key[i] = INT32_MAX;
        l->next[i] = (uint8_t)(i + 1);
        l->prev[i + 1] = (uint8_t)i;
    }
    for (unsigned i = 0; i + 1 < n; i++)
        lane_set(l, i, t->bpe.of_bytes[byte[i] << 8 | byte[i + 1]]);
    l->n = (uint8_t)n;
    l->id[OUTSIDE] = VS_NO_ID;
    l->next[n ? n - 1 : 0] = l->next[OUTSIDE] = l->prev[0] = l->asked[0] = l->asked[1] = OUTSIDE;
    l->slot[0] = l->slot[1] = vs_rule_slot(t, UINT64_MAX);
}

/* Asks for the merge of symbol i and the one behind it. */
static inline void lane_ask(const struct vs_tokenizer *t, struct vs_lane *l, unsigned k, unsigned i)
{
    l->asked[k] = (uint8_t)i;
    l->slot[k] = vs_rule_slot(t, (uint64_t)l->id[i] << 32 | l->id[l->next[i]]);
    __builtin_prefetch(&t->bpe.rule[l->slot[k]]);
}

INLINE void lane_take(const struct lane_ops *ops, const struct vs_tokenizer *t, struct vs_lane *l)
{
    for (unsigned k = 0; k < 2; k++) {
        unsigned i = l->asked[k];
        lane_set(l, i, find_rule(ops, t, (uint64_t)l->id[i] << 32 | l->id[l->next[i]], l->slot[k]));
    }
}

/* Makes the next merge; false: there is none. */
INLINE bool lane_merge(const struct lane_ops *ops, const struct vs_tokenizer *t, struct vs_lane *l)
{
    int32_t least = ops->least_of(l->key);
    if (least == INT32_MAX)
        return false;
    unsigned best = (unsigned)least % VS_LANE_BYTES, gone = l->next[best], after = l->next[best] = l->next[gone];
    l->prev[after] = (uint8_t)best;
    l->id[best] = l->made[best];
    l->key[gone] = l->key[best] = INT32_MAX;
    lane_ask(t, l, 0, best);
    lane_ask(t, l, 1, l->prev[best]);
    return true;
}

INLINE void merge_lanes(const struct lane_ops *ops, const struct vs_tokenizer *t, struct vs_lane *lane, size_t n)
{
    uint32_t going = 0;
    for (size_t i = 0; i < n; i++) {
        lane_begin(t, &lane[i]);
        going |= (uint32_t)(lane[i].n > 1) << i;
    }
    while (going) {
        for (uint32_t left = going; left; left &= left - 1)     /* all first: what was just written is slow to read at once */
            lane_take(ops, t, &lane[__builtin_ctz(left)]);
        for (uint32_t left = going; left; left &= left - 1) {
            unsigned i = (unsigned)__builtin_ctz(left);
            going &= ~((uint32_t)!lane_merge(ops, t, &lane[i]) << i);
        }
    }
    for (size_t i = 0; i < n; i++) {
        struct vs_lane *l = &lane[i];
        unsigned n_ids = 0;
        for (unsigned k = 0; k < l->n; k = l->next[k])
            l->id[n_ids++] = l->id[k];
        l->n = (uint8_t)n_ids;
    }
}
#endif
