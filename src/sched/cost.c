/* sched/cost.c - see cost.h */
#include "sched/cost.h"

#include "sched/sched.h"

#include <string.h>

static const double VARIANCE = 0.0025;      /* of one measurement, relative: 5 % */
static const double DRIFT = 0.000025;       /* what a step adds to each doubt: one measurement then moves a known term by a tenth */
static const double DOUBT = 0.04;           /* where that ends */
/* of a term by one step: one with a small part in it could move by much more than the error */
static const double MOST_CHANGE = 0.3;
static const double NEW_DOUBT = 0.25;       /* of what was estimated only */
static const double LEAST_SCALE = 0.3;      /* of an estimate that is replaced: it was one from above */

static double least(double a, double b)
{
    return a < b ? a : b;
}

static double most(double a, double b)
{
    return a > b ? a : b;
}

/* What each term has in the step; the prediction is the sum of term * part. */
static void parts(const struct vs_sched_work *work, double part[VS_COST_TERMS])
{
    memset(part, 0, VS_COST_TERMS * sizeof *part);
    uint32_t k = 0;
    while (k < VS_COST_KNOTS - 2 && work->rows >> (k + 1))
        k++;
    double beyond = work->rows / (double)(1u << k) - 1;      /* 0 to 1: on the way to the next knot */
    part[k] = 1 - beyond;
    part[k + 1] = beyond;
    part[VS_COST_OUT] = work->outs;
    part[VS_COST_DECODE] = work->decode_attended;
    part[VS_COST_PROMPT] = work->prompt_attended;
}

static double sum(const struct vs_cost *c, const double part[VS_COST_TERMS])
{
    double ns = 0;
    for (int i = 0; i < VS_COST_TERMS; i++)
        ns += c->term[i] * part[i];
    return ns;
}

double vs_cost_of(const struct vs_cost *c, const struct vs_sched_work *work)
{
    double part[VS_COST_TERMS];
    if (!work->rows)
        return 0;
    parts(work, part);
    return sum(c, part);
}

/* The first step says what a row costs. The other terms begin as what they are for a small model: a thousand positions cost a
 * quarter of a row of a prompt, a fifth of a decoding row alone. */
static void begin(struct vs_cost *c, const struct vs_sched_work *work, double ns)
{
    double row = ns / work->rows;
    c->term[VS_COST_OUT] = row * 0.1;
    c->term[VS_COST_DECODE] = row * 0.0002;
    c->term[VS_COST_PROMPT] = row * 0.00025;
    c->noise = 0.05;
    for (int i = 0; i < VS_COST_TERMS; i++)
        c->doubt[i] = NEW_DOUBT;
}

/* Knots that no step came near: from the next one below that is known, else from the first that is. No knot is above the next: a
 * step on a busy machine is always too long. And twice the rows take at most twice the time, whatever was measured once: what seems
 * dearer is never tried again. */
static void estimate(struct vs_cost *c)
{
    int known = 0;
    while (known < VS_COST_KNOTS - 1 && !c->seen[known])
        known++;
    for (int k = 0; k < known; k++)
        c->term[k] = c->term[known];
    for (int k = known + 1; k < VS_COST_KNOTS; k++)
        if (!c->seen[k])
            c->term[k] = 2 * c->term[k - 1];
    for (int k = 1; k < VS_COST_KNOTS; k++)
        if (c->seen[k] && c->seen[k - 1] && c->doubt[k - 1] < c->doubt[k])
            c->term[k] = least(c->term[k], 2 * c->term[k - 1]);
    for (int k = VS_COST_KNOTS - 2; k >= 0; k--)
        c->term[k] = least(c->term[k], c->term[k + 1]);
}

/* A knot counts as seen when a quarter of its height was in a step. What was thought of it before was an estimate, which the first
 * measurement replaces. */
static bool see(struct vs_cost *c, const double part[VS_COST_TERMS], double ns)
{
    double fresh = 0, known = 0;
    bool is_fresh[VS_COST_TERMS] = { false };
    for (int i = 0; i < VS_COST_TERMS; i++) {
        is_fresh[i] = i < VS_COST_KNOTS && part[i] >= 0.25 && !c->seen[i];
        *(is_fresh[i] ? &fresh : &known) += part[i] * c->term[i];
    }
    for (int k = 0; k < VS_COST_KNOTS && fresh > 0; k++)
        if (is_fresh[k]) {
            c->seen[k] = true;
            c->doubt[k] = NEW_DOUBT;
            c->term[k] *= most(LEAST_SCALE, least(1, (ns - known) / fresh));
        }
    return fresh > 0;
}

/* One step on a busy machine says little; a machine that was slow four times in a row is slow: what is known is in doubt. */
static double limit_of(struct vs_cost *c, double error)
{
    double limit = least(0.5, most(0.1, 3 * c->noise));
    if (error <= limit && error >= -limit) {
        c->n_outliers = 0;
        return limit;
    }
    if (c->n_outliers && (error > 0) != c->outliers_slow)
        c->n_outliers = 0;
    c->outliers_slow = error > 0;
    if (++c->n_outliers < 4)
        return limit;
    for (int i = 0; i < VS_COST_TERMS; i++)
        c->doubt[i] = most(c->doubt[i], VARIANCE);
    return 0.5;
}

void vs_cost_learn(struct vs_cost *c, const struct vs_sched_work *work, double ns)
{
    double part[VS_COST_TERMS];
    if (!work->rows || !(ns > 0))
        return;
    parts(work, part);
    if (!c->largest) {
        begin(c, work, ns);
        for (int k = 0; k < VS_COST_KNOTS; k++)
            c->term[k] = part[k] > 0 ? ns : 0;
    }
    bool fresh = see(c, part, ns);
    double expected = sum(c, part);
    double error = (ns - expected) / most(ns, expected);     /* -1 to 1 */
    double limit = fresh ? 0.5 : limit_of(c, error);
    error = most(-limit, least(limit, error));
    double variance = VARIANCE;
    for (int i = 0; i < VS_COST_TERMS; i++) {
        part[i] *= c->term[i] / expected;                    /* now shares of the prediction */
        variance += part[i] * part[i] * c->doubt[i];
    }
    for (int i = 0; i < VS_COST_TERMS; i++) {
        double gain = c->doubt[i] * part[i] / variance;
        c->term[i] *= 1 + most(-MOST_CHANGE, least(MOST_CHANGE, gain * error));
        c->doubt[i] *= 1 - gain * part[i];
        if (c->doubt[i] < DOUBT)
            c->doubt[i] = least(DOUBT, c->doubt[i] + DRIFT);
    }
    if (!fresh)
        c->noise += 0.1 * ((error < 0 ? -error : error) - c->noise);
    if (work->rows > c->largest)
        c->largest = work->rows;
    estimate(c);
}
