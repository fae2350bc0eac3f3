/* filter/linear_weights.h - what tools/train_linear.py wrote into linear_weights.c. For linear.c alone. */
#ifndef VS_FILTER_LINEAR_WEIGHTS_H
#define VS_FILTER_LINEAR_WEIGHTS_H
#include "filter/linear.h"

enum vs_linear_kind { VS_LINEAR_SENTENCE, VS_LINEAR_WINDOW, VS_LINEAR_WHOLE, VS_LINEAR_KINDS };

/* A weight is a printable character, so that the file is text; VS_LINEAR_ZERO is 0. */
enum { VS_LINEAR_ROW = 128, VS_LINEAR_ZERO = 'P' };
extern const char vs_linear_weights[VS_LINEAR_BUCKETS / VS_LINEAR_ROW][VS_LINEAR_ROW + 1];

/* The weight plus VS_LINEAR_ZERO. */
static inline int vs_linear_stored(uint32_t bucket)
{
    const char *first = (const char *)vs_linear_weights;    /* each row ends with a NUL */
    return first[bucket + bucket / VS_LINEAR_ROW];
}

struct vs_linear_point { int32_t raw, score; };
enum { VS_LINEAR_POINTS = 2 };
extern const struct vs_linear_point vs_linear_calibration[VS_LINEAR_KINDS][VS_LINEAR_POINTS];      /* raw rises */
#endif
