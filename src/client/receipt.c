/* client/receipt.c - see receipt.h. */
#include "client/receipt.h"

#include "base/buf.h"
#include "base/status.h"
#include "ipc/message.h"

#include <stdbool.h>
#include <stdlib.h>

struct vs_joined {
    json_t *is_signed;                   /* NULL: it has not come */
    struct vs_buf ids, text;             /* u32 each */
};

struct vs_joined *vs_joined_create(void)
{
    return calloc(1, sizeof(struct vs_joined));
}

void vs_joined_free(struct vs_joined *j)
{
    if (!j)
        return;
    json_decref(j->is_signed);
    vs_buf_clear(&j->ids);
    vs_buf_clear(&j->text);
    free(j);
}

void vs_joined_token(struct vs_joined *j, uint32_t id, const char *text, size_t n)
{
    if (!j)
        return;
    if (id != VS_NO_TOKEN)
        vs_buf_add(&j->ids, &id, sizeof id);
    vs_buf_add(&j->text, text, n);
}

void vs_joined_signed(struct vs_joined *j, json_t *is_signed)
{
    json_decref(j->is_signed);
    j->is_signed = is_signed;
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
 * made it has another name. */
static void add_content(const struct vs_joined *j, const json_t *envelope, json_t *result, json_t *opening)
{
    bool is_altered = json_is_true(json_object_get(envelope, "altered"));
    json_t *prompt = json_object_get(result, "prompt_tokens");
    if (json_is_array(prompt) && json_integer_value(json_array_get(prompt, 0)) != VS_NO_TOKEN)
        json_object_set(opening, "prompt_tokens", prompt);
    bool is_whole = json_is_array(prompt);
    if ((j->ids.n || is_whole) && !json_is_true(json_object_get(envelope, "withheld")))
        json_object_set_new(opening, "tokens", ids_of(&j->ids));
    if (j->text.n || is_whole)
        json_object_set_new(opening, is_altered ? "delivered" : "text",
                            json_stringn(j->text.n ? j->text.data : "", j->text.n));
}

json_t *vs_joined_receipt(struct vs_joined *j, const json_t *envelope, json_t *result)
{
    json_t *salt = json_object_get(envelope, "salt"), *opening = json_incref(json_object_get(result, "opening"));
    static const char *const parts[] = { "opening", "salt", "altered", "withheld" };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        json_object_del(result, parts[i]);
    if (!j || !j->is_signed) {
        json_decref(opening);
        return NULL;
    }
    json_t *receipt = json_copy(j->is_signed), *content = json_object();
    if (salt && j->ids.status == VS_OK && j->text.status == VS_OK) {
        json_object_set(content, "salt", salt);
        add_content(j, envelope, result, content);
        json_object_update_missing(content, opening);
        json_object_set(receipt, "opening", content);
    }
    json_decref(content);
    json_decref(opening);
    return receipt;
}
