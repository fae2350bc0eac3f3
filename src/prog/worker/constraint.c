/* prog/worker/constraint.c - the form that an answer keeps: what the grammar room needs of the model, and the method constrain.
 *
 * The vocabulary's trie takes some 50 ms and is made when the first constraint comes, on the text thread that has it; others that
 * come meanwhile wait for it.
 */
#include "prog/worker/service_internal.h"

#include <stdlib.h>
#include <string.h>

#define SUPPRESSED "tokenizer.ggml.suppress_tokens"

struct spelling {
    const struct vs_tokenizer *tokenizer;
    const uint32_t *mark_id;             /* [VS_N_MARKS] */
    bool *never;                         /* [n] the file wants them never sampled */
    char code[VS_MARK_CODE];
};

static bool is_code(char c)
{
    return (uint8_t)c >= 0xf8;
}

/* A mark that is a control token has bytes that no text has; tokens with such bytes are never text. */
static const char *text(void *context, uint32_t id, size_t *ret_n)
{
    struct spelling *s = context;
    *ret_n = 0;
    if (s->never[id])
        return NULL;
    for (unsigned m = 0; m < VS_N_MARKS; m++)
        if (s->mark_id[m] == id) {
            vs_mark_code((enum vs_mark)m, s->code);
            *ret_n = VS_MARK_CODE;
            return s->code;
        }
    const char *text = vs_tokenizer_text(s->tokenizer, id, ret_n);
    for (size_t i = 0; i < *ret_n; i++)
        if (is_code(text[i]))
            *ret_n = 0;
    return *ret_n ? text : NULL;
}

static bool is_end(void *context, uint32_t id)
{
    const struct spelling *s = context;
    return !s->never[id] && vs_tokenizer_is_end(s->tokenizer, id);
}

static int make_vocabulary(struct vs_service *s, struct vs_check *check)
{
    uint32_t n = s->model ? vs_model_n_vocab(s->model) : vs_tokenizer_n_vocab(s->tokenizer);
    const struct vs_entry *suppressed = vs_entries_find(vs_header_entries(s->header), SUPPRESSED);
    struct spelling spelling = { .tokenizer = s->tokenizer, .mark_id = s->mark_id, .never = calloc((size_t)n + 1, sizeof(bool)) };
    if (!spelling.never)
        return VS_E_NOMEM;
    for (uint64_t i = 0, id; suppressed && i < suppressed->count && vs_entry_uint(suppressed, i, &id); i++)
        if (id < n)
            spelling.never[id] = true;
    const struct vs_vocabulary_source source = { .n = n, .context = &spelling, .text = text, .is_end = is_end };
    int r = vs_vocabulary_create(&source, check, &s->vocabulary);
    free(spelling.never);
    return r;
}

static int need_vocabulary(struct vs_service *s, struct vs_check *check, struct vs_error *err)
{
    int r = vs_service_need_tokenizer(s, err);
    if (r != VS_OK)
        return r;
    pthread_mutex_lock(&s->vocabulary_lock);
    if (!s->vocabulary && (r = make_vocabulary(s, check)) != VS_OK)
        vs_error_set(err, r, "%s", vs_status_text(r));
    pthread_mutex_unlock(&s->vocabulary_lock);
    return r;
}

int vs_constraint_read(struct vs_service *s, const json_t *request, enum vs_grammar_use use, struct vs_check *check,
                       struct vs_grammar **ret, struct vs_error *err)
{
    const json_t *constraint = json_object_get(request, "constraint");
    if (!constraint || json_is_null(constraint))
        return VS_OK;
    int r = need_vocabulary(s, check, err);
    return r == VS_OK ? vs_grammar_compile(constraint, use, s->vocabulary, check, ret, err) : r;
}

/* The schema of a tool's arguments; a tool without parameters has none. Where it names properties and says nothing of others there
 * are none: what keeps this keeps it, too, and a model is not led to make up more. A new reference. */
static json_t *arguments_schema(json_t *parameters)
{
    if (!json_is_object(parameters))
        return json_pack("{s:s, s:b}", "type", "object", "additionalProperties", 0);
    json_t *closed = json_copy(parameters);
    if (json_object_get(closed, "properties") && !json_object_get(closed, "additionalProperties")
        && !json_object_get(closed, "patternProperties") && !json_object_get(closed, "allOf") && !json_object_get(closed, "$ref")
        && !json_object_get(closed, "anyOf") && !json_object_get(closed, "oneOf"))
        json_object_set_new(closed, "additionalProperties", json_false());
    return closed;
}

/* {"name": NAME, "arguments": what the tool's schema says}, with the keys of the family. A new reference. */
static json_t *object_schema(const json_t *function, const struct vs_call_keys *keys)
{
    json_t *parameters = json_object_get(function, "parameters"), *name = json_object_get(function, "name");
    const char *arguments = keys->arguments ? keys->arguments : json_string_value(name);
    json_t *properties = json_object(), *required = json_array();
    if (keys->id)
        json_object_set_new(properties, keys->id, json_pack("{s:s, s:s}", "type", "string", "pattern", "^[0-9]{1,3}$"));
    if (keys->name) {
        json_object_set_new(properties, keys->name, json_pack("{s:O?}", "const", name));
        json_array_append_new(required, json_string(keys->name));
    }
    json_object_set_new(properties, arguments, arguments_schema(parameters));
    json_array_append_new(required, json_string(arguments));
    json_t *whole = json_pack("{s:s, s:o, s:o, s:b}", "type", "object", "properties", properties, "required", required,
                              "additionalProperties", 0);
    for (size_t i = 0; i < 2 && whole; i++) {        /* what #/$defs/NAME means there, it means here */
        const char *shared = i ? "definitions" : "$defs";
        if (json_object_get(parameters, shared))
            json_object_set(whole, shared, json_object_get(parameters, shared));
    }
    return whole;
}

enum { FORM_BEGIN, FORM_OPEN, FORM_CLOSE, FORM_BETWEEN, FORM_AFTER, FORM_TAGS, N_TAG_TEXTS = 7,
       N_FORM_TEXTS = FORM_TAGS + N_TAG_TEXTS };

/* A form whose marks are as the vocabulary spells them. */
struct spelled {
    struct vs_buf text[N_FORM_TEXTS];
    struct vs_call_tags tags;
    struct vs_call_form form;
};

static void spelled_clear(struct spelled *sp)
{
    for (size_t i = 0; i < N_FORM_TEXTS; i++)
        vs_buf_clear(&sp->text[i]);
}

/* VS_OK or VS_E_NOMEM; _clear in either case. */
static int spell_form(const struct vs_service *s, const struct vs_style *style, enum vs_calls_use use, struct spelled *ret)
{
    static const struct vs_call_tags none;
    const struct vs_call_form *form = vs_style_form(style);
    const struct vs_call_tags *tags = form->tags ? form->tags : &none;
    const bool names_first = vs_style_names_first(style) && use == VS_CALLS_HELD;
    const char *of[N_FORM_TEXTS] = {
        form->begin, form->open, names_first ? VS_CALLS_NAME_END : form->close, form->between, form->after,
        tags->key_open, tags->key_close, tags->value_close, tags->end, tags->json_close, tags->json_end, tags->between,
    };
    bool is_control[VS_N_MARKS];
    int r = VS_OK;
    *ret = (struct spelled){ 0 };
    for (unsigned m = 0; m < VS_N_MARKS; m++)
        is_control[m] = s->mark_id[m] != VS_TOKENIZER_NONE;
    for (size_t i = 0; i < N_FORM_TEXTS && r == VS_OK; i++) {
        if (of[i])
            vs_style_spell(of[i], is_control, &ret->text[i]);
        r = ret->text[i].status;
    }
    const struct vs_buf *t = ret->text + FORM_TAGS;
    ret->tags = (struct vs_call_tags){ t[0].data, t[1].data, t[2].data, t[3].data, t[4].data, t[5].data, t[6].data };
    ret->form = (struct vs_call_form){ .begin = ret->text[FORM_BEGIN].data, .open = ret->text[FORM_OPEN].data,
                                       .close = ret->text[FORM_CLOSE].data, .tags = form->tags ? &ret->tags : NULL };
    if (use == VS_CALLS_FORCED_SEVERAL) {
        ret->form.between = ret->text[FORM_BETWEEN].data;
        ret->form.after = ret->text[FORM_AFTER].data;
    }
    return r;
}

/* Those that may be called, with the schemas of what is written of each; owned by `schemas`. */
static size_t callables(const json_t *tools, const char *name, const struct vs_call_keys *keys, json_t *schemas,
                        struct vs_callable *ret)
{
    size_t i, n = 0;
    const json_t *tool;
    json_array_foreach(tools, i, tool) {
        const json_t *function = vs_tool_function(tool);
        const char *is = json_string_value(json_object_get(function, "name"));
        if (!is || (name && strcmp(is, name) != 0))
            continue;
        json_t *schema = keys ? object_schema(function, keys) : arguments_schema(json_object_get(function, "parameters"));
        ret[n++] = (struct vs_callable){ keys ? "" : is, schema };
        json_array_append_new(schemas, schema);
    }
    return n;
}

int vs_calls_read(struct vs_service *s, const struct vs_style *style, const json_t *tools, const char *name, enum vs_calls_use use,
                  const json_t *constraint, struct vs_check *check, struct vs_grammar **ret, struct vs_error *err)
{
    struct vs_callable *f = calloc(json_array_size(tools) + 1, sizeof *f);
    struct spelled spelled = { 0 };
    struct vs_error why = { 0 };
    json_t *schemas = json_array();
    int r = f && schemas ? need_vocabulary(s, check, err) : vs_error_set(err, VS_E_NOMEM, "out of memory");
    if (r == VS_OK && (r = spell_form(s, style, use, &spelled)) != VS_OK)
        vs_error_set(err, r, "%s", vs_status_text(r));
    if (r == VS_OK) {
        size_t n = callables(tools, name, vs_style_keys(style), schemas, f);
        r = vs_grammar_calls(&spelled.form, f, n, constraint, vs_style_is_bare(style), s->vocabulary, check, ret, &why);
        if (r != VS_OK)
            vs_error_set(err, r, "tools: %s", why.text);
    }
    spelled_clear(&spelled);
    json_decref(schemas);
    free(f);
    return r;
}

/* What the text does in the grammar, asking now and then whether it may go on. */
static int read_text(struct vs_matcher *m, const char *given, size_t n, struct vs_check *check, size_t *ret_n)
{
    enum { PIECE = 1024 };
    int r = VS_OK;
    for (*ret_n = 0; *ret_n < n && r == VS_OK;) {
        size_t piece = n - *ret_n < PIECE ? n - *ret_n : PIECE, read = vs_matcher_read(m, given + *ret_n, piece);
        *ret_n += read;
        if (read < piece)
            break;
        r = vs_check_work(check, 64 * PIECE);
    }
    return r;
}

/* The same, in the spelling that the grammar has; *ret_n still counts bytes of the text. */
static int judge(struct vs_matcher *m, const json_t *constraint, const json_t *given, struct vs_check *check, size_t *ret_n)
{
    const char *text = json_string_value(given);
    size_t n = json_string_length(given), n_read;
    if (!json_object_get(constraint, "json_schema") && !json_object_get(constraint, "json_object"))
        return read_text(m, text, n, check, ret_n);
    struct vs_buf plain = { 0 };
    vs_json_respell(text, n, SIZE_MAX, &plain);
    int r = plain.status == VS_OK ? read_text(m, plain.data ? plain.data : "", plain.n, check, &n_read) : plain.status;
    if (r == VS_OK)
        *ret_n = vs_json_respell(text, n, n_read, NULL);
    vs_buf_clear(&plain);
    return r;
}

int vs_service_constrain(struct vs_service *s, json_t *request, struct vs_sink *sink, struct vs_answer *ret, struct vs_error *err)
{
    const json_t *given = json_object_get(request, "text");
    struct vs_grammar *g = NULL;
    struct vs_matcher *m = NULL;
    size_t n = 0;
    int r = vs_constraint_read(s, request, json_is_string(given) ? VS_GRAMMAR_READS : VS_GRAMMAR_WRITES, &sink->check, &g, err);
    if (r == VS_OK && !g)
        r = vs_error_set(err, VS_E_INVALID, "constraint is missing");
    if (r == VS_OK && (r = vs_matcher_create(g, &m)) != VS_OK)
        vs_error_set(err, r, "%s", vs_status_text(r));
    uint32_t shortest = r == VS_OK ? vs_matcher_shortest(m) : 0;
    if (r == VS_OK && shortest == UINT32_MAX && !json_is_string(given))
        r = vs_error_set(err, VS_E_UNSUPPORTED, "constraint: this model's vocabulary can't spell any answer");
    if (r == VS_OK && json_is_string(given))
        r = judge(m, json_object_get(request, "constraint"), given, &sink->check, &n);
    if (r == VS_OK) {
        ret->result = json_pack("{s:I}", "states", (json_int_t)vs_grammar_size(g));
        if (ret->result && shortest != UINT32_MAX)
            json_object_set_new(ret->result, "shortest", json_integer(shortest));
        if (ret->result && json_is_string(given)) {
            bool accepted = n == json_string_length(given) && vs_matcher_may_end(m);
            json_object_set_new(ret->result, "accepted", json_boolean(accepted));
            json_object_set_new(ret->result, "accepted_bytes", json_integer((json_int_t)n));
        }
    }
    vs_matcher_free(m);
    vs_grammar_free(g);
    return r;
}
