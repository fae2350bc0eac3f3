/* prog/broker/refused.c - requests that ended two workers: nobody may ask them again while the daemon lives.
 *
 * They are known by model, type, length and SHA-256 of the body. A digest is computed only of a body as long as one of these, so
 * that no other request pays for it. The supervisor keeps a copy, and tells it to the broker that comes after us. */
#include "prog/broker/broker.h"

#include "base/bytes.h"
#include "base/sha256.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct refused {
    char model[65], body[65];           /* SHA-256 of its name, and of the request's body */
    uint16_t type;
    size_t n;
};

static void digest_of(const void *data, size_t n, char ret_hex[65])
{
    uint8_t digest[32];
    vs_sha256_of(data, n, digest);
    vs_hex(digest, sizeof digest, ret_hex);
}

/* The list is a ring: when it is full the oldest is forgotten. */
static void add(struct broker *b, const struct refused *r)
{
    if (b->refused || (b->refused = calloc(MAX_REFUSED, sizeof *b->refused)))
        b->refused[b->n_refused++ % MAX_REFUSED] = *r;
}

void refused_restore(struct broker *b, const json_t *message)
{
    const char *model = json_string_value(json_object_get(message, "model"));
    const char *body = json_string_value(json_object_get(message, "sha256"));
    json_int_t type = json_integer_value(json_object_get(message, "type"));
    json_int_t n = json_integer_value(json_object_get(message, "bytes"));
    if (!model || !body || !vs_hex_is_sha256(model) || !vs_hex_is_sha256(body) || n < 0)
        return;
    struct refused r = { .type = (uint16_t)type, .n = (size_t)n };
    memcpy(r.model, model, sizeof r.model);
    memcpy(r.body, body, sizeof r.body);
    add(b, &r);
}

void refused_add(struct broker *b, const struct request *asked)
{
    struct refused r = { .type = asked->type, .n = asked->body.n };
    digest_of(asked->model->name, strlen(asked->model->name), r.model);
    digest_of(asked->body.data, asked->body.n, r.body);
    add(b, &r);
    control_send(b, VS_MSG_REFUSED, 0, json_pack("{s:s, s:i, s:I, s:s}", "model", r.model, "type", (int)r.type, "bytes",
                                                 (json_int_t)r.n, "sha256", r.body), NULL);
    broker_log(b, "model %s: a request ended two workers; it is refused from now on (SHA-256 of its body: %s)", asked->model->name,
               r.body);
}

bool refused_has(const struct broker *b, const struct request *asked)
{
    char model[65] = "", body[65] = "";
    for (unsigned i = 0; i < b->n_refused && i < MAX_REFUSED; i++) {
        const struct refused *at = &b->refused[i];
        if (at->type != asked->type || at->n != asked->body.n)
            continue;
        if (!model[0])
            digest_of(asked->model->name, strlen(asked->model->name), model);
        if (strcmp(model, at->model) != 0)
            continue;
        if (!body[0])
            digest_of(asked->body.data, asked->body.n, body);
        if (strcmp(body, at->body) == 0)
            return true;
    }
    return false;
}

void refused_free(struct broker *b)
{
    free(b->refused);
    b->refused = NULL;
    b->n_refused = 0;
}
