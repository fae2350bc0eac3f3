/* client/receipt.c - see receipt.h. */
#include "client/receipt.h"

#include "base/buf.h"
#include "base/status.h"
#include "ipc/json.h"
#include "ipc/message.h"

#include <stdlib.h>

struct answer {                          /* one of those to a request */
    json_t *is_signed;                   /* NULL: it has not come */
    struct vs_buf ids, text;             /* u32 each */
};

struct vs_joined {
    struct answer answer[VS_MAX_CHOICES];
    bool has_several;                    /* what is signed says of which answer it is */
};

struct vs_joined *vs_joined_create(void)
{
    return calloc(1, sizeof(struct vs_joined));
}

void vs_joined_free(struct vs_joined *j)
{
    for (unsigned i = 0; j && i < VS_MAX_CHOICES; i++) {
        json_decref(j->answer[i].is_signed);
        vs_buf_clear(&j->answer[i].ids);
        vs_buf_clear(&j->answer[i].text);
    }
    free(j);
}

void vs_joined_token(struct vs_joined *j, const struct vs_token_view *t)
{
    if (!j || t->index >= VS_MAX_CHOICES)
        return;
    struct answer *a = &j->answer[t->index];
    if (t->id != VS_NO_TOKEN)
        vs_buf_add(&a->ids, &t->id, sizeof t->id);
    vs_buf_add(&a->text, t->text, t->text_bytes);
}

bool vs_joined_signed(struct vs_joined *j, const struct vs_frame *f)
{
    struct vs_receipt_view v;
    if (!vs_receipt_view(f, &v) || v.index >= VS_MAX_CHOICES)
        return false;
    struct answer *a = &j->answer[v.index];
    json_decref(a->is_signed);
    a->is_signed = vs_json_parse(v.text, v.n, NULL);
    j->has_several |= v.has_index;
    return a->is_signed;
}

static json_t *ids_of(const struct vs_buf *ids)
{
    json_t *list = json_array();
    const uint32_t *id = (const uint32_t *)(const void *)ids->data;
    for (size_t i = 0; i < ids->n / sizeof *id; i++)
        json_array_append_new(list, json_integer(id[i]));
    return list;
}

/* What is missing is left out: ids that were withheld, and of what failed before anything came all. A text that is not as the model
 * made it has another name. told: what the daemon says of that. */
static void add_content(const struct answer *a, const json_t *told, const json_t *result, json_t *opening)
{
    bool is_altered = json_is_true(json_object_get(told, "altered"));
    json_t *prompt = json_object_get(result, "prompt_tokens");
    if (json_is_array(prompt) && json_integer_value(json_array_get(prompt, 0)) != VS_NO_TOKEN)
        json_object_set(opening, "prompt_tokens", prompt);
    bool is_whole = json_is_array(prompt);
    if ((a->ids.n || is_whole) && !json_is_true(json_object_get(told, "withheld")))
        json_object_set_new(opening, "tokens", ids_of(&a->ids));
    if (a->text.n || is_whole)
        json_object_set_new(opening, is_altered ? "delivered" : "text",
                            json_stringn(a->text.n ? a->text.data : "", a->text.n));
}

/* salt, more: what all answers of the request share of their openings; NULL: nothing. */
static json_t *join(const struct answer *a, const json_t *told, json_t *salt, json_t *more, const json_t *result)
{
    json_t *receipt = json_copy(a->is_signed), *opening = json_object();
    json_object_del(receipt, "altered");
    json_object_del(receipt, "withheld");
    if (salt && a->ids.status == VS_OK && a->text.status == VS_OK) {
        json_object_set(opening, "salt", salt);
        add_content(a, told, result, opening);
        json_object_update_missing(opening, more);
        json_object_set(receipt, "opening", opening);
    }
    json_decref(opening);
    return receipt;
}

/* The entry of an answer in the result's list, which is made where the request failed. */
static json_t *choice_of(json_t *result, size_t index)
{
    json_t *list = json_object_get(result, "choices");
    if (!list)
        json_object_set_new(result, "choices", list = json_array());
    while (json_array_size(list) <= index)
        if (json_array_append_new(list, json_pack("{s:I}", "index", (json_int_t)json_array_size(list))) != 0)
            return NULL;
    return json_array_get(list, index);
}

void vs_joined_add(const struct vs_joined *j, const json_t *envelope, json_t *result)
{
    json_t *salt = json_object_get(envelope, "salt"), *more = json_incref(json_object_get(result, "opening"));
    static const char *const parts[] = { "opening", "salt", "altered", "withheld" };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        json_object_del(result, parts[i]);
    for (unsigned i = 0; j && i < VS_MAX_CHOICES; i++) {
        const struct answer *a = &j->answer[i];
        if (a->is_signed && j->has_several)
            json_object_set_new(choice_of(result, i), "receipt", join(a, a->is_signed, salt, more, result));
        else if (a->is_signed)
            json_object_set_new(result, "receipt", join(a, envelope, salt, more, result));
    }
    json_decref(more);
}
