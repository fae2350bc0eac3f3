/* prog/gateway/api_decisions.c - POST /v1/decisions: questions about a state, answered by how likely each choice is.
 *
 *     {"model", "state": text or JSON, "questions": {NAME: {"type", "instructions", "criteria"}}}
 *       choice   criteria {KEY: description or null}    -> {"choice": KEY, "probabilities", "confidence"}
 *       noul     criteria {"false", "true"}, optional   -> {"noul": probability of true}
 *       score    criteria [description, ...], from low  -> {"score": place from 0, "legend", "probabilities", "confidence"}
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
    enum { CHOICE, NOUL, SCORE } type;
    size_t n;                           /* choices */
    const char *key[MAX_CHOICES];
    double p[MAX_CHOICES];
    bool has_letter;
};

struct decisions {
    json_t *body;                       /* a reference of ours: the names point into it */
    struct question *questions;
    size_t n, n_done;
    int64_t n_input, n_output;
};

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

static int read_question(struct gw_reading *r, struct question *q, const json_t *state, const json_t *v, json_t **ret)
{
    static const char *const types[] = { "choice", "noul", "score" };
    const json_t *instructions = json_object_get(v, "instructions");
    struct vs_buf prompt = { 0 };
    size_t type = 0;
    while (type < 3 && !gw_is(json_object_get(v, "type"), types[type]))
        type++;
    if (type == 3 || !instructions || json_is_null(instructions))
        return gw_refuse(r, "invalid_value", "a type (choice, noul or score) and instructions are needed");
    q->type = type;
    add_content(&prompt, state);
    vs_buf_str(&prompt, "\n\n");
    add_content(&prompt, instructions);
    vs_buf_str(&prompt, "\n");
    int rc = read_criteria(r, q, json_object_get(v, "criteria"), &prompt);
    vs_buf_str(&prompt, "Answer with the letter alone.");
    if (rc == VS_OK)
        *ret = json_pack("[{s:s, s:o}]", "role", "user", "content", vs_json_text(prompt.data, prompt.n));
    vs_buf_clear(&prompt);
    return rc;
}

static const struct gw_field fields[] = {
    { "model", GW_READ, NULL, gw_read_model },
    { "state", GW_MUTE, NULL, NULL },           /* read by ask_all */
    { "questions", GW_MUTE, NULL, NULL },
    { "priority", GW_MAP, "priority", NULL },
    { "deadline_ms", GW_MAP, "deadline_ms", NULL },
    { "cache_key", GW_MAP, "cache_key", NULL },
    { "keep_alive", GW_MUTE, NULL, NULL },
    { NULL, 0, NULL, NULL },
};
static const struct gw_field *const tables[] = { fields, NULL };

static int ask_all(struct gw_reading *r, struct decisions *d)
{
    const json_t *state = json_object_get(r->http->body, "state"), *questions = json_object_get(r->http->body, "questions");
    const char *name;
    json_t *v;
    size_t n = json_object_size(questions);
    if (!state || json_is_null(state))
        return gw_refuse_at(r, "state", "missing_required_parameter", "is needed: what the questions are about");
    if (n == 0 || n > MAX_QUESTIONS)
        return gw_refuse_at(r, "questions", "invalid_value", "an object of 1 to %d questions is needed", MAX_QUESTIONS);
    d->body = json_incref(r->http->body);
    d->questions = calloc(n, sizeof *d->questions);
    if (!d->questions)
        return gw_no_memory(r->err);
    json_object_foreach((json_t *)(uintptr_t)questions, name, v) {
        struct question *q = &d->questions[d->n++];
        json_t *messages = NULL;
        q->name = name;
        r->name = "questions";
        int rc = read_question(r, q, state, v, &messages);
        if (rc != VS_OK)
            return rc;
        json_t *request = json_copy(r->request);
        json_object_set_new(request, "messages", messages);
        json_object_set_new(request, "max_tokens", json_integer(1));
        json_object_set_new(request, "logprobs", json_integer(BEST));
        json_object_set_new(request, "sampling", json_pack("{s:i}", "temperature", 0));
        json_object_set_new(request, "template_args", json_pack("{s:b}", "enable_thinking", 0));
        if (gw_call_ask(r->call, VS_MSG_CHAT, request) != VS_OK)
            return gw_no_memory(r->err);
    }
    return VS_OK;
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

static json_t *answer_of(struct question *q)
{
    double sum = 0, expected = 0;
    size_t best = 0;
    for (size_t i = 0; i < q->n; i++)
        sum += q->p[i];
    json_t *probabilities = json_object(), *legend = json_object();
    for (size_t i = 0; i < q->n; i++) {
        char place[24];
        snprintf(place, sizeof place, "%zu", i);
        q->p[i] = sum > 0 ? q->p[i] / sum : 1.0 / (double)q->n;
        expected += q->p[i] * (double)i;
        best = q->p[i] > q->p[best] ? i : best;
        json_object_set_new(probabilities, q->type == SCORE ? place : q->key[i], json_real(q->p[i]));
        json_object_set_new(legend, place, json_string(q->key[i]));
    }
    double confidence = sum > 0 ? q->p[best] : 0;
    json_t *v;
    if (q->type == NOUL)
        v = json_pack("{s:s, s:f}", "type", "noul", "noul", q->p[1]);
    else if (q->type == CHOICE)
        v = json_pack("{s:s, s:s, s:O, s:f}", "type", "choice", "choice", q->key[best], "probabilities", probabilities,
                      "confidence",
                      confidence);
    else
        v = json_pack("{s:s, s:f, s:O, s:O, s:f}", "type", "score", "score", expected, "legend", legend, "probabilities",
                      probabilities,
                      "confidence", confidence);
    json_decref(probabilities);
    json_decref(legend);
    return v;
}

static void done(struct gw_call *call, size_t ask, const json_t *result, struct vs_buf *out)
{
    struct decisions *d = call->state;
    const json_t *usage = json_object_get(result, "usage");
    (void)ask;
    d->n_input += json_integer_value(json_object_get(usage, "prompt_tokens"));
    d->n_output += json_integer_value(json_object_get(usage, "completion_tokens"));
    if (++d->n_done < d->n)
        return;
    json_t *answers = json_object();
    for (size_t i = 0; i < d->n; i++)
        json_object_set_new(answers, d->questions[i].name, answer_of(&d->questions[i]));
    gw_value(out, json_pack("{s:s, s:o, s:{s:I, s:I}}", "model", call->model, "answers", answers, "usage", "input_tokens",
                            (json_int_t)d->n_input, "output_tokens", (json_int_t)d->n_output));
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
