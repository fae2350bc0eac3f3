/* sched/sched.c - see sched.h */
#include "sched/internal.h"

#include "base/status.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

static const double FREE_MARGIN = 1.25;    /* enough for noise of 15 % */
static const double MOST_MARGIN = 1.5;    /* more would leave prompts too little */

int vs_sched_create(const struct vs_sched_config *config, struct vs_sched **ret)
{
    const uint32_t limit = 1u << 20;
    if (!config->places || config->places > config->outs || config->outs > config->chunk || config->chunk > limit ||
        config->max_requests < config->places || config->max_requests > limit || !config->target_ns)
        return VS_E_INVALID;
    struct vs_sched *s = calloc(1, sizeof *s);
    if (!s)
        return VS_E_NOMEM;
    s->config = *config;
    s->n_accounts = 4 * config->max_requests;
    s->account = calloc(s->n_accounts, sizeof *s->account);
    s->prompt = calloc(config->places, sizeof(struct vs_sched_request *));
    s->margin = 1.03;
    if (!s->account || !s->prompt) {
        vs_sched_free(s);
        return VS_E_NOMEM;
    }
    *ret = s;
    return VS_OK;
}

void vs_sched_free(struct vs_sched *s)
{
    if (!s)
        return;
    free(s->account);
    free(s->prompt);
    free(s);
}

void vs_sched_plan(struct vs_sched *s, struct vs_sched_request *const *request, size_t n, uint32_t free_pages, uint64_t now_ns,
                   uint64_t guess_ns)
{
    assert(n <= s->config.max_requests);
    s->plan++;
    s->now_ns = now_ns;
    s->guess_ns = (double)guess_ns;
    vs_sched_look(s, request, n);
    vs_sched_places(s, request, n, free_pages);
    vs_sched_rows(s, request, n);
}

void vs_sched_begin(struct vs_sched *s, struct vs_sched_request *const *request, size_t n)
{
    struct vs_sched_work decoding = { 0 };
    s->work = (struct vs_sched_work){ 0 };
    for (size_t i = 0; i < n; i++) {
        vs_sched_add(&s->work, request[i], request[i]->rows);
        if (request[i]->decode)
            vs_sched_add(&decoding, request[i], request[i]->rows);
    }
    s->decode_ns = vs_cost_of(&s->cost, &decoding);
    vs_sched_charge(s, request, n);
}

/* The account of the prompts' tenth. What they get within the target is nobody's debt. */
static void owe(struct vs_sched *s, double expected, double ns)
{
    double target = (double)s->config.target_ns;
    if (!s->n_prompts || !s->n_decoding || !(expected > 0)) {
        s->owed = 0;
        return;
    }
    s->owed += ns / 10 - ns * (1 - s->decode_ns / expected);
    if (s->owed < 0 && ns <= target)
        s->owed = 0;
    if (s->owed > target)
        s->owed = target;
    if (s->owed < -10 * target)
        s->owed = -10 * target;
}

/* Moves until one in twenty of the steps that the target limits is late: all of them count, also those that are long because
 * another program had a processor for a while. Late is what takes longer than the target. Where that would cost prompts much, on a
 * machine that others use too, both give way: late is then as much beyond the target as the margin is beyond the free one. */
static void set_margin(struct vs_sched *s, double ns)
{
    if (!s->tight || !s->n_decoding || s->decode_ns > 0.9 * (double)s->config.target_ns)
        return;
    double late = (double)s->config.target_ns * (s->margin > FREE_MARGIN ? s->margin / FREE_MARGIN : 1);
    s->margin += ns > late ? 0.019 : -0.001;
    s->margin = s->margin < 1 ? 1 : s->margin > MOST_MARGIN ? MOST_MARGIN : s->margin;
}

void vs_sched_end(struct vs_sched *s, uint64_t ns)
{
    double of_rows = fmax(0, (double)ns - s->guess_ns), expected = vs_cost_of(&s->cost, &s->work);
    owe(s, expected, of_rows);
    vs_cost_learn(&s->cost, &s->work, of_rows);
    set_margin(s, (double)ns);
}

double vs_sched_cost(const struct vs_sched *s, const struct vs_sched_work *work)
{
    return vs_cost_of(&s->cost, work);
}

double vs_sched_draft_cost(const struct vs_sched *s, const struct vs_sched_work *work)
{
    return vs_cost_hoped(&s->cost, work);
}

uint32_t vs_sched_draft_rows(const struct vs_sched *s, uint32_t rows)
{
    return vs_cost_next(&s->cost, rows);
}

double vs_sched_draft_limit(const struct vs_sched *s)
{
    return s->draft_limit;
}
