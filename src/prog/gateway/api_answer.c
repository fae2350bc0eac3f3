/* prog/gateway/api_answer.c - pieces of an answer, and what all APIs write alike. */
#include "prog/gateway/api_answer.h"

#include "ipc/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int gw_answer_init(struct gw_answer *a, size_t n_choices, bool keeps)
{
    *a = (struct gw_answer){ .keeps = keeps };
    a->choices = calloc(n_choices, sizeof *a->choices);
    a->n = a->choices ? n_choices : 0;
    return a->choices ? VS_OK : VS_E_NOMEM;
}

void gw_answer_clear(struct gw_answer *a)
{
    for (size_t i = 0; i < a->n; i++) {
        for (size_t k = 0; k < a->choices[i].n_pieces; k++) {
            vs_buf_clear(&a->choices[i].pieces[k].text);
            vs_buf_clear(&a->choices[i].pieces[k].name);
            json_decref(a->choices[i].pieces[k].logprobs);
        }
        free(a->choices[i].pieces);
    }
    free(a->choices);
    *a = (struct gw_answer){ 0 };
}

static struct gw_piece *add_piece(struct gw_answer *a, struct gw_choice *c, uint32_t part)
{
    struct gw_piece *more = realloc(c->pieces, (c->n_pieces + 1) * sizeof *more);
    if (!more) {
        a->status = VS_E_NOMEM;
        return NULL;
    }
    c->pieces = more;
    c->n_calls += part >= VS_PART_CALL;
    c->pieces[c->n_pieces] = (struct gw_piece){ .part = part };
    return &c->pieces[c->n_pieces++];
}

/* The name of a call ends with a line feed; what follows are its arguments. */
static void take_name(struct gw_change *e)
{
    struct gw_piece *p = e->piece;
    const char *end = e->n ? memchr(e->text, '\n', e->n) : NULL;
    size_t n = end ? (size_t)(end - e->text) : e->n;
    vs_buf_add(&p->name, e->text, n);
    p->has_name = end != NULL;
    e->is_named = p->has_name;
    e->text += end ? n + 1 : n;
    e->n -= end ? n + 1 : n;
}

void gw_answer_take(struct gw_answer *a, size_t choice, const struct gw_token *t, struct gw_change *ret)
{
    *ret = (struct gw_change){ .text = t->text, .n = t->n };
    if (choice >= a->n)
        return;
    struct gw_choice *c = &a->choices[choice];
    struct gw_piece *p = c->n_pieces ? &c->pieces[c->n_pieces - 1] : NULL;
    ret->choice = c;
    ret->index = choice;
    c->n_reasoning += t->part == VS_PART_REASONING && t->id != VS_NO_TOKEN;
    bool has_logprob = t->extra && t->part == VS_PART_CONTENT;
    if (t->n == 0 && !has_logprob)
        return;
    ret->is_new = !p || p->part != t->part;
    if (ret->is_new)
        p = add_piece(a, c, t->part);
    if (!p)
        return;
    ret->piece = p;
    ret->at = c->n_pieces - 1;
    if (p->part >= VS_PART_CALL && !p->has_name)
        take_name(ret);
    if (a->keeps && ret->n)
        vs_buf_add(&p->text, ret->text, ret->n);
    if (has_logprob) {
        ret->logprob = gw_logprob(t->extra);
        if (a->keeps_logprobs) {
            p->logprobs = p->logprobs ? p->logprobs : json_array();
            json_array_append(p->logprobs, ret->logprob);
        }
    }
    if (p->text.status != VS_OK || p->name.status != VS_OK)
        a->status = VS_E_NOMEM;
}

void gw_choice_join(const struct gw_choice *c, uint32_t part, struct vs_buf *out)
{
    for (size_t i = 0; i < c->n_pieces; i++)
        if (c->pieces[i].part == part)
            vs_buf_add(out, c->pieces[i].text.data, c->pieces[i].text.n);
}

/* ---- logprobs ---- */

void gw_token_bytes(const json_t *extra, struct vs_buf *out)
{
    const json_t *bytes = json_object_get(extra, "bytes"), *text = json_object_get(extra, "text"), *v;
    size_t i;
    if (json_is_array(bytes))
        json_array_foreach(bytes, i, v)
            vs_buf_char(out, (char)json_integer_value(v));
    else if (json_is_string(text))
        vs_buf_add(out, json_string_value(text), json_string_length(text));
}

static json_t *entry(const json_t *extra)
{
    struct vs_buf bytes = { 0 };
    json_t *list = json_array(), *text = json_object_get(extra, "text");
    gw_token_bytes(extra, &bytes);
    for (size_t i = 0; i < bytes.n; i++)
        json_array_append_new(list, json_integer((uint8_t)bytes.data[i]));
    vs_buf_clear(&bytes);
    double logprob = json_number_value(json_object_get(extra, "logprob"));
    return json_pack("{s:o, s:f, s:o}", "token", text ? json_incref(text) : json_string(""), "logprob",
                     logprob < -9999 ? -9999.0 : logprob, "bytes", list);
}

json_t *gw_logprob(const json_t *extra)
{
    json_t *e = entry(extra), *top = json_array();
    size_t i;
    const json_t *v;
    json_array_foreach(json_object_get(extra, "top"), i, v)
        json_array_append_new(top, entry(v));
    json_object_set_new(e, "top_logprobs", top);
    return e;
}

/* ---- results ---- */

static int64_t number(const json_t *o, const char *key)
{
    return json_integer_value(json_object_get(o, key));
}

void gw_usage_add(struct gw_usage *u, const json_t *result, const struct gw_answer *a)
{
    const json_t *usage = json_object_get(result, "usage");
    u->prompt += number(usage, "prompt_tokens");
    u->completion += number(usage, "completion_tokens");
    u->cached += number(usage, "cached_tokens");
    u->drafted += number(usage, "drafted_tokens");
    u->accepted += number(usage, "accepted_tokens");
    u->reasoning = 0;
    for (size_t i = 0; a && i < a->n; i++)
        u->reasoning += a->choices[i].n_reasoning;
}

json_t *gw_usage_openai(const struct gw_usage *u)
{
    return json_pack("{s:I, s:I, s:I, s:{s:I}, s:{s:I, s:I, s:I}}", "prompt_tokens", (json_int_t)u->prompt,
                     "completion_tokens", (json_int_t)u->completion, "total_tokens", (json_int_t)(u->prompt + u->completion),
                     "prompt_tokens_details", "cached_tokens", (json_int_t)u->cached,
                     "completion_tokens_details", "reasoning_tokens", (json_int_t)u->reasoning, "accepted_prediction_tokens",
                     (json_int_t)u->accepted, "rejected_prediction_tokens", (json_int_t)(u->drafted - u->accepted));
}

/* With n above 1 what a choice ended by stands in its own entry. */
static const json_t *of_choice(const json_t *result, size_t i, const char *key)
{
    const json_t *choices = json_object_get(result, "choices");
    return json_object_get(choices ? json_array_get(choices, i) : result, key);
}

const char *gw_finish_of(const json_t *result, size_t i)
{
    const char *reason = json_string_value(of_choice(result, i, "finish_reason"));
    return !reason ? "stop" : strcmp(reason, "filtered") == 0 ? GW_FILTERED : reason;
}

const json_t *gw_stop_of(const json_t *result, size_t i)
{
    const json_t *v = of_choice(result, i, "stop_sequence");
    return json_is_string(v) ? v : NULL;
}

void gw_add_receipts(json_t *to, const json_t *result)
{
    json_t *receipt = json_object_get(result, "receipt"), *all = json_array();
    const json_t *choice;
    size_t i;
    json_array_foreach(json_object_get(result, "choices"), i, choice)
        if (json_object_get(choice, "receipt"))
            json_array_append(all, json_object_get(choice, "receipt"));
    if (receipt)
        json_object_set(to, "receipt", receipt);
    else if (json_array_size(all))
        json_object_set(to, "receipts", all);
    json_decref(all);
}

json_t *gw_fingerprint(const json_t *result)
{
    const char *digest = json_string_value(json_object_get(result, "model_digest"));
    return digest ? json_sprintf("fp_%.16s", digest) : json_null();
}

/* ---- writing ---- */

json_t *gw_arguments(const char *text, size_t n)
{
    json_t *value = n ? vs_json_parse(text, n, NULL) : NULL;
    return value || !n ? value : json_loadb(text, n, JSON_ALLOW_NUL, NULL);
}

json_t *gw_id(const struct gw_call *call, const char *prefix, size_t number)
{
    return number ? json_sprintf("%s%s%zu", prefix, call->id, number) : json_sprintf("%s%s", prefix, call->id);
}

void gw_value(struct vs_buf *out, json_t *value)
{
    if (value)
        vs_json_dump(value, out);
    else
        out->status = VS_E_NOMEM;
    json_decref(value);
}

void gw_event(struct vs_buf *out, const char *name, json_t *value)
{
    if (name)
        vs_buf_printf(out, "event: %s\n", name);
    vs_buf_str(out, "data: ");
    gw_value(out, value);
    vs_buf_str(out, "\n\n");
}

void gw_comment(struct gw_call *call, struct vs_buf *out)
{
    (void)call;
    vs_buf_str(out, ": ping\n\n");
}
