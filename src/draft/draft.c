/* draft/draft.c - see draft.h */
#include "draft/draft.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* A class of evidence begins here, and goes to where the next one begins. */
static const uint32_t class_begins[VS_DRAFT_CLASSES] = { 0, 1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 32 };

/* What is thought of a class before anything was seen. Looked up: near what code, lists and chat gave together. */
static const double first_share[VS_N_DRAFT_KINDS][VS_DRAFT_CLASSES] = {
    [VS_DRAFT_LOOKED_UP] = { 0.1, 0.15, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95 },
    [VS_DRAFT_MODEL]     = { 0.8, 0.85, 0.85, 0.85, 0.85, 0.85, 0.85, 0.85, 0.85, 0.85, 0.85, 0.85 },
};

/* Guesses: what the first share counts as, and over how many is averaged. A model that was given up is not heard for long: so it is
 * given up late. */
static const struct { uint32_t first, most; } weights[VS_N_DRAFT_KINDS] = {
    [VS_DRAFT_LOOKED_UP] = { 4, 16 }, [VS_DRAFT_MODEL] = { 12, 48 },
};
static const double most_saved = 4, most_lost = 2;      /* tokens */
static const uint32_t most_vain = 8;    /* drafts of a model in a row that got no row */
static const float sure_by = 1;         /* what the logit of a sure guess is above all others */
static const double least_gain = 1.03;  /* what a draft must promise: costs are measured, and not exactly */

static uint32_t class_of(uint32_t evidence)
{
    uint32_t c = VS_DRAFT_CLASSES - 1;
    while (evidence < class_begins[c])
        c--;
    return c;
}

static void forget(struct vs_draft *d)
{
    for (uint32_t c = 0; c < VS_DRAFT_CLASSES; c++)
        d->classes[c] = (struct vs_draft_class){ first_share[d->kind][c], 0 };
}

void vs_draft_init(struct vs_draft *d, enum vs_draft_kind kind)
{
    memset(d, 0, sizeof *d);
    d->kind = kind;
    d->wait = VS_DRAFT_WAIT;
    forget(d);
}

/* ---- before a step ---- */

/* What a step with n guesses takes. */
static double time_with(const struct vs_draft_step *step, uint32_t n)
{
    return step->cost(step->context, step->n_rows + n) + n * step->guess_cost;
}

/* The length with most tokens for the time; the shorter one when two are equal; 0 when none is worth the trouble. */
static uint32_t best_length(const struct vs_draft *d, const struct vs_draft_step *step, uint32_t n_most, double *ret_promise)
{
    double tokens = step->n_rows, all_come = 1, plain = tokens / time_with(step, 0), best = least_gain * plain;
    uint32_t length = 0;
    for (uint32_t n = 1; n <= n_most; n++) {
        all_come *= d->classes[class_of(d->evidence + n - 1)].share;
        tokens += all_come;
        double rate = tokens / time_with(step, n);
        if (rate > best) {
            best = rate;
            length = n;
        }
    }
    *ret_promise = length ? best / plain : 0;
    return length;
}

/* In tokens: what the time for n guesses would have made without them. */
static double stake_of(const struct vs_draft_step *step, uint32_t n)
{
    double without = time_with(step, 0);
    return (time_with(step, n) - without) / without * step->n_rows;
}

uint32_t vs_draft_length(struct vs_draft *d, uint32_t evidence, const struct vs_draft_step *step)
{
    uint32_t n_most = step->n_most < VS_DRAFT_MOST ? step->n_most : VS_DRAFT_MOST;
    assert(step->n_rows >= 1);
    while (n_most && time_with(step, n_most) > step->limit)
        n_most--;
    d->evidence = evidence;
    d->n_guesses = d->n_computed = d->n_came = 0;
    d->promise = 0;
    uint32_t n = d->rest ? 0 : best_length(d, step, n_most, &d->promise);
    d->is_trial = !n && n_most && !d->rest && d->kind == VS_DRAFT_MODEL && d->idle >= d->wait;
    if (d->is_trial)
        n = 1;
    d->stake = n ? stake_of(step, n) : 0;
    d->length = n;
    return n;
}

static void wait_longer(struct vs_draft *d)
{
    d->wait = d->wait < VS_DRAFT_LONGEST_WAIT ? d->wait * 2 : d->wait;
}

void vs_draft_guessed(struct vs_draft *d, const uint32_t *token, uint32_t n, uint32_t n_computed)
{
    assert(n <= VS_DRAFT_MOST && n_computed <= n);
    memcpy(d->guess, token, n * sizeof *token);
    d->n_guesses = n;
    d->n_computed = n_computed;
    d->n_vain = n_computed ? 0 : d->n_vain + (n && d->kind == VS_DRAFT_MODEL);
    if (d->n_vain == most_vain) {        /* they are made, and no step has room for them */
        d->n_vain = 0;
        d->rest = d->wait;
        wait_longer(d);
    }
    if (n_computed < d->length)          /* there was no room for more */
        d->stake *= (double)n_computed / d->length;
    d->n_drafted += n_computed;
}

bool vs_draft_is_sure(const float *logits, uint32_t n, uint32_t id)
{
    float other = -INFINITY;
    for (uint32_t i = 0; i < n; i++)
        other = i != id && logits[i] > other ? logits[i] : other;
    return logits[id] >= other + sure_by;
}

/* ---- behind it ---- */

static void learn(struct vs_draft *d, uint32_t evidence, bool came)
{
    struct vs_draft_class *c = &d->classes[class_of(evidence)];
    c->n_seen += c->n_seen < weights[d->kind].most - weights[d->kind].first;
    c->share += ((came ? 1.0 : 0.0) - c->share) / (weights[d->kind].first + c->n_seen);
}

/* A try is one guess: if it comes true the model gets a new chance. */
static void settle_trial(struct vs_draft *d)
{
    if (!d->n_came) {
        wait_longer(d);
        return;
    }
    forget(d);
    d->wait = VS_DRAFT_WAIT;
}

static void settle_bet(struct vs_draft *d)
{
    double balance = d->balance + d->n_came - d->stake;
    d->balance = balance < most_saved ? balance : most_saved;
    if (d->balance < -most_lost) {
        d->rest = d->wait;
        d->balance = -most_lost / 2;
        wait_longer(d);
    } else if (d->balance == most_saved) {
        d->wait = VS_DRAFT_WAIT;
    }
}

static void settle(struct vs_draft *d)
{
    if (d->is_trial)
        settle_trial(d);
    else
        settle_bet(d);
    d->n_accepted += d->n_came;
    d->idle = 0;
    d->n_computed = 0;
}

void vs_draft_took(struct vs_draft *d, uint32_t token)
{
    d->rest -= d->rest > 0;
    d->idle++;
    bool came = false;
    if (d->n_guesses) {
        came = d->guess[d->n_came] == token;
        learn(d, d->evidence + d->n_came, came);
        d->n_came += came;
    }
    if (d->n_computed && (!came || d->n_came == d->n_computed))
        settle(d);
    if (!came || d->n_came == d->n_guesses)
        d->n_guesses = 0;
}
