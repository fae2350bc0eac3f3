/* prog/worker/speculate.c - see speculate.h */
#include "prog/worker/speculate.h"

#include "base/status.h"
#include "draft/suffix.h"

#include <stdlib.h>
#include <string.h>

struct vs_speculation {
    struct vs_suffix *index;             /* NULL: memory ran out */
    struct vs_draft draft;
    bool fresh;                          /* the guesses are those for the next token */
    bool found;
    uint32_t guess[VS_DRAFT_MOST];
    uint32_t n_guesses;                  /* worth a row */
};

struct vs_speculation *vs_speculation_create(const uint32_t *token, size_t n, size_t n_more)
{
    struct vs_speculation *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    vs_draft_init(&s->draft, VS_DRAFT_LOOKED_UP);
    if (vs_suffix_create(&s->index) != VS_OK || vs_suffix_reserve(s->index, n + n_more) != VS_OK
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
    free(s);
}

uint32_t vs_speculation_guess(struct vs_speculation *s, const struct vs_draft_step *step, uint32_t ret[VS_DRAFT_MOST])
{
    uint32_t evidence;
    if (!s->fresh) {
        s->fresh = true;
        s->found = s->index && vs_suffix_guess(s->index, VS_DRAFT_MOST, s->guess, &evidence);
        s->n_guesses = s->found ? vs_draft_length(&s->draft, evidence, step) : 0;
    }
    uint32_t n = s->n_guesses < step->n_most ? s->n_guesses : step->n_most;
    memcpy(ret, s->guess, n * sizeof *ret);
    return n;
}

void vs_speculation_computed(struct vs_speculation *s, uint32_t n)
{
    if (s->found)
        vs_draft_guessed(&s->draft, s->guess, VS_DRAFT_MOST, n);
}

void vs_speculation_took(struct vs_speculation *s, uint32_t token)
{
    s->fresh = false;
    vs_draft_took(&s->draft, token);
    if (s->index && vs_suffix_push(s->index, &token, 1) != VS_OK) {
        vs_suffix_free(s->index);
        s->index = NULL;
    }
}

void vs_speculation_count(const struct vs_speculation *s, uint64_t *ret_drafted, uint64_t *ret_accepted)
{
    *ret_drafted = s->draft.n_drafted;
    *ret_accepted = s->draft.n_accepted;
}
