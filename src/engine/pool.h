/* engine/pool.h - the vectors of a text's tokens become one, in an order that chunks and companions can't change
 * (docs/NUMERICS.md, section 11).
 *
 * Memory:  _init takes the sums of one text; _clear gives them back.
 * Threads: a pool is one caller's.
 */
#ifndef VS_ENGINE_POOL_H
#define VS_ENGINE_POOL_H
#include "graph/graph.h"

struct vs_pool {
    enum vs_pooling how;                 /* MEAN, CLS or LAST */
    uint32_t width, n;                   /* of a row; rows that were added */
    double *sum;                         /* [width] */
};
int vs_pool_init(struct vs_pool *p, enum vs_pooling how, uint32_t width);      /* VS_E_NOMEM */
void vs_pool_clear(struct vs_pool *p);

void vs_pool_begin(struct vs_pool *p);   /* a new text; one that was not _init counts rows only */
/* The text's next n rows [n, width], in the order of its tokens. */
void vs_pool_add(struct vs_pool *p, const float *rows, uint32_t n);
void vs_pool_end(const struct vs_pool *p, float *ret, uint32_t n);      /* the first n numbers of the vector */

void vs_vector_normalize(float *x, uint32_t n);         /* to length 1; one of zeros stays */

/* "mean" and so on; -1 when it is none of them. NULL for VS_POOL_UNKNOWN. */
int vs_pooling_parse(const char *name);
const char *vs_pooling_name(enum vs_pooling how);
#endif
