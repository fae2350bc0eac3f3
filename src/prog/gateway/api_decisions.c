/* prog/gateway/api_decisions.c - POST /v1/decisions: questions about a state, answered by how likely each choice is.
 *
 *     {"model", "state": text or JSON, "questions": {NAME: {"type", "instructions", "criteria"}}}
 *       choice   criteria {KEY: description or null}    -> {"choice": KEY, "probabilities", "confidence"}
 *       noul     criteria {"false", "true"}, optional   -> {"noul": probability of true}
 *       score    criteria [description, ...], from low  -> {"score": place from 0, "legend", "probabilities", "confidence"}
 *
 * or as OpenAI's client asks, and with answers in the order of the questions:
 *
 *     {"model", "input": text or items as in Responses, "questions": [{"type", "name", "instructions": text or parts}]}
 *       choice     choices [{"value": text or flag, "description"}]   -> {"choice": value, "probabilities": [{"value"}], ...}
 *       predicate                                                     -> {"probability": of true}
 *       score      levels [{"label", "description"}], from low        -> {"score": place from 0, "probabilities": [{"label"}], ...}
 *
 * One read a question: its choices are lettered, the prompt asks for a letter, and one token's logprobs say how likely each letter
 * is. What all prompts begin with, the state, is read once (docs/PROTOCOL.md, cached_tokens). Probabilities are those of the
 * letters among the 100 likeliest tokens, made to sum up to 1; where no letter is among them all are alike, and confidence is 0.
 */
#include "prog/gateway/api_answer.h"
#include "prog/gateway/api_read.h"
#include "prog/gateway/api_routes.h"

#include "base/num.h"
#include "ipc/json.h"
#include "ipc/message.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_QUESTIONS = 64, MAX_CHOICES = 26, BEST = 100 };

struct question {
    const char *name;                   /* borrowed from the body, as the rest */
    enum { CHOICE, NOUL, SCORE } type;  /* NOUL: predicate, as OpenAI calls it */
    size_t n;                           /* choices */
    const char *key[MAX_CHOICES];
    const json_t *value[MAX_CHOICES];   /* of a choice of OpenAI's form */
    double p[MAX_CHOICES];
    bool has_letter;
};

struct decisions {
    json_t *body;                       /* a reference of ours: the names point into it */
    struct question *questions;
    size_t n, n_done;
    bool is_list;                       /* OpenAI's form */
    struct gw_usage usage;
};

/* ---- what is asked ---- */

/* Text as it is; any other JSON as JSON. */
static void add_content(struct vs_buf *out, const json_t *v)
{
    if (json_is_string(v)) {
        vs_buf_add(out, json_string_value(v), json_string_length(v));
        return;
    }
    char *text = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);
    vs_buf_str(out, text ? text : "");
    free(text);
}

static int add_choice(struct gw_reading *r, struct question *q, const char *key, const json_t *description, struct vs_buf *prompt)
{
    if (q->n == MAX_CHOICES)
        return gw_refuse(r, "invalid_value", "criteria: at most %d choices", MAX_CHOICES);
    if (description && !json_is_string(description) && !json_is_null(description))
        return gw_refuse(r, "invalid_value", "criteria: a description is a string");
    vs_buf_printf(prompt, "%c. ", (char)('A' + q->n));
    if (json_is_string(description))
        add_content(prompt, description);
    else
        vs_buf_str(prompt, key);
    vs_buf_char(prompt, '\n');
    q->key[q->n++] = key;
    return VS_OK;
}

static int read_criteria(struct gw_reading *r, struct question *q, const json_t *criteria, struct vs_buf *prompt)
{
    const char *key;
    json_t *v;
    size_t i;
    int rc = VS_OK;
    if (q->type == NOUL) {
        if (criteria && !json_is_null(criteria) && !json_is_object(criteria))
            return gw_refuse(r, "invalid_value", "criteria: an object with the keys false and true");
        rc = add_choice(r, q, "false", json_object_get(criteria, "false"), prompt);
        return rc == VS_OK ? add_choice(r, q, "true", json_object_get(criteria, "true"), prompt) : rc;
    }
    if (q->type == CHOICE)
        json_object_foreach((json_t *)(uintptr_t)criteria, key, v)
            if (rc == VS_OK)
                rc = add_choice(r, q, key, v, prompt);
    if (q->type == SCORE)
        json_array_foreach(criteria, i, v)
            if (rc == VS_OK)
                rc = json_is_string(v) ? add_choice(r, q, json_string_value(v), v, prompt)
                                       : gw_refuse(r, "invalid_value", "criteria: a list of strings is needed");
    return rc == VS_OK && q->n < 2 ? gw_refuse(r, "invalid_value", "criteria: at least two choices are needed") : rc;
}

/* Choices or levels, as OpenAI's client lists them. */
static int read_options(struct gw_reading *r, struct question *q, const json_t *v, struct vs_buf *prompt)
{
    static const char *const lists[] = { "choices", NULL, "levels" }, *const keys[] = { "value", NULL, "label" };
    const json_t *list = json_object_get(v, lists[q->type] ? lists[q->type] : ""), *one;
    size_t i;
    int rc = VS_OK;
    if (q->type == NOUL) {
        rc = add_choice(r, q, "false", NULL, prompt);
        return rc == VS_OK ? add_choice(r, q, "true", NULL, prompt) : rc;
    }
    json_array_foreach(list, i, one) {
        const json_t *is = json_object_get(one, keys[q->type]), *description = json_object_get(one, "description");
        if (!json_is_string(is) && !(q->type == CHOICE && json_is_boolean(is)))
            return gw_refuse(r, "invalid_value", "%s[%zu].%s: a string%s is needed", lists[q->type], i, keys[q->type],
                             q->type == CHOICE ? ", true or false" : "");
        if (q->n < MAX_CHOICES)
            q->value[q->n] = is;
        const char *key = json_is_string(is) ? json_string_value(is) : json_is_true(is) ? "true" : "false";
        rc = add_choice(r, q, key, description, prompt);
        if (rc != VS_OK)
            return rc;
    }
    return q->n < 2 ? gw_refuse(r, "invalid_value", "%s: a list of at least two is needed", lists[q->type]) : VS_OK;
}

/* A text, or a list of parts of text and JSON. */
static int read_parts(struct gw_reading *r, const json_t *v, struct vs_buf *prompt)
{
    size_t i;
    const json_t *part;
    if (json_is_string(v))
        add_content(prompt, v);
    else if (!json_array_size(v))
        return gw_refuse(r, "invalid_value", "instructions: a string or a list of parts is needed");
    json_array_foreach(v, i, part) {
        bool is_json = gw_is(json_object_get(part, "type"), "input_json");
        const json_t *content = json_object_get(part, is_json ? "data" : "text");
        if (!is_json && (!gw_is(json_object_get(part, "type"), "input_text") || !json_is_string(content)))
            return gw_refuse(r, "unsupported_value", "instructions, part %zu: input_text and input_json are read, images are not",
                             i);
        vs_buf_str(prompt, i ? "\n" : "");
        add_content(prompt, content);
    }
    return VS_OK;
}

/* The question with its choices, for people. */
static int read_question(struct gw_reading *r, struct question *q, bool is_list, const json_t *v, struct vs_buf *prompt)
{
    static const char *const types[][3] = { { "choice", "noul", "score" }, { "choice", "predicate", "score" } };
    const json_t *instructions = json_object_get(v, "instructions"), *name = json_object_get(v, "name");
    size_t type = 0;
    while (type < 3 && !gw_is(json_object_get(v, "type"), types[is_list][type]))
        type++;
    if (type == 3 || !instructions || json_is_null(instructions))
        return gw_refuse(r, "invalid_value", "a type (choice, %s or score) and instructions are needed", types[is_list][1]);
    if (is_list && name && !json_is_string(name) && !json_is_null(name))
        return gw_refuse(r, "invalid_value", "name: a string is needed");
    q->type = type;
    int rc = VS_OK;
    if (is_list) {
        q->name = json_string_value(name);
        rc = read_parts(r, instructions, prompt);
    } else {
        add_content(prompt, instructions);
    }
    vs_buf_str(prompt, "\n");
    if (rc == VS_OK)
        rc = is_list ? read_options(r, q, v, prompt) : read_criteria(r, q, json_object_get(v, "criteria"), prompt);
    vs_buf_str(prompt, "Answer with the letter alone.");
    return rc;
}

/* What it is about and the question, as messages: state is one text, or those that are there already. A new reference. */
static json_t *messages_of(const json_t *state, const json_t *before, const struct vs_buf *question)
{
    struct vs_buf text = { 0 };
    json_t *list = before ? json_copy((json_t *)(uintptr_t)before) : json_array();
    json_t *last = json_array_get(list, json_array_size(list) - 1);
    if (last && gw_is(json_object_get(last, "role"), "user"))       /* templates want users and assistants in turn */
        state = json_object_get(last, "content");
    if (state)
        add_content(&text, state);
    vs_buf_str(&text, state ? "\n\n" : "");
    vs_buf_add(&text, question->data, question->n);
    json_t *message = json_pack("{s:s, s:o}", "role", "user", "content", vs_json_text(text.data, text.n));
    if (last && state)
        json_array_set_new(list, json_array_size(list) - 1, message);
    else
        json_array_append_new(list, message);
    vs_buf_clear(&text);
    return list;
}

static const struct gw_field fields[] = {
    { "model", GW_READ, NULL, gw_read_model },
    { "state", GW_MUTE, NULL, NULL },           /* read by ask_all */
    { "input", GW_MUTE, NULL, NULL },
    { "questions", GW_MUTE, NULL, NULL },
    { "safety_identifier", GW_MUTE, NULL, NULL },
    { "prompt_cache_key", GW_MUTE, NULL, NULL },
    { "prompt_cache_options", GW_MUTE, NULL, NULL },
    { "priority", GW_MAP, "priority", NULL },
    { "deadline_ms", GW_MAP, "deadline_ms", NULL },
    { "cache_key", GW_MAP, "cache_key", NULL },
    { "keep_alive", GW_MUTE, NULL, NULL },
    { NULL, 0, NULL, NULL },
};
static const struct gw_field *const tables[] = { fields, NULL };

static int ask_one(struct gw_reading *r, struct decisions *d, const char *name, const json_t *state, const json_t *v)
{
    const json_t *before = json_object_get(r->request, "messages");
    struct question *q = &d->questions[d->n++];
    struct vs_buf prompt = { 0 };
    q->name = name;
    r->name = "questions";
    int rc = read_question(r, q, d->is_list, v, &prompt);
    if (rc == VS_OK) {
        json_t *request = json_copy(r->request);
        json_object_set_new(request, "messages", messages_of(state, before, &prompt));
        json_object_set_new(request, "max_tokens", json_integer(1));
        json_object_set_new(request, "logprobs", json_integer(BEST));
        json_object_set_new(request, "sampling", json_pack("{s:i}", "temperature", 0));
        json_object_set_new(request, "template_args", json_pack("{s:b}", "enable_thinking", 0));
        rc = gw_call_ask(r->call, VS_MSG_CHAT, request) == VS_OK ? VS_OK : gw_no_memory(r->err);
    }
    vs_buf_clear(&prompt);
    return rc;
}

static int ask_all(struct gw_reading *r, struct decisions *d)
{
    const json_t *questions = json_object_get(r->http->body, "questions");
    const char *name, *key;
    json_t *v;
    size_t i, n = json_is_array(questions) ? json_array_size(questions) : json_object_size(questions);
    d->is_list = json_is_array(questions);
    key = d->is_list ? "input" : "state";
    const json_t *state = json_object_get(r->http->body, key);
    if (!state || json_is_null(state))
        return gw_refuse_at(r, key, "missing_required_parameter", "is needed: what the questions are about");
    if (n == 0 || n > MAX_QUESTIONS)
        return gw_refuse_at(r, "questions", "invalid_value", "an object or a list of 1 to %d questions is needed", MAX_QUESTIONS);
    if (d->is_list && !json_is_string(state)) {
        r->name = key;
        int rc = gw_read_input(r, state);
        if (rc != VS_OK)
            return rc;
        state = NULL;
    }
    d->body = json_incref(r->http->body);
    d->questions = calloc(n, sizeof *d->questions);
    if (!d->questions)
        return gw_no_memory(r->err);
    int rc = VS_OK;
    json_object_foreach((json_t *)(uintptr_t)questions, name, v)
        if (rc == VS_OK)
            rc = ask_one(r, d, name, state, v);
    json_array_foreach(questions, i, v)
        if (rc == VS_OK)
            rc = ask_one(r, d, NULL, state, v);
    return rc;
}

static int begin(struct gw_call *call, const struct gw_http *http, struct gw_error *err)
{
    struct gw_reading r;
    struct decisions *d = call->state = calloc(1, sizeof *d);
    int rc = gw_reading_init(&r, call, http, VS_MSG_CHAT, err);
    if (rc == VS_OK && !d)
        rc = gw_no_memory(err);
    if (rc == VS_OK)
        rc = gw_read_fields(&r, http->body, "", tables);
    if (rc == VS_OK)
        rc = gw_read_end(&r);
    if (rc == VS_OK)
        rc = ask_all(&r, d);
    gw_reading_clear(&r);
    return rc;
}

/* ---- answers ---- */

/* The letter that a token is, a space before it or not; -1. */
static int letter_of(const json_t *entry, size_t n)
{
    const char *s = json_string_value(json_object_get(entry, "text"));
    s = s && *s == ' ' ? s + 1 : s;
    return s && *s >= 'A' && *s < (char)('A' + n) && !s[1] ? *s - 'A' : -1;
}

static void token(struct gw_call *call, const struct gw_token *t, struct vs_buf *out)
{
    struct decisions *d = call->state;
    struct question *q = t->ask < d->n ? &d->questions[t->ask] : NULL;
    const json_t *entry;
    size_t i;
    (void)out;
    if (!q || !t->extra || q->has_letter)
        return;
    json_array_foreach(json_object_get(t->extra, "top"), i, entry) {
        int letter = letter_of(entry, q->n);
        if (letter >= 0)
            q->p[letter] += vs_exp64(json_number_value(json_object_get(entry, "logprob")));
        q->has_letter = q->has_letter || letter >= 0;
    }
}

/* The probabilities, which sum up to 1 from now on; the place that is expected and the best one. */
static double settle(struct question *q, double *ret_expected, size_t *ret_best)
{
    double sum = 0, expected = 0;
    size_t best = 0;
    for (size_t i = 0; i < q->n; i++)
        sum += q->p[i];
    for (size_t i = 0; i < q->n; i++) {
        q->p[i] = sum > 0 ? q->p[i] / sum : 1.0 / (double)q->n;
        expected += q->p[i] * (double)i;
        best = q->p[i] > q->p[best] ? i : best;
    }
    *ret_expected = expected;
    *ret_best = best;
    return sum > 0 ? q->p[best] : 0;
}

static json_t *answer_of(struct question *q)
{
    double expected;
    size_t best;
    double confidence = settle(q, &expected, &best);
    json_t *probabilities = json_object(), *legend = json_object(), *v;
    for (size_t i = 0; i < q->n; i++) {
        char place[24];
        snprintf(place, sizeof place, "%zu", i);
        json_object_set_new(probabilities, q->type == SCORE ? place : q->key[i], json_real(q->p[i]));
        json_object_set_new(legend, place, json_string(q->key[i]));
    }
    if (q->type == NOUL)
        v = json_pack("{s:s, s:f}", "type", "noul", "noul", q->p[1]);
    else if (q->type == CHOICE)
        v = json_pack("{s:s, s:s, s:O, s:f}", "type", "choice", "choice", q->key[best], "probabilities", probabilities,
                      "confidence", confidence);
    else
        v = json_pack("{s:s, s:f, s:O, s:O, s:f}", "type", "score", "score", expected, "legend", legend, "probabilities",
                      probabilities, "confidence", confidence);
    json_decref(probabilities);
    json_decref(legend);
    return v;
}

/* As OpenAI's client reads it. */
static json_t *listed_answer_of(struct question *q)
{
    double expected;
    size_t best;
    double confidence = settle(q, &expected, &best);
    json_t *probabilities = json_array(), *v = json_pack("{s:s?}", "name", q->name);
    for (size_t i = 0; i < q->n; i++)
        json_array_append_new(probabilities, q->type == SCORE
                              ? json_pack("{s:s, s:f, s:I}", "label", q->key[i], "probability", q->p[i], "value", (json_int_t)i)
                              : json_pack("{s:f, s:O?}", "probability", q->p[i], "value", q->value[i]));
    if (q->type == NOUL)
        json_object_update_new(v, json_pack("{s:s, s:f}", "type", "predicate", "probability", q->p[1]));
    else if (q->type == CHOICE)
        json_object_update_new(v, json_pack("{s:s, s:O, s:O, s:f}", "type", "choice", "choice", q->value[best], "probabilities",
                                            probabilities, "confidence", confidence));
    else
        json_object_update_new(v, json_pack("{s:s, s:f, s:O, s:f}", "type", "score", "score", expected, "probabilities",
                                            probabilities, "confidence", confidence));
    json_decref(probabilities);
    return v;
}

static json_t *usage_of(const struct decisions *d)
{
    const struct gw_usage *u = &d->usage;
    if (!d->is_list)
        return json_pack("{s:I, s:I}", "input_tokens", (json_int_t)u->prompt, "output_tokens", (json_int_t)u->completion);
    return json_pack("{s:I, s:{s:I, s:i}, s:I, s:{s:i}, s:I}", "input_tokens", (json_int_t)u->prompt, "input_tokens_details",
                     "cached_tokens", (json_int_t)u->cached, "cache_write_tokens", 0, "output_tokens", (json_int_t)u->completion,
                     "output_tokens_details", "reasoning_tokens", 0, "total_tokens", (json_int_t)(u->prompt + u->completion));
}

static void done(struct gw_call *call, size_t ask, const json_t *result, struct vs_buf *out)
{
    struct decisions *d = call->state;
    (void)ask;
    gw_usage_add(&d->usage, result, NULL);
    if (++d->n_done < d->n)
        return;
    json_t *answers = d->is_list ? json_array() : json_object();
    for (size_t i = 0; i < d->n; i++) {
        if (d->is_list)
            json_array_append_new(answers, listed_answer_of(&d->questions[i]));
        else
            json_object_set_new(answers, d->questions[i].name, answer_of(&d->questions[i]));
    }
    gw_value(out, json_pack("{s:s, s:o, s:o}", "model", call->model, "answers", answers, "usage", usage_of(d)));
}

static void clear(struct gw_call *call)
{
    struct decisions *d = call->state;
    if (!d)
        return;
    json_decref(d->body);
    free(d->questions);
    free(d);
}

const struct gw_api gw_api_decisions = { .begin = begin, .token = token, .done = done, .fail = gw_fail_openai, .clear = clear };
