/* prog/worker/stop.c - where an answer stops: tokens that end it, and strings that may begin in one token and end in another.
 *
 * Each stop string is followed byte by byte (Knuth, Morris, Pratt 1977), so that the cost of a byte does not depend on what
 * the strings or the text look like. What may still become a stop string is held back.
 */
#include "prog/worker/generate.h"

#include <stdlib.h>
#include <string.h>

static int prepare(struct vs_stop_string *s, const char *text, size_t n)
{
    *s = (struct vs_stop_string){ .text = text, .n = n, .fallback = malloc(n * sizeof *s->fallback) };
    if (!s->fallback)
        return VS_E_NOMEM;
    s->fallback[0] = 0;
    for (size_t i = 1, same = 0; i < n; i++) {       /* fallback[i]: longest proper beginning that text[0..i) ends with */
        s->fallback[i] = (uint32_t)same;
        while (same && text[i] != text[same])
            same = s->fallback[same];
        same += text[i] == text[same];
    }
    return VS_OK;
}

/* The next byte of the text; true: the string stands here whole. */
static bool follow(struct vs_stop_string *s, char c)
{
    while (s->matched && s->text[s->matched] != c)
        s->matched = s->fallback[s->matched];
    s->matched += s->text[s->matched] == c;
    return s->matched == s->n;
}

/* Looks at what was added to the text behind byte `from`. Returns where the first stop string begins, or may begin. */
static size_t find(struct vs_stopper *p, size_t from, bool *ret_found)
{
    size_t first = p->held.n;
    p->by = NULL;
    for (size_t i = 0; i < p->n_stops; i++) {
        struct vs_stop_string *s = &p->stop[i];
        for (size_t at = from; at < p->held.n; at++)
            if (follow(s, p->held.data[at])) {
                size_t begin = at + 1 - s->n;
                if (!p->by || begin < first) {
                    first = begin;
                    p->by = s;
                }
                break;
            }
    }
    *ret_found = p->by != NULL;
    for (size_t i = 0; i < p->n_stops && !p->by; i++)
        if (p->held.n - p->stop[i].matched < first)
            first = p->held.n - p->stop[i].matched;
    return first;
}

static bool ends(const struct vs_stopper *p, uint32_t id)
{
    for (size_t i = 0; i < p->order->stop_tokens.n; i++)
        if (p->order->stop_tokens.id[i] == id)
            return true;
    return !p->order->ignore_eos && p->tokenizer && vs_tokenizer_is_end(p->tokenizer, id);
}

int vs_stopper_init(struct vs_stopper *p, const struct vs_order *order, const struct vs_service *s, struct vs_error *err)
{
    const struct vs_tokenizer *tokenizer = s->tokenizer;
    *p = (struct vs_stopper){ .order = order, .tokenizer = tokenizer, .mark_id = s->mark_id };
    if (!tokenizer && order->n_stops)
        return vs_error_set(err, VS_E_UNSUPPORTED, "the model file carries no tokenizer, so there is no text to stop in; "
                            "stop_tokens works");
    if (!tokenizer)
        return VS_OK;
    vs_detok_init(&p->detok, tokenizer, order->special);
    vs_detok_continue(&p->detok);
    for (size_t i = 0; i < order->n_stops; i++) {
        if (prepare(&p->stop[i], order->stop[i], order->stop_n[i]) != VS_OK)
            return vs_error_set(err, VS_E_NOMEM, "out of memory");
        p->n_stops++;
    }
    return VS_OK;
}

void vs_stopper_clear(struct vs_stopper *p)
{
    for (size_t i = 0; i < p->n_stops; i++)
        free(p->stop[i].fallback);
    p->n_stops = 0;
    vs_buf_clear(&p->held);
}

int vs_stopper_push(struct vs_stopper *p, uint32_t id, bool *ret_ends, size_t *ret_n, struct vs_error *err)
{
    size_t from = p->held.n;
    *ret_n = 0;
    *ret_ends = !p->is_paused && ends(p, id);
    if (*ret_ends || !p->tokenizer)
        return VS_OK;
    if (p->order->parts && vs_mark_of_id(p->mark_id, id) < VS_N_MARKS)
        vs_detok_finish(&p->detok, &p->held);         /* a mark stands behind all text that came before it */
    if (vs_detok_push(&p->detok, id, &p->held) != VS_OK || p->held.status != VS_OK)
        return vs_error_set(err, VS_E_NOMEM, "out of memory");
    if (p->is_paused) {
        *ret_n = p->held.n;
        return VS_OK;
    }
    *ret_n = find(p, from, ret_ends);
    if (*ret_ends) {
        p->held.n = *ret_n;
        p->detok.n_held = 0;
    }
    return VS_OK;
}

size_t vs_stopper_finish(struct vs_stopper *p)
{
    if (p->tokenizer)
        vs_detok_finish(&p->detok, &p->held);
    return p->held.n;
}
