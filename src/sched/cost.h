/* sched/cost.h - what a step takes, learned from the steps that were.
 *
 *     ns(step) = curve(rows) + outs * out + decode_attended * decode + prompt_attended * prompt
 *
 * The curve is straight between knots at 1, 2, 4, ... rows. Each step moves the terms, each by its part in the prediction and by
 * how much it is in doubt: a Kalman filter in relative units, with the whole covariance. A machine that grows slower or faster does
 * so for all terms, and there most of an error goes: who sees single rows for long knows what eight take all the same. An error
 * counts up to three times the usual one, and less the further it is beyond, so that one step on a busy machine changes little,
 * while a machine that stays slow is believed after four. The first step of so many rows is slow: the second outweighs it.
 * A knot that no step came near is estimated from above: many rows as if each cost the same, few as if they cost as much as more.
 */
#ifndef VS_SCHED_COST_H
#define VS_SCHED_COST_H
#include <stdbool.h>
#include <stdint.h>

struct vs_sched_work;

enum { VS_COST_KNOTS = 24, VS_COST_OUT = VS_COST_KNOTS, VS_COST_DECODE, VS_COST_PROMPT, VS_COST_TERMS, VS_COST_TRIES = 3 };

struct vs_cost {                        /* zeroed = nothing is known */
    double term[VS_COST_TERMS];         /* ns: at the knot; for each row that is read; for each position attended */
    double hoped[VS_COST_KNOTS];        /* the knots, for vs_cost_hoped */
    double doubt[VS_COST_TERMS][VS_COST_TERMS];      /* relative covariance */
    uint32_t seen[VS_COST_KNOTS];       /* steps that came near it, up to VS_COST_TRIES */
    uint32_t largest;                   /* rows of the largest step so far */
    double noise;                       /* mean relative error, without its sign */
    uint32_t n_outliers;                /* in a row, up to the last step, all to one side */
    bool outliers_slow;                 /* which */
};

double vs_cost_of(const struct vs_cost *c, const struct vs_sched_work *work);
/* The same, but where few steps were so large more rows seem to cost little, so that they are tried. */
double vs_cost_hoped(const struct vs_cost *c, const struct vs_sched_work *work);
/* Twice as many rows as were tried, from a step of so many upwards. */
uint32_t vs_cost_next(const struct vs_cost *c, uint32_t rows);
void vs_cost_learn(struct vs_cost *c, const struct vs_sched_work *work, double ns);
#endif
