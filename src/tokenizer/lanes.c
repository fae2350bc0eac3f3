/* tokenizer/lanes.c - merges several short words in turns: plain C.
 *
 * A merge asks for the rules of two pairs, which no near cache holds; they come while other words go on. The order within a word is
 * that of merge.c.
 */
#include "tokenizer/lanes_body.h"

#include <string.h>

static inline uint64_t find_in(const struct vs_merge_rule rule[VS_RULES_TOGETHER], uint64_t pair)
{
    uint64_t found = VS_NO_MERGE;
    for (unsigned i = 0; i < VS_RULES_TOGETHER; i++)
        found = rule[i].pair == pair ? rule[i].merge : found;
    return found;
}

static inline int32_t least_of(const int32_t key[VS_LANE_BYTES])
{
    int32_t least[4];
    memcpy(least, key, sizeof least);
    for (unsigned i = 4; i < VS_LANE_BYTES; i += 4)
        for (unsigned k = 0; k < 4; k++)
            least[k] = key[i + k] < least[k] ? key[i + k] : least[k];
    for (unsigned k = 1; k < 4; k++)
        least[0] = least[k] < least[0] ? least[k] : least[0];
    return least[0];
}

uint64_t vs_rule_find(const struct vs_tokenizer *t, uint64_t pair, uint32_t slot)
{
    return find_rule(&(struct lane_ops){ find_in, least_of }, t, pair, slot);
}

void vs_lanes_c(const struct vs_tokenizer *t, struct vs_lane *lane, size_t n)
{
    merge_lanes(&(struct lane_ops){ find_in, least_of }, t, lane, n);
}
