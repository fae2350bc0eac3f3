/* prog/worker/speculate.c - see speculate.h */
#include "prog/worker/speculate.h"

#include "base/status.h"
#include "draft/suffix.h"
#include "prog/worker/drafter.h"

#include <stdlib.h>
#include <string.h>

/* One way to guess. */
struct source {
    struct vs_draft draft;
    uint32_t guess[VS_DRAFT_MOST];
    uint32_t n_guesses;                  /* that are there; the text knows many more than are worth a row */
    uint32_t n_worth;                    /* a row each */
};

struct vs_speculation {
    struct vs_suffix *index;             /* NULL: memory ran out */
    struct vs_drafter *drafter;          /* NULL: none */
    struct vs_drafter_sequence sequence;
    uint64_t n_made;                     /* tokens that came */
    bool fresh;                          /* the guesses are those for the next token */
    struct source text, model;
    struct source *best;                 /* whose guesses get rows; NULL: nobody's */
};

struct vs_speculation *vs_speculation_create(const struct vs_speculation_config *config, const uint32_t *token, size_t n)
{
    struct vs_speculation *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    vs_draft_init(&s->text.draft, VS_DRAFT_LOOKED_UP);
    vs_draft_init(&s->model.draft, VS_DRAFT_MODEL);
    s->drafter = config->drafter;
    s->sequence = (struct vs_drafter_sequence){ .owner = config->owner, .cache_key = config->cache_key,
                                                .sampling = config->sampling };
    if (vs_suffix_create(&s->index) != VS_OK || vs_suffix_reserve(s->index, n + config->n_more) != VS_OK
        || vs_suffix_push(s->index, token, n) != VS_OK) {
        vs_speculation_free(s);
        return NULL;
    }
    return s;
}

void vs_speculation_free(struct vs_speculation *s)
{
    if (!s)
        return;
    vs_suffix_free(s->index);
    vs_drafter_end(&s->sequence);
    free(s);
}

static void look_up(struct vs_speculation *s, const struct vs_draft_step *step)
{
    uint32_t evidence;
    bool found = s->index && vs_suffix_guess(s->index, VS_DRAFT_MOST, s->text.guess, &evidence);
    s->text.n_guesses = found ? VS_DRAFT_MOST : 0;
    s->text.n_worth = found ? vs_draft_length(&s->text.draft, evidence, step) : 0;
}

/* The model is asked only when it promises more than the text. */
static void ask_model(struct vs_speculation *s, const struct vs_draft_step *step, uint32_t *token, uint32_t n)
{
    struct vs_draft_step with_cost = *step;
    s->model.n_guesses = s->model.n_worth = 0;
    if (!s->drafter)
        return;
    with_cost.guess_cost = vs_drafter_cost(s->drafter, step->cost(step->context, 1));
    uint32_t n_worth = vs_draft_length(&s->model.draft, 0, &with_cost);
    if (!n_worth || (s->text.n_worth && s->model.draft.promise <= s->text.draft.promise))
        return;
    s->model.n_guesses = s->model.n_worth = vs_drafter_guess(s->drafter, &s->sequence, token, n, s->n_made, n_worth);
    memcpy(s->model.guess, token + n, s->model.n_guesses * sizeof *token);
}

uint32_t vs_speculation_guess(struct vs_speculation *s, const struct vs_draft_step *step, uint32_t *token, uint32_t n)
{
    if (!s->fresh) {
        s->fresh = true;
        look_up(s, step);
        ask_model(s, step, token, n);
        s->best = s->model.n_worth ? &s->model : s->text.n_worth ? &s->text : NULL;
    }
    if (!s->best)
        return 0;
    uint32_t n_worth = s->best->n_worth < step->n_most ? s->best->n_worth : step->n_most;
    memcpy(token + n, s->best->guess, n_worth * sizeof *token);
    return n_worth;
}

void vs_speculation_computed(struct vs_speculation *s, uint32_t n)
{
    struct source *const sources[] = { &s->text, &s->model };
    for (int i = 0; i < 2; i++)
        if (sources[i]->n_guesses)
            vs_draft_guessed(&sources[i]->draft, sources[i]->guess, sources[i]->n_guesses, s->best == sources[i] ? n : 0);
}

void vs_speculation_took(struct vs_speculation *s, uint32_t token)
{
    s->fresh = false;
    s->n_made++;
    vs_draft_took(&s->text.draft, token);
    vs_draft_took(&s->model.draft, token);
    if (s->index && vs_suffix_push(s->index, &token, 1) != VS_OK) {
        vs_suffix_free(s->index);
        s->index = NULL;
    }
}

void vs_speculation_count(const struct vs_speculation *s, uint64_t *ret_drafted, uint64_t *ret_accepted)
{
    *ret_drafted = s->text.draft.n_drafted + s->model.draft.n_drafted;
    *ret_accepted = s->text.draft.n_accepted + s->model.draft.n_accepted;
}
