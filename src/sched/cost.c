/* sched/cost.c - see cost.h */
#include "sched/cost.h"

#include "sched/sched.h"

#include <math.h>
#include <string.h>

static const double VARIANCE = 0.0025;      /* of one measurement, relative: 5 %; */
static const double FIRST_VARIANCE = 0.04;  /* of the first of so many rows: memory is touched for the first time */
/* What a step adds to the doubts: the machine's pace, which all terms share, changes all the time; how they compare hardly does. */
static const double PACE_DRIFT = 0.0001, SHAPE_DRIFT = 0.00002;
static const double DOUBT = 0.04;           /* where the second ends */
/* of a term by one step: one with a small part in it could move by much more than the error */
static const double MOST_CHANGE = 0.3;
static const double NEW_DOUBT = 0.25;       /* of what was estimated only */
static const double MOST_OUT = 0.25;        /* of a step with one row: from such steps it can't be told apart */
static const double HOPE = 1.1;             /* what twice the rows may cost, before they were tried */
enum { BELIEVED = 4 };                      /* outliers in a row */
static const double LEAST_SCALE = 0.3;      /* of an estimate that is replaced: it was one from above */

static double least(double a, double b)
{
    return a < b ? a : b;
}

static double most(double a, double b)
{
    return a > b ? a : b;
}

/* The knot at or below so many rows; *ret_beyond, 0 to 1: how far it is from there to the next. */
static int knot_of(uint32_t rows, double *ret_beyond)
{
    int k = 0;
    while (k < VS_COST_KNOTS - 2 && rows >> (k + 1))
        k++;
    *ret_beyond = rows / (double)(1u << k) - 1;
    return k;
}

/* What each term has in the step; the prediction is the sum of term * part. */
static void parts(const struct vs_sched_work *work, double part[VS_COST_TERMS])
{
    double beyond;
    int k = knot_of(work->rows, &beyond);
    memset(part, 0, VS_COST_TERMS * sizeof *part);
    part[k] = 1 - beyond;
    part[k + 1] = beyond;
    part[VS_COST_OUT] = work->outs;
    part[VS_COST_DECODE] = work->decode_attended;
    part[VS_COST_PROMPT] = work->prompt_attended;
}

static double predict(const struct vs_cost *c, const double knot[VS_COST_KNOTS], const struct vs_sched_work *work)
{
    double beyond;
    if (!work->rows)
        return 0;
    int k = knot_of(work->rows, &beyond);
    return knot[k] * (1 - beyond) + knot[k + 1] * beyond + c->term[VS_COST_OUT] * work->outs
           + c->term[VS_COST_DECODE] * work->decode_attended + c->term[VS_COST_PROMPT] * work->prompt_attended;
}

double vs_cost_of(const struct vs_cost *c, const struct vs_sched_work *work)
{
    return predict(c, c->term, work);
}

double vs_cost_hoped(const struct vs_cost *c, const struct vs_sched_work *work)
{
    return predict(c, c->hoped, work);
}

uint32_t vs_cost_next(const struct vs_cost *c, uint32_t rows)
{
    double beyond;
    int k = knot_of(rows, &beyond);
    while (k < VS_COST_KNOTS - 2 && c->seen[k + 1] >= VS_COST_TRIES)
        k++;
    return 1u << (k + 1);
}

/* ---- doubts ---- */

static void doubt_pace(struct vs_cost *c, double variance)
{
    for (int i = 0; i < VS_COST_TERMS; i++)
        for (int k = 0; k < VS_COST_TERMS; k++)
            c->doubt[i][k] += variance;
}

/* Nothing that is known of others says anything of this one. */
static void doubt_term(struct vs_cost *c, int term)
{
    for (int i = 0; i < VS_COST_TERMS; i++)
        c->doubt[term][i] = c->doubt[i][term] = 0;
    c->doubt[term][term] = NEW_DOUBT;
}

/* share: of the terms in the step. What was in none for long is known less and less. */
static void drift(struct vs_cost *c, const double share[VS_COST_TERMS])
{
    for (int i = 0; i < VS_COST_TERMS; i++)
        if (c->doubt[i][i] < DOUBT)
            c->doubt[i][i] += SHAPE_DRIFT * (1 - share[i]);
    doubt_pace(c, PACE_DRIFT);
}

/* with[i]: what the doubt of term i has to do with that of the prediction, whose own is returned. */
static double doubt_of(const struct vs_cost *c, const double share[VS_COST_TERMS], double with[VS_COST_TERMS])
{
    double variance = 0;
    for (int i = 0; i < VS_COST_TERMS; i++) {
        with[i] = 0;
        for (int k = 0; k < VS_COST_TERMS; k++)
            with[i] += c->doubt[i][k] * share[k];
        variance += with[i] * share[i];
    }
    return variance;
}

/* ---- learning ---- */

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
        doubt_term(c, i);
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
        if (c->seen[k] && c->seen[k - 1] && c->doubt[k - 1][k - 1] < c->doubt[k][k])
            c->term[k] = most(c->term[k - 1], least(c->term[k], 2 * c->term[k - 1]));
    for (int k = VS_COST_KNOTS - 2; k >= 0; k--)
        c->term[k] = least(c->term[k], c->term[k + 1]);
    c->term[VS_COST_OUT] = least(c->term[VS_COST_OUT], MOST_OUT * c->term[0]);
    for (int k = 0; k < VS_COST_KNOTS; k++)
        c->hoped[k] = k && c->seen[k] < VS_COST_TRIES ? least(c->term[k], HOPE * c->hoped[k - 1]) : c->term[k];
}

/* A knot counts as seen when a quarter of its height was in a step. What was thought of it before was an estimate, which the first
 * measurement replaces. */
static bool see(struct vs_cost *c, const double part[VS_COST_TERMS], double ns)
{
    double fresh = 0, known = 0;
    bool is_fresh[VS_COST_TERMS] = { false };
    for (int i = 0; i < VS_COST_TERMS; i++) {
        bool is_near = i < VS_COST_KNOTS && part[i] >= 0.25;
        is_fresh[i] = is_near && !c->seen[i];
        *(is_fresh[i] ? &fresh : &known) += part[i] * c->term[i];
        if (is_near && c->seen[i] < VS_COST_TRIES)
            c->seen[i]++;
    }
    for (int k = 0; k < VS_COST_KNOTS && fresh > 0; k++)
        if (is_fresh[k]) {
            doubt_term(c, k);
            c->term[k] *= most(LEAST_SCALE, least(1, (ns - known) / fresh));
        }
    return fresh > 0;
}

/* One step on a busy machine says little; a machine that was slow four times in a row is slow. known: the doubt of
 * the prediction. */
static double limit_of(struct vs_cost *c, double error, double known)
{
    double limit = least(0.5, 3 * sqrt(most(c->noise * c->noise, 0.001) + known));
    if (error <= limit && error >= -limit) {
        c->n_outliers = 0;
        return limit;
    }
    if (c->n_outliers && (error > 0) != c->outliers_slow)
        c->n_outliers = 0;
    c->outliers_slow = error > 0;
    if (++c->n_outliers < BELIEVED)
        return limit;
    doubt_pace(c, VARIANCE);
    return 0.5;
}

void vs_cost_learn(struct vs_cost *c, const struct vs_sched_work *work, double ns)
{
    double part[VS_COST_TERMS], with[VS_COST_TERMS];
    if (!work->rows || !(ns > 0))
        return;
    parts(work, part);
    if (!c->largest) {
        begin(c, work, ns);
        for (int k = 0; k < VS_COST_KNOTS; k++)
            c->term[k] = part[k] > 0 ? ns : 0;
    }
    bool fresh = see(c, part, ns);
    double expected = vs_cost_of(c, work);
    double error = (ns - expected) / most(ns, expected);     /* -1 to 1 */
    for (int i = 0; i < VS_COST_TERMS; i++)
        part[i] *= c->term[i] / expected;                    /* now shares of the prediction */
    double known = doubt_of(c, part, with), variance = known + (fresh ? FIRST_VARIANCE : VARIANCE);
    double limit = fresh ? 0.5 : limit_of(c, error, known);
    if (!fresh && c->n_outliers && c->n_outliers < BELIEVED)
        variance = known + VARIANCE * (error / limit) * (error / limit);   /* disturbed, so it says less about what is in it */
    error = most(-limit, least(limit, error));
    for (int i = 0; i < VS_COST_TERMS; i++) {
        c->term[i] *= 1 + most(-MOST_CHANGE, least(MOST_CHANGE, with[i] / variance * error));
        for (int k = 0; k < VS_COST_TERMS; k++)
            c->doubt[i][k] -= with[i] * with[k] / variance;
    }
    drift(c, part);
    if (!fresh)
        c->noise += 0.1 * ((error < 0 ? -error : error) - c->noise);
    if (work->rows > c->largest)
        c->largest = work->rows;
    estimate(c);
}
