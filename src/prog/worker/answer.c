/* prog/worker/answer.c - an answer, token by token: which token may come, what follows from it, and when it ends. It is the same
 * whether the tokens are drawn for the first time (generate.c) or for a receipt once more (verify.c). */
#include "prog/worker/claim.h"
#include "prog/worker/generate.h"

#include <string.h>

/* ---- how long ---- */

/* So many tokens of it there are. */
static size_t n_of(const struct vs_asked *a, const struct vs_made *m)
{
    return m->next - a->n_prompt;
}

bool vs_made_is_full(const struct vs_asked *a, const struct vs_made *m)
{
    return (a->order.max_tokens >= 0 && (int64_t)n_of(a, m) >= a->order.max_tokens) || m->next > vs_model_context(a->s->model);
}

/* So many tokens may follow the next one. */
static uint32_t n_behind(const struct vs_asked *a, const struct vs_made *m)
{
    size_t left = vs_model_context(a->s->model) - m->next;
    if (a->order.max_tokens >= 0 && left > (size_t)a->order.max_tokens - n_of(a, m) - 1)
        left = (size_t)a->order.max_tokens - n_of(a, m) - 1;
    return (uint32_t)left;
}

/* ---- one token ---- */

static void let_go(struct vs_made *m)
{
    vs_matcher_free(m->matcher);
    m->matcher = NULL;
    m->holds_call = m->stopper.is_paused = false;
}

static bool read_all(struct vs_matcher *m, const char *text, size_t n)
{
    return vs_matcher_read(m, text, n) == n;
}

/* A call that has begun is held to its form from here on, as long as that can still be reached. */
static int hold_call(const struct vs_asked *a, struct vs_made *m, struct vs_error *err)
{
    size_t n = 0;
    const char *call = vs_parts_call(m->teller.parts, &n), *name = vs_parts_call_name(m->teller.parts);
    if (call && a->order.forces)
        vs_parts_trust(m->teller.parts);
    if (!call) {
        m->skips_call = false;
        if (m->holds_call)
            let_go(m);
        return VS_OK;
    }
    if (!a->order.calls || m->matcher || m->skips_call || m->finish || m->stopper.held.n || m->stopper.detok.n_held)
        return VS_OK;                    /* text that is held back: it is tried again when that is out */
    if (vs_matcher_create(a->order.calls, &m->matcher) != VS_OK)
        return vs_error_set(err, VS_E_NOMEM, "out of memory");
    m->holds_call = m->stopper.is_paused = true;
    m->skips_call = vs_made_is_full(a, m) || !read_all(m->matcher, name, name ? strlen(name) : 0)
                    || !read_all(m->matcher, VS_CALLS_NAME_END, name ? strlen(VS_CALLS_NAME_END) : 0)
                    || !read_all(m->matcher, call, n) || vs_matcher_must_end(m->matcher)
                    || vs_matcher_shortest(m->matcher) > n_behind(a, m);
    if (m->skips_call)
        let_go(m);
    else
        vs_parts_trust(m->teller.parts);
    if (!m->skips_call && a->claim)
        vs_claim_shaped(a->claim, m->index);
    return VS_OK;
}

const uint64_t *vs_made_mask(const struct vs_asked *a, struct vs_made *m)
{
    return vs_reasoning_mask(&m->reasoning, m->matcher, n_behind(a, m));
}

int vs_made_draw(const struct vs_asked *a, struct vs_made *m, struct vs_sampling sampling, struct vs_sampler *sampler,
                 const float *logits, uint32_t *ret, struct vs_error *err)
{
    int r;
    if (m->matcher && !(sampling.allowed = vs_made_mask(a, m)))
        return vs_error_set(err, VS_E_NOMEM, "out of memory");
    do
        r = vs_sampler_sample(sampler, &sampling, logits, m->tokens.id, m->next, m->next, ret, err);
    while (r == VS_OK && vs_reasoning_refuses(&m->reasoning, *ret));
    return r;
}

int vs_made_follow(const struct vs_asked *a, struct vs_made *m, uint32_t id, size_t *ret_n, struct vs_error *err)
{
    bool ends;
    int r = vs_stopper_push(&m->stopper, id, &ends, ret_n, err);
    if (r == VS_OK)
        r = vs_teller_token(&m->teller, id, m->stopper.held.n, err);
    if (r != VS_OK)
        return r;
    bool reasons = m->matcher && vs_reasoning_takes(&m->reasoning, id, n_behind(a, m));
    m->next++;
    if (m->matcher && !reasons && !ends && !vs_matcher_take(m->matcher, id))
        return vs_error_set(err, VS_E_INVALID, "token %u is not what the constraint allows", id);
    if (m->holds_call && vs_matcher_must_end(m->matcher))
        let_go(m);                       /* the call is whole, and the answer goes on */
    bool full = vs_made_is_full(a, m);
    bool in_form = m->matcher && !m->holds_call && !reasons;
    if (ends || (in_form && (vs_matcher_must_end(m->matcher) || (full && vs_matcher_may_end(m->matcher)))))
        m->finish = "stop";
    else if (full)
        m->finish = "length";
    if (m->finish)
        *ret_n = vs_stopper_finish(&m->stopper);
    return VS_OK;
}

/* What was said is kept to be sent. An answer that calls a tool ends for that. */
int vs_made_keep(const struct vs_asked *a, struct vs_made *m, uint32_t id, size_t n_text, json_t *extra, struct vs_error *err)
{
    struct vs_claim *claim = a->claim;
    if (claim && n_text && vs_claim_text(claim, m->index, m->stopper.held.data, n_text) != VS_OK) {
        json_decref(extra);
        return vs_error_set(err, VS_E_NOMEM, "out of memory");
    }
    int r = vs_teller_add(&m->teller, id, m->stopper.held.data, n_text, extra, m->finish != NULL, err);
    if (n_text)
        vs_buf_drop(&m->stopper.held, n_text);
    if (!m->teller.parts)
        return r;
    if (!vs_parts_is_reasoning(m->teller.parts))
        vs_reasoning_ended(&m->reasoning);
    if (vs_parts_is_over(m->teller.parts) || (m->finish && strcmp(m->finish, "stop") == 0 && vs_parts_n_calls(m->teller.parts)))
        m->finish = "tool_calls";
    return r == VS_OK ? hold_call(a, m, err) : r;
}

/* ---- begin ---- */

/* An answer that keeps its constraint must fit. */
static int start_matching(const struct vs_asked *a, struct vs_made *m, struct vs_error *err)
{
    if (!a->order.grammar)
        return VS_OK;
    if (vs_matcher_create(a->order.grammar, &m->matcher) != VS_OK)
        return vs_error_set(err, VS_E_NOMEM, "out of memory");
    uint32_t shortest = vs_matcher_shortest(m->matcher);
    size_t room = vs_model_context(a->s->model) + 1 - a->n_prompt;
    if (shortest == UINT32_MAX)
        return vs_error_set(err, VS_E_UNSUPPORTED, "constraint: this model's vocabulary can't spell any answer");
    uint64_t least = (uint64_t)shortest + (a->opening.may_reason && a->opening.is_open ? a->marks.close.n : 0);
    if (a->order.max_tokens >= 0 && (uint64_t)a->order.max_tokens < least)
        return vs_error_set(err, VS_E_INVALID, "max_tokens: the shortest answer that the constraint allows takes %llu tokens, "
                            "this is %lld", (unsigned long long)least, (long long)a->order.max_tokens);
    if (room < least)
        return vs_error_set(err, VS_E_CONTEXT, "the shortest answer that the constraint allows takes %llu tokens; the prompt of "
                            "%zu leaves room for %zu", (unsigned long long)least, a->n_prompt, room);
    if (shortest == 0 && vs_matcher_must_end(m->matcher))
        return vs_error_set(err, VS_E_INVALID, "constraint: it allows nothing but an empty answer");
    if (a->opening.may_reason && vs_reasoning_init(&m->reasoning, &a->marks, a->s, shortest, a->opening.is_open) != VS_OK)
        return vs_error_set(err, VS_E_NOMEM, "out of memory");
    return VS_OK;
}

static int extend_prompt(struct vs_asked *a, struct vs_ids *prompt, struct vs_error *err)
{
    struct vs_service *s = a->s;
    struct vs_buf *begun = &a->opening.text;
    if (!begun->n)
        return begun->status == VS_OK ? VS_OK : vs_error_set(err, begun->status, "out of memory");
    vs_buf_char(begun, '\0');
    if (begun->status != VS_OK)
        return vs_error_set(err, begun->status, "out of memory");
    int r = vs_service_encode(s, begun->data, begun->n - 1, true, 0, a->check, prompt, err);
    a->n_prompt = prompt->n;
    if (r == VS_OK && prompt->n >= vs_model_context(s->model))
        r = vs_error_set(err, VS_E_CONTEXT, "the prompt has %zu tokens and the context holds %u, one of them for the answer",
                         prompt->n, vs_model_context(s->model));
    return r;
}

int vs_asked_read(struct vs_asked *a, const json_t *request, struct vs_ids *prompt, struct vs_error *err)
{
    struct vs_service *s = a->s;
    struct vs_teller_config *t = &a->teller;
    int r = vs_order_read(s, request, a->check, &a->order, err);
    *t = (struct vs_teller_config){ .is_in_parts = a->order.parts && s->tokenizer, .mark_id = s->mark_id,
                                    .special = a->order.special };
    if (r == VS_OK)
        r = vs_prompt_read(s, request, a->check, prompt, &t->style, &a->notice, err);
    if (r == VS_OK)
        r = vs_order_calls(s, request, &t->style, a->check, &a->order, err);
    if (r != VS_OK)
        return r;
    t->is_single = a->order.one_call;
    a->n_prompt = prompt->n;
    if (t->is_in_parts) {
        t->tools = a->tools = json_incref(vs_chat_tools(request));
        t->in_content = json_string_length(json_object_get(request, "begun")) > 0;
        t->is_open = !t->in_content && vs_prompt_is_open(s, prompt, &t->style);
        if (!t->in_content && vs_prompt_leads(s, prompt, &t->style))
            t->lead = vs_style_lead(&t->style);
    }
    vs_prompt_open(s, request, prompt, &t->style, a->order.forces, a->order.grammar != NULL, &a->opening);
    r = a->opening.may_reason ? vs_reason_marks_read(s, &t->style, a->check, &a->marks, err) : extend_prompt(a, prompt, err);
    t->begun = a->opening.text.n ? a->opening.text.data : NULL;
    return r;
}

void vs_asked_clear(struct vs_asked *a)
{
    vs_order_clear(&a->order);
    vs_reason_marks_clear(&a->marks);
    vs_buf_clear(&a->opening.text);
    vs_json_free(a->tools, NULL);
}

int vs_made_begin(const struct vs_asked *a, struct vs_made *m, const struct vs_ids *prompt, struct vs_error *err)
{
    int r = vs_stopper_init(&m->stopper, &a->order, a->s, err);
    if (r == VS_OK)
        r = vs_teller_init(&m->teller, &a->teller, err);
    if (r == VS_OK && vs_ids_append(&m->tokens, prompt->id, prompt->n) != VS_OK)
        r = vs_error_set(err, VS_E_NOMEM, "out of memory");
    m->next = a->n_prompt;
    return r == VS_OK ? start_matching(a, m, err) : r;
}

void vs_made_clear(struct vs_made *m)
{
    vs_matcher_free(m->matcher);
    vs_reasoning_clear(&m->reasoning);
    vs_teller_clear(&m->teller);
    vs_ids_clear(&m->tokens);
    vs_stopper_clear(&m->stopper);
}
