/* engine/pool.c - see pool.h */
#include "engine/pool.h"

#include "base/status.h"

#include <stdlib.h>
#include <string.h>

int vs_pool_init(struct vs_pool *p, enum vs_pooling how, uint32_t width)
{
    *p = (struct vs_pool){ .how = how, .width = width, .sum = calloc(width ? width : 1, sizeof *p->sum) };
    return p->sum ? VS_OK : VS_E_NOMEM;
}

void vs_pool_clear(struct vs_pool *p)
{
    free(p->sum);
    p->sum = NULL;
}

void vs_pool_begin(struct vs_pool *p)
{
    if (p->sum)
        memset(p->sum, 0, p->width * sizeof *p->sum);
    p->n = 0;
}

void vs_pool_add(struct vs_pool *p, const float *rows, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++, rows += p->width, p->n++)
        for (uint32_t d = 0; d < p->width; d++)
            if (p->how == VS_POOL_MEAN)
                p->sum[d] += (double)rows[d];
            else if (p->how == VS_POOL_LAST || p->n == 0)
                p->sum[d] = (double)rows[d];
}

void vs_pool_end(const struct vs_pool *p, float *ret, uint32_t n)
{
    for (uint32_t d = 0; d < n; d++)
        ret[d] = (float)(p->how == VS_POOL_MEAN ? p->sum[d] / p->n : p->sum[d]);
}

void vs_vector_normalize(float *x, uint32_t n)
{
    double squares = 0;
    for (uint32_t d = 0; d < n; d++)
        squares += (double)x[d] * (double)x[d];
    double length = __builtin_sqrt(squares);
    for (uint32_t d = 0; d < n && length > 0; d++)
        x[d] = (float)((double)x[d] / length);
}

static const char *const names[] = {
    [VS_POOL_NONE] = "none", [VS_POOL_MEAN] = "mean", [VS_POOL_CLS] = "cls", [VS_POOL_LAST] = "last", [VS_POOL_RANK] = "rank",
};

int vs_pooling_parse(const char *name)
{
    for (int i = VS_POOL_NONE; i <= VS_POOL_RANK; i++)
        if (strcmp(names[i], name) == 0)
            return i;
    return -1;
}

const char *vs_pooling_name(enum vs_pooling how)
{
    return names[how];
}
