/* tokenizer/proven.c - which pieces of the family "gpt2" their own bytes merge to: such a word needs no merges.
 *
 * A piece is proven when a rule makes it of two proven ones, and no merge reaches over the border between them before: until one
 * does, what lies on each side merges as if it were alone. Each side is made by rules of ascending rank, so it is known which two
 * symbols stand at the border and until when: at the end both pieces; before, the one that was made last is its two parts; and so
 * on. What only rules out of order make stays unproven and is merged, always.
 */
#include "tokenizer/internal.h"

#include <stdlib.h>

/* How a proven piece is made, and by which rank + 1: 0 is a byte, which is not made. */
struct origin { uint32_t left, right, made; };
enum { FILTER_BITS = 21 };

struct vs_proven {
    struct vs_tokenizer *t;
    uint64_t *filter;                   /* a bit for the pairs of all rules so far, 2^FILTER_BITS of them */
    struct origin of[];                 /* by id */
};

static inline uint32_t bit_of(uint64_t pair)
{
    return (uint32_t)(pair * 0x9e3779b97f4a7c15u >> (64 - FILTER_BITS));
}

struct vs_proven *vs_proven_new(struct vs_tokenizer *t)
{
    struct vs_proven *p = malloc(sizeof *p + t->vocab.n * sizeof *p->of);
    uint64_t *filter = calloc((size_t)1 << FILTER_BITS >> 6, sizeof *filter);
    if (!p || !filter) {
        free(p);
        free(filter);
        return NULL;
    }
    *p = (struct vs_proven){ .t = t, .filter = filter };
    for (unsigned b = 0; b < 256; b++) {
        uint32_t id = t->byte_id[b];
        if (id == VS_NO_ID)
            continue;
        p->of[id] = (struct origin){ 0 };
        t->vocab.flags[id] |= VS_PIECE_IS_PROVEN;
    }
    return p;
}

void vs_proven_free(struct vs_proven *p)
{
    if (p)
        free(p->filter);
    free(p);
}

/* Does a merge reach over the border between two proven pieces before the rule of rank `until` is asked? */
static bool meet(const struct vs_proven *p, uint32_t a, uint32_t b, uint32_t until)
{
    uint32_t until_a = until, until_b = until;          /* ranks at which each is gone */
    struct origin of_a = p->of[a], of_b = p->of[b];
    while (of_a.made || of_b.made) {
        if (of_a.made > of_b.made) {
            until_a = of_a.made - 1;
            a = of_a.right;
            of_a = p->of[a];
        } else {
            until_b = of_b.made - 1;
            b = of_b.left;
            of_b = p->of[b];
        }
        uint64_t pair = (uint64_t)a << 32 | b;
        uint32_t bit = bit_of(pair);
        if (!(p->filter[bit / 64] >> bit % 64 & 1))
            continue;
        uint64_t merge = vs_rule_find(p->t, pair, vs_rule_slot(p->t, pair));
        uint32_t rank = (uint32_t)(merge >> 32);
        if (merge != VS_NO_MERGE && rank < until_a && rank <= until_b)      /* of equal rules the left one goes first */
            return true;
    }
    return false;
}

void vs_proven_add(struct vs_proven *p, uint32_t left, uint32_t right, uint64_t merge)
{
    uint8_t *flags = p->t->vocab.flags;
    uint32_t id = (uint32_t)merge, rank = (uint32_t)(merge >> 32);
    uint32_t bit = bit_of((uint64_t)left << 32 | right);
    if (flags[left] & flags[right] & ~flags[id] & VS_PIECE_IS_PROVEN && !meet(p, left, right, rank)) {
        flags[id] |= VS_PIECE_IS_PROVEN;
        p->of[id] = (struct origin){ left, right, rank + 1 };
    }
    p->filter[bit / 64] |= (uint64_t)1 << bit % 64;
}
